/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block_internal - digits (groups of small numbers in a radix) and the resolution's bytes; see block.h for the format.
 */
#ifndef PROTO_BLOCK_BLOCK_INTERNAL_H
#define PROTO_BLOCK_BLOCK_INTERNAL_H

#include "core/base/cursor.h"
#include "proto/block/block.h"

enum block_form { BLOCK_CONST, BLOCK_OFFSET, BLOCK_DELTA, BLOCK_DICT };
enum { BLOCK_FORM_BITS = 3, BLOCK_HAS_BITMAP = 4, BLOCK_RESOLUTION_SHIFT = 3 };
enum block_resolution_form {
    BLOCK_RESOLUTION_SAME,
    BLOCK_RESOLUTION_TEN,
    BLOCK_RESOLUTION_BINARY,
    BLOCK_RESOLUTION_DECIMAL,
    BLOCK_RESOLUTION_DOUBLE,
};
enum { BLOCK_DICT_MAX = 64 };

enum {
    DIGITS_GROUP_MAX = 56, /* codes up to here: groups of four in a radix */
    DIGITS_PLAIN_BIAS = 42, /* codes behind: code - bias bits, 15..57 */
    DIGITS_PLAIN_MAX = 99,
    DIGITS_WHOLE = 100, /* 64 bits */
};
/* The smallest code for digits 0..max. */
unsigned digits_code(uint64_t max);
/* A code that digits_code returns for some max: one encoding per range. */
static inline bool digits_code_valid(unsigned code)
{
    /* 1, 2, 3, 5, 6 and 9 have the radix of the code before. */
    return code < 10 ? (0x191u >> code & 1) != 0 : code <= DIGITS_WHOLE;
}
/* Bits that hold the first count digits, and the bytes for them. */
static inline size_t digits_bits(size_t count, unsigned code)
{
    return code <= DIGITS_GROUP_MAX   ? (count * code + 3) / 4
           : code <= DIGITS_PLAIN_MAX ? count * (code - DIGITS_PLAIN_BIAS)
                                      : count * 64;
}
static inline size_t digits_bytes(size_t count, unsigned code)
{
    return (digits_bits(count, code) + 7) / 8;
}
/* Bits that no digit decoded with this code exceeds. A group of any bits has a last digit up to 2^code / r^3, and
 * (2^(code/4) / r)^3 < 2 for every radix r. */
static inline unsigned digits_bound_bits(unsigned code)
{
    return code > DIGITS_PLAIN_MAX   ? 64
           : code > DIGITS_GROUP_MAX ? code - DIGITS_PLAIN_BIAS
           : code > 0                ? code / 4 + 2
                                     : 0;
}
/* out: digits_bytes, zeroed by this function. */
void digits_write(const uint64_t *digits, size_t count, unsigned code, uint8_t *out);
/* values[i] = add + digit, modulo 2^64. in: digits_bytes(count, code) bytes at least; never reads at or beyond end. */
void digits_read(const uint8_t *in, const uint8_t *end, size_t count, unsigned code, uint64_t add, int64_t *values);

/* The shortest form that gives the resolution back exactly; previous = that of the column before. */
enum block_resolution_form resolution_form(double resolution, double previous, uint8_t ret_bytes[8], size_t *ret_len);
/* Sets the cursor's failure for an unknown form or a value that is not valid. */
double resolution_read(struct cursor *c, unsigned form, double previous);

#endif
