/* SPDX-License-Identifier: Apache-2.0 */
#include "device/infer/sketch.h"

#include <math.h>

enum { SET_US = 1000000 };

/* ---- sums ---- */
static inline void sums_add(struct infer_sums *s, double x)
{
    if (s->count == 0) {
        s->origin = s->min = s->max = x;
    }
    double d = x - s->origin;
    s->count++;
    s->sum += d;
    s->squares += d * d;
    s->min = x < s->min ? x : s->min;
    s->max = x > s->max ? x : s->max;
}

static struct moments sums_moments(const struct infer_sums *s)
{
    double n = (double)s->count;
    if (s->count == 0) {
        return (struct moments){0};
    }
    return (struct moments){.count = s->count,
                            .mean = s->origin + s->sum / n,
                            .m2 = fmax(s->squares - s->sum * (s->sum / n), 0),
                            .min = s->min,
                            .max = s->max};
}

/* ---- a span ---- */
size_t infer_sketch_bytes(unsigned channels)
{
    return channels * sizeof(struct infer_sums) + INFER_SKETCH_BYTES;
}

void infer_sketch_init(struct infer_sketch *s, int64_t span_us, unsigned channels, void *memory)
{
    memset(s, 0, sizeof(*s));
    s->span_us = span_us;
    s->channels = channels;
    s->input = memory;
    memset(s->input, 0, channels * sizeof(*s->input));
    (void)!sketch_init_fixed(&s->histogram, OUTCOME_ERROR, s->counts,
                             OUTCOME_BUCKETS); /* the error is one that it takes */
    buffer_init_over(&s->bytes, s->input + channels, INFER_SKETCH_BYTES);
}

static int64_t span_start(const struct infer_sketch *s, int64_t wall_us)
{
    return wall_us - wall_us % s->span_us;
}

bool infer_sketch_sample(struct infer_sketch *s, const float *values, int64_t wall_us, int64_t mono_us)
{
    wall_us = wall_us > 0 ? wall_us : 0;
    int64_t shift_us = wall_us - mono_us;
    if (s->open) {
        bool set = shift_us - s->shift_us > SET_US || s->shift_us - shift_us > SET_US;
        if (set || wall_us >= s->start_us + s->span_us || wall_us < s->start_us) {
            s->partial |= set;
            s->follows = !set && wall_us < s->start_us + 2 * s->span_us;
            return true;
        }
    } else {
        s->open = true;
        s->start_us = span_start(s, wall_us);
        s->partial = !s->follows && wall_us > s->start_us;
    }
    s->shift_us = shift_us; /* what creeps is no jump */
    for (unsigned i = 0; i < s->channels; i++) {
        if (isfinite(values[i])) {
            sums_add(&s->input[i], (double)values[i]);
        }
    }
    return false;
}

void infer_sketch_answer(struct infer_sketch *s, double outcome)
{
    if (s->open && isfinite(outcome)) {
        sums_add(&s->outcome, outcome);
        (void)!sketch_add(&s->histogram, &outcome, 1); /* a fixed one does not fail */
    }
}

void infer_sketch_close(struct infer_sketch *s, void (*fn)(void *arg, const struct infer_window *window), void *arg)
{
    struct infer_window w = {.channel = INFER_OUTCOME,
                             .start_us = (uint64_t)s->start_us,
                             .length_us = (uint64_t)s->span_us,
                             .moments = sums_moments(&s->outcome),
                             .partial = s->partial};
    if (w.moments.count > 0) {
        buffer_reset(&s->bytes);
        if (sketch_encode(&s->histogram, INFER_SKETCH_BYTES, &s->bytes) == OK) {
            w.sketch = buffer_slice(&s->bytes);
        }
        fn(arg, &w);
    }
    w.sketch = (struct slice){0};
    for (unsigned i = 0; s->open && i < s->channels; i++) {
        w.channel = i;
        w.moments = sums_moments(&s->input[i]);
        if (w.moments.count > 0) {
            fn(arg, &w);
        }
        s->input[i] = (struct infer_sums){0};
    }
    s->outcome = (struct infer_sums){0};
    sketch_reset(&s->histogram);
    s->open = s->partial = false;
}

struct moments infer_sketch_outcome(const struct infer_sketch *s)
{
    return sums_moments(&s->outcome);
}
