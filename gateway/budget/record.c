/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state as bytes. Numbers are varints, times and marks relative to what stands before: a kilobyte or two.
 */
#include "core/base/cursor.h"
#include "core/crypt/crypt.h"
#include "gateway/budget/budget_internal.h"

enum { VERSION = 1, CRC_BYTES = 4 };

static void put_slots(const struct budget *b, uint64_t lease, struct buffer *out)
{
    buffer_put_varint(out, b->slots);
    for (size_t i = 0; i < b->slots; i++) {
        buffer_put_varint(out, (uint64_t)(b->clock_us - b->slot[i].at_us));
        for (unsigned lane = 0; lane < BUDGET_LANES; lane++) {
            buffer_put_varint(out, b->slot[i].bytes[lane]);
        }
    }
    buffer_put_varint(out, lease);
}

static void put_ages(const struct budget *b, struct buffer *out)
{
    for (unsigned lane = 0; lane < BUDGET_LANES; lane++) {
        const struct budget_ages *a = &b->ages[lane];
        buffer_put_u64le(out, a->epoch);
        buffer_put_varint(out, a->count);
        uint64_t number = 0;
        for (size_t i = 0; i < a->count; i++) {
            buffer_put_varint(out, (uint64_t)(b->clock_us - a->mark[i].at_us));
            buffer_put_varint(out, a->mark[i].number - number);
            number = a->mark[i].number;
        }
    }
}

static void put_bill(const struct bill *bill, struct buffer *out)
{
    buffer_put_varint(out, bill->date);
    buffer_put_varint(out, BILL_PURPOSES); /* a later one may have more */
    for (unsigned span = 0; span < BILL_SPANS; span++) {
        for (unsigned i = 0; i < BILL_PURPOSES; i++) {
            buffer_put_varint(out, bill->line[span][i].records);
            buffer_put_varint(out, bill->line[span][i].bytes);
        }
    }
}

enum err budget_encode(struct budget *b, uint64_t boot_id, uint64_t lease, int64_t now_us, struct buffer *out)
{
    size_t begin = out->len;
    (void)budget_clock(b, now_us);
    buffer_put_u8(out, VERSION);
    buffer_put_u64le(out, boot_id);
    buffer_put_varint(out, (uint64_t)b->clock_us);
    buffer_put_varint(out, (uint64_t)b->now_us);
    put_slots(b, lease, out);
    put_ages(b, out);
    put_bill(&b->bill, out);
    TRY(buffer_err(out));
    buffer_put_u32le(out, crypt_crc32c(0, out->ptr + begin, out->len - begin));
    return buffer_err(out);
}

/* A time so long ago; never after clock_us. */
static int64_t ago(struct cursor *c, int64_t clock_us)
{
    uint64_t us = cursor_varint(c);
    c->failed |= us > INT64_MAX;
    return c->failed ? 0 : clock_us - (int64_t)us;
}

static void read_slots(struct cursor *c, struct budget *b)
{
    uint64_t count = cursor_varint(c);
    c->failed |= count > BUDGET_SLOTS;
    for (size_t i = 0; i < count && !c->failed; i++) {
        struct budget_slot *s = &b->slot[b->slots++];
        s->at_us = ago(c, b->clock_us);
        for (unsigned lane = 0; lane < BUDGET_LANES; lane++) {
            s->bytes[lane] = cursor_varint(c);
        }
    }
}

static void read_ages(struct cursor *c, struct budget *b)
{
    for (unsigned lane = 0; lane < BUDGET_LANES; lane++) {
        struct budget_ages *a = &b->ages[lane];
        a->epoch = cursor_u64le(c);
        uint64_t count = cursor_varint(c), number = 0;
        c->failed |= count > BUDGET_MARKS;
        for (size_t i = 0; i < count && !c->failed; i++) {
            int64_t at_us = ago(c, b->clock_us);
            number += cursor_varint(c);
            a->mark[a->count++] = (struct budget_mark){.at_us = at_us, .number = number};
        }
    }
}

static void read_bill(struct cursor *c, struct bill *bill)
{
    bill->date = (uint32_t)cursor_varint(c);
    uint64_t purposes = cursor_varint(c);
    for (unsigned span = 0; span < BILL_SPANS; span++) {
        for (uint64_t i = 0; i < purposes && !c->failed; i++) {
            struct bill_line line = {.records = cursor_varint(c)};
            line.bytes = cursor_varint(c);
            if (i < BILL_PURPOSES) {
                bill->line[span][i] = line;
            }
        }
    }
}

enum err budget_decode(struct budget *b, struct slice record, uint64_t boot_id, int64_t now_us)
{
    if (record.len <= CRC_BYTES) {
        return ERR_MALFORMED;
    }
    struct cursor seal = cursor_of(slice_of(record.ptr + record.len - CRC_BYTES, CRC_BYTES));
    struct cursor c = cursor_of(slice_of(record.ptr, record.len - CRC_BYTES));
    if (cursor_u32le(&seal) != crypt_crc32c(0, record.ptr, record.len - CRC_BYTES)) {
        return ERR_MALFORMED;
    }
    if (cursor_u8(&c) != VERSION) {
        return ERR_UNSUPPORTED;
    }
    struct budget read;
    budget_init(&read, &b->rules, now_us);
    uint64_t boot = cursor_u64le(&c);
    read.clock_us = (int64_t)(cursor_varint(&c) & INT64_MAX);
    int64_t then_us = (int64_t)(cursor_varint(&c) & INT64_MAX);
    read_slots(&c, &read);
    uint64_t lease = cursor_varint(&c);
    read_ages(&c, &read);
    read_bill(&c, &read.bill);
    TRY(cursor_end(&c));
    budget_put(&read, 1, lease);
    if (boot_id != 0 && boot == boot_id && now_us > then_us) { /* the machine ran on */
        read.clock_us += now_us - then_us;
    }
    *b = read;
    return OK;
}
