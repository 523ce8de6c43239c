/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vitals - feeds gateway/health: what is durable in the raw spools, record by record, in order.
 *
 *   raw spools --read behind a position in memory--> health_record --confirmed--> gateway_note, an event of our own
 *   every minute: states of devices that changed --> table "health", in the batch that is committed next
 *   at once: the state of a device that has described itself, as the spool soon lets go of the description
 *
 *   start:  RESTORING --states of the table read--> LOOKING which description is each device's last
 *           --> TAIL --those, of the last numbers, told--> LIVE
 *
 * The raw ones, not what rules leave of them: a sensor is judged by what it gave. As gateway/gatewayd/views it works
 * through VITALS_TURN entries and some milliseconds a round of the loop at most, holds no spool back, and commits nothing of its own. A start
 * goes on from the states of a minute ago, at most, at the durable top: figures are statistics, and some observations
 * fewer do them no harm. New calibrations look back likewise (vitals_set).
 */
#ifndef GATEWAY_GATEWAYD_VITALS_H
#define GATEWAY_GATEWAYD_VITALS_H

#include "core/base/base.h"
#include "core/inbox/inbox.h"
#include "core/loop/loop.h"
#include "core/spool/spool.h"
#include "core/store/store.h"
#include "gateway/health/health.h"

struct vitals;
struct crypt_aead;

enum { VITALS_TURN = 128, VITALS_TAIL = 4096 /* numbers of a lane */, VITALS_SAVED = 256 /* states a batch */ };

struct vitals_options {
    const struct health_options *health;     /* copied; its handler is set here */
    struct spool *const *spools;             /* borrowed, as all below; INBOX_LANES, created; outlive the vitals */
    struct crypt_aead *aead;                 /* states are sealed with it as the spools are; NULL = CRC-32C only */
    unsigned table;                          /* of the store */
    struct store_batch *(*batch)(void *arg); /* that which is committed next; NULL: out of memory */
    enum err (*note)(void *arg, const char *id, const char *text); /* ERR_FULL: not now */
    void *arg;
};
struct vitals_stats {
    uint64_t behind, missed; /* numbers not read yet; trimmed before they were read */
    uint64_t damaged;        /* states in the table that cannot be taken */
};

/* Begins by itself. ERR_RANGE, ERR_NOMEM. */
enum err vitals_new(struct loop *loop, struct store *store, const struct vitals_options *options,
                    struct vitals **ret_vitals) MUST_CHECK;
void vitals_free(struct vitals *vitals);
/* As health_set; the handler stays. */
enum err vitals_set(struct vitals *vitals, const struct health_options *health) MUST_CHECK;
/* The raw spools have more. */
void vitals_kick(struct vitals *vitals);
void vitals_stats(const struct vitals *vitals, struct vitals_stats *ret_stats);
/* health_json, with "feed". */
void vitals_json(const struct vitals *vitals, const char *device, struct buffer *out);

#endif
