/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the drivers that make their own values make the same ones for the same seed or place, and the pump behaves as a
 * pump does, sound and faulty.
 */
#include "device/sense/sense.h"

#include <math.h>

#include "tests/support/check.h"
#include "tests/unit/device/sense/scratch.h"

enum { FLOW, PRESSURE, SPEED, MOTOR_CURRENT, BEARING_TEMP, VIBRATION_RMS, PUMP_CHANNELS, HOUR = 3600 };

static struct sense *open_driver(const struct scratch *s, const struct sense_options *options)
{
    struct sense *sense = NULL;
    CHECK_OK(sense_open(s->loop, options, &sense, NULL));
    return sense;
}

/* Means over the last tenth of an hour of steps, when a fault is at its worst. */
static void pump_means(const struct scratch *s, uint64_t seed, const char *fault, double means[PUMP_CHANNELS])
{
    struct sense *sense = open_driver(s, &(struct sense_options){.driver = "pump", .seed = seed, .fault = fault});
    memset(means, 0, PUMP_CHANNELS * sizeof *means);
    for (unsigned step = 0; step < HOUR; step++) {
        double v[PUMP_CHANNELS];
        CHECK_OK(sense_read(sense, NULL, v));
        for (unsigned i = 0; i < PUMP_CHANNELS && step >= HOUR - HOUR / 10; i++) {
            means[i] += v[i] / (HOUR / 10);
        }
    }
    sense_close(sense);
}

static void an_unknown_driver_is_told_with_the_known_ones(void **state)
{
    struct scratch *s = *state;
    struct sense *sense = NULL;
    struct fault fault = {0};
    struct sense_options options = {.driver = "modbus"};
    CHECK_ERR(sense_open(s->loop, &options, &sense, &fault), ERR_NOT_FOUND);
    CHECK_CONTAINS(fault.text, "\"modbus\"; there are host, csv, pump, pattern");
    options = (struct sense_options){.driver = "pump", .fault = "rust"};
    CHECK_ERR(sense_open(s->loop, &options, &sense, &fault), ERR_NOT_FOUND);
    CHECK_CONTAINS(fault.text, "\"rust\"");
}

static void the_pattern_depends_on_every_part_of_the_place_and_on_nothing_else(void **state)
{
    (void)state;
    int64_t v = sense_pattern("pump-1", 7, 8, 9, 1);
    CHECK_INT(sense_pattern("pump-1", 7, 8, 9, 1), v);
    CHECK(sense_pattern("pump-2", 7, 8, 9, 1) != v);
    CHECK(sense_pattern("pump-1", 6, 8, 9, 1) != v);
    CHECK(sense_pattern("pump-1", 7, 9, 9, 1) != v);
    CHECK(sense_pattern("pump-1", 7, 8, 8, 1) != v);
    CHECK(sense_pattern("pump-1", 7, 8, 9, 0) != v);
    int64_t low = 0, high = 0;
    for (unsigned i = 0; i < 100000; i++) {
        int64_t p = sense_pattern("d", 1, i, 0, 0);
        low = min_i64(low, p);
        high = max_i64(high, p);
    }
    CHECK(low >= -(1 << 20) && low < -1000000);
    CHECK(high <= 1 << 20 && high > 1000000);
}

static void the_pattern_driver_gives_the_pattern(void **state)
{
    struct scratch *s = *state;
    struct sense *sense = open_driver(s, &(struct sense_options){.driver = "pattern", .channels = 3});
    struct sense_place place = {.device = "d", .epoch = 5, .number = 6, .index = 7};
    double v[3];
    CHECK_OK(sense_read(sense, &place, v));
    for (unsigned i = 0; i < 3; i++) {
        CHECK(v[i] == (double)sense_pattern("d", 5, 6, 7, i));
    }
    CHECK_ERR(sense_read(sense, NULL, v), ERR_RANGE);
    sense_close(sense);
}

static void the_same_seed_gives_the_same_pump(void **state)
{
    struct scratch *s = *state;
    struct sense_options options = {.driver = "pump", .seed = 42, .fault = "auto"};
    struct sense *a = open_driver(s, &options), *b = open_driver(s, &options);
    options.seed = 43;
    struct sense *c = open_driver(s, &options);
    bool differs = false;
    for (unsigned step = 0; step < 5000; step++) {
        double va[PUMP_CHANNELS], vb[PUMP_CHANNELS], vc[PUMP_CHANNELS];
        CHECK_OK(sense_read(a, NULL, va));
        CHECK_OK(sense_read(b, NULL, vb));
        CHECK_OK(sense_read(c, NULL, vc));
        CHECK(memcmp(va, vb, sizeof va) == 0);
        differs = differs || va[FLOW] != vc[FLOW];
    }
    CHECK(differs);
    sense_close(a);
    sense_close(b);
    sense_close(c);
}

static void a_sound_pump_keeps_within_its_curve(void **state)
{
    struct scratch *s = *state;
    double m[PUMP_CHANNELS];
    pump_means(s, 1, "none", m);
    CHECK(m[FLOW] > 25 && m[FLOW] < 42);
    CHECK(m[PRESSURE] > 1.5 && m[PRESSURE] < 3.5);
    CHECK(m[SPEED] > 2450 && m[SPEED] < 2950);
    CHECK(m[MOTOR_CURRENT] > 4 && m[MOTOR_CURRENT] < 11);
    CHECK(m[BEARING_TEMP] > 35 && m[BEARING_TEMP] < 65);
    CHECK(m[VIBRATION_RMS] > 1 && m[VIBRATION_RMS] < 2);
}

static void wear_heats_and_shakes_the_pump(void **state)
{
    struct scratch *s = *state;
    double sound[PUMP_CHANNELS], worn[PUMP_CHANNELS];
    pump_means(s, 1, "none", sound);
    pump_means(s, 1, "wear", worn);
    CHECK(worn[VIBRATION_RMS] > sound[VIBRATION_RMS] + 3);
    CHECK(worn[BEARING_TEMP] > sound[BEARING_TEMP] + 10);
    CHECK(worn[MOTOR_CURRENT] > sound[MOTOR_CURRENT]);
    CHECK(worn[FLOW] < sound[FLOW]);
}

static void a_leak_takes_flow_and_pressure(void **state)
{
    struct scratch *s = *state;
    double sound[PUMP_CHANNELS], leaking[PUMP_CHANNELS];
    pump_means(s, 1, "none", sound);
    pump_means(s, 1, "leak", leaking);
    CHECK(leaking[FLOW] < 0.9 * sound[FLOW]);
    CHECK(leaking[PRESSURE] < 0.9 * sound[PRESSURE]);
    CHECK(fabs(leaking[SPEED] - sound[SPEED]) < 5);
}

static void a_stuck_sensor_repeats_one_value_and_only_that_sensor(void **state)
{
    struct scratch *s = *state;
    struct sense *sense = open_driver(s, &(struct sense_options){.driver = "pump", .seed = 9, .fault = "stuck"});
    double last[PUMP_CHANNELS] = {0};
    unsigned repeats[PUMP_CHANNELS] = {0}, stuck = 0;
    for (unsigned step = 0; step < HOUR; step++) {
        double v[PUMP_CHANNELS];
        CHECK_OK(sense_read(sense, NULL, v));
        for (unsigned i = 0; i < PUMP_CHANNELS; i++) {
            repeats[i] += step > 0 && v[i] == last[i];
            last[i] = v[i];
        }
    }
    for (unsigned i = 0; i < PUMP_CHANNELS; i++) {
        stuck += repeats[i] > 1000;
        CHECK(repeats[i] > 1000 || repeats[i] == 0);
    }
    CHECK_INT(stuck, 1);
    sense_close(sense);
}

/* The first step whose vibration is farther above the sound pump's than noise is; 0 = none. */
static unsigned worn_from(const struct scratch *s, const struct sense_options *options, unsigned from, unsigned to)
{
    struct sense_options sound = *options;
    sound.fault = "none";
    struct sense *a = open_driver(s, options), *b = open_driver(s, &sound);
    unsigned found = 0;
    for (unsigned step = 0; step < to && found == 0; step++) {
        double va[PUMP_CHANNELS], vb[PUMP_CHANNELS];
        CHECK_OK(sense_read(a, NULL, va));
        CHECK_OK(sense_read(b, NULL, vb));
        found = step >= from && va[VIBRATION_RMS] > vb[VIBRATION_RMS] ? step : 0; /* the same noise */
    }
    sense_close(a);
    sense_close(b);
    return found;
}

static void a_fault_begins_when_it_is_told_to_and_again_with_every_cycle(void **state)
{
    struct scratch *s = *state;
    struct sense_options options = {.driver = "pump", .seed = 3, .fault = "wear", .onset = 200, .cycle = 500};
    CHECK_INT(worn_from(s, &options, 0, HOUR), 200);
    CHECK_INT(worn_from(s, &options, 500, HOUR), 700);
    options.onset = 0; /* by the seed, within the cycle */
    unsigned at = worn_from(s, &options, 0, HOUR);
    CHECK(at >= 500 / 6 && at < 500 * 2 / 3);
    CHECK_INT(worn_from(s, &options, 500, HOUR), at + 500);
    options.cycle = 0;
    at = worn_from(s, &options, 0, HOUR);
    CHECK(at >= 600 && at < 2400);

    struct sense *sense = NULL;
    struct fault fault = {0};
    options = (struct sense_options){.driver = "pump", .fault = "wear", .onset = 500, .cycle = 500};
    CHECK_ERR(sense_open(s->loop, &options, &sense, &fault), ERR_RANGE);
    CHECK_CONTAINS(fault.text, "its cycle of 500 samples");
    for (options.onset = 0, options.cycle = 1; options.cycle < 20; options.cycle++) {
        CHECK_OK(sense_open(s->loop, &options, &sense, &fault));
        sense_close(sense);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_driver_is_told_with_the_known_ones),
        cmocka_unit_test(the_pattern_depends_on_every_part_of_the_place_and_on_nothing_else),
        cmocka_unit_test(the_pattern_driver_gives_the_pattern),
        cmocka_unit_test(the_same_seed_gives_the_same_pump),
        cmocka_unit_test(a_sound_pump_keeps_within_its_curve),
        cmocka_unit_test(wear_heats_and_shakes_the_pump),
        cmocka_unit_test(a_leak_takes_flow_and_pressure),
        cmocka_unit_test(a_stuck_sensor_repeats_one_value_and_only_that_sensor),
        cmocka_unit_test(a_fault_begins_when_it_is_told_to_and_again_with_every_cycle),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
