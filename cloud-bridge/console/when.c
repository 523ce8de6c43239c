/* SPDX-License-Identifier: Apache-2.0 */
/* when - durations, times and sizes as people write and read them. */
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "cloud-bridge/console/console_internal.h"
#include "core/csv/csv.h"

bool to_duration(const char *text, int64_t *ret_us)
{
    static const struct unit {
        const char *name;
        double us;
    } units[] = {{"us", 1}, {"ms", 1e3}, {"s", 1e6}, {"min", 60e6}, {"h", 3600e6}, {"d", 86400e6}};
    char *end = NULL;
    if (text[0] < '0' || text[0] > '9') {
        return false;
    }
    double number = strtod(text, &end);
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        double us = number * units[i].us;
        if (strcmp(end, units[i].name) == 0 && us >= 1 && us <= 1e16) {
            *ret_us = llround(us);
            return true;
        }
    }
    return false;
}

bool to_time(const char *text, int64_t now_us, int64_t *ret_us)
{
    int64_t before_us = 0;
    if (strcmp(text, "now") == 0 || (text[0] == '-' && to_duration(text + 1, &before_us))) {
        *ret_us = max_i64(now_us - before_us, 0);
        return true;
    }
    return csv_time(text, ret_us);
}

struct stamp stamp_of(int64_t us)
{
    struct stamp stamp;
    struct tm tm;
    time_t seconds = (time_t)(us / SECOND_US);
    int part = (int)(us % SECOND_US);
    if (us < 0 || us / SECOND_US > 253402300799 || gmtime_r(&seconds, &tm) == NULL) {
        return (struct stamp){.text = "-"};
    }
    size_t n = strftime(stamp.text, sizeof(stamp.text), "%Y-%m-%dT%H:%M:%S", &tm);
    if (part == 0) {
        snprintf(stamp.text + n, sizeof(stamp.text) - n, "Z");
    } else if (part % 1000 == 0) {
        snprintf(stamp.text + n, sizeof(stamp.text) - n, ".%03dZ", part / 1000);
    } else {
        snprintf(stamp.text + n, sizeof(stamp.text) - n, ".%06dZ", part);
    }
    return stamp;
}

struct amount amount_of(double bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    struct amount amount;
    size_t unit = 0;
    while (fabs(bytes) >= 1000 && unit + 1 < COUNT_OF(units)) {
        bytes /= 1000;
        unit++;
    }
    snprintf(amount.text, sizeof(amount.text), unit == 0 || fabs(bytes) >= 100 ? "%.0f %s" : "%.1f %s", bytes,
             units[unit]);
    return amount;
}
