/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of bench-inference share: models as lists of layers, and runners that time one model each. */
#ifndef TESTS_BENCH_INFERENCE_H
#define TESTS_BENCH_INFERENCE_H

#include "core/base/base.h"

enum layer_kind { LAYER_DENSE, LAYER_CONV, LAYER_MEAN };
struct layer {
    enum layer_kind kind;
    unsigned in, out;       /* channels */
    unsigned taps, stride;  /* of a convolution along the width, padding "same" */
    bool relu;
    /* drawn */
    float *weights, *bias;  /* [out][taps][in] */
    int8_t *weights_i8;
    int32_t *bias_i32;
    unsigned width, out_width;
};
enum { LAYERS_MAX = 12 };
struct net {
    const char *name;
    unsigned count, inputs, outputs; /* values of a sample */
    struct layer layer[LAYERS_MAX];
};
/* Scales of the int8 form: the same for every layer. */
#define NET_IN_SCALE 0.02F
#define NET_WEIGHT_SCALE 0.004F

/* A model ready to run; NULL run: not there (why says what is missing). */
struct runner {
    const char *name;
    char why[200];
    void *self;
    void (*run)(void *self, size_t batch); /* on `in`, result in `out` */
    void *in, *out;                        /* float or int8 rows */
    bool channels_first;                   /* a convolution's input is [channels][width] */
};

void net_draw(struct net *net, uint64_t seed);
/* bytes are owned by the caller. */
struct slice net_tflite(const struct net *net, bool int8);
struct slice net_onnx(const struct net *net, bool int8);

struct runner runner_own(struct slice file, size_t batch, const char *kernels);
struct runner runner_tflite(const char *library, struct slice file, const struct net *net, size_t batch, bool int8);
struct runner runner_onnx(const char *library, struct slice file, const struct net *net, size_t batch, bool int8);
struct runner runner_xnnpack(const struct net *net, size_t batch, bool int8);

#endif
