/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: every operator gives what its formula gives, worked out here in doubles from the real values (int8: within one
 * step); kernels of this processor give the portable ones' int8 bits for every shape and every tie of the rounding; a batch
 * gives what its samples give. Says at the end which kernels were held against the portable ones.
 */
#include <math.h>
#include <stdio.h>

#include "core/nn/nn_internal.h"
#include "tests/support/check.h"
#include "tests/support/tflite_build.h"

enum { FILE_CAP = 1 << 19, MEMORY = 1 << 21, VALUES = 1 << 14 };
static uint8_t file[FILE_CAP] __attribute__((aligned(16)));
static uint8_t memory[2][MEMORY] __attribute__((aligned(16)));
static uint64_t seed;
static const char *const kernels[] = {"avx2", "avx512", "neon", "neon-dotprod"};
static unsigned tried[COUNT_OF(kernels)];

static uint32_t rnd(uint32_t below)
{
    seed++;
    return (uint32_t)(mix_u64(seed) >> 33) % below;
}

static float rnd_float(void)
{
    return (float)rnd(2001) / 1000.0F - 1.0F;
}

static struct nn *load(const struct build_model *m, const struct nn_options *options, unsigned which)
{
    struct nn *nn = NULL;
    struct nn_cost cost;
    struct fault fault = {0};
    size_t len = tflite_build(m, file, sizeof(file));
    if (nn_load(slice_of(file, len), memory[which], MEMORY, options, &nn, &cost, &fault) != OK) {
        fprintf(stderr, "%s\n", fault.text);
        fail();
    }
    return nn;
}

/* ---- one windowed operator with random shapes ---- */
struct windowed {
    int code, type, h, w, ic, oc, kh, kw, stride, dilation, same, activation, oh, ow;
    int8_t weights_i8[VALUES];
    float weights_f32[VALUES];
    int32_t bias_i32[64];
    float bias_f32[64], scales[64];
    struct build_model model;
};
enum { CONV = 3, DEPTHWISE = 4, DENSE = 9, AVERAGE = 1, MOST = 17 };
static const float in_scale[] = {0.05F}, out_scale[] = {0.11F};

static void draw(struct windowed *t, int code, int type)
{
    *t = (struct windowed){.code = code, .type = type, .h = 1 + (int)rnd(9), .w = 1 + (int)rnd(9), .ic = 1 + (int)rnd(20)};
    t->dilation = code == CONV ? 1 + (int)rnd(2) : 1;
    do {
        t->kh = 1 + (int)rnd(3);
        t->kw = 1 + (int)rnd(3);
        t->same = (int)rnd(2);
    } while (!t->same && ((t->kh - 1) * t->dilation >= t->h || (t->kw - 1) * t->dilation >= t->w));
    t->stride = 1 + (int)rnd(2);
    t->oc = code == CONV ? 1 + (int)rnd(40) : code == DEPTHWISE ? t->ic * (1 + (int)rnd(2)) : t->ic;
    t->activation = rnd(2) ? 0 : rnd(2) ? 1 : 3;
    int reach_h = (t->kh - 1) * t->dilation + 1, reach_w = (t->kw - 1) * t->dilation + 1;
    t->oh = t->same ? (t->h + t->stride - 1) / t->stride : (t->h + t->stride - reach_h) / t->stride;
    t->ow = t->same ? (t->w + t->stride - 1) / t->stride : (t->w + t->stride - reach_w) / t->stride;
    size_t weights = (size_t)(t->kh * t->kw) * (size_t)(code == CONV ? t->ic * t->oc : t->oc);
    for (size_t i = 0; i < weights; i++) {
        t->weights_i8[i] = (int8_t)((int)rnd(255) - 127);
        t->weights_f32[i] = rnd_float();
    }
    for (int i = 0; i < t->oc; i++) {
        t->bias_i32[i] = (int)rnd(4000) - 2000;
        t->bias_f32[i] = rnd_float();
        t->scales[i] = 0.001F * (float)(1 + rnd(20));
    }
}

static void build(struct windowed *t)
{
    bool i8 = t->type == BUILD_INT8, pool = t->code == AVERAGE || t->code == MOST;
    size_t weights = (size_t)(t->kh * t->kw) * (size_t)(t->code == CONV ? t->ic * t->oc : t->oc);
    struct build_model *m = &t->model;
    m->tensors[0] = (struct build_tensor){t->type, 4, {1, t->h, t->w, t->ic}, i8 ? in_scale : NULL, 1, -7, 0, NULL, 0};
    m->tensors[1] = (struct build_tensor){
        t->type, 4, {1, t->oh, t->ow, t->oc}, i8 ? (pool ? in_scale : out_scale) : NULL, 1, pool ? -7 : 5, 0, NULL, 0};
    m->tensor_count = 2;
    m->output = 1;
    m->op_count = 1;
    struct build_op *op = &m->ops[0];
    *op = (struct build_op){.code = t->code, .inputs = {0}, .input_count = 1, .output = 1};
    int n = 0;
#define OPTION(f, w, v)                                                                                                \
    op->options[n].field = (f);                                                                                        \
    op->options[n].width = (w);                                                                                        \
    op->options[n++].value = (v)
    OPTION(0, 1, !t->same);
    OPTION(1, 4, t->stride);
    OPTION(2, 4, t->stride);
    if (pool) {
        OPTION(3, 4, t->kw);
        OPTION(4, 4, t->kh);
        OPTION(5, 1, t->activation);
        return;
    }
    if (t->code == CONV) {
        OPTION(3, 1, t->activation);
        OPTION(4, 4, t->dilation);
        OPTION(5, 4, t->dilation);
    } else {
        OPTION(3, 4, t->oc / t->ic);
        OPTION(4, 1, t->activation);
    }
    bool conv = t->code == CONV;
    m->tensors[2] = (struct build_tensor){t->type, 4, {conv ? t->oc : 1, t->kh, t->kw, conv ? t->ic : t->oc},
                                          i8 ? t->scales : NULL, t->oc, 0, conv ? 0 : 3,
                                          i8 ? (const void *)t->weights_i8 : t->weights_f32, weights * (i8 ? 1 : 4)};
    m->tensors[3] = (struct build_tensor){i8 ? BUILD_INT32 : BUILD_FLOAT32, 1, {t->oc}, NULL, 0, 0, 0,
                                          i8 ? (const void *)t->bias_i32 : t->bias_f32, 4 * (size_t)t->oc};
    m->tensor_count = 4;
    op->inputs[1] = 2;
    op->inputs[2] = 3;
    op->input_count = 3;
}

/* The formula: sum over the window of real values; channel c of the output at (y, x). */
static double formula(const struct windowed *t, const void *in, int y, int x, int c)
{
    bool i8 = t->type == BUILD_INT8;
    int reach_h = (t->kh - 1) * t->dilation + 1, reach_w = (t->kw - 1) * t->dilation + 1;
    int pad_h = t->same ? ((t->oh - 1) * t->stride + reach_h - t->h) / 2 : 0;
    int pad_w = t->same ? ((t->ow - 1) * t->stride + reach_w - t->w) / 2 : 0;
    pad_h = (t->oh - 1) * t->stride + reach_h - t->h > 0 ? pad_h : 0;
    pad_w = (t->ow - 1) * t->stride + reach_w - t->w > 0 ? pad_w : 0;
    double sum = 0, most = -INFINITY;
    int seen = 0;
    for (int ky = 0; ky < t->kh; ky++) {
        for (int kx = 0; kx < t->kw; kx++) {
            int iy = y * t->stride - pad_h + ky * t->dilation, ix = x * t->stride - pad_w + kx * t->dilation;
            if (iy < 0 || iy >= t->h || ix < 0 || ix >= t->w) {
                continue;
            }
            seen++;
            int from = t->code == CONV ? 0 : c / (t->oc / t->ic), to = t->code == CONV ? t->ic : from + 1;
            for (int k = from; k < to; k++) {
                size_t at = (size_t)((iy * t->w + ix) * t->ic + k);
                size_t wt = t->code == CONV ? (size_t)(((c * t->kh + ky) * t->kw + kx) * t->ic + k)
                                            : (size_t)((ky * t->kw + kx) * t->oc + c);
                double v = i8 ? (((const int8_t *)in)[at] + 7) * (double)in_scale[0] : (double)((const float *)in)[at];
                double weight = i8 ? t->weights_i8[wt] * (double)t->scales[c] : (double)t->weights_f32[wt];
                sum += t->code == AVERAGE ? v : v * weight;
                most = fmax(most, v);
            }
        }
    }
    double r = t->code == MOST ? most : t->code == AVERAGE ? sum / seen : sum;
    if (t->code == CONV || t->code == DEPTHWISE) {
        r += i8 ? t->bias_i32[c] * (double)in_scale[0] * (double)t->scales[c] : (double)t->bias_f32[c];
    }
    return t->activation == 0 ? r : t->activation == 1 ? fmax(r, 0) : fmin(fmax(r, 0), 6);
}

static void fill(struct nn *nn, int type, uint64_t from)
{
    const struct nn_tensor *info = nn_input_info(nn, 0);
    seed = from;
    for (size_t i = 0; i < info->elements; i++) {
        if (type == BUILD_INT8) {
            ((int8_t *)nn_input(nn, 0))[i] = (int8_t)((int)rnd(256) - 128);
        } else {
            ((float *)nn_input(nn, 0))[i] = rnd_float();
        }
    }
}

static void hold_against_formula(const struct windowed *t, const struct nn *nn, const void *in)
{
    const struct nn_tensor *info = nn_output_info(nn, 0);
    for (size_t i = 0; i < info->elements; i++) {
        int c = (int)i % t->oc, x = (int)i / t->oc % t->ow, y = (int)i / t->oc / t->ow;
        double expected = formula(t, in, y, x, c);
        if (t->type == BUILD_INT8) {
            double q = fmin(fmax(round(expected / (double)info->scale) + info->zero_point, -128), 127);
            CHECK(fabs(q - ((const int8_t *)nn_output(nn, 0))[i]) <= 1);
        } else {
            CHECK(fabs(expected - (double)((const float *)nn_output(nn, 0))[i]) < 1e-4);
        }
    }
}

static void try_windowed(int code, int type, unsigned rounds)
{
    static struct windowed t;
    static uint8_t in[VALUES * 4] __attribute__((aligned(16)));
    for (unsigned n = 0; n < rounds; n++) {
        seed = n * 1000003U + (unsigned)code * 7 + (unsigned)type;
        draw(&t, code, type);
        build(&t);
        struct nn *nn = load(&t.model, &(struct nn_options){.kernels = "portable"}, 0);
        fill(nn, type, n);
        memcpy(in, nn_input(nn, 0), nn_input_info(nn, 0)->bytes);
        nn_run(nn, 1);
        hold_against_formula(&t, nn, in);
        for (size_t k = 0; k < COUNT_OF(kernels); k++) {
            struct nn *fast = NULL;
            struct nn_cost cost;
            size_t len = tflite_build(&t.model, file, sizeof(file));
            enum err err = nn_load(slice_of(file, len), memory[1], MEMORY, &(struct nn_options){.kernels = kernels[k]}, &fast,
                                   &cost, NULL);
            if (err == ERR_UNSUPPORTED) {
                continue; /* not of this processor */
            }
            CHECK_OK(err);
            /* the others are run without the processor's kernels */
            tried[k] += code == CONV || (code == DEPTHWISE && type == BUILD_INT8 && t.oc == t.ic);
            memcpy(nn_input(fast, 0), in, nn_input_info(fast, 0)->bytes);
            nn_run(fast, 1);
            if (type == BUILD_INT8) {
                CHECK_INT(memcmp(nn_output(fast, 0), nn_output(nn, 0), nn_output_info(nn, 0)->bytes), 0);
            } else {
                hold_against_formula(&t, fast, in);
            }
        }
    }
}

static void convolutions_give_their_formula_with_all_kernels(void **state)
{
    (void)state;
    try_windowed(CONV, BUILD_INT8, 400);
    try_windowed(CONV, BUILD_FLOAT32, 400);
}

static void depthwise_convolutions_give_their_formula_with_all_kernels(void **state)
{
    (void)state;
    try_windowed(DEPTHWISE, BUILD_INT8, 400);
    try_windowed(DEPTHWISE, BUILD_FLOAT32, 200);
}

/* A sum that leaves few bits after its factor, of any size; factors that make ties. */
static void draw_factors(int32_t *sums, int32_t *multipliers, int32_t *shifts, size_t cols)
{
    for (size_t c = 0; c < cols; c++) {
        const int32_t some[] = {0, INT32_C(1) << 30, INT32_MAX, (INT32_C(1) << 30) + (int32_t)rnd(1 << 30)};
        unsigned bits = rnd(32);
        multipliers[c] = some[rnd(4)];
        shifts[c] = (int32_t)rnd(62) - 31;
        sums[c] = (int32_t)(mix_u64(++seed) >> 32) >> bits;
        if (rnd(2) && shifts[c] < 0) { /* half a step more than a whole */
            multipliers[c] = INT32_C(1) << 30;
            sums[c] = (int32_t)((2 * (int64_t)((int)rnd(256) - 128) + 1) * (INT64_C(1) << (-shifts[c])) % INT32_MAX);
        }
    }
}

static void requantisation_is_the_same_with_all_kernels(void **state)
{
    (void)state;
    enum { COLS = 32 };
    static const uint8_t weights[COLS * 4] __attribute__((aligned(16)));
    static int32_t sums[COLS], multipliers[COLS], shifts[COLS];
    const int8_t in[4] = {0}, *const tap[1] = {in};
    const struct tensor ends = {.constant = weights};
    const struct op op = {.in = &ends, .weights = &ends, .out = &ends, .min = -128, .max = 127, .sums = sums, .cols = COLS,
                          .multipliers = multipliers, .shifts = shifts, .depth = 1, .packed = weights};
    for (unsigned n = 0; n < 20000; n++) {
        int8_t expected[2][COLS], out[COLS];
        seed = n * 7919U;
        draw_factors(sums, multipliers, shifts, COLS);
        nn_kernels_portable.gemm_i8(1, &op, in, memory[0], expected[0]);
        nn_kernels_portable.depthwise_i8(0, &op, tap, expected[1]);
        for (size_t k = 0; k < COUNT_OF(kernels); k++) {
            const struct kernels *fast = nn_kernels_find(kernels[k]);
            if (fast == NULL) {
                continue; /* not of this processor */
            }
            fast->gemm_i8(1, &op, in, memory[0], out);
            CHECK_INT(memcmp(out, expected[0], COLS), 0);
            fast->depthwise_i8(0, &op, tap, out);
            CHECK_INT(memcmp(out, expected[1], COLS), 0);
        }
    }
}

static void pools_give_their_formula(void **state)
{
    (void)state;
    try_windowed(AVERAGE, BUILD_INT8, 200);
    try_windowed(AVERAGE, BUILD_FLOAT32, 200);
    try_windowed(MOST, BUILD_INT8, 200);
    try_windowed(MOST, BUILD_FLOAT32, 200);
}

/* ---- dense layers, batches ---- */
static int8_t dense_weights[2][70 * 130];
static int32_t dense_bias[130];
static const float dense_scale[] = {0.004F};

/* depth -> units -> 7, through a relu */
static struct build_model two_layers(int depth, int units)
{
    struct build_model m = {.tensor_count = 7, .op_count = 2, .output = 6};
    for (size_t i = 0; i < sizeof(dense_weights[0]); i++) {
        dense_weights[0][i] = (int8_t)((int)rnd(255) - 127);
        dense_weights[1][i] = (int8_t)((int)rnd(255) - 127);
    }
    for (size_t i = 0; i < COUNT_OF(dense_bias); i++) {
        dense_bias[i] = (int)rnd(2000) - 1000;
    }
    m.tensors[0] = (struct build_tensor){BUILD_INT8, 2, {1, depth}, in_scale, 1, 3, 0, NULL, 0};
    m.tensors[1] = (struct build_tensor){BUILD_INT8, 2, {units, depth}, dense_scale, 1, 0, 0, dense_weights[0],
                                         (size_t)(depth * units)};
    m.tensors[2] = (struct build_tensor){BUILD_INT32, 1, {units}, NULL, 0, 0, 0, dense_bias, 4 * (size_t)units};
    m.tensors[3] = (struct build_tensor){BUILD_INT8, 2, {1, units}, out_scale, 1, -128, 0, NULL, 0};
    m.tensors[4] = (struct build_tensor){BUILD_INT8, 2, {7, units}, dense_scale, 1, 0, 0, dense_weights[1], (size_t)(7 * units)};
    m.tensors[5] = (struct build_tensor){BUILD_INT32, 1, {7}, NULL, 0, 0, 0, dense_bias, 28};
    m.tensors[6] = (struct build_tensor){BUILD_INT8, 2, {1, 7}, out_scale, 1, 0, 0, NULL, 0};
    m.ops[0] = (struct build_op){DENSE, {0, 1, 2}, 3, 3, {{0, 1, 1}}};
    m.ops[1] = (struct build_op){DENSE, {3, 4, 5}, 3, 6, {{0, 1, 0}}};
    return m;
}

static void a_batch_gives_what_its_samples_give(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 60; n++) {
        seed = n;
        int depth = 1 + (int)rnd(70), units = 1 + (int)rnd(130);
        unsigned batch = 1 + rnd(40);
        struct build_model m = two_layers(depth, units);
        struct nn *many = load(&m, &(struct nn_options){.batch = batch}, 0);
        fill(many, BUILD_INT8, n);
        int8_t in[70 * 40], out[7 * 40];
        CHECK_INT(nn_input_info(many, 0)->bytes, (size_t)depth * batch);
        memcpy(in, nn_input(many, 0), (size_t)depth * batch);
        nn_run(many, batch);
        memcpy(out, nn_output(many, 0), 7 * batch);
        struct nn *one = load(&m, &(struct nn_options){.kernels = "portable"}, 1);
        for (unsigned s = 0; s < batch; s++) {
            memcpy(nn_input(one, 0), in + (size_t)depth * s, (size_t)depth);
            nn_run(one, 1);
            CHECK_INT(memcmp(nn_output(one, 0), out + 7 * s, 7), 0);
        }
    }
}

static void weights_count_once_however_large_the_batch(void **state)
{
    enum { SIDE = 540 };
    static int8_t zeros[SIDE * SIDE];
    (void)state;
    struct build_model m = {.tensor_count = 3, .op_count = 1, .output = 2};
    m.tensors[0] = (struct build_tensor){BUILD_INT8, 2, {1, SIDE}, in_scale, 1, 0, 0, NULL, 0};
    m.tensors[1] = (struct build_tensor){BUILD_INT8, 2, {SIDE, SIDE}, in_scale, 1, 0, 0, zeros, sizeof(zeros)};
    m.tensors[2] = (struct build_tensor){BUILD_INT8, 2, {1, SIDE}, out_scale, 1, 3, 0, NULL, 0};
    m.ops[0] = (struct build_op){DENSE, {0, 1}, 2, 2, {{0, 1, 0}}};
    struct nn *nn = load(&m, &(struct nn_options){.batch = NN_BATCH_MAX}, 0);
    nn_run(nn, NN_BATCH_MAX);
    CHECK_INT(((const int8_t *)nn_output(nn, 0))[SIDE * NN_BATCH_MAX - 1], 3);
}

static void a_constant_is_added_to_every_sample_and_a_batch_may_be_run_in_part(void **state)
{
    static const int8_t constant[6] = {10, -20, 30, 0, 5, -5};
    (void)state;
    struct build_model m = {.tensor_count = 3, .op_count = 1, .output = 2};
    m.tensors[0] = (struct build_tensor){BUILD_INT8, 2, {1, 6}, in_scale, 1, 0, 0, NULL, 0};
    m.tensors[1] = (struct build_tensor){BUILD_INT8, 2, {1, 6}, in_scale, 1, 0, 0, constant, 6};
    m.tensors[2] = (struct build_tensor){BUILD_INT8, 2, {1, 6}, in_scale, 1, 0, 0, NULL, 0};
    m.ops[0] = (struct build_op){0, {0, 1}, 2, 2, {{0, 1, 0}}};
    struct nn *nn = load(&m, &(struct nn_options){.batch = 3}, 0);
    memset(nn_input(nn, 0), 7, 18);
    nn_run(nn, 3);
    for (int i = 0; i < 18; i++) {
        CHECK_INT(((const int8_t *)nn_output(nn, 0))[i], 7 + constant[i % 6]);
    }
    memset(nn_input(nn, 0), 1, 18);
    nn_run(nn, 2);
    CHECK_INT(((const int8_t *)nn_output(nn, 0))[11], 1 - 5);
    CHECK_INT(((const int8_t *)nn_output(nn, 0))[12], 7 + 10); /* of the run before: not touched */
}

/* ---- the rest: one operator each on 24 values ---- */
static int8_t other_i8[24];
static float other_f32[24];
static const int32_t pads[] = {0, 0, 1, 2, 0, 1, 0, 0}, axes[] = {1, 2};

struct simple {
    int code, type;
    double (*formula)(double a, double b, double beta);
};

static double f_add(double a, double b, double beta)
{
    return a + b + 0 * beta;
}
static double f_relu(double a, double b, double beta)
{
    return fmax(a, 0) + 0 * (b + beta);
}
static double f_relu6(double a, double b, double beta)
{
    return fmin(fmax(a, 0), 6) + 0 * (b + beta);
}
static double f_logistic(double a, double b, double beta)
{
    return 1 / (1 + exp(-a)) + 0 * (b + beta);
}
static double f_same(double a, double b, double beta)
{
    return a + 0 * (b + beta);
}

static void element_by_element(void **state)
{
    static const struct simple all[] = {
        {0, BUILD_INT8, f_add},       {0, BUILD_FLOAT32, f_add},       {19, BUILD_INT8, f_relu},      {19, BUILD_FLOAT32, f_relu},
        {21, BUILD_INT8, f_relu6},    {21, BUILD_FLOAT32, f_relu6},    {14, BUILD_INT8, f_logistic},  {14, BUILD_FLOAT32, f_logistic},
        {114, BUILD_INT8, f_same},    {114, BUILD_FLOAT32, f_same},    {6, BUILD_INT8, f_same},       {22, BUILD_FLOAT32, f_same},
    };
    (void)state;
    for (size_t n = 0; n < COUNT_OF(all); n++) {
        const struct simple *t = &all[n];
        int out_type = t->code == 114 ? BUILD_INT8 : t->code == 6 ? BUILD_FLOAT32 : t->type;
        bool i8 = t->type == BUILD_INT8, out_i8 = out_type == BUILD_INT8;
        seed = n;
        for (size_t i = 0; i < 24; i++) {
            other_i8[i] = (int8_t)((int)rnd(256) - 128);
            other_f32[i] = rnd_float();
        }
        struct build_model m = {.tensor_count = 3, .op_count = 1, .output = 2};
        m.tensors[0] = (struct build_tensor){t->type, 2, {1, 24}, i8 ? in_scale : NULL, 1, -3, 0, NULL, 0};
        m.tensors[1] = (struct build_tensor){t->type, 2, {1, 24}, i8 ? out_scale : NULL, 1, 9, 0,
                                             i8 ? (const void *)other_i8 : other_f32, i8 ? 24 : 96};
        m.tensors[2] = (struct build_tensor){out_type, 2, {1, 24}, out_i8 ? out_scale : NULL, 1, 2, 0, NULL, 0};
        m.ops[0] = (struct build_op){t->code, {0, 1}, t->code == 0 ? 2 : 1, 2, {{0, 1, 0}}};
        struct nn *nn = load(&m, NULL, 0);
        fill(nn, t->type, n);
        uint8_t in[96];
        memcpy(in, nn_input(nn, 0), i8 ? 24 : 96);
        nn_run(nn, 1);
        for (size_t i = 0; i < 24; i++) {
            float f;
            memcpy(&f, in + 4 * i, 4);
            double a = i8 ? ((int8_t)in[i] + 3) * (double)in_scale[0] : (double)f;
            double b = i8 ? (other_i8[i] - 9) * (double)out_scale[0] : (double)other_f32[i], want = t->formula(a, b, 0);
            if (out_i8) {
                double q = fmin(fmax(round(want / (double)out_scale[0]) + 2, -128), 127);
                CHECK(fabs(q - ((const int8_t *)nn_output(nn, 0))[i]) <= 1);
            } else {
                CHECK(fabs(want - (double)((const float *)nn_output(nn, 0))[i]) < 1e-5);
            }
        }
    }
}

static void a_softmax_adds_up_to_one(void **state)
{
    static const float prob_scale[] = {1.0F / 256};
    float beta = 1.0F;
    int32_t bits;
    memcpy(&bits, &beta, 4);
    (void)state;
    for (int type = BUILD_FLOAT32; type <= BUILD_INT8; type += BUILD_INT8) {
        bool i8 = type == BUILD_INT8;
        struct build_model m = {.tensor_count = 2, .op_count = 1, .output = 1};
        m.tensors[0] = (struct build_tensor){type, 2, {2, 12}, i8 ? in_scale : NULL, 1, -3, 0, NULL, 0};
        m.tensors[1] = (struct build_tensor){type, 2, {2, 12}, i8 ? prob_scale : NULL, 1, -128, 0, NULL, 0};
        m.ops[0] = (struct build_op){25, {0}, 1, 1, {{0, 4, bits}}};
        struct nn *nn = load(&m, NULL, 0);
        fill(nn, type, 5);
        double in[24], sum = 0;
        for (size_t i = 0; i < 24; i++) {
            in[i] = i8 ? (((int8_t *)nn_input(nn, 0))[i] + 3) * (double)in_scale[0] : (double)((float *)nn_input(nn, 0))[i];
        }
        nn_run(nn, 1);
        for (size_t i = 0; i < 24; i++) {
            sum = 0;
            for (size_t k = 0; k < 12; k++) {
                sum += exp(in[i / 12 * 12 + k]);
            }
            double want = exp(in[i]) / sum;
            double is = i8 ? (((const int8_t *)nn_output(nn, 0))[i] + 128) / 256.0 : (double)((const float *)nn_output(nn, 0))[i];
            CHECK(fabs(want - is) < (i8 ? 1.5 / 256 : 1e-6));
        }
    }
}

static void paddings_and_means_go_over_their_dimensions(void **state)
{
    (void)state;
    struct build_model m = {.tensor_count = 5, .op_count = 2, .output = 4};
    m.tensors[0] = (struct build_tensor){BUILD_INT8, 4, {1, 2, 3, 4}, in_scale, 1, -3, 0, NULL, 0};
    m.tensors[1] = (struct build_tensor){BUILD_INT32, 2, {4, 2}, NULL, 0, 0, 0, pads, sizeof(pads)};
    m.tensors[2] = (struct build_tensor){BUILD_INT8, 4, {1, 5, 4, 4}, in_scale, 1, -3, 0, NULL, 0};
    m.tensors[3] = (struct build_tensor){BUILD_INT32, 1, {2}, NULL, 0, 0, 0, axes, sizeof(axes)};
    m.tensors[4] = (struct build_tensor){BUILD_INT8, 2, {1, 4}, in_scale, 1, -3, 0, NULL, 0};
    m.ops[0] = (struct build_op){34, {0, 1}, 2, 2, {{0, 1, 0}}};
    m.ops[1] = (struct build_op){40, {2, 3}, 2, 4, {{0, 1, 0}}};
    struct nn *nn = load(&m, NULL, 0);
    fill(nn, BUILD_INT8, 3);
    double sums[4] = {0};
    for (size_t i = 0; i < 24; i++) {
        sums[i % 4] += ((int8_t *)nn_input(nn, 0))[i] + 3;
    }
    nn_run(nn, 1);
    for (size_t c = 0; c < 4; c++) { /* 20 places, of which the padded ones are 0 */
        CHECK(fabs(round(sums[c] / 20) - 3 - ((const int8_t *)nn_output(nn, 0))[c]) <= 1);
    }
}

static void types_that_do_not_go_together_are_named(void **state)
{
    static struct windowed t;
    struct fault fault = {.code = OK};
    struct nn_cost cost;
    struct nn *nn = NULL;
    (void)state;
    draw(&t, CONV, BUILD_INT8);
    build(&t);
    t.model.tensors[1].type = BUILD_FLOAT32;
    size_t len = tflite_build(&t.model, file, sizeof(file));
    CHECK_ERR(nn_load(slice_of(file, len), memory[0], MEMORY, NULL, &nn, &cost, &fault), ERR_UNSUPPORTED);
    CHECK_CONTAINS(fault.text, "of one type; they are int8, int8 and float32");
}

static void the_cost_says_what_memory_it_takes(void **state)
{
    (void)state;
    struct build_model m = two_layers(64, 128);
    size_t len = tflite_build(&m, file, sizeof(file));
    struct nn_cost cost, again;
    struct nn *nn = NULL;
    CHECK_OK(nn_load(slice_of(file, len), memory[0], MEMORY, NULL, &nn, &cost, NULL));
    CHECK_INT(cost.macs, 64 * 128 + 128 * 7);
    CHECK_INT(cost.ops, 2);
    CHECK_INT(cost.arena_bytes, 64 + 128 + 0); /* the output takes the input's place */
    CHECK_ERR(nn_load(slice_of(file, len), memory[0], cost.memory_bytes - 1, NULL, &nn, &again, NULL), ERR_FULL);
    CHECK_INT(again.memory_bytes, cost.memory_bytes);
    CHECK_OK(nn_load(slice_of(file, len), memory[0], cost.memory_bytes, NULL, &nn, &again, NULL));
    CHECK_ERR(nn_load(slice_of(file, len), memory[0], MEMORY, &(struct nn_options){.macs_max = 9000}, &nn, &again, NULL), ERR_RANGE);
    CHECK_ERR(nn_load(slice_of(file, len), memory[0], MEMORY, &(struct nn_options){.kernels = "abacus"}, &nn, &again, NULL),
              ERR_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_give_their_formula_with_all_kernels),
        cmocka_unit_test(depthwise_convolutions_give_their_formula_with_all_kernels),
        cmocka_unit_test(requantisation_is_the_same_with_all_kernels),
        cmocka_unit_test(pools_give_their_formula),
        cmocka_unit_test(a_batch_gives_what_its_samples_give),
        cmocka_unit_test(weights_count_once_however_large_the_batch),
        cmocka_unit_test(a_constant_is_added_to_every_sample_and_a_batch_may_be_run_in_part),
        cmocka_unit_test(element_by_element),
        cmocka_unit_test(a_softmax_adds_up_to_one),
        cmocka_unit_test(paddings_and_means_go_over_their_dimensions),
        cmocka_unit_test(types_that_do_not_go_together_are_named),
        cmocka_unit_test(the_cost_says_what_memory_it_takes),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (size_t k = 0; k < COUNT_OF(kernels); k++) {
        printf("tried=%s networks=%u\n", kernels[k], tried[k]);
    }
    return failed;
}
