/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a store that fills up stops the filter without losing or doubling anything; the ring gives way first; and
 * it goes on by itself as soon as there is room, even when nothing but what waits to be curated is in the store.
 */
#include "tests/unit/gateway/filter/rig.h"

static const char rules[] = "rules:\n  half: {channels: flow, do: window, length: 60s, quantiles: [0.5], raw: drop}\n";
enum { DISK = 256 * 1024 };

static void setup(struct rig *r, uint64_t ring_bytes)
{
    rig_init(r, DISK);
    r->options.ring_bytes = ring_bytes;
    r->options.batch_entries = 32;
}

struct tally {
    uint64_t numbers, last[3];
};

static void note(void *arg, const struct rig_out *out)
{
    struct tally *t = arg;
    if (out->epoch == 10) {
        uint64_t *last = &t->last[out->device[2] - '0'];
        CHECK_INT(out->first, *last + 1);
        *last = out->last;
    }
    t->numbers += out->last - out->first + 1;
}

static uint64_t used(const struct rig *r)
{
    struct store_usage usage;
    store_usage(r->store, &usage);
    CHECK(usage.used_bytes <= usage.cap_bytes);
    return usage.used_bytes * 100 / usage.cap_bytes;
}

static void take_up(struct rig *r, struct tally *t)
{
    for (uint8_t lane = 0; lane < INBOX_LANES; lane++) {
        rig_read(r, lane, note, t);
        CHECK_OK(spool_trim(r->curated[lane], filter_batch(r->filter), spool_durable(r->curated[lane])));
    }
}

static void the_ring_stays_within_its_bound(void **state)
{
    (void)state;
    struct rig r;
    setup(&r, 20 * 1024);
    rig_start(&r, rules);
    for (unsigned i = 0; i < 300; i += 10) {
        CHECK_OK(rig_try_load(&r, i, 10));
        rig_drain(&r);
        CHECK(spool_bytes(r.raw[1]) <= 20 * 1024 + 20 * 1024 / 16 + 4096);
        CHECK_OK(spool_trim(r.curated[1], filter_batch(r.filter), spool_durable(r.curated[1])));
    }
    rig_drain(&r);
    CHECK(spool_trimmed(r.raw[1]) > 0);
    CHECK(spool_bytes(r.raw[1]) > 10 * 1024); /* and is a ring */
    rig_deinit(&r);
}

static void a_ring_larger_than_the_store_gives_way(void **state)
{
    (void)state;
    struct rig r;
    setup(&r, UINT64_C(1) << 30);
    rig_start(&r, rules);
    for (unsigned i = 0; i < 2000; i += 10) {
        CHECK_OK(rig_try_load(&r, i, 10));
        rig_drain(&r);
        CHECK_OK(spool_trim(r.curated[1], filter_batch(r.filter), spool_durable(r.curated[1])));
        CHECK_OK(spool_trim(r.curated[0], filter_batch(r.filter), spool_durable(r.curated[0])));
    }
    rig_drain(&r);
    CHECK(used(&r) <= 80);
    CHECK(spool_bytes(r.raw[1]) > 50 * 1024);
    rig_deinit(&r);
}

/* The parent is away: the curated spools fill the store. */
static void a_store_full_of_curated_entries_goes_on_when_the_uplink_trims(void **state)
{
    (void)state;
    struct rig r;
    struct filter_stats stats;
    struct tally t = {.numbers = 0};
    setup(&r, 0);
    /* all is kept */
    rig_start(&r, "rules:\n  knock: {channels: acc, do: capture, above: 1000, before: 25s, after: 15s}\n");
    unsigned loaded = 0;
    for (unsigned refused = 0; refused < 50;) { /* what was taken half comes again, and is absorbed */
        bool taken = rig_try_load(&r, loaded, 1) == OK;
        loaded += taken;
        refused += !taken;
        filter_kick(r.filter);
    }
    rig_run(&r, 10 * SECOND_US);
    CHECK(loaded > 500 && used(&r) >= 75);
    for (unsigned round = 0; round < 100 && !filter_drained(r.filter); round++) {
        take_up(&r, &t);
        rig_run(&r, 2 * SECOND_US);
    }
    rig_drain(&r);
    take_up(&r, &t);
    filter_stats(r.filter, &stats);
    CHECK(t.last[0] + t.last[1] + t.last[2] >= loaded);
    CHECK_INT(stats.records, stats.kept + stats.shaped + stats.dropped + stats.absorbed);
    rig_deinit(&r);
}

/* The filter was held while devices went on: nothing but raw entries is in the store, to the inbox's bound for
 * bulk; then alarms, to the cap. */
static void a_store_full_of_raw_entries_empties_itself(void **state)
{
    (void)state;
    static const char *const sets[] = {rules, "rules:\n  fast: {channels: acc, do: range, min: -5, max: 100}\n"};
    for (unsigned set = 0; set < COUNT_OF(sets); set++) {
        struct rig r;
        struct tally t = {.numbers = 0};
        setup(&r, set == 0 ? 0 : 1 << 20);
        rig_start(&r, sets[set]);
        CHECK_OK(rig_try_load(&r, 0, 30)); /* streams and positions are known */
        rig_drain(&r);
        filter_hold(r.filter, true);
        unsigned loaded = 30;
        while (used(&r) < 95 && rig_try_load(&r, loaded, 1) == OK) {
            loaded++;
        }
        for (uint64_t n = 1; rig_try_event(&r, "d-1", 30, n) == OK;) {
            n++;
        }
        CHECK(used(&r) >= 99);
        filter_hold(r.filter, false);
        for (unsigned i = 0; i < 10; i++) {
            rig_run(&r, SECOND_US);
            take_up(&r, &t);
        }
        rig_drain(&r);
        take_up(&r, &t);
        CHECK(t.last[0] + t.last[1] + t.last[2] >= loaded);
        rig_deinit(&r);
    }
}

/* Nobody takes anything up, and there is no room but what moving a record frees. */
static void what_is_curated_makes_room_for_itself(void **state)
{
    (void)state;
    for (unsigned ring = 0; ring < 2; ring++) {
        struct rig r;
        struct tally t = {.numbers = 0};
        setup(&r, ring == 0 ? 0 : 1 << 20);
        rig_start(&r, "rules:\n  fast: {channels: acc, do: range, min: -5, max: 100}\n"); /* keeps everything */
        CHECK_OK(rig_try_load(&r, 0, 30)); /* streams and positions are known */
        rig_drain(&r);
        filter_hold(r.filter, true);
        unsigned loaded = 30;
        while (rig_try_load(&r, loaded, 1) == OK) {
            loaded++;
        }
        CHECK(used(&r) >= 99);
        filter_hold(r.filter, false);
        rig_drain(&r);
        rig_read(&r, 0, note, &t);
        rig_read(&r, 1, note, &t);
        CHECK(t.last[0] + t.last[1] + t.last[2] >= loaded);
        rig_deinit(&r);
    }
}

static void a_full_disk_is_tried_again_until_there_is_room(void **state)
{
    (void)state;
    struct rig r;
    struct tally t = {.numbers = 0};
    struct filter_stats stats;
    setup(&r, 0);
    rig_start(&r, rules);
    filter_hold(r.filter, true);
    rig_load(&r, 90);
    store_disk_set_mode(r.disk, STORE_DISK_FULL); /* ENOSPC for whatever grows */
    filter_hold(r.filter, false);
    rig_run(&r, MINUTE_US);
    store_disk_set_mode(r.disk, STORE_DISK_OK);
    rig_drain(&r);
    filter_stats(r.filter, &stats);
    CHECK(stats.failed_commits > 0);
    CHECK_INT(stats.records, 90 + 10);
    rig_read(&r, 0, note, &t);
    rig_read(&r, 1, note, &t);
    CHECK_INT(t.numbers, 100);
    rig_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_ring_stays_within_its_bound),
        cmocka_unit_test(a_ring_larger_than_the_store_gives_way),
        cmocka_unit_test(a_store_full_of_curated_entries_goes_on_when_the_uplink_trims),
        cmocka_unit_test(a_store_full_of_raw_entries_empties_itself),
        cmocka_unit_test(what_is_curated_makes_room_for_itself),
        cmocka_unit_test(a_full_disk_is_tried_again_until_there_is_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
