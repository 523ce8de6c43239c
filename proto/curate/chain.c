/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One channel's values of one block through its chain, operator by operator: each takes the whole series and leaves
 * what goes on. Operators look only back, so that this is the same as value by value, and windows get arrays.
 */
#include <math.h>
#include <stdio.h>

#include "core/crypt/crypt.h"
#include "proto/curate/curate_internal.h"

double snap(double value, double resolution)
{
    return block_value(block_quantise(value, resolution), resolution);
}

/* ---- which values are good ---- */
static enum err range_step(struct run *r, struct op *op)
{
    const struct rule *rule = op->rule;
    struct series *in = r->in;
    for (size_t i = 0; i < in->count; i++) {
        bool good = in->v[i] >= rule->min && in->v[i] <= rule->max;
        r->c->stats[rule->index].flagged += !good && rule->otherwise == RULE_OTHERWISE_FLAG;
        if (good || rule->otherwise == RULE_OTHERWISE_FLAG) {
            series_keep(r->out, in, i);
        }
    }
    run_swap(r);
    return OK;
}

/* Unsynchronised < the gateway's clock < NTP. */
static enum err quality_step(struct run *r, struct op *op)
{
    bool good = r->c->quality == WEIR__V1__CLOCK_QUALITY__NTP ||
                (r->c->quality == WEIR__V1__CLOCK_QUALITY__GATEWAY && op->rule->clock == RULE_CLOCK_GATEWAY);
    r->in->count = good ? r->in->count : 0;
    return OK;
}

/* Holds values back: what it lets go stands for a time, not for a row. */
static bool holds_back(int kind)
{
    return kind == RULE_DOWNSAMPLE || kind == RULE_SWINGING_DOOR;
}

static enum err dedupe_step(struct run *r, struct op *op)
{
    for (const struct op *before = r->channel->ops; before < op; before++) {
        if (holds_back(before->kind)) {
            return OK; /* else it would matter where the device cut its rows into blocks */
        }
    }
    const bool *same = r->c->same[op->rule->index];
    for (size_t i = 0; i < r->in->count; i++) {
        if (r->in->row[i] < 0 || !same[r->in->row[i]]) {
            series_keep(r->out, r->in, i);
        }
    }
    run_swap(r);
    return OK;
}

/* ---- fewer values ---- */
/* A heartbeat is due, also when the clock was set back: better one value too many than none for hours. */
static bool beat_due(const struct rule *rule, int64_t kept, int64_t t)
{
    return (rule->heartbeat_us > 0 && t - kept >= rule->heartbeat_us) || t < kept - SECOND_US;
}

static enum err deadband_step(struct run *r, struct op *op)
{
    struct last *l = &op->last;
    const struct rule *rule = op->rule;
    for (size_t i = 0; i < r->in->count; i++) {
        int64_t t = r->in->t[i];
        double v = r->in->v[i];
        double band = rule->abs > 0 ? rule->abs : rule->percent / 100 * fabs(l->kept.v);
        if (!l->has || !(fabs(v - l->kept.v) <= band) || beat_due(rule, l->kept.t, t)) {
            *l = (struct last){.has = true, .kept = {t, v}};
            series_keep(r->out, r->in, i);
        }
    }
    run_swap(r);
    return OK;
}

static enum err on_change_step(struct run *r, struct op *op)
{
    struct last *l = &op->last;
    for (size_t i = 0; i < r->in->count; i++) {
        if (!l->has || r->in->v[i] != l->kept.v || beat_due(op->rule, l->kept.t, r->in->t[i])) {
            *l = (struct last){.has = true, .kept = {r->in->t[i], r->in->v[i]}};
            series_keep(r->out, r->in, i);
        }
    }
    run_swap(r);
    return OK;
}

static enum err rate_step(struct run *r, struct op *op)
{
    struct rate *l = &op->rate;
    int64_t distance = (int64_t)fmin(fmax(1e6 / op->rule->rate, 1), 1e15);
    for (size_t i = 0; i < r->in->count; i++) {
        int64_t t = r->in->t[i];
        bool back = l->has && t < l->last - SECOND_US;
        if (!l->has || t >= l->next || back) {
            /* Evenly: the next one is due a distance behind this one's due time, unless that has passed already. */
            bool in_step = l->has && !back && t < l->next + distance;
            l->next = in_step ? l->next + distance : t + distance;
            l->has = true;
            series_keep(r->out, r->in, i);
        }
        l->last = t;
    }
    run_swap(r);
    return OK;
}

static void downsample_release(struct run *r, const struct op *op)
{
    const struct downsample *d = &op->down;
    if (op->rule->by == RULE_BY_MEAN) {
        double mean = snap(d->sum / (double)d->count, op->resolution);
        if (!isnan(mean)) {
            series_put(r->out, d->held.t, mean, -1, true); /* the first value's time: never one before it */
        }
    } else if (op->rule->by != RULE_BY_FIRST) { /* which went at once */
        series_put(r->out, d->held.t, d->held.v, d->held_row, d->held_made);
    }
}

static bool takes_place(const struct op *op, double v)
{
    const struct downsample *d = &op->down;
    return d->count == 0 || op->rule->by == RULE_BY_LAST || (op->rule->by == RULE_BY_MIN && v < d->held.v) ||
           (op->rule->by == RULE_BY_MAX && v > d->held.v);
}

static enum err downsample_step(struct run *r, struct op *op)
{
    struct downsample *d = &op->down;
    const struct series *in = r->in;
    for (size_t i = 0; i < in->count; i++) {
        int64_t bucket = in->t[i] / op->rule->every_us;
        if (d->count > 0 && bucket != d->bucket) {
            downsample_release(r, op);
            *d = (struct downsample){.count = 0};
        }
        if (takes_place(op, in->v[i])) {
            d->held = (struct point){in->t[i], in->v[i]};
            d->held_row = in->row[i];
            d->held_made = in->made[i];
        }
        if (op->rule->by == RULE_BY_FIRST && d->count == 0) {
            series_keep(r->out, in, i);
        }
        d->bucket = bucket;
        d->sum += in->v[i];
        d->count++;
    }
    run_swap(r);
    return OK;
}

/* ---- other values ---- */
static enum err convert_step(struct run *r, struct op *op)
{
    double to = r->channel->ops + r->channel->op_count > op + 1 ? op[1].resolution : r->channel->out_resolution;
    for (size_t i = 0; i < r->in->count; i++) {
        double v = snap(r->in->v[i] * op->rule->factor + op->rule->offset, to);
        if (!isnan(v)) {
            series_put(r->out, r->in->t[i], v, r->in->row[i], true);
        }
    }
    run_swap(r);
    return OK;
}

static enum err bucket_step(struct run *r, struct op *op)
{
    double width = fit_resolution(op->rule->width);
    for (size_t i = 0; i < r->in->count; i++) {
        double steps = r->in->v[i] / width, near = round(steps);
        /* 0.3 / 0.1 is a little less than 3. */
        double floored = fabs(steps - near) <= 1e-9 * fmax(1, fabs(near)) ? near : floor(steps);
        double v = fabs(floored) < 0x1p62 ? block_value((int64_t)floored, width) : NAN;
        if (!isnan(v)) {
            series_put(r->out, r->in->t[i], v, r->in->row[i], true);
        }
    }
    run_swap(r);
    return OK;
}

/* HMAC-SHA-256(key, name | 0 | value as binary64, little-endian), its first 52 bits. */
static enum err pseudonym(const struct curate *c, const char *channel, double value, double *ret)
{
    uint8_t text[WIRE_NAME_MAX + 1 + 8], mac[CRYPT_SHA256_BYTES];
    size_t len = strnlen(channel, WIRE_NAME_MAX);
    value = value == 0 ? 0 : value; /* not the negative one */
    memcpy(text, channel, len);
    text[len] = 0;
    memcpy(text + len + 1, &value, 8);
    TRY(crypt_hmac_sha256(slice_of(c->key, c->key_len), slice_of(text, len + 9), mac));
    uint64_t bits;
    memcpy(&bits, mac, 8);
    *ret = (double)(__builtin_bswap64(bits) >> (64 - HASH_BITS));
    return OK;
}

static enum err hash_step(struct run *r, struct op *op)
{
    double last = NAN, name = 0;
    (void)op;
    for (size_t i = 0; i < r->in->count; i++) {
        if (r->in->v[i] != last) { /* the same person for many samples */
            TRY(pseudonym(r->c, r->channel->name, r->in->v[i], &name));
            last = r->in->v[i];
        }
        series_put(r->out, r->in->t[i], name, r->in->row[i], true);
    }
    run_swap(r);
    return OK;
}

static enum err no_step(struct run *r, struct op *op)
{
    (void)r;
    (void)op;
    return OK;
}

/* ---- the chain ---- */
static enum err (*const steps[RULE_KINDS])(struct run *r, struct op *op) = {
    [RULE_RANGE] = range_step,
    [RULE_QUALITY] = quality_step,
    [RULE_DEDUPE] = dedupe_step,
    [RULE_CONVERT] = convert_step,
    [RULE_DEADBAND] = deadband_step,
    [RULE_SWINGING_DOOR] = door_step,
    [RULE_RATE] = rate_step,
    [RULE_DOWNSAMPLE] = downsample_step,
    [RULE_ON_CHANGE] = on_change_step,
    [RULE_WINDOW] = windows_step,
    [RULE_SPECTRUM] = spectrum_step,
    [RULE_CAPTURE] = capture_step,
    [RULE_DROP] = no_step,
    [RULE_HASH] = hash_step,
    [RULE_BUCKET] = bucket_step,
    [RULE_MERGE] = no_step, /* takes windows, not values */
};

static bool is_face(int kind)
{
    return kind == RULE_CONVERT || kind == RULE_HASH || kind == RULE_BUCKET;
}

static void count(struct curate *c, const struct op *op, size_t before, size_t after)
{
    struct curate_rule_stats *stats = &c->stats[op->rule->index];
    stats->seen += before;
    c->taken[op->rule->index] += (int64_t)before - (int64_t)after;
    if (after > before) { /* what was held back goes */
        stats->dropped -= min_u64(stats->dropped, after - before);
    } else {
        stats->dropped += before - after;
        c->dropped[op->rule->index] += before - after;
    }
    if (is_face(op->kind)) {
        stats->changed += after;
        c->altered[op->rule->index] += after;
    }
}

enum err chain_run(struct run *r)
{
    for (unsigned i = 0; i < r->channel->op_count; i++) {
        struct op *op = &r->channel->ops[i];
        size_t before = r->in->count;
        if (op->kind == RULE_MERGE || (r->s == NULL && !is_face(op->kind))) {
            continue;
        }
        r->out->count = 0;
        TRY(steps[op->kind](r, op));
        if (r->s != NULL) {
            count(r->c, op, before, r->in->count);
        }
    }
    return OK;
}

void chain_forget_rows(struct channel *channel)
{
    for (unsigned i = 0; i < channel->op_count; i++) {
        if (channel->ops[i].kind == RULE_SWINGING_DOOR) {
            channel->ops[i].door.last_row = -1;
        } else if (channel->ops[i].kind == RULE_DOWNSAMPLE) {
            channel->ops[i].down.held_row = -1;
        }
    }
}
