/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop - one event loop per process; the only source of time and randomness.
 *
 * Comes in: readiness of descriptors, signals, time, results of offloaded work. Goes out: calls into modules, one at a
 * time, on the thread that runs the loop. Only this module and core/control include event2. Nobody else sleeps, polls,
 * reads a clock or a random source.
 *
 * Two implementations behind one header:
 *   real     libevent, CLOCK_BOOTTIME, worker threads
 *   virtual  a seeded scheduler: time jumps from timer to timer, workers finish after a modelled latency, runs are
 *            the same bit for bit for the same seed. Several nodes share one world (loop_world), each with its own
 *            wall clock and its own random stream.
 *
 * Order within a round: descriptors and timers that are due, then posted tasks once (a task that posts itself runs in
 * the next round). Timers with the same due time fire in the order they were set.
 * Handlers do bounded work. Blocking work goes to a worker.
 */
#ifndef CORE_LOOP_LOOP_H
#define CORE_LOOP_LOOP_H

#include "core/base/base.h"

struct loop;
struct loop_world;
struct event_base;

/* Real loop. ERR_NOMEM, ERR_IO; errno then says why. */
enum err loop_new(struct loop **ret_loop) MUST_CHECK;
/* All timers, tasks and watches must be cancelled before. Accepts NULL. */
void loop_free(struct loop *loop);
DEFINE_CLEANUP(struct loop, loop_free)

/* Runs until loop_stop. Real loops only (ERR_UNSUPPORTED). */
enum err loop_run(struct loop *loop) MUST_CHECK;
/* The present round is finished first. Before loop_run: that returns at once. On a virtual loop without effect. */
void loop_stop(struct loop *loop);

/* Monotonic microseconds (CLOCK_BOOTTIME), > 0; read once per round, afresh outside loop_run. */
int64_t loop_now_us(struct loop *loop);
/* The same clock read afresh, for measuring inside a handler. */
int64_t loop_fresh_now_us(struct loop *loop);
/* Wall clock, microseconds since 1970. May jump: never used for order or expiry. */
int64_t loop_wall_us(struct loop *loop);
/* 64 random bits: from the kernel (real) or from the seed (virtual). Never 0. */
uint64_t loop_random(struct loop *loop);

/* ---- timers: embedded in their owner, one shot ---- */
struct loop_timer {
    struct loop *loop;
    void (*fn)(void *arg);
    void *arg;
    int64_t due_us;   /* as it was set */
    size_t heap_slot; /* private: index + 1, 0 = idle */
};
void loop_timer_init(struct loop_timer *t, struct loop *loop, void (*fn)(void *arg), void *arg);
/* (Re)sets. A due time in the past fires in this round or the next. */
void loop_timer_at(struct loop_timer *t, int64_t due_us);
void loop_timer_in(struct loop_timer *t, int64_t delay_us);
/* Harmless when idle or zeroed. */
void loop_timer_cancel(struct loop_timer *t);
static inline bool loop_timer_pending(const struct loop_timer *t)
{
    return t->heap_slot != 0;
}

/* ---- tasks: a call at the end of the present round ---- */
struct loop_task {
    struct loop *loop;
    void (*fn)(void *arg);
    void *arg;
    struct loop_task *next, *prev; /* private */
    bool posted;
};
void loop_task_init(struct loop_task *t, struct loop *loop, void (*fn)(void *arg), void *arg);
void loop_task_post(struct loop_task *t); /* posted twice runs once */
void loop_task_cancel(struct loop_task *t);

/* ---- descriptors (real loops only) ---- */
enum { LOOP_READ = 1, LOOP_WRITE = 2 };
struct loop_watch; /* owned by the caller */
/* fn is called with the ready events, once for each kind; level-triggered; a hang-up or error shows as every kind
 * that is watched. fd stays the caller's and is closed after the watch is freed. ERR_NOMEM, ERR_IO, and
 * ERR_UNSUPPORTED on a virtual loop. */
enum err loop_watch_new(struct loop *loop, int fd, unsigned events, void (*fn)(void *arg, unsigned events), void *arg,
                        struct loop_watch **ret_watch) MUST_CHECK;
enum err loop_watch_set(struct loop_watch *w, unsigned events) MUST_CHECK;
void loop_watch_free(struct loop_watch *w); /* may be called from fn; accepts NULL */
DEFINE_CLEANUP(struct loop_watch, loop_watch_free)

/* ---- signals (real loops only); a signal becomes an ordinary event ---- */
enum err loop_on_signal(struct loop *loop, int signo, void (*fn)(void *arg, int signo), void *arg) MUST_CHECK;
/* From now on this signal waits until loop_on_signal takes it, instead of ending a program that is still starting; when
 * the loop is gone it is ignored. Before there are threads. */
void loop_hold_signal(int signo);

/* ---- workers: one thread, jobs in order ---- */
struct loop_worker;
/* ERR_NOMEM; errno then says why. */
enum err loop_worker_new(struct loop *loop, const char *name, struct loop_worker **ret_worker) MUST_CHECK;
/* Without a thread, for work that takes no time: as a virtual worker on a real loop, too (work runs at once on the loop's
 * thread, done follows from the loop after the modelled latency). ERR_NOMEM. */
enum err loop_worker_new_inline(struct loop *loop, struct loop_worker **ret_worker) MUST_CHECK;
/* Waits for the job in hand, drops the queued ones; no done is called afterwards, and neither work nor done of a
 * dropped job: its arg stays the caller's. May be called from done. Accepts NULL. */
void loop_worker_free(struct loop_worker *w);
DEFINE_CLEANUP(struct loop_worker, loop_worker_free)
/* work runs on the worker's thread (virtual: at once, on the loop's), done on the loop, in order. Data is moved: until
 * done the loop does not touch what work uses. ERR_NOMEM. */
enum err loop_offload(struct loop_worker *w, void (*work)(void *arg), void (*done)(void *arg), void *arg) MUST_CHECK;
/* For a job that may never return: waits at most patience_us for what is in hand or queued, then lets go of the
 * worker. True: it is gone and no done will be called; should the job in hand return after all, `release` is called
 * with its arg, on the worker's thread (virtual: at once), when the loop may be gone as well. What was queued behind it
 * is dropped. False: no job is in hand, the worker is as it was; a done may still be on its way. */
bool loop_worker_leave(struct loop_worker *w, int64_t patience_us, void (*release)(void *arg)) MUST_CHECK;
/* Jobs whose done has not been called. */
size_t loop_worker_pending(const struct loop_worker *w);

/* ---- from foreign threads (a library's callback) ---- */
/* Runs fn(arg) on the loop, in the order of posting. Thread-safe; wakes the loop. Real loops only. What has not run
 * when the loop is freed never runs; no thread may post by then. ERR_NOMEM. */
enum err loop_post_threadsafe(struct loop *loop, void (*fn)(void *arg), void *arg) MUST_CHECK;

/* ---- virtual time ---- */
enum err loop_world_new(uint64_t seed, struct loop_world **ret_world) MUST_CHECK;
/* After all its loops. Accepts NULL. */
void loop_world_free(struct loop_world *world);
DEFINE_CLEANUP(struct loop_world, loop_world_free)
/* A node's loop in the world. World time starts at 1 us; its wall clock read 2026-01-01T00:00:00Z then. */
enum err loop_new_virtual(struct loop_world *world, struct loop **ret_loop) MUST_CHECK;
/* Runs everything due up to and including until_us, then sets the time to until_us. */
void loop_world_run(struct loop_world *world, int64_t until_us);
/* Runs the next due event if it is due by until_us; false if there is none. For checkers between steps. */
bool loop_world_step(struct loop_world *world, int64_t until_us);
int64_t loop_world_now_us(const struct loop_world *world);
uint64_t loop_world_random(struct loop_world *world);
/* Wall clock of one virtual node := wall_us now. */
void loop_set_wall(struct loop *loop, int64_t wall_us);
/* Virtual and inline workers made from now on on this loop: done is called latency_us after the job reached the head. */
void loop_set_worker_latency(struct loop *loop, int64_t latency_us);

/* For core/control only. NULL on virtual loops. */
struct event_base *loop_event_base(struct loop *loop);

#endif
