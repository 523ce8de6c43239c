/* SPDX-License-Identifier: Apache-2.0 */
#include "cloud-bridge/sinks/encode.h"

static void put_time(struct json *j, const char *key, uint64_t wall_us)
{
    char text[SINK_TIME_BYTES];
    sink_time(wall_us, text);
    json_str(j, key, text);
}

/* Names of the columns, where they are known. */
static void put_channels(struct json *j, const struct sink_names *names, const char *device, uint32_t set)
{
    const struct sink_names_set *found = names != NULL ? sink_names_find(names, device, set) : NULL;
    if (found == NULL) {
        return;
    }
    json_array(j, "channels");
    for (size_t i = 0; i < found->count; i++) {
        json_str(j, NULL, found->name[i]);
    }
    json_array_end(j);
    json_array(j, "units");
    for (size_t i = 0; i < found->count; i++) {
        json_str(j, NULL, found->unit[i]);
    }
    json_array_end(j);
}

static void put_block(struct json *j, const struct sink_reader *r)
{
    const Weir__V1__Block *block = r->block;
    uint64_t wall_us = block->wall_us;
    json_u64(j, "set", block->set);
    json_u64(j, "quality", (uint64_t)block->quality);
    json_array(j, "readings");
    for (size_t i = 0; i < r->samples; i++) {
        wall_us += (uint64_t)r->times[i];
        json_object(j, NULL);
        put_time(j, "ts", wall_us);
        json_array(j, "values");
        for (size_t c = 0; c < r->channels; c++) {
            int64_t multiple = r->values[c * r->samples + i];
            if (multiple == BLOCK_MISSING) {
                json_str(j, NULL, NULL);
            } else {
                json_f64(j, NULL, sink_value(multiple, r->resolutions[c]));
            }
        }
        json_array_end(j);
        json_object_end(j);
    }
    json_array_end(j);
}

static void put_describe(struct json *j, const Weir__V1__Describe *d);

static void put_curated(struct json *j, const struct sink_reader *r)
{
    json_hex(j, "rules", r->curated->rules);
    json_array(j, "windows");
    for (size_t i = 0; i < r->curated->n_window; i++) {
        const Weir__V1__Window *w = r->curated->window[i];
        json_object(j, NULL);
        put_time(j, "start", w->start_us);
        json_u64(j, "length_us", w->length_us);
        json_u64(j, "set", r->curated->set);
        json_u64(j, "channel", w->channel);
        json_str(j, "rule", w->rule);
        json_u64(j, "count", w->count);
        json_f64(j, "mean", w->mean);
        json_f64(j, "std", sink_window_std(w));
        json_f64(j, "min", w->min);
        json_f64(j, "max", w->max);
        json_bool(j, "partial", w->partial);
        json_u64(j, "late", w->late);
        double quantiles[SINK_QUANTILES];
        if (sink_window_quantiles(w, quantiles)) {
            for (unsigned q = 0; q < SINK_QUANTILES; q++) {
                json_f64(j, sink_quantile_names[q], quantiles[q]);
            }
        }
        json_object_end(j);
    }
    json_array_end(j);
    if (r->describe != NULL) {
        json_object(j, "describe");
        put_describe(j, r->describe);
        json_object_end(j);
    }
    if (r->block != NULL) {
        put_block(j, r);
    }
}

static void put_describe(struct json *j, const Weir__V1__Describe *d)
{
    json_u64(j, "set", d->set);
    json_hex(j, "config", d->config);
    json_hex(j, "model", d->model);
    json_str(j, "software", d->software);
    json_str(j, "source", d->source);
    json_array(j, "channels");
    for (size_t i = 0; i < d->n_channel; i++) {
        json_object(j, NULL);
        json_str(j, "name", d->channel[i]->name);
        json_str(j, "unit", d->channel[i]->unit);
        json_f64(j, "resolution", d->channel[i]->resolution);
        json_object_end(j);
    }
    json_array_end(j);
}

static void put_event(struct json *j, const Weir__V1__Event *e)
{
    put_time(j, "ts", e->wall_us);
    json_str(j, "severity", sink_severity_name(e->severity));
    json_str(j, "id", e->id);
    json_str(j, "text", e->text);
    json_str(j, "channel", e->channel);
    json_f64(j, "value", e->value);
}

static void put_inference(struct json *j, const Weir__V1__Inference *i)
{
    put_time(j, "ts", i->wall_us);
    json_u64(j, "window_us", i->window_us);
    json_hex(j, "model", i->model);
    json_hex(j, "config", i->config);
    json_u64(j, "answer", i->answer);
    json_str(j, "label", i->label);
    json_f64(j, "confidence", (double)i->confidence);
    json_f64(j, "score", (double)i->score);
    json_str(j, "answered_by", sink_answered_by_name(i->by));
    json_str(j, "engine", i->engine);
    json_str(j, "asked", sink_asked_name(i->asked));
    if (i->asked != WEIR__V1__ASKED__NOT_ASKED) {
        json_hex(j, "own_model", i->own_model);
        json_u64(j, "own_answer", i->own_answer);
        json_f64(j, "own_confidence", (double)i->own_confidence);
        json_u64(j, "took_ms", i->took_ms);
    }
    json_u64(j, "repeats", i->repeats);
    json_u64(j, "skipped", i->skipped);
}

static void put_health(struct json *j, const Weir__V1__Health *h)
{
    put_time(j, "ts", h->wall_us);
    json_u64(j, "uptime_s", h->uptime_s);
    json_u64(j, "rss_bytes", h->rss_bytes);
    json_u64(j, "store_used_bytes", h->store_used_bytes);
    json_u64(j, "store_cap_bytes", h->store_cap_bytes);
    json_u64(j, "records", h->records);
    json_u64(j, "gaps", h->gaps);
    json_u64(j, "connects", h->connects);
    json_u64(j, "samples", h->samples);
}

static void put_unread(struct json *j, const struct sink_reader *r, struct slice record)
{
    static const char hex[] = "0123456789abcdef";
    json_u64(j, "schema", r->schema);
    buffer_put_str(j->out, ",\"record\":\"");
    for (size_t i = 0; i < record.len; i++) {
        buffer_put_u8(j->out, (uint8_t)hex[record.ptr[i] >> 4]);
        buffer_put_u8(j->out, (uint8_t)hex[record.ptr[i] & 15]);
    }
    buffer_put_str(j->out, "\"");
}

void sink_record_json(struct json *j, const struct sink_reader *r, const struct wire_forward *fw,
                      const struct sink_names *names)
{
    json_str(j, "gateway", fw->gateway);
    put_time(j, "received", fw->received_us);
    switch (r->kind) {
    case SINK_BLOCK:
        put_channels(j, names, fw->device, r->block->set);
        put_block(j, r);
        break;
    case SINK_EVENT:
        put_event(j, r->record->event);
        break;
    case SINK_HEALTH:
        put_health(j, r->record->health);
        break;
    case SINK_GAP:
        json_str(j, "reason", sink_reason_name(r->record->gap->reason));
        break;
    case SINK_SUPPRESSED:
        json_str(j, "rule", r->record->suppressed->rule);
        json_u64(j, "rule_version", r->record->suppressed->rule_version);
        break;
    case SINK_DESCRIBE:
        put_describe(j, r->record->describe);
        break;
    case SINK_CURATED:
        put_channels(j, names, fw->device, r->block != NULL ? r->block->set : r->curated->set);
        put_curated(j, r);
        break;
    case SINK_INFERENCE:
        put_inference(j, r->record->inference);
        break;
    case SINK_UNREAD:
        put_unread(j, r, fw->record);
        break;
    }
}
