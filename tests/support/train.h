/* SPDX-License-Identifier: Apache-2.0 */
/*
 * train - small classifiers for tests: dense and convolutional layers, trained in float32, written as .tflite in
 * float32 or int8.
 *
 *   rows + labels --train_fit--> weights --train_write--> a file for core/nn; its output: logits
 *
 * Adam (Kingma and Ba, ICLR 2015) on the cross-entropy of a softmax, rate falling to 0 along a cosine; weights drawn
 * after He et al. (ICCV 2015). One thread; the same seed gives the same bits on every processor that rounds as IEEE 754
 * says. int8 by post-training quantisation (Jacob et al., CVPR 2018): ranges of the activations from calibration rows,
 * weights symmetric, per output channel for convolutions, per tensor for dense layers. Aborts when memory is out:
 * support of tests, not of products.
 */
#ifndef TESTS_SUPPORT_TRAIN_H
#define TESTS_SUPPORT_TRAIN_H

#include "core/base/base.h"

struct train;
enum { TRAIN_LAYERS_MAX = 8, TRAIN_OUT_MAX = 64 };
enum train_kind { TRAIN_DENSE, TRAIN_CONV };
struct train_layer {
    enum train_kind kind;
    unsigned out; /* of a convolution: channels, at most TRAIN_OUT_MAX */
    unsigned kernel_height, kernel_width, stride_height,
        stride_width; /* of a convolution; padding: as much as keeps the size */
    /* all but the last layer are followed by a RELU */
};
struct train_shape { /* of a row: height x width x channels, channels innermost */
    unsigned height, width, channels;
};
struct train_plan {
    unsigned epochs, batch;
    double rate, decay; /* Adam's step; share of itself that a weight loses per step, times the rate */
};

/* Convolutions come before dense layers. */
struct train *train_new(struct train_shape shape, const struct train_layer *layers, unsigned count, uint64_t seed);
void train_free(struct train *t);
DEFINE_CLEANUP(struct train, train_free)
size_t train_inputs(const struct train *t);
size_t train_outputs(const struct train *t);
size_t train_weights(const struct train *t); /* with biases */
/* rows: [count][inputs]; labels below outputs. Returns the mean loss of the last epoch. */
double train_fit(struct train *t, const float *rows, const uint8_t *labels, size_t count,
                 const struct train_plan *plan);
/* out: [count][outputs] */
void train_run(struct train *t, const float *rows, size_t count, float *out);
/* calibration: [count][inputs], for int8; NULL: float32. out: NN_ALIGN aligned. Returns the file's length. */
size_t train_write(struct train *t, const float *calibration, size_t count, uint8_t *out, size_t cap);

#endif
