/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: what is the matter with a store is said once, in words, and the worst of it hides what follows from it. */
#include "core/daemon/status.h"
#include "tests/support/check.h"

static const char *why_of(const struct status_store *s)
{
    static char text[1024];
    struct json j;
    BUFFER(out, sizeof(text) - 1);
    json_init(&j, &out);
    json_array(&j, NULL);
    status_store_why_json(s, &j);
    json_array_end(&j);
    CHECK_OK(buffer_err(&out));
    memcpy(text, out.ptr, out.len);
    text[out.len] = '\0';
    return text;
}

static void a_store_that_is_well_gives_no_reason(void **state)
{
    (void)state;
    const struct status_store s = {.failure = ""};
    CHECK(status_store_fine(&s));
    CHECK_STR(why_of(&s), "[]");
}

static void each_reason_is_a_sentence(void **state)
{
    (void)state;
    static const struct {
        struct status_store s;
        const char *why;
    } rows[] = {
        {{.failure = "", .nearly_full = true}, "[\"the store is nearly full\"]"},
        {{.failure = "", .nearly_full = true, .failing = true, .usage = {.failing = ERR_FULL}},
         "[\"the store is nearly full\",\"the store does not take records: no room\"]"},
        {{.failure = "", .failing = true, .usage = {.failing = ERR_IO}},
         "[\"the store does not take records: its commits fail\"]"},
        {{.failure = "", .broken = true}, "[\"the store is broken\"]"},
        {{.failure = "the sinks are ahead", .broken = true}, "[\"the sinks are ahead\"]"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        CHECK(!status_store_fine(&rows[i].s));
        CHECK_STR(why_of(&rows[i].s), rows[i].why);
    }
}

static void a_new_store_is_well_until_its_program_cannot_go_on(void **state)
{
    (void)state;
    static const char *const tables[] = {"meta"};
    char path[] = "/tmp/weir-status-XXXXXX", command[64];
    struct loop *loop = NULL;
    struct store *store = NULL;
    struct status_store s;
    CHECK(mkdtemp(path) != NULL);
    const struct store_options options = {.path = path, .tables = tables, .table_count = 1, .size_bytes = 1 << 20};
    CHECK_OK(loop_new(&loop));
    CHECK_OK(store_open(loop, &options, &store, NULL, 0, NULL));
    status_store_look(store, "", &s);
    CHECK(status_store_fine(&s));
    CHECK(s.usage.cap_bytes > 0);
    status_store_look(store, "lost", &s);
    CHECK(s.broken && !s.failing && !status_store_fine(&s));
    store_close(store);
    loop_free(loop);
    snprintf(command, sizeof(command), "rm -rf %s", path);
    CHECK_INT(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_that_is_well_gives_no_reason),
        cmocka_unit_test(each_reason_is_a_sentence),
        cmocka_unit_test(a_new_store_is_well_until_its_program_cannot_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
