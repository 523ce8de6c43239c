/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inbox - the receiving end of a hop: streams of many senders into one spool, group commit, acknowledgement after it.
 *
 *   frame -> window_receive -> [accepted entries: on_entry -> spool_append] + stream record --one batch--> commit
 *                                                                                                   |
 *   answer(sender, epoch, boot, verdict, hwm) <------------------------------------- after the fsync -+
 *
 * One transaction = {entries in the spool, hwm of every stream touched}. While a commit is under way the next batch
 * fills; it is submitted when the commit is done, or when max_batch entries or max_delay_us are reached.
 * Answers after a commit: one per stream touched. HOLE, NEED_HELLO, ROLLED_BACK, REFUSED, DUPLICATE are answered at once
 * (DUPLICATE with the durable hwm; at most one answer per stream and 5 ms).
 *
 * Store full: nothing is accepted beyond the cap (FULL; the sender keeps its records and tries again), except lane 0
 * (alarms) which may use the reserve. Commit failed: pending goes back to hwm; senders repeat.
 *
 * Streams live in the store: key = sender bytes | 0 | epoch u64be, value = window_stream_encode; all are read at open.
 */
#ifndef CORE_INBOX_INBOX_H
#define CORE_INBOX_INBOX_H

#include "core/base/base.h"
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
};
struct inbox_handlers {
    /* Turns an accepted entry into what is stored: appends the spool entry's body to out. body is empty for a FORGOTTEN
     * range. Not reversible: called once per accepted entry and attempt. */
    enum err (*on_entry)(void *arg, const char *sender, const struct window_header *header,
                         const struct inbox_entry *entry, bool forgotten, struct buffer *out);
    void (*on_answer)(void *arg, const struct inbox_answer *answer);
    /* Entries became durable in these lanes (the uplink, the sinks may go on). */
    void (*on_durable)(void *arg);
    /* A stream was closed: an old image or a second instance. */
    void (*on_closed)(void *arg, const char *sender, uint64_t epoch, const struct window_stream *stream);
    void *arg;
};
struct inbox_options {
    unsigned stream_table;
    unsigned max_batch;      /* entries; 0 = 4096 */
    int64_t max_delay_us;    /* 0 = submit at the end of the round when no commit is under way */
    unsigned max_streams;    /* 0 = 200,000; above it new streams are REFUSED */
    unsigned reserve_pct;    /* share of the store's cap kept for lane 0; 0 = 5 */
};
struct inbox_stats {
    uint64_t frames, entries, duplicates, holes, forgotten, refused, stale, need_hello, closed, full, commits,
        failed_commits;
    size_t streams;
};

/* spools[lane] and store are borrowed. */
enum err inbox_new(struct loop *loop, struct store *store, struct spool *const spools[INBOX_LANES],
                   const struct inbox_options *options, const struct inbox_handlers *handlers, struct inbox **ret_inbox,
                   struct fault *reterr) MUST_CHECK;
void inbox_free(struct inbox *inbox);
DEFINE_CLEANUP(struct inbox, inbox_free)
/* entries cover header->first..last without holes (checked: REFUSED otherwise); all slices borrowed until return. */
enum window_verdict inbox_frame(struct inbox *inbox, const char *sender, const struct window_header *header,
                                const struct inbox_entry *entries, size_t count);
/* Adds to the batch that will be committed next (spool trims, positions). Never NULL unless out of memory. Asks for a
 * commit soon. */
struct store_batch *inbox_batch(struct inbox *inbox);
void inbox_stats(const struct inbox *inbox, struct inbox_stats *ret_stats);
/* NULL when unknown. Borrowed until the next inbox_frame. */
const struct window_stream *inbox_stream(struct inbox *inbox, const char *sender, uint64_t epoch);
void inbox_foreach_stream(struct inbox *inbox,
                          void (*fn)(void *arg, const char *sender, uint64_t epoch, const struct window_stream *stream),
                          void *arg);

#endif
