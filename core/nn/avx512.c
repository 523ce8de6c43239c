/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels for x86-64 with AVX-512 (F, BW, VL) and VNNI. int8: four products at a time of unsigned and signed bytes, so
 * inputs are moved up by 128. Depthwise as with AVX2. */
#include "core/nn/nn_internal.h"

#if defined(__x86_64__)
#include <immintrin.h>
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512vnni")
#endif

enum { LANES_I8 = 16, GROUP = 4 };

static inline __attribute__((always_inline)) __m128i requantise(const struct op *op, size_t c, __m512i acc)
{
    const __m512i zero = _mm512_setzero_si512(), one = _mm512_set1_epi32(1);
    __m512i m = _mm512_loadu_si512(op->multipliers + c), shift = _mm512_loadu_si512(op->shifts + c);
    __m512i left = _mm512_max_epi32(shift, zero), right = _mm512_max_epi32(_mm512_sub_epi32(zero, shift), zero);
    __m512i half = _mm512_set1_epi64(INT64_C(1) << 30), x = _mm512_sllv_epi32(acc, left);
    __m512i even = _mm512_add_epi64(_mm512_mul_epi32(x, m), half);
    __m512i odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(x, 32), _mm512_srli_epi64(m, 32)), half);
    __m512i v = _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 31), _mm512_slli_epi64(odd, 1));
    __mmask16 shifts = _mm512_cmpgt_epi32_mask(right, zero);
    __m512i last = _mm512_maskz_and_epi32(shifts, _mm512_srav_epi32(v, _mm512_sub_epi32(right, one)), one);
    v = _mm512_add_epi32(_mm512_srav_epi32(v, right), last);
    v = _mm512_add_epi32(v, _mm512_set1_epi32(op->out->info.zero_point));
    v = _mm512_min_epi32(_mm512_max_epi32(v, _mm512_set1_epi32(op->min)), _mm512_set1_epi32(op->max));
    return _mm512_cvtepi32_epi8(v);
}

static inline __mmask64 first_bytes(size_t n)
{
    return n >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1;
}

/* Rows as unsigned bytes, filled up to fours. */
static void lift(size_t rows, size_t depth, size_t apart, const int8_t *a, uint8_t *lifted)
{
    for (size_t r = 0; r < rows; r++, a += depth, lifted += apart) {
        size_t k = 0;
        for (; k + 64 <= depth; k += 64) {
            _mm512_storeu_si512(lifted + k, _mm512_xor_si512(_mm512_loadu_si512(a + k), _mm512_set1_epi8(-128)));
        }
        __m512i rest = _mm512_maskz_loadu_epi8(first_bytes(depth - k), a + k);
        _mm512_mask_storeu_epi8(lifted + k, first_bytes(apart - k), _mm512_xor_si512(rest, _mm512_set1_epi8(-128)));
    }
}

static inline __attribute__((always_inline)) void tile(size_t rows, size_t vectors, const struct op *op, size_t block,
                                                       size_t groups, const uint8_t *lifted, int8_t *out)
{
    __m512i sum[8][4];
    const uint8_t *w = op->packed + block * groups * LANES_I8 * GROUP;
#pragma GCC unroll 8
    for (size_t r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            sum[r][v] = _mm512_loadu_si512(op->sums + (block + v) * LANES_I8);
        }
    }
    for (size_t g = 0; g < groups; g++) {
        __m512i weight[4];
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            weight[v] = _mm512_loadu_si512(w + (v * groups + g) * LANES_I8 * GROUP);
        }
#pragma GCC unroll 8
        for (size_t r = 0; r < rows; r++) {
            int32_t four;
            memcpy(&four, lifted + (r * groups + g) * GROUP, sizeof(four));
            __m512i x = _mm512_set1_epi32(four);
#pragma GCC unroll 4
            for (size_t v = 0; v < vectors; v++) {
                sum[r][v] = _mm512_dpbusd_epi32(sum[r][v], x, weight[v]);
            }
        }
    }
#pragma GCC unroll 8
    for (size_t r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            size_t first = (block + v) * LANES_I8, count = min_u64(LANES_I8, op->cols - first);
            _mm_mask_storeu_epi8(out + r * op->cols + first, (__mmask16)((1U << count) - 1), requantise(op, first, sum[r][v]));
        }
    }
}

/* All rows against one or two blocks of columns, whose weights stay in the nearest cache meanwhile. */
static inline __attribute__((always_inline)) void columns(size_t rows, size_t vectors, const struct op *op, size_t block,
                                                          size_t groups, const uint8_t *lifted, int8_t *out)
{
    enum { TILE_ROWS_I8 = 8 };
    for (; rows >= TILE_ROWS_I8; rows -= TILE_ROWS_I8, lifted += TILE_ROWS_I8 * groups * GROUP, out += TILE_ROWS_I8 * op->cols) {
        tile(TILE_ROWS_I8, vectors, op, block, groups, lifted, out);
    }
    for (; rows > 0; rows--, lifted += groups * GROUP, out += op->cols) {
        tile(1, vectors, op, block, groups, lifted, out);
    }
}

static void gemm_i8(size_t rows, const struct op *op, const int8_t *a, uint8_t *scratch, int8_t *out)
{
    size_t blocks = (op->cols + LANES_I8 - 1) / LANES_I8, groups = (op->depth + GROUP - 1) / GROUP;
    uint8_t *lifted = scratch;
    while (rows > 0) {
        size_t some = min_u64(rows, PATCH_ROWS), b = 0;
        lift(some, op->depth, groups * GROUP, a, lifted);
        for (; some == 1 && b + 4 <= blocks; b += 4) {
            tile(1, 4, op, b, groups, lifted, out);
        }
        for (; b + 2 <= blocks; b += 2) {
            columns(some, 2, op, b, groups, lifted, out);
        }
        for (; b < blocks; b++) {
            columns(some, 1, op, b, groups, lifted, out);
        }
        rows -= some;
        a += some * op->depth;
        out += some * op->cols;
    }
}

static void depthwise_i8(size_t taps, const struct op *op, const int8_t *const *tap, int8_t *out)
{
    nn_kernels_avx2.depthwise_i8(taps, op, tap, out);
}

typedef float vector16 __attribute__((vector_size(64)));
#define LANES ((size_t)16)
#define TILE_ROWS ((size_t)12)
#define VECTOR vector16
#define NAME(x) x##_avx512
#include "core/nn/gemm_f32.inc"

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

static bool available(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni") && nn_kernels_avx2.available();
}

const struct kernels nn_kernels_avx512 = {.name = "avx512",
                                          .i8 = {.lanes = LANES_I8, .group = GROUP, .offset = 128},
                                          .f32 = {.lanes = LANES, .group = 1},
                                          .available = available,
                                          .gemm_i8 = gemm_i8,
                                          .gemm_f32 = gemm_f32_avx512,
                                          .depthwise_i8 = depthwise_i8};
#endif
