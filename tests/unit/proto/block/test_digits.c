/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: digits of every range and count come back from the bits they were given, and reading stays within the input. */
#include "proto/block/block_internal.h"

#include "tests/support/check.h"

enum { COUNT_MAX = 70 };

/* A digit within 0..max that hits both ends often. */
static uint64_t some_digit(uint64_t seed, uint64_t max)
{
    uint64_t r = mix_u64(seed);
    return r % 4 == 0 ? max : r % 4 == 1 ? 0 : max == UINT64_MAX ? mix_u64(r) : mix_u64(r) % (max + 1);
}

static void round_trip(uint64_t max, size_t count, uint64_t add)
{
    uint64_t digits[COUNT_MAX];
    int64_t values[COUNT_MAX + 1];
    unsigned code = digits_code(max);
    size_t len = digits_bytes(count, code);
    uint8_t *bytes = malloc(len + 1); /* of its own, so that the sanitizer sees a read or write beyond */
    CHECK(bytes != NULL && digits_code_valid(code));
    bytes = realloc(bytes, len ? len : 1);
    for (size_t i = 0; i < count; i++) {
        digits[i] = some_digit(max * 31 + count * 7 + i, max);
    }
    values[count] = 4711;
    digits_write(digits, count, code, bytes);
    digits_read(bytes, bytes + len, count, code, add, values);
    for (size_t i = 0; i < count; i++) {
        CHECK((uint64_t)values[i] == add + digits[i]);
        CHECK(digits_bound_bits(code) >= 64 || digits[i] >> digits_bound_bits(code) == 0);
    }
    CHECK_INT(values[count], 4711);
    free(bytes);
}

static void digits_of_every_range_and_count_come_back(void **state)
{
    (void)state;
    for (uint64_t max = 0; max < 20000; max += max < 600 ? 1 : 97) {
        for (size_t count = 0; count <= COUNT_MAX; count += max < 40 ? 1 : 11) {
            round_trip(max, count, max);
        }
    }
    for (unsigned bits = 1; bits <= 64; bits++) {
        uint64_t top = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
        for (size_t count = 0; count <= 9; count++) {
            round_trip(top, count, 0);
            round_trip(top - 1, count, UINT64_MAX - 5);
            round_trip(top / 2 + 1, count, 1);
        }
    }
}

static void a_range_costs_its_logarithm_to_a_quarter_of_a_bit(void **state)
{
    (void)state;
    CHECK_INT(digits_code(0), 0);
    CHECK_INT(digits_code(1), 4);
    CHECK_INT(digits_code(2), 7);
    CHECK_INT(digits_code(607), 37); /* 9.25 bits; a whole number of bits would be 10 */
    CHECK_INT(digits_bytes(32, 37), 37);
    CHECK_INT(digits_code(16383), 56);
    CHECK_INT(digits_code(16384), 57);
    CHECK_INT(digits_code(UINT64_MAX), DIGITS_WHOLE);
}

/* The radices are part of the format: floor(2^(code / 4)), to the last one. */
static void every_radix_is_the_largest_whose_fourth_power_fits(void **state)
{
    (void)state;
    for (unsigned code = 4; code <= DIGITS_GROUP_MAX; code++) {
        uint64_t radix = 2;
        while ((radix + 1) * (radix + 1) * (radix + 1) * (radix + 1) <= UINT64_C(1) << code) {
            radix++;
        }
        CHECK(digits_code(radix - 1) <= code);
        CHECK(digits_code(radix) > code);
    }
}

static void codes_that_no_range_needs_are_invalid(void **state)
{
    (void)state;
    static const unsigned unused[] = {1, 2, 3, 5, 6, 9, 101, 128, 255};
    for (size_t i = 0; i < COUNT_OF(unused); i++) {
        CHECK(!digits_code_valid(unused[i]));
    }
    for (unsigned code = 10; code <= DIGITS_WHOLE; code++) {
        CHECK(digits_code_valid(code));
    }
}

/* Any bits decode: the digits stay within the bound that block_check and the dictionary rely on. */
static void garbage_stays_within_the_bound(void **state)
{
    (void)state;
    uint8_t bytes[64];
    int64_t values[16];
    for (unsigned code = 0; code < DIGITS_PLAIN_MAX; code++) {
        for (uint64_t seed = 0; seed < 200 && digits_code_valid(code); seed++) {
            for (size_t i = 0; i < sizeof(bytes); i++) {
                bytes[i] = seed == 0 ? 0xff : (uint8_t)mix_u64(seed << 20 | code << 8 | i);
            }
            size_t count = seed % 8 + 1, len = digits_bytes(count, code);
            digits_read(bytes, bytes + len, count, code, 0, values);
            for (size_t i = 0; i < count; i++) {
                CHECK((uint64_t)values[i] >> digits_bound_bits(code) == 0);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digits_of_every_range_and_count_come_back),
        cmocka_unit_test(a_range_costs_its_logarithm_to_a_quarter_of_a_bit),
        cmocka_unit_test(every_radix_is_the_largest_whose_fourth_power_fits),
        cmocka_unit_test(codes_that_no_range_needs_are_invalid),
        cmocka_unit_test(garbage_stays_within_the_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
