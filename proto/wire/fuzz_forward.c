/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: for any bytes: an accepted Forward is within its limits and comes back equal when it is written again. */
#include "proto/wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_forward a, b;
    if (wire_forward_decode(slice_of(data, size), &a) != OK) {
        return 0;
    }
    expect(a.epoch != 0 && a.first > 0 && a.first <= a.last && a.last <= WIRE_NUMBER_MAX);
    expect(id_valid(slice_str(a.device)) && id_valid(slice_str(a.gateway)));
    BUFFER(out, WIRE_RECORD_MAX + 1024);
    expect(wire_forward_encode(&a, &out) == OK);
    expect(wire_forward_decode(buffer_slice(&out), &b) == OK);
    expect(strcmp(a.device, b.device) == 0 && strcmp(a.gateway, b.gateway) == 0 && slice_equal(a.record, b.record));
    expect(a.epoch == b.epoch && a.first == b.first && a.last == b.last && a.top == b.top && a.lane == b.lane);
    expect(a.received_us == b.received_us);
    return 0;
}
