/* SPDX-License-Identifier: Apache-2.0 */
/*
 * failing - a library to be preloaded into a program under test (ld.so(8), LD_PRELOAD): its k-th system or library
 * call of a class fails with a given errno, or writes half of what it was given.
 *
 * Comes in: a control block, the file named by WEIR_FAILING, which this process, its children and the test share by mmap;
 * so a fault can be armed at any time, counts survive a restart of the program, and the test sees what was hit.
 * Goes out: the calls, and in the block how many were seen and hit, with the stack of the first hit and that of a crash.
 *
 *   armed = 0                 everything passes; nothing is counted
 *   armed = 1                 calls of class `call` that belong to `scope` are counted from 1;
 *                             those numbered first .. first + times - 1 fail
 *   armed = 2                 everything passes; the calls of each class in `scope` are counted
 *   scope ""                  every call          "/dir"    those on files below it (for open and names: the path given)
 *                                                 "socket:" those on sockets (as in /proc/self/fd)
 *
 * Nothing here allocates or locks: a failing malloc is called by anybody at any time. The real functions are looked up
 * when they are needed first, which may be before this library's constructor; what dlsym itself may ask for meanwhile
 * comes from a small block that is never given back.
 * With AddressSanitizer the program needs ASAN_OPTIONS=verify_asan_link_order=0; the calls go on to the sanitizer's own.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>
#include <unwind.h>

enum call { WRITE = 1, READ, SYNC, OPEN, MAKE, ALLOC, RESIZE, MAP, NAME, THREAD };
enum { PASS, FAIL, COUNT }; /* armed */
enum { SCOPE_BYTES = 256, TRACE_BYTES = 4096, FRAMES = 24, EARLY_BYTES = 16384 };

/* All numbers 8 bytes, little-endian; tests/support/failing.py knows the layout. */
struct control {
    _Atomic uint64_t armed, call, error, first, times; /* error 0: a short write */
    _Atomic uint64_t seen, hits, pid;                  /* pid of the process of the first hit */
    _Atomic uint64_t counts[16];                       /* by class */
    char scope[SCOPE_BYTES];
    char trace[TRACE_BYTES]; /* "module+0xoffset symbol\n" a frame, innermost first */
    char crash[TRACE_BYTES]; /* the same, of a deadly signal */
};

static struct control *control;
static __thread bool inside __attribute__((tls_model("initial-exec"))); /* our own calls pass */

#define REAL(name)                                                                                                     \
    static _Atomic(__typeof__(&name)) real_##name;                                                                     \
    __typeof__(&name) call_##name = atomic_load(&real_##name);                                                         \
    if (call_##name == NULL) {                                                                                         \
        call_##name = (__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name);                                           \
        atomic_store(&real_##name, call_##name);                                                                       \
    }

/* ---- whether a call fails ---- */
static bool begins_with(const char *text, const char *scope)
{
    return strncmp(text, scope, strlen(scope)) == 0;
}

static bool fd_in_scope(int fd, const char *scope)
{
    char link[32], target[SCOPE_BYTES + 128];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, target, sizeof target - 1);
    target[len > 0 ? len : 0] = '\0';
    return begins_with(target, scope);
}

struct stack {
    uintptr_t frames[FRAMES];
    int count;
};

static _Unwind_Reason_Code add_frame(struct _Unwind_Context *context, void *arg)
{
    struct stack *stack = arg;
    if (stack->count == FRAMES) {
        return _URC_END_OF_STACK;
    }
    stack->frames[stack->count++] = _Unwind_GetIP(context);
    return _URC_NO_REASON;
}

static void write_stack(char *text, int without)
{
    struct stack stack = {.count = 0};
    (void)_Unwind_Backtrace(add_frame, &stack); /* not backtrace(3), which loads this function's library */
    size_t at = 0;
    for (int i = without; i < stack.count && at < TRACE_BYTES - 1; i++) {
        Dl_info info = {0};
        (void)dladdr((void *)stack.frames[i], &info);
        const char *module = info.dli_fname ? info.dli_fname : "?";
        int n = snprintf(text + at, TRACE_BYTES - at, "%s+0x%lx %s\n", module,
                         (unsigned long)(stack.frames[i] - (uintptr_t)info.dli_fbase),
                         info.dli_sname ? info.dli_sname : "?");
        at += n > 0 ? (size_t)n : 0;
    }
}

/* 0: let it pass; -1: a short write; else the errno. fd -1 and path NULL: the call has none. */
static int verdict(enum call call, int fd, const char *path)
{
    struct control *c = control;
    uint64_t armed = c != NULL && !inside ? atomic_load(&c->armed) : PASS;
    if (armed == PASS || (armed == FAIL && atomic_load(&c->call) != (uint64_t)call)) {
        return 0;
    }
    int before = errno, result = 0;
    inside = true;
    bool ours = true;
    if (c->scope[0] != '\0') {
        ours = path != NULL ? begins_with(path, c->scope) : fd >= 0 && fd_in_scope(fd, c->scope);
    }
    if (ours && armed == COUNT) {
        atomic_fetch_add(&c->counts[call], 1);
    } else if (ours) {
        uint64_t number = atomic_fetch_add(&c->seen, 1) + 1, first = atomic_load(&c->first);
        if (number >= first && number - first < atomic_load(&c->times)) {
            if (atomic_fetch_add(&c->hits, 1) == 0) {
                write_stack(c->trace, 3); /* without itself, this function and the call */
                atomic_store(&c->pid, (uint64_t)getpid());
            }
            int error = (int)atomic_load(&c->error);
            result = error == 0 ? -1 : error;
        }
    }
    inside = false;
    errno = before;
    return result;
}

/* ---- where it crashes ---- */
static const int deadly[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
static struct sigaction before[sizeof deadly / sizeof deadly[0]]; /* a sanitizer's, perhaps */

static void on_deadly(int signo, siginfo_t *info, void *context)
{
    (void)info;
    (void)context;
    inside = true;
    write_stack(control->crash, 2); /* without itself and this function */
    for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++) {
        if (deadly[i] == signo) {
            sigaction(signo, &before[i], NULL); /* the instruction is repeated; an abort raises it again */
        }
    }
    inside = false;
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("WEIR_FAILING");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) {
        return;
    }
    void *map = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    control = map != MAP_FAILED ? map : NULL;
    struct sigaction action = {.sa_sigaction = on_deadly, .sa_flags = SA_SIGINFO};
    for (size_t i = 0; control != NULL && i < sizeof deadly / sizeof deadly[0]; i++) {
        sigaction(deadly[i], &action, &before[i]);
    }
}

#define FAIL_WITH(value)                                                                                               \
    do {                                                                                                               \
        if (bad > 0) {                                                                                                 \
            errno = bad;                                                                                               \
            return value;                                                                                              \
        }                                                                                                              \
    } while (0)

/* ---- writing: half of it where it is to be short ---- */
static size_t shorter(int bad, size_t len)
{
    return bad < 0 && len > 1 ? len / 2 : len;
}

#define WRITES(name, after_params, after_args)                                                                         \
    ssize_t name(int fd, const void *bytes, size_t len after_params)                                                   \
    {                                                                                                                  \
        REAL(name)                                                                                                     \
        int bad = verdict(WRITE, fd, NULL);                                                                            \
        FAIL_WITH(-1);                                                                                                 \
        return call_##name(fd, bytes, shorter(bad, len) after_args);                                                   \
    }
#define COMMA ,
WRITES(write, , )
WRITES(pwrite, COMMA off_t offset, COMMA offset)
WRITES(pwrite64, COMMA off64_t offset, COMMA offset)
WRITES(send, COMMA int flags, COMMA flags)

/* Of several blocks the first half of the first that has any. */
#define VECTORS(name, after_params, after_args)                                                                        \
    ssize_t name(int fd, const struct iovec *parts, int count after_params)                                            \
    {                                                                                                                  \
        REAL(name)                                                                                                     \
        int bad = verdict(WRITE, fd, NULL);                                                                            \
        FAIL_WITH(-1);                                                                                                 \
        for (int i = 0; bad < 0 && i < count; i++) {                                                                   \
            if (parts[i].iov_len > 1) {                                                                                \
                struct iovec half = {parts[i].iov_base, parts[i].iov_len / 2};                                         \
                return i == 0 ? call_##name(fd, &half, 1 after_args) : call_##name(fd, parts, i after_args);           \
            }                                                                                                          \
        }                                                                                                              \
        return call_##name(fd, parts, count after_args);                                                               \
    }
VECTORS(writev, , )
VECTORS(pwritev, COMMA off_t offset, COMMA offset)
VECTORS(pwritev64, COMMA off64_t offset, COMMA offset)

/* ---- calls that only fail: FAILS(type, value, class, fd, path, name, (params), (args)) ---- */
#define FAILS(type, value, class, fd, path, name, params, args)                                                        \
    type name params                                                                                                   \
    {                                                                                                                  \
        REAL(name)                                                                                                     \
        int bad = verdict(class, fd, path);                                                                            \
        FAIL_WITH(value);                                                                                              \
        return call_##name args;                                                                                       \
    }
FAILS(ssize_t, -1, WRITE, fd, NULL, sendmsg, (int fd, const struct msghdr *msg, int flags), (fd, msg, flags))
FAILS(ssize_t, -1, READ, fd, NULL, read, (int fd, void *bytes, size_t len), (fd, bytes, len))
FAILS(ssize_t, -1, READ, fd, NULL, pread, (int fd, void *bytes, size_t len, off_t at), (fd, bytes, len, at))
FAILS(ssize_t, -1, READ, fd, NULL, pread64, (int fd, void *bytes, size_t len, off64_t at), (fd, bytes, len, at))
FAILS(ssize_t, -1, READ, fd, NULL, readv, (int fd, const struct iovec *parts, int count), (fd, parts, count))
FAILS(ssize_t, -1, READ, fd, NULL, recv, (int fd, void *bytes, size_t len, int flags), (fd, bytes, len, flags))
FAILS(int, -1, SYNC, fd, NULL, fsync, (int fd), (fd))
FAILS(int, -1, SYNC, fd, NULL, fdatasync, (int fd), (fd))
FAILS(int, -1, RESIZE, fd, NULL, ftruncate, (int fd, off_t len), (fd, len))
FAILS(int, -1, RESIZE, fd, NULL, ftruncate64, (int fd, off64_t len), (fd, len))
FAILS(int, -1, RESIZE, fd, NULL, fallocate, (int fd, int mode, off_t at, off_t len), (fd, mode, at, len))
FAILS(int, bad, RESIZE, fd, NULL, posix_fallocate, (int fd, off_t at, off_t len), (fd, at, len))
FAILS(int, bad, RESIZE, fd, NULL, posix_fallocate64, (int fd, off64_t at, off64_t len), (fd, at, len))
FAILS(FILE *, NULL, OPEN, -1, path, fopen, (const char *path, const char *mode), (path, mode))
FAILS(FILE *, NULL, OPEN, -1, path, fopen64, (const char *path, const char *mode), (path, mode))
FAILS(int, -1, NAME, -1, to, rename, (const char *from, const char *to), (from, to))
FAILS(int, -1, NAME, -1, path, unlink, (const char *path), (path))
FAILS(int, -1, NAME, -1, path, mkdir, (const char *path, mode_t mode), (path, mode))
FAILS(int, -1, MAKE, -1, NULL, socket, (int domain, int type, int protocol), (domain, type, protocol))
FAILS(int, -1, MAKE, -1, NULL, socketpair,
      (int domain, int type, int protocol, int ends[2]), (domain, type, protocol, ends))
FAILS(int, -1, MAKE, -1, NULL, accept4,
      (int fd, __SOCKADDR_ARG from, socklen_t *restrict len, int flags), (fd, from, len, flags))
FAILS(int, -1, MAKE, -1, NULL, accept, (int fd, __SOCKADDR_ARG from, socklen_t *restrict len), (fd, from, len))
FAILS(int, -1, MAKE, -1, NULL, pipe2, (int ends[2], int flags), (ends, flags))
FAILS(int, -1, MAKE, -1, NULL, eventfd, (unsigned count, int flags), (count, flags))
FAILS(int, -1, MAKE, -1, NULL, epoll_create1, (int flags), (flags))
FAILS(int, -1, MAKE, -1, NULL, timerfd_create, (clockid_t clock, int flags), (clock, flags))
FAILS(void *, MAP_FAILED, MAP, fd, NULL, mmap,
      (void *at, size_t len, int prot, int flags, int fd, off_t offset), (at, len, prot, flags, fd, offset))
FAILS(void *, MAP_FAILED, MAP, fd, NULL, mmap64,
      (void *at, size_t len, int prot, int flags, int fd, off64_t offset), (at, len, prot, flags, fd, offset))
FAILS(pid_t, -1, THREAD, -1, NULL, fork, (void), ())
FAILS(int, bad, THREAD, -1, NULL, pthread_create,
      (pthread_t *restrict thread, const pthread_attr_t *restrict attr, void *(*fn)(void *), void *restrict arg),
      (thread, attr, fn, arg))

/* open and openat have a mode only where they create. */
#define OPENS(name, first_params, first_args)                                                                          \
    int name(first_params const char *path, int flags, ...)                                                            \
    {                                                                                                                  \
        REAL(name)                                                                                                     \
        mode_t mode = 0;                                                                                               \
        if ((flags & (O_CREAT | O_TMPFILE)) != 0) {                                                                    \
            va_list more;                                                                                              \
            va_start(more, flags);                                                                                     \
            mode = va_arg(more, mode_t);                                                                               \
            va_end(more);                                                                                              \
        }                                                                                                              \
        int bad = verdict(OPEN, -1, path);                                                                             \
        FAIL_WITH(-1);                                                                                                 \
        return call_##name(first_args path, flags, mode);                                                              \
    }
OPENS(open, , )
OPENS(open64, , )
OPENS(openat, int folder COMMA, folder COMMA)
OPENS(openat64, int folder COMMA, folder COMMA)

/* ---- memory ---- */
static _Alignas(16) unsigned char early[EARLY_BYTES];
static _Atomic size_t early_used;
static __thread bool looking_up __attribute__((tls_model("initial-exec")));

static void *early_alloc(size_t len)
{
    size_t at = atomic_fetch_add(&early_used, (len + 15) / 16 * 16);
    return at + len <= EARLY_BYTES ? early + at : NULL;
}

static bool is_early(const void *ptr)
{
    return (const unsigned char *)ptr >= early && (const unsigned char *)ptr < early + EARLY_BYTES;
}

/* As REAL, for functions that dlsym itself may call. */
#define REAL_MEMORY(name, instead)                                                                                     \
    if (looking_up) {                                                                                                  \
        return instead;                                                                                                \
    }                                                                                                                  \
    looking_up = true;                                                                                                 \
    REAL(name)                                                                                                         \
    looking_up = false;
#define ALLOCATES(name, params, args, len)                                                                             \
    void *name params                                                                                                  \
    {                                                                                                                  \
        REAL_MEMORY(name, early_alloc(len))                                                                            \
        int bad = verdict(ALLOC, -1, NULL);                                                                            \
        FAIL_WITH(NULL);                                                                                               \
        return call_##name args;                                                                                       \
    }
ALLOCATES(malloc, (size_t len), (len), len)
ALLOCATES(calloc, (size_t count, size_t len), (count, len), count * len)
ALLOCATES(aligned_alloc, (size_t align, size_t len), (align, len), len)
ALLOCATES(memalign, (size_t align, size_t len), (align, len), len)

void *realloc(void *ptr, size_t len)
{
    REAL_MEMORY(realloc, early_alloc(len))
    if (is_early(ptr)) {
        void *copy = malloc(len);
        size_t there = (size_t)(early + EARLY_BYTES - (unsigned char *)ptr);
        return copy != NULL ? memcpy(copy, ptr, len < there ? len : there) : NULL;
    }
    int bad = verdict(ALLOC, -1, NULL);
    FAIL_WITH(NULL);
    return call_realloc(ptr, len);
}

int posix_memalign(void **ret_ptr, size_t align, size_t len)
{
    REAL(posix_memalign)
    int bad = verdict(ALLOC, -1, NULL);
    return bad > 0 ? bad : call_posix_memalign(ret_ptr, align, len);
}

void free(void *ptr)
{
    if (is_early(ptr)) {
        return;
    }
    REAL_MEMORY(free, (void)0)
    call_free(ptr);
}
