/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cursor - reading bytes from outside. The only way that Weir parses.
 *
 * Error is sticky: a read past the end yields 0 or an empty slice and sets the error; read everything, check once.
 */
#ifndef CORE_BASE_CURSOR_H
#define CORE_BASE_CURSOR_H

#include "core/base/base.h"

struct cursor {
    const uint8_t *at, *end;
    bool failed;
};

static inline struct cursor cursor_of(struct slice s)
{
    return (struct cursor){.at = s.ptr, .end = s.ptr ? s.ptr + s.len : s.ptr};
}
static inline size_t cursor_left(const struct cursor *c)
{
    return (size_t)(c->end - c->at);
}
/* OK if nothing failed; ERR_MALFORMED otherwise. */
static inline enum err MUST_CHECK cursor_err(const struct cursor *c)
{
    return c->failed ? ERR_MALFORMED : OK;
}
/* OK if nothing failed and everything was read. */
static inline enum err MUST_CHECK cursor_end(const struct cursor *c)
{
    return c->failed || c->at != c->end ? ERR_MALFORMED : OK;
}

static inline struct slice cursor_bytes(struct cursor *c, uint64_t len)
{
    if (c->failed || len > cursor_left(c)) {
        c->failed = true;
        return slice_of(NULL, 0);
    }
    struct slice s = slice_of(c->at, (size_t)len);
    c->at += len;
    return s;
}
static inline uint8_t cursor_u8(struct cursor *c)
{
    struct slice s = cursor_bytes(c, 1);
    return s.ptr ? s.ptr[0] : 0;
}
static inline uint32_t cursor_u32le(struct cursor *c)
{
    struct slice s = cursor_bytes(c, 4);
    uint32_t v = 0;
    if (s.ptr) {
        memcpy(&v, s.ptr, 4);
    }
    return v; /* hosts are little-endian: asserted in base.c */
}
static inline uint64_t cursor_u64le(struct cursor *c)
{
    struct slice s = cursor_bytes(c, 8);
    uint64_t v = 0;
    if (s.ptr) {
        memcpy(&v, s.ptr, 8);
    }
    return v;
}
/* Any bits: the caller says which numbers it takes. */
static inline double cursor_f64le(struct cursor *c)
{
    uint64_t bits = cursor_u64le(c);
    double v;
    memcpy(&v, &bits, sizeof(v));
    return v;
}
static inline uint64_t cursor_u64be(struct cursor *c)
{
    return __builtin_bswap64(cursor_u64le(c));
}
static inline uint16_t cursor_u16be(struct cursor *c)
{
    struct slice s = cursor_bytes(c, 2);
    return s.ptr ? (uint16_t)(s.ptr[0] << 8 | s.ptr[1]) : 0;
}
/* protobuf base-128 varint, at most 10 bytes; overlong or over 64 bits fails. */
static inline uint64_t cursor_varint(struct cursor *c)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (c->failed || c->at == c->end) {
            break;
        }
        uint8_t b = *c->at++;
        if (shift == 63 && b > 1) {
            break;
        }
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80) {
            return v;
        }
    }
    c->failed = true;
    return 0;
}
static inline int64_t zigzag_decode(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}
static inline uint64_t zigzag_encode(int64_t v)
{
    return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

#endif
