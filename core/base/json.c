/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json - RFC 8259 text, written as it comes: nothing is kept but whether the next value needs a comma.
 */
#include "core/base/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

void json_init(struct json *j, struct buffer *out)
{
    *j = (struct json){.out = out};
}

static void put_escaped(struct buffer *out, uint8_t c)
{
    switch (c) {
    case '"': buffer_put_str(out, "\\\""); break;
    case '\\': buffer_put_str(out, "\\\\"); break;
    case '\n': buffer_put_str(out, "\\n"); break;
    case '\r': buffer_put_str(out, "\\r"); break;
    case '\t': buffer_put_str(out, "\\t"); break;
    default: buffer_printf(out, "\\u%04x", c); break;
    }
}

static void put_string(struct buffer *out, struct slice text)
{
    buffer_put_u8(out, '"');
    for (size_t at = 0; at < text.len;) {
        size_t run = at; /* bytes that need nothing go out together */
        size_t len = 0;
        while (run < text.len && text.ptr[run] >= 0x20 && text.ptr[run] != '"' && text.ptr[run] != '\\' &&
               (len = utf8_length(slice_of(text.ptr + run, text.len - run))) > 0) {
            run += len;
        }
        buffer_put(out, text.ptr + at, run - at);
        at = run;
        if (at < text.len) {
            if (text.ptr[at] < 0x80) {
                put_escaped(out, text.ptr[at]);
            } else {
                buffer_put_str(out, "\xef\xbf\xbd"); /* U+FFFD for each byte that belongs to no character */
            }
            at++;
        }
    }
    buffer_put_u8(out, '"');
}

/* What stands before any value: the comma and the key. */
static void put_lead(struct json *j, const char *key)
{
    if (j->need_comma) {
        buffer_put_u8(j->out, ',');
    }
    if (key != NULL) {
        put_string(j->out, slice_str(key));
        buffer_put_u8(j->out, ':');
    }
    j->need_comma = true;
}

static void open_scope(struct json *j, const char *key, uint8_t bracket)
{
    put_lead(j, key);
    buffer_put_u8(j->out, bracket);
    j->need_comma = false;
}

static void close_scope(struct json *j, uint8_t bracket)
{
    buffer_put_u8(j->out, bracket);
    j->need_comma = true;
}

void json_object(struct json *j, const char *key)
{
    open_scope(j, key, '{');
}

void json_object_end(struct json *j)
{
    close_scope(j, '}');
}

void json_array(struct json *j, const char *key)
{
    open_scope(j, key, '[');
}

void json_array_end(struct json *j)
{
    close_scope(j, ']');
}

void json_str(struct json *j, const char *key, const char *value)
{
    if (value == NULL) {
        put_lead(j, key);
        buffer_put_str(j->out, "null");
        return;
    }
    json_slice(j, key, slice_str(value));
}

void json_slice(struct json *j, const char *key, struct slice value)
{
    put_lead(j, key);
    put_string(j->out, value);
}

void json_u64(struct json *j, const char *key, uint64_t value)
{
    put_lead(j, key);
    buffer_printf(j->out, "%" PRIu64, value);
}

void json_i64(struct json *j, const char *key, int64_t value)
{
    put_lead(j, key);
    buffer_printf(j->out, "%" PRId64, value);
}

void json_f64(struct json *j, const char *key, double value)
{
    put_lead(j, key);
    if (!isfinite(value)) {
        buffer_put_str(j->out, "null");
        return;
    }
    char text[40];
    for (int digits = 15; digits <= 17; digits++) { /* 17 always reads back, 15 looks like what a person wrote */
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    buffer_put_str(j->out, text);
}

void json_bool(struct json *j, const char *key, bool value)
{
    put_lead(j, key);
    buffer_put_str(j->out, value ? "true" : "false");
}

void json_hex(struct json *j, const char *key, uint64_t value)
{
    put_lead(j, key);
    buffer_printf(j->out, "\"%016" PRIx64 "\"", value);
}
