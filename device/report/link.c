/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Outboxes <-> bus: frames out on <...>/tele at QoS 0, acknowledgements in on <...>/ack. Other channels in (cmd,
 * answer) where somebody listens.
 */
#include <assert.h>
#include <stdio.h>

#include "core/log/log.h"
#include "device/report/report_internal.h"

/* ---- connected, but not heard ---- */

static void look_for_silence(struct report *r)
{
    struct silence_lane lanes[LANE_COUNT];
    for (unsigned i = 0; i < LANE_COUNT; i++) {
        const struct lane *lane = &r->lanes[i];
        uint64_t durable = spool_durable(lane->spool);
        lanes[i] = (struct silence_lane){spool_epoch(lane->spool), durable,
                                         lane->outbox ? outbox_acked(lane->outbox) : durable};
    }
    char why[SILENCE_WHY_MAX];
    switch (silence_look(&r->silence, r->up, lanes, loop_now_us(r->loop))) {
    case SILENCE_BEGAN:
        (void)report_unheard(r, why);
        log_warn("nothing is acknowledged", KV_STR("device", r->device), KV_STR("reason", why));
        break;
    case SILENCE_ENDED:
        log_info("the gateway acknowledges again", KV_STR("device", r->device), KV_STR("gateway", r->gateway));
        break;
    case SILENCE_NO_NEWS:
        break;
    }
}

void report_look_for_silence(void *arg)
{
    struct report *r = arg;
    look_for_silence(r);
    loop_timer_in(&r->silence_timer, SILENCE_LOOK_US);
}

bool report_unheard(const struct report *r, char ret_why[REPORT_WHY_MAX])
{
    static_assert((int)REPORT_WHY_MAX >= (int)SILENCE_WHY_MAX, "the sentence must fit");
    char peer[ID_MAX + 16];
    snprintf(peer, sizeof peer, "the gateway %s", r->gateway);
    return silence_why(&r->silence, peer, "this device", loop_now_us(r->loop), ret_why);
}

/* ---- bus ---- */

/* The receiver has answered one lane. Another that waits out a timeout, up to a minute after a long silence, need not: it
 * tries again at once. Once for each timeout, so that a lane that goes unanswered for reasons of its own stays slow. */
static void wake_others(struct report *r, struct lane *answered)
{
    for (unsigned i = 0; i < LANE_COUNT; i++) {
        struct lane *lane = &r->lanes[i];
        if (lane->outbox == NULL) {
            continue;
        }
        const struct window_sender *window = outbox_window(lane->outbox);
        bool timed_out = lane->timeouts_seen != window->stats.timeouts;
        lane->timeouts_seen = window->stats.timeouts;
        if (lane != answered && timed_out && r->up && window->paused_until_us == 0) {
            outbox_connected(lane->outbox);
        }
    }
}

/* True: it was for somebody who listens. */
static bool heard(struct report *r, struct slice topic, struct slice payload)
{
    char theirs[TOPIC_MAX + 1];
    for (struct report_listener *l = r->listeners; l != NULL; l = l->next) {
        topic_format(r->site, r->gateway, r->device, l->channel, theirs);
        if (slice_equal(topic, slice_str(theirs))) {
            l->fn(l->arg, payload);
            return true;
        }
    }
    return false;
}

static void on_message(void *arg, struct slice topic, struct slice payload, bool retained)
{
    struct report *r = arg;
    struct wire_ack ack;
    if (!retained && heard(r, topic, payload)) {
        return;
    }
    if (retained || !slice_equal(topic, slice_str(r->ack_topic))) {
        r->stats.ignored++; /* a stored ack would speak of the past */
        return;
    }
    if (wire_ack_decode(payload, &ack) != OK || ack.lane >= LANE_COUNT) {
        r->stats.ignored++;
        return;
    }
    struct lane *lane = &r->lanes[ack.lane];
    if (lane->outbox != NULL) {
        r->stats.acks++;
        if (ack.epoch == spool_epoch(lane->spool) && ack.boot == r->boot) {
            silence_answer(&r->silence, ack.lane, ack.verdict);
            wake_others(r, lane);
        }
        outbox_answer(lane->outbox, ack.epoch, ack.boot, ack.verdict, ack.hwm, ack.owner);
        for (unsigned i = 0; i < LANE_COUNT && ack.verdict == WINDOW_NEED_HELLO; i++) {
            if (i != ack.lane && r->lanes[i].outbox != NULL) {
                outbox_greet(r->lanes[i].outbox);
            }
        }
        look_for_silence(r);
    }
}

static void on_state(void *arg, enum bus_state state, const char *reason)
{
    struct report *r = arg;
    bool was_up = r->up;
    r->up = state == BUS_UP;
    if (state == BUS_UP && bus_reason_refused(reason)) {
        log_warn("connected, but the broker refuses what we must read", KV_STR("device", r->device),
                 KV_STR("reason", reason));
    } else if (state == BUS_UP) {
        log_info("connected", KV_STR("device", r->device), KV_STR("reason", reason));
    } else {
        log_warn("not connected", KV_STR("device", r->device), KV_STR("reason", reason));
    }
    for (unsigned i = 0; i < LANE_COUNT; i++) {
        struct outbox *outbox = r->lanes[i].outbox;
        if (outbox != NULL && r->up && !was_up) { /* UP comes twice when a subscription is refused later */
            outbox_connected(outbox);
        } else if (outbox != NULL && !r->up) {
            outbox_disconnected(outbox);
        }
    }
    look_for_silence(r);
    if (r->options.watcher.on_link != NULL) {
        r->options.watcher.on_link(r->options.watcher.arg, r->up, reason);
    }
}

static void on_writable(void *arg)
{
    struct report *r = arg;
    for (unsigned i = 0; i < LANE_COUNT; i++) { /* alarms first */
        if (r->lanes[i].outbox != NULL) {
            outbox_kick(r->lanes[i].outbox);
        }
    }
}

enum err report_link_init(struct report *r)
{
    topic_format(r->site, r->gateway, r->device, TOPIC_TELE, r->tele_topic);
    topic_format(r->site, r->gateway, r->device, TOPIC_ACK, r->ack_topic);
    buffer_init(&r->frame, WIRE_FRAME_MAX);
    buffer_init(&r->gaps, FRAME_ENTRIES * GAP_RECORD_MAX);
    const struct bus_handlers handlers = {
        .on_message = on_message, .on_state = on_state, .on_writable = on_writable, .arg = r};
    bus_set_handlers(r->bus, &handlers);
    return bus_subscribe(r->bus, r->ack_topic, 0);
}

enum err report_listen(struct report *r, struct report_listener *listener)
{
    char topic[TOPIC_MAX + 1];
    topic_format(r->site, r->gateway, r->device, listener->channel, topic);
    TRY(bus_subscribe(r->bus, topic, listener->channel == TOPIC_CMD)); /* the others are worth nothing when they are late */
    listener->next = r->listeners;
    r->listeners = listener;
    return OK;
}

/* ---- outbox ---- */

/* In an epoch that began with records of an older one, ranges that were declared there have old numbers in them, or
 * were cut: they are declared anew. The receiver would refuse a frame whose records do not cover what its head says. */
static enum err current_body(struct report *r, const struct spool_entry *entry, struct slice *ret_body)
{
    *ret_body = entry->body;
    uint64_t span = entry->last - entry->first + 1, told;
    if (wire_record_span(entry->body, &told) == OK && told == span &&
        wire_record_check(entry->body, entry->first, entry->last, NULL) == OK) {
        return OK;
    }
    size_t at = r->gaps.len;
    TRY(wire_gap_pack(entry->first, entry->last, WEIR__V1__GAP_REASON__OVERFLOW, report_wall_us(r), &r->gaps));
    *ret_body = slice_of(r->gaps.ptr + at, r->gaps.len - at);
    return OK;
}

static enum err outbox_send(void *arg, const struct window_header *header, const struct spool_entry *entries,
                            size_t count)
{
    struct lane *lane = arg;
    struct report *r = lane->report;
    struct slice bodies[FRAME_ENTRIES];
    if (count > FRAME_ENTRIES) {
        return ERR_RANGE;
    }
    bool renumbered = spool_origin(lane->spool) != 0;
    buffer_reset(&r->gaps);
    if (renumbered && buffer_extend(&r->gaps, r->gaps.max) == NULL) {
        return ERR_NOMEM; /* all of it now: bodies point into it while it fills */
    }
    buffer_reset(&r->gaps);
    for (size_t i = 0; i < count; i++) {
        bodies[i] = entries[i].body;
        if (renumbered) {
            TRY(current_body(r, &entries[i], &bodies[i]));
        }
    }
    buffer_reset(&r->frame);
    TRY(wire_frame_encode(r->device, header, r->software, bodies, count, &r->frame));
    enum err err = bus_publish(r->bus, slice_str(r->tele_topic), buffer_slice(&r->frame), 0, false);
    if (r->frame.cap <= FRAME_KEEP) { /* cheap to have again, and an idle device costs nothing */
        buffer_deinit(&r->frame);
    }
    return err;
}

static struct store_batch *outbox_batch(void *arg)
{
    struct lane *lane = arg;
    struct report *r = lane->report;
    if (lane->dropping || (r->next_batch == NULL && store_batch_new(r->store, &r->next_batch) != OK)) {
        return NULL; /* the outbox asks again */
    }
    if (!loop_timer_pending(&r->trim_timer)) {
        loop_timer_in(&r->trim_timer, TRIM_WAIT_US);
    }
    return r->next_batch;
}

static void outbox_rolled_back(void *arg, uint64_t keep_above)
{
    struct lane *lane = arg;
    lane->rebase_due = true;
    lane->keep_above = keep_above;
    report_commit_soon(lane->report);
}

static void outbox_on_acked(void *arg, uint64_t acked)
{
    struct lane *lane = arg;
    const struct report_watcher *watcher = &lane->report->options.watcher;
    lane->overflowing = false;
    if (watcher->on_acked != NULL) {
        watcher->on_acked(watcher->arg, lane->id, acked);
    }
}

/* Called for an entry that does not verify; for the part of a declared gap that may go before the rest; and for a frame
 * that only says hello, whose body is read only by a gateway that has lost its store. */
static enum err outbox_damaged(void *arg, uint64_t first, uint64_t last, struct buffer *out)
{
    struct lane *lane = arg;
    struct report *r = lane->report;
    bool declared = first >= lane->gap_first && last <= lane->gap_last;
    if (!declared && last > outbox_acked(lane->outbox) && last > lane->damaged_upto) {
        r->stats.damaged += last - max_u64(first - 1, lane->damaged_upto);
        lane->damaged_upto = last;
        log_error("a stored record is damaged, declared lost", KV_U64("lane", lane->id), KV_U64("first", first),
                  KV_U64("last", last));
    }
    Weir__V1__GapReason reason = declared                                ? WEIR__V1__GAP_REASON__OVERFLOW
                                 : last <= outbox_acked(lane->outbox) ? WEIR__V1__GAP_REASON__RECEIVER_LOST
                                                                      : WEIR__V1__GAP_REASON__DAMAGED;
    return wire_gap_pack(first, last, reason, report_wall_us(r), out);
}

enum err report_outbox_new(struct lane *lane)
{
    struct report *r = lane->report;
    const struct outbox_options options = {.window = r->options.window,
                                           .frame_bytes = FRAME_BYTES,
                                           .frame_entries = FRAME_ENTRIES,
                                           .boot = r->boot,
                                           .boot_seq = r->boot_seq,
                                           .lane = lane->id,
                                           .state_table = REPORT_TABLE_META};
    const struct outbox_handlers handlers = {.send = outbox_send,
                                             .batch = outbox_batch,
                                             .on_rolled_back = outbox_rolled_back,
                                             .on_acked = outbox_on_acked,
                                             .on_damaged = outbox_damaged,
                                             .arg = lane};
    TRY(outbox_new(r->loop, r->store, lane->spool, &options, &handlers, &lane->outbox));
    if (bus_state(r->bus) == BUS_UP) {
        outbox_connected(lane->outbox);
    }
    return OK;
}
