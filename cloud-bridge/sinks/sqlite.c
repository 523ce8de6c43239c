/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SQLite sink: one transaction a batch = rows, the streams' marks, the positions.
 *
 * Idempotent twice: by the marks (what is at or below a stream's hwm is skipped) and by the keys (a record that is
 * there is not counted again).
 */
#include "cloud-bridge/sinks/sqlite_internal.h"

#include <stdio.h>

static const char *const suffixes[FILES] = {[FILE_DB] = "", [FILE_WAL] = "-wal", [FILE_SHM] = "-shm"};

static void sqlite_close(void *self)
{
    struct sqlite *s = self;
    if (s == NULL) {
        return;
    }
    sqlite_file_close(s);
    sink_reader_deinit(&s->reader);
    for (unsigned i = 0; i < FILES; i++) {
        free(s->path[i]);
    }
    free(s);
}
DEFINE_CLEANUP(void, sqlite_close)

static enum err write_item(struct sqlite *s, const struct wire_forward *f)
{
    struct sqlite_place p = {.s = s, .forward = f};
    bool is_new = false;
    TRY(sqlite_find_mark(s, f, &p.mark));
    sink_mark_step(p.mark, f, &p.step);
    if (p.step.skip) {
        return OK;
    }
    if (p.step.lost_first <= p.step.lost_last) {
        TRY(sqlite_add_gap(&p, p.step.lost_first, p.step.lost_last,
                           sink_reason_name(WEIR__V1__GAP_REASON__UPSTREAM_LOST), f->received_us));
    }
    if (p.step.fill) {
        TRY(sqlite_cut_hole(&p));
    }
    sink_reader_read(&s->reader, f->record);
    TRY(sqlite_add_record(&p, &is_new));
    if (is_new) {
        TRY(sqlite_add_content(&p));
        sink_mark_take(&s->marks, p.mark, &p.step, f, s->reader.kind, p.readings);
    } else {
        sink_mark_move(p.mark, &p.step);
    }
    return OK;
}

static enum err write_all(struct sqlite *s, const struct sink_batch *batch)
{
    struct query begin = query_of(s->stmt[SQL_BEGIN]), commit = query_of(s->stmt[SQL_COMMIT]);
    TRY(query_run(&begin));
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->items[i].forward.first <= batch->items[i].forward.last) {
            TRY(write_item(s, &batch->items[i].forward));
        }
    }
    TRY(sqlite_write_marks(s, batch));
    return query_run(&commit);
}

static enum err sqlite_write(void *self, const struct sink_batch *batch, struct fault *reterr)
{
    struct sqlite *s = self;
    TRY(sqlite_file_check(s, reterr));
    if (s->db == NULL) {
        TRY(sqlite_file_open(s, reterr));
    }
    enum err err = write_all(s, batch);
    if (err == OK) {
        sink_marks_settle(&s->marks);
        return OK;
    }
    (void)fault_set(reterr, err, "%s: %s (%s)", s->path[FILE_DB], sqlite3_errmsg(s->db), err_name(err));
    sqlite_file_give_up(s);
    return err;
}

static enum err sqlite_position(void *self, const uint64_t epoch[INBOX_LANES], uint64_t ret_position[INBOX_LANES])
{
    struct sqlite *s = self;
    if (s->db == NULL) {
        TRY(sqlite_file_open(s, NULL));
    }
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        struct query q = query_of(s->stmt[SQL_FIND_POSITION]);
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
    TRY(sqlite_file_open(s, reterr));
    *ret_sink = (struct sink){.ops = &sqlite_ops, .self = take(guard)};
    return OK;
}
