/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels for x86-64 with AVX2 and FMA. int8: pairs of 16 bits, exact in 32. */
#include "core/nn/nn_internal.h"

#if defined(__x86_64__)
#include <immintrin.h>
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

enum { LANES_I8 = 8, GROUP = 2 };

/* fixed_apply_up, or with `away` fixed_apply, of eight sums; then zero point and clamp. */
static inline __attribute__((always_inline)) __m256i requantise(const struct op *op, size_t c, __m256i acc, bool away)
{
    const __m256i zero = _mm256_setzero_si256(), one = _mm256_set1_epi32(1);
    __m256i m = _mm256_loadu_si256((const void *)(op->multipliers + c)), shift = _mm256_loadu_si256((const void *)(op->shifts + c));
    __m256i left = _mm256_max_epi32(shift, zero), right = _mm256_max_epi32(_mm256_sub_epi32(zero, shift), zero);
    __m256i half = _mm256_set1_epi64x(INT64_C(1) << 30), x = _mm256_sllv_epi32(acc, left);
    __m256i even = _mm256_add_epi64(_mm256_mul_epi32(x, m), half);
    __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(x, 32), _mm256_srli_epi64(m, 32)), half);
    __m256i v = _mm256_blend_epi32(_mm256_srli_epi64(even, 31), _mm256_slli_epi64(odd, 1), 0xAA);
    if (away) {
        __m256i mask = _mm256_sub_epi32(_mm256_sllv_epi32(one, right), one);
        __m256i threshold = _mm256_sub_epi32(_mm256_srli_epi32(mask, 1), _mm256_cmpgt_epi32(zero, v));
        __m256i up = _mm256_cmpgt_epi32(_mm256_and_si256(v, mask), threshold);
        v = _mm256_sub_epi32(_mm256_srav_epi32(v, right), up);
    } else {
        __m256i last = _mm256_and_si256(_mm256_srav_epi32(v, _mm256_sub_epi32(right, one)), one);
        last = _mm256_andnot_si256(_mm256_cmpeq_epi32(right, zero), last);
        v = _mm256_add_epi32(_mm256_srav_epi32(v, right), last);
    }
    v = _mm256_add_epi32(v, _mm256_set1_epi32(op->out->info.zero_point));
    return _mm256_min_epi32(_mm256_max_epi32(v, _mm256_set1_epi32(op->min)), _mm256_set1_epi32(op->max));
}

static inline __attribute__((always_inline)) void store(__m256i v, int8_t *out, size_t count)
{
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    int64_t bytes = _mm_cvtsi128_si64(_mm_packs_epi16(words, words));
    if (count >= 8) {
        memcpy(out, &bytes, 8);
    } else {
        memcpy(out, &bytes, count);
    }
}

/* Rows as 16 bits, filled up to pairs. */
static void widen(size_t rows, size_t depth, size_t apart, const int8_t *a, int16_t *wide)
{
    for (size_t r = 0; r < rows; r++, a += depth, wide += apart) {
        size_t k = 0;
        for (; k + 16 <= depth; k += 16) {
            _mm256_storeu_si256((void *)(wide + k), _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(a + k))));
        }
        for (; k < depth; k++) {
            wide[k] = a[k];
        }
        if (depth % GROUP != 0) {
            wide[depth] = 0;
        }
    }
}

static inline __attribute__((always_inline)) void tile(size_t rows, size_t vectors, const struct op *op, size_t block,
                                                       size_t groups, const int16_t *wide, int8_t *out)
{
    __m256i sum[8][4];
    const int8_t *w = (const int8_t *)op->packed + block * groups * LANES_I8 * GROUP;
#pragma GCC unroll 8
    for (size_t r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            sum[r][v] = _mm256_loadu_si256((const void *)(op->sums + (block + v) * LANES_I8));
        }
    }
    for (size_t g = 0; g < groups; g++) {
        __m256i weight[4];
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            weight[v] = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(w + (v * groups + g) * LANES_I8 * GROUP)));
        }
#pragma GCC unroll 8
        for (size_t r = 0; r < rows; r++) {
            int32_t pair;
            memcpy(&pair, wide + r * groups * GROUP + g * GROUP, sizeof(pair));
            __m256i x = _mm256_set1_epi32(pair);
#pragma GCC unroll 4
            for (size_t v = 0; v < vectors; v++) {
                sum[r][v] = _mm256_add_epi32(sum[r][v], _mm256_madd_epi16(x, weight[v]));
            }
        }
    }
#pragma GCC unroll 8
    for (size_t r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (size_t v = 0; v < vectors; v++) {
            size_t first = (block + v) * LANES_I8;
            store(requantise(op, first, sum[r][v], false), out + r * op->cols + first, op->cols - first);
        }
    }
}

/* All rows against one or two blocks of columns, whose weights stay in the nearest cache meanwhile. */
static inline __attribute__((always_inline)) void columns(size_t rows, size_t vectors, const struct op *op, size_t block,
                                                          size_t groups, const int16_t *wide, int8_t *out)
{
    enum { TILE_ROWS_I8 = 4 };
    for (; rows >= TILE_ROWS_I8; rows -= TILE_ROWS_I8, wide += TILE_ROWS_I8 * groups * GROUP, out += TILE_ROWS_I8 * op->cols) {
        tile(TILE_ROWS_I8, vectors, op, block, groups, wide, out);
    }
    for (; rows > 0; rows--, wide += groups * GROUP, out += op->cols) {
        tile(1, vectors, op, block, groups, wide, out);
    }
}

static void gemm_i8(size_t rows, const struct op *op, const int8_t *a, uint8_t *scratch, int8_t *out)
{
    size_t blocks = (op->cols + LANES_I8 - 1) / LANES_I8, groups = (op->depth + GROUP - 1) / GROUP;
    int16_t *wide = (void *)scratch;
    while (rows > 0) {
        size_t some = min_u64(rows, PATCH_ROWS), b = 0;
        widen(some, op->depth, groups * GROUP, a, wide);
        for (; some == 1 && b + 4 <= blocks; b += 4) {
            tile(1, 4, op, b, groups, wide, out);
        }
        for (; b + 2 <= blocks; b += 2) {
            columns(some, 2, op, b, groups, wide, out);
        }
        for (; b < blocks; b++) {
            columns(some, 1, op, b, groups, wide, out);
        }
        rows -= some;
        a += some * op->depth;
        out += some * op->cols;
    }
}

static void depthwise_i8(size_t taps, const struct op *op, const int8_t *const *tap, int8_t *out)
{
    const int8_t *w = (const int8_t *)op->weights->constant;
    __m256i zero = _mm256_set1_epi16((int16_t)op->in->info.zero_point);
    size_t c = 0;
    for (; c + 16 <= op->cols; c += 16) {
        __m256i low = _mm256_loadu_si256((const void *)(op->sums + c)), high = _mm256_loadu_si256((const void *)(op->sums + c + 8));
        for (size_t t = 0; t < taps; t++) {
            __m256i x = tap[t] != NULL ? _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(tap[t] + c))) : zero;
            __m256i weight = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(w + t * op->cols + c)));
            __m256i product = _mm256_mullo_epi16(x, weight); /* at most 2^14 */
            low = _mm256_add_epi32(low, _mm256_cvtepi16_epi32(_mm256_castsi256_si128(product)));
            high = _mm256_add_epi32(high, _mm256_cvtepi16_epi32(_mm256_extracti128_si256(product, 1)));
        }
        store(requantise(op, c, low, true), out + c, 8);
        store(requantise(op, c + 8, high, true), out + c + 8, 8);
    }
    for (; c + 8 <= op->cols; c += 8) {
        __m256i low = _mm256_loadu_si256((const void *)(op->sums + c));
        for (size_t t = 0; t < taps; t++) {
            __m128i x = tap[t] != NULL ? _mm_cvtepi8_epi16(_mm_loadl_epi64((const void *)(tap[t] + c)))
                                       : _mm256_castsi256_si128(zero);
            __m128i product = _mm_mullo_epi16(x, _mm_cvtepi8_epi16(_mm_loadl_epi64((const void *)(w + t * op->cols + c))));
            low = _mm256_add_epi32(low, _mm256_cvtepi16_epi32(product));
        }
        store(requantise(op, c, low, true), out + c, 8);
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

typedef float vector8 __attribute__((vector_size(32)));
#define LANES ((size_t)8)
#define TILE_ROWS ((size_t)6)
#define VECTOR vector8
#define NAME(x) x##_avx2
#include "core/nn/gemm_f32.inc"

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

static bool available(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

const struct kernels nn_kernels_avx2 = {.name = "avx2",
                                        .i8 = {.lanes = LANES_I8, .group = GROUP},
                                        .f32 = {.lanes = LANES, .group = 1},
                                        .available = available,
                                        .gemm_i8 = gemm_i8,
                                        .gemm_f32 = gemm_f32_avx2,
                                        .depthwise_i8 = depthwise_i8};
#endif
