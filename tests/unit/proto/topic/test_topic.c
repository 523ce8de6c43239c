/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: exactly the topics weir/v1/<site>/<gateway>/<device>/<channel> parse, and format writes what parse reads. */
#include "proto/topic/topic.h"

#include "tests/support/check.h"

static enum err parse(const char *text, struct topic *t)
{
    return topic_parse(slice_str(text), t);
}

static void every_channel_comes_back_as_it_was_written(void **state)
{
    (void)state;
    for (int c = TOPIC_TELE; c <= TOPIC_HEALTH; c++) {
        char text[TOPIC_MAX + 1];
        struct topic t;
        topic_format("plant-1", "gw_2", "Pump3", (enum topic_channel)c, text);
        CHECK_OK(parse(text, &t));
        CHECK_STR(t.site, "plant-1");
        CHECK_STR(t.gateway, "gw_2");
        CHECK_STR(t.device, "Pump3");
        CHECK_INT(t.channel, c);
    }
}

static void a_topic_reads_as_documented(void **state)
{
    (void)state;
    char text[TOPIC_MAX + 1];
    topic_format("s", "g", "d", TOPIC_TELE, text);
    CHECK_STR(text, "weir/v1/s/g/d/tele");
    topic_format("s", "g", "+", TOPIC_UP, text);
    CHECK_STR(text, "weir/v1/s/g/+/up");
}

static void the_longest_identities_fit(void **state)
{
    (void)state;
    char id[ID_MAX + 1], text[TOPIC_MAX + 1];
    struct topic t;
    memset(id, 'x', ID_MAX);
    id[ID_MAX] = '\0';
    topic_format(id, id, id, TOPIC_ANSWER, text);
    CHECK(strlen(text) <= TOPIC_MAX);
    CHECK_OK(parse(text, &t));
    CHECK_STR(t.device, id);
}

static void an_identity_beyond_the_limit_is_cut_and_never_overruns(void **state)
{
    (void)state;
    char id[3 * ID_MAX], text[TOPIC_MAX + 1];
    memset(id, 'x', sizeof(id) - 1);
    id[sizeof(id) - 1] = '\0';
    topic_format(id, id, id, TOPIC_ANSWER, text);
    CHECK(strlen(text) <= TOPIC_MAX);
}

static void whatever_is_not_of_the_form_is_malformed(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "weir", "weir/v1/", "weir/v1/s/g/d", "weir/v1/s/g/d/", "weir/v1/s/g/d/nothing", "weir/v1/s/g/d/tele/",
        "weir/v1/s/g/d/tele/x", "/weir/v1/s/g/d/tele", "weir/v2/s/g/d/tele", "Weir/v1/s/g/d/tele",
        "weir/v1//g/d/tele", "weir/v1/s//d/tele", "weir/v1/s/g//tele", "weir/v1/s/g/+/tele", "weir/v1/s/g/#",
        "weir/v1/s/g/a b/tele", "weir/v1/s/g/a.b/tele", "weir/v1/s/g/\xc3\xa4/tele", "weir/v1/s/g/d/TELE",
        "weir/v1/s/g/d/tel", "weir/v1/s/g/d/teles", "$SYS/broker/uptime",
        "weir/v1/s/g/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx/tele", /* 65 */
    };
    struct topic t;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        if (parse(bad[i], &t) != ERR_MALFORMED) {
            fprintf(stderr, "accepted: \"%s\"\n", bad[i]);
        }
        CHECK_ERR(parse(bad[i], &t), ERR_MALFORMED);
    }
    CHECK_ERR(topic_parse(slice_of(NULL, 0), &t), ERR_MALFORMED);
    CHECK_ERR(topic_parse(slice_of("weir/v1/s/g/d\0/tele", 19), &t), ERR_MALFORMED);
}

static void a_refused_topic_leaves_the_result_alone(void **state)
{
    (void)state;
    struct topic t = {.site = "before", .channel = TOPIC_CMD};
    CHECK_ERR(parse("weir/v1/after/g/d/nothing", &t), ERR_MALFORMED);
    CHECK_STR(t.site, "before");
    CHECK_INT(t.channel, TOPIC_CMD);
}

static void every_channel_has_a_name(void **state)
{
    (void)state;
    CHECK_STR(topic_channel_name(TOPIC_TELE), "tele");
    CHECK_STR(topic_channel_name(TOPIC_HEALTH), "health");
    CHECK_STR(topic_channel_name((enum topic_channel)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_channel_comes_back_as_it_was_written),
        cmocka_unit_test(a_topic_reads_as_documented),
        cmocka_unit_test(the_longest_identities_fit),
        cmocka_unit_test(an_identity_beyond_the_limit_is_cut_and_never_overruns),
        cmocka_unit_test(whatever_is_not_of_the_form_is_malformed),
        cmocka_unit_test(a_refused_topic_leaves_the_result_alone),
        cmocka_unit_test(every_channel_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
