/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus - what every back-end has in common: options, remembered subscriptions, the state that is told, back-off.
 *
 * Comes in: the public calls, and the back-ends' news. Goes out: the back-ends' operations, and the handlers' calls.
 */
#include "core/bus/bus.h"

#include <signal.h>
#include <stdio.h>

#include "core/bus/bus_internal.h"
#include "core/bus/mqtt.h"

#define BACKOFF_MIN_US (200 * MS_US)
#define BACKOFF_MAX_US (30 * SECOND_US)
#define GOOD_SESSION_US (10 * SECOND_US) /* a session that lived so long ends a row of failures */
enum {
    KEEPALIVE_S = 30,
    KEEPALIVE_MAX_S = 43690, /* the broker waits one and a half times as long, in 16 bits */
    PACKET_LIMIT_BYTES = 256 << 10,
    HOST_MAX = 255,
};

/* ---- life ---- */
enum err bus_init(struct bus *bus, const struct bus_ops *ops, struct loop *loop, const struct bus_options *options)
{
    bus->ops = ops;
    bus->loop = loop;
    bus->port = options->port;
    bus->tls = options->tls;
    bus->keepalive_us = (options->keepalive_s ? options->keepalive_s : KEEPALIVE_S) * SECOND_US;
    bus->backoff_min_us = options->backoff_min_us ? options->backoff_min_us : BACKOFF_MIN_US;
    bus->backoff_max_us = options->backoff_max_us ? options->backoff_max_us
                                                  : max_i64(BACKOFF_MAX_US, bus->backoff_min_us);
    bus->out_limit_bytes = options->out_limit_bytes ? options->out_limit_bytes : BUS_OUT_LIMIT_BYTES;
    bus->packet_limit_bytes = options->packet_limit_bytes ? options->packet_limit_bytes : PACKET_LIMIT_BYTES;
    (void)snprintf(bus->client_id, sizeof(bus->client_id), "%s", options->client_id);
    bus->host = options->host != NULL ? strdup(options->host) : NULL;
    bus->source = options->source != NULL ? strdup(options->source) : NULL;
    bool missing = (options->host != NULL && bus->host == NULL) || (options->source != NULL && bus->source == NULL);
    return missing ? ERR_NOMEM : OK;
}

void bus_deinit(struct bus *bus)
{
    while (bus->subs != NULL) {
        struct bus_sub *sub = bus->subs;
        bus->subs = sub->next;
        free(sub->filter);
        free(sub);
    }
    free(bus->host);
    free(bus->will);
    free(bus->source);
}

static enum err check(const struct bus_options *o, struct fault *reterr)
{
    if (o->host == NULL || o->host[0] == '\0' || strlen(o->host) > HOST_MAX) {
        return fault_set(reterr, ERR_RANGE, "the broker's host is missing or longer than %d", HOST_MAX);
    }
    if (o->port == 0) {
        return fault_set(reterr, ERR_RANGE, "the broker's port is 0");
    }
    if (o->client_id == NULL || !id_valid(slice_str(o->client_id))) {
        return fault_set(reterr, ERR_RANGE, "client id \"%s\" is not 1 to %d of A-Z a-z 0-9 _ -",
                         o->client_id ? o->client_id : "", ID_MAX);
    }
    if (o->keepalive_s > KEEPALIVE_MAX_S) {
        return fault_set(reterr, ERR_RANGE, "keep-alive of %u s is above %d s", o->keepalive_s, KEEPALIVE_MAX_S);
    }
    if (o->backoff_min_us < 0 || o->backoff_max_us < 0 ||
        (o->backoff_max_us != 0 && o->backoff_max_us < o->backoff_min_us)) {
        return fault_set(reterr, ERR_RANGE, "longest back-off is shorter than the shortest");
    }
    if (o->packet_limit_bytes > MQTT_REMAINING_MAX || o->out_limit_bytes > MQTT_REMAINING_MAX) {
        return fault_set(reterr, ERR_RANGE, "packet or unsent limit is above %d bytes", MQTT_REMAINING_MAX);
    }
    return OK;
}

/* A peer that closes its end must not end the process: see the header. */
static void ignore_sigpipe(void)
{
    struct sigaction action;
    if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL) {
        action.sa_handler = SIG_IGN;
        (void)sigaction(SIGPIPE, &action, NULL);
    }
}

enum err bus_new(enum bus_backend backend, struct loop *loop, const struct bus_options *options, struct bus **ret_bus,
                 struct fault *reterr)
{
    TRY(check(options, reterr));
    ignore_sigpipe();
    enum err err = backend == BUS_PAHO ? paho_new(loop, options, ret_bus) : native_new(loop, options, ret_bus);
    return err == OK ? OK : fault_set(reterr, err, "cannot make an MQTT session: %s", err_name(err));
}

void bus_free(struct bus *bus)
{
    if (bus == NULL || bus->closing) {
        return;
    }
    bus->closing = true;
    bus->ops->stop(bus);
    if (bus->depth == 0) {
        bus->ops->release(bus);
    }
}

void bus_leave(struct bus *bus)
{
    if (--bus->depth == 0 && bus->closing) {
        bus->ops->release(bus);
    }
}

/* ---- calls ---- */
void bus_set_handlers(struct bus *bus, const struct bus_handlers *handlers)
{
    bus->handlers = *handlers;
}

enum err bus_start(struct bus *bus)
{
    if (bus->started) {
        return ERR_CONFLICT;
    }
    TRY(bus->ops->start(bus));
    bus->started = true;
    return OK;
}

static struct bus_sub **find_sub(struct bus *bus, const char *filter)
{
    struct bus_sub **at = &bus->subs;
    while (*at != NULL && strcmp((*at)->filter, filter) != 0) {
        at = &(*at)->next;
    }
    return at;
}

enum err bus_subscribe(struct bus *bus, const char *filter, unsigned qos)
{
    if (!mqtt_filter_valid(slice_str(filter))) {
        return ERR_RANGE;
    }
    struct bus_sub **at = find_sub(bus, filter);
    if (*at == NULL) {
        struct bus_sub *sub = calloc(1, sizeof(*sub));
        char *copy = strdup(filter);
        if (sub == NULL || copy == NULL) {
            free(sub);
            free(copy);
            return ERR_NOMEM;
        }
        sub->filter = copy;
        *at = sub;
    }
    (*at)->qos = qos > 0; /* QoS 2 inbound is never asked for */
    return bus->ops->subscribe(bus, *at);
}

void bus_pause(struct bus *bus, bool paused)
{
    if (bus->ops->pause != NULL) {
        bus->ops->pause(bus, paused);
    }
}

enum err bus_set_link(struct bus *bus, enum bus_link link)
{
    if (bus->ops->set_link == NULL || link == BUS_LINK_SILENT) {
        return ERR_UNSUPPORTED;
    }
    bus->ops->set_link(bus, link == BUS_LINK_UP);
    return OK;
}

enum err bus_rest(struct bus *bus, bool rest)
{
    if (bus->ops->rest == NULL) {
        return ERR_UNSUPPORTED;
    }
    bus->ops->rest(bus, rest);
    return OK;
}

enum bus_state bus_state(const struct bus *bus)
{
    return bus->state;
}

enum err bus_publish_with(struct bus *bus, struct slice topic, struct slice payload, unsigned qos, bool retain,
                          const struct bus_extras *extras)
{
    if (!mqtt_topic_valid(topic) || qos > 1 || payload.len > MQTT_REMAINING_MAX - MQTT_TOPIC_MAX - 4) {
        return ERR_RANGE;
    }
    enum err err = bus->state == BUS_UP ? bus->ops->publish(bus, topic, payload, qos, retain, extras)
                                            : ERR_AGAIN;
    if (err == ERR_AGAIN) {
        bus->stats.refused_again++;
        bus->wants_writable = bus->state == BUS_UP;
    } else if (err == OK) {
        bus->stats.published++;
    }
    return err;
}

enum err bus_publish(struct bus *bus, struct slice topic, struct slice payload, unsigned qos, bool retain)
{
    return bus_publish_with(bus, topic, payload, qos, retain, NULL);
}

enum bus_version bus_version(const struct bus *bus)
{
    return bus->version;
}

void bus_stats(const struct bus *bus, struct bus_stats *ret_stats)
{
    *ret_stats = bus->stats;
}

enum err bus_set_will(struct bus *bus, const struct bus_will *will)
{
    free(take(bus->will));
    if (will == NULL) {
        return OK;
    }
    struct slice topic = slice_str(will->topic);
    if (!mqtt_topic_valid(topic) || will->qos > 1 || will->payload.len > MQTT_WILL_MAX) {
        return ERR_RANGE;
    }
    bus->will = malloc(topic.len + 1 + will->payload.len);
    if (bus->will == NULL) {
        return ERR_NOMEM;
    }
    memcpy(bus->will, topic.ptr, topic.len + 1);
    if (will->payload.len > 0) {
        memcpy(bus->will + topic.len + 1, will->payload.ptr, will->payload.len);
    }
    bus->will_topic_len = topic.len;
    bus->will_payload_len = will->payload.len;
    bus->will_qos = (uint8_t)will->qos;
    bus->will_retain = will->retain;
    return OK;
}

void bus_on_connect(struct bus *bus, void (*fn)(void *arg), void *arg)
{
    bus->on_connect = fn;
    bus->on_connect_arg = arg;
}

/* ---- news ---- */
void bus_connecting(struct bus *bus)
{
    if (bus->on_connect != NULL) {
        bus->on_connect(bus->on_connect_arg);
    }
}

bool bus_will(const struct bus *bus, struct mqtt_publish *ret_will)
{
    if (bus->will == NULL) {
        return false;
    }
    *ret_will = (struct mqtt_publish){.topic = slice_of(bus->will, bus->will_topic_len),
                                      .payload = slice_of(bus->will + bus->will_topic_len + 1, bus->will_payload_len),
                                      .qos = bus->will_qos,
                                      .retain = bus->will_retain};
    return true;
}

static void tell(struct bus *bus, enum bus_state state, const char *reason)
{
    bus->state = state;
    (void)snprintf(bus->reason, sizeof(bus->reason), "%s", reason);
    if (bus->handlers.on_state != NULL) {
        bus->handlers.on_state(bus->handlers.arg, state, bus->reason);
    }
}

#define REFUSED "the broker refused to subscribe to \""

bool bus_reason_refused(const char *reason)
{
    return strstr(reason, REFUSED) != NULL;
}

void bus_went_up(struct bus *bus, const char *refused)
{
    char reason[BUS_REASON_MAX];
    const char *before = refused[0] ? "; " REFUSED : "";
    (void)snprintf(reason, sizeof(reason), "connected to %.120s port %u%s%s%.120s%s", bus->host ? bus->host : "the hub",
                   bus->port, bus->tls ? " over TLS" : "", before, refused, refused[0] ? "\"" : "");
    bus->stats.connects++;
    bus->up_since_us = loop_now_us(bus->loop);
    tell(bus, BUS_UP, reason);
}

void bus_refused_subscription(struct bus *bus, const char *filter)
{
    char reason[BUS_REASON_MAX];
    (void)snprintf(reason, sizeof(reason), REFUSED "%.200s\"", filter);
    tell(bus, BUS_UP, reason);
}

void bus_went_down(struct bus *bus, const char *reason)
{
    bool was_up = bus->state == BUS_UP;
    bus->wants_writable = false;
    if (was_up && loop_now_us(bus->loop) - bus->up_since_us >= min_i64(GOOD_SESSION_US, bus->backoff_max_us)) {
        bus->failures = 0;
    }
    if (was_up || strcmp(bus->reason, reason) != 0) {
        tell(bus, BUS_DOWN, reason);
    }
}

int64_t bus_backoff_us(struct bus *bus)
{
    enum { DOUBLINGS_MAX = 30 };
    unsigned doublings = ++bus->failures < DOUBLINGS_MAX ? bus->failures : DOUBLINGS_MAX;
    int64_t cap_us = bus->backoff_max_us;
    if (bus->backoff_min_us <= cap_us >> doublings) {
        cap_us = bus->backoff_min_us << doublings;
    }
    int64_t span_us = cap_us - bus->backoff_min_us;
    return bus->backoff_min_us + (int64_t)(loop_random(bus->loop) % (uint64_t)(span_us + 1));
}

void bus_drained(struct bus *bus, size_t unsent_bytes)
{
    if (bus->wants_writable && bus->state == BUS_UP && unsent_bytes <= bus->out_limit_bytes / 2) {
        bus->wants_writable = false;
        if (bus->handlers.on_writable != NULL) {
            bus->handlers.on_writable(bus->handlers.arg);
        }
    }
}
