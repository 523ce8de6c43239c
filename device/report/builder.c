/* SPDX-License-Identifier: Apache-2.0 */
#include "device/report/builder.h"

#include "proto/block/block.h"
#include "proto/wire/wire.h"

enum { RECORD_OVERHEAD = 96 }; /* every field of Record and Block but the two columns */

size_t builder_record_max(size_t channels, size_t samples)
{
    return (channels + 1) * BLOCK_COLUMN_BYTES(samples) + RECORD_OVERHEAD;
}

enum err builder_init(struct builder *b, const struct sense_channel *channels, size_t count, size_t samples_max)
{
    *b = (struct builder){.channels = count, .samples_max = samples_max};
    buffer_init(&b->columns, count * BLOCK_COLUMN_BYTES(samples_max));
    buffer_init(&b->times, BLOCK_COLUMN_BYTES(samples_max));
    b->values = calloc(count * samples_max, sizeof *b->values);
    b->at_us = calloc(samples_max, sizeof *b->at_us);
    b->resolutions = calloc(count, sizeof *b->resolutions);
    bool room = buffer_extend(&b->columns, b->columns.max) != NULL && buffer_extend(&b->times, b->times.max) != NULL;
    buffer_reset(&b->columns); /* the memory stays */
    buffer_reset(&b->times);
    if (b->values == NULL || b->at_us == NULL || b->resolutions == NULL || !room) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        b->resolutions[i] = channels[i].resolution;
    }
    return OK;
}

void builder_deinit(struct builder *b)
{
    buffer_deinit(&b->columns);
    buffer_deinit(&b->times);
    free(b->values);
    free(b->at_us);
    free(b->resolutions);
    *b = (struct builder){0};
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
    Weir__V1__Block block = WEIR__V1__BLOCK__INIT;
    block.set = set;
    block.wall_us = (uint64_t)b->wall_us;
    block.mono_us = (uint64_t)b->at_us[0];
    block.samples = (uint32_t)b->count;
    block.quality = b->synced ? WEIR__V1__CLOCK_QUALITY__NTP : WEIR__V1__CLOCK_QUALITY__UNSYNCED;
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
    block.times = (ProtobufCBinaryData){.data = b->times.ptr, .len = b->times.len};
    block.columns = (ProtobufCBinaryData){.data = b->columns.ptr, .len = b->columns.len};
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_BLOCK;
    record.block = &block;
    return wire_record_pack(&record, out);
}
