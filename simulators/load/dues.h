/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dues - which record of one stream was due when, until it is acknowledged.
 *
 * Comes in: numbers in rising order, each with the time at which the schedule wanted the record to go;
 * acknowledgements. Goes out: that time again, once, when the record is acknowledged. Latency counts from the time the
 * schedule meant, not from when the machine got round to it: a simulator that falls behind shows it instead of hiding
 * it (no coordinated omission).
 * Pure: no clock. Grows with what is outstanding, DUES_MAX at most; beyond it the oldest go unmeasured and are counted.
 */
#ifndef SIMULATORS_LOAD_DUES_H
#define SIMULATORS_LOAD_DUES_H

#include "core/base/base.h"

enum { DUES_MAX = 65536 };

struct due {
    uint64_t number;
    int64_t due_us;
};
struct dues { /* zeroed = empty */
    struct due *ring; /* owned; NULL while empty */
    unsigned head, count, cap; /* cap is a power of two */
    uint64_t unmeasured;
};
void dues_deinit(struct dues *d);
/* A number that is not above the newest one takes the place of it and of all behind it: they were never durable. */
void dues_put(struct dues *d, uint64_t number, int64_t due_us);
/* Takes the oldest record with a number <= acked; false when there is none. */
bool dues_take(struct dues *d, uint64_t acked, struct due *ret_due);
/* Records above `top` never came about. */
void dues_forget_above(struct dues *d, uint64_t top);

#endif
