/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: every byte has one purpose, the day's and the month's lines begin anew when they should, and the model of the
 * link is what it says. */
#include "gateway/budget/budget.h"

#include "proto/wire/wire.h"
#include "tests/support/check.h"

static void pack(Weir__V1__Record *record, struct buffer *out)
{
    record->schema = WIRE_SCHEMA;
    buffer_reset(out);
    CHECK_OK(wire_record_pack(record, out));
}

static void a_records_kind_says_what_it_is_for(void **state)
{
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    Weir__V1__Health health = WEIR__V1__HEALTH__INIT;
    Weir__V1__Event event = WEIR__V1__EVENT__INIT;
    Weir__V1__Curated curated = WEIR__V1__CURATED__INIT;
    Weir__V1__Window window = WEIR__V1__WINDOW__INIT, *windows[] = {&window};
    Weir__V1__Suppressed suppressed = WEIR__V1__SUPPRESSED__INIT;
    char rule[] = "r", id[] = "limit-exceeded";
    BUFFER(bytes, 4096);
    (void)state;
    record.kind_case = WEIR__V1__RECORD__KIND_HEALTH;
    record.health = &health;
    pack(&record, &bytes);
    CHECK_INT(bill_purpose_of(1, buffer_slice(&bytes)), BILL_LIVE);
    record.kind_case = WEIR__V1__RECORD__KIND_EVENT;
    record.event = &event;
    event.id = id;
    pack(&record, &bytes);
    CHECK_INT(bill_purpose_of(0, buffer_slice(&bytes)), BILL_ALARMS);
    record.kind_case = WEIR__V1__RECORD__KIND_CURATED;
    record.curated = &curated;
    curated.rules = 1;
    window.rule = rule;
    window.count = 1;
    window.length_us = 1000;
    curated.n_window = 1;
    curated.window = windows;
    pack(&record, &bytes);
    CHECK_INT(bill_purpose_of(1, buffer_slice(&bytes)), BILL_WINDOWS);
    record.kind_case = WEIR__V1__RECORD__KIND_SUPPRESSED;
    record.suppressed = &suppressed;
    suppressed.from = suppressed.to = 3;
    suppressed.rule = rule;
    pack(&record, &bytes);
    CHECK_INT(bill_purpose_of(1, buffer_slice(&bytes)), BILL_DECLARATIONS);
    CHECK_INT(bill_purpose_of(0, buffer_slice(&bytes)), BILL_DECLARATIONS);
    BUFFER(gap, 256);
    CHECK_OK(wire_gap_pack(4, 9, WEIR__V1__GAP_REASON__OVERFLOW, 1, &gap));
    CHECK_INT(bill_purpose_of(1, buffer_slice(&gap)), BILL_DECLARATIONS);
    /* hand-made: Curated{capture: "r"}, Curated{block: {}} */
    const uint8_t capture[] = {0x82, 1, 3, 0x2a, 1, 'r'}, block[] = {0x82, 1, 2, 0x1a, 0};
    CHECK_INT(bill_purpose_of(0, slice_of(capture, sizeof(capture))), BILL_CAPTURES);
    CHECK_INT(bill_purpose_of(1, slice_of(block, sizeof(block))), BILL_CURATED);
    CHECK_INT(bill_purpose_of(0, slice_of(block, sizeof(block))), BILL_ALARMS);
    /* whatever cannot be read */
    const uint8_t rubbish[] = {0x82, 1, 0xff, 0xff, 0xff};
    CHECK_INT(bill_purpose_of(1, slice_of(rubbish, sizeof(rubbish))), BILL_LIVE);
    CHECK_INT(bill_purpose_of(0, slice_of(NULL, 0)), BILL_ALARMS);
}

static void days_and_months_begin_anew_and_the_whole_goes_on(void **state)
{
    struct bill bill = {.date = 0};
    (void)state;
    bill_add(&bill, BILL_LIVE, 1, 10); /* before anybody asked for the date */
    bill_date(&bill, 20260130);
    bill_add(&bill, BILL_LIVE, 2, 20);
    CHECK_INT(bill_sum(&bill, BILL_TODAY), 30);
    bill_date(&bill, 20260131);
    bill_add(&bill, BILL_ALARMS, 1, 5);
    CHECK_INT(bill_sum(&bill, BILL_TODAY), 5);
    CHECK_INT(bill_sum(&bill, BILL_MONTH), 35);
    bill_date(&bill, 20260201);
    CHECK_INT(bill_sum(&bill, BILL_TODAY), 0);
    CHECK_INT(bill_sum(&bill, BILL_MONTH), 0);
    CHECK_INT(bill_sum(&bill, BILL_EVER), 35);
    CHECK_INT(bill.line[BILL_EVER][BILL_LIVE].records, 3);
}

static void the_bill_survives_a_restart(void **state)
{
    const struct budget_rules rules = {.bytes = 0};
    struct budget b, read;
    BUFFER(record, BUDGET_RECORD_MAX);
    (void)state;
    budget_init(&b, &rules, 1);
    bill_date(&b.bill, 20260131);
    for (unsigned i = 0; i < BILL_PURPOSES; i++) {
        bill_add(&b.bill, i, i, 1000 * i + 1);
    }
    CHECK_OK(budget_encode(&b, 0, 0, 1, &record));
    budget_init(&read, &rules, 1);
    CHECK_OK(budget_decode(&read, buffer_slice(&record), 0, 1));
    CHECK(memcmp(&read.bill, &b.bill, sizeof(b.bill)) == 0);
}

static void the_link_costs_what_the_model_says(void **state)
{
    (void)state;
    CHECK_INT(budget_publish_bytes(10, 100), 1 + 1 + 2 + 10 + 100);
    CHECK_INT(budget_publish_bytes(10, 200), 1 + 2 + 2 + 10 + 200);
    CHECK_INT(budget_publish_bytes(10, 70000), 1 + 3 + 2 + 10 + 70000);
    CHECK_INT(budget_packet_overhead(0, true), 0);
    CHECK_INT(budget_packet_overhead(100, false), 2 * 52); /* a segment and its ACK */
    CHECK_INT(budget_packet_overhead(1400, false), 2 * 52);
    CHECK_INT(budget_packet_overhead(1401, false), 3 * 52);     /* two, one ACK */
    CHECK_INT(budget_packet_overhead(1400, true), 29 + 3 * 52); /* TLS makes it two */
    CHECK_INT(budget_packet_overhead(65536, true), 4 * 29 + (47 + 24) * 52);
    CHECK(budget_connect_overhead(true) > 5000 && budget_connect_overhead(false) == 520);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_records_kind_says_what_it_is_for),
        cmocka_unit_test(days_and_months_begin_anew_and_the_whole_goes_on),
        cmocka_unit_test(the_bill_survives_a_restart),
        cmocka_unit_test(the_link_costs_what_the_model_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
