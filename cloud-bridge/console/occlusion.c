/* SPDX-License-Identifier: Apache-2.0 */
#include "cloud-bridge/console/occlusion.h"

#include <math.h>

enum { ROUNDS = 30 }; /* as drift_pca_score */

static int by_change(const void *a, const void *b)
{
    const struct occlusion_effect *x = a, *y = b;
    double left = fabs(x->change), right = fabs(y->change);
    return left != right ? (left < right) - (left > right) : (x->part > y->part) - (x->part < y->part);
}

void occlusion_run(const struct occlusion *o, double margin, struct occlusion_effect *ret)
{
    for (unsigned p = 0; p < o->parts; p++) {
        for (size_t i = 0; i < o->inputs; i++) {
            o->scratch[i] = o->part[i] == p ? o->normal[i] : o->row[i];
        }
        ret[p] = (struct occlusion_effect){.part = p, .without = o->answer(o->arg, o->scratch)};
        double change = margin - ret[p].without.margin;
        ret[p].change = isfinite(change) ? change : 0;
    }
    qsort(ret, o->parts, sizeof(*ret), by_change);
}

/* The part of z that lies in the plane. */
static void project(const struct drift_pca *pca, const double *z, double *ret)
{
    memset(ret, 0, pca->dimensions * sizeof(*ret));
    for (unsigned c = 0; c < pca->components; c++) {
        const double *axis = pca->axes + (size_t)c * pca->dimensions;
        double score = 0;
        for (unsigned i = 0; i < pca->dimensions; i++) {
            score += axis[i] * z[i];
        }
        for (unsigned i = 0; i < pca->dimensions; i++) {
            ret[i] += score * axis[i];
        }
    }
}

void occlusion_of_pca(const struct drift_pca *pca, const double *row, double *ret_t2, double *ret_spe)
{
    double z[DRIFT_DIMENSIONS_MAX] = {0}, in[DRIFT_DIMENSIONS_MAX];
    unsigned d = pca->dimensions, missing = 0;
    for (unsigned i = 0; i < d; i++) {
        z[i] = isfinite(row[i]) ? (row[i] - pca->mean[i]) * pca->scale[i] : 0;
        missing += !isfinite(row[i]);
    }
    project(pca, z, in);
    for (unsigned round = 0; missing > 0 && missing < d && round < ROUNDS; round++) {
        for (unsigned i = 0; i < d; i++) {
            z[i] = isfinite(row[i]) ? z[i] : in[i];
        }
        project(pca, z, in);
    }
    memset(ret_t2, 0, d * sizeof(*ret_t2));
    for (unsigned c = 0; c < pca->components; c++) {
        const double *axis = pca->axes + (size_t)c * d;
        double score = 0;
        for (unsigned i = 0; i < d; i++) {
            score += axis[i] * z[i];
        }
        for (unsigned i = 0; i < d; i++) {
            ret_t2[i] += score * axis[i] * z[i] / pca->variance[c];
        }
    }
    for (unsigned i = 0; i < d; i++) {
        ret_spe[i] = isfinite(row[i]) ? (z[i] - in[i]) * (z[i] - in[i]) : 0;
    }
}
