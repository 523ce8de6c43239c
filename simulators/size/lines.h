/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lines - the answer as lines: a name, a value, and the formula with the numbers in it. Words and JSON are two ways to
 * print the same lines, so neither can say what the other does not.
 */
#ifndef SIMULATORS_SIZE_LINES_H
#define SIMULATORS_SIZE_LINES_H

#include "core/base/base.h"
#include "core/base/buffer.h"
#include "simulators/size/model.h"

enum line_unit { LINE_COUNT, LINE_BYTES, LINE_BYTES_PER_S, LINE_SECONDS, LINE_PER_S, LINE_TIMES };
struct line {
    const char *section, *key, *label; /* section and key are JSON names */
    enum line_unit unit;
    double value;
    char formula[224];
};
enum { LINES_MAX = 80, SENTENCE_MAX = 640, SENTENCES_MAX = 10 };
struct lines {
    struct line line[LINES_MAX];
    size_t count;
    char sentence[SENTENCES_MAX][SENTENCE_MAX]; /* the answer in words */
    size_t sentences;
};
void lines_fill(const struct size_input *in, const struct size_constants *c, const struct size_answer *a,
                struct lines *ret_lines);
/* sentences.c: what lines_fill ends with. */
void lines_say(const struct size_input *in, const struct size_answer *a, struct lines *lines);

/* A number for people: "12.3", "1,234,567", "for ever"; with unit "3.4 d", "1.20 MiB", "9.1 KiB/s", "12 times". */
struct line_text {
    char t[48];
};
struct line_text line_value(enum line_unit unit, double value);
extern const char *const line_bound_names[SIZE_BOUNDS]; /* of JSON */

/* ---- print.c ---- */
void lines_words(const struct lines *lines, const struct size_constants *c, struct slice notes, struct buffer *out);
void lines_json(const struct lines *lines, const struct size_constants *c, const struct size_answer *a,
                struct slice notes, struct buffer *out);

#endif
