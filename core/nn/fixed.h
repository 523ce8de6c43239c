/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fixed - the integer arithmetic of quantised networks: a real factor as a Q31 multiplier and a shift (Jacob et al. 2018,
 * section 2.2; gemmlowp's fixed point; rounding as in TensorFlow Lite's reference kernels).
 */
#ifndef CORE_NN_FIXED_H
#define CORE_NN_FIXED_H

#include <math.h>

#include "core/base/base.h"

struct fixed {
    int32_t multiplier; /* Q31, in [2^30, 2^31), or 0 */
    int32_t shift;      /* to the left; negative: to the right */
};

/* factor >= 0, finite. */
static inline struct fixed fixed_of(double factor)
{
    struct fixed f = {0, 0};
    int shift = 0;
    double q = frexp(factor, &shift);
    int64_t m = llround(q * (double)(INT64_C(1) << 31));
    if (m == INT64_C(1) << 31) {
        m /= 2;
        shift++;
    }
    if (factor == 0 || shift < -31 || shift > 30) {
        return f;
    }
    f.multiplier = (int32_t)m;
    f.shift = shift;
    return f;
}

/* (a * b) / 2^31, rounded half up. b is a multiplier, so never INT32_MIN: nothing to saturate. */
static inline int32_t fixed_high_mul(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + (INT64_C(1) << 30)) >> 31);
}

/* x / 2^shift, rounded half away from zero; 0 <= shift <= 31. */
static inline int32_t fixed_shift_right(int32_t x, int32_t shift)
{
    int32_t mask = (int32_t)((INT64_C(1) << shift) - 1);
    int32_t rest = x & mask;
    int32_t threshold = (mask >> 1) + (x < 0);
    return (x >> shift) + (rest > threshold);
}

static inline int32_t fixed_apply(struct fixed f, int32_t x)
{
    int32_t left = f.shift > 0 ? f.shift : 0, right = f.shift > 0 ? 0 : -f.shift;
    int32_t shifted = (int32_t)((uint32_t)x << left); /* wraps where TensorFlow Lite's does */
    return fixed_shift_right(fixed_high_mul(shifted, f.multiplier), right);
}

/* The same, but the shift to the right rounds half up: what TensorFlow Lite's matrix library (ruy) does, hence its
 * convolutions and dense layers. */
static inline int32_t fixed_apply_up(int32_t multiplier, int32_t shift, int32_t x)
{
    int32_t left = shift > 0 ? shift : 0, right = shift > 0 ? 0 : -shift;
    int32_t v = fixed_high_mul((int32_t)((uint32_t)x << left), multiplier);
    return right == 0 ? v : (v >> right) + (v >> (right - 1) & 1);
}

#endif
