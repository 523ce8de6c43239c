/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A query with a sticky error: bind everything, run, check once. SQLite's codes become ours here.
 */
#include "cloud-bridge/sinks/sqlite_internal.h"

#include <stdio.h>

void query_i64(struct query *q, int64_t value)
{
    q->bound++;
    if (q->rc == SQLITE_OK) {
        q->rc = sqlite3_bind_int64(q->stmt, q->bound, value);
    }
}

void query_u64(struct query *q, uint64_t value)
{
    query_i64(q, (int64_t)min_u64(value, INT64_MAX));
}

void query_f64(struct query *q, double value)
{
    q->bound++;
    if (q->rc == SQLITE_OK) {
        q->rc = sqlite3_bind_double(q->stmt, q->bound, value); /* NaN becomes null */
    }
}

void query_text(struct query *q, const char *text)
{
    q->bound++;
    if (q->rc == SQLITE_OK) {
        q->rc = sqlite3_bind_text(q->stmt, q->bound, text, -1, SQLITE_STATIC);
    }
}

void query_hex(struct query *q, uint64_t value)
{
    char text[17];
    snprintf(text, sizeof(text), "%016llx", (unsigned long long)value);
    q->bound++;
    if (q->rc == SQLITE_OK) {
        q->rc = sqlite3_bind_text(q->stmt, q->bound, text, 16, SQLITE_TRANSIENT);
    }
}

void query_blob(struct query *q, struct slice bytes)
{
    q->bound++;
    if (q->rc == SQLITE_OK) {
        q->rc =
            sqlite3_bind_blob64(q->stmt, q->bound, bytes.len ? (const void *)bytes.ptr : "", bytes.len, SQLITE_STATIC);
    }
}

enum err sqlite_err(int rc)
{
    switch (rc & 0xff) { /* without the extended part */
    case SQLITE_OK:
    case SQLITE_DONE:
        return OK;
    case SQLITE_NOMEM:
        return ERR_NOMEM;
    case SQLITE_FULL:
        return ERR_FULL;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_CONFLICT;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH:
        return ERR_DENIED;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_MALFORMED;
    default:
        return ERR_IO;
    }
}

enum err query_run(struct query *q)
{
    int rc = q->rc;
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(q->stmt);
    }
    sqlite3_reset(q->stmt);
    return sqlite_err(rc);
}

enum err query_row(struct query *q)
{
    int rc = q->rc;
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(q->stmt);
    }
    if (rc == SQLITE_ROW) {
        return OK;
    }
    sqlite3_reset(q->stmt);
    return rc == SQLITE_DONE ? ERR_NOT_FOUND : sqlite_err(rc);
}

void query_end(struct query *q)
{
    sqlite3_reset(q->stmt);
}

enum err sqlite_fault(struct fault *reterr, sqlite3 *db, const char *what)
{
    enum err err = sqlite_err(sqlite3_extended_errcode(db));
    return fault_set(reterr, err == OK ? ERR_IO : err, "%s: %s", what, sqlite3_errmsg(db));
}
