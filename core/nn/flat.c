/* SPDX-License-Identifier: Apache-2.0 */
#include "core/nn/flat.h"

static const uint8_t *bytes(struct flat *f, size_t at, size_t len)
{
    if (at == 0 || at > f->file.len || len > f->file.len - at) {
        f->failed = f->failed || at != 0;
        return NULL;
    }
    return f->file.ptr + at;
}

uint32_t flat_u32(struct flat *f, size_t at)
{
    const uint8_t *p = bytes(f, at, 4);
    uint32_t v = 0;
    if (p != NULL) {
        memcpy(&v, p, 4);
    }
    return v;
}

static uint16_t u16(struct flat *f, size_t at)
{
    const uint8_t *p = bytes(f, at, 2);
    uint16_t v = 0;
    if (p != NULL) {
        memcpy(&v, p, 2);
    }
    return v;
}

/* at + the offset that stands there */
static size_t follow(struct flat *f, size_t at)
{
    uint32_t offset = flat_u32(f, at);
    if (offset == 0 || offset >= f->file.len || at >= f->file.len - offset) {
        f->failed = f->failed || at != 0;
        return 0;
    }
    return at + offset;
}

size_t flat_root(struct flat *f, const char identifier[4])
{
    if (f->file.len < 8 || memcmp(f->file.ptr + 4, identifier, 4) != 0) {
        f->failed = true;
        return 0;
    }
    uint32_t root;
    memcpy(&root, f->file.ptr, 4);
    if (root < 8 || root >= f->file.len) {
        f->failed = true;
        return 0;
    }
    return root;
}

size_t flat_field(struct flat *f, size_t table, unsigned field, size_t width)
{
    if (table == 0) {
        return 0;
    }
    int64_t vtable = (int64_t)table - (int32_t)flat_u32(f, table);
    if (vtable <= 0 || vtable >= (int64_t)f->file.len) {
        f->failed = true;
        return 0;
    }
    size_t slot = 4 + 2 * (size_t)field;
    if (slot + 2 > u16(f, (size_t)vtable)) {
        return 0;
    }
    uint16_t offset = u16(f, (size_t)vtable + slot);
    if (offset == 0) {
        return 0;
    }
    return bytes(f, table + offset, width) != NULL ? table + offset : 0;
}

int64_t flat_int(struct flat *f, size_t table, unsigned field, size_t width, int64_t preset)
{
    size_t at = flat_field(f, table, field, width);
    if (at == 0) {
        return preset;
    }
    const uint8_t *p = f->file.ptr + at;
    int32_t v4;
    int64_t v8;
    switch (width) {
    case 1:
        return (int8_t)*p;
    case 4:
        memcpy(&v4, p, 4);
        return v4;
    default:
        memcpy(&v8, p, 8);
        return v8;
    }
}

size_t flat_table(struct flat *f, size_t table, unsigned field)
{
    size_t at = flat_field(f, table, field, 4);
    return at != 0 ? follow(f, at) : 0;
}

struct flat_vector flat_vector(struct flat *f, size_t table, unsigned field, size_t width)
{
    size_t at = flat_table(f, table, field);
    struct flat_vector vector = {.at = 0, .count = flat_u32(f, at)};
    if (at == 0) {
        vector.count = 0;
    } else if (vector.count > (f->file.len - at) / width || bytes(f, at + 4, vector.count * width) == NULL) {
        f->failed = true;
        vector.count = 0;
    } else {
        vector.at = at + 4;
    }
    return vector;
}

size_t flat_element(struct flat *f, struct flat_vector vector, uint32_t i)
{
    if (i >= vector.count) {
        f->failed = true;
        return 0;
    }
    return follow(f, vector.at + 4 * (size_t)i);
}

static void element(struct flat *f, struct flat_vector vector, uint32_t i, void *out, size_t width)
{
    memset(out, 0, width);
    if (i >= vector.count) {
        f->failed = true;
        return;
    }
    memcpy(out, f->file.ptr + vector.at + width * (size_t)i, width);
}

int32_t flat_i32_at(struct flat *f, struct flat_vector vector, uint32_t i)
{
    int32_t v;
    element(f, vector, i, &v, sizeof(v));
    return v;
}

float flat_f32_at(struct flat *f, struct flat_vector vector, uint32_t i)
{
    float v;
    element(f, vector, i, &v, sizeof(v));
    return v;
}

int64_t flat_i64_at(struct flat *f, struct flat_vector vector, uint32_t i)
{
    int64_t v;
    element(f, vector, i, &v, sizeof(v));
    return v;
}
