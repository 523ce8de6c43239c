/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records that are not blocks. Texts are cut to the wire's limits at a character's border, and bytes that are not
 * UTF-8 become '?': a record that the receiver refuses would be lost to the reader.
 */
#include <math.h>

#include "device/report/report_internal.h"

static size_t utf8_copy(const char *text, char *out, size_t out_size)
{
    struct slice rest = slice_str(text ? text : "");
    size_t len = 0;
    while (rest.len > 0) {
        size_t bytes = utf8_length(rest), used = bytes ? bytes : 1;
        if (len + used >= out_size) {
            break;
        }
        if (bytes > 0) {
            memcpy(out + len, rest.ptr, bytes);
        } else {
            out[len] = '?';
        }
        len += used;
        rest = slice_of(rest.ptr + used, rest.len - used);
    }
    out[len] = '\0';
    return len;
}

static enum err describe_fill(struct report *r, Weir__V1__Describe *d, Weir__V1__ChannelInfo *infos,
                              Weir__V1__ChannelInfo **pointers, struct buffer *out)
{
    for (size_t i = 0; i < r->options.channel_count; i++) {
        const struct sense_channel *c = &r->options.channels[i];
        weir__v1__channel_info__init(&infos[i]);
        infos[i].name = (char *)(uintptr_t)c->name; /* protobuf-c has no const; packing reads only */
        infos[i].unit = (char *)(uintptr_t)c->unit;
        infos[i].resolution = c->resolution;
        pointers[i] = &infos[i];
    }
    d->channel = pointers;
    d->n_channel = r->options.channel_count;
    d->boot_id = r->boot_id;
    d->software = r->software;
    d->source = r->source;
    d->set = wire_describe_set(d);
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_DESCRIBE;
    record.describe = d;
    return wire_record_pack(&record, out);
}

enum err report_describe_pack(struct report *r, uint64_t rules, uint32_t *ret_set, struct buffer *out)
{
    utf8_copy(r->options.software, r->software, sizeof r->software);
    utf8_copy(r->options.source, r->source, sizeof r->source);
    Weir__V1__Describe describe = WEIR__V1__DESCRIBE__INIT;
    describe.config = rules ? mix_u64(r->options.config_hash ^ rules) : r->options.config_hash;
    Weir__V1__ChannelInfo *infos = calloc(r->options.channel_count, sizeof *infos);
    Weir__V1__ChannelInfo **pointers = calloc(r->options.channel_count, sizeof *pointers);
    enum err err = infos && pointers ? describe_fill(r, &describe, infos, pointers, out) : ERR_NOMEM;
    *ret_set = describe.set;
    free(infos);
    free(pointers);
    return err;
}

static Weir__V1__Severity wire_severity(enum report_severity severity)
{
    switch (severity) {
    case REPORT_INFO:
        return WEIR__V1__SEVERITY__INFO;
    case REPORT_WARNING:
        return WEIR__V1__SEVERITY__WARNING;
    case REPORT_ALARM:
        return WEIR__V1__SEVERITY__ALARM;
    }
    return WEIR__V1__SEVERITY__INFO;
}

enum err report_event_pack(struct report *r, enum report_severity severity, const char *id, const char *text,
                           const char *channel, double value, struct buffer *out)
{
    char id_copy[WIRE_NAME_MAX + 1], text_copy[WIRE_TEXT_MAX + 1], channel_copy[WIRE_NAME_MAX + 1];
    if (utf8_copy(id, id_copy, sizeof id_copy) == 0) {
        return ERR_RANGE;
    }
    utf8_copy(text, text_copy, sizeof text_copy);
    utf8_copy(channel, channel_copy, sizeof channel_copy);
    Weir__V1__Event event = WEIR__V1__EVENT__INIT;
    event.id = id_copy;
    event.severity = wire_severity(severity);
    event.wall_us = report_wall_us(r);
    event.mono_us = (uint64_t)loop_now_us(r->loop);
    event.text = text_copy;
    event.channel = channel_copy;
    event.value = isinf(value) ? NAN : value; /* NaN says that there is none */
    event.set = r->set;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_EVENT;
    record.event = &event;
    return wire_record_pack(&record, out);
}

enum err report_health_pack(struct report *r, uint64_t rss_bytes, struct buffer *out)
{
    struct store_usage usage;
    struct bus_stats bus;
    store_usage(r->store, &usage);
    bus_stats(r->bus, &bus);
    Weir__V1__Health health = WEIR__V1__HEALTH__INIT;
    health.wall_us = report_wall_us(r);
    health.uptime_s = (uint64_t)((loop_now_us(r->loop) - r->started_us) / SECOND_US);
    health.rss_bytes = rss_bytes;
    health.store_used_bytes = usage.used_bytes;
    health.store_cap_bytes = usage.cap_bytes;
    health.records = r->stats.records;
    health.gaps = r->stats.gap_numbers;
    health.connects = bus.connects;
    health.samples = r->stats.samples;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_HEALTH;
    record.health = &health;
    return wire_record_pack(&record, out);
}
