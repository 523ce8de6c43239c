/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a record that a device has stored is in every sink exactly once and in order, whatever dies, is lost or comes
 * back from an old image on the way; what cannot be there is declared. Whole hierarchies in virtual time.
 */
#include "tests/unit/cloud-bridge/bridged/rig.h"

enum { STORE = 64 << 20, DRAIN_S = 300 };

static void records_of_both_lanes_arrive_once_and_in_order(void **state)
{
    struct rig rig;
    (void)state;
    rig_new(&rig, 1, 1);
    struct rig_gateway *g = rig_add_gateway(&rig, "gw-1", NULL, STORE);
    struct rig_device *a = rig_add_device(&rig, "a", g), *b = rig_add_device(&rig, "b", g);
    rig_start(&rig);
    for (unsigned i = 0; i < 50; i++) {
        rig_produce(a, 1, 3);
        rig_produce(b, 1, 1);
        rig_produce(b, 0, 1);
        rig_run(&rig, 20 * MS_US);
    }
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    CHECK_INT(rig_check_all(&rig), 0);
    CHECK_INT(spool_durable(a->spools[1]), 150);
    struct bridge_stats stats;
    bridge_stats(rig.bridge.bridge, &stats);
    CHECK_INT(stats.sink.position[0], 50);
    CHECK_INT(stats.sink.position[1], 200);
    rig_free(&rig);
}

static void a_record_passes_a_chain_of_gateways_with_its_identity(void **state)
{
    struct rig rig;
    (void)state;
    rig_new(&rig, 2, 1);
    struct rig_gateway *site = rig_add_gateway(&rig, "site-gw", NULL, STORE);
    struct rig_gateway *line = rig_add_gateway(&rig, "line-gw", site, STORE);
    struct rig_device *a = rig_add_device(&rig, "a", line), *b = rig_add_device(&rig, "b", site);
    rig_start(&rig);
    rig_produce(a, 1, 40);
    rig_produce(a, 0, 4);
    rig_produce(b, 1, 40);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    CHECK_INT(rig_check_all(&rig), 0);
    rig_free(&rig);
}

/* What happens, by dice, at one instant. */
static void some_fault(struct rig *rig)
{
    uint64_t dice = loop_world_random(rig->world) % 12;
    size_t at = loop_world_random(rig->world) % rig->gateway_count;
    struct rig_gateway *g = &rig->gateways[at];
    struct rig_device *d = &rig->devices[loop_world_random(rig->world) % rig->device_count];
    switch (dice) {
    case 0:
    case 1:
        rig_gateway_restart(g);
        break;
    case 2:
    case 3:
        rig_bridge_restart(rig);
        break;
    case 4:
        rig_device_kill(d);
        rig_device_start(d);
        break;
    case 5:
        bus_hub_restart(g->down_hub, 300 * MS_US);
        break;
    case 6:
        bus_hub_restart(rig->hubs[0], 300 * MS_US);
        break;
    case 7:
        bus_hub_set_link(rig->hubs[0], g->id, BUS_LINK_SILENT);
        break;
    case 8:
        bus_hub_set_link(g->down_hub, d->id, BUS_LINK_DOWN);
        break;
    case 9:
        sink_memory_set_mode(rig->sinks[0], SINK_MEMORY_FAILS);
        break;
    default: /* all is well again */
        sink_memory_set_mode(rig->sinks[0], SINK_MEMORY_OK);
        for (size_t i = 0; i <= rig->gateway_count; i++) {
            bus_hub_set_link(rig->hubs[i], "*", BUS_LINK_UP);
        }
        break;
    }
}

static void heal(struct rig *rig)
{
    sink_memory_set_mode(rig->sinks[0], SINK_MEMORY_OK);
    for (size_t i = 0; i <= rig->gateway_count; i++) {
        bus_hub_set_faults(rig->hubs[i], &(struct bus_faults){.delay_us = MS_US});
        bus_hub_set_link(rig->hubs[i], "*", BUS_LINK_UP);
    }
}

static void survive(uint64_t seed)
{
    struct rig rig;
    struct bus_faults faults = {.loss_ppm = 50000,
                                .duplicate_ppm = 50000,
                                .reorder_ppm = 50000,
                                .delay_us = 2 * MS_US,
                                .jitter_us = 5 * MS_US};
    rig_new(&rig, seed, 2);
    struct rig_gateway *site = rig_add_gateway(&rig, "site-gw", NULL, STORE);
    struct rig_gateway *line = rig_add_gateway(&rig, "line-gw", site, STORE);
    rig_add_device(&rig, "a", line);
    rig_add_device(&rig, "b", line);
    rig_add_device(&rig, "c", site);
    rig_start(&rig);
    for (size_t i = 0; i <= rig.gateway_count; i++) {
        bus_hub_set_faults(rig.hubs[i], &faults);
    }
    for (unsigned i = 0; i < 150; i++) {
        for (size_t d = 0; d < rig.device_count; d++) {
            rig_produce(&rig.devices[d], 1, 1 + (unsigned)(loop_world_random(rig.world) % 4));
            if (loop_world_random(rig.world) % 8 == 0) {
                rig_produce(&rig.devices[d], 0, 1);
            }
        }
        rig_run(&rig, (int64_t)(loop_world_random(rig.world) % 60) * MS_US);
        if (loop_world_random(rig.world) % 3 == 0) {
            some_fault(&rig);
        }
    }
    heal(&rig);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    CHECK_INT(rig_check_all(&rig), 0);
    for (size_t i = 0; i < rig.gateway_count; i++) { /* nothing of this is an old image */
        struct gateway_stats stats;
        gateway_stats(rig.gateways[i].gateway, &stats);
        CHECK_INT(stats.uplink_rebased, 0);
    }
    rig_free(&rig);
}

static void nothing_is_lost_or_doubled_by_kills_and_bad_links(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        survive(seed);
    }
}

static void a_gateway_that_lost_its_store_declares_what_it_may_have_lost(void **state)
{
    struct rig rig;
    (void)state;
    rig_new(&rig, 3, 1);
    struct rig_gateway *g = rig_add_gateway(&rig, "gw-1", NULL, STORE);
    struct rig_device *a = rig_add_device(&rig, "a", g);
    rig_start(&rig);
    rig_produce(a, 1, 30);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    /* Ten more reach the gateway only. */
    bus_hub_set_link(rig.hubs[0], "gw-1", BUS_LINK_DOWN);
    rig_produce(a, 1, 10);
    RIG_WAIT(&rig, rig_device_drained(a), DRAIN_S);
    rig_gateway_kill(g);
    store_disk_free(g->disk);
    CHECK_OK(store_disk_new(STORE, &g->disk));
    rig_gateway_start(g);
    bus_hub_set_link(rig.hubs[0], "gw-1", BUS_LINK_UP);
    rig_produce(a, 1, 5);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    CHECK_INT(rig_check_all(&rig), 10);
    rig_free(&rig);
}

static void a_gateway_set_back_to_an_old_image_begins_a_new_epoch_and_nothing_is_doubled(void **state)
{
    struct rig rig;
    struct store_disk *image = NULL;
    (void)state;
    rig_new(&rig, 4, 1);
    struct rig_gateway *g = rig_add_gateway(&rig, "gw-1", NULL, STORE);
    struct rig_device *a = rig_add_device(&rig, "a", g);
    rig_start(&rig);
    rig_produce(a, 1, 20);
    rig_produce(a, 0, 3);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    rig_gateway_kill(g);
    CHECK_OK(store_disk_clone(g->disk, &image));
    rig_gateway_start(g);
    rig_produce(a, 1, 20);
    rig_produce(a, 0, 3);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    rig_gateway_kill(g);
    store_disk_free(g->disk);
    g->disk = image;
    rig_gateway_start(g);
    rig_produce(a, 1, 20);
    rig_produce(a, 0, 3);
    struct gateway_stats stats = {0};
    RIG_WAIT(&rig, (gateway_stats(g->gateway, &stats), stats.uplink_rebased == 2), DRAIN_S);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    CHECK_INT(rig_check_all(&rig), 0);
    CHECK_INT(spool_durable(a->spools[1]), 60);
    rig_free(&rig);
}

/* The parent has 40. The image has 20 and grows past 40 before the parent hears of it, over two starts. */
static void an_old_image_that_grew_unheard_over_several_starts_is_found_out(void **state)
{
    struct rig rig;
    struct store_disk *image = NULL;
    (void)state;
    rig_new(&rig, 12, 1);
    struct rig_gateway *g = rig_add_gateway(&rig, "gw-1", NULL, STORE);
    struct rig_device *a = rig_add_device(&rig, "a", g), *b = rig_add_device(&rig, "b", g);
    rig_start(&rig);
    rig_produce(a, 1, 20);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    rig_gateway_kill(g);
    CHECK_OK(store_disk_clone(g->disk, &image));
    rig_gateway_start(g);
    rig_produce(a, 1, 20);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    rig_gateway_kill(g);
    store_disk_free(g->disk);
    g->disk = image;
    bus_hub_set_link(rig.hubs[0], "gw-1", BUS_LINK_DOWN);
    rig_gateway_start(g);
    rig_produce(b, 1, 30);
    RIG_WAIT(&rig, rig_device_drained(b), DRAIN_S);
    rig_gateway_restart(g);
    rig_produce(b, 1, 5);
    RIG_WAIT(&rig, rig_device_drained(b), DRAIN_S);
    bus_hub_set_link(rig.hubs[0], "gw-1", BUS_LINK_UP);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    struct gateway_stats stats;
    gateway_stats(g->gateway, &stats);
    CHECK_INT(stats.uplink_rebased, 1);
    CHECK_INT(rig_check_all(&rig), 0);
    rig_free(&rig);
}

static void a_bridge_set_back_to_an_old_image_feeds_its_sinks_on_without_a_hole(void **state)
{
    struct rig rig;
    struct store_disk *image = NULL;
    (void)state;
    rig_new(&rig, 5, 1);
    struct rig_gateway *g = rig_add_gateway(&rig, "gw-1", NULL, STORE);
    struct rig_device *a = rig_add_device(&rig, "a", g);
    rig_start(&rig);
    rig_produce(a, 1, 20);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    rig_bridge_kill(&rig);
    CHECK_OK(store_disk_clone(rig.bridge.disk, &image));
    rig_bridge_start(&rig);
    rig_produce(a, 1, 20);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    rig_bridge_kill(&rig);
    store_disk_free(rig.bridge.disk);
    rig.bridge.disk = image;
    rig_bridge_start(&rig);
    rig_produce(a, 1, 20);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    struct bridge_stats stats;
    bridge_stats(rig.bridge.bridge, &stats);
    CHECK_INT(stats.rebased, 1);
    CHECK_INT(rig_check_all(&rig), 0);
    CHECK_INT(spool_durable(a->spools[1]), 60);
    rig_free(&rig);
}

static void a_bridge_that_lost_its_store_goes_on_and_the_sink_shows_the_hole(void **state)
{
    struct rig rig;
    (void)state;
    rig_new(&rig, 6, 1);
    struct rig_gateway *g = rig_add_gateway(&rig, "gw-1", NULL, STORE);
    struct rig_device *a = rig_add_device(&rig, "a", g);
    rig_start(&rig);
    rig_produce(a, 1, 20);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    /* Ten that the bridge has acknowledged, and its sink has not. */
    sink_memory_set_mode(rig.sinks[0], SINK_MEMORY_FAILS);
    rig_produce(a, 1, 10);
    RIG_WAIT(&rig, gateway_drained(g->gateway) && rig_device_drained(a), DRAIN_S);
    rig_bridge_kill(&rig);
    store_disk_free(rig.bridge.disk);
    CHECK_OK(store_disk_new(STORE, &rig.bridge.disk));
    sink_memory_set_mode(rig.sinks[0], SINK_MEMORY_OK);
    rig_bridge_start(&rig);
    rig_produce(a, 1, 5);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    CHECK_INT(rig_check_all(&rig), 10);
    rig_free(&rig);
}

static uint64_t rows_in(struct rig *rig, const struct rig_device *d, bool *ret_wrong)
{
    struct rig_found f = {.device = d->id,
                          .epoch = spool_epoch(d->spools[1]),
                          .durable = spool_durable(d->spools[1]),
                          .quiet = true};
    sink_memory_foreach(rig->sinks[0], rig_check_stream, &f);
    *ret_wrong = f.wrong > 0 || f.streams != 1;
    return f.records;
}

/* The sink has the batch, the bridge does not know yet: the instant in which a sink without marks goes wrong. */
static bool killed_between_sink_and_trim(enum sink_memory_mode mode)
{
    struct rig rig;
    bool wrong = false;
    rig_new(&rig, 7, 1);
    struct rig_gateway *g = rig_add_gateway(&rig, "gw-1", NULL, STORE);
    struct rig_device *a = rig_add_device(&rig, "a", g);
    sink_memory_set_mode(rig.sinks[0], mode);
    rig_start(&rig);
    rig_produce(a, 1, 20);
    while (rows_in(&rig, a, &wrong) == 0) {
        CHECK(loop_world_step(rig.world, 60 * SECOND_US));
    }
    struct bridge_stats stats;
    bridge_stats(rig.bridge.bridge, &stats);
    CHECK_INT(stats.sink.batches, 0);
    rig_bridge_restart(&rig);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    (void)rows_in(&rig, a, &wrong);
    rig_free(&rig);
    return !wrong;
}

static void a_kill_between_the_sinks_commit_and_the_trim_doubles_nothing(void **state)
{
    (void)state;
    CHECK(killed_between_sink_and_trim(SINK_MEMORY_OK));
}

static void the_checker_catches_a_sink_without_marks(void **state)
{
    (void)state;
    CHECK(!killed_between_sink_and_trim(SINK_MEMORY_WITHOUT_MARK));
}

static void a_failing_sink_delays_itself_alone_and_holds_the_spool(void **state)
{
    struct rig rig;
    struct bridge_stats stats;
    BUFFER(text, 65536);
    (void)state;
    rig_new(&rig, 8, 2);
    struct rig_gateway *g = rig_add_gateway(&rig, "gw-1", NULL, STORE);
    struct rig_device *a = rig_add_device(&rig, "a", g);
    sink_memory_set_mode(rig.sinks[1], SINK_MEMORY_FAILS);
    rig_start(&rig);
    rig_produce(a, 1, 50);
    RIG_WAIT(&rig, (bridge_stats(rig.bridge.bridge, &stats), stats.sink.position[1] == 50), 60);
    CHECK_INT(rig_check(&rig, 0, a, 1), 0);
    CHECK(!bridge_drained(rig.bridge.bridge));
    bridge_status_json(rig.bridge.bridge, &text);
    buffer_put_u8(&text, 0);
    CHECK_CONTAINS((const char *)text.ptr, "\"state\":\"degraded\"");
    CHECK_CONTAINS((const char *)text.ptr, "sink memory fails: the memory sink was told to fail");
    /* A restart with the one sink still behind: its records are still there. */
    rig_bridge_restart(&rig);
    rig_run(&rig, 5 * SECOND_US);
    sink_memory_set_mode(rig.sinks[1], SINK_MEMORY_OK);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    CHECK_INT(rig_check_all(&rig), 0);
    rig_free(&rig);
}

static void a_failing_disk_of_the_bridge_shows_in_its_status_and_costs_time_only(void **state)
{
    struct rig rig;
    struct bridge_stats stats;
    BUFFER(text, 65536);
    (void)state;
    rig_new(&rig, 12, 1);
    struct rig_gateway *g = rig_add_gateway(&rig, "gw-1", NULL, STORE);
    struct rig_device *a = rig_add_device(&rig, "a", g);
    rig_start(&rig);
    rig_produce(a, 1, 5);
    RIG_WAIT(&rig, (bridge_stats(rig.bridge.bridge, &stats), stats.sink.position[1] == 5), 60);
    store_disk_set_mode(rig.bridge.disk, STORE_DISK_EIO);
    rig_produce(a, 1, 20);
    rig_run(&rig, 3 * SECOND_US);
    bridge_status_json(rig.bridge.bridge, &text);
    buffer_put_u8(&text, 0);
    CHECK_CONTAINS((const char *)text.ptr, "\"state\":\"degraded\"");
    CHECK_CONTAINS((const char *)text.ptr, "the store does not take records: its commits fail");
    store_disk_set_mode(rig.bridge.disk, STORE_DISK_OK);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    CHECK_INT(rig_check_all(&rig), 0);
    buffer_reset(&text);
    bridge_status_json(rig.bridge.bridge, &text);
    buffer_put_u8(&text, 0);
    CHECK_CONTAINS((const char *)text.ptr, "\"state\":\"ok\"");
    rig_free(&rig);
}

static void a_full_gateway_pushes_back_and_frees_itself_when_the_parent_is_back(void **state)
{
    struct rig rig;
    struct gateway_stats stats;
    (void)state;
    rig_new(&rig, 9, 1);
    struct rig_gateway *g = rig_add_gateway(&rig, "gw-1", NULL, 1 << 20);
    struct rig_device *a = rig_add_device(&rig, "a", g);
    rig_start(&rig);
    bus_hub_set_link(rig.hubs[0], "gw-1", BUS_LINK_DOWN);
    for (unsigned i = 0; i < 100; i++) {
        rig_produce(a, 1, 100);
        rig_run(&rig, 100 * MS_US);
    }
    RIG_WAIT(&rig, (gateway_stats(g->gateway, &stats), stats.inbox.full > 0), 60);
    CHECK(!rig_device_drained(a));
    rig_produce(a, 0, 5); /* alarms have a reserve */
    RIG_WAIT(&rig, outbox_acked(a->outboxes[0]) == 5, 60);
    struct store_usage usage;
    store_usage(g->store, &usage);
    CHECK(usage.used_bytes <= usage.cap_bytes);
    rig_gateway_restart(g); /* a start needs room in the full store, too */
    bus_hub_set_link(rig.hubs[0], "gw-1", BUS_LINK_UP);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    CHECK_INT(rig_check_all(&rig), 0);
    rig_free(&rig);
}

static void a_failing_disk_of_the_gateway_costs_time_and_nothing_else(void **state)
{
    struct rig rig;
    (void)state;
    rig_new(&rig, 10, 1);
    struct rig_gateway *g = rig_add_gateway(&rig, "gw-1", NULL, STORE);
    struct rig_device *a = rig_add_device(&rig, "a", g);
    rig_start(&rig);
    rig_produce(a, 1, 20);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    store_disk_set_mode(g->disk, STORE_DISK_EIO);
    rig_produce(a, 1, 20);
    rig_run(&rig, 5 * SECOND_US);
    CHECK_INT(outbox_acked(a->outboxes[1]), 20);
    store_disk_set_mode(g->disk, STORE_DISK_OK);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    CHECK_INT(rig_check_all(&rig), 0);
    rig_free(&rig);
}

static void a_stopped_bridge_and_gateway_have_acknowledged_only_what_they_keep(void **state)
{
    struct rig rig;
    (void)state;
    rig_new(&rig, 11, 1);
    struct rig_gateway *g = rig_add_gateway(&rig, "gw-1", NULL, STORE);
    struct rig_device *a = rig_add_device(&rig, "a", g);
    rig_start(&rig);
    rig_produce(a, 1, 200);
    rig_run(&rig, 15 * MS_US);
    gateway_stop(g->gateway);
    bridge_stop(rig.bridge.bridge);
    RIG_WAIT(&rig, gateway_stopped(g->gateway) && bridge_stopped(rig.bridge.bridge), 10);
    rig_gateway_restart(g);
    rig_bridge_restart(&rig);
    RIG_WAIT(&rig, rig_drained(&rig), DRAIN_S);
    CHECK_INT(rig_check_all(&rig), 0);
    rig_free(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_of_both_lanes_arrive_once_and_in_order),
        cmocka_unit_test(a_record_passes_a_chain_of_gateways_with_its_identity),
        cmocka_unit_test(nothing_is_lost_or_doubled_by_kills_and_bad_links),
        cmocka_unit_test(a_gateway_that_lost_its_store_declares_what_it_may_have_lost),
        cmocka_unit_test(a_gateway_set_back_to_an_old_image_begins_a_new_epoch_and_nothing_is_doubled),
        cmocka_unit_test(an_old_image_that_grew_unheard_over_several_starts_is_found_out),
        cmocka_unit_test(a_bridge_set_back_to_an_old_image_feeds_its_sinks_on_without_a_hole),
        cmocka_unit_test(a_bridge_that_lost_its_store_goes_on_and_the_sink_shows_the_hole),
        cmocka_unit_test(a_kill_between_the_sinks_commit_and_the_trim_doubles_nothing),
        cmocka_unit_test(the_checker_catches_a_sink_without_marks),
        cmocka_unit_test(a_failing_sink_delays_itself_alone_and_holds_the_spool),
        cmocka_unit_test(a_full_gateway_pushes_back_and_frees_itself_when_the_parent_is_back),
        cmocka_unit_test(a_failing_disk_of_the_gateway_costs_time_and_nothing_else),
        cmocka_unit_test(a_failing_disk_of_the_bridge_shows_in_its_status_and_costs_time_only),
        cmocka_unit_test(a_stopped_bridge_and_gateway_have_acknowledged_only_what_they_keep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
