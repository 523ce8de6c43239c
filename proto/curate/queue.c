/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Closed windows on their way up, as packed messages with the set that their channel refers to; and the bound of a
 * stream.
 */
#include <math.h>

#include "proto/curate/curate_internal.h"

enum { ENTRY_HEAD = 8, FIELD_WINDOW = 4 << 3 | 2 /* Curated.window, length-delimited */, FIELD_HEAD_MAX = 4 };

static enum err queue_put(struct curate_stream *s, uint32_t set, const Weir__V1__Window *window)
{
    size_t len = weir__v1__window__get_packed_size(window);
    buffer_put_u32le(&s->queue, set);
    buffer_put_u32le(&s->queue, (uint32_t)len);
    uint8_t *at = buffer_extend(&s->queue, len);
    if (at != NULL) {
        weir__v1__window__pack(window, at);
    }
    return buffer_err(&s->queue);
}

/* ---- a Window message by hand: half of what closing one costs, otherwise ---- */
enum { VARINT = 0, FIXED64 = 1, BYTES = 2 };
enum { WINDOW_CHANNEL = 1, WINDOW_RULE, WINDOW_START_US, WINDOW_LENGTH_US, WINDOW_COUNT, WINDOW_MEAN, WINDOW_M2,
       WINDOW_MIN, WINDOW_MAX, WINDOW_SKETCH, WINDOW_BAND, WINDOW_PARTIAL, WINDOW_LATE };
/* Every field but name, sketch and bands, which come with their own lengths. */
enum { WINDOW_HEAD_MAX = 5 * 11 + 4 * 9 + 3 * 6 + 2 + 11 };

static uint8_t *put_varint(uint8_t *at, uint64_t v)
{
    for (; v >= 0x80; v >>= 7) {
        *at++ = (uint8_t)(v | 0x80);
    }
    *at++ = (uint8_t)v;
    return at;
}

static uint8_t *put_number(uint8_t *at, unsigned field, uint64_t v)
{
    if (v == 0) {
        return at; /* as proto3 does */
    }
    *at++ = (uint8_t)(field << 3 | VARINT);
    return put_varint(at, v);
}

static uint8_t *put_double(uint8_t *at, unsigned field, double v)
{
    if (v == 0) {
        return at;
    }
    *at++ = (uint8_t)(field << 3 | FIXED64);
    memcpy(at, &v, 8); /* little-endian, as every machine that this runs on */
    return at + 8;
}

static uint8_t *put_bytes(uint8_t *at, unsigned field, const void *bytes, size_t len)
{
    if (len == 0) {
        return at;
    }
    *at++ = (uint8_t)(field << 3 | BYTES);
    at = put_varint(at, len);
    memcpy(at, bytes, len);
    return at + len;
}

static void put_closed(struct curate_stream *s, uint32_t channel, const char *name, const struct closed *closed,
                       struct slice sketch)
{
    const struct moments *m = &closed->moments;
    size_t name_len = strnlen(name, WIRE_NAME_MAX), band_len = closed->bands * sizeof(*closed->band);
    size_t start = s->queue.len, room = ENTRY_HEAD + WINDOW_HEAD_MAX + name_len + band_len + sketch.len;
    uint8_t *entry = buffer_extend(&s->queue, room);
    if (entry == NULL) {
        return;
    }
    uint8_t *at = entry + ENTRY_HEAD;
    at = put_number(at, WINDOW_CHANNEL, channel);
    at = put_bytes(at, WINDOW_RULE, name, name_len);
    at = put_number(at, WINDOW_START_US, (uint64_t)closed->start);
    at = put_number(at, WINDOW_LENGTH_US, (uint64_t)closed->length);
    at = put_number(at, WINDOW_COUNT, m->count);
    at = put_double(at, WINDOW_MEAN, m->mean);
    at = put_double(at, WINDOW_M2, m->m2);
    at = put_double(at, WINDOW_MIN, m->min);
    at = put_double(at, WINDOW_MAX, m->max);
    at = put_bytes(at, WINDOW_SKETCH, sketch.ptr, sketch.len);
    at = put_bytes(at, WINDOW_BAND, closed->band, band_len);
    at = put_number(at, WINDOW_PARTIAL, closed->partial);
    at = put_number(at, WINDOW_LATE, min_u64(closed->late, INT64_MAX));
    uint32_t len = (uint32_t)(at - entry - ENTRY_HEAD);
    memcpy(entry, &s->out_set, 4);
    memcpy(entry + 4, &len, 4);
    s->queue.len = start + ENTRY_HEAD + len;
}

enum err queue_message(struct curate *c, struct curate_stream *s, uint32_t set, const Weir__V1__Window *window)
{
    Weir__V1__Window copy = *window;
    if (s->queue.len > c->stream_bytes) {
        copy.sketch.len = 0;
    }
    return queue_put(s, set, &copy);
}

enum err queue_window(struct curate *c, struct curate_stream *s, struct channel *channel, const struct rule *rule,
                      const char *name, const struct closed *closed)
{
    for (unsigned i = 0; rule != NULL && i < channel->op_count; i++) {
        struct op *op = &channel->ops[i];
        if (op->kind == RULE_MERGE && op->rule != rule && strcmp(op->rule->of, name) == 0) {
            return windows_merge(c, s, channel, op, closed);
        }
    }
    const struct moments *m = &closed->moments;
    bool numbers = isfinite(m->mean) && isfinite(m->m2) && isfinite(m->min) && isfinite(m->max);
    for (unsigned i = 0; i < closed->bands; i++) {
        numbers &= isfinite(closed->band[i]) != 0;
    }
    if (channel->out < 0 || !numbers || closed->start < 0) {
        /* Squares of values near 1e200 are no numbers; a window that began before 1970 has no place. */
        c->stats[rule != NULL ? rule->index : 0].cut += channel->out >= 0;
        return OK;
    }
    BUFFER(sketch, WIRE_SKETCH_MAX);
    if (closed->sketch != NULL && s->queue.len <= c->stream_bytes) {
        enum err err = sketch_encode(closed->sketch, WIRE_SKETCH_MAX, &sketch);
        if (err == ERR_NOMEM) {
            return err;
        }
    } else if (closed->sketch != NULL && rule != NULL) {
        c->stats[rule->index].cut++;
    }
    put_closed(s, (uint32_t)channel->out, name, closed, buffer_slice(&sketch));
    return buffer_err(&s->queue);
}

/* The entry at `at`; false at the end. */
static bool entry_at(struct slice queue, size_t at, uint32_t *ret_set, struct slice *ret_message)
{
    struct cursor c = cursor_of(slice_of(queue.ptr + at, queue.len - at));
    if (at >= queue.len) {
        return false;
    }
    *ret_set = cursor_u32le(&c);
    *ret_message = cursor_bytes(&c, cursor_u32le(&c));
    return !c.failed;
}

void queue_peek(const struct curate_stream *s, size_t max_bytes, uint32_t *ret_set, size_t *ret_taken,
                struct buffer *out)
{
    uint32_t set;
    struct slice message;
    size_t at = 0, bytes = 0;
    for (size_t count = 0; count < WIRE_WINDOWS_MAX && entry_at(buffer_slice(&s->queue), at, &set, &message); count++) {
        bytes += message.len + FIELD_HEAD_MAX;
        if ((count > 0 && set != *ret_set) || bytes > max_bytes) {
            break;
        }
        *ret_set = set;
        buffer_put_u8(out, FIELD_WINDOW);
        buffer_put_varint(out, message.len);
        buffer_put_slice(out, message);
        at += ENTRY_HEAD + message.len;
    }
    *ret_taken = at;
}

void queue_drop(struct curate_stream *s, size_t taken)
{
    if (taken > 0) {
        memmove(s->queue.ptr, s->queue.ptr + taken, s->queue.len - taken);
        s->queue.len -= taken;
    }
}

bool queue_valid(struct slice queue)
{
    uint32_t set;
    struct slice message;
    size_t at = 0;
    while (entry_at(queue, at, &set, &message)) {
        if (message.len > WIRE_SKETCH_MAX + 2048) {
            return false;
        }
        at += ENTRY_HEAD + message.len;
    }
    return at == queue.len;
}

/* ---- the bound ---- */
static size_t op_bytes(const struct op *op)
{
    return op->kind == RULE_WINDOW || op->kind == RULE_MERGE ? windows_bytes(&op->windows)
           : op->kind == RULE_SPECTRUM && op->spectrum.count > 0      ? op->spectrum.samples * sizeof(double)
                                                                    : 0;
}

struct holder { /* an operator that holds something */
    struct channel *channel;
    struct op *op;
    size_t bytes, order;
};

static void holdersp_free(struct holder **holders)
{
    free(*holders);
}

static int by_bytes(const void *a, const void *b)
{
    const struct holder *x = a, *y = b;
    return x->bytes != y->bytes ? (x->bytes < y->bytes) - (x->bytes > y->bytes)
                                : (x->order > y->order) - (x->order < y->order);
}

/* holders: room for every operator of the stream; NULL: only the total. */
static size_t find_holders(struct curate_stream *s, struct holder *holders, size_t *ret_total)
{
    size_t count = 0;
    *ret_total = 0;
    for (unsigned i = 0; i < s->channel_count; i++) {
        for (unsigned k = 0; k < s->channels[i].op_count; k++) {
            struct op *op = &s->channels[i].ops[k];
            size_t bytes = op_bytes(op);
            *ret_total += bytes;
            if (bytes > 0 && holders != NULL) {
                holders[count] = (struct holder){.channel = &s->channels[i], .op = op, .bytes = bytes, .order = count};
                count++;
            }
        }
    }
    return count;
}

static void drop_details(struct curate *c, struct op *op)
{
    struct curate_rule_stats *stats = &c->stats[op->rule->index];
    if (op->kind == RULE_SPECTRUM) {
        stats->cut += op->spectrum.count;
        free(op->spectrum.values);
        op->spectrum.values = NULL;
        op->spectrum.count = 0;
        op->spectrum.partial = true;
        return;
    }
    for (unsigned i = 0; i < op->windows.count; i++) {
        struct sketch *sketch = &op->windows.panes[i].sketch;
        stats->cut += sketch->error != 0;
        sketch_deinit(sketch);
    }
}

/* Those that hold most go first. A round of this costs what sorting them does, whatever it takes. */
static enum err bound_windows(struct curate *c, struct curate_stream *s)
{
    size_t total, ops = 0;
    find_holders(s, NULL, &total);
    if (total <= c->stream_bytes) {
        return OK;
    }
    for (unsigned i = 0; i < s->channel_count; i++) {
        ops += s->channels[i].op_count;
    }
    CLEANUP(holdersp_free) struct holder *holders = calloc(ops, sizeof(*holders));
    if (holders == NULL) {
        return ERR_NOMEM;
    }
    for (bool details = true; total > c->stream_bytes; details = false) {
        size_t count = find_holders(s, holders, &total); /* again: a window that closes may fill a merge */
        qsort(holders, count, sizeof(*holders), by_bytes);
        for (size_t i = 0; i < count && total > c->stream_bytes; i++) {
            if (details) {
                drop_details(c, holders[i].op);
            } else if (holders[i].op->kind != RULE_SPECTRUM) {
                TRY(windows_shorten(c, s, holders[i].channel, holders[i].op));
            }
            total -= holders[i].bytes - op_bytes(holders[i].op);
        }
    }
    return OK;
}

enum err stream_bound(struct curate *c, struct curate_stream *s)
{
    TRY(bound_windows(c, s));
    uint32_t set;
    struct slice message;
    size_t from = 0;
    while (s->queue.len - from > 2 * c->stream_bytes && entry_at(buffer_slice(&s->queue), from, &set, &message)) {
        from += ENTRY_HEAD + message.len;
        c->stats[0].cut++; /* whose it was is not looked up: this takes a stream whose windows do not fit the uplink */
    }
    queue_drop(s, from);
    return OK;
}
