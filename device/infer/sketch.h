/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sketch of a device - light statistics of what went into its model and of what came out, for gateways that see neither
 * all samples nor all answers. Mergeable: those of two spans together are those of the whole.
 *
 *   sample ---------> count, mean, m2, min, max of every channel of the model      (missing values are left out)
 *   answer ---------> the same of its outcome (proto/outcome), and a histogram (core/sketch)
 *   span is over ---> struct infer_window, one for each that has a value; all begins anew
 *
 * Spans are aligned to the wall clock: [k * span, (k + 1) * span). One ends early, as partial, when the wall clock is
 * set (by more than a second against the monotonic one) and when the device stops; one that began late is partial as
 * well. A restart that was not orderly loses the span that was open.
 *
 * Memory is the caller's. No heap, file, clock or OS: it runs on a microcontroller as it is.
 */
#ifndef DEVICE_INFER_SKETCH_H
#define DEVICE_INFER_SKETCH_H

#include "core/base/base.h"
#include "core/sketch/sketch.h"
#include "proto/outcome/outcome.h"

enum {
    INFER_SKETCH_BYTES = 704,        /* of a histogram, encoded */
    INFER_OUTCOME = UINT32_MAX >> 1, /* in the place of a channel */
};

/* Sums from a value near the mean: no division per sample, and as exact as doubles are. */
struct infer_sums {
    uint64_t count;
    double origin, sum, squares, min, max; /* of x - origin, of its square */
};
/* One thing over one span. */
struct infer_window {
    unsigned channel;             /* of the model, or INFER_OUTCOME */
    uint64_t start_us, length_us; /* wall clock */
    struct moments moments;
    struct slice sketch; /* of the outcome; borrowed */
    bool partial;
};
struct infer_sketch {
    int64_t span_us;
    unsigned channels;
    bool open, partial, follows; /* follows: the span before was whole to its end */
    int64_t start_us, shift_us;  /* wall clock; wall less monotonic, of the sample before */
    struct sketch histogram;
    uint32_t counts[OUTCOME_BUCKETS];
    struct infer_sums outcome;
    struct infer_sums *input; /* [channels], the caller's */
    struct buffer bytes;      /* the histogram's, encoded; memory is the caller's */
};

size_t infer_sketch_bytes(unsigned channels); /* beside the struct itself */
/* memory: of infer_sketch_bytes, aligned to 8. span_us > 0. */
void infer_sketch_init(struct infer_sketch *s, int64_t span_us, unsigned channels, void *memory);
/* A sample of the model. True: the span before it is over, or the clock was set; take its windows first, then the
 * sample is to be handed in again. values: [channels], NaN = missing. */
bool infer_sketch_sample(struct infer_sketch *s, const float *values, int64_t wall_us, int64_t mono_us);
/* An answer to the sample before. Not finite: none. */
void infer_sketch_answer(struct infer_sketch *s, double outcome);
/* Closes the span: calls fn for each that has a value, the outcome first. */
void infer_sketch_close(struct infer_sketch *s, void (*fn)(void *arg, const struct infer_window *window), void *arg);
/* What the open span has of the outcome. */
struct moments infer_sketch_outcome(const struct infer_sketch *s);

#endif
