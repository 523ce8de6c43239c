/* SPDX-License-Identifier: Apache-2.0 */
/* ask - Ask and Answer by hand: bounded, nothing allocated but the growth of the caller's buffer. */
#include "proto/wire/wire.h"

#include <math.h>

#include "core/base/cursor.h"
#include "proto/wire/wire_internal.h"

enum { ASK_VERSION = 1, ASK_SITE, ASK_GATEWAY, ASK_DEVICE, ASK_ID, ASK_MODEL, ASK_DEADLINE_MS, ASK_OWN_ANSWER,
       ASK_OWN_CONFIDENCE, ASK_FORM, ASK_ROWS, ASK_COLUMNS, ASK_SCALE, ASK_ZERO_POINT, ASK_VALUES, ASK_HOPS };
enum { ANSWER_VERSION = 1, ANSWER_DEVICE, ANSWER_ID, ANSWER_STATUS, ANSWER_MODEL, ANSWER_ENGINE, ANSWER_ANSWER,
       ANSWER_CONFIDENCE, ANSWER_SCORE, ANSWER_TOOK_US };

static const uint8_t ask_kinds[] = {
    [ASK_VERSION] = KIND_VARINT, [ASK_SITE] = KIND_BYTES, [ASK_GATEWAY] = KIND_BYTES, [ASK_DEVICE] = KIND_BYTES,
    [ASK_ID] = KIND_FIXED64, [ASK_MODEL] = KIND_FIXED64, [ASK_DEADLINE_MS] = KIND_VARINT, [ASK_OWN_ANSWER] = KIND_VARINT,
    [ASK_OWN_CONFIDENCE] = KIND_FIXED32, [ASK_FORM] = KIND_VARINT, [ASK_ROWS] = KIND_VARINT, [ASK_COLUMNS] = KIND_VARINT,
    [ASK_SCALE] = KIND_FIXED32, [ASK_ZERO_POINT] = KIND_VARINT, [ASK_VALUES] = KIND_BYTES, [ASK_HOPS] = KIND_VARINT,
};
static const uint8_t answer_kinds[] = {
    [ANSWER_VERSION] = KIND_VARINT, [ANSWER_DEVICE] = KIND_BYTES, [ANSWER_ID] = KIND_FIXED64, [ANSWER_STATUS] = KIND_VARINT,
    [ANSWER_MODEL] = KIND_FIXED64, [ANSWER_ENGINE] = KIND_BYTES, [ANSWER_ANSWER] = KIND_VARINT,
    [ANSWER_CONFIDENCE] = KIND_FIXED32, [ANSWER_SCORE] = KIND_FIXED32, [ANSWER_TOOK_US] = KIND_VARINT,
};

static float float_of(uint64_t bits)
{
    uint32_t low = (uint32_t)bits;
    float f;
    memcpy(&f, &low, sizeof(f));
    return f;
}

static size_t value_bytes(Weir__V1__Form form)
{
    return form == WEIR__V1__FORM__FEATURES_INT8 ? 1 : form == WEIR__V1__FORM__RAW_INT16 ? 2 : 4;
}

static bool is_float(Weir__V1__Form form)
{
    return form == WEIR__V1__FORM__FEATURES_FLOAT32 || form == WEIR__V1__FORM__RAW_FLOAT32;
}

static bool finite_values(const struct wire_ask *a)
{
    for (size_t i = 0; is_float(a->form) && i < a->values.len; i += 4) {
        float f;
        memcpy(&f, a->values.ptr + i, sizeof(f));
        if (!isfinite(f)) {
            return false;
        }
    }
    return true;
}

static bool ask_in_range(const struct wire_ask *a)
{
    bool scale = is_float(a->form) || (isfinite(a->scale) && a->scale > 0 && a->zero_point >= -32768 && a->zero_point <= 32767);
    return a->id != 0 && a->deadline_ms >= 1 && a->deadline_ms <= WIRE_DEADLINE_MAX_MS && a->own_confidence >= 0 &&
           a->own_confidence <= 1 && scale && a->hops <= WIRE_ASK_HOPS_MAX && a->rows >= 1 && a->columns >= 1 &&
           a->rows <= WIRE_ASK_MAX && a->columns <= WIRE_ASK_MAX &&
           a->values.len == (uint64_t)a->rows * a->columns * value_bytes(a->form) && finite_values(a);
}

/* The value if it fits 32 bits; else something that no range allows. */
static uint32_t small(uint64_t v)
{
    return v <= UINT32_MAX ? (uint32_t)v : UINT32_MAX;
}

enum err wire_ask_decode(struct slice in, struct wire_ask *ret_ask)
{
    if (in.len > WIRE_ASK_MAX) {
        return ERR_RANGE;
    }
    struct cursor c = cursor_of(in);
    struct wire_field f;
    uint64_t version = 0, form = 0;
    int64_t zero_point = 0;
    struct slice site = {0}, gateway = {0}, device = {0};
    struct wire_ask a = {.id = 0};
    while (wire_next(&c, WIRE_TABLE(ask_kinds), &f)) {
        switch (f.known ? f.number : 0) {
        case ASK_VERSION: version = f.value; break;
        case ASK_SITE: site = f.bytes; break;
        case ASK_GATEWAY: gateway = f.bytes; break;
        case ASK_DEVICE: device = f.bytes; break;
        case ASK_ID: a.id = f.value; break;
        case ASK_MODEL: a.model = f.value; break;
        case ASK_DEADLINE_MS: a.deadline_ms = small(f.value); break;
        case ASK_OWN_ANSWER: a.own_answer = small(f.value); break;
        case ASK_OWN_CONFIDENCE: a.own_confidence = float_of(f.value); break;
        case ASK_FORM: form = f.value; break;
        case ASK_ROWS: a.rows = small(f.value); break;
        case ASK_COLUMNS: a.columns = small(f.value); break;
        case ASK_SCALE: a.scale = float_of(f.value); break;
        case ASK_ZERO_POINT: zero_point = zigzag_decode(f.value); break;
        case ASK_VALUES: a.values = f.bytes; break;
        case ASK_HOPS: a.hops = small(f.value); break;
        default: break;
        }
    }
    TRY(cursor_err(&c));
    if (version != WIRE_VERSION || form > WEIR__V1__FORM__RAW_INT16) {
        return ERR_UNSUPPORTED;
    }
    a.form = (Weir__V1__Form)form;
    a.zero_point = zero_point >= -32768 && zero_point <= 32767 ? (int32_t)zero_point : INT32_MAX;
    if (!wire_identity(site, a.site) || !wire_identity(gateway, a.gateway) || !wire_identity(device, a.device) ||
        !ask_in_range(&a)) {
        return ERR_RANGE;
    }
    *ret_ask = a;
    return OK;
}

enum err wire_ask_encode(const struct wire_ask *a, struct buffer *out)
{
    const char *const ids[] = {a->site, a->gateway, a->device};
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        if (!id_valid(slice_str(ids[i]))) {
            return ERR_RANGE;
        }
    }
    if ((unsigned)a->form > WEIR__V1__FORM__RAW_INT16 || !ask_in_range(a)) {
        return ERR_RANGE;
    }
    uint8_t head[8 * PEN_VARINT_MAX + 2 * PEN_FIXED64_MAX + 2 * PEN_FIXED32_MAX + 3 * PEN_IDENTITY_MAX + 8], tail[PEN_VARINT_MAX + 1];
    struct pen p = {head};
    pen_varint(&p, ASK_VERSION, WIRE_VERSION);
    pen_bytes(&p, ASK_SITE, slice_str(a->site));
    pen_bytes(&p, ASK_GATEWAY, slice_str(a->gateway));
    pen_bytes(&p, ASK_DEVICE, slice_str(a->device));
    pen_fixed64(&p, ASK_ID, a->id);
    pen_fixed64(&p, ASK_MODEL, a->model);
    pen_varint(&p, ASK_DEADLINE_MS, a->deadline_ms);
    pen_varint(&p, ASK_OWN_ANSWER, a->own_answer);
    pen_fixed32(&p, ASK_OWN_CONFIDENCE, pen_float_bits(a->own_confidence));
    pen_varint(&p, ASK_FORM, (uint64_t)a->form);
    pen_varint(&p, ASK_ROWS, a->rows);
    pen_varint(&p, ASK_COLUMNS, a->columns);
    pen_fixed32(&p, ASK_SCALE, pen_float_bits(a->scale));
    pen_varint(&p, ASK_ZERO_POINT, zigzag_encode(a->zero_point));
    pen_length(&p, ASK_VALUES, a->values.len);
    struct pen t = {tail};
    if (a->hops != 0) { /* number 16: a key of two bytes */
        pen_raw_varint(&t, ASK_HOPS << 3 | WIRE_VARINT);
        pen_raw_varint(&t, a->hops);
    }
    if ((size_t)(p.at - head) + a->values.len + (size_t)(t.at - tail) > WIRE_ASK_MAX) {
        return ERR_RANGE;
    }
    buffer_put(out, head, (size_t)(p.at - head));
    buffer_put(out, a->values.ptr, a->values.len);
    buffer_put(out, tail, (size_t)(t.at - tail));
    return buffer_err(out);
}

void wire_ask_values(const struct wire_ask *a, float *ret_values)
{
    size_t count = (size_t)a->rows * a->columns, size = value_bytes(a->form);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *at = a->values.ptr + i * size;
        int16_t wide;
        if (is_float(a->form)) {
            memcpy(&ret_values[i], at, sizeof(float));
        } else if (size == 1) {
            ret_values[i] = a->scale * (float)((int8_t)*at - a->zero_point);
        } else {
            memcpy(&wide, at, sizeof(wide));
            ret_values[i] = a->scale * (float)(wide - a->zero_point);
        }
    }
}

/* What is missing as core/features sees it: the value before, at the start the first there is. */
static void hold(float *values, size_t rows, size_t columns)
{
    size_t count = rows * columns;
    for (size_t i = columns; i < count; i++) {
        values[i] = isnan(values[i]) ? values[i - columns] : values[i];
    }
    for (size_t i = count - columns; i-- > 0;) {
        values[i] = isnan(values[i]) ? values[i + columns] : values[i];
    }
}

/* In place, from float32 to int16, where that loses nothing. */
static bool narrow(uint8_t *values, size_t count, double step)
{
    for (size_t i = 0; i < count; i++) {
        float v;
        memcpy(&v, values + i * sizeof(v), sizeof(v));
        double q = nearbyint((double)v / step);
        if (!(fabs(q) <= INT16_MAX && fabs((double)v / step - q) < 0.01)) {
            return false;
        }
    }
    for (size_t i = 0; i < count; i++) {
        float v;
        memcpy(&v, values + i * sizeof(v), sizeof(v));
        int16_t q = (int16_t)nearbyint((double)v / step);
        memcpy(values + i * sizeof(q), &q, sizeof(q));
    }
    return true;
}

void wire_ask_window(struct wire_ask *ask, float *values, uint32_t rows, uint32_t columns, double step)
{
    size_t count = (size_t)rows * columns;
    hold(values, rows, columns);
    ask->rows = rows;
    ask->columns = columns;
    ask->form = WEIR__V1__FORM__RAW_FLOAT32;
    ask->values = slice_of(values, count * sizeof(float));
    if ((float)step > 0 && narrow((uint8_t *)values, count, step)) {
        ask->form = WEIR__V1__FORM__RAW_INT16;
        ask->scale = (float)step;
        ask->zero_point = 0;
        ask->values.len = count * sizeof(int16_t);
    }
}

/* ---- answers ---- */
/* "site/gateway", or nothing. */
static bool engine_valid(struct slice s)
{
    const uint8_t *slash = s.len > 0 ? memchr(s.ptr, '/', s.len) : NULL;
    if (s.len == 0) {
        return true;
    }
    return slash != NULL && id_valid(slice_of(s.ptr, (size_t)(slash - s.ptr))) &&
           id_valid(slice_of(slash + 1, (size_t)(s.ptr + s.len - slash - 1)));
}

static bool answer_in_range(const struct wire_answer *a)
{
    return a->id != 0 && a->confidence >= 0 && a->confidence <= 1 && isfinite(a->score) &&
           (unsigned)a->status <= WEIR__V1__ANSWER_STATUS__ANSWER_BAD;
}

enum err wire_answer_decode(struct slice in, struct wire_answer *ret_answer)
{
    if (in.len > WIRE_ANSWER_MAX) {
        return ERR_RANGE;
    }
    struct cursor c = cursor_of(in);
    struct wire_field f;
    uint64_t version = 0, status = 0;
    struct slice device = {0}, engine = {0};
    struct wire_answer a = {.id = 0};
    while (wire_next(&c, WIRE_TABLE(answer_kinds), &f)) {
        switch (f.known ? f.number : 0) {
        case ANSWER_VERSION: version = f.value; break;
        case ANSWER_DEVICE: device = f.bytes; break;
        case ANSWER_ID: a.id = f.value; break;
        case ANSWER_STATUS: status = f.value; break;
        case ANSWER_MODEL: a.model = f.value; break;
        case ANSWER_ENGINE: engine = f.bytes; break;
        case ANSWER_ANSWER: a.answer = small(f.value); break;
        case ANSWER_CONFIDENCE: a.confidence = float_of(f.value); break;
        case ANSWER_SCORE: a.score = float_of(f.value); break;
        case ANSWER_TOOK_US: a.took_us = small(f.value); break;
        default: break;
        }
    }
    TRY(cursor_err(&c));
    if (version != WIRE_VERSION || status > WEIR__V1__ANSWER_STATUS__ANSWER_BAD) {
        return ERR_UNSUPPORTED;
    }
    a.status = (Weir__V1__AnswerStatus)status;
    if (!wire_identity(device, a.device) || engine.len >= sizeof(a.engine) || !engine_valid(engine) || !answer_in_range(&a)) {
        return ERR_RANGE;
    }
    if (engine.len > 0) {
        memcpy(a.engine, engine.ptr, engine.len);
    }
    *ret_answer = a;
    return OK;
}

enum err wire_answer_encode(const struct wire_answer *a, struct buffer *out)
{
    if (!id_valid(slice_str(a->device)) || !engine_valid(slice_str(a->engine)) || !answer_in_range(a)) {
        return ERR_RANGE;
    }
    uint8_t bytes[4 * PEN_VARINT_MAX + 2 * PEN_FIXED64_MAX + 2 * PEN_FIXED32_MAX + 3 * PEN_IDENTITY_MAX + 8];
    struct pen p = {bytes};
    pen_varint(&p, ANSWER_VERSION, WIRE_VERSION);
    pen_bytes(&p, ANSWER_DEVICE, slice_str(a->device));
    pen_fixed64(&p, ANSWER_ID, a->id);
    pen_varint(&p, ANSWER_STATUS, (uint64_t)a->status);
    pen_fixed64(&p, ANSWER_MODEL, a->model);
    pen_bytes(&p, ANSWER_ENGINE, slice_str(a->engine));
    pen_varint(&p, ANSWER_ANSWER, a->answer);
    pen_fixed32(&p, ANSWER_CONFIDENCE, pen_float_bits(a->confidence));
    pen_fixed32(&p, ANSWER_SCORE, pen_float_bits(a->score));
    pen_varint(&p, ANSWER_TOOK_US, a->took_us);
    buffer_put(out, bytes, (size_t)(p.at - bytes));
    return buffer_err(out);
}
