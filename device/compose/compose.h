/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compose - samples, events and inferences become whole Records, in the order in which they get their numbers.
 *
 *   compose_sample    -> block under construction -> (full, close_at_us, whatever needs the next number) Record -> put
 *   compose_inference -> held until the block closes; an alarm goes at once
 *   compose_event     -> Record; a description before it where one is due
 *
 * Needs no OS, heap, clock or file: memory and times are the caller's, and what becomes of a record is the business of
 * struct compose_out: on Linux device/report (store, outboxes, bus), on a microcontroller device/micro (a queue in
 * RAM).
 *
 * Numbers. A block's number is fixed when its first sample is placed, since checkable drivers are told it. So whatever
 * else goes into the bulk lane closes the block first, and a description that is due goes before a block, never into
 * it.
 */
#ifndef DEVICE_COMPOSE_COMPOSE_H
#define DEVICE_COMPOSE_COMPOSE_H

#include "core/base/base.h"
#include "core/base/buffer.h"
#include "device/compose/builder.h"
#include "device/sense/sense.h"
#include "proto/wire/wire.h"

enum { COMPOSE_ALARM, COMPOSE_BULK, COMPOSE_LANES };
enum {
    COMPOSE_EVENT_MAX = WIRE_TEXT_MAX + 2 * WIRE_NAME_MAX + 96,
    COMPOSE_HELD_MAX = 16 * 1024, /* where memory is plenty: bytes of inferences that wait for their block */
};

struct compose_out {
    /* Whether so many more records with so many bytes together will be taken. */
    bool (*room)(void *arg, size_t bytes, unsigned records);
    /* The next record of the lane, borrowed; room was asked for before. */
    void (*put)(void *arg, uint8_t lane, struct slice record);
    /* Rules: *record, what is left of it (borrowed until the next call); false: nothing is. An error: it may not go
     * out. NULL = no rules. */
    enum err (*shape)(void *arg, struct slice *record, bool *ret_left);
    void (*on_block)(void *arg); /* the block has got the number that was put last; may be NULL */
    /* A block that does not go out; may be NULL. why: a constant text. */
    void (*on_lost)(void *arg, enum err err, unsigned samples, const char *why);
    void *arg;
};
struct compose_options {
    const struct sense_channel *channels; /* borrowed for compose_init */
    size_t channel_count;
    unsigned samples_per_record;
    int64_t period_us;       /* samples within 1 % of it need no time column */
    int64_t max_age_us;      /* a block is to be closed when its first sample is so old; 0 = when it is full */
    unsigned describe_every; /* records */
};
struct compose_held {
    /* Length u16le and record, of each that waits for the block to close. No memory: none is held. */
    struct buffer waiting;
    uint64_t taken, lost; /* lost: of those taken */
};
/* Embedded; the members are for reading, but for those that say otherwise. */
struct compose {
    struct compose_options options;
    struct compose_out out;
    struct builder builder;
    struct buffer *describe; /* the packed Describe record, the owner's, who keeps it true */
    struct buffer *scratch; /* a record on its way: record_max, or COMPOSE_EVENT_MAX; the owner's */
    size_t record_max;      /* of a block as it goes out at most; the owner sets another when there are rules */
    uint32_t set;           /* of the description; the owner's */
    struct compose_held held;
    struct compose_lane {
        bool describe_due;
        unsigned since_describe; /* records */
    } lanes[COMPOSE_LANES];
    bool placed; /* the sample that comes at placed_us has its place */
    int64_t placed_us, sample_wall_us;
    int64_t close_at_us; /* when compose_close is due; 0 = not */
    struct compose_stats {
        uint64_t samples, refused, records, events;
        uint64_t thinned_blocks; /* of which nothing was left */
    } stats;
};

/* Of the memory that compose_init takes, aligned for int64_t. */
size_t compose_bytes(const struct compose_options *options);
/* memory, describe, scratch: borrowed for the life of it. A description is due in both lanes. */
void compose_init(struct compose *c, const struct compose_options *options, const struct compose_out *out, void *memory,
                  struct buffer *describe, struct buffer *scratch);
/* Where inferences wait for their block from now on, borrowed: without it each cuts it short. */
void compose_hold_in(struct compose *c, void *memory, size_t len);
/* A description goes before the lane's next record. */
void compose_describe_soon(struct compose *c, uint8_t lane);
/* Settles where the next sample will stand: closes a block that it does not belong to, describes before a new one. */
void compose_place(struct compose *c, int64_t now_us, int64_t wall_us);
/* values: one per channel; NaN = missing. Allocates nothing. ERR_AGAIN: there is no room; it is counted as refused. */
enum err compose_sample(struct compose *c, const double *values, int64_t now_us, int64_t wall_us,
                        bool synced) MUST_CHECK;
/* Closes the block under construction, if there is one, and lets go what was held for it. */
void compose_close(struct compose *c);
/* A whole Record, after a description where one is due. It does not close the block. ERR_FULL: no room beside the
 * block's. */
enum err compose_put(struct compose *c, uint8_t lane, struct slice record) MUST_CHECK;
/* Lane ALARM for alarms, BULK otherwise, behind the block. text, channel may be NULL; value NaN = none. ERR_RANGE: no
 * id; ERR_AGAIN: rules do not take it now; ERR_FULL. */
struct compose_event {
    Weir__V1__Severity severity;
    const char *id, *text, *channel;
    double value;
};
enum err compose_event(struct compose *c, const struct compose_event *event, int64_t now_us,
                       uint64_t wall_us) MUST_CHECK;
/* A whole Record with an Inference: alarms at once, others behind the block under construction, which they do not cut
 * short while there is memory to hold them. ERR_FULL. */
enum err compose_inference(struct compose *c, bool is_alarm, struct slice record) MUST_CHECK;
/* Statistics of spans: behind the block under construction, which is closed; rules see them as a gateway's would.
 * scratch must have room for them. ERR_RANGE as wire_windows_encode; ERR_AGAIN, ERR_FULL as compose_event. */
enum err compose_windows(struct compose *c, const struct wire_window *windows, size_t count) MUST_CHECK;
/* With another period from now on; closes the block. */
void compose_set_period(struct compose *c, int64_t period_us);

/* ---- bodies ---- */
struct compose_description {
    const struct sense_channel *channels;
    size_t channel_count;
    uint64_t config, model, boot_id;
    const char *software, *source; /* may be NULL */
};
/* Appends a whole Record; *ret_set: its set. As wire_describe_encode. */
enum err compose_describe(const struct compose_description *d, uint32_t *ret_set, struct buffer *out) MUST_CHECK;
/* Text cut to out_size at a character's border; bytes that are not UTF-8 become '?': a record that the receiver refuses
 * would be lost to the reader. text may be NULL. Returns the length. */
size_t compose_text(const char *text, char *out, size_t out_size);

#endif
