/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's questions, asked through a connection of their own that only reads. Each answer is bounded by a
 * limit.
 */
#include <stdio.h>

#include "cloud-bridge/sinks/sinks_internal.h"
#include "cloud-bridge/sinks/sqlite_internal.h"

enum { TAIL_MAX = 10000, ROW_BITS = 17, CHANNEL_BITS = 6 };
_Static_assert(BLOCK_SAMPLES_MAX * BLOCK_CHANNELS_MAX <= 1 << ROW_BITS, "a reading's place fits ROW_BITS");
_Static_assert(BLOCK_CHANNELS_MAX == 1 << CHANNEL_BITS, "a channel fits CHANNEL_BITS");

enum statement { LEDGER, LEDGER_OF, DEVICE, NEWEST, RECORDS, READINGS, STATEMENTS };
static const char *const statements[STATEMENTS] = {
    [LEDGER] = "select device, epoch, lane, hwm, top, records, readings, gaps, suppressed, hop from streams limit ?",
    [LEDGER_OF] = "select device, epoch, lane, hwm, top, records, readings, gaps, suppressed, hop from streams"
                  " where device = ? limit ?",
    [DEVICE] = "select id from device where name = ?",
    /* the rows themselves are counted: in stores of earlier versions `readings` counts values that are missing too */
    [NEWEST] = "select r.id, (select count(*) from reading x where x.device = r.device and x.ts between r.ts and"
               " r.ts_end and x.stream = r.stream and x.number = r.last)"
               " from record r where r.device = ? and r.readings > 0 order by r.id desc",
    [RECORDS] = "select id, stream, last, ts, ts_end from record where device = ? and id >= ? and readings > 0"
                " order by id",
    [READINGS] = "select r.idx, r.channel, r.ts, coalesce(c.name, 'c' || r.channel), r.value, c.unit, s.epoch, r.number"
                 " from reading r join stream s on s.id = r.stream"
                 "  left join channel c on c.device = r.device and c.set_id = r.set_id and c.idx = r.channel"
                 " where r.device = ? and r.ts between ? and ? and r.stream = ? and r.number = ?"
                 " order by r.idx, r.channel",
};
struct sink_sqlite_reader {
    sqlite3 *db;
    sqlite3_stmt *stmt[STATEMENTS];
};

enum err sink_sqlite_reader_open(const char *path, struct sink_sqlite_reader **ret_reader, struct fault *reterr)
{
    CLEANUP(sink_sqlite_reader_freep) struct sink_sqlite_reader *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    if (sqlite3_open_v2(path, &r->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        return sqlite_fault(reterr, r->db, path);
    }
    (void)sqlite3_busy_timeout(r->db, 50); /* runs on the loop: does not wait for long */
    for (unsigned i = 0; i < STATEMENTS; i++) {
        if (sqlite3_prepare_v3(r->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT, &r->stmt[i], NULL) != SQLITE_OK) {
            return sqlite_fault(reterr, r->db, path);
        }
    }
    *ret_reader = take(r);
    return OK;
}

void sink_sqlite_reader_free(struct sink_sqlite_reader *r)
{
    if (r == NULL) {
        return;
    }
    for (unsigned i = 0; i < STATEMENTS; i++) {
        sqlite3_finalize(r->stmt[i]);
    }
    sqlite3_close(r->db);
    free(r);
}

static const char *column_text(struct query *q, int column)
{
    return (const char *)sqlite3_column_text(q->stmt, column);
}

enum err sink_sqlite_ledger_json(struct sink_sqlite_reader *r, const char *device, size_t limit, struct json *j)
{
    static const char *const names[] = {"lane", "hwm", "top", "records", "readings", "gaps", "suppressed"};
    struct query q = query_of(r->stmt[device ? LEDGER_OF : LEDGER]);
    enum err err;
    if (device != NULL) {
        query_text(&q, device);
    }
    query_i64(&q, (int64_t)limit);
    while ((err = query_row(&q)) == OK) {
        json_object(j, NULL);
        json_str(j, "device", column_text(&q, 0));
        json_str(j, "epoch", column_text(&q, 1));
        for (int i = 0; i < (int)COUNT_OF(names); i++) {
            json_i64(j, names[i], sqlite3_column_int64(q.stmt, i + 2));
        }
        json_bool(j, "hop", sqlite3_column_int(q.stmt, 9) != 0);
        json_object_end(j);
    }
    return err == ERR_NOT_FOUND ? OK : err;
}

struct tail {
    struct sink_sqlite_reader *reader;
    struct json json;
    int64_t device, after;
    const char *name;
    size_t left;   /* rows that may still be written */
    int64_t older; /* rows to leave out first, so that the newest are not cut off */
};

/* For "the newest": the record to begin with, and how much of it is too old. */
static enum err find_start(struct tail *t)
{
    struct query q = query_of(t->reader->stmt[NEWEST]);
    enum err err;
    int64_t rows = 0, id = 0;
    query_i64(&q, t->device);
    while ((err = query_row(&q)) == OK) {
        id = sqlite3_column_int64(q.stmt, 0);
        rows += sqlite3_column_int64(q.stmt, 1);
        if (rows >= (int64_t)t->left) {
            break;
        }
    }
    query_end(&q);
    t->after = (id << ROW_BITS) - 1;
    t->older = max_i64(rows - (int64_t)t->left, 0);
    return err == ERR_NOT_FOUND ? OK : err;
}

static void write_reading(struct tail *t, struct query *q, int64_t row)
{
    json_object(&t->json, NULL);
    json_i64(&t->json, "row", row);
    json_str(&t->json, "device", t->name);
    json_str(&t->json, "ts", column_text(q, 2));
    json_str(&t->json, "channel", column_text(q, 3));
    json_f64(&t->json, "value", sqlite3_column_double(q->stmt, 4));
    json_str(&t->json, "unit", column_text(q, 5));
    json_str(&t->json, "epoch", column_text(q, 6));
    json_i64(&t->json, "number", sqlite3_column_int64(q->stmt, 7));
    json_object_end(&t->json);
}

static enum err write_record(struct tail *t, struct query *record)
{
    struct query q = query_of(t->reader->stmt[READINGS]);
    int64_t id = sqlite3_column_int64(record->stmt, 0);
    enum err err = OK;
    query_i64(&q, t->device);
    query_text(&q, column_text(record, 3));
    query_text(&q, column_text(record, 4));
    query_i64(&q, sqlite3_column_int64(record->stmt, 1));
    query_i64(&q, sqlite3_column_int64(record->stmt, 2));
    while (t->left > 0 && (err = query_row(&q)) == OK) {
        int64_t place = sqlite3_column_int64(q.stmt, 0) << CHANNEL_BITS | sqlite3_column_int64(q.stmt, 1);
        int64_t row = id << ROW_BITS | place;
        if (row > t->after && t->older-- <= 0) {
            write_reading(t, &q, row);
            t->left--;
        }
    }
    query_end(&q);
    return err == ERR_NOT_FOUND ? OK : err;
}

static enum err write_tail(struct tail *t, bool newest)
{
    if (newest) {
        TRY(find_start(t));
    }
    struct query q = query_of(t->reader->stmt[RECORDS]);
    enum err err = OK;
    query_i64(&q, t->device);
    query_i64(&q, (t->after + 1) >> ROW_BITS);
    while (t->left > 0 && (err = query_row(&q)) == OK) {
        err = write_record(t, &q);
        if (err != OK) {
            break;
        }
    }
    query_end(&q);
    return err == ERR_NOT_FOUND ? OK : err;
}

enum err sink_sqlite_tail_json(struct sink_sqlite_reader *r, const char *device, int64_t after, size_t limit,
                               struct buffer *out)
{
    struct tail t = {.reader = r, .name = device, .after = after, .left = limit < TAIL_MAX ? limit : TAIL_MAX};
    struct query q = query_of(r->stmt[DEVICE]);
    json_init(&t.json, out);
    json_object(&t.json, NULL);
    json_array(&t.json, "readings");
    query_text(&q, device);
    enum err err = query_row(&q);
    if (err == OK) {
        t.device = sqlite3_column_int64(q.stmt, 0);
        query_end(&q);
        err = write_tail(&t, after < 0);
    }
    json_array_end(&t.json);
    json_object_end(&t.json);
    return err == ERR_NOT_FOUND ? OK : err;
}
