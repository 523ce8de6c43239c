/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sense_internal - what a driver fills in. A driver is one file with one `const struct sense_driver`, and one row in
 * sense.c's table.
 *
 * open describes the channels with sense_channel_add (their order is the order of the values) and sets state; read
 * fills one value per channel and must neither block nor allocate; close frees state, which may be NULL.
 */
#ifndef DEVICE_SENSE_SENSE_INTERNAL_H
#define DEVICE_SENSE_SENSE_INTERNAL_H

#include "device/sense/sense.h"

struct sense_driver {
    const char *name;
    enum err (*open)(struct sense *sense, const struct sense_options *options, struct fault *reterr) MUST_CHECK;
    enum err (*read)(struct sense *sense, const struct sense_place *place, double *values) MUST_CHECK;
    void (*close)(struct sense *sense);
};
struct sense {
    const struct sense_driver *driver;
    struct loop *loop; /* borrowed */
    void *state;       /* of the driver, owned by it */
    uint64_t bad;      /* cells and rows that did not parse, files that could not be read */
    size_t channel_count;
    struct sense_channel channels[SENSE_CHANNELS_MAX];
};

extern const struct sense_driver sense_driver_host, sense_driver_csv, sense_driver_pump, sense_driver_pattern;

/* Adds a channel. The name is made fit: bytes outside [A-Za-z0-9_.-] become '_', it is cut to SENSE_NAME_MAX, and a
 * name that is taken gets a number behind it. ERR_FULL above SENSE_CHANNELS_MAX. */
enum err sense_channel_add(struct sense *sense, const char *name, const char *unit, double resolution) MUST_CHECK;

#endif
