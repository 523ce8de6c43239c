/* SPDX-License-Identifier: Apache-2.0 */
/* The records that tell of Linux: the description with its identities, and the state of store and bus. */
#include "device/report/report_internal.h"

enum err report_describe_pack(struct report *r, uint64_t rules, uint32_t *ret_set, struct buffer *out)
{
    compose_text(r->options.software, r->software, sizeof r->software); /* frames carry it as well */
    const struct compose_description description = {
        .channels = r->options.channels,
        .channel_count = r->options.channel_count + r->options.window_channels,
        .config = rules ? mix_u64(r->options.config_hash ^ rules) : r->options.config_hash,
        .model = r->options.model,
        .boot_id = r->boot_id,
        .software = r->options.software,
        .source = r->options.source,
    };
    return compose_describe(&description, ret_set, out);
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
    health.records = r->compose.stats.records;
    health.gaps = r->stats.gap_numbers;
    health.connects = bus.connects;
    health.samples = r->compose.stats.samples;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_HEALTH;
    record.health = &health;
    return wire_record_pack(&record, out);
}
