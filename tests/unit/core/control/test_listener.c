/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a daemon's socket file is its own: a dead one's is replaced, a running one's and anything that is no socket are
 * left alone, and it is removed only while it is still ours.
 */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/control/control_internal.h"
#include "tests/support/check.h"

static char folder[] = "/tmp/weir-control-XXXXXX";
static char path[80];
static struct fault fault;

static bool exists(void)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static void the_socket_is_for_owner_and_group_only(void **state)
{
    (void)state;
    int fd;
    struct stat st;
    mode_t before = umask(0);
    CHECK_OK(control_listen(path, &fd, &st, &fault));
    umask(before);
    CHECK_INT(lstat(path, &st), 0);
    CHECK_INT(st.st_mode & 0777, 0660);
    CHECK(S_ISSOCK(st.st_mode));
    control_unlink(path, &st);
    CHECK(!exists());
    close(fd);
}

static void a_dead_daemons_socket_is_replaced(void **state)
{
    (void)state;
    int fd;
    struct stat st;
    CHECK_OK(control_listen(path, &fd, &st, &fault));
    close(fd); /* as kill -9 does: the file stays */
    CHECK(exists());
    CHECK_OK(control_listen(path, &fd, &st, &fault));
    close(fd);
    unlink(path);
}

static void a_running_daemons_socket_is_left_alone(void **state)
{
    (void)state;
    int fd, other;
    struct stat st, now;
    CHECK_OK(control_listen(path, &fd, &st, &fault));
    CHECK_ERR(control_listen(path, &other, &now, &fault), ERR_CONFLICT);
    CHECK_CONTAINS(fault.text, "in use by a running daemon");
    CHECK_INT(lstat(path, &now), 0);
    CHECK(now.st_ino == st.st_ino);
    close(fd);
    unlink(path);
}

static void a_file_that_is_no_socket_is_not_replaced(void **state)
{
    (void)state;
    int fd;
    struct stat st;
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    fclose(f);
    CHECK_ERR(control_listen(path, &fd, &st, &fault), ERR_CONFLICT);
    CHECK_CONTAINS(fault.text, "is no socket and is not replaced");
    CHECK(exists());
    unlink(path);
}

static void a_socket_that_another_has_made_since_is_not_removed(void **state)
{
    (void)state;
    int fd, other;
    struct stat ours, theirs;
    CHECK_OK(control_listen(path, &fd, &ours, &fault));
    unlink(path);
    CHECK_OK(control_listen(path, &other, &theirs, &fault));
    control_unlink(path, &ours);
    CHECK(exists());
    control_unlink(path, &theirs);
    CHECK(!exists());
    close(fd);
    close(other);
}

static void a_path_that_cannot_be_is_named_with_the_cause(void **state)
{
    (void)state;
    int fd;
    struct stat st;
    char longest[200];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    CHECK_ERR(control_listen(longest, &fd, &st, &fault), ERR_RANGE);
    CHECK_CONTAINS(fault.text, "has 199 characters, allowed are 1..107");
    CHECK_ERR(control_listen("/no/such/folder/x.sock", &fd, &st, &fault), ERR_IO);
    CHECK_CONTAINS(fault.text, "/no/such/folder/x.sock: No such file or directory");
    CHECK_ERR(control_listen("", &fd, &st, &fault), ERR_RANGE);
}

static void a_folder_without_permission_is_denied(void **state)
{
    (void)state;
    if (geteuid() == 0) {
        skip(); /* root may write everywhere */
    }
    int fd;
    struct stat st;
    CHECK_INT(chmod(folder, 0500), 0);
    CHECK_ERR(control_listen(path, &fd, &st, &fault), ERR_DENIED);
    CHECK_INT(chmod(folder, 0700), 0);
}

int main(void)
{
    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    snprintf(path, sizeof(path), "%s/x.sock", folder);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_socket_is_for_owner_and_group_only),
        cmocka_unit_test(a_dead_daemons_socket_is_replaced),
        cmocka_unit_test(a_running_daemons_socket_is_left_alone),
        cmocka_unit_test(a_file_that_is_no_socket_is_not_replaced),
        cmocka_unit_test(a_socket_that_another_has_made_since_is_not_removed),
        cmocka_unit_test(a_path_that_cannot_be_is_named_with_the_cause),
        cmocka_unit_test(a_folder_without_permission_is_denied),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failed;
}
