/* SPDX-License-Identifier: Apache-2.0 */
/*
 * explain - the parts of `weir explain`: which readings a window was made of, the model that looked at it, its answer
 * worked out again by the very code of device and gateway, and what of the input that answer hangs on.
 *
 *   evidence.c --inference, readings--> explain_window.c --window--> explain_model.c --rows, answers--> explain_case.c
 *                                                                                        '--> explain_print.c
 */
#ifndef CLOUD_BRIDGE_CONSOLE_EXPLAIN_H
#define CLOUD_BRIDGE_CONSOLE_EXPLAIN_H

#include "cloud-bridge/console/console_internal.h"
#include "cloud-bridge/console/evidence.h"
#include "cloud-bridge/console/network.h"
#include "cloud-bridge/console/occlusion.h"
#include "core/trees/trees.h"
#include "proto/calibration/calibration.h"

enum { EXPLAIN_ENDS_MAX = 64 };

struct series; /* replay.h */

/* ---- explain_window.c ---- */
struct explain_window {
    float *values; /* owned; [window][channels]; NaN = not in the sink */
    size_t rows, channels;
    size_t rows_missing;                   /* no sample at that time */
    size_t missing[FEATURES_CHANNELS_MAX]; /* values, per channel */
    size_t values_missing;
    int64_t first_us, last_us;
};
/* Rows of a file in the sink's place. ERR_FULL, ERR_NOMEM. A channel that the file does not have is missing. */
enum err explain_samples_of(const struct series *series, int64_t from_us, int64_t to_us, const char *const *channels,
                            size_t count, struct evidence_samples *ret_samples) MUST_CHECK;
/* The window of the options that ends with the sample at `end`, walking back by the rate's period, to the nearest
 * sample each time, as device/infer takes every n-th. ret_window: zeroed, or one used before. ERR_NOMEM. */
enum err explain_window_at(const struct evidence_samples *samples, size_t end, const struct features_options *options,
                           struct explain_window *ret_window) MUST_CHECK;
void explain_window_deinit(struct explain_window *window);
/* Samples that a window told at time_us (whole milliseconds) may end with, the nearest first, within a period of the
 * model; *ret_near: how many are within half of one, 0 = probably none of them is it. At most EXPLAIN_ENDS_MAX. */
size_t explain_ends(const struct evidence_samples *samples, int64_t time_us, double rate_hz,
                    size_t ret_ends[EXPLAIN_ENDS_MAX], size_t *ret_near);
/* out: [rows][channels], held as core/features holds; what is missing at the beginning stays so. False: a channel is
 * missing throughout. */
bool explain_fill(const struct explain_window *window, float *out);
/* Mean and standard deviation of one channel's values in it; NaN when there are none. */
void explain_moments(const struct explain_window *window, size_t channel, double *ret_mean, double *ret_std);

/* ---- explain_model.c ---- */
struct answerer {
    struct network network; /* its description, and the network of a .tflite */
    struct trees *trees;    /* owned; else */
    size_t outputs;
    void *memory; /* owned */
    struct features *features;
    float *scratch; /* owned; inputs */
    unsigned class; /* whose margin answerer_ask gives */
};
void answerer_deinit(struct answerer *a); /* harmless when zeroed */
/* path: a description. ERR_NOT_FOUND: no such file; ERR_UNSUPPORTED: its network cannot be run here; as network_open.
 */
enum err answerer_open(const char *path, struct answerer *ret_answerer, struct fault *reterr) MUST_CHECK;
/* Looks for the description of that id in a folder and its subfolders, or in the one file. ERR_NOT_FOUND: reterr names
 * what is there instead; ERR_UNSUPPORTED: its network cannot be run here; as network_open. */
enum err answerer_find(const char *dir, uint64_t id, struct answerer *ret_answerer, struct fault *reterr) MUST_CHECK;
const struct model_info *answerer_info(const struct answerer *a);
struct decision answerer_decide(struct answerer *a, const float *row);
/* For occlusion_run; arg: the answerer. */
struct occlusion_answer answerer_ask(void *arg, const float *row);
/* The class's name, as devices write it; "" when there is none. */
const char *answerer_label(const struct answerer *a, unsigned class);

/* ---- explain_case.c ---- */
enum explain_state {
    EXPLAIN_NOT_TRIED, /* no --models */
    EXPLAIN_NO_MODEL,
    EXPLAIN_NO_WINDOW,
    EXPLAIN_EQUAL,
    EXPLAIN_CLOSE, /* the same class with another confidence */
    EXPLAIN_DIFFERENT,
};
const char *explain_state_name(enum explain_state state);
struct explain_side { /* one model's answer: the device's own, or the one that stands */
    bool is;          /* there is such an answer */
    uint64_t id;
    unsigned class;    /* of the device's own, as recorded */
    const char *label; /* its name, where it was recorded; a gateway's model may have another order. NULL: not */
    double confidence; /* as recorded */
    struct answerer model;
    bool found;
    enum explain_state state;
    struct decision again;
    const char *from;        /* what the row was made of */
    float *row;              /* owned; what it looked at */
    char why[EVIDENCE_TEXT]; /* it could not be worked out */
};
struct explain_case {
    const char *readings_in; /* "the sink", or "the data" */
    const char *device;      /* borrowed */
    struct evidence_inference i, before, after;
    struct explain_side own, up;
    char own_label[EVIDENCE_NAME]; /* of the device's own class, from another answer */
    struct evidence_samples samples;
    struct explain_window window;
    bool has_window;
    struct evidence_reason reasons[EVIDENCE_REASONS_MAX];
    size_t reason_count;
    struct evidence_event events[EVIDENCE_EVENTS_MAX];
    size_t event_count;
    /* of the answer that stands; parts NULL: not worked out */
    const struct model_info *described; /* whose features the row is */
    const char *normal_from;
    double normal_mean[FEATURES_CHANNELS_MAX];    /* of a channel; NaN unknown */
    float *normal;                                /* owned; the row's normal values */
    struct occlusion_effect *channels, *features; /* owned */
};
void explain_case_deinit(struct explain_case *c);
struct explain_sources { /* besides the database; each may be NULL */
    const char *models;
    const struct calibration *calibration;
    const struct series *readings; /* in the sink's place */
};
/* Fills in what there is. ERR_NOT_FOUND: no such inference. Other errors are the database's or ERR_NOMEM; what cannot
 * be worked out is said in the sides. */
enum err explain_case_make(struct evidence *evidence, const struct evidence_key *key,
                           const struct explain_sources *sources, struct explain_case *ret_case) MUST_CHECK;
/* Whether the calibration is of the device's own model, or of the one whose answer stands. */
bool explain_is_of_model(const struct explain_case *c, const struct calibration *calibration);
/* The answer that stands. */
struct explain_side *explain_standing(struct explain_case *c);

/* ---- explain_print.c ---- */
void explain_text(struct explain_case *c, size_t most, bool color, struct buffer *out);
void explain_json(struct explain_case *c, size_t most, struct buffer *out);
/* "near: ..." lines: the first few. */
void explain_put_events(const struct evidence_event *events, size_t count, struct buffer *out);

/* ---- explain_told.c ---- */
enum explain_statistic { EXPLAIN_NO_STATISTIC, EXPLAIN_SPE, EXPLAIN_T2, EXPLAIN_EWMA_SPE, EXPLAIN_LEVEL };
struct explain_told_search {
    const struct calibration *calibration;  /* with figures of inputs */
    const struct evidence_samples *samples; /* up to the event, and before from_us what averages need to begin with */
    enum explain_statistic statistic;
    double value;    /* the event's; NaN: none */
    int64_t from_us; /* windows that end before it are not meant */
    size_t anchor;   /* sample that a window is known to end with */
};
struct explain_told {
    size_t end;   /* sample that it ends with; SIZE_MAX: there is no whole window */
    bool is;      /* it comes to the event's value; else it is the newest */
    double value; /* what the statistic comes to with it */
};
/* ERR_NOMEM. */
enum err explain_told(const struct explain_told_search *search, struct explain_told *ret_told) MUST_CHECK;

/* ---- explain_event.c ---- */
/* `weir explain DEVICE --event ID`. */
enum exit_code explain_event(const struct args *args, const char *device, struct evidence *evidence, int64_t at_us,
                             const struct calibration *calibration) MUST_CHECK;

#endif
