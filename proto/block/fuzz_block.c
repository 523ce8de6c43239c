/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: for any bytes, block_check says what block_decode says; what decodes is within the bounds, is written again by
 * the encoder within its stated length, and comes back equal. First two bytes of the input: number of samples.
 */
#include "proto/block/block.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int64_t values[BLOCK_CHANNELS_MAX * BLOCK_SAMPLES_MAX], again[BLOCK_CHANNELS_MAX * BLOCK_SAMPLES_MAX];

static void expect(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void round_trip(const double *resolutions, size_t channels, size_t samples)
{
    BUFFER(out, BLOCK_CHANNELS_MAX * BLOCK_COLUMN_BYTES(BLOCK_SAMPLES_MAX));
    double resolutions_again[BLOCK_CHANNELS_MAX];
    size_t channels_again;
    for (size_t i = 0; i < channels * samples; i++) {
        expect(values[i] == BLOCK_MISSING || (values[i] <= BLOCK_VALUE_MAX && values[i] >= -BLOCK_VALUE_MAX));
    }
    expect(block_encode(values, resolutions, channels, samples, &out) == OK);
    expect(out.len <= channels * BLOCK_COLUMN_BYTES(samples));
    expect(block_decode(buffer_slice(&out), samples, channels, again, resolutions_again, &channels_again) == OK);
    expect(channels_again == channels);
    expect(memcmp(values, again, channels * samples * sizeof(*values)) == 0);
    expect(memcmp(resolutions, resolutions_again, channels * sizeof(*resolutions)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    size_t samples = (size_t)(data[0] | data[1] << 8);
    struct slice in = slice_of(data + 2, size - 2);
    double resolutions[BLOCK_CHANNELS_MAX];
    size_t channels = 0, checked = 0;
    enum err check = block_check(in, samples, &checked);
    enum err err = block_decode(in, samples, BLOCK_CHANNELS_MAX, values, resolutions, &channels);
    expect(check == err);
    if (err == OK) {
        expect(checked == channels);
        round_trip(resolutions, channels, samples);
    }
    size_t present;
    err = block_column_decode(in, samples, values);
    expect(err == block_column_check(in, samples, &present));
    expect(err != OK || block_check(in, samples, NULL) == OK);
    return 0;
}
