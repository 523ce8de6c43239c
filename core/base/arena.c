/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arena - bump allocation from one block. Invariants: used <= cap; every pointer handed out is 16-byte aligned.
 */
#include "core/base/arena.h"

enum { ALIGN = 16 };

enum err arena_init(struct arena *a, size_t cap)
{
    *a = (struct arena){0};
    if (cap > SIZE_MAX - ALIGN) {
        return ERR_RANGE;
    }
    size_t rounded = (cap + ALIGN - 1) / ALIGN * ALIGN;
    rounded = rounded ? rounded : ALIGN;
    a->block = aligned_alloc(ALIGN, rounded);
    if (a->block == NULL) {
        return ERR_NOMEM;
    }
    a->cap = cap;
    return OK;
}

void arena_deinit(struct arena *a)
{
    free(a->block);
    *a = (struct arena){0};
}

void arena_reset(struct arena *a)
{
    a->used = 0;
}

void *arena_alloc(struct arena *a, size_t len)
{
    if (a->block == NULL || len > a->cap - a->used) {
        return NULL;
    }
    void *ptr = a->block + a->used;
    size_t left = a->cap - a->used;
    size_t padded = len > SIZE_MAX - ALIGN ? left : (len + ALIGN - 1) / ALIGN * ALIGN;
    a->used += padded < left ? padded : left;
    return ptr;
}

void *arena_protobuf_alloc(void *arena, size_t len)
{
    return arena_alloc(arena, len);
}

void arena_protobuf_free(void *arena, void *ptr)
{
    (void)arena;
    (void)ptr; /* everything goes at once, with arena_reset */
}
