/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_internal - protobuf's encoding by hand: a walk over the fields of one message, and writing into a scratch of
 * known size.
 *
 * Reading: in a bounded slice; out the fields one by one. A message's table says which wire type each of its fields
 * has; a known field with another type fails, a field that the table does not know is skipped, groups and field
 * number 0 fail. Whoever walks lets the last of several equal scalar fields win, as protobuf does.
 * Writing: struct pen never checks for room; the caller's array is as large as the longest message head
 * (PEN_*_MAX say what each piece takes). Fields with the default value are left out, as proto3 does.
 */
#ifndef PROTO_WIRE_WIRE_INTERNAL_H
#define PROTO_WIRE_WIRE_INTERNAL_H

#include "core/base/base.h"
#include "core/base/cursor.h"

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };
/* Entries of a message's table; 0 = unknown field. */
enum { KIND_VARINT = WIRE_VARINT + 1, KIND_FIXED64, KIND_BYTES, KIND_FIXED32 = WIRE_FIXED32 + 1 };
struct wire_table {
    const uint8_t *kinds; /* by field number */
    size_t count;
};
#define WIRE_TABLE(kinds) ((struct wire_table){kinds, COUNT_OF(kinds)})

struct wire_field {
    uint32_t number;
    bool known;         /* in the table, with the right type */
    uint64_t value;     /* varint, fixed32, fixed64 */
    struct slice bytes; /* WIRE_BYTES */
};

/* Protobuf's fields are mostly one byte of key, one of value: the cursor's loop is for the rest. */
static inline uint64_t wire_varint(struct cursor *c)
{
    if (!c->failed && c->at != c->end && *c->at < 0x80) {
        return *c->at++;
    }
    return cursor_varint(c);
}

/* A key or a length: as protobuf-c does, at most 5 bytes, so that whatever we accept it unpacks. */
static inline uint64_t wire_short_varint(struct cursor *c)
{
    const uint8_t *start = c->at;
    uint64_t v = wire_varint(c);
    c->failed |= c->at - start > 5;
    return v;
}

/* The next field; false at the end and on failure (cursor_err tells). */
static inline __attribute__((always_inline)) bool wire_next(struct cursor *c, struct wire_table table,
                                                            struct wire_field *f)
{
    if (c->failed || c->at == c->end) {
        return false;
    }
    uint64_t key = wire_short_varint(c);
    uint64_t number = key >> 3;
    unsigned type = key & 7;
    if (c->failed || key > UINT32_MAX || number == 0) {
        c->failed = true;
        return false;
    }
    uint8_t kind = number < table.count ? table.kinds[number] : 0;
    if (kind != 0 && kind != type + 1) {
        c->failed = true;
        return false;
    }
    f->number = (uint32_t)number;
    f->known = kind != 0;
    f->value = 0;
    if (type == WIRE_VARINT) {
        f->value = wire_varint(c);
    } else if (type == WIRE_BYTES) {
        f->bytes = cursor_bytes(c, wire_short_varint(c));
    } else if (type == WIRE_FIXED64) {
        f->value = cursor_u64le(c);
    } else if (type == WIRE_FIXED32) {
        f->value = cursor_u32le(c);
    } else {
        c->failed = true;
    }
    return !c->failed;
}

static inline enum err MUST_CHECK wire_fail(const char **ret_why, enum err err, const char *why)
{
    if (ret_why != NULL) {
        *ret_why = why;
    }
    return err;
}

/* Copies an identity; false when it is not one. */
static inline bool wire_identity(struct slice in, char ret_identity[ID_MAX + 1])
{
    if (!id_valid(in)) {
        return false;
    }
    memcpy(ret_identity, in.ptr, in.len);
    ret_identity[in.len] = '\0';
    return true;
}

/* What a Forward adds to the record in it, at most. */
enum { WIRE_FORWARD_HEAD_MAX = 256 };
/* last - first + 1 of a Forward. ERR_MALFORMED, ERR_RANGE. */
enum err wire_forward_span(struct slice in, uint64_t *ret_span) MUST_CHECK;

/* May this tier unpack the record: its schema is ours and it has a kind that we know? ERR_MALFORMED. */
enum err wire_record_readable(struct slice record, bool *ret_readable) MUST_CHECK;

/* ---- writing ---- */
enum {
    PEN_VARINT_MAX = 11, /* key of one byte and a varint */
    PEN_FIXED64_MAX = 9,
    PEN_FIXED32_MAX = 5,
    PEN_IDENTITY_MAX = 2 + ID_MAX,
};
struct pen {
    uint8_t *at;
};
static inline void pen_raw_varint(struct pen *p, uint64_t v)
{
    while (v >= 0x80) {
        *p->at++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *p->at++ = (uint8_t)v;
}
static inline void pen_key(struct pen *p, unsigned number, enum wire_type type)
{
    *p->at++ = (uint8_t)(number << 3 | type); /* all our numbers are below 16 */
}
static inline void pen_varint(struct pen *p, unsigned number, uint64_t v)
{
    if (v != 0) {
        pen_key(p, number, WIRE_VARINT);
        pen_raw_varint(p, v);
    }
}
static inline void pen_fixed64(struct pen *p, unsigned number, uint64_t v)
{
    if (v != 0) {
        pen_key(p, number, WIRE_FIXED64);
        memcpy(p->at, &v, 8);
        p->at += 8;
    }
}
static inline void pen_fixed32(struct pen *p, unsigned number, uint32_t v)
{
    if (v != 0) {
        pen_key(p, number, WIRE_FIXED32);
        memcpy(p->at, &v, 4);
        p->at += 4;
    }
}
/* Of a float or a double. -0 is the default value as well; NaN is none. */
static inline bool pen_is_default(double v)
{
    return v >= 0 && v <= 0;
}
/* A float's bits, for a fixed32. */
static inline uint32_t pen_float_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof(bits));
    return pen_is_default((double)f) ? 0 : bits;
}
/* Key and length; the bytes themselves follow from elsewhere. */
static inline void pen_length(struct pen *p, unsigned number, size_t len)
{
    pen_key(p, number, WIRE_BYTES);
    pen_raw_varint(p, len);
}
static inline void pen_bytes(struct pen *p, unsigned number, struct slice s)
{
    if (s.len != 0) {
        pen_length(p, number, s.len);
        memcpy(p->at, s.ptr, s.len);
        p->at += s.len;
    }
}

#endif
