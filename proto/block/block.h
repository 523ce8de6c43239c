/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block - columns of integers, each coded on its own: the telemetry block's inside.
 *
 * A channel's values are whole multiples of its sensor's resolution, so a column is `samples` int64 numbers. Per column
 * the encoder picks the form with the fewest bytes. A column is decoded without knowing the others (but for "same
 * resolution as the column before"). Missing values (sensor gave none, NaN, infinity) are BLOCK_MISSING and cost a
 * bitmap only when there are any.
 *
 *   block  = column*                          as many as there are bytes
 *   column = header resolution [bitmap] body
 *   header = 1 byte: bits 0-1 form, bit 2 a bitmap follows, bits 3-5 form of the resolution, bits 6-7 zero
 *   bitmap = (samples + 7) / 8 bytes, bit set = value present; all below counts the n present values only
 *   body   CONST  value                                       (nothing when n = 0)
 *          OFFSET smallest code digits(value - smallest)                          n digits
 *          DELTA  first smallest code digits(difference - smallest)           n - 1 digits
 *          DICT   smallest k code digits(step - 1) digits(index)    k - 1 steps, n digits
 *                 k = distinct values in rising order (2..64), each a step above the one before
 *          value, smallest, first: zigzag varints; k and code: 1 byte
 *   digits: four share a group of `code` bits (code <= 56), written as one number in the radix floor(2^(code/4)), so a
 *          digit takes quarters of a bit: a range of 600 costs 9.25 bits, not 10. Code 57..99: code - 42 bits each;
 *          code 100: 64 bits each. Little-endian, lowest bit first, zero bits to the end of the last byte.
 *          The indices' code follows from k.
 *   resolution: 0 same as the column before (1 for the first) · 1 power of ten (int8 exponent) · 2 mantissa x
 *          2^exponent (uint8, int8) · 3 mantissa x 10^exponent (uint8, int8) · 4 binary64. All are exact: what was
 *          given comes back.
 *
 * Every bit pattern of the digits decodes, so that block_check needs to look at the heads only (about 15 ns a column).
 *
 * Bounds: 1..BLOCK_SAMPLES_MAX samples, 1..BLOCK_CHANNELS_MAX channels, |value| < 2^62. Decoding never reads beyond the
 * input and never writes more than samples * channels values. No function allocates but through `out`, none keeps
 * state: any thread may call them.
 */
#ifndef PROTO_BLOCK_BLOCK_H
#define PROTO_BLOCK_BLOCK_H

#include "core/base/base.h"
#include "core/base/buffer.h"

/* Devices make at most 1024 samples a record (device/report); the rest is room for rows that a gateway's rules add. */
enum { BLOCK_SAMPLES_MAX = 1152, BLOCK_CHANNELS_MAX = 64 };
#define BLOCK_MISSING INT64_MIN
#define BLOCK_VALUE_MAX ((INT64_C(1) << 62) - 1)
/* Longest possible encoding of one column; a buffer for a block is channels times that. */
#define BLOCK_COLUMN_BYTES(samples) (32 + (samples) / 8 + 8 * (samples))

/* values: [channels][samples], row-major by channel. Appends to out; on failure out is as long as it was. ERR_RANGE for
 * a bound or a resolution that is not block_resolution_valid, ERR_FULL, ERR_NOMEM. */
enum err block_encode(const int64_t *values, const double *resolutions, size_t channels, size_t samples,
                      struct buffer *out) MUST_CHECK;
/* values: room for channels_max x samples. ret_resolutions (room for channels_max) may be NULL. ERR_MALFORMED: bytes do
 * not decode, or are left over. ERR_RANGE: more channels than channels_max, or samples out of bounds. */
enum err block_decode(struct slice in, size_t samples, size_t channels_max, int64_t *values, double *ret_resolutions,
                      size_t *ret_channels) MUST_CHECK;
/* Accepts exactly what block_decode accepts with BLOCK_CHANNELS_MAX, without decoding. ret_channels may be NULL. */
enum err block_check(struct slice in, size_t samples, size_t *ret_channels) MUST_CHECK;
/* One column without resolution, for time distances. */
enum err block_column_encode(const int64_t *values, size_t samples, struct buffer *out) MUST_CHECK;
enum err block_column_decode(struct slice in, size_t samples, int64_t *values) MUST_CHECK;
/* Accepts exactly what block_column_decode accepts. *ret_present: how many values are not missing. */
enum err block_column_check(struct slice in, size_t samples, size_t *ret_present) MUST_CHECK;

/* round(value / resolution); BLOCK_MISSING for NaN, infinities and |result| >= 2^62. */
int64_t block_quantise(double value, double resolution);
/* The value that an integer stands for; NaN for BLOCK_MISSING. For a resolution of 1/n it divides by n, so that a
 * decimal comes back as the very same double: block_value(block_quantise(0.202394, 1e-6), 1e-6) == 0.202394. */
double block_value(int64_t value, double resolution);
/* Finite and within 1e-200..1e200, so that every value is finite. */
bool block_resolution_valid(double resolution);
/* The largest resolution of two bytes (mantissa 128..255 x 2^exponent) that is not above the wanted one (valid and
 * within 2^-110..2^110; returned unchanged otherwise): at most 0.8 % finer, and 6 bytes a column shorter than any odd
 * double. */
double block_resolution_round(double wanted);

#endif
