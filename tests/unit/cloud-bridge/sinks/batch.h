/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch - batches for sinks, made by hand: records of every kind, positions counted on.
 */
#ifndef TESTS_UNIT_CLOUD_BRIDGE_SINKS_BATCH_H
#define TESTS_UNIT_CLOUD_BRIDGE_SINKS_BATCH_H

#include <ftw.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cloud-bridge/sinks/sinks.h"
#include "core/sketch/sketch.h"
#include "proto/block/block.h"
#include "proto/wire/wire.h"
#include "tests/support/check.h"

#define BATCH_UNUSED __attribute__((unused))
enum { BATCH_MAX = 64, BATCH_EPOCH = 0xabc, BATCH_SPOOL_0 = 0x100, BATCH_SPOOL_1 = 0x101 };
#define BATCH_WALL_US UINT64_C(1767225600000000) /* 2026-01-01T00:00:00Z */

struct batch {
    struct sink_batch batch;
    struct sink_item items[BATCH_MAX];
    struct buffer bodies[BATCH_MAX];
};

static BATCH_UNUSED void batch_begin(struct batch *b)
{
    memset(b, 0, sizeof(*b));
    b->batch.items = b->items;
    b->batch.epoch[0] = BATCH_SPOOL_0;
    b->batch.epoch[1] = BATCH_SPOOL_1;
    for (unsigned i = 0; i < BATCH_MAX; i++) {
        buffer_init(&b->bodies[i], WIRE_RECORD_MAX);
    }
}

static BATCH_UNUSED void batch_end(struct batch *b)
{
    for (unsigned i = 0; i < BATCH_MAX; i++) {
        buffer_deinit(&b->bodies[i]);
    }
}

/* Where the record of the next item is to be written. */
static BATCH_UNUSED struct buffer *batch_body(struct batch *b)
{
    CHECK(b->batch.count < BATCH_MAX);
    return &b->bodies[b->batch.count];
}

static BATCH_UNUSED void batch_add(struct batch *b, const char *device, uint8_t lane, uint64_t first, uint64_t last,
                                   uint64_t position)
{
    struct sink_item *item = &b->items[b->batch.count];
    *item = (struct sink_item){.lane = lane,
                               .position = position,
                               .forward = {.epoch = BATCH_EPOCH + lane,
                                           .first = first,
                                           .last = last,
                                           .top = last + 2,
                                           .received_us = BATCH_WALL_US,
                                           .lane = lane,
                                           .record = buffer_slice(batch_body(b))}};
    snprintf(item->forward.device, sizeof(item->forward.device), "%s", device);
    snprintf(item->forward.gateway, sizeof(item->forward.gateway), "gw");
    b->batch.position[lane] = position;
    b->batch.count++;
}

static BATCH_UNUSED void batch_pack(struct batch *b, Weir__V1__Record *record)
{
    if (record->schema == 0) {
        record->schema = WIRE_SCHEMA;
    }
    CHECK_OK(wire_record_pack(record, batch_body(b)));
}

/* Two channels (0.1 and 0.5), two samples 250 ms apart: values number, number + 1 | 10, missing. */
static BATCH_UNUSED void batch_block(struct batch *b, const char *device, uint64_t number, uint64_t position)
{
    const int64_t values[] = {(int64_t)number, (int64_t)number + 1, 10, BLOCK_MISSING};
    const double resolutions[] = {0.1, 0.5};
    BUFFER(columns, 1024);
    CHECK_OK(block_encode(values, resolutions, 2, 2, &columns));
    Weir__V1__Block block = WEIR__V1__BLOCK__INIT;
    block.set = 7;
    block.wall_us = BATCH_WALL_US + number * 1000000;
    block.samples = 2;
    block.period_us = 250000;
    block.quality = WEIR__V1__CLOCK_QUALITY__NTP;
    block.columns.data = columns.ptr;
    block.columns.len = columns.len;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.kind_case = WEIR__V1__RECORD__KIND_BLOCK;
    record.block = &block;
    batch_pack(b, &record);
    batch_add(b, device, 1, number, number, position);
}

static BATCH_UNUSED void batch_describe(struct batch *b, const char *device, uint64_t number, uint64_t position)
{
    Weir__V1__ChannelInfo first = WEIR__V1__CHANNEL_INFO__INIT, second = WEIR__V1__CHANNEL_INFO__INIT;
    Weir__V1__ChannelInfo *channels[] = {&first, &second};
    char pressure[] = "pressure", bar[] = "bar", flow[] = "flow \"raw\"", empty[] = "";
    first.name = pressure;
    first.unit = bar;
    first.resolution = 0.1;
    second.name = flow;
    second.unit = empty;
    second.resolution = 0.5;
    Weir__V1__Describe describe = WEIR__V1__DESCRIBE__INIT;
    describe.set = 7;
    describe.n_channel = 2;
    describe.channel = channels;
    describe.config = 0xc0ffee;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.kind_case = WEIR__V1__RECORD__KIND_DESCRIBE;
    record.describe = &describe;
    batch_pack(b, &record);
    batch_add(b, device, 1, number, number, position);
}

/* Of 1, 2, 4, 5. */
static BATCH_UNUSED void batch_sketch(struct buffer *out)
{
    const double values[] = {1, 2, 4, 5};
    struct sketch sketch;
    CHECK_OK(sketch_init(&sketch, 0.01));
    CHECK_OK(sketch_add(&sketch, values, COUNT_OF(values)));
    CHECK_OK(sketch_encode(&sketch, 1024, out));
    sketch_deinit(&sketch);
}

/* The block that batch_block makes of this number, shaped: with a window over each of its channels, the first one of a rule
 * with quantiles. */
static BATCH_UNUSED void batch_curated(struct batch *b, const char *device, uint64_t number, uint64_t position)
{
    const int64_t values[] = {(int64_t)number, 10};
    const double resolutions[] = {0.1, 0.5};
    char rule[] = "minute";
    BUFFER(columns, 1024);
    CHECK_OK(block_encode(values, resolutions, 2, 1, &columns));
    Weir__V1__Block block = WEIR__V1__BLOCK__INIT;
    block.set = 7;
    block.wall_us = BATCH_WALL_US + number * 1000000;
    block.samples = 1;
    block.columns.data = columns.ptr;
    block.columns.len = columns.len;
    Weir__V1__Window first = WEIR__V1__WINDOW__INIT;
    first.rule = rule;
    first.start_us = BATCH_WALL_US;
    first.length_us = 60000000;
    first.count = 4;
    first.mean = 3;
    first.m2 = 12;
    first.min = 1;
    first.max = 5;
    Weir__V1__Window second = first;
    BUFFER(sketch, 1024);
    batch_sketch(&sketch);
    first.sketch.data = sketch.ptr;
    first.sketch.len = sketch.len;
    second.channel = 1;
    second.partial = true;
    second.late = 2;
    Weir__V1__Window *windows[] = {&first, &second};
    Weir__V1__Curated curated = WEIR__V1__CURATED__INIT;
    curated.rules = 0xabc;
    curated.set = 7;
    curated.block = &block;
    curated.n_window = 2;
    curated.window = windows;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.kind_case = WEIR__V1__RECORD__KIND_CURATED;
    record.curated = &curated;
    batch_pack(b, &record);
    batch_add(b, device, 1, number, number, position);
}

/* batch_curated, with the names of batch_describe in the record itself: rules have just changed them. */
static BATCH_UNUSED void batch_curated_named(struct batch *b, const char *device, uint64_t number, uint64_t position)
{
    struct batch names;
    struct arena arena;
    Weir__V1__Record *curated, *describe;
    CHECK_OK(arena_init(&arena, WIRE_ARENA_BYTES));
    batch_begin(&names);
    batch_curated(&names, device, number, position);
    batch_describe(&names, device, number, position);
    CHECK_OK(wire_record_unpack(names.items[0].forward.record, &arena, &curated));
    CHECK_OK(wire_record_unpack(names.items[1].forward.record, &arena, &describe));
    curated->curated->describe = describe->describe;
    batch_pack(b, curated);
    batch_add(b, device, 1, number, number, position);
    batch_end(&names);
    arena_deinit(&arena);
}

/* Two samples of two channels, of which a rule has left one value: 2.5 of the second channel. */
static BATCH_UNUSED void batch_thinned(struct batch *b, const char *device, uint64_t number, uint64_t position)
{
    const int64_t values[] = {BLOCK_MISSING, BLOCK_MISSING, BLOCK_MISSING, 5};
    const double resolutions[] = {0.1, 0.5};
    BUFFER(columns, 1024);
    CHECK_OK(block_encode(values, resolutions, 2, 2, &columns));
    Weir__V1__Block block = WEIR__V1__BLOCK__INIT;
    block.set = 7;
    block.wall_us = BATCH_WALL_US + number * 1000000;
    block.samples = 2;
    block.period_us = 250000;
    block.columns.data = columns.ptr;
    block.columns.len = columns.len;
    Weir__V1__Curated curated = WEIR__V1__CURATED__INIT;
    curated.set = 7;
    curated.block = &block;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.kind_case = WEIR__V1__RECORD__KIND_CURATED;
    record.curated = &curated;
    batch_pack(b, &record);
    batch_add(b, device, 1, number, number, position);
}

static BATCH_UNUSED void batch_event(struct batch *b, const char *device, uint64_t number, uint64_t position)
{
    char id[] = "limit-exceeded", text[] = "over \"8 bar\"\n", channel[] = "pressure";
    Weir__V1__Event event = WEIR__V1__EVENT__INIT;
    event.id = id;
    event.text = text;
    event.channel = channel;
    event.severity = WEIR__V1__SEVERITY__ALARM;
    event.wall_us = BATCH_WALL_US;
    event.value = 8.5;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.kind_case = WEIR__V1__RECORD__KIND_EVENT;
    record.event = &event;
    batch_pack(b, &record);
    batch_add(b, device, 0, number, number, position);
}

static BATCH_UNUSED void batch_health(struct batch *b, const char *device, uint64_t number, uint64_t position)
{
    Weir__V1__Health health = WEIR__V1__HEALTH__INIT;
    health.wall_us = BATCH_WALL_US;
    health.uptime_s = 60;
    health.rss_bytes = 4096;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.kind_case = WEIR__V1__RECORD__KIND_HEALTH;
    record.health = &health;
    batch_pack(b, &record);
    batch_add(b, device, 1, number, number, position);
}

/* asked: one that the gateway has answered, else the device's own. */
static BATCH_UNUSED void batch_inference(struct batch *b, const char *device, bool asked, uint64_t number, uint64_t position)
{
    static char label[] = "inner-race", engine[] = "plant/gw1", none[] = "";
    Weir__V1__Inference i = WEIR__V1__INFERENCE__INIT;
    i.model = asked ? 0xb0b : 0xdec0de;
    i.config = 0xc0;
    i.wall_us = BATCH_WALL_US;
    i.window_us = 1500000;
    i.answer = 2;
    i.label = label;
    i.confidence = 0.75F;
    i.score = 1.5F;
    i.engine = asked ? engine : none;
    i.skipped = 7;
    if (asked) {
        i.by = WEIR__V1__ANSWERED_BY__BY_GATEWAY;
        i.asked = WEIR__V1__ASKED__ASKED_ANSWERED;
        i.own_model = 0xdec0de;
        i.own_answer = 1;
        i.own_confidence = 0.5F;
        i.took_ms = 31;
    }
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.kind_case = WEIR__V1__RECORD__KIND_INFERENCE;
    record.inference = &i;
    batch_pack(b, &record);
    batch_add(b, device, 1, number, number, position);
}

static BATCH_UNUSED void batch_gap(struct batch *b, const char *device, uint64_t first, uint64_t last,
                                   uint64_t position)
{
    CHECK_OK(wire_gap_pack(first, last, WEIR__V1__GAP_REASON__OVERFLOW, BATCH_WALL_US, batch_body(b)));
    batch_add(b, device, 1, first, last, position);
}

static BATCH_UNUSED void batch_suppressed(struct batch *b, const char *device, uint64_t first, uint64_t last,
                                          uint64_t position)
{
    char rule[] = "deadband";
    Weir__V1__Suppressed suppressed = WEIR__V1__SUPPRESSED__INIT;
    suppressed.from = first;
    suppressed.to = last;
    suppressed.rule = rule;
    suppressed.rule_version = 3;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.span = last - first + 1;
    record.kind_case = WEIR__V1__RECORD__KIND_SUPPRESSED;
    record.suppressed = &suppressed;
    batch_pack(b, &record);
    batch_add(b, device, 1, first, last, position);
}

static BATCH_UNUSED void batch_raw(struct batch *b, const char *device, uint64_t number, struct slice record,
                                   uint64_t position)
{
    buffer_put_slice(batch_body(b), record);
    batch_add(b, device, 1, number, number, position);
}

static BATCH_UNUSED void batch_write(struct batch *b, struct sink *sink)
{
    struct fault fault = {.code = OK};
    enum err err = sink->ops->write(sink->self, &b->batch, &fault);
    if (err != OK) {
        fprintf(stderr, "write: %s\n", fault.text);
    }
    CHECK_OK(err);
}

static BATCH_UNUSED uint64_t batch_position(struct sink *sink, unsigned lane)
{
    const uint64_t epoch[INBOX_LANES] = {BATCH_SPOOL_0, BATCH_SPOOL_1};
    uint64_t position[INBOX_LANES] = {0, 0};
    CHECK_OK(sink->ops->position(sink->self, epoch, position));
    return position[lane];
}

/* ---- a folder for the test ---- */
static BATCH_UNUSED int batch_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static BATCH_UNUSED void scratch_new(char path[64])
{
    snprintf(path, 64, "/tmp/weir-sink-XXXXXX");
    CHECK(mkdtemp(path) != NULL);
}

static BATCH_UNUSED void scratch_free(const char *path)
{
    nftw(path, batch_remove, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
