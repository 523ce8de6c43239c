/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pack - Records through protobuf-c: unpacked into an arena that bounds memory, packed into a buffer.
 *
 * protobuf-c has neither a depth nor a memory limit of its own; the schema has no recursion, and the arena's size is
 * the limit. Whoever packs gets told at once when the receiver's wire_record_check would refuse the record: once
 * durable, it would stand in its stream's way.
 */
#include "proto/wire/wire.h"

#include "core/crypt/crypt.h"
#include "proto/wire/wire_internal.h"

/* Tells a spent budget from bad bytes, which protobuf-c does not. */
struct budget {
    struct arena *arena;
    bool spent;
};

static void *budget_alloc(void *data, size_t len)
{
    struct budget *b = data;
    void *p = arena_protobuf_alloc(b->arena, len);
    b->spent |= p == NULL;
    return p;
}

static void budget_free(void *data, void *ptr)
{
    struct budget *b = data;
    arena_protobuf_free(b->arena, ptr);
}

enum err wire_record_unpack(struct slice record, struct arena *arena, Weir__V1__Record **ret_record)
{
    struct budget budget = {.arena = arena};
    ProtobufCAllocator allocator = {.alloc = budget_alloc, .free = budget_free, .allocator_data = &budget};
    if (record.len > WIRE_RECORD_MAX) {
        return ERR_RANGE;
    }
    bool readable;
    TRY(wire_record_readable(record, &readable));
    if (!readable) {
        return ERR_UNSUPPORTED;
    }
    Weir__V1__Record *r = weir__v1__record__unpack(&allocator, record.len, record.ptr);
    if (r == NULL) {
        return budget.spent ? ERR_NOMEM : ERR_MALFORMED;
    }
    *ret_record = r;
    return OK;
}

/* The numbers that the record will be checked against. */
static void record_numbers(const Weir__V1__Record *record, uint64_t *ret_first, uint64_t *ret_last)
{
    if (record->kind_case == WEIR__V1__RECORD__KIND_GAP) {
        *ret_first = record->gap->from;
        *ret_last = record->gap->to;
    } else if (record->kind_case == WEIR__V1__RECORD__KIND_SUPPRESSED) {
        *ret_first = record->suppressed->from;
        *ret_last = record->suppressed->to;
    } else {
        *ret_first = 1;
        *ret_last = record->span > 1 ? record->span : 1;
    }
}

enum err wire_record_pack(const Weir__V1__Record *record, struct buffer *out)
{
    size_t len = weir__v1__record__get_packed_size(record), start = out->len;
    if (len > WIRE_RECORD_MAX) {
        return ERR_RANGE;
    }
    uint8_t *at = buffer_extend(out, len);
    if (at == NULL) {
        return buffer_err(out);
    }
    weir__v1__record__pack(record, at);
    uint64_t first, last;
    record_numbers(record, &first, &last);
    enum err err = wire_record_check(slice_of(at, len), first, last, NULL);
    if (err != OK) {
        out->len = start;
    }
    return err;
}

struct crc_buffer {
    ProtobufCBuffer sink;
    uint32_t crc;
};

static void crc_append(ProtobufCBuffer *sink, size_t len, const uint8_t *data)
{
    struct crc_buffer *b = container_of(sink, struct crc_buffer, sink);
    b->crc = crypt_crc32c(b->crc, data, len);
}

uint32_t wire_describe_set(const Weir__V1__Describe *describe)
{
    Weir__V1__Describe without = *describe;
    without.set = 0;
    struct crc_buffer b = {.sink = {.append = crc_append}};
    weir__v1__describe__pack_to_buffer(&without, &b.sink);
    return b.crc != 0 ? b.crc : 1;
}
