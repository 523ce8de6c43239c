/* SPDX-License-Identifier: Apache-2.0 */
/* The same layers as XNNPACK operators (Debian's package, its operator API). */
#include "tests/bench/inference.d/bench.h"

#ifdef HAVE_XNNPACK
#include <math.h>
#include <stdio.h>
#include <xnnpack.h>

struct chain {
    xnn_operator_t op[LAYERS_MAX];
    unsigned count;
};

static void *get(size_t bytes)
{
    void *p = NULL;
    if (posix_memalign(&p, 64, bytes + 256) != 0) {
        abort();
    }
    return memset(p, 0, bytes + 256);
}

static enum xnn_status make(const struct layer *l, bool int8, size_t batch, void *in, void *out, xnn_operator_t *ret_op)
{
    static float scales[256];
    int all = (int)((l->out_width - 1) * l->stride + l->taps - l->width);
    uint32_t left = all > 0 ? (uint32_t)all / 2 : 0, right = all > 0 ? (uint32_t)all - left : 0;
    int8_t low = l->relu ? 0 : -128;
    enum xnn_status status;
    for (size_t i = 0; i < COUNT_OF(scales); i++) {
        scales[i] = NET_WEIGHT_SCALE;
    }
    if (l->kind == LAYER_DENSE && int8) {
        status = xnn_create_fully_connected_nc_qs8(l->in, l->out, l->in, l->out, 0, NET_IN_SCALE, NET_WEIGHT_SCALE, l->weights_i8,
                                                   l->bias_i32, 0, NET_IN_SCALE, low, 127, 0, ret_op);
        return status ? status : xnn_setup_fully_connected_nc_qs8(*ret_op, batch, in, out, NULL);
    }
    if (l->kind == LAYER_DENSE) {
        status = xnn_create_fully_connected_nc_f32(l->in, l->out, l->in, l->out, l->weights, l->bias, l->relu ? 0 : -INFINITY,
                                                   INFINITY, 0, ret_op);
        return status ? status : xnn_setup_fully_connected_nc_f32(*ret_op, batch, in, out, NULL);
    }
    if (l->kind == LAYER_CONV && int8) {
        status = xnn_create_convolution2d_nhwc_qc8(0, right, 0, left, 1, l->taps, 1, l->stride, 1, 1, 1, l->in, l->out, l->in, l->out, 0,
                                                   NET_IN_SCALE, scales, l->weights_i8, l->bias_i32, 0, NET_IN_SCALE, low, 127, 0, ret_op);
        return status ? status : xnn_setup_convolution2d_nhwc_qc8(*ret_op, batch, 1, l->width, in, out, NULL);
    }
    if (l->kind == LAYER_CONV) {
        status = xnn_create_convolution2d_nhwc_f32(0, right, 0, left, 1, l->taps, 1, l->stride, 1, 1, 1, l->in, l->out, l->in, l->out,
                                                   l->weights, l->bias, l->relu ? 0 : -INFINITY, INFINITY, 0, ret_op);
        return status ? status : xnn_setup_convolution2d_nhwc_f32(*ret_op, batch, 1, l->width, in, out, NULL);
    }
    if (int8) {
        status = xnn_create_global_average_pooling_nwc_qs8(l->in, l->in, l->out, 0, NET_IN_SCALE, 0, NET_IN_SCALE, -128, 127, 0, ret_op);
        return status ? status : xnn_setup_global_average_pooling_nwc_qs8(*ret_op, batch, l->width, in, out, NULL);
    }
    status = xnn_create_global_average_pooling_nwc_f32(l->in, l->in, l->out, -INFINITY, INFINITY, 0, ret_op);
    return status ? status : xnn_setup_global_average_pooling_nwc_f32(*ret_op, batch, l->width, in, out, NULL);
}

static void run(void *self, size_t batch)
{
    struct chain *c = self;
    (void)batch;
    for (unsigned i = 0; i < c->count; i++) {
        (void)xnn_run_operator(c->op[i], NULL);
    }
}

struct runner runner_xnnpack(const struct net *net, size_t batch, bool int8)
{
    struct runner r = {.name = "xnnpack"};
    struct chain *c = get(sizeof(*c));
    void *from = r.in = get(batch * net->inputs * 4);
    if (xnn_initialize(NULL) != xnn_status_success) {
        snprintf(r.why, sizeof(r.why), "does not start here");
        return r;
    }
    for (unsigned n = 0; n < net->count; n++) {
        void *to = get(batch * net->layer[n].out * net->layer[n].out_width * 4);
        enum xnn_status status = make(&net->layer[n], int8, batch, from, to, &c->op[c->count++]);
        if (status != xnn_status_success) {
            snprintf(r.why, sizeof(r.why), "layer %u: status %d", n, (int)status);
            return r;
        }
        from = to;
    }
    r.out = from;
    r.self = c;
    r.run = run;
    return r;
}
#else
struct runner runner_xnnpack(const struct net *net, size_t batch, bool int8)
{
    (void)net;
    (void)batch;
    (void)int8;
    return (struct runner){.name = "xnnpack", .why = "not built in"};
}
#endif
