/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/askcost/askcost.h"

#include "proto/topic/topic.h"

static const char site[] = "plant", gateway[] = "gw-1", device[] = "device-00042", engine[] = "plant/gw-1";

void askcost_names(struct wire_ask *ask)
{
    ask->id = UINT64_C(0x1020304050607080);
    ask->deadline_ms = 250;
    memcpy(ask->site, site, sizeof(site));
    memcpy(ask->gateway, gateway, sizeof(gateway));
    memcpy(ask->device, device, sizeof(device));
}

/* A PUBLISH of QoS 0 (MQTT 3.1.1, section 3.3): head, length, topic. */
static double message_bytes(size_t payload, enum topic_channel channel, double overhead)
{
    char topic[TOPIC_MAX + 1];
    topic_format(site, gateway, device, channel, topic);
    size_t rest = 2 + strlen(topic) + payload;
    return (double)(1 + (rest < 128 ? 1 : rest < 16384 ? 2 : 3) + rest) + overhead;
}

static enum err record_bytes(const char *label, uint64_t window_us, Weir__V1__Asked asked, size_t *ret_len)
{
    uint8_t record[WIRE_INFERENCE_MAX];
    struct wire_inference inference = {.model = UINT64_MAX,
                                       .config = UINT64_MAX,
                                       .wall_us = UINT64_C(1800000000000000),
                                       .mono_us = UINT64_C(400000000000),
                                       .window_us = window_us,
                                       .answer = 3,
                                       .label = label,
                                       .confidence = 0.9F,
                                       .score = 3,
                                       .engine = "",
                                       .asked = asked};
    if (asked == WEIR__V1__ASKED__ASKED_ANSWERED) {
        inference.by = WEIR__V1__ANSWERED_BY__BY_GATEWAY;
        inference.engine = engine;
        inference.own_model = UINT64_MAX;
        inference.own_answer = 2;
        inference.own_confidence = 0.5F;
        inference.took_ms = 45;
    }
    return wire_inference_encode(&inference, record, ret_len);
}

enum err askcost_of(const char *label, uint64_t window_us, size_t ask_bytes, double overhead, struct askcost *ret_cost)
{
    struct wire_answer answer = {.id = UINT64_MAX,
                                 .model = UINT64_MAX,
                                 .status = WEIR__V1__ANSWER_STATUS__ANSWER_GIVEN,
                                 .answer = 3,
                                 .took_us = 300,
                                 .confidence = 0.99F,
                                 .score = 5};
    size_t plain = 0, asked = 0;
    BUFFER(message, WIRE_ANSWER_MAX);
    memcpy(answer.device, device, sizeof(device));
    memcpy(answer.engine, engine, sizeof(engine));
    TRY(wire_answer_encode(&answer, &message));
    TRY(record_bytes(label, window_us, WEIR__V1__ASKED__NOT_ASKED, &plain));
    TRY(record_bytes(label, window_us, WEIR__V1__ASKED__ASKED_ANSWERED, &asked));
    *ret_cost = (struct askcost){.record = (double)plain,
                                 .longer_record = (double)asked - (double)plain,
                                 .ask = message_bytes(ask_bytes, TOPIC_ASK, overhead),
                                 .answer = message_bytes(message.len, TOPIC_ANSWER, overhead)};
    return OK;
}
