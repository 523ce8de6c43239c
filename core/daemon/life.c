/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the signals' handlers to the end of the process. What is logged here is the program's own word, under its name.
 */
#include "core/daemon/daemon.h"

#include <errno.h>
#include <signal.h>

#undef LOG_MODULE
#define LOG_MODULE (life->program)

enum { WATCH_US = 250000, STOPPING_US = 5000, STOP_LIMIT_US = 10000000 };

static void on_end(void *arg, int signo)
{
    struct daemon_life *life = arg;
    if (life->stop_by_us != 0) {
        return;
    }
    log_info("stopping", KV_STR("signal", signo == SIGINT ? "SIGINT" : "SIGTERM"));
    daemon_notify("STOPPING=1");
    life->stop_by_us = loop_now_us(life->loop) + STOP_LIMIT_US;
    life->ops->stop(life->arg);
    loop_timer_in(&life->watch, STOPPING_US);
}

static void on_watch(void *arg)
{
    struct daemon_life *life = arg;
    const char *failure = life->ops->failure(life->arg);
    if (store_broken(life->store) || failure != NULL) {
        log_error("cannot go on", KV_STR("store", life->store_path),
                  KV_STR("reason", failure ? failure : "the store cannot be written any more"));
        life->failed = true;
        loop_stop(life->loop);
        return;
    }
    if (life->stop_by_us != 0 && (life->ops->stopped(life->arg) || loop_now_us(life->loop) >= life->stop_by_us)) {
        loop_stop(life->loop);
        return;
    }
    if (life->ops->watch != NULL) {
        life->ops->watch(life->arg);
    }
    daemon_watch_store(life->loop, life->store, life->store_path, &life->told_store);
    loop_timer_in(&life->watch, life->stop_by_us != 0 ? STOPPING_US : WATCH_US);
}

enum err daemon_life_begin(struct daemon_life *life)
{
    loop_timer_init(&life->watch, life->loop, on_watch, life);
    loop_timer_in(&life->watch, WATCH_US);
    TRY(loop_on_signal(life->loop, SIGTERM, on_end, life));
    TRY(loop_on_signal(life->loop, SIGINT, on_end, life));
    return loop_on_signal(life->loop, SIGHUP, life->ops->reload, life->arg);
}

enum err daemon_life_run(struct daemon_life *life)
{
    daemon_notify("READY=1");
    if (loop_run(life->loop) != OK) {
        log_error("the event loop failed", KV_STR("reason", strerror(errno)));
        return ERR_IO;
    }
    return life->failed ? ERR_IO : OK;
}

void daemon_life_end(struct daemon_life *life)
{
    loop_timer_cancel(&life->watch);
}
