/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start, samples, events, figures. See report_internal.h for the other files.
 */
#include "device/report/report.h"

#include <assert.h>
#include <stdio.h>

#include "core/base/cursor.h"
#include "core/log/log.h"
#include "device/report/report_internal.h"
#include "proto/block/block.h"

enum { BLOCKS_QUEUED = 8, DESCRIBE_EVERY = 1000, DESCRIBE_MAX = 8 * 1024, BULK_PCT = 85, ALARM_PCT = 5 };
enum { SAMPLES_MAX = 1024 }; /* less than a block may have: gateways' rules may add rows */
_Static_assert((int)SAMPLES_MAX < (int)BLOCK_SAMPLES_MAX, "a block holds a record's samples");
_Static_assert((int)WINDOWS_RECORD_MAX >= (int)EVENT_RECORD_MAX, "what has room for windows has it for an event");

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

/* ---- what compose asks for ---- */

static bool room(void *arg, size_t bytes, unsigned records)
{
    struct report *r = arg;
    return queue_reserve(&r->queue, bytes + (records - 1) * QUEUE_HEAD_BYTES); /* it counts one head itself */
}

static void put(void *arg, uint8_t lane, struct slice body)
{
    struct report *r = arg;
    enum err err = queue_put(&r->queue, lane, body);
    assert(err == OK); /* room was asked for before */
    (void)err;
    report_commit_soon(r);
}

static enum err shape(void *arg, struct slice *body, bool *ret_left)
{
    return report_thin_record(arg, body, ret_left);
}

static void on_block(void *arg)
{
    struct report *r = arg;
    if (r->options.watcher.on_block != NULL) {
        r->options.watcher.on_block(r->options.watcher.arg, lane_next(&r->lanes[LANE_BULK]) - 1);
    }
}

static void on_lost(void *arg, enum err err, unsigned samples, const char *why)
{
    (void)arg;
    log_error(why, KV_ERR(err), KV_U64("samples", samples));
}

/* ---- the parts ---- */

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

static void queue_fit(struct report *r)
{
    size_t most = BLOCKS_QUEUED * report_record_max(r) + 4 * EVENT_RECORD_MAX + 2 * r->describe.len + 512 +
                  (r->options.model != 0 ? 2 * COMPOSE_HELD_MAX + WINDOWS_RECORD_MAX : 0);
    r->queue.max = r->queue.max > most ? r->queue.max : most;
}

void report_rules_changed(struct report *r)
{
    r->compose.record_max = report_record_max(r);
    r->compose.out.shape = r->thin != NULL ? shape : NULL;
    queue_fit(r);
}

/* Memory where inferences wait for their block, once. */
static enum err hold_inferences(struct report *r)
{
    if (r->held_memory == NULL) {
        r->held_memory = malloc(COMPOSE_HELD_MAX);
        if (r->held_memory == NULL) {
            return ERR_NOMEM;
        }
        compose_hold_in(&r->compose, r->held_memory, COMPOSE_HELD_MAX);
    }
    return OK;
}

static enum err begin_compose(struct report *r)
{
    const struct report_options *o = &r->options;
    const struct compose_options options = {.channels = o->channels,
                                            .channel_count = o->channel_count,
                                            .samples_per_record = o->samples_per_record,
                                            .period_us = o->period_us,
                                            .max_age_us = o->max_age_us,
                                            .describe_every = o->describe_every};
    const struct compose_out out = {.room = room, .put = put, .on_block = on_block, .on_lost = on_lost, .arg = r};
    r->compose_memory = malloc(compose_bytes(&options));
    if (r->compose_memory == NULL) {
        return ERR_NOMEM;
    }
    compose_init(&r->compose, &options, &out, r->compose_memory, &r->describe, &r->scratch);
    return OK;
}

/* All memory that samples will need. */
static enum err memory_new(struct report *r)
{
    const struct report_options *o = &r->options;
    buffer_init(&r->describe, DESCRIBE_MAX);
    TRY(begin_compose(r));
    TRY(report_thin_init(r));
    if (o->model != 0) {
        TRY(hold_inferences(r));
    }
    size_t record = report_record_max(r);
    size_t beside = o->model != 0 ? WINDOWS_RECORD_MAX : EVENT_RECORD_MAX, largest = record > beside ? record : beside;
    buffer_init(&r->scratch, largest);
    if (buffer_extend(&r->scratch, largest) == NULL) {
        return ERR_NOMEM;
    }
    buffer_reset(&r->scratch);
    size_t usual = 2 * (record + r->describe.len) + 4 * QUEUE_HEAD_BYTES; /* a block beside the one being committed */
    TRY(queue_init(&r->queue, usual, usual));
    report_rules_changed(r);
    return OK;
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
    report_thin_deinit(r);
    free(r->compose_memory);
    free(r->held_memory);
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

/* ---- samples ---- */

/* The block under construction is closed when it is due, whatever has just become of it. */
static void follow_age(struct report *r)
{
    int64_t due_us = r->compose.close_at_us;
    if (due_us == 0) {
        loop_timer_cancel(&r->age_timer);
    } else if (!loop_timer_pending(&r->age_timer) || r->age_timer.due_us != due_us) {
        loop_timer_at(&r->age_timer, due_us);
    }
}

void report_close_block(struct report *r)
{
    compose_close(&r->compose);
    follow_age(r);
}

void report_place(struct report *r, struct sense_place *ret_place)
{
    *ret_place = (struct sense_place){.device = r->device};
    if (r->ready) {
        compose_place(&r->compose, loop_now_us(r->loop), (int64_t)report_wall_us(r));
        follow_age(r);
        ret_place->epoch = spool_epoch(r->lanes[LANE_BULK].spool);
        ret_place->number = lane_next(&r->lanes[LANE_BULK]);
        ret_place->index = (unsigned)r->compose.builder.count;
    }
}

enum err report_sample(struct report *r, const double *values)
{
    if (!r->ready) {
        r->compose.stats.refused++;
        return ERR_AGAIN;
    }
    enum err err = compose_sample(&r->compose, values, loop_now_us(r->loop), (int64_t)report_wall_us(r), r->synced);
    follow_age(r);
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

enum err report_event(struct report *r, enum report_severity severity, const char *id, const char *text,
                      const char *channel, double value)
{
    const struct compose_event event = {
        .severity = wire_severity(severity), .id = id, .text = text, .channel = channel, .value = value};
    if (!r->ready) {
        return ERR_AGAIN;
    }
    enum err err = compose_event(&r->compose, &event, loop_now_us(r->loop), report_wall_us(r));
    follow_age(r);
    return err;
}

enum err report_inference(struct report *r, bool is_alarm, struct slice record)
{
    if (!r->ready) {
        return ERR_AGAIN;
    }
    if (record.len > REPORT_INFERENCE_MAX) {
        return ERR_RANGE;
    }
    TRY(hold_inferences(r));
    enum err err = compose_inference(&r->compose, is_alarm, record);
    follow_age(r);
    return err;
}

enum err report_health(struct report *r, uint64_t rss_bytes)
{
    if (!r->ready) {
        return ERR_AGAIN;
    }
    report_close_block(r);
    buffer_reset(&r->scratch);
    TRY(report_health_pack(r, rss_bytes, &r->scratch));
    return compose_put(&r->compose, LANE_BULK, buffer_slice(&r->scratch));
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
    compose_set_period(&r->compose, period_us);
    r->options.period_us = period_us;
    follow_age(r);
}

void report_set_synced(struct report *r, bool synced)
{
    r->synced = synced;
}

bool report_synced(const struct report *r)
{
    return r->synced;
}

/* ---- figures ---- */

bool report_drained(const struct report *r)
{
    if (!r->ready || r->compose.builder.count > 0 || !queue_empty(&r->queue) || report_thin_waiting(r)) {
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
    const struct compose_stats *c = &r->compose.stats;
    *ret_stats = r->stats;
    ret_stats->samples = c->samples;
    ret_stats->refused = c->refused;
    ret_stats->records = c->records;
    ret_stats->events = c->events;
    ret_stats->thinned_blocks = c->thinned_blocks;
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

void report_inferences(const struct report *r, uint64_t *ret_taken, uint64_t *ret_lost)
{
    *ret_taken = r->compose.held.taken;
    *ret_lost = r->compose.held.lost;
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
