/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The LMDB back-end: opening a store, and reading it on the loop.
 *
 * One read transaction serves all reads; it is renewed when a read begins and reset when it ends, so no pages are
 * pinned in between. Reads may nest (a reader's fn may read); the outermost one renews and resets.
 */
#include "core/store/lmdb_internal.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

static int begin_read(struct lmdb_env *env)
{
    if (env->mdb == NULL) {
        return MDB_PANIC;
    }
    int rc = env->reading == 0 ? mdb_txn_renew(env->reader) : 0;
    env->reading += rc == 0;
    return rc;
}

static void end_read(struct lmdb_env *env)
{
    if (--env->reading == 0) {
        mdb_txn_reset(env->reader);
    }
}

static MDB_val val_of(struct slice s)
{
    return (MDB_val){.mv_size = s.len, .mv_data = (void *)(uintptr_t)s.ptr};
}

static struct slice slice_of_val(const MDB_val *v)
{
    return slice_of(v->mv_data, v->mv_size);
}

static enum err get(struct store *store, unsigned table, struct slice key, struct buffer *ret_value)
{
    struct lmdb_env *env = store->env;
    if (begin_read(env) != 0) {
        return ERR_IO;
    }
    MDB_val k = val_of(key), v;
    int rc = mdb_get(env->reader, env->dbi[table], &k, &v);
    enum err err = rc == 0 ? OK : rc == MDB_NOTFOUND ? ERR_NOT_FOUND : ERR_IO;
    if (err == OK) {
        buffer_put(ret_value, v.mv_data, v.mv_size);
        err = buffer_err(ret_value);
    }
    end_read(env);
    return err;
}

/* The outermost read of a table uses a cursor that is kept; a nested one gets its own. */
static int open_cursor(struct lmdb_env *env, unsigned table, MDB_cursor **ret_cursor)
{
    if (env->reading > 1) {
        return mdb_cursor_open(env->reader, env->dbi[table], ret_cursor);
    }
    int rc = env->cursor[table] != NULL ? mdb_cursor_renew(env->reader, env->cursor[table])
                                        : mdb_cursor_open(env->reader, env->dbi[table], &env->cursor[table]);
    *ret_cursor = env->cursor[table];
    return rc;
}

static bool beyond(const MDB_val *key, struct slice last)
{
    if (last.len == 0) {
        return false;
    }
    size_t len = key->mv_size < last.len ? key->mv_size : last.len;
    int order = memcmp(key->mv_data, last.ptr, len);
    return order > 0 || (order == 0 && key->mv_size > last.len);
}

static enum err foreach(struct store *store, unsigned table, struct slice from, struct slice to,
                        bool (*fn)(void *arg, struct slice key, struct slice value), void *arg)
{
    struct lmdb_env *env = store->env;
    if (begin_read(env) != 0) {
        return ERR_IO;
    }
    MDB_cursor *cursor = NULL;
    int rc = open_cursor(env, table, &cursor);
    if (rc == 0) {
        MDB_val key = val_of(from), value;
        rc = mdb_cursor_get(cursor, &key, &value, from.len > 0 ? MDB_SET_RANGE : MDB_FIRST);
        while (rc == 0 && !beyond(&key, to) && fn(arg, slice_of_val(&key), slice_of_val(&value))) {
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        }
    }
    if (cursor != NULL && cursor != env->cursor[table]) {
        mdb_cursor_close(cursor);
    }
    end_read(env);
    return rc == 0 || rc == MDB_NOTFOUND ? OK : ERR_IO;
}

static enum err reopen(struct store *store)
{
    return lmdb_env_reopen(store->env);
}

static void close_backend(struct store *store)
{
    assert(store->env->reading == 0);
    lmdb_env_free(store->env);
    store->env = NULL;
}

static const struct store_backend lmdb_backend = {
    .commit = lmdb_commit,
    .reopen = reopen,
    .get = get,
    .foreach = foreach,
    .close = close_backend,
};

/* ---- opening ---- */
static enum err check_options(const struct store_options *o, struct fault *reterr)
{
    if (o->path == NULL || o->path[0] == '\0') {
        return fault_set(reterr, ERR_RANGE, "no store directory is named");
    }
    if (o->table_count == 0 || o->table_count > STORE_TABLES_MAX) {
        return fault_set(reterr, ERR_RANGE, "%u tables, allowed are 1 to %d: store %s", o->table_count,
                         STORE_TABLES_MAX, o->path);
    }
    if (!o->read_only && (o->size_bytes < 1024 * 1024 || o->size_bytes > INT64_MAX / 2)) {
        return fault_set(reterr, ERR_RANGE, "%llu bytes, 1 MiB is the least: store %s",
                         (unsigned long long)o->size_bytes, o->path);
    }
    if (o->cap_pct > 95) {
        return fault_set(reterr, ERR_RANGE, "a cap of %u %%, at most 95 leave room to free room: store %s", o->cap_pct,
                         o->path);
    }
    return OK;
}

/* Looks at what is there, sets it aside if it is damaged, and makes a new file if there is none (any more). */
static enum err prepare_file(struct lmdb_env *env, const struct store_options *options, char *ret_quarantined,
                             size_t size, struct fault *reterr)
{
    char file[PATH_MAX], why[128];
    struct stat st;
    snprintf(file, sizeof file, "%s/data.mdb", env->path);
    if (stat(file, &st) == 0) {
        enum err err = verify_in_child(env->path, why, sizeof why);
        if (err == OK) {
            /* Its name may not be durable yet: renamed by a process that was killed before the sync. */
            err = directory_sync(env->path);
            return err == OK ? OK : fault_set(reterr, err, "cannot sync the directory: store %s", env->path);
        }
        if (err != ERR_MALFORMED) {
            return fault_set(reterr, err, "%s: cannot verify store %s", why, env->path);
        }
        char where[PATH_MAX];
        TRY(directory_quarantine(env->path, where, sizeof where, reterr));
        snprintf(ret_quarantined, size, "%s", where);
        (void)fault_set(reterr, OK, "%s: damaged store %.150s moved to %.150s", why, env->path, where);
    }
    return lmdb_env_create_file(env, options->size_bytes, reterr);
}

enum err store_open(struct loop *loop, const struct store_options *options, struct store **ret_store,
                    char *ret_quarantined, size_t quarantined_size, struct fault *reterr)
{
    char unused[PATH_MAX];
    if (ret_quarantined == NULL) {
        ret_quarantined = unused;
        quarantined_size = sizeof unused;
    }
    ret_quarantined[0] = '\0';
    TRY(check_options(options, reterr));
    CLEANUP(lmdb_env_freep) struct lmdb_env *env = NULL;
    if (lmdb_env_new(options, &env) != OK) {
        return fault_set(reterr, ERR_NOMEM, "out of memory: store %s", options->path);
    }
    if (!options->read_only) {
        TRY(directory_open(env->path, reterr));
        TRY(directory_lock(env->path, &env->lock_fd, reterr));
        TRY(prepare_file(env, options, ret_quarantined, quarantined_size, reterr));
    }
    TRY(lmdb_env_open(env, options->size_bytes, reterr));
    CLEANUP(store_closep) struct store *store = NULL;
    if (store_make(loop, &lmdb_backend, options->table_count, &store) != OK) {
        return fault_set(reterr, ERR_NOMEM, "out of memory: store %s", options->path);
    }
    store->env = take(env);
    if (!options->read_only) {
        enum err err = loop_worker_new(loop, "store", &store->worker);
        if (err != OK) {
            return fault_set(reterr, err, "%s: cannot start the worker: store %s", strerror(errno), options->path);
        }
    }
    store->usage.size_bytes = store->env->size_bytes;
    store->usage.cap_bytes = store->env->cap_bytes;
    store->usage.used_bytes = store->env->room.counted;
    *ret_store = take(store);
    return OK;
}
