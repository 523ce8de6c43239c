/* SPDX-License-Identifier: Apache-2.0 */
#include "cloud-bridge/intake/intake.h"

#include "core/log/log.h"

struct intake {
    struct receive *receive;
    struct intake_handlers handlers;
    bool held, up;
};

static void on_refused(void *arg, const char *sender, enum receive_refusal refusal, const char *why)
{
    (void)arg;
    switch (refusal) {
    case RECEIVE_BAD_IDENTITY:
        log_warn("security: false identity, frame refused", KV_STR("gateway", sender), KV_STR("reason", why));
        break;
    case RECEIVE_BAD_RECORD:
        log_warn("bad record, declared as a gap of the hop", KV_STR("gateway", sender), KV_STR("reason", why));
        break;
    case RECEIVE_TOO_MANY:
        log_warn("stream refused, nothing of it is taken", KV_STR("gateway", sender), KV_STR("reason", why));
        break;
    case RECEIVE_BAD_FRAME:
    case RECEIVE_BAD_CHANNEL:
    case RECEIVE_QUOTA:
        log_warn("frame refused", KV_STR("gateway", sender), KV_STR("cause", receive_refusal_name(refusal)),
                 KV_STR("reason", why));
        break;
    }
}

static void on_durable(void *arg)
{
    struct intake *in = arg;
    in->handlers.on_durable(in->handlers.arg);
}

static void on_closed(void *arg, const char *sender, uint64_t epoch, const struct window_stream *stream)
{
    (void)arg;
    log_warn("stream closed: the gateway's store was restored from an old image, or two run with one identity",
             KV_STR("gateway", sender), KV_HEX("epoch", epoch), KV_U64("hwm", stream->hwm));
}

static void on_message(void *arg, struct slice topic, struct slice payload, bool retained)
{
    struct intake *in = arg;
    if (!in->held) {
        receive_message(in->receive, topic, payload, retained);
    }
}

static void on_state(void *arg, enum bus_state state, const char *reason)
{
    struct intake *in = arg;
    bool was_up = in->up;
    in->up = state == BUS_UP;
    if (state == BUS_UP && bus_reason_refused(reason)) {
        log_warn("broker connected, but it refuses what we must read", KV_STR("reason", reason));
    } else if (state == BUS_UP) {
        log_info("broker connected", KV_STR("reason", reason));
    } else {
        log_warn("broker not connected", KV_STR("reason", reason));
    }
    if (in->up && !was_up) { /* UP comes twice when a subscription is refused later */
        receive_resume(in->receive);
    }
}

enum err intake_new(struct loop *loop, struct bus *bus, struct store *store, struct spool *const spools[INBOX_LANES],
                    const struct intake_options *options, const struct intake_handlers *handlers,
                    struct intake **ret_intake, struct fault *reterr)
{
    CLEANUP(intake_freep) struct intake *in = calloc(1, sizeof(*in));
    if (in == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    in->handlers = *handlers;
    struct receive_options receive = {.site = options->site,
                                      .receiver = options->bridge,
                                      .accepts = RECEIVE_FORWARDS,
                                      .inbox = options->inbox};
    struct receive_handlers on = {
        .on_refused = on_refused, .on_durable = on_durable, .on_closed = on_closed, .arg = in};
    TRY(receive_new(loop, bus, store, spools, &receive, &on, &in->receive, reterr));
    bus_set_handlers(bus, &(struct bus_handlers){.on_message = on_message, .on_state = on_state, .arg = in});
    if (receive_subscribe(in->receive) != OK) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    *ret_intake = take(in);
    return OK;
}

void intake_free(struct intake *in)
{
    if (in != NULL) {
        receive_free(in->receive);
        free(in);
    }
}

void intake_hold(struct intake *in, bool held)
{
    in->held = held;
}

struct inbox *intake_inbox(struct intake *in)
{
    return receive_inbox(in->receive);
}

void intake_stats(const struct intake *in, struct receive_stats *ret_stats)
{
    receive_stats(in->receive, ret_stats);
}
