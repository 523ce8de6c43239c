/* SPDX-License-Identifier: Apache-2.0 */
/* show - numbers as people read them: grouped digits, and three digits with a unit that fits. */
#include <inttypes.h>
#include <math.h>

#include "simulators/figures/figures_internal.h"

/* Three digits, without zeros that say nothing: 1.25, 12.5, 125. */
static void three_digits(double value, const char *unit, char text[FIGURES_SHORT])
{
    double size = fabs(value);
    int decimals = size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2;
    char number[FIGURES_SHORT];
    int len = snprintf(number, sizeof(number), "%.*f", decimals, value);
    while (decimals > 0 && len > 0 && (number[len - 1] == '0' || number[len - 1] == '.')) {
        decimals = number[len - 1] == '.' ? 0 : decimals;
        number[--len] = '\0';
    }
    (void)snprintf(text, FIGURES_SHORT, "%.20s%s%.8s", number, unit[0] ? " " : "", unit);
}

static void grouped(double value, char text[FIGURES_SHORT])
{
    char digits[FIGURES_SHORT];
    size_t len = (size_t)snprintf(digits, sizeof(digits), "%.0f", fabs(value)), at = 0;
    if (value < 0) {
        text[at++] = '-';
    }
    for (size_t i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0) {
            text[at++] = ',';
        }
        text[at++] = digits[i];
    }
    text[at] = '\0';
}

char *figures_show_count(double value, char text[FIGURES_SHORT])
{
    if (!isfinite(value) || fabs(value) >= 1e18) {
        (void)snprintf(text, FIGURES_SHORT, "%.3g", value);
    } else if (value == floor(value) || fabs(value) >= 999.5) {
        grouped(round(value), text);
    } else if (fabs(value) >= 0.01) {
        three_digits(value, "", text);
    } else {
        (void)snprintf(text, FIGURES_SHORT, "%.3g", value);
    }
    return text;
}

char *figures_show_short(double value, double most, char text[FIGURES_SHORT])
{
    static const struct {
        double least, factor;
        const char *name;
    } SCALES[] = {{1e12, 1e12, "T"}, {1e9, 1e9, "G"}, {1e6, 1e6, "M"}, {1e4, 1e3, "k"}};
    double size = fmax(fabs(value), most);
    for (size_t i = 0; i < COUNT_OF(SCALES) && value != 0; i++) {
        if (size >= SCALES[i].least * 0.9995) {
            three_digits(value / SCALES[i].factor, SCALES[i].name, text);
            return text;
        }
    }
    return figures_show_count(value, text);
}

char *figures_show_duration(int64_t value_us, char text[FIGURES_SHORT])
{
    double us = (double)value_us;
    int64_t seconds = (value_us + SECOND_US / 2) / SECOND_US;
    if (value_us < MS_US) {
        (void)snprintf(text, FIGURES_SHORT, "%" PRId64 " us", value_us);
    } else if (us < 999.5e3) {
        three_digits(us / 1e3, "ms", text);
    } else if (us < 59.95e6) {
        three_digits(us / 1e6, "s", text);
    } else if (seconds < 3600) {
        (void)snprintf(text, FIGURES_SHORT, seconds % 60 ? "%" PRId64 " min %" PRId64 " s" : "%" PRId64 " min",
                       seconds / 60, seconds % 60);
    } else {
        int64_t minutes = (seconds + 30) / 60;
        (void)snprintf(text, FIGURES_SHORT, minutes % 60 ? "%" PRId64 " h %" PRId64 " min" : "%" PRId64 " h",
                       minutes / 60, minutes % 60);
    }
    return text;
}

char *figures_show_bytes(double value, char text[FIGURES_SHORT])
{
    static const char *const UNITS[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    while (fabs(value) >= 1023.5 && unit + 1 < COUNT_OF(UNITS)) {
        value /= 1024;
        unit++;
    }
    three_digits(value, UNITS[unit], text);
    return text;
}

char *figures_show_time(double seconds, char text[FIGURES_SHORT])
{
    int64_t whole = llround(seconds);
    if (whole < 60) {
        (void)snprintf(text, FIGURES_SHORT, "%" PRId64 " s", whole);
    } else if (whole < 3600) {
        (void)snprintf(text, FIGURES_SHORT, "%" PRId64 ":%02" PRId64, whole / 60, whole % 60);
    } else {
        (void)snprintf(text, FIGURES_SHORT, "%" PRId64 ":%02" PRId64 ":%02" PRId64, whole / 3600, whole / 60 % 60,
                       whole % 60);
    }
    return text;
}

char *figures_show_value(const char *unit, double value, char text[FIGURES_SHORT])
{
    if (isnan(value)) {
        (void)snprintf(text, FIGURES_SHORT, "not known");
    } else if (strcmp(unit, "us") == 0) {
        figures_show_duration(llround(fmin(value, 9e15)), text);
    } else if (strcmp(unit, "B") == 0) {
        figures_show_bytes(value, text);
    } else {
        figures_show_count(value, text);
    }
    return text;
}

char *figures_key_value(const struct key *key, char text[FIGURES_VALUE])
{
    char value[FIGURES_SHORT];
    const char *space = key->unit[0] ? " " : "";
    switch (key->kind) {
    case KEY_COUNT:
        (void)snprintf(text, FIGURES_VALUE, "%s%s%s", figures_show_count((double)key->count, value), space, key->unit);
        break;
    case KEY_NUMBER:
        (void)snprintf(text, FIGURES_VALUE, "%s%s%s", figures_show_count(key->number, value), space, key->unit);
        break;
    case KEY_DURATION:
        (void)snprintf(text, FIGURES_VALUE, "%s", figures_show_duration(key->duration_us, value));
        break;
    case KEY_BYTES:
        (void)snprintf(text, FIGURES_VALUE, "%s", figures_show_bytes((double)key->count, value));
        break;
    case KEY_TEXT:
        (void)snprintf(text, FIGURES_VALUE, "%s", key->text);
        break;
    }
    return text;
}

bool figures_series_range(const struct series *s, double *ret_min, double *ret_mean, double *ret_max)
{
    double sum = 0;
    size_t known = 0;
    for (size_t i = 0; i < series_count(s); i++) {
        double value = series_at(s, i);
        if (isnan(value)) {
            continue;
        }
        *ret_min = known == 0 ? value : fmin(*ret_min, value);
        *ret_max = known == 0 ? value : fmax(*ret_max, value);
        sum += value;
        known++;
    }
    *ret_mean = known > 0 ? sum / (double)known : 0;
    return known > 0;
}
