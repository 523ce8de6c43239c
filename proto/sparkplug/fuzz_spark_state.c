/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: whatever comes as a host's STATE is refused or says online or offline at a time that JSON can hold exactly.
 */
#include "proto/sparkplug/sparkplug.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sparkplug_state state;
    if (sparkplug_state_decode(slice_of(data, size), &state) == OK && state.timestamp_ms > UINT64_C(1) << 53) {
        abort();
    }
    return 0;
}
