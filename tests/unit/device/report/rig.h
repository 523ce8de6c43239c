/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rig - one device agent in virtual time, and a receiver that does the least that the protocol asks for.
 *
 *   agent (pattern driver) -> memory store, memory bus -> receiver: window_receive per stream, every record kept
 *
 * The receiver is durable at once: what it accepts it has, also while it does not answer.
 */
#ifndef TESTS_UNIT_DEVICE_REPORT_RIG_H
#define TESTS_UNIT_DEVICE_REPORT_RIG_H

#include "core/bus/bus.h"
#include "core/loop/loop.h"
#include "core/store/store.h"
#include "core/window/window.h"
#include "device/agent/agent.h"
#include "device/report/report.h"
#include "device/sense/sense.h"
#include "proto/wire/wire.h"

enum { RIG_STREAMS_MAX = 16, RIG_EVENT_TEXT = 48, RIG_TEXT = 160 };

struct rig_record {
    uint64_t first, last;
    Weir__V1__Record__KindCase kind;
    bool matches;    /* a block: every value is the pattern of its place; a gap: its range is first..last */
    unsigned samples;
    uint64_t wall_us, mono_us;
    uint32_t set, period_us;
    bool has_times;
    int quality;
    int severity;
    char event[RIG_EVENT_TEXT], text[RIG_TEXT];
    uint64_t rules;  /* curated: their version */
    uint64_t values; /* block, curated: that are not missing */
    uint64_t config; /* describe */
    uint64_t model;  /* describe, inference */
    int asked, by;   /* inference */
    unsigned answer, repeats;
    unsigned channels;
    double value;
    uint64_t rss_bytes;
};
struct rig_stream {
    uint64_t epoch;
    struct window_stream window;
    uint64_t replaces;
    struct rig_record *records; /* owned */
    size_t count, cap;
};
struct rig {
    struct loop_world *world;
    struct bus_hub *hub;
    struct loop *receiver_loop, *device_loop;
    struct bus *receiver_bus;
    struct rig_stream streams[RIG_STREAMS_MAX];
    size_t stream_count;
    unsigned lose_acks;   /* of each so many, all but one are not sent; 0 = none */
    unsigned answers;
    uint64_t frames, refused_records;

    struct store_disk *disk;
    struct agent_options options; /* of the next start */
    struct sense_options sense_options;
    struct store *store;
    struct bus *bus;
    struct sense *sense;
    struct agent *agent; /* NULL = the device is down */
};

/* A world with a receiver; the device's options are good presets: 1 s period, 4 samples a record. */
struct rig *rig_new(uint64_t disk_bytes);
void rig_free(struct rig *rig);
void rig_start(struct rig *rig);
/* As a power cut: nothing is flushed. */
void rig_crash(struct rig *rig);
void rig_run(struct rig *rig, int64_t us);
/* Runs until report_drained, fails after limit_us. */
void rig_drain(struct rig *rig, int64_t limit_us);
struct report_stats rig_stats(const struct rig *rig);
/* The only stream of this lane with the epoch; NULL when the receiver has none. */
struct rig_stream *rig_stream_of(struct rig *rig, uint64_t epoch);
/* The stream of the lane in force. */
struct rig_stream *rig_current(struct rig *rig, unsigned lane);
/* Fails unless the records cover 1..hwm without hole or overlap, and each block and gap is what it should be. */
void rig_expect_whole(const struct rig_stream *stream);
size_t rig_count(const struct rig_stream *stream, Weir__V1__Record__KindCase kind);
/* The n-th event (from 0) with this id; NULL. */
const struct rig_record *rig_event(const struct rig_stream *stream, const char *id, size_t n);
/* The receiver asks something of the device. */
void rig_command(struct rig *rig, const struct wire_command *command);
uint64_t rig_gap_numbers(const struct rig_stream *stream);

#endif
