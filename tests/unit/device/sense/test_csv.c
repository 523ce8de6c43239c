/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: recorded series of any usual shape become channels and samples; mistakes near the top are told with file and
 * line, later ones cost a missing value and no more.
 */
#include "device/sense/sense.h"

#include <math.h>

#include "tests/support/check.h"
#include "tests/unit/device/sense/scratch.h"

static struct sense *open_csv(const struct scratch *s, const char *name, struct sense_options options)
{
    struct sense *sense = NULL;
    struct fault fault = {0};
    options.driver = "csv";
    options.path = scratch_path(s, name);
    if (sense_open(s->loop, &options, &sense, &fault) != OK) {
        fail_msg("open failed: %s", fault.text);
    }
    return sense;
}

static void expect_fault(const struct scratch *s, const char *name, enum err code, const char *part)
{
    struct sense *sense = NULL;
    struct fault fault = {0};
    struct sense_options options = {.driver = "csv", .path = scratch_path(s, name)};
    CHECK_ERR(sense_open(s->loop, &options, &sense, &fault), code);
    CHECK_CONTAINS(fault.text, part);
    CHECK(sense == NULL);
}

static void expect_row(struct sense *sense, size_t count, const double *expected)
{
    double values[SENSE_CHANNELS_MAX];
    CHECK_OK(sense_read(sense, NULL, values));
    for (size_t i = 0; i < count; i++) {
        if (values[i] != expected[i] && !(isnan(values[i]) && isnan(expected[i]))) {
            fail_msg("value %zu is %g, expected %g", i, values[i], expected[i]);
        }
    }
}
#define EXPECT_ROW(sense, ...)                                                                                         \
    expect_row((sense), sizeof((const double[]){__VA_ARGS__}) / sizeof(double), (const double[]){__VA_ARGS__})

static void a_skab_file_has_its_channels_units_and_labels(void **state)
{
    struct scratch *s = *state;
    scratch_write(s, "a/skab.csv",
                  "datetime;Accelerometer1RMS;Current;Volume Flow RateRMS;anomaly;changepoint\n"
                  "2020-03-09 10:14:33;0.026588;1.33020;32.0;0.0;0.0\n"
                  "2020-03-09 10:14:34;0.026170;1.35399;31.5;1.0;0.0\n");
    struct sense *sense = open_csv(s, "a/skab.csv", (struct sense_options){0});
    size_t count;
    const struct sense_channel *c = sense_channels(sense, &count);
    CHECK_INT(count, 5);
    CHECK_STR(c[0].name, "Accelerometer1RMS");
    CHECK_STR(c[0].unit, "[g]");
    CHECK(c[0].resolution == 1e-6);
    CHECK_STR(c[1].unit, "A");
    CHECK(c[1].resolution == 1e-5);
    CHECK_STR(c[2].name, "Volume_Flow_RateRMS");
    CHECK_STR(c[2].unit, "L/min");
    CHECK(c[2].resolution == 0.1);
    CHECK_STR(c[3].name, "anomaly");
    CHECK(c[3].resolution == 1);
    EXPECT_ROW(sense, 0.026588, 1.3302, 32.0, 0, 0);
    EXPECT_ROW(sense, 0.026170, 1.35399, 31.5, 1, 0);
    EXPECT_ROW(sense, 0.026588, 1.3302, 32.0, 0, 0); /* from the start again */
    CHECK_INT(sense_bad(sense), 0);
    sense_close(sense);
}

static void a_folder_is_replayed_in_name_order_from_the_seeds_file(void **state)
{
    struct scratch *s = *state;
    scratch_write(s, "tree/b/2.csv", "v\n20\n");
    scratch_write(s, "tree/a/1.CSV", "v\n10\n11\n");
    scratch_write(s, "tree/c.csv", "w;v;x\n1;30;2\n"); /* other columns beside ours, other separator */
    scratch_write(s, "tree/notes.txt", "v\n99\n");
    scratch_write(s, "tree/.hidden.csv", "v\n98\n");
    struct sense *sense = open_csv(s, "tree", (struct sense_options){.seed = 1});
    EXPECT_ROW(sense, 20);
    EXPECT_ROW(sense, 30);
    EXPECT_ROW(sense, 10);
    EXPECT_ROW(sense, 11);
    EXPECT_ROW(sense, 20);
    sense_close(sense);
    sense = open_csv(s, "tree", (struct sense_options){.seed = 3});
    EXPECT_ROW(sense, 10);
    sense_close(sense);
}

static void a_file_without_our_channels_is_passed_over(void **state)
{
    struct scratch *s = *state;
    scratch_write(s, "mix/1.csv", "v\n1\n");
    scratch_write(s, "mix/2.csv", "other\n2\n");
    scratch_write(s, "mix/3.csv", "");
    struct sense *sense = open_csv(s, "mix", (struct sense_options){0});
    EXPECT_ROW(sense, 1);
    EXPECT_ROW(sense, 1);
    CHECK_INT(sense_bad(sense), 2);
    sense_close(sense);
}

static void files_without_a_header_are_taken_by_position(void **state)
{
    struct scratch *s = *state;
    scratch_write(s, "plain.csv",
                  "\xef\xbb\xbf" "2014-01-01 00:00:00,1.5,on,7\r\n\r\n2014-01-01 00:05:00,2.5,off,8\r\n");
    struct sense *sense = open_csv(s, "plain.csv", (struct sense_options){0});
    size_t count;
    const struct sense_channel *c = sense_channels(sense, &count);
    CHECK_INT(count, 2);
    CHECK_STR(c[0].name, "channel_2");
    CHECK_STR(c[1].name, "channel_4");
    EXPECT_ROW(sense, 1.5, 7);
    EXPECT_ROW(sense, 2.5, 8);
    EXPECT_ROW(sense, 1.5, 7);
    sense_close(sense);
}

static void a_bad_row_near_the_top_is_told_with_file_and_line(void **state)
{
    struct scratch *s = *state;
    scratch_write(s, "cells.csv", "a,b\n1,2\n1,x2\n");
    expect_fault(s, "cells.csv", ERR_MALFORMED, "cells.csv:3: \"x2\" is not a number");
    scratch_write(s, "short.csv", "a,b\n1,2\n1\n");
    expect_fault(s, "short.csv", ERR_MALFORMED, "short.csv:3: the row does not have 2 cells");
    scratch_write(s, "empty.csv", "");
    expect_fault(s, "empty.csv", ERR_MALFORMED, "the file is empty");
    scratch_write(s, "head.csv", "a,b\n");
    expect_fault(s, "head.csv", ERR_MALFORMED, "no row below the header");
    scratch_write(s, "words.csv", "a,b\nx,y\n");
    expect_fault(s, "words.csv", ERR_MALFORMED, "no column of numbers");
    expect_fault(s, "nowhere.csv", ERR_NOT_FOUND, "nowhere.csv: No such file");
    scratch_write(s, "void/readme.txt", "x");
    expect_fault(s, "void", ERR_NOT_FOUND, "no file *.csv");
}

static void a_line_beyond_64_kib_is_an_error_near_the_top(void **state)
{
    struct scratch *s = *state;
    char *text = malloc(70010);
    memcpy(text, "a\n1\n", 4);
    memset(text + 4, '1', 70000);
    memcpy(text + 70004, "\n2\n", 4);
    scratch_write(s, "long.csv", text);
    free(text);
    expect_fault(s, "long.csv", ERR_MALFORMED, "long.csv:3: line longer than 65536 bytes");
}

static void a_bad_row_later_costs_a_missing_value_and_is_counted(void **state)
{
    struct scratch *s = *state;
    char text[2000] = "a,b\n";
    for (unsigned i = 0; i < 60; i++) {
        strcat(text, "1,2\n");
    }
    strcat(text, "3,broken\n4\n,5\n6,7\n");
    scratch_write(s, "late.csv", text);
    struct sense *sense = open_csv(s, "late.csv", (struct sense_options){0});
    for (unsigned i = 0; i < 60; i++) {
        EXPECT_ROW(sense, 1, 2);
    }
    EXPECT_ROW(sense, 3, NAN);
    EXPECT_ROW(sense, NAN, NAN);
    CHECK_INT(sense_bad(sense), 2);
    EXPECT_ROW(sense, NAN, 5); /* an empty cell is missing, not bad */
    EXPECT_ROW(sense, 6, 7);
    CHECK_INT(sense_bad(sense), 2);
    sense_close(sense);
}

static void bits_give_the_step_of_such_a_converter(void **state)
{
    struct scratch *s = *state;
    scratch_write(s, "adc.csv", "a,anomaly,flat\n0.0,0,5.25\n10.0,1,5.25\n");
    struct sense *sense = open_csv(s, "adc.csv", (struct sense_options){.bits = 12});
    size_t count;
    const struct sense_channel *c = sense_channels(sense, &count);
    CHECK(c[0].resolution == 10.0 / 4096);
    CHECK(c[1].resolution == 1);
    CHECK(c[2].resolution == 0.01); /* no range: the decimals */
    sense_close(sense);
    sense = open_csv(s, "adc.csv", (struct sense_options){.resolution = 0.5});
    CHECK(sense_channels(sense, &count)[0].resolution == 0.5);
    sense_close(sense);
}

static void long_and_repeated_names_are_made_fit(void **state)
{
    struct scratch *s = *state;
    scratch_write(s, "names.csv",
                  "a b,a b,\"\xc3\xa4\",01234567890123456789012345678901234567890123456789012345678_x\n1,2,3,4\n");
    struct sense *sense = open_csv(s, "names.csv", (struct sense_options){0});
    size_t count;
    const struct sense_channel *c = sense_channels(sense, &count);
    CHECK_INT(count, 4);
    CHECK_STR(c[0].name, "a_b");
    CHECK_STR(c[1].name, "a_b_2");
    CHECK_STR(c[2].name, "__");
    CHECK_INT(strlen(c[3].name), SENSE_NAME_MAX);
    sense_close(sense);
}

static void more_than_64_columns_of_numbers_are_refused(void **state)
{
    struct scratch *s = *state;
    char text[1000] = "1";
    for (unsigned i = 0; i < 64; i++) {
        strcat(text, ",1");
    }
    scratch_write(s, "wide.csv", text);
    expect_fault(s, "wide.csv", ERR_RANGE, "more than 64 columns");
}

static void the_real_skab_set_is_read_whole(void **state)
{
    struct scratch *s = *state;
    const char *folder = getenv("WEIR_DATA") ? getenv("WEIR_DATA") : WEIR_DATA_DEFAULT;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/skab", folder);
    if (access(path, R_OK) != 0) {
        print_message("skipped: no data\n");
        skip();
    }
    struct sense *sense = NULL;
    struct sense_options options = {.driver = "csv", .path = path, .seed = 5, .bits = 12};
    CHECK_OK(sense_open(s->loop, &options, &sense, NULL));
    size_t count, missing = 0;
    (void)sense_channels(sense, &count);
    CHECK_INT(count, 10);
    for (unsigned row = 0; row < 60000; row++) { /* more than all files together */
        double values[SENSE_CHANNELS_MAX];
        CHECK_OK(sense_read(sense, NULL, values));
        missing += isnan(values[0]);
    }
    CHECK_INT(missing, 0);
    CHECK_INT(sense_bad(sense), 0);
    sense_close(sense);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_skab_file_has_its_channels_units_and_labels),
        cmocka_unit_test(a_folder_is_replayed_in_name_order_from_the_seeds_file),
        cmocka_unit_test(a_file_without_our_channels_is_passed_over),
        cmocka_unit_test(files_without_a_header_are_taken_by_position),
        cmocka_unit_test(a_bad_row_near_the_top_is_told_with_file_and_line),
        cmocka_unit_test(a_line_beyond_64_kib_is_an_error_near_the_top),
        cmocka_unit_test(a_bad_row_later_costs_a_missing_value_and_is_counted),
        cmocka_unit_test(bits_give_the_step_of_such_a_converter),
        cmocka_unit_test(long_and_repeated_names_are_made_fit),
        cmocka_unit_test(more_than_64_columns_of_numbers_are_refused),
        cmocka_unit_test(the_real_skab_set_is_read_whole),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
