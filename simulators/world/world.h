/* SPDX-License-Identifier: Apache-2.0 */
/*
 * world - the whole hierarchy in one thread on a virtual clock: devices, gateway, bridge, sink; the products' own code
 * over the in-memory twins of loop, bus and store. Same seed, same run, bit for bit.
 *
 *   device-1..N --hub "plant"--> gw1 --hub "cloud"--> bridge1 --> judge (the sink, which also checks)
 *
 * Nodes are named device-N, gw1, bridge1. Faults are the calls below; the judge counts what reaches the sink against
 * what the devices' stores held durably. Devices read the pattern driver, so that every value can be computed again.
 */
#ifndef SIMULATORS_WORLD_WORLD_H
#define SIMULATORS_WORLD_WORLD_H

#include "core/base/base.h"
#include "core/bus/bus.h"
#include "core/store/store.h"

struct world;

/* Mistakes planted in the substrate, which the checks must find. */
enum world_mistake {
    WORLD_MISTAKE_NONE,
    WORLD_MISTAKE_ACK_BEFORE_COMMIT, /* the gateway's disk says done before it is durable */
    WORLD_MISTAKE_SEND_BEFORE_FSYNC, /* the devices' disks do */
    WORLD_MISTAKE_SINK_WITHOUT_MARK, /* the sink forgets its position and its streams' marks when the bridge dies */
    WORLD_MISTAKE_COUNT
};

struct world_options {
    uint64_t seed;
    unsigned devices;            /* 1..1000 */
    int64_t period_us;           /* of sampling */
    unsigned samples;            /* per record */
    unsigned channels;
    uint64_t device_store_bytes; /* 0 = 64 MiB */
    uint64_t bulk_bytes;         /* room of a device's bulk lane; 0 = the store's share */
    uint64_t gateway_store_bytes, bridge_store_bytes; /* 0 = 256 MiB */
    int64_t flush_us;            /* latency of a commit; 0 = 2 ms */
    enum world_mistake mistake;
};

enum err world_new(const struct world_options *options, struct world **ret_world) MUST_CHECK;
void world_free(struct world *world);
DEFINE_CLEANUP(struct world, world_free)

int64_t world_now_us(const struct world *world);
void world_run(struct world *world, int64_t until_us);

/* ERR_NOT_FOUND: no node of that name; "device-*" means every device. */
enum err world_crash(struct world *world, const char *node) MUST_CHECK; /* what is not durable is gone */
enum err world_start(struct world *world, const char *node) MUST_CHECK;
enum err world_link(struct world *world, const char *node, enum bus_link link) MUST_CHECK; /* gw1: its uplink */
enum err world_broker_restart(struct world *world, const char *hub, int64_t down_us) MUST_CHECK;
enum err world_faults(struct world *world, const char *hub, const struct bus_faults *faults) MUST_CHECK;
enum err world_clock(struct world *world, const char *node, int64_t wall_us) MUST_CHECK;
enum err world_disk(struct world *world, const char *node, enum store_disk_mode mode) MUST_CHECK;
/* Keeps a copy of the node's disk; restores it (the node is crashed and started). */
enum err world_snapshot(struct world *world, const char *node) MUST_CHECK;
enum err world_restore(struct world *world, const char *node) MUST_CHECK;
/* An empty disk: a device re-imaged, a gateway whose store was lost. Crashed and started. */
enum err world_wipe(struct world *world, const char *node) MUST_CHECK;
enum err world_alarm(struct world *world, const char *node) MUST_CHECK; /* the device reports an alarm event */

/* Stops sampling, repairs links, disks and faults, starts what is down, runs until everything is drained or limit_us has
 * passed. False when it did not drain. */
bool world_settle(struct world *world, int64_t limit_us);

struct world_report {
    uint64_t durable;    /* numbers the devices held durably, over all epochs that reached the sink */
    uint64_t delivered;  /* numbers of records in the sink */
    uint64_t lost;       /* neither delivered, suppressed nor declared */
    uint64_t duplicated, reordered, corrupt;
    uint64_t phantom;    /* in the sink but never durable at the device */
    uint64_t gaps, suppressed; /* declared numbers */
    uint64_t order_broken;     /* I5: acked <= hwm <= durable violated, seen after any step checked */
    uint64_t epochs;     /* streams in the sink, bulk lane */
    uint64_t closed;     /* streams closed at the gateway: old images, second instances */
    uint64_t alarms;     /* alarm events in the sink */
    int64_t alarm_delay_us; /* longest time from an alarm's report to the sink */
    uint64_t waiting;    /* durable at devices, not yet in the sink */
};
/* Counts now. Final lost is only meaningful after world_settle. */
void world_report(struct world *world, struct world_report *ret_report);
/* A line per violation, for people; empty when there is none. */
const char *world_complaints(const struct world *world);

#endif
