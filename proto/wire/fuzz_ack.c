/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: for any bytes: an accepted Ack is within its limits and comes back equal when it is written again. */
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
    struct wire_ack a, b;
    if (wire_ack_decode(slice_of(data, size), &a) != OK) {
        return 0;
    }
    expect(a.epoch != 0 && a.hwm <= WIRE_NUMBER_MAX && a.verdict <= WINDOW_FULL);
    BUFFER(out, 4096);
    wire_ack_encode(&a, &out);
    expect(buffer_err(&out) == OK && wire_ack_decode(buffer_slice(&out), &b) == OK);
    expect(a.epoch == b.epoch && a.hwm == b.hwm && a.boot == b.boot && a.lane == b.lane && a.verdict == b.verdict);
    expect(a.path_count <= PATH_IDS_MAX && a.path_count == b.path_count && a.path_hash == b.path_hash);
    struct path path = {0};
    for (unsigned i = 0; i < a.path_count; i++) {
        expect(slice_equal(a.path[i], b.path[i]) && path_add(&path, a.path[i]) == OK);
    }
    return 0;
}
