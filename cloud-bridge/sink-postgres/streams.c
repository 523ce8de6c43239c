/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Marks of the streams of a batch: read with their rows locked, in the order of ids, so that two bridges that write the
 * same stream (a site that moved) wait for one another and do not lock each other out.
 */
#include "cloud-bridge/sink-postgres/sink_postgres_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "proto/receive/receive.h"

enum { LIST_MAX = 16 << 20 };

struct lists { /* as texts of PostgreSQL arrays, one element a stream */
    struct buffer device, epoch, lane, hop;
    size_t count;
};

static void lists_deinit(struct lists *l)
{
    buffer_deinit(&l->device);
    buffer_deinit(&l->epoch);
    buffer_deinit(&l->lane);
    buffer_deinit(&l->hop);
}

static void lists_init(struct lists *l)
{
    struct buffer *const all[] = {&l->device, &l->epoch, &l->lane, &l->hop};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        buffer_init(all[i], LIST_MAX);
        buffer_put_u8(all[i], '{');
    }
    l->count = 0;
}

static void lists_add(struct lists *l, const struct sink_mark *m)
{
    const char *comma = l->count++ > 0 ? "," : "";
    buffer_printf(&l->device, "%s\"%s\"", comma, m->key.device); /* an identity: nothing in it to escape */
    buffer_printf(&l->epoch, "%s\"%016" PRIx64 "\"", comma, m->key.epoch);
    buffer_printf(&l->lane, "%s%u", comma, m->stream.lane);
    buffer_printf(&l->hop, "%s%s", comma, m->hop ? "t" : "f");
}

static enum err lists_end(struct lists *l, const char *params[4])
{
    struct buffer *const all[] = {&l->device, &l->epoch, &l->lane, &l->hop};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        buffer_put(all[i], "}", 2); /* and the NUL */
        TRY(buffer_err(all[i]));
        params[i] = (const char *)all[i]->ptr;
    }
    return OK;
}

static uint64_t number(const PGresult *result, int row, int column)
{
    return strtoull(PQgetvalue(result, row, column), NULL, 10);
}

static void take_row(struct postgres *pg, const PGresult *result, int row)
{
    uint64_t epoch = strtoull(PQgetvalue(result, row, 1), NULL, 16);
    struct sink_mark *m = sink_marks_find(&pg->marks, PQgetvalue(result, row, 0), epoch);
    if (m == NULL) {
        return; /* asked for by us: cannot be */
    }
    m->device_id = (int64_t)number(result, row, 2);
    m->id = (int64_t)number(result, row, 3);
    m->stream.lane = (uint8_t)number(result, row, 4);
    m->hop = strcmp(PQgetvalue(result, row, 5), "t") == 0;
    m->stream.hwm = number(result, row, 6);
    m->stream.top = number(result, row, 7);
    m->stream.records = number(result, row, 8);
    m->stream.readings = number(result, row, 9);
    m->stream.gaps = number(result, row, 10);
    m->stream.suppressed = number(result, row, 11);
}

/* Those that have no id yet. */
static enum err load(struct postgres *pg, size_t *ret_missing, struct fault *reterr)
{
    CLEANUP(PQclearp) PGresult *result = NULL;
    CLEANUP(lists_deinit) struct lists lists;
    const char *params[4];
    lists_init(&lists);
    for (const struct sink_mark *m = pg->marks.table; m != NULL; m = m->hh.next) {
        if (m->id == 0) {
            lists_add(&lists, m);
        }
    }
    TRY(lists_end(&lists, params));
    TRY(pg_query(pg,
                 "select d.name, s.epoch, d.id, s.id, s.lane, s.hop, s.hwm, s.top, s.records, s.readings, s.gaps,"
                 " s.suppressed from unnest($1::text[], $2::text[]) as w(device, epoch)"
                 " join device d on d.name = w.device join stream s on s.device = d.id and s.epoch = w.epoch"
                 " order by s.id for update of s",
                 params, 2, &result, reterr));
    for (int row = 0; row < PQntuples(result); row++) {
        take_row(pg, result, row);
    }
    *ret_missing = lists.count - (size_t)PQntuples(result);
    return OK;
}

static enum err make(struct postgres *pg, struct fault *reterr)
{
    CLEANUP(lists_deinit) struct lists lists;
    const char *params[4];
    lists_init(&lists);
    for (const struct sink_mark *m = pg->marks.table; m != NULL; m = m->hh.next) {
        if (m->id == 0) {
            lists_add(&lists, m);
        }
    }
    TRY(lists_end(&lists, params));
    TRY(pg_query(pg, "insert into device(name) select distinct w from unnest($1::text[]) as w order by w"
                     " on conflict do nothing", params, 1, NULL, reterr));
    return pg_query(pg,
                    "insert into stream(device, epoch, lane, hop) select d.id, w.epoch, w.lane, w.hop"
                    " from unnest($1::text[], $2::text[], $3::smallint[], $4::boolean[]) as w(device, epoch, lane, hop)"
                    " join device d on d.name = w.device order by d.id, w.epoch on conflict do nothing",
                    params, 4, NULL, reterr);
}

/* Whether something of the batch may lie in a hole: in a stream that is there, at or below its mark. */
static bool is_late(struct postgres *pg, const struct sink_item *item)
{
    const struct wire_forward *f = &item->forward;
    const struct sink_mark *m = f->first <= f->last ? sink_marks_find(&pg->marks, f->device, f->epoch) : NULL;
    return m != NULL && !m->hop && !item->replay && f->last <= m->stream.hwm;
}

static enum err load_holes(struct postgres *pg, struct fault *reterr)
{
    CLEANUP(PQclearp) PGresult *result = NULL;
    CLEANUP(lists_deinit) struct lists lists;
    const char *params[4];
    char most[8];
    lists_init(&lists);
    for (const struct sink_mark *m = pg->marks.table; m != NULL; m = m->hh.next) {
        lists_add(&lists, m);
    }
    TRY(lists_end(&lists, params));
    snprintf(most, sizeof(most), "%d", SINK_HOLES);
    params[2] = most;
    TRY(pg_query(pg,
                 "select d.name, s.epoch, h.first, h.last from unnest($1::text[], $2::text[]) as w(device, epoch)"
                 " join device d on d.name = w.device join stream s on s.device = d.id and s.epoch = w.epoch,"
                 " lateral (select first, last from gap where stream = s.id and reason = 'upstream_lost'"
                 "  order by first desc limit $3::integer) as h order by s.id, h.first",
                 params, 3, &result, reterr));
    for (int row = 0; row < PQntuples(result); row++) {
        uint64_t epoch = strtoull(PQgetvalue(result, row, 1), NULL, 16);
        struct sink_mark *m = sink_marks_find(&pg->marks, PQgetvalue(result, row, 0), epoch);
        if (m != NULL) {
            sink_holes_add(&m->holes, number(result, row, 2), number(result, row, 3));
        }
    }
    return OK;
}

enum err pg_streams_lock(struct postgres *pg, const struct sink_item *items, size_t count, struct fault *reterr)
{
    size_t missing = 0;
    sink_marks_clear(&pg->marks);
    for (size_t i = 0; i < count; i++) {
        const struct wire_forward *f = &items[i].forward;
        struct sink_mark *mark = NULL;
        if (f->first <= f->last && sink_marks_find(&pg->marks, f->device, f->epoch) == NULL) {
            TRY(sink_marks_add(&pg->marks, f->device, f->epoch, f->lane, receive_is_hop(f), &mark));
        }
    }
    if (pg->marks.table == NULL) {
        return OK;
    }
    TRY(load(pg, &missing, reterr));
    if (missing > 0) {
        TRY(make(pg, reterr));
        TRY(load(pg, &missing, reterr));
    }
    if (missing > 0) {
        return fault_set(reterr, ERR_CONFLICT, "streams that were just made are not there");
    }
    bool late = false;
    for (size_t i = 0; i < count && !late; i++) {
        late = is_late(pg, &items[i]);
    }
    return late ? load_holes(pg, reterr) : OK;
}
