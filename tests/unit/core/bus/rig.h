/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rig - what the tests of sessions over real sockets share: a loop that runs until a condition holds, and a session
 * that notes everything it is told.
 */
#ifndef TESTS_UNIT_CORE_BUS_RIG_H
#define TESTS_UNIT_CORE_BUS_RIG_H

#include "tests/support/check.h"

#include "core/bus/bus.h"

#define RIG_BOUND_US (30 * SECOND_US) /* no test waits so long unless it fails */
#define RIG_LOOK_US (2 * MS_US)

struct rig {
    struct loop *loop;
    struct loop_timer look;
    bool (*holds)(void *arg);
    void *arg;
    int64_t until_us;
    bool held;
};

__attribute__((unused)) static void rig_look(void *arg)
{
    struct rig *r = arg;
    r->held = r->holds != NULL && r->holds(r->arg);
    if (r->held || loop_now_us(r->loop) >= r->until_us) {
        loop_stop(r->loop);
    } else {
        loop_timer_in(&r->look, RIG_LOOK_US);
    }
}

__attribute__((unused)) static bool rig_run(struct rig *r, bool (*holds)(void *arg), void *arg, int64_t bound_us)
{
    r->holds = holds;
    r->arg = arg;
    r->until_us = loop_now_us(r->loop) + bound_us;
    loop_timer_in(&r->look, 0);
    CHECK_OK(loop_run(r->loop));
    loop_timer_cancel(&r->look);
    return r->held;
}

#define RIG_WAIT(rig, holds, arg)                                                                                      \
    do {                                                                                                               \
        if (!rig_run((rig), (holds), (arg), RIG_BOUND_US)) {                                                           \
            fail_msg("%s:%d: %s did not come true", __FILE__, __LINE__, #holds);                                       \
        }                                                                                                              \
    } while (0)

__attribute__((unused)) static void rig_begin(struct rig *r)
{
    *r = (struct rig){0};
    CHECK_OK(loop_new(&r->loop));
    loop_timer_init(&r->look, r->loop, rig_look, r);
}

__attribute__((unused)) static void rig_end(struct rig *r)
{
    loop_free(r->loop);
}

/* A session and what it was told. Payloads are numbers, sent in rising order from 1. */
struct client {
    struct bus *bus;
    unsigned ups, downs, writables, received, retained, out_of_order;
    uint32_t last;
    size_t last_len;
    char topic[128], reason[400], down_reason[400]; /* last told; last told with DOWN */
    bool free_on_message, free_on_state;
    uint32_t to_send, sent; /* client_pump */
    unsigned qos;
    const char *to;
};

static void client_message(void *arg, struct slice topic, struct slice payload, bool retained)
{
    struct client *c = arg;
    c->received++;
    c->retained += retained;
    c->last_len = payload.len;
    uint32_t number = 0;
    if (payload.len >= sizeof(number)) {
        memcpy(&number, payload.ptr, sizeof(number));
    }
    c->out_of_order += number != c->last + 1;
    c->last = number;
    snprintf(c->topic, sizeof(c->topic), "%.*s", (int)topic.len, (const char *)topic.ptr);
    if (c->free_on_message) {
        bus_free(take(c->bus));
    }
}

static void client_state(void *arg, enum bus_state state, const char *reason)
{
    struct client *c = arg;
    c->ups += state == BUS_UP;
    c->downs += state == BUS_DOWN;
    snprintf(c->reason, sizeof(c->reason), "%s", reason);
    if (state == BUS_DOWN) {
        snprintf(c->down_reason, sizeof(c->down_reason), "%s", reason);
    }
    if (c->free_on_state) {
        bus_free(take(c->bus));
    }
}

/* Sends numbers 1.. as long as the session takes them. */
__attribute__((unused)) static void client_pump(struct client *c)
{
    uint8_t payload[200] = {0};
    while (c->bus != NULL && c->sent < c->to_send) {
        uint32_t number = c->sent + 1;
        memcpy(payload, &number, sizeof(number));
        if (bus_publish(c->bus, slice_str(c->to), slice_of(payload, sizeof(payload)), c->qos, false) != OK) {
            return;
        }
        c->sent = number;
    }
}

static void client_writable(void *arg)
{
    struct client *c = arg;
    c->writables++;
    client_pump(c);
}

__attribute__((unused)) static void client_begin(struct client *c, struct rig *r, enum bus_backend backend,
                                                 const struct bus_options *options)
{
    *c = (struct client){0};
    struct bus_options o = *options;
    o.host = o.host ? o.host : "127.0.0.1";
    o.client_id = o.client_id ? o.client_id : "client";
    o.backoff_min_us = o.backoff_min_us ? o.backoff_min_us : 20 * MS_US;
    o.backoff_max_us = o.backoff_max_us ? o.backoff_max_us : 200 * MS_US;
    CHECK_OK(bus_new(backend, r->loop, &o, &c->bus, NULL));
    bus_set_handlers(c->bus, &(struct bus_handlers){client_message, client_state, client_writable, c});
}

__attribute__((unused)) static bool client_is_up(void *arg)
{
    struct client *c = arg;
    return c->bus != NULL && bus_state(c->bus) == BUS_UP;
}

__attribute__((unused)) static bool client_was_told_down(void *arg)
{
    return ((struct client *)arg)->downs > 0;
}

__attribute__((unused)) static bool client_is_freed(void *arg)
{
    return ((struct client *)arg)->bus == NULL;
}

#endif
