/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frame - Frame by hand: what a PUBLISH on <...>/tele and <...>/up carries.
 *
 * In: a payload as the broker delivered it. Out: the header that core/window judges, and the records with the numbers
 * they cover, borrowed. Nothing is allocated; two passes: fields in any order, then numbers by the records' spans.
 * Invariants of an accepted frame: 1 <= base <= first <= last <= top <= WIRE_NUMBER_MAX, epoch and boot are not 0, at
 * least one record.
 */
#include "proto/wire/wire.h"

#include "core/base/cursor.h"
#include "proto/wire/wire_internal.h"

enum {
    FRAME_VERSION = 1,
    FRAME_SENDER,
    FRAME_EPOCH,
    FRAME_FIRST,
    FRAME_BEHIND,
    FRAME_AHEAD,
    FRAME_BOOT,
    FRAME_LANE,
    FRAME_HELLO,
    FRAME_RECORD,
    FRAME_MAY_WAIT,
};
enum { HELLO_BOOT_SEQ = 1, HELLO_BOOT_TOP, HELLO_REPLACES, HELLO_SOFTWARE };

static const uint8_t frame_kinds[] = {
    [FRAME_VERSION] = KIND_VARINT, [FRAME_SENDER] = KIND_BYTES,  [FRAME_EPOCH] = KIND_FIXED64,
    [FRAME_FIRST] = KIND_VARINT,   [FRAME_BEHIND] = KIND_VARINT, [FRAME_AHEAD] = KIND_VARINT,
    [FRAME_BOOT] = KIND_FIXED32,   [FRAME_LANE] = KIND_VARINT,   [FRAME_HELLO] = KIND_BYTES,
    [FRAME_RECORD] = KIND_BYTES,   [FRAME_MAY_WAIT] = KIND_VARINT,
};
static const uint8_t hello_kinds[] = {
    [HELLO_BOOT_SEQ] = KIND_VARINT,
    [HELLO_BOOT_TOP] = KIND_VARINT,
    [HELLO_REPLACES] = KIND_FIXED64,
    [HELLO_SOFTWARE] = KIND_BYTES,
};

/* The fields as they stand on the wire, before they are judged. */
struct raw_frame {
    uint64_t version, behind, ahead, lane;
    struct slice sender;
    struct window_header header;
    size_t count;
};

static enum err read_hello(struct slice in, struct window_header *h)
{
    struct cursor c = cursor_of(in);
    struct wire_field f;
    h->has_hello = true;
    while (wire_next(&c, WIRE_TABLE(hello_kinds), &f)) {
        switch (f.known ? f.number : 0) {
        case HELLO_BOOT_SEQ: h->boot_seq = f.value; break;
        case HELLO_BOOT_TOP: h->boot_top = f.value; break;
        case HELLO_REPLACES: h->replaces = f.value; break;
        default: break;
        }
    }
    return cursor_err(&c);
}

static enum err read_fields(struct slice in, struct raw_frame *raw, struct wire_entry *entries, size_t entries_max,
                            const char **ret_why)
{
    struct cursor c = cursor_of(in);
    struct wire_field f;
    while (wire_next(&c, WIRE_TABLE(frame_kinds), &f)) {
        switch (f.known ? f.number : 0) {
        case FRAME_VERSION: raw->version = f.value; break;
        case FRAME_SENDER: raw->sender = f.bytes; break;
        case FRAME_EPOCH: raw->header.epoch = f.value; break;
        case FRAME_FIRST: raw->header.first = f.value; break;
        case FRAME_BEHIND: raw->behind = f.value; break;
        case FRAME_AHEAD: raw->ahead = f.value; break;
        case FRAME_BOOT: raw->header.boot = (uint32_t)f.value; break;
        case FRAME_LANE: raw->lane = f.value; break;
        case FRAME_MAY_WAIT: raw->header.may_wait = f.value != 0; break;
        case FRAME_HELLO:
            /* Of two hellos protobuf makes one, protobuf-c the last: nobody writes two. */
            if (raw->header.has_hello || read_hello(f.bytes, &raw->header) != OK) {
                return wire_fail(ret_why, ERR_MALFORMED, "hello");
            }
            break;
        case FRAME_RECORD:
            if (raw->count >= entries_max || raw->count >= WIRE_RECORDS_MAX) {
                return wire_fail(ret_why, ERR_RANGE, "record count");
            }
            entries[raw->count++].body = f.bytes;
            break;
        default: break;
        }
    }
    return c.failed ? wire_fail(ret_why, ERR_MALFORMED, "bytes") : OK;
}

static enum err check_header(const struct raw_frame *raw, const char **ret_why)
{
    const struct window_header *h = &raw->header;
    if (raw->version != WIRE_VERSION) {
        return wire_fail(ret_why, ERR_UNSUPPORTED, "version");
    }
    if (h->epoch == 0) {
        return wire_fail(ret_why, ERR_RANGE, "epoch");
    }
    if (h->first == 0 || h->first > WIRE_NUMBER_MAX) {
        return wire_fail(ret_why, ERR_RANGE, "first");
    }
    if (raw->behind >= h->first) {
        return wire_fail(ret_why, ERR_RANGE, "behind");
    }
    if (raw->ahead > WIRE_NUMBER_MAX - h->first) {
        return wire_fail(ret_why, ERR_RANGE, "ahead");
    }
    if (h->boot == 0) { /* 0 stands for "no boot known yet" at the receiver */
        return wire_fail(ret_why, ERR_RANGE, "boot");
    }
    if (raw->lane > UINT8_MAX) {
        return wire_fail(ret_why, ERR_RANGE, "lane");
    }
    if (h->boot_seq > WIRE_NUMBER_MAX || h->boot_top > WIRE_NUMBER_MAX) {
        return wire_fail(ret_why, ERR_RANGE, "hello");
    }
    return raw->count > 0 ? OK : wire_fail(ret_why, ERR_RANGE, "record count");
}

/* Gives each record the numbers it covers; they may not run beyond top. */
static enum err number_entries(bool is_forward, uint64_t first, uint64_t top, struct wire_entry *entries, size_t count,
                               uint64_t *ret_last, const char **ret_why)
{
    size_t body_max = is_forward ? WIRE_RECORD_MAX + WIRE_FORWARD_HEAD_MAX : WIRE_RECORD_MAX;
    uint64_t next = first;
    for (size_t i = 0; i < count; i++) {
        uint64_t span;
        enum err err = entries[i].body.len > body_max ? ERR_RANGE
                       : is_forward                   ? wire_forward_span(entries[i].body, &span)
                                                      : wire_record_span(entries[i].body, &span);
        if (err != OK) {
            return wire_fail(ret_why, err, "record");
        }
        if (next > top || span - 1 > top - next) {
            return wire_fail(ret_why, ERR_RANGE, "span");
        }
        entries[i].first = next;
        entries[i].last = next + span - 1;
        next += span;
    }
    *ret_last = next - 1;
    return OK;
}

enum err wire_frame_decode(struct slice in, bool is_forward, struct wire_frame *ret_frame, struct wire_entry *entries,
                           size_t entries_max, const char **ret_why)
{
    if (in.len > WIRE_FRAME_MAX) {
        return wire_fail(ret_why, ERR_RANGE, "size");
    }
    struct raw_frame raw = {0};
    TRY(read_fields(in, &raw, entries, entries_max, ret_why));
    TRY(check_header(&raw, ret_why));
    struct wire_frame frame = {.header = raw.header, .count = raw.count};
    if (!wire_identity(raw.sender, frame.sender)) {
        return wire_fail(ret_why, ERR_RANGE, "sender");
    }
    frame.header.base = raw.header.first - raw.behind;
    frame.header.top = raw.header.first + raw.ahead;
    frame.header.lane = (uint8_t)raw.lane;
    TRY(number_entries(is_forward, frame.header.first, frame.header.top, entries, frame.count, &frame.header.last,
                       ret_why));
    *ret_frame = frame;
    return OK;
}

static bool may_encode(struct slice sender, const struct window_header *h, size_t count)
{
    return id_valid(sender) && count > 0 && count <= WIRE_RECORDS_MAX && h->epoch != 0 && h->boot != 0 && h->base > 0 &&
           h->base <= h->first && h->first <= h->top && h->top <= WIRE_NUMBER_MAX;
}

static void write_hello(struct pen *p, const struct window_header *h, struct slice software)
{
    uint8_t text[3 * PEN_VARINT_MAX + WIRE_NAME_MAX + 3];
    struct pen hello = {text};
    pen_varint(&hello, HELLO_BOOT_SEQ, h->boot_seq);
    pen_varint(&hello, HELLO_BOOT_TOP, h->boot_top);
    pen_fixed64(&hello, HELLO_REPLACES, h->replaces);
    pen_bytes(&hello, HELLO_SOFTWARE, software);
    pen_length(p, FRAME_HELLO, (size_t)(hello.at - text));
    memcpy(p->at, text, (size_t)(hello.at - text));
    p->at += hello.at - text;
}

enum err wire_frame_encode(const char *sender, const struct window_header *header, const char *software,
                           const struct slice *bodies, size_t count, struct buffer *out)
{
    struct slice id = slice_str(sender), program = slice_str(software ? software : "");
    if (!may_encode(id, header, count) || program.len > WIRE_NAME_MAX) {
        return ERR_RANGE;
    }
    uint8_t head[PEN_IDENTITY_MAX + 10 * PEN_VARINT_MAX + WIRE_NAME_MAX + 8];
    struct pen p = {head};
    pen_varint(&p, FRAME_VERSION, WIRE_VERSION);
    pen_bytes(&p, FRAME_SENDER, id);
    pen_fixed64(&p, FRAME_EPOCH, header->epoch);
    pen_varint(&p, FRAME_FIRST, header->first);
    pen_varint(&p, FRAME_BEHIND, header->first - header->base);
    pen_varint(&p, FRAME_AHEAD, header->top - header->first);
    pen_fixed32(&p, FRAME_BOOT, header->boot);
    pen_varint(&p, FRAME_LANE, header->lane);
    if (header->has_hello) {
        write_hello(&p, header, program);
    }
    size_t start = out->len;
    buffer_put(out, head, (size_t)(p.at - head));
    for (size_t i = 0; i < count; i++) {
        struct pen key = {head};
        pen_length(&key, FRAME_RECORD, bodies[i].len);
        buffer_put(out, head, (size_t)(key.at - head));
        buffer_put_slice(out, bodies[i]);
    }
    p.at = head;
    pen_varint(&p, FRAME_MAY_WAIT, header->may_wait);
    buffer_put(out, head, (size_t)(p.at - head));
    TRY(buffer_err(out));
    return out->len - start <= WIRE_FRAME_MAX ? OK : ERR_RANGE;
}
