/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: for any bytes: an accepted Command is within its limits and comes back equal when it is written again. */
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
    struct wire_command a, b;
    if (wire_command_decode(slice_of(data, size), &a) != OK) {
        return 0;
    }
    expect(size <= WIRE_COMMAND_MAX && a.id != 0 && a.deadline_us <= INT64_MAX && a.for_us >= 1);
    expect((a.factor > 1 && a.factor <= WIRE_FACTOR_MAX) != (a.period_us >= MS_US));
    BUFFER(out, WIRE_COMMAND_MAX);
    expect(wire_command_encode(&a, &out) == OK && wire_command_decode(buffer_slice(&out), &b) == OK);
    expect(strcmp(a.site, b.site) == 0 && strcmp(a.gateway, b.gateway) == 0 && strcmp(a.device, b.device) == 0);
    expect(strcmp(a.rule, b.rule) == 0 && a.id == b.id && a.deadline_us == b.deadline_us);
    expect(a.factor == b.factor && a.period_us == b.period_us && a.for_us == b.for_us);
    return 0;
}
