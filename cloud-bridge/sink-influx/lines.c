/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records as lines:
 *
 *   weir,channel=pressure,device=pump-1,unit=bar value=3.2 1767225600000000000
 *   weir_window,channel=..,device=..,rule=..,unit=..
 *   count=..i,mean=..,std=..,min=..,max=..,length_us=..i,partial=false,late=0i
 *   weir_event,device=..,id=..,severity=.. text="..",channel="..",value=..,number=1i
 *   weir_health,device=.. uptime_s=..i, ..
 *   weir_gap,device=..,epoch=..,lane=..,reason=.. first=1i,last=3i,records=3i
 *   weir_suppressed,device=..,epoch=..,lane=..,rule=.. first=1i,last=3i,records=3i
 *
 * Tags in the order of their names, which the servers like best. Readings and windows are points of their own time, in
 * nanoseconds; what may happen twice in a microsecond (events, gaps) has its number in the last three digits. Gaps and
 * suppressed ranges carry the time of their arrival at the first gateway.
 *
 * What line protocol has no form for: values that are no numbers (left out), and in tags control characters and
 * backslashes, which servers read differently ('_' instead). A newline in a text is written as \n.
 */
#include <inttypes.h>
#include <math.h>

#include "cloud-bridge/sink-influx/sink_influx_internal.h"

/* ---- pieces ---- */
void lines_put_tag(struct buffer *out, const char *value)
{
    for (const char *c = value; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f || *c == '\\') {
            buffer_put_u8(out, '_');
            continue;
        }
        if (*c == ',' || *c == '=' || *c == ' ') {
            buffer_put_u8(out, '\\');
        }
        buffer_put_u8(out, (uint8_t)*c);
    }
}

void lines_put_string(struct buffer *out, const char *value)
{
    buffer_put_u8(out, '"');
    for (const char *c = value; *c != '\0'; c++) {
        if (*c == '\n' || *c == '\r') {
            buffer_put_str(out, *c == '\n' ? "\\\\n" : "\\\\r");
            continue;
        }
        if (*c == '"' || *c == '\\') {
            buffer_put_u8(out, '\\');
        }
        buffer_put_u8(out, (uint8_t)*c);
    }
    buffer_put_u8(out, '"');
}

/* An empty tag's value is not allowed: then there is no tag. */
static void tag(struct buffer *out, const char *key, const char *value)
{
    if (value[0] != '\0') {
        buffer_printf(out, ",%s=", key);
        lines_put_tag(out, value);
    }
}

struct point {
    struct buffer *out;
    unsigned fields;
};

static void begin_field(struct point *p, const char *key)
{
    buffer_printf(p->out, "%s%s=", p->fields++ > 0 ? "," : " ", key);
}

static void field_i64(struct point *p, const char *key, uint64_t value)
{
    begin_field(p, key);
    buffer_printf(p->out, "%" PRIu64 "i", min_u64(value, INT64_MAX));
}

/* 17 digits say a double exactly; 15 are enough for most. */
static void put_number(struct buffer *out, double value)
{
    char text[40];
    snprintf(text, sizeof(text), "%.15g", value);
    if (strtod(text, NULL) != value) {
        snprintf(text, sizeof(text), "%.17g", value);
    }
    buffer_put_str(out, text);
}

static void field_f64(struct point *p, const char *key, double value)
{
    if (isfinite(value)) {
        begin_field(p, key);
        put_number(p->out, value);
    }
}

static void field_text(struct point *p, const char *key, const char *value)
{
    begin_field(p, key);
    lines_put_string(p->out, value);
}

static void field_bool(struct point *p, const char *key, bool value)
{
    begin_field(p, key);
    buffer_put_str(p->out, value ? "true" : "false");
}

/* Nanoseconds end in the year 2262: what is later has that end. */
static void end_point(struct point *p, uint64_t wall_us, unsigned below_us)
{
    buffer_printf(p->out, " %" PRIu64 "\n", min_u64(wall_us, INT64_MAX / 1000 - 1) * 1000 + below_us);
}

static void put_measurement(const struct lines *l, struct buffer *out, const char *suffix)
{
    lines_put_tag(out, l->measurement);
    buffer_put_str(out, suffix);
}

/* ",channel=..,device=..,rule=..,unit=.." */
static void put_channel(const struct lines *l, struct buffer *out, const char *device, uint32_t set, unsigned channel,
                        const char *rule)
{
    const char *name = NULL, *unit = "";
    char number[16];
    snprintf(number, sizeof(number), "c%u", channel);
    (void)names_find(l->names, device, set, channel, &name, &unit);
    tag(out, "channel", name != NULL && name[0] != '\0' ? name : number);
    tag(out, "device", device);
    tag(out, "rule", rule);
    tag(out, "unit", unit);
}

/* ---- kinds ---- */
struct place {
    struct lines *l;
    const struct wire_forward *forward;
};

static enum err put_reading(void *arg, const struct sink_reading *reading)
{
    const struct place *p = arg;
    struct buffer *out = &p->l->out;
    struct point point = {.out = out};
    if (!isfinite(reading->value)) {
        return OK;
    }
    put_measurement(p->l, out, "");
    put_channel(p->l, out, p->forward->device, p->l->reader->block->set, reading->channel, "");
    field_f64(&point, "value", reading->value);
    end_point(&point, reading->wall_us, 0);
    return buffer_err(out);
}

static void put_window(const struct place *p, const Weir__V1__Curated *curated, const Weir__V1__Window *w)
{
    struct point point = {.out = &p->l->out};
    put_measurement(p->l, point.out, "_window");
    put_channel(p->l, point.out, p->forward->device, curated->set, w->channel, w->rule);
    field_i64(&point, "count", w->count);
    field_f64(&point, "mean", w->mean);
    field_f64(&point, "std", sink_window_std(w));
    field_f64(&point, "min", w->min);
    field_f64(&point, "max", w->max);
    double quantiles[SINK_QUANTILES];
    for (unsigned i = 0; sink_window_quantiles(w, quantiles) && i < SINK_QUANTILES; i++) {
        field_f64(&point, sink_quantile_names[i], quantiles[i]);
    }
    field_i64(&point, "length_us", w->length_us);
    field_bool(&point, "partial", w->partial);
    field_i64(&point, "late", w->late);
    end_point(&point, w->start_us, 0);
}

static void put_event(const struct place *p, const Weir__V1__Event *e)
{
    struct point point = {.out = &p->l->out};
    put_measurement(p->l, point.out, "_event");
    tag(point.out, "device", p->forward->device);
    tag(point.out, "id", e->id);
    tag(point.out, "severity", sink_severity_name(e->severity));
    field_text(&point, "text", e->text);
    field_text(&point, "channel", e->channel);
    field_f64(&point, "value", e->value);
    field_i64(&point, "number", p->forward->last);
    end_point(&point, e->wall_us, (unsigned)(p->forward->last % 1000));
}

static void put_health(const struct place *p, const Weir__V1__Health *h)
{
    struct point point = {.out = &p->l->out};
    put_measurement(p->l, point.out, "_health");
    tag(point.out, "device", p->forward->device);
    field_i64(&point, "uptime_s", h->uptime_s);
    field_i64(&point, "rss_bytes", h->rss_bytes);
    field_i64(&point, "store_used_bytes", h->store_used_bytes);
    field_i64(&point, "store_cap_bytes", h->store_cap_bytes);
    field_i64(&point, "records", h->records);
    field_i64(&point, "gaps", h->gaps);
    field_i64(&point, "connects", h->connects);
    field_i64(&point, "samples", h->samples);
    end_point(&point, h->wall_us, 0);
}

static void put_inference(const struct place *p, const Weir__V1__Inference *i)
{
    struct point point = {.out = &p->l->out};
    char model[24];
    snprintf(model, sizeof(model), "%016" PRIx64, i->model);
    put_measurement(p->l, point.out, "_inference");
    tag(point.out, "answered_by", sink_answered_by_name(i->by));
    tag(point.out, "asked", sink_asked_name(i->asked));
    tag(point.out, "device", p->forward->device);
    tag(point.out, "label", i->label);
    tag(point.out, "model", model);
    field_i64(&point, "answer", i->answer);
    field_f64(&point, "confidence", (double)i->confidence);
    field_f64(&point, "score", (double)i->score);
    field_i64(&point, "repeats", i->repeats);
    field_i64(&point, "skipped", i->skipped);
    if (i->asked != WEIR__V1__ASKED__NOT_ASKED) {
        field_i64(&point, "own_answer", i->own_answer);
        field_f64(&point, "own_confidence", (double)i->own_confidence);
        field_i64(&point, "took_ms", i->took_ms);
    }
    field_i64(&point, "number", p->forward->last);
    end_point(&point, i->wall_us, 0);
}

static void put_range(const struct place *p, const char *suffix, const char *key, const char *value)
{
    const struct wire_forward *f = p->forward;
    struct point point = {.out = &p->l->out};
    char text[24];
    put_measurement(p->l, point.out, suffix);
    tag(point.out, "device", f->device);
    snprintf(text, sizeof(text), "%016" PRIx64, f->epoch);
    tag(point.out, "epoch", text);
    snprintf(text, sizeof(text), "%u", f->lane);
    tag(point.out, "lane", text);
    tag(point.out, key, value);
    field_i64(&point, "first", f->first);
    field_i64(&point, "last", f->last);
    field_i64(&point, "records", f->last - f->first + 1);
    end_point(&point, f->received_us, (unsigned)(f->first % 1000));
}

static enum err put_curated(struct place *p)
{
    const Weir__V1__Curated *curated = p->l->reader->curated;
    for (size_t i = 0; i < curated->n_window; i++) {
        put_window(p, curated, curated->window[i]);
    }
    return sink_reader_foreach(p->l->reader, put_reading, p);
}

enum err lines_put(struct lines *l, const struct wire_forward *forward, const char **ret_why)
{
    const struct sink_reader *r = l->reader;
    struct place p = {.l = l, .forward = forward};
    sink_reader_read(l->reader, forward->record);
    *ret_why = "";
    enum err err = r->describe != NULL ? names_learn(l->names, forward->device, r->describe) : OK;
    if (err != OK && err != ERR_FULL) { /* FULL: its channels are called by their places */
        return err;
    }
    switch (r->kind) {
    case SINK_BLOCK:
        return sink_reader_foreach(r, put_reading, &p);
    case SINK_CURATED:
        return put_curated(&p);
    case SINK_EVENT:
        put_event(&p, r->record->event);
        break;
    case SINK_HEALTH:
        put_health(&p, r->record->health);
        break;
    case SINK_INFERENCE:
        put_inference(&p, r->record->inference);
        break;
    case SINK_GAP:
        put_range(&p, "_gap", "reason", sink_reason_name(r->record->gap->reason));
        break;
    case SINK_SUPPRESSED:
        put_range(&p, "_suppressed", "rule", r->record->suppressed->rule);
        break;
    case SINK_DESCRIBE:
        break;
    case SINK_UNREAD:
        *ret_why = "a record of a kind that this version cannot read has no lines";
        return ERR_UNSUPPORTED;
    }
    return buffer_err(&l->out);
}
