/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a path says who is on the way up, ends where its owner stands in it again, and has a hash that tells it changed. */
#include "proto/path/path.h"

#include "tests/support/check.h"

static void a_gateways_path_is_itself_and_then_its_parents(void **state)
{
    (void)state;
    struct path bridge, site, line;
    char text[PATH_TEXT_MAX];
    path_begin(&bridge, "p", "bridge1");
    path_begin(&site, "p", "site1");
    path_append(&site, &bridge);
    path_begin(&line, "p", "line1");
    path_append(&line, &site);
    path_text(&line, text);
    CHECK_STR(text, "line1 -> site1 -> bridge1");
    CHECK(path_has(&line, "p", "bridge1") && !path_has(&line, "q", "bridge1") && !path_has(&line, "p", "bridge"));
}

static void sites_are_named_where_they_differ(void **state)
{
    (void)state;
    struct path up, own;
    char text[PATH_TEXT_MAX];
    path_begin(&up, "cloud", "bridge1");
    path_begin(&own, "plant", "gw1");
    path_append(&own, &up);
    path_text(&own, text);
    CHECK_STR(text, "plant/gw1 -> cloud/bridge1");
}

static void a_loop_is_shown_once_and_does_not_grow(void **state)
{
    (void)state;
    static const char *const ids[] = {"g1", "g2", "g3"};
    struct path paths[3];
    char text[PATH_TEXT_MAX];
    for (int i = 0; i < 3; i++) {
        path_begin(&paths[i], "p", ids[i]);
    }
    for (int round = 0; round < 20; round++) { /* each learns of the next, again and again */
        for (int i = 0; i < 3; i++) {
            struct path own;
            path_begin(&own, "p", ids[i]);
            path_append(&own, &paths[(i + 1) % 3]);
            paths[i] = own;
        }
    }
    path_text(&paths[0], text);
    CHECK_STR(text, "g1 -> g2 -> g3 -> g1");
    path_text(&paths[2], text);
    CHECK_STR(text, "g3 -> g1 -> g2 -> g3");
}

static void the_hash_tells_each_change(void **state)
{
    (void)state;
    struct path a, b, tail;
    path_begin(&a, "p", "ab");
    path_begin(&b, "p", "a");
    CHECK(path_hash(&a) != path_hash(&b) && path_hash(&a) != 0 && !path_equal(&a, &b));
    path_begin(&tail, "p", "c");
    b = a;
    path_append(&b, &tail);
    CHECK(path_hash(&a) != path_hash(&b) && !path_equal(&a, &b));
    path_append(&a, &tail);
    CHECK(path_hash(&a) == path_hash(&b) && path_equal(&a, &b));
}

static void what_is_no_identity_and_what_is_too_much_is_refused(void **state)
{
    (void)state;
    struct path path = {0};
    static const char *const bad[] = {"", "/", "a/", "/a", "a", "a/b/c", "a b/c", "a/\xc3\xa4"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        CHECK_ERR(path_add(&path, slice_str(bad[i])), ERR_MALFORMED);
    }
    char longest[PATH_ID_MAX + 2];
    memset(longest, 'x', sizeof(longest));
    longest[ID_MAX] = '/';
    longest[PATH_ID_MAX + 1] = '\0';
    CHECK_ERR(path_add(&path, slice_str(longest)), ERR_MALFORMED);
    longest[PATH_ID_MAX] = '\0';
    for (unsigned i = 0; i < PATH_IDS_MAX; i++) {
        CHECK_OK(path_add(&path, slice_str(longest)));
    }
    CHECK_ERR(path_add(&path, slice_str("a/b")), ERR_FULL);
    struct path more;
    char text[PATH_TEXT_MAX];
    path_begin(&more, "a", "b");
    path_append(&more, &path);
    CHECK_INT(more.count, PATH_IDS_MAX);
    path_text(&path, text); /* the longest fits */
    CHECK_INT(strlen(text), PATH_IDS_MAX * ID_MAX + (PATH_IDS_MAX - 1) * 4);
    path_text(&more, text);
    CHECK_INT(strlen(text), 3 + (PATH_IDS_MAX - 1) * (PATH_ID_MAX + 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gateways_path_is_itself_and_then_its_parents),
        cmocka_unit_test(sites_are_named_where_they_differ),
        cmocka_unit_test(a_loop_is_shown_once_and_does_not_grow),
        cmocka_unit_test(the_hash_tells_each_change),
        cmocka_unit_test(what_is_no_identity_and_what_is_too_much_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
