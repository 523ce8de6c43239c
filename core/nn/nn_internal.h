/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_NN_NN_INTERNAL_H
#define CORE_NN_NN_INTERNAL_H

#include "core/nn/fixed.h"
#include "core/nn/flat.h"
#include "core/nn/nn.h"

struct tensor {
    struct nn_tensor info;
    const uint8_t *constant; /* in the file; NULL: an activation */
    uint8_t *at;             /* of an activation, once planned */
    size_t place;            /* in the arena */
    unsigned first, last;    /* operators between which it is alive */
    bool used;
    struct flat_vector scales, zero_points; /* per channel when scales.count > 1 */
    int32_t channel_dim;
};

/* What a filter or a pool slides over: input [batch, h, w, c], output likewise. */
struct window {
    int32_t kh, kw, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
};

struct op;
typedef void op_fn(const struct nn *nn, const struct op *op);

struct op {
    enum nn_kind kind;
    op_fn *run;
    const struct tensor *in, *in2, *weights, *bias, *out;
    struct window window;
    int32_t multiplier;       /* of a depthwise convolution: outputs per input channel */
    int32_t min, max;         /* of an int8 output */
    float float_min, float_max;
    /* Per output channel, `padded` of them: bias - input zero point * sum of the weights; its factor. */
    int32_t *sums, *multipliers, *shifts;
    size_t cols, depth;       /* of a product: weights are [cols][depth] */
    const uint8_t *packed;    /* weights in the order in which the processor's kernel reads them; NULL: as in the file */
    const float *packed_bias;
    struct fixed scale, scale2, scale_out;
    int32_t pad[NN_RANK_MAX][2];
    unsigned axes;            /* bits: dimensions that a mean goes over */
    int8_t *lut;              /* 256 results */
    float *exps;              /* 256 exponentials */
    float beta;
    uint64_t macs;
    size_t weights_bytes;
};

/*
 * Kernels that differ between processors.
 *
 * Weights of a product are packed for them: columns in blocks of `lanes`, in a block `group` entries of the depth of each
 * column next to one another, filled up with zeros:  [cols / lanes][depth / group][lanes][group].
 * lanes = 0: they are read as they stand in the file.
 */
struct packing {
    unsigned lanes, group;
    int32_t offset; /* the kernel adds this to its inputs; the sums are made up for it */
};
struct kernels {
    const char *name;
    struct packing i8, f32;
    bool (*available)(void);
    /* out[r][c] = clamp(requantise(sums[c] + sum over k of a[r][k] * w[c][k])). scratch: nn_kernel_scratch */
    void (*gemm_i8)(size_t rows, const struct op *op, const int8_t *a, uint8_t *scratch, int8_t *out);
    /* out[r][c] = clamp(bias[c] + sum over k of a[r][k] * w[c][k]) */
    void (*gemm_f32)(size_t rows, const struct op *op, const float *a, float *out);
    /* One output pixel of a depthwise convolution with multiplier 1. A tap of NULL lies in the padding. */
    void (*depthwise_i8)(size_t taps, const struct op *op, const int8_t *const *tap, int8_t *out);
};
extern const struct kernels nn_kernels_portable, nn_kernels_avx2, nn_kernels_avx512; /* the latter two on x86-64 */
#if defined(__aarch64__) && defined(__linux__)
#define NN_NEON
#if !defined(__clang__) || __clang_major__ >= 16 || defined(__ARM_FEATURE_DOTPROD) /* clang before 16 knows no target of it */
#define NN_DOTPROD
#endif
#endif
extern const struct kernels nn_kernels_neon, nn_kernels_neon_dotprod; /* with NN_NEON, NN_DOTPROD */
/* By name; NULL: the best of this processor. Returns NULL when there are none of that name, or not here. */
const struct kernels *nn_kernels_find(const char *name);

enum { PATCH_ROWS = 24, TAPS_MAX = 1024, LANES_MAX = 16 }; /* rows that a convolution gathers at a time */
/* Bytes that gemm_i8 needs: PATCH_ROWS rows of 16 bits. */
static inline size_t nn_kernel_scratch(size_t depth)
{
    return PATCH_ROWS * (depth + 64) * 2;
}
struct nn {
    struct tensor *tensors;
    struct op *ops;
    const struct tensor **inputs, **outputs;
    unsigned tensor_count, op_count, input_count, output_count;
    unsigned batch, samples; /* planned for, in this run */
    const struct kernels *kernels;
    uint8_t *scratch;        /* patches of a convolution, sums of a mean */
    uint8_t *kernel_scratch;
};

/* Memory of the caller, given out piece by piece; counts on when it is used up. */
struct bump {
    uint8_t *base;
    size_t size, used;
};
/* NN_ALIGN aligned; NULL when there is no more. */
void *bump_take(struct bump *bump, size_t bytes);

/* ---- load.c, operators.c: what loading knows ---- */
struct loader {
    struct flat flat;
    struct nn *nn;
    struct bump bump;
    struct fault *reterr;
    uint64_t macs, macs_max, elements;
    uint64_t looks; /* of pools: values that they look at */
    size_t scratch_bytes, kernel_scratch_bytes, weights_bytes;
    unsigned index; /* of the operator in hand */
};
/* Fills in op (kind is set) from the operator's table; tensors are known. */
enum err nn_prepare_op(struct loader *l, struct op *op, size_t table, struct flat_vector inputs,
                       struct flat_vector outputs) MUST_CHECK;
/* Gives every activation its place so that those alive at once do not meet; returns the arena's size. */
size_t nn_plan(struct nn *nn);

/* ---- kernels of the operators ---- */
op_fn nn_run_conv_i8, nn_run_conv_f32, nn_run_depthwise_i8, nn_run_depthwise_f32, nn_run_dense_i8, nn_run_dense_f32;
op_fn nn_run_pool_average_i8, nn_run_pool_average_f32, nn_run_pool_max_i8, nn_run_pool_max_f32;
op_fn nn_run_add_i8, nn_run_add_f32, nn_run_pad, nn_run_mean_i8, nn_run_mean_f32, nn_run_lut_i8, nn_run_relu_f32;
op_fn nn_run_logistic_f32, nn_run_softmax_i8, nn_run_softmax_f32, nn_run_reshape, nn_run_quantize, nn_run_dequantize;

static inline const void *data_of(const struct tensor *t)
{
    return t->constant != NULL ? t->constant : t->at;
}
static inline int32_t clamp_i32(int32_t v, int32_t min, int32_t max)
{
    return v < min ? min : v > max ? max : v;
}

#endif
