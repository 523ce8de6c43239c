/* SPDX-License-Identifier: Apache-2.0 */
/*
 * views - feeds gateway/publish: what is durable in the outgoing spools, record by record, in order.
 *
 *   outgoing spools (curated, or raw without rules) --read behind a position in memory--> publish_record
 *                                                     '-- Describe --> table "views", one a device
 *
 *   start:  SEEDING --descriptions of the table told--> TAIL --descriptions of the last numbers told--> LIVE
 *
 * The durable path knows nothing of it: it reads what is committed, at most VIEWS_TURN entries a round of the loop,
 * holds no spool back from being trimmed, and commits nothing of its own. What was trimmed before it was read is
 * counted (missed).
 *
 * A start begins at the durable top: what stands before has been told by the life before, or is not new. But blocks
 * can be read only by who knows their device's last Describe, and that may have been sent and trimmed long ago (a
 * device sends one at its start and every 1000 records). So the last one of each device, as it goes up, is kept in a
 * table of its own. It travels in the batch that the outgoing spools' owner commits next: one put a Describe and no
 * commit of its own whose failure others would share; none where the store is nearly full. When that batch fails the
 * put is lost; it comes again with the device's next Describe. Descriptions that were durable in the spool but not yet
 * in the table when the process ended are found in the TAIL.
 * The rules' states in the store know descriptions as well, but only where there are rules, and only by loading the
 * whole state of every stream; the raw spools (the ring) know those of the devices, which are not what goes up.
 */
#ifndef GATEWAY_GATEWAYD_VIEWS_H
#define GATEWAY_GATEWAYD_VIEWS_H

#include "core/base/base.h"
#include "core/inbox/inbox.h"
#include "core/loop/loop.h"
#include "core/spool/spool.h"
#include "core/store/store.h"
#include "gateway/publish/publish.h"

struct views;
struct crypt_aead;

enum { VIEWS_TURN = 256, VIEWS_TAIL = 4096 /* numbers of a lane */ };

struct views_options {
    struct publish *publish;      /* borrowed, as all here */
    struct spool *const *spools;  /* INBOX_LANES of them, created; outlive the views */
    struct crypt_aead *aead;      /* descriptions are sealed with it as the spools are; NULL = CRC-32C only */
    unsigned table;               /* of the store */
    struct store_batch *(*batch)(void *arg); /* that which is committed next; NULL: out of memory */
    void *arg;
};
struct views_stats {
    uint64_t behind; /* numbers that are durable and not read */
    uint64_t missed; /* numbers that were trimmed before they were read */
    uint64_t damaged; /* descriptions in the table that do not verify */
};

/* Begins by itself. ERR_NOMEM. */
enum err views_new(struct loop *loop, struct store *store, const struct views_options *options,
                   struct views **ret_views) MUST_CHECK;
void views_free(struct views *views);
/* The outgoing spools have more. */
void views_kick(struct views *views);
void views_stats(const struct views *views, struct views_stats *ret_stats);

#endif
