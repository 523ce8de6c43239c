/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer_internal - the state of infer.h and how its files share the work.
 *
 *   load.c    on Linux: description and network from their files, memory, time from the loop
 *   fit.c     checks against the device, layout of the memory; from here on nothing needs an OS
 *   infer.c   samples, windows, decisions, records
 *   ask.c     asks and answers
 *   budget.c  credits that fill with time
 *   sketch.c  statistics of a span; knows nothing of the others (sketch.h)
 *   spans.c   when one is over, what becomes of it
 */
#ifndef DEVICE_INFER_INFER_INTERNAL_H
#define DEVICE_INFER_INFER_INTERNAL_H

#include "core/base/buffer.h"
#include "core/features/features.h"
#include "core/nn/nn.h"
#include "device/infer/infer.h"
#include "proto/model/model.h"
#include "proto/wire/wire.h"

enum { INFER_ASK_HEAD_MAX = 512 }; /* of an ask, beside its values */

/* A credit that fills by `per_us` up to `most`. */
struct credit {
    double left, most, per_us;
    int64_t at_us;
    bool bounded;
};
/* Full at the start; amount 0 = no bound. In any span of span_us at most amount + most is spent. */
void credit_init(struct credit *c, double amount, int64_t span_us, double most, int64_t now_us);
/* In any 24 hours at most amount; an hour's worth is saved up, or `least`, what one thing costs. amount >= 2 * least.
 */
void credit_init_day(struct credit *c, double amount, double least, int64_t now_us);
bool credit_has(struct credit *c, double amount, int64_t now_us);
/* Negative: gives back. */
void credit_spend(struct credit *c, double amount);

/* Who says what of a window. */
struct verdict {
    struct decision decision;
    Weir__V1__AnsweredBy by;
    uint64_t model;
    char engine[2 * ID_MAX + 2];
    bool none; /* no verdict: no label */
};
struct cached {
    uint64_t hash; /* of the input; 0 = free */
    struct decision own;
    struct verdict answer; /* of the gateway, while answer_until_us lies ahead */
    int64_t answer_until_us;
    uint64_t used; /* the oldest makes room */
};
/* A window of which something is told. */
struct window_of {
    int64_t mono_us;
    uint64_t wall_us;
    bool synced;
};
struct asking {
    uint64_t id; /* 0 = free */
    uint64_t hash;
    bool features; /* not the window */
    struct decision own;
    struct window_of window;
    int64_t since_us;
    int64_t deadline_us;
    uint64_t order; /* rises from ask to ask */
};

struct infer {
    struct infer_host host;
    struct infer_options options;
    struct infer_handlers handlers;
    char site[ID_MAX + 1], gateway[ID_MAX + 1], device[ID_MAX + 1];
    const struct model_info *info; /* borrowed, as the network */
    const char *misfit;  /* key of the description that does not fit; NULL = none */
    unsigned channel[FEATURES_CHANNELS_MAX]; /* the model's, as places in a sample */
    double resolution[FEATURES_CHANNELS_MAX];
    bool alarms[MODEL_CLASSES_MAX]; /* of the classes */
    int64_t model_period_us;        /* 0 = every sample is taken */

    struct nn *nn;
    struct features *features;
    float *row, *output; /* [inputs], [outputs] */
    size_t outputs;
    float *ring;                /* the window, [window][channels]; NULL = asks never carry it */
    size_t ring_at, ring_count; /* rows */
    uint8_t *values;            /* of the ask in hand */
    bool asks_features;         /* the ask in hand */
    bool leaves_it_to_us;       /* INFER_SMALLER, as it was set */
    struct buffer ask;          /* the same, encoded; its memory is there from the start */

    int64_t last_us, next_us; /* the sample before; when the next one is due for the model. 0 = none yet */
    struct cached cache[INFER_CACHE_ROWS];
    struct asking asking[INFER_ASKS_MAX];
    struct credit macs, bytes, asks;
    size_t record_max; /* bytes of a record of this model at most */
    int64_t no_model_until_us;
    uint64_t uses;

    struct { /* of the record that was told last */
        bool any;
        unsigned class;
        uint64_t model;
        Weir__V1__Asked asked;
        int64_t at_us;
    } last;
    uint32_t repeats, skipped; /* since then */
    struct infer_sketch *sketch;  /* NULL = none */
    struct infer_window *windows; /* [channels + 1], of the span that is being told */
    size_t window_count;
    struct infer_stats stats;
};

static inline int64_t infer_now(const struct infer *f)
{
    return f->host.now_us(f->host.arg);
}

/* ---- fit.c ---- */
/* What infer_place needs for this model, whose network needs nn_bytes and has int8 numbers for its input or not. */
size_t infer_bytes(const struct model_info *info, const struct infer_options *options, size_t nn_bytes, bool int8_input);

/* ---- infer.c ---- */
void infer_tell(struct infer *f, const struct verdict *verdict, const struct decision *own,
                const struct window_of *window, Weir__V1__Asked asked, int64_t took_us);
const char *infer_label(const struct infer *f, unsigned class);
unsigned infer_classes(const struct infer *f); /* of a score 2 */
/* As the device itself sees it. */
struct verdict infer_own(const struct infer *f, const struct decision *own);
struct cached *infer_cached(struct infer *f, uint64_t hash);

/* ---- spans.c: nothing without a sketch ---- */
void infer_span_sample(struct infer *f, const float *values, const struct infer_sample *sample);
void infer_span_answer(struct infer *f, const struct decision *own);
void infer_span_end(struct infer *f);

/* ---- ask.c ---- */
/* Asks, or tells why not. */
void infer_ask_about(struct infer *f, uint64_t hash, const struct decision *own, const struct window_of *window);
/* Bytes that an ask's values take at most; 0 = this model cannot be asked about so. */
size_t infer_ask_features_bytes(const struct infer *f);
size_t infer_ask_window_bytes(const struct infer *f);

#endif
