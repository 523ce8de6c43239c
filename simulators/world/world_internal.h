/* SPDX-License-Identifier: Apache-2.0 */
/*
 * world_internal - what the parts of the world share.
 *
 *   world.c   nodes: making, life and death, running, the end      faults.c  what can be done to them
 *   checks.c  I5, I6, I10, the digest                              judge.c   the sink, and its checks
 *   ledger.c  every record by its bytes                            manifest.c  what each number of a stream stands for
 *   curated.c gateways' rules, and where every value has gone
 */
#ifndef SIMULATORS_WORLD_WORLD_INTERNAL_H
#define SIMULATORS_WORLD_WORLD_INTERNAL_H

#include "cloud-bridge/bridged/bridged.h"
#include "cloud-bridge/sinks/sinks.h"
#include "core/base/buffer.h"
#include "device/agent/agent.h"
#include "gateway/gatewayd/gatewayd.h"
#include "proto/rules/rules.h"
#include "proto/wire/wire.h"
#include "simulators/world/world.h"

enum node_kind { NODE_DEVICE, NODE_GATEWAY, NODE_BRIDGE };
enum { WORLD_LANES = INBOX_LANES };

/* Why I5 may not hold between a node and its parent for a while. */
struct node_excuse {
    uint64_t forked_epoch; /* an old image of the node runs in it: its parent may have more of it */
    bool behind;           /* the parent's store was set back: its mark may be below what it had acknowledged */
    int64_t behind_until_us; /* acknowledgements of its former life may still be on their way */
};

struct node {
    enum node_kind kind;
    char name[WORLD_NAME_MAX];
    struct world *world;
    struct node *parent; /* NULL: the bridge */
    struct bus_hub *hub; /* the broker beside it; NULL: a device */
    struct loop *loop;
    struct store_disk *disk, *snapshot;
    int64_t started_us;
    /* alive only: */
    struct store *store;
    struct bus *bus, *up;
    struct sense *sense;
    struct agent *agent;
    struct gateway *gateway;
    struct bridge *bridge;
    /* what the checks remember */
    uint64_t seen_epoch[WORLD_LANES]; /* device: the epochs last seen, to excuse them when the disk is wiped */
    struct node_excuse excuse[WORLD_LANES];
    unsigned wipes, restores;         /* of its disk */
    bool first_crash_done;            /* of its present disk; only for the planted mistake */
    enum world_rules rules;           /* gateway: of now, or of its next start */
    bool rules_begun;                 /* it went over from none to some while it had records */
    uint64_t dropped, dropped_before; /* device: numbers that overflow took, this start's and those of earlier ones */
};

struct world {
    struct world_options options;
    struct loop_world *time;
    struct judge *judge;
    struct ledger *ledger;
    struct manifest *manifest;
    struct rules *rules[WORLD_RULES_COUNT]; /* owned; NULL = not needed yet */
    bool windows_closed;
    struct node *nodes; /* devices, then lines (or gw1), then site1, then bridge1 */
    size_t count;
    uint64_t order_broken, acked_early, over_cap, events, alarms_raised, max_disk_bytes, digest;
    int64_t second_us;      /* the present second of virtual time began then */
    uint64_t second_events; /* and so many events were before it */
    bool stuck;             /* too many in one second: nothing runs any more */
    int64_t drain_us;
    int64_t next_settle_us; /* when a lying disk writes */
    struct buffer complaints, text;
    struct buffer ack; /* a forged one */
};

/* ---- world.c ---- */
enum err node_start(struct node *node) MUST_CHECK;
/* The node dies as it stands. */
void node_stop(struct node *node);
enum err node_new_disk(struct node *node) MUST_CHECK;
/* Of a disk that nobody has done anything to: OK, or what the planted mistake says. */
enum store_disk_mode node_disk_mode(const struct node *node);
static inline bool node_alive(const struct node *n)
{
    return n->store != NULL;
}
struct node *world_node(struct world *world, const char *name);
/* What the node's streams are at its parent: epoch, what it thinks is acknowledged, what is durable. False when there
 * is nothing to be asked. */
struct node_lane {
    uint64_t epoch, acked, durable;
};
bool node_lane(const struct node *node, unsigned lane, struct node_lane *ret_lane);
struct inbox *node_inbox(struct node *node);
/* A line among the complaints. */
void world_complain(struct world *world, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* ---- checks.c ---- */
/* Told to judge and ledger while the node can still be asked. */
void checks_observe(struct node *node);
/* Cheap enough to be done every few events. */
void checks_order(struct world *world);
void checks_disks(struct world *world);
static inline unsigned node_index(const struct node *n)
{
    return (unsigned)(n - n->world->nodes);
}
/* Watches the node's hub and disk. */
void checks_watch_hub(struct node *node);
void checks_watch_disk(struct node *node);
/* The disk is about to be replaced by image (NULL: an empty one). */
void checks_disk_gone(struct node *node, const struct store_disk *image);
/* Final: streams that were closed or begun without a cause. */
uint64_t checks_unfounded(struct world *world, struct buffer *complaints);
void checks_digest(struct world *world, uint64_t value);
uint64_t checks_hash(uint64_t seed, struct slice bytes);

/* ---- manifest.c ---- */
enum manifest_what {
    MANIFEST_RECORD, /* must arrive as it is */
    MANIFEST_OTHER,  /* a description */
    MANIFEST_RANGE   /* a gap */
};
struct manifest_line {
    uint64_t first, last; /* places in the node's own stream */
    enum manifest_what what;
    uint64_t content;     /* MANIFEST_RECORD: ledger_key */
    uint64_t content_before; /* what stood in this place until an image was restored; 0 = nothing */
    uint16_t samples;     /* of a block */
    uint64_t wall_us;     /* of a block's first sample */
    bool hop;             /* of a gateway or bridge: a Forward of a hop's own stream */
    uint16_t from;        /* whose it is: index of the node */
    uint8_t from_lane;
    uint64_t from_epoch, from_first, from_last; /* its numbers there */
};
struct manifest;
enum err manifest_new(struct manifest **ret_manifest) MUST_CHECK;
void manifest_free(struct manifest *manifest);
void manifest_put(struct manifest *manifest, unsigned node, uint8_t lane, uint64_t epoch,
                  const struct manifest_line *line);
/* The lane has begun a new epoch without moving its entries (core/spool): number n stands in page key_epoch, at
 * n + shift. */
void manifest_alias(struct manifest *manifest, unsigned node, uint8_t lane, uint64_t epoch, uint64_t key_epoch,
                    uint64_t shift);
/* Lines that touch the numbers first..last. */
void manifest_foreach(const struct manifest *manifest, unsigned node, uint8_t lane, uint64_t epoch, uint64_t first,
                      uint64_t last, void (*fn)(void *arg, const struct manifest_line *line), void *arg);

/* ---- ledger.c ---- */
struct ledger;
enum err ledger_new(struct ledger **ret_ledger) MUST_CHECK;
void ledger_free(struct ledger *ledger);
/* Whether a Record is one that must arrive as it is: a block, an event, a health report. */
bool ledger_counts(struct slice record);
bool ledger_is_range(struct slice record); /* a gap, or suppressed */
bool ledger_is_curated(struct slice record);
/* What stands for a record. owner: the device's index. */
uint64_t ledger_key(unsigned owner, struct slice record);
void ledger_durable(struct ledger *ledger, unsigned owner, struct slice record);
void ledger_undone(struct ledger *ledger, unsigned owner, struct slice record); /* was never durable */
void ledger_gone(struct ledger *ledger, unsigned owner, struct slice record);   /* its disk is lost */
/* The sink has accepted it; false: a second time. */
bool ledger_delivered(struct ledger *ledger, unsigned owner, struct slice record);
void ledger_declared(struct ledger *ledger, unsigned owner, uint64_t key); /* a gap covers it */
struct ledger_account {
    uint64_t missing; /* durable once, on a disk that was not lost; neither came nor was declared lost */
    uint64_t phantom; /* came, and no disk held it, or a power cut took it out again */
};
/* Per owner. */
void ledger_account(const struct ledger *ledger, struct ledger_account *accounts, size_t owners);

/* ---- curated.c ---- */
/* Rules, loaded when they are first asked for; WORLD_RULES_NONE: no rules. */
enum err curated_rules(struct world *world, enum world_rules rules, const struct rules **ret_rules) MUST_CHECK;
void curated_free(struct world *world);
/* Of a block; 0 for other kinds. */
unsigned curated_samples(struct slice record, uint64_t *ret_wall_us);
/* Planted: the records of the last batch are gone, the position is not. */
void curated_lose_last(struct node *node);
/* Where the values of a stream's channels have gone: how many are neither in the sink nor in a window yet. */
enum { CURATED_CHANNELS = 16 };
struct curated_account {
    int64_t open[CURATED_CHANNELS];
};
/* A record that rules shaped: values (decoded into [channels][samples]) come from number's `samples` rows. */
void curated_seen(struct curated_account *account, unsigned channels, unsigned samples);
void curated_shown(struct curated_account *account, const int64_t *values, size_t channels, size_t samples);
void curated_windows(struct curated_account *account, const Weir__V1__Curated *curated);
/* Whether every row is one of the `rows` rows of the pattern, in their order; missing values are no difference. */
bool curated_is_part(const int64_t *values, size_t channels, size_t samples, const char *device, uint64_t epoch,
                     uint64_t number, unsigned rows);

/* ---- judge.c: the sink ---- */
struct judge;
enum err judge_new(struct world *world, struct judge **ret_judge) MUST_CHECK;
void judge_free(struct judge *judge);
void judge_set_mode(struct judge *judge, enum world_sink mode);
/* The bridge's handle on it; closing the handle is the bridge's death, the judge lives on. */
struct sink judge_sink(struct judge *judge);
/* A device's store holds 1..top of this stream durably (monotonic per stream). */
void judge_durable(struct judge *judge, const struct node *device, uint64_t epoch, uint8_t lane, uint64_t top);
/* What of this stream was on a disk that is gone need not come. */
void judge_excuse(struct judge *judge, const struct node *device, uint64_t epoch, uint8_t lane);
/* Adds its counts. */
void judge_report(struct judge *judge, struct world_report *ret_report, struct buffer *complaints);

#endif
