/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the dead letters share.
 *
 *   dead.c         the lane, and the one operation that may be under way: put, remove, refused again
 *   dead_index.c   a letter as bytes; which letters there are, in memory; reading them
 *   dead_json.c    what the operator asks
 *
 * Entry of the lane:  version u8 | kind u8 | attempts u32le | time u64le | len u8, sink | len u8, reason | Forward
 * The table's key 0xfb has the count of those dropped:  count u64le | crc32c u32le.
 */
#ifndef CLOUD_BRIDGE_SINKS_DEAD_INTERNAL_H
#define CLOUD_BRIDGE_SINKS_DEAD_INTERNAL_H

#include "cloud-bridge/sinks/dead.h"

enum { DEAD_VERSION = 1, DEAD_FILLER_BYTES = 64 * 1024, DEAD_SINKS_MAX = 64, DEAD_MAYBE_BITS = 1 << 16 };
enum dead_kind { DEAD_KIND_LETTER = 1, DEAD_KIND_GONE, DEAD_KIND_FILLER };
#define DEAD_BODY_MAX ((size_t)SPOOL_BODY_MAX)
#define DEAD_DROPPED_KEY slice_of((const uint8_t[]){0xfb}, 1)

struct dead_place { /* of a letter in the index */
    uint64_t id, hash;
    unsigned sink;
};
struct dead {
    struct loop *loop;
    struct store *store;
    struct dead_options options;
    struct spool *spool;
    char (*sinks)[ID_MAX + 1]; /* DEAD_SINKS_MAX + 1; the last for all others */
    size_t sink_count;
    struct dead_place *places; /* in order of id */
    size_t count, cap;
    uint64_t maybe[DEAD_MAYBE_BITS / 64]; /* bits of the letters' hashes, of those gone as well */
    uint64_t dropped, filler;             /* filler: its id, 0 = gone */
    uint64_t dropped_before;              /* this was opened */
    /* the operation under way */
    bool busy, freed_room;
    const char *sink;
    const struct sink_batch *batch;
    const struct dead_letter *again;
    struct dead_place fresh[SINK_REFUSALS_MAX];
    size_t fresh_count;
    uint64_t remove_id, gone_upto, new_filler, last;
    void (*done)(void *arg, enum err result);
    void *arg;
};

/* ---- dead_index.c ---- */
uint64_t dead_hash(const char *sink, const struct wire_forward *f);
enum err dead_encode(const struct dead_letter *letter, struct buffer *out) MUST_CHECK;
/* Fills an index that is empty from the lane. */
enum err dead_load(struct dead *d) MUST_CHECK;
/* Room for so many places more. ERR_NOMEM. */
enum err dead_reserve(struct dead *d, size_t more) MUST_CHECK;
/* NULL: no such letter. */
struct dead_place *dead_find(const struct dead *d, uint64_t id);
void dead_forget_upto(struct dead *d, uint64_t upto);
void dead_note_hash(struct dead *d, uint64_t hash);
/* Its place in d->sinks; DEAD_SINKS_MAX for all that found none. */
unsigned dead_sink_index(struct dead *d, const char *name);

#endif
