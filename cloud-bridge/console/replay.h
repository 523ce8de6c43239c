/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay - recorded series through a file of rules, as a device and its gateway would send them: what goes up, what
 * it costs, and how far what was left out is from what went up.
 *
 *   CSV file --series_read--> series --replay_series: records of 32 samples--> proto/curate --> replay
 */
#ifndef CLOUD_BRIDGE_CONSOLE_REPLAY_H
#define CLOUD_BRIDGE_CONSOLE_REPLAY_H

#include <stdio.h>

#include "core/base/base.h"
#include "core/base/buffer.h"
#include "proto/block/block.h"
#include "proto/curate/curate.h"
#include "proto/rules/rules.h"

/* ---- series.c: one CSV file ---- */
struct series_channel {
    char name[48];
    double resolution; /* of the decimals in the file */
    double *values;    /* owned; [rows], NaN = missing */
    size_t column;     /* of the file */
};
struct series {
    size_t rows, cap;
    int64_t *times; /* owned; us since 1970 */
    bool timed;     /* else the file tells no times, and the rows are evenly apart */
    size_t channels;
    struct series_channel channel[BLOCK_CHANNELS_MAX];
    uint64_t bad; /* cells that are no numbers; rows of another length, or whose time is none since 1970 */
    int *labels;  /* owned; of series_read_labelled: [rows], below 0 = the cell is empty */
};
/* A column of words beside the channels. */
struct series_labels {
    const char *column;                           /* as the header has it */
    int (*class_of)(void *arg, const char *cell); /* below 0: a word that is none; the cell is not empty */
    void *arg;
    const char *known; /* the words that there are, for a sentence */
};
/* The header's names are made fit as the device's csv driver makes them; columns of text and of dates are no channels.
 * The first column is the rows' time when it is dates, or is headed time, timestamp, datetime, date or ts and is numbers
 * since 1970: seconds, ms, us or ns by their size. Otherwise rows are period_us apart.
 * ERR_NOT_FOUND, ERR_MALFORMED (no column of numbers), ERR_NOMEM. *ret_series: deinited by the caller, also on
 * failure. */
enum err series_read(const char *path, int64_t period_us, struct series *ret_series, struct fault *reterr) MUST_CHECK;
/* With labels, whose column is no channel. Besides: ERR_NOT_FOUND (no such column), ERR_RANGE (a word that is none); both
 * sentences begin with file:line. */
enum err series_read_labelled(const char *path, int64_t period_us, const struct series_labels *labels,
                              struct series *ret_series, struct fault *reterr) MUST_CHECK;
void series_deinit(struct series *series);

/* ---- replay.c ---- */
/* How well a channel can be had back from what went up. */
struct replay_channel {
    char name[48];
    uint64_t in, up;     /* values */
    const struct rule *thinned_by; /* the deadband, swinging-door or on-change that may be checked; NULL = none, or
                                    * others drop values as well */
    double bound, worst; /* in the channel's unit; deadband by percent: in percent */
    uint64_t open;       /* not checked: behind the last corner that went up, or in a file whose times go back */
};
struct replay {
    const struct rules *rules;
    const char *device;
    struct curate *curate; /* owned */
    FILE *out;             /* NULL, or: what goes up as JSON lines */
    uint64_t files, rows, bad, records, kept, shaped, dropped, windows, captures;
    uint64_t bytes_in, bytes_up; /* of records */
    uint64_t values_in, values_up;
    struct replay_channel *channels; /* owned; by name, over all files */
    size_t channel_count;
};
/* ERR_NOMEM. */
enum err replay_init(struct replay *r, const struct rules *rules, const char *device, FILE *out) MUST_CHECK;
void replay_deinit(struct replay *r);
/* Every series is a stream of its own. ERR_NOMEM, ERR_IO (out). */
enum err replay_series(struct replay *r, const struct series *series) MUST_CHECK;
/* No channel is farther from what went up than its rule declares. */
bool replay_within_bounds(const struct replay *r);
bool replay_channel_within(const struct replay_channel *c);

#endif
