/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: sections of sinks are read by the table of their type, the short forms still are a sink each, and every mistake in
 * them is named with its place. */
#include "cloud-bridge/bridged/settings.h"

#include <stdio.h>
#include <unistd.h>

#include "tests/support/check.h"

#define HEAD "site: s\nid: b\nbroker: {host: h, insecure: true}\nstore: {path: st, size: 8MiB}\n"

static char path[64];
static struct settings settings;
static struct settings_plan plan;

/* What is said against it; "" when it is good: then settings and plan are filled in. */
static struct buffer problems;

static void forget(void)
{
    if (plan.table != NULL) {
        options_free(&plan.program, &settings);
    }
    settings_plan_deinit(&plan);
    memset(&settings, 0, sizeof(settings));
    buffer_deinit(&problems);
    buffer_init(&problems, 1 << 20);
}

static const char *read_text(const char *text)
{
    forget();
    FILE *out = fopen(path, "w");
    CHECK(out != NULL && fputs(HEAD, out) >= 0 && fputs(text, out) >= 0 && fclose(out) == 0);
    if (settings_plan_load(path, NULL, 0, &plan, &problems) == OK) {
        settings.plan = &plan;
        if (options_load(&plan.program, path, NULL, 0, &settings, &problems) == OK) {
            return "";
        }
    }
    buffer_put_u8(&problems, '\0');
    CHECK_OK(buffer_err(&problems));
    return (const char *)problems.ptr;
}

static void without_a_section_there_is_one_database(void **state)
{
    (void)state;
    CHECK_STR(read_text(""), "");
    CHECK_STR(settings_sqlite_path(&settings), "/var/lib/weir/weir.db");
    CHECK_STR(read_text("sink: {sqlite: '', file: /tmp/x}\n"), "");
    CHECK(settings_sqlite_path(&settings) == NULL);
}

static void sections_have_the_settings_of_their_type(void **state)
{
    (void)state;
    CHECK_STR(read_text("sinks:\n  f: {type: file, path: files, rotate: 1MiB, lag_max: 50}\n  db: {type: sqlite, path: /tmp/d.db}\n"),
              "");
    CHECK_INT(plan.count, 2);
    CHECK_STR(plan.sinks[0].name, "f");
    CHECK_INT(settings.sinks[0].lag_max, 50);
    CHECK_INT(settings.sinks[1].lag_max, 90);
    const struct sink_file_settings *file = (const void *)settings.sinks[0].item;
    CHECK_STR(file->path, "/tmp/files"); /* beside the configuration */
    CHECK_INT(file->rotate, 1 << 20);
    CHECK_STR(settings_sqlite_path(&settings), "/tmp/d.db");
    CHECK_STR(settings.sink_sqlite, ""); /* no database that nobody asked for */
}

static void the_sinks_of_the_sample_are_good_without_their_mark(void **state)
{
    (void)state;
    char text[1024];
    size_t len = 0;
    CHECK_STR(read_text(""), "");
    const char *at = strstr(plan.program.sample_end, "#sinks:");
    CHECK(at != NULL);
    for (bool begins = true; *at != '\0'; begins = *at++ == '\n') {
        if (!begins || *at != '#') {
            CHECK(len + 1 < sizeof(text));
            text[len++] = *at;
        }
    }
    text[len] = '\0';
    CHECK_STR(read_text(text), "");
    CHECK_INT(plan.count, 3);
}

static void mistakes_are_named_with_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *wanted;
    } rows[] = {
        {"sinks:\n  f: {type: fiel, path: x}\n", ":6:13: sinks.f.type: no sink of type fiel"},
        {"sinks:\n  f: {type: fiel, path: x}\n", "did you mean file?"},
        {"sinks:\n  f: {type: file, path: x, rotat: 1MiB}\n", ":6:28: sinks.f.rotat: unknown setting; did you mean sinks.f.rotate?"},
        {"sinks:\n  f: {type: file, path: x, rotate: 1}\n", "sinks.f.rotate"},
        {"sinks:\n  f: {path: x}\n", "sinks.f.type is missing"},
        {"sinks:\n  f: {type: file}\n", "sinks.f.path is missing"},
        {"sinks:\n  f: {type: sqlite, path: x, lag_max: 101}\n", ":6:39: sinks.f.lag_max"},
        {"sinks:\n  a: {type: sqlite, path: x}\n  b: {type: sqlite, path: x}\n", ":7:27: sinks.b.path: another sink has this path"},
        {"sink: {sqlite: /tmp/x}\nsinks:\n  a: {type: sqlite, path: /tmp/x}\n", "sinks.a.path: another sink has this path"},
        {"sink: {sqlite: /tmp/x}\nsinks:\n  sqlite: {type: sqlite, path: /tmp/y}\n", "sink.sqlite is the sink of that name already"},
        {"sink: {sqlite: ''}\n", "sink.sqlite: at least one sink is needed"},
        {"sinks:\n  no good: {type: file}\n", "sinks"},
        {"sinks: 7\n", "sinks"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        CHECK_CONTAINS(read_text(rows[i].text), rows[i].wanted);
    }
}

static void too_many_sections_are_refused(void **state)
{
    (void)state;
    char text[2000] = "sinks:\n";
    for (unsigned i = 0; i < SETTINGS_SINKS_MAX + 1; i++) {
        char line[64];
        snprintf(line, sizeof(line), "  s%u: {type: sqlite, path: p%u}\n", i, i);
        strcat(text, line);
    }
    CHECK_CONTAINS(read_text(text), "sinks.s16.type: there are too many sinks");
}

static void other_sections_or_types_are_another_plan(void **state)
{
    (void)state;
    struct settings_plan other = {.count = 0};
    CHECK_STR(read_text("sinks:\n  a: {type: sqlite, path: x}\n"), "");
    CHECK_OK(settings_plan_load(path, NULL, 0, &other, &problems));
    CHECK(settings_plan_equal(&plan, &other));
    settings_plan_deinit(&other);
    const char *const sets[] = {"sinks.a.type=file"};
    CHECK_OK(settings_plan_load(path, sets, 1, &other, &problems));
    CHECK(!settings_plan_equal(&plan, &other));
    settings_plan_deinit(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_section_there_is_one_database),
        cmocka_unit_test(sections_have_the_settings_of_their_type),
        cmocka_unit_test(the_sinks_of_the_sample_are_good_without_their_mark),
        cmocka_unit_test(mistakes_are_named_with_their_place),
        cmocka_unit_test(too_many_sections_are_refused),
        cmocka_unit_test(other_sections_or_types_are_another_plan),
    };
    snprintf(path, sizeof(path), "/tmp/weir-settings-XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0) {
        return 2;
    }
    close(fd);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    forget();
    unlink(path);
    return failed;
}
