/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a line of CSV is taken apart the way spreadsheets and loggers write it, and what is no number is never taken
 * for one.
 */
#include "core/csv/csv.h"

#include "tests/support/check.h"

static void split(const char *line, char separator, char *storage, char **cells, size_t *count)
{
    strcpy(storage, line);
    CHECK_OK(csv_split(storage, separator, cells, count));
}

static void cells_lose_blanks_and_quotes(void **state)
{
    (void)state;
    char storage[128], *cells[CSV_COLUMNS_MAX];
    size_t count;
    split(" a , \"b,\"\"x\"\"\" ,,d\r", ',', storage, cells, &count);
    CHECK_INT(count, 4);
    CHECK_STR(cells[0], "a");
    CHECK_STR(cells[1], "b,\"x\"");
    CHECK_STR(cells[2], "");
    CHECK_STR(cells[3], "d");
    split("", ';', storage, cells, &count);
    CHECK_INT(count, 1);
    split("1;2;", ';', storage, cells, &count);
    CHECK_INT(count, 3);
}

static void a_quote_that_does_not_close_is_malformed(void **state)
{
    (void)state;
    char line[] = "1,\"2", *cells[CSV_COLUMNS_MAX];
    size_t count;
    CHECK_ERR(csv_split(line, ',', cells, &count), ERR_MALFORMED);
}

static void too_many_cells_are_refused(void **state)
{
    (void)state;
    char line[CSV_COLUMNS_MAX + 8], *cells[CSV_COLUMNS_MAX];
    size_t count;
    memset(line, ',', sizeof line);
    line[CSV_COLUMNS_MAX - 1] = '\0';
    CHECK_OK(csv_split(line, ',', cells, &count));
    CHECK_INT(count, CSV_COLUMNS_MAX);
    memset(line, ',', sizeof line);
    line[CSV_COLUMNS_MAX] = '\0';
    CHECK_ERR(csv_split(line, ',', cells, &count), ERR_FULL);
}

static void the_separator_is_found_outside_quotes(void **state)
{
    (void)state;
    CHECK_INT(csv_separator("a;b;c"), ';');
    CHECK_INT(csv_separator("a,b,c"), ',');
    CHECK_INT(csv_separator("\"a;b;c;d\",b"), ',');
    CHECK_INT(csv_separator("1,5;2,5;3"), ';');
    CHECK_INT(csv_separator("alone"), ',');
}

static void numbers_tell_their_decimal_places(void **state)
{
    (void)state;
    static const struct {
        const char *cell;
        bool comma;
        double value;
        int decimals;
    } rows[] = {
        {"1", false, 1, 0},        {"-0.25", false, -0.25, 2},  {"25.500", false, 25.5, 1}, {"1e-3", false, 0.001, 3},
        {"1.25e2", false, 125, 0}, {"0,125", true, 0.125, 3},   {"+.5", false, 0.5, 1},     {"0.0", false, 0, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        double value = 99;
        int decimals = 99;
        CHECK_INT(csv_number(rows[i].cell, rows[i].comma, &value, &decimals), CSV_NUMBER);
        CHECK(value == rows[i].value);
        CHECK_INT(decimals, rows[i].decimals);
    }
}

static void what_is_missing_and_what_is_text_is_no_number(void **state)
{
    (void)state;
    static const char *const missing[] = {"", "NaN", "nan", "NA", "null", "-inf", "-"};
    static const char *const text[] = {"0x10", "1.2.3", "12abc", "1 2", "1,5", "--1", "e5", "1e999", "infinity"};
    double value;
    int decimals;
    for (size_t i = 0; i < COUNT_OF(missing); i++) {
        CHECK_INT(csv_number(missing[i], false, &value, &decimals), CSV_MISSING);
    }
    for (size_t i = 0; i < COUNT_OF(text); i++) {
        CHECK_INT(csv_number(text[i], false, &value, &decimals), CSV_TEXT);
    }
}

static void dates_are_known_in_several_forms(void **state)
{
    (void)state;
    static const char *const dates[] = {"2020-02-08 13:30:47", "2020-02-08T13:30:47.123Z", "2020-02-08T13:30:47+01:00",
                                        "2013/12/02 21:15",    "08.02.2020 13:30:47",      "2/28/2020 1:05",
                                        "2020-02-08"};
    static const char *const others[] = {"20200208", "1.5", "2020-13-01", "1-2-3", "2020-02/08", "2020-02-08 later",
                                         "Pressure", "", "2020-02-08 25:00"};
    for (size_t i = 0; i < COUNT_OF(dates); i++) {
        if (!csv_datetime(dates[i])) {
            fail_msg("%s is not taken for a date", dates[i]);
        }
    }
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        if (csv_datetime(others[i])) {
            fail_msg("%s is taken for a date", others[i]);
        }
    }
}

static void a_date_is_a_time(void **state)
{
    (void)state;
    static const struct {
        const char *cell;
        int64_t us;
    } rows[] = {
        {"1970-01-01", 0},
        {"2020-02-08 13:30:47", INT64_C(1581168647000000)},
        {"2020-02-29T00:00:00.250Z", INT64_C(1582934400250000)},
        {"2020-02-08T13:30:47+01:00", INT64_C(1581165047000000)},
        {"2020-02-08T13:30:47-0130", INT64_C(1581174047000000)},
        {"2013/12/02 21:15", INT64_C(1386018900000000)},
        {"08.02.2020 13:30:47", INT64_C(1581168647000000)},
        {"2/28/2020 1:05", INT64_C(1582851900000000)},
    };
    int64_t us = -1;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        CHECK(csv_time(rows[i].cell, &us));
        CHECK_INT(us, rows[i].us);
    }
    CHECK(!csv_time("1969-12-31", &us) && !csv_time("Pressure", &us) && !csv_time("2020-02-08 13:61", &us));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_lose_blanks_and_quotes),
        cmocka_unit_test(a_quote_that_does_not_close_is_malformed),
        cmocka_unit_test(too_many_cells_are_refused),
        cmocka_unit_test(the_separator_is_found_outside_quotes),
        cmocka_unit_test(numbers_tell_their_decimal_places),
        cmocka_unit_test(what_is_missing_and_what_is_text_is_no_number),
        cmocka_unit_test(dates_are_known_in_several_forms),
        cmocka_unit_test(a_date_is_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
