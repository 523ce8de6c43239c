/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The drain: one feeder per sink, each with its own position, batch and worker.
 *
 *   IDLE --kick, more in the spool--> fill batch (lane 0 first), offload write --worker--> done
 *    ^                                                                                      |
 *    +-- OK: positions = reached, trim behind the slowest <---------------------------------+
 *    '-- failed: WAIT (100 ms doubling to 30 s, jittered), then the same positions again <--'
 *
 * The bytes of a batch are copied out of the spool, since its pages must not be held across a write.
 *
 * A remote sink is asked for its position first, and again after every failure: its server may have come back from an
 * old backup. What a sink can never take is made durable as a dead letter, replaced by a gap, and the batch is offered
 * again; so are letters that an operator replays, and gaps for what was given up (both without moving a position):
 *
 *   done(ERR_UNSUPPORTED, refusals) --> dead_put --committed--> the same batch, with gaps --> done(OK)
 *
 * Alarms do not wait: a batch that has any holds nothing else (two in a row are mixed, so that a flood of alarms does
 * not stop the rest), and the size of batches follows the sink, so that a write under way takes about BATCH_AIM_US.
 */
#include "cloud-bridge/sinks/sinks_internal.h"

#include <stdio.h>

#include "cloud-bridge/sinks/dead.h"
#include "core/log/log.h"

enum {
    BATCH_FIRST = 256,
    BATCH_LEAST = 16,
    BATCH_ENTRIES = 2048,
    BATCH_BYTES = 1 << 20,
    BATCH_AIM_US = 100000,
    BACKOFF_MIN_US = 100000,
    BACKOFF_MAX_US = 30000000,
    LAG_WATCH_US = 200000,
    LAG_STEPS = 64,
    UNSETTLED_MAX = 256,
    BURY_SLOWLY_US = 1000000,
    TICK_US = 5000000
};

struct feeder {
    struct sinks *sinks;
    struct sink sink;
    struct loop_worker *worker;
    struct loop_timer retry;
    uint64_t position[INBOX_LANES]; /* committed in the sink */
    int64_t backoff_us;
    bool busy;
    /* the batch under way: the worker's until done */
    struct sink_batch batch;
    struct sink_item *items; /* BATCH_ENTRIES x INBOX_LANES */
    uint8_t *bytes;
    size_t used;
    size_t entries; /* of lane 1 at most: BATCH_LEAST..BATCH_ENTRIES */
    bool alone;     /* it holds alarms only, though more was waiting */
    int64_t begun_us;
    uint64_t unreadable;
    enum { JOB_WRITE, JOB_ASK, JOB_REPLAY, JOB_OWED, JOB_ALIVE, JOB_TICK } job;
    bool known;                     /* position[] is what the sink has told */
    uint64_t told[INBOX_LANES];
    uint64_t ceiling[INBOX_LANES];  /* a position beyond is not to be believed */
    uint64_t
        durable[INBOX_LANES]; /* what the spool may be trimmed to: position[], or with settle_us what has settled */
    struct unsettled {
        int64_t time_us;
        uint64_t position[INBOX_LANES];
    } unsettled[UNSETTLED_MAX];     /* oldest first */
    size_t unsettled_count;
    struct loop_timer settle;
    struct loop_timer tick;
    bool tick_due;
    int64_t tick_us;                /* when the tick under way was begun */
    bool vouched;                   /* a row of vouch.c is to be deleted */
    struct sink_refusals refusals;
    bool again;                     /* the batch in hand is to be offered again when the timer ends */
    uint8_t *gaps;                  /* GAP_BYTES for each item */
    uint64_t replay;                /* id of the letter to offer, 0 = none */
    struct buffer letter;
    struct owed owed;
    char error[300];
    enum err result;
    struct fault fault;
    struct sinks_stats stats;
};
struct sinks {
    struct loop *loop;
    struct spool *spools[INBOX_LANES];
    struct sinks_handlers handlers;
    struct loop_task task;
    struct feeder *feeders;
    size_t count;
    bool stopped;
    struct loop_timer lag;
    bool watches_lag, giving;
};
/* A batch may end with one entry that goes beyond BATCH_BYTES; both lanes share the block. */
#define BLOCK_BYTES ((size_t)INBOX_LANES * (BATCH_BYTES + SPOOL_BODY_MAX))

static const char *name_of(const struct feeder *f)
{
    return f->sink.name[0] != '\0' ? f->sink.name : f->sink.ops->name;
}

/* What the sink gets instead of the record. */
static void put_gap(struct feeder *f, size_t index, Weir__V1__GapReason reason)
{
    struct wire_forward *forward = &f->items[index].forward;
    forward->record = sink_gap_body(f->gaps + index * OWED_BODY_BYTES, forward->first, forward->last, reason,
                                    forward->received_us);
}

/* ---- filling ---- */
struct filling {
    struct feeder *feeder;
    uint8_t lane;
    size_t lane_start_bytes, lane_count;
};

static bool add_entry(void *arg, const struct spool_entry *entry)
{
    struct filling *fill = arg;
    struct feeder *f = fill->feeder;
    if (f->used + entry->body.len > BLOCK_BYTES) {
        return false;
    }
    struct sink_item *item = &f->items[f->batch.count++];
    *item = (struct sink_item){.lane = fill->lane, .position = entry->last, .forward = {.first = 1, .last = 0}};
    if (entry->body.len > 0) {
        memcpy(f->bytes + f->used, entry->body.ptr, entry->body.len);
    }
    struct slice body = slice_of(f->bytes + f->used, entry->body.len);
    f->used += entry->body.len;
    if (entry->damaged || wire_forward_decode(body, &item->forward) != OK) {
        item->forward = (struct wire_forward){.first = 1, .last = 0};
        f->unreadable++;
        log_error("an entry of the spool cannot be read, its numbers will show as a gap",
                  KV_U64("lane", fill->lane), KV_U64("position", entry->first));
    }
    if (f->sinks->handlers.dead != NULL && item->forward.first <= item->forward.last &&
        dead_has(f->sinks->handlers.dead, name_of(f), &item->forward)) {
        put_gap(f, f->batch.count - 1, WEIR__V1__GAP_REASON__DEAD_LETTER); /* before the last crash, or settled anew */
    }
    f->batch.position[fill->lane] = entry->last;
    fill->lane_count++;
    return fill->lane_count < f->entries && f->used - fill->lane_start_bytes < BATCH_BYTES;
}

static enum err fill_batch(struct feeder *f)
{
    f->batch.items = f->items;
    f->batch.count = 0;
    f->used = 0;
    f->unreadable = 0;
    bool may_be_alone = !f->alone;
    f->alone = false;
    for (uint8_t lane = 0; lane < INBOX_LANES; lane++) {
        struct spool *spool = f->sinks->spools[lane];
        struct filling fill = {.feeder = f, .lane = lane, .lane_start_bytes = f->used};
        f->batch.epoch[lane] = spool_epoch(spool);
        f->batch.position[lane] = f->position[lane];
        f->alone = may_be_alone && lane > 0 && f->batch.count > 0;
        if (!f->alone && spool_durable(spool) > f->position[lane]) {
            TRY(spool_read(spool, f->position[lane] + 1, add_entry, &fill));
        }
    }
    return OK;
}

/* ---- batches that are not of the spool ---- */
static void begin_batch(struct feeder *f)
{
    f->batch.items = f->items;
    f->batch.count = 0;
    f->used = 0;
    f->unreadable = 0;
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        f->batch.epoch[lane] = spool_epoch(f->sinks->spools[lane]);
        f->batch.position[lane] = f->position[lane];
    }
}

/* False: the letter is not there any more, or not of this sink. */
static bool fill_letter(struct feeder *f)
{
    struct dead_letter letter;
    begin_batch(f);
    if (dead_get(f->sinks->handlers.dead, f->replay, &f->letter, &letter) != OK ||
        strcmp(letter.sink, name_of(f)) != 0) {
        f->replay = 0;
        return false;
    }
    f->items[0] = (struct sink_item){.lane = letter.forward.lane, .forward = letter.forward, .replay = true};
    f->batch.count = 1;
    return true;
}

static void fill_owed(struct feeder *f)
{
    begin_batch(f);
    f->batch.count = owed_items(&f->owed, f->items, BATCH_ENTRIES, f->gaps, (uint64_t)loop_wall_us(f->sinks->loop));
}

/* ---- trimming ---- */
static uint64_t slowest_of(const struct sinks *s, unsigned lane)
{
    uint64_t slowest = UINT64_MAX;
    for (size_t i = 0; i < s->count; i++) {
        slowest = min_u64(slowest, s->feeders[i].durable[lane]);
    }
    return slowest;
}

static void trim(struct sinks *s)
{
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        uint64_t slowest = slowest_of(s, lane);
        if (slowest <= spool_trimmed(s->spools[lane])) {
            continue;
        }
        struct store_batch *batch = s->handlers.batch(s->handlers.arg);
        enum err err = batch ? spool_trim(s->spools[lane], batch, slowest) : ERR_NOMEM;
        if (err != OK) {
            log_warn("the spool could not be trimmed, will be with the next batch", KV_ERR(err));
        }
    }
}

/* ---- a write and its end ---- */
static void work(void *arg)
{
    struct feeder *f = arg;
    f->fault.text[0] = '\0';
    if (f->job == JOB_ASK) {
        f->result = f->sink.ops->position(f->sink.self, f->batch.epoch, f->told);
        if (f->result != OK && f->sink.ops->why != NULL) {
            (void)fault_set(&f->fault, f->result, "%s", f->sink.ops->why(f->sink.self));
        }
        return;
    }
    if (f->job == JOB_ALIVE) {
        f->result = f->sink.ops->alive(f->sink.self, &f->fault);
        return;
    }
    if (f->job == JOB_TICK) {
        f->result = f->sink.ops->tick(f->sink.self, f->tick_us, &f->fault);
        return;
    }
    f->refusals.count = 0;
    f->refusals.none_taken = false;
    f->batch.refusals = f->sinks->handlers.dead != NULL ? &f->refusals : NULL;
    f->result = f->sink.ops->write(f->sink.self, &f->batch, &f->fault);
}

/* The server may have lost it. */
static void forget_unsettled(struct feeder *f)
{
    if (f->sink.settle_us > 0) {
        memcpy(f->position, f->durable, sizeof(f->position));
        f->unsettled_count = 0;
        loop_timer_cancel(&f->settle);
    }
}

static void failed(struct feeder *f, enum err err, const char *text)
{
    f->stats.failures++;
    f->stats.failing = true;
    f->known = f->known && (!f->sink.ops->remote || f->sink.ops->position == NULL);
    forget_unsettled(f);
    snprintf(f->stats.last_error, sizeof(f->stats.last_error), "%s", text[0] != '\0' ? text : err_name(err));
    f->backoff_us = f->backoff_us == 0 ? BACKOFF_MIN_US : min_i64(2 * f->backoff_us, BACKOFF_MAX_US);
    int64_t jitter = (int64_t)(loop_random(f->sinks->loop) % (uint64_t)(f->backoff_us / 4));
    log_warn("sink failed, will try again", KV_STR("sink", name_of(f)), KV_STR("reason", f->stats.last_error),
             KV_I64("in_ms", f->backoff_us / MS_US));
    if (!f->sinks->stopped) {
        loop_timer_in(&f->retry, f->backoff_us - jitter);
    }
}

/* A batch that was full and quick may be larger, one that took too long must be smaller. */
static void adapt_size(struct feeder *f, int64_t took_us)
{
    if (took_us > 2 * BATCH_AIM_US) {
        f->entries = max_u64(f->entries / 2, BATCH_LEAST);
    } else if (took_us < BATCH_AIM_US / 2 && f->batch.count >= f->entries) {
        f->entries = min_u64(f->entries * 2, BATCH_ENTRIES);
    }
}

static void done(void *arg);
static bool has_more(const struct feeder *f);

static void offload(struct feeder *f)
{
    enum err err = loop_offload(f->worker, work, done, f);
    f->busy = err == OK;
    if (err != OK) {
        failed(f, err, "");
    }
}

/* More may be refused than could be named: what lies behind the last that was named comes with later batches, so that
 * what was taken before it is not written over and over. */
static void shorten(struct feeder *f)
{
    size_t count = 0;
    for (size_t i = 0; i < f->refusals.count; i++) {
        count = max_u64(count, f->refusals.items[i].index + 1);
    }
    f->batch.count = count;
    f->entries = max_u64(min_u64(f->entries, count), BATCH_LEAST);
    memcpy(f->batch.position, f->position, sizeof(f->batch.position));
    for (size_t i = 0; i < count; i++) {
        f->batch.position[f->items[i].lane] = f->items[i].position;
    }
}

/* A sink that takes nothing at all may be a login without its rights: letters have a bound, so there is time to mend
 * it. */
static void offer_slowly(struct feeder *f)
{
    f->stats.failing = true;
    snprintf(f->stats.last_error, sizeof(f->stats.last_error), "takes nothing, all goes to the dead letters: %.100s",
             f->refusals.items[0].reason);
    if (!f->sinks->stopped) {
        f->again = true;
        loop_timer_in(&f->retry, BURY_SLOWLY_US);
    }
}

/* The letters are durable: to the sink the records are gaps from here on. */
static void on_buried(void *arg, enum err result)
{
    struct feeder *f = arg;
    f->busy = false;
    if (result != OK) {
        snprintf(f->error, sizeof(f->error), "a dead letter cannot be kept: %s", err_name(result));
        failed(f, result, f->error);
        return;
    }
    for (size_t i = 0; i < f->refusals.count; i++) {
        size_t index = f->refusals.items[i].index;
        struct sink_item *item = &f->items[index];
        log_warn("record goes to the dead letters", KV_STR("sink", name_of(f)), KV_STR("device", item->forward.device),
                 KV_U64("first", item->forward.first), KV_STR("reason", f->refusals.items[i].reason));
        put_gap(f, index, WEIR__V1__GAP_REASON__DEAD_LETTER);
        f->stats.refused++;
    }
    if (f->job == JOB_WRITE && f->refusals.count == SINK_REFUSALS_MAX) {
        shorten(f);
    }
    if (f->refusals.none_taken) {
        offer_slowly(f);
    } else if (!f->sinks->stopped) {
        offload(f);
    }
}

/* The gap in the place of a record of which there is a letter already. */
static bool is_letters_gap(const struct feeder *f, size_t index)
{
    const struct wire_forward *forward = &f->items[index].forward;
    uint8_t body[OWED_BODY_BYTES];
    return slice_equal(forward->record, sink_gap_body(body, forward->first, forward->last,
                                                      WEIR__V1__GAP_REASON__DEAD_LETTER, forward->received_us));
}

/* Where even the gap is refused the letter alone stands for the record: the sink skips it from here on. */
static void leave_out_gaps(struct feeder *f)
{
    size_t kept = 0;
    for (size_t i = 0; i < f->refusals.count; i++) {
        const struct sink_refusal *refusal = &f->refusals.items[i];
        if (is_letters_gap(f, refusal->index)) {
            struct wire_forward *forward = &f->items[refusal->index].forward;
            log_warn("sink refuses even the gap of a dead letter, which stands alone", KV_STR("sink", name_of(f)),
                     KV_STR("device", forward->device), KV_U64("first", forward->first),
                     KV_STR("reason", refusal->reason));
            forward->first = forward->last + 1;
        } else {
            f->refusals.items[kept++] = *refusal;
        }
    }
    f->refusals.count = kept;
}

/* Refused with names. */
static void bury(struct feeder *f)
{
    const struct sink_refusal *refusal = &f->refusals.items[0];
    enum err err = OK;
    leave_out_gaps(f);
    if (f->refusals.count == 0) {
        if (!f->sinks->stopped) {
            offload(f);
        }
        return;
    }
    if (f->job == JOB_REPLAY) {
        log_warn("dead letter is refused again", KV_STR("sink", name_of(f)), KV_STR("reason", refusal->reason));
        err = dead_refused_again(f->sinks->handlers.dead, f->replay, refusal->reason, NULL, NULL);
        f->replay = 0;
        sinks_kick(f->sinks);
    } else {
        err = dead_put(f->sinks->handlers.dead, name_of(f), &f->batch, on_buried, f);
        f->busy = err == OK;
    }
    if (err != OK) {
        snprintf(f->error, sizeof(f->error), "a dead letter cannot be kept now: %s", err_name(err));
        failed(f, err, f->error);
    }
}

static void unvouch(struct feeder *f)
{
    struct store_batch *batch = f->vouched ? f->sinks->handlers.batch(f->sinks->handlers.arg) : NULL;
    if (batch != NULL && vouch_delete(batch, f->sinks->handlers.table, name_of(f)) == OK) {
        f->vouched = false;
    }
}

/* What a sink says of its position is held against what the spool has. */
static void believe(struct feeder *f, const uint64_t told[INBOX_LANES])
{
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        uint64_t trimmed = spool_trimmed(f->sinks->spools[lane]);
        f->position[lane] = told[lane];
        if (f->sink.ops->remote && told[lane] > f->ceiling[lane]) {
            log_error("sink holds more of this lane than the store did: the store was restored from an old image",
                      KV_STR("sink", name_of(f)), KV_U64("lane", lane), KV_U64("position", told[lane]),
                      KV_U64("durable", f->ceiling[lane]));
            f->position[lane] = trimmed;
        } else if (told[lane] < trimmed) {
            if (told[lane] != 0) {
                log_warn("sink is behind what the spool still has: it was restored from an old image",
                         KV_STR("sink", name_of(f)), KV_U64("lane", lane), KV_U64("position", told[lane]),
                         KV_U64("trimmed", trimmed));
            }
            f->position[lane] = trimmed;
        }
    }
    memcpy(f->durable, f->position, sizeof(f->durable));
    f->known = true;
}

/* ---- a position that the bridge keeps ---- */
static void keep_position(struct feeder *f)
{
    struct store_batch *batch = NULL;
    if (f->sink.ops->position != NULL || f->sinks->handlers.store == NULL) {
        return;
    }
    batch = f->sinks->handlers.batch(f->sinks->handlers.arg);
    if (batch == NULL || kept_put(batch, f->sinks->handlers.table, name_of(f), f->sinks->spools, f->durable) != OK) {
        log_debug("position is not kept this time", KV_STR("sink", name_of(f)));
    }
}

/* A batch is in the server's hands. When there is no room to note it, the last note stands for both, by its later
 * time. */
static void note_unsettled(struct feeder *f)
{
    struct unsettled *u = &f->unsettled[f->unsettled_count == UNSETTLED_MAX ? UNSETTLED_MAX - 1 : f->unsettled_count++];
    u->time_us = loop_now_us(f->sinks->loop);
    memcpy(u->position, f->position, sizeof(u->position));
    if (!loop_timer_pending(&f->settle)) {
        loop_timer_in(&f->settle, f->sink.settle_us);
    }
}

static bool settle_is_due(const struct feeder *f)
{
    return f->unsettled_count > 0 && f->unsettled[0].time_us + f->sink.settle_us <= loop_now_us(f->sinks->loop);
}

/* The server was alive after the job began. */
static void settle(struct feeder *f)
{
    size_t settled = 0;
    while (settled < f->unsettled_count && f->unsettled[settled].time_us + f->sink.settle_us <= f->begun_us) {
        memcpy(f->durable, f->unsettled[settled].position, sizeof(f->durable));
        settled++;
    }
    f->unsettled_count -= settled;
    memmove(f->unsettled, f->unsettled + settled, f->unsettled_count * sizeof(*f->unsettled));
    if (f->unsettled_count > 0) {
        loop_timer_at(&f->settle, f->unsettled[0].time_us + f->sink.settle_us);
    }
    keep_position(f);
    trim(f->sinks);
}


static void settle_owed(struct feeder *f)
{
    struct store_batch *batch = f->sinks->handlers.batch(f->sinks->handlers.arg);
    enum err err = batch ? owed_settle(&f->owed, batch, f->items, f->batch.count) : ERR_NOMEM;
    if (err != OK) {
        log_warn("gaps that a sink has are kept, it will skip them", KV_STR("sink", name_of(f)), KV_ERR(err));
    }
}

/* It answers; whether it can be written to shows with the next write. */
static void told(struct feeder *f)
{
    believe(f, f->told);
    unvouch(f);
    if (!has_more(f) && f->owed.streams == NULL) {
        f->stats.failing = false;
        f->backoff_us = 0;
    }
    sinks_kick(f->sinks);
}

/* A job that moves no position has gone well. */
static void done_aside(struct feeder *f)
{
    if (f->job == JOB_REPLAY) {
        enum err err = dead_remove(f->sinks->handlers.dead, f->replay, NULL, NULL);
        if (err == OK) {
            log_info("dead letter taken", KV_STR("sink", name_of(f)), KV_U64("id", f->replay));
        } else {
            log_warn("dead letter taken, but the store does not forget it yet", KV_STR("sink", name_of(f)),
                     KV_U64("id", f->replay), KV_ERR(err));
        }
        f->replay = err == ERR_AGAIN ? f->replay : 0; /* else it would be offered a second time later: harmless */
    } else {
        settle_owed(f);
    }
    sinks_kick(f->sinks);
}

static void done(void *arg)
{
    struct feeder *f = arg;
    f->busy = false;
    if (f->result == ERR_UNSUPPORTED && f->refusals.count > 0 && f->job != JOB_ASK) {
        bury(f);
        return;
    }
    if (f->result != OK) {
        failed(f, f->result, f->fault.text);
        return;
    }
    if (f->job == JOB_ASK) {
        told(f);
        return;
    }
    if (f->job == JOB_ALIVE) {
        settle(f);
        sinks_kick(f->sinks);
        return;
    }
    if (f->job == JOB_TICK) {
        sinks_kick(f->sinks);
        return;
    }
    if (f->stats.failing) {
        log_info("sink works again", KV_STR("sink", name_of(f)));
    }
    f->stats.failing = false;
    f->backoff_us = 0;
    if (f->job != JOB_WRITE) {
        done_aside(f);
        return;
    }
    adapt_size(f, loop_now_us(f->sinks->loop) - f->begun_us);
    f->stats.batches++;
    f->stats.records += f->batch.count;
    f->stats.unreadable += f->unreadable;
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) { /* it may have been moved on meanwhile: given up */
        f->position[lane] = max_u64(f->position[lane], f->batch.position[lane]);
    }
    if (f->sink.settle_us > 0) {
        note_unsettled(f);
    } else {
        memcpy(f->durable, f->position, sizeof(f->durable));
        keep_position(f);
    }
    trim(f->sinks);
    sinks_kick(f->sinks);
}

static bool has_more(const struct feeder *f)
{
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        if (spool_durable(f->sinks->spools[lane]) > f->position[lane]) {
            return true;
        }
    }
    return false;
}

/* False: nothing to do. */
static bool choose_job(struct feeder *f)
{
    if (!f->known) {
        f->job = JOB_ASK;
        begin_batch(f);
        return true;
    }
    if (settle_is_due(f)) {
        f->job = JOB_ALIVE;
        return true;
    }
    if (f->owed.streams != NULL) {
        f->job = JOB_OWED;
        fill_owed(f);
        return true;
    }
    if (f->replay != 0 && fill_letter(f)) {
        f->job = JOB_REPLAY;
        return true;
    }
    if (f->tick_due) {
        f->tick_due = false;
        f->tick_us = loop_now_us(f->sinks->loop);
        f->job = JOB_TICK;
        return true;
    }
    f->job = JOB_WRITE;
    return has_more(f);
}

static void feed(struct feeder *f)
{
    if (f->busy || loop_timer_pending(&f->retry) || f->sinks->stopped || !choose_job(f)) {
        return;
    }
    enum err err = f->job == JOB_WRITE ? fill_batch(f) : OK;
    for (unsigned lane = 0; lane < INBOX_LANES && f->job == JOB_WRITE; lane++) {
        f->ceiling[lane] = max_u64(f->position[lane], f->batch.position[lane]); /* what it may come to have */
    }
    if (err == OK) {
        err = loop_offload(f->worker, work, done, f);
    }
    if (err != OK) {
        failed(f, err, "");
        return;
    }
    f->busy = true;
    f->begun_us = loop_now_us(f->sinks->loop);
}

static void on_tick(void *arg)
{
    struct feeder *f = arg;
    f->tick_due = true;
    loop_timer_in(&f->tick, TICK_US);
    feed(f);
}

static void on_settle(void *arg)
{
    feed(arg);
}

static void on_retry(void *arg)
{
    struct feeder *f = arg;
    if (f->again) {
        f->again = false;
        f->begun_us = loop_now_us(f->sinks->loop); /* the wait is not the sink's */
        offload(f);
    } else {
        feed(f);
    }
}

static void on_task(void *arg)
{
    struct sinks *s = arg;
    for (size_t i = 0; i < s->count; i++) {
        feed(&s->feeders[i]);
    }
}

/* ---- a sink that is away too long ---- */
static uint64_t furthest(const struct sinks *s, unsigned lane)
{
    uint64_t position = 0;
    for (size_t i = 0; i < s->count; i++) {
        position = max_u64(position, s->feeders[i].position[lane]);
    }
    return position;
}

static enum err trim_into(struct sinks *s, struct store_batch *batch)
{
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        uint64_t slowest = slowest_of(s, lane);
        if (slowest > spool_trimmed(s->spools[lane])) {
            TRY(spool_trim(s->spools[lane], batch, slowest));
        }
    }
    return OK;
}

/* Of lane 1 first, alarms last. False: it is not for this sink that the store is full. */
static enum err give_up(struct feeder *f, struct store_batch *batch, uint64_t bytes, bool *ret_given)
{
    struct sinks *s = f->sinks;
    for (unsigned lane = INBOX_LANES; lane-- > 0 && !*ret_given;) {
        uint64_t upto = furthest(s, lane), before = f->position[lane];
        if (before >= upto || (upto - before) / 3 < (spool_durable(s->spools[lane]) - before) / 4) {
            continue; /* the others have work enough */
        }
        TRY(owed_give_up(&f->owed, batch, s->spools[lane], upto, bytes, &f->position[lane]));
        *ret_given = f->position[lane] > before;
        if (f->unsettled_count == 0) {
            f->durable[lane] = max_u64(f->durable[lane], f->position[lane]);
        }
        log_error("sink is behind by more than lag_max: its oldest records are given up, to be declared as gaps in it",
                  KV_STR("sink", name_of(f)), KV_U64("lane", lane), KV_U64("first", before + 1),
                  KV_U64("last", f->position[lane]));
    }
    return OK;
}

static void on_given(void *arg, enum err result)
{
    struct sinks *s = arg;
    s->giving = false;
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        spool_settle(s->spools[lane], 0, result);
    }
    for (size_t i = 0; i < s->count && result == OK; i++) {
        s->feeders[i].owed.dirty = false;
    }
    sinks_kick(s);
}

/* In a batch of its own, which frees more than it adds and so passes in a full store. */
static enum err give_up_all(struct sinks *s, const struct store_usage *usage)
{
    CLEANUP(store_batch_freep) struct store_batch *batch = NULL;
    bool any = false;
    for (size_t i = 0; i < s->count; i++) {
        struct feeder *f = &s->feeders[i];
        uint64_t bound = usage->cap_bytes / 100 * f->sink.lag_max_pct;
        bool given = false;
        if (f->sink.lag_max_pct == 0 || (usage->used_bytes <= bound && !f->owed.dirty)) {
            continue;
        }
        if (batch == NULL) {
            TRY(store_batch_new(s->handlers.store, &batch));
        }
        TRY(owed_put_again(&f->owed, batch));
        if (usage->used_bytes > bound) {
            TRY(give_up(f, batch, max_u64(usage->used_bytes - bound, usage->cap_bytes / LAG_STEPS), &given));
        }
        any = any || given || f->owed.dirty;
    }
    if (!any) {
        return OK;
    }
    TRY(trim_into(s, batch));
    TRY(store_commit(s->handlers.store, batch, on_given, s));
    batch = NULL;
    s->giving = true;
    return OK;
}

static void on_lag(void *arg)
{
    struct sinks *s = arg;
    struct store_usage usage;
    loop_timer_in(&s->lag, LAG_WATCH_US);
    store_usage(s->handlers.store, &usage);
    enum err err = s->giving || s->stopped ? OK : give_up_all(s, &usage);
    if (err != OK) {
        log_warn("nothing can be given up now", KV_ERR(err));
    }
}

/* ---- the public face ---- */
static enum err open_feeder(struct sinks *s, struct feeder *f, struct fault *reterr)
{
    uint64_t epoch[INBOX_LANES];
    loop_timer_init(&f->retry, s->loop, on_retry, f);
    loop_timer_init(&f->settle, s->loop, on_settle, f);
    loop_timer_init(&f->tick, s->loop, on_tick, f);
    if (f->sink.ops->tick != NULL) {
        loop_timer_in(&f->tick, TICK_US);
    }
    f->items = calloc((size_t)BATCH_ENTRIES * INBOX_LANES, sizeof(*f->items));
    f->bytes = malloc(BLOCK_BYTES);
    f->gaps = malloc((size_t)BATCH_ENTRIES * INBOX_LANES * OWED_BODY_BYTES);
    if (f->items == NULL || f->bytes == NULL || f->gaps == NULL ||
        loop_worker_new(s->loop, f->sink.ops->name, &f->worker) != OK) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    f->stats.name = name_of(f);
    f->stats.type = f->sink.ops->name;
    f->entries = BATCH_FIRST;
    buffer_init(&f->letter, SPOOL_BODY_MAX);
    enum err err = owed_load(&f->owed, s->handlers.store, s->handlers.table, name_of(f));
    if (err != OK) {
        return fault_set(reterr, err, "what is owed to sink %s cannot be read: %s", name_of(f), err_name(err));
    }
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        epoch[lane] = spool_epoch(s->spools[lane]);
        f->position[lane] = spool_trimmed(s->spools[lane]);
    }
    if (f->sink.ops->position == NULL) {
        kept_get(s->handlers.store, s->handlers.table, name_of(f), s->spools, f->told);
        memcpy(f->ceiling, f->told, sizeof(f->ceiling));
        believe(f, f->told);
        return OK;
    }
    memcpy(f->durable, f->position, sizeof(f->durable));
    if (f->sink.ops->remote) {
        vouch_get(s->handlers.store, s->handlers.table, name_of(f), s->spools, f->ceiling);
        f->vouched = s->handlers.store != NULL;
        return OK;
    }
    err = f->sink.ops->position(f->sink.self, epoch, f->told);
    if (err != OK) {
        return fault_set(reterr, err, "sink %s does not tell its position: %s", name_of(f), err_name(err));
    }
    believe(f, f->told);
    return OK;
}

enum err sinks_new(struct loop *loop, struct spool *const spools[INBOX_LANES], struct sink *sinks, size_t count,
                   const struct sinks_handlers *handlers, struct sinks **ret_sinks, struct fault *reterr)
{
    CLEANUP(sinks_freep) struct sinks *s = calloc(1, sizeof(*s));
    struct feeder *feeders = calloc(count ? count : 1, sizeof(*feeders));
    if (s == NULL || feeders == NULL || count == 0) {
        for (size_t i = 0; i < count; i++) {
            sinks[i].ops->close(sinks[i].self);
        }
        free(feeders);
        return count == 0 ? fault_set(reterr, ERR_RANGE, "no sink") : fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    s->loop = loop;
    s->handlers = *handlers;
    s->feeders = feeders;
    s->count = count;
    memcpy(s->spools, spools, sizeof(s->spools));
    loop_task_init(&s->task, loop, on_task, s);
    loop_timer_init(&s->lag, loop, on_lag, s);
    for (size_t i = 0; i < count; i++) {
        s->feeders[i].sinks = s;
        s->feeders[i].sink = sinks[i];
    }
    for (size_t i = 0; i < count; i++) {
        TRY(open_feeder(s, &s->feeders[i], reterr));
        s->watches_lag = s->watches_lag || (count > 1 && sinks[i].lag_max_pct > 0 && handlers->store != NULL);
    }
    if (s->watches_lag) {
        loop_timer_in(&s->lag, LAG_WATCH_US);
    }
    *ret_sinks = take(s);
    return OK;
}

void sinks_free(struct sinks *s)
{
    if (s == NULL) {
        return;
    }
    loop_task_cancel(&s->task);
    loop_timer_cancel(&s->lag);
    for (size_t i = 0; i < s->count; i++) {
        struct feeder *f = &s->feeders[i];
        loop_timer_cancel(&f->retry);
        loop_timer_cancel(&f->settle);
        loop_timer_cancel(&f->tick);
        loop_worker_free(f->worker);
        f->sink.ops->close(f->sink.self);
        free(f->items);
        free(f->bytes);
        free(f->gaps);
        buffer_deinit(&f->letter);
        owed_deinit(&f->owed);
    }
    free(s->feeders);
    free(s);
}

bool sinks_ahead(const struct sinks *s, unsigned lane)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->feeders[i].position[lane] > spool_durable(s->spools[lane])) {
            return true;
        }
    }
    return false;
}

void sinks_rebased(struct sinks *s, unsigned lane)
{
    for (size_t i = 0; i < s->count; i++) {
        struct feeder *f = &s->feeders[i];
        f->position[lane] = f->durable[lane] = spool_trimmed(s->spools[lane]);
    }
}

void sinks_kick(struct sinks *s)
{
    if (!s->stopped) {
        loop_task_post(&s->task);
    }
}

bool sinks_drained(struct sinks *s)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct feeder *f = &s->feeders[i];
        if (f->busy || !f->known || f->owed.streams != NULL || f->unsettled_count > 0 || has_more(f)) {
            return false;
        }
    }
    return true;
}

bool sinks_idle(const struct sinks *s)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->feeders[i].busy) {
            return false;
        }
    }
    return true;
}

void sinks_stop(struct sinks *s)
{
    s->stopped = true;
    for (size_t i = 0; i < s->count; i++) {
        loop_timer_cancel(&s->feeders[i].retry);
        loop_timer_cancel(&s->feeders[i].settle);
        loop_timer_cancel(&s->feeders[i].tick);
    }
}

size_t sinks_count(const struct sinks *s)
{
    return s->count;
}

static bool note_received(void *arg, const struct spool_entry *entry)
{
    struct wire_forward forward;
    if (!entry->damaged && wire_forward_decode(entry->body, &forward) == OK) {
        uint64_t *oldest = arg;
        *oldest = *oldest == 0 ? forward.received_us : min_u64(*oldest, forward.received_us);
    }
    return false;
}

static uint64_t oldest_waiting(const struct feeder *f)
{
    uint64_t oldest = 0;
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        struct spool *spool = f->sinks->spools[lane];
        if (spool_durable(spool) > f->position[lane] &&
            spool_read(spool, f->position[lane] + 1, note_received, &oldest) != OK) {
            return 0;
        }
    }
    return oldest;
}

void sinks_stats(struct sinks *s, size_t index, struct sinks_stats *ret_stats)
{
    struct feeder *f = &s->feeders[index];
    *ret_stats = f->stats;
    memcpy(ret_stats->position, f->position, sizeof(ret_stats->position));
    ret_stats->known = f->known;
    ret_stats->given_up = f->owed.records;
    ret_stats->owed = HASH_COUNT(f->owed.streams);
    ret_stats->waiting_since_us = oldest_waiting(f);
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        uint64_t durable = spool_durable(s->spools[lane]);
        ret_stats->waiting += durable > f->position[lane] ? durable - f->position[lane] : 0;
        ret_stats->unsettled += f->position[lane] - min_u64(f->position[lane], f->durable[lane]);
    }
}

enum err sinks_prepare(struct store *store, struct store_batch *batch, unsigned table, const struct sink *sinks,
                       size_t count, struct spool *const spools[INBOX_LANES])
{
    for (size_t i = 0; i < count; i++) {
        if (sinks[i].ops->remote && sinks[i].ops->position != NULL) {
            TRY(vouch_put(store, batch, table, sinks[i].name[0] ? sinks[i].name : sinks[i].ops->name, spools));
        }
    }
    return OK;
}

enum err sinks_replay(struct sinks *s, uint64_t id)
{
    struct dead_letter letter;
    BUFFER(bytes, SPOOL_BODY_MAX);
    if (s->handlers.dead == NULL) {
        return ERR_NOT_FOUND;
    }
    TRY(dead_get(s->handlers.dead, id, &bytes, &letter));
    for (size_t i = 0; i < s->count; i++) {
        struct feeder *f = &s->feeders[i];
        if (strcmp(name_of(f), letter.sink) != 0) {
            continue;
        }
        if (f->replay != 0 && f->replay != id) {
            return ERR_AGAIN;
        }
        f->replay = id;
        sinks_kick(s);
        return OK;
    }
    return ERR_NOT_FOUND;
}
