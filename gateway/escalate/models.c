/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models: opened and tested on a worker of their own, so that neither the loop nor a batch waits for it; swapped on the
 * loop.
 *
 *   plan --offload--> open_all: description, classes, features, engine, self-test --done--> swap: slots, events
 *
 * With ONNX Runtime and one of our own files beside, both are opened: ours stands by, since an engine may fail at any
 * time, and then is no time to find out that the other does not work either.
 */
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>
#include <utlist.h>

#include "core/log/log.h"
#include "gateway/escalate/escalate_internal.h"

enum { PATH_BYTES = 4096, FEATURES_ALIGN = 16 };

/* ---- loaded ---- */
void escalate_loaded_unref(struct escalate_loaded *l)
{
    if (l == NULL || --l->refs > 0) {
        return;
    }
    engine_free(l->engine);
    model_free(l->model);
    free(l->features_memory);
    free(l->probe);
    free(l);
}

/* ---- on the worker: engines ---- */
/* The same name with another ending; false: it does not fit. */
static bool with_ending(const char *path, const char *ending, char ret_path[PATH_BYTES])
{
    const char *name = strrchr(path, '/'), *dot = strrchr(path, '.');
    size_t stem = dot != NULL && (name == NULL || dot > name) ? (size_t)(dot - path) : strlen(path);
    return (size_t)snprintf(ret_path, PATH_BYTES, "%.*s%s", (int)stem, path, ending) < PATH_BYTES;
}

static bool has_ending(const char *path, const char *ending)
{
    size_t len = strlen(path), end = strlen(ending);
    return len >= end && strcmp(path + len - end, ending) == 0;
}

/* The file that our own engines run. */
static bool own_path(const char *network, char ret_path[PATH_BYTES])
{
    if (!has_ending(network, ".onnx")) {
        return (size_t)snprintf(ret_path, PATH_BYTES, "%s", network) < PATH_BYTES;
    }
    return (with_ending(network, ".tflite", ret_path) && access(ret_path, R_OK) == 0) ||
           (with_ending(network, ".json", ret_path) && access(ret_path, R_OK) == 0);
}

static enum err open_file(const struct escalate_opening *o, const char *library, const char *path,
                          struct engine **ret_engine, struct fault *reterr)
{
    size_t batch = o->plan->s.batch;
    if (o->handlers.open != NULL) {
        return o->handlers.open(o->handlers.arg, library, path, batch, ret_engine, reterr);
    }
    return library != NULL             ? engine_open_onnx(library, path, batch, ret_engine, reterr)
           : has_ending(path, ".json") ? engine_open_trees(path, batch, ret_engine, reterr)
                                       : engine_open_network(path, batch, ret_engine, reterr);
}

static enum err check_shape(const struct model_info *model, const struct engine_info *engine, struct fault *reterr)
{
    size_t outputs = model->output == MODEL_CLASSES          ? model->class_count
                     : model->output == MODEL_RECONSTRUCTION ? model->inputs
                                                             : engine->outputs;
    if (engine->inputs != model->inputs || engine->outputs != outputs) {
        return fault_set(reterr, ERR_RANGE,
                         "it takes %zu inputs and gives %zu outputs; the description says %zu and %zu", engine->inputs,
                         engine->outputs, model->inputs, outputs);
    }
    return OK;
}

/* Opened, of the right shape, and it passes its self-test. */
static enum err open_engine(const struct escalate_opening *o, const struct escalate_model *m,
                            struct escalate_loaded *l, bool onnx, struct fault *reterr)
{
    char path[PATH_BYTES];
    const struct model_info *info = model_info(l->model);
    const char *library = onnx ? o->plan->s.onnxruntime : NULL;
    bool there = onnx ? with_ending(info->network, ".onnx", path) : own_path(info->network, path);
    if (!there) {
        return fault_set(reterr, ERR_NOT_FOUND, "there is no .tflite and no .json beside %s", info->network);
    }
    if (onnx && library[0] == '\0') {
        return fault_set(reterr, ERR_UNSUPPORTED, "escalate.onnxruntime names no library");
    }
    TRY(open_file(o, library, path, &l->engine, reterr));
    TRY(check_shape(info, engine_info(l->engine), reterr));
    return escalate_self_test(m, l, reterr);
}

/* ---- on the worker: one model ---- */
static enum err load_model(const char *path, struct model **ret_model, char ret_problem[ESCALATE_PROBLEM])
{
    BUFFER(problems, 4096);
    enum err err = model_load(path, ret_model, &problems);
    if (err != OK && problems.len > 0) {
        struct slice line = buffer_line(&problems);
        snprintf(ret_problem, ESCALATE_PROBLEM, "%.*s", (int)line.len, (const char *)line.ptr);
    } else if (err != OK) {
        snprintf(ret_problem, ESCALATE_PROBLEM, "%s: %s", path, err_name(err));
    }
    return err;
}

static bool hex_id(const char *text, uint64_t *ret_id)
{
    char *end = NULL;
    bool hex = strlen(text) == 16 && strspn(text, "0123456789abcdefABCDEF") == 16;
    *ret_id = hex ? strtoull(text, &end, 16) : 0;
    return hex;
}

static enum err know_file(const struct escalate_model *m, struct escalate_loaded *l, const char *path,
                          char ret_problem[ESCALATE_PROBLEM])
{
    CLEANUP(model_freep) struct model *device = NULL;
    struct fault fault = {.code = OK};
    TRY(load_model(path, &device, ret_problem));
    enum err err = escalate_know(m, l, model_info(device)->id, model_info(device), &fault);
    if (err != OK) {
        snprintf(ret_problem, ESCALATE_PROBLEM, "%s", fault.text);
    }
    return err;
}

static enum err know_pattern(const struct escalate_model *m, struct escalate_loaded *l, const char *pattern,
                             char ret_problem[ESCALATE_PROBLEM])
{
    glob_t found = {.gl_pathc = 0};
    if (strpbrk(pattern, "*?[") == NULL && access(pattern, F_OK) != 0) {
        snprintf(ret_problem, ESCALATE_PROBLEM,
                 "for: \"%.240s\" is no description (no such file), no id of 16 hexadecimal digits and not \"*\"", pattern);
        return ERR_NOT_FOUND;
    }
    int failed = glob(pattern, GLOB_NOMAGIC, NULL, &found);
    enum err err = failed == 0 ? OK : failed == GLOB_NOSPACE ? ERR_NOMEM : ERR_NOT_FOUND;
    if (err != OK) {
        snprintf(ret_problem, ESCALATE_PROBLEM, "for: %s: %s", pattern,
                 err == ERR_NOMEM ? "out of memory" : "no such file");
    }
    for (size_t i = 0; err == OK && i < found.gl_pathc; i++) {
        err = know_file(m, l, found.gl_pathv[i], ret_problem);
    }
    globfree(&found);
    return err;
}

static void append(char text[ESCALATE_PROBLEM], const char *what, const char *why)
{
    size_t len = strlen(text);
    snprintf(text + len, ESCALATE_PROBLEM - len, "%s%s%s", len > 0 ? "; " : "", what, why);
}

static enum err read_ids(const struct escalate_model *m, struct escalate_loaded *l, char ret_problem[ESCALATE_PROBLEM])
{
    struct fault fault = {.code = OK};
    bool described = true; /* all of them, so that nobody asks `classes` */
    enum err err = escalate_know(m, l, model_info(l->model)->id, model_info(l->model), &fault);
    for (size_t i = 0; err == OK && i < m->for_count; i++) {
        const char *text = m->answers_for[i];
        uint64_t id = 0;
        if (strcmp(text, "*") != 0 && !hex_id(text, &id)) {
            TRY(know_pattern(m, l, text, ret_problem));
        } else {
            described = false;
            err = escalate_know(m, l, id, NULL, &fault);
        }
    }
    if (err != OK) {
        snprintf(ret_problem, ESCALATE_PROBLEM, "%s", fault.text);
    } else if (described && m->class_count > 0) {
        append(l->note, "classes: without effect, ", "the descriptions in `for` have their own");
    }
    return err;
}

static enum err make_features(struct escalate_loaded *l, char ret_problem[ESCALATE_PROBLEM])
{
    struct fault fault = {.code = OK};
    const struct features_options *options = &model_info(l->model)->features;
    size_t bytes = features_bytes(options);
    enum err err = posix_memalign(&l->features_memory, FEATURES_ALIGN, bytes) == 0
                       ? features_init(options, l->features_memory, bytes, &l->features, &fault)
                       : fault_set(&fault, ERR_NOMEM, "out of memory");
    if (err != OK) {
        snprintf(ret_problem, ESCALATE_PROBLEM, "%s", fault.text);
    }
    return err;
}

/* Everything but the engine. */
static enum err make_loaded(const struct escalate_model *m, struct escalate_loaded **ret_loaded,
                            char ret_problem[ESCALATE_PROBLEM])
{
    struct escalate_loaded *l = calloc(1, sizeof(*l));
    if (l == NULL) {
        snprintf(ret_problem, ESCALATE_PROBLEM, "out of memory");
        return ERR_NOMEM;
    }
    l->refs = 1;
    enum err err = load_model(m->description, &l->model, ret_problem);
    err = err == OK ? read_ids(m, l, ret_problem) : err;
    err = err == OK ? make_features(l, ret_problem) : err;
    if (err != OK) {
        escalate_loaded_unref(l);
        return err;
    }
    *ret_loaded = l;
    return OK;
}

/* ret_own: whether one of our engines has a file, too; false unless the description can be read. */
static enum err try_engine(const struct escalate_opening *o, const struct escalate_model *m, bool onnx,
                           struct escalate_loaded **ret_loaded, bool *ret_own, char ret_problem[ESCALATE_PROBLEM])
{
    char path[PATH_BYTES];
    struct escalate_loaded *l = NULL;
    struct fault fault = {.code = OK};
    *ret_own = false;
    TRY(make_loaded(m, &l, ret_problem));
    *ret_own = own_path(model_info(l->model)->network, path);
    enum err err = open_engine(o, m, l, onnx, &fault);
    if (err != OK) {
        snprintf(ret_problem, ESCALATE_PROBLEM, "%s", fault.text);
        escalate_loaded_unref(l);
        return err;
    }
    *ret_loaded = l;
    return OK;
}

static void open_one(const struct escalate_opening *o, const struct escalate_model *m, struct escalate_opened *r)
{
    char why[ESCALATE_PROBLEM] = "";
    bool onnx = m->engine == ESCALATE_ONNX, own = false;
    enum err err = try_engine(o, m, onnx, &r->loaded, &own, r->problem);
    if (!onnx || !own) {
        return;
    }
    struct escalate_loaded **to = err == OK ? &r->standby : &r->loaded;
    if (try_engine(o, m, false, to, &own, why) != OK) {
        append(err == OK ? r->loaded->note : r->problem, err == OK ? "our own engine does not stand by: " : "our own: ",
               why);
    }
}

/* The first in the settings answers; what others say of the same device model has no effect. */
static void note_shared(const struct escalate_opening *o, size_t i)
{
    struct escalate_loaded *l = o->result[i].loaded;
    for (size_t before = 0; l != NULL && before < i; before++) {
        const struct escalate_loaded *first = o->result[before].loaded;
        const char *name = o->plan->models[before].name;
        for (unsigned k = 1; first != NULL && k < l->known_count; k++) { /* 0: its own */
            const struct escalate_known *shared = escalate_known_of(first, l->known[k].id);
            char what[80];
            snprintf(what, sizeof(what), "for: %016" PRIx64 " is answered by the model before, ", l->known[k].id);
            if (shared != NULL && shared != &first->others) {
                append(l->note, what, name);
            }
        }
        if (first != NULL && first->any && l->any) {
            append(l->note, "for: \"*\" is answered by the model before, ", name);
        }
    }
}

static void open_all(void *arg)
{
    struct escalate_opening *o = arg;
    for (size_t i = 0; i < o->plan->s.model_count; i++) {
        open_one(o, &o->plan->models[i], &o->result[i]);
        note_shared(o, i);
    }
}

/* Without engines that are somebody else's code. */
static void try_one(const struct escalate_opening *o, const struct escalate_model *m, struct escalate_opened *r)
{
    if (m->engine != ESCALATE_ONNX) {
        open_one(o, m, r);
    } else if (make_loaded(m, &r->loaded, r->problem) == OK) {
        r->problem[0] = '\0';
    }
}

enum err escalate_trial(const struct escalate_settings *settings,
                        void (*refused)(void *arg, const char *name, const char *why), void *arg, struct fault *reterr)
{
    struct escalate_opening *o = calloc(1, sizeof(*o));
    enum err err = o != NULL ? escalate_plan_new(settings, &o->plan, reterr) : fault_set(reterr, ERR_NOMEM, "out of memory");
    for (size_t i = 0; err == OK && i < settings->model_count; i++) {
        try_one(o, &o->plan->models[i], &o->result[i]);
        if (o->result[i].problem[0] != '\0') {
            refused(arg, o->plan->models[i].name, o->result[i].problem);
        }
    }
    escalate_opening_free(o);
    return err;
}

void escalate_opening_free(struct escalate_opening *o)
{
    if (o == NULL) {
        return;
    }
    for (size_t i = 0; i < COUNT_OF(o->result); i++) {
        escalate_loaded_unref(o->result[i].loaded);
        escalate_loaded_unref(o->result[i].standby);
    }
    escalate_plan_free(o->plan);
    free(o);
}

/* ---- on the loop: swapping ---- */
static struct escalate_slot *slot_of(struct escalate *e, const char *name)
{
    struct escalate_slot *slot = e->slots;
    while (slot != NULL && strcmp(slot->name, name) != 0) {
        slot = slot->next;
    }
    if (slot != NULL) {
        LL_DELETE(e->slots, slot);
        return slot;
    }
    slot = calloc(1, sizeof(*slot));
    if (slot != NULL && sketch_init(&slot->latency, 0.01) != OK) {
        free(take(slot));
    }
    if (slot != NULL) {
        slot->escalate = e;
        snprintf(slot->name, sizeof(slot->name), "%s", name);
    }
    return slot;
}

/* What waits for another model than the one that is in force now. */
static void look_at_queue(struct escalate *e, struct escalate_slot *slot)
{
    struct escalate_wait *w, *next;
    DL_FOREACH_SAFE(slot->queue, w, next) {
        if (slot->loaded == NULL || escalate_known_of(slot->loaded, w->ask.model) == NULL) {
            escalate_answer(e, w, WEIR__V1__ANSWER_STATUS__ANSWER_NO_MODEL, NULL);
        } else if (!escalate_fits(slot->loaded, &w->ask)) {
            escalate_answer(e, w, WEIR__V1__ANSWER_STATUS__ANSWER_BAD, NULL);
        }
    }
}

/* slot->problem says why. */
static void tell_refused(struct escalate *e, const struct escalate_slot *slot, const char *instead)
{
    char text[400];
    log_error("an engine is refused", KV_STR("model", slot->name), KV_STR("reason", slot->problem),
              KV_STR("instead", instead));
    snprintf(text, sizeof(text), "model=%s: %s: %.240s", slot->name, instead, slot->problem);
    for (char *cut = text; *cut != '\0';) { /* a cut may have gone through a character */
        size_t step = utf8_length(slice_str(cut));
        *cut = step > 0 ? *cut : '?';
        cut += step > 0 ? step : 1;
    }
    if (e->handlers.on_event != NULL && e->handlers.on_event(e->handlers.arg, "engine-refused", text) != OK) {
        log_warn("the refusal of an engine is not recorded", KV_STR("model", slot->name));
    }
}

/* What answers from now on. */
static void put_in_force(struct escalate_slot *slot, struct escalate_loaded *loaded)
{
    escalate_loaded_unref(slot->loaded);
    slot->loaded = loaded;
    slot->batch_us = 0;
    slot->failures = 0;
    if (loaded == NULL) {
        return;
    }
    const struct engine_info *info = engine_info(loaded->engine);
    log_info("a model answers", KV_STR("model", slot->name), KV_HEX("id", model_info(loaded->model)->id),
             KV_STR("engine", info->name), KV_STR("detail", info->detail));
    if (loaded->note[0] != '\0') {
        log_warn("not all of a model can be used", KV_STR("model", slot->name), KV_STR("why", loaded->note));
    }
}

void escalate_refuse(struct escalate *e, struct escalate_slot *slot, const char *why)
{
    snprintf(slot->problem, sizeof(slot->problem), "%s", why);
    tell_refused(e, slot, slot->standby != NULL ? "our own engine answers" : "none answers");
    e->stats.refused++;
    put_in_force(slot, take(slot->standby));
    look_at_queue(e, slot);
}

static void take_model(struct escalate *e, struct escalate_slot *slot, struct escalate_opened *r)
{
    snprintf(slot->problem, sizeof(slot->problem), "%s", r->problem);
    if (r->problem[0] != '\0') {
        tell_refused(e, slot,
                     r->loaded != NULL      ? "our own engine answers"
                     : slot->loaded != NULL ? "the one before answers"
                                            : "none answers");
    }
    slot->configured = true;
    if (r->loaded != NULL) {
        put_in_force(slot, take(r->loaded));
        escalate_loaded_unref(slot->standby);
        slot->standby = take(r->standby);
    }
    look_at_queue(e, slot);
}

static void swap(struct escalate *e, struct escalate_opening *o)
{
    struct escalate_slot *ordered = NULL, *slot;
    for (size_t i = 0; i < o->plan->s.model_count; i++) {
        slot = slot_of(e, o->plan->models[i].name);
        if (slot == NULL) {
            log_error("a model is not taken: out of memory", KV_STR("model", o->plan->models[i].name));
            continue;
        }
        LL_APPEND(ordered, slot);
        take_model(e, slot, &o->result[i]);
    }
    LL_FOREACH(e->slots, slot) {
        slot->configured = false;
        escalate_loaded_unref(take(slot->loaded));
        escalate_loaded_unref(take(slot->standby));
        look_at_queue(e, slot);
        if (!slot->running) {
            loop_worker_free(take(slot->worker));
        }
    }
    LL_CONCAT(ordered, e->slots);
    e->slots = ordered;
}

static void on_opened(void *arg)
{
    struct escalate_opening *o = arg;
    struct escalate *e = o->escalate;
    e->opening = NULL;
    swap(e, o);
    e->opened = true;
    escalate_opening_free(o);
    if (e->next_plan != NULL && escalate_open_models(e, take(e->next_plan)) != OK) {
        log_error("models are not opened again: out of memory");
    }
    escalate_set_due(e);
    escalate_start(e);
}

enum err escalate_open_models(struct escalate *e, struct escalate_plan *plan)
{
    struct escalate_opening *o = calloc(1, sizeof(*o));
    if (o == NULL) {
        escalate_plan_free(plan);
        return ERR_NOMEM;
    }
    o->escalate = e;
    o->handlers = e->handlers;
    o->plan = plan;
    if (plan->s.model_count == 0) { /* no thread for nothing */
        on_opened(o);
        return OK;
    }
    enum err err = e->open_worker == NULL ? loop_worker_new(e->loop, "escalate-open", &e->open_worker) : OK;
    err = err == OK ? loop_offload(e->open_worker, open_all, on_opened, o) : err;
    if (err != OK) {
        escalate_opening_free(o);
        return err;
    }
    e->opening = o;
    return OK;
}
