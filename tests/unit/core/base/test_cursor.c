/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: no read leaves the bytes given, the first failure sticks, and varints are read strictly. */
#include "core/base/cursor.h"

#include "core/base/buffer.h"

#include "tests/support/check.h"

static void reads_in_order_and_ends_exactly(void **state)
{
    (void)state;
    const uint8_t bytes[] = {7, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 0xff, 0, 0, 0, 'a', 'b'};
    struct cursor c = cursor_of(slice_of(bytes, sizeof(bytes)));
    CHECK_INT(cursor_u8(&c), 7);
    CHECK(cursor_u64be(&c) == UINT64_C(0x0102030405060708));
    CHECK_INT(cursor_u16be(&c), 1);
    CHECK_INT(cursor_u32le(&c), 255);
    CHECK_ERR(cursor_end(&c), ERR_MALFORMED);
    CHECK(slice_equal(cursor_bytes(&c, 2), slice_str("ab")));
    CHECK_OK(cursor_end(&c));
}

static void a_read_past_the_end_yields_nothing_and_sticks(void **state)
{
    (void)state;
    uint8_t *bytes = malloc(3); /* of the exact size, so that a sanitizer sees a read beyond it */
    memset(bytes, 9, 3);
    struct cursor c = cursor_of(slice_of(bytes, 3));
    CHECK(cursor_u32le(&c) == 0);
    CHECK_INT(cursor_u8(&c), 0);
    CHECK_ERR(cursor_err(&c), ERR_MALFORMED);
    c = cursor_of(slice_of(bytes, 3));
    CHECK(cursor_bytes(&c, UINT64_MAX).ptr == NULL);
    CHECK_ERR(cursor_err(&c), ERR_MALFORMED);
    free(bytes);
}

static void nothing_is_read_from_an_empty_slice(void **state)
{
    (void)state;
    struct cursor c = cursor_of(slice_of(NULL, 0));
    CHECK_OK(cursor_end(&c));
    CHECK_INT(cursor_bytes(&c, 0).len, 0);
    CHECK_INT(cursor_u8(&c), 0);
    CHECK_ERR(cursor_err(&c), ERR_MALFORMED);
}

static void varints_of_all_sizes_come_back(void **state)
{
    (void)state;
    BUFFER(b, 1000);
    for (unsigned shift = 0; shift < 64; shift++) {
        buffer_put_varint(&b, UINT64_C(1) << shift);
        buffer_put_varint(&b, (UINT64_C(1) << shift) - 1);
    }
    buffer_put_varint(&b, UINT64_MAX);
    CHECK_OK(buffer_err(&b));
    struct cursor c = cursor_of(buffer_slice(&b));
    for (unsigned shift = 0; shift < 64; shift++) {
        CHECK(cursor_varint(&c) == UINT64_C(1) << shift);
        CHECK(cursor_varint(&c) == (UINT64_C(1) << shift) - 1);
    }
    CHECK(cursor_varint(&c) == UINT64_MAX);
    CHECK_OK(cursor_end(&c));
}

static void a_varint_that_is_cut_or_over_64_bits_is_refused(void **state)
{
    (void)state;
    const char *bad[] = {"\xff", "\x80\x80", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
                         "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct cursor c = cursor_of(slice_str(bad[i]));
        CHECK(cursor_varint(&c) == 0);
        CHECK_ERR(cursor_err(&c), ERR_MALFORMED);
    }
}

static void zigzag_maps_both_signs_and_back(void **state)
{
    (void)state;
    const int64_t values[] = {0, -1, 1, -2, 2, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        CHECK(zigzag_decode(zigzag_encode(values[i])) == values[i]);
    }
    CHECK(zigzag_encode(-1) == 1);
    CHECK(zigzag_encode(1) == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_in_order_and_ends_exactly),
        cmocka_unit_test(a_read_past_the_end_yields_nothing_and_sticks),
        cmocka_unit_test(nothing_is_read_from_an_empty_slice),
        cmocka_unit_test(varints_of_all_sizes_come_back),
        cmocka_unit_test(a_varint_that_is_cut_or_over_64_bits_is_refused),
        cmocka_unit_test(zigzag_maps_both_signs_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
