/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the readings in the sink a window was made of. */
#include <math.h>

#include "cloud-bridge/console/explain.h"
#include "cloud-bridge/console/replay.h"

enum {
    STEPS = 128,
    NEAR_US = 2000, /* a block's times and a window's come from the same clock, rounded apart */
    TWICE = 200     /* nearer than this share of the period it is the same sample, come by two lanes */
};

void explain_window_deinit(struct explain_window *w)
{
    free(w->values);
    *w = (struct explain_window){.rows = 0};
}

enum err explain_samples_of(const struct series *series, int64_t from_us, int64_t to_us, const char *const *channels,
                            size_t count, struct evidence_samples *ret)
{
    const double *column[FEATURES_CHANNELS_MAX] = {NULL};
    *ret = (struct evidence_samples){.channels = count};
    for (size_t i = 0; i < count; i++) {
        for (size_t c = 0; c < series->channels; c++) {
            column[i] = strcmp(series->channel[c].name, channels[i]) == 0 ? series->channel[c].values : column[i];
        }
    }
    for (size_t row = 0; row < series->rows; row++) {
        if (series->times[row] < from_us || series->times[row] > to_us) {
            continue;
        }
        TRY(evidence_samples_add(ret, series->times[row], 0));
        for (size_t i = 0; i < count; i++) {
            ret->values[(ret->rows - 1) * count + i] = column[i] != NULL ? (float)column[i][row] : NAN;
        }
    }
    return OK;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Whether the device samples at the model's own rate: then every sample is one of the window's. */
static bool takes_each(const struct evidence_samples *s, size_t end, double period_us)
{
    int64_t steps[STEPS];
    size_t count = 0;
    for (size_t i = end; i > 0 && count < STEPS; i--) {
        int64_t step_us = s->times[i] - s->times[i - 1];
        if ((double)step_us > period_us / TWICE) {
            steps[count++] = step_us;
        }
    }
    qsort(steps, count, sizeof(steps[0]), by_value);
    return count == 0 || (double)steps[count / 2] > 0.6 * period_us;
}

/* The sample before `before`, which was taken at at_us, unless one is missing between them; else SIZE_MAX. A block has
 * the time of its first sample and a steady rate: where that one was late or early, the step between two blocks is far
 * off. */
static size_t previous(const struct evidence_samples *s, size_t before, double at_us, double period_us)
{
    size_t i = before;
    while (i > 0 && at_us - (double)s->times[i - 1] <= period_us / TWICE) {
        i--;
    }
    if (i == 0) {
        return SIZE_MAX;
    }
    double most = s->records[i - 1] != s->records[before] ? 1.95 : 1.75;
    return at_us - (double)s->times[i - 1] < most * period_us ? i - 1 : SIZE_MAX;
}

/* The sample before `before` that is nearest to at_us; SIZE_MAX: none within half a period. */
static size_t nearest(const struct evidence_samples *s, size_t before, double at_us, double period_us)
{
    size_t best = SIZE_MAX;
    double best_us = period_us / 2 + NEAR_US;
    for (size_t i = before; i-- > 0 && (double)s->times[i] > at_us - period_us / 2 - NEAR_US;) {
        double distance_us = fabs((double)s->times[i] - at_us);
        if (distance_us < best_us) {
            best = i;
            best_us = distance_us;
        }
    }
    return best;
}

static void put_row(struct explain_window *w, size_t row, const float *values)
{
    for (size_t c = 0; c < w->channels; c++) {
        float v = values != NULL ? values[c] : NAN;
        w->values[row * w->channels + c] = v;
        w->missing[c] += isnan(v);
        w->values_missing += isnan(v);
    }
    w->rows_missing += values == NULL;
}

enum err explain_window_at(const struct evidence_samples *s, size_t end, const struct features_options *o,
                           struct explain_window *w)
{
    double period_us = 1e6 / (double)o->rate_hz, at_us = (double)s->times[end];
    bool each = takes_each(s, end, period_us), last_found = true;
    size_t at = end;
    explain_window_deinit(w);
    w->values = calloc((size_t)o->window * o->channels, sizeof(*w->values));
    if (w->values == NULL) {
        return ERR_NOMEM;
    }
    w->rows = o->window;
    w->channels = o->channels;
    w->last_us = w->first_us = s->times[end];
    put_row(w, o->window - 1, s->values + end * s->channels);
    for (size_t row = o->window - 1; row-- > 0;) {
        size_t found =
            each && last_found ? previous(s, at, at_us, period_us) : nearest(s, at, at_us - period_us, period_us);
        last_found = found != SIZE_MAX;
        at_us -= period_us;
        put_row(w, row, found != SIZE_MAX ? s->values + found * s->channels : NULL);
        if (found != SIZE_MAX) {
            at = found;
            at_us = (double)s->times[found]; /* from there on: the two rates may differ by a little */
        }
        w->first_us = (int64_t)at_us;
    }
    return OK;
}

bool explain_fill(const struct explain_window *w, float *out)
{
    bool all = true;
    for (size_t c = 0; c < w->channels; c++) {
        float last = NAN;
        for (size_t row = 0; row < w->rows; row++) {
            float v = w->values[row * w->channels + c];
            last = isnan(v) ? last : v;
            out[row * w->channels + c] = last;
        }
        all &= !isnan(last);
    }
    return all;
}

static int64_t distance_us(int64_t time_us, int64_t sample_us)
{
    int64_t last_us = time_us + MS_US - 1;
    return sample_us < time_us ? time_us - sample_us : sample_us > last_us ? sample_us - last_us : 0;
}

size_t explain_ends(const struct evidence_samples *s, int64_t time_us, double rate_hz, size_t ends[EXPLAIN_ENDS_MAX],
                    size_t *ret_near)
{
    int64_t period_us = (int64_t)fmin(1e6 / rate_hz, 1e15), tolerance_us = max_i64(NEAR_US, period_us);
    size_t count = 0;
    *ret_near = 0;
    for (size_t i = s->rows; i-- > 0;) { /* of equal distance the latest first */
        int64_t away_us = distance_us(time_us, s->times[i]);
        size_t at = count;
        if (away_us > tolerance_us) {
            continue;
        }
        while (at > 0 && distance_us(time_us, s->times[ends[at - 1]]) > away_us) {
            at--;
        }
        if (at == EXPLAIN_ENDS_MAX) {
            continue;
        }
        count += count < EXPLAIN_ENDS_MAX;
        memmove(&ends[at + 1], &ends[at], (count - 1 - at) * sizeof(*ends));
        ends[at] = i;
        *ret_near += away_us <= max_i64(NEAR_US, period_us / 2);
    }
    return count;
}

void explain_moments(const struct explain_window *w, size_t channel, double *ret_mean, double *ret_std)
{
    double sum = 0, square = 0;
    size_t count = 0;
    for (size_t row = 0; row < w->rows; row++) {
        double v = (double)w->values[row * w->channels + channel];
        count += isfinite(v);
        sum += isfinite(v) ? v : 0;
    }
    *ret_mean = count > 0 ? sum / (double)count : (double)NAN;
    for (size_t row = 0; row < w->rows; row++) {
        double v = (double)w->values[row * w->channels + channel];
        square += isfinite(v) ? (v - *ret_mean) * (v - *ret_mean) : 0;
    }
    *ret_std = count > 0 ? sqrt(square / (double)count) : (double)NAN;
}
