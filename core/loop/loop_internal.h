/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop_internal - what the two implementations share.
 *
 *   loop.c    the public calls that differ by kind: clock, random, timers, tasks
 *   sched.c   heap of timers and queue of tasks; a real loop has its own, the nodes of a world share the world's
 *   real.c    rounds on libevent, calls from foreign threads
 *   watch.c   descriptors and signals on libevent
 *   worker.c  workers of both kinds
 *   world.c   virtual time
 */
#ifndef CORE_LOOP_LOOP_INTERNAL_H
#define CORE_LOOP_LOOP_INTERNAL_H

#include "core/loop/loop.h"

#include <pthread.h>

/* ---- a circular list; the head is a link of its own; removing needs no head ---- */
struct link {
    struct link *next, *prev;
};
static inline void link_init(struct link *l)
{
    l->next = l;
    l->prev = l;
}
static inline bool link_empty(const struct link *head)
{
    return head->next == head;
}
static inline void link_append(struct link *head, struct link *l)
{
    l->prev = head->prev;
    l->next = head;
    head->prev->next = l;
    head->prev = l;
}
static inline void link_remove(struct link *l)
{
    l->prev->next = l->next;
    l->next->prev = l->prev;
    link_init(l);
}
/* Moves everything from `from` to the end of `to`. */
static inline void link_splice(struct link *to, struct link *from)
{
    if (!link_empty(from)) {
        from->next->prev = to->prev;
        to->prev->next = from->next;
        from->prev->next = to;
        to->prev = from->prev;
        link_init(from);
    }
}

/* ---- timers and tasks ---- */
struct sched_slot {
    int64_t key_us; /* due, or the time of setting where that was later */
    uint64_t order; /* ties */
    struct loop_timer *timer;
};
struct sched {
    struct sched_slot *heap; /* owned; by (key_us, order); heap[i].timer->heap_slot == i + 1 */
    size_t len, cap;
    uint64_t next_order;
    struct loop_task queued, running; /* heads of circular lists */
};
void sched_init(struct sched *s);
void sched_deinit(struct sched *s);
/* Sets or moves the timer to key_us, behind all others with the same key. */
void sched_set(struct sched *s, struct loop_timer *t, int64_t key_us);
void sched_remove(struct sched *s, struct loop_timer *t);
/* Key of the earliest timer, INT64_MAX if there is none. */
int64_t sched_next_us(const struct sched *s);
/* Takes the earliest timer off and calls it. */
void sched_fire(struct sched *s);
/* Fires what is due at now_us, except timers set meanwhile. */
void sched_fire_due(struct sched *s, int64_t now_us);
bool sched_has_tasks(const struct sched *s);
/* Runs the tasks posted so far; those posted meanwhile wait for the next call. */
void sched_run_tasks(struct sched *s);

/* ---- a call that waits for the loop's thread; owned by whoever queued it ---- */
struct loop_post {
    struct link link;
    void (*run)(struct loop_post *p); /* p is off the list already; frees or reuses it */
};

enum { RANDOM_BATCH = 32 };

struct loop {
    struct loop_world *world; /* NULL: real */
    struct sched *sched;      /* &own_sched, or the world's */
    size_t pending;           /* timers and tasks set, watches open: 0 when the loop is freed */
    int64_t worker_latency_us; /* virtual */
    int64_t wall_offset_us;    /* virtual: wall clock - world clock */
    uint64_t random_state;     /* virtual */
    /* real only */
    struct sched own_sched;
    struct event_base *base;
    struct event *wake_event, *timer_event;
    struct link signals;
    int wake_fd, timer_fd;
    int64_t armed_us; /* what timer_fd is set to, 0 = off */
    int64_t now_us;   /* this round's time, 0 = not read yet */
    bool running, stopped;
    uint64_t random[RANDOM_BATCH];
    size_t random_left;
    pthread_mutex_t lock; /* guards posts, draining and every link in them */
    struct link posts, draining;
};

/* real.c */
int64_t real_clock_us(void);
bool real_random_refill(struct loop *loop);
/* Thread-safe: queues p and wakes the loop. */
void real_queue(struct loop *loop, struct loop_post *p);
void real_free(struct loop *loop);
/* reserve.c: malloc, realloc and free for libevent. NULL only for more than RESERVE_PIECE_MAX bytes, and from a realloc
 * of what malloc gave. */
enum { RESERVE_PIECE_MAX = 4096 };
void *reserve_malloc(size_t len);
void *reserve_realloc(void *ptr, size_t len);
void reserve_free(void *ptr);
/* watch.c */
void real_free_signals(struct loop *loop);
/* world.c */
void virtual_free(struct loop *loop);
uint64_t virtual_random(uint64_t *state);

/* A condition that leaves no way on, out of memory in a call that cannot fail: message, exit status 1. */
void loop_die(const char *why) __attribute__((noreturn));

#endif
