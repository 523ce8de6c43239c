/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the arena's size is a hard limit, pointers are aligned, and nothing overlaps. */
#include "core/base/arena.h"

#include "tests/support/check.h"

static void allocations_are_aligned_and_do_not_overlap(void **state)
{
    (void)state;
    struct arena a;
    CHECK_OK(arena_init(&a, 4096));
    uint8_t *last_end = NULL;
    for (size_t len = 0; len < 60; len++) {
        uint8_t *p = arena_alloc(&a, len);
        CHECK(p != NULL);
        CHECK_INT((uintptr_t)p % 16, 0);
        CHECK(last_end == NULL || p >= last_end);
        memset(p, (int)len, len);
        last_end = p + len;
    }
    arena_deinit(&a);
}

static void the_budget_is_never_exceeded(void **state)
{
    (void)state;
    struct arena a;
    CHECK_OK(arena_init(&a, 100));
    uint8_t *all = arena_alloc(&a, 100);
    CHECK(all != NULL);
    memset(all, 1, 100);
    CHECK(arena_alloc(&a, 1) == NULL);
    arena_reset(&a);
    CHECK(arena_alloc(&a, 101) == NULL);
    CHECK(arena_alloc(&a, SIZE_MAX) == NULL);
    CHECK(arena_alloc(&a, 90) != NULL); /* rounded up to 96 */
    CHECK(arena_alloc(&a, 5) == NULL);
    CHECK(arena_alloc(&a, 4) != NULL);
    CHECK(a.used <= a.cap);
    arena_deinit(&a);
}

static void reset_gives_everything_back(void **state)
{
    (void)state;
    struct arena a;
    CHECK_OK(arena_init(&a, 64));
    void *first = arena_protobuf_alloc(&a, 64);
    arena_protobuf_free(&a, first);
    CHECK(arena_protobuf_alloc(&a, 1) == NULL);
    arena_reset(&a);
    CHECK(arena_protobuf_alloc(&a, 64) == first);
    arena_deinit(&a);
    CHECK(arena_alloc(&a, 1) == NULL);
    arena_deinit(&a);
}

static void a_size_beyond_all_memory_is_refused(void **state)
{
    (void)state;
    struct arena a;
    CHECK_ERR(arena_init(&a, SIZE_MAX), ERR_RANGE);
    CHECK(arena_alloc(&a, 1) == NULL);
    arena_deinit(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_aligned_and_do_not_overlap),
        cmocka_unit_test(the_budget_is_never_exceeded),
        cmocka_unit_test(reset_gives_everything_back),
        cmocka_unit_test(a_size_beyond_all_memory_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
