/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "core/drift/drift.h"

enum { BLOCKS = 10, MEMORIES = 8 /* a moving average has forgotten where it began */ };
#define REACH 0.99 /* quantile: the largest of all is the limit's business */

static double mean_of(const double *column, size_t stride, size_t count)
{
    double mean = 0;
    for (size_t n = 0; n < count; n++) {
        mean += (column[n * stride] - mean) / (double)(n + 1);
    }
    return mean;
}

/* The part of the variance that is slower than a tenth of the run. Of noise without memory about a BLOCKS-th of that of
 * its blocks; of a ramp all. 0 of what never moves; NaN of what is not finite. */
static double slow_share(const double *column, size_t stride, size_t count, double mean)
{
    double all = 0, slow = 0;
    size_t block = count / BLOCKS;
    for (size_t n = 0; n < block * BLOCKS; n++) {
        double distance = column[n * stride] - mean;
        all += distance * distance / (double)(block * BLOCKS);
    }
    if (!isfinite(all) || !(sqrt(all) > 1e-12 * fabs(mean)) || all < 1e-300) {
        return isfinite(all) ? 0 : (double)NAN;
    }
    double centre = mean_of(column, stride, block * BLOCKS);
    for (size_t b = 0; b < BLOCKS; b++) {
        double distance = mean_of(column + b * block * stride, stride, block) - centre;
        slow += distance * distance / (BLOCKS - 1);
    }
    return slow / all;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* How far the moving average goes. scratch: [count] */
static double reach_of(const double *column, size_t stride, size_t count, double mean, double lambda, double *scratch)
{
    double off = 0;
    size_t first = (size_t)fmin(MEMORIES / lambda, (double)count / 2);
    for (size_t n = 0; n < count; n++) {
        off += lambda * (column[n * stride] - mean - off);
        scratch[n] = fabs(off);
    }
    qsort(scratch + first, count - first, sizeof(*scratch), ascending);
    return scratch[first + (size_t)((double)(count - first - 1) * REACH)];
}

enum err drift_levels_fit(struct drift_levels *l, const double *rows, size_t count, unsigned dimensions, double lambda,
                          double slow)
{
    *l = (struct drift_levels){.dimensions = dimensions, .lambda = lambda};
    if (dimensions < 1 || dimensions > DRIFT_DIMENSIONS_MAX || count < 4 * BLOCKS || !(lambda > 0 && lambda <= 1)) {
        return ERR_RANGE;
    }
    double *scratch = calloc(count, sizeof(*scratch));
    if (scratch == NULL) {
        return ERR_NOMEM;
    }
    unsigned taking_part = 0;
    enum err err = OK;
    for (unsigned i = 0; i < dimensions && err == OK; i++) {
        l->mean[i] = mean_of(rows + i, dimensions, count);
        double share = slow_share(rows + i, dimensions, count, l->mean[i]);
        if (share > 0 && share < slow) {
            l->reach[i] = reach_of(rows + i, dimensions, count, l->mean[i], lambda, scratch);
        }
        taking_part += l->reach[i] > 0;
        err = isnan(share) || !isfinite(l->reach[i]) ? ERR_RANGE : OK;
    }
    free(scratch);
    return err != OK ? err : taking_part > 0 ? OK : ERR_NOT_FOUND;
}

double drift_levels_add(const struct drift_levels *l, double *off, const double *row, unsigned *ret_dimension)
{
    double most = 0;
    *ret_dimension = 0;
    for (unsigned i = 0; i < l->dimensions; i++) {
        double next = off[i] + l->lambda * (row[i] - l->mean[i] - off[i]);
        if (!(l->reach[i] > 0) || !isfinite(next)) {
            continue;
        }
        off[i] = next;
        double distance = fmin(fabs(next) / l->reach[i], 1e300);
        if (distance > most) {
            most = distance;
            *ret_dimension = i;
        }
    }
    return most;
}
