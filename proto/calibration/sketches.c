/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits of what devices say of whole spans. Normal is the first half of the run; batches of the second half, each
 * begun a quarter of one behind the one before, say how far means, variances and histograms go.
 */
#include <math.h>

#include "core/sketch/sketch.h"
#include "proto/calibration/calibration_internal.h"
#include "proto/outcome/outcome.h"

enum { BATCHES = 10, SAMPLES_LEAST = 64, ANSWERS_LEAST = 40, SPAN_S = 600 };

/* Of a batch; 0 where there are too few. */
static unsigned batch_of(size_t half, double per_second, unsigned least, unsigned most)
{
    double batch = fmin(fmin((double)half / BATCHES, fmax(per_second * SPAN_S, least)), most);
    return batch >= least ? (unsigned)batch : 0;
}

/* ---- inputs ---- */
/* Finite values of a column: [from, to). ret_fourth (may be NULL): mean fourth power of the distance from the mean. */
static struct moments column(const struct calibration_run *run, unsigned channel, size_t from, size_t to,
                             double *ret_fourth)
{
    struct moments m = {0};
    double fourth = 0;
    for (size_t r = from; r < to; r++) {
        double x = run->values[r * run->channels + channel];
        if (isfinite(x)) {
            moments_add(&m, &x, 1);
        }
    }
    for (size_t r = from; ret_fourth != NULL && r < to; r++) {
        double d = run->values[r * run->channels + channel] - m.mean;
        fourth += isfinite(d) ? d * d * d * d : 0;
    }
    if (ret_fourth != NULL) {
        *ret_fourth = m.count > 0 ? fourth / (double)m.count : 0;
    }
    return m;
}

static void fit_channel(const struct calibration_run *run, struct calibration_sketches *s, unsigned i)
{
    size_t half = run->rows / 2;
    double fourth = 0, mean = 0, spread = 0;
    struct moments normal = column(run, i, 0, half, &fourth);
    double variance = moments_variance(&normal);
    if (!(variance > 0) || normal.count < SAMPLES_LEAST) {
        return;
    }
    s->mean[i] = normal.mean;
    s->deviation[i] = sqrt(variance);
    for (size_t from = half; from + s->samples <= run->rows; from += s->samples / 4) {
        struct moments m = column(run, i, from, from + s->samples, NULL);
        double v = moments_variance(&m);
        if (m.count >= SAMPLES_LEAST / 2) {
            mean = fmax(mean, fabs(m.mean - normal.mean) / s->deviation[i]);
            spread = fmax(spread, fabs(log(fmax(v, variance * 1e-12) / variance)));
        }
    }
    /* The variance of a variance: (fourth moment / variance^2 - 1) / n. */
    double share = 1.0 / s->samples + 1.0 / (double)normal.count, tail = fmax(fourth / (variance * variance) - 1, 0);
    s->mean_limit[i] = fmax(mean * run->margin, CALIBRATION_MILLIONTH * sqrt(share));
    s->spread_limit[i] = fmax(spread * run->margin, CALIBRATION_MILLIONTH * sqrt(tail * share));
}

/* ---- outcomes ---- */
struct outcomes {
    double *value, *stand_in; /* owned; [count] */
    size_t count;
    bool binned; /* none is negative: a device's histogram has them all */
};

static void outcomes_deinit(struct outcomes *o)
{
    free(o->value);
    free(o->stand_in);
}

static enum err outcomes_init(const struct calibration_run *run, struct outcomes *o)
{
    o->count = run->score_count;
    o->value = calloc(o->count, sizeof(*o->value));
    o->stand_in = calloc(o->count, sizeof(*o->stand_in));
    o->binned = true;
    if (o->value == NULL || o->stand_in == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < o->count; i++) {
        o->value[i] = run->of == CALIBRATION_CONFIDENCE ? outcome_doubt(run->scores[i]) : run->scores[i];
        o->stand_in[i] = sketch_stand_in(OUTCOME_ERROR, o->value[i]);
        o->binned &= o->value[i] >= 0;
    }
    return OK;
}

static enum err fit_reference(struct calibration_sketches *s, const struct outcomes *o, size_t half)
{
    double *sorted = o->binned ? calloc(half, sizeof(*sorted)) : NULL;
    if (!o->binned) {
        return OK;
    }
    if (sorted == NULL) {
        return ERR_NOMEM;
    }
    memcpy(sorted, o->stand_in, half * sizeof(*sorted));
    enum err err = drift_reference_fit(&s->outcome, sorted, half, CALIBRATION_BINS);
    free(sorted);
    return err;
}

static enum err limit_outcomes(const struct calibration_run *run, struct calibration_sketches *s,
                               const struct outcomes *o, size_t half)
{
    struct drift_window *w = calloc(1, sizeof(*w));
    struct moments normal = {0};
    if (w == NULL) {
        return ERR_NOMEM;
    }
    moments_add(&normal, o->value, half);
    s->outcome_mean = normal.mean;
    for (size_t from = half; from + s->answers <= o->count; from += s->answers / 4) {
        struct moments m = {0};
        moments_add(&m, o->value + from, s->answers);
        s->outcome_limit = fmax(s->outcome_limit, run->margin * fabs(m.mean - normal.mean));
        if (s->outcome.bins > 1 && drift_window_init(w, s->answers) == OK) {
            for (size_t i = 0; i < s->answers; i++) {
                drift_window_add(w, &s->outcome, o->stand_in[from + i]);
            }
            s->psi_limit = fmax(s->psi_limit, run->margin * drift_psi(w, &s->outcome));
            s->ks_limit = fmax(s->ks_limit, run->margin * drift_ks(w, &s->outcome));
        }
    }
    free(w);
    double share = 1.0 / s->answers + 1.0 / (double)half;
    s->outcome_limit = fmax(s->outcome_limit, CALIBRATION_MILLIONTH * sqrt(moments_variance(&normal) * share));
    s->outcome_limit = fmax(s->outcome_limit, 1e-9); /* it never moved at all */
    if (s->outcome.bins > 1) {
        s->psi_limit = fmax(s->psi_limit, calibration_psi_floor(s->outcome.bins, share));
        s->ks_limit = fmax(s->ks_limit, calibration_ks_floor(share));
    }
    return OK;
}

static enum err fit_outcomes(const struct calibration_run *run, struct calibration *c)
{
    CLEANUP(outcomes_deinit) struct outcomes o = {.count = 0};
    struct calibration_sketches *s = &c->sketches;
    size_t half = run->score_count / 2;
    for (size_t i = 0; i < run->score_count; i++) {
        if (!isfinite(run->scores[i])) {
            s->answers = 0;
            return OK; /* of the scores themselves there are no figures either, and that is told there */
        }
    }
    TRY(outcomes_init(run, &o));
    TRY(fit_reference(s, &o, half));
    return limit_outcomes(run, s, &o, half);
}

/* ---- both ---- */
enum err calibration_fit_sketches(const struct calibration_run *run, struct calibration *c, struct buffer *notes)
{
    struct calibration_sketches *s = &c->sketches;
    s->samples = batch_of(run->rows - run->rows / 2, run->rate_hz, SAMPLES_LEAST, 1 << 30);
    if (s->samples == 0) {
        buffer_printf(notes, "sketches: %zu rows are too few, %d are needed: none are judged\n", run->rows,
                      2 * BATCHES * SAMPLES_LEAST);
        return OK;
    }
    for (unsigned i = 0; i < run->channels; i++) {
        fit_channel(run, s, i);
    }
    s->answers = run->of == CALIBRATION_NONE ? 0
                                             : batch_of(run->score_count - run->score_count / 2,
                                                        run->rate_hz / run->hop, ANSWERS_LEAST, DRIFT_WINDOW_MAX);
    return s->answers > 0 ? fit_outcomes(run, c) : OK;
}
