/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SQLite sink's state, and what its files call in one another.
 *
 *   sqlite.c         the sink: a batch is one transaction
 *   sqlite_file.c    the database's files and the statements: opened, looked after, given up
 *   sqlite_query.c   a query with a sticky error: bind everything, run, check once
 *   sqlite_rows.c    a record as rows
 *   sqlite_marks.c   the streams' marks, holes and positions as rows
 *   sqlite_schema.c  tables and views, and their versions
 *   sqlite_read.c    the operator's questions, on a connection of their own
 */
#ifndef CLOUD_BRIDGE_SINKS_SQLITE_INTERNAL_H
#define CLOUD_BRIDGE_SINKS_SQLITE_INTERNAL_H

#include <sqlite3.h>
#include <sys/types.h>

#include "cloud-bridge/sinks/sinks_internal.h"

enum { SQLITE_SINK_VERSION = 4 };

/* ---- sqlite_query.c ---- */
struct query {
    sqlite3_stmt *stmt;
    int bound; /* parameters so far */
    int rc;    /* SQLITE_OK, or the first error */
};
static inline struct query query_of(sqlite3_stmt *stmt)
{
    return (struct query){.stmt = stmt};
}
/* Texts and blobs are borrowed until the query has run. */
void query_i64(struct query *q, int64_t value);
void query_u64(struct query *q, uint64_t value); /* numbers of Weir end at 2^63 - 1 */
void query_f64(struct query *q, double value);
void query_text(struct query *q, const char *text); /* NULL is null */
void query_hex(struct query *q, uint64_t value);    /* 16 digits, copied */
void query_blob(struct query *q, struct slice bytes);
/* For statements without rows. */
enum err query_run(struct query *q) MUST_CHECK;
/* OK: a row is there. ERR_NOT_FOUND: no more. After anything but OK the statement is reset. */
enum err query_row(struct query *q) MUST_CHECK;
void query_end(struct query *q);

enum err sqlite_err(int rc) MUST_CHECK;
/* "weir.db: disk I/O error" */
enum err sqlite_fault(struct fault *reterr, sqlite3 *db, const char *what) MUST_CHECK;

/* ---- sqlite_schema.c ---- */
/* Makes the tables, or finds them made. */
enum err sqlite_schema_apply(sqlite3 *db, const char *path, struct fault *reterr) MUST_CHECK;

/* ---- the sink in hand ---- */
enum sqlite_statement {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_FIND_DEVICE,
    SQL_ADD_DEVICE,
    SQL_FIND_STREAM,
    SQL_ADD_STREAM,
    SQL_MARK_STREAM,
    SQL_MARK_POSITION,
    SQL_FIND_POSITION,
    SQL_ADD_RECORD,
    SQL_ADD_READING,
    SQL_ADD_CHANNEL,
    SQL_ADD_DESCRIPTION,
    SQL_ADD_EVENT,
    SQL_ADD_HEALTH,
    SQL_ADD_GAP,
    SQL_FIND_HOLES,
    SQL_SPLIT_HOLE,
    SQL_SHRINK_HOLE,
    SQL_DROP_HOLE,
    SQL_ADD_SUPPRESSED,
    SQL_ADD_WINDOW,
    SQL_ADD_INFERENCE,
    SQL_ADD_UNREAD,
    SQL_STATEMENTS
};
/* The database and what SQLite keeps beside it (sqlite.org/walformat.html). */
enum { FILE_DB, FILE_WAL, FILE_SHM, FILES };
struct file_id {
    dev_t dev;
    ino_t ino; /* 0: there was none */
};
struct sqlite {
    sqlite3 *db; /* NULL: to be opened with the next batch */
    sqlite3_stmt *stmt[SQL_STATEMENTS];
    struct sink_marks marks; /* cache of table stream; emptied when a transaction fails */
    struct sink_reader reader;
    char *path[FILES];          /* owned */
    struct file_id file[FILES]; /* as they were opened */
};

/* ---- sqlite_file.c ---- */
/* Opens path[FILE_DB], made when it is not there, and prepares all statements. After an error db is NULL. */
enum err sqlite_file_open(struct sqlite *s, struct fault *reterr) MUST_CHECK;
/* Also half open; marks are forgotten. */
void sqlite_file_close(struct sqlite *s);
/* The path still names what was opened (or nothing was opened yet). Otherwise closes, and says what is the matter. */
enum err sqlite_file_check(struct sqlite *s, struct fault *reterr) MUST_CHECK;
/* A transaction has failed: rolled back, and closed where the connection may stay of no use. */
void sqlite_file_give_up(struct sqlite *s);

/* ---- sqlite_rows.c ---- */
/* The record in hand. */
struct sqlite_place {
    struct sqlite *s;
    const struct wire_forward *forward;
    struct sink_mark *mark;
    struct sink_step step;
    uint64_t readings;
    unsigned ts_index; /* the sample that ts was made for */
    char ts[SINK_TIME_BYTES];
};
/* *ret_new is false when the record is there already (the mark was set back by hand): then nothing is counted. */
enum err sqlite_add_record(struct sqlite_place *p, bool *ret_new) MUST_CHECK;
/* The rows of the record's own kind. */
enum err sqlite_add_content(struct sqlite_place *p) MUST_CHECK;
enum err sqlite_add_gap(struct sqlite_place *p, uint64_t first, uint64_t last, const char *reason,
                        uint64_t wall_us) MUST_CHECK;

/* ---- sqlite_marks.c ---- */
/* Of the record's stream; device and stream are made when they are not there. */
enum err sqlite_find_mark(struct sqlite *s, const struct wire_forward *f, struct sink_mark **ret_mark) MUST_CHECK;
/* The hole's row becomes what is left of it: a part above, a part below, or nothing. */
enum err sqlite_cut_hole(struct sqlite_place *p) MUST_CHECK;
/* The marks touched, and the batch's positions. */
enum err sqlite_write_marks(struct sqlite *s, const struct sink_batch *batch) MUST_CHECK;

#endif
