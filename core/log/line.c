/* SPDX-License-Identifier: Apache-2.0 */
/*
 * line - key=value text. Invariant: len <= ROOM until line_end, so that the mark and the newline always fit.
 */
#include "core/log/line.h"

#include <inttypes.h>
#include <stdio.h>

enum { MARK = 4 /* "...\n" */, ROOM = LOG_LINE - MARK };

static void put(struct line *l, const void *ptr, size_t len)
{
    if (l->cut || len > ROOM - l->len) { /* whole or not at all: no half escape, no half character */
        l->cut = true;
        return;
    }
    memcpy(l->text + l->len, ptr, len);
    l->len += len;
}

void line_put(struct line *l, const char *text)
{
    put(l, text, strlen(text));
}

/* Bytes at the start of s that may stand as they are: a printable character of UTF-8, or 0. U+0080..U+009F are control
 * characters to a terminal. */
static size_t printable(struct slice s)
{
    uint8_t c = s.ptr[0];
    if (c < 0x20 || c == 0x7f || (c == 0xc2 && s.len > 1 && s.ptr[1] < 0xa0)) {
        return 0;
    }
    return utf8_length(s);
}

void line_escaped(struct line *l, struct slice s)
{
    while (s.len > 0 && !l->cut) {
        size_t len = printable(s);
        if (len == 0) {
            char hex[8];
            const char *fmt = s.ptr[0] == '\n' ? "\\n" : "\\x%02x";
            int n = snprintf(hex, sizeof(hex), fmt, s.ptr[0]);
            put(l, hex, (size_t)n);
            len = 1;
        } else if (*s.ptr == '"' || *s.ptr == '\\') {
            char pair[2] = {'\\', (char)*s.ptr};
            put(l, pair, 2);
        } else {
            put(l, s.ptr, len);
        }
        s = slice_of(s.ptr + len, s.len - len);
    }
}

static bool needs_quotes(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.ptr[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '=') {
            return true;
        }
    }
    return s.len == 0;
}

static void put_value(struct line *l, struct slice s)
{
    if (!needs_quotes(s)) {
        size_t room = l->cut ? 0 : ROOM - l->len;
        put(l, s.ptr, s.len < room ? s.len : room); /* plain ASCII may be cut anywhere */
        l->cut = l->cut || s.len > room;
        return;
    }
    line_put(l, "\"");
    line_escaped(l, s);
    line_put(l, "\"");
}

void line_kv(struct line *l, const struct log_kv *kv)
{
    char number[40] = "";
    line_put(l, " ");
    line_put(l, kv->key);
    line_put(l, "=");
    switch (kv->kind) {
    case LOG_KV_END: break;
    case LOG_KV_STR:
        if (kv->str != NULL) {
            put_value(l, slice_str(kv->str));
        } else {
            line_put(l, "null");
        }
        break;
    case LOG_KV_SLICE: put_value(l, kv->slice); break;
    case LOG_KV_I64: snprintf(number, sizeof(number), "%" PRId64, kv->i64); break;
    case LOG_KV_U64: snprintf(number, sizeof(number), "%" PRIu64, kv->u64); break;
    case LOG_KV_HEX: snprintf(number, sizeof(number), "%016" PRIx64, kv->u64); break;
    case LOG_KV_F64: snprintf(number, sizeof(number), "%.10g", kv->f64); break;
    }
    line_put(l, number);
}

struct slice line_end(struct line *l)
{
    size_t len = l->len;
    const char *end = l->cut ? "...\n" : "\n";
    memcpy(l->text + len, end, strlen(end));
    return slice_of(l->text, len + strlen(end));
}
