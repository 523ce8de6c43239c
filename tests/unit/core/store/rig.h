/* SPDX-License-Identifier: Apache-2.0 */
/* A store in a directory of its own on a real loop, and commits that wait for their done. For tests of store and
 * spool. */
#ifndef TESTS_UNIT_CORE_STORE_RIG_H
#define TESTS_UNIT_CORE_STORE_RIG_H

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/loop/loop.h"
#include "core/store/store.h"
#include "tests/support/check.h"

enum { RIG_SIZE = 1024 * 1024, RIG_PATIENCE_S = 60 };

struct rig {
    struct loop *loop;
    struct store *store;
    char dir[64], path[80], quarantined[PATH_MAX];
    struct fault fault;
    struct loop_timer patience;
    unsigned told; /* dones that have come */
    unsigned awaited;
    enum err results[64];
};

static const char *const rig_tables[] = {"first", "second"};

static void __attribute__((unused)) rig_out_of_patience(void *arg)
{
    struct rig *rig = arg;
    fprintf(stderr, "no answer within %d s\n", RIG_PATIENCE_S);
    loop_stop(rig->loop);
    fail();
}

static enum err __attribute__((unused)) rig_try_open(struct rig *rig, uint64_t size_bytes)
{
    struct store_options options = {
        .path = rig->path, .tables = rig_tables, .table_count = 2, .size_bytes = size_bytes};
    return store_open(rig->loop, &options, &rig->store, rig->quarantined, sizeof rig->quarantined, &rig->fault);
}

static void __attribute__((unused)) rig_begin(struct rig *rig)
{
    memset(rig, 0, sizeof *rig);
    snprintf(rig->dir, sizeof rig->dir, "/tmp/weir-store-XXXXXX");
    CHECK(mkdtemp(rig->dir) != NULL);
    snprintf(rig->path, sizeof rig->path, "%s/store", rig->dir);
    CHECK_OK(loop_new(&rig->loop));
    loop_timer_init(&rig->patience, rig->loop, rig_out_of_patience, rig);
}

static void __attribute__((unused)) rig_open(struct rig *rig)
{
    CHECK_OK(rig_try_open(rig, RIG_SIZE));
}

static void __attribute__((unused)) rig_close(struct rig *rig)
{
    store_close(rig->store);
    rig->store = NULL;
}

static void __attribute__((unused)) rig_end(struct rig *rig)
{
    char command[128];
    rig_close(rig);
    loop_free(rig->loop);
    snprintf(command, sizeof command, "rm -r %s", rig->dir);
    CHECK_INT(system(command), 0);
}

/* For store_commit with the rig as argument. */
static void __attribute__((unused)) rig_done(void *arg, enum err result)
{
    struct rig *rig = arg;
    if (rig->told < COUNT_OF(rig->results)) {
        rig->results[rig->told] = result;
    }
    if (++rig->told == rig->awaited) {
        loop_stop(rig->loop);
    }
}

/* Runs the loop until so many dones have come since the last wait. */
static void __attribute__((unused)) rig_wait(struct rig *rig, unsigned count)
{
    rig->awaited = count;
    if (rig->told < count) {
        loop_timer_in(&rig->patience, RIG_PATIENCE_S * SECOND_US);
        CHECK_OK(loop_run(rig->loop));
        loop_timer_cancel(&rig->patience);
    }
    CHECK_INT(rig->told, count);
    rig->told = 0;
    rig->awaited = 0;
}

static enum err __attribute__((unused)) rig_commit(struct rig *rig, struct store_batch *batch)
{
    CHECK_OK(store_commit(rig->store, batch, rig_done, rig));
    rig_wait(rig, 1);
    return rig->results[0];
}

static struct store_batch *__attribute__((unused)) rig_batch(struct rig *rig)
{
    struct store_batch *batch = NULL;
    CHECK_OK(store_batch_new(rig->store, &batch));
    return batch;
}

static void __attribute__((unused)) rig_put(struct rig *rig, const char *key, const char *value)
{
    struct store_batch *batch = rig_batch(rig);
    CHECK_OK(store_put(batch, 0, slice_str(key), slice_str(value)));
    CHECK_OK(rig_commit(rig, batch));
}

/* "" when there is none. Valid until the next call. */
static const char __attribute__((unused)) *rig_get(struct rig *rig, unsigned table, const char *key)
{
    static char text[256];
    BUFFER(value, sizeof text - 1);
    enum err err = store_get(rig->store, table, slice_str(key), &value);
    CHECK(err == OK || err == ERR_NOT_FOUND);
    memcpy(text, value.len > 0 ? value.ptr : (const uint8_t *)"", value.len);
    text[value.len] = '\0';
    return text;
}

static bool __attribute__((unused)) rig_join(void *arg, struct slice key, struct slice value)
{
    char *text = arg;
    size_t len = strlen(text);
    snprintf(text + len, 1024 - len, "%.*s=%.*s ", (int)key.len, (const char *)key.ptr, (int)value.len,
             (const char *)value.ptr);
    return true;
}

/* "key=value key=value " of a range; to "" = to the end. Valid until the next call. */
static const char __attribute__((unused)) *rig_list(struct rig *rig, unsigned table, const char *from, const char *to)
{
    static char text[1024];
    text[0] = '\0';
    CHECK_OK(store_foreach(rig->store, table, slice_str(from), slice_str(to), rig_join, text));
    return text;
}

#endif
