/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recorded - a recording in memory: the entries of all processes, ordered by the beginning of their calls.
 *
 * The logs are mapped and stay so; names and bytes are borrowed from the maps.
 */
#ifndef TESTS_SUPPORT_POWER_CUT_RECORDED_H
#define TESTS_SUPPORT_POWER_CUT_RECORDED_H

#include "core/base/base.h"
#include "tests/support/power_cut/recording.h"

struct recorded {
    const struct recording_entry *head;
    struct slice name, name2, data;
};
struct recording {
    struct recorded *entries; /* owned */
    size_t count;
    uint64_t last; /* highest stamp */
};

/* Ends the process with a sentence on stderr: what reads a recording has nobody to hand an error to. */
_Noreturn void give_up(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* realloc, or the end. */
void *grown(void *block, size_t bytes);

/* A sequence of numbers that its seed determines (splitmix64). */
struct chance {
    uint64_t state;
};
static inline uint64_t chance_below(struct chance *c, uint64_t below)
{
    c->state += UINT64_C(0x9e3779b97f4a7c15);
    return mix_u64(c->state) % below;
}

/* All <dir>/<name>.log. */
void recording_load(struct recording *r, const char *dir);
void recording_free(struct recording *r);

#endif
