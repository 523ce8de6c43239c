/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: readings are shown once each, in the order of the sink, and what is not a reading is refused.
 */
#include <string.h>

#include "cloud-bridge/console/console_internal.h"
#include "tests/support/check.h"

static const char *const READINGS =
    "{\"readings\":[{\"row\":65536,\"ts\":\"2026-01-01T00:00:00.000000Z\",\"device\":\"p\",\"channel\":\"temp\","
    "\"value\":20.5,\"unit\":\"Cel\",\"epoch\":\"00000000000000aa\",\"number\":1},"
    "{\"row\":65537,\"ts\":\"2026-01-01T00:00:01.000000Z\",\"device\":\"p\",\"channel\":\"flow\",\"value\":null,"
    "\"unit\":null,\"epoch\":\"00000000000000aa\",\"number\":1}]}";

static enum err lines(const char *text, bool json, int64_t *cursor, struct buffer *out, size_t *ret_count)
{
    cJSON *doc = cJSON_Parse(text);
    buffer_reset(out);
    enum err err = tail_lines(doc, json, cursor, out, ret_count);
    cJSON_Delete(doc);
    buffer_put_u8(out, 0);
    return err;
}

static void a_reading_is_a_line(void **state)
{
    (void)state;
    BUFFER(out, 4096);
    int64_t cursor = -1;
    size_t count;
    CHECK_OK(lines(READINGS, false, &cursor, &out, &count));
    CHECK_STR((const char *)out.ptr, "2026-01-01T00:00:00.000000Z  temp                           20.5 Cel\n"
                                     "2026-01-01T00:00:01.000000Z  flow                              - \n");
    CHECK_INT(count, 2);
    CHECK_INT(cursor, 65537);
}

static void what_was_shown_is_not_shown_again(void **state)
{
    (void)state;
    BUFFER(out, 4096);
    int64_t cursor = 65536;
    size_t count;
    CHECK_OK(lines(READINGS, false, &cursor, &out, &count));
    CHECK_INT(count, 1);
    CHECK(strstr((const char *)out.ptr, "temp") == NULL);
    CHECK_OK(lines(READINGS, false, &cursor, &out, &count));
    CHECK_INT(count, 0);
    CHECK_STR((const char *)out.ptr, "");
}

static void json_is_an_object_a_line(void **state)
{
    (void)state;
    BUFFER(out, 4096);
    int64_t cursor = -1;
    size_t count;
    CHECK_OK(lines(READINGS, true, &cursor, &out, &count));
    CHECK_CONTAINS((const char *)out.ptr, "{\"row\":65536,\"ts\":\"2026-01-01T00:00:00.000000Z\"");
    CHECK_CONTAINS((const char *)out.ptr, "\"number\":1}\n{\"row\":65537,");
}

static void controls_do_not_reach_the_terminal(void **state)
{
    (void)state;
    BUFFER(out, 4096);
    int64_t cursor = -1;
    size_t count;
    CHECK_OK(lines("{\"readings\":[{\"row\":1,\"ts\":\"\\u001b[2J\",\"channel\":\"a\\nb\",\"value\":1,"
                   "\"unit\":\"\\u009b\\u00b0C\"}]}",
                   false, &cursor, &out, &count));
    CHECK(strchr((const char *)out.ptr, '\033') == NULL);
    CHECK_CONTAINS((const char *)out.ptr, "a?b");
    CHECK_CONTAINS((const char *)out.ptr, "?\xc2\xb0""C\n");
}

static void what_is_no_reading_is_refused(void **state)
{
    (void)state;
    BUFFER(out, 4096);
    const char *bad[] = {"{}", "{\"readings\":5}", "{\"readings\":[1]}",
                         "{\"readings\":[{\"row\":-1,\"channel\":\"a\"}]}",
                         "{\"readings\":[{\"row\":1.5,\"channel\":\"a\"}]}", "{\"readings\":[{\"row\":1}]}"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        int64_t cursor = -1;
        size_t count;
        CHECK_ERR(lines(bad[i], false, &cursor, &out, &count), ERR_MALFORMED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reading_is_a_line),
        cmocka_unit_test(what_was_shown_is_not_shown_again),
        cmocka_unit_test(json_is_an_object_a_line),
        cmocka_unit_test(controls_do_not_reach_the_terminal),
        cmocka_unit_test(what_is_no_reading_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
