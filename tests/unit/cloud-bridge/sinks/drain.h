/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drain - a bridge's store with its two lanes in virtual time, records of one device put into it by hand, and sinks made for
 * tests: what their servers have is a text, what they dislike and when they are away is set.
 */
#ifndef TESTS_UNIT_CLOUD_BRIDGE_SINKS_DRAIN_H
#define TESTS_UNIT_CLOUD_BRIDGE_SINKS_DRAIN_H

#include "cloud-bridge/sinks/dead.h"
#include "cloud-bridge/sinks/module.h"
#include "tests/support/check.h"

#define DRAIN_UNUSED __attribute__((unused))
enum { DRAIN_SPOOL, DRAIN_META, DRAIN_TABLE, DRAIN_TABLES, DRAIN_SINKS_MAX = 2, DRAIN_EPOCH = 0xe };

/* A sink and the server behind it, which outlives the sink. It takes numbers by a mark, as a sink must. */
struct fake {
    struct sink_ops ops; /* a copy: remote, position, alive as the test wants them */
    struct sink_reader reader;
    bool away;      /* nothing answers */
    bool forgets;   /* takes the next write and says that it failed */
    bool leaves;    /* is away after it has refused something */
    bool is_other;  /* another process than before */
    uint64_t picky; /* the number that it can never take, 0 = none */
    bool picks_gaps; /* not even a gap in its place */
    bool takes_none; /* it can take nothing but gaps */
    uint64_t epoch[INBOX_LANES], position[INBOX_LANES];
    uint64_t mark;
    char text[8192]; /* "1 2 gap3:dead_letter 4 again3 " */
    unsigned writes, asked;
};
struct drain {
    struct loop_world *world;
    struct loop *loop;
    struct store_disk *disk;
    struct store *store;
    struct spool *spools[INBOX_LANES];
    struct dead *dead;
    struct sinks *sinks;
    struct store_batch *batch; /* for trims, committed now and then as the intake does it */
    struct loop_timer commit;
    struct fake fakes[DRAIN_SINKS_MAX];
    struct sink given[DRAIN_SINKS_MAX]; /* name, lag_max_pct, settle_us as the test wants them */
    size_t count;
    uint64_t number; /* of the device */
};

/* ---- the sink ---- */
static enum err fake_position(void *self, const uint64_t epoch[INBOX_LANES], uint64_t ret[INBOX_LANES])
{
    struct fake *f = self;
    f->asked++;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        ret[i] = f->epoch[i] == epoch[i] ? f->position[i] : 0;
    }
    return f->away ? ERR_TIMEOUT : OK;
}

static void fake_take(struct fake *f, const struct sink_item *item)
{
    const struct wire_forward *w = &item->forward;
    char part[80];
    if (w->first > w->last) {
        return;
    }
    if (w->last <= f->mark && !item->replay) {
        return;
    }
    sink_reader_read(&f->reader, w->record);
    if (f->reader.kind == SINK_GAP) {
        snprintf(part, sizeof(part), "gap%llu-%llu:%s ", (unsigned long long)w->first, (unsigned long long)w->last,
                 sink_reason_name(f->reader.record->gap->reason));
    } else {
        snprintf(part, sizeof(part), "%s%llu ", item->replay ? "again" : "", (unsigned long long)w->first);
    }
    CHECK(strlen(f->text) + strlen(part) < sizeof(f->text));
    strcat(f->text, part);
    f->mark = item->replay ? f->mark : w->last;
}

static enum err fake_write(void *self, const struct sink_batch *batch, struct fault *reterr)
{
    struct fake *f = self;
    f->writes++;
    if (f->away) {
        return fault_set(reterr, ERR_TIMEOUT, "the fake is away");
    }
    for (size_t i = 0; i < batch->count; i++) {
        sink_reader_read(&f->reader, batch->items[i].forward.record);
        const struct wire_forward *w = &batch->items[i].forward;
        bool is_gap = f->reader.kind == SINK_GAP;
        if (w->first <= w->last && ((f->picky != 0 && w->first == f->picky && (!is_gap || f->picks_gaps)) ||
                                    (f->takes_none && !is_gap))) {
            sink_refuse(batch, i, "the fake dislikes it");
        }
    }
    if (batch->refusals != NULL && batch->refusals->count > 0) {
        batch->refusals->none_taken = f->takes_none;
        f->away = f->leaves;
        return ERR_UNSUPPORTED;
    }
    for (size_t i = 0; i < batch->count; i++) {
        fake_take(f, &batch->items[i]);
    }
    memcpy(f->epoch, batch->epoch, sizeof(f->epoch));
    memcpy(f->position, batch->position, sizeof(f->position));
    if (f->forgets) {
        f->forgets = false;
        return fault_set(reterr, ERR_IO, "the answer was lost");
    }
    return OK;
}

static DRAIN_UNUSED enum err fake_alive(void *self, struct fault *reterr)
{
    struct fake *f = self;
    bool other = f->is_other || f->away;
    f->is_other = false;
    return other ? fault_set(reterr, ERR_AGAIN, "another process") : OK;
}

static void fake_close(void *self)
{
    (void)self;
}

/* ---- the store ---- */
static struct store_batch *drain_batch(void *arg)
{
    struct drain *d = arg;
    if (d->batch == NULL) {
        CHECK_OK(store_batch_new(d->store, &d->batch));
    }
    return d->batch;
}

static void drain_committed(void *arg, enum err result)
{
    struct drain *d = arg;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        spool_settle(d->spools[i], spool_next(d->spools[i]) - 1, result);
    }
    if (d->sinks != NULL) {
        sinks_kick(d->sinks);
    }
}

static void drain_commit(void *arg)
{
    struct drain *d = arg;
    if (d->batch != NULL) {
        struct store_batch *batch = d->batch;
        d->batch = NULL;
        CHECK_OK(store_commit(d->store, batch, drain_committed, d));
    }
    loop_timer_in(&d->commit, 10 * MS_US);
}

static DRAIN_UNUSED void drain_run(struct drain *d, int64_t us)
{
    loop_world_run(d->world, loop_world_now_us(d->world) + us);
}

static void drain_booted(void *arg, enum err result)
{
    struct drain *d = arg;
    CHECK_OK(result);
    dead_created(d->dead, result);
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        spool_settle(d->spools[i], spool_next(d->spools[i]) - 1, result);
    }
}

static DRAIN_UNUSED void drain_open_store(struct drain *d)
{
    struct dead_options dead = {.table = DRAIN_TABLE, .meta_table = DRAIN_META, .max_bytes = 200 * 1024};
    struct fault fault;
    struct store_batch *batch;
    CHECK_OK(store_open_memory(d->loop, d->disk, DRAIN_TABLES, &d->store));
    for (uint8_t i = 0; i < INBOX_LANES; i++) {
        struct spool_options spool = {.table = DRAIN_SPOOL, .meta_table = DRAIN_META, .lane = i};
        CHECK_OK(spool_open(d->loop, d->store, &spool, &d->spools[i], &fault));
    }
    CHECK_OK(dead_open(d->loop, d->store, &dead, &d->dead, &fault));
    CHECK_OK(store_batch_new(d->store, &batch));
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        if (spool_epoch(d->spools[i]) == 0) {
            CHECK_OK(spool_create(d->spools[i], batch));
        }
    }
    CHECK_OK(dead_create(d->dead, batch));
    CHECK_OK(sinks_prepare(d->store, batch, DRAIN_TABLE, d->given, d->count, d->spools));
    CHECK_OK(store_commit(d->store, batch, drain_booted, d));
    drain_run(d, MS_US);
}

/* On disk `disk`, which the test owns. */
static DRAIN_UNUSED void drain_begin(struct drain *d, size_t count, uint64_t disk_bytes)
{
    memset(d, 0, sizeof(*d));
    CHECK_OK(loop_world_new(1, &d->world));
    CHECK_OK(loop_new_virtual(d->world, &d->loop));
    CHECK_OK(store_disk_new(disk_bytes, &d->disk));
    d->count = count;
    loop_timer_init(&d->commit, d->loop, drain_commit, d);
    for (size_t i = 0; i < count; i++) {
        struct fake *f = &d->fakes[i];
        f->ops = (struct sink_ops){.name = "fake", .write = fake_write, .position = fake_position, .close = fake_close};
        CHECK_OK(sink_reader_init(&f->reader));
        d->given[i] = (struct sink){.ops = &f->ops, .self = f};
        snprintf(d->given[i].name, sizeof(d->given[i].name), "s%zu", i);
    }
}

static DRAIN_UNUSED void drain_start(struct drain *d)
{
    struct fault fault = {.code = OK};
    struct sink sinks[DRAIN_SINKS_MAX];
    drain_open_store(d);
    struct sinks_handlers on = {
        .batch = drain_batch, .arg = d, .store = d->store, .table = DRAIN_TABLE, .dead = d->dead};
    memcpy(sinks, d->given, sizeof(sinks));
    CHECK_OK(sinks_new(d->loop, d->spools, sinks, d->count, &on, &d->sinks, &fault));
    loop_timer_in(&d->commit, 10 * MS_US);
    sinks_kick(d->sinks);
}

/* As a process that was killed: what was not committed is gone. */
static DRAIN_UNUSED void drain_kill(struct drain *d)
{
    loop_timer_cancel(&d->commit);
    sinks_free(d->sinks);
    dead_free(d->dead);
    d->sinks = NULL;
    d->dead = NULL;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        spool_free(d->spools[i]);
    }
    store_batch_free(d->batch);
    d->batch = NULL;
    store_close(d->store);
}

static DRAIN_UNUSED void drain_end(struct drain *d)
{
    drain_kill(d);
    for (size_t i = 0; i < d->count; i++) {
        sink_reader_deinit(&d->fakes[i].reader);
    }
    store_disk_free(d->disk);
    loop_free(d->loop);
    loop_world_free(d->world);
}

/* Records of the device, `bytes` of text each. */
static DRAIN_UNUSED void drain_add(struct drain *d, unsigned count, size_t bytes)
{
    for (unsigned i = 0; i < count; i++) {
        BUFFER(record, WIRE_RECORD_MAX);
        BUFFER(body, SPOOL_BODY_MAX);
        char text[WIRE_TEXT_MAX + 1] = "", id[] = "x", empty[] = "";
        Weir__V1__Event event = WEIR__V1__EVENT__INIT;
        Weir__V1__Record r = WEIR__V1__RECORD__INIT;
        memset(text, 'a', min_u64(bytes, WIRE_TEXT_MAX));
        event.id = id;
        event.text = text;
        event.channel = empty;
        event.wall_us = 1;
        r.schema = WIRE_SCHEMA;
        r.kind_case = WEIR__V1__RECORD__KIND_EVENT;
        r.event = &event;
        CHECK_OK(wire_record_pack(&r, &record));
        struct wire_forward f = {.epoch = DRAIN_EPOCH,
                                 .first = ++d->number,
                                 .last = d->number,
                                 .top = d->number,
                                 .received_us = (uint64_t)loop_wall_us(d->loop),
                                 .lane = 1,
                                 .record = buffer_slice(&record)};
        uint64_t first;
        snprintf(f.device, sizeof(f.device), "pump");
        snprintf(f.gateway, sizeof(f.gateway), "gw");
        CHECK_OK(wire_forward_encode(&f, &body));
        CHECK_OK(spool_append(d->spools[1], drain_batch(d), 1, buffer_slice(&body), &first));
    }
}

static DRAIN_UNUSED void drain_stats(struct drain *d, size_t sink, struct sinks_stats *ret_stats)
{
    sinks_stats(d->sinks, sink, ret_stats);
}

#endif
