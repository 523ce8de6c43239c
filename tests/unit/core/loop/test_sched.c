/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: timers and tasks fire in the promised order and may be set, moved and cancelled at any moment, also from their
 * own callback, on real and virtual loops alike: every test runs on both.
 */
#include "core/loop/loop.h"

#include "tests/support/check.h"

enum { MANY = 500 };

struct bed {
    struct loop_world *world; /* NULL: real */
    struct loop *loop;
    struct loop_timer timers[MANY];
    struct loop_task tasks[8];
    struct loop_timer guard;
    int log[MANY * 4];
    size_t logged;
    int again; /* how often a callback repeats itself */
};
static struct bed bed;

static void on_guard(void *arg)
{
    (void)arg;
    loop_stop(bed.loop);
}

static int set_up(struct loop_world *world)
{
    bed = (struct bed){.world = world};
    CHECK_OK(world ? loop_new_virtual(world, &bed.loop) : loop_new(&bed.loop));
    loop_timer_init(&bed.guard, bed.loop, on_guard, NULL);
    return 0;
}
static int set_up_real(void **state)
{
    (void)state;
    return set_up(NULL);
}
static int set_up_virtual(void **state)
{
    (void)state;
    struct loop_world *world;
    CHECK_OK(loop_world_new(1, &world));
    return set_up(world);
}
static int tear_down(void **state)
{
    (void)state;
    loop_free(bed.loop);
    loop_world_free(bed.world);
    return 0;
}

/* Runs for delay_us; whatever is due at the same moment has run, because the guard is set last. */
static void run_for(int64_t delay_us)
{
    if (bed.world != NULL) {
        loop_world_run(bed.world, loop_now_us(bed.loop) + delay_us);
        return;
    }
    loop_timer_in(&bed.guard, delay_us);
    CHECK_OK(loop_run(bed.loop));
}

static void note(int what)
{
    CHECK(bed.logged < COUNT_OF(bed.log));
    bed.log[bed.logged++] = what;
}
static void on_timer(void *arg)
{
    note((int)((struct loop_timer *)arg - bed.timers));
}
static void on_task(void *arg)
{
    note(1000 + (int)((struct loop_task *)arg - bed.tasks));
}

static struct loop_timer *timer(size_t i)
{
    loop_timer_init(&bed.timers[i], bed.loop, on_timer, &bed.timers[i]);
    return &bed.timers[i];
}
static struct loop_task *task(size_t i)
{
    loop_task_init(&bed.tasks[i], bed.loop, on_task, &bed.tasks[i]);
    return &bed.tasks[i];
}

static void timers_fire_by_time_and_then_in_the_order_they_were_set(void **state)
{
    (void)state;
    int64_t start_us = loop_now_us(bed.loop) + 300000; /* all are set before the first is due, on any machine */
    for (size_t i = 0; i < MANY; i++) {
        loop_timer_at(timer(i), start_us + (int64_t)(mix_u64(i) % 20));
    }
    for (size_t i = 0; i < MANY; i += 3) { /* moved: now last among their equals */
        loop_timer_at(&bed.timers[i], start_us + (int64_t)(mix_u64(i + 7000) % 20));
    }
    for (size_t i = 1; i < MANY; i += 5) {
        loop_timer_cancel(&bed.timers[i]);
        CHECK(!loop_timer_pending(&bed.timers[i]));
    }
    run_for(350000);
    size_t expected = 0;
    for (size_t i = 0; i < MANY; i++) {
        expected += i % 5 != 1;
    }
    CHECK_INT(bed.logged, expected);
    for (size_t i = 1; i < bed.logged; i++) {
        const struct loop_timer *a = &bed.timers[bed.log[i - 1]], *b = &bed.timers[bed.log[i]];
        CHECK(a->due_us <= b->due_us);
        bool moved_a = bed.log[i - 1] % 3 == 0, moved_b = bed.log[i] % 3 == 0;
        if (a->due_us == b->due_us) {
            CHECK(moved_a == moved_b ? bed.log[i - 1] < bed.log[i] : moved_b);
        }
    }
}

static void on_reset_into_the_past(void *arg)
{
    struct loop_timer *t = arg;
    note((int)(t - bed.timers));
    if (bed.again-- > 0) {
        loop_timer_at(t, 1);
    }
}

static void a_timer_that_sets_itself_into_the_past_holds_nobody_up(void **state)
{
    (void)state;
    int64_t now_us = loop_now_us(bed.loop);
    bed.again = 3;
    loop_timer_at(timer(0), now_us);
    bed.timers[0].fn = on_reset_into_the_past;
    loop_timer_at(timer(1), now_us);
    loop_timer_at(timer(2), 1); /* long past: in the order of setting, too */
    run_for(1000);
    CHECK_INT(bed.logged, 6);
    int expected[] = {0, 1, 2, 0, 0, 0};
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        CHECK_INT(bed.log[i], expected[i]);
    }
    CHECK_INT(bed.timers[2].due_us, 1);
}

static void on_past_for_ever(void *arg)
{
    CHECK(bed.again++ < 1000);
    loop_timer_at(arg, 1);
    loop_task_post(&bed.tasks[0]);
}
static void on_end_of_round(void *arg)
{
    on_task(arg);
    loop_timer_cancel(&bed.timers[0]);
}

static void a_timer_that_sets_itself_into_the_past_does_not_keep_the_round_from_ending(void **state)
{
    (void)state;
    loop_timer_at(timer(0), 1);
    bed.timers[0].fn = on_past_for_ever;
    task(0)->fn = on_end_of_round;
    run_for(1000);
    CHECK_INT(bed.logged, 1);
    CHECK_INT(bed.again, 1);
}

static void on_cancel_next(void *arg)
{
    struct loop_timer *t = arg;
    on_timer(arg);
    loop_timer_cancel(t);
    loop_timer_cancel(t + 1);
    loop_task_cancel(&bed.tasks[0]);
}

static void a_callback_may_cancel_what_is_due_beside_it(void **state)
{
    (void)state;
    int64_t due_us = loop_now_us(bed.loop) + 10;
    for (size_t i = 0; i < 3; i++) {
        loop_timer_at(timer(i), due_us);
    }
    bed.timers[0].fn = on_cancel_next;
    loop_task_post(task(0));
    loop_task_cancel(&bed.tasks[0]);
    run_for(1000);
    CHECK_INT(bed.logged, 2);
    CHECK_INT(bed.log[0], 0);
    CHECK_INT(bed.log[1], 2);
}

static void cancelling_what_is_idle_or_zeroed_does_nothing(void **state)
{
    (void)state;
    struct loop_timer zeroed = {0};
    struct loop_task zeroed_task = {0};
    loop_timer_cancel(&zeroed);
    loop_task_cancel(&zeroed_task);
    loop_timer_cancel(timer(0));
    loop_timer_at(&bed.timers[0], 1);
    run_for(1000);
    loop_timer_cancel(&bed.timers[0]);
    CHECK_INT(bed.logged, 1);
}

static void on_post_tasks(void *arg)
{
    on_timer(arg);
    loop_task_post(&bed.tasks[0]);
    loop_task_post(&bed.tasks[1]);
    loop_task_post(&bed.tasks[0]); /* twice: once */
}

static void tasks_run_after_the_event_in_order_and_once(void **state)
{
    (void)state;
    task(0);
    task(1);
    loop_timer_at(timer(0), loop_now_us(bed.loop) + 10);
    bed.timers[0].fn = on_post_tasks;
    run_for(1000);
    int expected[] = {0, 1000, 1001};
    CHECK_INT(bed.logged, COUNT_OF(expected));
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        CHECK_INT(bed.log[i], expected[i]);
    }
}

static void on_task_again(void *arg)
{
    on_task(arg);
    if (bed.again-- > 0) {
        loop_task_post(arg);
        loop_timer_at(&bed.timers[0], 1);
    }
}

static void a_task_that_posts_itself_runs_in_the_next_round(void **state)
{
    (void)state;
    bed.again = 2;
    timer(0);
    loop_task_post(task(0));
    bed.tasks[0].fn = on_task_again;
    loop_task_post(task(1));
    run_for(1000);
    int expected[] = {1000, 1001, 0, 1000, 0, 1000}; /* a due timer comes before the next round's tasks */
    CHECK_INT(bed.logged, COUNT_OF(expected));
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        CHECK_INT(bed.log[i], expected[i]);
    }
}

static void on_task_cancels_the_other(void *arg)
{
    on_task(arg);
    loop_task_cancel(&bed.tasks[1]);
    loop_task_post(&bed.tasks[2]); /* is in this round already: stays where it is */
}

static void a_task_may_cancel_another_of_the_same_round(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        loop_task_post(task(i));
    }
    bed.tasks[0].fn = on_task_cancels_the_other;
    run_for(1000);
    CHECK_INT(bed.logged, 2);
    CHECK_INT(bed.log[0], 1000);
    CHECK_INT(bed.log[1], 1002);
    CHECK(!bed.tasks[1].posted);
}

static void delays_beyond_all_time_and_negative_ones_are_taken(void **state)
{
    (void)state;
    loop_timer_in(timer(0), INT64_MAX);
    loop_timer_in(timer(1), -5);
    run_for(1000);
    CHECK_INT(bed.logged, 1);
    CHECK_INT(bed.log[0], 1);
    CHECK(loop_timer_pending(&bed.timers[0]));
    loop_timer_cancel(&bed.timers[0]);
}

static void random_numbers_differ_and_are_never_zero(void **state)
{
    (void)state;
    uint64_t seen[MANY];
    for (size_t i = 0; i < MANY; i++) {
        seen[i] = loop_random(bed.loop);
        CHECK(seen[i] != 0);
        for (size_t k = 0; k < i; k++) {
            CHECK(seen[i] != seen[k]);
        }
    }
}

static void the_clock_is_positive_and_does_not_go_back(void **state)
{
    (void)state;
    int64_t last_us = 0;
    for (int i = 0; i < 1000; i++) {
        int64_t now_us = i % 2 ? loop_now_us(bed.loop) : loop_fresh_now_us(bed.loop);
        CHECK(now_us > 0 && now_us >= last_us);
        last_us = now_us;
    }
    CHECK(loop_wall_us(bed.loop) > INT64_C(1700000000) * SECOND_US);
}

#define BOTH(test)                                                                                                     \
    {"real: " #test, test, set_up_real, tear_down, NULL}, {"virtual: " #test, test, set_up_virtual, tear_down, NULL}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(timers_fire_by_time_and_then_in_the_order_they_were_set),
        BOTH(a_timer_that_sets_itself_into_the_past_holds_nobody_up),
        BOTH(a_timer_that_sets_itself_into_the_past_does_not_keep_the_round_from_ending),
        BOTH(a_callback_may_cancel_what_is_due_beside_it),
        BOTH(cancelling_what_is_idle_or_zeroed_does_nothing),
        BOTH(tasks_run_after_the_event_in_order_and_once),
        BOTH(a_task_that_posts_itself_runs_in_the_next_round),
        BOTH(a_task_may_cancel_another_of_the_same_round),
        BOTH(delays_beyond_all_time_and_negative_ones_are_taken),
        BOTH(random_numbers_differ_and_are_never_zero),
        BOTH(the_clock_is_positive_and_does_not_go_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
