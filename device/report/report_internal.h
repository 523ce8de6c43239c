/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report_internal - the report's state and how its files share the work.
 *
 *   report.c   start, samples, events, figures (device/compose makes blocks and records of them)
 *   records.c  bodies: Describe, Health
 *   windows.c  statistics of spans
 *   thin.c     rules: what is left of a block, what they took
 *   queue.c    records without a number in the store yet
 *   commit.c   queue -> spools, one batch at a time; room in a full store; a new epoch
 *   link.c     outboxes <-> bus
 */
#ifndef DEVICE_REPORT_REPORT_INTERNAL_H
#define DEVICE_REPORT_REPORT_INTERNAL_H

#include "core/silence/silence.h"
#include "core/spool/spool.h"
#include "device/compose/compose.h"
#include "device/report/queue.h"
#include "device/report/report.h"
#include "proto/curate/curate.h"
#include "proto/topic/topic.h"
#include "proto/wire/wire.h"

enum { LANE_ALARM = COMPOSE_ALARM, LANE_BULK = COMPOSE_BULK, LANE_COUNT = COMPOSE_LANES };
enum {
    EVENT_RECORD_MAX = COMPOSE_EVENT_MAX,
    WINDOWS_RECORD_MAX = REPORT_WINDOWS_MAX * 96 + WIRE_SKETCH_MAX, /* at least one sketch */
    FRAME_ENTRIES = 64,
    GAP_RECORD_MAX = 64,
    FRAME_BYTES = 32 * 1024,
    FRAME_KEEP = 8 * 1024,
};
#define RETRY_MIN_US (100 * MS_US)
#define RETRY_MAX_US (10 * SECOND_US)
#define TRIM_WAIT_US (10 * SECOND_US)

struct lane {
    struct report *report;
    uint8_t id;
    struct spool *spool;   /* owned */
    struct outbox *outbox; /* owned; NULL until the start is durable */
    uint64_t max_bytes, drop_bytes; /* room, and how much is freed at a time when it is used up */
    uint64_t gap_first, gap_last; /* the gap at the old end, as far as it has been counted */
    bool overflowing;        /* since the receiver last acknowledged something */
    bool squeeze;            /* the store refused a batch although the lane had room */
    bool dropping;           /* a drop is in the commit under way: no trim may go beside it */
    uint64_t gap_numbers;    /* dropped since the start */
    uint64_t timeouts_seen;  /* of the outbox, when it was last answered or told to try at once */
    uint64_t damaged_upto;   /* damage is counted once, however often it is sent */
    bool rebase_due;         /* the receiver says that an old image of our store was restored */
    uint64_t keep_above, replaces;
};

/* Rules in force. */
struct thin {
    struct curate *curate;        /* borrowed */
    struct curate_stream *stream; /* owned; NULL = memory was short: begun anew with the next block */
    uint64_t version;
    struct loop_timer declare_timer;
    size_t rule_count;
    struct thin_count {
        int64_t waiting; /* readings taken out, not declared yet; below 0: let go after they were declared */
        uint64_t taken;
    } counts[];
};

struct report {
    struct loop *loop;   /* borrowed, as bus and store */
    struct bus *bus;
    struct store *store;
    struct report_options options;
    char site[ID_MAX + 1], gateway[ID_MAX + 1], device[ID_MAX + 1];
    char software[WIRE_NAME_MAX + 1];
    char tele_topic[TOPIC_MAX + 1], ack_topic[TOPIC_MAX + 1];
    void (*on_ready)(void *arg);
    void *arg;
    struct report_listener *listeners; /* borrowed */

    bool ready;
    uint32_t boot;
    uint64_t boot_seq, boot_id;
    struct buffer describe; /* the packed Describe record: the same at every repetition */
    int64_t started_us;

    struct lane lanes[LANE_COUNT];
    struct compose compose;
    void *compose_memory, *held_memory; /* owned; held: NULL = there never was an inference */
    struct thin *thin;      /* owned; NULL = no rules */
    int64_t thin_owed;      /* readings that went after they were declared, by rules before these */
    struct queue queue;
    struct buffer scratch;  /* a record on its way into the queue */
    struct buffer frame, gaps; /* of the frame being sent; gaps: bodies that were made anew for it */
    bool synced;

    bool up;                /* what the bus last said */
    struct silence silence;
    struct loop_timer silence_timer;
    struct loop_timer age_timer, retry_timer;
    struct loop_task commit_task;
    struct store_batch *next_batch; /* owned; trims that wait for the next commit, TRIM_WAIT_US at most */
    struct loop_timer trim_timer;
    bool commit_under_way;
    enum { COMMIT_START, COMMIT_APPEND, COMMIT_REBASE } commit_kind;
    uint8_t commit_lane;            /* of COMMIT_REBASE */
    size_t batch_bytes;             /* of the last commit */
    int64_t retry_us;               /* pause after the last failure, 0 = the last commit went well */
    int64_t failing_since_us;

    struct report_stats stats;
};

/* ---- records.c ---- */
/* Appends the description as the driver's channels are; *ret_set: its set. rules: the version in force, 0 = none. */
enum err report_describe_pack(struct report *r, uint64_t rules, uint32_t *ret_set, struct buffer *out) MUST_CHECK;
/* Appends a whole Record to out. */
enum err report_health_pack(struct report *r, uint64_t rss_bytes, struct buffer *out) MUST_CHECK;

/* ---- thin.c ---- */
/* The rules of the options, if there are any, and the description as it goes out under them. */
enum err report_thin_init(struct report *r) MUST_CHECK;
void report_thin_deinit(struct report *r);
/* Sends a whole Record through the rules. *body: what is left, borrowed until the next call; false: nothing is. An
 * error: it may not go out. */
enum err report_thin_record(struct report *r, struct slice *body, bool *ret_left) MUST_CHECK;
/* Declares what the rules took. */
void report_thin_declare(struct report *r);
/* Something is not declared yet. */
bool report_thin_waiting(const struct report *r);
/* Longest record of a block, as it goes out. */
size_t report_record_max(const struct report *r);

/* ---- report.c ---- */
/* Rules are in force, or others, or none: what records may be as large as, and what the queue may hold. */
void report_rules_changed(struct report *r);
/* Closes the block under construction, if there is one. */
void report_close_block(struct report *r);
/* The start is durable. */
void report_started(struct report *r);

/* ---- commit.c ---- */
enum err report_commit_start(struct report *r) MUST_CHECK;
void report_commit_soon(struct report *r);
void report_commit_run(void *report);   /* task */
void report_commit_retry(void *report); /* timer */
void report_commit_trims(void *report); /* timer */
/* Number of the next record that is queued in this lane. */
uint64_t lane_next(const struct lane *lane);

/* ---- link.c ---- */
enum err report_link_init(struct report *r) MUST_CHECK; /* handlers and subscription */
enum err report_outbox_new(struct lane *lane) MUST_CHECK;
void report_look_for_silence(void *report); /* timer */

#endif
