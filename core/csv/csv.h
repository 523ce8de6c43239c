/* SPDX-License-Identifier: Apache-2.0 */
/*
 * csv - recorded series: one line taken apart into cells, numbers and dates, and the files that a replay consists of.
 */
#ifndef CORE_CSV_CSV_H
#define CORE_CSV_CSV_H

#include "core/base/base.h"

enum { CSV_COLUMNS_MAX = 256 };

/* ---- line.c: knows no file ---- */
/* Splits line in place at separator; ret_cells point into line. White space and quotes (RFC 4180) around cells are
 * taken off. ERR_FULL: more than CSV_COLUMNS_MAX cells; ERR_MALFORMED: a quote that does not close. */
enum err csv_split(char *line, char separator, char *ret_cells[CSV_COLUMNS_MAX], size_t *ret_count) MUST_CHECK;
/* ',' or ';': whichever the line has more of outside quotes; ',' where it has none. */
char csv_separator(const char *line);

enum csv_cell { CSV_NUMBER, CSV_MISSING /* "", NaN, NA, null, -, inf */, CSV_TEXT };
/* decimal_comma: "0,25" is a number (files separated by ';'). *ret_value and *ret_decimals (significant places behind
 * the point) are written for CSV_NUMBER only. */
enum csv_cell csv_number(const char *cell, bool decimal_comma, double *ret_value, int *ret_decimals);
/* Year-month-day in one of the usual orders and separators, with or without a time of day. */
bool csv_datetime(const char *cell);
/* What csv_datetime takes, as us since 1970; UTC unless it ends with an offset. Where the year comes last, '/' has the
 * month first, any other separator the day. False for what is no date, or before 1970. */
bool csv_time(const char *cell, int64_t *ret_us);

/* ---- files.c ---- */
struct csv_files {
    char **paths; /* owned, sorted */
    size_t count;
};
/* path: a file, or a folder, of which every *.csv at most 8 levels down is taken, in the order of the paths' bytes;
 * names that begin with a dot are passed over. *f is zeroed by the caller and deinited also on failure.
 * ERR_NOT_FOUND: nothing there; ERR_FULL: more than 10,000. */
enum err csv_files_find(const char *path, struct csv_files *f, struct fault *reterr) MUST_CHECK;
void csv_files_deinit(struct csv_files *f);

#endif
