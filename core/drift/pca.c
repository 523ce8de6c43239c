/* SPDX-License-Identifier: Apache-2.0 */
/* Eigenvectors by cyclic Jacobi rotations (Golub and Van Loan, Matrix Computations, 8.5): slow for large matrices, exact and
 * short for the sizes that a plant's model has. */
#include <math.h>

#include "core/drift/drift.h"

enum { SWEEPS_MAX = 60, ROUNDS = 30 };
#define ROUNDING 1e-24 /* of squares */

static void rotate(double *m, double *v, unsigned d, unsigned p, unsigned q)
{
    double apq = m[p * d + q];
    if (apq == 0) {
        return;
    }
    double theta = (m[q * d + q] - m[p * d + p]) / (2 * apq);
    double t = (theta >= 0 ? 1 : -1) / (fabs(theta) + sqrt(theta * theta + 1)), c = 1 / sqrt(t * t + 1), s = t * c;
    for (unsigned i = 0; i < d; i++) {
        double a = m[i * d + p], b = m[i * d + q];
        m[i * d + p] = c * a - s * b;
        m[i * d + q] = s * a + c * b;
    }
    for (unsigned i = 0; i < d; i++) {
        double a = m[p * d + i], b = m[q * d + i];
        m[p * d + i] = c * a - s * b;
        m[q * d + i] = s * a + c * b;
    }
    for (unsigned i = 0; i < d; i++) { /* rows of v are the axes */
        double a = v[p * d + i], b = v[q * d + i];
        v[p * d + i] = c * a - s * b;
        v[q * d + i] = s * a + c * b;
    }
}

static void jacobi(double *m, double *v, unsigned d)
{
    memset(v, 0, (size_t)d * d * sizeof(*v));
    for (unsigned i = 0; i < d; i++) {
        v[i * d + i] = 1;
    }
    for (unsigned sweep = 0; sweep < SWEEPS_MAX; sweep++) {
        double off = 0;
        for (unsigned p = 0; p < d; p++) {
            for (unsigned q = p + 1; q < d; q++) {
                off += m[p * d + q] * m[p * d + q];
            }
        }
        if (off < 1e-22 * d * d) {
            return;
        }
        for (unsigned p = 0; p < d; p++) {
            for (unsigned q = p + 1; q < d; q++) {
                rotate(m, v, d, p, q);
            }
        }
    }
}

/* Means, scales, and the correlation matrix; how many dimensions move: 0 also when one is not finite. */
static unsigned correlate(struct drift_pca *pca, const double *rows, size_t count, double *m)
{
    unsigned d = pca->dimensions, moving = 0;
    memset(m, 0, (size_t)d * d * sizeof(*m));
    for (unsigned i = 0; i < d; i++) {
        double mean = 0, square = 0;
        for (size_t n = 0; n < count; n++) {
            mean += rows[n * d + i] / (double)count;
        }
        for (size_t n = 0; n < count; n++) {
            square += (rows[n * d + i] - mean) * (rows[n * d + i] - mean);
        }
        double std = sqrt(square / (double)(count - 1));
        if (!isfinite(mean) || !isfinite(std)) {
            return 0;
        }
        pca->mean[i] = mean;
        pca->scale[i] = std > 1e-12 * fabs(mean) && std > 1e-150 ? 1 / std : 0; /* a mean's own rounding is no movement */
        moving += pca->scale[i] != 0;
    }
    for (size_t n = 0; n < count; n++) {
        double z[DRIFT_DIMENSIONS_MAX];
        for (unsigned i = 0; i < d; i++) {
            z[i] = (rows[n * d + i] - pca->mean[i]) * pca->scale[i];
        }
        for (unsigned i = 0; i < d; i++) {
            for (unsigned k = i; k < d; k++) {
                m[i * d + k] += z[i] * z[k] / (double)(count - 1);
            }
        }
    }
    for (unsigned i = 0; i < d; i++) {
        for (unsigned k = 0; k < i; k++) {
            m[i * d + k] = m[k * d + i];
        }
    }
    return moving;
}

/* Takes the largest eigenvalues and their axes until they hold the share. */
static void keep(struct drift_pca *pca, double *m, const double *v, double share, double total)
{
    unsigned d = pca->dimensions;
    double held = 0;
    while (pca->components < d && held < share * total - 1e-9) {
        unsigned best = 0;
        for (unsigned i = 1; i < d; i++) {
            best = m[i * d + i] > m[best * d + best] ? i : best;
        }
        double variance = m[best * d + best];
        if (!(variance > 1e-9)) {
            return;
        }
        held += variance;
        m[best * d + best] = -1;
        pca->variance[pca->components] = variance;
        memcpy(pca->axes + (size_t)pca->components * d, v + (size_t)best * d, d * sizeof(*v));
        pca->components++;
    }
}

enum err drift_pca_fit(struct drift_pca *pca, const double *rows, size_t count, unsigned dimensions, double share)
{
    *pca = (struct drift_pca){.dimensions = dimensions};
    if (dimensions < 1 || dimensions > DRIFT_DIMENSIONS_MAX || count < 2 || !(share > 0 && share <= 1)) {
        return ERR_RANGE;
    }
    size_t square = (size_t)dimensions * dimensions;
    double *m = calloc(2 * square, sizeof(*m));
    pca->axes = calloc(square, sizeof(*pca->axes));
    if (m == NULL || pca->axes == NULL) {
        free(m);
        drift_pca_deinit(pca);
        return ERR_NOMEM;
    }
    unsigned moving = correlate(pca, rows, count, m);
    if (moving == 0) {
        free(m);
        drift_pca_deinit(pca);
        return ERR_RANGE;
    }
    jacobi(m, m + square, dimensions);
    keep(pca, m, m + square, share, moving);
    free(m);
    return OK;
}

void drift_pca_deinit(struct drift_pca *pca)
{
    free(pca->axes);
    pca->axes = NULL;
}

/* What is in the plane of z, into ret: [dimensions]; T2 as well. */
static double project(const struct drift_pca *pca, const double *z, double *ret)
{
    unsigned d = pca->dimensions;
    double t2 = 0;
    memset(ret, 0, d * sizeof(*ret));
    for (unsigned c = 0; c < pca->components; c++) {
        const double *axis = pca->axes + (size_t)c * d;
        double score = 0;
        for (unsigned i = 0; i < d; i++) {
            score += axis[i] * z[i];
        }
        for (unsigned i = 0; i < d; i++) {
            ret[i] += score * axis[i];
        }
        t2 += score * score / pca->variance[c];
    }
    return t2;
}

void drift_pca_score(const struct drift_pca *pca, const double *row, double *ret_t2, double *ret_spe)
{
    double z[DRIFT_DIMENSIONS_MAX] = {0}, in[DRIFT_DIMENSIONS_MAX], spe = 0, all = 0;
    unsigned d = pca->dimensions, missing = 0;
    for (unsigned i = 0; i < d; i++) {
        z[i] = isfinite(row[i]) ? (row[i] - pca->mean[i]) * pca->scale[i] : 0;
        missing += !isfinite(row[i]);
    }
    double t2 = project(pca, z, in);
    for (unsigned round = 0; missing > 0 && missing < d && round < ROUNDS; round++) {
        for (unsigned i = 0; i < d; i++) {
            z[i] = isfinite(row[i]) ? z[i] : in[i];
        }
        t2 = project(pca, z, in);
    }
    for (unsigned i = 0; i < d; i++) {
        spe += isfinite(row[i]) ? (z[i] - in[i]) * (z[i] - in[i]) : 0;
        all += z[i] * z[i];
    }
    *ret_t2 = t2;
    *ret_spe = spe > ROUNDING * all ? spe : 0; /* nothing lies beside components that hold everything */
}
