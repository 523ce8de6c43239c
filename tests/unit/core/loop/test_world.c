/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: virtual time jumps, several nodes share it but not their wall clocks and random streams, workers finish after
 * their latency in order, and a run is repeated bit for bit for the same seed.
 */
#include "core/loop/loop.h"

#include "tests/support/check.h"

static struct loop_world *world;
static struct loop *a, *b;
static struct loop_worker *worker;
static struct loop_timer timer, other;
static int64_t seen_us[16];
static size_t seen;
static int worked;

static int set_up(void **state)
{
    (void)state;
    CHECK_OK(loop_world_new(42, &world));
    CHECK_OK(loop_new_virtual(world, &a));
    CHECK_OK(loop_new_virtual(world, &b));
    worker = NULL;
    seen = 0;
    worked = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    loop_worker_free(worker);
    loop_free(a);
    loop_free(b);
    loop_world_free(world);
    return 0;
}

static void on_see(void *arg)
{
    CHECK(seen < COUNT_OF(seen_us));
    seen_us[seen++] = loop_now_us(arg);
}

static void a_week_passes_at_once(void **state)
{
    (void)state;
    CHECK_INT(loop_world_now_us(world), 1);
    loop_timer_init(&timer, a, on_see, a);
    loop_timer_init(&other, b, on_see, b);
    loop_timer_at(&timer, 7 * DAY_US);
    loop_timer_at(&other, HOUR_US);
    loop_world_run(world, 7 * DAY_US - 1);
    CHECK_INT(seen, 1);
    CHECK_INT(loop_now_us(a), 7 * DAY_US - 1);
    loop_world_run(world, 7 * DAY_US); /* up to and including */
    CHECK_INT(seen, 2);
    CHECK_INT(seen_us[0], HOUR_US);
    CHECK_INT(seen_us[1], 7 * DAY_US);
    loop_world_run(world, DAY_US); /* no way back */
    CHECK_INT(loop_world_now_us(world), 7 * DAY_US);
}

static void a_step_is_one_event_and_leaves_the_time_at_it(void **state)
{
    (void)state;
    loop_timer_init(&timer, a, on_see, a);
    loop_timer_init(&other, b, on_see, b);
    loop_timer_at(&timer, 10);
    loop_timer_at(&other, 10);
    CHECK(!loop_world_step(world, 9));
    CHECK_INT(loop_world_now_us(world), 1);
    CHECK(loop_world_step(world, 100));
    CHECK_INT(seen, 1);
    CHECK_INT(loop_world_now_us(world), 10);
    CHECK(loop_world_step(world, 100));
    CHECK(!loop_world_step(world, 100));
    CHECK_INT(loop_world_now_us(world), 10);
}

static void each_node_has_its_own_wall_clock(void **state)
{
    (void)state;
    const int64_t new_year_us = INT64_C(1767225600) * SECOND_US;
    CHECK_INT(loop_wall_us(a), new_year_us);
    loop_world_run(world, 1 + HOUR_US);
    CHECK_INT(loop_wall_us(a), new_year_us + HOUR_US);
    loop_set_wall(a, 5);
    CHECK_INT(loop_wall_us(a), 5);
    CHECK_INT(loop_wall_us(b), new_year_us + HOUR_US);
    loop_world_run(world, 1 + 2 * HOUR_US);
    CHECK_INT(loop_wall_us(a), 5 + HOUR_US);
    CHECK_INT(loop_now_us(a), 1 + 2 * HOUR_US);
}

static void each_node_has_its_own_random_stream_made_from_the_seed(void **state)
{
    (void)state;
    struct loop_world *again, *different;
    struct loop *first, *second, *stranger;
    CHECK_OK(loop_world_new(42, &again));
    CHECK_OK(loop_world_new(43, &different));
    CHECK_OK(loop_new_virtual(again, &first));
    CHECK_OK(loop_new_virtual(again, &second));
    CHECK_OK(loop_new_virtual(different, &stranger));
    for (int i = 0; i < 100; i++) {
        uint64_t from_a = loop_random(a), from_b = loop_random(b);
        CHECK(from_a != from_b);
        CHECK(loop_random(stranger) != from_a);
        CHECK(loop_world_random(world) == loop_world_random(again));
        CHECK(loop_random(second) == from_b); /* not disturbed by what the other node draws */
        CHECK(loop_random(first) == from_a);
    }
    loop_free(first);
    loop_free(second);
    loop_free(stranger);
    loop_world_free(again);
    loop_world_free(different);
}

static void work(void *arg)
{
    (void)arg;
    worked++;
}

static void jobs_take_their_latency_one_after_the_other(void **state)
{
    (void)state;
    loop_set_worker_latency(a, 100);
    CHECK_OK(loop_worker_new(a, "disk", &worker));
    loop_set_worker_latency(a, 7); /* for later workers only */
    for (int i = 0; i < 3; i++) {
        CHECK_OK(loop_offload(worker, work, on_see, a));
    }
    CHECK_INT(worked, 3);
    CHECK_INT(seen, 0);
    CHECK_INT(loop_worker_pending(worker), 3);
    loop_world_run(world, 1000);
    CHECK_OK(loop_offload(worker, work, on_see, a));
    loop_world_run(world, 2000);
    int64_t expected[] = {101, 201, 301, 1100};
    CHECK_INT(seen, COUNT_OF(expected));
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        CHECK_INT(seen_us[i], expected[i]);
    }
    CHECK_INT(loop_worker_pending(worker), 0);
}

static void without_latency_done_still_comes_after_the_present_event(void **state)
{
    (void)state;
    CHECK_OK(loop_worker_new(a, "disk", &worker));
    CHECK_OK(loop_offload(worker, work, on_see, a));
    CHECK_INT(seen, 0);
    CHECK(loop_world_step(world, loop_world_now_us(world)));
    CHECK_INT(seen, 1);
}

static void on_done_free(void *arg)
{
    on_see(arg);
    loop_worker_free(take(worker));
}

static void no_done_comes_after_free_even_from_within_done(void **state)
{
    (void)state;
    loop_set_worker_latency(a, 100);
    CHECK_OK(loop_worker_new(a, "disk", &worker));
    for (int i = 0; i < 3; i++) {
        CHECK_OK(loop_offload(worker, work, on_done_free, a));
    }
    loop_world_run(world, SECOND_US);
    CHECK_INT(seen, 1);
    CHECK_OK(loop_worker_new(b, "disk", &worker));
    CHECK_OK(loop_offload(worker, work, on_see, b));
    loop_worker_free(take(worker));
    loop_world_run(world, 2 * SECOND_US);
    CHECK_INT(seen, 1);
}

static void on_watch(void *arg, unsigned events)
{
    (void)arg;
    (void)events;
}
static void on_signal(void *arg, int signo)
{
    (void)arg;
    (void)signo;
}

static void what_only_a_real_loop_has_is_refused(void **state)
{
    (void)state;
    struct loop_watch *watch = NULL;
    CHECK_ERR(loop_run(a), ERR_UNSUPPORTED);
    CHECK_ERR(loop_watch_new(a, 0, LOOP_READ, on_watch, NULL, &watch), ERR_UNSUPPORTED);
    CHECK_ERR(loop_on_signal(a, 1, on_signal, NULL), ERR_UNSUPPORTED);
    CHECK_ERR(loop_post_threadsafe(a, on_see, a), ERR_UNSUPPORTED);
    CHECK(loop_event_base(a) == NULL);
    loop_stop(a);
}

/* Two nodes that disturb each other: timers, tasks and jobs chosen at random. The digest covers every event. */
enum { NODES = 5 };
struct node {
    struct loop *loop;
    struct loop_worker *worker;
    struct loop_timer timer;
    struct loop_task task;
};
static struct node nodes[NODES];
static uint64_t digest;
static struct loop_world *chaos;

static void on_event(void *arg)
{
    struct node *n = arg;
    uint64_t r = loop_random(n->loop);
    digest = mix_u64(digest ^ (uint64_t)loop_now_us(n->loop) ^ mix_u64((uint64_t)(n - nodes)) ^ r);
    struct node *peer = &nodes[r % NODES];
    loop_timer_in(&n->timer, (int64_t)(r >> 8 & 7));
    if (r >> 16 & 1) {
        loop_timer_in(&peer->timer, (int64_t)(r >> 24 & 7));
    }
    if ((r >> 32 & 7) == 0 && loop_worker_pending(peer->worker) < 3) {
        CHECK_OK(loop_offload(peer->worker, work, on_event, peer));
    }
    if ((r >> 40 & 3) == 0) {
        loop_task_post(&peer->task);
    }
}

static uint64_t run_chaos(uint64_t seed)
{
    CHECK_OK(loop_world_new(seed, &chaos));
    digest = 0;
    for (size_t i = 0; i < NODES; i++) {
        CHECK_OK(loop_new_virtual(chaos, &nodes[i].loop));
        loop_set_worker_latency(nodes[i].loop, 3);
        CHECK_OK(loop_worker_new(nodes[i].loop, "w", &nodes[i].worker));
        loop_timer_init(&nodes[i].timer, nodes[i].loop, on_event, &nodes[i]);
        loop_task_init(&nodes[i].task, nodes[i].loop, on_event, &nodes[i]);
        loop_timer_in(&nodes[i].timer, 5);
    }
    loop_world_run(chaos, 20000);
    for (size_t i = 0; i < NODES; i++) {
        loop_timer_cancel(&nodes[i].timer);
        loop_task_cancel(&nodes[i].task);
        loop_worker_free(nodes[i].worker);
        loop_free(nodes[i].loop);
    }
    loop_world_free(chaos);
    return digest;
}

static void the_same_seed_gives_the_same_run(void **state)
{
    (void)state;
    uint64_t first = run_chaos(7);
    CHECK(run_chaos(7) == first);
    CHECK(run_chaos(8) != first);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_week_passes_at_once),
        TEST(a_step_is_one_event_and_leaves_the_time_at_it),
        TEST(each_node_has_its_own_wall_clock),
        TEST(each_node_has_its_own_random_stream_made_from_the_seed),
        TEST(jobs_take_their_latency_one_after_the_other),
        TEST(without_latency_done_still_comes_after_the_present_event),
        TEST(no_done_comes_after_free_even_from_within_done),
        TEST(what_only_a_real_loop_has_is_refused),
        TEST(the_same_seed_gives_the_same_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
