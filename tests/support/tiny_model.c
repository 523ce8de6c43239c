/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/tiny_model.h"

#include <stdio.h>

#include "core/nn/nn.h"
#include "tests/support/tflite_build.h"

enum { FULLY_CONNECTED = 9 };

static size_t network(uint8_t *out, size_t cap)
{
    static const float in[] = {0.1F}, weight[] = {0.01F}, bias[] = {0.001F}, logit[] = {0.1F};
    static const int8_t weights[] = {0, 0, 100, 0, 0, 100};
    static const int32_t biases[] = {4000, 0, 0};
    static struct build_model m;
    m = (struct build_model){.tensor_count = 4, .op_count = 1, .output = 3};
    m.tensors[0] = (struct build_tensor){BUILD_INT8, 2, {1, 2}, in, 1, 0, 0, NULL, 0};
    m.tensors[1] = (struct build_tensor){BUILD_INT8, 2, {3, 2}, weight, 1, 0, 0, weights, sizeof(weights)};
    m.tensors[2] = (struct build_tensor){BUILD_INT32, 1, {3}, bias, 1, 0, 0, biases, sizeof(biases)};
    m.tensors[3] = (struct build_tensor){BUILD_INT8, 2, {1, 3}, logit, 1, 0, 0, NULL, 0};
    m.ops[0] = (struct build_op){FULLY_CONNECTED, {0, 1, 2}, 3, 3, {{0, 1, 0}}};
    return tflite_build(&m, out, cap);
}

_Bool tiny_model_write(const char *dir, const char *name, const char *head, const char *a, const char *b)
{
    static _Alignas(NN_ALIGN) uint8_t bytes[8192];
    char path[512];
    size_t len = network(bytes, sizeof(bytes));
    snprintf(path, sizeof(path), "%s/tiny.tflite", dir);
    FILE *file = fopen(path, "wb");
    bool good = file != NULL && fwrite(bytes, 1, len, file) == len;
    good = file != NULL && fclose(file) == 0 && good;
    snprintf(path, sizeof(path), "%s/%s.yaml", dir, name);
    file = good ? fopen(path, "w") : NULL;
    good = file != NULL && fprintf(file,
                                   "%snetwork: tiny.tflite\nfeatures:\n  first: {kind: mean, channel: %s}\n"
                                   "  second: {kind: mean, channel: %s}\nclasses: [normal, hot, wet]\n",
                                   head, a, b) > 0;
    return file != NULL && fclose(file) == 0 && good;
}
