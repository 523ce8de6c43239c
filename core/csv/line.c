/* SPDX-License-Identifier: Apache-2.0 */
#include "core/csv/csv.h"

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

/* What a date says, as it was written. */
struct date {
    int year, month, day, hour, minute;
    double second;
    int offset_minutes;
};

/* "", "Z", "+01:00", "-0530" behind a time of day. */
static bool read_offset(const char *text, int *ret_minutes)
{
    int hours, minutes = 0;
    *ret_minutes = 0;
    while (*text == ' ') {
        text++;
    }
    if (*text == '\0' || strcmp(text, "Z") == 0) {
        return true;
    }
    if ((*text != '+' && *text != '-') || sscanf(text + 1, "%2d%*1[:]%2d", &hours, &minutes) < 1) {
        return false;
    }
    if (strchr(text, ':') == NULL && strlen(text) == 5) {
        minutes = (int)strtol(text + 3, NULL, 10);
    }
    *ret_minutes = (*text == '-' ? -1 : 1) * (hours * 60 + minutes);
    return strspn(text, "+-0123456789:") == strlen(text);
}

static bool read_clock(const char *text, struct date *d)
{
    int used = 0;
    if ((*text != ' ' && *text != 'T') || sscanf(text + 1, "%2d:%2d%n", &d->hour, &d->minute, &used) != 2 ||
        d->hour < 0 || d->hour > 24 || d->minute < 0 || d->minute > 59) {
        return false;
    }
    text += 1 + used;
    if (*text == ':') {
        char *end = NULL;
        d->second = strtod(text + 1, &end); /* programs keep the C locale */
        if (end == text + 1 || !(d->second >= 0 && d->second < 61)) {
            return false;
        }
        text = *end == ',' ? end + 1 + strspn(end + 1, "0123456789") : end;
    }
    return read_offset(text, &d->offset_minutes);
}

static bool read_date(const char *cell, struct date *ret_date)
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
    bool month_first = year_last && (first == '/' ? a <= 12 : b > 12);
    *ret_date = year_first    ? (struct date){.year = a, .month = b, .day = c}
                : month_first ? (struct date){.year = c, .month = a, .day = b}
                              : (struct date){.year = c, .month = b, .day = a};
    return cell[used] == '\0' || read_clock(cell + used, ret_date);
}

bool csv_datetime(const char *cell)
{
    struct date d;
    return read_date(cell, &d);
}

/* Days since 1970: H. Hinnant, "chrono-compatible low-level date algorithms" (days_from_civil). */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = year - (month <= 2), era = y / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

bool csv_time(const char *cell, int64_t *ret_us)
{
    struct date d;
    if (!read_date(cell, &d) || d.month < 1 || d.month > 12) {
        return false;
    }
    int64_t minutes = (days_of(d.year, d.month, d.day) * 24 + d.hour) * 60 + d.minute - d.offset_minutes;
    int64_t us = minutes * MINUTE_US + (int64_t)round(d.second * 1e6);
    if (us < 0) {
        return false;
    }
    *ret_us = us;
    return true;
}
