/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calibration - what was normal when a model was made: the limits of core/drift for one class of devices. A file that
 * travels with the model; made by `weir drift calibrate` from a normal run, read by the gateway.
 *
 *   normal run --first half--> what is normal: PCA of the inputs, histogram of the scores, every sensor's habits
 *              --second half-> limits: the largest that each statistic came to, times a margin
 *
 * Two halves, since no statistic is as large on the run that it was fitted to as on the next one.
 *
 * Inputs: a row per window of the model, mean and standard deviation of every channel in it (only means with more than
 * 32 channels, or a window of one sample). Scores: what the model says of its answers, confidence or score.
 *
 * Sketches: what devices say of ten minutes of inputs and answers (device/infer/sketch.h), where the gateway does not see them
 * one by one. Held against batches of the run, of a tenth of its second half, or ten minutes if that is less; longer ones
 * vary less. Files of before have none.
 *
 * Expected false alarms: the second half in four parts, limits from three of them, confirmed alarms counted in the
 * fourth, in turn. With few alarms that is a rough figure, so the bound that holds with 95 % stands beside it (of none:
 * 3 in the time looked at). Sketches are not in it. It says nothing about a plant that runs otherwise than on that day.
 */
#ifndef PROTO_CALIBRATION_CALIBRATION_H
#define PROTO_CALIBRATION_CALIBRATION_H

#include <stdio.h>

#include "core/base/base.h"
#include "core/base/buffer.h"
#include "core/drift/drift.h"
#include "core/features/features.h"

enum { CALIBRATION_CHANNELS_MAX = 64, CALIBRATION_NAME_MAX = 128, CALIBRATION_BINS = 10 };
enum calibration_of { CALIBRATION_NONE, CALIBRATION_CONFIDENCE, CALIBRATION_SCORE };

struct calibration {
    char name[ID_MAX + 1]; /* the model's */
    uint64_t model;        /* its id */
    unsigned channels;
    char channel[CALIBRATION_CHANNELS_MAX][CALIBRATION_NAME_MAX + 1];
    struct drift_sensor sensor[CALIBRATION_CHANNELS_MAX]; /* limits; a state that has seen nothing */
    /* inputs */
    struct features_options features; /* window, hop, rate; points into this */
    struct feature feature[FEATURES_MAX];
    struct drift_pca pca;                           /* components 0: no figures for inputs */
    double t2_limit, spe_limit, ewma_limit, lambda; /* ewma: of SPE */
    struct drift_levels levels; /* of the inputs that are steady in the run; dimensions 0: not watched */
    double level_limit;
    /* scores */
    enum calibration_of of;
    struct drift_reference reference;
    unsigned score_window;
    double psi_limit, ks_limit, score_mean, score_limit, score_lambda; /* |moving average - mean| */
    struct calibration_sketches {
        unsigned samples; /* at least so many are held against the limits at a time; 0 = none are */
        double mean[CALIBRATION_CHANNELS_MAX], deviation[CALIBRATION_CHANNELS_MAX]; /* deviation 0: never moves, not judged */
        double mean_limit[CALIBRATION_CHANNELS_MAX];   /* |mean - normal| / deviation */
        double spread_limit[CALIBRATION_CHANNELS_MAX]; /* |log of variance / normal variance| */
        unsigned answers;                              /* likewise; 0 = none */
        struct drift_reference outcome;                /* of what stands for them in a sketch (proto/outcome); bins 0: means only */
        double outcome_mean, outcome_limit, psi_limit, ks_limit; /* outcome_limit: |mean - normal| */
    } sketches;
    /* answers of device and gateway that differ: there is no normal run of these; settings */
    double page_delta, page_limit, adwin, rates;
    unsigned k, n; /* of drift_confirm */
    double margin, days, alarms_per_week, alarms_at_most;
};

struct calibration_run {
    const char *name;
    uint64_t model;
    const char *const *channel;
    unsigned channels, window, hop;
    double rate_hz;
    const double *values; /* [rows][channels]; NaN = missing */
    size_t rows;
    const size_t *starts; /* first rows of pieces that do not follow one another, ascending; the first is 0 */
    size_t pieces;
    enum calibration_of of;
    double *scores; /* of the model over the run, in order; NONE: NULL */
    size_t score_count;
    double margin; /* above 1 */
    bool steady; /* what wanders in the run takes no part in T2 and SPE; levels of the rest are watched */
};
/* ERR_RANGE (reterr says what is missing), ERR_NOMEM. Inputs and scores are left out, with a sentence each in notes,
 * where there is too little of them. */
enum err calibration_fit(const struct calibration_run *run, struct calibration **ret_c, struct buffer *notes,
                         struct fault *reterr) MUST_CHECK;
void calibration_free(struct calibration *c);
DEFINE_CLEANUP(struct calibration, calibration_free)
/* YAML. ERR_FULL, ERR_NOMEM of out. */
enum err calibration_write(const struct calibration *c, struct buffer *out) MUST_CHECK;
/* A file from anybody. problems: as options_load's. ERR_IO, ERR_MALFORMED, ERR_RANGE, ERR_NOMEM. */
enum err calibration_load(const char *path, struct calibration **ret_c, struct buffer *problems) MUST_CHECK;
/* Values of a row of inputs. */
unsigned calibration_inputs(const struct calibration *c);

#endif
