/* SPDX-License-Identifier: Apache-2.0 */
/*
 * histogram - log-linear buckets (as in HdrHistogram, Tene 2012): below 128 one bucket a microsecond; above, each
 * octave 2^k .. 2^(k+1)-1 in 64 steps of 2^(k-6), so that a bucket is never wider than 1/64 of its lower bound.
 */
#include <math.h>

#include "simulators/figures/figures.h"

enum { EXACT_BITS = 7, STEP_BITS = 6 };

static unsigned bucket_of(uint64_t value)
{
    if (value < HISTOGRAM_EXACT) {
        return (unsigned)value;
    }
    unsigned octave = 63 - (unsigned)__builtin_clzll(value);
    unsigned step = (unsigned)(value >> (octave - STEP_BITS)) - HISTOGRAM_STEPS;
    return HISTOGRAM_EXACT + (octave - EXACT_BITS) * HISTOGRAM_STEPS + step;
}

void histogram_bucket(unsigned bucket, int64_t *ret_low_us, int64_t *ret_high_us)
{
    if (bucket < HISTOGRAM_EXACT) {
        *ret_low_us = *ret_high_us = bucket;
        return;
    }
    unsigned octave = (bucket - HISTOGRAM_EXACT) / HISTOGRAM_STEPS + EXACT_BITS;
    unsigned step = (bucket - HISTOGRAM_EXACT) % HISTOGRAM_STEPS;
    int64_t width = INT64_C(1) << (octave - STEP_BITS);
    *ret_low_us = (HISTOGRAM_STEPS + (int64_t)step) * width;
    *ret_high_us = *ret_low_us + width - 1;
}

void histogram_reset(struct histogram *h)
{
    memset(h, 0, sizeof(*h));
}

void histogram_record_many(struct histogram *h, int64_t value_us, uint64_t count)
{
    if (count == 0) {
        return;
    }
    int64_t value = max_i64(value_us, 0);
    h->min_us = h->count == 0 ? value : min_i64(h->min_us, value);
    h->max_us = max_i64(h->max_us, value);
    h->count += count;
    h->beyond += value > HISTOGRAM_MAX_US ? count : 0;
    h->sum_us += (double)value * (double)count;
    h->buckets[bucket_of((uint64_t)min_i64(value, HISTOGRAM_MAX_US))] += count;
}

void histogram_record(struct histogram *h, int64_t value_us)
{
    histogram_record_many(h, value_us, 1);
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    if (from->count == 0) {
        return;
    }
    into->min_us = into->count == 0 ? from->min_us : min_i64(into->min_us, from->min_us);
    into->max_us = max_i64(into->max_us, from->max_us);
    into->count += from->count;
    into->beyond += from->beyond;
    into->sum_us += from->sum_us;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        into->buckets[i] += from->buckets[i];
    }
}

int64_t histogram_percentile(const struct histogram *h, double percent)
{
    if (h->count == 0) {
        return 0;
    }
    double wanted = ceil(percent * (double)h->count / 100);
    uint64_t rank = wanted < 1 ? 1 : min_u64((uint64_t)wanted, h->count), seen = 0;
    if (rank > h->count - h->beyond) {
        return h->max_us;
    }
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= rank) {
            int64_t low, high;
            histogram_bucket(i, &low, &high);
            return min_i64(high, h->max_us);
        }
    }
    return h->max_us;
}

double histogram_mean_us(const struct histogram *h)
{
    return h->count > 0 ? h->sum_us / (double)h->count : 0;
}
