/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The LMDB environment: made whole or not at all, preallocated, opened, closed.
 *
 * data.mdb is made under another name, allocated, synced and renamed, so a data.mdb that is empty or short is
 * damage and never a start that was cut off.
 * map = file size + an eighth of it (at least 1 MiB). LMDB keeps the map's size in its header; from it the nominal
 * size is found again when options ask for less.
 */
#include "core/store/lmdb_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MIB = 1024 * 1024, ROUND_BYTES = 64 * 1024, MODE = 0600 };

enum err lmdb_class(int rc)
{
    switch (rc) {
    case MDB_SUCCESS: return OK;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
    case ENOSPC:
    case EDQUOT: return ERR_FULL;
    case ENOMEM: return ERR_NOMEM;
    case MDB_NOTFOUND: return ERR_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS: return ERR_DENIED;
    default: return ERR_IO;
    }
}

static enum err fault_lmdb(struct fault *reterr, int rc, const char *what, const char *path)
{
    return fault_set(reterr, lmdb_class(rc), "%s: cannot %s store %s", mdb_strerror(rc), what, path);
}

static uint64_t round_size(uint64_t size)
{
    return (size + ROUND_BYTES - 1) / ROUND_BYTES * ROUND_BYTES;
}

static uint64_t map_of_size(uint64_t size)
{
    return size + max_u64(size / 8, MIB);
}

static uint64_t size_of_map(uint64_t map)
{
    return map <= UINT64_C(9) * MIB ? map - min_u64(map, MIB) : map / 9 * 8;
}

enum err lmdb_env_new(const struct store_options *options, struct lmdb_env **ret_env)
{
    CLEANUP(lmdb_env_freep) struct lmdb_env *env = calloc(1, sizeof *env);
    if (env == NULL) {
        return ERR_NOMEM;
    }
    env->lock_fd = -1;
    env->table_count = options->table_count;
    env->read_only = options->read_only;
    env->cap_pct = options->cap_pct != 0 ? options->cap_pct : STORE_CAP_PCT;
    env->modelled_flush_us = options->modelled_flush_us;
    env->path = strdup(options->path);
    if (env->path == NULL) {
        return ERR_NOMEM;
    }
    for (unsigned i = 0; i < options->table_count; i++) {
        env->tables[i] = strdup(options->tables[i]);
        if (env->tables[i] == NULL) {
            return ERR_NOMEM;
        }
    }
    *ret_env = take(env);
    return OK;
}

void lmdb_env_free(struct lmdb_env *env)
{
    if (env == NULL) {
        return;
    }
    lmdb_env_close(env);
    if (env->lock_fd >= 0) {
        close(env->lock_fd);
    }
    for (unsigned i = 0; i < env->table_count; i++) {
        free(env->tables[i]);
    }
    free(env->path);
    free(env);
}

void lmdb_env_close(struct lmdb_env *env)
{
    if (env->mdb == NULL) {
        return;
    }
    for (unsigned i = 0; i < STORE_TABLES_MAX; i++) {
        if (env->cursor[i] != NULL) {
            mdb_cursor_close(env->cursor[i]);
            env->cursor[i] = NULL;
        }
    }
    mdb_txn_abort(env->reader);
    mdb_txn_abort(env->room.counter);
    env->reader = NULL;
    env->room.counter = NULL;
    mdb_env_close(env->mdb);
    env->mdb = NULL;
}

/* ---- a new file ---- */
static int fill_file(MDB_env *mdb, const char *file, uint64_t size)
{
    int rc = mdb_env_set_mapsize(mdb, map_of_size(size));
    rc = rc != 0 ? rc : mdb_env_open(mdb, file, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOTLS, MODE);
    int fd;
    rc = rc != 0 ? rc : mdb_env_get_fd(mdb, &fd);
    rc = rc != 0 ? rc : posix_fallocate(fd, 0, (off_t)size);
    return rc != 0 ? rc : fsync(fd) != 0 ? errno : 0;
}

enum err lmdb_env_create_file(const struct lmdb_env *env, uint64_t size_bytes, struct fault *reterr)
{
    char made[PATH_MAX], file[PATH_MAX];
    snprintf(made, sizeof made, "%s/new.mdb", env->path);
    snprintf(file, sizeof file, "%s/data.mdb", env->path);
    if (unlink(made) != 0 && errno != ENOENT) {
        return fault_lmdb(reterr, errno, "begin", env->path);
    }
    MDB_env *mdb;
    int rc = mdb_env_create(&mdb);
    if (rc != 0) {
        return fault_lmdb(reterr, rc, "begin", env->path);
    }
    rc = fill_file(mdb, made, round_size(size_bytes));
    mdb_env_close(mdb);
    if (rc == 0 && rename(made, file) != 0) {
        rc = errno;
    }
    if (rc != 0) {
        (void)unlink(made);
        if (lmdb_class(rc) == ERR_FULL) {
            return fault_set(reterr, ERR_FULL, "no room on the disk for its %llu MiB: store %s",
                             (unsigned long long)(size_bytes / MIB), env->path);
        }
        return fault_lmdb(reterr, rc, "begin", env->path);
    }
    enum err err = directory_sync(env->path);
    return err == OK ? OK : fault_set(reterr, err, "cannot sync the directory: store %s", env->path);
}

/* ---- opening ---- */
static int open_tables(struct lmdb_env *env)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(env->mdb, NULL, env->read_only ? MDB_RDONLY : 0, &txn);
    if (rc != 0) {
        return rc;
    }
    for (unsigned i = 0; rc == 0 && i < env->table_count; i++) {
        rc = mdb_dbi_open(txn, env->tables[i], env->read_only ? 0 : MDB_CREATE, &env->dbi[i]);
    }
    if (rc != 0) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn); /* a read-only one keeps the handles as well */
}

/* Sets the map and the file's size. */
static int size_up(struct lmdb_env *env, uint64_t wanted)
{
    MDB_envinfo info;
    int fd, rc = mdb_env_info(env->mdb, &info);
    struct stat st;
    rc = rc != 0 ? rc : mdb_env_get_fd(env->mdb, &fd);
    rc = rc != 0 ? rc : fstat(fd, &st) != 0 ? errno : 0;
    if (rc != 0) {
        return rc;
    }
    /* The header's figure is believed only as far as there is a file behind it. */
    uint64_t nominal = min_u64(size_of_map(info.me_mapsize), round_size((uint64_t)st.st_size));
    env->size_bytes = max_u64(round_size(wanted), nominal);
    env->cap_bytes = env->size_bytes / 100 * env->cap_pct;
    if (env->read_only) {
        return 0;
    }
    rc = mdb_env_set_mapsize(env->mdb, map_of_size(env->size_bytes));
    return rc != 0 ? rc : posix_fallocate(fd, 0, (off_t)env->size_bytes);
}

static int open_mdb(struct lmdb_env *env)
{
    int rc = mdb_env_create(&env->mdb);
    if (rc != 0) {
        env->mdb = NULL;
        return rc;
    }
    rc = mdb_env_set_maxdbs(env->mdb, STORE_TABLES_MAX);
    return rc != 0 ? rc : mdb_env_open(env->mdb, env->path, MDB_NOTLS | (env->read_only ? MDB_RDONLY : 0), MODE);
}

static int open_readers(struct lmdb_env *env)
{
    int rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &env->reader);
    if (rc != 0) {
        env->reader = NULL;
        return rc;
    }
    mdb_txn_reset(env->reader);
    rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &env->room.counter);
    if (rc != 0) {
        env->room.counter = NULL;
        return rc;
    }
    mdb_txn_reset(env->room.counter);
    return 0;
}

enum err lmdb_env_open(struct lmdb_env *env, uint64_t size_bytes, struct fault *reterr)
{
    assert(env->mdb == NULL);
    int rc = open_mdb(env);
    if (rc != 0) {
        lmdb_env_close(env);
        return rc == ENOENT ? fault_set(reterr, ERR_NOT_FOUND, "no store in %s", env->path)
                            : fault_lmdb(reterr, rc, "open", env->path);
    }
    rc = size_up(env, size_bytes);
    if (rc != 0) {
        lmdb_env_close(env);
        return lmdb_class(rc) == ERR_FULL
                   ? fault_set(reterr, ERR_FULL, "no room on the disk to grow it to %llu MiB: store %s",
                               (unsigned long long)(size_bytes / MIB), env->path)
                   : fault_lmdb(reterr, rc, "size", env->path);
    }
    int dead = 0;
    if (!env->read_only) {
        rc = mdb_reader_check(env->mdb, &dead);
    }
    rc = rc != 0 ? rc : open_tables(env);
    if (rc == MDB_NOTFOUND) {
        lmdb_env_close(env);
        return fault_set(reterr, ERR_CONFLICT, "not all expected tables are there: store %s", env->path);
    }
    rc = rc != 0 ? rc : open_readers(env);
    MDB_stat stat;
    rc = rc != 0 ? rc : mdb_env_stat(env->mdb, &stat);
    env->page_bytes = rc == 0 ? stat.ms_psize : 0;
    rc = rc != 0 ? rc : lmdb_room_count(env, 0);
    if (rc != 0) {
        lmdb_env_close(env);
        return fault_lmdb(reterr, rc, "read", env->path);
    }
    return OK;
}

static int last_txn(struct lmdb_env *env, uint64_t *ret_number)
{
    MDB_envinfo info;
    int rc = mdb_env_info(env->mdb, &info);
    *ret_number = rc == 0 ? info.me_last_txnid : 0;
    return rc;
}

enum err lmdb_env_reopen(struct lmdb_env *env)
{
    uint64_t expected = env->last_txn, found;
    lmdb_env_close(env);
    TRY(lmdb_env_open(env, env->size_bytes, NULL));
    if (last_txn(env, &found) != 0 || found != expected) {
        /* The header of the transaction that failed reached the file after all. Whoever was told that it did not happen
         * would go on from a wrong state: only a restart reads the right one. */
        lmdb_env_close(env);
        return ERR_IO;
    }
    return OK;
}
