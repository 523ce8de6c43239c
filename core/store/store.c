/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Order and fate of batches, the same for both back-ends.
 *
 *   open (being built) --store_commit--> queued, in order --worker--> done(OK)          -> spare
 *                                             '----------------------> a failure: see below
 *
 * Eras keep a failed commit from leaving a hole. A batch carries the era in which it was begun. Where commits are
 * executed (the worker, or the loop for the memory back-end) a failure dooms the era in which the failed batch was
 * submitted: what was begun in it or before is refused. On the loop, the failure is told to the failed batch and to
 * all queued behind it, one right after the other; the era is raised before the last of them is told, so that a
 * batch begun in its done, or later, is a fresh start.
 * Between two failures told no era passes, so everything queued behind a failed batch was begun in a doomed era: the
 * worker does not touch the environment while the loop reopens it.
 */
#include "core/store/store_internal.h"

#include <assert.h>

enum { SPARE_MAX = 4, SPARE_BYTES_MAX = 4 * 1024 * 1024 };

/* ---- lists ---- */
static void list_init(struct batch_list *list)
{
    list->head.next = &list->head;
    list->head.prev = &list->head;
}

static void list_append(struct batch_list *list, struct store_batch *batch)
{
    batch->prev = list->head.prev;
    batch->next = &list->head;
    batch->prev->next = batch;
    list->head.prev = batch;
    list->count++;
}

static void list_remove(struct batch_list *list, struct store_batch *batch)
{
    batch->prev->next = batch->next;
    batch->next->prev = batch->prev;
    list->count--;
}

/* NULL when empty. */
static struct store_batch *list_first(struct batch_list *list)
{
    return list->count > 0 ? list->head.next : NULL;
}

/* ---- batches ---- */
static void batch_destroy(struct store_batch *batch)
{
    free(batch->ops);
    free(batch);
}

/* Keeps the block for the next batch; the batch is in no list. */
static void batch_recycle(struct store *store, struct store_batch *batch)
{
    if (store->closed || store->spare.count >= store->spare_max || batch->cap > SPARE_BYTES_MAX) {
        batch_destroy(batch);
        return;
    }
    list_append(&store->spare, batch);
}

enum err store_batch_new(struct store *store, struct store_batch **ret_batch)
{
    struct store_batch *batch = list_first(&store->spare);
    if (batch != NULL) {
        list_remove(&store->spare, batch);
        uint8_t *ops = batch->ops;
        size_t cap = batch->cap;
        *batch = (struct store_batch){.ops = ops, .cap = cap};
    } else {
        batch = calloc(1, sizeof *batch);
        if (batch == NULL) {
            return ERR_NOMEM;
        }
    }
    batch->store = store;
    batch->serial = ++store->next_serial;
    batch->begun = store->era;
    list_append(&store->open, batch);
    *ret_batch = batch;
    return OK;
}

void store_batch_free(struct store_batch *batch)
{
    if (batch == NULL) {
        return;
    }
    if (batch->store == NULL) {
        batch_destroy(batch);
        return;
    }
    assert(!batch->queued);
    list_remove(&batch->store->open, batch);
    batch_recycle(batch->store, batch);
}

/* ---- where commits are executed ---- */
bool store_doomed(struct store *store, struct store_batch *batch)
{
    if (batch->begun > store->doomed) {
        return false;
    }
    store_doom(store, batch, store->doomed_err);
    return true;
}

void store_doom(struct store *store, struct store_batch *batch, enum err err)
{
    batch->result = err;
    store->doomed_err = err;
    store->doomed = max_u64(store->doomed, batch->submitted);
}

static void work(void *arg)
{
    struct store_batch *batch = arg;
    struct store *store = batch->store;
    if (store->backend->commit != NULL && !store_doomed(store, batch)) {
        store->backend->commit(store, batch);
    }
}

/* ---- telling, on the loop ---- */
static void tell(struct store *store, struct store_batch *batch, enum err result)
{
    uint64_t outer = store->telling;
    store->telling = batch->serial;
    if (batch->done != NULL) {
        batch->done(batch->arg, result);
    }
    store->telling = outer;
}

/* The failed batch is the first of the queue. */
static void tell_failure(struct store *store, enum err err, bool io_failed)
{
    store->usage.failed_commits++;
    store->usage.failing = err;
    if (store->usage.failing_since_us == 0) {
        store->usage.failing_since_us = loop_now_us(store->loop);
    }
    if (io_failed && !store->broken) {
        store->broken = store->backend->reopen(store) != OK;
    }
    size_t left = store->queued.count;
    for (struct store_batch *batch = list_first(&store->queued); left > 0 && !store->closed; left--) {
        if (left == 1) {
            store->era++;
        }
        batch->told = true;
        struct store_batch *next = batch->next; /* stays queued until its own turn comes back from the worker */
        tell(store, batch, err);
        batch = next;
    }
}

static void finish(void *arg)
{
    struct store_batch *batch = arg;
    struct store *store = batch->store;
    assert(batch == list_first(&store->queued));
    if (!batch->told && store->backend->commit_on_loop != NULL && !store_doomed(store, batch)) {
        store->backend->commit_on_loop(store, batch);
    }
    if (batch->used_bytes != 0) {
        store->usage.used_bytes = batch->used_bytes;
    }
    if (!batch->told && batch->result != OK) {
        tell_failure(store, batch->result, batch->io_failed);
    } else if (!batch->told) {
        store->usage.commits++;
        store->usage.failing = OK;
        store->usage.failing_since_us = 0;
        store->usage.last_commit_us = batch->commit_us;
        tell(store, batch, OK);
    }
    if (store->closed) {
        free(store); /* store_close was called from done and has freed the rest, this batch included */
        return;
    }
    list_remove(&store->queued, batch);
    batch_recycle(store, batch);
}

static void refuse(void *arg)
{
    struct store_batch *batch = arg;
    store_doom(batch->store, batch, ERR_IO);
}

enum err store_commit(struct store *store, struct store_batch *batch, void (*done)(void *arg, enum err result),
                      void *arg)
{
    assert(batch->store == store && !batch->queued && store->worker != NULL);
    batch->done = done;
    batch->arg = arg;
    batch->submitted = store->era;
    batch->result = OK;
    TRY(loop_offload(store->worker, store->broken ? refuse : work, finish, batch));
    batch->queued = true;
    list_remove(&store->open, batch);
    list_append(&store->queued, batch);
    return OK;
}

/* ---- the rest ---- */
enum err store_make(struct loop *loop, const struct store_backend *backend, unsigned table_count,
                    struct store **ret_store)
{
    struct store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        return ERR_NOMEM;
    }
    store->backend = backend;
    store->loop = loop;
    store->table_count = table_count;
    store->era = 1;
    store->spare_max = SPARE_MAX;
    list_init(&store->open);
    list_init(&store->queued);
    list_init(&store->spare);
    *ret_store = store;
    return OK;
}

static void destroy_all(struct batch_list *list)
{
    for (struct store_batch *batch; (batch = list_first(list)) != NULL;) {
        list_remove(list, batch);
        batch_destroy(batch);
    }
}

void store_close(struct store *store)
{
    if (store == NULL) {
        return;
    }
    loop_worker_free(store->worker);
    store->worker = NULL;
    store->backend->close(store);
    destroy_all(&store->queued);
    destroy_all(&store->spare);
    for (struct store_batch *batch; (batch = list_first(&store->open)) != NULL;) {
        list_remove(&store->open, batch);
        batch->store = NULL; /* its owner frees it */
    }
    store->closed = true;
    if (store->telling == 0) {
        free(store);
    }
}

size_t store_commits_pending(const struct store *store)
{
    size_t pending = 0;
    for (const struct store_batch *batch = store->queued.head.next; batch != &store->queued.head; batch = batch->next) {
        pending += !batch->told;
    }
    return pending;
}

bool store_broken(const struct store *store)
{
    return store->broken;
}

uint64_t store_telling(const struct store *store)
{
    return store->telling;
}

enum err store_get(struct store *store, unsigned table, struct slice key, struct buffer *ret_value)
{
    if (table >= store->table_count || key.len == 0 || key.len > STORE_KEY_MAX) {
        return ERR_NOT_FOUND;
    }
    return store->backend->get(store, table, key, ret_value);
}

enum err store_foreach(struct store *store, unsigned table, struct slice from, struct slice to,
                       bool (*fn)(void *arg, struct slice key, struct slice value), void *arg)
{
    if (table >= store->table_count) {
        return ERR_NOT_FOUND;
    }
    return store->backend->foreach(store, table, from, to, fn, arg);
}

void store_usage(const struct store *store, struct store_usage *ret_usage)
{
    *ret_usage = store->usage;
}
