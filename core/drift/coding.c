/* SPDX-License-Identifier: Apache-2.0 */
/*
 * States of the detectors as bytes; little-endian, varints as in core/base/cursor.h.
 *   ewma     begun u8 | value f64
 *   window   size, filled, at varint | bin u8 x filled, in the order of the ring
 *   page     count varint | mean f64 | sum f64
 *   adwin    added varint | variance f64 | levels u8 | per level: used u8, used x (sum f64, square f64)
 *   rates    kinds u8 | filled u8 | errors varint x kinds | levels u8 | per level: used u8, used x kinds x errors varint
 *   levels   dimensions u8 | distance f64 x dimensions
 *   confirm  n u8 | raised u8 | beyond u64
 *   sensor   seen, equal, missing varint | last f64 x 3 | steps f64 x 16
 */
#include <math.h>

#include "core/base/buffer.h"
#include "core/base/cursor.h"
#include "core/drift/drift.h"

void drift_put_ewma(const struct drift_ewma *e, struct buffer *out)
{
    buffer_put_u8(out, e->begun);
    buffer_put_f64le(out, e->value);
}

enum err drift_get_ewma(struct cursor *in, struct drift_ewma *e)
{
    uint8_t begun = cursor_u8(in);
    double value = cursor_f64le(in);
    TRY(cursor_err(in));
    if (begun > 1 || !isfinite(value)) {
        return ERR_RANGE;
    }
    e->begun = begun != 0;
    e->value = value;
    return OK;
}

void drift_put_window(const struct drift_window *w, struct buffer *out)
{
    buffer_put_varint(out, w->size);
    buffer_put_varint(out, w->filled);
    buffer_put_varint(out, w->at);
    buffer_put(out, w->bin, w->filled);
}

enum err drift_get_window(struct cursor *in, unsigned bins, struct drift_window *w)
{
    uint64_t size = cursor_varint(in), filled = cursor_varint(in), at = cursor_varint(in);
    TRY(cursor_err(in));
    /* A ring that is not full yet has been written from its beginning. */
    if (size != w->size || size == 0 || size > DRIFT_WINDOW_MAX || filled > size || at >= size ||
        (filled < size && at != filled) || bins < 1 || bins > DRIFT_BINS_MAX) {
        return ERR_RANGE;
    }
    struct slice cells = cursor_bytes(in, filled);
    TRY(cursor_err(in));
    uint32_t count[DRIFT_BINS_MAX] = {0};
    for (size_t i = 0; i < cells.len; i++) {
        if (cells.ptr[i] >= bins) {
            return ERR_RANGE;
        }
        count[cells.ptr[i]]++;
    }
    w->filled = (unsigned)filled;
    w->at = (unsigned)at;
    memcpy(w->count, count, sizeof(count));
    memset(w->bin, 0, sizeof(w->bin));
    if (cells.len > 0) {
        memcpy(w->bin, cells.ptr, cells.len);
    }
    return OK;
}

void drift_put_page_hinkley(const struct drift_page_hinkley *p, struct buffer *out)
{
    buffer_put_varint(out, p->count);
    buffer_put_f64le(out, p->mean);
    buffer_put_f64le(out, p->sum);
}

enum err drift_get_page_hinkley(struct cursor *in, struct drift_page_hinkley *p)
{
    uint64_t count = cursor_varint(in);
    double mean = cursor_f64le(in), sum = cursor_f64le(in);
    TRY(cursor_err(in));
    if (!isfinite(mean) || !isfinite(sum) || sum < 0) {
        return ERR_RANGE;
    }
    p->count = count;
    p->mean = mean;
    p->sum = sum;
    return OK;
}

void drift_put_adwin(const struct drift_adwin *a, struct buffer *out)
{
    unsigned levels = ADWIN_LEVELS;
    while (levels > 0 && a->level[levels - 1].used == 0) {
        levels--;
    }
    buffer_put_varint(out, a->added);
    buffer_put_f64le(out, a->variance);
    buffer_put_u8(out, (uint8_t)levels);
    for (unsigned l = 0; l < levels; l++) {
        buffer_put_u8(out, (uint8_t)a->level[l].used);
        for (unsigned i = 0; i < a->level[l].used; i++) {
            buffer_put_f64le(out, a->level[l].sum[i]);
            buffer_put_f64le(out, a->level[l].square[i]);
        }
    }
}

static enum err get_level(struct cursor *in, unsigned l, struct drift_adwin *a)
{
    uint8_t used = cursor_u8(in);
    double n = (double)(UINT64_C(1) << l);
    if (used > ADWIN_PER_LEVEL) {
        return ERR_RANGE;
    }
    for (unsigned i = 0; i < used; i++) {
        double sum = cursor_f64le(in), square = cursor_f64le(in);
        TRY(cursor_err(in));
        /* Values are 0..1. A bound that rounding may pass by a little. */
        if (!(sum >= 0 && sum <= n) || !(square >= 0 && square <= n)) {
            return ERR_RANGE;
        }
        a->level[l].sum[i] = sum;
        a->level[l].square[i] = square;
        a->total += sum;
    }
    a->level[l].used = used;
    a->width += (uint64_t)used << l;
    return cursor_err(in);
}

enum err drift_get_adwin(struct cursor *in, struct drift_adwin *a)
{
    struct drift_adwin got;
    drift_adwin_init(&got, a->confidence);
    got.added = cursor_varint(in);
    got.variance = cursor_f64le(in);
    uint8_t levels = cursor_u8(in);
    TRY(cursor_err(in));
    if (levels > ADWIN_LEVELS) {
        return ERR_RANGE;
    }
    for (unsigned l = 0; l < levels; l++) {
        TRY(get_level(in, l, &got));
    }
    if (got.width > got.added || !(got.variance >= 0 && got.variance <= (double)got.width)) {
        return ERR_RANGE;
    }
    *a = got;
    return OK;
}

static void put_errors(const struct drift_rates *r, const uint32_t *errors, struct buffer *out)
{
    for (unsigned k = 0; k < r->kinds; k++) {
        buffer_put_varint(out, errors[k]);
    }
}

/* Of so many answers, each of which is one error or none. */
static enum err get_errors(struct cursor *in, const struct drift_rates *r, uint64_t answers, uint32_t *errors)
{
    for (unsigned k = 0; k < r->kinds; k++) {
        uint64_t count = cursor_varint(in);
        TRY(cursor_err(in));
        if (count > answers) {
            return ERR_RANGE;
        }
        answers -= count;
        errors[k] = (uint32_t)count;
    }
    return OK;
}

void drift_put_rates(const struct drift_rates *r, struct buffer *out)
{
    unsigned levels = DRIFT_RATES_LEVELS;
    while (levels > 0 && r->level[levels - 1].used == 0) {
        levels--;
    }
    buffer_put_u8(out, (uint8_t)r->kinds);
    buffer_put_u8(out, (uint8_t)r->filled);
    put_errors(r, r->block, out);
    buffer_put_u8(out, (uint8_t)levels);
    for (unsigned l = 0; l < levels; l++) {
        buffer_put_u8(out, (uint8_t)r->level[l].used);
        for (unsigned i = 0; i < r->level[l].used; i++) {
            put_errors(r, r->level[l].of[i], out);
        }
    }
}

enum err drift_get_rates(struct cursor *in, struct drift_rates *r)
{
    struct drift_rates got = {.kinds = r->kinds, .limit = r->limit};
    uint8_t kinds = cursor_u8(in), filled = cursor_u8(in);
    TRY(cursor_err(in));
    if (kinds != r->kinds || filled >= DRIFT_RATES_BLOCK) {
        return ERR_RANGE;
    }
    got.filled = filled;
    TRY(get_errors(in, r, filled, got.block));
    uint8_t levels = cursor_u8(in);
    if (levels > DRIFT_RATES_LEVELS) {
        return ERR_RANGE;
    }
    for (unsigned l = 0; l < levels; l++) {
        uint8_t used = cursor_u8(in);
        if (used > DRIFT_RATES_PER_LEVEL) {
            return ERR_RANGE;
        }
        got.level[l].used = used;
        for (unsigned i = 0; i < used; i++) {
            TRY(get_errors(in, r, (uint64_t)DRIFT_RATES_BLOCK << l, got.level[l].of[i]));
        }
    }
    TRY(cursor_err(in));
    *r = got;
    return OK;
}

void drift_put_levels(const struct drift_levels *l, const double *off, struct buffer *out)
{
    buffer_put_u8(out, (uint8_t)l->dimensions);
    for (unsigned i = 0; i < l->dimensions; i++) {
        buffer_put_f64le(out, off[i]);
    }
}

enum err drift_get_levels(struct cursor *in, const struct drift_levels *l, double *off)
{
    double got[DRIFT_DIMENSIONS_MAX];
    bool sound = cursor_u8(in) == l->dimensions;
    for (unsigned i = 0; i < l->dimensions; i++) {
        got[i] = cursor_f64le(in);
        sound &= isfinite(got[i]);
    }
    TRY(cursor_err(in));
    if (!sound) {
        return ERR_RANGE;
    }
    memcpy(off, got, l->dimensions * sizeof(*off));
    return OK;
}

void drift_put_confirm(const struct drift_confirm *c, struct buffer *out)
{
    buffer_put_u8(out, (uint8_t)c->n);
    buffer_put_u8(out, c->raised);
    buffer_put_u64le(out, c->beyond);
}

enum err drift_get_confirm(struct cursor *in, struct drift_confirm *c)
{
    uint8_t n = cursor_u8(in), raised = cursor_u8(in);
    uint64_t beyond = cursor_u64le(in);
    TRY(cursor_err(in));
    if (n != c->n || raised > 1 || (n < 64 && beyond >> n != 0)) {
        return ERR_RANGE;
    }
    c->raised = raised != 0;
    c->beyond = beyond;
    return OK;
}

void drift_put_sensor(const struct drift_sensor *s, struct buffer *out)
{
    buffer_put_varint(out, s->seen);
    buffer_put_varint(out, s->equal);
    buffer_put_varint(out, s->missing);
    for (unsigned i = 0; i < COUNT_OF(s->last); i++) {
        buffer_put_f64le(out, s->last[i]);
    }
    for (unsigned i = 0; i < COUNT_OF(s->steps); i++) {
        buffer_put_f64le(out, s->steps[i]);
    }
}

enum err drift_get_sensor(struct cursor *in, struct drift_sensor *s)
{
    struct drift_sensor got = *s;
    uint64_t equal, missing;
    bool sound = true;
    got.seen = cursor_varint(in);
    equal = cursor_varint(in);
    missing = cursor_varint(in);
    for (unsigned i = 0; i < COUNT_OF(got.last); i++) {
        got.last[i] = cursor_f64le(in);
        sound &= isfinite(got.last[i]);
    }
    for (unsigned i = 0; i < COUNT_OF(got.steps); i++) {
        got.steps[i] = cursor_f64le(in);
        sound &= !isnan(got.steps[i]) && got.steps[i] >= 0;
    }
    TRY(cursor_err(in));
    if (!sound || equal > DRIFT_RUN_MAX || missing > DRIFT_RUN_MAX) {
        return ERR_RANGE;
    }
    got.equal = (unsigned)equal;
    got.missing = (unsigned)missing;
    *s = got;
    return OK;
}
