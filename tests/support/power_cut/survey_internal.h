/* SPDX-License-Identifier: Apache-2.0 */
/*
 * survey_internal - what the parts of the survey share.
 *
 *   survey.c   streams, stores        survey_sinks.c   the sinks        survey_judge.c   the judgement
 */
#ifndef TESTS_SUPPORT_POWER_CUT_SURVEY_INTERNAL_H
#define TESTS_SUPPORT_POWER_CUT_SURVEY_INTERNAL_H

#include <uthash.h>

#include "cloud-bridge/sinks/sinks_internal.h"
#include "tests/support/power_cut/survey.h"

enum { LANES = 2 };
enum sink_index { SINK_SQLITE, SINK_FILE, SINKS };
/* Where a number was found: bits. The sinks' are AT_SINK << enum sink_index. */
enum { AT_DEVICE = 1, AT_GATEWAY = 2, AT_BRIDGE = 4, AT_SINK = 8 };

struct found {
    char key[ID_MAX + 24];
    char device[ID_MAX + 1];
    uint64_t epoch;
    bool at_device;
    uint64_t trimmed, durable, gateway_hwm;
    uint64_t sink_hwm[SINKS];
    uint8_t *at; /* owned; by number */
    size_t room;
    UT_hash_handle hh;
};
/* A lane of the gateway's or the bridge's spool. */
struct found_lane {
    uint64_t epoch, trimmed, durable;
    uint64_t bridge_hwm;      /* gateway's lane: what the bridge has of it */
    uint64_t position[SINKS]; /* bridge's lane */
};
struct survey {
    const char *dir;
    unsigned devices;
    const struct facts *facts;
    struct buffer *complaints;
    struct found *streams;
    struct found_lane gateway[LANES], bridge[LANES];
    struct tally tally; /* found while reading */
    struct sink_reader reader;
};

void complain(struct survey *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
struct found *survey_stream(struct survey *s, const char *device, uint64_t epoch);
/* Adds the bit to the numbers first..last. */
void survey_mark(struct found *f, uint64_t first, uint64_t last, uint8_t bit);
/* The numbers of the stream end at *reached; first..last come next: holes and repetitions are counted. */
void survey_join(struct survey *s, struct found *f, enum sink_index sink, uint64_t first, uint64_t last,
                 uint64_t *reached);
/* A value as the pattern driver gives it (device/sense). */
void survey_reading(struct survey *s, const struct found *f, uint64_t number, unsigned index, unsigned channel,
                    double value);

/* The same for a record that rules have shaped: the value is one of its place's. */
void survey_part(struct survey *s, const struct found *f, uint64_t number, unsigned channel, double value);
/* The stream is the gateway's own: what rules had it capture of a device. */
static inline bool survey_is_captures(const struct found *f)
{
    return !f->at_device && f->gateway_hwm == 0;
}

void survey_sinks(struct survey *s);

#endif
