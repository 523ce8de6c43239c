/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a resolution comes back as the very same double in as few bytes as its kind needs; decimals survive. */
#include "proto/block/block.h"

#include <math.h>

#include "tests/support/check.h"

/* Encodes one constant column and returns the bytes beyond header and value. */
static size_t resolution_bytes(double resolution)
{
    BUFFER(out, 100);
    int64_t value = 7, again;
    double resolution_again = 0;
    size_t channels;
    CHECK_OK(block_encode(&value, &resolution, 1, 1, &out));
    CHECK_OK(block_decode(buffer_slice(&out), 1, 1, &again, &resolution_again, &channels));
    CHECK(memcmp(&resolution, &resolution_again, sizeof(resolution)) == 0);
    CHECK_INT(again, 7);
    return out.len - 2;
}

static void powers_of_ten_take_one_byte(void **state)
{
    (void)state;
    CHECK_INT(resolution_bytes(1), 0); /* the first column's "same as before" */
    static const double tens[] = {1e-22, 1e-9, 1e-6, 1e-3, 0.01, 0.1, 10, 100, 1e6, 1e22};
    for (size_t i = 0; i < COUNT_OF(tens); i++) {
        CHECK_INT(resolution_bytes(tens[i]), 1);
    }
}

static void short_decimals_and_rounded_steps_take_two(void **state)
{
    (void)state;
    static const double two[] = {0.5, 0.25, 5e-4, 0.125, 2, 20, 2.5e-7, 0.0254, 1.0 / 4096, 3.0 / 1024, 255e-5};
    for (size_t i = 0; i < COUNT_OF(two); i++) {
        CHECK_INT(resolution_bytes(two[i]), 2);
    }
    for (int i = 0; i < 1000; i++) {
        double wanted = exp((double)(mix_u64((uint64_t)i) % 10000) / 100 - 50);
        double rounded = block_resolution_round(wanted);
        CHECK(rounded <= wanted && rounded > wanted * (1 - 1.0 / 128));
        CHECK(resolution_bytes(rounded) <= 2);
    }
}

static void any_other_double_takes_eight_and_is_exact(void **state)
{
    (void)state;
    static const double odd[] = {1.0 / 3, 3.14159265358979, 1e-200, 1e200, 1.7e-100, 0.1 + 0.2};
    for (size_t i = 0; i < COUNT_OF(odd); i++) {
        CHECK_INT(resolution_bytes(odd[i]), 8);
    }
}

static void a_resolution_that_is_none_is_refused(void **state)
{
    (void)state;
    static const double bad[] = {0, -1, -0.0, NAN, INFINITY, -INFINITY, 1e-201, 1e201, 5e-324};
    BUFFER(out, 100);
    int64_t value = 1;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        CHECK(!block_resolution_valid(bad[i]));
        CHECK_ERR(block_encode(&value, &bad[i], 1, 1, &out), ERR_RANGE);
        CHECK_INT(out.len, 0);
    }
    CHECK(isnan(block_resolution_round(NAN)));
    CHECK(block_resolution_round(1e-190) == 1e-190);
}

static void decimals_come_back_as_the_same_double(void **state)
{
    (void)state;
    static const double resolution[] = {1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6};
    for (size_t r = 0; r < COUNT_OF(resolution); r++) {
        for (int i = 0; i < 2000; i++) {
            char text[40];
            snprintf(text, sizeof(text), "%.*f", (int)r + 1,
                     ((double)(mix_u64((uint64_t)i) % 2000000) - 1000000) / 1234.5);
            double value = strtod(text, NULL);
            CHECK(block_value(block_quantise(value, resolution[r]), resolution[r]) == value);
        }
    }
}

static void quantising_rounds_and_marks_what_has_no_value(void **state)
{
    (void)state;
    CHECK_INT(block_quantise(0.26, 0.1), 3);
    CHECK_INT(block_quantise(-0.26, 0.1), -3);
    CHECK_INT(block_quantise(1e18, 1), 1000000000000000000);
    CHECK(block_quantise(NAN, 1) == BLOCK_MISSING);
    CHECK(block_quantise(INFINITY, 1) == BLOCK_MISSING);
    CHECK(block_quantise(-INFINITY, 1) == BLOCK_MISSING);
    CHECK(block_quantise(0x1p62, 1) == BLOCK_MISSING);
    CHECK(block_quantise(-0x1p62, 1) == BLOCK_MISSING);
    CHECK(block_quantise(1e300, 1e-100) == BLOCK_MISSING);
    CHECK(isnan(block_value(BLOCK_MISSING, 1)));
    CHECK(block_value(-3, 0.5) == -1.5);
    CHECK(block_value(3, 20) == 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(powers_of_ten_take_one_byte),
        cmocka_unit_test(short_decimals_and_rounded_steps_take_two),
        cmocka_unit_test(any_other_double_takes_eight_and_is_exact),
        cmocka_unit_test(a_resolution_that_is_none_is_refused),
        cmocka_unit_test(decimals_come_back_as_the_same_double),
        cmocka_unit_test(quantising_rounds_and_marks_what_has_no_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
