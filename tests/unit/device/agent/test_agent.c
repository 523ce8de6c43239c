/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the agent samples in rhythm, watches its limit, stops when told, and shows the operator how it is.
 */
#include "device/agent/agent.h"

#include <math.h>

#include <cjson/cJSON.h>

#include "core/base/buffer.h"
#include "device/agent/agent_internal.h"
#include "tests/support/check.h"
#include "tests/unit/device/report/rig.h"

static uint64_t some_rss(void)
{
    return 123456;
}

static struct agent_stats agent_figures(const struct rig *rig)
{
    struct agent_stats stats;
    agent_stats(rig->agent, &stats);
    return stats;
}

static void samples_keep_their_rhythm(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    rig->options.period_us = 100 * MS_US;
    rig_start(rig);
    rig_run(rig, 100 * SECOND_US + 50 * MS_US);
    CHECK_INT(rig_stats(rig).samples, 1001);
    CHECK_INT(agent_figures(rig).missed, 0);
    rig_free(rig);
}

static void a_device_that_slept_skips_and_counts(void **state)
{
    (void)state;
    uint64_t missed = 99;
    CHECK_INT(agent_next_due(1000, 1000, 100, &missed), 1100);
    CHECK_INT(missed, 0);
    CHECK_INT(agent_next_due(1000, 2099, 100, &missed), 1100); /* up to ten periods late: one after the other */
    CHECK_INT(missed, 0);
    CHECK_INT(agent_next_due(1000, 2100, 100, &missed), 2200);
    CHECK_INT(missed, 11);
    CHECK_INT(agent_next_due(1000, 1000 + DAY_US + 50, 100, &missed), 1000 + DAY_US + 100);
    CHECK_INT(missed, DAY_US / 100);
}

static void a_new_period_is_in_force_at_once(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    rig_start(rig);
    rig_run(rig, 10 * SECOND_US + 100 * MS_US);
    uint64_t before = rig_stats(rig).samples;
    agent_set_period(rig->agent, 2 * SECOND_US);
    rig_run(rig, 20 * SECOND_US);
    CHECK_INT(rig_stats(rig).samples - before, 11);
    rig_run(rig, 5 * SECOND_US);
    struct rig_stream *s = rig_current(rig, 1);
    rig_expect_whole(s);
    CHECK_INT(s->records[1].period_us, SECOND_US);
    CHECK_INT(s->records[s->count - 1].period_us, 2 * SECOND_US);
    rig_free(rig);
}

static void a_limit_is_told_when_it_is_left_and_when_the_value_is_back(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    rig->sense_options = (struct sense_options){.driver = "pump", .seed = 3, .fault = "wear"};
    rig->options.limit = (struct agent_limit){.channel = "vibration_rms", .above = 4, .below = -HUGE_VAL};
    rig_start(rig);
    rig_run(rig, 2 * HOUR_US + 10 * MINUTE_US); /* two cycles of wear */
    struct rig_stream *alarms = rig_current(rig, 0);
    const struct rig_record *out = rig_event(alarms, "limit-exceeded", 0);
    const struct rig_record *back = rig_event(alarms, "limit-returned", 0);
    CHECK(out != NULL && back != NULL);
    CHECK(out->value > 4 && back->value <= 4);
    CHECK(out->first < back->first);
    CHECK_INT(out->severity, WEIR__V1__SEVERITY__ALARM);
    uint64_t exceeded = 0, returned = 0;
    while (rig_event(alarms, "limit-exceeded", exceeded) != NULL) {
        exceeded++;
    }
    while (rig_event(alarms, "limit-returned", returned) != NULL) {
        returned++;
    }
    CHECK(exceeded == returned || exceeded == returned + 1);
    CHECK_INT(agent_figures(rig).limit_alarms, exceeded);
    CHECK_INT(rig->refused_records, 0);
    rig_free(rig);
}

static void a_limit_can_be_changed_while_running(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    rig_start(rig);
    rig_run(rig, 10 * SECOND_US);
    CHECK(rig_current(rig, 0) == NULL);
    CHECK_ERR(agent_set_limit(rig->agent, &(struct agent_limit){.channel = "nowhere"}), ERR_RANGE);
    CHECK_OK(agent_set_limit(rig->agent, &(struct agent_limit){.channel = "pattern_0", .above = -2e6, .below = -3e6}));
    rig_run(rig, 10 * SECOND_US);
    CHECK(rig_event(rig_current(rig, 0), "limit-exceeded", 0) != NULL);
    CHECK(rig_event(rig_current(rig, 0), "limit-exceeded", 1) == NULL);
    rig_free(rig);
}

static void the_agent_stops_after_so_many_samples_and_drains(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    rig->options.stop_after_samples = 10;
    rig_start(rig);
    rig_run(rig, MINUTE_US);
    CHECK(agent_stopped(rig->agent));
    CHECK(report_drained(agent_report(rig->agent)));
    CHECK_INT(rig_stats(rig).samples, 10);
    CHECK_ERR(agent_sample_now(rig->agent), ERR_AGAIN);
    CHECK_INT(rig_count(rig_current(rig, 1), WEIR__V1__RECORD__KIND_BLOCK), 3);
    rig_expect_whole(rig_current(rig, 1));
    rig_free(rig);
}

static void health_comes_in_its_own_period_and_the_start_is_told_first(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    rig->options.health_period_us = 10 * SECOND_US;
    rig->options.rss_bytes = some_rss;
    rig->options.start_event = (struct agent_start_event){.id = "store-quarantined", .text = "set aside as x"};
    rig_start(rig);
    rig_run(rig, 105 * SECOND_US);
    struct rig_stream *bulk = rig_current(rig, 1);
    size_t health = rig_count(bulk, WEIR__V1__RECORD__KIND_HEALTH);
    CHECK(health == 9 || health == 10);
    for (size_t i = 0; i < bulk->count; i++) {
        CHECK(bulk->records[i].kind != WEIR__V1__RECORD__KIND_HEALTH || bulk->records[i].rss_bytes == 123456);
    }
    CHECK(rig_event(rig_current(rig, 0), "store-quarantined", 0) != NULL);
    CHECK(rig_event(rig_current(rig, 0), "store-quarantined", 1) == NULL);
    rig_expect_whole(bulk);
    rig_free(rig);
}

static cJSON *parse(struct buffer *text)
{
    CHECK_OK(buffer_err(text));
    cJSON *json = cJSON_ParseWithLength((const char *)text->ptr, text->len);
    CHECK(json != NULL);
    return json;
}

static double number(const cJSON *json, const char *object, const char *name)
{
    const cJSON *at = object ? cJSON_GetObjectItem(json, object) : json;
    const cJSON *item = cJSON_GetObjectItem(at, name);
    CHECK(cJSON_IsNumber(item));
    return item->valuedouble;
}

static void status_and_ledger_say_what_is_so(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    rig_start(rig);
    rig_run(rig, 100 * SECOND_US);
    BUFFER(text, 64 * 1024);
    agent_status_json(rig->agent, &text);
    cJSON *status = parse(&text);
    CHECK_STR(cJSON_GetObjectItem(status, "program")->valuestring, "device");
    CHECK_STR(cJSON_GetObjectItem(status, "id")->valuestring, "dev-1");
    CHECK_STR(cJSON_GetObjectItem(status, "site")->valuestring, "sim");
    CHECK_STR(cJSON_GetObjectItem(status, "state")->valuestring, "ok");
    CHECK_INT(cJSON_GetArraySize(cJSON_GetObjectItem(status, "why")), 0);
    CHECK_INT(number(status, NULL, "uptime_s"), 100);
    struct report_stats stats = rig_stats(rig);
    CHECK_INT(number(status, "tier", "read"), stats.lane[0].durable + stats.lane[1].durable);
    CHECK_INT(number(status, "tier", "committed"), stats.lane[0].acked + stats.lane[1].acked);
    CHECK_INT(number(status, "counters", "samples"), stats.samples);
    CHECK(number(status, "store", "cap_bytes") > 0);
    cJSON_Delete(status);

    buffer_reset(&text);
    agent_ledger_json(rig->agent, &text);
    cJSON *ledger = parse(&text), *streams = cJSON_GetObjectItem(ledger, "streams");
    CHECK_INT(cJSON_GetArraySize(streams), 2);
    const cJSON *bulk = cJSON_GetArrayItem(streams, 1);
    char epoch[20];
    snprintf(epoch, sizeof epoch, "%016llx", (unsigned long long)stats.lane[1].epoch);
    CHECK_STR(cJSON_GetObjectItem(bulk, "epoch")->valuestring, epoch);
    CHECK_INT(number(bulk, NULL, "durable"), stats.lane[1].durable);
    CHECK_INT(number(bulk, NULL, "acked"), stats.lane[1].acked);
    cJSON_Delete(ledger);
    rig_free(rig);
}

static void a_device_without_broker_says_that_it_is_degraded_and_how_long_it_lasts(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    rig->options.report.bulk_bytes = 1 << 20;
    bus_hub_set_link(rig->hub, "dev-1", BUS_LINK_DOWN);
    rig_start(rig);
    rig_run(rig, HOUR_US);
    BUFFER(text, 64 * 1024);
    agent_status_json(rig->agent, &text);
    cJSON *status = parse(&text);
    CHECK_STR(cJSON_GetObjectItem(status, "state")->valuestring, "degraded");
    CHECK_STR(cJSON_GetArrayItem(cJSON_GetObjectItem(status, "why"), 0)->valuestring, "not connected to the broker");
    struct report_stats stats = rig_stats(rig);
    double rate = (double)stats.lane[1].bytes / 3600;
    double lasts = (double)((1 << 20) - stats.lane[1].bytes) / rate;
    double told = number(status, "counters", "buffer_lasts_s");
    CHECK(told > 0.95 * lasts && told < 1.05 * lasts);
    cJSON_Delete(status);
    rig_free(rig);
}

/* The first reason why the device is degraded; "" when it is ok. */
static const char *first_why(const struct rig *rig)
{
    static char why[REPORT_WHY_MAX];
    BUFFER(text, 64 * 1024);
    agent_status_json(rig->agent, &text);
    cJSON *status = parse(&text);
    const char *first = cJSON_GetStringValue(cJSON_GetArrayItem(cJSON_GetObjectItem(status, "why"), 0));
    snprintf(why, sizeof why, "%s", first ? first : "");
    CHECK_STR(cJSON_GetObjectItem(status, "state")->valuestring, why[0] ? "degraded" : "ok");
    cJSON_Delete(status);
    return why;
}

static void silence_the_receiver(struct rig *rig)
{
    rig->lose_acks = 1u << 30;
    rig->answers = 1;
}

static void answer_as_the_gateway(struct rig *rig, enum window_verdict verdict)
{
    const struct rig_stream *s = rig_current(rig, 1);
    const struct wire_ack ack = {
        .epoch = s->epoch, .boot = s->window.boot, .lane = 1, .hwm = 0, .verdict = verdict};
    BUFFER(out, 256);
    wire_ack_encode(&ack, &out);
    CHECK_OK(bus_publish(rig->receiver_bus, slice_str("weir/v1/sim/gw/dev-1/ack"), buffer_slice(&out), 0, false));
    rig_run(rig, SECOND_US);
}

static void a_device_that_is_connected_and_not_heard_says_so_until_it_is(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    rig_start(rig);
    rig_run(rig, 60 * SECOND_US);
    CHECK_STR(first_why(rig), "");
    silence_the_receiver(rig);
    rig_run(rig, 29 * SECOND_US);
    CHECK_STR(first_why(rig), "");
    rig_run(rig, 13 * SECOND_US);
    CHECK_CONTAINS(first_why(rig), "connected, but the gateway gw has acknowledged nothing for ");
    CHECK_CONTAINS(first_why(rig), "does the broker let us publish");
    bus_hub_set_link(rig->hub, "dev-1", BUS_LINK_DOWN); /* then this is the reason, and the only one */
    rig_run(rig, SECOND_US);
    CHECK_STR(first_why(rig), "not connected to the broker");
    bus_hub_set_link(rig->hub, "dev-1", BUS_LINK_UP);
    rig_run(rig, 2 * MINUTE_US);
    CHECK_CONTAINS(first_why(rig), "acknowledged nothing");
    rig->lose_acks = 0;
    rig_run(rig, MINUTE_US);
    CHECK_STR(first_why(rig), "");
    rig_free(rig);
}

static void a_device_that_is_refused_says_so(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    rig_start(rig);
    rig_run(rig, 10 * SECOND_US);
    silence_the_receiver(rig);
    rig_run(rig, 45 * SECOND_US);
    answer_as_the_gateway(rig, WINDOW_REFUSED);
    CHECK_CONTAINS(first_why(rig), "the gateway gw refuses this device's frames");
    answer_as_the_gateway(rig, WINDOW_FULL);
    CHECK_CONTAINS(first_why(rig), "the gateway gw has no room");
    rig_free(rig);
}

static void a_device_with_nothing_to_send_is_not_unheard(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    rig->options.stop_after_samples = 10;
    rig_start(rig);
    rig_run(rig, MINUTE_US);
    silence_the_receiver(rig);
    rig_run(rig, HOUR_US);
    CHECK_STR(first_why(rig), "");
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_keep_their_rhythm),
        cmocka_unit_test(a_device_that_slept_skips_and_counts),
        cmocka_unit_test(a_new_period_is_in_force_at_once),
        cmocka_unit_test(a_limit_is_told_when_it_is_left_and_when_the_value_is_back),
        cmocka_unit_test(a_limit_can_be_changed_while_running),
        cmocka_unit_test(the_agent_stops_after_so_many_samples_and_drains),
        cmocka_unit_test(health_comes_in_its_own_period_and_the_start_is_told_first),
        cmocka_unit_test(status_and_ledger_say_what_is_so),
        cmocka_unit_test(a_device_without_broker_says_that_it_is_degraded_and_how_long_it_lasts),
        cmocka_unit_test(a_device_that_is_connected_and_not_heard_says_so_until_it_is),
        cmocka_unit_test(a_device_that_is_refused_says_so),
        cmocka_unit_test(a_device_with_nothing_to_send_is_not_unheard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
