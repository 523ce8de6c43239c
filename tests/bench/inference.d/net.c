/* SPDX-License-Identifier: Apache-2.0 */
/* Random weights, and the same network as .tflite and as ONNX (onnx.proto3, written field by field). */
#include <math.h>
#include <stdio.h>

#include "core/base/buffer.h"
#include "tests/bench/inference.d/bench.h"
#include "tests/support/tflite_build.h"

static void *get(size_t bytes)
{
    void *p = NULL;
    if (posix_memalign(&p, 64, bytes + 64) != 0) {
        abort();
    }
    memset(p, 0, bytes + 64);
    return p;
}

void net_draw(struct net *net, uint64_t seed)
{
    unsigned width = net->layer[0].kind == LAYER_CONV ? net->inputs / net->layer[0].in : 1;
    for (unsigned n = 0; n < net->count; n++) {
        struct layer *l = &net->layer[n];
        size_t weights = (size_t)l->in * l->out * l->taps;
        l->width = width;
        l->out_width = l->kind == LAYER_CONV ? (width + l->stride - 1) / l->stride : 1;
        width = l->out_width;
        l->weights = get(weights * sizeof(float));
        l->weights_i8 = get(weights);
        l->bias = get(l->out * sizeof(float));
        l->bias_i32 = get(l->out * sizeof(int32_t));
        float reach = 1.7F / sqrtf((float)(l->in * l->taps));
        for (size_t i = 0; i < weights; i++) {
            seed = mix_u64(seed);
            l->weights[i] = reach * ((float)(seed % 2001) / 1000.0F - 1.0F);
            float q = roundf(l->weights[i] / NET_WEIGHT_SCALE);
            l->weights_i8[i] = (int8_t)(q > 127 ? 127 : q < -127 ? -127 : q);
        }
        for (size_t i = 0; i < l->out; i++) {
            seed = mix_u64(seed);
            l->bias[i] = (float)(seed % 200) / 1000.0F - 0.1F;
            l->bias_i32[i] = (int32_t)(l->bias[i] / (NET_IN_SCALE * NET_WEIGHT_SCALE));
        }
    }
}

/* ---- .tflite ---- */
struct slice net_tflite(const struct net *net, bool int8)
{
    static const float scale[] = {NET_IN_SCALE}, weight_scale[] = {NET_WEIGHT_SCALE};
    static const int32_t axes[] = {1, 2};
    static float channel_scales[256];
    static struct build_model m;
    enum { CAP = 1 << 22 };
    int type = int8 ? BUILD_INT8 : BUILD_FLOAT32, width = (int)net->layer[0].width;
    for (size_t i = 0; i < COUNT_OF(channel_scales); i++) {
        channel_scales[i] = NET_WEIGHT_SCALE;
    }
    m = (struct build_model){.tensor_count = 1};
    bool flat = net->layer[0].kind == LAYER_DENSE;
    m.tensors[0] = (struct build_tensor){type, flat ? 2 : 4, {1, flat ? (int)net->inputs : 1, width, (int)net->layer[0].in},
                                         int8 ? scale : NULL, 1, 0, 0, NULL, 0};
    for (unsigned n = 0; n < net->count; n++) {
        const struct layer *l = &net->layer[n];
        int at = m.tensor_count, before = m.output;
        bool conv = l->kind == LAYER_CONV, mean = l->kind == LAYER_MEAN;
        size_t weights = (size_t)l->in * l->out * l->taps;
        struct build_op *op = &m.ops[m.op_count++];
        m.tensors[at] = (struct build_tensor){type, conv ? 4 : 2, {1, conv ? 1 : (int)l->out, (int)l->out_width, (int)l->out},
                                              int8 ? scale : NULL, 1, 0, 0, NULL, 0};
        m.output = at;
        if (mean) {
            m.tensors[at + 1] = (struct build_tensor){BUILD_INT32, 1, {2}, NULL, 0, 0, 0, axes, sizeof(axes)};
            *op = (struct build_op){40, {before, at + 1}, 2, at, {{0, 1, 0}}};
            m.tensor_count = at + 2;
            continue;
        }
        m.tensors[at + 1] = (struct build_tensor){
            type, conv ? 4 : 2, {(int)l->out, conv ? 1 : (int)l->in, (int)l->taps, (int)l->in},
            int8 ? (conv ? channel_scales : weight_scale) : NULL, conv ? (int)l->out : 1, 0, 0,
            int8 ? (const void *)l->weights_i8 : l->weights, weights * (int8 ? 1 : 4)};
        m.tensors[at + 2] = (struct build_tensor){int8 ? BUILD_INT32 : BUILD_FLOAT32, 1, {(int)l->out}, NULL, 0, 0, 0,
                                                  int8 ? (const void *)l->bias_i32 : l->bias, 4 * (size_t)l->out};
        m.tensor_count = at + 3;
        *op = (struct build_op){conv ? 3 : 9, {before, at + 1, at + 2}, 3, at, {{0, 1, conv ? 0 : l->relu}}};
        if (conv) {
            op->options[1].field = 1, op->options[1].width = 4, op->options[1].value = (int)l->stride;
            op->options[2].field = 2, op->options[2].width = 4, op->options[2].value = 1;
            op->options[3].field = 3, op->options[3].width = 1, op->options[3].value = l->relu;
        }
    }
    uint8_t *out = get(CAP);
    return slice_of(out, tflite_build(&m, out, CAP));
}

/* ---- ONNX ---- */
static void varint(struct buffer *b, uint64_t v)
{
    for (; v >= 0x80; v >>= 7) {
        buffer_put_u8(b, (uint8_t)(v | 0x80));
    }
    buffer_put_u8(b, (uint8_t)v);
}

static void put_int(struct buffer *b, unsigned field, uint64_t v)
{
    varint(b, field << 3);
    varint(b, v);
}

static void put_bytes(struct buffer *b, unsigned field, const void *bytes, size_t len)
{
    varint(b, field << 3 | 2);
    varint(b, len);
    buffer_put(b, bytes, len);
}

static void put_text(struct buffer *b, unsigned field, const char *text)
{
    put_bytes(b, field, text, strlen(text));
}

static void put_message(struct buffer *b, unsigned field, struct buffer *message)
{
    put_bytes(b, field, message->ptr, message->len);
    buffer_reset(message);
}

enum { ONNX_FLOAT = 1, ONNX_INT8 = 3, ONNX_INT32 = 6 };
static struct buffer part, inner;

static void initializer(struct buffer *graph, const char *name, int type, const int *dims, size_t rank, const void *data, size_t bytes)
{
    for (size_t i = 0; i < rank; i++) {
        put_int(&part, 1, (uint64_t)dims[i]);
    }
    put_int(&part, 2, (uint64_t)type);
    put_text(&part, 8, name);
    put_bytes(&part, 9, data, bytes);
    put_message(graph, 5, &part);
}

static void ints(struct buffer *node, const char *name, const int *values, size_t count)
{
    put_text(&inner, 1, name);
    for (size_t i = 0; i < count; i++) {
        put_int(&inner, 8, (uint64_t)values[i]);
    }
    put_int(&inner, 20, 7);
    put_message(node, 5, &inner);
}

static void one_int(struct buffer *node, const char *name, int value)
{
    put_text(&inner, 1, name);
    put_int(&inner, 3, (uint64_t)value);
    put_int(&inner, 20, 2);
    put_message(node, 5, &inner);
}

/* Begins a node; inputs are names separated by blanks. The caller adds attributes and ends it with put_message(graph, 1). */
static void node(const char *kind, const char *domain, const char *inputs, const char *output)
{
    while (*inputs != '\0') {
        size_t len = strcspn(inputs, " ");
        put_bytes(&part, 1, inputs, len);
        inputs += len + (inputs[len] == ' ');
    }
    put_text(&part, 2, output);
    put_text(&part, 4, kind);
    if (domain[0] != '\0') {
        put_text(&part, 7, domain);
    }
}

static void value(struct buffer *graph, unsigned field, const char *name, int type, const int *dims, size_t rank)
{
    CLEANUP(buffer_deinit) struct buffer tensor, shape, dim;
    buffer_init(&tensor, 4096);
    buffer_init(&shape, 4096);
    buffer_init(&dim, 4096);
    for (size_t i = 0; i < rank; i++) {
        if (i == 0) {
            put_text(&dim, 2, "n");
        } else {
            put_int(&dim, 1, (uint64_t)dims[i]);
        }
        put_message(&shape, 1, &dim);
    }
    put_int(&tensor, 1, (uint64_t)type);
    put_message(&tensor, 2, &shape);
    put_message(&inner, 1, &tensor);
    put_text(&part, 1, name);
    put_message(&part, 2, &inner);
    put_message(graph, field, &part);
}

static void layer_onnx(struct buffer *graph, const struct layer *l, unsigned n, bool int8, const char *from, const char *to)
{
    char w[16], b[16], mid[16], inputs[200];
    bool conv = l->kind == LAYER_CONV;
    snprintf(w, sizeof(w), "w%u", n);
    snprintf(b, sizeof(b), "b%u", n);
    snprintf(mid, sizeof(mid), "m%u", n);
    if (l->kind == LAYER_MEAN) {
        node("GlobalAveragePool", "", from, mid);
        put_message(graph, 1, &part);
        node("Flatten", "", mid, to);
        put_message(graph, 1, &part);
        return;
    }
    size_t size = int8 ? 1 : 4, weights = (size_t)l->in * l->out * l->taps;
    uint8_t *order = get(weights * size); /* [out][in][taps] for a convolution */
    const uint8_t *source = int8 ? (const void *)l->weights_i8 : (const void *)l->weights;
    for (size_t o = 0; o < l->out; o++) {
        for (size_t t = 0; t < l->taps; t++) {
            for (size_t i = 0; i < l->in; i++) {
                memcpy(order + ((o * l->in + i) * l->taps + t) * size, source + ((o * l->taps + t) * l->in + i) * size, size);
            }
        }
    }
    int dims[] = {(int)l->out, (int)l->in, 1, (int)l->taps}, bias_dims[] = {(int)l->out};
    initializer(graph, w, int8 ? ONNX_INT8 : ONNX_FLOAT, dims, conv ? 4 : 2, order, weights * size);
    initializer(graph, b, int8 ? ONNX_INT32 : ONNX_FLOAT, bias_dims, 1, int8 ? (const void *)l->bias_i32 : l->bias, 4 * (size_t)l->out);
    free(order);
    const char *end = l->relu && !int8 ? mid : to; /* int8: the clamp would be a node of its own; left out, in ONNX's favour */
    if (int8) {
        snprintf(inputs, sizeof(inputs), conv ? "%s s z %s ws z s z %s" : "%s s z %s ws z %s s z", from, w, b);
        node(conv ? "QLinearConv" : "QGemm", conv ? "" : "com.microsoft", inputs, end);
    } else {
        snprintf(inputs, sizeof(inputs), "%s %s %s", from, w, b);
        node(conv ? "Conv" : "Gemm", "", inputs, end);
    }
    if (conv) {
        int all = (int)((l->out_width - 1) * l->stride + l->taps - l->width), strides[] = {1, (int)l->stride};
        int pads[] = {0, all > 0 ? all / 2 : 0, 0, all > 0 ? all - all / 2 : 0};
        ints(&part, "strides", strides, 2);
        ints(&part, "pads", pads, 4);
    } else {
        one_int(&part, "transB", 1);
    }
    put_message(graph, 1, &part);
    if (end == mid) {
        node("Relu", "", mid, to);
        put_message(graph, 1, &part);
    }
}

struct slice net_onnx(const struct net *net, bool int8)
{
    static const float scale = NET_IN_SCALE, weight_scale = NET_WEIGHT_SCALE;
    static const int8_t zero;
    struct buffer graph, model;
    buffer_init(&graph, 1 << 23);
    buffer_init(&model, 1 << 23);
    buffer_init(&part, 1 << 23);
    buffer_init(&inner, 1 << 16);
    const struct layer *first = &net->layer[0];
    int type = int8 ? ONNX_INT8 : ONNX_FLOAT;
    char from[16] = "x", to[16];
    for (unsigned n = 0; n < net->count; n++) {
        snprintf(to, sizeof(to), n + 1 < net->count ? "t%u" : "y", n);
        layer_onnx(&graph, &net->layer[n], n, int8, from, to);
        snprintf(from, sizeof(from), "%s", to);
    }
    put_text(&graph, 2, net->name);
    if (int8) {
        initializer(&graph, "s", ONNX_FLOAT, NULL, 0, &scale, 4);
        initializer(&graph, "ws", ONNX_FLOAT, NULL, 0, &weight_scale, 4);
        initializer(&graph, "z", ONNX_INT8, NULL, 0, &zero, 1);
    }
    int conv_in[] = {0, (int)first->in, 1, (int)first->width}, flat_in[] = {0, (int)net->inputs}, out[] = {0, (int)net->outputs};
    value(&graph, 11, "x", type, first->kind == LAYER_CONV ? conv_in : flat_in, first->kind == LAYER_CONV ? 4 : 2);
    value(&graph, 12, "y", type, out, 2);
    put_int(&model, 1, 7);
    put_message(&model, 7, &graph);
    put_text(&part, 1, "");
    put_int(&part, 2, 13);
    put_message(&model, 8, &part);
    put_text(&part, 1, "com.microsoft");
    put_int(&part, 2, 1);
    put_message(&model, 8, &part);
    uint8_t *bytes = get(model.len);
    memcpy(bytes, model.ptr, model.len);
    struct slice file = slice_of(bytes, model.len);
    buffer_deinit(&graph);
    buffer_deinit(&model);
    buffer_deinit(&part);
    buffer_deinit(&inner);
    return file;
}
