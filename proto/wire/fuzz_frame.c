/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: for any bytes as Frame of Records or of Forwards: an accepted frame keeps the header's invariants, its entries
 * cover first..last without a hole, protobuf-c reads the same header, and encoding it again decodes to the same.
 */
#include "proto/wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct wire_entry entries[WIRE_RECORDS_MAX], again_entries[WIRE_RECORDS_MAX];
static struct slice bodies[WIRE_RECORDS_MAX];

static void expect(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void compare_with_library(struct slice in, const struct wire_frame *frame)
{
    Weir__V1__Frame *f = weir__v1__frame__unpack(NULL, in.len, in.ptr);
    if (f == NULL) {
        return; /* stricter than we are in places, e.g. about field numbers */
    }
    const struct window_header *h = &frame->header;
    expect(strcmp(f->sender, frame->sender) == 0 && f->epoch == h->epoch && f->first == h->first);
    expect(f->first - f->behind == h->base && f->first + f->ahead == h->top && f->boot == h->boot);
    expect((f->hello != NULL) == h->has_hello && f->n_record == frame->count);
    if (f->hello != NULL) {
        expect(f->hello->boot_seq == h->boot_seq && f->hello->boot_top == h->boot_top);
        expect(f->hello->replaces == h->replaces);
    }
    weir__v1__frame__free_unpacked(f, NULL);
}

static void judge(struct slice in, bool is_forward)
{
    struct wire_frame frame, again;
    const char *why = NULL;
    if (wire_frame_decode(in, is_forward, &frame, entries, WIRE_RECORDS_MAX, &why) != OK) {
        expect(why != NULL);
        return;
    }
    const struct window_header *h = &frame.header;
    expect(h->epoch != 0 && h->boot != 0 && frame.count > 0 && h->base > 0 && h->base <= h->first);
    expect(h->first <= h->last && h->last <= h->top && h->top <= WIRE_NUMBER_MAX);
    uint64_t next = h->first;
    for (size_t i = 0; i < frame.count; i++) {
        expect(entries[i].first == next && entries[i].last >= next);
        next = entries[i].last + 1;
        bodies[i] = entries[i].body;
    }
    expect(next == h->last + 1);
    compare_with_library(in, &frame);
    BUFFER(out, 2 * WIRE_FRAME_MAX);
    enum err err = wire_frame_encode(frame.sender, h, "x", bodies, frame.count, &out);
    if (err == OK) {
        expect(wire_frame_decode(buffer_slice(&out), is_forward, &again, again_entries, WIRE_RECORDS_MAX, NULL) == OK);
        const struct window_header *g = &again.header;
        expect(strcmp(frame.sender, again.sender) == 0 && frame.count == again.count);
        expect(g->epoch == h->epoch && g->first == h->first && g->last == h->last && g->base == h->base);
        expect(g->top == h->top && g->boot == h->boot && g->lane == h->lane && g->has_hello == h->has_hello);
        expect(g->boot_seq == h->boot_seq && g->boot_top == h->boot_top && g->replaces == h->replaces);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    judge(slice_of(data, size), false);
    judge(slice_of(data, size), true);
    return 0;
}
