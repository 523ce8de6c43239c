/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Influx sink: records as lines of the line protocol (docs.influxdata.com, "Line protocol"), posted to InfluxDB 1
 * and 2, VictoriaMetrics, Telegraf, Vector, ...
 *
 * A point is its series and its timestamp: the same lines again are the same points. So nothing is remembered in the
 * server; the bridge keeps the position (sinks.h, position NULL), and what a crash leaves open is posted again.
 *
 * A server may say 204 and lose it: VictoriaMetrics has it on the disk seconds later. So the spool keeps what was
 * posted for `settle` longer, and lets it go when the server answers on the same connection that took it: then it is
 * the same process
 * that has had the time to write it. A connection that was lost means all of that once more.
 *
 *   module.c   settings, life, who is to blame for a 400     lines.c       records as lines
 *   http.c     requests and answers                          connection.c  bytes with time limits, TLS
 *   names.c    the channels' names, kept in a file
 */
#ifndef CLOUD_BRIDGE_SINK_INFLUX_SINK_INFLUX_INTERNAL_H
#define CLOUD_BRIDGE_SINK_INFLUX_SINK_INFLUX_INTERNAL_H

#include <stdio.h>

#include "cloud-bridge/sinks/module.h"
#include "core/base/buffer.h"

struct influx_settings {
    char *url, *credentials, *ca, *measurement, *state, *ping;
    int auth;
    int64_t timeout_us, settle_us, body_max;
};

/* ---- connection.c: blocking, on the worker's thread; no wait is longer than timeout_us ---- */
struct connection;
struct connection_options {
    const char *host, *port; /* borrowed */
    bool tls;
    const char *ca; /* file; "" = the system's */
    int64_t timeout_us;
};
enum err connection_open(const struct connection_options *options, struct connection **ret_connection,
                         struct fault *reterr) MUST_CHECK;
void connection_free(struct connection *c);
/* ERR_TIMEOUT, ERR_IO. */
enum err connection_send(struct connection *c, struct slice bytes) MUST_CHECK;
/* At least one byte; *ret_len 0: the server has closed. */
enum err connection_receive(struct connection *c, void *ptr, size_t size, size_t *ret_len) MUST_CHECK;

/* ---- http.c: HTTP/1.1 with a connection that is kept ---- */
struct url {
    bool tls;
    char host[256], port[8], target[768]; /* target: path and query */
};
/* ERR_MALFORMED with a sentence. */
enum err url_parse(const char *text, struct url *ret_url, struct fault *reterr) MUST_CHECK;
enum { HTTP_BODY_MAX = 4096 };
struct http {
    const struct url *url; /* borrowed */
    struct connection_options options;
    char authorization[1400]; /* a header line with its end, or "" */
    struct connection *connection; /* NULL = none */
    struct buffer out;
};
struct http_answer {
    int status;
    char body[HTTP_BODY_MAX]; /* its beginning, text */
    bool closes;              /* the server ends the connection after it */
};
/* Opens a connection if there is none. After a failure, and after an answer that closes, there is none. */
enum err http_request(struct http *h, const char *method, const char *target, struct slice body,
                      struct http_answer *ret_answer, struct fault *reterr) MUST_CHECK;
void http_close(struct http *h);

/* ---- names.c: (device, set, channel) -> name and unit ---- */
struct names;
/* Reads the file, makes it when it is not there. A line that was torn by a crash is dropped. ERR_IO, ERR_NOMEM. */
enum err names_open(const char *path, struct names **ret_names, struct fault *reterr) MUST_CHECK;
void names_free(struct names *names);
/* What is new is appended to the file; durable after names_sync. ERR_NOMEM; ERR_FULL: too many. */
enum err names_learn(struct names *names, const char *device, const Weir__V1__Describe *describe) MUST_CHECK;
/* ERR_IO. Does nothing when nothing is new. */
enum err names_sync(struct names *names) MUST_CHECK;
/* False: not described. Valid until the next names_learn. */
bool names_find(const struct names *names, const char *device, uint32_t set, unsigned channel, const char **ret_name,
                const char **ret_unit);

/* ---- lines.c ---- */
struct lines {
    const char *measurement; /* borrowed */
    struct names *names;     /* borrowed */
    struct sink_reader *reader;
    struct buffer out;
};
/* Appends the lines of one record. ERR_UNSUPPORTED: of a kind that has no lines; *ret_why says so. ERR_FULL,
 * ERR_NOMEM. */
enum err lines_put(struct lines *l, const struct wire_forward *forward, const char **ret_why) MUST_CHECK;
/* A tag's value, without what the protocol has no form for (control characters and backslashes become '_'). */
void lines_put_tag(struct buffer *out, const char *value);
void lines_put_string(struct buffer *out, const char *value);

#endif
