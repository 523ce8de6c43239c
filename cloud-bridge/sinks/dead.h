/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dead - letters that a sink can never take: which sink, why, since when, and the record as it came.
 *
 * A letter is durable here before the sink's position goes beyond the record (feeder_refused.c), so a crash loses
 * neither; put a second time (the crash came between the two) it is found and not kept twice. Letters live in a lane of
 * their own in the bridge's store, sealed like every record (core/spool); a letter's id is its number there. A removed
 * letter leaves an empty entry until the last one goes. Bounded by max_bytes: the oldest go, counted durably.
 *
 * A store that is full takes letters in exchange for the oldest ones, and for the first time in exchange for a filler
 * that was put there when the lane was made: otherwise a record that cannot be taken would hold up the very sink that
 * must make room.
 *
 * One operation at a time: ERR_AGAIN while one is under way. done is called on the loop.
 */
#ifndef CLOUD_BRIDGE_SINKS_DEAD_H
#define CLOUD_BRIDGE_SINKS_DEAD_H

#include "cloud-bridge/sinks/sinks.h"
#include "core/store/store.h"

enum { DEAD_LANE = 2 };
struct dead;
struct crypt_aead;
struct dead_options {
    unsigned table, meta_table; /* of the store */
    struct crypt_aead *aead;    /* borrowed; NULL = CRC32C only */
    uint64_t max_bytes;
};
struct dead_letter {
    uint64_t id;
    char sink[ID_MAX + 1], reason[SINK_REASON_MAX];
    uint64_t time_us;  /* wall clock when it was refused first */
    uint32_t attempts; /* times it was offered */
    struct wire_forward forward;
};
/* store is borrowed. Errors are spool_open's. */
enum err dead_open(struct loop *loop, struct store *store, const struct dead_options *options, struct dead **ret_dead,
                   struct fault *reterr) MUST_CHECK;
void dead_free(struct dead *dead);
DEFINE_CLEANUP(struct dead, dead_free)
/* Makes the lane when it is new: to be put into a batch whose done calls dead_created. */
enum err dead_create(struct dead *dead, struct store_batch *batch) MUST_CHECK;
void dead_created(struct dead *dead, enum err result);

/* Keeps what batch->refusals names; the batch stays the caller's and untouched until done. */
enum err dead_put(struct dead *dead, const char *sink, const struct sink_batch *batch,
                  void (*done)(void *arg, enum err result), void *arg) MUST_CHECK;
/* ERR_NOT_FOUND. done may be NULL. */
enum err dead_remove(struct dead *dead, uint64_t id, void (*done)(void *arg, enum err result), void *arg) MUST_CHECK;
/* It was offered again and refused again: becomes a new letter, with another id. */
enum err dead_refused_again(struct dead *dead, uint64_t id, const char *reason,
                            void (*done)(void *arg, enum err result), void *arg) MUST_CHECK;
/* Whether this sink has a letter of this record. Cheap when it has not. */
bool dead_has(struct dead *dead, const char *sink, const struct wire_forward *forward);

/* The record is borrowed until fn returns. From id `from` on, in order; fn returns false to stop. ERR_IO, ERR_NOMEM. */
enum err dead_foreach(struct dead *dead, uint64_t from, bool (*fn)(void *arg, const struct dead_letter *letter),
                      void *arg) MUST_CHECK;
/* The record's bytes go to bytes, ret_letter->forward.record points into it. ERR_NOT_FOUND, ERR_IO, ERR_NOMEM. */
enum err dead_get(struct dead *dead, uint64_t id, struct buffer *bytes, struct dead_letter *ret_letter) MUST_CHECK;
/* sink NULL = all. */
uint64_t dead_count(const struct dead *dead, const char *sink);
uint64_t dead_dropped(const struct dead *dead); /* that had to go for newer ones, ever */
uint64_t dead_dropped_lately(const struct dead *dead); /* of those, since dead_open */

/* ---- what the operator asks over the control socket ---- */
/* {"letters":[{"id","sink","device",...}],"count","dropped"}: at most limit letters from id `from` on; sink NULL =
 * all. */
enum err dead_list_json(struct dead *dead, const char *sink, uint64_t from, size_t limit, struct json *j) MUST_CHECK;
/* The same object with what is in the record ("kind", "readings", "record" in hexadecimal digits). ERR_NOT_FOUND. */
enum err dead_show_json(struct dead *dead, uint64_t id, struct json *j) MUST_CHECK;

#endif
