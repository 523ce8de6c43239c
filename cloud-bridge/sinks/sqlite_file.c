/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The database's files: opened, looked after, given up. WAL with synchronous=FULL: a commit that returned is on the
 * disk (sqlite.org/pragma.html#pragma_synchronous).
 *
 * A database that is removed or replaced under us goes on taking rows that nobody will ever find. So each batch first
 * looks whether the path still names what was opened; if not, the batch fails and the next one opens the path again.
 */
#include "cloud-bridge/sinks/sqlite_internal.h"

#include <sys/stat.h>
#include <unistd.h>

/* The parameters are in the order in which sqlite_rows.c and sqlite_marks.c bind them. */
static const char *const sqlite_sql[SQL_STATEMENTS] = {
    [SQL_BEGIN] = "begin immediate",
    [SQL_COMMIT] = "commit",
    [SQL_FIND_DEVICE] = "select id from device where name = ?",
    [SQL_ADD_DEVICE] = "insert into device(name) values(?)",
    [SQL_FIND_STREAM] = "select id, lane, hop, hwm, top, records, readings, gaps, suppressed from stream"
                        " where device = ? and epoch = ?",
    [SQL_ADD_STREAM] = "insert into stream(device, epoch, lane, hop, hwm, top, records, readings, gaps, suppressed)"
                       " values(?, ?, ?, ?, 0, 0, 0, 0, 0, 0)",
    [SQL_MARK_STREAM] = "update stream set hwm = ?, top = ?, records = ?, readings = ?, gaps = ?, suppressed = ?"
                        " where id = ?",
    [SQL_MARK_POSITION] = "insert into position(epoch, lane, position) values(?, ?, ?)"
                          " on conflict do update set position = excluded.position",
    [SQL_FIND_POSITION] = "select position from position where epoch = ? and lane = ?",
    [SQL_ADD_RECORD] =
        "insert or ignore into record(device, stream, first, last, kind, ts, ts_end, readings, received_us,"
        " gateway) values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [SQL_ADD_READING] = "insert or ignore into reading(device, stream, number, set_id, quality, ts, us, idx, channel,"
                        " value) values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [SQL_ADD_CHANNEL] = "insert or replace into channel(device, set_id, idx, name, unit, resolution)"
                        " values(?, ?, ?, ?, ?, ?)",
    [SQL_ADD_DESCRIPTION] =
        "insert or ignore into description(stream, number, set_id, config, model, boot_id, software,"
        " source) values(?, ?, ?, ?, ?, ?, ?, ?)",
    [SQL_ADD_EVENT] = "insert or ignore into event(stream, number, ts, severity, id, text, channel, value)"
                      " values(?, ?, ?, ?, ?, ?, ?, ?)",
    [SQL_ADD_HEALTH] = "insert or ignore into health(stream, number, ts, uptime_s, rss_bytes, store_used_bytes,"
                       " store_cap_bytes, records, gaps, connects, samples) values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [SQL_ADD_GAP] = "insert or ignore into gap(stream, first, last, reason, ts) values(?, ?, ?, ?, ?)",
    /* the holes are the newest of these rows */
    [SQL_FIND_HOLES] =
        "select first, last from gap where stream = ? and reason = 'upstream_lost' order by first desc limit ?",
    [SQL_SPLIT_HOLE] = "insert into gap(stream, first, last, reason, ts) select stream, ?, last, reason, ts from gap"
                       " where stream = ? and first = ? and reason = 'upstream_lost'",
    [SQL_SHRINK_HOLE] = "update gap set last = ? where stream = ? and first = ? and reason = 'upstream_lost'",
    [SQL_DROP_HOLE] = "delete from gap where stream = ? and first = ? and reason = 'upstream_lost'",
    [SQL_ADD_SUPPRESSED] = "insert or ignore into suppressed_range(stream, first, last, rule, rule_version)"
                           " values(?, ?, ?, ?, ?)",
    [SQL_ADD_WINDOW] =
        "insert or ignore into \"window\"(device, ts, stream, number, idx, set_id, channel, rule, length_us,"
        " count, mean, m2, min, max, sketch, partial, late, rules, p50, p95, p99)"
        " values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [SQL_ADD_INFERENCE] =
        "insert or ignore into inference(device, ts, stream, number, model, config, window_us, quality,"
        " answer, label, confidence, score, answered_by, engine, repeats, skipped, asked, own_model,"
        " own_answer, own_confidence, took_ms)"
        " values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [SQL_ADD_UNREAD] = "insert or ignore into unread(stream, first, last, schema, record) values(?, ?, ?, ?, ?)",
};

void sqlite_file_close(struct sqlite *s)
{
    for (unsigned i = 0; i < SQL_STATEMENTS; i++) {
        sqlite3_finalize(s->stmt[i]);
        s->stmt[i] = NULL;
    }
    sqlite3_close(s->db);
    s->db = NULL;
    sink_marks_clear(&s->marks);
}

static struct file_id file_id(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (struct file_id){.dev = st.st_dev, .ino = st.st_ino} : (struct file_id){.ino = 0};
}

static bool is_ours(const struct sqlite *s, unsigned file)
{
    struct file_id now = file_id(s->path[file]);
    return now.ino != 0 && now.ino == s->file[file].ino && now.dev == s->file[file].dev;
}

/* SQLite finds the log by name: closing would remove the log of a database that took our place, and opening would
 * replay our old log into it. So it removes nothing, and we remove what is still ours. */
static void abandon(struct sqlite *s)
{
    int keep = 1;
    (void)sqlite3_file_control(s->db, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
    sqlite_file_close(s);
    for (unsigned i = FILE_WAL; i < FILES; i++) {
        if (is_ours(s, i)) {
            unlink(s->path[i]);
        }
    }
}

/* Where SQLite cannot open a file for writing, for want of a descriptor or room perhaps, it opens it for reading and
 * says nothing; and the index of the log then stays so for every connection of the process. */
static enum err check_writable(struct sqlite *s, struct fault *reterr)
{
    if (sqlite3_db_readonly(s->db, "main") == 1) {
        return fault_set(reterr, ERR_DENIED, "%s: readonly database, it cannot be opened for writing",
                         s->path[FILE_DB]);
    }
    int rc = sqlite3_exec(s->db, "begin immediate; rollback", NULL, NULL, NULL);
    return rc == SQLITE_OK || (rc & 0xff) == SQLITE_BUSY ? OK : sqlite_fault(reterr, s->db, s->path[FILE_DB]);
}

static enum err prepare_db(struct sqlite *s, struct fault *reterr)
{
    const char *path = s->path[FILE_DB];
    if (sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK) {
        return sqlite_fault(reterr, s->db, path);
    }
    s->file[FILE_DB] = file_id(path);
    (void)sqlite3_extended_result_codes(s->db, 1);
    (void)sqlite3_busy_timeout(s->db, 5000); /* a reader that checkpoints, a person with a shell */
    /* Every device has a page of `reading` that it writes to: 16 MiB hold those of 4,000. A longer log (16 MiB) is
     * copied back less often. */
    if (sqlite3_exec(s->db,
                     "pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = off;"
                     "pragma cache_size = -16384; pragma wal_autocheckpoint = 4000",
                     NULL, NULL, NULL) != SQLITE_OK) {
        return sqlite_fault(reterr, s->db, path);
    }
    TRY(check_writable(s, reterr));
    TRY(sqlite_schema_apply(s->db, path, reterr));
    for (unsigned i = 0; i < SQL_STATEMENTS; i++) {
        if (sqlite3_prepare_v3(s->db, sqlite_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &s->stmt[i], NULL) != SQLITE_OK) {
            return sqlite_fault(reterr, s->db, path);
        }
    }
    s->file[FILE_WAL] = file_id(s->path[FILE_WAL]);
    s->file[FILE_SHM] = file_id(s->path[FILE_SHM]);
    return OK;
}

enum err sqlite_file_open(struct sqlite *s, struct fault *reterr)
{
    enum err err = prepare_db(s, reterr);
    if (err != OK) {
        sqlite_file_close(s);
    }
    return err;
}

enum err sqlite_file_check(struct sqlite *s, struct fault *reterr)
{
    if (s->file[FILE_DB].ino == 0 || is_ours(s, FILE_DB)) {
        return OK;
    }
    if (s->db != NULL) {
        abandon(s);
    }
    s->file[FILE_DB] = (struct file_id){.ino = 0};
    return fault_set(reterr, ERR_IO, "%s is gone or was replaced while open; what it held is not delivered again",
                     s->path[FILE_DB]);
}

/* After a failure of file or memory a connection may stay of no use. The next batch begins with a new one. */
static bool needs_reopening(int code)
{
    return code == SQLITE_IOERR || code == SQLITE_CANTOPEN || code == SQLITE_READONLY || code == SQLITE_NOMEM ||
           code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
}

void sqlite_file_give_up(struct sqlite *s)
{
    bool reopen = needs_reopening(sqlite3_extended_errcode(s->db) & 0xff);
    if (sqlite3_get_autocommit(s->db) == 0) {
        (void)sqlite3_exec(s->db, "rollback", NULL, NULL, NULL);
    }
    sink_marks_clear(&s->marks); /* they have run ahead of the tables */
    if (reopen) {
        sqlite_file_close(s);
    }
}
