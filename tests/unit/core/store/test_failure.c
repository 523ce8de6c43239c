/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a commit that fails takes down what was begun upon it and nothing else; after an I/O error the store is
 * open again and goes on.
 *
 * I/O errors are real ones: RLIMIT_FSIZE makes the kernel refuse writes above an offset.
 */
#include "tests/unit/core/store/rig.h"

#include <signal.h>
#include <sys/resource.h>

static void limit_file_size(rlim_t bytes)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = bytes;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

static void submit(struct rig *rig, struct store_batch *batch, const char *key)
{
    CHECK_OK(store_put(batch, 0, slice_str(key), slice_str("x")));
    CHECK_OK(store_commit(rig->store, batch, rig_done, rig));
}

/* 4 MiB in 64 values: more than any store here takes. */
static void submit_too_much(struct rig *rig, struct store_batch *batch)
{
    static uint8_t value[64 * 1024];
    for (int i = 0; i < 64; i++) {
        char key[16];
        snprintf(key, sizeof key, "big %d", i);
        CHECK_OK(store_put(batch, 0, slice_str(key), slice_of(value, sizeof value)));
    }
    CHECK_OK(store_commit(rig->store, batch, rig_done, rig));
}

static void what_is_queued_behind_a_failed_batch_fails_with_it(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    rig_open(&rig);
    submit(&rig, rig_batch(&rig), "before");
    submit_too_much(&rig, rig_batch(&rig));
    submit(&rig, rig_batch(&rig), "behind 1");
    submit(&rig, rig_batch(&rig), "behind 2");
    rig_wait(&rig, 4);
    CHECK_ERR(rig.results[0], OK);
    for (int i = 1; i < 4; i++) {
        CHECK_ERR(rig.results[i], ERR_FULL);
    }
    CHECK_STR(rig_list(&rig, 0, "", ""), "before=x ");
    rig_put(&rig, "afterwards", "y");
    CHECK_STR(rig_list(&rig, 0, "", ""), "afterwards=y before=x ");
    CHECK_INT(store_commits_pending(rig.store), 0);
    struct store_usage usage;
    store_usage(rig.store, &usage);
    CHECK_INT(usage.commits, 2);
    CHECK_INT(usage.failed_commits, 1);
    rig_end(&rig);
}

static void a_batch_begun_before_a_failure_was_told_fails_too(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    rig_open(&rig);
    struct store_batch *filling = rig_batch(&rig);
    submit_too_much(&rig, rig_batch(&rig));
    rig_wait(&rig, 1);
    struct store_batch *fresh = rig_batch(&rig);
    submit(&rig, filling, "built upon what failed");
    submit(&rig, fresh, "begun before the second failure was told");
    rig_wait(&rig, 2);
    CHECK_ERR(rig.results[0], ERR_FULL);
    CHECK_ERR(rig.results[1], ERR_FULL);
    CHECK_STR(rig_list(&rig, 0, "", ""), "");
    rig_put(&rig, "a", "1");
    rig_end(&rig);
}

struct retry {
    struct rig *rig;
    unsigned left;
    const char *key;
};

static void retry_at_once(void *arg, enum err result)
{
    struct retry *r = arg;
    if (result == OK) {
        loop_stop(r->rig->loop);
        return;
    }
    CHECK(r->left-- > 0);
    struct store_batch *batch = rig_batch(r->rig);
    CHECK_OK(store_put(batch, 0, slice_str(r->key), slice_str("z")));
    CHECK_OK(store_commit(r->rig->store, batch, retry_at_once, r));
}

static void trying_again_in_done_gets_through(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    rig_open(&rig);
    struct retry first = {&rig, 3, "1"}, second = {&rig, 3, "2"};
    static uint8_t value[1024 * 1024];
    struct store_batch *batch = rig_batch(&rig), *behind = rig_batch(&rig);
    CHECK_OK(store_put(batch, 0, slice_str("a"), slice_of(value, sizeof value)));
    CHECK_OK(store_commit(rig.store, batch, retry_at_once, &first));
    CHECK_OK(store_put(behind, 0, slice_str("2"), slice_str("z")));
    CHECK_OK(store_commit(rig.store, behind, retry_at_once, &second));
    CHECK_OK(loop_run(rig.loop)); /* each of the two stops it once */
    while (store_commits_pending(rig.store) > 0) {
        CHECK_OK(loop_run(rig.loop));
    }
    CHECK_STR(rig_list(&rig, 0, "", ""), "1=z 2=z ");
    rig_end(&rig);
}

static void after_an_io_error_the_store_is_open_again(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    rig_open(&rig);
    rig_put(&rig, "a", "1");
    for (int round = 0; round < 3; round++) {
        limit_file_size(16 * 1024); /* the header is within, data pages are not */
        submit(&rig, rig_batch(&rig), "lost 1");
        submit(&rig, rig_batch(&rig), "lost 2");
        rig_wait(&rig, 2);
        limit_file_size(RLIM_INFINITY);
        CHECK_ERR(rig.results[0], ERR_IO);
        CHECK_ERR(rig.results[1], ERR_IO);
        CHECK(!store_broken(rig.store));
        CHECK_STR(rig_list(&rig, 0, "", ""), round == 0 ? "a=1 " : "a=1 b=2 ");
        rig_put(&rig, "b", "2");
    }
    rig_close(&rig);
    rig_open(&rig);
    CHECK_STR(rig.quarantined, "");
    CHECK_STR(rig_list(&rig, 0, "", ""), "a=1 b=2 ");
    rig_end(&rig);
}

static void a_store_that_cannot_be_opened_again_is_broken_and_says_so(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    rig_open(&rig);
    rig_put(&rig, "a", "1");
    char away[128];
    snprintf(away, sizeof away, "%s/away", rig.dir);
    limit_file_size(16 * 1024);
    CHECK(rename(rig.path, away) == 0);
    submit(&rig, rig_batch(&rig), "lost");
    struct store_batch *open = rig_batch(&rig);
    rig_wait(&rig, 1);
    limit_file_size(RLIM_INFINITY);
    CHECK_ERR(rig.results[0], ERR_IO);
    CHECK(store_broken(rig.store));
    CHECK(rename(away, rig.path) == 0);
    submit(&rig, open, "lost too");
    submit(&rig, rig_batch(&rig), "and this");
    rig_wait(&rig, 2);
    CHECK_ERR(rig.results[0], ERR_IO);
    CHECK_ERR(rig.results[1], ERR_IO);
    BUFFER(value, 16);
    CHECK_ERR(store_get(rig.store, 0, slice_str("a"), &value), ERR_IO);
    rig_close(&rig);
    rig_open(&rig);
    CHECK_STR(rig_list(&rig, 0, "", ""), "a=1 ");
    rig_end(&rig);
}

static void a_modelled_flush_is_part_of_the_commit(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    struct store_options options = {.path = rig.path, .tables = rig_tables, .table_count = 2, .size_bytes = RIG_SIZE,
                                    .modelled_flush_us = 3000};
    CHECK_OK(store_open(rig.loop, &options, &rig.store, NULL, 0, &rig.fault));
    rig_put(&rig, "a", "1");
    struct store_usage usage;
    store_usage(rig.store, &usage);
    CHECK(usage.last_commit_us >= 3000);
    rig_end(&rig);
}

int main(void)
{
    signal(SIGXFSZ, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_queued_behind_a_failed_batch_fails_with_it),
        cmocka_unit_test(a_batch_begun_before_a_failure_was_told_fails_too),
        cmocka_unit_test(trying_again_in_done_gets_through),
        cmocka_unit_test(after_an_io_error_the_store_is_open_again),
        cmocka_unit_test(a_store_that_cannot_be_opened_again_is_broken_and_says_so),
        cmocka_unit_test(a_modelled_flush_is_part_of_the_commit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
