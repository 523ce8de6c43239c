/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publish - views for subscribers in the plant: curated values on MQTT, as a unified namespace and as a Sparkplug B node.
 *
 *   durable curated Forwards -> publish_record -> newest value per metric --+-> retained topics on the plant's own session
 *   who is there (fleet)     -> publish_device_state                        '-> gateway/edge on a session of its own
 *
 * A view. The durable path does not rest on it and is never held up by it: memory is bounded (devices, metrics, values that
 * wait), what a bus does not take waits or is superseded by what is newer, and reading records takes at most a quarter of
 * the loop's time; beyond, records are passed over. All of this is counted.
 *
 * Names come with Describe records. A block whose Describe has not been seen is counted and left out: after a start, hand
 * in each device's last Describe (or its newest records) before what is live. Rows of captures are left out: they have been
 * told, or stand under their own numbers.
 *
 * Unified namespace
 *   topic     from a template, default {site}/{area}/{line}/{device}/{metric}; also {gateway}; {metric} is the last level
 *   value     retained, QoS 0, at most one per metric and interval, the latest wins:
 *             {"value":1.5,"unit":"bar","ts":1700000000000,"quality":"good","model":"00000000000000af","record":"<epoch>-<number>"}
 *             ts: ms since 1970. quality: "uncertain" when the device's clock is not set; ts is then the gateway's. model: null
 *             when the device runs none. record: the record's identity together with the device, for a trace. Or the same
 *             as protobuf: proto/schema/plant.proto.
 *   windows   under .../{metric}/<rule>: value is the mean; with "length" (ms), "count", "min", "max", "std", "partial"
 *   state     .../{device}/state, retained: online or offline. .../{gateway}/state likewise; the gateway's will sets it to
 *             offline. A will has one topic, so: a device is online while both its own state and its gateway's say so.
 *   names     in a level every byte that is not a letter, a digit, '_' or '-' of ASCII, or part of another UTF-8 character,
 *             becomes '_' ('/', '+', '#' end topics; '.', ' ', '*', '>' break brokers that are not MQTT inside). A name that
 *             is taken then by another channel of the device, or is "state", gets "-" and four hexadecimal digits of the
 *             CRC-32C of the original.
 *   On MQTT 5 (publish.mqtt) each value carries its content type and user properties: device, epoch, number, schema and
 *   trace, with the words of cloud-bridge/sink-mqtt. On 3.1.1 there are none; the payload says the same.
 *
 * Sparkplug B 3.0: see gateway/edge. Metric names are the channels' own; windows are <channel>/<rule>/mean, count, min,
 * max, std. A value whose age is above historical_after when it comes here is historical. With several servers the session
 * moves to the next one when a server cannot be reached, or the primary host is not there.
 */
#ifndef GATEWAY_PUBLISH_PUBLISH_H
#define GATEWAY_PUBLISH_PUBLISH_H

#include "core/base/base.h"
#include "core/base/buffer.h"
#include "core/bus/bus.h"
#include "core/daemon/daemon.h"
#include "core/loop/loop.h"
#include "core/options/options.h"
#include "gateway/edge/edge.h"
#include "proto/wire/wire.h"

struct publish;

enum publish_form { PUBLISH_JSON, PUBLISH_PROTOBUF };
enum { PUBLISH_SERVERS_MAX = 8 };

struct publish_options {
    const char *site, *gateway, *software; /* copied */
    int64_t historical_after_us;           /* 0 = 10 s */
    size_t devices_max, metrics_max;       /* 0 = 10,000, 200,000 */
    /* The unified namespace; topic NULL or "" = none. Copied. */
    const char *topic, *area, *line;
    enum publish_form form;
    int64_t interval_us; /* between two publications of one metric; 0 = as they come */
    /* The Sparkplug node; group NULL or "" = none. Copied. */
    const char *group, *node, *host;
    const struct bus_options *servers; /* host and client id are copied, TLS contexts borrowed */
    size_t server_count;               /* 1..PUBLISH_SERVERS_MAX */
    enum bus_backend backend;
    /* Instead of servers, for the in-memory twin: makes a session to server n < server_count. */
    enum err (*open)(void *arg, unsigned n, struct bus **ret_bus);
    void *open_arg;
};

/* plant: the plant's session, borrowed, with any handlers, not started yet: its will is set here. NULL when topic is "".
 * ERR_RANGE: template, ids, servers; ERR_NOMEM. */
enum err publish_new(struct loop *loop, struct bus *plant, const struct publish_options *options,
                     struct publish **ret_publish, struct fault *reterr) MUST_CHECK;
void publish_free(struct publish *publish);
DEFINE_CLEANUP(struct publish, publish_free)
/* Begins the Sparkplug session. The plant's session may be started before or after. ERR_NOMEM. */
enum err publish_start(struct publish *publish) MUST_CHECK;
/* Says offline for everybody, and NDEATH; ends the Sparkplug session. The plant's session takes along what it has. */
void publish_stop(struct publish *publish);

/* One durable curated record, in order. Never blocks, never fails: see above. */
void publish_record(struct publish *publish, const struct wire_forward *forward);
/* As the fleet sees it. For a gateway below: its devices go offline with it. A device that sends comes online by itself. */
void publish_device_state(struct publish *publish, const char *id, bool online);
/* At the start: there is such a device, it has not been heard yet. Told as offline. */
void publish_device_known(struct publish *publish, const char *id);

struct publish_stats {
    uint64_t records, values;  /* read; the newest ones that came of them */
    uint64_t undescribed;      /* blocks and windows whose Describe was not seen */
    uint64_t unreadable, captures;
    uint64_t passed_over;      /* records for which there was no time */
    uint64_t refused;          /* devices and metrics above the bounds */
    uint64_t published, superseded, busy; /* namespace; busy: the session took none, tried again */
    uint64_t cleared;          /* retained values of metrics that are described no more */
    uint64_t unretained;       /* told, but the broker keeps no retained messages */
    uint64_t sessions, moves;  /* Sparkplug: connects, changes of server */
    size_t devices, metrics;
    bool namespace_on, sparkplug_on;
    enum edge_state state;
    struct edge_stats edge;
};
void publish_stats(const struct publish *publish, struct publish_stats *ret_stats);
/* {"namespace":{...}|null,"sparkplug":{...}|null,...} */
void publish_json(const struct publish *publish, struct buffer *out);

/* ---- settings of a program ---- */
struct publish_settings {
    char *topic, *area, *line;
    int form, mqtt; /* enum publish_form, enum bus_version */
    int64_t interval_us, historical_after_us;
    char *group, *node, *host, *id;
    struct daemon_broker broker; /* host "" = the plant's */
    struct option_list servers;  /* further ones, host:port */
};
#define PUBLISH_OPTIONS(settings, member)                                                                              \
    {.name = "publish.topic", .type = OPTION_STRING, .offset = offsetof(settings, member.topic), .max = 500,           \
     .preset = "",                                                                                                     \
     .help = "Template of the topics of the unified namespace, such as {site}/{area}/{line}/{device}/{metric}; empty " \
             "for none."},                                                                                             \
    {.name = "publish.area", .type = OPTION_STRING, .offset = offsetof(settings, member.area), .max = 64,              \
     .preset = "", .help = "What stands for {area} in the template."},                                                 \
    {.name = "publish.line", .type = OPTION_STRING, .offset = offsetof(settings, member.line), .max = 64,              \
     .preset = "", .help = "What stands for {line} in the template."},                                                 \
    {.name = "publish.format", .type = OPTION_ENUM, .offset = offsetof(settings, member.form),                         \
     .words = "json|protobuf", .preset = "json", .help = "Form of a value in the unified namespace."},                 \
    {.name = "publish.mqtt", .type = OPTION_ENUM, .offset = offsetof(settings, member.mqtt), .words = "3|5",           \
     .preset = "5",                                                                                                    \
     .help = "Version that the session with the plant's broker tries first; 5 carries user properties. With the "      \
             "native backend."},                                                                                       \
    {.name = "publish.interval", .type = OPTION_DURATION, .offset = offsetof(settings, member.interval_us),            \
     .max = 3600e6, .preset = "1s", .help = "A metric is published once in so long at most; the latest value wins."},  \
    {.name = "publish.historical_after", .type = OPTION_DURATION,                                                      \
     .offset = offsetof(settings, member.historical_after_us), .min = 1e6, .max = 86400e6, .preset = "10s",            \
     .help = "A value older than this when it comes is marked as historical for Sparkplug hosts."},                    \
    {.name = "sparkplug.group", .type = OPTION_STRING, .offset = offsetof(settings, member.group),                     \
     .max = SPARKPLUG_ID_MAX, .preset = "", .help = "Group id of this Sparkplug B edge node; empty for no node."},     \
    {.name = "sparkplug.node", .type = OPTION_STRING, .offset = offsetof(settings, member.node),                       \
     .max = SPARKPLUG_ID_MAX, .preset = "", .help = "Edge node id; empty for our own id."},                            \
    {.name = "sparkplug.primary_host", .type = OPTION_STRING, .offset = offsetof(settings, member.host),               \
     .max = SPARKPLUG_ID_MAX, .preset = "",                                                                            \
     .help = "Host application that must be online before anything is told; empty for none."},                         \
    {.name = "sparkplug.id", .type = OPTION_ID, .offset = offsetof(settings, member.id), .preset = "",                 \
     .help = "Client id of the Sparkplug session, equal to its certificate's common name; empty for our id and "       \
             "-sparkplug."},                                                                                           \
    {.name = "sparkplug.servers", .type = OPTION_LIST, .offset = offsetof(settings, member.servers),                   \
     .help = "Further brokers, host:port, for when the first one or the primary host on it is away."},                 \
    DAEMON_BROKER_OPTIONS("sparkplug", settings, member.broker, "", "native")
/* Cross-field check for struct options_program. plant: the plant's broker; id: of the gateway. */
enum err publish_check(const struct publish_settings *settings, const struct daemon_broker *plant, const char *site,
                       const char *id, struct buffer *problems) MUST_CHECK;
/* What the plant's session is to speak. */
enum bus_version publish_version(const struct publish_settings *settings);
/* publish_new from settings that were checked; *ret_publish is NULL when neither view is wanted. Loads and owns the TLS
 * context of the Sparkplug session. As publish_new; ERR_DENIED: the certificate is another's. */
enum err publish_open(struct loop *loop, struct bus *plant_bus, const struct publish_settings *settings,
                      const struct daemon_broker *plant, const char *site, const char *id, const char *software,
                      struct publish **ret_publish, struct fault *reterr) MUST_CHECK;

#endif
