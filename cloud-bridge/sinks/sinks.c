/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The drain as the bridge sees it: one feeder per sink, each with its own position, batch and worker. What a feeder
 * does is in feeder.c; here all of them are made, asked, counted and stopped.
 */
#include "cloud-bridge/sinks/sinks.h"

#include "cloud-bridge/sinks/dead.h"
#include "cloud-bridge/sinks/feeder_internal.h"

static void on_task(void *arg)
{
    struct sinks *s = arg;
    for (size_t i = 0; i < s->count; i++) {
        feeder_feed(&s->feeders[i]);
    }
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
    loop_timer_init(&s->lag, loop, sinks_watch_lag, s);
    for (size_t i = 0; i < count; i++) {
        s->feeders[i].sinks = s;
        s->feeders[i].sink = sinks[i];
    }
    for (size_t i = 0; i < count; i++) {
        TRY(feeder_open(s, &s->feeders[i], reterr));
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
        feeder_close(&s->feeders[i]);
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
        if (f->busy || !f->known || f->owed.streams != NULL || f->unsettled_count > 0 || feeder_has_more(f)) {
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
        feeder_stop(&s->feeders[i]);
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
        if (strcmp(feeder_name(f), letter.sink) != 0) {
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
