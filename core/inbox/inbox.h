/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inbox - the receiving end of a hop: streams of many senders into one spool, group commit, acknowledgement after it.
 *
 *   frame -> window_receive -> [accepted entries: on_entry -> spool_append] + stream record --one batch--> commit
 *                                                                                                   |
 *   answer(sender, epoch, boot, verdict, hwm) <------------------------------------- after the fsync -+
 *
 * One transaction = {entries in the spool, hwm of every stream touched}. Only one is under way at a time; meanwhile
 * the next one fills. A batch is submitted when no other is under way and max_delay_us have passed since the last one was
 * (half of that for 64 entries and more, where commits are short: they may take a quarter of the time), or it has max_batch
 * entries or an alarm (lane 0), so with max_delay_us = 0 the commits clock themselves: the slower the disk, the
 * larger the batch. While a commit is under way at most 4 * max_batch entries or 32 MiB wait behind it; frames
 * beyond that are dropped, and asked for again (HOLE) once the commit behind has made room.
 *
 * Answers after a commit: one per stream touched, ACCEPT or, if frames did not join on or found no room meanwhile,
 * HOLE or FULL, with the new hwm. An ACCEPT in lane 1 that covers only frames to which an answer may wait (window.h:
 * patience) is put off until one does not, or for 100 to 125 ms. At once: DUPLICATE (when durable; else the commit
 * answers), HOLE (when nothing is pending), NEED_HELLO, STALE, REFUSED, FULL: the same answer to the same boot at most
 * once in 5 ms. A frame whose sender or numbers are not even well formed is REFUSED likewise.
 *
 * ROLLED_BACK is answered only when the closed state is durable. The answer makes the sender begin a new epoch with
 * what is above hwm; were the stream open again after a crash of ours, late frames of the old epoch would deliver
 * that twice. A closed stream accepts nothing, so the hwm in the answer is final. A hello with `replaces` closes
 * that stream of the same sender in the same transaction as the new epoch's first entries (a record is made even
 * for a stream never heard of).
 *
 * Store full: nothing is accepted beyond the cap (FULL; the sender keeps its records and tries again), except lane 0
 * (alarms) which may use the reserve. Commit failed: pending goes back to hwm, what was filling is dropped, nothing
 * is answered; senders repeat. Others' operations in a dropped batch (trims, positions) are gone with it: they must
 * be of the kind that the next one makes good.
 *
 * Streams live in the store: key = sender bytes | 0 | epoch u64be, value = window_stream_encode | crc32c u32le over
 * key and stream; all are read at open. A record that does not verify is left alone and counted: its stream is as
 * one whose store was lost (FORGOTTEN declares the gap).
 *
 * The owner frees the inbox only when the loop does not run again before store_close: a commit may be under way.
 */
#ifndef CORE_INBOX_INBOX_H
#define CORE_INBOX_INBOX_H

#include "core/base/base.h"
#include "core/base/json.h"
#include "core/loop/loop.h"
#include "core/spool/spool.h"
#include "core/store/store.h"
#include "core/window/window.h"

enum { INBOX_LANES = 2 }; /* 0 = alarm, 1 = bulk */

struct inbox;

struct inbox_entry {
    uint64_t first, last; /* numbers in the sender's stream */
    struct slice body;
};
struct inbox_answer {
    const char *sender;
    uint64_t epoch;
    uint32_t boot;
    uint64_t hwm; /* durable */
    enum window_verdict verdict;
    uint32_t owner; /* ROLLED_BACK: the boot that the stream belonged to when it was closed; else 0 */
};
struct inbox_handlers {
    /* Turns an accepted entry into what is stored: appends the spool entry's body to out. The entry's first is
     * above the body's own when the beginning of its range is known already. body is empty for a FORGOTTEN range.
     * The spool entry covers as many numbers as the entry. Not reversible: called once per accepted entry and
     * attempt. May call inbox_note. An error ends the frame here (FULL: the sender tries again later), so a bad
     * body must not be one. */
    enum err (*on_entry)(void *arg, const char *sender, const struct window_header *header,
                         const struct inbox_entry *entry, bool forgotten, struct buffer *out);
    void (*on_answer)(void *arg, const struct inbox_answer *answer);
    /* A commit succeeded (the uplink, the sinks may go on). */
    void (*on_durable)(void *arg);
    /* A stream was closed: an old image or a second instance. Called before it is durable, and again if a crash comes
     * first; inbox_batch gives the batch that makes it so. */
    void (*on_closed)(void *arg, const char *sender, uint64_t epoch, const struct window_stream *stream);
    /* A new stream of this sender finds no room: why (constant text) says whose limit it is. Once per sender and
     * minute; may be NULL. */
    void (*on_too_many)(void *arg, const char *sender, const char *why);
    /* Half of what may wait behind a commit is there: the owner should hold back what comes, until it is told that there
     * is room again. May be NULL. */
    void (*on_crowded)(void *arg, bool crowded);
    void *arg;
};
struct inbox_options {
    unsigned stream_table;
    unsigned max_batch;      /* entries; 0 = 4096 */
    int64_t max_delay_us;    /* commits come so far apart, crowds down to half as far: what comes alone does not wait,
                              * what comes in crowds shares a flush. 0 = only for the commit under way */
    unsigned max_streams;    /* 0 = 200,000; above it, and above 1,024 of one sender, new streams are REFUSED */
    unsigned reserve_pct;    /* share of the store's cap kept for lane 0; 0 = 5 */
};
struct inbox_stats {
    uint64_t frames, entries, duplicates, holes, forgotten, refused, stale, need_hello, closed, full, commits,
        failed_commits;
    uint64_t gather_us, commit_us; /* sums over commits: from the first entry to the submission, from there to the end */
    uint64_t overrun; /* frames dropped behind a slow commit */
    uint64_t too_many; /* times that a new stream found no room */
    uint64_t damaged_streams; /* records that did not verify at open */
    size_t streams;
};

/* spools[lane] (created) and store are borrowed. ERR_NOMEM, ERR_IO. */
enum err inbox_new(struct loop *loop, struct store *store, struct spool *const spools[INBOX_LANES],
                   const struct inbox_options *options, const struct inbox_handlers *handlers, struct inbox **ret_inbox,
                   struct fault *reterr) MUST_CHECK;
void inbox_free(struct inbox *inbox);
DEFINE_CLEANUP(struct inbox, inbox_free)
/* entries cover header->first..last without holes (checked: REFUSED otherwise); all slices borrowed until return. */
enum window_verdict inbox_frame(struct inbox *inbox, const char *sender, const struct window_header *header,
                                const struct inbox_entry *entries, size_t count);
/* Counts numbers of the stream in hand that gaps and suppressed ranges cover; only from on_entry. */
void inbox_note(struct inbox *inbox, uint64_t gaps, uint64_t suppressed);
/* Adds to the batch that will be committed next (spool trims, positions). Never NULL unless out of memory. Asks for a
 * commit soon. */
struct store_batch *inbox_batch(struct inbox *inbox);
void inbox_stats(const struct inbox *inbox, struct inbox_stats *ret_stats);
/* What an operator counts by, into the object that j is in: "entries" to "failed_commits". */
void inbox_counters_json(const struct inbox_stats *stats, struct json *j);
/* NULL when unknown. Borrowed until the next inbox_frame. hwm is durable. */
const struct window_stream *inbox_stream(struct inbox *inbox, const char *sender, uint64_t epoch);
void inbox_foreach_stream(struct inbox *inbox,
                          void (*fn)(void *arg, const char *sender, uint64_t epoch, const struct window_stream *stream),
                          void *arg);

/* One record of the stream table, for tools that read a store. ERR_MALFORMED: does not parse, or its checksum differs. */
enum err inbox_record_parse(struct slice key, struct slice value, char ret_name[ID_MAX + 1], uint64_t *ret_epoch,
                            struct window_stream *ret_stream) MUST_CHECK;

#endif
