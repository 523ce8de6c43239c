/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: what the writer writes is JSON that reads back, whatever strings and numbers it is given. */
#include "core/base/json.h"

#include <float.h>
#include <math.h>

#include "tests/support/check.h"

static const char *text(struct buffer *b)
{
    buffer_put_u8(b, 0);
    CHECK_OK(buffer_err(b));
    return (const char *)b->ptr;
}

static void commas_and_keys_stand_where_they_belong(void **state)
{
    (void)state;
    BUFFER(b, 1000);
    struct json j;
    json_init(&j, &b);
    json_object(&j, NULL);
    json_str(&j, "id", "pump-7");
    json_array(&j, "links");
    json_object(&j, NULL);
    json_bool(&j, "up", true);
    json_object_end(&j);
    json_object(&j, NULL);
    json_object_end(&j);
    json_u64(&j, NULL, UINT64_MAX);
    json_array_end(&j);
    json_array(&j, "none");
    json_array_end(&j);
    json_i64(&j, "low", INT64_MIN);
    json_hex(&j, "epoch", 0xabc);
    json_str(&j, "null", NULL);
    json_bool(&j, "ok", false);
    json_object_end(&j);
    CHECK_STR(text(&b), "{\"id\":\"pump-7\",\"links\":[{\"up\":true},{},18446744073709551615],\"none\":[],"
                        "\"low\":-9223372036854775808,\"epoch\":\"0000000000000abc\",\"null\":null,\"ok\":false}");
}

static void check_string(struct slice value, const char *expected)
{
    BUFFER(b, 1000);
    struct json j;
    json_init(&j, &b);
    json_slice(&j, NULL, value);
    CHECK_STR(text(&b), expected);
}

static void strings_are_escaped_and_broken_utf8_is_replaced(void **state)
{
    (void)state;
    check_string(slice_str(""), "\"\"");
    check_string(slice_str("a\"b\\c/"), "\"a\\\"b\\\\c/\"");
    check_string(slice_str("\n\r\t\x01\x1f"), "\"\\n\\r\\t\\u0001\\u001f\"");
    check_string(slice_of("a\0b", 3), "\"a\\u0000b\"");
    check_string(slice_str("\xc2\xb0 \xe2\x82\xac \xf0\x9f\x98\x80"), "\"\xc2\xb0 \xe2\x82\xac \xf0\x9f\x98\x80\"");
    check_string(slice_str("a\xff\xc3"), "\"a\xef\xbf\xbd\xef\xbf\xbd\"");
    check_string(slice_str("\xed\xa0\x80z"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\"");
}

static void a_key_is_escaped_like_a_value(void **state)
{
    (void)state;
    BUFFER(b, 100);
    struct json j;
    json_init(&j, &b);
    json_u64(&j, "a\"b", 1);
    CHECK_STR(text(&b), "\"a\\\"b\":1");
}

static void check_number(double value, const char *expected)
{
    BUFFER(b, 100);
    struct json j;
    json_init(&j, &b);
    json_f64(&j, NULL, value);
    const char *shown = text(&b);
    if (expected != NULL) {
        CHECK_STR(shown, expected);
    } else {
        double back = strtod(shown, NULL);
        CHECK(memcmp(&back, &value, sizeof(back)) == 0);
    }
}

static void doubles_are_short_and_read_back_bit_for_bit(void **state)
{
    (void)state;
    check_number(0.1, "0.1");
    check_number(-0.0, "-0");
    check_number(21.5, "21.5");
    check_number(1e300, "1e+300");
    check_number(0.1 + 0.2, "0.30000000000000004");
    check_number(NAN, "null");
    check_number(INFINITY, "null");
    check_number(-INFINITY, "null");
    check_number(DBL_MAX, NULL);
    check_number(DBL_TRUE_MIN, NULL);
    for (uint64_t i = 0; i < 10000; i++) {
        uint64_t bits = mix_u64(i);
        double value;
        memcpy(&value, &bits, sizeof(value));
        if (isfinite(value)) {
            check_number(value, NULL);
        }
    }
}

static void decimals_look_as_a_person_writes_them(void **state)
{
    (void)state;
    check_number(0, "0");
    check_number(-0.05, "-0.05");
    check_number(1.000001, "1.000001");
    check_number(0.0001, "0.0001");
    check_number(0.00001, "1e-05");
    check_number(999999999, "999999999");
    check_number(1e15, "1e+15");
    for (uint64_t i = 0; i < 20000; i++) {
        static const double steps[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 64, 3};
        double value = (double)((int64_t)mix_u64(i) >> (12 + i % 48)) / steps[i % COUNT_OF(steps)];
        char usual[40];
        (void)snprintf(usual, sizeof(usual), "%.15g", value);
        check_number(value, strtod(usual, NULL) == value ? usual : NULL);
    }
}

static void an_overflow_shows_in_the_buffer(void **state)
{
    (void)state;
    BUFFER(b, 5);
    struct json j;
    json_init(&j, &b);
    json_str(&j, NULL, "too long");
    CHECK_ERR(buffer_err(&b), ERR_FULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commas_and_keys_stand_where_they_belong),
        cmocka_unit_test(strings_are_escaped_and_broken_utf8_is_replaced),
        cmocka_unit_test(a_key_is_escaped_like_a_value),
        cmocka_unit_test(doubles_are_short_and_read_back_bit_for_bit),
        cmocka_unit_test(decimals_look_as_a_person_writes_them),
        cmocka_unit_test(an_overflow_shows_in_the_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
