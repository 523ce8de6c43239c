/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the real loop hands on descriptors, signals and calls from other threads, in rounds, on its own thread, and may
 * be changed from within its callbacks. Every test ends by its own condition; the guard only stops a hang.
 */
#include "core/loop/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/check.h"

static struct loop *loop;
static struct loop_timer guard;
static bool guard_fired;
static int pair[2];
static struct loop_watch *watch, *other;
static struct loop_task task;
static struct loop_timer timer;
static char order[64];
static int calls;

static void on_guard(void *arg)
{
    (void)arg;
    guard_fired = true;
    loop_stop(loop);
}

static int set_up(void **state)
{
    (void)state;
    CHECK_OK(loop_new(&loop));
    loop_timer_init(&guard, loop, on_guard, NULL);
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    watch = other = NULL;
    order[0] = '\0';
    calls = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    loop_watch_free(watch);
    loop_watch_free(other);
    loop_free(loop);
    close(pair[0]);
    close(pair[1]);
    return 0;
}

static void run(void)
{
    guard_fired = false;
    loop_timer_in(&guard, 30 * SECOND_US);
    CHECK_OK(loop_run(loop));
    loop_timer_cancel(&guard);
    CHECK(!guard_fired);
}

static void note(const char *what)
{
    CHECK(strlen(order) + strlen(what) < sizeof(order));
    strcat(order, what);
}

static void on_ready(void *arg, unsigned events)
{
    (void)arg;
    note(events == LOOP_READ ? "r" : events == LOOP_WRITE ? "w" : "?");
    loop_stop(loop);
}

static void a_readable_descriptor_is_reported_until_it_is_read(void **state)
{
    (void)state;
    CHECK_OK(loop_watch_new(loop, pair[0], LOOP_READ, on_ready, NULL, &watch));
    CHECK_INT(write(pair[1], "x", 1), 1);
    run();
    run();
    CHECK_STR(order, "rr");
}

static void interest_in_writing_is_turned_on_and_off(void **state)
{
    (void)state;
    CHECK_OK(loop_watch_new(loop, pair[0], 0, on_ready, NULL, &watch));
    CHECK_INT(write(pair[1], "x", 1), 1);
    CHECK_OK(loop_watch_set(watch, LOOP_WRITE));
    run();
    CHECK_STR(order, "w");
    CHECK_OK(loop_watch_set(watch, LOOP_READ | LOOP_WRITE));
    run();
    CHECK(strlen(order) == 3 && strchr(order, 'r') != NULL);
    CHECK_OK(loop_watch_set(watch, LOOP_READ));
    order[0] = '\0';
    run();
    CHECK_STR(order, "r");
}

static void a_hang_up_shows_as_readable(void **state)
{
    (void)state;
    CHECK_OK(loop_watch_new(loop, pair[0], LOOP_READ, on_ready, NULL, &watch));
    CHECK_INT(shutdown(pair[1], SHUT_RDWR), 0);
    run();
    CHECK_STR(order, "r");
}

static void on_free_both(void *arg, unsigned events)
{
    (void)arg;
    (void)events;
    note("f");
    loop_watch_free(take(watch));
    loop_watch_free(take(other));
    loop_task_post(&task); /* ends the run one round later: a second call would show */
}

static void on_stop(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

static void a_watch_may_free_itself_and_others_that_are_ready(void **state)
{
    (void)state;
    loop_task_init(&task, loop, on_stop, NULL);
    CHECK_OK(loop_watch_new(loop, pair[0], LOOP_READ | LOOP_WRITE, on_free_both, NULL, &watch));
    CHECK_OK(loop_watch_new(loop, pair[1], LOOP_READ | LOOP_WRITE, on_free_both, NULL, &other));
    CHECK_INT(write(pair[0], "x", 1), 1);
    CHECK_INT(write(pair[1], "x", 1), 1);
    run();
    CHECK_STR(order, "f");
}

static void on_ready_in_round(void *arg, unsigned events)
{
    (void)arg;
    (void)events;
    note("d");
    char c;
    CHECK_INT(read(pair[0], &c, 1), 1);
    loop_task_post(&task);
    loop_timer_at(&timer, loop_now_us(loop));
}
static void on_timer_in_round(void *arg)
{
    (void)arg;
    note("t");
}
static void on_task_in_round(void *arg)
{
    (void)arg;
    note("p");
    loop_stop(loop);
}

static void a_round_is_descriptors_then_timers_then_tasks(void **state)
{
    (void)state;
    loop_task_init(&task, loop, on_task_in_round, NULL);
    loop_timer_init(&timer, loop, on_timer_in_round, NULL);
    CHECK_OK(loop_watch_new(loop, pair[0], LOOP_READ, on_ready_in_round, NULL, &watch));
    CHECK_INT(write(pair[1], "x", 1), 1);
    run();
    CHECK_STR(order, "dtp");
}

static void on_read_clock(void *arg, unsigned events)
{
    (void)events;
    int64_t *seen_us = arg;
    seen_us[0] = loop_now_us(loop);
    while (loop_fresh_now_us(loop) == seen_us[0]) { /* the real clock goes on */
    }
    seen_us[1] = loop_now_us(loop);
    loop_stop(loop);
}

static void the_time_is_read_once_per_round(void **state)
{
    (void)state;
    int64_t seen_us[2] = {0, 0};
    CHECK_OK(loop_watch_new(loop, pair[0], LOOP_WRITE, on_read_clock, seen_us, &watch));
    run();
    CHECK(seen_us[0] > 0);
    CHECK_INT(seen_us[1], seen_us[0]);
    CHECK(loop_now_us(loop) > seen_us[0]);
}

static void on_ready_set_timer(void *arg, unsigned events)
{
    (void)arg;
    (void)events;
    loop_watch_free(take(watch));
    loop_timer_in(&timer, 3 * MS_US);
}

static void a_timer_set_during_the_run_overtakes_a_longer_sleep_and_is_never_early(void **state)
{
    (void)state;
    loop_timer_init(&timer, loop, on_stop, NULL);
    CHECK_OK(loop_watch_new(loop, pair[0], LOOP_WRITE, on_ready_set_timer, NULL, &watch));
    run(); /* the first round sleeps until the guard, 30 s away */
    CHECK(loop_now_us(loop) >= timer.due_us);
}

static void a_timer_that_is_moved_back_and_forth_fires_once_at_its_last_place(void **state)
{
    (void)state;
    loop_timer_init(&timer, loop, on_stop, NULL);
    loop_timer_in(&timer, 1 * MS_US);
    loop_timer_in(&timer, 20 * MS_US);
    loop_timer_in(&timer, 4 * MS_US);
    run();
    CHECK(loop_now_us(loop) >= timer.due_us);
    CHECK(!loop_timer_pending(&timer));
}

static void on_signal(void *arg, int signo)
{
    (void)arg;
    calls += signo;
    loop_stop(loop);
}

static void a_signal_becomes_an_event(void **state)
{
    (void)state;
    CHECK_OK(loop_on_signal(loop, SIGUSR1, on_signal, NULL));
    CHECK_OK(loop_on_signal(loop, SIGHUP, on_signal, NULL));
    kill(getpid(), SIGUSR1);
    run();
    CHECK_INT(calls, SIGUSR1);
    kill(getpid(), SIGHUP);
    run();
    CHECK_INT(calls, SIGUSR1 + SIGHUP);
}

static void a_signal_that_is_held_waits_for_the_loop_instead_of_ending_the_program(void **state)
{
    (void)state;
    loop_hold_signal(SIGUSR2);
    kill(getpid(), SIGUSR2);
    CHECK_INT(calls, 0);
    CHECK_OK(loop_on_signal(loop, SIGUSR2, on_signal, NULL));
    run();
    CHECK_INT(calls, SIGUSR2);
    loop_free(take(loop)); /* nor does it end one that is closing */
    kill(getpid(), SIGUSR2);
    CHECK_INT(calls, SIGUSR2);
}

static void a_stop_before_the_run_ends_it_at_once_and_is_used_up(void **state)
{
    (void)state;
    loop_stop(loop);
    run();
    loop_task_init(&task, loop, on_stop, NULL);
    loop_task_post(&task);
    run();
}

enum { THREADS = 4, POSTS = 2000 };
struct poster {
    pthread_t thread;
    int next; /* only the loop's thread */
};
struct message {
    struct poster *from;
    int number;
};
static pthread_t loop_thread;

static void on_message(void *arg)
{
    struct message *m = arg;
    CHECK(pthread_equal(pthread_self(), loop_thread));
    CHECK_INT(m->number, m->from->next);
    m->from->next++;
    free(m);
    if (++calls == THREADS * POSTS) {
        loop_stop(loop);
    }
}

static void *post_many(void *arg)
{
    for (int i = 0; i < POSTS; i++) {
        struct message *m = malloc(sizeof(*m));
        *m = (struct message){.from = arg, .number = i};
        if (loop_post_threadsafe(loop, on_message, m) != OK) {
            abort();
        }
    }
    return NULL;
}

static void calls_from_other_threads_arrive_on_the_loop_each_threads_in_order(void **state)
{
    (void)state;
    struct poster posters[THREADS] = {0};
    loop_thread = pthread_self();
    for (size_t i = 0; i < THREADS; i++) {
        CHECK_INT(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]), 0);
    }
    run();
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(posters[i].thread, NULL);
    }
    CHECK_INT(calls, THREADS * POSTS);
}

static void on_post_again(void *arg)
{
    if (++calls == 5) {
        loop_stop(loop);
    } else {
        CHECK_OK(loop_post_threadsafe(loop, on_post_again, arg));
    }
}

static void a_posted_call_may_post_again(void **state)
{
    (void)state;
    CHECK_OK(loop_post_threadsafe(loop, on_post_again, NULL));
    run();
    CHECK_INT(calls, 5);
}

static void calls_that_never_ran_are_freed_with_the_loop(void **state)
{
    (void)state;
    CHECK_OK(loop_post_threadsafe(loop, on_post_again, NULL));
    CHECK_OK(loop_post_threadsafe(loop, on_post_again, NULL));
}

static void on_ready_run_within(void *arg, unsigned events)
{
    (void)arg;
    (void)events;
    char byte;
    CHECK_INT(read(pair[0], &byte, 1), 1);
    CHECK_INT(event_base_loop(loop_event_base(loop), EVLOOP_NONBLOCK), -1);
    loop_stop(loop);
}

/* A loop within a loop is what libevent warns of most readily. */
static void what_libevent_warns_of_becomes_a_line_of_the_log(void **state)
{
    (void)state;
    char text[1024] = "";
    int real_stderr = dup(STDERR_FILENO);
    CHECK_OK(loop_watch_new(loop, pair[0], LOOP_READ, on_ready_run_within, NULL, &watch));
    CHECK_INT(write(pair[1], "x", 1), 1);
    CHECK(dup2(pair[1], STDERR_FILENO) >= 0);
    run();
    CHECK(dup2(real_stderr, STDERR_FILENO) >= 0);
    close(real_stderr);
    CHECK(read(pair[0], text, sizeof(text) - 1) > 0);
    CHECK_CONTAINS(text, " warn ");
    CHECK_CONTAINS(text, "loop: libevent text=");
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

enum { SAYS_WHY = 10, HAS_ENOUGH = 11 };

/* With room for so many more descriptors, in a process of its own: libevent ends it when it has none for itself. */
static int loop_with_descriptors(int more)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        int next = dup(STDERR_FILENO);
        close(next);
        (void)setrlimit(RLIMIT_NOFILE, &(struct rlimit){.rlim_cur = (rlim_t)(next + more), .rlim_max = (rlim_t)(next + more)});
        struct loop *second = NULL;
        enum err err = loop_new(&second);
        _exit(err == OK ? HAS_ENOUGH : err == ERR_IO && errno == EMFILE ? SAYS_WHY : 1);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}

static void without_descriptors_there_is_no_loop_and_errno_says_why(void **state)
{
    (void)state;
    unsigned said = 0;
    int more = 0;
    for (int code = 0; code != HAS_ENOUGH; more++) {
        CHECK(more < 32);
        code = loop_with_descriptors(more);
        said += code == SAYS_WHY;
    }
    CHECK(said > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_descriptors_there_is_no_loop_and_errno_says_why),
        TEST(a_readable_descriptor_is_reported_until_it_is_read),
        TEST(interest_in_writing_is_turned_on_and_off),
        TEST(a_hang_up_shows_as_readable),
        TEST(a_watch_may_free_itself_and_others_that_are_ready),
        TEST(a_round_is_descriptors_then_timers_then_tasks),
        TEST(the_time_is_read_once_per_round),
        TEST(a_timer_set_during_the_run_overtakes_a_longer_sleep_and_is_never_early),
        TEST(a_timer_that_is_moved_back_and_forth_fires_once_at_its_last_place),
        TEST(a_signal_becomes_an_event),
        TEST(a_signal_that_is_held_waits_for_the_loop_instead_of_ending_the_program),
        TEST(a_stop_before_the_run_ends_it_at_once_and_is_used_up),
        TEST(calls_from_other_threads_arrive_on_the_loop_each_threads_in_order),
        TEST(a_posted_call_may_post_again),
        TEST(calls_that_never_ran_are_freed_with_the_loop),
        TEST(what_libevent_warns_of_becomes_a_line_of_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
