/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a command makes the device sample faster from when it comes to its end and no longer, within the bounds that
 * its own settings draw; a flood of commands, strangers' commands and repeated ones change nothing of that.
 */
#include "core/base/buffer.h"
#include "device/agent/agent.h"
#include "proto/topic/topic.h"
#include "tests/support/check.h"
#include "tests/unit/device/report/rig.h"

static struct rig *listening_rig(int64_t fastest_us, int64_t longest_us)
{
    struct rig *rig = rig_new(16 << 20);
    rig->options.bounds = (struct agent_bounds){.fastest_us = fastest_us, .longest_us = longest_us};
    rig_start(rig);
    rig_run(rig, 10 * SECOND_US + SECOND_US / 2);
    return rig;
}

static uint64_t wall(const struct rig *rig)
{
    return report_wall_us(agent_report(rig->agent));
}

/* Ten times as fast for so long, and no deadline before that. */
static struct wire_command faster(const struct rig *rig, uint64_t id, int64_t for_us)
{
    return (struct wire_command){.site = "sim", .gateway = "gw", .device = "dev-1", .rule = "knock", .id = id,
                                 .factor = 10, .for_us = (uint64_t)for_us, .deadline_us = wall(rig) + HOUR_US};
}

static uint64_t samples_in(struct rig *rig, int64_t us)
{
    uint64_t before = rig_stats(rig).samples;
    rig_run(rig, us);
    return rig_stats(rig).samples - before;
}

static struct agent_command_stats commands(const struct rig *rig)
{
    struct agent_stats stats;
    agent_stats(rig->agent, &stats);
    return stats.commands;
}

static bool about(uint64_t value, uint64_t wanted, uint64_t off)
{
    return value + off >= wanted && value <= wanted + off;
}

static void a_command_is_obeyed_until_its_end_and_told(void **state)
{
    (void)state;
    struct rig *rig = listening_rig(10 * MS_US, MINUTE_US);
    CHECK_INT(samples_in(rig, 10 * SECOND_US), 10);
    struct wire_command c = faster(rig, 1, 5 * SECOND_US);
    rig_command(rig, &c);
    rig_run(rig, 10 * MS_US);
    CHECK_INT(agent_period_us(rig->agent), 100 * MS_US);
    CHECK(about(samples_in(rig, 5 * SECOND_US - 20 * MS_US), 50, 1));
    rig_run(rig, 20 * MS_US);
    CHECK_INT(agent_period_us(rig->agent), SECOND_US);
    CHECK(about(samples_in(rig, 10 * SECOND_US), 10, 1));
    struct rig_stream *s = rig_current(rig, 1);
    CHECK(rig_event(s, "sampling-faster", 0) != NULL && rig_event(s, "sampling-faster", 1) == NULL);
    CHECK(rig_event(s, "sampling-faster", 0)->value == 0.1);
    CHECK(rig_event(s, "sampling-normal", 0) != NULL && rig_event(s, "sampling-normal", 0)->value == 1);
    CHECK_INT(commands(rig).obeyed, 1);
    CHECK(about((uint64_t)commands(rig).fast_us, 5 * SECOND_US, 10));
    rig_expect_whole(s);
    rig_free(rig);
}

static void the_deadline_in_the_devices_own_clock_is_never_passed(void **state)
{
    (void)state;
    struct rig *rig = rig_new(16 << 20);
    rig->options.bounds = (struct agent_bounds){.fastest_us = 10 * MS_US, .longest_us = MINUTE_US};
    rig->options.report.wall_skew_us = -DAY_US;
    rig_start(rig);
    rig_run(rig, 10 * SECOND_US + SECOND_US / 2);
    struct wire_command c = faster(rig, 1, 50 * SECOND_US);
    c.deadline_us = wall(rig) + 3 * SECOND_US;
    rig_command(rig, &c);
    rig_run(rig, 3 * SECOND_US - 10 * MS_US);
    CHECK_INT(agent_period_us(rig->agent), 100 * MS_US);
    rig_run(rig, 20 * MS_US);
    CHECK_INT(agent_period_us(rig->agent), SECOND_US);
    c = faster(rig, 2, 50 * SECOND_US);
    c.deadline_us = wall(rig) - 1;
    rig_command(rig, &c);
    rig_run(rig, SECOND_US);
    CHECK_INT(agent_period_us(rig->agent), SECOND_US);
    CHECK_INT(commands(rig).expired, 1);
    rig_free(rig);
}

static void the_bounds_of_the_device_hold(void **state)
{
    (void)state;
    struct rig *rig = listening_rig(250 * MS_US, 8 * SECOND_US);
    struct wire_command c = faster(rig, 1, HOUR_US / 2);
    rig_command(rig, &c);
    rig_run(rig, 10 * MS_US);
    CHECK_INT(agent_period_us(rig->agent), 250 * MS_US);
    rig_run(rig, 8 * SECOND_US);
    CHECK_INT(agent_period_us(rig->agent), SECOND_US);
    c = faster(rig, 2, SECOND_US); /* nothing of the credit is left */
    rig_command(rig, &c);
    rig_run(rig, SECOND_US);
    CHECK_INT(commands(rig).spent, 1);
    c = faster(rig, 3, SECOND_US);
    c.factor = 0;
    c.period_us = 2 * SECOND_US;
    rig_run(rig, 5 * SECOND_US);
    rig_command(rig, &c);
    rig_run(rig, 10 * MS_US);
    CHECK_INT(commands(rig).too_slow, 1);
    c.id = 4;
    c.period_us = 500 * MS_US;
    rig_command(rig, &c);
    rig_run(rig, 10 * MS_US);
    CHECK_INT(agent_period_us(rig->agent), 500 * MS_US);
    rig_free(rig);
}

static void a_flood_of_commands_gets_half_of_the_time_at_most(void **state)
{
    (void)state;
    struct rig *rig = listening_rig(100 * MS_US, 10 * SECOND_US);
    int64_t began_us = commands(rig).fast_us;
    for (uint64_t i = 0; i < 10000; i++) { /* 500 s */
        struct wire_command c = faster(rig, i + 1, (int64_t)(1 + mix_u64(i) % (20 * SECOND_US)));
        rig_command(rig, &c);
        rig_run(rig, 50 * MS_US);
    }
    int64_t fast_us = commands(rig).fast_us - began_us;
    CHECK(fast_us > 100 * SECOND_US && fast_us <= 250 * SECOND_US + 10 * SECOND_US);
    CHECK(commands(rig).obeyed > 100 && commands(rig).spent > 1000);
    struct rig_stream *s = rig_current(rig, 1);
    size_t told = 0;
    while (rig_event(s, "sampling-faster", told) != NULL) {
        told++;
    }
    CHECK(told >= 2 && told <= 51);
    rig_run(rig, 30 * SECOND_US);
    CHECK_INT(agent_period_us(rig->agent), SECOND_US);
    CHECK_INT(rig->refused_records, 0);
    rig_free(rig);
}

static void of_two_commands_the_faster_rules_while_it_lasts(void **state)
{
    (void)state;
    struct rig *rig = listening_rig(10 * MS_US, MINUTE_US);
    struct wire_command c = faster(rig, 1, 2 * SECOND_US);
    rig_command(rig, &c);
    c = faster(rig, 2, 6 * SECOND_US);
    c.factor = 4;
    rig_command(rig, &c);
    rig_run(rig, SECOND_US);
    CHECK_INT(agent_period_us(rig->agent), 100 * MS_US);
    rig_run(rig, 2 * SECOND_US);
    CHECK_INT(agent_period_us(rig->agent), 250 * MS_US);
    rig_run(rig, 4 * SECOND_US);
    CHECK_INT(agent_period_us(rig->agent), SECOND_US);
    rig_free(rig);
}

static void a_repeated_command_prolongs_nothing(void **state)
{
    (void)state;
    struct rig *rig = listening_rig(10 * MS_US, MINUTE_US);
    struct wire_command c = faster(rig, 7, 2 * SECOND_US);
    for (unsigned i = 0; i < 6; i++) {
        rig_command(rig, &c);
        rig_run(rig, SECOND_US);
    }
    CHECK_INT(agent_period_us(rig->agent), SECOND_US);
    CHECK_INT(commands(rig).obeyed, 1);
    CHECK_INT(commands(rig).repeated, 5);
    CHECK(about((uint64_t)commands(rig).fast_us, 2 * SECOND_US, 10));
    rig_free(rig);
}

static void commands_for_others_and_garbage_are_refused(void **state)
{
    (void)state;
    struct rig *rig = listening_rig(10 * MS_US, MINUTE_US);
    struct wire_command strangers[3];
    for (unsigned i = 0; i < COUNT_OF(strangers); i++) {
        strangers[i] = faster(rig, i + 1, MINUTE_US);
    }
    snprintf(strangers[0].device, sizeof strangers[0].device, "dev-2");
    snprintf(strangers[1].site, sizeof strangers[1].site, "elsewhere");
    snprintf(strangers[2].gateway, sizeof strangers[2].gateway, "gw-2");
    for (unsigned i = 0; i < COUNT_OF(strangers); i++) {
        rig_command(rig, &strangers[i]);
    }
    CHECK_OK(bus_publish(rig->receiver_bus, slice_str("weir/v1/sim/gw/dev-1/cmd"), slice_str("nonsense"), 1, false));
    rig_run(rig, SECOND_US);
    CHECK_INT(agent_period_us(rig->agent), SECOND_US);
    CHECK_INT(commands(rig).refused, 4);
    CHECK_INT(commands(rig).obeyed, 0);
    rig_free(rig);
}

static void a_device_without_bounds_does_not_listen_and_says_so(void **state)
{
    (void)state;
    struct rig *rig = listening_rig(0, 0);
    struct wire_command c = faster(rig, 1, MINUTE_US);
    rig_command(rig, &c);
    rig_run(rig, SECOND_US);
    CHECK_INT(agent_period_us(rig->agent), SECOND_US);
    BUFFER(out, 16 * 1024);
    agent_status_json(rig->agent, &out);
    buffer_put_u8(&out, 0);
    CHECK_CONTAINS((const char *)out.ptr, "ignored: sense.fastest is not set");
    CHECK_OK(agent_set_bounds(rig->agent, &(struct agent_bounds){.fastest_us = 200 * MS_US, .longest_us = MINUTE_US}));
    rig_run(rig, SECOND_US); /* given while it runs: from now on it listens */
    c.id = 2;
    rig_command(rig, &c);
    rig_run(rig, SECOND_US);
    CHECK_INT(agent_period_us(rig->agent), 200 * MS_US);
    rig_free(rig);
}

static void other_settings_end_what_is_in_force(void **state)
{
    (void)state;
    struct rig *rig = listening_rig(10 * MS_US, MINUTE_US);
    struct wire_command c = faster(rig, 1, MINUTE_US);
    rig_command(rig, &c);
    rig_run(rig, SECOND_US);
    CHECK_INT(agent_period_us(rig->agent), 100 * MS_US);
    CHECK_OK(agent_set_bounds(rig->agent, &(struct agent_bounds){.fastest_us = 0}));
    CHECK_INT(agent_period_us(rig->agent), SECOND_US);
    c.id = 2;
    rig_command(rig, &c);
    rig_run(rig, SECOND_US);
    CHECK_INT(agent_period_us(rig->agent), SECOND_US);
    CHECK_OK(agent_set_bounds(rig->agent, &(struct agent_bounds){.fastest_us = 200 * MS_US, .longest_us = MINUTE_US}));
    agent_set_period(rig->agent, 2 * SECOND_US);
    rig_run(rig, MINUTE_US);
    c.id = 3;
    rig_command(rig, &c);
    rig_run(rig, SECOND_US);
    CHECK_INT(agent_period_us(rig->agent), 200 * MS_US);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_is_obeyed_until_its_end_and_told),
        cmocka_unit_test(the_deadline_in_the_devices_own_clock_is_never_passed),
        cmocka_unit_test(the_bounds_of_the_device_hold),
        cmocka_unit_test(a_flood_of_commands_gets_half_of_the_time_at_most),
        cmocka_unit_test(of_two_commands_the_faster_rules_while_it_lasts),
        cmocka_unit_test(a_repeated_command_prolongs_nothing),
        cmocka_unit_test(commands_for_others_and_garbage_are_refused),
        cmocka_unit_test(a_device_without_bounds_does_not_listen_and_says_so),
        cmocka_unit_test(other_settings_end_what_is_in_force),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
