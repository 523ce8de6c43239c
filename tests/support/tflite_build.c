/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/tflite_build.h"

#include <assert.h>

struct out {
    uint8_t *at;
    size_t used, cap;
};

static size_t put(struct out *o, const void *bytes, size_t len)
{
    size_t at = o->used;
    assert(len <= o->cap - o->used);
    memcpy(o->at + at, bytes, len);
    o->used += len;
    return at;
}

static void align(struct out *o, size_t to)
{
    while (o->used % to != 0) {
        put(o, "", 1);
    }
}

static size_t put_u32(struct out *o, uint32_t v)
{
    return put(o, &v, 4);
}

/* A field that holds an offset points to where we are. */
static void point_here(struct out *o, size_t field)
{
    uint32_t offset = (uint32_t)(o->used - field);
    memcpy(o->at + field, &offset, 4);
}

struct field {
    int width; /* 0: left out; 4: also of an offset, which is pointed later */
    int32_t value;
};

/* Table with these fields; positions of them in ret_at. */
static size_t put_table(struct out *o, const struct field *fields, int count, size_t *ret_at)
{
    uint16_t vtable[2 + 16] = {(uint16_t)(4 + 2 * count), 4};
    for (int i = 0; i < count; i++) {
        if (fields[i].width != 0) {
            vtable[2 + i] = vtable[1];
            vtable[1] = (uint16_t)(vtable[1] + 4);
        }
    }
    align(o, 4);
    size_t vtable_at = put(o, vtable, vtable[0]);
    align(o, 4);
    size_t table = o->used;
    put_u32(o, (uint32_t)(table - vtable_at));
    for (int i = 0; i < count; i++) {
        ret_at[i] = fields[i].width != 0 ? put_u32(o, (uint32_t)fields[i].value) : 0;
    }
    return table;
}

static void put_vector(struct out *o, size_t field, const void *data, uint32_t count, size_t width, size_t alignment)
{
    while ((o->used + 4) % alignment != 0 || o->used % 4 != 0) {
        put(o, "", 1);
    }
    point_here(o, field);
    put_u32(o, count);
    put(o, data, count * width);
}

/* A vector of tables: positions of its elements, to be pointed. */
static void put_slots(struct out *o, size_t field, uint32_t count, size_t *ret_slots)
{
    align(o, 4);
    point_here(o, field);
    put_u32(o, count);
    for (uint32_t i = 0; i < count; i++) {
        ret_slots[i] = put_u32(o, 0);
    }
}

static void point_table(struct out *o, size_t slot, size_t table)
{
    uint32_t offset = (uint32_t)(table - slot);
    memcpy(o->at + slot, &offset, 4);
}

static void put_tensor(struct out *o, size_t slot, const struct build_tensor *t, int buffer)
{
    size_t at[5], q[7];
    point_table(o, slot, put_table(o, (struct field[]){{4, 0}, {1, t->type}, {4, buffer}, {0, 0}, {t->scales ? 4 : 0, 0}}, 5, at));
    put_vector(o, at[0], t->dim, (uint32_t)t->rank, 4, 4);
    if (t->scales != NULL) {
        int64_t zeros[64] = {0};
        zeros[0] = t->zero_point;
        point_table(o, at[4], put_table(o, (struct field[]){{0, 0}, {0, 0}, {4, 0}, {4, 0}, {0, 0}, {0, 0}, {4, t->channel_dim}}, 7, q));
        put_vector(o, q[2], t->scales, (uint32_t)t->scale_count, 4, 4);
        put_vector(o, q[3], zeros, (uint32_t)t->scale_count, 8, 8);
    }
}

/* What kind of options an operator's table holds: TensorFlow Lite ignores those of another kind. */
static int options_type(int code)
{
    switch (code) {
    case 0: /* ADD */
        return 11;
    case 1: /* AVERAGE_POOL_2D */
    case 17: /* MAX_POOL_2D */
        return 5;
    case 3: /* CONV_2D */
        return 1;
    case 4: /* DEPTHWISE_CONV_2D */
        return 2;
    case 9: /* FULLY_CONNECTED */
        return 8;
    case 25: /* SOFTMAX */
        return 9;
    case 34: /* PAD */
        return 22;
    case 40: /* MEAN */
        return 27;
    default:
        return 0;
    }
}

static void put_op(struct out *o, size_t slot, const struct build_op *op, int code)
{
    size_t at[5], ignored[BUILD_FIELDS];
    struct field options[BUILD_FIELDS] = {0};
    point_table(o, slot, put_table(o, (struct field[]){{4, code}, {4, 0}, {4, 0}, {1, options_type(op->code)}, {4, 0}}, 5, at));
    put_vector(o, at[1], op->inputs, (uint32_t)op->input_count, 4, 4);
    put_vector(o, at[2], &op->output, 1, 4, 4);
    for (int i = 0; i < BUILD_FIELDS && op->options[i].width != 0; i++) {
        options[op->options[i].field] = (struct field){op->options[i].width, op->options[i].value};
    }
    point_table(o, at[4], put_table(o, options, BUILD_FIELDS, ignored));
}

size_t tflite_build(const struct build_model *m, uint8_t *out, size_t cap)
{
    struct out o = {.at = out, .cap = cap};
    size_t model[5], graph[5], slots[BUILD_TENSORS + 1], at[4];
    size_t root = put_u32(&o, 0);
    put(&o, "TFL3", 4);
    point_table(&o, root, put_table(&o, (struct field[]){{4, 3}, {4, 0}, {4, 0}, {0, 0}, {4, 0}}, 5, model));
    put_slots(&o, model[1], (uint32_t)m->op_count, slots);
    for (int i = 0; i < m->op_count; i++) {
        point_table(&o, slots[i], put_table(&o, (struct field[]){{1, m->ops[i].code}, {0, 0}, {0, 0}, {4, m->ops[i].code}}, 4, at));
    }
    put_slots(&o, model[2], 1, slots);
    point_table(&o, slots[0], put_table(&o, (struct field[]){{4, 0}, {4, 0}, {4, 0}, {4, 0}}, 4, graph));
    put_slots(&o, graph[0], (uint32_t)m->tensor_count, slots);
    for (int i = 0; i < m->tensor_count; i++) {
        put_tensor(&o, slots[i], &m->tensors[i], m->tensors[i].data != NULL ? i + 1 : 0);
    }
    put_vector(&o, graph[1], &m->input, 1, 4, 4);
    put_vector(&o, graph[2], &m->output, 1, 4, 4);
    put_slots(&o, graph[3], (uint32_t)m->op_count, slots);
    for (int i = 0; i < m->op_count; i++) {
        put_op(&o, slots[i], &m->ops[i], i);
    }
    put_slots(&o, model[4], (uint32_t)m->tensor_count + 1, slots);
    for (int i = 0; i <= m->tensor_count; i++) {
        const struct build_tensor *t = i > 0 ? &m->tensors[i - 1] : NULL;
        bool data = t != NULL && t->data != NULL;
        point_table(&o, slots[i], put_table(&o, (struct field[]){{data ? 4 : 0, 0}}, 1, at));
        if (data) {
            put_vector(&o, at[0], t->data, (uint32_t)t->bytes, 1, 16);
        }
    }
    return o.used;
}
