/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: whatever happens to link, broker, store and clock, each record of a device arrives once, in order, as it was
 * stored, or is declared lost in exactly the place where it was.
 */
#include "core/base/base.h"
#include "tests/support/check.h"
#include "tests/unit/device/report/rig.h"

#define BLOCKS(stream) rig_count((stream), WEIR__V1__RECORD__KIND_BLOCK)

static void records_arrive_in_order_as_they_were_stored(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    rig_start(rig);
    rig_run(rig, 100 * SECOND_US);
    agent_stop(rig->agent);
    rig_drain(rig, MINUTE_US);
    struct rig_stream *s = rig_current(rig, 1);
    rig_expect_whole(s);
    struct report_stats stats = rig_stats(rig);
    CHECK(stats.samples >= 99 && stats.samples <= 101);
    CHECK_INT(BLOCKS(s), (stats.samples + 3) / 4);
    CHECK_INT(s->window.hwm, stats.lane[1].durable);
    CHECK_INT(s->records[0].kind, WEIR__V1__RECORD__KIND_DESCRIBE);
    CHECK_INT(s->records[1].set, s->records[0].set);
    CHECK_INT(s->records[1].period_us, SECOND_US);
    CHECK(!s->records[1].has_times);
    rig_free(rig);
}

static void nothing_is_sent_before_it_is_durable(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    loop_set_worker_latency(rig->device_loop, 3 * SECOND_US);
    rig_start(rig);
    for (unsigned i = 0; i < 600; i++) {
        rig_run(rig, 100 * MS_US);
        struct rig_stream *s = rig_current(rig, 1);
        CHECK(s == NULL || s->window.hwm <= rig_stats(rig).lane[1].durable);
    }
    rig_expect_whole(rig_current(rig, 1));
    CHECK(rig_current(rig, 1)->window.hwm > 5);
    rig_free(rig);
}

struct watched {
    struct rig *rig;
    unsigned blocks, ups, downs;
    bool up;
    uint64_t number, acked;
    int64_t due_us;
};

static void watch_block(void *arg, uint64_t number)
{
    struct watched *w = arg;
    CHECK(number > w->number);
    CHECK_INT(agent_due_us(w->rig->agent), loop_now_us(w->rig->device_loop)); /* virtual time is never late */
    CHECK(w->blocks == 0 || agent_due_us(w->rig->agent) == w->due_us + 4 * SECOND_US);
    w->due_us = agent_due_us(w->rig->agent);
    w->number = number;
    w->blocks++;
}

static void watch_acked(void *arg, uint8_t lane, uint64_t acked)
{
    struct watched *w = arg;
    if (lane == 1) {
        CHECK(acked > w->acked && acked <= max_u64(w->number, 1)); /* the first record only describes */
        w->acked = acked;
    }
}

static void watch_link(void *arg, bool up, const char *reason)
{
    struct watched *w = arg;
    CHECK(reason[0] != '\0');
    w->ups += up && !w->up;
    w->downs += !up && w->up;
    w->up = up;
}

static void a_watcher_is_told_of_every_block_its_due_time_its_acknowledgement_and_the_link(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    struct watched w = {.rig = rig};
    rig->options.report.watcher = (struct report_watcher){watch_link, watch_block, watch_acked, &w};
    rig->options.report.wall_skew_us = -HOUR_US;
    rig_start(rig);
    rig_run(rig, 102 * SECOND_US);
    bus_hub_set_link(rig->hub, "dev-1", BUS_LINK_DOWN);
    rig_run(rig, SECOND_US);
    bus_hub_set_link(rig->hub, "dev-1", BUS_LINK_UP);
    rig_run(rig, MINUTE_US);
    struct rig_stream *s = rig_current(rig, 1);
    CHECK_INT(w.blocks, BLOCKS(s));
    CHECK_INT(w.number, rig_stats(rig).lane[1].top);
    CHECK_INT(w.acked, rig_stats(rig).lane[1].acked);
    CHECK_INT(w.ups, 2);
    CHECK_INT(w.downs, 1);
    int64_t skew_us = (int64_t)s->records[1].wall_us - (loop_wall_us(rig->device_loop) - loop_now_us(rig->device_loop)) -
                      (int64_t)s->records[1].mono_us;
    CHECK(skew_us <= -HOUR_US && skew_us > -HOUR_US - SECOND_US);
    CHECK_INT(agent_due_us(rig->agent), 0); /* no sample is being taken */
    rig_free(rig);
}

static void an_outage_delays_and_loses_nothing(void **state)
{
    (void)state;
    struct rig *rig = rig_new(16 << 20);
    rig_start(rig);
    rig_run(rig, 30 * SECOND_US);
    bus_hub_set_link(rig->hub, "dev-1", BUS_LINK_SILENT);
    rig_run(rig, 3 * HOUR_US);
    CHECK(rig_current(rig, 1)->window.hwm < 20);
    bus_hub_set_link(rig->hub, "dev-1", BUS_LINK_UP);
    rig_run(rig, 2 * MINUTE_US);
    agent_stop(rig->agent);
    rig_drain(rig, 5 * MINUTE_US);
    rig_expect_whole(rig_current(rig, 1));
    CHECK(BLOCKS(rig_current(rig, 1)) >= 2700);
    CHECK_INT(rig_gap_numbers(rig_current(rig, 1)), 0);
    rig_free(rig);
}

static void lost_and_repeated_and_reordered_messages_change_nothing(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    bus_hub_set_faults(rig->hub, &(struct bus_faults){.loss_ppm = 200000,
                                                      .duplicate_ppm = 200000,
                                                      .reorder_ppm = 200000,
                                                      .delay_us = 20 * MS_US,
                                                      .jitter_us = 50 * MS_US});
    rig->lose_acks = 3;
    rig_start(rig);
    rig_run(rig, 10 * MINUTE_US);
    agent_stop(rig->agent);
    rig_drain(rig, 10 * MINUTE_US);
    rig_expect_whole(rig_current(rig, 1));
    CHECK(BLOCKS(rig_current(rig, 1)) >= 149);
    rig_free(rig);
}

static void a_restart_from_the_same_disk_goes_on_in_the_same_epoch(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    rig_start(rig);
    rig_run(rig, 50 * SECOND_US);
    uint64_t epoch = rig_stats(rig).lane[1].epoch;
    for (unsigned i = 0; i < 5; i++) {
        rig_crash(rig);
        rig_run(rig, (3 + i) * 700 * MS_US);
        rig_start(rig);
        rig_run(rig, (11 + i) * 1300 * MS_US);
    }
    CHECK_INT(rig_stats(rig).lane[1].epoch, epoch);
    agent_stop(rig->agent);
    rig_drain(rig, MINUTE_US);
    CHECK_INT(rig_current(rig, 1)->window.boot_seq, 6);
    rig_expect_whole(rig_current(rig, 1));
    CHECK_INT(rig_count(rig_current(rig, 1), WEIR__V1__RECORD__KIND_DESCRIBE), 6); /* one a boot */
    rig_free(rig);
}

static void a_crash_during_every_commit_leaves_no_hole(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    loop_set_worker_latency(rig->device_loop, 300 * MS_US);
    rig_start(rig);
    for (unsigned i = 0; i < 60; i++) {
        rig_run(rig, 4 * SECOND_US + i * 13 * MS_US);
        rig_crash(rig);
        rig_start(rig);
    }
    agent_stop(rig->agent);
    rig_drain(rig, 5 * MINUTE_US);
    rig_expect_whole(rig_current(rig, 1));
    CHECK(BLOCKS(rig_current(rig, 1)) > 30);
    rig_free(rig);
}

static void a_full_store_declares_exactly_what_it_dropped(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    rig->options.report.bulk_bytes = 8 * 1024;
    rig_start(rig);
    rig_run(rig, 20 * SECOND_US);
    bus_hub_set_link(rig->hub, "dev-1", BUS_LINK_DOWN);
    rig_run(rig, 2 * HOUR_US);
    struct report_stats stats = rig_stats(rig);
    CHECK(stats.lane[1].bytes <= 8 * 1024 + 256); /* the gap itself stands outside the bound */
    CHECK(stats.gap_numbers > 1000);
    CHECK_INT(stats.gaps, 1); /* consecutive gaps are one */
    bus_hub_set_link(rig->hub, "dev-1", BUS_LINK_UP);
    rig_run(rig, 2 * MINUTE_US);
    agent_stop(rig->agent);
    rig_drain(rig, 5 * MINUTE_US);
    struct rig_stream *s = rig_current(rig, 1);
    rig_expect_whole(s);
    CHECK_INT(rig_count(s, WEIR__V1__RECORD__KIND_GAP), 1);
    CHECK_INT(rig_gap_numbers(s), rig_stats(rig).gap_numbers);
    CHECK(BLOCKS(s) > 20);
    CHECK(rig_count(s, WEIR__V1__RECORD__KIND_DESCRIBE) >= 2); /* behind the gap it is described again */
    /* the alarm had its own room and says so */
    CHECK(rig_event(rig_current(rig, 0), "store-gap", 0) != NULL);
    CHECK_INT(rig_event(rig_current(rig, 0), "store-gap", 0)->severity, WEIR__V1__SEVERITY__ALARM);
    CHECK(rig_event(rig_current(rig, 0), "store-gap", 1) == NULL);
    rig_expect_whole(rig_current(rig, 0));
    rig_free(rig);
}

static void a_store_that_is_full_before_its_lane_is_drops_the_oldest_as_well(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1 << 20);
    rig->options.report.samples_per_record = 64;
    rig->options.report.max_age_us = HOUR_US;
    rig->options.report.bulk_bytes = 64 << 20; /* more than there is */
    rig_start(rig);
    bus_hub_set_link(rig->hub, "dev-1", BUS_LINK_DOWN);
    rig_run(rig, 4 * DAY_US);
    CHECK_OK(report_event(agent_report(rig->agent), REPORT_ALARM, "door-open", "still room for an alarm", NULL, 1));
    rig_run(rig, MINUTE_US);
    struct report_stats stats = rig_stats(rig);
    CHECK(stats.gap_numbers > 500);
    CHECK_INT(stats.failed_commits, 0); /* it is seen coming */
    CHECK_INT(stats.refused, 0);
    bus_hub_set_link(rig->hub, "dev-1", BUS_LINK_UP);
    rig_run(rig, 2 * MINUTE_US);
    agent_stop(rig->agent);
    rig_drain(rig, 5 * MINUTE_US);
    rig_expect_whole(rig_current(rig, 1));
    CHECK_INT(rig_gap_numbers(rig_current(rig, 1)), rig_stats(rig).gap_numbers);
    CHECK(rig_event(rig_current(rig, 0), "door-open", 0) != NULL);
    rig_free(rig);
}

static void a_disk_that_takes_nothing_for_a_while_makes_no_gap(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1 << 20);
    rig_start(rig);
    rig_run(rig, 20 * SECOND_US);
    static const enum store_disk_mode modes[] = {STORE_DISK_FULL, STORE_DISK_EIO};
    for (size_t i = 0; i < COUNT_OF(modes); i++) {
        store_disk_set_mode(rig->disk, modes[i]);
        rig_run(rig, 20 * SECOND_US);
        CHECK(rig_stats(rig).failing);
        store_disk_set_mode(rig->disk, STORE_DISK_OK);
        rig_run(rig, 20 * SECOND_US);
        CHECK(!rig_stats(rig).failing);
    }
    agent_stop(rig->agent);
    rig_drain(rig, MINUTE_US);
    struct report_stats stats = rig_stats(rig);
    CHECK(stats.failed_commits >= 4);
    CHECK_INT(stats.refused, 0);
    CHECK_INT(stats.gaps, 0);
    rig_expect_whole(rig_current(rig, 1));
    CHECK_INT(BLOCKS(rig_current(rig, 1)), (stats.samples + 3) / 4);
    rig_free(rig);
}

static void a_disk_that_fails_for_long_refuses_samples_and_counts_them(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1 << 20);
    rig_start(rig);
    rig_run(rig, 20 * SECOND_US);
    store_disk_set_mode(rig->disk, STORE_DISK_EIO);
    rig_run(rig, HOUR_US);
    struct report_stats stats = rig_stats(rig);
    CHECK(stats.refused > 3000);
    CHECK(report_unsynced_us(agent_report(rig->agent)) > 3500 * SECOND_US);
    store_disk_set_mode(rig->disk, STORE_DISK_OK);
    rig_run(rig, MINUTE_US);
    agent_stop(rig->agent);
    rig_drain(rig, MINUTE_US);
    rig_expect_whole(rig_current(rig, 1));
    CHECK_INT(rig_stats(rig).gaps, 0);
    rig_free(rig);
}

/* An old image: the device goes on from numbers that the receiver has seen with other content. */
static void an_old_image_makes_a_new_epoch_and_loses_nothing(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    rig_start(rig);
    rig_run(rig, 40 * SECOND_US);
    struct store_disk *image = NULL;
    CHECK_OK(store_disk_clone(rig->disk, &image));
    rig_run(rig, 200 * SECOND_US);
    agent_stop(rig->agent);
    rig_drain(rig, MINUTE_US);
    uint64_t epoch = rig_stats(rig).lane[1].epoch;
    rig_expect_whole(rig_current(rig, 1));
    uint64_t hwm = rig_current(rig, 1)->window.hwm;
    size_t blocks_before = BLOCKS(rig_current(rig, 1));

    rig_crash(rig);
    store_disk_free(rig->disk);
    rig->disk = image;
    bus_hub_set_link(rig->hub, "dev-1", BUS_LINK_DOWN);
    rig_start(rig);
    rig_run(rig, 100 * SECOND_US);
    CHECK_INT(rig_stats(rig).lane[1].epoch, epoch);
    bus_hub_set_link(rig->hub, "dev-1", BUS_LINK_UP);
    rig_run(rig, 100 * SECOND_US);
    agent_stop(rig->agent);
    rig_drain(rig, 2 * MINUTE_US);

    struct report_stats stats = rig_stats(rig);
    CHECK(stats.lane[1].epoch != epoch);
    CHECK_INT(stats.rebases, 1);
    struct rig_stream *old = rig_stream_of(rig, epoch), *fresh = rig_current(rig, 1);
    CHECK(old->window.closed);
    CHECK_INT(old->window.hwm, hwm);
    CHECK_INT(BLOCKS(old), blocks_before);
    CHECK(fresh->replaces == epoch);
    uint64_t next = 1, samples = 0;
    for (size_t i = 0; i < fresh->count; i++) { /* values of the first ones belong to their places in the old epoch */
        CHECK_INT(fresh->records[i].first, next);
        next = fresh->records[i].last + 1;
        samples += fresh->records[i].samples;
    }
    CHECK_INT(samples, stats.samples);
    CHECK_INT(next - 1, stats.lane[1].durable);
    CHECK_INT(rig->refused_records, 0);
    CHECK(rig_event(rig_current(rig, 0), "epoch-replaced", 0) != NULL);
    rig_free(rig);
}

static void a_gap_in_an_old_image_is_declared_with_its_new_numbers(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    rig->options.report.bulk_bytes = 8 * 1024;
    rig_start(rig);
    rig_run(rig, 40 * SECOND_US);
    struct store_disk *image = NULL;
    CHECK_OK(store_disk_clone(rig->disk, &image));
    rig_run(rig, 200 * SECOND_US);
    agent_stop(rig->agent);
    rig_drain(rig, MINUTE_US);
    rig_crash(rig);
    store_disk_free(rig->disk);
    rig->disk = image;
    bus_hub_set_link(rig->hub, "dev-1", BUS_LINK_DOWN);
    rig_start(rig);
    rig_run(rig, HOUR_US);
    uint64_t durable = rig_stats(rig).lane[1].durable;
    CHECK(rig_stats(rig).gap_numbers > 500);
    bus_hub_set_link(rig->hub, "dev-1", BUS_LINK_UP);
    rig_run(rig, 100 * SECOND_US);
    agent_stop(rig->agent);
    rig_drain(rig, 2 * MINUTE_US);
    CHECK_INT(rig->refused_records, 0);
    struct rig_stream *fresh = rig_current(rig, 1);
    CHECK_INT(fresh->records[0].kind, WEIR__V1__RECORD__KIND_GAP);
    CHECK(fresh->records[0].matches);
    CHECK(fresh->window.hwm + 20 > durable);
    rig_free(rig);
}

static void clocks_at_1970_and_2038_change_neither_order_nor_count(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    rig_start(rig);
    static const int64_t walls[] = {0, INT64_C(2147483647) * SECOND_US, -DAY_US, INT64_C(1767225600) * SECOND_US};
    for (size_t i = 0; i < COUNT_OF(walls); i++) {
        rig_run(rig, 30 * SECOND_US + 500 * MS_US);
        loop_set_wall(rig->device_loop, walls[i]);
    }
    rig_run(rig, 30 * SECOND_US);
    agent_stop(rig->agent);
    rig_drain(rig, MINUTE_US);
    struct rig_stream *s = rig_current(rig, 1);
    rig_expect_whole(s);
    uint64_t samples = 0, mono_us = 0;
    for (size_t i = 0; i < s->count; i++) {
        samples += s->records[i].samples;
        CHECK(s->records[i].samples == 0 || s->records[i].mono_us > mono_us);
        mono_us = s->records[i].samples > 0 ? s->records[i].mono_us : mono_us;
    }
    CHECK_INT(samples, rig_stats(rig).samples);
    CHECK(samples >= 151);
    rig_free(rig);
}

static void a_jump_of_the_wall_clock_ends_the_block(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    rig->options.report.samples_per_record = 1000;
    rig->options.report.max_age_us = HOUR_US;
    rig_start(rig);
    rig_run(rig, 10 * SECOND_US + 500 * MS_US);
    loop_set_wall(rig->device_loop, loop_wall_us(rig->device_loop) + 900 * MS_US); /* less than a period: goes on */
    rig_run(rig, 10 * SECOND_US);
    loop_set_wall(rig->device_loop, loop_wall_us(rig->device_loop) + HOUR_US);
    rig_run(rig, 10 * SECOND_US);
    agent_stop(rig->agent);
    rig_drain(rig, MINUTE_US);
    struct rig_stream *s = rig_current(rig, 1);
    rig_expect_whole(s);
    CHECK_INT(BLOCKS(s), 2);
    CHECK_INT(s->records[1].samples, 21);
    CHECK_INT(s->records[2].samples, 10);
    int64_t wall = (int64_t)(s->records[2].wall_us - s->records[1].wall_us);
    CHECK_INT(wall, HOUR_US + 21 * SECOND_US + 900 * MS_US);
    rig_free(rig);
}

static void alarms_go_their_own_way_and_are_described(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    rig_start(rig);
    rig_run(rig, 10 * SECOND_US);
    struct report *report = agent_report(rig->agent);
    CHECK_OK(report_event(report, REPORT_ALARM, "hot", "too hot", "pattern_1", 99.5));
    CHECK_OK(report_event(report, REPORT_ALARM, "odd", "bad bytes \xff, long text follows", NULL, 1.0 / 0.0));
    CHECK_OK(report_event(report, REPORT_WARNING, "warm", NULL, NULL, 0));
    CHECK_ERR(report_event(report, REPORT_ALARM, "", "nameless", NULL, 0), ERR_RANGE);
    rig_run(rig, 10 * SECOND_US);
    struct rig_stream *alarms = rig_current(rig, 0), *bulk = rig_current(rig, 1);
    rig_expect_whole(alarms);
    rig_expect_whole(bulk);
    CHECK_INT(alarms->count, 3);
    CHECK_INT(alarms->records[0].kind, WEIR__V1__RECORD__KIND_DESCRIBE);
    CHECK_STR(alarms->records[1].event, "hot");
    CHECK(alarms->records[1].value == 99.5);
    CHECK_INT(alarms->records[1].set, alarms->records[0].set);
    CHECK_STR(alarms->records[2].event, "odd");
    CHECK(rig_event(bulk, "warm", 0) != NULL);
    CHECK_INT(rig->refused_records, 0);
    CHECK(rig_stats(rig).lane[0].epoch != rig_stats(rig).lane[1].epoch);
    rig_free(rig);
}

static void the_description_comes_again_every_so_many_records(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    rig->options.report.describe_every = 10;
    rig_start(rig);
    rig_run(rig, 401 * SECOND_US);
    struct rig_stream *s = rig_current(rig, 1);
    rig_expect_whole(s);
    CHECK_INT(s->records[0].kind, WEIR__V1__RECORD__KIND_DESCRIBE);
    CHECK_INT(s->records[11].kind, WEIR__V1__RECORD__KIND_DESCRIBE);
    CHECK_INT(s->records[22].kind, WEIR__V1__RECORD__KIND_DESCRIBE);
    CHECK(rig_count(s, WEIR__V1__RECORD__KIND_DESCRIBE) >= 10);
    rig_free(rig);
}

static void retained_and_foreign_messages_are_ignored_and_counted(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    BUFFER(out, 256);
    wire_ack_encode(&(struct wire_ack){.epoch = 1, .hwm = 1000, .boot = 1, .lane = 1}, &out);
    rig_run(rig, SECOND_US);
    CHECK_OK(bus_publish(rig->receiver_bus, slice_str("weir/v1/sim/gw/dev-1/ack"), buffer_slice(&out), 0, true));
    rig_run(rig, SECOND_US);
    rig_start(rig);
    rig_run(rig, 10 * SECOND_US);
    CHECK_INT(rig_stats(rig).ignored, 1);
    CHECK_OK(bus_publish(rig->receiver_bus, slice_str("weir/v1/sim/gw/dev-1/ack"), slice_str("garbage"), 0, false));
    rig_run(rig, 10 * SECOND_US);
    CHECK_INT(rig_stats(rig).ignored, 2);
    rig_expect_whole(rig_current(rig, 1));
    rig_free(rig);
}

static void the_alarm_lane_does_not_sit_out_its_timeout_when_the_gateway_is_back(void **state)
{
    (void)state;
    struct rig *rig = rig_new(16 << 20);
    rig_start(rig);
    rig_run(rig, 30 * SECOND_US);
    rig->lose_acks = UINT32_MAX; /* no answer, and the link stays up: as with a gateway that is down */
    rig->answers = 1;
    rig_run(rig, 110 * SECOND_US);
    CHECK_OK(report_event(agent_report(rig->agent), REPORT_ALARM, "late", NULL, NULL, 1)); /* out of step with lane 1 */
    rig_run(rig, 10 * MINUTE_US);
    uint64_t before = rig_stats(rig).lane[1].acked;
    CHECK_INT(rig_stats(rig).lane[0].acked, 0);
    rig->lose_acks = 0;
    for (unsigned i = 0; i < 1200 && rig_stats(rig).lane[1].acked == before && rig_stats(rig).lane[0].acked == 0; i++) {
        rig_run(rig, 100 * MS_US);
    }
    rig_run(rig, SECOND_US);
    struct report_stats stats = rig_stats(rig);
    CHECK(stats.lane[1].acked > before);
    CHECK(stats.lane[0].durable > 0);
    CHECK_INT(stats.lane[0].acked, stats.lane[0].durable);
    rig_expect_whole(rig_current(rig, 0));
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_arrive_in_order_as_they_were_stored),
        cmocka_unit_test(nothing_is_sent_before_it_is_durable),
        cmocka_unit_test(a_watcher_is_told_of_every_block_its_due_time_its_acknowledgement_and_the_link),
        cmocka_unit_test(an_outage_delays_and_loses_nothing),
        cmocka_unit_test(the_alarm_lane_does_not_sit_out_its_timeout_when_the_gateway_is_back),
        cmocka_unit_test(lost_and_repeated_and_reordered_messages_change_nothing),
        cmocka_unit_test(a_restart_from_the_same_disk_goes_on_in_the_same_epoch),
        cmocka_unit_test(a_crash_during_every_commit_leaves_no_hole),
        cmocka_unit_test(a_full_store_declares_exactly_what_it_dropped),
        cmocka_unit_test(a_store_that_is_full_before_its_lane_is_drops_the_oldest_as_well),
        cmocka_unit_test(a_disk_that_takes_nothing_for_a_while_makes_no_gap),
        cmocka_unit_test(a_disk_that_fails_for_long_refuses_samples_and_counts_them),
        cmocka_unit_test(an_old_image_makes_a_new_epoch_and_loses_nothing),
        cmocka_unit_test(a_gap_in_an_old_image_is_declared_with_its_new_numbers),
        cmocka_unit_test(clocks_at_1970_and_2038_change_neither_order_nor_count),
        cmocka_unit_test(a_jump_of_the_wall_clock_ends_the_block),
        cmocka_unit_test(alarms_go_their_own_way_and_are_described),
        cmocka_unit_test(the_description_comes_again_every_so_many_records),
        cmocka_unit_test(retained_and_foreign_messages_are_ignored_and_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
