/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sinks - where records end: one file per sink, several at once, each with its own position in the bridge's spool.
 *
 * A sink gets batches in spool order per lane and commits the rows, the streams' high-water marks and its positions in
 * one transaction; on opening it says how far it is. It is also idempotent by (device, epoch, number): what is at or
 * below a stream's mark is skipped, a jump is recorded as a gap (UPSTREAM_LOST). write() runs on the sink's own worker.
 * A slow or dead sink delays itself alone; the spool is trimmed behind the slowest.
 */
#ifndef CLOUD_BRIDGE_SINKS_SINKS_H
#define CLOUD_BRIDGE_SINKS_SINKS_H

#include "core/base/base.h"
#include "core/inbox/inbox.h"
#include "core/loop/loop.h"
#include "core/spool/spool.h"
#include "proto/wire/wire.h"

struct sink_item {
    uint8_t lane;
    uint64_t position;           /* in the bridge's spool */
    struct wire_forward forward; /* borrowed until write returns; first > last for a hole in positions */
};
struct sink_batch {
    struct sink_item *items;
    size_t count;
    uint64_t epoch[INBOX_LANES];    /* of the bridge's spool lanes */
    uint64_t position[INBOX_LANES]; /* reached when this batch is committed */
};
struct sink_stream { /* one row of the ledger */
    char device[ID_MAX + 1];
    uint64_t epoch, hwm, top, records, readings, gaps, suppressed;
    uint8_t lane;
};
struct sink_ops {
    const char *name;
    /* On the worker's thread, all of them. */
    enum err (*write)(void *sink, const struct sink_batch *batch, struct fault *reterr);
    /* Position durable in the sink for this spool epoch; 0 when unknown. */
    enum err (*position)(void *sink, const uint64_t epoch[INBOX_LANES], uint64_t ret_position[INBOX_LANES]);
    void (*close)(void *sink);
};
struct sink {
    const struct sink_ops *ops;
    void *self; /* owned */
};
/* SQLite: tables and the view `readings` (device, ts, channel, value, unit, ...). path is created. */
enum err sink_sqlite_open(const char *path, struct sink *ret_sink, struct fault *reterr) MUST_CHECK;
/* JSON lines in directory `path`, one line a record, files of rotate_bytes; torn tails are cut on opening. */
enum err sink_file_open(const char *path, uint64_t rotate_bytes, struct sink *ret_sink,
                        struct fault *reterr) MUST_CHECK;
/* In memory, for virtual time: keeps what was committed. disk outlives the sink. */
struct sink_memory_disk;
enum err sink_memory_disk_new(struct sink_memory_disk **ret_disk) MUST_CHECK;
void sink_memory_disk_free(struct sink_memory_disk *disk);
enum err sink_memory_open(struct sink_memory_disk *disk, struct sink *ret_sink) MUST_CHECK;

/* The drain: reads the spool, writes to the sinks, trims behind the slowest. */
struct sinks;
struct sinks_handlers {
    struct store_batch *(*batch)(void *arg); /* for trims */
    void *arg;
};
/* sinks are owned from here on. */
enum err sinks_new(struct loop *loop, struct spool *const spools[INBOX_LANES], struct sink *sinks, size_t count,
                   const struct sinks_handlers *handlers, struct sinks **ret_sinks, struct fault *reterr) MUST_CHECK;
void sinks_free(struct sinks *sinks);
DEFINE_CLEANUP(struct sinks, sinks_free)
void sinks_kick(struct sinks *sinks); /* the spool has more */
bool sinks_drained(struct sinks *sinks);
struct sinks_stats {
    uint64_t records, batches, failures, skipped, jumps;
    uint64_t position[INBOX_LANES]; /* of the slowest */
    char last_error[200];
};
void sinks_stats(struct sinks *sinks, size_t index, struct sinks_stats *ret_stats);

#endif
