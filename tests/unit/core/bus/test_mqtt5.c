/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the packets of MQTT 5 have the standard's bytes, whatever a broker sends is read to its end or refused, and what it
 * announces is understood.
 */
#include "tests/support/check.h"

#include "core/bus/mqtt5.h"

enum { LIMIT = 4096 };

static struct slice bytes(const char *text, size_t len)
{
    return slice_of(text, len);
}
#define BYTES(text) bytes(text, sizeof(text) - 1)

static struct mqtt_packet packet_of(uint8_t flags, struct slice body)
{
    return (struct mqtt_packet){.flags = flags, .body = body};
}

static void connect_and_subscribe_have_the_bytes_of_the_standard(void **state)
{
    (void)state;
    BUFFER(out, LIMIT);
    mqtt5_put_connect(&out, "dev", 30, NULL);
    CHECK(slice_equal(buffer_slice(&out), BYTES("\x10\x10\0\4MQTT\5\2\0\x1e\0\0\3dev")));
    buffer_reset(&out);
    mqtt5_put_connect(&out, "d", 30, &(struct mqtt_publish){.topic = slice_str("w"), .payload = slice_str("xy"), .qos = 1,
                                                            .retain = true});
    CHECK(slice_equal(buffer_slice(&out), BYTES("\x10\x16\0\4MQTT\5\x2e\0\x1e\0\0\1d\0\0\1w\0\2xy")));
    buffer_reset(&out);
    mqtt5_put_subscribe(&out, 258, "a/#", 1);
    CHECK(slice_equal(buffer_slice(&out), BYTES("\x82\x09\1\2\0\0\3a/#\1")));
}

static void a_publication_carries_its_properties_and_comes_back_the_same(void **state)
{
    (void)state;
    for (unsigned qos = 0; qos <= 1; qos++) {
        for (size_t pad = 0; pad < 300; pad += 60) { /* lengths of one and two bytes */
            char text[300];
            memset(text, 'x', sizeof(text));
            BUFFER(properties, LIMIT);
            BUFFER(out, LIMIT);
            mqtt5_put_text(&properties, MQTT5_CONTENT_TYPE, slice_str("application/json"));
            mqtt5_put_user_property(&properties, slice_str("device"), slice_of(text, pad));
            struct mqtt_publish p = {.topic = slice_str("a/b"), .payload = slice_str("{}"), .qos = (uint8_t)qos,
                                     .id = qos ? 513 : 0, .retain = true};
            mqtt5_put_publish(&out, &p, buffer_slice(&properties));
            struct mqtt_packet packet;
            struct mqtt_publish q;
            struct mqtt5_property one;
            struct slice rest;
            CHECK_OK(mqtt_next(buffer_slice(&out), LIMIT, &packet));
            CHECK_INT(packet.size, out.len);
            CHECK_OK(mqtt5_read_publish(&packet, &q, &rest));
            CHECK(slice_equal(p.topic, q.topic) && slice_equal(p.payload, q.payload) && p.id == q.id && q.retain);
            CHECK_OK(mqtt5_property_next(&rest, &one));
            CHECK_INT(one.id, MQTT5_CONTENT_TYPE);
            CHECK(slice_equal(one.value, slice_str("application/json")));
            CHECK_OK(mqtt5_property_next(&rest, &one));
            CHECK(slice_equal(one.name, slice_str("device")) && one.value.len == pad);
            CHECK_ERR(mqtt5_property_next(&rest, &one), ERR_NOT_FOUND);
        }
    }
}

static enum err read_publish(struct slice body)
{
    struct mqtt_packet packet = packet_of(0, body);
    struct mqtt_publish p;
    return mqtt5_read_publish(&packet, &p, NULL);
}

static void malformed_publications_are_refused(void **state)
{
    (void)state;
    CHECK_OK(read_publish(BYTES("\0\1t\0x")));
    CHECK_OK(read_publish(BYTES("\0\1t\0")));
    CHECK_OK(read_publish(BYTES("\0\1t\x02\1\1x")));                  /* payload format */
    CHECK_ERR(read_publish(BYTES("\0\1t")), ERR_MALFORMED);           /* no properties at all */
    CHECK_ERR(read_publish(BYTES("\0\1t\5\1\1x")), ERR_MALFORMED);    /* longer than the packet */
    CHECK_ERR(read_publish(BYTES("\0\1t\1\1x")), ERR_MALFORMED);      /* a property that is cut short */
    CHECK_ERR(read_publish(BYTES("\0\1t\2\x05\1x")), ERR_MALFORMED);  /* one that does not exist */
    CHECK_ERR(read_publish(BYTES("\0\1t\2\xff\1x")), ERR_MALFORMED);
    CHECK_ERR(read_publish(BYTES("\0\1t\3\3\0\5x")), ERR_MALFORMED);  /* a text longer than the properties */
    CHECK_ERR(read_publish(BYTES("\0\1t\3\x23\0\1x")), ERR_MALFORMED); /* a topic alias */
    CHECK_ERR(read_publish(BYTES("\0\1t\x80\x80\x80\x80\0x")), ERR_MALFORMED); /* a length of five bytes */
    CHECK_ERR(read_publish(BYTES("\0\0\0x")), ERR_MALFORMED);         /* no topic */
}

static void what_a_server_announces_is_understood(void **state)
{
    (void)state;
    struct mqtt5_connack a;
    struct mqtt_packet p = packet_of(0, BYTES("\0\0\0"));
    CHECK_OK(mqtt5_read_connack(&p, &a));
    CHECK(a.code == 0 && a.receive_max == 65535 && a.packet_max == 0);
    CHECK(a.max_qos == 2 && a.retain && a.keepalive_s == 0);
    p.body = BYTES("\0\0\x12\x21\0\x14\x27\0\1\0\0\x24\0\x25\0\x13\0\7\x22\0\5");
    CHECK_OK(mqtt5_read_connack(&p, &a));
    CHECK(a.receive_max == 20 && a.packet_max == 65536 && a.max_qos == 0 && !a.retain && a.keepalive_s == 7);
    p.body = BYTES("\0\x87\x05\x1f\0\2no");
    CHECK_OK(mqtt5_read_connack(&p, &a));
    CHECK_STR(mqtt5_reason(a.code), "not authorised");
    CHECK(slice_equal(a.reason, slice_str("no")));
    p.body = BYTES("\0\1"); /* of a server that knows 3.1.1 only */
    CHECK_OK(mqtt5_read_connack(&p, &a));
    CHECK_INT(a.code, 1);
    p.body = BYTES("\0\0"); /* which cannot have accepted */
    CHECK_ERR(mqtt5_read_connack(&p, &a), ERR_MALFORMED);
    p.body = BYTES("\0\0\3\x21\0\0");
    CHECK_ERR(mqtt5_read_connack(&p, &a), ERR_MALFORMED); /* a receive maximum of 0 */
    p.body = BYTES("\2\0\0");
    CHECK_ERR(mqtt5_read_connack(&p, &a), ERR_MALFORMED);
    p.body = BYTES("\0\0\0\0");
    CHECK_ERR(mqtt5_read_connack(&p, &a), ERR_MALFORMED);
    p.body = BYTES("\0");
    CHECK_ERR(mqtt5_read_connack(&p, &a), ERR_MALFORMED);
}

static void acknowledgements_have_reasons(void **state)
{
    (void)state;
    uint16_t id = 0;
    uint8_t code = 9;
    struct mqtt_packet p = packet_of(0, BYTES("\1\2"));
    CHECK_OK(mqtt5_read_puback(&p, &id, &code));
    CHECK(id == 258 && code == 0);
    p.body = BYTES("\1\2\x97");
    CHECK_OK(mqtt5_read_puback(&p, &id, &code));
    CHECK_INT(code, 0x97);
    p.body = BYTES("\1\2\x87\4\x1f\0\1x");
    CHECK_OK(mqtt5_read_puback(&p, &id, &code));
    p.body = BYTES("\1\2\x87\5\x1f\0\1x");
    CHECK_ERR(mqtt5_read_puback(&p, &id, &code), ERR_MALFORMED);
    p.body = BYTES("\0\0");
    CHECK_ERR(mqtt5_read_puback(&p, &id, &code), ERR_MALFORMED);
    p.body = BYTES("\0\7\0\1");
    CHECK_OK(mqtt5_read_suback(&p, &id, &code));
    CHECK(id == 7 && code == 1);
    p.body = BYTES("\0\7\0\x87");
    CHECK_OK(mqtt5_read_suback(&p, &id, &code));
    CHECK_INT(code, MQTT_SUBACK_FAILURE);
    p.body = BYTES("\0\7\0\3");
    CHECK_ERR(mqtt5_read_suback(&p, &id, &code), ERR_MALFORMED);
    p.body = BYTES("\0\7\1");
    CHECK_ERR(mqtt5_read_suback(&p, &id, &code), ERR_MALFORMED);
    p.body = BYTES("");
    CHECK_OK(mqtt5_read_disconnect(&p, &code));
    CHECK_INT(code, 0);
    p.body = BYTES("\x8e\0");
    CHECK_OK(mqtt5_read_disconnect(&p, &code));
    CHECK_CONTAINS(mqtt5_reason(code), "taken over");
    p.body = BYTES("\x8e\3\0");
    CHECK_ERR(mqtt5_read_disconnect(&p, &code), ERR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connect_and_subscribe_have_the_bytes_of_the_standard),
        cmocka_unit_test(a_publication_carries_its_properties_and_comes_back_the_same),
        cmocka_unit_test(malformed_publications_are_refused),
        cmocka_unit_test(what_a_server_announces_is_understood),
        cmocka_unit_test(acknowledgements_have_reasons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
