/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spool_internal - what the parts of the spool share.
 *
 *   entry.c   one entry: key, value, seal        meta.c   the lane's record, and opening
 *   read.c    reading in order, holes, damage    spool.c  numbers, bytes, batches
 */
#ifndef CORE_SPOOL_SPOOL_INTERNAL_H
#define CORE_SPOOL_SPOOL_INTERNAL_H

#include "core/spool/spool.h"

#include "core/base/buffer.h"

enum {
    ENTRY_KEY_BYTES = 17,
    ENTRY_HEAD_BYTES = 13, /* format, first, crc32c */
    ENTRY_PLAIN = 1,
    ENTRY_SEALED = 2,
};

/* ---- entry.c ---- */
struct entry_key {
    uint8_t bytes[ENTRY_KEY_BYTES];
};
struct entry_key entry_key(uint8_t lane, uint64_t epoch, uint64_t last);
static inline struct slice entry_key_slice(const struct entry_key *key)
{
    return slice_of(key->bytes, ENTRY_KEY_BYTES);
}
/* The number that a key ends with; false when it is no key of this lane and epoch. */
bool entry_key_parse(struct slice key, uint8_t lane, uint64_t epoch, uint64_t *ret_last);
/* Bytes that an entry takes in the store. */
size_t entry_bytes(const struct crypt_aead *aead, size_t body_len);
/* Puts an entry into batch. */
enum err entry_put(struct store_batch *batch, unsigned table, struct crypt_aead *aead, const struct entry_key *key,
                   uint64_t first, struct slice body) MUST_CHECK;
enum entry_state { ENTRY_GOOD, ENTRY_DAMAGED, ENTRY_WRONG_KEY, ENTRY_NO_MEMORY };
/* Verifies; *ret_body is borrowed from value, or from plain when it had to be decrypted. */
enum entry_state entry_open(struct slice key, struct slice value, struct crypt_aead *aead, struct buffer *plain,
                            uint64_t *ret_first, struct slice *ret_body) MUST_CHECK;

/* ---- meta.c ---- */

/* Places and numbers. An entry stays where it was written: at its place, under the epoch that was in force then. After
 * a rebase numbers begin at 1 again, places do not: number = place - shift. Everything in here is in places; spool.c
 * and read.c translate at the public functions. */
struct lane {
    uint64_t epoch; /* 0 = none yet */
    uint64_t origin;
    uint64_t key_epoch; /* in the entries' keys; epoch, unless the lane was rebased */
    uint64_t shift;     /* <= trimmed */
    uint64_t trimmed, durable, next;
    uint64_t bytes; /* of the durable entries above trimmed */
};
/* A rebased lane's record is kept twice, since what keys tell is not enough to put it together again. */
enum err meta_put(struct store_batch *batch, const struct spool_options *options, const struct lane *lane) MUST_CHECK;
/* Takes the copy away, for a lane that is rebased no longer. */
enum err meta_drop_copy(struct store_batch *batch, const struct spool_options *options) MUST_CHECK;
/* What the committed record says; 0 without one. */
uint64_t meta_trimmed(struct store *store, const struct spool_options *options);
/* Reads the lane's state from the store. */
enum err meta_load(struct store *store, const struct spool_options *options, struct buffer *plain,
                   struct lane *ret_lane, bool *ret_repaired, struct fault *reterr) MUST_CHECK;

/* ---- spool.c ---- */
struct pending {
    uint64_t last;
    uint64_t bytes;
};

struct spool {
    struct loop *loop;
    struct store *store;
    struct spool_options options;
    struct lane lane;
    bool repaired;

    /* Appended, not durable: a ring, oldest first. Places, as all below. */
    struct pending *ring; /* owned */
    size_t ring_head, ring_count, ring_cap; /* cap is a power of two */
    uint64_t pending_bytes;

    /* A creation or rebase under way; the ring then belongs to it. */
    bool staging;
    struct lane staged;
    uint64_t staged_serial;

    /* Drops and replacements under way: undone when their batch fails. */
    bool dropping;
    uint64_t drop_serial;           /* of the newest one's batch */
    uint64_t drop_first, drop_last; /* what the newest drop took; 0 = none */
    /* The newest replacement: what the table has there now is to be taken for one entry of so many bytes. 0 = none. */
    struct {
        uint64_t first, last, bytes;
    } patch;
    uint64_t acked;                 /* trimmed by spool_trim: beyond being taken back */

    struct buffer plain; /* the entry being read, decrypted */
};

/* ---- read.c ---- */
/* Last place of the entry before the one that ends with `last`, or trimmed. */
enum err read_predecessor(struct spool *spool, uint64_t last, uint64_t *ret_last) MUST_CHECK;

#endif
