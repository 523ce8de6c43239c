/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker - jobs in order on one thread (real) or on a timer (virtual, and inline on a real loop).
 *
 *   thread   offload -> queue -> [thread: work] -> the loop's posts -> done
 *   timer    offload: work at once -> timer at the modelled end -> done
 *
 * Invariants: `jobs` holds every job whose done has not been called, and only the loop's thread touches it; a job's
 * post is linked in the worker's queue, in the loop's posts, or (while it runs) nowhere. loop_worker_free joins the
 * thread first, so whatever is still linked afterwards can be taken off. A worker that was let go belongs to its
 * thread: `release` is set and read under `lock`, so a job either posts its end to the loop or is released, never both.
 */
#include "core/loop/loop_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

struct job {
    struct link all; /* in the worker's jobs */
    struct loop_worker *worker;
    void (*work)(void *arg);
    void (*done)(void *arg);
    void *arg;
    union {
        struct loop_post post;   /* thread */
        struct loop_timer timer; /* no thread */
    };
};

struct loop_worker {
    struct loop *loop;
    struct link jobs; /* the loop's thread only */
    size_t pending;
    bool threaded;
    int64_t latency_us, busy_until_us; /* no thread */
    pthread_t thread;                  /* the rest: thread */
    pthread_mutex_t lock;              /* guards what follows */
    pthread_cond_t changed;
    struct link queue;
    bool stop, busy;            /* busy: a job runs */
    void (*release)(void *arg); /* NULL: the worker is the loop's */
};

static void finish(struct job *job)
{
    void (*done)(void *arg) = job->done;
    void *arg = job->arg;
    job->worker->pending--;
    link_remove(&job->all);
    free(job);
    done(arg); /* last: it may free the worker */
}

static void on_post(struct loop_post *p)
{
    finish(container_of(p, struct job, post));
}

static void on_timer(void *arg)
{
    finish(arg);
}

static void let_go(struct loop_worker *w, struct job *job)
{
    w->release(job->arg);
    free(job);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

static void *run_thread(void *arg)
{
    struct loop_worker *w = arg;
    pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        if (link_empty(&w->queue)) {
            pthread_cond_wait(&w->changed, &w->lock);
            continue;
        }
        struct job *job = container_of(container_of(w->queue.next, struct loop_post, link), struct job, post);
        link_remove(&job->post.link);
        w->busy = true;
        pthread_mutex_unlock(&w->lock);
        job->work(job->arg);
        pthread_mutex_lock(&w->lock);
        w->busy = false;
        if (w->release != NULL) {
            pthread_mutex_unlock(&w->lock);
            let_go(w, job);
            return NULL;
        }
        real_queue(w->loop, &job->post);
        pthread_cond_broadcast(&w->changed);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static enum err start_thread(struct loop_worker *w, const char *name)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals belong to the loop's thread */
    int failed = pthread_create(&w->thread, NULL, run_thread, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (failed != 0) {
        pthread_cond_destroy(&w->changed);
        pthread_mutex_destroy(&w->lock);
        errno = failed;
        return ERR_NOMEM;
    }
    char shown[16]; /* the kernel's limit */
    snprintf(shown, sizeof(shown), "%s", name);
    pthread_setname_np(w->thread, shown);
    return OK;
}

static enum err make(struct loop *loop, const char *name, bool threaded, struct loop_worker **ret_worker)
{
    struct loop_worker *w = calloc(1, sizeof(*w));
    if (w == NULL) {
        return ERR_NOMEM;
    }
    w->loop = loop;
    w->threaded = threaded;
    w->latency_us = loop->worker_latency_us;
    link_init(&w->jobs);
    link_init(&w->queue);
    enum err err = threaded ? start_thread(w, name) : OK;
    if (err != OK) {
        free(w);
        return err;
    }
    loop->pending++;
    *ret_worker = w;
    return OK;
}

enum err loop_worker_new(struct loop *loop, const char *name, struct loop_worker **ret_worker)
{
    return make(loop, name, loop->world == NULL, ret_worker);
}

enum err loop_worker_new_inline(struct loop *loop, struct loop_worker **ret_worker)
{
    return make(loop, "", false, ret_worker);
}

static void stop_thread(struct loop_worker *w)
{
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
}

void loop_worker_free(struct loop_worker *w)
{
    if (w == NULL) {
        return;
    }
    if (w->threaded) {
        stop_thread(w);
    }
    while (!link_empty(&w->jobs)) {
        struct job *job = container_of(w->jobs.next, struct job, all);
        link_remove(&job->all);
        if (w->threaded) {
            pthread_mutex_lock(&w->loop->lock);
            link_remove(&job->post.link);
            pthread_mutex_unlock(&w->loop->lock);
        } else {
            loop_timer_cancel(&job->timer);
        }
        free(job);
    }
    w->loop->pending--;
    free(w);
}

/* Until nothing is in hand or queued, or the time is over. With the lock held. */
static void await_idle(struct loop_worker *w, int64_t patience_us)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + patience_us % SECOND_US * 1000;
    until.tv_sec += patience_us / SECOND_US + ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    while ((w->busy || !link_empty(&w->queue)) &&
           pthread_cond_clockwait(&w->changed, &w->lock, CLOCK_MONOTONIC, &until) != ETIMEDOUT) {
    }
}

/* But for the one in hand, the last that is left: that is its thread's from now on. */
static void forget_jobs(struct loop_worker *w)
{
    while (!link_empty(&w->queue)) {
        struct job *job = container_of(container_of(w->queue.next, struct loop_post, link), struct job, post);
        link_remove(&job->post.link);
        link_remove(&job->all);
        free(job);
    }
    link_remove(w->jobs.prev);
    pthread_mutex_lock(&w->loop->lock);
    while (!link_empty(&w->jobs)) { /* they have ended; their done has not been called */
        struct job *job = container_of(w->jobs.next, struct job, all);
        link_remove(&job->all);
        link_remove(&job->post.link);
        free(job);
    }
    pthread_mutex_unlock(&w->loop->lock);
}

static void leave_virtual(struct loop_worker *w, void (*release)(void *arg))
{
    struct job *job = container_of(w->jobs.next, struct job, all);
    void *arg = job->arg;
    loop_worker_free(w); /* takes the job away */
    release(arg);
}

bool loop_worker_leave(struct loop_worker *w, int64_t patience_us, void (*release)(void *arg))
{
    if (!w->threaded) {
        bool pending = w->pending > 0;
        if (pending) {
            leave_virtual(w, release);
        }
        return pending;
    }
    pthread_mutex_lock(&w->lock);
    await_idle(w, patience_us);
    if (!w->busy) {
        pthread_mutex_unlock(&w->lock);
        return false;
    }
    struct loop *loop = w->loop;
    pthread_detach(w->thread);
    forget_jobs(w);
    w->release = release;
    pthread_mutex_unlock(&w->lock); /* the thread may free it from here on */
    loop->pending--;
    return true;
}

enum err loop_offload(struct loop_worker *w, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    struct job *job = calloc(1, sizeof(*job));
    if (job == NULL) {
        return ERR_NOMEM;
    }
    *job = (struct job){.worker = w, .work = work, .done = done, .arg = arg};
    link_append(&w->jobs, &job->all);
    w->pending++;
    if (!w->threaded) {
        work(arg);
        w->busy_until_us = max_i64(w->busy_until_us, loop_now_us(w->loop)) + w->latency_us;
        loop_timer_init(&job->timer, w->loop, on_timer, job);
        loop_timer_at(&job->timer, w->busy_until_us);
        return OK;
    }
    job->post.run = on_post;
    pthread_mutex_lock(&w->lock);
    link_append(&w->queue, &job->post.link);
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
    return OK;
}

size_t loop_worker_pending(const struct loop_worker *w)
{
    return w->pending;
}
