/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rig - a stream under rules, and everything that it lets go.
 *
 * Every record goes to two streams: one lives, the other goes through bytes in front of each record. Their outcomes
 * must be the same bytes, and every record that goes up must pass the receivers' check.
 */
#ifndef TESTS_UNIT_PROTO_CURATE_RIG_H
#define TESTS_UNIT_PROTO_CURATE_RIG_H

#include <math.h>

#include "core/sketch/sketch.h"
#include "proto/block/block.h"
#include "proto/curate/curate.h"
#include "tests/support/check.h"

enum { RIG_READINGS = 400000, RIG_WINDOWS = 20000, RIG_CAPTURES = 4096 };

struct rig_reading {
    int64_t t;
    unsigned channel; /* as it goes up */
    double v;
};
struct rig_window {
    unsigned channel;
    uint32_t set;
    char rule[WIRE_NAME_MAX + 1];
    int64_t start, length;
    struct moments m;
    double quantile[3]; /* 0.05, 0.5, 0.95; NaN without a sketch */
    double band[RULE_BANDS_MAX];
    size_t bands;
    bool partial;
    uint64_t late;
};
struct rig {
    struct rules *rules;
    struct curate *curate, *other;
    struct curate_stream *stream; /* lives */
    struct buffer state;          /* of the one that goes through bytes */
    struct arena arena;
    uint32_t set; /* of the device's description */
    double resolution[BLOCK_CHANNELS_MAX];
    size_t channels;
    unsigned quality;
    uint64_t boot;
    int64_t ahead_us; /* wall clock against monotonic time */

    /* what came out */
    enum curate_outcome outcome; /* of the last record */
    const struct rule *rule;
    struct buffer in, last;      /* the last record that went in, and up */
    size_t up_bytes, kept, shaped, dropped;
    struct rig_reading *readings;
    size_t reading_count;
    struct rig_window *windows;
    size_t window_count;
    struct curate_capture captures[RIG_CAPTURES];
    size_t capture_count;
    /* the last description that went up */
    char names[BLOCK_CHANNELS_MAX][WIRE_NAME_MAX + 1], units[BLOCK_CHANNELS_MAX][WIRE_NAME_MAX + 1];
    double out_resolution[BLOCK_CHANNELS_MAX];
    size_t out_channels;
    uint32_t out_set;
    size_t told; /* descriptions that came within a Curated */
};

void rig_start(struct rig *r, const char *rules);
void rig_start_bounded(struct rig *r, const char *rules, size_t stream_bytes);
void rig_stop(struct rig *r);
/* Other rules, with the state as it is. */
void rig_change(struct rig *r, const char *rules);
/* names: "a,b:0.1,c:0.5:kPa"; resolution 0.01 and no unit when not told. Every call is another boot. */
void rig_describe(struct rig *r, const char *names);
/* values: [channels][rows], NaN = missing. */
void rig_block(struct rig *r, int64_t start_us, int64_t period_us, size_t rows, const double *values);
void rig_block_at(struct rig *r, const int64_t *times, size_t rows, const double *values);
/* One channel, blocks of 32 rows. */
void rig_series(struct rig *r, int64_t start_us, int64_t period_us, size_t count, const double *values);
void rig_gap(struct rig *r);
void rig_event(struct rig *r, const char *channel, double value, const char *text);
void rig_record(struct rig *r, struct slice record);
/* Packs and hands in. */
void rig_pack(struct rig *r, const Weir__V1__Record *record);
/* Readings of one channel: [count] into t and v; returns count. */
size_t rig_channel(const struct rig *r, unsigned channel, int64_t *t, double *v);
struct curate_rule_stats rig_stats(const struct rig *r, size_t rule);
/* Deterministic noise in -1..1. */
double rig_noise(uint64_t seed);

#endif
