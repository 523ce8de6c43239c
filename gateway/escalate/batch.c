/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches: the asks that wait for a model run together, one batch of a model at a time, on that model's worker.
 *
 *   loop: take up to `batch` asks --offload--> worker: escalate_work --done--> loop: answers
 *                                                         '--does not return--> let go; its memory is its thread's
 */
#include <inttypes.h>
#include <stdio.h>
#include <utlist.h>

#include "core/log/log.h"
#include "gateway/escalate/escalate_internal.h"

enum { MEAN_SHARE = 8 };
#define OVERDUE_US SECOND_US
#define END_PATIENCE_US SECOND_US

/* ---- queues ---- */
void escalate_queue(struct escalate *e, struct escalate_wait *w)
{
    (void)e;
    w->state = ESCALATE_QUEUED;
    DL_APPEND(w->slot->queue, w);
    w->slot->queued++;
}

void escalate_unqueue(struct escalate *e, struct escalate_wait *w)
{
    (void)e;
    if (w->state == ESCALATE_QUEUED && w->slot != NULL && w->prev != NULL) {
        DL_DELETE(w->slot->queue, w);
        w->prev = w->next = NULL;
        w->slot->queued--;
    }
}

static int64_t mean_us(const struct escalate_slot *slot)
{
    return (int64_t)slot->batch_us;
}

int64_t escalate_estimate(const struct escalate *e, const struct escalate_slot *slot)
{
    int64_t now_us = loop_now_us(e->loop), at_us = now_us;
    if (!slot->running && slot->queued == 0) {
        return now_us;
    }
    if (slot->running) {
        int64_t end_us = slot->batch->started_us + mean_us(slot);
        at_us = end_us >= now_us || mean_us(slot) == 0 ? max_i64(end_us, now_us) : now_us + (now_us - end_us);
    }
    return at_us + (int64_t)((slot->queued + e->plan->s.batch) / e->plan->s.batch) * mean_us(slot);
}

bool escalate_overdue(const struct escalate *e, const struct escalate_slot *slot)
{
    return slot->running && loop_now_us(e->loop) - slot->batch->started_us > OVERDUE_US + 4 * mean_us(slot);
}

/* ---- the end of a batch ---- */
/* What our model says, as a class of the asker's. */
static void take_decision(struct escalate_wait *w, const struct escalate_loaded *l, const struct decision *decision)
{
    const struct escalate_known *k = escalate_known_of(l, w->ask.model);
    const char *label = escalate_label(model_info(l->model), decision->class);
    uint16_t class = k != NULL ? k->of[decision->class] : ESCALATE_CLASS_UNKNOWN;
    w->has_best = true;
    w->best = *decision;
    w->best_class = class != ESCALATE_CLASS_UNKNOWN ? class : ESCALATE_CLASS_NONE;
    w->best_model = model_info(l->model)->id;
    if (label != NULL && strlen(label) < sizeof(w->label)) {
        snprintf(w->label, sizeof(w->label), "%s", label);
    }
}

static void settle(struct escalate *e, struct escalate_batch *b, unsigned i)
{
    struct escalate_wait *w = b->waits[i];
    if (w->state == ESCALATE_ANSWERED) {
        free(w);
        return;
    }
    w->state = ESCALATE_QUEUED; /* in no queue; no more the worker's */
    if (!b->fits[i]) {
        escalate_answer(e, w, WEIR__V1__ANSWER_STATUS__ANSWER_BAD, NULL);
        return;
    }
    if (b->failed[i]) {
        if (!escalate_go_up(e, w)) {
            escalate_answer(e, w, WEIR__V1__ANSWER_STATUS__ANSWER_BUSY, NULL);
        }
        return;
    }
    take_decision(w, b->loaded, &b->decisions[i]);
    if (!w->best.unsure && w->best_class != ESCALATE_CLASS_NONE) {
        struct wire_answer own = escalate_own(e, w);
        escalate_answer(e, w, WEIR__V1__ANSWER_STATUS__ANSWER_GIVEN, &own);
    } else if (!escalate_go_up(e, w)) {
        escalate_top(e, w);
    }
}

/* Counts what failed. Whether the engine is to be refused for it. */
static bool judge(struct escalate *e, struct escalate_slot *slot, const struct escalate_batch *b)
{
    unsigned failed = 0, good = 0;
    for (unsigned i = 0; i < b->count; i++) {
        failed += b->fits[i] && b->failed[i];
        good += b->fits[i] && !b->failed[i];
    }
    slot->failed_rows += failed;
    e->stats.failed_rows += failed;
    if (failed == 0 || good > 0) {
        slot->failures = good > 0 ? 0 : slot->failures;
        return false;
    }
    slot->failed++;
    e->stats.failed_batches++;
    slot->failures++;
    log_error("the engine failed", KV_STR("model", slot->name), KV_STR("reason", b->fault.text));
    if (slot->failures < ESCALATE_FAILURES_MAX) {
        return false;
    }
    slot->failures = 0;
    if (!b->broken) {
        log_warn("asks that an engine cannot take: it passes its test", KV_STR("model", slot->name));
    }
    return b->broken;
}

static void done(void *arg)
{
    struct escalate_batch *b = arg;
    struct escalate_slot *slot = b->slot;
    struct escalate *e = slot->escalate;
    int64_t took_us = loop_now_us(e->loop) - b->started_us;
    loop_timer_cancel(&slot->hang_timer);
    slot->batch_us +=
        slot->batch_us > 0 ? ((double)took_us - slot->batch_us) / MEAN_SHARE : (double)max_i64(took_us, 1);
    slot->batches++;
    slot->rows += b->count;
    e->stats.batches++;
    e->stats.rows += b->count;
    slot->running = false;
    bool in_force = slot->loaded == b->loaded, refused = judge(e, slot, b);
    for (unsigned i = 0; i < b->count; i++) {
        b->waits[i]->took_us = (uint32_t)min_i64(took_us, UINT32_MAX);
        settle(e, b, i);
    }
    b->count = 0;
    escalate_loaded_unref(take(b->loaded));
    if (refused && in_force) {
        char why[ESCALATE_PROBLEM];
        snprintf(why, sizeof(why), "failed %d times in a row: %.300s", ESCALATE_FAILURES_MAX, b->fault.text);
        escalate_refuse(e, slot, why);
    }
    escalate_set_due(e);
    escalate_start(e);
}

/* ---- one that does not return ---- */
static void batch_free(void *arg)
{
    struct escalate_batch *b = arg;
    if (b == NULL) {
        return;
    }
    for (unsigned i = 0; i < b->count; i++) {
        free(b->waits[i]);
    }
    escalate_loaded_unref(b->loaded);
    free(b->rows);
    free(b->out);
    free(b->window);
    free(b);
}

/* Lets the worker go with its batch, whose asks are answered. False: it has just returned. */
static bool leave(struct escalate_slot *slot, int64_t patience_us)
{
    struct escalate_loaded *shared = slot->loaded == slot->batch->loaded ? slot->loaded : NULL;
    if (shared != NULL) { /* the batch's reference becomes the last one: it is counted on one thread only */
        slot->loaded = NULL;
        shared->refs--;
    }
    if (!loop_worker_leave(slot->worker, patience_us, batch_free)) {
        if (shared != NULL) {
            slot->loaded = shared;
            shared->refs++;
        }
        return false;
    }
    loop_timer_cancel(&slot->hang_timer);
    slot->worker = NULL;
    slot->batch = NULL;
    slot->running = false;
    return true;
}

static void on_hang(void *arg)
{
    struct escalate_slot *slot = arg;
    struct escalate *e = slot->escalate;
    struct escalate_batch *b = slot->batch;
    int64_t now_us = loop_now_us(e->loop), last_us = 0;
    char why[ESCALATE_PROBLEM];
    for (unsigned i = 0; i < b->count; i++) {
        bool waits = b->waits[i]->state == ESCALATE_RUNNING;
        last_us = waits ? max_i64(last_us, b->waits[i]->due_us) : last_us;
    }
    if (last_us > now_us) { /* somebody is ready to wait so long */
        loop_timer_at(&slot->hang_timer, last_us);
        return;
    }
    for (unsigned i = 0; i < b->count; i++) {
        if (b->waits[i]->state == ESCALATE_RUNNING) {
            escalate_answer(e, b->waits[i], WEIR__V1__ANSWER_STATUS__ANSWER_BUSY, NULL);
        }
    }
    bool in_force = slot->loaded == b->loaded;
    snprintf(why, sizeof(why), "has not returned for %" PRId64 " s", (now_us - b->started_us) / SECOND_US);
    if (!leave(slot, 0)) {
        return;
    }
    if (in_force) {
        escalate_refuse(e, slot, why);
    } else {
        log_error("a replaced engine does not return: its thread is let go", KV_STR("model", slot->name));
    }
    escalate_set_due(e);
    escalate_start(e);
}

void escalate_end_batch(struct escalate_slot *slot)
{
    loop_timer_cancel(&slot->hang_timer);
    for (unsigned i = 0; slot->running && i < slot->batch->count; i++) {
        struct escalate_wait *w = slot->batch->waits[i];
        if (w->state == ESCALATE_RUNNING) { /* the batch's alone from now on */
            DL_DELETE2(slot->escalate->waits, w, all_prev, all_next);
            w->state = ESCALATE_ANSWERED;
        }
    }
    if (slot->running && leave(slot, END_PATIENCE_US)) {
        return;
    }
    loop_worker_free(take(slot->worker));
    batch_free(take(slot->batch));
}

/* ---- the beginning ---- */
/* *cap floats at least `need`; what was in them is lost. */
static bool room(float **floats, size_t *cap, size_t need)
{
    if (need > *cap) {
        free(*floats);
        *floats = calloc(need, sizeof(**floats));
        *cap = *floats != NULL ? need : 0;
    }
    return *floats != NULL;
}

static bool make_room(struct escalate_batch *b)
{
    size_t window = 1;
    for (unsigned i = 0; i < b->count; i++) {
        window = max_u64(window, (uint64_t)b->waits[i]->ask.rows * b->waits[i]->ask.columns);
    }
    return room(&b->window, &b->window_cap, window) &&
           room(&b->rows, &b->rows_cap, b->count * model_info(b->loaded->model)->inputs) &&
           room(&b->out, &b->out_cap, b->count * engine_info(b->loaded->engine)->outputs);
}

/* The oldest that can be in time; when none can, the oldest all the same: a batch's time is known from running it. */
static void pick(struct escalate *e, struct escalate_slot *slot, struct escalate_batch *b)
{
    struct escalate_wait *w, *next, *late[ESCALATE_BATCH_MAX];
    unsigned late_count = 0;
    size_t max = min_u64(e->plan->s.batch, engine_info(slot->loaded->engine)->batch_max);
    int64_t end_us = loop_now_us(e->loop) + mean_us(slot);
    b->count = 0;
    DL_FOREACH_SAFE(slot->queue, w, next) {
        if (b->count == max || late_count == max) {
            break;
        }
        if (w->due_us >= end_us) {
            b->waits[b->count++] = w;
        } else {
            late[late_count++] = w;
        }
    }
    if (b->count == 0) {
        memcpy(b->waits, late, late_count * sizeof(late[0]));
        b->count = late_count;
        late_count = 0;
    }
    for (unsigned i = 0; i < late_count; i++) {
        escalate_answer(e, late[i], WEIR__V1__ANSWER_STATUS__ANSWER_BUSY, NULL);
    }
    for (unsigned i = 0; i < b->count; i++) {
        escalate_unqueue(e, b->waits[i]);
        b->waits[i]->state = ESCALATE_RUNNING;
    }
}

static enum err begin(struct escalate *e, struct escalate_slot *slot)
{
    if (slot->batch == NULL && (slot->batch = calloc(1, sizeof(*slot->batch))) == NULL) {
        return ERR_NOMEM;
    }
    struct escalate_batch *b = slot->batch;
    pick(e, slot, b);
    b->slot = slot;
    b->handlers = e->handlers;
    b->loaded = slot->loaded;
    b->loaded->refs++;
    b->suspect = slot->failures + 1 >= ESCALATE_FAILURES_MAX;
    b->broken = false;
    b->fault = (struct fault){.code = OK};
    b->started_us = loop_now_us(e->loop);
    if (slot->worker == NULL) {
        loop_timer_init(&slot->hang_timer, e->loop, on_hang, slot);
        TRY(loop_worker_new(e->loop, "escalate", &slot->worker));
    }
    if (!make_room(b)) {
        return ERR_NOMEM;
    }
    TRY(loop_offload(slot->worker, escalate_work, done, b));
    loop_timer_in(&slot->hang_timer, ESCALATE_HANG_US);
    return OK;
}

static void give_up(struct escalate *e, struct escalate_slot *slot)
{
    struct escalate_batch *b = slot->batch;
    log_error("asks are not answered: out of memory", KV_STR("model", slot->name));
    for (unsigned i = 0; b != NULL && i < b->count; i++) {
        b->waits[i]->state = ESCALATE_QUEUED;
        escalate_answer(e, b->waits[i], WEIR__V1__ANSWER_STATUS__ANSWER_BUSY, NULL);
    }
    while (b == NULL && slot->queue != NULL) {
        escalate_answer(e, slot->queue, WEIR__V1__ANSWER_STATUS__ANSWER_BUSY, NULL);
    }
    if (b != NULL) {
        b->count = 0;
        escalate_loaded_unref(take(b->loaded));
    }
}

/* When its batch should start: a full one at once, the older the sooner; before half of anybody's patience is gone, and
 * so that a batch half as long again as usual is in time. */
static int64_t start_us(const struct escalate *e, const struct escalate_slot *slot)
{
    const struct escalate_wait *w;
    if (slot->queue == NULL) {
        return INT64_MAX;
    }
    int64_t at_us = slot->queue->arrived_us + (slot->queued < e->plan->s.batch ? e->plan->s.wait_us : 0);
    if (slot->queued < e->plan->s.batch) {
        DL_FOREACH(slot->queue, w) {
            int64_t half_us = w->arrived_us + (w->due_us - w->arrived_us) / 2;
            at_us = min_i64(at_us, min_i64(half_us, w->due_us - mean_us(slot) * 3 / 2));
        }
    }
    return at_us;
}

void escalate_start(struct escalate *e)
{
    int64_t next_us = INT64_MAX, now_us = loop_now_us(e->loop);
    loop_timer_cancel(&e->start_timer);
    for (struct escalate_slot *slot = e->slots; slot != NULL; slot = slot->next) {
        int64_t at_us = INT64_MAX;
        while (!slot->running && (at_us = start_us(e, slot)) <= now_us) {
            slot->running = true;
            if (begin(e, slot) != OK) {
                slot->running = false;
                give_up(e, slot);
            }
        }
        next_us = slot->running ? next_us : min_i64(next_us, at_us);
    }
    if (next_us != INT64_MAX) {
        loop_timer_at(&e->start_timer, next_us);
    }
}
