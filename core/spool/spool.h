/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spool - a durable queue of records with contiguous sequence numbers, kept in a store.
 *
 * A lane is one stream: (epoch, 1, 2, 3, ...). epoch is random and durable before the first record. An entry covers the
 * range first..last (one number for a record, more for a gap or a suppressed range). Several lanes live in one store.
 *
 *   trimmed            durable                 next
 *      |                  |                     |
 *   ---+==================+---------------------+---      == readable     -- appended, in a batch under way
 *   gone                                        first number of the next entry
 *
 * Every entry is sealed: CRC32C always (over epoch, lane, first, last, body); AES-256-GCM with a random nonce when a key
 * is given (then lane, epoch, first, last are the associated data). An entry that does not verify is reported as damaged,
 * with its range, and reading goes on behind it.
 *
 * Table layout (one table, shared by the lanes):  key   = lane u8 | epoch u64be | last u64be
 *                                                 value = format u8 | first u64le | seal | body
 *                 meta table:                     key   = "spool/" lane u8
 *                                                 value = version u8 | epoch u64le | trimmed u64le | origin u64le
 *
 * Batches: the caller owns the batch, so that other keys go into the same transaction. Call spool_settle in done.
 */
#ifndef CORE_SPOOL_SPOOL_H
#define CORE_SPOOL_SPOOL_H

#include "core/base/base.h"
#include "core/store/store.h"

struct spool;
struct crypt_aead;

enum { SPOOL_BODY_MAX = 256 * 1024 };

struct spool_options {
    unsigned table, meta_table; /* of the store */
    uint8_t lane;
    struct crypt_aead *aead; /* borrowed; NULL = CRC32C only */
    uint64_t max_bytes;      /* bytes of entries above which spool_room is 0; 0 = no own bound */
};

/* Reads the lane's state. A lane that does not exist is not created here: spool_epoch is 0 until spool_create has
 * committed. ERR_MALFORMED when the meta record does not parse, ERR_IO, ERR_NOMEM. */
enum err spool_open(struct loop *loop, struct store *store, const struct spool_options *options,
                    struct spool **ret_spool, struct fault *reterr) MUST_CHECK;
void spool_free(struct spool *spool);
DEFINE_CLEANUP(struct spool, spool_free)
/* Puts the new lane's meta record with a fresh random epoch into batch; valid after the commit and spool_settle. */
enum err spool_create(struct spool *spool, struct store_batch *batch) MUST_CHECK;

uint64_t spool_epoch(const struct spool *spool);
uint64_t spool_trimmed(const struct spool *spool); /* everything <= this is gone */
uint64_t spool_durable(const struct spool *spool); /* highest committed number */
uint64_t spool_next(const struct spool *spool);
uint64_t spool_bytes(const struct spool *spool);   /* of readable and pending entries, keys and seals included */
/* Bytes that may still be appended under max_bytes. */
uint64_t spool_room(const struct spool *spool);

/* Appends one entry that covers span numbers (>= 1); *ret_first receives its first number. Not readable, not to be sent,
 * before spool_settle(OK). ERR_RANGE when body is larger than SPOOL_BODY_MAX, ERR_FULL over max_bytes, ERR_NOMEM. */
enum err spool_append(struct spool *spool, struct store_batch *batch, uint64_t span, struct slice body,
                      uint64_t *ret_first) MUST_CHECK;
/* What the batch with the appends up to number `last` has come to: OK makes them durable; anything else takes back all
 * that is not durable (next = durable + 1). Trims and creations settle here as well. */
void spool_settle(struct spool *spool, uint64_t last, enum err result);
/* Deletes entries with last <= upto; at most what is durable. In force at once for readers, durable with the batch. */
enum err spool_trim(struct spool *spool, struct store_batch *batch, uint64_t upto) MUST_CHECK;
/* Drops the oldest entries until `bytes` are free, but none above `keep_above`; returns the range dropped
 * (*ret_first > *ret_last when nothing was). The caller appends the gap record in the same batch. */
enum err spool_drop_oldest(struct spool *spool, struct store_batch *batch, uint64_t bytes, uint64_t keep_above,
                           uint64_t *ret_first, uint64_t *ret_last) MUST_CHECK;
/* Replaces the entry range first..last (durable, oldest) by one entry with this body: how a gap takes the place of what
 * was dropped. */
enum err spool_replace(struct spool *spool, struct store_batch *batch, uint64_t first, uint64_t last,
                       struct slice body) MUST_CHECK;
/* Begins a new epoch: entries above keep_above are renumbered from 1, the rest is deleted. For a store restored from an
 * old image. Valid after the commit and spool_settle. */
enum err spool_rebase(struct spool *spool, struct store_batch *batch, uint64_t keep_above) MUST_CHECK;

struct spool_entry {
    uint64_t first, last;
    struct slice body; /* borrowed until fn returns; empty when damaged */
    bool damaged;
};
/* Durable entries whose last >= from, in order; fn returns false to stop. ERR_IO. */
enum err spool_read(struct spool *spool, uint64_t from, bool (*fn)(void *arg, const struct spool_entry *entry),
                    void *arg) MUST_CHECK;

#endif
