/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resolution - a sensor's step in as few bytes as give the same double back, and values in units of it.
 */
#include "proto/block/block.h"

#include <float.h>
#include <math.h>

#include "proto/block/block_internal.h"

/* Powers of ten that a double holds exactly: quotients and products of one with a small integer are rounded once, so
 * they equal the decimal literal. */
static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                              1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
enum { TENS_MAX = COUNT_OF(tens) - 1, BINARY_EXPONENT_MAX = 120 };

static double scale_ten(unsigned mantissa, int exponent)
{
    return exponent < 0 ? mantissa / tens[-exponent] : mantissa * tens[exponent];
}

bool block_resolution_valid(double resolution)
{
    return resolution >= 1e-200 && resolution <= 1e200; /* false for NaN */
}

double block_resolution_round(double wanted)
{
    int exponent;
    if (!block_resolution_valid(wanted)) {
        return wanted;
    }
    double fraction = frexp(wanted, &exponent); /* 0.5 <= fraction < 1 */
    if (exponent < -110 || exponent > 110) {
        return wanted;
    }
    return ldexp(floor(fraction * 256), exponent - 8);
}

/* mantissa x 10^exponent with the smallest mantissa, if there is one. */
static bool as_decimal(double resolution, unsigned *ret_mantissa, int *ret_exponent)
{
    int guess = (int)floor(log10(resolution));
    for (int exponent = guess + 1; exponent >= guess - 3; exponent--) {
        if (exponent < -TENS_MAX || exponent > TENS_MAX) {
            continue;
        }
        double mantissa = round(resolution / scale_ten(1, exponent));
        if (mantissa >= 1 && mantissa <= UINT8_MAX && scale_ten((unsigned)mantissa, exponent) == resolution) {
            *ret_mantissa = (unsigned)mantissa;
            *ret_exponent = exponent;
            return true;
        }
    }
    return false;
}

static bool as_binary(double resolution, unsigned *ret_mantissa, int *ret_exponent)
{
    int exponent;
    double mantissa = frexp(resolution, &exponent) * 256;
    exponent -= 8;
    if (mantissa != floor(mantissa) || exponent < -BINARY_EXPONENT_MAX || exponent > BINARY_EXPONENT_MAX) {
        return false;
    }
    *ret_mantissa = (unsigned)mantissa;
    *ret_exponent = exponent;
    return true;
}

enum block_resolution_form resolution_form(double resolution, double previous, uint8_t ret_bytes[8], size_t *ret_len)
{
    unsigned mantissa = 0;
    int exponent = 0;
    *ret_len = 0;
    if (resolution == previous) {
        return BLOCK_RESOLUTION_SAME;
    }
    if (as_decimal(resolution, &mantissa, &exponent)) {
        ret_bytes[0] = mantissa == 1 ? (uint8_t)exponent : (uint8_t)mantissa;
        ret_bytes[1] = (uint8_t)exponent;
        *ret_len = mantissa == 1 ? 1 : 2;
        return mantissa == 1 ? BLOCK_RESOLUTION_TEN : BLOCK_RESOLUTION_DECIMAL;
    }
    if (as_binary(resolution, &mantissa, &exponent)) {
        ret_bytes[0] = (uint8_t)mantissa;
        ret_bytes[1] = (uint8_t)exponent;
        *ret_len = 2;
        return BLOCK_RESOLUTION_BINARY;
    }
    memcpy(ret_bytes, &resolution, 8);
    *ret_len = 8;
    return BLOCK_RESOLUTION_DOUBLE;
}

/* mantissa x 2^exponent, put together from its bits: ldexp is a call, and this is on the gateway's path. */
static double scale_two(unsigned mantissa, int exponent)
{
    uint64_t bits = (uint64_t)(exponent + DBL_MAX_EXP - 1) << (DBL_MANT_DIG - 1);
    double power;
    memcpy(&power, &bits, 8);
    return mantissa * power;
}

double resolution_read(struct cursor *c, unsigned form, double previous)
{
    double resolution = 0;
    if (form == BLOCK_RESOLUTION_SAME) {
        return previous;
    }
    if (form == BLOCK_RESOLUTION_DOUBLE) {
        uint64_t bits = cursor_u64le(c);
        memcpy(&resolution, &bits, 8);
        c->failed |= !block_resolution_valid(resolution);
        return resolution;
    }
    /* What two bytes say is valid unless it is 0. */
    unsigned mantissa = form == BLOCK_RESOLUTION_TEN ? 1 : cursor_u8(c);
    int exponent = (int8_t)cursor_u8(c);
    bool in_tens = exponent >= -TENS_MAX && exponent <= TENS_MAX;
    if (form == BLOCK_RESOLUTION_BINARY) {
        resolution = scale_two(mantissa, exponent);
    } else if (in_tens && (form == BLOCK_RESOLUTION_TEN || form == BLOCK_RESOLUTION_DECIMAL)) {
        resolution = scale_ten(mantissa, exponent);
    } else {
        c->failed = true;
    }
    c->failed |= mantissa == 0;
    return resolution;
}

int64_t block_quantise(double value, double resolution)
{
    double steps = round(value / resolution);
    return fabs(steps) < 0x1p62 ? (int64_t)steps : BLOCK_MISSING; /* false for NaN */
}

double block_value(int64_t value, double resolution)
{
    if (value == BLOCK_MISSING) {
        return NAN;
    }
    double inverse = resolution < 1 ? round(1 / resolution) : 0;
    return inverse != 0 && inverse < 0x1p53 && 1 / inverse == resolution ? (double)value / inverse
                                                                         : (double)value * resolution;
}
