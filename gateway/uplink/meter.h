/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meter - gateway/budget at work in the uplink: asks it before a frame goes, tells it what went, keeps its state in the
 * store, and says when the link is not needed.
 *
 *   on_send --may?--> budget --no--> ERR_AGAIN; the look (once a second) or a commit kicks the lanes again
 *   state    key "budget" of the meta table, in the batch of the trims, once a second at most; at once when the lease
 *            runs out
 *   closed   the bulk lane waits, alarms only with alarms_wait; what nobody waits for takes no session: rest(true).
 *            The same while the budget is spent for more than a quarter of an hour
 *
 * What the operator opens (meter_open) does not outlive a restart.
 */
#ifndef GATEWAY_UPLINK_METER_H
#define GATEWAY_UPLINK_METER_H

#include "core/base/json.h"
#include "core/bus/bus.h"
#include "core/inbox/inbox.h"
#include "core/loop/loop.h"
#include "core/spool/spool.h"
#include "core/store/store.h"
#include "gateway/budget/budget.h"

enum { METER_BUSES = 8 };

struct meter;
struct meter_options {
    struct budget_rules rules;
    uint64_t boot_id; /* of the machine's present boot; 0 = not known */
    unsigned meta_table;
};
struct meter_handlers {
    struct store_batch *(*batch)(void *arg); /* the one that is committed next; asks for a commit soon */
    void (*kick)(void *arg);                 /* lanes that waited may go on */
    void (*rest)(void *arg, bool rest);      /* the session is not needed; or it is, again */
    void (*look)(void *arg);                 /* about to look: tell durable, acked and the buses' bytes */
    void *arg;
};
/* store borrowed. ERR_NOMEM, ERR_IO; a damaged state counts as all spent, and is logged. */
enum err meter_new(struct loop *loop, struct store *store, const struct meter_options *options,
                   const struct meter_handlers *handlers, struct meter **ret_meter) MUST_CHECK;
void meter_free(struct meter *meter);
DEFINE_CLEANUP(struct meter, meter_free)
/* The state as it is, without a lease. */
void meter_stop(struct meter *meter);
void meter_set(struct meter *meter, const struct budget_rules *rules);
void meter_open(struct meter *meter, int64_t for_us); /* 0 closes again */

/* Where the lane stands. */
void meter_lane(struct meter *meter, unsigned lane, uint64_t epoch, uint64_t durable, uint64_t acked, uint64_t bytes);
void meter_rebased(struct meter *meter, unsigned lane, uint64_t epoch, uint64_t keep_above);
/* What the bus with this number has carried. */
void meter_bus(struct meter *meter, unsigned number, const struct bus *bus);

/* May a PUBLISH of so many MQTT bytes go? If not, the lane waits: meter_waits. */
bool meter_may(struct meter *meter, unsigned lane, uint64_t bytes);
bool meter_waits(const struct meter *meter, unsigned lane);
/* It was published. Bodies: what is left of them is the frame's head. high: the highest number sent before. */
struct meter_frame {
    unsigned lane, bus;
    uint64_t bytes; /* as MQTT */
    uint64_t first, high;
    bool carrier; /* of a hello: its numbers are known */
    const struct slice *bodies;
    const uint64_t *spans; /* numbers that each covers */
    size_t count;
};
void meter_sent(struct meter *meter, const struct meter_frame *frame);
/* Everything up to it has outlived its class. */
uint64_t meter_expired(struct meter *meter, unsigned lane);
void meter_count_expired(struct meter *meter, unsigned lane, uint64_t numbers);

/* Adds the state to a batch of the trims' kind, when it is time. */
void meter_save(struct meter *meter, struct store_batch *batch);
/* A commit has succeeded: was it ours? */
void meter_committed(struct meter *meter);
/* New entries are durable: is the link needed? */
void meter_look(struct meter *meter);
/* No session is wanted now. */
bool meter_resting(const struct meter *meter);

/* The members of "uplink" in /status; and of /bill. */
void meter_json(struct meter *meter, struct json *j);
void meter_bill_json(struct meter *meter, struct json *j);

#endif
