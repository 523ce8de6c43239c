/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an accepted entry to what the spool keeps.
 *
 * The inbox may hand over a part of a range only: a sender whose store overflowed replaces entries 4, 5, 6 by one gap
 * 1..6, and the receiver that already has 1..4 accepts 5..6 of it. The Record is then rewritten to the part, so that a
 * Forward's numbers and its Record's numbers always agree.
 */
#include "proto/receive/receive_internal.h"

#include <stdio.h>

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

enum err records_from_device(struct records *r, const char *sender, const struct window_header *header,
                             const struct inbox_entry *entry, bool forgotten, uint64_t wall_us, struct buffer *out,
                             const char **ret_why)
{
    struct wire_forward *f = &r->out;
    size_t sender_len = strnlen(sender, ID_MAX);
    memcpy(f->device, sender, sender_len);
    f->device[sender_len] = '\0';
    f->epoch = header->epoch;
    f->first = entry->first;
    f->last = entry->last;
    f->top = max_u64(header->top, entry->last);
    f->received_us = wall_us;
    f->lane = header->lane;
    f->record = entry->body;
    *ret_why = NULL;
    if (forgotten) {
        TRY(gap_record(r, entry->first, entry->last, WEIR__V1__GAP_REASON__RECEIVER_LOST, wall_us));
        f->record = buffer_slice(&r->scratch);
    } else if (wire_record_check(entry->body, entry->first, entry->last, ret_why) != OK) {
        if (shrink_range(r, entry->body, entry->first, entry->last) == OK) {
            *ret_why = NULL;
        } else {
            *ret_why = *ret_why ? *ret_why : "record";
            TRY(gap_record(r, entry->first, entry->last, WEIR__V1__GAP_REASON__DAMAGED, wall_us));
        }
        f->record = buffer_slice(&r->scratch);
    } else {
        *ret_why = NULL;
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

/* A Forward of which only the end is new. Its numbers move with the hop's: both count the same span. */
static enum err forward_part(struct records *r, struct wire_forward *f, uint64_t span, struct buffer *out)
{
    uint64_t first = f->last - span + 1;
    TRY(shrink_range(r, f->record, first, f->last));
    f->first = first;
    f->record = buffer_slice(&r->scratch);
    return wire_forward_encode(f, out);
}

enum err records_from_gateway(struct records *r, const char *sender, const struct window_header *header,
                              const struct inbox_entry *entry, bool forgotten, uint64_t wall_us, struct buffer *out,
                              const char **ret_why)
{
    struct wire_forward f;
    uint64_t span = entry->last - entry->first + 1, record_span = 0;
    *ret_why = NULL;
    if (forgotten) {
        return receive_hop_gap(sender, header->epoch, header->lane, entry->first, entry->last,
                               WEIR__V1__GAP_REASON__RECEIVER_LOST, wall_us, out);
    }
    enum err err = wire_forward_decode(entry->body, &f);
    if (err == OK) {
        err = wire_record_span(f.record, &record_span);
    }
    if (err == OK && (f.first == 0 || f.last < f.first || f.last > WIRE_NUMBER_MAX || f.epoch == 0 ||
                      f.lane != header->lane || record_span != f.last - f.first + 1)) {
        err = ERR_RANGE;
    }
    if (err == OK && record_span == span) {
        buffer_put_slice(out, entry->body);
        return buffer_err(out);
    }
    if (err == OK && record_span > span && forward_part(r, &f, span, out) == OK) {
        return OK;
    }
    *ret_why = "forward";
    return receive_hop_gap(sender, header->epoch, header->lane, entry->first, entry->last,
                           WEIR__V1__GAP_REASON__DAMAGED, wall_us, out);
}
