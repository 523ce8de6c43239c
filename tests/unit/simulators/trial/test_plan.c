/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a plan's text says exactly what the plan is, every error is named with its line, and a seed is one plan. */
#include "tests/support/check.h"

#include "simulators/trial/plan.h"

static struct plan read_well(const char *text)
{
    struct plan plan;
    struct fault fault = {0};
    enum err err = plan_parse(slice_str(text), &plan, &fault);
    if (err != OK) {
        fprintf(stderr, "%s\n", fault.text);
    }
    CHECK_OK(err);
    return plan;
}

static void settings_and_every_kind_of_fault_are_read(void **state)
{
    (void)state;
    struct plan p = read_well("weir-plan 1\n"
                              "# a comment, and an empty line\n"
                              "\n"
                              "seed 18446744073709551615\n"
                              "devices 3\n lines 2\nsite yes\r\nperiod 250ms # another\nsamples 7\nlength 2h\n"
                              "device-store 131072\nmistake trim-before-ack\n"
                              "at 1500us crash line-2 for 3s step 7 commits 2\n"
                              "at 20s link device-3 mute for 5s\n"
                              "at 30s messages * for 1min corrupt 5 loss 20000 delay 20ms\n"
                              "at 40s broker bridge1 for 0s\n"
                              "at 50s clock site1 to 2147483640s for 1min\n"
                              "at 60s disk bridge1 eio for 30s\n"
                              "at 70s sink deaf for 10s\n"
                              "at 80s period device-1 to 100ms for 1min\n"
                              "at 1h snapshot line-1\nat 1h restore line-1\nat 1h wipe device-1\nat 1h alarm device-*\n"
                              "at 1h crash * for 1s");
    CHECK(p.world.seed == UINT64_MAX);
    CHECK_INT(p.world.devices, 3);
    CHECK(p.world.site);
    CHECK_INT(p.world.period_us, 250 * MS_US);
    CHECK_INT(p.length_us, 2 * HOUR_US);
    CHECK_INT(p.world.mistake, WORLD_MISTAKE_TRIM_BEFORE_ACK);
    CHECK_INT(p.count, 13);
    CHECK_INT(p.entries[0].at_us, 1500);
    CHECK_INT(p.entries[0].step, 7);
    CHECK_INT(p.entries[0].value, 2);
    CHECK_STR(p.entries[0].target, "line-2");
    CHECK_INT(p.entries[1].value, BUS_LINK_MUTE);
    CHECK_INT(p.entries[2].faults.loss_ppm, 20000);
    CHECK_INT(p.entries[2].faults.corrupt_ppm, 5);
    CHECK_INT(p.entries[2].faults.delay_us, 20 * MS_US);
    CHECK_INT(p.entries[2].faults.jitter_us, world_calm.jitter_us);
    CHECK_INT(p.entries[4].value, INT64_C(2147483640) * SECOND_US);
    CHECK_INT(p.entries[6].value, WORLD_SINK_DEAF);
    CHECK_STR(p.entries[6].target, "");
    CHECK_INT(p.entries[12].kind, PLAN_CRASH);
    plan_deinit(&p);
}

static void errors_are_told_with_their_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *told;
        enum err err;
    } cases[] = {
        {"", "empty", ERR_MALFORMED},
        {"weir-plan 3\n", "line 1: a plan begins with", ERR_MALFORMED},
        {"weir-plan 1\nline-rules thin\n", "line 2: there is no setting \"line-rules\"", ERR_MALFORMED},
        {"weir-plan 1\nring 1000\n", "line 2: there is no setting \"ring\"", ERR_MALFORMED},
        {"weir-plan 1\nat 1s rules gw1 to none for 1s\n", "there is no fault \"rules\"", ERR_MALFORMED},
        {"weir-plan 2\nline-rules mine\n", "\"mine\" is not known here", ERR_MALFORMED},
        {"weir-plan 2\nat 1s rules bridge1 to none for 1s\n", "no \"bridge1\" for rules", ERR_RANGE},
        {"weir-plan 2\nat 1s rules gw1 to none\n", "\"for\" was expected", ERR_MALFORMED},
        {"weir-plan 1\nseeds 3\n", "line 2: there is no setting \"seeds\"", ERR_MALFORMED},
        {"weir-plan 1\ndevices 0\n", "line 2: devices is 0; 1 to 64", ERR_RANGE},
        {"weir-plan 1\ndevices 3x\n", "\"3x\" is not a whole number", ERR_MALFORMED},
        {"weir-plan 1\ndevices -1\n", "\"-1\" is not a whole number", ERR_MALFORMED},
        {"weir-plan 1\nseed 18446744073709551616\n", "is not a whole number", ERR_MALFORMED},
        {"weir-plan 1\nperiod 5\n", "is not a duration", ERR_MALFORMED},
        {"weir-plan 1\nperiod 9223372036854775807d\n", "out of its bounds", ERR_RANGE},
        {"weir-plan 1\nperiod 0s\n", "out of its bounds", ERR_RANGE},
        {"weir-plan 1\nsite maybe\n", "\"maybe\" is not known here", ERR_MALFORMED},
        {"weir-plan 1\nsite yes\n", "a site needs lines", ERR_MALFORMED},
        {"weir-plan 1\nmistake of-mine\n", "there is no mistake \"of-mine\"", ERR_MALFORMED},
        {"weir-plan 1\ndevices 2 3\n", "\"3\" is too much", ERR_MALFORMED},
        {"weir-plan 1\nat 1s melt gw1\n", "there is no fault \"melt\"", ERR_MALFORMED},
        {"weir-plan 1\nat 1s crash gw1\n", "\"for\" was expected", ERR_MALFORMED},
        {"weir-plan 1\nat 1s crash gw2 for 1s\n", "this world has no \"gw2\" for crash", ERR_RANGE},
        {"weir-plan 1\nat 1s crash device-2 for 1s\n", "no \"device-2\"", ERR_RANGE},
        {"weir-plan 1\nat 1s crash device-01 for 1s\n", "no \"device-01\"", ERR_RANGE},
        {"weir-plan 1\nat 1s link bridge1 down for 1s\n", "no \"bridge1\" for link", ERR_RANGE},
        {"weir-plan 1\nat 1s link gw1 up for 1s\n", "\"up\" is not known here", ERR_MALFORMED},
        {"weir-plan 1\nat 1s messages gw1 for 1s loss 1000001\n", "loss is 1000001", ERR_RANGE},
        {"weir-plan 1\nat 1s wipe *\n", "no \"*\" for wipe", ERR_RANGE},
        {"weir-plan 1\nat 1s alarm device-1\ndevices 1\n", "line 3: \"devices\": settings stand before", ERR_MALFORMED},
        {"weir-plan 1\nat 1s alarm device-1234567890123456789012345678901234567890\n", "too long", ERR_MALFORMED},
        {"weir-plan 1\nat 1s alarm device-\x80\n", "no printable character", ERR_MALFORMED},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct plan plan;
        struct fault fault = {0};
        enum err err = plan_parse(slice_str(cases[i].text), &plan, &fault);
        if (err != cases[i].err) {
            fprintf(stderr, "case %zu: %s\n", i, cases[i].text);
        }
        CHECK_INT(err, cases[i].err);
        CHECK_CONTAINS(fault.text, cases[i].told);
        CHECK(plan.entries == NULL);
    }
}

static void a_plan_has_a_bounded_number_of_faults(void **state)
{
    (void)state;
    BUFFER(text, 1 << 20);
    buffer_put_str(&text, "weir-plan 1\n");
    for (int i = 0; i <= PLAN_ENTRIES_MAX; i++) {
        buffer_put_str(&text, "at 1s alarm device-1\n");
    }
    struct plan plan;
    struct fault fault = {0};
    CHECK_ERR(plan_parse(buffer_slice(&text), &plan, &fault), ERR_FULL);
    CHECK_CONTAINS(fault.text, "more than");
}

static void plans_of_seeds_read_back_as_they_were_printed(void **state)
{
    (void)state;
    uint64_t kinds = 0;
    for (uint64_t seed = 0; seed < 500; seed++) {
        struct plan made, made_again, read;
        struct fault fault = {0};
        BUFFER(first, 1 << 20);
        BUFFER(again, 1 << 20);
        BUFFER(second, 1 << 20);
        CHECK_OK(plan_make(seed, WORLD_MISTAKE_NONE, &made));
        CHECK_OK(plan_make(seed, WORLD_MISTAKE_NONE, &made_again));
        plan_print(&made, &first);
        plan_print(&made_again, &again);
        CHECK_OK(plan_parse(buffer_slice(&first), &read, &fault));
        plan_print(&read, &second);
        CHECK(slice_equal(buffer_slice(&first), buffer_slice(&again)));
        CHECK(slice_equal(buffer_slice(&first), buffer_slice(&second)));
        for (size_t i = 0; i < made.count; i++) {
            kinds |= UINT64_C(1) << made.entries[i].kind;
            CHECK(i == 0 || made.entries[i - 1].at_us <= made.entries[i].at_us);
        }
        plan_deinit(&made);
        plan_deinit(&made_again);
        plan_deinit(&read);
    }
    CHECK_INT(kinds, (UINT64_C(1) << PLAN_KIND_COUNT) - 1); /* every kind of fault occurs */
}

static void rules_are_of_the_second_version(void **state)
{
    (void)state;
    struct plan p = read_well("weir-plan 2\nlines 2\nsite yes\nline-rules windows\nsite-rules capture\nring 65536\n"
                              "at 5s rules line-2 to none for 1min step 3\nat 6s crash site1 for 1s\n");
    CHECK_INT(p.world.line_rules, WORLD_RULES_WINDOWS);
    CHECK_INT(p.world.site_rules, WORLD_RULES_CAPTURE);
    CHECK_INT(p.world.ring_bytes, 65536);
    CHECK_INT(p.entries[0].kind, PLAN_RULES);
    CHECK_INT(p.entries[0].value, WORLD_RULES_NONE);
    CHECK_INT(p.entries[0].for_us, MINUTE_US);
    BUFFER(text, 10000);
    plan_print(&p, &text);
    buffer_put_u8(&text, 0);
    CHECK_CONTAINS((const char *)text.ptr, "weir-plan 2\n");
    struct plan again = read_well((const char *)text.ptr);
    CHECK_INT(again.world.site_rules, WORLD_RULES_CAPTURE);
    CHECK_INT(again.count, 2);
    CHECK_INT(again.entries[0].step, 3);
    plan_deinit(&p);
    plan_deinit(&again);
    struct plan old = read_well("weir-plan 1\nat 6s crash gw1 for 1s\n");
    buffer_reset(&text);
    plan_print(&old, &text);
    buffer_put_u8(&text, 0);
    CHECK_CONTAINS((const char *)text.ptr, "weir-plan 1\n"); /* what needs no second version stays readable for the first */
    plan_deinit(&old);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_and_every_kind_of_fault_are_read),
        cmocka_unit_test(errors_are_told_with_their_line),
        cmocka_unit_test(a_plan_has_a_bounded_number_of_faults),
        cmocka_unit_test(plans_of_seeds_read_back_as_they_were_printed),
        cmocka_unit_test(rules_are_of_the_second_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
