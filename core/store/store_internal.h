/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_internal - what the two back-ends share: batches, the order of commits, telling.
 *
 *   batch.c        a batch's operations in one growing block
 *   store.c        submission, order, failure of everything behind a failure; public calls
 *   lmdb_store.c   back-end LMDB: opening, reading          lmdb_env.c     environment, tables, preallocation
 *   lmdb_commit.c  what the worker does with a batch        verify.c       a look at the file in a child process
 *   directory.c    directory, lock file, quarantine
 *   memory.c       back-end in memory, over sorted.c
 */
#ifndef CORE_STORE_STORE_INTERNAL_H
#define CORE_STORE_STORE_INTERNAL_H

#include "core/store/store.h"

enum {
    STORE_VALUE_MAX = 1024 * 1024,
    STORE_CAP_PCT = 90,
    STORE_NODE_BYTES = 16, /* what an entry costs beside key and value: node header, slot, alignment */
};

/* ---- batches ---- */
enum op_kind { OP_PUT, OP_DELETE, OP_DELETE_RANGE /* value = last key */ };
struct op {
    enum op_kind kind;
    unsigned table;
    struct slice key, value; /* borrowed from the batch */
};

struct store_batch {
    struct store *store;             /* NULL once the store is closed */
    struct store_batch *next, *prev; /* among the store's spare, open or queued ones */
    uint8_t *ops;                    /* owned */
    size_t len, cap, count;
    uint64_t serial;
    uint64_t begun, submitted; /* the store's era then */
    void (*done)(void *arg, enum err result);
    void *arg;
    bool queued; /* with the worker */
    bool told;   /* done was called for a failure ahead of it */
    /* written by the back-end's commit */
    enum err result;
    bool io_failed; /* the environment must be reopened */
    uint64_t used_bytes; /* after it; 0 = not known */
    int64_t commit_us;
};
/* Reads the operation at *at and moves on; false at the end. */
bool batch_next(const struct store_batch *batch, size_t *at, struct op *ret_op);

struct batch_list { /* circular, the head is a batch of no content */
    struct store_batch head;
    size_t count;
};

/* ---- back-ends ---- */
struct store_backend {
    /* On the worker: executes batch and sets its result. May be NULL. */
    void (*commit)(struct store *store, struct store_batch *batch);
    /* On the loop, before done: the same for back-ends without a thread. May be NULL. */
    void (*commit_on_loop)(struct store *store, struct store_batch *batch);
    /* On the loop, while the worker does nothing but refuse: close and open again. */
    enum err (*reopen)(struct store *store);
    enum err (*get)(struct store *store, unsigned table, struct slice key, struct buffer *ret_value);
    enum err (*foreach)(struct store *store, unsigned table, struct slice from, struct slice to,
                        bool (*fn)(void *arg, struct slice key, struct slice value), void *arg);
    void (*close)(struct store *store);
};

struct lmdb_env;

struct store {
    const struct store_backend *backend;
    struct loop *loop;
    struct loop_worker *worker; /* owned; NULL when read-only */
    unsigned table_count;
    struct lmdb_env *env;    /* owned; LMDB */
    struct store_disk *disk; /* borrowed; memory */

    struct batch_list open, queued, spare;
    size_t spare_max; /* blocks kept for the next batches */
    uint64_t next_serial, telling;
    uint64_t era; /* raised when a failure has been told */
    bool broken;
    bool closed; /* in done: the struct goes when done returns */
    struct store_usage usage;

    /* Touched only where commits are executed: batches begun in this era or before are refused. */
    uint64_t doomed;
    enum err doomed_err;
};

/* A store without a back-end's parts. ERR_NOMEM. */
enum err store_make(struct loop *loop, const struct store_backend *backend, unsigned table_count,
                    struct store **ret_store) MUST_CHECK;
/* True when the batch must fail for a failure before it; its result is set then. Where commits are executed. */
bool store_doomed(struct store *store, struct store_batch *batch);
/* The batch fails, and whatever was begun up to now with it. Where commits are executed. */
void store_doom(struct store *store, struct store_batch *batch, enum err err);

/* ---- directory.c ---- */
enum err directory_open(const char *path, struct fault *reterr) MUST_CHECK;
/* Takes <path>/lock; *ret_fd holds it until closed. */
enum err directory_lock(const char *path, int *ret_fd, struct fault *reterr) MUST_CHECK;
/* Moves the store's files aside; ret_where receives the new directory. */
enum err directory_quarantine(const char *path, char *ret_where, size_t size, struct fault *reterr) MUST_CHECK;
enum err directory_sync(const char *path) MUST_CHECK;

/* ---- verify.c ---- */
/* OK; ERR_MALFORMED: damaged; ERR_TIMEOUT, ERR_NOMEM, ERR_IO: no verdict. ret_why: one clause. */
enum err verify_in_child(const char *path, char *ret_why, size_t size) MUST_CHECK;

#endif
