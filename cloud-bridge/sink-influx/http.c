/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As much of HTTP/1.1 (RFC 9112) as a client of time-series servers needs: one request at a time, bodies with a
 * length, in chunks, or until the end of the connection. Bounded: head 16 KiB, body of an answer 1 MiB (what is beyond
 * HTTP_BODY_MAX is read and dropped).
 */
#include <ctype.h>
#include <strings.h>

#include "cloud-bridge/sink-influx/sink_influx_internal.h"

enum { HEAD_MAX = 16 * 1024, ANSWER_MAX = 1 << 20, LINE_LENGTH = 1024 };

enum err url_parse(const char *text, struct url *url, struct fault *reterr)
{
    const char *rest = text;
    memset(url, 0, sizeof(*url));
    url->tls = strncmp(text, "https://", 8) == 0;
    if (!url->tls && strncmp(text, "http://", 7) != 0) {
        return fault_set(reterr, ERR_MALFORMED, "begins with neither http:// nor https://");
    }
    rest += url->tls ? 8 : 7;
    size_t authority = strcspn(rest, "/?#");
    const char *at = rest, *end = rest + authority;
    if (memchr(rest, '@', authority) != NULL) {
        return fault_set(reterr, ERR_MALFORMED, "no user or password in it: they belong into a file (credentials)");
    }
    bool is_v6 = *at == '[';
    size_t host = is_v6 ? strcspn(++at, "]") : strcspn(at, ":/?#");
    const char *port = at + host + (is_v6 ? 1 : 0);
    if (host == 0 || host >= sizeof(url->host) || port > end) {
        return fault_set(reterr, ERR_MALFORMED, "has no host that could be one");
    }
    snprintf(url->host, sizeof(url->host), "%.*s", (int)host, at);
    snprintf(url->port, sizeof(url->port), "%s", url->tls ? "443" : "80");
    if (port < end) {
        size_t digits = strspn(port + 1, "0123456789");
        if (*port != ':' || digits == 0 || digits > 5 || port + 1 + digits != end) {
            return fault_set(reterr, ERR_MALFORMED, "has no port that could be one");
        }
        snprintf(url->port, sizeof(url->port), "%.*s", (int)digits, port + 1);
    }
    if (*end == '#' || strchr(end, '#') != NULL || strlen(end) >= sizeof(url->target) - 1) {
        return fault_set(reterr, ERR_MALFORMED, "its path is too long or has a #");
    }
    for (const char *c = end; *c != '\0'; c++) {
        if (!isgraph((unsigned char)*c)) {
            return fault_set(reterr, ERR_MALFORMED, "has a character that must be written with %%");
        }
    }
    snprintf(url->target, sizeof(url->target), "%s%s", *end == '/' ? "" : "/", end);
    return OK;
}

/* ---- reading an answer ---- */
struct reading {
    struct connection *connection;
    uint8_t bytes[8192];
    size_t at, len;
    size_t total;
    bool ended;
};

/* -1 at the end. */
static enum err next_byte(struct reading *r, int *ret_byte)
{
    if (r->at == r->len) {
        r->at = r->len = 0;
        TRY(connection_receive(r->connection, r->bytes, sizeof(r->bytes), &r->len));
        r->ended = r->len == 0;
        r->total += r->len;
        if (r->total > ANSWER_MAX + HEAD_MAX) {
            return ERR_RANGE;
        }
    }
    *ret_byte = r->ended ? -1 : r->bytes[r->at++];
    return OK;
}

static enum err read_line(struct reading *r, char *line, size_t size)
{
    size_t len = 0;
    for (;;) {
        int byte;
        TRY(next_byte(r, &byte));
        if (byte < 0) {
            return ERR_IO;
        }
        if (byte == '\n') {
            break;
        }
        if (len + 1 < size) {
            line[len++] = (char)byte;
        }
    }
    while (len > 0 && line[len - 1] == '\r') {
        len--;
    }
    line[len] = '\0';
    return OK;
}

struct framing {
    bool chunked, has_length;
    uint64_t length;
};

static enum err read_head(struct reading *r, struct http_answer *a, struct framing *f)
{
    char line[LINE_LENGTH];
    int minor = 0;
    TRY(read_line(r, line, sizeof(line)));
    if (sscanf(line, "HTTP/1.%1d %3d", &minor, &a->status) != 2) {
        return ERR_MALFORMED;
    }
    a->closes = minor == 0;
    for (size_t bytes = 0;; bytes += strlen(line)) {
        TRY(read_line(r, line, sizeof(line)));
        if (line[0] == '\0') {
            return OK;
        }
        if (bytes > HEAD_MAX) {
            return ERR_RANGE;
        }
        const char *value = strchr(line, ':');
        value = value != NULL ? value + 1 + strspn(value + 1, " \t") : "";
        if (strncasecmp(line, "content-length:", 15) == 0) {
            f->has_length = true;
            f->length = strtoull(value, NULL, 10);
        } else if (strncasecmp(line, "transfer-encoding:", 18) == 0) {
            f->chunked = strcasestr(value, "chunked") != NULL;
        } else if (strncasecmp(line, "connection:", 11) == 0) {
            a->closes = strcasestr(value, "close") != NULL || (a->closes && strcasestr(value, "keep-alive") == NULL);
        }
    }
}

static void keep_byte(struct http_answer *a, size_t *len, int byte)
{
    if (*len + 1 < sizeof(a->body)) {
        a->body[(*len)++] = (char)(iscntrl(byte) ? ' ' : byte);
        a->body[*len] = '\0';
    }
}

static enum err read_bytes(struct reading *r, struct http_answer *a, size_t *kept, uint64_t count, bool to_end)
{
    for (uint64_t i = 0; i < count || to_end; i++) {
        int byte;
        TRY(next_byte(r, &byte));
        if (byte < 0) {
            return to_end ? OK : ERR_IO;
        }
        keep_byte(a, kept, byte);
    }
    return OK;
}

static enum err read_chunks(struct reading *r, struct http_answer *a, size_t *kept)
{
    char line[LINE_LENGTH];
    for (;;) {
        char *end = NULL;
        TRY(read_line(r, line, sizeof(line)));
        uint64_t size = strtoull(line, &end, 16);
        if (end == line || size > ANSWER_MAX) {
            return ERR_MALFORMED;
        }
        TRY(read_bytes(r, a, kept, size, false));
        do { /* the chunk's own end; behind the last one the trailer */
            TRY(read_line(r, line, sizeof(line)));
        } while (size == 0 && line[0] != '\0');
        if (size == 0) {
            return OK;
        }
    }
}

static enum err read_answer(struct connection *connection, struct http_answer *a)
{
    struct reading r = {.connection = connection};
    size_t kept = 0;
    do { /* 1xx come before the answer itself */
        struct framing f = {.length = 0};
        TRY(read_head(&r, a, &f));
        if (a->status / 100 == 1 || a->status == 204 || a->status == 304) {
            continue;
        }
        if (f.chunked) {
            TRY(read_chunks(&r, a, &kept));
        } else {
            a->closes = a->closes || !f.has_length;
            TRY(read_bytes(&r, a, &kept, f.length, !f.has_length));
        }
    } while (a->status / 100 == 1);
    return OK;
}

/* ---- requests ---- */
void http_close(struct http *h)
{
    connection_free(h->connection);
    h->connection = NULL;
}

static enum err exchange(struct http *h, struct slice body, struct http_answer *a)
{
    TRY(connection_send(h->connection, buffer_slice(&h->out)));
    TRY(connection_send(h->connection, body));
    return read_answer(h->connection, a);
}

enum err http_request(struct http *h, const char *method, const char *target, struct slice body, struct http_answer *a,
                      struct fault *reterr)
{
    memset(a, 0, sizeof(*a));
    if (h->connection == NULL) {
        TRY(connection_open(&h->options, &h->connection, reterr));
    }
    bool is_v6 = strchr(h->url->host, ':') != NULL;
    buffer_reset(&h->out);
    buffer_printf(&h->out, "%s %s HTTP/1.1\r\nHost: %s%s%s:%s\r\nUser-Agent: weir-bridge\r\n%s", method, target,
                  is_v6 ? "[" : "", h->url->host, is_v6 ? "]" : "", h->url->port, h->authorization);
    if (body.len > 0) {
        buffer_printf(&h->out, "Content-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n", body.len);
    }
    buffer_put_str(&h->out, "\r\n");
    TRY(buffer_err(&h->out));
    enum err err = exchange(h, body, a);
    explicit_bzero(h->out.ptr, h->out.len); /* the authorization */
    if (err != OK || a->closes) {
        http_close(h);
    }
    return err == OK ? OK
                     : fault_set(reterr, err == ERR_TIMEOUT ? err : ERR_IO, "%s:%s: %s", h->url->host, h->url->port,
                                 err == ERR_TIMEOUT  ? "no answer"
                                 : err == ERR_IO     ? "the connection broke"
                                                     : "not an answer of HTTP/1.1");
}
