/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the sinks share.
 *
 * Marks: per stream (device, epoch) how far the sink is. A sink keeps them in memory beside its own durable form; the
 * three of them decide alike what is new in an item and what was jumped over:
 *
 *   item          mark (hwm)     step
 *   first..last   last <= hwm    skip
 *                 first <= hwm   take hwm+1..last           (the rest of a range)
 *                 first = hwm+1  take first..last
 *                 first > hwm+1  lost hwm+1..first-1, then take first..last
 *
 * Records: one reader that unpacks a Record and gives its readings one by one.
 */
#ifndef CLOUD_BRIDGE_SINKS_SINKS_INTERNAL_H
#define CLOUD_BRIDGE_SINKS_SINKS_INTERNAL_H

#include <uthash.h>

#include "cloud-bridge/sinks/sinks.h"
#include "core/base/arena.h"
#include "proto/block/block.h"
#include "proto/receive/receive.h"

/* ---- marks ---- */
struct sink_mark_key {
    char device[ID_MAX + 1 + 7]; /* zero-filled, no padding behind it: hashed as bytes */
    uint64_t epoch;
};
struct sink_mark {
    struct sink_mark_key key;
    struct sink_stream stream;
    int64_t id, device_id; /* the sink's own names, 0 = none yet */
    bool hop, touched;
    struct sink_mark *next_touched;
    UT_hash_handle hh;
};
struct sink_marks {
    struct sink_mark *table;
    struct sink_mark *touched; /* since the last sink_marks_settle */
};
struct sink_step {
    bool skip;
    uint64_t first, last;           /* to take */
    uint64_t lost_first, lost_last; /* jumped over; lost_first > lost_last: nothing */
};
/* NULL when unknown. */
struct sink_mark *sink_marks_find(struct sink_marks *marks, const char *device, uint64_t epoch);
/* ERR_NOMEM. */
enum err sink_marks_add(struct sink_marks *marks, const char *device, uint64_t epoch, uint8_t lane, bool hop,
                        struct sink_mark **ret_mark) MUST_CHECK;
void sink_mark_step(const struct sink_mark *mark, const struct wire_forward *forward, struct sink_step *ret_step);
/* The step has been written: moves the mark and its counts. */
void sink_mark_take(struct sink_marks *marks, struct sink_mark *mark, const struct sink_step *step,
                    const struct wire_forward *forward, enum sink_kind kind, uint64_t readings);
/* The batch is durable: the marks touched are no longer listed. */
void sink_marks_settle(struct sink_marks *marks);
void sink_marks_clear(struct sink_marks *marks);

/* ---- records ---- */
struct sink_reader {
    struct arena arena;
    int64_t *values; /* BLOCK_CHANNELS_MAX x BLOCK_SAMPLES_MAX */
    int64_t *times;  /* BLOCK_SAMPLES_MAX */
    double resolutions[BLOCK_CHANNELS_MAX];
    enum sink_kind kind; /* of the record in hand */
    const Weir__V1__Record *record; /* NULL for UNREAD; valid until the next sink_reader_read */
    uint32_t schema;
    size_t channels, samples; /* of a block */
};
enum err sink_reader_init(struct sink_reader *r) MUST_CHECK;
void sink_reader_deinit(struct sink_reader *r);
/* Never fails on what a peer sent: what cannot be read is UNREAD. */
void sink_reader_read(struct sink_reader *r, struct slice record);
struct sink_reading {
    unsigned index, channel;
    uint64_t wall_us;
    double value;
};
/* The readings of a block, sample by sample; missing values are left out. fn's error ends it. */
enum err sink_reader_foreach(const struct sink_reader *r,
                             enum err (*fn)(void *arg, const struct sink_reading *reading), void *arg) MUST_CHECK;
/* Wall clock of the earliest and the latest sample of a block. */
void sink_reader_times(const struct sink_reader *r, uint64_t *ret_earliest_us, uint64_t *ret_latest_us);
/* Value of a whole multiple of a resolution, as the decimal that it stands for: 3 x 0.1 = 0.3. */
double sink_value(int64_t multiple, double resolution);
/* "2026-11-22T07:00:00.123Z"; beyond the year 9999: "9999-12-31T23:59:59.999Z". */
enum { SINK_TIME_BYTES = 25 };
void sink_time(uint64_t wall_us, char ret_text[SINK_TIME_BYTES]);
const char *sink_reason_name(Weir__V1__GapReason reason);
const char *sink_severity_name(Weir__V1__Severity severity);

#endif
