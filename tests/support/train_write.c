/* SPDX-License-Identifier: Apache-2.0 */
/* A trained network as .tflite: [1, inputs] -> RESHAPE -> convolutions -> RESHAPE -> dense layers -> logits. */
#include <assert.h>
#include <math.h>

#include "tests/support/tflite_build.h"
#include "tests/support/train_internal.h"

enum { CODE_CONV = 3, CODE_DENSE = 9, CODE_RESHAPE = 22 };
struct writer {
    struct train *t;
    bool int8;
    struct build_model m;
    float scale[TRAIN_LAYERS_MAX + 1]; /* of the input, then of every part's result */
    int zero_point[TRAIN_LAYERS_MAX + 1];
    float weight_scale[TRAIN_LAYERS_MAX][TRAIN_OUT_MAX];
    void *data[TRAIN_LAYERS_MAX][2]; /* owned; weights, biases */
};

struct range {
    double least, most;
};
static void widen(struct range *r, const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        r->least = fmin(r->least, (double)values[i]);
        r->most = fmax(r->most, (double)values[i]);
    }
}

static void scales_of(struct writer *w, const float *rows, size_t count)
{
    struct train *t = w->t;
    struct range ranges[TRAIN_LAYERS_MAX + 1] = {0}; /* a range always holds 0 */
    size_t inputs = train_inputs(t);
    train_reserve(t, 1);
    for (size_t r = 0; r < count; r++) {
        train_forward(t, rows + r * inputs, 1);
        widen(&ranges[0], rows + r * inputs, inputs);
        for (unsigned i = 0; i < t->count; i++) {
            widen(&ranges[i + 1], t->parts[i].result, train_size(t->parts[i].out));
        }
    }
    for (unsigned i = 0; i <= t->count; i++) {
        double scale = fmax((ranges[i].most - ranges[i].least) / 255, 1e-9);
        w->scale[i] = (float)scale;
        w->zero_point[i] = (int)fmax(-128, fmin(127, round(-128 - ranges[i].least / scale)));
    }
}

/* [depth][out] -> [out][depth] */
static const void *weights_f32(struct writer *w, unsigned i)
{
    const struct part *p = &w->t->parts[i];
    float *data = w->data[i][0] = train_get(p->weights, sizeof(*data));
    for (size_t k = 0; k < p->depth; k++) {
        for (size_t c = 0; c < p->layer.out; c++) {
            data[c * p->depth + k] = p->value[k * p->layer.out + c];
        }
    }
    return data;
}

static double channel_most(const struct part *p, size_t c)
{
    double most = 1e-9;
    for (size_t k = 0; k < p->depth; k++) {
        most = fmax(most, fabs((double)p->value[k * p->layer.out + c]));
    }
    return most;
}

static const void *weights_i8(struct writer *w, unsigned i)
{
    const struct part *p = &w->t->parts[i];
    bool conv = p->layer.kind == TRAIN_CONV;
    int8_t *data = w->data[i][0] = train_get(p->weights, 1);
    double most = 0;
    for (size_t c = 0; c < p->layer.out; c++) {
        most = fmax(most, channel_most(p, c));
    }
    for (size_t c = 0; c < p->layer.out; c++) {
        double scale = (conv ? channel_most(p, c) : most) / 127;
        w->weight_scale[i][conv ? c : 0] = (float)scale;
        for (size_t k = 0; k < p->depth; k++) {
            data[c * p->depth + k] =
                (int8_t)fmax(-127, fmin(127, round((double)p->value[k * p->layer.out + c] / scale)));
        }
    }
    return data;
}

static const void *bias_of(struct writer *w, unsigned i)
{
    const struct part *p = &w->t->parts[i];
    int32_t *data = w->data[i][1] = train_get(p->layer.out, sizeof(*data));
    for (size_t c = 0; c < p->layer.out; c++) {
        float bias = p->value[p->weights + c];
        if (!w->int8) {
            memcpy(&data[c], &bias, sizeof(bias));
            continue;
        }
        double scale = (double)w->scale[i] * (double)w->weight_scale[i][p->layer.kind == TRAIN_CONV ? c : 0];
        data[c] = (int32_t)fmax(-1e9, fmin(1e9, round((double)bias / scale)));
    }
    return data;
}

static int add_tensor(struct writer *w, struct build_tensor tensor)
{
    assert(w->m.tensor_count < BUILD_TENSORS);
    w->m.tensors[w->m.tensor_count] = tensor;
    return w->m.tensor_count++;
}

/* What comes in (level 0), or a part's result. */
static int add_activation(struct writer *w, unsigned level, int rank, struct train_shape s)
{
    struct build_tensor tensor = {.type = w->int8 ? BUILD_INT8 : BUILD_FLOAT32, .rank = rank};
    int flat[] = {1, (int)train_size(s)}, deep[] = {1, (int)s.height, (int)s.width, (int)s.channels};
    memcpy(tensor.dim, rank == 2 ? flat : deep, (size_t)rank * sizeof(int));
    if (w->int8) {
        tensor.scales = &w->scale[level];
        tensor.scale_count = 1;
        tensor.zero_point = w->zero_point[level];
    }
    return add_tensor(w, tensor);
}

static void add_op(struct writer *w, struct build_op op)
{
    assert(w->m.op_count < BUILD_OPS);
    w->m.ops[w->m.op_count++] = op;
    w->m.output = op.output;
}

static void add_part(struct writer *w, unsigned i)
{
    const struct part *p = &w->t->parts[i];
    const struct train_layer *l = &p->layer;
    bool conv = l->kind == TRAIN_CONV, relu = i + 1 < w->t->count;
    int rank = conv ? 4 : 2, before = w->m.output;
    if (w->m.tensors[before].rank != rank) {
        add_op(w, (struct build_op){CODE_RESHAPE, {before}, 1, add_activation(w, i, rank, p->in), {{0}}});
        before = w->m.output;
    }
    int out = add_activation(w, i + 1, rank, p->out);
    struct build_tensor weights = {
        .type = w->int8 ? BUILD_INT8 : BUILD_FLOAT32, .rank = rank, .bytes = p->weights * (w->int8 ? 1 : 4)};
    int flat[] = {(int)l->out, (int)p->depth};
    int deep[] = {(int)l->out, (int)l->kernel_height, (int)l->kernel_width, (int)p->in.channels};
    memcpy(weights.dim, conv ? deep : flat, (size_t)rank * sizeof(int));
    weights.data = w->int8 ? weights_i8(w, i) : weights_f32(w, i);
    if (w->int8) {
        weights.scales = w->weight_scale[i];
        weights.scale_count = conv ? (int)l->out : 1;
    }
    int weights_at = add_tensor(w, weights);
    int bias_at = add_tensor(w, (struct build_tensor){.type = w->int8 ? BUILD_INT32 : BUILD_FLOAT32,
                                                      .rank = 1,
                                                      .dim = {(int)l->out},
                                                      .data = bias_of(w, i),
                                                      .bytes = 4 * (size_t)l->out});
    if (conv) {
        add_op(w, (struct build_op){
                      CODE_CONV,
                      {before, weights_at, bias_at},
                      3,
                      out,
                      {{0, 1, 0}, {1, 4, (int)l->stride_width}, {2, 4, (int)l->stride_height}, {3, 1, relu}}});
    } else {
        add_op(w, (struct build_op){CODE_DENSE, {before, weights_at, bias_at}, 3, out, {{0, 1, relu}}});
    }
}

size_t train_write(struct train *t, const float *calibration, size_t count, uint8_t *out, size_t cap)
{
    struct writer *w = train_get(1, sizeof(*w));
    w->t = t;
    w->int8 = calibration != NULL;
    if (w->int8) {
        scales_of(w, calibration, count);
    }
    w->m.output = add_activation(w, 0, 2, t->shape);
    for (unsigned i = 0; i < t->count; i++) {
        add_part(w, i);
    }
    size_t len = tflite_build(&w->m, out, cap);
    for (unsigned i = 0; i < t->count; i++) {
        free(w->data[i][0]);
        free(w->data[i][1]);
    }
    free(w);
    return len;
}
