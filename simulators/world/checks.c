/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is checked from outside while the world runs:
 *   I5   at every hop, every few events: acked (at the sender) <= hwm (at the receiver) <= durable (at the sender)
 *   I10  on every Ack as it is published: what it acknowledges would survive a power cut of its author at this moment
 *   I6   no disk beyond its cap
 * and the digest of everything that happens. The excuses of I5 are those of core/window/window.h: an old image is not
 * found out before it is heard, a receiver that lost its store not before its senders speak.
 */
#include <stdarg.h>
#include <stdio.h>

#include "core/base/cursor.h"
#include "gateway/uplink/uplink.h"
#include "proto/receive/receive.h"
#include "proto/topic/topic.h"
#include "proto/wire/wire.h"
#include "simulators/world/world_internal.h"

enum { COMPLAINTS_MAX = 8000, SPOOL_KEY_BYTES = 17, SPOOL_HEAD_BYTES = 13 };
#define LATE_ACKS_US (10 * SECOND_US) /* longer than anything is under way in a hub */

void world_complain(struct world *w, const char *fmt, ...)
{
    if (w->complaints.len > COMPLAINTS_MAX) {
        return;
    }
    char text[400];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    buffer_printf(&w->complaints, "%.6fs %s\n", (double)world_now_us(w) / 1e6, text);
}

/* ---- digest ---- */
uint64_t checks_hash(uint64_t seed, struct slice bytes)
{
    uint64_t h = mix_u64(seed ^ bytes.len);
    size_t at = 0;
    for (; at + 8 <= bytes.len; at += 8) {
        uint64_t word;
        memcpy(&word, bytes.ptr + at, 8);
        h = (h ^ word) * UINT64_C(0x9fb21c651e98df25);
        h ^= h >> 32;
    }
    uint64_t rest = 0;
    if (at < bytes.len) {
        memcpy(&rest, bytes.ptr + at, bytes.len - at);
    }
    return mix_u64(h ^ rest);
}

void checks_digest(struct world *w, uint64_t value)
{
    w->digest = mix_u64(w->digest ^ mix_u64(value ^ (uint64_t)world_now_us(w)));
}

/* ---- I5 ---- */
void checks_observe(struct node *n)
{
    if (n->kind != NODE_DEVICE || n->agent == NULL) {
        return;
    }
    struct report_stats stats;
    report_stats(agent_report(n->agent), &stats);
    n->dropped = stats.gap_numbers;
    for (uint8_t lane = 0; lane < WORLD_LANES; lane++) {
        n->seen_epoch[lane] = stats.lane[lane].epoch;
        judge_durable(n->world->judge, n, stats.lane[lane].epoch, lane, stats.lane[lane].durable);
    }
}

bool node_lane(const struct node *n, unsigned lane, struct node_lane *ret_lane)
{
    if (n->agent != NULL) {
        struct report_stats stats;
        report_stats(agent_report(n->agent), &stats);
        const struct report_lane_stats *l = &stats.lane[lane];
        *ret_lane = (struct node_lane){.epoch = l->epoch, .acked = l->acked, .durable = l->durable};
        return l->epoch != 0;
    }
    const struct uplink *uplink = n->gateway != NULL ? gateway_uplink(n->gateway) : NULL;
    if (uplink != NULL) {
        struct uplink_stats stats;
        uplink_stats(uplink, &stats);
        const struct uplink_lane_stats *l = &stats.lane[lane];
        *ret_lane = (struct node_lane){.epoch = l->epoch, .acked = l->acked, .durable = l->top};
        return true;
    }
    return false;
}

struct inbox *node_inbox(struct node *n)
{
    return n->gateway != NULL ? gateway_inbox(n->gateway) : n->bridge != NULL ? bridge_inbox(n->bridge) : NULL;
}

static void check_hop(struct node *n, unsigned lane, struct inbox *inbox)
{
    struct world *w = n->world;
    struct node_excuse *excuse = &n->excuse[lane];
    struct node_lane l;
    if (!node_lane(n, lane, &l)) {
        return;
    }
    const struct window_stream *s = inbox_stream(inbox, n->name, l.epoch);
    uint64_t hwm = s ? s->hwm : 0;
    bool low = l.acked > hwm, high = hwm > l.durable && excuse->forked_epoch != l.epoch;
    bool excused = excuse->behind;
    excuse->behind = excuse->behind && (low || world_now_us(w) < excuse->behind_until_us);
    if ((s == NULL || !s->closed) && ((low && !excused) || high)) {
        w->order_broken++;
        world_complain(w, "order: %s lane %u epoch %016llx: acked %llu, at %s %llu, durable %llu", n->name, lane,
                       (unsigned long long)l.epoch, (unsigned long long)l.acked, n->parent->name,
                       (unsigned long long)hwm, (unsigned long long)l.durable);
    }
}

void checks_order(struct world *w)
{
    for (size_t i = 0; i < w->count; i++) {
        struct node *n = &w->nodes[i];
        struct inbox *inbox = n->parent != NULL ? node_inbox(n->parent) : NULL;
        for (unsigned lane = 0; inbox != NULL && lane < WORLD_LANES; lane++) {
            check_hop(n, lane, inbox);
        }
    }
}

/* ---- I6 ---- */
void checks_disks(struct world *w)
{
    for (size_t i = 0; i < w->count; i++) {
        struct node *n = &w->nodes[i];
        uint64_t used = store_disk_used(n->disk);
        w->max_disk_bytes = max_u64(w->max_disk_bytes, used);
        if (!node_alive(n)) {
            continue;
        }
        struct store_usage usage;
        store_usage(n->store, &usage);
        if (used > usage.cap_bytes) {
            w->over_cap++;
            world_complain(w, "over the cap: %s uses %llu of %llu bytes", n->name, (unsigned long long)used,
                           (unsigned long long)usage.cap_bytes);
        }
    }
}

/* ---- I10, and forged acknowledgements ---- */

/* The mark that a power cut of the receiver would leave. */
static uint64_t durable_mark(const struct node *receiver, const char *sender, uint64_t epoch)
{
    uint8_t key[ID_MAX + 1 + 8];
    size_t len = strlen(sender);
    uint64_t epoch_be = __builtin_bswap64(epoch), told;
    memcpy(key, sender, len + 1);
    memcpy(key + len + 1, &epoch_be, sizeof(epoch_be));
    struct slice k = slice_of(key, len + 1 + sizeof(epoch_be)), value;
    char name[ID_MAX + 1];
    struct window_stream s;
    if (store_disk_get(receiver->disk, GATEWAY_TABLE_STREAMS, k, &value) != OK ||
        inbox_record_parse(k, value, name, &told, &s) != OK) {
        return 0;
    }
    return s.hwm;
}

static void check_ack(struct node *receiver, const struct topic *topic, struct slice payload)
{
    struct world *w = receiver->world;
    struct wire_ack ack;
    if (wire_ack_decode(payload, &ack) != OK) {
        return;
    }
    uint64_t mark = durable_mark(receiver, topic->device, ack.epoch);
    if (ack.hwm > mark) {
        w->acked_early++;
        world_complain(w, "acknowledged early: %s tells %s %llu, durable is %llu", receiver->name, topic->device,
                       (unsigned long long)ack.hwm, (unsigned long long)mark);
    }
}

static void forge_ack(struct node *receiver, const struct topic *topic, struct slice payload)
{
    struct world *w = receiver->world;
    static struct wire_entry entries[WIRE_RECORDS_MAX];
    struct wire_frame frame;
    if (wire_frame_decode(payload, false, &frame, entries, COUNT_OF(entries), NULL) != OK) {
        return;
    }
    const struct wire_ack ack = {.epoch = frame.header.epoch,
                                 .boot = frame.header.boot,
                                 .lane = frame.header.lane,
                                 .hwm = frame.header.last,
                                 .verdict = WINDOW_ACCEPT};
    char text[TOPIC_MAX + 1];
    topic_format(topic->site, topic->gateway, topic->device, TOPIC_ACK, text);
    buffer_reset(&w->ack);
    wire_ack_encode(&ack, &w->ack);
    bus_hub_inject(receiver->hub, slice_str(text), buffer_slice(&w->ack));
}

static void on_publish(void *arg, const char *client_id, struct slice topic, struct slice payload)
{
    struct node *n = arg;
    struct topic t;
    checks_digest(n->world, checks_hash(checks_hash(1, topic), payload));
    if (topic_parse(topic, &t) != OK || strcmp(t.gateway, n->name) != 0) {
        return;
    }
    if (t.channel == TOPIC_ACK && strcmp(client_id, n->name) == 0) {
        check_ack(n, &t, payload);
    } else if (t.channel == TOPIC_TELE && n->world->options.mistake == WORLD_MISTAKE_TRIM_BEFORE_ACK) {
        forge_ack(n, &t, payload);
    }
}

void checks_watch_hub(struct node *n)
{
    bus_hub_watch(n->hub, on_publish, n);
}

/* ---- what disks take in ---- */
struct entry {
    uint8_t lane;
    uint64_t epoch, first, last;
    struct slice body;
};

/* Key: lane u8 | epoch u64be | last u64be; value: format u8 | first u64le | crc32c u32le | body (spool.h). */
static bool entry_of(struct slice key, struct slice value, struct entry *ret)
{
    if (key.len != SPOOL_KEY_BYTES || value.len <= SPOOL_HEAD_BYTES || key.ptr[0] >= 2 * WORLD_LANES) {
        return false;
    }
    struct cursor k = cursor_of(key), v = cursor_of(value);
    ret->lane = cursor_u8(&k) % WORLD_LANES; /* curated lanes stand behind the raw ones, with epochs of their own */
    ret->epoch = cursor_u64be(&k);
    ret->last = cursor_u64be(&k);
    (void)cursor_u8(&v);
    ret->first = cursor_u64le(&v);
    (void)cursor_u32le(&v);
    ret->body = cursor_bytes(&v, cursor_left(&v));
    return true;
}

static enum manifest_what what_of(struct slice record)
{
    return ledger_counts(record)     ? MANIFEST_RECORD
           : ledger_is_range(record) || ledger_is_curated(record) ? MANIFEST_RANGE
                                     : MANIFEST_OTHER;
}

static void on_device_put(struct node *n, const struct entry *e, bool undone)
{
    struct world *w = n->world;
    struct manifest_line line = {.first = e->first,
                                 .last = e->last,
                                 .what = what_of(e->body),
                                 .from = (uint16_t)node_index(n),
                                 .from_lane = e->lane,
                                 .from_epoch = e->epoch,
                                 .from_first = e->first,
                                 .from_last = e->last};
    checks_digest(w, checks_hash(2 + undone, e->body));
    if (line.what == MANIFEST_RECORD) {
        line.content = ledger_key(node_index(n), e->body);
        line.samples = (uint16_t)curated_samples(e->body, &line.wall_us);
        (undone ? ledger_undone : ledger_durable)(w->ledger, node_index(n), e->body);
    }
    if (!undone) {
        manifest_put(w->manifest, node_index(n), e->lane, e->epoch, &line);
    }
}

static void on_gateway_put(struct node *n, const struct entry *e)
{
    struct world *w = n->world;
    struct wire_forward f;
    const struct node *from = wire_forward_decode(e->body, &f) == OK ? world_node(w, f.device) : NULL;
    if (from == NULL) {
        return;
    }
    struct manifest_line line = {.first = e->first,
                                 .last = e->last,
                                 .what = what_of(f.record),
                                 .hop = receive_is_hop(&f),
                                 .from = (uint16_t)node_index(from),
                                 .from_lane = f.lane,
                                 .from_epoch = f.epoch,
                                 .from_first = f.first,
                                 .from_last = f.last};
    line.content = line.what == MANIFEST_RECORD ? ledger_key(node_index(from), f.record) : 0;
    manifest_put(w->manifest, node_index(n), e->lane, e->epoch, &line);
}

/* A lane's record: version u8 | epoch u64le | trimmed | origin | key epoch | shift | crc (core/spool/spool.h). */
static void on_lane(struct node *n, struct slice key, struct slice value)
{
    if (key.len != 7 || memcmp(key.ptr, "spool/", 6) != 0 || value.len == 0 || value.ptr[0] != 2) {
        return;
    }
    struct cursor c = cursor_of(value);
    (void)cursor_u8(&c);
    uint64_t epoch = cursor_u64le(&c);
    (void)cursor_bytes(&c, 16);
    uint64_t key_epoch = cursor_u64le(&c), shift = cursor_u64le(&c);
    manifest_alias(n->world->manifest, node_index(n), key.ptr[6] % WORLD_LANES, epoch, key_epoch, shift);
}

static void on_put(void *arg, unsigned table, struct slice key, struct slice value, bool undone)
{
    struct node *n = arg;
    struct entry e;
    if (table == REPORT_TABLE_META && !undone) { /* the second of every store */
        on_lane(n, key, value);
    }
    if (table != REPORT_TABLE_SPOOL || !entry_of(key, value, &e)) { /* the spool's table is the first of every store */
        return;
    }
    if (n->kind == NODE_DEVICE) {
        on_device_put(n, &e, undone);
    } else if (!undone) {
        on_gateway_put(n, &e);
    }
}

void checks_watch_disk(struct node *n)
{
    store_disk_watch(n->disk, on_put, n);
}

static bool record_of(struct slice key, struct slice value, struct slice *ret_record)
{
    struct entry e;
    if (!entry_of(key, value, &e) || !ledger_counts(e.body)) {
        return false;
    }
    *ret_record = e.body;
    return true;
}

static void entry_gone(void *arg, struct slice key, struct slice value)
{
    struct node *n = arg;
    struct slice record;
    if (record_of(key, value, &record)) {
        ledger_gone(n->world->ledger, node_index(n), record);
    }
}

static void entry_back(void *arg, struct slice key, struct slice value)
{
    struct node *n = arg;
    struct slice record;
    if (record_of(key, value, &record)) {
        ledger_durable(n->world->ledger, node_index(n), record);
    }
}

/* Children of a receiver whose store goes back. */
static void excuse_children(struct node *n)
{
    struct world *w = n->world;
    for (size_t i = 0; i < w->count; i++) {
        for (unsigned lane = 0; w->nodes[i].parent == n && lane < WORLD_LANES; lane++) {
            w->nodes[i].excuse[lane].behind = true;
            w->nodes[i].excuse[lane].behind_until_us = world_now_us(w) + LATE_ACKS_US;
        }
    }
}

/* Epochs that the lanes have on a disk: the key is lane | epoch | last. */
struct image_epochs {
    uint64_t epoch[WORLD_LANES];
};

static void find_epoch(void *arg, struct slice key, struct slice value)
{
    struct image_epochs *found = arg;
    if (key.len == 7 && memcmp(key.ptr, "spool/", 6) == 0 && key.ptr[6] < 2 * WORLD_LANES && value.len >= 9) {
        /* in key order: what goes up is the last that is there */
        /* core/spool: version u8, epoch u64le */
        memcpy(&found->epoch[key.ptr[6] % WORLD_LANES], value.ptr + 1, sizeof(uint64_t));
    }
}

void checks_disk_gone(struct node *n, const struct store_disk *image)
{
    struct image_epochs epochs = {{0}};
    excuse_children(n);
    if (image != NULL) { /* the meta table is the second of every store */
        store_disk_foreach(image, REPORT_TABLE_META, find_epoch, &epochs);
    }
    for (uint8_t lane = 0; lane < WORLD_LANES; lane++) {
        n->excuse[lane].forked_epoch = epochs.epoch[lane];
        if (n->kind == NODE_DEVICE) {
            judge_excuse(n->world->judge, n, n->seen_epoch[lane], lane);
            judge_excuse(n->world->judge, n, epochs.epoch[lane], lane);
        }
    }
    if (n->kind == NODE_DEVICE) {
        store_disk_foreach(n->disk, REPORT_TABLE_SPOOL, entry_gone, n);
        if (image != NULL) {
            store_disk_foreach(image, REPORT_TABLE_SPOOL, entry_back, n);
        }
    }
}

/* ---- I9: streams ---- */
struct closing {
    struct world *world;
    struct node *receiver;
    struct buffer *complaints;
    uint64_t unfounded;
};

static void look_at_stream(void *arg, const char *sender, uint64_t epoch, const struct window_stream *s)
{
    struct closing *c = arg;
    struct node *n = world_node(c->world, sender);
    if (s->closed && n != NULL && n->restores == 0) {
        c->unfounded++;
        buffer_printf(c->complaints, "closed without a cause: %s has closed %s %016llx\n", c->receiver->name, sender,
                      (unsigned long long)epoch);
    }
}

uint64_t checks_unfounded(struct world *w, struct buffer *complaints)
{
    struct closing c = {.world = w, .complaints = complaints};
    for (size_t i = 0; i < w->count; i++) {
        c.receiver = &w->nodes[i];
        struct inbox *inbox = node_inbox(c.receiver);
        if (inbox != NULL) {
            inbox_foreach_stream(inbox, look_at_stream, &c);
        }
    }
    return c.unfounded;
}
