/* SPDX-License-Identifier: Apache-2.0 */
/* run - one plan on a new world, with all checks; and the cutting down of a plan that fails. */
#ifndef SIMULATORS_TRIAL_RUN_H
#define SIMULATORS_TRIAL_RUN_H

#include <signal.h>

#include "simulators/trial/plan.h"

struct run_result {
    bool drained;       /* I7: within the bound */
    bool interrupted;   /* *stop was set: nothing below is final */
    uint64_t violations; /* 0: everything held */
    struct world_report report;
    int64_t simulated_us;
    int64_t drain_us, drain_bound_us;
    uint64_t injected[PLAN_KIND_COUNT]; /* faults that took place */
    struct buffer complaints; /* a line per violation, NUL-terminated; owned by the caller */
};
/* ret_result is zeroed by the caller and its complaints initialised. stop may be NULL. ERR_RANGE: the world's sizes;
 * ERR_NOMEM. */
enum err run_plan(const struct plan *plan, const volatile sig_atomic_t *stop, struct run_result *ret_result) MUST_CHECK;

/* Looks for a smaller plan for which fails() still says true: entries are left out by delta debugging (Zeller 2002),
 * then the world is made smaller and entries simpler, as long as it still fails. At most max_runs calls. */
enum err shrink_plan(const struct plan *plan, bool (*fails)(void *arg, const struct plan *plan), void *arg,
                     unsigned max_runs, struct plan *ret_plan, unsigned *ret_runs) MUST_CHECK;

#endif
