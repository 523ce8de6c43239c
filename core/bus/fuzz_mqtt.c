/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes what a broker can send: a stream of packets through the splitter and every reader, as a session would. Checks
 * what callers rely on: views lie inside the packet, sizes add up, accepted topics are topics, and a PUBLISH that was
 * read comes out the same when it is written and read again. Each packet is read as of both versions.
 */
#include <assert.h>

#include "core/bus/mqtt.h"
#include "core/bus/mqtt5.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LIMIT_BYTES = 4096 };

static void check_inside(struct slice outer, struct slice inner)
{
    assert(inner.len == 0 || (inner.ptr >= outer.ptr && inner.ptr + inner.len <= outer.ptr + outer.len));
}

static void check_again(const struct mqtt_publish *p)
{
    BUFFER(out, 2 * LIMIT_BYTES);
    mqtt_put_publish(&out, p);
    assert(buffer_err(&out) == OK);
    struct mqtt_packet packet;
    struct mqtt_publish q;
    assert(mqtt_next(buffer_slice(&out), 2 * LIMIT_BYTES, &packet) == OK && packet.size == out.len);
    assert(mqtt_read_publish(&packet, &q) == OK);
    assert(slice_equal(p->topic, q.topic) && slice_equal(p->payload, q.payload));
    assert(p->id == q.id && p->qos == q.qos && p->retain == q.retain && p->duplicate == q.duplicate);
}

static void read_packet(const struct mqtt_packet *packet)
{
    struct mqtt_publish publish;
    if (mqtt_read_publish(packet, &publish) == OK) {
        check_inside(packet->body, publish.topic);
        check_inside(packet->body, publish.payload);
        assert(mqtt_topic_valid(publish.topic) && publish.qos <= 2 && (publish.id != 0) == (publish.qos != 0));
        check_again(&publish);
        if (mqtt_filter_valid(publish.payload)) {
            (void)mqtt_filter_matches(publish.payload, publish.topic);
        }
        assert(mqtt_filter_matches(publish.topic, publish.topic)); /* a topic is a filter that matches itself */
    }
    uint8_t code = 0;
    uint16_t id = 0;
    if (mqtt_read_connack(packet, &code) == OK) {
        (void)mqtt_refusal(code);
    }
    assert(mqtt_read_puback(packet, &id) != OK || id != 0);
    assert(mqtt_read_suback(packet, &id, &code) != OK || id != 0);
}

static void check_properties(struct slice outer, struct slice properties)
{
    struct mqtt5_property p;
    enum err err;
    while ((err = mqtt5_property_next(&properties, &p)) == OK) {
        check_inside(outer, p.name);
        check_inside(outer, p.value);
    }
    assert(err == ERR_NOT_FOUND); /* all were looked at */
}

static void read_packet5(const struct mqtt_packet *packet)
{
    struct mqtt_publish publish, again;
    struct mqtt5_connack connack;
    struct slice properties, same;
    uint8_t code = 0;
    uint16_t id = 0;
    if (mqtt5_read_publish(packet, &publish, &properties) == OK) {
        check_inside(packet->body, publish.payload);
        check_properties(packet->body, properties);
        BUFFER(out, 2 * LIMIT_BYTES);
        mqtt5_put_publish(&out, &publish, properties);
        struct mqtt_packet next;
        assert(mqtt_next(buffer_slice(&out), 2 * LIMIT_BYTES, &next) == OK && next.size == out.len);
        assert(mqtt5_read_publish(&next, &again, &same) == OK && slice_equal(properties, same));
        assert(slice_equal(publish.topic, again.topic) && slice_equal(publish.payload, again.payload));
    }
    if (mqtt5_read_connack(packet, &connack) == OK) {
        assert(connack.receive_max != 0);
        check_inside(packet->body, connack.reason);
        (void)mqtt5_reason(connack.code);
    }
    assert(mqtt5_read_puback(packet, &id, &code) != OK || id != 0);
    assert(mqtt5_read_suback(packet, &id, &code) != OK || id != 0);
    if (mqtt5_read_disconnect(packet, &code) == OK) {
        (void)mqtt5_reason(code);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = slice_of(data, size);
    struct mqtt_packet packet;
    while (mqtt_next(rest, LIMIT_BYTES, &packet) == OK) {
        assert(packet.size >= 2 && packet.size <= rest.len && packet.body.len < packet.size);
        check_inside(rest, packet.body);
        read_packet(&packet);
        read_packet5(&packet);
        rest = slice_of(rest.ptr + packet.size, rest.len - packet.size);
    }
    return 0;
}
