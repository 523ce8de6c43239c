/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the named sections of a file and of a command line are seen before a table is made, in every way of writing them, and
 * what is wrong with the file is left for the reading to say. */
#include "core/options/peek.h"

#include <unistd.h>

#include "core/base/buffer.h"
#include "tests/support/check.h"

struct settings {
    bool quick;
    char *name;
};
static const struct option table[] = {
    {.name = "be_quick", .type = OPTION_BOOL, .offset = offsetof(struct settings, quick), .help = "x"},
    {.name = "name", .type = OPTION_STRING, .offset = offsetof(struct settings, name), .help = "x"},
    {.name = NULL},
};
static const struct options_program program = {
    .name = "test", .summary = "x", .table = table, .settings_size = sizeof(struct settings)};

static char seen[1000];

static void note(void *arg, const char *section, const char *value, size_t line, size_t column)
{
    char text[200];
    (void)arg;
    snprintf(text, sizeof(text), "%s=%s@%zu:%zu ", section, value ? value : "-", line, column);
    CHECK(strlen(seen) + strlen(text) < sizeof(seen));
    strcat(seen, text);
}

static const struct options_peek peek = {.map = "sinks", .key = "type", .max = 3, .found = note};
static char path[64];

static const char *look(const char *text, const char *const *sets, size_t set_count)
{
    FILE *out = fopen(path, "w");
    CHECK(out != NULL && fputs(text, out) >= 0 && fclose(out) == 0);
    seen[0] = '\0';
    CHECK_OK(options_peek_load(path, sets, set_count, &peek));
    return seen;
}

static void sections_are_seen_nested_and_dotted(void **state)
{
    (void)state;
    CHECK_STR(look("site: a\nsinks:\n  pg: {type: postgres, url: x}\n  db:\n    path: y\n    type: sqlite\n", NULL, 0),
              "pg=postgres@3:14 db=sqlite@6:11 ");
    CHECK_STR(look("sinks.pg.type: postgres\nsinks: {db.type: sqlite}\n", NULL, 0), "pg=postgres@1:16 db=sqlite@2:18 ");
    CHECK_STR(look("sinks.pg: {type: postgres}\n", NULL, 0), "pg=postgres@1:18 ");
    CHECK_STR(look("sinks: {pg: {url: x}}\n", NULL, 0), "pg=-@1:9 ");
    CHECK_STR(look("sinks: {pg: }\n", NULL, 0), "pg=-@1:9 ");
}

static void what_is_not_like_that_is_passed_over(void **state)
{
    (void)state;
    CHECK_STR(look("", NULL, 0), "");
    CHECK_STR(look("sinks: [a, b]\n", NULL, 0), "");
    CHECK_STR(look("sinks: {pg: {type: [x]}}\n", NULL, 0), "pg=-@1:9 ");
    CHECK_STR(look("sinks: {no good: {type: x}}\n", NULL, 0), "");
    CHECK_STR(look("sinks: {a: {type: x}\n", NULL, 0), ""); /* not YAML */
    CHECK_STR(look("sinks: &a {a: {type: x, b: *a}}\n", NULL, 0), "a=x@1:22 ");
    CHECK_STR(look("sinks: {a: {type: 1}, b: {type: 2}, c: {type: 3}, d: {type: 4}}\n", NULL, 0), "a=1@1:19 b=2@1:33 c=3@1:47 ");
    seen[0] = '\0';
    CHECK_OK(options_peek_load("/nonexistent", NULL, 0, &peek));
    CHECK_OK(options_peek_load("/tmp", NULL, 0, &peek));
    CHECK_STR(seen, "");
}

static void the_command_line_adds_sections_and_wins(void **state)
{
    (void)state;
    const char *const sets[] = {"sinks.pg.type=file", "sinks.new.type=csv", "name=x"};
    CHECK_STR(look("sinks: {pg: {type: postgres}}\n", sets, COUNT_OF(sets)), "pg=file@1:20 new=csv@0:0 ");
}

static void a_command_line_is_walked_as_the_reading_walks_it(void **state)
{
    (void)state;
    (void)look("sinks: {pg: {type: postgres}}\n", NULL, 0);
    const char *ways[][9] = {
        {"test", path, "--sinks.a.type", "x", "--sinks.b.type=y"},
        {"test", "--be-quick", path, "--set", "sinks.a.type=x", "--set=sinks.b.type=y"},
        {"test", "--name", "other", "--config", path, "--sinks.a.type", "x", "--sinks.b.type=y"},
    };
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        int argc = 0;
        while (ways[i][argc] != NULL) {
            argc++;
        }
        seen[0] = '\0';
        CHECK_STR(options_peek_path(&program, argc, (char **)(uintptr_t)ways[i]), path);
        CHECK_OK(options_peek_main(&program, argc, (char **)(uintptr_t)ways[i], &peek));
        CHECK_STR(seen, "pg=postgres@1:20 a=x@0:0 b=y@0:0 ");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sections_are_seen_nested_and_dotted),
        cmocka_unit_test(what_is_not_like_that_is_passed_over),
        cmocka_unit_test(the_command_line_adds_sections_and_wins),
        cmocka_unit_test(a_command_line_is_walked_as_the_reading_walks_it),
    };
    snprintf(path, sizeof(path), "/tmp/weir-peek-XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0) {
        return 2;
    }
    close(fd);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
