/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a level that moves is seen, and whose it is, by as much as the normal run went; a channel that wanders in the
 * normal run, or never moves, says nothing; a bad value blinds nothing.
 */
#include <math.h>

#include "core/base/buffer.h"
#include "core/base/cursor.h"
#include "core/drift/drift.h"
#include "tests/support/check.h"

enum { ROWS = 600, CHANNELS = 4, QUIET = 0, WARM = 1, COUNTER = 2, STILL = 3 };
static uint64_t seed;
static double walk;

static double normal(void)
{
    seed = mix_u64(seed);
    double u = (double)(seed >> 11) / 9007199254740992.0;
    seed = mix_u64(seed);
    return sqrt(-2 * log(1 - u)) * cos(2 * M_PI * (double)(seed >> 11) / 9007199254740992.0);
}

/* Noise, a machine that warms up, a total, and what never moves. */
static void row_of(double *row, unsigned at)
{
    walk += 0.05 * normal();
    row[QUIET] = 20 + 3 * normal();
    row[WARM] = 40 + 10 * (1 - exp(-(double)at / ROWS)) + walk + 0.1 * normal();
    row[COUNTER] = 1000.0 + at;
    row[STILL] = 7;
}

static void fit(struct drift_levels *l, double *ret_limit)
{
    static double rows[ROWS * CHANNELS];
    double off[CHANNELS] = {0};
    unsigned which;
    seed = 1;
    walk = *ret_limit = 0;
    for (unsigned i = 0; i < ROWS; i++) {
        row_of(rows + (size_t)i * CHANNELS, i);
    }
    CHECK_OK(drift_levels_fit(l, rows, ROWS, CHANNELS, 0.25, 0.2));
    for (unsigned i = 0; i < ROWS; i++) {
        double s = drift_levels_add(l, off, rows + (size_t)i * CHANNELS, &which);
        *ret_limit = drift_limit((double[]){*ret_limit, s * 1.2}, 2, 1);
    }
}

static void what_wanders_says_nothing_and_what_is_steady_is_seen(void **state)
{
    static struct drift_levels l;
    double limit, off[CHANNELS] = {0}, row[CHANNELS];
    unsigned which = 9, beyond = 0;
    (void)state;
    fit(&l, &limit);
    CHECK(l.reach[QUIET] > 0 && l.reach[WARM] == 0 && l.reach[COUNTER] == 0 && l.reach[STILL] == 0);
    /* The moving average of noise: deviation 3 sqrt(0.25 / 1.75), of which 99 % lie within 2.58. */
    CHECK(fabs(l.reach[QUIET] - 2.58 * 3 * sqrt(0.25 / 1.75)) < 0.6);
    CHECK(limit > 1.2 && limit < 3);
    for (unsigned i = ROWS; i < 2 * ROWS; i++) { /* it goes on as it was */
        row_of(row, i);
        beyond += drift_levels_add(&l, off, row, &which) > limit;
    }
    CHECK(beyond <= 1);
    beyond = 0;
    for (unsigned i = 0; i < 100; i++) {
        row_of(row, 2 * ROWS + i);
        row[QUIET] -= 10;
        if (drift_levels_add(&l, off, row, &which) > limit) {
            beyond++;
            CHECK_INT(which, QUIET);
        }
    }
    CHECK(beyond > 90);
}

static void the_statistic_is_its_formula(void **state)
{
    struct drift_levels l = {.dimensions = 3, .lambda = 0.5, .mean = {1, 2, 3}, .reach = {2, 0, 4}};
    double off[3] = {0};
    unsigned which;
    (void)state;
    CHECK(drift_levels_add(&l, off, (double[]){5, 100, 1}, &which) == 1); /* 4 / 2 / 2; -2 / 2 / 4 */
    CHECK_INT(which, 0);
    CHECK(drift_levels_add(&l, off, (double[]){1, 100, 43}, &which) == 19.5 / 4); /* 1 / 2; (-1 + 40) / 2 */
    CHECK_INT(which, 2);
}

static void a_bad_value_blinds_nothing(void **state)
{
    struct drift_levels l = {.dimensions = 2, .lambda = 0.25, .mean = {0, 0}, .reach = {1, 1}};
    double off[2] = {0}, last = 0;
    unsigned which;
    (void)state;
    CHECK(drift_levels_add(&l, off, (double[]){NAN, 4}, &which) == 1 && which == 1);
    CHECK(drift_levels_add(&l, off, (double[]){INFINITY, NAN}, &which) == 0);
    CHECK(drift_levels_add(&l, off, (double[]){1e308, 0}, &which) > 1e300 / 2);
    CHECK(isfinite(off[0]));
    for (unsigned i = 0; i < 3000; i++) {
        last = drift_levels_add(&l, off, (double[]){0, 0}, &which);
    }
    CHECK(last < 1);
}

static void runs_that_say_nothing_are_refused(void **state)
{
    static struct drift_levels l;
    double rows[40];
    (void)state;
    for (unsigned i = 0; i < 40; i++) {
        rows[i] = i;
    }
    CHECK_ERR(drift_levels_fit(&l, rows, 40, 1, 0.25, 0.2), ERR_NOT_FOUND); /* a ramp and nothing else */
    CHECK_ERR(drift_levels_fit(&l, rows, 39, 1, 0.25, 0.2), ERR_RANGE);
    CHECK_ERR(drift_levels_fit(&l, rows, 40, 0, 0.25, 0.2), ERR_RANGE);
    CHECK_ERR(drift_levels_fit(&l, rows, 40, 1, 0, 0.2), ERR_RANGE);
    rows[20] = NAN;
    CHECK_ERR(drift_levels_fit(&l, rows, 40, 1, 0.25, 0.2), ERR_RANGE);
    rows[20] = 1e300;
    CHECK_ERR(drift_levels_fit(&l, rows, 40, 1, 0.25, 0.2), ERR_RANGE); /* its square is no double */
    for (unsigned i = 0; i < 40; i++) {
        rows[i] = 0.1;
    }
    CHECK_ERR(drift_levels_fit(&l, rows, 40, 1, 0.25, 0.2), ERR_NOT_FOUND);
}

static void a_state_that_was_put_away_goes_on(void **state)
{
    static struct drift_levels l;
    double limit, off[CHANNELS] = {0}, other[CHANNELS] = {0}, row[CHANNELS];
    unsigned which;
    BUFFER(bytes, 256);
    (void)state;
    fit(&l, &limit);
    for (unsigned i = 0; i < 50; i++) {
        row_of(row, i);
        (void)drift_levels_add(&l, off, row, &which);
    }
    drift_put_levels(&l, off, &bytes);
    struct cursor in = cursor_of(buffer_slice(&bytes));
    CHECK_OK(drift_get_levels(&in, &l, other));
    CHECK_OK(cursor_end(&in));
    CHECK(memcmp(off, other, sizeof(off)) == 0);
    in = cursor_of(slice_of(buffer_slice(&bytes).ptr, 20));
    CHECK(drift_get_levels(&in, &l, other) != OK);
    l.dimensions = 3;
    in = cursor_of(buffer_slice(&bytes));
    CHECK_ERR(drift_get_levels(&in, &l, other), ERR_RANGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_wanders_says_nothing_and_what_is_steady_is_seen),
        cmocka_unit_test(the_statistic_is_its_formula),
        cmocka_unit_test(a_bad_value_blinds_nothing),
        cmocka_unit_test(runs_that_say_nothing_are_refused),
        cmocka_unit_test(a_state_that_was_put_away_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
