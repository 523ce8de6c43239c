/* SPDX-License-Identifier: Apache-2.0 */
/* plan_words - the words of the plan's text, for reader and writer. */
#ifndef SIMULATORS_TRIAL_PLAN_WORDS_H
#define SIMULATORS_TRIAL_PLAN_WORDS_H

#include "simulators/trial/plan.h"

struct plan_word {
    const char *word; /* NULL ends a list */
    int64_t value;
};
struct plan_unit {
    const char *unit;
    int64_t us;
};
extern const char *const plan_kinds[PLAN_KIND_COUNT];
extern const struct plan_word plan_links[], plan_disks[], plan_sinks[], plan_rules[];
extern const struct plan_unit plan_units[]; /* largest first */
/* Whether the plan needs the second version. */
bool plan_knows_rules(const struct plan *plan);
/* Whether entries of this kind carry `for`. */
bool plan_lasts(enum plan_kind kind);

#endif
