/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One function a section. A formula shows the numbers that model.c has put in: change both together.
 */
#include "simulators/size/lines.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

const char *const line_bound_names[SIZE_BOUNDS] = {
    [SIZE_BY_BROKER] = "broker_cpu", [SIZE_BY_GATEWAY] = "gateway_cpu", [SIZE_BY_CONNECTIONS] = "connections",
    [SIZE_BY_FLEET] = "fleet_max",   [SIZE_BY_FLUSHES] = "flushes",     [SIZE_BY_UPLINK] = "uplink"};

/* ---- numbers for people ---- */

/* 1234567 -> 1,234,567 */
static struct line_text grouped(double value)
{
    char digits[40];
    struct line_text out = {.t = ""};
    int len = snprintf(digits, sizeof digits, "%.0f", value), at = 0;
    for (int i = 0; i < len && at < (int)sizeof out.t - 2; i++) {
        if (i > 0 && (len - i) % 3 == 0 && digits[i - 1] != '-') {
            out.t[at++] = ',';
        }
        out.t[at++] = digits[i];
    }
    out.t[at] = '\0';
    return out;
}

static struct line_text plain(double value)
{
    struct line_text out;
    if (isinf(value)) {
        snprintf(out.t, sizeof out.t, "no bound");
    } else if (value >= 1000) {
        return value < 1e15 ? grouped(value) : (snprintf(out.t, sizeof out.t, "%.3g", value), out);
    } else {
        snprintf(out.t, sizeof out.t, value >= 100 || value == floor(value) ? "%.0f" : "%.3g", value);
    }
    return out;
}

struct scale {
    double from;
    const char *word;
};
static const struct scale times_of_day[] = {
    {365.25 * 86400, "years"}, {2 * 86400, "d"}, {2 * 3600, "h"}, {120, "min"}, {1, "s"}, {1e-3, "ms"}, {0, "us"}};
static const double second_of[] = {365.25 * 86400, 86400, 3600, 60, 1, 1e-3, 1e-6};
static const struct scale sizes[] = {
    {0x1p50, "PiB"}, {0x1p40, "TiB"}, {0x1p30, "GiB"}, {0x1p20, "MiB"}, {0x1p10, "KiB"}};

static struct line_text seconds(double s)
{
    struct line_text out;
    if (isinf(s)) {
        snprintf(out.t, sizeof out.t, "for ever");
    } else if (s == 0) {
        snprintf(out.t, sizeof out.t, "0 s");
    } else {
        size_t i = 0;
        while (s < times_of_day[i].from) {
            i++;
        }
        snprintf(out.t, sizeof out.t, "%.36s %s", plain(s / second_of[i]).t, times_of_day[i].word);
    }
    return out;
}

static struct line_text bytes(double n, const char *per)
{
    struct line_text out;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        if (!isinf(n) && n >= sizes[i].from) {
            snprintf(out.t, sizeof out.t, "%.3g %s%s", n / sizes[i].from, sizes[i].word, per);
            if (n / sizes[i].from >= 999.5) {
                snprintf(out.t, sizeof out.t, "%.0f %s%s", n / sizes[i].from, sizes[i].word, per);
            }
            return out;
        }
    }
    snprintf(out.t, sizeof out.t, isinf(n) ? "%s" : "%s B%s", plain(n).t, per);
    return out;
}

struct line_text line_value(enum line_unit unit, double value)
{
    struct line_text out;
    switch (unit) {
    case LINE_COUNT:
        return plain(value);
    case LINE_BYTES:
        return bytes(value, "");
    case LINE_BYTES_PER_S:
        return bytes(value, "/s");
    case LINE_SECONDS:
        return seconds(value);
    case LINE_PER_S:
        snprintf(out.t, sizeof out.t, "%.36s /s", plain(value).t);
        return out;
    case LINE_TIMES:
        snprintf(out.t, sizeof out.t, "%.36s times", plain(value).t);
        return out;
    }
    return plain(value);
}

#define N(value) plain(value).t
#define B(value) bytes(value, "").t
#define R(value) bytes(value, "/s").t
#define T(value) seconds(value).t

/* ---- lines ---- */

static void PRINTF_LIKE(7, 8) add(struct lines *l, const char *section, const char *key, enum line_unit unit,
                                  double value, const char *label, const char *formula, ...)
{
    if (l->count == LINES_MAX) {
        return;
    }
    struct line *line = &l->line[l->count++];
    *line = (struct line){.section = section, .key = key, .label = label, .unit = unit, .value = value};
    va_list args;
    va_start(args, formula);
    vsnprintf(line->formula, sizeof line->formula, formula, args);
    va_end(args);
}

static void record_lines(const struct size_input *in, const struct size_constants *c, const struct size_answer *a,
                         struct lines *l)
{
    const char *s = "record";
    add(l, s, "samples", LINE_COUNT, a->samples_per_record, "samples in a record",
        a->closed_by_age ? "max_age %s / period %s, rounded down, + 1 (before report.samples %s are together)"
                         : "max_age %s / period %s allow more than report.samples %s",
        T(in->max_age_s), T(in->period_s), N(in->samples));
    if (in->record_bytes > 0) {
        add(l, s, "bytes", LINE_BYTES, a->block_bytes, "bytes of a record", "given or measured");
    } else {
        add(l, s, "bytes", LINE_BYTES, a->block_bytes, "bytes of a record",
            "%s + %s channels x (%s + %s samples x %s B) + %s B of times", N(c->of[SIZE_RECORD_HEAD].value),
            N(in->channels), N(c->of[SIZE_COLUMN_BYTES].value), N(a->samples_per_record),
            N(c->of[SIZE_VALUE_BYTES].value), N(a->times_bytes));
    }
    add(l, s, "per_s", LINE_PER_S, a->records_per_s, "records a device makes",
        in->health_s > 0 ? "1 / (%s samples x %s) + 1.5 / health %s" : "1 / (%s samples x %s)",
        N(a->samples_per_record), T(in->period_s), T(in->health_s));
    add(l, s, "mean_bytes", LINE_BYTES, a->record_bytes, "mean bytes, health and descriptions with them",
        "(%s blocks/s x %s B + the others) / %s records/s", N(a->blocks_per_s), N(a->block_bytes), N(a->records_per_s));
    add(l, s, "stored_bytes", LINE_BYTES, a->device_bulk.entry.bytes, "bytes in a store", "%s + %d key and head%s",
        N(a->device_bulk.entry.body), SIZE_ENTRY_BYTES, in->sealed ? " + 28 nonce and tag" : "");
    const struct size_entry *e = &a->device_bulk.entry;
    add(l, s, "page_bytes", LINE_BYTES, e->page_bytes, "bytes of LMDB's pages",
        e->per_page > 0 ? "4,096 / %s entries a page + branches; filled %s"
                        : "pages of its own (over 2,000 B)%.0s; filled %s",
        N(e->per_page), line_value(LINE_COUNT, e->bytes / e->page_bytes).t);
}

static void device_lines(const struct size_input *in, const struct size_answer *a, struct lines *l)
{
    const char *s = "device";
    const struct size_lane *bulk = &a->device_bulk, *alarm = &a->device_alarm;
    double cap = SIZE_CAP * in->device_store;
    add(l, s, "records_by_bytes", LINE_COUNT, bulk->by_bytes, "records that fit, by the lane's bytes",
        in->device_bulk > 0 ? "report.bulk %s / %s B" : "0.85 x 0.90 x %s / %s B",
        B(in->device_bulk > 0 ? in->device_bulk : in->device_store), N(bulk->entry.bytes));
    add(l, s, "records_by_pages", LINE_COUNT, bulk->by_pages, "records that fit, by pages",
        "(0.92 x 0.90 x %s - %s) / %s B", B(in->device_store), B(SIZE_FIXED_PAGES * SIZE_PAGE),
        N(bulk->entry.page_bytes));
    add(l, s, "buffer_s", LINE_SECONDS, bulk->lasts_s, "buffer lasts", "%s records (the fewer) / %s /s",
        N(bulk->records), N(a->records_per_s));
    add(l, s, "alarm_buffer_s", LINE_SECONDS, alarm->lasts_s, "alarms' own buffer lasts",
        "min(0.05 x %s / %s B, 0.08 x %s / %s B) = %s alarms / %s a day", B(cap), N(alarm->entry.bytes), B(cap),
        N(alarm->entry.page_bytes), N(alarm->records), N(a->alarms_per_s * 86400));
    const struct size_link *k = &a->device_link;
    add(l, s, "link_up", LINE_BYTES_PER_S, k->up, "live traffic up",
        "%s frames/s x %s B + %s answers/s x %s TCP; QoS 0, keep-alive %s", N(k->frames_per_s), N(k->frame_bytes),
        N(k->acks_per_s), B(in->packet_bytes), T(in->keepalive_s));
    add(l, s, "link_down", LINE_BYTES_PER_S, k->down, "live traffic down", "%s answers/s x %s B", N(k->acks_per_s),
        N(k->ack_bytes));
    add(l, s, "link_month", LINE_BYTES, k->up_month + k->down_month, "a month on its link", "(%s + %s) x 30 d",
        R(k->up), R(k->down));
    add(l, s, "commits_per_s", LINE_PER_S, a->device_commits_per_s, "commits",
        "one a record and alarm, 1 / flush %s at most", T(in->device_flush_s));
    add(l, s, "written_day", LINE_BYTES, a->device_written_day, "written to its disk in a day",
        "%s commits/s x %s pages x 4,096 x 86,400", N(a->device_commits_per_s), N(a->device_commit_pages));
    add(l, s, "rewrites_year", LINE_TIMES, a->device_rewrites_year, "its store rewritten in a year", "%s x 365 / %s",
        B(a->device_written_day), B(in->device_store));
}

static void fleet_lines(const struct size_input *in, const struct size_constants *c, const struct size_answer *a,
                        struct lines *l)
{
    const char *s = "fleet";
    const double *n = a->devices_max;
    double each = a->records_per_s + a->alarms_per_s;
    add(l, s, "by_broker_cpu", LINE_COUNT, n[SIZE_BY_BROKER], "devices a gateway, by the broker's processor",
        "1 / (headroom %s x %s s x %s frames/s)", N(in->headroom), N(c->of[SIZE_BROKER_CPU].value), N(each));
    add(l, s, "by_gateway_cpu", LINE_COUNT, n[SIZE_BY_GATEWAY], "... by the gateway's",
        "1 / (headroom %s x (%s + %s) s x %s records/s)", N(in->headroom), N(c->of[SIZE_GATEWAY_CPU].value),
        N(c->of[SIZE_UPLINK_CPU].value), N(each));
    add(l, s, "by_connections", LINE_COUNT, n[SIZE_BY_CONNECTIONS], "... by connections", "0.95 x %s descriptors",
        N(in->descriptors));
    add(l, s, "by_fleet_max", LINE_COUNT, n[SIZE_BY_FLEET], "... by the gateway's table",
        "gateway/fleet: FLEET_DEVICES_MAX");
    add(l, s, "by_flushes", LINE_COUNT, n[SIZE_BY_FLUSHES], "... by flushes",
        "%d records / (%s + %d x %s) / headroom / %s /s", SIZE_COMMIT_RECORDS, T(in->gateway_flush_s),
        SIZE_COMMIT_RECORDS, T(c->of[SIZE_STORE_CPU].value), N(each));
    add(l, s, "by_uplink", LINE_COUNT, n[SIZE_BY_UPLINK], "... by the uplink",
        "%s / headroom carries what so many make", R(in->uplink_rate));
    add(l, s, "gateways", LINE_COUNT, a->gateways, "gateways",
        in->gateways > 0 ? "given; %s devices, nearest bound %s by %s" : "%s devices / %s, rounded up (%s)",
        N(in->devices), N(n[a->bound]), line_bound_names[a->bound]);
    add(l, s, "devices_each", LINE_COUNT, a->devices_each, "devices a gateway", "%s / %s", N(in->devices),
        N(a->gateways));
}

static void gateway_lines(const struct size_input *in, const struct size_answer *a, struct lines *l)
{
    const char *s = "gateway";
    const struct size_lane *bulk = &a->gateway_bulk, *alarm = &a->gateway_alarm;
    add(l, s, "records_per_s", LINE_PER_S, a->gateway_rate, "records it takes", "%s devices x %s /s",
        N(a->devices_each), N(a->records_per_s + a->alarms_per_s));
    add(l, s, "page_bytes", LINE_BYTES, bulk->entry.page_bytes, "bytes of a record in its store's pages",
        "%s B with the device's identity and seal", N(bulk->entry.bytes));
    add(l, s, "buffer_s", LINE_SECONDS, bulk->lasts_s, "buffer lasts without its parent",
        "(0.95 x 0.90 x %s - %s - marks %s) / %s B = %s records / %s /s", B(in->gateway_store),
        B(SIZE_FIXED_PAGES * SIZE_PAGE), B(a->stream_bytes), N(bulk->entry.page_bytes), N(bulk->records),
        N(a->devices_each * a->records_per_s));
    add(l, s, "alarm_reserve_s", LINE_SECONDS, alarm->lasts_s, "alarms' reserve lasts when it is full",
        "0.05 x 0.90 x %s / %s B = %s alarms / %s a day", B(in->gateway_store), N(alarm->entry.page_bytes),
        N(alarm->records), N(a->devices_each * a->alarms_per_s * 86400));
    const struct size_link *k = &a->uplink;
    add(l, s, "uplink_up", LINE_BYTES_PER_S, k->up, "live traffic up",
        "%s frames/s x %s B (%s records each) + %s answers/s x %s TCP", N(k->frames_per_s), N(k->frame_bytes),
        N(k->frames_per_s > 0 ? a->gateway_rate / k->frames_per_s : 0), N(k->acks_per_s), B(in->packet_bytes));
    add(l, s, "uplink_down", LINE_BYTES_PER_S, k->down, "live traffic down", "%s answers/s x %s B", N(k->acks_per_s),
        N(k->ack_bytes));
    add(l, s, "uplink_month", LINE_BYTES, k->up_month + k->down_month, "a month on the uplink", "(%s + %s) x 30 d",
        R(k->up), R(k->down));
    add(l, s, "commits_per_s", LINE_PER_S, a->gateway_commits_per_s, "commits", "one a record, 1 / max(%s, %s) at most",
        T(in->commit_delay_s), T(in->gateway_flush_s));
    add(l, s, "written_day", LINE_BYTES, a->gateway_written_day, "written to its disk in a day",
        "%s commits/s x %s pages x 4,096 x 86,400", N(a->gateway_commits_per_s), N(a->gateway_commit_pages));
    add(l, s, "rewrites_year", LINE_TIMES, a->gateway_rewrites_year, "its store rewritten in a year", "%s x 365 / %s",
        B(a->gateway_written_day), B(in->gateway_store));
}

static void drain_lines(const struct size_drain *d, const char *s, struct lines *l)
{
    add(l, s, "backlog", LINE_COUNT, d->backlog, "records to drain", "what is held at the end");
    add(l, s, "drain_per_s", LINE_PER_S, d->rate, "drains at", "min(link %s, window %s, processors %s)", N(d->by_link),
        N(d->by_window), N(d->by_gateway));
    add(l, s, "drain_multiple", LINE_TIMES, d->multiple, "... of the live rate", "%s / %s /s", N(d->rate), N(d->live));
    add(l, s, "drain_s", LINE_SECONDS, d->lasts_s, "drain lasts",
        d->backlog > 0 && d->rate <= d->live ? "%s records, but %s /s is not above the live %s /s"
                                             : "%s records / (%s - %s) /s",
        N(d->backlog), N(d->rate), N(d->live));
}

static void outage_lines(const struct size_input *in, const struct size_answer *a, struct lines *l)
{
    const char *s = "plant_outage";
    add(l, s, "outage_s", LINE_SECONDS, in->outage_s, "a device cut off from its gateway for", "outage");
    add(l, s, "lost_records", LINE_COUNT, a->plant.lost, "records that a device drops and declares",
        "%s made, %s fit, the oldest go a 32nd of the lane at a time", N(in->outage_s * a->records_per_s),
        N(a->device_bulk.records));
    add(l, s, "lost_s", LINE_SECONDS, a->plant.lost_s, "... the oldest part of the outage", "%s / %s /s",
        N(a->plant.lost), N(a->records_per_s));
    drain_lines(&a->plant.drain, s, l);
    s = "uplink_outage";
    add(l, s, "outage_s", LINE_SECONDS, in->outage_s, "a gateway cut off from its parent for", "outage");
    add(l, s, "buffer_s", LINE_SECONDS, a->uplink_out.buffer_s, "first record dropped after",
        "gateway %s, then it pushes back, + device %s", T(a->gateway_bulk.lasts_s), T(a->device_bulk.lasts_s));
    add(l, s, "lost_records", LINE_COUNT, a->uplink_out.lost, "records dropped and declared by its devices",
        "%s devices", N(a->devices_each));
    add(l, s, "lost_s", LINE_SECONDS, a->uplink_out.lost_s, "... the oldest part after the gateway was full",
        "outage %s - %s, a 32nd at a time", T(in->outage_s), T(a->uplink_out.buffer_s));
    drain_lines(&a->uplink_out.drain, s, l);
}

static void question_lines(const struct size_input *in, const struct size_answer *a, struct lines *l)
{
    const char *s = "wanted";
    if (in->wanted_buffer_s > 0) {
        double n = in->wanted_buffer_s * a->records_per_s;
        add(l, s, "device_store", LINE_BYTES, a->wanted_device_store, "device.store for the wanted buffer",
            "max(%s x %s B / 0.85, (%s x %s B + %s) / 0.92) / 0.90", N(n), N(a->device_bulk.entry.bytes), N(n),
            N(a->device_bulk.entry.page_bytes), B(SIZE_FIXED_PAGES * SIZE_PAGE));
        add(l, s, "gateway_store", LINE_BYTES, a->wanted_gateway_store, "gateway.store for the wanted buffer",
            "(%s x %s B + %s + marks %s) / 0.95 / 0.90", N(n * a->devices_each), N(a->gateway_bulk.entry.page_bytes),
            B(SIZE_FIXED_PAGES * SIZE_PAGE), B(a->stream_bytes));
    }
    if (in->wanted_drain_s > 0) {
        const struct size_drain *d = &a->plant.drain, *u = &a->uplink_out.drain;
        const char *form = "(%s + %s / %s) records/s x %s B; window and processors allow %s /s";
        add(l, s, "device_link", LINE_BYTES_PER_S, a->wanted_device_rate, "device.link for the wanted drain", form,
            N(d->live), N(d->backlog), T(in->wanted_drain_s), N(d->link_bytes), N(fmin(d->by_window, d->by_gateway)));
        add(l, s, "uplink_link", LINE_BYTES_PER_S, a->wanted_uplink_rate, "uplink.link for the wanted drain", form,
            N(u->live), N(u->backlog), T(in->wanted_drain_s), N(u->link_bytes), N(fmin(u->by_window, u->by_gateway)));
    }
}

void lines_fill(const struct size_input *in, const struct size_constants *c, const struct size_answer *a,
                struct lines *l)
{
    *l = (struct lines){.count = 0};
    record_lines(in, c, a, l);
    device_lines(in, a, l);
    fleet_lines(in, c, a, l);
    gateway_lines(in, a, l);
    outage_lines(in, a, l);
    question_lines(in, a, l);
    lines_say(in, a, l);
}
