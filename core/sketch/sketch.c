/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buckets. A value's bucket is floor(scale * L(|value|)), where L is a piecewise cubic that stands in for log2: exponent
 * plus P(m) = 6/35 m^3 - 3/5 m^2 + 10/7 m of the mantissa 1 + m. P joins at the powers of two, and dL/dln(v) = (1 + m)
 * P'(m) is never below 10/7 (at m = 0 and m = 2/3), so buckets of width ln(g) * 10/7 in L are nowhere wider than a factor
 * g = (1 + error) / (1 - error); about 1 % more buckets than the true logarithm, without calling it. (The mapping is the
 * "cubically interpolated" one of DDSketch's authors.)
 *
 * side[0] counts positive values, side[1] negative ones by magnitude; what is below FLOOR in magnitude counts as zero.
 */
#include "core/sketch/sketch.h"

#include <math.h>

#define FLOOR 1e-200
#define LEAST_SLOPE (10.0 / 7.0)

enum { GROWTH = 32 }; /* buckets that a side grows by at least */

enum err sketch_init(struct sketch *s, double error)
{
    *s = (struct sketch){.error = error};
    if (!(error >= 0.001 && error <= 0.1)) {
        return ERR_RANGE;
    }
    s->scale = 1 / (LEAST_SLOPE * log((1 + error) / (1 - error)));
    return OK;
}

enum err sketch_init_fixed(struct sketch *s, double error, uint32_t *counts, uint32_t cap)
{
    TRY(sketch_init(s, error));
    s->fixed = true;
    s->side[0] = (struct sketch_side){.counts = counts, .cap = cap};
    return OK;
}

void sketch_reset(struct sketch *s)
{
    s->side[0].used = s->side[1].used = 0;
    s->zeros = s->count = 0;
    s->folded = false;
}

void sketch_deinit(struct sketch *s)
{
    if (!s->fixed) {
        free(s->side[0].counts);
    }
    free(s->side[1].counts);
    *s = (struct sketch){0};
}

/* ---- value <-> bucket ---- */
static inline int32_t bucket_of(double scale, double magnitude)
{
    uint64_t bits;
    memcpy(&bits, &magnitude, 8);
    double exponent = (double)(int64_t)(bits >> 52) - 1023;
    uint64_t mantissa = (bits & ((UINT64_C(1) << 52) - 1)) | UINT64_C(0x3ff) << 52;
    double m;
    memcpy(&m, &mantissa, 8);
    m -= 1;
    double at = scale * (exponent + ((6.0 / 35.0 * m - 3.0 / 5.0) * m + 10.0 / 7.0) * m);
    int32_t i = (int32_t)at;
    return i - (at < i);
}

/* The magnitude at which L is x: Newton's method on the cubic, whose slope is at least 10/14. */
static double magnitude_at(double x)
{
    double e = floor(x), want = x - e, m = want;
    for (int i = 0; i < 8; i++) {
        double p = ((6.0 / 35.0 * m - 3.0 / 5.0) * m + 10.0 / 7.0) * m;
        m -= (p - want) / ((18.0 / 35.0 * m - 6.0 / 5.0) * m + 10.0 / 7.0);
    }
    return ldexp(1 + m, (int)e);
}

/* The one value that is within the error of both ends of the bucket. */
static double bucket_value(const struct sketch *s, int32_t bucket)
{
    double low = magnitude_at(bucket / s->scale), high = magnitude_at((bucket + 1) / s->scale);
    return 2 * low * (high / (low + high));
}

/* ---- a side's array ---- */
static uint32_t add_count(uint32_t to, uint64_t more)
{
    return (uint32_t)min_u64(UINT32_MAX, to + more);
}

/* Folds everything below `first` into it. */
static void fold_below(struct sketch *s, struct sketch_side *side, int32_t first)
{
    uint32_t drop = (uint32_t)min_i64(first - (int64_t)side->first, (int64_t)side->used);
    uint64_t folded = 0;
    for (uint32_t i = 0; i < drop; i++) {
        folded += side->counts[i];
    }
    memmove(side->counts, side->counts + drop, (side->used - drop) * sizeof(*side->counts));
    side->used -= drop;
    side->first = first;
    if (side->used == 0) {
        side->counts[0] = 0;
        side->used = 1;
    }
    side->counts[0] = add_count(side->counts[0], folded);
    s->folded |= folded > 0;
}

static enum err reserve(struct sketch_side *side, uint32_t used)
{
    if (used <= side->cap) {
        return OK;
    }
    uint32_t cap = (uint32_t)min_u64(used + GROWTH, SKETCH_BUCKETS);
    uint32_t *counts = realloc(side->counts, cap * sizeof(*counts));
    if (counts == NULL) {
        return ERR_NOMEM;
    }
    side->counts = counts;
    side->cap = cap;
    return OK;
}

/* Makes the array reach from..to (as far as SKETCH_BUCKETS allow: the upper end wins). */
static enum err cover(struct sketch *s, struct sketch_side *side, int32_t from, int32_t to)
{
    if (side->used > 0) {
        from = from < side->first ? from : side->first;
        int32_t last = side->first + (int32_t)side->used - 1;
        to = to > last ? to : last;
    }
    int64_t most = s->fixed ? side->cap : SKETCH_BUCKETS;
    if ((int64_t)to - from >= most) {
        from = (int32_t)(to - most + 1);
    }
    TRY(reserve(side, (uint32_t)(to - from) + 1));
    if (side->used == 0) {
        side->first = from;
    } else if (side->first < from) {
        fold_below(s, side, from);
    } else if (side->first > from) {
        uint32_t by = (uint32_t)(side->first - from);
        memmove(side->counts + by, side->counts, side->used * sizeof(*side->counts));
        memset(side->counts, 0, by * sizeof(*side->counts));
        side->used += by;
        side->first = from;
    }
    uint32_t want = (uint32_t)(to - from) + 1;
    if (want > side->used) {
        memset(side->counts + side->used, 0, (want - side->used) * sizeof(*side->counts));
        side->used = want;
    }
    return OK;
}

static enum err add_outside(struct sketch *s, struct sketch_side *side, int32_t bucket)
{
    TRY(cover(s, side, bucket, bucket));
    int32_t at = bucket - side->first;
    s->folded |= at < 0;
    at = at < 0 ? 0 : at;
    side->counts[at] = add_count(side->counts[at], 1);
    return OK;
}

enum err sketch_add(struct sketch *s, const double *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double magnitude = fabs(values[i]);
        if (magnitude < FLOOR) {
            s->zeros++;
            s->count++;
            continue;
        }
        struct sketch_side *side = &s->side[values[i] < 0];
        if (s->fixed && values[i] < 0) {
            continue;
        }
        int32_t bucket = bucket_of(s->scale, magnitude);
        uint32_t at = (uint32_t)bucket - (uint32_t)side->first;
        if (at < side->used && side->counts[at] != UINT32_MAX) {
            side->counts[at]++;
        } else {
            TRY(add_outside(s, side, bucket));
        }
        s->count++;
    }
    return OK;
}

enum err sketch_merge(struct sketch *into, const struct sketch *from)
{
    if (into->error != from->error) {
        return ERR_RANGE;
    }
    if (into->fixed && from->side[1].used > 0) {
        return ERR_RANGE;
    }
    for (unsigned i = 0; i < 2; i++) { /* room first: nothing is added by halves */
        const struct sketch_side *f = &from->side[i];
        if (f->used > 0) {
            TRY(cover(into, &into->side[i], f->first, f->first + (int32_t)f->used - 1));
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        const struct sketch_side *f = &from->side[i];
        struct sketch_side *t = &into->side[i];
        for (uint32_t k = 0; k < f->used; k++) {
            int64_t at = (int64_t)f->first + k - t->first;
            into->folded |= at < 0 && f->counts[k] > 0;
            at = max_i64(at, 0);
            t->counts[at] = add_count(t->counts[at], f->counts[k]);
        }
    }
    into->zeros += from->zeros;
    into->count += from->count;
    into->folded |= from->folded;
    return OK;
}

double sketch_quantile(const struct sketch *s, double q)
{
    if (s->count == 0) {
        return NAN;
    }
    uint64_t rank = (uint64_t)ceil(fmin(fmax(q, 0), 1) * (double)s->count), seen = 0;
    rank = max_u64(rank, 1);
    const struct sketch_side *negative = &s->side[1], *positive = &s->side[0];
    for (uint32_t i = negative->used; i-- > 0;) {
        seen += negative->counts[i];
        if (seen >= rank) {
            return -bucket_value(s, negative->first + (int32_t)i);
        }
    }
    seen += s->zeros;
    if (seen >= rank) {
        return 0;
    }
    uint32_t last = 0;
    for (uint32_t i = 0; i < positive->used; i++) {
        seen += positive->counts[i];
        last = positive->counts[i] > 0 ? i : last;
        if (seen >= rank) {
            break;
        }
    }
    return positive->used > 0 ? bucket_value(s, positive->first + (int32_t)last) : 0;
}

/* ---- held against bins ---- */
double sketch_stand_in(double error, double x)
{
    struct sketch s;
    double magnitude = fabs(x);
    if (sketch_init(&s, error) != OK || magnitude < FLOOR) {
        return 0;
    }
    return copysign(bucket_value(&s, bucket_of(s.scale, magnitude)), x);
}

void sketch_histogram(const struct sketch *s, const double *edges, unsigned bins, uint64_t *ret_counts)
{
    memset(ret_counts, 0, bins * sizeof(*ret_counts));
    for (unsigned k = 0; k < 3; k++) { /* zeros, positive, negative */
        const struct sketch_side *side = k > 0 ? &s->side[k - 1] : NULL;
        for (uint32_t i = 0; i < (side != NULL ? side->used : 1); i++) {
            double x = side != NULL ? bucket_value(s, side->first + (int32_t)i) : 0;
            unsigned bin = 0;
            while (bin + 1 < bins && (k == 2 ? -x : x) >= edges[bin]) {
                bin++;
            }
            ret_counts[bin] += side != NULL ? side->counts[i] : s->zeros;
        }
    }
}
