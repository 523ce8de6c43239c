/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buffer - growing bytes with a compulsory maximum and a sticky error.
 *
 * Invariants: len <= cap <= max; ptr is NULL only while cap is 0; once err is set,
 * nothing is appended until buffer_reset.
 */
#include "core/base/buffer.h"

#include <stdarg.h>
#include <stdio.h>

enum { FIRST_CAP = 64, VARINT_MAX = 10 };

void buffer_init(struct buffer *b, size_t max)
{
    *b = (struct buffer){.max = max};
}

void buffer_deinit(struct buffer *b)
{
    free(b->ptr);
    b->ptr = NULL;
    b->len = 0;
    b->cap = 0;
}

void buffer_reset(struct buffer *b)
{
    b->len = 0;
    b->err = OK;
}

enum err buffer_err(const struct buffer *b)
{
    return b->err;
}

struct slice buffer_line(const struct buffer *b)
{
    const uint8_t *end = b->len > 0 ? memchr(b->ptr, '\n', b->len) : NULL;
    return slice_of(b->ptr, end != NULL ? (size_t)(end - b->ptr) : b->len);
}

const char *buffer_text(struct buffer *b)
{
    if (b->err == OK) {
        buffer_put_u8(b, 0);
    }
    if (b->len == 0) {
        return "";
    }
    b->ptr[b->len - 1] = 0;
    return (const char *)b->ptr;
}

/* Makes room for len more bytes, doubling, never beyond max. */
static bool reserve(struct buffer *b, size_t len)
{
    if (b->err != OK) {
        return false;
    }
    if (len > b->max - b->len) {
        b->err = ERR_FULL;
        return false;
    }
    size_t need = b->len + len;
    if (need <= b->cap && b->ptr != NULL) {
        return true;
    }
    size_t cap = b->cap < FIRST_CAP / 2 ? FIRST_CAP : b->cap > b->max / 2 ? b->max : b->cap * 2;
    cap = cap < need ? need : cap;
    cap = cap > b->max ? b->max : cap;
    uint8_t *ptr = realloc(b->ptr, cap ? cap : 1);
    if (ptr == NULL) {
        b->err = ERR_NOMEM;
        return false;
    }
    b->ptr = ptr;
    b->cap = cap;
    return true;
}

uint8_t *buffer_extend(struct buffer *b, size_t len)
{
    if (!reserve(b, len)) {
        return NULL;
    }
    uint8_t *at = b->ptr + b->len;
    b->len += len;
    return at;
}

void buffer_put(struct buffer *b, const void *ptr, size_t len)
{
    if (len == 0) {
        return; /* ptr may be NULL, which memcpy does not take */
    }
    uint8_t *at = buffer_extend(b, len);
    if (at != NULL) {
        memcpy(at, ptr, len);
    }
}

void buffer_put_slice(struct buffer *b, struct slice s)
{
    buffer_put(b, s.ptr, s.len);
}

void buffer_put_u8(struct buffer *b, uint8_t v)
{
    buffer_put(b, &v, 1);
}

void buffer_put_u32be(struct buffer *b, uint32_t v)
{
    buffer_put_u32le(b, __builtin_bswap32(v));
}

void buffer_put_u64be(struct buffer *b, uint64_t v)
{
    buffer_put_u64le(b, __builtin_bswap64(v));
}

void buffer_put_u32le(struct buffer *b, uint32_t v)
{
    buffer_put(b, &v, sizeof(v));
}

void buffer_put_u64le(struct buffer *b, uint64_t v)
{
    buffer_put(b, &v, sizeof(v));
}

void buffer_put_f64le(struct buffer *b, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    buffer_put_u64le(b, bits);
}

void buffer_put_varint(struct buffer *b, uint64_t v)
{
    uint8_t bytes[VARINT_MAX];
    size_t len = 0;
    while (v >= 0x80) {
        bytes[len++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    bytes[len++] = (uint8_t)v;
    buffer_put(b, bytes, len);
}

void buffer_put_str(struct buffer *b, const char *text)
{
    buffer_put(b, text, strlen(text));
}

void buffer_printf(struct buffer *b, const char *fmt, ...)
{
    char small[256];
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int len = vsnprintf(small, sizeof(small), fmt, args);
    va_end(args);
    if (len < 0) {
        b->err = b->err == OK ? ERR_MALFORMED : b->err;
    } else if ((size_t)len < sizeof(small)) {
        buffer_put(b, small, (size_t)len);
    } else if ((size_t)len == b->max - b->len) { /* fits, but the NUL that vsnprintf writes does not */
        char *text = malloc((size_t)len + 1);
        if (text == NULL) {
            b->err = b->err == OK ? ERR_NOMEM : b->err;
        } else {
            vsnprintf(text, (size_t)len + 1, fmt, again);
            buffer_put(b, text, (size_t)len);
            free(text);
        }
    } else {
        char *at = (char *)buffer_extend(b, (size_t)len + 1);
        if (at != NULL) {
            vsnprintf(at, (size_t)len + 1, fmt, again);
            b->len--; /* the NUL */
        }
    }
    va_end(again);
}
