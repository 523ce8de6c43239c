/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: no span of a period ever costs more than the budget, whatever crashes in between; alarms find their share
 * whatever the rest has spent; windows open and close by the local day; nothing expires before its time, and everything
 * does after it.
 */
#include "gateway/budget/budget.h"

#include "tests/support/check.h"

enum { BYTES = 1000000, FRAME = 5000 };

static const struct budget_rules RULES = {.bytes = BYTES, .period_us = DAY_US, .alarm_pct = 10};

static struct budget fresh(void)
{
    struct budget b;
    budget_init(&b, &RULES, 1);
    b.lease_end = UINT64_MAX; /* tests of the lease set their own */
    return b;
}

/* Sends frames from `from` on until it may not. Returns what went. */
static uint64_t spend_all(struct budget *b, unsigned lane, int64_t now_us)
{
    uint64_t sum = 0;
    int64_t wait_us;
    while (budget_may(b, lane, FRAME, now_us, &wait_us) == OK) {
        budget_spend(b, lane, FRAME, now_us);
        sum += FRAME;
    }
    return sum;
}

static void the_bulk_stops_at_the_alarms_share_and_alarms_go_on(void **state)
{
    struct budget b = fresh();
    (void)state;
    CHECK_INT(spend_all(&b, 1, HOUR_US), 900000);
    CHECK_INT(budget_left(&b, 1, HOUR_US), 0);
    CHECK_INT(budget_left(&b, 0, HOUR_US), 100000);
    CHECK_INT(spend_all(&b, 0, HOUR_US), 100000);
    CHECK_INT(budget_spent(&b, HOUR_US), BYTES);
}

static void alarms_beyond_their_share_use_the_rest(void **state)
{
    struct budget b = fresh();
    (void)state;
    CHECK_INT(spend_all(&b, 0, HOUR_US), BYTES);
    CHECK_INT(spend_all(&b, 1, HOUR_US), 0);
}

static void what_is_spent_comes_back_one_period_later(void **state)
{
    struct budget b = fresh();
    int64_t wait_us = 0;
    (void)state;
    CHECK_INT(spend_all(&b, 1, HOUR_US), 900000);
    CHECK_ERR(budget_may(&b, 1, FRAME, 2 * HOUR_US, &wait_us), ERR_AGAIN);
    CHECK_INT(wait_us, DAY_US - HOUR_US);
    CHECK_INT(spend_all(&b, 1, HOUR_US + DAY_US - 1), 0);
    CHECK_INT(spend_all(&b, 1, HOUR_US + DAY_US), 900000);
}

/* Greedy at random times over ten periods: the sum over any span of a period. */
static void no_span_of_a_period_costs_more_than_the_budget(void **state)
{
    enum { TIMES = 4000 };
    static struct {
        int64_t at_us;
        uint64_t bytes;
    } spent[TIMES];
    struct budget b = fresh();
    uint64_t dice = 7, total = 0;
    int64_t at_us = 1;
    (void)state;
    for (size_t i = 0; i < TIMES; i++) {
        int64_t wait_us;
        dice = mix_u64(dice);
        at_us += (int64_t)(dice % (10 * DAY_US / TIMES * 2));
        uint64_t bytes = dice % 40000, lane = dice >> 60 == 0 ? 0 : 1;
        bool may = budget_may(&b, (unsigned)lane, bytes, at_us, &wait_us) == OK;
        spent[i].at_us = at_us;
        spent[i].bytes = may ? bytes : 0;
        budget_spend(&b, (unsigned)lane, spent[i].bytes, at_us);
        total += spent[i].bytes;
        uint64_t sum = 0;
        for (size_t k = i + 1; k-- > 0 && spent[k].at_us > at_us - DAY_US;) {
            sum += spent[k].bytes;
        }
        CHECK(sum <= BYTES);
    }
    CHECK(total > 8 * (uint64_t)BYTES); /* and it is used */
}

static void a_frame_above_the_budget_goes_when_an_eighth_is_left_and_is_owed(void **state)
{
    struct budget b = fresh();
    int64_t wait_us;
    (void)state;
    CHECK_OK(budget_may(&b, 1, 3 * (uint64_t)BYTES, HOUR_US, &wait_us));
    budget_spend(&b, 1, 3 * (uint64_t)BYTES, HOUR_US);
    CHECK_INT(budget_left(&b, 0, HOUR_US), 0);
    CHECK_ERR(budget_may(&b, 1, 1, HOUR_US, &wait_us), ERR_AGAIN);
}

static void a_raised_budget_counts_at_once_and_what_was_spent_stays_spent(void **state)
{
    struct budget b = fresh();
    struct budget_rules more = RULES;
    (void)state;
    CHECK_INT(spend_all(&b, 1, HOUR_US), 900000);
    more.bytes = 2 * BYTES;
    budget_set(&b, &more);
    CHECK_INT(spend_all(&b, 1, HOUR_US), 900000);
    more.bytes = BYTES;
    budget_set(&b, &more);
    CHECK_INT(spend_all(&b, 0, HOUR_US), 0);
}

static struct budget again(struct budget *b, uint64_t lease, uint64_t boot, uint64_t boot_now, int64_t now_us,
                           int64_t then_us)
{
    BUFFER(record, BUDGET_RECORD_MAX);
    CHECK_OK(budget_encode(b, boot, lease, now_us, &record));
    struct budget read;
    budget_init(&read, &RULES, then_us);
    CHECK_OK(budget_decode(&read, buffer_slice(&record), boot_now, then_us));
    return read;
}

static void a_restart_remembers_what_was_spent_and_the_time_of_the_same_boot(void **state)
{
    struct budget b = fresh();
    (void)state;
    CHECK_INT(spend_all(&b, 1, HOUR_US), 900000);
    struct budget same = again(&b, 0, 77, 77, HOUR_US, HOUR_US + DAY_US / 2);
    CHECK_INT(budget_spent(&same, HOUR_US + DAY_US / 2), 900000);
    CHECK_INT(budget_spent(&same, HOUR_US + DAY_US), 0);
    struct budget other = again(&b, 0, 77, 78, HOUR_US, 5); /* off for who knows how long: counts as nothing */
    CHECK_INT(budget_spent(&other, 5), 900000);
    CHECK_INT(budget_spent(&other, DAY_US - 10), 900000);
    CHECK_INT(budget_spent(&other, 5 + DAY_US), 0);
}

/* A process that dies right after each frame, before anything else is written, and comes again at once. */
static void crashes_in_a_row_never_give_bytes(void **state)
{
    struct budget b;
    uint64_t went = 0;
    (void)state;
    BUFFER(disk, BUDGET_RECORD_MAX);
    budget_init(&b, &RULES, HOUR_US);
    for (unsigned i = 0; i < 1000; i++) {
        int64_t wait_us;
        enum err err = budget_may(&b, 1, FRAME, HOUR_US, &wait_us);
        if (err == ERR_FULL) { /* the lease, first */
            buffer_reset(&disk);
            uint64_t lease = budget_lease(&b, FRAME);
            CHECK_OK(budget_encode(&b, 9, lease, HOUR_US, &disk));
            b.lease_end = b.charged + lease;
            err = budget_may(&b, 1, FRAME, HOUR_US, &wait_us);
        }
        if (err != OK) {
            break;
        }
        budget_spend(&b, 1, FRAME, HOUR_US);
        went += FRAME;
        budget_init(&b, &RULES, HOUR_US); /* the crash */
        CHECK_OK(budget_decode(&b, buffer_slice(&disk), 9, HOUR_US));
    }
    CHECK(went > 0 && went <= 900000);
    CHECK(budget_spent(&b, HOUR_US) >= went);
}

static void a_damaged_record_counts_as_all_spent(void **state)
{
    struct budget b = fresh();
    BUFFER(record, BUDGET_RECORD_MAX);
    (void)state;
    CHECK_OK(budget_encode(&b, 1, 0, HOUR_US, &record));
    for (size_t i = 0; i < record.len; i++) {
        struct budget read = fresh();
        record.ptr[i] ^= 0x10;
        CHECK_ERR(budget_decode(&read, buffer_slice(&record), 1, HOUR_US), ERR_MALFORMED);
        record.ptr[i] ^= 0x10;
    }
    budget_all_spent(&b, HOUR_US);
    CHECK_INT(budget_left(&b, 0, HOUR_US), 0);
    CHECK_INT(budget_left(&b, 1, HOUR_US + DAY_US), 900000);
}

static void windows_are_read_from_text(void **state)
{
    struct budget_rules r = {.when = BUDGET_ALWAYS};
    struct fault why = {.code = OK};
    (void)state;
    CHECK_OK(budget_when_parse("02:00-03:00, 22:30-00:30", &r, NULL));
    CHECK_INT(r.when, BUDGET_IN_WINDOWS);
    CHECK_INT(r.span_count, 2);
    CHECK_INT(r.spans[1].from_min, 22 * 60 + 30);
    CHECK_INT(r.spans[1].to_min, 30);
    CHECK_OK(budget_when_parse("on-request", &r, NULL));
    CHECK_INT(r.when, BUDGET_ON_REQUEST);
    static const char *const bad[] = {"",
                                      "nightly",
                                      "2-3",
                                      "02:00",
                                      "02:00-02:00",
                                      "25:00-26:00",
                                      "02:60-03:00",
                                      "02:00-03:00,",
                                      "02:00-03:00x",
                                      "00:00-24:01"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        CHECK_ERR(budget_when_parse(bad[i], &r, &why), ERR_RANGE);
        CHECK_CONTAINS(why.text, "is no window");
        CHECK_INT(r.when, BUDGET_ON_REQUEST);
    }
    CHECK_OK(budget_when_parse("00:00-24:00", &r, NULL));
}

static void a_window_opens_and_closes_by_the_local_day(void **state)
{
    struct budget_rules r = {.when = BUDGET_ALWAYS};
    int64_t in_s;
    (void)state;
    CHECK(budget_open(&r, 0, &in_s));
    CHECK_INT(in_s, -1);
    CHECK_OK(budget_when_parse("02:00-03:00, 22:30-00:30", &r, NULL));
    CHECK(!budget_open(&r, 1 * 3600, &in_s));
    CHECK_INT(in_s, 3600);
    CHECK(budget_open(&r, 2 * 3600, &in_s));
    CHECK_INT(in_s, 3600);
    CHECK(!budget_open(&r, 3 * 3600, &in_s));
    CHECK_INT(in_s, 19 * 3600 + 1800);
    CHECK(budget_open(&r, 23 * 3600, &in_s));
    CHECK_INT(in_s, 5400);
    CHECK(budget_open(&r, 1799, &in_s));
    CHECK_INT(in_s, 1);
    CHECK_OK(budget_when_parse("00:00-24:00", &r, NULL));
    CHECK(budget_open(&r, 86399, &in_s));
    CHECK_INT(in_s, -1);
}

static void nothing_expires_before_its_time_and_everything_a_step_later(void **state)
{
    struct budget_rules rules = {.ttl_us = {0, HOUR_US}};
    struct budget b;
    (void)state;
    budget_init(&b, &rules, SECOND_US);
    /* one entry a second for five hours: entry n came at second n */
    for (int64_t s = 1; s < 5 * 3600; s++) {
        (void)budget_note(&b, 1, 0xe, (uint64_t)s, s * SECOND_US);
        uint64_t expired = budget_expired(&b, 1, s * SECOND_US);
        CHECK(expired == 0 || (int64_t)expired * SECOND_US + HOUR_US < s * SECOND_US);
        CHECK((int64_t)expired >= s - 3600 - 2 * 3600 / 48 - 2);
    }
    CHECK(b.ages[1].count <= BUDGET_MARKS);
    CHECK_INT(budget_expired(&b, 0, 5 * HOUR_US), 0);
    (void)budget_note(&b, 1, 0xf, 10, 5 * HOUR_US); /* another epoch: its entries are new */
    CHECK_INT(budget_expired(&b, 1, 5 * HOUR_US + SECOND_US), 0);
}

static void ages_survive_a_restart_and_a_new_epoch(void **state)
{
    struct budget_rules rules = RULES;
    struct budget b = fresh();
    (void)state;
    rules.ttl_us[1] = HOUR_US;
    budget_set(&b, &rules);
    (void)budget_note(&b, 1, 0xe, 100, 2 * HOUR_US);
    (void)budget_note(&b, 1, 0xe, 150, 2 * HOUR_US + 30 * MINUTE_US);
    struct budget read = again(&b, 0, 3, 3, 2 * HOUR_US + 31 * MINUTE_US, 2 * HOUR_US + 45 * MINUTE_US);
    budget_set(&read, &rules);
    CHECK_INT(budget_expired(&read, 1, 3 * HOUR_US), 0);
    CHECK_INT(budget_expired(&read, 1, 3 * HOUR_US + MINUTE_US), 100);
    budget_rebased(&read, 1, 0xf, 60); /* 61.. are 1.. now */
    CHECK_INT(budget_expired(&read, 1, 3 * HOUR_US + MINUTE_US), 40);
    (void)budget_note(&read, 1, 0xf, 90, 3 * HOUR_US + 2 * MINUTE_US);
    CHECK_INT(budget_expired(&read, 1, 3 * HOUR_US + 31 * MINUTE_US), 90);
}

/* A time to live that grows by a hundred leaves more marks than fit. */
static void marks_that_do_not_fit_are_thinned_and_stay_true(void **state)
{
    struct budget_rules rules = {.ttl_us = {0, 48 * SECOND_US}};
    struct budget b;
    (void)state;
    budget_init(&b, &rules, SECOND_US);
    for (int64_t s = 1; s < 40; s++) {
        (void)budget_note(&b, 1, 0xe, (uint64_t)s, s * SECOND_US);
    }
    rules.ttl_us[1] = 4800 * SECOND_US;
    budget_set(&b, &rules);
    for (int64_t s = 40; s < 9000; s++) {
        (void)budget_note(&b, 1, 0xe, (uint64_t)s, s * SECOND_US);
        uint64_t expired = budget_expired(&b, 1, s * SECOND_US);
        CHECK(expired == 0 || (int64_t)expired + 4800 < s);
        CHECK((int64_t)expired >= s - 4800 - 4 * 100 - 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bulk_stops_at_the_alarms_share_and_alarms_go_on),
        cmocka_unit_test(alarms_beyond_their_share_use_the_rest),
        cmocka_unit_test(what_is_spent_comes_back_one_period_later),
        cmocka_unit_test(no_span_of_a_period_costs_more_than_the_budget),
        cmocka_unit_test(a_frame_above_the_budget_goes_when_an_eighth_is_left_and_is_owed),
        cmocka_unit_test(a_raised_budget_counts_at_once_and_what_was_spent_stays_spent),
        cmocka_unit_test(a_restart_remembers_what_was_spent_and_the_time_of_the_same_boot),
        cmocka_unit_test(crashes_in_a_row_never_give_bytes),
        cmocka_unit_test(a_damaged_record_counts_as_all_spent),
        cmocka_unit_test(windows_are_read_from_text),
        cmocka_unit_test(a_window_opens_and_closes_by_the_local_day),
        cmocka_unit_test(nothing_expires_before_its_time_and_everything_a_step_later),
        cmocka_unit_test(ages_survive_a_restart_and_a_new_epoch),
        cmocka_unit_test(marks_that_do_not_fit_are_thinned_and_stay_true),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
