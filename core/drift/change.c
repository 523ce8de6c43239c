/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "core/drift/drift.h"

bool drift_page_hinkley_add(struct drift_page_hinkley *p, double x)
{
    if (!isfinite(x)) {
        return false;
    }
    p->count++;
    p->mean += (x - p->mean) / (double)p->count;
    p->sum = fmax(p->sum + x - p->mean - p->delta, 0);
    if (p->sum <= p->limit) {
        return false;
    }
    p->mean = p->sum = 0;
    p->count = 0;
    return true;
}

/* ---- ADWIN2: an exponential histogram; level l has buckets of 2^l values ---- */
enum { CHECK_EVERY = 32, LEAST_SIDE = 5 };

void drift_adwin_init(struct drift_adwin *a, double confidence)
{
    memset(a, 0, sizeof(*a));
    a->confidence = confidence;
}

double drift_adwin_mean(const struct drift_adwin *a)
{
    return a->width > 0 ? a->total / (double)a->width : 0;
}

/* Sum of squared distances of two sets together (Chan, Golub, LeVeque 1983). */
static double join(double square_a, double square_b, double n_a, double n_b, double sum_a, double sum_b)
{
    double distance = sum_a / n_a - sum_b / n_b;
    return square_a + square_b + distance * distance * n_a * n_b / (n_a + n_b);
}

static void drop_first(struct drift_adwin *a, unsigned level, unsigned count)
{
    a->level[level].used -= count;
    memmove(a->level[level].sum, a->level[level].sum + count, a->level[level].used * sizeof(double));
    memmove(a->level[level].square, a->level[level].square + count, a->level[level].used * sizeof(double));
}

/* Forgets the oldest bucket. */
static void shrink(struct drift_adwin *a)
{
    unsigned top = ADWIN_LEVELS;
    while (top-- > 0 && a->level[top].used == 0) {
    }
    double n = (double)(UINT64_C(1) << top), sum = a->level[top].sum[0], rest = (double)a->width - n;
    a->width -= UINT64_C(1) << top;
    a->total -= sum;
    if (rest > 0) {
        double distance = sum / n - a->total / rest;
        a->variance -= a->level[top].square[0] + distance * distance * n * rest / (n + rest);
        a->variance = fmax(a->variance, 0);
    } else {
        a->variance = 0;
    }
    drop_first(a, top, 1);
}

static void insert(struct drift_adwin *a, double x)
{
    if (a->width > 0) {
        double distance = x - a->total / (double)a->width;
        a->variance += (double)a->width * distance * distance / ((double)a->width + 1);
    }
    a->width++;
    a->total += x;
    a->level[0].sum[a->level[0].used] = x;
    a->level[0].square[a->level[0].used++] = 0;
    for (unsigned l = 0; l < ADWIN_LEVELS && a->level[l].used > ADWIN_PER_LEVEL; l++) {
        double n = (double)(UINT64_C(1) << l), *sum = a->level[l].sum, *square = a->level[l].square;
        if (l + 1 == ADWIN_LEVELS) {
            shrink(a);
            return;
        }
        unsigned to = a->level[l + 1].used++;
        a->level[l + 1].sum[to] = sum[0] + sum[1];
        a->level[l + 1].square[to] = join(square[0], square[1], n, n, sum[0], sum[1]);
        drop_first(a, l, 2);
    }
}

/* Whether older (n0 values, sum0) and newer part differ more than chance allows. */
static bool differ(const struct drift_adwin *a, double n0, double sum0)
{
    double n = (double)a->width, n1 = n - n0, variance = a->variance / n;
    double m = 1 / (n0 - LEAST_SIDE + 1) + 1 / (n1 - LEAST_SIDE + 1), d = log(2 * log(n) / a->confidence);
    double bound = sqrt(2 * m * variance * d) + 2.0 / 3 * d * m;
    return fabs(sum0 / n0 - (a->total - sum0) / n1) > bound;
}

/* Looks at every border between buckets, the oldest first. */
static bool cut(struct drift_adwin *a)
{
    double n0 = 0, sum0 = 0;
    for (unsigned l = ADWIN_LEVELS; l-- > 0;) {
        for (unsigned i = 0; i < a->level[l].used; i++) {
            n0 += (double)(UINT64_C(1) << l);
            sum0 += a->level[l].sum[i];
            if ((double)a->width - n0 < LEAST_SIDE) {
                return false;
            }
            if (n0 >= LEAST_SIDE && differ(a, n0, sum0)) {
                return true;
            }
        }
    }
    return false;
}

bool drift_adwin_add(struct drift_adwin *a, double x)
{
    bool changed = false;
    if (!isfinite(x)) {
        return false;
    }
    insert(a, fmin(fmax(x, 0), 1));
    if (++a->added % CHECK_EVERY != 0 || a->width < 2 * LEAST_SIDE) {
        return false;
    }
    while (a->width >= 2 * LEAST_SIDE && cut(a)) {
        shrink(a);
        changed = true;
    }
    return changed;
}
