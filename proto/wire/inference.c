/* SPDX-License-Identifier: Apache-2.0 */
/* inference - a Record with an Inference by hand: what a device without protobuf-c and without a heap can write. */
#include "proto/wire/wire.h"

#include <math.h>

#include "core/base/cursor.h"
#include "proto/wire/wire_internal.h"

enum { RECORD_SCHEMA = 1, RECORD_INFERENCE = 17 };
enum {
    INFERENCE_MODEL = 1,
    INFERENCE_CONFIG,
    INFERENCE_WALL_US,
    INFERENCE_MONO_US,
    INFERENCE_QUALITY,
    INFERENCE_WINDOW_US,
    INFERENCE_ANSWER,
    INFERENCE_LABEL,
    INFERENCE_CONFIDENCE,
    INFERENCE_SCORE,
    INFERENCE_BY,
    INFERENCE_ENGINE,
    INFERENCE_ASKED,
    INFERENCE_OWN_MODEL,
    INFERENCE_OWN_ANSWER,
    INFERENCE_OWN_CONFIDENCE,
    INFERENCE_TOOK_MS,
    INFERENCE_REPEATS,
    INFERENCE_SKIPPED
};
/* Keys of numbers from 16 on take two bytes, and so does a length from 128 on; the record's own two fields stand
 * before. */
enum {
    HEAD_MAX = 8,
    BODY_MAX = 11 * (PEN_VARINT_MAX + 1) + 3 * PEN_FIXED64_MAX + 3 * (PEN_FIXED32_MAX + 1) + 2 * (3 + WIRE_NAME_MAX)
};
_Static_assert((int)WIRE_INFERENCE_MAX >= (int)HEAD_MAX + (int)BODY_MAX, "the longest record fits");

static void put_key(struct pen *p, unsigned number, enum wire_type type)
{
    pen_raw_varint(p, (uint64_t)number << 3 | type);
}

static void put_varint(struct pen *p, unsigned number, uint64_t v)
{
    if (v != 0) {
        put_key(p, number, WIRE_VARINT);
        pen_raw_varint(p, v);
    }
}

static void put_float(struct pen *p, unsigned number, float f)
{
    uint32_t bits = pen_float_bits(f);
    if (bits != 0) {
        put_key(p, number, WIRE_FIXED32);
        memcpy(p->at, &bits, sizeof(bits));
        p->at += sizeof(bits);
    }
}

static bool share(float f)
{
    return f >= 0 && f <= 1;
}

static bool in_range(const struct wire_inference *i)
{
    return i->model != 0 && (i->wall_us | i->mono_us | i->window_us) <= INT64_MAX && share(i->confidence) &&
           share(i->own_confidence) && isfinite(i->score) && strlen(i->label) <= WIRE_NAME_MAX &&
           strlen(i->engine) <= WIRE_NAME_MAX;
}

static size_t put_body(const struct wire_inference *i, uint8_t *out)
{
    struct pen p = {out};
    pen_fixed64(&p, INFERENCE_MODEL, i->model);
    pen_fixed64(&p, INFERENCE_CONFIG, i->config);
    pen_varint(&p, INFERENCE_WALL_US, i->wall_us);
    pen_varint(&p, INFERENCE_MONO_US, i->mono_us);
    pen_varint(&p, INFERENCE_QUALITY, (uint64_t)i->quality);
    pen_varint(&p, INFERENCE_WINDOW_US, i->window_us);
    pen_varint(&p, INFERENCE_ANSWER, i->answer);
    pen_bytes(&p, INFERENCE_LABEL, slice_str(i->label));
    put_float(&p, INFERENCE_CONFIDENCE, i->confidence);
    put_float(&p, INFERENCE_SCORE, i->score);
    pen_varint(&p, INFERENCE_BY, (uint64_t)i->by);
    pen_bytes(&p, INFERENCE_ENGINE, slice_str(i->engine));
    pen_varint(&p, INFERENCE_ASKED, (uint64_t)i->asked);
    pen_fixed64(&p, INFERENCE_OWN_MODEL, i->own_model);
    pen_varint(&p, INFERENCE_OWN_ANSWER, i->own_answer);
    put_float(&p, INFERENCE_OWN_CONFIDENCE, i->own_confidence);
    put_varint(&p, INFERENCE_TOOK_MS, i->took_ms);
    put_varint(&p, INFERENCE_REPEATS, i->repeats);
    put_varint(&p, INFERENCE_SKIPPED, i->skipped);
    return (size_t)(p.at - out);
}

enum err wire_inference_encode(const struct wire_inference *inference, uint8_t ret_record[WIRE_INFERENCE_MAX],
                               size_t *ret_len)
{
    uint8_t body[BODY_MAX];
    if (!in_range(inference)) {
        return ERR_RANGE;
    }
    size_t len = put_body(inference, body);
    struct pen p = {ret_record};
    pen_varint(&p, RECORD_SCHEMA, WIRE_SCHEMA);
    put_key(&p, RECORD_INFERENCE, WIRE_BYTES);
    pen_raw_varint(&p, len);
    memcpy(p.at, body, len);
    *ret_len = (size_t)(p.at - ret_record) + len;
    return OK;
}
