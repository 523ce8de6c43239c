/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a window says what a reference says that looks at all values at once, closes exactly when the watermark
 * reaches its end, tells what it does not know (partial, late), and merges into what one window over all would have
 * been. A spectrum's bands are the energies that went in.
 */
#include "tests/unit/proto/curate/rig.h"

#define S SECOND_US
#define T0 (INT64_C(1600000020) * S) /* a multiple of a minute */

enum { COUNT = 3000 };

static int64_t all_t[COUNT];
static double all_v[COUNT];
static size_t all_count;

static void close_to(double is, double expected, const char *what)
{
    if (fabs(is - expected) > 1e-9 * fmax(1, fabs(expected))) {
        fprintf(stderr, "%s is %.17g, expected %.17g\n", what, is, expected);
        fail();
    }
}

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* What a window must say, from all values. */
static void check_window(const struct rig_window *w, double error)
{
    static double in[COUNT];
    size_t n = 0;
    double sum = 0, squares = 0;
    for (size_t i = 0; i < all_count; i++) {
        if (all_t[i] >= w->start && all_t[i] < w->start + w->length) {
            in[n++] = all_v[i];
            sum += all_v[i];
        }
    }
    CHECK_INT(w->m.count, n);
    for (size_t i = 0; i < n; i++) {
        squares += (in[i] - sum / (double)n) * (in[i] - sum / (double)n);
    }
    qsort(in, n, sizeof(*in), by_value);
    close_to(w->m.mean, sum / (double)n, "mean");
    close_to(w->m.m2, squares, "m2");
    CHECK(w->m.min == in[0] && w->m.max == in[n - 1]);
    for (size_t i = 0; error > 0 && i < 3; i++) {
        double q = (const double[]){0.05, 0.5, 0.95}[i];
        size_t rank = (size_t)fmax(ceil(q * (double)n), 1);
        CHECK(fabs(w->quantile[i] - in[rank - 1]) <= error * fabs(in[rank - 1]) * (1 + 1e-12));
    }
}

/* Rows 0.1..2 s apart, some out of order by up to jitter, in blocks of random length. */
static void feed_random(struct rig *r, uint64_t seed, int64_t jitter_us)
{
    int64_t t = T0 + 7 * S;
    all_count = 0;
    for (size_t i = 0; i < COUNT;) {
        int64_t times[50];
        double values[50];
        size_t rows = 1 + mix_u64(seed + i) % 50, n = 0;
        for (; n < rows && i < COUNT; n++, i++) {
            double gap = rig_noise(seed * 3 + i);
            t += (int64_t)((1.05 + 0.95 * gap) * (double)S) + (gap > 0.995 ? 400 * S : 0);
            times[n] = t - (int64_t)((1 + rig_noise(seed * 7 + i)) / 2 * (double)jitter_us);
            values[n] =
                block_value(block_quantise(50 + 20 * sin((double)i / 40) + rig_noise(seed * 5 + i), 0.01), 0.01);
            all_t[all_count] = times[n];
            all_v[all_count++] = values[n];
        }
        rig_block_at(r, times, n, values);
    }
}

static void windows_are_what_a_reference_says(void **state)
{
    (void)state;
    static const struct {
        const char *settings;
        int64_t length, every, late;
        bool quantiles;
    } cases[] = {
        {"length: 60s, quantiles: [0.5]", 60 * S, 60 * S, 0, true},
        {"length: 60s, every: 10s, late: 5s, quantiles: [0.5], error: 0.02", 60 * S, 10 * S, 5 * S, true},
        {"length: 3s, late: 20s", 3 * S, 3 * S, 20 * S, false},
        {"length: 64s, every: 1s, late: 3s", 64 * S, S, 3 * S, false},
        {"length: 1500ms", 1500000, 1500000, 0, false},
    };
    for (size_t k = 0; k < COUNT_OF(cases); k++) {
        struct rig r;
        char rules[200];
        snprintf(rules, sizeof(rules), "rules: {w: {do: window, %s}}", cases[k].settings);
        rig_start(&r, rules);
        rig_describe(&r, "a");
        feed_random(&r, k, cases[k].late);
        int64_t newest = 0, first = INT64_MAX;
        for (size_t i = 0; i < all_count; i++) {
            newest = max_i64(newest, all_t[i]);
            first = i == 0 ? all_t[0] : first;
        }
        CHECK_INT(rig_stats(&r, 0).late, 0);
        CHECK_INT(r.reading_count, 0);
        CHECK(r.window_count > 50);
        for (size_t i = 0; i < r.window_count; i++) {
            const struct rig_window *w = &r.windows[i];
            check_window(w, cases[k].quantiles ? (k == 0 ? 0.01 : 0.02) : 0);
            CHECK_INT(w->length, cases[k].length);
            CHECK_INT(w->start % cases[k].every, 0);
            CHECK(i == 0 || w->start > r.windows[i - 1].start);
            CHECK(w->start + w->length <= newest - cases[k].late);
            CHECK_INT(w->partial, w->start < first);
            CHECK_INT(w->late, 0);
        }
        /* None is missing: windows with a value in them that the watermark has passed. */
        size_t expected = 0;
        for (int64_t s = T0 - 60 * S - T0 % cases[k].every; s + cases[k].length <= newest - cases[k].late;
             s += cases[k].every) {
            bool any = false;
            int64_t at = s - s % cases[k].every;
            for (size_t i = 0; i < all_count && !any; i++) {
                any = all_t[i] >= at && all_t[i] < at + cases[k].length;
            }
            expected += any && at + cases[k].length <= newest - cases[k].late;
        }
        CHECK(r.window_count >= expected && r.window_count <= expected + 1);
        rig_stop(&r);
    }
}

static void a_late_value_is_counted_and_not_taken(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, "rules: {w: {do: window, length: 10s, late: 2s}}");
    rig_describe(&r, "a");
    rig_block_at(&r, (const int64_t[]){T0, T0 + 9 * S, T0 + 11 * S}, 3, (const double[]){1, 2, 3});
    CHECK_INT(r.outcome, CURATE_DROPPED);
    rig_block_at(&r, (const int64_t[]){T0 + 8 * S}, 1, (const double[]){4}); /* late, but in time */
    rig_block_at(&r, (const int64_t[]){T0 + 12 * S}, 1, (const double[]){5});
    CHECK_INT(r.window_count, 1);
    CHECK_INT(r.windows[0].m.count, 3);
    CHECK_INT(r.windows[0].late, 0);
    rig_block_at(&r, (const int64_t[]){T0 + 9 * S}, 1, (const double[]){6});
    rig_block_at(&r, (const int64_t[]){T0 + 22 * S}, 1, (const double[]){7});
    CHECK_INT(r.window_count, 2);
    CHECK_INT(r.windows[1].m.count, 2);
    CHECK_INT(r.windows[1].late, 1);
    CHECK_INT(rig_stats(&r, 0).late, 1);
    rig_stop(&r);
}

static void raw_values_go_on_where_they_are_wanted(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, "rules: {w: {channels: a, do: window, length: 2s, raw: keep}, d: {channels: a, do: on-change}}");
    rig_describe(&r, "a,b");
    rig_block(&r, T0, S, 4, (const double[]){1, 1, 2, 2, 5, 5, 5, 5});
    CHECK_INT(r.outcome, CURATE_SHAPED);
    CHECK_INT(r.window_count, 1);
    CHECK_INT(r.reading_count, 6);
    CHECK_STR(r.rule->name, "d");
    rig_stop(&r);
}

static void a_window_with_a_gap_in_it_is_partial(void **state)
{
    (void)state;
    struct rig r;
    double v[120];
    for (unsigned i = 0; i < 120; i++) {
        v[i] = i;
    }
    rig_start(&r, "rules: {w: {do: window, length: 10s}}");
    rig_describe(&r, "a");
    rig_series(&r, T0, S, 25, v);
    rig_gap(&r);
    CHECK_INT(r.outcome, CURATE_KEPT);
    rig_series(&r, T0 + 47 * S, S, 40, v);
    CHECK_INT(r.window_count, 7);
    for (size_t i = 0; i < r.window_count; i++) {
        int64_t second = (r.windows[i].start - T0) / S;
        CHECK_INT(r.windows[i].partial, second == 20 || second == 40);
    }
    rig_stop(&r);
}

static void a_clock_set_back_closes_everything_and_begins_anew(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, "rules: {w: {do: window, length: 10s}}");
    rig_describe(&r, "a");
    rig_block(&r, T0, S, 5, (const double[]){1, 2, 3, 4, 5});
    rig_block(&r, T0 - 3600 * S, S, 25, (const double[25]){0});
    CHECK_INT(r.window_count, 3);
    CHECK(r.windows[0].start == T0 && r.windows[0].partial && r.windows[0].m.count == 5);
    CHECK(r.windows[1].start == T0 - 3600 * S && !r.windows[1].partial && r.windows[1].m.count == 10);
    CHECK(r.windows[2].start == T0 - 3590 * S && !r.windows[2].partial);
    CHECK_INT(rig_stats(&r, 0).late, 0);
    rig_stop(&r);
}

static void a_clock_that_jumps_years_ahead_costs_nothing(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, "rules: {w: {do: window, length: 64ms, every: 1ms}}");
    rig_describe(&r, "a");
    for (int i = 0; i < 100; i++) {
        rig_block(&r, T0 + i * INT64_C(3000000000000000), S, 1, (const double[]){1});
    }
    CHECK_INT(r.window_count, 99 * 64);
    rig_block_at(&r, (const int64_t[]){INT64_C(1) << 60, 0, INT64_C(1) << 60, 0}, 4, (const double[]){1, 2, 3, 4});
    rig_stop(&r);
}

/* The clock jumps ahead for one block: neither do windows close as if they were full, nor is what follows late. */
static void one_bad_time_neither_fills_windows_nor_makes_the_rest_late(void **state)
{
    (void)state;
    static const int64_t jumps[] = {11 * S, 300 * S, 366 * 86400 * S, -11 * S, -300 * S, -366 * 86400 * S};
    for (size_t i = 0; i < COUNT_OF(jumps); i++) {
        struct rig r;
        size_t count = 0;
        rig_start(&r, "rules: {w: {do: window, length: 10s, every: 5s}}");
        rig_describe(&r, "a");
        rig_block(&r, T0, S, 3, (const double[]){1, 2, 3});
        r.ahead_us = jumps[i];
        rig_block(&r, T0 + 3 * S + jumps[i], S, 1, (const double[]){4});
        r.ahead_us = 0;
        rig_block(&r, T0 + 4 * S, S, 30, (const double[30]){5});
        CHECK_INT(rig_stats(&r, 0).late, 0);
        for (size_t k = 0; k < r.window_count; k++) {
            const struct rig_window *w = &r.windows[k];
            CHECK(w->partial == (w->m.count != 10));
            count += w->m.count;
        }
        CHECK_INT(count, 2 * 34 - 5 - 2 * 4); /* windows from T0 + 25 s on are open */
        rig_stop(&r);
    }
}

/* Another boot begins monotonic time anew: that is no jump. */
static void a_new_boot_is_no_jump_of_the_clock(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, "rules: {w: {do: window, length: 10s}}");
    rig_describe(&r, "a");
    rig_block(&r, T0 - 10 * S, S, 15, (const double[15]){0});
    rig_describe(&r, "a");
    r.ahead_us = T0 + 5 * S - 777;
    rig_block(&r, T0 + 5 * S, S, 15, (const double[15]){0});
    CHECK_INT(r.window_count, 2);
    CHECK(r.windows[1].start == T0 && !r.windows[1].partial && r.windows[1].m.count == 10);
    rig_stop(&r);
}

/* The largest numbers that a block holds, at steps from the smallest to the largest. */
static void windows_of_extreme_cells_are_exact_in_count_and_extremes(void **state)
{
    (void)state;
    static const double steps[] = {1e-9, 1e-3, 1, 1e9, 1e-200, 1e130};
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        struct rig r;
        char names[40];
        const double most = 0x1p62 - 1024, values[] = {most * steps[i], -most * steps[i], 0, steps[i], -steps[i], NAN};
        rig_start(&r, "rules: {w: {do: window, length: 10s, quantiles: [0.5]}}");
        snprintf(names, sizeof(names), "a:%g", steps[i]);
        rig_describe(&r, names);
        rig_block(&r, 0, S, 6, values); /* 1970 is as good as any */
        rig_block(&r, 10 * S, S, 1, values);
        CHECK_INT(r.window_count, 1);
        CHECK_INT(r.windows[0].m.count, 5);
        double top = block_value(block_quantise(values[0], steps[i]), steps[i]);
        CHECK(r.windows[0].m.max == top && r.windows[0].m.min == -top);
        CHECK(fabs(r.windows[0].m.mean) <= 1e-12 * top);
        CHECK(fabs(r.windows[0].m.m2 - 2 * top * top) <= 1e-9 * top * top);
        CHECK(r.windows[0].quantile[1] == 0);
        rig_stop(&r);
    }
}

/* The square of the largest number is none: no receiver would take such a window, and that is told. */
static void a_window_that_is_no_number_is_counted_as_cut(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, "rules: {w: {do: window, length: 10s}}");
    rig_describe(&r, "a:1e150");
    rig_block(&r, T0, S, 2, (const double[]){1e160, -1e160});
    rig_block(&r, T0 + 10 * S, S, 1, (const double[]){0});
    CHECK_INT(r.window_count, 0);
    CHECK_INT(rig_stats(&r, 0).cut, 1);
    rig_stop(&r);
}

static void windows_that_do_not_fit_wait_for_the_next_record(void **state)
{
    (void)state;
    struct rig r;
    double v[5];
    rig_start(&r, "rules: {w: {do: window, length: 64ms, every: 1ms, quantiles: [0.5]}}");
    rig_describe(&r, "a,b,c,d,e");
    for (size_t k = 0; k < 8; k++) {
        for (size_t i = 0; i < 5; i++) {
            v[i] = (double)(i + k);
        }
        int64_t times[1] = {T0 + (int64_t)k * 40 * S};
        rig_block_at(&r, times, 1, v);
        CHECK(r.last.len < 100 * 1024);
    }
    CHECK_INT(r.window_count, 5 * 64 * 7);
    rig_block(&r, T0 + 3600 * S, S, 6, (const double[30]){0}); /* 5 x 6 x 64 windows at once */
    size_t first = r.window_count, records = 0;
    CHECK(r.last.len < 100 * 1024);
    for (; records < 40 && r.outcome == CURATE_SHAPED; records++) {
        rig_block_at(&r, (const int64_t[]){T0 + 3605 * S}, 1, v);
    }
    CHECK(first < 5 * 64 * 13 && records >= 1);
    CHECK_INT(r.window_count, 5 * 64 * 13);
    CHECK_INT(rig_stats(&r, 0).cut, 0);
    rig_stop(&r);
}

static void a_bound_cuts_sketches_and_then_windows_and_counts(void **state)
{
    (void)state;
    struct rig r;
    static double v[1024];
    for (size_t i = 0; i < 1024; i++) {
        v[i] = 100 * rig_noise(i);
    }
    rig_start_bounded(&r, "rules: {w: {do: window, length: 600s, every: 10s, quantiles: [0.5], error: 0.001}}", 8000);
    rig_describe(&r, "a");
    rig_block(&r, T0, S, 1024, v);
    CHECK(rig_stats(&r, 0).cut > 0);
    BUFFER(encoded, 1 << 20);
    CHECK_OK(curate_stream_encode(r.stream, &encoded));
    CHECK(encoded.len < 20000);
    rig_stop(&r);
}

/* ---- merge ---- */
/* Everything that a line's gateway lets go, into a site's. */
static void forward(struct rig *line, struct rig *site)
{
    if (line->outcome != CURATE_DROPPED) {
        rig_record(site, buffer_slice(&line->last));
    }
}

static void merged_windows_are_the_window_over_all(void **state)
{
    (void)state;
    struct rig line, site, direct;
    rig_start(&line, "rules: {min: {do: window, length: 10s, quantiles: [0.5]}}");
    rig_start(&site, "rules: {all: {do: merge, of: min, length: 60s}}");
    rig_start(&direct, "rules: {all: {do: window, length: 60s, quantiles: [0.5]}}");
    rig_describe(&line, "a");
    forward(&line, &site);
    rig_describe(&direct, "a");
    for (unsigned block = 0; block < 40; block++) {
        double v[32];
        for (unsigned i = 0; i < 32; i++) {
            v[i] = 100 * rig_noise(block * 32 + i);
        }
        rig_block(&line, T0 + block * 32 * S, S, 32, v);
        forward(&line, &site);
        rig_block(&direct, T0 + block * 32 * S, S, 32, v);
    }
    CHECK(site.window_count >= 19);
    CHECK_INT(site.reading_count, 0);
    for (size_t i = 0; i < site.window_count; i++) {
        const struct rig_window *w = &site.windows[i], *d = &direct.windows[i];
        CHECK_STR(w->rule, "all");
        CHECK_INT(w->start, d->start);
        CHECK_INT(w->length, 60 * S);
        CHECK_INT(w->m.count, d->m.count);
        CHECK(w->m.min == d->m.min && w->m.max == d->m.max);
        close_to(w->m.mean, d->m.mean, "mean");
        close_to(w->m.m2, d->m.m2, "m2");
        CHECK(memcmp(w->quantile, d->quantile, sizeof(w->quantile)) == 0); /* counts: exactly */
        CHECK_INT(w->partial, d->partial);
    }
    rig_stop(&line);
    rig_stop(&site);
    rig_stop(&direct);
}

static void sliding_windows_merge_without_counting_twice(void **state)
{
    (void)state;
    struct rig line, site;
    rig_start(&line, "rules: {w: {do: window, length: 20s, every: 5s}}");
    rig_start(&site, "rules: {all: {do: merge, of: w, length: 40s}}");
    rig_describe(&line, "a");
    forward(&line, &site);
    for (unsigned block = 0; block < 10; block++) {
        rig_block(&line, T0 + block * 32 * S, S, 32, (const double[32]){1});
        forward(&line, &site);
    }
    CHECK(site.window_count >= 6);
    for (size_t i = 1; i < site.window_count; i++) {
        CHECK_INT(site.windows[i].m.count, 40);
    }
    rig_stop(&line);
    rig_stop(&site);
}

static void a_rule_of_the_same_file_is_merged_too(void **state)
{
    (void)state;
    struct rig r;
    static double v[600];
    rig_start(&r, "rules: {m: {do: window, length: 10s}, h: {do: merge, of: m, length: 60s},"
                  " d: {do: merge, of: h, length: 120s}}");
    rig_describe(&r, "a");
    rig_series(&r, T0, S, 600, v);
    CHECK(r.window_count >= 3);
    for (size_t i = 0; i < r.window_count; i++) {
        CHECK_STR(r.windows[i].rule, "d");
        CHECK_INT(r.windows[i].m.count, i == 0 && r.windows[i].partial ? r.windows[i].m.count : 120);
    }
    rig_stop(&r);
}

static void windows_that_no_rule_merges_pass(void **state)
{
    (void)state;
    struct rig line, site;
    rig_start(&line, "rules: {w: {channels: a, do: window, length: 10s}}");
    rig_start(&site, "rules: {all: {do: merge, of: other, length: 40s}, n: {channels: b, do: on-change}}");
    rig_describe(&line, "a,b");
    forward(&line, &site);
    rig_block(&line, T0, S, 11, (const double[22]){0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
    forward(&line, &site);
    CHECK_INT(site.outcome, CURATE_KEPT);
    CHECK_INT(site.window_count, 1);
    rig_block(&line, T0 + 11 * S, S, 12, (const double[24]){0});
    forward(&line, &site);
    CHECK_INT(site.outcome, CURATE_SHAPED);
    CHECK_INT(site.window_count, 2);
    CHECK_STR(site.windows[1].rule, "w");
    CHECK_INT(site.reading_count, 12);
    rig_stop(&line);
    rig_stop(&site);
}

/* ---- spectrum ---- */
static void bands_hold_the_energy_of_what_swings_in_them(void **state)
{
    (void)state;
    struct rig r;
    static double v[1024];
    double squares = 0;
    rig_start(&r, "rules: {k: {do: spectrum, samples: 256, bands: [0-20, 20-60, 60-150, 150-501]}}");
    rig_describe(&r, "a:0.0001");
    for (unsigned i = 0; i < 1024; i++) { /* 1 kHz; on whole bins of 1000 / 256 Hz */
        double x = 2 * M_PI * i / 256;
        v[i] = 3 + 2 * sin(10 * x) + 0.5 * sin(30 * x);
        squares += i < 256 ? v[i] * v[i] / 256 : 0;
    }
    rig_block(&r, T0, 1000, 1024, v);
    CHECK_INT(r.window_count, 4);
    for (size_t i = 0; i < 4; i++) {
        const struct rig_window *w = &r.windows[i];
        CHECK_INT(w->bands, 4);
        CHECK(fabs(w->band[0] - 9) < 1e-3);       /* the mean */
        CHECK(fabs(w->band[1] - 2) < 1e-3);       /* 39 Hz: 2^2 / 2 */
        CHECK(fabs(w->band[2] - 0.125) < 1e-3);   /* 117 Hz */
        CHECK(fabs(w->band[3]) < 1e-3);
        CHECK(fabs(w->band[0] + w->band[1] + w->band[2] + w->band[3] - squares) < 1e-3); /* Parseval */
        CHECK_INT(w->m.count, 256);
        CHECK_INT(w->start, T0 + (int64_t)i * 256000);
        CHECK_INT(w->length, 256000);
        CHECK(!w->partial);
    }
    rig_stop(&r);
}

static void noise_keeps_its_energy(void **state)
{
    (void)state;
    for (unsigned samples = 16; samples <= 1024; samples *= 2) {
        struct rig r;
        char rules[120];
        static double v[1024];
        double squares = 0, sum = 0;
        snprintf(rules, sizeof(rules), "rules: {k: {do: spectrum, samples: %u, bands: [0-1, 1-3, 3-5.01]}}", samples);
        rig_start(&r, rules);
        rig_describe(&r, "a:0.0001");
        for (unsigned i = 0; i < samples; i++) {
            v[i] = block_value(block_quantise(10 * rig_noise(i), 0.0001), 0.0001);
            squares += v[i] * v[i] / samples;
        }
        rig_block(&r, T0, S / 10, samples, v);
        CHECK_INT(r.window_count, 1);
        for (size_t i = 0; i < 3; i++) {
            sum += r.windows[0].band[i];
        }
        close_to(sum, squares, "sum of the bands");
        rig_stop(&r);
    }
}

static void uneven_times_and_gaps_make_a_spectrum_partial(void **state)
{
    (void)state;
    struct rig r;
    static double v[64];
    int64_t times[16];
    rig_start(&r, "rules: {k: {do: spectrum, samples: 16, bands: [0-1], raw: keep}}");
    rig_describe(&r, "a");
    for (unsigned i = 0; i < 16; i++) {
        times[i] = T0 + i * S + (i == 9 ? S / 2 : 0);
    }
    rig_block_at(&r, times, 16, v);
    rig_block(&r, T0 + 16 * S, S, 8, v);
    rig_gap(&r);
    rig_block(&r, T0 + 24 * S, S, 8, v);
    rig_block(&r, T0 + 32 * S, S, 16, v);
    rig_block(&r, T0, S, 10, v); /* set back */
    rig_block(&r, T0 - 100 * S, S, 16, v);
    CHECK_INT(r.window_count, 4);
    CHECK(r.windows[0].partial && r.windows[1].partial && !r.windows[2].partial && r.windows[3].partial);
    CHECK_INT(rig_stats(&r, 0).cut, 10);
    CHECK_INT(r.reading_count, 74);
    rig_stop(&r);
}

static void spectra_merge_by_their_counts(void **state)
{
    (void)state;
    struct rig line, site;
    static double v[64];
    rig_start(&line, "rules: {k: {do: spectrum, samples: 16, bands: [0-0.01, 0.01-1]}}");
    rig_start(&site, "rules: {m: {do: merge, of: k, length: 32s}}");
    rig_describe(&line, "a");
    forward(&line, &site);
    for (unsigned i = 0; i < 64; i++) {
        v[i] = i < 16 ? 1 : i < 32 ? 3 : 0;
    }
    int64_t begin = T0 - T0 % (32 * S) + 32 * S;
    rig_series(&line, begin, S, 32, v);
    forward(&line, &site);
    rig_series(&line, begin + 32 * S, S, 32, v + 32);
    forward(&line, &site);
    CHECK(site.window_count >= 1);
    CHECK_INT(site.windows[0].bands, 2);
    CHECK_INT(site.windows[0].m.count, 32);
    CHECK(fabs(site.windows[0].band[0] - 5) < 1e-9); /* (1 + 9) / 2 */
    rig_stop(&line);
    rig_stop(&site);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_are_what_a_reference_says),
        cmocka_unit_test(a_late_value_is_counted_and_not_taken),
        cmocka_unit_test(raw_values_go_on_where_they_are_wanted),
        cmocka_unit_test(a_window_with_a_gap_in_it_is_partial),
        cmocka_unit_test(a_clock_set_back_closes_everything_and_begins_anew),
        cmocka_unit_test(a_clock_that_jumps_years_ahead_costs_nothing),
        cmocka_unit_test(one_bad_time_neither_fills_windows_nor_makes_the_rest_late),
        cmocka_unit_test(a_new_boot_is_no_jump_of_the_clock),
        cmocka_unit_test(windows_of_extreme_cells_are_exact_in_count_and_extremes),
        cmocka_unit_test(a_window_that_is_no_number_is_counted_as_cut),
        cmocka_unit_test(windows_that_do_not_fit_wait_for_the_next_record),
        cmocka_unit_test(a_bound_cuts_sketches_and_then_windows_and_counts),
        cmocka_unit_test(merged_windows_are_the_window_over_all),
        cmocka_unit_test(sliding_windows_merge_without_counting_twice),
        cmocka_unit_test(a_rule_of_the_same_file_is_merged_too),
        cmocka_unit_test(windows_that_no_rule_merges_pass),
        cmocka_unit_test(bands_hold_the_energy_of_what_swings_in_them),
        cmocka_unit_test(noise_keeps_its_energy),
        cmocka_unit_test(uneven_times_and_gaps_make_a_spectrum_partial),
        cmocka_unit_test(spectra_merge_by_their_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
