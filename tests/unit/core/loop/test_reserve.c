/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: libevent gets small pieces of memory also when malloc has none, and they come back and can be had again.
 */
#include "core/loop/loop_internal.h"

#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/check.h"

static bool empty; /* malloc gives nothing */

void *__real_malloc(size_t len);
void *__wrap_malloc(size_t len);

void *__wrap_malloc(size_t len)
{
    return empty ? NULL : __real_malloc(len);
}

static void a_small_piece_comes_from_the_reserve_and_can_be_written(void **state)
{
    (void)state;
    empty = true;
    uint8_t *a = reserve_malloc(100), *b = reserve_malloc(0), *c = reserve_malloc(RESERVE_PIECE_MAX);
    empty = false;
    CHECK(a != NULL && b != NULL && c != NULL);
    memset(a, 1, 100);
    memset(c, 2, RESERVE_PIECE_MAX);
    CHECK_INT(a[99], 1);
    CHECK_INT((uintptr_t)c % 16, 0);
    reserve_free(a);
    reserve_free(b);
    reserve_free(c);
}

static void a_large_one_is_refused(void **state)
{
    (void)state;
    empty = true;
    void *large = reserve_malloc(RESERVE_PIECE_MAX + 1);
    empty = false;
    CHECK(large == NULL);
}

static void what_came_back_is_handed_out_again_for_ever(void **state)
{
    (void)state;
    for (int round = 0; round < 10000; round++) {
        empty = true;
        void *one = reserve_malloc(1000), *two = reserve_malloc(2000);
        empty = false;
        CHECK(one != NULL && two != NULL && one != two);
        reserve_free(two);
        reserve_free(one);
    }
}

static void a_piece_that_grows_keeps_its_bytes_and_goes_back_to_malloc(void **state)
{
    (void)state;
    empty = true;
    char *text = reserve_malloc(6);
    memcpy(text, "weir!", 6);
    char *longer = reserve_realloc(text, 4000);
    empty = false;
    CHECK_STR(longer, "weir!");
    longer = reserve_realloc(longer, 100000); /* malloc has some again */
    CHECK(longer != NULL);
    CHECK_STR(longer, "weir!");
    longer[99999] = 'x';
    reserve_free(longer);
    char *fresh = reserve_realloc(NULL, 10);
    CHECK(fresh != NULL);
    reserve_free(fresh);
}

static void a_reserve_that_is_used_up_ends_the_process_with_a_message(void **state)
{
    (void)state;
    int ends[2], status;
    char text[200] = "";
    CHECK(pipe(ends) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(ends[1], STDERR_FILENO);
        empty = true;
        for (int i = 0; i < 1000; i++) {
            (void)!reserve_malloc(RESERVE_PIECE_MAX);
        }
        _exit(0);
    }
    close(ends[1]);
    size_t len = 0;
    for (ssize_t n; (n = read(ends[0], text + len, sizeof(text) - 1 - len)) > 0;) {
        len += (size_t)n;
    }
    close(ends[0]);
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_INT(WEXITSTATUS(status), EXIT_FAILURE);
    CHECK_STR(text, "out of memory: libevent, the reserve is used up as well\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_piece_comes_from_the_reserve_and_can_be_written),
        cmocka_unit_test(a_large_one_is_refused),
        cmocka_unit_test(what_came_back_is_handed_out_again_for_ever),
        cmocka_unit_test(a_piece_that_grows_keeps_its_bytes_and_goes_back_to_malloc),
        cmocka_unit_test(a_reserve_that_is_used_up_ends_the_process_with_a_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
