/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the worker does with a batch: one transaction, its operations in order, the cap, the commit.
 *
 * Room. An environment that is completely full cannot be emptied, so what is in use stays below the cap. In use are the
 * pages up to the last one less those in the free list; counting walks the free list, so it is done now and then,
 * and in between the growth of the commits is added up. A batch that frees at least as much as it adds is never
 * refused.
 */
#include "core/store/lmdb_internal.h"

#include <errno.h>
#include <sys/statvfs.h>
#include <time.h>

enum {
    COUNT_EVERY_US = 100 * 1000,
    COUNT_NEAR_CAP_US = 5 * 1000,
    COUNT_SHARE = 20, /* counting takes at most one part in so many of the time */
    APPEND_TRIES = 16,
    OVERFLOW_HEAD_BYTES = 16,
};

struct commit {
    struct lmdb_env *env;
    MDB_txn *txn;
    MDB_cursor *cursor[STORE_TABLES_MAX];
    int append[STORE_TABLES_MAX]; /* goodwill towards trying MDB_APPEND first */
    int64_t grown;                /* bytes added less bytes freed */
};

/* ---- room ---- */
static uint64_t entry_bytes(const struct lmdb_env *env, size_t key_len, size_t value_len)
{
    uint64_t inline_bytes = key_len + value_len + STORE_NODE_BYTES;
    if (inline_bytes < env->page_bytes / 2) {
        return inline_bytes;
    }
    uint64_t pages = (OVERFLOW_HEAD_BYTES + value_len + env->page_bytes - 1) / env->page_bytes;
    return key_len + 2 * STORE_NODE_BYTES + pages * env->page_bytes;
}

static int count_free(MDB_txn *txn, uint64_t *ret_pages)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, 0, &cursor); /* table 0 is the free list, as mdb_stat(1) -f reads it */
    if (rc != 0) {
        return rc;
    }
    uint64_t pages = 0;
    MDB_val key, value;
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        size_t count;
        memcpy(&count, value.mv_data, sizeof count);
        pages += count;
    }
    mdb_cursor_close(cursor);
    *ret_pages = pages;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

int lmdb_room_count(struct lmdb_env *env, int64_t now_us)
{
    struct lmdb_room *room = &env->room;
    MDB_envinfo info;
    uint64_t free_pages = 0;
    int rc = mdb_txn_renew(room->counter);
    if (rc != 0) {
        return rc;
    }
    rc = count_free(room->counter, &free_pages);
    mdb_txn_reset(room->counter);
    rc = rc != 0 ? rc : mdb_env_info(env->mdb, &info);
    if (rc != 0) {
        return rc;
    }
    env->last_txn = info.me_last_txnid;
    room->counted = (info.me_last_pgno + 1 - min_u64(free_pages, info.me_last_pgno)) * env->page_bytes;
    room->grown = 0;
    room->commits = 0;
    room->counted_at_us = now_us;
    return 0;
}

static uint64_t used_bytes(const struct lmdb_room *room)
{
    int64_t used = (int64_t)room->counted + room->grown;
    return used > 0 ? (uint64_t)used : 1;
}

static int recount(struct store *store)
{
    struct lmdb_env *env = store->env;
    int64_t begun_us = loop_fresh_now_us(store->loop);
    int dead = 0;
    int rc = mdb_reader_check(env->mdb, &dead); /* a killed reader pins pages until somebody looks */
    rc = rc != 0 ? rc : lmdb_room_count(env, begun_us);
    int64_t ended_us = loop_fresh_now_us(store->loop);
    env->room.counted_at_us = ended_us;
    env->room.count_us = ended_us - begun_us;
    return rc;
}

static bool count_due(const struct lmdb_env *env, int64_t now_us)
{
    const struct lmdb_room *room = &env->room;
    bool near = used_bytes(room) + env->cap_bytes / 16 > env->cap_bytes;
    int64_t every_us = max_i64(near ? COUNT_NEAR_CAP_US : COUNT_EVERY_US, COUNT_SHARE * room->count_us);
    return room->commits > 0 && now_us - room->counted_at_us >= every_us;
}

/* ---- operations ---- */
static MDB_val val_of(struct slice s)
{
    /* LMDB takes what it only reads without const */
    return (MDB_val){.mv_size = s.len, .mv_data = (void *)(uintptr_t)s.ptr};
}

static int cursor_of_table(struct commit *c, unsigned table, MDB_cursor **ret_cursor)
{
    if (table >= c->env->table_count) {
        return EINVAL;
    }
    int rc = 0;
    if (c->cursor[table] == NULL) {
        rc = mdb_cursor_open(c->txn, c->env->dbi[table], &c->cursor[table]);
        c->append[table] = APPEND_TRIES;
    }
    *ret_cursor = c->cursor[table];
    return rc;
}

/* Keys of a queue ascend: MDB_APPEND skips the search and fills pages to the brim instead of halving them. */
static int put(struct commit *c, const struct op *op)
{
    MDB_cursor *cursor;
    int rc = cursor_of_table(c, op->table, &cursor);
    if (rc != 0) {
        return rc;
    }
    MDB_val key = val_of(op->key), value = val_of(op->value);
    int64_t added = (int64_t)entry_bytes(c->env, op->key.len, op->value.len);
    int *append = &c->append[op->table];
    if (*append > 0) {
        rc = mdb_cursor_put(cursor, &key, &value, MDB_APPEND);
        if (rc != MDB_KEYEXIST) {
            *append = APPEND_TRIES;
            c->grown += rc == 0 ? added : 0;
            return rc;
        }
        --*append;
    }
    value = val_of(op->value);
    rc = mdb_cursor_put(cursor, &key, &value, MDB_NOOVERWRITE);
    if (rc == MDB_KEYEXIST) {
        added -= (int64_t)entry_bytes(c->env, op->key.len, value.mv_size);
        value = val_of(op->value);
        rc = mdb_cursor_put(cursor, &key, &value, 0);
    }
    c->grown += rc == 0 ? added : 0;
    return rc;
}

static int delete_current(struct commit *c, MDB_cursor *cursor, const MDB_val *key, const MDB_val *value)
{
    c->grown -= (int64_t)entry_bytes(c->env, key->mv_size, value->mv_size);
    return mdb_cursor_del(cursor, 0);
}

static int delete_one(struct commit *c, const struct op *op)
{
    MDB_cursor *cursor;
    MDB_val key = val_of(op->key), value;
    int rc = cursor_of_table(c, op->table, &cursor);
    rc = rc != 0 ? rc : mdb_cursor_get(cursor, &key, &value, MDB_SET);
    if (rc != 0) {
        return rc == MDB_NOTFOUND ? 0 : rc;
    }
    return delete_current(c, cursor, &key, &value);
}

static bool beyond(const MDB_val *key, struct slice last)
{
    size_t len = key->mv_size < last.len ? key->mv_size : last.len;
    int order = memcmp(key->mv_data, last.ptr, len);
    return order > 0 || (order == 0 && key->mv_size > last.len);
}

static int delete_range(struct commit *c, const struct op *op)
{
    MDB_cursor *cursor;
    MDB_val key = val_of(op->key), value;
    int rc = cursor_of_table(c, op->table, &cursor);
    rc = rc != 0 ? rc : mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (rc == 0 && !beyond(&key, op->value)) {
        rc = delete_current(c, cursor, &key, &value);
        /* after a deletion the cursor stands on the successor already, and MDB_NEXT stays there */
        rc = rc != 0 ? rc : mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int apply(struct commit *c, const struct store_batch *batch)
{
    struct op op;
    int rc = 0;
    for (size_t at = 0; rc == 0 && batch_next(batch, &at, &op);) {
        switch (op.kind) {
        case OP_PUT: rc = put(c, &op); break;
        case OP_DELETE: rc = delete_one(c, &op); break;
        case OP_DELETE_RANGE: rc = delete_range(c, &op); break;
        }
    }
    return rc;
}

/* ---- the commit ---- */
/* ERR_FULL before anything is written when the batch would leave more in use than the cap. */
static bool over_cap(struct store *store, const struct commit *c)
{
    struct lmdb_env *env = store->env;
    return c->grown > 0 && used_bytes(&env->room) + (uint64_t)c->grown > env->cap_bytes;
}

static int run_txn(struct store *store, struct store_batch *batch, bool *ret_over_cap)
{
    struct lmdb_env *env = store->env;
    struct commit c = {.env = env};
    int rc = mdb_txn_begin(env->mdb, NULL, 0, &c.txn);
    if (rc != 0) {
        return rc;
    }
    rc = apply(&c, batch);
    *ret_over_cap = rc == 0 && over_cap(store, &c);
    if (rc != 0 || *ret_over_cap) {
        mdb_txn_abort(c.txn);
        return rc;
    }
    rc = mdb_txn_commit(c.txn);
    if (rc == 0) {
        env->room.grown += c.grown;
        env->room.commits++;
    }
    return rc;
}

static bool disk_is_full(const struct lmdb_env *env)
{
    struct statvfs fs;
    return statvfs(env->path, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < 1024 * 1024;
}

static void sleep_us(int64_t us)
{
    struct timespec left = {.tv_sec = us / SECOND_US, .tv_nsec = us % SECOND_US * 1000};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR) {
    }
}

static void fail(struct store *store, struct store_batch *batch, int rc)
{
    enum err err = lmdb_class(rc);
    if (err != ERR_FULL && err != ERR_NOMEM) {
        /* a short write at the end of the disk shows as EIO too */
        err = disk_is_full(store->env) ? ERR_FULL : ERR_IO;
    }
    batch->io_failed = rc != MDB_MAP_FULL && rc != MDB_TXN_FULL && rc != ENOMEM;
    if (rc == MDB_MAP_FULL) {
        /* below the cap, so somebody's read transaction pins what was freed; perhaps the reader is dead */
        int dead = 0;
        batch->io_failed = mdb_reader_check(store->env->mdb, &dead) != 0;
    }
    store_doom(store, batch, err);
}

void lmdb_commit(struct store *store, struct store_batch *batch)
{
    struct lmdb_env *env = store->env;
    int64_t begun_us = loop_fresh_now_us(store->loop);
    bool over = false;
    int rc = count_due(env, begun_us) ? recount(store) : 0;
    rc = rc != 0 ? rc : run_txn(store, batch, &over);
    if (rc == 0 && over && env->room.commits > 0) {
        /* refused by the estimate: count, then ask again */
        rc = recount(store);
        rc = rc != 0 ? rc : run_txn(store, batch, &over);
    }
    batch->used_bytes = used_bytes(&env->room);
    if (rc != 0) {
        fail(store, batch, rc);
        return;
    }
    if (over) {
        store_doom(store, batch, ERR_FULL);
        return;
    }
    if (env->modelled_flush_us > 0) {
        sleep_us(env->modelled_flush_us); /* stands for the flush of a slower disk */
    }
    MDB_envinfo info;
    if (mdb_env_info(env->mdb, &info) == 0) {
        env->last_txn = info.me_last_txnid;
    }
    batch->commit_us = loop_fresh_now_us(store->loop) - begun_us;
}
