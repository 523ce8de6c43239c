/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tflite_build - small .tflite files for tests, written field by field: sound ones, and with `spoil` wrong ones.
 */
#ifndef TESTS_SUPPORT_TFLITE_BUILD_H
#define TESTS_SUPPORT_TFLITE_BUILD_H

#include "core/base/base.h"

enum { BUILD_FLOAT32 = 0, BUILD_INT32 = 2, BUILD_INT8 = 9 };
enum { BUILD_TENSORS = 48, BUILD_OPS = 16, BUILD_FIELDS = 8 };

struct build_tensor {
    int type, rank, dim[5];
    const float *scales; /* scale_count of them; NULL: none */
    int scale_count, zero_point, channel_dim;
    const void *data; /* NULL: an activation */
    size_t bytes;
};
struct build_op {
    int code; /* TensorFlow Lite's builtin code */
    int inputs[3], input_count, output;
    struct {
        int field, width; /* 1 or 4 bytes; 0 ends the list */
        int32_t value;
    } options[BUILD_FIELDS];
};
struct build_model {
    struct build_tensor tensors[BUILD_TENSORS];
    struct build_op ops[BUILD_OPS];
    int tensor_count, op_count, input, output;
};

/* Writes into out (NN_ALIGN aligned, cap bytes); the file's length. Asserts that it fits. */
size_t tflite_build(const struct build_model *model, uint8_t *out, size_t cap);

#endif
