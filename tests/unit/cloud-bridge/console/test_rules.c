/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: `weir rules check` names every mistake with its place and exits with 2; `weir rules test` says what rules
 * would do to a recorded file: values dropped by rule, windows, records and bytes, and how far off what goes up is.
 */
#include <cjson/cJSON.h>
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cloud-bridge/console/console_internal.h"
#include "cloud-bridge/console/replay.h"
#include "tests/support/check.h"

static char folder[] = "/tmp/weir-rules-XXXXXX";
static char output[256 * 1024], errors[64 * 1024], lines[1 << 20];

static void slurp(int fd, char *into, size_t size)
{
    ssize_t got = pread(fd, into, size - 1, 0);
    into[got > 0 ? got : 0] = '\0';
    close(fd);
}

static int run(const char *const *args)
{
    static char words[12][300];
    char *argv[12] = {NULL};
    int argc = 0;
    for (; args[argc] != NULL; argc++) {
        snprintf(words[argc], sizeof(words[0]), "%s", args[argc]);
        argv[argc] = words[argc];
    }
    int out = open("/tmp", O_TMPFILE | O_RDWR, 0600), err = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    fflush(NULL);
    int old_out = dup(1), old_err = dup(2);
    dup2(out, 1);
    dup2(err, 2);
    int code = console_main(argc, argv, "1.2.3");
    fflush(NULL);
    dup2(old_out, 1);
    dup2(old_err, 2);
    close(old_out);
    close(old_err);
    slurp(out, output, sizeof(output));
    slurp(err, errors, sizeof(errors));
    return code;
}
#define RUN(...) run((const char *const[]){"weir", "rules", __VA_ARGS__, NULL})

static const char *file(const char *name, const char *text)
{
    static char paths[8][200];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
    return path;
}

static double number(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    if (!cJSON_IsNumber(item)) {
        fprintf(stderr, "there is no number %s\n", name);
        fail();
    }
    return item->valuedouble;
}

static void what_is_not_for_a_device_is_told_where_it_is_asked_for(void **state)
{
    (void)state;
    const char *path = file("device.yaml", "rules:\n  calm: {do: deadband, abs: 1}\n  minute: {do: window, length: 60s}\n");
    CHECK_INT(RUN("check", path), 0);
    CHECK_INT(RUN("check", "--device", path), 2);
    CHECK_CONTAINS(errors, "device.yaml:3:16: rules.minute.do: window is not for a device");
    CHECK_INT(RUN("check", "--device", file("light.yaml", "rules: {calm: {do: deadband, abs: 1}}\n")), 0);
    CHECK_CONTAINS(output, "calm");
    CHECK_INT(RUN("check"), 2);
    CHECK_CONTAINS(errors, "needs a file");
}

static void mistakes_are_named_with_their_place(void **state)
{
    (void)state;
    const char *good = file("good.yaml", "rules:\n  calm: {channels: t, do: deadband, abs: 0.2}\n");
    const char *bad = file("bad.yaml", "rules:\n  calm: {channels: t, do: deadband, abbs: 0.2}\n  b: {do: rate}\n");
    CHECK_INT(RUN("check", good), EXIT_OK);
    CHECK_CONTAINS(output, "calm  deadband  *        t");
    CHECK_CONTAINS(output, "ok, 1 rules, version ");
    CHECK_INT(RUN("check", bad), EXIT_USAGE);
    CHECK_STR(output, "");
    CHECK_CONTAINS(errors, "bad.yaml:2:37");
    CHECK_CONTAINS(errors, "did you mean rules.calm.abs?");
    CHECK_INT(RUN("check", bad, "--json"), EXIT_USAGE);
    cJSON *j = cJSON_Parse(output);
    CHECK(cJSON_IsFalse(cJSON_GetObjectItem(j, "ok")));
    CHECK(cJSON_GetArraySize(cJSON_GetObjectItem(j, "problems")) >= 1);
    cJSON_Delete(j);
    CHECK_INT(RUN("check", good, "--json"), EXIT_OK);
    j = cJSON_Parse(output);
    CHECK(cJSON_IsTrue(cJSON_GetObjectItem(j, "ok")));
    CHECK_INT(cJSON_GetArraySize(cJSON_GetObjectItem(j, "rules")), 1);
    cJSON_Delete(j);
}

static void wrong_usage_is_exit_2(void **state)
{
    (void)state;
    const char *good = file("good.yaml", "rules: {calm: {channels: t, do: deadband, abs: 0.2}}\n");
    CHECK_INT(RUN("chek", good), EXIT_USAGE);
    CHECK_CONTAINS(errors, "did you mean check?");
    CHECK_INT(RUN("check"), EXIT_USAGE);
    CHECK_INT(RUN("check", good, "more"), EXIT_USAGE);
    CHECK_INT(RUN("test", good), EXIT_USAGE);
    CHECK_CONTAINS(errors, "--replay");
    CHECK_INT(RUN("test", good, "--replay", "/nowhere/at/all"), EXIT_NOT_FOUND);
    CHECK_INT(RUN("test", "/nowhere.yaml", "--replay", folder), EXIT_USAGE);
}

/* 200 rows, one a second: noise with a spike, and a switch. */
static const char *recorded(void)
{
    static char text[64 * 1024];
    size_t len = (size_t)snprintf(text, sizeof(text), "datetime;Flow Rate;switch;note\n");
    for (int i = 0; i < 200; i++) {
        len += (size_t)snprintf(text + len, sizeof(text) - len, "2020-02-08 13:%02d:%02d;%d,%02d;%d;x\n", 30 + i / 60,
                                i % 60, i == 77 ? 99 : 10, i * 37 % 97, i >= 100);
    }
    return file("recorded.csv", text);
}

static void a_replay_says_what_rules_would_do(void **state)
{
    (void)state;
    const char *rules = file("rules.yaml", "rules:\n"
                                     "  good: {channels: Flow_Rate, do: range, max: 50}\n"
                                     "  line: {channels: Flow_Rate, do: swinging-door, abs: 0.6, heartbeat: 60s}\n"
                                     "  turn: {channels: switch, do: on-change}\n"
                                     "  other: {devices: fan-1, do: drop}\n"
                                     "  win: {channels: switch, do: window, length: 60s, quantiles: [0.5]}\n");
    char out[200];
    snprintf(out, sizeof(out), "%s/out.jsonl", folder);
    CHECK_INT(RUN("test", rules, "--replay", recorded(), "--json", "--out", out), EXIT_OK);
    cJSON *j = cJSON_Parse(output);
    CHECK(j != NULL);
    CHECK_INT(number(j, "rows"), 200);
    CHECK_INT(number(j, "bad"), 0);
    CHECK_INT(number(j, "records"), 8); /* a description and 7 blocks */
    CHECK_INT(number(j, "values"), 400);
    CHECK(number(j, "bytes_up") < number(j, "bytes"));
    const cJSON *by_rule = cJSON_GetObjectItem(j, "rules"), *channels = cJSON_GetObjectItem(j, "channels");
    CHECK_INT(number(cJSON_GetArrayItem(by_rule, 0), "dropped"), 1);
    CHECK(number(cJSON_GetArrayItem(by_rule, 1), "dropped") > 150);
    CHECK_INT(number(cJSON_GetArrayItem(by_rule, 2), "dropped"), 198);
    CHECK_INT(number(cJSON_GetArrayItem(by_rule, 3), "seen"), 0);
    const cJSON *flow = cJSON_GetArrayItem(channels, 0);
    CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItem(flow, "name")), "Flow_Rate");
    CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItem(flow, "thinned_by")), "line");
    CHECK(number(flow, "worst") <= 0.6 * (1 + 1e-9));
    CHECK(number(flow, "not_checked") < 60);
    CHECK(cJSON_IsNull(
        cJSON_GetObjectItem(cJSON_GetArrayItem(channels, 1), "thinned_by"))); /* a window takes its values */
    cJSON_Delete(j);
    int fd = open(out, O_RDONLY);
    CHECK(fd >= 0);
    slurp(fd, lines, sizeof(lines));
    CHECK_CONTAINS(lines, "{\"channel\":\"Flow_Rate\",\"time_us\":1581168600000000,\"value\":10}\n");
    CHECK_CONTAINS(lines,
                   "{\"channel\":\"switch\",\"rule\":\"win\",\"start_us\":1581168600000000,\"length_us\":60000000,"
                   "\"count\":1,\"mean\":0,\"std\":0,\"rms\":0,\"min\":0,\"max\":0,\"quantiles\":[0],\"partial\":false,"
                   "\"late\":0}\n");
    CHECK_INT(RUN("test", rules, "--replay", recorded(), "--device", "fan-1"), EXIT_OK);
    CHECK_CONTAINS(output, "drop            400      400");
    CHECK_CONTAINS(output, "bytes: ");
}

static void files_that_cannot_be_read_are_named(void **state)
{
    (void)state;
    const char *rules = file("rules.yaml", "rules: {calm: {do: deadband, abs: 0.2}}\n");
    CHECK_INT(RUN("test", rules, "--replay", file("words.csv", "a,b\nx,y\n")), EXIT_FAILED);
    CHECK_CONTAINS(errors, "words.csv: no column of numbers");
    CHECK_INT(RUN("test", rules, "--replay", file("empty.csv", "")), EXIT_FAILED);
    CHECK_CONTAINS(errors, "empty.csv: the file is empty");
    CHECK_INT(RUN("test", rules, "--replay", file("holes.csv", "t,v\n1,2\n3\n4,\"x\n5,oops\n6,NaN\n7,3\n"), "--json"),
              EXIT_OK);
    cJSON *j = cJSON_Parse(output);
    CHECK_INT(number(j, "bad"), 3);
    CHECK_INT(number(j, "rows"), 4);
    cJSON_Delete(j);
}

/* Names that repeat become names of their own, also where another column has the next one already; a row whose time
 * cannot be told is no row, and its time is not made up. */
static void columns_keep_apart_and_rows_keep_their_times(void **state)
{
    (void)state;
    const char *rules = file("rules.yaml", "rules: {calm: {do: deadband, abs: 0.2}}\n");
    CHECK_INT(RUN("test", rules, "--replay",
                  file("twice.csv", "time,a_2,a,a,a\n2020-01-01 00:00:00,1,2,3,4\n2020-01-01 00:00:01,5,6,7,8\n"),
                  "--json"),
              EXIT_OK);
    cJSON *j = cJSON_Parse(output);
    const cJSON *channels = cJSON_GetObjectItem(j, "channels");
    CHECK_INT(cJSON_GetArraySize(channels), 4);
    for (int i = 0; i < 4; i++) {
        CHECK_STR(cJSON_GetStringValue(cJSON_GetObjectItem(cJSON_GetArrayItem(channels, i), "name")),
                  ((const char *const[]){"a_2", "a", "a_3", "a_4"})[i]);
        CHECK_INT(number(cJSON_GetArrayItem(channels, i), "values"), 2);
    }
    cJSON_Delete(j);
    CHECK_INT(RUN("test", rules, "--replay",
                  file("times.csv", "time,a\n2020-01-01 00:00:00,1\n2020-13-41 00:00:01,2\nsoon,3\n"
                                    "1965-01-01 00:00:00,4\n2020-01-01 00:00:09,5\n"),
                  "--json"),
              EXIT_OK);
    j = cJSON_Parse(output);
    CHECK_INT(number(j, "rows"), 2);
    CHECK_INT(number(j, "bad"), 3);
    cJSON_Delete(j);
}

/* v goes up as it is; its times stand in the windows. */
static const char *first_line_of(const char *text, const char *period)
{
    char out[200];
    const char *rules = file("rules.yaml", "rules: {calm: {do: on-change}}\n"), *data = file("holes.csv", text);
    snprintf(out, sizeof(out), "%s/out.jsonl", folder);
    if (period != NULL) {
        CHECK_INT(RUN("test", rules, "--replay", data, "--out", out, "--period", period), EXIT_OK);
    } else {
        CHECK_INT(RUN("test", rules, "--replay", data, "--out", out), EXIT_OK);
    }
    int fd = open(out, O_RDONLY);
    CHECK(fd >= 0);
    slurp(fd, lines, sizeof(lines));
    return lines;
}

static void times_that_count_since_1970_are_times(void **state)
{
    (void)state;
    CHECK_CONTAINS(first_line_of("time,v\n1767225600,1\n1767225601.5,2\n", NULL),
                   "\"time_us\":1767225600000000,\"value\":1}\n{\"channel\":\"v\",\"time_us\":1767225601500000,\"value\":2}");
    CHECK_CONTAINS(first_line_of("ts,v\n1767225600123,1\n1767225600223,2\n", NULL), "\"time_us\":1767225600223000,\"value\":2}");
    CHECK_CONTAINS(first_line_of("Timestamp,v\n1767225600123456,1\n1767225600123457,2\n", NULL),
                   "\"time_us\":1767225600123457,\"value\":2}");
    CHECK_STR(errors, "");
}

static void rows_without_times_are_told_and_can_be_given_a_period(void **state)
{
    (void)state;
    CHECK_CONTAINS(first_line_of("time,v\n0.0,1\n0.1,2\n", NULL), "\"time_us\":1000000,\"value\":2}");
    CHECK_CONTAINS(errors, "holes.csv: no times in it");
    CHECK_CONTAINS(errors, "--period says otherwise");
    CHECK_CONTAINS(first_line_of("time,v\n0.0,1\n0.1,2\n", "100ms"), "\"time_us\":100000,\"value\":2}");
    CHECK_STR(errors, "");
}

static void kinds_are_listed_with_their_settings(void **state)
{
    (void)state;
    CHECK_INT(RUN("kinds"), EXIT_OK);
    for (enum rule_kind kind = 0; kind < RULE_KINDS; kind++) {
        CHECK_CONTAINS(output, rule_kind_name(kind));
        CHECK_CONTAINS(output, rule_kind_help(kind));
    }
    CHECK_CONTAINS(output, "any|gateway|ntp");
    CHECK_INT(RUN("kinds", "bucket"), EXIT_OK);
    CHECK_CONTAINS(output, "width");
    CHECK(strstr(output, "heartbeat") == NULL);
    CHECK_INT(RUN("kinds", "bukket"), EXIT_USAGE);
    CHECK_CONTAINS(errors, "did you mean bucket?");
    CHECK_INT(RUN("kinds", "capture", "--json"), EXIT_OK);
    cJSON *j = cJSON_Parse(output);
    const cJSON *kinds = cJSON_GetObjectItem(j, "kinds");
    CHECK_INT(cJSON_GetArraySize(kinds), 1);
    CHECK_INT(cJSON_GetArraySize(cJSON_GetObjectItem(cJSON_GetArrayItem(kinds, 0), "settings")), 6);
    cJSON_Delete(j);
}

static void a_hash_is_told_to_need_the_gateways_key(void **state)
{
    (void)state;
    CHECK_INT(RUN("check", file("good.yaml", "rules: {badge: {do: hash}}\n")), EXIT_OK);
    CHECK_CONTAINS(errors, "rules.badge: do: hash needs rules.key in the gateway's configuration");
    CHECK_INT(RUN("test", file("good.yaml", "rules: {badge: {do: hash}}\n"), "--replay",
                  file("holes.csv", "time,v\n1767225600,1\n1767225601,2\n")),
              EXIT_OK);
    CHECK_CONTAINS(output, " % more)\n"); /* a pseudonym takes more room than 1 */
}

/* The judge itself: what went up must be found wanting when it is. */
static void a_bound_that_does_not_hold_is_seen(void **state)
{
    (void)state;
    struct rule rule = {.abs = 0.5};
    struct replay_channel c = {.thinned_by = &rule, .bound = 0.5, .worst = 0.5};
    struct replay r = {.channels = &c, .channel_count = 1};
    CHECK(replay_within_bounds(&r));
    c.worst = 0.5001;
    CHECK(!replay_within_bounds(&r));
    c.thinned_by = NULL;
    CHECK(replay_within_bounds(&r));
}

int main(void)
{
    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes_are_named_with_their_place),
        cmocka_unit_test(what_is_not_for_a_device_is_told_where_it_is_asked_for),
        cmocka_unit_test(wrong_usage_is_exit_2),
        cmocka_unit_test(a_replay_says_what_rules_would_do),
        cmocka_unit_test(files_that_cannot_be_read_are_named),
        cmocka_unit_test(columns_keep_apart_and_rows_keep_their_times),
        cmocka_unit_test(a_bound_that_does_not_hold_is_seen),
        cmocka_unit_test(times_that_count_since_1970_are_times),
        cmocka_unit_test(rows_without_times_are_told_and_can_be_given_a_period),
        cmocka_unit_test(kinds_are_listed_with_their_settings),
        cmocka_unit_test(a_hash_is_told_to_need_the_gateways_key),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    static const char *const names[] = {"good.yaml", "bad.yaml", "rules.yaml", "recorded.csv", "out.jsonl",
                                        "words.csv", "empty.csv", "holes.csv"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char path[200];
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
    return failed;
}
