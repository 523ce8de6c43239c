/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sense - the table of drivers, and what they share.
 */
#include "device/sense/sense.h"

#include <math.h>
#include <stdio.h>

#include "device/sense/sense_internal.h"

static const struct sense_driver *const drivers[] = {
    &sense_driver_host,
    &sense_driver_csv,
    &sense_driver_pump,
    &sense_driver_pattern,
};

static void name_fit(const char *name, char ret_name[SENSE_NAME_MAX + 1])
{
    size_t len = 0;
    for (; name[len] != '\0' && len < SENSE_NAME_MAX; len++) {
        char c = name[len];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool fits = letter || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
        ret_name[len] = fits ? c : '_';
    }
    ret_name[len] = '\0';
    if (len == 0) {
        memcpy(ret_name, "channel", sizeof "channel");
    }
}

static bool name_taken(const struct sense *sense, const char *name)
{
    for (size_t i = 0; i < sense->channel_count; i++) {
        if (strcmp(sense->channels[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

enum err sense_channel_add(struct sense *sense, const char *name, const char *unit, double resolution)
{
    if (sense->channel_count == SENSE_CHANNELS_MAX) {
        return ERR_FULL;
    }
    struct sense_channel *c = &sense->channels[sense->channel_count];
    name_fit(name, c->name);
    char plain[SENSE_NAME_MAX + 1];
    memcpy(plain, c->name, sizeof plain);
    for (unsigned n = 2; name_taken(sense, c->name); n++) {
        snprintf(c->name, sizeof c->name, "%.43s_%u", plain, n);
    }
    snprintf(c->unit, sizeof c->unit, "%s", unit);
    c->resolution = resolution;
    sense->channel_count++;
    return OK;
}

enum err sense_open(struct loop *loop, const struct sense_options *options, struct sense **ret_sense,
                    struct fault *reterr)
{
    const struct sense_driver *driver = NULL;
    const char *wanted = options->driver ? options->driver : "";
    for (size_t i = 0; i < COUNT_OF(drivers); i++) {
        if (strcmp(drivers[i]->name, wanted) == 0) {
            driver = drivers[i];
        }
    }
    if (driver == NULL) {
        return fault_set(reterr, ERR_NOT_FOUND, "no driver \"%s\"; there are host, csv, pump, pattern", wanted);
    }
    CLEANUP(sense_closep) struct sense *sense = calloc(1, sizeof *sense);
    if (sense == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory opening driver \"%s\"", wanted);
    }
    sense->driver = driver;
    sense->loop = loop;
    enum err err = driver->open(sense, options, reterr);
    if (err != OK) {
        return err == ERR_NOMEM ? fault_set(reterr, err, "out of memory opening driver \"%s\"", wanted) : err;
    }
    *ret_sense = take(sense);
    return OK;
}

void sense_close(struct sense *sense)
{
    if (sense == NULL) {
        return;
    }
    sense->driver->close(sense);
    free(sense);
}

const char *sense_driver(const struct sense *sense)
{
    return sense->driver->name;
}

const struct sense_channel *sense_channels(const struct sense *sense, size_t *ret_count)
{
    *ret_count = sense->channel_count;
    return sense->channels;
}

uint64_t sense_bad(const struct sense *sense)
{
    return sense->bad;
}

enum err sense_read(struct sense *sense, const struct sense_place *place, double *values)
{
    for (size_t i = 0; i < sense->channel_count; i++) {
        values[i] = NAN;
    }
    return sense->driver->read(sense, place, values);
}
