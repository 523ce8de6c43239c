/* SPDX-License-Identifier: Apache-2.0 */
#include "device/compose/builder.h"

#include "proto/block/block.h"
#include "proto/wire/wire.h"

enum { RECORD_OVERHEAD = 96 }; /* every field of Record and Block but the two columns */

size_t builder_record_max(size_t channels, size_t samples)
{
    return (channels + 1) * BLOCK_COLUMN_BYTES(samples) + RECORD_OVERHEAD;
}

size_t builder_bytes(size_t channels, size_t samples_max)
{
    return (channels + 1) * (samples_max * sizeof(int64_t) + BLOCK_COLUMN_BYTES(samples_max)) +
           channels * sizeof(double);
}

void builder_init(struct builder *b, const struct sense_channel *channels, size_t count, size_t samples_max,
                  void *memory)
{
    uint8_t *at = memory;
    size_t column = BLOCK_COLUMN_BYTES(samples_max);
    *b = (struct builder){.channels = count, .samples_max = samples_max};
    b->values = memory;
    at += count * samples_max * sizeof(*b->values);
    b->at_us = (int64_t *)(void *)at;
    at += samples_max * sizeof(*b->at_us);
    b->resolutions = (double *)(void *)at;
    at += count * sizeof(*b->resolutions);
    buffer_init_over(&b->columns, at, count * column);
    buffer_init_over(&b->times, at + count * column, column);
    for (size_t i = 0; i < count; i++) {
        b->resolutions[i] = channels[i].resolution;
    }
}

void builder_add(struct builder *b, const double *values, int64_t now_us, int64_t wall_us, bool synced)
{
    if (b->count == 0) {
        b->wall_us = max_i64(wall_us, 0); /* a clock before 1970 has no meaning, and no place in the schema */
        b->synced = synced;
    }
    for (size_t c = 0; c < b->channels; c++) {
        b->values[c * b->samples_max + b->count] = block_quantise(values[c], b->resolutions[c]);
    }
    b->at_us[b->count++] = now_us;
}

static bool keeps_period(const struct builder *b, int64_t period_us)
{
    for (size_t i = 0; i < b->count; i++) {
        int64_t off = b->at_us[i] - b->at_us[0] - (int64_t)i * period_us;
        if (off > period_us / 100 || off < -period_us / 100) {
            return false;
        }
    }
    return period_us > 0 && period_us <= UINT32_MAX;
}

/* Times become distances to the sample before, in place. */
static enum err encode_times(struct builder *b)
{
    for (size_t i = b->count; i-- > 1;) {
        b->at_us[i] -= b->at_us[i - 1];
    }
    b->at_us[0] = 0;
    return block_column_encode(b->at_us, b->count, &b->times);
}

static enum err encode_columns(struct builder *b)
{
    for (size_t c = 1; c < b->channels && b->count < b->samples_max; c++) {
        memmove(b->values + c * b->count, b->values + c * b->samples_max, b->count * sizeof *b->values);
    }
    return block_encode(b->values, b->resolutions, b->channels, b->count, &b->columns);
}

enum err builder_close(struct builder *b, int64_t period_us, uint32_t set, struct buffer *out)
{
    struct wire_block block = {
        .set = set,
        .wall_us = (uint64_t)b->wall_us,
        .mono_us = (uint64_t)b->at_us[0],
        .samples = (uint32_t)b->count,
        .quality = b->synced ? WEIR__V1__CLOCK_QUALITY__NTP : WEIR__V1__CLOCK_QUALITY__UNSYNCED,
    };
    buffer_reset(&b->columns);
    buffer_reset(&b->times);
    enum err err = OK;
    if (keeps_period(b, period_us)) {
        block.period_us = (uint32_t)period_us;
    } else {
        err = encode_times(b);
    }
    if (err == OK) {
        err = encode_columns(b);
    }
    b->count = 0;
    TRY(err);
    block.times = buffer_slice(&b->times);
    block.columns = buffer_slice(&b->columns);
    return wire_block_encode(&block, out);
}
