/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rig - one local sink in a folder of the test's own, with a batch to write. The test says how it is opened (rig_open).
 */
#ifndef TESTS_UNIT_CLOUD_BRIDGE_SINKS_RIG_H
#define TESTS_UNIT_CLOUD_BRIDGE_SINKS_RIG_H

#include "tests/unit/cloud-bridge/sinks/batch.h"

struct rig {
    char folder[64], path[96];
    struct sink sink;
    struct batch b;
    uint64_t rotate; /* of files */
};
/* Opens r->sink at r->path. */
static enum err rig_open(struct rig *r, struct fault *reterr);

static void open_sink(struct rig *r)
{
    struct fault fault = {.code = OK};
    if (rig_open(r, &fault) != OK) {
        fprintf(stderr, "%s\n", fault.text);
        fail();
    }
}

static void close_sink(struct rig *r)
{
    r->sink.ops->close(r->sink.self);
}

/* For a test's set-up; the sink is open. */
static int rig_start(void **state, const char *name, uint64_t rotate)
{
    struct rig *r = calloc(1, sizeof(*r));
    scratch_new(r->folder);
    snprintf(r->path, sizeof(r->path), "%s/%s", r->folder, name);
    r->rotate = rotate;
    open_sink(r);
    batch_begin(&r->b);
    *state = r;
    return 0;
}

static int end(void **state)
{
    struct rig *r = *state;
    close_sink(r);
    batch_end(&r->b);
    scratch_free(r->folder);
    free(r);
    return 0;
}

/* An empty batch. */
static void again(struct rig *r)
{
    batch_end(&r->b);
    batch_begin(&r->b);
}

#endif
