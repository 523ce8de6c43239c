/* SPDX-License-Identifier: Apache-2.0 */
/*
 * health_internal - a device's figures, and what the parts of health share: inputs.c blocks, answers.c inferences,
 * sketches.c spans, cohort.c devices against one another, state.c restarts, report.c what an operator sees.
 */
#ifndef GATEWAY_HEALTH_HEALTH_INTERNAL_H
#define GATEWAY_HEALTH_HEALTH_INTERNAL_H

#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) ((element)->lost = true)
#include <uthash.h>

#include "core/base/arena.h"
#include "core/base/json.h"
#include "core/sketch/sketch.h"
#include "gateway/health/health.h"
#include "proto/block/block.h"

#define DISAGREEMENT_LAMBDA 0.05
enum { RECENT = 31, COHORT_TICKS = 3, CHANNEL_NONE = 255, PENDING_MAX = 256, LEFT_OUT_BITS = 1 << 16, SENSOR_SPAN = 4,
       MOVED_SUBJECT_MAX = CALIBRATION_NAME_MAX + 24 };

struct watch { /* one kind of event of one thing */
    struct drift_confirm confirm;
    const char *statistic; /* the last one that was beyond; constant text */
    double value, limit;
    bool told;
};
struct channel {
    struct drift_sensor sensor;
    struct watch fault;
    unsigned suspect; /* so many more samples it counts as missing */
    struct moments sum; /* of sketches, since they were held against limits last */
    struct watch moved;
};
struct device {
    char id[ID_MAX + 1];
    const struct calibration *calibration; /* NULL: none */
    uint64_t model;                        /* that it runs; 0 = not known */
    size_t bytes;
    /* inputs; NULL without a calibration */
    struct channel *channels;
    struct features *features;
    void *features_memory;
    uint32_t set;                          /* description that `map` is of; 0 = none */
    uint8_t map[CALIBRATION_CHANNELS_MAX]; /* calibration's channel -> block's column, or CHANNEL_NONE */
    int64_t last_us,
        next_us; /* of the device's monotonic clock: the last sample, the next one that the model takes; 0 = none */
    struct drift_ewma spe;
    double level_off[FEATURES_MAX]; /* of drift_levels_add */
    struct watch inputs;
    /* scores */
    struct drift_window *window;
    struct drift_ewma score;
    uint64_t scores_seen;
    unsigned sparse; /* so many more answers may be a chosen part of all: no figures of scores */
    struct watch scores;
    /* sketches */
    uint8_t outcome_channel;  /* of the description; CHANNEL_NONE */
    struct moments outcome;   /* since it was held against limits last */
    uint64_t outcome_bins[DRIFT_BINS_MAX], outcome_binned;
    uint64_t inputs_seen, scores_judged; /* samples in judged windows, answers, since the sketch before */
    uint64_t sketches;
    /* disagreement */
    struct drift_page_hinkley page;
    struct drift_adwin adwin;
    struct drift_rates rates; /* by the device's own answer, as far as there are kinds */
    struct drift_ewma rate, kind_rate;
    unsigned kind; /* that `level` is of; DRIFT_KINDS_MAX: all disagreement */
    double level; /* above: nearer to the changed rate than to the one before; INFINITY = no change seen */
    uint64_t asked, differed;
    struct watch concept;
    /* cohort */
    float recent[RECENT]; /* confidences */
    uint8_t recent_at, recent_filled;
    struct watch cohort;
    int64_t inputs_us, scores_us, disagreement_us; /* newest figures; -1 = none */
    bool dirty;
    int64_t seen_us; /* its newest record */
    struct device *next; /* in the order in which they came */
    UT_hash_handle hh;
    bool lost;
};
struct pending {
    char id[32], device[ID_MAX + 1], text[HEALTH_TEXT_MAX];
};
struct health {
    struct health_options options;
    struct health_calibration calibrations[HEALTH_CALIBRATIONS_MAX];
    struct device *by_id, *first, **end, *dirty_at;
    struct arena arena;
    int64_t *values; /* owned */
    int64_t times[BLOCK_SAMPLES_MAX];
    double resolutions[BLOCK_CHANNELS_MAX];
    struct health_stats stats;
    int64_t now_us; /* of the record in hand */
    struct pending *pending; /* owned; PENDING_MAX, the oldest first */
    size_t pending_count;
    uint8_t left_out[LEFT_OUT_BITS / 8]; /* names that do not fit, hashed */
};

/* ---- health.c ---- */
/* Finds or makes it. NULL: does not fit. */
struct device *health_device(struct health *h, const char *id);
/* It runs this model now: another one means other limits and other states. */
enum err health_set_model(struct health *h, struct device *d, uint64_t model) MUST_CHECK;
/* With this calibration (NULL: none), knowing nothing. ERR_FULL, ERR_NOMEM: without a calibration. */
enum err health_begin_anew(struct health *h, struct device *d, const struct calibration *c) MUST_CHECK;
/* An observation; tells what has begun or ended. subject: of the event's text ("" or "channel=..."). */
void health_watch(struct health *h, struct device *d, struct watch *w, const char *event, const char *subject,
                  bool beyond);
void health_watch_end(struct health *h, struct device *d, struct watch *w, const char *event, const char *subject);
struct watch health_watch_new(const struct calibration *c, unsigned span);

/* ---- inputs.c ---- */
void health_describe(struct health *h, struct device *d, const Weir__V1__Describe *describe);
void health_block(struct health *h, struct device *d, const Weir__V1__Block *block, int64_t now_us);
/* ---- answers.c ---- */
void health_inference(struct health *h, struct device *d, const Weir__V1__Inference *inference, int64_t now_us);
/* ---- sketches.c ---- */
void health_curated(struct health *h, struct device *d, const Weir__V1__Curated *curated, int64_t now_us);
/* Sums that are not held against limits yet. */
void health_forget_sketches(struct device *d);
uint8_t health_outcome_channel(const struct device *d, const Weir__V1__Describe *describe);
void health_moved_subject(const struct calibration *c, unsigned channel, char ret_subject[MOVED_SUBJECT_MAX]);
/* ---- cohort.c ---- */
void health_cohorts(struct health *h);
double health_median(double *values, size_t count);  /* sorts */
double health_recent_median(const struct device *d); /* NaN of none */
/* What the device is in, the gravest first: "sensor-fault", "concept-drift", "data-drift", "cohort-outlier", "ok",
 * "unknown". */
const char *health_condition(const struct health *h, const struct device *d, int64_t now_us);
bool health_fresh(const struct health *h, int64_t figure_us, int64_t now_us);

#endif
