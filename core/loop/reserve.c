/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reserve - memory for libevent that does not run out at once.
 *
 * libevent 2.1.12 crashes where it finds no memory (evhttp_request_new frees a request that it has not made whole), so
 * small requests that malloc refuses come from a block that is set aside. A large one may be refused, as ever: those
 * are buffers, whose users look. When the block is used up as well, the process ends with a message.
 *
 *   block   [head|bytes][head|bytes]...   handed out in order; begun anew when everything is back
 *
 * Any thread may call: what malloc gives is not touched, the block has a lock.
 */
#include "core/loop/loop_internal.h"

#include <stdio.h>

enum { BLOCK_BYTES = 64 * 1024, LEAST_BYTES = 16, ALIGN = 16 };

static struct {
    pthread_mutex_t lock;
    size_t used, out; /* bytes handed out since it was empty; pieces that are not back */
    _Alignas(ALIGN) uint8_t bytes[BLOCK_BYTES];
} block = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool is_ours(const void *ptr)
{
    return (const uint8_t *)ptr >= block.bytes && (const uint8_t *)ptr < block.bytes + BLOCK_BYTES;
}

static size_t *head_of(void *ptr)
{
    return (size_t *)(void *)((uint8_t *)ptr - ALIGN);
}

/* NULL when the block is used up. */
static void *piece(size_t len)
{
    size_t need = ALIGN + (max_u64(len, LEAST_BYTES) + ALIGN - 1) / ALIGN * ALIGN;
    void *ptr = NULL;
    pthread_mutex_lock(&block.lock);
    if (need <= BLOCK_BYTES - block.used) {
        ptr = block.bytes + block.used + ALIGN;
        *head_of(ptr) = len;
        block.used += need;
        block.out++;
    }
    pthread_mutex_unlock(&block.lock);
    return ptr;
}

void *reserve_malloc(size_t len)
{
    void *ptr = malloc(len);
    if (ptr != NULL || len > RESERVE_PIECE_MAX) {
        return ptr;
    }
    ptr = piece(len);
    if (ptr == NULL) {
        loop_die("out of memory: libevent, the reserve is used up as well");
    }
    return ptr;
}

void reserve_free(void *ptr)
{
    if (!is_ours(ptr)) {
        free(ptr);
        return;
    }
    pthread_mutex_lock(&block.lock);
    if (--block.out == 0) {
        block.used = 0;
    }
    pthread_mutex_unlock(&block.lock);
}

void *reserve_realloc(void *ptr, size_t len)
{
    if (ptr != NULL && !is_ours(ptr)) {
        return realloc(ptr, len); /* refused: a buffer stays as it was */
    }
    void *copy = reserve_malloc(len);
    if (ptr != NULL && copy != NULL) {
        memcpy(copy, ptr, min_u64(*head_of(ptr), len));
        reserve_free(ptr);
    }
    return copy;
}
