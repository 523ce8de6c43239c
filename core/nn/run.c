/* SPDX-License-Identifier: Apache-2.0 */
/* The operators, in terms of the processor's kernels (nn_internal.h) or directly. */
#include "core/nn/nn_internal.h"

/* Of the samples of this run. */
static size_t elements(const struct nn *nn, const struct tensor *t)
{
    return t->info.elements / nn->batch * nn->samples;
}

struct shape { /* of a windowed operator */
    int32_t batch, in_h, in_w, in_c, out_h, out_w, out_c;
};

static struct shape shape_of(const struct nn *nn, const struct op *op)
{
    const uint32_t *in = op->in->info.dim, *out = op->out->info.dim;
    return (struct shape){.batch = (int32_t)(in[0] * nn->samples),
                          .in_h = (int32_t)in[1],
                          .in_w = (int32_t)in[2],
                          .in_c = (int32_t)in[3],
                          .out_h = (int32_t)out[1],
                          .out_w = (int32_t)out[2],
                          .out_c = (int32_t)out[3]};
}

/* ---- convolutions: rows of patches times the weights ---- */
/* Gathers what the filter sees at output pixel n (over batch, height, width); `size` bytes an element, `fill` beyond. */
static void gather(const struct op *op, const struct shape *s, size_t n, size_t size, int fill, uint8_t *patch)
{
    const struct window *w = &op->window;
    int32_t x = (int32_t)(n % (size_t)s->out_w), y = (int32_t)(n / (size_t)s->out_w % (size_t)s->out_h);
    size_t sample = n / ((size_t)s->out_w * (size_t)s->out_h), pixel = (size_t)s->in_c * size;
    const uint8_t *in = (const uint8_t *)op->in->at + sample * (size_t)s->in_h * (size_t)s->in_w * pixel;
    int32_t left = x * w->stride_w - w->pad_left;
    for (int32_t ky = 0; ky < w->kh; ky++) {
        int32_t iy = y * w->stride_h - w->pad_top + ky * w->dilation_h;
        const uint8_t *row = iy >= 0 ? in + (size_t)iy * (size_t)s->in_w * pixel : NULL;
        if (iy < 0 || iy >= s->in_h) {
            memset(patch, fill, (size_t)w->kw * pixel);
            patch += (size_t)w->kw * pixel;
        } else if (w->dilation_w == 1 && left >= 0 && left + w->kw <= s->in_w) { /* wholly inside: in one piece */
            memcpy(patch, row + (size_t)left * pixel, (size_t)w->kw * pixel);
            patch += (size_t)w->kw * pixel;
        } else {
            for (int32_t kx = 0; kx < w->kw; kx++, patch += pixel) {
                int32_t ix = left + kx * w->dilation_w;
                if (ix < 0 || ix >= s->in_w) {
                    memset(patch, fill, pixel);
                } else {
                    memcpy(patch, row + (size_t)ix * pixel, pixel);
                }
            }
        }
    }
}

/* A filter of one pixel that moves one by one sees its input as it stands. */
static bool sees_input(const struct window *w)
{
    return w->kh == 1 && w->kw == 1 && w->stride_h == 1 && w->stride_w == 1;
}

void nn_run_conv_i8(const struct nn *nn, const struct op *op)
{
    struct shape s = shape_of(nn, op);
    size_t pixels = (size_t)s.batch * (size_t)s.out_h * (size_t)s.out_w;
    int8_t *out = (int8_t *)op->out->at;
    if (sees_input(&op->window)) {
        nn->kernels->gemm_i8(pixels, op, (const int8_t *)op->in->at, nn->kernel_scratch, out);
        return;
    }
    for (size_t n = 0; n < pixels; n += PATCH_ROWS) {
        size_t rows = min_u64(PATCH_ROWS, pixels - n);
        for (size_t r = 0; r < rows; r++) {
            gather(op, &s, n + r, 1, op->in->info.zero_point, nn->scratch + r * op->depth);
        }
        nn->kernels->gemm_i8(rows, op, (const int8_t *)nn->scratch, nn->kernel_scratch, out + n * op->cols);
    }
}

void nn_run_conv_f32(const struct nn *nn, const struct op *op)
{
    struct shape s = shape_of(nn, op);
    size_t pixels = (size_t)s.batch * (size_t)s.out_h * (size_t)s.out_w;
    float *out = (void *)op->out->at;
    if (sees_input(&op->window)) {
        nn->kernels->gemm_f32(pixels, op, (const void *)op->in->at, out);
        return;
    }
    for (size_t n = 0; n < pixels; n += PATCH_ROWS) {
        size_t rows = min_u64(PATCH_ROWS, pixels - n);
        for (size_t r = 0; r < rows; r++) {
            gather(op, &s, n + r, sizeof(float), 0, nn->scratch + r * op->depth * sizeof(float));
        }
        nn->kernels->gemm_f32(rows, op, (const void *)nn->scratch, out + n * op->cols);
    }
}

void nn_run_dense_i8(const struct nn *nn, const struct op *op)
{
    nn->kernels->gemm_i8(elements(nn, op->in) / op->depth, op, (const int8_t *)op->in->at, nn->kernel_scratch,
                         (int8_t *)op->out->at);
}

void nn_run_dense_f32(const struct nn *nn, const struct op *op)
{
    nn->kernels->gemm_f32(elements(nn, op->in) / op->depth, op, (const void *)op->in->at, (void *)op->out->at);
}

/* ---- depthwise ---- */
/* Input pixels that the taps of output pixel n see; NULL in the padding. */
static size_t find_taps(const struct op *op, const struct shape *s, size_t n, size_t size, const uint8_t **tap)
{
    const struct window *w = &op->window;
    int32_t x = (int32_t)(n % (size_t)s->out_w), y = (int32_t)(n / (size_t)s->out_w % (size_t)s->out_h);
    size_t sample = n / ((size_t)s->out_w * (size_t)s->out_h), pixel = (size_t)s->in_c * size, count = 0;
    const uint8_t *in = (const uint8_t *)op->in->at + sample * (size_t)s->in_h * (size_t)s->in_w * pixel;
    for (int32_t ky = 0; ky < w->kh; ky++) {
        int32_t iy = y * w->stride_h - w->pad_top + ky * w->dilation_h;
        for (int32_t kx = 0; kx < w->kw; kx++) {
            int32_t ix = x * w->stride_w - w->pad_left + kx * w->dilation_w;
            bool outside = iy < 0 || iy >= s->in_h || ix < 0 || ix >= s->in_w;
            tap[count++] = outside ? NULL : in + ((size_t)iy * (size_t)s->in_w + (size_t)ix) * pixel;
        }
    }
    return count;
}

static void depthwise_pixel_i8(const struct op *op, const struct shape *s, size_t taps, const int8_t *const *tap, int8_t *out)
{
    const int8_t *w = (const int8_t *)op->weights->constant;
    int32_t zero = op->in->info.zero_point;
    for (int32_t c = 0; c < s->out_c; c++) {
        uint32_t acc = (uint32_t)op->sums[c];
        for (size_t t = 0; t < taps; t++) {
            int32_t v = tap[t] != NULL ? tap[t][c / op->multiplier] : zero;
            acc += (uint32_t)(v * w[t * (size_t)s->out_c + (size_t)c]);
        }
        struct fixed f = {op->multipliers[c], op->shifts[c]};
        int32_t q = fixed_apply(f, (int32_t)acc) + op->out->info.zero_point;
        out[c] = (int8_t)clamp_i32(q, op->min, op->max);
    }
}

void nn_run_depthwise_i8(const struct nn *nn, const struct op *op)
{
    struct shape s = shape_of(nn, op);
    const uint8_t *tap[TAPS_MAX];
    size_t pixels = (size_t)s.batch * (size_t)s.out_h * (size_t)s.out_w;
    for (size_t n = 0; n < pixels; n++) {
        size_t taps = find_taps(op, &s, n, 1, tap);
        const int8_t *const *at = (const int8_t *const *)(const void *)tap;
        int8_t *out = (int8_t *)op->out->at + n * (size_t)s.out_c;
        if (op->multiplier == 1) {
            nn->kernels->depthwise_i8(taps, op, at, out);
        } else {
            depthwise_pixel_i8(op, &s, taps, at, out);
        }
    }
}

void nn_run_depthwise_f32(const struct nn *nn, const struct op *op)
{
    struct shape s = shape_of(nn, op);
    const uint8_t *tap[TAPS_MAX];
    const float *w = (const void *)op->weights->constant, *bias = op->bias != NULL ? (const void *)op->bias->constant : NULL;
    size_t pixels = (size_t)s.batch * (size_t)s.out_h * (size_t)s.out_w, cols = (size_t)s.out_c;
    for (size_t n = 0; n < pixels; n++) {
        size_t taps = find_taps(op, &s, n, sizeof(float), tap);
        float *out = (float *)(void *)op->out->at + n * cols;
        for (size_t c = 0; c < cols; c++) {
            out[c] = bias != NULL ? bias[c] : 0;
        }
        for (size_t t = 0; t < taps; t++) {
            const float *in = (const void *)tap[t];
            for (size_t c = 0; c < cols && in != NULL; c++) {
                out[c] += in[c / (size_t)op->multiplier] * w[t * cols + c];
            }
        }
        for (size_t c = 0; c < cols; c++) {
            out[c] = fminf(fmaxf(out[c], op->float_min), op->float_max);
        }
    }
}

/* ---- pools ---- */
/* Part of the input that output pixel n sees: rows y0..y1, columns x0..x1 (ends excluded). */
struct part {
    size_t sample;
    int32_t y0, y1, x0, x1;
};

static struct part part_of(const struct op *op, const struct shape *s, size_t n)
{
    const struct window *w = &op->window;
    int32_t x = (int32_t)(n % (size_t)s->out_w) * w->stride_w - w->pad_left;
    int32_t y = (int32_t)(n / (size_t)s->out_w % (size_t)s->out_h) * w->stride_h - w->pad_top;
    return (struct part){.sample = n / ((size_t)s->out_w * (size_t)s->out_h),
                         .y0 = y < 0 ? 0 : y,
                         .y1 = (int32_t)min_i64(y + w->kh, s->in_h),
                         .x0 = x < 0 ? 0 : x,
                         .x1 = (int32_t)min_i64(x + w->kw, s->in_w)};
}

static size_t at(const struct shape *s, const struct part *p, int32_t y, int32_t x, int32_t c)
{
    return ((p->sample * (size_t)s->in_h + (size_t)y) * (size_t)s->in_w + (size_t)x) * (size_t)s->in_c + (size_t)c;
}

typedef void pool_fn(const struct op *op, const struct shape *s, const struct part *p, int32_t c, size_t to);

static void pool(const struct nn *nn, const struct op *op, pool_fn *one)
{
    struct shape s = shape_of(nn, op);
    size_t pixels = (size_t)s.batch * (size_t)s.out_h * (size_t)s.out_w;
    for (size_t n = 0; n < pixels; n++) {
        struct part p = part_of(op, &s, n);
        for (int32_t c = 0; c < s.out_c; c++) {
            one(op, &s, &p, c, n * (size_t)s.out_c + (size_t)c);
        }
    }
}

static void average_i8(const struct op *op, const struct shape *s, const struct part *p, int32_t c, size_t to)
{
    int32_t sum = 0, count = (p->y1 - p->y0) * (p->x1 - p->x0);
    for (int32_t y = p->y0; y < p->y1; y++) {
        for (int32_t x = p->x0; x < p->x1; x++) {
            sum += ((const int8_t *)op->in->at)[at(s, p, y, x, c)];
        }
    }
    sum = count < 1 ? 0 : sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
    ((int8_t *)op->out->at)[to] = (int8_t)clamp_i32(sum, op->min, op->max);
}

static void most_i8(const struct op *op, const struct shape *s, const struct part *p, int32_t c, size_t to)
{
    int32_t most = -128;
    for (int32_t y = p->y0; y < p->y1; y++) {
        for (int32_t x = p->x0; x < p->x1; x++) {
            most = (int32_t)max_i64(most, ((const int8_t *)op->in->at)[at(s, p, y, x, c)]);
        }
    }
    ((int8_t *)op->out->at)[to] = (int8_t)clamp_i32(most, op->min, op->max);
}

static void average_f32(const struct op *op, const struct shape *s, const struct part *p, int32_t c, size_t to)
{
    const float *in = (const void *)op->in->at;
    float *out = (void *)op->out->at, sum = 0;
    int32_t count = (p->y1 - p->y0) * (p->x1 - p->x0);
    for (int32_t y = p->y0; y < p->y1; y++) {
        for (int32_t x = p->x0; x < p->x1; x++) {
            sum += in[at(s, p, y, x, c)];
        }
    }
    out[to] = fminf(fmaxf(count > 0 ? sum / (float)count : 0, op->float_min), op->float_max);
}

static void most_f32(const struct op *op, const struct shape *s, const struct part *p, int32_t c, size_t to)
{
    const float *in = (const void *)op->in->at;
    float *out = (void *)op->out->at, most = -INFINITY;
    for (int32_t y = p->y0; y < p->y1; y++) {
        for (int32_t x = p->x0; x < p->x1; x++) {
            most = fmaxf(most, in[at(s, p, y, x, c)]);
        }
    }
    out[to] = fminf(fmaxf(most, op->float_min), op->float_max);
}

void nn_run_pool_average_i8(const struct nn *nn, const struct op *op)
{
    pool(nn, op, average_i8);
}

void nn_run_pool_max_i8(const struct nn *nn, const struct op *op)
{
    pool(nn, op, most_i8);
}

void nn_run_pool_average_f32(const struct nn *nn, const struct op *op)
{
    pool(nn, op, average_f32);
}

void nn_run_pool_max_f32(const struct nn *nn, const struct op *op)
{
    pool(nn, op, most_f32);
}

/* ---- sums, paddings, means ---- */
static int32_t scaled_down(struct fixed f, int32_t v)
{
    return fixed_shift_right(fixed_high_mul(v, f.multiplier), -f.shift);
}

/* A constant is added to every sample. */
static size_t period(const struct nn *nn, const struct tensor *t)
{
    return t->constant != NULL ? t->info.elements : elements(nn, t);
}

void nn_run_add_i8(const struct nn *nn, const struct op *op)
{
    enum { LEFT_SHIFT = 20 }; /* as in operators.c: what is added has 20 more bits */
    const int8_t *a = data_of(op->in), *b = data_of(op->in2);
    int8_t *out = (int8_t *)op->out->at;
    size_t around = period(nn, op->in2);
    for (size_t i = 0; i < elements(nn, op->out); i++) {
        int32_t x = scaled_down(op->scale, (a[i] - op->in->info.zero_point) * (1 << LEFT_SHIFT));
        int32_t y = scaled_down(op->scale2, (b[i % around] - op->in2->info.zero_point) * (1 << LEFT_SHIFT));
        out[i] = (int8_t)clamp_i32(scaled_down(op->scale_out, x + y) + op->out->info.zero_point, op->min, op->max);
    }
}

void nn_run_add_f32(const struct nn *nn, const struct op *op)
{
    const float *a = data_of(op->in), *b = data_of(op->in2);
    float *out = (void *)op->out->at;
    size_t around = period(nn, op->in2);
    for (size_t i = 0; i < elements(nn, op->out); i++) {
        out[i] = fminf(fmaxf(a[i] + b[i % around], op->float_min), op->float_max);
    }
}

void nn_run_pad(const struct nn *nn, const struct op *op)
{
    const uint32_t *in = op->in->info.dim, *out = op->out->info.dim;
    size_t size = op->in->info.type == NN_INT8 ? 1 : sizeof(float), samples = in[0] * nn->samples;
    const uint8_t *from = op->in->at;
    uint8_t *to = op->out->at;
    size_t plane = (size_t)out[2] * out[3] * size, row = (size_t)out[3] * size;
    memset(to, op->in->info.type == NN_INT8 ? op->out->info.zero_point : 0, elements(nn, op->out) * size);
    for (size_t n = 0; n < samples; n++) {
        for (size_t y = 0; y < in[1]; y++) {
            for (size_t x = 0; x < in[2]; x++) {
                size_t at_n = n + (size_t)op->pad[0][0], at_y = y + (size_t)op->pad[1][0], at_x = x + (size_t)op->pad[2][0];
                memcpy(to + (at_n * out[1] + at_y) * plane + at_x * row + (size_t)op->pad[3][0] * size, from, in[3] * size);
                from += in[3] * size;
            }
        }
    }
}

/* A mean goes over dimensions that stand next to one another: [outer][over][inner] -> [outer][inner]. */
struct mean {
    size_t outer, over, inner;
};

static struct mean mean_of(const struct nn *nn, const struct op *op)
{
    struct mean m = {.outer = nn->samples, .over = 1, .inner = 1};
    for (unsigned d = 0; d < NN_RANK_MAX; d++) {
        if ((op->axes >> d & 1) != 0) {
            m.over *= op->in->info.dim[d];
        } else if (m.over == 1 && (op->axes >> d) != 0) {
            m.outer *= op->in->info.dim[d];
        } else {
            m.inner *= op->in->info.dim[d];
        }
    }
    return m;
}

void nn_run_mean_i8(const struct nn *nn, const struct op *op)
{
    struct mean m = mean_of(nn, op);
    const int8_t *in = (const int8_t *)op->in->at;
    int8_t *out = (int8_t *)op->out->at;
    int32_t *sums = (void *)nn->scratch, count = (int32_t)m.over;
    for (size_t n = 0; n < m.outer; n++, out += m.inner) {
        for (size_t i = 0; i < m.inner; i++) {
            sums[i] = -count * op->in->info.zero_point;
        }
        for (size_t k = 0; k < m.over; k++, in += m.inner) {
            for (size_t i = 0; i < m.inner; i++) {
                sums[i] += in[i];
            }
        }
        for (size_t i = 0; i < m.inner; i++) {
            int32_t v = fixed_apply(op->scale, sums[i]);
            v = v > 0 ? (v + count / 2) / count : (v - count / 2) / count;
            out[i] = (int8_t)clamp_i32(v + op->out->info.zero_point, -128, 127);
        }
    }
}

void nn_run_mean_f32(const struct nn *nn, const struct op *op)
{
    struct mean m = mean_of(nn, op);
    const float *in = (const void *)op->in->at;
    float *out = (void *)op->out->at;
    for (size_t n = 0; n < m.outer; n++, out += m.inner) {
        memset(out, 0, m.inner * sizeof(*out));
        for (size_t k = 0; k < m.over; k++, in += m.inner) {
            for (size_t i = 0; i < m.inner; i++) {
                out[i] += in[i];
            }
        }
        for (size_t i = 0; i < m.inner; i++) {
            out[i] /= (float)m.over;
        }
    }
}

/* ---- element by element ---- */
void nn_run_lut_i8(const struct nn *nn, const struct op *op)
{
    const int8_t *in = (const int8_t *)op->in->at;
    int8_t *out = (int8_t *)op->out->at;
    for (size_t i = 0; i < elements(nn, op->out); i++) {
        out[i] = op->lut[in[i] + 128];
    }
}

void nn_run_relu_f32(const struct nn *nn, const struct op *op)
{
    const float *in = (const void *)op->in->at;
    float *out = (void *)op->out->at;
    for (size_t i = 0; i < elements(nn, op->out); i++) {
        out[i] = fminf(fmaxf(in[i], op->float_min), op->float_max);
    }
}

void nn_run_logistic_f32(const struct nn *nn, const struct op *op)
{
    const float *in = (const void *)op->in->at;
    float *out = (void *)op->out->at;
    for (size_t i = 0; i < elements(nn, op->out); i++) {
        out[i] = 1.0F / (1.0F + expf(-in[i]));
    }
}

void nn_run_softmax_i8(const struct nn *nn, const struct op *op)
{
    size_t depth = op->in->info.dim[op->in->info.rank - 1];
    const int8_t *in = (const int8_t *)op->in->at;
    int8_t *out = (int8_t *)op->out->at;
    for (size_t n = 0; n < elements(nn, op->in); n += depth) {
        int32_t most = -128;
        float sum = 0;
        for (size_t i = n; i < n + depth; i++) {
            most = in[i] > most ? in[i] : most;
        }
        for (size_t i = n; i < n + depth; i++) {
            sum += op->exps[most - in[i]];
        }
        float factor = 1.0F / (sum * op->out->info.scale);
        for (size_t i = n; i < n + depth; i++) {
            int32_t q = (int32_t)(op->exps[most - in[i]] * factor + 0.5F) + op->out->info.zero_point;
            out[i] = (int8_t)clamp_i32(q, -128, 127);
        }
    }
}

void nn_run_softmax_f32(const struct nn *nn, const struct op *op)
{
    size_t depth = op->in->info.dim[op->in->info.rank - 1];
    const float *in = (const void *)op->in->at;
    float *out = (void *)op->out->at;
    for (size_t n = 0; n < elements(nn, op->in); n += depth) {
        float most = in[n], sum = 0;
        for (size_t i = n; i < n + depth; i++) {
            most = fmaxf(most, in[i]);
        }
        for (size_t i = n; i < n + depth; i++) {
            out[i] = expf((in[i] - most) * op->beta);
            sum += out[i];
        }
        for (size_t i = n; i < n + depth; i++) {
            out[i] /= sum;
        }
    }
}

void nn_run_reshape(const struct nn *nn, const struct op *op)
{
    memcpy(op->out->at, op->in->at, op->out->info.bytes / nn->batch * nn->samples);
}

int8_t nn_quantize(const struct nn_tensor *tensor, float value)
{
    float q = roundf(value / tensor->scale) + (float)tensor->zero_point;
    return (int8_t)(q >= 127 ? 127 : q > -128 ? q : -128); /* not a number: -128 */
}

float nn_dequantize(const struct nn_tensor *tensor, int8_t q)
{
    return (float)(q - tensor->zero_point) * tensor->scale;
}

void nn_run_quantize(const struct nn *nn, const struct op *op)
{
    const float *in = (const void *)op->in->at;
    int8_t *out = (int8_t *)op->out->at;
    for (size_t i = 0; i < elements(nn, op->out); i++) {
        out[i] = nn_quantize(&op->out->info, in[i]);
    }
}

void nn_run_dequantize(const struct nn *nn, const struct op *op)
{
    const int8_t *in = (const int8_t *)op->in->at;
    float *out = (void *)op->out->at;
    for (size_t i = 0; i < elements(nn, op->out); i++) {
        out[i] = nn_dequantize(&op->in->info, in[i]);
    }
}
