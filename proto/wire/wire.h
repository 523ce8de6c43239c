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

/* What a device that is unsure asks its gateway, and a gateway its parent. Of a decoded one holds: identities are identities,
 * id is not 0, 1 <= deadline_ms <= WIRE_DEADLINE_MAX_MS, confidence is 0..1, rows and columns are at least 1, values has
 * rows x columns of the form's size and every float in it is finite, scale is finite and above 0 for int8 and int16. */
enum { WIRE_ASK_MAX = 64 * 1024, WIRE_DEADLINE_MAX_MS = 60000, WIRE_ASK_HOPS_MAX = 8 };
struct wire_ask {
    char site[ID_MAX + 1], gateway[ID_MAX + 1], device[ID_MAX + 1];
    uint64_t id, model;
    uint32_t deadline_ms, own_answer, rows, columns, hops;
    float own_confidence, scale;
    int32_t zero_point;
    Weir__V1__Form form;
    struct slice values; /* borrowed; not aligned */
};
/* ERR_MALFORMED bytes, ERR_RANGE over a limit, ERR_UNSUPPORTED version or form. */
enum err wire_ask_decode(struct slice in, struct wire_ask *ret_ask) MUST_CHECK;
/* ERR_RANGE: the decoder would refuse it; ERR_FULL, ERR_NOMEM. */
enum err wire_ask_encode(const struct wire_ask *ask, struct buffer *out) MUST_CHECK;
/* ret_values: rows x columns, whatever the form. */
void wire_ask_values(const struct wire_ask *ask, float *ret_values);

/* Makes a window the ask's values: values is [rows][columns], in order of time, NaN = missing, and is changed in place
 * (it must outlive the ask). What is missing is held as core/features does; where all of it is whole steps that fit 16
 * bits it becomes int16; step 0: never, since the columns share none. Sets rows, columns, form, scale, zero_point and
 * values. */
void wire_ask_window(struct wire_ask *ask, float *values, uint32_t rows, uint32_t columns, double step);

/* The answer. id is not 0; confidence 0..1; score finite. engine may be empty, else "site/gateway". */
enum { WIRE_ANSWER_MAX = 512 };
struct wire_answer {
    char device[ID_MAX + 1], engine[2 * ID_MAX + 2];
    uint64_t id, model;
    Weir__V1__AnswerStatus status;
    uint32_t answer, took_us;
    float confidence, score;
};
enum err wire_answer_decode(struct slice in, struct wire_answer *ret_answer) MUST_CHECK;
enum err wire_answer_encode(const struct wire_answer *answer, struct buffer *out) MUST_CHECK;

/* A Record with an Inference, as a device writes it: label and engine are UTF-8 of at most WIRE_NAME_MAX bytes (never NULL), the
 * confidences 0..1, score finite, model not 0. */
enum { WIRE_INFERENCE_MAX = 512 };
struct wire_inference {
    uint64_t model, config, wall_us, mono_us, window_us, own_model;
    Weir__V1__ClockQuality quality;
    Weir__V1__AnsweredBy by;
    Weir__V1__Asked asked;
    uint32_t answer, own_answer, took_ms, repeats, skipped;
    float confidence, score, own_confidence;
    const char *label, *engine;
};
/* The whole Record, byte for byte what wire_record_pack makes of it; allocates nothing, needs no OS. ERR_RANGE. */
enum err wire_inference_encode(const struct wire_inference *inference, uint8_t ret_record[WIRE_INFERENCE_MAX],
                               size_t *ret_len) MUST_CHECK;

/* The records that a device makes, whole, appended: byte for byte what wire_record_pack makes of them, with only the
 * buffer's memory; need no OS. ERR_RANGE, ERR_MALFORMED: wire_record_check would refuse it, or a text is too long, and
 * nothing is appended; ERR_FULL, ERR_NOMEM. Texts are never NULL. */
struct wire_block {
    uint64_t wall_us, mono_us;
    uint32_t set, samples, period_us;
    Weir__V1__ClockQuality quality;
    struct slice times, columns;
};
enum err wire_block_encode(const struct wire_block *block, struct buffer *out) MUST_CHECK;
struct wire_event {
    const char *id, *text, *channel;
    Weir__V1__Severity severity;
    uint32_t set;
    uint64_t wall_us, mono_us;
    double value; /* NaN = none */
};
enum err wire_event_encode(const struct wire_event *event, struct buffer *out) MUST_CHECK;
struct wire_channel {
    const char *name, *unit;
    double resolution;
};
struct wire_describe {
    const struct wire_channel *channels;
    size_t channel_count;
    uint64_t config, model, boot_id;
    const char *software, *source;
};
/* *ret_set: its set hash, as wire_describe_set says. */
enum err wire_describe_encode(const struct wire_describe *describe, uint32_t *ret_set, struct buffer *out) MUST_CHECK;
/* A span's statistics: finite numbers; rule and sketch within their limits (WIRE_NAME_MAX, WIRE_SKETCH_MAX). */
struct wire_window {
    uint32_t channel;
    const char *rule;
    uint64_t start_us, length_us, count;
    double mean, m2, min, max;
    struct slice sketch;
    bool partial;
};
/* A Curated record of nothing but windows. set: the description's that their channels refer to. */
enum err wire_windows_encode(uint32_t set, const struct wire_window *windows, size_t count,
                             struct buffer *out) MUST_CHECK;
/* A whole Record that declares first..last as lost. */
enum err wire_gap_pack(uint64_t first, uint64_t last, Weir__V1__GapReason reason, uint64_t wall_us,
                       struct buffer *out) MUST_CHECK;

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
/* The set hash of a description: CRC-32C over the packed message with set = 0. Never 0. */
uint32_t wire_describe_set(const Weir__V1__Describe *describe);

#endif
