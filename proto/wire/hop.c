/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hop - Ack and Forward by hand: what the receiving end of a hop writes for each frame and each record.
 *
 * In: payloads of <...>/ack, bodies of frames on <...>/up. Out: plain structs; the record inside a Forward stays
 * borrowed. Nothing is allocated but the growth of the caller's buffer.
 */
#include "proto/wire/wire.h"

#include "core/base/cursor.h"
#include "proto/wire/wire_internal.h"

enum { ACK_VERSION = 1, ACK_EPOCH, ACK_BOOT, ACK_HWM, ACK_VERDICT, ACK_LANE, ACK_OWNER, ACK_PATH, ACK_PATH_HASH };
enum {
    FORWARD_DEVICE = 1,
    FORWARD_EPOCH,
    FORWARD_FIRST,
    FORWARD_LAST,
    FORWARD_LANE,
    FORWARD_RECORD,
    FORWARD_RECEIVED_US,
    FORWARD_GATEWAY,
    FORWARD_TOP,
};

static const uint8_t ack_kinds[] = {
    [ACK_VERSION] = KIND_VARINT, [ACK_EPOCH] = KIND_FIXED64,  [ACK_BOOT] = KIND_FIXED32,
    [ACK_HWM] = KIND_VARINT,     [ACK_VERDICT] = KIND_VARINT, [ACK_LANE] = KIND_VARINT,
    [ACK_OWNER] = KIND_FIXED32,  [ACK_PATH] = KIND_BYTES,     [ACK_PATH_HASH] = KIND_FIXED32,
};
static const uint8_t forward_kinds[] = {
    [FORWARD_DEVICE] = KIND_BYTES,  [FORWARD_EPOCH] = KIND_FIXED64,      [FORWARD_FIRST] = KIND_VARINT,
    [FORWARD_LAST] = KIND_VARINT,   [FORWARD_LANE] = KIND_VARINT,        [FORWARD_RECORD] = KIND_BYTES,
    [FORWARD_RECEIVED_US] = KIND_VARINT, [FORWARD_GATEWAY] = KIND_BYTES, [FORWARD_TOP] = KIND_VARINT,
};

/* The verdicts are the wire's numbers: window's enum may not drift from the schema. */
_Static_assert((int)WINDOW_ACCEPT == (int)WEIR__V1__VERDICT__ACCEPT &&
                   (int)WINDOW_DUPLICATE == (int)WEIR__V1__VERDICT__DUPLICATE &&
                   (int)WINDOW_HOLE == (int)WEIR__V1__VERDICT__HOLE &&
                   (int)WINDOW_FORGOTTEN == (int)WEIR__V1__VERDICT__FORGOTTEN &&
                   (int)WINDOW_NEED_HELLO == (int)WEIR__V1__VERDICT__NEED_HELLO &&
                   (int)WINDOW_ROLLED_BACK == (int)WEIR__V1__VERDICT__ROLLED_BACK &&
                   (int)WINDOW_STALE == (int)WEIR__V1__VERDICT__STALE &&
                   (int)WINDOW_REFUSED == (int)WEIR__V1__VERDICT__REFUSED &&
                   (int)WINDOW_FULL == (int)WEIR__V1__VERDICT__FULL,
               "window_verdict is what Ack.verdict says");

static enum err add_to_path(struct wire_ack *ack, struct slice id)
{
    if (ack->path_count == PATH_IDS_MAX || !path_id_valid(id)) {
        return ERR_RANGE;
    }
    ack->path[ack->path_count++] = id;
    return OK;
}

enum err wire_ack_decode(struct slice in, struct wire_ack *ret_ack)
{
    struct cursor c = cursor_of(in);
    struct wire_field f = {0};
    uint64_t version = 0, verdict = 0, lane = 0;
    struct wire_ack ack = {0};
    while (wire_next(&c, WIRE_TABLE(ack_kinds), &f)) {
        switch (f.known ? f.number : 0) {
        case ACK_VERSION: version = f.value; break;
        case ACK_EPOCH: ack.epoch = f.value; break;
        case ACK_BOOT: ack.boot = (uint32_t)f.value; break;
        case ACK_HWM: ack.hwm = f.value; break;
        case ACK_VERDICT: verdict = f.value; break;
        case ACK_LANE: lane = f.value; break;
        case ACK_OWNER: ack.owner = (uint32_t)f.value; break;
        case ACK_PATH: TRY(add_to_path(&ack, f.bytes)); break;
        case ACK_PATH_HASH: ack.path_hash = (uint32_t)f.value; break;
        default: break;
        }
    }
    TRY(cursor_err(&c));
    if (version != WIRE_VERSION) {
        return ERR_UNSUPPORTED;
    }
    if (ack.epoch == 0 || ack.hwm > WIRE_NUMBER_MAX || verdict > WINDOW_FULL || lane > UINT8_MAX) {
        return ERR_RANGE;
    }
    ack.verdict = (enum window_verdict)verdict;
    ack.lane = (uint8_t)lane;
    *ret_ack = ack;
    return OK;
}

void wire_ack_encode(const struct wire_ack *ack, struct buffer *out)
{
    uint8_t text[4 * PEN_VARINT_MAX + PEN_FIXED64_MAX + 2 * PEN_FIXED32_MAX];
    struct pen p = {text};
    pen_varint(&p, ACK_VERSION, WIRE_VERSION);
    pen_fixed64(&p, ACK_EPOCH, ack->epoch);
    pen_fixed32(&p, ACK_BOOT, ack->boot);
    pen_varint(&p, ACK_HWM, ack->hwm);
    pen_varint(&p, ACK_VERDICT, ack->verdict);
    pen_varint(&p, ACK_LANE, ack->lane);
    pen_fixed32(&p, ACK_OWNER, ack->owner);
    buffer_put(out, text, (size_t)(p.at - text));
    for (unsigned i = 0; i < ack->path_count; i++) {
        p.at = text;
        pen_length(&p, ACK_PATH, ack->path[i].len);
        buffer_put(out, text, (size_t)(p.at - text));
        buffer_put_slice(out, ack->path[i]);
    }
    p.at = text;
    pen_fixed32(&p, ACK_PATH_HASH, ack->path_hash);
    buffer_put(out, text, (size_t)(p.at - text));
}

static bool range_valid(uint64_t first, uint64_t last)
{
    return first > 0 && first <= last && last <= WIRE_NUMBER_MAX;
}

enum err wire_forward_span(struct slice in, uint64_t *ret_span)
{
    struct cursor c = cursor_of(in);
    struct wire_field f;
    uint64_t first = 0, last = 0;
    while (wire_next(&c, WIRE_TABLE(forward_kinds), &f)) {
        if (f.number == FORWARD_FIRST) {
            first = f.value;
        } else if (f.number == FORWARD_LAST) {
            last = f.value;
        }
    }
    TRY(cursor_err(&c));
    if (!range_valid(first, last)) {
        return ERR_RANGE;
    }
    *ret_span = last - first + 1;
    return OK;
}

enum err wire_forward_decode(struct slice in, struct wire_forward *ret_forward)
{
    struct cursor c = cursor_of(in);
    struct wire_field f;
    struct slice device = {0}, gateway = {0};
    uint64_t lane = 0;
    struct wire_forward fw = {0};
    while (wire_next(&c, WIRE_TABLE(forward_kinds), &f)) {
        switch (f.known ? f.number : 0) {
        case FORWARD_DEVICE: device = f.bytes; break;
        case FORWARD_EPOCH: fw.epoch = f.value; break;
        case FORWARD_FIRST: fw.first = f.value; break;
        case FORWARD_LAST: fw.last = f.value; break;
        case FORWARD_LANE: lane = f.value; break;
        case FORWARD_RECORD: fw.record = f.bytes; break;
        case FORWARD_RECEIVED_US: fw.received_us = f.value; break;
        case FORWARD_GATEWAY: gateway = f.bytes; break;
        case FORWARD_TOP: fw.top = f.value; break;
        default: break;
        }
    }
    TRY(cursor_err(&c));
    if (!wire_identity(device, fw.device) || !wire_identity(gateway, fw.gateway) || fw.epoch == 0 ||
        !range_valid(fw.first, fw.last) || fw.top > WIRE_NUMBER_MAX || fw.received_us > INT64_MAX ||
        lane > UINT8_MAX || fw.record.len > WIRE_RECORD_MAX) {
        return ERR_RANGE;
    }
    fw.lane = (uint8_t)lane;
    *ret_forward = fw;
    return OK;
}

enum err wire_forward_encode(const struct wire_forward *forward, struct buffer *out)
{
    struct slice device = slice_str(forward->device), gateway = slice_str(forward->gateway);
    if (!id_valid(device) || !id_valid(gateway) || forward->epoch == 0 ||
        !range_valid(forward->first, forward->last) || forward->top > WIRE_NUMBER_MAX ||
        forward->received_us > INT64_MAX || forward->record.len > WIRE_RECORD_MAX) {
        return ERR_RANGE;
    }
    uint8_t text[WIRE_FORWARD_HEAD_MAX]; /* what stands before the record, then what stands behind it */
    struct pen p = {text};
    pen_bytes(&p, FORWARD_DEVICE, device);
    pen_fixed64(&p, FORWARD_EPOCH, forward->epoch);
    pen_varint(&p, FORWARD_FIRST, forward->first);
    pen_varint(&p, FORWARD_LAST, forward->last);
    pen_varint(&p, FORWARD_LANE, forward->lane);
    if (forward->record.len != 0) {
        pen_length(&p, FORWARD_RECORD, forward->record.len);
    }
    buffer_put(out, text, (size_t)(p.at - text));
    buffer_put_slice(out, forward->record);
    p.at = text;
    pen_varint(&p, FORWARD_RECEIVED_US, forward->received_us);
    pen_bytes(&p, FORWARD_GATEWAY, gateway);
    pen_varint(&p, FORWARD_TOP, forward->top);
    buffer_put(out, text, (size_t)(p.at - text));
    return buffer_err(out);
}
