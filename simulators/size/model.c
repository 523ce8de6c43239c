/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The formulas. Each function is one paragraph of the answer; model.h says what they mean, lines.c prints them with
 * their numbers. tests/system/size_agrees holds them against the real programs.
 */
#include "simulators/size/model.h"

#include <math.h>

enum {
    PAGE_HEAD = 16,
    TIMES_HEAD = 4,
    NODE_HEAD = 8,   /* of an LMDB node */
    SLOT = 2,        /* its place in the page's index */
    NODE_MAX = 2038, /* a larger node keeps its value on pages of its own (me_nodemax at 4,096) */
    PAGE_NUMBER = 8,
    KEY = 17,
    BRANCH_FAN = 145,    /* leaves below a branch page, at keys of 17 bytes */
    NUMBER = 4,          /* a record's number in a message: key and a varint up to 2 million */
    FORWARD_FIXED = 39,  /* of a Forward, names and record apart: proto/schema */
    FRAME_FIXED = 28,    /* of a Frame, name and records apart */
    RECORD_IN_FRAME = 3, /* key and length */
    ACK_PAYLOAD = 25,
    TOPIC_TELE = 15,
    TOPIC_UP = 13,
    TOPIC_ACK = 14,  /* weir/v1/S/G/D/tele without the three names */
    TLS_RECORD = 22, /* TLS 1.3: head 5, type 1, tag 16 */
    TLS_RECORD_MAX = 16384,
    SEGMENT = 1448,
    DESCRIBE_FIXED = 60,
    STREAM_FIXED = 8 + 2 + 9 + 54, /* node, slot, key beside the name, state */
    STREAMS_EACH = 2,
    HALF_FILLED = 2, /* entries that are not the table's last leave half-full pages behind */
    MIN_STORE = 1 << 20,
    STORE_STEP = 64 * 1024,
};
#define STREAM_FILL 1.45 /* keys come in no order: pages are 69 % full (Yao 1978) */
#define CONNECTIONS_SHARE 0.95
#define TRIM_DELAY_S 1.0
#define TRIM_WAIT_S 10.0 /* that a device's trim waits for a commit to go with */
#define TRIM_EVERY 256.0
#define DAY_S 86400.0
#define MONTH_S (30 * DAY_S)

/* ---- entries and messages ---- */

static double even(double n)
{
    return 2 * ceil(n / 2);
}

struct size_entry size_entry_of(double body, bool sealed, double page_fill)
{
    double stored = body + (sealed ? SIZE_SEAL_BYTES : 0);
    double value = stored + SIZE_ENTRY_BYTES - KEY;
    double node = NODE_HEAD + KEY + value;
    struct size_entry e = {.body = body, .bytes = stored + SIZE_ENTRY_BYTES};
    if (node <= NODE_MAX) {
        e.per_page = floor((SIZE_PAGE - PAGE_HEAD) / (even(node) + SLOT));
        e.page_bytes = SIZE_PAGE / e.per_page;
    } else {
        double pointers = floor((SIZE_PAGE - PAGE_HEAD) / (even(NODE_HEAD + KEY + PAGE_NUMBER) + SLOT));
        e.page_bytes = SIZE_PAGE * ceil((PAGE_HEAD + value) / SIZE_PAGE) + SIZE_PAGE / pointers;
    }
    e.page_bytes *= page_fill * (1 + 1.0 / BRANCH_FAN);
    return e;
}

double size_forward_bytes(double record_bytes, double name_bytes)
{
    return FORWARD_FIXED + 2 * name_bytes + record_bytes;
}

static double tls_bytes(const struct size_input *in, double packet)
{
    return in->tls ? TLS_RECORD * ceil(packet / TLS_RECORD_MAX) : 0;
}

static double segments(double bytes)
{
    return ceil(bytes / SEGMENT);
}

double size_publish_bytes(const struct size_input *in, double topic, double payload)
{
    double rest = 2 + topic + payload;
    double packet = 1 + (rest < 128 ? 1 : rest < 16384 ? 2 : 3) + rest;
    packet += tls_bytes(in, packet);
    return packet + segments(packet) * in->packet_bytes;
}

static double frame_bytes(const struct size_input *in, double topic, double records, double record_bytes)
{
    return size_publish_bytes(in, topic + 3 * in->name_bytes,
                              FRAME_FIXED + in->name_bytes + records * (record_bytes + RECORD_IN_FRAME));
}

/* ---- a device's records ---- */

static void records(const struct size_input *in, const struct size_constants *c, struct size_answer *a)
{
    double by_age = in->max_age_s > 0 ? floor(in->max_age_s / in->period_s + 1e-9) + 1 : INFINITY;
    a->closed_by_age = by_age < in->samples;
    a->samples_per_record = fmin(in->samples, by_age);
    a->record_s = a->samples_per_record * in->period_s;
    a->has_times = in->jitter_s > in->period_s / 100;
    double frame = c->of[SIZE_RECORD_HEAD].value + in->channels * c->of[SIZE_COLUMN_BYTES].value;
    /* Distances from 0 (the first) to a period and what it strays, each in as many bits as that range takes:
     * proto/block. */
    double range_us = 1e6 * (in->period_s + 2 * in->jitter_s);
    a->times_bytes = a->has_times ? TIMES_HEAD + a->samples_per_record * log2(range_us) / 8 : 0;
    a->block_bytes = in->record_bytes > 0 ? in->record_bytes
                                          : frame + a->times_bytes +
                                                in->channels * a->samples_per_record * c->of[SIZE_VALUE_BYTES].value;
    a->blocks_per_s = 1 / a->record_s;
    double health = in->health_s > 0 ? 1 / in->health_s : 0;
    /* A health report closes the block under construction: half a block more on average, of which only the head counts.
     */
    double small_per_s = 1.5 * health;
    double block_bytes_per_s = a->blocks_per_s * a->block_bytes;
    double other_bytes_per_s = health * (c->of[SIZE_HEALTH_BYTES].value + 0.5 * frame);
    a->records_per_s = a->blocks_per_s + small_per_s;
    other_bytes_per_s +=
        a->records_per_s / SIZE_DESCRIBE_EVERY * (DESCRIBE_FIXED + in->channels * c->of[SIZE_DESCRIBE_BYTES].value);
    a->record_bytes = (block_bytes_per_s + other_bytes_per_s) / a->records_per_s;
    a->alarms_per_s = in->alarms_per_s;
    a->bytes_per_s = a->records_per_s * size_entry_of(a->record_bytes, in->sealed, 1).bytes;
}

/* ---- lanes ---- */

/* The bulk lane's mean entry: what blocks take in pages, and what the small records between them do. extra: bytes that
 * the hop adds to each. */
static struct size_entry bulk_entry(const struct size_input *in, const struct size_constants *c,
                                    const struct size_answer *a, double extra)
{
    double fill = c->of[SIZE_PAGE_FILL].value;
    double block_share = a->blocks_per_s / a->records_per_s;
    struct size_entry block = size_entry_of(a->block_bytes + extra, in->sealed, fill);
    struct size_entry mean = size_entry_of(a->record_bytes + extra, in->sealed, fill);
    if (block_share < 1) {
        double small_body = fmax((a->record_bytes - block_share * a->block_bytes) / (1 - block_share), 1);
        double small = size_entry_of(small_body + extra, in->sealed, fill).page_bytes;
        mean.page_bytes = block_share * block.page_bytes + (1 - block_share) * small;
    } else {
        mean.page_bytes = block.page_bytes;
    }
    mean.per_page = block.per_page;
    return mean;
}

static void settle_lane(struct size_lane *lane, double rate)
{
    lane->by_bytes = fmax(lane->by_bytes, 0);
    lane->by_pages = fmax(lane->by_pages, 0);
    lane->records = fmin(lane->by_bytes, lane->by_pages);
    lane->lasts_s = rate > 0 ? lane->records / rate : INFINITY;
}

static void device_lanes(const struct size_input *in, const struct size_constants *c, struct size_answer *a)
{
    double cap = SIZE_CAP * in->device_store, fixed = SIZE_FIXED_PAGES * SIZE_PAGE;
    struct size_lane *bulk = &a->device_bulk, *alarm = &a->device_alarm;
    bulk->entry = bulk_entry(in, c, a, 0);
    bulk->by_bytes = (in->device_bulk > 0 ? in->device_bulk : SIZE_BULK * cap) / bulk->entry.bytes;
    bulk->by_pages = (SIZE_BULK_PAGES * cap - fixed) / bulk->entry.page_bytes;
    settle_lane(bulk, a->records_per_s);
    alarm->entry = size_entry_of(in->alarm_bytes, in->sealed, HALF_FILLED);
    alarm->by_bytes = SIZE_ALARM * cap / alarm->entry.bytes;
    alarm->by_pages = (1 - SIZE_BULK_PAGES) * cap / alarm->entry.page_bytes;
    settle_lane(alarm, a->alarms_per_s);
}

static void gateway_lanes(const struct size_input *in, const struct size_constants *c, struct size_answer *a)
{
    double cap = SIZE_CAP * in->gateway_store, fixed = SIZE_FIXED_PAGES * SIZE_PAGE;
    struct size_lane *bulk = &a->gateway_bulk, *alarm = &a->gateway_alarm;
    double extra = size_forward_bytes(0, in->name_bytes);
    a->stream_bytes = STREAMS_EACH * a->devices_each * (STREAM_FIXED + in->name_bytes) * STREAM_FILL;
    bulk->entry = bulk_entry(in, c, a, extra);
    bulk->by_bytes = INFINITY;
    bulk->by_pages = ((1 - SIZE_RESERVE) * cap - fixed - a->stream_bytes) / bulk->entry.page_bytes;
    settle_lane(bulk, a->devices_each * a->records_per_s);
    alarm->entry = size_entry_of(in->alarm_bytes + extra, in->sealed, HALF_FILLED);
    alarm->by_bytes = INFINITY;
    alarm->by_pages = SIZE_RESERVE * cap / alarm->entry.page_bytes;
    settle_lane(alarm, a->devices_each * a->alarms_per_s);
}

/* ---- links, live ---- */

/* Traffic of a hop whose frames and answers are known: with the peers' own TCP answers and the keep-alive. */
static void settle_link(const struct size_input *in, struct size_link *l)
{
    l->ack_bytes = size_publish_bytes(in, TOPIC_ACK + 3 * in->name_bytes, ACK_PAYLOAD);
    double frame_segments = in->packet_bytes > 0 ? segments(l->frame_bytes) : 0;
    double pings = in->keepalive_s > 0 ? fmax(1 / in->keepalive_s - l->frames_per_s, 0) : 0;
    double ping = 2 + tls_bytes(in, 2) + 2 * in->packet_bytes;
    l->up = l->frames_per_s * l->frame_bytes + l->acks_per_s * in->packet_bytes + pings * ping;
    l->down =
        l->acks_per_s * l->ack_bytes + l->frames_per_s * floor(frame_segments / 2) * in->packet_bytes + pings * ping;
    l->up_month = l->up * MONTH_S;
    l->down_month = l->down * MONTH_S;
}

static void device_link(const struct size_input *in, struct size_answer *a)
{
    struct size_link *l = &a->device_link;
    l->frames_per_s = a->records_per_s + a->alarms_per_s;
    l->acks_per_s = l->frames_per_s;
    l->frame_bytes = frame_bytes(in, TOPIC_TELE, 1, a->record_bytes);
    settle_link(in, l);
}

/* Records that a full frame of the uplink holds. */
static double uplink_frame(const struct size_input *in, double forward)
{
    return fmax(1, fmin(in->uplink_frame_records, floor(in->uplink_frame_bytes / (forward + RECORD_IN_FRAME))));
}

/* A frame a commit, and commits come commit_delay apart at least; more than a full frame makes two. */
static struct size_link uplink_at(const struct size_input *in, const struct size_answer *a, double rate)
{
    double forward = a->gateway_bulk.entry.body;
    double commits = in->commit_delay_s > 0 ? fmin(rate, 1 / in->commit_delay_s) : rate;
    struct size_link l = {.frames_per_s = fmax(commits, rate / uplink_frame(in, forward))};
    l.acks_per_s = commits;
    l.frame_bytes = l.frames_per_s > 0 ? frame_bytes(in, TOPIC_UP, rate / l.frames_per_s, forward) : 0;
    settle_link(in, &l);
    return l;
}

/* ---- how many gateways ---- */

/* Records a second that one full commit after the other takes; a full one does not wait for the delay. */
static double flush_capacity(const struct size_input *in, const struct size_constants *c)
{
    return SIZE_COMMIT_RECORDS / (in->gateway_flush_s + SIZE_COMMIT_RECORDS * c->of[SIZE_STORE_CPU].value);
}

/* The rate whose uplink traffic is this many bytes/s; it grows with the rate. */
static double uplink_capacity(const struct size_input *in, const struct size_answer *a, double bytes_per_s)
{
    double low = 0, high = 1e12;
    if (isinf(bytes_per_s)) {
        return INFINITY;
    }
    for (int i = 0; i < 200; i++) {
        double middle = (low + high) / 2;
        if (uplink_at(in, a, middle).up > bytes_per_s) {
            high = middle;
        } else {
            low = middle;
        }
    }
    return low;
}

static void gateways(const struct size_input *in, const struct size_constants *c, struct size_answer *a)
{
    double each = a->records_per_s + a->alarms_per_s; /* one record a frame */
    double cpu = c->of[SIZE_GATEWAY_CPU].value + c->of[SIZE_UPLINK_CPU].value;
    double *n = a->devices_max;
    n[SIZE_BY_BROKER] = floor(1 / (in->headroom * c->of[SIZE_BROKER_CPU].value * each));
    n[SIZE_BY_GATEWAY] = floor(1 / (in->headroom * cpu * each));
    n[SIZE_BY_CONNECTIONS] = floor(CONNECTIONS_SHARE * in->descriptors);
    n[SIZE_BY_FLEET] = SIZE_FLEET_MAX;
    n[SIZE_BY_FLUSHES] = floor(flush_capacity(in, c) / (in->headroom * each));
    n[SIZE_BY_UPLINK] = floor(uplink_capacity(in, a, in->uplink_rate / in->headroom) / each);
    a->bound = SIZE_BY_BROKER;
    for (enum size_bound b = 0; b < SIZE_BOUNDS; b++) {
        a->bound = n[b] < n[a->bound] ? b : a->bound;
    }
    a->gateways = in->gateways > 0 ? in->gateways : ceil(in->devices / fmax(n[a->bound], 1));
    a->devices_each = ceil(in->devices / a->gateways);
    a->gateway_rate = a->devices_each * each;
}

/* ---- drains ---- */

static void settle_drain(struct size_drain *d)
{
    d->rate = fmin(d->by_link, fmin(d->by_window, d->by_gateway));
    d->multiple = d->live > 0 ? d->rate / d->live : INFINITY;
    d->lasts_s = d->backlog <= 0 ? 0 : d->rate > d->live ? d->backlog / (d->rate - d->live) : INFINITY;
}

/* All devices of a gateway drain at the same time. */
static void device_drain(const struct size_input *in, const struct size_constants *c, const struct size_answer *a,
                         double backlog, struct size_drain *d)
{
    double body = a->record_bytes + RECORD_IN_FRAME;
    d->frame_records = fmax(1, fmin(SIZE_DEVICE_FRAME_RECORDS, floor(SIZE_DEVICE_FRAME_BYTES / body)));
    d->link_bytes = frame_bytes(in, TOPIC_TELE, d->frame_records, a->record_bytes) / d->frame_records;
    d->by_link = in->device_rate / d->link_bytes;
    double frames = fmax(1, fmin(in->device_frames, floor(SIZE_DEVICE_WINDOW_BYTES / (d->frame_records * body))));
    d->by_window = frames * d->frame_records / (in->device_rtt_s + in->commit_delay_s + in->gateway_flush_s);
    double broker = d->frame_records / c->of[SIZE_BROKER_CPU].value, gateway = 1 / c->of[SIZE_GATEWAY_CPU].value;
    d->by_gateway = fmin(fmin(broker, gateway), flush_capacity(in, c)) / a->devices_each;
    d->live = a->records_per_s;
    d->backlog = backlog;
    settle_drain(d);
}

/* What comes in meanwhile costs the gateway's processor as well. */
static void uplink_drain(const struct size_input *in, const struct size_constants *c, const struct size_answer *a,
                         double backlog, struct size_drain *d)
{
    double forward = a->gateway_bulk.entry.body;
    d->frame_records = uplink_frame(in, forward);
    double frame = frame_bytes(in, TOPIC_UP, d->frame_records, forward);
    d->link_bytes = frame / d->frame_records;
    d->by_link = in->uplink_rate / d->link_bytes;
    double payload = d->frame_records * (forward + RECORD_IN_FRAME);
    double frames = fmax(1, fmin(in->uplink_frames, floor(SIZE_UPLINK_WINDOW_BYTES / payload)));
    d->by_window = frames * d->frame_records / (in->uplink_rtt_s + in->commit_delay_s + in->gateway_flush_s);
    d->by_gateway = fmax(0, 1 - a->gateway_rate * c->of[SIZE_GATEWAY_CPU].value) / c->of[SIZE_UPLINK_CPU].value;
    d->live = a->gateway_rate;
    d->backlog = backlog;
    settle_drain(d);
}

/* ---- outages ---- */

/* A device alone with its store for so long: what it holds at the end and what it has dropped, a piece at a time. */
static void alone(const struct size_input *in, const struct size_answer *a, double alone_s, double *ret_held,
                  double *ret_lost)
{
    const struct size_lane *lane = &a->device_bulk;
    double made = alone_s * a->records_per_s;
    double piece = fmax(1, (in->device_bulk > 0 ? in->device_bulk : SIZE_BULK * SIZE_CAP * in->device_store) /
                               SIZE_PIECE / lane->entry.bytes);
    if (made <= lane->records) {
        *ret_held = made;
        *ret_lost = 0;
    } else if (isinf(made)) {
        *ret_held = lane->records - piece / 2;
        *ret_lost = INFINITY;
    } else {
        *ret_lost = fmin(made, ceil((made - lane->records) / piece) * piece);
        *ret_held = made - *ret_lost;
    }
}

static void outages(const struct size_input *in, const struct size_constants *c, struct size_answer *a)
{
    double held, lost;
    struct size_outage *plant = &a->plant, *up = &a->uplink_out;
    plant->buffer_s = a->device_bulk.lasts_s;
    alone(in, a, in->outage_s, &plant->held, &plant->lost);
    plant->lost_s = plant->lost / a->records_per_s;
    device_drain(in, c, a, plant->held, &plant->drain);

    double full_s = a->gateway_bulk.lasts_s;
    up->buffer_s = full_s + a->device_bulk.lasts_s;
    alone(in, a, fmax(0, in->outage_s - full_s), &held, &lost);
    double in_gateway = fmin(in->outage_s, full_s) * a->devices_each * a->records_per_s;
    up->held = in_gateway + a->devices_each * held;
    up->lost = a->devices_each * lost;
    up->lost_s = lost / a->records_per_s;
    uplink_drain(in, c, a, up->held, &up->drain);
    a->alarm_gateway_s = a->gateway_alarm.lasts_s;
}

/* ---- disk wear ---- */

/* Pages of one commit with so many records. Trims come once a second, or every 256 records, with the next commit. */
static double commit_pages(const struct size_constants *c, const struct size_entry *entry, double batch,
                           double commits_per_s)
{
    double trims_per_s = fmin(commits_per_s, fmax(1 / TRIM_DELAY_S, commits_per_s * batch / TRIM_EVERY));
    return c->of[SIZE_COMMIT_PAGES].value + c->of[SIZE_TRIM_PAGES].value * trims_per_s / commits_per_s +
           batch * entry->page_bytes / SIZE_PAGE;
}

static void wear(const struct size_input *in, const struct size_constants *c, struct size_answer *a)
{
    double each = a->records_per_s + a->alarms_per_s;
    double commits = fmin(each, 1 / fmax(in->device_flush_s, 1e-6));
    a->device_commit_pages = commit_pages(c, &a->device_bulk.entry, each / commits, commits);
    a->device_commits_per_s =
        each * (TRIM_DELAY_S + TRIM_WAIT_S) < 1 ? 2 * commits : commits; /* a trim waits no longer */
    a->device_written_day = DAY_S * SIZE_PAGE * a->device_commits_per_s * a->device_commit_pages;
    a->device_rewrites_year = 365 * a->device_written_day / in->device_store;

    double apart = fmax(in->commit_delay_s, fmax(in->gateway_flush_s, 1e-6));
    a->gateway_commits_per_s = fmin(a->gateway_rate, 1 / apart);
    double batch = a->gateway_rate / a->gateway_commits_per_s;
    double stream_pages = fmax(1, a->stream_bytes / SIZE_PAGE);
    double streams =
        stream_pages * (1 - pow(1 - 1 / stream_pages, batch)); /* pages hit when `batch` senders hit one each */
    a->gateway_commit_pages = commit_pages(c, &a->gateway_bulk.entry, batch, a->gateway_commits_per_s) + streams;
    a->gateway_written_day = DAY_S * SIZE_PAGE * a->gateway_commits_per_s * a->gateway_commit_pages;
    a->gateway_rewrites_year = 365 * a->gateway_written_day / in->gateway_store;
}

/* ---- the other way round ---- */

static double store_for(double bytes)
{
    return fmax(MIN_STORE, STORE_STEP * ceil(bytes / STORE_STEP));
}

/* Bytes a second that a link must carry so that the backlog is gone in time; no rate helps where the window or the
 * gateway is slower. */
static double link_for(const struct size_drain *d, double within_s)
{
    double rate = d->live + d->backlog / within_s;
    return rate > fmin(d->by_window, d->by_gateway) ? INFINITY : rate * d->link_bytes;
}

static void inverse(const struct size_input *in, struct size_answer *a)
{
    if (in->wanted_buffer_s > 0) {
        double n = in->wanted_buffer_s * a->records_per_s, fixed = SIZE_FIXED_PAGES * SIZE_PAGE;
        double by_bytes = n * a->device_bulk.entry.bytes / SIZE_BULK;
        double by_pages = (n * a->device_bulk.entry.page_bytes + fixed) / SIZE_BULK_PAGES;
        a->wanted_device_store = store_for(fmax(by_bytes, by_pages) / SIZE_CAP);
        double all = n * a->devices_each * a->gateway_bulk.entry.page_bytes + fixed + a->stream_bytes;
        a->wanted_gateway_store = store_for(all / (1 - SIZE_RESERVE) / SIZE_CAP);
    }
    if (in->wanted_drain_s > 0) {
        a->wanted_device_rate = link_for(&a->plant.drain, in->wanted_drain_s);
        a->wanted_uplink_rate = link_for(&a->uplink_out.drain, in->wanted_drain_s);
    }
}

void size_compute(const struct size_input *in, const struct size_constants *c, struct size_answer *a)
{
    *a = (struct size_answer){0};
    records(in, c, a);
    device_lanes(in, c, a);
    device_link(in, a);
    a->gateway_bulk.entry = bulk_entry(in, c, a, size_forward_bytes(0, in->name_bytes));
    gateways(in, c, a);
    gateway_lanes(in, c, a);
    a->uplink = uplink_at(in, a, a->gateway_rate);
    outages(in, c, a);
    wear(in, c, a);
    inverse(in, a);
}
