/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: an error that becomes another kind of error is seen although there are no more errors than before; a steady
 * rate is not told, of many streams as few as the limit promises; fewer errors are no alarm; the statistic is its
 * formula.
 */
#include <math.h>

#include "core/base/buffer.h"
#include "core/base/cursor.h"
#include "core/drift/drift.h"
#include "tests/support/check.h"

enum { NO_ERROR = 99 };
static uint64_t seed;

static double uniform(void)
{
    seed = mix_u64(seed);
    return (double)(seed >> 11) / 9007199254740992.0;
}

static unsigned error_of(double first, double second)
{
    double u = uniform();
    return u < first ? 0 : u < first + second ? 1 : NO_ERROR;
}

static void another_kind_of_error_is_seen_though_there_are_no_more(void **state)
{
    static struct drift_rates by_kind, as_such;
    unsigned seen = 0, seen_as_such = 0, early = 0;
    (void)state;
    for (unsigned run = 0; run < 20; run++) {
        bool kind = false, such = false;
        seed = run + 1;
        drift_rates_init(&by_kind, 2, DRIFT_RATES_LIMIT);
        drift_rates_init(&as_such, 1, DRIFT_RATES_LIMIT);
        for (unsigned i = 0; i < 6000; i++) {
            unsigned error = i < 4000 ? error_of(0.15, 0.08) : error_of(0.08, 0.15);
            bool now = drift_rates_add(&by_kind, error), now_such = drift_rates_add(&as_such, error == NO_ERROR);
            early += now && i < 4000;
            if (now && i >= 4000 && !kind) {
                CHECK_INT(by_kind.kind, 1);
                CHECK(by_kind.before < 0.11 && by_kind.after > 0.11);
            }
            kind |= now && i >= 4000;
            such |= now_such && i >= 4000;
        }
        seen += kind;
        seen_as_such += such;
    }
    CHECK_INT(seen, 20);
    CHECK_INT(early, 0);
    CHECK(seen_as_such <= 1);
}

static void steady_rates_and_falling_ones_are_not_told(void **state)
{
    static struct drift_rates r;
    unsigned steady = 0;
    (void)state;
    for (unsigned run = 0; run < 50; run++) {
        bool told = false;
        seed = 1000 + run;
        drift_rates_init(&r, 2, DRIFT_RATES_LIMIT);
        for (unsigned i = 0; i < 20000; i++) {
            told |= drift_rates_add(&r, error_of(0.01 * run / 2, 0.1));
        }
        steady += told;
    }
    CHECK(steady <= 3);
    seed = 7;
    drift_rates_init(&r, 2, DRIFT_RATES_LIMIT);
    for (unsigned i = 0; i < 8000; i++) {
        CHECK(!drift_rates_add(&r, i < 4000 ? error_of(0.4, 0.3) : error_of(0.1, 0.05)));
    }
}

static unsigned kept(const struct drift_rates *r)
{
    unsigned answers = r->filled;
    for (unsigned l = 0; l < DRIFT_RATES_LEVELS; l++) {
        answers += r->level[l].used * (DRIFT_RATES_BLOCK << l);
    }
    return answers;
}

static void the_ratio_is_its_formula_and_what_is_old_is_forgotten(void **state)
{
    static struct drift_rates r;
    double expected = 0, n0 = 64, k0 = 0, n1 = 32, k1 = 8, p = 8.0 / 96;
    (void)state;
    drift_rates_init(&r, 1, 100);
    for (unsigned i = 0; i < 96; i++) { /* 64 without an error, then one in four: its border is one of buckets' */
        CHECK(!drift_rates_add(&r, i >= 64 && i % 4 == 0 ? 0 : 1));
    }
    expected = (n0 - k0) * log(1 / (1 - p)) + k1 * log(k1 / n1 / p) + (n1 - k1) * log((1 - k1 / n1) / (1 - p));
    CHECK(fabs(r.ratio - expected) < 1e-9);
    drift_rates_init(&r, 1, expected - 0.01);
    unsigned told = 0;
    for (unsigned i = 0; i < 96; i++) {
        told += drift_rates_add(&r, i >= 64 && i % 4 == 0 ? 0 : 1);
    }
    CHECK_INT(told, 1);
    CHECK(r.before == 0 && r.after == 0.25);
    CHECK_INT(kept(&r), 32);
    for (unsigned i = 0; i < 960; i++) { /* a quarter is what is normal now */
        CHECK(!drift_rates_add(&r, i % 4 == 0 ? 0 : 1));
    }
}

static void it_runs_for_years_in_the_memory_that_it_has(void **state)
{
    static struct drift_rates r;
    (void)state;
    seed = 3;
    drift_rates_init(&r, DRIFT_KINDS_MAX, 1e9);
    for (unsigned i = 0; i < 4000000; i++) { /* the top level is full and forgets */
        (void)drift_rates_add(&r, i % 16);
    }
    CHECK(r.level[DRIFT_RATES_LEVELS - 1].used >= 1 && r.level[DRIFT_RATES_LEVELS - 1].used <= DRIFT_RATES_PER_LEVEL);
    CHECK(isfinite(r.ratio));
    CHECK_INT(r.level[DRIFT_RATES_LEVELS - 1].of[0][0], (DRIFT_RATES_BLOCK << (DRIFT_RATES_LEVELS - 1)) / 16);
}

static void a_state_that_was_put_away_goes_on(void **state)
{
    static struct drift_rates r, other;
    BUFFER(bytes, 8192);
    (void)state;
    seed = 11;
    drift_rates_init(&r, 2, DRIFT_RATES_LIMIT);
    drift_rates_init(&other, 2, DRIFT_RATES_LIMIT);
    for (unsigned i = 0; i < 5005; i++) {
        (void)drift_rates_add(&r, error_of(0.1, 0.1));
    }
    drift_put_rates(&r, &bytes);
    CHECK_OK(buffer_err(&bytes));
    struct cursor in = cursor_of(buffer_slice(&bytes));
    CHECK_OK(drift_get_rates(&in, &other));
    CHECK_OK(cursor_end(&in));
    for (unsigned i = 0; i < 3000; i++) {
        unsigned error = error_of(0.1, 0.2);
        CHECK(drift_rates_add(&r, error) == drift_rates_add(&other, error));
        CHECK(i < DRIFT_RATES_BLOCK || r.ratio == other.ratio);
    }
    struct slice all = buffer_slice(&bytes);
    for (size_t cut = 0; cut < all.len; cut++) {
        struct cursor part = cursor_of(slice_of(all.ptr, cut));
        struct drift_rates before = other;
        CHECK(drift_get_rates(&part, &other) != OK);
        CHECK(memcmp(&before, &other, sizeof(other)) == 0);
    }
    drift_rates_init(&other, 3, DRIFT_RATES_LIMIT);
    in = cursor_of(all);
    CHECK_ERR(drift_get_rates(&in, &other), ERR_RANGE);
    in = cursor_of(slice_of("\x02\x03\x02\x02\x00", 5)); /* four errors in three answers */
    CHECK_ERR(drift_get_rates(&in, &r), ERR_RANGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_kind_of_error_is_seen_though_there_are_no_more),
        cmocka_unit_test(steady_rates_and_falling_ones_are_not_told),
        cmocka_unit_test(the_ratio_is_its_formula_and_what_is_old_is_forgotten),
        cmocka_unit_test(it_runs_for_years_in_the_memory_that_it_has),
        cmocka_unit_test(a_state_that_was_put_away_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
