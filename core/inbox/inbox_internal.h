/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inbox's parts: streams.c (who sends, and the records of it), frame.c (what becomes of a frame), inbox.c (batches,
 * commits, answers after them).
 *
 * A stream during one batch's life:
 *
 *   frame -> pending moves, in `filling` --submit--> submitted, in `flight` --done OK--> hwm = submitted, answer
 *                                                                           '-- failed: pending = hwm, counts go back
 */
#ifndef CORE_INBOX_INBOX_INTERNAL_H
#define CORE_INBOX_INBOX_INTERNAL_H

#include "core/inbox/inbox.h"

enum { INBOX_SENDER_STREAMS = 1024, INBOX_STRANGERS = 256 };
#define INBOX_TOO_MANY_GAP_US MINUTE_US
#define INBOX_ANSWER_GAP_US (5 * MS_US)
/* How long an answer that may wait is put off, how long one that only shares, and how often that is looked at. Together
 * well below the shortest retransmission timeout in use. */
enum { INBOX_ANSWER_SHARE = 4 }; /* answers to what is under way of a sender */
#define INBOX_ANSWER_DELAY_US (100 * MS_US)
#define INBOX_SHARE_DELAY_US (25 * MS_US)
#define INBOX_ANSWER_LOOK_US (25 * MS_US)

struct inbox_sender;
struct inbox_counts {
    uint64_t gaps, suppressed;
};
struct inbox_streamed {
    struct window_stream s;
    uint64_t epoch;
    struct inbox_sender *sender;
    struct inbox_streamed *next; /* of the same sender, latest used first */
    uint64_t submitted;          /* pending when the batch in flight was submitted */
    struct inbox_counts durable, submitted_counts; /* s has the live ones */
    bool touched;                /* is in filling */
    bool owed, owed_in_flight;   /* an answer after the commit */
    enum window_verdict after;   /* which: ACCEPT, HOLE or FULL */
    uint64_t asked, asked_last;  /* first and last number above the last answer that a sender waits for; 0 = none */
    unsigned unanswered;         /* frames since the last answer after a commit */
    bool hurried;                /* one of them asked and is to share an answer */
    bool deferred;               /* is in the inbox's list of answers that wait */
    int64_t deferred_us;         /* since when an answer waits; 0 = none does */
    bool closed_durable, closed_in_flight;
    /* the latest answer at once */
    int64_t answered_us;
    uint32_t answered_boot;
    enum window_verdict answered;
};
/* Streams touched by a batch; memory kept. */
struct inbox_touched {
    struct inbox_streamed **items; /* owned */
    size_t count, cap;
};

struct inbox {
    struct loop *loop;
    struct store *store;
    struct spool *spools[INBOX_LANES];
    struct inbox_options options;
    struct inbox_handlers handlers;
    struct inbox_stats stats;
    struct inbox_sender *senders; /* hash by name */
    struct buffer body;           /* of the entry in hand */
    struct inbox_streamed *in_hand;

    struct store_batch *filling; /* owned; NULL = nothing to commit */
    struct inbox_touched filling_streams;
    size_t filling_entries;
    int64_t filling_us;   /* since when it fills */
    int64_t submitted_us; /* when the last batch was */
    int64_t commit_us;    /* from there to its end */
    bool urgent;

    bool in_flight;
    struct inbox_touched flight_streams;
    uint64_t flight_last[INBOX_LANES];
    size_t flight_bytes;
    int64_t flight_since_us; /* since when it was filling */

    struct store_usage usage; /* as of usage_us */
    int64_t usage_us;
    int64_t full_until_us; /* the store itself said so */
    struct {
        int64_t at_us;
        uint64_t key;
    } strangers[INBOX_STRANGERS]; /* answers to streams that we do not have */
    int64_t too_many_us; /* when a sender without any stream was last told of; 0 = never */
    struct loop_task submit;
    struct loop_timer delay;
    struct inbox_touched deferred; /* streams whose answer waits for a frame that asks, or for the timer */
    struct loop_timer answer_timer;
    bool crowded; /* as the owner was told */
};

/* ---- streams.c ---- */
enum err inbox_streams_open(struct inbox *inbox, struct fault *reterr) MUST_CHECK;
void inbox_streams_free(struct inbox *inbox);
struct inbox_streamed *inbox_streams_find(struct inbox *inbox, const char *sender, uint64_t epoch);
/* ERR_FULL: too many, and the owner has been told; ERR_NOMEM. */
enum err inbox_streams_add(struct inbox *inbox, const char *sender, uint64_t epoch,
                           struct inbox_streamed **ret_stream) MUST_CHECK;
const char *inbox_streams_name(const struct inbox_streamed *st);
/* Puts st's record, with its pending as hwm, into batch. */
enum err inbox_streams_put(struct inbox *inbox, struct store_batch *batch, const struct inbox_streamed *st) MUST_CHECK;

/* ---- inbox.c ---- */
/* Appends to a list of streams. ERR_NOMEM. */
enum err inbox_touched_add(struct inbox_touched *t, struct inbox_streamed *st) MUST_CHECK;
/* The stream's record goes into the batch that is filling. ERR_NOMEM. */
enum err inbox_touch(struct inbox *inbox, struct inbox_streamed *st) MUST_CHECK;
/* Submits or sets the timer, whatever is due. */
void inbox_schedule(struct inbox *inbox);
/* True when nothing more may be put into the filling batch before the commit under way is done. */
bool inbox_overrun(const struct inbox *inbox);
/* Tells the owner when the batch that fills has become large, or small again. */
void inbox_tell_crowded(struct inbox *inbox);
/* Is there room for so many bytes of so many entries of this lane? */
bool inbox_room(struct inbox *inbox, uint8_t lane, uint64_t bytes, size_t count);

#endif
