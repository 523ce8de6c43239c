/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model - what stands beside a network's file: which channels it sees and how they become its input, what its output means,
 * when it counts as unsure. One description for device and gateway.
 *
 *   model: bearing                       # name
 *   network: bearing.tflite              # beside this file; a gateway also takes .onnx, and .json as XGBoost saves it
 *   channels: [acc]
 *   rate: 12000                          # samples a second
 *   window: 1024
 *   hop: 512
 *   features:                            # in this order; see core/features
 *     level: {kind: rms, channel: acc}
 *     spectrum: {kind: bands, channel: acc, bands: 32}
 *   scaling: scaling.csv                 # a line per input of the network: offset, factor
 *   classes: [normal, inner-race, ball, outer-race]
 *   temperature: 1.3                     # of the calibrated confidence (Guo et al., ICML 2017)
 *   unsure_below: 0.8                    # confidence below which a device asks
 *
 * Without classes the model gives a score: output: score = the network's first output, output: reconstruction = mean squared
 * distance of output and input (an autoencoder). normal_below is the score above which something is wrong; unsure_band how
 * near to it a score is unsure.
 *
 * Its id is the first eight bytes of SHA-256 over everything that its answers depend on: this file's settings, the network's and
 * the scaling's bytes. Immutable once loaded.
 */
#ifndef PROTO_MODEL_MODEL_H
#define PROTO_MODEL_MODEL_H

#include "core/base/base.h"
#include "core/base/buffer.h"
#include "core/features/features.h"

struct model;

enum model_output { MODEL_CLASSES, MODEL_SCORE, MODEL_RECONSTRUCTION };
enum { MODEL_CLASSES_MAX = 256, MODEL_NETWORK_MAX = 256 << 20 };

struct model_info {
    const char *name, *path, *network; /* path: of the description */
    uint64_t id;                       /* never 0 */
    uint64_t config;                   /* hash of the description's settings alone */
    const char *const *channels;
    struct features_options features;  /* channels, window, hop, rate_hz, features, scaling */
    size_t inputs;                     /* of the network: outputs of the features */
    enum model_output output;
    const char *const *classes;
    size_t class_count;
    double temperature, unsure_below;  /* of classes */
    double normal_below, unsure_band;  /* of a score */
};

/* problems: every error as file:line:column: sentence where there is a place. ERR_IO, ERR_MALFORMED, ERR_RANGE, ERR_NOMEM. */
enum err model_load(const char *path, struct model **ret_model, struct buffer *problems) MUST_CHECK;
void model_free(struct model *model);
DEFINE_CLEANUP(struct model, model_free)
const struct model_info *model_info(const struct model *model);

/* ---- what an output means ---- */
struct decision {
    unsigned class;     /* of classes; 0 = normal, 1 = not, of a score */
    double confidence;  /* of the class, 0..1: calibrated; of a score: 1 outside of the unsure band, falling to 0.5 at the limit */
    double score;       /* of a score; else the class's logit margin to the second */
    bool unsure;
};
/* row: the network's input (only a reconstruction needs it), [inputs]; output: [outputs]. Not a number anywhere: unsure, with
 * confidence 0. */
struct decision model_decide(const struct model_info *info, const float *row, const float *output, size_t outputs);
/* What a network of classes gives, as logits: probabilities are taken back to them (up to a constant). False: not a number
 * somewhere. */
bool model_logits(const float *output, size_t count, double *ret_logits);
/* What speaks for a class, which need not be the one decided: its logit less the best other one's; of a score how far it is on
 * that class's side of normal_below. Below 0: it would not be this one. NaN: not a number somewhere. */
double model_margin(const struct model_info *info, const float *row, const float *output, size_t outputs, unsigned class);

#endif
