/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge - the life of a Sparkplug B 3.0 edge node: events in, messages out. No I/O, no clock: the caller has the session
 * and the time.
 *
 * Comes in: what becomes of the session, messages of the broker, devices that come and go, values. Goes out: messages, by
 * handlers.send. Called by gateway/publish.
 *
 *   state     | connected             | disconnected | host online | host offline        | rebirth     | stop
 *   ----------+-----------------------+--------------+-------------+---------------------+-------------+---------------
 *   DOWN      | WAITING, or BIRTHING  | -            | noted       | noted               | -           | STOPPED
 *   WAITING   | -                     | DOWN         | BIRTHING    | -            : MOVE | -           | NDEATH, STOPPED
 *   BIRTHING  | -                     | DOWN         | -           | NDEATH, DOWN: LEAVE | from NBIRTH | NDEATH, STOPPED
 *   ONLINE    | -                     | DOWN         | -           | NDEATH, DOWN: LEAVE | BIRTHING    | NDEATH, STOPPED
 *   STOPPED   | -                     | -            | -           | -                   | -           | -
 *
 * WAITING is left out when no primary host is configured. BIRTHING: NBIRTH with seq 0, a DBIRTH for each device that is
 * there, then ONLINE; no data meanwhile. A metric that is new makes its device's DBIRTH be sent again before its data.
 *
 * Values wait in a ring for a session that takes them; when it is full the oldest go, counted. What waited while there was
 * no session goes out behind the births, in order, as historical; what a birth has told already does not go again. A value
 * equal to the one before is not sent (report by exception). Deaths of devices stand behind the data that came before them.
 *
 * Commands: Node Control/Rebirth is obeyed, at most once in REBIRTH_MS; nothing else can be written.
 * Source: Eclipse Sparkplug 3.0, chapters 4-6.
 */
#ifndef GATEWAY_EDGE_EDGE_H
#define GATEWAY_EDGE_EDGE_H

#include "core/base/base.h"
#include "core/base/buffer.h"
#include "proto/sparkplug/sparkplug.h"

struct edge;

enum { EDGE_REBIRTH_MS = 1000, EDGE_DEVICE_METRICS_MAX = 1024 };

struct edge_options {
    const char *group, *node; /* copied; sparkplug_id_valid */
    const char *host;         /* copied; primary host to wait for; NULL or "" = none */
    const char *software;     /* copied; a metric of the node */
    size_t devices_max;       /* 0 = 10,000 */
    size_t metrics_max;       /* 0 = 200,000 */
    size_t waiting_max;       /* values in the ring; 0 = 65,536 */
};
struct edge_handlers {
    /* Not retained. False: not now; edge_pump is called when the session takes more. Calls nothing of the edge. */
    bool (*send)(void *arg, struct slice topic, struct slice payload, unsigned qos);
    void *arg;
};
enum edge_wish {
    EDGE_STAY,
    EDGE_LEAVE, /* the primary host has gone: NDEATH was sent; disconnect, connect anew, to the next server if there are more */
    EDGE_MOVE,  /* the primary host is not at this server: try another if there is one */
};
enum edge_state { EDGE_DOWN, EDGE_WAITING, EDGE_BIRTHING, EDGE_ONLINE, EDGE_STOPPED };

/* ERR_RANGE: an id; ERR_NOMEM. */
enum err edge_new(const struct edge_options *options, const struct edge_handlers *handlers, struct edge **ret_edge,
                  struct fault *reterr) MUST_CHECK;
void edge_free(struct edge *edge);
DEFINE_CLEANUP(struct edge, edge_free)
/* Appends the n-th topic filter to be subscribed at QoS 1; false: there are no more. */
bool edge_filter(const struct edge *edge, unsigned n, struct buffer *out);

/* ---- the session ---- */
/* A CONNECT comes next: the number of births goes on. Appends topic and payload of its will (QoS 1, not retained).
 * other_server: not the one of the last CONNECT, so its host's clock is another. */
void edge_connecting(struct edge *edge, bool other_server, int64_t now_ms, struct buffer *topic, struct buffer *payload);
/* Connected and subscribed. STATE messages may have come before. */
enum edge_wish edge_connected(struct edge *edge);
void edge_disconnected(struct edge *edge);
/* Anything: what is no STATE or command for us is counted and ignored, also commands that were retained. */
enum edge_wish edge_message(struct edge *edge, struct slice topic, struct slice payload, bool retained, int64_t now_ms);
/* Sends what there is, as much as the session takes, and a bounded number of messages. Returns after how many ms it wants
 * to be called again: 0 soon, below 0 not before something happens. */
int64_t edge_pump(struct edge *edge, int64_t now_ms);
/* Before a DISCONNECT that is not the end: NDEATH, if there is a session, then as edge_disconnected. */
void edge_leave(struct edge *edge, int64_t now_ms);
/* Before the last DISCONNECT: NDEATH. Whatever comes later is ignored. */
void edge_stop(struct edge *edge, int64_t now_ms);
enum edge_state edge_state(const struct edge *edge);

/* ---- devices and values ---- */
struct edge_device; /* lives as long as the edge */
/* Finds it or makes it (offline, without metrics). ERR_FULL: devices_max; ERR_RANGE: not an id; ERR_NOMEM. */
enum err edge_device(struct edge *edge, const char *id, struct edge_device **ret_device) MUST_CHECK;
void edge_device_online(struct edge *edge, struct edge_device *device, bool online);
/* Declares a metric; *ret_metric is its alias. The name must be new to the device. ERR_FULL: metrics_max or
 * EDGE_DEVICE_METRICS_MAX; ERR_RANGE: the name is empty, too long or not UTF-8; ERR_NOMEM. */
enum err edge_metric(struct edge *edge, struct edge_device *device, const char *name, const char *unit,
                     enum sparkplug_datatype datatype, uint64_t *ret_metric) MUST_CHECK;
/* Another unit from now on: told by a new birth. ERR_NOMEM. */
enum err edge_metric_unit(struct edge *edge, uint64_t metric, const char *unit) MUST_CHECK;
/* It has no value any more: births say null until the next one. */
void edge_metric_forget(struct edge *edge, uint64_t metric);
/* A finite number, taken at timestamp_ms. historical: stored somewhere before it came here; it is the metric's newest value
 * only if no later one is known. */
void edge_value(struct edge *edge, uint64_t metric, double value, int64_t timestamp_ms, bool historical);

struct edge_stats {
    uint64_t births, rebirths, data_messages, values_sent, historical_sent;
    uint64_t unchanged;  /* equal to the value before */
    uint64_t dropped;    /* the ring was full, or the device had no birth */
    uint64_t bad_commands, ignored_commands, bad_states, old_states;
    uint64_t too_large;  /* births that were not sent */
    size_t devices, devices_online, metrics, waiting;
    int bd_seq;          /* of the last CONNECT; below 0: none yet */
};
void edge_stats(const struct edge *edge, struct edge_stats *ret_stats);

#endif
