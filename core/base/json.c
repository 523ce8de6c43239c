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
        size_t len;
        while (run < text.len && text.ptr[run] >= 0x20 && text.ptr[run] != '"' && text.ptr[run] != '\\') {
            len = text.ptr[run] < 0x80 ? 1 : utf8_length(slice_of(text.ptr + run, text.len - run));
            if (len == 0) {
                break;
            }
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

/* Writes the digits in front of end; returns where they begin. */
static char *digits_before(char *end, uint64_t value)
{
    do {
        *--end = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return end;
}

void json_u64(struct json *j, const char *key, uint64_t value)
{
    char text[24], *end = text + sizeof(text), *begin = digits_before(end, value);
    put_lead(j, key);
    buffer_put(j->out, begin, (size_t)(end - begin));
}

void json_i64(struct json *j, const char *key, int64_t value)
{
    put_lead(j, key);
    buffer_printf(j->out, "%" PRId64, value);
}

/* What sensors give has a few decimal places: value = m / 10^k. m and 10^k are exact, and a quotient is rounded to the
 * nearest double (IEEE 754, 5.4.1), so "m shifted by k" reads back as value. Gives what %.15g would, at a tenth of its
 * price. False: it has more places, or wants an exponent. */
static bool put_decimal(struct buffer *out, double value)
{
    static const uint64_t powers[] = {1, 10, 100, 1000, 10000, 100000, 1000000};
    double size = fabs(value);
    if (!(size < 1e9) || (size < 1e-4 && size > 0)) {
        return false;
    }
    for (unsigned k = 0; k < COUNT_OF(powers); k++) {
        uint64_t m = (uint64_t)(size * (double)powers[k] + 0.5); /* below 2^53 */
        if ((double)m / (double)powers[k] != size) {
            continue;
        }
        char text[32], *end = text + sizeof(text), *begin = end;
        if (k > 0) {
            begin = digits_before(end, m % powers[k] + powers[k]); /* a 1 in front keeps the zeros */
            *begin = '.';
        }
        begin = digits_before(begin, m / powers[k]);
        if (signbit(value)) {
            *--begin = '-';
        }
        buffer_put(out, begin, (size_t)(end - begin));
        return true;
    }
    return false;
}

void json_f64(struct json *j, const char *key, double value)
{
    put_lead(j, key);
    if (!isfinite(value)) {
        buffer_put_str(j->out, "null");
        return;
    }
    if (put_decimal(j->out, value)) {
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
