/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: every value that a swinging door or a deadband drops can be had back from what it kept, within the distance
 * that the rule declares, whatever the signal.
 */
#include "tests/unit/proto/curate/rig.h"

#define S SECOND_US
#define T0 (INT64_C(1600000000) * S)

enum { COUNT = 4000 };

static int64_t in_t[COUNT], out_t[RIG_READINGS];
static double in_v[COUNT], out_v[RIG_READINGS];

/* Signals of many kinds; some values are missing. */
static double signal(unsigned kind, unsigned i, uint64_t seed)
{
    double n = rig_noise(seed * 1000003 + i), x = (double)i;
    static double walk;
    walk = i == 0 ? 0 : walk + n;
    switch (kind) {
    case 0: return 20 + 5 * sin(x / 50) + 0.1 * n;
    case 1: return walk;
    case 2: return i % 100 < 50 ? 0 : 10;
    case 3: return x * 0.03 + (i % 700 == 0 ? 50 : 0);
    case 4: return 1000 * n;
    case 5: return 7;
    case 6: return n > 0.9 ? NAN : 3 * sin(x / 9) + n;
    default: return 1e6 + 0.01 * (double)(i % 3);
    }
}

/* Uneven times, some of them far apart. */
static int64_t step_of(unsigned kind, unsigned i, uint64_t seed)
{
    double n = rig_noise(seed * 77 + i);
    return kind % 2 == 0 ? S : (int64_t)(S * (1.5 + n)) + (n > 0.98 ? 300 * S : 0) + 1;
}

static size_t feed(struct rig *r, unsigned kind, uint64_t seed)
{
    int64_t t = T0;
    size_t present = 0;
    rig_describe(r, kind % 3 == 0 ? "a:0.01" : kind % 3 == 1 ? "a:0.25" : "a:0.001");
    for (unsigned i = 0; i < COUNT;) {
        int64_t times[64];
        double values[64];
        size_t rows = 1 + (size_t)(mix_u64(seed ^ i) % 64);
        size_t n = 0;
        for (; n < rows && i < COUNT; n++, i++) {
            t += step_of(kind, i, seed);
            times[n] = t;
            values[n] = signal(kind, i, seed);
            double v = block_value(block_quantise(values[n], r->resolution[0]), r->resolution[0]);
            if (!isnan(v)) {
                in_t[present] = t;
                in_v[present++] = v;
            }
        }
        rig_block_at(r, times, n, values);
    }
    return present;
}

/* Worst distance from the line through what was kept; how many values lie behind the last one kept: *ret_open. */
static double worst_linear(size_t present, size_t kept, size_t *ret_open)
{
    double worst = 0;
    size_t k = 0;
    *ret_open = 0;
    for (size_t i = 0; i < present; i++) {
        while (k + 1 < kept && out_t[k + 1] <= in_t[i]) {
            k++;
        }
        CHECK(out_t[k] <= in_t[i]);
        if (out_t[k] == in_t[i]) {
            worst = fmax(worst, fabs(out_v[k] - in_v[i]));
        } else if (k + 1 < kept) {
            double part = (double)(in_t[i] - out_t[k]) / (double)(out_t[k + 1] - out_t[k]);
            worst = fmax(worst, fabs(out_v[k] + part * (out_v[k + 1] - out_v[k]) - in_v[i]));
        } else {
            ++*ret_open;
        }
    }
    return worst;
}

static void the_door_holds_its_bound(void **state)
{
    (void)state;
    static const double bounds[] = {0.02, 0.5, 3};
    for (unsigned kind = 0; kind < 8; kind++) {
        for (size_t b = 0; b < COUNT_OF(bounds); b++) {
            struct rig r;
            char rules[100];
            size_t open;
            snprintf(rules, sizeof(rules), "rules: {d: {do: swinging-door, abs: %g%s}}", bounds[b],
                     b == 1 ? ", heartbeat: 90s" : "");
            rig_start(&r, rules);
            size_t present = feed(&r, kind, 10 * kind + b), kept = rig_channel(&r, 0, out_t, out_v);
            double worst = worst_linear(present, kept, &open);
            if (worst > bounds[b] * (1 + 1e-9)) {
                fprintf(stderr, "signal %u: off by %.12g, the bound is %g\n", kind, worst, bounds[b]);
                fail();
            }
            for (size_t i = 0; i < kept; i++) { /* on the sensor's steps, in order */
                CHECK(out_v[i] == block_value(block_quantise(out_v[i], r.resolution[0]), r.resolution[0]));
                CHECK(i == 0 || out_t[i] > out_t[i - 1]);
            }
            CHECK(kept <= present);
            if ((kind == 0 || kind == 5) && b == 2) { /* calm signals shrink */
                CHECK(kept < present / 10);
            }
            if (b == 1) {
                CHECK(in_t[present - 1] - out_t[kept - 1] < 90 * S);
            }
            CHECK_INT(rig_stats(&r, 0).seen, present);
            CHECK_INT(rig_stats(&r, 0).dropped, present - kept);
            rig_stop(&r);
        }
    }
}

static void a_deadband_holds_its_bound(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 8; kind++) {
        struct rig r;
        rig_start(&r, kind % 2 ? "rules: {d: {do: deadband, abs: 0.7}}" : "rules: {d: {do: deadband, percent: 3}}");
        size_t present = feed(&r, kind, kind), kept = rig_channel(&r, 0, out_t, out_v), k = 0;
        for (size_t i = 0; i < present; i++) {
            while (k + 1 < kept && out_t[k + 1] <= in_t[i]) {
                k++;
            }
            double bound = kind % 2 ? 0.7 : 0.03 * fabs(out_v[k]);
            CHECK(fabs(out_v[k] - in_v[i]) <= bound * (1 + 1e-12));
        }
        rig_stop(&r);
    }
}

static void a_bound_below_half_a_step_keeps_everything(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, "rules: {d: {do: swinging-door, abs: 0.1}}");
    rig_describe(&r, "a:0.25");
    rig_block(&r, T0, S, 5, (const double[]){1, 1, 1, 1.25, 1.25});
    CHECK_INT(r.outcome, CURATE_KEPT);
    rig_stop(&r);
}

static void a_straight_line_is_two_corners(void **state)
{
    (void)state;
    struct rig r;
    double v[100];
    rig_start(&r, "rules: {d: {do: swinging-door, abs: 0.1}}");
    rig_describe(&r, "a:0.01");
    for (unsigned i = 0; i < 100; i++) {
        v[i] = i < 60 ? 0.5 * i : 30 - 0.25 * (i - 60.0);
    }
    rig_series(&r, T0, S, 100, v);
    size_t kept = rig_channel(&r, 0, out_t, out_v);
    CHECK_INT(kept, 2); /* the start and the top; the rest is still a line */
    CHECK_INT(out_t[1], T0 + 60 * S);
    CHECK(fabs(out_v[1] - 30) <= 0.1);
    rig_stop(&r);
}

/* A block that begins before the last value: the line ends with what was really there. */
static void a_clock_that_is_set_back_ends_the_line(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, "rules: {d: {do: swinging-door, abs: 0.1}}");
    rig_describe(&r, "a:0.01");
    rig_block(&r, T0, S, 4, (const double[]){1, 2, 3, 4.05});
    rig_block(&r, T0 - 3600 * S, S, 3, (const double[]){10, 11, 12});
    size_t kept = rig_channel(&r, 0, out_t, out_v);
    CHECK_INT(kept, 3);
    bool found = false, begun = false;
    for (size_t i = 0; i < kept; i++) {
        found |= out_t[i] == T0 + 3 * S && out_v[i] == 4.05;
        begun |= out_t[i] == T0 - 3600 * S && out_v[i] == 10;
    }
    CHECK(found && begun);
    rig_stop(&r);
}

/* Best answer that what went up within [from, to] gives for t. */
static double off_by(size_t kept, int64_t from, int64_t to, int64_t t, double v)
{
    size_t below = kept, above = kept;
    double best = INFINITY;
    for (size_t i = 0; i < kept; i++) {
        if (out_t[i] < from || out_t[i] > to) {
            continue;
        }
        if (out_t[i] == t) {
            best = fmin(best, fabs(out_v[i] - v));
        }
        below = out_t[i] < t && (below == kept || out_t[i] >= out_t[below]) ? i : below;
        above = out_t[i] > t && (above == kept || out_t[i] < out_t[above]) ? i : above;
    }
    if (isinf(best) && below < kept && above < kept) {
        double part = (double)(t - out_t[below]) / (double)(out_t[above] - out_t[below]);
        best = fabs(out_v[below] + part * (out_v[above] - out_v[below]) - v);
    }
    return best;
}

/* Steps, spikes, the largest numbers, times that stand still; and after every stretch the clock goes back, so that
 * the line must end with what it has. */
static void no_value_is_lost_by_a_clock_that_keeps_going_back(void **state)
{
    (void)state;
    enum { STRETCHES = 300, LONGEST = 24 };
    static const double steps[] = {0.01, 0.25, 1, 1e9, 1e-9};
    for (size_t k = 0; k < COUNT_OF(steps); k++) {
        double step = steps[k], bound = 40 * step, wildest = k == 3 ? 1e18 : 1e5;
        struct rig r;
        char text[100];
        snprintf(text, sizeof(text), "rules: {d: {do: swinging-door, abs: %.17g}}", bound);
        rig_start(&r, text);
        snprintf(text, sizeof(text), "a:%.17g", step);
        rig_describe(&r, text);
        static int64_t t[STRETCHES][LONGEST];
        static double v[STRETCHES][LONGEST];
        static size_t n[STRETCHES];
        for (unsigned j = 0; j < STRETCHES; j++) {
            int64_t at = T0 - j * 1000 * S;
            n[j] = 2 + mix_u64(j * 31 + k) % (LONGEST - 1);
            for (size_t i = 0; i < n[j]; i++) {
                uint64_t dice = mix_u64(j * 1000 + i);
                double noise = rig_noise(dice);
                at += dice % 9 == 0 ? 0 : dice % 7 == 0 ? 1 : S / 3 + (int64_t)(dice % 1000);
                t[j][i] = at;
                double units = dice % 13 == 0 ? wildest * noise : dice % 5 == 0 ? 41.0 * (i % 2) : 39 * noise;
                double raw = units * step;
                v[j][i] = block_value(block_quantise(raw, step), step);
            }
            rig_block_at(&r, t[j], n[j], v[j]);
        }
        size_t kept = rig_channel(&r, 0, out_t, out_v);
        for (unsigned j = 0; j + 1 < STRETCHES; j++) { /* the last one is open */
            for (size_t i = 0; i < n[j]; i++) {
                double off = off_by(kept, t[j][0], t[j][n[j] - 1], t[j][i], v[j][i]);
                if (!(off <= bound * (1 + 1e-9) + 1e-15 * wildest * step)) {
                    fprintf(stderr, "step %g: stretch %u value %zu is off by %.17g of %g\n", step, j, i, off, bound);
                    fail();
                }
            }
        }
        CHECK_INT(rig_stats(&r, 0).seen - rig_stats(&r, 0).dropped, kept);
        rig_stop(&r);
    }
}

/* New rules let go what the old ones held: the end of a line, not the last value, which may lie beside it. */
static void a_line_that_new_rules_end_holds_its_bound(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, "rules: {d: {do: swinging-door, abs: 1}}");
    rig_describe(&r, "a:0.01");
    rig_block(&r, T0, S, 3, (const double[]){0, 0.9, -0.9});
    rig_change(&r, "rules: {x: {do: range, max: 100}}");
    rig_block(&r, T0 + 3 * S, S, 1, (const double[]){5});
    size_t kept = rig_channel(&r, 0, out_t, out_v);
    CHECK_INT(kept, 3);
    CHECK(out_t[1] == T0 + 2 * S && fabs(out_v[1] + 0.9) <= 1 && fabs(out_v[1] / 2 - 0.9) <= 1);
    rig_stop(&r);
}

/* The corner belongs to a row of the record before: it comes as a row of its own, in front. */
static void a_corner_of_an_earlier_record_is_a_row_of_its_own(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, "rules: {d: {channels: a, do: swinging-door, abs: 0.1}}");
    rig_describe(&r, "a:0.01,b");
    rig_block(&r, T0, S, 3, (const double[]){1, 1, 1, 7, 8, 9});
    rig_block(&r, T0 + 3 * S, S, 2, (const double[]){5, 9, 6, 5});
    CHECK_INT(rig_channel(&r, 0, out_t, out_v), 2);
    CHECK(out_t[1] == T0 + 2 * S && fabs(out_v[1] - 1) <= 0.1);
    CHECK_INT(rig_channel(&r, 1, out_t, out_v), 5);
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_door_holds_its_bound),
        cmocka_unit_test(a_deadband_holds_its_bound),
        cmocka_unit_test(a_bound_below_half_a_step_keeps_everything),
        cmocka_unit_test(a_straight_line_is_two_corners),
        cmocka_unit_test(a_clock_that_is_set_back_ends_the_line),
        cmocka_unit_test(no_value_is_lost_by_a_clock_that_keeps_going_back),
        cmocka_unit_test(a_line_that_new_rules_end_holds_its_bound),
        cmocka_unit_test(a_corner_of_an_earlier_record_is_a_row_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
