/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/uplink/uplink.h"

#include <assert.h>
#include <stdio.h>

#include "core/log/log.h"
#include "core/silence/silence.h"
#include "proto/receive/receive.h"
#include "proto/topic/topic.h"
#include "proto/wire/wire.h"

enum { FRAME_OVERHEAD = 512, REBASE_POLL_US = 5000, REBASE_RETRY_US = 1000000 };

struct lane {
    struct uplink *uplink;
    struct spool *spool;
    struct outbox *outbox;
    uint8_t number;
    bool rebasing;
    uint64_t keep_above, replaces;
};
struct uplink {
    struct loop *loop;
    struct bus *bus;
    struct store *store;
    struct uplink_handlers handlers;
    struct lane lane[INBOX_LANES];
    char gateway[ID_MAX + 1], software[64];
    char parent_site[ID_MAX + 1], parent[ID_MAX + 1];
    char up_topic[TOPIC_MAX + 1], ack_topic[TOPIC_MAX + 1];
    struct buffer frame;
    struct slice bodies[WIRE_RECORDS_MAX];
    struct loop_timer rebase_timer, silence_timer;
    struct silence silence;
    bool up; /* what the bus last said */
    uint64_t bad_acks, retained_ignored, rebased;
};

/* ---- the counter of starts ---- */
#define BOOT_KEY "uplink/boot"

enum err uplink_boot(struct store *store, unsigned meta_table, struct store_batch *batch, uint64_t *ret_boot_seq)
{
    BUFFER(value, 64);
    uint64_t boots = 0;
    enum err err = store_get(store, meta_table, slice_str(BOOT_KEY), &value);
    if (err == OK) {
        struct cursor c = cursor_of(buffer_slice(&value));
        boots = cursor_u64le(&c);
        TRY(cursor_end(&c));
    } else if (err != ERR_NOT_FOUND) {
        return err;
    }
    buffer_reset(&value);
    buffer_put_u64le(&value, boots + 1);
    TRY(buffer_err(&value));
    TRY(store_put(batch, meta_table, slice_str(BOOT_KEY), buffer_slice(&value)));
    *ret_boot_seq = boots + 1;
    return OK;
}

/* ---- what the outboxes ask for ---- */
static enum err on_send(void *arg, const struct window_header *header, const struct spool_entry *entries, size_t count)
{
    struct lane *lane = arg;
    struct uplink *u = lane->uplink;
    if (count > COUNT_OF(u->bodies)) {
        return ERR_RANGE;
    }
    for (size_t i = 0; i < count; i++) {
        u->bodies[i] = entries[i].body;
    }
    buffer_reset(&u->frame);
    TRY(wire_frame_encode(u->gateway, header, u->software, u->bodies, count, &u->frame));
    return bus_publish(u->bus, slice_str(u->up_topic), buffer_slice(&u->frame), 0, false);
}

static struct store_batch *on_batch(void *arg)
{
    struct lane *lane = arg;
    return lane->uplink->handlers.batch(lane->uplink->handlers.arg);
}

static enum err on_damaged(void *arg, uint64_t first, uint64_t last, struct buffer *out)
{
    struct lane *lane = arg;
    if (first > outbox_acked(lane->outbox)) { /* else only a carrier of the hello: the parent has the number */
        log_error("entry in the store is damaged, declared as a gap", KV_U64("lane", lane->number),
                  KV_U64("first", first), KV_U64("last", last));
    }
    return receive_hop_gap(lane->uplink->gateway, spool_epoch(lane->spool), lane->number, first, last,
                           WEIR__V1__GAP_REASON__DAMAGED, (uint64_t)max_i64(loop_wall_us(lane->uplink->loop), 0), out);
}

/* ---- rolled back: a new epoch ---- */
static void release_when_done(struct uplink *u)
{
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        if (u->lane[i].rebasing) {
            return;
        }
    }
    loop_timer_cancel(&u->rebase_timer);
    u->handlers.hold(u->handlers.arg, false);
}

static void finish_rebase(struct lane *lane)
{
    struct uplink *u = lane->uplink;
    lane->rebasing = false;
    u->rebased++;
    log_warn("lane begins a new epoch", KV_U64("lane", lane->number), KV_HEX("epoch", spool_epoch(lane->spool)),
             KV_HEX("replaces", lane->replaces), KV_U64("top", spool_durable(lane->spool)));
    outbox_restart(lane->outbox, lane->replaces);
    release_when_done(u);
}

/* Tried until it has come about: entries that wait for their commit, a batch that failed, all end in another try.
 * spool_rebase says ERR_AGAIN while one is under way. */
static void on_rebase_timer(void *arg)
{
    struct uplink *u = arg;
    bool wait = false;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        struct lane *lane = &u->lane[i];
        if (!lane->rebasing) {
            continue;
        }
        struct store_batch *batch = u->handlers.batch(u->handlers.arg);
        enum err err = batch ? spool_rebase(lane->spool, batch, lane->keep_above) : ERR_NOMEM;
        if (err != OK && err != ERR_AGAIN) {
            log_error("could not begin a new epoch, will try again", KV_ERR(err), KV_U64("lane", lane->number));
        }
        wait = wait || err == ERR_AGAIN;
    }
    loop_timer_in(&u->rebase_timer, wait ? REBASE_POLL_US : REBASE_RETRY_US);
}

static void on_rolled_back(void *arg, uint64_t keep_above)
{
    struct lane *lane = arg;
    struct uplink *u = lane->uplink;
    log_error("the parent has closed this lane's epoch: the store was restored from an old image, or two gateways run "
              "with one identity",
              KV_U64("lane", lane->number), KV_HEX("epoch", spool_epoch(lane->spool)),
              KV_U64("keep_above", keep_above), KV_U64("durable", spool_durable(lane->spool)));
    lane->rebasing = true;
    lane->keep_above = keep_above;
    lane->replaces = spool_epoch(lane->spool);
    u->handlers.hold(u->handlers.arg, true);
    loop_timer_in(&u->rebase_timer, 0);
}

/* ---- connected, but not heard ---- */
bool uplink_unheard(const struct uplink *u, char ret_why[UPLINK_WHY_MAX])
{
    static_assert((int)UPLINK_WHY_MAX >= (int)SILENCE_WHY_MAX, "the sentence must fit");
    char peer[ID_MAX + 16];
    snprintf(peer, sizeof(peer), "the parent %s", u->parent);
    return silence_why(&u->silence, peer, "this gateway", loop_now_us(u->loop), ret_why);
}

static void look_for_silence(struct uplink *u)
{
    struct silence_lane lanes[INBOX_LANES];
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        struct lane *lane = &u->lane[i];
        lanes[i] = (struct silence_lane){spool_epoch(lane->spool), spool_durable(lane->spool),
                                         outbox_acked(lane->outbox)};
    }
    char why[UPLINK_WHY_MAX];
    switch (silence_look(&u->silence, u->up, lanes, loop_now_us(u->loop))) {
    case SILENCE_BEGAN:
        (void)uplink_unheard(u, why);
        log_warn("nothing is acknowledged", KV_STR("reason", why));
        break;
    case SILENCE_ENDED:
        log_info("the parent acknowledges again", KV_STR("parent", u->parent));
        break;
    case SILENCE_NO_NEWS:
        break;
    }
}

static void on_silence_timer(void *arg)
{
    struct uplink *u = arg;
    look_for_silence(u);
    loop_timer_in(&u->silence_timer, SILENCE_LOOK_US);
}

/* ---- the parent's bus ---- */
static void on_message(void *arg, struct slice topic, struct slice payload, bool retained)
{
    struct uplink *u = arg;
    struct wire_ack ack;
    if (retained) {
        u->retained_ignored++;
        return;
    }
    if (!slice_equal(topic, slice_str(u->ack_topic)) || wire_ack_decode(payload, &ack) != OK) {
        u->bad_acks++;
        log_warn("answer of the parent does not decode", KV_SLICE("topic", topic));
        return;
    }
    for (unsigned i = 0; i < INBOX_LANES; i++) { /* epochs are unique; an outbox ignores what is not its own */
        if (ack.epoch == spool_epoch(u->lane[i].spool)) {
            silence_answer(&u->silence, i, ack.verdict);
            outbox_answer(u->lane[i].outbox, ack.epoch, ack.boot, ack.verdict, ack.hwm, ack.owner);
        } else if (ack.verdict == WINDOW_NEED_HELLO) {
            outbox_greet(u->lane[i].outbox);
        }
    }
    look_for_silence(u);
}

static void on_state(void *arg, enum bus_state state, const char *reason)
{
    struct uplink *u = arg;
    bool was_up = u->up;
    u->up = state == BUS_UP;
    if (state == BUS_UP && bus_reason_refused(reason)) {
        log_warn("parent's broker connected, but it refuses what we must read", KV_STR("reason", reason));
    } else if (state == BUS_UP) {
        log_info("parent's broker connected", KV_STR("reason", reason));
    } else {
        log_warn("parent's broker not connected", KV_STR("reason", reason));
    }
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        if (u->up && !was_up) { /* UP comes twice when a subscription is refused later */
            outbox_connected(u->lane[i].outbox);
        } else if (!u->up) {
            outbox_disconnected(u->lane[i].outbox);
        }
    }
    look_for_silence(u);
}

static void on_writable(void *arg)
{
    uplink_kick(arg);
}

void uplink_kick(struct uplink *u)
{
    for (unsigned i = 0; i < INBOX_LANES; i++) { /* alarms first: tasks run in the order they were posted */
        struct lane *lane = &u->lane[i];
        if (lane->rebasing && spool_epoch(lane->spool) != lane->replaces) {
            finish_rebase(lane);
        }
        outbox_kick(lane->outbox);
    }
}

/* ---- making ---- */
static void fill_in(struct window_sender_options *w)
{
    w->max_frames = w->max_frames ? w->max_frames : 32;
    w->max_bytes = w->max_bytes ? w->max_bytes : 2 << 20;
    w->min_rto_us = w->min_rto_us ? w->min_rto_us : 200 * MS_US;
    w->max_rto_us = w->max_rto_us ? w->max_rto_us : 30 * SECOND_US;
    w->first_rto_us = w->first_rto_us ? w->first_rto_us : SECOND_US;
    w->max_queue_us = w->max_queue_us ? w->max_queue_us : 200 * MS_US;
}

static enum err make_lane(struct uplink *u, uint8_t number, struct spool *spool, const struct uplink_options *options)
{
    struct lane *lane = &u->lane[number];
    *lane = (struct lane){.uplink = u, .spool = spool, .number = number};
    struct outbox_handlers on = {.send = on_send,
                                 .batch = on_batch,
                                 .on_rolled_back = on_rolled_back,
                                 .on_damaged = on_damaged,
                                 .arg = lane};
    struct outbox_options outbox = {
        .window = options->window,
        .frame_bytes = options->frame_bytes ? options->frame_bytes : 64 * 1024,
        .frame_entries = options->frame_entries ? options->frame_entries : 256,
        .boot = (uint32_t)loop_random(u->loop) | 1,
        .boot_seq = options->boot_seq,
        .lane = number,
        .state_table = options->meta_table,
    };
    fill_in(&outbox.window);
    if (outbox.frame_entries > WIRE_RECORDS_MAX) {
        outbox.frame_entries = WIRE_RECORDS_MAX;
    }
    return outbox_new(u->loop, u->store, spool, &outbox, &on, &lane->outbox);
}

enum err uplink_new(struct loop *loop, struct bus *bus, struct store *store, struct spool *const spools[INBOX_LANES],
                    const struct uplink_options *options, const struct uplink_handlers *handlers,
                    struct uplink **ret_uplink, struct fault *reterr)
{
    CLEANUP(uplink_freep) struct uplink *u = calloc(1, sizeof(*u));
    if (u == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    u->loop = loop;
    u->bus = bus;
    u->store = store;
    u->handlers = *handlers;
    snprintf(u->gateway, sizeof(u->gateway), "%s", options->gateway);
    snprintf(u->software, sizeof(u->software), "%s", options->software ? options->software : "");
    snprintf(u->parent_site, sizeof(u->parent_site), "%s", options->parent_site);
    snprintf(u->parent, sizeof(u->parent), "%s", options->parent);
    topic_format(u->parent_site, u->parent, u->gateway, TOPIC_UP, u->up_topic);
    topic_format(u->parent_site, u->parent, u->gateway, TOPIC_ACK, u->ack_topic);
    buffer_init(&u->frame, WIRE_FRAME_MAX + FRAME_OVERHEAD);
    loop_timer_init(&u->rebase_timer, loop, on_rebase_timer, u);
    loop_timer_init(&u->silence_timer, loop, on_silence_timer, u);
    for (uint8_t i = 0; i < INBOX_LANES; i++) {
        enum err err = make_lane(u, i, spools[i], options);
        if (err != OK) {
            return fault_set(reterr, err, "uplink lane %u: %s", i, err_name(err));
        }
    }
    bus_set_handlers(bus, &(struct bus_handlers){
                              .on_message = on_message, .on_state = on_state, .on_writable = on_writable, .arg = u});
    if (bus_subscribe(bus, u->ack_topic, 0) != OK) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    loop_timer_in(&u->silence_timer, SILENCE_LOOK_US);
    *ret_uplink = take(u);
    return OK;
}

void uplink_free(struct uplink *u)
{
    if (u == NULL) {
        return;
    }
    loop_timer_cancel(&u->rebase_timer);
    loop_timer_cancel(&u->silence_timer);
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        outbox_free(u->lane[i].outbox);
    }
    buffer_deinit(&u->frame);
    free(u);
}

void uplink_stats(const struct uplink *u, struct uplink_stats *ret_stats)
{
    *ret_stats =
        (struct uplink_stats){.bad_acks = u->bad_acks, .retained_ignored = u->retained_ignored, .rebased = u->rebased};
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        const struct window_sender *w = outbox_window(u->lane[i].outbox);
        ret_stats->lane[i] = (struct uplink_lane_stats){.epoch = spool_epoch(u->lane[i].spool),
                                                        .acked = outbox_acked(u->lane[i].outbox),
                                                        .sent = w->high,
                                                        .top = spool_durable(u->lane[i].spool)};
        ret_stats->frames += w->stats.frames;
        ret_stats->repeated_frames += w->stats.repeated_frames;
        ret_stats->timeouts += w->stats.timeouts;
    }
}
