/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's directory:   data.mdb  lock.mdb (LMDB's readers)  lock (ours: flock, holder's pid)
 *
 * `lock` stays where it is, and held, while a damaged store is moved aside, so nobody slips in between.
 */
#include "core/store/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { QUARANTINES_MAX = 99 };

static enum err class_of_errno(int code)
{
    switch (code) {
    case EACCES:
    case EPERM:
    case EROFS: return ERR_DENIED;
    case ENOENT:
    case ENOTDIR: return ERR_NOT_FOUND;
    case ENOSPC:
    case EDQUOT: return ERR_FULL;
    case ENOMEM: return ERR_NOMEM;
    default: return ERR_IO;
    }
}

static enum err fault_errno(struct fault *reterr, const char *what, const char *path)
{
    int code = errno;
    return fault_set(reterr, class_of_errno(code), "%s: %s %s", strerror(code), what, path);
}

enum err directory_sync(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return ERR_IO;
    }
    /* EINVAL: the file system has no such thing as an unsynced directory */
    bool good = fsync(fd) == 0 || errno == EINVAL;
    close(fd);
    return good ? OK : ERR_IO;
}

static enum err sync_parent(const char *path)
{
    char parent[PATH_MAX];
    snprintf(parent, sizeof parent, "%s", path);
    size_t len = strlen(parent);
    while (len > 1 && parent[len - 1] == '/') {
        parent[--len] = '\0';
    }
    char *slash = strrchr(parent, '/');
    if (slash == NULL) {
        return directory_sync(".");
    }
    slash[slash == parent ? 1 : 0] = '\0';
    return directory_sync(parent);
}

static bool is_network(const struct statfs *fs)
{
    static const unsigned long magics[] = {
        0x6969 /* nfs */,     0xff534d42 /* cifs */, 0xfe534d42 /* smb2 */, 0x517b /* smb */,
        0x5346414f /* afs */, 0x00c36400 /* ceph */, 0x01021997 /* 9p */,
    };
    for (size_t i = 0; i < COUNT_OF(magics); i++) {
        if ((unsigned long)(uint32_t)fs->f_type == magics[i]) {
            return true;
        }
    }
    return false;
}

enum err directory_open(const char *path, struct fault *reterr)
{
    if (strlen(path) + 32 > PATH_MAX) {
        return fault_set(reterr, ERR_RANGE, "path too long: store directory %.100s...", path);
    }
    bool made = mkdir(path, 0700) == 0;
    if (!made && errno != EEXIST) {
        return fault_errno(reterr, "store directory", path);
    }
    /* Also where it was there: a process that was killed may have made it and not synced. Where the parent is not ours
     * to open, its maker has seen to it. */
    enum err synced = sync_parent(path);
    if (made && synced != OK) {
        return fault_set(reterr, synced, "cannot sync its parent: store directory %s", path);
    }
    struct stat st;
    struct statfs fs;
    if (stat(path, &st) != 0 || statfs(path, &fs) != 0) {
        return fault_errno(reterr, "store directory", path);
    }
    if (!S_ISDIR(st.st_mode)) {
        return fault_set(reterr, ERR_DENIED, "not a directory: store %s", path);
    }
    if (st.st_uid != geteuid()) {
        return fault_set(reterr, ERR_DENIED, "belongs to user %u, we run as user %u: store directory %s",
                         (unsigned)st.st_uid, (unsigned)geteuid(), path);
    }
    if (is_network(&fs)) {
        return fault_set(reterr, ERR_UNSUPPORTED,
                         "on a network file system, where locks and maps do not hold: store %s", path);
    }
    return access(path, W_OK | X_OK) == 0 ? OK : fault_errno(reterr, "store directory", path);
}

enum err directory_lock(const char *path, int *ret_fd, struct fault *reterr)
{
    char file[PATH_MAX];
    snprintf(file, sizeof file, "%s/lock", path);
    int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return fault_errno(reterr, "lock file", file);
    }
    char text[24] = "";
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        bool held = errno == EWOULDBLOCK;
        enum err err = held ? ERR_CONFLICT : fault_errno(reterr, "lock file", file);
        if (held) {
            ssize_t len = pread(fd, text, sizeof text - 1, 0);
            long pid = len > 0 ? strtol(text, NULL, 10) : 0;
            err = fault_set(reterr, ERR_CONFLICT, "in use by process %ld: store %s", pid, path);
        }
        close(fd);
        return err;
    }
    int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    ssize_t written = ftruncate(fd, 0) == 0 ? pwrite(fd, text, (size_t)len, 0) : -1;
    if (written != len) {
        errno = written < 0 ? errno : EIO; /* cut short */
        enum err err = fault_errno(reterr, "lock file", file);
        close(fd);
        return err;
    }
    *ret_fd = fd;
    return OK;
}

/* Makes <prefix>quarantine-<n> for the first free n. */
static int make_quarantine(const char *path, char between, char *ret_where, size_t size)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/') {
        len--;
    }
    for (int n = 1; n <= QUARANTINES_MAX; n++) {
        snprintf(ret_where, size, "%.*s%cquarantine-%d", (int)len, path, between, n);
        if (mkdir(ret_where, 0700) == 0) {
            return 0;
        }
        if (errno != EEXIST) {
            return -1;
        }
    }
    return -1;
}

static int move_files(const char *path, const char *where)
{
    static const char *const names[] = {"data.mdb", "lock.mdb"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char from[PATH_MAX], to[PATH_MAX];
        snprintf(from, sizeof from, "%s/%s", path, names[i]);
        snprintf(to, sizeof to, "%s/%s", where, names[i]);
        if (rename(from, to) != 0 && errno != ENOENT) {
            return -1;
        }
    }
    return 0;
}

enum err directory_quarantine(const char *path, char *ret_where, size_t size, struct fault *reterr)
{
    /* Beside the store; within it where the parent is not writable, or where the store is a mount point. */
    static const char between[] = {'.', '/'};
    for (size_t i = 0; i < COUNT_OF(between); i++) {
        if (make_quarantine(path, between[i], ret_where, size) != 0) {
            continue;
        }
        if (move_files(path, ret_where) == 0) {
            if (directory_sync(ret_where) != OK || sync_parent(ret_where) != OK || directory_sync(path) != OK) {
                return fault_set(reterr, ERR_IO, "cannot sync %s after moving a damaged store there", ret_where);
            }
            return OK;
        }
        int code = errno;
        (void)rmdir(ret_where);
        errno = code;
    }
    return fault_errno(reterr, "cannot move the damaged files aside: store", path);
}
