/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a rules file means what it says, every mistake in it is named with its place at once, and its version changes with
 * its meaning only.
 */
#include "proto/rules/rules.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/support/check.h"

static char path[] = "/tmp/weir-test-rules-XXXXXX";
static char problems[64 * 1024];

static struct rules *load(const char *text)
{
    struct rules *rules = NULL;
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    CHECK(fputs(text, f) >= 0);
    CHECK_INT(fclose(f), 0);
    BUFFER(out, sizeof(problems) - 1);
    enum err err = rules_load(path, &rules, &out);
    memcpy(problems, out.ptr ? (const char *)out.ptr : "", out.len);
    problems[out.len] = '\0';
    CHECK((err == OK) == (rules != NULL));
    return rules;
}

static void rules_keep_their_order_and_their_settings(void **state)
{
    (void)state;
    CLEANUP(rules_freep) struct rules *rules = load("rules:\n"
                                                    "  plausible: {channels: \"pressure*\", do: range, min: 0, max: 16}\n"
                                                    "  calm:\n"
                                                    "    devices: pump-?\n"
                                                    "    do: deadband\n"
                                                    "    percent: 1.5\n"
                                                    "    heartbeat: 10min\n"
                                                    "  minute: {do: window, length: 1min, every: 15s, quantiles: [0.5, 0.95]}\n"
                                                    "  noise: {do: spectrum, samples: 64, bands: [0-10, 10-20.5]}\n");
    CHECK_STR(problems, "");
    CHECK_INT(rules_count(rules), 4);
    const struct rule *r = rules_at(rules, 0);
    CHECK_STR(r->name, "plausible");
    CHECK_INT(r->kind, RULE_RANGE);
    CHECK(r->min == 0 && r->max == 16);
    CHECK(rule_matches(r, "any", "pressure_in") && !rule_matches(r, "any", "flow"));
    r = rules_at(rules, 1);
    CHECK(rule_matches(r, "pump-7", "x") && !rule_matches(r, "pump-77", "x"));
    CHECK(r->percent == 1.5 && r->heartbeat_us == 600 * SECOND_US);
    r = rules_at(rules, 2);
    CHECK_INT(r->quantiles, 2);
    CHECK(r->quantile[1] == 0.95 && r->every_us == 15 * SECOND_US && r->error == 0.01);
    r = rules_at(rules, 3);
    CHECK_INT(r->bands, 2);
    CHECK(r->band[1][0] == 10 && r->band[1][1] == 20.5);
    CHECK_INT(r->index, 3);
}

static void the_version_is_that_of_the_meaning(void **state)
{
    (void)state;
    CLEANUP(rules_freep) struct rules *a = load("rules: {calm: {channels: t, do: deadband, abs: 0.2}}\n");
    CLEANUP(rules_freep) struct rules *b = load("# a comment\nrules:\n  calm:\n    abs: 0.20\n    channels: t\n    do: deadband\n");
    CLEANUP(rules_freep) struct rules *c = load("rules: {calm: {channels: t, do: deadband, abs: 0.3}}\n");
    CLEANUP(rules_freep) struct rules *d = load("rules: {cool: {channels: t, do: deadband, abs: 0.2}}\n");
    CHECK(rules_version(a) == rules_version(b));
    CHECK(rules_version(a) != rules_version(c));
    CHECK(rules_version(a) != rules_version(d));
}

#define REFUSED(text, expected)                                                                                        \
    do {                                                                                                               \
        CHECK(load(text) == NULL);                                                                                     \
        CHECK_CONTAINS(problems, expected);                                                                            \
    } while (0)

static void mistakes_are_named_with_their_place(void **state)
{
    (void)state;
    REFUSED("rules: {a: {do: deadband, abs: 1, pergent: 2}}\n", ":1:35");
    CHECK_CONTAINS(problems, "percent");
    REFUSED("rules: {a: {do: deadbandd, abs: 1}}\n", "deadband");
    REFUSED("rules: {a: {do: deadband}}\n", "needs abs or percent");
    REFUSED("rules: {a: {do: deadband, abs: 1, percent: 1}}\n", "not both");
    REFUSED("rules: {a: {do: deadband, abs: 1, max: 3}}\n", "has no meaning with do: deadband");
    REFUSED("rules: {a: {do: range}}\n", "needs min or max");
    REFUSED("rules: {a: {do: range, min: 3, max: 1}}\n", "above max");
    REFUSED("rules: {a: {do: window, length: 10s, every: 3s}}\n", "multiple");
    REFUSED("rules: {a: {do: window, length: 10s, every: 20s}}\n", "more than the length");
    REFUSED("rules: {a: {do: window, length: 1h, every: 1s}}\n", "64 windows");
    REFUSED("rules: {a: {do: window, length: 1s, late: 1h}}\n", "510 parts");
    REFUSED("rules: {a: {do: window, length: 8s, every: 1s, late: 510s}}\n", "510 parts");
    REFUSED("rules: {a: {do: merge, of: b, length: 1s, late: 1h}}\n", "510 parts");
    REFUSED("rules: {a: {do: downsample, every: 1s}, b: {do: dedupe}}\n", ":1:");
    CHECK_CONTAINS(problems, "in front of downsample");
    REFUSED("rules: {a: {channels: x, do: swinging-door, abs: 1}, b: {channels: x, do: dedupe}}\n", "in front of");
    REFUSED("rules: {a: {do: window, length: 1s, quantiles: [0.5, 0.4]}}\n", "ascending");
    REFUSED("rules: {a: {do: spectrum, samples: 100, bands: [1-2]}}\n", "power of two");
    REFUSED("rules: {a: {do: spectrum, samples: 64, bands: [5-2]}}\n", "10-100");
    REFUSED("rules: {a: {do: capture}}\n", "above or below");
    REFUSED("rules: {a: {do: hash, width: 3}}\n", "no meaning");
    REFUSED("rules: {a: {do: rate}}\n", "above 0");
    REFUSED("rules: {a: {channels: x}}\n", "do");
    REFUSED("rules: {a: {do: deadband, abs: -1}}\n", "outside 0");
    REFUSED("rules: {a: {do: deadband, abs: .nan}}\n", "abs");
    REFUSED("rules: [1, 2]\n", "rules");
}

static void a_value_out_of_range_hides_no_other_mistake(void **state)
{
    (void)state;
    REFUSED("rules:\n"
            "  a: {do: deadband, percent: 400}\n"
            "  b: {do: capture, before: 3d, faster: 2, every: 1s}\n"
            "  c: {do: capture, above: 1, every: 1us}\n"
            "  d: {do: downsample, evry: 1s}\n",
            ":2:30: rules.a.percent: \"400\" is outside 0..100");
    CHECK_CONTAINS(problems, ":3:28: rules.b.before: ");
    CHECK_CONTAINS(problems, ":3:11: rules.b.do: capture needs above or below");
    CHECK_CONTAINS(problems, ":3:50: rules.b.every: says how fast a second time");
    CHECK_CONTAINS(problems, ":4:37: rules.c.every: a device samples every 1ms at most");
    CHECK_CONTAINS(problems, ":5:23: rules.d.evry: unknown setting");
    CHECK(strstr(problems, "needs abs") == NULL);           /* 400 percent is a distance */
    CHECK(strstr(problems, "how long one value") == NULL);  /* evry was meant for it */
}

static void a_hash_needs_a_key(void **state)
{
    (void)state;
    struct rules *rules = load("rules:\n  calm: {do: deadband, abs: 1}\n  badge: {do: hash}\n");
    CHECK(rules != NULL);
    rules_free(rules);
    rules = NULL;
    BUFFER(out, 4096);
    CHECK_INT(rules_load_keyless(path, &rules, &out), ERR_RANGE);
    buffer_put_u8(&out, 0);
    CHECK_CONTAINS((const char *)out.ptr, ":3:15: rules.badge.do: hash needs the plant's key");
    CHECK(strstr((const char *)out.ptr, "calm") == NULL);
}

/* Every kind has its help, and each of its settings is one that a rule of that kind may have. */
static void the_kinds_tell_their_settings(void **state)
{
    (void)state;
    const struct option *row;
    size_t settings = 0;
    for (enum rule_kind kind = 0; kind < RULE_KINDS; kind++) {
        CHECK(strlen(rule_kind_help(kind)) > 10);
        for (size_t i = 0; (row = rule_kind_setting(kind, i)) != NULL; i++, settings++) {
            char text[200];
            const char *value = row->type == OPTION_ENUM       ? strchr(row->words, '|') + 1
                                : row->type == OPTION_LIST     ? "[0.5]"
                                : row->type == OPTION_DURATION ? "7s"
                                                               : "7";
            snprintf(text, sizeof(text), "rules: {a: {do: %s, %s: %.*s}}\n", rule_kind_name(kind), row->name,
                     (int)strcspn(value, "|"), value);
            rules_free(load(text));
            CHECK(strstr(problems, "has no meaning") == NULL && strstr(problems, "unknown") == NULL);
        }
    }
    CHECK(settings > 30);
    CHECK_STR(rule_kind_setting(RULE_KINDS, 2)->name, "do");
    CHECK(rule_kind_setting(RULE_KINDS, 3) == NULL);
    CHECK_STR(rule_kind_setting(RULE_DEADBAND, 1)->name, "percent");
    CHECK(rule_kind_setting(RULE_DROP, 0) == NULL);
}

static void a_merge_does_not_wait_for_itself(void **state)
{
    (void)state;
    REFUSED("rules: {a: {do: merge, of: a, length: 1h}}\n", "leads back");
    REFUSED("rules: {a: {do: merge, of: b, length: 1h}, b: {do: merge, of: c, length: 1h},"
            " c: {do: merge, of: a, length: 1h}}\n",
            "leads back");
    CLEANUP(rules_freep) struct rules *rules = load("rules: {a: {do: merge, of: below, length: 1h}}\n");
    CHECK(rules != NULL);
}

static void what_is_just_possible_is_taken(void **state)
{
    (void)state;
    CLEANUP(rules_freep) struct rules *late = load("rules: {a: {do: window, length: 8s, every: 1s, late: 502s}}\n");
    CLEANUP(rules_freep) struct rules *front = load("rules: {b: {channels: x, do: dedupe}, a: {do: downsample, every: 1s}}\n");
    CLEANUP(rules_freep) struct rules *other =
        load("rules: {a: {channels: y, do: downsample, every: 1s}, b: {channels: x, do: dedupe}}\n");
    CHECK(late != NULL && front != NULL && other != NULL);
}

static void every_mistake_is_told_at_once(void **state)
{
    (void)state;
    CHECK(load("rules:\n  a: {do: rate}\n  b: {do: bucket}\n  c: {do: swinging-door}\n") == NULL);
    CHECK_CONTAINS(problems, ":2:");
    CHECK_CONTAINS(problems, ":3:");
    CHECK_CONTAINS(problems, ":4:");
}

static void large_files_are_refused_and_globs_are_quick(void **state)
{
    (void)state;
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    for (unsigned i = 0; i < 1100000; i++) {
        fputs("# nothing\n", f);
    }
    fclose(f);
    struct rules *rules = NULL;
    BUFFER(out, 4096);
    CHECK(rules_load(path, &rules, &out) != OK);
    CHECK(out.len > 0);
    char text[65];
    memset(text, 'a', 64);
    text[64] = '\0';
    CHECK(!rule_glob("a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", text)); /* a backtracking matcher takes years */
    CHECK(rule_glob("*", "") && rule_glob("", "") && !rule_glob("?", "") && rule_glob("a*c", "abcabc"));
    CHECK(!rule_glob("a*c", "abcab"));
}

static struct rules *load_device(const char *text)
{
    struct rules *rules = NULL;
    FILE *f = fopen(path, "w");
    CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
    BUFFER(out, sizeof(problems) - 1);
    enum err err = rules_load_device(path, &rules, &out);
    memcpy(problems, out.ptr ? (const char *)out.ptr : "", out.len);
    problems[out.len] = '\0';
    CHECK((err == OK) == (rules != NULL));
    return rules;
}

static void what_is_not_for_a_device_is_refused_with_place_and_reason(void **state)
{
    (void)state;
    const char *light = "rules:\n"
                        "  a: {do: range, min: 0}\n"
                        "  b: {do: deadband, abs: 1}\n"
                        "  c: {do: on-change}\n"
                        "  d: {do: rate, rate: 1}\n"
                        "  e: {do: dedupe}\n"
                        "  f: {do: downsample, every: 1s}\n"
                        "  g: {channels: x, do: drop}\n"
                        "  h: {do: bucket, width: 5}\n"
                        "  i: {do: swinging-door, abs: 1}\n";
    CLEANUP(rules_freep) struct rules *device = load_device(light), *gateway = load(light);
    CHECK(device != NULL && gateway != NULL);
    CHECK(rules_version(device) == rules_version(gateway));
    CHECK(load_device("rules:\n"
                      "  ok: {do: rate, rate: 1}\n"
                      "  minute: {do: window, length: 60s}\n"
                      "  knock:\n"
                      "    do: capture\n"
                      "    above: 8\n"
                      "  badge: {do: hash}\n"
                      "  far: {do: merge, of: minute, length: 15min}\n"
                      "  fahrenheit: {do: convert, factor: 2}\n"
                      "  shaky: {do: spectrum, samples: 64, bands: [1-2]}\n"
                      "  clock: {do: quality, clock: ntp}\n") == NULL);
    CHECK_CONTAINS(problems, ":3:16: rules.minute.do: window is not for a device: ");
    CHECK_CONTAINS(problems, ":5:9: rules.knock.do: capture is not for a device: ");
    CHECK_CONTAINS(problems, ":7:15: rules.badge.do: hash is not for a device: the plant's key is not on devices");
    CHECK_CONTAINS(problems, "rules.far.do: merge");
    CHECK_CONTAINS(problems, "rules.fahrenheit.do: convert");
    CHECK_CONTAINS(problems, "rules.shaky.do: spectrum");
    CHECK_CONTAINS(problems, "rules.clock.do: quality");
    CHECK(strstr(problems, "rules.ok") == NULL);
    CHECK(load_device("rules: {a: {do: range, min: 2, max: 1}, b: {do: hash}}\n") == NULL);
    CHECK_CONTAINS(problems, "rules.a.min: is above max");
    CHECK_CONTAINS(problems, "rules.b.do: hash is not for a device");
    CHECK(load_device("rules: {a: {do: range, min: 2, max: 1}}\n") == NULL);
}

static void a_capture_may_ask_for_faster_samples(void **state)
{
    (void)state;
    CLEANUP(rules_freep) struct rules *a = load("rules: {k: {do: capture, above: 8, after: 5s, faster: 10}}\n");
    CLEANUP(rules_freep) struct rules *b = load("rules: {k: {do: capture, above: 8, after: 5s, every: 10ms}}\n");
    CLEANUP(rules_freep) struct rules *c = load("rules: {k: {do: capture, above: 8, after: 5s}}\n");
    CHECK(rules_at(a, 0)->faster == 10 && rules_at(a, 0)->every_us == 0);
    CHECK(rules_at(b, 0)->faster == 0 && rules_at(b, 0)->every_us == 10 * MS_US);
    CHECK(rules_at(c, 0)->faster == 0 && rules_at(c, 0)->every_us == 0);
    CHECK(rules_version(a) != rules_version(b) && rules_version(a) != rules_version(c));
    REFUSED("rules: {k: {do: capture, above: 8, after: 5s, faster: 1}}\n", "rules.k.faster: must be above 1");
    REFUSED("rules: {k: {do: capture, above: 8, after: 5s, faster: 0.5}}\n", "rules.k.faster: must be above 1");
    REFUSED("rules: {k: {do: capture, above: 8, after: 5s, faster: 1e6}}\n", "faster");
    REFUSED("rules: {k: {do: capture, above: 8, after: 5s, faster: 10, every: 1s}}\n", "give faster or every");
    REFUSED("rules: {k: {do: capture, above: 8, after: 5s, every: 10us}}\n", "every");
    REFUSED("rules: {k: {do: capture, above: 8, faster: 10}}\n", "rules.k.after: must be above 0");
    REFUSED("rules: {k: {do: rate, rate: 1, faster: 10}}\n", "has no meaning with do: rate");
}

static int start(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int end(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_keep_their_order_and_their_settings),
        cmocka_unit_test(the_version_is_that_of_the_meaning),
        cmocka_unit_test(mistakes_are_named_with_their_place),
        cmocka_unit_test(a_value_out_of_range_hides_no_other_mistake),
        cmocka_unit_test(a_hash_needs_a_key),
        cmocka_unit_test(the_kinds_tell_their_settings),
        cmocka_unit_test(a_merge_does_not_wait_for_itself),
        cmocka_unit_test(what_is_just_possible_is_taken),
        cmocka_unit_test(every_mistake_is_told_at_once),
        cmocka_unit_test(large_files_are_refused_and_globs_are_quick),
        cmocka_unit_test(what_is_not_for_a_device_is_refused_with_place_and_reason),
        cmocka_unit_test(a_capture_may_ask_for_faster_samples),
    };
    return cmocka_run_group_tests(tests, start, end);
}
