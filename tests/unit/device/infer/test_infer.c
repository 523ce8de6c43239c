/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: every row of infer.h's table: what becomes of a window that is blank, skipped, sure, unsure, known already, and
 * of an ask that is answered, refused, late, not sent; a model that does not fit is refused at the start with its place
 * in the file.
 */
#include "device/infer/infer.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "core/base/buffer.h"
#include "core/nn/nn.h"
#include "proto/model/model.h"
#include "proto/wire/wire.h"
#include "tests/support/check.h"
#include "tests/support/tiny_model.h"

#define HEAD "model: tiny\nchannels: [temp, moist]\nrate: 10\nwindow: 4\nunsure_below: 0.8\n"
enum { TOLD_MAX = 8192 };
#define PERIOD_US (100 * MS_US)

static char dir[] = "/tmp/weir-infer-XXXXXX";
static const struct sense_channel channels[] = {{"other", "", 1}, {"moist", "%", 0.1}, {"temp", "Cel", 0.1}};

struct told {
    uint64_t model, own_model, wall_us;
    uint32_t answer, own_answer, took_ms, repeats, skipped;
    double confidence, own_confidence;
    Weir__V1__AnsweredBy by;
    Weir__V1__Asked asked;
    char label[32], engine[32];
    bool alarm;
};
struct rig {
    struct loop_world *world;
    struct loop *loop;
    struct infer *infer;
    struct told told[TOLD_MAX];
    size_t told_count, ask_count;
    struct wire_ask ask; /* the last one */
    uint8_t values[4096];
    bool offline, full;
    int64_t at_us;
};

static enum err on_tell(void *arg, struct slice record, bool is_alarm)
{
    struct rig *rig = arg;
    struct arena arena;
    Weir__V1__Record *r = NULL;
    if (rig->full) {
        return ERR_FULL;
    }
    CHECK_OK(wire_record_check(record, 1, 1, NULL));
    CHECK_OK(arena_init(&arena, WIRE_ARENA_BYTES));
    CHECK_OK(wire_record_unpack(record, &arena, &r));
    const Weir__V1__Inference *i = r->inference;
    struct told *t = &rig->told[rig->told_count++];
    CHECK(rig->told_count <= TOLD_MAX);
    *t = (struct told){.model = i->model,
                       .own_model = i->own_model,
                       .wall_us = i->wall_us,
                       .answer = i->answer,
                       .own_answer = i->own_answer,
                       .took_ms = i->took_ms,
                       .repeats = i->repeats,
                       .skipped = i->skipped,
                       .confidence = (double)i->confidence,
                       .own_confidence = (double)i->own_confidence,
                       .by = i->by,
                       .asked = i->asked,
                       .alarm = is_alarm};
    snprintf(t->label, sizeof(t->label), "%s", i->label);
    snprintf(t->engine, sizeof(t->engine), "%s", i->engine);
    CHECK_INT(i->window_us, 3 * PERIOD_US);
    arena_deinit(&arena);
    return OK;
}

static enum err on_ask(void *arg, struct slice ask)
{
    struct rig *rig = arg;
    if (rig->offline) {
        return ERR_AGAIN;
    }
    CHECK_OK(wire_ask_decode(ask, &rig->ask));
    CHECK(rig->ask.values.len <= sizeof(rig->values));
    memcpy(rig->values, rig->ask.values.ptr, rig->ask.values.len);
    rig->ask.values.ptr = rig->values;
    rig->ask_count++;
    return OK;
}

static char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s.yaml", dir, name);
    return path;
}

static struct infer_options usual(const char *head)
{
    CHECK(tiny_model_write(dir, "tiny", head, "temp", "moist"));
    return (struct infer_options){.model = path_of("tiny"),
                                  .site = "plant",
                                  .gateway = "gw",
                                  .device = "dev",
                                  .channels = channels,
                                  .channel_count = COUNT_OF(channels),
                                  .period_us = PERIOD_US};
}

static struct rig *start(const struct infer_options *options)
{
    static struct rig rig;
    rig = (struct rig){.at_us = SECOND_US};
    const struct infer_handlers handlers = {.tell = on_tell, .ask = on_ask, .arg = &rig};
    struct fault fault = {.code = OK};
    CHECK_OK(loop_world_new(1, &rig.world));
    CHECK_OK(loop_new_virtual(rig.world, &rig.loop));
    enum err err = infer_new(rig.loop, options, &handlers, &rig.infer, &fault);
    if (err != OK) {
        fprintf(stderr, "%s\n", fault.text);
    }
    CHECK_OK(err);
    return &rig;
}

static void stop(struct rig *rig)
{
    infer_free(rig->infer);
    loop_free(rig->loop);
    loop_world_free(rig->world);
}

static struct infer_stats stats(const struct rig *rig)
{
    struct infer_stats s;
    infer_stats(rig->infer, &s);
    return s;
}

static void sample(struct rig *rig, double temp, double moist)
{
    const double values[] = {7, moist, temp};
    loop_world_run(rig->world, rig->at_us);
    infer_sample(rig->infer,
                 &(struct infer_sample){
                     .values = values, .mono_us = rig->at_us, .wall_us = (uint64_t)rig->at_us + 5, .synced = true});
    rig->at_us += PERIOD_US;
}

static void window(struct rig *rig, double temp, double moist)
{
    for (unsigned i = 0; i < 4; i++) {
        sample(rig, temp, moist);
    }
}

static const struct told *last(const struct rig *rig)
{
    CHECK(rig->told_count > 0);
    return &rig->told[rig->told_count - 1];
}

static void answer_with(struct rig *rig, uint64_t id, Weir__V1__AnswerStatus status, uint32_t class, const char *device)
{
    struct wire_answer a = {.id = id, .model = 0xabc, .status = status, .answer = class, .confidence = 0.9F};
    snprintf(a.device, sizeof(a.device), "%s", device);
    snprintf(a.engine, sizeof(a.engine), "plant/gw");
    BUFFER(out, WIRE_ANSWER_MAX);
    CHECK_OK(wire_answer_encode(&a, &out));
    infer_answer(rig->infer, buffer_slice(&out));
}

/* ---- windows ---- */

static void a_sure_answer_is_told_with_the_models_identity(void **state)
{
    (void)state;
    struct infer_options o = usual(HEAD);
    struct rig *rig = start(&o);
    CHECK(!infer_asks(rig->infer));
    window(rig, 1, 1);
    CHECK_INT(rig->told_count, 1);
    const struct told *t = last(rig);
    CHECK_STR(t->label, "normal");
    CHECK_INT(t->answer, 0);
    CHECK(fabs(t->confidence - exp(4) / (exp(4) + 2 * exp(1))) < 1e-6);
    CHECK(t->model == infer_model(rig->infer) && t->model != 0);
    CHECK_INT(t->by, WEIR__V1__ANSWERED_BY__BY_DEVICE);
    CHECK_INT(t->asked, WEIR__V1__ASKED__NOT_ASKED);
    CHECK_INT(t->wall_us, rig->at_us - PERIOD_US + 5);
    CHECK(t->own_model == 0 && t->engine[0] == '\0' && !t->alarm);
    window(rig, 9, 1); /* unsure or not: nobody is to be asked */
    CHECK_STR(last(rig)->label, "hot");
    window(rig, 4, 1);
    CHECK_INT(last(rig)->asked, WEIR__V1__ASKED__NOT_ASKED);
    CHECK_INT(stats(rig).unsure, 1);
    CHECK_INT(stats(rig).runs, 3);
    stop(rig);
}

static void equal_inputs_are_not_computed_again(void **state)
{
    (void)state;
    struct infer_options o = usual(HEAD);
    struct rig *rig = start(&o);
    window(rig, 1, 1);
    window(rig, 1.01, 1); /* the same once quantised */
    window(rig, 9, 1);
    window(rig, 1, 1);
    CHECK_INT(stats(rig).runs, 2);
    CHECK_INT(stats(rig).cached, 2);
    CHECK_INT(rig->told_count, 4);
    CHECK_INT(last(rig)->answer, 0);
    for (unsigned i = 0; i < INFER_CACHE_ROWS; i++) {
        window(rig, 0.5, -0.1 * i);
    }
    window(rig, 1, 1); /* forgotten by now */
    CHECK_INT(stats(rig).cached, 2);
    stop(rig);
}

static void changes_alone_are_told_and_the_others_counted(void **state)
{
    (void)state;
    struct infer_options o = usual(HEAD);
    o.report = INFER_CHANGES;
    o.report_every_us = 4 * SECOND_US;
    struct rig *rig = start(&o);
    for (unsigned i = 0; i < 5; i++) {
        window(rig, 1 + i * 0.1, 1);
    }
    CHECK_INT(rig->told_count, 1);
    window(rig, 9, 1);
    CHECK_INT(rig->told_count, 2);
    CHECK_INT(last(rig)->repeats, 4);
    CHECK_STR(last(rig)->label, "hot");
    for (unsigned i = 0; i < 11; i++) { /* 4.4 s: once by time */
        window(rig, 9, 1);
    }
    CHECK_INT(rig->told_count, 3);
    CHECK_INT(last(rig)->repeats, 9);
    CHECK_INT(stats(rig).repeats, 4 + 9 + 1);
    stop(rig);
}

static void a_class_that_is_an_alarm_is_one_when_it_begins(void **state)
{
    (void)state;
    static const char *const alarms[] = {"hot"}, *const wrong[] = {"cold"};
    struct infer_options o = usual(HEAD);
    o.alarm_classes = alarms;
    o.alarm_count = 1;
    struct rig *rig = start(&o);
    window(rig, 1, 1);
    window(rig, 9, 1);
    CHECK(last(rig)->alarm);
    window(rig, 9.5, 1);
    CHECK(!last(rig)->alarm);
    window(rig, 1, 9);
    CHECK(!last(rig)->alarm);
    window(rig, 9, 1);
    CHECK(last(rig)->alarm);
    CHECK_INT(stats(rig).alarms, 2);
    stop(rig);
    struct fault fault;
    struct infer *infer = NULL;
    o.alarm_classes = wrong;
    CHECK_OK(loop_world_new(1, &rig->world));
    CHECK_OK(loop_new_virtual(rig->world, &rig->loop));
    CHECK_ERR(infer_new(rig->loop, &o, &(struct infer_handlers){.tell = on_tell}, &infer, &fault), ERR_RANGE);
    CHECK_CONTAINS(fault.text, "tiny.yaml:10: classes: \"cold\" of infer.alarm_classes");
    rig->infer = NULL;
    stop(rig);
}

static void what_is_missing_or_beyond_numbers_gives_no_wrong_answer(void **state)
{
    (void)state;
    struct infer_options o = usual(HEAD);
    o.ask = INFER_FEATURES;
    struct rig *rig = start(&o);
    window(rig, NAN, 1);
    CHECK_INT(stats(rig).blank, 1);
    CHECK_INT(rig->told_count, 0);
    window(rig, 1e300, 1); /* beyond float32 */
    CHECK_INT(stats(rig).no_verdict, 1);
    CHECK_STR(last(rig)->label, "");
    CHECK(last(rig)->confidence == 0);
    CHECK_INT(rig->ask_count, 0);
    sample(rig, 9, 1);
    sample(rig, NAN, 1); /* held */
    sample(rig, 9, NAN);
    sample(rig, NAN, 1);
    CHECK_STR(last(rig)->label, "hot");
    stop(rig);
}

static void a_gap_in_the_samples_begins_a_new_window(void **state)
{
    (void)state;
    struct infer_options o = usual(HEAD);
    struct rig *rig = start(&o);
    sample(rig, 9, 1);
    sample(rig, 9, 1);
    rig->at_us += 3 * PERIOD_US;
    sample(rig, 1, 1);
    sample(rig, 1, 1);
    CHECK_INT(rig->told_count, 0);
    sample(rig, 1, 1);
    sample(rig, 1, 1);
    CHECK_STR(last(rig)->label, "normal");
    CHECK_INT(stats(rig).gaps, 1);
    sample(rig, 9, 1);
    sample(rig, 9, 1);
    rig->at_us += PERIOD_US; /* one is missing */
    sample(rig, 9, 1);
    sample(rig, 9, 1);
    sample(rig, 9, 1);
    CHECK_STR(last(rig)->label, "normal");
    sample(rig, 9, 1);
    CHECK_STR(last(rig)->label, "hot");
    CHECK_INT(stats(rig).gaps, 2);
    stop(rig);
}

static void a_rhythm_that_is_off_by_a_little_loses_no_sample(void **state)
{
    (void)state;
    for (int64_t off_us = -900; off_us <= 900; off_us += 1800) {
        struct infer_options o = usual(HEAD);
        o.period_us = PERIOD_US + off_us;
        struct rig *rig = start(&o);
        for (unsigned i = 0; i < 4000; i++) {
            sample(rig, 1, 1);
            rig->at_us += off_us;
        }
        CHECK_INT(stats(rig).windows, 1000);
        CHECK_INT(stats(rig).gaps, 0);
        stop(rig);
    }
}

static void a_single_late_sample_costs_none_of_those_behind_it(void **state)
{
    (void)state;
    struct infer_options o = usual(HEAD);
    struct rig *rig = start(&o);
    for (unsigned i = 0; i < 400; i++) {
        int64_t late_us = i % 10 == 3 ? PERIOD_US * 2 / 5 : 0;
        rig->at_us += late_us;
        sample(rig, 1, 1);
        rig->at_us -= late_us;
    }
    CHECK_INT(stats(rig).windows, 100);
    CHECK_INT(stats(rig).gaps, 0);
    stop(rig);
}

static void faster_samples_are_thinned_to_the_models_rate(void **state)
{
    (void)state;
    struct infer_options o = usual(HEAD);
    struct rig *rig = start(&o);
    window(rig, 1, 1);
    for (unsigned i = 0; i < 20; i++) { /* five times as often, with jitter; every fifth is the model's */
        const double values[] = {0, 1, i % 5 == 0 ? 9 : -9};
        int64_t at_us = rig->at_us + i * PERIOD_US / 5 + (i % 3) * MS_US;
        loop_world_run(rig->world, at_us);
        infer_sample(rig->infer, &(struct infer_sample){.values = values, .mono_us = at_us, .wall_us = 1});
    }
    CHECK_INT(rig->told_count, 2);
    CHECK_STR(last(rig)->label, "hot");
    rig->at_us += 4 * PERIOD_US;
    window(rig, 1, 1);
    CHECK_INT(rig->told_count, 3);
    CHECK_INT(stats(rig).gaps, 0);
    stop(rig);
}

static void a_budget_of_computing_is_kept_and_told(void **state)
{
    (void)state;
    struct infer_options o = usual(HEAD);
    o.macs_per_day = 6 * 2400; /* 2,400 of 216,000 windows */
    struct rig *rig = start(&o);
    uint64_t runs = 0;
    for (unsigned hour = 0; hour < 24; hour++) {
        for (unsigned i = 0; i < 20; i++) { /* a sample of the hour is enough: windows that differ, 0.4 s each */
            window(rig, 0.1 * (i % 7), -0.1 * hour);
        }
        rig->at_us += HOUR_US - 8 * SECOND_US;
        runs = stats(rig).runs;
    }
    CHECK_INT(stats(rig).macs, 6);
    CHECK(runs <= 2400);
    stop(rig);
    o.macs_per_day = 48; /* 8 runs: two saved up at most, then one in four hours */
    rig = start(&o);
    for (unsigned i = 0; i < 2000; i++) {
        window(rig, 1, -0.1 * (i % 100) - 0.0005 * i);
    }
    CHECK(stats(rig).runs >= 1 && stats(rig).runs <= 2);
    CHECK_INT(stats(rig).windows, 2000);
    CHECK_INT(stats(rig).skipped + stats(rig).runs + stats(rig).cached, 2000);
    CHECK_INT(stats(rig).beyond_macs, stats(rig).skipped);
    CHECK_INT(stats(rig).beyond_bytes, 0);
    rig->at_us += 5 * HOUR_US;
    uint32_t skipped = (uint32_t)stats(rig).skipped - last(rig)->skipped;
    window(rig, 9, 1);
    CHECK_STR(last(rig)->label, "hot");
    CHECK_INT(last(rig)->skipped, skipped);
    stop(rig);
    o.macs_per_day = 6 * 240;
    rig = start(&o);
    for (unsigned i = 0; i < 24 * 60 * 2; i++) {
        rig->at_us += MINUTE_US - 400 * MS_US;
        window(rig, 0.1 * (i % 100), -0.1 * (i / 100));
        CHECK(stats(rig).runs <= (i < 24 * 60 ? 240 : 480)); /* also in the first day, with what was saved up before */
    }
    CHECK(stats(rig).runs >= 2 * 220);
    stop(rig);
}

static void a_budget_of_bytes_bounds_records_and_asks(void **state)
{
    (void)state;
    struct infer_options o = usual(HEAD);
    o.bytes_per_day = 24000;
    o.ask = INFER_FEATURES;
    struct rig *rig = start(&o);
    for (unsigned i = 0; i < 5000; i++) {
        window(rig, 4, -0.01 * (i % 1000));
    }
    CHECK(stats(rig).record_bytes + stats(rig).ask_bytes <= 24000);
    CHECK(stats(rig).record_bytes > 400);
    CHECK(stats(rig).skipped > 4000);
    CHECK(stats(rig).beyond_bytes > stats(rig).skipped); /* asks as well */
    CHECK_INT(stats(rig).beyond_macs, 0);
    stop(rig);
}

static void what_the_store_does_not_take_is_counted(void **state)
{
    (void)state;
    struct infer_options o = usual(HEAD);
    struct rig *rig = start(&o);
    rig->full = true;
    window(rig, 1, 1);
    window(rig, 1, 2);
    CHECK_INT(stats(rig).untold, 2);
    rig->full = false;
    window(rig, 1, 3);
    CHECK_INT(stats(rig).told, 1);
    stop(rig);
}

/* ---- asks ---- */

static struct rig *asker(enum infer_ask ask)
{
    struct infer_options o = usual(HEAD);
    o.ask = ask;
    o.ask_deadline_us = 200 * MS_US;
    struct rig *rig = start(&o);
    CHECK(infer_asks(rig->infer));
    return rig;
}

static void an_answer_in_time_stands(void **state)
{
    (void)state;
    struct rig *rig = asker(INFER_FEATURES);
    window(rig, 4, 1);
    CHECK_INT(rig->told_count, 0);
    CHECK_INT(rig->ask_count, 1);
    const struct wire_ask *a = &rig->ask;
    CHECK_STR(a->site, "plant");
    CHECK_STR(a->gateway, "gw");
    CHECK_STR(a->device, "dev");
    CHECK_INT(a->deadline_ms, 200);
    CHECK(a->model == infer_model(rig->infer) && a->own_answer == 0);
    CHECK_INT(a->form, WEIR__V1__FORM__FEATURES_INT8);
    float values[2];
    wire_ask_values(a, values);
    CHECK(fabsf(values[0] - 4) < 0.06F && fabsf(values[1] - 1) < 0.06F);
    int64_t window_wall = rig->at_us - PERIOD_US + 5;
    loop_world_run(rig->world, rig->at_us - PERIOD_US + 150 * MS_US);
    answer_with(rig, a->id, WEIR__V1__ANSWER_STATUS__ANSWER_GIVEN, 1, "dev");
    CHECK_INT(rig->told_count, 1);
    const struct told *t = last(rig);
    CHECK_STR(t->label, "hot");
    CHECK_STR(t->engine, "plant/gw");
    CHECK_INT(t->by, WEIR__V1__ANSWERED_BY__BY_GATEWAY);
    CHECK_INT(t->asked, WEIR__V1__ASKED__ASKED_ANSWERED);
    CHECK(t->model == 0xabc && t->own_model == infer_model(rig->infer) && t->own_answer == 0);
    CHECK(fabs(t->confidence - 0.9) < 1e-6 && t->own_confidence > 0.4 && t->own_confidence < 0.6);
    CHECK_INT(t->took_ms, 150);
    CHECK_INT(t->wall_us, window_wall);
    answer_with(rig, a->id, WEIR__V1__ANSWER_STATUS__ANSWER_GIVEN, 1, "dev"); /* once is enough */
    CHECK_INT(stats(rig).strays, 1);
    loop_world_run(rig->world, rig->at_us + SECOND_US); /* no deadline fires */
    CHECK_INT(rig->told_count, 1);
    stop(rig);
}

static void an_answer_holds_for_the_same_input_for_a_while(void **state)
{
    (void)state;
    struct rig *rig = asker(INFER_FEATURES);
    window(rig, 4, 1);
    answer_with(rig, rig->ask.id, WEIR__V1__ANSWER_STATUS__ANSWER_GIVEN, 1, "dev");
    window(rig, 4, 1);
    CHECK_INT(rig->ask_count, 1);
    CHECK_INT(last(rig)->asked, WEIR__V1__ASKED__ASKED_ANSWERED);
    CHECK_STR(last(rig)->label, "hot");
    rig->at_us += 11 * MINUTE_US;
    window(rig, 4, 1);
    CHECK_INT(rig->ask_count, 2);
    stop(rig);
}

static void an_answer_about_a_whole_window_holds_for_that_one_alone(void **state)
{
    (void)state;
    struct rig *rig = asker(INFER_WINDOW);
    window(rig, 4, 1);
    answer_with(rig, rig->ask.id, WEIR__V1__ANSWER_STATUS__ANSWER_GIVEN, 1, "dev");
    window(rig, 4.001, 1); /* the same to the device's int8 network; up there it may be another one */
    CHECK_INT(stats(rig).cached, 1);
    CHECK_INT(rig->ask_count, 2);
    CHECK_INT(rig->told_count, 1);
    stop(rig);
}

static void without_an_answer_in_time_the_devices_own_stands(void **state)
{
    (void)state;
    struct rig *rig = asker(INFER_FEATURES);
    window(rig, 4, 1);
    int64_t asked_us = rig->at_us - PERIOD_US;
    loop_world_run(rig->world, asked_us + 199 * MS_US);
    CHECK_INT(rig->told_count, 0);
    loop_world_run(rig->world, asked_us + 200 * MS_US);
    CHECK_INT(rig->told_count, 1);
    CHECK_INT(last(rig)->asked, WEIR__V1__ASKED__ASKED_LATE);
    CHECK_INT(last(rig)->took_ms, 200);
    CHECK_INT(last(rig)->by, WEIR__V1__ANSWERED_BY__BY_DEVICE);
    CHECK_STR(last(rig)->label, "normal");
    CHECK(last(rig)->model == infer_model(rig->infer) && last(rig)->own_model == last(rig)->model);
    answer_with(rig, rig->ask.id, WEIR__V1__ANSWER_STATUS__ANSWER_GIVEN, 1, "dev"); /* too late */
    CHECK_INT(stats(rig).strays, 1);
    CHECK_INT(rig->told_count, 1);
    stop(rig);
}

static void whoever_cannot_answer_leaves_the_devices_own(void **state)
{
    (void)state;
    const Weir__V1__AnswerStatus statuses[] = {
        WEIR__V1__ANSWER_STATUS__ANSWER_UNSURE, WEIR__V1__ANSWER_STATUS__ANSWER_BUSY,
        WEIR__V1__ANSWER_STATUS__ANSWER_NO_MODEL, WEIR__V1__ANSWER_STATUS__ANSWER_BAD};
    for (size_t i = 0; i < COUNT_OF(statuses); i++) {
        struct rig *rig = asker(INFER_FEATURES);
        window(rig, 4, 1);
        answer_with(rig, rig->ask.id, statuses[i], 1, "dev");
        CHECK_INT(rig->told_count, 1);
        CHECK_INT(last(rig)->asked, WEIR__V1__ASKED__ASKED_REFUSED);
        CHECK_STR(last(rig)->label, "normal");
        window(rig, 4, 1.5); /* without a model up there nobody asks for a while */
        bool pause = i >= 2;
        CHECK_INT(rig->ask_count, pause ? 1 : 2);
        CHECK_INT(rig->told_count, pause ? 2 : 1);
        rig->at_us += MINUTE_US;
        window(rig, 4, 1.7);
        CHECK_INT(rig->ask_count, pause ? 2 : 3);
        stop(rig);
    }
}

static void an_answer_that_is_no_class_of_ours_is_refused(void **state)
{
    (void)state;
    struct rig *rig = asker(INFER_FEATURES);
    window(rig, 4, 1);
    answer_with(rig, rig->ask.id, WEIR__V1__ANSWER_STATUS__ANSWER_GIVEN, 3, "dev");
    CHECK_INT(last(rig)->asked, WEIR__V1__ASKED__ASKED_REFUSED);
    CHECK_STR(last(rig)->label, "normal");
    stop(rig);
}

static void answers_to_others_and_to_nothing_are_dropped(void **state)
{
    (void)state;
    struct rig *rig = asker(INFER_FEATURES);
    answer_with(rig, 99, WEIR__V1__ANSWER_STATUS__ANSWER_GIVEN, 1, "dev");
    window(rig, 4, 1);
    answer_with(rig, rig->ask.id ^ 1, WEIR__V1__ANSWER_STATUS__ANSWER_GIVEN, 1, "dev");
    answer_with(rig, rig->ask.id, WEIR__V1__ANSWER_STATUS__ANSWER_GIVEN, 1, "another");
    infer_answer(rig->infer, slice_str("garbage"));
    infer_answer(rig->infer, slice_of("", 0));
    CHECK_INT(stats(rig).strays, 5);
    CHECK_INT(rig->told_count, 0);
    answer_with(rig, rig->ask.id, WEIR__V1__ANSWER_STATUS__ANSWER_GIVEN, 1, "dev");
    CHECK_INT(stats(rig).answered, 1);
    stop(rig);
}

static void without_a_connection_nobody_waits(void **state)
{
    (void)state;
    struct rig *rig = asker(INFER_FEATURES);
    rig->offline = true;
    window(rig, 4, 1);
    CHECK_INT(last(rig)->asked, WEIR__V1__ASKED__ASKED_OFFLINE);
    CHECK_STR(last(rig)->label, "normal");
    CHECK_INT(last(rig)->took_ms, 0);
    CHECK_INT(infer_asking(rig->infer), 0);
    stop(rig);
}

static void four_asks_are_under_way_at_most_and_so_many_in_a_minute(void **state)
{
    (void)state;
    struct infer_options o =
        usual("model: tiny\nchannels: [temp, moist]\nrate: 10\nwindow: 4\nhop: 1\nunsure_below: 0.8\n");
    o.ask = INFER_FEATURES;
    o.ask_deadline_us = 10 * SECOND_US;
    struct rig *rig = start(&o);
    for (unsigned i = 0; i < 3 + 6; i++) {
        sample(rig, 4, 1 + 0.4 * i);
    }
    CHECK_INT(rig->ask_count, 4);
    CHECK_INT(infer_asking(rig->infer), 4);
    CHECK_INT(stats(rig).offline, 2);
    infer_end(rig->infer);
    CHECK_INT(stats(rig).late, 4);
    CHECK_INT(infer_asking(rig->infer), 0);
    stop(rig);
    o.ask_deadline_us = 50 * MS_US;
    o.asks_per_minute = 6;
    rig = start(&o);
    for (unsigned i = 0; i < 603; i++) { /* a minute */
        sample(rig, 4, -0.01 * i);
    }
    loop_world_run(rig->world, rig->at_us + SECOND_US);
    CHECK(rig->ask_count >= 6 && rig->ask_count <= 6 + 4);
    CHECK_INT(stats(rig).late, rig->ask_count);
    CHECK_INT(stats(rig).offline, 600 - rig->ask_count);
    stop(rig);
}

static void a_window_is_told_whole_and_as_small_as_it_can_be(void **state)
{
    (void)state;
    struct rig *rig = asker(INFER_WINDOW);
    sample(rig, NAN, 1.1);
    sample(rig, 3.9, 1.2);
    sample(rig, NAN, 1.3);
    sample(rig, 4.1, 1.4);
    CHECK_INT(rig->ask.form, WEIR__V1__FORM__RAW_INT16);
    CHECK_INT(rig->ask.rows, 4);
    CHECK_INT(rig->ask.columns, 2);
    float values[8];
    const float want[] = {3.9F, 1.1F, 3.9F, 1.2F, 3.9F, 1.3F, 4.1F, 1.4F};
    wire_ask_values(&rig->ask, values);
    for (size_t i = 0; i < COUNT_OF(want); i++) {
        CHECK(fabsf(values[i] - want[i]) < 1e-5F);
    }
    window(rig, 4.03, 1); /* between the steps of the sensor */
    CHECK_INT(rig->ask.form, WEIR__V1__FORM__RAW_FLOAT32);
    wire_ask_values(&rig->ask, values);
    CHECK(values[0] == 4.03F && values[7] == 1);
    stop(rig);
    rig = asker(INFER_SMALLER); /* two bytes of features against sixteen */
    window(rig, 4, 1);
    CHECK_INT(rig->ask.form, WEIR__V1__FORM__FEATURES_INT8);
    stop(rig);
}

static void a_gateway_that_cannot_take_the_features_gets_the_window(void **state)
{
    (void)state;
    struct rig *rig = asker(INFER_SMALLER);
    window(rig, 4, 1);
    answer_with(rig, rig->ask.id, WEIR__V1__ANSWER_STATUS__ANSWER_BAD, 0, "dev");
    CHECK_INT(last(rig)->asked, WEIR__V1__ASKED__ASKED_REFUSED);
    window(rig, 4, 1.5);
    CHECK_INT(rig->ask_count, 2);
    CHECK_INT(rig->ask.form, WEIR__V1__FORM__RAW_INT16);
    answer_with(rig, rig->ask.id, WEIR__V1__ANSWER_STATUS__ANSWER_GIVEN, 1, "dev");
    CHECK_STR(last(rig)->label, "hot");
    window(rig, 4, 1.7);
    CHECK_INT(rig->ask.form, WEIR__V1__FORM__RAW_INT16);
    answer_with(rig, rig->ask.id, WEIR__V1__ANSWER_STATUS__ANSWER_BAD, 0, "dev"); /* nor that: it is left alone */
    window(rig, 4, 1.9);
    CHECK_INT(rig->ask_count, 3);
    CHECK_INT(last(rig)->asked, WEIR__V1__ASKED__ASKED_REFUSED);
    stop(rig);
}

/* ---- start ---- */

static void expect_refused(struct infer_options o, enum err expected, const char *part)
{
    struct loop_world *world = NULL;
    struct loop *loop = NULL;
    struct infer *infer = NULL;
    struct fault fault = {.text = ""};
    CHECK_OK(loop_world_new(1, &world));
    CHECK_OK(loop_new_virtual(world, &loop));
    CHECK_ERR(infer_new(loop, &o, &(struct infer_handlers){.tell = on_tell, .ask = on_ask}, &infer, &fault), expected);
    CHECK_CONTAINS(fault.text, part);
    loop_free(loop);
    loop_world_free(world);
}

static void a_model_that_does_not_fit_is_refused_with_its_place(void **state)
{
    (void)state;
    struct infer_options o = usual(HEAD);
    o.channel_count = 2;
    expect_refused(o, ERR_RANGE, "tiny.yaml:2: channels: this device has no \"temp\"; it has other, moist");
    o = usual(HEAD);
    o.period_us = 2 * PERIOD_US;
    expect_refused(o, ERR_RANGE, "tiny.yaml:3: rate: 10 samples a second are needed, this device takes 5");
    o.period_us = 66 * MS_US;
    expect_refused(o, ERR_RANGE, "tiny.yaml:3: rate:");
    o = usual(HEAD);
    o.macs_per_day = 11;
    expect_refused(o, ERR_RANGE, "infer.macs_per_day: 11 is less than two runs of the network, 6 each");
    o = usual(HEAD);
    o.bytes_per_day = 100;
    expect_refused(o, ERR_RANGE, "infer.bytes_per_day: 100");
    o = usual(HEAD "windw: 3\n");
    expect_refused(o, ERR_RANGE, "tiny.yaml:6:");
    o = usual(HEAD);
    char path[128];
    snprintf(path, sizeof(path), "%s/tiny.tflite", dir);
    FILE *file = fopen(path, "w");
    fputs("no network", file);
    fclose(file);
    expect_refused(o, ERR_MALFORMED, "tiny.yaml:6: network: ");
    o.model = "/nowhere/x.yaml";
    expect_refused(o, ERR_IO, "/nowhere/x.yaml");
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) != NULL ? 0 : 1;
}

static int remove_dir(void **state)
{
    (void)state;
    char path[128];
    snprintf(path, sizeof(path), "%s/tiny.tflite", dir);
    unlink(path);
    unlink(path_of("tiny"));
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sure_answer_is_told_with_the_models_identity),
        cmocka_unit_test(equal_inputs_are_not_computed_again),
        cmocka_unit_test(changes_alone_are_told_and_the_others_counted),
        cmocka_unit_test(a_class_that_is_an_alarm_is_one_when_it_begins),
        cmocka_unit_test(what_is_missing_or_beyond_numbers_gives_no_wrong_answer),
        cmocka_unit_test(a_gap_in_the_samples_begins_a_new_window),
        cmocka_unit_test(a_rhythm_that_is_off_by_a_little_loses_no_sample),
        cmocka_unit_test(a_single_late_sample_costs_none_of_those_behind_it),
        cmocka_unit_test(faster_samples_are_thinned_to_the_models_rate),
        cmocka_unit_test(a_budget_of_computing_is_kept_and_told),
        cmocka_unit_test(a_budget_of_bytes_bounds_records_and_asks),
        cmocka_unit_test(what_the_store_does_not_take_is_counted),
        cmocka_unit_test(an_answer_in_time_stands),
        cmocka_unit_test(an_answer_holds_for_the_same_input_for_a_while),
        cmocka_unit_test(an_answer_about_a_whole_window_holds_for_that_one_alone),
        cmocka_unit_test(without_an_answer_in_time_the_devices_own_stands),
        cmocka_unit_test(whoever_cannot_answer_leaves_the_devices_own),
        cmocka_unit_test(an_answer_that_is_no_class_of_ours_is_refused),
        cmocka_unit_test(answers_to_others_and_to_nothing_are_dropped),
        cmocka_unit_test(without_a_connection_nobody_waits),
        cmocka_unit_test(four_asks_are_under_way_at_most_and_so_many_in_a_minute),
        cmocka_unit_test(a_window_is_told_whole_and_as_small_as_it_can_be),
        cmocka_unit_test(a_gateway_that_cannot_take_the_features_gets_the_window),
        cmocka_unit_test(a_model_that_does_not_fit_is_refused_with_its_place),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
