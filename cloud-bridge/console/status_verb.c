/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status_verb - `weir status`: asks everybody once, or again and again with --watch.
 */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "cloud-bridge/console/console_internal.h"
#include "core/loop/loop.h"

enum { SCREEN_MAX = 64 << 20 };

struct watch {
    const struct args *args;
    struct loop *loop;
    struct loop_timer timer;
    enum exit_code code;
};

static enum exit_code show_once(const struct args *args, const char *before)
{
    CLEANUP(docs_deinit) struct docs docs = {.count = 0};
    struct fault fault = {.code = OK};
    BUFFER(out, SCREEN_MAX);
    if (docs_find(args->run, &docs, &fault) != OK) {
        print_message("%s; name the folder of the control sockets with --run DIR or WEIR_RUN", fault.text);
        return EXIT_UNREACHABLE;
    }
    docs_ask(&docs, "/status");
    buffer_put_str(&out, before);
    enum exit_code code = args->json ? status_json(&docs, &out) : status_screen(&docs, args->color, &out);
    if (docs.count == 0) {
        print_message("there is no control socket (*.sock) in %s", args->run);
    }
    return print_out(&out) ? code : EXIT_FAILED;
}

static void on_time(void *arg)
{
    struct watch *w = arg;
    bool screen = isatty(STDOUT_FILENO) && !w->args->json;
    w->code = show_once(w->args, screen ? "\033[H\033[2J" : "");
    if (w->code == EXIT_FAILED) {
        loop_stop(w->loop);
        return;
    }
    loop_timer_in(&w->timer, w->args->watch_us);
}

static void on_signal(void *arg, int signo)
{
    (void)signo;
    struct watch *w = arg;
    loop_stop(w->loop);
}

enum exit_code status_verb(const struct args *args)
{
    if (!args->watch) {
        return show_once(args, "");
    }
    CLEANUP(loop_freep) struct loop *loop = NULL;
    struct watch w = {.args = args, .code = EXIT_FAILED};
    enum err err = loop_new(&loop);
    w.loop = loop;
    if (err == OK) {
        err = loop_on_signal(loop, SIGINT, on_signal, &w);
    }
    if (err == OK) {
        err = loop_on_signal(loop, SIGTERM, on_signal, &w);
    }
    if (err != OK) {
        print_message("cannot start: %s", err_name(err));
        return EXIT_FAILED;
    }
    loop_timer_init(&w.timer, loop, on_time, &w);
    loop_timer_in(&w.timer, 0);
    err = loop_run(loop);
    loop_timer_cancel(&w.timer);
    return err == OK ? w.code : EXIT_FAILED;
}
