/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be done to the nodes of a world. Each call names a node, or "device-*"; hubs are named as the node they
 * stand beside.
 */
#include <stdio.h>

#include "simulators/world/world_internal.h"

static enum err each(struct world *w, const char *name, enum err (*fn)(struct node *n, int64_t arg), int64_t arg)
{
    bool found = false;
    for (size_t i = 0; i < w->count; i++) {
        struct node *n = &w->nodes[i];
        if (strcmp(name, n->name) == 0 || (strcmp(name, "device-*") == 0 && n->kind == NODE_DEVICE)) {
            found = true;
            TRY(fn(n, arg));
        }
    }
    return found ? OK : ERR_NOT_FOUND;
}

/* ---- life ---- */
static enum err do_crash(struct node *n, int64_t batches)
{
    checks_digest(n->world, 11);
    store_disk_set_cut(n->disk, node_alive(n) ? (unsigned)batches : 0);
    node_stop(n);
    return OK;
}

static enum err do_start(struct node *n, int64_t arg)
{
    (void)arg;
    return node_start(n);
}

enum err world_crash(struct world *w, const char *node)
{
    return each(w, node, do_crash, 0);
}

enum err world_crash_after(struct world *w, const char *node, unsigned batches)
{
    return each(w, node, do_crash, batches);
}

enum err world_start(struct world *w, const char *node)
{
    return each(w, node, do_start, 0);
}

/* ---- links, clocks, disks ---- */
static enum err do_link(struct node *n, int64_t link)
{
    if (n->parent == NULL) {
        return ERR_NOT_FOUND;
    }
    bus_hub_set_link(n->parent->hub, n->name, (enum bus_link)link);
    return OK;
}

static enum err do_clock(struct node *n, int64_t wall_us)
{
    loop_set_wall(n->loop, wall_us);
    return OK;
}

static enum err do_disk(struct node *n, int64_t mode)
{
    store_disk_set_mode(n->disk, mode == STORE_DISK_OK ? node_disk_mode(n) : (enum store_disk_mode)mode);
    return OK;
}

enum err world_link(struct world *w, const char *node, enum bus_link link)
{
    return each(w, node, do_link, link);
}

enum err world_clock(struct world *w, const char *node, int64_t wall_us)
{
    return each(w, node, do_clock, wall_us);
}

enum err world_disk(struct world *w, const char *node, enum store_disk_mode mode)
{
    return each(w, node, do_disk, mode);
}

void world_sink(struct world *w, enum world_sink mode)
{
    judge_set_mode(w->judge, mode);
}

/* ---- images ---- */
static enum err do_snapshot(struct node *n, int64_t arg)
{
    (void)arg;
    store_disk_free(take(n->snapshot));
    return store_disk_clone(n->disk, &n->snapshot);
}

static enum err do_restore(struct node *n, int64_t arg)
{
    (void)arg;
    if (n->snapshot == NULL) {
        return ERR_NOT_FOUND;
    }
    node_stop(n);
    checks_disk_gone(n, n->snapshot);
    n->restores++;
    store_disk_free(take(n->disk));
    TRY(store_disk_clone(n->snapshot, &n->disk));
    store_disk_set_mode(n->disk, node_disk_mode(n));
    checks_watch_disk(n);
    return node_start(n);
}

static enum err do_wipe(struct node *n, int64_t arg)
{
    (void)arg;
    node_stop(n);
    checks_disk_gone(n, NULL);
    n->wipes++;
    TRY(node_new_disk(n));
    return node_start(n);
}

enum err world_snapshot(struct world *w, const char *node)
{
    return each(w, node, do_snapshot, 0);
}

enum err world_restore(struct world *w, const char *node)
{
    return each(w, node, do_restore, 0);
}

enum err world_wipe(struct world *w, const char *node)
{
    return each(w, node, do_wipe, 0);
}

/* The outbox's record: version u8 | answered u8 | epoch u64le | ... (core/outbox/record.c). */
static bool was_answered(const struct node *n, unsigned lane, uint64_t epoch)
{
    const uint8_t key[8] = {'o', 'u', 't', 'b', 'o', 'x', '/', (uint8_t)lane};
    struct slice value;
    uint64_t told = 0;
    if (store_disk_get(n->disk, REPORT_TABLE_META, slice_of(key, sizeof(key)), &value) != OK || value.len < 10) {
        return false;
    }
    memcpy(&told, value.ptr + 2, sizeof(told));
    return value.ptr[1] == 1 && told == epoch;
}

bool world_image_is_sound(struct world *w, const char *name)
{
    const struct node *n = world_node(w, name);
    if (n == NULL || !node_alive(n) || world_now_us(w) - n->started_us < 5 * SECOND_US) {
        return false;
    }
    for (unsigned lane = 0; n->kind != NODE_BRIDGE && lane < WORLD_LANES; lane++) {
        struct node_lane l;
        if (!node_lane(n, lane, &l) || l.durable == 0 || l.acked == 0 || !was_answered(n, lane, l.epoch)) {
            return false;
        }
    }
    return true;
}

/* ---- what devices do ---- */
static enum err do_alarm(struct node *n, int64_t arg)
{
    (void)arg;
    if (n->agent == NULL) {
        return ERR_AGAIN;
    }
    char text[40];
    (void)snprintf(text, sizeof(text), "raised by the scenario, %llu", (unsigned long long)++n->world->alarms_raised);
    return report_event(agent_report(n->agent), REPORT_ALARM, "test-alarm", text, NULL,
                        (double)world_now_us(n->world) / 1e6);
}

static enum err do_period(struct node *n, int64_t period_us)
{
    if (n->agent != NULL) {
        agent_set_period(n->agent, period_us);
    }
    return n->kind == NODE_DEVICE ? OK : ERR_NOT_FOUND;
}

enum err world_alarm(struct world *w, const char *node)
{
    return each(w, node, do_alarm, 0);
}

enum err world_period(struct world *w, const char *node, int64_t period_us)
{
    return each(w, node, do_period, period_us);
}

/* ---- hubs ---- */
static bool is_hub(const struct world *w, const struct node *n, const char *name)
{
    bool alias = w->options.lines == 0 && ((n->kind == NODE_GATEWAY && strcmp(name, "plant") == 0) ||
                                           (n->kind == NODE_BRIDGE && strcmp(name, "cloud") == 0));
    return n->hub != NULL && (alias || strcmp(name, n->name) == 0 || strcmp(name, "*") == 0);
}

enum err world_broker_restart(struct world *w, const char *hub, int64_t down_us)
{
    enum err err = ERR_NOT_FOUND;
    for (size_t i = 0; i < w->count; i++) {
        if (is_hub(w, &w->nodes[i], hub)) {
            bus_hub_restart(w->nodes[i].hub, down_us);
            err = OK;
        }
    }
    return err;
}

enum err world_faults(struct world *w, const char *hub, const struct bus_faults *faults)
{
    enum err err = ERR_NOT_FOUND;
    for (size_t i = 0; i < w->count; i++) {
        if (is_hub(w, &w->nodes[i], hub)) {
            bus_hub_set_faults(w->nodes[i].hub, faults);
            err = OK;
        }
    }
    return err;
}
