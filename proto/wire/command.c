/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command - Command by hand: what a gateway asks of a device on <...>/cmd.
 *
 * In: payloads of <...>/cmd on a device, where they come from outside; out: a plain struct within its limits. Nothing
 * is allocated but the growth of the caller's buffer.
 */
#include "proto/wire/wire.h"

#include <math.h>

#include "core/base/cursor.h"
#include "proto/wire/wire_internal.h"

enum { COMMAND_VERSION = 1, COMMAND_SITE, COMMAND_GATEWAY, COMMAND_DEVICE, COMMAND_ID, COMMAND_DEADLINE_US,
       COMMAND_SAMPLE_FASTER = 10 };
enum { FASTER_FACTOR = 1, FASTER_PERIOD_US, FASTER_FOR_US, FASTER_RULE };

static const uint8_t command_kinds[] = {
    [COMMAND_VERSION] = KIND_VARINT, [COMMAND_SITE] = KIND_BYTES, [COMMAND_GATEWAY] = KIND_BYTES,
    [COMMAND_DEVICE] = KIND_BYTES,   [COMMAND_ID] = KIND_FIXED64, [COMMAND_DEADLINE_US] = KIND_VARINT,
    [COMMAND_SAMPLE_FASTER] = KIND_BYTES,
};
static const uint8_t faster_kinds[] = {
    [FASTER_FACTOR] = KIND_FIXED64, [FASTER_PERIOD_US] = KIND_VARINT, [FASTER_FOR_US] = KIND_VARINT,
    [FASTER_RULE] = KIND_BYTES,
};

static bool in_range(const struct wire_command *c)
{
    bool factor = isfinite(c->factor) && c->factor > 1 && c->factor <= WIRE_FACTOR_MAX && c->period_us == 0;
    bool period = c->factor == 0 && c->period_us >= MS_US && c->period_us <= DAY_US;
    return (factor || period) && c->for_us >= 1 && c->for_us <= DAY_US && c->id != 0 && c->deadline_us != 0 &&
           c->deadline_us <= INT64_MAX;
}

static enum err faster_decode(struct slice in, struct wire_command *command)
{
    struct cursor c = cursor_of(in);
    struct wire_field f = {0};
    uint64_t factor = 0;
    struct slice rule = {0};
    while (wire_next(&c, WIRE_TABLE(faster_kinds), &f)) {
        switch (f.known ? f.number : 0) {
        case FASTER_FACTOR: factor = f.value; break;
        case FASTER_PERIOD_US: command->period_us = f.value; break;
        case FASTER_FOR_US: command->for_us = f.value; break;
        case FASTER_RULE: rule = f.bytes; break;
        default: break;
        }
    }
    TRY(cursor_err(&c));
    memcpy(&command->factor, &factor, sizeof(factor));
    return wire_identity(rule, command->rule) ? OK : ERR_RANGE;
}

enum err wire_command_decode(struct slice in, struct wire_command *ret_command)
{
    if (in.len > WIRE_COMMAND_MAX) {
        return ERR_RANGE;
    }
    struct cursor c = cursor_of(in);
    struct wire_field f = {0};
    uint64_t version = 0;
    struct slice site = {0}, gateway = {0}, device = {0}, faster = {0};
    struct wire_command command = {.id = 0};
    while (wire_next(&c, WIRE_TABLE(command_kinds), &f)) {
        switch (f.known ? f.number : 0) {
        case COMMAND_VERSION: version = f.value; break;
        case COMMAND_SITE: site = f.bytes; break;
        case COMMAND_GATEWAY: gateway = f.bytes; break;
        case COMMAND_DEVICE: device = f.bytes; break;
        case COMMAND_ID: command.id = f.value; break;
        case COMMAND_DEADLINE_US: command.deadline_us = f.value; break;
        case COMMAND_SAMPLE_FASTER: faster = f.bytes; break;
        default: break;
        }
    }
    TRY(cursor_err(&c));
    if (version != WIRE_VERSION || faster.len == 0) {
        return ERR_UNSUPPORTED;
    }
    if (!wire_identity(site, command.site) || !wire_identity(gateway, command.gateway) ||
        !wire_identity(device, command.device)) {
        return ERR_RANGE;
    }
    TRY(faster_decode(faster, &command));
    if (!in_range(&command)) {
        return ERR_RANGE;
    }
    *ret_command = command;
    return OK;
}

enum err wire_command_encode(const struct wire_command *command, struct buffer *out)
{
    const char *const ids[] = {command->site, command->gateway, command->device, command->rule};
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        if (!id_valid(slice_str(ids[i]))) {
            return ERR_RANGE;
        }
    }
    if (!in_range(command)) {
        return ERR_RANGE;
    }
    uint8_t head[2 * PEN_VARINT_MAX + PEN_FIXED64_MAX + 3 * PEN_IDENTITY_MAX + 3];
    uint8_t body[2 * PEN_VARINT_MAX + PEN_FIXED64_MAX + PEN_IDENTITY_MAX];
    struct pen h = {head}, b = {body};
    uint64_t factor;
    memcpy(&factor, &command->factor, sizeof(factor));
    pen_fixed64(&b, FASTER_FACTOR, factor);
    pen_varint(&b, FASTER_PERIOD_US, command->period_us);
    pen_varint(&b, FASTER_FOR_US, command->for_us);
    pen_bytes(&b, FASTER_RULE, slice_str(command->rule));
    pen_varint(&h, COMMAND_VERSION, WIRE_VERSION);
    pen_bytes(&h, COMMAND_SITE, slice_str(command->site));
    pen_bytes(&h, COMMAND_GATEWAY, slice_str(command->gateway));
    pen_bytes(&h, COMMAND_DEVICE, slice_str(command->device));
    pen_fixed64(&h, COMMAND_ID, command->id);
    pen_varint(&h, COMMAND_DEADLINE_US, command->deadline_us);
    pen_length(&h, COMMAND_SAMPLE_FASTER, (size_t)(b.at - body));
    buffer_put(out, head, (size_t)(h.at - head));
    buffer_put(out, body, (size_t)(b.at - body));
    return buffer_err(out);
}
