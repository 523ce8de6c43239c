/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: each kind of trouble is told by its name, once, with what was beyond which limit, and told again when it is
 * over; normal operation is told nothing; what one device does costs the others nothing; a restart forgets nothing that
 * matters.
 */
#include <math.h>
#include <stdio.h>

#include "gateway/health/health.h"
#include "device/infer/sketch.h"
#include "proto/block/block.h"
#include "tests/support/check.h"

enum { CHANNELS = 2, NORMAL_ROWS = 20000, SAMPLES = 20, EVENTS = 64, SAID = 3000, SHORT_ROWS = 3000 };
#define MODEL UINT64_C(0x1234567890abcdef)
static const char *const NAMES[CHANNELS] = {"flow", "pressure"};

struct told {
    char id[40], device[ID_MAX + 1], text[HEALTH_TEXT_MAX];
};
struct fixture {
    struct calibration *calibration;
    struct health_calibration row;
    struct health *health;
    struct told told[EVENTS];
    size_t count;
    bool refuses;
    uint64_t number, seed, mono_us;
    bool jitter;
    uint64_t warmed;
    int64_t now_us;
    size_t memory;
};

static double uniform(struct fixture *f)
{
    f->seed = mix_u64(f->seed);
    return (double)(f->seed >> 11) / 9007199254740992.0;
}

static double normal(struct fixture *f)
{
    return sqrt(-2 * log(1 - uniform(f))) * cos(2 * M_PI * uniform(f));
}

/* Pressure follows flow. */
static void sample(struct fixture *f, double *row)
{
    double a = normal(f);
    row[0] = 10 + a;
    row[1] = 20 + 2 * a + 0.3 * normal(f);
}

/* Pressure of a machine that warms up, whatever the flow. */
static double warm(struct fixture *f)
{
    return 20 + 0.001 * (double)f->warmed++ + 0.3 * normal(f);
}

static bool on_event(void *arg, const struct health_event *event)
{
    struct fixture *f = arg;
    if (f->refuses) {
        return false;
    }
    CHECK(f->count < EVENTS);
    struct told *t = &f->told[f->count++];
    snprintf(t->id, sizeof(t->id), "%s", event->id);
    snprintf(t->device, sizeof(t->device), "%s", event->device);
    snprintf(t->text, sizeof(t->text), "%s", event->text);
    return true;
}

static void open_health(struct fixture *f)
{
    struct health_options o = {
        .calibrations = &f->row, .count = 1, .memory_bytes = f->memory, .on_event = on_event, .arg = f};
    CHECK_OK(health_new(&o, &f->health));
}

static int start(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    static double values[NORMAL_ROWS * CHANNELS], said[SAID];
    static const size_t starts[] = {0};
    BUFFER(notes, 4096);
    f->seed = 77;
    f->mono_us = 5000000;
    for (size_t i = 0; i < NORMAL_ROWS; i++) {
        sample(f, values + i * CHANNELS);
    }
    for (size_t i = 0; i < SAID; i++) {
        said[i] = 1 - 0.2 * uniform(f) * uniform(f);
    }
    struct calibration_run run = {.name = "pump",
                                  .model = MODEL,
                                  .channel = NAMES,
                                  .channels = CHANNELS,
                                  .window = 10,
                                  .hop = 10,
                                  .rate_hz = 10,
                                  .values = values,
                                  .rows = NORMAL_ROWS,
                                  .starts = starts,
                                  .pieces = 1,
                                  .of = CALIBRATION_CONFIDENCE,
                                  .scores = said,
                                  .score_count = SAID,
                                  .margin = 1.3};
    CHECK_OK(calibration_fit(&run, &f->calibration, &notes, NULL));
    CHECK_INT(notes.len, 0);
    f->row = (struct health_calibration){.calibration = f->calibration};
    open_health(f);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;
    health_free(f->health);
    calibration_free(f->calibration);
    free(f);
    return 0;
}

/* ---- records ---- */
static void give(struct fixture *f, const char *device, const Weir__V1__Record *record)
{
    BUFFER(bytes, WIRE_RECORD_MAX);
    CHECK_OK(wire_record_pack(record, &bytes));
    struct wire_forward forward = {.epoch = 9, .first = ++f->number, .record = buffer_slice(&bytes)};
    forward.last = forward.top = forward.first;
    snprintf(forward.device, sizeof(forward.device), "%s", device);
    f->now_us += SECOND_US;
    health_record(f->health, &forward, f->now_us);
}

static bool within_curated;
static uint32_t describe(struct fixture *f, const char *device, uint64_t model)
{
    Weir__V1__Describe d = WEIR__V1__DESCRIBE__INIT;
    Weir__V1__Record r = WEIR__V1__RECORD__INIT;
    enum { DESCRIBED = 4 };
    Weir__V1__ChannelInfo info[DESCRIBED], *channels[DESCRIBED];
    /* Not in the calibration's order; of the last there are only sketches. */
    static char names[DESCRIBED][16] = {"pressure", "other", "flow", OUTCOME_DOUBT};
    static char unit[] = "x", software[] = "t", source[] = "test";
    for (unsigned i = 0; i < DESCRIBED; i++) {
        info[i] = (Weir__V1__ChannelInfo)WEIR__V1__CHANNEL_INFO__INIT;
        info[i].name = names[i];
        info[i].unit = unit;
        info[i].resolution = 1e-6;
        channels[i] = &info[i];
    }
    d.n_channel = DESCRIBED;
    d.channel = channels;
    d.model = model;
    d.boot_id = 5;
    d.software = software;
    d.source = source;
    d.set = wire_describe_set(&d);
    r.schema = WIRE_SCHEMA;
    r.kind_case = WEIR__V1__RECORD__KIND_DESCRIBE;
    r.describe = &d;
    Weir__V1__Curated curated = WEIR__V1__CURATED__INIT;
    if (within_curated) { /* as rules below tell it */
        curated.set = d.set;
        curated.describe = &d;
        r.kind_case = WEIR__V1__RECORD__KIND_CURATED;
        r.curated = &curated;
    }
    give(f, device, &r);
    return d.set;
}

enum plant { NORMALLY, STUCK, DRIFTED, NOISY, DEAD, WARMING, LOW };
static void blocks(struct fixture *f, const char *device, uint32_t set, unsigned count, enum plant plant,
                   uint32_t period_us)
{
    for (unsigned b = 0; b < count; b++) {
        int64_t values[3 * SAMPLES];
        const double resolutions[3] = {1e-6, 1e-6, 1e-6};
        for (unsigned i = 0; i < SAMPLES; i++) {
            double row[CHANNELS];
            sample(f, row);
            row[0] -= plant == LOW ? 1 : 0;
            row[1] = plant == WARMING || plant == LOW ? warm(f)
                     : plant == STUCK   ? 20.5
                     : plant == DRIFTED ? row[1] + 2.5 /* well within what pressure ever was, but not at this flow */
                     : plant == NOISY   ? row[1] + 30 * normal(f)
                                        : row[1];
            values[0 * SAMPLES + i] = plant == DEAD ? BLOCK_MISSING : block_quantise(row[1], 1e-6);
            values[1 * SAMPLES + i] = (int64_t)i;
            values[2 * SAMPLES + i] = block_quantise(row[0], 1e-6);
        }
        BUFFER(columns, 1 << 16);
        CHECK_OK(block_encode(values, resolutions, 3, SAMPLES, &columns));
        Weir__V1__Block block = WEIR__V1__BLOCK__INIT;
        Weir__V1__Record r = WEIR__V1__RECORD__INIT;
        block.set = set;
        block.wall_us = 1700000000000000;
        block.samples = SAMPLES;
        block.mono_us = f->mono_us;
        f->mono_us += (uint64_t)SAMPLES * period_us;
        block.period_us = period_us;
        BUFFER(times, 4096);
        if (f->jitter) { /* as a busy machine takes them */
            int64_t steps[SAMPLES] = {0};
            for (unsigned i = 1; i < SAMPLES; i++) {
                steps[i] = (int64_t)period_us + (int64_t)(i % 2 == 0 ? period_us / 20 : -(int64_t)period_us / 20);
            }
            CHECK_OK(block_column_encode(steps, SAMPLES, &times));
            block.period_us = 0;
            block.times = (ProtobufCBinaryData){.data = times.ptr, .len = times.len};
        }
        block.columns = (ProtobufCBinaryData){.data = columns.ptr, .len = columns.len};
        r.schema = WIRE_SCHEMA;
        r.kind_case = WEIR__V1__RECORD__KIND_BLOCK;
        r.block = &block;
        give(f, device, &r);
    }
}

enum { PERIOD_US = 100000 };

/* least: of confidences, up to 1; differs: how often the gateway says otherwise. */
static uint32_t repeats;
static bool no_verdict;
static void answers(struct fixture *f, const char *device, unsigned count, double least, double differs)
{
    static char label[] = "";
    for (unsigned i = 0; i < count; i++) {
        Weir__V1__Inference a = WEIR__V1__INFERENCE__INIT;
        Weir__V1__Record r = WEIR__V1__RECORD__INIT;
        double confidence = no_verdict ? 0 : 1 - (1 - least) * uniform(f) * uniform(f);
        a.label = label;
        a.repeats = repeats;
        a.confidence = (float)confidence;
        a.model = MODEL;
        if (differs >= 0) {
            a.asked = WEIR__V1__ASKED__ASKED_ANSWERED;
            a.by = WEIR__V1__ANSWERED_BY__BY_GATEWAY;
            a.model = 999;
            a.own_model = MODEL;
            a.own_confidence = (float)confidence;
            a.answer = 1;
            a.own_answer = uniform(f) < differs ? 0 : 1;
        }
        r.schema = WIRE_SCHEMA;
        r.kind_case = WEIR__V1__RECORD__KIND_INFERENCE;
        r.inference = &a;
        give(f, device, &r);
    }
}

/* ---- what devices say of spans ---- */
static void put_window(void *arg, const struct infer_window *from)
{
    static const unsigned column[] = {2, 0}; /* flow, pressure */
    Weir__V1__Curated *curated = arg;
    Weir__V1__Window *w = curated->window[curated->n_window++];
    static char rule[] = OUTCOME_RULE;
    weir__v1__window__init(w);
    w->channel = from->channel == INFER_OUTCOME ? 3 : column[from->channel];
    w->rule = rule;
    w->start_us = from->start_us;
    w->length_us = from->length_us;
    w->count = from->moments.count;
    w->mean = from->moments.mean;
    w->m2 = from->moments.m2;
    w->min = from->moments.min;
    w->max = from->moments.max;
    w->sketch = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)from->sketch.ptr, .len = from->sketch.len};
}

enum { SPAN_SAMPLES = 1100, SPAN_ANSWERS = 160 };
struct span { /* 0: as in the normal run */
    double flow, spread; /* beside the normal mean; times the normal deviation */
    double unsure;       /* least confidence; 1 = as sure as can be */
};
static void spans(struct fixture *f, const char *device, uint32_t set, unsigned count, const struct span *is, unsigned samples)
{
    for (unsigned n = 0; n < count; n++) {
        double memory[(sizeof(struct infer_sums) * CHANNELS + INFER_SKETCH_BYTES) / sizeof(double) + 1];
        struct infer_sketch s;
        Weir__V1__Window windows[CHANNELS + 1], *pointers[CHANNELS + 1] = {&windows[0], &windows[1], &windows[2]};
        Weir__V1__Curated curated = WEIR__V1__CURATED__INIT;
        Weir__V1__Record r = WEIR__V1__RECORD__INIT;
        infer_sketch_init(&s, 600 * SECOND_US, CHANNELS, memory);
        for (unsigned i = 0; i < samples; i++) {
            double row[CHANNELS], least = is->unsure > 0 ? is->unsure : 0.8;
            sample(f, row);
            row[0] = 10 + (row[0] - 10) * (is->spread > 0 ? is->spread : 1) + is->flow;
            CHECK(!infer_sketch_sample(&s, (const float[]){(float)row[0], (float)row[1]}, 1 + i, i));
            if (i < samples * SPAN_ANSWERS / SPAN_SAMPLES) {
                infer_sketch_answer(&s, outcome_doubt(1 - (1 - least) * uniform(f) * uniform(f)));
            }
        }
        curated.set = set;
        curated.window = pointers;
        infer_sketch_close(&s, put_window, &curated);
        r.schema = WIRE_SCHEMA;
        r.kind_case = WEIR__V1__RECORD__KIND_CURATED;
        r.curated = &curated;
        give(f, device, &r);
    }
}

static void expect(struct fixture *f, size_t at, const char *id, const char *part)
{
    CHECK(f->count > at);
    CHECK_STR(f->told[at].id, id);
    CHECK_CONTAINS(f->told[at].text, part);
}

/* ---- stories ---- */
static void a_normal_week_is_told_nothing(void **state)
{
    struct fixture *f = *state;
    uint32_t set = describe(f, "p1", MODEL);
    for (unsigned i = 0; i < 20; i++) {
        blocks(f, "p1", set, 50, NORMALLY, PERIOD_US);
        answers(f, "p1", 100, 0.8, 0.1);
        health_tick(f->health, f->now_us);
    }
    CHECK_INT(f->count, 0);
    BUFFER(out, 1 << 16);
    health_json(f->health, NULL, f->now_us, &out);
    buffer_put_u8(&out, 0);
    CHECK_CONTAINS((const char *)out.ptr, "\"state\":\"ok\"");
    CHECK_CONTAINS((const char *)out.ptr, "\"with_inputs\":1,\"with_scores\":1,\"with_disagreement\":1");
}

static void a_stuck_sensor_is_a_fault_and_no_drift(void **state)
{
    struct fixture *f = *state;
    uint32_t set = describe(f, "p1", MODEL);
    blocks(f, "p1", set, 50, NORMALLY, PERIOD_US);
    blocks(f, "p1", set, 30, STUCK, PERIOD_US);
    CHECK_INT(f->count, 1);
    expect(f, 0, "sensor-fault", "device=p1 model=1234567890abcdef channel=pressure statistic=stuck value=");
    blocks(f, "p1", set, 30, NORMALLY, PERIOD_US);
    CHECK_INT(f->count, 2);
    expect(f, 1, "sensor-fault-ended", "channel=pressure");
}

static void however_a_sensor_sticks_it_is_no_drift(void **state)
{
    struct fixture *f = *state;
    char name[16];
    for (unsigned i = 0; i < 25; i++) {
        snprintf(name, sizeof(name), "s%u", i);
        uint32_t set = describe(f, name, MODEL);
        blocks(f, name, set, 5 + i % 3, NORMALLY, PERIOD_US);
        blocks(f, name, set, 10, STUCK, PERIOD_US);
        CHECK_INT(f->count, i + 1);
        expect(f, i, "sensor-fault", "channel=pressure statistic=stuck");
    }
}

static void a_dead_and_a_noisy_sensor_are_faults_too(void **state)
{
    struct fixture *f = *state;
    uint32_t set = describe(f, "p1", MODEL);
    blocks(f, "p1", set, 50, NORMALLY, PERIOD_US);
    blocks(f, "p1", set, 30, DEAD, PERIOD_US);
    expect(f, 0, "sensor-fault", "channel=pressure statistic=missing");
    blocks(f, "p1", set, 30, NORMALLY, PERIOD_US);
    expect(f, 1, "sensor-fault-ended", "channel=pressure");
    blocks(f, "p1", set, 30, NOISY, PERIOD_US);
    CHECK_INT(f->count, 3);
    expect(f, 2, "sensor-fault", "channel=pressure statistic=");
}

static void inputs_that_move_apart_are_data_drift(void **state)
{
    struct fixture *f = *state;
    uint32_t set = describe(f, "p1", MODEL);
    blocks(f, "p1", set, 50, NORMALLY, PERIOD_US);
    CHECK_INT(f->count, 0);
    blocks(f, "p1", set, 20, DRIFTED, PERIOD_US);
    CHECK_INT(f->count, 1);
    expect(f, 0, "data-drift", "of=inputs statistic=");
    blocks(f, "p1", set, 50, NORMALLY, PERIOD_US);
    CHECK_INT(f->count, 2);
    expect(f, 1, "data-drift-ended", "of=inputs");
}

static void samples_of_a_busy_machine_are_watched_as_well(void **state)
{
    struct fixture *f = *state;
    uint32_t set = describe(f, "p1", MODEL);
    f->jitter = true;
    for (unsigned i = 0; i < 50; i++) {
        blocks(f, "p1", set, 1, NORMALLY, PERIOD_US);
        answers(f, "p1", 1, 0.8, -1); /* stand between the blocks' numbers */
    }
    CHECK_INT(f->count, 0);
    for (unsigned i = 0; i < 20; i++) {
        blocks(f, "p1", set, 1, DRIFTED, PERIOD_US);
        answers(f, "p1", 1, 0.8, -1);
    }
    CHECK_INT(f->count, 1);
    expect(f, 0, "data-drift", "of=inputs statistic=");
}

static void another_rate_is_no_drift_but_counted(void **state)
{
    struct fixture *f = *state;
    struct health_stats s;
    uint32_t set = describe(f, "p1", MODEL);
    blocks(f, "p1", set, 20, DRIFTED, PERIOD_US * 2); /* too slow */
    health_stats(f->health, &s);
    CHECK_INT(f->count, 0);
    CHECK_INT(s.other_rate, 20);
    blocks(f, "p1", set, 60, NORMALLY, PERIOD_US / 4); /* every fourth is what the model takes */
    CHECK_INT(f->count, 0);
    blocks(f, "p1", set, 60, DRIFTED, PERIOD_US / 4);
    expect(f, 0, "data-drift", "of=inputs");
    health_stats(f->health, &s);
    CHECK_INT(s.other_rate, 20);
}

static void a_model_that_grows_unsure_is_data_drift(void **state)
{
    struct fixture *f = *state;
    answers(f, "p1", 1000, 0.8, -1);
    CHECK_INT(f->count, 0);
    answers(f, "p1", 600, 0.3, -1);
    CHECK_INT(f->count, 1);
    expect(f, 0, "data-drift", "of=confidence statistic=");
}

static void no_verdict_is_no_low_confidence(void **state)
{
    struct fixture *f = *state;
    answers(f, "p1", 1000, 0.8, -1);
    no_verdict = true;
    answers(f, "p1", 600, 0.8, -1);
    no_verdict = false;
    CHECK_INT(f->count, 0);
}

static void who_tells_changes_alone_is_not_judged_by_its_scores(void **state)
{
    struct fixture *f = *state;
    repeats = 3;
    answers(f, "p1", 1000, 0.1, -1);
    repeats = 0;
    CHECK_INT(f->count, 0);
}

static void answers_that_go_wrong_are_concept_drift(void **state)
{
    struct fixture *f = *state;
    answers(f, "p1", 1000, 0.8, 0.05);
    CHECK_INT(f->count, 0);
    answers(f, "p1", 300, 0.8, 0.5);
    CHECK_INT(f->count, 1);
    expect(f, 0, "concept-drift", "of=disagreement statistic=");
    answers(f, "p1", 1000, 0.8, 0.02);
    CHECK_INT(f->count, 2);
    expect(f, 1, "concept-drift-ended", "of=disagreement");
}

static void another_model_ends_what_was_told_of_the_one_before(void **state)
{
    struct fixture *f = *state;
    uint32_t set = describe(f, "p1", MODEL);
    blocks(f, "p1", set, 50, NORMALLY, PERIOD_US);
    blocks(f, "p1", set, 20, DRIFTED, PERIOD_US);
    CHECK_INT(f->count, 1);
    set = describe(f, "p1", MODEL + 1); /* nothing is known of it */
    CHECK_INT(f->count, 2);
    expect(f, 1, "data-drift-ended", "model=1234567890abcdef");
    blocks(f, "p1", set, 20, DRIFTED, PERIOD_US);
    CHECK_INT(f->count, 2);
}

static void one_of_many_is_an_outlier(void **state)
{
    struct fixture *f = *state;
    char name[16];
    for (unsigned i = 0; i < 12; i++) {
        snprintf(name, sizeof(name), "p%u", i);
        answers(f, name, 40, i == 7 ? 0.2 : 0.8, i == 3 ? 0.9 : 0.1);
    }
    for (unsigned i = 0; i < 5; i++) {
        health_tick(f->health, f->now_us);
    }
    CHECK_INT(f->count, 2);
    CHECK_STR(f->told[0].id, "cohort-outlier");
    CHECK_STR(f->told[0].device, "p3");
    CHECK_CONTAINS(f->told[0].text, "statistic=disagreement_z");
    CHECK_STR(f->told[1].device, "p7");
    CHECK_CONTAINS(f->told[1].text, "statistic=confidence_z");
}

static void what_cannot_be_told_now_is_told_later(void **state)
{
    struct fixture *f = *state;
    uint32_t set = describe(f, "p1", MODEL);
    f->refuses = true;
    blocks(f, "p1", set, 50, NORMALLY, PERIOD_US);
    blocks(f, "p1", set, 20, DRIFTED, PERIOD_US);
    blocks(f, "p1", set, 50, NORMALLY, PERIOD_US);
    CHECK_INT(f->count, 0);
    f->refuses = false;
    health_tick(f->health, f->now_us);
    CHECK_INT(f->count, 2);
    expect(f, 0, "data-drift", "of=inputs");
    expect(f, 1, "data-drift-ended", "of=inputs");
}

static void set_calibrations(struct fixture *f, const struct calibration *c)
{
    struct health_calibration row = {.calibration = c};
    struct health_options o = {.calibrations = &row, .count = c != NULL ? 1 : 0, .memory_bytes = f->memory};
    CHECK_OK(health_set(f->health, &o));
}

static void the_same_calibration_again_changes_nothing(void **state)
{
    struct fixture *f = *state;
    uint32_t set = describe(f, "p1", MODEL);
    blocks(f, "p1", set, 50, NORMALLY, PERIOD_US);
    blocks(f, "p1", set, 20, DRIFTED, PERIOD_US);
    CHECK_INT(f->count, 1);
    set_calibrations(f, f->calibration);
    blocks(f, "p1", set, 20, DRIFTED, PERIOD_US); /* is known already */
    CHECK_INT(f->count, 1);
}

static void another_calibration_ends_what_was_told_and_judges_anew(void **state)
{
    struct fixture *f = *state;
    BUFFER(text, 1 << 20);
    BUFFER(problems, 4096);
    CLEANUP(calibration_freep) struct calibration *other = NULL;
    static const char path[] = "health-calibration.yaml";
    CHECK_OK(calibration_write(f->calibration, &text));
    FILE *file = fopen(path, "w");
    CHECK(file != NULL && fwrite(text.ptr, 1, text.len, file) == text.len && fclose(file) == 0);
    CHECK_OK(calibration_load(path, &other, &problems));
    CHECK_INT(remove(path), 0);
    uint32_t set = describe(f, "p1", MODEL);
    blocks(f, "p1", set, 50, NORMALLY, PERIOD_US);
    blocks(f, "p1", set, 20, DRIFTED, PERIOD_US);
    CHECK_INT(f->count, 1);
    other->spe_limit *= 1e6;
    other->t2_limit *= 1e6;
    other->ewma_limit *= 1e6;
    set_calibrations(f, other);
    CHECK_INT(f->count, 2);
    expect(f, 1, "data-drift-ended", "of=inputs");
    blocks(f, "p1", set, 50, DRIFTED, PERIOD_US); /* without another description; well within these limits */
    CHECK_INT(f->count, 2);
    set_calibrations(f, f->calibration);
    blocks(f, "p1", set, 50, DRIFTED, PERIOD_US);
    CHECK_INT(f->count, 3);
    expect(f, 2, "data-drift", "of=inputs");
    set_calibrations(f, NULL);
    CHECK_INT(f->count, 4);
    expect(f, 3, "data-drift-ended", "of=inputs");
    blocks(f, "p1", set, 50, DRIFTED, PERIOD_US);
    CHECK_INT(f->count, 4);
    set_calibrations(f, f->calibration); /* and no pointer to `other` is left */
}

static void memory_is_bounded_and_who_does_not_fit_is_counted(void **state)
{
    struct fixture *f = *state;
    struct health_stats s;
    char name[16];
    health_free(take(f->health));
    f->memory = 200000;
    open_health(f);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "p%u", i);
        (void)describe(f, name, MODEL);
        answers(f, name, 1, 0.8, -1);
    }
    health_stats(f->health, &s);
    CHECK(s.devices > 10 && s.devices < 100 && s.bytes <= f->memory);
    /* Some fitted without their calibration; nobody is lost without being counted. */
    CHECK(s.left_out > 0 && s.left_out_devices > (1000 - s.devices) * 9 / 10 &&
          s.left_out_devices < (1000 - s.devices) * 11 / 10 + 2);
}

/* Puts every device away and begins again from these bytes. */
static void restart(struct fixture *f, unsigned expected)
{
    struct health *before = take(f->health);
    const char *device = NULL;
    unsigned count = 0;
    open_health(f);
    for (;;) {
        BUFFER(state, HEALTH_STATE_MAX);
        if (!health_dirty(before, &device, &state)) {
            break;
        }
        CHECK_OK(buffer_err(&state));
        for (size_t cut = 0; cut < state.len; cut += 7) {
            CHECK(health_restore(f->health, device, slice_of(state.ptr, cut), f->now_us) != OK);
        }
        CHECK_OK(health_restore(f->health, device, buffer_slice(&state), f->now_us));
        count++;
    }
    CHECK_INT(count, expected);
    health_free(before);
}

/* own 0 and own 1 are contradicted so often. */
static void contradicted(struct fixture *f, const char *device, unsigned count, double first, double second)
{
    static char label[] = "";
    for (unsigned i = 0; i < count; i++) {
        Weir__V1__Inference a = WEIR__V1__INFERENCE__INIT;
        Weir__V1__Record r = WEIR__V1__RECORD__INIT;
        double u = uniform(f);
        a.label = label;
        a.asked = WEIR__V1__ASKED__ASKED_ANSWERED;
        a.by = WEIR__V1__ANSWERED_BY__BY_GATEWAY;
        a.model = 999;
        a.own_model = MODEL;
        a.confidence = a.own_confidence = (float)(1 - 0.2 * uniform(f) * uniform(f));
        a.own_answer = u < first ? 0 : u < first + second ? 1 : i % 2;
        a.answer = u < first + second ? 1 - a.own_answer : a.own_answer;
        r.schema = WIRE_SCHEMA;
        r.kind_case = WEIR__V1__RECORD__KIND_INFERENCE;
        r.inference = &a;
        give(f, device, &r);
    }
}

static void answers_that_go_wrong_in_another_way_are_concept_drift(void **state)
{
    struct fixture *f = *state;
    (void)describe(f, "p1", MODEL);
    contradicted(f, "p1", 6000, 0.15, 0.08);
    CHECK_INT(f->count, 0);
    contradicted(f, "p1", 3000, 0.08, 0.15); /* no more of them than before */
    CHECK_INT(f->count, 1);
    expect(f, 0, "concept-drift", "of=disagreement statistic=rates");
    restart(f, 1);
    contradicted(f, "p1", 3000, 0.08, 0.15); /* it stays so, and is not told again, nor ended */
    CHECK_INT(f->count, 1);
    contradicted(f, "p1", 6000, 0.15, 0.08);
    CHECK(f->count >= 2);
    expect(f, 1, "concept-drift-ended", "of=disagreement");
}

static void what_wanders_in_a_short_run_is_not_told_and_a_steady_level_is(void **state)
{
    struct fixture *f = *state;
    static double values[SHORT_ROWS * CHANNELS];
    static const size_t starts[] = {0};
    BUFFER(notes, 4096);
    CLEANUP(calibration_freep) struct calibration *steady = NULL;
    struct calibration_run run = {.name = "pump",
                                  .model = MODEL,
                                  .channel = NAMES,
                                  .channels = CHANNELS,
                                  .window = 10,
                                  .hop = 10,
                                  .rate_hz = 10,
                                  .values = values,
                                  .rows = SHORT_ROWS,
                                  .starts = starts,
                                  .pieces = 1,
                                  .margin = 1.3,
                                  .steady = true};
    for (size_t i = 0; i < SHORT_ROWS; i++) {
        values[i * CHANNELS] = 10 + normal(f);
        values[i * CHANNELS + 1] = warm(f);
    }
    CHECK_OK(calibration_fit(&run, &steady, &notes, NULL));
    CHECK_CONTAINS((const char *)notes.ptr, "mean of pressure wanders in the run");
    CHECK(steady->levels.dimensions == 4 && steady->levels.reach[0] > 0 && steady->levels.reach[1] == 0);
    health_free(take(f->health));
    f->row.calibration = steady;
    open_health(f);
    uint32_t set = describe(f, "p1", MODEL);
    blocks(f, "p1", set, 300, WARMING, PERIOD_US);
    CHECK_INT(f->count, 0);
    blocks(f, "p1", set, 20, LOW, PERIOD_US);
    CHECK_INT(f->count, 1);
    expect(f, 0, "data-drift", "of=inputs statistic=level");
    restart(f, 1);
    blocks(f, "p1", set, 20, LOW, PERIOD_US);
    CHECK_INT(f->count, 1);
    blocks(f, "p1", set, 100, WARMING, PERIOD_US);
    CHECK_INT(f->count, 2);
    expect(f, 1, "data-drift-ended", "of=inputs");
    health_free(take(f->health));
}

static void a_restart_forgets_nothing_that_matters(void **state)
{
    struct fixture *f = *state;
    uint32_t set = describe(f, "p1", MODEL);
    blocks(f, "p1", set, 50, NORMALLY, PERIOD_US);
    answers(f, "p1", 1000, 0.8, 0.05);
    answers(f, "p2", 10, 0.8, 0.05);
    blocks(f, "p1", set, 20, DRIFTED, PERIOD_US);
    CHECK_INT(f->count, 1);
    restart(f, 2);
    CHECK_INT(f->count, 1);
    blocks(f, "p1", set, 20, DRIFTED, PERIOD_US); /* is known already */
    CHECK_INT(f->count, 1);
    answers(f, "p1", 200, 0.8, 0.6); /* against the thousand from before */
    CHECK_INT(f->count, 2);
    expect(f, 1, "concept-drift", "of=disagreement");
    restart(f, 1);
    blocks(f, "p1", set, 50, NORMALLY, PERIOD_US);
    CHECK_INT(f->count, 3);
    expect(f, 2, "data-drift-ended", "of=inputs");
}

static const struct span as_ever = {0}, more_flow = {.flow = 1}, wilder = {.spread = 2}, less_sure = {.unsure = 0.4};

static void a_device_that_sends_nothing_else_is_judged_by_its_sketches(void **state)
{
    struct fixture *f = *state;
    uint32_t set = describe(f, "p1", MODEL);
    spans(f, "p1", set, 100, &as_ever, SPAN_SAMPLES);
    CHECK_INT(f->count, 0);
    BUFFER(out, 1 << 16);
    health_json(f->health, NULL, f->now_us, &out);
    buffer_put_u8(&out, 0);
    CHECK_CONTAINS((const char *)out.ptr, "\"state\":\"ok\"");
    CHECK_CONTAINS((const char *)out.ptr, "\"sketches\":100");
    spans(f, "p1", set, 5, &more_flow, SPAN_SAMPLES);
    CHECK_INT(f->count, 1);
    expect(f, 0, "data-drift", "of=inputs channel=flow statistic=mean value=");
    spans(f, "p1", set, 6, &as_ever, SPAN_SAMPLES);
    expect(f, 1, "data-drift-ended", "of=inputs channel=flow");
    spans(f, "p1", set, 5, &wilder, SPAN_SAMPLES);
    CHECK_INT(f->count, 3);
    expect(f, 2, "data-drift", "of=inputs channel=flow statistic=spread value=");
}

static void who_has_gone_makes_room(void **state)
{
    struct fixture *f = *state;
    struct health_stats s;
    health_free(f->health);
    f->memory = 512 * 1024;
    open_health(f);
    for (unsigned i = 0; i < 200; i++) {
        char name[16];
        snprintf(name, sizeof(name), "g%u", i);
        (void)describe(f, name, MODEL);
    }
    health_stats(f->health, &s);
    size_t devices = s.devices;
    CHECK(devices < 200 && s.left_out > 0);
    (void)describe(f, "new", MODEL);
    f->now_us += 2 * HOUR_US; /* longer than figures are any */
    uint32_t set = describe(f, "new", MODEL);
    health_stats(f->health, &s);
    CHECK(s.devices <= devices + 1 && s.bytes <= f->memory);
    blocks(f, "new", set, 50, NORMALLY, PERIOD_US);
    blocks(f, "new", set, 30, STUCK, PERIOD_US);
    CHECK_INT(f->count, 1);
    expect(f, 0, "sensor-fault", "device=new model=");
}

static void what_rules_below_describe_is_known(void **state)
{
    struct fixture *f = *state;
    answers(f, "p1", 1, 0.99, -1);
    within_curated = true;
    uint32_t set = describe(f, "p1", MODEL);
    within_curated = false;
    spans(f, "p1", set, 100, &as_ever, SPAN_SAMPLES);
    CHECK_INT(f->count, 0);
    spans(f, "p1", set, 5, &more_flow, SPAN_SAMPLES);
    CHECK_INT(f->count, 1);
    expect(f, 0, "data-drift", "of=inputs channel=flow statistic=mean value=");
}

static void who_tells_changes_alone_is_judged_by_the_sketches_of_its_confidence(void **state)
{
    struct fixture *f = *state;
    uint32_t set = describe(f, "p1", MODEL);
    repeats = 3; /* and the few answers that it tells are sure ones */
    for (unsigned i = 0; i < 50; i++) {
        answers(f, "p1", 10, 0.99, -1);
        spans(f, "p1", set, 1, &as_ever, SPAN_SAMPLES);
    }
    CHECK_INT(f->count, 0);
    for (unsigned i = 0; i < 5; i++) {
        answers(f, "p1", 10, 0.99, -1);
        spans(f, "p1", set, 1, &less_sure, SPAN_SAMPLES);
    }
    repeats = 0;
    CHECK_INT(f->count, 1);
    expect(f, 0, "data-drift", "of=confidence statistic=");
    struct health_stats s;
    health_stats(f->health, &s);
    CHECK_INT(s.sketches, 55);
}

static void a_confidence_that_never_leaves_its_mean_is_seen_by_the_histogram(void **state)
{
    struct fixture *f = *state;
    uint32_t set = describe(f, "p1", MODEL);
    double memory[(sizeof(struct infer_sums) * CHANNELS + INFER_SKETCH_BYTES) / sizeof(double) + 1];
    for (unsigned n = 0; n < 5; n++) {
        struct infer_sketch s;
        Weir__V1__Window windows[CHANNELS + 1], *pointers[CHANNELS + 1] = {&windows[0], &windows[1], &windows[2]};
        Weir__V1__Curated curated = WEIR__V1__CURATED__INIT;
        Weir__V1__Record r = WEIR__V1__RECORD__INIT;
        infer_sketch_init(&s, 600 * SECOND_US, CHANNELS, memory);
        CHECK(!infer_sketch_sample(&s, (const float[]){NAN, NAN}, 1, 1));
        for (unsigned i = 0; i < 200; i++) {
            infer_sketch_answer(&s, f->calibration->sketches.outcome_mean);
        }
        curated.set = set;
        curated.window = pointers;
        infer_sketch_close(&s, put_window, &curated);
        r.schema = WIRE_SCHEMA;
        r.kind_case = WEIR__V1__RECORD__KIND_CURATED;
        r.curated = &curated;
        give(f, "p1", &r);
    }
    CHECK_INT(f->count, 1);
    expect(f, 0, "data-drift", "of=confidence statistic=psi");
}

static void short_spans_are_summed_up(void **state)
{
    struct fixture *f = *state;
    uint32_t set = describe(f, "p1", MODEL);
    spans(f, "p1", set, 200, &as_ever, SPAN_SAMPLES / 5);
    CHECK_INT(f->count, 0);
    spans(f, "p1", set, 15, &more_flow, SPAN_SAMPLES / 5); /* not yet four batches */
    CHECK_INT(f->count, 0);
    spans(f, "p1", set, 15, &more_flow, SPAN_SAMPLES / 5);
    CHECK_INT(f->count, 1);
    expect(f, 0, "data-drift", "of=inputs channel=flow statistic=mean");
}

static void what_is_seen_one_by_one_is_not_judged_twice(void **state)
{
    struct fixture *f = *state;
    uint32_t set = describe(f, "p1", MODEL);
    for (unsigned i = 0; i < 8; i++) { /* its sketches would be beyond every limit */
        blocks(f, "p1", set, SPAN_SAMPLES / SAMPLES, NORMALLY, PERIOD_US);
        answers(f, "p1", SPAN_ANSWERS, 0.8, -1);
        spans(f, "p1", set, 1, &(struct span){.flow = 1, .unsure = 0.4}, SPAN_SAMPLES);
    }
    CHECK_INT(f->count, 0);
    for (unsigned i = 0; i < 5; i++) { /* samples too far apart for the model's windows, no answers */
        blocks(f, "p1", set, SPAN_SAMPLES / SAMPLES, NORMALLY, 10 * PERIOD_US);
        spans(f, "p1", set, 1, &(struct span){.flow = 1, .unsure = 0.4}, SPAN_SAMPLES);
    }
    CHECK_INT(f->count, 2);
}

static void sketches_of_another_description_are_nobodys(void **state)
{
    struct fixture *f = *state;
    uint32_t set = describe(f, "p1", MODEL);
    spans(f, "p1", set + 1, 10, &more_flow, SPAN_SAMPLES);
    CHECK_INT(f->count, 0);
    f->calibration->sketches.samples = f->calibration->sketches.answers = 0; /* a file of before */
    spans(f, "p1", set, 10, &more_flow, SPAN_SAMPLES);
    CHECK_INT(f->count, 0);
}

static void what_sketches_told_survives_a_restart(void **state)
{
    struct fixture *f = *state;
    uint32_t set = describe(f, "p1", MODEL);
    spans(f, "p1", set, 5, &more_flow, SPAN_SAMPLES);
    CHECK_INT(f->count, 1);
    restart(f, 1);
    spans(f, "p1", set, 5, &more_flow, SPAN_SAMPLES); /* is known already */
    CHECK_INT(f->count, 1);
    spans(f, "p1", set, 5, &as_ever, SPAN_SAMPLES);
    CHECK_INT(f->count, 2);
    expect(f, 1, "data-drift-ended", "of=inputs channel=flow");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_normal_week_is_told_nothing, start, end),
        cmocka_unit_test_setup_teardown(a_stuck_sensor_is_a_fault_and_no_drift, start, end),
        cmocka_unit_test_setup_teardown(however_a_sensor_sticks_it_is_no_drift, start, end),
        cmocka_unit_test_setup_teardown(a_dead_and_a_noisy_sensor_are_faults_too, start, end),
        cmocka_unit_test_setup_teardown(inputs_that_move_apart_are_data_drift, start, end),
        cmocka_unit_test_setup_teardown(samples_of_a_busy_machine_are_watched_as_well, start, end),
        cmocka_unit_test_setup_teardown(another_rate_is_no_drift_but_counted, start, end),
        cmocka_unit_test_setup_teardown(a_model_that_grows_unsure_is_data_drift, start, end),
        cmocka_unit_test_setup_teardown(no_verdict_is_no_low_confidence, start, end),
        cmocka_unit_test_setup_teardown(who_has_gone_makes_room, start, end),
        cmocka_unit_test_setup_teardown(what_rules_below_describe_is_known, start, end),
        cmocka_unit_test_setup_teardown(who_tells_changes_alone_is_not_judged_by_its_scores, start, end),
        cmocka_unit_test_setup_teardown(what_wanders_in_a_short_run_is_not_told_and_a_steady_level_is, start, end),
        cmocka_unit_test_setup_teardown(answers_that_go_wrong_are_concept_drift, start, end),
        cmocka_unit_test_setup_teardown(answers_that_go_wrong_in_another_way_are_concept_drift, start, end),
        cmocka_unit_test_setup_teardown(another_model_ends_what_was_told_of_the_one_before, start, end),
        cmocka_unit_test_setup_teardown(one_of_many_is_an_outlier, start, end),
        cmocka_unit_test_setup_teardown(what_cannot_be_told_now_is_told_later, start, end),
        cmocka_unit_test_setup_teardown(the_same_calibration_again_changes_nothing, start, end),
        cmocka_unit_test_setup_teardown(another_calibration_ends_what_was_told_and_judges_anew, start, end),
        cmocka_unit_test_setup_teardown(memory_is_bounded_and_who_does_not_fit_is_counted, start, end),
        cmocka_unit_test_setup_teardown(a_restart_forgets_nothing_that_matters, start, end),
        cmocka_unit_test_setup_teardown(a_device_that_sends_nothing_else_is_judged_by_its_sketches, start, end),
        cmocka_unit_test_setup_teardown(who_tells_changes_alone_is_judged_by_the_sketches_of_its_confidence, start, end),
        cmocka_unit_test_setup_teardown(a_confidence_that_never_leaves_its_mean_is_seen_by_the_histogram, start, end),
        cmocka_unit_test_setup_teardown(short_spans_are_summed_up, start, end),
        cmocka_unit_test_setup_teardown(what_is_seen_one_by_one_is_not_judged_twice, start, end),
        cmocka_unit_test_setup_teardown(sketches_of_another_description_are_nobodys, start, end),
        cmocka_unit_test_setup_teardown(what_sketches_told_survives_a_restart, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
