/* SPDX-License-Identifier: Apache-2.0 */
/*
 * csv_line - one line of a CSV file: cells, numbers, dates. Knows no file.
 */
#ifndef DEVICE_SENSE_CSV_LINE_H
#define DEVICE_SENSE_CSV_LINE_H

#include "core/base/base.h"

enum { CSV_COLUMNS_MAX = 256 };

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

#endif
