/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory - a broker and its clients inside a virtual world: the real ones' behaviour, with faults, bit for bit the same
 * for the same seed.
 *
 * A client's message becomes a flight to the hub (a timer on the hub's loop); arrived there it is routed, and becomes a
 * flight to each subscriber (a timer on that node's loop). Each flight takes delay + a part of jitter; those of one
 * client and direction keep their order unless they are picked for reordering. A flight belongs to a session and
 * vanishes with it, except that what a client had said before it left politely still arrives.
 *
 *   link UP       everything passes, but for the faults
 *   link DOWN     sessions end at once, attempts are refused
 *   link SILENT   flights vanish on arrival; a client's keep-alive notices after one and a half periods; attempts time
 *                 out
 *   DEAF, MUTE    the same in one direction
 *
 * What a real broker does is kept: a second client with the same id takes the session over, retained messages are
 * stored and sent to new subscriptions, a message goes once to a client however many of its filters match, a will is
 * published when a session ends in any way but by its client's wish (a hub that is killed forgets them all).
 * QoS 1 passes as QoS 0: a real broker loses it in the same places. Routing is linear in the sessions.
 */
#include <stdio.h>
#include <uthash.h>
#include <utlist.h>

#include "core/bus/bus_internal.h"
#include "core/bus/mqtt.h"

enum { PPM = 1000000 };

struct memory;

/* One client id as the hub knows it; lives as long as the hub. */
struct peer {
    char id[ID_MAX + 1];
    enum bus_link link;
    struct memory *session; /* NULL: not connected */
    UT_hash_handle hh;
};

struct retained {
    struct slice topic, payload; /* both behind the struct */
    UT_hash_handle hh;
    uint8_t data[];
};

enum course { TO_HUB, TO_CLIENT };
struct flight {
    struct flight *prev, *next; /* hub->flights */
    struct bus_hub *hub;
    struct memory *client; /* NULL: has left politely */
    enum course course;
    struct bus_sub *sub;   /* TO_HUB: a subscription instead of a message */
    bool retain;
    struct loop_timer timer;
    struct slice topic, payload; /* both behind the struct */
    uint8_t data[];
};

struct bus_hub {
    struct loop_world *world;
    struct loop *loop; /* owned */
    struct bus_faults faults;
    enum bus_link default_link;
    int64_t down_until_us;
    struct peer *peers;         /* owned, by id */
    struct retained *retained;  /* owned, by topic */
    struct flight *flights;     /* owned */
    struct memory *clients;     /* all that exist */
    void (*watch)(void *arg, const char *client_id, struct slice topic, struct slice payload);
    void *watch_arg;
};

enum phase { IDLE, CONNECTING, TIMING_OUT, UP };

struct memory {
    struct bus bus;
    struct memory *prev, *next; /* hub->clients */
    struct bus_hub *hub;        /* NULL: gone */
    struct peer *peer;
    enum phase phase;
    struct loop_timer attempt;  /* IDLE: start the next; else: its end */
    struct loop_timer notice;   /* a call that the hub owes: loss, or writable */
    struct loop_timer alive;    /* silent link: when the keep-alive gives up */
    const char *loss;           /* NULL: none */
    bool held;                  /* at rest: no attempts */
    bool orphaned;              /* the hub restarted behind a silent link: it does not know the session any more */
    int64_t last_due_us[2];     /* per course: keeps the order */
    size_t vanished_bytes;      /* into a silent link: what a socket would hold unsent */
    struct mqtt_publish will;   /* of this session, as the hub knows it; payload and topic lie in will_data */
    uint8_t *will_data;         /* owned; NULL = none */
};

static struct memory *memory_of(struct bus *bus)
{
    return container_of(bus, struct memory, bus);
}

/* Whether the link takes what goes this way and says nothing. */
static bool swallows(enum bus_link link, enum course course)
{
    return link == BUS_LINK_SILENT || link == (course == TO_CLIENT ? BUS_LINK_DEAF : BUS_LINK_MUTE);
}

/* No answer comes: whoever waits for one gives up some day. */
static bool unanswered(enum bus_link link)
{
    return swallows(link, TO_CLIENT) || swallows(link, TO_HUB);
}

/* ---- flights ---- */
static void flight_free(struct flight *f)
{
    loop_timer_cancel(&f->timer);
    DL_DELETE(f->hub->flights, f);
    free(f);
}

static bool hit(struct bus_hub *hub, unsigned ppm)
{
    return ppm > 0 && loop_world_random(hub->world) % PPM < ppm;
}

static int64_t travel_us(struct bus_hub *hub)
{
    int64_t jitter_us = hub->faults.jitter_us;
    int64_t extra_us = jitter_us > 0 ? (int64_t)(loop_world_random(hub->world) % (uint64_t)(jitter_us + 1)) : 0;
    return hub->faults.delay_us + extra_us;
}

static int64_t arrival_us(struct bus_hub *hub, struct memory *client, enum course course, bool may_reorder)
{
    int64_t due_us = loop_world_now_us(hub->world) + travel_us(hub);
    if (may_reorder && hit(hub, hub->faults.reorder_ppm)) {
        /* Late by up to four travels and a millisecond; those behind it do not wait. */
        uint64_t most_us = (uint64_t)(4 * (hub->faults.delay_us + hub->faults.jitter_us) + MS_US);
        return max_i64(due_us, client->last_due_us[course]) + 1 + (int64_t)(loop_world_random(hub->world) % most_us);
    }
    due_us = max_i64(due_us, client->last_due_us[course]);
    client->last_due_us[course] = due_us;
    return due_us;
}

static void on_arrival(void *arg);

static struct flight *flight_new(struct memory *client, enum course course, struct slice topic, struct slice payload)
{
    struct flight *f = malloc(sizeof(*f) + topic.len + payload.len);
    if (f == NULL) {
        return NULL;
    }
    *f = (struct flight){.hub = client->hub, .client = client, .course = course};
    memcpy(f->data, topic.ptr, topic.len);
    if (payload.len > 0) {
        memcpy(f->data + topic.len, payload.ptr, payload.len);
    }
    f->topic = slice_of(f->data, topic.len);
    f->payload = slice_of(f->data + topic.len, payload.len);
    loop_timer_init(&f->timer, course == TO_HUB ? client->hub->loop : client->bus.loop, on_arrival, f);
    DL_APPEND(client->hub->flights, f);
    return f;
}

static void garble(struct flight *f)
{
    uint64_t random = loop_world_random(f->hub->world);
    for (size_t i = 0; i < f->payload.len; i++) {
        f->data[f->topic.len + i] ^= (uint8_t)(mix_u64(random + i) | 1);
    }
}

/* A message, subject to the faults. Out of memory loses it, as a broker would. */
static void send_message(struct memory *client, enum course course, struct slice topic, struct slice payload,
                         bool retain)
{
    struct bus_hub *hub = client->hub;
    if (hit(hub, hub->faults.loss_ppm)) {
        return;
    }
    unsigned copies = hit(hub, hub->faults.duplicate_ppm) ? 2 : 1;
    for (unsigned i = 0; i < copies; i++) {
        struct flight *f = flight_new(client, course, topic, payload);
        if (f != NULL) {
            f->retain = retain;
            if (hit(hub, hub->faults.corrupt_ppm)) {
                garble(f);
            }
            loop_timer_at(&f->timer, arrival_us(hub, client, course, true));
        }
    }
}

/* ---- the hub ---- */
static bool hub_is_down(const struct bus_hub *hub)
{
    return loop_world_now_us(hub->world) < hub->down_until_us;
}

static bool wants(const struct memory *client, struct slice topic)
{
    for (const struct bus_sub *sub = client->bus.subs; sub != NULL; sub = sub->next) {
        if (sub->waits != 0 && mqtt_filter_matches(slice_str(sub->filter), topic)) {
            return true;
        }
    }
    return false;
}

static void forget_retained(struct bus_hub *hub, struct retained *r)
{
    HASH_DEL(hub->retained, r);
    free(r);
}

static void store_retained(struct bus_hub *hub, struct slice topic, struct slice payload)
{
    struct retained *old = NULL;
    HASH_FIND(hh, hub->retained, topic.ptr, topic.len, old);
    if (old != NULL) {
        forget_retained(hub, old);
    }
    if (payload.len == 0) {
        return; /* an empty one deletes: MQTT 3.1.1, section 3.3.1.3 */
    }
    struct retained *r = calloc(1, sizeof(*r) + topic.len + payload.len);
    if (r != NULL) {
        memcpy(r->data, topic.ptr, topic.len);
        memcpy(r->data + topic.len, payload.ptr, payload.len);
        r->topic = slice_of(r->data, topic.len);
        r->payload = slice_of(r->data + topic.len, payload.len);
        HASH_ADD_KEYPTR(hh, hub->retained, r->topic.ptr, r->topic.len, r);
    }
}

static void route(struct bus_hub *hub, struct slice topic, struct slice payload, bool retain)
{
    if (retain) {
        store_retained(hub, topic, payload);
    }
    for (struct peer *p = hub->peers; p != NULL; p = p->hh.next) {
        if (p->session != NULL && wants(p->session, topic)) {
            send_message(p->session, TO_CLIENT, topic, payload, false);
        }
    }
}

/* The hub learns of a subscription and sends what it has retained for it. */
static void hub_subscribe(struct memory *client, struct bus_sub *sub)
{
    sub->waits = 1;
    for (struct retained *r = client->hub->retained; r != NULL; r = r->hh.next) {
        if (mqtt_filter_matches(slice_str(sub->filter), r->topic)) {
            send_message(client, TO_CLIENT, r->topic, r->payload, true);
        }
    }
}

static void arrive_at_client(struct memory *client, const struct flight *f)
{
    client->bus.stats.bytes_in += f->topic.len + f->payload.len;
    bus_enter(&client->bus);
    bus_message(&client->bus, f->topic, f->payload, f->retain);
    bus_leave(&client->bus);
}

static void on_arrival(void *arg)
{
    struct flight *f = arg;
    struct bus_hub *hub = f->hub;
    struct memory *client = f->client;
    DL_DELETE(hub->flights, f); /* ours alone from here: the callee may end the session, or free the hub */
    bool silent = client != NULL && swallows(client->peer->link, f->course);
    if (!silent && !hub_is_down(hub)) {
        if (f->course == TO_CLIENT) {
            arrive_at_client(client, f);
        } else if (f->sub != NULL) {
            hub_subscribe(client, f->sub);
        } else {
            route(hub, f->topic, f->payload, f->retain);
        }
    }
    free(f);
}

/* What the hub has sent is gone; what the client has sent too, or it goes on without it. */
static void drop_flights(struct memory *client, bool to_hub_too)
{
    struct flight *f, *tmp;
    DL_FOREACH_SAFE(client->hub->flights, f, tmp) {
        if (f->client != client) {
            continue;
        }
        if (f->course == TO_CLIENT || f->sub != NULL || to_hub_too) {
            flight_free(f);
        } else {
            f->client = NULL;
        }
    }
}

/* ---- a client's session ---- */
static void forget_will(struct memory *client)
{
    free(take(client->will_data));
}

static void publish_will(struct memory *client)
{
    if (client->will_data != NULL) {
        route(client->hub, client->will.topic, client->will.payload, client->will.retain);
        forget_will(client);
    }
}

static void learn_will(struct memory *client)
{
    struct mqtt_publish will;
    forget_will(client);
    client->will_data = bus_will(&client->bus, &will) ? malloc(will.topic.len + will.payload.len) : NULL;
    if (client->will_data == NULL) {
        return; /* out of memory loses it, as everything here */
    }
    memcpy(client->will_data, will.topic.ptr, will.topic.len);
    if (will.payload.len > 0) {
        memcpy(client->will_data + will.topic.len, will.payload.ptr, will.payload.len);
    }
    client->will = will;
    client->will.topic.ptr = client->will_data;
    client->will.payload.ptr = client->will_data + will.topic.len;
}

static void forget_session(struct memory *client)
{
    drop_flights(client, true);
    for (struct bus_sub *sub = client->bus.subs; sub != NULL; sub = sub->next) {
        sub->waits = 0;
    }
}

/* The hub's side of it ends; the client is told by its own loop, now. */
static void end_session(struct memory *client, const char *why)
{
    if (client->peer->session == client) {
        client->peer->session = NULL;
    }
    forget_session(client);
    publish_will(client);
    client->loss = why;
    loop_timer_in(&client->notice, 0);
}

static void attempt_failed(struct memory *m, const char *reason)
{
    m->phase = IDLE;
    m->vanished_bytes = 0;
    loop_timer_cancel(&m->alive);
    if (!m->held) {
        loop_timer_in(&m->attempt, bus_backoff_us(&m->bus));
    }
    bus_went_down(&m->bus, reason);
}

static void on_notice(void *arg)
{
    struct memory *m = arg;
    bus_enter(&m->bus);
    const char *loss = m->loss;
    m->loss = NULL;
    if (loss != NULL && m->phase == UP) {
        attempt_failed(m, loss);
    } else {
        bus_drained(&m->bus, m->vanished_bytes);
    }
    bus_leave(&m->bus);
}

static void on_alive(void *arg)
{
    struct memory *m = arg;
    end_session(m, "no answer from the broker, connection given up");
}

static void watch_silence(struct memory *m)
{
    if (m->phase != UP) {
        return;
    }
    if (unanswered(m->peer->link)) {
        if (!loop_timer_pending(&m->alive)) {
            loop_timer_in(&m->alive, m->bus.keepalive_us * 3 / 2);
        }
    } else if (m->orphaned) {
        end_session(m, "connection lost: Connection reset by peer");
    } else {
        loop_timer_cancel(&m->alive);
        m->vanished_bytes = 0;
        loop_timer_in(&m->notice, 0);
    }
}

static void session_begins(struct memory *m)
{
    if (m->peer->session != NULL) {
        end_session(m->peer->session, "session taken over by another client with the same id");
    }
    bus_connecting(&m->bus);
    learn_will(m);
    m->peer->session = m;
    m->phase = UP;
    m->orphaned = false;
    for (struct bus_sub *sub = m->bus.subs; sub != NULL; sub = sub->next) {
        hub_subscribe(m, sub);
    }
    bus_went_up(&m->bus, "");
}

static void on_attempt(void *arg)
{
    struct memory *m = arg;
    bus_enter(&m->bus);
    bool silent = unanswered(m->peer->link);
    switch (m->phase) {
    case IDLE:
        m->phase = silent ? TIMING_OUT : CONNECTING;
        loop_timer_in(&m->attempt, silent ? BUS_CONNECT_TIMEOUT_US : travel_us(m->hub) + travel_us(m->hub));
        break;
    case TIMING_OUT:
        attempt_failed(m, "timed out: waited 10 s for the connection");
        break;
    case CONNECTING:
        if (silent) {
            m->phase = TIMING_OUT;
            loop_timer_in(&m->attempt, BUS_CONNECT_TIMEOUT_US);
        } else if (m->peer->link == BUS_LINK_DOWN || hub_is_down(m->hub)) {
            attempt_failed(m, "cannot connect to the hub: Connection refused");
        } else {
            session_begins(m);
        }
        break;
    case UP:
        break;
    }
    bus_leave(&m->bus);
}

static enum err memory_start(struct bus *bus)
{
    if (memory_of(bus)->hub != NULL && !memory_of(bus)->held) {
        loop_timer_in(&memory_of(bus)->attempt, 0);
    }
    return OK;
}

static enum err memory_subscribe(struct bus *bus, struct bus_sub *sub)
{
    struct memory *m = memory_of(bus);
    if (m->phase != UP || m->loss != NULL || m->hub == NULL) {
        return OK;
    }
    struct flight *f = flight_new(m, TO_HUB, slice_str(sub->filter), slice_of(NULL, 0));
    if (f == NULL) {
        return ERR_NOMEM;
    }
    f->sub = sub;
    loop_timer_at(&f->timer, arrival_us(m->hub, m, TO_HUB, false));
    return OK;
}

static enum err memory_publish(struct bus *bus, struct slice topic, struct slice payload, unsigned qos, bool retain,
                               const struct bus_extras *extras)
{
    (void)extras;
    (void)qos;
    struct memory *m = memory_of(bus);
    size_t bytes = topic.len + payload.len;
    if (m->vanished_bytes > bus->out_limit_bytes) {
        return ERR_AGAIN;
    }
    bus->stats.bytes_out += bytes;
    if (m->hub != NULL && m->hub->watch != NULL) {
        m->hub->watch(m->hub->watch_arg, m->peer->id, topic, payload);
    }
    if (m->hub == NULL || m->loss != NULL) {
        return OK; /* the loss is not noticed yet: gone */
    }
    if (swallows(m->peer->link, TO_HUB)) {
        m->vanished_bytes += bytes;
        return OK;
    }
    send_message(m, TO_HUB, topic, payload, retain);
    return OK;
}

static void cancel_timers(struct memory *m)
{
    loop_timer_cancel(&m->attempt);
    loop_timer_cancel(&m->notice);
    loop_timer_cancel(&m->alive);
}

static void memory_rest(struct bus *bus, bool rest)
{
    struct memory *m = memory_of(bus);
    m->held = rest;
    if (m->hub == NULL) {
        return;
    }
    if (rest && m->phase == UP) {
        loop_timer_cancel(&m->alive);
        forget_will(m);
        end_session(m, "at rest: no session is needed");
    } else if (rest) {
        loop_timer_cancel(&m->attempt);
        m->phase = IDLE;
    } else if (m->phase == IDLE && bus->started && !loop_timer_pending(&m->attempt)) {
        loop_timer_in(&m->attempt, 0);
    }
}

static void memory_stop(struct bus *bus)
{
    struct memory *m = memory_of(bus);
    cancel_timers(m);
    if (m->hub != NULL) {
        if (m->peer->session == m) {
            m->peer->session = NULL;
        }
        drop_flights(m, m->peer->link != BUS_LINK_UP);
        if (m->peer->link != BUS_LINK_UP) { /* its DISCONNECT does not get there */
            publish_will(m);
        }
        DL_DELETE(m->hub->clients, m);
        m->hub = NULL;
    }
}

static void memory_release(struct bus *bus)
{
    forget_will(memory_of(bus));
    bus_deinit(bus);
    free(memory_of(bus));
}

/* ---- calls on the hub ---- */
enum err bus_hub_new(struct loop_world *world, struct bus_hub **ret_hub)
{
    struct bus_hub *hub = calloc(1, sizeof(*hub));
    if (hub == NULL) {
        return ERR_NOMEM;
    }
    hub->world = world;
    enum err err = loop_new_virtual(world, &hub->loop);
    if (err != OK) {
        free(hub);
        return err;
    }
    *ret_hub = hub;
    return OK;
}

void bus_hub_free(struct bus_hub *hub)
{
    if (hub == NULL) {
        return;
    }
    struct flight *f, *next_flight;
    DL_FOREACH_SAFE(hub->flights, f, next_flight) {
        flight_free(f);
    }
    struct memory *m, *next_client;
    DL_FOREACH_SAFE(hub->clients, m, next_client) {
        cancel_timers(m);
        m->hub = NULL;
        m->bus.state = BUS_DOWN;
    }
    struct peer *p, *next_peer;
    HASH_ITER(hh, hub->peers, p, next_peer) {
        HASH_DEL(hub->peers, p);
        free(p);
    }
    struct retained *r, *next_retained;
    HASH_ITER(hh, hub->retained, r, next_retained) {
        forget_retained(hub, r);
    }
    loop_free(hub->loop);
    free(hub);
}

void bus_hub_set_faults(struct bus_hub *hub, const struct bus_faults *faults)
{
    hub->faults = *faults;
}

static struct peer *peer_get(struct bus_hub *hub, const char *id)
{
    struct peer *p = NULL;
    HASH_FIND_STR(hub->peers, id, p);
    if (p == NULL && (p = calloc(1, sizeof(*p))) != NULL) {
        (void)snprintf(p->id, sizeof(p->id), "%s", id);
        p->link = hub->default_link;
        HASH_ADD_STR(hub->peers, id, p);
    }
    return p;
}

static void set_link(struct peer *p, enum bus_link link)
{
    if (p->link == link) {
        return;
    }
    p->link = link;
    struct memory *m = p->session;
    if (m != NULL && link == BUS_LINK_DOWN) {
        loop_timer_cancel(&m->alive);
        end_session(m, "connection lost: Connection reset by peer");
    } else if (m != NULL) {
        watch_silence(m);
    }
}

void bus_hub_set_link(struct bus_hub *hub, const char *client_id, enum bus_link link)
{
    if (strcmp(client_id, "*") != 0) {
        struct peer *p = peer_get(hub, client_id);
        if (p != NULL) {
            set_link(p, link);
        }
        return;
    }
    hub->default_link = link;
    for (struct peer *p = hub->peers; p != NULL; p = p->hh.next) {
        set_link(p, link);
    }
}

void bus_hub_restart(struct bus_hub *hub, int64_t down_us)
{
    hub->down_until_us = loop_world_now_us(hub->world) + down_us;
    for (struct peer *p = hub->peers; p != NULL; p = p->hh.next) {
        if (p->session != NULL) {
            forget_will(p->session);
            if (unanswered(p->link)) { /* the client learns nothing, its keep-alive runs on */
                forget_session(p->session);
                p->session->orphaned = true;
                continue;
            }
            end_session(p->session, "connection closed by the broker");
        }
    }
    struct flight *f, *next_flight;
    DL_FOREACH_SAFE(hub->flights, f, next_flight) {
        flight_free(f); /* of clients that left */
    }
    struct retained *r, *next_retained;
    HASH_ITER(hh, hub->retained, r, next_retained) {
        forget_retained(hub, r);
    }
}

void bus_hub_watch(struct bus_hub *hub,
                   void (*fn)(void *arg, const char *client_id, struct slice topic, struct slice payload), void *arg)
{
    hub->watch = fn;
    hub->watch_arg = arg;
}

void bus_hub_inject(struct bus_hub *hub, struct slice topic, struct slice payload)
{
    route(hub, topic, payload, false);
}

enum err bus_new_memory(struct bus_hub *hub, struct loop *loop, const char *client_id, struct bus **ret_bus)
{
    static const struct bus_ops ops = {
        .start = memory_start,
        .subscribe = memory_subscribe,
        .publish = memory_publish,
        .rest = memory_rest,
        .stop = memory_stop,
        .release = memory_release,
    };
    if (!id_valid(slice_str(client_id))) {
        return ERR_RANGE;
    }
    struct peer *peer = peer_get(hub, client_id);
    struct memory *m = peer != NULL ? calloc(1, sizeof(*m)) : NULL;
    if (m == NULL) {
        return ERR_NOMEM;
    }
    struct bus_options options = {.client_id = client_id};
    enum err err = bus_init(&m->bus, &ops, loop, &options);
    if (err != OK) {
        free(m);
        return err;
    }
    m->hub = hub;
    m->peer = peer;
    loop_timer_init(&m->attempt, loop, on_attempt, m);
    loop_timer_init(&m->notice, loop, on_notice, m);
    loop_timer_init(&m->alive, loop, on_alive, m);
    DL_APPEND(hub->clients, m);
    *ret_bus = &m->bus;
    return OK;
}
