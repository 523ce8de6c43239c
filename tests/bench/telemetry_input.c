/* SPDX-License-Identifier: Apache-2.0 */
/*
 * telemetry_input - the SKAB valve test bench (8 sensors, 1 Hz) from its CSV, and this machine's sensors from /proc.
 */
#include "tests/bench/telemetry.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

void telemetry_free(struct telemetry_series *series)
{
    free(series->values);
    free(series->time_us);
    *series = (struct telemetry_series){0};
}

static enum err add_row(struct telemetry_series *s, int64_t time_us, const double row[TELEMETRY_CHANNELS])
{
    if (s->rows == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 1024;
        double(*values)[TELEMETRY_CHANNELS] = realloc(s->values, cap * sizeof(*values));
        s->values = values ? values : s->values;
        int64_t *time = realloc(s->time_us, cap * sizeof(*time));
        s->time_us = time ? time : s->time_us;
        if (values == NULL || time == NULL) {
            return ERR_NOMEM;
        }
        s->cap = cap;
    }
    for (size_t c = 0; c < TELEMETRY_CHANNELS; c++) {
        s->low[c] = s->rows ? fmin(s->low[c], row[c]) : row[c];
        s->high[c] = s->rows ? fmax(s->high[c], row[c]) : row[c];
    }
    memcpy(s->values[s->rows], row, sizeof(*s->values));
    s->time_us[s->rows++] = time_us;
    return OK;
}

static void read_names(char *line, struct telemetry_series *s)
{
    char *rest = line;
    (void)strsep(&rest, ";");
    for (size_t c = 0; c < TELEMETRY_CHANNELS; c++) {
        char *name = strsep(&rest, ";\r\n");
        snprintf(s->names[c], sizeof(s->names[c]), "%s", name ? name : "");
    }
}

/* "2020-02-08 13:30:47;0.202394;..." */
static enum err read_row(char *line, struct telemetry_series *s)
{
    struct tm tm = {0};
    char *rest = strptime(line, "%Y-%m-%d %H:%M:%S", &tm);
    double row[TELEMETRY_CHANNELS];
    for (size_t c = 0; c < TELEMETRY_CHANNELS; c++) {
        if (rest == NULL || *rest != ';') {
            return ERR_MALFORMED;
        }
        char *start = rest + 1;
        row[c] = strtod(start, &rest);
        char *point = memchr(start, '.', (size_t)(rest - start));
        double decimal = point ? 1 / round(pow(10, (double)(rest - point - 1))) : 1;
        s->decimal[c] = s->rows ? fmin(s->decimal[c], decimal) : decimal;
    }
    return add_row(s, (int64_t)timegm(&tm) * SECOND_US, row);
}

static void file_closep(FILE **f)
{
    if (*f != NULL) {
        fclose(*f);
    }
}

enum err telemetry_load_csv(const char *path, struct telemetry_series *ret_series)
{
    CLEANUP(file_closep) FILE *f = fopen(path, "r");
    if (f == NULL) {
        return ERR_NOT_FOUND;
    }
    struct telemetry_series s = {0};
    char line[1000];
    for (size_t number = 1; fgets(line, sizeof(line), f) != NULL; number++) {
        if (number == 1) {
            read_names(line, &s);
            continue;
        }
        enum err err = read_row(line, &s);
        if (err != OK) {
            fprintf(stderr, "%s:%zu: not a row of SKAB\n", path, number);
            telemetry_free(&s);
            return err;
        }
    }
    *ret_series = s;
    return OK;
}

/* ---- this machine ---- */
struct counters {
    double busy, total, load, available, cached, read_kib, written_kib, received_kib, sent_kib;
};

/* Calls fn for each line. */
static void each_line(const char *path, void (*fn)(const char *line, struct counters *c), struct counters *c)
{
    CLEANUP(file_closep) FILE *f = fopen(path, "r");
    char line[1000];
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        fn(line, c);
    }
}

static void read_stat(const char *line, struct counters *c)
{
    double user, nice, system, idle, wait, irq, soft;
    if (sscanf(line, "cpu %lf %lf %lf %lf %lf %lf %lf", &user, &nice, &system, &idle, &wait, &irq, &soft) == 7) {
        c->busy = user + nice + system + irq + soft;
        c->total = c->busy + idle + wait;
    }
}

static void read_load(const char *line, struct counters *c)
{
    c->load = strtod(line, NULL);
}

static void read_memory(const char *line, struct counters *c)
{
    double kib;
    if (sscanf(line, "MemAvailable: %lf", &kib) == 1) {
        c->available = kib;
    } else if (sscanf(line, "Cached: %lf", &kib) == 1) {
        c->cached = kib;
    }
}

static void read_disk(const char *line, struct counters *c)
{
    double read, written;
    if (sscanf(line, "%*d %*d %*s %*d %*d %lf %*d %*d %*d %lf", &read, &written) == 2) {
        c->read_kib += read / 2;
        c->written_kib += written / 2;
    }
}

static void read_net(const char *line, struct counters *c)
{
    const char *colon = strchr(line, ':');
    double received, sent;
    if (colon != NULL && sscanf(colon + 1, "%lf %*d %*d %*d %*d %*d %*d %*d %lf", &received, &sent) == 2) {
        c->received_kib += received / 1024;
        c->sent_kib += sent / 1024;
    }
}

static void read_counters(struct counters *c)
{
    *c = (struct counters){0};
    each_line("/proc/stat", read_stat, c);
    each_line("/proc/loadavg", read_load, c);
    each_line("/proc/meminfo", read_memory, c);
    each_line("/proc/diskstats", read_disk, c);
    each_line("/proc/net/dev", read_net, c);
}

static double rounded(double value, double resolution)
{
    return round(value / resolution) / round(1 / resolution);
}

enum err telemetry_sample_host(size_t rows, int64_t period_us, struct telemetry_series *ret_series)
{
    static const char *const names[] = {"cpu",       "load",         "mem_available", "mem_cached",
                                        "disk_read", "disk_written", "net_received",  "net_sent"};
    static const double decimal[] = {0.1, 0.01, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01};
    struct telemetry_series s = {0};
    struct counters before, now;
    for (size_t c = 0; c < TELEMETRY_CHANNELS; c++) {
        snprintf(s.names[c], sizeof(s.names[c]), "%s", names[c]);
        s.decimal[c] = decimal[c];
    }
    read_counters(&before);
    int64_t start_us = (int64_t)time(NULL) * SECOND_US;
    for (size_t i = 0; i < rows; i++) {
        struct timespec pause = {.tv_nsec = period_us * 1000};
        nanosleep(&pause, NULL);
        read_counters(&now);
        double total = now.total - before.total;
        double row[] = {total > 0 ? 100 * (now.busy - before.busy) / total : 0,
                        now.load,
                        now.available / 1024,
                        now.cached / 1024,
                        now.read_kib - before.read_kib,
                        now.written_kib - before.written_kib,
                        now.received_kib - before.received_kib,
                        now.sent_kib - before.sent_kib};
        for (size_t c = 0; c < TELEMETRY_CHANNELS; c++) {
            row[c] = rounded(row[c], decimal[c]);
        }
        enum err err = add_row(&s, start_us + (int64_t)i * SECOND_US, row);
        if (err != OK) {
            telemetry_free(&s);
            return err;
        }
        before = now;
    }
    *ret_series = s;
    return OK;
}
