/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/uplink/expire.h"

#include <stdio.h>

#include "gateway/budget/budget.h"
#include "proto/receive/receive.h"

static enum err put(const struct wire_forward *range, struct buffer *out)
{
    char name[] = EXPIRE_RULE;
    BUFFER(packed, 256);
    Weir__V1__Suppressed suppressed = WEIR__V1__SUPPRESSED__INIT;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    suppressed.from = range->first;
    suppressed.to = range->last;
    suppressed.rule = name;
    record.schema = WIRE_SCHEMA;
    record.span = range->last > range->first ? range->last - range->first + 1 : 0;
    record.kind_case = WEIR__V1__RECORD__KIND_SUPPRESSED;
    record.suppressed = &suppressed;
    TRY(wire_record_pack(&record, &packed));
    struct wire_forward forward = *range;
    forward.record = buffer_slice(&packed);
    return wire_forward_encode(&forward, out);
}

static bool joins(const struct expire *e, const struct spool_entry *entry, const struct wire_forward *forward)
{
    return e->last != 0 && entry->first == e->last + 1 && forward->epoch == e->forward.epoch &&
           forward->first == e->forward.last + 1 && strcmp(forward->device, e->forward.device) == 0;
}

enum err expire_entry(struct expire *e, const struct spool_entry *entry, struct slice before, bool *ret_joined,
                      struct buffer *out, uint64_t *ret_numbers)
{
    struct wire_forward forward;
    *ret_joined = false;
    *ret_numbers = 0;
    e->last = before.len > 0 ? e->last : 0; /* of an earlier frame */
    if (wire_forward_decode(entry->body, &forward) != OK || receive_is_hop(&forward) ||
        bill_purpose_of(forward.lane, forward.record) == BILL_DECLARATIONS) {
        e->last = 0;
        buffer_put_slice(out, entry->body);
        return buffer_err(out);
    }
    *ret_numbers = forward.last - forward.first + 1;
    *ret_joined = joins(e, entry, &forward);
    forward.first = *ret_joined ? e->forward.first : forward.first;
    TRY(put(&forward, out));
    e->forward = forward;
    e->last = entry->last;
    return OK;
}
