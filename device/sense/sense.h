/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sense - where samples come from. A new driver is one file, one row in sense.c's table and its
 * name among the words of sense.driver (device/agent/settings.c).
 *
 * A driver describes its channels once and then gives one sample (a value per channel) each time it is asked. It is
 * called on the loop and must not block: files under /proc and /sys and an open CSV are fine.
 */
#ifndef DEVICE_SENSE_SENSE_H
#define DEVICE_SENSE_SENSE_H

#include "core/base/base.h"
#include "core/loop/loop.h"

enum { SENSE_CHANNELS_MAX = 64, SENSE_NAME_MAX = 47, SENSE_UNIT_MAX = 15 };

struct sense_channel {
    char name[SENSE_NAME_MAX + 1];
    char unit[SENSE_UNIT_MAX + 1]; /* UCUM where there is one: "Cel", "kPa", "%", "A" */
    double resolution;             /* step of the sensor; > 0 */
};
/* Where the sample will stand: for drivers whose output must be checkable afterwards. */
struct sense_place {
    const char *device;
    uint64_t epoch, number; /* of the record */
    unsigned index;         /* of the sample in the record */
};
struct sense_options {
    const char *driver;  /* "host", "csv", "pump", "pattern" */
    const char *path;    /* csv: file or directory (all *.csv below it, in name order); host: read <path>/proc and
                          * <path>/sys (a container's view of its host), NULL or "" = the machine's own */
    uint64_t seed;       /* pump, pattern; csv: which file of a directory comes first */
    double resolution;   /* csv: 0 = decimal places seen in the first rows */
    unsigned bits;       /* csv: 0, or: resolution = range of the first rows / 2^bits, as an ADC of so many bits */
    unsigned channels;   /* pattern */
    const char *fault;   /* pump: "none", "wear", "stuck", "leak", or "auto" = by seed */
    uint64_t onset;      /* pump: samples until the fault begins; 0 = by seed */
    uint64_t cycle;      /* pump: samples until it begins anew, sound; 0 = 3600 */
};
struct sense;

/* ERR_NOT_FOUND: no such driver, file or directory; ERR_MALFORMED: a CSV that does not parse, with file:line. */
enum err sense_open(struct loop *loop, const struct sense_options *options, struct sense **ret_sense,
                    struct fault *reterr) MUST_CHECK;
void sense_close(struct sense *sense);
DEFINE_CLEANUP(struct sense, sense_close)
const char *sense_driver(const struct sense *sense);
const struct sense_channel *sense_channels(const struct sense *sense, size_t *ret_count);
/* values: one per channel, NaN = missing. ERR_NOT_FOUND: the source has ended (csv without loop). ERR_IO. */
enum err sense_read(struct sense *sense, const struct sense_place *place, double *values) MUST_CHECK;
/* Cells, rows and files that did not parse since the driver was opened; they count as missing values. */
uint64_t sense_bad(const struct sense *sense);
/* The deterministic value of the pattern driver: integer in +-2^20. Checkers compute it again. */
int64_t sense_pattern(const char *device, uint64_t epoch, uint64_t number, unsigned index, unsigned channel);

#endif
