/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As much of cmocka as a unit test on check.h needs, for processors whose cmocka is not installed: the first check that fails
 * ends the program with 1.
 */
#ifndef TESTS_SUPPORT_SMALL_CMOCKA_CMOCKA_H
#define TESTS_SUPPORT_SMALL_CMOCKA_CMOCKA_H

#include <stdlib.h>

struct CMUnitTest {
    const char *name;
    void (*run)(void **state);
};
#define cmocka_unit_test(f) ((struct CMUnitTest){#f, f})
#define fail() exit(1)
#define cmocka_run_group_tests(tests, setup, teardown) small_cmocka_run(tests, sizeof(tests) / sizeof((tests)[0]))

static inline int small_cmocka_run(const struct CMUnitTest *tests, size_t count)
{
    void *state = NULL;
    for (size_t i = 0; i < count; i++) {
        tests[i].run(&state);
        printf("passed: %s\n", tests[i].name);
    }
    return 0;
}

#endif
