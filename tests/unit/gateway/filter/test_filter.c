/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what a batch curates is durable as a whole or not at all: after a crash at any commit, between commit and
 * news, or after failed commits, entries, states and positions are those of a run that nothing disturbed, bit for
 * bit; and every number is in the curated lanes exactly once.
 */
#include "tests/unit/gateway/filter/rig.h"

static const char rules[] = "rules:\n"
                            "  calm: {channels: temp, do: deadband, abs: 0.2}\n"
                            "  half: {channels: flow, do: window, length: 60s, late: 5s, quantiles: [0.5], raw: drop}\n"
                            "  slow: {channels: acc, do: on-change}\n"
                            "  knock: {channels: acc, do: capture, above: 8, before: 25s, after: 15s}\n"
                            "  still: {devices: d-2, do: range, min: 1000, max: 2000}\n";
enum { RECORDS = 150, BATCH = 7 };

static void setup(struct rig *r, uint64_t disk_bytes)
{
    rig_init(r, disk_bytes);
    r->options.batch_entries = BATCH;
    r->options.ring_bytes = 1 << 20;
}

/* The raw spools are full before the filter sees anything, so that its batches are the same in every run. */
static void load_held(struct rig *r)
{
    filter_hold(r->filter, true);
    rig_load(r, RECORDS);
}

static uint64_t undisturbed(unsigned *ret_commits)
{
    struct rig r;
    struct filter_stats stats;
    setup(&r, 0);
    rig_start(&r, rules);
    load_held(&r);
    filter_hold(r.filter, false);
    rig_drain(&r);
    filter_stats(r.filter, &stats);
    *ret_commits = (unsigned)stats.commits;
    uint64_t outcome = rig_outcome(&r);
    rig_deinit(&r);
    return outcome;
}

/* Numbers of every stream, each once; the streams' entries rise. */
struct numbers {
    struct stream {
        char device[ID_MAX + 1];
        uint64_t epoch, hwm;
    } streams[32];
    size_t count;
    uint64_t suppressed, shaped, kept, captured, records, window_values;
};

static void note(void *arg, const struct rig_out *out)
{
    struct numbers *n = arg;
    size_t i = 0;
    while (i < n->count && (strcmp(n->streams[i].device, out->device) != 0 || n->streams[i].epoch != out->epoch)) {
        i++;
    }
    if (i == n->count) {
        CHECK(n->count < 32);
        n->streams[n->count] = (struct stream){.epoch = out->epoch};
        memcpy(n->streams[n->count++].device, out->device, sizeof(out->device));
    }
    CHECK_INT(out->first, n->streams[i].hwm + 1);
    n->streams[i].hwm = out->last;
    n->records += out->last - out->first + 1;
    n->suppressed += out->kind == WEIR__V1__RECORD__KIND_SUPPRESSED ? out->last - out->first + 1 : 0;
    n->captured += out->epoch > 1000;
    n->shaped += out->epoch < 1000 && out->kind == WEIR__V1__RECORD__KIND_CURATED;
    n->kept += out->epoch < 1000 &&
               (out->kind == WEIR__V1__RECORD__KIND_BLOCK || out->kind == WEIR__V1__RECORD__KIND_EVENT ||
                out->kind == WEIR__V1__RECORD__KIND_DESCRIBE);
    n->window_values += out->window_values;
}

static struct numbers count(struct rig *r)
{
    struct numbers n = {.count = 0};
    for (uint8_t lane = 0; lane < INBOX_LANES; lane++) {
        rig_read(r, lane, note, &n);
    }
    return n;
}

static void every_number_comes_once_as_kept_shaped_or_suppressed_by_a_rule(void **state)
{
    (void)state;
    struct rig r;
    struct filter_stats stats;
    setup(&r, 0);
    rig_start(&r, rules);
    rig_load(&r, RECORDS);
    rig_drain(&r);
    struct numbers n = count(&r);
    filter_stats(r.filter, &stats);
    uint64_t alarms = (RECORDS + 8) / 9;
    CHECK_INT(n.records - n.captured, RECORDS + alarms);
    CHECK_INT(stats.records, RECORDS + alarms);
    CHECK_INT(stats.kept, n.kept);
    CHECK_INT(stats.shaped, n.shaped);
    CHECK_INT(stats.dropped, n.suppressed);
    CHECK(n.suppressed > 0 && n.shaped > 0 && n.kept > alarms && stats.captured > 0 && n.captured >= stats.captured);
    CHECK_INT(stats.streams, 4);
    rig_deinit(&r);
}

static void a_crash_at_any_commit_changes_nothing(void **state)
{
    (void)state;
    unsigned commits;
    uint64_t want = undisturbed(&commits);
    CHECK(commits > 20);
    for (unsigned at = 0; at <= commits; at++) {
        for (unsigned cut = 0; cut < 2; cut++) { /* 1: the commit under way has become durable, nobody was told */
            struct rig r;
            struct filter_stats stats;
            setup(&r, 0);
            rig_start(&r, rules);
            load_held(&r);
            filter_hold(r.filter, false);
            do {
                loop_world_step(r.world, INT64_MAX);
                filter_stats(r.filter, &stats);
            } while (stats.commits < at && !filter_drained(r.filter));
            rig_run(&r, 2 * MS_US); /* the next one is under way */
            store_disk_set_cut(r.disk, cut);
            rig_crash(&r);
            rig_start(&r, rules);
            rig_drain(&r);
            CHECK(rig_outcome(&r) == want);
            rig_deinit(&r);
        }
    }
}

static void crashes_one_after_the_other_change_nothing(void **state)
{
    (void)state;
    unsigned commits, crashes = 0;
    uint64_t want = undisturbed(&commits);
    struct rig r;
    setup(&r, 0);
    rig_start(&r, rules);
    load_held(&r);
    filter_hold(r.filter, false);
    for (unsigned i = 0; !filter_drained(r.filter); i++) {
        rig_run(&r, (int64_t)(mix_u64(i) % 45) * MS_US);
        store_disk_set_cut(r.disk, (unsigned)(mix_u64(i) >> 20) % 3);
        rig_crash(&r);
        rig_start(&r, rules);
        crashes++;
        CHECK(i < 5000);
    }
    CHECK(crashes > 10);
    CHECK(rig_outcome(&r) == want);
    rig_deinit(&r);
}

static void failed_commits_are_made_again_and_counted_once(void **state)
{
    (void)state;
    unsigned commits;
    uint64_t want = undisturbed(&commits);
    struct rig r;
    struct filter_stats stats;
    setup(&r, 0);
    rig_start(&r, rules);
    load_held(&r);
    filter_hold(r.filter, false);
    for (unsigned i = 0; !filter_drained(r.filter); i++) {
        store_disk_set_mode(r.disk, mix_u64(i) % 3 == 0 ? STORE_DISK_EIO : STORE_DISK_OK);
        rig_run(&r, (int64_t)(mix_u64(i + 1000) % 60) * MS_US);
        CHECK(i < 100000);
    }
    store_disk_set_mode(r.disk, STORE_DISK_OK);
    rig_drain(&r);
    filter_stats(r.filter, &stats);
    CHECK(stats.failed_commits > 3);
    CHECK(rig_outcome(&r) == want);
    CHECK_INT(stats.records, RECORDS + (RECORDS + 8) / 9);
    CHECK_INT(stats.records, stats.kept + stats.shaped + stats.dropped);
    rig_deinit(&r);
}

static bool damaged_at(struct rig *r, uint8_t lane, uint64_t last)
{
    uint8_t key[17] = {lane};
    uint64_t epoch = __builtin_bswap64(spool_epoch(r->raw[lane])), big = __builtin_bswap64(last);
    memcpy(key + 1, &epoch, 8);
    memcpy(key + 9, &big, 8);
    struct slice value;
    struct store_batch *batch = NULL;
    if (store_disk_get(r->disk, RIG_SPOOL, slice_of(key, sizeof(key)), &value) != OK) {
        return false;
    }
    BUFFER(copy, 1 << 20);
    buffer_put_slice(&copy, value);
    copy.ptr[copy.len - 1] ^= 1;
    CHECK_OK(store_batch_new(r->store, &batch));
    CHECK_OK(store_put(batch, RIG_SPOOL, slice_of(key, sizeof(key)), buffer_slice(&copy)));
    CHECK_OK(store_commit(r->store, batch, NULL, NULL));
    rig_run(r, 11 * MS_US);
    return true;
}

static void last_entry(void *arg, const struct rig_out *out)
{
    struct rig_out *hops = arg;
    if (out->hop) {
        *hops = *out;
    }
}

static void a_damaged_entry_is_declared_by_the_hop_s_own_numbers(void **state)
{
    (void)state;
    struct rig r;
    struct rig_out hop = {.first = 0};
    setup(&r, 0);
    rig_start(&r, rules);
    load_held(&r);
    CHECK(damaged_at(&r, 1, 30));
    filter_hold(r.filter, false);
    rig_drain(&r);
    rig_read(&r, 1, last_entry, &hop);
    CHECK(hop.hop);
    CHECK_INT(hop.first, 30);
    CHECK_INT(hop.last, 30);
    CHECK_INT(hop.kind, WEIR__V1__RECORD__KIND_GAP);
    CHECK(hop.epoch == spool_epoch(r.raw[1]));
    rig_deinit(&r);
}

static void what_does_not_unpack_passes_as_it_came(void **state)
{
    (void)state;
    struct rig r;
    struct filter_stats stats;
    setup(&r, 0);
    rig_start(&r, rules);
    struct wire_forward f = {.device = "d-9", .gateway = "gw1", .epoch = 5, .first = 1, .last = 1, .top = 1, .lane = 1,
                             .record = slice_str("\x08\x63no record of ours")};
    rig_forward(&r, 1, &f);
    rig_drain(&r);
    filter_stats(r.filter, &stats);
    CHECK_INT(stats.unreadable, 1);
    CHECK_INT(stats.kept, 1);
    CHECK_INT(spool_durable(r.curated[1]), 1);
    rig_deinit(&r);
}

/* The same record once more, with a lane of its sender's own making. */
struct relabelled {
    struct wire_forward forward;
    uint8_t record[4096];
};

static bool relabel(void *arg, const struct spool_entry *entry)
{
    struct relabelled *m = arg;
    CHECK_OK(wire_forward_decode(entry->body, &m->forward));
    CHECK(m->forward.record.len <= sizeof(m->record));
    memcpy(m->record, m->forward.record.ptr, m->forward.record.len);
    m->forward.record.ptr = m->record;
    m->forward.first = m->forward.last = m->forward.top = m->forward.first + 10;
    m->forward.lane = 200;
    return false;
}

static void a_forward_that_names_a_lane_that_there_is_not_stays_in_the_lane_it_came_in(void **state)
{
    (void)state;
    struct rig r;
    setup(&r, 0);
    rig_start(&r, "rules:\n  all: {do: range, min: 1000, max: 2000}\n");
    rig_describe(&r, "d-1", 10, 1);
    rig_block(&r, "d-1", 10, 2, -1);
    rig_drain(&r);
    struct relabelled m = {.forward = {.first = 0}};
    CHECK_OK(spool_read(r.raw[1], 2, relabel, &m));
    CHECK_INT(m.forward.first, 12);
    rig_forward(&r, 1, &m.forward);
    rig_drain(&r);
    CHECK_INT(spool_durable(r.curated[0]), 0);
    CHECK_INT(spool_durable(r.curated[1]), 3);
    rig_deinit(&r);
}

static void numbers_that_come_again_are_absorbed(void **state)
{
    (void)state;
    struct rig r;
    struct filter_stats stats;
    setup(&r, 0);
    rig_start(&r, rules);
    rig_describe(&r, "d-1", 10, 1);
    for (uint64_t n = 2; n < 10; n++) {
        rig_block(&r, "d-1", 10, n, -1);
    }
    rig_drain(&r);
    uint64_t top = spool_durable(r.curated[1]);
    for (uint64_t n = 5; n < 10; n++) { /* a gateway below was set back */
        rig_block(&r, "d-1", 10, n, -1);
    }
    rig_drain(&r);
    filter_stats(r.filter, &stats);
    CHECK_INT(stats.absorbed, 5);
    CHECK_INT(spool_durable(r.curated[1]), top);
    rig_block(&r, "d-1", 10, 10, -1);
    rig_drain(&r);
    CHECK_INT(spool_durable(r.curated[1]), top + 1);
    rig_deinit(&r);
}

static void nothing_is_appended_while_it_is_held_but_trims_and_rebases_go_through(void **state)
{
    (void)state;
    struct rig r;
    setup(&r, 0);
    rig_start(&r, rules);
    rig_load(&r, 60);
    rig_drain(&r);
    uint64_t top = spool_durable(r.curated[1]), epoch = spool_epoch(r.curated[1]);
    filter_hold(r.filter, true);
    CHECK_OK(rig_try_load(&r, 60, 30));
    rig_run(&r, SECOND_US);
    CHECK_INT(spool_durable(r.curated[1]), top);
    CHECK(filter_idle(r.filter) && !filter_drained(r.filter));
    CHECK_OK(spool_trim(r.curated[1], filter_batch(r.filter), 10));
    CHECK(!filter_idle(r.filter));
    rig_run(&r, SECOND_US);
    CHECK(filter_idle(r.filter));
    CHECK_INT(spool_trimmed(r.curated[1]), 10);
    CHECK_OK(spool_rebase(r.curated[1], filter_batch(r.filter), 20));
    rig_run(&r, SECOND_US);
    CHECK(spool_epoch(r.curated[1]) != epoch);
    CHECK_INT(spool_durable(r.curated[1]), top - 20);
    filter_hold(r.filter, false);
    rig_drain(&r);
    CHECK(spool_durable(r.curated[1]) > top - 20);
    rig_deinit(&r);
}

static void a_lone_record_goes_at_once_and_an_alarm_does_not_wait_for_the_delay(void **state)
{
    (void)state;
    struct rig r;
    setup(&r, 0);
    r.options.delay_us = 10 * SECOND_US;
    rig_start(&r, rules);
    rig_describe(&r, "d-1", 10, 1);
    rig_run(&r, 50 * MS_US);
    filter_kick(r.filter);
    rig_run(&r, 50 * MS_US);
    CHECK_INT(spool_durable(r.curated[1]), 1);
    rig_block(&r, "d-1", 10, 2, -1);
    filter_kick(r.filter);
    rig_run(&r, SECOND_US);
    CHECK_INT(spool_durable(r.curated[1]), 1); /* waits */
    rig_event(&r, "d-1", 20, 1);
    filter_kick(r.filter);
    rig_run(&r, 50 * MS_US);
    CHECK_INT(spool_durable(r.curated[0]), 1);
    rig_block(&r, "d-1", 10, 3, -1);
    rig_run(&r, 11 * SECOND_US);
    CHECK(filter_drained(r.filter) || (filter_kick(r.filter), rig_run(&r, 11 * SECOND_US), filter_drained(r.filter)));
    rig_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_number_comes_once_as_kept_shaped_or_suppressed_by_a_rule),
        cmocka_unit_test(a_crash_at_any_commit_changes_nothing),
        cmocka_unit_test(crashes_one_after_the_other_change_nothing),
        cmocka_unit_test(failed_commits_are_made_again_and_counted_once),
        cmocka_unit_test(a_damaged_entry_is_declared_by_the_hop_s_own_numbers),
        cmocka_unit_test(what_does_not_unpack_passes_as_it_came),
        cmocka_unit_test(a_forward_that_names_a_lane_that_there_is_not_stays_in_the_lane_it_came_in),
        cmocka_unit_test(numbers_that_come_again_are_absorbed),
        cmocka_unit_test(nothing_is_appended_while_it_is_held_but_trims_and_rebases_go_through),
        cmocka_unit_test(a_lone_record_goes_at_once_and_an_alarm_does_not_wait_for_the_delay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
