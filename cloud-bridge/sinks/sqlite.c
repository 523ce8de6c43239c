/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SQLite sink: one transaction a batch = rows, the streams' marks, the positions. WAL with synchronous=FULL: a
 * commit that returned is on the disk (sqlite.org/pragma.html#pragma_synchronous).
 *
 * Idempotent twice: by the marks (what is at or below a stream's hwm is skipped) and by the keys (a record that is
 * there is not counted again).
 *
 * A database that is removed or replaced under us goes on taking rows that nobody will ever find. So each batch first
 * looks whether the path still names what was opened; if not, the batch fails and the next one opens the path again.
 */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cloud-bridge/sinks/sinks_internal.h"
#include "cloud-bridge/sinks/sqlite_internal.h"

enum statement {
    BEGIN,
    COMMIT,
    FIND_DEVICE,
    ADD_DEVICE,
    FIND_STREAM,
    ADD_STREAM,
    MARK_STREAM,
    MARK_POSITION,
    FIND_POSITION,
    ADD_RECORD,
    ADD_READING,
    ADD_CHANNEL,
    ADD_DESCRIPTION,
    ADD_EVENT,
    ADD_HEALTH,
    ADD_GAP,
    FIND_HOLES,
    SPLIT_HOLE,
    SHRINK_HOLE,
    DROP_HOLE,
    ADD_SUPPRESSED,
    ADD_WINDOW,
    ADD_UNREAD,
    STATEMENTS
};
static const char *const statements[STATEMENTS] = {
    [BEGIN] = "begin immediate",
    [COMMIT] = "commit",
    [FIND_DEVICE] = "select id from device where name = ?",
    [ADD_DEVICE] = "insert into device(name) values(?)",
    [FIND_STREAM] = "select id, lane, hop, hwm, top, records, readings, gaps, suppressed from stream"
                    " where device = ? and epoch = ?",
    [ADD_STREAM] = "insert into stream(device, epoch, lane, hop, hwm, top, records, readings, gaps, suppressed)"
                   " values(?, ?, ?, ?, 0, 0, 0, 0, 0, 0)",
    [MARK_STREAM] = "update stream set hwm = ?, top = ?, records = ?, readings = ?, gaps = ?, suppressed = ?"
                    " where id = ?",
    [MARK_POSITION] = "insert into position(epoch, lane, position) values(?, ?, ?)"
                      " on conflict do update set position = excluded.position",
    [FIND_POSITION] = "select position from position where epoch = ? and lane = ?",
    [ADD_RECORD] = "insert or ignore into record(device, stream, first, last, kind, ts, ts_end, readings, received_us,"
                   " gateway) values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [ADD_READING] = "insert or ignore into reading(device, stream, number, set_id, quality, ts, us, idx, channel,"
                    " value) values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [ADD_CHANNEL] = "insert or replace into channel(device, set_id, idx, name, unit, resolution)"
                    " values(?, ?, ?, ?, ?, ?)",
    [ADD_DESCRIPTION] = "insert or ignore into description(stream, number, set_id, config, model, boot_id, software,"
                        " source) values(?, ?, ?, ?, ?, ?, ?, ?)",
    [ADD_EVENT] = "insert or ignore into event(stream, number, ts, severity, id, text, channel, value)"
                  " values(?, ?, ?, ?, ?, ?, ?, ?)",
    [ADD_HEALTH] = "insert or ignore into health(stream, number, ts, uptime_s, rss_bytes, store_used_bytes,"
                   " store_cap_bytes, records, gaps, connects, samples) values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [ADD_GAP] = "insert or ignore into gap(stream, first, last, reason, ts) values(?, ?, ?, ?, ?)",
    /* the holes are the newest of these rows */
    [FIND_HOLES] =
        "select first, last from gap where stream = ? and reason = 'upstream_lost' order by first desc limit ?",
    [SPLIT_HOLE] = "insert into gap(stream, first, last, reason, ts) select stream, ?, last, reason, ts from gap"
                   " where stream = ? and first = ? and reason = 'upstream_lost'",
    [SHRINK_HOLE] = "update gap set last = ? where stream = ? and first = ? and reason = 'upstream_lost'",
    [DROP_HOLE] = "delete from gap where stream = ? and first = ? and reason = 'upstream_lost'",
    [ADD_SUPPRESSED] = "insert or ignore into suppressed_range(stream, first, last, rule, rule_version)"
                       " values(?, ?, ?, ?, ?)",
    [ADD_WINDOW] = "insert or ignore into \"window\"(device, ts, stream, number, idx, set_id, channel, rule, length_us,"
                   " count, mean, m2, min, max, sketch, partial, late, rules, p50, p95, p99)"
                   " values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [ADD_UNREAD] = "insert or ignore into unread(stream, first, last, schema, record) values(?, ?, ?, ?, ?)",
};

/* The database and what SQLite keeps beside it (sqlite.org/walformat.html). */
enum { FILE_DB, FILE_WAL, FILE_SHM, FILES };
static const char *const suffixes[FILES] = {[FILE_DB] = "", [FILE_WAL] = "-wal", [FILE_SHM] = "-shm"};
struct file_id {
    dev_t dev;
    ino_t ino; /* 0: there was none */
};

struct sqlite {
    sqlite3 *db; /* NULL: to be opened with the next batch */
    sqlite3_stmt *stmt[STATEMENTS];
    struct sink_marks marks; /* cache of table stream; emptied when a transaction fails */
    struct sink_reader reader;
    char *path[FILES];          /* owned */
    struct file_id file[FILES]; /* as they were opened */
};
/* The record in hand. */
struct place {
    struct sqlite *s;
    const struct wire_forward *forward;
    struct sink_mark *mark;
    struct sink_step step;
    uint64_t readings;
    unsigned ts_index; /* the sample that ts was made for */
    char ts[SINK_TIME_BYTES];
};

static void close_db(struct sqlite *s)
{
    for (unsigned i = 0; i < STATEMENTS; i++) {
        sqlite3_finalize(s->stmt[i]);
        s->stmt[i] = NULL;
    }
    sqlite3_close(s->db);
    s->db = NULL;
    sink_marks_clear(&s->marks);
}

static void sqlite_close(void *self)
{
    struct sqlite *s = self;
    if (s == NULL) {
        return;
    }
    close_db(s);
    sink_reader_deinit(&s->reader);
    for (unsigned i = 0; i < FILES; i++) {
        free(s->path[i]);
    }
    free(s);
}
DEFINE_CLEANUP(void, sqlite_close)

static enum err device_id(struct sqlite *s, const char *name, int64_t *ret_id)
{
    struct query find = query_of(s->stmt[FIND_DEVICE]);
    query_text(&find, name);
    enum err err = query_row(&find);
    if (err == OK) {
        *ret_id = sqlite3_column_int64(find.stmt, 0);
        query_end(&find);
        return OK;
    }
    if (err != ERR_NOT_FOUND) {
        return err;
    }
    struct query add = query_of(s->stmt[ADD_DEVICE]);
    query_text(&add, name);
    TRY(query_run(&add));
    *ret_id = sqlite3_last_insert_rowid(s->db);
    return OK;
}

static enum err load_holes(struct sqlite *s, struct sink_mark *m)
{
    struct query q = query_of(s->stmt[FIND_HOLES]);
    struct sink_hole found[SINK_HOLES];
    unsigned count = 0;
    enum err err;
    query_i64(&q, m->id);
    query_i64(&q, SINK_HOLES);
    while ((err = query_row(&q)) == OK) {
        found[count++] = (struct sink_hole){.first = (uint64_t)sqlite3_column_int64(q.stmt, 0),
                                            .last = (uint64_t)sqlite3_column_int64(q.stmt, 1)};
    }
    for (unsigned i = count; err == ERR_NOT_FOUND && i > 0; i--) {
        sink_holes_add(&m->holes, found[i - 1].first, found[i - 1].last);
    }
    return err == ERR_NOT_FOUND ? OK : err;
}

static enum err load_mark(struct sqlite *s, const struct wire_forward *f, int64_t device, struct sink_mark **ret_mark)
{
    struct query q = query_of(s->stmt[FIND_STREAM]);
    query_i64(&q, device);
    query_hex(&q, f->epoch);
    TRY(query_row(&q));
    enum err err = sink_marks_add(&s->marks, f->device, f->epoch, (uint8_t)sqlite3_column_int(q.stmt, 1),
                                  sqlite3_column_int(q.stmt, 2) != 0, ret_mark);
    if (err == OK) {
        struct sink_mark *m = *ret_mark;
        m->id = sqlite3_column_int64(q.stmt, 0);
        m->stream.hwm = (uint64_t)sqlite3_column_int64(q.stmt, 3);
        m->stream.top = (uint64_t)sqlite3_column_int64(q.stmt, 4);
        m->stream.records = (uint64_t)sqlite3_column_int64(q.stmt, 5);
        m->stream.readings = (uint64_t)sqlite3_column_int64(q.stmt, 6);
        m->stream.gaps = (uint64_t)sqlite3_column_int64(q.stmt, 7);
        m->stream.suppressed = (uint64_t)sqlite3_column_int64(q.stmt, 8);
    }
    query_end(&q);
    return err == OK && !(*ret_mark)->hop ? load_holes(s, *ret_mark) : err;
}

static enum err find_mark(struct sqlite *s, const struct wire_forward *f, struct sink_mark **ret_mark)
{
    *ret_mark = sink_marks_find(&s->marks, f->device, f->epoch);
    if (*ret_mark != NULL) {
        return OK;
    }
    int64_t device = 0;
    TRY(device_id(s, f->device, &device));
    enum err err = load_mark(s, f, device, ret_mark);
    if (err == ERR_NOT_FOUND) {
        bool hop = receive_is_hop(f);
        struct query add = query_of(s->stmt[ADD_STREAM]);
        query_i64(&add, device);
        query_hex(&add, f->epoch);
        query_i64(&add, f->lane);
        query_i64(&add, hop);
        TRY(query_run(&add));
        int64_t id = sqlite3_last_insert_rowid(s->db);
        err = sink_marks_add(&s->marks, f->device, f->epoch, f->lane, hop, ret_mark);
        if (err == OK) {
            (*ret_mark)->id = id;
        }
    }
    TRY(err);
    (*ret_mark)->device_id = device;
    return OK;
}

static enum err add_gap(struct place *p, uint64_t first, uint64_t last, const char *reason, uint64_t wall_us)
{
    char ts[SINK_TIME_BYTES];
    struct query q = query_of(p->s->stmt[ADD_GAP]);
    sink_time(wall_us, ts);
    query_i64(&q, p->mark->id);
    query_u64(&q, first);
    query_u64(&q, last);
    query_text(&q, reason);
    query_text(&q, ts);
    return query_run(&q);
}

/* The hole's row becomes what is left of it: a part above, a part below, or nothing. */
static enum err cut_hole(struct place *p)
{
    const struct sink_step *step = &p->step;
    if (step->last < step->hole.last) {
        struct query q = query_of(p->s->stmt[SPLIT_HOLE]);
        query_u64(&q, step->last + 1);
        query_i64(&q, p->mark->id);
        query_u64(&q, step->hole.first);
        TRY(query_run(&q));
    }
    struct query q = query_of(p->s->stmt[step->first > step->hole.first ? SHRINK_HOLE : DROP_HOLE]);
    if (step->first > step->hole.first) {
        query_u64(&q, step->first - 1);
    }
    query_i64(&q, p->mark->id);
    query_u64(&q, step->hole.first);
    return query_run(&q);
}

/* Bindings outlive a reset: what is the same for the whole block is bound once. */
enum { READING_PER_RECORD = 5, READING_TS = 5, READING_IDX = 7 };

static enum err add_reading(void *arg, const struct sink_reading *reading)
{
    struct place *p = arg;
    struct query q = query_of(p->s->stmt[ADD_READING]);
    if (p->ts_index != reading->index) {
        p->ts_index = reading->index;
        sink_time(reading->wall_us, p->ts);
        q.bound = READING_TS;
        query_text(&q, p->ts);
        query_u64(&q, reading->wall_us % 1000);
    }
    q.bound = READING_IDX;
    query_i64(&q, reading->index);
    query_i64(&q, reading->channel);
    query_f64(&q, reading->value);
    TRY(query_run(&q));
    p->readings += sqlite3_changes(p->s->db) > 0;
    return OK;
}

static enum err add_block(struct place *p)
{
    const Weir__V1__Block *block = p->s->reader.block;
    struct query q = query_of(p->s->stmt[ADD_READING]);
    query_i64(&q, p->mark->device_id);
    query_i64(&q, p->mark->id);
    query_u64(&q, p->step.last);
    query_i64(&q, block->set);
    query_i64(&q, block->quality);
    TRY(sqlite_err(q.rc));
    p->ts_index = UINT32_MAX;
    return sink_reader_foreach(&p->s->reader, add_reading, p);
}

static enum err add_describe(struct place *p)
{
    const Weir__V1__Describe *d = p->s->reader.describe;
    struct query q = query_of(p->s->stmt[ADD_DESCRIPTION]);
    query_i64(&q, p->mark->id);
    query_u64(&q, p->step.last);
    query_i64(&q, d->set);
    query_hex(&q, d->config);
    query_hex(&q, d->model);
    query_hex(&q, d->boot_id);
    query_text(&q, d->software);
    query_text(&q, d->source);
    TRY(query_run(&q));
    for (size_t i = 0; i < d->n_channel; i++) {
        q = query_of(p->s->stmt[ADD_CHANNEL]);
        query_i64(&q, p->mark->device_id);
        query_i64(&q, d->set);
        query_i64(&q, (int64_t)i);
        query_text(&q, d->channel[i]->name);
        query_text(&q, d->channel[i]->unit);
        query_f64(&q, d->channel[i]->resolution == d->channel[i]->resolution ? d->channel[i]->resolution : 0);
        TRY(query_run(&q));
    }
    return OK;
}

static enum err add_event(struct place *p)
{
    const Weir__V1__Event *e = p->s->reader.record->event;
    char ts[SINK_TIME_BYTES];
    struct query q = query_of(p->s->stmt[ADD_EVENT]);
    sink_time(e->wall_us, ts);
    query_i64(&q, p->mark->id);
    query_u64(&q, p->step.last);
    query_text(&q, ts);
    query_text(&q, sink_severity_name(e->severity));
    query_text(&q, e->id);
    query_text(&q, e->text);
    query_text(&q, e->channel);
    query_f64(&q, e->value);
    return query_run(&q);
}

static enum err add_health(struct place *p)
{
    const Weir__V1__Health *h = p->s->reader.record->health;
    char ts[SINK_TIME_BYTES];
    struct query q = query_of(p->s->stmt[ADD_HEALTH]);
    sink_time(h->wall_us, ts);
    query_i64(&q, p->mark->id);
    query_u64(&q, p->step.last);
    query_text(&q, ts);
    query_u64(&q, h->uptime_s);
    query_u64(&q, h->rss_bytes);
    query_u64(&q, h->store_used_bytes);
    query_u64(&q, h->store_cap_bytes);
    query_u64(&q, h->records);
    query_u64(&q, h->gaps);
    query_u64(&q, h->connects);
    query_u64(&q, h->samples);
    return query_run(&q);
}

static enum err add_suppressed(struct place *p)
{
    const Weir__V1__Suppressed *range = p->s->reader.record->suppressed;
    struct query q = query_of(p->s->stmt[ADD_SUPPRESSED]);
    query_i64(&q, p->mark->id);
    query_u64(&q, p->step.first);
    query_u64(&q, p->step.last);
    query_text(&q, range->rule);
    query_u64(&q, range->rule_version);
    return query_run(&q);
}

static enum err add_window(struct place *p, const Weir__V1__Window *w, size_t idx)
{
    const Weir__V1__Curated *curated = p->s->reader.curated;
    char ts[SINK_TIME_BYTES];
    double quantiles[SINK_QUANTILES];
    struct query q = query_of(p->s->stmt[ADD_WINDOW]);
    sink_time(w->start_us, ts);
    query_i64(&q, p->mark->device_id);
    query_text(&q, ts);
    query_i64(&q, p->mark->id);
    query_u64(&q, p->step.last);
    query_i64(&q, (int64_t)idx);
    query_i64(&q, curated->set);
    query_i64(&q, w->channel);
    query_text(&q, w->rule);
    query_u64(&q, w->length_us);
    query_u64(&q, w->count);
    query_f64(&q, w->mean);
    query_f64(&q, w->m2);
    query_f64(&q, w->min);
    query_f64(&q, w->max);
    query_blob(&q, slice_of(w->sketch.data, w->sketch.len));
    query_i64(&q, w->partial);
    query_u64(&q, w->late);
    query_hex(&q, curated->rules);
    (void)sink_window_quantiles(w, quantiles);
    for (unsigned i = 0; i < SINK_QUANTILES; i++) {
        query_f64(&q, quantiles[i]);
    }
    return query_run(&q);
}

static enum err add_curated(struct place *p)
{
    const Weir__V1__Curated *curated = p->s->reader.curated;
    if (p->s->reader.describe != NULL) {
        TRY(add_describe(p));
    }
    for (size_t i = 0; i < curated->n_window; i++) {
        TRY(add_window(p, curated->window[i], i));
    }
    return p->s->reader.block != NULL ? add_block(p) : OK;
}

static enum err add_unread(struct place *p)
{
    struct query q = query_of(p->s->stmt[ADD_UNREAD]);
    query_i64(&q, p->mark->id);
    query_u64(&q, p->step.first);
    query_u64(&q, p->step.last);
    query_i64(&q, p->s->reader.schema);
    query_blob(&q, p->forward->record);
    return query_run(&q);
}

/* The rows of the record's own kind. */
static enum err add_content(struct place *p)
{
    const struct sink_reader *r = &p->s->reader;
    switch (r->kind) {
    case SINK_BLOCK:
        return add_block(p);
    case SINK_EVENT:
        return add_event(p);
    case SINK_HEALTH:
        return add_health(p);
    case SINK_GAP:
        return add_gap(p, p->step.first, p->step.last, sink_reason_name(r->record->gap->reason),
                       r->record->gap->wall_us ? r->record->gap->wall_us : p->forward->received_us);
    case SINK_SUPPRESSED:
        return add_suppressed(p);
    case SINK_DESCRIBE:
        return add_describe(p);
    case SINK_CURATED:
        return add_curated(p);
    case SINK_UNREAD:
        return add_unread(p);
    }
    return ERR_UNSUPPORTED;
}

/* *ret_new is false when the record is there already (the mark was set back by hand): then nothing is counted. */
static enum err add_record(struct place *p, bool *ret_new)
{
    const struct sink_reader *r = &p->s->reader;
    uint64_t from_us = p->forward->received_us, to_us = p->forward->received_us;
    char ts[SINK_TIME_BYTES], ts_end[SINK_TIME_BYTES];
    if (!sink_reader_times(r, &from_us, &to_us)) {
        from_us = to_us = p->forward->received_us;
    }
    sink_time(from_us, ts);
    sink_time(to_us, ts_end);
    struct query q = query_of(p->s->stmt[ADD_RECORD]);
    query_i64(&q, p->mark->device_id);
    query_i64(&q, p->mark->id);
    query_u64(&q, p->step.first);
    query_u64(&q, p->step.last);
    query_text(&q, sink_kind_name(r->kind));
    query_text(&q, ts);
    query_text(&q, ts_end);
    query_u64(&q, sink_reader_readings(r));
    query_u64(&q, p->forward->received_us);
    query_text(&q, p->forward->gateway);
    TRY(query_run(&q));
    *ret_new = sqlite3_changes(p->s->db) > 0;
    return OK;
}

static enum err write_item(struct sqlite *s, const struct wire_forward *f)
{
    struct place p = {.s = s, .forward = f};
    bool is_new = false;
    TRY(find_mark(s, f, &p.mark));
    sink_mark_step(p.mark, f, &p.step);
    if (p.step.skip) {
        return OK;
    }
    if (p.step.lost_first <= p.step.lost_last) {
        TRY(add_gap(&p, p.step.lost_first, p.step.lost_last, sink_reason_name(WEIR__V1__GAP_REASON__UPSTREAM_LOST),
                    f->received_us));
    }
    if (p.step.fill) {
        TRY(cut_hole(&p));
    }
    sink_reader_read(&s->reader, f->record);
    TRY(add_record(&p, &is_new));
    if (is_new) {
        TRY(add_content(&p));
        sink_mark_take(&s->marks, p.mark, &p.step, f, s->reader.kind, p.readings);
    } else {
        sink_mark_move(p.mark, &p.step);
    }
    return OK;
}

static enum err write_marks(struct sqlite *s, const struct sink_batch *batch)
{
    for (const struct sink_mark *m = s->marks.touched; m != NULL; m = m->next_touched) {
        struct query q = query_of(s->stmt[MARK_STREAM]);
        query_u64(&q, m->stream.hwm);
        query_u64(&q, m->stream.top);
        query_u64(&q, m->stream.records);
        query_u64(&q, m->stream.readings);
        query_u64(&q, m->stream.gaps);
        query_u64(&q, m->stream.suppressed);
        query_i64(&q, m->id);
        TRY(query_run(&q));
    }
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        struct query q = query_of(s->stmt[MARK_POSITION]);
        query_hex(&q, batch->epoch[i]);
        query_i64(&q, i);
        query_u64(&q, batch->position[i]);
        TRY(query_run(&q));
    }
    return OK;
}

static enum err write_all(struct sqlite *s, const struct sink_batch *batch)
{
    struct query begin = query_of(s->stmt[BEGIN]), commit = query_of(s->stmt[COMMIT]);
    TRY(query_run(&begin));
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->items[i].forward.first <= batch->items[i].forward.last) {
            TRY(write_item(s, &batch->items[i].forward));
        }
    }
    TRY(write_marks(s, batch));
    return query_run(&commit);
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
    close_db(s);
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
    if (sqlite3_exec(s->db, "pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = off;"
                     "pragma cache_size = -16384; pragma wal_autocheckpoint = 4000", NULL, NULL, NULL) != SQLITE_OK) {
        return sqlite_fault(reterr, s->db, path);
    }
    TRY(check_writable(s, reterr));
    TRY(sqlite_schema_apply(s->db, path, reterr));
    for (unsigned i = 0; i < STATEMENTS; i++) {
        if (sqlite3_prepare_v3(s->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT, &s->stmt[i], NULL) != SQLITE_OK) {
            return sqlite_fault(reterr, s->db, path);
        }
    }
    s->file[FILE_WAL] = file_id(s->path[FILE_WAL]);
    s->file[FILE_SHM] = file_id(s->path[FILE_SHM]);
    return OK;
}

static enum err open_db(struct sqlite *s, struct fault *reterr)
{
    enum err err = prepare_db(s, reterr);
    if (err != OK) {
        close_db(s);
    }
    return err;
}

static enum err lost_db(struct sqlite *s, struct fault *reterr)
{
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

static void give_up(struct sqlite *s)
{
    bool reopen = needs_reopening(sqlite3_extended_errcode(s->db) & 0xff);
    if (sqlite3_get_autocommit(s->db) == 0) {
        (void)sqlite3_exec(s->db, "rollback", NULL, NULL, NULL);
    }
    sink_marks_clear(&s->marks); /* they have run ahead of the tables */
    if (reopen) {
        close_db(s);
    }
}

static enum err sqlite_write(void *self, const struct sink_batch *batch, struct fault *reterr)
{
    struct sqlite *s = self;
    if (s->file[FILE_DB].ino != 0 && !is_ours(s, FILE_DB)) {
        if (s->db != NULL) {
            abandon(s);
        }
        return lost_db(s, reterr);
    }
    if (s->db == NULL) {
        TRY(open_db(s, reterr));
    }
    enum err err = write_all(s, batch);
    if (err == OK) {
        sink_marks_settle(&s->marks);
        return OK;
    }
    (void)fault_set(reterr, err, "%s: %s (%s)", s->path[FILE_DB], sqlite3_errmsg(s->db), err_name(err));
    give_up(s);
    return err;
}

static enum err sqlite_position(void *self, const uint64_t epoch[INBOX_LANES], uint64_t ret_position[INBOX_LANES])
{
    struct sqlite *s = self;
    if (s->db == NULL) {
        TRY(open_db(s, NULL));
    }
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        struct query q = query_of(s->stmt[FIND_POSITION]);
        query_hex(&q, epoch[i]);
        query_i64(&q, i);
        enum err err = query_row(&q);
        ret_position[i] = err == OK ? (uint64_t)sqlite3_column_int64(q.stmt, 0) : 0;
        if (err != ERR_NOT_FOUND) {
            TRY(err);
        }
        query_end(&q);
    }
    return OK;
}

static const struct sink_ops sqlite_ops = {
    .name = "sqlite", .write = sqlite_write, .position = sqlite_position, .close = sqlite_close};

enum err sink_sqlite_open(const char *path, struct sink *ret_sink, struct fault *reterr)
{
    struct sqlite *s = calloc(1, sizeof(*s));
    CLEANUP(sqlite_closep) void *guard = s;
    if (s == NULL || sink_reader_init(&s->reader) != OK) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    for (unsigned i = 0; i < FILES; i++) {
        if (asprintf(&s->path[i], "%s%s", path, suffixes[i]) < 0) {
            s->path[i] = NULL;
            return fault_set(reterr, ERR_NOMEM, "out of memory");
        }
    }
    TRY(open_db(s, reterr));
    *ret_sink = (struct sink){.ops = &sqlite_ops, .self = take(guard)};
    return OK;
}
