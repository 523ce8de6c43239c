/* SPDX-License-Identifier: Apache-2.0 */
/*
 * real - rounds on libevent.
 *
 * One round: wait for descriptors (not at all where a task is posted or a timer is due), call the ready ones, fire due
 * timers, run posted tasks. Timers sleep on one timerfd of CLOCK_BOOTTIME, which libevent's own timeouts do not follow:
 * time in suspend counts. It is set again only where the heap's head comes before what it is set to; a timer that is
 * moved into the future again and again (a retransmission) costs one idle wake-up, not one system call a move.
 * Calls from other threads wait in a list under a lock; an eventfd wakes the loop when the list was empty.
 */
#include "core/loop/loop_internal.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "core/log/log.h"

int64_t real_clock_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (int64_t)ts.tv_sec * SECOND_US + ts.tv_nsec / 1000 + 1; /* > 0 even in the first microsecond after boot */
}

bool real_random_refill(struct loop *loop)
{
    size_t got = 0;
    while (got < sizeof(loop->random)) {
        ssize_t n = getrandom((char *)loop->random + got, sizeof(loop->random) - got, 0);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        got += n > 0 ? (size_t)n : 0;
    }
    loop->random_left = RANDOM_BATCH;
    return true;
}

/* ---- calls from other threads ---- */
static void wake(struct loop *loop)
{
    uint64_t one = 1;
    while (write(loop->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

void real_queue(struct loop *loop, struct loop_post *p)
{
    pthread_mutex_lock(&loop->lock);
    bool first = link_empty(&loop->posts);
    link_append(&loop->posts, &p->link);
    if (first) {
        wake(loop); /* under the lock: the loop cannot be freed between the append and the write */
    }
    pthread_mutex_unlock(&loop->lock);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct loop *loop = arg;
    uint64_t count;
    (void)!read(fd, &count, sizeof(count));
    pthread_mutex_lock(&loop->lock);
    link_splice(&loop->draining, &loop->posts);
    while (!link_empty(&loop->draining)) {
        struct link *l = loop->draining.next;
        link_remove(l);
        pthread_mutex_unlock(&loop->lock);
        struct loop_post *p = container_of(l, struct loop_post, link);
        p->run(p);
        /* One at a time: run may free a worker, whose results are then taken off the list. */
        pthread_mutex_lock(&loop->lock);
    }
    pthread_mutex_unlock(&loop->lock);
}

struct foreign {
    struct loop_post post;
    void (*fn)(void *arg);
    void *arg;
};

static void run_foreign(struct loop_post *p)
{
    struct foreign *f = container_of(p, struct foreign, post);
    struct foreign call = *f;
    free(f);
    call.fn(call.arg);
}

enum err loop_post_threadsafe(struct loop *loop, void (*fn)(void *arg), void *arg)
{
    if (loop->world != NULL) {
        return ERR_UNSUPPORTED;
    }
    struct foreign *f = calloc(1, sizeof(*f));
    if (f == NULL) {
        return ERR_NOMEM;
    }
    f->post.run = run_foreign;
    f->fn = fn;
    f->arg = arg;
    real_queue(loop, &f->post);
    return OK;
}

/* ---- rounds ---- */
static void on_timer_fd(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct loop *loop = arg;
    uint64_t count;
    (void)!read(fd, &count, sizeof(count));
    loop->armed_us = 0; /* the round fires what is due after all descriptors */
}

static enum err arm(struct loop *loop)
{
    int64_t due_us = sched_next_us(loop->sched);
    if (due_us == INT64_MAX || (loop->armed_us != 0 && loop->armed_us <= due_us)) {
        return OK;
    }
    struct itimerspec at = {.it_value = {.tv_sec = due_us / SECOND_US, .tv_nsec = due_us % SECOND_US * 1000}};
    if (timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &at, NULL) != 0) {
        return ERR_IO;
    }
    loop->armed_us = due_us;
    return OK;
}

static enum err run_round(struct loop *loop)
{
    bool busy = sched_has_tasks(loop->sched) || sched_next_us(loop->sched) <= loop_now_us(loop);
    if (!busy) {
        TRY(arm(loop));
    }
    loop->now_us = 0;
    if (event_base_loop(loop->base, EVLOOP_ONCE | (busy ? EVLOOP_NONBLOCK : 0)) < 0) {
        return ERR_IO;
    }
    if (sched_next_us(loop->sched) != INT64_MAX) {
        sched_fire_due(loop->sched, loop_now_us(loop));
    }
    sched_run_tasks(loop->sched);
    return OK;
}

enum err loop_run(struct loop *loop)
{
    if (loop->world != NULL) {
        return ERR_UNSUPPORTED;
    }
    assert(!loop->running);
    loop->running = true;
    enum err err = OK;
    while (!loop->stopped && err == OK) {
        err = run_round(loop);
    }
    loop->running = false;
    loop->stopped = false;
    loop->now_us = 0;
    return err;
}

void loop_stop(struct loop *loop)
{
    loop->stopped = loop->world == NULL;
}

struct event_base *loop_event_base(struct loop *loop)
{
    return loop->base;
}

/* ---- what libevent has to say ---- */
/* One call site per severity: the rate limit counts sites. */
static void on_libevent_message(int severity, const char *text)
{
    switch (severity) {
    case EVENT_LOG_DEBUG: log_debug("libevent", KV_STR("text", text)); break;
    case EVENT_LOG_MSG: log_info("libevent", KV_STR("text", text)); break;
    case EVENT_LOG_WARN: log_warn("libevent", KV_STR("text", text)); break;
    default: log_error("libevent", KV_STR("text", text)); break;
    }
}

static void prepare_libevent(void)
{
    event_set_mem_functions(reserve_malloc, reserve_realloc, reserve_free);
    event_set_log_callback(on_libevent_message);
}

/* ---- life ---- */
static enum err open_base(struct loop *loop)
{
    struct event_config *config = event_config_new();
    if (config == NULL) {
        return ERR_NOMEM;
    }
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK); /* other threads only ever touch the list and the eventfd */
    loop->base = event_base_new_with_config(config);
    event_config_free(config);
    return loop->base == NULL ? ERR_IO : OK;
}

static enum err open_internal(struct loop *loop, int fd, event_callback_fn fn, struct event **ret_event)
{
    if (fd < 0) {
        return ERR_IO;
    }
    *ret_event = event_new(loop->base, fd, EV_READ | EV_PERSIST, fn, loop);
    if (*ret_event == NULL) {
        return ERR_NOMEM;
    }
    return event_add(*ret_event, NULL) == 0 ? OK : ERR_IO;
}

enum err loop_new(struct loop **ret_loop)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, prepare_libevent);
    CLEANUP(loop_freep) struct loop *loop = calloc(1, sizeof(*loop));
    if (loop == NULL) {
        return ERR_NOMEM;
    }
    loop->wake_fd = loop->timer_fd = -1;
    sched_init(&loop->own_sched);
    loop->sched = &loop->own_sched;
    link_init(&loop->signals);
    link_init(&loop->posts);
    link_init(&loop->draining);
    pthread_mutex_init(&loop->lock, NULL);
    TRY(open_base(loop));
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    TRY(open_internal(loop, loop->wake_fd, on_wake, &loop->wake_event));
    loop->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    TRY(open_internal(loop, loop->timer_fd, on_timer_fd, &loop->timer_event));
    if (!real_random_refill(loop)) {
        return ERR_IO;
    }
    *ret_loop = take(loop);
    return OK;
}

static void close_event(struct event *ev, int fd)
{
    if (ev != NULL) {
        event_free(ev);
    }
    if (fd >= 0) {
        close(fd);
    }
}

void real_free(struct loop *loop)
{
    assert(loop->pending == 0);
    int code = errno; /* loop_new's caller is told by it */
    pthread_mutex_lock(&loop->lock);
    /* Workers are gone, so what is left are calls that other threads posted. */
    while (!link_empty(&loop->posts)) {
        struct link *l = loop->posts.next;
        link_remove(l);
        free(container_of(container_of(l, struct loop_post, link), struct foreign, post));
    }
    pthread_mutex_unlock(&loop->lock);
    real_free_signals(loop);
    close_event(loop->wake_event, loop->wake_fd);
    close_event(loop->timer_event, loop->timer_fd);
    if (loop->base != NULL) {
        event_base_free(loop->base);
    }
    sched_deinit(&loop->own_sched);
    pthread_mutex_destroy(&loop->lock);
    free(loop);
    errno = code;
}
