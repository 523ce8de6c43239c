/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the packet functions read exactly what MQTT 3.1.1 says, refuse everything else, and say "incomplete" rather
 * than "wrong" while bytes are missing.
 */
#include "tests/support/check.h"

#include "core/bus/mqtt.h"

enum { LIMIT = 1 << 16 };

static struct slice text(const char *s)
{
    return slice_str(s);
}

static void check_slice(struct slice is, const char *want)
{
    CHECK_INT(is.len, strlen(want));
    CHECK(is.len == 0 || memcmp(is.ptr, want, is.len) == 0);
}

static void publish_survives_writing_and_reading(void **state)
{
    (void)state;
    BUFFER(out, LIMIT);
    mqtt_put_publish(&out, &(struct mqtt_publish){.topic = text("a/b"), .payload = text("hello"), .qos = 1, .id = 513,
                                                  .retain = true});
    CHECK_OK(buffer_err(&out));
    CHECK_INT(out.ptr[0], 0x33);
    struct mqtt_packet packet;
    CHECK_OK(mqtt_next(buffer_slice(&out), LIMIT, &packet));
    CHECK_INT(packet.type, MQTT_PUBLISH);
    CHECK_INT(packet.size, out.len);
    struct mqtt_publish p;
    CHECK_OK(mqtt_read_publish(&packet, &p));
    check_slice(p.topic, "a/b");
    check_slice(p.payload, "hello");
    CHECK_INT(p.id, 513);
    CHECK_INT(p.qos, 1);
    CHECK(p.retain && !p.duplicate);
}

static void every_cut_of_a_packet_is_incomplete_not_malformed(void **state)
{
    (void)state;
    BUFFER(out, LIMIT);
    static uint8_t payload[300]; /* two length bytes */
    mqtt_put_publish(&out, &(struct mqtt_publish){.topic = text("t"), .payload = slice_of(payload, sizeof(payload))});
    struct mqtt_packet packet;
    for (size_t len = 0; len < out.len; len++) {
        CHECK_ERR(mqtt_next(slice_of(out.ptr, len), LIMIT, &packet), ERR_AGAIN);
        CHECK_INT(packet.size, len < 3 ? 0 : out.len);
    }
    CHECK_OK(mqtt_next(buffer_slice(&out), LIMIT, &packet));
}

static void a_length_of_five_bytes_is_malformed_and_a_large_one_is_full_before_it_has_arrived(void **state)
{
    (void)state;
    struct mqtt_packet packet;
    const uint8_t five[] = {0x30, 0xff, 0xff, 0xff, 0xff, 0x01};
    CHECK_ERR(mqtt_next(slice_of(five, sizeof(five)), SIZE_MAX, &packet), ERR_MALFORMED);
    const uint8_t most[] = {0x30, 0xff, 0xff, 0xff, 0x7f};
    CHECK_ERR(mqtt_next(slice_of(most, sizeof(most)), LIMIT, &packet), ERR_FULL);
    CHECK_INT(packet.size, MQTT_REMAINING_MAX + 5);
    CHECK_ERR(mqtt_next(slice_of(most, sizeof(most)), SIZE_MAX, &packet), ERR_AGAIN);
}

static enum err read_publish(uint8_t flags, const char *body, size_t len)
{
    struct mqtt_packet packet = {.type = MQTT_PUBLISH, .flags = flags, .body = slice_of(body, len)};
    struct mqtt_publish p;
    return mqtt_read_publish(&packet, &p);
}

static void publishes_that_break_the_rules_are_refused(void **state)
{
    (void)state;
    CHECK_OK(read_publish(0, "\0\1tpayload", 10));
    CHECK_ERR(read_publish(0, "\0\0payload", 9), ERR_MALFORMED);    /* empty topic */
    CHECK_ERR(read_publish(0, "\0\3a/+", 5), ERR_MALFORMED);        /* wildcard */
    CHECK_ERR(read_publish(0, "\0\3a/#", 5), ERR_MALFORMED);
    CHECK_ERR(read_publish(0, "\0\3a\0b", 5), ERR_MALFORMED);       /* NUL */
    CHECK_ERR(read_publish(0, "\0\11abc", 5), ERR_MALFORMED);       /* topic longer than the packet */
    CHECK_ERR(read_publish(0, "\0", 1), ERR_MALFORMED);
    CHECK_ERR(read_publish(6, "\0\1t\0\1x", 6), ERR_MALFORMED);     /* QoS 3 */
    CHECK_ERR(read_publish(2, "\0\1t\0\0x", 6), ERR_MALFORMED);     /* packet id 0 */
    CHECK_ERR(read_publish(2, "\0\1t\0", 4), ERR_MALFORMED);        /* half a packet id */
}

static void answers_of_the_wrong_size_or_value_are_refused(void **state)
{
    (void)state;
    uint8_t code = 0;
    uint16_t id = 0;
    struct mqtt_packet p = {.body = slice_of("\0\5", 2)};
    CHECK_OK(mqtt_read_connack(&p, &code));
    CHECK_STR(mqtt_refusal(code), "not authorised");
    p.body = slice_of("\2\0", 2);
    CHECK_ERR(mqtt_read_connack(&p, &code), ERR_MALFORMED);
    p.body = slice_of("\0\0\0", 3);
    CHECK_ERR(mqtt_read_connack(&p, &code), ERR_MALFORMED);
    p.body = slice_of("\0\7\x80", 3);
    CHECK_OK(mqtt_read_suback(&p, &id, &code));
    CHECK_INT(id, 7);
    CHECK_INT(code, MQTT_SUBACK_FAILURE);
    p.body = slice_of("\0\7\3", 3);
    CHECK_ERR(mqtt_read_suback(&p, &id, &code), ERR_MALFORMED);
    p.body = slice_of("\0\7\1\1", 4);
    CHECK_ERR(mqtt_read_suback(&p, &id, &code), ERR_MALFORMED);
    p.body = slice_of("\0\0", 2);
    CHECK_ERR(mqtt_read_puback(&p, &id), ERR_MALFORMED);
    p.body = slice_of("\1\2", 2);
    CHECK_OK(mqtt_read_puback(&p, &id));
    CHECK_INT(id, 258);
}

static void connect_and_subscribe_have_the_bytes_of_the_standard(void **state)
{
    (void)state;
    BUFFER(out, LIMIT);
    mqtt_put_connect(&out, "dev", 30, NULL);
    const uint8_t connect[] = {0x10, 15, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 30, 0, 3, 'd', 'e', 'v'};
    CHECK(slice_equal(buffer_slice(&out), slice_of(connect, sizeof(connect))));
    buffer_reset(&out);
    mqtt_put_connect(&out, "d", 30, &(struct mqtt_publish){.topic = text("w"), .payload = text("xy"), .qos = 1, .retain = true});
    const uint8_t with_will[] = {0x10, 20, 0, 4, 'M', 'Q', 'T', 'T', 4, 0x2e, 0, 30, 0, 1, 'd', 0, 1, 'w', 0, 2, 'x', 'y'};
    CHECK(slice_equal(buffer_slice(&out), slice_of(with_will, sizeof(with_will))));
    buffer_reset(&out);
    mqtt_put_subscribe(&out, 258, "a/#", 1);
    const uint8_t subscribe[] = {0x82, 8, 1, 2, 0, 3, 'a', '/', '#', 1};
    CHECK(slice_equal(buffer_slice(&out), slice_of(subscribe, sizeof(subscribe))));
    buffer_reset(&out);
    mqtt_put_puback(&out, 258);
    mqtt_put_pingreq(&out);
    mqtt_put_disconnect(&out);
    const uint8_t rest[] = {0x40, 2, 1, 2, 0xc0, 0, 0xe0, 0};
    CHECK(slice_equal(buffer_slice(&out), slice_of(rest, sizeof(rest))));
}

static void filters_are_checked_level_by_level(void **state)
{
    (void)state;
    const char *good[] = {"a", "/", "a/b", "+", "#", "a/+/b", "a/#", "+/+", "a//b", "/#"};
    const char *bad[] = {"", "a+", "a/b#", "#/a", "a/#/b", "+a/b", "a/+b"};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        if (!mqtt_filter_valid(text(good[i]))) {
            fail_msg("filter \"%s\" was refused", good[i]);
        }
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        if (mqtt_filter_valid(text(bad[i]))) {
            fail_msg("filter \"%s\" was accepted", bad[i]);
        }
    }
}

static void filters_match_as_section_4_7_says(void **state)
{
    (void)state;
    static const struct {
        const char *filter, *topic;
        bool matches;
    } rows[] = {
        {"a/b", "a/b", true},        {"a/b", "a/bc", false},      {"a/b", "a/b/c", false},   {"a/b/c", "a/b", false},
        {"a/+", "a/b", true},        {"a/+", "a/b/c", false},     {"a/+", "a", false},       {"a/+", "a/", true},
        {"+/b", "a/b", true},        {"+", "a", true},            {"+", "/a", false},        {"/+", "/a", true},
        {"#", "a/b/c", true},        {"a/#", "a/b/c", true},      {"a/#", "a", true},        {"a/#", "ab", false},
        {"a/+/c", "a/b/c", true},    {"a/+/c", "a//c", true},     {"#", "$SYS/x", false},    {"+/x", "$SYS/x", false},
        {"$SYS/#", "$SYS/x", true},  {"a/$x", "a/$x", true},      {"+/$x", "a/$x", true},    {"a//b", "a/b", false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (mqtt_filter_matches(text(rows[i].filter), text(rows[i].topic)) != rows[i].matches) {
            fail_msg("\"%s\" and \"%s\": expected %d", rows[i].filter, rows[i].topic, rows[i].matches);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(publish_survives_writing_and_reading),
        cmocka_unit_test(every_cut_of_a_packet_is_incomplete_not_malformed),
        cmocka_unit_test(a_length_of_five_bytes_is_malformed_and_a_large_one_is_full_before_it_has_arrived),
        cmocka_unit_test(publishes_that_break_the_rules_are_refused),
        cmocka_unit_test(answers_of_the_wrong_size_or_value_are_refused),
        cmocka_unit_test(connect_and_subscribe_have_the_bytes_of_the_standard),
        cmocka_unit_test(filters_are_checked_level_by_level),
        cmocka_unit_test(filters_match_as_section_4_7_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
