/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of the drain, and what its files call in one another.
 *
 *   sinks.c             the public face: all feeders together
 *   feeder.c            the cycle of one feeder: job, worker, result
 *   feeder_batch.c      what goes into a batch
 *   feeder_refused.c    what a sink can never take
 *   feeder_position.c   how far a sink is, and trimming behind the slowest
 *   lag.c               what is given up for a sink that is away too long
 *
 * All on the loop's thread, but for the job under way: from loop_offload to done the batch and the sink are the
 * worker's.
 */
#ifndef CLOUD_BRIDGE_SINKS_FEEDER_INTERNAL_H
#define CLOUD_BRIDGE_SINKS_FEEDER_INTERNAL_H

#include "cloud-bridge/sinks/sinks_internal.h"

/* BATCH_ENTRIES and BATCH_BYTES are of each lane. */
enum { BATCH_LEAST = 16, BATCH_ENTRIES = 2048, BATCH_BYTES = 1 << 20, UNSETTLED_MAX = 256, LAG_WATCH_US = 200000 };
/* A batch may end with one entry that goes beyond BATCH_BYTES; both lanes share the block. */
#define BLOCK_BYTES ((size_t)INBOX_LANES * (BATCH_BYTES + SPOOL_BODY_MAX))

struct feeder {
    struct sinks *sinks;
    struct sink sink;
    struct loop_worker *worker;
    struct loop_timer retry;
    uint64_t position[INBOX_LANES]; /* committed in the sink */
    int64_t backoff_us;
    bool busy;
    /* the batch under way: the worker's until done */
    struct sink_batch batch;
    struct sink_item *items; /* BATCH_ENTRIES x INBOX_LANES */
    uint8_t *bytes;
    size_t used;
    size_t entries; /* of lane 1 at most: BATCH_LEAST..BATCH_ENTRIES */
    bool alone;     /* it holds alarms only, though more was waiting */
    int64_t begun_us;
    uint64_t unreadable;
    enum { JOB_WRITE, JOB_ASK, JOB_REPLAY, JOB_OWED, JOB_ALIVE, JOB_TICK } job; /* feeder.c */
    bool known; /* position[] is what the sink has told */
    uint64_t told[INBOX_LANES];
    uint64_t ceiling[INBOX_LANES]; /* a position beyond is not to be believed */
    uint64_t durable[INBOX_LANES]; /* what the spool may be trimmed to: position[], or what has settled of it */
    struct unsettled {
        int64_t time_us;
        uint64_t position[INBOX_LANES];
    } unsettled[UNSETTLED_MAX]; /* oldest first */
    size_t unsettled_count;
    struct loop_timer settle;
    struct loop_timer tick;
    bool tick_due;
    int64_t tick_us; /* when the tick under way was begun */
    bool vouched;    /* a row of vouch.c is to be deleted */
    struct sink_refusals refusals;
    bool again;      /* the batch in hand is to be offered again when the timer ends */
    uint8_t *gaps;   /* OWED_BODY_BYTES for each item */
    uint64_t replay; /* id of the letter to offer, 0 = none */
    struct buffer letter;
    struct owed owed;
    char error[300];
    enum err result;
    struct fault fault;
    struct sinks_stats stats;
};
struct sinks {
    struct loop *loop;
    struct spool *spools[INBOX_LANES];
    struct sinks_handlers handlers;
    struct loop_task task;
    struct feeder *feeders;
    size_t count;
    bool stopped;
    struct loop_timer lag;
    bool watches_lag, giving;
};

/* ---- feeder.c ---- */
/* The sink is in f->sink and f->sinks is set. ERR_NOMEM, or that the sink does not tell its position. After an error
 * feeder_close is still the owner's to call. */
enum err feeder_open(struct sinks *s, struct feeder *f, struct fault *reterr) MUST_CHECK;
/* Ends the worker, then closes the sink. */
void feeder_close(struct feeder *f);
/* Begins no more jobs; the one under way ends. */
void feeder_stop(struct feeder *f);
/* Begins the next job, unless one is under way or there is none. */
void feeder_feed(struct feeder *f);
/* Offers the batch in hand (again). */
void feeder_offload(struct feeder *f);
/* The job in hand came to nothing; the feeder waits. text "" = err says it all. */
void feeder_failed(struct feeder *f, enum err err, const char *text);
const char *feeder_name(const struct feeder *f);
/* The spool has what this sink has not. */
bool feeder_has_more(const struct feeder *f);

/* ---- feeder_batch.c ---- */
/* From the spool, behind position[]. ERR_IO, ERR_NOMEM. */
enum err feeder_fill(struct feeder *f) MUST_CHECK;
/* An empty batch that moves no position. */
void feeder_begin(struct feeder *f);
/* False: the letter is not there any more, or not of this sink. */
bool feeder_fill_letter(struct feeder *f);
void feeder_fill_owed(struct feeder *f);
/* What the sink gets instead of the record at index. */
void feeder_put_gap(struct feeder *f, size_t index, Weir__V1__GapReason reason);

/* ---- feeder_refused.c ---- */
/* The job in hand was refused with names: offers it again when the letters are durable. */
void feeder_bury(struct feeder *f);

/* ---- feeder_position.c ---- */
/* What a sink says of its position is held against what the spool has. */
void feeder_believe(struct feeder *f, const uint64_t told[INBOX_LANES]);
/* The sink has told its position: the row of vouch.c may go. */
void feeder_unvouch(struct feeder *f);
/* Only for a sink that cannot keep its own. */
void feeder_keep_position(struct feeder *f);
/* A batch is in the server's hands, and not settled. */
void feeder_note_unsettled(struct feeder *f);
/* The server may have lost what is not settled: it is to be written again. */
void feeder_forget_unsettled(struct feeder *f);
bool feeder_settle_is_due(const struct feeder *f);
/* The server was alive after the job in hand began. */
void feeder_settle(struct feeder *f);
/* Behind the slowest: into the batch of the owner, with a warning where that fails; or into one of the caller's. */
void sinks_trim(struct sinks *s);
enum err sinks_trim_into(struct sinks *s, struct store_batch *batch) MUST_CHECK;

/* ---- lag.c: a timer's handler, arg = struct sinks ---- */
void sinks_watch_lag(void *arg);

#endif
