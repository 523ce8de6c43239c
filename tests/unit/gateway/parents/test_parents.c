/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a gateway leaves a parent that is away, mute or part of a loop, and no other; it goes back only to one that has
 * answered for long enough; and it does not run to and fro between them. In virtual seconds.
 */
#include "gateway/parents/parents.h"

#include "tests/support/check.h"

struct rig {
    struct parents p;
    int64_t now_us;
    bool up[PARENTS_MAX];      /* its bus */
    bool answers[PARENTS_MAX]; /* it is there */
    bool takes[PARENTS_MAX];   /* it acknowledges what it is sent */
    unsigned goes, starts, probes[PARENTS_MAX];
    enum parents_reason reason;
};

static struct rig rig_of(unsigned count)
{
    struct rig r = {.now_us = 1000 * SECOND_US};
    const struct parents_options options = {
        .count = count, .failover_us = MINUTE_US, .failback_us = MINUTE_US, .probe_us = 10 * SECOND_US};
    parents_init(&r.p, &options, r.now_us);
    for (unsigned i = 0; i < count; i++) {
        r.up[i] = r.answers[i] = r.takes[i] = true;
    }
    return r;
}

/* A world that answers at once, looked at once a second. */
static void run(struct rig *r, int64_t seconds)
{
    for (int64_t s = 0; s < seconds; s++) {
        struct parents_actions a;
        for (unsigned i = 0; i < r->p.options.count; i++) {
            bool up = r->p.parent[i].started && r->up[i];
            if (up != r->p.parent[i].up) {
                parents_link(&r->p, i, up);
            }
        }
        unsigned active = r->p.active;
        if (r->p.parent[active].up && r->answers[active] && r->takes[active] && parents_sends(&r->p)) {
            parents_fine(&r->p, r->now_us);
        }
        parents_look(&r->p, r->now_us, &a);
        r->goes += a.go;
        r->reason = a.go ? a.reason : r->reason;
        r->starts |= a.start;
        for (unsigned i = 0; i < r->p.options.count; i++) {
            if ((a.probe >> i & 1) != 0) {
                r->probes[i]++;
                if (r->answers[i]) {
                    parents_heard(&r->p, i, r->now_us + 1000);
                }
            }
        }
        r->now_us += SECOND_US;
    }
}

static void one_that_is_fine_is_never_left_and_the_others_are_not_even_started(void **state)
{
    (void)state;
    struct rig r = rig_of(3);
    run(&r, 100000);
    CHECK_INT(r.p.active, 0);
    CHECK_INT(r.goes, 0);
    CHECK_INT(r.starts, 1);
    CHECK_INT(r.probes[0] + r.probes[1] + r.probes[2], 0);
}

static void one_that_is_away_is_left_after_failover_and_not_before(void **state)
{
    (void)state;
    struct rig r = rig_of(2);
    run(&r, 100);
    r.up[0] = false;
    run(&r, 59);
    CHECK_INT(r.p.active, 0);
    run(&r, 2);
    CHECK_INT(r.p.active, 1);
    CHECK_INT(r.reason, PARENTS_SILENT);
    CHECK_INT(r.starts, 3);
    run(&r, 100000);
    CHECK_INT(r.goes, 1);
}

static void one_that_is_up_and_acknowledges_nothing_is_left_too(void **state)
{
    (void)state;
    struct rig r = rig_of(2);
    run(&r, 100);
    r.takes[0] = false;
    run(&r, 61);
    CHECK_INT(r.p.active, 1);
}

static void one_with_nowhere_else_to_go_stays(void **state)
{
    (void)state;
    struct rig r = rig_of(1);
    r.up[0] = false;
    run(&r, 10000);
    CHECK_INT(r.goes, 0);
    r = rig_of(1);
    run(&r, 10);
    parents_loop(&r.p, 0, true);
    run(&r, 1000);
    CHECK_INT(r.goes, 0);
    CHECK(!parents_sends(&r.p));
    CHECK(r.probes[0] >= 99); /* so that the end of the loop is noticed */
    parents_loop(&r.p, 0, false);
    CHECK(parents_sends(&r.p));
}

static void the_list_is_gone_through_until_one_is_there(void **state)
{
    (void)state;
    struct rig r = rig_of(4);
    r.up[0] = r.up[1] = r.up[2] = false;
    run(&r, 200);
    CHECK_INT(r.p.active, 3);
    CHECK_INT(r.goes, 3);
}

static void the_preferred_one_is_used_again_once_it_has_answered_for_long_enough(void **state)
{
    (void)state;
    struct rig r = rig_of(2);
    r.up[0] = false;
    run(&r, 100);
    CHECK_INT(r.p.active, 1);
    r.up[0] = true;
    r.answers[0] = false; /* its broker only */
    run(&r, 1000);
    CHECK_INT(r.p.active, 1);
    CHECK(r.probes[0] >= 99);
    r.answers[0] = true;
    run(&r, 70);
    CHECK_INT(r.p.active, 1); /* it was left soon after the start: twice the time */
    run(&r, 70);
    CHECK_INT(r.p.active, 0);
    CHECK_INT(r.reason, PARENTS_BACK);
}

static void one_probe_without_an_answer_begins_the_time_anew(void **state)
{
    (void)state;
    struct rig r = rig_of(2);
    r.up[0] = false;
    run(&r, 100);
    r.up[0] = true;
    for (int i = 0; i < 50; i++) {
        r.answers[0] = true;
        run(&r, 90);
        r.answers[0] = false;
        run(&r, 20);
    }
    CHECK_INT(r.p.active, 1);
    CHECK_INT(r.goes, 1);
}

static void one_that_answers_but_takes_nothing_is_tried_ever_more_seldom(void **state)
{
    (void)state;
    struct rig r = rig_of(2);
    r.takes[0] = false;
    run(&r, 24 * 3600);
    CHECK(r.goes >= 10);
    CHECK(r.goes < 2 * 100); /* 16 minutes and more apart, after the first few */
    r.takes[0] = true;
    run(&r, 3600);
    CHECK_INT(r.p.active, 0);
    unsigned goes = r.goes;
    run(&r, 24 * 3600);
    CHECK_INT(r.goes, goes);
    r.up[0] = false; /* after a day it is trusted as at first */
    run(&r, 61);
    CHECK_INT(r.p.active, 1);
    r.up[0] = true;
    run(&r, 75);
    CHECK_INT(r.p.active, 0);
}

static void one_in_a_loop_is_left_at_once_and_used_again_when_the_loop_is_gone(void **state)
{
    (void)state;
    struct rig r = rig_of(2);
    run(&r, 1000);
    parents_loop(&r.p, 0, true);
    run(&r, 1);
    CHECK_INT(r.p.active, 1);
    CHECK_INT(r.reason, PARENTS_LOOPED);
    run(&r, 10000);
    CHECK_INT(r.p.active, 1);
    CHECK(parents_sends(&r.p));
    CHECK(r.probes[0] > 900);
    parents_loop(&r.p, 0, false);
    run(&r, 75);
    CHECK_INT(r.p.active, 0);
}

static void of_several_the_most_preferred_that_is_there_is_taken(void **state)
{
    (void)state;
    struct rig r = rig_of(4);
    r.up[0] = r.up[1] = r.up[2] = false;
    run(&r, 200);
    CHECK_INT(r.p.active, 3);
    r.up[1] = true;
    run(&r, 30); /* answers, but not for long enough to go back for it alone */
    CHECK(parents_there(&r.p, 1));
    CHECK_INT(r.p.active, 3);
    parents_loop(&r.p, 3, true);
    run(&r, 1);
    CHECK_INT(r.p.active, 1);
    run(&r, 1000);
    CHECK_INT(r.p.active, 1);
    r.up[0] = true;
    run(&r, 200);
    CHECK_INT(r.p.active, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_is_fine_is_never_left_and_the_others_are_not_even_started),
        cmocka_unit_test(one_that_is_away_is_left_after_failover_and_not_before),
        cmocka_unit_test(one_that_is_up_and_acknowledges_nothing_is_left_too),
        cmocka_unit_test(one_with_nowhere_else_to_go_stays),
        cmocka_unit_test(the_list_is_gone_through_until_one_is_there),
        cmocka_unit_test(the_preferred_one_is_used_again_once_it_has_answered_for_long_enough),
        cmocka_unit_test(one_probe_without_an_answer_begins_the_time_anew),
        cmocka_unit_test(one_that_answers_but_takes_nothing_is_tried_ever_more_seldom),
        cmocka_unit_test(one_in_a_loop_is_left_at_once_and_used_again_when_the_loop_is_gone),
        cmocka_unit_test(of_several_the_most_preferred_that_is_there_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
