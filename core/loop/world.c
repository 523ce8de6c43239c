/* SPDX-License-Identifier: Apache-2.0 */
/*
 * world - virtual time: several nodes' loops over one heap of timers and one queue of tasks.
 *
 * A step fires one timer (time jumps to it), then runs the tasks posted so far; time stands still while tasks wait.
 * Nothing but the seed and the calls made decides what happens, so that a run is repeated bit for bit. A task that
 * posts itself for ever keeps the time from moving, as it would keep a real loop from sleeping.
 */
#include "core/loop/loop_internal.h"

#include <assert.h>

#define WORLD_START_US INT64_C(1)
#define WALL_START_US (INT64_C(1767225600) * SECOND_US) /* 2026-01-01T00:00:00Z */

struct loop_world {
    struct sched sched;
    int64_t now_us;
    uint64_t seed, random_state;
    uint64_t nodes_made;
    size_t nodes;
};

uint64_t virtual_random(uint64_t *state)
{
    uint64_t v = mix_u64(*state);
    *state += UINT64_C(0x9e3779b97f4a7c15); /* the step that mix_u64 expects: together this is splitmix64 */
    return v;
}

enum err loop_world_new(uint64_t seed, struct loop_world **ret_world)
{
    struct loop_world *world = calloc(1, sizeof(*world));
    if (world == NULL) {
        return ERR_NOMEM;
    }
    sched_init(&world->sched);
    world->now_us = WORLD_START_US;
    world->seed = seed;
    world->random_state = mix_u64(mix_u64(seed));
    *ret_world = world;
    return OK;
}

void loop_world_free(struct loop_world *world)
{
    if (world == NULL) {
        return;
    }
    assert(world->nodes == 0);
    sched_deinit(&world->sched);
    free(world);
}

enum err loop_new_virtual(struct loop_world *world, struct loop **ret_loop)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    if (loop == NULL) {
        return ERR_NOMEM;
    }
    loop->world = world;
    loop->sched = &world->sched;
    loop->wall_offset_us = WALL_START_US - WORLD_START_US;
    loop->random_state = mix_u64(mix_u64(world->seed) ^ mix_u64(++world->nodes_made));
    world->nodes++;
    *ret_loop = loop;
    return OK;
}

void virtual_free(struct loop *loop)
{
    assert(loop->pending == 0);
    loop->world->nodes--;
    free(loop);
}

bool loop_world_step(struct loop_world *world, int64_t until_us)
{
    int64_t next_us = sched_next_us(&world->sched);
    bool tasks = sched_has_tasks(&world->sched);
    if (next_us <= world->now_us || (!tasks && next_us <= until_us)) {
        world->now_us = max_i64(world->now_us, next_us);
        sched_fire(&world->sched);
    } else if (!tasks) {
        return false;
    }
    sched_run_tasks(&world->sched);
    return true;
}

void loop_world_run(struct loop_world *world, int64_t until_us)
{
    while (loop_world_step(world, until_us)) {
    }
    world->now_us = max_i64(world->now_us, until_us);
}

int64_t loop_world_now_us(const struct loop_world *world)
{
    return world->now_us;
}

uint64_t loop_world_random(struct loop_world *world)
{
    uint64_t v = virtual_random(&world->random_state);
    return v ? v : virtual_random(&world->random_state);
}

void loop_set_wall(struct loop *loop, int64_t wall_us)
{
    loop->wall_offset_us = wall_us - loop_world_now_us(loop->world);
}

void loop_set_worker_latency(struct loop *loop, int64_t latency_us)
{
    loop->worker_latency_us = latency_us;
}
