/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the in-memory twin keeps what was committed and loses exactly what a crash or a lying disk would lose. */
#include "core/store/sorted.h"
#include "core/store/store.h"

#include "tests/support/check.h"

struct world {
    struct loop_world *world;
    struct loop *loop;
    struct store_disk *disk;
    struct store *store;
    unsigned told;
    enum err last;
};

static void open_store(struct world *w)
{
    CHECK_OK(store_open_memory(w->loop, w->disk, 2, &w->store));
}

static void begin(struct world *w)
{
    memset(w, 0, sizeof *w);
    CHECK_OK(loop_world_new(1, &w->world));
    CHECK_OK(loop_new_virtual(w->world, &w->loop));
    loop_set_worker_latency(w->loop, 5 * MS_US);
    CHECK_OK(store_disk_new(1024 * 1024, &w->disk));
    open_store(w);
}

static void end(struct world *w)
{
    store_close(w->store);
    store_disk_free(w->disk);
    loop_free(w->loop);
    loop_world_free(w->world);
}

static void on_done(void *arg, enum err result)
{
    struct world *w = arg;
    w->told++;
    w->last = result;
}

static void submit(struct world *w, const char *key, const char *value)
{
    struct store_batch *batch = NULL;
    CHECK_OK(store_batch_new(w->store, &batch));
    CHECK_OK(value != NULL ? store_put(batch, 0, slice_str(key), slice_str(value))
                           : store_delete(batch, 0, slice_str(key)));
    CHECK_OK(store_commit(w->store, batch, on_done, w));
}

static enum err commit(struct world *w, const char *key, const char *value)
{
    unsigned told = w->told;
    submit(w, key, value);
    loop_world_run(w->world, loop_world_now_us(w->world) + 5 * MS_US);
    CHECK_INT(w->told, told + 1);
    return w->last;
}

static void restart(struct world *w)
{
    store_close(w->store);
    open_store(w);
}

static bool has(struct world *w, const char *key, const char *value)
{
    BUFFER(found, 64);
    enum err err = store_get(w->store, 0, slice_str(key), &found);
    CHECK(err == OK || err == ERR_NOT_FOUND);
    return err == OK && slice_equal(buffer_slice(&found), slice_str(value));
}

static void a_commit_takes_the_workers_latency_and_shows_only_then(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    submit(&w, "a", "1");
    loop_world_run(w.world, loop_world_now_us(w.world) + 5 * MS_US - 1);
    CHECK_INT(w.told, 0);
    CHECK(!has(&w, "a", "1"));
    loop_world_run(w.world, loop_world_now_us(w.world) + 1);
    CHECK_INT(w.told, 1);
    CHECK(has(&w, "a", "1"));
    end(&w);
}

static void a_crash_loses_unfinished_commits_and_nothing_else(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    CHECK_OK(commit(&w, "a", "1"));
    submit(&w, "b", "2");
    restart(&w);
    loop_world_run(w.world, loop_world_now_us(w.world) + SECOND_US);
    CHECK_INT(w.told, 1);
    CHECK(has(&w, "a", "1"));
    CHECK(!has(&w, "b", "2"));
    end(&w);
}

static void a_full_disk_refuses_what_adds_and_lets_through_what_frees(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    CHECK_OK(commit(&w, "a", "1"));
    store_disk_set_mode(w.disk, STORE_DISK_FULL);
    CHECK_ERR(commit(&w, "b", "2"), ERR_FULL);
    CHECK_OK(commit(&w, "a", "3"));
    CHECK_OK(commit(&w, "a", NULL));
    CHECK_ERR(commit(&w, "c", "2"), ERR_FULL);
    store_disk_set_mode(w.disk, STORE_DISK_OK);
    CHECK_OK(commit(&w, "b", "2"));
    CHECK(!has(&w, "a", "1") && has(&w, "b", "2"));
    end(&w);
}

static void the_cap_holds(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    static uint8_t value[64 * 1024];
    unsigned n = 0;
    enum err err;
    do {
        struct store_batch *batch = NULL;
        char key[16];
        snprintf(key, sizeof key, "%u", n);
        CHECK_OK(store_batch_new(w.store, &batch));
        CHECK_OK(store_put(batch, 0, slice_str(key), slice_of(value, sizeof value)));
        CHECK_OK(store_commit(w.store, batch, on_done, &w));
        loop_world_run(w.world, loop_world_now_us(w.world) + 5 * MS_US);
        err = w.last;
    } while (err == OK && ++n < 100);
    CHECK_ERR(err, ERR_FULL);
    CHECK_INT(n, 14); /* 90 % of 16 */
    struct store_usage usage;
    store_usage(w.store, &usage);
    CHECK(usage.used_bytes <= usage.cap_bytes && usage.used_bytes > usage.cap_bytes - sizeof value);
    end(&w);
}

static void a_failing_disk_fails_every_commit_until_it_is_well(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    CHECK_OK(commit(&w, "a", "1"));
    store_disk_set_mode(w.disk, STORE_DISK_EIO);
    CHECK_ERR(commit(&w, "b", "2"), ERR_IO);
    struct store_usage usage;
    store_usage(w.store, &usage);
    int64_t since_us = usage.failing_since_us;
    CHECK_ERR(usage.failing, ERR_IO);
    CHECK(since_us > 0);
    CHECK_ERR(commit(&w, "a", NULL), ERR_IO);
    store_usage(w.store, &usage);
    CHECK(usage.failing_since_us == since_us); /* the first of the row */
    store_disk_set_mode(w.disk, STORE_DISK_OK);
    CHECK(has(&w, "a", "1") && !has(&w, "b", "2"));
    CHECK(!store_broken(w.store));
    CHECK_OK(commit(&w, "b", "2"));
    store_usage(w.store, &usage);
    CHECK(usage.failing == OK && usage.failing_since_us == 0);
    end(&w);
}

static void what_a_lying_disk_reported_is_undone_by_the_close(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    CHECK_OK(commit(&w, "a", "1"));
    CHECK_OK(commit(&w, "b", "1"));
    store_disk_set_mode(w.disk, STORE_DISK_LIES);
    CHECK_OK(commit(&w, "a", "2"));
    CHECK_OK(commit(&w, "b", NULL));
    CHECK_OK(commit(&w, "c", "2"));
    CHECK_OK(commit(&w, "c", "3"));
    CHECK(has(&w, "a", "2") && !has(&w, "b", "1") && has(&w, "c", "3"));
    restart(&w);
    CHECK(has(&w, "a", "1") && has(&w, "b", "1") && !has(&w, "c", "3") && !has(&w, "c", "2"));
    end(&w);
}

static void what_has_settled_on_a_lying_disk_stays(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    store_disk_set_mode(w.disk, STORE_DISK_LIES);
    CHECK_OK(commit(&w, "a", "1"));
    store_disk_settle(w.disk);
    CHECK_OK(commit(&w, "b", "2"));
    restart(&w);
    CHECK(has(&w, "a", "1") && !has(&w, "b", "2"));
    CHECK_OK(commit(&w, "b", "2"));
    store_disk_set_mode(w.disk, STORE_DISK_OK);
    CHECK_OK(commit(&w, "c", "3")); /* an honest flush covers what came before it */
    restart(&w);
    CHECK(has(&w, "a", "1") && has(&w, "b", "2") && has(&w, "c", "3"));
    end(&w);
}

static void a_cut_may_come_after_commits_that_nobody_was_told_of(void **state)
{
    (void)state;
    for (unsigned cut = 0; cut <= 4; cut++) {
        struct world w;
        begin(&w);
        CHECK_OK(commit(&w, "z", "0"));
        submit(&w, "a", "1");
        submit(&w, "b", "2");
        submit(&w, "z", NULL);
        store_disk_set_cut(w.disk, cut);
        restart(&w);
        CHECK_INT(w.told, 1);
        CHECK_INT(has(&w, "a", "1"), cut >= 1);
        CHECK_INT(has(&w, "b", "2"), cut >= 2);
        CHECK_INT(has(&w, "z", "0"), cut < 3);
        submit(&w, "c", "3");
        restart(&w); /* once only */
        CHECK(!has(&w, "c", "3"));
        end(&w);
    }
}

static void a_batch_needs_room_beside_what_it_frees(void **state)
{
    (void)state;
    struct world w;
    static char body[200 * 1024];
    begin(&w);
    memset(body, 'x', sizeof body - 1);
    for (char key[2] = "a"; key[0] <= 'd'; key[0]++) { /* 800 of 1,024 KiB */
        CHECK_OK(commit(&w, key, body));
    }
    CHECK_OK(commit(&w, "a", body)); /* one at a time they can be written anew */
    struct store_batch *batch = NULL;
    CHECK_OK(store_batch_new(w.store, &batch));
    for (char key[2] = "a"; key[0] <= 'd'; key[0]++) {
        CHECK_OK(store_put(batch, 0, slice_str(key), slice_str(body)));
    }
    CHECK_OK(store_commit(w.store, batch, on_done, &w));
    loop_world_run(w.world, loop_world_now_us(w.world) + 5 * MS_US);
    CHECK_ERR(w.last, ERR_FULL); /* together they cannot: LMDB has old and new side by side until the end */
    end(&w);
}

struct seen {
    char text[200];
};

static void on_seen(void *arg, unsigned table, struct slice key, struct slice value, bool undone)
{
    struct seen *seen = arg;
    size_t len = strlen(seen->text);
    (void)snprintf(seen->text + len, sizeof(seen->text) - len, "%s%u%.*s%.*s ", undone ? "-" : "+", table, (int)key.len,
                   (const char *)key.ptr, (int)value.len, (const char *)value.ptr);
}

static void add_key(void *arg, struct slice key, struct slice value)
{
    on_seen(arg, 9, key, value, false);
}

static void a_checker_sees_what_a_power_cut_would_leave(void **state)
{
    (void)state;
    struct world w;
    struct seen seen = {""}, all = {""};
    struct slice value;
    begin(&w);
    CHECK_OK(commit(&w, "a", "1"));
    store_disk_watch(w.disk, on_seen, &seen);
    store_disk_set_mode(w.disk, STORE_DISK_LIES);
    CHECK_OK(commit(&w, "a", "2"));
    CHECK_OK(commit(&w, "a", "3"));
    CHECK_OK(commit(&w, "b", "4"));
    CHECK(has(&w, "a", "3"));
    CHECK_OK(store_disk_get(w.disk, 0, slice_str("a"), &value));
    CHECK(slice_equal(value, slice_str("1")));
    CHECK_ERR(store_disk_get(w.disk, 0, slice_str("b"), &value), ERR_NOT_FOUND);
    CHECK_ERR(store_disk_get(w.disk, 1, slice_str("a"), &value), ERR_NOT_FOUND);
    restart(&w);
    CHECK_STR(seen.text, "+0a2 +0a3 +0b4 -0b4 -0a3 -0a2 ");
    store_disk_foreach(w.disk, 0, add_key, &all);
    CHECK_STR(all.text, "+9a1 ");
    CHECK_INT(store_disk_used(w.disk), 1 + 1 + 16);
    store_close(w.store);
    store_disk_erase(w.disk, 0, slice_str("a"));
    CHECK_INT(store_disk_used(w.disk), 0);
    open_store(&w);
    CHECK(!has(&w, "a", "1"));
    end(&w);
}

static void a_clone_is_a_disk_of_its_own(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    CHECK_OK(commit(&w, "a", "1"));
    struct store_disk *image = NULL, *now = w.disk;
    CHECK_OK(store_disk_clone(w.disk, &image));
    CHECK_OK(commit(&w, "a", "2"));
    CHECK_OK(commit(&w, "b", "2"));
    store_close(w.store);
    w.disk = image;
    open_store(&w);
    CHECK(has(&w, "a", "1") && !has(&w, "b", "2"));
    store_disk_free(now);
    end(&w);
}

static void a_disk_is_open_once(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    struct store *second = NULL;
    CHECK_ERR(store_open_memory(w.loop, w.disk, 2, &second), ERR_CONFLICT);
    end(&w);
}

static void a_million_entries_stay_fast(void **state)
{
    (void)state;
    /* quadratic behaviour would take hours here: the test's time limit is the assertion */
    static struct sorted map;
    enum { COUNT = 1000000 };
    for (unsigned i = 0; i < COUNT; i++) {
        uint64_t key = i % 2 ? mix_u64(i) : __builtin_bswap64(i);
        struct sorted_node *old, *n = sorted_node_new(&map, slice_of(&key, sizeof key), slice_of(&i, sizeof i));
        CHECK(n != NULL);
        sorted_insert(&map, n, &old);
        CHECK(old == NULL);
    }
    CHECK_INT(map.count, COUNT);
    size_t seen = 0;
    for (const struct sorted_node *n = sorted_seek(&map, slice_str("")); n != NULL; n = sorted_next(n)) {
        seen++;
    }
    CHECK_INT(seen, COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        uint64_t key = i % 2 ? mix_u64(i) : __builtin_bswap64(i);
        struct sorted_node *n = sorted_remove(&map, slice_of(&key, sizeof key));
        CHECK(n != NULL && slice_equal(sorted_value(n), slice_of(&i, sizeof i)));
        sorted_node_free(n);
    }
    CHECK_INT(map.count, 0);
    CHECK(sorted_seek(&map, slice_str("")) == NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_commit_takes_the_workers_latency_and_shows_only_then),
        cmocka_unit_test(a_crash_loses_unfinished_commits_and_nothing_else),
        cmocka_unit_test(a_full_disk_refuses_what_adds_and_lets_through_what_frees),
        cmocka_unit_test(the_cap_holds),
        cmocka_unit_test(a_failing_disk_fails_every_commit_until_it_is_well),
        cmocka_unit_test(what_a_lying_disk_reported_is_undone_by_the_close),
        cmocka_unit_test(what_has_settled_on_a_lying_disk_stays),
        cmocka_unit_test(a_cut_may_come_after_commits_that_nobody_was_told_of),
        cmocka_unit_test(a_batch_needs_room_beside_what_it_frees),
        cmocka_unit_test(a_checker_sees_what_a_power_cut_would_leave),
        cmocka_unit_test(a_clone_is_a_disk_of_its_own),
        cmocka_unit_test(a_disk_is_open_once),
        cmocka_unit_test(a_million_entries_stay_fast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
