/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flat - bounded reading of a FlatBuffer (its own "Internals" page: little-endian; a table points back to its vtable,
 * which holds a 16-bit offset per field; vectors and strings begin with a 32-bit count).
 *
 * Positions are offsets from the file's start; 0 stands for "not there" and for "outside of the file". Reading at 0 gives 0,
 * so that a chain of reads is checked at its end.
 */
#ifndef CORE_NN_FLAT_H
#define CORE_NN_FLAT_H

#include "core/base/base.h"

struct flat {
    struct slice file;
    bool failed; /* sticky: something pointed outside */
};
struct flat_vector {
    size_t at; /* of the first element; 0 = not there */
    uint32_t count;
};

uint32_t flat_u32(struct flat *f, size_t at);
/* The root table of a file with this identifier; 0. */
size_t flat_root(struct flat *f, const char identifier[4]);
/* Position of a field of `width` bytes in a table; 0 when the table leaves it out. */
size_t flat_field(struct flat *f, size_t table, unsigned field, size_t width);
int64_t flat_int(struct flat *f, size_t table, unsigned field, size_t width, int64_t preset); /* signed; width 1, 4, 8 */
/* Table that a field points to; 0. */
size_t flat_table(struct flat *f, size_t table, unsigned field);
/* Vector whose elements are `width` bytes; wholly in the file. */
struct flat_vector flat_vector(struct flat *f, size_t table, unsigned field, size_t width);
/* Table that element i of a vector of tables points to; 0 when i is outside. */
size_t flat_element(struct flat *f, struct flat_vector vector, uint32_t i);
int32_t flat_i32_at(struct flat *f, struct flat_vector vector, uint32_t i);
float flat_f32_at(struct flat *f, struct flat_vector vector, uint32_t i);
int64_t flat_i64_at(struct flat *f, struct flat_vector vector, uint32_t i);

#endif
