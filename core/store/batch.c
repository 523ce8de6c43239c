/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A batch: operations one behind the other in one block that doubles, no allocation per operation.
 *
 *   op = kind u8 | table u8 | key length u16 | value length u32 | key | value (for a range: its last key)
 */
#include "core/store/store_internal.h"

enum { FIRST_BYTES = 512 };

struct op_head {
    uint8_t kind, table;
    uint16_t key_len;
    uint32_t value_len;
};

/* Room for one operation; *ret_value is where its value goes. */
static enum err add_op(struct store_batch *batch, enum op_kind kind, unsigned table, struct slice key, size_t value_len,
                       uint8_t **ret_value)
{
    if (key.len == 0 || key.len > STORE_KEY_MAX || value_len > STORE_VALUE_MAX || table >= STORE_TABLES_MAX) {
        return ERR_RANGE;
    }
    size_t len = sizeof(struct op_head) + key.len + value_len;
    if (len > batch->cap - batch->len) {
        size_t cap = batch->cap > 0 ? batch->cap : FIRST_BYTES;
        while (cap - batch->len < len) {
            cap *= 2;
        }
        uint8_t *ops = realloc(batch->ops, cap);
        if (ops == NULL) {
            return ERR_NOMEM;
        }
        batch->ops = ops;
        batch->cap = cap;
    }
    struct op_head head = {.kind = (uint8_t)kind,
                           .table = (uint8_t)table,
                           .key_len = (uint16_t)key.len,
                           .value_len = (uint32_t)value_len};
    uint8_t *at = batch->ops + batch->len;
    memcpy(at, &head, sizeof head);
    memcpy(at + sizeof head, key.ptr, key.len);
    *ret_value = at + sizeof head + key.len;
    batch->len += len;
    batch->count++;
    return OK;
}

bool batch_next(const struct store_batch *batch, size_t *at, struct op *ret_op)
{
    if (*at == batch->len) {
        return false;
    }
    struct op_head head;
    const uint8_t *p = batch->ops + *at;
    memcpy(&head, p, sizeof head);
    ret_op->kind = (enum op_kind)head.kind;
    ret_op->table = head.table;
    ret_op->key = slice_of(p + sizeof head, head.key_len);
    ret_op->value = slice_of(p + sizeof head + head.key_len, head.value_len);
    *at += sizeof head + head.key_len + head.value_len;
    return true;
}

enum err store_put_reserve(struct store_batch *batch, unsigned table, struct slice key, size_t value_len,
                           uint8_t **ret_value)
{
    return add_op(batch, OP_PUT, table, key, value_len, ret_value);
}

enum err store_put(struct store_batch *batch, unsigned table, struct slice key, struct slice value)
{
    uint8_t *at;
    TRY(add_op(batch, OP_PUT, table, key, value.len, &at));
    if (value.len > 0) {
        memcpy(at, value.ptr, value.len);
    }
    return OK;
}

enum err store_delete(struct store_batch *batch, unsigned table, struct slice key)
{
    uint8_t *at;
    return add_op(batch, OP_DELETE, table, key, 0, &at);
}

enum err store_delete_range(struct store_batch *batch, unsigned table, struct slice from, struct slice to)
{
    if (to.len == 0 || to.len > STORE_KEY_MAX) {
        return ERR_RANGE;
    }
    uint8_t *at;
    TRY(add_op(batch, OP_DELETE_RANGE, table, from, to.len, &at));
    memcpy(at, to.ptr, to.len);
    return OK;
}

size_t store_batch_bytes(const struct store_batch *batch)
{
    return batch->len;
}

size_t store_batch_ops(const struct store_batch *batch)
{
    return batch->count;
}

uint64_t store_batch_serial(const struct store_batch *batch)
{
    return batch->serial;
}
