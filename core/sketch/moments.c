/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moments of an array in two passes over pieces that stay in the cache: sum, then distances from the piece's own mean; pieces
 * are merged. More exact than Welford's one-pass form, and without its division for each value. Eight independent sums, so
 * that the compiler may use vector registers without changing the order of additions that the source states.
 */
#include "core/sketch/sketch.h"

#include <math.h>

enum { PIECE = 512, LANES = 8 };

static double lanes_sum(const double lanes[LANES])
{
    return ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
}

static double sum(const double *v, size_t count)
{
    double lanes[LANES] = {0}, rest = 0;
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        for (size_t k = 0; k < LANES; k++) {
            lanes[k] += v[i + k];
        }
    }
    for (; i < count; i++) {
        rest += v[i];
    }
    return lanes_sum(lanes) + rest;
}

static double squares(const double *v, size_t count, double mean)
{
    double lanes[LANES] = {0}, rest = 0;
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        for (size_t k = 0; k < LANES; k++) {
            double d = v[i + k] - mean;
            lanes[k] += d * d;
        }
    }
    for (; i < count; i++) {
        rest += (v[i] - mean) * (v[i] - mean);
    }
    return lanes_sum(lanes) + rest;
}

static void extremes(const double *v, size_t count, double *ret_min, double *ret_max)
{
    double low[LANES], high[LANES];
    for (size_t k = 0; k < LANES; k++) {
        low[k] = high[k] = v[0];
    }
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        for (size_t k = 0; k < LANES; k++) {
            low[k] = v[i + k] < low[k] ? v[i + k] : low[k];
            high[k] = v[i + k] > high[k] ? v[i + k] : high[k];
        }
    }
    for (; i < count; i++) {
        low[0] = v[i] < low[0] ? v[i] : low[0];
        high[0] = v[i] > high[0] ? v[i] : high[0];
    }
    for (size_t k = 1; k < LANES; k++) {
        low[0] = low[k] < low[0] ? low[k] : low[0];
        high[0] = high[k] > high[0] ? high[k] : high[0];
    }
    *ret_min = low[0];
    *ret_max = high[0];
}

void moments_merge(struct moments *into, const struct moments *from)
{
    if (from->count == 0) {
        return;
    }
    if (into->count == 0) {
        *into = *from;
        return;
    }
    double a = (double)into->count, b = (double)from->count, delta = from->mean - into->mean;
    into->mean += delta * (b / (a + b));
    into->m2 += from->m2 + delta * delta * (a * b / (a + b));
    into->min = fmin(into->min, from->min);
    into->max = fmax(into->max, from->max);
    into->count += from->count;
}

void moments_add(struct moments *m, const double *values, size_t count)
{
    while (count > 0) {
        size_t n = count < PIECE ? count : PIECE;
        struct moments piece = {.count = n};
        piece.mean = sum(values, n) / (double)n;
        piece.m2 = squares(values, n, piece.mean);
        extremes(values, n, &piece.min, &piece.max);
        moments_merge(m, &piece);
        values += n;
        count -= n;
    }
}

double moments_variance(const struct moments *m)
{
    return m->count > 1 ? m->m2 / (double)(m->count - 1) : 0;
}

double moments_rms(const struct moments *m)
{
    return m->count > 0 ? sqrt(m->m2 / (double)m->count + m->mean * m->mean) : 0;
}
