/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uplink - the gateway's sending end: durable Forwards go to the parent (a gateway above, or the bridge) and stay
 * in the spool until the parent says that they are durable there.
 *
 *   spool lane 0, 1 -> core/outbox -> Frame on weir/v1/<parent site>/<parent>/<gateway>/up      (QoS 0)
 *   weir/v1/<parent site>/<parent>/<gateway>/ack -> outbox_answer -> trim, in the inbox's next batch
 *
 * Sets the handlers of the parent's bus. Alarms (lane 0) are offered to the bus first whenever it takes something.
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

struct uplink;

struct uplink_options {
    const char *parent_site, *parent; /* copied */
    const char *gateway;              /* our identity; copied */
    const char *software;             /* copied */
    uint64_t boot_seq;                /* durable before the uplink is made: uplink_boot */
    unsigned meta_table;              /* of the store: the outboxes' own records */
    struct window_sender_options window; /* each 0 = 32 frames, 2 MiB, 200 ms, 30 s, 1 s, 200 ms */
    size_t frame_bytes;     /* 0 = 64 KiB */
    unsigned frame_entries; /* 0 = 256 */
};
struct uplink_handlers {
    /* Where trims go: the batch that is committed next. */
    struct store_batch *(*batch)(void *arg);
    /* Nothing may be appended to the spools while held. */
    void (*hold)(void *arg, bool held);
    void *arg;
};

/* Reads the counter of starts from the meta table and puts the next value into batch. ERR_MALFORMED, ERR_IO,
 * ERR_NOMEM. */
enum err uplink_boot(struct store *store, unsigned meta_table, struct store_batch *batch,
                     uint64_t *ret_boot_seq) MUST_CHECK;
/* All borrowed. The spools' epochs must exist. */
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
};
/* The sentence that says that the parent's bus is up and yet the parent acknowledges nothing; false when that is not
 * so. */
enum { UPLINK_WHY_MAX = 256 };
bool uplink_unheard(const struct uplink *uplink, char ret_why[UPLINK_WHY_MAX]);
void uplink_stats(const struct uplink *uplink, struct uplink_stats *ret_stats);

#endif
