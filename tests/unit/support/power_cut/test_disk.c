/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the model of a disk at a power cut keeps what was synced, may lose or tear what was not, and makes nothing up.
 * Recordings are written here by hand; the states are real files.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/check.h"
#include "tests/support/power_cut/disk.h"

enum { CALLS_MAX = 64, ROOT = 1, FILE_1 = 2, FILE_2 = 3, DIR_1 = 4, TRIES = 200, SECTOR = 512 };

struct rig {
    char folder[64];
    struct recording_entry heads[CALLS_MAX];
    struct recorded entries[CALLS_MAX];
    struct recording recording;
    struct disk *disk;
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int start(void **state)
{
    struct rig *r = calloc(1, sizeof *r);
    char path[128];
    snprintf(r->folder, sizeof r->folder, "/tmp/weir-disk-XXXXXX");
    CHECK(mkdtemp(r->folder) != NULL);
    snprintf(path, sizeof path, "%s/inodes", r->folder);
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    fprintf(f, "%d 0 .\n", ROOT);
    fclose(f);
    r->disk = disk_new(r->folder, path);
    r->recording.entries = r->entries;
    *state = r;
    return 0;
}

static int end(void **state)
{
    struct rig *r = *state;
    disk_free(r->disk);
    (void)nftw(r->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(r);
    return 0;
}

/* ---- a recording by hand ---- */
static struct recorded *call(struct rig *r, enum recording_kind kind, uint64_t inode)
{
    size_t n = r->recording.count++;
    CHECK(n < CALLS_MAX);
    r->heads[n] = (struct recording_entry){
        .kind = (uint8_t)kind, .machine = 1, .inode = inode, .parent = ROOT, .begin = 10 * n + 1, .end = 10 * n + 5};
    r->entries[n].head = &r->heads[n];
    return &r->entries[n];
}

static struct recording_entry *head(struct rig *r)
{
    return &r->heads[r->recording.count - 1];
}

static void create(struct rig *r, const char *name, uint64_t inode)
{
    call(r, RECORDING_CREATE, inode)->name = slice_str(name);
}

static void put(struct rig *r, uint64_t inode, uint64_t offset, const char *text, size_t len)
{
    call(r, RECORDING_WRITE, inode)->data = slice_of(text, len);
    head(r)->offset = offset;
}

static void sync_of(struct rig *r, uint64_t inode)
{
    (void)call(r, RECORDING_SYNC, inode);
}

/* A file that is there, with its name. */
static void begin_file(struct rig *r)
{
    create(r, "a", FILE_1);
    sync_of(r, ROOT);
}

/* ---- a state ---- */
static void cut_now(struct rig *r, enum cut_mode mode, uint64_t seed, char path[128])
{
    struct cut cut = {.seed = seed};
    struct cut_stats stats;
    for (unsigned m = 0; m < DISK_MACHINES; m++) {
        cut.mode[m] = mode;
    }
    snprintf(path, 128, "%s/state", r->folder);
    (void)nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    CHECK_INT(mkdir(path, 0700), 0);
    disk_cut(r->disk, &cut, path, &stats);
}

/* The file's bytes as text of at most size - 1 bytes; NULL when it is not there. */
static char *content(struct rig *r, enum cut_mode mode, uint64_t seed, const char *name)
{
    static char bytes[8192];
    char path[128], file[200];
    cut_now(r, mode, seed, path);
    snprintf(file, sizeof file, "%s/%s", path, name);
    int fd = open(file, O_RDONLY);
    if (fd < 0) {
        return NULL;
    }
    ssize_t n = read(fd, bytes, sizeof bytes - 1);
    CHECK(n >= 0);
    bytes[n] = '\0';
    close(fd);
    return bytes;
}

static void play_all(struct rig *r)
{
    disk_play(r->disk, &r->recording);
    disk_advance(r->disk, UINT64_MAX);
}

static void what_was_synced_is_there_whatever_is_lost(void **state)
{
    struct rig *r = *state;
    begin_file(r);
    put(r, FILE_1, 0, "durable", 7);
    sync_of(r, FILE_1);
    put(r, FILE_1, 7, " lost", 5);
    play_all(r);
    CHECK_STR(content(r, CUT_NONE, 1, "a"), "durable");
    CHECK_STR(content(r, CUT_ALL, 1, "a"), "durable lost");
    for (uint64_t seed = 0; seed < TRIES; seed++) {
        for (enum cut_mode mode = 0; mode < CUT_MODES; mode++) {
            CHECK(strncmp(content(r, mode, seed, "a"), "durable", 7) == 0);
        }
    }
}

static void a_sync_covers_only_what_was_written_before_it_began(void **state)
{
    struct rig *r = *state;
    begin_file(r);
    put(r, FILE_1, 0, "before", 6);
    sync_of(r, FILE_1);
    struct recording_entry *sync = head(r);
    put(r, FILE_1, 6, " meanwhile", 10);
    head(r)->begin = sync->begin + 1; /* both were under way at the same time */
    head(r)->end = sync->begin + 2;
    play_all(r);
    CHECK_STR(content(r, CUT_NONE, 1, "a"), "before");
}

static void a_sync_that_has_not_returned_promises_nothing(void **state)
{
    struct rig *r = *state;
    begin_file(r);
    put(r, FILE_1, 0, "text", 4);
    sync_of(r, FILE_1);
    disk_play(r->disk, &r->recording);
    disk_advance(r->disk, head(r)->end);
    CHECK_STR(content(r, CUT_NONE, 1, "a"), "");
    disk_advance(r->disk, head(r)->end + 1);
    CHECK_STR(content(r, CUT_NONE, 1, "a"), "text");
}

static void a_write_through_is_durable_alone(void **state)
{
    struct rig *r = *state;
    begin_file(r);
    put(r, FILE_1, 0, "waits", 5);
    put(r, FILE_1, 5, "DURABLE", 7);
    head(r)->flags = RECORDING_DURABLE;
    play_all(r);
    char *text = content(r, CUT_NONE, 1, "a");
    CHECK_INT(memcmp(text, "\0\0\0\0\0DURABLE", 12), 0);
}

static void an_older_write_that_waits_does_not_cover_a_newer_durable_one(void **state)
{
    struct rig *r = *state;
    begin_file(r);
    put(r, FILE_1, 0, "old!", 4);
    put(r, FILE_1, 0, "new!", 4);
    head(r)->flags = RECORDING_DURABLE;
    play_all(r);
    for (enum cut_mode mode = 0; mode < CUT_MODES; mode++) {
        CHECK_STR(content(r, mode, 3, "a"), "new!");
    }
}

static void a_name_is_durable_only_with_its_directory(void **state)
{
    struct rig *r = *state;
    create(r, "a", FILE_1);
    put(r, FILE_1, 0, "synced", 6);
    sync_of(r, FILE_1);
    disk_play(r->disk, &r->recording);
    disk_advance(r->disk, UINT64_MAX);
    CHECK(content(r, CUT_NONE, 1, "a") == NULL);
    CHECK_STR(content(r, CUT_ALL, 1, "a"), "synced");
}

static void another_machines_sync_of_the_directory_does_not_count(void **state)
{
    struct rig *r = *state;
    create(r, "a", FILE_1);
    sync_of(r, ROOT);
    head(r)->machine = 2;
    play_all(r);
    CHECK(content(r, CUT_NONE, 1, "a") == NULL);
}

static void a_rename_that_waits_leaves_the_old_name_or_the_new_one(void **state)
{
    struct rig *r = *state;
    unsigned old = 0, new = 0;
    begin_file(r);
    struct recorded *c = call(r, RECORDING_RENAME, FILE_1);
    c->name = slice_str("a");
    c->name2 = slice_str("b");
    head(r)->parent2 = ROOT;
    play_all(r);
    for (uint64_t seed = 0; seed < TRIES; seed++) {
        bool a = content(r, CUT_SOME, seed, "a") != NULL, b = content(r, CUT_SOME, seed, "b") != NULL;
        CHECK(a != b);
        old += a;
        new += b;
    }
    CHECK(old > 0 && new > 0);
    CHECK(content(r, CUT_NONE, 1, "a") != NULL);
    CHECK(content(r, CUT_ALL, 1, "b") != NULL);
}

static void an_unlinked_file_may_be_back_until_its_directory_is_synced(void **state)
{
    struct rig *r = *state;
    begin_file(r);
    call(r, RECORDING_UNLINK, FILE_1)->name = slice_str("a");
    uint64_t before_sync = head(r)->end + 1;
    sync_of(r, ROOT);
    disk_play(r->disk, &r->recording);
    disk_advance(r->disk, before_sync);
    CHECK(content(r, CUT_NONE, 1, "a") != NULL);
    CHECK(content(r, CUT_ALL, 1, "a") == NULL);
    disk_advance(r->disk, UINT64_MAX);
    CHECK(content(r, CUT_NONE, 1, "a") == NULL);
}

static void a_new_file_with_the_inode_of_an_old_one_is_another_file(void **state)
{
    struct rig *r = *state;
    begin_file(r);
    put(r, FILE_1, 0, "old", 3);
    sync_of(r, FILE_1);
    call(r, RECORDING_UNLINK, FILE_1)->name = slice_str("a");
    create(r, "b", FILE_1);
    put(r, FILE_1, 0, "newer", 5);
    sync_of(r, FILE_1);
    play_all(r);
    CHECK_STR(content(r, CUT_NONE, 1, "a"), "old");
    CHECK_STR(content(r, CUT_ALL, 1, "b"), "newer");
}

static void a_directory_without_a_name_takes_its_files_along(void **state)
{
    struct rig *r = *state;
    call(r, RECORDING_MKDIR, DIR_1)->name = slice_str("d");
    create(r, "a", FILE_1);
    head(r)->parent = DIR_1;
    sync_of(r, DIR_1);
    put(r, FILE_1, 0, "x", 1);
    sync_of(r, FILE_1);
    play_all(r);
    CHECK(content(r, CUT_NONE, 1, "d/a") == NULL);
    CHECK_STR(content(r, CUT_ALL, 1, "d/a"), "x");
}

static void a_torn_write_is_torn_at_sectors_and_nowhere_else(void **state)
{
    struct rig *r = *state;
    static char text[4 * SECTOR];
    unsigned whole = 0, holes = 0, shorter = 0;
    memset(text, 'x', sizeof text);
    begin_file(r);
    put(r, FILE_1, 0, text, sizeof text);
    play_all(r);
    for (uint64_t seed = 0; seed < TRIES; seed++) {
        char *is = content(r, seed % 2 ? CUT_TORN : CUT_FIRST, seed, "a");
        char path[200];
        struct stat st;
        snprintf(path, sizeof path, "%s/state/a", r->folder);
        CHECK_INT(stat(path, &st), 0);
        CHECK(st.st_size % SECTOR == 0);
        shorter += st.st_size < (off_t)sizeof text;
        unsigned there = 0;
        for (off_t at = 0; at < st.st_size; at += SECTOR) {
            bool zero = is[at] == '\0';
            for (int i = 0; i < SECTOR; i++) {
                CHECK(is[at + i] == (zero ? '\0' : 'x'));
            }
            there += !zero;
        }
        whole += there == 4;
        holes += there < (unsigned)(st.st_size / SECTOR);
    }
    CHECK(whole > 0 && holes > 0 && shorter > 0);
}

static void an_ordered_disk_has_no_later_write_without_the_earlier_ones(void **state)
{
    struct rig *r = *state;
    unsigned seen[4] = {0};
    begin_file(r);
    put(r, FILE_1, 0, "1", 1);
    put(r, FILE_1, 1, "2", 1);
    put(r, FILE_1, 2, "3", 1);
    play_all(r);
    for (uint64_t seed = 0; seed < TRIES; seed++) {
        size_t len = strlen(content(r, CUT_FIRST, seed, "a"));
        CHECK(len <= 3 && strncmp(content(r, CUT_FIRST, seed, "a"), "123", len) == 0);
        seen[len]++;
    }
    CHECK(seen[0] > 0 && seen[1] > 0 && seen[2] > 0 && seen[3] > 0);
}

static void machines_lose_apart_and_a_state_is_the_same_for_the_same_seed(void **state)
{
    struct rig *r = *state;
    struct cut cut = {.seed = 5, .mode = {[2] = CUT_ALL}};
    struct cut_stats stats;
    char path[128], file[200];
    struct stat st;
    begin_file(r);
    put(r, FILE_1, 0, "one", 3);
    create(r, "b", FILE_2);
    head(r)->machine = 2;
    put(r, FILE_2, 0, "two", 3);
    head(r)->machine = 2;
    play_all(r);
    cut_now(r, CUT_NONE, 1, path);
    snprintf(path, sizeof path, "%s/apart", r->folder);
    CHECK_INT(mkdir(path, 0700), 0);
    disk_cut(r->disk, &cut, path, &stats);
    snprintf(file, sizeof file, "%s/a", path);
    CHECK_INT(stat(file, &st), 0);
    CHECK_INT(st.st_size, 0);
    snprintf(file, sizeof file, "%s/b", path);
    CHECK_INT(stat(file, &st), 0);
    CHECK_INT(st.st_size, 3);
    for (uint64_t seed = 0; seed < 20; seed++) {
        char *first = content(r, CUT_SOME, seed, "b");
        bool there = first != NULL;
        CHECK_INT(content(r, CUT_SOME, seed, "b") != NULL, there);
    }
}

static void the_end_is_compared_with_the_real_files(void **state)
{
    struct rig *r = *state;
    char path[128], file[200];
    begin_file(r);
    put(r, FILE_1, 0, "text", 4);
    play_all(r);
    cut_now(r, CUT_ALL, 1, path);
    CHECK_INT(disk_compare(r->disk, path), 0);
    snprintf(file, sizeof file, "%s/a", path);
    CHECK_INT(truncate(file, 3), 0);
    CHECK_INT(disk_compare(r->disk, path), 1);
    CHECK_INT(unlink(file), 0);
    CHECK_INT(disk_compare(r->disk, path), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_synced_is_there_whatever_is_lost),
        TEST(a_sync_covers_only_what_was_written_before_it_began),
        TEST(a_sync_that_has_not_returned_promises_nothing),
        TEST(a_write_through_is_durable_alone),
        TEST(an_older_write_that_waits_does_not_cover_a_newer_durable_one),
        TEST(a_name_is_durable_only_with_its_directory),
        TEST(another_machines_sync_of_the_directory_does_not_count),
        TEST(a_rename_that_waits_leaves_the_old_name_or_the_new_one),
        TEST(an_unlinked_file_may_be_back_until_its_directory_is_synced),
        TEST(a_new_file_with_the_inode_of_an_old_one_is_another_file),
        TEST(a_directory_without_a_name_takes_its_files_along),
        TEST(a_torn_write_is_torn_at_sectors_and_nowhere_else),
        TEST(an_ordered_disk_has_no_later_write_without_the_earlier_ones),
        TEST(machines_lose_apart_and_a_state_is_the_same_for_the_same_seed),
        TEST(the_end_is_compared_with_the_real_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
