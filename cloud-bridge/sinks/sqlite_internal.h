/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite as the three files of this sink use it: a query with a sticky error (bind everything, run, check once).
 */
#ifndef CLOUD_BRIDGE_SINKS_SQLITE_INTERNAL_H
#define CLOUD_BRIDGE_SINKS_SQLITE_INTERNAL_H

#include <sqlite3.h>

#include "core/base/base.h"

enum { SQLITE_SINK_VERSION = 3 };

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
/* Makes the tables, or finds them made. */
enum err sqlite_schema_apply(sqlite3 *db, const char *path, struct fault *reterr) MUST_CHECK;

#endif
