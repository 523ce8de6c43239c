/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transaction of a batch.
 */
#include "cloud-bridge/sink-postgres/sink_postgres_internal.h"

#include <inttypes.h>
#include <stdio.h>

enum err pg_positions(struct postgres *pg, const uint64_t epoch[INBOX_LANES], uint64_t ret_position[INBOX_LANES],
                      struct fault *reterr)
{
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        CLEANUP(PQclearp) PGresult *result = NULL;
        char hex[17], number[4];
        const char *const params[] = {hex, number};
        snprintf(hex, sizeof(hex), "%016" PRIx64, epoch[lane]);
        snprintf(number, sizeof(number), "%u", lane);
        TRY(pg_query(pg, "select position from position where epoch = $1 and lane = $2::smallint", params, 2, &result,
                     reterr));
        ret_position[lane] = PQntuples(result) > 0 ? strtoull(PQgetvalue(result, 0, 0), NULL, 10) : 0;
    }
    return OK;
}

/* A database that was restored while the connection stayed has other positions than we left. */
static enum err check_positions(struct postgres *pg, struct fault *reterr)
{
    uint64_t found[INBOX_LANES];
    if (!pg->has_left) {
        return OK;
    }
    TRY(pg_positions(pg, pg->left_epoch, found, reterr));
    if (memcmp(found, pg->left, sizeof(found)) != 0) {
        pg->has_left = false;
        return fault_set(reterr, ERR_CONFLICT, "the positions are not those that we left: restored from a backup?");
    }
    return OK;
}

/* A letter that is replayed stands here as a gap, which it takes the place of. *ret_skip: it does not (any more). */
static enum err make_place(struct postgres *pg, const struct sink_mark *mark, const struct sink_step *step,
                           bool *ret_skip, struct fault *reterr)
{
    CLEANUP(PQclearp) PGresult *result = NULL;
    char stream[24], first[24], last[24];
    const char *const params[] = {stream, first, last};
    snprintf(stream, sizeof(stream), "%" PRId64, mark->id);
    snprintf(first, sizeof(first), "%" PRIu64, step->first);
    snprintf(last, sizeof(last), "%" PRIu64, step->last);
    TRY(pg_query(pg,
                 "with g as (delete from gap where stream = $1::bigint and first = $2::bigint and last = $3::bigint"
                 " and reason = 'dead_letter' returning stream, first)"
                 " delete from record r using g where r.stream = g.stream and r.first = g.first and r.kind = 'gap'",
                 params, 3, &result, reterr));
    *ret_skip = strcmp(PQcmdTuples(result), "1") != 0;
    return OK;
}

static enum err put_item(struct postgres *pg, const struct sink_item *item, struct fault *reterr)
{
    const struct wire_forward *f = &item->forward;
    struct sink_step step;
    uint64_t readings = 0;
    if (f->first > f->last) {
        return OK;
    }
    struct sink_mark *mark = sink_marks_find(&pg->marks, f->device, f->epoch);
    sink_item_step(mark, item, &step);
    if (!step.skip && step.replay) {
        TRY(make_place(pg, mark, &step, &step.skip, reterr));
    }
    if (step.skip) {
        return OK;
    }
    TRY(pg_rows(pg, f, mark, &step, &readings, reterr));
    sink_mark_take(&pg->marks, mark, &step, f, pg->reader.kind, readings);
    return OK;
}

/* The rows of jumps first, since a jump may be filled in the same batch; then what was filled is cut out of them, and
 * the rest stays. What fills a hole may be a gap itself (declared by somebody else) with the number of its row. */
static void put_holes(const struct postgres *pg, struct buffer *sql)
{
    if (pg->rows[TABLE_GAP] > 0) {
        buffer_put_str(sql, "insert into gap select stream, first, last, 'upstream_lost', ts from stage_gap"
                            " where reason = 'jump' on conflict do nothing;");
    }
    if (pg->rows[TABLE_FILL] > 0) {
        buffer_put_str(sql,
                       "insert into stage_rest select g.stream, lower(r), upper(r) - 1, g.reason, g.ts"
                       " from gap g join taken t on g.stream = t.stream,"
                       "  unnest(int8multirange(int8range(g.first, g.last, '[]')) - t.numbers) as r"
                       " where g.reason = 'upstream_lost' and int8range(g.first, g.last, '[]') && t.numbers;"
                       "delete from gap g using taken t where g.stream = t.stream and g.reason = 'upstream_lost'"
                       " and int8range(g.first, g.last, '[]') && t.numbers;"
                       "insert into gap select * from stage_rest;");
    }
}

/* Everything that stands in the temporary tables, in one round trip. */
static enum err merge(struct postgres *pg, const struct sink_batch *batch, bool is_all, struct fault *reterr)
{
    BUFFER(sql, 8192);
    for (unsigned i = 0; i < TABLES; i++) {
        TRY(pg_copy(pg, i, reterr));
    }
    put_holes(pg, &sql);
    for (unsigned i = 0; i < TABLE_FILL; i++) {
        if (pg->rows[i] > 0) {
            buffer_printf(&sql, "insert into \"%s\" select * from stage_%s%s on conflict do nothing;", table_names[i],
                          table_names[i], i == TABLE_GAP ? " where reason <> 'jump'" : "");
        }
    }
    buffer_put_str(&sql, "update stream s set hwm = m.hwm, top = m.top, records = m.records, readings = m.readings,"
                         " gaps = m.gaps, suppressed = m.suppressed from stage_mark m where s.id = m.id;");
    for (unsigned lane = 0; is_all && lane < INBOX_LANES; lane++) {
        buffer_printf(&sql, "insert into position values('%016" PRIx64 "', %u, %" PRIu64 ")"
                            " on conflict(epoch, lane) do update set position = excluded.position;",
                      batch->epoch[lane], lane, batch->position[lane]);
    }
    buffer_put_u8(&sql, '\0');
    TRY(buffer_err(&sql));
    return pg_run(pg, (const char *)sql.ptr, reterr);
}

enum err pg_transaction(struct postgres *pg, const struct sink_batch *batch, size_t first, size_t count, bool is_all,
                        struct fault *reterr)
{
    for (unsigned i = 0; i < TABLES; i++) {
        buffer_reset(&pg->copy[i]);
        pg->rows[i] = 0;
    }
    TRY(pg_run(pg, "begin", reterr));
    if (is_all) {
        TRY(check_positions(pg, reterr));
    }
    TRY(pg_streams_lock(pg, batch->items + first, count, reterr));
    for (size_t i = first; i < first + count; i++) {
        TRY(put_item(pg, &batch->items[i], reterr));
    }
    TRY(pg_mark_rows(pg));
    TRY(merge(pg, batch, is_all, reterr));
    if (!is_all) {
        return OK;
    }
    TRY(pg_run(pg, "commit", reterr));
    memcpy(pg->left_epoch, batch->epoch, sizeof(pg->left_epoch));
    memcpy(pg->left, batch->position, sizeof(pg->left));
    pg->has_left = true;
    return OK;
}
