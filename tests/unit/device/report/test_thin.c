/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what a device's rules take out costs no number and is accounted for to the last reading, each by the rule that
 * took it; what is left names the rules; other rules take over without a hole in the account.
 */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "device/report/report.h"
#include "proto/curate/curate.h"
#include "proto/rules/rules.h"
#include "tests/support/check.h"
#include "tests/unit/device/report/rig.h"

enum { CHANNELS = 3 };

struct ruling {
    struct rules *rules;
    struct curate *curate;
};

static struct ruling ruling_new(const char *text)
{
    char path[] = "/tmp/weir-test-thin-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    struct ruling r = {.rules = NULL};
    BUFFER(problems, 4096);
    CHECK_OK(rules_load_device(path, &r.rules, &problems));
    unlink(path);
    CHECK_OK(curate_new(r.rules, &(struct curate_options){.stream_bytes = 0}, &r.curate));
    return r;
}

static void ruling_free(struct ruling *r)
{
    curate_free(r->curate);
    rules_free(r->rules);
}

/* Readings that the events of a rule declare, under this version (0 = any). */
static uint64_t declared(const struct rig_stream *s, const char *rule, uint64_t version)
{
    uint64_t sum = 0;
    char head[64], tail[40];
    snprintf(head, sizeof head, "rule=%s readings=", rule);
    snprintf(tail, sizeof tail, "rules=%016" PRIx64, version);
    for (size_t n = 0; rig_event(s, "readings-suppressed", n) != NULL; n++) {
        const struct rig_record *e = rig_event(s, "readings-suppressed", n);
        if (strncmp(e->text, head, strlen(head)) == 0 && (version == 0 || strstr(e->text, tail) != NULL)) {
            sum += (uint64_t)e->value;
        }
    }
    return sum;
}

static uint64_t delivered(const struct rig_stream *s)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < s->count; i++) {
        sum += s->records[i].values;
    }
    return sum;
}

static void every_reading_is_delivered_or_declared_by_the_rule_that_took_it(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    struct ruling r = ruling_new("rules:\n"
                                 "  half: {do: range, min: 0}\n"
                                 "  small: {channels: pattern_1, do: deadband, abs: 100000}\n"
                                 "  seldom: {channels: pattern_2, do: rate, rate: 0.5}\n");
    rig->options.report.curate = r.curate;
    rig_start(rig);
    rig_run(rig, 10 * MINUTE_US);
    agent_stop(rig->agent);
    rig_drain(rig, MINUTE_US);
    struct rig_stream *s = rig_current(rig, 1);
    rig_expect_whole(s);
    uint64_t taken = declared(s, "half", 0) + declared(s, "small", 0) + declared(s, "seldom", 0);
    CHECK(declared(s, "half", 0) > 100 && declared(s, "small", 0) > 5 && declared(s, "seldom", 0) > 50);
    CHECK_INT(delivered(s) + taken, rig_stats(rig).samples * CHANNELS);
    CHECK_INT(rig_stats(rig).thinned, taken);
    CHECK_INT(rig_stats(rig).thinned_waiting, 0);
    CHECK_INT(report_thinned(agent_report(rig->agent), 0), declared(s, "half", rules_version(r.rules)));
    CHECK_INT(rig->refused_records, 0);
    for (size_t i = 0; i < s->count; i++) {
        CHECK(s->records[i].kind != WEIR__V1__RECORD__KIND_CURATED || s->records[i].rules == rules_version(r.rules));
    }
    CHECK(rig_count(s, WEIR__V1__RECORD__KIND_CURATED) > 100);
    rig_free(rig);
    ruling_free(&r);
}

static void a_block_of_which_nothing_is_left_costs_no_number(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    struct ruling r = ruling_new("rules: {none: {do: range, min: 10000000}}\n");
    rig->options.report.curate = r.curate;
    rig->options.report.declare_us = 10 * MINUTE_US;
    rig_start(rig);
    rig_run(rig, HOUR_US + SECOND_US / 2);
    struct rig_stream *s = rig_current(rig, 1);
    CHECK_INT(s->window.hwm, 1 + 5); /* the description, and five accounts of ten minutes from the first block on */
    CHECK_INT(declared(s, "none", 0) + rig_stats(rig).thinned_waiting, rig_stats(rig).thinned);
    uint64_t blocks = rig_stats(rig).samples / 4;
    CHECK(rig_stats(rig).thinned_blocks >= blocks);
    CHECK(rig_stats(rig).thinned_blocks <= blocks + 5); /* an account closes one */
    agent_stop(rig->agent);
    rig_drain(rig, MINUTE_US);
    CHECK_INT(declared(s, "none", 0), rig_stats(rig).samples * CHANNELS);
    rig_expect_whole(s);
    rig_free(rig);
    ruling_free(&r);
}

static void blocks_that_rules_leave_alone_go_as_they_are_and_name_the_rules_by_their_set(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    struct ruling r = ruling_new("rules: {all: {do: range, min: -10000000}}\n");
    rig_start(rig);
    rig_run(rig, 20 * SECOND_US);
    uint32_t plain_set = rig_current(rig, 1)->records[0].set;
    uint64_t plain_config = rig_current(rig, 1)->records[0].config;
    CHECK_OK(report_set_curate(agent_report(rig->agent), r.curate));
    rig_run(rig, 20 * SECOND_US);
    struct rig_stream *s = rig_current(rig, 1);
    rig_expect_whole(s);
    CHECK_INT(rig_count(s, WEIR__V1__RECORD__KIND_CURATED), 0);
    CHECK_INT(rig_count(s, WEIR__V1__RECORD__KIND_DESCRIBE), 2);
    const struct rig_record *last = &s->records[s->count - 1];
    CHECK(last->kind == WEIR__V1__RECORD__KIND_BLOCK && last->set != plain_set);
    for (size_t i = 1; i < s->count; i++) {
        CHECK(s->records[i].kind != WEIR__V1__RECORD__KIND_DESCRIBE || s->records[i].config != plain_config);
    }
    rig_free(rig);
    ruling_free(&r);
}

static void other_rules_declare_what_the_old_ones_took_under_the_old_version(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    struct ruling a = ruling_new("rules: {half: {do: range, min: 0}}\n");
    struct ruling b = ruling_new("rules: {few: {do: range, min: 900000}}\n");
    rig->options.report.curate = a.curate;
    rig_start(rig);
    rig_run(rig, 30 * SECOND_US + SECOND_US / 2);
    CHECK_OK(report_set_curate(agent_report(rig->agent), b.curate));
    rig_run(rig, 30 * SECOND_US);
    CHECK_OK(report_set_curate(agent_report(rig->agent), NULL));
    ruling_free(&a);
    rig_run(rig, 30 * SECOND_US);
    agent_stop(rig->agent);
    rig_drain(rig, MINUTE_US);
    struct rig_stream *s = rig_current(rig, 1);
    rig_expect_whole(s);
    uint64_t half = declared(s, "half", 0), few = declared(s, "few", rules_version(b.rules));
    CHECK(half > 20 && few > half);
    CHECK_INT(delivered(s) + half + few, rig_stats(rig).samples * CHANNELS);
    const struct rig_record *last = &s->records[s->count - 1];
    CHECK(last->kind == WEIR__V1__RECORD__KIND_BLOCK); /* no rules any more */
    CHECK_INT(last->values, last->samples * CHANNELS);
    rig_free(rig);
    ruling_free(&b);
}

static void what_rules_held_back_until_others_came_is_delivered_and_not_counted_as_taken(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    struct ruling a = ruling_new("rules: {door: {do: swinging-door, abs: 400000}}\n");
    struct ruling b = ruling_new("rules: {last: {do: downsample, every: 3s, by: last}}\n");
    rig->options.report.curate = a.curate;
    rig_start(rig);
    for (int i = 0; i < 6; i++) {
        rig_run(rig, 10 * SECOND_US + SECOND_US / 2);
        CHECK_OK(report_set_curate(agent_report(rig->agent), i % 2 == 0 ? b.curate : a.curate));
    }
    rig_run(rig, 30 * SECOND_US);
    agent_stop(rig->agent);
    rig_drain(rig, MINUTE_US);
    struct rig_stream *s = rig_current(rig, 1);
    rig_expect_whole(s);
    uint64_t taken = declared(s, "door", rules_version(a.rules)) + declared(s, "last", rules_version(b.rules));
    CHECK(taken > 20);
    CHECK_INT(delivered(s) + taken, rig_stats(rig).samples * CHANNELS);
    rig_free(rig);
    ruling_free(&a);
    ruling_free(&b);
}

static void a_dropped_channel_is_gone_from_description_blocks_and_events(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    struct ruling r = ruling_new("rules: {badge: {channels: pattern_1, do: drop}}\n");
    rig->options.report.curate = r.curate;
    rig->options.limit = (struct agent_limit){.channel = "pattern_1", .above = -2e6, .below = -3e6};
    rig_start(rig);
    rig_run(rig, 2 * MINUTE_US + SECOND_US / 2);
    struct rig_stream *s = rig_current(rig, 1), *alarms = rig_current(rig, 0);
    CHECK_INT(s->records[0].channels, 2);
    for (size_t i = 1; i < s->count; i++) {
        CHECK(s->records[i].values == 0 || (s->records[i].channels == 2 && s->records[i].set == s->records[0].set));
    }
    const struct rig_record *alarm = rig_event(alarms, "limit-exceeded", 0);
    CHECK(alarm != NULL && alarm->value != alarm->value && alarm->text[0] == '\0');
    CHECK_INT(alarm->set, s->records[0].set);
    CHECK(declared(s, "badge", 0) > 0);
    rig_free(rig);
    ruling_free(&r);
}

static void a_crash_takes_only_counts_that_were_not_declared_yet(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    struct ruling r = ruling_new("rules: {half: {do: range, min: 0}}\n");
    rig->options.report.curate = r.curate;
    rig->options.report.declare_us = 20 * SECOND_US;
    rig_start(rig);
    rig_run(rig, 5 * MINUTE_US + 10 * SECOND_US);
    struct rig_stream *s = rig_current(rig, 1);
    uint64_t waiting = rig_stats(rig).thinned_waiting, samples = rig_stats(rig).samples;
    CHECK(waiting > 0 && waiting <= 24 * CHANNELS);
    uint64_t open = samples % 4 * CHANNELS; /* at most: the block under construction */
    rig_crash(rig);
    uint64_t before = delivered(s) + declared(s, "half", 0);
    CHECK(before + waiting <= samples * CHANNELS && before + waiting + open >= samples * CHANNELS - 4 * CHANNELS);
    rig_start(rig);
    rig_run(rig, 5 * MINUTE_US);
    agent_stop(rig->agent);
    rig_drain(rig, MINUTE_US);
    s = rig_current(rig, 1);
    rig_expect_whole(s);
    CHECK_INT(delivered(s) + declared(s, "half", 0) - before, rig_stats(rig).samples * CHANNELS);
    rig_free(rig);
    ruling_free(&r);
}

static void a_door_and_a_downsample_fit_into_the_room_for_records(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4 << 20);
    struct ruling r = ruling_new("rules:\n"
                                 "  door: {channels: \"*_[0]\", do: swinging-door, abs: 0.6}\n"
                                 "  line: {channels: pattern_0, do: swinging-door, abs: 500000}\n"
                                 "  tens: {channels: pattern_1, do: downsample, every: 10s, by: mean}\n"
                                 "  same: {channels: pattern_2, do: dedupe}\n");
    rig->options.report.samples_per_record = 1;
    rig->options.report.curate = r.curate;
    rig_start(rig);
    rig_run(rig, 10 * MINUTE_US);
    agent_stop(rig->agent);
    rig_drain(rig, MINUTE_US);
    struct rig_stream *s = rig_current(rig, 1);
    rig_expect_whole(s);
    CHECK_INT(rig_stats(rig).refused, 0);
    CHECK_INT(rig->refused_records, 0);
    CHECK_INT(rig_stats(rig).thinned_waiting, 0);
    CHECK(declared(s, "line", 0) > 100 && declared(s, "tens", 0) > 400);
    rig_free(rig);
    ruling_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_reading_is_delivered_or_declared_by_the_rule_that_took_it),
        cmocka_unit_test(a_block_of_which_nothing_is_left_costs_no_number),
        cmocka_unit_test(blocks_that_rules_leave_alone_go_as_they_are_and_name_the_rules_by_their_set),
        cmocka_unit_test(other_rules_declare_what_the_old_ones_took_under_the_old_version),
        cmocka_unit_test(what_rules_held_back_until_others_came_is_delivered_and_not_counted_as_taken),
        cmocka_unit_test(a_dropped_channel_is_gone_from_description_blocks_and_events),
        cmocka_unit_test(a_crash_takes_only_counts_that_were_not_declared_yet),
        cmocka_unit_test(a_door_and_a_downsample_fit_into_the_room_for_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
