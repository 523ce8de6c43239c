/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each operator demands of its tensors, and the constants that its kernel needs, worked out once. Numbers of option
 * fields are those of TensorFlow Lite's schema; formulas of scales as in its kernels (kernel_util.cc, add.cc, ...), down
 * to where float and double are used, because single bits of the results depend on that.
 */
#include "core/nn/nn_internal.h"

enum { OPERATOR_OPTIONS = 4 };
enum { PADDING_SAME = 0 };
enum { ACTIVATION_NONE = 0, ACTIVATION_RELU = 1, ACTIVATION_RELU_N1 = 2, ACTIVATION_RELU6 = 3 };
enum { ADD_LEFT_SHIFT = 20, SIDE_MAX = 1 << 15, STRIDE_MAX = 1 << 10 };
/* What holds the parameters of filter and pool: field numbers differ between the operators. */
struct window_fields {
    int padding, stride_w, stride_h, kw, kh, activation, dilation_w, dilation_h, multiplier; /* -1: has none */
};
static const struct window_fields conv_fields = {0, 1, 2, -1, -1, 3, 4, 5, -1};
static const struct window_fields depthwise_fields = {0, 1, 2, -1, -1, 4, 5, 6, 3};
static const struct window_fields pool_fields = {0, 1, 2, 3, 4, 5, -1, -1, -1};

struct ends {
    struct tensor *in[3];
    struct tensor *out;
};

static enum err contradict(struct loader *l, const struct op *op, const char *what)
{
    return fault_set(l->reterr, ERR_MALFORMED, "operator %u (%s): %s", l->index, nn_kind_name(op->kind), what);
}

static enum err unsupported(struct loader *l, const struct op *op, const char *what)
{
    return fault_set(l->reterr, ERR_UNSUPPORTED, "operator %u (%s): %s", l->index, nn_kind_name(op->kind), what);
}

/* At least `least` inputs, one output; the rest stays NULL. */
static enum err find_ends(struct loader *l, const struct op *op, struct flat_vector inputs, struct flat_vector outputs,
                          unsigned least, struct ends *e)
{
    *e = (struct ends){0};
    if (inputs.count > COUNT_OF(e->in) || outputs.count != 1) {
        return unsupported(l, op, "number of inputs or outputs");
    }
    for (uint32_t i = 0; i < inputs.count; i++) {
        int32_t n = flat_i32_at(&l->flat, inputs, i);
        e->in[i] = n >= 0 ? &l->nn->tensors[n] : NULL;
    }
    e->out = &l->nn->tensors[flat_i32_at(&l->flat, outputs, 0)];
    for (unsigned i = 0; i < least; i++) {
        if (e->in[i] == NULL) {
            return contradict(l, op, "an input is missing");
        }
    }
    return OK;
}

static bool same_type(const struct tensor *a, const struct tensor *b)
{
    return a->info.type == b->info.type;
}

static bool same_shape(const struct tensor *a, const struct tensor *b)
{
    return memcmp(a->info.dim, b->info.dim, sizeof(a->info.dim)) == 0 && a->info.rank == b->info.rank;
}

static bool number(const struct tensor *t)
{
    return t->info.type == NN_FLOAT32 || t->info.type == NN_INT8;
}

static bool same_quantization(const struct tensor *a, const struct tensor *b)
{
    return a->info.type != NN_INT8 || (a->info.scale == b->info.scale && a->info.zero_point == b->info.zero_point);
}

/* An activation that is read or written whole; per-channel scales are for weights. */
static enum err check_activation(struct loader *l, const struct op *op, const struct tensor *t)
{
    if (!number(t)) {
        return unsupported(l, op, "float32 and int8 are supported");
    }
    if (t->info.type == NN_INT8 && t->scales.count != 1) {
        return unsupported(l, op, "an activation with several scales");
    }
    return OK;
}

/* ---- activations fused into an operator ---- */
static int32_t quantized_bound(const struct tensor *t, float value)
{
    double q = round((double)(value / t->info.scale)) + t->info.zero_point;
    return (int32_t)(q < -128 ? -128 : q > 127 ? 127 : q);
}

static enum err set_activation(struct loader *l, struct op *op, int64_t activation)
{
    op->min = -128;
    op->max = 127;
    op->float_min = -INFINITY;
    op->float_max = INFINITY;
    bool int8 = op->out->info.type == NN_INT8;
    switch (activation) {
    case ACTIVATION_NONE:
        return OK;
    case ACTIVATION_RELU:
        op->float_min = 0;
        op->min = int8 ? quantized_bound(op->out, 0) : 0;
        return OK;
    case ACTIVATION_RELU_N1:
    case ACTIVATION_RELU6:
        op->float_min = activation == ACTIVATION_RELU6 ? 0.0F : -1.0F;
        op->float_max = activation == ACTIVATION_RELU6 ? 6.0F : 1.0F;
        op->min = int8 ? quantized_bound(op->out, op->float_min) : 0;
        op->max = int8 ? quantized_bound(op->out, op->float_max) : 0;
        return OK;
    default:
        return unsupported(l, op, "its fused activation");
    }
}

/* ---- windows ---- */
static int64_t option(struct loader *l, size_t options, int field, size_t width, int64_t preset)
{
    return field < 0 ? preset : flat_int(&l->flat, options, (unsigned)field, width, preset);
}

/* One side: checks that the output has the size that the window gives; the padding in front of it. */
static bool fits(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t dilation, bool same, int32_t *ret_pad)
{
    int64_t reach = (kernel - 1) * dilation + 1;
    int64_t expected = same ? (in + stride - 1) / stride : (in + stride - reach) / stride;
    int64_t pad = (out - 1) * stride + reach - in;
    *ret_pad = (int32_t)(same && pad > 0 ? pad / 2 : 0);
    return kernel >= 1 && reach <= SIDE_MAX && out == expected && out >= 1 && (same || reach <= in);
}

static enum err read_window(struct loader *l, struct op *op, size_t options, const struct window_fields *f, int64_t kh,
                            int64_t kw)
{
    const uint32_t *in = op->in->info.dim, *out = op->out->info.dim;
    struct window *w = &op->window;
    int64_t stride_w = option(l, options, f->stride_w, 4, 0), stride_h = option(l, options, f->stride_h, 4, 0);
    int64_t dilation_w = option(l, options, f->dilation_w, 4, 1), dilation_h = option(l, options, f->dilation_h, 4, 1);
    bool same = option(l, options, f->padding, 1, 0) == PADDING_SAME;
    if (op->in->info.rank != 4 || op->out->info.rank != 4 || in[0] != out[0]) {
        return contradict(l, op, "input and output must be [batch, height, width, channels]");
    }
    if (stride_w < 1 || stride_h < 1 || stride_w > STRIDE_MAX || stride_h > STRIDE_MAX || dilation_w < 1 || dilation_h < 1 ||
        dilation_w > STRIDE_MAX || dilation_h > STRIDE_MAX || kh < 1 || kw < 1 || kh > SIDE_MAX || kw > SIDE_MAX ||
        in[1] > SIDE_MAX || in[2] > SIDE_MAX) {
        return contradict(l, op, "stride, dilation or filter size is out of range");
    }
    *w = (struct window){.kh = (int32_t)kh, .kw = (int32_t)kw, .stride_h = (int32_t)stride_h, .stride_w = (int32_t)stride_w,
                         .dilation_h = (int32_t)dilation_h, .dilation_w = (int32_t)dilation_w};
    if (!fits(in[1], out[1], kh, stride_h, dilation_h, same, &w->pad_top) ||
        !fits(in[2], out[2], kw, stride_w, dilation_w, same, &w->pad_left)) {
        return contradict(l, op, "the output's size is not what the window gives");
    }
    return set_activation(l, op, option(l, options, f->activation, 1, 0));
}

/* ---- weights ---- */
static enum err check_weights(struct loader *l, const struct op *op, uint32_t channels, int channel_dim)
{
    const struct tensor *w = op->weights, *b = op->bias;
    if (w->constant == NULL || (b != NULL && b->constant == NULL)) {
        return unsupported(l, op, "weights and biases must be constant");
    }
    if (!same_type(op->in, w) || !same_type(op->in, op->out)) {
        return fault_set(l->reterr, ERR_UNSUPPORTED,
                         "operator %u (%s): input, weights and output must be of one type; they are %s, %s and %s",
                         l->index, nn_kind_name(op->kind), nn_type_name(op->in->info.type),
                         nn_type_name(w->info.type), nn_type_name(op->out->info.type));
    }
    enum nn_type bias_type = w->info.type == NN_INT8 ? NN_INT32 : NN_FLOAT32;
    if (b != NULL && (b->info.type != bias_type || b->info.elements != channels)) {
        return contradict(l, op, "the bias does not fit the output's channels");
    }
    if (w->info.type != NN_INT8) {
        return OK;
    }
    if (w->scales.count != 1 && (w->scales.count != channels || w->channel_dim != channel_dim)) {
        return contradict(l, op, "the weights' scales do not fit the output's channels");
    }
    for (uint32_t i = 0; i < w->zero_points.count; i++) {
        if (flat_i64_at(&l->flat, w->zero_points, i) != 0) {
            return unsupported(l, op, "weights with a zero point");
        }
    }
    return OK;
}

static size_t round_up(size_t n, size_t to)
{
    return to == 0 ? n : (n + to - 1) / to * to;
}

/* Sums and factors per output channel. taps: weights of one channel, `apart` elements apart, beginning at channel * begin.
 * offset: what the kernel adds to its inputs. */
static enum err prepare_channels(struct loader *l, struct op *op, size_t taps, size_t apart, size_t begin,
                                 const struct packing *packing)
{
    const struct tensor *in = op->in, *w = op->weights, *out = op->out;
    size_t padded = round_up(op->cols, packing->lanes);
    op->sums = bump_take(&l->bump, padded * sizeof(*op->sums));
    op->multipliers = bump_take(&l->bump, padded * sizeof(*op->multipliers));
    op->shifts = bump_take(&l->bump, padded * sizeof(*op->shifts));
    for (size_t c = 0; c < op->cols; c++) {
        float scale = flat_f32_at(&l->flat, w->scales, w->scales.count > 1 ? (uint32_t)c : 0);
        double product = op->kind == NN_FULLY_CONNECTED ? (double)(in->info.scale * scale)
                                                        : (double)in->info.scale * (double)scale;
        double factor = product / (double)out->info.scale;
        if (!(factor < 1e9)) {
            return contradict(l, op, "the scales do not fit one another");
        }
        if (op->shifts == NULL || op->multipliers == NULL || op->sums == NULL) {
            continue; /* the memory is too small: only counted */
        }
        uint32_t sum = 0;
        for (size_t i = 0; i < taps; i++) {
            sum += (uint32_t)(int8_t)w->constant[begin * c + i * apart];
        }
        int32_t bias = 0;
        if (op->bias != NULL) {
            memcpy(&bias, op->bias->constant + 4 * c, sizeof(bias));
        }
        struct fixed f = fixed_of(factor);
        op->sums[c] = (int32_t)((uint32_t)bias - (uint32_t)(in->info.zero_point + packing->offset) * sum);
        op->multipliers[c] = f.multiplier;
        op->shifts[c] = f.shift;
    }
    return OK;
}

/* See nn_internal.h. size: bytes of an element. */
static const uint8_t *pack(struct loader *l, const struct op *op, const struct packing *p, size_t size)
{
    size_t groups = round_up(op->depth, p->group) / p->group, blocks = round_up(op->cols, p->lanes) / p->lanes;
    uint8_t *packed = bump_take(&l->bump, blocks * groups * p->lanes * p->group * size);
    for (size_t c = 0; c < op->cols && packed != NULL; c++) {
        for (size_t k = 0; k < op->depth; k++) {
            size_t to = ((c / p->lanes * groups + k / p->group) * p->lanes + c % p->lanes) * p->group + k % p->group;
            memcpy(packed + to * size, op->weights->constant + (c * op->depth + k) * size, size);
        }
    }
    return packed;
}

/* Weights [cols][depth] for gemm. */
static enum err prepare_product(struct loader *l, struct op *op, size_t cols, size_t depth)
{
    bool int8 = op->weights->info.type == NN_INT8;
    const struct packing *p = int8 ? &l->nn->kernels->i8 : &l->nn->kernels->f32;
    op->cols = cols;
    op->depth = depth;
    op->weights_bytes = op->weights->info.bytes + (op->bias != NULL ? op->bias->info.bytes : 0);
    if (int8) {
        TRY(prepare_channels(l, op, depth, 1, depth, p));
        l->kernel_scratch_bytes = max_u64(l->kernel_scratch_bytes, p->lanes != 0 ? nn_kernel_scratch(depth) : 0);
    } else {
        float *bias = bump_take(&l->bump, round_up(cols, p->lanes) * sizeof(*bias));
        if (bias != NULL && op->bias != NULL) {
            memcpy(bias, op->bias->constant, cols * sizeof(*bias));
        }
        op->packed_bias = bias;
    }
    op->packed = p->lanes != 0 ? pack(l, op, p, int8 ? 1 : sizeof(float)) : op->weights->constant;
    return OK;
}

static enum err prepare_conv(struct loader *l, struct op *op, size_t options)
{
    const uint32_t *in = op->in->info.dim, *w = op->weights->info.dim, *out = op->out->info.dim;
    if (op->weights->info.rank != 4 || w[3] != in[3] || w[0] != out[3]) {
        return contradict(l, op, "the weights do not fit input and output"); /* groups are not supported either */
    }
    TRY(check_weights(l, op, out[3], 0));
    TRY(read_window(l, op, options, &conv_fields, w[1], w[2]));
    size_t depth = (size_t)w[1] * w[2] * w[3];
    TRY(prepare_product(l, op, out[3], depth));
    bool int8 = op->in->info.type == NN_INT8;
    op->macs = (uint64_t)out[1] * out[2] * out[3] * depth;
    op->run = int8 ? nn_run_conv_i8 : nn_run_conv_f32;
    l->scratch_bytes = max_u64(l->scratch_bytes, PATCH_ROWS * depth * (int8 ? 1 : sizeof(float)));
    return OK;
}

static enum err prepare_depthwise(struct loader *l, struct op *op, size_t options)
{
    const uint32_t *in = op->in->info.dim, *w = op->weights->info.dim, *out = op->out->info.dim;
    if (op->weights->info.rank != 4 || w[0] != 1 || w[3] != out[3] || out[3] % in[3] != 0) {
        return contradict(l, op, "the weights do not fit input and output");
    }
    if ((uint64_t)w[1] * w[2] > TAPS_MAX) {
        return unsupported(l, op, "a filter of more than 1024 taps");
    }
    op->multiplier = (int32_t)(out[3] / in[3]);
    TRY(check_weights(l, op, out[3], 3));
    TRY(read_window(l, op, options, &depthwise_fields, w[1], w[2]));
    op->cols = out[3];
    op->weights_bytes = op->weights->info.bytes + (op->bias != NULL ? op->bias->info.bytes : 0);
    if (op->weights->info.type == NN_INT8) {
        static const struct packing as_it_stands = {.lanes = LANES_MAX};
        TRY(prepare_channels(l, op, (size_t)w[1] * w[2], w[3], 1, &as_it_stands));
    }
    op->macs = (uint64_t)out[1] * out[2] * out[3] * w[1] * w[2];
    op->run = op->in->info.type == NN_INT8 ? nn_run_depthwise_i8 : nn_run_depthwise_f32;
    return OK;
}

static enum err prepare_dense(struct loader *l, struct op *op, size_t options)
{
    const struct tensor *in = op->in, *w = op->weights, *out = op->out;
    uint32_t units = w->info.dim[0], depth = w->info.dim[1];
    if (w->info.rank != 2 || in->info.elements % depth != 0 || out->info.elements % units != 0 ||
        in->info.elements / depth != out->info.elements / units || out->info.dim[max_u64(out->info.rank, 1) - 1] != units) {
        return contradict(l, op, "the weights do not fit input and output");
    }
    if (flat_int(&l->flat, options, 1, 1, 0) != 0) {
        return unsupported(l, op, "shuffled weights");
    }
    TRY(check_weights(l, op, units, 0));
    TRY(set_activation(l, op, flat_int(&l->flat, options, 0, 1, 0)));
    TRY(prepare_product(l, op, units, depth));
    op->macs = (uint64_t)in->info.elements / l->nn->batch * units;
    op->run = in->info.type == NN_INT8 ? nn_run_dense_i8 : nn_run_dense_f32;
    return OK;
}

static enum err prepare_pool(struct loader *l, struct op *op, size_t options)
{
    int64_t kw = flat_int(&l->flat, options, 3, 4, 0), kh = flat_int(&l->flat, options, 4, 4, 0);
    bool int8 = op->in->info.type == NN_INT8, average = op->kind == NN_AVERAGE_POOL_2D;
    if (!same_type(op->in, op->out) || op->in->info.dim[3] != op->out->info.dim[3]) {
        return contradict(l, op, "output's type or channels differ from the input's");
    }
    if (!same_quantization(op->in, op->out)) {
        return unsupported(l, op, "a pool that changes the scale");
    }
    TRY(read_window(l, op, options, &pool_fields, kh, kw));
    /* Nothing is multiplied, but each value that is looked at takes as long. */
    const uint32_t *in = op->in->info.dim, *out = op->out->info.dim;
    l->looks += (uint64_t)out[1] * out[2] * out[3] * min_u64((uint64_t)kh, in[1]) * min_u64((uint64_t)kw, in[2]);
    if (average) {
        op->run = int8 ? nn_run_pool_average_i8 : nn_run_pool_average_f32;
    } else {
        op->run = int8 ? nn_run_pool_max_i8 : nn_run_pool_max_f32;
    }
    return OK;
}

static enum err prepare_add(struct loader *l, struct op *op, size_t options)
{
    if (!same_type(op->in, op->in2) || !same_type(op->in, op->out)) {
        return unsupported(l, op, "inputs and output must be of one type");
    }
    if (!same_shape(op->in, op->in2) || !same_shape(op->in, op->out)) {
        return unsupported(l, op, "both inputs and the output must be of one shape");
    }
    TRY(check_activation(l, op, op->in2));
    TRY(set_activation(l, op, flat_int(&l->flat, options, 0, 1, 0)));
    if (op->in->info.type == NN_INT8) {
        double a = (double)op->in->info.scale, b = (double)op->in2->info.scale, twice = 2 * (a > b ? a : b);
        op->scale = fixed_of(a / twice);
        op->scale2 = fixed_of(b / twice);
        op->scale_out = fixed_of(twice / ((double)(1 << ADD_LEFT_SHIFT) * (double)op->out->info.scale));
        if (op->scale_out.shift > 0) {
            return contradict(l, op, "the scales do not fit one another");
        }
    }
    op->run = op->in->info.type == NN_INT8 ? nn_run_add_i8 : nn_run_add_f32;
    return OK;
}

static enum err prepare_pad(struct loader *l, struct op *op)
{
    const struct tensor *pads = op->in2, *in = op->in, *out = op->out;
    if (pads->constant == NULL || pads->info.type != NN_INT32 || pads->info.rank != 2 || pads->info.dim[1] != 2 ||
        pads->info.dim[0] != in->info.rank || in->info.rank != out->info.rank || !same_type(in, out)) {
        return unsupported(l, op, "the paddings must be a constant of [dimensions, 2]");
    }
    if (!same_quantization(in, out)) {
        return unsupported(l, op, "a padding that changes the scale");
    }
    for (unsigned d = 0; d < NN_RANK_MAX; d++) {
        if (d < in->info.rank) {
            memcpy(op->pad[d], pads->constant + 8 * (size_t)d, 8);
        }
        if (op->pad[d][0] < 0 || op->pad[d][1] < 0 || op->pad[d][0] > SIDE_MAX || op->pad[d][1] > SIDE_MAX ||
            (uint64_t)in->info.dim[d] + (uint32_t)op->pad[d][0] + (uint32_t)op->pad[d][1] != out->info.dim[d]) {
            return contradict(l, op, "the output's size is not what the paddings give");
        }
    }
    if (l->nn->batch > 1 && op->pad[0][0] + op->pad[0][1] != 0) {
        return unsupported(l, op, "padding of the batch");
    }
    op->run = nn_run_pad;
    return OK;
}

static enum err prepare_mean(struct loader *l, struct op *op)
{
    const struct tensor *axes = op->in2, *in = op->in, *out = op->out;
    if (axes->constant == NULL || axes->info.type != NN_INT32 || axes->info.rank > 1 || !same_type(in, out)) {
        return unsupported(l, op, "the axes must be a constant");
    }
    for (size_t i = 0; i < axes->info.elements; i++) {
        int32_t axis;
        memcpy(&axis, axes->constant + 4 * i, sizeof(axis));
        axis += axis < 0 ? (int32_t)in->info.rank : 0;
        if (axis < 0 || axis >= (int32_t)in->info.rank || (axis == 0 && l->nn->batch > 1)) {
            return contradict(l, op, "there is no such axis");
        }
        op->axes |= 1U << axis;
    }
    unsigned run = op->axes >> (op->axes != 0 ? __builtin_ctz(op->axes) : 0);
    if ((run & (run + 1)) != 0) {
        return unsupported(l, op, "axes that do not stand next to one another");
    }
    size_t kept = in->info.elements;
    for (unsigned d = 0; d < NN_RANK_MAX; d++) {
        kept /= (op->axes >> d & 1) != 0 ? in->info.dim[d] : 1;
    }
    if (kept != out->info.elements) {
        return contradict(l, op, "the output's size is not what the axes leave");
    }
    if (in->info.type == NN_INT8) {
        double factor = (double)in->info.scale / (double)out->info.scale;
        if (!(factor < 1e9)) {
            return contradict(l, op, "the scales do not fit one another");
        }
        op->scale = fixed_of(factor);
    }
    l->scratch_bytes = max_u64(l->scratch_bytes, 4 * kept);
    op->run = in->info.type == NN_INT8 ? nn_run_mean_i8 : nn_run_mean_f32;
    return OK;
}

/* ---- element by element ---- */
static float logistic(float x)
{
    return (float)(1.0 / (1.0 + exp(-(double)x)));
}

/* All 256 results of an int8 function of one value. */
static enum err prepare_lut(struct loader *l, struct op *op)
{
    const struct nn_tensor *in = &op->in->info, *out = &op->out->info;
    struct fixed scale = fixed_of((double)in->scale / (double)out->scale);
    op->run = nn_run_lut_i8;
    op->lut = bump_take(&l->bump, 256);
    for (int32_t q = -128; q <= 127 && op->lut != NULL; q++) {
        int32_t v;
        if (op->kind == NN_LOGISTIC) {
            v = nn_quantize(out, logistic(nn_dequantize(in, (int8_t)q)));
        } else { /* RELU, RELU6, and QUANTIZE from int8 to int8 */
            v = clamp_i32(fixed_apply(scale, q - in->zero_point) + out->zero_point, op->min, op->max);
        }
        op->lut[q + 128] = (int8_t)v;
    }
    return OK;
}

static enum err prepare_elementwise(struct loader *l, struct op *op)
{
    const struct nn_tensor *in = &op->in->info, *out = &op->out->info;
    bool int8 = in->type == NN_INT8;
    if (in->elements != out->elements) {
        return contradict(l, op, "input and output differ in size");
    }
    if (op->kind == NN_QUANTIZE ? out->type != NN_INT8 : op->kind == NN_DEQUANTIZE ? !int8 || out->type != NN_FLOAT32
                                                                                    : in->type != out->type) {
        return unsupported(l, op, "these types of input and output");
    }
    if (int8 && out->type == NN_INT8 && !((double)in->scale / (double)out->scale < 1e9)) {
        return contradict(l, op, "the scales do not fit one another");
    }
    TRY(set_activation(l, op, op->kind == NN_RELU ? ACTIVATION_RELU : op->kind == NN_RELU6 ? ACTIVATION_RELU6 : 0));
    if (op->kind == NN_RESHAPE || op->kind == NN_DEQUANTIZE) {
        op->run = op->kind == NN_RESHAPE ? nn_run_reshape : nn_run_dequantize;
        return OK;
    }
    op->run = op->kind == NN_QUANTIZE ? nn_run_quantize : op->kind == NN_LOGISTIC ? nn_run_logistic_f32 : nn_run_relu_f32;
    return int8 ? prepare_lut(l, op) : OK;
}

/* exp(-scale * beta * distance to the largest) for the 256 distances that there can be. */
static enum err prepare_softmax(struct loader *l, struct op *op, size_t options)
{
    const struct nn_tensor *in = &op->in->info;
    int32_t bits = (int32_t)flat_int(&l->flat, options, 0, 4, 0);
    memcpy(&op->beta, &bits, sizeof(bits));
    if (!same_type(op->in, op->out) || !same_shape(op->in, op->out) || in->rank == 0) {
        return contradict(l, op, "input and output differ");
    }
    if (!(op->beta > 0 && op->beta < 1e6F)) {
        return contradict(l, op, "beta is out of range");
    }
    op->run = in->type == NN_INT8 ? nn_run_softmax_i8 : nn_run_softmax_f32;
    if (in->type == NN_INT8) {
        float step = -in->scale * op->beta;
        op->exps = bump_take(&l->bump, 256 * sizeof(*op->exps));
        for (int i = 0; i < 256 && op->exps != NULL; i++) {
            op->exps[i] = (float)exp((double)(step * (float)i));
        }
    }
    return OK;
}

static enum err prepare_kind(struct loader *l, struct op *op, size_t options, const struct ends *e)
{
    switch (op->kind) {
    case NN_CONV_2D:
    case NN_DEPTHWISE_CONV_2D:
    case NN_FULLY_CONNECTED:
        op->weights = e->in[1];
        op->bias = e->in[2];
        return op->kind == NN_CONV_2D             ? prepare_conv(l, op, options)
               : op->kind == NN_DEPTHWISE_CONV_2D ? prepare_depthwise(l, op, options)
                                                  : prepare_dense(l, op, options);
    case NN_AVERAGE_POOL_2D:
    case NN_MAX_POOL_2D:
        return prepare_pool(l, op, options);
    case NN_ADD:
        op->in2 = e->in[1];
        return prepare_add(l, op, options);
    case NN_PAD:
        op->in2 = e->in[1];
        return prepare_pad(l, op);
    case NN_MEAN:
        op->in2 = e->in[1];
        return prepare_mean(l, op);
    case NN_SOFTMAX:
        return prepare_softmax(l, op, options);
    case NN_DEQUANTIZE:
    case NN_LOGISTIC:
    case NN_QUANTIZE:
    case NN_RELU:
    case NN_RELU6:
    case NN_RESHAPE:
        return prepare_elementwise(l, op);
    case NN_KINDS:
        break;
    }
    return unsupported(l, op, "this kind");
}

enum err nn_prepare_op(struct loader *l, struct op *op, size_t table, struct flat_vector inputs, struct flat_vector outputs)
{
    static const uint8_t least[NN_KINDS] = {
        [NN_ADD] = 2, [NN_CONV_2D] = 2, [NN_DEPTHWISE_CONV_2D] = 2, [NN_FULLY_CONNECTED] = 2, [NN_MEAN] = 2, [NN_PAD] = 2};
    struct ends e;
    TRY(find_ends(l, op, inputs, outputs, least[op->kind] != 0 ? least[op->kind] : 1, &e));
    op->in = e.in[0];
    op->out = e.out;
    TRY(check_activation(l, op, op->in));
    TRY(check_activation(l, op, op->out));
    if (op->in->constant != NULL || l->flat.failed) {
        return unsupported(l, op, "an input that is constant");
    }
    return prepare_kind(l, op, flat_table(&l->flat, table, OPERATOR_OPTIONS), &e);
}
