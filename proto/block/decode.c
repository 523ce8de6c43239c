/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decode - bytes from outside to columns of integers, and the check without decoding (block.h has the format).
 *
 * Two steps: parse_column reads one column's head and cuts out its digits, which is where bytes can be wrong;
 * expand_column turns digits into values and cannot fail. Only a column whose head allows values beyond
 * BLOCK_VALUE_MAX ("wide", which no sensor makes) is looked at value by value, by decoder and check alike.
 */
#include "proto/block/block.h"

#include "proto/block/block_internal.h"

struct column {
    enum block_form form;
    unsigned resolution_form;
    size_t n;              /* values present */
    const uint8_t *bitmap; /* NULL = all are */
    int64_t first, smallest;
    unsigned code;
    const uint8_t *digits;
    size_t dict_count; /* DICT: code and digits are those of the steps */
    unsigned index_code;
    const uint8_t *indices;
    bool wide;
};

/* Sum of bounds over which the head alone does not prove that all values are in range. */
enum { WIDE_BITS = 60, COUNT_BITS = 11 };
_Static_assert(BLOCK_SAMPLES_MAX <= 1 << COUNT_BITS, "a sum of so many differences is in range");

static int64_t read_value(struct cursor *c)
{
    int64_t v = zigzag_decode(cursor_varint(c));
    c->failed |= v > BLOCK_VALUE_MAX || v < -BLOCK_VALUE_MAX;
    return v;
}

/* Cuts out the digits; the bits behind the last one must be zero. */
static const uint8_t *read_digits(struct cursor *c, size_t count, unsigned code)
{
    struct slice s = cursor_bytes(c, digits_bytes(count, code));
    unsigned used = (unsigned)(digits_bits(count, code) % 8);
    if (s.len > 0 && used != 0 && s.ptr[s.len - 1] >> used != 0) {
        c->failed = true;
    }
    return s.ptr;
}

static unsigned read_code(struct cursor *c)
{
    unsigned code = cursor_u8(c);
    c->failed |= !digits_code_valid(code);
    return c->failed ? 0 : code;
}

static void read_bitmap(struct cursor *c, size_t samples, struct column *col)
{
    struct slice s = cursor_bytes(c, (samples + 7) / 8);
    if (s.ptr == NULL) {
        return;
    }
    unsigned used = samples % 8;
    col->bitmap = s.ptr;
    col->n = 0;
    for (size_t i = 0; i < s.len; i++) {
        col->n += (size_t)__builtin_popcount(s.ptr[i]);
    }
    /* A bitmap that says "all present" has another, shorter encoding. */
    c->failed |= col->n == samples || (used != 0 && s.ptr[s.len - 1] >> used != 0);
}

static bool is_small(int64_t v, unsigned bits)
{
    return (uint64_t)v + (UINT64_C(1) << bits) <= UINT64_C(2) << bits;
}

static void parse_body(struct cursor *c, struct column *col)
{
    if (col->form == BLOCK_DELTA) {
        col->first = read_value(c);
        uint64_t low = cursor_varint(c); /* a difference of two values may take all 64 bits */
        col->smallest = zigzag_decode(low);
    } else {
        col->smallest = read_value(c);
    }
    if (col->form == BLOCK_CONST) {
        return;
    }
    if (col->form == BLOCK_DICT) {
        col->dict_count = cursor_u8(c);
        if (col->dict_count < 2 || col->dict_count > BLOCK_DICT_MAX) {
            c->failed = true;
            return;
        }
    }
    size_t count = col->form == BLOCK_OFFSET ? col->n : col->form == BLOCK_DELTA ? col->n - 1 : col->dict_count - 1;
    col->code = read_code(c);
    col->digits = read_digits(c, count, col->code);
    unsigned bits = digits_bound_bits(col->code);
    if (col->form == BLOCK_OFFSET) {
        col->wide = bits > WIDE_BITS || !is_small(col->smallest, WIDE_BITS);
        return;
    }
    unsigned sum_bits = WIDE_BITS - COUNT_BITS;
    col->wide = bits > sum_bits || !is_small(col->smallest, col->form == BLOCK_DELTA ? sum_bits : WIDE_BITS) ||
                !is_small(col->first, WIDE_BITS);
    if (col->form == BLOCK_DICT) {
        col->index_code = digits_code(col->dict_count - 1);
        col->indices = read_digits(c, col->n, col->index_code);
    }
}

/* Reads a column's head up to and with its digits; sets the cursor's failure. */
static void parse_column(struct cursor *c, size_t samples, double *resolution, struct column *col)
{
    unsigned header = cursor_u8(c);
    /* Field by field: clearing the whole costs more than reading the head. */
    col->form = (enum block_form)(header & BLOCK_FORM_BITS);
    col->n = samples;
    col->bitmap = NULL;
    col->first = col->smallest = 0;
    col->wide = false;
    col->resolution_form = header >> BLOCK_RESOLUTION_SHIFT; /* bits 6-7 make it an unknown one */
    *resolution = resolution_read(c, col->resolution_form, *resolution);
    if (header & BLOCK_HAS_BITMAP) {
        read_bitmap(c, samples, col);
    }
    /* Fewer than two values are a constant. */
    c->failed |= col->form != BLOCK_CONST && col->n < 2;
    if (!c->failed && col->n > 0) {
        parse_body(c, col);
    }
}

static void sum_up(int64_t *values, size_t n)
{
    uint64_t sum = (uint64_t)values[0];
    for (size_t i = 1; i < n; i++) {
        sum += (uint64_t)values[i];
        values[i] = (int64_t)sum;
    }
}

static void expand_dict(const struct column *col, const uint8_t *end, int64_t *values)
{
    int64_t dict[4 * BLOCK_DICT_MAX]; /* indices of a group's odd bits may pass the radix (digits_bound_bits) */
    size_t count = col->dict_count;
    dict[0] = col->smallest;
    digits_read(col->digits, end, count - 1, col->code, 1, dict + 1);
    sum_up(dict, count);
    size_t room = (size_t)1 << digits_bound_bits(col->index_code);
    for (size_t i = count; i < room; i++) {
        dict[i] = dict[count - 1];
    }
    digits_read(col->indices, end, col->n, col->index_code, 0, values);
    for (size_t i = 0; i < col->n; i++) {
        values[i] = dict[values[i]];
    }
}

/* From the packed values at the front to their places. */
static void spread(const struct column *col, size_t samples, int64_t *values)
{
    size_t from = col->n;
    for (size_t i = samples; i-- > 0;) {
        values[i] = col->bitmap[i / 8] >> i % 8 & 1 ? values[--from] : BLOCK_MISSING;
    }
}

static bool in_range(const int64_t *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (values[i] > BLOCK_VALUE_MAX || values[i] < -BLOCK_VALUE_MAX) {
            return false;
        }
    }
    return true;
}

/* false: a wide column has a value out of range. */
static bool expand_column(const struct column *col, const uint8_t *end, size_t samples, int64_t *values)
{
    switch (col->form) {
    case BLOCK_CONST: digits_read(NULL, NULL, col->n, 0, (uint64_t)col->smallest, values); break;
    case BLOCK_OFFSET: digits_read(col->digits, end, col->n, col->code, (uint64_t)col->smallest, values); break;
    case BLOCK_DELTA:
        values[0] = col->first;
        digits_read(col->digits, end, col->n - 1, col->code, (uint64_t)col->smallest, values + 1);
        sum_up(values, col->n);
        break;
    case BLOCK_DICT: expand_dict(col, end, values); break;
    }
    if (col->wide && !in_range(values, col->n)) {
        return false;
    }
    if (col->bitmap != NULL) {
        spread(col, samples, values);
    }
    return true;
}

/* Does a wide column hold? Never on the way of real data. */
static __attribute__((noinline)) bool wide_holds(const struct column *col, const uint8_t *end, size_t samples)
{
    int64_t values[BLOCK_SAMPLES_MAX];
    return expand_column(col, end, samples, values);
}

enum err block_check(struct slice in, size_t samples, size_t *ret_channels)
{
    if (samples == 0 || samples > BLOCK_SAMPLES_MAX) {
        return ERR_RANGE;
    }
    struct cursor c = cursor_of(in);
    double resolution = 1;
    size_t channels = 0;
    do {
        struct column col;
        if (channels == BLOCK_CHANNELS_MAX) {
            return ERR_RANGE;
        }
        parse_column(&c, samples, &resolution, &col);
        if (c.failed || (col.wide && !wide_holds(&col, c.end, samples))) {
            return ERR_MALFORMED;
        }
        channels++;
    } while (c.at < c.end);
    if (ret_channels != NULL) {
        *ret_channels = channels;
    }
    return OK;
}

enum err block_decode(struct slice in, size_t samples, size_t channels_max, int64_t *values, double *ret_resolutions,
                      size_t *ret_channels)
{
    if (samples == 0 || samples > BLOCK_SAMPLES_MAX) {
        return ERR_RANGE;
    }
    struct cursor c = cursor_of(in);
    double resolution = 1;
    size_t channels = 0;
    do {
        struct column col;
        if (channels == channels_max || channels == BLOCK_CHANNELS_MAX) {
            return ERR_RANGE;
        }
        parse_column(&c, samples, &resolution, &col);
        if (c.failed || !expand_column(&col, c.end, samples, values + channels * samples)) {
            return ERR_MALFORMED;
        }
        if (ret_resolutions != NULL) {
            ret_resolutions[channels] = resolution;
        }
        channels++;
    } while (c.at < c.end);
    *ret_channels = channels;
    return OK;
}

static bool parse_plain_column(struct slice in, size_t samples, struct column *col)
{
    struct cursor c = cursor_of(in);
    double resolution = 1;
    parse_column(&c, samples, &resolution, col);
    return cursor_end(&c) == OK && col->resolution_form == BLOCK_RESOLUTION_SAME;
}

enum err block_column_decode(struct slice in, size_t samples, int64_t *values)
{
    struct column col;
    if (samples == 0 || samples > BLOCK_SAMPLES_MAX) {
        return ERR_RANGE;
    }
    bool fits = parse_plain_column(in, samples, &col) && expand_column(&col, in.ptr + in.len, samples, values);
    return fits ? OK : ERR_MALFORMED;
}

enum err block_column_check(struct slice in, size_t samples, size_t *ret_present)
{
    struct column col;
    if (samples == 0 || samples > BLOCK_SAMPLES_MAX) {
        return ERR_RANGE;
    }
    if (!parse_plain_column(in, samples, &col) || (col.wide && !wide_holds(&col, in.ptr + in.len, samples))) {
        return ERR_MALFORMED;
    }
    *ret_present = col.n;
    return OK;
}
