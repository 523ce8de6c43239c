/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: whatever comes as a command is decoded within the arena's budget or refused, and what is made of it is bounded by
 * its bytes.
 */
#include "proto/sparkplug/sparkplug.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct arena arena;
    if (arena.block == NULL && arena_init(&arena, SPARKPLUG_ARENA_BYTES) != OK) {
        return 0;
    }
    struct sparkplug_command command;
    enum err err = sparkplug_command_decode(slice_of(data, size), &arena, &command);
    if (err == OK && (command.metrics > size / 2 || (command.rebirth && command.metrics == 0))) {
        abort();
    }
    return 0;
}
