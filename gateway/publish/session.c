/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Sparkplug session: one at a time, with one server after the other, and the edge wired to it.
 *
 *   open --bus--> told UP --edge_connected--> ... --host gone, server gone--> closed --MOVE_US--> open, next server
 *
 * A single server is never left for want of a host: the bus connects again by itself, the edge waits.
 */
#include <stdio.h>

#include "core/log/log.h"
#include "gateway/publish/publish_internal.h"

#define MOVE_US (1 * SECOND_US)
#define PATIENCE_US (15 * SECOND_US) /* with a server that cannot be reached, or that knows no host */

struct server {
    struct bus_options options;
    char host[256], client_id[ID_MAX + 1];
};
struct session {
    struct publish *p;
    struct edge *edge; /* owned */
    struct bus *bus;   /* owned; NULL between two */
    struct server servers[PUBLISH_SERVERS_MAX];
    size_t count, now, last; /* last: of the last CONNECT; count = none */
    enum bus_backend backend;
    enum err (*open)(void *arg, unsigned n, struct bus **ret_bus);
    void *open_arg;
    bool up, started;
    struct loop_task kick, close;
    struct loop_timer pump, move, patience;
};

static int64_t now_ms(const struct session *s)
{
    return loop_wall_us(s->p->loop) / MS_US;
}

/* ---- the edge's side ---- */
static bool on_send(void *arg, struct slice topic, struct slice payload, unsigned qos)
{
    struct session *s = arg;
    return s->bus != NULL && bus_publish(s->bus, topic, payload, qos, false) == OK;
}

static void pump(struct session *s)
{
    int64_t delay_ms = edge_pump(s->edge, now_ms(s));
    if (delay_ms == 0) {
        loop_task_post(&s->kick);
    } else if (delay_ms > 0) {
        loop_timer_in(&s->pump, delay_ms * MS_US);
    }
}

static void on_kick(void *arg)
{
    pump(arg);
}

void session_kick(struct session *s)
{
    if (s->up) {
        loop_task_post(&s->kick);
    }
}

/* ---- the bus's side ---- */
static void on_close(void *arg)
{
    struct session *s = arg;
    bus_free(take(s->bus)); /* says DISCONNECT behind what was published */
    s->up = false;
    edge_disconnected(s->edge);
    loop_timer_cancel(&s->patience);
    loop_timer_in(&s->move, MOVE_US);
}

/* Away from this server, to the next one if there are more. Not inside of a call of the bus. */
static void leave(struct session *s)
{
    edge_leave(s->edge, now_ms(s));
    s->p->stats.moves += s->count > 1;
    s->now = (s->now + 1) % s->count;
    loop_task_post(&s->close);
}

static void obey(struct session *s, enum edge_wish wish)
{
    if (s->close.posted) {
        return;
    }
    if (wish == EDGE_LEAVE || (wish == EDGE_MOVE && s->count > 1)) {
        log_info("Sparkplug: the primary host is not online", KV_STR("server", s->servers[s->now].host));
        leave(s);
    }
}

static void on_patience(void *arg)
{
    struct session *s = arg;
    bool waits = edge_state(s->edge) == EDGE_WAITING || !s->up;
    if (waits && s->count > 1 && !s->close.posted) {
        log_warn("Sparkplug: tries the next server", KV_STR("server", s->servers[s->now].host),
                 KV_STR("reason", s->up ? "the primary host has not been seen" : "not connected"));
        leave(s);
    }
}

static void on_state(void *arg, enum bus_state state, const char *reason)
{
    struct session *s = arg;
    bool was_up = s->up;
    s->up = state == BUS_UP;
    if (!s->up) {
        log_warn("Sparkplug: not connected", KV_STR("reason", reason));
        edge_disconnected(s->edge);
        loop_timer_cancel(&s->pump);
        if (was_up) {
            loop_timer_in(&s->patience, PATIENCE_US);
        }
        return;
    }
    if (bus_reason_refused(reason)) {
        log_warn("Sparkplug: connected, but the broker refuses what must be read", KV_STR("reason", reason));
    } else {
        log_info("Sparkplug: connected", KV_STR("reason", reason));
    }
    if (!was_up) { /* UP comes twice when a subscription is refused later */
        s->p->stats.sessions++;
        loop_timer_in(&s->patience, PATIENCE_US);
        obey(s, edge_connected(s->edge));
        pump(s);
    }
}

static void on_message(void *arg, struct slice topic, struct slice payload, bool retained)
{
    struct session *s = arg;
    obey(s, edge_message(s->edge, topic, payload, retained, now_ms(s)));
    session_kick(s);
}

static void on_connect(void *arg)
{
    struct session *s = arg;
    BUFFER(topic, TOPIC_BYTES_MAX);
    BUFFER(payload, TOPIC_BYTES_MAX);
    edge_connecting(s->edge, s->last != s->now, now_ms(s), &topic, &payload);
    s->last = s->now;
    buffer_put_u8(&topic, '\0');
    enum err err = buffer_err(&topic) != OK ? buffer_err(&topic) : buffer_err(&payload);
    struct bus_will will = {.topic = (const char *)topic.ptr, .payload = buffer_slice(&payload), .qos = 1};
    err = err == OK ? bus_set_will(s->bus, &will) : err;
    if (err != OK) {
        log_error("Sparkplug: a session without a will", KV_ERR(err));
    }
}

/* ---- life ---- */
static enum err subscribe(struct session *s)
{
    BUFFER(filter, TOPIC_BYTES_MAX);
    for (unsigned i = 0; edge_filter(s->edge, i, &filter); i++) {
        buffer_put_u8(&filter, '\0');
        TRY(buffer_err(&filter));
        TRY(bus_subscribe(s->bus, (const char *)filter.ptr, 1));
        buffer_reset(&filter);
    }
    return OK;
}

static enum err open_session(struct session *s)
{
    if (s->open != NULL) {
        TRY(s->open(s->open_arg, (unsigned)s->now, &s->bus));
    } else {
        TRY(bus_new(s->backend, s->p->loop, &s->servers[s->now].options, &s->bus, NULL));
    }
    bus_set_handlers(s->bus, &(struct bus_handlers){
                                 .on_message = on_message, .on_state = on_state, .on_writable = on_kick, .arg = s});
    bus_on_connect(s->bus, on_connect, s);
    TRY(subscribe(s));
    loop_timer_in(&s->patience, PATIENCE_US);
    return bus_start(s->bus);
}

static void on_move(void *arg)
{
    struct session *s = arg;
    enum err err = open_session(s);
    if (err != OK) {
        log_error("Sparkplug: no session, will try again", KV_ERR(err));
        bus_free(take(s->bus));
        loop_timer_in(&s->move, MOVE_US);
    }
}

static enum err copy_servers(struct session *s, const struct publish_options *o, struct fault *reterr)
{
    if (o->server_count == 0 || o->server_count > PUBLISH_SERVERS_MAX) {
        return fault_set(reterr, ERR_RANGE, "a Sparkplug node needs 1 to %d servers", PUBLISH_SERVERS_MAX);
    }
    s->count = s->last = o->server_count;
    for (size_t i = 0; i < s->count && o->open == NULL; i++) {
        struct server *to = &s->servers[i];
        struct bus *probe = NULL;
        TRY(bus_new(o->backend, s->p->loop, &o->servers[i], &probe, reterr)); /* checks the options */
        bus_free(probe);
        to->options = o->servers[i];
        snprintf(to->host, sizeof(to->host), "%s", o->servers[i].host);
        snprintf(to->client_id, sizeof(to->client_id), "%s", o->servers[i].client_id);
        to->options.host = to->host;
        to->options.client_id = to->client_id;
    }
    return OK;
}

enum err session_new(struct publish *p, const struct publish_options *o, struct fault *reterr)
{
    struct session *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    p->session = s;
    s->p = p;
    s->backend = o->backend;
    s->open = o->open;
    s->open_arg = o->open_arg;
    loop_task_init(&s->kick, p->loop, on_kick, s);
    loop_task_init(&s->close, p->loop, on_close, s);
    loop_timer_init(&s->pump, p->loop, on_kick, s);
    loop_timer_init(&s->move, p->loop, on_move, s);
    loop_timer_init(&s->patience, p->loop, on_patience, s);
    struct edge_options edge = {.group = o->group,
                                .node = o->node != NULL && o->node[0] != '\0' ? o->node : p->gateway,
                                .host = o->host,
                                .software = o->software,
                                .devices_max = p->devices_max};
    TRY(edge_new(&edge, &(struct edge_handlers){.send = on_send, .arg = s}, &s->edge, reterr));
    p->edge = s->edge;
    return copy_servers(s, o, reterr);
}

enum err session_start(struct session *s)
{
    if (s->started) {
        return ERR_CONFLICT;
    }
    s->started = true;
    return open_session(s);
}

static void end(struct session *s)
{
    loop_task_cancel(&s->kick);
    loop_task_cancel(&s->close);
    loop_timer_cancel(&s->pump);
    loop_timer_cancel(&s->move);
    loop_timer_cancel(&s->patience);
    bus_free(take(s->bus));
    s->up = false;
}

void session_stop(struct session *s)
{
    edge_stop(s->edge, now_ms(s));
    end(s);
}

void session_free(struct session *s)
{
    if (s != NULL) {
        end(s);
        edge_free(s->edge);
        free(s);
    }
}
