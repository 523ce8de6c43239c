/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a program that is told to end stops its parts once and ends when they have; one that cannot go on ends as
 * failed; a reload is handed on.
 */
#include "core/daemon/daemon.h"

#include <signal.h>
#include <stdio.h>

#include "tests/support/check.h"

static const char *const tables[] = {"meta"};

struct rig {
    char path[40];
    struct loop *loop;
    struct store *store;
    struct loop_task first; /* once the loop runs */
    struct daemon_life life;
    const char *failure;
    unsigned stops, asked, watched, reloads;
    int raise_first;
};

static const char *failure(void *arg)
{
    struct rig *r = arg;
    return r->failure;
}

/* A second word to end changes nothing. */
static void stop(void *arg)
{
    struct rig *r = arg;
    r->stops++;
    raise(SIGTERM);
}

static bool stopped(void *arg)
{
    struct rig *r = arg;
    return ++r->asked >= 3;
}

static void watch(void *arg)
{
    struct rig *r = arg;
    r->watched++;
}

static void on_reload(void *arg, int signo)
{
    struct rig *r = arg;
    CHECK_INT(signo, SIGHUP);
    r->reloads++;
    raise(SIGINT);
}

static void on_first(void *arg)
{
    const struct rig *r = arg;
    if (r->raise_first != 0) {
        raise(r->raise_first);
    }
}

static const struct daemon_life_ops ops = {
    .failure = failure, .stop = stop, .stopped = stopped, .watch = watch, .reload = on_reload};

static void begin(struct rig *r, int raise_first)
{
    struct fault fault = {.code = OK};
    *r = (struct rig){.raise_first = raise_first};
    snprintf(r->path, sizeof(r->path), "/tmp/weir-life-XXXXXX");
    CHECK(mkdtemp(r->path) != NULL);
    const struct store_options options = {.path = r->path, .tables = tables, .table_count = 1, .size_bytes = 1 << 20};
    CHECK_OK(loop_new(&r->loop));
    CHECK_OK(store_open(r->loop, &options, &r->store, NULL, 0, &fault));
    loop_task_init(&r->first, r->loop, on_first, r);
    loop_task_post(&r->first);
    r->life = (struct daemon_life){
        .program = "test", .ops = &ops, .loop = r->loop, .store = r->store, .store_path = r->path, .arg = r};
    CHECK_OK(daemon_life_begin(&r->life));
}

static void end(struct rig *r)
{
    char command[64];
    daemon_life_end(&r->life);
    store_close(r->store);
    loop_free(r->loop);
    snprintf(command, sizeof(command), "rm -rf %s", r->path);
    CHECK_INT(system(command), 0);
}

static void a_word_to_end_stops_the_parts_once_and_waits_for_them(void **state)
{
    static const int signals[] = {SIGTERM, SIGINT};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(signals); i++) {
        struct rig r;
        begin(&r, signals[i]);
        CHECK_OK(daemon_life_run(&r.life));
        CHECK_INT(r.stops, 1);
        CHECK_INT(r.asked, 3);
        CHECK_INT(r.watched, 2); /* it is still looked after */
        CHECK_INT(r.reloads, 0);
        end(&r);
    }
}

static void what_cannot_go_on_ends_as_failed(void **state)
{
    struct rig r;
    (void)state;
    begin(&r, 0);
    r.failure = "the disk is on fire";
    CHECK_ERR(daemon_life_run(&r.life), ERR_IO);
    CHECK_INT(r.stops, 0);
    CHECK_INT(r.watched, 0);
    end(&r);
}

static void a_reload_is_handed_on(void **state)
{
    struct rig r;
    (void)state;
    begin(&r, SIGHUP);
    CHECK_OK(daemon_life_run(&r.life));
    CHECK_INT(r.reloads, 1);
    CHECK_INT(r.stops, 1);
    end(&r);
}

static void one_that_was_never_begun_may_be_ended(void **state)
{
    struct daemon_life life = {.program = NULL};
    (void)state;
    daemon_life_end(&life);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_word_to_end_stops_the_parts_once_and_waits_for_them),
        cmocka_unit_test(what_cannot_go_on_ends_as_failed),
        cmocka_unit_test(a_reload_is_handed_on),
        cmocka_unit_test(one_that_was_never_begun_may_be_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
