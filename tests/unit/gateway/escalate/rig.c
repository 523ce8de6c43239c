/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/gateway/escalate/rig.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/support/model_files.h"

static const char description[] = "model: heavy\nnetwork: net.tflite\nchannels: [x]\nwindow: 2\nfeatures:\n"
                                  "  all: {kind: raw, channel: x}\nclasses: [a, b]\nunsure_below: 0.8\n";

const char *rig_path(const struct rig *r, const char *name)
{
    static char path[4][128];
    static unsigned next;
    char *to = path[next++ % 4];
    snprintf(to, sizeof(path[0]), "%s/%s", r->dir, name);
    return to;
}

static void on_answer(void *arg, const char *peer, const struct wire_answer *answer)
{
    struct rig *r = arg;
    BUFFER(out, WIRE_ANSWER_MAX);
    CHECK_OK(wire_answer_encode(answer, &out)); /* it can be sent */
    CHECK(r->answer_count < RIG_ANSWERS);
    snprintf(r->answers[r->answer_count].peer, sizeof(r->answers[0].peer), "%s", peer);
    r->answers[r->answer_count].answer = *answer;
    r->answers[r->answer_count++].at_us = loop_now_us(r->loop);
}

static bool is_gateway(void *arg, const char *peer)
{
    (void)arg;
    return strcmp(peer, "line") == 0;
}

static enum err ask_up(void *arg, const struct wire_ask *ask)
{
    struct rig *r = arg;
    BUFFER(out, WIRE_ASK_MAX);
    if (!r->parent_there) {
        return ERR_AGAIN;
    }
    CHECK_OK(wire_ask_encode(ask, &out));
    r->up = *ask;
    r->up_count++;
    return OK;
}

static enum err on_event(void *arg, const char *id, const char *text)
{
    struct rig *r = arg;
    CHECK(r->event_count < RIG_EVENTS);
    if (r->event_fails == OK) {
        snprintf(r->events[r->event_count].id, sizeof(r->events[0].id), "%s", id);
        snprintf(r->events[r->event_count++].text, sizeof(r->events[0].text), "%s", text);
    }
    return r->event_fails;
}

static enum err run(void *arg, struct engine *engine, const float *in, size_t batch, float *out, struct fault *reterr)
{
    struct rig *r = arg;
    r->runs++;
    r->largest = batch > r->largest ? (unsigned)batch : r->largest;
    for (size_t i = 0; r->poison != 0 && i < batch * engine_info(engine)->inputs; i++) {
        if (in[i] == r->poison) {
            return fault_set(reterr, ERR_IO, "poisoned");
        }
    }
    if (engine == r->wanted && r->wanted_gives_nan) {
        for (size_t i = 0; i < batch * engine_info(engine)->outputs; i++) {
            out[i] = NAN;
        }
        return OK;
    }
    if (engine == r->wanted && r->wanted_fails) {
        return fault_set(reterr, ERR_IO, "planted in the wanted one");
    }
    return r->run_fails == OK ? engine_run(engine, in, batch, out, reterr) : fault_set(reterr, r->run_fails, "planted");
}

/* Where there is a library: the engine that is wanted, on the same network as our own. */
static enum err open_engine(void *arg, const char *library, const char *path, size_t batch_max,
                            struct engine **ret_engine, struct fault *reterr)
{
    struct rig *r = arg;
    const char *file = library != NULL ? rig_path(r, "net.tflite") : path;
    enum err err = engine_open_network(file, batch_max, ret_engine, reterr);
    r->wanted = library != NULL && err == OK ? *ret_engine : r->wanted;
    return err;
}

void rig_pass(struct rig *r, int64_t us)
{
    loop_world_run(r->world, loop_world_now_us(r->world) + us);
}

void rig_start(struct rig *r)
{
    static const char *const any[] = {"*"};
    *r = (struct rig){.dir = "/tmp/weir-escalate-XXXXXX"};
    CHECK(mkdtemp(r->dir) != NULL);
    model_files_linear(rig_path(r, "net.tflite"), 2, 2, NULL);
    model_files_text(rig_path(r, "model.yaml"), description);
    CHECK_OK(loop_world_new(5, &r->world));
    CHECK_OK(loop_new_virtual(r->world, &r->loop));
    loop_set_worker_latency(r->loop, RIG_RUN_US);
    r->models[0] = (struct escalate_model){.name = "heavy",
                                           .description = strdup(rig_path(r, "model.yaml")),
                                           .answers_for = any,
                                           .for_count = 1,
                                           .self_test = "",
                                           .tolerance = 1e-3};
    r->settings = (struct escalate_settings){.models = r->models,
                                             .model_count = 1,
                                             .batch = 4,
                                             .wait_us = 5 * MS_US,
                                             .queue = 64,
                                             .labels_per_hour = 10,
                                             .ask_parent = true};
}

void rig_open(struct rig *r, bool parent)
{
    struct fault fault = {.code = OK};
    struct escalate_handlers on = {.on_answer = on_answer,
                                   .is_gateway = is_gateway,
                                   .ask_up = parent ? ask_up : NULL,
                                   .on_event = on_event,
                                   .open = r->own_open ? open_engine : NULL,
                                   .run = run,
                                   .arg = r};
    r->parent_there = parent;
    if (escalate_new(r->loop, "site", "gw", &r->settings, &on, &r->escalate, &fault) != OK) {
        fprintf(stderr, "%s\n", fault.text);
        fail();
    }
    CHECK(rig_stats(r).opening == (r->settings.model_count > 0));
    rig_pass(r, 10 * MS_US);
    CHECK(!rig_stats(r).opening);
}

void rig_end(struct rig *r)
{
    static const char *const files[] = {"net.tflite", "net.onnx",    "model.yaml", "device.yaml",
                                        "other.yaml", "wide.tflite", "vectors.csv"};
    escalate_free(r->escalate);
    loop_free(r->loop);
    loop_world_free(r->world);
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        (void)unlink(rig_path(r, files[i]));
    }
    CHECK_INT(rmdir(r->dir), 0);
    free((char *)(uintptr_t)r->models[0].description);
}

struct wire_ask rig_make(const char *device, uint64_t id, uint32_t deadline_ms, const float *values, uint32_t columns)
{
    struct wire_ask ask = {.site = "site",
                           .gateway = "gw",
                           .id = id,
                           .model = RIG_DEVICE_MODEL,
                           .deadline_ms = deadline_ms,
                           .own_answer = 1,
                           .own_confidence = 0.5F,
                           .rows = 1,
                           .columns = columns,
                           .form = WEIR__V1__FORM__FEATURES_FLOAT32};
    snprintf(ask.device, sizeof(ask.device), "%s", device);
    ask.values = slice_of(values, columns * sizeof(float));
    return ask;
}

void rig_send(struct rig *r, const char *peer, const struct wire_ask *ask)
{
    BUFFER(out, WIRE_ASK_MAX);
    CHECK_OK(wire_ask_encode(ask, &out));
    escalate_ask(r->escalate, peer, buffer_slice(&out));
}

void rig_ask(struct rig *r, const char *device, uint64_t id, uint32_t deadline_ms, float a, float b)
{
    const float row[] = {a, b};
    struct wire_ask ask = rig_make(device, id, deadline_ms, row, 2);
    rig_send(r, device, &ask);
}

const struct wire_answer *rig_answer(const struct rig *r, uint64_t id)
{
    const struct wire_answer *found = NULL;
    for (unsigned i = 0; i < r->answer_count; i++) {
        if (r->answers[i].answer.id == id) {
            CHECK(found == NULL); /* once */
            found = &r->answers[i].answer;
        }
    }
    return found;
}

int64_t rig_answered_at(const struct rig *r, uint64_t id)
{
    for (unsigned i = 0; i < r->answer_count; i++) {
        if (r->answers[i].answer.id == id) {
            return r->answers[i].at_us;
        }
    }
    return -1;
}

int rig_status(const struct rig *r, uint64_t id)
{
    const struct wire_answer *answer = rig_answer(r, id);
    return answer != NULL ? (int)answer->status : -1;
}

void rig_parent(struct rig *r, Weir__V1__AnswerStatus status, uint32_t answer)
{
    BUFFER(out, WIRE_ANSWER_MAX);
    struct wire_answer a = {.engine = "hq/site-gw",
                            .id = r->up.id,
                            .model = 0x99,
                            .status = status,
                            .answer = answer,
                            .confidence = 0.95F,
                            .score = 3};
    snprintf(a.device, sizeof(a.device), "%s", r->up.device);
    CHECK_OK(wire_answer_encode(&a, &out));
    escalate_answered(r->escalate, buffer_slice(&out));
}

struct escalate_stats rig_stats(const struct rig *r)
{
    struct escalate_stats stats;
    escalate_stats(r->escalate, &stats);
    return stats;
}

const char *rig_report(const struct rig *r)
{
    static char text[8192];
    struct json j;
    BUFFER(out, sizeof(text));
    json_init(&j, &out);
    json_object(&j, NULL);
    escalate_json(r->escalate, &j);
    json_object_end(&j);
    snprintf(text, sizeof(text), "%.*s", (int)out.len, (const char *)out.ptr);
    return text;
}
