/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parents: what their buses say goes into gateway/parents, what that decides is done here. A parent's answers count
 * for the lanes only while it is the one in use: an ack of one that was left says nothing about what the next one has.
 */
#include "gateway/uplink/uplink_internal.h"

#include <assert.h>
#include <stdio.h>

#include "core/log/log.h"
#include "proto/receive/receive.h"

#define PRESET_US (60 * SECOND_US)
#define PROBE_LEAST_US (100 * MS_US)
#define PROBE_MOST_US (15 * SECOND_US)
#define ASK_GAP_US SECOND_US

/* ---- connected, but not heard ---- */
bool uplink_unheard(const struct uplink *u, char ret_why[UPLINK_WHY_MAX])
{
    static_assert((int)UPLINK_WHY_MAX >= (int)SILENCE_WHY_MAX, "the sentence must fit");
    char peer[ID_MAX + 16];
    snprintf(peer, sizeof(peer), "the parent %s", u->links[u->parents.active].id);
    return silence_why(&u->silence, peer, "this gateway", loop_now_us(u->loop), ret_why);
}

static void look_for_silence(struct uplink *u)
{
    struct silence_lane lanes[INBOX_LANES];
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        struct lane *lane = &u->lane[i];
        uint64_t acked = outbox_acked(lane->outbox);
        lanes[i] = (struct silence_lane){spool_epoch(lane->spool),
                                         uplink_owes(u, i) ? spool_durable(lane->spool) : acked, acked};
    }
    char why[UPLINK_WHY_MAX];
    switch (silence_look(&u->silence, u->connected, lanes, loop_now_us(u->loop))) {
    case SILENCE_BEGAN:
        (void)uplink_unheard(u, why);
        log_warn("nothing is acknowledged", KV_STR("reason", why));
        break;
    case SILENCE_ENDED:
        log_info("the parent acknowledges again", KV_STR("parent", uplink_link(u)->id));
        break;
    case SILENCE_NO_NEWS:
        break;
    }
}

/* ---- probes ---- */
/* What the bus does not take is sent again by a later look. */
static void probe(struct link *link)
{
    struct uplink *u = link->uplink;
    const struct lane *lane = &u->lane[INBOX_LANES - 1];
    const struct window_header header = {.epoch = spool_epoch(lane->spool),
                                         .first = 1,
                                         .last = 1,
                                         .base = 1,
                                         .top = 1,
                                         .boot = u->probe_boot,
                                         .lane = lane->number};
    BUFFER(body, 1024);
    link->asked_us = max_i64(loop_now_us(u->loop), 1);
    buffer_reset(&u->frame);
    enum err err = receive_hop_gap(u->gateway, header.epoch, header.lane, 1, 1, WEIR__V1__GAP_REASON__OVERFLOW, 0,
                                   &body);
    struct slice bodies[] = {buffer_slice(&body)};
    err = err == OK ? wire_frame_encode(u->gateway, &header, NULL, bodies, 1, &u->frame) : err;
    err = err == OK ? bus_publish(link->bus, slice_str(link->up_topic), buffer_slice(&u->frame), 0, false) : err;
    if (err != OK && err != ERR_AGAIN) {
        log_warn("the parent could not be probed", KV_STR("parent", link->id), KV_ERR(err));
    }
}

/* ---- paths ---- */
static void loop_text(const struct link *link, char ret_text[PATH_TEXT_MAX])
{
    struct path path;
    path_begin(&path, link->uplink->site, link->uplink->gateway);
    path_append(&path, &link->path);
    path_text(&path, ret_text);
}

static void take_path(struct link *link, const struct wire_ack *ack)
{
    struct uplink *u = link->uplink;
    char text[PATH_TEXT_MAX];
    struct path path = {0};
    for (unsigned i = 0; i < ack->path_count && path_add(&path, ack->path[i]) == OK; i++) {
    } /* the decoder has checked them all */
    link->path = path;
    link->path_known = true;
    link->path_hash = ack->path_hash;
    bool looped = path_has(&path, u->site, u->gateway);
    parents_loop(&u->parents, link->number, looped);
    loop_text(link, text);
    if (looped && !link->told_loop) {
        log_error("a loop: this gateway's records would come back to it, nothing is sent to this parent",
                  KV_STR("parent", link->id), KV_STR("path", text));
    } else if (!looped && link->told_loop) {
        log_info("the loop is gone", KV_STR("parent", link->id), KV_STR("path", text));
    }
    link->told_loop = looped;
}

/* The path itself is in the answer to a probe; all others tell that it has changed. */
static void look_at_path(struct link *link, const struct wire_ack *ack)
{
    bool to_probe = ack->verdict == WINDOW_NEED_HELLO && ack->boot == link->uplink->probe_boot;
    if (ack->path_count > 0 || to_probe) {
        take_path(link, ack);
    } else if (ack->path_hash != link->path_hash) {
        link->path_known = ack->path_hash == 0;
        if (!link->path_known && loop_now_us(link->uplink->loop) - link->asked_us >= ASK_GAP_US) {
            probe(link);
        }
    }
}

static void tell_own_path(struct uplink *u)
{
    struct path path;
    path_begin(&path, u->site, u->gateway);
    path_append(&path, &uplink_link(u)->path);
    if (!path_equal(&path, &u->path)) {
        u->path = path;
        if (u->handlers.on_path != NULL) {
            u->handlers.on_path(u->handlers.arg, &u->path);
        }
    }
}

/* ---- which parent ---- */
static void connect_lanes(struct uplink *u)
{
    bool connected = uplink_link(u)->up && parents_sends(&u->parents);
    for (unsigned i = 0; i < INBOX_LANES && connected != u->connected; i++) {
        if (connected) {
            outbox_connected(u->lane[i].outbox);
        } else {
            outbox_disconnected(u->lane[i].outbox);
        }
    }
    u->connected = connected;
}

static void look_whether_fine(struct uplink *u)
{
    uint64_t marks = 0;
    bool waits = false, rebasing = false;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        uint64_t acked = outbox_acked(u->lane[i].outbox);
        marks += acked;
        waits = waits || uplink_owes(u, i);
        rebasing = rebasing || u->lane[i].rebasing;
    }
    if (u->connected && (!waits || marks != u->marks || rebasing)) {
        parents_fine(&u->parents, loop_now_us(u->loop));
    }
    u->marks = marks;
}

static void go_over(struct uplink *u, const struct parents_actions *actions)
{
    static const char *const why[] = {[PARENTS_SILENT] = "it is not reachable, or acknowledges nothing",
                                      [PARENTS_LOOPED] = "its path leads back to us",
                                      [PARENTS_BACK] = "the preferred one is there again"};
    struct link *from = &u->links[actions->from], *to = uplink_link(u);
    u->switches++;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        outbox_disconnected(u->lane[i].outbox);
    }
    u->connected = false;
    look_for_silence(u); /* begins anew */
    if (actions->reason == PARENTS_BACK) {
        log_info("goes back to a parent", KV_STR("parent", to->id), KV_STR("from", from->id),
                 KV_STR("reason", why[actions->reason]));
    } else {
        log_warn("goes over to another parent", KV_STR("parent", to->id), KV_STR("from", from->id),
                 KV_STR("reason", why[actions->reason]));
    }
}

static void look(struct uplink *u)
{
    struct parents_actions actions;
    if (meter_resting(u->meter)) { /* by our own will: no parent is left for it */
        parents_fine(&u->parents, loop_now_us(u->loop));
        connect_lanes(u);
        look_for_silence(u);
        return;
    }
    look_whether_fine(u);
    parents_look(&u->parents, loop_now_us(u->loop), &actions);
    if (actions.go) {
        go_over(u, &actions);
    }
    for (unsigned i = 0; i < u->parents.options.count; i++) {
        struct link *link = &u->links[i];
        bool start = (actions.start >> i & 1) != 0 && i > 0; /* the first is the owner's */
        enum err err = start ? bus_start(link->bus) : OK;
        if (err != OK) {
            log_error("the bus to a parent cannot be started", KV_STR("parent", link->id), KV_ERR(err));
        }
        bool in_use = link == uplink_link(u);
        if ((actions.probe >> i & 1) != 0 || (in_use && link->up && !link->path_known &&
                                              loop_now_us(u->loop) - link->asked_us >= u->parents.options.probe_us)) {
            probe(link);
        }
    }
    connect_lanes(u);
    tell_own_path(u);
    look_for_silence(u);
}

static void on_look_timer(void *arg)
{
    struct uplink *u = arg;
    look(u);
    loop_timer_in(&u->look_timer, min_i64(SILENCE_LOOK_US, u->parents.options.probe_us));
}

/* ---- the parents' buses ---- */
static void on_message(void *arg, struct slice topic, struct slice payload, bool retained)
{
    struct link *link = arg;
    struct uplink *u = link->uplink;
    struct wire_ack ack;
    if (retained) {
        u->retained_ignored++;
        return;
    }
    if (u->handlers.on_answer != NULL && slice_equal(topic, slice_str(link->answer_topic))) {
        u->handlers.on_answer(u->handlers.arg, payload);
        return;
    }
    if (!slice_equal(topic, slice_str(link->ack_topic)) || wire_ack_decode(payload, &ack) != OK) {
        u->bad_acks++;
        log_warn("answer of the parent does not decode", KV_SLICE("topic", topic));
        return;
    }
    parents_heard(&u->parents, link->number, loop_now_us(u->loop));
    look_at_path(link, &ack);
    if (ack.boot == u->probe_boot) {
        look(u);
    } else if (link == uplink_link(u)) {
        uplink_answered(u, &ack);
        look_for_silence(u);
    }
}

static void on_state(void *arg, enum bus_state state, const char *reason)
{
    struct link *link = arg;
    bool was_up = link->up;
    link->up = state == BUS_UP;
    if (state == BUS_UP && bus_reason_refused(reason)) {
        log_warn("parent's broker connected, but it refuses what we must read", KV_STR("parent", link->id),
                 KV_STR("reason", reason));
    } else if (state == BUS_UP) {
        log_info("parent's broker connected", KV_STR("parent", link->id), KV_STR("reason", reason));
    } else if (meter_resting(link->uplink->meter)) {
        log_info("parent's broker not connected", KV_STR("parent", link->id), KV_STR("reason", reason));
    } else {
        log_warn("parent's broker not connected", KV_STR("parent", link->id), KV_STR("reason", reason));
    }
    if (link->up != was_up) { /* UP comes twice when a subscription is refused later */
        parents_link(&link->uplink->parents, link->number, link->up);
    }
    if (link->up && !was_up) {
        link->path_known = false;
        link->asked_us = loop_now_us(link->uplink->loop) - link->uplink->parents.options.probe_us;
    }
    look(link->uplink);
}

static void on_writable(void *arg)
{
    const struct link *link = arg;
    if (link == uplink_link(link->uplink)) {
        uplink_kick(link->uplink);
    }
}

/* ---- asks ---- */
enum err uplink_ask(struct uplink *u, struct slice payload)
{
    const struct link *link = uplink_link(u);
    if (!u->connected || meter_resting(u->meter) || meter_waits(u->meter, INBOX_LANES - 1)) {
        return ERR_AGAIN;
    }
    return bus_publish(link->bus, slice_str(link->ask_topic), payload, 0, false);
}

/* ---- making ---- */
static enum err open_link(struct uplink *u, unsigned number, const struct uplink_parent *parent)
{
    struct link *link = &u->links[number];
    link->uplink = u;
    link->bus = parent->bus;
    link->number = number;
    snprintf(link->site, sizeof(link->site), "%s", parent->site);
    snprintf(link->id, sizeof(link->id), "%s", parent->id);
    topic_format(link->site, link->id, u->gateway, TOPIC_UP, link->up_topic);
    topic_format(link->site, link->id, u->gateway, TOPIC_ACK, link->ack_topic);
    topic_format(link->site, link->id, u->gateway, TOPIC_ASK, link->ask_topic);
    topic_format(link->site, link->id, u->gateway, TOPIC_ANSWER, link->answer_topic);
    bus_set_handlers(link->bus,
                     &(struct bus_handlers){
                         .on_message = on_message, .on_state = on_state, .on_writable = on_writable, .arg = link});
    if (u->handlers.on_answer != NULL) {
        TRY(bus_subscribe(link->bus, link->answer_topic, 0));
    }
    return bus_subscribe(link->bus, link->ack_topic, 0);
}

enum err uplink_links_open(struct uplink *u, struct bus *bus, const struct uplink_options *options,
                           struct fault *reterr)
{
    const struct uplink_parent first = {options->parent_site, options->parent, bus};
    struct parents_options parents = {
        .count = 1 + (unsigned)options->other_count,
        .failover_us = options->failover_after_us != 0 ? options->failover_after_us : PRESET_US,
        .failback_us = options->failback_after_us != 0 ? options->failback_after_us : PRESET_US,
    };
    if (options->other_count >= PARENTS_MAX) {
        return fault_set(reterr, ERR_RANGE, "%u parents are the most", (unsigned)PARENTS_MAX);
    }
    int64_t quarter_us = min_i64(parents.failover_us, parents.failback_us) / 4;
    parents.probe_us = min_i64(max_i64(quarter_us, PROBE_LEAST_US), PROBE_MOST_US);
    parents_init(&u->parents, &parents, loop_now_us(u->loop));
    u->probe_boot = (uint32_t)loop_random(u->loop) | 1;
    path_begin(&u->path, u->site, u->gateway);
    loop_timer_init(&u->look_timer, u->loop, on_look_timer, u);
    for (unsigned i = 0; i < parents.count; i++) {
        if (open_link(u, i, i == 0 ? &first : &options->others[i - 1]) != OK) {
            return fault_set(reterr, ERR_NOMEM, "out of memory");
        }
    }
    loop_timer_in(&u->look_timer, 0);
    return OK;
}

/* ---- for the operator ---- */
size_t uplink_parent_count(const struct uplink *u)
{
    return u->parents.options.count;
}

void uplink_parent_state(const struct uplink *u, size_t i, struct uplink_parent_state *ret_state)
{
    const struct link *link = &u->links[i];
    *ret_state = (struct uplink_parent_state){
        .site = link->site, .id = link->id, .in_use = u->parents.active == i, .up = link->up};
    if (u->parents.parent[i].looped) {
        loop_text(link, ret_state->loop);
    }
}
