/* SPDX-License-Identifier: Apache-2.0 */
/*
 * records - Forwards as the gateway has them, for tests of the views: made of names, units and rows.
 */
#ifndef TESTS_UNIT_GATEWAY_PUBLISH_RECORDS_H
#define TESTS_UNIT_GATEWAY_PUBLISH_RECORDS_H

#include "tests/support/check.h"

#include <math.h>
#include <stdlib.h>

#include "core/sketch/sketch.h"
#include "proto/block/block.h"
#include "proto/wire/wire.h"

#define RECORDS_EPOCH UINT64_C(0xabcd)

struct records {
    struct buffer bytes;
    struct wire_forward forward;
};

__attribute__((unused)) static struct wire_forward *records_forward(struct records *r, const char *device,
                                                                    uint64_t number, uint64_t received_us)
{
    r->forward = (struct wire_forward){.epoch = RECORDS_EPOCH, .first = number, .last = number, .top = number,
                                       .received_us = received_us, .lane = 1, .record = buffer_slice(&r->bytes)};
    snprintf(r->forward.device, sizeof(r->forward.device), "%s", device);
    snprintf(r->forward.gateway, sizeof(r->forward.gateway), "gw1");
    return &r->forward;
}

static void records_pack(struct records *r, Weir__V1__Record *record)
{
    buffer_deinit(&r->bytes);
    buffer_init(&r->bytes, WIRE_RECORD_MAX);
    record->schema = WIRE_SCHEMA;
    CHECK_OK(wire_record_pack(record, &r->bytes));
}

/* names: "flow:l/min,temp:degC"; gives the set. */
__attribute__((unused)) static uint32_t records_describe(struct records *r, const char *names, uint64_t model)
{
    static Weir__V1__ChannelInfo infos[BLOCK_CHANNELS_MAX];
    static Weir__V1__ChannelInfo *channels[BLOCK_CHANNELS_MAX];
    Weir__V1__Describe d = WEIR__V1__DESCRIBE__INIT;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    char *copy = strdup(names), *rest = copy, *one;
    while ((one = strsep(&rest, ",")) != NULL) {
        Weir__V1__ChannelInfo *c = &infos[d.n_channel];
        weir__v1__channel_info__init(c);
        c->name = strsep(&one, ":");
        c->unit = one != NULL ? one : (char *)(uintptr_t)"";
        c->resolution = 0.25;
        channels[d.n_channel++] = c;
    }
    d.channel = channels;
    d.model = model;
    d.set = wire_describe_set(&d);
    record.kind_case = WEIR__V1__RECORD__KIND_DESCRIBE;
    record.describe = &d;
    records_pack(r, &record);
    free(copy);
    return d.set;
}

/* values[channel][row], NaN = missing. */
static void records_columns(struct buffer *columns, size_t channels, size_t rows, const double *values)
{
    static int64_t steps[BLOCK_CHANNELS_MAX * BLOCK_SAMPLES_MAX];
    static double resolutions[BLOCK_CHANNELS_MAX];
    for (size_t i = 0; i < channels; i++) {
        resolutions[i] = 0.25;
    }
    for (size_t i = 0; i < channels * rows; i++) {
        steps[i] = block_quantise(values[i], 0.25);
    }
    CHECK_OK(block_encode(steps, resolutions, channels, rows, columns));
}

__attribute__((unused)) static void records_block(struct records *r, uint32_t set, size_t channels, size_t rows,
                                                  const double *values, uint64_t wall_us, uint32_t period_us,
                                                  Weir__V1__ClockQuality quality, bool curated)
{
    BUFFER(columns, 1 << 20);
    records_columns(&columns, channels, rows, values);
    Weir__V1__Block b = WEIR__V1__BLOCK__INIT;
    Weir__V1__Curated c = WEIR__V1__CURATED__INIT;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    b.set = set;
    b.wall_us = wall_us;
    b.samples = (uint32_t)rows;
    b.period_us = period_us;
    b.quality = quality;
    b.columns = (ProtobufCBinaryData){.data = columns.ptr, .len = columns.len};
    c.block = &b;
    record.kind_case = curated ? WEIR__V1__RECORD__KIND_CURATED : WEIR__V1__RECORD__KIND_BLOCK;
    if (curated) {
        record.curated = &c;
    } else {
        record.block = &b;
    }
    records_pack(r, &record);
}

/* What rules that have just changed leave of a block: the names that it has now, and one row. values NULL: names alone. */
__attribute__((unused)) static uint32_t records_redescribed(struct records *r, const char *names, size_t channels,
                                                            const double *values, uint64_t wall_us)
{
    BUFFER(columns, 1 << 20);
    struct slice message;
    uint32_t set = records_describe(r, names, 0);
    CHECK(wire_record_describe(buffer_slice(&r->bytes), &message));
    Weir__V1__Block b = WEIR__V1__BLOCK__INIT;
    Weir__V1__Curated c = WEIR__V1__CURATED__INIT;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    c.describe = weir__v1__describe__unpack(NULL, message.len, message.ptr);
    if (values != NULL) {
        records_columns(&columns, channels, 1, values);
        b.set = set;
        b.wall_us = wall_us;
        b.samples = 1;
        b.quality = WEIR__V1__CLOCK_QUALITY__NTP;
        b.columns = (ProtobufCBinaryData){.data = columns.ptr, .len = columns.len};
        c.block = &b;
    }
    record.kind_case = WEIR__V1__RECORD__KIND_CURATED;
    record.curated = &c;
    records_pack(r, &record);
    weir__v1__describe__free_unpacked(c.describe, NULL);
    return set;
}

__attribute__((unused)) static void records_window(struct records *r, uint32_t set, uint32_t channel, const char *rule,
                                                   uint64_t start_us, uint64_t count, double mean, const char *capture)
{
    Weir__V1__Window w = WEIR__V1__WINDOW__INIT;
    Weir__V1__Window *windows[] = {&w};
    Weir__V1__Curated c = WEIR__V1__CURATED__INIT;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    w.channel = channel;
    w.rule = (char *)(uintptr_t)rule;
    w.start_us = start_us;
    w.length_us = 60 * SECOND_US;
    w.count = count;
    w.mean = mean;
    w.m2 = 4.0 * (double)(count - 1);
    w.min = mean - 1;
    w.max = mean + 1;
    BUFFER(bytes, 1024);
    if (count == 5) { /* of a rule with quantiles */
        const double values[] = {mean - 1, mean - 1, mean, mean, mean + 1};
        struct sketch sketch;
        CHECK_OK(sketch_init(&sketch, 0.01));
        CHECK_OK(sketch_add(&sketch, values, count));
        CHECK_OK(sketch_encode(&sketch, 1024, &bytes));
        sketch_deinit(&sketch);
        w.sketch.data = bytes.ptr;
        w.sketch.len = bytes.len;
    }
    c.set = set;
    c.window = windows;
    c.n_window = 1;
    c.capture = (char *)(uintptr_t)capture;
    record.kind_case = WEIR__V1__RECORD__KIND_CURATED;
    record.curated = &c;
    records_pack(r, &record);
}

#endif
