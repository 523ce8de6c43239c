/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a template that could not be published is refused with its reason, and whatever a channel is called, its topic is
 * one that MQTT and other brokers take.
 */
#include "tests/support/check.h"

#include "gateway/publish/publish_internal.h"

static void check_slug(const char *name, const char *want)
{
    char slug[WIRE_NAME_MAX + 1];
    names_slug(slice_str(name), slug);
    CHECK_STR(slug, want);
}

static void names_become_levels(void **state)
{
    (void)state;
    check_slug("flow", "flow");
    check_slug("Flow-rate_2", "Flow-rate_2");
    check_slug("motor/temp.front +#", "motor_temp_front___");
    check_slug("a*b>c$d\\e\"f", "a_b_c_d_e_f");
    check_slug("", "_");
    check_slug("\xc3\x96" "ldruck", "\xc3\x96" "ldruck"); /* other scripts stay */
    check_slug("a\x01\x7f\xc2\x85z", "a___z");             /* control characters do not */
    check_slug("\xff\xfe", "__");
    check_slug("21\xc2\xb0\xf0\x9f\x98\x80", "21\xc2\xb0\xf0\x9f\x98\x80");
    /* what Unicode keeps for no character: a broker ends the session over it */
    check_slug("a\xef\xb7\x90" "b\xef\xb7\xaf" "c\xef\xbf\xbe" "d\xef\xbf\xbf", "a_b_c_d_");
    check_slug("e\xf0\x9f\xbf\xbf" "f\xf4\x8f\xbf\xbe", "e_f_");
    check_slug("\xef\xb7\x8f\xef\xb7\xb0\xef\xbf\xbd", "\xef\xb7\x8f\xef\xb7\xb0\xef\xbf\xbd");
    char slug[WIRE_NAME_MAX + 1];
    char name[2 * WIRE_NAME_MAX];
    memset(name, 'x', sizeof(name));
    names_slug(slice_of(name, sizeof(name)), slug);
    CHECK_INT(strlen(slug), WIRE_NAME_MAX);
    for (size_t i = 0; i < sizeof(name); i += 2) {
        memcpy(name + i, "\xc3\x96", 2);
    }
    names_slug(slice_of(name, WIRE_NAME_MAX + 1), slug); /* cut within a character */
    CHECK(strlen(slug) <= WIRE_NAME_MAX);
    names_slug(slice_of("a\0b", 3), slug);
    CHECK_STR(slug, "a_b");
}

static void check_topic(const char *template, const char *want)
{
    struct publish_options o = {.site = "hall", .topic = template, .area = "wet end", .line = "l.1"};
    struct names names;
    BUFFER(out, 500);
    CHECK_OK(names_parse(&names, &o, NULL));
    names_put(&names, "gw1", "pump-7", "flow/minute", &out);
    if (!slice_equal(buffer_slice(&out), slice_str(want))) {
        fail_msg("%s gives %.*s, expected %s", template, (int)out.len, (const char *)out.ptr, want);
    }
}

static void templates_are_filled_in(void **state)
{
    (void)state;
    check_topic("{site}/{area}/{line}/{device}/{metric}", "hall/wet_end/l_1/pump-7/flow/minute");
    check_topic("uns/v1/{site}/{gateway}/{device}/values/{metric}", "uns/v1/hall/gw1/pump-7/values/flow/minute");
    check_topic("{device}/{metric}", "pump-7/flow/minute");
}

static void templates_that_cannot_be_are_refused_with_the_reason(void **state)
{
    (void)state;
    static const struct {
        const char *topic, *says;
    } rows[] = {
        {"{site}/{device}", "{metric}"},
        {"{site}/{metric}", "{device} once"},
        {"{device}/{device}/{metric}", "{device} once"},
        {"{device}/{metric}/x", "end in {metric}"},
        {"{area}/{device}/{metric}", "no area is given"},
        {"a b/{device}/{metric}", "a b"},
        {"$SYS/{device}/{metric}", "$SYS"},
        {"plant.1/{device}/{metric}", "plant.1"},
        {"/{device}/{metric}", "level \"\""},
        {"{plant}/{device}/{metric}", "{plant}"},
        {"x-{site}/{device}/{metric}", "x-{site}"},
        {"+/{device}/{metric}", "+"},
        {"weir/{device}/{metric}", "weir/"},
        {"1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/{device}/{metric}", "more than 16 levels"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct publish_options o = {.site = "hall", .topic = rows[i].topic};
        struct names names;
        struct fault fault = {.code = OK};
        CHECK_ERR(names_parse(&names, &o, &fault), ERR_RANGE);
        CHECK_CONTAINS(fault.text, rows[i].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_become_levels),
        cmocka_unit_test(templates_are_filled_in),
        cmocka_unit_test(templates_that_cannot_be_are_refused_with_the_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
