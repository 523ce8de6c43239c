/* SPDX-License-Identifier: Apache-2.0 */
/* A spool on a disk in memory, in virtual time. */
#ifndef TESTS_UNIT_CORE_SPOOL_WORLD_H
#define TESTS_UNIT_CORE_SPOOL_WORLD_H

#include "core/crypt/crypt.h"
#include "core/spool/spool.h"
#include "tests/support/check.h"

enum { WORLD_LATENCY_US = 1000, WORLD_TABLE = 0, WORLD_META = 1 };

struct world {
    struct loop_world *world;
    struct loop *loop;
    struct store_disk *disk;
    struct store *store;
    struct crypt_aead *aead; /* NULL = CRC only */
    struct spool *spool;
    uint64_t max_bytes;
    unsigned told;
    enum err last;
    struct fault fault;
};

static enum err __attribute__((unused)) world_try_open(struct world *w)
{
    struct spool_options options = {.table = WORLD_TABLE, .meta_table = WORLD_META, .lane = 1, .aead = w->aead,
                                    .max_bytes = w->max_bytes};
    return spool_open(w->loop, w->store, &options, &w->spool, &w->fault);
}

static void __attribute__((unused)) world_on_done(void *arg, enum err result)
{
    struct world *w = arg;
    w->told++;
    w->last = result;
    if (w->spool != NULL) {
        spool_settle(w->spool, UINT64_MAX, result); /* one batch at a time here: all of it */
    }
}

static struct store_batch *__attribute__((unused)) world_batch(struct world *w)
{
    struct store_batch *batch = NULL;
    CHECK_OK(store_batch_new(w->store, &batch));
    return batch;
}

static enum err __attribute__((unused)) world_commit(struct world *w, struct store_batch *batch)
{
    unsigned told = w->told;
    CHECK_OK(store_commit(w->store, batch, world_on_done, w));
    loop_world_run(w->world, loop_world_now_us(w->world) + WORLD_LATENCY_US);
    CHECK_INT(w->told, told + 1);
    return w->last;
}

static void __attribute__((unused)) world_begin(struct world *w, struct crypt_aead *aead)
{
    memset(w, 0, sizeof *w);
    w->aead = aead;
    CHECK_OK(loop_world_new(7, &w->world));
    CHECK_OK(loop_new_virtual(w->world, &w->loop));
    loop_set_worker_latency(w->loop, WORLD_LATENCY_US);
    CHECK_OK(store_disk_new(64 * 1024 * 1024, &w->disk));
    CHECK_OK(store_open_memory(w->loop, w->disk, 2, &w->store));
    CHECK_OK(world_try_open(w));
}

static void __attribute__((unused)) world_create(struct world *w)
{
    struct store_batch *batch = world_batch(w);
    CHECK_OK(spool_create(w->spool, batch));
    CHECK_OK(world_commit(w, batch));
}

/* As a power cut does. */
static void __attribute__((unused)) world_crash(struct world *w)
{
    spool_free(w->spool);
    w->spool = NULL;
    store_close(w->store);
    CHECK_OK(store_open_memory(w->loop, w->disk, 2, &w->store));
}

static void __attribute__((unused)) world_restart(struct world *w)
{
    world_crash(w);
    CHECK_OK(world_try_open(w));
}

static void __attribute__((unused)) world_end(struct world *w)
{
    spool_free(w->spool);
    store_close(w->store);
    store_disk_free(w->disk);
    loop_free(w->loop);
    loop_world_free(w->world);
}

/* "1:a 2-4:gap 5:! " with ! for damaged. */
static bool __attribute__((unused)) world_join(void *arg, const struct spool_entry *e)
{
    char *text = arg;
    size_t len = strlen(text), left = 2048 - len;
    int n = e->first == e->last ? snprintf(text + len, left, "%llu:", (unsigned long long)e->first)
                                : snprintf(text + len, left, "%llu-%llu:", (unsigned long long)e->first,
                                           (unsigned long long)e->last);
    snprintf(text + len + n, left - (size_t)n, "%.*s ", e->damaged ? 1 : (int)e->body.len,
             e->damaged ? "!" : (const char *)e->body.ptr);
    return true;
}

static const char __attribute__((unused)) *world_list(struct world *w, uint64_t from)
{
    static char text[2048];
    text[0] = '\0';
    CHECK_OK(spool_read(w->spool, from, world_join, text));
    return text;
}

static uint64_t __attribute__((unused))
world_append(struct world *w, struct store_batch *batch, uint64_t span, const char *body)
{
    uint64_t first = 0;
    CHECK_OK(spool_append(w->spool, batch, span, slice_str(body), &first));
    return first;
}

/* Appends and commits one-number entries "a", "b", ... */
static void __attribute__((unused)) world_fill(struct world *w, const char *letters)
{
    struct store_batch *batch = world_batch(w);
    for (; *letters != '\0'; letters++) {
        char body[2] = {*letters};
        world_append(w, batch, 1, body);
    }
    CHECK_OK(world_commit(w, batch));
}

#endif
