/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: error names, faults, identities, UTF-8 and the cleanup macros do what every module relies on. */
#include "core/base/base.h"

#include "tests/support/check.h"

static void every_class_has_a_name_of_its_own(void **state)
{
    (void)state;
    CHECK_STR(err_name(OK), "ok");
    CHECK_STR(err_name(ERR_NOT_FOUND), "not_found");
    CHECK_STR(err_name((enum err)99), "unknown");
    for (int i = 0; i <= ERR_UNSUPPORTED; i++) {
        CHECK(strcmp(err_name((enum err)i), "unknown") != 0);
        for (int k = 0; k < i; k++) {
            CHECK(strcmp(err_name((enum err)i), err_name((enum err)k)) != 0);
        }
    }
}

static void a_fault_keeps_code_and_sentence_and_may_quote_itself(void **state)
{
    (void)state;
    struct fault f = {0};
    CHECK_ERR(fault_set(&f, ERR_RANGE, "%s is %d", "port", 70000), ERR_RANGE);
    CHECK_INT(f.code, ERR_RANGE);
    CHECK_STR(f.text, "port is 70000");
    CHECK_ERR(fault_set(&f, f.code, "%s (in %s)", f.text, "weir.yaml"), ERR_RANGE);
    CHECK_STR(f.text, "port is 70000 (in weir.yaml)");
    CHECK_ERR(fault_set(NULL, ERR_IO, "nobody listens"), ERR_IO);
}

static void a_long_fault_is_cut_and_terminated(void **state)
{
    (void)state;
    struct fault f = {0};
    CHECK_ERR(fault_set(&f, ERR_IO, "%0500d", 1), ERR_IO);
    CHECK_INT(strlen(f.text), sizeof(f.text) - 1);
}

static void identities_are_one_to_64_plain_characters(void **state)
{
    (void)state;
    char longest[ID_MAX + 1];
    memset(longest, 'a', sizeof(longest));
    CHECK(id_valid(slice_str("pump-7_B")));
    CHECK(id_valid(slice_of(longest, ID_MAX)));
    CHECK(!id_valid(slice_of(longest, ID_MAX + 1)));
    CHECK(!id_valid(slice_of(NULL, 0)));
    const char *bad[] = {"", "a/b", "a b", "a+", "#", "a.b", "\xc3\xa4", "a\n"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        CHECK(!id_valid(slice_str(bad[i])));
    }
    CHECK(!id_valid(slice_of("a\0b", 3)));
}

static void utf8_is_told_from_what_only_looks_like_it(void **state)
{
    (void)state;
    CHECK_INT(utf8_length(slice_str("a")), 1);
    CHECK_INT(utf8_length(slice_str("\xc2\xb0")), 2);
    CHECK_INT(utf8_length(slice_str("\xe2\x82\xac")), 3);
    CHECK_INT(utf8_length(slice_str("\xf0\x9f\x98\x80")), 4);
    const char *bad[] = {"",     "\x80",         "\xc0\x80",     "\xc1\xbf",         "\xe0\x9f\xbf",     "\xed\xa0\x80",
                         "\xc2", "\xe2\x82",     "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xc2z"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        CHECK_INT(utf8_length(slice_str(bad[i])), 0);
    }
}

static int freed;
struct thing {
    int x;
};
static void thing_free(struct thing *t)
{
    freed += t != NULL;
}
DEFINE_CLEANUP(struct thing, thing_free)

static enum err make(struct thing *storage, enum err how, struct thing **ret_thing)
{
    CLEANUP(thing_freep) struct thing *t = storage;
    TRY(how);
    *ret_thing = take(t);
    return OK;
}

static void try_frees_what_was_made_and_take_hands_it_out(void **state)
{
    (void)state;
    struct thing storage = {.x = 1}, *got = NULL;
    freed = 0;
    CHECK_ERR(make(&storage, ERR_AGAIN, &got), ERR_AGAIN);
    CHECK_INT(freed, 1);
    CHECK(got == NULL);
    CHECK_OK(make(&storage, OK, &got));
    CHECK_INT(freed, 1);
    CHECK(got == &storage);
    CHECK(container_of(&storage.x, struct thing, x) == &storage);
}

static void slices_compare_by_content(void **state)
{
    (void)state;
    CHECK(slice_equal(slice_of(NULL, 0), slice_str("")));
    CHECK(slice_equal(slice_str("abc"), slice_of("abcd", 3)));
    CHECK(!slice_equal(slice_str("abc"), slice_str("abd")));
    CHECK(!slice_equal(slice_str("abc"), slice_str("ab")));
}

static void the_mixer_is_splitmix64(void **state)
{
    (void)state;
    /* First outputs for seed 1234567, as published with the reference generator. */
    CHECK(mix_u64(1234567) == UINT64_C(6457827717110365317));
    CHECK(mix_u64(1234567 + UINT64_C(0x9e3779b97f4a7c15)) == UINT64_C(3203168211198807973));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_class_has_a_name_of_its_own),
        cmocka_unit_test(a_fault_keeps_code_and_sentence_and_may_quote_itself),
        cmocka_unit_test(a_long_fault_is_cut_and_terminated),
        cmocka_unit_test(identities_are_one_to_64_plain_characters),
        cmocka_unit_test(utf8_is_told_from_what_only_looks_like_it),
        cmocka_unit_test(try_frees_what_was_made_and_take_hands_it_out),
        cmocka_unit_test(slices_compare_by_content),
        cmocka_unit_test(the_mixer_is_splitmix64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
