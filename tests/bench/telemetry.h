/* SPDX-License-Identifier: Apache-2.0 */
/*
 * telemetry - what telemetry_size measures on: blocks of samples from a file or from this machine, and the other
 * encodings of the same block.
 */
#ifndef TESTS_BENCH_TELEMETRY_H
#define TESTS_BENCH_TELEMETRY_H

#include "core/base/buffer.h"

enum { TELEMETRY_CHANNELS = 8, TELEMETRY_SAMPLES = 32 };

struct telemetry_series {
    char names[TELEMETRY_CHANNELS][40];
    double decimal[TELEMETRY_CHANNELS]; /* 10^-decimals of the values as given */
    double low[TELEMETRY_CHANNELS], high[TELEMETRY_CHANNELS];
    size_t rows, cap;
    double (*values)[TELEMETRY_CHANNELS]; /* [rows] */
    int64_t *time_us;                     /* [rows] */
};
/* SKAB's form: header line, then "date time;v;v;...". ERR_NOT_FOUND, ERR_MALFORMED (with the line on stderr). */
enum err telemetry_load_csv(const char *path, struct telemetry_series *ret_series) MUST_CHECK;
/* Processor, load, memory, disk and network of this machine, `rows` samples period_us apart. */
enum err telemetry_sample_host(size_t rows, int64_t period_us, struct telemetry_series *ret_series) MUST_CHECK;
void telemetry_free(struct telemetry_series *series);

/* One block of a series. */
struct telemetry_block {
    const struct telemetry_series *series;
    size_t from; /* first row; TELEMETRY_SAMPLES rows */
    const double *resolutions;
    int64_t integers[TELEMETRY_CHANNELS * TELEMETRY_SAMPLES]; /* by channel */
};
/* A rival: appends its encoding of the block, perhaps as several messages, each decoded by itself. */
struct telemetry_rival {
    const char *name;
    void (*encode)(const struct telemetry_block *block, struct buffer *out);
    /* Parses what encode wrote into the library's own form and drops it; false when it does not parse. */
    bool (*decode)(struct slice in);
};
extern const struct telemetry_rival telemetry_json, telemetry_cbor_rows, telemetry_cbor_columns,
    telemetry_sparkplug_rows, telemetry_sparkplug_block, telemetry_packed;

#endif
