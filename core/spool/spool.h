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
 * Every entry is sealed: CRC32C always (over lane, epoch, last, format, first, body); AES-256-GCM with a nonce of
 * its own when a key is given (then the same fields are the associated data, and the CRC32C is over what is stored,
 * so that damage and a wrong key can be told apart). An entry that does not verify, or that is missing, is reported
 * as damaged, with its range, and reading goes on behind it.
 *
 * Table layout (one table, shared by the lanes):  key   = lane u8 | epoch u64be | last u64be
 *                                                 value = format u8 | first u64le | crc32c u32le | body
 *                 meta table:                     key   = "spool/" lane u8
 *                                                 value = version u8 | epoch u64le | trimmed u64le | origin u64le |
 *                                                         (version 2: key epoch u64le | shift u64le |) crc32c u32le
 * format: 1 plain body, 2 body = nonce | ciphertext | tag. A meta record that does not verify is put together again
 * from the keys of the entries. Version 2 is that of a lane that was rebased: entries keep the key epoch and the
 * place that they were written with, number = place - shift, trimmed is a place; it is kept a second time under
 * "spool+" lane u8.
 *
 * Batches: the caller owns the batch, so that other keys go into the same transaction. Call spool_settle in done.
 * When a commit fails the store fails every batch begun before that was told (store.h); so a caller that keeps
 * settling in done gets numbers without holes, and need not throw away the batch that it is filling.
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

/* Reads the lane's state: all its keys, for spool_bytes. A lane that does not exist is not created here:
 * spool_epoch is 0 until spool_create has committed. ERR_DENIED when entries are encrypted and the key is missing
 * or another one, ERR_UNSUPPORTED when a later version wrote the lane, ERR_IO, ERR_NOMEM. */
enum err spool_open(struct loop *loop, struct store *store, const struct spool_options *options,
                    struct spool **ret_spool, struct fault *reterr) MUST_CHECK;
void spool_free(struct spool *spool);
DEFINE_CLEANUP(struct spool, spool_free)
/* Puts the new lane's meta record with a fresh random epoch into batch; valid after the commit and spool_settle.
 * Entries may be appended at once, to this batch or a later one. ERR_CONFLICT when the lane exists, ERR_NOMEM. */
enum err spool_create(struct spool *spool, struct store_batch *batch) MUST_CHECK;

uint64_t spool_epoch(const struct spool *spool);
/* The epoch that this one took over from (spool_rebase), 0 = none. */
uint64_t spool_origin(const struct spool *spool);
/* The meta record was damaged and has been put together again when the lane was opened. */
bool spool_repaired(const struct spool *spool);
uint64_t spool_trimmed(const struct spool *spool); /* everything <= this is gone */
uint64_t spool_durable(const struct spool *spool); /* highest committed number */
uint64_t spool_next(const struct spool *spool);
uint64_t spool_bytes(const struct spool *spool);   /* of readable and pending entries, keys and seals included */
/* Bytes that may still be appended under max_bytes; UINT64_MAX without a bound. */
uint64_t spool_room(const struct spool *spool);

/* Appends one entry that covers span numbers (>= 1); *ret_first receives its first number. Not readable, not to be
 * sent, before spool_settle(OK). ERR_RANGE when body is larger than SPOOL_BODY_MAX or span is 0, ERR_FULL over
 * max_bytes, ERR_AGAIN before the lane is created, ERR_NOMEM. On failure neither spool nor batch has changed. */
enum err spool_append(struct spool *spool, struct store_batch *batch, uint64_t span, struct slice body,
                      uint64_t *ret_first) MUST_CHECK;
/* What the batch with the appends up to number `last` has come to: OK makes them durable; anything else takes back all
 * that is not durable (next = durable + 1), drops and a rebase included; a trim stays in force and is written again
 * by the next one. Trims and creations settle here as well; `last` is 0, or spool_next - 1 as it was then, for a
 * batch without appends. To be called in the store's done. */
void spool_settle(struct spool *spool, uint64_t last, enum err result);
/* Deletes entries with last <= upto; at most what is durable. In force at once for readers, durable with the batch. */
enum err spool_trim(struct spool *spool, struct store_batch *batch, uint64_t upto) MUST_CHECK;
/* Drops the oldest entries until `bytes` are free (spool_room; without max_bytes: until so many are freed), but
 * none above `keep_above`; returns the range dropped (*ret_first > *ret_last when nothing was). The caller declares
 * the gap in the same batch: an entry appended, or spool_replace(first, last), which puts it where the dropped ones
 * were. */
enum err spool_drop_oldest(struct spool *spool, struct store_batch *batch, uint64_t bytes, uint64_t keep_above,
                           uint64_t *ret_first, uint64_t *ret_last) MUST_CHECK;
/* Replaces the entries that cover exactly first..last (durable; or just dropped, in the same batch) by one entry
 * with this body: how a gap takes the place of what was dropped. Readers see it when the batch has committed. Not
 * held against max_bytes. ERR_RANGE when the range is no whole number of entries; ERR_AGAIN while another
 * replacement, outside this range, is not settled. */
enum err spool_replace(struct spool *spool, struct store_batch *batch, uint64_t first, uint64_t last,
                       struct slice body) MUST_CHECK;
/* Begins a new epoch: entries above keep_above are renumbered from 1, the rest is deleted. For a store restored from an
 * old image. Valid after the commit and spool_settle; until then nothing is readable, and appends go to the new epoch.
 * ERR_AGAIN while appends are not settled. Moves no entry, so it takes no room: a full store can be rebased. */
enum err spool_rebase(struct spool *spool, struct store_batch *batch, uint64_t keep_above) MUST_CHECK;

struct spool_entry {
    uint64_t first, last;
    struct slice body; /* borrowed until fn returns; empty when damaged */
    bool damaged;
};
/* Durable entries whose last >= from, in order, without holes: what is missing or does not verify comes as damaged. fn
 * returns false to stop; it may append and trim, but not read the same spool. ERR_IO, ERR_NOMEM. */
enum err spool_read(struct spool *spool, uint64_t from, bool (*fn)(void *arg, const struct spool_entry *entry),
                    void *arg) MUST_CHECK;

#endif
