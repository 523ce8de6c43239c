/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: whatever happened to the file, opening it ends in a usable store: the old one when it is whole, a new one
 * beside a quarantined copy when it is not; never a crash, never a loop.
 */
#include "tests/unit/core/store/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char file[128];

/* A store with some hundred entries over several pages, in use and freed, closed. */
static void make_store(struct rig *rig)
{
    rig_begin(rig);
    rig_open(rig);
    snprintf(file, sizeof file, "%s/data.mdb", rig->path);
    for (unsigned n = 0; n < 6; n++) {
        struct store_batch *batch = rig_batch(rig);
        for (unsigned i = 0; i < 100; i++) {
            char key[16], value[3001];
            memset(value, 'v', sizeof value);
            snprintf(key, sizeof key, "%06u", 100 * n + i);
            CHECK_OK(store_put(batch, n % 2, slice_str(key), slice_of(value, i == 50 ? 3000 : 80)));
        }
        if (n >= 4) {
            CHECK_OK(store_delete_range(batch, n % 2, slice_str("000000"), slice_str("000150")));
        }
        CHECK_OK(rig_commit(rig, batch));
    }
    rig_close(rig);
}

static void overwrite(off_t at, const void *ptr, size_t len)
{
    int fd = open(file, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0 && pwrite(fd, ptr, len, at) == (ssize_t)len);
    close(fd);
}

static void check_new_store(struct rig *rig)
{
    char copy[PATH_MAX + 16];
    struct stat st;
    CHECK_CONTAINS(rig->quarantined, ".quarantine-");
    CHECK_CONTAINS(rig->fault.text, "damaged store");
    CHECK_CONTAINS(rig->fault.text, rig->quarantined);
    snprintf(copy, sizeof copy, "%s/data.mdb", rig->quarantined);
    CHECK(stat(copy, &st) == 0);
    CHECK_STR(rig_list(rig, 0, "", ""), "");
    rig_put(rig, "a", "1");
    rig_close(rig);
    rig_open(rig);
    CHECK_STR(rig->quarantined, "");
    CHECK_STR(rig_list(rig, 0, "", ""), "a=1 ");
}

static void a_file_truncated_to_nothing_is_quarantined(void **state)
{
    (void)state;
    struct rig rig;
    make_store(&rig);
    CHECK(truncate(file, 0) == 0);
    rig_open(&rig);
    check_new_store(&rig);
    rig_end(&rig);
}

static void a_file_cut_short_is_quarantined(void **state)
{
    (void)state;
    static const off_t lengths[] = {1, 4096, 8192, 16384, 20000};
    struct rig rig;
    make_store(&rig);
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        CHECK(truncate(file, lengths[i]) == 0);
        rig_open(&rig);
        check_new_store(&rig);
        struct store_batch *batch = rig_batch(&rig); /* something to cut for the next round */
        for (unsigned k = 0; k < 300; k++) {
            char key[16], value[100] = "";
            snprintf(key, sizeof key, "%06u", k);
            CHECK_OK(store_put(batch, 0, slice_str(key), slice_of(value, sizeof value)));
        }
        CHECK_OK(rig_commit(&rig, batch));
        rig_close(&rig);
    }
    rig_end(&rig);
}

static void a_file_of_garbage_is_quarantined(void **state)
{
    (void)state;
    struct rig rig;
    make_store(&rig);
    uint8_t garbage[4096];
    for (off_t at = 0; at < RIG_SIZE; at += sizeof garbage) {
        for (size_t i = 0; i < sizeof garbage; i++) {
            garbage[i] = (uint8_t)mix_u64((uint64_t)at + i);
        }
        overwrite(at, garbage, sizeof garbage);
    }
    rig_open(&rig);
    check_new_store(&rig);
    rig_end(&rig);
}

static void a_page_of_zeros_is_quarantined(void **state)
{
    (void)state;
    struct rig rig;
    static const uint8_t zeros[4096];
    make_store(&rig);
    for (off_t page = 2; page < 60; page++) {
        overwrite(page * 4096, zeros, sizeof zeros);
    }
    rig_open(&rig);
    check_new_store(&rig);
    rig_end(&rig);
}

static void each_quarantine_gets_a_place_of_its_own(void **state)
{
    (void)state;
    struct rig rig;
    char first[PATH_MAX];
    make_store(&rig);
    CHECK(truncate(file, 0) == 0);
    rig_open(&rig);
    snprintf(first, sizeof first, "%s", rig.quarantined);
    rig_close(&rig);
    CHECK(truncate(file, 100) == 0);
    rig_open(&rig);
    CHECK_CONTAINS(rig.quarantined, ".quarantine-2");
    CHECK(strcmp(first, rig.quarantined) != 0);
    rig_end(&rig);
}

static void where_the_parent_is_not_ours_the_copy_goes_into_the_store(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        skip(); /* needs a parent of another user */
    }
    struct rig rig;
    make_store(&rig);
    CHECK(truncate(file, 0) == 0);
    char command[256];
    snprintf(command, sizeof command, "chown -R 65534 %s && chmod 755 %s", rig.path, rig.dir);
    CHECK_INT(system(command), 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        char expected[128];
        snprintf(expected, sizeof expected, "%s/quarantine-1", rig.path);
        bool good = seteuid(65534) == 0 && rig_try_open(&rig, RIG_SIZE) == OK;
        _exit(good && strcmp(rig.quarantined, expected) == 0 ? 0 : 1);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_INT(status, 0);
    rig_end(&rig);
}

static void a_start_that_was_cut_off_leaves_no_trace(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    CHECK(mkdir(rig.path, 0700) == 0);
    snprintf(file, sizeof file, "%s/new.mdb", rig.path); /* the name under which a file is made */
    int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, "half", 4) == 4);
    close(fd);
    rig_open(&rig);
    CHECK_STR(rig.quarantined, "");
    CHECK(access(file, F_OK) != 0 && errno == ENOENT);
    rig_put(&rig, "a", "1");
    rig_end(&rig);
}

static void a_whole_file_is_never_quarantined(void **state)
{
    (void)state;
    struct rig rig;
    rig_begin(&rig);
    uint64_t random = 1;
    for (int round = 0; round < 30; round++) {
        rig_open(&rig);
        CHECK_STR(rig.quarantined, "");
        for (int b = 0; b < 5; b++) {
            struct store_batch *batch = rig_batch(&rig);
            for (int i = 0; i < 60; i++) {
                char key[24], value[5000] = "";
                random = mix_u64(random);
                snprintf(key, sizeof key, "%llu", (unsigned long long)(random % 300));
                size_t len = random >> 20 & 7 ? random >> 30 & 255 : random >> 30 & 4095;
                if (random >> 50 & 1) {
                    CHECK_OK(store_put(batch, random >> 51 & 1, slice_str(key), slice_of(value, len)));
                } else {
                    CHECK_OK(store_delete(batch, random >> 51 & 1, slice_str(key)));
                }
            }
            CHECK_OK(rig_commit(&rig, batch));
        }
        rig_close(&rig);
    }
    rig_end(&rig);
}

struct outcome {
    unsigned unnoticed, quarantined;
};

/* Opens and reads everything in a child, which must end by itself. Exit 0: the old store, 1: quarantined. */
static int open_in_child(struct rig *rig)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(60);
        if (rig_try_open(rig, RIG_SIZE) != OK) {
            fprintf(stderr, "%s\n", rig->fault.text);
            _exit(2);
        }
        rig_list(rig, 0, "", "");
        rig_list(rig, 1, "", "");
        rig_put(rig, "zz", "1");
        bool moved = rig->quarantined[0] != '\0';
        rig_close(rig);
        _exit(moved ? 1 : 0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void flipped_bits_end_in_a_usable_store(void **state)
{
    (void)state;
    struct rig rig;
    make_store(&rig);
    char saved[128], command[512];
    snprintf(saved, sizeof saved, "%s/saved", rig.dir);
    snprintf(command, sizeof command, "cp %s %s", file, saved);
    CHECK_INT(system(command), 0);
    struct outcome outcome = {0};
    uint64_t random = 42;
    int in = open(saved, O_RDONLY | O_CLOEXEC);
    CHECK(in >= 0);
    for (int flip = 0; flip < 150; flip++) {
        random = mix_u64(random);
        off_t at = (off_t)(random % (flip % 3 == 0 ? 8192 : 40 * 4096)); /* the headers a third of the time */
        at = flip % 3 == 0 && flip % 2 == 0 ? at % 200 + (at & 4096) : at;
        uint8_t byte;
        CHECK(pread(in, &byte, 1, at) == 1);
        byte ^= (uint8_t)(1u << (random >> 40 & 7));
        overwrite(at, &byte, 1);
        int status = open_in_child(&rig);
        if (status > 1) {
            fprintf(stderr, "bit %d of byte %lld ends with status %d\n", (int)(random >> 40 & 7), (long long)at,
                    status);
        }
        CHECK(status <= 1);
        outcome.unnoticed += status == 0;
        outcome.quarantined += status == 1;
        snprintf(command, sizeof command, "cp %s %s && rm -rf %s.quarantine-*", saved, file, rig.path);
        CHECK_INT(system(command), 0);
    }
    close(in);
    fprintf(stderr, "150 flips: %u quarantined, %u in bytes that structure does not show\n", outcome.quarantined,
            outcome.unnoticed);
    CHECK(outcome.quarantined >= 5); /* the verdict is not always "whole" */
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_truncated_to_nothing_is_quarantined),
        cmocka_unit_test(a_file_cut_short_is_quarantined),
        cmocka_unit_test(a_file_of_garbage_is_quarantined),
        cmocka_unit_test(a_page_of_zeros_is_quarantined),
        cmocka_unit_test(each_quarantine_gets_a_place_of_its_own),
        cmocka_unit_test(where_the_parent_is_not_ours_the_copy_goes_into_the_store),
        cmocka_unit_test(a_start_that_was_cut_off_leaves_no_trace),
        cmocka_unit_test(a_whole_file_is_never_quarantined),
        cmocka_unit_test(flipped_bits_end_in_a_usable_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
