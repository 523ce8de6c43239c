/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uplink - the gateway's sending end: durable Forwards go to the parent (a gateway above, or the bridge) and stay
 * in the spool until the parent says that they are durable there.
 *
 *   spool lane 0, 1 -> core/outbox -> Frame on weir/v1/<parent site>/<parent>/<gateway>/up      (QoS 0)
 *   weir/v1/<parent site>/<parent>/<gateway>/ack -> outbox_answer -> trim, in the inbox's next batch
 *
 * Parents. There may be several, in order of preference (gateway/parents has the table): it sends to one of them,
 * and goes over to another when that one is away or acknowledges nothing for failover_after. The lanes go on where
 * their acks stand: what a parent has acknowledged is its to pass on, all else the next one gets. The next one
 * does not know the lanes' epochs, or knows less of them: it notes what it never saw as forgotten (core/window),
 * in the hop's own stream, since it cannot know who has it.
 * Loop. Each parent says its path (proto/path). Whose path has us in it would send us our own records back:
 * nothing is sent to it while that is so. A probe finds it out and tells whether a parent is there: a frame of a
 * boot that nobody has, which the receiver answers (NEED_HELLO) and takes nothing of.
 *
 * Budget, windows, times to live: gateway/budget decides, meter.c asks it before a frame goes. A lane that may not
 * send waits; an entry that has outlived its class goes as a suppressed range (expire.c).
 *
 * Sets the handlers of the parents' buses. Alarms (lane 0) are offered to the bus first whenever it takes something.
 *
 * Rolled back: the parent knows more of a lane than the spool ever held (the store was restored from an old image).
 * The lane begins a new epoch with what the parent does not have:
 *   parent's answer -> hold the ingest until nothing is pending -> spool_rebase in the inbox's batch, which stands
 * in order
 *   with the trims before it -> durable -> go on, release
 */
#ifndef GATEWAY_UPLINK_UPLINK_H
#define GATEWAY_UPLINK_UPLINK_H

#include "core/base/base.h"
#include "core/bus/bus.h"
#include "core/inbox/inbox.h"
#include "core/loop/loop.h"
#include "core/outbox/outbox.h"
#include "core/spool/spool.h"
#include "core/store/store.h"
#include "gateway/budget/budget.h"
#include "proto/path/path.h"

struct json;
struct uplink;

/* A parent, and the bus to it: borrowed, not started. */
struct uplink_parent {
    const char *site, *id; /* copied */
    struct bus *bus;
};
struct uplink_options {
    const char *parent_site, *parent; /* the preferred one; copied */
    const struct uplink_parent *others; /* further ones in order of preference; they are started when they are needed */
    size_t other_count;
    int64_t failover_after_us, failback_after_us; /* 0 = 60 s */
    const char *site, *gateway;       /* our identity; copied. site NULL = that of the parent */
    const char *software;             /* copied */
    uint64_t boot_seq;                /* durable before the uplink is made: uplink_boot */
    unsigned meta_table;              /* of the store: the outboxes' own records */
    struct window_sender_options window; /* each 0 = 32 frames, 2 MiB, 200 ms, 30 s, 1 s, 200 ms */
    size_t frame_bytes;     /* 0 = 64 KiB */
    unsigned frame_entries; /* 0 = 256 */
    struct budget_rules budget; /* zeros: it may always send everything */
    uint64_t boot_id;           /* of the machine's present boot, for the budget's clock; 0 = not known */
};
struct uplink_handlers {
    /* Where trims go: the batch that is committed next. */
    struct store_batch *(*batch)(void *arg);
    /* Nothing may be appended to the spools while held. */
    void (*hold)(void *arg, bool held);
    /* Our own path has changed: the gateways below are told. May be NULL. */
    void (*on_path)(void *arg, const struct path *path);
    /* A parent has answered an ask; payload borrowed until return. NULL: none are made. */
    void (*on_answer)(void *arg, struct slice payload);
    void *arg;
};

/* Reads the counter of starts from the meta table and puts the next value into batch. ERR_MALFORMED, ERR_IO,
 * ERR_NOMEM. */
enum err uplink_boot(struct store *store, unsigned meta_table, struct store_batch *batch,
                     uint64_t *ret_boot_seq) MUST_CHECK;
/* All borrowed. bus is that of the preferred parent; the owner starts it. The spools' epochs must exist.
 * ERR_RANGE: more than 8 parents. */
enum err uplink_new(struct loop *loop, struct bus *bus, struct store *store, struct spool *const spools[INBOX_LANES],
                    const struct uplink_options *options, const struct uplink_handlers *handlers,
                    struct uplink **ret_uplink, struct fault *reterr) MUST_CHECK;
void uplink_free(struct uplink *uplink);
DEFINE_CLEANUP(struct uplink, uplink_free)
/* A commit of the inbox succeeded: new durable entries, perhaps a new epoch. */
void uplink_kick(struct uplink *uplink);

struct uplink_lane_stats {
    uint64_t epoch, acked, sent, top;
};
struct uplink_stats {
    struct uplink_lane_stats lane[INBOX_LANES];
    uint64_t frames, repeated_frames, timeouts, bad_acks, retained_ignored, rebased;
    uint64_t switches; /* from one parent to another */
};
/* The sentence that says that the parent's bus is up and yet the parent acknowledges nothing; false when that is not
 * so. */
enum { UPLINK_WHY_MAX = 256 };
bool uplink_unheard(const struct uplink *uplink, char ret_why[UPLINK_WHY_MAX]);
struct uplink_parent_state {
    const char *site, *id; /* borrowed */
    bool in_use, up;
    char loop[PATH_TEXT_MAX]; /* "g1 -> g2 -> g1" when its path has us in it; else empty */
};
size_t uplink_parent_count(const struct uplink *uplink);
/* i in order of preference. */
void uplink_parent_state(const struct uplink *uplink, size_t i, struct uplink_parent_state *ret_state);
void uplink_stats(const struct uplink *uplink, struct uplink_stats *ret_stats);

/* Hands an encoded Ask to the parent in use, QoS 0. ERR_AGAIN: it is away, the uplink is closed, its budget is spent. */
enum err uplink_ask(struct uplink *uplink, struct slice payload) MUST_CHECK;

/* ---- what it may cost (gateway/budget) ---- */
void uplink_set_budget(struct uplink *uplink, const struct budget_rules *rules);
/* Opens it for so long, whatever the windows say; 0 ends that. Not beyond a restart. */
void uplink_open(struct uplink *uplink, int64_t for_us);
/* It has no session now, and wants none. */
bool uplink_resting(const struct uplink *uplink);
/* The budget's state is written for the last time; the bulk lane sends nothing any more. */
void uplink_stop(struct uplink *uplink);
/* Members of an object that the caller has begun: of /status, and of /bill. */
void uplink_budget_json(struct uplink *uplink, struct json *j);
void uplink_bill_json(struct uplink *uplink, struct json *j);

#endif
