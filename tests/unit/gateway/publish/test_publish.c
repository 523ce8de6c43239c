/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what a subscriber in the plant sees is the newest of what was curated, in time, marked for what it is, and neither
 * a slow broker nor a strange device makes the views hold anything up. In virtual time, with the in-memory broker.
 */
#include "tests/unit/gateway/publish/records.h"

#include <cjson/cJSON.h>

#include "gateway/publish/publish.h"
#include "proto/schema/plant.pb-c.h"
#include "proto/schema/sparkplug_b.pb-c.h"

enum { HEARD_MAX = 4096 };

struct heard {
    char topic[300];
    uint8_t payload[2000];
    size_t len;
    bool retained;
};
struct fixture {
    struct loop_world *world;
    struct bus_hub *hub;
    struct loop *loop, *ear_loop;
    struct bus *plant, *ear;
    struct publish *publish;
    struct heard heard[HEARD_MAX];
    size_t count;
    struct records records;
    uint64_t number;
    unsigned opened;
};
static struct fixture f;

static void on_message(void *arg, struct slice topic, struct slice payload, bool retained)
{
    (void)arg;
    CHECK(f.count < HEARD_MAX && topic.len < sizeof(f.heard[0].topic) && payload.len < sizeof(f.heard[0].payload));
    struct heard *h = &f.heard[f.count++];
    snprintf(h->topic, sizeof(h->topic), "%.*s", (int)topic.len, (const char *)topic.ptr);
    memcpy(h->payload, payload.ptr, payload.len);
    h->payload[payload.len] = 0;
    h->len = payload.len;
    h->retained = retained;
}

static void run(int64_t for_us)
{
    loop_world_run(f.world, loop_world_now_us(f.world) + for_us);
}

static enum err open_bus(void *arg, unsigned n, struct bus **ret_bus)
{
    (void)arg;
    char id[16];
    f.opened++;
    snprintf(id, sizeof(id), "spark-%u", n);
    return bus_new_memory(f.hub, f.loop, id, ret_bus);
}

static void listen(const char *filter)
{
    CHECK_OK(bus_new_memory(f.hub, f.ear_loop, "ear", &f.ear));
    bus_set_handlers(f.ear, &(struct bus_handlers){.on_message = on_message});
    CHECK_OK(bus_subscribe(f.ear, filter, 0));
    CHECK_OK(bus_start(f.ear));
}

static void begin(const struct publish_options *more, const char *filter)
{
    struct publish_options o = *more;
    memset(&f, 0, sizeof(f)); /* larger than the stack */
    CHECK_OK(loop_world_new(1, &f.world));
    CHECK_OK(bus_hub_new(f.world, &f.hub));
    CHECK_OK(loop_new_virtual(f.world, &f.loop));
    CHECK_OK(loop_new_virtual(f.world, &f.ear_loop));
    listen(filter);
    run(SECOND_US);
    CHECK_OK(bus_new_memory(f.hub, f.loop, "gw1", &f.plant));
    o.site = "hall";
    o.gateway = "gw1";
    o.area = "wet";
    o.line = "l1";
    o.software = "0.1";
    if (o.group != NULL) {
        o.open = open_bus;
        o.server_count = o.server_count ? o.server_count : 1;
    }
    CHECK_OK(publish_new(f.loop, f.plant, &o, &f.publish, NULL));
    CHECK_OK(bus_start(f.plant));
    CHECK_OK(publish_start(f.publish));
    run(SECOND_US);
}

static void end(void)
{
    publish_free(f.publish);
    bus_free(f.plant);
    bus_free(f.ear);
    loop_free(f.loop);
    loop_free(f.ear_loop);
    bus_hub_free(f.hub);
    loop_world_free(f.world);
    buffer_deinit(&f.records.bytes);
}

#define UNS "{site}/{area}/{line}/{device}/{metric}"

/* The last that was heard on it, or NULL. */
static const struct heard *last_on(const char *topic)
{
    for (size_t i = f.count; i > 0; i--) {
        if (strcmp(f.heard[i - 1].topic, topic) == 0) {
            return &f.heard[i - 1];
        }
    }
    return NULL;
}

static size_t how_often(const char *topic)
{
    size_t count = 0;
    for (size_t i = 0; i < f.count; i++) {
        count += strcmp(f.heard[i].topic, topic) == 0;
    }
    return count;
}

static const char *text_on(const char *topic)
{
    const struct heard *h = last_on(topic);
    if (h == NULL) {
        fail_msg("nothing was heard on %s", topic);
    }
    return (const char *)h->payload;
}

static void give(const char *device, uint64_t received_us)
{
    publish_record(f.publish, records_forward(&f.records, device, ++f.number, received_us));
}

static uint64_t wall(void)
{
    return (uint64_t)loop_wall_us(f.loop);
}

static uint32_t describe(const char *device, const char *names)
{
    uint32_t set = records_describe(&f.records, names, 0xaf);
    give(device, wall());
    return set;
}

static void row(const char *device, uint32_t set, double a, double b)
{
    const double values[] = {a, b};
    records_block(&f.records, set, 2, 1, values, wall(), 0, WEIR__V1__CLOCK_QUALITY__NTP, false);
    give(device, wall());
}

static void the_newest_value_is_retained_with_all_that_explains_it(void **state)
{
    (void)state;
    begin(&(struct publish_options){.topic = UNS, .interval_us = SECOND_US}, "#");
    CHECK_STR(text_on("hall/wet/l1/gw1/state"), "online");
    uint32_t set = describe("pump", "flow:l/min,temp:degC");
    const double values[] = {1, 2, 3, 20, 21, NAN}; /* the last temperature is missing */
    uint64_t from_us = wall() - 2 * SECOND_US;
    records_block(&f.records, set, 2, 3, values, from_us, SECOND_US, WEIR__V1__CLOCK_QUALITY__NTP, true);
    give("pump", wall());
    run(100 * MS_US);
    cJSON *j = cJSON_Parse(text_on("hall/wet/l1/pump/flow"));
    CHECK(cJSON_GetObjectItem(j, "value")->valuedouble == 3);
    CHECK_STR(cJSON_GetObjectItem(j, "unit")->valuestring, "l/min");
    CHECK(cJSON_GetObjectItem(j, "ts")->valuedouble == (double)((from_us + 2 * SECOND_US) / 1000));
    CHECK_STR(cJSON_GetObjectItem(j, "quality")->valuestring, "good");
    CHECK_STR(cJSON_GetObjectItem(j, "model")->valuestring, "00000000000000af");
    CHECK_STR(cJSON_GetObjectItem(j, "record")->valuestring, "000000000000abcd-2");
    cJSON_Delete(j);
    j = cJSON_Parse(text_on("hall/wet/l1/pump/temp"));
    CHECK(cJSON_GetObjectItem(j, "value")->valuedouble == 21);
    CHECK(cJSON_GetObjectItem(j, "ts")->valuedouble == (double)((from_us + SECOND_US) / 1000));
    cJSON_Delete(j);
    CHECK_STR(text_on("hall/wet/l1/pump/state"), "online");
    f.count = 0;
    bus_free(f.ear);
    listen("#"); /* somebody who comes later */
    run(SECOND_US);
    CHECK_INT(f.count, 4);
    CHECK(last_on("hall/wet/l1/pump/flow")->retained);
    end();
}

static void a_clock_that_is_not_set_is_replaced_by_the_gateways(void **state)
{
    (void)state;
    begin(&(struct publish_options){.topic = UNS}, "#");
    uint32_t set = describe("pump", "flow,temp");
    const double values[] = {1, 2, 3, 4};
    records_block(&f.records, set, 2, 2, values, 5 * SECOND_US, SECOND_US, WEIR__V1__CLOCK_QUALITY__UNSYNCED, false);
    uint64_t received_us = wall() - SECOND_US;
    give("pump", received_us);
    run(SECOND_US);
    cJSON *j = cJSON_Parse(text_on("hall/wet/l1/pump/flow"));
    CHECK_STR(cJSON_GetObjectItem(j, "quality")->valuestring, "uncertain");
    CHECK(cJSON_GetObjectItem(j, "ts")->valuedouble == (double)(received_us / 1000));
    cJSON_Delete(j);
    end();
}

static void a_metric_is_published_once_per_interval_and_the_latest_wins(void **state)
{
    (void)state;
    begin(&(struct publish_options){.topic = UNS, .interval_us = SECOND_US}, "#");
    uint32_t set = describe("pump", "flow,temp");
    for (int i = 0; i < 1000; i++) {
        row("pump", set, i, 5);
        run(10 * MS_US);
    }
    run(2 * SECOND_US);
    size_t count = how_often("hall/wet/l1/pump/flow");
    CHECK(count >= 10 && count <= 12);
    cJSON *j = cJSON_Parse(text_on("hall/wet/l1/pump/flow"));
    CHECK(cJSON_GetObjectItem(j, "value")->valuedouble == 999);
    cJSON_Delete(j);
    struct publish_stats stats;
    publish_stats(f.publish, &stats);
    CHECK_INT(stats.values, 2000);
    CHECK(stats.superseded > 1900);
    end();
}

static void windows_stand_below_their_channel(void **state)
{
    (void)state;
    begin(&(struct publish_options){.topic = UNS}, "#");
    uint32_t set = describe("pump", "flow:l/min,temp");
    records_window(&f.records, set, 0, "minute", 60 * SECOND_US, 5, 7.5, "");
    give("pump", wall());
    records_window(&f.records, set, 1, "minute", 60 * SECOND_US, 5, 7.5, "knock"); /* of a capture: told already */
    give("pump", wall());
    run(SECOND_US);
    cJSON *j = cJSON_Parse(text_on("hall/wet/l1/pump/flow/minute"));
    CHECK(cJSON_GetObjectItem(j, "value")->valuedouble == 7.5);
    CHECK(cJSON_GetObjectItem(j, "count")->valuedouble == 5 && cJSON_GetObjectItem(j, "std")->valuedouble == 2);
    CHECK(cJSON_GetObjectItem(j, "min")->valuedouble == 6.5 && cJSON_GetObjectItem(j, "max")->valuedouble == 8.5);
    CHECK(fabs(cJSON_GetObjectItem(j, "p50")->valuedouble - 7.5) < 0.08);
    CHECK(fabs(cJSON_GetObjectItem(j, "p95")->valuedouble - 8.5) < 0.09);
    CHECK(cJSON_GetObjectItem(j, "p99")->valuedouble <= 8.5);
    CHECK(cJSON_GetObjectItem(j, "length")->valuedouble == 60000);
    CHECK(cJSON_IsFalse(cJSON_GetObjectItem(j, "partial")));
    CHECK_STR(cJSON_GetObjectItem(j, "unit")->valuestring, "l/min");
    cJSON_Delete(j);
    CHECK(last_on("hall/wet/l1/pump/temp/minute") == NULL);
    struct publish_stats stats;
    publish_stats(f.publish, &stats);
    CHECK_INT(stats.captures, 1);
    end();
}

static void protobuf_says_the_same(void **state)
{
    (void)state;
    begin(&(struct publish_options){.topic = UNS, .form = PUBLISH_PROTOBUF}, "hall/wet/l1/pump/#");
    uint32_t set = describe("pump", "flow:l/min,temp");
    row("pump", set, 1.5, 2);
    run(SECOND_US);
    const struct heard *h = last_on("hall/wet/l1/pump/flow");
    CHECK(h != NULL);
    Weir__Plant__V1__Value *v = weir__plant__v1__value__unpack(NULL, h->len, h->payload);
    CHECK(v != NULL && v->value == 1.5 && v->epoch == RECORDS_EPOCH && v->number == 2 && v->model == 0xaf);
    CHECK_STR(v->unit, "l/min");
    CHECK(v->window == NULL);
    weir__plant__v1__value__free_unpacked(v, NULL);
    records_window(&f.records, set, 0, "minute", 60 * SECOND_US, 5, 7.5, "");
    give("pump", wall());
    records_window(&f.records, set, 0, "hour", 60 * SECOND_US, 4, 7.5, "");
    give("pump", wall());
    run(SECOND_US);
    h = last_on("hall/wet/l1/pump/flow/minute");
    CHECK(h != NULL);
    v = weir__plant__v1__value__unpack(NULL, h->len, h->payload);
    CHECK(v != NULL && v->window != NULL && v->window->count == 5 && v->window->quantiles != NULL);
    CHECK(fabs(v->window->quantiles->p50 - 7.5) < 0.08 && v->window->quantiles->p99 <= 8.5);
    weir__plant__v1__value__free_unpacked(v, NULL);
    h = last_on("hall/wet/l1/pump/flow/hour");
    CHECK(h != NULL);
    v = weir__plant__v1__value__unpack(NULL, h->len, h->payload);
    CHECK(v != NULL && v->window != NULL && v->window->count == 4 && v->window->quantiles == NULL);
    weir__plant__v1__value__free_unpacked(v, NULL);
    end();
}

static void names_that_would_meet_in_one_topic_are_told_apart(void **state)
{
    (void)state;
    begin(&(struct publish_options){.topic = UNS}, "#");
    uint32_t set = describe("pump", "a.b,a_b"); /* the one that needs no mapping keeps its name, wherever it stands */
    row("pump", set, 1, 2);
    set = describe("tank", "state,x y");
    row("tank", set, 3, 4);
    run(SECOND_US);
    CHECK_CONTAINS(text_on("hall/wet/l1/pump/a_b"), "\"value\":2");
    CHECK_STR(text_on("hall/wet/l1/tank/state"), "online");
    CHECK_CONTAINS(text_on("hall/wet/l1/tank/x_y"), "\"value\":4");
    unsigned mapped = 0;
    for (size_t i = 0; i < f.count; i++) {
        unsigned digits = 0;
        mapped += sscanf(f.heard[i].topic, "hall/wet/l1/pump/a_b-%4x", &digits) == 1 && strlen(f.heard[i].topic) == 25;
        mapped += sscanf(f.heard[i].topic, "hall/wet/l1/tank/state-%4x", &digits) == 1;
        CHECK(strpbrk(f.heard[i].topic, ". +#") == NULL);
    }
    CHECK_INT(mapped, 2);
    end();
}

static void blocks_without_names_and_broken_records_are_counted_and_left_out(void **state)
{
    (void)state;
    begin(&(struct publish_options){.topic = UNS}, "#");
    row("pump", 77, 1, 2);
    records_window(&f.records, 77, 0, "minute", 1, 5, 7.5, "");
    give("pump", wall());
    uint32_t set = describe("pump", "one"); /* another number of channels than the block's */
    row("pump", set, 1, 2);
    f.records.bytes.len = 5;
    give("pump", wall());
    run(SECOND_US);
    struct publish_stats stats;
    publish_stats(f.publish, &stats);
    CHECK_INT(stats.undescribed, 2);
    CHECK_INT(stats.unreadable, 2);
    CHECK_INT(stats.values, 0);
    end();
}

static void bounds_hold(void **state)
{
    (void)state;
    begin(&(struct publish_options){.topic = UNS, .devices_max = 2, .metrics_max = 3}, "#");
    (void)describe("d1", "a,b");
    uint32_t set = describe("d2", "a,b");
    (void)describe("d3", "a,b");
    row("d2", set, 1, 2);
    row("d3", set, 1, 2);
    run(SECOND_US);
    struct publish_stats stats;
    publish_stats(f.publish, &stats);
    CHECK_INT(stats.devices, 2);
    CHECK_INT(stats.metrics, 3);
    CHECK_INT(stats.refused, 3); /* a channel, a device twice */
    CHECK(last_on("hall/wet/l1/d2/a") != NULL && last_on("hall/wet/l1/d2/b") == NULL);
    char name[32];
    for (int i = 0; i < 1000; i++) { /* a device that changes its mind */
        snprintf(name, sizeof(name), "x%d,y%d", i, i);
        (void)describe("d1", name);
    }
    publish_stats(f.publish, &stats);
    CHECK_INT(stats.metrics, 3);
    end();
}

static void a_broker_that_has_forgotten_everything_is_told_anew(void **state)
{
    (void)state;
    begin(&(struct publish_options){.topic = UNS, .interval_us = SECOND_US}, "#");
    uint32_t set = describe("pump", "flow,temp");
    row("pump", set, 1, 2);
    run(SECOND_US);
    bus_hub_restart(f.hub, SECOND_US);
    run(MINUTE_US);
    f.count = 0;
    bus_free(f.ear);
    listen("#");
    run(SECOND_US);
    CHECK_CONTAINS(text_on("hall/wet/l1/pump/flow"), "\"value\":1");
    CHECK_STR(text_on("hall/wet/l1/pump/state"), "online");
    CHECK_STR(text_on("hall/wet/l1/gw1/state"), "online");
    end();
}

static void what_the_device_is_described_without_is_cleared_and_comes_back_with_a_value(void **state)
{
    (void)state;
    begin(&(struct publish_options){.topic = UNS, .interval_us = SECOND_US}, "#");
    uint32_t set = describe("pump", "flow:l/min,badge");
    row("pump", set, 1, 4711);
    records_window(&f.records, set, 1, "minute", 60 * SECOND_US, 5, 7.5, "");
    give("pump", wall());
    run(2 * SECOND_US);
    CHECK(last_on("hall/wet/l1/pump/badge")->len > 0 && last_on("hall/wet/l1/pump/badge/minute")->len > 0);
    (void)records_redescribed(&f.records, "flow:m3/h", 1, (const double[]){3}, wall());
    give("pump", wall());
    records_window(&f.records, set, 1, "minute", 120 * SECOND_US, 5, 7.5, ""); /* closed under the rules before */
    give("pump", wall());
    run(2 * SECOND_US);
    CHECK_INT(last_on("hall/wet/l1/pump/badge")->len, 0);
    CHECK_INT(last_on("hall/wet/l1/pump/badge/minute")->len, 0);
    CHECK_CONTAINS(text_on("hall/wet/l1/pump/flow"), "\"value\":3,\"unit\":\"m3/h\"");
    bus_free(f.ear);
    f.count = 0;
    listen("#");
    run(SECOND_US);
    CHECK(last_on("hall/wet/l1/pump/badge") == NULL && last_on("hall/wet/l1/pump/badge/minute") == NULL);
    CHECK(last_on("hall/wet/l1/pump/flow") != NULL);
    (void)records_redescribed(&f.records, "flow:l/min,badge", 2, (const double[]){5, 4712}, wall());
    give("pump", wall());
    run(2 * SECOND_US);
    CHECK_CONTAINS(text_on("hall/wet/l1/pump/badge"), "\"value\":4712");
    CHECK_CONTAINS(text_on("hall/wet/l1/pump/flow"), "\"value\":5,\"unit\":\"l/min\"");
    CHECK(last_on("hall/wet/l1/pump/badge/minute") == NULL);
    struct publish_stats stats;
    publish_stats(f.publish, &stats);
    CHECK_INT(stats.cleared, 2);
    CHECK_INT(stats.undescribed, 0);
    end();
}

static void what_was_cleared_is_cleared_again_on_a_new_session(void **state)
{
    (void)state;
    begin(&(struct publish_options){.topic = UNS}, "#");
    uint32_t set = describe("pump", "flow,badge");
    row("pump", set, 1, 4711);
    run(SECOND_US);
    (void)records_redescribed(&f.records, "flow", 1, NULL, 0); /* names alone: nothing else was left */
    give("pump", wall());
    run(SECOND_US);
    CHECK_INT(last_on("hall/wet/l1/pump/badge")->len, 0);
    struct publish_stats stats;
    bus_hub_restart(f.hub, SECOND_US);
    run(MINUTE_US);
    publish_stats(f.publish, &stats);
    CHECK_INT(stats.cleared, 2);
    end();
}

static void whoever_goes_is_said_to_be_offline(void **state)
{
    (void)state;
    begin(&(struct publish_options){.topic = UNS}, "#");
    uint32_t set = describe("pump", "flow,temp");
    row("pump", set, 1, 2);
    publish_device_state(f.publish, "never-heard-of", true);
    run(SECOND_US);
    CHECK_STR(text_on("hall/wet/l1/never-heard-of/state"), "online");
    publish_device_state(f.publish, "pump", false);
    run(SECOND_US);
    CHECK_STR(text_on("hall/wet/l1/pump/state"), "offline");
    row("pump", set, 3, 4); /* who sends is there */
    run(SECOND_US);
    CHECK_STR(text_on("hall/wet/l1/pump/state"), "online");
    /* a device behind a gateway below goes with it */
    records_describe(&f.records, "a,b", 0);
    struct wire_forward *w = records_forward(&f.records, "far", 1, wall());
    snprintf(w->gateway, sizeof(w->gateway), "gw2");
    publish_record(f.publish, w);
    publish_device_state(f.publish, "far", true);
    publish_device_state(f.publish, "gw2", false);
    run(SECOND_US);
    CHECK_STR(text_on("hall/wet/l1/far/state"), "offline");
    publish_stop(f.publish);
    run(SECOND_US);
    CHECK_STR(text_on("hall/wet/l1/gw1/state"), "offline");
    CHECK_STR(text_on("hall/wet/l1/pump/state"), "offline");
    end();
    begin(&(struct publish_options){.topic = UNS}, "#");
    bus_hub_set_link(f.hub, "gw1", BUS_LINK_DOWN); /* killed: the will */
    run(SECOND_US);
    CHECK_STR(text_on("hall/wet/l1/gw1/state"), "offline");
    bus_hub_set_link(f.hub, "gw1", BUS_LINK_UP);
    run(MINUTE_US);
    CHECK_STR(text_on("hall/wet/l1/gw1/state"), "online");
    end();
}

static void a_session_that_takes_nothing_holds_nothing_up(void **state)
{
    (void)state;
    begin(&(struct publish_options){.topic = UNS}, "#");
    uint32_t set = describe("pump", "flow,temp");
    bus_hub_set_link(f.hub, "gw1", BUS_LINK_SILENT);
    for (int i = 0; i < 20000; i++) {
        row("pump", set, i, -i);
        run(MS_US);
    }
    bus_hub_set_link(f.hub, "gw1", BUS_LINK_UP);
    run(2 * MINUTE_US);
    CHECK_CONTAINS(text_on("hall/wet/l1/pump/flow"), "\"value\":19999");
    struct publish_stats stats;
    publish_stats(f.publish, &stats);
    CHECK_INT(stats.records, 20001);
    end();
}

static void records_for_which_there_is_no_time_are_passed_over_but_descriptions_are_read(void **state)
{
    (void)state;
    struct loop *loop; /* a real one: virtual time does not pass inside of a call */
    struct bus *bus;
    struct publish *p;
    struct publish_stats stats;
    struct records r = {0}, names = {0};
    CHECK_OK(loop_new(&loop));
    CHECK_OK(bus_new(BUS_NATIVE, loop, &(struct bus_options){.host = "127.0.0.1", .port = 1, .client_id = "gw1"}, &bus, NULL));
    struct publish_options o = {.site = "hall", .gateway = "gw1", .topic = "{site}/{device}/{metric}"};
    CHECK_OK(publish_new(loop, bus, &o, &p, NULL));
    uint64_t now_us = (uint64_t)loop_wall_us(loop);
    uint32_t set = records_describe(&names, "flow,temp", 0);
    publish_record(p, records_forward(&names, "pump", 1, now_us));
    static double values[2 * 1000];
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        values[i] = (double)(i * 7919 % 1000);
    }
    records_block(&r, set, 2, 1000, values, now_us, 1000, WEIR__V1__CLOCK_QUALITY__NTP, false);
    int64_t until_us = loop_fresh_now_us(loop) + 30 * SECOND_US;
    do {
        publish_record(p, records_forward(&r, "pump", 2, now_us));
        publish_stats(p, &stats);
    } while (stats.passed_over == 0 && loop_fresh_now_us(loop) < until_us);
    CHECK(stats.passed_over > 0);
    CHECK(stats.records > 1);
    publish_record(p, records_forward(&names, "tank", 1, now_us));
    publish_stats(p, &stats);
    CHECK_INT(stats.devices, 2);
    publish_free(p);
    bus_free(bus);
    loop_free(loop);
    buffer_deinit(&r.bytes);
    buffer_deinit(&names.bytes);
}

/* ---- Sparkplug ---- */
static Weir__Sparkplug__Payload *payload_on(const char *topic)
{
    const struct heard *h = last_on(topic);
    if (h == NULL) {
        fail_msg("nothing was heard on %s", topic);
    }
    Weir__Sparkplug__Payload *p = weir__sparkplug__payload__unpack(NULL, h->len, h->payload);
    CHECK(p != NULL);
    return p;
}

static void a_device_is_born_speaks_and_dies_as_a_sparkplug_device(void **state)
{
    (void)state;
    begin(&(struct publish_options){.group = "plant"}, "spBv1.0/#");
    CHECK_INT(how_often("spBv1.0/plant/NBIRTH/gw1"), 1);
    uint32_t set = describe("pump", "flow:l/min,temp");
    run(SECOND_US);
    CHECK_INT(how_often("spBv1.0/plant/DBIRTH/gw1/pump"), 0); /* not seen to be there yet */
    row("pump", set, 1, 2);
    run(SECOND_US);
    Weir__Sparkplug__Payload *p = payload_on("spBv1.0/plant/DBIRTH/gw1/pump");
    CHECK_INT(p->n_metrics, 2);
    CHECK_STR(p->metrics[0]->name, "flow");
    CHECK(p->metrics[0]->double_value == 1);
    weir__sparkplug__payload__free_unpacked(p, NULL);
    CHECK_INT(how_often("spBv1.0/plant/DDATA/gw1/pump"), 0);
    const double rows[] = {5, 6, 7, 2, 2, 3};
    records_block(&f.records, set, 2, 3, rows, wall() - 100 * MS_US, 50 * MS_US, WEIR__V1__CLOCK_QUALITY__NTP, false);
    give("pump", wall());
    run(SECOND_US);
    p = payload_on("spBv1.0/plant/DDATA/gw1/pump");
    CHECK_INT(p->n_metrics, 4); /* three of flow, and the one change of temp */
    CHECK(p->metrics[0]->double_value == 5 && p->metrics[3]->double_value == 3);
    weir__sparkplug__payload__free_unpacked(p, NULL);
    records_window(&f.records, set, 0, "minute", wall() - MINUTE_US, 5, 7.5, "");
    give("pump", wall());
    run(SECOND_US);
    p = payload_on("spBv1.0/plant/DBIRTH/gw1/pump");
    CHECK_INT(p->n_metrics, 7);
    CHECK_STR(p->metrics[2]->name, "flow/minute/mean");
    CHECK_STR(p->metrics[3]->name, "flow/minute/count");
    CHECK_INT(p->metrics[3]->long_value, 5);
    weir__sparkplug__payload__free_unpacked(p, NULL);
    publish_device_state(f.publish, "pump", false);
    run(SECOND_US);
    CHECK_INT(how_often("spBv1.0/plant/DDEATH/gw1/pump"), 1);
    publish_stop(f.publish);
    run(SECOND_US);
    CHECK_INT(how_often("spBv1.0/plant/NDEATH/gw1"), 1); /* said, not willed */
    end();
}

static void what_is_old_when_it_comes_is_historical(void **state)
{
    (void)state;
    begin(&(struct publish_options){.group = "plant", .historical_after_us = 10 * SECOND_US}, "spBv1.0/plant/DDATA/#");
    uint32_t set = describe("pump", "flow,temp");
    row("pump", set, 1, 2);
    run(SECOND_US);
    const double values[] = {3, 4};
    uint64_t now_us = wall();
    records_block(&f.records, set, 2, 1, values, now_us - MINUTE_US, 0, WEIR__V1__CLOCK_QUALITY__NTP, false);
    give("pump", now_us); /* stored on the device */
    run(SECOND_US);
    Weir__Sparkplug__Payload *p = payload_on("spBv1.0/plant/DDATA/gw1/pump");
    CHECK(p->metrics[0]->is_historical);
    weir__sparkplug__payload__free_unpacked(p, NULL);
    row("pump", set, 5, 6);
    run(SECOND_US);
    p = payload_on("spBv1.0/plant/DDATA/gw1/pump");
    CHECK(!p->metrics[0]->is_historical);
    weir__sparkplug__payload__free_unpacked(p, NULL);
    records_block(&f.records, set, 2, 1, values, 7, 0, WEIR__V1__CLOCK_QUALITY__UNSYNCED, false);
    give("pump", wall() - MINUTE_US); /* stored at a gateway; the device knows no time */
    run(SECOND_US);
    p = payload_on("spBv1.0/plant/DDATA/gw1/pump");
    CHECK(p->metrics[0]->is_historical);
    weir__sparkplug__payload__free_unpacked(p, NULL);
    end();
}

static void say_state(const char *host, bool online, uint64_t ms)
{
    char topic[64], payload[100];
    snprintf(topic, sizeof(topic), "spBv1.0/STATE/%s", host);
    snprintf(payload, sizeof(payload), "{\"online\":%s,\"timestamp\":%llu}", online ? "true" : "false",
             (unsigned long long)ms);
    CHECK_OK(bus_publish(f.ear, slice_str(topic), slice_str(payload), 0, true));
}

static void a_node_waits_for_its_host_and_walks_from_server_to_server(void **state)
{
    (void)state;
    begin(&(struct publish_options){.group = "plant", .host = "scada", .server_count = 2}, "spBv1.0/plant/#");
    run(10 * SECOND_US);
    CHECK_INT(f.count, 0);
    CHECK_INT(f.opened, 1);
    run(MINUTE_US);
    CHECK(f.opened > 2); /* nobody there: it looks at the other one, and here again */
    say_state("scada", true, 1000);
    run(SECOND_US);
    CHECK_INT(how_often("spBv1.0/plant/NBIRTH/gw1"), 1);
    unsigned opened = f.opened;
    f.count = 0;
    say_state("scada", false, 2000);
    run(500 * MS_US);
    CHECK_INT(how_often("spBv1.0/plant/NDEATH/gw1"), 1);
    run(5 * SECOND_US);
    CHECK(f.opened > opened);
    CHECK_INT(how_often("spBv1.0/plant/NBIRTH/gw1"), 0);
    say_state("scada", true, 3000);
    run(20 * SECOND_US);
    CHECK_INT(how_often("spBv1.0/plant/NBIRTH/gw1"), 1);
    Weir__Sparkplug__Payload *p = payload_on("spBv1.0/plant/NBIRTH/gw1");
    struct publish_stats stats;
    publish_stats(f.publish, &stats);
    CHECK_INT(p->metrics[0]->long_value, stats.edge.bd_seq);
    CHECK(stats.moves > 2 && stats.state == EDGE_ONLINE);
    weir__sparkplug__payload__free_unpacked(p, NULL);
    end();
}

static void a_lost_session_is_declared_dead_by_its_will_and_born_again(void **state)
{
    (void)state;
    begin(&(struct publish_options){.group = "plant"}, "spBv1.0/#");
    bus_hub_set_link(f.hub, "spark-0", BUS_LINK_DOWN);
    run(SECOND_US);
    Weir__Sparkplug__Payload *p = payload_on("spBv1.0/plant/NDEATH/gw1");
    CHECK_INT(p->metrics[0]->long_value, 0);
    weir__sparkplug__payload__free_unpacked(p, NULL);
    bus_hub_set_link(f.hub, "spark-0", BUS_LINK_UP);
    run(MINUTE_US);
    p = payload_on("spBv1.0/plant/NBIRTH/gw1");
    CHECK_INT(p->metrics[0]->long_value, 1);
    weir__sparkplug__payload__free_unpacked(p, NULL);
    BUFFER(json, 4096);
    publish_json(f.publish, &json);
    buffer_put_u8(&json, 0);
    cJSON *j = cJSON_Parse((const char *)json.ptr);
    CHECK_STR(cJSON_GetObjectItem(cJSON_GetObjectItem(j, "sparkplug"), "state")->valuestring, "online");
    CHECK(cJSON_IsNull(cJSON_GetObjectItem(j, "namespace")));
    cJSON_Delete(j);
    end();
}

static void options_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct loop *loop;
    struct loop_world *world;
    struct bus_hub *hub;
    struct bus *bus;
    struct publish *p = NULL;
    struct fault fault = {.code = OK};
    CHECK_OK(loop_world_new(1, &world));
    CHECK_OK(loop_new_virtual(world, &loop));
    CHECK_OK(bus_hub_new(world, &hub));
    CHECK_OK(bus_new_memory(hub, loop, "gw1", &bus));
    struct publish_options o = {.site = "hall", .gateway = "gw1", .topic = "x/{metric}"};
    CHECK_ERR(publish_new(loop, bus, &o, &p, &fault), ERR_RANGE);
    o = (struct publish_options){.site = "hall", .gateway = "gw1", .group = "a+b", .open = open_bus, .server_count = 1};
    CHECK_ERR(publish_new(loop, bus, &o, &p, &fault), ERR_RANGE);
    CHECK_CONTAINS(fault.text, "a+b");
    o = (struct publish_options){.site = "hall", .gateway = "gw1", .group = "g", .open = open_bus};
    CHECK_ERR(publish_new(loop, bus, &o, &p, &fault), ERR_RANGE);
    bus_free(bus);
    loop_free(loop);
    bus_hub_free(hub);
    loop_world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_value_is_retained_with_all_that_explains_it),
        cmocka_unit_test(a_clock_that_is_not_set_is_replaced_by_the_gateways),
        cmocka_unit_test(a_metric_is_published_once_per_interval_and_the_latest_wins),
        cmocka_unit_test(windows_stand_below_their_channel),
        cmocka_unit_test(protobuf_says_the_same),
        cmocka_unit_test(names_that_would_meet_in_one_topic_are_told_apart),
        cmocka_unit_test(blocks_without_names_and_broken_records_are_counted_and_left_out),
        cmocka_unit_test(bounds_hold),
        cmocka_unit_test(a_broker_that_has_forgotten_everything_is_told_anew),
        cmocka_unit_test(what_the_device_is_described_without_is_cleared_and_comes_back_with_a_value),
        cmocka_unit_test(what_was_cleared_is_cleared_again_on_a_new_session),
        cmocka_unit_test(whoever_goes_is_said_to_be_offline),
        cmocka_unit_test(a_session_that_takes_nothing_holds_nothing_up),
        cmocka_unit_test(records_for_which_there_is_no_time_are_passed_over_but_descriptions_are_read),
        cmocka_unit_test(a_device_is_born_speaks_and_dies_as_a_sparkplug_device),
        cmocka_unit_test(what_is_old_when_it_comes_is_historical),
        cmocka_unit_test(a_node_waits_for_its_host_and_walks_from_server_to_server),
        cmocka_unit_test(a_lost_session_is_declared_dead_by_its_will_and_born_again),
        cmocka_unit_test(options_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
