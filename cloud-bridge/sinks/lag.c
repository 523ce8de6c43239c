/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sink that is away too long. While the store is filled to no more than a sink's lag_max_pct, nothing is done. Above,
 * if another sink is further, the oldest records are given up for it, a LAG_STEPS-th of the store at the least, and are
 * owed to it as gaps (owed.c). Looked at every LAG_WATCH_US; on the loop's thread.
 */
#include "cloud-bridge/sinks/feeder_internal.h"

#include "core/log/log.h"

enum { LAG_STEPS = 64 };

static uint64_t furthest(const struct sinks *s, unsigned lane)
{
    uint64_t position = 0;
    for (size_t i = 0; i < s->count; i++) {
        position = max_u64(position, s->feeders[i].position[lane]);
    }
    return position;
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
                  KV_STR("sink", feeder_name(f)), KV_U64("lane", lane), KV_U64("first", before + 1),
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
    TRY(sinks_trim_into(s, batch));
    TRY(store_commit(s->handlers.store, batch, on_given, s));
    batch = NULL;
    s->giving = true;
    return OK;
}

void sinks_watch_lag(void *arg)
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
