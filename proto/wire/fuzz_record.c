/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: for any bytes: what wire_record_check accepts unpacks within the arena's budget (or is of a kind or schema to
 * come), its block decodes, its doubles are what the limits say, and packing it again is accepted too.
 */
#include "proto/wire/wire.h"

#include <math.h>

#include "proto/block/block.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int64_t values[BLOCK_CHANNELS_MAX * BLOCK_SAMPLES_MAX];

static void expect(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void judge_describe(const Weir__V1__Describe *d)
{
    expect(d->n_channel <= BLOCK_CHANNELS_MAX && d->set != 0 && wire_describe_set(d) != 0);
    for (size_t i = 0; i < d->n_channel; i++) {
        double resolution = d->channel[i]->resolution;
        expect(isfinite(resolution) && resolution > 0);
    }
}

static void judge(const Weir__V1__Record *r)
{
    if (r->kind_case == WEIR__V1__RECORD__KIND_BLOCK) {
        size_t channels;
        struct slice columns = slice_of(r->block->columns.data, r->block->columns.len);
        expect(block_decode(columns, r->block->samples, BLOCK_CHANNELS_MAX, values, NULL, &channels) == OK);
    } else if (r->kind_case == WEIR__V1__RECORD__KIND_EVENT) {
        expect(!isinf(r->event->value) && strlen(r->event->text) <= WIRE_TEXT_MAX && r->event->id[0] != '\0');
    } else if (r->kind_case == WEIR__V1__RECORD__KIND_DESCRIBE) {
        judge_describe(r->describe);
    } else if (r->kind_case == WEIR__V1__RECORD__KIND_CURATED && r->curated->describe != NULL) {
        judge_describe(r->curated->describe);
    }
    if (r->kind_case == WEIR__V1__RECORD__KIND_INFERENCE) {
        const Weir__V1__Inference *i = r->inference;
        expect(i->model != 0 && i->confidence >= 0 && i->confidence <= 1 && isfinite(i->score) &&
               strlen(i->label) <= WIRE_NAME_MAX && strlen(i->engine) <= WIRE_NAME_MAX);
    }
    BUFFER(out, WIRE_RECORD_MAX);
    enum err err = wire_record_pack(r, &out); /* NaN may change its bits and unknown fields their place */
    expect(err == OK);
}

static void look_at(struct slice in, struct arena *arena)
{
    uint64_t span;
    if (wire_record_span(in, &span) != OK) {
        expect(wire_record_check(in, 1, 1, NULL) != OK);
        return;
    }
    /* A range says itself where it begins; whatever else is checked as number 1. */
    Weir__V1__Record *r = NULL;
    enum err err = wire_record_unpack(in, arena, &r);
    uint64_t first = 1;
    if (err == OK && r->kind_case == WEIR__V1__RECORD__KIND_GAP) {
        first = r->gap->from;
    } else if (err == OK && r->kind_case == WEIR__V1__RECORD__KIND_SUPPRESSED) {
        first = r->suppressed->from;
    }
    if (first <= WIRE_NUMBER_MAX && span <= WIRE_NUMBER_MAX - first &&
        wire_record_check(in, first, first + span - 1, NULL) == OK) {
        expect(err == OK || err == ERR_UNSUPPORTED);
        if (err == OK) {
            judge(r);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct arena arena; /* for the life of the process: a new one each time is most of the time */
    if (size > WIRE_RECORD_MAX || (arena.block == NULL && arena_init(&arena, WIRE_ARENA_BYTES) != OK)) {
        return 0;
    }
    arena_reset(&arena);
    look_at(slice_of(data, size), &arena);
    return 0;
}
