/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far each stream is, as rows of the tables device, stream and position. What is in memory (sqlite.marks) is a
 * cache of them: loaded when a stream is met first, written back with the batch, emptied when a transaction fails.
 * Holes are the gaps of reason upstream_lost.
 */
#include "cloud-bridge/sinks/sqlite_internal.h"

static enum err device_id(struct sqlite *s, const char *name, int64_t *ret_id)
{
    struct query find = query_of(s->stmt[SQL_FIND_DEVICE]);
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
    struct query add = query_of(s->stmt[SQL_ADD_DEVICE]);
    query_text(&add, name);
    TRY(query_run(&add));
    *ret_id = sqlite3_last_insert_rowid(s->db);
    return OK;
}

static enum err load_holes(struct sqlite *s, struct sink_mark *m)
{
    struct query q = query_of(s->stmt[SQL_FIND_HOLES]);
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
    struct query q = query_of(s->stmt[SQL_FIND_STREAM]);
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

enum err sqlite_find_mark(struct sqlite *s, const struct wire_forward *f, struct sink_mark **ret_mark)
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
        struct query add = query_of(s->stmt[SQL_ADD_STREAM]);
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

enum err sqlite_cut_hole(struct sqlite_place *p)
{
    const struct sink_step *step = &p->step;
    if (step->last < step->hole.last) {
        struct query q = query_of(p->s->stmt[SQL_SPLIT_HOLE]);
        query_u64(&q, step->last + 1);
        query_i64(&q, p->mark->id);
        query_u64(&q, step->hole.first);
        TRY(query_run(&q));
    }
    struct query q = query_of(p->s->stmt[step->first > step->hole.first ? SQL_SHRINK_HOLE : SQL_DROP_HOLE]);
    if (step->first > step->hole.first) {
        query_u64(&q, step->first - 1);
    }
    query_i64(&q, p->mark->id);
    query_u64(&q, step->hole.first);
    return query_run(&q);
}

enum err sqlite_write_marks(struct sqlite *s, const struct sink_batch *batch)
{
    for (const struct sink_mark *m = s->marks.touched; m != NULL; m = m->next_touched) {
        struct query q = query_of(s->stmt[SQL_MARK_STREAM]);
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
        struct query q = query_of(s->stmt[SQL_MARK_POSITION]);
        query_hex(&q, batch->epoch[i]);
        query_i64(&q, i);
        query_u64(&q, batch->position[i]);
        TRY(query_run(&q));
    }
    return OK;
}
