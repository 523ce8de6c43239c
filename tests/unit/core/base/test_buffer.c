/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a buffer grows to its maximum and not one byte further, and its first error sticks until reset. */
#include "core/base/buffer.h"

#include "tests/support/check.h"

static void integers_have_the_byte_order_of_their_name(void **state)
{
    (void)state;
    BUFFER(b, 64);
    buffer_put_u8(&b, 1);
    buffer_put_u32be(&b, 0x02030405);
    buffer_put_u32le(&b, 0x09080706);
    buffer_put_u64be(&b, UINT64_C(0x0a0b0c0d0e0f1011));
    buffer_put_u64le(&b, UINT64_C(0x1918171615141312));
    CHECK_INT(b.len, 25);
    for (size_t i = 0; i < b.len; i++) {
        CHECK_INT(b.ptr[i], i + 1);
    }
}

static void it_fills_to_the_maximum_exactly_and_then_is_full(void **state)
{
    (void)state;
    for (size_t max = 0; max < 300; max++) {
        BUFFER(b, max);
        for (size_t i = 0; i < max; i++) {
            buffer_put_u8(&b, (uint8_t)i);
        }
        CHECK_OK(buffer_err(&b));
        CHECK_INT(b.len, max);
        CHECK(b.cap <= max);
        buffer_put_u8(&b, 0);
        CHECK_ERR(buffer_err(&b), ERR_FULL);
        CHECK_INT(b.len, max);
    }
}

static void the_first_error_sticks_until_reset(void **state)
{
    (void)state;
    BUFFER(b, 4);
    buffer_put_str(&b, "abcde");
    buffer_put_str(&b, "a"); /* would fit */
    CHECK_INT(b.len, 0);
    CHECK(buffer_extend(&b, 1) == NULL);
    CHECK_ERR(buffer_err(&b), ERR_FULL);
    buffer_reset(&b);
    buffer_put_str(&b, "abcd");
    CHECK_OK(buffer_err(&b));
    CHECK(slice_equal(buffer_slice(&b), slice_str("abcd")));
}

static void a_length_that_would_overflow_is_full(void **state)
{
    (void)state;
    BUFFER(b, SIZE_MAX);
    buffer_put_u8(&b, 1);
    CHECK(buffer_extend(&b, SIZE_MAX) == NULL);
    CHECK_ERR(buffer_err(&b), ERR_FULL);
}

static void printf_of_any_length_fits_up_to_the_maximum(void **state)
{
    (void)state;
    for (int len = 1; len <= 600; len++) {
        for (int slack = -1; slack <= 1; slack++) {
            BUFFER(b, (size_t)(3 + len + slack));
            buffer_put_str(&b, "abc");
            buffer_printf(&b, "%0*d", len, 7);
            CHECK_ERR(buffer_err(&b), slack < 0 ? ERR_FULL : OK);
            CHECK_INT(b.len, slack < 0 ? 3 : 3 + len);
            CHECK_INT(b.ptr[b.len - 1], slack < 0 ? 'c' : '7');
        }
    }
}

static void reset_keeps_the_memory_and_deinit_may_come_twice(void **state)
{
    (void)state;
    struct buffer b;
    buffer_init(&b, 1000);
    buffer_put_str(&b, "text");
    const uint8_t *before = b.ptr;
    buffer_reset(&b);
    buffer_put_str(&b, "more");
    CHECK(b.ptr == before);
    buffer_put_slice(&b, slice_of(NULL, 0));
    CHECK_INT(b.len, 4);
    buffer_deinit(&b);
    buffer_deinit(&b);
    CHECK_INT(b.len, 0);
}

static void its_text_ends_with_a_zero_whether_there_is_room_or_not(void **state)
{
    (void)state;
    for (size_t max = 0; max < 12; max++) {
        BUFFER(b, max);
        CHECK_STR(buffer_text(&b), "");
        buffer_reset(&b);
        for (size_t i = 0; i < 4; i++) {
            buffer_put_str(&b, "abc"); /* the first that does not fit stays out, as all behind it */
        }
        size_t fits = max / 3 * 3; /* below 12: there never was room for all */
        CHECK_INT(strlen(buffer_text(&b)), fits > 0 ? fits - 1 : 0);
    }
    BUFFER(b, 16);
    buffer_put_str(&b, "whole");
    CHECK_STR(buffer_text(&b), "whole");
}

static void its_first_line_is_all_of_it_where_there_is_no_end(void **state)
{
    (void)state;
    BUFFER(b, 16);
    CHECK_INT(buffer_line(&b).len, 0);
    buffer_put_str(&b, "one");
    CHECK(slice_equal(buffer_line(&b), slice_str("one")));
    buffer_put_str(&b, "\ntwo\n");
    CHECK(slice_equal(buffer_line(&b), slice_str("one")));
    buffer_reset(&b);
    buffer_put_str(&b, "\n");
    CHECK_INT(buffer_line(&b).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_have_the_byte_order_of_their_name),
        cmocka_unit_test(it_fills_to_the_maximum_exactly_and_then_is_full),
        cmocka_unit_test(the_first_error_sticks_until_reset),
        cmocka_unit_test(a_length_that_would_overflow_is_full),
        cmocka_unit_test(printf_of_any_length_fits_up_to_the_maximum),
        cmocka_unit_test(reset_keeps_the_memory_and_deinit_may_come_twice),
        cmocka_unit_test(its_text_ends_with_a_zero_whether_there_is_room_or_not),
        cmocka_unit_test(its_first_line_is_all_of_it_where_there_is_no_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
