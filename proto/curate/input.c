/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block on its way into the chains and out of them again: Block -> times and cells -> each channel's series -> chain
 * -> cells, and extras for values that have no row of their own in the block. output.c makes a block of these.
 */
#include <math.h>

#include "proto/curate/curate_internal.h"

bool input_block(struct curate *c, const struct curate_stream *s, const Weir__V1__Block *b)
{
    size_t channels = 0;
    if (!s->described || b->set != s->set || b->samples < 1 || b->samples > ROWS_MAX ||
        b->wall_us > (uint64_t)WALL_MAX || b->mono_us > (uint64_t)WALL_MAX) {
        return false;
    }
    c->rows = b->samples;
    c->wall_us = (int64_t)b->wall_us;
    c->mono_us = (int64_t)b->mono_us;
    c->quality = (int)b->quality;
    if (block_decode(slice_of(b->columns.data, b->columns.len), c->rows, BLOCK_CHANNELS_MAX, c->cells, c->resolutions,
                     &channels) != OK ||
        channels < 1 || channels > s->channel_count) {
        return false;
    }
    for (size_t i = 0; i < channels; i++) {
        if (c->resolutions[i] != s->channels[i].resolution) {
            return false;
        }
    }
    c->columns_in = (unsigned)channels;
    for (size_t i = channels * c->rows; i < s->channel_count * c->rows; i++) {
        c->cells[i] = BLOCK_MISSING; /* channels that only windows have stand behind the others */
    }
    c->period_us = b->times.len == 0 ? b->period_us : 0;
    if (b->times.len == 0) {
        for (size_t i = 0; i < c->rows; i++) {
            c->times[i] = c->wall_us + (int64_t)i * b->period_us;
        }
        return c->times[c->rows - 1] <= WALL_MAX;
    }
    if (block_column_decode(slice_of(b->times.data, b->times.len), c->rows, c->times) != OK) {
        return false;
    }
    int64_t t = c->wall_us;
    for (size_t i = 0; i < c->rows; i++) {
        if (c->times[i] > TIME_MAX || c->times[i] < -TIME_MAX || t + c->times[i] > WALL_MAX || t + c->times[i] < 0) {
            return false; /* BLOCK_MISSING as well */
        }
        t += c->times[i];
        c->times[i] = t;
    }
    return true;
}

void input_repeats(struct curate *c, struct curate_stream *s)
{
    for (size_t k = 0; k < rules_count(c->rules); k++) {
        const struct rule *rule = rules_at(c->rules, k);
        bool *same = c->same[k];
        if (same == NULL || !rule_glob(rule->devices, s->device)) {
            continue;
        }
        memset(same, 1, c->rows * sizeof(*same));
        same[0] = s->has_row;
        for (unsigned i = 0; i < s->channel_count; i++) {
            const int64_t *cells = c->cells + i * c->rows;
            if (rule_glob(rule->channels, s->channels[i].name)) {
                same[0] &= cells[0] == s->cells[i];
                for (size_t row = 1; row < c->rows; row++) {
                    same[row] &= cells[row] == cells[row - 1];
                }
            }
        }
    }
    for (unsigned i = 0; i < s->channel_count; i++) {
        s->cells[i] = c->cells[(i + 1) * c->rows - 1];
    }
    s->has_row = true;
}

/* Present cells as values; as block_value, with what it works out for each value done once. */
static void read_column(const struct curate *c, const int64_t *cells, double resolution, struct series *to)
{
    double inverse = resolution < 1 ? round(1 / resolution) : 0;
    bool divides = inverse != 0 && inverse < 0x1p53 && 1 / inverse == resolution;
    size_t count = 0;
    for (size_t i = 0; i < c->rows; i++) {
        if (cells[i] != BLOCK_MISSING) {
            to->t[count] = c->times[i];
            to->v[count] = divides ? (double)cells[i] / inverse : (double)cells[i] * resolution;
            to->row[count] = (int32_t)i;
            to->made[count++] = false;
        }
    }
    to->count = count;
}

enum err input_extra(struct curate *c, unsigned channel, int64_t t, int64_t cell)
{
    if (c->extra_count == c->extra_cap) {
        size_t cap = c->extra_cap == 0 ? 64 : 2 * c->extra_cap;
        struct extra *extras = realloc(c->extras, cap * sizeof(*extras));
        if (extras == NULL) {
            return ERR_NOMEM;
        }
        c->extras = extras;
        c->extra_cap = cap;
    }
    c->extras[c->extra_count] =
        (struct extra){.t = t, .cell = cell, .channel = channel, .order = (unsigned)c->extra_count};
    c->extra_count++;
    c->changed = true;
    return OK;
}

/* What came out of the chain back to the column. */
static enum err write_column(struct curate *c, unsigned channel, int64_t *cells, double resolution,
                             const struct series *from, size_t before)
{
    bool changed = from->count != before;
    for (size_t i = 0; i < from->count && !changed; i++) {
        changed = from->made[i] || from->row[i] < 0;
    }
    if (!changed) {
        return OK;
    }
    c->changed = true;
    memcpy(c->column, cells, c->rows * sizeof(*cells));
    for (size_t i = 0; i < c->rows; i++) {
        cells[i] = BLOCK_MISSING;
    }
    for (size_t i = 0; i < from->count; i++) {
        int32_t row = from->row[i];
        int64_t cell = from->made[i] || row < 0 ? block_quantise(from->v[i], resolution) : c->column[row];
        if (row >= 0) {
            cells[row] = cell;
        } else if (from->t[i] >= 0) {
            TRY(input_extra(c, channel, from->t[i], cell));
        }
    }
    return OK;
}

static void drop_column(struct curate *c, const struct rule *rule, bool counts, int64_t *cells)
{
    uint64_t present = 0;
    for (size_t i = 0; i < c->rows; i++) {
        present += cells[i] != BLOCK_MISSING;
        cells[i] = BLOCK_MISSING;
    }
    c->changed = true;
    if (counts) {
        c->dropped[rule->index] += present;
        c->taken[rule->index] += (int64_t)present;
        c->stats[rule->index].seen += present;
        c->stats[rule->index].dropped += present;
    }
}

enum err input_run(struct curate *c, struct channel *channels, unsigned count, struct curate_stream *state)
{
    for (unsigned i = 0; i < count; i++) {
        struct channel *ch = &channels[i];
        int64_t *cells = c->cells + i * c->rows;
        if (ch->dropped_by != NULL) {
            drop_column(c, ch->dropped_by, state != NULL, cells);
        } else if (ch->op_count > 0) {
            struct run r = {.c = c, .s = state, .channel = ch, .in = &c->series[0], .out = &c->series[1]};
            read_column(c, cells, ch->resolution, r.in);
            size_t before = r.in->count;
            TRY(chain_run(&r));
            TRY(write_column(c, i, cells, ch->out_resolution, r.in, before));
            if (state != NULL) {
                chain_forget_rows(ch);
            }
        }
    }
    return OK;
}

enum err input_release(struct curate *c, struct curate_stream *s)
{
    for (size_t i = 0; i < s->held_count; i++) {
        const struct held *h = &s->held[i];
        if (h->channel < s->channel_count && s->channels[h->channel].out >= 0 && h->point.t >= 0) {
            int64_t cell = block_quantise(h->point.v, s->channels[h->channel].out_resolution);
            if (cell != BLOCK_MISSING) {
                TRY(input_extra(c, h->channel, h->point.t, cell));
                c->released++;
            }
        }
    }
    s->held_count = 0;
    return OK;
}
