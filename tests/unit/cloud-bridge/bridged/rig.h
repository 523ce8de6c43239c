/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rig - a whole hierarchy in one virtual world: devices (a spool and an outbox each, nothing of device/), gateways, a
 * bridge with memory sinks. Each node can be killed at any instant and started again on its disk, on a copy of it, or
 * on an empty one.
 *
 *   device --hub of its gateway--> gateway --hub of its parent--> ... --> bridge --> sinks
 *
 * Records are f(device, epoch, number): rig_check compares what arrived with what must have been written.
 */
#ifndef TESTS_UNIT_CLOUD_BRIDGE_BRIDGED_RIG_H
#define TESTS_UNIT_CLOUD_BRIDGE_BRIDGED_RIG_H

#include "cloud-bridge/bridged/bridged.h"
#include "core/bus/bus.h"
#include "core/crypt/crypt.h"
#include "core/loop/loop.h"
#include "core/outbox/outbox.h"
#include "core/store/store.h"
#include "gateway/gatewayd/gatewayd.h"
#include "gateway/uplink/uplink.h"
#include "proto/block/block.h"
#include "proto/topic/topic.h"
#include "proto/wire/wire.h"
#include "tests/support/check.h"

#define RIG_UNUSED __attribute__((unused))

enum { RIG_DEVICES_MAX = 8, RIG_GATEWAYS_MAX = 4, RIG_SINKS_MAX = 2, RIG_CHANNELS = 2, RIG_SAMPLES = 4 };

#define RIG_FAILOVER_US (5 * SECOND_US) /* and failback */

struct rig_device {
    struct rig *rig;
    struct bus_hub *hub;
    char id[ID_MAX + 1], gateway[ID_MAX + 1], topic[TOPIC_MAX + 1], ack[TOPIC_MAX + 1];
    struct loop *loop;
    struct store_disk *disk;
    struct store *store;
    struct bus *bus;
    struct spool *spools[INBOX_LANES];
    struct outbox *outboxes[INBOX_LANES];
    uint64_t boot_seq;
    unsigned commits; /* under way */
    struct {
        uint64_t last[INBOX_LANES];
    } under_way[64]; /* what each of them makes durable, in order */
    struct buffer frame;
};
struct rig_gateway {
    struct rig *rig;
    struct bus_hub *down_hub, *up_hub, *other_hub;
    char id[ID_MAX + 1], parent[ID_MAX + 1], other[ID_MAX + 1]; /* other: a second parent; "" = none */
    struct uplink_parent others[1];
    struct loop *loop;
    struct store_disk *disk;
    struct store *store;
    struct bus *down, *up, *other_up;
    struct gateway *gateway;
    struct budget_rules budget; /* at the next start */
};
struct rig {
    struct loop_world *world;
    struct bus_hub *hubs[RIG_GATEWAYS_MAX + 1]; /* [0] = the bridge's, [n + 1] = of gateway n */
    struct rig_device devices[RIG_DEVICES_MAX];
    size_t device_count;
    struct rig_gateway gateways[RIG_GATEWAYS_MAX];
    size_t gateway_count;
    struct {
        struct loop *loop;
        struct store_disk *disk;
        struct store *store;
        struct bus *bus;
        struct bridge *bridge;
    } bridge;
    struct sink_memory_disk *sinks[RIG_SINKS_MAX];
    size_t sink_count;
};

/* ---- time ---- */
#define RIG_WAIT(rig, cond, seconds)                                                                                   \
    do {                                                                                                               \
        int64_t rig_end_ = loop_world_now_us((rig)->world) + (int64_t)(seconds)*SECOND_US;                             \
        while (!(cond) && loop_world_now_us((rig)->world) < rig_end_) {                                                \
            loop_world_run((rig)->world, loop_world_now_us((rig)->world) + 2 * MS_US);                                 \
        }                                                                                                              \
        CHECK(cond);                                                                                                   \
    } while (0)

static RIG_UNUSED void rig_run(struct rig *rig, int64_t us)
{
    loop_world_run(rig->world, loop_world_now_us(rig->world) + us);
}

/* ---- records ---- */
static uint64_t rig_mix(const char *device, uint64_t epoch, uint64_t number, uint64_t index)
{
    return mix_u64(crypt_crc32c(0, device, strlen(device)) ^ mix_u64(epoch ^ mix_u64(number * 64 + index)));
}

static RIG_UNUSED void rig_record(const char *device, uint64_t epoch, uint64_t number, struct buffer *out)
{
    int64_t values[RIG_CHANNELS * RIG_SAMPLES];
    const double resolutions[RIG_CHANNELS] = {0.1, 0.5};
    BUFFER(columns, 4096);
    for (unsigned i = 0; i < COUNT_OF(values); i++) {
        values[i] = (int64_t)(rig_mix(device, epoch, number, i) % 20001) - 10000;
    }
    CHECK_OK(block_encode(values, resolutions, RIG_CHANNELS, RIG_SAMPLES, &columns));
    Weir__V1__Block block = WEIR__V1__BLOCK__INIT;
    block.set = 7;
    block.wall_us = UINT64_C(1767225600000000) + number * 4000;
    block.mono_us = number * 4000;
    block.samples = RIG_SAMPLES;
    block.period_us = 1000;
    block.columns.data = columns.ptr;
    block.columns.len = columns.len;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_BLOCK;
    record.block = &block;
    CHECK_OK(wire_record_pack(&record, out));
}

static RIG_UNUSED uint32_t rig_record_crc(const char *device, uint64_t epoch, uint64_t number)
{
    BUFFER(record, 4096);
    rig_record(device, epoch, number, &record);
    return crypt_crc32c(0, record.ptr, record.len);
}

/* ---- devices ---- */
static RIG_UNUSED enum err rig_device_send(void *arg, const struct window_header *header,
                                           const struct spool_entry *entries, size_t count)
{
    struct rig_device *d = arg;
    struct slice bodies[64];
    CHECK(count <= COUNT_OF(bodies));
    for (size_t i = 0; i < count; i++) {
        bodies[i] = entries[i].body;
    }
    buffer_reset(&d->frame);
    TRY(wire_frame_encode(d->id, header, "rig", bodies, count, &d->frame));
    return bus_publish(d->bus, slice_str(d->topic), buffer_slice(&d->frame), 0, false);
}

static RIG_UNUSED enum err rig_device_damaged(void *arg, uint64_t first, uint64_t last, struct buffer *out)
{
    (void)arg;
    return wire_gap_pack(first, last, WEIR__V1__GAP_REASON__DAMAGED, 1, out);
}

static RIG_UNUSED void rig_device_message(void *arg, struct slice topic, struct slice payload, bool retained)
{
    struct rig_device *d = arg;
    struct wire_ack ack;
    (void)topic;
    (void)retained;
    CHECK_OK(wire_ack_decode(payload, &ack));
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        outbox_answer(d->outboxes[i], ack.epoch, ack.boot, ack.verdict, ack.hwm, ack.owner);
    }
}

static RIG_UNUSED void rig_device_state(void *arg, enum bus_state state, const char *reason)
{
    struct rig_device *d = arg;
    (void)reason;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        (state == BUS_UP ? outbox_connected : outbox_disconnected)(d->outboxes[i]);
    }
}

static RIG_UNUSED void rig_device_rolled_back(void *arg, uint64_t keep_above)
{
    (void)arg;
    (void)keep_above;
    CHECK(!"a device's epoch was closed, and no test sets a device back");
}

static RIG_UNUSED void rig_device_done(void *arg, enum err result)
{
    struct rig_device *d = arg;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        spool_settle(d->spools[i], d->under_way[0].last[i], result);
        if (d->outboxes[i] != NULL) {
            outbox_kick(d->outboxes[i]);
        }
    }
    CHECK_OK(result);
    d->commits--;
    memmove(d->under_way, d->under_way + 1, sizeof(d->under_way) - sizeof(d->under_way[0]));
}

static RIG_UNUSED void rig_device_commit(struct rig_device *d, struct store_batch *batch)
{
    CHECK(d->commits < COUNT_OF(d->under_way));
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        d->under_way[d->commits].last[i] = spool_next(d->spools[i]) - 1;
    }
    d->commits++;
    CHECK_OK(store_commit(d->store, batch, rig_device_done, d));
}

static RIG_UNUSED void rig_device_start(struct rig_device *d)
{
    CHECK_OK(store_open_memory(d->loop, d->disk, 2, &d->store));
    struct store_batch *batch = NULL;
    CHECK_OK(store_batch_new(d->store, &batch));
    for (uint8_t i = 0; i < INBOX_LANES; i++) {
        struct spool_options options = {.table = 0, .meta_table = 1, .lane = i};
        CHECK_OK(spool_open(d->loop, d->store, &options, &d->spools[i], NULL));
        if (spool_epoch(d->spools[i]) == 0) {
            CHECK_OK(spool_create(d->spools[i], batch));
        }
    }
    d->boot_seq++; /* as durable as the rig itself */
    rig_device_commit(d, batch);
    RIG_WAIT(d->rig, d->commits == 0, 10);
    for (uint8_t i = 0; i < INBOX_LANES; i++) {
        struct outbox_options options = {.window = {.max_frames = 8,
                                                    .max_bytes = 65536,
                                                    .min_rto_us = 50 * MS_US,
                                                    .max_rto_us = 2 * SECOND_US,
                                                    .first_rto_us = 200 * MS_US},
                                         .frame_bytes = 600,
                                         .frame_entries = 16,
                                         .boot = (uint32_t)loop_random(d->loop) | 1,
                                         .boot_seq = d->boot_seq,
                                         .lane = i,
                                         .state_table = 1};
        struct outbox_handlers on = {.send = rig_device_send,
                                     .on_rolled_back = rig_device_rolled_back,
                                     .on_damaged = rig_device_damaged,
                                     .arg = d};
        CHECK_OK(outbox_new(d->loop, d->store, d->spools[i], &options, &on, &d->outboxes[i]));
    }
    CHECK_OK(bus_new_memory(d->hub, d->loop, d->id, &d->bus));
    bus_set_handlers(d->bus, &(struct bus_handlers){
                                 .on_message = rig_device_message, .on_state = rig_device_state, .arg = d});
    CHECK_OK(bus_subscribe(d->bus, d->ack, 0));
    CHECK_OK(bus_start(d->bus));
}

static RIG_UNUSED void rig_device_kill(struct rig_device *d)
{
    bus_free(d->bus);
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        outbox_free(d->outboxes[i]);
        spool_free(d->spools[i]);
        d->outboxes[i] = NULL;
        d->spools[i] = NULL;
    }
    store_close(d->store);
    d->bus = NULL;
    d->store = NULL;
    d->commits = 0;
}

static RIG_UNUSED void rig_produce(struct rig_device *d, uint8_t lane, unsigned count)
{
    struct store_batch *batch = NULL;
    CHECK_OK(store_batch_new(d->store, &batch));
    for (unsigned i = 0; i < count; i++) {
        uint64_t first;
        BUFFER(record, 4096);
        rig_record(d->id, spool_epoch(d->spools[lane]), spool_next(d->spools[lane]), &record);
        CHECK_OK(spool_append(d->spools[lane], batch, 1, buffer_slice(&record), &first));
    }
    rig_device_commit(d, batch);
}

static RIG_UNUSED bool rig_device_drained(const struct rig_device *d)
{
    return d->commits == 0 && outbox_acked(d->outboxes[0]) == spool_durable(d->spools[0]) &&
           outbox_acked(d->outboxes[1]) == spool_durable(d->spools[1]);
}

/* ---- gateways ---- */
static RIG_UNUSED void rig_gateway_start(struct rig_gateway *g)
{
    struct gateway_options options = {.site = "site",
                                      .gateway = g->id,
                                      .parent = g->parent[0] != '\0' ? g->parent : NULL,
                                      .software = "test",
                                      .uplink_window = {.max_frames = 8,
                                                        .max_bytes = 65536,
                                                        .min_rto_us = 50 * MS_US,
                                                        .max_rto_us = 2 * SECOND_US,
                                                        .first_rto_us = 200 * MS_US},
                                      .uplink_frame_bytes = 2000,
                                      .uplink_frame_entries = 16,
                                      .uplink_budget = g->budget,
                                      .boot_id = 1};
    CHECK_OK(store_open_memory(g->loop, g->disk, GATEWAY_TABLE_COUNT, &g->store));
    CHECK_OK(bus_new_memory(g->down_hub, g->loop, g->id, &g->down));
    if (g->parent[0] != '\0') {
        CHECK_OK(bus_new_memory(g->up_hub, g->loop, g->id, &g->up));
    }
    if (g->other[0] != '\0') {
        CHECK_OK(bus_new_memory(g->other_hub, g->loop, g->id, &g->other_up));
        g->others[0] = (struct uplink_parent){"site", g->other, g->other_up};
        options.other_parents = g->others;
        options.other_parent_count = 1;
        options.failover_after_us = options.failback_after_us = RIG_FAILOVER_US;
    }
    CHECK_OK(gateway_new(g->loop, g->down, g->up, g->store, &options, &g->gateway, NULL));
    CHECK_OK(gateway_start(g->gateway));
}

static RIG_UNUSED void rig_gateway_kill(struct rig_gateway *g)
{
    bus_free(g->down);
    bus_free(g->up);
    bus_free(g->other_up);
    gateway_free(g->gateway);
    store_close(g->store);
    g->down = g->up = g->other_up = NULL;
    g->gateway = NULL;
    g->store = NULL;
}

static RIG_UNUSED void rig_gateway_restart(struct rig_gateway *g)
{
    rig_gateway_kill(g);
    rig_gateway_start(g);
}

/* ---- the bridge ---- */
static RIG_UNUSED void rig_bridge_start(struct rig *rig)
{
    struct bridge_options options = {.site = "site", .bridge = "bridge", .software = "test"};
    struct sink sinks[RIG_SINKS_MAX];
    CHECK_OK(store_open_memory(rig->bridge.loop, rig->bridge.disk, BRIDGE_TABLE_COUNT, &rig->bridge.store));
    CHECK_OK(bus_new_memory(rig->hubs[0], rig->bridge.loop, "bridge", &rig->bridge.bus));
    for (size_t i = 0; i < rig->sink_count; i++) {
        CHECK_OK(sink_memory_open(rig->sinks[i], &sinks[i]));
    }
    CHECK_OK(bridge_new(rig->bridge.loop, rig->bridge.bus, rig->bridge.store, sinks, rig->sink_count, &options,
                        &rig->bridge.bridge, NULL));
    CHECK_OK(bridge_start(rig->bridge.bridge));
}

static RIG_UNUSED void rig_bridge_kill(struct rig *rig)
{
    bus_free(rig->bridge.bus);
    bridge_free(rig->bridge.bridge);
    store_close(rig->bridge.store);
    rig->bridge.bus = NULL;
    rig->bridge.bridge = NULL;
    rig->bridge.store = NULL;
}

static RIG_UNUSED void rig_bridge_restart(struct rig *rig)
{
    rig_bridge_kill(rig);
    rig_bridge_start(rig);
}

/* ---- the whole ---- */
static RIG_UNUSED void rig_new(struct rig *rig, uint64_t seed, size_t sinks)
{
    *rig = (struct rig){.sink_count = sinks};
    CHECK_OK(loop_world_new(seed, &rig->world));
    CHECK_OK(bus_hub_new(rig->world, &rig->hubs[0]));
    CHECK_OK(loop_new_virtual(rig->world, &rig->bridge.loop));
    loop_set_worker_latency(rig->bridge.loop, 3 * MS_US);
    CHECK_OK(store_disk_new(64 << 20, &rig->bridge.disk));
    for (size_t i = 0; i < sinks; i++) {
        CHECK_OK(sink_memory_disk_new(&rig->sinks[i]));
    }
}

/* parent NULL = the bridge. */
static RIG_UNUSED struct rig_gateway *rig_add_gateway(struct rig *rig, const char *id, struct rig_gateway *parent,
                                                      uint64_t store_bytes)
{
    struct rig_gateway *g = &rig->gateways[rig->gateway_count];
    size_t hub = ++rig->gateway_count;
    g->rig = rig;
    snprintf(g->id, sizeof(g->id), "%s", id);
    snprintf(g->parent, sizeof(g->parent), "%s", parent ? parent->id : "bridge");
    CHECK_OK(bus_hub_new(rig->world, &rig->hubs[hub]));
    g->down_hub = rig->hubs[hub];
    g->up_hub = parent ? parent->down_hub : rig->hubs[0];
    CHECK_OK(loop_new_virtual(rig->world, &g->loop));
    loop_set_worker_latency(g->loop, 3 * MS_US);
    CHECK_OK(store_disk_new(store_bytes, &g->disk));
    return g;
}

/* Before rig_start: a second parent for g. */
static RIG_UNUSED void rig_add_parent(struct rig_gateway *g, const struct rig_gateway *parent)
{
    snprintf(g->other, sizeof(g->other), "%s", parent->id);
    g->other_hub = parent->down_hub;
}

/* At any time: another parent when g is started the next time. */
static RIG_UNUSED void rig_set_parent(struct rig_gateway *g, const struct rig_gateway *parent)
{
    snprintf(g->parent, sizeof(g->parent), "%s", parent ? parent->id : "bridge");
    g->up_hub = parent ? parent->down_hub : g->rig->hubs[0];
}

static RIG_UNUSED struct rig_device *rig_add_device(struct rig *rig, const char *id, struct rig_gateway *gateway)
{
    struct rig_device *d = &rig->devices[rig->device_count++];
    d->rig = rig;
    d->hub = gateway->down_hub;
    snprintf(d->id, sizeof(d->id), "%s", id);
    snprintf(d->gateway, sizeof(d->gateway), "%s", gateway->id);
    topic_format("site", d->gateway, d->id, TOPIC_TELE, d->topic);
    topic_format("site", d->gateway, d->id, TOPIC_ACK, d->ack);
    buffer_init(&d->frame, WIRE_FRAME_MAX);
    CHECK_OK(loop_new_virtual(rig->world, &d->loop));
    loop_set_worker_latency(d->loop, 2 * MS_US);
    CHECK_OK(store_disk_new(64 << 20, &d->disk));
    return d;
}

static RIG_UNUSED void rig_start(struct rig *rig)
{
    rig_bridge_start(rig);
    for (size_t i = 0; i < rig->gateway_count; i++) {
        rig_gateway_start(&rig->gateways[i]);
    }
    for (size_t i = 0; i < rig->device_count; i++) {
        rig_device_start(&rig->devices[i]);
    }
}

static RIG_UNUSED bool rig_drained(struct rig *rig)
{
    for (size_t i = 0; i < rig->device_count; i++) {
        if (!rig_device_drained(&rig->devices[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < rig->gateway_count; i++) {
        if (!gateway_drained(rig->gateways[i].gateway)) {
            return false;
        }
    }
    return bridge_drained(rig->bridge.bridge);
}

static RIG_UNUSED void rig_free(struct rig *rig)
{
    for (size_t i = 0; i < rig->device_count; i++) {
        rig_device_kill(&rig->devices[i]);
        buffer_deinit(&rig->devices[i].frame);
        store_disk_free(rig->devices[i].disk);
        loop_free(rig->devices[i].loop);
    }
    for (size_t i = 0; i < rig->gateway_count; i++) {
        rig_gateway_kill(&rig->gateways[i]);
        store_disk_free(rig->gateways[i].disk);
        loop_free(rig->gateways[i].loop);
    }
    rig_bridge_kill(rig);
    store_disk_free(rig->bridge.disk);
    loop_free(rig->bridge.loop);
    for (size_t i = 0; i <= rig->gateway_count; i++) {
        bus_hub_free(rig->hubs[i]);
    }
    for (size_t i = 0; i < rig->sink_count; i++) {
        sink_memory_disk_free(rig->sinks[i]);
    }
    loop_world_free(rig->world);
}

/* ---- the checker ---- */
struct rig_found {
    const char *device;
    uint64_t epoch, durable;
    bool quiet; /* count instead of failing */
    unsigned streams, wrong;
    uint64_t records, gaps; /* numbers */
};

static RIG_UNUSED void rig_check_stream(void *arg, const struct sink_stream *stream, bool hop,
                                        const struct sink_row *rows, size_t count)
{
    struct rig_found *f = arg;
    uint64_t next = 1;
    if (hop || strcmp(stream->device, f->device) != 0 || stream->epoch != f->epoch) {
        return;
    }
    f->streams++;
    for (size_t i = 0; i < count; i++) {
        const struct sink_row *row = &rows[i];
        bool joins = row->first == next && row->last >= row->first && row->last <= f->durable;
        bool intact = row->kind != SINK_BLOCK || row->crc == rig_record_crc(f->device, f->epoch, row->first);
        if (!joins || !intact) {
            f->wrong++;
            if (!f->quiet) {
                fprintf(stderr, "%s row %zu: %s %llu..%llu, expected to begin at %llu\n", f->device, i,
                        intact ? "joins badly:" : "is not what was written:", (unsigned long long)row->first,
                        (unsigned long long)row->last, (unsigned long long)next);
            }
        }
        *(row->kind == SINK_GAP ? &f->gaps : &f->records) += row->last - row->first + 1;
        next = row->last + 1;
    }
    if (next != f->durable + 1 || stream->hwm != f->durable) {
        f->wrong++;
    }
}

/* Every number of the lane is in the sink once, in order, intact, or declared lost. Returns the numbers in gaps. */
static RIG_UNUSED uint64_t rig_check(struct rig *rig, size_t sink, const struct rig_device *d, uint8_t lane)
{
    struct rig_found f = {.device = d->id,
                          .epoch = spool_epoch(d->spools[lane]),
                          .durable = spool_durable(d->spools[lane])};
    sink_memory_foreach(rig->sinks[sink], rig_check_stream, &f);
    CHECK_INT(f.streams, f.durable > 0 ? 1 : 0);
    CHECK_INT(f.wrong, 0);
    CHECK_INT(f.records + f.gaps, f.durable);
    return f.gaps;
}

static RIG_UNUSED uint64_t rig_check_all(struct rig *rig)
{
    uint64_t gaps = 0;
    for (size_t sink = 0; sink < rig->sink_count; sink++) {
        for (size_t i = 0; i < rig->device_count; i++) {
            gaps += rig_check(rig, sink, &rig->devices[i], 0) + rig_check(rig, sink, &rig->devices[i], 1);
        }
    }
    return gaps;
}

#endif
