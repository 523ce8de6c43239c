/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sinks - where records end: one file per sink, several at once, each with its own position in the bridge's spool.
 *
 * A sink gets batches in spool order per lane and commits the rows, the streams' high-water marks and its positions
 * in one transaction; on opening it says how far it is. It is also idempotent by (device, epoch, number): what is
 * at or below a stream's mark is skipped, a jump is recorded as a gap (UPSTREAM_LOST) that what comes late still fills
 * (module.h, holes), of a range only the new part counts. write() runs on the sink's own worker. A slow or dead sink
 * delays itself alone; the spool is trimmed behind the slowest. Streams of a hop itself (proto/receive: device =
 * gateway) have jumps by nature; none are recorded in them.
 *
 * A new sink: three functions (sink_ops). module.h is the contract of one that is loaded, and has what all share: the
 * marks (what is new in an item, what was jumped over, what fills a hole late) and the reading of records.
 */
#ifndef CLOUD_BRIDGE_SINKS_SINKS_H
#define CLOUD_BRIDGE_SINKS_SINKS_H

#include "core/base/base.h"
#include "core/base/json.h"
#include "core/inbox/inbox.h"
#include "core/loop/loop.h"
#include "core/spool/spool.h"
#include "proto/wire/wire.h"

struct sink_item {
    uint8_t lane;
    uint64_t position;           /* in the bridge's spool */
    struct wire_forward forward; /* borrowed until write returns; first > last: the entry could not be read (damaged in
                                  * the spool); whose it was shows as a jump in its stream */
    bool replay;                 /* from the dead letters (module.h, sink_item_step) */
};
enum { SINK_REASON_MAX = 200, SINK_REFUSALS_MAX = 64 };
struct sink_refusals { /* what write() can never take (module.h, sink_refuse) */
    size_t count;
    bool none_taken; /* nothing else of the batch was taken either: the bridge takes its time to offer it again */
    struct sink_refusal {
        size_t index; /* of the item */
        char reason[SINK_REASON_MAX];
    } items[SINK_REFUSALS_MAX];
};
struct sink_batch {
    struct sink_item *items;
    size_t count;
    uint64_t epoch[INBOX_LANES];    /* of the bridge's spool lanes */
    uint64_t position[INBOX_LANES]; /* reached when this batch is committed */
    struct sink_refusals *refusals; /* NULL: nobody listens */
};
struct sink_stream { /* one row of the ledger */
    char device[ID_MAX + 1];
    uint64_t epoch, hwm, top, records, readings, gaps, suppressed;
    uint8_t lane;
};
struct sink_ops {
    const char *name;
    /* On the worker's thread. Durable when it returns OK; after anything else nothing of the batch counts and the
     * same records come again, perhaps in other batches. */
    enum err (*write)(void *sink, const struct sink_batch *batch, struct fault *reterr);
    /* A server that may be away: position is asked on the worker's thread, until it answers. Otherwise it is asked on
     * the loop's thread, and the start fails with it. */
    bool remote;
    /* Position durable in the sink for this spool epoch; 0 when unknown. Called before the first write. NULL: the sink
     * cannot keep one, the bridge does in its store: what was written last may come again after a crash of either. */
    enum err (*position)(void *sink, const uint64_t epoch[INBOX_LANES], uint64_t ret_position[INBOX_LANES]);
    /* After the worker has ended. */
    void (*close)(void *sink);
    /* A sentence about the last position() that failed, valid until the next call; may be NULL. */
    const char *(*why)(void *sink);
    /* For a server that acknowledges before it is on its disk (sink.settle_us > 0, position NULL). On the worker's
     * thread;
     * OK: the server is the same process that has taken every write since the last failure. Else all that is not
     * settled is written again. */
    enum err (*alive)(void *sink, struct fault *reterr);
    /* On the worker's thread, every few seconds between the writes: for what a sink does by time though no record
     * comes.
     * now_us is the loop's monotonic clock. May be NULL. */
    enum err (*tick)(void *sink, int64_t now_us, struct fault *reterr);
};
struct sink {
    const struct sink_ops *ops;
    void *self; /* owned */
    char name[ID_MAX + 1]; /* in this bridge; "" = ops->name */
    int64_t settle_us;     /* what was written so long ago to a server that is alive is on its disk; 0 = at once */
    unsigned lag_max_pct;  /* of the store's cap: above it records are given up for this sink (sinks_new); 0 = never */
};
/* SQLite: tables and the views `readings` (device, ts, channel, value, unit, ...), `events`, `healths`, `gaps`.
 * path is created. ERR_UNSUPPORTED: written by a later version. ERR_CONFLICT: not a database of ours. ERR_IO. */
enum err sink_sqlite_open(const char *path, struct sink *ret_sink, struct fault *reterr) MUST_CHECK;
/* A connection of its own that only reads, for the operator's questions; a writer never waits for it (WAL).
 * Bounded. */
struct sink_sqlite_reader;
enum err sink_sqlite_reader_open(const char *path, struct sink_sqlite_reader **ret_reader,
                                 struct fault *reterr) MUST_CHECK;
void sink_sqlite_reader_free(struct sink_sqlite_reader *reader);
DEFINE_CLEANUP(struct sink_sqlite_reader, sink_sqlite_reader_free)
/* Writes the elements of /ledger's "streams" into the array that j is in; device NULL = all. At most limit rows.
 * ERR_IO. */
enum err sink_sqlite_ledger_json(struct sink_sqlite_reader *reader, const char *device, size_t limit,
                                 struct json *j) MUST_CHECK;
/* {"readings":[{"row","ts","device","channel","value","unit","epoch","number"}]}: rows after `after` in the order
 * of their arrival, at most limit (<= 10,000); after < 0: the newest. row is the cursor for the next call. ERR_IO. */
enum err sink_sqlite_tail_json(struct sink_sqlite_reader *reader, const char *device, int64_t after, size_t limit,
                               struct buffer *out) MUST_CHECK;
/* JSON lines in directory `path`, one line a record, files of rotate_bytes; torn tails are cut on opening. */
enum err sink_file_open(const char *path, uint64_t rotate_bytes, struct sink *ret_sink,
                        struct fault *reterr) MUST_CHECK;
/* In memory, for virtual time: keeps what was committed. disk outlives the sink. */
struct sink_memory_disk;
enum err sink_memory_disk_new(struct sink_memory_disk **ret_disk) MUST_CHECK;
void sink_memory_disk_free(struct sink_memory_disk *disk);
enum err sink_memory_open(struct sink_memory_disk *disk, struct sink *ret_sink) MUST_CHECK;
/* WITHOUT_MARK is a planted mistake: rows are kept, but marks and positions are forgotten when the sink is opened
 * again. */
enum sink_memory_mode { SINK_MEMORY_OK, SINK_MEMORY_FAILS, SINK_MEMORY_WITHOUT_MARK };
void sink_memory_set_mode(struct sink_memory_disk *disk, enum sink_memory_mode mode);
enum sink_kind {
    SINK_BLOCK,
    SINK_EVENT,
    SINK_HEALTH,
    SINK_GAP,
    SINK_SUPPRESSED,
    SINK_DESCRIBE,
    SINK_CURATED, /* a block as a gateway's rules left it, and windows */
    SINK_INFERENCE,
    SINK_UNREAD /* of a kind or schema that this program does not know, or damaged: kept as it came */
};
const char *sink_kind_name(enum sink_kind kind);
struct sink_row {
    uint64_t first, last;
    enum sink_kind kind;
    Weir__V1__GapReason reason; /* of a gap */
    uint32_t crc;               /* CRC-32C of the record's bytes; 0 for a jump's gap */
    bool late;                  /* it filled a hole (module.h): it stands behind higher numbers */
};
/* Per stream in the order of its first row; rows in the order of their commit. */
void sink_memory_foreach(struct sink_memory_disk *disk,
                         void (*fn)(void *arg, const struct sink_stream *stream, bool hop, const struct sink_row *rows,
                                    size_t count),
                         void *arg);

/* The drain: reads the spool, writes to the sinks, trims behind the slowest.
 *
 * A sink that is away holds the spool back. While that is less than its lag_max_pct of the store it holds up nobody.
 * Above, if another sink is further, the oldest records are given up for it: logged, counted, and declared as gaps
 * (OVERFLOW) in it, stream by stream, before anything else when it is back (owed.c). A sink that is alone gives up
 * nothing: then the bridge takes nothing in until there is room, and the gateways keep it. */
struct sinks;
struct dead;
struct sinks_handlers {
    struct store_batch *(*batch)(void *arg); /* for trims */
    void *arg;
    /* May be NULL, as in virtual time: then nothing is given up, and a sink that refuses a record fails for good. */
    struct store *store;
    unsigned table;    /* of the store: sinks_internal.h, dead.h */
    struct dead *dead; /* borrowed */
};
/* sinks (count >= 1) are owned from here on, also on failure. Asks each for its position. A sink that knows more of
 * a spool lane than the spool does shows that the spool was restored from an old image: sinks_ahead. */
enum err sinks_new(struct loop *loop, struct spool *const spools[INBOX_LANES], struct sink *sinks, size_t count,
                   const struct sinks_handlers *handlers, struct sinks **ret_sinks, struct fault *reterr) MUST_CHECK;
void sinks_free(struct sinks *sinks);
DEFINE_CLEANUP(struct sinks, sinks_free)
/* Whether a sink is ahead of this lane. Then the owner begins a new epoch of the lane (spool_rebase, all kept) and
 * calls sinks_rebased, before anything is appended; what the sinks have already they skip by their marks. */
bool sinks_ahead(const struct sinks *sinks, unsigned lane);
void sinks_rebased(struct sinks *sinks, unsigned lane);
void sinks_kick(struct sinks *sinks); /* the spool has more */
/* Every sink has committed everything that is durable in the spool. */
bool sinks_drained(struct sinks *sinks);
/* No write is under way. */
bool sinks_idle(const struct sinks *sinks);
/* Begins no more writes. */
void sinks_stop(struct sinks *sinks);
size_t sinks_count(const struct sinks *sinks);
/* Puts into batch what sinks_new must find about sinks that cannot tell their position at the start. After the lanes'
 * epochs are durable. ERR_NOMEM, ERR_IO. */
enum err sinks_prepare(struct store *store, struct store_batch *batch, unsigned table, const struct sink *sinks,
                       size_t count, struct spool *const spools[INBOX_LANES]) MUST_CHECK;
/* Offers a dead letter to its sink again: removed when the sink has taken it, a new letter when it refuses it again.
 * ERR_NOT_FOUND: no such letter, or its sink is not there any more. ERR_AGAIN: one is under way. */
enum err sinks_replay(struct sinks *sinks, uint64_t id) MUST_CHECK;
struct sinks_stats {
    const char *name, *type;
    uint64_t records; /* of committed batches */
    uint64_t batches, failures, unreadable;
    uint64_t position[INBOX_LANES]; /* of this sink */
    bool failing;                   /* the last write failed; it is tried again */
    bool known;                     /* it has told its position */
    uint64_t waiting;               /* positions that it has not */
    uint64_t unsettled;             /* positions that it has and may still lose (sink.settle_us) */
    uint64_t waiting_since_us;      /* when the oldest of them came to the first gateway, wall clock; 0 = unknown */
    uint64_t given_up, owed;        /* records given up since the start; streams whose gap is not declared yet */
    uint64_t refused;               /* records that went to the dead letters since the start */
    char last_error[200];
};
void sinks_stats(struct sinks *sinks, size_t index, struct sinks_stats *ret_stats);

#endif
