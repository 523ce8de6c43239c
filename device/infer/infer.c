/* SPDX-License-Identifier: Apache-2.0 */
/* Samples become windows, windows decisions, decisions records: see infer.h. */
#include "device/infer/infer.h"

#include <math.h>

#include "device/infer/infer_internal.h"

uint64_t infer_model(const struct infer *f)
{
    return f->info->id;
}

const char *infer_model_name(const struct infer *f)
{
    return f->info->name;
}

void infer_stats(const struct infer *f, struct infer_stats *ret_stats)
{
    *ret_stats = f->stats;
}

/* ---- records ---- */

struct verdict infer_own(const struct infer *f, const struct decision *own)
{
    return (struct verdict){.decision = *own, .by = WEIR__V1__ANSWERED_BY__BY_DEVICE, .model = f->info->id};
}

/* No verdict is a class of its own. */
static unsigned class_of(const struct verdict *v)
{
    return v->none ? UINT32_MAX : v->decision.class;
}

static bool is_news(const struct infer *f, const struct verdict *v, Weir__V1__Asked asked)
{
    int64_t every_us = f->options.report_every_us;
    return f->options.report == INFER_ALL || !f->last.any || f->last.class != class_of(v) ||
           f->last.model != v->model || f->last.asked != asked ||
           (every_us > 0 && infer_now(f) - f->last.at_us >= every_us);
}

static float finite_float(double v)
{
    return (float)fmin(fmax(v, -3e38), 3e38); /* a score may be beyond float's range */
}

static enum err encode(const struct infer *f, const struct verdict *v, const struct decision *own,
                       const struct window_of *w, Weir__V1__Asked asked, int64_t took_us,
                       uint8_t record[WIRE_INFERENCE_MAX], size_t *ret_len)
{
    bool was_asked = asked != WEIR__V1__ASKED__NOT_ASKED;
    double rate = (double)f->info->features.rate_hz;
    const struct wire_inference i = {
        .model = v->model,
        .config = f->info->config,
        .wall_us = w->wall_us,
        .mono_us = (uint64_t)max_i64(w->mono_us, 0),
        .quality = w->synced ? WEIR__V1__CLOCK_QUALITY__NTP : WEIR__V1__CLOCK_QUALITY__UNSYNCED,
        .window_us = (uint64_t)((double)(f->info->features.window - 1) * 1e6 / rate),
        .answer = v->decision.class,
        .label = v->none ? "" : infer_label(f, v->decision.class),
        .confidence = (float)v->decision.confidence,
        .score = finite_float(v->decision.score),
        .by = v->by,
        .engine = v->engine,
        .asked = asked,
        .own_model = was_asked ? f->info->id : 0,
        .own_answer = was_asked ? own->class : 0,
        .own_confidence = was_asked ? (float)own->confidence : 0,
        .took_ms = was_asked ? (uint32_t)(took_us / MS_US) : 0,
        .repeats = f->repeats,
        .skipped = f->skipped,
    };
    return wire_inference_encode(&i, record, ret_len);
}

void infer_tell(struct infer *f, const struct verdict *v, const struct decision *own, const struct window_of *w,
                Weir__V1__Asked asked, int64_t took_us)
{
    credit_spend(&f->bytes, -(double)f->record_max); /* set aside when the window was looked at */
    if (!is_news(f, v, asked)) {
        f->repeats++;
        f->stats.repeats++;
        return;
    }
    uint8_t record[WIRE_INFERENCE_MAX];
    size_t len = 0;
    bool alarm = !v->none && f->alarms[v->decision.class] && (!f->last.any || f->last.class != class_of(v));
    enum err err = encode(f, v, own, w, asked, took_us, record, &len);
    if (err == OK) {
        err = f->handlers.tell(f->handlers.arg, slice_of(record, len), alarm);
    }
    if (err != OK) { /* as with samples: what the store does not take is counted */
        f->stats.untold++;
        return;
    }
    credit_spend(&f->bytes, (double)len);
    f->last.any = true;
    f->last.class = class_of(v);
    f->last.model = v->model;
    f->last.asked = asked;
    f->last.at_us = infer_now(f);
    f->repeats = f->skipped = 0;
    f->stats.told++;
    f->stats.alarms += alarm;
    f->stats.record_bytes += len;
}

/* ---- decisions ---- */

struct cached *infer_cached(struct infer *f, uint64_t hash)
{
    for (size_t i = 0; i < INFER_CACHE_ROWS; i++) {
        if (f->cache[i].hash == hash) {
            return &f->cache[i];
        }
    }
    return NULL;
}

static struct cached *cache_place(struct infer *f)
{
    struct cached *oldest = &f->cache[0];
    for (size_t i = 1; i < INFER_CACHE_ROWS; i++) {
        oldest = f->cache[i].used < oldest->used ? &f->cache[i] : oldest;
    }
    return oldest;
}

static uint64_t hash_of(const void *bytes, size_t len)
{
    uint64_t hash = mix_u64(len), word;
    const uint8_t *at = bytes;
    for (; len >= sizeof(word); at += sizeof(word), len -= sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        hash = mix_u64(hash ^ word) + word;
    }
    word = 0;
    memcpy(&word, at, len);
    hash = mix_u64(hash ^ word);
    return hash != 0 ? hash : 1;
}

static void run(struct infer *f)
{
    const struct nn_tensor *out = nn_output_info(f->nn, 0);
    nn_run(f->nn, 1);
    const void *from = nn_output(f->nn, 0);
    for (size_t i = 0; i < f->outputs; i++) {
        f->output[i] = out->type == NN_INT8 ? nn_dequantize(out, ((const int8_t *)from)[i]) : ((const float *)from)[i];
    }
}

/* The row into the network's input; the hash of what stands there. */
static uint64_t put_input(struct infer *f)
{
    const struct nn_tensor *in = nn_input_info(f->nn, 0);
    if (in->type == NN_FLOAT32) {
        memcpy(nn_input(f->nn, 0), f->row, in->bytes);
        return hash_of(f->row, in->bytes);
    }
    int8_t *to = nn_input(f->nn, 0);
    for (size_t i = 0; i < in->elements; i++) {
        to[i] = nn_quantize(in, f->row[i]);
    }
    return hash_of(to, in->elements);
}

static bool row_is_finite(const struct infer *f)
{
    for (size_t i = 0; i < f->info->inputs; i++) {
        if (!isfinite(f->row[i])) {
            return false;
        }
    }
    return true;
}

static void conclude(struct infer *f, uint64_t hash, const struct decision *own, const struct window_of *w)
{
    f->stats.unsure += own->unsure;
    if (own->unsure && f->options.ask != INFER_NEVER) {
        infer_ask_about(f, hash, own, w);
        return;
    }
    struct verdict v = infer_own(f, own);
    infer_tell(f, &v, own, w, WEIR__V1__ASKED__NOT_ASKED, 0);
}

static void no_verdict(struct infer *f, const struct window_of *w)
{
    const struct decision nothing = {.unsure = true};
    struct verdict v = infer_own(f, &nothing);
    v.none = true;
    f->stats.no_verdict++;
    infer_tell(f, &v, &nothing, w, WEIR__V1__ASKED__NOT_ASKED, 0);
}

static void decide(struct infer *f, const struct window_of *w)
{
    if (!row_is_finite(f)) {
        no_verdict(f, w);
        return;
    }
    uint64_t hash = put_input(f);
    struct cached *c = infer_cached(f, hash);
    if (c == NULL) {
        run(f);
        credit_spend(&f->macs, (double)f->stats.macs);
        f->stats.runs++;
        c = cache_place(f);
        *c = (struct cached){.hash = hash, .own = model_decide(f->info, f->row, f->output, f->outputs)};
    } else {
        f->stats.cached++;
    }
    c->used = ++f->uses;
    struct decision own = c->own; /* an answer may come and change the table */
    infer_span_answer(f, &own);
    conclude(f, hash, &own, w);
}

static void look_at_window(struct infer *f, const struct window_of *w)
{
    int64_t now_us = infer_now(f);
    f->stats.windows++;
    bool macs = credit_has(&f->macs, (double)f->stats.macs, now_us);
    bool bytes = credit_has(&f->bytes, (double)f->record_max, now_us);
    f->stats.beyond_macs += !macs;
    f->stats.beyond_bytes += !bytes;
    if (!macs || !bytes) {
        f->skipped++;
        f->stats.skipped++;
        return;
    }
    int64_t began_us = f->host.fresh_now_us(f->host.arg);
    if (!features_row(f->features, f->row)) {
        f->stats.blank++;
        return;
    }
    credit_spend(&f->bytes, (double)f->record_max);
    decide(f, w);
    f->stats.run_us += f->host.fresh_now_us(f->host.arg) - began_us;
}

/* ---- samples ---- */

/*
 * Whether the model takes this sample: every n-th, where they come faster than its rate. The times at which one is due
 * follow those that came at an eighth of the distance: a single late one moves them little, two periods that differ
 * by a little are followed.
 */
static bool is_due(struct infer *f, int64_t at_us)
{
    int64_t period_us = f->model_period_us, distance_us = f->last_us > 0 ? at_us - f->last_us : period_us;
    if (period_us == 0) {
        return true;
    }
    f->last_us = at_us;
    if (f->next_us > 0 && at_us + min_i64(distance_us, period_us) / 2 < f->next_us) {
        return false;
    }
    int64_t late_us = f->next_us > 0 ? at_us - f->next_us : 0;
    if (late_us > period_us / 2) {
        features_reset(f->features);
        f->ring_count = 0;
        f->stats.gaps++;
        late_us = 0;
        f->next_us = 0;
    }
    f->next_us = (f->next_us > 0 ? f->next_us : at_us) + late_us / 8 + period_us;
    return true;
}

void infer_sample(struct infer *f, const struct infer_sample *sample)
{
    float values[FEATURES_CHANNELS_MAX];
    unsigned channels = f->info->features.channels;
    if (!is_due(f, sample->mono_us)) {
        return;
    }
    for (unsigned i = 0; i < channels; i++) {
        values[i] = (float)sample->values[f->channel[i]];
    }
    infer_span_sample(f, values, sample);
    if (f->ring != NULL) {
        memcpy(f->ring + f->ring_at * channels, values, channels * sizeof(*values));
        f->ring_at = (f->ring_at + 1) % f->info->features.window;
        f->ring_count += f->ring_count < f->info->features.window;
    }
    if (features_push(f->features, values)) {
        look_at_window(
            f, &(struct window_of){.mono_us = sample->mono_us, .wall_us = sample->wall_us, .synced = sample->synced});
    }
}
