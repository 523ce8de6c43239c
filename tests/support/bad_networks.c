/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-bad-networks DIR: networks of 16 inputs and 4 outputs with one thing wrong each, as NAME.tflite; prints the
 * names.
 *
 *   truncated       the first half of a sound file
 *   cyclic          two layers, each fed by the other
 *   self_reference  the file's first table points to itself
 *   oversized       a layer between of 2^30 values
 *   unknown         an operator that there is not
 *   narrow          of 15 inputs
 *   few             of 3 outputs
 */
#include <stdio.h>

#include "tests/support/tflite_build.h"

enum { INPUTS = 16, OUTPUTS = 4, FILE_BYTES = 1 << 16, DENSE = 9, RELU = 19, NO_SUCH = 131 };
static _Alignas(16) uint8_t file[FILE_BYTES];
static float weights[INPUTS * INPUTS];
static const float bias[INPUTS];

static void put(const char *dir, const char *name, size_t len)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s.tflite", dir, name);
    FILE *f = fopen(path, "we");
    if (f == NULL || fwrite(file, 1, len, f) != len || fclose(f) != 0) {
        perror(path);
        exit(1);
    }
    puts(name);
}

static struct build_tensor dense(int outputs, int inputs)
{
    return (struct build_tensor){.type = BUILD_FLOAT32,
                                 .rank = 2,
                                 .dim = {outputs, inputs},
                                 .data = weights,
                                 .bytes = (size_t)outputs * (size_t)inputs * sizeof(float)};
}

static struct build_tensor row(int values)
{
    return (struct build_tensor){.type = BUILD_FLOAT32, .rank = 2, .dim = {1, values}};
}

static struct build_model one_layer(int inputs, int outputs)
{
    struct build_model m = {.tensor_count = 4, .op_count = 1, .output = 3};
    m.tensors[0] = row(inputs);
    m.tensors[1] = dense(outputs, inputs);
    m.tensors[2] = (struct build_tensor){.type = BUILD_FLOAT32,
                                         .rank = 1,
                                         .dim = {outputs},
                                         .data = bias,
                                         .bytes = (size_t)outputs * sizeof(float)};
    m.tensors[3] = row(outputs);
    m.ops[0] = (struct build_op){DENSE, {0, 1, 2}, 3, 3, {{0, 1, 0}}};
    return m;
}

/* One layer and a RELU; `feeds` is what goes into the layer. */
static struct build_model two_layers(int code, int feeds, int between)
{
    struct build_model m = one_layer(INPUTS, OUTPUTS);
    m.tensor_count = 5;
    m.op_count = 2;
    m.tensors[4] = row(between);
    m.ops[0].inputs[0] = feeds;
    m.ops[1] = (struct build_op){code, {3}, 1, 4, {{0}}};
    m.output = 4;
    return m;
}

static void build(const char *dir, const char *name, const struct build_model *m)
{
    put(dir, name, tflite_build(m, file, sizeof(file)));
}

int main(int argc, char **argv)
{
    struct build_model m;
    if (argc != 2) {
        fprintf(stderr, "weir-bad-networks DIR\n");
        return 2;
    }
    for (size_t i = 0; i < COUNT_OF(weights); i++) {
        weights[i] = (float)(i % 7) / 7;
    }
    const char *dir = argv[1];
    m = one_layer(INPUTS, OUTPUTS);
    put(dir, "truncated", tflite_build(&m, file, sizeof(file)) / 2);
    size_t len = tflite_build(&m, file, sizeof(file));
    uint32_t root, none = 0;
    memcpy(&root, file, sizeof(root));
    memcpy(file + root, &none, sizeof(none)); /* its table of fields would be itself */
    put(dir, "self_reference", len);
    m = two_layers(RELU, 4, INPUTS);
    m.tensors[3] = row(INPUTS);
    m.tensors[1] = dense(INPUTS, INPUTS);
    m.tensors[2].dim[0] = INPUTS;
    m.tensors[2].bytes = sizeof(bias);
    build(dir, "cyclic", &m);
    m = two_layers(RELU, 0, OUTPUTS);
    m.tensors[3] = row(1 << 30);
    build(dir, "oversized", &m);
    m = two_layers(NO_SUCH, 0, OUTPUTS);
    build(dir, "unknown", &m);
    m = one_layer(INPUTS - 1, OUTPUTS);
    build(dir, "narrow", &m);
    m = one_layer(INPUTS, OUTPUTS - 1);
    build(dir, "few", &m);
    return 0;
}
