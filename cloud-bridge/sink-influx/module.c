/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The module: settings, life, and who is to blame when the server refuses a body.
 *
 * Jumps are not looked for: the sink has no marks, and the next record of a stream is a point like every other. Gaps
 * that were declared on the way are points of their own.
 */
#include <errno.h>

#include "cloud-bridge/sink-influx/sink_influx_internal.h"
#include "cloud-bridge/sinks/server.h"

enum { LINES_MAX = 256 << 20, REQUEST_MAX = 8192, CREDENTIALS_MAX = 1000 };
enum auth { AUTH_TOKEN, AUTH_BEARER, AUTH_BASIC };
#define AT(member) offsetof(struct influx_settings, member)
static const struct option table[] = {
    {.name = "url", .type = OPTION_STRING, .offset = AT(url), .min = 1, .max = 1000, .required = true,
     .help = "Where lines are posted to: http://host:8428/write (VictoriaMetrics), http://host:8086/write?db=weir"
             " (InfluxDB 1),"
             " https://host:8086/api/v2/write?org=o&bucket=b (InfluxDB 2)."},
    {.name = "state", .type = OPTION_PATH, .offset = AT(state), .min = 1, .max = 500, .required = true,
     .help = "File that keeps the channels' names between starts; one for each sink."},
    {.name = "measurement", .type = OPTION_STRING, .offset = AT(measurement), .min = 1, .max = 64, .preset = "weir",
     .help = "Measurement of the readings, and the beginning of the others' names."},
    {.name = "credentials", .type = OPTION_FILE, .offset = AT(credentials), .preset = "",
     .help = "File whose first line is the token, or user:password; empty for none."},
    {.name = "auth", .type = OPTION_ENUM, .offset = AT(auth), .words = "token|bearer|basic", .preset = "token",
     .help = "How credentials are shown: Token (InfluxDB), Bearer, or Basic."},
    {.name = "ca", .type = OPTION_FILE, .offset = AT(ca), .preset = "",
     .help = "Certificates of the authority that signs the server's, PEM; empty for the system's."},
    {.name = "timeout", .type = OPTION_DURATION, .offset = AT(timeout_us), .min = 1e5, .max = 300e6, .preset = "10s",
     .help = "Longest wait for the server without a byte of progress."},
    {.name = "settle", .type = OPTION_DURATION, .offset = AT(settle_us), .max = 3600e6, .preset = "15s",
     .help = "Time after which a server that is still the same process has written to its disk what it acknowledged;"
             " the"
             " spool keeps it so long. 0s: the server writes before it acknowledges (InfluxDB), or a proxy stands"
             " before it."},
    {.name = "ping", .type = OPTION_STRING, .offset = AT(ping), .min = 1, .max = 200, .preset = "/ping",
     .help = "Path asked for to see that the server is there; any answer does."},
    {.name = "body_max", .type = OPTION_BYTES, .offset = AT(body_max), .min = 1024, .max = 64 << 20, .preset = "1MiB",
     .help = "Size at which a body is posted and the next one begun."},
    {.name = NULL},
};

struct influx {
    const struct influx_settings *settings; /* borrowed */
    struct url url;
    struct http http;
    struct names *names;
    struct sink_reader reader;
    struct lines lines;
    bool unsettled; /* something was taken since the last failure, and not all of it need be on the server's disk */
    bool suspect;   /* and the connection is another since then: that may have been another process */
};

static enum err check(const void *item, struct buffer *problems)
{
    const struct influx_settings *s = item;
    struct url url;
    struct fault fault = {.code = OK};
    enum err err = OK;
    if (url_parse(s->url, &url, &fault) != OK) {
        buffer_printf(problems, "url: %s\n", fault.text);
        err = ERR_RANGE;
    } else if (!url.tls && s->credentials[0] != '\0' && strcmp(url.host, "localhost") != 0 &&
               strncmp(url.host, "127.", 4) != 0 && strcmp(url.host, "::1") != 0) {
        buffer_printf(problems, "url: credentials for another machine need https://\n");
        err = ERR_RANGE;
    }
    if (s->ping[0] != '/' || strpbrk(s->ping, " \r\n\t") != NULL) {
        buffer_printf(problems, "ping: a path that begins with /\n");
        err = ERR_RANGE;
    }
    return err;
}

/* ---- credentials ---- */
static void put_base64(struct buffer *out, struct slice in)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < in.len; i += 3) {
        uint32_t three = (uint32_t)in.ptr[i] << 16 | (i + 1 < in.len ? (uint32_t)in.ptr[i + 1] << 8 : 0) |
                         (i + 2 < in.len ? in.ptr[i + 2] : 0);
        for (unsigned k = 0; k < 4; k++) {
            buffer_put_u8(out, i + k > in.len ? '=' : (uint8_t)digits[three >> (18 - 6 * k) & 63]);
        }
    }
}

/* Read at every connection: it may have been replaced. */
static enum err load_credentials(struct influx *x, struct fault *reterr)
{
    static const char *const words[] = {[AUTH_TOKEN] = "Token ", [AUTH_BEARER] = "Bearer ", [AUTH_BASIC] = "Basic "};
    char text[CREDENTIALS_MAX];
    if (x->settings->credentials[0] == '\0') {
        return OK;
    }
    if (sink_secret_read(x->settings->credentials, text, sizeof(text)) == ERR_IO) {
        return fault_set(reterr, ERR_DENIED, "%s cannot be read: %s", x->settings->credentials, strerror(errno));
    }
    BUFFER(line, sizeof(x->http.authorization) - 1);
    buffer_printf(&line, "Authorization: %s", words[x->settings->auth]);
    if (x->settings->auth == AUTH_BASIC) {
        put_base64(&line, slice_str(text));
    } else {
        buffer_put_str(&line, text);
    }
    buffer_put(&line, "\r\n", 3); /* and the NUL */
    if (buffer_err(&line) == OK) {
        memcpy(x->http.authorization, line.ptr, line.len);
        explicit_bzero(line.ptr, line.len);
    }
    explicit_bzero(text, sizeof(text));
    return buffer_err(&line) == OK ? OK : fault_set(reterr, ERR_RANGE, "%s is too long", x->settings->credentials);
}

/* ---- posting ---- */
static enum err request(struct influx *x, const char *method, const char *target, struct slice body,
                        struct http_answer *a, struct fault *reterr)
{
    if (x->http.connection == NULL) {
        x->suspect = x->suspect || x->unsettled;
        TRY(load_credentials(x, reterr));
    }
    return http_request(&x->http, method, target, body, a, reterr);
}

static enum err judge(const struct http_answer *a, struct fault *reterr)
{
    int status = a->status;
    if (status / 100 == 2) {
        return OK;
    }
    enum err err = status == 400 || status == 422       ? ERR_UNSUPPORTED /* it dislikes the lines */
                   : status == 401 || status == 403     ? ERR_DENIED
                   : status == 404                      ? ERR_NOT_FOUND
                   : status == 413                      ? ERR_RANGE
                   : status == 429 || status == 503     ? ERR_AGAIN
                                                        : ERR_IO;
    return fault_set(reterr, err, "the server says %d: %.160s%s", status, a->body[0] ? a->body : "-",
                     status == 413 ? " (body_max is too large for it)" : "");
}

static enum err post(struct influx *x, struct fault *reterr)
{
    struct http_answer answer;
    if (x->lines.out.len == 0) {
        return OK;
    }
    if (names_sync(x->names) != OK) { /* a series must keep its name */
        return fault_set(reterr, ERR_IO, "%s cannot be written: %s", x->settings->state, strerror(errno));
    }
    TRY(request(x, "POST", x->url.target, buffer_slice(&x->lines.out), &answer, reterr));
    buffer_reset(&x->lines.out);
    return judge(&answer, reterr);
}

/* items[first..first + count). A record that has no lines is refused at once. */
static enum err post_items(struct influx *x, const struct sink_batch *batch, size_t first, size_t count,
                           size_t *refused, struct fault *reterr)
{
    buffer_reset(&x->lines.out);
    for (size_t i = first; i < first + count; i++) {
        const struct wire_forward *f = &batch->items[i].forward;
        const char *why = "";
        enum err err = f->first <= f->last ? lines_put(&x->lines, f, &why) : OK;
        if (err == ERR_UNSUPPORTED) {
            sink_refuse(batch, i, why);
            (*refused)++;
        } else if (err != OK) {
            return fault_set(reterr, err, "lines: %s", err_name(err));
        }
        if (x->lines.out.len >= (size_t)x->settings->body_max) {
            TRY(post(x, reterr));
        }
    }
    TRY(post(x, reterr));
    return names_sync(x->names);
}

/* What is good of them is posted by that: the same points when they come again. */
static enum err try_items(void *arg, const struct sink_batch *batch, size_t first, size_t count, bool *ret_disliked,
                          struct fault *reterr)
{
    size_t refused = 0;
    enum err err = post_items(arg, batch, first, count, &refused, reterr);
    *ret_disliked = err == ERR_UNSUPPORTED;
    return err;
}

/* The drain begins again behind what has settled. */
static enum err resend(struct influx *x, struct fault *reterr)
{
    x->suspect = x->unsettled = false;
    return fault_set(reterr, ERR_AGAIN,
                     "the server closed the connection before what it took had settled: posted again (where it"
                     " always does,"
                     " settle must be 0s)");
}

static enum err influx_write(void *self, const struct sink_batch *batch, struct fault *reterr)
{
    struct influx *x = self;
    size_t refused = 0, blamed = 0;
    if (x->suspect) {
        return resend(x, reterr);
    }
    enum err err = post_items(x, batch, 0, batch->count, &refused, reterr);
    if (err == ERR_UNSUPPORTED) {
        const struct sink_offer offer = {.try_items = try_items, .arg = x};
        err = sink_find_guilty(&offer, batch, &blamed);
        err = err != OK ? err : ERR_UNSUPPORTED;
    } else if (err == OK && refused > 0) {
        err = ERR_UNSUPPORTED;
    }
    if (err == OK && x->suspect) {
        return resend(x, reterr);
    }
    if (err == OK) {
        x->unsettled = x->settings->settle_us > 0;
    } else if (err != ERR_UNSUPPORTED) {
        x->suspect = x->unsettled = false;
    }
    return err;
}

static enum err influx_alive(void *self, struct fault *reterr)
{
    struct influx *x = self;
    struct http_answer answer;
    if (x->http.connection == NULL || x->suspect) {
        return resend(x, reterr);
    }
    enum err err = request(x, "GET", x->settings->ping, slice_of("", 0), &answer, reterr);
    if (err != OK) {
        x->suspect = x->unsettled = false;
    }
    return err;
}

/* ---- life ---- */
static void influx_close(void *self)
{
    struct influx *x = self;
    if (x == NULL) {
        return;
    }
    http_close(&x->http);
    explicit_bzero(x->http.authorization, sizeof(x->http.authorization));
    buffer_deinit(&x->http.out);
    buffer_deinit(&x->lines.out);
    names_free(x->names);
    sink_reader_deinit(&x->reader);
    free(x);
}
DEFINE_CLEANUP(void, influx_close)

static const struct sink_ops ops = {
    .name = "influx", .remote = true, .write = influx_write, .close = influx_close, .alive = influx_alive};

static enum err influx_open(const struct sink_place *place, const void *item, struct sink *ret_sink,
                            struct fault *reterr)
{
    struct influx *x = calloc(1, sizeof(*x));
    CLEANUP(influx_closep) void *guard = x;
    (void)place;
    if (x == NULL || sink_reader_init(&x->reader) != OK) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    x->settings = item;
    TRY(url_parse(x->settings->url, &x->url, reterr));
    TRY(names_open(x->settings->state, &x->names, reterr));
    x->http.url = &x->url;
    x->http.options = (struct connection_options){.host = x->url.host,
                                                  .port = x->url.port,
                                                  .tls = x->url.tls,
                                                  .ca = x->settings->ca,
                                                  .timeout_us = x->settings->timeout_us};
    buffer_init(&x->http.out, REQUEST_MAX);
    buffer_init(&x->lines.out, LINES_MAX);
    x->lines.measurement = x->settings->measurement;
    x->lines.names = x->names;
    x->lines.reader = &x->reader;
    *ret_sink = (struct sink){.ops = &ops, .self = take(guard), .settle_us = x->settings->settle_us};
    return OK;
}

const struct sink_module weir_sink_module = {
    .abi = SINK_MODULE_ABI,
    .layout = SINK_MODULE_LAYOUT,
    .name = "influx",
    .summary = "Influx line protocol over HTTP: InfluxDB, VictoriaMetrics and what else takes it.",
    .table = table,
    .item_size = sizeof(struct influx_settings),
    .check = check,
    .open = influx_open,
};
