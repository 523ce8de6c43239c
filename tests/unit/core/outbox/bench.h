/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device's sending end on a memory disk in virtual time; what it sends is written down. Used by both outbox tests.
 */
#ifndef TESTS_UNIT_CORE_OUTBOX_BENCH_H
#define TESTS_UNIT_CORE_OUTBOX_BENCH_H

#include "core/outbox/outbox.h"
#include "tests/support/check.h"

enum { BENCH_SENT = 4096, BENCH_LANE = 1, TABLE_SPOOL = 0, TABLE_META = 1 };

struct bench_frame {
    struct window_header header;
    size_t count, bytes;
    uint64_t first[64], last[64];
    char text[64][8]; /* beginning of each body */
};
struct bench {
    struct loop_world *world;
    struct loop *loop;
    struct store_disk *disk;
    struct store *store;
    struct spool *spool;
    struct outbox *outbox;
    struct outbox_options options;
    struct outbox_handlers handlers;
    uint64_t spool_max_bytes, appended;
    struct bench_frame *sent; /* BENCH_SENT */
    size_t sent_count;
    enum err send_result;
    unsigned rolled_back, damaged, trim_batches;
    uint64_t keep_above, acked;
    uint64_t damaged_first, damaged_last;
};

static inline enum err bench_send(void *arg, const struct window_header *header, const struct spool_entry *entries,
                                  size_t count)
{
    struct bench *b = arg;
    if (b->send_result != OK) {
        return b->send_result;
    }
    CHECK(b->sent_count < BENCH_SENT && count >= 1 && count <= 64);
    CHECK(entries[0].first == header->first && entries[count - 1].last == header->last);
    CHECK(header->base <= header->first && header->last <= header->top);
    struct bench_frame *f = &b->sent[b->sent_count++];
    *f = (struct bench_frame){.header = *header, .count = count};
    for (size_t i = 0; i < count; i++) {
        CHECK(i == 0 || entries[i].first == entries[i - 1].last + 1);
        f->first[i] = entries[i].first;
        f->last[i] = entries[i].last;
        f->bytes += entries[i].body.len;
        memcpy(f->text[i], entries[i].body.ptr, entries[i].body.len < 7 ? entries[i].body.len : 7);
    }
    return OK;
}

static inline void bench_rolled_back(void *arg, uint64_t keep_above)
{
    struct bench *b = arg;
    b->rolled_back++;
    b->keep_above = keep_above;
}

static inline void bench_acked(void *arg, uint64_t acked)
{
    struct bench *b = arg;
    b->acked = acked;
}

static inline enum err bench_damaged(void *arg, uint64_t first, uint64_t last, struct buffer *out)
{
    struct bench *b = arg;
    b->damaged++;
    b->damaged_first = first;
    b->damaged_last = last;
    buffer_put_str(out, "gap");
    return buffer_err(out);
}

static inline void bench_settle(void *arg, enum err result)
{
    struct bench *b = arg;
    spool_settle(b->spool, b->appended, result);
    if (b->outbox != NULL) {
        outbox_kick(b->outbox);
    }
}

static inline void bench_run(struct bench *b, int64_t us)
{
    loop_world_run(b->world, loop_world_now_us(b->world) + us);
}

static inline void bench_commit(struct bench *b, struct store_batch *batch)
{
    b->appended = spool_next(b->spool) - 1;
    CHECK_OK(store_commit(b->store, batch, bench_settle, b));
}

/* A start of the device: everything volatile is new. boot and boot_seq follow the count of starts. */
static inline void bench_start(struct bench *b)
{
    const struct spool_options options = {
        .table = TABLE_SPOOL, .meta_table = TABLE_META, .lane = BENCH_LANE, .max_bytes = b->spool_max_bytes};
    CHECK_OK(loop_new_virtual(b->world, &b->loop));
    loop_set_worker_latency(b->loop, MS_US);
    CHECK_OK(store_open_memory(b->loop, b->disk, 2, &b->store));
    CHECK_OK(spool_open(b->loop, b->store, &options, &b->spool, NULL));
    if (spool_epoch(b->spool) == 0) {
        struct store_batch *batch = NULL;
        CHECK_OK(store_batch_new(b->store, &batch));
        CHECK_OK(spool_create(b->spool, batch));
        bench_commit(b, batch);
        bench_run(b, 10 * MS_US);
    }
    b->options.boot_seq++;
    b->options.boot = 0x1000 + (uint32_t)b->options.boot_seq;
    CHECK_OK(outbox_new(b->loop, b->store, b->spool, &b->options, &b->handlers, &b->outbox));
    b->sent_count = 0;
}

/* A crash: what is not committed is gone. */
static inline void bench_stop(struct bench *b)
{
    outbox_free(b->outbox);
    b->outbox = NULL;
    spool_free(b->spool);
    store_close(b->store);
    loop_free(b->loop);
}

static inline void bench_init(struct bench *b, unsigned state_table)
{
    *b = (struct bench){.options = {.window = {.max_frames = 4,
                                               .max_bytes = 64 * 1024,
                                               .min_rto_us = 100 * MS_US,
                                               .first_rto_us = SECOND_US,
                                               .max_rto_us = 60 * SECOND_US},
                                    .frame_bytes = 1000,
                                    .frame_entries = 10,
                                    .lane = BENCH_LANE,
                                    .state_table = state_table}};
    b->handlers = (struct outbox_handlers){.send = bench_send,
                                           .on_rolled_back = bench_rolled_back,
                                           .on_acked = bench_acked,
                                           .on_damaged = bench_damaged,
                                           .arg = b};
    b->sent = calloc(BENCH_SENT, sizeof(*b->sent));
    CHECK(b->sent != NULL);
    CHECK_OK(loop_world_new(1, &b->world));
    CHECK_OK(store_disk_new(4 << 20, &b->disk));
}

static inline void bench_deinit(struct bench *b)
{
    bench_stop(b);
    store_disk_free(b->disk);
    loop_world_free(b->world);
    free(b->sent);
}

/* Appends count entries of so many bytes, each beginning with its number, and waits for the commit. */
static inline void bench_append(struct bench *b, unsigned count, size_t bytes)
{
    struct store_batch *batch = NULL;
    CHECK_OK(store_batch_new(b->store, &batch));
    char *body = calloc(1, bytes + 24);
    CHECK(body != NULL);
    for (unsigned i = 0; i < count; i++) {
        uint64_t first;
        memset(body, '.', bytes);
        int len = snprintf(body, 24, "%llu", (unsigned long long)spool_next(b->spool));
        body[len] = '.';
        CHECK_OK(spool_append(b->spool, batch, 1, slice_of(body, bytes), &first));
    }
    free(body);
    bench_commit(b, batch);
    bench_run(b, 10 * MS_US);
}

static inline void bench_answer(struct bench *b, enum window_verdict verdict, uint64_t hwm)
{
    outbox_answer(b->outbox, spool_epoch(b->spool), b->options.boot, verdict, hwm, 0);
    bench_run(b, 10 * MS_US);
}

static inline const struct bench_frame *bench_last(const struct bench *b)
{
    CHECK(b->sent_count > 0);
    return &b->sent[b->sent_count - 1];
}

#endif
