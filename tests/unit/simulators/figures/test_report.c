/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a report says the same as text, as JSON and as a page; whatever the texts in it, the JSON parses, the page is
 * well-formed and refers to nothing outside (check_page.py), the terminal is not steered; what does not fit is told.
 *
 * The page of a made-up run is left in WEIR_PAGE when that is set, to be looked at.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "simulators/figures/figures_internal.h"
#include "tests/support/check.h"

static const char *checker;
static struct figures *report;
static struct histogram latency, alarms, none;
static struct series rate, connected, p50, p99, p999;
static struct buffer text;

static double part(unsigned n)
{
    return (double)(mix_u64(n) >> 11) / (double)(UINT64_C(1) << 53);
}

/* A run of so many seconds with a storm in the middle. */
static void make_run(unsigned seconds)
{
    histogram_reset(&latency);
    histogram_reset(&alarms);
    series_init(&rate, SERIES_MEAN);
    series_init(&connected, SERIES_MIN);
    series_init(&p50, SERIES_MAX);
    series_init(&p99, SERIES_MAX);
    series_init(&p999, SERIES_MAX);
    for (unsigned s = 0; s < seconds; s++) {
        static struct histogram second;
        histogram_reset(&second);
        bool storm = s > seconds / 2 && s < seconds / 2 + 8;
        double up = fmin(1, (s + 1) / 10.0) * (storm ? 0.4 : 1);
        for (unsigned i = 0; i < 2000; i++) {
            double us = 900 / pow(1 - part(s * 2000 + i), 0.45) * (storm ? 40 : 1);
            histogram_record(&second, (int64_t)us);
        }
        histogram_merge(&latency, &second);
        histogram_record(&alarms, 4000 + (int64_t)(part(s) * 90000));
        series_add(&rate, s == seconds / 3 ? NAN : 19000 * up * (0.98 + 0.04 * part(s)));
        series_add(&connected, floor(19000 * up));
        series_add(&p50, (double)histogram_percentile(&second, 50));
        series_add(&p99, (double)histogram_percentile(&second, 99));
        series_add(&p999, (double)histogram_percentile(&second, 99.9));
    }
}

static void fill(struct figures *f)
{
    figures_verdict(f, FIGURES_GOOD,
                    "No device lost, nothing lost in the ledger: %d records made, all of them in the "
                    "gateway's store.",
                    1140000);
    figures_count(f, "Delivery", "devices", 19000, "", "devices", "in one process, each the real agent");
    figures_count(f, "Delivery", "records", 1140000, "", "records made", "durable at the device before they are sent");
    figures_count(f, "Delivery", "lost", 0, "", "records lost",
                  "neither acknowledged, nor declared, nor still waiting");
    figures_number(f, "Delivery", "records_per_s", 18957.25, "rec/s", "records per second", "mean over the load phase");
    figures_duration(f, "Latency", "p99_us", 8123, "p99, due to acknowledged",
                     "from when the record was due, so that a stalled sender is not flattered");
    figures_bytes(f, "This process", "memory_per_device", 18 * 1024 + 300, "memory per device",
                  "resident, idle and connected; 24 KiB are allowed");
    figures_text(f, "This process", "broker", "127.0.0.1:1883, without TLS", "broker", NULL);
    figures_headline(f, "lost", FIGURES_FINE);
    figures_headline(f, "records_per_s", FIGURES_PLAIN);
    figures_headline(f, "p99_us", FIGURES_PLAIN);
    figures_headline(f, "memory_per_device", FIGURES_PLAIN);
    figures_headline(f, "devices", FIGURES_PLAIN);
    figures_note(f, FIGURES_WARNING, "The broker cut %d links that nobody here had cut; their devices came back.", 12);
    figures_note(f, FIGURES_NOTE, "Latency holds records whose link was up all the time.");
    figures_histogram(f, "latency", "Records, due to acknowledged", &latency);
    figures_histogram(f, "alarm", "Alarms, raised to acknowledged", &alarms);
    figures_plot(f, "rate", "Records acknowledged", "records/s", FIGURES_LINEAR);
    figures_line(f, "acknowledged", &rate);
    figures_plot(f, "connected", "Devices connected", "devices", FIGURES_LINEAR);
    figures_line(f, "connected", &connected);
    figures_plot(f, "percentiles", "Latency of each second", "us", FIGURES_LOG);
    figures_line(f, "p50", &p50);
    figures_line(f, "p99", &p99);
    figures_line(f, "p99.9", &p999);
    figures_setting(f, "devices", "19000");
    figures_setting(f, "classes.machine.period", "500ms");
}

static int set_up(void **state)
{
    (void)state;
    buffer_init(&text, FIGURES_HTML_MAX);
    return figures_new("19,000 devices for 60 s", "2026-03-01 14:00 UTC", &report) == OK ? 0 : 1;
}

static int tear_down(void **state)
{
    (void)state;
    figures_free(report);
    buffer_deinit(&text);
    return 0;
}

static const char *as_text(unsigned width)
{
    buffer_reset(&text);
    figures_render_text(report, width, &text);
    buffer_put_u8(&text, 0);
    CHECK_OK(buffer_err(&text));
    return (const char *)text.ptr;
}

static cJSON *as_json(void)
{
    buffer_reset(&text);
    figures_render_json(report, &text);
    buffer_put_u8(&text, 0);
    CHECK_OK(buffer_err(&text));
    cJSON *json = cJSON_Parse((const char *)text.ptr);
    CHECK(json != NULL);
    return json;
}

static const char *as_page(void)
{
    buffer_reset(&text);
    figures_render_html(report, &text);
    buffer_put_u8(&text, 0);
    CHECK_OK(buffer_err(&text));
    return (const char *)text.ptr;
}

/* Saves the page and has it checked; returns whether it is good. */
static bool page_is_good(void)
{
    char path[] = "/tmp/weir-page-XXXXXX", command[600];
    struct fault why = {.code = OK};
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    CHECK_OK(figures_save_html(report, path, &why));
    (void)snprintf(command, sizeof(command), "python3 '%s' %s >/dev/null", checker, path);
    int status = system(command);
    unlink(path);
    return status == 0;
}

static double number_at(const cJSON *json, const char *a, const char *b, const char *c)
{
    const cJSON *at = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(json, a), b);
    at = c != NULL ? cJSON_GetObjectItemCaseSensitive(at, c) : at;
    CHECK(cJSON_IsNumber(at));
    return at->valuedouble;
}

static void text_has_the_figures_in_columns(void **state)
{
    (void)state;
    make_run(60);
    fill(report);
    const char *is = as_text(80);
    CHECK_CONTAINS(is, "19,000 devices for 60 s\n2026-03-01 14:00 UTC\n\nGOOD: No device lost, nothing lost in the");
    CHECK_CONTAINS(is, "\nDelivery\n  devices ");
    CHECK_CONTAINS(is, "  records made                 1,140,000  durable at the device before they are\n"
                       "                                          sent\n");
    CHECK_CONTAINS(is, "  records per second        18,957 rec/s  mean over the load phase\n");
    CHECK_CONTAINS(is, "  p99, due to acknowledged       8.12 ms  ");
    CHECK_CONTAINS(is, "  memory per device             18.3 KiB  ");
    CHECK_CONTAINS(is, "\nLatency\n");
    CHECK_CONTAINS(is, "       p50        p90        p99      p99.9     p99.99        max\n  Records, due to");
    CHECK_CONTAINS(is, "warning: The broker cut 12 links");
    for (const char *line = is; *line != '\0'; line += strcspn(line, "\n") + 1) {
        CHECK(strcspn(line, "\n") <= 100); /* tables may be wider than what is wrapped */
    }
    CHECK_CONTAINS(as_text(40), "durable at the device");
}

static void json_has_the_figures_in_their_units(void **state)
{
    (void)state;
    make_run(60);
    fill(report);
    cJSON *json = as_json();
    CHECK_STR(cJSON_GetObjectItem(json, "verdict")->valuestring, "good");
    CHECK_INT(number_at(json, "figures", "records", "value"), 1140000);
    CHECK(number_at(json, "figures", "records_per_s", "value") == 18957.25);
    CHECK_INT(number_at(json, "figures", "p99_us", "value"), 8123);
    CHECK_INT(number_at(json, "figures", "memory_per_device", "value"), 18732);
    CHECK_INT(number_at(json, "histograms", "latency", "count"), 120000);
    CHECK_INT(number_at(json, "histograms", "latency", "p99.9_us"), histogram_percentile(&latency, 99.9));
    uint64_t sum = 0;
    const cJSON *bucket;
    cJSON_ArrayForEach(
        bucket, cJSON_GetObjectItem(cJSON_GetObjectItem(cJSON_GetObjectItem(json, "histograms"), "latency"), "buckets"))
    {
        sum += (uint64_t)cJSON_GetArrayItem(bucket, 1)->valuedouble;
    }
    CHECK_INT(sum, latency.count);
    const cJSON *lines = cJSON_GetObjectItem(cJSON_GetObjectItem(cJSON_GetObjectItem(json, "series"), "rate"), "lines");
    const cJSON *points = cJSON_GetObjectItem(lines, "acknowledged");
    CHECK_INT(cJSON_GetArraySize(points), 60);
    CHECK(cJSON_IsNull(cJSON_GetArrayItem(points, 20))); /* nothing was known */
    CHECK_STR(cJSON_GetObjectItem(cJSON_GetObjectItem(json, "settings"), "devices")->valuestring, "19000");
    CHECK_INT(cJSON_GetArraySize(cJSON_GetObjectItem(json, "notes")), 2);
    cJSON_Delete(json);
}

/* Up to the end of the attribute. */
static unsigned count_in(const char *value, char wanted)
{
    unsigned count = 0;
    for (; *value != '"' && *value != '\0'; value++) {
        count += *value == wanted;
    }
    return count;
}

static void the_page_is_whole_and_needs_nothing_else(void **state)
{
    (void)state;
    make_run(60);
    fill(report);
    CHECK(page_is_good());
    const char *page = as_page();
    CHECK_CONTAINS(page, "<p class=\"verdict v-good\"><b>Good.</b><span>No device lost");
    CHECK_CONTAINS(page, "<div class=\"m-fine\"><dt>records lost</dt><dd>0</dd></div>");
    CHECK_CONTAINS(page, "<th scope=\"row\">memory per device</th><td class=\"n\">18.3 KiB</td>");
    CHECK_CONTAINS(page, "prefers-color-scheme:dark");
    CHECK_CONTAINS(page, "p99.9: ");
    CHECK_CONTAINS(page, ">99.999 %</text>");
    /* The second of which nothing is known is a gap in line and area. */
    const char *area = strstr(page, "<path class=\"area\" d=\""), *line = strstr(area, "<path class=\"line c0\" d=\"");
    CHECK_INT(count_in(area + strlen("<path class=\"area\" d=\""), 'M'), 2);
    CHECK_INT(count_in(line + strlen("<path class=\"line c0\" d=\""), 'M'), 2);
    const char *wanted = getenv("WEIR_PAGE");
    struct fault why = {.code = OK};
    if (wanted != NULL) {
        CHECK_OK(figures_save_html(report, wanted, &why));
    }
}

static void an_empty_or_tiny_run_gives_a_good_page_too(void **state)
{
    (void)state;
    const unsigned lengths[] = {0, 1, 2, 5000};
    CHECK(page_is_good());
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        figures_free(report);
        CHECK_OK(figures_new("t", NULL, &report));
        make_run(lengths[i]);
        fill(report);
        figures_histogram(report, "none", "None", &none);
        figures_plot(report, "empty", "No line", "x", FIGURES_LOG);
        CHECK(page_is_good());
        CHECK_CONTAINS(as_page(), "Nothing was measured.");
        cJSON_Delete(as_json());
        CHECK_CONTAINS(as_text(0), "None");
    }
}

static void odd_values_do_not_break_a_drawing(void **state)
{
    (void)state;
    static struct series odd[8];
    const double values[][4] = {{0, 0, 0, 0},       {-5, 3, -7, 0}, {1e300, 1, 2, 3},      {1e-9, 2e-9, 0, 0},
                                {NAN, 5, NAN, NAN}, {7, 7, 7, 7},   {1e15, 2e15, 5e15, 1}, {0.1, 0.2, 0.3, 0.9}};
    static const char *const IDS[] = {"a", "b", "c", "d", "e", "f", "g", "h"}, *const UNITS[] = {"us", "B", "x", ""};
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        series_init(&odd[i], SERIES_MAX);
        for (size_t v = 0; v < 4; v++) {
            series_add(&odd[i], values[i][v]);
        }
        figures_plot(report, IDS[i], "odd", UNITS[i % 4], i % 3 == 0 ? FIGURES_LOG : FIGURES_LINEAR);
        figures_line(report, "line", &odd[i]);
    }
    histogram_reset(&latency);
    histogram_record(&latency, INT64_MAX);
    histogram_record(&latency, 0);
    figures_histogram(report, "wide", "wide", &latency);
    figures_number(report, "g", "inf", HUGE_VAL, "", "infinite", NULL);
    CHECK(page_is_good());
    cJSON_Delete(as_json());
    (void)as_text(80);
}

static void texts_from_outside_stay_texts(void **state)
{
    (void)state;
    const char *evil = "<script>alert('x')</script> & \"quoted\" \033[31mred\033[0m \xff\xfe \xc2\x9b \t\n end";
    figures_free(report);
    CHECK_OK(figures_new(evil, evil, &report));
    make_run(3);
    figures_verdict(report, FIGURES_BAD, "%s", evil);
    figures_text(report, evil, "evil\"id", evil, evil, evil);
    figures_headline(report, "evil\"id", FIGURES_ALARMING);
    figures_note(report, FIGURES_ERROR, "%s", evil);
    figures_plot(report, "id\"><b>", evil, evil, FIGURES_LINEAR);
    figures_line(report, evil, &rate);
    figures_histogram(report, "h'", evil, &latency);
    figures_setting(report, evil, evil);
    CHECK(page_is_good());
    CHECK(strstr(as_page(), "<script") == NULL);
    cJSON *json = as_json();
    CHECK_CONTAINS(cJSON_GetObjectItem(json, "summary")->valuestring, "<script>alert('x')</script> & \"quoted\"");
    cJSON_Delete(json);
    const char *is = as_text(60);
    CHECK(strchr(is, '\033') == NULL && strstr(is, "\xc2\x9b") == NULL);
    CHECK_OK(figures_err(report));
}

static void what_does_not_fit_is_told_and_the_rest_is_there(void **state)
{
    (void)state;
    for (int i = 0; i <= FIGURES_NOTES_MAX; i++) {
        figures_note(report, FIGURES_NOTE, "note %d", i);
    }
    CHECK_ERR(figures_err(report), ERR_FULL);
    CHECK_CONTAINS(as_page(), "note 63");
    CHECK(strstr(as_page(), "note 64") == NULL);
    for (int i = 0; i <= FIGURES_SETTINGS_MAX; i++) {
        figures_setting(report, "name", "value");
        figures_count(report, "g", "id", 1, "", "label", NULL);
        figures_plot(report, "p", "p", "", FIGURES_LINEAR);
        figures_histogram(report, "h", "h", &none);
    }
    CHECK_CONTAINS(as_text(80), "label");
}

static void a_page_that_cannot_be_written_names_file_and_cause(void **state)
{
    (void)state;
    struct fault why = {.code = OK};
    CHECK_ERR(figures_save_html(report, "/no/such/folder/page.html", &why), ERR_IO);
    CHECK_STR(why.text, "cannot write the report /no/such/folder/page.html: No such file or directory");
    char folder[] = "/tmp/weir-page-XXXXXX", part_name[80];
    CHECK(mkdtemp(folder) != NULL);
    CHECK_ERR(figures_save_html(report, folder, &why), ERR_IO); /* a directory is not replaced */
    (void)snprintf(part_name, sizeof(part_name), "%s.part", folder);
    CHECK(access(part_name, F_OK) != 0);
    rmdir(folder);
}

static void numbers_are_shown_as_people_read_them(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *count, *bytes, *brief;
    } NUMBERS[] = {{0, "0", "0 B", "0"},
                   {7, "7", "7 B", "7"},
                   {999.6, "1,000", "1,000 B", "1,000"},
                   {0.126, "0.13", "0.13 B", "0.13"},
                   {12.34, "12.3", "12.3 B", "12.3"},
                   {-1234567, "-1,234,567", "-1.18 MiB", "-1.23 M"},
                   {1536, "1,536", "1.5 KiB", "1,536"},
                   {19000, "19,000", "18.6 KiB", "19 k"},
                   {1023.9, "1,024", "1 KiB", "1,024"},
                   {0.0001, "0.0001", "0 B", "0.0001"}};
    char is[FIGURES_SHORT];
    for (size_t i = 0; i < COUNT_OF(NUMBERS); i++) {
        CHECK_STR(figures_show_count(NUMBERS[i].value, is), NUMBERS[i].count);
        CHECK_STR(figures_show_short(NUMBERS[i].value, 0, is), NUMBERS[i].brief);
        if (NUMBERS[i].value != 999.6) {
            CHECK_STR(figures_show_bytes(NUMBERS[i].value, is), NUMBERS[i].bytes);
        }
    }
    static const struct {
        int64_t us;
        const char *text;
    } TIMES[] = {{0, "0 us"},
                 {999, "999 us"},
                 {1000, "1 ms"},
                 {12345, "12.3 ms"},
                 {999499, "999 ms"},
                 {999600, "1 s"},
                 {59940000, "59.9 s"},
                 {59999999, "1 min"},
                 {125000000, "2 min 5 s"},
                 {3599900000, "1 h"},
                 {12000000000, "3 h 20 min"}};
    for (size_t i = 0; i < COUNT_OF(TIMES); i++) {
        CHECK_STR(figures_show_duration(TIMES[i].us, is), TIMES[i].text);
    }
}

int main(int argc, char **argv)
{
    checker = argc > 1 ? argv[1] : "tests/unit/simulators/figures/check_page.py";
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(text_has_the_figures_in_columns),
        TEST(json_has_the_figures_in_their_units),
        TEST(the_page_is_whole_and_needs_nothing_else),
        TEST(an_empty_or_tiny_run_gives_a_good_page_too),
        TEST(odd_values_do_not_break_a_drawing),
        TEST(texts_from_outside_stay_texts),
        TEST(what_does_not_fit_is_told_and_the_rest_is_there),
        TEST(a_page_that_cannot_be_written_names_file_and_cause),
        TEST(numbers_are_shown_as_people_read_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
