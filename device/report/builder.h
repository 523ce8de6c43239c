/* SPDX-License-Identifier: Apache-2.0 */
/*
 * builder - the block under construction: samples become columns of integers.
 *
 * Arrays are allocated once, for samples_max samples; adding and closing allocate nothing.
 */
#ifndef DEVICE_REPORT_BUILDER_H
#define DEVICE_REPORT_BUILDER_H

#include "core/base/base.h"
#include "core/base/buffer.h"
#include "device/sense/sense.h"

struct builder {
    size_t channels, samples_max;
    size_t count;        /* samples in the block */
    int64_t *values;     /* owned; [channels][samples_max], packed to [channels][count] when the block is closed */
    int64_t *at_us;      /* owned; monotonic time of each sample */
    double *resolutions; /* owned; [channels] */
    int64_t wall_us;     /* of the first sample */
    bool synced;         /* the wall clock was, at the first sample */
    struct buffer columns, times; /* reused by every block */
};

enum err builder_init(struct builder *b, const struct sense_channel *channels, size_t count,
                      size_t samples_max) MUST_CHECK;
void builder_deinit(struct builder *b);
/* Longest Record of a block of so many channels and samples. */
size_t builder_record_max(size_t channels, size_t samples);
/* values: one per channel. The block must not be full. */
void builder_add(struct builder *b, const double *values, int64_t now_us, int64_t wall_us, bool synced);
static inline bool builder_full(const struct builder *b)
{
    return b->count == b->samples_max;
}
/* Appends the block as a Record to out and empties the builder. period_us: samples that keep to it within 1 % need no
 * column of times; 0 = always one. ERR_FULL, ERR_NOMEM only if out has not room for builder_record_max. */
enum err builder_close(struct builder *b, int64_t period_us, uint32_t set, struct buffer *out) MUST_CHECK;

#endif
