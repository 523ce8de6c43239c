/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far a sink is: what it tells of itself, what is durable in it, and what the spool may forget therefore.
 *
 *   position[]   the sink has taken it                     moves with each batch; told by the sink, or kept for it
 *   durable[]    it is on the disk behind the sink         = position[], or what is older than settle_us
 *   trimmed      the spool's: no sink needs it any more    = the least durable[] of all sinks
 *
 * A position is never believed beyond ceiling[]: the spool may have come back from an old image (vouch.c).
 */
#include "cloud-bridge/sinks/feeder_internal.h"

#include "core/log/log.h"

void feeder_believe(struct feeder *f, const uint64_t told[INBOX_LANES])
{
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        uint64_t trimmed = spool_trimmed(f->sinks->spools[lane]);
        f->position[lane] = told[lane];
        if (f->sink.ops->remote && told[lane] > f->ceiling[lane]) {
            log_error("sink holds more of this lane than the store did: the store was restored from an old image",
                      KV_STR("sink", feeder_name(f)), KV_U64("lane", lane), KV_U64("position", told[lane]),
                      KV_U64("durable", f->ceiling[lane]));
            f->position[lane] = trimmed;
        } else if (told[lane] < trimmed) {
            if (told[lane] != 0) {
                log_warn("sink is behind what the spool still has: it was restored from an old image",
                         KV_STR("sink", feeder_name(f)), KV_U64("lane", lane), KV_U64("position", told[lane]),
                         KV_U64("trimmed", trimmed));
            }
            f->position[lane] = trimmed;
        }
    }
    memcpy(f->durable, f->position, sizeof(f->durable));
    f->known = true;
}

void feeder_unvouch(struct feeder *f)
{
    struct store_batch *batch = f->vouched ? f->sinks->handlers.batch(f->sinks->handlers.arg) : NULL;
    if (batch != NULL && vouch_delete(batch, f->sinks->handlers.table, feeder_name(f)) == OK) {
        f->vouched = false;
    }
}

/* ---- a position that the bridge keeps ---- */
void feeder_keep_position(struct feeder *f)
{
    struct store_batch *batch = NULL;
    if (f->sink.ops->position != NULL || f->sinks->handlers.store == NULL) {
        return;
    }
    batch = f->sinks->handlers.batch(f->sinks->handlers.arg);
    if (batch == NULL ||
        kept_put(batch, f->sinks->handlers.table, feeder_name(f), f->sinks->spools, f->durable) != OK) {
        log_debug("position is not kept this time", KV_STR("sink", feeder_name(f)));
    }
}

/* When there is no room to note it, the last note stands for both, by its later time. */
void feeder_note_unsettled(struct feeder *f)
{
    struct unsettled *u = &f->unsettled[f->unsettled_count == UNSETTLED_MAX ? UNSETTLED_MAX - 1 : f->unsettled_count++];
    u->time_us = loop_now_us(f->sinks->loop);
    memcpy(u->position, f->position, sizeof(u->position));
    if (!loop_timer_pending(&f->settle)) {
        loop_timer_in(&f->settle, f->sink.settle_us);
    }
}

bool feeder_settle_is_due(const struct feeder *f)
{
    return f->unsettled_count > 0 && f->unsettled[0].time_us + f->sink.settle_us <= loop_now_us(f->sinks->loop);
}

void feeder_settle(struct feeder *f)
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
    feeder_keep_position(f);
    sinks_trim(f->sinks);
}

void feeder_forget_unsettled(struct feeder *f)
{
    if (f->sink.settle_us > 0) {
        memcpy(f->position, f->durable, sizeof(f->position));
        f->unsettled_count = 0;
        loop_timer_cancel(&f->settle);
    }
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

void sinks_trim(struct sinks *s)
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

enum err sinks_trim_into(struct sinks *s, struct store_batch *batch)
{
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        uint64_t slowest = slowest_of(s, lane);
        if (slowest > spool_trimmed(s->spools[lane])) {
            TRY(spool_trim(s->spools[lane], batch, slowest));
        }
    }
    return OK;
}
