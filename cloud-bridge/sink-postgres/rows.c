/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records as rows. The columns stand in the order of schema.c.
 */
#include <stdio.h>

#include "cloud-bridge/sink-postgres/sink_postgres_internal.h"

/* ---- fields ---- */
static void put_u16be(struct buffer *b, uint16_t v)
{
    buffer_put_u8(b, (uint8_t)(v >> 8));
    buffer_put_u8(b, (uint8_t)v);
}

void copy_row(struct buffer *b, uint16_t columns)
{
    put_u16be(b, columns);
}

void copy_i16(struct buffer *b, int64_t value)
{
    buffer_put_u32be(b, 2);
    put_u16be(b, (uint16_t)(int16_t)max_i64(min_i64(value, INT16_MAX), INT16_MIN));
}

void copy_i32(struct buffer *b, int64_t value)
{
    buffer_put_u32be(b, 4);
    buffer_put_u32be(b, (uint32_t)(int32_t)max_i64(min_i64(value, INT32_MAX), INT32_MIN));
}

void copy_i64(struct buffer *b, uint64_t value)
{
    buffer_put_u32be(b, 8);
    buffer_put_u64be(b, min_u64(value, INT64_MAX));
}

void copy_f64(struct buffer *b, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    buffer_put_u32be(b, 8);
    buffer_put_u64be(b, bits);
}

void copy_null(struct buffer *b)
{
    buffer_put_u32be(b, UINT32_MAX);
}

void copy_bool(struct buffer *b, bool value)
{
    buffer_put_u32be(b, 1);
    buffer_put_u8(b, value);
}

void copy_bytes(struct buffer *b, struct slice bytes)
{
    buffer_put_u32be(b, (uint32_t)bytes.len);
    if (bytes.len > 0) {
        buffer_put_slice(b, bytes);
    }
}

void copy_text(struct buffer *b, const char *text)
{
    copy_bytes(b, slice_str(text));
}

void copy_hex(struct buffer *b, uint64_t value)
{
    char text[17];
    snprintf(text, sizeof(text), "%016llx", (unsigned long long)value);
    copy_text(b, text);
}

void copy_time(struct buffer *b, uint64_t wall_us)
{
    const uint64_t end_us = UINT64_C(253402300799999999); /* 9999-12-31T23:59:59.999999Z */
    const int64_t epoch_us = INT64_C(946684800000000);     /* 2000-01-01 */
    buffer_put_u32be(b, 8);
    buffer_put_u64be(b, (uint64_t)((int64_t)min_u64(wall_us, end_us) - epoch_us));
}

/* ---- records ---- */
struct place {
    struct postgres *pg;
    const struct sink_mark *mark;
    const struct wire_forward *forward;
    const struct sink_step *step;
    uint64_t readings;
    struct fault *reterr;
};

static struct buffer *row(struct place *p, enum table table, uint16_t columns)
{
    struct buffer *b = &p->pg->copy[table];
    copy_row(b, columns);
    p->pg->rows[table]++;
    return b;
}

static void put_record(struct place *p)
{
    const struct sink_reader *r = &p->pg->reader;
    uint64_t from_us, to_us;
    if (!sink_reader_times(r, &from_us, &to_us)) {
        from_us = to_us = p->forward->received_us;
    }
    struct buffer *b = row(p, TABLE_RECORD, 10);
    copy_i64(b, (uint64_t)p->mark->device_id);
    copy_i64(b, (uint64_t)p->mark->id);
    copy_i64(b, p->step->first);
    copy_i64(b, p->step->last);
    copy_text(b, sink_kind_name(r->kind));
    copy_time(b, from_us);
    copy_time(b, to_us);
    copy_i32(b, (int64_t)sink_reader_readings(r));
    copy_time(b, p->forward->received_us);
    copy_text(b, p->forward->gateway);
}

static enum err put_reading(void *arg, const struct sink_reading *reading)
{
    struct place *p = arg;
    const Weir__V1__Block *block = p->pg->reader.block;
    struct buffer *b = row(p, TABLE_READING, 9);
    copy_i64(b, (uint64_t)p->mark->device_id);
    copy_time(b, reading->wall_us);
    copy_i64(b, (uint64_t)p->mark->id);
    copy_i64(b, p->step->last);
    copy_i32(b, reading->index);
    copy_i32(b, reading->channel);
    copy_f64(b, reading->value);
    copy_i64(b, block->set);
    copy_i16(b, block->quality);
    p->readings++;
    return b->len > COPY_FLUSH_BYTES ? pg_copy(p->pg, TABLE_READING, p->reterr) : buffer_err(b);
}

static void put_gap(struct place *p, uint64_t first, uint64_t last, const char *reason, uint64_t wall_us)
{
    struct buffer *b = row(p, TABLE_GAP, 5);
    copy_i64(b, (uint64_t)p->mark->id);
    copy_i64(b, first);
    copy_i64(b, last);
    copy_text(b, reason);
    copy_time(b, wall_us);
}

static void put_describe(struct place *p, const Weir__V1__Describe *d)
{
    struct buffer *b = row(p, TABLE_DESCRIPTION, 8);
    copy_i64(b, (uint64_t)p->mark->id);
    copy_i64(b, p->step->last);
    copy_i64(b, d->set);
    copy_hex(b, d->config);
    copy_hex(b, d->model);
    copy_hex(b, d->boot_id);
    copy_text(b, d->software);
    copy_text(b, d->source);
    for (size_t i = 0; i < d->n_channel; i++) {
        b = row(p, TABLE_CHANNEL, 6);
        copy_i64(b, (uint64_t)p->mark->device_id);
        copy_i64(b, d->set);
        copy_i32(b, (int64_t)i);
        copy_text(b, d->channel[i]->name);
        copy_text(b, d->channel[i]->unit);
        copy_f64(b, d->channel[i]->resolution);
    }
}

static void put_event(struct place *p, const Weir__V1__Event *e)
{
    struct buffer *b = row(p, TABLE_EVENT, 8);
    copy_i64(b, (uint64_t)p->mark->id);
    copy_i64(b, p->step->last);
    copy_time(b, e->wall_us);
    copy_text(b, sink_severity_name(e->severity));
    copy_text(b, e->id);
    copy_text(b, e->text);
    copy_text(b, e->channel);
    copy_f64(b, e->value);
}

static void put_health(struct place *p, const Weir__V1__Health *h)
{
    const uint64_t values[] = {h->uptime_s, h->rss_bytes, h->store_used_bytes, h->store_cap_bytes,
                               h->records,  h->gaps,      h->connects,         h->samples};
    struct buffer *b = row(p, TABLE_HEALTH, 3 + COUNT_OF(values));
    copy_i64(b, (uint64_t)p->mark->id);
    copy_i64(b, p->step->last);
    copy_time(b, h->wall_us);
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        copy_i64(b, values[i]);
    }
}

static void put_suppressed(struct place *p, const Weir__V1__Suppressed *range)
{
    struct buffer *b = row(p, TABLE_SUPPRESSED, 5);
    copy_i64(b, (uint64_t)p->mark->id);
    copy_i64(b, p->step->first);
    copy_i64(b, p->step->last);
    copy_text(b, range->rule);
    copy_i64(b, range->rule_version);
}

static void put_windows(struct place *p, const Weir__V1__Curated *curated)
{
    for (size_t i = 0; i < curated->n_window; i++) {
        const Weir__V1__Window *w = curated->window[i];
        double quantiles[SINK_QUANTILES];
        struct buffer *b = row(p, TABLE_WINDOW, 18 + SINK_QUANTILES);
        copy_i64(b, (uint64_t)p->mark->device_id);
        copy_time(b, w->start_us);
        copy_i64(b, (uint64_t)p->mark->id);
        copy_i64(b, p->step->last);
        copy_i32(b, (int64_t)i);
        copy_i64(b, curated->set);
        copy_i32(b, w->channel);
        copy_text(b, w->rule);
        copy_i64(b, w->length_us);
        copy_i64(b, w->count);
        copy_f64(b, w->mean);
        copy_f64(b, w->m2);
        copy_f64(b, w->min);
        copy_f64(b, w->max);
        copy_bytes(b, slice_of(w->sketch.data, w->sketch.len));
        copy_bool(b, w->partial);
        copy_i64(b, w->late);
        copy_hex(b, curated->rules);
        bool known = sink_window_quantiles(w, quantiles);
        for (unsigned q = 0; q < SINK_QUANTILES; q++) {
            if (known) {
                copy_f64(b, quantiles[q]);
            } else {
                copy_null(b);
            }
        }
    }
}

static void put_inference(struct place *p, const Weir__V1__Inference *i)
{
    struct buffer *b = row(p, TABLE_INFERENCE, 21);
    copy_i64(b, (uint64_t)p->mark->device_id);
    copy_time(b, i->wall_us);
    copy_i64(b, (uint64_t)p->mark->id);
    copy_i64(b, p->step->last);
    copy_hex(b, i->model);
    copy_hex(b, i->config);
    copy_i64(b, i->window_us);
    copy_i16(b, i->quality);
    copy_i64(b, i->answer);
    copy_text(b, i->label);
    copy_f64(b, (double)i->confidence);
    copy_f64(b, (double)i->score);
    copy_text(b, sink_answered_by_name(i->by));
    copy_text(b, i->engine);
    copy_text(b, sink_asked_name(i->asked));
    copy_hex(b, i->own_model);
    copy_i64(b, i->own_answer);
    copy_f64(b, (double)i->own_confidence);
    copy_i64(b, i->took_ms);
    copy_i64(b, i->repeats);
    copy_i64(b, i->skipped);
}

static void put_unread(struct place *p)
{
    struct buffer *b = row(p, TABLE_UNREAD, 5);
    copy_i64(b, (uint64_t)p->mark->id);
    copy_i64(b, p->step->first);
    copy_i64(b, p->step->last);
    copy_i64(b, p->pg->reader.schema);
    copy_bytes(b, p->forward->record);
}

static void put_content(struct place *p)
{
    const struct sink_reader *r = &p->pg->reader;
    switch (r->kind) {
    case SINK_BLOCK:
        break;
    case SINK_EVENT:
        put_event(p, r->record->event);
        break;
    case SINK_HEALTH:
        put_health(p, r->record->health);
        break;
    case SINK_GAP:
        put_gap(p, p->step->first, p->step->last, sink_reason_name(r->record->gap->reason),
                r->record->gap->wall_us ? r->record->gap->wall_us : p->forward->received_us);
        break;
    case SINK_SUPPRESSED:
        put_suppressed(p, r->record->suppressed);
        break;
    case SINK_DESCRIBE:
        put_describe(p, r->describe);
        break;
    case SINK_CURATED:
        if (r->describe != NULL) {
            put_describe(p, r->describe);
        }
        put_windows(p, r->curated);
        break;
    case SINK_INFERENCE:
        put_inference(p, r->record->inference);
        break;
    case SINK_UNREAD:
        put_unread(p);
        break;
    }
}

enum err pg_rows(struct postgres *pg, const struct wire_forward *forward, const struct sink_mark *mark,
                 const struct sink_step *step, uint64_t *ret_readings, struct fault *reterr)
{
    struct place p = {.pg = pg, .mark = mark, .forward = forward, .step = step, .reterr = reterr};
    if (step->lost_first <= step->lost_last) {
        put_gap(&p, step->lost_first, step->lost_last, "jump", forward->received_us); /* in the table: upstream_lost */
    }
    if (step->fill) {
        struct buffer *b = row(&p, TABLE_FILL, 3);
        copy_i64(b, (uint64_t)mark->id);
        copy_i64(b, step->first);
        copy_i64(b, step->last);
    }
    sink_reader_read(&pg->reader, forward->record);
    put_record(&p);
    put_content(&p);
    TRY(sink_reader_foreach(&pg->reader, put_reading, &p));
    for (unsigned i = 0; i < TABLES; i++) {
        if (pg->copy[i].len > COPY_FLUSH_BYTES) {
            TRY(pg_copy(pg, i, reterr));
        }
        TRY(buffer_err(&pg->copy[i]));
    }
    *ret_readings = p.readings;
    return OK;
}

enum err pg_mark_rows(struct postgres *pg)
{
    struct buffer *b = &pg->copy[TABLE_MARK];
    for (const struct sink_mark *m = pg->marks.touched; m != NULL; m = m->next_touched) {
        copy_row(b, 7);
        copy_i64(b, (uint64_t)m->id);
        copy_i64(b, m->stream.hwm);
        copy_i64(b, m->stream.top);
        copy_i64(b, m->stream.records);
        copy_i64(b, m->stream.readings);
        copy_i64(b, m->stream.gaps);
        copy_i64(b, m->stream.suppressed);
        pg->rows[TABLE_MARK]++;
    }
    return buffer_err(b);
}
