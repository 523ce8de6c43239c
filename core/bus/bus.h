/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus - one MQTT session that keeps itself connected: 3.1.1, or 5 where it is asked for.
 *
 * Comes in: publications of the caller, messages of the broker. Goes out: on_message per inbound PUBLISH, on_state on
 * every change, on_writable when a publish that was refused with ERR_AGAIN may be tried again.
 * All calls and callbacks happen on the loop's thread. Nothing is stored: a message that was handed over while the
 * link dies is gone, and the layers above repeat it from their own store.
 *
 * Three back-ends behind one header:
 *   paho    Eclipse Paho MQTTAsync; its threads hand messages over by a queue and an eventfd (default of the device)
 *   native  MQTT straight on the loop, QoS 0 and 1 out, 0 and 1 in (default of gateway, bridge): one read for many
 *           packets, which are handed up in place; one write for everything that was published in a round
 *   memory  a hub in the same process, for virtual time, with faults
 *
 *   DOWN --start/back-off over--> CONNECTING --CONNACK 0--> UP --socket error, keep-alive missed, refused--> DOWN
 *
 * Back-off: exponential with full jitter between backoff_min_us and backoff_max_us. Clean sessions; subscriptions are
 * remembered and made again after every connect, before on_state(UP) is called. Keep-alive: a PINGREQ after keepalive_s
 * of silence towards the broker or from it, the link is declared dead when no answer came within another half of it
 * (native: while the peer's TCP still takes bytes that stand before the PINGREQ, the half starts anew, so that a slow
 * link with a backlog is not taken for a dead one).
 * Will: what the broker says in our name when the session ends without our DISCONNECT. It may be another one for every
 * CONNECT: see bus_on_connect.
 * SIGPIPE is ignored from the first real session on, if it had its default action: OpenSSL and Paho write without
 * MSG_NOSIGNAL.
 * MQTT 5 (native only) is there for what a publication can say beside its payload: bus_publish_with. A server that does
 * not speak it is spoken to in 3.1.1, where that is left out; the next session tries again. What the server announces
 * (keep-alive, QoS, sizes, unacknowledged publications) is obeyed; one that takes no retained will gets it unretained.
 * Source: MQTT 3.1.1 (OASIS), sections 2-4; MQTT 5.0 (OASIS), sections 2-4.
 */
#ifndef CORE_BUS_BUS_H
#define CORE_BUS_BUS_H

#include "core/base/base.h"
#include "core/loop/loop.h"

struct bus;
struct crypt_tls;

enum bus_state { BUS_DOWN, BUS_UP };
enum bus_backend { BUS_PAHO, BUS_NATIVE };
enum bus_version { BUS_MQTT_3, BUS_MQTT_5 };

struct bus_options {
    const char *host;      /* copied */
    uint16_t port;
    const char *client_id; /* copied; an id_valid() identity */
    const char *source;    /* copied; address of ours that the connection comes from (native); NULL = the system chooses */
    struct crypt_tls *tls; /* borrowed for the life of the bus; NULL = plain TCP */
    unsigned keepalive_s;  /* 0 = 30 */
    int64_t backoff_min_us, backoff_max_us; /* 0 = 200 ms, 30 s */
    size_t out_limit_bytes; /* unsent bytes above which bus_publish says ERR_AGAIN; 0 = 1 MiB */
    enum bus_version version; /* that is tried first; native only */
    size_t packet_limit_bytes; /* largest inbound packet, larger ones end the session; 0 = 256 KiB */
};

struct bus_handlers {
    /* topic and payload are borrowed until return. retained: the broker's stored copy, not a live one. */
    void (*on_message)(void *arg, struct slice topic, struct slice payload, bool retained);
    /* On every change of state, and while DOWN whenever the reason changes (so a broker that stays away is told once).
     * UP is told again when the broker refuses a subscription that was made while UP; one refused on connecting is
     * named in the reason of UP. reason: a short sentence for the log ("connection refused: not authorised"), never
     * NULL. */
    void (*on_state)(void *arg, enum bus_state state, const char *reason);
    void (*on_writable)(void *arg); /* may be NULL */
    void *arg;
};
/* topic and payload are copied. */
struct bus_will {
    const char *topic;
    struct slice payload;
    unsigned qos; /* 0 or 1 */
    bool retain;
};

struct bus_stats {
    uint64_t published, received, bytes_out, bytes_in, connects, refused_again;
    uint64_t dropped; /* inbound messages that a bound of the back-end threw away (paho: loop too slow) */
};

/* Options are checked here: ERR_RANGE, ERR_NOMEM. No connection is made before bus_start. */
enum err bus_new(enum bus_backend backend, struct loop *loop, const struct bus_options *options, struct bus **ret_bus,
                 struct fault *reterr) MUST_CHECK;
/* No callback after this. Disconnects politely if it can without waiting. May be called from a callback of the same
 * bus, which must not touch it afterwards. Accepts NULL. Waits: paho up to 0.2 s for what it has in hand, and about a
 * second where the last Paho session ends (its threads); both while a name is being resolved at that moment. */
void bus_free(struct bus *bus);
DEFINE_CLEANUP(struct bus, bus_free)
/* Before bus_start. */
void bus_set_handlers(struct bus *bus, const struct bus_handlers *handlers);
/* Remembered; sent now if UP, and after each connect. filter is copied; qos above 1 counts as 1. ERR_NOMEM; ERR_RANGE:
 * not a filter. */
enum err bus_subscribe(struct bus *bus, const char *filter, unsigned qos) MUST_CHECK;
/* Stands in every CONNECT from now on; a session that is up keeps the one that it came with. NULL = none. For the time
 * before bus_start and for bus_on_connect's fn. ERR_RANGE: not a topic, such a QoS, or longer than 65535 bytes; ERR_NOMEM: then
 * there is none. */
enum err bus_set_will(struct bus *bus, const struct bus_will *will) MUST_CHECK;
/* Before bus_start: fn is called whenever the next thing that the session sends is a CONNECT (paho: the next thing that it
 * tries is to connect). It may call bus_set_will and nothing else of the bus. */
void bus_on_connect(struct bus *bus, void (*fn)(void *arg), void *arg);
enum err bus_start(struct bus *bus) MUST_CHECK;
enum bus_state bus_state(const struct bus *bus);
/* Whether the reason of on_state(UP) names a subscription that the broker refused. */
bool bus_reason_refused(const char *reason);

/* topic is a complete topic name without wildcards. qos 0 or 1; with 1 the library repeats within the session only.
 * Never calls back. OK: handed over (not: delivered). ERR_AGAIN: down, or too much unsent; wait for on_state(UP) or
 * on_writable, which comes when half of what may be unsent has gone. ERR_RANGE: not a topic, or no such QoS;
 * ERR_NOMEM. */
enum err bus_publish(struct bus *bus, struct slice topic, struct slice payload, unsigned qos, bool retain) MUST_CHECK;
struct bus_property {
    const char *name;   /* UTF-8, as the value */
    struct slice value;
};
struct bus_extras {
    const char *content_type; /* NULL = none */
    const struct bus_property *properties; /* MQTT 5 user properties */
    size_t count;
};
/* As bus_publish. extras: left out on a session that is not MQTT 5; a server of MQTT 5 may also take no retained
 * messages, or none so long: ERR_UNSUPPORTED (bus_publish likewise). */
enum err bus_publish_with(struct bus *bus, struct slice topic, struct slice payload, unsigned qos, bool retain,
                          const struct bus_extras *extras) MUST_CHECK;
/* Of the session that is up; the last one where there is none. */
enum bus_version bus_version(const struct bus *bus);
void bus_stats(const struct bus *bus, struct bus_stats *ret_stats);
/* While paused the session takes no more from its socket than it has read already, so that what comes faster than it can be
 * dealt with waits at the broker. For moments: the keep-alive goes on counting. A hint: paho and memory go on. May be called
 * from on_message. */
void bus_pause(struct bus *bus, bool paused);
/* While at rest there is no session: one that is up is ended politely, none is made until it is called with false, which
 * connects at once. May be called at any time, before bus_start too; on_state follows from the loop. ERR_UNSUPPORTED: paho. */
enum err bus_rest(struct bus *bus, bool rest) MUST_CHECK;

/* ---- faults of the link, for simulators ---- */
enum bus_link {
    BUS_LINK_UP,
    BUS_LINK_DOWN,  /* reset: the session ends at once */
    BUS_LINK_SILENT, /* cut without FIN or RST: everything vanishes, the keep-alive notices */
    BUS_LINK_DEAF,   /* the same, but only what the broker sends vanishes */
    BUS_LINK_MUTE,   /* the same, but only what the client sends vanishes */
};
/* A session on a real network as if its link were like this: DOWN resets the connection and makes no other, UP tries
 * again after a back-off. on_state follows from the loop. ERR_UNSUPPORTED: SILENT, and back-ends other than native. */
enum err bus_set_link(struct bus *bus, enum bus_link link) MUST_CHECK;

/* ---- the in-memory twin ---- */
struct bus_hub; /* a broker in a virtual world */
struct bus_faults {
    unsigned loss_ppm, duplicate_ppm, reorder_ppm; /* per message and direction, parts per million */
    int64_t delay_us, jitter_us;                   /* each direction */
    unsigned corrupt_ppm; /* the payload arrives as garbage of the same length: what a broken peer could send */
};
enum err bus_hub_new(struct loop_world *world, struct bus_hub **ret_hub) MUST_CHECK;
void bus_hub_free(struct bus_hub *hub);
void bus_hub_set_faults(struct bus_hub *hub, const struct bus_faults *faults);
/* client "*" = all, also those that come later. */
void bus_hub_set_link(struct bus_hub *hub, const char *client_id, enum bus_link link);
/* Broker killed and back after down_us, its queues wiped: what was under way is gone. */
void bus_hub_restart(struct bus_hub *hub, int64_t down_us);
/* For checkers: fn sees every message as a client hands it over, before any fault. NULL ends it. */
void bus_hub_watch(struct bus_hub *hub,
                   void (*fn)(void *arg, const char *client_id, struct slice topic, struct slice payload), void *arg);
/* A message out of nowhere, routed as if a client had sent it: for planted faults. */
void bus_hub_inject(struct bus_hub *hub, struct slice topic, struct slice payload);
/* loop is the node's own. A second client with the same id takes the session over, as a broker does. */
enum err bus_new_memory(struct bus_hub *hub, struct loop *loop, const char *client_id, struct bus **ret_bus) MUST_CHECK;

#endif
