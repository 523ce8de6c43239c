/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an accepted entry to what the spool keeps.
 *
 * The inbox may hand over a part of a range only: a sender whose store overflowed replaces entries 4, 5, 6 by one gap
 * 1..6, and the receiver that already has 1..4 accepts 5..6 of it. The Record is then rewritten to the part, so
 * that a Forward's numbers and its Record's numbers always agree.
 */
#include "proto/receive/receive_internal.h"

#include <math.h>
#include <stdio.h>

#include "core/base/cursor.h"

enum err records_init(struct records *r, const char *receiver)
{
    buffer_init(&r->scratch, WIRE_RECORD_MAX);
    snprintf(r->out.gateway, sizeof(r->out.gateway), "%s", receiver);
    return arena_init(&r->arena, WIRE_ARENA_BYTES);
}

void records_deinit(struct records *r)
{
    buffer_deinit(&r->scratch);
    arena_deinit(&r->arena);
}

/* Rewrites a Gap or Suppressed record to first..last. ERR_MALFORMED for any other kind: it cannot be divided. */
static enum err shrink_range(struct records *r, struct slice record, uint64_t first, uint64_t last)
{
    Weir__V1__Record *unpacked = NULL;
    arena_reset(&r->arena);
    TRY(wire_record_unpack(record, &r->arena, &unpacked));
    if (unpacked->kind_case == WEIR__V1__RECORD__KIND_GAP) {
        if (unpacked->gap->from > first || unpacked->gap->to != last) {
            return ERR_MALFORMED;
        }
        unpacked->gap->from = first;
    } else if (unpacked->kind_case == WEIR__V1__RECORD__KIND_SUPPRESSED) {
        if (unpacked->suppressed->from > first || unpacked->suppressed->to != last) {
            return ERR_MALFORMED;
        }
        unpacked->suppressed->from = first;
    } else {
        return ERR_MALFORMED;
    }
    unpacked->span = last - first + 1;
    buffer_reset(&r->scratch);
    return wire_record_pack(unpacked, &r->scratch);
}

static enum err gap_record(struct records *r, uint64_t first, uint64_t last, Weir__V1__GapReason reason,
                           uint64_t wall_us)
{
    buffer_reset(&r->scratch);
    return wire_gap_pack(first, last, reason, wall_us, &r->scratch);
}

/* Field numbers of Record's oneof (proto/schema/weir.proto); peeked at, since only ranges are counted here. */
enum { FIELD_GAP = 13, FIELD_SUPPRESSED = 14, WIRE_VARINT = 0, WIRE_BYTES = 2 };

static void count_range(struct slice record, uint64_t numbers, struct records_outcome *outcome)
{
    struct cursor c = cursor_of(record);
    while (!c.failed && cursor_left(&c) > 0) {
        uint64_t tag = cursor_varint(&c);
        if (tag == (FIELD_GAP << 3 | WIRE_BYTES)) {
            outcome->gaps = numbers;
            return;
        }
        if (tag == (FIELD_SUPPRESSED << 3 | WIRE_BYTES)) {
            outcome->suppressed = numbers;
            return;
        }
        if ((tag & 7) == WIRE_VARINT) {
            (void)cursor_varint(&c); /* schema and span stand in front */
        } else {
            return; /* another kind */
        }
    }
}

/* What is stored for the record of f: itself, the new part of a range, or a gap. */
static enum err sound_record(struct records *r, struct wire_forward *f, uint64_t wall_us,
                             struct records_outcome *outcome)
{
    const char *why = NULL;
    uint64_t numbers = f->last - f->first + 1;
    if (wire_record_check(f->record, f->first, f->last, &why) == OK) {
        count_range(f->record, numbers, outcome);
        return OK;
    }
    if (shrink_range(r, f->record, f->first, f->last) == OK) {
        count_range(buffer_slice(&r->scratch), numbers, outcome);
    } else {
        outcome->why = why ? why : "record";
        outcome->gaps = numbers;
        TRY(gap_record(r, f->first, f->last, WEIR__V1__GAP_REASON__DAMAGED, wall_us));
    }
    f->record = buffer_slice(&r->scratch);
    return OK;
}

enum err records_from_device(struct records *r, const char *sender, const struct window_header *header,
                             const struct inbox_entry *entry, bool forgotten, uint64_t wall_us, struct buffer *out,
                             struct records_outcome *ret_outcome)
{
    struct wire_forward *f = &r->out;
    memcpy(f->device, sender, strnlen(sender, ID_MAX) + 1);
    f->epoch = header->epoch;
    f->first = entry->first;
    f->last = entry->last;
    f->top = max_u64(header->top, entry->last);
    f->received_us = wall_us;
    f->lane = header->lane;
    f->record = entry->body;
    *ret_outcome = (struct records_outcome){.why = NULL};
    if (forgotten) {
        TRY(gap_record(r, entry->first, entry->last, WEIR__V1__GAP_REASON__RECEIVER_LOST, wall_us));
        f->record = buffer_slice(&r->scratch);
    } else {
        TRY(sound_record(r, f, wall_us, ret_outcome));
    }
    return wire_forward_encode(f, out);
}

enum err receive_hop_gap(const char *sender, uint64_t epoch, uint8_t lane, uint64_t first, uint64_t last,
                         Weir__V1__GapReason reason, uint64_t wall_us, struct buffer *out)
{
    BUFFER(record, WIRE_RECORD_MAX);
    struct wire_forward f = {
        .epoch = epoch, .first = first, .last = last, .top = last, .received_us = wall_us, .lane = lane};
    snprintf(f.device, sizeof(f.device), "%s", sender);
    snprintf(f.gateway, sizeof(f.gateway), "%s", sender);
    TRY(wire_gap_pack(first, last, reason, wall_us, &record));
    f.record = buffer_slice(&record);
    return wire_forward_encode(&f, out);
}

enum err receive_hop_note(const char *sender, uint64_t epoch, uint64_t number, const struct receive_note *note,
                          struct buffer *record, struct wire_forward *ret_forward)
{
    Weir__V1__Event event = WEIR__V1__EVENT__INIT;
    Weir__V1__Record packed = WEIR__V1__RECORD__INIT;
    struct wire_forward f = {
        .epoch = epoch, .first = number, .last = number, .top = number, .received_us = note->wall_us};
    event.id = note->id;
    event.severity = WEIR__V1__SEVERITY__INFO;
    event.wall_us = note->wall_us;
    event.mono_us = note->mono_us;
    event.text = note->text;
    event.value = NAN; /* none */
    packed.schema = WIRE_SCHEMA;
    packed.kind_case = WEIR__V1__RECORD__KIND_EVENT;
    packed.event = &event;
    buffer_reset(record);
    TRY(wire_record_pack(&packed, record));
    snprintf(f.device, sizeof(f.device), "%s", sender);
    snprintf(f.gateway, sizeof(f.gateway), "%s", sender);
    f.record = buffer_slice(record);
    *ret_forward = f;
    return OK;
}

/* A Forward of which only the end is new. Its numbers move with the hop's: both count the same span. */
static enum err forward_part(struct records *r, struct wire_forward *f, uint64_t span, struct buffer *out)
{
    uint64_t first = f->last - span + 1;
    TRY(shrink_range(r, f->record, first, f->last));
    f->first = first;
    f->record = buffer_slice(&r->scratch);
    return wire_forward_encode(f, out);
}

/* ERR_RANGE: the Forward contradicts itself or its frame. */
static enum err check_forward(const struct wire_forward *f, const struct window_header *header, uint64_t span)
{
    uint64_t record_span = 0;
    TRY(wire_record_span(f->record, &record_span));
    bool sound = f->lane == header->lane && record_span == f->last - f->first + 1 && record_span >= span;
    return sound ? OK : ERR_RANGE;
}

enum err records_from_gateway(struct records *r, const char *sender, const struct window_header *header,
                              const struct inbox_entry *entry, bool forgotten, uint64_t wall_us, struct buffer *out,
                              struct records_outcome *ret_outcome)
{
    struct wire_forward f;
    uint64_t span = entry->last - entry->first + 1;
    *ret_outcome = (struct records_outcome){.why = NULL};
    if (forgotten) {
        return receive_hop_gap(sender, header->epoch, header->lane, entry->first, entry->last,
                               WEIR__V1__GAP_REASON__RECEIVER_LOST, wall_us, out);
    }
    enum err err = wire_forward_decode(entry->body, &f);
    err = err == OK ? check_forward(&f, header, span) : err;
    if (err == OK && f.last - f.first + 1 == span) {
        count_range(f.record, span, ret_outcome);
        buffer_put_slice(out, entry->body);
        return buffer_err(out);
    }
    if (err == OK && forward_part(r, &f, span, out) == OK) {
        count_range(f.record, span, ret_outcome);
        return OK;
    }
    buffer_reset(out);
    ret_outcome->why = "forward";
    ret_outcome->gaps = span;
    return receive_hop_gap(sender, header->epoch, header->lane, entry->first, entry->last,
                           WEIR__V1__GAP_REASON__DAMAGED, wall_us, out);
}
