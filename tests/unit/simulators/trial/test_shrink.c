/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: what is left of a failing plan is what the failure needs, within the number of runs allowed. */
#include "tests/support/check.h"

#include <stdio.h>

#include "simulators/trial/run.h"

struct law {
    unsigned calls;
    unsigned devices; /* least */
};

static const struct plan_entry *find(const struct plan *plan, enum plan_kind kind, const char *target)
{
    for (size_t i = 0; i < plan->count; i++) {
        if (plan->entries[i].kind == kind && strcmp(plan->entries[i].target, target) == 0) {
            return &plan->entries[i];
        }
    }
    return NULL;
}

/* Fails when line-1 (or gw1) crashes and, later, its link is cut. */
static bool needs_crash_and_cut(void *arg, const struct plan *plan)
{
    struct law *law = arg;
    law->calls++;
    const char *name = plan->world.lines == 0 ? "gw1" : "line-1";
    const struct plan_entry *crash = find(plan, PLAN_CRASH, name), *cut = find(plan, PLAN_LINK, name);
    return crash != NULL && cut != NULL && crash->at_us < cut->at_us && plan->world.devices >= law->devices;
}

static bool never(void *arg, const struct plan *plan)
{
    (void)plan;
    ((struct law *)arg)->calls++;
    return false;
}

static struct plan crowded(void)
{
    struct plan p = {.world = {.seed = 1, .devices = 8, .lines = 3, .site = true, .channels = 3},
                     .length_us = 10 * MINUTE_US};
    for (int i = 0; i < 120; i++) {
        struct plan_entry e = {.kind = (enum plan_kind)(i % PLAN_KIND_COUNT), .at_us = i * SECOND_US + 7, .step = 5};
        (void)snprintf(e.target, sizeof(e.target), "device-%d", 1 + i % 8);
        e.target[0] = e.kind == PLAN_SINK ? '\0' : e.target[0];
        if (e.kind == PLAN_MESSAGES || e.kind == PLAN_BROKER) {
            (void)snprintf(e.target, sizeof(e.target), "line-2");
        }
        e.for_us = SECOND_US;
        CHECK_OK(plan_add(&p, &e));
    }
    p.entries[36] = (struct plan_entry){.kind = PLAN_CRASH, .at_us = 36 * SECOND_US + 7, .step = 9, .value = 1,
                                        .target = "line-1", .for_us = SECOND_US};
    p.entries[85] = (struct plan_entry){.kind = PLAN_LINK, .at_us = 85 * SECOND_US + 7, .step = 9,
                                        .value = BUS_LINK_SILENT, .target = "line-1", .for_us = SECOND_US};
    return p;
}

static void only_what_matters_is_left(void **state)
{
    (void)state;
    struct plan plan = crowded(), small;
    struct law law = {.devices = 3};
    unsigned runs = 0;
    CHECK_OK(shrink_plan(&plan, needs_crash_and_cut, &law, 1000, &small, &runs));
    CHECK_INT(small.count, 2);
    CHECK_INT(runs, law.calls);
    CHECK(needs_crash_and_cut(&law, &small));
    CHECK_INT(small.world.devices, 3);
    CHECK_INT(small.world.lines, 0); /* and the line has become gw1 */
    CHECK(!small.world.site);
    CHECK_STR(small.entries[0].target, "gw1");
    CHECK_INT(small.entries[0].step, 0);
    CHECK_INT(small.entries[0].value, 0);
    CHECK_INT(small.entries[0].at_us % SECOND_US, 0);
    CHECK(small.length_us < 2 * MINUTE_US);
    CHECK_INT(plan.count, 120); /* the plan given is as it was */
    plan_deinit(&plan);
    plan_deinit(&small);
}

static void the_number_of_runs_is_kept(void **state)
{
    (void)state;
    struct plan plan = crowded(), small;
    for (unsigned most = 0; most < 40; most += 3) {
        struct law law = {.devices = 1};
        unsigned runs = 0;
        CHECK_OK(shrink_plan(&plan, needs_crash_and_cut, &law, most, &small, &runs));
        CHECK(runs <= most && law.calls == runs);
        CHECK(needs_crash_and_cut(&law, &small));
        plan_deinit(&small);
    }
    plan_deinit(&plan);
}

static void a_plan_that_fails_only_as_it_is_stays_as_it_is(void **state)
{
    (void)state;
    struct plan plan = crowded(), small;
    struct law law = {0};
    unsigned runs = 0;
    CHECK_OK(shrink_plan(&plan, never, &law, 5000, &small, &runs));
    CHECK_INT(small.count, plan.count);
    CHECK_INT(small.world.devices, 8);
    plan_deinit(&plan);
    plan_deinit(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_matters_is_left),
        cmocka_unit_test(the_number_of_runs_is_kept),
        cmocka_unit_test(a_plan_that_fails_only_as_it_is_stays_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
