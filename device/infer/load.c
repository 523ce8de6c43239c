/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model onto this machine: description and network read from their files, one block of memory, time from the loop.
 *
 *   block: struct hosted | network's file | fit.c's
 */
#include <stdio.h>
#include <sys/stat.h>

#include "core/loop/loop.h"
#include "device/infer/infer_internal.h"

enum { BLOCK_ALIGN = 64, MEASURE_BYTES = 64 * 1024, MEASURE_MAX = 1 << 30 };

/* ---- what the sentence begins with ---- */

/* Line of the description's key at the outermost level; 1 where it is not to be found. */
static unsigned line_of(const char *path, const char *key)
{
    char text[1024];
    unsigned line = 0, found = 1;
    bool at_start = true;
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(text, sizeof(text), file) != NULL) {
        size_t len = strlen(text), key_len = strlen(key);
        line += at_start;
        if (at_start && strncmp(text, key, key_len) == 0 && text[key_len] == ':') {
            found = line;
            break;
        }
        at_start = len > 0 && text[len - 1] == '\n';
    }
    if (file != NULL) {
        fclose(file);
    }
    return found;
}

/* The first problem as one sentence. */
static enum err first_problem(struct buffer *problems, enum err err, const char *path, struct fault *reterr)
{
    struct slice line = buffer_line(problems);
    return line.len > 0 ? fault_set(reterr, err, "%.*s", (int)line.len, (const char *)line.ptr)
                        : fault_set(reterr, err, "%s: %s", path, err_name(err));
}

/* ---- the network ---- */

static enum err read_network(const char *path, void **ret_bytes, size_t *ret_len, struct fault *reterr)
{
    struct stat st;
    FILE *file = fopen(path, "rb");
    if (file == NULL || fstat(fileno(file), &st) != 0 || st.st_size <= 0 || st.st_size > INFER_NETWORK_MAX) {
        if (file != NULL) {
            fclose(file);
        }
        return fault_set(reterr, ERR_IO, "%s: cannot be read, is empty, or larger than 64 MiB", path);
    }
    size_t len = (size_t)st.st_size;
    void *bytes = aligned_alloc(BLOCK_ALIGN, (len + BLOCK_ALIGN - 1) / BLOCK_ALIGN * BLOCK_ALIGN);
    bool whole = bytes != NULL && fread(bytes, 1, len, file) == len;
    fclose(file);
    if (!whole) {
        free(bytes);
        return fault_set(reterr, bytes != NULL ? ERR_IO : ERR_NOMEM, "%s: cannot be read", path);
    }
    *ret_bytes = bytes;
    *ret_len = len;
    return OK;
}

/* Rounded up, so that what follows is aligned. */
static size_t whole(size_t bytes)
{
    return (bytes + BLOCK_ALIGN - 1) / BLOCK_ALIGN * BLOCK_ALIGN;
}

/* What the network needs, before there is memory for it, and whether it takes int8 numbers. */
static enum err measure(struct slice file, const struct model_info *info, struct nn_cost *ret_cost, bool *ret_int8,
                        struct fault *reterr)
{
    struct fault why = {.code = OK};
    struct nn *nn = NULL;
    enum err err = ERR_FULL;
    ret_cost->memory_bytes = 0;
    for (size_t bytes = MEASURE_BYTES; err == ERR_FULL && bytes <= MEASURE_MAX; bytes *= 2) {
        size_t needed = ret_cost->memory_bytes / BLOCK_ALIGN * BLOCK_ALIGN + BLOCK_ALIGN;
        bytes = bytes > needed ? bytes : needed;
        void *memory =
            aligned_alloc(BLOCK_ALIGN, bytes); /* what it takes is known only once its tables have found room */
        if (memory == NULL) {
            return fault_set(reterr, ERR_NOMEM, "out of memory: %s", info->network);
        }
        err = nn_load(file, memory, bytes, NULL, &nn, ret_cost, &why);
        *ret_int8 = err == OK && nn_inputs(nn) > 0 && nn_input_info(nn, 0)->type == NN_INT8;
        free(memory);
    }
    return err == OK ? OK
                     : fault_set(reterr, err, "%s:%u: network: %s: %s", info->path, line_of(info->path, "network"),
                                 info->network, why.text);
}

/* ---- the loop behind it ---- */

struct hosted {
    struct loop *loop; /* borrowed */
    struct loop_timer wake;
    struct model *model; /* owned */
    struct infer *infer; /* behind it in the block */
};

static int64_t now_us(void *arg)
{
    const struct hosted *h = arg;
    return loop_now_us(h->loop);
}

static int64_t fresh_now_us(void *arg)
{
    const struct hosted *h = arg;
    return loop_fresh_now_us(h->loop);
}

static uint64_t random_bits(void *arg)
{
    const struct hosted *h = arg;
    return loop_random(h->loop);
}

static void wake_at(void *arg, int64_t at_us)
{
    struct hosted *h = arg;
    if (at_us == 0) {
        loop_timer_cancel(&h->wake);
    } else if (!loop_timer_pending(&h->wake) || h->wake.due_us != at_us) {
        loop_timer_at(&h->wake, at_us);
    }
}

static void on_wake(void *arg)
{
    const struct hosted *h = arg;
    infer_wake(h->infer);
}

static void hosted_free(struct hosted *h)
{
    if (h != NULL) {
        loop_timer_cancel(&h->wake);
        model_free(h->model);
        free(h);
    }
}
DEFINE_CLEANUP(struct hosted, hosted_free)

void infer_free(struct infer *f)
{
    if (f != NULL) {
        hosted_free(f->host.arg);
    }
}

/* h: of total bytes. */
static enum err place_in(struct hosted *h, size_t total, struct slice file, const struct infer_options *options,
                         const struct infer_handlers *handlers, struct fault *reterr)
{
    const struct model_info *info = model_info(h->model);
    const struct infer_host host = {
        .now_us = now_us, .fresh_now_us = fresh_now_us, .random = random_bits, .wake_at = wake_at, .arg = h};
    uint8_t *network = (uint8_t *)h + whole(sizeof(*h));
    size_t before = whole(sizeof(*h)) + whole(file.len);
    struct fault why = {.code = OK};
    const char *key;
    memcpy(network, file.ptr, file.len);
    const struct infer_model model = {.info = info, .network = slice_of(network, file.len)};
    enum err err =
        infer_place((uint8_t *)h + before, total - before, &model, options, &host, handlers, &h->infer, &key, &why);
    if (err != OK && key != NULL) {
        return fault_set(reterr, err, "%s:%u: %s", info->path, line_of(info->path, key), why.text);
    }
    if (err != OK) {
        return fault_set(reterr, err, "%s", why.text);
    }
    h->infer->stats.memory_bytes = total;
    return OK;
}

enum err infer_new(struct loop *loop, const struct infer_options *options, const struct infer_handlers *handlers,
                   struct infer **ret_infer, struct fault *reterr)
{
    BUFFER(problems, 64 * 1024);
    CLEANUP(model_freep) struct model *model = NULL;
    CLEANUP(charp_freep) char *bytes = NULL;
    size_t len = 0;
    bool int8_input = false;
    struct nn_cost cost;
    enum err err = model_load(options->model, &model, &problems);
    if (err != OK) {
        return first_problem(&problems, err, options->model, reterr);
    }
    const struct model_info *info = model_info(model);
    TRY(read_network(info->network, (void **)&bytes, &len, reterr));
    TRY(measure(slice_of(bytes, len), info, &cost, &int8_input, reterr));
    size_t total =
        whole(sizeof(struct hosted)) + whole(len) + infer_bytes(info, options, cost.memory_bytes, int8_input);
    CLEANUP(hosted_freep) struct hosted *h = aligned_alloc(BLOCK_ALIGN, total);
    if (h == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory: %s takes %zu bytes", info->path, total);
    }
    *h = (struct hosted){.loop = loop, .model = take(model)};
    loop_timer_init(&h->wake, loop, on_wake, h);
    TRY(place_in(h, total, slice_of(bytes, len), options, handlers, reterr));
    *ret_infer = take(h)->infer;
    return OK;
}
