/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: whatever the rules and whatever the records, what goes up is what every receiver takes, does not depend on how
 * the device cut its rows into blocks, is accounted for value by value, and lies in the time that came in.
 */
#include "tests/unit/proto/curate/rig.h"

#define S SECOND_US
#define T0 (INT64_C(1600000020) * S)
#define NAMES "a,b:0.5,c:3,d,e:1e-6,f:1000"

enum { CHANNELS = 6, ROWS = 240 };

/* Rules made of random settings; those that the grammar refuses are left out. */
static size_t random_rules(uint64_t seed, char *text, size_t size)
{
    static const char *const kinds[] = {"range, min: %d, max: 40",
                                        "quality, clock: ntp",
                                        "dedupe",
                                        "convert, factor: 0.%d",
                                        "deadband, abs: %d",
                                        "deadband, percent: %d",
                                        "swinging-door, abs: %d.3, heartbeat: 9s",
                                        "rate, rate: 0.%d",
                                        "downsample, every: %ds",
                                        "downsample, every: %ds, by: mean",
                                        "downsample, every: %ds, by: max",
                                        "on-change, heartbeat: %ds",
                                        "window, length: %ds, raw: keep",
                                        "window, length: 8s, every: 2s, late: %ds, quantiles: [0.5]",
                                        "spectrum, samples: 16, bands: [0-0.%d], raw: keep",
                                        "capture, above: %d, before: 1s, after: 3s",
                                        "drop",
                                        "hash",
                                        "bucket, width: 0.%d",
                                        "merge, of: r0, length: %ds"};
    static const char *const channels[] = {"*", "a", "b", "c", "d", "e", "f", "?"};
    size_t len = (size_t)snprintf(text, size, "rules:\n");
    unsigned held = 0; /* channels behind whose downsample or door a dedupe is refused */
    unsigned count = 1 + (unsigned)(mix_u64(seed) % 7);
    for (unsigned i = 0; i < count; i++) {
        uint64_t dice = mix_u64(seed * 100 + i);
        char what[100];
        snprintf(what, sizeof(what), kinds[dice % COUNT_OF(kinds)], (int)(1 + (dice >> 20) % 9));
        unsigned channel = (unsigned)((dice >> 40) % COUNT_OF(channels));
        bool refused = strcmp(what, "dedupe") == 0 && (held & (1U << channel | 1)) != 0;
        if (refused || (strncmp(what, "merge", 5) == 0 && i == 0)) {
            continue;
        }
        if (strncmp(what, "downsample", 10) == 0 || strncmp(what, "swinging", 8) == 0) {
            held |= 1U << channel;
        }
        len += (size_t)snprintf(text + len, size - len, "  r%u: {channels: \"%s\", do: %s}\n", i,
                                channels[channel], what);
    }
    return len;
}

static void any_rules_on_any_records_give_records_that_are_taken(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 400; seed++) {
        struct rig r;
        char text[2000];
        if (random_rules(seed, text, sizeof(text)) < 10) {
            continue;
        }
        rig_start_bounded(&r, text, seed % 5 == 0 ? 600 : 0);
        rig_describe(&r, "a,b:0.5,c:3,d,e:1e-6,f:1000");
        for (unsigned k = 0; k < 12; k++) {
            double values[6 * 20];
            int64_t times[20], at = T0 + k * 20 * S - (k == 7 ? 5000 * S : 0) + (k == 9 ? 400 * S : 0);
            size_t rows = 1 + mix_u64(seed + k) % 20;
            for (size_t i = 0; i < 6 * rows; i++) {
                double n = rig_noise(seed * 991 + k * 131 + i);
                values[i] = n > 0.8 ? NAN : n < -0.7 ? 7 : 50 * n;
            }
            for (size_t i = 0; i < rows; i++) {
                times[i] = at + (int64_t)i * S + (seed % 3 == 0 ? (int64_t)(rig_noise(seed + i) * 3e6) : 0);
            }
            r.quality = (unsigned)(mix_u64(seed * 7 + k) % 3);
            rig_block_at(&r, times, rows, values); /* rig.c checks every record and the state on the way */
            r.capture_count = 0;
            if (k == 4) {
                rig_gap(&r);
            }
            if (k == 6) {
                rig_describe(&r, seed % 2 ? "a,b:0.5,c:3,d,e:1e-6,f:1000" : "b:0.5,a,x,d:3,e:1e-6,f:1000");
            }
        }
        rig_stop(&r);
    }
}

/* ---- the same rows in other blocks ---- */
static int64_t in_t[ROWS];
static double in_v[CHANNELS][ROWS];

/* Times that mostly rise, by even steps or not; some stand still, go back a little, or far. */
static void make_rows(uint64_t seed)
{
    int64_t at = T0;
    for (size_t i = 0; i < ROWS; i++) {
        uint64_t dice = mix_u64(seed * 1000 + i);
        unsigned what = (unsigned)(dice % 100);
        bool even = seed % 3 == 0;
        at += even || what > 10 ? S
              : what == 0       ? -1500 * S
              : what == 1       ? 900 * S
              : what < 5        ? -2 * S
              : what < 7        ? 0
                                : 123457;
        in_t[i] = at;
        for (size_t c = 0; c < CHANNELS; c++) {
            double n = rig_noise(dice + c);
            in_v[c][i] = n > 0.8 ? NAN : n < -0.7 ? 7 : 50 * n;
        }
    }
}

/* In blocks of 1..longest rows. */
static void feed_rows(struct rig *r, uint64_t seed, size_t longest)
{
    double values[CHANNELS * ROWS];
    for (size_t from = 0; from < ROWS;) {
        size_t rows = 1 + mix_u64(seed + from) % longest;
        rows = rows < ROWS - from ? rows : ROWS - from;
        for (size_t c = 0; c < CHANNELS; c++) {
            memcpy(values + c * rows, in_v[c] + from, rows * sizeof(*values));
        }
        rig_block_at(r, in_t + from, rows, values);
        from += rows;
    }
}

static int by_place(const void *a, const void *b)
{
    const struct rig_reading *x = a, *y = b;
    return x->channel != y->channel ? (x->channel > y->channel) - (x->channel < y->channel)
           : x->t != y->t           ? (x->t > y->t) - (x->t < y->t)
                                    : (x->v > y->v) - (x->v < y->v);
}

static int by_begin(const void *a, const void *b)
{
    const struct rig_window *x = a, *y = b;
    int rule = strcmp(x->rule, y->rule);
    return x->channel != y->channel ? (x->channel > y->channel) - (x->channel < y->channel)
           : rule != 0              ? rule
           : x->start != y->start   ? (x->start > y->start) - (x->start < y->start)
                                    : (x->m.count > y->m.count) - (x->m.count < y->m.count);
}

static bool near(double a, double b)
{
    return a == b || fabs(a - b) <= 1e-9 * fmax(fabs(a), fabs(b)) + 1e-9;
}

static void compare_rigs(struct rig *a, struct rig *b, const char *rules)
{
    if (a->reading_count != b->reading_count || a->window_count != b->window_count) {
        fprintf(stderr, "%s", rules);
    }
    CHECK_INT(a->reading_count, b->reading_count);
    qsort(a->readings, a->reading_count, sizeof(*a->readings), by_place);
    qsort(b->readings, b->reading_count, sizeof(*b->readings), by_place);
    for (size_t i = 0; i < a->reading_count; i++) {
        CHECK_INT(a->readings[i].channel, b->readings[i].channel);
        CHECK_INT(a->readings[i].t, b->readings[i].t);
        CHECK(a->readings[i].v == b->readings[i].v);
    }
    CHECK_INT(a->window_count, b->window_count);
    qsort(a->windows, a->window_count, sizeof(*a->windows), by_begin);
    qsort(b->windows, b->window_count, sizeof(*b->windows), by_begin);
    for (size_t i = 0; i < a->window_count; i++) {
        const struct rig_window *x = &a->windows[i], *y = &b->windows[i];
        CHECK_STR(x->rule, y->rule);
        CHECK_INT(x->channel, y->channel);
        CHECK_INT(x->start, y->start);
        CHECK_INT(x->length, y->length);
        CHECK_INT(x->m.count, y->m.count);
        CHECK_INT(x->partial, y->partial);
        CHECK_INT(x->late, y->late);
        /* Sums are rounded elsewhere: a mean is off by a few units in the last place, m2 by their squares. */
        double ulps = 1e-15 * fmax(fabs(x->m.min), fabs(x->m.max));
        CHECK(x->m.min == y->m.min && x->m.max == y->m.max && near(x->m.mean, y->m.mean));
        CHECK(near(x->m.m2, y->m.m2) || fabs(x->m.m2 - y->m.m2) <= (double)x->m.count * ulps * ulps);
        for (size_t k = 0; k < 3; k++) { /* sketches are whole numbers */
            CHECK(x->quantile[k] == y->quantile[k] || (isnan(x->quantile[k]) && isnan(y->quantile[k])));
        }
        for (size_t k = 0; k < x->bands; k++) {
            CHECK(near(x->band[k], y->band[k]));
        }
    }
}

/* Rules' own counts do not depend on it either. */
static void compare_stats(const struct rig *a, const struct rig *b)
{
    for (size_t i = 0; i < rules_count(a->rules); i++) {
        struct curate_rule_stats x = rig_stats(a, i), y = rig_stats(b, i);
        CHECK_INT(x.seen, y.seen);
        CHECK_INT(x.dropped, y.dropped);
        CHECK_INT(x.changed, y.changed);
        CHECK_INT(x.windows, y.windows);
        CHECK_INT(x.captures, y.captures);
        CHECK_INT(x.late, y.late);
        CHECK_INT(x.cut, 0);
        CHECK_INT(y.cut, 0);
    }
}

static size_t present(void)
{
    size_t count = 0;
    for (size_t c = 0; c < CHANNELS; c++) {
        for (size_t i = 0; i < ROWS; i++) {
            count += !isnan(in_v[c][i]);
        }
    }
    return count;
}

/* Every value went up, or some rule says that it took it (or holds it). */
static void check_account(const struct rig *r)
{
    size_t gone = 0;
    for (size_t i = 0; i < rules_count(r->rules); i++) {
        gone += rules_at(r->rules, i)->kind == RULE_MERGE ? 0 : rig_stats(r, i).dropped;
    }
    CHECK_INT(r->reading_count + gone, present());
}

/* A mean stands for the beginning of its time, which may lie before the first value in it; a mean of means, of both. */
static void check_times(const struct rig *r)
{
    int64_t first = in_t[0], last = in_t[0];
    for (size_t i = 0; i < ROWS; i++) {
        first = in_t[i] < first ? in_t[i] : first;
        last = in_t[i] > last ? in_t[i] : last;
    }
    for (size_t i = 0; i < rules_count(r->rules); i++) {
        const struct rule *rule = rules_at(r->rules, i);
        first -= rule->kind == RULE_DOWNSAMPLE && rule->by == RULE_BY_MEAN ? rule->every_us : 0;
    }
    for (size_t i = 0; i < r->reading_count; i++) {
        CHECK(r->readings[i].t >= first && r->readings[i].t <= last);
    }
}

static bool has_kind(const struct rig *r, int kind)
{
    for (size_t i = 0; i < rules_count(r->rules); i++) {
        if (rules_at(r->rules, i)->kind == kind) {
            return true;
        }
    }
    return false;
}

static void what_goes_up_does_not_depend_on_where_blocks_end(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 150; seed++) {
        struct rig a, b;
        char text[2000];
        if (seed % 10 == 9) { /* held values come with their row or after it: a dedupe must not tell */
            snprintf(text, sizeof(text), "%s", "rules: {m: {channels: '?', do: downsample, every: 5s, by: max},"
                                               " d: {channels: c, do: dedupe}}");
        } else if (random_rules(seed, text, sizeof(text)) < 10) {
            continue;
        }
        make_rows(seed);
        rig_start(&a, text);
        rig_start(&b, text);
        rig_describe(&a, NAMES);
        rig_describe(&b, NAMES);
        feed_rows(&a, seed, 60);
        feed_rows(&b, seed + 77, seed % 2 ? 60 : 3);
        compare_rigs(&a, &b, text);
        check_account(&a);
        check_times(&a);
        if (!has_kind(&a, RULE_SPECTRUM)) { /* where a clock goes back, values cut from spectra are told */
            compare_stats(&a, &b);
        }
        rig_stop(&a);
        rig_stop(&b);
    }
}

static void every_value_is_in_one_window_or_late(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct rig r;
        char text[200];
        size_t in_windows = 0, told = 0;
        snprintf(text, sizeof(text), "rules: {w: {do: window, length: %us, late: %us, quantiles: [0.5]}}",
                 1 + (unsigned)(mix_u64(seed) % 20), (unsigned)(mix_u64(seed + 5) % 5));
        make_rows(seed);
        rig_start(&r, text);
        rig_describe(&r, NAMES);
        feed_rows(&r, seed, 60);
        struct curate_rule_stats stats = rig_stats(&r, 0);
        CHECK_INT(stats.seen, present());
        rig_change(&r, "rules: {other: {do: range, max: 0}}"); /* what is open comes as partial */
        rig_block_at(&r, in_t, 1, (const double[CHANNELS]){1, 1, 1, 1, 1, 1});
        for (size_t i = 0; i < r.window_count; i++) {
            in_windows += r.windows[i].m.count;
            told += r.windows[i].late;
        }
        CHECK_INT(in_windows + stats.late, stats.seen);
        CHECK(told <= stats.late); /* the next window tells; some channel may have none to come */
        rig_stop(&r);
    }
}

/* ---- captures ---- */
/* What every trigger asks for is asked for once, whichever channel it is in; beyond that nothing. */
static void triggers_of_all_channels_ask_once_for_all_around_them(void **state)
{
    (void)state;
    enum { BEFORE = 3, AFTER = 2, TENTHS = 10 };
    for (uint64_t seed = 0; seed < 60; seed++) {
        static struct rig r;
        static int asked[TENTHS * (ROWS + 20)], wanted[TENTHS * (ROWS + 20)];
        memset(asked, 0, sizeof(asked));
        memset(wanted, 0, sizeof(wanted));
        rig_start(&r, "rules: {k: {do: capture, above: 98, before: 3s, after: 2s}}");
        rig_describe(&r, NAMES);
        for (size_t i = 0; i < ROWS; i++) {
            in_t[i] = T0 + (int64_t)i * S;
            for (size_t c = 0; c < CHANNELS; c++) {
                in_v[c][i] = 100 * rig_noise(mix_u64(seed * 7000 + i) + c);
            }
        }
        feed_rows(&r, seed, 60);
        for (size_t i = 0; i < ROWS; i++) {
            for (size_t c = 0; c < CHANNELS; c++) {
                double v = block_value(block_quantise(in_v[c][i], r.resolution[c]), r.resolution[c]);
                for (int k = -BEFORE * TENTHS; k <= AFTER * TENTHS && v > 98; k++) {
                    wanted[(int)(10 + i) * TENTHS + k] = 1;
                }
            }
        }
        for (size_t i = 0; i < r.capture_count; i++) {
            int64_t from = (int64_t)r.captures[i].from_us - T0, to = (int64_t)r.captures[i].to_us - T0;
            for (int k = 0; k < TENTHS * (ROWS + 20); k++) {
                int64_t at = (k - 10 * TENTHS) * (S / TENTHS);
                asked[k] += at >= from && at < to;
            }
        }
        for (int k = 0; k < TENTHS * (ROWS + 20); k++) {
            CHECK_INT(asked[k], wanted[k]);
        }
        rig_stop(&r);
    }
}

/* More triggers in one record than there are ranges to give: ranges become longer, and no trigger is left out. */
static void more_triggers_than_ranges_widen_them(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    for (unsigned dense = 0; dense < 2; dense++) {
        struct rig r;
        static double values[4 * MANY];
        for (size_t i = 0; i < 4 * MANY; i++) {
            bool looked_at = dense || i < MANY; /* else ranges of one channel only: more than can be given, not noted */
            values[i] = !looked_at ? 0 : i % 3 == 0 ? 9 : i % 3 == 1 ? -9 : 0;
        }
        rig_start(&r, "rules: {k: {do: capture, above: 8}, l: {do: capture, below: -8, after: 10ms}}");
        rig_describe(&r, "a,b,c,d");
        rig_block(&r, T0, S, MANY, values);
        CHECK(r.capture_count >= 2 && r.capture_count <= CURATE_CAPTURES_MAX);
        for (size_t i = 0; i < 4 * MANY; i++) {
            uint64_t t = (uint64_t)(T0 + (int64_t)(i % MANY) * S);
            size_t found = 0;
            for (size_t k = 0; k < r.capture_count; k++) {
                const struct curate_capture *c = &r.captures[k];
                found += strcmp(c->rule->name, values[i] > 0 ? "k" : "l") == 0 && t >= c->from_us && t < c->to_us;
            }
            CHECK(found == 1 || values[i] == 0);
        }
        rig_stop(&r);
    }
}

/* The times asked for lie ahead of a clock that was set back; what is wrong now is asked for all the same. */
static void a_clock_that_was_ahead_hides_no_trigger(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, "rules: {k: {channels: a, do: capture, above: 8, before: 2s, after: 5s}}");
    rig_describe(&r, "a");
    rig_block(&r, T0 + 300 * S, S, 1, (const double[]){9});
    rig_block(&r, T0, S, 1, (const double[]){9});
    CHECK_INT(r.capture_count, 2);
    CHECK(r.captures[1].from_us == (uint64_t)(T0 - 2 * S) && r.captures[1].to_us == (uint64_t)(T0 + 5 * S + 1));
    rig_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_rules_on_any_records_give_records_that_are_taken),
        cmocka_unit_test(what_goes_up_does_not_depend_on_where_blocks_end),
        cmocka_unit_test(every_value_is_in_one_window_or_late),
        cmocka_unit_test(triggers_of_all_channels_ask_once_for_all_around_them),
        cmocka_unit_test(more_triggers_than_ranges_widen_them),
        cmocka_unit_test(a_clock_that_was_ahead_hides_no_trigger),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
