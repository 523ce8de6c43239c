/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cycle of one feeder: it chooses a job, its worker does it, and what comes of it chooses the next.
 *
 *   IDLE --kick, more in the spool--> fill batch (lane 0 first), offload write --worker--> done
 *    ^                                                                                      |
 *    +-- OK: positions = reached, trim behind the slowest <---------------------------------+
 *    '-- failed: WAIT (100 ms doubling to 30 s, jittered), then the same positions again <--'
 *
 *   job          chosen when (the first that holds)      does       when it has gone well
 *   JOB_ASK      the sink has not told its position      position   the position is believed
 *   JOB_ALIVE    a batch is older than settle_us         alive      batches as old as that count as durable
 *   JOB_OWED     gaps of what was given up are owed      write      they are forgotten
 *   JOB_REPLAY   an operator replays a dead letter       write      the letter is removed
 *   JOB_TICK     TICK_US have passed                     tick
 *   JOB_WRITE    the spool has more                      write      the position moves
 *
 * A remote sink is asked for its position first, and again after every failure: its server may have come back from an
 * old backup. A job that writes may also end in refusals (feeder_refused.c).
 *
 * The size of batches follows the sink, so that a write under way takes about BATCH_AIM_US.
 */
#include "cloud-bridge/sinks/feeder_internal.h"

#include <stdio.h>

#include "cloud-bridge/sinks/dead.h"
#include "core/log/log.h"

enum {
    BATCH_FIRST = 256,
    BATCH_AIM_US = 100000,
    BACKOFF_MIN_US = 100000,
    BACKOFF_MAX_US = 30000000,
    TICK_US = 5000000
};

const char *feeder_name(const struct feeder *f)
{
    return f->sink.name[0] != '\0' ? f->sink.name : f->sink.ops->name;
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

void feeder_failed(struct feeder *f, enum err err, const char *text)
{
    f->stats.failures++;
    f->stats.failing = true;
    f->known = f->known && (!f->sink.ops->remote || f->sink.ops->position == NULL);
    feeder_forget_unsettled(f);
    snprintf(f->stats.last_error, sizeof(f->stats.last_error), "%s", text[0] != '\0' ? text : err_name(err));
    f->backoff_us = f->backoff_us == 0 ? BACKOFF_MIN_US : min_i64(2 * f->backoff_us, BACKOFF_MAX_US);
    int64_t jitter = (int64_t)(loop_random(f->sinks->loop) % (uint64_t)(f->backoff_us / 4));
    log_warn("sink failed, will try again", KV_STR("sink", feeder_name(f)), KV_STR("reason", f->stats.last_error),
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

void feeder_offload(struct feeder *f)
{
    enum err err = loop_offload(f->worker, work, done, f);
    f->busy = err == OK;
    if (err != OK) {
        feeder_failed(f, err, "");
    }
}

bool feeder_has_more(const struct feeder *f)
{
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        if (spool_durable(f->sinks->spools[lane]) > f->position[lane]) {
            return true;
        }
    }
    return false;
}

static void settle_owed(struct feeder *f)
{
    struct store_batch *batch = f->sinks->handlers.batch(f->sinks->handlers.arg);
    enum err err = batch ? owed_settle(&f->owed, batch, f->items, f->batch.count) : ERR_NOMEM;
    if (err != OK) {
        log_warn("gaps that a sink has are kept, it will skip them", KV_STR("sink", feeder_name(f)), KV_ERR(err));
    }
}

/* It answers; whether it can be written to shows with the next write. */
static void told(struct feeder *f)
{
    feeder_believe(f, f->told);
    feeder_unvouch(f);
    if (!feeder_has_more(f) && f->owed.streams == NULL) {
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
            log_info("dead letter taken", KV_STR("sink", feeder_name(f)), KV_U64("id", f->replay));
        } else {
            log_warn("dead letter taken, but the store does not forget it yet", KV_STR("sink", feeder_name(f)),
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
        feeder_bury(f);
        return;
    }
    if (f->result != OK) {
        feeder_failed(f, f->result, f->fault.text);
        return;
    }
    if (f->job == JOB_ASK) {
        told(f);
        return;
    }
    if (f->job == JOB_ALIVE) {
        feeder_settle(f);
        sinks_kick(f->sinks);
        return;
    }
    if (f->job == JOB_TICK) {
        sinks_kick(f->sinks);
        return;
    }
    if (f->stats.failing) {
        log_info("sink works again", KV_STR("sink", feeder_name(f)));
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
        feeder_note_unsettled(f);
    } else {
        memcpy(f->durable, f->position, sizeof(f->durable));
        feeder_keep_position(f);
    }
    sinks_trim(f->sinks);
    sinks_kick(f->sinks);
}

/* False: nothing to do. */
static bool choose_job(struct feeder *f)
{
    if (!f->known) {
        f->job = JOB_ASK;
        feeder_begin(f);
        return true;
    }
    if (feeder_settle_is_due(f)) {
        f->job = JOB_ALIVE;
        return true;
    }
    if (f->owed.streams != NULL) {
        f->job = JOB_OWED;
        feeder_fill_owed(f);
        return true;
    }
    if (f->replay != 0 && feeder_fill_letter(f)) {
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
    return feeder_has_more(f);
}

void feeder_feed(struct feeder *f)
{
    if (f->busy || loop_timer_pending(&f->retry) || f->sinks->stopped || !choose_job(f)) {
        return;
    }
    enum err err = f->job == JOB_WRITE ? feeder_fill(f) : OK;
    for (unsigned lane = 0; lane < INBOX_LANES && f->job == JOB_WRITE; lane++) {
        f->ceiling[lane] = max_u64(f->position[lane], f->batch.position[lane]); /* what it may come to have */
    }
    if (err == OK) {
        err = loop_offload(f->worker, work, done, f);
    }
    if (err != OK) {
        feeder_failed(f, err, "");
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
    feeder_feed(f);
}

static void on_settle(void *arg)
{
    feeder_feed(arg);
}

static void on_retry(void *arg)
{
    struct feeder *f = arg;
    if (f->again) {
        f->again = false;
        f->begun_us = loop_now_us(f->sinks->loop); /* the wait is not the sink's */
        feeder_offload(f);
    } else {
        feeder_feed(f);
    }
}

enum err feeder_open(struct sinks *s, struct feeder *f, struct fault *reterr)
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
    f->stats.name = feeder_name(f);
    f->stats.type = f->sink.ops->name;
    f->entries = BATCH_FIRST;
    buffer_init(&f->letter, SPOOL_BODY_MAX);
    enum err err = owed_load(&f->owed, s->handlers.store, s->handlers.table, feeder_name(f));
    if (err != OK) {
        return fault_set(reterr, err, "what is owed to sink %s cannot be read: %s", feeder_name(f), err_name(err));
    }
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        epoch[lane] = spool_epoch(s->spools[lane]);
        f->position[lane] = spool_trimmed(s->spools[lane]);
    }
    if (f->sink.ops->position == NULL) {
        kept_get(s->handlers.store, s->handlers.table, feeder_name(f), s->spools, f->told);
        memcpy(f->ceiling, f->told, sizeof(f->ceiling));
        feeder_believe(f, f->told);
        return OK;
    }
    memcpy(f->durable, f->position, sizeof(f->durable));
    if (f->sink.ops->remote) {
        vouch_get(s->handlers.store, s->handlers.table, feeder_name(f), s->spools, f->ceiling);
        f->vouched = s->handlers.store != NULL;
        return OK;
    }
    err = f->sink.ops->position(f->sink.self, epoch, f->told);
    if (err != OK) {
        return fault_set(reterr, err, "sink %s does not tell its position: %s", feeder_name(f), err_name(err));
    }
    feeder_believe(f, f->told);
    return OK;
}

void feeder_stop(struct feeder *f)
{
    loop_timer_cancel(&f->retry);
    loop_timer_cancel(&f->settle);
    loop_timer_cancel(&f->tick);
}

void feeder_close(struct feeder *f)
{
    feeder_stop(f);
    loop_worker_free(f->worker);
    f->sink.ops->close(f->sink.self);
    free(f->items);
    free(f->bytes);
    free(f->gaps);
    buffer_deinit(&f->letter);
    owed_deinit(&f->owed);
}
