/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a message carries its record's identity in user properties that always fit, topic and payload are as
 * configured, and settings that could not work are refused with the key's name.
 */
#include <cjson/cJSON.h>

#include "cloud-bridge/sink-mqtt/sink_mqtt_internal.h"
#include "tests/support/check.h"
#include "tests/unit/cloud-bridge/sinks/section.h"

struct rig {
    struct sink_reader reader;
    struct buffer topic, payload, record;
    struct mqtt_message message;
    struct wire_forward forward;
};

static int start(void **state)
{
    struct rig *r = calloc(1, sizeof(*r));
    CHECK_OK(sink_reader_init(&r->reader));
    buffer_init(&r->topic, 4096);
    buffer_init(&r->payload, 1 << 20);
    buffer_init(&r->record, 4096);
    CHECK_OK(wire_gap_pack(3, 9, WEIR__V1__GAP_REASON__OVERFLOW, 1767225600000000, &r->record));
    r->forward = (struct wire_forward){.device = "pump-7",
                                       .gateway = "gw1",
                                       .epoch = 0xabc,
                                       .first = 3,
                                       .last = 9,
                                       .top = 12,
                                       .lane = 1,
                                       .received_us = 1767225600000000,
                                       .record = buffer_slice(&r->record)};
    *state = r;
    return 0;
}

static int end(void **state)
{
    struct rig *r = *state;
    sink_reader_deinit(&r->reader);
    buffer_deinit(&r->topic);
    buffer_deinit(&r->payload);
    buffer_deinit(&r->record);
    free(r);
    return 0;
}

static void fill(struct rig *r, char *topic, enum mqtt_payload payload, bool replay)
{
    const struct mqtt_settings settings = {.topic = topic, .payload = payload};
    const struct mqtt_place place = {.site = "plant1", .bridge = "bridge1"};
    sink_reader_read(&r->reader, r->forward.record);
    CHECK_OK(mqtt_message_fill(&r->message, &settings, &place, &r->reader, &r->forward, replay, NULL, &r->topic,
                               &r->payload));
}

static const char *property(const struct rig *r, const char *key)
{
    for (size_t i = 0; i < r->message.count; i++) {
        if (strcmp(r->message.properties[i].key, key) == 0) {
            return r->message.properties[i].value;
        }
    }
    return "";
}

static void identity_schema_and_trace_are_in_the_properties(void **state)
{
    struct rig *r = *state;
    char topic[] = "weir/{site}/{bridge}/{gateway}/{device}/{lane}/{kind}";
    fill(r, topic, MQTT_PAYLOAD_PROTOBUF, false);
    CHECK_STR(r->message.topic, "weir/plant1/bridge1/gw1/pump-7/bulk/gap");
    CHECK_STR(property(r, "device"), "pump-7");
    CHECK_STR(property(r, "epoch"), "0000000000000abc");
    CHECK_STR(property(r, "first"), "3");
    CHECK_STR(property(r, "last"), "9");
    CHECK_STR(property(r, "lane"), "bulk");
    CHECK_STR(property(r, "schema"), "1");
    CHECK_STR(property(r, "trace"), "pump-7/0000000000000abc/9");
    CHECK_STR(property(r, "replay"), "");
    struct wire_forward back;
    CHECK_OK(wire_forward_decode(r->message.payload, &back));
    CHECK_INT(back.last, 9);
    CHECK(slice_equal(back.record, r->forward.record));
    fill(r, topic, MQTT_PAYLOAD_PROTOBUF, true);
    CHECK_STR(property(r, "replay"), "1");
}

static void json_says_the_same(void **state)
{
    struct rig *r = *state;
    char topic[] = "{device}";
    fill(r, topic, MQTT_PAYLOAD_JSON, false);
    cJSON *json = cJSON_ParseWithLength((const char *)r->message.payload.ptr, r->message.payload.len);
    CHECK(json != NULL);
    CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItem(json, "epoch")), "0000000000000abc");
    CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItem(json, "kind")), "gap");
    CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItem(json, "reason")), "overflow");
    CHECK_INT(cJSON_GetNumberValue(cJSON_GetObjectItem(json, "first")), 3);
    CHECK_STR(r->message.content_type, "application/json");
    cJSON_Delete(json);
}

static void the_longest_identities_fit(void **state)
{
    struct rig *r = *state;
    char topic[] = "{site}/{gateway}/{device}";
    memset(r->forward.device, 'd', ID_MAX);
    memset(r->forward.gateway, 'g', ID_MAX);
    r->forward.epoch = UINT64_MAX;
    r->forward.last = WIRE_NUMBER_MAX;
    fill(r, topic, MQTT_PAYLOAD_JSON, true);
    CHECK_INT(strlen(property(r, "trace")), ID_MAX + 1 + 16 + 1 + 19);
    CHECK(r->message.count <= MQTT_PROPERTIES_MAX);
    CHECK(mqtt_message_bytes(&r->message) > r->message.payload.len + strlen(r->message.topic) + 4 * ID_MAX);
}

/* ---- settings ---- */
static void settings_that_cannot_work_are_refused_by_their_key(void **state)
{
    (void)state;
    CHECK_STR(PROBLEMS("servers=a:1883,mqtt://b:1883", "insecure=true"), "");
    CHECK_CONTAINS(PROBLEMS("insecure=true"), "servers");
    CHECK_CONTAINS(PROBLEMS("servers=a:8883"), "ca: needed for TLS");
    CHECK_CONTAINS(PROBLEMS("servers=http://a", "insecure=true"), "host:port, with mqtts://");
    CHECK_CONTAINS(PROBLEMS("servers=mqtts://a", "insecure=true"), "insecure says otherwise");
    CHECK_CONTAINS(PROBLEMS("servers=mqtt://a", "ca=/etc/hostname"), "insecure says otherwise");
    CHECK_CONTAINS(PROBLEMS("servers=a", "insecure=true", "topic=weir/#/{device}"), "topic: ");
    CHECK_CONTAINS(PROBLEMS("servers=a", "insecure=true", "topic=weir/{kind}"), "{device} must be in it");
    CHECK_CONTAINS(PROBLEMS("servers=a", "insecure=true", "window=0"), "window");
    CHECK_CONTAINS(PROBLEMS("servers=a", "insecure=true", "cert=/etc/hostname"), "cert: certificate and key");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(identity_schema_and_trace_are_in_the_properties, start, end),
        cmocka_unit_test_setup_teardown(json_says_the_same, start, end),
        cmocka_unit_test_setup_teardown(the_longest_identities_fit, start, end),
        cmocka_unit_test(settings_that_cannot_work_are_refused_by_their_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
