/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Places of activations: the largest first, each at the lowest place where it meets nothing that is alive at the same time
 * (greedy by size: Pisarchyk and Lee 2020).
 */
#include "core/nn/nn_internal.h"

static bool meet(const struct tensor *a, const struct tensor *b)
{
    return a->first <= b->last && b->first <= a->last;
}

static size_t padded(const struct tensor *t)
{
    return (t->info.bytes + NN_ALIGN - 1) / NN_ALIGN * NN_ALIGN;
}

/* The lowest place from `from` on that is free for t among the placed ones; they are looked at until nothing moves it. */
static size_t lowest(const struct nn *nn, const struct tensor *t)
{
    size_t place = 0;
    bool moved = true;
    while (moved) {
        moved = false;
        for (unsigned i = 0; i < nn->tensor_count; i++) {
            const struct tensor *o = &nn->tensors[i];
            if (o->used && o->place != SIZE_MAX && meet(t, o) && place < o->place + padded(o) &&
                o->place < place + padded(t)) {
                place = o->place + padded(o);
                moved = true;
            }
        }
    }
    return place;
}

size_t nn_plan(struct nn *nn)
{
    size_t arena = 0;
    for (unsigned i = 0; i < nn->tensor_count; i++) {
        nn->tensors[i].place = SIZE_MAX;
    }
    for (;;) {
        struct tensor *next = NULL;
        for (unsigned i = 0; i < nn->tensor_count; i++) {
            struct tensor *t = &nn->tensors[i];
            if (t->used && t->place == SIZE_MAX && (next == NULL || t->info.bytes > next->info.bytes)) {
                next = t;
            }
        }
        if (next == NULL) {
            return arena;
        }
        next->place = lowest(nn, next);
        arena = max_u64(arena, next->place + padded(next));
    }
}
