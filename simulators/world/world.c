/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wiring of a virtual hierarchy. A node is a loop of its own in the world, a disk that outlives it, and the product's
 * objects while it is alive. A crash frees the objects: the memory store then forgets what was not durable.
 */
#include "simulators/world/world.h"

#include <stdio.h>

#include "simulators/world/world_internal.h"

enum { CHECK_EVERY = 32, STUCK_EVENTS = 3000000 };

const struct bus_faults world_calm = {.delay_us = MS_US, .jitter_us = MS_US / 2};

static const char *const mistakes[WORLD_MISTAKE_COUNT] = {"none",           "ack-before-commit", "send-before-fsync",
                                                          "sink-without-mark", "trim-before-ack",   "unsynced-epoch",
                                                          "state-without-records"};

const char *world_mistake_name(enum world_mistake mistake)
{
    return mistakes[mistake];
}

enum err world_mistake_parse(const char *name, enum world_mistake *ret_mistake)
{
    for (int i = 0; i < WORLD_MISTAKE_COUNT; i++) {
        if (strcmp(name, mistakes[i]) == 0) {
            *ret_mistake = (enum world_mistake)i;
            return OK;
        }
    }
    return ERR_NOT_FOUND;
}

struct node *world_node(struct world *w, const char *name)
{
    for (size_t i = 0; i < w->count; i++) {
        if (strcmp(name, w->nodes[i].name) == 0) {
            return &w->nodes[i];
        }
    }
    return NULL;
}

/* ---- life and death ---- */

/* Planted: the epoch's file was never synced, so the first power cut takes it, whatever was written later. */
static void lose_first_commit(struct node *n)
{
    const char *const keys[] = {"spool/\0", "spool/\1"};
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        store_disk_erase(n->disk, REPORT_TABLE_META, slice_of(keys[i], 7));
    }
    store_disk_erase(n->disk, REPORT_TABLE_META, slice_str("boot"));
}

void node_stop(struct node *n)
{
    bool was_alive = node_alive(n);
    checks_observe(n);
    n->dropped_before += n->dropped;
    n->dropped = 0;
    agent_free(take(n->agent));
    gateway_free(take(n->gateway));
    bridge_free(take(n->bridge));
    bus_free(take(n->bus));
    bus_free(take(n->up));
    sense_close(take(n->sense));
    store_close(take(n->store));
    if (was_alive && n->kind == NODE_GATEWAY && n->world->options.mistake == WORLD_MISTAKE_STATE_WITHOUT_RECORDS) {
        curated_lose_last(n);
    }
    if (was_alive && n->kind == NODE_DEVICE && n->world->options.mistake == WORLD_MISTAKE_UNSYNCED_EPOCH &&
        !n->first_crash_done) {
        n->first_crash_done = true;
        lose_first_commit(n);
    }
}

static const struct window_sender_options device_window = {
    .max_frames = 8, .max_bytes = 64 * 1024, .min_rto_us = 200 * MS_US, .max_rto_us = MINUTE_US,
    .first_rto_us = SECOND_US};
static const struct window_sender_options uplink_window = {
    .max_frames = 32, .max_bytes = 1024 * 1024, .min_rto_us = 200 * MS_US, .max_rto_us = MINUTE_US,
    .first_rto_us = SECOND_US};

static enum err start_device(struct node *n)
{
    const struct world_options *o = &n->world->options;
    TRY(store_open_memory(n->loop, n->disk, REPORT_TABLE_COUNT, &n->store));
    TRY(bus_new_memory(n->parent->hub, n->loop, n->name, &n->bus));
    struct sense_options sense = {.driver = "pattern", .channels = o->channels};
    struct fault fault = {0};
    TRY(sense_open(n->loop, &sense, &n->sense, &fault));
    struct agent_options options = {
        .report = {.site = "sim",
                   .gateway = n->parent->name,
                   .device = n->name,
                   .software = "sim",
                   .source = "pattern",
                   .samples_per_record = o->samples,
                   .max_age_us = 2 * o->period_us * o->samples,
                   .period_us = o->period_us,
                   .bulk_bytes = o->bulk_bytes,
                   .window = device_window},
        .period_us = o->period_us,
    };
    options.report.channels = sense_channels(n->sense, &options.report.channel_count);
    TRY(agent_new(n->loop, n->bus, n->store, n->sense, &options, &n->agent, &fault));
    return bus_start(n->bus);
}

static enum err start_gateway(struct node *n)
{
    TRY(store_open_memory(n->loop, n->disk, GATEWAY_TABLE_COUNT, &n->store));
    TRY(bus_new_memory(n->hub, n->loop, n->name, &n->bus));
    TRY(bus_new_memory(n->parent->hub, n->loop, n->name, &n->up));
    struct gateway_options options = {.site = "sim",
                                      .gateway = n->name,
                                      .parent_site = "sim",
                                      .parent = n->parent->name,
                                      .software = "sim",
                                      .commit_delay_us = n->world->options.commit_delay_us,
                                      .uplink_window = uplink_window,
                                      .uplink_frame_bytes = 32 * 1024,
                                      .uplink_frame_entries = 256,
                                      .ring_bytes = n->world->options.ring_bytes};
    if (n->rules != WORLD_RULES_NONE) {
        TRY(curated_rules(n->world, n->rules, &options.rules));
    }
    struct fault fault = {0};
    TRY(gateway_new(n->loop, n->bus, n->up, n->store, &options, &n->gateway, &fault));
    return gateway_start(n->gateway);
}

static enum err start_bridge(struct node *n)
{
    struct world *w = n->world;
    TRY(store_open_memory(n->loop, n->disk, BRIDGE_TABLE_COUNT, &n->store));
    TRY(bus_new_memory(n->hub, n->loop, n->name, &n->bus));
    struct bridge_options options = {
        .site = "sim", .bridge = n->name, .software = "sim", .commit_delay_us = w->options.commit_delay_us};
    struct sink sink = judge_sink(w->judge);
    struct fault fault = {0};
    TRY(bridge_new(n->loop, n->bus, n->store, &sink, 1, &options, &n->bridge, &fault));
    return bridge_start(n->bridge);
}

enum err node_start(struct node *n)
{
    if (node_alive(n)) {
        return OK;
    }
    n->started_us = world_now_us(n->world);
    enum err err = n->kind == NODE_DEVICE    ? start_device(n)
                   : n->kind == NODE_GATEWAY ? start_gateway(n)
                                             : start_bridge(n);
    if (err != OK) {
        world_complain(n->world, "%s does not start: %s", n->name, err_name(err));
        n->world->order_broken++;
        node_stop(n);
    }
    return err;
}

enum store_disk_mode node_disk_mode(const struct node *n)
{
    enum world_mistake mistake = n->world->options.mistake;
    bool lies = (n->kind == NODE_DEVICE && mistake == WORLD_MISTAKE_SEND_BEFORE_FSYNC) ||
                (n->kind == NODE_GATEWAY && mistake == WORLD_MISTAKE_ACK_BEFORE_COMMIT);
    return lies ? STORE_DISK_LIES : STORE_DISK_OK;
}

enum err node_new_disk(struct node *n)
{
    const struct world_options *o = &n->world->options;
    uint64_t size = n->kind == NODE_DEVICE    ? o->device_store_bytes
                    : n->kind == NODE_GATEWAY ? o->gateway_store_bytes
                                              : o->bridge_store_bytes;
    store_disk_free(take(n->disk));
    TRY(store_disk_new(size, &n->disk));
    store_disk_set_mode(n->disk, node_disk_mode(n));
    n->first_crash_done = false;
    checks_watch_disk(n);
    return OK;
}

/* ---- the world ---- */

static enum err add_node(struct world *w, enum node_kind kind, const char *name, unsigned number, struct node *parent)
{
    struct node *n = &w->nodes[w->count++];
    n->kind = kind;
    n->world = w;
    n->parent = parent;
    if (number > 0) {
        (void)snprintf(n->name, sizeof(n->name), "%s-%u", name, number);
    } else {
        (void)snprintf(n->name, sizeof(n->name), "%s", name);
    }
    TRY(loop_new_virtual(w->time, &n->loop));
    bool site = strcmp(name, "site1") == 0;
    n->rules = kind != NODE_GATEWAY ? WORLD_RULES_NONE : site ? w->options.site_rules : w->options.line_rules;
    loop_set_worker_latency(n->loop, kind == NODE_DEVICE ? w->options.device_flush_us : w->options.flush_us);
    return node_new_disk(n);
}

static enum err add_hub(struct node *n)
{
    TRY(bus_hub_new(n->world->time, &n->hub));
    bus_hub_set_faults(n->hub, &world_calm);
    checks_watch_hub(n);
    return OK;
}

/* In the order of struct world; parents by their place, since they come later. */
static enum err add_nodes(struct world *w)
{
    const struct world_options *o = &w->options;
    unsigned lines = o->lines > 0 ? o->lines : 1;
    struct node *first_line = w->nodes + o->devices, *site = first_line + lines, *bridge = site + o->site;
    for (unsigned i = 0; i < o->devices; i++) {
        TRY(add_node(w, NODE_DEVICE, "device", i + 1, first_line + i % lines));
    }
    for (unsigned i = 0; i < lines; i++) {
        TRY(add_node(w, NODE_GATEWAY, o->lines > 0 ? "line" : "gw1", o->lines > 0 ? i + 1 : 0, site));
    }
    if (o->site) {
        TRY(add_node(w, NODE_GATEWAY, "site1", 0, bridge));
    }
    TRY(add_node(w, NODE_BRIDGE, "bridge1", 0, NULL));
    for (struct node *n = first_line; n <= bridge; n++) {
        TRY(add_hub(n));
    }
    return OK;
}

static void preset(uint64_t *value, uint64_t standard)
{
    if (*value == 0) {
        *value = standard;
    }
}

static void fill_in(struct world_options *o)
{
    preset(&o->device_store_bytes, UINT64_C(64) << 20);
    preset(&o->gateway_store_bytes, UINT64_C(256) << 20);
    preset(&o->bridge_store_bytes, UINT64_C(256) << 20);
    o->flush_us = o->flush_us ? o->flush_us : 2 * MS_US;
    o->device_flush_us = o->device_flush_us ? o->device_flush_us : o->flush_us;
    o->channels = o->channels ? o->channels : 2;
}

enum err world_new(const struct world_options *o, struct world **ret_world)
{
    if (o->devices == 0 || o->devices > WORLD_DEVICES_MAX || o->period_us <= 0 || o->samples == 0 ||
        o->lines > WORLD_LINES_MAX || (o->site && o->lines == 0)) {
        return ERR_RANGE;
    }
    CLEANUP(world_freep) struct world *w = calloc(1, sizeof(*w));
    if (w == NULL) {
        return ERR_NOMEM;
    }
    w->options = *o;
    fill_in(&w->options);
    buffer_init(&w->complaints, 64 * 1024);
    buffer_init(&w->text, 256 * 1024);
    buffer_init(&w->ack, 1024);
    w->nodes = calloc(o->devices + o->lines + 3, sizeof(*w->nodes));
    if (w->nodes == NULL) {
        return ERR_NOMEM;
    }
    TRY(loop_world_new(o->seed, &w->time));
    TRY(judge_new(w, &w->judge));
    TRY(ledger_new(&w->ledger));
    TRY(manifest_new(&w->manifest));
    TRY(add_nodes(w));
    w->next_settle_us = world_now_us(w) + SECOND_US;
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
    for (size_t i = 0; i < w->count; i++) {
        bus_hub_free(w->nodes[i].hub);
    }
    for (size_t i = 0; i < w->count; i++) {
        loop_free(w->nodes[i].loop);
    }
    judge_free(w->judge);
    ledger_free(w->ledger);
    manifest_free(w->manifest);
    curated_free(w);
    loop_world_free(w->time);
    buffer_deinit(&w->complaints);
    buffer_deinit(&w->text);
    buffer_deinit(&w->ack);
    free(w->nodes);
    free(w);
}

int64_t world_now_us(const struct world *w)
{
    return loop_world_now_us(w->time);
}

/* ---- running ---- */

static void look(struct world *w)
{
    checks_order(w);
    checks_disks(w);
}

/* A lying disk writes now and then. */
static void settle_disks(struct world *w)
{
    while (w->next_settle_us <= world_now_us(w)) {
        w->next_settle_us += SECOND_US;
    }
    for (size_t i = 0; i < w->count; i++) {
        store_disk_settle(w->nodes[i].disk);
    }
}

bool world_stuck(const struct world *w)
{
    return w->stuck;
}

/* Programs that keep each other busy for ever: virtual time would not go on. */
static bool is_stuck(struct world *w)
{
    int64_t now_us = world_now_us(w);
    if (now_us - w->second_us >= SECOND_US) {
        w->second_us = now_us;
        w->second_events = w->events;
    } else if (w->events - w->second_events > STUCK_EVENTS && !w->stuck) {
        w->stuck = true;
        w->order_broken++;
        world_complain(w, "stuck: more than %d events within a second", STUCK_EVENTS);
    }
    return w->stuck;
}

static bool one_event(struct world *w, int64_t until_us)
{
    if (is_stuck(w)) {
        return false;
    }
    bool lies = w->options.mistake == WORLD_MISTAKE_ACK_BEFORE_COMMIT ||
                w->options.mistake == WORLD_MISTAKE_SEND_BEFORE_FSYNC;
    if (!loop_world_step(w->time, lies ? min_i64(until_us, w->next_settle_us) : until_us)) {
        if (!lies || until_us < w->next_settle_us) {
            return false;
        }
        loop_world_run(w->time, w->next_settle_us);
    }
    if (lies && world_now_us(w) >= w->next_settle_us) {
        settle_disks(w);
    }
    if (++w->events % CHECK_EVERY == 0) {
        look(w);
    }
    return true;
}

void world_step(struct world *w, unsigned events, int64_t until_us)
{
    while (events > 0 && one_event(w, until_us)) {
        events--;
    }
    look(w);
}

void world_run(struct world *w, int64_t until_us)
{
    while (one_event(w, until_us)) {
    }
    if (!w->stuck) {
        loop_world_run(w->time, until_us);
    }
    for (size_t i = 0; i < w->count; i++) {
        checks_observe(&w->nodes[i]);
    }
    look(w);
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

/* Parents first, so that nobody finds a closed door. False when a node does not start. */
static bool mend(struct world *w)
{
    judge_set_mode(w->judge, WORLD_SINK_OK);
    for (size_t i = w->count; i-- > 0;) {
        struct node *n = &w->nodes[i];
        if (n->hub != NULL) {
            bus_hub_set_faults(n->hub, &world_calm);
            bus_hub_set_link(n->hub, "*", BUS_LINK_UP);
        }
        store_disk_set_mode(n->disk, node_disk_mode(n));
    }
    for (size_t i = w->count; i-- > 0;) {
        if (node_start(&w->nodes[i]) != OK) {
            return false;
        }
    }
    return true;
}

bool world_settle(struct world *w, int64_t limit_us)
{
    int64_t begin_us = world_now_us(w);
    if (!mend(w)) {
        return false;
    }
    world_run(w, world_now_us(w) + SECOND_US);
    for (size_t i = 0; i < w->count; i++) {
        if (w->nodes[i].kind == NODE_DEVICE) {
            agent_stop(w->nodes[i].agent);
        }
    }
    while (world_now_us(w) < begin_us + limit_us && !w->stuck && !drained(w)) {
        world_run(w, world_now_us(w) + SECOND_US / 4);
    }
    w->drain_us = world_now_us(w) - begin_us;
    return drained(w);
}

void world_report(struct world *w, struct world_report *ret)
{
    for (size_t i = 0; i < w->count; i++) {
        checks_observe(&w->nodes[i]);
    }
    *ret = (struct world_report){.order_broken = w->order_broken,
                                 .acked_early = w->acked_early,
                                 .over_cap = w->over_cap,
                                 .events = w->events,
                                 .max_disk_bytes = w->max_disk_bytes,
                                 .drain_us = w->drain_us,
                                 .digest = w->digest};
    buffer_reset(&w->text);
    buffer_put(&w->text, w->complaints.ptr, w->complaints.len);
    judge_report(w->judge, ret, &w->text);
    ret->unfounded += checks_unfounded(w, &w->text);
    buffer_put_u8(&w->text, 0);
    for (size_t i = 0; i < w->count; i++) {
        struct node *n = &w->nodes[i];
        bool above_devices = n->kind == NODE_GATEWAY && strcmp(n->name, "site1") != 0;
        if (above_devices && n->gateway != NULL) {
            struct gateway_stats stats;
            gateway_stats(n->gateway, &stats);
            ret->closed += stats.inbox.closed;
        }
    }
}

uint64_t world_violations(const struct world_report *r, bool final)
{
    uint64_t always = r->duplicated + r->reordered + r->corrupt + r->phantom + r->order_broken + r->acked_early +
                      r->over_cap + r->miscounted;
    return final ? always + r->lost + r->undeclared + r->unfounded + r->waiting : always;
}

const char *world_complaints(const struct world *w)
{
    return w->text.ptr ? (const char *)w->text.ptr : "";
}
