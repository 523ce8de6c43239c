/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arena - one inbound message's memory: bump allocation from a fixed block, freed all at once.
 *
 * The block's size is the memory limit per message. arena_protobuf() gives a ProtobufCAllocator-shaped pair of
 * functions whose free does nothing, so that nothing unpacked is ever freed singly.
 */
#ifndef CORE_BASE_ARENA_H
#define CORE_BASE_ARENA_H

#include "core/base/base.h"

struct arena {
    uint8_t *block; /* owned */
    size_t cap, used;
};

enum err arena_init(struct arena *a, size_t cap) MUST_CHECK;
void arena_deinit(struct arena *a);
void arena_reset(struct arena *a);
/* 16-byte aligned; NULL when the budget is spent. */
void *arena_alloc(struct arena *a, size_t len);
/* For ProtobufCAllocator: .alloc = arena_protobuf_alloc, .free = arena_protobuf_free, .allocator_data = arena. */
void *arena_protobuf_alloc(void *arena, size_t len);
void arena_protobuf_free(void *arena, void *ptr);

#endif
