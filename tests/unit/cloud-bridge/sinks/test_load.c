/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a sink's type leads to its module, and what is wrong with a module is said with its file and the cause. */
#include <string.h>
#include <unistd.h>

#include "cloud-bridge/sinks/load.h"
#include "tests/unit/cloud-bridge/sinks/batch.h"

static const char *folder; /* with the modules made for this test */

static const char *path_of(const char *name)
{
    static char path[600];
    snprintf(path, sizeof(path), "%s/weir-sink-%s.so", folder, name);
    return path;
}

static void built_in_types_are_found(void **state)
{
    (void)state;
    const struct sink_module *module = NULL;
    struct fault fault;
    CHECK_OK(sink_module_find("sqlite", &module, &fault));
    CHECK_STR(module->name, "sqlite");
    CHECK_OK(sink_module_find("file", &module, &fault));
    CHECK_STR(module->name, "file");
}

static void an_unknown_type_is_told_with_the_places_and_the_nearest_name(void **state)
{
    (void)state;
    const struct sink_module *module = NULL;
    struct fault fault;
    CHECK_ERR(sink_module_find("sqlit", &module, &fault), ERR_NOT_FOUND);
    CHECK_CONTAINS(fault.text, "weir-sink-sqlit.so is neither in ");
    CHECK_CONTAINS(fault.text, "did you mean sqlite?");
    CHECK_ERR(sink_module_find("../x", &module, &fault), ERR_RANGE);
    CHECK_ERR(sink_module_find("", &module, &fault), ERR_RANGE);
}

static void a_good_module_is_loaded_and_opens_a_sink_of_the_section_s_name(void **state)
{
    (void)state;
    const struct sink_module *module = NULL;
    struct fault fault = {.code = OK};
    struct sink sink = {.ops = NULL};
    struct sink_place place = {.name = "mine", .site = "s", .bridge = "b", .software = "1"};
    CHECK_OK(sink_module_load(path_of("good"), "good", &module, &fault));
    CHECK_OK(sink_module_open(module, &place, NULL, &sink, &fault));
    CHECK_STR(sink.name, "mine");
    sink.ops->close(sink.self);
}

static void a_module_of_another_abi_or_layout_is_refused(void **state)
{
    (void)state;
    const struct sink_module *module = NULL;
    struct fault fault;
    CHECK_ERR(sink_module_load(path_of("abi"), "abi", &module, &fault), ERR_UNSUPPORTED);
    CHECK_CONTAINS(fault.text, "weir-sink-abi.so is of another version: ABI 9999");
    CHECK_ERR(sink_module_load(path_of("layout"), "layout", &module, &fault), ERR_UNSUPPORTED);
    CHECK_CONTAINS(fault.text, "layout");
}

static void a_library_that_is_no_sink_or_another_one_is_refused(void **state)
{
    (void)state;
    const struct sink_module *module = NULL;
    struct fault fault;
    CHECK_ERR(sink_module_load(path_of("nosink"), "nosink", &module, &fault), ERR_UNSUPPORTED);
    CHECK_CONTAINS(fault.text, "is not a sink: it has no weir_sink_module");
    CHECK_ERR(sink_module_load(path_of("good"), "other", &module, &fault), ERR_UNSUPPORTED);
    CHECK_CONTAINS(fault.text, "is not a sink of type other but of good");
}

static void a_module_whose_library_is_missing_names_it(void **state)
{
    (void)state;
    const struct sink_module *module = NULL;
    struct fault fault;
    CHECK_ERR(sink_module_load(path_of("needy"), "needy", &module, &fault), ERR_IO);
    CHECK_CONTAINS(fault.text, "weir-sink-needy.so cannot be loaded: ");
    CHECK_CONTAINS(fault.text, "nobody_has_this");
}

static void a_file_that_is_no_library_is_refused(void **state)
{
    (void)state;
    const struct sink_module *module = NULL;
    struct fault fault;
    char dir[64], path[128];
    scratch_new(dir);
    snprintf(path, sizeof(path), "%s/weir-sink-text.so", dir);
    FILE *out = fopen(path, "w");
    CHECK(out != NULL);
    fputs("not a library", out);
    fclose(out);
    CHECK_ERR(sink_module_load(path, "text", &module, &fault), ERR_IO);
    CHECK_CONTAINS(fault.text, "cannot be loaded: ");
    scratch_free(dir);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(built_in_types_are_found),
        cmocka_unit_test(an_unknown_type_is_told_with_the_places_and_the_nearest_name),
        cmocka_unit_test(a_good_module_is_loaded_and_opens_a_sink_of_the_section_s_name),
        cmocka_unit_test(a_module_of_another_abi_or_layout_is_refused),
        cmocka_unit_test(a_library_that_is_no_sink_or_another_one_is_refused),
        cmocka_unit_test(a_module_whose_library_is_missing_names_it),
        cmocka_unit_test(a_file_that_is_no_library_is_refused),
    };
    if (argc != 2) {
        fprintf(stderr, "usage: test_load FOLDER\n");
        return 2;
    }
    folder = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
