/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: every type of value is read exactly, within its bounds, and written back so that it reads the same; nearest
 * names are those that a person would have meant.
 */
#include <math.h>
#include <string.h>

#include "core/options/options_internal.h"
#include "tests/support/check.h"

struct settings {
    char *text;
    int64_t whole;
    double number;
    bool flag;
    int word;
};
static struct settings settings;
static struct fault why;

static enum err parse_field(enum option_type type, size_t offset, const char *value, double min, double max)
{
    const struct option row = {
        .name = "x", .type = type, .offset = offset, .words = "slow|fast", .min = min, .max = max};
    struct option_text text = {.scalar = slice_str(value)};
    return option_parse(&row, &text, "/etc/weir/", &settings, &why);
}
#define WHOLE(type, value) parse_field((type), offsetof(struct settings, whole), (value), 0, 0)

static void durations_have_units(void **state)
{
    (void)state;
    const struct {
        const char *text;
        int64_t us;
    } good[] = {{"250us", 250},          {"20ms", 20000},       {"5s", 5000000},          {"1.5s", 1500000},
                {"10min", 600000000},    {"2h", 7200000000},    {"7d", 604800000000},     {"0", 0},
                {"0s", 0},               {"5 s", 5000000},      {"0.25h", 900000000}};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        CHECK_OK(WHOLE(OPTION_DURATION, good[i].text));
        CHECK_INT(settings.whole, good[i].us);
    }
    const char *bad[] = {"5", "s", "", "-5s", "5 m", "5sec", "1e3s", "0x5s", "5s5s", "..s", "1..5s", "5s ", "infs",
                         "5\xc2\xb5s"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        settings.whole = -77;
        CHECK(WHOLE(OPTION_DURATION, bad[i]) != OK);
        CHECK_INT(settings.whole, -77);
    }
    CHECK_ERR(WHOLE(OPTION_DURATION, "99999999999999d"), ERR_RANGE);
    CHECK_INT(settings.whole, INT64_C(1000000000000000000)); /* for whoever checks further */
    CHECK_ERR(WHOLE(OPTION_DURATION, "0.1us"), ERR_RANGE);
    CHECK_INT(settings.whole, 1);
    CHECK_ERR(WHOLE(OPTION_DURATION, "5S"), ERR_MALFORMED);
    CHECK_CONTAINS(why.text, "unknown unit \"S\"; did you mean s? (units: us, ms, s, min, h, d)");
}

static void sizes_are_powers_of_two(void **state)
{
    (void)state;
    CHECK_OK(WHOLE(OPTION_BYTES, "512B"));
    CHECK_INT(settings.whole, 512);
    CHECK_OK(WHOLE(OPTION_BYTES, "1.5KiB"));
    CHECK_INT(settings.whole, 1536);
    CHECK_OK(WHOLE(OPTION_BYTES, "2TiB"));
    CHECK_INT(settings.whole, INT64_C(2) << 40);
    CHECK_ERR(WHOLE(OPTION_BYTES, "64MB"), ERR_MALFORMED);
    CHECK_ERR(WHOLE(OPTION_BYTES, "64"), ERR_MALFORMED);
    CHECK_CONTAINS(why.text, "has no unit; write for example 64MiB");
    CHECK_ERR(WHOLE(OPTION_BYTES, "9999999999TiB"), ERR_RANGE);
}

static void whole_numbers_are_whole_and_in_range(void **state)
{
    (void)state;
    CHECK_OK(WHOLE(OPTION_INT, "-9223372036854775808"));
    CHECK(settings.whole == INT64_MIN);
    CHECK_ERR(WHOLE(OPTION_INT, "9223372036854775808"), ERR_RANGE);
    const char *bad[] = {"", "-", "1.0", "1e3", "0x10", " 1", "1 ", "1_000", "--1"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        CHECK_ERR(WHOLE(OPTION_INT, bad[i]), ERR_MALFORMED);
    }
    size_t at = offsetof(struct settings, whole);
    CHECK_OK(parse_field(OPTION_INT, at, "65535", 1, 65535));
    CHECK_ERR(parse_field(OPTION_INT, at, "65536", 1, 65535), ERR_RANGE);
    CHECK_ERR(parse_field(OPTION_INT, at, "0", 1, 0), ERR_RANGE);
    CHECK_STR(why.text, "\"0\" is outside at least 1");
    CHECK_OK(parse_field(OPTION_INT, at, "-3", -5, 0));
    CHECK_ERR(parse_field(OPTION_INT, at, "1", -5, 0), ERR_RANGE);
    CHECK_ERR(parse_field(OPTION_DURATION, at, "10ms", 1e6, 60e6), ERR_RANGE);
    CHECK_STR(why.text, "\"10ms\" is outside 1s..1min");
}

static void numbers_are_finite_unless_infinity_is_meant(void **state)
{
    (void)state;
    size_t at = offsetof(struct settings, number);
    CHECK_OK(parse_field(OPTION_NUMBER, at, "-1.5e-3", 0, 0));
    CHECK(settings.number == -1.5e-3);
    CHECK_OK(parse_field(OPTION_NUMBER, at, "-.inf", 0, 0));
    CHECK(isinf(settings.number) && settings.number < 0);
    const char *bad[] = {"nan", ".nan", "1e999", "0x1p3", "1,5", "", "e", "infinity"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        CHECK_ERR(parse_field(OPTION_NUMBER, at, bad[i], 0, 0), ERR_MALFORMED);
    }
    CHECK_ERR(parse_field(OPTION_NUMBER, at, "inf", 0, 1), ERR_RANGE);
}

static void words_and_flags_are_exact(void **state)
{
    (void)state;
    CHECK_OK(parse_field(OPTION_ENUM, offsetof(struct settings, word), "fast", 0, 0));
    CHECK_INT(settings.word, 1);
    CHECK_ERR(parse_field(OPTION_ENUM, offsetof(struct settings, word), "fas", 0, 0), ERR_RANGE);
    CHECK_STR(why.text, "\"fas\" is none of slow|fast (did you mean fast?)");
    CHECK_ERR(parse_field(OPTION_ENUM, offsetof(struct settings, word), "", 0, 0), ERR_RANGE);
    CHECK_ERR(parse_field(OPTION_ENUM, offsetof(struct settings, word), "slow|fast", 0, 0), ERR_RANGE);
    CHECK_OK(parse_field(OPTION_BOOL, offsetof(struct settings, flag), "on", 0, 0));
    CHECK(settings.flag);
    CHECK_OK(parse_field(OPTION_BOOL, offsetof(struct settings, flag), "false", 0, 0));
    CHECK(!settings.flag);
    CHECK_ERR(parse_field(OPTION_BOOL, offsetof(struct settings, flag), "1", 0, 0), ERR_MALFORMED);
}

static void paths_start_at_the_file_and_files_must_be_readable(void **state)
{
    (void)state;
    CHECK_OK(parse_field(OPTION_PATH, 0, "ca.pem", 0, 0));
    CHECK_STR(settings.text, "/etc/weir/ca.pem");
    CHECK_OK(parse_field(OPTION_PATH, 0, "/run/x", 0, 0));
    CHECK_STR(settings.text, "/run/x");
    CHECK_OK(parse_field(OPTION_FILE, 0, "", 0, 0));
    CHECK_STR(settings.text, "");
    CHECK_ERR(parse_field(OPTION_FILE, 0, "/", 0, 0), ERR_RANGE);
    CHECK_CONTAINS(why.text, "is not a file");
    CHECK_ERR(parse_field(OPTION_FILE, 0, "no-such-file", 0, 0), ERR_RANGE);
    CHECK_CONTAINS(why.text, "cannot read the file \"/etc/weir/no-such-file\": No such file");
    CHECK_STR(settings.text, ""); /* a bad value leaves the field alone */
    CHECK_OK(parse_field(OPTION_FILE, 0, "/proc/self/stat", 0, 0));
    free(settings.text);
    settings.text = NULL;
}

static void what_is_written_reads_back_the_same(void **state)
{
    (void)state;
    const struct option rows[] = {{.type = OPTION_DURATION, .offset = offsetof(struct settings, whole)},
                                  {.type = OPTION_BYTES, .offset = offsetof(struct settings, whole)},
                                  {.type = OPTION_INT, .offset = offsetof(struct settings, whole)}};
    for (size_t r = 0; r < COUNT_OF(rows); r++) {
        for (uint64_t i = 0; i < 200; i++) {
            int64_t value = (int64_t)(mix_u64(i) >> (12 + i % 50)); /* below 2^53: what a double holds */
            value -= i % 3 == 0 ? value % 1000000 : 0;
            settings.whole = value;
            BUFFER(out, 100);
            CHECK(option_write(&rows[r], &settings, &out));
            struct option_text text = {.scalar = buffer_slice(&out)};
            CHECK_OK(option_parse(&rows[r], &text, "", &settings, &why));
            CHECK_INT(settings.whole, value);
        }
    }
}

static const char *nearest(const char *word)
{
    const char *names[] = {"site",      "broker.host", "broker.port", "parent.port",
                           "log.level", "--check",     "status",      "tail"};
    struct options_nearest n = {.word = word};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        options_nearest_offer(&n, names[i]);
    }
    return n.best ? n.best : "(none)";
}

static void the_nearest_name_is_what_was_meant(void **state)
{
    (void)state;
    CHECK_STR(nearest("broker.prot"), "broker.port");
    CHECK_STR(nearest("parent.prot"), "parent.port");
    CHECK_STR(nearest("broker.hst"), "broker.host");
    CHECK_STR(nearest("level"), "log.level");
    CHECK_STR(nearest("--chek"), "--check");
    CHECK_STR(nearest("satus"), "status");
    CHECK_STR(nearest("tial"), "tail");
    CHECK_STR(nearest("zebra"), "(none)");
    CHECK_STR(nearest(""), "(none)");
    CHECK_STR(nearest("x"), "(none)");
    char longest[300];
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    CHECK_STR(nearest(longest), "(none)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_have_units),
        cmocka_unit_test(sizes_are_powers_of_two),
        cmocka_unit_test(whole_numbers_are_whole_and_in_range),
        cmocka_unit_test(numbers_are_finite_unless_infinity_is_meant),
        cmocka_unit_test(words_and_flags_are_exact),
        cmocka_unit_test(paths_start_at_the_file_and_files_must_be_readable),
        cmocka_unit_test(what_is_written_reads_back_the_same),
        cmocka_unit_test(the_nearest_name_is_what_was_meant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
