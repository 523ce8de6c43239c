/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sched - the heap of timers and the queue of tasks.
 *
 * Invariants: heap[i].timer->heap_slot == i + 1; no child sorts before its parent; a timer that is not in the heap has
 * heap_slot 0. Callbacks may set and cancel any timer or task, also their own: everything is taken off before the call.
 */
#include "core/loop/loop_internal.h"

#include <stdio.h>
#include <unistd.h>

enum { FIRST_CAP = 16, WAYS = 4 /* children of a slot: half as deep as with two, and they lie beside each other */ };

void loop_die(const char *why)
{
    (void)!write(STDERR_FILENO, why, strlen(why));
    (void)!write(STDERR_FILENO, "\n", 1);
    _exit(EXIT_FAILURE);
}

void sched_init(struct sched *s)
{
    *s = (struct sched){0};
    s->queued.next = s->queued.prev = &s->queued;
    s->running.next = s->running.prev = &s->running;
}

void sched_deinit(struct sched *s)
{
    free(s->heap);
    s->heap = NULL;
    s->len = s->cap = 0;
}

static bool before(struct sched_slot a, struct sched_slot b)
{
    return a.key_us != b.key_us ? a.key_us < b.key_us : a.order < b.order;
}

static void place(struct sched *s, struct sched_slot slot, size_t at)
{
    s->heap[at] = slot;
    slot.timer->heap_slot = at + 1;
}

static void sift_up(struct sched *s, struct sched_slot slot, size_t at)
{
    while (at > 0 && before(slot, s->heap[(at - 1) / WAYS])) {
        place(s, s->heap[(at - 1) / WAYS], at);
        at = (at - 1) / WAYS;
    }
    place(s, slot, at);
}

/* The first of the slots first..end - 1. */
static size_t earliest(const struct sched *s, size_t first, size_t end)
{
    size_t best = first;
    for (size_t i = first + 1; i < end; i++) {
        best = before(s->heap[i], s->heap[best]) ? i : best;
    }
    return best;
}

static void sift_down(struct sched *s, struct sched_slot slot, size_t at)
{
    for (size_t child; (child = WAYS * at + 1) < s->len; at = child) {
        child = earliest(s, child, child + WAYS < s->len ? child + WAYS : s->len);
        if (!before(s->heap[child], slot)) {
            break;
        }
        place(s, s->heap[child], at);
    }
    place(s, slot, at);
}

static void sift(struct sched *s, struct sched_slot slot, size_t at)
{
    if (at > 0 && before(slot, s->heap[(at - 1) / WAYS])) {
        sift_up(s, slot, at);
    } else {
        sift_down(s, slot, at);
    }
}

void sched_set(struct sched *s, struct loop_timer *t, int64_t key_us)
{
    const struct sched_slot slot = {.key_us = key_us, .order = s->next_order++, .timer = t};
    if (t->heap_slot != 0) {
        sift(s, slot, t->heap_slot - 1);
        return;
    }
    if (s->len == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : FIRST_CAP;
        struct sched_slot *heap = realloc(s->heap, cap * sizeof(*heap));
        if (heap == NULL) {
            loop_die("out of memory: timers");
        }
        s->heap = heap;
        s->cap = cap;
    }
    t->loop->pending++;
    sift_up(s, slot, s->len++);
}

void sched_remove(struct sched *s, struct loop_timer *t)
{
    size_t at = t->heap_slot - 1;
    t->heap_slot = 0;
    t->loop->pending--;
    struct sched_slot last = s->heap[--s->len];
    if (last.timer != t) {
        sift(s, last, at);
    }
}

int64_t sched_next_us(const struct sched *s)
{
    return s->len > 0 ? s->heap[0].key_us : INT64_MAX;
}

void sched_fire(struct sched *s)
{
    struct loop_timer *t = s->heap[0].timer;
    sched_remove(s, t);
    t->fn(t->arg);
}

void sched_fire_due(struct sched *s, int64_t now_us)
{
    /* A timer set meanwhile has a later key or order than all that were due, so it is met only after them. */
    uint64_t limit = s->next_order;
    while (s->len > 0 && s->heap[0].key_us <= now_us && s->heap[0].order < limit) {
        sched_fire(s);
    }
}

static void task_unlink(struct loop_task *t)
{
    t->prev->next = t->next;
    t->next->prev = t->prev;
    t->next = t->prev = NULL;
    t->posted = false;
    t->loop->pending--;
}

void loop_task_init(struct loop_task *t, struct loop *loop, void (*fn)(void *arg), void *arg)
{
    *t = (struct loop_task){.loop = loop, .fn = fn, .arg = arg};
}

void loop_task_post(struct loop_task *t)
{
    if (t->posted) {
        return;
    }
    struct loop_task *head = &t->loop->sched->queued;
    t->prev = head->prev;
    t->next = head;
    head->prev->next = t;
    head->prev = t;
    t->posted = true;
    t->loop->pending++;
}

void loop_task_cancel(struct loop_task *t)
{
    if (t->posted) {
        task_unlink(t);
    }
}

bool sched_has_tasks(const struct sched *s)
{
    return s->queued.next != &s->queued;
}

void sched_run_tasks(struct sched *s)
{
    if (!sched_has_tasks(s)) {
        return;
    }
    s->running.next = s->queued.next;
    s->running.prev = s->queued.prev;
    s->running.next->prev = &s->running;
    s->running.prev->next = &s->running;
    s->queued.next = s->queued.prev = &s->queued;
    while (s->running.next != &s->running) {
        struct loop_task *t = s->running.next;
        task_unlink(t);
        t->fn(t->arg);
    }
}
