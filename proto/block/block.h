/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block - columns of integers, each coded on its own: the telemetry block's inside.
 *
 * A channel's values are whole multiples of its sensor's resolution, so a column is `samples` int64 numbers. Per column
 * the encoder picks the predictor with the fewest bits (constant, value minus smallest, difference to the one before,
 * Rice or packed residuals; the choice is one byte) and appends: header byte, first/base as zigzag varint, residuals
 * bit-packed. A column is decoded without knowing the others. Missing values (sensor gave none, NaN, infinity) are
 * BLOCK_MISSING and cost a bitmap only when there are any.
 *
 * Bounds: 1..BLOCK_SAMPLES_MAX samples, 1..BLOCK_CHANNELS_MAX channels, |value| < 2^62. Decoding never reads beyond the
 * input and never writes more than samples * channels values.
 *
 * Each column also carries its resolution (mantissa and decimal exponent: resolution = mantissa * 10^exponent, as in
 * 5e-4; 1 byte for the powers of ten), so that a value can be read without its description.
 */
#ifndef PROTO_BLOCK_BLOCK_H
#define PROTO_BLOCK_BLOCK_H

#include "core/base/base.h"
#include "core/base/buffer.h"

enum { BLOCK_SAMPLES_MAX = 1024, BLOCK_CHANNELS_MAX = 64 };
#define BLOCK_MISSING INT64_MIN

struct block_column_info {
    double resolution;
};
/* values: [channels][samples], row-major by channel. Appends to out. ERR_RANGE for a bound, ERR_FULL. */
enum err block_encode(const int64_t *values, const double *resolutions, size_t channels, size_t samples,
                      struct buffer *out) MUST_CHECK;
/* values: room for BLOCK_CHANNELS_MAX x samples is not needed: *ret_channels <= channels_max. ret_resolutions may be
 * NULL. ERR_MALFORMED: bytes do not decode, or are left over. ERR_RANGE: more channels than channels_max. */
enum err block_decode(struct slice in, size_t samples, size_t channels_max, int64_t *values, double *ret_resolutions,
                      size_t *ret_channels) MUST_CHECK;
/* One column without resolution, for time distances. */
enum err block_column_encode(const int64_t *values, size_t samples, struct buffer *out) MUST_CHECK;
enum err block_column_decode(struct slice in, size_t samples, int64_t *values) MUST_CHECK;
/* round(value / resolution); BLOCK_MISSING for NaN, infinities and |result| >= 2^62. */
int64_t block_quantise(double value, double resolution);

#endif
