/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events in, frames and trims out. Frames leave from one place only, the pump, which runs at the end of a round; so a
 * burst of answers or appends costs one pass, and no handler is called from within another.
 */
#include "core/outbox/outbox.h"

#include <assert.h>

#include "core/outbox/outbox_internal.h"

enum { TRIM_EVERY = 256, FRAME_BYTES = 16 * 1024, FRAME_ENTRIES = 256 };
#define TRIM_DELAY_US SECOND_US

static void open_window(struct outbox *o)
{
    window_sender_init(&o->window, &o->options.window, o->flight, spool_trimmed(o->spool), spool_durable(o->spool));
    if (!o->answered) {
        window_sender_hold(&o->window, o->boot_top);
    }
    if (o->connected) {
        window_sender_connected(&o->window);
    }
}

/* ---- sending ---- */

static enum err send_frame(struct outbox *o, uint64_t from)
{
    bool carrier = from < o->window.base;
    if (carrier) {
        TRY(outbox_frame_carrier(o, from));
    } else {
        TRY(outbox_frame_build(o, from));
    }
    const struct outbox_frame *f = &o->frame;
    uint64_t last = f->entries[f->count - 1].last;
    struct window_header header = {.epoch = spool_epoch(o->spool),
                                   .boot = o->options.boot,
                                   .lane = o->options.lane,
                                   .boot_seq = o->options.boot_seq,
                                   .boot_top = o->boot_top,
                                   .replaces = o->replaces};
    window_sender_header(&o->window, f->entries[0].first, last, &header);
    TRY(o->handlers.send(o->handlers.arg, &header, f->entries, f->count));
    window_sender_sent(&o->window, last, f->bodies.len, loop_now_us(o->loop));
    return OK;
}

static void set_deadline(struct outbox *o)
{
    int64_t due_us = window_sender_deadline(&o->window);
    if (due_us == 0 || o->rolled_back) {
        loop_timer_cancel(&o->deadline);
    } else if (!loop_timer_pending(&o->deadline) || o->deadline.due_us != due_us) {
        loop_timer_at(&o->deadline, due_us);
    }
}

static void pump(void *arg)
{
    struct outbox *o = arg;
    uint64_t from;
    window_sender_durable(&o->window, spool_durable(o->spool));
    while (o->recorded && !o->rolled_back && !o->blocked &&
           window_sender_may_send(&o->window, loop_now_us(o->loop), &from)) {
        enum err err = send_frame(o, from);
        o->blocked = err != OK;
        if (err != OK && err != ERR_AGAIN) {
            loop_timer_in(&o->retry, OUTBOX_RETRY_US);
        }
    }
    set_deadline(o);
    if (o->window.flight_count == 0) {
        outbox_frame_release(&o->frame);
    }
}

static void on_deadline(void *arg)
{
    struct outbox *o = arg;
    window_sender_tick(&o->window, loop_now_us(o->loop));
    loop_task_post(&o->pump);
}

static void on_retry(void *arg)
{
    struct outbox *o = arg;
    outbox_record_write(o);
    outbox_kick(o);
}

void outbox_greet(struct outbox *o)
{
    window_sender_greet(&o->window);
    loop_timer_in(&o->greet, OUTBOX_GREET_US);
    loop_task_post(&o->pump);
}

static void on_greet(void *arg)
{
    outbox_greet(arg);
}

/* ---- trimming ---- */

static void on_trimmed(void *arg, enum err result)
{
    struct outbox *o = arg;
    spool_settle(o->spool, 0, result); /* failed: the next trim deletes this one's entries, too */
    o->trim_under_way = false;
}

static enum err trim_in_own_batch(struct outbox *o, uint64_t upto)
{
    CLEANUP(store_batch_freep) struct store_batch *batch = NULL;
    TRY(store_batch_new(o->store, &batch));
    TRY(spool_trim(o->spool, batch, upto));
    TRY(store_commit(o->store, batch, on_trimmed, o));
    (void)take(batch);
    o->trim_under_way = true;
    return OK;
}

static void trim_now(void *arg)
{
    struct outbox *o = arg;
    uint64_t upto = outbox_acked(o);
    if (o->rolled_back || upto <= spool_trimmed(o->spool)) {
        return;
    }
    enum err err = ERR_AGAIN;
    if (o->handlers.batch != NULL) {
        struct store_batch *batch = o->handlers.batch(o->handlers.arg);
        err = batch != NULL ? spool_trim(o->spool, batch, upto) : ERR_NOMEM;
    } else if (!o->trim_under_way) {
        err = trim_in_own_batch(o, upto);
    }
    if (err == OK) {
        loop_timer_cancel(&o->trim);
    } else {
        loop_timer_in(&o->trim, TRIM_DELAY_US);
    }
}

static void plan_trim(struct outbox *o)
{
    uint64_t acked = outbox_acked(o), trimmed = spool_trimmed(o->spool);
    uint64_t behind = acked > trimmed ? acked - trimmed : 0;
    if (behind >= TRIM_EVERY || spool_bytes(o->spool) > spool_room(o->spool)) {
        trim_now(o);
    } else if (!loop_timer_pending(&o->trim)) {
        loop_timer_in(&o->trim, TRIM_DELAY_US);
    }
}

/* ---- life ---- */

enum err outbox_new(struct loop *loop, struct store *store, struct spool *spool, const struct outbox_options *options,
                    const struct outbox_handlers *handlers, struct outbox **ret_outbox)
{
    assert(spool_epoch(spool) != 0 && options->boot != 0);
    CLEANUP(outbox_freep) struct outbox *o = calloc(1, sizeof(*o));
    if (o == NULL) {
        return ERR_NOMEM;
    }
    o->loop = loop;
    o->store = store;
    o->spool = spool;
    o->options = *options;
    o->options.frame_bytes = options->frame_bytes ? options->frame_bytes : FRAME_BYTES;
    o->options.frame_entries = options->frame_entries ? options->frame_entries : FRAME_ENTRIES;
    o->handlers = *handlers;
    loop_task_init(&o->pump, loop, pump, o);
    loop_timer_init(&o->deadline, loop, on_deadline, o);
    loop_timer_init(&o->trim, loop, trim_now, o);
    loop_timer_init(&o->retry, loop, on_retry, o);
    loop_timer_init(&o->greet, loop, on_greet, o);
    o->flight = calloc(options->window.max_frames, sizeof(*o->flight));
    if (o->flight == NULL) {
        return ERR_NOMEM;
    }
    o->replaces = spool_origin(spool);
    TRY(outbox_record_open(o));
    open_window(o);
    outbox_record_write(o);
    *ret_outbox = take(o);
    return OK;
}

void outbox_free(struct outbox *o)
{
    if (o == NULL) {
        return;
    }
    loop_task_cancel(&o->pump);
    loop_timer_cancel(&o->deadline);
    loop_timer_cancel(&o->trim);
    loop_timer_cancel(&o->retry);
    loop_timer_cancel(&o->greet);
    outbox_frame_release(&o->frame);
    free(o->flight);
    free(o);
}

void outbox_connected(struct outbox *o)
{
    o->connected = true;
    o->blocked = false;
    window_sender_connected(&o->window);
    loop_timer_in(&o->greet, OUTBOX_GREET_US);
    loop_task_post(&o->pump);
}

void outbox_disconnected(struct outbox *o)
{
    o->connected = false;
    loop_timer_cancel(&o->greet);
    window_sender_disconnected(&o->window);
    outbox_frame_release(&o->frame);
    set_deadline(o);
}

void outbox_kick(struct outbox *o)
{
    o->blocked = false;
    loop_task_post(&o->pump);
}

/* What the receiver has of this history stays under the old epoch, the rest goes into the new one. What stands above the
 * fork is not ours, unless the stream was ours when it was closed; what was acknowledged to us is in any case. */
static void roll_back(struct outbox *o, uint64_t hwm, uint32_t owner)
{
    o->rolled_back = true;
    loop_timer_cancel(&o->trim);
    set_deadline(o);
    uint64_t keep_above = owner == o->options.boot ? hwm : min_u64(hwm, o->boot_top);
    keep_above = max_u64(keep_above, outbox_acked(o));
    o->handlers.on_rolled_back(o->handlers.arg, min_u64(keep_above, spool_durable(o->spool)));
}

void outbox_answer(struct outbox *o, uint64_t epoch, uint32_t boot, enum window_verdict verdict, uint64_t hwm,
                   uint32_t owner)
{
    if (epoch != spool_epoch(o->spool) || boot != o->options.boot || o->rolled_back) {
        return;
    }
    bool moved = window_sender_answer(&o->window, verdict, hwm, loop_now_us(o->loop));
    if (o->window.state == WINDOW_STALE_EPOCH) {
        roll_back(o, hwm, owner);
        return;
    }
    outbox_record_write(o);
    if (moved) {
        plan_trim(o);
        if (o->handlers.on_acked != NULL) {
            o->handlers.on_acked(o->handlers.arg, outbox_acked(o));
        }
    }
    loop_task_post(&o->pump);
}

void outbox_restart(struct outbox *o, uint64_t replaces)
{
    o->rolled_back = false;
    o->blocked = false;
    o->replaces = replaces;
    outbox_record_restart(o);
    open_window(o);
    outbox_record_write(o);
    loop_task_post(&o->pump);
}

uint64_t outbox_acked(const struct outbox *o)
{
    return o->window.base - 1;
}

const struct window_sender *outbox_window(const struct outbox *o)
{
    return &o->window;
}
