/* SPDX-License-Identifier: Apache-2.0 */
/* From a normal run to limits. */
#include <math.h>

#include "proto/calibration/calibration_internal.h"

enum {
    ROWS_MIN = 40,
    SCORES_MIN = 100,
    PARTS = 4,
    STATISTICS = 4,
    WEEK_S = 7 * 86400,
    WINDOW_LEAST = 20,
    WINDOW_MOST = 500
};
#define SHARE 0.9
/* Of levels: chosen on a part of a recorded set (tests/bench/drift). */
#define LEVEL_LAMBDA 0.15
#define LEVEL_SLOW 0.15

unsigned calibration_inputs(const struct calibration *c)
{
    return c->features.count;
}

enum err calibration_features(struct calibration *c, unsigned window, unsigned hop, double rate_hz,
                              struct fault *reterr)
{
    bool spread = window > 1 && 2 * c->channels <= FEATURES_MAX;
    for (unsigned i = 0; i < c->channels; i++) {
        c->feature[i] = (struct feature){.kind = FEATURE_MEAN, .channel = i};
        if (spread) {
            c->feature[c->channels + i] = (struct feature){.kind = FEATURE_STD, .channel = i};
        }
    }
    c->features = (struct features_options){.channels = c->channels,
                                            .window = window,
                                            .hop = hop,
                                            .rate_hz = (float)rate_hz,
                                            .features = c->feature,
                                            .count = spread ? 2 * c->channels : c->channels};
    return features_outputs(&c->features, reterr) > 0 ? OK : ERR_RANGE;
}

/* One statistic of the second half after another; limits and false alarms from them. */
struct trace {
    double *v[STATISTICS]; /* owned; [count] */
    size_t count;
};

static void trace_deinit(struct trace *t)
{
    for (unsigned k = 0; k < STATISTICS; k++) {
        free(t->v[k]);
    }
}

static enum err trace_init(struct trace *t, size_t count)
{
    for (unsigned k = 0; k < STATISTICS; k++) {
        t->v[k] = calloc(count > 0 ? count : 1, sizeof(double));
        if (t->v[k] == NULL) {
            return ERR_NOMEM;
        }
    }
    return OK;
}

static double most(const struct trace *t, unsigned k, size_t leave_from, size_t leave_to)
{
    double v = 0;
    for (size_t i = 0; i < t->count; i++) {
        v = i >= leave_from && i < leave_to ? v : fmax(v, t->v[k][i]);
    }
    return v;
}

/* Confirmed alarms in each part under limits from the other parts. */
static unsigned false_alarms(const struct calibration *c, const struct trace *t)
{
    unsigned alarms = 0;
    for (size_t part = 0; part < PARTS; part++) {
        size_t from = t->count * part / PARTS, to = t->count * (part + 1) / PARTS;
        struct drift_confirm confirm = {.k = c->k, .n = c->n};
        double limit[STATISTICS];
        for (unsigned k = 0; k < STATISTICS; k++) {
            limit[k] = most(t, k, from, to) * c->margin;
        }
        for (size_t i = from; i < to; i++) {
            bool beyond = false;
            for (unsigned k = 0; k < STATISTICS; k++) {
                beyond |= t->v[k][i] > limit[k];
            }
            alarms += drift_confirm_add(&confirm, beyond);
        }
    }
    return alarms;
}

static double limit_of(const struct calibration *c, const struct trace *t, unsigned k)
{
    double limit = drift_limit(t->v[k], t->count, c->margin);
    return limit > 0 ? limit : 1e-9; /* it never moved at all */
}

/* What chance alone does once in a million with `count` independent answers held against `reference` of them. Real
 * answers hang together and go farther, but a short run has not shown that yet: no limit is below this. */
double calibration_psi_floor(unsigned bins, double share)
{
    double k = bins - 1; /* chi2: Wilson and Hilferty, PNAS 17 (1931) */
    double cube = 1 - 2 / (9 * k) + CALIBRATION_MILLIONTH * sqrt(2 / (9 * k));
    return k * cube * cube * cube * share;
}

double calibration_ks_floor(double share)
{
    return sqrt(log(2e6) / 2 * share); /* Massart, 1990 */
}

static void floor_of_chance(struct calibration *c, double deviation, size_t reference)
{
    double share = 1.0 / c->score_window + 1.0 / (double)reference;
    double average = c->score_lambda / (2 - c->score_lambda) + 1.0 / (double)reference;
    c->psi_limit = fmax(c->psi_limit, calibration_psi_floor(c->reference.bins, share));
    c->ks_limit = fmax(c->ks_limit, calibration_ks_floor(share));
    c->score_limit = fmax(c->score_limit, CALIBRATION_MILLIONTH * deviation * sqrt(average));
}

/* ---- sensors ---- */
static enum err fit_sensors(const struct calibration_run *run, struct calibration *c, struct fault *reterr)
{
    double *x = calloc(run->rows, sizeof(*x));
    enum err err = x != NULL ? OK : fault_set(reterr, ERR_NOMEM, "out of memory");
    for (unsigned i = 0; err == OK && i < c->channels; i++) {
        for (size_t r = 0; r < run->rows; r++) {
            x[r] = run->values[r * c->channels + i];
        }
        if (drift_sensor_fit(&c->sensor[i], x, run->rows, run->margin) != OK) {
            err = fault_set(reterr, ERR_RANGE, "channel %s: 32 values at least are needed, and a margin above 1",
                            c->channel[i]);
        }
    }
    free(x);
    return err;
}

/* ---- inputs ---- */
static enum err make_rows(const struct calibration_run *run, struct calibration *c, double **ret_rows,
                          size_t *ret_count)
{
    unsigned d = calibration_inputs(c);
    size_t room = run->rows / c->features.hop + run->pieces + 1, piece = 0;
    double *rows = calloc(room * d, sizeof(*rows));
    void *memory = aligned_alloc(16, (features_bytes(&c->features) + 15) / 16 * 16);
    struct features *f = NULL;
    enum err err = rows != NULL && memory != NULL
                       ? features_init(&c->features, memory, features_bytes(&c->features), &f, NULL)
                       : ERR_NOMEM;
    *ret_count = 0;
    for (size_t r = 0; err == OK && r < run->rows; r++) {
        float values[CALIBRATION_CHANNELS_MAX], row[FEATURES_MAX];
        if (piece < run->pieces && run->starts[piece] == r) {
            features_reset(f);
            piece++;
        }
        for (unsigned i = 0; i < c->channels; i++) {
            values[i] = (float)run->values[r * c->channels + i];
        }
        if (features_push(f, values) && *ret_count < room && features_row(f, row)) {
            for (unsigned i = 0; i < d; i++) {
                rows[*ret_count * d + i] = (double)row[i];
            }
            ++*ret_count;
        }
    }
    free(memory);
    *ret_rows = rows;
    return err;
}

/* For a run that is short against the time that a machine needs to warm up: inputs that wander in its first half stand
 * still from here on, so that the components do not take them in. */
static enum err keep_steady(struct calibration *c, double *rows, size_t count, struct buffer *notes)
{
    unsigned d = calibration_inputs(c);
    enum err err = drift_levels_fit(&c->levels, rows, count / 2, d, LEVEL_LAMBDA, LEVEL_SLOW);
    if (err == ERR_RANGE || err == ERR_NOT_FOUND) {
        buffer_printf(notes, "inputs: %s: all take part as they are\n",
                      err == ERR_RANGE ? "too few windows to tell what is steady" : "nothing that moves is steady");
        c->levels.dimensions = 0;
        return OK;
    }
    TRY(err);
    for (unsigned i = 0; i < d; i++) {
        bool moves = false;
        for (size_t r = 0; c->levels.reach[i] == 0 && r < count; r++) {
            moves |= rows[r * d + i] != rows[i];
        }
        for (size_t r = 0; moves && r < count; r++) {
            rows[r * d + i] = c->levels.mean[i];
        }
        if (moves) {
            buffer_printf(notes, "inputs: %s of %s wanders in the run: it takes no part\n",
                          i < c->channels ? "mean" : "deviation", c->channel[i % c->channels]);
        }
    }
    return OK;
}

static enum err limit_inputs(struct calibration *c, const double *rows, size_t count, unsigned *ret_alarms)
{
    CLEANUP(trace_deinit) struct trace t = {.count = count};
    struct drift_ewma e = {.lambda = c->lambda};
    double off[FEATURES_MAX] = {0};
    unsigned which;
    TRY(trace_init(&t, count));
    for (size_t i = 0; i < count; i++) {
        drift_pca_score(&c->pca, rows + i * c->pca.dimensions, &t.v[0][i], &t.v[1][i]);
        t.v[2][i] = drift_ewma_add(&e, t.v[1][i]);
        t.v[3][i] = drift_levels_add(&c->levels, off, rows + i * c->pca.dimensions, &which);
    }
    c->t2_limit = limit_of(c, &t, 0);
    c->spe_limit = limit_of(c, &t, 1);
    c->ewma_limit = limit_of(c, &t, 2);
    c->level_limit = c->levels.dimensions > 0 ? limit_of(c, &t, 3) : 0;
    *ret_alarms += false_alarms(c, &t);
    return OK;
}

static enum err fit_inputs(const struct calibration_run *run, struct calibration *c, unsigned *ret_alarms,
                           struct buffer *notes)
{
    double *rows = NULL;
    size_t count = 0;
    enum err err = make_rows(run, c, &rows, &count);
    if (err == OK && count < ROWS_MIN) {
        buffer_printf(notes, "inputs: %zu windows are too few, %d are needed: no figures for them\n", count, ROWS_MIN);
    } else if (err == OK) {
        err = run->steady ? keep_steady(c, rows, count, notes) : OK;
        err = err != OK ? err : drift_pca_fit(&c->pca, rows, count / 2, calibration_inputs(c), SHARE);
        if (err == ERR_RANGE) {
            buffer_put_str(notes, "inputs: nothing moves in the run: no figures for them\n");
            c->pca.components = 0;
            err = OK;
        } else if (err == OK) {
            err = limit_inputs(c, rows + count / 2 * calibration_inputs(c), count - count / 2, ret_alarms);
        }
    }
    free(rows);
    return err;
}

/* ---- scores ---- */
static enum err limit_scores(struct calibration *c, const double *scores, size_t count, unsigned *ret_alarms)
{
    CLEANUP(trace_deinit) struct trace t = {.count = 0};
    struct drift_ewma e = {.lambda = c->score_lambda};
    struct drift_window *w = calloc(1, sizeof(*w));
    enum err err = w != NULL ? drift_window_init(w, c->score_window) : ERR_NOMEM;
    err = err == OK ? trace_init(&t, count) : err;
    for (size_t i = 0; err == OK && i < count; i++) {
        double average = drift_ewma_add(&e, scores[i]);
        drift_window_add(w, &c->reference, scores[i]);
        if (drift_window_full(w)) {
            t.v[0][t.count] = drift_psi(w, &c->reference);
            t.v[1][t.count] = drift_ks(w, &c->reference);
            t.v[2][t.count++] = fabs(average - c->score_mean);
        }
    }
    free(w);
    TRY(err);
    c->psi_limit = limit_of(c, &t, 0);
    c->ks_limit = limit_of(c, &t, 1);
    c->score_limit = limit_of(c, &t, 2);
    *ret_alarms += false_alarms(c, &t);
    return OK;
}

static enum err fit_scores(const struct calibration_run *run, struct calibration *c, unsigned *ret_alarms,
                           struct buffer *notes)
{
    size_t half = run->score_count / 2;
    if (run->of == CALIBRATION_NONE) {
        return OK;
    }
    for (size_t i = 0; i < run->score_count; i++) {
        if (!isfinite(run->scores[i])) {
            buffer_put_str(notes, "scores: the model gives what is no number: no figures for them\n");
            return OK;
        }
    }
    if (run->score_count < SCORES_MIN) {
        buffer_printf(notes, "scores: %zu answers are too few, %d are needed: no figures for them\n", run->score_count,
                      SCORES_MIN);
        return OK;
    }
    for (size_t i = 0; i < half; i++) {
        c->score_mean += run->scores[i] / (double)half;
    }
    TRY(drift_reference_fit(&c->reference, run->scores, half, CALIBRATION_BINS));
    c->of = run->of;
    size_t quarter = (run->score_count - half) / 4;
    c->score_window = (unsigned)(quarter < WINDOW_LEAST ? WINDOW_LEAST : quarter > WINDOW_MOST ? WINDOW_MOST : quarter);
    double square = 0;
    for (size_t i = 0; i < half; i++) {
        square += (run->scores[i] - c->score_mean) * (run->scores[i] - c->score_mean) / (double)half;
    }
    TRY(limit_scores(c, run->scores + half, run->score_count - half, ret_alarms));
    floor_of_chance(c, sqrt(square), half);
    return OK;
}

/* ---- the whole ---- */
static enum err check_run(const struct calibration_run *run, struct fault *reterr)
{
    if (run->channels < 1 || run->channels > CALIBRATION_CHANNELS_MAX) {
        return fault_set(reterr, ERR_RANGE, "1 to %d channels can be calibrated", CALIBRATION_CHANNELS_MAX);
    }
    if (!(run->margin > 1 && run->margin <= 100)) {
        return fault_set(reterr, ERR_RANGE, "the margin must be above 1, and 100 at most");
    }
    return OK;
}

/* Exact bounds of a Poisson count with 95 %, one-sided: chi2(0.95, 2 n + 2) / 2 for few, its normal tail for many. */
static double at_most(unsigned n)
{
    static const double few[] = {3.00, 4.74, 6.30, 7.75, 9.15, 10.51};
    return n < COUNT_OF(few) ? few[n] : n + 1.645 * sqrt(n + 1.0) + 1.6;
}

enum err calibration_fit(const struct calibration_run *run, struct calibration **ret_c, struct buffer *notes,
                         struct fault *reterr)
{
    TRY(check_run(run, reterr));
    CLEANUP(calibration_freep) struct calibration *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    c->model = run->model;
    c->channels = run->channels;
    c->lambda = 0.1;
    c->score_lambda = 0.05;
    c->page_delta = 0.05;
    c->page_limit = 20;
    c->adwin = 1e-5;
    c->rates = DRIFT_RATES_LIMIT;
    c->k = 4;
    c->n = 5;
    c->score_window = 1;
    c->margin = run->margin;
    snprintf(c->name, sizeof(c->name), "%s", run->name);
    for (unsigned i = 0; i < run->channels; i++) {
        snprintf(c->channel[i], sizeof(c->channel[i]), "%s", run->channel[i]);
    }
    TRY(calibration_features(c, run->window, run->hop, run->rate_hz, reterr));
    TRY(fit_sensors(run, c, reterr));
    unsigned alarms = 0;
    enum err err = calibration_fit_sketches(run, c, notes); /* before scores are put in another order */
    err = err == OK ? fit_inputs(run, c, &alarms, notes) : err;
    err = err == OK ? fit_scores(run, c, &alarms, notes) : err;
    if (err != OK) {
        return fault_set(reterr, err, "the run cannot be calibrated: %s", err_name(err));
    }
    double seconds = (double)run->rows / run->rate_hz, weeks = seconds / 2 / WEEK_S;
    c->days = seconds / 86400;
    c->alarms_per_week = alarms / weeks;
    c->alarms_at_most = at_most(alarms) / weeks;
    *ret_c = take(c);
    return OK;
}
