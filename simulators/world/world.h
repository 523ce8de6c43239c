/* SPDX-License-Identifier: Apache-2.0 */
/*
 * world - the whole hierarchy in one thread on a virtual clock: devices, gateways, bridge, sink; the products' own
 * code over the in-memory twins of loop, bus and store. Same seed, same run, bit for bit.
 *
 *   lines = 0   device-1..N ~> gw1 ~> bridge1 -> judge
 *   lines = L   device-1..N ~> line-1..L ~> [site1 ~>] bridge1 -> judge      device-i at line ((i-1) mod L) + 1
 *
 * Each gateway and the bridge have a broker of their own (a hub), which their children talk to; it is named as they
 * are (lines = 0: also "plant" for gw1's and "cloud" for bridge1's). Faults are the calls below. Devices read the
 * pattern driver, so that every value can be computed again.
 *
 * Checked, while it runs and at the end (docs/architecture.md, invariants I1-I10):
 *   world.c, checks.c  I5 at every hop, I6, I10 on every acknowledgement as it is published
 *   judge.c            the sink: I1 by numbers, I2, I3, I4, I8, I9
 *   ledger.c           the same once more by content: every record that a device's disk ever held durably, by its
 * bytes
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
    WORLD_MISTAKE_ACK_BEFORE_COMMIT, /* the gateways' disks say done before it is durable */
    WORLD_MISTAKE_SEND_BEFORE_FSYNC, /* the devices' disks do */
    WORLD_MISTAKE_SINK_WITHOUT_MARK, /* the sink forgets its position and its streams' marks when the bridge dies */
    WORLD_MISTAKE_TRIM_BEFORE_ACK,   /* a device takes the broker's word for the gateway's: frames are acknowledged
                                      * to it as the broker takes them, and it trims */
    WORLD_MISTAKE_UNSYNCED_EPOCH,    /* a device's first commit (its log's epoch, its count of starts) is gone after its
                                      * first crash, though what followed is durable */
    WORLD_MISTAKE_STATE_WITHOUT_RECORDS, /* a gateway's filter commits its position in a batch of its own: what it
                                          * curated last is gone after its crash, and is not curated again */
    WORLD_MISTAKE_COUNT
};
const char *world_mistake_name(enum world_mistake mistake);
/* ERR_NOT_FOUND. */
enum err world_mistake_parse(const char *name, enum world_mistake *ret_mistake) MUST_CHECK;

/* Rules that gateways may have. Channel 0 is thinned out, the others only go into windows (raw: drop), so that every
 * value can be accounted for. */
enum world_rules {
    WORLD_RULES_NONE,
    WORLD_RULES_THIN,    /* deadband and range on channel 0 */
    WORLD_RULES_WINDOWS, /* channels from 1 on, of ten seconds; channel 0 on change only */
    WORLD_RULES_CAPTURE, /* channel 0's peaks, 3 s before to 5 s after; deduped; windows of channel 2 */
    WORLD_RULES_COUNT
};
const char *world_rules_name(enum world_rules rules);

enum { WORLD_DEVICES_MAX = 1000, WORLD_LINES_MAX = 16, WORLD_NAME_MAX = 24 };

struct world_options {
    uint64_t seed;
    unsigned devices;            /* 1..WORLD_DEVICES_MAX */
    int64_t period_us;           /* of sampling */
    unsigned samples;            /* per record */
    unsigned channels;
    uint64_t device_store_bytes; /* 0 = 64 MiB */
    uint64_t bulk_bytes;         /* room of a device's bulk lane; 0 = the store's share */
    uint64_t gateway_store_bytes, bridge_store_bytes; /* 0 = 256 MiB */
    int64_t flush_us;            /* latency of a commit; 0 = 2 ms */
    enum world_mistake mistake;
    unsigned lines;              /* 0..WORLD_LINES_MAX */
    bool site;                   /* lines > 0: site1 between them and the bridge */
    int64_t device_flush_us;     /* latency of a device's commit; 0 = flush_us */
    int64_t commit_delay_us;     /* of gateways and bridge */
    enum world_rules line_rules, site_rules; /* of the gateways that devices talk to; of site1 */
    uint64_t ring_bytes;         /* of gateways with rules */
};

/* ERR_RANGE, ERR_NOMEM. */
enum err world_new(const struct world_options *options, struct world **ret_world) MUST_CHECK;
void world_free(struct world *world);
DEFINE_CLEANUP(struct world, world_free)

int64_t world_now_us(const struct world *world);
void world_run(struct world *world, int64_t until_us);
/* Programs keep each other busy without end; a violation. Nothing runs any more, the time stands. */
bool world_stuck(const struct world *world);
/* So many events more, none beyond until_us. */
void world_step(struct world *world, unsigned events, int64_t until_us);

/* ERR_NOT_FOUND: no node (or hub) of that name; "device-*" means every device, hub "*" every hub. */
enum err world_crash(struct world *world, const char *node) MUST_CHECK; /* what is not durable is gone */
/* The same, but the first `batches` commits under way have just become durable; nobody was told. */
enum err world_crash_after(struct world *world, const char *node, unsigned batches) MUST_CHECK;
enum err world_start(struct world *world, const char *node) MUST_CHECK;
enum err world_link(struct world *world, const char *node, enum bus_link link) MUST_CHECK; /* to its parent */
enum err world_broker_restart(struct world *world, const char *hub, int64_t down_us) MUST_CHECK;
enum err world_faults(struct world *world, const char *hub, const struct bus_faults *faults) MUST_CHECK;
extern const struct bus_faults world_calm; /* what a hub has without faults */
enum err world_clock(struct world *world, const char *node, int64_t wall_us) MUST_CHECK;
enum err world_disk(struct world *world, const char *node, enum store_disk_mode mode) MUST_CHECK;
/* Keeps a copy of the node's disk; restores it (the node is crashed and started). */
enum err world_snapshot(struct world *world, const char *node) MUST_CHECK;
enum err world_restore(struct world *world, const char *node) MUST_CHECK;
/* Whether an image taken now is one that the protocol promises to find out (core/window/window.h names what is not):
 * each lane has numbers, and this start was answered. */
bool world_image_is_sound(struct world *world, const char *node);
/* An empty disk: a device re-imaged, a gateway whose store was lost. Crashed and started. */
enum err world_wipe(struct world *world, const char *node) MUST_CHECK;
enum err world_alarm(struct world *world, const char *node) MUST_CHECK; /* the device reports an alarm event */
enum err world_period(struct world *world, const char *node, int64_t period_us) MUST_CHECK;
/* The gateway's rules from now on, also when it is dead; a gateway that began without begins with them when it is
 * started next. Steps the world until they are in force. */
enum err world_set_rules(struct world *world, const char *node, enum world_rules rules) MUST_CHECK;
/* After world_settle, where there are rules: ends them, and lets every device report once more, so that open
 * windows go up; drained again when it returns true. From then on every value has to be accounted for. */
bool world_close_windows(struct world *world, int64_t limit_us);
/* What the sink does with writes: takes them, fails, or commits and then says that it failed. */
enum world_sink { WORLD_SINK_OK, WORLD_SINK_FAILS, WORLD_SINK_DEAF };
void world_sink(struct world *world, enum world_sink mode);

/* Stops sampling, repairs links, disks and faults, starts what is down, runs until everything is drained or limit_us
 * has passed. False when it did not drain. */
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
    uint64_t closed;     /* streams closed at the devices' gateways: old images, second instances */
    uint64_t alarms;     /* alarm events in the sink */
    int64_t alarm_delay_us; /* longest time from an alarm's report to the sink */
    uint64_t waiting;    /* durable at devices, not yet in the sink */
    /* more violations */
    uint64_t undeclared; /* records that a device held durably, and that neither came nor fit into what was declared */
    uint64_t unfounded;  /* I9: numbers declared lost, streams closed or begun, records absorbed, without a cause */
    uint64_t acked_early; /* I10 */
    uint64_t over_cap;    /* I6 */
    uint64_t miscounted;  /* values of windowed channels that are in no window and not raw in the sink; or twice */
    /* figures */
    uint64_t readings;    /* values in the sink: samples x channels */
    uint64_t hop_gaps;    /* numbers of hops that gateways declared lost: a parent lost its store */
    uint64_t absorbed;    /* records that the sink had already */
    uint64_t curated, captured, windows; /* records shaped by rules; raw records on request; windows */
    uint64_t events;      /* steps of the world */
    uint64_t max_disk_bytes;
    int64_t drain_us;     /* of the last world_settle, from the mending on */
    uint64_t digest;      /* of everything that was sent, stored and delivered, with its time */
};
/* Counts now. lost, undeclared and unfounded are only final after world_settle. */
void world_report(struct world *world, struct world_report *ret_report);
/* Sum of what must be 0 at any time (final: and of what must be 0 after settling). */
uint64_t world_violations(const struct world_report *report, bool final);
/* A line per violation, for people; empty when there is none. */
const char *world_complaints(const struct world *world);

#endif
