/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire - bounded decoding and encoding of proto/schema/weir.proto.
 *
 * Frame, Ack and Forward are on the hot path and small: coded by hand over core/base/cursor, byte-compatible with
 * protobuf (a test compares with protobuf-c). Records are unpacked by protobuf-c into the caller's arena, whose size is
 * the memory limit. Every function takes bytes from outside and never reads beyond them.
 * Limits: WIRE_FRAME_MAX bytes, WIRE_RECORDS_MAX records a frame, identities per id_valid, numbers in 1..2^63-1.
 */
#ifndef PROTO_WIRE_WIRE_H
#define PROTO_WIRE_WIRE_H

#include "core/base/arena.h"
#include "core/base/base.h"
#include "core/base/buffer.h"
#include "core/window/window.h"
#include "proto/path/path.h"
#include "proto/schema/weir.pb-c.h"

enum {
    WIRE_VERSION = 1,
    WIRE_SCHEMA = 1,
    WIRE_FRAME_MAX = 256 * 1024,
    WIRE_RECORDS_MAX = 4096,
    WIRE_RECORD_MAX = 128 * 1024,
    WIRE_ARENA_BYTES = 1024 * 1024,
    WIRE_TEXT_MAX = 1024, /* bytes of Event.text */
    WIRE_WINDOWS_MAX = 1024, /* of a curated record */
    WIRE_SKETCH_MAX = 4096,  /* bytes of a window's sketch */
    WIRE_BANDS_MAX = 64,     /* of a window */
    WIRE_NAME_MAX = 128,  /* bytes of every other text: ids, names, units, rules, software */
};
#define WIRE_NUMBER_MAX (UINT64_MAX >> 1)

struct wire_entry {
    uint64_t first, last; /* numbers, from the records' spans */
    struct slice body;    /* borrowed from the input */
};
struct wire_frame {
    char sender[ID_MAX + 1];
    struct window_header header;
    size_t count;
};
/* Decodes a frame; entries[0..count) receive the records with their numbers. is_forward tells whether the records are
 * Forwards (whose span is last - first + 1) or Records.
 * ERR_MALFORMED bytes, ERR_RANGE a number, count or identity, ERR_UNSUPPORTED version; *ret_why (may be NULL) then
 * receives a constant text that names the field. Of an accepted frame holds: 1 <= base <= first <= last <= top <=
 * WIRE_NUMBER_MAX, epoch and boot are not 0, at least one record. */
enum err wire_frame_decode(struct slice in, bool is_forward, struct wire_frame *ret_frame, struct wire_entry *entries,
                           size_t entries_max, const char **ret_why) MUST_CHECK;
/* Appends one encoded frame; bodies are written as they are. software (may be NULL) goes into the hello. ERR_RANGE: no
 * body, epoch or boot 0, not 1 <= base <= first <= top <= WIRE_NUMBER_MAX, or over a limit; ERR_FULL, ERR_NOMEM. */
enum err wire_frame_encode(const char *sender, const struct window_header *header, const char *software,
                           const struct slice *bodies, size_t count, struct buffer *out) MUST_CHECK;

struct wire_ack {
    uint64_t epoch, hwm;
    uint32_t boot, owner;
    uint8_t lane;
    enum window_verdict verdict;
    uint32_t path_hash;               /* 0 = not said */
    unsigned path_count;              /* 0 = not in this one */
    struct slice path[PATH_IDS_MAX];  /* "site/id"; borrowed */
};
/* ERR_MALFORMED, ERR_RANGE, ERR_UNSUPPORTED as for frames; also for a path that is too long or names what is none. */
enum err wire_ack_decode(struct slice in, struct wire_ack *ret_ack) MUST_CHECK;
/* Appends it; the path must be one that decodes. */
void wire_ack_encode(const struct wire_ack *ack, struct buffer *out);

/* What a gateway asks of a device: to sample faster for a while. Of a decoded one holds: the identities and the rule's
 * name are identities, id and deadline are not 0, either 1 < factor <= 10000 or 1 ms <= period_us <= 1 day, for_us is
 * 1 us..1 day. */
enum { WIRE_COMMAND_MAX = 1024, WIRE_FACTOR_MAX = 10000 };
struct wire_command {
    char site[ID_MAX + 1], gateway[ID_MAX + 1], device[ID_MAX + 1], rule[ID_MAX + 1];
    uint64_t id, deadline_us, period_us, for_us;
    double factor;
};
/* ERR_MALFORMED bytes, ERR_RANGE over a limit, ERR_UNSUPPORTED version, or nothing that we know how to do. */
enum err wire_command_decode(struct slice in, struct wire_command *ret_command) MUST_CHECK;
/* ERR_RANGE: the decoder would refuse it; ERR_FULL, ERR_NOMEM. */
enum err wire_command_encode(const struct wire_command *command, struct buffer *out) MUST_CHECK;

struct wire_forward {
    char device[ID_MAX + 1], gateway[ID_MAX + 1];
    uint64_t epoch, first, last, top, received_us;
    uint8_t lane;
    struct slice record; /* borrowed */
};
enum err wire_forward_decode(struct slice in, struct wire_forward *ret_forward) MUST_CHECK;
enum err wire_forward_encode(const struct wire_forward *forward, struct buffer *out) MUST_CHECK;

/* The numbers that a Record covers (its span, 1 if absent), without unpacking it. ERR_MALFORMED; ERR_RANGE
 * above WIRE_NUMBER_MAX. */
enum err wire_record_span(struct slice record, uint64_t *ret_span) MUST_CHECK;
/* Full check without keeping or allocating anything: well-formed, within the limits, texts are UTF-8, block decodes,
 * doubles are numbers (Event.value may be NaN: no value), the span equals first..last, gap and suppressed ranges too.
 * An unknown kind or a later schema is accepted (only wire_record_unpack says ERR_UNSUPPORTED).
 * ERR_MALFORMED, ERR_RANGE; *ret_why (may be NULL) then names the field. Any thread. */
enum err wire_record_check(struct slice record, uint64_t first, uint64_t last, const char **ret_why) MUST_CHECK;
/* The description that it brings, alone or within what rules left of a block: a Describe message, borrowed. False:
 * none, or bytes that are no Record. Nothing else of it is checked. */
bool wire_record_describe(struct slice record, struct slice *ret_describe);
/* Unpacks into arena. ERR_MALFORMED, ERR_NOMEM (budget), ERR_UNSUPPORTED (later schema, or no kind known
 * to us), ERR_RANGE (size). */
enum err wire_record_unpack(struct slice record, struct arena *arena, Weir__V1__Record **ret_record) MUST_CHECK;
/* Packs and appends. ERR_RANGE, ERR_MALFORMED: wire_record_check would refuse it at the receiver, nothing is appended;
 * ERR_FULL, ERR_NOMEM. */
enum err wire_record_pack(const Weir__V1__Record *record, struct buffer *out) MUST_CHECK;
/* A whole Record that declares first..last as lost. */
enum err wire_gap_pack(uint64_t first, uint64_t last, Weir__V1__GapReason reason, uint64_t wall_us,
                       struct buffer *out) MUST_CHECK;
/* The set hash of a description: CRC-32C over the packed message with set = 0. Never 0. */
uint32_t wire_describe_set(const Weir__V1__Describe *describe);

#endif
