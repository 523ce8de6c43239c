/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: batches are atomic, durable and in order; a store is held by one process; a full one can be emptied. */
#include "tests/unit/core/store/rig.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void what_was_committed_is_there_after_reopening(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    rig_open(&rig);
    CHECK_STR(rig.quarantined, "");
    struct store_batch *batch = rig_batch(&rig);
    CHECK_OK(store_put(batch, 0, slice_str("a"), slice_str("1")));
    CHECK_OK(store_put(batch, 1, slice_str("a"), slice_str("other table")));
    CHECK_OK(store_put(batch, 0, slice_str("empty"), slice_str("")));
    CHECK_INT(store_batch_ops(batch), 3);
    CHECK_OK(rig_commit(&rig, batch));
    rig_close(&rig);
    rig_open(&rig);
    CHECK_STR(rig.quarantined, "");
    CHECK_STR(rig_list(&rig, 0, "", ""), "a=1 empty= ");
    CHECK_STR(rig_get(&rig, 1, "a"), "other table");
    rig_end(&rig);
}

static void nothing_of_a_batch_is_there_before_its_commit_or_without_it(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    rig_open(&rig);
    struct store_batch *batch = rig_batch(&rig);
    CHECK_OK(store_put(batch, 0, slice_str("a"), slice_str("1")));
    CHECK_STR(rig_list(&rig, 0, "", ""), "");
    store_batch_free(batch);
    CHECK_STR(rig_list(&rig, 0, "", ""), "");
    batch = rig_batch(&rig);
    CHECK_INT(store_batch_ops(batch), 0);
    CHECK_INT(store_batch_bytes(batch), 0);
    rig_close(&rig);
    store_batch_free(batch); /* after its store */
    rig_end(&rig);
}

static void later_operations_win_over_earlier_ones(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    rig_open(&rig);
    struct store_batch *batch = rig_batch(&rig);
    uint8_t *value;
    CHECK_OK(store_put(batch, 0, slice_str("a"), slice_str("old")));
    CHECK_OK(store_put(batch, 0, slice_str("b"), slice_str("1")));
    CHECK_OK(store_put_reserve(batch, 0, slice_str("a"), 3, &value));
    memcpy(value, "new", 3);
    CHECK_OK(store_delete(batch, 0, slice_str("b")));
    CHECK_OK(store_delete(batch, 0, slice_str("never there")));
    CHECK_OK(store_delete_range(batch, 0, slice_str("x"), slice_str("z")));
    CHECK_OK(store_put(batch, 0, slice_str("y"), slice_str("behind the range")));
    CHECK_OK(rig_commit(&rig, batch));
    CHECK_STR(rig_list(&rig, 0, "", ""), "a=new y=behind the range ");
    rig_end(&rig);
}

static void ranges_include_both_ends(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    rig_open(&rig);
    struct store_batch *batch = rig_batch(&rig);
    const char *keys[] = {"a", "b", "ba", "c", "ca", "d"};
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        CHECK_OK(store_put(batch, 0, slice_str(keys[i]), slice_str("")));
    }
    CHECK_OK(rig_commit(&rig, batch));
    CHECK_STR(rig_list(&rig, 0, "b", "c"), "b= ba= c= ");
    CHECK_STR(rig_list(&rig, 0, "bb", "cz"), "c= ca= ");
    CHECK_STR(rig_list(&rig, 0, "ca", ""), "ca= d= ");
    CHECK_STR(rig_list(&rig, 0, "e", ""), "");
    batch = rig_batch(&rig);
    CHECK_OK(store_delete_range(batch, 0, slice_str("b"), slice_str("c")));
    CHECK_OK(rig_commit(&rig, batch));
    CHECK_STR(rig_list(&rig, 0, "", ""), "a= ca= d= ");
    rig_end(&rig);
}

static bool stop_at_once(void *arg, struct slice key, struct slice value)
{
    (void)key;
    (void)value;
    ++*(int *)arg;
    return false;
}

static bool read_within(void *arg, struct slice key, struct slice value)
{
    struct rig *rig = arg;
    (void)value;
    CHECK(slice_equal(key, slice_str("a")));
    CHECK_STR(rig_list(rig, 0, "", ""), "a=1 b=2 ");
    CHECK_STR(rig_get(rig, 0, "b"), "2");
    return false;
}

static void a_reader_may_stop_and_may_read_within_reading(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    rig_open(&rig);
    rig_put(&rig, "a", "1");
    rig_put(&rig, "b", "2");
    int calls = 0;
    CHECK_OK(store_foreach(rig.store, 0, slice_str(""), slice_str(""), stop_at_once, &calls));
    CHECK_INT(calls, 1);
    CHECK_OK(store_foreach(rig.store, 0, slice_str(""), slice_str(""), read_within, &rig));
    CHECK_OK(store_foreach(rig.store, 1, slice_str(""), slice_str(""), read_within, &rig));
    rig_end(&rig);
}

struct order {
    struct rig *rig;
    char text[64];
    unsigned value;
};

static void note_order(void *arg, enum err result)
{
    struct order *o = arg;
    CHECK_OK(result);
    CHECK_INT(atoi(rig_get(o->rig, 0, "n")) >= (int)o->value, 1);
    CHECK(store_telling(o->rig->store) != 0);
    rig_done(o->rig, result);
    CHECK_INT(o->rig->told, o->value);
}

static void batches_commit_in_the_order_of_submission(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    rig_open(&rig);
    struct order orders[20];
    for (unsigned i = 0; i < COUNT_OF(orders); i++) {
        struct store_batch *batch = rig_batch(&rig);
        orders[i] = (struct order){.rig = &rig, .value = i + 1};
        snprintf(orders[i].text, sizeof orders[i].text, "%u", i + 1);
        CHECK_OK(store_put(batch, 0, slice_str("n"), slice_str(orders[i].text)));
        CHECK_OK(store_commit(rig.store, batch, note_order, &orders[i]));
    }
    CHECK_INT(store_commits_pending(rig.store), COUNT_OF(orders));
    rig_wait(&rig, COUNT_OF(orders));
    CHECK_INT(store_commits_pending(rig.store), 0);
    CHECK_STR(rig_get(&rig, 0, "n"), "20");
    struct store_usage usage;
    store_usage(rig.store, &usage);
    CHECK_INT(usage.commits, COUNT_OF(orders));
    CHECK_INT(usage.failed_commits, 0);
    CHECK_INT(store_telling(rig.store), 0);
    rig_end(&rig);
}

static void close_in_done(void *arg, enum err result)
{
    struct rig *rig = arg;
    CHECK_OK(result);
    rig_close(rig);
    loop_stop(rig->loop);
}

static void a_store_may_be_closed_in_done_with_commits_behind_it(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    rig_open(&rig);
    for (int i = 0; i < 3; i++) {
        struct store_batch *batch = rig_batch(&rig);
        CHECK_OK(store_put(batch, 0, slice_str("a"), slice_str("1")));
        CHECK_OK(store_commit(rig.store, batch, close_in_done, &rig)); /* only the first is called */
    }
    CHECK_OK(loop_run(rig.loop));
    rig_open(&rig);
    CHECK_STR(rig_get(&rig, 0, "a"), "1");
    rig_end(&rig);
}

static void operations_out_of_bounds_are_refused(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    rig_open(&rig);
    struct store_batch *batch = rig_batch(&rig);
    static uint8_t big[1024 * 1024 + 1];
    CHECK_ERR(store_put(batch, 0, slice_of(big, 0), slice_str("")), ERR_RANGE);
    CHECK_ERR(store_put(batch, 0, slice_of(big, STORE_KEY_MAX + 1), slice_str("")), ERR_RANGE);
    CHECK_ERR(store_put(batch, 0, slice_str("a"), slice_of(big, sizeof big)), ERR_RANGE);
    CHECK_OK(store_put(batch, 0, slice_of(big, STORE_KEY_MAX), slice_str("longest key")));
    CHECK_OK(rig_commit(&rig, batch));
    BUFFER(value, 64);
    CHECK_OK(store_get(rig.store, 0, slice_of(big, STORE_KEY_MAX), &value));
    CHECK(slice_equal(buffer_slice(&value), slice_str("longest key")));
    CHECK_ERR(store_get(rig.store, 7, slice_str("a"), &value), ERR_NOT_FOUND);
    rig_end(&rig);
}

static void the_file_is_preallocated_and_a_larger_one_is_kept(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    CHECK_OK(rig_try_open(&rig, 4 * RIG_SIZE));
    rig_put(&rig, "a", "1");
    char file[128];
    struct stat st;
    snprintf(file, sizeof file, "%s/data.mdb", rig.path);
    CHECK(stat(file, &st) == 0);
    CHECK_INT(st.st_size, 4 * RIG_SIZE);
    CHECK(st.st_blocks * 512 >= st.st_size);
    struct store_usage usage;
    static const uint64_t asked[] = {RIG_SIZE, 12 * RIG_SIZE, 8 * RIG_SIZE, RIG_SIZE};
    static const uint64_t got[] = {4 * RIG_SIZE, 12 * RIG_SIZE, 12 * RIG_SIZE, 12 * RIG_SIZE};
    for (size_t i = 0; i < COUNT_OF(asked); i++) {
        rig_close(&rig);
        CHECK_OK(rig_try_open(&rig, asked[i]));
        store_usage(rig.store, &usage);
        CHECK_INT(usage.size_bytes, got[i]);
        CHECK_INT(usage.cap_bytes, got[i] / 100 * 90);
        CHECK(stat(file, &st) == 0);
        CHECK_INT(st.st_size, got[i]);
        rig_put(&rig, "b", "2");
    }
    rig_end(&rig);
}

/* Puts 64 entries of len bytes with keys from n on in one batch. */
static enum err put_many(struct rig *rig, unsigned n, size_t len)
{
    static uint8_t value[8192];
    struct store_batch *batch = rig_batch(rig);
    for (unsigned i = 0; i < 64; i++) {
        char key[16];
        snprintf(key, sizeof key, "%08u", 64 * n + i);
        CHECK_OK(store_put(batch, 0, slice_str(key), slice_of(value, len)));
    }
    return rig_commit(rig, batch);
}

static enum err delete_many(struct rig *rig, unsigned n)
{
    char from[16], to[16];
    snprintf(from, sizeof from, "%08u", 64 * n);
    snprintf(to, sizeof to, "%08u", 64 * n + 63);
    struct store_batch *batch = rig_batch(rig);
    CHECK_OK(store_delete_range(batch, 0, slice_str(from), slice_str(to)));
    return rig_commit(rig, batch);
}

static void fill_and_empty(size_t len, unsigned least)
{
    struct rig rig;
    rig_begin(&rig);
    rig_open(&rig);
    struct store_usage usage;
    unsigned end = 0, begin = 0;
    for (int round = 0; round < 5; round++) {
        enum err err;
        while ((err = put_many(&rig, end, len)) == OK) {
            end++;
        }
        CHECK_ERR(err, ERR_FULL);
        CHECK((end - begin) * 64 >= least);
        store_usage(rig.store, &usage);
        CHECK(usage.used_bytes <= usage.cap_bytes);
        CHECK(!store_broken(rig.store));
        /* full: nothing is added, but an entry of the same size may be written over */
        CHECK_ERR(put_many(&rig, end, len), ERR_FULL);
        CHECK_OK(put_many(&rig, end - 1, len));
        for (int restart = 0; restart < 2; restart++) {
            rig_close(&rig);
            rig_open(&rig);
            CHECK_ERR(put_many(&rig, end, len), ERR_FULL);
        }
        /* it can be emptied, in small steps and to the last entry */
        while (begin < end) {
            CHECK_OK(delete_many(&rig, begin++));
        }
        CHECK_STR(rig_list(&rig, 0, "", ""), "");
    }
    rig_end(&rig);
}

static void a_full_store_refuses_more_and_can_be_emptied(void **state)
{
    (void)state;
    fill_and_empty(100, 4000);
}

static void a_store_full_of_large_values_can_be_emptied(void **state)
{
    (void)state;
    fill_and_empty(2500, 64);
    fill_and_empty(4000, 64);
}

static void above_a_lowered_cap_entries_may_go_but_not_come(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    rig_open(&rig);
    for (unsigned i = 0; i < 60; i++) {
        CHECK_OK(put_many(&rig, i, 150));
    }
    rig_close(&rig);
    struct store_options options = {.path = rig.path, .tables = rig_tables, .table_count = 2, .size_bytes = RIG_SIZE,
                                    .cap_pct = 30};
    CHECK_OK(store_open(rig.loop, &options, &rig.store, NULL, 0, &rig.fault));
    CHECK_ERR(put_many(&rig, 60, 1), ERR_FULL);
    CHECK_OK(put_many(&rig, 59, 150)); /* written over */
    for (unsigned i = 0; i < 60; i++) {
        CHECK_OK(delete_many(&rig, i));
    }
    CHECK_OK(put_many(&rig, 60, 1));
    rig_end(&rig);
}

static void what_is_in_use_shrinks_when_entries_go(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    rig_open(&rig);
    struct store_usage before, full, after;
    store_usage(rig.store, &before);
    for (unsigned i = 0; i < 20; i++) {
        CHECK_OK(put_many(&rig, i, 200));
    }
    store_usage(rig.store, &full);
    CHECK(full.used_bytes > before.used_bytes + 20 * 64 * 200);
    for (unsigned i = 0; i < 20; i++) {
        CHECK_OK(delete_many(&rig, i));
    }
    rig_close(&rig);
    rig_open(&rig); /* counted afresh */
    store_usage(rig.store, &after);
    CHECK(after.used_bytes < before.used_bytes + 64 * 1024);
    rig_end(&rig);
}

/* Runs fn in a child and gives its exit status. */
static int in_child(void (*fn)(struct rig *rig), struct rig *rig)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        fn(rig);
        _exit(9);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void try_to_open(struct rig *rig)
{
    struct loop *loop;
    struct store *store;
    struct fault fault;
    struct store_options options = {.path = rig->path, .tables = rig_tables, .table_count = 2, .size_bytes = RIG_SIZE};
    if (loop_new(&loop) != OK || store_open(loop, &options, &store, NULL, 0, &fault) != ERR_CONFLICT) {
        _exit(1);
    }
    char pid[32];
    snprintf(pid, sizeof pid, "process %ld:", (long)getppid());
    _exit(strstr(fault.text, pid) != NULL && strstr(fault.text, rig->path) != NULL ? 0 : 2);
}

static void a_second_process_is_refused_and_told_the_holders_pid(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    rig_open(&rig);
    CHECK_INT(in_child(try_to_open, &rig), 0);
    struct store *mine = rig.store;
    CHECK_ERR(rig_try_open(&rig, RIG_SIZE), ERR_CONFLICT); /* a second time in this process */
    rig.store = mine;
    rig_put(&rig, "a", "1");
    rig_end(&rig);
}

static void dump(struct rig *rig)
{
    struct loop *loop;
    struct store_options options = {.path = rig->path, .tables = rig_tables, .table_count = 2, .read_only = true};
    struct rig mine = {0};
    if (loop_new(&loop) != OK || store_open(loop, &options, &mine.store, NULL, 0, &mine.fault) != OK) {
        _exit(1);
    }
    bool good = strcmp(rig_list(&mine, 0, "", ""), "a=1 ") == 0;
    store_close(mine.store);
    const char *const other[] = {"first", "unheard of"};
    options.tables = other;
    good = good && store_open(loop, &options, &mine.store, NULL, 0, &mine.fault) == ERR_CONFLICT;
    options.path = "/nonexistent/store";
    good = good && store_open(loop, &options, &mine.store, NULL, 0, &mine.fault) == ERR_NOT_FOUND;
    _exit(good ? 0 : 2);
}

static void a_dump_tool_reads_while_the_store_is_held(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    rig_open(&rig);
    rig_put(&rig, "a", "1");
    CHECK_INT(in_child(dump, &rig), 0);
    rig_put(&rig, "b", "2");
    rig_end(&rig);
}

static bool stand_still(void *arg, struct slice key, struct slice value)
{
    (void)key;
    (void)value;
    bool told = write(*(int *)arg, ".", 1) == 1;
    while (told) {
        pause(); /* until killed */
    }
    return false;
}

static void read_for_ever(struct rig *rig, int pipe)
{
    struct loop *loop;
    struct store *store;
    struct store_options options = {.path = rig->path, .tables = rig_tables, .table_count = 2, .read_only = true};
    CHECK_OK(loop_new(&loop));
    CHECK_OK(store_open(loop, &options, &store, NULL, 0, NULL));
    (void)!store_foreach(store, 0, slice_str(""), slice_str(""), stand_still, &pipe);
}

static void a_reader_that_pins_pages_fills_the_store_only_until_it_dies(void **state)
{
    (void)state;
    struct rig rig;
    int ends[2], status;
    char byte;
    rig_begin(&rig);
    rig_open(&rig);
    CHECK_OK(put_many(&rig, 0, 1000));
    CHECK(pipe(ends) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        read_for_ever(&rig, ends[1]);
        _exit(1);
    }
    CHECK(read(ends[0], &byte, 1) == 1);
    enum err err = OK;
    for (int i = 0; i < 1000 && err == OK; i++) {
        err = put_many(&rig, 0, 1000); /* always the same entries */
    }
    CHECK_ERR(err, ERR_FULL);
    CHECK(!store_broken(rig.store));
    CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
    err = put_many(&rig, 0, 1000); /* notices that the reader is dead: when it finds no room, or before, if a count is due */
    CHECK(err == ERR_FULL || err == OK);
    for (int i = 0; i < 200; i++) {
        CHECK_OK(put_many(&rig, 0, 1000));
    }
    close(ends[0]);
    close(ends[1]);
    rig_end(&rig);
}

static void open_unprivileged(struct rig *rig)
{
    if (geteuid() == 0 && seteuid(65534) != 0) {
        _exit(3);
    }
    enum err err = rig_try_open(rig, RIG_SIZE);
    fprintf(stderr, "%s\n", rig->fault.text);
    _exit(err == ERR_DENIED && strstr(rig->fault.text, rig->path) != NULL ? 0 : 1);
}

static void a_directory_that_cannot_be_written_is_refused_by_name(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    CHECK(chmod(rig.dir, 0755) == 0);
    CHECK(mkdir(rig.path, 0700) == 0);
    bool root = geteuid() == 0;
    if (root) {
        CHECK_INT(in_child(open_unprivileged, &rig), 0); /* another user's */
        CHECK(chown(rig.path, 65534, 65534) == 0);
        CHECK_ERR(rig_try_open(&rig, RIG_SIZE), ERR_DENIED); /* root does not meddle with it either */
        CHECK_CONTAINS(rig.fault.text, "belongs to user 65534");
    }
    CHECK(chmod(rig.path, 0500) == 0);
    CHECK_INT(in_child(open_unprivileged, &rig), 0); /* ours, but read-only */
    CHECK(chmod(rig.path, 0700) == 0);
    rig_end(&rig);
}

static void bad_options_are_refused(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    CHECK_ERR(rig_try_open(&rig, 1000), ERR_RANGE);
    CHECK_CONTAINS(rig.fault.text, "1 MiB");
    struct store_options options = {.path = rig.path, .tables = rig_tables, .size_bytes = RIG_SIZE};
    CHECK_ERR(store_open(rig.loop, &options, &rig.store, NULL, 0, &rig.fault), ERR_RANGE);
    snprintf(rig.path, sizeof rig.path, "%s/none/store", rig.dir);
    CHECK_ERR(rig_try_open(&rig, RIG_SIZE), ERR_NOT_FOUND);
    CHECK_CONTAINS(rig.fault.text, rig.path);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_committed_is_there_after_reopening),
        cmocka_unit_test(nothing_of_a_batch_is_there_before_its_commit_or_without_it),
        cmocka_unit_test(later_operations_win_over_earlier_ones),
        cmocka_unit_test(ranges_include_both_ends),
        cmocka_unit_test(a_reader_may_stop_and_may_read_within_reading),
        cmocka_unit_test(batches_commit_in_the_order_of_submission),
        cmocka_unit_test(a_store_may_be_closed_in_done_with_commits_behind_it),
        cmocka_unit_test(operations_out_of_bounds_are_refused),
        cmocka_unit_test(the_file_is_preallocated_and_a_larger_one_is_kept),
        cmocka_unit_test(a_full_store_refuses_more_and_can_be_emptied),
        cmocka_unit_test(a_store_full_of_large_values_can_be_emptied),
        cmocka_unit_test(above_a_lowered_cap_entries_may_go_but_not_come),
        cmocka_unit_test(what_is_in_use_shrinks_when_entries_go),
        cmocka_unit_test(a_second_process_is_refused_and_told_the_holders_pid),
        cmocka_unit_test(a_dump_tool_reads_while_the_store_is_held),
        cmocka_unit_test(a_reader_that_pins_pages_fills_the_store_only_until_it_dies),
        cmocka_unit_test(a_directory_that_cannot_be_written_is_refused_by_name),
        cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
