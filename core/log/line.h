/* SPDX-License-Identifier: Apache-2.0 */
/*
 * line - the text of one log line, in place, without allocation. What does not fit is cut and marked with "...".
 */
#ifndef CORE_LOG_LINE_H
#define CORE_LOG_LINE_H

#include "core/log/log.h"

struct line {
    char text[LOG_LINE];
    size_t len;
    bool cut;
};

void line_put(struct line *l, const char *text);
/* Control bytes and broken UTF-8 as \xNN; in quotes also " and \ escaped. */
void line_escaped(struct line *l, struct slice s);
void line_kv(struct line *l, const struct log_kv *kv);
/* Ends the line with '\n'; the result is valid as long as l. */
struct slice line_end(struct line *l);

#endif
