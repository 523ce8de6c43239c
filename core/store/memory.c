/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The in-memory twin: the same promises and the same failures, for virtual time and for tests.
 *
 *   store_commit -> worker (does nothing, takes the modelled time) -> batch applied -> done
 *
 * Everything that happens to a table is written down so that it can be undone: a batch that is refused is undone at
 * once; on a disk that lies, what was reported done since the last settle is undone by the close, as a power cut
 * would. An honest commit makes everything before it durable too, as a flush does.
 */
#include "core/store/sorted.h"
#include "core/store/store_internal.h"

#include <assert.h>

enum { LOG_KEEP = 16 };

struct undo {
    unsigned table;
    struct sorted_node *inserted; /* in the table; NULL = none */
    struct sorted_node *removed;  /* owned by the log; NULL = none */
};
struct undo_log {
    struct undo *entries; /* owned */
    size_t count, cap;
};

struct store_disk {
    struct sorted *tables[STORE_TABLES_MAX]; /* owned; NULL = empty */
    uint64_t size_bytes, used_bytes;
    enum store_disk_mode mode;
    bool open;
    struct undo_log unsettled;
    unsigned cut; /* batches under way that the next close completes */
    void (*watch)(void *arg, unsigned table, struct slice key, struct slice value, bool undone);
    void *watch_arg;
};

/* ---- undo ---- */
static enum err log_reserve(struct undo_log *log)
{
    if (log->count < log->cap) {
        return OK;
    }
    size_t cap = log->cap > 0 ? 2 * log->cap : 8;
    struct undo *entries = realloc(log->entries, cap * sizeof *entries);
    if (entries == NULL) {
        return ERR_NOMEM;
    }
    log->entries = entries;
    log->cap = cap;
    return OK;
}

static const struct sorted empty_table;

static const struct sorted *table_of(const struct store_disk *disk, unsigned table)
{
    return disk->tables[table] != NULL ? disk->tables[table] : &empty_table;
}

static uint64_t node_bytes(const struct sorted_node *n)
{
    return (uint64_t)n->key_len + n->value_len + STORE_NODE_BYTES;
}

static void tell_watch(const struct store_disk *disk, unsigned table, const struct sorted_node *n, bool undone)
{
    if (disk->watch != NULL) {
        disk->watch(disk->watch_arg, table, sorted_key(n), sorted_value(n), undone);
    }
}

/* Undoes the newest entries until `keep` are left. */
static void undo_down_to(struct store_disk *disk, struct undo_log *log, size_t keep)
{
    while (log->count > keep) {
        struct undo *u = &log->entries[--log->count];
        struct sorted *table = disk->tables[u->table];
        if (u->inserted != NULL) {
            disk->used_bytes -= node_bytes(u->inserted);
            tell_watch(disk, u->table, u->inserted, true);
            struct sorted_node *gone = sorted_remove(table, sorted_key(u->inserted));
            assert(gone == u->inserted);
            sorted_node_free(gone);
        }
        if (u->removed != NULL) {
            struct sorted_node *none;
            disk->used_bytes += node_bytes(u->removed);
            sorted_insert(table, u->removed, &none);
            assert(none == NULL);
        }
    }
}

static void settle(struct undo_log *log)
{
    for (size_t i = 0; i < log->count; i++) {
        sorted_node_free(log->entries[i].removed);
    }
    log->count = 0;
    if (log->cap > LOG_KEEP) { /* a fleet of thousands has as many disks */
        free(take(log->entries));
        log->cap = 0;
    }
}

/* ---- operations: each reserves its place in the log first ---- */
static enum err put(struct store_disk *disk, unsigned table, struct slice key, struct slice value)
{
    struct undo_log *log = &disk->unsettled;
    TRY(log_reserve(log));
    if (disk->tables[table] == NULL && (disk->tables[table] = calloc(1, sizeof(struct sorted))) == NULL) {
        return ERR_NOMEM;
    }
    struct sorted_node *n = sorted_node_new(disk->tables[table], key, value), *old;
    if (n == NULL) {
        return ERR_NOMEM;
    }
    sorted_insert(disk->tables[table], n, &old);
    disk->used_bytes += node_bytes(n);
    disk->used_bytes -= old != NULL ? node_bytes(old) : 0;
    log->entries[log->count++] = (struct undo){.table = table, .inserted = n, .removed = old};
    tell_watch(disk, table, n, false);
    return OK;
}

static enum err delete(struct store_disk *disk, unsigned table, struct slice key)
{
    struct undo_log *log = &disk->unsettled;
    TRY(log_reserve(log));
    struct sorted_node *n = disk->tables[table] != NULL ? sorted_remove(disk->tables[table], key) : NULL;
    if (n != NULL) {
        disk->used_bytes -= node_bytes(n);
        log->entries[log->count++] = (struct undo){.table = table, .removed = n};
    }
    return OK;
}

static bool beyond(struct slice key, struct slice last)
{
    if (last.len == 0) {
        return false;
    }
    int order = memcmp(key.ptr, last.ptr, key.len < last.len ? key.len : last.len);
    return order > 0 || (order == 0 && key.len > last.len);
}

static enum err delete_range(struct store_disk *disk, unsigned table, struct slice from, struct slice to)
{
    struct sorted_node *n = sorted_seek(table_of(disk, table), from), *next;
    for (; n != NULL && !beyond(sorted_key(n), to); n = next) {
        next = sorted_next(n);
        TRY(delete(disk, table, sorted_key(n)));
    }
    return OK;
}

static enum err apply(struct store *store, const struct store_batch *batch)
{
    struct op op;
    for (size_t at = 0; batch_next(batch, &at, &op);) {
        if (op.table >= store->table_count) {
            return ERR_IO;
        }
        switch (op.kind) {
        case OP_PUT: TRY(put(store->disk, op.table, op.key, op.value)); break;
        case OP_DELETE: TRY(delete(store->disk, op.table, op.key)); break;
        case OP_DELETE_RANGE: TRY(delete_range(store->disk, op.table, op.key, op.value)); break;
        }
    }
    return OK;
}

static uint64_t cap_bytes(const struct store_disk *disk)
{
    return disk->size_bytes / 100 * STORE_CAP_PCT;
}

/* As in LMDB what a transaction frees is not free within it: until its end old and new stand side by side, in a map
 * that is an eighth larger than the file. */
static uint64_t map_bytes(const struct store_disk *disk)
{
    return disk->size_bytes + disk->size_bytes / 8;
}

static uint64_t put_bytes(const struct store_batch *batch)
{
    uint64_t bytes = 0;
    struct op op;
    for (size_t at = 0; batch_next(batch, &at, &op);) {
        bytes += op.kind == OP_PUT ? op.key.len + op.value.len + STORE_NODE_BYTES : 0;
    }
    return bytes;
}

static void commit_on_loop(struct store *store, struct store_batch *batch)
{
    struct store_disk *disk = store->disk;
    size_t before = disk->unsettled.count;
    uint64_t used = disk->used_bytes;
    enum err err = disk->mode == STORE_DISK_EIO                    ? ERR_IO
                   : used + put_bytes(batch) > map_bytes(disk) ? ERR_FULL
                                                                   : apply(store, batch);
    bool grows = disk->used_bytes > used;
    if (err == OK && grows && (disk->mode == STORE_DISK_FULL || disk->used_bytes > cap_bytes(disk))) {
        err = ERR_FULL;
    }
    if (err != OK) {
        undo_down_to(disk, &disk->unsettled, before);
        store_doom(store, batch, err);
    } else if (disk->mode != STORE_DISK_LIES) {
        settle(&disk->unsettled);
    }
    batch->used_bytes = max_u64(disk->used_bytes, 1);
}

/* ---- reading ---- */
static enum err get(struct store *store, unsigned table, struct slice key, struct buffer *ret_value)
{
    const struct sorted_node *n = sorted_seek(table_of(store->disk, table), key);
    if (n == NULL || !slice_equal(sorted_key(n), key)) {
        return ERR_NOT_FOUND;
    }
    buffer_put_slice(ret_value, sorted_value(n));
    return buffer_err(ret_value);
}

static enum err foreach(struct store *store, unsigned table, struct slice from, struct slice to,
                        bool (*fn)(void *arg, struct slice key, struct slice value), void *arg)
{
    const struct sorted_node *n = sorted_seek(table_of(store->disk, table), from);
    while (n != NULL && !beyond(sorted_key(n), to) && fn(arg, sorted_key(n), sorted_value(n))) {
        n = sorted_next(n);
    }
    return OK;
}

static enum err reopen(struct store *store)
{
    (void)store; /* nothing is kept open */
    return OK;
}

/* What became durable without anybody being told. */
static void complete_cut(struct store *store)
{
    struct store_batch *batch = store->queued.head.next;
    for (; store->disk->cut > 0 && batch != &store->queued.head; batch = batch->next, store->disk->cut--) {
        if (batch->told || store_doomed(store, batch)) {
            break;
        }
        commit_on_loop(store, batch);
    }
    store->disk->cut = 0;
}

static void close_backend(struct store *store)
{
    undo_down_to(store->disk, &store->disk->unsettled, 0);
    complete_cut(store);
    settle(&store->disk->unsettled);
    store->disk->open = false;
    store->disk = NULL;
}

static const struct store_backend memory_backend = {
    .commit_on_loop = commit_on_loop,
    .reopen = reopen,
    .get = get,
    .foreach = foreach,
    .close = close_backend,
};

enum err store_open_memory(struct loop *loop, struct store_disk *disk, unsigned table_count, struct store **ret_store)
{
    if (table_count == 0 || table_count > STORE_TABLES_MAX) {
        return ERR_RANGE;
    }
    if (disk->open) {
        return ERR_CONFLICT;
    }
    struct store *store;
    TRY(store_make(loop, &memory_backend, table_count, &store));
    store->disk = disk;
    store->spare_max = 0;
    disk->open = true;
    enum err err = loop_worker_new_inline(loop, &store->worker);
    if (err != OK) {
        store_close(store);
        return err;
    }
    store->usage.size_bytes = disk->size_bytes;
    store->usage.cap_bytes = cap_bytes(disk);
    store->usage.used_bytes = disk->used_bytes;
    *ret_store = store;
    return OK;
}

/* ---- disks ---- */
enum err store_disk_new(uint64_t size_bytes, struct store_disk **ret_disk)
{
    struct store_disk *disk = calloc(1, sizeof *disk);
    if (disk == NULL) {
        return ERR_NOMEM;
    }
    disk->size_bytes = size_bytes;
    *ret_disk = disk;
    return OK;
}

void store_disk_free(struct store_disk *disk)
{
    if (disk == NULL) {
        return;
    }
    assert(!disk->open);
    settle(&disk->unsettled);
    for (unsigned i = 0; i < STORE_TABLES_MAX; i++) {
        if (disk->tables[i] != NULL) {
            sorted_clear(disk->tables[i]);
            free(disk->tables[i]);
        }
    }
    free(disk->unsettled.entries);
    free(disk);
}

enum err store_disk_clone(const struct store_disk *disk, struct store_disk **ret_disk)
{
    struct store_disk *copy;
    TRY(store_disk_new(disk->size_bytes, &copy));
    for (unsigned i = 0; i < STORE_TABLES_MAX; i++) {
        for (const struct sorted_node *n = table_of(disk, i)->first[0]; n != NULL; n = sorted_next(n)) {
            enum err err = put(copy, i, sorted_key(n), sorted_value(n));
            if (err != OK) {
                settle(&copy->unsettled);
                store_disk_free(copy);
                return err;
            }
        }
    }
    settle(&copy->unsettled);
    *ret_disk = copy;
    return OK;
}

void store_disk_set_mode(struct store_disk *disk, enum store_disk_mode mode)
{
    disk->mode = mode;
}

void store_disk_settle(struct store_disk *disk)
{
    settle(&disk->unsettled);
}

/* ---- for checkers ---- */
void store_disk_set_cut(struct store_disk *disk, unsigned batches)
{
    disk->cut = batches;
}

void store_disk_watch(struct store_disk *disk,
                      void (*fn)(void *arg, unsigned table, struct slice key, struct slice value, bool undone),
                      void *arg)
{
    disk->watch = fn;
    disk->watch_arg = arg;
}

static bool is_key(const struct sorted_node *n, struct slice key)
{
    return n != NULL && slice_equal(sorted_key(n), key);
}

enum err store_disk_get(const struct store_disk *disk, unsigned table, struct slice key, struct slice *ret_value)
{
    const struct sorted_node *n = sorted_seek(table_of(disk, table), key);
    n = is_key(n, key) ? n : NULL;
    for (size_t i = 0; i < disk->unsettled.count; i++) { /* the oldest change tells what was there before it */
        const struct undo *u = &disk->unsettled.entries[i];
        if (u->table == table && (is_key(u->inserted, key) || is_key(u->removed, key))) {
            n = u->removed;
            break;
        }
    }
    if (n == NULL) {
        return ERR_NOT_FOUND;
    }
    *ret_value = sorted_value(n);
    return OK;
}

void store_disk_foreach(const struct store_disk *disk, unsigned table,
                        void (*fn)(void *arg, struct slice key, struct slice value), void *arg)
{
    for (const struct sorted_node *n = table_of(disk, table)->first[0]; n != NULL; n = sorted_next(n)) {
        fn(arg, sorted_key(n), sorted_value(n));
    }
}

void store_disk_erase(struct store_disk *disk, unsigned table, struct slice key)
{
    assert(!disk->open);
    if (delete(disk, table, key) == OK) {
        settle(&disk->unsettled);
    }
}

uint64_t store_disk_used(const struct store_disk *disk)
{
    return disk->used_bytes;
}
