/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan carried out. Every entry that lasts has a beginning and an end; at both, the state of its target is made anew
 * from the entries in force (the youngest counts), so that overlapping ones need not know of each other.
 */
#include "simulators/trial/run.h"

#include <stdio.h>

#include "simulators/trial/plan_words.h"

#define DRAIN_GRACE_US (4 * MINUTE_US) /* a timeout of a minute per hop, and a keep-alive */
#define GREETING_US (12 * MINUTE_US)   /* an idle sender speaks every ten minutes */
#define QUIET_US (5 * MINUTE_US)

struct moment {
    int64_t at_us;
    size_t entry;
    bool end;
};
struct course {
    const struct plan *plan;
    struct world *world;
    struct run_result *result;
    const volatile sig_atomic_t *stop;
    int64_t start_us;
    struct moment *moments; /* owned */
    size_t count;
    bool *active;   /* owned; per entry */
    bool *fresh;    /* owned; per entry: a snapshot that was taken and not restored yet */
    bool set_back;  /* a store was restored or wiped */
};

static void course_deinit(struct course *c)
{
    world_free(c->world);
    free(c->moments);
    free(c->active);
    free(c->fresh);
}

/* ---- moments ---- */
static int by_time(const void *a, const void *b)
{
    const struct moment *x = a, *y = b;
    if (x->at_us != y->at_us) {
        return x->at_us > y->at_us ? 1 : -1;
    }
    return x->entry != y->entry ? (x->entry > y->entry ? 1 : -1) : (int)x->end - (int)y->end;
}

static bool lasts(const struct plan_entry *e)
{
    return plan_lasts(e->kind) && e->kind != PLAN_BROKER;
}

static enum err lay_out(struct course *c)
{
    size_t n = c->plan->count;
    c->moments = calloc(2 * n + 1, sizeof(*c->moments));
    c->active = calloc(n + 1, sizeof(*c->active));
    c->fresh = calloc(n + 1, sizeof(*c->fresh));
    if (c->moments == NULL || c->active == NULL || c->fresh == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        const struct plan_entry *e = &c->plan->entries[i];
        c->moments[c->count++] = (struct moment){.at_us = e->at_us, .entry = i};
        if (lasts(e)) {
            c->moments[c->count++] = (struct moment){.at_us = e->at_us + e->for_us, .entry = i, .end = true};
        }
    }
    qsort(c->moments, c->count, sizeof(*c->moments), by_time);
    return OK;
}

/* ---- states ---- */
static bool concerns(const struct plan_entry *e, const char *node)
{
    return strcmp(e->target, node) == 0 || strcmp(e->target, "*") == 0 ||
           (strcmp(e->target, "device-*") == 0 && strncmp(node, "device-", 7) == 0);
}

/* The youngest entry of this kind in force for the node; NULL when there is none. */
static const struct plan_entry *in_force(const struct course *c, enum plan_kind kind, const char *node)
{
    const struct plan_entry *found = NULL;
    for (size_t i = 0; i < c->plan->count; i++) {
        const struct plan_entry *e = &c->plan->entries[i];
        if (c->active[i] && e->kind == kind && concerns(e, node)) {
            found = e;
        }
    }
    return found;
}

static int64_t true_wall_us(const struct course *c)
{
    return INT64_C(1767225600) * SECOND_US + world_now_us(c->world); /* where core/loop's worlds begin */
}

static enum world_rules own_rules(const struct course *c, const char *node)
{
    const struct world_options *o = &c->plan->world;
    return strcmp(node, "site1") == 0 ? o->site_rules : o->line_rules;
}

static enum err renew(struct course *c, const struct plan_entry *e, const char *node)
{
    const struct plan_entry *now = in_force(c, e->kind, node);
    switch (e->kind) {
    case PLAN_CRASH:
        return now != NULL ? world_crash_after(c->world, node, (unsigned)now->value) : world_start(c->world, node);
    case PLAN_LINK:
        return world_link(c->world, node, now != NULL ? (enum bus_link)now->value : BUS_LINK_UP);
    case PLAN_MESSAGES:
        return world_faults(c->world, node, now != NULL ? &now->faults : &world_calm);
    case PLAN_CLOCK:
        return world_clock(c->world, node, now != NULL ? now->value : true_wall_us(c));
    case PLAN_DISK:
        return world_disk(c->world, node, now != NULL ? (enum store_disk_mode)now->value : STORE_DISK_OK);
    case PLAN_SINK:
        world_sink(c->world, now != NULL ? (enum world_sink)now->value : WORLD_SINK_OK);
        return OK;
    case PLAN_PERIOD:
        return world_period(c->world, node, now != NULL ? now->value : c->plan->world.period_us);
    case PLAN_RULES:
        return world_set_rules(c->world, node, now != NULL ? (enum world_rules)now->value : own_rules(c, node));
    case PLAN_BROKER:
    case PLAN_SNAPSHOT:
    case PLAN_RESTORE:
    case PLAN_WIPE:
    case PLAN_ALARM:
    case PLAN_KIND_COUNT:
        break;
    }
    return OK;
}

/* Every node that the entry names. */
static void renew_all(struct course *c, const struct plan_entry *e)
{
    if (strchr(e->target, '*') == NULL) {
        (void)renew(c, e, e->target);
        return;
    }
    char name[WORLD_NAME_MAX];
    bool hubs = e->kind == PLAN_MESSAGES;
    for (unsigned i = 1; i <= c->plan->world.devices && !hubs; i++) {
        (void)snprintf(name, sizeof(name), "device-%u", i);
        (void)renew(c, e, name);
    }
    if (strcmp(e->target, "device-*") == 0) {
        return;
    }
    static const char *const singles[] = {"gw1", "site1", "bridge1"};
    for (size_t i = 0; i < COUNT_OF(singles); i++) {
        (void)renew(c, e, singles[i]); /* those that there are not say so */
    }
    for (unsigned i = 1; i <= c->plan->world.lines; i++) {
        (void)snprintf(name, sizeof(name), "line-%u", i);
        (void)renew(c, e, name);
    }
}

/* ---- images ---- */

/* A restored or wiped node starts at once; what else is in force for it goes on. */
static void after_rebirth(struct course *c, const char *node)
{
    const struct plan_entry crash = {.kind = PLAN_CRASH}, disk = {.kind = PLAN_DISK};
    c->set_back = true;
    if (in_force(c, PLAN_DISK, node) != NULL) {
        (void)renew(c, &disk, node);
    }
    if (in_force(c, PLAN_CRASH, node) != NULL) {
        (void)renew(c, &crash, node);
    }
}

static bool take_image(struct course *c, size_t entry)
{
    const char *node = c->plan->entries[entry].target;
    if (!world_image_is_sound(c->world, node) || world_snapshot(c->world, node) != OK) {
        return false;
    }
    for (size_t i = 0; i < c->plan->count; i++) {
        c->fresh[i] = c->fresh[i] && strcmp(c->plan->entries[i].target, node) != 0;
    }
    c->fresh[entry] = true;
    return true;
}

static bool restore_image(struct course *c, const char *node)
{
    for (size_t i = 0; i < c->plan->count; i++) {
        if (c->fresh[i] && strcmp(c->plan->entries[i].target, node) == 0) {
            c->fresh[i] = false;
            bool done = world_restore(c->world, node) == OK;
            after_rebirth(c, node);
            return done;
        }
    }
    return false;
}

/* Whether it took place. */
static bool strike(struct course *c, size_t entry)
{
    const struct plan_entry *e = &c->plan->entries[entry];
    switch (e->kind) {
    case PLAN_BROKER:
        return world_broker_restart(c->world, e->target, e->for_us) == OK;
    case PLAN_SNAPSHOT:
        return take_image(c, entry);
    case PLAN_RESTORE:
        return restore_image(c, e->target);
    case PLAN_WIPE: {
        bool done = world_wipe(c->world, e->target) == OK;
        after_rebirth(c, e->target);
        return done;
    }
    case PLAN_ALARM:
        return world_alarm(c->world, e->target) == OK;
    case PLAN_CRASH:
    case PLAN_LINK:
    case PLAN_MESSAGES:
    case PLAN_CLOCK:
    case PLAN_DISK:
    case PLAN_SINK:
    case PLAN_PERIOD:
    case PLAN_RULES:
    case PLAN_KIND_COUNT:
        break;
    }
    c->active[entry] = true;
    renew_all(c, e);
    return true;
}

/* ---- the course ---- */
static bool stopped(const struct course *c)
{
    return c->stop != NULL && *c->stop != 0;
}

/* In pieces, so that an interrupt is heard. */
static void run_until(struct course *c, int64_t until_us)
{
    while (!stopped(c) && !world_stuck(c->world) && world_now_us(c->world) < until_us) {
        world_run(c->world, min_i64(until_us, world_now_us(c->world) + HOUR_US));
    }
}

static void carry_out(struct course *c)
{
    int64_t end_us = c->start_us + c->plan->length_us;
    for (size_t i = 0; i < c->count && !stopped(c); i++) {
        const struct moment *m = &c->moments[i];
        const struct plan_entry *e = &c->plan->entries[m->entry];
        if (c->start_us + m->at_us > end_us) {
            break;
        }
        run_until(c, c->start_us + m->at_us);
        if (m->end) {
            c->active[m->entry] = false;
            renew_all(c, e);
            continue;
        }
        world_step(c->world, e->step, end_us);
        c->result->injected[e->kind] += strike(c, m->entry);
    }
    run_until(c, end_us);
}

/* I7: ten times the live rate, and what timeouts may take that were running when the last fault ended. */
static int64_t drain_bound_us(const struct course *c)
{
    const struct world_options *o = &c->plan->world;
    struct world_report report;
    world_report(c->world, &report);
    double live_per_s = (double)o->devices * 1e6 / ((double)o->period_us * o->samples);
    return DRAIN_GRACE_US + (int64_t)((double)report.waiting / (10 * live_per_s) * 1e6);
}

static void finish(struct course *c)
{
    struct run_result *r = c->result;
    r->drain_bound_us = drain_bound_us(c);
    r->drained = world_settle(c->world, r->drain_bound_us);
    struct world_report report;
    world_report(c->world, &report);
    r->drain_us = report.drain_us;
    if (r->drained && c->set_back) { /* what only the greeting of an idle sender brings to light */
        run_until(c, world_now_us(c->world) + GREETING_US);
        r->drained = world_settle(c->world, QUIET_US);
    }
    if (r->drained && !c->set_back && plan_knows_rules(c->plan)) {
        r->drained = world_close_windows(c->world, r->drain_bound_us);
    }
}

enum err run_plan(const struct plan *plan, const volatile sig_atomic_t *stop, struct run_result *r)
{
    CLEANUP(course_deinit) struct course c = {.plan = plan, .result = r, .stop = stop};
    TRY(lay_out(&c));
    TRY(world_new(&plan->world, &c.world));
    c.start_us = world_now_us(c.world);
    carry_out(&c);
    if (!stopped(&c)) {
        finish(&c);
    }
    world_report(c.world, &r->report);
    r->interrupted = stopped(&c);
    r->simulated_us = world_now_us(c.world) - c.start_us;
    r->violations = world_violations(&r->report, !r->interrupted) + (!r->interrupted && !r->drained);
    if (!r->interrupted && !r->drained) {
        buffer_printf(&r->complaints, "not drained after %.1f s, %llu waiting\n", (double)r->drain_us / 1e6,
                      (unsigned long long)r->report.waiting);
    }
    buffer_put_str(&r->complaints, world_complaints(c.world));
    buffer_put_u8(&r->complaints, 0);
    return OK;
}
