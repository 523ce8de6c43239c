/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the host driver reads this machine, copes with a machine that has less, and with sources that vanish.
 */
#include "device/sense/sense.h"

#include <math.h>

#include "tests/support/check.h"
#include "tests/unit/device/sense/scratch.h"

static struct sense *open_host(const struct scratch *s, const char *root)
{
    struct sense *sense = NULL;
    struct fault fault = {0};
    struct sense_options options = {.driver = "host", .path = root};
    if (sense_open(s->loop, &options, &sense, &fault) != OK) {
        fail_msg("open failed: %s", fault.text);
    }
    return sense;
}

static double value_of(struct sense *sense, const double *values, const char *name)
{
    size_t count;
    const struct sense_channel *c = sense_channels(sense, &count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(c[i].name, name) == 0) {
            return values[i];
        }
    }
    fail_msg("no channel %s", name);
    return NAN;
}

static void write_machine(const struct scratch *s, unsigned step)
{
    char text[1000];
    snprintf(text, sizeof text, "cpu  %u 0 %u %u 0 0 0 0 0 0\ncpu0 1 2 3\n", 100 + 30 * step, 50 + 10 * step,
             1000 + 60 * step);
    scratch_write(s, "box/proc/stat", text);
    scratch_write(s, "box/proc/meminfo", "MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:  400 kB\n");
    scratch_write(s, "box/proc/loadavg", "0.50 0.40 0.30 1/234 999\n");
    snprintf(text, sizeof text,
             "   8 0 sda 1 0 %u 0 1 0 %u 0 0 0 0\n   8 1 sda1 1 0 9999 0 1 0 9999 0 0 0 0\n"
             "   7 0 loop0 1 0 %u 0 0 0 0 0 0 0 0\n",
             100 + 20 * step, 200 + 40 * step, 77 * step);
    scratch_write(s, "box/proc/diskstats", text);
    snprintf(text, sizeof text,
             "Inter-|   Receive\n face |bytes\n"
             "    lo: %u 1 0 0 0 0 0 0 %u 1 0 0 0 0 0 0\n  eth0:%u 1 0 0 0 0 0 0 %u 1 0 0 0 0 0 0\n",
             step * 5000, step * 5000, 1000 + 400 * step, 2000 + 600 * step);
    scratch_write(s, "box/proc/net/dev", text);
}

static void rates_are_differences_to_the_sample_before(void **state)
{
    struct scratch *s = *state;
    write_machine(s, 0);
    scratch_write(s, "box/proc/1/stat", "x");
    scratch_write(s, "box/proc/22/stat", "x");
    scratch_write(s, "box/sys/block/sda/size", "1");
    scratch_write(s, "box/sys/block/loop0/size", "1");
    scratch_write(s, "box/sys/class/thermal/thermal_zone0/temp", "41500\n");
    scratch_write(s, "box/sys/class/thermal/thermal_zone0/type", "cpu thermal\n");
    struct sense *sense = open_host(s, scratch_path(s, "box"));
    size_t count;
    (void)sense_channels(sense, &count);
    CHECK_INT(count, 9);
    write_machine(s, 1);
    loop_world_run(s->world, loop_world_now_us(s->world) + 2 * SECOND_US);
    double v[SENSE_CHANNELS_MAX];
    CHECK_OK(sense_read(sense, NULL, v));
    CHECK(value_of(sense, v, "cpu_busy") == 40);
    CHECK(value_of(sense, v, "memory_used") == 600);
    CHECK(value_of(sense, v, "load_1m") == 0.5);
    CHECK(value_of(sense, v, "processes") == 2);
    CHECK(value_of(sense, v, "disk_read") == 20 * 512 / 2);
    CHECK(value_of(sense, v, "disk_write") == 40 * 512 / 2);
    CHECK(value_of(sense, v, "net_rx") == 200);
    CHECK(value_of(sense, v, "net_tx") == 300);
    CHECK(value_of(sense, v, "temperature_cpu_thermal") == 41.5);
    sense_close(sense);
}

static void a_source_that_vanishes_gives_missing_values_and_comes_back(void **state)
{
    struct scratch *s = *state;
    write_machine(s, 0);
    struct sense *sense = open_host(s, scratch_path(s, "box"));
    double v[SENSE_CHANNELS_MAX];
    remove(scratch_path(s, "box/proc/net/dev"));
    remove(scratch_path(s, "box/proc/meminfo"));
    remove(scratch_path(s, "box/proc/stat"));
    loop_world_run(s->world, loop_world_now_us(s->world) + SECOND_US);
    CHECK_OK(sense_read(sense, NULL, v));
    CHECK(isnan(value_of(sense, v, "net_rx")));
    CHECK(isnan(value_of(sense, v, "memory_used")));
    CHECK(isnan(value_of(sense, v, "cpu_busy")));
    CHECK(value_of(sense, v, "load_1m") == 0.5);
    write_machine(s, 1);
    loop_world_run(s->world, loop_world_now_us(s->world) + SECOND_US);
    CHECK_OK(sense_read(sense, NULL, v));
    CHECK(isnan(value_of(sense, v, "net_rx"))); /* nothing to compare with yet */
    CHECK(value_of(sense, v, "memory_used") == 600);
    write_machine(s, 2);
    loop_world_run(s->world, loop_world_now_us(s->world) + SECOND_US);
    CHECK_OK(sense_read(sense, NULL, v));
    CHECK(value_of(sense, v, "net_rx") == 400);
    sense_close(sense);
}

static void a_counter_that_runs_backwards_is_missing_once(void **state)
{
    struct scratch *s = *state;
    write_machine(s, 5);
    struct sense *sense = open_host(s, scratch_path(s, "box"));
    double v[SENSE_CHANNELS_MAX];
    for (unsigned step = 1; step <= 2; step++) {
        write_machine(s, step);
        loop_world_run(s->world, loop_world_now_us(s->world) + SECOND_US);
        CHECK_OK(sense_read(sense, NULL, v));
        CHECK(isnan(value_of(sense, v, "net_rx")) == (step == 1));
        CHECK(isnan(value_of(sense, v, "cpu_busy")) == (step == 1));
    }
    sense_close(sense);
}

static void sources_that_are_missing_at_open_have_no_channel(void **state)
{
    struct scratch *s = *state;
    scratch_write(s, "bare/proc/loadavg", "1.25 0 0 1/2 3\n");
    struct sense *sense = open_host(s, scratch_path(s, "bare"));
    size_t count;
    const struct sense_channel *c = sense_channels(sense, &count);
    CHECK_INT(count, 1);
    CHECK_STR(c[0].name, "load_1m");
    sense_close(sense);
    struct fault fault = {0};
    struct sense_options options = {.driver = "host", .path = scratch_path(s, "nothing")};
    CHECK_ERR(sense_open(s->loop, &options, &sense, &fault), ERR_NOT_FOUND);
    CHECK_CONTAINS(fault.text, "nothing that can be read");
}

static void this_machine_can_be_read(void **state)
{
    struct scratch *s = *state;
    struct sense *sense = open_host(s, NULL);
    double v[SENSE_CHANNELS_MAX];
    CHECK_OK(sense_read(sense, NULL, v));
    CHECK(value_of(sense, v, "memory_used") > 1000);
    CHECK(value_of(sense, v, "processes") >= 1);
    sense_close(sense);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_differences_to_the_sample_before),
        cmocka_unit_test(a_source_that_vanishes_gives_missing_values_and_comes_back),
        cmocka_unit_test(a_counter_that_runs_backwards_is_missing_once),
        cmocka_unit_test(sources_that_are_missing_at_open_have_no_channel),
        cmocka_unit_test(this_machine_can_be_read),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
