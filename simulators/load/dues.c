/* SPDX-License-Identifier: Apache-2.0 */
#include "simulators/load/dues.h"

enum { FIRST = 4 };

void dues_deinit(struct dues *d)
{
    free(d->ring);
    *d = (struct dues){.unmeasured = d->unmeasured};
}

static struct due *at(const struct dues *d, unsigned index)
{
    return &d->ring[(d->head + index) & (d->cap - 1)];
}

static bool grow(struct dues *d)
{
    unsigned cap = d->cap > 0 ? 2 * d->cap : FIRST;
    struct due *ring = malloc(cap * sizeof(*ring));
    if (ring == NULL) {
        return false;
    }
    for (unsigned i = 0; i < d->count; i++) {
        ring[i] = *at(d, i);
    }
    free(d->ring);
    d->ring = ring;
    d->cap = cap;
    d->head = 0;
    return true;
}

static void drop_oldest(struct dues *d)
{
    d->head = (d->head + 1) & (d->cap - 1);
    d->count--;
}

void dues_put(struct dues *d, uint64_t number, int64_t due_us)
{
    dues_forget_above(d, number - 1);
    if (d->count == DUES_MAX) {
        drop_oldest(d);
        d->unmeasured++;
    }
    if (d->count == d->cap && !grow(d)) {
        d->unmeasured++;
        return;
    }
    d->count++;
    *at(d, d->count - 1) = (struct due){.number = number, .due_us = due_us};
}

bool dues_take(struct dues *d, uint64_t acked, struct due *ret_due)
{
    if (d->count == 0 || at(d, 0)->number > acked) {
        return false;
    }
    *ret_due = *at(d, 0);
    drop_oldest(d);
    if (d->count == 0 && d->cap > FIRST) { /* a backlog has gone: so does its memory */
        dues_deinit(d);
    }
    return true;
}

void dues_forget_above(struct dues *d, uint64_t top)
{
    while (d->count > 0 && at(d, d->count - 1)->number > top) {
        d->count--;
    }
}
