/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a sink can never take. Of a batch that has more than SINK_REFUSALS_MAX of it the rest is named when the batch
 * is offered again.
 */
#include "cloud-bridge/sinks/sinks_internal.h"

#include <stdio.h>

void sink_refuse(const struct sink_batch *batch, size_t index, const char *reason)
{
    struct sink_refusals *r = batch->refusals;
    if (r == NULL || r->count == SINK_REFUSALS_MAX || index >= batch->count) {
        return;
    }
    for (size_t i = 0; i < r->count; i++) {
        if (r->items[i].index == index) {
            return;
        }
    }
    struct sink_refusal *refusal = &r->items[r->count++];
    refusal->index = index;
    snprintf(refusal->reason, sizeof(refusal->reason), "%s", reason);
    /* a text that was cut inside of a character must stay UTF-8: it goes into JSON */
    for (size_t len = strlen(refusal->reason), at = 0; at < len;) {
        size_t step = utf8_length(slice_of(refusal->reason + at, len - at));
        if (step == 0) {
            refusal->reason[at] = at + 4 > len ? '\0' : '?';
            step = 1;
        }
        at += step;
    }
}
