/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a series keeps a run of any length in the same memory: points fold by their kind, gaps stay gaps. */
#include <math.h>

#include "simulators/figures/figures.h"
#include "tests/support/check.h"

static struct series s;

static void a_short_run_keeps_every_second(void **state)
{
    (void)state;
    series_init(&s, SERIES_MEAN);
    CHECK_INT(series_count(&s), 0);
    for (int i = 0; i < SERIES_POINTS - 1; i++) {
        series_add(&s, i);
    }
    CHECK_INT(s.step, 1);
    CHECK_INT(series_count(&s), SERIES_POINTS - 1);
    CHECK(series_at(&s, 17) == 17);
    CHECK(series_time_s(&s, 17) == 17);
}

/* A point covers the seconds index*step .. +step-1 of 0, 1, 2, ... */
static void check_fold(enum series_fold fold, unsigned seconds)
{
    series_init(&s, fold);
    for (unsigned i = 0; i < seconds; i++) {
        series_add(&s, i);
    }
    CHECK(series_count(&s) <= SERIES_POINTS);
    CHECK(s.step >= seconds / SERIES_POINTS);
    size_t whole = seconds / s.step;
    CHECK_INT(s.count, whole);
    for (size_t i = 0; i < whole; i++) {
        double first = series_time_s(&s, i), last = first + s.step - 1;
        double want = fold == SERIES_MEAN ? (first + last) / 2 : fold == SERIES_MIN ? first : last;
        CHECK(series_at(&s, i) == want);
    }
    if (seconds % s.step > 0) { /* the unfinished one */
        double first = (double)(whole * s.step), last = seconds - 1;
        double want = fold == SERIES_MEAN ? (first + last) / 2 : fold == SERIES_MIN ? first : last;
        CHECK_INT(series_count(&s), whole + 1);
        CHECK(series_at(&s, whole) == want);
    }
}

static void a_long_run_halves_its_resolution(void **state)
{
    (void)state;
    const unsigned lengths[] = {1, SERIES_POINTS - 1, SERIES_POINTS, SERIES_POINTS + 1, 3601, 86399, 1000003};
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        check_fold(SERIES_MEAN, lengths[i]);
        check_fold(SERIES_MAX, lengths[i]);
        check_fold(SERIES_MIN, lengths[i]);
        check_fold(SERIES_LAST, lengths[i]);
    }
}

static void what_is_not_known_does_not_count(void **state)
{
    (void)state;
    series_init(&s, SERIES_MEAN);
    for (int i = 0; i < SERIES_POINTS; i++) {
        series_add(&s, i < 4 ? NAN : i % 2 ? NAN : i);
    }
    CHECK_INT(s.step, 2);
    CHECK(isnan(series_at(&s, 0)) && isnan(series_at(&s, 1)));
    CHECK(series_at(&s, 2) == 4);
    series_add(&s, NAN);
    CHECK(isnan(series_at(&s, s.count)));
    series_add(&s, 7);
    CHECK(series_at(&s, s.count - 1) == 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_short_run_keeps_every_second),
        cmocka_unit_test(a_long_run_halves_its_resolution),
        cmocka_unit_test(what_is_not_known_does_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
