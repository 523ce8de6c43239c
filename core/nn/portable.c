/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels in plain C: a microcontroller's, and what the others are held against. */
#include "core/nn/nn_internal.h"

static void gemm_i8(size_t rows, const struct op *op, const int8_t *a, uint8_t *scratch, int8_t *out)
{
    size_t depth = op->depth;
    (void)scratch;
    for (size_t r = 0; r < rows; r++, a += depth, out += op->cols) {
        const int8_t *filter = (const int8_t *)op->packed;
        for (size_t c = 0; c < op->cols; c++, filter += depth) {
            uint32_t acc = (uint32_t)op->sums[c];
            for (size_t k = 0; k < depth; k++) {
                acc += (uint32_t)(a[k] * filter[k]);
            }
            int32_t q = fixed_apply_up(op->multipliers[c], op->shifts[c], (int32_t)acc) + op->out->info.zero_point;
            out[c] = (int8_t)clamp_i32(q, op->min, op->max);
        }
    }
}

static void depthwise_i8(size_t taps, const struct op *op, const int8_t *const *tap, int8_t *out)
{
    const int8_t *w = (const int8_t *)op->weights->constant;
    int32_t zero = op->in->info.zero_point;
    for (size_t c = 0; c < op->cols; c++) {
        uint32_t acc = (uint32_t)op->sums[c];
        for (size_t t = 0; t < taps; t++) {
            acc += (uint32_t)((tap[t] != NULL ? tap[t][c] : zero) * w[t * op->cols + c]);
        }
        struct fixed f = {op->multipliers[c], op->shifts[c]};
        out[c] = (int8_t)clamp_i32(fixed_apply(f, (int32_t)acc) + op->out->info.zero_point, op->min, op->max);
    }
}

static void gemm_f32(size_t rows, const struct op *op, const float *a, float *out)
{
    size_t depth = op->depth;
    for (size_t r = 0; r < rows; r++, a += depth, out += op->cols) {
        const float *filter = (const void *)op->packed;
        for (size_t c = 0; c < op->cols; c++, filter += depth) {
            float acc = op->packed_bias[c];
            for (size_t k = 0; k < depth; k++) {
                acc += a[k] * filter[k];
            }
            out[c] = fminf(fmaxf(acc, op->float_min), op->float_max);
        }
    }
}

static bool available(void)
{
    return true;
}

const struct kernels nn_kernels_portable = {
    .name = "portable", .available = available, .gemm_i8 = gemm_i8, .depthwise_i8 = depthwise_i8, .gemm_f32 = gemm_f32};
