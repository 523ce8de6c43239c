/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels for 64-bit ARM under Linux: with Advanced SIMD, which each has ("neon"), and with the dot product of int8 (SDOT),
 * which the kernel tells of ("neon-dotprod"). Both are exact in 32 bits; depthwise and float32 are the same in both. */
#include "core/nn/nn_internal.h"

#ifdef NN_NEON
#include <arm_neon.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>

enum { LANES_I8 = 8 };

/* fixed_apply_up, or with `away` fixed_apply, of eight sums; then zero point and clamp. */
static inline __attribute__((always_inline)) int8x8_t requantise(const struct op *op, size_t c, int32x4x2_t acc, bool away)
{
    const int32x4_t zero = vdupq_n_s32(0);
    int16x4_t words[2];
#pragma GCC unroll 2
    for (size_t i = 0; i < 2; i++) {
        int32x4_t shift = vld1q_s32(op->shifts + c + 4 * i), right = vminq_s32(shift, zero); /* negative: to the right */
        int32x4_t v = vshlq_s32(acc.val[i], vmaxq_s32(shift, zero));
        v = vqrdmulhq_s32(v, vld1q_s32(op->multipliers + c + 4 * i)); /* fixed_high_mul */
        if (away) { /* one less before it is rounded half up, where it is negative and shifted at all */
            v = vqaddq_s32(v, vshrq_n_s32(vandq_s32(v, right), 31));
        }
        v = vaddq_s32(vrshlq_s32(v, right), vdupq_n_s32(op->out->info.zero_point));
        words[i] = vmovn_s32(vminq_s32(vmaxq_s32(v, vdupq_n_s32(op->min)), vdupq_n_s32(op->max)));
    }
    return vmovn_s16(vcombine_s16(words[0], words[1]));
}

static inline __attribute__((always_inline)) void store(int8x8_t v, int8_t *out, size_t count)
{
    if (count >= LANES_I8) {
        vst1_s8(out, v);
    } else {
        memcpy(out, &v, count);
    }
}

/* The rows `apart` bytes apart, filled up with zeros; as they are where nothing is missing. */
static const int8_t *fill_up(size_t rows, size_t depth, size_t apart, const int8_t *a, int8_t *scratch)
{
    if (depth == apart) {
        return a;
    }
    for (size_t r = 0; r < rows; r++) {
        memcpy(scratch + r * apart, a + r * depth, depth);
        memset(scratch + r * apart + depth, 0, apart - depth);
    }
    return scratch;
}

static void depthwise_i8(size_t taps, const struct op *op, const int8_t *const *tap, int8_t *out)
{
    const int8_t *w = (const int8_t *)op->weights->constant;
    int8x8_t zero = vdup_n_s8((int8_t)op->in->info.zero_point);
    size_t c = 0;
    for (; c + LANES_I8 <= op->cols; c += LANES_I8) {
        int32x4x2_t sum = {{vld1q_s32(op->sums + c), vld1q_s32(op->sums + c + 4)}};
        for (size_t t = 0; t < taps; t++) {
            int16x8_t product = vmull_s8(tap[t] != NULL ? vld1_s8(tap[t] + c) : zero, vld1_s8(w + t * op->cols + c));
            sum.val[0] = vaddw_s16(sum.val[0], vget_low_s16(product));
            sum.val[1] = vaddw_high_s16(sum.val[1], product);
        }
        store(requantise(op, c, sum, true), out + c, LANES_I8);
    }
    for (; c < op->cols; c++) {
        uint32_t acc = (uint32_t)op->sums[c];
        for (size_t t = 0; t < taps; t++) {
            acc += (uint32_t)((tap[t] != NULL ? tap[t][c] : op->in->info.zero_point) * w[t * op->cols + c]);
        }
        struct fixed f = {op->multipliers[c], op->shifts[c]};
        out[c] = (int8_t)clamp_i32(fixed_apply(f, (int32_t)acc) + op->out->info.zero_point, op->min, op->max);
    }
}

typedef float vector4 __attribute__((vector_size(16)));
#define LANES ((size_t)4)
#define TILE_ROWS ((size_t)8)
#define VECTOR vector4
#define NAME(x) x##_neon
#include "core/nn/gemm_f32.inc"

/* Two products of at most 2^14 each are added in 32 bits: together they may not fit 16. */
static inline __attribute__((always_inline)) int32x4x2_t dot_neon(int32x4x2_t sum, const int8_t *w, const int8_t *x)
{
    int16_t pair;
    memcpy(&pair, x, sizeof(pair));
    int8x16_t weight = vld1q_s8(w), twos = vreinterpretq_s8_s16(vdupq_n_s16(pair));
    sum.val[0] = vpadalq_s16(sum.val[0], vmull_s8(vget_low_s8(weight), vget_low_s8(twos)));
    sum.val[1] = vpadalq_s16(sum.val[1], vmull_high_s8(weight, twos));
    return sum;
}

enum { GROUP_NEON = 2, GROUP_DOTPROD = 4 };
#define GROUP GROUP_NEON
#include "core/nn/gemm_i8_neon.inc"
#undef GROUP
#undef NAME

static bool available_neon(void)
{
    return true;
}

const struct kernels nn_kernels_neon = {.name = "neon",
                                        .i8 = {.lanes = LANES_I8, .group = GROUP_NEON},
                                        .f32 = {.lanes = LANES, .group = 1},
                                        .available = available_neon,
                                        .gemm_i8 = gemm_i8_neon,
                                        .gemm_f32 = gemm_f32_neon,
                                        .depthwise_i8 = depthwise_i8};

#ifdef NN_DOTPROD
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif

static inline __attribute__((always_inline)) int32x4x2_t dot_dotprod(int32x4x2_t sum, const int8_t *w, const int8_t *x)
{
    int32_t four;
    memcpy(&four, x, sizeof(four));
    int8x16_t fours = vreinterpretq_s8_s32(vdupq_n_s32(four));
    sum.val[0] = vdotq_s32(sum.val[0], vld1q_s8(w), fours);
    sum.val[1] = vdotq_s32(sum.val[1], vld1q_s8(w + 16), fours);
    return sum;
}

#define GROUP GROUP_DOTPROD
#define NAME(x) x##_dotprod
#include "core/nn/gemm_i8_neon.inc"

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

static bool available_dotprod(void)
{
    return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
}

const struct kernels nn_kernels_neon_dotprod = {.name = "neon-dotprod",
                                                .i8 = {.lanes = LANES_I8, .group = GROUP_DOTPROD},
                                                .f32 = {.lanes = LANES, .group = 1},
                                                .available = available_dotprod,
                                                .gemm_i8 = gemm_i8_dotprod,
                                                .gemm_f32 = gemm_f32_neon,
                                                .depthwise_i8 = depthwise_i8};
#endif
#endif
