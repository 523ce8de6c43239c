/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: labelled recordings become the windows that a device would see, with their labels, and what does not fit is
 * told with its file and line. */
#include "cloud-bridge/console/windows.h"

#include <math.h>
#include <unistd.h>

#include "tests/support/check.h"

static char path[64], seen[4000];
static struct fault fault;
static const struct feature features[] = {{.kind = FEATURE_MEAN, .channel = 0}, {.kind = FEATURE_MAX, .channel = 1}};
static const char *const channels[] = {"b", "a"};

static int class_of(void *arg, const char *cell)
{
    (void)arg;
    return strcmp(cell, "good") == 0 ? 0 : strcmp(cell, "bad") == 0 ? 1 : -1;
}

static enum err note(void *arg, const struct window *w, struct fault *reterr)
{
    char text[200];
    (void)arg;
    (void)reterr;
    snprintf(text, sizeof(text), "%d..%d %g %g [%g %g] step %g at %lld\n", w->lowest, w->highest, (double)w->row[0],
             (double)w->row[1], (double)w->samples[0], (double)w->samples[1], w->step, (long long)w->at_us);
    CHECK(strlen(seen) + strlen(text) < sizeof(seen));
    strcat(seen, text);
    return OK;
}

static struct windows last;

static const char *read_text(const char *text, unsigned window, unsigned hop)
{
    const struct model_info info = {.channels = channels,
                                    .features = {.channels = 2,
                                                 .window = window,
                                                 .hop = hop,
                                                 .rate_hz = 10,
                                                 .features = features,
                                                 .count = COUNT_OF(features)},
                                    .inputs = 2};
    FILE *out = fopen(path, "w");
    CHECK(out != NULL && fputs(text, out) >= 0 && fclose(out) == 0);
    last = (struct windows){
        .info = &info, .labels = {.column = "state", .class_of = class_of, .known = "good, bad"}, .fn = note};
    seen[0] = '\0';
    fault = (struct fault){.code = OK};
    enum err err = windows_each(&last, path, &fault);
    if (err != OK) {
        snprintf(seen, sizeof(seen), "%s: %s", err_name(err), fault.text);
    }
    return seen;
}

static void windows_are_a_device_s_with_channels_by_name(void **state)
{
    (void)state;
    CHECK_STR(
        read_text("a,state,b\n1,good,5\n2,good,7\n3,bad,1.5\n4,,0\n", 2, 1),
        "0..0 6 2 [5 1] step 0 at 100000\n0..1 4.25 3 [7 2] step 0 at 200000\n-1..1 0.75 4 [1.5 3] step 0 at 300000\n");
    CHECK_INT(last.rows, 4);
    CHECK_STR(read_text("a,state,b\n1.5,good,5\n2,good,7.5\n3,bad,1\n4,bad,0\n", 2, 2),
              "0..0 6.25 2 [5 1.5] step 0.1 at 100000\n1..1 0.5 4 [1 3] step 0.1 at 300000\n");
    CHECK_STR(read_text("a,b,state\n1,2,bad\n", 1, 1), "1..1 2 1 [2 1] step 1 at 0\n");
}

static void labels_may_be_numbers_and_are_no_channel(void **state)
{
    (void)state;
    CHECK_CONTAINS(read_text("a,b,state\n1,2,0\n", 1, 1), "range: /tmp/weir-windows");
    CHECK_CONTAINS(seen, ":2: state: there is no class \"0\"; there are good, bad");
    CHECK_CONTAINS(read_text("a,b,state\n1,2,good\n\n3,4,worse\n", 1, 1), ":4: state: there is no class \"worse\"");
    CHECK_CONTAINS(read_text("a,b,c\n1,2,good\n", 1, 1), "not_found");
    CHECK_CONTAINS(seen, ":1: there is no column state with labels; there are a, b, c");
    CHECK_CONTAINS(read_text("a,state\n1,good\n", 1, 1), "there is no column b with numbers; there are a");
    CHECK_CONTAINS(read_text("a m,,state\n1,2,good\n", 1, 1), "; there are a_m, _");
    CHECK_CONTAINS(read_text("1,2,3\n", 1, 1), "the file has no header");
}

static void times_by_the_second_are_no_gaps(void **state)
{
    char text[4000] = "time,a,b,state\n";
    (void)state;
    for (int n = 0; n < 40; n++) {
        size_t len = strlen(text);
        snprintf(text + len, sizeof(text) - len, "2026-01-01 00:00:%02d,%d,%d,good\n", n / 10 + (n >= 30), n, n);
    }
    (void)read_text(text, 20, 20);
    CHECK_INT(last.gaps, 1); /* the second that is missing */
    CHECK_INT(last.longest, 30);
}

static void a_gap_begins_a_new_window(void **state)
{
    char cut[160];
    (void)state;
    CHECK_CONTAINS(read_text("time,a,b,state\n2026-01-01 00:00:00.0,1,1,good\n2026-01-01 00:00:00.1,2,2,good\n"
                             "2026-01-01 00:00:00.2,3,3,good\n2026-01-01 00:00:05.0,4,4,good\n"
                             "2026-01-01 00:00:05.1,5,5,good\n",
                             2, 2),
                   "0..0 1.5 2 ");
    CHECK_CONTAINS(seen, "0..0 4.5 5 ");
    CHECK(strstr(seen, " 3.5 4") == NULL);
    CHECK_INT(last.gaps, 1);
    CHECK_INT(last.longest, 3);
    windows_cut_sentence(&last, cut, sizeof(cut));
    CHECK_STR(cut, "; windows were cut by 1 gap in the times (the longest stretch without one: 3 rows, the window is 2)");
    CHECK_CONTAINS(read_text("time,a,b,state\n2026-01-01 00:00:00,1,1,good\n2026-01-01 00:00:01,2,2,good\n"
                             "2026-01-01 00:00:02,3,3,good\n",
                             2, 2),
                   "rows are 1000 ms apart, the model takes one every 100 ms (rate)");
}

static void what_is_missing_is_held_and_a_blank_window_is_left_out(void **state)
{
    (void)state;
    CHECK_STR(read_text("a,b,state\n1,2,good\n,4,good\nNaN,1,good\nNaN,1,good\n", 2, 2),
              "0..0 3 1 [2 1] step 1 at 100000\n");
    CHECK_INT(last.blank, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_are_a_device_s_with_channels_by_name),
        cmocka_unit_test(labels_may_be_numbers_and_are_no_channel),
        cmocka_unit_test(times_by_the_second_are_no_gaps),
        cmocka_unit_test(a_gap_begins_a_new_window),
        cmocka_unit_test(what_is_missing_is_held_and_a_blank_window_is_left_out),
    };
    snprintf(path, sizeof(path), "/tmp/weir-windows-%d.csv", (int)getpid());
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(path);
    return failures;
}
