/* SPDX-License-Identifier: Apache-2.0 */
/* text - the report for a terminal: key figures in columns, latencies as a table, what the plots range over. */
#include "simulators/figures/figures_internal.h"

enum { WIDTH_PRESET = 80, LABEL_COLUMN = 2, NAME_COLUMN = 14, INDENT_MAX = 40 };

/* What comes from outside does not steer the terminal. */
static void put_clean_part(struct buffer *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)text[i];
        bool control = c < 0x20 || c == 0x7f || (c == 0xc2 && i + 1 < len && (uint8_t)text[i + 1] < 0xa0);
        buffer_put_u8(out, control ? (uint8_t)'?' : c);
        i += c == 0xc2 && control;
    }
}

static void put_clean(struct buffer *out, const char *text)
{
    put_clean_part(out, text, strlen(text));
}

/* Words of text from `column` on, broken before `width`; what follows is indented. */
static void put_wrapped(struct buffer *out, const char *text, unsigned column, unsigned indent, unsigned width)
{
    for (const char *at = text; *at != '\0';) {
        at += strspn(at, " \n");
        size_t len = strcspn(at, " \n");
        if (len == 0) {
            break;
        }
        if (column > indent && column + 1 + len > width) {
            buffer_printf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            buffer_put_u8(out, ' ');
            column++;
        }
        put_clean_part(out, at, len);
        column += (unsigned)len;
        at += len;
    }
    buffer_put_u8(out, '\n');
}

/* Bytes that begin a character. */
static unsigned columns(const char *text)
{
    unsigned count = 0;
    for (const char *c = text; *c != '\0'; c++) {
        count += ((uint8_t)*c & 0xc0) != 0x80;
    }
    return count;
}

static void put_keys(const struct figures *f, unsigned width, struct buffer *out)
{
    unsigned label = 0, value = 0;
    char text[FIGURES_VALUE];
    for (size_t i = 0; i < f->key_count; i++) {
        unsigned label_is = columns(f->keys[i].label), value_is = columns(figures_key_value(&f->keys[i], text));
        label = label_is > label && label_is <= INDENT_MAX ? label_is : label;
        value = value_is > value && value_is <= INDENT_MAX / 2 ? value_is : value;
    }
    const char *group = "";
    for (size_t i = 0; i < f->key_count; i++) {
        const struct key *key = &f->keys[i];
        if (strcmp(group, key->group) != 0) {
            group = key->group;
            buffer_put_u8(out, '\n');
            put_clean(out, group);
            buffer_put_u8(out, '\n');
        }
        figures_key_value(key, text);
        int label_pad = (int)label - (int)columns(key->label), value_pad = (int)value - (int)columns(text);
        unsigned column = LABEL_COLUMN + label + 2 + value;
        unsigned indent = column + 2 + 24 <= width ? column + 2 : LABEL_COLUMN + 2;
        buffer_put_str(out, "  ");
        put_clean(out, key->label);
        buffer_printf(out, "%*s  %*s", label_pad > 0 ? label_pad : 0, "", value_pad > 0 ? value_pad : 0, "");
        put_clean(out, text);
        if (key->why[0] != '\0' && indent < column) {
            buffer_printf(out, "\n%*s", (int)indent, "");
        } else if (key->why[0] != '\0') {
            buffer_put_str(out, "  ");
        }
        put_wrapped(out, key->why, indent, indent, width);
    }
}

static void put_distributions(const struct figures *f, struct buffer *out)
{
    static const char *const HEADS[] = {"p50", "p90", "p99", "p99.9", "p99.99", "max"};
    unsigned title = 0;
    for (size_t i = 0; i < f->distribution_count; i++) {
        unsigned is = columns(f->distributions[i].title);
        title = is > title ? is : title;
    }
    if (f->distribution_count == 0) {
        return;
    }
    buffer_printf(out, "\nLatency\n  %*s", (int)title, "");
    for (size_t i = 0; i < COUNT_OF(HEADS); i++) {
        buffer_printf(out, " %10s", HEADS[i]);
    }
    buffer_put_u8(out, '\n');
    for (size_t i = 0; i < f->distribution_count; i++) {
        const struct distribution *d = &f->distributions[i];
        buffer_put_str(out, "  ");
        put_clean(out, d->title);
        buffer_printf(out, "%*s", (int)(title - columns(d->title)), "");
        if (d->histogram->count == 0) {
            buffer_put_str(out, "       none\n");
            continue;
        }
        for (size_t at = 0; at <= COUNT_OF(figures_percents); at++) {
            char text[FIGURES_SHORT];
            bool last = at == COUNT_OF(figures_percents);
            int64_t us = last ? d->histogram->max_us : histogram_percentile(d->histogram, figures_percents[at]);
            buffer_printf(out, " %10s", figures_show_duration(us, text));
        }
        buffer_put_u8(out, '\n');
    }
}

static void put_plots(const struct figures *f, struct buffer *out)
{
    for (size_t i = 0; i < f->plot_count; i++) {
        const struct plot *plot = &f->plots[i];
        buffer_put_str(out, i == 0 ? "\nOver time\n  " : "  ");
        put_clean(out, plot->title);
        buffer_put_u8(out, '\n');
        for (size_t line = 0; line < plot->line_count; line++) {
            double min, mean, max;
            char low[FIGURES_SHORT], middle[FIGURES_SHORT], high[FIGURES_SHORT];
            if (figures_series_range(plot->lines[line].series, &min, &mean, &max)) {
                int pad = NAME_COLUMN - (int)columns(plot->lines[line].name);
                buffer_put_str(out, "    ");
                put_clean(out, plot->lines[line].name);
                buffer_printf(out, "%*s least %s, mean %s, most %s\n", pad > 0 ? pad : 0, "",
                              figures_show_value(plot->unit, min, low), figures_show_value(plot->unit, mean, middle),
                              figures_show_value(plot->unit, max, high));
            }
        }
    }
}

void figures_render_text(const struct figures *f, unsigned width, struct buffer *out)
{
    static const char *const VERDICTS[] = {"GOOD", "BAD", "BROKEN OFF", "GAPS"};
    width = width > 0 ? width : WIDTH_PRESET;
    put_wrapped(out, f->title, 0, 0, width);
    if (f->when[0] != '\0') {
        put_clean(out, f->when);
        buffer_put_u8(out, '\n');
    }
    if (f->summary[0] != '\0') {
        buffer_printf(out, "\n%s: ", VERDICTS[f->verdict]);
        put_wrapped(out, f->summary, (unsigned)strlen(VERDICTS[f->verdict]) + 2,
                    (unsigned)strlen(VERDICTS[f->verdict]) + 2, width);
    }
    put_keys(f, width, out);
    put_distributions(f, out);
    put_plots(f, out);
    for (size_t i = 0; i < f->note_count; i++) {
        const char *word = figures_level_word(f->notes[i].level);
        unsigned indent = (unsigned)strlen(word) + 2;
        buffer_printf(out, "%s%s: ", i == 0 ? "\n" : "", word);
        put_wrapped(out, f->notes[i].text, indent, indent, width);
    }
}
