/* SPDX-License-Identifier: Apache-2.0 */
/*
 * section - the settings of the loadable sink that a test is linked with, given as words; what is refused, and why.
 */
#ifndef TESTS_UNIT_CLOUD_BRIDGE_SINKS_SECTION_H
#define TESTS_UNIT_CLOUD_BRIDGE_SINKS_SECTION_H

#include "cloud-bridge/sinks/module.h"
#include "core/options/options.h"
#include "tests/support/check.h"

/* The sentences about a section of these settings ("key=value"); "" when all is well. Valid until the next call. */
static inline const char *section_problems(const char *const *sets, size_t count)
{
    static char text[4096];
    const struct options_program program = {.name = "section",
                                            .table = weir_sink_module.table,
                                            .settings_size = weir_sink_module.item_size,
                                            .check = weir_sink_module.check};
    void *settings = calloc(1, weir_sink_module.item_size);
    BUFFER(problems, 65536);
    CHECK(settings != NULL);
    enum err err = options_load(&program, NULL, sets, count, settings, &problems);
    snprintf(text, sizeof(text), "%.*s", (int)problems.len, problems.len ? (const char *)problems.ptr : "");
    CHECK_INT(err == OK, problems.len == 0);
    options_free(&program, settings);
    free(settings);
    return text;
}
#define PROBLEMS(...)                                                                                          \
    section_problems((const char *const[]){__VA_ARGS__}, COUNT_OF(((const char *const[]){__VA_ARGS__})))

#endif
