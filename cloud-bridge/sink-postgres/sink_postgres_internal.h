/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PostgreSQL sink: one transaction a batch = rows, the streams' marks, the positions.
 *
 *   begin
 *   positions: as we left them?          another answer: the database came back from a backup, ask again from the start
 *   streams of the batch, locked         (streams.c; their marks are read anew every time, nothing is remembered)
 *   COPY binary into temporary tables    (rows.c)
 *   the holes that were filled late are cut out of the rows of `gap` (write.c; the newest of these rows are the holes)
 *   insert .. select .. on conflict do nothing, marks, positions
 *   commit
 *
 *   module.c   settings, life, refusals       connect.c   the connection: nothing waits longer than `timeout`
 *   schema.c   tables and views               write.c     the transaction
 */
#ifndef CLOUD_BRIDGE_SINK_POSTGRES_SINK_POSTGRES_INTERNAL_H
#define CLOUD_BRIDGE_SINK_POSTGRES_SINK_POSTGRES_INTERNAL_H

#include <libpq-fe.h>

#include "cloud-bridge/sinks/module.h"
#include "core/base/buffer.h"

struct postgres_settings {
    char *url, *password_file, *schema;
    int64_t timeout_us;
    bool timescale;
};

/* What a batch writes to; each has a temporary table stage_<name>. */
enum table {
    TABLE_RECORD,
    TABLE_READING,
    TABLE_CHANNEL,
    TABLE_DESCRIPTION,
    TABLE_EVENT,
    TABLE_HEALTH,
    TABLE_GAP,
    TABLE_SUPPRESSED,
    TABLE_WINDOW,
    TABLE_INFERENCE,
    TABLE_UNREAD,
    TABLE_FILL, /* these two have no table behind them: rows that were filled late, cut out of `gap`; */
    TABLE_MARK, /* and rows that change `stream` */
    TABLES
};
extern const char *const table_names[TABLES];

struct postgres {
    const struct postgres_settings *settings; /* borrowed */
    PGconn *conn;                             /* NULL = to be opened */
    struct sink_reader reader;
    struct sink_marks marks; /* of the batch in hand */
    struct buffer copy[TABLES];
    uint64_t rows[TABLES]; /* in the transaction */
    struct fault fault;    /* of the last position() */
    char sqlstate[6];      /* of the last failed statement, "" = none */
    bool has_left;         /* left[] is what the last commit of this connection left in `position` */
    uint64_t left_epoch[INBOX_LANES], left[INBOX_LANES];
};

/* ---- connect.c ---- */
/* Opens the connection if there is none: session settings, schema. ERR_DENIED, ERR_TIMEOUT, ERR_IO, ERR_UNSUPPORTED. */
enum err pg_open(struct postgres *pg, struct fault *reterr) MUST_CHECK;
void pg_close(struct postgres *pg);
/* One or more statements without parameters. */
enum err pg_run(struct postgres *pg, const char *sql, struct fault *reterr) MUST_CHECK;
/* One statement; params are texts. *ret_result (may be NULL) is the caller's. */
enum err pg_query(struct postgres *pg, const char *sql, const char *const *params, int count, PGresult **ret_result,
                  struct fault *reterr) MUST_CHECK;
/* The rows in copy[table] go into its temporary table; the buffer is empty afterwards. */
enum err pg_copy(struct postgres *pg, enum table table, struct fault *reterr) MUST_CHECK;
/* Ends the transaction in hand and closes a connection that is of no more use. */
void pg_rollback(struct postgres *pg);
/* The failed statement disliked the data (SQLSTATE classes 22, 23, P0): it will dislike it again. */
bool pg_disliked(const struct postgres *pg);
DEFINE_CLEANUP(PGresult, PQclear)

/* ---- schema.c ---- */
enum err pg_schema_apply(struct postgres *pg, struct fault *reterr) MUST_CHECK;

/* ---- streams.c ---- */
/* Loads and locks the marks of items[0..count), making those that are new. */
enum err pg_streams_lock(struct postgres *pg, const struct sink_item *items, size_t count,
                         struct fault *reterr) MUST_CHECK;

/* ---- rows.c: binary COPY (postgresql.org/docs/15/sql-copy.html, "Binary Format") ---- */
enum { COPY_FLUSH_BYTES = 4 << 20 };
void copy_row(struct buffer *b, uint16_t columns);
void copy_i16(struct buffer *b, int64_t value);
void copy_i32(struct buffer *b, int64_t value);
void copy_i64(struct buffer *b, uint64_t value); /* numbers of Weir end at 2^63 - 1, the rest is cut to that */
void copy_f64(struct buffer *b, double value);
void copy_null(struct buffer *b);
void copy_bool(struct buffer *b, bool value);
void copy_text(struct buffer *b, const char *text);
void copy_hex(struct buffer *b, uint64_t value);
void copy_bytes(struct buffer *b, struct slice bytes);
void copy_time(struct buffer *b, uint64_t wall_us); /* timestamptz; beyond the year 9999 its end */
/* The rows of one item, whose mark is there. */
enum err pg_rows(struct postgres *pg, const struct wire_forward *forward, const struct sink_mark *mark,
                 const struct sink_step *step, uint64_t *ret_readings, struct fault *reterr) MUST_CHECK;
/* The streams' marks as rows of TABLE_MARK. */
enum err pg_mark_rows(struct postgres *pg) MUST_CHECK;

/* ---- write.c ---- */
/* items[first..first + count) of the batch in one transaction; positions and commit only with is_all. */
enum err pg_transaction(struct postgres *pg, const struct sink_batch *batch, size_t first, size_t count, bool is_all,
                        struct fault *reterr) MUST_CHECK;
enum err pg_positions(struct postgres *pg, const uint64_t epoch[INBOX_LANES], uint64_t ret_position[INBOX_LANES],
                      struct fault *reterr) MUST_CHECK;

#endif
