/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop - the calls that both implementations answer: clock, wall clock, random numbers, timers.
 */
#include "core/loop/loop_internal.h"

#include <time.h>

void loop_free(struct loop *loop)
{
    if (loop == NULL) {
        return;
    }
    if (loop->world != NULL) {
        virtual_free(loop);
    } else {
        real_free(loop);
    }
}

int64_t loop_fresh_now_us(struct loop *loop)
{
    return loop->world != NULL ? loop_world_now_us(loop->world) : real_clock_us();
}

int64_t loop_now_us(struct loop *loop)
{
    if (loop->world != NULL) {
        return loop_world_now_us(loop->world);
    }
    if (!loop->running) {
        return real_clock_us();
    }
    if (loop->now_us == 0) {
        loop->now_us = real_clock_us();
    }
    return loop->now_us;
}

int64_t loop_wall_us(struct loop *loop)
{
    if (loop->world != NULL) {
        return loop_world_now_us(loop->world) + loop->wall_offset_us;
    }
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * SECOND_US + ts.tv_nsec / 1000;
}

uint64_t loop_random(struct loop *loop)
{
    uint64_t v = 0;
    while (v == 0) {
        if (loop->world != NULL) {
            v = virtual_random(&loop->random_state);
        } else if (loop->random_left > 0 || real_random_refill(loop)) {
            v = loop->random[--loop->random_left];
            loop->random[loop->random_left] = 0; /* what was handed out is not kept */
        } else {
            loop_die("the kernel gives no random numbers");
        }
    }
    return v;
}

void loop_timer_init(struct loop_timer *t, struct loop *loop, void (*fn)(void *arg), void *arg)
{
    *t = (struct loop_timer){.loop = loop, .fn = fn, .arg = arg};
}

void loop_timer_at(struct loop_timer *t, int64_t due_us)
{
    t->due_us = due_us;
    /* A timer that sets itself into the past over and over must not stand before others that are due: it queues. */
    sched_set(t->loop->sched, t, max_i64(due_us, loop_now_us(t->loop)));
}

void loop_timer_in(struct loop_timer *t, int64_t delay_us)
{
    int64_t now_us = loop_now_us(t->loop);
    loop_timer_at(t, delay_us > INT64_MAX - now_us ? INT64_MAX : now_us + max_i64(delay_us, 0));
}

void loop_timer_cancel(struct loop_timer *t)
{
    if (t->heap_slot != 0) {
        sched_remove(t->loop->sched, t);
    }
}
