/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start, samples, events, figures. See report_internal.h for the other files.
 *
 * Numbers. A block's number is fixed when its first sample is placed, since checkable drivers are told it. So whatever
 * else goes into the bulk lane closes the block first, and a description that is due goes before a block, never into
 * it.
 */
#include "device/report/report.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

#include "core/base/cursor.h"
#include "core/log/log.h"
#include "device/report/report_internal.h"
#include "proto/block/block.h"

enum { BLOCKS_QUEUED = 8, DESCRIBE_EVERY = 1000, DESCRIBE_MAX = 8 * 1024, BULK_PCT = 85, ALARM_PCT = 5 };
enum { SAMPLES_MAX = 1024 }; /* less than a block may have: gateways' rules may add rows */
_Static_assert((int)SAMPLES_MAX < (int)BLOCK_SAMPLES_MAX, "a block holds a record's samples");

/* ---- start ---- */

static const struct window_sender_options window_presets = {
    .max_frames = 32,
    .first_frames = 8,
    .max_bytes = 256 * 1024,
    .min_rto_us = 200 * MS_US,
    .max_rto_us = MINUTE_US,
    .first_rto_us = SECOND_US,
    .max_queue_us = 200 * MS_US,
};

static void window_fill(struct window_sender_options *w)
{
    w->max_frames = w->max_frames ? w->max_frames : window_presets.max_frames;
    w->first_frames = w->first_frames ? w->first_frames : window_presets.first_frames;
    w->max_bytes = w->max_bytes ? w->max_bytes : window_presets.max_bytes;
    w->min_rto_us = w->min_rto_us ? w->min_rto_us : window_presets.min_rto_us;
    w->max_rto_us = w->max_rto_us ? w->max_rto_us : max_i64(window_presets.max_rto_us, w->min_rto_us);
    w->first_rto_us = w->first_rto_us ? w->first_rto_us : window_presets.first_rto_us;
    w->max_queue_us = w->max_queue_us ? w->max_queue_us : window_presets.max_queue_us;
    w->first_rto_us = min_i64(max_i64(w->first_rto_us, w->min_rto_us), w->max_rto_us);
}

static enum err options_check(const struct report_options *o, struct fault *reterr)
{
    const char *const ids[][2] = {{"site", o->site}, {"gateway", o->gateway}, {"device", o->device}};
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        if (ids[i][1] == NULL || !id_valid(slice_str(ids[i][1]))) {
            return fault_set(reterr, ERR_RANGE, "%s \"%.80s\" is not an identity: 1..64 of A-Z a-z 0-9 _ -", ids[i][0],
                             ids[i][1] ? ids[i][1] : "");
        }
    }
    if (o->channel_count < 1 || o->channel_count > SENSE_CHANNELS_MAX) {
        return fault_set(reterr, ERR_RANGE, "%zu channels; 1..%d are possible", o->channel_count, SENSE_CHANNELS_MAX);
    }
    if (o->samples_per_record < 1 || o->samples_per_record > SAMPLES_MAX) {
        return fault_set(reterr, ERR_RANGE, "%u samples in a record; 1..%d are possible", o->samples_per_record,
                         SAMPLES_MAX);
    }
    if (builder_record_max(o->channel_count, o->samples_per_record) > WIRE_RECORD_MAX) {
        return fault_set(reterr, ERR_RANGE,
                         "%u samples of %zu channels may not fit into a record of %d bytes: take fewer",
                         o->samples_per_record, o->channel_count, WIRE_RECORD_MAX);
    }
    for (size_t i = 0; i < o->channel_count; i++) {
        if (o->channels[i].name[0] == '\0' || !block_resolution_valid(o->channels[i].resolution)) {
            return fault_set(reterr, ERR_RANGE, "channel %zu \"%s\" has no name, or resolution %g", i,
                             o->channels[i].name, o->channels[i].resolution);
        }
    }
    return OK;
}

static enum err boot_load(struct report *r, struct fault *reterr)
{
    BUFFER(value, 64);
    enum err err = store_get(r->store, REPORT_TABLE_META, slice_str("boot"), &value);
    uint64_t last = 0;
    if (err == OK) {
        struct cursor c = cursor_of(buffer_slice(&value));
        uint8_t version = cursor_u8(&c);
        last = cursor_u64le(&c);
        if (cursor_end(&c) != OK || version != 1) {
            return fault_set(reterr, ERR_MALFORMED, "the store's count of starts does not parse");
        }
    } else if (err != ERR_NOT_FOUND) {
        return fault_set(reterr, err, "the store's count of starts cannot be read: %s", err_name(err));
    }
    r->boot_seq = last + 1;
    r->boot = (uint32_t)loop_random(r->loop);
    r->boot = r->boot ? r->boot : 1;
    r->boot_id = r->options.boot_id ? r->options.boot_id : loop_random(r->loop);
    return OK;
}

static enum err lane_open(struct report *r, uint8_t id, struct fault *reterr)
{
    struct store_usage usage;
    store_usage(r->store, &usage);
    struct lane *lane = &r->lanes[id];
    uint64_t asked = id == LANE_ALARM ? r->options.alarm_bytes : r->options.bulk_bytes;
    uint64_t record = report_record_max(r);
    uint64_t least = 2 * max_u64(id == LANE_ALARM ? EVENT_RECORD_MAX : record, r->describe.len);
    lane->report = r;
    lane->id = id;
    lane->max_bytes = asked ? asked : usage.cap_bytes / 100 * (id == LANE_ALARM ? ALARM_PCT : BULK_PCT);
    lane->drop_bytes = max_u64(lane->max_bytes / 32, least / 2);
    lane->describe_due = true;
    if (lane->max_bytes < least) {
        return fault_set(reterr, ERR_RANGE, "the %s lane has room for %llu bytes; its records may need %llu",
                         id == LANE_ALARM ? "alarm" : "bulk", (unsigned long long)lane->max_bytes,
                         (unsigned long long)least);
    }
    const struct spool_options options = {.table = REPORT_TABLE_SPOOL,
                                          .meta_table = REPORT_TABLE_META,
                                          .lane = id,
                                          .aead = r->options.aead,
                                          .max_bytes = lane->max_bytes};
    return spool_open(r->loop, r->store, &options, &lane->spool, reterr);
}

void report_queue_fit(struct report *r)
{
    size_t most = BLOCKS_QUEUED * report_record_max(r) + 4 * EVENT_RECORD_MAX + 2 * r->describe.len + 512;
    r->queue.max = r->queue.max > most ? r->queue.max : most;
}

/* All memory that samples will need. */
static enum err memory_new(struct report *r)
{
    const struct report_options *o = &r->options;
    buffer_init(&r->describe, DESCRIBE_MAX);
    TRY(report_thin_init(r));
    size_t record = report_record_max(r);
    size_t largest = record > EVENT_RECORD_MAX ? record : EVENT_RECORD_MAX;
    buffer_init(&r->scratch, largest);
    if (buffer_extend(&r->scratch, largest) == NULL) {
        return ERR_NOMEM;
    }
    buffer_reset(&r->scratch);
    size_t usual = 2 * (record + r->describe.len) + 4 * QUEUE_HEAD_BYTES; /* a block beside the one being committed */
    TRY(queue_init(&r->queue, usual, usual));
    report_queue_fit(r);
    return builder_init(&r->builder, o->channels, o->channel_count, o->samples_per_record);
}

static void age_over(void *arg)
{
    report_close_block(arg);
}

static enum err report_fill(struct report *r, struct fault *reterr)
{
    TRY(boot_load(r, reterr));
    if (memory_new(r) != OK) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    for (uint8_t i = 0; i < LANE_COUNT; i++) {
        TRY(lane_open(r, i, reterr));
    }
    if (report_link_init(r) != OK || report_commit_start(r) != OK) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    return OK;
}

enum err report_new(struct loop *loop, struct bus *bus, struct store *store, const struct report_options *options,
                    void (*on_ready)(void *arg), void *arg, struct report **ret_report, struct fault *reterr)
{
    TRY(options_check(options, reterr));
    CLEANUP(report_freep) struct report *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    r->loop = loop;
    r->bus = bus;
    r->store = store;
    r->options = *options;
    r->on_ready = on_ready;
    r->arg = arg;
    r->started_us = loop_now_us(loop);
    r->options.describe_every = options->describe_every ? options->describe_every : DESCRIBE_EVERY;
    r->options.declare_us = options->declare_us ? options->declare_us : MINUTE_US;
    window_fill(&r->options.window);
    snprintf(r->site, sizeof r->site, "%s", options->site);
    snprintf(r->gateway, sizeof r->gateway, "%s", options->gateway);
    snprintf(r->device, sizeof r->device, "%s", options->device);
    loop_timer_init(&r->age_timer, loop, age_over, r);
    loop_timer_init(&r->retry_timer, loop, report_commit_retry, r);
    loop_timer_init(&r->trim_timer, loop, report_commit_trims, r);
    loop_timer_init(&r->silence_timer, loop, report_look_for_silence, r);
    loop_task_init(&r->commit_task, loop, report_commit_run, r);
    TRY(report_fill(r, reterr));
    *ret_report = take(r);
    return OK;
}

void report_started(struct report *r)
{
    for (unsigned i = 0; i < LANE_COUNT; i++) {
        if (r->lanes[i].outbox == NULL && report_outbox_new(&r->lanes[i]) != OK) {
            log_error("out of memory at the start, trying again");
            loop_timer_in(&r->retry_timer, RETRY_MAX_US);
            return;
        }
    }
    r->ready = true;
    report_look_for_silence(r);
    if (r->on_ready != NULL) {
        r->on_ready(r->arg);
    }
}

void report_free(struct report *r)
{
    if (r == NULL) {
        return;
    }
    loop_timer_cancel(&r->age_timer);
    loop_timer_cancel(&r->retry_timer);
    loop_timer_cancel(&r->trim_timer);
    loop_timer_cancel(&r->silence_timer);
    loop_task_cancel(&r->commit_task);
    for (unsigned i = 0; i < LANE_COUNT; i++) {
        outbox_free(r->lanes[i].outbox);
    }
    store_batch_free(r->next_batch);
    for (unsigned i = 0; i < LANE_COUNT; i++) {
        spool_free(r->lanes[i].spool);
    }
    builder_deinit(&r->builder);
    report_thin_deinit(r);
    queue_deinit(&r->queue);
    buffer_deinit(&r->describe);
    buffer_deinit(&r->scratch);
    buffer_deinit(&r->frame);
    buffer_deinit(&r->gaps);
    free(r);
}

bool report_ready(const struct report *r)
{
    return r->ready;
}

const char *report_gateway(const struct report *r)
{
    return r->gateway;
}

uint64_t report_wall_us(const struct report *r)
{
    return (uint64_t)max_i64(loop_wall_us(r->loop) + r->options.wall_skew_us, 0);
}

/* ---- records into the queue ---- */

/* What the block under construction will need at most. */
static size_t block_reserve(const struct report *r)
{
    size_t most = report_record_max(r) + QUEUE_HEAD_BYTES;
    return r->builder.count > 0 ? most : 0;
}

static bool queue_takes(struct report *r, const struct lane *lane, size_t bytes)
{
    size_t describe = lane->describe_due ? r->describe.len + QUEUE_HEAD_BYTES : 0;
    return queue_reserve(&r->queue, bytes + describe + block_reserve(r));
}

static void put(struct report *r, struct lane *lane, struct slice body)
{
    enum err err = queue_put(&r->queue, lane->id, body);
    assert(err == OK); /* room was asked for before */
    (void)err;
    r->stats.records++;
    if (++lane->since_describe >= r->options.describe_every) {
        lane->describe_due = lane->id == LANE_BULK || lane->describe_due;
    }
    report_commit_soon(r);
}

static void describe_if_due(struct report *r, struct lane *lane)
{
    if (lane->describe_due) {
        put(r, lane, buffer_slice(&r->describe));
        lane->describe_due = false;
        lane->since_describe = 0;
    }
}

enum err report_put(struct report *r, uint8_t id, struct slice body)
{
    struct lane *lane = &r->lanes[id];
    if (!queue_takes(r, lane, body.len)) {
        return ERR_FULL;
    }
    describe_if_due(r, lane);
    put(r, lane, body);
    return OK;
}

/* What rules leave of the block in hand. False: nothing, or it cannot go out. */
static bool block_left(struct report *r, struct slice *body, unsigned samples)
{
    bool left = true;
    enum err err = r->thin != NULL ? report_thin_record(r, body, &left) : OK;
    if (err == OK && left && !queue_reserve(&r->queue, body->len)) {
        err = ERR_FULL;
    }
    if (err != OK) {
        log_error("a block could not go through the rules", KV_ERR(err), KV_U64("samples", samples));
        r->stats.refused += samples;
        return false;
    }
    r->stats.thinned_blocks += !left;
    return left;
}

void report_close_block(struct report *r)
{
    loop_timer_cancel(&r->age_timer);
    r->placed = false;
    if (r->builder.count == 0) {
        return;
    }
    unsigned samples = (unsigned)r->builder.count;
    buffer_reset(&r->scratch);
    enum err err = builder_close(&r->builder, r->options.period_us, r->set, &r->scratch);
    if (err != OK) { /* the buffers have the size of the worst case */
        log_error("a block could not be encoded", KV_ERR(err), KV_U64("samples", samples));
        r->stats.refused += samples;
        return;
    }
    struct slice body = buffer_slice(&r->scratch);
    if (!block_left(r, &body, samples)) {
        return;
    }
    uint64_t number = lane_next(&r->lanes[LANE_BULK]);
    put(r, &r->lanes[LANE_BULK], body);
    if (r->options.watcher.on_block != NULL) {
        r->options.watcher.on_block(r->options.watcher.arg, number);
    }
}

/* ---- samples ---- */

/* Wall against monotonic time, since the block's first sample. */
static bool clock_jumped(const struct report *r, int64_t now_us, int64_t wall_us)
{
    int64_t period_us = r->options.period_us > 0 ? r->options.period_us : SECOND_US;
    int64_t shift_us = (max_i64(wall_us, 0) - r->builder.wall_us) - (now_us - r->builder.at_us[0]);
    return shift_us > period_us || shift_us < -period_us;
}

/* Settles where the next sample will stand: closes a block that it does not belong to, describes before a new one. */
static void prepare(struct report *r)
{
    int64_t now_us = loop_now_us(r->loop), wall_us = (int64_t)report_wall_us(r);
    if (r->placed && r->placed_us == now_us) {
        return;
    }
    if (r->builder.count > 0 && clock_jumped(r, now_us, wall_us)) {
        report_close_block(r);
    }
    struct lane *lane = &r->lanes[LANE_BULK];
    size_t record = report_record_max(r);
    if (r->builder.count == 0 && queue_takes(r, lane, record)) {
        describe_if_due(r, lane);
    }
    r->placed = true;
    r->placed_us = now_us;
    r->sample_wall_us = wall_us;
}

void report_place(struct report *r, struct sense_place *ret_place)
{
    *ret_place = (struct sense_place){.device = r->device};
    if (r->ready) {
        prepare(r);
        ret_place->epoch = spool_epoch(r->lanes[LANE_BULK].spool);
        ret_place->number = lane_next(&r->lanes[LANE_BULK]);
        ret_place->index = (unsigned)r->builder.count;
    }
}

enum err report_sample(struct report *r, const double *values)
{
    if (r->ready) {
        prepare(r);
    }
    size_t record = report_record_max(r);
    if (!r->ready || (r->builder.count == 0 && !queue_takes(r, &r->lanes[LANE_BULK], record))) {
        r->stats.refused++;
        r->placed = false;
        return ERR_AGAIN;
    }
    r->placed = false;
    builder_add(&r->builder, values, r->placed_us, r->sample_wall_us, r->synced);
    r->stats.samples++;
    if (builder_full(&r->builder)) {
        report_close_block(r);
    } else if (r->builder.count == 1 && r->options.max_age_us > 0) {
        loop_timer_at(&r->age_timer, r->placed_us + r->options.max_age_us);
    }
    return OK;
}

enum err report_event(struct report *r, enum report_severity severity, const char *id, const char *text,
                      const char *channel, double value)
{
    uint8_t lane = severity == REPORT_ALARM ? LANE_ALARM : LANE_BULK;
    if (!r->ready) {
        return ERR_AGAIN;
    }
    if (lane == LANE_BULK) {
        report_close_block(r);
    }
    buffer_reset(&r->scratch);
    TRY(report_event_pack(r, severity, id, text, channel, value, &r->scratch));
    struct slice body = buffer_slice(&r->scratch);
    bool left = true;
    if (r->thin != NULL && report_thin_record(r, &body, &left) != OK) {
        return ERR_AGAIN;
    }
    if (left) {
        TRY(report_put(r, lane, body));
    }
    r->stats.events++;
    return OK;
}

enum err report_health(struct report *r, uint64_t rss_bytes)
{
    if (!r->ready) {
        return ERR_AGAIN;
    }
    report_close_block(r);
    buffer_reset(&r->scratch);
    TRY(report_health_pack(r, rss_bytes, &r->scratch));
    return report_put(r, LANE_BULK, buffer_slice(&r->scratch));
}

void report_flush(struct report *r)
{
    if (r->ready) {
        report_close_block(r);
        report_thin_declare(r);
        report_commit_soon(r);
    }
}

void report_set_period(struct report *r, int64_t period_us)
{
    report_close_block(r); /* its samples keep the old one */
    r->options.period_us = period_us;
}

void report_set_synced(struct report *r, bool synced)
{
    r->synced = synced;
}

/* ---- figures ---- */

bool report_drained(const struct report *r)
{
    if (!r->ready || r->builder.count > 0 || !queue_empty(&r->queue) || report_thin_waiting(r)) {
        return false;
    }
    for (unsigned i = 0; i < LANE_COUNT; i++) {
        const struct lane *lane = &r->lanes[i];
        if (lane->rebase_due || outbox_acked(lane->outbox) < spool_durable(lane->spool)) {
            return false;
        }
    }
    return true;
}

void report_stats(const struct report *r, struct report_stats *ret_stats)
{
    *ret_stats = r->stats;
    for (unsigned i = 0; i < LANE_COUNT; i++) {
        const struct lane *lane = &r->lanes[i];
        struct report_lane_stats *s = &ret_stats->lane[i];
        s->epoch = spool_epoch(lane->spool);
        s->durable = spool_durable(lane->spool);
        s->acked = lane->outbox ? outbox_acked(lane->outbox) : spool_trimmed(lane->spool);
        s->sent = lane->outbox ? outbox_window(lane->outbox)->high : s->acked;
        s->bytes = spool_bytes(lane->spool);
        s->max_bytes = lane->max_bytes;
        s->gap_numbers = lane->gap_numbers;
        s->gap_waiting = lane->gap_last > s->acked ? lane->gap_last - max_u64(lane->gap_first - 1, s->acked) : 0;
        s->top = s->epoch ? lane_next(lane) - 1 : 0;
    }
    for (size_t i = 0; r->thin != NULL && i < r->thin->rule_count; i++) {
        ret_stats->thinned_waiting += (uint64_t)max_i64(r->thin->counts[i].waiting, 0);
    }
    ret_stats->failing = r->retry_us != 0;
}

int64_t report_unsynced_us(const struct report *r)
{
    struct store_usage usage;
    store_usage(r->store, &usage);
    const struct report_options *o = &r->options;
    int64_t block_us = (int64_t)o->samples_per_record * o->period_us;
    if (block_us == 0 || (o->max_age_us > 0 && o->max_age_us < block_us)) {
        block_us = o->max_age_us;
    }
    int64_t failing_us = r->retry_us != 0 ? loop_now_us(r->loop) - r->failing_since_us : 0;
    return block_us + usage.last_commit_us + failing_us;
}
