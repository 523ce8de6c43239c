/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: topics and payloads are what the specification says, byte for byte where it matters, and nothing that comes from
 * outside is believed before it was looked at.
 */
#include "tests/support/check.h"

#include "proto/schema/sparkplug_b.pb-c.h"
#include "proto/sparkplug/sparkplug.h"

static enum err parse(const char *text, struct sparkplug_topic *ret)
{
    return sparkplug_topic_parse(slice_str(text), ret);
}

static void check_slice(struct slice is, const char *want)
{
    CHECK(slice_equal(is, slice_str(want)));
}

static void topics_come_apart_as_they_were_put_together(void **state)
{
    (void)state;
    struct sparkplug_topic t;
    BUFFER(out, 200);
    sparkplug_topic_put(&out, SPARKPLUG_DDATA, "plant 1", "gw1", "pump-7");
    check_slice(buffer_slice(&out), "spBv1.0/plant 1/DDATA/gw1/pump-7");
    CHECK_OK(sparkplug_topic_parse(buffer_slice(&out), &t));
    CHECK_INT(t.type, SPARKPLUG_DDATA);
    check_slice(t.group, "plant 1");
    check_slice(t.node, "gw1");
    check_slice(t.device, "pump-7");
    buffer_reset(&out);
    sparkplug_topic_put(&out, SPARKPLUG_NDEATH, "g", "n", NULL);
    check_slice(buffer_slice(&out), "spBv1.0/g/NDEATH/n");
    buffer_reset(&out);
    sparkplug_state_topic_put(&out, "scada");
    check_slice(buffer_slice(&out), "spBv1.0/STATE/scada");
    CHECK_OK(sparkplug_topic_parse(buffer_slice(&out), &t));
    CHECK_INT(t.type, SPARKPLUG_STATE);
    check_slice(t.node, "scada");
}

static void topics_of_another_form_are_malformed(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "spBv1.0", "spBv1.0/g", "spBv1.0/g/NCMD", "spBv1.0/g/NCMD/n/d", "spBv1.0/g/DCMD/n", "spBv1.0/g/DCMD/n/d/e",
        "spBv1.0/g/ncmd/n", "spAv1.0/g/NCMD/n", "spBv1/g/NCMD/n", "spBv1.0//NCMD/n", "spBv1.0/g/NCMD/", "spBv1.0/STATE/",
        "spBv1.0/state/h", "STATE/h", "spBv1.0/g/NCMD/+", "spBv1.0/g/NCMD/#", "spBv1.0/g/NCMD/\xff", "spBv1.0/g/STATE/n",
        "/spBv1.0/g/NCMD/n", "spBv1.0/g/NCMD/n/",
    };
    struct sparkplug_topic t;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        if (parse(bad[i], &t) != ERR_MALFORMED) {
            fail_msg("\"%s\" was taken for a topic", bad[i]);
        }
    }
    CHECK_ERR(sparkplug_topic_parse(slice_of("spBv1.0/g/NCMD/n\0x", 18), &t), ERR_MALFORMED);
}

static void identifiers_are_utf_8_without_what_topics_are_made_of(void **state)
{
    (void)state;
    char longest[SPARKPLUG_ID_MAX + 2];
    memset(longest, 'a', sizeof(longest));
    CHECK(sparkplug_id_valid(slice_of(longest, SPARKPLUG_ID_MAX)));
    CHECK(!sparkplug_id_valid(slice_of(longest, SPARKPLUG_ID_MAX + 1)));
    CHECK(sparkplug_id_valid(slice_str("M\xc3\xbcnchen 2.1")));
    CHECK(!sparkplug_id_valid(slice_str("a/b")));
    CHECK(!sparkplug_id_valid(slice_str("a+")));
    CHECK(!sparkplug_id_valid(slice_str("#")));
    CHECK(!sparkplug_id_valid(slice_str("")));
    CHECK(!sparkplug_id_valid(slice_str("\xc3")));
}

static Weir__Sparkplug__Payload *unpack(const struct buffer *b)
{
    Weir__Sparkplug__Payload *p = weir__sparkplug__payload__unpack(NULL, b->len, b->ptr);
    CHECK(p != NULL);
    return p;
}

static void a_payload_is_read_by_protobuf_as_it_was_meant(void **state)
{
    (void)state;
    const struct sparkplug_metric metrics[] = {
        {.name = "flow", .alias = 16, .timestamp_ms = 5, .datatype = SPARKPLUG_DOUBLE, .number = 1.5, .unit = "l/min"},
        {.name = "empty", .alias = 17, .timestamp_ms = 6, .datatype = SPARKPLUG_DOUBLE, .null = true},
        {.alias = 18, .timestamp_ms = 7, .datatype = SPARKPLUG_INT64, .number = -3, .historical = true},
        {.name = "i", .timestamp_ms = 7, .datatype = SPARKPLUG_INT32, .number = -3},
        {.name = "b", .timestamp_ms = 7, .datatype = SPARKPLUG_BOOLEAN, .number = 1},
        {.name = "s", .timestamp_ms = 7, .datatype = SPARKPLUG_STRING, .text = "hello"},
    };
    BUFFER(out, 4096);
    CHECK_OK(sparkplug_encode(1234, 255, metrics, COUNT_OF(metrics), &out));
    Weir__Sparkplug__Payload *p = unpack(&out);
    CHECK_INT(p->timestamp, 1234);
    CHECK(p->has_seq);
    CHECK_INT(p->seq, 255);
    CHECK_INT(p->n_metrics, 6);
    const Weir__Sparkplug__Metric *m = p->metrics[0];
    CHECK_STR(m->name, "flow");
    CHECK_INT(m->alias, 16);
    CHECK_INT(m->timestamp, 5);
    CHECK_INT(m->datatype, 10);
    CHECK(m->double_value == 1.5 && !m->has_is_null && !m->has_is_historical);
    CHECK_INT(m->properties->n_keys, 1);
    CHECK_STR(m->properties->keys[0], "engUnit");
    CHECK_INT(m->properties->values[0]->type, 12);
    CHECK_STR(m->properties->values[0]->string_value, "l/min");
    m = p->metrics[1];
    CHECK(m->is_null && m->value_case == WEIR__SPARKPLUG__METRIC__VALUE__NOT_SET && m->properties == NULL);
    m = p->metrics[2];
    CHECK(m->name == NULL && !m->has_datatype && m->is_historical);
    CHECK_INT((int64_t)m->long_value, -3);
    CHECK_INT((int32_t)p->metrics[3]->int_value, -3);
    CHECK(!p->metrics[3]->has_alias && p->metrics[4]->boolean_value);
    CHECK_STR(p->metrics[5]->string_value, "hello");
    weir__sparkplug__payload__free_unpacked(p, NULL);
}

static void a_death_has_no_sequence_and_a_payload_that_does_not_fit_leaves_nothing(void **state)
{
    (void)state;
    const struct sparkplug_metric m = {.name = "bdSeq", .timestamp_ms = 9, .datatype = SPARKPLUG_INT64, .number = 0};
    BUFFER(out, 30);
    CHECK_OK(sparkplug_encode(9, SPARKPLUG_NO_SEQ, &m, 1, &out));
    Weir__Sparkplug__Payload *p = unpack(&out);
    CHECK(!p->has_seq && p->metrics[0]->long_value == 0 && p->metrics[0]->value_case != 0);
    weir__sparkplug__payload__free_unpacked(p, NULL);
    size_t before = out.len;
    CHECK_ERR(sparkplug_encode(9, 1, &m, 1, &out), ERR_FULL);
    CHECK_INT(out.len, before);
}

static void numbers_beyond_an_integer_are_cut_to_its_range(void **state)
{
    (void)state;
    const struct sparkplug_metric m[] = {{.name = "a", .datatype = SPARKPLUG_INT64, .number = 1e300},
                                         {.name = "b", .datatype = SPARKPLUG_INT32, .number = -1e300}};
    BUFFER(out, 100);
    CHECK_OK(sparkplug_encode(9, 0, m, 2, &out));
    Weir__Sparkplug__Payload *p = unpack(&out);
    CHECK_INT((int64_t)p->metrics[0]->long_value, INT64_C(1) << 53);
    CHECK_INT((int32_t)p->metrics[1]->int_value, -INT32_MAX);
    weir__sparkplug__payload__free_unpacked(p, NULL);
}

static enum err command(struct arena *arena, const struct buffer *b, struct sparkplug_command *ret)
{
    return sparkplug_command_decode(buffer_slice(b), arena, ret);
}

static void a_rebirth_is_a_boolean_true_of_that_very_name(void **state)
{
    (void)state;
    static const struct {
        struct sparkplug_metric metric;
        bool rebirth;
    } rows[] = {
        {{.name = "Node Control/Rebirth", .datatype = SPARKPLUG_BOOLEAN, .number = 1}, true},
        {{.name = "Node Control/Rebirth", .datatype = SPARKPLUG_BOOLEAN, .number = 0}, false},
        {{.name = "Node Control/Rebirth", .datatype = SPARKPLUG_BOOLEAN, .null = true}, false},
        {{.name = "Node Control/Rebirth", .datatype = SPARKPLUG_INT32, .number = 1}, false},
        {{.name = "node control/rebirth", .datatype = SPARKPLUG_BOOLEAN, .number = 1}, false},
        {{.alias = 1, .datatype = SPARKPLUG_BOOLEAN, .number = 1}, false},
    };
    struct arena arena;
    CHECK_OK(arena_init(&arena, SPARKPLUG_ARENA_BYTES));
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        BUFFER(out, 200);
        struct sparkplug_command c;
        CHECK_OK(sparkplug_encode(1, SPARKPLUG_NO_SEQ, &rows[i].metric, 1, &out));
        CHECK_OK(command(&arena, &out, &c));
        CHECK_INT(c.rebirth, rows[i].rebirth);
        CHECK_INT(c.metrics, 1);
    }
    arena_deinit(&arena);
}

static void commands_that_are_made_to_hurt_are_refused_within_the_budget(void **state)
{
    (void)state;
    struct arena arena;
    struct sparkplug_command c;
    CHECK_OK(arena_init(&arena, SPARKPLUG_ARENA_BYTES));
    BUFFER(out, 1 << 20);
    for (unsigned i = 0; i < 30000; i++) { /* empty metrics: two bytes that take a hundred times as much unpacked */
        buffer_put(&out, "\x12\0", 2);
    }
    CHECK_ERR(command(&arena, &out, &c), ERR_NOMEM);
    buffer_reset(&out);
    for (unsigned i = 0; i < 10000; i++) { /* a template in a metric in a template ... : never looked into */
        buffer_put(&out, "\x92\x01", 2);
    }
    CHECK_ERR(command(&arena, &out, &c), ERR_MALFORMED);
    buffer_reset(&out);
    CHECK(buffer_extend(&out, SPARKPLUG_COMMAND_MAX + 1) != NULL);
    memset(out.ptr, 0, out.len);
    CHECK_ERR(command(&arena, &out, &c), ERR_RANGE);
    buffer_reset(&out);
    buffer_put(&out, "\x12\x7f", 2);
    CHECK_ERR(command(&arena, &out, &c), ERR_MALFORMED);
    buffer_reset(&out);
    CHECK_OK(command(&arena, &out, &c)); /* nothing at all is a payload without metrics */
    CHECK(!c.rebirth && c.metrics == 0);
    arena_deinit(&arena);
}

static void a_state_needs_both_members_in_their_types(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err err;
        bool online;
        uint64_t ms;
    } rows[] = {
        {"{\"online\":true,\"timestamp\":1668114759262}", OK, true, UINT64_C(1668114759262)},
        {" {\"timestamp\" : 0, \"x\":[{}], \"online\":false } \n", OK, false, 0},
        {"{\"online\":true,\"timestamp\":1}x", ERR_MALFORMED, false, 0},
        {"{\"online\":true}", ERR_MALFORMED, false, 0},
        {"{\"timestamp\":1}", ERR_MALFORMED, false, 0},
        {"{\"online\":\"true\",\"timestamp\":1}", ERR_MALFORMED, false, 0},
        {"{\"online\":1,\"timestamp\":1}", ERR_MALFORMED, false, 0},
        {"{\"online\":true,\"timestamp\":\"1\"}", ERR_MALFORMED, false, 0},
        {"{\"Online\":true,\"timestamp\":1}", ERR_MALFORMED, false, 0},
        {"{\"online\":true,\"timestamp\":-1}", ERR_RANGE, false, 0},
        {"{\"online\":true,\"timestamp\":1e300}", ERR_RANGE, false, 0},
        {"{\"online\":true,\"timestamp\":", ERR_MALFORMED, false, 0},
        {"[true,1]", ERR_MALFORMED, false, 0},
        {"ONLINE", ERR_MALFORMED, false, 0},
        {"", ERR_MALFORMED, false, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct sparkplug_state s = {0};
        if (sparkplug_state_decode(slice_str(rows[i].text), &s) != rows[i].err) {
            fail_msg("%s: not %s", rows[i].text, err_name(rows[i].err));
        }
        CHECK_INT(s.online, rows[i].online);
        CHECK_INT(s.timestamp_ms, rows[i].ms);
    }
    struct sparkplug_state s;
    static char deep[SPARKPLUG_STATE_MAX + 1];
    memset(deep, '[', sizeof(deep));
    CHECK_ERR(sparkplug_state_decode(slice_of(deep, sizeof(deep)), &s), ERR_RANGE);
    CHECK_ERR(sparkplug_state_decode(slice_of(deep, sizeof(deep) - 1), &s), ERR_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topics_come_apart_as_they_were_put_together),
        cmocka_unit_test(topics_of_another_form_are_malformed),
        cmocka_unit_test(identifiers_are_utf_8_without_what_topics_are_made_of),
        cmocka_unit_test(a_payload_is_read_by_protobuf_as_it_was_meant),
        cmocka_unit_test(a_death_has_no_sequence_and_a_payload_that_does_not_fit_leaves_nothing),
        cmocka_unit_test(numbers_beyond_an_integer_are_cut_to_its_range),
        cmocka_unit_test(a_rebirth_is_a_boolean_true_of_that_very_name),
        cmocka_unit_test(commands_that_are_made_to_hurt_are_refused_within_the_budget),
        cmocka_unit_test(a_state_needs_both_members_in_their_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
