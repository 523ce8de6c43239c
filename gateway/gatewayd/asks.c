/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks: what gateway/escalate hears and says, on the plant's bus and on the parent's. QoS 0, never stored.
 */
#include "core/log/log.h"
#include "gateway/gatewayd/gatewayd_internal.h"
#include "proto/topic/topic.h"

void gateway_on_ask(void *arg, const char *peer, struct slice payload)
{
    struct gateway *g = arg;
    if (g->escalate != NULL) {
        escalate_ask(g->escalate, peer, payload);
    }
}

void gateway_on_parent_answer(void *arg, struct slice payload)
{
    struct gateway *g = arg;
    if (g->escalate != NULL) {
        escalate_answered(g->escalate, payload);
    }
}

static void on_answer(void *arg, const char *peer, const struct wire_answer *answer)
{
    struct gateway *g = arg;
    char topic[TOPIC_MAX + 1];
    BUFFER(payload, WIRE_ANSWER_MAX);
    topic_format(g->site, g->gateway, peer, TOPIC_ANSWER, topic);
    enum err err = wire_answer_encode(answer, &payload);
    err = err == OK ? bus_publish(g->down, slice_str(topic), buffer_slice(&payload), 0, false) : err;
    if (err != OK) { /* the device's own answer stands */
        g->answers_unsent++;
        log_debug("an answer is not sent", KV_STR("device", peer), KV_ERR(err));
    }
}

static bool is_gateway(void *arg, const char *peer)
{
    const struct gateway *g = arg;
    return ingest_has_gateway(g->ingest, peer);
}

static enum err ask_up(void *arg, const struct wire_ask *ask)
{
    struct gateway *g = arg;
    BUFFER(payload, WIRE_ASK_MAX);
    TRY(wire_ask_encode(ask, &payload));
    return uplink_ask(g->uplink, buffer_slice(&payload));
}

static enum err on_event(void *arg, const char *id, const char *text)
{
    return gateway_note(arg, id, text);
}

enum err gateway_asks_begin(struct gateway *g, struct fault *reterr)
{
    char filter[TOPIC_MAX + 1];
    struct escalate_handlers on = {.on_answer = on_answer,
                                   .is_gateway = is_gateway,
                                   .ask_up = g->uplink != NULL ? ask_up : NULL,
                                   .on_event = on_event,
                                   .arg = g};
    if (g->options.escalate == NULL) {
        return OK;
    }
    TRY(escalate_new(g->loop, g->site, g->gateway, g->options.escalate, &on, &g->escalate, reterr));
    topic_format(g->site, g->gateway, "+", TOPIC_ASK, filter);
    return bus_subscribe(g->down, filter, 0) == OK ? OK : fault_set(reterr, ERR_NOMEM, "out of memory");
}

enum err gateway_set_escalate(struct gateway *g, const struct escalate_settings *settings, struct fault *reterr)
{
    if (g->options.escalate == NULL) {
        return fault_set(reterr, ERR_UNSUPPORTED, "the gateway was started without");
    }
    if (g->escalate != NULL) {
        TRY(escalate_set(g->escalate, settings, reterr));
    }
    g->options.escalate = settings;
    return OK;
}
