/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wiring of a virtual hierarchy. A node is a loop of its own in the world, a disk that outlives it, and the product's
 * objects while it is alive. A crash frees the objects: the memory store then forgets what was not durable.
 */
#include "simulators/world/world.h"

#include <stdio.h>

#include "cloud-bridge/bridged/bridged.h"
#include "device/agent/agent.h"
#include "gateway/gatewayd/gatewayd.h"
#include "simulators/world/world_internal.h"

enum { NAME_MAX_BYTES = 24 };
enum node_kind { NODE_DEVICE, NODE_GATEWAY, NODE_BRIDGE };

struct node {
    enum node_kind kind;
    char name[NAME_MAX_BYTES];
    struct world *world;
    struct loop *loop;
    struct store_disk *disk, *snapshot;
    /* alive only: */
    struct store *store;
    struct bus *bus, *up;
    struct sense *sense;
    struct agent *agent;
    struct gateway *gateway;
    struct bridge *bridge;
    uint64_t seen_epoch[2]; /* device: the epochs last seen, to excuse them when the disk is wiped */
    bool behind; /* device: the gateway's store was put back, its mark may be below what it had acknowledged */
};

struct world {
    struct world_options options;
    struct loop_world *time;
    struct bus_hub *plant, *cloud;
    struct judge *judge;
    struct node *nodes; /* devices, then gateway, then bridge */
    size_t count;
    uint64_t order_broken;
    struct buffer complaints, text;
};

static struct node *gateway_node(struct world *w)
{
    return &w->nodes[w->count - 2];
}

static bool alive(const struct node *n)
{
    return n->store != NULL;
}

/* ---- life and death ---- */

/* What the device holds durably, told to the judge while it can still be asked. */
static void observe(struct node *n)
{
    if (n->kind != NODE_DEVICE || n->agent == NULL) {
        return;
    }
    struct report_stats stats;
    report_stats(agent_report(n->agent), &stats);
    for (uint8_t lane = 0; lane < 2; lane++) {
        n->seen_epoch[lane] = stats.lane[lane].epoch;
        judge_durable(n->world->judge, n->name, stats.lane[lane].epoch, lane, stats.lane[lane].durable);
    }
}

static void node_stop(struct node *n)
{
    observe(n);
    agent_free(take(n->agent));
    gateway_free(take(n->gateway));
    bridge_free(take(n->bridge));
    bus_free(take(n->bus));
    bus_free(take(n->up));
    sense_close(take(n->sense));
    store_close(take(n->store));
}

static const struct window_sender_options device_window = {
    .max_frames = 8, .max_bytes = 64 * 1024, .min_rto_us = 200 * MS_US, .max_rto_us = MINUTE_US, .first_rto_us = SECOND_US};
static const struct window_sender_options uplink_window = {
    .max_frames = 32, .max_bytes = 1024 * 1024, .min_rto_us = 200 * MS_US, .max_rto_us = MINUTE_US, .first_rto_us = SECOND_US};

static enum err start_device(struct node *n)
{
    struct world *w = n->world;
    TRY(store_open_memory(n->loop, n->disk, REPORT_TABLE_COUNT, &n->store));
    TRY(bus_new_memory(w->plant, n->loop, n->name, &n->bus));
    struct sense_options sense = {.driver = "pattern", .channels = w->options.channels};
    struct fault fault = {0};
    TRY(sense_open(n->loop, &sense, &n->sense, &fault));
    struct agent_options options = {
        .report = {.site = "sim",
                   .gateway = "gw1",
                   .device = n->name,
                   .software = "sim",
                   .source = "pattern",
                   .samples_per_record = w->options.samples,
                   .max_age_us = 2 * w->options.period_us * w->options.samples,
                   .period_us = w->options.period_us,
                   .bulk_bytes = w->options.bulk_bytes,
                   .window = device_window},
        .period_us = w->options.period_us,
    };
    options.report.channels = sense_channels(n->sense, &options.report.channel_count);
    TRY(agent_new(n->loop, n->bus, n->store, n->sense, &options, &n->agent, &fault));
    return bus_start(n->bus);
}

static enum err start_gateway(struct node *n)
{
    struct world *w = n->world;
    TRY(store_open_memory(n->loop, n->disk, GATEWAY_TABLE_COUNT, &n->store));
    TRY(bus_new_memory(w->plant, n->loop, "gw1", &n->bus));
    TRY(bus_new_memory(w->cloud, n->loop, "gw1", &n->up));
    struct gateway_options options = {.site = "sim",
                                      .gateway = "gw1",
                                      .parent_site = "sim",
                                      .parent = "bridge1",
                                      .software = "sim",
                                      .uplink_window = uplink_window,
                                      .uplink_frame_bytes = 32 * 1024,
                                      .uplink_frame_entries = 256};
    struct fault fault = {0};
    TRY(gateway_new(n->loop, n->bus, n->up, n->store, &options, &n->gateway, &fault));
    return gateway_start(n->gateway);
}

static enum err start_bridge(struct node *n)
{
    struct world *w = n->world;
    TRY(store_open_memory(n->loop, n->disk, BRIDGE_TABLE_COUNT, &n->store));
    TRY(bus_new_memory(w->cloud, n->loop, "bridge1", &n->bus));
    struct bridge_options options = {.site = "sim", .bridge = "bridge1", .software = "sim"};
    struct sink sink = judge_sink(w->judge, w->time);
    struct fault fault = {0};
    TRY(bridge_new(n->loop, n->bus, n->store, &sink, 1, &options, &n->bridge, &fault));
    return bridge_start(n->bridge);
}

static enum err node_start(struct node *n)
{
    if (alive(n)) {
        return OK;
    }
    enum err err = n->kind == NODE_DEVICE    ? start_device(n)
                   : n->kind == NODE_GATEWAY ? start_gateway(n)
                                             : start_bridge(n);
    if (err != OK) {
        buffer_printf(&n->world->complaints, "%s does not start: %s\n", n->name, err_name(err));
        node_stop(n);
    }
    return err;
}

static enum err new_disk(struct node *n)
{
    const struct world_options *o = &n->world->options;
    uint64_t size = n->kind == NODE_DEVICE ? o->device_store_bytes
                    : n->kind == NODE_GATEWAY ? o->gateway_store_bytes
                                              : o->bridge_store_bytes;
    store_disk_free(take(n->disk));
    TRY(store_disk_new(size, &n->disk));
    bool lies = (n->kind == NODE_DEVICE && o->mistake == WORLD_MISTAKE_SEND_BEFORE_FSYNC) ||
                (n->kind == NODE_GATEWAY && o->mistake == WORLD_MISTAKE_ACK_BEFORE_COMMIT);
    store_disk_set_mode(n->disk, lies ? STORE_DISK_LIES : STORE_DISK_OK);
    return OK;
}

/* ---- the world ---- */

static enum err add_node(struct world *w, enum node_kind kind, const char *name)
{
    struct node *n = &w->nodes[w->count++];
    n->kind = kind;
    n->world = w;
    snprintf(n->name, sizeof(n->name), "%s", name);
    TRY(loop_new_virtual(w->time, &n->loop));
    loop_set_worker_latency(n->loop, w->options.flush_us);
    return new_disk(n);
}

static void preset(uint64_t *value, uint64_t standard)
{
    if (*value == 0) {
        *value = standard;
    }
}

enum err world_new(const struct world_options *options, struct world **ret_world)
{
    if (options->devices == 0 || options->devices > 1000 || options->period_us <= 0 || options->samples == 0) {
        return ERR_RANGE;
    }
    CLEANUP(world_freep) struct world *w = calloc(1, sizeof(*w));
    if (w == NULL) {
        return ERR_NOMEM;
    }
    w->options = *options;
    preset(&w->options.device_store_bytes, UINT64_C(64) << 20);
    preset(&w->options.gateway_store_bytes, UINT64_C(256) << 20);
    preset(&w->options.bridge_store_bytes, UINT64_C(256) << 20);
    w->options.flush_us = w->options.flush_us ? w->options.flush_us : 2 * MS_US;
    w->options.channels = w->options.channels ? w->options.channels : 2;
    buffer_init(&w->complaints, 64 * 1024);
    buffer_init(&w->text, 128 * 1024);
    w->nodes = calloc(options->devices + 2, sizeof(*w->nodes));
    if (w->nodes == NULL) {
        return ERR_NOMEM;
    }
    TRY(loop_world_new(options->seed, &w->time));
    TRY(bus_hub_new(w->time, &w->plant));
    TRY(bus_hub_new(w->time, &w->cloud));
    TRY(judge_new(options->mistake == WORLD_MISTAKE_SINK_WITHOUT_MARK, &w->judge));
    for (unsigned i = 1; i <= options->devices; i++) {
        char name[NAME_MAX_BYTES];
        snprintf(name, sizeof(name), "device-%u", i);
        TRY(add_node(w, NODE_DEVICE, name));
    }
    TRY(add_node(w, NODE_GATEWAY, "gw1"));
    TRY(add_node(w, NODE_BRIDGE, "bridge1"));
    struct bus_faults calm = {.delay_us = MS_US, .jitter_us = MS_US / 2};
    bus_hub_set_faults(w->plant, &calm);
    bus_hub_set_faults(w->cloud, &calm);
    for (size_t i = w->count; i-- > 0;) {
        TRY(node_start(&w->nodes[i]));
    }
    *ret_world = take(w);
    return OK;
}

void world_free(struct world *w)
{
    if (w == NULL) {
        return;
    }
    for (size_t i = 0; i < w->count; i++) {
        node_stop(&w->nodes[i]);
        store_disk_free(w->nodes[i].disk);
        store_disk_free(w->nodes[i].snapshot);
    }
    bus_hub_free(w->plant);
    bus_hub_free(w->cloud);
    for (size_t i = 0; i < w->count; i++) {
        loop_free(w->nodes[i].loop);
    }
    judge_free(w->judge);
    loop_world_free(w->time);
    buffer_deinit(&w->complaints);
    buffer_deinit(&w->text);
    free(w->nodes);
    free(w);
}

int64_t world_now_us(const struct world *w)
{
    return loop_world_now_us(w->time);
}

/* I5: device.acked <= gateway.hwm <= device.durable, for the epochs in force. */
static void check_order(struct world *w)
{
    struct node *g = gateway_node(w);
    struct inbox *inbox = alive(g) ? gateway_inbox(g->gateway) : NULL;
    if (inbox == NULL) {
        return;
    }
    for (size_t i = 0; i + 2 < w->count; i++) {
        struct node *n = &w->nodes[i];
        if (n->agent == NULL) {
            continue;
        }
        struct report_stats stats;
        report_stats(agent_report(n->agent), &stats);
        for (unsigned lane = 0; lane < 2; lane++) {
            const struct window_stream *s =
                inbox_stream(inbox, n->name, stats.lane[lane].epoch);
            uint64_t hwm = s ? s->hwm : 0;
            bool low = stats.lane[lane].acked > hwm;
            if (lane == 1) {
                n->behind = n->behind && low;
            }
            if (s != NULL && !s->closed && ((low && !n->behind) || hwm > stats.lane[lane].durable)) {
                w->order_broken++;
                buffer_printf(&w->complaints, "order: %s lane %u acked %llu, gateway %llu, durable %llu at %lld us\n",
                              n->name, lane, (unsigned long long)stats.lane[lane].acked, (unsigned long long)hwm,
                              (unsigned long long)stats.lane[lane].durable, (long long)world_now_us(w));
            }
        }
    }
}

void world_run(struct world *w, int64_t until_us)
{
    int64_t next_check = world_now_us(w);
    while (world_now_us(w) < until_us) {
        next_check += max_i64(SECOND_US, (until_us - next_check) / 1000);
        loop_world_run(w->time, min_i64(next_check, until_us));
        for (size_t i = 0; i < w->count; i++) {
            observe(&w->nodes[i]);
            if (world_now_us(w) == next_check) {
                store_disk_settle(w->nodes[i].disk); /* a lying disk writes now and then */
            }
        }
        check_order(w);
    }
}

/* ---- faults ---- */

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

static enum err do_crash(struct node *n, int64_t arg)
{
    (void)arg;
    node_stop(n);
    return OK;
}

static enum err do_start(struct node *n, int64_t arg)
{
    (void)arg;
    return node_start(n);
}

static enum err do_link(struct node *n, int64_t link)
{
    struct bus_hub *hub = n->kind == NODE_DEVICE ? n->world->plant : n->world->cloud;
    bus_hub_set_link(hub, n->name, (enum bus_link)link);
    return OK;
}

static enum err do_clock(struct node *n, int64_t wall_us)
{
    loop_set_wall(n->loop, wall_us);
    return OK;
}

static enum err do_disk(struct node *n, int64_t mode)
{
    store_disk_set_mode(n->disk, (enum store_disk_mode)mode);
    return OK;
}

static enum err do_snapshot(struct node *n, int64_t arg)
{
    (void)arg;
    store_disk_free(take(n->snapshot));
    return store_disk_clone(n->disk, &n->snapshot);
}

/* The gateway's store goes back: until the gap is declared its marks are below what it had acknowledged. */
static void excuse_marks(struct node *n)
{
    for (size_t i = 0; n->kind == NODE_GATEWAY && i + 2 < n->world->count; i++) {
        n->world->nodes[i].behind = true;
    }
}

static enum err do_restore(struct node *n, int64_t arg)
{
    (void)arg;
    if (n->snapshot == NULL) {
        return ERR_NOT_FOUND;
    }
    node_stop(n);
    excuse_marks(n);
    store_disk_free(take(n->disk));
    TRY(store_disk_clone(n->snapshot, &n->disk));
    for (unsigned lane = 0; lane < 2 && n->kind == NODE_DEVICE; lane++) {
        judge_excuse(n->world->judge, n->name, n->seen_epoch[lane]); /* its future was on the disk that is gone */
    }
    return node_start(n);
}

static enum err do_wipe(struct node *n, int64_t arg)
{
    (void)arg;
    node_stop(n);
    excuse_marks(n);
    for (unsigned lane = 0; lane < 2 && n->kind == NODE_DEVICE; lane++) {
        judge_excuse(n->world->judge, n->name, n->seen_epoch[lane]);
    }
    TRY(new_disk(n));
    return node_start(n);
}

static enum err do_alarm(struct node *n, int64_t arg)
{
    (void)arg;
    if (n->agent == NULL) {
        return ERR_AGAIN;
    }
    return report_event(agent_report(n->agent), REPORT_ALARM, "test-alarm", "raised by the scenario", NULL,
                        (double)world_now_us(n->world) / 1e6);
}

enum err world_crash(struct world *w, const char *node)
{
    return each(w, node, do_crash, 0);
}
enum err world_start(struct world *w, const char *node)
{
    return each(w, node, do_start, 0);
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
enum err world_alarm(struct world *w, const char *node)
{
    return each(w, node, do_alarm, 0);
}

static struct bus_hub *hub_named(struct world *w, const char *name)
{
    return strcmp(name, "plant") == 0 ? w->plant : strcmp(name, "cloud") == 0 ? w->cloud : NULL;
}

enum err world_broker_restart(struct world *w, const char *hub, int64_t down_us)
{
    struct bus_hub *h = hub_named(w, hub);
    if (h == NULL) {
        return ERR_NOT_FOUND;
    }
    bus_hub_restart(h, down_us);
    return OK;
}

enum err world_faults(struct world *w, const char *hub, const struct bus_faults *faults)
{
    struct bus_hub *h = hub_named(w, hub);
    if (h == NULL) {
        return ERR_NOT_FOUND;
    }
    bus_hub_set_faults(h, faults);
    return OK;
}

/* ---- the end ---- */

static bool drained(struct world *w)
{
    for (size_t i = 0; i < w->count; i++) {
        struct node *n = &w->nodes[i];
        bool done = n->kind == NODE_DEVICE    ? report_drained(agent_report(n->agent))
                    : n->kind == NODE_GATEWAY ? gateway_drained(n->gateway)
                                              : bridge_drained(n->bridge);
        if (!done) {
            return false;
        }
    }
    return true;
}

bool world_settle(struct world *w, int64_t limit_us)
{
    struct bus_faults calm = {.delay_us = MS_US, .jitter_us = MS_US / 2};
    bus_hub_set_faults(w->plant, &calm);
    bus_hub_set_faults(w->cloud, &calm);
    bus_hub_set_link(w->plant, "*", BUS_LINK_UP);
    bus_hub_set_link(w->cloud, "*", BUS_LINK_UP);
    int64_t end = world_now_us(w) + limit_us;
    for (size_t i = w->count; i-- > 0;) {
        struct node *n = &w->nodes[i];
        if (w->options.mistake == WORLD_MISTAKE_NONE) {
            store_disk_set_mode(n->disk, STORE_DISK_OK);
        }
        if (node_start(n) != OK) {
            return false;
        }
    }
    world_run(w, world_now_us(w) + SECOND_US);
    for (size_t i = 0; i + 2 < w->count; i++) {
        agent_stop(w->nodes[i].agent);
    }
    while (world_now_us(w) < end && !drained(w)) {
        world_run(w, world_now_us(w) + SECOND_US);
    }
    return drained(w);
}

void world_report(struct world *w, struct world_report *ret)
{
    *ret = (struct world_report){.order_broken = w->order_broken};
    for (size_t i = 0; i < w->count; i++) {
        observe(&w->nodes[i]);
    }
    buffer_reset(&w->text);
    buffer_put(&w->text, w->complaints.ptr, w->complaints.len);
    judge_report(w->judge, ret, &w->text);
    buffer_put_u8(&w->text, 0);
    struct node *g = gateway_node(w);
    if (alive(g)) {
        struct gateway_stats stats;
        gateway_stats(g->gateway, &stats);
        ret->closed = stats.inbox.closed;
    }
}

const char *world_complaints(const struct world *w)
{
    return w->text.ptr ? (const char *)w->text.ptr : "";
}
