/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recorder - a library to be preloaded into a program under test (ld.so(8), LD_PRELOAD): writes down what the program
 * does to its files and what it says on its sockets, with payloads, in one order over all processes.
 *
 * Comes in, by the environment:
 *
 *   WEIR_RECORD           directory of the recording: the file `clock` (16 bytes, shared by mmap), a log a process
 *   WEIR_RECORD_ROOTS     path prefixes, ':' between them; files elsewhere are not recorded. Directories above a root
 *                         are: their fsync is what makes a root's own name durable
 *   WEIR_RECORD_MACHINE   number of the machine that this process stands for
 *   WEIR_RECORD_DIE       the process kills itself before its so-manieth recorded call, when no other is under way:
 *                         what it has done and what it has recorded are then the same. Not while the second
 *                         number in `clock` is not 0
 *   WEIR_RECORD_LIE       a planted fault: syncs are made, but not recorded, as on a disk that says "synced" and has
 *                         not. "disk": all; "start:N": until the process has sent N times; "name:TEXT": of files with
 *                         TEXT in their name
 *
 * Goes out: entries as in power_cut/recording.h. Stamps are taken just before and just after the call, so a sync that
 * ended before a send began has the smaller stamp, also when they were on different threads.
 *
 * Not seen: writes through a shared map and those that the C library makes for itself (stdio). The replayer compares
 * what it makes of the recording with the real files, so that nothing is missed silently.
 *
 * System calls are made directly; nothing here allocates. A descriptor is looked at by fstat each time: no table of
 * descriptors can go out of date.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/support/power_cut/recording.h"

enum { KNOWN_MAX = 4096, ROOTS_BYTES = 4096, PARTS_MAX = 64, LOG_FD_MIN = 900, LIE_BYTES = 64 };

static _Atomic uint64_t *stamps; /* the clock file: the last stamp, "nobody dies any more"; NULL: nothing is recorded */
static int log_fd = -1;
static char roots[ROOTS_BYTES];
static uint16_t machine;
static pthread_rwlock_t quiet = PTHREAD_RWLOCK_INITIALIZER; /* read: a recorded call is under way */
static _Atomic uint64_t calls, sends;
static uint64_t die_at;

static enum { HONEST, LIE_DISK, LIE_START, LIE_NAME } lie;
static uint64_t lie_sends;
static char lie_text[LIE_BYTES];

/* Inodes of files and directories under the roots that were opened: open addressing, never removed. */
static struct {
    _Atomic uint64_t inode;
    _Atomic bool lies;
} known[KNOWN_MAX];

/* ---- start ---- */
static void read_lie(const char *text)
{
    if (text == NULL || text[0] == '\0') {
        return;
    }
    if (strcmp(text, "disk") == 0) {
        lie = LIE_DISK;
    } else if (strncmp(text, "start:", 6) == 0) {
        lie = LIE_START;
        lie_sends = strtoull(text + 6, NULL, 10);
    } else if (strncmp(text, "name:", 5) == 0) {
        lie = LIE_NAME;
        snprintf(lie_text, sizeof lie_text, "%s", text + 5);
    } else {
        fprintf(stderr, "recorder: WEIR_RECORD_LIE=%s is not understood\n", text);
        _exit(2);
    }
}

static int open_here(const char *dir, const char *name, int flags)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
}

__attribute__((constructor)) static void begin(void)
{
    const char *dir = getenv("WEIR_RECORD"), *prefixes = getenv("WEIR_RECORD_ROOTS");
    if (dir == NULL || prefixes == NULL || strlen(prefixes) >= sizeof roots) {
        return;
    }
    char name[32];
    snprintf(name, sizeof name, "%d.log", (int)getpid());
    int clock_fd = open_here(dir, "clock", O_RDWR);
    int fd = open_here(dir, name, O_WRONLY | O_CREAT | O_APPEND);
    log_fd = fcntl(fd, F_DUPFD_CLOEXEC, LOG_FD_MIN);
    close(fd);
    void *map =
        clock_fd >= 0 ? mmap(NULL, 2 * sizeof *stamps, PROT_READ | PROT_WRITE, MAP_SHARED, clock_fd, 0) : MAP_FAILED;
    close(clock_fd);
    if (log_fd < 0 || map == MAP_FAILED) {
        fprintf(stderr, "recorder: %s cannot be used: %s\n", dir, strerror(errno));
        _exit(2);
    }
    snprintf(roots, sizeof roots, "%s", prefixes);
    const char *number = getenv("WEIR_RECORD_MACHINE"), *die = getenv("WEIR_RECORD_DIE");
    machine = (uint16_t)(number ? strtoul(number, NULL, 10) : 0);
    die_at = die ? strtoull(die, NULL, 10) : 0;
    read_lie(getenv("WEIR_RECORD_LIE"));
    stamps = map;
}

/* ---- what is recorded ---- */
static bool wanted(const char *path)
{
    size_t len = strlen(path);
    for (const char *root = roots; *root != '\0';) {
        size_t root_len = strcspn(root, ":");
        if (strncmp(path, root, root_len) == 0 ||
            (len < root_len && root[len] == '/' && strncmp(path, root, len) == 0)) {
            return true;
        }
        root += root_len + (root[root_len] == ':');
    }
    return false;
}

/* The absolute path of what a call names. False when it is none of ours. */
static bool resolve(int dir_fd, const char *path, char ret_path[PATH_MAX])
{
    char base[PATH_MAX] = "", link[32];
    if (stamps == NULL || path == NULL) {
        return false;
    }
    if (path[0] != '/') {
        ssize_t len = -1;
        if (dir_fd == AT_FDCWD) {
            len = getcwd(base, sizeof base) != NULL ? (ssize_t)strlen(base) : -1;
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", dir_fd);
            len = readlink(link, base, sizeof base - 1);
        }
        if (len < 0) {
            return false;
        }
        base[len] = '\0';
    }
    int len = snprintf(ret_path, PATH_MAX, "%s%s%s", base, path[0] != '/' ? "/" : "", path);
    while (len > 1 && ret_path[len - 1] == '/') {
        ret_path[--len] = '\0';
    }
    return len < PATH_MAX && wanted(ret_path);
}

static uint64_t inode_of(const char *path)
{
    struct stat st;
    return syscall(SYS_newfstatat, AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_ino : 0;
}

static uint64_t parent_of(const char *path)
{
    char dir[PATH_MAX];
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    slash[slash == dir ? 1 : 0] = '\0';
    return inode_of(dir);
}

static const char *name_of(const char *path)
{
    return strrchr(path, '/') + 1;
}

static size_t slot_of(uint64_t inode)
{
    size_t at = (size_t)(inode * UINT64_C(0x9e3779b97f4a7c15) >> 40) % KNOWN_MAX;
    for (size_t i = 0; i < KNOWN_MAX; i++, at = (at + 1) % KNOWN_MAX) {
        uint64_t there = atomic_load(&known[at].inode);
        if (there == inode || there == 0) {
            break;
        }
    }
    return at;
}

static void know(uint64_t inode, const char *path)
{
    size_t at = slot_of(inode);
    atomic_store(&known[at].inode, inode);
    atomic_store(&known[at].lies, lie == LIE_NAME && strstr(name_of(path), lie_text) != NULL);
}

enum subject { NOT_OURS, A_FILE, A_SOCKET };

static enum subject look(int fd, uint64_t *ret_inode)
{
    struct stat st;
    if (stamps == NULL || syscall(SYS_fstat, fd, &st) != 0) {
        return NOT_OURS;
    }
    *ret_inode = st.st_ino;
    if (S_ISSOCK(st.st_mode)) {
        int domain = 0;
        socklen_t len = sizeof domain;
        (void)getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len);
        return domain == AF_INET || domain == AF_INET6 ? A_SOCKET : NOT_OURS;
    }
    bool ours =
        (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) && atomic_load(&known[slot_of(st.st_ino)].inode) == st.st_ino;
    return ours ? A_FILE : NOT_OURS;
}

static bool syncs_count(uint64_t inode)
{
    switch (lie) {
    case HONEST:
        return true;
    case LIE_DISK:
        return false;
    case LIE_START:
        return atomic_load(&sends) >= lie_sends;
    case LIE_NAME:
        return !atomic_load(&known[slot_of(inode)].lies);
    }
    return true;
}

/* ---- an entry ---- */
struct call {
    struct recording_entry entry;
    const char *name, *name2;
    const struct iovec *parts;
    int part_count;
    int error; /* errno of the caller, put back at the end */
};

static void call_begin(struct call *c, enum recording_kind kind, uint64_t inode)
{
    *c = (struct call){.entry = {.magic = RECORDING_MAGIC, .kind = (uint8_t)kind, .machine = machine, .inode = inode},
                       .name = "",
                       .name2 = ""};
    uint64_t number = atomic_fetch_add(&calls, 1) + 1;
    if (die_at != 0 && number >= die_at && atomic_load(&stamps[1]) == 0) {
        pthread_rwlock_wrlock(&quiet);
        (void)syscall(SYS_kill, (int)syscall(SYS_getpid), SIGKILL);
        for (;;) {
            pause();
        }
    }
    pthread_rwlock_rdlock(&quiet);
    c->entry.begin = atomic_fetch_add(stamps, 1) + 1;
}

static void write_all(struct iovec *parts, int count)
{
    ssize_t n = syscall(SYS_writev, log_fd, parts, count);
    ssize_t whole = 0;
    for (int i = 0; i < count; i++) {
        whole += (ssize_t)parts[i].iov_len;
    }
    if (n != whole) { /* a recording with a hole in it proves nothing */
        (void)syscall(SYS_kill, (int)syscall(SYS_getpid), SIGABRT);
    }
}

/* len bytes of the call's parts were taken; < 0: it failed, nothing is recorded. */
static void call_end(struct call *c, int64_t len)
{
    c->error = errno;
    c->entry.end = atomic_fetch_add(stamps, 1) + 1;
    if (len >= 0) {
        struct iovec out[PARTS_MAX + 3];
        int count = 0;
        c->entry.name_len = (uint32_t)strlen(c->name);
        c->entry.name2_len = (uint32_t)strlen(c->name2);
        c->entry.data_len = (uint32_t)len;
        c->entry.pid = (uint32_t)syscall(SYS_getpid);
        out[count++] = (struct iovec){&c->entry, sizeof c->entry};
        out[count++] = (struct iovec){(char *)(uintptr_t)c->name, c->entry.name_len};
        out[count++] = (struct iovec){(char *)(uintptr_t)c->name2, c->entry.name2_len};
        for (int i = 0; i < c->part_count && len > 0; i++) {
            size_t part = c->parts[i].iov_len < (size_t)len ? c->parts[i].iov_len : (size_t)len;
            out[count++] = (struct iovec){c->parts[i].iov_base, part};
            len -= (int64_t)part;
        }
        write_all(out, count);
    }
    pthread_rwlock_unlock(&quiet);
    errno = c->error;
}

/* ---- bytes ---- */
enum place { AT_POSITION, AT_OFFSET };

static ssize_t put(int fd, const struct iovec *parts, int count, enum place place, off_t offset, int flags)
{
    long high = 0; /* of the offset: only used where a long is half of it */
    if (place == AT_OFFSET) {
        return syscall(SYS_pwritev2, fd, parts, count, offset, high, flags);
    }
    return syscall(SYS_writev, fd, parts, count);
}

static ssize_t record_put(int fd, const struct iovec *parts, int count, enum place place, off_t offset, int flags)
{
    uint64_t inode = 0;
    enum subject subject = look(fd, &inode);
    if (subject == NOT_OURS || count > PARTS_MAX) {
        return put(fd, parts, count, place, offset, flags);
    }
    struct call c;
    if (subject == A_SOCKET) {
        atomic_fetch_add(&sends, 1);
    }
    call_begin(&c, subject == A_SOCKET ? RECORDING_SEND : RECORDING_WRITE, inode);
    c.parts = parts;
    c.part_count = count;
    ssize_t n = put(fd, parts, count, place, offset, flags);
    int error = errno;
    if (subject == A_FILE) {
        c.entry.offset = (uint64_t)(place == AT_OFFSET ? offset : (off_t)syscall(SYS_lseek, fd, 0, SEEK_CUR) - n);
        bool through = (fcntl(fd, F_GETFL) & O_DSYNC) != 0 || (flags & (RWF_DSYNC | RWF_SYNC)) != 0;
        c.entry.flags = through && syncs_count(inode) ? RECORDING_DURABLE : 0;
    }
    errno = error;
    call_end(&c, n);
    return n;
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    struct iovec part = {(void *)(uintptr_t)bytes, len};
    return record_put(fd, &part, 1, AT_POSITION, 0, 0);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    return record_put(fd, parts, count, AT_POSITION, 0, 0);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    struct iovec part = {(void *)(uintptr_t)bytes, len};
    return record_put(fd, &part, 1, AT_OFFSET, offset, 0);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t offset)
{
    return pwrite(fd, bytes, len, offset);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    return record_put(fd, parts, count, AT_OFFSET, offset, 0);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset)
{
    return record_put(fd, parts, count, AT_OFFSET, offset, 0);
}

ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
    return record_put(fd, parts, count, offset == -1 ? AT_POSITION : AT_OFFSET, offset, flags);
}

ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off64_t offset, int flags)
{
    return pwritev2(fd, parts, count, offset, flags);
}

/* ---- sockets ---- */
ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    uint64_t inode = 0;
    if (look(fd, &inode) != A_SOCKET || message->msg_iovlen > PARTS_MAX) {
        return syscall(SYS_sendmsg, fd, message, flags);
    }
    struct call c;
    atomic_fetch_add(&sends, 1);
    call_begin(&c, RECORDING_SEND, inode);
    c.parts = message->msg_iov;
    c.part_count = (int)message->msg_iovlen;
    ssize_t n = syscall(SYS_sendmsg, fd, message, flags);
    call_end(&c, n);
    return n;
}

ssize_t sendto(int fd, const void *bytes, size_t len, int flags, const struct sockaddr *to, socklen_t to_len)
{
    struct iovec part = {(void *)(uintptr_t)bytes, len};
    struct msghdr message = {
        .msg_name = (void *)(uintptr_t)to, .msg_namelen = to_len, .msg_iov = &part, .msg_iovlen = 1};
    return sendmsg(fd, &message, flags);
}

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
    return sendto(fd, bytes, len, flags, NULL, 0);
}

/* ---- syncs and sizes ---- */
static int record_sync(int fd, long number)
{
    uint64_t inode = 0;
    if (look(fd, &inode) != A_FILE || !syncs_count(inode)) {
        return (int)syscall(number, fd);
    }
    struct call c;
    call_begin(&c, RECORDING_SYNC, inode);
    int rc = (int)syscall(number, fd);
    call_end(&c, rc);
    return rc;
}

int fsync(int fd)
{
    return record_sync(fd, SYS_fsync);
}

int fdatasync(int fd)
{
    return record_sync(fd, SYS_fdatasync);
}

int ftruncate(int fd, off_t size)
{
    uint64_t inode = 0;
    if (look(fd, &inode) != A_FILE) {
        return (int)syscall(SYS_ftruncate, fd, size);
    }
    struct call c;
    call_begin(&c, RECORDING_TRUNCATE, inode);
    c.entry.offset = (uint64_t)size;
    int rc = (int)syscall(SYS_ftruncate, fd, size);
    call_end(&c, rc);
    return rc;
}

int ftruncate64(int fd, off64_t size)
{
    return ftruncate(fd, size);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
    uint64_t inode = 0;
    if (look(fd, &inode) != A_FILE || mode != 0) {
        return (int)syscall(SYS_fallocate, fd, mode, offset, len);
    }
    struct call c;
    call_begin(&c, RECORDING_ALLOCATE, inode);
    c.entry.offset = (uint64_t)(offset + len);
    int rc = (int)syscall(SYS_fallocate, fd, mode, offset, len);
    call_end(&c, rc);
    return rc;
}

int fallocate64(int fd, int mode, off64_t offset, off64_t len)
{
    return fallocate(fd, mode, offset, len);
}

int posix_fallocate(int fd, off_t offset, off_t len)
{
    int before = errno;
    int rc = fallocate(fd, 0, offset, len) == 0 ? 0 : errno;
    errno = before;
    return rc;
}

int posix_fallocate64(int fd, off64_t offset, off64_t len)
{
    return posix_fallocate(fd, offset, len);
}

/* ---- names ---- */
static int record_open(int dir_fd, const char *path, int flags, mode_t mode)
{
    char full[PATH_MAX];
    if (!resolve(dir_fd, path, full)) {
        return (int)syscall(SYS_openat, dir_fd, path, flags, mode);
    }
    struct call c;
    uint64_t before = inode_of(full);
    bool may_create = (flags & O_CREAT) != 0 && before == 0, cuts = (flags & O_TRUNC) != 0 && before != 0;
    if (may_create || cuts) {
        call_begin(&c, may_create ? RECORDING_CREATE : RECORDING_TRUNCATE, before);
    }
    int fd = (int)syscall(SYS_openat, dir_fd, path, flags, mode);
    int error = errno;
    uint64_t inode = fd >= 0 ? inode_of(full) : 0;
    if (fd >= 0) {
        know(inode, full);
    }
    errno = error;
    if (may_create || cuts) {
        c.entry.inode = inode;
        c.entry.parent = parent_of(full);
        c.name = may_create ? name_of(full) : "";
        errno = error;
        call_end(&c, fd >= 0 ? 0 : -1);
    }
    return fd;
}

#define WITH_MODE                                                                                                      \
    mode_t mode = 0;                                                                                                   \
    if ((flags & (O_CREAT | O_TMPFILE)) != 0) {                                                                        \
        va_list args;                                                                                                  \
        va_start(args, flags);                                                                                         \
        mode = va_arg(args, mode_t);                                                                                   \
        va_end(args);                                                                                                  \
    }

int open(const char *path, int flags, ...)
{
    WITH_MODE
    return record_open(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    WITH_MODE
    return record_open(AT_FDCWD, path, flags, mode);
}

int openat(int dir_fd, const char *path, int flags, ...)
{
    WITH_MODE
    return record_open(dir_fd, path, flags, mode);
}

int openat64(int dir_fd, const char *path, int flags, ...)
{
    WITH_MODE
    return record_open(dir_fd, path, flags, mode);
}

/* What _FORTIFY_SOURCE makes of an open without a mode. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir_fd, const char *path, int flags);
int __openat64_2(int dir_fd, const char *path, int flags);

int __open_2(const char *path, int flags)
{
    return record_open(AT_FDCWD, path, flags, 0);
}

int __open64_2(const char *path, int flags)
{
    return record_open(AT_FDCWD, path, flags, 0);
}

int __openat_2(int dir_fd, const char *path, int flags)
{
    return record_open(dir_fd, path, flags, 0);
}

int __openat64_2(int dir_fd, const char *path, int flags)
{
    return record_open(dir_fd, path, flags, 0);
}

static int record_unlink(int dir_fd, const char *path, int flags)
{
    char full[PATH_MAX];
    if (!resolve(dir_fd, path, full)) {
        return (int)syscall(SYS_unlinkat, dir_fd, path, flags);
    }
    struct call c;
    uint64_t inode = inode_of(full);
    call_begin(&c, RECORDING_UNLINK, inode);
    c.entry.parent = parent_of(full);
    c.name = name_of(full);
    int rc = (int)syscall(SYS_unlinkat, dir_fd, path, flags);
    call_end(&c, rc);
    return rc;
}

int unlink(const char *path)
{
    return record_unlink(AT_FDCWD, path, 0);
}

int unlinkat(int dir_fd, const char *path, int flags)
{
    return record_unlink(dir_fd, path, flags);
}

int rmdir(const char *path)
{
    return record_unlink(AT_FDCWD, path, AT_REMOVEDIR);
}

static int record_rename(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    char full[PATH_MAX], full2[PATH_MAX];
    if (!resolve(from_fd, from, full) || !resolve(to_fd, to, full2)) {
        return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
    }
    struct call c;
    uint64_t inode = inode_of(full);
    call_begin(&c, RECORDING_RENAME, inode);
    c.entry.parent = parent_of(full);
    c.entry.parent2 = parent_of(full2);
    c.name = name_of(full);
    c.name2 = name_of(full2);
    int rc = (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
    call_end(&c, rc);
    return rc;
}

int rename(const char *from, const char *to)
{
    return record_rename(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    return record_rename(from_fd, from, to_fd, to, 0);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    return record_rename(from_fd, from, to_fd, to, flags);
}

static int record_mkdir(int dir_fd, const char *path, mode_t mode)
{
    char full[PATH_MAX];
    if (!resolve(dir_fd, path, full)) {
        return (int)syscall(SYS_mkdirat, dir_fd, path, mode);
    }
    struct call c;
    call_begin(&c, RECORDING_MKDIR, 0);
    int rc = (int)syscall(SYS_mkdirat, dir_fd, path, mode);
    int error = errno;
    c.entry.inode = inode_of(full);
    c.entry.parent = parent_of(full);
    c.name = name_of(full);
    errno = error;
    call_end(&c, rc);
    return rc;
}

int mkdir(const char *path, mode_t mode)
{
    return record_mkdir(AT_FDCWD, path, mode);
}

int mkdirat(int dir_fd, const char *path, mode_t mode)
{
    return record_mkdir(dir_fd, path, mode);
}
