/* SPDX-License-Identifier: Apache-2.0 */
/*
 * digits - many small numbers in few bits; the block's inner loop.
 *
 * Four digits d0..d3 below a radix r make one number d0 + r (d1 + r (d2 + r d3)) < r^4 <= 2^code, so that a range costs
 * its logarithm to a quarter of a bit and not to a whole one: 0.4 bits a value on average, as much as an entropy coder
 * gains on sensor noise, and decoded by two divisions in parallel without a branch. Division is a multiplication by a
 * reciprocal of 64 bits, exact below 2^63 (T. Granlund, P. Montgomery, "Division by invariant integers using
 * multiplication", 1994, theorem 4.2).
 */
#include <string.h>

#include "proto/block/block_internal.h"

struct reciprocal {
    uint64_t times;
    unsigned shift;
};
struct radix {
    uint64_t r, square;
    struct reciprocal by_r, by_square;
};

/* For d >= 2: shift = ceil(log2 d) - 1, times = ceil(2^(64 + shift) / d), which is below 2^64. */
#define SHIFT_OF(d) (63 - __builtin_clzll((d) - 1))
#ifdef __SIZEOF_INT128__
#define RECIPROCAL(d)                                                                                                  \
    {                                                                                                                  \
        (uint64_t)((((unsigned __int128)1 << (64 + SHIFT_OF(d))) + (d) - 1) / (d)), SHIFT_OF(d)                        \
    }
#else /* a microcontroller, which decodes no blocks but for a test: the divisor itself */
#define RECIPROCAL(d) {(d), 0}
#endif
#define RADIX(r) {UINT64_C(r), UINT64_C(r) * r, RECIPROCAL(UINT64_C(r)), RECIPROCAL(UINT64_C(r) * r)}
#define NONE {1, 1, {0, 0}, {0, 0}} /* the code before has the same radix */

/* floor(2^(code / 4)) */
static const struct radix radices[DIGITS_GROUP_MAX + 1] = {
    NONE,        NONE,        NONE,         NONE,         /* 0..3 */
    RADIX(2),    NONE,        NONE,         RADIX(3),     /* 4..7 */
    RADIX(4),    NONE,        RADIX(5),     RADIX(6),     /* 8..11 */
    RADIX(8),    RADIX(9),    RADIX(11),    RADIX(13),    /* 12..15 */
    RADIX(16),   RADIX(19),   RADIX(22),    RADIX(26),    /* 16..19 */
    RADIX(32),   RADIX(38),   RADIX(45),    RADIX(53),    /* 20..23 */
    RADIX(64),   RADIX(76),   RADIX(90),    RADIX(107),   /* 24..27 */
    RADIX(128),  RADIX(152),  RADIX(181),   RADIX(215),   /* 28..31 */
    RADIX(256),  RADIX(304),  RADIX(362),   RADIX(430),   /* 32..35 */
    RADIX(512),  RADIX(608),  RADIX(724),   RADIX(861),   /* 36..39 */
    RADIX(1024), RADIX(1217), RADIX(1448),  RADIX(1722),  /* 40..43 */
    RADIX(2048), RADIX(2435), RADIX(2896),  RADIX(3444),  /* 44..47 */
    RADIX(4096), RADIX(4870), RADIX(5792),  RADIX(6888),  /* 48..51 */
    RADIX(8192), RADIX(9741), RADIX(11585), RADIX(13777), /* 52..55 */
    RADIX(16384),                                         /* 56 */
};

static inline uint64_t divide(uint64_t x, struct reciprocal by)
{
#ifdef __SIZEOF_INT128__
    return (uint64_t)((unsigned __int128)x * by.times >> 64) >> by.shift;
#else
    return x / by.times;
#endif
}

unsigned digits_code(uint64_t max)
{
    if (max == 0) {
        return 0;
    }
    if (max >= radices[DIGITS_GROUP_MAX].r) {
        unsigned bits = 64 - (unsigned)__builtin_clzll(max);
        return bits <= DIGITS_PLAIN_MAX - DIGITS_PLAIN_BIAS ? bits + DIGITS_PLAIN_BIAS : DIGITS_WHOLE;
    }
    /* 2^bits > max >= 2^(bits - 1): the code lies within the four that lead up to 4 * bits. */
    unsigned code = 4 * (63 - (unsigned)__builtin_clzll(max));
    while (radices[code].r <= max) {
        code++;
    }
    return code;
}

static void put_bits(uint8_t *out, size_t at, uint64_t x, unsigned bits)
{
    for (unsigned done = 0; done < bits;) {
        unsigned from = (unsigned)(at + done) % 8, room = 8 - from;
        out[(at + done) / 8] |= (uint8_t)(x >> done << from);
        done += room;
    }
}

void digits_write(const uint64_t *digits, size_t count, unsigned code, uint8_t *out)
{
    memset(out, 0, digits_bytes(count, code));
    if (code > DIGITS_GROUP_MAX) {
        unsigned bits = code > DIGITS_PLAIN_MAX ? 64 : code - DIGITS_PLAIN_BIAS;
        for (size_t i = 0; i < count; i++) {
            put_bits(out, i * bits, digits[i], bits);
        }
        return;
    }
    for (size_t i = 0; code > 0 && i < count; i += 4) {
        size_t n = count - i < 4 ? count - i : 4;
        uint64_t x = 0;
        for (size_t j = n; j-- > 0;) {
            x = x * radices[code].r + digits[i + j];
        }
        put_bits(out, i / 4 * code, x, (unsigned)digits_bits(n, code));
    }
}

/* Up to 57 bits from a bit position; the bits above are whatever follows. */
static inline uint64_t load_bits(const uint8_t *in, const uint8_t *end, size_t at)
{
    const uint8_t *p = in + at / 8;
    uint64_t x = 0;
    if (__builtin_expect(end - p >= 8, 1)) {
        memcpy(&x, p, 8);
    } else {
        for (unsigned shift = 0; p < end; p++, shift += 8) {
            x |= (uint64_t)*p << shift;
        }
    }
    return x >> at % 8;
}

/* Straight into the place: by way of an array the compiler's vector load would wait for four scalar stores. */
static inline void split_group(uint64_t x, const struct radix *radix, uint64_t add, int64_t *values)
{
    uint64_t high = divide(x, radix->by_square), low = x - high * radix->square;
    uint64_t d1 = divide(low, radix->by_r), d3 = divide(high, radix->by_r);
    values[0] = (int64_t)(add + low - d1 * radix->r);
    values[1] = (int64_t)(add + d1);
    values[2] = (int64_t)(add + high - d3 * radix->r);
    values[3] = (int64_t)(add + d3);
}

static void read_groups(const uint8_t *in, const uint8_t *end, size_t count, unsigned code, uint64_t add,
                        int64_t *values)
{
    const struct radix radix = radices[code];
    uint64_t mask = (UINT64_C(1) << code) - 1;
    size_t i = 0, at = 0;
    for (; i + 4 <= count; i += 4, at += code) {
        split_group(load_bits(in, end, at) & mask, &radix, add, values + i);
    }
    if (i < count) {
        int64_t last[4];
        mask = (UINT64_C(1) << digits_bits(count - i, code)) - 1;
        split_group(load_bits(in, end, at) & mask, &radix, add, last);
        memcpy(values + i, last, (count - i) * sizeof(*last));
    }
}

void digits_read(const uint8_t *in, const uint8_t *end, size_t count, unsigned code, uint64_t add, int64_t *values)
{
    if (code == 0) {
        for (size_t i = 0; i < count; i++) {
            values[i] = (int64_t)add;
        }
    } else if (code <= DIGITS_GROUP_MAX) {
        read_groups(in, end, count, code, add, values);
    } else if (code <= DIGITS_PLAIN_MAX) {
        unsigned bits = code - DIGITS_PLAIN_BIAS;
        uint64_t mask = (UINT64_C(1) << bits) - 1;
        for (size_t i = 0; i < count; i++) {
            values[i] = (int64_t)(add + (load_bits(in, end, i * bits) & mask));
        }
    } else {
        for (size_t i = 0; i < count; i++) {
            uint64_t x;
            memcpy(&x, in + i * 8, 8);
            values[i] = (int64_t)(add + x);
        }
    }
}
