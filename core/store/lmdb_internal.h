/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lmdb_internal - the LMDB back-end's own state. Two owners, never the same field:
 *   loop     env's life, read transaction and its cursors
 *   worker   write transactions, room accounting (struct lmdb_room)
 * The loop touches the worker's fields only while there is no worker, or while it refuses everything (store.c).
 */
#ifndef CORE_STORE_LMDB_INTERNAL_H
#define CORE_STORE_LMDB_INTERNAL_H

#include <lmdb.h>

#include "core/store/store_internal.h"

struct lmdb_room {
    MDB_txn *counter;   /* owned; a read transaction, reset between counts */
    uint64_t counted;   /* bytes in use at the last count */
    int64_t grown;      /* estimate of what commits added since */
    uint64_t commits;   /* since the last count */
    int64_t counted_at_us, count_us;
};

struct lmdb_env {
    char *path;                     /* owned */
    char *tables[STORE_TABLES_MAX]; /* owned */
    unsigned table_count;
    bool read_only;
    int lock_fd; /* -1 = none */
    uint64_t size_bytes, cap_bytes, page_bytes;
    unsigned cap_pct;
    int64_t modelled_flush_us;

    MDB_env *mdb; /* owned; NULL = closed */
    MDB_dbi dbi[STORE_TABLES_MAX];
    MDB_txn *reader; /* owned; reset unless reading > 0 */
    MDB_cursor *cursor[STORE_TABLES_MAX];
    unsigned reading; /* nesting of reads */

    struct lmdb_room room;
    uint64_t last_txn; /* number of the last transaction that we know to be committed */
};

/* ---- lmdb_env.c ---- */
/* Copies what the environment needs of options. */
enum err lmdb_env_new(const struct store_options *options, struct lmdb_env **ret_env) MUST_CHECK;
void lmdb_env_free(struct lmdb_env *env);
DEFINE_CLEANUP(struct lmdb_env, lmdb_env_free)
/* Makes an empty, preallocated data.mdb in one step (rename). */
enum err lmdb_env_create_file(const struct lmdb_env *env, uint64_t size_bytes, struct fault *reterr) MUST_CHECK;
/* Opens, grows the file to size_bytes if it is smaller, opens the tables, counts. */
enum err lmdb_env_open(struct lmdb_env *env, uint64_t size_bytes, struct fault *reterr) MUST_CHECK;
void lmdb_env_close(struct lmdb_env *env);
/* Opens again after a failure. ERR_IO also when the failed transaction turns out to have happened. */
enum err lmdb_env_reopen(struct lmdb_env *env) MUST_CHECK;
enum err lmdb_class(int rc) MUST_CHECK;

/* ---- lmdb_commit.c ---- */
void lmdb_commit(struct store *store, struct store_batch *batch);
/* Counts the pages in use. */
int lmdb_room_count(struct lmdb_env *env, int64_t now_us);

#endif
