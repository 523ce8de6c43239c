/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "core/base/json.h"
#include "simulators/size/lines.h"
#include "simulators/size/settings.h"

enum { WIDTH = 100, LABEL = 46, VALUE = 14 };

/* Breaks a sentence into lines. */
static void wrapped(const char *text, struct buffer *out)
{
    size_t column = 0;
    while (*text != '\0') {
        size_t len = strcspn(text, " ");
        if (column > 0 && column + 1 + len > WIDTH) {
            buffer_put_str(out, "\n  ");
            column = 2;
        } else if (column > 0) {
            buffer_put_str(out, " ");
            column++;
        }
        buffer_put(out, text, len);
        column += len;
        text += len + (text[len] == ' ');
    }
    buffer_put_str(out, "\n");
}

static void constants_words(const struct size_constants *c, struct buffer *out)
{
    buffer_put_str(out, "\nmeasured beforehand, or now\n");
    for (size_t i = 0; i < SIZE_CONSTANTS; i++) {
        const struct size_constant_text *t = &size_constant_texts[i];
        buffer_printf(out, "  %-*s %*.4g %-2s %s\n", LABEL, t->help, VALUE - 3, c->of[i].value, t->unit,
                      c->of[i].source);
    }
}

void lines_words(const struct lines *lines, const struct size_constants *c, struct slice notes, struct buffer *out)
{
    for (size_t i = 0; i < lines->sentences; i++) {
        wrapped(lines->sentence[i], out);
    }
    const char *section = "";
    for (size_t i = 0; i < lines->count; i++) {
        const struct line *line = &lines->line[i];
        if (strcmp(section, line->section) != 0) {
            section = line->section;
            buffer_printf(out, "\n%s\n", section);
        }
        buffer_printf(out, "  %-*s %*s = %s\n", LABEL, line->label, VALUE, line_value(line->unit, line->value).t,
                      line->formula);
    }
    constants_words(c, out);
    if (notes.len > 0) {
        buffer_put_str(out, "\nmeasured here\n");
        buffer_put_slice(out, notes);
    }
}

static void sections_json(const struct lines *lines, struct json *j)
{
    const char *section = "";
    for (size_t i = 0; i < lines->count; i++) {
        const struct line *line = &lines->line[i];
        if (strcmp(section, line->section) != 0) {
            if (section[0] != '\0') {
                json_object_end(j);
            }
            section = line->section;
            json_object(j, section);
        }
        json_f64(j, line->key, line->value); /* for ever, without bound: null */
    }
    json_object_end(j);
}

static void formulas_json(const struct lines *lines, struct json *j)
{
    json_object(j, "formulas");
    for (size_t i = 0; i < lines->count; i++) {
        char key[96];
        snprintf(key, sizeof key, "%s.%s", lines->line[i].section, lines->line[i].key);
        json_str(j, key, lines->line[i].formula);
    }
    json_object_end(j);
}

static void constants_json(const struct size_constants *c, struct json *j)
{
    json_object(j, "constants");
    for (size_t i = 0; i < SIZE_CONSTANTS; i++) {
        json_object(j, size_constant_texts[i].key);
        json_f64(j, "value", c->of[i].value);
        json_str(j, "source", c->of[i].source);
        json_object_end(j);
    }
    json_object_end(j);
}

void lines_json(const struct lines *lines, const struct size_constants *c, const struct size_answer *a,
                struct slice notes, struct buffer *out)
{
    struct json j;
    json_init(&j, out);
    json_object(&j, NULL);
    sections_json(lines, &j);
    json_str(&j, "nearest_bound", line_bound_names[a->bound]);
    formulas_json(lines, &j);
    constants_json(c, &j);
    json_array(&j, "words");
    for (size_t i = 0; i < lines->sentences; i++) {
        json_str(&j, NULL, lines->sentence[i]);
    }
    json_array_end(&j);
    json_slice(&j, "measured", notes);
    json_object_end(&j);
    buffer_put_str(out, "\n");
}
