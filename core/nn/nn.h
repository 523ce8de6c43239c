/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nn - runs a small neural network from a .tflite file, on a gateway as on a microcontroller without an OS.
 *
 *   file (borrowed, read only) + memory (the caller's) --nn_load--> model, all sizes checked, every buffer planned
 *   write nn_input --nn_run--> read nn_output
 *
 * The file may come from anybody: each offset, count, shape and range is checked at load; a model that loads cannot
 * fail, allocate or read outside of file and memory while it runs. Weights stay in the file (flash), which must outlive
 * the model and stand at a multiple of NN_ALIGN.
 *
 * Subset: one subgraph, static shapes of at most 4 dimensions, tensors of float32 or int8 (int32 for biases and shapes).
 * ADD, AVERAGE_POOL_2D, CONV_2D, DEPTHWISE_CONV_2D, DEQUANTIZE, FULLY_CONNECTED, LOGISTIC, MAX_POOL_2D, MEAN, PAD,
 * QUANTIZE, RELU, RELU6, RESHAPE, SOFTMAX. Layout NHWC; conv weights [out, kh, kw, in], depthwise [1, kh, kw, out].
 *
 * int8 (Jacob et al. 2018, as TensorFlow Lite lays it down): real = scale * (q - zero_point); weights symmetric, per
 * output channel or per tensor; sums in int32; requantised by a Q31 multiplier and a shift, rounded twice (half up,
 * then half away from zero), which is what TensorFlow Lite's reference and CMSIS-NN do. No int8 result depends on the
 * processor, its vector width or the batch.
 * float32: sums in an order that depends on the processor's vector width; within 1e-5 of one another, relative to the
 * largest output.
 */
#ifndef CORE_NN_NN_H
#define CORE_NN_NN_H

#include "core/base/base.h"

struct nn;

enum { NN_ALIGN = 16, NN_RANK_MAX = 4, NN_TENSORS_MAX = 512, NN_OPS_MAX = 256, NN_BATCH_MAX = 256 };
enum nn_type { NN_FLOAT32, NN_INT8, NN_INT32 };
enum nn_kind {
    NN_ADD,
    NN_AVERAGE_POOL_2D,
    NN_CONV_2D,
    NN_DEPTHWISE_CONV_2D,
    NN_DEQUANTIZE,
    NN_FULLY_CONNECTED,
    NN_LOGISTIC,
    NN_MAX_POOL_2D,
    NN_MEAN,
    NN_PAD,
    NN_QUANTIZE,
    NN_RELU,
    NN_RELU6,
    NN_RESHAPE,
    NN_SOFTMAX,
    NN_KINDS
};

struct nn_tensor {
    enum nn_type type;
    unsigned rank;
    uint32_t dim[NN_RANK_MAX]; /* of one sample: with a batch of n, dim[0] is n times this */
    size_t elements, bytes;    /* of the whole batch */
    float scale;               /* of int8; per tensor */
    int32_t zero_point;
};
struct nn_cost {
    size_t memory_bytes;  /* what nn_load needs: activations, tables, packed weights */
    size_t arena_bytes;   /* of it: activations, planned so that what is not alive at once shares its place */
    size_t weights_bytes; /* in the file */
    uint64_t macs;        /* multiply-accumulates of one sample */
    unsigned ops, tensors;
};
struct nn_options {
    unsigned batch;    /* samples per run, 1..NN_BATCH_MAX; 0 = 1. Above 1 the model's dim[0] must be 1 throughout */
    const char *kernels; /* "portable" (a microcontroller's; weights are read from the file as they stand), "avx2",
                          * "avx512", "neon", "neon-dotprod"; NULL = the fastest of this processor, which packs weights into memory */
    uint64_t macs_max;   /* of one sample, with the values that its pools look at; 0 = 10^10 */
};
/* memory: NN_ALIGN aligned. *ret_cost is written whenever the file is sound, also with ERR_FULL: memory_bytes is then what the
 * next attempt needs at least, the whole only once the tables had room (64 KiB hold most). Grow and call again until it is
 * not ERR_FULL. options may be NULL.
 * ERR_MALFORMED: not a .tflite file, or it points outside of itself, or its shapes contradict one another;
 * ERR_UNSUPPORTED: sound, but beyond the subset (the sentence names operator and tensor); kernels not of this processor; ERR_RANGE: macs_max, batch,
 * alignment; ERR_FULL: memory. */
enum err nn_load(struct slice file, void *memory, size_t memory_bytes, const struct nn_options *options,
                 struct nn **ret_nn, struct nn_cost *ret_cost, struct fault *reterr) MUST_CHECK;

unsigned nn_batch(const struct nn *nn); /* samples per run at most */
size_t nn_inputs(const struct nn *nn);
size_t nn_outputs(const struct nn *nn);
const struct nn_tensor *nn_input_info(const struct nn *nn, size_t i);
const struct nn_tensor *nn_output_info(const struct nn *nn, size_t i);
/* Valid for the life of the model. What stands there is undefined after a run: inputs are written before each. */
void *nn_input(struct nn *nn, size_t i);
const void *nn_output(const struct nn *nn, size_t i);
/* The first `samples` of the batch, 1..batch, which stand one after another in inputs and outputs. Bounded by the model's
 * cost; any thread, one at a time. */
void nn_run(struct nn *nn, unsigned samples);

/* q = round(value / scale) + zero_point, saturated (round half away from zero); and back. */
int8_t nn_quantize(const struct nn_tensor *tensor, float value);
float nn_dequantize(const struct nn_tensor *tensor, int8_t q);

/* For inspection: operators in the order in which they run. */
struct nn_op_info {
    enum nn_kind kind;
    uint64_t macs;        /* of one sample */
    size_t weights_bytes; /* weights and biases */
    const struct nn_tensor *input, *output; /* the first of each */
};
size_t nn_ops(const struct nn *nn);
struct nn_op_info nn_op(const struct nn *nn, size_t i);
/* Name of the kernels in use. */
const char *nn_kernels(const struct nn *nn);
/* "FULLY_CONNECTED" */
const char *nn_kind_name(enum nn_kind kind);
const char *nn_type_name(enum nn_type type);

#endif
