/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pattern - values that a checker can compute again from where they stand: f(device, epoch, number, index, channel).
 */
#include "device/sense/sense_internal.h"

#include <stdio.h>

enum { PATTERN_CHANNELS = 4 };

int64_t sense_pattern(const char *device, uint64_t epoch, uint64_t number, unsigned index, unsigned channel)
{
    uint64_t h = 0;
    for (const char *c = device; *c != '\0'; c++) {
        h = mix_u64(h ^ (uint8_t)*c);
    }
    h = mix_u64(h ^ epoch);
    h = mix_u64(h ^ number);
    h = mix_u64(h ^ ((uint64_t)index << 32 | channel));
    return (int64_t)(h >> 43) - (INT64_C(1) << 20); /* 21 bits */
}

static enum err pattern_open(struct sense *sense, const struct sense_options *options, struct fault *reterr)
{
    unsigned count = options->channels > 0 ? options->channels : PATTERN_CHANNELS;
    if (count > SENSE_CHANNELS_MAX) {
        return fault_set(reterr, ERR_RANGE, "driver pattern: %u channels, at most %d are possible", count,
                         SENSE_CHANNELS_MAX);
    }
    for (unsigned i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "pattern_%u", i);
        TRY(sense_channel_add(sense, name, "1", 1.0));
    }
    return OK;
}

static enum err pattern_read(struct sense *sense, const struct sense_place *place, double *values)
{
    if (place == NULL) {
        return ERR_RANGE;
    }
    for (size_t i = 0; i < sense->channel_count; i++) {
        values[i] = (double)sense_pattern(place->device, place->epoch, place->number, place->index, (unsigned)i);
    }
    return OK;
}

static void pattern_close(struct sense *sense)
{
    (void)sense;
}

const struct sense_driver sense_driver_pattern = {
    .name = "pattern", .open = pattern_open, .read = pattern_read, .close = pattern_close};
