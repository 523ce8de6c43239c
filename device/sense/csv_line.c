/* SPDX-License-Identifier: Apache-2.0 */
#include "device/sense/csv_line.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <strings.h>

/* Takes a quoted cell's quotes off in place; *at is behind the opening quote and is moved behind the closing one. */
static enum err unquote(char **at)
{
    char *from = *at, *to = *at;
    for (;; from++) {
        if (*from == '\0') {
            return ERR_MALFORMED;
        }
        if (*from == '"' && *++from != '"') {
            break; /* a doubled quote stands for itself */
        }
        *to++ = *from;
    }
    if (to < from) {
        *to = '\0';
    }
    *at = from;
    return OK;
}

enum err csv_split(char *line, char separator, char *ret_cells[CSV_COLUMNS_MAX], size_t *ret_count)
{
    size_t count = 0;
    for (char *at = line;; at++) {
        if (count == CSV_COLUMNS_MAX) {
            return ERR_FULL;
        }
        while (*at == ' ' || *at == '\t') {
            at++;
        }
        if (*at == '"') {
            ret_cells[count] = ++at;
            TRY(unquote(&at));
        } else {
            ret_cells[count] = at;
        }
        char *start = ret_cells[count++], *end = at;
        while (*end != '\0' && *end != separator) {
            end++;
        }
        bool last = *end == '\0';
        *end = '\0';
        for (char *tail = end; tail > start && isspace((unsigned char)tail[-1]); tail--) {
            tail[-1] = '\0';
        }
        at = end;
        if (last) {
            *ret_count = count;
            return OK;
        }
    }
}

char csv_separator(const char *line)
{
    unsigned commas = 0, semicolons = 0;
    bool quoted = false;
    for (const char *c = line; *c != '\0'; c++) {
        quoted ^= *c == '"';
        commas += !quoted && *c == ',';
        semicolons += !quoted && *c == ';';
    }
    return semicolons > 0 && semicolons >= commas ? ';' : ',';
}

/* Places behind the point that are not trailing zeros, less the exponent: "1.250e-3" has 5. */
static int decimals_of(const char *number)
{
    int places = 0, significant = 0;
    const char *c = strchr(number, '.');
    if (c != NULL) {
        for (c++; isdigit((unsigned char)*c); c++) {
            places++;
            significant = *c != '0' ? places : significant;
        }
    }
    const char *e = strpbrk(number, "eE");
    long exponent = e ? strtol(e + 1, NULL, 10) : 0;
    if (exponent > 300 || exponent < -300) {
        return 0;
    }
    int decimals = significant - (int)exponent;
    return decimals > 0 ? decimals : 0;
}

enum csv_cell csv_number(const char *cell, bool decimal_comma, double *ret_value, int *ret_decimals)
{
    static const char *const missing[] = {"", "-", "nan", "na", "n/a", "null", "none", "inf", "-inf", "+inf"};
    for (size_t i = 0; i < COUNT_OF(missing); i++) {
        if (strcasecmp(cell, missing[i]) == 0) {
            return CSV_MISSING;
        }
    }
    char copy[64];
    size_t len = strlen(cell);
    if (len >= sizeof copy || strspn(cell, "0123456789+-.,eE") != len) {
        return CSV_TEXT; /* strtod alone would take hexadecimal and words as well */
    }
    memcpy(copy, cell, len + 1);
    char *comma = strchr(copy, ',');
    if (comma != NULL && decimal_comma && strchr(copy, '.') == NULL) {
        *comma = '.';
    }
    char *end = NULL;
    double value = strtod(copy, &end); /* programs keep the C locale */
    if (end == copy || *end != '\0' || !isfinite(value)) {
        return CSV_TEXT;
    }
    *ret_value = value;
    *ret_decimals = decimals_of(copy);
    return CSV_NUMBER;
}

bool csv_datetime(const char *cell)
{
    int a, b, c, used = 0;
    char first, second;
    if (sscanf(cell, "%4d%c%2d%c%4d%n", &a, &first, &b, &second, &c, &used) != 5 || used == 0 || first != second ||
        strchr("-/.", first) == NULL) {
        return false;
    }
    bool year_first = a >= 1000 && b <= 12 && c >= 1 && c <= 31;
    bool year_last = a >= 1 && a <= 31 && b <= 31 && c >= 1000;
    if (b < 1 || (!year_first && !year_last)) {
        return false;
    }
    const char *time = cell + used;
    if (*time == '\0') {
        return true;
    }
    int hour, minute, time_used = 0;
    if ((*time != ' ' && *time != 'T') || sscanf(time + 1, "%2d:%2d%n", &hour, &minute, &time_used) != 2 || hour < 0 ||
        hour > 24 || minute < 0 || minute > 59) {
        return false;
    }
    /* seconds, their fraction, Z or an offset */
    const char *rest = time + 1 + time_used;
    return strspn(rest, "0123456789:.,+-Z ") == strlen(rest);
}
