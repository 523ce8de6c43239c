/* SPDX-License-Identifier: Apache-2.0 */
/*
 * builder - the block under construction: samples become columns of integers.
 *
 * Arrays stand in the caller's memory, for samples_max samples; nothing is allocated.
 */
#ifndef DEVICE_COMPOSE_BUILDER_H
#define DEVICE_COMPOSE_BUILDER_H

#include "core/base/base.h"
#include "core/base/buffer.h"
#include "device/sense/sense.h"

struct builder {
    size_t channels, samples_max;
    size_t count;                 /* samples in the block */
    int64_t *values;              /* [channels][samples_max], packed to [channels][count] when the block is closed */
    int64_t *at_us;               /* monotonic time of each sample */
    double *resolutions;          /* [channels] */
    int64_t wall_us;              /* of the first sample */
    bool synced;                  /* the wall clock was, at the first sample */
    struct buffer columns, times; /* reused by every block */
};

/* Of the memory that builder_init takes, aligned for int64_t. */
size_t builder_bytes(size_t channels, size_t samples_max);
/* memory: borrowed for the life of the builder. */
void builder_init(struct builder *b, const struct sense_channel *channels, size_t count, size_t samples_max,
                  void *memory);
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
