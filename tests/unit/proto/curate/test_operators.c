/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: each rule does to a channel's values what its name says, exactly, record by record as in one piece, and says so
 * in its counts.
 */
#include "tests/unit/proto/curate/rig.h"

#define S SECOND_US
#define T0 (INT64_C(1600000000) * S)
#define NO NAN

/* One channel "a" in steps of 0.01; values go in as blocks of `rows`; what comes out must be `expected` (NaN-terminated
 * pairs of second and value). */
struct expected {
    double second, value;
};

static void check_out(struct rig *r, unsigned channel, const struct expected *expected, size_t count)
{
    static int64_t t[RIG_READINGS];
    static double v[RIG_READINGS];
    size_t is = rig_channel(r, channel, t, v);
    for (size_t i = 0; i < is && i < count; i++) {
        if (t[i] != T0 + (int64_t)(expected[i].second * 1e6) || v[i] != expected[i].value) {
            fprintf(stderr, "reading %zu is %.3f s: %.9g, expected %.3f s: %.9g\n", i, (double)(t[i] - T0) / 1e6, v[i],
                    expected[i].second, expected[i].value);
            fail();
        }
    }
    CHECK_INT(is, count);
}

static void run(const char *rules, const double *values, size_t count, size_t rows, const struct expected *expected,
                size_t expected_count)
{
    struct rig r;
    rig_start(&r, rules);
    rig_describe(&r, "a");
    for (size_t i = 0; i < count; i += rows) {
        rig_block(&r, T0 + (int64_t)i * S, S, count - i < rows ? count - i : rows, values + i);
    }
    check_out(&r, 0, expected, expected_count);
    rig_stop(&r);
}
/* In one record, and cut into several at every place. */
#define RUN(rules, values, ...)                                                                                        \
    do {                                                                                                               \
        static const struct expected expected_[] = __VA_ARGS__;                                                        \
        for (size_t rows_ = COUNT_OF(values); rows_ > 0; rows_--) {                                                    \
            run(rules, values, COUNT_OF(values), rows_, expected_, COUNT_OF(expected_));                               \
        }                                                                                                              \
    } while (0)

static void a_range_drops_what_is_outside(void **state)
{
    (void)state;
    static const double v[] = {1, -0.01, 0, 16, 16.01, NO, 3};
    RUN("rules: {r: {channels: a, do: range, min: 0, max: 16}}", v, {{0, 1}, {2, 0}, {3, 16}, {6, 3}});
}

static void a_range_that_flags_keeps_and_counts(void **state)
{
    (void)state;
    static const double v[] = {1, -1, 17};
    struct rig r;
    rig_start(&r, "rules: {r: {do: range, min: 0, max: 16, otherwise: flag}}");
    rig_describe(&r, "a");
    rig_block(&r, T0, S, 3, v);
    CHECK_INT(r.outcome, CURATE_KEPT);
    CHECK_INT(rig_stats(&r, 0).flagged, 2);
    CHECK_INT(rig_stats(&r, 0).seen, 3);
    CHECK_INT(rig_stats(&r, 0).dropped, 0);
    rig_stop(&r);
}

static void quality_drops_readings_of_a_worse_clock(void **state)
{
    (void)state;
    static const double v[] = {1, 2};
    static const struct {
        const char *rules;
        unsigned quality;
        enum curate_outcome outcome;
    } cases[] = {
        {"rules: {q: {do: quality, clock: ntp}}", WEIR__V1__CLOCK_QUALITY__UNSYNCED, CURATE_DROPPED},
        {"rules: {q: {do: quality, clock: ntp}}", WEIR__V1__CLOCK_QUALITY__GATEWAY, CURATE_DROPPED},
        {"rules: {q: {do: quality, clock: ntp}}", WEIR__V1__CLOCK_QUALITY__NTP, CURATE_KEPT},
        {"rules: {q: {do: quality, clock: gateway}}", WEIR__V1__CLOCK_QUALITY__UNSYNCED, CURATE_DROPPED},
        {"rules: {q: {do: quality, clock: gateway}}", WEIR__V1__CLOCK_QUALITY__GATEWAY, CURATE_KEPT},
        {"rules: {q: {do: quality, clock: gateway}}", WEIR__V1__CLOCK_QUALITY__NTP, CURATE_KEPT},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct rig r;
        rig_start(&r, cases[i].rules);
        rig_describe(&r, "a");
        r.quality = cases[i].quality;
        rig_block(&r, T0, S, 2, v);
        CHECK_INT(r.outcome, cases[i].outcome);
        rig_stop(&r);
    }
}

static void dedupe_drops_rows_that_repeat_in_all_its_channels(void **state)
{
    (void)state;
    static const double v[] = {1, 1, 1, 2, 2, /* b */ 5, 5, 6, 6, 6, /* c */ 1, 2, 3, 4, 5};
    static const struct expected a[] = {{0, 1}, {2, 1}, {3, 2}}, c[] = {{0, 1}, {1, 2}, {2, 3}, {3, 4}, {4, 5}};
    for (size_t rows = 1; rows <= 5; rows++) {
        struct rig r;
        rig_start(&r, "rules: {d: {channels: \"x*\", do: dedupe}}");
        rig_describe(&r, "xa,xb,c");
        for (size_t at = 0; at < 5; at += rows) {
            size_t n = 5 - at < rows ? 5 - at : rows;
            double part[15];
            for (size_t i = 0; i < 3 * n; i++) {
                part[i] = v[i / n * 5 + at + i % n];
            }
            rig_block(&r, T0 + (int64_t)at * S, S, n, part);
        }
        check_out(&r, 0, a, COUNT_OF(a));
        check_out(&r, 1, (const struct expected[]){{0, 5}, {2, 6}, {3, 6}}, 3);
        check_out(&r, 2, c, COUNT_OF(c));
        rig_stop(&r);
    }
}

static void convert_changes_values_unit_and_step(void **state)
{
    (void)state;
    struct rig r;
    static const double v[] = {32, 212, 68};
    rig_start(&r, "rules: {c: {channels: a, do: convert, factor: 0.5, offset: -16, unit: Cel}}");
    rig_describe(&r, "a:0.1:degF,b");
    CHECK_INT(r.outcome, CURATE_SHAPED);
    CHECK_STR(r.units[0], "Cel");
    CHECK_STR(r.units[1], "");
    CHECK(r.out_resolution[0] == 0.05 && r.out_resolution[1] == 0.01);
    CHECK(r.out_set != r.set);
    rig_block(&r, T0, S, 3, (const double[]){v[0], v[1], v[2], 1, 2, 3});
    check_out(&r, 0, (const struct expected[]){{0, 0}, {1, 90}, {2, 18}}, 3);
    check_out(&r, 1, (const struct expected[]){{0, 1}, {1, 2}, {2, 3}}, 3);
    CHECK_INT(rig_stats(&r, 0).changed, 3);
    rig_stop(&r);
    rig_start(&r, "rules: {c: {do: convert, factor: 0.5556, offset: -17.78, resolution: 0.25}}");
    rig_describe(&r, "a:0.1:degF");
    CHECK(r.out_resolution[0] == 0.25);
    CHECK_STR(r.units[0], "degF");
    rig_block(&r, T0, S, 3, v);
    check_out(&r, 0, (const struct expected[]){{0, 0}, {1, 100}, {2, 20}}, 3);
    rig_stop(&r);
}

static void a_deadband_keeps_what_is_farther_than_its_width(void **state)
{
    (void)state;
    static const double v[] = {10, 10.5, 9.5, 10.51, 10.6, NO, 10.01, 10.0, 11.5};
    RUN("rules: {d: {do: deadband, abs: 0.5}}", v, {{0, 10}, {3, 10.51}, {7, 10}, {8, 11.5}});
    static const double w[] = {100, 101, 102, 102.01, 100.5, 0, 0.01, 0};
    RUN("rules: {d: {do: deadband, percent: 2}}", w, {{0, 100}, {3, 102.01}, {5, 0}, {6, 0.01}, {7, 0}});
}

static void a_heartbeat_keeps_a_value_in_time(void **state)
{
    (void)state;
    static const double v[] = {1, 1, 1, 1, 5, 5, 5, 5, 5};
    RUN("rules: {d: {do: deadband, abs: 1, heartbeat: 3s}}", v, {{0, 1}, {3, 1}, {4, 5}, {7, 5}});
    RUN("rules: {d: {do: on-change, heartbeat: 3s}}", v, {{0, 1}, {3, 1}, {4, 5}, {7, 5}});
}

static void on_change_drops_equal_values(void **state)
{
    (void)state;
    static const double v[] = {1, 1, 1.01, 1.01, NO, 1.01, 1};
    RUN("rules: {d: {do: on-change}}", v, {{0, 1}, {2, 1.01}, {6, 1}});
}

static void a_rate_limits_evenly(void **state)
{
    (void)state;
    static const double v[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    RUN("rules: {d: {do: rate, rate: 0.4}}", v, {{0, 0}, {3, 3}, {5, 5}, {8, 8}, {10, 10}});
}

static void a_downsample_lets_one_value_stand_for_a_while(void **state)
{
    (void)state;
    /* T0 is a multiple of 5 s */
    static const double v[] = {1, 2, 3, 9, 4, /**/ 5, NO, 0, 7, 6, /**/ 8};
    RUN("rules: {d: {do: downsample, every: 5s}}", v, {{4, 4}, {9, 6}});
    RUN("rules: {d: {do: downsample, every: 5s, by: first}}", v, {{0, 1}, {5, 5}, {10, 8}});
    RUN("rules: {d: {do: downsample, every: 5s, by: min}}", v, {{0, 1}, {7, 0}});
    RUN("rules: {d: {do: downsample, every: 5s, by: max}}", v, {{3, 9}, {8, 7}});
    RUN("rules: {d: {do: downsample, every: 5s, by: mean}}", v, {{0, 3.8}, {5, 4.5}});
    const double sparse[] = {NAN, NAN, 4, 6, NAN, NAN, 1, 3, NAN, NAN, 9};
    RUN("rules: {d: {do: downsample, every: 5s, by: mean}}", sparse, {{2, 5}, {6, 2}}); /* never before the first value */
}

static void rules_apply_in_the_order_of_the_file(void **state)
{
    (void)state;
    static const double v[] = {1, 99, 1.2, 1.6, 99, 3};
    RUN("rules: {d: {do: deadband, abs: 0.5}, r: {do: range, max: 50}}", v, {{0, 1}, {2, 1.2}, {5, 3}});
    RUN("rules: {r: {do: range, max: 50}, d: {do: deadband, abs: 0.5}}", v, {{0, 1}, {3, 1.6}, {5, 3}});
}

static void a_rule_is_for_its_devices_and_channels_only(void **state)
{
    (void)state;
    struct rig r;
    static const double v[] = {1, 1, 1, 1};
    rig_start(&r, "rules: {d: {devices: \"fan-*\", do: on-change}, e: {channels: z, do: on-change}}");
    rig_describe(&r, "a,b");
    rig_block(&r, T0, S, 2, v);
    CHECK_INT(r.outcome, CURATE_KEPT);
    rig_stop(&r);
}

static void a_block_without_a_value_left_is_dropped_by_who_took_most(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, "rules: {r: {do: range, max: 5}, c: {do: on-change}}");
    rig_describe(&r, "a,b");
    rig_block(&r, T0, S, 3, (const double[]){1, 1, 1, 2, 2, 2});
    CHECK_INT(r.outcome, CURATE_SHAPED);
    CHECK_STR(r.rule->name, "c");
    rig_block(&r, T0 + 3 * S, S, 3, (const double[]){1, 1, 9, 2, 2, 2});
    CHECK_INT(r.outcome, CURATE_DROPPED);
    CHECK_STR(r.rule->name, "c");
    rig_block(&r, T0 + 6 * S, S, 3, (const double[]){9, 9, 9, 2, 7, 9});
    CHECK_INT(r.outcome, CURATE_DROPPED);
    CHECK_STR(r.rule->name, "r");
    CHECK_INT(rig_stats(&r, 0).seen, 18);
    CHECK_INT(rig_stats(&r, 0).dropped, 6);
    CHECK_INT(rig_stats(&r, 1).seen, 12);
    CHECK_INT(rig_stats(&r, 1).dropped, 10);
    rig_stop(&r);
}

static void a_block_that_no_rule_touches_stays_as_it_came(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, "rules: {r: {do: range, max: 5}, d: {do: deadband, abs: 0.1}}");
    rig_describe(&r, "a,b");
    rig_block(&r, T0, S, 3, (const double[]){1, 2, 3, NO, NO, NO});
    CHECK_INT(r.outcome, CURATE_KEPT);
    CHECK(r.rule == NULL);
    rig_stop(&r);
}

/* Values that a double does not hold exactly come through untouched. */
static void rows_that_stay_keep_their_exact_cells(void **state)
{
    (void)state;
    struct rig r;
    int64_t cells[3] = {INT64_C(4611686018427387903), INT64_C(9007199254740993), 5}, back[3];
    double one = 1;
    size_t channels;
    rig_start(&r, "rules: {r: {do: range, min: 10}}");
    rig_describe(&r, "a:1");
    BUFFER(columns, 1000);
    CHECK_OK(block_encode(cells, &one, 1, 3, &columns));
    Weir__V1__Block b = WEIR__V1__BLOCK__INIT;
    b.set = r.set;
    b.wall_us = (uint64_t)T0;
    b.samples = 3;
    b.period_us = S;
    b.columns = (ProtobufCBinaryData){.data = columns.ptr, .len = columns.len};
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_BLOCK;
    record.block = &b;
    rig_pack(&r, &record);
    CHECK_INT(r.outcome, CURATE_SHAPED);
    Weir__V1__Record *up;
    arena_reset(&r.arena);
    CHECK_OK(wire_record_unpack(buffer_slice(&r.last), &r.arena, &up));
    const Weir__V1__Block *left = up->curated->block;
    CHECK_INT(left->samples, 2);
    CHECK_OK(block_decode(slice_of(left->columns.data, left->columns.len), 2, 1, back, NULL, &channels));
    CHECK(back[0] == cells[0] && back[1] == cells[1]);
    rig_stop(&r);
}

/* 64 channels of 1024 rows, of which half the rows get company from results with times of their own. */
static void more_rows_than_a_block_holds_find_room_in_others(void **state)
{
    (void)state;
    struct rig r;
    enum { ROWS = 1024 };
    static double v[2 * ROWS];
    rig_start(&r, "rules: {d: {channels: a, do: downsample, every: 1500ms, by: mean}}");
    rig_describe(&r, "a,b");
    for (size_t i = 0; i < ROWS; i++) {
        v[i] = (double)i;
        v[ROWS + i] = (double)(i % 7);
    }
    rig_block(&r, T0 + 100000, S, ROWS, v);
    CHECK_INT(r.outcome, CURATE_SHAPED);
    static int64_t t[RIG_READINGS];
    static double out[RIG_READINGS];
    CHECK_INT(rig_channel(&r, 1, t, out), ROWS);
    size_t means = rig_channel(&r, 0, t, out);
    CHECK_INT(means, 682); /* of 1024 s; the last is still held */
    for (size_t i = 1; i < means; i++) {
        CHECK(t[i] > t[i - 1] && out[i] > out[i - 1]);
    }
    CHECK_INT(rig_stats(&r, 0).cut, 0);
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_range_drops_what_is_outside),
        cmocka_unit_test(a_range_that_flags_keeps_and_counts),
        cmocka_unit_test(quality_drops_readings_of_a_worse_clock),
        cmocka_unit_test(dedupe_drops_rows_that_repeat_in_all_its_channels),
        cmocka_unit_test(convert_changes_values_unit_and_step),
        cmocka_unit_test(a_deadband_keeps_what_is_farther_than_its_width),
        cmocka_unit_test(a_heartbeat_keeps_a_value_in_time),
        cmocka_unit_test(on_change_drops_equal_values),
        cmocka_unit_test(a_rate_limits_evenly),
        cmocka_unit_test(a_downsample_lets_one_value_stand_for_a_while),
        cmocka_unit_test(rules_apply_in_the_order_of_the_file),
        cmocka_unit_test(a_rule_is_for_its_devices_and_channels_only),
        cmocka_unit_test(a_block_without_a_value_left_is_dropped_by_who_took_most),
        cmocka_unit_test(a_block_that_no_rule_touches_stays_as_it_came),
        cmocka_unit_test(rows_that_stay_keep_their_exact_cells),
        cmocka_unit_test(more_rows_than_a_block_holds_find_room_in_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
