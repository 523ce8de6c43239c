/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch - descriptors and signals as libevent events.
 *
 * Reading and writing are two events of one descriptor, so that turning the interest in writing on and off, which a
 * session does around every partial write, is one epoll_ctl; the second is made at its first use.
 */
#include "core/loop/loop_internal.h"

#include <event2/event.h>
#include <signal.h>

struct loop_watch {
    struct loop *loop;
    int fd;
    unsigned events; /* watched now */
    void (*fn)(void *arg, unsigned events);
    void *arg;
    struct event *read, *write; /* owned; NULL until first used */
};

static void on_read(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct loop_watch *w = arg;
    w->fn(w->arg, LOOP_READ);
}

static void on_write(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct loop_watch *w = arg;
    w->fn(w->arg, LOOP_WRITE);
}

static enum err toggle(struct loop_watch *w, unsigned events, unsigned bit, struct event **ev)
{
    if ((events & bit) == (w->events & bit)) {
        return OK;
    }
    if (*ev == NULL) {
        short kind = bit == LOOP_READ ? EV_READ : EV_WRITE;
        *ev = event_new(w->loop->base, w->fd, (short)(kind | EV_PERSIST), bit == LOOP_READ ? on_read : on_write, w);
        if (*ev == NULL) {
            return ERR_NOMEM;
        }
    }
    if (((events & bit) ? event_add(*ev, NULL) : event_del(*ev)) != 0) {
        return ERR_IO;
    }
    w->events ^= bit;
    return OK;
}

enum err loop_watch_set(struct loop_watch *w, unsigned events)
{
    TRY(toggle(w, events, LOOP_READ, &w->read));
    return toggle(w, events, LOOP_WRITE, &w->write);
}

enum err loop_watch_new(struct loop *loop, int fd, unsigned events, void (*fn)(void *arg, unsigned events), void *arg,
                        struct loop_watch **ret_watch)
{
    if (loop->world != NULL) {
        return ERR_UNSUPPORTED;
    }
    CLEANUP(loop_watch_freep) struct loop_watch *w = calloc(1, sizeof(*w));
    if (w == NULL) {
        return ERR_NOMEM;
    }
    *w = (struct loop_watch){.loop = loop, .fd = fd, .fn = fn, .arg = arg};
    loop->pending++;
    TRY(loop_watch_set(w, events));
    *ret_watch = take(w);
    return OK;
}

void loop_watch_free(struct loop_watch *w)
{
    if (w == NULL) {
        return;
    }
    if (w->read != NULL) {
        event_free(w->read);
    }
    if (w->write != NULL) {
        event_free(w->write);
    }
    w->loop->pending--;
    free(w);
}

/* ---- signals ---- */
struct signal_watch {
    struct link link;
    int signo;
    void (*fn)(void *arg, int signo);
    void *arg;
    struct event *event; /* owned */
};

static void on_signal(evutil_socket_t signo, short what, void *arg)
{
    (void)signo;
    (void)what;
    struct signal_watch *s = arg;
    s->fn(s->arg, s->signo);
}

static void signal_watch_free(struct signal_watch *s)
{
    if (s != NULL) {
        link_remove(&s->link);
        if (s->event != NULL) {
            event_free(s->event);
        }
        free(s);
    }
}
DEFINE_CLEANUP(struct signal_watch, signal_watch_free)

static void mask_signal(int how, int signo)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signo);
    (void)pthread_sigmask(how, &set, NULL); /* fails for numbers of no signal only */
}

enum err loop_on_signal(struct loop *loop, int signo, void (*fn)(void *arg, int signo), void *arg)
{
    if (loop->world != NULL) {
        return ERR_UNSUPPORTED;
    }
    CLEANUP(signal_watch_freep) struct signal_watch *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return ERR_NOMEM;
    }
    link_init(&s->link);
    s->signo = signo;
    s->fn = fn;
    s->arg = arg;
    s->event = evsignal_new(loop->base, signo, on_signal, s);
    if (s->event == NULL) {
        return ERR_NOMEM;
    }
    if (event_add(s->event, NULL) != 0) {
        return ERR_IO;
    }
    link_append(&loop->signals, &take(s)->link);
    mask_signal(SIG_UNBLOCK, signo);
    return OK;
}

void loop_hold_signal(int signo)
{
    mask_signal(SIG_BLOCK, signo);
    (void)signal(signo, SIG_IGN); /* libevent puts this back; while it is blocked, the signal waits all the same */
}

void real_free_signals(struct loop *loop)
{
    while (!link_empty(&loop->signals)) {
        signal_watch_free(container_of(loop->signals.next, struct signal_watch, link));
    }
}
