/* SPDX-License-Identifier: Apache-2.0 */
/*
 * occlusion - which inputs made a model say what it said: each part of the input in turn is replaced by what is normal,
 * and the model answers again (Zeiler and Fergus, ECCV 2014). And which inputs made a row unlike a calibration's: what
 * each adds to T2 and SPE (Miller, Swanson and Heckler, 1998). Pure: no I/O, no model of its own.
 *
 * Parts stand alone: two that say the same can each be missed without a change. That is a property of the method.
 */
#ifndef CLOUD_BRIDGE_CONSOLE_OCCLUSION_H
#define CLOUD_BRIDGE_CONSOLE_OCCLUSION_H

#include "core/base/base.h"
#include "core/drift/drift.h"
#include "proto/model/model.h"

struct occlusion_answer {
    struct decision decision;
    double margin; /* model_margin of the class that is being explained */
};
struct occlusion {
    const float *row, *normal; /* inputs each; normal: what a part is replaced by */
    const unsigned *part;      /* inputs: which part an input belongs to; beyond `parts`: to none */
    size_t inputs;
    unsigned parts;
    float *scratch; /* inputs */
    struct occlusion_answer (*answer)(void *arg, const float *row);
    void *arg;
};
struct occlusion_effect {
    unsigned part;
    struct occlusion_answer without; /* the part's own values */
    double change; /* of the margin by it: above 0 it speaks for the answer, below against. 0 also where it is not a
                    * number */
};
/* effects: `parts`, the largest change of either sign first. */
void occlusion_run(const struct occlusion *o, double margin, struct occlusion_effect *ret_effects);

/* What the dimensions of a row add to T2 and SPE of drift_pca_score; the sums are these. One that is missing counts
 * where the plane has it, so it adds nothing to SPE. ret: dimensions each. */
void occlusion_of_pca(const struct drift_pca *pca, const double *row, double *ret_t2, double *ret_spe);

#endif
