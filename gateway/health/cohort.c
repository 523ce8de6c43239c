/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices of one model against one another: robust z = 0.6745 (x - median) / MAD (Iglewicz and Hoaglin, 1993). What all
 * of them have in common is no outlier; that is what drift is for.
 */
#include <math.h>

#include "gateway/health/health_internal.h"

#define OUTLIER_Z 5.0
#define MAD_LEAST 0.01 /* of confidence and of rates: nearer to each other than that is alike */
enum { COHORT_MAX = 4096, ASKED_MIN = 20 };

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double health_median(double *values, size_t count)
{
    if (count == 0) {
        return (double)NAN;
    }
    qsort(values, count, sizeof(*values), ascending);
    return count % 2 != 0 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

double health_recent_median(const struct device *d)
{
    double values[RECENT];
    for (unsigned i = 0; i < d->recent_filled; i++) {
        values[i] = (double)d->recent[i];
    }
    return health_median(values, d->recent_filled);
}

enum figure { CONFIDENCE, DISAGREEMENT, FIGURES };
static const char *const FIGURE[] = {"confidence_z", "disagreement_z"};

/* NaN: it has none yet. */
static double figure_of(const struct device *d, enum figure figure)
{
    if (figure == CONFIDENCE) {
        return d->recent_filled == RECENT ? health_recent_median(d) : (double)NAN;
    }
    return d->asked >= ASKED_MIN ? d->rate.value : (double)NAN;
}

struct cohort {
    uint64_t model;
    double median[FIGURES], mad[FIGURES]; /* NaN: too few */
};

static void measure(const struct health *h, struct cohort *c, double *values)
{
    for (enum figure f = CONFIDENCE; f < FIGURES; f++) {
        size_t count = 0;
        for (const struct device *d = h->first; d != NULL && count < COHORT_MAX; d = d->next) {
            double x = d->model == c->model ? figure_of(d, f) : (double)NAN;
            if (!isnan(x)) {
                values[count++] = x;
            }
        }
        c->median[f] = c->mad[f] = (double)NAN;
        if (count < HEALTH_COHORT_MIN) {
            continue;
        }
        c->median[f] = health_median(values, count);
        for (size_t i = 0; i < count; i++) {
            values[i] = fabs(values[i] - c->median[f]);
        }
        c->mad[f] = fmax(health_median(values, count), MAD_LEAST);
    }
}

static void judge(struct health *h, struct device *d, const struct cohort *c)
{
    bool beyond = false;
    for (enum figure f = CONFIDENCE; f < FIGURES; f++) {
        double z = 0.6745 * (figure_of(d, f) - c->median[f]) / c->mad[f];
        if (fabs(z) > OUTLIER_Z) { /* not of NaN */
            beyond = true;
            d->cohort.statistic = FIGURE[f];
            d->cohort.value = z;
            d->cohort.limit = OUTLIER_Z;
        }
    }
    health_watch(h, d, &d->cohort, "cohort-outlier", "", beyond);
}

/* Models in use are few; those of calibrations first, then what else runs, as many as there is room for. */
void health_cohorts(struct health *h)
{
    enum { MODELS_MAX = 128 };
    uint64_t models[MODELS_MAX];
    size_t count = 0;
    double *values = calloc(COHORT_MAX, sizeof(*values));
    for (const struct device *d = h->first; values != NULL && d != NULL; d = d->next) {
        bool known = d->model == 0;
        for (size_t i = 0; i < count; i++) {
            known |= models[i] == d->model;
        }
        if (!known && count < MODELS_MAX) {
            models[count++] = d->model;
        }
    }
    for (size_t i = 0; i < count; i++) {
        struct cohort c = {.model = models[i]};
        measure(h, &c, values);
        for (struct device *d = h->first; d != NULL; d = d->next) {
            if (d->model == c.model) {
                judge(h, d, &c);
            }
        }
    }
    free(values);
}
