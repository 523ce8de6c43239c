/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pumps of every kind at once, in virtual time, through what watches them in the field:
 *
 *   pump --sample--> device/infer (small) --ask--> gateway/escalate (heavy) --answer--> device/infer
 *     |                    '--record--.
 *     '--block of samples--------------+--> gateway/health (drift.yaml) --> events, judged by what the pump really has
 */
#include "tests/support/pump_models/pump_models.h"

#include <limits.h>

#include "device/infer/infer.h"
#include "gateway/escalate/escalate.h"
#include "gateway/health/health.h"
#include "proto/block/block.h"
#include "proto/wire/wire.h"

enum { SAMPLES = 32, KIND_PUMPS_MAX = 64, ANSWERS_MAX = 64, EVENT_KINDS = 4, WEAR_ONSET = 200, WEAR_CYCLE = 900 };
#define PERIOD_US (SECOND_US / PUMP_RATE_HZ)
#define FIRST_SEED 2 /* as in deploy/demo, whose device-2 wears */

static const struct {
    const char *fault;
    uint64_t onset, cycle;
} kinds[] = {{"none", 0, 0}, {"wear", WEAR_ONSET, WEAR_CYCLE}, {"leak", 600, 3600}, {"stuck", 600, 3600}};
enum { NONE, WEAR, LEAK, STUCK, KINDS };
static const char *const events[EVENT_KINDS] = {"data-drift", "concept-drift", "sensor-fault", "cohort-outlier"};

struct machine {
    struct watcher *watcher;
    char id[ID_MAX + 1];
    unsigned kind;
    uint64_t seed, onset, cycle;
    struct sense *sense; /* owned */
    struct infer *infer; /* owned */
    uint32_t set;
    uint64_t number;
    int64_t block[PUMP_CHANNELS * SAMPLES];
    uint64_t block_us;
    unsigned samples;
    uint64_t told[EVENT_KINDS], early, inputs; /* inputs: of data-drift, by what the sensors say */
    uint64_t first_ask, first_event;           /* samples after the begin of the fault; 0 = none */
};
struct watcher {
    const struct watch_options *options;
    struct loop_world *world;
    struct loop *loop;
    struct escalate *escalate;
    struct health *health;
    struct machine *machines;
    size_t count, labels;
    uint64_t sample;
    char model[PATH_MAX];
    struct {
        struct machine *to;
        size_t len;
        uint8_t bytes[WIRE_ANSWER_MAX];
    } answers[ANSWERS_MAX]; /* on their way */
    size_t answer_count;
};

/* ---- records, to health ---- */
static void give(struct machine *m, struct slice record)
{
    struct wire_forward forward = {.epoch = 1, .first = ++m->number, .record = record};
    forward.last = forward.top = forward.first;
    snprintf(forward.device, sizeof(forward.device), "%s", m->id);
    health_record(m->watcher->health, &forward, loop_world_now_us(m->watcher->world));
}

static void give_record(struct machine *m, const Weir__V1__Record *record)
{
    BUFFER(bytes, WIRE_RECORD_MAX);
    if (wire_record_pack(record, &bytes) != OK) {
        pump_die(m->id, "a record cannot be packed");
    }
    give(m, buffer_slice(&bytes));
}

static void give_description(struct machine *m)
{
    Weir__V1__Describe d = WEIR__V1__DESCRIBE__INIT;
    Weir__V1__Record r = WEIR__V1__RECORD__INIT;
    Weir__V1__ChannelInfo info[PUMP_CHANNELS], *channels[PUMP_CHANNELS];
    char words[] = "pump";
    size_t count = 0;
    const struct sense_channel *c = sense_channels(m->sense, &count);
    for (size_t i = 0; i < count; i++) {
        info[i] = (Weir__V1__ChannelInfo)WEIR__V1__CHANNEL_INFO__INIT;
        info[i].name = (char *)(uintptr_t)c[i].name;
        info[i].unit = (char *)(uintptr_t)c[i].unit;
        info[i].resolution = c[i].resolution;
        channels[i] = &info[i];
    }
    d.n_channel = count;
    d.channel = channels;
    d.model = infer_model(m->infer);
    d.boot_id = 1;
    d.software = d.source = words;
    d.set = m->set = wire_describe_set(&d);
    r.schema = WIRE_SCHEMA;
    r.kind_case = WEIR__V1__RECORD__KIND_DESCRIBE;
    r.describe = &d;
    give_record(m, &r);
}

static void give_block(struct machine *m)
{
    BUFFER(columns, 1 << 16);
    double resolutions[PUMP_CHANNELS];
    size_t count = 0;
    const struct sense_channel *c = sense_channels(m->sense, &count);
    for (size_t i = 0; i < count; i++) {
        resolutions[i] = c[i].resolution;
    }
    if (block_encode(m->block, resolutions, count, SAMPLES, &columns) != OK) {
        pump_die(m->id, "a block cannot be encoded");
    }
    Weir__V1__Block block = WEIR__V1__BLOCK__INIT;
    Weir__V1__Record r = WEIR__V1__RECORD__INIT;
    block.set = m->set;
    block.wall_us = (uint64_t)loop_wall_us(m->watcher->loop);
    block.mono_us = m->block_us;
    block.period_us = PERIOD_US;
    block.samples = SAMPLES;
    block.columns = (ProtobufCBinaryData){.data = columns.ptr, .len = columns.len};
    r.schema = WIRE_SCHEMA;
    r.kind_case = WEIR__V1__RECORD__KIND_BLOCK;
    r.block = &block;
    give_record(m, &r);
}

/* ---- between device and gateway ---- */
static enum err on_tell(void *arg, struct slice record, bool is_alarm)
{
    (void)is_alarm;
    give(arg, record);
    return OK;
}

/* Samples since the fault began; 0: it has not. */
static uint64_t since_begin(const struct machine *m)
{
    uint64_t at = m->watcher->sample % m->cycle;
    return m->kind == NONE || at < m->onset ? 0 : at - m->onset + 1;
}

static enum err on_ask(void *arg, struct slice ask)
{
    struct machine *m = arg;
    if (m->first_ask == 0) {
        m->first_ask = since_begin(m);
    }
    escalate_ask(m->watcher->escalate, m->id, ask);
    return OK;
}

static void on_answer(void *arg, const char *peer, const struct wire_answer *answer)
{
    struct watcher *w = arg;
    BUFFER(out, WIRE_ANSWER_MAX);
    if (w->answer_count == ANSWERS_MAX || wire_answer_encode(answer, &out) != OK) {
        pump_die(peer, "an answer cannot be sent");
    }
    for (size_t i = 0; i < w->count; i++) {
        if (strcmp(w->machines[i].id, peer) == 0) {
            w->answers[w->answer_count].to = &w->machines[i];
            w->answers[w->answer_count].len = out.len;
            memcpy(w->answers[w->answer_count++].bytes, out.ptr, out.len);
        }
    }
}

static enum err on_escalate_event(void *arg, const char *id, const char *text)
{
    struct watcher *w = arg;
    if (strcmp(id, "label-requested") != 0) {
        pump_die(id, text);
    }
    w->labels++;
    return OK;
}

static bool on_health_event(void *arg, const struct health_event *event)
{
    struct watcher *w = arg;
    for (size_t i = 0; i < w->count; i++) {
        struct machine *m = &w->machines[i];
        for (unsigned e = 0; strcmp(m->id, event->device) == 0 && e < EVENT_KINDS; e++) {
            if (strcmp(event->id, events[e]) == 0) {
                m->told[e]++;
                m->inputs += strstr(event->text, "of=inputs") != NULL;
                m->early += since_begin(m) == 0 && w->sample < m->onset;
                m->first_event = m->first_event == 0 ? since_begin(m) : m->first_event;
                fprintf(stderr, "  %4llu s %s: %s\n", (unsigned long long)(w->sample / PUMP_RATE_HZ), event->id,
                        event->text);
            }
        }
    }
    return true;
}

/* ---- the run ---- */
static void add(struct watcher *w, unsigned kind, unsigned n)
{
    const struct infer_handlers handlers = {.tell = on_tell, .ask = on_ask, .arg = &w->machines[w->count]};
    struct machine *m = &w->machines[w->count++];
    struct fault fault = {.code = OK};
    *m = (struct machine){.watcher = w, .kind = kind, .onset = kinds[kind].onset, .cycle = kinds[kind].cycle};
    m->cycle = m->cycle > 0 ? m->cycle : 1;
    m->seed = FIRST_SEED + n;
    snprintf(m->id, sizeof(m->id), "%s-%u", kinds[kind].fault, n);
    const struct pump_run run = {
        .seed = m->seed, .fault = kinds[kind].fault, .onset = kinds[kind].onset, .cycle = kinds[kind].cycle};
    m->sense = pump_start(w->loop, &run);
    size_t channels = 0;
    const struct sense_channel *c = sense_channels(m->sense, &channels);
    const struct infer_options options = {.model = w->model,
                                          .site = "demo",
                                          .gateway = "gw1",
                                          .device = m->id,
                                          .channels = c,
                                          .channel_count = channels,
                                          .period_us = PERIOD_US,
                                          .ask = INFER_WINDOW};
    if (infer_new(w->loop, &options, &handlers, &m->infer, &fault) != OK) {
        pump_die(w->model, fault.text);
    }
    give_description(m);
}

static void sample(struct watcher *w, struct machine *m)
{
    double values[PUMP_CHANNELS];
    size_t channels = 0;
    const struct sense_channel *c = sense_channels(m->sense, &channels);
    pump_read(m->sense, values);
    if (m->samples == 0) {
        m->block_us = (uint64_t)loop_world_now_us(w->world);
    }
    for (size_t i = 0; i < channels; i++) {
        m->block[i * SAMPLES + m->samples] = block_quantise(values[i], c[i].resolution);
    }
    if (++m->samples == SAMPLES) {
        give_block(m);
        m->samples = 0;
    }
    const struct infer_sample s = {.values = values,
                                   .mono_us = loop_world_now_us(w->world),
                                   .wall_us = (uint64_t)loop_wall_us(w->loop),
                                   .synced = true};
    infer_sample(m->infer, &s);
}

static void run(struct watcher *w)
{
    uint64_t end = (uint64_t)w->options->minutes * 60 * PUMP_RATE_HZ;
    for (w->sample = 0; w->sample < end; w->sample++) {
        for (size_t i = 0; i < w->count; i++) {
            sample(w, &w->machines[i]);
        }
        for (unsigned part = 0; part < 10; part++) { /* asks are answered while they may be */
            loop_world_run(w->world, loop_world_now_us(w->world) + PERIOD_US / 10);
            for (size_t i = 0; i < w->answer_count; i++) {
                infer_answer(w->answers[i].to->infer, slice_of(w->answers[i].bytes, w->answers[i].len));
            }
            w->answer_count = 0;
        }
        if (w->sample % (60 * PUMP_RATE_HZ) == 0) {
            health_tick(w->health, loop_world_now_us(w->world));
        }
    }
}

static void open_gateway(struct watcher *w, const struct health_calibration *calibration, const char *heavy,
                         const char *vectors)
{
    const char *const answers_for[] = {w->model};
    const struct escalate_model model = {.name = "pump",
                                         .description = heavy,
                                         .answers_for = answers_for,
                                         .for_count = 1,
                                         .self_test = vectors,
                                         .tolerance = 1e-3};
    const struct escalate_settings settings = {
        .models = &model, .model_count = 1, .wait_us = 5 * MS_US, .queue = 512, .labels_per_hour = 1000000};
    const struct escalate_handlers asks = {.on_answer = on_answer, .on_event = on_escalate_event, .arg = w};
    const struct health_options health = {
        .calibrations = calibration, .count = 1, .on_event = on_health_event, .arg = w};
    struct fault fault = {.code = OK};
    loop_set_worker_latency(w->loop, MS_US);
    if (escalate_new(w->loop, "demo", "gw1", &settings, &asks, &w->escalate, &fault) != OK ||
        health_new(&health, &w->health) != OK) {
        pump_die("gateway", fault.text);
    }
    loop_world_run(w->world, SECOND_US);
}

/* What a kind was told, and whether that is right: nothing of sound pumps; of each other one its fault, and not before
 * it began; of a stuck sensor no drift of the inputs, of which it is no part then (but the model that sees it may well
 * grow unsure). */
static bool judge(const struct watcher *w, unsigned kind)
{
    uint64_t told[EVENT_KINDS] = {0}, early = 0, inputs = 0, named = 0, missed = 0, first_ask = 0, first_event = 0;
    struct infer_stats all = {.windows = 0};
    for (size_t i = 0; i < w->count; i++) {
        const struct machine *m = &w->machines[i];
        struct infer_stats s;
        if (m->kind != kind) {
            continue;
        }
        infer_stats(m->infer, &s);
        all.windows += s.windows;
        all.unsure += s.unsure;
        all.asked += s.asked;
        all.answered += s.answered;
        all.late += s.late;
        all.refused += s.refused;
        for (unsigned e = 0; e < EVENT_KINDS; e++) {
            told[e] += m->told[e];
        }
        early += m->early;
        inputs += m->inputs;
        bool right = kind == STUCK ? m->told[2] > 0 : m->told[0] + m->told[1] > 0;
        named += right;
        missed += !right;
        first_ask = max_u64(first_ask, m->first_ask);
        first_event = max_u64(first_event, m->first_event);
    }
    printf("kind=%s answers=%llu unsure=%llu asked=%llu answered=%llu refused=%llu late=%llu data_drift=%llu "
           "concept_drift=%llu "
           "sensor_fault=%llu cohort_outlier=%llu early=%llu named=%llu missed=%llu latest_ask_s=%.1f "
           "latest_event_s=%.1f\n",
           kinds[kind].fault, (unsigned long long)all.windows, (unsigned long long)all.unsure,
           (unsigned long long)all.asked, (unsigned long long)all.answered, (unsigned long long)all.refused,
           (unsigned long long)all.late, (unsigned long long)told[0], (unsigned long long)told[1],
           (unsigned long long)told[2], (unsigned long long)told[3], (unsigned long long)early,
           (unsigned long long)named, (unsigned long long)missed, (double)first_ask / PUMP_RATE_HZ,
           (double)first_event / PUMP_RATE_HZ);
    if (kind == NONE) {
        return told[0] + told[1] + told[2] + told[3] == 0;
    }
    return early == 0 && missed == 0 && (kind != STUCK || inputs == 0) && (kind != WEAR || all.answered > 0);
}

bool watch(const struct watch_options *options)
{
    struct watcher w = {.options = options};
    CLEANUP(calibration_freep) struct calibration *c = NULL;
    char path[PATH_MAX], heavy[PATH_MAX], vectors[PATH_MAX];
    bool right = true;
    BUFFER(problems, 4096);
    snprintf(w.model, sizeof(w.model), "%s/small/model.yaml", options->dir);
    snprintf(path, sizeof(path), "%s/drift.yaml", options->dir);
    snprintf(heavy, sizeof(heavy), "%s/heavy/model.yaml", options->dir);
    snprintf(vectors, sizeof(vectors), "%s/heavy/vectors.csv", options->dir);
    if (calibration_load(path, &c, &problems) != OK) {
        buffer_put_u8(&problems, 0);
        pump_die(path, (const char *)problems.ptr);
    }
    if (options->pumps < 1 || options->pumps > KIND_PUMPS_MAX || loop_world_new(1, &w.world) != OK ||
        loop_new_virtual(w.world, &w.loop) != OK) {
        pump_die("watch", "1 to 64 pumps of each kind");
    }
    w.machines = pump_get((size_t)options->pumps * KINDS * sizeof(*w.machines));
    open_gateway(&w, &(struct health_calibration){.calibration = c}, heavy, vectors);
    for (unsigned n = 0; n < options->pumps; n++) {
        for (unsigned k = 0; k < KINDS; k++) {
            add(&w, k, n);
        }
    }
    run(&w);
    for (unsigned k = 0; k < KINDS; k++) {
        right = judge(&w, k) && right;
    }
    for (size_t i = 0; i < w.count; i++) {
        infer_free(w.machines[i].infer);
        sense_close(w.machines[i].sense);
    }
    escalate_free(w.escalate);
    health_free(w.health);
    loop_free(w.loop);
    loop_world_free(w.world);
    free(w.machines);
    return right;
}
