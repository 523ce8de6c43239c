/* SPDX-License-Identifier: Apache-2.0 */
/* Sketches: which numbers go in, and what is told when a span is over. */
#include <math.h>

#include "device/infer/infer_internal.h"

enum { HEAD_BYTES = 64, WINDOW_BYTES = 80 }; /* of a record, at most */

const char *infer_outcome_name(const struct infer *f)
{
    return f->info->output == MODEL_CLASSES ? OUTCOME_DOUBT : OUTCOME_SCORE;
}

struct moments infer_outcome(const struct infer *f)
{
    return f->sketch != NULL ? infer_sketch_outcome(f->sketch) : (struct moments){0};
}

static void collect(void *arg, const struct infer_window *window)
{
    struct infer *f = arg;
    struct infer_window *w = &f->windows[f->window_count++];
    *w = *window;
    w->channel = window->channel == INFER_OUTCOME ? INFER_OUTCOME : f->channel[window->channel];
}

static void tell_span(struct infer *f)
{
    double bytes = HEAD_BYTES;
    f->window_count = 0;
    infer_sketch_close(f->sketch, collect, f);
    if (f->window_count == 0) {
        return;
    }
    for (size_t i = 0; i < f->window_count; i++) {
        bytes += WINDOW_BYTES + (double)f->windows[i].sketch.len;
    }
    enum err err = ERR_FULL;
    bool fits = credit_has(&f->bytes, bytes, infer_now(f));
    f->stats.beyond_bytes += !fits;
    if (fits) {
        err = f->handlers.tell_windows(f->handlers.arg, f->windows, f->window_count);
    }
    if (err != OK) {
        f->stats.sketches_untold++;
        return;
    }
    credit_spend(&f->bytes, bytes);
    f->stats.sketches++;
}

void infer_span_sample(struct infer *f, const float *values, const struct infer_sample *sample)
{
    if (f->sketch == NULL) {
        return;
    }
    int64_t wall_us = (int64_t)min_u64(sample->wall_us, INT64_MAX / 2);
    if (infer_sketch_sample(f->sketch, values, wall_us, sample->mono_us)) {
        tell_span(f);
        (void)infer_sketch_sample(f->sketch, values, wall_us, sample->mono_us); /* the first of the next one */
    }
}

void infer_span_answer(struct infer *f, const struct decision *own)
{
    if (f->sketch != NULL) {
        float confidence = (float)own->confidence,
              score = (float)own->score; /* as records tell them: alike on every machine */
        infer_sketch_answer(f->sketch, f->info->output == MODEL_CLASSES ? outcome_doubt((double)confidence)
                                       : isfinite(score)                ? (double)score
                                                                        : own->score);
    }
}

void infer_span_end(struct infer *f)
{
    if (f->sketch != NULL) {
        f->sketch->partial = true;
        tell_span(f);
    }
}
