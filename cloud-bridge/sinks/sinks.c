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
 * Alarms do not wait: a batch that has any holds nothing else (two in a row are mixed, so that a flood of alarms does
 * not stop the rest), and the size of batches follows the sink, so that a write under way takes about BATCH_AIM_US.
 */
#include "cloud-bridge/sinks/sinks_internal.h"

#include <stdio.h>

#include "core/log/log.h"

enum {
    BATCH_FIRST = 256,
    BATCH_LEAST = 16,
    BATCH_ENTRIES = 2048,
    BATCH_BYTES = 1 << 20,
    BATCH_AIM_US = 100000,
    BACKOFF_MIN_US = 100000,
    BACKOFF_MAX_US = 30000000
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
};
/* A batch may end with one entry that goes beyond BATCH_BYTES; both lanes share the block. */
#define BLOCK_BYTES ((size_t)INBOX_LANES * (BATCH_BYTES + SPOOL_BODY_MAX))

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

/* ---- trimming ---- */
static void trim(struct sinks *s)
{
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        uint64_t slowest = UINT64_MAX;
        for (size_t i = 0; i < s->count; i++) {
            slowest = min_u64(slowest, s->feeders[i].position[lane]);
        }
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
    f->result = f->sink.ops->write(f->sink.self, &f->batch, &f->fault);
}

static void failed(struct feeder *f, enum err err, const char *text)
{
    f->stats.failures++;
    f->stats.failing = true;
    snprintf(f->stats.last_error, sizeof(f->stats.last_error), "%s", text[0] != '\0' ? text : err_name(err));
    f->backoff_us = f->backoff_us == 0 ? BACKOFF_MIN_US : min_i64(2 * f->backoff_us, BACKOFF_MAX_US);
    int64_t jitter = (int64_t)(loop_random(f->sinks->loop) % (uint64_t)(f->backoff_us / 4));
    log_warn("sink failed, will try again", KV_STR("sink", f->sink.ops->name), KV_STR("reason", f->stats.last_error),
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

static void done(void *arg)
{
    struct feeder *f = arg;
    f->busy = false;
    if (f->result != OK) {
        failed(f, f->result, f->fault.text);
        return;
    }
    if (f->stats.failing) {
        log_info("sink works again", KV_STR("sink", f->sink.ops->name));
    }
    f->stats.failing = false;
    f->backoff_us = 0;
    adapt_size(f, loop_now_us(f->sinks->loop) - f->begun_us);
    f->stats.batches++;
    f->stats.records += f->batch.count;
    f->stats.unreadable += f->unreadable;
    memcpy(f->position, f->batch.position, sizeof(f->position));
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

static void feed(struct feeder *f)
{
    if (f->busy || loop_timer_pending(&f->retry) || f->sinks->stopped || !has_more(f)) {
        return;
    }
    enum err err = fill_batch(f);
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

static void on_retry(void *arg)
{
    feed(arg);
}

static void on_task(void *arg)
{
    struct sinks *s = arg;
    for (size_t i = 0; i < s->count; i++) {
        feed(&s->feeders[i]);
    }
}

/* ---- the public face ---- */
static enum err open_feeder(struct sinks *s, struct feeder *f, struct fault *reterr)
{
    uint64_t epoch[INBOX_LANES];
    loop_timer_init(&f->retry, s->loop, on_retry, f);
    f->items = calloc((size_t)BATCH_ENTRIES * INBOX_LANES, sizeof(*f->items));
    f->bytes = malloc(BLOCK_BYTES);
    if (f->items == NULL || f->bytes == NULL || loop_worker_new(s->loop, f->sink.ops->name, &f->worker) != OK) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    f->stats.name = f->sink.ops->name;
    f->entries = BATCH_FIRST;
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        epoch[lane] = spool_epoch(s->spools[lane]);
    }
    enum err err = f->sink.ops->position(f->sink.self, epoch, f->position);
    if (err != OK) {
        return fault_set(reterr, err, "sink %s does not tell its position: %s", f->sink.ops->name, err_name(err));
    }
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        if (f->position[lane] < spool_trimmed(s->spools[lane])) {
            if (f->position[lane] != 0) {
                log_warn("sink is behind what the spool still has: it was restored from an old image",
                         KV_STR("sink", f->sink.ops->name), KV_U64("lane", lane),
                         KV_U64("position", f->position[lane]), KV_U64("trimmed", spool_trimmed(s->spools[lane])));
            }
            f->position[lane] = spool_trimmed(s->spools[lane]);
        }
    }
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
    for (size_t i = 0; i < count; i++) {
        s->feeders[i].sinks = s;
        s->feeders[i].sink = sinks[i];
    }
    for (size_t i = 0; i < count; i++) {
        TRY(open_feeder(s, &s->feeders[i], reterr));
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
    for (size_t i = 0; i < s->count; i++) {
        struct feeder *f = &s->feeders[i];
        loop_timer_cancel(&f->retry);
        loop_worker_free(f->worker);
        f->sink.ops->close(f->sink.self);
        free(f->items);
        free(f->bytes);
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
        s->feeders[i].position[lane] = spool_trimmed(s->spools[lane]);
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
        if (s->feeders[i].busy || has_more(&s->feeders[i])) {
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
    }
}

size_t sinks_count(const struct sinks *s)
{
    return s->count;
}

void sinks_stats(struct sinks *s, size_t index, struct sinks_stats *ret_stats)
{
    *ret_stats = s->feeders[index].stats;
    memcpy(ret_stats->position, s->feeders[index].position, sizeof(ret_stats->position));
}
