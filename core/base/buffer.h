/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buffer - bytes that grow, with a compulsory maximum.
 *
 * Error is sticky: after one failed append every later one is ignored, and buffer_err() tells. Write everything,
 * check once. A buffer is embedded (init/deinit); buffer_reset keeps the memory for the next use.
 */
#ifndef CORE_BASE_BUFFER_H
#define CORE_BASE_BUFFER_H

#include "core/base/base.h"

struct buffer {
    uint8_t *ptr; /* owned */
    size_t len, cap, max;
    enum err err;
};

void buffer_init(struct buffer *b, size_t max);
/* Over the caller's memory, which it never leaves: where there is no heap. Not for buffer_deinit. */
static inline void buffer_init_over(struct buffer *b, void *memory, size_t len)
{
    *b = (struct buffer){.ptr = (uint8_t *)memory, .cap = len, .max = len};
}
void buffer_deinit(struct buffer *b);
/* len = 0, error cleared, memory kept. */
void buffer_reset(struct buffer *b);
/* OK, ERR_NOMEM or ERR_FULL. */
enum err buffer_err(const struct buffer *b) MUST_CHECK;
static inline struct slice buffer_slice(const struct buffer *b)
{
    return slice_of(b->ptr, b->len);
}

/* Its first line without the end of line: all of it where there is none. */
struct slice buffer_line(const struct buffer *b);
/* Ends it with a zero, so that it can be read as a string; where there is no room for one (an append has failed), its
 * last byte becomes it. Borrowed; "" when it is empty. */
const char *buffer_text(struct buffer *b);

void buffer_put(struct buffer *b, const void *ptr, size_t len);
/* Room for len bytes at the end, counted in len; NULL on failure. For encoders that write in place. */
uint8_t *buffer_extend(struct buffer *b, size_t len);
void buffer_put_slice(struct buffer *b, struct slice s);
void buffer_put_u8(struct buffer *b, uint8_t v);
void buffer_put_u32be(struct buffer *b, uint32_t v);
void buffer_put_u64be(struct buffer *b, uint64_t v);
void buffer_put_u32le(struct buffer *b, uint32_t v);
void buffer_put_u64le(struct buffer *b, uint64_t v);
void buffer_put_f64le(struct buffer *b, double v);
void buffer_put_varint(struct buffer *b, uint64_t v); /* protobuf base-128 */
void buffer_put_str(struct buffer *b, const char *text);
void buffer_printf(struct buffer *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define BUFFER(name, limit) CLEANUP(buffer_deinit) struct buffer name = {.max = (limit)}

#endif
