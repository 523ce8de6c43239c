/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <math.h>

#include "tests/support/train_internal.h"

/* Each element's sum is taken in one order, whatever the vector width, and AVX2 is used without its fused multiply-add:
 * the same bits everywhere. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif

void *train_get(size_t count, size_t size)
{
    void *p = calloc(count != 0 ? count : 1, size);
    if (p == NULL) {
        abort();
    }
    return p;
}

enum { LANES = 16, TOGETHER = 4 };

/* c[rows][cols] += a[rows][depth] * b[depth][cols] */
WIDE static void multiply(size_t rows, size_t cols, size_t depth, const float *a, const float *b, float *restrict c)
{
    for (size_t m = 0; m < rows; m++) {
        size_t n = 0;
        for (; n + LANES <= cols; n += LANES) {
            float sum[LANES];
            memcpy(sum, c + m * cols + n, sizeof(sum));
            for (size_t k = 0; k < depth; k++) {
                float v = a[m * depth + k];
                for (size_t i = 0; i < LANES; i++) {
                    sum[i] += v * b[k * cols + n + i];
                }
            }
            memcpy(c + m * cols + n, sum, sizeof(sum));
        }
        for (size_t k = 0; k < depth && n < cols; k++) {
            for (size_t i = n; i < cols; i++) {
                c[m * cols + i] += a[m * depth + k] * b[k * cols + i];
            }
        }
    }
}

/* c[depth][cols] += a[rows][depth]^T * b[rows][cols] */
WIDE static void multiply_turned(size_t rows, size_t cols, size_t depth, const float *a, const float *b,
                                 float *restrict c)
{
    size_t m = 0;
    for (; m + TOGETHER <= rows; m += TOGETHER) {
        const float *b0 = b + m * cols, *b1 = b0 + cols, *b2 = b1 + cols, *b3 = b2 + cols;
        for (size_t k = 0; k < depth; k++) {
            const float *v = a + m * depth + k;
            float v0 = v[0], v1 = v[depth], v2 = v[2 * depth], v3 = v[3 * depth];
            for (size_t n = 0; n < cols; n++) {
                c[k * cols + n] += v0 * b0[n] + v1 * b1[n] + (v2 * b2[n] + v3 * b3[n]);
            }
        }
    }
    for (; m < rows; m++) {
        for (size_t k = 0; k < depth; k++) {
            for (size_t n = 0; n < cols; n++) {
                c[k * cols + n] += a[m * depth + k] * b[m * cols + n];
            }
        }
    }
}

/* ---- layers ---- */
static double draw(uint64_t *seed)
{
    *seed = mix_u64(*seed);
    return ((double)(*seed >> 11) + 0.5) * 0x1p-53;
}

static double draw_normal(uint64_t *seed) /* Box and Muller */
{
    double r = sqrt(-2 * log(draw(seed)));
    return r * cos(2 * M_PI * draw(seed));
}

struct train *train_new(struct train_shape shape, const struct train_layer *layers, unsigned count, uint64_t seed)
{
    struct train *t = train_get(1, sizeof(*t));
    assert(count >= 1 && count <= TRAIN_LAYERS_MAX);
    t->shape = shape;
    t->count = count;
    t->seed = seed;
    for (unsigned i = 0; i < count; i++) {
        struct part *p = &t->parts[i];
        p->layer = layers[i];
        p->in = shape;
        if (layers[i].kind == TRAIN_CONV) {
            assert(layers[i].out <= TRAIN_OUT_MAX);
            p->depth = (size_t)layers[i].kernel_height * layers[i].kernel_width * shape.channels;
            shape = (struct train_shape){(shape.height + layers[i].stride_height - 1) / layers[i].stride_height,
                                         (shape.width + layers[i].stride_width - 1) / layers[i].stride_width,
                                         layers[i].out};
        } else {
            p->depth = (size_t)shape.height * shape.width * shape.channels;
            shape = (struct train_shape){1, 1, layers[i].out};
        }
        p->out = shape;
        p->weights = p->depth * layers[i].out;
        p->value = train_get(p->weights + layers[i].out, sizeof(float));
        p->slope = train_get(p->weights + layers[i].out, sizeof(float));
        p->moment = train_get(p->weights + layers[i].out, sizeof(float));
        p->square = train_get(p->weights + layers[i].out, sizeof(float));
        for (size_t w = 0; w < p->weights; w++) {
            p->value[w] = (float)(sqrt(2.0 / (double)p->depth) * draw_normal(&t->seed));
        }
    }
    return t;
}

static void drop_batch(struct train *t)
{
    for (unsigned i = 0; i < t->count; i++) {
        free(take(t->parts[i].columns));
        free(take(t->parts[i].result));
        free(take(t->parts[i].error));
    }
}

void train_free(struct train *t)
{
    if (t != NULL) {
        drop_batch(t);
        for (unsigned i = 0; i < t->count; i++) {
            free(t->parts[i].value);
            free(t->parts[i].slope);
            free(t->parts[i].moment);
            free(t->parts[i].square);
            free(t->parts[i].inputs_at);
        }
        free(t->turned);
        free(t);
    }
}

size_t train_size(struct train_shape s)
{
    return (size_t)s.height * s.width * s.channels;
}

size_t train_inputs(const struct train *t)
{
    return train_size(t->shape);
}

size_t train_outputs(const struct train *t)
{
    return t->parts[t->count - 1].layer.out;
}

size_t train_weights(const struct train *t)
{
    size_t n = 0;
    for (unsigned i = 0; i < t->count; i++) {
        n += t->parts[i].weights + t->parts[i].layer.out;
    }
    return n;
}

static size_t places(const struct part *p) /* of a sample, at which the weights are applied */
{
    return (size_t)p->out.height * p->out.width;
}

static size_t pad_before(unsigned in, unsigned out, unsigned kernel, unsigned stride)
{
    size_t need = (size_t)(out - 1) * stride + kernel;
    return need > in ? (need - in) / 2 : 0;
}

/* Where a convolution's place and tap stand in its input; SIZE_MAX in the padding. */
static size_t input_at(const struct part *p, size_t place, size_t tap)
{
    const struct train_layer *l = &p->layer;
    size_t y = place / p->out.width * l->stride_height + tap / l->kernel_width -
               pad_before(p->in.height, p->out.height, l->kernel_height, l->stride_height);
    size_t x = place % p->out.width * l->stride_width + tap % l->kernel_width -
               pad_before(p->in.width, p->out.width, l->kernel_width, l->stride_width);
    bool inside = y < p->in.height && x < p->in.width; /* what is negative has wrapped around */
    return inside ? (y * p->in.width + x) * p->in.channels : SIZE_MAX;
}

static void fill_inputs_at(struct part *p)
{
    size_t taps = p->depth / p->in.channels;
    p->inputs_at = train_get(places(p) * taps, sizeof(*p->inputs_at));
    for (size_t place = 0; place < places(p); place++) {
        for (size_t tap = 0; tap < taps; tap++) {
            p->inputs_at[place * taps + tap] = input_at(p, place, tap);
        }
    }
}

void train_reserve(struct train *t, size_t batch)
{
    size_t turned = 0;
    if (batch <= t->batch) {
        return;
    }
    drop_batch(t);
    t->batch = batch;
    for (unsigned i = 0; i < t->count; i++) {
        struct part *p = &t->parts[i];
        if (p->layer.kind == TRAIN_CONV && p->inputs_at == NULL) {
            fill_inputs_at(p);
        }
        p->columns = train_get(batch * places(p) * p->depth, sizeof(float));
        p->result = train_get(batch * places(p) * p->layer.out, sizeof(float));
        p->error = train_get(batch * places(p) * p->layer.out, sizeof(float));
        turned = max_u64(turned, p->weights + batch * places(p) * p->depth);
    }
    free(t->turned);
    t->turned = train_get(turned, sizeof(float));
}

/* columns[place][tap][channel] of a sample */
static void gather(const struct part *p, const float *input, float *columns)
{
    size_t c = p->in.channels, count = places(p) * p->depth / c;
    for (size_t n = 0; n < count; n++) {
        size_t at = p->inputs_at[n];
        for (size_t i = 0; i < c; i++) {
            columns[n * c + i] = at != SIZE_MAX ? input[at + i] : 0;
        }
    }
}

static void scatter(const struct part *p, const float *columns, float *input)
{
    size_t c = p->in.channels, count = places(p) * p->depth / c;
    for (size_t n = 0; n < count; n++) {
        size_t at = p->inputs_at[n];
        for (size_t i = 0; at != SIZE_MAX && i < c; i++) {
            input[at + i] += columns[n * c + i];
        }
    }
}

static void forward(struct part *p, const float *in, size_t batch, bool last)
{
    size_t rows = batch * places(p), cols = p->layer.out, size = train_size(p->in);
    if (p->layer.kind == TRAIN_CONV) {
        for (size_t s = 0; s < batch; s++) {
            gather(p, in + s * size, p->columns + s * places(p) * p->depth);
        }
    } else {
        memcpy(p->columns, in, batch * size * sizeof(*in));
    }
    for (size_t r = 0; r < rows; r++) {
        memcpy(p->result + r * cols, p->value + p->weights, cols * sizeof(float));
    }
    multiply(rows, cols, p->depth, p->columns, p->value, p->result);
    for (size_t i = 0; !last && i < rows * cols; i++) {
        p->result[i] = p->result[i] > 0 ? p->result[i] : 0;
    }
}

void train_forward(struct train *t, const float *rows, size_t batch)
{
    const float *in = rows;
    for (unsigned i = 0; i < t->count; i++) {
        forward(&t->parts[i], in, batch, i + 1 == t->count);
        in = t->parts[i].result;
    }
}

void train_run(struct train *t, const float *rows, size_t count, float *out)
{
    size_t outputs = train_outputs(t), step = 64;
    train_reserve(t, step);
    for (size_t i = 0; i < count; i += step) {
        size_t n = count - i < step ? count - i : step;
        train_forward(t, rows + i * train_inputs(t), n);
        memcpy(out + i * outputs, t->parts[t->count - 1].result, n * outputs * sizeof(float));
    }
}

/* ---- descent ---- */
/* Error of the logits, softmax - label, over the batch; the loss of it. */
static double last_error(struct train *t, const uint8_t *labels, size_t batch)
{
    struct part *p = &t->parts[t->count - 1];
    size_t n = p->layer.out;
    double loss = 0;
    for (size_t s = 0; s < batch; s++) {
        const float *logit = p->result + s * n;
        double most = (double)logit[0], sum = 0;
        for (size_t i = 1; i < n; i++) {
            most = fmax(most, (double)logit[i]);
        }
        for (size_t i = 0; i < n; i++) {
            sum += exp((double)logit[i] - most);
        }
        for (size_t i = 0; i < n; i++) {
            double share = exp((double)logit[i] - most) / sum;
            p->error[s * n + i] = (float)((share - (i == labels[s] ? 1 : 0)) / (double)batch);
        }
        loss += log(sum) - ((double)logit[labels[s]] - most);
    }
    return loss;
}

/* Slopes of a part's weights from its error; and the error of the part before, if there is one. */
static void backward(struct train *t, struct part *p, struct part *before, size_t batch)
{
    size_t rows = batch * places(p), cols = p->layer.out;
    multiply_turned(rows, cols, p->depth, p->columns, p->error, p->slope);
    for (size_t r = 0; r < rows; r++) {
        for (size_t c = 0; c < cols; c++) {
            p->slope[p->weights + c] += p->error[r * cols + c];
        }
    }
    if (before == NULL) {
        return;
    }
    float *turned = t->turned, *columns = t->turned + p->weights;
    for (size_t k = 0; k < p->depth; k++) {
        for (size_t c = 0; c < cols; c++) {
            turned[c * p->depth + k] = p->value[k * cols + c];
        }
    }
    memset(columns, 0, rows * p->depth * sizeof(float));
    multiply(rows, p->depth, cols, p->error, turned, columns);
    size_t size = train_size(p->in);
    memset(before->error, 0, batch * size * sizeof(float));
    if (p->layer.kind == TRAIN_CONV) {
        for (size_t s = 0; s < batch; s++) {
            scatter(p, columns + s * places(p) * p->depth, before->error + s * size);
        }
    } else {
        memcpy(before->error, columns, batch * size * sizeof(float));
    }
    for (size_t i = 0; i < batch * size; i++) {
        before->error[i] = before->result[i] > 0 ? before->error[i] : 0;
    }
}

WIDE static void adam(struct part *p, float rate, float decay, float lift, float lift_square)
{
    const float keep = 0.9F, keep_square = 0.999F;
    size_t n = p->weights + p->layer.out;
    for (size_t i = 0; i < n; i++) {
        float g = p->slope[i];
        p->moment[i] = keep * p->moment[i] + (1 - keep) * g;
        p->square[i] = keep_square * p->square[i] + (1 - keep_square) * g * g;
        p->value[i] -= rate * (p->moment[i] * lift / (sqrtf(p->square[i] * lift_square) + 1e-8F) + decay * p->value[i]);
        p->slope[i] = 0;
    }
}

static void shuffle(struct train *t, uint32_t *order, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        t->seed = mix_u64(t->seed);
        size_t j = t->seed % i;
        uint32_t v = order[i - 1];
        order[i - 1] = order[j];
        order[j] = v;
    }
}

double train_fit(struct train *t, const float *rows, const uint8_t *labels, size_t count, const struct train_plan *plan)
{
    size_t inputs = train_inputs(t), steps = (count + plan->batch - 1) / plan->batch, step = 0;
    float *batch = train_get(plan->batch * inputs, sizeof(*batch));
    uint8_t *wanted = train_get(plan->batch, 1);
    uint32_t *order = train_get(count, sizeof(*order));
    double loss = 0;
    train_reserve(t, plan->batch);
    for (size_t i = 0; i < count; i++) {
        order[i] = (uint32_t)i;
    }
    for (unsigned e = 0; e < plan->epochs; e++) {
        shuffle(t, order, count);
        loss = 0;
        for (size_t at = 0; at < count; at += plan->batch) {
            size_t n = count - at < plan->batch ? count - at : plan->batch;
            for (size_t i = 0; i < n; i++) {
                memcpy(batch + i * inputs, rows + order[at + i] * inputs, inputs * sizeof(*batch));
                wanted[i] = labels[order[at + i]];
            }
            train_forward(t, batch, n);
            loss += last_error(t, wanted, n);
            for (unsigned i = t->count; i-- > 0;) {
                backward(t, &t->parts[i], i > 0 ? &t->parts[i - 1] : NULL, n);
            }
            double rate = plan->rate * 0.5 * (1 + cos(M_PI * (double)step / (double)(steps * plan->epochs)));
            step++;
            for (unsigned i = 0; i < t->count; i++) {
                adam(&t->parts[i], (float)rate, (float)plan->decay, (float)(1 / (1 - pow(0.9, (double)step))),
                     (float)(1 / (1 - pow(0.999, (double)step))));
            }
        }
    }
    free(batch);
    free(wanted);
    free(order);
    return count > 0 ? loss / (double)count : 0;
}
