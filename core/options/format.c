/* SPDX-License-Identifier: Apache-2.0 */
/*
 * format - typed fields, bounds and types as text: for the dump, the sample, the help and the sentences.
 *
 * What option_write writes, option_parse reads back to the same value (the unit is the largest that divides).
 */
#include "core/options/options_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

struct scale {
    const char *name;
    int64_t factor;
};
static const struct scale DURATIONS[] = {{"d", DAY_US},  {"h", HOUR_US}, {"min", MINUTE_US}, {"s", SECOND_US},
                                         {"ms", MS_US}, {"us", 1},      {NULL, 0}};
static const struct scale SIZES[] = {{"TiB", INT64_C(1) << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20},
                                     {"KiB", 1 << 10},          {"B", 1},         {NULL, 0}};

static void write_scaled(const struct scale *scales, int64_t value, struct buffer *out)
{
    const struct scale *scale = scales;
    while (scale[1].name != NULL && (value == 0 || value % scale->factor != 0)) {
        scale++;
    }
    buffer_printf(out, "%" PRId64 "%s", value / scale->factor, scale->name);
}

static void write_double(double value, struct buffer *out)
{
    if (isinf(value)) {
        buffer_put_str(out, value > 0 ? ".inf" : "-.inf");
        return;
    }
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    buffer_put_str(out, text);
}

void option_write_number(enum option_type type, double value, struct buffer *out)
{
    if (type == OPTION_DURATION && fabs(value) < 9e18) {
        write_scaled(DURATIONS, llround(value), out);
    } else if (type == OPTION_BYTES && fabs(value) < 9e18) {
        write_scaled(SIZES, llround(value), out);
    } else if (type != OPTION_NUMBER && fabs(value) < 9e15) {
        buffer_printf(out, "%lld", llround(value));
    } else {
        write_double(value, out);
    }
}

bool option_has_min(const struct option *row, double *ret_min)
{
    *ret_min = row->min;
    return row->min != 0 || row->max != 0;
}

bool option_has_max(const struct option *row, double *ret_max)
{
    *ret_max = row->max;
    return (row->max != 0 || row->min < 0) && !isinf(row->max);
}

void option_write_range(const struct option *row, struct buffer *out)
{
    double min, max;
    bool has_min = option_has_min(row, &min), has_max = option_has_max(row, &max);
    if (has_min && has_max) {
        option_write_number(row->type, min, out);
        buffer_put_str(out, "..");
        option_write_number(row->type, max, out);
    } else if (has_min) {
        buffer_put_str(out, "at least ");
        option_write_number(row->type, min, out);
    } else if (row->type == OPTION_DURATION) {
        buffer_put_str(out, "what can be told apart: 1us and more");
    } else if (row->type == OPTION_BYTES) {
        buffer_put_str(out, "what can be told apart: 1B and more");
    } else if (row->type == OPTION_INT) {
        buffer_put_str(out, "what 64 bits hold");
    }
}

const char *option_type_word(const struct option *row)
{
    switch (row->type) {
    case OPTION_STRING: return "text";
    case OPTION_PATH: return "path";
    case OPTION_FILE: return "file";
    case OPTION_ID: return "identity";
    case OPTION_BOOL: return "true|false";
    case OPTION_INT: return "whole number";
    case OPTION_NUMBER: return "number";
    case OPTION_DURATION: return "duration";
    case OPTION_BYTES: return "size";
    case OPTION_ENUM: return row->words;
    case OPTION_LIST: return "list";
    case OPTION_SECTIONS: return "sections";
    }
    return "value";
}

/* Length and code point of the UTF-8 character at s; a byte that begins none stands for itself. */
static size_t decode(const uint8_t *s, uint32_t *ret_point)
{
    size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc2 ? 2 : 1;
    uint32_t point = len == 1 ? s[0] : s[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            *ret_point = s[0];
            return 1;
        }
        point = point << 6 | (s[i] & 0x3f);
    }
    *ret_point = point;
    return len;
}

static bool needs_escape(uint32_t point, size_t len)
{
    bool control = point < 0x20 || (point >= 0x7f && point < 0xa0) || (len == 1 && point >= 0x80);
    bool line_break = point == 0x2028 || point == 0x2029;
    return control || line_break || point == 0xfeff || point == '"' || point == '\\';
}

static void write_quoted(const char *text, struct buffer *out)
{
    buffer_put_u8(out, '"');
    for (const uint8_t *c = (const uint8_t *)text; *c != '\0';) {
        uint32_t point;
        size_t len = decode(c, &point);
        if (needs_escape(point, len)) {
            buffer_printf(out, point > 0xff ? "\\u%04x" : "\\x%02x", (unsigned)point);
        } else {
            buffer_put(out, c, len);
        }
        c += len;
    }
    buffer_put_u8(out, '"');
}

/* Plain YAML where that reads back as the same text, otherwise quoted. */
void option_write_text(const char *text, struct buffer *out)
{
    bool plain = text[0] != '\0' && strcmp(text, "null") != 0;
    for (const char *c = text; *c != '\0'; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || *c == '_' || *c == '/';
        bool digit = *c >= '0' && *c <= '9';
        plain = plain && (letter || digit || (*c == '.' && c != text) || (*c == '-' && c != text));
    }
    if (plain) {
        buffer_put_str(out, text);
    } else {
        write_quoted(text, out);
    }
}

static void write_word(const struct option *row, int index, struct buffer *out)
{
    const char *at = row->words;
    for (int i = 0; i < index && *at != '\0'; i++) {
        at += strcspn(at, "|");
        at += *at == '|';
    }
    buffer_put(out, at, strcspn(at, "|"));
}

static void write_list(const struct option_list *list, struct buffer *out)
{
    buffer_put_u8(out, '[');
    for (size_t i = 0; i < list->count; i++) {
        buffer_put_str(out, i > 0 ? ", " : "");
        option_write_text(list->items[i], out);
    }
    buffer_put_u8(out, ']');
}

bool option_write(const struct option *row, const void *settings, struct buffer *out)
{
    const void *field = (const char *)settings + row->offset;
    switch (row->type) {
    case OPTION_STRING:
    case OPTION_PATH:
    case OPTION_FILE:
    case OPTION_ID: {
        const char *text = *(const char *const *)field;
        if (text == NULL) {
            return false;
        }
        option_write_text(text, out);
        return true;
    }
    case OPTION_BOOL: buffer_put_str(out, *(const bool *)field ? "true" : "false"); return true;
    case OPTION_INT: buffer_printf(out, "%" PRId64, *(const int64_t *)field); return true;
    case OPTION_NUMBER: write_double(*(const double *)field, out); return true;
    case OPTION_DURATION: write_scaled(DURATIONS, *(const int64_t *)field, out); return true;
    case OPTION_BYTES: write_scaled(SIZES, *(const int64_t *)field, out); return true;
    case OPTION_ENUM: write_word(row, *(const int *)field, out); return true;
    case OPTION_LIST: write_list(field, out); return true;
    case OPTION_SECTIONS: sections_write(row, field, out); return true;
    }
    return false;
}

static bool list_equal(const struct option_list *a, const struct option_list *b)
{
    bool equal = a->count == b->count;
    for (size_t i = 0; equal && i < a->count; i++) {
        equal = strcmp(a->items[i], b->items[i]) == 0;
    }
    return equal;
}

bool option_equal(const struct option *row, const void *a, const void *b)
{
    const void *x = (const char *)a + row->offset, *y = (const char *)b + row->offset;
    switch (row->type) {
    case OPTION_STRING:
    case OPTION_PATH:
    case OPTION_FILE:
    case OPTION_ID: {
        const char *s = *(const char *const *)x, *t = *(const char *const *)y;
        return s == t || (s != NULL && t != NULL && strcmp(s, t) == 0);
    }
    case OPTION_BOOL: return *(const bool *)x == *(const bool *)y;
    case OPTION_NUMBER: return *(const double *)x == *(const double *)y;
    case OPTION_INT:
    case OPTION_DURATION:
    case OPTION_BYTES: return *(const int64_t *)x == *(const int64_t *)y;
    case OPTION_ENUM: return *(const int *)x == *(const int *)y;
    case OPTION_LIST: return list_equal(x, y);
    case OPTION_SECTIONS: return sections_equal(row, x, y);
    }
    return true;
}

void buffer_put_shown(struct buffer *b, struct slice text, size_t max)
{
    size_t len = text.len;
    if (len > max) {
        for (len = max; len > 0 && (text.ptr[len] & 0xc0) == 0x80;) {
            len--; /* not in the middle of a character */
        }
    }
    for (size_t i = 0; i < len; i++) {
        uint8_t c = text.ptr[i];
        /* C1 controls (U+0080..U+009F) begin with 0xc2 in UTF-8: a terminal obeys them as well. */
        bool control = c < 0x20 || c == 0x7f || (c == 0xc2 && i + 1 < len && text.ptr[i + 1] < 0xa0);
        buffer_put_u8(b, c == '\t' ? ' ' : control ? '?' : c);
        i += c == 0xc2 && control;
    }
    if (len < text.len) {
        buffer_put_str(b, "...");
    }
}
