/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a gateway that has no parent tells its plant's subscribers what devices send, who is there and who has gone, and
 * its status what became of it. (With rules, a parent and a real broker: tests/system/subscribers.)
 */
#include "tests/unit/gateway/publish/records.h"

#include "gateway/gatewayd/gatewayd.h"
#include "gateway/publish/publish.h"

#define TEMPLATE "hall/{device}/{metric}"

struct fixture {
    struct loop_world *world;
    struct bus_hub *hub;
    struct loop *loop, *peer_loop;
    struct store_disk *disk;
    struct store *store;
    struct bus *down, *peer;
    struct publish *publish;
    struct gateway *gateway;
    struct records records;
    char state[16], value[300]; /* newest told of pump-7: its state and the flow */
    uint64_t number;
};

static void run(struct fixture *f, int64_t us)
{
    loop_world_run(f->world, loop_world_now_us(f->world) + us);
}

static void on_message(void *arg, struct slice topic, struct slice payload, bool retained)
{
    struct fixture *f = arg;
    (void)retained;
    if (slice_equal(topic, slice_str("hall/pump-7/state"))) {
        snprintf(f->state, sizeof(f->state), "%.*s", (int)payload.len, (const char *)payload.ptr);
    } else if (slice_equal(topic, slice_str("hall/pump-7/flow"))) {
        snprintf(f->value, sizeof(f->value), "%.*s", (int)payload.len, (const char *)payload.ptr);
    }
}

static void start_gateway(struct fixture *f)
{
    struct publish_options views = {.site = "site", .gateway = "gw", .topic = TEMPLATE};
    CHECK_OK(store_open_memory(f->loop, f->disk, GATEWAY_TABLE_COUNT, &f->store));
    CHECK_OK(bus_new_memory(f->hub, f->loop, "gw", &f->down));
    CHECK_OK(publish_new(f->loop, f->down, &views, &f->publish, NULL));
    struct gateway_options options = {.site = "site", .gateway = "gw", .software = "1.2.3",
                                      .offline_after_us = 10 * SECOND_US, .publish = f->publish};
    CHECK_OK(gateway_new(f->loop, f->down, NULL, f->store, &options, &f->gateway, NULL));
    CHECK_OK(publish_start(f->publish));
    CHECK_OK(gateway_start(f->gateway));
    run(f, SECOND_US);
}

static void kill_gateway(struct fixture *f)
{
    bus_free(f->down);
    gateway_free(f->gateway);
    publish_free(f->publish);
    store_close(f->store);
}

static int start(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    CHECK_OK(loop_world_new(3, &f->world));
    CHECK_OK(bus_hub_new(f->world, &f->hub));
    CHECK_OK(loop_new_virtual(f->world, &f->loop));
    CHECK_OK(loop_new_virtual(f->world, &f->peer_loop));
    CHECK_OK(store_disk_new(16 << 20, &f->disk));
    CHECK_OK(bus_new_memory(f->hub, f->peer_loop, "peer", &f->peer));
    bus_set_handlers(f->peer, &(struct bus_handlers){.on_message = on_message, .arg = f});
    CHECK_OK(bus_subscribe(f->peer, "hall/#", 0));
    CHECK_OK(bus_start(f->peer));
    start_gateway(f);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;
    kill_gateway(f);
    bus_free(f->peer);
    buffer_deinit(&f->records.bytes);
    store_disk_free(f->disk);
    loop_free(f->loop);
    loop_free(f->peer_loop);
    bus_hub_free(f->hub);
    loop_world_free(f->world);
    free(f);
    return 0;
}

/* What is in records, as the device's next record. */
static void send(struct fixture *f)
{
    BUFFER(frame, WIRE_FRAME_MAX);
    struct slice body = buffer_slice(&f->records.bytes);
    struct window_header header = {.epoch = 0x77, .first = ++f->number, .last = f->number, .base = 1, .top = f->number,
                                   .boot = 5, .lane = 1, .has_hello = true, .boot_seq = 1};
    CHECK_OK(wire_frame_encode("pump-7", &header, "test", &body, 1, &frame));
    CHECK_OK(bus_publish(f->peer, slice_str("weir/v1/site/gw/pump-7/tele"), buffer_slice(&frame), 0, false));
    run(f, SECOND_US);
}

static void send_value(struct fixture *f, uint32_t set, double value)
{
    records_block(&f->records, set, 1, 1, &value, (uint64_t)loop_wall_us(f->peer_loop), 0,
                  WEIR__V1__CLOCK_QUALITY__NTP, false);
    send(f);
}

static void readings_are_told_without_a_parent_and_described_after_a_start(void **state)
{
    struct fixture *f = *state;
    BUFFER(status, 1 << 20);
    uint32_t set = records_describe(&f->records, "flow:l/min", 0);
    send(f);
    send_value(f, set, 1.5);
    CHECK_CONTAINS(f->value, "{\"value\":1.5,\"unit\":\"l/min\",");
    CHECK_CONTAINS(f->value, "\"record\":\"0000000000000077-2\"}");
    kill_gateway(f);
    start_gateway(f);
    send_value(f, set, 2.5);
    CHECK_CONTAINS(f->value, "{\"value\":2.5,");
    gateway_status_json(f->gateway, &status);
    buffer_put_u8(&status, 0);
    CHECK_CONTAINS((const char *)status.ptr, "\"feed\":{\"behind\":0,\"missed\":0,\"damaged\":0},\"views\":{");
    CHECK_CONTAINS((const char *)status.ptr, "\"undescribed\":0,");
}

static void devices_are_offline_until_they_are_heard_and_when_they_fall_silent(void **state)
{
    struct fixture *f = *state;
    uint32_t set = records_describe(&f->records, "flow:l/min", 0);
    CHECK_STR(f->state, "");
    send(f);
    CHECK_STR(f->state, "online");
    run(f, 20 * SECOND_US);
    CHECK_STR(f->state, "offline");
    send_value(f, set, 1);
    CHECK_STR(f->state, "online");
    kill_gateway(f);
    start_gateway(f);
    CHECK_STR(f->state, "offline");
    send_value(f, set, 2);
    CHECK_STR(f->state, "online");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(readings_are_told_without_a_parent_and_described_after_a_start, start, end),
        cmocka_unit_test_setup_teardown(devices_are_offline_until_they_are_heard_and_when_they_fall_silent, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
