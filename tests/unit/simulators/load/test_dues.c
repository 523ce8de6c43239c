/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: every acknowledged record gives the time at which the schedule wanted it, once, in order; a crash that takes
 * records which were never durable takes their times along; the bound holds.
 */
#include "simulators/load/dues.h"

#include "tests/support/check.h"

static void expect(struct dues *d, uint64_t acked, uint64_t number, int64_t due_us)
{
    struct due due = {0};
    CHECK(dues_take(d, acked, &due));
    CHECK_INT(due.number, number);
    CHECK_INT(due.due_us, due_us);
}

static void acknowledged_records_come_out_in_order_and_once(void **state)
{
    (void)state;
    struct dues d = {0};
    struct due due;
    for (uint64_t n = 1; n <= 100; n++) {
        dues_put(&d, 2 * n, (int64_t)n * 10); /* numbers between are described elsewhere */
    }
    expect(&d, 5, 2, 10);
    expect(&d, 5, 4, 20);
    CHECK(!dues_take(&d, 5, &due));
    for (uint64_t n = 3; n <= 100; n++) {
        expect(&d, 200, 2 * n, (int64_t)n * 10);
    }
    CHECK(!dues_take(&d, UINT64_MAX, &due));
    CHECK_INT(d.unmeasured, 0);
    dues_deinit(&d);
}

static void it_wraps_and_grows_while_records_come_and_go(void **state)
{
    (void)state;
    struct dues d = {0};
    uint64_t put = 0, taken = 0;
    for (unsigned round = 0; round < 2000; round++) {
        for (unsigned i = 0; i < 1 + round % 7; i++) {
            put++;
            dues_put(&d, put, (int64_t)put);
        }
        for (unsigned i = 0; i < 3 && taken < put; i++) {
            taken++;
            expect(&d, taken, taken, (int64_t)taken);
        }
    }
    while (taken < put) {
        taken++;
        expect(&d, put, taken, (int64_t)taken);
    }
    CHECK_INT(d.count, 0);
    CHECK(d.cap <= 8); /* the backlog's memory has gone with it */
    dues_deinit(&d);
}

static void what_was_never_durable_is_forgotten_and_its_numbers_are_given_again(void **state)
{
    (void)state;
    struct dues d = {0};
    struct due due;
    for (uint64_t n = 1; n <= 10; n++) {
        dues_put(&d, n, (int64_t)n);
    }
    dues_forget_above(&d, 7);
    dues_put(&d, 8, 800);
    dues_put(&d, 5, 500); /* an older number again: it and what is behind it are new */
    expect(&d, 4, 1, 1);
    expect(&d, 4, 2, 2);
    expect(&d, 4, 3, 3);
    expect(&d, 4, 4, 4);
    expect(&d, 9, 5, 500);
    CHECK(!dues_take(&d, UINT64_MAX, &due));
    dues_deinit(&d);
}

static void beyond_the_bound_the_oldest_go_unmeasured(void **state)
{
    (void)state;
    struct dues d = {0};
    for (uint64_t n = 1; n <= DUES_MAX + 3; n++) {
        dues_put(&d, n, (int64_t)n);
    }
    CHECK_INT(d.unmeasured, 3);
    expect(&d, UINT64_MAX, 4, 4);
    dues_deinit(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acknowledged_records_come_out_in_order_and_once),
        cmocka_unit_test(it_wraps_and_grows_while_records_come_and_go),
        cmocka_unit_test(what_was_never_durable_is_forgotten_and_its_numbers_are_given_again),
        cmocka_unit_test(beyond_the_bound_the_oldest_go_unmeasured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
