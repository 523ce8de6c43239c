/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A .tflite file (FlatBuffer, identifier TFL3, TensorFlow Lite's schema version 3) becomes a model. Numbers of fields are
 * those of that schema.
 */
#include "core/nn/nn_internal.h"

#include <assert.h>

enum { MODEL_VERSION = 0, MODEL_OPERATOR_CODES, MODEL_SUBGRAPHS, MODEL_DESCRIPTION, MODEL_BUFFERS };
enum { CODE_DEPRECATED = 0, CODE_CUSTOM, CODE_VERSION, CODE_BUILTIN };
enum { GRAPH_TENSORS = 0, GRAPH_INPUTS, GRAPH_OUTPUTS, GRAPH_OPERATORS };
enum { TENSOR_SHAPE = 0, TENSOR_TYPE, TENSOR_BUFFER, TENSOR_NAME, TENSOR_QUANTIZATION, TENSOR_VARIABLE, TENSOR_SPARSITY };
enum { QUANTIZATION_SCALE = 2, QUANTIZATION_ZERO_POINT, QUANTIZATION_DETAILS, QUANTIZATION_DIMENSION = 6 };
enum { OPERATOR_CODE = 0, OPERATOR_INPUTS, OPERATOR_OUTPUTS };
enum { TYPE_FLOAT32 = 0, TYPE_INT32 = 2, TYPE_INT8 = 9 };
#define ELEMENTS_MAX (UINT64_C(1) << 26) /* of all tensors: no size overflows, not in 32 bits either */
#define MACS_PRESET UINT64_C(10000000000)

static const struct {
    int code;
    const char *name;
} kinds[NN_KINDS] = {
    [NN_ADD] = {0, "ADD"},
    [NN_AVERAGE_POOL_2D] = {1, "AVERAGE_POOL_2D"},
    [NN_CONV_2D] = {3, "CONV_2D"},
    [NN_DEPTHWISE_CONV_2D] = {4, "DEPTHWISE_CONV_2D"},
    [NN_DEQUANTIZE] = {6, "DEQUANTIZE"},
    [NN_FULLY_CONNECTED] = {9, "FULLY_CONNECTED"},
    [NN_LOGISTIC] = {14, "LOGISTIC"},
    [NN_MAX_POOL_2D] = {17, "MAX_POOL_2D"},
    [NN_MEAN] = {40, "MEAN"},
    [NN_PAD] = {34, "PAD"},
    [NN_QUANTIZE] = {114, "QUANTIZE"},
    [NN_RELU] = {19, "RELU"},
    [NN_RELU6] = {21, "RELU6"},
    [NN_RESHAPE] = {22, "RESHAPE"},
    [NN_SOFTMAX] = {25, "SOFTMAX"},
};

const char *nn_kind_name(enum nn_kind kind)
{
    return (unsigned)kind < NN_KINDS ? kinds[kind].name : "unknown";
}

const char *nn_type_name(enum nn_type type)
{
    static const char *const names[] = {"float32", "int8", "int32"};
    return (unsigned)type < COUNT_OF(names) ? names[type] : "unknown";
}

void *bump_take(struct bump *bump, size_t bytes)
{
    size_t at = bump->used;
    bump->used += (bytes + NN_ALIGN - 1) / NN_ALIGN * NN_ALIGN;
    if (bump->base == NULL || bump->used > bump->size) {
        return NULL;
    }
    memset(bump->base + at, 0, bytes);
    return bump->base + at;
}

/* ---- tensors ---- */
static enum err read_shape(struct loader *l, size_t table, unsigned index, struct nn_tensor *info)
{
    struct flat_vector shape = flat_vector(&l->flat, table, TENSOR_SHAPE, 4);
    uint64_t elements = 1;
    if (shape.count > NN_RANK_MAX) {
        return fault_set(l->reterr, ERR_UNSUPPORTED, "tensor %u has %u dimensions, more than %d", index, shape.count,
                         NN_RANK_MAX);
    }
    info->rank = shape.count;
    for (unsigned d = 0; d < NN_RANK_MAX; d++) {
        info->dim[d] = 1;
    }
    for (unsigned d = 0; d < shape.count; d++) {
        int32_t dim = flat_i32_at(&l->flat, shape, d);
        if (dim < 1) {
            return fault_set(l->reterr, ERR_UNSUPPORTED, "tensor %u: dimension %u is %d; shapes must be static", index, d,
                             dim);
        }
        info->dim[d] = (uint32_t)dim;
        elements *= (uint32_t)dim;
        if (elements > ELEMENTS_MAX) {
            break;
        }
    }
    if (elements > ELEMENTS_MAX) {
        return fault_set(l->reterr, ERR_RANGE, "tensor %u is too large", index);
    }
    info->elements = (size_t)elements;
    return OK;
}

static enum err read_type(struct loader *l, size_t table, unsigned index, struct nn_tensor *info)
{
    int64_t type = flat_int(&l->flat, table, TENSOR_TYPE, 1, TYPE_FLOAT32);
    switch (type) {
    case TYPE_FLOAT32:
        info->type = NN_FLOAT32;
        break;
    case TYPE_INT8:
        info->type = NN_INT8;
        break;
    case TYPE_INT32:
        info->type = NN_INT32;
        break;
    default:
        return fault_set(l->reterr, ERR_UNSUPPORTED, "tensor %u is of type %d; float32 (0), int32 (2), int8 (9) are known",
                         index, (int)type);
    }
    info->bytes = info->elements * (info->type == NN_INT8 ? 1 : 4);
    return OK;
}

static enum err read_quantization(struct loader *l, size_t table, unsigned index, struct tensor *t)
{
    size_t q = flat_table(&l->flat, table, TENSOR_QUANTIZATION);
    t->scales = flat_vector(&l->flat, q, QUANTIZATION_SCALE, 4);
    t->zero_points = flat_vector(&l->flat, q, QUANTIZATION_ZERO_POINT, 8);
    t->channel_dim = (int32_t)flat_int(&l->flat, q, QUANTIZATION_DIMENSION, 4, 0);
    if (t->info.type != NN_INT8) {
        return OK;
    }
    if (t->scales.count == 0) {
        return fault_set(l->reterr, ERR_UNSUPPORTED, "tensor %u is int8 without a scale", index);
    }
    for (uint32_t i = 0; i < t->scales.count; i++) {
        float scale = flat_f32_at(&l->flat, t->scales, i);
        int64_t zero = t->zero_points.count > i ? flat_i64_at(&l->flat, t->zero_points, i) : 0;
        if (!(scale > 1e-30F && scale < 1e30F) || zero < -128 || zero > 127) {
            return fault_set(l->reterr, ERR_RANGE, "tensor %u: scale or zero point %u is out of range", index, i);
        }
    }
    t->info.scale = flat_f32_at(&l->flat, t->scales, 0);
    t->info.zero_point = t->zero_points.count > 0 ? (int32_t)flat_i64_at(&l->flat, t->zero_points, 0) : 0;
    return OK;
}

static enum err read_constant(struct loader *l, size_t table, struct flat_vector buffers, unsigned index, struct tensor *t)
{
    int64_t number = flat_int(&l->flat, table, TENSOR_BUFFER, 4, 0);
    if (number < 0 || number >= buffers.count) {
        return fault_set(l->reterr, ERR_MALFORMED, "tensor %u: there is no buffer %d", index, (int)number);
    }
    struct flat_vector data = flat_vector(&l->flat, flat_element(&l->flat, buffers, (uint32_t)number), 0, 1);
    if (number == 0 || data.count == 0) {
        return OK; /* buffer 0 is the empty one by convention */
    }
    if (data.count != t->info.bytes) {
        return fault_set(l->reterr, ERR_MALFORMED, "tensor %u: %zu bytes by its shape, %u in its buffer", index,
                         t->info.bytes, data.count);
    }
    if (t->info.type != NN_INT8 && data.at % 4 != 0) {
        return fault_set(l->reterr, ERR_MALFORMED, "tensor %u: its buffer is not aligned", index);
    }
    t->constant = l->flat.file.ptr + data.at;
    return OK;
}

static enum err read_tensors(struct loader *l, size_t graph, struct flat_vector buffers)
{
    struct flat_vector tensors = flat_vector(&l->flat, graph, GRAPH_TENSORS, 4);
    for (unsigned i = 0; i < l->nn->tensor_count; i++) {
        struct tensor *t = &l->nn->tensors[i];
        size_t table = flat_element(&l->flat, tensors, i);
        TRY(read_shape(l, table, i, &t->info));
        TRY(read_type(l, table, i, &t->info));
        TRY(read_quantization(l, table, i, t));
        TRY(read_constant(l, table, buffers, i, t));
        if (l->flat.failed) { /* before what follows is said of numbers that are not there */
            break;
        }
        l->elements += (uint64_t)t->info.elements * (t->constant != NULL ? 1 : l->nn->batch); /* weights are there once */
        if (l->elements > ELEMENTS_MAX) {
            return fault_set(l->reterr, ERR_RANGE, "tensor %u is too large", i);
        }
        if (flat_field(&l->flat, table, TENSOR_SPARSITY, 4) != 0 || flat_int(&l->flat, table, TENSOR_VARIABLE, 1, 0) != 0) {
            return fault_set(l->reterr, ERR_UNSUPPORTED, "tensor %u is sparse or variable", i);
        }
        if (t->constant == NULL && l->nn->batch > 1) {
            if (t->info.dim[0] != 1) {
                return fault_set(l->reterr, ERR_RANGE, "tensor %u: its first dimension is %u, so it cannot be batched", i,
                                 t->info.dim[0]);
            }
            t->info.elements *= l->nn->batch;
            t->info.bytes *= l->nn->batch;
        }
    }
    return l->flat.failed ? fault_set(l->reterr, ERR_MALFORMED, "the tensors point outside of the file") : OK;
}

/* ---- operators ---- */
static enum err kind_of(struct loader *l, struct flat_vector codes, size_t table, enum nn_kind *ret_kind)
{
    int64_t index = flat_int(&l->flat, table, OPERATOR_CODE, 4, 0);
    if (index < 0 || index >= codes.count) {
        return fault_set(l->reterr, ERR_MALFORMED, "operator %u: there is no operator code %d", l->index, (int)index);
    }
    size_t code = flat_element(&l->flat, codes, (uint32_t)index);
    int64_t old = flat_int(&l->flat, code, CODE_DEPRECATED, 1, 0), now = flat_int(&l->flat, code, CODE_BUILTIN, 4, 0);
    int64_t builtin = old > now ? old : now; /* files before 2020 have only the first */
    for (unsigned k = 0; k < NN_KINDS; k++) {
        if (kinds[k].code == builtin) {
            *ret_kind = (enum nn_kind)k;
            return OK;
        }
    }
    return fault_set(l->reterr, ERR_UNSUPPORTED, "operator %u is of a kind that is not supported (builtin code %d)", l->index,
                     (int)builtin);
}

/* An operator reads what is constant or was written before it, and writes what nobody wrote before. */
static enum err trace_use(struct loader *l, struct flat_vector inputs, struct flat_vector outputs)
{
    struct nn *nn = l->nn;
    for (uint32_t i = 0; i < inputs.count; i++) {
        int32_t n = flat_i32_at(&l->flat, inputs, i);
        if (n == -1) {
            continue; /* optional, left out */
        }
        if (n < 0 || (unsigned)n >= nn->tensor_count) {
            return fault_set(l->reterr, ERR_MALFORMED, "operator %u reads tensor %d, which is not there", l->index, n);
        }
        struct tensor *t = &nn->tensors[n];
        if (t->constant == NULL && !t->used) {
            return fault_set(l->reterr, ERR_MALFORMED, "operator %u reads tensor %d before anything writes it", l->index, n);
        }
        t->last = l->index + 1;
    }
    for (uint32_t i = 0; i < outputs.count; i++) {
        int32_t n = flat_i32_at(&l->flat, outputs, i);
        if (n < 0 || (unsigned)n >= nn->tensor_count || nn->tensors[n].constant != NULL || nn->tensors[n].used) {
            return fault_set(l->reterr, ERR_MALFORMED, "operator %u writes tensor %d, which is not its to write", l->index, n);
        }
        nn->tensors[n].used = true;
        nn->tensors[n].first = nn->tensors[n].last = l->index + 1;
    }
    return OK;
}

static enum err read_operators(struct loader *l, struct flat_vector codes, size_t graph)
{
    struct flat_vector operators = flat_vector(&l->flat, graph, GRAPH_OPERATORS, 4);
    for (l->index = 0; l->index < l->nn->op_count; l->index++) {
        struct op *op = &l->nn->ops[l->index];
        size_t table = flat_element(&l->flat, operators, l->index);
        struct flat_vector inputs = flat_vector(&l->flat, table, OPERATOR_INPUTS, 4);
        struct flat_vector outputs = flat_vector(&l->flat, table, OPERATOR_OUTPUTS, 4);
        TRY(kind_of(l, codes, table, &op->kind));
        TRY(trace_use(l, inputs, outputs));
        TRY(nn_prepare_op(l, op, table, inputs, outputs));
        if (l->flat.failed) {
            return fault_set(l->reterr, ERR_MALFORMED, "operator %u points outside of the file", l->index);
        }
        l->macs += op->macs;
        l->weights_bytes += op->weights_bytes;
        if (l->macs + l->looks > l->macs_max) {
            return fault_set(l->reterr, ERR_RANGE, "more than %llu multiply-accumulates, or values that pools look at",
                             (unsigned long long)l->macs_max);
        }
    }
    return OK;
}

/* ---- the model's own inputs and outputs ---- */
static enum err read_ends(struct loader *l, size_t graph, unsigned field, const struct tensor **ends, unsigned count)
{
    struct flat_vector list = flat_vector(&l->flat, graph, field, 4);
    for (uint32_t i = 0; i < count; i++) {
        int32_t n = flat_i32_at(&l->flat, list, i);
        bool known = n >= 0 && (unsigned)n < l->nn->tensor_count && l->nn->tensors[n].constant == NULL;
        if (!known || (field == GRAPH_OUTPUTS && !l->nn->tensors[n].used)) {
            return fault_set(l->reterr, ERR_MALFORMED, "the model's %s %u is tensor %d, which cannot be one",
                             field == GRAPH_INPUTS ? "input" : "output", i, n);
        }
        struct tensor *t = &l->nn->tensors[n];
        if (field == GRAPH_INPUTS) {
            t->used = true;
            t->first = 0;
        } else {
            t->last = l->nn->op_count + 1;
        }
        ends[i] = t;
    }
    return OK;
}

static enum err count_parts(struct loader *l, size_t graph)
{
    struct nn *nn = l->nn;
    nn->tensor_count = flat_vector(&l->flat, graph, GRAPH_TENSORS, 4).count;
    nn->op_count = flat_vector(&l->flat, graph, GRAPH_OPERATORS, 4).count;
    nn->input_count = flat_vector(&l->flat, graph, GRAPH_INPUTS, 4).count;
    nn->output_count = flat_vector(&l->flat, graph, GRAPH_OUTPUTS, 4).count;
    if (l->flat.failed || nn->tensor_count == 0 || nn->op_count == 0 || nn->input_count == 0 || nn->output_count == 0) {
        return fault_set(l->reterr, ERR_MALFORMED, "the graph has no tensors, operators, inputs or outputs");
    }
    if (nn->tensor_count > NN_TENSORS_MAX || nn->op_count > NN_OPS_MAX || nn->input_count > nn->tensor_count ||
        nn->output_count > nn->tensor_count) {
        return fault_set(l->reterr, ERR_UNSUPPORTED, "%u tensors and %u operators; at most %d and %d are supported",
                         nn->tensor_count, nn->op_count, NN_TENSORS_MAX, NN_OPS_MAX);
    }
    return OK;
}

static enum err read_model(struct loader *l, struct nn_cost *ret_cost)
{
    struct nn *nn = l->nn;
    size_t model = flat_root(&l->flat, "TFL3");
    struct flat_vector graphs = flat_vector(&l->flat, model, MODEL_SUBGRAPHS, 4);
    struct flat_vector codes = flat_vector(&l->flat, model, MODEL_OPERATOR_CODES, 4);
    struct flat_vector buffers = flat_vector(&l->flat, model, MODEL_BUFFERS, 4);
    if (l->flat.failed || graphs.count == 0 || flat_int(&l->flat, model, MODEL_VERSION, 4, 0) != 3) {
        return fault_set(l->reterr, ERR_MALFORMED, "not a .tflite file of schema version 3, or cut short");
    }
    if (graphs.count != 1) {
        return fault_set(l->reterr, ERR_UNSUPPORTED, "%u subgraphs; one is supported", graphs.count);
    }
    size_t graph = flat_element(&l->flat, graphs, 0);
    TRY(count_parts(l, graph));
    nn->tensors = bump_take(&l->bump, nn->tensor_count * sizeof(*nn->tensors));
    nn->ops = bump_take(&l->bump, nn->op_count * sizeof(*nn->ops));
    nn->inputs = bump_take(&l->bump, nn->input_count * sizeof(*nn->inputs));
    nn->outputs = bump_take(&l->bump, nn->output_count * sizeof(*nn->outputs));
    if (nn->outputs == NULL) {
        ret_cost->memory_bytes = l->bump.used;
        return fault_set(l->reterr, ERR_FULL, "the model's tables alone take %zu bytes", l->bump.used);
    }
    TRY(read_tensors(l, graph, buffers));
    TRY(read_ends(l, graph, GRAPH_INPUTS, nn->inputs, nn->input_count));
    TRY(read_operators(l, codes, graph));
    TRY(read_ends(l, graph, GRAPH_OUTPUTS, nn->outputs, nn->output_count));
    return l->flat.failed ? fault_set(l->reterr, ERR_MALFORMED, "the model points outside of the file") : OK;
}

enum err nn_load(struct slice file, void *memory, size_t memory_bytes, const struct nn_options *options,
                 struct nn **ret_nn, struct nn_cost *ret_cost, struct fault *reterr)
{
    static const struct nn_options preset = {.batch = 1};
    options = options != NULL ? options : &preset;
    struct loader l = {.flat = {.file = file},
                       .bump = {.base = memory, .size = memory_bytes},
                       .reterr = reterr,
                       .macs_max = options->macs_max != 0 ? options->macs_max : MACS_PRESET};
    *ret_cost = (struct nn_cost){0};
    if ((uintptr_t)file.ptr % NN_ALIGN != 0 || (uintptr_t)memory % NN_ALIGN != 0 || options->batch > NN_BATCH_MAX) {
        return fault_set(reterr, ERR_RANGE, "file and memory must be aligned to %d, the batch at most %d", NN_ALIGN,
                         NN_BATCH_MAX);
    }
    l.nn = bump_take(&l.bump, sizeof(*l.nn));
    if (l.nn == NULL) {
        ret_cost->memory_bytes = l.bump.used;
        return fault_set(reterr, ERR_FULL, "not even the model's head fits");
    }
    l.nn->batch = options->batch != 0 ? options->batch : 1;
    l.nn->kernels = nn_kernels_find(options->kernels);
    if (l.nn->kernels == NULL) {
        return fault_set(reterr, ERR_UNSUPPORTED, "this processor has no kernels \"%s\"", options->kernels);
    }
    TRY(read_model(&l, ret_cost));
    l.nn->scratch = bump_take(&l.bump, l.scratch_bytes);
    l.nn->kernel_scratch = bump_take(&l.bump, l.kernel_scratch_bytes);
    size_t arena_bytes = nn_plan(l.nn);
    uint8_t *arena = bump_take(&l.bump, arena_bytes);
    *ret_cost = (struct nn_cost){.memory_bytes = l.bump.used,
                                 .arena_bytes = arena_bytes,
                                 .weights_bytes = l.weights_bytes,
                                 .macs = l.macs,
                                 .ops = l.nn->op_count,
                                 .tensors = l.nn->tensor_count};
    if (l.bump.used > l.bump.size) {
        return fault_set(reterr, ERR_FULL, "the model takes %zu bytes of memory, there are %zu", l.bump.used, memory_bytes);
    }
    for (unsigned i = 0; i < l.nn->tensor_count; i++) {
        struct tensor *t = &l.nn->tensors[i];
        t->at = t->used ? arena + t->place : NULL;
    }
    *ret_nn = l.nn;
    return OK;
}

/* ---- the loaded model ---- */
unsigned nn_batch(const struct nn *nn)
{
    return nn->batch;
}

size_t nn_inputs(const struct nn *nn)
{
    return nn->input_count;
}

size_t nn_outputs(const struct nn *nn)
{
    return nn->output_count;
}

const struct nn_tensor *nn_input_info(const struct nn *nn, size_t i)
{
    return i < nn->input_count ? &nn->inputs[i]->info : NULL;
}

const struct nn_tensor *nn_output_info(const struct nn *nn, size_t i)
{
    return i < nn->output_count ? &nn->outputs[i]->info : NULL;
}

void *nn_input(struct nn *nn, size_t i)
{
    return i < nn->input_count ? nn->inputs[i]->at : NULL;
}

const void *nn_output(const struct nn *nn, size_t i)
{
    return i < nn->output_count ? nn->outputs[i]->at : NULL;
}

const char *nn_kernels(const struct nn *nn)
{
    return nn->kernels->name;
}

size_t nn_ops(const struct nn *nn)
{
    return nn->op_count;
}

struct nn_op_info nn_op(const struct nn *nn, size_t i)
{
    const struct op *op = &nn->ops[i];
    return (struct nn_op_info){.kind = op->kind,
                               .macs = op->macs,
                               .weights_bytes = op->weights_bytes,
                               .input = &op->in->info,
                               .output = &op->out->info};
}

void nn_run(struct nn *nn, unsigned samples)
{
    assert(samples <= nn->batch);
    nn->samples = samples;
    for (unsigned i = 0; i < nn->op_count; i++) {
        nn->ops[i].run(nn, &nn->ops[i]);
    }
}
