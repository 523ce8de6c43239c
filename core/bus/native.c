/* SPDX-License-Identifier: Apache-2.0 */
/*
 * native - an MQTT session straight on the loop, 3.1.1 or 5. It exists for its price: about a microsecond a message in.
 *
 * Comes in: readiness of one socket, timers, publications. Goes out: on_message with views into the read buffer,
 * packets.
 *
 *   IDLE --retry timer--> DIALLING --connected, TLS done, CONNECT sent--> WAITING --CONNACK 0, SUBSCRIBEs sent-->
 *   SUBSCRIBING --last SUBACK--> UP;   from any: error, time out, refusal --> IDLE with the retry timer set
 *
 * In:  one read takes as much as the buffer holds (it grows with the traffic up to READ_MAX, so that an idle session of
 *      a fleet costs nothing); every complete packet is handed up in place; the rest of the last one moves to the front.
 *      A wake-up reads at most READ_BUDGET, then the loop has its turn.
 *      Brokers write packet by packet, so a busy session would be woken for every other message, and the system calls
 *      would be most of its price. As network cards do, it stops being woken then and looks every PACE_US instead,
 *      until a look finds little. A message that comes alone is never delayed.
 * Out: packets are appended to one buffer, which is written at the end of the round, or at once when WRITE_AT are
 *      there. What does not go waits for writability. More than twice out_limit_bytes unsent (only acknowledgements can
 *      cause that): reading pauses.
 * MQTT 5: an attempt that the server refuses for its version, or that ends before the CONNACK, is made again in 3.1.1,
 * and the one after that in 5 again, until one of them is taken. A session that was up is followed by an attempt in 5.
 * A failed write inside a call from outside is kept in `broken` and told from the flush task: calls never call back.
 */
#include <stdio.h>

#include "core/bus/bus_internal.h"
#include "core/bus/dial.h"
#include "core/bus/mqtt.h"
#include "core/bus/stream.h"
#include "core/bus/version.h"

#define PACE_US INT64_C(500)

enum {
    READ_FIRST = 4 << 10,
    READ_MAX = 256 << 10,
    READ_BUDGET = 512 << 10,
    PACE_AFTER = 64,        /* wake-ups in a row, each within PACE_US of the last and for less than PACE_ENOUGH */
    PACE_ENOUGH = 16 << 10,
    PACE_LITTLE = 1 << 10,  /* a look that finds less ends it */
    WRITE_AT = 64 << 10,
    OUT_KEEP = 256 << 10,   /* an empty out buffer larger than this is given back */
    OUT_SMALL = 4 << 10,    /* and one so small as well: it is cheap to have again */
    BACKLOG_BYTES = 1024,   /* more than this before a PINGREQ: its answer is owed from when they have gone */
};

enum phase { IDLE, DIALLING, WAITING, SUBSCRIBING, UP };

struct native {
    struct bus bus;
    enum phase phase;
    struct dial dial;
    struct stream stream;
    struct loop_watch *watch; /* owned */
    unsigned watched;
    struct loop_timer retry; /* IDLE: next attempt; while connecting: time limit */
    struct loop_timer alive; /* keep-alive */
    struct loop_task flush, more;

    uint8_t *in; /* owned; [in_at, in_end) is unparsed */
    size_t in_cap, in_at, in_end;
    struct loop_timer pace; /* next look */
    bool paced;             /* looking by the clock, not woken */
    unsigned quick;         /* wake-ups in a row */
    int64_t woken_us;

    struct buffer out; /* [out_at, out.len) is unsent */
    size_t out_at;
    bool blocked; /* the kernel took less than there was */
    bool broken;  /* stream.reason says why */
    bool paused;  /* by the owner: what comes waits in the socket */
    bool held;    /* at rest, or the link is down for a simulator: no attempts */

    struct version version; /* of this session or attempt */
    bool wants_v5;
    bool refused_v5;        /* the next attempt is in 3.1.1 */
    int64_t keepalive_us;   /* of the session: the server's, where that is shorter */

    uint16_t last_id;
    unsigned in_flight, subscribing; /* SUBSCRIBEs without SUBACK */
    char refused[BUS_FILTER_TOLD_MAX]; /* first filter that was refused in this session */

    int64_t last_in_us, last_out_us;
    enum { PING_NONE, PING_QUEUED, PING_SENT } ping;
    int64_t ping_due_us; /* an answer is owed by then */
    uint64_t ping_end;   /* PING_SENT: position in the stream behind the PINGREQ */
    uint64_t acknowledged;
};

static struct native *native_of(struct bus *bus)
{
    return container_of(bus, struct native, bus);
}

static size_t unsent(const struct native *n)
{
    return n->out.len - n->out_at;
}

/* ---- end of a session or attempt ---- */
static void close_session(struct native *n)
{
    dial_cancel(&n->dial);
    loop_watch_free(n->watch);
    n->watch = NULL;
    stream_close(&n->stream);
    loop_timer_cancel(&n->retry);
    loop_timer_cancel(&n->alive);
    loop_timer_cancel(&n->pace);
    loop_task_cancel(&n->flush);
    loop_task_cancel(&n->more);
    n->paced = false;
    n->quick = 0;
    n->phase = IDLE;
}

static void forget_session(struct native *n)
{
    n->in_at = n->in_end = 0;
    n->out_at = 0;
    if (n->out.cap > OUT_KEEP) {
        buffer_deinit(&n->out);
    }
    buffer_reset(&n->out);
    n->blocked = n->broken = false;
    n->in_flight = n->subscribing = 0;
    n->refused[0] = '\0';
    n->ping = PING_NONE;
    for (struct bus_sub *sub = n->bus.subs; sub != NULL; sub = sub->next) {
        sub->waits = 0;
    }
}

static void session_failed(struct native *n, const char *reason)
{
    bool falls_back = n->phase == WAITING && n->version.v5;
    n->refused_v5 = falls_back;
    close_session(n);
    forget_session(n);
    if (!n->held) {
        loop_timer_in(&n->retry, falls_back ? n->bus.backoff_min_us : bus_backoff_us(&n->bus));
    }
    bus_went_down(&n->bus, reason);
}

/* As session_failed, in front of a sentence about the packet. */
static void protocol_failed(struct native *n, const char *what, unsigned long detail)
{
    char reason[BUS_REASON_MAX];
    (void)snprintf(reason, sizeof(reason), what, detail);
    session_failed(n, reason);
}

/* ---- out ---- */
static bool may_read(const struct native *n)
{
    return !n->paused && unsent(n) <= 2 * n->bus.out_limit_bytes;
}

static bool watch(struct native *n)
{
    unsigned events = may_read(n) && !n->paced ? LOOP_READ : 0;
    bool waits = n->blocked && !n->stream.write_wants_read;
    events |= waits || n->stream.read_wants_write ? LOOP_WRITE : 0;
    if (n->watch != NULL && events != n->watched) {
        n->watched = events;
        return loop_watch_set(n->watch, events) == OK;
    }
    return true;
}

/* Writes what goes; false with `broken` set if the stream failed. Calls nobody. */
static bool write_out(struct native *n)
{
    n->blocked = false;
    while (unsent(n) > 0 && !n->blocked && !n->broken) {
        size_t len = 0;
        enum err err = stream_write(&n->stream, n->out.ptr + n->out_at, unsent(n), &len);
        n->out_at += len;
        n->bus.stats.bytes_out += len;
        n->blocked = err == ERR_AGAIN;
        n->broken = err != OK && err != ERR_AGAIN;
    }
    n->last_out_us = loop_now_us(n->bus.loop);
    if (unsent(n) == 0) {
        n->out_at = 0;
        if (n->out.cap > OUT_KEEP || n->out.cap <= OUT_SMALL) {
            buffer_deinit(&n->out);
        }
        buffer_reset(&n->out);
        if (n->ping == PING_QUEUED) {
            n->ping = PING_SENT;
            n->ping_end = stream_sent(&n->stream);
        }
    } else if (n->out_at >= unsent(n)) { /* moving no more than was sent: linear over time */
        memmove(n->out.ptr, n->out.ptr + n->out_at, unsent(n));
        n->out.len -= n->out_at;
        n->out_at = 0;
    }
    return !n->broken;
}

static void on_flush(void *arg)
{
    struct native *n = arg;
    bus_enter(&n->bus);
    bool good = n->broken ? false : n->blocked || write_out(n);
    if (!good || buffer_err(&n->out) != OK || !watch(n)) {
        session_failed(n, !good ? n->stream.reason : "out of memory");
    } else {
        bus_drained(&n->bus, unsent(n));
    }
    bus_leave(&n->bus);
}

/* After packets were appended. */
static void schedule_flush(struct native *n)
{
    if (unsent(n) >= WRITE_AT && !n->blocked && !n->broken) {
        (void)write_out(n);
    }
    loop_task_post(&n->flush);
}

static uint16_t next_id(struct native *n)
{
    n->last_id = n->last_id == UINT16_MAX ? 1 : n->last_id + 1;
    return n->last_id;
}

static enum err native_publish(struct bus *bus, struct slice topic, struct slice payload, unsigned qos, bool retain,
                               const struct bus_extras *extras)
{
    struct native *n = native_of(bus);
    qos = qos < n->version.max_qos ? qos : n->version.max_qos;
    if (unsent(n) > bus->out_limit_bytes || n->broken || (qos > 0 && n->in_flight >= n->version.in_flight_max)) {
        return ERR_AGAIN;
    }
    struct mqtt_publish publish = {.topic = topic, .payload = payload, .qos = (uint8_t)qos, .retain = retain,
                                   .id = qos > 0 ? next_id(n) : 0};
    enum err err = version_put_publish(&n->version, &n->out, &publish, extras);
    if (err != OK) {
        return err == ERR_UNSUPPORTED ? err : ERR_NOMEM;
    }
    n->in_flight += qos > 0;
    schedule_flush(n);
    return OK;
}

static void put_subscribe(struct native *n, struct bus_sub *sub)
{
    n->subscribing += sub->waits == 0;
    sub->waits = next_id(n);
    version_put_subscribe(&n->version, &n->out, sub->waits, sub->filter, sub->qos);
    schedule_flush(n);
}

static enum err native_subscribe(struct bus *bus, struct bus_sub *sub)
{
    struct native *n = native_of(bus);
    if (n->phase == SUBSCRIBING || n->phase == UP) {
        put_subscribe(n, sub);
        return buffer_err(&n->out);
    }
    return OK;
}

/* ---- in ---- */
static void session_up(struct native *n)
{
    loop_timer_cancel(&n->retry);
    n->phase = UP;
    bus_went_up(&n->bus, n->refused);
}

static void on_connack(struct native *n, const struct mqtt_packet *packet)
{
    const char *refusal = NULL;
    bool not_v5 = false;
    if (n->phase != WAITING || version_read_connack(&n->version, packet, &refusal, &not_v5) != OK) {
        session_failed(n, "protocol error: unexpected or malformed CONNACK");
        return;
    }
    if (refusal != NULL) {
        char reason[BUS_REASON_MAX];
        (void)snprintf(reason, sizeof(reason), "connection refused: %s", refusal);
        n->version.v5 = not_v5; /* for another reason: no falling back */
        session_failed(n, reason);
        return;
    }
    n->bus.version = n->version.v5 ? BUS_MQTT_5 : BUS_MQTT_3;
    n->keepalive_us = n->version.keepalive_us != 0 ? min_i64(n->version.keepalive_us, n->bus.keepalive_us)
                                                   : n->bus.keepalive_us;
    loop_timer_in(&n->alive, n->keepalive_us);
    n->phase = SUBSCRIBING;
    for (struct bus_sub *sub = n->bus.subs; sub != NULL; sub = sub->next) {
        put_subscribe(n, sub);
    }
    if (n->subscribing == 0) {
        session_up(n);
    }
}

static void on_suback(struct native *n, const struct mqtt_packet *packet)
{
    uint16_t id = 0;
    uint8_t code = 0;
    if (version_read_suback(&n->version, packet, &id, &code) != OK) {
        session_failed(n, "protocol error: malformed SUBACK");
        return;
    }
    struct bus_sub *sub = n->bus.subs;
    while (sub != NULL && sub->waits != id) {
        sub = sub->next;
    }
    if (sub == NULL) {
        return; /* subscribed again meanwhile: the answer to the later one counts */
    }
    sub->waits = 0;
    n->subscribing--;
    if (code == MQTT_SUBACK_FAILURE && n->refused[0] == '\0') {
        (void)snprintf(n->refused, sizeof(n->refused), "%s", sub->filter);
    }
    if (n->phase == SUBSCRIBING && n->subscribing == 0) {
        session_up(n);
    } else if (n->phase == UP && code == MQTT_SUBACK_FAILURE) {
        bus_refused_subscription(&n->bus, sub->filter);
    }
}

static void on_publish(struct native *n, const struct mqtt_packet *packet)
{
    struct mqtt_publish publish;
    if (version_read_publish(&n->version, packet, &publish) != OK) {
        session_failed(n, "protocol error: malformed PUBLISH");
        return;
    }
    if (publish.qos > 1) {
        session_failed(n, "protocol error: PUBLISH at QoS 2, which was not asked for");
        return;
    }
    bus_message(&n->bus, publish.topic, publish.payload, publish.retain);
    if (publish.qos == 1 && !n->bus.closing) {
        mqtt_put_puback(&n->out, publish.id);
        schedule_flush(n);
    }
}

static void on_puback(struct native *n, const struct mqtt_packet *packet)
{
    uint16_t id = 0;
    if (version_read_puback(&n->version, packet, &id) != OK) {
        session_failed(n, "protocol error: malformed PUBACK");
        return;
    }
    n->in_flight -= n->in_flight > 0;
    if (n->in_flight <= n->version.in_flight_max / 2 && n->bus.wants_writable) {
        bus_drained(&n->bus, unsent(n));
    }
}

static void on_disconnect(struct native *n, const struct mqtt_packet *packet)
{
    const char *why = NULL;
    if (version_read_disconnect(&n->version, packet, &why) != OK) {
        session_failed(n, "protocol error: unexpected or malformed DISCONNECT");
        return;
    }
    char reason[BUS_REASON_MAX];
    (void)snprintf(reason, sizeof(reason), "the broker ended the session: %s", why);
    session_failed(n, reason);
}

static void on_packet(struct native *n, const struct mqtt_packet *packet)
{
    if (n->phase == WAITING && packet->type != MQTT_CONNACK) {
        protocol_failed(n, "protocol error: packet type %lu before the CONNACK", packet->type);
        return;
    }
    switch (packet->type) {
    case MQTT_PUBLISH:
        on_publish(n, packet);
        break;
    case MQTT_PUBACK:
        on_puback(n, packet);
        break;
    case MQTT_SUBACK:
        on_suback(n, packet);
        break;
    case MQTT_CONNACK:
        on_connack(n, packet);
        break;
    case MQTT_DISCONNECT:
        on_disconnect(n, packet);
        break;
    case MQTT_PINGRESP: /* any byte counts as an answer: on_bytes */
        break;
    default:
        protocol_failed(n, "protocol error: unexpected packet type %lu", packet->type);
    }
}

/* Every complete packet in the buffer. False if the session is over. */
static bool parse(struct native *n)
{
    struct mqtt_packet packet;
    enum err err;
    while ((err = mqtt_next(slice_of(n->in + n->in_at, n->in_end - n->in_at), n->bus.packet_limit_bytes, &packet)) ==
           OK) {
        n->in_at += packet.size;
        on_packet(n, &packet);
        if (n->bus.closing || n->phase == IDLE) {
            return false;
        }
    }
    if (err != ERR_AGAIN) {
        protocol_failed(n, err == ERR_FULL ? "protocol error: packet of %lu bytes is above the limit"
                                           : "protocol error: bad packet length",
                        (unsigned long)packet.size);
        return false;
    }
    return true;
}

/* Room behind in_end for at least one byte, and for the rest of a packet whose beginning is there. */
static bool make_room(struct native *n, bool was_full)
{
    size_t left = n->in_end - n->in_at;
    if (n->in_at > 0 && left > 0) {
        memmove(n->in, n->in + n->in_at, left);
    }
    n->in_at = 0;
    n->in_end = left;
    size_t cap = n->in_cap == 0 ? READ_FIRST : n->in_cap;
    cap = was_full && cap < READ_MAX ? cap * 4 : cap;
    cap = cap > READ_MAX ? READ_MAX : cap;
    while (cap <= left) {
        cap *= 2; /* ends: left is below packet_limit_bytes */
    }
    if (cap == n->in_cap) {
        return true;
    }
    uint8_t *in = realloc(n->in, cap);
    if (in == NULL) {
        return n->in_cap > left; /* goes on with what it has */
    }
    n->in = in;
    n->in_cap = cap;
    return true;
}

static void on_bytes(struct native *n, size_t len)
{
    n->in_end += len;
    n->bus.stats.bytes_in += len;
    n->last_in_us = loop_now_us(n->bus.loop);
    n->ping = PING_NONE;
}

/* A session that is spoken to now and then costs no buffer in between; one that grew is busy. */
static void give_back(struct native *n)
{
    if (n->in_at == n->in_end && n->in_cap <= READ_FIRST) {
        free(take(n->in));
        n->in_cap = n->in_at = n->in_end = 0;
    }
}

static void read_in(struct native *n)
{
    size_t budget = READ_BUDGET;
    bool was_full = false;
    while (!n->paused) {
        if (!make_room(n, was_full)) {
            session_failed(n, "out of memory");
            return;
        }
        size_t room = n->in_cap - n->in_end;
        size_t len = 0;
        enum err err = stream_read(&n->stream, n->in + n->in_end, room, &len);
        if (err == ERR_AGAIN) {
            break;
        }
        if (err != OK) {
            session_failed(n, n->stream.reason);
            return;
        }
        on_bytes(n, len);
        if (!parse(n)) {
            return;
        }
        was_full = len == room;
        if (!was_full && n->stream.ssl == NULL) {
            break; /* the socket is empty */
        }
        if (len >= budget) {
            if (n->stream.ssl != NULL) {
                loop_task_post(&n->more); /* TLS may hold bytes that no descriptor announces */
            }
            break;
        }
        budget -= len;
    }
    give_back(n);
    if (!watch(n)) {
        session_failed(n, "out of memory");
    }
}

static void on_more(void *arg)
{
    struct native *n = arg;
    bus_enter(&n->bus);
    read_in(n);
    bus_leave(&n->bus);
}

static bool session_lives(const struct native *n)
{
    return !n->bus.closing && n->phase != IDLE;
}

/* The socket is readable: reads, and judges whether to look by the clock from now on. */
static void read_woken(struct native *n)
{
    int64_t now_us = loop_now_us(n->bus.loop);
    uint64_t before = n->bus.stats.bytes_in;
    read_in(n);
    if (!session_lives(n)) {
        return;
    }
    bool small = n->bus.stats.bytes_in - before < PACE_ENOUGH;
    n->quick = small && now_us - n->woken_us < PACE_US ? n->quick + 1 : 0;
    n->woken_us = now_us;
    if (n->quick >= PACE_AFTER && n->phase == UP) {
        n->paced = true;
        loop_timer_in(&n->pace, PACE_US);
        (void)watch(n); /* not watching less is no harm */
    }
}

static void on_pace(void *arg)
{
    struct native *n = arg;
    bus_enter(&n->bus);
    uint64_t before = n->bus.stats.bytes_in;
    bool looked = may_read(n);
    if (looked) {
        read_in(n);
    }
    if (session_lives(n)) {
        n->paced = !looked || n->bus.stats.bytes_in - before >= PACE_LITTLE;
        n->quick = 0;
        if (n->paced) {
            loop_timer_in(&n->pace, PACE_US);
        } else if (!watch(n)) {
            session_failed(n, "out of memory");
        }
    }
    bus_leave(&n->bus);
}

/* ---- keep-alive ---- */
static void on_alive(void *arg)
{
    struct native *n = arg;
    bus_enter(&n->bus);
    int64_t now_us = loop_now_us(n->bus.loop);
    int64_t half_us = n->keepalive_us / 2;
    int64_t silent_since_us = min_i64(n->last_in_us, n->last_out_us);
    if (n->ping == PING_NONE && now_us - silent_since_us >= n->keepalive_us) {
        mqtt_put_pingreq(&n->out);
        n->ping = PING_QUEUED;
        n->ping_due_us = now_us + half_us;
        n->acknowledged = stream_acknowledged(&n->stream);
        schedule_flush(n);
    } else if (n->ping != PING_NONE) {
        uint64_t acknowledged = stream_acknowledged(&n->stream);
        bool backlog = n->ping == PING_QUEUED || n->acknowledged + BACKLOG_BYTES < n->ping_end;
        if (backlog && acknowledged > n->acknowledged) {
            n->ping_due_us = now_us + half_us; /* slow, not dead */
        }
        n->acknowledged = acknowledged;
    }
    if (n->ping != PING_NONE && now_us >= n->ping_due_us) {
        char reason[BUS_REASON_MAX];
        (void)snprintf(reason, sizeof(reason), "no answer from the broker for %lld ms, connection given up",
                       (long long)((now_us - n->last_in_us) / MS_US));
        session_failed(n, reason);
    } else {
        loop_timer_at(&n->alive, n->ping == PING_NONE ? silent_since_us + n->keepalive_us : n->ping_due_us);
    }
    bus_leave(&n->bus);
}

/* ---- connecting ---- */
static void on_ready(void *arg, unsigned events)
{
    struct native *n = arg;
    bus_enter(&n->bus);
    bool writes = (events & LOOP_WRITE) != 0;
    if ((writes && n->blocked) || n->stream.write_wants_read) {
        n->blocked = false;
        loop_task_post(&n->flush);
    }
    if (!writes || n->stream.read_wants_write) {
        read_woken(n);
    }
    bus_leave(&n->bus);
}

static void on_dialled(void *arg, const struct stream *stream, const char *reason)
{
    struct native *n = arg;
    bus_enter(&n->bus);
    if (stream == NULL) {
        session_failed(n, reason);
    } else {
        n->stream = *stream;
        n->watched = LOOP_READ;
        n->phase = WAITING;
        n->last_in_us = n->last_out_us = loop_now_us(n->bus.loop);
        bus_connecting(&n->bus);
        struct mqtt_publish will;
        bool has_will = bus_will(&n->bus, &will);
        uint16_t keepalive_s = (uint16_t)(n->bus.keepalive_us / SECOND_US);
        n->version.v5 = n->wants_v5 && !n->refused_v5;
        version_put_connect(&n->version, &n->out, n->bus.client_id, keepalive_s, has_will ? &will : NULL);
        schedule_flush(n);
        if (loop_watch_new(n->bus.loop, n->stream.fd, n->watched, on_ready, n, &n->watch) != OK) {
            session_failed(n, "out of memory");
        }
    }
    bus_leave(&n->bus);
}

static void on_retry(void *arg)
{
    struct native *n = arg;
    bus_enter(&n->bus);
    if (n->phase == IDLE) {
        n->phase = DIALLING;
        loop_timer_in(&n->retry, BUS_CONNECT_TIMEOUT_US);
        dial_start(&n->dial);
    } else {
        const char *what = n->phase == DIALLING  ? dial_waits_for(&n->dial)
                           : n->phase == WAITING ? "the CONNACK"
                                                 : "a SUBACK";
        char reason[BUS_REASON_MAX];
        (void)snprintf(reason, sizeof(reason), "timed out: waited 10 s for %s, %.100s port %u", what, n->bus.host,
                       n->bus.port);
        session_failed(n, reason);
    }
    bus_leave(&n->bus);
}

/* ---- life ---- */
static enum err native_start(struct bus *bus)
{
    if (!native_of(bus)->held) {
        loop_timer_in(&native_of(bus)->retry, 0);
    }
    return OK;
}

/* Takes effect at the next read; one that is under way still hands up what it has. */
static void native_pause(struct bus *bus, bool paused)
{
    struct native *n = native_of(bus);
    n->paused = paused;
    if (n->watch != NULL) {
        loop_task_post(&n->more); /* watches, or no longer; TLS may hold bytes that no descriptor announces */
    }
}

/* Told from the flush task, as every end that begins with a call from outside. */
static void native_set_link(struct bus *bus, bool up)
{
    struct native *n = native_of(bus);
    bool was_held = n->held;
    n->held = !up;
    if (!up && n->phase == IDLE) {
        loop_timer_cancel(&n->retry);
    } else if (!up) {
        n->broken = true;
        stream_reset(&n->stream);
        loop_task_post(&n->flush);
    } else if (was_held && n->phase == IDLE && bus->started) {
        loop_timer_in(&n->retry, bus_backoff_us(bus));
    }
}

/* As native_set_link, but the broker is told, and the will is not needed. */
static void native_rest(struct bus *bus, bool rest)
{
    struct native *n = native_of(bus);
    bool was_held = n->held;
    n->held = rest;
    if (rest && n->phase == IDLE) {
        loop_timer_cancel(&n->retry);
    } else if (rest) {
        if (n->phase == UP && !n->broken) {
            mqtt_put_disconnect(&n->out);
            (void)write_out(n);
        }
        n->broken = true;
        (void)snprintf(n->stream.reason, sizeof(n->stream.reason), "at rest: no session is needed");
        loop_task_post(&n->flush);
    } else if (was_held && n->phase == IDLE && bus->started) {
        loop_timer_in(&n->retry, 0);
    }
}

static void native_stop(struct bus *bus)
{
    struct native *n = native_of(bus);
    if (n->phase == UP && !n->broken) {
        mqtt_put_disconnect(&n->out);
        (void)write_out(n);
    }
    close_session(n);
}

static void native_release(struct bus *bus)
{
    struct native *n = native_of(bus);
    dial_deinit(&n->dial);
    buffer_deinit(&n->out);
    version_deinit(&n->version);
    free(n->in);
    bus_deinit(bus);
    free(n);
}

enum err native_new(struct loop *loop, const struct bus_options *options, struct bus **ret_bus)
{
    static const struct bus_ops ops = {
        .start = native_start,
        .subscribe = native_subscribe,
        .publish = native_publish,
        .pause = native_pause,
        .set_link = native_set_link,
        .rest = native_rest,
        .stop = native_stop,
        .release = native_release,
    };
    struct native *n = calloc(1, sizeof(*n));
    if (n == NULL) {
        return ERR_NOMEM;
    }
    enum err err = bus_init(&n->bus, &ops, loop, options);
    n->stream.fd = -1;
    n->wants_v5 = options->version == BUS_MQTT_5;
    version_init(&n->version);
    buffer_init(&n->out, 2 * n->bus.out_limit_bytes + MQTT_REMAINING_MAX);
    dial_init(&n->dial, loop, n->bus.host ? n->bus.host : "", n->bus.port, options->tls, on_dialled, n);
    n->dial.source = n->bus.source;
    loop_timer_init(&n->retry, loop, on_retry, n);
    loop_timer_init(&n->alive, loop, on_alive, n);
    loop_timer_init(&n->pace, loop, on_pace, n);
    loop_task_init(&n->flush, loop, on_flush, n);
    loop_task_init(&n->more, loop, on_more, n);
    if (err != OK) {
        native_release(&n->bus);
        return err;
    }
    *ret_bus = &n->bus;
    return OK;
}
