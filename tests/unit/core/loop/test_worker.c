/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: work runs on the worker's thread, done on the loop's, in order; after loop_worker_free no done comes, wherever
 * the job was. A worker whose job does not return can be let go, and frees itself when it does. Gates (semaphores) hold
 * jobs where a test wants them, so that nothing rests on timing.
 */
#include "core/loop/loop.h"

#include <pthread.h>
#include <semaphore.h>

#include "tests/support/check.h"

enum { JOBS = 500 };

static struct loop *loop;
static struct loop_worker *worker;
static struct loop_timer guard;
static struct loop_task task;
static pthread_t loop_thread;
static sem_t started, gate;
static int worked, finished; /* worked: the worker's thread until the join or the last done */

struct job {
    int number;
    bool worked;
};
static struct job jobs[JOBS];

static void on_guard(void *arg)
{
    (void)arg;
    fail_msg("the loop hangs");
}

static int set_up(void **state)
{
    (void)state;
    CHECK_OK(loop_new(&loop));
    CHECK_OK(loop_worker_new(loop, "a-name-longer-than-sixteen", &worker));
    loop_timer_init(&guard, loop, on_guard, NULL);
    loop_timer_in(&guard, 30 * SECOND_US);
    loop_thread = pthread_self();
    sem_init(&started, 0, 0);
    sem_init(&gate, 0, 0);
    worked = finished = 0;
    for (int i = 0; i < JOBS; i++) {
        jobs[i] = (struct job){.number = i};
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    loop_worker_free(worker);
    loop_timer_cancel(&guard);
    loop_free(loop);
    sem_destroy(&started);
    sem_destroy(&gate);
    return 0;
}

static void work(void *arg)
{
    struct job *job = arg;
    if (pthread_equal(pthread_self(), loop_thread) || job->number != worked) {
        abort();
    }
    worked++;
    job->worked = true;
}

static void done(void *arg)
{
    struct job *job = arg;
    CHECK(pthread_equal(pthread_self(), loop_thread));
    CHECK(job->worked);
    CHECK_INT(job->number, finished);
    finished++;
    CHECK_INT(loop_worker_pending(worker), JOBS - finished);
    if (finished == JOBS) {
        loop_stop(loop);
    }
}

static void jobs_are_done_in_order_each_on_its_thread(void **state)
{
    (void)state;
    for (size_t i = 0; i < JOBS; i++) {
        CHECK_OK(loop_offload(worker, work, done, &jobs[i]));
    }
    CHECK_INT(loop_worker_pending(worker), JOBS);
    CHECK_OK(loop_run(loop));
    CHECK_INT(finished, JOBS);
    CHECK_INT(worked, JOBS);
}

static void work_at_gate(void *arg)
{
    (void)arg;
    sem_post(&started);
    sem_wait(&gate);
    worked++;
}
static void never(void *arg)
{
    (void)arg;
    fail_msg("done of a freed worker");
}
static void on_stop(void *arg)
{
    (void)arg;
    loop_stop(loop);
}
static void run_some_rounds(void)
{
    loop_task_init(&task, loop, on_stop, NULL);
    for (int i = 0; i < 3; i++) {
        loop_task_post(&task);
        CHECK_OK(loop_run(loop));
    }
}

static void free_waits_for_the_job_in_hand_and_drops_the_rest(void **state)
{
    (void)state;
    CHECK_OK(loop_offload(worker, work_at_gate, never, NULL));
    CHECK_OK(loop_offload(worker, work_at_gate, never, NULL));
    sem_wait(&started); /* the first is in hand, the second is queued */
    sem_post(&gate);
    sem_post(&gate); /* the thread may come to the second before it is told to stop */
    loop_worker_free(take(worker));
    CHECK(worked == 1 || worked == 2);
    run_some_rounds();
}

static void signal_done(void *arg)
{
    (void)arg;
    sem_post(&started);
}

static void results_that_wait_for_the_loop_are_dropped_too(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        CHECK_OK(loop_offload(worker, signal_done, never, NULL));
    }
    for (int i = 0; i < 10; i++) {
        sem_wait(&started); /* each has worked; nine at least are posted to the loop */
    }
    loop_worker_free(take(worker));
    run_some_rounds();
}

static void on_done_free(void *arg)
{
    (void)arg;
    finished++;
    loop_worker_free(take(worker));
    loop_stop(loop);
}

static void done_may_free_its_worker_while_others_results_wait(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        CHECK_OK(loop_offload(worker, signal_done, on_done_free, NULL));
    }
    for (int i = 0; i < 10; i++) {
        sem_wait(&started);
    }
    CHECK_OK(loop_run(loop));
    run_some_rounds();
    CHECK_INT(finished, 1);
}

static void on_done_again(void *arg)
{
    struct job *job = arg;
    CHECK_INT(job->number, finished);
    finished++;
    if (finished == 20) {
        loop_stop(loop);
    } else {
        CHECK_OK(loop_offload(worker, work, on_done_again, &jobs[finished]));
    }
}

static void done_may_offload_again(void **state)
{
    (void)state;
    CHECK_OK(loop_offload(worker, work, on_done_again, &jobs[0]));
    CHECK_OK(loop_run(loop));
    CHECK_INT(finished, 20);
    CHECK_INT(loop_worker_pending(worker), 0);
}

static void work_here(void *arg)
{
    struct job *job = arg;
    CHECK(pthread_equal(pthread_self(), loop_thread));
    CHECK_INT(job->number, worked);
    worked++;
    job->worked = true;
}

static void a_worker_without_a_thread_works_at_once_and_tells_in_order_after_its_latency(void **state)
{
    (void)state;
    loop_worker_free(take(worker));
    loop_set_worker_latency(loop, 100);
    CHECK_OK(loop_worker_new_inline(loop, &worker));
    int64_t begun_us = loop_now_us(loop);
    for (int i = 0; i < JOBS; i++) {
        CHECK_OK(loop_offload(worker, work_here, done, &jobs[i]));
        CHECK_INT(worked, i + 1);
    }
    CHECK_INT(finished, 0); /* never from within the call */
    CHECK_OK(loop_run(loop));
    CHECK_INT(finished, JOBS);
    CHECK(loop_now_us(loop) - begun_us >= JOBS * 100); /* one after the other */
}

static void a_worker_without_a_thread_drops_what_waits_when_it_is_freed(void **state)
{
    (void)state;
    loop_worker_free(take(worker));
    CHECK_OK(loop_worker_new_inline(loop, &worker));
    CHECK_OK(loop_offload(worker, work_here, on_done_free, &jobs[0]));
    CHECK_OK(loop_offload(worker, work_here, never, &jobs[1]));
    CHECK_OK(loop_run(loop));
    run_some_rounds();
    CHECK_INT(finished, 1);
}

/* ---- letting go ---- */
static sem_t released;
static void *released_arg;

static void on_release(void *arg)
{
    released_arg = arg;
    sem_post(&released);
}

static void wait_at_gate(void *arg)
{
    (void)arg;
    sem_post(&started);
    sem_wait(&gate);
}

static void no_done(void *arg)
{
    (void)arg;
    fail_msg("done is called");
}

static void a_worker_whose_job_does_not_return_is_let_go(void **state)
{
    (void)state;
    sem_init(&released, 0, 0);
    CHECK_OK(loop_offload(worker, wait_at_gate, no_done, &jobs[0]));
    CHECK_OK(loop_offload(worker, wait_at_gate, no_done, &jobs[1])); /* is dropped */
    sem_wait(&started);
    CHECK(loop_worker_leave(worker, 0, on_release));
    worker = NULL;
    loop_timer_cancel(&guard);
    loop_free(loop); /* nobody needs it any more */
    CHECK_OK(loop_new(&loop));
    loop_timer_init(&guard, loop, on_guard, NULL);
    loop_timer_in(&guard, 30 * SECOND_US);
    sem_post(&gate);
    sem_wait(&released);
    CHECK(released_arg == &jobs[0]);
    sem_destroy(&released);
}

static void on_last_done(void *arg)
{
    (void)arg;
    finished++;
    loop_stop(loop);
}

static void at_once(void *arg)
{
    (void)arg;
}

static void a_worker_that_gets_to_its_end_in_time_is_not_let_go(void **state)
{
    (void)state;
    CHECK(!loop_worker_leave(worker, 0, on_release));
    CHECK_OK(loop_offload(worker, at_once, on_last_done, NULL));
    CHECK(!loop_worker_leave(worker, 30 * SECOND_US, on_release));
    CHECK_OK(loop_run(loop));
    CHECK_INT(finished, 1);
}

static void a_virtual_worker_is_let_go_at_once(void **state)
{
    CLEANUP(loop_world_freep) struct loop_world *world = NULL;
    CLEANUP(loop_freep) struct loop *virtual = NULL;
    struct loop_worker *w = NULL;
    (void)state;
    sem_init(&released, 0, 0);
    CHECK_OK(loop_world_new(1, &world));
    CHECK_OK(loop_new_virtual(world, &virtual));
    loop_set_worker_latency(virtual, SECOND_US);
    CHECK_OK(loop_worker_new(virtual, "w", &w));
    CHECK(!loop_worker_leave(w, 0, on_release));
    CHECK_OK(loop_offload(w, at_once, no_done, &jobs[2]));
    CHECK(loop_worker_leave(w, 0, on_release));
    CHECK_INT(sem_trywait(&released), 0);
    CHECK(released_arg == &jobs[2]);
    loop_world_run(world, 10 * SECOND_US);
    sem_destroy(&released);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(jobs_are_done_in_order_each_on_its_thread),
        TEST(free_waits_for_the_job_in_hand_and_drops_the_rest),
        TEST(results_that_wait_for_the_loop_are_dropped_too),
        TEST(done_may_free_its_worker_while_others_results_wait),
        TEST(done_may_offload_again),
        TEST(a_worker_without_a_thread_works_at_once_and_tells_in_order_after_its_latency),
        TEST(a_worker_without_a_thread_drops_what_waits_when_it_is_freed),
        TEST(a_worker_whose_job_does_not_return_is_let_go),
        TEST(a_worker_that_gets_to_its_end_in_time_is_not_let_go),
        TEST(a_virtual_worker_is_let_go_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
