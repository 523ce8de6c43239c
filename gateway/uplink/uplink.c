/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/uplink/uplink.h"

#include <stdio.h>

#include "core/log/log.h"
#include "gateway/uplink/uplink_internal.h"
#include "proto/receive/receive.h"

enum { FRAME_OVERHEAD = 512, REBASE_POLL_US = 5000, REBASE_RETRY_US = 1000000 };

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
        u->spans[i] = entries[i].last - entries[i].first + 1;
    }
    buffer_reset(&u->frame);
    TRY(wire_frame_encode(u->gateway, header, u->software, u->bodies, count, &u->frame));
    const struct link *link = uplink_link(u);
    uint64_t bytes = budget_publish_bytes(strlen(link->up_topic), u->frame.len);
    if (!meter_may(u->meter, lane->number, bytes)) {
        return ERR_AGAIN;
    }
    TRY(bus_publish(link->bus, slice_str(link->up_topic), buffer_slice(&u->frame), 0, false));
    meter_sent(u->meter, &(struct meter_frame){.lane = lane->number,
                                               .bus = link->number,
                                               .bytes = bytes,
                                               .first = header->first,
                                               .high = outbox_window(lane->outbox)->high,
                                               .carrier = header->first <= outbox_acked(lane->outbox),
                                               .bodies = u->bodies,
                                               .spans = u->spans,
                                               .count = count});
    return OK;
}

static enum err on_entry(void *arg, const struct spool_entry *entry, struct slice before, bool *ret_joined,
                         struct buffer *out)
{
    struct lane *lane = arg;
    uint64_t numbers = 0;
    if (entry->last > meter_expired(lane->uplink->meter, lane->number)) {
        lane->expire.last = 0;
        buffer_put_slice(out, entry->body);
        return buffer_err(out);
    }
    TRY(expire_entry(&lane->expire, entry, before, ret_joined, out, &numbers));
    meter_count_expired(lane->uplink->meter, lane->number, numbers);
    return OK;
}

static struct store_batch *on_batch(void *arg)
{
    struct lane *lane = arg;
    struct store_batch *batch = lane->uplink->handlers.batch(lane->uplink->handlers.arg);
    if (batch != NULL) {
        meter_save(lane->uplink->meter, batch);
    }
    return batch;
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
    meter_rebased(u->meter, lane->number, spool_epoch(lane->spool), lane->keep_above);
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

/* ---- what the parent says ---- */
void uplink_answered(struct uplink *u, const struct wire_ack *ack)
{
    for (unsigned i = 0; i < INBOX_LANES; i++) { /* epochs are unique; an outbox ignores what is not its own */
        if (ack->epoch == spool_epoch(u->lane[i].spool)) {
            silence_answer(&u->silence, i, ack->verdict);
            outbox_answer(u->lane[i].outbox, ack->epoch, ack->boot, ack->verdict, ack->hwm, ack->owner);
        } else if (ack->verdict == WINDOW_NEED_HELLO) {
            outbox_greet(u->lane[i].outbox);
        }
    }
}

void uplink_kick(struct uplink *u)
{
    meter_committed(u->meter);
    for (unsigned i = 0; i < INBOX_LANES; i++) { /* alarms first: tasks run in the order they were posted */
        struct lane *lane = &u->lane[i];
        if (lane->rebasing && spool_epoch(lane->spool) != lane->replaces) {
            finish_rebase(lane);
        }
        if (!meter_waits(u->meter, i)) { /* else the meter kicks when it may */
            outbox_kick(lane->outbox);
        }
    }
    if (meter_resting(u->meter)) { /* perhaps an alarm */
        meter_look(u->meter);
    }
}

/* ---- what it may cost ---- */
bool uplink_owes(const struct uplink *u, unsigned lane)
{
    return outbox_acked(u->lane[lane].outbox) < spool_durable(u->lane[lane].spool) && !meter_waits(u->meter, lane);
}

static void on_meter_kick(void *arg)
{
    struct uplink *u = arg;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        outbox_kick(u->lane[i].outbox);
    }
}

static void on_rest(void *arg, bool rest)
{
    struct uplink *u = arg;
    for (unsigned i = 0; i < u->parents.options.count; i++) {
        if (bus_rest(u->links[i].bus, rest) != OK && i == 0 && rest) {
            log_info("this MQTT client cannot rest: it stays connected while the uplink is closed");
        }
    }
}

static void on_meter_look(void *arg)
{
    struct uplink *u = arg;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        const struct lane *lane = &u->lane[i];
        meter_lane(u->meter, i, spool_epoch(lane->spool), spool_durable(lane->spool), outbox_acked(lane->outbox),
                   spool_bytes(lane->spool));
    }
    for (unsigned i = 0; i < u->parents.options.count; i++) {
        meter_bus(u->meter, i, u->links[i].bus);
    }
}

static struct store_batch *on_meter_batch(void *arg)
{
    struct uplink *u = arg;
    return u->handlers.batch(u->handlers.arg);
}

void uplink_set_budget(struct uplink *u, const struct budget_rules *rules)
{
    meter_set(u->meter, rules);
}

void uplink_open(struct uplink *u, int64_t for_us)
{
    meter_open(u->meter, for_us);
}

bool uplink_resting(const struct uplink *u)
{
    return meter_resting(u->meter);
}

void uplink_stop(struct uplink *u)
{
    meter_stop(u->meter);
}

void uplink_budget_json(struct uplink *u, struct json *j)
{
    meter_json(u->meter, j);
}

void uplink_bill_json(struct uplink *u, struct json *j)
{
    meter_bill_json(u->meter, j);
}

static enum err make_meter(struct uplink *u, const struct uplink_options *options, struct fault *reterr)
{
    struct meter_options meter = {
        .rules = options->budget, .boot_id = options->boot_id, .meta_table = options->meta_table};
    struct meter_handlers on = {
        .batch = on_meter_batch, .kick = on_meter_kick, .rest = on_rest, .look = on_meter_look, .arg = u};
    enum err err = meter_new(u->loop, u->store, &meter, &on, &u->meter);
    if (err != OK) {
        return fault_set(reterr, err, "the uplink's budget: %s", err_name(err));
    }
    if (meter_resting(u->meter)) {
        on_rest(u, true);
    }
    return OK;
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
                                 .on_entry = on_entry,
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
    u->store = store;
    u->handlers = *handlers;
    snprintf(u->gateway, sizeof(u->gateway), "%s", options->gateway);
    snprintf(u->site, sizeof(u->site), "%s", options->site ? options->site : options->parent_site);
    snprintf(u->software, sizeof(u->software), "%s", options->software ? options->software : "");
    buffer_init(&u->frame, WIRE_FRAME_MAX + FRAME_OVERHEAD);
    loop_timer_init(&u->rebase_timer, loop, on_rebase_timer, u);
    for (uint8_t i = 0; i < INBOX_LANES; i++) {
        enum err err = make_lane(u, i, spools[i], options);
        if (err != OK) {
            return fault_set(reterr, err, "uplink lane %u: %s", i, err_name(err));
        }
    }
    TRY(uplink_links_open(u, bus, options, reterr));
    TRY(make_meter(u, options, reterr));
    *ret_uplink = take(u);
    return OK;
}

void uplink_free(struct uplink *u)
{
    if (u == NULL) {
        return;
    }
    loop_timer_cancel(&u->rebase_timer);
    loop_timer_cancel(&u->look_timer);
    meter_free(u->meter);
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        outbox_free(u->lane[i].outbox);
    }
    buffer_deinit(&u->frame);
    free(u);
}

void uplink_stats(const struct uplink *u, struct uplink_stats *ret_stats)
{
    *ret_stats =
        (struct uplink_stats){.bad_acks = u->bad_acks, .retained_ignored = u->retained_ignored,
                              .rebased = u->rebased, .switches = u->switches};
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
