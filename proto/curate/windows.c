/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows over event time, and merges of windows.
 *
 * A value belongs to one pane of `every` (tumbling: length); a window [s, s + length) is the sum of length / every
 * panes, so a value is added once however many windows it counts in. `closed` is the watermark: windows that end at
 * or before it are closed, a value that belongs to closed windows only is late.
 *
 *   panes   |--0--|--1--|--2--|--3--|        every
 *   windows |=================|              length = 3 panes
 *                 |=================|
 *
 * Panes exist only where values are, and every loop runs over panes: a clock that jumps years costs nothing.
 *
 * A clock that is set, told by its distance from monotonic time between two blocks (curate.c), closes what is open as
 * partial, and the next value begins anew: neither does one bad time close windows as if they were full, nor are the
 * values behind it late. Where monotonic time is not known (a device that has none, a new boot) only a clock that goes
 * back STEP_BACK_US below what a late value may be is taken for a set one.
 *
 * A merge has tumbling windows whose values are windows.
 */
#include <math.h>

#include "proto/curate/curate_internal.h"

static int64_t floor_to(int64_t t, int64_t step)
{
    int64_t rest = t % step;
    return t - (rest < 0 ? rest + step : rest);
}

void windows_init(struct windows *w, const struct rule *rule)
{
    *w = (struct windows){.length = rule->length_us, .late = rule->late_us};
    w->every = rule->kind == RULE_WINDOW && rule->every_us > 0 ? rule->every_us : rule->length_us;
    w->error = rule->kind == RULE_WINDOW && rule->quantiles > 0 ? rule->error : 0;
}

static void pane_deinit(struct pane *p)
{
    sketch_deinit(&p->sketch);
    free(p->band);
}

void windows_deinit(struct windows *w)
{
    for (unsigned i = 0; i < w->count; i++) {
        pane_deinit(&w->panes[i]);
    }
    free(w->panes);
    w->panes = NULL;
    w->count = w->cap = 0;
}

size_t windows_bytes(const struct windows *w)
{
    size_t bytes = w->count * sizeof(struct pane);
    for (unsigned i = 0; i < w->count; i++) {
        const struct pane *p = &w->panes[i];
        /* What is in use, not what is allocated: the same before and after a way through bytes. */
        bytes += ((size_t)p->sketch.side[0].used + p->sketch.side[1].used) * sizeof(uint32_t);
        bytes += p->bands * sizeof(*p->band);
    }
    return bytes;
}

/* ---- panes ---- */
static void panes_drop(struct windows *w, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        pane_deinit(&w->panes[i]);
    }
    memmove(w->panes, w->panes + count, (w->count - count) * sizeof(*w->panes));
    w->count -= count;
}

static enum err panes_reserve(struct windows *w)
{
    if (w->count < w->cap) {
        return OK;
    }
    unsigned cap = w->cap == 0 ? 2 : 2 * w->cap;
    struct pane *panes = realloc(w->panes, cap * sizeof(*panes));
    if (panes == NULL) {
        return ERR_NOMEM;
    }
    w->panes = panes;
    w->cap = cap;
    return OK;
}

/* The pane that begins at start, made if need be. */
static enum err pane_find(struct windows *w, int64_t start, struct pane **ret_pane)
{
    unsigned at = w->count;
    while (at > 0 && w->panes[at - 1].start >= start) {
        at--;
    }
    if (at == w->count || w->panes[at].start != start) {
        TRY(panes_reserve(w));
        struct pane made = {.start = start};
        if (w->error != 0) {
            TRY(sketch_init(&made.sketch, w->error));
        }
        memmove(w->panes + at + 1, w->panes + at, (w->count - at) * sizeof(*w->panes));
        w->panes[at] = made;
        w->count++;
    }
    *ret_pane = &w->panes[at];
    return OK;
}

/* ---- closing ---- */
struct closing {
    struct curate *c;
    struct curate_stream *s;
    struct channel *channel;
    struct op *op;
    bool partial; /* before its time */
};

static enum err sum_bands(const struct pane *p, double **band, unsigned *bands)
{
    if (p->bands > *bands) {
        double *grown = realloc(*band, p->bands * sizeof(*grown));
        if (grown == NULL) {
            return ERR_NOMEM;
        }
        memset(grown + *bands, 0, (p->bands - *bands) * sizeof(*grown));
        *band = grown;
        *bands = p->bands;
    }
    for (unsigned i = 0; i < p->bands; i++) {
        (*band)[i] += p->band[i];
    }
    return OK;
}

static void doublep_free(double **p)
{
    free(*p);
}

/* The window that begins at start: panes[0..count) are in it. */
static enum err close_one(struct closing *g, int64_t start, unsigned count)
{
    struct windows *w = &g->op->windows;
    struct closed closed = {.start = start, .length = w->length, .partial = g->partial, .late = w->late_values};
    CLEANUP(sketch_deinit) struct sketch sum = {.error = 0};
    CLEANUP(doublep_free) double *band = NULL;
    unsigned bands = 0;
    bool has_sketch = true;
    closed.partial |= start < w->hole_to && start + w->length > w->hole_from;
    for (unsigned i = 0; i < count; i++) {
        const struct pane *p = &w->panes[i];
        moments_merge(&closed.moments, &p->moments);
        closed.partial |= p->partial;
        closed.late += p->late;
        has_sketch &= p->sketch.error != 0 && (i == 0 || p->sketch.error == w->panes[0].sketch.error);
        TRY(sum_bands(p, &band, &bands));
    }
    if (has_sketch && count > 1) {
        TRY(sketch_init(&sum, w->panes[0].sketch.error));
        for (unsigned i = 0; i < count; i++) {
            TRY(sketch_merge(&sum, &w->panes[i].sketch));
        }
    }
    closed.sketch = !has_sketch ? NULL : count > 1 ? &sum : &w->panes[0].sketch;
    for (unsigned i = 0; i < bands; i++) {
        band[i] /= (double)closed.moments.count;
    }
    closed.band = band;
    closed.bands = bands;
    w->late_values = 0;
    if (g->op->rule != NULL) {
        g->c->stats[g->op->rule->index].windows++;
    }
    return closed.moments.count > 0 ? queue_window(g->c, g->s, g->channel, g->op->rule, g->op->name, &closed) : OK;
}

/* Closes the windows that end at or before `until`. */
static enum err close_until(struct closing *g, int64_t until)
{
    struct windows *w = &g->op->windows;
    while (w->count > 0) {
        int64_t first = w->panes[0].start;
        /* The first window that is open and has panes[0] in it, if any. */
        int64_t open = floor_to(w->closed - w->length, w->every) + w->every;
        int64_t start = max_i64(first - w->length + w->every, open);
        if (start > first) {
            panes_drop(w, 1);
            continue;
        }
        if (start + w->length > until) {
            break;
        }
        unsigned count = 1;
        while (count < w->count && w->panes[count].start < start + w->length) {
            count++;
        }
        TRY(close_one(g, start, count));
        w->closed = max_i64(w->closed, start + w->length);
    }
    w->closed = max_i64(w->closed, until);
    return OK;
}

enum err windows_finish(struct curate *c, struct curate_stream *s, struct channel *channel, struct op *op)
{
    struct windows *w = &op->windows;
    struct closing g = {.c = c, .s = s, .channel = channel, .op = op, .partial = true};
    if (w->count > 0) {
        TRY(close_until(&g, w->panes[w->count - 1].start + w->length));
        panes_drop(w, w->count);
    }
    w->has = w->gap = false;
    return OK;
}

enum err windows_clock_set(struct curate *c, struct curate_stream *s, struct channel *channel, struct op *op,
                           int64_t by_us)
{
    int64_t bound = max_i64(op->windows.length, SECOND_US);
    return by_us > bound || by_us < -bound ? windows_finish(c, s, channel, op) : OK;
}

enum err windows_shorten(struct curate *c, struct curate_stream *s, struct channel *channel, struct op *op)
{
    struct windows *w = &op->windows;
    struct closing g = {.c = c, .s = s, .channel = channel, .op = op, .partial = true};
    if (w->count == 0) {
        return OK;
    }
    c->stats[op->rule->index].cut++;
    return close_until(&g, w->panes[0].start + w->length); /* takes the first pane, which no other window needs */
}

/* ---- values ---- */
/* What came before t is unknown from `from` on. */
static void hole(struct windows *w, int64_t from, int64_t t)
{
    bool still_matters = w->hole_to > w->closed - w->length;
    w->hole_from = still_matters ? min_i64(w->hole_from, from) : from;
    w->hole_to = t;
    w->gap = false;
}

/* Before the first value at t of a run is looked at. */
static enum err begin_run(struct closing *g, int64_t t)
{
    struct windows *w = &g->op->windows;
    if (w->has && t < w->newest - w->length - 2 * w->late - STEP_BACK_US) {
        TRY(windows_finish(g->c, g->s, g->channel, g->op));
    }
    if (!w->has) {
        w->has = true;
        w->newest = t;
        w->closed = -TIME_MAX;
        w->hole_from = -TIME_MAX;
        w->hole_to = t;
        w->gap = false;
    } else if (w->gap) {
        hole(w, w->newest, t);
    }
    return OK;
}

/* The clock has reached t. */
static enum err advance(struct closing *g, int64_t t)
{
    struct windows *w = &g->op->windows;
    w->newest = max_i64(w->newest, t);
    if (w->newest - w->late > w->closed) {
        TRY(close_until(g, w->newest - w->late));
    }
    while (w->count > PANES_MAX) {
        TRY(windows_shorten(g->c, g->s, g->channel, g->op));
    }
    return OK;
}

enum err windows_step(struct run *r, struct op *op)
{
    struct windows *w = &op->windows;
    struct closing g = {.c = r->c, .s = r->s, .channel = r->channel, .op = op};
    const struct series *in = r->in;
    for (size_t i = 0; i < in->count;) {
        int64_t start = floor_to(in->t[i], w->every), newest = in->t[i];
        size_t end = i + 1;
        while (end < in->count && (uint64_t)(in->t[end] - start) < (uint64_t)w->every) {
            newest = max_i64(newest, in->t[end++]);
        }
        TRY(begin_run(&g, in->t[i]));
        if (start + w->length <= w->closed) {
            w->late_values += end - i;
            r->c->stats[op->rule->index].late += end - i;
        } else {
            struct pane *pane;
            TRY(pane_find(w, start, &pane));
            moments_add(&pane->moments, in->v + i, end - i);
            if (pane->sketch.error != 0) {
                TRY(sketch_add(&pane->sketch, in->v + i, end - i));
            }
        }
        TRY(advance(&g, newest));
        i = end;
    }
    if (op->rule->raw == RULE_RAW_DROP) {
        r->in->count = 0;
    }
    return OK;
}

/* ---- merge ---- */
static enum err pane_merge(struct pane *p, const struct closed *closed)
{
    bool first = p->moments.count == 0;
    moments_merge(&p->moments, &closed->moments);
    p->partial |= closed->partial;
    p->late += closed->late;
    if (first && closed->sketch != NULL) {
        TRY(sketch_init(&p->sketch, closed->sketch->error));
    }
    if (p->sketch.error != 0) {
        enum err err = closed->sketch != NULL ? sketch_merge(&p->sketch, closed->sketch) : ERR_RANGE;
        if (err == ERR_RANGE) {
            sketch_deinit(&p->sketch); /* quantiles of a part would be none of the whole */
        } else if (err != OK) {
            return err;
        }
    }
    if (closed->bands > p->bands) {
        double *band = realloc(p->band, closed->bands * sizeof(*band));
        if (band == NULL) {
            return ERR_NOMEM;
        }
        memset(band + p->bands, 0, (closed->bands - p->bands) * sizeof(*band));
        p->band = band;
        p->bands = closed->bands;
    }
    for (unsigned i = 0; i < closed->bands; i++) {
        p->band[i] += closed->band[i] * (double)closed->moments.count;
    }
    return OK;
}

enum err windows_merge(struct curate *c, struct curate_stream *s, struct channel *channel, struct op *op,
                       const struct closed *closed)
{
    struct windows *w = &op->windows;
    struct closing g = {.c = c, .s = s, .channel = channel, .op = op};
    struct curate_rule_stats *stats = &c->stats[op->rule->index];
    stats->seen++;
    stats->dropped++;
    /* Sliding windows overlap: those that stand on multiples of their length cover every value once. Spectra follow
     * each other wherever they begin. */
    if (closed->bands == 0 && closed->start % closed->length != 0) {
        return OK;
    }
    int64_t start = floor_to(closed->start, w->length);
    TRY(begin_run(&g, closed->start));
    if (start + w->length <= w->closed) {
        w->late_values += closed->moments.count;
        stats->late += closed->moments.count;
        return OK;
    }
    struct pane *pane;
    TRY(pane_find(w, start, &pane));
    TRY(pane_merge(pane, closed));
    return advance(&g, closed->start + closed->length);
}

/* ---- bytes ---- */
static int64_t get_time(struct cursor *c)
{
    int64_t t = zigzag_decode(cursor_varint(c));
    c->failed |= t > WALL_MAX + TIME_MAX / 4 || t < -TIME_MAX;
    return c->failed ? 0 : t;
}

enum { SKETCH_BYTES = 2 * SKETCH_BUCKETS * 6 + 64 }; /* longest encoding: nothing is folded */

static void pane_encode(const struct pane *p, struct buffer *out)
{
    const struct moments *m = &p->moments;
    buffer_put_varint(out, zigzag_encode(p->start));
    buffer_put_varint(out, m->count);
    buffer_put_f64le(out, m->mean);
    buffer_put_f64le(out, m->m2);
    buffer_put_f64le(out, m->min);
    buffer_put_f64le(out, m->max);
    buffer_put_u8(out, p->partial);
    buffer_put_varint(out, p->late);
    buffer_put_varint(out, p->bands);
    for (unsigned i = 0; i < p->bands; i++) {
        buffer_put_f64le(out, p->band[i]);
    }
    BUFFER(sketch, SKETCH_BYTES);
    if (p->sketch.error != 0) {
        enum err err = sketch_encode(&p->sketch, SKETCH_BYTES, &sketch);
        out->err = out->err == OK ? err : out->err;
    }
    buffer_put_varint(out, sketch.len);
    buffer_put_slice(out, buffer_slice(&sketch));
}

void windows_encode(const struct windows *w, struct buffer *out)
{
    buffer_put_varint(out, (uint64_t)w->length);
    buffer_put_varint(out, (uint64_t)w->every);
    buffer_put_varint(out, (uint64_t)w->late);
    buffer_put_f64le(out, w->error);
    buffer_put_u8(out, (uint8_t)(w->has | w->gap << 1));
    if (!w->has) {
        return;
    }
    buffer_put_varint(out, zigzag_encode(w->newest));
    buffer_put_varint(out, zigzag_encode(w->closed));
    buffer_put_varint(out, zigzag_encode(w->hole_from));
    buffer_put_varint(out, zigzag_encode(w->hole_to));
    buffer_put_varint(out, w->late_values);
    buffer_put_varint(out, w->count);
    for (unsigned i = 0; i < w->count; i++) {
        pane_encode(&w->panes[i], out);
    }
}

static enum err pane_decode(struct cursor *in, const struct windows *w, struct pane *p)
{
    struct moments *m = &p->moments;
    p->start = get_time(in);
    m->count = cursor_varint(in);
    m->mean = cursor_f64le(in); /* any: the square of a value near 1e200 is infinite (queue.c) */
    m->m2 = cursor_f64le(in);
    m->min = cursor_f64le(in);
    m->max = cursor_f64le(in);
    p->partial = cursor_u8(in) != 0;
    p->late = cursor_varint(in);
    uint64_t bands = cursor_varint(in);
    if (in->failed || bands > WIRE_BANDS_MAX || m->count == 0 || m->count > INT64_MAX / 4 || p->late > INT64_MAX / 4 ||
        p->start % w->every != 0 || p->start > WALL_MAX) {
        return ERR_MALFORMED;
    }
    if (bands > 0) {
        p->band = calloc(bands, sizeof(*p->band));
        if (p->band == NULL) {
            return ERR_NOMEM;
        }
        p->bands = (unsigned)bands;
    }
    for (unsigned i = 0; i < p->bands; i++) {
        p->band[i] = cursor_f64le(in);
    }
    struct slice sketch = cursor_bytes(in, cursor_varint(in));
    if (sketch.len > 0) {
        enum err err = sketch_decode(sketch, &p->sketch);
        if (err != OK) {
            return err == ERR_NOMEM ? err : ERR_MALFORMED;
        }
        if (w->error != 0 && p->sketch.error != w->error) {
            return ERR_MALFORMED;
        }
    }
    return cursor_err(in);
}

/* On failure the caller deinits w. */
enum err windows_decode(struct cursor *in, struct windows *w)
{
    *w = (struct windows){.length = (int64_t)cursor_varint(in), .every = (int64_t)cursor_varint(in)};
    w->late = (int64_t)cursor_varint(in);
    w->error = cursor_f64le(in);
    uint8_t flags = cursor_u8(in);
    if (in->failed || !isfinite(w->error) || w->length < 1 || w->length > TIME_MAX / 4 || w->every < 1 ||
        w->length % w->every != 0 || w->length / w->every > 64 || w->late < 0 || w->late > TIME_MAX / 4 || flags > 3) {
        return ERR_MALFORMED;
    }
    w->has = (flags & 1) != 0;
    w->gap = (flags & 2) != 0;
    if (!w->has) {
        return OK;
    }
    w->newest = get_time(in);
    w->closed = get_time(in);
    w->hole_from = get_time(in);
    w->hole_to = get_time(in);
    w->late_values = cursor_varint(in);
    uint64_t count = cursor_varint(in);
    if (in->failed || count > PANES_MAX || w->late_values > INT64_MAX / 4) {
        return ERR_MALFORMED;
    }
    for (uint64_t i = 0; i < count; i++) {
        TRY(panes_reserve(w));
        w->panes[w->count] = (struct pane){.start = 0};
        w->count++;
        TRY(pane_decode(in, w, &w->panes[i]));
        if (i > 0 && w->panes[i].start <= w->panes[i - 1].start) {
            return ERR_MALFORMED;
        }
    }
    return OK;
}
