/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sketch as bytes:
 *   version u8 = 1 | folded u8 | error f64le | zeros varint | side positive | side negative
 *   side = used varint, and if used > 0: first zigzag varint, tokens until `used` buckets are told
 *   token = varint: even: a count of token / 2 (> 0); odd: token / 2 (> 0) empty buckets
 */
#include "core/base/cursor.h"
#include "core/sketch/sketch.h"

enum { VERSION = 1 };
#define COUNT_MAX ((UINT64_C(1) << 62))

static void put_side(const struct sketch_side *side, uint32_t skip, struct buffer *out)
{
    uint64_t folded = 0, empty = 0;
    uint32_t used = side->used > skip ? side->used - skip : side->used > 0;
    buffer_put_varint(out, used);
    if (used == 0) {
        return;
    }
    skip = side->used - used;
    for (uint32_t i = 0; i < skip; i++) {
        folded += side->counts[i];
    }
    buffer_put_varint(out, zigzag_encode((int64_t)side->first + skip));
    for (uint32_t i = skip; i < side->used; i++) {
        uint64_t count = side->counts[i] + (i == skip ? folded : 0);
        if (count == 0) {
            empty++;
            continue;
        }
        if (empty > 0) {
            buffer_put_varint(out, empty << 1 | 1);
            empty = 0;
        }
        buffer_put_varint(out, count << 1);
    }
    if (empty > 0) {
        buffer_put_varint(out, empty << 1 | 1);
    }
}

static void put_sketch(const struct sketch *s, uint32_t skip, struct buffer *out)
{
    buffer_put_u8(out, VERSION);
    buffer_put_u8(out, s->folded || skip > 0);
    buffer_put_f64le(out, s->error);
    buffer_put_varint(out, s->zeros);
    put_side(&s->side[0], skip, out);
    put_side(&s->side[1], skip, out);
}

enum err sketch_encode(const struct sketch *s, size_t max_bytes, struct buffer *out)
{
    size_t start = out->len;
    TRY(buffer_err(out));
    for (uint32_t skip = 0; skip <= SKETCH_BUCKETS; skip += 1 + skip / 32) {
        put_sketch(s, skip, out);
        TRY(buffer_err(out));
        if (out->len - start <= max_bytes) {
            return OK;
        }
        out->len = start;
    }
    return ERR_FULL;
}

static enum err get_side(struct cursor *c, struct sketch_side *side, uint64_t *count)
{
    uint64_t used = cursor_varint(c);
    TRY(cursor_err(c));
    if (used == 0) {
        return OK;
    }
    int64_t first = zigzag_decode(cursor_varint(c));
    if (used > SKETCH_BUCKETS || first < INT32_MIN / 2 || first > INT32_MAX / 2) {
        return ERR_RANGE;
    }
    side->counts = calloc(used, sizeof(*side->counts));
    if (side->counts == NULL) {
        return ERR_NOMEM;
    }
    side->first = (int32_t)first;
    side->used = side->cap = (uint32_t)used;
    for (uint64_t at = 0; at < used;) {
        uint64_t token = cursor_varint(c), value = token >> 1;
        if (c->failed || value == 0 || ((token & 1) != 0 && value > used - at)) {
            return ERR_MALFORMED;
        }
        if ((token & 1) != 0) {
            at += value;
            continue;
        }
        side->counts[at++] = (uint32_t)min_u64(value, UINT32_MAX);
        *count += side->counts[at - 1];
    }
    return OK;
}

static enum err get_sketch(struct cursor *c, struct sketch *s)
{
    uint8_t version = cursor_u8(c), folded = cursor_u8(c);
    double error = cursor_f64le(c);
    TRY(cursor_err(c));
    if (version != VERSION || folded > 1) {
        return ERR_MALFORMED;
    }
    TRY(sketch_init(s, error));
    s->folded = folded != 0;
    s->zeros = cursor_varint(c);
    if (s->zeros > COUNT_MAX) {
        return ERR_RANGE;
    }
    s->count = s->zeros;
    TRY(get_side(c, &s->side[0], &s->count));
    TRY(get_side(c, &s->side[1], &s->count));
    return cursor_end(c);
}

enum err sketch_decode(struct slice in, struct sketch *ret_s)
{
    struct cursor c = cursor_of(in);
    struct sketch s = {0};
    enum err err = get_sketch(&c, &s);
    if (err != OK) {
        sketch_deinit(&s);
        return err;
    }
    *ret_s = s;
    return OK;
}
