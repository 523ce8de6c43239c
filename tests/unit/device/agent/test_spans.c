/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: statistics of spans go the way of the samples, in order and exactly once, under channels that the description
 * names; they count what the model saw; a device's rules hold for them as well; a power cut takes the open span alone.
 */
#include "device/agent/agent.h"

#include <stdio.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "core/base/buffer.h"
#include "proto/curate/curate.h"
#include "proto/outcome/outcome.h"
#include "proto/rules/rules.h"
#include "tests/support/check.h"
#include "tests/support/tiny_model.h"
#include "tests/unit/device/report/rig.h"

enum { WINDOWS = 200, SETS = 8 };
static char dir[] = "/tmp/weir-spans-XXXXXX", path[128];
static struct infer_options infer;

/* What leaves the device. */
static struct seen {
    struct arena arena;
    struct {
        uint32_t set;
        size_t count;
        char name[8][WIRE_NAME_MAX + 1];
    } sets[SETS];
    size_t set_count;
    struct {
        char channel[WIRE_NAME_MAX + 1], rule[WIRE_NAME_MAX + 1];
        uint64_t number, start_us, length_us, count;
        double mean, min, max;
        size_t sketch;
        bool partial;
    } window[WINDOWS];
    size_t count;
    uint64_t newest; /* of lane 1: what is sent again is not counted again */
} seen;

static void on_describe(const Weir__V1__Describe *d)
{
    CHECK(seen.set_count < SETS && d->n_channel <= 8);
    seen.sets[seen.set_count].set = d->set;
    seen.sets[seen.set_count].count = d->n_channel;
    for (size_t i = 0; i < d->n_channel; i++) {
        snprintf(seen.sets[seen.set_count].name[i], WIRE_NAME_MAX, "%s", d->channel[i]->name);
    }
    seen.set_count++;
}

static const char *name_of(uint32_t set, unsigned channel)
{
    for (size_t i = seen.set_count; i-- > 0;) {
        if (seen.sets[i].set == set && channel < seen.sets[i].count) {
            return seen.sets[i].name[channel];
        }
    }
    CHECK(false); /* described before it is used */
    return NULL;
}

static void on_curated(const Weir__V1__Curated *c, uint64_t number)
{
    for (size_t i = 0; i < c->n_window; i++) {
        const Weir__V1__Window *w = c->window[i];
        CHECK(seen.count < WINDOWS);
        snprintf(seen.window[seen.count].channel, WIRE_NAME_MAX, "%s", name_of(c->set, w->channel));
        snprintf(seen.window[seen.count].rule, WIRE_NAME_MAX, "%s", w->rule);
        seen.window[seen.count].number = number;
        seen.window[seen.count].start_us = w->start_us;
        seen.window[seen.count].length_us = w->length_us;
        seen.window[seen.count].count = w->count;
        seen.window[seen.count].mean = w->mean;
        seen.window[seen.count].min = w->min;
        seen.window[seen.count].max = w->max;
        seen.window[seen.count].sketch = w->sketch.len;
        seen.window[seen.count++].partial = w->partial;
    }
}

static void on_traffic(void *arg, const char *client, struct slice topic, struct slice payload)
{
    struct wire_frame frame;
    struct wire_entry entries[WIRE_RECORDS_MAX];
    (void)arg;
    if (strcmp(client, "dev-1") != 0 || topic.len < 5 || memcmp(topic.ptr + topic.len - 5, "/tele", 5) != 0) {
        return;
    }
    CHECK_OK(wire_frame_decode(payload, false, &frame, entries, WIRE_RECORDS_MAX, NULL));
    for (size_t i = 0; i < frame.count && frame.header.lane == 1; i++) {
        Weir__V1__Record *record;
        arena_reset(&seen.arena);
        CHECK_OK(wire_record_check(entries[i].body, entries[i].first, entries[i].last, NULL));
        CHECK_OK(wire_record_unpack(entries[i].body, &seen.arena, &record));
        if (entries[i].first <= seen.newest) {
            continue;
        }
        seen.newest = entries[i].last;
        if (record->kind_case == WEIR__V1__RECORD__KIND_DESCRIBE) {
            on_describe(record->describe);
        } else if (record->kind_case == WEIR__V1__RECORD__KIND_CURATED) {
            on_curated(record->curated, entries[i].first);
        }
    }
}

static struct rig *sketching(int64_t sketch_us)
{
    CHECK(tiny_model_write(
        dir, "tiny", "model: tiny\nchannels: [pattern_0, pattern_1]\nrate: 1\nwindow: 2\nhop: 1\nunsure_below: 0\n",
        "pattern_0", "pattern_1"));
    snprintf(path, sizeof(path), "%s/tiny.yaml", dir);
    infer = (struct infer_options){.model = path, .report = INFER_CHANGES, .sketch_us = sketch_us};
    struct rig *rig = rig_new(4 << 20);
    rig->options.infer = &infer;
    seen.set_count = seen.count = 0;
    seen.newest = 0;
    bus_hub_watch(rig->hub, on_traffic, NULL);
    return rig;
}

static uint64_t counted(const char *channel)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < seen.count; i++) {
        sum += strcmp(seen.window[i].channel, channel) == 0 ? seen.window[i].count : 0;
    }
    return sum;
}

static void spans_count_all_that_the_model_saw(void **state)
{
    (void)state;
    struct rig *rig = sketching(20 * SECOND_US);
    rig_start(rig);
    rig_run(rig, 100 * SECOND_US);
    BUFFER(text, 64 * 1024);
    agent_status_json(rig->agent, &text);
    cJSON *status = cJSON_ParseWithLength((const char *)text.ptr, text.len);
    const cJSON *own = cJSON_GetObjectItem(cJSON_GetObjectItem(status, "infer"), "sketch");
    CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItem(own, "of")), OUTCOME_DOUBT);
    CHECK(cJSON_GetObjectItem(own, "count")->valueint > 0 && cJSON_GetObjectItem(own, "told")->valueint >= 4);
    cJSON_Delete(status);
    agent_stop(rig->agent);
    rig_drain(rig, MINUTE_US);
    struct infer_stats s;
    infer_stats(agent_infer(rig->agent), &s);
    rig_expect_whole(rig_current(rig, 1));
    CHECK_INT(rig->refused_records, 0);
    CHECK_INT(rig_count(rig_current(rig, 1), WEIR__V1__RECORD__KIND_CURATED), s.sketches);
    CHECK(s.sketches >= 5 && s.sketches_untold == 0);
    CHECK_INT(seen.count, 3 * s.sketches);
    CHECK_INT(counted("pattern_0"), rig_stats(rig).samples);
    CHECK_INT(counted("pattern_1"), rig_stats(rig).samples);
    CHECK_INT(counted("pattern_2"), 0); /* is not the model's */
    CHECK_INT(counted(OUTCOME_DOUBT), s.runs + s.cached);
    CHECK(s.told < s.windows); /* of the answers themselves only changes */
    for (size_t i = 0; i < seen.count; i++) {
        bool outcome = strcmp(seen.window[i].channel, OUTCOME_DOUBT) == 0;
        CHECK_STR(seen.window[i].rule, OUTCOME_RULE);
        CHECK((seen.window[i].sketch > 0) == outcome);
        CHECK(seen.window[i].start_us % (20 * SECOND_US) == 0 && seen.window[i].length_us == 20 * SECOND_US);
        CHECK(seen.window[i].partial == (i < 3 || i + 3 >= seen.count));
        CHECK(!outcome || (seen.window[i].min >= 0 && seen.window[i].max <= 1));
    }
    rig_free(rig);
}

static void a_device_without_them_describes_and_sends_nothing_more(void **state)
{
    (void)state;
    struct rig *rig = sketching(0);
    rig_start(rig);
    rig_run(rig, 50 * SECOND_US);
    CHECK_INT(seen.count, 0);
    CHECK_INT(seen.sets[0].count, 3);
    rig_free(rig);
}

static void a_power_cut_takes_the_open_span_alone(void **state)
{
    (void)state;
    struct rig *rig = sketching(10 * SECOND_US);
    rig_start(rig);
    rig_run(rig, 34 * SECOND_US);
    rig_crash(rig);
    size_t before = seen.count;
    CHECK(before >= 6);
    rig_start(rig);
    rig_run(rig, 40 * SECOND_US);
    CHECK(seen.count > before);
    uint64_t sum = counted("pattern_0");
    CHECK(sum <= 75 && sum >= 45);
    rig_expect_whole(rig_current(rig, 1));
    rig_free(rig);
}

static void rules_of_the_device_hold_for_them(void **state)
{
    (void)state;
    struct rules *rules = NULL;
    struct curate *curate = NULL;
    char file[160];
    BUFFER(problems, 4096);
    struct rig *rig = sketching(20 * SECOND_US);
    snprintf(file, sizeof(file), "%s/rules.yaml", dir);
    FILE *f = fopen(file, "w");
    CHECK(f != NULL && fputs("rules: {d: {channels: pattern_0, do: drop}}\n", f) > 0 && fclose(f) == 0);
    CHECK_OK(rules_load_device(file, &rules, &problems));
    CHECK_OK(curate_new(rules, &(struct curate_options){.stream_bytes = 0}, &curate));
    rig->options.report.curate = curate;
    rig_start(rig);
    rig_run(rig, 100 * SECOND_US);
    agent_stop(rig->agent);
    rig_drain(rig, MINUTE_US);
    CHECK_INT(rig->refused_records, 0);
    CHECK_INT(counted("pattern_0"), 0);
    CHECK_INT(counted("pattern_1"), rig_stats(rig).samples); /* by its new place in the description */
    CHECK(counted(OUTCOME_DOUBT) > 90);
    rig_expect_whole(rig_current(rig, 1));
    rig_free(rig);
    curate_free(curate);
    rules_free(rules);
    unlink(file);
}

static void a_budget_of_bytes_holds_for_them(void **state)
{
    (void)state;
    for (unsigned enough = 0; enough < 2; enough++) {
        struct infer_stats s;
        struct rig *rig = sketching(20 * SECOND_US);
        infer.report_every_us = 0;
        infer.bytes_per_day = enough ? 1 << 20 : 4000; /* saved up: an hour's worth, or two answers */
        rig_start(rig);
        rig_run(rig, 100 * SECOND_US);
        infer_stats(agent_infer(rig->agent), &s);
        CHECK((s.sketches > 0) == (enough == 1) && (s.sketches_untold > 0) == (enough == 0));
        CHECK_INT(seen.count, 3 * s.sketches);
        rig_free(rig);
    }
}

static int begin(void **state)
{
    (void)state;
    return mkdtemp(dir) != NULL && arena_init(&seen.arena, WIRE_ARENA_BYTES) == OK ? 0 : 1;
}

static int end(void **state)
{
    (void)state;
    arena_deinit(&seen.arena);
    unlink(path);
    snprintf(path, sizeof(path), "%s/tiny.tflite", dir);
    unlink(path);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_count_all_that_the_model_saw),
        cmocka_unit_test(a_device_without_them_describes_and_sends_nothing_more),
        cmocka_unit_test(a_power_cut_takes_the_open_span_alone),
        cmocka_unit_test(rules_of_the_device_hold_for_them),
        cmocka_unit_test(a_budget_of_bytes_holds_for_them),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
