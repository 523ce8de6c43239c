/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a store is set aside for what is in its file, never for what the machine lacks while it is looked at: a read
 * that fails for once, no memory. Such a start ends with the cause, and the next one finds everything.
 *
 * liblmdb's calls come to the functions of this program, since a program's own names go before the C library's.
 */
#include "tests/unit/core/store/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

/* The call that fails, counted from when it is set; 0 = none. */
static unsigned failing_read, failing_map;

static bool fails(unsigned *countdown)
{
    return *countdown > 0 && --*countdown == 0;
}

ssize_t pread(int fd, void *bytes, size_t len, off_t at)
{
    if (fails(&failing_read)) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pread64, fd, bytes, len, at);
}

void *mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
    if (fails(&failing_map)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, at, len, prot, flags, fd, offset); /* NOLINT: the kernel's own answer */
}

static void make_store(struct rig *rig)
{
    rig_begin(rig);
    rig_open(rig);
    rig_put(rig, "a", "1");
    rig_close(rig);
}

/* Opening fails with the cause in the text; nothing is set aside, and all is there afterwards. */
static void check_fails_and_keeps(struct rig *rig, unsigned *countdown, unsigned call, const char *cause)
{
    *countdown = call;
    enum err err = rig_try_open(rig, RIG_SIZE);
    *countdown = 0;
    CHECK_STR(rig->quarantined, "");
    if (err != OK) {
        CHECK(err == ERR_IO || err == ERR_NOMEM);
        CHECK_CONTAINS(rig->fault.text, cause);
        CHECK_CONTAINS(rig->fault.text, rig->path);
        rig_open(rig);
    }
    CHECK_STR(rig->quarantined, "");
    CHECK_STR(rig_list(rig, 0, "", ""), "a=1 ");
    rig_close(rig);
}

static void a_read_that_fails_for_once_is_no_damage(void **state)
{
    (void)state;
    struct rig rig;
    make_store(&rig);
    for (unsigned call = 1; call <= 6; call++) {
        check_fails_and_keeps(&rig, &failing_read, call, "Input/output error");
    }
    rig_end(&rig);
}

static void want_of_memory_is_no_damage(void **state)
{
    (void)state;
    struct rig rig;
    make_store(&rig);
    for (unsigned call = 1; call <= 8; call++) {
        check_fails_and_keeps(&rig, &failing_map, call, "Cannot allocate memory");
    }
    rig_end(&rig);
}

static void a_header_that_asks_for_an_absurd_map_is_damage_all_the_same(void **state)
{
    (void)state;
    struct rig rig;
    char file[128];
    make_store(&rig);
    snprintf(file, sizeof file, "%s/data.mdb", rig.path);
    uint64_t absurd = UINT64_C(1) << 61;
    int fd = open(file, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0);
    for (off_t page = 0; page < 2; page++) { /* both headers: page head of 16 bytes, magic, version, address */
        CHECK(pwrite(fd, &absurd, sizeof absurd, page * 4096 + 32) == (ssize_t)sizeof absurd);
    }
    close(fd);
    rig_open(&rig);
    CHECK_CONTAINS(rig.quarantined, ".quarantine-");
    CHECK_STR(rig_list(&rig, 0, "", ""), "");
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_that_fails_for_once_is_no_damage),
        cmocka_unit_test(want_of_memory_is_no_damage),
        cmocka_unit_test(a_header_that_asks_for_an_absurd_map_is_damage_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
