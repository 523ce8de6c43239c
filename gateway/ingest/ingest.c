/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/ingest/ingest.h"

#include <stdio.h>

#include "core/log/log.h"
#include "proto/topic/topic.h"

struct ingest {
    struct fleet *fleet;
    struct receive *receive;
    struct ingest_handlers handlers;
    bool held, up;
    char site[ID_MAX + 1], gateway[ID_MAX + 1];
};

static bool admit(void *arg, const char *sender, size_t bytes)
{
    struct ingest *g = arg;
    return fleet_admit(g->fleet, sender, bytes);
}

static void on_frame(void *arg, const char *sender, enum window_verdict verdict, size_t records)
{
    struct ingest *g = arg;
    bool taken = verdict == WINDOW_ACCEPT || verdict == WINDOW_FORGOTTEN;
    fleet_count_frame(g->fleet, sender, taken ? records : 0);
}

static void on_refused(void *arg, const char *sender, enum receive_refusal refusal, const char *why)
{
    struct ingest *g = arg;
    fleet_count_refused(g->fleet, sender);
    switch (refusal) {
    case RECEIVE_BAD_IDENTITY:
        log_warn("security: false identity, frame refused", KV_STR("device", sender), KV_STR("reason", why));
        break;
    case RECEIVE_BAD_RECORD:
        log_warn("bad record, declared as a gap", KV_STR("device", sender), KV_STR("reason", why));
        break;
    case RECEIVE_TOO_MANY:
        log_warn("stream refused, nothing of it is taken", KV_STR("device", sender), KV_STR("reason", why));
        break;
    case RECEIVE_BAD_FRAME:
    case RECEIVE_BAD_CHANNEL:
    case RECEIVE_QUOTA:
        log_warn("frame refused", KV_STR("device", sender), KV_STR("cause", receive_refusal_name(refusal)),
                 KV_STR("reason", why));
        break;
    }
}

static void on_durable(void *arg)
{
    struct ingest *g = arg;
    g->handlers.on_durable(g->handlers.arg);
}

static void on_closed(void *arg, const char *sender, uint64_t epoch, const struct window_stream *stream)
{
    (void)arg;
    log_warn("stream closed: the sender's store was restored from an old image, or two run with one identity",
             KV_STR("device", sender), KV_HEX("epoch", epoch), KV_U64("hwm", stream->hwm));
}

/* Whether it is an ask, which is none of the durable path's. */
static bool took_ask(struct ingest *g, struct slice text, struct slice payload, bool retained)
{
    struct topic topic;
    const struct slice ending = slice_str("/ask");
    if (g->handlers.on_ask == NULL || text.len < ending.len ||
        !slice_equal(slice_of(text.ptr + text.len - ending.len, ending.len), ending)) {
        return false;
    }
    if (!retained && topic_parse(text, &topic) == OK && topic.channel == TOPIC_ASK &&
        strcmp(topic.site, g->site) == 0 && strcmp(topic.gateway, g->gateway) == 0) {
        g->handlers.on_ask(g->handlers.arg, topic.device, payload);
    }
    return true;
}

static void on_message(void *arg, struct slice topic, struct slice payload, bool retained)
{
    struct ingest *g = arg;
    if (!took_ask(g, topic, payload, retained) && !g->held) {
        receive_message(g->receive, topic, payload, retained);
    }
}

static void on_state(void *arg, enum bus_state state, const char *reason)
{
    struct ingest *g = arg;
    bool was_up = g->up;
    g->up = state == BUS_UP;
    if (state == BUS_UP && bus_reason_refused(reason)) {
        log_warn("plant's broker connected, but it refuses what we must read", KV_STR("reason", reason));
    } else if (state == BUS_UP) {
        log_info("plant's broker connected", KV_STR("reason", reason));
    } else {
        log_warn("plant's broker not connected", KV_STR("reason", reason));
    }
    if (g->up && !was_up) { /* UP comes twice when a subscription is refused later */
        receive_resume(g->receive);
    }
}

static void know_stream(void *arg, const char *sender, uint64_t epoch, const struct window_stream *stream)
{
    (void)epoch;
    (void)stream;
    fleet_known_stream(arg, sender);
}

enum err ingest_new(struct loop *loop, struct bus *bus, struct store *store, struct spool *const spools[INBOX_LANES],
                    struct fleet *fleet, const struct ingest_options *options, const struct ingest_handlers *handlers,
                    struct ingest **ret_ingest, struct fault *reterr)
{
    CLEANUP(ingest_freep) struct ingest *g = calloc(1, sizeof(*g));
    if (g == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    g->fleet = fleet;
    g->handlers = *handlers;
    snprintf(g->site, sizeof(g->site), "%s", options->site);
    snprintf(g->gateway, sizeof(g->gateway), "%s", options->gateway);
    struct receive_options receive = {.site = options->site,
                                      .receiver = options->gateway,
                                      .accepts = RECEIVE_RECORDS_AND_FORWARDS,
                                      .inbox = options->inbox};
    struct receive_handlers on = {.admit = admit,
                                  .on_frame = on_frame,
                                  .on_refused = on_refused,
                                  .on_durable = on_durable,
                                  .on_closed = on_closed,
                                  .arg = g};
    TRY(receive_new(loop, bus, store, spools, &receive, &on, &g->receive, reterr));
    inbox_foreach_stream(receive_inbox(g->receive), know_stream, fleet);
    bus_set_handlers(bus, &(struct bus_handlers){.on_message = on_message, .on_state = on_state, .arg = g});
    if (receive_subscribe(g->receive) != OK) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    *ret_ingest = take(g);
    return OK;
}

void ingest_free(struct ingest *g)
{
    if (g != NULL) {
        receive_free(g->receive);
        free(g);
    }
}

void ingest_hold(struct ingest *g, bool held)
{
    g->held = held;
}

void ingest_set_path(struct ingest *g, const struct path *path)
{
    receive_set_path(g->receive, path);
}

struct inbox *ingest_inbox(struct ingest *g)
{
    return receive_inbox(g->receive);
}

bool ingest_has_gateway(const struct ingest *g, const char *peer)
{
    return receive_has_gateway(g->receive, peer);
}

void ingest_stats(const struct ingest *g, struct receive_stats *ret_stats)
{
    receive_stats(g->receive, ret_stats);
}
