/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks at a store's file before it is used, in a child process: LMDB has no checksums, trusts every page, and a
 * damaged file can crash the process that opens it.
 *
 * The child maps the file read-only and visits every entry of every table: keys ascend, nodes lie within their
 * page, each page belongs to one owner only, counts agree, the free list names only pages that are free. What it
 * finds comes back as a sentence through a pipe; death by a signal is a finding as well. A child that burns
 * processor time without end has found a loop in the file; one that merely waits has found a slow disk, which is no
 * reason to set a store aside.
 *
 * The parent holds the store's lock and has not opened the environment. The child ends with _exit: nothing of the
 * parent's is torn down twice.
 */
#include "core/store/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lmdb.h>

enum {
    PAGE_HEAD_BYTES = 16,
    CPU_BASE_S = 60,
    WALL_BASE_S = 300,
    BYTES_PER_S = 8 * 1024 * 1024, /* slower than an SD card */
    EXIT_DAMAGED = 1,
    EXIT_NO_VERDICT = 2,
};

struct walk {
    MDB_env *env;
    MDB_txn *txn;
    int out;
    uint64_t file_bytes, page_bytes, last_page;
    uint8_t *owned;    /* a bit per page */
    uint64_t pages;    /* owned ones, the two headers included */
    uintptr_t base;    /* of the map, learnt from the first page */
    uintptr_t current; /* page visited last */
};

static _Noreturn void finish(int out, int status, const char *text)
{
    ssize_t ignored = write(out, text, strlen(text));
    (void)ignored;
    _exit(status);
}

static _Noreturn void damaged(const struct walk *w, const char *text)
{
    finish(w->out, EXIT_DAMAGED, text);
}

static void check_rc(const struct walk *w, int rc)
{
    if (rc == MDB_SUCCESS) {
        return;
    }
    /* LMDB's own codes are negative. A positive one is the system's: it says something of the file only where LMDB was
     * made to ask for what cannot be (EINVAL), or found no header (ENOENT). A disk that fails for once is no damage. */
    bool system = rc > 0 && rc != EINVAL && rc != ENOENT;
    finish(w->out, system ? EXIT_NO_VERDICT : EXIT_DAMAGED, mdb_strerror(rc));
}

static void own_page(struct walk *w, uint64_t page)
{
    if (page < 2 || page > w->last_page) {
        damaged(w, "a page number is outside the file");
    }
    uint8_t bit = (uint8_t)(1u << (page & 7));
    if ((w->owned[page >> 3] & bit) != 0) {
        damaged(w, "a page has two owners");
    }
    w->owned[page >> 3] |= bit;
    w->pages++;
}

/* Number of the page at this address; its header repeats it, so a wrong one shows as a shifted map. */
static uint64_t page_number(struct walk *w, uintptr_t address)
{
    size_t number;
    memcpy(&number, (const void *)address, sizeof number);
    if (number > w->last_page) {
        damaged(w, "a page header is wrong");
    }
    uintptr_t base = address - number * w->page_bytes;
    if (w->base == 0) {
        w->base = base;
    }
    if (base != w->base) {
        damaged(w, "a page stands in the wrong place");
    }
    return number;
}

/* Reads a byte of every page, so that a disk error comes now. */
static void touch(const MDB_val *value, uint64_t page_bytes)
{
    const volatile uint8_t *p = value->mv_data;
    for (size_t i = 0; i < value->mv_size; i += page_bytes) {
        (void)p[i];
    }
}

static void visit(struct walk *w, const MDB_val *key, const MDB_val *value)
{
    uintptr_t at = (uintptr_t)key->mv_data, page = at & ~(uintptr_t)(w->page_bytes - 1);
    if (page != w->current) {
        own_page(w, page_number(w, page));
        w->current = page;
    }
    if (key->mv_size == 0 || at < page + PAGE_HEAD_BYTES || at + key->mv_size > page + w->page_bytes) {
        damaged(w, "a key lies outside its page");
    }
    uintptr_t data = (uintptr_t)value->mv_data, data_page = data & ~(uintptr_t)(w->page_bytes - 1);
    if (data_page == page) {
        if (data + value->mv_size > page + w->page_bytes) {
            damaged(w, "a value lies outside its page");
        }
        return;
    }
    uint64_t count = (PAGE_HEAD_BYTES + value->mv_size + w->page_bytes - 1) / w->page_bytes;
    if (value->mv_size > w->file_bytes || data != data_page + PAGE_HEAD_BYTES) {
        /* an empty value may stand at the very end of its page */
        if (value->mv_size == 0 && data == page + w->page_bytes) {
            return;
        }
        damaged(w, "a value lies outside the file");
    }
    uint64_t first = page_number(w, data_page);
    for (uint64_t i = 0; i < count; i++) {
        own_page(w, first + i);
    }
    touch(value, w->page_bytes);
}

static void visit_free(struct walk *w, const MDB_val *value)
{
    const size_t *ids = value->mv_data;
    if (value->mv_size < sizeof *ids || ids[0] > value->mv_size / sizeof *ids - 1) {
        damaged(w, "the free list is cut short");
    }
    for (size_t i = 1; i <= ids[0]; i++) {
        own_page(w, ids[i]);
    }
}

static bool ascends(const MDB_val *a, const MDB_val *b)
{
    size_t len = a->mv_size < b->mv_size ? a->mv_size : b->mv_size;
    int order = memcmp(a->mv_data, b->mv_data, len);
    return order < 0 || (order == 0 && a->mv_size < b->mv_size);
}

enum table_kind { TABLE_FREE, TABLE_NAMES, TABLE_ENTRIES };

static void walk_table(struct walk *w, MDB_dbi dbi, enum table_kind kind);

static void walk_named(struct walk *w, const MDB_val *name)
{
    char text[512];
    if (name->mv_size >= sizeof text || memchr(name->mv_data, 0, name->mv_size) != NULL) {
        damaged(w, "a table's name is wrong");
    }
    memcpy(text, name->mv_data, name->mv_size);
    text[name->mv_size] = '\0';
    MDB_dbi dbi;
    check_rc(w, mdb_dbi_open(w->txn, text, 0, &dbi));
    uintptr_t current = w->current;
    walk_table(w, dbi, TABLE_ENTRIES);
    w->current = current;
}

static void walk_table(struct walk *w, MDB_dbi dbi, enum table_kind kind)
{
    MDB_stat stat;
    check_rc(w, mdb_stat(w->txn, dbi, &stat));
    MDB_cursor *cursor;
    check_rc(w, mdb_cursor_open(w->txn, dbi, &cursor));
    MDB_val key, value, last = {0};
    uint64_t entries = 0;
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    for (; rc == MDB_SUCCESS; rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        if (++entries > stat.ms_entries) {
            damaged(w, "a table has more entries than it says");
        }
        visit(w, &key, &value);
        if (kind == TABLE_FREE) {
            visit_free(w, &value); /* its keys are integers: order is LMDB's own affair */
        } else if (last.mv_data != NULL && !ascends(&last, &key)) {
            damaged(w, "keys are out of order");
        } else if (kind == TABLE_NAMES) {
            walk_named(w, &key);
        }
        last = key;
    }
    if (rc != MDB_NOTFOUND) {
        check_rc(w, rc);
    }
    if (entries != stat.ms_entries) {
        damaged(w, "a table has fewer entries than it says");
    }
    w->pages += stat.ms_branch_pages; /* not seen from here, but they must fit beside the others */
    mdb_cursor_close(cursor);
    w->current = 0;
}

/* Both headers say how large the map is to be; ours is the file and an eighth. Offsets as in lmdb 0.9's MDB_meta, behind
 * the page's head. */
static bool asks_for_too_much(const struct walk *w, const uint8_t *file)
{
    enum { META_BYTES = 4096, MAPSIZE_AT = PAGE_HEAD_BYTES + 16 };
    for (unsigned page = 0; page < 2; page++) {
        uint64_t map_bytes;
        memcpy(&map_bytes, file + page * META_BYTES + MAPSIZE_AT, sizeof map_bytes);
        if (map_bytes / 4 > w->file_bytes) {
            return true;
        }
    }
    return false;
}

static void open_file(struct walk *w, const char *path)
{
    char file[PATH_MAX];
    snprintf(file, sizeof file, "%s/data.mdb", path);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        finish(w->out, EXIT_NO_VERDICT, strerror(errno));
    }
    w->file_bytes = (uint64_t)st.st_size;
    if (w->file_bytes < 8192) {
        damaged(w, "the file is shorter than its header");
    }
    /* Looked at now: LMDB's running out of memory later says damage only if the header asks for an absurd map. */
    void *map = mmap(NULL, w->file_bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        finish(w->out, EXIT_NO_VERDICT, strerror(errno));
    }
    bool absurd = asks_for_too_much(w, map);
    munmap(map, w->file_bytes);
    close(fd);
    check_rc(w, mdb_env_create(&w->env));
    check_rc(w, mdb_env_set_maxdbs(w->env, 64));
    int rc = mdb_env_open(w->env, path, MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS, 0600);
    if (rc == ENOMEM && absurd) {
        damaged(w, "the header asks for an absurd size");
    }
    check_rc(w, rc);
}

static _Noreturn void child(const char *path, int out)
{
    struct walk w = {.out = out};
    open_file(&w, path);
    MDB_envinfo info;
    MDB_stat stat;
    check_rc(&w, mdb_env_info(w.env, &info));
    check_rc(&w, mdb_env_stat(w.env, &stat));
    w.page_bytes = stat.ms_psize;
    w.last_page = info.me_last_pgno;
    if (w.page_bytes < 512 || (w.page_bytes & (w.page_bytes - 1)) != 0 || w.last_page >= w.file_bytes / w.page_bytes) {
        damaged(&w, "the header names pages behind the end of the file");
    }
    w.owned = calloc(w.last_page / 8 + 1, 1);
    if (w.owned == NULL) {
        finish(out, EXIT_NO_VERDICT, "out of memory");
    }
    w.pages = 2;
    check_rc(&w, mdb_txn_begin(w.env, NULL, MDB_RDONLY, &w.txn));
    MDB_dbi main_dbi;
    check_rc(&w, mdb_dbi_open(w.txn, NULL, 0, &main_dbi));
    walk_table(&w, 0, TABLE_FREE);
    walk_table(&w, main_dbi, TABLE_NAMES);
    if (w.pages > w.last_page + 1) {
        damaged(&w, "pages are both free and in use");
    }
    finish(out, 0, "");
}

static void prepare_child(uint64_t file_bytes)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    static const int deadly[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM, SIGXCPU, SIGTERM, SIGINT};
    sigset_t none;
    sigemptyset(&none);
    for (size_t i = 0; i < COUNT_OF(deadly); i++) {
        signal(deadly[i], SIG_DFL);
    }
    sigprocmask(SIG_SETMASK, &none, NULL);
    struct rlimit no_core = {0, 0}, cpu;
    cpu.rlim_cur = CPU_BASE_S + file_bytes / BYTES_PER_S;
    cpu.rlim_max = cpu.rlim_cur + 5;
    (void)setrlimit(RLIMIT_CORE, &no_core);
    (void)setrlimit(RLIMIT_CPU, &cpu);
    alarm((unsigned)(WALL_BASE_S + file_bytes / BYTES_PER_S));
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null >= 0) {
        (void)dup2(null, STDERR_FILENO); /* an assertion within LMDB prints; the verdict is ours to word */
    }
}

static enum err verdict(int status, char *ret_why, size_t size)
{
    if (WIFSIGNALED(status)) {
        if (WTERMSIG(status) == SIGALRM) {
            snprintf(ret_why, size, "reading the whole file took too long");
            return ERR_TIMEOUT;
        }
        if (WTERMSIG(status) == SIGTERM || WTERMSIG(status) == SIGINT || WTERMSIG(status) == SIGKILL) {
            snprintf(ret_why, size, "verification was interrupted");
            return ERR_IO;
        }
        snprintf(ret_why, size, "reading it crashes (%s)", strsignal(WTERMSIG(status)));
        return ERR_MALFORMED;
    }
    switch (WEXITSTATUS(status)) {
    case 0: return OK;
    case EXIT_NO_VERDICT: return ERR_IO;
    default: return ERR_MALFORMED;
    }
}

enum err verify_in_child(const char *path, char *ret_why, size_t size)
{
    char file[PATH_MAX];
    snprintf(file, sizeof file, "%s/data.mdb", path);
    struct stat st;
    int ends[2];
    if (stat(file, &st) != 0 || pipe2(ends, O_CLOEXEC) != 0) {
        snprintf(ret_why, size, "%s", strerror(errno));
        return ERR_IO;
    }
    pid_t pid = fork();
    if (pid < 0) {
        snprintf(ret_why, size, "cannot start the verifying process: %s", strerror(errno));
        close(ends[0]);
        close(ends[1]);
        return ERR_NOMEM;
    }
    if (pid == 0) {
        close(ends[0]);
        prepare_child((uint64_t)st.st_size);
        child(path, ends[1]);
    }
    close(ends[1]);
    size_t len = 0;
    ssize_t n;
    while (len < size - 1 && ((n = read(ends[0], ret_why + len, size - 1 - len)) > 0 || (n < 0 && errno == EINTR))) {
        len += n > 0 ? (size_t)n : 0;
    }
    ret_why[len] = '\0';
    close(ends[0]);
    int status;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            snprintf(ret_why, size, "lost the verifying process: %s", strerror(errno));
            return ERR_IO;
        }
    }
    return verdict(status, ret_why, size);
}
