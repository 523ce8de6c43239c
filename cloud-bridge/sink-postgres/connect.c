/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libpq without waiting for ever: its calls that block have no time limit, so sending and receiving go through poll(2)
 * here. A limit is for one wait without progress; the server ends statements by the same limit.
 */
#include "cloud-bridge/sink-postgres/sink_postgres_internal.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "cloud-bridge/sinks/server.h"

enum { PASSWORD_MAX = 1024 };

/* ---- errors ---- */
/* The server's first line, without the newline. */
static enum err pg_fault(struct postgres *pg, enum err err, const PGresult *result, const char *what,
                         struct fault *reterr)
{
    const char *text = result != NULL ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    const char *detail = result != NULL ? PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL) : NULL;
    const char *state = result != NULL ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    char first[300];
    if (text == NULL) {
        text = pg->conn != NULL && PQerrorMessage(pg->conn)[0] != '\0' ? PQerrorMessage(pg->conn) : err_name(err);
    }
    snprintf(first, sizeof(first), "%s%s%s", text, detail ? ": " : "", detail ? detail : "");
    for (char *c = first; *c != '\0'; c++) {
        *c = iscntrl((unsigned char)*c) ? ' ' : *c;
    }
    for (size_t len = strlen(first); len > 0 && first[len - 1] == ' '; len--) {
        first[len - 1] = '\0';
    }
    snprintf(pg->sqlstate, sizeof(pg->sqlstate), "%s", state ? state : "");
    return fault_set(reterr, err, "%s: %s%s%s%s", what, first, state ? " (" : "", state ? state : "", state ? ")" : "");
}

bool pg_disliked(const struct postgres *pg)
{
    return strncmp(pg->sqlstate, "22", 2) == 0 || strncmp(pg->sqlstate, "23", 2) == 0 ||
           strncmp(pg->sqlstate, "P0", 2) == 0;
}

static enum err class_of(const struct postgres *pg, const PGresult *result)
{
    const char *state = result != NULL ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    if (PQstatus(pg->conn) == CONNECTION_BAD || state == NULL) {
        return ERR_IO;
    }
    return strncmp(state, "28", 2) == 0 || strcmp(state, "42501") == 0 ? ERR_DENIED
           : strncmp(state, "40", 2) == 0                               ? ERR_CONFLICT
           : strcmp(state, "57014") == 0                                ? ERR_TIMEOUT
           : strcmp(state, "53100") == 0                                ? ERR_FULL
                                                                        : ERR_IO;
}

/* ---- waiting ---- */
static enum err wait_for(struct postgres *pg, short events)
{
    struct pollfd fd = {.fd = PQsocket(pg->conn), .events = events};
    int n;
    do {
        n = poll(&fd, 1, (int)(pg->settings->timeout_us / MS_US));
    } while (n < 0 && errno == EINTR);
    return n > 0 ? OK : n == 0 ? ERR_TIMEOUT : ERR_IO;
}

/* Out with what was queued. */
static enum err flush(struct postgres *pg)
{
    for (int left; (left = PQflush(pg->conn)) != 0;) {
        if (left < 0) {
            return ERR_IO;
        }
        TRY(wait_for(pg, POLLIN | POLLOUT));
        if (PQconsumeInput(pg->conn) == 0) {
            return ERR_IO;
        }
    }
    return OK;
}

/* *ret_result NULL: that was the last. */
static enum err next_result(struct postgres *pg, PGresult **ret_result)
{
    TRY(flush(pg));
    while (PQisBusy(pg->conn)) {
        TRY(wait_for(pg, POLLIN));
        if (PQconsumeInput(pg->conn) == 0) {
            return ERR_IO;
        }
    }
    *ret_result = PQgetResult(pg->conn);
    return OK;
}

/* All results of what was sent; the last good one is handed out. After the first bad one the others are read to the
 * end. */
static enum err collect(struct postgres *pg, const char *what, PGresult **ret_result, struct fault *reterr)
{
    CLEANUP(PQclearp) PGresult *last = NULL;
    enum err err = OK;
    for (;;) {
        CLEANUP(PQclearp) PGresult *result = NULL;
        enum err waited = next_result(pg, &result);
        if (waited != OK) {
            return pg_fault(pg, waited, NULL, waited == ERR_TIMEOUT ? "the server does not answer" : what, reterr);
        }
        if (result == NULL) {
            break;
        }
        ExecStatusType status = PQresultStatus(result);
        if (err == OK && status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_COPY_IN) {
            err = pg_fault(pg, class_of(pg, result), result, what, reterr);
        }
        PQclear(last);
        last = take(result);
        if (status == PGRES_COPY_IN) {
            break; /* ends only with the data */
        }
    }
    if (err == OK && ret_result != NULL) {
        *ret_result = take(last);
    }
    return err;
}

/* Where in a batch it failed, for a person. */
static const char *verb_of(const char *sql)
{
    static _Thread_local char verb[24];
    size_t len = strcspn(sql, " ;(");
    snprintf(verb, sizeof(verb), "%.*s", (int)min_u64(len, sizeof(verb) - 1), sql);
    return verb;
}

enum err pg_run(struct postgres *pg, const char *sql, struct fault *reterr)
{
    pg->sqlstate[0] = '\0';
    if (PQsendQuery(pg->conn, sql) == 0) {
        return pg_fault(pg, ERR_IO, NULL, verb_of(sql), reterr);
    }
    return collect(pg, verb_of(sql), NULL, reterr);
}

enum err pg_query(struct postgres *pg, const char *sql, const char *const *params, int count, PGresult **ret_result,
                  struct fault *reterr)
{
    pg->sqlstate[0] = '\0';
    if (PQsendQueryParams(pg->conn, sql, count, NULL, params, NULL, NULL, 0) == 0) {
        return pg_fault(pg, ERR_IO, NULL, verb_of(sql), reterr);
    }
    return collect(pg, verb_of(sql), ret_result, reterr);
}

/* ---- COPY ---- */
static const char copy_head[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0"; /* signature, flags, extension: 19 bytes */
static const char copy_end[] = "\377\377";
_Static_assert(sizeof(copy_head) - 1 == 19, "head of a binary COPY");

static enum err put_data(struct postgres *pg, const void *ptr, size_t len)
{
    enum { PART = 256 * 1024 }; /* libpq queues what the socket does not take */
    for (size_t done = 0; done < len;) {
        int part = (int)min_u64(len - done, PART);
        if (PQputCopyData(pg->conn, (const char *)ptr + done, part) < 0) {
            return ERR_IO;
        }
        done += (size_t)part;
        TRY(flush(pg));
    }
    return OK;
}

enum err pg_copy(struct postgres *pg, enum table table, struct fault *reterr)
{
    struct buffer *rows = &pg->copy[table];
    char sql[128], what[64];
    TRY(buffer_err(rows));
    if (rows->len == 0) {
        return OK;
    }
    snprintf(sql, sizeof(sql), "copy stage_%s from stdin (format binary)", table_names[table]);
    snprintf(what, sizeof(what), "copy of %s", table_names[table]);
    TRY(pg_run(pg, sql, reterr));
    enum err err = put_data(pg, copy_head, sizeof(copy_head) - 1);
    err = err == OK ? put_data(pg, rows->ptr, rows->len) : err;
    err = err == OK ? put_data(pg, copy_end, 2) : err;
    if (err != OK || PQputCopyEnd(pg->conn, NULL) < 0) {
        err = err == OK ? ERR_IO : err;
        return pg_fault(pg, err, NULL, what, reterr);
    }
    buffer_reset(rows);
    return collect(pg, what, NULL, reterr);
}

/* ---- life ---- */
void pg_close(struct postgres *pg)
{
    PQfinish(pg->conn);
    pg->conn = NULL;
    pg->has_left = false;
    sink_marks_clear(&pg->marks);
}

void pg_rollback(struct postgres *pg)
{
    char state[sizeof(pg->sqlstate)];
    memcpy(state, pg->sqlstate, sizeof(state));
    PGTransactionStatusType status = pg->conn != NULL ? PQtransactionStatus(pg->conn) : PQTRANS_UNKNOWN;
    if (status == PQTRANS_IDLE) {
        return;
    }
    if ((status != PQTRANS_INTRANS && status != PQTRANS_INERROR) || pg_run(pg, "rollback", NULL) != OK) {
        pg_close(pg);
    }
    memcpy(pg->sqlstate, state, sizeof(state));
}

static enum err connect_to(struct postgres *pg, struct fault *reterr)
{
    const struct postgres_settings *s = pg->settings;
    char password[PASSWORD_MAX];
    const char *keys[] = {"dbname", "fallback_application_name", "client_encoding", NULL, NULL};
    const char *values[] = {s->url, "weir-bridge", "UTF8", NULL, NULL};
    if (s->password_file[0] != '\0') {
        if (sink_secret_read(s->password_file, password, sizeof(password)) == ERR_IO) {
            return fault_set(reterr, ERR_DENIED, "%s cannot be read: %s", s->password_file, strerror(errno));
        }
        keys[3] = "password";
        values[3] = password;
    }
    pg->conn = PQconnectStartParams(keys, values, 1);
    explicit_bzero(password, sizeof(password));
    if (pg->conn == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    if (PQstatus(pg->conn) == CONNECTION_BAD) {
        return pg_fault(pg, ERR_IO, NULL, "cannot connect", reterr);
    }
    for (PostgresPollingStatusType state = PGRES_POLLING_WRITING; state != PGRES_POLLING_OK;) {
        enum err err = wait_for(pg, state == PGRES_POLLING_READING ? POLLIN : POLLOUT);
        if (err != OK) {
            return pg_fault(pg, err, NULL, "cannot connect, the server does not answer", reterr);
        }
        state = PQconnectPoll(pg->conn);
        if (state == PGRES_POLLING_FAILED) {
            bool denied =
                PQconnectionNeedsPassword(pg->conn) || strstr(PQerrorMessage(pg->conn), "authentication") != NULL;
            return pg_fault(pg, denied ? ERR_DENIED : ERR_IO, NULL, "cannot connect", reterr);
        }
    }
    return PQsetnonblocking(pg->conn, 1) == 0 ? OK : pg_fault(pg, ERR_IO, NULL, "cannot connect", reterr);
}

static enum err session(struct postgres *pg, struct fault *reterr)
{
    char sql[600];
    long long ms = (long long)(pg->settings->timeout_us / MS_US);
    /* A commit that returned must be on the disk: a server's or a role's setting may say otherwise. */
    snprintf(sql, sizeof(sql),
             "set statement_timeout = %lld; set lock_timeout = %lld; set idle_in_transaction_session_timeout = %lld;"
             "set client_min_messages = warning;"
             "select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off';"
             "create schema if not exists \"%s\"; set search_path = \"%s\", public",
             ms, ms, 6 * ms, pg->settings->schema, pg->settings->schema);
    return pg_run(pg, sql, reterr);
}

enum err pg_open(struct postgres *pg, struct fault *reterr)
{
    if (pg->conn != NULL) {
        return OK;
    }
    enum err err = connect_to(pg, reterr);
    err = err == OK ? session(pg, reterr) : err;
    err = err == OK ? pg_schema_apply(pg, reterr) : err;
    if (err != OK) {
        pg_close(pg);
    }
    return err;
}
