/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The time that a record's rows span, without unpacking it: fields of Record, Curated and Block by hand.
 */
#include "proto/curate/curate_internal.h"

enum { RECORD_BLOCK = 10, RECORD_CURATED = 16, CURATED_BLOCK = 3 };
enum { BLOCK_WALL_US = 2, BLOCK_SAMPLES = 4, BLOCK_PERIOD_US = 5, BLOCK_TIMES = 6 };

struct field {
    uint32_t number;
    uint64_t value;
    struct slice bytes;
};

static bool next_field(struct cursor *c, struct field *f)
{
    if (c->failed || c->at == c->end) {
        return false;
    }
    uint64_t key = cursor_varint(c);
    *f = (struct field){.number = (uint32_t)(key >> 3)};
    switch (key & 7) {
    case 0: f->value = cursor_varint(c); break;
    case 1: f->value = cursor_u64le(c); break;
    case 2: f->bytes = cursor_bytes(c, cursor_varint(c)); break;
    case 5: f->value = cursor_u32le(c); break;
    default: c->failed = true; break;
    }
    return !c->failed;
}

static struct slice find_block(struct slice record)
{
    struct cursor c = cursor_of(record);
    struct field f;
    struct slice block = {0}, curated = {0};
    while (next_field(&c, &f)) {
        block = f.number == RECORD_BLOCK ? f.bytes : block;
        curated = f.number == RECORD_CURATED ? f.bytes : curated;
    }
    struct cursor inner = cursor_of(curated);
    while (next_field(&inner, &f)) {
        block = f.number == CURATED_BLOCK ? f.bytes : block;
    }
    return c.failed || inner.failed ? (struct slice){0} : block;
}

bool curate_record_times(struct slice record, uint64_t *ret_from_us, uint64_t *ret_to_us)
{
    struct cursor c = cursor_of(find_block(record));
    struct field f;
    uint64_t wall_us = 0, samples = 0, period_us = 0;
    struct slice times = {0};
    while (next_field(&c, &f)) {
        wall_us = f.number == BLOCK_WALL_US ? f.value : wall_us;
        samples = f.number == BLOCK_SAMPLES ? f.value : samples;
        period_us = f.number == BLOCK_PERIOD_US ? f.value : period_us;
        times = f.number == BLOCK_TIMES ? f.bytes : times;
    }
    if (c.failed || samples < 1 || samples > ROWS_MAX || wall_us > (uint64_t)WALL_MAX || period_us > UINT32_MAX) {
        return false;
    }
    int64_t distances[ROWS_MAX], t = (int64_t)wall_us, first = t, last = t + (int64_t)((samples - 1) * period_us);
    if (times.len > 0) {
        if (block_column_decode(times, (size_t)samples, distances) != OK) {
            return false;
        }
        last = t;
        for (size_t i = 0; i < samples; i++) {
            if (distances[i] > WALL_MAX || distances[i] < -WALL_MAX || t > WALL_MAX || t < 0) {
                return false;
            }
            t += distances[i];
            first = min_i64(first, t);
            last = max_i64(last, t);
        }
    }
    *ret_from_us = (uint64_t)max_i64(first, 0);
    *ret_to_us = (uint64_t)max_i64(last, 0);
    return true;
}
