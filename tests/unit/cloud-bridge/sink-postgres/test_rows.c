/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: rows are the bytes that COPY in binary form wants, and settings that would talk in the clear to another
 * machine are refused. What the server makes of the rows is seen in tests/system/sinks. */
#include "cloud-bridge/sink-postgres/sink_postgres_internal.h"
#include "tests/unit/cloud-bridge/sinks/batch.h"

static const char *hex(const struct buffer *b)
{
    static char text[1024];
    text[0] = '\0';
    for (size_t i = 0; i < b->len && i < 500; i++) {
        snprintf(text + 2 * i, 3, "%02x", b->ptr[i]);
    }
    return text;
}

static void fields_have_their_length_in_front_and_stand_big_endian(void **state)
{
    (void)state;
    BUFFER(b, 4096);
    copy_row(&b, 9);
    copy_i16(&b, -2);
    copy_i32(&b, 258);
    copy_i64(&b, 3);
    copy_f64(&b, -0.5);
    copy_bool(&b, true);
    copy_text(&b, "ab");
    copy_hex(&b, 0xabc);
    copy_bytes(&b, slice_of("\0", 1));
    CHECK_STR(hex(&b), "0009" "00000002fffe" "0000000400000102" "000000080000000000000003" "00000008bfe0000000000000"
                       "0000000101" "000000026162" "0000001030303030303030303030303030616263" "0000000100");
}

static void what_a_column_cannot_hold_is_cut_to_its_end(void **state)
{
    (void)state;
    BUFFER(b, 4096);
    copy_i64(&b, UINT64_MAX);
    copy_i32(&b, INT64_MAX);
    copy_i16(&b, -100000);
    CHECK_STR(hex(&b), "000000087fffffffffffffff" "000000047fffffff" "000000028000");
}

static void times_count_from_2000_and_end_with_the_year_9999(void **state)
{
    (void)state;
    BUFFER(b, 4096);
    copy_time(&b, UINT64_C(946684800000001));
    copy_time(&b, 0);
    copy_time(&b, UINT64_MAX);
    CHECK_STR(hex(&b), "000000080000000000000001" "00000008fffca2fec4c82000" "000000080380e70b913b7fff");
}

static enum err check_url(const char *url, struct buffer *problems)
{
    char text[300], empty[] = "";
    struct postgres_settings s = {.url = text, .password_file = empty, .schema = empty};
    snprintf(text, sizeof(text), "%s", url);
    buffer_reset(problems);
    enum err err = weir_sink_module.check(&s, problems);
    buffer_put_u8(problems, '\0');
    return err;
}

static void a_server_elsewhere_needs_a_word_about_tls(void **state)
{
    (void)state;
    BUFFER(problems, 4096);
    CHECK_OK(check_url("postgresql:///weir", &problems));
    CHECK_OK(check_url("host=/run/postgresql dbname=weir", &problems));
    CHECK_OK(check_url("postgresql://u@localhost:5433,127.0.0.2/weir", &problems));
    CHECK_OK(check_url("postgresql://u@db.example.org/weir?sslmode=verify-full&sslrootcert=ca.crt", &problems));
    CHECK_OK(check_url("postgresql://u@db.example.org/weir?sslmode=disable", &problems));
    CHECK_ERR(check_url("postgresql://u@db.example.org/weir", &problems), ERR_RANGE);
    CHECK_CONTAINS((const char *)problems.ptr, "url: a server on another machine needs sslmode=verify-full");
    CHECK_ERR(check_url("postgresql://u@localhost,db.example.org/weir", &problems), ERR_RANGE);
    CHECK_ERR(check_url("postgresql://u@local host/weir?nonsense=1", &problems), ERR_RANGE);
    CHECK_CONTAINS((const char *)problems.ptr, "url: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_have_their_length_in_front_and_stand_big_endian),
        cmocka_unit_test(what_a_column_cannot_hold_is_cut_to_its_end),
        cmocka_unit_test(times_count_from_2000_and_end_with_the_year_9999),
        cmocka_unit_test(a_server_elsewhere_needs_a_word_about_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
