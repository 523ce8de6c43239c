/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a trigger brings the raw rows from before to after, each record once, as a stream of their own in the alarm
 * lane, numbered from 1 without holes, whatever crashes; what the ring has lost is left out.
 */
#include "tests/unit/gateway/filter/rig.h"

/* Records of ten seconds; the spike of record n is at 10 n + 4. */
static const char rules[] = "rules:\n"
                            "  knock: {channels: acc, do: capture, above: 8, before: 25s, after: 15s}\n"
                            "  flow: {channels: flow, do: drop}\n"
                            "  still: {channels: \"*\", do: on-change}\n";
enum { COPIES = 64 };

struct copies {
    uint64_t epoch, next;
    unsigned count, describes;
    uint64_t values[COPIES];
};

static void note(void *arg, const struct rig_out *out)
{
    struct copies *c = arg;
    if (out->epoch < 1000) {
        return;
    }
    CHECK(c->epoch == 0 || c->epoch == out->epoch);
    c->epoch = out->epoch;
    CHECK_INT(out->first, c->next + 1);
    c->next = out->last;
    if (out->kind == WEIR__V1__RECORD__KIND_DESCRIBE) {
        CHECK_INT(out->first, 1); /* ahead of what it describes */
        c->describes++;
        return;
    }
    CHECK_STR(out->rule, "knock");
    CHECK(c->count < COPIES);
    c->values[c->count++] = out->values;
}

static struct copies copies(struct rig *r)
{
    struct copies c = {.epoch = 0};
    rig_read(r, 0, note, &c);
    return c;
}

static void feed(struct rig *r, uint64_t from, uint64_t to, uint64_t spike)
{
    for (uint64_t n = from; n < to; n++) {
        rig_block(r, "d-1", 10, n, n == spike ? 4 : -1);
    }
}

static void setup(struct rig *r, uint64_t ring_bytes)
{
    rig_init(r, 0);
    r->options.ring_bytes = ring_bytes;
    r->options.batch_entries = 3;
    rig_start(r, rules);
    rig_describe(r, "d-1", 10, 1);
}

static void a_trigger_brings_the_rows_from_before_to_after(void **state)
{
    (void)state;
    struct rig r;
    struct filter_stats stats;
    setup(&r, 1 << 20);
    feed(&r, 2, 30, 12);
    rig_drain(&r);
    struct copies c = copies(&r);
    /* 124 - 25 = 99 .. 124 + 15 = 139: records 9 to 13 */
    CHECK_INT(c.count, 5);
    CHECK_INT(c.describes, 1);
    for (unsigned i = 0; i < c.count; i++) {
        CHECK_INT(c.values[i], 2 * RIG_ROWS); /* all of temp and acc, flow stays in the plant */
    }
    filter_stats(r.filter, &stats);
    CHECK_INT(stats.captured, 5);
    rig_deinit(&r);
}

static void a_second_trigger_prolongs_and_copies_nothing_twice(void **state)
{
    (void)state;
    struct rig r;
    setup(&r, 1 << 20);
    feed(&r, 2, 13, 12);
    rig_block(&r, "d-1", 10, 13, 4); /* 134 + 15 = 149: record 14 as well */
    feed(&r, 14, 30, 0);
    rig_drain(&r);
    CHECK_INT(copies(&r).count, 6);
    feed(&r, 30, 60, 40); /* another one, the stream goes on */
    rig_drain(&r);
    struct copies c = copies(&r);
    CHECK_INT(c.count, 11);
    CHECK_INT(c.describes, 1);
    rig_deinit(&r);
}

/* Its end lies a year ahead; the clock is right again with the next record. */
static void a_trigger_at_a_wrong_time_does_not_last_until_then(void **state)
{
    (void)state;
    struct rig r;
    setup(&r, 1 << 20);
    feed(&r, 2, 13, 0);
    r.ahead_us = UINT64_C(31536000) * SECOND_US;
    rig_block(&r, "d-1", 10, 13, 4);
    r.ahead_us = 0;
    feed(&r, 14, 60, 0);
    rig_drain(&r);
    CHECK_INT(copies(&r).count, 1);
    feed(&r, 60, 90, 70); /* and the next one is heard */
    rig_drain(&r);
    CHECK_INT(copies(&r).count, 6);
    rig_deinit(&r);
}

static void what_another_rule_reaches_further_back_for_is_copied_too(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, 0);
    r.options.ring_bytes = 1 << 20;
    rig_start(&r, "rules:\n"
                  "  knock: {channels: acc, do: capture, above: 8, before: 1s, after: 1s}\n"
                  "  long: {channels: acc, do: capture, above: 8, before: 45s, after: 1s}\n");
    rig_describe(&r, "d-1", 10, 1);
    feed(&r, 2, 20, 12);
    rig_drain(&r);
    struct filter_stats stats;
    filter_stats(r.filter, &stats);
    CHECK_INT(stats.captured, 6); /* 124 - 45 = 79: records 7 to 12 */
    rig_deinit(&r);
}

static void captures_are_numbered_without_holes_whatever_crashes(void **state)
{
    (void)state;
    for (unsigned at = 0; at < 60; at++) {
        struct rig r;
        setup(&r, 1 << 20);
        filter_hold(r.filter, true);
        feed(&r, 2, 20, 12);
        feed(&r, 20, 50, 25);
        filter_hold(r.filter, false);
        rig_run(&r, (int64_t)at * 4 * MS_US);
        store_disk_set_cut(r.disk, at % 2);
        rig_crash(&r);
        rig_start(&r, rules);
        rig_drain(&r);
        struct copies c = copies(&r);
        CHECK_INT(c.count, 10);
        CHECK_INT(c.describes, 1);
        rig_deinit(&r);
    }
}

static void what_the_ring_has_lost_is_left_out(void **state)
{
    (void)state;
    struct rig r;
    setup(&r, 0);
    r.options.ring_bytes = 0;
    for (uint64_t n = 2; n < 2000; n++) { /* more than the slack that a ring of none has */
        rig_block(&r, "d-1", 10, n, n == 1990 ? 4 : -1);
        if (n % 100 == 0 || n > 1985) {
            rig_drain(&r);
        }
        if (n == 1989) { /* nothing is left of before */
            struct store_batch *batch = NULL;
            CHECK_OK(store_batch_new(r.store, &batch));
            CHECK_OK(spool_trim(r.raw[1], batch, spool_durable(r.raw[1])));
            CHECK_OK(store_commit(r.store, batch, NULL, NULL));
            rig_run(&r, 11 * MS_US);
        }
    }
    rig_drain(&r);
    CHECK(spool_bytes(r.raw[1]) <= 70 * 1024);
    CHECK_INT(copies(&r).count, 2); /* the trigger's own and the next */
    rig_deinit(&r);
}

static void a_capture_that_lasts_asks_for_faster_samples_with_one_id_per_trigger(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, 0);
    rig_start(&r, "rules:\n"
                  "  knock: {channels: acc, do: capture, above: 8, before: 1s, after: 15s, faster: 10}\n"
                  "  brief: {channels: acc, do: capture, above: 8, before: 1s, after: 1s, faster: 20}\n"
                  "  plain: {channels: acc, do: capture, above: 8, before: 1s, after: 30s}\n");
    rig_describe(&r, "d-1", 10, 1);
    feed(&r, 2, 13, 12); /* at 124 s; the record ends at 129 s, brief at 125 s: over before anybody can be asked */
    rig_drain(&r);
    CHECK_INT(r.asked, 1);
    CHECK_STR(r.asked_device, "d-1");
    CHECK_STR(r.asked_rule, "knock");
    CHECK_INT(r.asked_until_us, RIG_WALL_US + 139 * SECOND_US + 1);
    uint64_t id = r.asked_id;
    CHECK(id != 0);
    rig_block(&r, "d-1", 10, 13, 4); /* goes on for longer: another wish */
    rig_drain(&r);
    CHECK_INT(r.asked, 2);
    CHECK(r.asked_id != id);
    CHECK_INT(r.asked_until_us, RIG_WALL_US + 149 * SECOND_US + 1);
    feed(&r, 14, 20, 0);
    rig_drain(&r);
    CHECK_INT(r.asked, 2);
    rig_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trigger_brings_the_rows_from_before_to_after),
        cmocka_unit_test(a_capture_that_lasts_asks_for_faster_samples_with_one_id_per_trigger),
        cmocka_unit_test(a_second_trigger_prolongs_and_copies_nothing_twice),
        cmocka_unit_test(a_trigger_at_a_wrong_time_does_not_last_until_then),
        cmocka_unit_test(what_another_rule_reaches_further_back_for_is_copied_too),
        cmocka_unit_test(captures_are_numbered_without_holes_whatever_crashes),
        cmocka_unit_test(what_the_ring_has_lost_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
