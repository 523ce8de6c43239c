/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/escalate/escalate.h"

#include <math.h>
#include <stdio.h>
#include <utlist.h>

#include "core/log/log.h"
#include "gateway/escalate/escalate_internal.h"

enum { MARGIN_SHARE = 10, MARGIN_MOST_US = 20000 };
#define WAIT_BYTES_MAX ((size_t)32 << 20)

/* ---- answers ---- */
static bool has_verdict(Weir__V1__AnswerStatus status)
{
    return status == WEIR__V1__ANSWER_STATUS__ANSWER_GIVEN || status == WEIR__V1__ANSWER_STATUS__ANSWER_UNSURE;
}

/* Of a model; slot NULL: of all. */
static uint64_t *counter(struct escalate *e, struct escalate_slot *s, Weir__V1__AnswerStatus status)
{
    switch (status) {
    case WEIR__V1__ANSWER_STATUS__ANSWER_GIVEN:
        return s != NULL ? &s->given : &e->stats.given;
    case WEIR__V1__ANSWER_STATUS__ANSWER_UNSURE:
        return s != NULL ? &s->unsure : &e->stats.unsure;
    case WEIR__V1__ANSWER_STATUS__ANSWER_BUSY:
        return s != NULL ? &s->busy : &e->stats.busy;
    case WEIR__V1__ANSWER_STATUS__ANSWER_BAD:
        return s != NULL ? &s->bad : &e->stats.bad;
    case WEIR__V1__ANSWER_STATUS__ANSWER_NO_MODEL:
        return s != NULL ? &s->no_model : &e->stats.no_model;
    case _WEIR__V1__ANSWER_STATUS_IS_INT_SIZE:
        break;
    }
    return &e->stats.malformed;
}

static void count(struct escalate *e, struct escalate_slot *slot, Weir__V1__AnswerStatus status)
{
    ++*counter(e, NULL, status);
    if (slot != NULL) {
        ++*counter(e, slot, status);
    }
}

static void send(struct escalate *e, const char *peer, const struct wire_ask *ask, Weir__V1__AnswerStatus status,
                 const struct wire_answer *with)
{
    struct wire_answer answer = with != NULL ? *with : (struct wire_answer){.id = 0};
    snprintf(answer.device, sizeof(answer.device), "%s", ask->device);
    answer.id = ask->id;
    answer.status = status;
    if (answer.engine[0] == '\0') {
        snprintf(answer.engine, sizeof(answer.engine), "%s/%s", e->site, e->gateway);
    }
    e->handlers.on_answer(e->handlers.arg, peer, &answer);
}

struct wire_answer escalate_own(const struct escalate *e, const struct escalate_wait *w)
{
    const struct decision *d = &w->best;
    struct wire_answer answer = {.model = w->best_model, .answer = w->best_class, .took_us = w->took_us};
    float score = (float)d->score;
    answer.confidence = (float)fmin(fmax(d->confidence, 0), 1);
    answer.score = isfinite(score) ? score : 0;
    snprintf(answer.engine, sizeof(answer.engine), "%s/%s", e->site, e->gateway);
    return answer;
}

void escalate_answer(struct escalate *e, struct escalate_wait *w, Weir__V1__AnswerStatus status,
                     const struct wire_answer *with)
{
    count(e, w->slot, status);
    if (w->slot != NULL && has_verdict(status)) {
        double took_us = (double)(loop_now_us(e->loop) - w->arrived_us);
        if (sketch_add(&w->slot->latency, &took_us, 1) != OK) {
            log_debug("a latency is not counted: out of memory");
        }
    }
    send(e, w->peer, &w->ask, status, with);
    escalate_unqueue(e, w);
    e->up_waiting -= w->state == ESCALATE_UP ? 1 : 0;
    DL_DELETE2(e->waits, w, all_prev, all_next);
    e->stats.waiting--;
    e->wait_bytes -= w->ask.values.len;
    if (w->state == ESCALATE_RUNNING) {
        w->state = ESCALATE_ANSWERED;
    } else {
        free(w);
    }
}

/* ---- deadlines ---- */
static void on_due(void *arg)
{
    struct escalate *e = arg;
    struct escalate_wait *w, *next;
    int64_t now_us = loop_now_us(e->loop);
    DL_FOREACH_SAFE2(e->waits, w, next, all_next) {
        if (w->due_us > now_us) {
            continue;
        }
        if (w->state == ESCALATE_UP) {
            escalate_up_late(e, w);
        } else {
            escalate_answer(e, w, WEIR__V1__ANSWER_STATUS__ANSWER_BUSY, NULL);
        }
    }
    escalate_set_due(e);
    escalate_start(e);
}

void escalate_set_due(struct escalate *e)
{
    struct escalate_wait *w;
    int64_t due_us = INT64_MAX;
    DL_FOREACH2(e->waits, w, all_next) {
        due_us = min_i64(due_us, w->due_us);
    }
    if (due_us == INT64_MAX) {
        loop_timer_cancel(&e->due_timer);
    } else {
        loop_timer_at(&e->due_timer, due_us);
    }
}

/* ---- arrival ---- */
struct escalate_slot *escalate_slot_for(struct escalate *e, uint64_t model)
{
    struct escalate_slot *any = NULL;
    for (struct escalate_slot *s = e->slots; s != NULL; s = s->next) {
        const struct escalate_loaded *l = s->configured ? s->loaded : NULL;
        const struct escalate_known *k = l != NULL ? escalate_known_of(l, model) : NULL;
        if (k != NULL && k != &l->others) {
            return s;
        }
        any = any == NULL && l != NULL && l->any ? s : any;
    }
    return any;
}

bool escalate_fits(const struct escalate_loaded *loaded, const struct wire_ask *ask)
{
    const struct model_info *info = model_info(loaded->model);
    const struct escalate_known *k = escalate_known_of(loaded, ask->model);
    if (k == NULL || (k->assumed && ask->own_answer >= k->classes)) {
        return false;
    }
    bool raw = ask->form == WEIR__V1__FORM__RAW_FLOAT32 || ask->form == WEIR__V1__FORM__RAW_INT16;
    return raw ? ask->rows == info->features.window && ask->columns == info->features.channels
               : (uint64_t)ask->rows * ask->columns == info->inputs;
}

bool escalate_is_gateway(const struct escalate *e, const char *peer)
{
    return e->handlers.is_gateway != NULL && e->handlers.is_gateway(e->handlers.arg, peer);
}

/* Devices speak for themselves, gateways below for what is below them, never for a device of our own: any of those could
 * say that it is a gateway. Whoever says so may speak for devices of that name: they are nobody else's. */
static bool identity_true(const struct escalate *e, const char *peer, const struct wire_ask *ask)
{
    bool ours = strcmp(ask->site, e->site) == 0 && strcmp(ask->gateway, e->gateway) == 0;
    if (ours) {
        return strcmp(ask->device, peer) == 0;
    }
    return (strcmp(ask->gateway, peer) == 0 && strcmp(peer, e->gateway) != 0) || escalate_is_gateway(e, peer);
}

/* What can be said at once; false: it may wait. */
static bool refuse(struct escalate *e, const char *peer, const struct wire_ask *ask, struct escalate_slot *slot,
                   int64_t due_us)
{
    Weir__V1__AnswerStatus status = WEIR__V1__ANSWER_STATUS__ANSWER_BUSY;
    bool room = e->stats.waiting < e->plan->s.queue && e->wait_bytes + ask->values.len <= WAIT_BYTES_MAX;
    if (!escalate_admit(e, peer, ask)) {
        e->stats.quota++;
    } else if (slot == NULL && !escalate_may_go_up(e, ask, due_us)) {
        status = e->opened && !escalate_up_unknown(e) ? WEIR__V1__ANSWER_STATUS__ANSWER_NO_MODEL : status;
    } else if (slot != NULL && !escalate_fits(slot->loaded, ask)) {
        status = WEIR__V1__ANSWER_STATUS__ANSWER_BAD;
    } else if (room && (slot == NULL || escalate_estimate(e, slot) <= due_us)) {
        return false;
    }
    count(e, slot, status);
    send(e, peer, ask, status, NULL);
    return true;
}

static struct escalate_wait *make_wait(struct escalate *e, const char *peer, const struct wire_ask *ask)
{
    struct escalate_wait *w = calloc(1, sizeof(*w) + ask->values.len);
    if (w == NULL) {
        return NULL;
    }
    snprintf(w->peer, sizeof(w->peer), "%s", peer);
    w->ask = *ask;
    memcpy(w->bytes, ask->values.ptr, ask->values.len);
    w->ask.values.ptr = w->bytes;
    w->arrived_us = loop_now_us(e->loop);
    DL_APPEND2(e->waits, w, all_prev, all_next);
    e->stats.waiting++;
    e->wait_bytes += ask->values.len;
    return w;
}

void escalate_ask(struct escalate *e, const char *peer, struct slice payload)
{
    struct wire_ask ask;
    if (wire_ask_decode(payload, &ask) != OK) {
        e->stats.malformed++;
        log_warn("ask does not decode", KV_STR("device", peer));
        return;
    }
    if (!identity_true(e, peer, &ask)) {
        e->stats.identity++;
        log_warn("security: false identity, ask refused", KV_STR("device", peer));
        return;
    }
    e->stats.asks++;
    int64_t patience_us = (int64_t)ask.deadline_ms * MS_US;
    int64_t due_us = loop_now_us(e->loop) + patience_us - min_i64(patience_us / MARGIN_SHARE, MARGIN_MOST_US);
    struct escalate_slot *slot = escalate_slot_for(e, ask.model);
    if (slot != NULL) {
        slot->asks++;
    }
    if (refuse(e, peer, &ask, slot, due_us)) {
        return;
    }
    struct escalate_wait *w = make_wait(e, peer, &ask);
    if (w == NULL) {
        count(e, slot, WEIR__V1__ANSWER_STATUS__ANSWER_BUSY);
        send(e, peer, &ask, WEIR__V1__ANSWER_STATUS__ANSWER_BUSY, NULL);
        return;
    }
    w->due_us = due_us;
    w->slot = slot;
    if (slot == NULL) {
        if (!escalate_go_up(e, w)) {
            escalate_answer(e, w, WEIR__V1__ANSWER_STATUS__ANSWER_NO_MODEL, NULL);
            return;
        }
    } else {
        escalate_queue(e, w);
    }
    if (!loop_timer_pending(&e->due_timer) || due_us < e->due_timer.due_us) {
        loop_timer_at(&e->due_timer, due_us);
    }
    escalate_start(e);
}

/* ---- life ---- */
static void on_start(void *arg)
{
    escalate_start(arg);
}

enum err escalate_new(struct loop *loop, const char *site, const char *gateway,
                      const struct escalate_settings *settings, const struct escalate_handlers *handlers,
                      struct escalate **ret_escalate, struct fault *reterr)
{
    CLEANUP(escalate_freep) struct escalate *e = calloc(1, sizeof(*e));
    if (e == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    e->loop = loop;
    e->handlers = *handlers;
    snprintf(e->site, sizeof(e->site), "%s", site);
    snprintf(e->gateway, sizeof(e->gateway), "%s", gateway);
    loop_timer_init(&e->start_timer, loop, on_start, e);
    loop_timer_init(&e->due_timer, loop, on_due, e);
    e->next_up_id = loop_random(loop);
    e->up_rest_us = ESCALATE_UP_REST_US;
    e->label_at_us = loop_now_us(loop);
    e->label_tokens = settings->labels_per_hour;
    TRY(escalate_set(e, settings, reterr));
    *ret_escalate = take(e);
    return OK;
}

static void opening_free(void *arg)
{
    escalate_opening_free(arg);
}

void escalate_free(struct escalate *e)
{
    struct escalate_wait *w, *next_wait;
    if (e == NULL) {
        return;
    }
    loop_timer_cancel(&e->start_timer);
    loop_timer_cancel(&e->due_timer);
    for (struct escalate_slot *slot = e->slots; slot != NULL; slot = slot->next) {
        escalate_end_batch(slot);
    }
    if (e->opening != NULL && loop_worker_leave(e->open_worker, SECOND_US, opening_free)) {
        e->open_worker = NULL;
        e->opening = NULL;
    }
    loop_worker_free(e->open_worker);
    escalate_opening_free(e->opening);
    DL_FOREACH_SAFE2(e->waits, w, next_wait, all_next) {
        free(w);
    }
    while (e->slots != NULL) {
        struct escalate_slot *slot = e->slots;
        e->slots = slot->next;
        escalate_loaded_unref(slot->loaded);
        escalate_loaded_unref(slot->standby);
        sketch_deinit(&slot->latency);
        free(slot);
    }
    escalate_accounts_free(e);
    escalate_plan_free(e->plan);
    escalate_plan_free(e->next_plan);
    free(e);
}

enum err escalate_set(struct escalate *e, const struct escalate_settings *settings, struct fault *reterr)
{
    struct escalate_plan *plan = NULL, *opened = NULL, *before = e->plan;
    TRY(escalate_plan_new(settings, &plan, reterr));
    enum err err = escalate_plan_new(settings, &opened, reterr);
    e->plan = plan;
    if (err == OK && e->opening == NULL) {
        err = escalate_open_models(e, opened);
        if (err != OK) {
            (void)fault_set(reterr, err, "out of memory");
        }
    } else if (err == OK) {
        escalate_plan_free(e->next_plan);
        e->next_plan = opened;
    }
    if (err != OK) {
        e->plan = before;
        escalate_plan_free(plan);
        return err;
    }
    escalate_plan_free(before);
    return OK;
}

void escalate_stats(const struct escalate *e, struct escalate_stats *ret_stats)
{
    *ret_stats = e->stats;
    ret_stats->opening = e->opening != NULL;
}
