/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/model_files.h"

#include <stdio.h>

#include "core/base/buffer.h"
#include "tests/support/tflite_build.h"

enum { DENSE = 9, RELU = 1, FILE_BYTES = 1 << 20, FILE_ALIGN = 16 };

static void write_all(const char *path, const void *bytes, size_t len)
{
    FILE *f = fopen(path, "we");
    if (f == NULL || fwrite(bytes, 1, len, f) != len || fclose(f) != 0) {
        perror(path);
        abort();
    }
}

void model_files_text(const char *path, const char *text)
{
    write_all(path, text, strlen(text));
}

static void write_network(const char *path, const struct build_model *m)
{
    void *file = aligned_alloc(FILE_ALIGN, FILE_BYTES);
    if (file == NULL) {
        abort();
    }
    write_all(path, file, tflite_build(m, file, FILE_BYTES));
    free(file);
}

void model_files_linear(const char *path, unsigned inputs, unsigned outputs, const float *weights)
{
    static float same[MODEL_FILES_WIDTH * MODEL_FILES_WIDTH];
    static const float bias[MODEL_FILES_WIDTH];
    int in = (int)inputs, out = (int)outputs;
    memset(same, 0, sizeof(same));
    for (unsigned i = 0; weights == NULL && i < inputs; i++) {
        same[i * inputs + i] = 1;
    }
    struct build_model m = {.tensor_count = 4, .op_count = 1, .output = 3};
    m.tensors[0] = (struct build_tensor){.type = BUILD_FLOAT32, .rank = 2, .dim = {1, in}};
    m.tensors[1] = (struct build_tensor){.type = BUILD_FLOAT32,
                                         .rank = 2,
                                         .dim = {out, in},
                                         .data = weights ? weights : same,
                                         .bytes = (size_t)inputs * outputs * sizeof(float)};
    m.tensors[2] = (struct build_tensor){
        .type = BUILD_FLOAT32, .rank = 1, .dim = {out}, .data = bias, .bytes = outputs * sizeof(float)};
    m.tensors[3] = (struct build_tensor){.type = BUILD_FLOAT32, .rank = 2, .dim = {1, out}};
    m.ops[0] = (struct build_op){DENSE, {0, 1, 2}, 3, 3, {{0, 1, 0}}};
    write_network(path, &m);
}

static void draw(float *to, size_t count, float span, uint64_t *seed)
{
    for (size_t i = 0; i < count; i++) {
        *seed = mix_u64(*seed);
        to[i] = ((float)(*seed >> 40) / (float)(1 << 23) - 1) * span;
    }
}

void model_files_layers(const char *path, unsigned inputs, unsigned hidden, unsigned outputs, uint64_t seed)
{
    static float first[MODEL_FILES_WIDTH * MODEL_FILES_WIDTH], second[MODEL_FILES_WIDTH * MODEL_FILES_WIDTH],
        bias[MODEL_FILES_WIDTH];
    int in = (int)inputs, mid = (int)hidden, out = (int)outputs;
    draw(first, (size_t)inputs * hidden, 0.5F, &seed);
    draw(second, (size_t)hidden * outputs, 0.5F, &seed);
    draw(bias, hidden, 0.1F, &seed);
    struct build_model m = {.tensor_count = 7, .op_count = 2, .output = 6};
    m.tensors[0] = (struct build_tensor){.type = BUILD_FLOAT32, .rank = 2, .dim = {1, in}};
    m.tensors[1] = (struct build_tensor){.type = BUILD_FLOAT32,
                                         .rank = 2,
                                         .dim = {mid, in},
                                         .data = first,
                                         .bytes = (size_t)inputs * hidden * sizeof(float)};
    m.tensors[2] = (struct build_tensor){
        .type = BUILD_FLOAT32, .rank = 1, .dim = {mid}, .data = bias, .bytes = hidden * sizeof(float)};
    m.tensors[3] = (struct build_tensor){.type = BUILD_FLOAT32, .rank = 2, .dim = {1, mid}};
    m.tensors[4] = (struct build_tensor){.type = BUILD_FLOAT32,
                                         .rank = 2,
                                         .dim = {out, mid},
                                         .data = second,
                                         .bytes = (size_t)hidden * outputs * sizeof(float)};
    m.tensors[5] = (struct build_tensor){
        .type = BUILD_FLOAT32, .rank = 1, .dim = {out}, .data = bias, .bytes = outputs * sizeof(float)};
    m.tensors[6] = (struct build_tensor){.type = BUILD_FLOAT32, .rank = 2, .dim = {1, out}};
    m.ops[0] = (struct build_op){DENSE, {0, 1, 2}, 3, 3, {{0, 1, RELU}}};
    m.ops[1] = (struct build_op){DENSE, {3, 4, 5}, 3, 6, {{0, 1, 0}}};
    write_network(path, &m);
}

/* ---- ONNX: protobuf, field by field (onnx.proto) ---- */
static void put_field(struct buffer *out, unsigned number, struct slice bytes)
{
    buffer_put_varint(out, number << 3 | 2);
    buffer_put_varint(out, bytes.len);
    buffer_put_slice(out, bytes);
}

static void put_number(struct buffer *out, unsigned number, uint64_t value)
{
    buffer_put_varint(out, number << 3);
    buffer_put_varint(out, value);
}

static void put_value_info(struct buffer *graph, unsigned number, const char *name, unsigned width)
{
    BUFFER(any, 64);
    BUFFER(columns, 64);
    BUFFER(shape, 256);
    BUFFER(tensor, 512);
    BUFFER(type, 512);
    BUFFER(info, 1024);
    put_field(&any, 2, slice_str("n"));
    put_number(&columns, 1, width);
    put_field(&shape, 1, buffer_slice(&any));
    put_field(&shape, 1, buffer_slice(&columns));
    put_number(&tensor, 1, 1); /* float32 */
    put_field(&tensor, 2, buffer_slice(&shape));
    put_field(&type, 1, buffer_slice(&tensor));
    put_field(&info, 1, slice_str(name));
    put_field(&info, 2, buffer_slice(&type));
    put_field(graph, number, buffer_slice(&info));
}

void model_files_onnx(const char *path, unsigned width)
{
    BUFFER(node, 256);
    BUFFER(graph, 4096);
    BUFFER(opset, 64);
    BUFFER(model, 8192);
    put_field(&node, 1, slice_str("x"));
    put_field(&node, 2, slice_str("y"));
    put_field(&node, 4, slice_str("Neg"));
    put_field(&graph, 1, buffer_slice(&node));
    put_field(&graph, 2, slice_str("g"));
    put_value_info(&graph, 11, "x", width);
    put_value_info(&graph, 12, "y", width);
    put_number(&opset, 2, 13);
    put_number(&model, 1, 8); /* ir_version */
    put_field(&model, 7, buffer_slice(&graph));
    put_field(&model, 8, buffer_slice(&opset));
    if (buffer_err(&model) != OK) {
        abort();
    }
    write_all(path, model.ptr, model.len);
}
