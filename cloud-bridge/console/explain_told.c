/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of the windows before an event it was told of. The gateway judges one every hop, and the event has what the
 * statistic came to:
 *
 *   samples --every hop, the oldest first--> window --features, PCA, averages--> value; the newest that is the event's
 *
 * The hops at which the device answered come first: gateway and device take the same samples. One of them may have
 * begun anew since (gateway/health/inputs.c), so that the other places where hops can begin are tried as well.
 */
#include <math.h>

#include "cloud-bridge/console/explain.h"

enum { WINDOWS_MAX = 20000 /* of all places together */ };
#define EQUAL_WITHIN 1e-4
#define EQUAL_ELSEWHERE 1e-5 /* an event has six digits; with many windows one may be near by chance */

struct walk {
    const struct explain_told_search *s;
    struct features *features;
    float *filled;
    struct explain_window window;
    unsigned windows; /* looked at */
};
struct averages {
    struct drift_ewma spe;
    double off[DRIFT_DIMENSIONS_MAX];
};

static double period_of(const struct walk *w)
{
    return 1e6 / (double)w->s->calibration->features.rate_hz;
}

/* First sample at or after at_us. */
static size_t sample_at(const struct evidence_samples *s, size_t from, double at_us)
{
    while (from < s->rows && (double)s->times[from] < at_us) {
        from++;
    }
    return from;
}

/* A hop on; behind a gap a window begins anew. */
static size_t next_end(const struct walk *w, size_t end)
{
    const struct evidence_samples *s = w->s->samples;
    const struct features_options *o = &w->s->calibration->features;
    double period_us = period_of(w), at_us = (double)s->times[end] + o->hop * period_us, best_us = period_us;
    size_t best = SIZE_MAX, i = sample_at(s, end + 1, at_us - period_us);
    if (o->window == 1) { /* every sample is one, whatever the rate */
        return end + 1;
    }
    for (; i < s->rows && (double)s->times[i] <= at_us + period_us; i++) {
        double distance_us = fabs((double)s->times[i] - at_us);
        if (distance_us < best_us) {
            best = i;
            best_us = distance_us;
        }
    }
    if (best != SIZE_MAX || i == s->rows) {
        return best != SIZE_MAX ? best : s->rows;
    }
    return sample_at(s, i, (double)s->times[i] + (o->window - 1.5) * period_us);
}

/* What the statistic comes to with this window; NaN: it is not whole, or the statistic is none of windows. */
static enum err judge(struct walk *w, struct averages *a, size_t end, double *ret_value, bool *ret_whole)
{
    const struct calibration *k = w->s->calibration;
    float row[FEATURES_MAX];
    double x[FEATURES_MAX], t2, spe;
    unsigned which;
    *ret_value = NAN;
    w->windows++;
    TRY(explain_window_at(w->s->samples, end, &k->features, &w->window));
    *ret_whole =
        w->window.rows_missing == 0 && explain_fill(&w->window, w->filled) && features_of(w->features, w->filled, row);
    if (!*ret_whole) {
        return OK;
    }
    for (unsigned i = 0; i < calibration_inputs(k); i++) {
        x[i] = (double)row[i];
    }
    drift_pca_score(&k->pca, x, &t2, &spe);
    double average = drift_ewma_add(&a->spe, spe), level = drift_levels_add(&k->levels, a->off, x, &which);
    switch (w->s->statistic) {
    case EXPLAIN_SPE:
        *ret_value = spe;
        break;
    case EXPLAIN_T2:
        *ret_value = t2;
        break;
    case EXPLAIN_EWMA_SPE:
        *ret_value = average;
        break;
    case EXPLAIN_LEVEL:
        *ret_value = level;
        break;
    case EXPLAIN_NO_STATISTIC:
        break;
    }
    return OK;
}

static enum err walk_from(struct walk *w, size_t start, double within, struct explain_told *ret)
{
    const struct explain_told_search *s = w->s;
    struct averages a = {.spe = {.lambda = s->calibration->lambda}};
    for (size_t end = start; end < s->samples->rows; end = next_end(w, end)) {
        double value;
        bool whole;
        TRY(judge(w, &a, end, &value, &whole));
        bool equal = fabs(value - s->value) <= within * fabs(s->value) && s->samples->times[end] >= s->from_us;
        if (equal || (whole && !ret->is)) {
            ret->end = end;
            ret->value = value;
            ret->is = equal;
        }
    }
    return OK;
}

static bool passes(const struct walk *w, size_t start, size_t anchor)
{
    size_t end = start;
    while (end < anchor) {
        end = next_end(w, end);
    }
    return end == anchor;
}

/* The place of the anchor first. */
static enum err search(struct walk *w, struct explain_told *ret)
{
    const struct evidence_samples *s = w->s->samples;
    const struct features_options *o = &w->s->calibration->features;
    double period_us = period_of(w);
    size_t first = sample_at(s, 0, (double)s->times[0] + (o->window - 1.5) * period_us), anchors = first;
    size_t last = first < s->rows ? sample_at(s, first, (double)s->times[first] + (o->hop - 0.5) * period_us) : first;
    while (anchors < last && !passes(w, anchors, w->s->anchor)) {
        anchors++;
    }
    if (anchors < last) {
        TRY(walk_from(w, anchors, EQUAL_WITHIN, ret));
    }
    for (size_t start = first; start < last && !ret->is && w->windows < WINDOWS_MAX; start++) {
        struct explain_told elsewhere = {.end = SIZE_MAX};
        if (start != anchors) {
            TRY(walk_from(w, start, EQUAL_ELSEWHERE, &elsewhere));
        }
        *ret = elsewhere.is || ret->end == SIZE_MAX ? elsewhere : *ret;
    }
    return OK;
}

enum err explain_told(const struct explain_told_search *s, struct explain_told *ret)
{
    const struct features_options *o = &s->calibration->features;
    struct walk w = {.s = s};
    size_t bytes = (features_bytes(o) + 15) / 16 * 16;
    *ret = (struct explain_told){.end = SIZE_MAX};
    if (s->samples->rows == 0) {
        return OK;
    }
    void *memory = aligned_alloc(16, bytes);
    w.filled = calloc((size_t)o->window * o->channels, sizeof(*w.filled));
    enum err err = memory != NULL && w.filled != NULL ? features_init(o, memory, bytes, &w.features, NULL) : ERR_NOMEM;
    err = err == OK ? search(&w, ret) : err;
    explain_window_deinit(&w.window);
    free(memory);
    free(w.filled);
    return err;
}
