/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Payloads through protobuf-c. Written metric by metric: each is packed on its own behind its key and length, so that no
 * array of pointers to metrics is needed however long a birth is.
 */
#include "proto/sparkplug/sparkplug.h"

#include "proto/schema/sparkplug_b.pb-c.h"

#define REBIRTH "Node Control/Rebirth"
#define WHOLE_MAX 9007199254740992.0 /* 2^53 */
enum { KEY_TIMESTAMP = 1 << 3, KEY_METRIC = 2 << 3 | 2, KEY_SEQ = 3 << 3 };

/* The nearest integer within +-most: a conversion out of range has no meaning in C. */
static int64_t whole(double number, double most)
{
    return number >= most ? (int64_t)most : number <= -most ? -(int64_t)most : (int64_t)number;
}

static void put_value(const struct sparkplug_metric *from, Weir__Sparkplug__Metric *m)
{
    switch (from->datatype) {
    case SPARKPLUG_INT32:
        m->value_case = WEIR__SPARKPLUG__METRIC__VALUE_INT_VALUE;
        m->int_value = (uint32_t)whole(from->number, INT32_MAX);
        break;
    case SPARKPLUG_INT64:
        m->value_case = WEIR__SPARKPLUG__METRIC__VALUE_LONG_VALUE;
        m->long_value = (uint64_t)whole(from->number, WHOLE_MAX);
        break;
    case SPARKPLUG_DOUBLE:
        m->value_case = WEIR__SPARKPLUG__METRIC__VALUE_DOUBLE_VALUE;
        m->double_value = from->number;
        break;
    case SPARKPLUG_BOOLEAN:
        m->value_case = WEIR__SPARKPLUG__METRIC__VALUE_BOOLEAN_VALUE;
        m->boolean_value = from->number != 0;
        break;
    case SPARKPLUG_STRING:
        m->value_case = WEIR__SPARKPLUG__METRIC__VALUE_STRING_VALUE;
        m->string_value = (char *)(uintptr_t)from->text; /* protobuf-c knows no const; it only reads */
        break;
    }
}

static void put_metric(const struct sparkplug_metric *from, struct buffer *out)
{
    Weir__Sparkplug__Metric m = WEIR__SPARKPLUG__METRIC__INIT;
    Weir__Sparkplug__Properties properties = WEIR__SPARKPLUG__PROPERTIES__INIT;
    Weir__Sparkplug__Property unit = WEIR__SPARKPLUG__PROPERTY__INIT;
    char *keys[] = {(char *)(uintptr_t)"engUnit"};
    Weir__Sparkplug__Property *values[] = {&unit};
    m.name = (char *)(uintptr_t)from->name;
    m.has_datatype = from->name != NULL;
    m.datatype = from->datatype;
    m.has_alias = from->alias != 0;
    m.alias = from->alias;
    m.has_timestamp = true;
    m.timestamp = from->timestamp_ms;
    m.has_is_historical = m.is_historical = from->historical;
    m.has_is_null = m.is_null = from->null;
    if (!from->null) {
        put_value(from, &m);
    }
    if (from->unit != NULL && from->unit[0] != '\0') {
        unit.has_type = true;
        unit.type = SPARKPLUG_STRING;
        unit.value_case = WEIR__SPARKPLUG__PROPERTY__VALUE_STRING_VALUE;
        unit.string_value = (char *)(uintptr_t)from->unit;
        properties.n_keys = properties.n_values = 1;
        properties.keys = keys;
        properties.values = values;
        m.properties = &properties;
    }
    size_t size = weir__sparkplug__metric__get_packed_size(&m);
    buffer_put_u8(out, KEY_METRIC);
    buffer_put_varint(out, size);
    uint8_t *at = buffer_extend(out, size);
    if (at != NULL) {
        (void)weir__sparkplug__metric__pack(&m, at);
    }
}

enum err sparkplug_encode(uint64_t timestamp_ms, int seq, const struct sparkplug_metric *metrics, size_t count,
                          struct buffer *out)
{
    size_t before = out->len;
    buffer_put_u8(out, KEY_TIMESTAMP);
    buffer_put_varint(out, timestamp_ms);
    for (size_t i = 0; i < count; i++) {
        put_metric(&metrics[i], out);
    }
    if (seq != SPARKPLUG_NO_SEQ) {
        buffer_put_u8(out, KEY_SEQ);
        buffer_put_varint(out, (uint64_t)seq);
    }
    enum err err = buffer_err(out);
    if (err != OK) {
        out->len = before;
    }
    return err;
}

/* protobuf-c does not say why it failed. */
struct budget {
    struct arena *arena;
    bool spent;
};

static void *budget_alloc(void *arg, size_t len)
{
    struct budget *b = arg;
    void *p = arena_protobuf_alloc(b->arena, len);
    b->spent |= p == NULL;
    return p;
}

enum err sparkplug_command_decode(struct slice payload, struct arena *arena, struct sparkplug_command *ret_command)
{
    if (payload.len > SPARKPLUG_COMMAND_MAX) {
        return ERR_RANGE;
    }
    arena_reset(arena);
    struct budget budget = {.arena = arena};
    ProtobufCAllocator allocator = {.alloc = budget_alloc, .free = arena_protobuf_free, .allocator_data = &budget};
    Weir__Sparkplug__Payload *p = weir__sparkplug__payload__unpack(&allocator, payload.len, payload.ptr);
    if (p == NULL) {
        return budget.spent ? ERR_NOMEM : ERR_MALFORMED;
    }
    *ret_command = (struct sparkplug_command){.metrics = p->n_metrics};
    for (size_t i = 0; i < p->n_metrics; i++) {
        const Weir__Sparkplug__Metric *m = p->metrics[i];
        ret_command->rebirth |= m->name != NULL && strcmp(m->name, REBIRTH) == 0 &&
                                m->value_case == WEIR__SPARKPLUG__METRIC__VALUE_BOOLEAN_VALUE && m->boolean_value;
    }
    return OK;
}
