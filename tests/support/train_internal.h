/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SUPPORT_TRAIN_INTERNAL_H
#define TESTS_SUPPORT_TRAIN_INTERNAL_H

#include "tests/support/train.h"

struct part {
    struct train_layer layer;
    struct train_shape in, out;
    size_t depth, weights;                  /* weights = depth * layer.out; the biases stand behind them */
    float *value, *slope, *moment, *square; /* owned; [depth][out], then [out] */
    float *columns, *result, *error;        /* owned; of a batch */
    size_t *inputs_at;                      /* owned; of a convolution: [places][taps], SIZE_MAX in the padding */
};
struct train {
    struct train_shape shape;
    unsigned count;
    uint64_t seed;
    struct part parts[TRAIN_LAYERS_MAX];
    size_t batch;  /* for which there is room */
    float *turned; /* owned; weights turned, then the error of the columns */
};

void *train_get(size_t count, size_t size); /* zeroed */
size_t train_size(struct train_shape s);
/* Room for batches of so many. */
void train_reserve(struct train *t, size_t batch);
/* Leaves every part's result. */
void train_forward(struct train *t, const float *rows, size_t batch);

#endif
