/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record as rows: one of table record, and those of its own kind.
 *
 *   block           reading                     describe     description, channel
 *   curated         window, and as a block      inference    inference
 *   event, health   one of the same name        suppressed   suppressed_range
 *   gap             gap                         unread       unread, the bytes as they came
 */
#include "cloud-bridge/sinks/sqlite_internal.h"

enum err sqlite_add_gap(struct sqlite_place *p, uint64_t first, uint64_t last, const char *reason, uint64_t wall_us)
{
    char ts[SINK_TIME_BYTES];
    struct query q = query_of(p->s->stmt[SQL_ADD_GAP]);
    sink_time(wall_us, ts);
    query_i64(&q, p->mark->id);
    query_u64(&q, first);
    query_u64(&q, last);
    query_text(&q, reason);
    query_text(&q, ts);
    return query_run(&q);
}

/* Bindings outlive a reset: what is the same for the whole block is bound once. */
enum { READING_TS = 5, READING_IDX = 7 };

static enum err add_reading(void *arg, const struct sink_reading *reading)
{
    struct sqlite_place *p = arg;
    struct query q = query_of(p->s->stmt[SQL_ADD_READING]);
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

static enum err add_block(struct sqlite_place *p)
{
    const Weir__V1__Block *block = p->s->reader.block;
    struct query q = query_of(p->s->stmt[SQL_ADD_READING]);
    query_i64(&q, p->mark->device_id);
    query_i64(&q, p->mark->id);
    query_u64(&q, p->step.last);
    query_i64(&q, block->set);
    query_i64(&q, block->quality);
    TRY(sqlite_err(q.rc));
    p->ts_index = UINT32_MAX;
    return sink_reader_foreach(&p->s->reader, add_reading, p);
}

static enum err add_describe(struct sqlite_place *p)
{
    const Weir__V1__Describe *d = p->s->reader.describe;
    struct query q = query_of(p->s->stmt[SQL_ADD_DESCRIPTION]);
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
        q = query_of(p->s->stmt[SQL_ADD_CHANNEL]);
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

static enum err add_event(struct sqlite_place *p)
{
    const Weir__V1__Event *e = p->s->reader.record->event;
    char ts[SINK_TIME_BYTES];
    struct query q = query_of(p->s->stmt[SQL_ADD_EVENT]);
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

static enum err add_health(struct sqlite_place *p)
{
    const Weir__V1__Health *h = p->s->reader.record->health;
    char ts[SINK_TIME_BYTES];
    struct query q = query_of(p->s->stmt[SQL_ADD_HEALTH]);
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

static enum err add_suppressed(struct sqlite_place *p)
{
    const Weir__V1__Suppressed *range = p->s->reader.record->suppressed;
    struct query q = query_of(p->s->stmt[SQL_ADD_SUPPRESSED]);
    query_i64(&q, p->mark->id);
    query_u64(&q, p->step.first);
    query_u64(&q, p->step.last);
    query_text(&q, range->rule);
    query_u64(&q, range->rule_version);
    return query_run(&q);
}

static enum err add_window(struct sqlite_place *p, const Weir__V1__Window *w, size_t idx)
{
    const Weir__V1__Curated *curated = p->s->reader.curated;
    char ts[SINK_TIME_BYTES];
    double quantiles[SINK_QUANTILES];
    struct query q = query_of(p->s->stmt[SQL_ADD_WINDOW]);
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

static enum err add_curated(struct sqlite_place *p)
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

static enum err add_inference(struct sqlite_place *p)
{
    const Weir__V1__Inference *i = p->s->reader.record->inference;
    char ts[SINK_TIME_BYTES];
    struct query q = query_of(p->s->stmt[SQL_ADD_INFERENCE]);
    sink_time(i->wall_us, ts);
    query_i64(&q, p->mark->device_id);
    query_text(&q, ts);
    query_i64(&q, p->mark->id);
    query_u64(&q, p->step.last);
    query_hex(&q, i->model);
    query_hex(&q, i->config);
    query_u64(&q, i->window_us);
    query_i64(&q, i->quality);
    query_i64(&q, i->answer);
    query_text(&q, i->label);
    query_f64(&q, (double)i->confidence);
    query_f64(&q, (double)i->score);
    query_text(&q, sink_answered_by_name(i->by));
    query_text(&q, i->engine);
    query_i64(&q, i->repeats);
    query_i64(&q, i->skipped);
    query_text(&q, sink_asked_name(i->asked));
    if (i->asked != WEIR__V1__ASKED__NOT_ASKED) {
        query_hex(&q, i->own_model);
        query_i64(&q, i->own_answer);
        query_f64(&q, (double)i->own_confidence);
        query_i64(&q, i->took_ms);
    } else {
        for (unsigned k = 0; k < 4; k++) {
            query_text(&q, NULL); /* bindings of the row before stay otherwise */
        }
    }
    return query_run(&q);
}

static enum err add_unread(struct sqlite_place *p)
{
    struct query q = query_of(p->s->stmt[SQL_ADD_UNREAD]);
    query_i64(&q, p->mark->id);
    query_u64(&q, p->step.first);
    query_u64(&q, p->step.last);
    query_i64(&q, p->s->reader.schema);
    query_blob(&q, p->forward->record);
    return query_run(&q);
}

enum err sqlite_add_content(struct sqlite_place *p)
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
        return sqlite_add_gap(p, p->step.first, p->step.last, sink_reason_name(r->record->gap->reason),
                              r->record->gap->wall_us ? r->record->gap->wall_us : p->forward->received_us);
    case SINK_SUPPRESSED:
        return add_suppressed(p);
    case SINK_DESCRIBE:
        return add_describe(p);
    case SINK_CURATED:
        return add_curated(p);
    case SINK_INFERENCE:
        return add_inference(p);
    case SINK_UNREAD:
        return add_unread(p);
    }
    return ERR_UNSUPPORTED;
}

enum err sqlite_add_record(struct sqlite_place *p, bool *ret_new)
{
    const struct sink_reader *r = &p->s->reader;
    uint64_t from_us = p->forward->received_us, to_us = p->forward->received_us;
    char ts[SINK_TIME_BYTES], ts_end[SINK_TIME_BYTES];
    if (!sink_reader_times(r, &from_us, &to_us)) {
        from_us = to_us = p->forward->received_us;
    }
    sink_time(from_us, ts);
    sink_time(to_us, ts_end);
    struct query q = query_of(p->s->stmt[SQL_ADD_RECORD]);
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
