/* SPDX-License-Identifier: Apache-2.0 */
/* The same inputs, and the same hash of outputs, for every processor. */
#ifndef TESTS_SUPPORT_NN_INPUTS_H
#define TESTS_SUPPORT_NN_INPUTS_H

#include <stddef.h>
#include <stdint.h>

enum { NN_HASH_RUNS = 3 };
#define NN_HASH_START UINT32_C(2166136261)

/* Numerical Recipes' linear congruential generator; its upper byte. */
static inline void nn_inputs_fill(void *bytes, size_t count, uint32_t *seed)
{
    for (size_t i = 0; i < count; i++) {
        *seed = *seed * UINT32_C(1664525) + UINT32_C(1013904223);
        ((uint8_t *)bytes)[i] = (uint8_t)(*seed >> 24);
    }
}

/* FNV-1a */
static inline uint32_t nn_inputs_hash(uint32_t hash, const void *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * UINT32_C(16777619);
    }
    return hash;
}

#endif
