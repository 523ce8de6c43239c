/* SPDX-License-Identifier: Apache-2.0 */
/* From the points of a curve, or the trials of a search, to the one that is used. */
#include "core/cascade/cascade.h"

#include <math.h>
#include <stdio.h>

enum err cascade_choose(const struct cascade_point *points, size_t count, const struct cascade_cost *cost,
                        const struct cascade_goal *goal, struct cascade_point *ret_point)
{
    if (goal->bytes_max > 0) {
        return cascade_pick_bytes(points, count, goal->bytes_max, ret_point);
    }
    enum err err = cascade_pick_gap(points, count, goal->loss_max, goal->errors, ret_point);
    if (goal->escalated_max < 1 && (err != OK || ret_point->escalated > goal->escalated_max)) {
        double most = cost->result_bytes + goal->escalated_max * cost->ask_bytes;
        err = cascade_pick_bytes(points, count, most, ret_point);
    }
    return err;
}

double cascade_cases_needed(const struct cascade_goal *goal)
{
    if (goal->loss_max <= 0 || goal->errors <= 0) {
        return 1;
    }
    return ceil(goal->errors / goal->loss_max - 1e-9); /* the error of a gap of 0 is 1 / cases */
}

/* As cascade_measure counts. */
static size_t asked(const struct cascade_case *cases, size_t count, double threshold)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        n += !(cases[i].confidence >= threshold);
    }
    return n;
}

double cascade_shorten(const struct cascade_case *cases, size_t count, double threshold)
{
    size_t want = asked(cases, count, threshold);
    for (int decimals = 0; decimals < 17; decimals++) {
        char text[40];
        snprintf(text, sizeof(text), "%.*f", decimals, threshold);
        double shorter = strtod(text, NULL);
        if (shorter <= 1 && asked(cases, count, shorter) == want) {
            return shorter;
        }
    }
    return threshold;
}

struct cascade_grid cascade_usual_grid(int64_t period_us, const double *limits, size_t limit_count,
                                       int64_t ret_silences[CASCADE_GRID_SILENCES])
{
    static const unsigned averages[CASCADE_GRID_AVERAGES] = {1, 2, 5, 10, 20, 30, 60};
    static const int64_t answers[CASCADE_GRID_SILENCES] = {0, 30, 60, 120, 300};
    for (size_t i = 0; i < CASCADE_GRID_SILENCES; i++) {
        ret_silences[i] = answers[i] * period_us;
    }
    return (struct cascade_grid){
        averages, limits, ret_silences, CASCADE_GRID_AVERAGES, limit_count, CASCADE_GRID_SILENCES};
}

static int compare(size_t a, size_t b)
{
    return (a > b) - (a < b);
}

/* Missed, false alarms, delay; then as a grid has them. */
static int by_rates(const void *a, const void *b)
{
    const struct cascade_trial *x = a, *y = b;
    int orders[] = {compare(x->rates.missed, y->rates.missed),
                    compare(x->rates.false_alarms, y->rates.false_alarms),
                    (x->rates.delay_us > y->rates.delay_us) - (x->rates.delay_us < y->rates.delay_us),
                    compare(x->rule.average, y->rule.average),
                    (x->rule.limit > y->rule.limit) - (x->rule.limit < y->rule.limit),
                    (x->rule.suppress_us > y->rule.suppress_us) - (x->rule.suppress_us < y->rule.suppress_us)};
    size_t i = 0;
    while (i + 1 < COUNT_OF(orders) && orders[i] == 0) {
        i++;
    }
    return orders[i];
}

size_t cascade_front(struct cascade_trial *trials, size_t count)
{
    size_t kept = 0;
    if (count == 0) {
        return 0;
    }
    qsort(trials, count, sizeof(*trials), by_rates);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || trials[i].rates.false_alarms < trials[kept - 1].rates.false_alarms) {
            trials[kept++] = trials[i];
        }
    }
    return kept;
}
