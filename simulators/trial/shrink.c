/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cutting down a plan that fails. Entries first, since they say most; then the world; then each entry's parameters.
 */
#include <stdio.h>

#include "simulators/trial/run.h"

struct search {
    struct plan best; /* fails */
    bool (*fails)(void *arg, const struct plan *plan);
    void *arg;
    unsigned runs, max_runs;
    enum err err;
};

/* Takes candidate (owned) as the best if it fails, else frees it. */
static bool try_out(struct search *s, struct plan *candidate)
{
    if (s->runs >= s->max_runs) {
        plan_deinit(candidate);
        return false;
    }
    s->runs++;
    if (!s->fails(s->arg, candidate)) {
        plan_deinit(candidate);
        return false;
    }
    plan_deinit(&s->best);
    s->best = *candidate;
    return true;
}

/* ---- entries ---- */
static enum err without(const struct plan *plan, size_t from, size_t to, struct plan *ret_plan)
{
    TRY(plan_copy(plan, ret_plan));
    memmove(ret_plan->entries + from, ret_plan->entries + to, (ret_plan->count - to) * sizeof(*ret_plan->entries));
    ret_plan->count -= to - from;
    return OK;
}

/* ddmin, by complements: leaves out chunk after chunk, then smaller ones. */
static enum err fewer_entries(struct search *s)
{
    for (size_t chunk = s->best.count; chunk >= 1 && s->best.count > 0;) {
        bool any = false;
        for (size_t from = 0; from < s->best.count && s->runs < s->max_runs;) {
            struct plan candidate;
            size_t to = from + chunk < s->best.count ? from + chunk : s->best.count;
            TRY(without(&s->best, from, to, &candidate));
            if (try_out(s, &candidate)) {
                any = true;
            } else {
                from = to;
            }
        }
        if (s->runs >= s->max_runs || (chunk == 1 && !any)) {
            break;
        }
        chunk = any && chunk == 1 ? 1 : chunk > 1 ? chunk / 2 : 1;
    }
    return OK;
}

/* ---- the world ---- */

/* Entries that a smaller world has no target for go. */
static void drop_foreign(struct plan *plan)
{
    size_t kept = 0;
    for (size_t i = 0; i < plan->count; i++) {
        if (plan_has(plan, &plan->entries[i])) {
            plan->entries[kept++] = plan->entries[i];
        }
    }
    plan->count = kept;
}

static void rename_target(struct plan *plan, const char *from, const char *to)
{
    for (size_t i = 0; i < plan->count; i++) {
        if (strcmp(plan->entries[i].target, from) == 0) {
            (void)snprintf(plan->entries[i].target, sizeof(plan->entries[i].target), "%s", to);
        }
    }
}

/* One step to a smaller world; false when this one is small already. */
static bool reduce(struct plan *plan, unsigned step)
{
    struct world_options *o = &plan->world;
    switch (step) {
    case 0:
        if (o->devices == 1) {
            return false;
        }
        o->devices = 1;
        break;
    case 1:
        if (o->devices <= 2) {
            return false;
        }
        o->devices = o->devices / 2;
        break;
    case 2:
        if (o->devices == 1) {
            return false;
        }
        o->devices--;
        break;
    case 3:
        if (!o->site) {
            return false;
        }
        o->site = false;
        break;
    case 4:
        if (o->lines <= 1) {
            return false;
        }
        o->lines = 1;
        break;
    case 5:
        if (o->lines != 1 || o->site) {
            return false;
        }
        o->lines = 0;
        rename_target(plan, "line-1", "gw1");
        break;
    case 6:
        if (o->channels == 1) {
            return false;
        }
        o->channels = 1;
        break;
    case 7:
        if (o->line_rules == WORLD_RULES_NONE) {
            return false;
        }
        o->line_rules = WORLD_RULES_NONE;
        break;
    case 8:
        if (o->site_rules == WORLD_RULES_NONE) {
            return false;
        }
        o->site_rules = WORLD_RULES_NONE;
        break;
    default: {
        int64_t last_us = SECOND_US;
        for (size_t i = 0; i < plan->count; i++) {
            last_us = max_i64(last_us, plan->entries[i].at_us + plan->entries[i].for_us + SECOND_US);
        }
        last_us = (last_us / SECOND_US + 1) * SECOND_US;
        if (last_us >= plan->length_us) {
            return false;
        }
        plan->length_us = last_us;
        break;
    }
    }
    drop_foreign(plan);
    return true;
}

enum { REDUCTIONS = 10 };

static enum err smaller_world(struct search *s)
{
    for (unsigned step = 0; step < REDUCTIONS && s->runs < s->max_runs; step++) {
        for (bool again = true; again && s->runs < s->max_runs;) {
            struct plan candidate;
            TRY(plan_copy(&s->best, &candidate));
            if (!reduce(&candidate, step)) {
                plan_deinit(&candidate);
                break;
            }
            again = try_out(s, &candidate) && (step == 1 || step == 2);
        }
    }
    return OK;
}

/* ---- parameters ---- */
static bool simplify(struct plan_entry *e, unsigned step)
{
    unsigned *const rates[] = {&e->faults.loss_ppm, &e->faults.duplicate_ppm, &e->faults.reorder_ppm,
                               &e->faults.corrupt_ppm};
    if (step < COUNT_OF(rates)) {
        bool any = e->kind == PLAN_MESSAGES && *rates[step] != 0;
        *rates[step] = 0;
        return any;
    }
    if (step == COUNT_OF(rates)) {
        bool any = e->step != 0;
        e->step = 0;
        return any;
    }
    if (step == COUNT_OF(rates) + 1) {
        bool any = e->kind == PLAN_CRASH && e->value != 0;
        e->value = e->kind == PLAN_CRASH ? 0 : e->value;
        return any;
    }
    int64_t rounded_us = e->at_us / SECOND_US * SECOND_US;
    bool any = rounded_us != e->at_us;
    e->at_us = rounded_us;
    return any;
}

enum { SIMPLIFICATIONS = 7 };

static enum err simpler_entries(struct search *s)
{
    for (size_t i = 0; i < s->best.count; i++) {
        for (unsigned step = 0; step < SIMPLIFICATIONS && s->runs < s->max_runs; step++) {
            struct plan candidate;
            TRY(plan_copy(&s->best, &candidate));
            if (simplify(&candidate.entries[i], step)) {
                (void)try_out(s, &candidate);
            } else {
                plan_deinit(&candidate);
            }
        }
    }
    return OK;
}

enum err shrink_plan(const struct plan *plan, bool (*fails)(void *arg, const struct plan *plan), void *arg,
                     unsigned max_runs, struct plan *ret_plan, unsigned *ret_runs)
{
    struct search s = {.fails = fails, .arg = arg, .max_runs = max_runs};
    TRY(plan_copy(plan, &s.best));
    enum err err = fewer_entries(&s);
    err = err == OK ? smaller_world(&s) : err;
    err = err == OK ? fewer_entries(&s) : err;
    err = err == OK ? simpler_entries(&s) : err;
    if (err != OK) {
        plan_deinit(&s.best);
        return err;
    }
    *ret_plan = s.best;
    *ret_runs = s.runs;
    return OK;
}
