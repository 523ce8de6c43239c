/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sketch - streaming statistics that merge exactly: moments, and a quantile sketch with a guaranteed relative error.
 *
 * Moments: count, mean, m2 (sum of squared distances from the mean), min, max; one pass, merged by the pairwise formula of
 * Chan, Golub and LeVeque (The American Statistician 37, 1983). Merging in any order gives the same up to rounding.
 *
 * Quantiles: logarithmic buckets, as DDSketch (Masson, Rim, Lee: PVLDB 12, 2019): a value in [g^(i-1), g^i) counts in
 * bucket i, so an answer is within `error` of the true value, relatively. Negative values have buckets of their own,
 * |value| < floor counts as 0. At most SKETCH_BUCKETS buckets; above that the lowest in magnitude fold together
 * (`folded` tells). Counts are whole numbers: merging is exact and order does not matter.
 *
 * Moments are plain data. A sketch holds one dense array of counts from its lowest to its highest bucket in use, grown
 * as values come (4 bytes a bucket; 1 % error and four decades of values: under 2 KiB), or one that it is given, where nothing
 * may be allocated. No thread of its own.
 */
#ifndef CORE_SKETCH_SKETCH_H
#define CORE_SKETCH_SKETCH_H

#include "core/base/base.h"
#include "core/base/buffer.h"

struct moments {
    uint64_t count;
    double mean, m2, min, max; /* of count = 0: 0 */
};
/* values: [count], finite. */
void moments_add(struct moments *m, const double *values, size_t count);
void moments_merge(struct moments *into, const struct moments *from);
double moments_variance(const struct moments *m); /* divisor count - 1; 0 of fewer than two */
double moments_rms(const struct moments *m);

struct sketch {
    double error;       /* as given */
    double scale;       /* 1 / log2(g) */
    uint64_t zeros, count;
    struct sketch_side {
        uint32_t *counts; /* owned; bucket first + i */
        int32_t first;
        uint32_t used, cap;
    } side[2];          /* positive, negative */
    bool folded;        /* low buckets were folded: low quantiles may be off by more than error */
    bool fixed;         /* counts of the positive side are not its own */
};
enum { SKETCH_BUCKETS = 2048 };

/* error: 0.001..0.1, else ERR_RANGE. Allocates nothing yet. */
enum err sketch_init(struct sketch *s, double error) MUST_CHECK;
/* Of values that are not negative (others are left out), in counts[cap], borrowed, cap >= 1: never allocates, folds from cap
 * buckets on, and fails in nothing but the error. */
enum err sketch_init_fixed(struct sketch *s, double error, uint32_t *counts, uint32_t cap) MUST_CHECK;
void sketch_reset(struct sketch *s);  /* empty again, with the memory that it has */
void sketch_deinit(struct sketch *s); /* harmless when zeroed */
/* values: [count], finite. ERR_NOMEM: what came before the failing one is in. */
enum err sketch_add(struct sketch *s, const double *values, size_t count) MUST_CHECK;
/* ERR_RANGE: another error, or negative values into fixed ones. ERR_NOMEM: nothing was added. */
enum err sketch_merge(struct sketch *into, const struct sketch *from) MUST_CHECK;
/* q: 0..1. The value at rank ceil(q * count) (at least 1), within error; NaN of an empty sketch. */
double sketch_quantile(const struct sketch *s, double q);
/* The value that stands for x in a sketch of this error: x itself within the error; 0 for what counts as 0. */
double sketch_stand_in(double error, double x);
/* How many stand in bin i, edge[i - 1] <= x < edge[i], each by what stands for it. edges: [bins - 1], ascending; ret_counts:
 * [bins]. */
void sketch_histogram(const struct sketch *s, const double *edges, unsigned bins, uint64_t *ret_counts);

/* Compact form: version, error, zeros, and per side first bucket and run-length coded varint counts. At most max_bytes: what
 * does not fit is folded first. ERR_NOMEM, ERR_FULL (out). */
enum err sketch_encode(const struct sketch *s, size_t max_bytes, struct buffer *out) MUST_CHECK;
/* s: uninitialised; on failure nothing is held. ERR_MALFORMED, ERR_RANGE, ERR_NOMEM. Bounded whatever the bytes say. */
enum err sketch_decode(struct slice in, struct sketch *ret_s) MUST_CHECK;

#endif
