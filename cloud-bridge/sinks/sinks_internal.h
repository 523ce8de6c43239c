/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this folder share beyond the tools of module.h: the rows that the drain keeps about its sinks.
 *
 * In the bridge's table `sinks`, beside the lane of the dead letters (dead.h; its count is 0xfb), each sealed with a
 * CRC-32C:
 *
 *   0xfe | sink                                  vouch: epochs and durable ends of the lanes, beyond which the position
 *                                                that this sink will tell is to be doubted
 *   0xfd | sink                                  kept: epochs and positions of a sink that cannot keep its own
 *   0xfc | sink | 0 | device | 0 | epoch u64be   owed: numbers first..last of a stream that were given up for this sink
 */
#ifndef CLOUD_BRIDGE_SINKS_SINKS_INTERNAL_H
#define CLOUD_BRIDGE_SINKS_SINKS_INTERNAL_H

#include "cloud-bridge/sinks/module.h"
#include "core/store/store.h"
#include "proto/receive/receive.h"

/* ---- vouch.c ----
 *
 * A sink that is away at the start cannot show that the spool came back from an old image (sinks_ahead). By the time it
 * answers the spool may have given out again the numbers that the sink's position covers, perhaps in an earlier life
 * of the process. So the durable ends are kept when a life begins with a sink that has not told its position, and are
 * forgotten once it has: a position beyond them is not believed, and everything that the spool has is offered again. */
/* Puts the row, unless there is one of these epochs. ERR_NOMEM, ERR_IO. */
enum err vouch_put(struct store *store, struct store_batch *batch, unsigned table, const char *sink,
                   struct spool *const spools[INBOX_LANES]) MUST_CHECK;
/* The highest position of each lane that may be believed. Never fails: without a row it is what is durable now. */
void vouch_get(struct store *store, unsigned table, const char *sink, struct spool *const spools[INBOX_LANES],
               uint64_t ret_ceiling[INBOX_LANES]);
enum err vouch_delete(struct store_batch *batch, unsigned table, const char *sink) MUST_CHECK;

/* The same form: the position of a sink without one of its own. */
enum err kept_put(struct store_batch *batch, unsigned table, const char *sink, struct spool *const spools[INBOX_LANES],
                  const uint64_t position[INBOX_LANES]) MUST_CHECK;
/* 0 where there is none of this epoch. */
void kept_get(struct store *store, unsigned table, const char *sink, struct spool *const spools[INBOX_LANES],
              uint64_t ret_position[INBOX_LANES]);

/* ---- owed.c: what was given up for a sink, to be declared in it as gaps ---- */
struct owed_stream {
    struct sink_mark_key key;
    uint64_t first, last, top;
    uint8_t lane;
    char gateway[ID_MAX + 1];
    UT_hash_handle hh;
};
struct owed {
    char sink[ID_MAX + 1];
    struct store *store; /* borrowed; NULL: in memory only */
    unsigned table;
    struct owed_stream *streams;
    uint64_t records; /* given up since the start */
    bool dirty;       /* not all of it is known to be durable */
};
enum err owed_load(struct owed *owed, struct store *store, unsigned table, const char *sink) MUST_CHECK;
void owed_deinit(struct owed *owed);
/* Gives up what the spool has behind *position until `bytes` are passed or `upto` is reached: moves *position, and
 * puts the rows into batch. ERR_IO, ERR_NOMEM. */
enum err owed_give_up(struct owed *owed, struct store_batch *batch, struct spool *spool, uint64_t upto, uint64_t bytes,
                      uint64_t *position) MUST_CHECK;
/* Puts the rows once more that may not be durable. */
enum err owed_put_again(const struct owed *owed, struct store_batch *batch) MUST_CHECK;
/* Fills items with gaps of reason OVERFLOW, at most `max`; bodies has room for OWED_BODY_BYTES each. */
enum { OWED_BODY_BYTES = 64 };
size_t owed_items(const struct owed *owed, struct sink_item *items, size_t max, uint8_t *bodies, uint64_t wall_us);
/* The items are in the sink. */
enum err owed_settle(struct owed *owed, struct store_batch *batch, const struct sink_item *items,
                     size_t count) MUST_CHECK;

/* A Gap's bytes into OWED_BODY_BYTES at `body`. */
struct slice sink_gap_body(uint8_t *body, uint64_t first, uint64_t last, Weir__V1__GapReason reason, uint64_t wall_us);

#endif
