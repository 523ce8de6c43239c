/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus_internal - what the back-ends share: the head of every session object, its table of operations, and the rules of
 * calling back.
 *
 * Calling back: every entry from the loop (watch, timer, task) is bracketed by bus_enter and bus_leave. Between them a
 * handler may free the bus; then bus->closing is set, everything that could call back is already stopped, and the
 * memory goes with the outermost bus_leave. So: after each call up, look at bus->closing and return if it is set.
 * No call from outside (publish, subscribe, start) calls back.
 */
#ifndef CORE_BUS_BUS_INTERNAL_H
#define CORE_BUS_BUS_INTERNAL_H

#include "core/bus/bus.h"

#define BUS_CONNECT_TIMEOUT_US (10 * SECOND_US) /* from the first SYN to the last SUBACK */
enum { BUS_REASON_MAX = 384, BUS_FILTER_TOLD_MAX = 120, BUS_OUT_LIMIT_BYTES = 1 << 20 };

struct mqtt_publish;

struct bus_sub {
    struct bus_sub *next;
    char *filter;   /* owned */
    uint8_t qos;
    uint16_t waits; /* native: packet id of the SUBSCRIBE without answer, 0 = none; memory: 1 = the hub knows it */
};

struct bus_ops {
    enum err (*start)(struct bus *bus);
    enum err (*subscribe)(struct bus *bus, struct bus_sub *sub); /* new or changed; in any state */
    enum err (*publish)(struct bus *bus, struct slice topic, struct slice payload, unsigned qos, bool retain,
                        const struct bus_extras *extras); /* extras may be NULL; only MQTT 5 has them */
    void (*pause)(struct bus *bus, bool paused); /* NULL: not possible */
    void (*set_link)(struct bus *bus, bool up); /* NULL: not possible; may be called in any state */
    void (*rest)(struct bus *bus, bool rest);   /* the same */
    void (*stop)(struct bus *bus);    /* closes everything that could call back; slices handed up stay valid */
    void (*release)(struct bus *bus); /* frees the object; after stop */
};

struct bus {
    const struct bus_ops *ops;
    struct loop *loop;
    struct bus_handlers handlers;
    char *host;                /* owned; NULL in memory */
    char *source;              /* owned; NULL = the system chooses */
    char client_id[ID_MAX + 1];
    uint16_t port;
    enum bus_version version; /* of the session */
    struct crypt_tls *tls;     /* borrowed */
    int64_t keepalive_us, backoff_min_us, backoff_max_us;
    size_t out_limit_bytes, packet_limit_bytes;
    struct bus_sub *subs;      /* owned, in the order made */
    void (*on_connect)(void *arg);
    void *on_connect_arg;
    uint8_t *will;             /* owned; topic, NUL, payload; NULL = none */
    size_t will_topic_len, will_payload_len;
    uint8_t will_qos;
    bool will_retain;
    enum bus_state state;
    struct bus_stats stats;
    bool closing, started;
    bool wants_writable;       /* a publish was refused with ERR_AGAIN while UP */
    unsigned depth;            /* of bus_enter */
    unsigned failures;         /* attempts since the last good session */
    int64_t up_since_us;
    char reason[BUS_REASON_MAX]; /* last one told */
};

/* Fills in defaults and copies; limits are checked by bus_new. */
enum err bus_init(struct bus *bus, const struct bus_ops *ops, struct loop *loop,
                  const struct bus_options *options) MUST_CHECK;
void bus_deinit(struct bus *bus);

static inline void bus_enter(struct bus *bus)
{
    bus->depth++;
}
void bus_leave(struct bus *bus);

/* A CONNECT comes next. */
void bus_connecting(struct bus *bus);
/* The will as a message; the topic ends in a NUL. False: none. */
bool bus_will(const struct bus *bus, struct mqtt_publish *ret_will);
/* To UP; tells. refused: the first filter that the broker refused, "" if none. */
void bus_went_up(struct bus *bus, const char *refused);
/* While UP: a SUBSCRIBE made later was refused; tells. */
void bus_refused_subscription(struct bus *bus, const char *filter);
/* To DOWN, or still DOWN; tells if that is news. Does not schedule anything: see bus_backoff_us. */
void bus_went_down(struct bus *bus, const char *reason);
/* Time until the next attempt: exponential with full jitter. Call once per lost session or failed attempt. */
int64_t bus_backoff_us(struct bus *bus);
/* unsent: bytes not yet written. Tells on_writable if a publish was refused and half of the limit is free. */
void bus_drained(struct bus *bus, size_t unsent_bytes);

static inline void bus_message(struct bus *bus, struct slice topic, struct slice payload, bool retained)
{
    bus->stats.received++;
    if (bus->handlers.on_message != NULL) {
        bus->handlers.on_message(bus->handlers.arg, topic, payload, retained);
    }
}

/* The back-ends' constructors: an object with ops->release to free it. */
enum err native_new(struct loop *loop, const struct bus_options *options, struct bus **ret_bus) MUST_CHECK;
enum err paho_new(struct loop *loop, const struct bus_options *options, struct bus **ret_bus) MUST_CHECK;

#endif
