/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: states and positions that are damaged, gone or of other rules cost what they must and no more: no number is
 * lost or comes twice, windows that were open go up as partial; and what is kept in memory of streams has a bound.
 */
#include "tests/unit/gateway/filter/rig.h"

static const char windows[] = "rules:\n  minute: {channels: flow, do: window, length: 60s, raw: drop}\n";

struct sum {
    uint64_t numbers, windows, window_values, values, hwm;
};

static void note(void *arg, const struct rig_out *out)
{
    struct sum *s = arg;
    CHECK_INT(out->first, s->hwm + 1);
    s->hwm = out->last;
    s->windows += out->windows;
    s->window_values += out->window_values;
    s->values += out->values;
}

static struct sum sum(struct rig *r)
{
    struct sum s = {.numbers = 0};
    rig_read(r, 1, note, &s);
    return s;
}

/* One stream; 4 records of 10 rows after a description; the window of the first minute is open. */
static void open_a_window(struct rig *r)
{
    rig_describe(r, "d-1", 10, 1);
    for (uint64_t n = 2; n < 6; n++) {
        rig_block(r, "d-1", 10, n, -1);
    }
    rig_drain(r);
}

static void go_on(struct rig *r, uint64_t from, uint64_t to)
{
    for (uint64_t n = from; n < to; n++) {
        rig_block(r, "d-1", 10, n, -1);
    }
    rig_drain(r);
}

static void a_restart_goes_on_with_open_windows(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, 0);
    rig_start(&r, windows);
    open_a_window(&r);
    rig_crash(&r);
    rig_start(&r, windows);
    go_on(&r, 6, 26);
    struct sum s = sum(&r);
    CHECK_INT(s.hwm, 25);
    CHECK(s.windows >= 3);
    CHECK_INT(s.window_values % 60, 20); /* the first one has 20 s; all others are full */
    rig_deinit(&r);
}

static void without_rules_everything_passes_and_open_windows_go_up(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, 0);
    rig_start(&r, windows);
    open_a_window(&r);
    struct sum before = sum(&r);
    rig_crash(&r);
    rig_start(&r, NULL);
    go_on(&r, 6, 10);
    struct sum s = sum(&r);
    CHECK_INT(s.hwm, 9);
    CHECK_INT(before.window_values + 40 - before.window_values, s.window_values); /* none got lost */
    CHECK_INT(s.values, 4 * 20 + 4 * 30);
    rig_deinit(&r);
}

static void other_rules_close_what_the_ones_before_had_open(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, 0);
    rig_start(&r, windows);
    open_a_window(&r);
    struct rules *other = rig_rules("rules:\n  still: {channels: \"*\", do: on-change}\n");
    CHECK_OK(filter_set_rules(r.filter, other));
    go_on(&r, 6, 10);
    struct sum s = sum(&r);
    CHECK_INT(s.hwm, 9);
    CHECK_INT(s.window_values, 40);
    rig_crash(&r);
    rules_free(other);
    rig_start(&r, windows); /* and back again */
    go_on(&r, 10, 20);
    s = sum(&r);
    CHECK_INT(s.hwm, 19);
    rig_deinit(&r);
}

static void rules_do_not_change_while_a_commit_is_under_way(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r, 0);
    rig_start(&r, windows);
    rig_describe(&r, "d-1", 10, 1);
    struct rules *other = rig_rules("rules:\n  still: {do: on-change}\n");
    filter_kick(r.filter);
    rig_run(&r, MS_US);
    CHECK_ERR(filter_set_rules(r.filter, other), ERR_AGAIN);
    rig_drain(&r);
    CHECK_OK(filter_set_rules(r.filter, other));
    struct rules *secret = rig_rules("rules:\n  who: {channels: flow, do: hash}\n");
    CHECK_OK(filter_set_rules(r.filter, secret)); /* the rig has a key */
    go_on(&r, 2, 5);
    CHECK_INT(sum(&r).hwm, 4);
    rig_crash(&r);
    rules_free(other);
    rules_free(secret);
    rig_deinit(&r);
}

static void damage(struct rig *r, struct slice key)
{
    struct slice value;
    struct store_batch *batch = NULL;
    BUFFER(copy, 1 << 20);
    CHECK_OK(store_disk_get(r->disk, RIG_STATE, key, &value));
    buffer_put_slice(&copy, value);
    copy.ptr[copy.len - 1] ^= 0x10;
    CHECK_OK(store_batch_new(r->store, &batch));
    CHECK_OK(store_put(batch, RIG_STATE, key, buffer_slice(&copy)));
    CHECK_OK(store_commit(r->store, batch, NULL, NULL));
    rig_run(r, 11 * MS_US);
}

static void a_damaged_state_begins_anew_and_nothing_is_lost(void **state)
{
    (void)state;
    struct rig r;
    struct filter_stats stats;
    uint8_t key[] = "d-1\0\0\0\0\0\0\0\0\x0a";
    rig_init(&r, 0);
    rig_start(&r, windows);
    open_a_window(&r);
    damage(&r, slice_of(key, 12));
    rig_crash(&r);
    rig_start(&r, windows);
    rig_describe(&r, "d-1", 10, 6);
    go_on(&r, 7, 20);
    filter_stats(r.filter, &stats);
    CHECK_INT(stats.unreadable, 1);
    CHECK_INT(sum(&r).hwm, 19);
    rig_deinit(&r);
}

static void a_damaged_position_does_not_curate_anything_twice(void **state)
{
    (void)state;
    struct rig r;
    struct filter_stats stats;
    const uint8_t key[] = {0, 1};
    rig_init(&r, 0);
    r.options.ring_bytes = 1 << 20; /* everything is still there */
    rig_start(&r, windows);
    open_a_window(&r);
    go_on(&r, 6, 12);
    uint64_t top = spool_durable(r.curated[1]);
    damage(&r, slice_of(key, 2));
    rig_crash(&r);
    rig_start(&r, windows);
    rig_drain(&r);
    filter_stats(r.filter, &stats);
    CHECK_INT(stats.absorbed, 11);
    CHECK_INT(spool_durable(r.curated[1]), top);
    go_on(&r, 12, 27);
    struct sum s = sum(&r);
    CHECK_INT(s.hwm, 26);
    CHECK_INT(s.window_values % 60, 20);
    rig_deinit(&r);
}

/* Records that cost little to make: nothing that rules could do anything to. */
static void feed(struct rig *r, unsigned streams, uint64_t number)
{
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    Weir__V1__Health health = WEIR__V1__HEALTH__INIT;
    BUFFER(out, 1000);
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_HEALTH;
    record.health = &health;
    CHECK_OK(wire_record_pack(&record, &out));
    struct store_batch *batch = NULL;
    for (unsigned i = 0; i < streams; i++) {
        if (batch == NULL) {
            CHECK_OK(store_batch_new(r->store, &batch));
        }
        struct wire_forward f = {.device = "d", .gateway = "gw1", .epoch = i + 1, .first = number, .last = number,
                                 .top = number, .lane = 1, .record = buffer_slice(&out)};
        BUFFER(body, 1000);
        uint64_t first;
        CHECK_OK(wire_forward_encode(&f, &body));
        CHECK_OK(spool_append(r->raw[1], batch, 1, buffer_slice(&body), &first));
        if (i % 1000 == 999 || i + 1 == streams) {
            CHECK_OK(store_commit(r->store, batch, NULL, NULL));
            batch = NULL;
            rig_run(r, 30 * MS_US);
            spool_settle(r->raw[1], spool_next(r->raw[1]) - 1, OK);
        }
    }
    rig_drain(r);
}

static void streams_in_memory_have_a_bound_and_those_beyond_come_back_from_the_store(void **state)
{
    (void)state;
    struct rig r;
    struct filter_stats stats;
    enum { STREAMS = 25000 };
    rig_init(&r, 0);
    r.options.ring_bytes = 1 << 16;
    rig_start(&r, windows);
    feed(&r, STREAMS, 1);
    filter_stats(r.filter, &stats);
    CHECK(stats.streams <= 20000);
    feed(&r, STREAMS, 2);
    feed(&r, STREAMS, 2); /* all known, though not all in memory */
    filter_stats(r.filter, &stats);
    CHECK_INT(stats.records, 3 * STREAMS);
    CHECK_INT(stats.absorbed, STREAMS);
    CHECK(stats.streams <= 20000);
    CHECK(stats.state_bytes <= 64 << 20);
    CHECK_INT(spool_durable(r.curated[1]), 2 * STREAMS);
    rig_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_restart_goes_on_with_open_windows),
        cmocka_unit_test(without_rules_everything_passes_and_open_windows_go_up),
        cmocka_unit_test(other_rules_close_what_the_ones_before_had_open),
        cmocka_unit_test(rules_do_not_change_while_a_commit_is_under_way),
        cmocka_unit_test(a_damaged_state_begins_anew_and_nothing_is_lost),
        cmocka_unit_test(a_damaged_position_does_not_curate_anything_twice),
        cmocka_unit_test(streams_in_memory_have_a_bound_and_those_beyond_come_back_from_the_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
