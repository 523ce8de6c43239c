/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a gateway starts only on what is durable, tells truly how it is, and works without a parent until it is full.
 * (Whole hierarchies are in unit/cloud-bridge/bridged/test_chain.)
 */
#include "gateway/gatewayd/gatewayd.h"

#include <cjson/cJSON.h>

#include "proto/topic/topic.h"
#include "proto/wire/wire.h"
#include "tests/support/check.h"

enum { EPOCH = 0x77 };

struct rig {
    struct loop_world *world;
    struct bus_hub *plant, *cloud;
    struct loop *loop, *peer_loop;
    struct store_disk *disk;
    struct store *store;
    struct bus *down, *up, *device, *parent;
    struct gateway *gateway;
    struct wire_ack ack;
    unsigned answers, frames;
    struct wire_frame frame; /* the last one that the parent got */
};

static void run(struct rig *r, int64_t us)
{
    loop_world_run(r->world, loop_world_now_us(r->world) + us);
}

static void on_state(void *arg, enum bus_state state, const char *reason)
{
    (void)arg;
    (void)state;
    (void)reason;
}

static void on_answer(void *arg, struct slice topic, struct slice payload, bool retained)
{
    struct rig *r = arg;
    (void)topic;
    (void)retained;
    CHECK_OK(wire_ack_decode(payload, &r->ack));
    r->answers++;
}

static void on_frame(void *arg, struct slice topic, struct slice payload, bool retained)
{
    static struct wire_entry entries[WIRE_RECORDS_MAX];
    struct rig *r = arg;
    (void)retained;
    CHECK(slice_equal(topic, slice_str("weir/v1/hq/bridge/gw/up")));
    CHECK_OK(wire_frame_decode(payload, true, &r->frame, entries, WIRE_RECORDS_MAX, NULL));
    r->frames++;
}

static void start_gateway(struct rig *r, bool with_parent)
{
    struct gateway_options options = {.site = "site",
                                      .gateway = "gw",
                                      .parent_site = "hq",
                                      .parent = with_parent ? "bridge" : NULL,
                                      .software = "1.2.3",
                                      .offline_after_us = 10 * SECOND_US};
    CHECK_OK(store_open_memory(r->loop, r->disk, GATEWAY_TABLE_COUNT, &r->store));
    CHECK_OK(bus_new_memory(r->plant, r->loop, "gw", &r->down));
    if (with_parent) {
        CHECK_OK(bus_new_memory(r->cloud, r->loop, "gw", &r->up));
    }
    CHECK_OK(gateway_new(r->loop, r->down, r->up, r->store, &options, &r->gateway, NULL));
    CHECK_OK(gateway_start(r->gateway));
}

static void kill_gateway(struct rig *r)
{
    bus_free(r->down);
    bus_free(r->up);
    gateway_free(r->gateway);
    store_close(r->store);
    r->down = r->up = NULL;
}

static int start(void **state)
{
    struct rig *r = calloc(1, sizeof(*r));
    CHECK_OK(loop_world_new(3, &r->world));
    CHECK_OK(bus_hub_new(r->world, &r->plant));
    CHECK_OK(bus_hub_new(r->world, &r->cloud));
    CHECK_OK(loop_new_virtual(r->world, &r->loop));
    loop_set_worker_latency(r->loop, MS_US);
    CHECK_OK(loop_new_virtual(r->world, &r->peer_loop));
    CHECK_OK(store_disk_new(16 << 20, &r->disk));
    CHECK_OK(bus_new_memory(r->plant, r->peer_loop, "device", &r->device));
    bus_set_handlers(r->device, &(struct bus_handlers){.on_message = on_answer, .on_state = on_state, .arg = r});
    CHECK_OK(bus_subscribe(r->device, "weir/v1/site/gw/+/ack", 0));
    CHECK_OK(bus_start(r->device));
    CHECK_OK(bus_new_memory(r->cloud, r->peer_loop, "bridge", &r->parent));
    bus_set_handlers(r->parent, &(struct bus_handlers){.on_message = on_frame, .on_state = on_state, .arg = r});
    CHECK_OK(bus_subscribe(r->parent, "weir/v1/hq/bridge/+/up", 0));
    CHECK_OK(bus_start(r->parent));
    *state = r;
    return 0;
}

static int end(void **state)
{
    struct rig *r = *state;
    kill_gateway(r);
    bus_free(r->device);
    bus_free(r->parent);
    store_disk_free(r->disk);
    loop_free(r->loop);
    loop_free(r->peer_loop);
    bus_hub_free(r->plant);
    bus_hub_free(r->cloud);
    loop_world_free(r->world);
    free(r);
    return 0;
}

static void send_health(struct rig *r, const char *device, uint64_t first, uint64_t count)
{
    struct window_header header = {.epoch = EPOCH,
                                   .first = first,
                                   .last = first + count - 1,
                                   .base = 1,
                                   .top = first + count - 1,
                                   .boot = 5,
                                   .lane = 1,
                                   .has_hello = true,
                                   .boot_seq = 1};
    char topic[TOPIC_MAX + 1];
    struct slice bodies[64];
    BUFFER(frame, WIRE_FRAME_MAX);
    BUFFER(body, 65536);
    Weir__V1__Health health = WEIR__V1__HEALTH__INIT;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    health.wall_us = 1;
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_HEALTH;
    record.health = &health;
    CHECK_OK(wire_record_pack(&record, &body));
    for (uint64_t i = 0; i < count; i++) {
        bodies[i] = buffer_slice(&body);
    }
    CHECK_OK(wire_frame_encode(device, &header, "test", bodies, count, &frame));
    topic_format("site", "gw", device, TOPIC_TELE, topic);
    CHECK_OK(bus_publish(r->device, slice_str(topic), buffer_slice(&frame), 0, false));
    run(r, 100 * MS_US);
}

static void answer_parent(struct rig *r, enum window_verdict verdict, uint64_t hwm)
{
    BUFFER(text, 256);
    struct wire_ack ack = {.epoch = r->frame.header.epoch, .boot = r->frame.header.boot, .hwm = hwm,
                           .lane = r->frame.header.lane, .verdict = verdict};
    wire_ack_encode(&ack, &text);
    CHECK_OK(bus_publish(r->parent, slice_str("weir/v1/hq/bridge/gw/ack"), buffer_slice(&text), 0, false));
    run(r, 50 * MS_US);
}

/* The JSON that write gives, parsed; fails when it is not JSON. */
static cJSON *json_of(struct rig *r, void (*write)(struct gateway *gateway, struct buffer *out))
{
    BUFFER(text, 1 << 20);
    write(r->gateway, &text);
    CHECK_OK(buffer_err(&text));
    cJSON *json = cJSON_ParseWithLength((const char *)text.ptr, text.len);
    CHECK(json != NULL);
    return json;
}

static double number_at(cJSON *json, const char *part, const char *key)
{
    cJSON *item = cJSON_GetObjectItem(cJSON_GetObjectItem(json, part), key);
    CHECK(cJSON_IsNumber(item));
    return cJSON_GetNumberValue(item);
}

static const char *state_of(struct rig *r, char why[200])
{
    static char state[16];
    cJSON *json = json_of(r, gateway_status_json);
    snprintf(state, sizeof(state), "%s", cJSON_GetStringValue(cJSON_GetObjectItem(json, "state")));
    const char *first = cJSON_GetStringValue(cJSON_GetArrayItem(cJSON_GetObjectItem(json, "why"), 0));
    snprintf(why, 200, "%s", first ? first : "");
    cJSON_Delete(json);
    return state;
}

static void the_buses_start_only_when_the_start_is_durable(void **state)
{
    struct rig *r = *state;
    char why[200];
    store_disk_set_mode(r->disk, STORE_DISK_EIO);
    start_gateway(r, true);
    run(r, 5 * SECOND_US);
    CHECK_INT(bus_state(r->down), BUS_DOWN);
    CHECK_STR(state_of(r, why), "degraded");
    CHECK_CONTAINS(why, "the store has not taken the start yet");
    store_disk_set_mode(r->disk, STORE_DISK_OK);
    run(r, 5 * SECOND_US);
    CHECK_INT(bus_state(r->down), BUS_UP);
    CHECK_INT(bus_state(r->up), BUS_UP);
    CHECK_STR(state_of(r, why), "ok");
}

static void each_start_is_counted_and_said_in_the_hello(void **state)
{
    struct rig *r = *state;
    start_gateway(r, true);
    run(r, SECOND_US);
    send_health(r, "a", 1, 1);
    CHECK(r->frames > 0);
    CHECK(r->frame.header.has_hello);
    CHECK_INT(r->frame.header.boot_seq, 1);
    uint32_t boot = r->frame.header.boot;
    uint64_t epoch = r->frame.header.epoch;
    kill_gateway(r);
    r->frames = 0;
    start_gateway(r, true);
    run(r, 5 * SECOND_US);
    CHECK(r->frames > 0);
    CHECK_INT(r->frame.header.boot_seq, 2);
    CHECK(r->frame.header.boot != boot);
    CHECK(r->frame.header.epoch == epoch);
}

static void the_status_counts_what_was_read_committed_and_delivered(void **state)
{
    struct rig *r = *state;
    start_gateway(r, true);
    run(r, SECOND_US);
    send_health(r, "a", 1, 3);
    send_health(r, "b", 1, 2);
    CHECK_INT(r->ack.hwm, 2);
    answer_parent(r, WINDOW_ACCEPT, 4);
    cJSON *json = json_of(r, gateway_status_json);
    CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItem(json, "program")), "gateway");
    CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItem(json, "id")), "gw");
    CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItem(json, "version")), "1.2.3");
    CHECK_INT(number_at(json, "tier", "read"), 5);
    CHECK_INT(number_at(json, "tier", "committed"), 5);
    CHECK_INT(number_at(json, "tier", "sent"), 5);
    CHECK_INT(number_at(json, "tier", "delivered"), 4);
    CHECK_INT(number_at(json, "counters", "devices_online"), 2);
    CHECK(number_at(json, "store", "cap_bytes") > 0);
    CHECK_INT(cJSON_GetArraySize(cJSON_GetObjectItem(json, "links")), 2);
    cJSON_Delete(json);
}

static void the_status_names_the_link_that_is_down(void **state)
{
    struct rig *r = *state;
    char why[200];
    start_gateway(r, true);
    run(r, SECOND_US);
    bus_hub_set_link(r->cloud, "gw", BUS_LINK_DOWN);
    run(r, SECOND_US);
    CHECK_STR(state_of(r, why), "degraded");
    CHECK_CONTAINS(why, "parent");
    bus_hub_set_link(r->cloud, "gw", BUS_LINK_UP);
    run(r, 60 * SECOND_US);
    CHECK_STR(state_of(r, why), "ok");
    bus_hub_set_link(r->plant, "gw", BUS_LINK_DOWN);
    run(r, SECOND_US);
    CHECK_STR(state_of(r, why), "degraded");
    CHECK_CONTAINS(why, "plant");
}

static void the_status_says_what_was_read_again_and_is_not_in_force(void **state)
{
    struct rig *r = *state;
    char why[200];
    start_gateway(r, true);
    run(r, 5 * SECOND_US);
    gateway_tell_reload(r->gateway, "rules not taken: rules.yaml:1:2: no");
    CHECK_STR(state_of(r, why), "degraded");
    CHECK_STR(why, "rules not taken: rules.yaml:1:2: no");
    gateway_tell_reload(r->gateway, NULL);
    CHECK_STR(state_of(r, why), "ok");
}

static void every_key_of_the_status_stands_once(void **state)
{
    struct rig *r = *state;
    start_gateway(r, true);
    run(r, 5 * SECOND_US);
    cJSON *json = json_of(r, gateway_status_json), *uplink = cJSON_GetObjectItem(json, "uplink"), *one, *other;
    CHECK(cJSON_HasObjectItem(uplink, "budget") && cJSON_HasObjectItem(uplink, "bill"));
    cJSON_ArrayForEach(one, uplink)
    {
        for (other = one->next; other != NULL; other = other->next) {
            CHECK(strcmp(one->string, other->string) != 0);
        }
    }
    cJSON_Delete(json);
}

static void the_status_says_that_the_store_takes_nothing_and_forgets_it_when_it_does(void **state)
{
    struct rig *r = *state;
    char why[200];
    start_gateway(r, true);
    run(r, 5 * SECOND_US);
    CHECK_STR(state_of(r, why), "ok");
    store_disk_set_mode(r->disk, STORE_DISK_EIO);
    send_health(r, "pump-7", 1, 3);
    CHECK_STR(state_of(r, why), "degraded");
    CHECK_CONTAINS(why, "the store does not take records: its commits fail");
    store_disk_set_mode(r->disk, STORE_DISK_FULL);
    send_health(r, "pump-7", 1, 3);
    CHECK_CONTAINS(state_of(r, why), "degraded");
    CHECK_CONTAINS(why, "the store does not take records: no room");
    store_disk_set_mode(r->disk, STORE_DISK_OK);
    run(r, 2 * SECOND_US);
    send_health(r, "pump-7", 1, 3);
    CHECK_STR(state_of(r, why), "ok");
}

static void the_status_says_that_the_parent_acknowledges_nothing(void **state)
{
    struct rig *r = *state;
    char why[200];
    start_gateway(r, true);
    run(r, HOUR_US);
    CHECK_STR(state_of(r, why), "ok"); /* nothing waits */
    send_health(r, "pump-7", 1, 3);
    run(r, 28 * SECOND_US);
    CHECK_STR(state_of(r, why), "ok");
    run(r, 12 * SECOND_US);
    CHECK_STR(state_of(r, why), "degraded");
    CHECK_CONTAINS(why, "connected, but the parent bridge has acknowledged nothing for ");
    answer_parent(r, WINDOW_REFUSED, 0);
    CHECK_STR(state_of(r, why), "degraded");
    CHECK_CONTAINS(why, "the parent bridge refuses this gateway's frames");
    answer_parent(r, WINDOW_ACCEPT, 3);
    CHECK_STR(state_of(r, why), "ok");
}

static cJSON *ledger_of(struct rig *r, const char *device)
{
    BUFFER(text, 65536);
    gateway_ledger_json(r->gateway, device, &text);
    cJSON *json = cJSON_ParseWithLength((const char *)text.ptr, text.len);
    CHECK(json != NULL);
    return json;
}

static void the_ledger_has_each_stream_and_the_uplink(void **state)
{
    struct rig *r = *state;
    start_gateway(r, true);
    run(r, SECOND_US);
    send_health(r, "a", 1, 3);
    send_health(r, "b", 1, 2);
    cJSON *all = ledger_of(r, NULL), *one = ledger_of(r, "b");
    CHECK_INT(cJSON_GetArraySize(cJSON_GetObjectItem(all, "streams")), 2);
    CHECK_INT(cJSON_GetArraySize(cJSON_GetObjectItem(all, "uplink")), 2);
    cJSON *streams = cJSON_GetObjectItem(one, "streams");
    CHECK_INT(cJSON_GetArraySize(streams), 1);
    cJSON *b = cJSON_GetArrayItem(streams, 0);
    CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItem(b, "device")), "b");
    CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItem(b, "epoch")), "0000000000000077");
    CHECK_INT(cJSON_GetNumberValue(cJSON_GetObjectItem(b, "hwm")), 2);
    CHECK_INT(cJSON_GetNumberValue(cJSON_GetObjectItem(b, "top")), 2);
    CHECK(cJSON_IsFalse(cJSON_GetObjectItem(b, "closed")));
    cJSON_Delete(all);
    cJSON_Delete(one);
}

static void devices_are_known_again_after_a_restart_and_go_offline_when_silent(void **state)
{
    struct rig *r = *state;
    start_gateway(r, true);
    run(r, SECOND_US);
    send_health(r, "a", 1, 3);
    cJSON *json = json_of(r, gateway_devices_json);
    cJSON *a = cJSON_GetArrayItem(cJSON_GetObjectItem(json, "devices"), 0);
    CHECK(cJSON_IsTrue(cJSON_GetObjectItem(a, "online")));
    CHECK_INT(cJSON_GetNumberValue(cJSON_GetObjectItem(a, "records")), 3);
    CHECK_INT(cJSON_GetNumberValue(cJSON_GetObjectItem(a, "epochs")), 1);
    cJSON_Delete(json);
    run(r, 20 * SECOND_US);
    struct gateway_stats stats;
    gateway_stats(r->gateway, &stats);
    CHECK_INT(stats.devices, 1);
    CHECK_INT(stats.devices_online, 0);
    kill_gateway(r);
    start_gateway(r, true);
    run(r, SECOND_US);
    json = json_of(r, gateway_devices_json);
    a = cJSON_GetArrayItem(cJSON_GetObjectItem(json, "devices"), 0);
    CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItem(a, "device")), "a");
    CHECK(cJSON_IsFalse(cJSON_GetObjectItem(a, "online")));
    CHECK(cJSON_IsNull(cJSON_GetObjectItem(a, "last_seen_s")));
    cJSON_Delete(json);
}

static void without_a_parent_records_stay_and_a_full_store_pushes_back(void **state)
{
    struct rig *r = *state;
    char why[200];
    start_gateway(r, false);
    run(r, SECOND_US);
    uint64_t next = 1;
    for (unsigned i = 0; i < 20000 && r->ack.verdict != WINDOW_FULL; i++) {
        send_health(r, "a", next, 64);
        next = r->ack.hwm + 1;
    }
    CHECK_INT(r->ack.verdict, WINDOW_FULL);
    struct store_usage usage;
    store_usage(r->store, &usage);
    CHECK(usage.used_bytes <= usage.cap_bytes);
    CHECK(usage.used_bytes > usage.cap_bytes / 100 * 80);
    uint64_t hwm = r->ack.hwm;
    CHECK_STR(state_of(r, why), "degraded");
    CHECK_CONTAINS(why, "full");
    kill_gateway(r); /* and it starts full */
    start_gateway(r, false);
    run(r, 5 * SECOND_US);
    CHECK_INT(bus_state(r->down), BUS_UP);
    send_health(r, "a", hwm, 1);
    CHECK_INT(r->ack.verdict, WINDOW_DUPLICATE);
    CHECK_INT(r->ack.hwm, hwm);
    CHECK(gateway_drained(r->gateway));
}

static void the_parents_nonsense_is_counted_and_ignored(void **state)
{
    struct rig *r = *state;
    start_gateway(r, true);
    run(r, SECOND_US);
    send_health(r, "a", 1, 2);
    CHECK_OK(bus_publish(r->parent, slice_str("weir/v1/hq/bridge/gw/ack"), slice_str("\xff\xff"), 0, false));
    answer_parent(r, WINDOW_ACCEPT, 999); /* more than there ever was */
    struct gateway_stats stats;
    gateway_stats(r->gateway, &stats);
    CHECK_INT(stats.uplink_acked[1], 0);
    answer_parent(r, WINDOW_ACCEPT, 2);
    gateway_stats(r->gateway, &stats);
    CHECK_INT(stats.uplink_acked[1], 2);
    CHECK(gateway_drained(r->gateway));
    cJSON *json = json_of(r, gateway_status_json);
    CHECK_INT(number_at(json, "counters", "uplink_bad_acks"), 1);
    cJSON_Delete(json);
}

static void options_that_do_not_go_together_are_refused(void **state)
{
    struct rig *r = *state;
    struct gateway *g = NULL;
    struct fault fault = {.code = OK};
    start_gateway(r, false);
    struct gateway_options options = {.site = "site", .gateway = "not an id", .parent = NULL};
    CHECK_ERR(gateway_new(r->loop, r->down, NULL, r->store, &options, &g, &fault), ERR_RANGE);
    options.gateway = "gw";
    options.parent = "bridge";
    CHECK_ERR(gateway_new(r->loop, r->down, NULL, r->store, &options, &g, &fault), ERR_RANGE);
    CHECK_CONTAINS(fault.text, "parent");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_buses_start_only_when_the_start_is_durable),
        TEST(each_start_is_counted_and_said_in_the_hello),
        TEST(the_status_counts_what_was_read_committed_and_delivered),
        TEST(the_status_names_the_link_that_is_down),
        TEST(the_status_says_that_the_store_takes_nothing_and_forgets_it_when_it_does),
        TEST(the_status_says_that_the_parent_acknowledges_nothing),
        TEST(the_ledger_has_each_stream_and_the_uplink),
        TEST(devices_are_known_again_after_a_restart_and_go_offline_when_silent),
        TEST(without_a_parent_records_stay_and_a_full_store_pushes_back),
        TEST(the_parents_nonsense_is_counted_and_ignored),
        TEST(options_that_do_not_go_together_are_refused),
        TEST(the_status_says_what_was_read_again_and_is_not_in_force),
        TEST(every_key_of_the_status_stands_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
