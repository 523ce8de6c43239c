/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a sink can never take is made durable as a dead letter, replaced by a gap, and the batch is offered again:
 *
 *   done(ERR_UNSUPPORTED, refusals) --> dead_put --committed--> the same batch, with gaps --> done(OK)
 *
 *   refused                                 becomes
 *   a record                                a letter, and a gap in its place
 *   the gap in the place of a letter        nothing: the letter stands alone, the sink skips the record
 *   a letter that was replayed              a new letter, with another id
 *   all of the batch                        letters, one batch every BURY_SLOWLY_US
 */
#include "cloud-bridge/sinks/feeder_internal.h"

#include <stdio.h>

#include "cloud-bridge/sinks/dead.h"
#include "core/log/log.h"

enum { BURY_SLOWLY_US = 1000000 };

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
        feeder_failed(f, result, f->error);
        return;
    }
    for (size_t i = 0; i < f->refusals.count; i++) {
        size_t index = f->refusals.items[i].index;
        struct sink_item *item = &f->items[index];
        log_warn("record goes to the dead letters", KV_STR("sink", feeder_name(f)),
                 KV_STR("device", item->forward.device), KV_U64("first", item->forward.first),
                 KV_STR("reason", f->refusals.items[i].reason));
        feeder_put_gap(f, index, WEIR__V1__GAP_REASON__DEAD_LETTER);
        f->stats.refused++;
    }
    if (f->job == JOB_WRITE && f->refusals.count == SINK_REFUSALS_MAX) {
        shorten(f);
    }
    if (f->refusals.none_taken) {
        offer_slowly(f);
    } else if (!f->sinks->stopped) {
        feeder_offload(f);
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
            log_warn("sink refuses even the gap of a dead letter, which stands alone", KV_STR("sink", feeder_name(f)),
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
void feeder_bury(struct feeder *f)
{
    const struct sink_refusal *refusal = &f->refusals.items[0];
    enum err err = OK;
    leave_out_gaps(f);
    if (f->refusals.count == 0) {
        if (!f->sinks->stopped) {
            feeder_offload(f);
        }
        return;
    }
    if (f->job == JOB_REPLAY) {
        log_warn("dead letter is refused again", KV_STR("sink", feeder_name(f)), KV_STR("reason", refusal->reason));
        err = dead_refused_again(f->sinks->handlers.dead, f->replay, refusal->reason, NULL, NULL);
        f->replay = 0;
        sinks_kick(f->sinks);
    } else {
        err = dead_put(f->sinks->handlers.dead, feeder_name(f), &f->batch, on_buried, f);
        f->busy = err == OK;
    }
    if (err != OK) {
        snprintf(f->error, sizeof(f->error), "a dead letter cannot be kept now: %s", err_name(err));
        feeder_failed(f, err, f->error);
    }
}
