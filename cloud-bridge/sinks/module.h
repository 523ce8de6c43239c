/* SPDX-License-Identifier: Apache-2.0 */
/*
 * module - what a sink is made with: the contract of a loadable one, marks, the reading of records.
 *
 * A loadable sink is one shared object, weir-sink-NAME.so, that exports one symbol: `weir_sink_module`. It links what
 * it uses of this tree privately (static libraries, nothing exported) and is never unloaded. It is a folder
 * cloud-bridge/sink-NAME whose CMakeLists.txt has  weir_module(cloud-bridge/sink-NAME ...)  and  weir_sink(NAME).
 * Tests link the module's static library and use weir_sink_module directly.
 *
 * In the configuration (the rows of `table` are the section's keys; `type` and `lag_max` belong to the bridge):
 *
 *   sinks:
 *     history: {type: postgres, url: "postgresql:///weir"}
 *
 * Life:  open --> position (again until OK) --> write, write, ... --> close
 *
 *   open      on the loop's thread at start and nothing else: allocates, reads local files (certificates). Connects to
 *             nobody and blocks for nothing: a server that is down delays its own sink alone.
 *   position  on the worker's thread, tried again with back-off until it returns OK (ops->remote; a local sink is asked
 *             on the loop's thread before the bridge takes anything in, and fails the start).
 *             NULL for a sink that cannot keep a position; the bridge does.
 *   write     on the worker's thread. Returns in bounded time whatever the server does (a time limit on every wait).
 *   close     after the worker has ended.
 *
 * What write() must hold (sinks.h has the rest):
 *   - all of the batch or nothing: rows, marks (stream: device + epoch -> highest number) and batch->position durable
 *     in the sink together when it returns OK; after anything else the same records come again, perhaps in other batches
 *     and behind other ones. Where the sink has no transaction: rows first, position last, rows idempotent by a key.
 *   - idempotent by the marks, which are kept in the sink itself: its server may come back from an old backup, the
 *     bridge's store may be lost (then positions are 0 for a new epoch and everything is offered again).
 *   - items in their order; forward.first > forward.last: skip the item.
 *   - item->replay: see sink_item_step.
 *   - never log: the module has its own copy of core/log. A sentence goes into reterr; it is shown in `weir status`.
 *
 * Dead letters: an item that this sink can never take (a topic that the server refuses, a text that it cannot store, a
 * message beyond its largest size) is named with sink_refuse, for as many items as there are; then write() undoes the
 * batch and returns ERR_UNSUPPORTED. The bridge makes them durable among its dead letters and offers the same batch
 * again, in which the records refused are replaced by a Gap of reason DEAD_LETTER: to the sink an ordinary gap. A
 * server that does not say which item it dislikes: look for it by halves of the batch (sink_find_guilty, server.h). A
 * sink that refuses such a gap as well is not offered that item any more; the dead letter alone stands for it. Where
 * nothing of a batch was taken, perhaps since a login lacks its rights, set batch->refusals->none_taken: then the
 * letters come slowly. What may work later (server down, disk full, login refused, timeout) is not refused: return
 * ERR_IO, ERR_TIMEOUT, ERR_DENIED, ERR_FULL.
 */
#ifndef CLOUD_BRIDGE_SINKS_MODULE_H
#define CLOUD_BRIDGE_SINKS_MODULE_H

#include <uthash.h>

#include "cloud-bridge/sinks/sinks.h"
#include "core/base/arena.h"
#include "core/options/options.h"
#include "proto/block/block.h"

/* ---- the contract ---- */
enum { SINK_MODULE_ABI = 4 }; /* counted up with every change of what this header, sinks.h or options.h lay down */
/* Catches the change that nobody counted. */
#define SINK_MODULE_LAYOUT \
    ((uint32_t)(sizeof(struct sink_batch) + 64 * sizeof(struct sink_item) + 4096 * sizeof(struct option) + \
                262144 * sizeof(struct sink_ops)))

struct sink_place { /* borrowed until open returns */
    const char *name;          /* of the section: an identity, unique in this bridge */
    const char *site, *bridge; /* identities of the bridge */
    const char *software;      /* version */
};
struct sink_module {
    uint32_t abi, layout; /* SINK_MODULE_ABI, SINK_MODULE_LAYOUT */
    const char *name;     /* the configuration's `type` and the file's NAME */
    const char *summary;  /* one sentence */
    const struct option *table; /* rows of one section, ends with a NULL name; offsets into an item */
    size_t item_size;           /* bytes of the struct that the rows fill */
    /* Cross-field checks; may be NULL. Appends sentences (one per line, each with the key first), returns ERR_RANGE if
     * any. Connects to nobody. */
    enum err (*check)(const void *item, struct buffer *problems);
    /* item is borrowed until the sink is closed. */
    enum err (*open)(const struct sink_place *place, const void *item, struct sink *ret_sink, struct fault *reterr);
};
/* A module writes:  const struct sink_module weir_sink_module = {.abi = SINK_MODULE_ABI, ...};  */
extern __attribute__((visibility("default"))) const struct sink_module weir_sink_module;

/* From write: item `index` can never be taken, reason is a sentence (copied, cut to SINK_REASON_MAX). */
void sink_refuse(const struct sink_batch *batch, size_t index, const char *reason);

/* ---- marks: per stream (device, epoch) how far the sink is ----
 *
 * A sink keeps them in memory beside its own durable form; all decide alike what is new in an item and what was jumped
 * over:
 *
 *   item          mark (hwm)     step
 *   first..last   last <= hwm    skip
 *                 first <= hwm   take hwm+1..last           (the rest of a range)
 *                 first = hwm+1  take first..last
 *                 first > hwm+1  lost hwm+1..first-1, then take first..last; in a stream of a hop nothing is lost
 *
 * What was jumped over may still come: a gateway that has two parents sends what one of them had not passed on by the
 * other one. So a mark keeps its newest holes, each the rest of one jump, and an item at or below the mark that lies in
 * one is taken late:
 *
 *   last <= hwm, meets a hole   fill: take what of it is in the hole, which shrinks, ends or splits; gaps go down
 *
 * Beyond SINK_HOLES holes the oldest stays a gap for good. Of an item that meets several holes, or a hole and the mark,
 * the highest part is taken (only a gap or a suppressed range can be like that): the rest stays the gap that it is.
 * What is filled late keeps its key (device, epoch, number) and comes behind higher numbers of its stream.
 */
struct sink_mark_key {
    char device[ID_MAX + 1 + 7]; /* zero-filled, no padding behind it: hashed as bytes */
    uint64_t epoch;
};
enum { SINK_HOLES = 8 };
struct sink_hole {
    uint64_t first, last;
};
struct sink_holes {
    struct sink_hole list[SINK_HOLES]; /* disjoint, rising */
    unsigned count;
};
struct sink_mark {
    struct sink_mark_key key;
    struct sink_stream stream;
    struct sink_holes holes;
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
    bool replay;                    /* from the dead letters: the mark does not move */
    bool fill;                      /* into `hole`, below the mark, which does not move */
    struct sink_hole hole;
    uint64_t first, last;           /* to take */
    uint64_t lost_first, lost_last; /* jumped over; lost_first > lost_last: nothing */
};
/* NULL when unknown. */
struct sink_mark *sink_marks_find(struct sink_marks *marks, const char *device, uint64_t epoch);
/* ERR_NOMEM. */
enum err sink_marks_add(struct sink_marks *marks, const char *device, uint64_t epoch, uint8_t lane, bool hop,
                        struct sink_mark **ret_mark) MUST_CHECK;
void sink_mark_step(const struct sink_mark *mark, const struct wire_forward *forward, struct sink_step *ret_step);
/* As sink_mark_step, and for an item of a replay (batch->replay, item->replay): all of it is taken although the mark is
 * beyond it. A sink that keeps gaps takes it only while it holds the gap first..last with reason "dead_letter", and
 * removes that in the same transaction: so a replay that is repeated changes nothing. Others write it by its key. */
void sink_item_step(const struct sink_mark *mark, const struct sink_item *item, struct sink_step *ret_step);
/* Moves the high-water mark and the holes by a step, and nothing else. */
void sink_mark_move(struct sink_mark *mark, const struct sink_step *step);
/* A newer hole than all that are there; the oldest goes when there are too many. */
void sink_holes_add(struct sink_holes *holes, uint64_t first, uint64_t last);
/* Takes first..last out of the hole that holds it, if one does. */
void sink_holes_fill(struct sink_holes *holes, uint64_t first, uint64_t last);
/* "31-50,71-72" into ret_text, "" for none; and back. ERR_MALFORMED: not that, or not rising. */
enum { SINK_HOLES_BYTES = SINK_HOLES * 42 };
void sink_holes_write(const struct sink_holes *holes, char ret_text[SINK_HOLES_BYTES]);
enum err sink_holes_read(const char *text, struct sink_holes *ret_holes) MUST_CHECK;
/* The step has been written: moves the mark and its counts. */
void sink_mark_take(struct sink_marks *marks, struct sink_mark *mark, const struct sink_step *step,
                    const struct wire_forward *forward, enum sink_kind kind, uint64_t readings);
/* The batch is durable: the marks touched are no longer listed. */
void sink_marks_settle(struct sink_marks *marks);
void sink_marks_clear(struct sink_marks *marks);

/* ---- records: one reader that unpacks a Record and gives its readings one by one ---- */
struct sink_reader {
    struct arena arena;
    int64_t *values; /* BLOCK_CHANNELS_MAX x BLOCK_SAMPLES_MAX */
    int64_t *times;  /* BLOCK_SAMPLES_MAX */
    double resolutions[BLOCK_CHANNELS_MAX];
    enum sink_kind kind; /* of the record in hand */
    const Weir__V1__Record *record; /* NULL for UNREAD; valid until the next sink_reader_read */
    const Weir__V1__Block *block;     /* of BLOCK and CURATED; NULL = no rows */
    const Weir__V1__Curated *curated; /* of CURATED: windows, version of the rules */
    const Weir__V1__Describe *describe; /* of DESCRIBE, and of a CURATED that brings one: learn it before its rows */
    uint32_t schema;
    size_t channels, samples; /* of the block */
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
/* The readings of the block, sample by sample; missing values are left out. None without one. fn's error ends it. */
enum err sink_reader_foreach(const struct sink_reader *r,
                             enum err (*fn)(void *arg, const struct sink_reading *reading), void *arg) MUST_CHECK;
/* How many those are. */
uint64_t sink_reader_readings(const struct sink_reader *r);
/* Wall clock of the earliest and the latest sample of the block, and of the windows. False when there is neither. */
bool sink_reader_times(const struct sink_reader *r, uint64_t *ret_earliest_us, uint64_t *ret_latest_us);
/* Standard deviation of the values (divisor count - 1); 0 of one value. */
double sink_window_std(const Weir__V1__Window *window);
/* p50, p95, p99 of the values, from the window's sketch. False: it has none that can be read, all are NaN. */
enum { SINK_QUANTILES = 3 };
extern const char *const sink_quantile_names[SINK_QUANTILES];
bool sink_window_quantiles(const Weir__V1__Window *window, double ret_values[SINK_QUANTILES]);
/* Value of a whole multiple of a resolution, as the decimal that it stands for: 3 x 0.1 = 0.3. */
double sink_value(int64_t multiple, double resolution);
/* "2026-11-22T07:00:00.123Z"; beyond the year 9999: "9999-12-31T23:59:59.999Z". */
enum { SINK_TIME_BYTES = 25 };
void sink_time(uint64_t wall_us, char ret_text[SINK_TIME_BYTES]);
const char *sink_reason_name(Weir__V1__GapReason reason);
const char *sink_severity_name(Weir__V1__Severity severity);
const char *sink_answered_by_name(Weir__V1__AnsweredBy by); /* "device", "gateway", "person" */
const char *sink_asked_name(Weir__V1__Asked asked);         /* "no", "answered", "late", "refused", "offline" */

#endif
