/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table - rows of cells, each column as wide as its widest cell.
 */
#include <stdarg.h>
#include <stdio.h>

#include "cloud-bridge/console/console_internal.h"

enum { CELL_MAX = 400 };

void table_deinit(struct table *t)
{
    for (size_t i = 0; i < t->count; i++) {
        free(t->cells[i].text);
    }
    free(t->cells);
    *t = (struct table){.columns = t->columns, .width = t->width};
}

/* A terminal obeys control characters: what a daemon says must not contain any. C1 controls are 0xc2 0x80..0x9f. */
static void make_harmless(char *text)
{
    for (unsigned char *c = (unsigned char *)text; *c != '\0'; c++) {
        if (*c < 0x20 || *c == 0x7f) {
            *c = '?';
        } else if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) {
            c[0] = '?';
            c[1] = '?';
        }
    }
}

void table_add(struct table *t, enum paint paint, const char *fmt, ...)
{
    if (t->count == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 64;
        struct cell *cells = realloc(t->cells, cap * sizeof(*cells));
        if (cells == NULL) {
            t->err = ERR_NOMEM;
            return;
        }
        t->cells = cells;
        t->cap = cap;
    }
    char text[CELL_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    make_harmless(text);
    t->cells[t->count] = (struct cell){.text = strdup(text), .paint = paint};
    if (t->cells[t->count].text == NULL) {
        t->err = ERR_NOMEM;
        return;
    }
    t->count++;
}

static size_t characters(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++) {
        count += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return count;
}

static size_t column_width(const struct table *t, size_t column)
{
    size_t widest = 0;
    for (size_t i = column; i < t->count; i += t->width) {
        size_t width = characters(t->cells[i].text);
        widest = width > widest ? width : widest;
    }
    return widest;
}

static void put_cell(const struct table *t, size_t index, size_t width, bool color, struct buffer *out)
{
    const struct cell *cell = &t->cells[index];
    size_t column = index % t->width;
    bool last = column + 1 == t->width, painted = color && cell->paint != PAINT_NONE;
    int pad = (int)(width - characters(cell->text));
    if (t->columns[column] == 'r') {
        buffer_printf(out, "%*s", pad, "");
    }
    buffer_put_str(out, !painted ? "" : cell->paint == PAINT_GOOD ? "\033[32m" : "\033[1;31m");
    buffer_put_str(out, cell->text);
    buffer_put_str(out, painted ? "\033[0m" : "");
    if (t->columns[column] == 'l' && !last) {
        buffer_printf(out, "%*s", pad, "");
    }
    buffer_put_str(out, last ? "\n" : "  ");
}

void table_print(const struct table *t, bool color, struct buffer *out)
{
    size_t widths[32] = {0};
    for (size_t column = 0; column < t->width && column < COUNT_OF(widths); column++) {
        widths[column] = column_width(t, column);
    }
    for (size_t i = 0; i < t->count; i++) {
        put_cell(t, i, widths[i % t->width], color, out);
    }
}

void put_age(int64_t seconds, char *out, size_t size)
{
    long long s = seconds < 0 ? 0 : seconds;
    if (s < 120) {
        snprintf(out, size, "%llds", s);
    } else if (s < 7200) {
        snprintf(out, size, "%lldmin", s / 60);
    } else if (s < 2 * 86400) {
        snprintf(out, size, "%lldh%02lld", s / 3600, s / 60 % 60);
    } else {
        snprintf(out, size, "%lldd%02lldh", s / 86400, s / 3600 % 24);
    }
}
