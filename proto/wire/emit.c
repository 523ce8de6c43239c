/* SPDX-License-Identifier: Apache-2.0 */
/*
 * emit - the Records that a device makes, by hand: Block, Event, Describe, Gap, Curated windows. Byte for byte what
 * protobuf-c packs (a test compares), without its code and without a heap but the caller's buffer: a device without an
 * OS writes the very same. (inference.c has the Inference.)
 *
 * Whoever encodes gets told at once when the receiver's wire_record_check would refuse the record: once numbered, it
 * would stand in its stream's way.
 */
#include "proto/wire/wire.h"

#include "core/crypt/crypt.h"
#include "proto/wire/wire_internal.h"

enum {
    RECORD_SCHEMA = 1,
    RECORD_SPAN = 2,
    RECORD_BLOCK = 10,
    RECORD_EVENT = 11,
    RECORD_GAP = 13,
    RECORD_DESCRIBE = 15,
    RECORD_CURATED = 16
};
enum {
    BLOCK_SET = 1,
    BLOCK_WALL_US,
    BLOCK_MONO_US,
    BLOCK_SAMPLES,
    BLOCK_PERIOD_US,
    BLOCK_TIMES,
    BLOCK_COLUMNS,
    BLOCK_QUALITY
};
enum { EVENT_ID = 1, EVENT_SEVERITY, EVENT_WALL_US, EVENT_MONO_US, EVENT_TEXT, EVENT_CHANNEL, EVENT_VALUE, EVENT_SET };
enum {
    DESCRIBE_SET = 1,
    DESCRIBE_CHANNEL,
    DESCRIBE_CONFIG,
    DESCRIBE_MODEL,
    DESCRIBE_BOOT_ID,
    DESCRIBE_SOFTWARE,
    DESCRIBE_SOURCE
};
enum { CHANNEL_NAME = 1, CHANNEL_UNIT, CHANNEL_RESOLUTION };
enum { CURATED_SET = 2, CURATED_WINDOW = 4 };
enum {
    WINDOW_CHANNEL = 1,
    WINDOW_RULE,
    WINDOW_START_US,
    WINDOW_LENGTH_US,
    WINDOW_COUNT,
    WINDOW_MEAN,
    WINDOW_M2,
    WINDOW_MIN,
    WINDOW_MAX,
    WINDOW_SKETCH,
    WINDOW_PARTIAL = 12
};
enum { GAP_FROM = 1, GAP_TO, GAP_REASON, GAP_WALL_US };
enum {
    NAME_MAX_BYTES = 3 + WIRE_NAME_MAX,
    TEXT_MAX_BYTES = 3 + WIRE_TEXT_MAX,
    CHANNEL_MAX = 2 * NAME_MAX_BYTES + PEN_FIXED64_MAX,
};

/* ---- pieces ---- */

static void pen_double(struct pen *p, unsigned number, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    if (!pen_is_default(v)) {
        pen_fixed64(p, number, bits);
    }
}

static bool too_long(const char *text, size_t max)
{
    return strlen(text) > max;
}

/* What stands before a record's only kind, whose body has so many bytes. */
static void put_head(struct buffer *out, unsigned kind, uint64_t span, size_t body)
{
    uint8_t head[3 * PEN_VARINT_MAX + 1];
    struct pen p = {head};
    pen_varint(&p, RECORD_SCHEMA, WIRE_SCHEMA);
    pen_varint(&p, RECORD_SPAN, span > 1 ? span : 0);
    pen_raw_varint(&p, (uint64_t)kind << 3 | WIRE_BYTES); /* from 16 on a key has two bytes */
    pen_raw_varint(&p, body);
    buffer_put(out, head, (size_t)(p.at - head));
}

/* The record from start on; takes it back when it may not go out. */
static enum err finish(struct buffer *out, size_t start, uint64_t first, uint64_t last)
{
    enum err err = buffer_err(out);
    if (err == OK && out->len - start > WIRE_RECORD_MAX) {
        err = ERR_RANGE;
    }
    if (err == OK) {
        err = wire_record_check(slice_of(out->ptr + start, out->len - start), first, last, NULL);
    }
    out->len = err == OK ? out->len : start;
    return err;
}

/* ---- records ---- */

enum err wire_block_encode(const struct wire_block *b, struct buffer *out)
{
    uint8_t head[PEN_FIXED32_MAX + 5 * PEN_VARINT_MAX], middle[PEN_VARINT_MAX], tail[PEN_VARINT_MAX];
    struct pen h = {head}, m = {middle}, t = {tail};
    pen_fixed32(&h, BLOCK_SET, b->set);
    pen_varint(&h, BLOCK_WALL_US, b->wall_us);
    pen_varint(&h, BLOCK_MONO_US, b->mono_us);
    pen_varint(&h, BLOCK_SAMPLES, b->samples);
    pen_varint(&h, BLOCK_PERIOD_US, b->period_us);
    if (b->times.len > 0) {
        pen_length(&h, BLOCK_TIMES, b->times.len);
    }
    if (b->columns.len > 0) {
        pen_length(&m, BLOCK_COLUMNS, b->columns.len);
    }
    pen_varint(&t, BLOCK_QUALITY, (uint64_t)b->quality);
    struct slice parts[] = {slice_of(head, (size_t)(h.at - head)), b->times, slice_of(middle, (size_t)(m.at - middle)),
                            b->columns, slice_of(tail, (size_t)(t.at - tail))};
    size_t start = out->len, len = 0;
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        len += parts[i].len;
    }
    put_head(out, RECORD_BLOCK, 1, len);
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        buffer_put_slice(out, parts[i]);
    }
    return finish(out, start, 1, 1);
}

enum err wire_event_encode(const struct wire_event *e, struct buffer *out)
{
    uint8_t body[2 * NAME_MAX_BYTES + TEXT_MAX_BYTES + 3 * PEN_VARINT_MAX + PEN_FIXED64_MAX + PEN_FIXED32_MAX];
    struct pen p = {body};
    if (too_long(e->id, WIRE_NAME_MAX) || too_long(e->channel, WIRE_NAME_MAX) || too_long(e->text, WIRE_TEXT_MAX)) {
        return ERR_RANGE;
    }
    pen_bytes(&p, EVENT_ID, slice_str(e->id));
    pen_varint(&p, EVENT_SEVERITY, (uint64_t)e->severity);
    pen_varint(&p, EVENT_WALL_US, e->wall_us);
    pen_varint(&p, EVENT_MONO_US, e->mono_us);
    pen_bytes(&p, EVENT_TEXT, slice_str(e->text));
    pen_bytes(&p, EVENT_CHANNEL, slice_str(e->channel));
    pen_double(&p, EVENT_VALUE, e->value);
    pen_fixed32(&p, EVENT_SET, e->set);
    size_t start = out->len, len = (size_t)(p.at - body);
    put_head(out, RECORD_EVENT, 1, len);
    buffer_put(out, body, len);
    return finish(out, start, 1, 1);
}

enum err wire_gap_pack(uint64_t first, uint64_t last, Weir__V1__GapReason reason, uint64_t wall_us, struct buffer *out)
{
    uint8_t body[4 * PEN_VARINT_MAX];
    struct pen p = {body};
    if (first == 0 || last < first || last > WIRE_NUMBER_MAX) {
        return ERR_RANGE;
    }
    pen_varint(&p, GAP_FROM, first);
    pen_varint(&p, GAP_TO, last);
    pen_varint(&p, GAP_REASON, (uint64_t)reason);
    pen_varint(&p, GAP_WALL_US, wall_us);
    size_t start = out->len, len = (size_t)(p.at - body);
    put_head(out, RECORD_GAP, last - first + 1, len);
    buffer_put(out, body, len);
    return finish(out, start, first, last);
}

/* ---- the description ---- */

static size_t channel_encode(const struct wire_channel *c, uint8_t out[CHANNEL_MAX])
{
    struct pen p = {out};
    pen_bytes(&p, CHANNEL_NAME, slice_str(c->name));
    pen_bytes(&p, CHANNEL_UNIT, slice_str(c->unit));
    pen_double(&p, CHANNEL_RESOLUTION, c->resolution);
    return (size_t)(p.at - out);
}

static bool describe_in_range(const struct wire_describe *d)
{
    for (size_t i = 0; i < d->channel_count; i++) {
        if (too_long(d->channels[i].name, WIRE_NAME_MAX) || too_long(d->channels[i].unit, WIRE_NAME_MAX)) {
            return false;
        }
    }
    return !too_long(d->software, WIRE_NAME_MAX) && !too_long(d->source, WIRE_NAME_MAX);
}

/* Every field but the set, in order, to out and into *crc; the number of bytes. out NULL: only that. */
static size_t describe_rest(const struct wire_describe *d, struct buffer *out, uint32_t *crc)
{
    uint8_t bytes[CHANNEL_MAX + 3 * PEN_FIXED64_MAX], channel[CHANNEL_MAX];
    _Static_assert(sizeof(bytes) >= 3 * PEN_FIXED64_MAX + 2 * NAME_MAX_BYTES,
                   "the fields behind the channels fit, too");
    size_t total = 0;
    for (size_t i = 0; i <= d->channel_count; i++) {
        struct pen p = {bytes};
        if (i < d->channel_count) {
            size_t len = channel_encode(&d->channels[i], channel);
            pen_length(&p, DESCRIBE_CHANNEL, len);
            memcpy(p.at, channel, len);
            p.at += len;
        } else {
            pen_fixed64(&p, DESCRIBE_CONFIG, d->config);
            pen_fixed64(&p, DESCRIBE_MODEL, d->model);
            pen_fixed64(&p, DESCRIBE_BOOT_ID, d->boot_id);
            pen_bytes(&p, DESCRIBE_SOFTWARE, slice_str(d->software));
            pen_bytes(&p, DESCRIBE_SOURCE, slice_str(d->source));
        }
        size_t len = (size_t)(p.at - bytes);
        *crc = crypt_crc32c(*crc, bytes, len);
        total += len;
        if (out != NULL) {
            buffer_put(out, bytes, len);
        }
    }
    return total;
}

enum err wire_describe_encode(const struct wire_describe *d, uint32_t *ret_set, struct buffer *out)
{
    uint8_t set_bytes[PEN_FIXED32_MAX];
    struct pen p = {set_bytes};
    uint32_t crc = 0, again = 0;
    if (!describe_in_range(d)) {
        return ERR_RANGE;
    }
    size_t start = out->len, rest = describe_rest(d, NULL, &crc);
    uint32_t set = crc != 0 ? crc : 1;
    pen_fixed32(&p, DESCRIBE_SET, set);
    put_head(out, RECORD_DESCRIBE, 1, sizeof(set_bytes) + rest);
    buffer_put(out, set_bytes, sizeof(set_bytes));
    (void)describe_rest(d, out, &again);
    TRY(finish(out, start, 1, 1));
    *ret_set = set;
    return OK;
}

/* ---- windows ---- */

/* Parts of one: what stands before the sketch's bytes, the sketch, what stands behind. */
struct window_parts {
    uint8_t head[5 * PEN_VARINT_MAX + NAME_MAX_BYTES + 4 * PEN_FIXED64_MAX], tail[PEN_VARINT_MAX];
    size_t head_len, tail_len;
};

static void window_encode(const struct wire_window *w, struct window_parts *parts)
{
    struct pen p = {parts->head}, t = {parts->tail};
    pen_varint(&p, WINDOW_CHANNEL, w->channel);
    pen_bytes(&p, WINDOW_RULE, slice_str(w->rule));
    pen_varint(&p, WINDOW_START_US, w->start_us);
    pen_varint(&p, WINDOW_LENGTH_US, w->length_us);
    pen_varint(&p, WINDOW_COUNT, w->count);
    pen_double(&p, WINDOW_MEAN, w->mean);
    pen_double(&p, WINDOW_M2, w->m2);
    pen_double(&p, WINDOW_MIN, w->min);
    pen_double(&p, WINDOW_MAX, w->max);
    if (w->sketch.len > 0) {
        pen_length(&p, WINDOW_SKETCH, w->sketch.len);
    }
    pen_varint(&t, WINDOW_PARTIAL, w->partial);
    parts->head_len = (size_t)(p.at - parts->head);
    parts->tail_len = (size_t)(t.at - parts->tail);
}

/* All of them to out; the number of bytes. out NULL: only that. */
static size_t windows_encode(const struct wire_window *windows, size_t count, struct buffer *out)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        struct window_parts parts;
        uint8_t key[PEN_VARINT_MAX];
        struct pen p = {key};
        window_encode(&windows[i], &parts);
        size_t len = parts.head_len + windows[i].sketch.len + parts.tail_len;
        pen_length(&p, CURATED_WINDOW, len);
        total += (size_t)(p.at - key) + len;
        if (out != NULL) {
            buffer_put(out, key, (size_t)(p.at - key));
            buffer_put(out, parts.head, parts.head_len);
            buffer_put_slice(out, windows[i].sketch);
            buffer_put(out, parts.tail, parts.tail_len);
        }
    }
    return total;
}

enum err wire_windows_encode(uint32_t set, const struct wire_window *windows, size_t count, struct buffer *out)
{
    uint8_t set_bytes[PEN_FIXED32_MAX];
    struct pen p = {set_bytes};
    for (size_t i = 0; i < count; i++) {
        if (too_long(windows[i].rule, WIRE_NAME_MAX) || windows[i].sketch.len > WIRE_SKETCH_MAX) {
            return ERR_RANGE;
        }
    }
    pen_fixed32(&p, CURATED_SET, set);
    size_t start = out->len, set_len = (size_t)(p.at - set_bytes);
    put_head(out, RECORD_CURATED, 1, set_len + windows_encode(windows, count, NULL));
    buffer_put(out, set_bytes, set_len);
    (void)windows_encode(windows, count, out);
    return finish(out, start, 1, 1);
}
