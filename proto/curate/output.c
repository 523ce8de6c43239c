/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the chains left -> Block, Curated, Record.
 *
 * Rows go up in the order of their times: those of the record, and between them the extras that operators had held
 * back. Extras of several channels with one time share a row. A block has room for 128 rows more than a device puts
 * into one; extras beyond that stand in for the time of the nearest row that has room for them.
 */
#include <math.h>

#include "proto/curate/curate_internal.h"

enum { FIELD_SCHEMA = 1 << 3, FIELD_CURATED = 16 << 3 | 2, FIELD_RULES = 1 << 3 | 1, FIELD_SET = 2 << 3 | 5,
       FIELD_BLOCK = 3 << 3 | 2, FIELD_CAPTURE = 5 << 3 | 2, FIELD_DESCRIBE = 6 << 3 | 2, HEADS_BYTES = 256 };
/* Values of out_rows: a row of the record, or none. */
enum { NO_ROW = -1 };

static int by_time(const void *a, const void *b)
{
    const struct extra *x = a, *y = b;
    return x->t != y->t             ? (x->t > y->t) - (x->t < y->t)
           : x->channel != y->channel ? (x->channel > y->channel) - (x->channel < y->channel)
                                      : (x->order > y->order) - (x->order < y->order);
}

static size_t rows_left(const struct curate *c, const struct curate_stream *s, bool used[ROWS_MAX])
{
    size_t left = 0;
    memset(used, 0, c->rows * sizeof(*used));
    for (unsigned i = 0; i < s->channel_count; i++) {
        const int64_t *cells = c->cells + i * c->rows;
        for (size_t k = 0; s->channels[i].out >= 0 && k < c->rows; k++) {
            used[k] |= cells[k] != BLOCK_MISSING;
        }
    }
    for (size_t k = 0; k < c->rows; k++) {
        left += used[k];
    }
    return left;
}

/* An extra with a row's very time takes its place there, if that is free. */
static bool extra_joins(struct curate *c, const struct extra *e, size_t row, bool *used)
{
    int64_t *cell = &c->cells[e->channel * c->rows + row];
    if (*cell != BLOCK_MISSING) {
        return false;
    }
    *cell = e->cell;
    *used = true;
    return true;
}

/* Rows going up, in order: out_rows says of each which row of the record it is, out_times its time. Extras that get
 * rows of their own are written to out_cells (stride ROWS_MAX). */
struct layout {
    struct curate *c;
    const struct curate_stream *s;
    bool used[ROWS_MAX];
    size_t count, room; /* room: rows that extras may still add */
};

static void lay_row(struct layout *l, int64_t t, int32_t row)
{
    l->c->out_times[l->count] = t;
    l->c->out_rows[l->count] = row;
    for (unsigned i = 0; row == NO_ROW && i < l->s->out_count; i++) {
        l->c->out_cells[i * ROWS_MAX + l->count] = BLOCK_MISSING;
    }
    l->count++;
}

static void lay_extra(struct layout *l, const struct extra *e, size_t next_row)
{
    struct curate *c = l->c;
    int out = l->s->channels[e->channel].out;
    if (out < 0) {
        return;
    }
    int64_t *cells = c->out_cells + (size_t)out * ROWS_MAX;
    bool shares = l->count > 0 && c->out_rows[l->count - 1] == NO_ROW && c->out_times[l->count - 1] == e->t &&
                  cells[l->count - 1] == BLOCK_MISSING;
    if (!shares && l->room == 0) {
        for (size_t k = next_row; k < c->rows; k++) {
            if (l->used[k] && extra_joins(c, e, k, &l->used[k])) {
                return;
            }
        }
        c->stats[0].cut++;
        return;
    }
    if (!shares) {
        lay_row(l, e->t, NO_ROW);
        l->room--;
    }
    cells[l->count - 1] = e->cell;
}

static void lay_out(struct layout *l)
{
    struct curate *c = l->c;
    l->room = ROWS_MAX - rows_left(c, l->s, l->used);
    size_t e = 0;
    for (size_t k = 0; k < c->rows; k++) {
        for (; e < c->extra_count && c->extras[e].t < c->times[k]; e++) {
            lay_extra(l, &c->extras[e], k);
        }
        while (e < c->extra_count && c->extras[e].t == c->times[k] && (l->used[k] || l->room > 0)) {
            bool was_used = l->used[k];
            if (!extra_joins(c, &c->extras[e], k, &l->used[k])) {
                break;
            }
            l->room -= !was_used;
            e++;
        }
        if (l->used[k]) {
            lay_row(l, c->times[k], (int32_t)k);
        }
    }
    for (; e < c->extra_count; e++) {
        lay_extra(l, &c->extras[e], c->rows);
    }
}

/* Fills in the record's own cells and closes the gaps between columns. */
static void gather(struct layout *l)
{
    struct curate *c = l->c;
    for (unsigned i = 0; i < l->s->channel_count; i++) {
        int out = l->s->channels[i].out;
        const int64_t *from = c->cells + i * c->rows;
        for (size_t k = 0; out >= 0 && k < l->count; k++) {
            int64_t cell = c->out_rows[k] == NO_ROW ? c->out_cells[(size_t)out * ROWS_MAX + k] : from[c->out_rows[k]];
            c->out_cells[(size_t)out * l->count + k] = cell; /* never beyond what has been read */
        }
    }
}

/* Times become distances. */
static void place_times(struct curate *c, size_t count, Weir__V1__Block *block)
{
    int64_t *t = c->out_times, period = count > 1 ? t[1] - t[0] : 0;
    bool even = period > 0 && period <= UINT32_MAX;
    block->wall_us = (uint64_t)t[0];
    block->mono_us = (uint64_t)max_i64(c->mono_us + (t[0] - c->wall_us), 0);
    for (size_t i = count; i-- > 1;) {
        t[i] -= t[i - 1];
        even &= t[i] == period;
    }
    t[0] = 0;
    block->period_us = even ? (uint32_t)period : 0;
}

/* The first `count` rows of out_cells, whose columns are that long. */
static enum err encode(struct curate *c, const struct curate_stream *s, size_t count, Weir__V1__Block *block)
{
    double resolutions[BLOCK_CHANNELS_MAX];
    unsigned columns = s->out_count > 0;
    for (unsigned i = 0; i < s->channel_count; i++) {
        if (s->channels[i].out >= 0) {
            columns = i < c->columns_in && s->channels[i].out >= (int)columns ? (unsigned)s->channels[i].out + 1 : columns;
            resolutions[s->channels[i].out] = s->channels[i].out_resolution;
        }
    }
    buffer_reset(&c->columns);
    buffer_reset(&c->deltas);
    TRY(block_encode(c->out_cells, resolutions, columns, count, &c->columns));
    block->samples = (uint32_t)count;
    block->columns = (ProtobufCBinaryData){.data = c->columns.ptr, .len = c->columns.len};
    if (block->period_us == 0 && count > 1) {
        TRY(block_column_encode(c->out_times, count, &c->deltas));
    }
    block->times = (ProtobufCBinaryData){.data = c->deltas.ptr, .len = c->deltas.len};
    return OK;
}

/* The rows between those that are left, if there are few enough of them: *ret_rows counts all. */
static bool on_grid(const struct curate *c, size_t count, size_t *ret_rows)
{
    int64_t rows = 1;
    for (size_t i = 1; i < count; i++) {
        int64_t steps = c->period_us > 0 ? c->out_times[i] / c->period_us : 0;
        if (steps < 1 || steps > ROWS_MAX || c->out_times[i] != steps * c->period_us) {
            return false;
        }
        rows += steps;
    }
    *ret_rows = (size_t)min_i64(rows, ROWS_MAX + 1);
    return rows <= ROWS_MAX;
}

static size_t columns_with_holes(const struct curate *c, size_t columns, size_t count)
{
    size_t holes = 0;
    for (size_t i = 0; i < columns; i++) {
        const int64_t *cells = c->out_cells + i * count;
        size_t k = 0;
        while (k < count && cells[k] != BLOCK_MISSING) {
            k++;
        }
        holes += k < count;
    }
    return holes;
}

/* Rows without a value may cost less than telling the times of the others: a bit for each column. Gives the block
 * back the device's even period then. */
static enum err fill_grid(struct curate *c, const struct curate_stream *s, size_t *count, Weir__V1__Block *block)
{
    size_t rows;
    if (block->period_us != 0 || *count < 2 || !on_grid(c, *count, &rows)) {
        return OK;
    }
    buffer_reset(&c->deltas);
    TRY(block_column_encode(c->out_times, *count, &c->deltas));
    size_t as_times = 2 + c->deltas.len + columns_with_holes(c, s->out_count, *count) * ((*count + 7) / 8);
    if (4 + s->out_count * ((rows + 7) / 8) >= as_times) {
        return OK;
    }
    for (size_t i = s->out_count; i-- > 0;) { /* from behind: no cell is overwritten before it has moved */
        int64_t *to = c->out_cells + i * rows, *from = c->out_cells + i * *count;
        size_t at = rows;
        for (size_t k = *count; k-- > 0;) {
            int64_t cell = from[k];
            size_t steps = k + 1 < *count ? (size_t)(c->out_times[k + 1] / c->period_us) : 1;
            for (size_t gap = 1; gap < steps; gap++) {
                to[--at] = BLOCK_MISSING;
            }
            to[--at] = cell;
        }
    }
    block->period_us = (uint32_t)c->period_us;
    *count = rows;
    return OK;
}

enum err output_block(struct curate *c, const struct curate_stream *s, struct left *ret_left)
{
    struct layout l = {.c = c, .s = s};
    if (c->extra_count > 1) {
        qsort(c->extras, c->extra_count, sizeof(*c->extras), by_time);
    }
    lay_out(&l);
    *ret_left = (struct left){.any = l.count > 0, .made = true, .block = WEIR__V1__BLOCK__INIT};
    if (l.count == 0) {
        return OK;
    }
    gather(&l);
    ret_left->block.set = s->out_set;
    ret_left->block.quality = (Weir__V1__ClockQuality)c->quality;
    place_times(c, l.count, &ret_left->block);
    TRY(fill_grid(c, s, &l.count, &ret_left->block));
    return encode(c, s, l.count, &ret_left->block);
}

enum err output_shrink(struct curate *c, const struct curate_stream *s, struct left *left)
{
    size_t before = left->block.samples, count = (before + 1) / 2;
    for (size_t i = 0; i < s->out_count; i++) {
        memmove(c->out_cells + i * count, c->out_cells + i * before, count * sizeof(*c->out_cells));
    }
    c->stats[0].cut += before - count;
    return encode(c, s, count, &left->block);
}

/* ---- the record, by hand: windows are packed already ---- */
static void put_block(struct curate *c, const Weir__V1__Block *block)
{
    size_t len = weir__v1__block__get_packed_size(block);
    buffer_put_u8(&c->body, FIELD_BLOCK);
    buffer_put_varint(&c->body, len);
    uint8_t *at = buffer_extend(&c->body, len);
    if (at != NULL) {
        weir__v1__block__pack(block, at);
    }
}

/* With the description, if the receivers do not know it and it fits; else it waits for a smaller record. */
static enum err put_description(struct curate *c, const struct curate_stream *s, bool *ret_put)
{
    Weir__V1__Describe *describe;
    *ret_put = false;
    if (!stream_untold(s)) {
        return OK;
    }
    TRY(stream_described(c, s, &describe));
    size_t len = weir__v1__describe__get_packed_size(describe);
    if (c->body.len + len + 2 * HEADS_BYTES > WIRE_RECORD_MAX) {
        return OK;
    }
    buffer_put_u8(&c->body, FIELD_DESCRIBE);
    buffer_put_varint(&c->body, len);
    uint8_t *at = buffer_extend(&c->body, len);
    if (at != NULL) {
        weir__v1__describe__pack(describe, at);
    }
    *ret_put = true;
    return OK;
}

static enum err put_record(struct curate *c)
{
    buffer_reset(&c->record);
    buffer_put_u8(&c->record, FIELD_SCHEMA);
    buffer_put_u8(&c->record, WIRE_SCHEMA);
    buffer_put_varint(&c->record, FIELD_CURATED);
    buffer_put_varint(&c->record, c->body.len);
    buffer_put_slice(&c->record, buffer_slice(&c->body));
    TRY(buffer_err(&c->body));
    TRY(buffer_err(&c->record));
    return wire_record_check(buffer_slice(&c->record), 1, 1, NULL);
}

enum err output_curated(struct curate *c, struct curate_stream *s, const Weir__V1__Block *block, const char *capture,
                        bool *ret_any)
{
    uint32_t set = s != NULL ? s->out_set : block != NULL ? block->set : 0;
    size_t taken = 0;
    bool described = false;
    buffer_reset(&c->body);
    if (block != NULL) {
        put_block(c, block);
    }
    if (s != NULL) {
        TRY(put_description(c, s, &described));
    }
    size_t room = c->body.len + HEADS_BYTES >= WIRE_RECORD_MAX ? 0 : WIRE_RECORD_MAX - HEADS_BYTES - c->body.len;
    room = room < WINDOWS_RECORD_BYTES ? room : WINDOWS_RECORD_BYTES;
    size_t without = c->body.len;
    if (s != NULL) {
        queue_peek(s, room, &set, &taken, &c->body);
    }
    *ret_any = block != NULL || taken > 0 || described;
    if (!*ret_any) {
        return OK;
    }
    uint64_t version = rules_version(c->rules);
    buffer_put_u8(&c->body, FIELD_RULES);
    buffer_put_u64le(&c->body, version);
    if (taken > 0) { /* the block says its own */
        buffer_put_u8(&c->body, FIELD_SET);
        buffer_put_u32le(&c->body, set);
    }
    if (capture != NULL) {
        buffer_put_u8(&c->body, FIELD_CAPTURE);
        buffer_put_varint(&c->body, strlen(capture));
        buffer_put_str(&c->body, capture);
    }
    enum err err = put_record(c);
    if (s != NULL) {
        queue_drop(s, taken);
    }
    if ((err == ERR_MALFORMED || err == ERR_RANGE) && taken > 0) {
        /* A window that no receiver would take must not stand in the stream's way. */
        c->stats[0].cut++;
        c->body.len = without;
        return output_curated(c, NULL, block, capture, ret_any);
    }
    if (err == OK && described) {
        s->told = s->out_set;
    }
    return err;
}
