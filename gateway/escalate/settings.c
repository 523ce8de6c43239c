/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/escalate/escalate_internal.h"

enum { BATCH = 32, QUEUE = 512, QUEUE_MAX = 65536 };

void escalate_plan_free(struct escalate_plan *p)
{
    if (p == NULL) {
        return;
    }
    for (size_t i = 0; i < p->owned_count; i++) {
        free(p->owned[i]);
    }
    free(p);
}

static enum err copy(struct escalate_plan *p, const char *from, const char **ret_to)
{
    char *made = strdup(from != NULL ? from : "");
    if (made == NULL) {
        return ERR_NOMEM;
    }
    p->owned[p->owned_count++] = made;
    *ret_to = made;
    return OK;
}

static enum err copy_model(struct escalate_plan *p, size_t i, const struct escalate_model *from)
{
    struct escalate_model *to = &p->models[i];
    *to = *from;
    to->answers_for = p->answers_for[i];
    for (size_t k = 0; k < from->for_count; k++) {
        TRY(copy(p, from->answers_for[k], &p->answers_for[i][k]));
    }
    to->classes = p->classes[i];
    for (size_t k = 0; k < from->class_count; k++) {
        TRY(copy(p, from->classes[k], &p->classes[i][k]));
    }
    TRY(copy(p, from->name, &to->name));
    TRY(copy(p, from->description, &to->description));
    return copy(p, from->self_test, &to->self_test);
}

static enum err check(const struct escalate_settings *s, struct fault *reterr)
{
    if (s->model_count > ESCALATE_MODELS_MAX) {
        return fault_set(reterr, ERR_RANGE, "%d models are the most", ESCALATE_MODELS_MAX);
    }
    if (s->batch > ESCALATE_BATCH_MAX || s->queue > QUEUE_MAX || s->wait_us < 0) {
        return fault_set(reterr, ERR_RANGE, "a batch is at most %d, the queue %d", ESCALATE_BATCH_MAX, QUEUE_MAX);
    }
    for (size_t i = 0; i < s->model_count; i++) {
        const struct escalate_model *m = &s->models[i];
        if (!id_valid(slice_str(m->name)) || m->for_count > ESCALATE_FOR_MAX || !(m->tolerance >= 0)) {
            return fault_set(reterr, ERR_RANGE, "model %.64s: a name [A-Za-z0-9_-]{1,64}, at most %d device models",
                             m->name, ESCALATE_FOR_MAX);
        }
        if (m->class_count > MODEL_CLASSES_MAX) {
            return fault_set(reterr, ERR_RANGE, "model %.64s: %d classes are the most", m->name, MODEL_CLASSES_MAX);
        }
    }
    return OK;
}

enum err escalate_plan_new(const struct escalate_settings *settings, struct escalate_plan **ret_plan,
                           struct fault *reterr)
{
    TRY(check(settings, reterr));
    struct escalate_plan *p = calloc(1, sizeof(*p));
    enum err err = p != NULL ? copy(p, settings->onnxruntime, &p->s.onnxruntime) : ERR_NOMEM;
    for (size_t i = 0; i < settings->model_count && err == OK; i++) {
        err = copy_model(p, i, &settings->models[i]);
    }
    if (err != OK) {
        escalate_plan_free(p);
        return fault_set(reterr, err, "out of memory");
    }
    const char *library = p->s.onnxruntime;
    p->s = *settings;
    p->s.onnxruntime = library;
    p->s.models = p->models;
    p->s.batch = settings->batch != 0 ? settings->batch : BATCH;
    p->s.queue = settings->queue != 0 ? settings->queue : QUEUE;
    *ret_plan = p;
    return OK;
}
