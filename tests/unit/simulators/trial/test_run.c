/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a seed is one run, bit for bit; faults take place as the plan says; each planted mistake is found by the check
 * that is meant to find it. */
#include "tests/support/check.h"

#include "core/log/log.h"
#include "simulators/trial/run.h"

static struct run_result run_text(const char *text)
{
    struct plan plan;
    struct fault fault = {0};
    struct run_result r = {.drained = false};
    buffer_init(&r.complaints, 1 << 20);
    CHECK_OK(plan_parse(slice_str(text), &plan, &fault));
    CHECK_OK(run_plan(&plan, NULL, &r));
    plan_deinit(&plan);
    return r;
}

static void done(struct run_result *r)
{
    buffer_deinit(&r->complaints);
}

static void a_seed_is_one_run_and_another_seed_another(void **state)
{
    (void)state;
    uint64_t digests[6];
    for (uint64_t i = 0; i < 6; i++) {
        struct plan plan;
        struct run_result r = {.drained = false};
        buffer_init(&r.complaints, 1 << 20);
        CHECK_OK(plan_make(i / 2, WORLD_MISTAKE_NONE, &plan));
        CHECK_OK(run_plan(&plan, NULL, &r));
        digests[i] = r.report.digest;
        CHECK_INT(r.violations, 0);
        plan_deinit(&plan);
        done(&r);
    }
    CHECK(digests[0] == digests[1] && digests[2] == digests[3] && digests[4] == digests[5]);
    CHECK(digests[0] != digests[2] && digests[2] != digests[4] && digests[0] != digests[4]);
}

#define TWO_LINES "weir-plan 1\nseed 3\ndevices 4\nlines 2\nsite yes\nperiod 200ms\nsamples 4\nlength 2min\n"

static void a_calm_world_delivers_everything_through_all_tiers(void **state)
{
    (void)state;
    struct run_result r = run_text(TWO_LINES);
    CHECK_INT(r.violations, 0);
    CHECK(r.report.delivered >= 4 * 140 && r.report.delivered == r.report.durable);
    CHECK_INT(r.report.gaps + r.report.hop_gaps + r.report.absorbed, 0);
    CHECK_INT(r.report.epochs, 4);
    done(&r);
}

static void the_power_of_the_whole_plant_fails(void **state)
{
    (void)state;
    struct run_result r = run_text(TWO_LINES "at 30s crash * for 5s step 3 commits 1\nat 60s crash * for 1ms step 9\n");
    CHECK_INT(r.violations, 0);
    CHECK_INT(r.injected[PLAN_CRASH], 2);
    CHECK_INT(r.report.gaps, 0);
    CHECK(r.report.delivered >= 4 * 130);
    done(&r);
}

static void a_lost_site_store_is_declared_by_its_hop(void **state)
{
    (void)state;
    struct run_result r = run_text(TWO_LINES "at 30s link site1 down for 20s\nat 45s wipe site1\n");
    CHECK_INT(r.violations, 0);
    CHECK(r.report.hop_gaps > 0);
    CHECK(r.report.durable > r.report.delivered);
    done(&r);
}

static void a_restored_bridge_gives_no_position_twice(void **state)
{
    (void)state;
    struct run_result r = run_text(TWO_LINES "at 1s alarm device-*\nat 30s snapshot bridge1\nat 45s restore bridge1\n");
    CHECK_INT(r.violations, 0);
    CHECK_INT(r.injected[PLAN_RESTORE], 1);
    CHECK(r.report.hop_gaps > 0); /* it does not know what it had taken, the sink does */
    CHECK_INT(r.report.delivered, r.report.durable);
    done(&r);
}

static void an_image_is_restored_once_and_only_when_it_is_sound(void **state)
{
    (void)state;
    struct run_result r = run_text(TWO_LINES "at 1s alarm device-*\nat 2s snapshot device-1\nat 30s snapshot device-2\n"
                                             "at 60s restore device-1\nat 60s restore device-2\n"
                                             "at 80s restore device-2\n");
    CHECK_INT(r.violations, 0);
    CHECK_INT(r.injected[PLAN_SNAPSHOT], 1); /* two seconds after a start nothing is answered for sure */
    CHECK_INT(r.injected[PLAN_RESTORE], 1);
    CHECK(r.report.epochs >= 5);
    done(&r);
}

static void a_sink_that_does_not_tell_what_it_took_gets_nothing_twice(void **state)
{
    (void)state;
    struct run_result r = run_text(TWO_LINES "at 30s sink deaf for 10s\nat 60s sink fails for 10s\n");
    CHECK_INT(r.violations, 0);
    CHECK(r.report.absorbed > 0);
    CHECK_INT(r.report.delivered, r.report.durable);
    done(&r);
}

static void a_small_store_overflows_and_says_exactly_what(void **state)
{
    (void)state;
    struct run_result r = run_text("weir-plan 1\nseed 3\nperiod 50ms\nsamples 1\nchannels 3\ndevice-store 131072\n"
                                   "length 6min\nat 30s link device-1 down for 4min\n");
    CHECK_INT(r.violations, 0);
    CHECK(r.report.gaps > 100);
    CHECK_INT(r.report.delivered + r.report.gaps, r.report.durable);
    done(&r);
}

/* ---- planted mistakes: the world says which check has found them ---- */
static void an_ack_before_the_commit_is_seen_as_it_is_published(void **state)
{
    (void)state;
    struct run_result r = run_text(TWO_LINES "mistake ack-before-commit\n");
    CHECK(r.report.acked_early > 0);
    CHECK_CONTAINS((const char *)r.complaints.ptr, "acknowledged early");
    done(&r);
}

static void a_record_sent_before_its_fsync_is_a_phantom_after_a_crash(void **state)
{
    (void)state;
    struct run_result r = run_text(TWO_LINES "mistake send-before-fsync\nat 30550ms crash device-1 for 1s\n"
                                             "at 34250ms crash device-2 for 1s\nat 37750ms crash device-3 for 1s\n"
                                             "at 41950ms crash device-4 for 1s\n"); /* it writes every second */
    CHECK(r.report.phantom > 0);
    CHECK(r.violations > 0);
    done(&r);
}

static void a_sink_without_its_mark_shows_duplicates_when_the_bridge_dies(void **state)
{
    (void)state;
    struct run_result r = run_text(TWO_LINES "flush 100ms\nmistake sink-without-mark\n"
                                             "at 30s crash bridge1 for 1s\nat 40050ms crash bridge1 for 1s\n"
                                             "at 50070ms crash bridge1 for 1s\nat 60090ms crash bridge1 for 1s\n");
    CHECK(r.report.duplicated > 0);
    done(&r);
}

static void the_brokers_word_taken_for_the_gateways_loses_records(void **state)
{
    (void)state;
    struct run_result r = run_text(TWO_LINES "mistake trim-before-ack\nat 30s disk line-1 eio for 20s\n");
    CHECK(r.report.order_broken > 0); /* acked above the gateway's mark */
    CHECK(r.report.unfounded + r.report.lost > 0);
    done(&r);
}

static void an_epoch_that_was_not_synced_shows_after_a_crash(void **state)
{
    (void)state;
    struct run_result r = run_text(TWO_LINES "mistake unsynced-epoch\nat 30s crash device-1 for 1s\n");
    CHECK(r.report.unfounded > 0);
    CHECK_CONTAINS((const char *)r.complaints.ptr, "begun without a cause: device-1");
    done(&r);
}

/* ---- rules ---- */
#define WITH_RULES "weir-plan 2\nseed 5\ndevices 3\nlines 1\nsite yes\nperiod 250ms\nsamples 8\nchannels 3\nlength 3min\n"

static void every_value_goes_into_the_sink_or_into_a_window_whatever_crashes(void **state)
{
    (void)state;
    static const char *const sets[] = {"line-rules windows\n", "site-rules windows\n", "line-rules windows\nsite-rules capture\n",
                                       "line-rules capture\nring 65536\n"};
    for (size_t i = 0; i < COUNT_OF(sets); i++) {
        char text[1000];
        (void)snprintf(text, sizeof(text), "%s%s%s", WITH_RULES, sets[i],
                       "at 20s crash line-1 for 1s commits 1\nat 35s crash site1 for 2s\nat 50s crash * for 1s\n"
                       "at 60s rules line-1 to thin for 20s\nat 70s crash line-1 for 1s\nat 90s disk line-1 full for 20s\n"
                       "at 91s disk site1 eio for 5s\nat 120s rules site1 to windows for 30s\nat 130s crash site1 for 1s\n");
        struct run_result r = run_text(text);
        CHECK_INT(r.violations, 0);
        CHECK(r.report.curated > 100);
        CHECK(r.report.windows > 10);
        CHECK_INT(r.report.miscounted, 0);
        done(&r);
    }
}

static void a_position_committed_without_its_records_loses_them(void **state)
{
    (void)state;
    struct run_result r = run_text(WITH_RULES "mistake state-without-records\nline-rules thin\n"
                                              "at 30s link line-1 down for 30s\nat 40s crash line-1 for 1s\n");
    CHECK(r.report.lost + r.report.undeclared > 0);
    CHECK(r.violations > 0);
    done(&r);
}

int main(void)
{
    log_mute();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_is_one_run_and_another_seed_another),
        cmocka_unit_test(a_calm_world_delivers_everything_through_all_tiers),
        cmocka_unit_test(the_power_of_the_whole_plant_fails),
        cmocka_unit_test(a_lost_site_store_is_declared_by_its_hop),
        cmocka_unit_test(a_restored_bridge_gives_no_position_twice),
        cmocka_unit_test(an_image_is_restored_once_and_only_when_it_is_sound),
        cmocka_unit_test(a_sink_that_does_not_tell_what_it_took_gets_nothing_twice),
        cmocka_unit_test(a_small_store_overflows_and_says_exactly_what),
        cmocka_unit_test(an_ack_before_the_commit_is_seen_as_it_is_published),
        cmocka_unit_test(a_record_sent_before_its_fsync_is_a_phantom_after_a_crash),
        cmocka_unit_test(a_sink_without_its_mark_shows_duplicates_when_the_bridge_dies),
        cmocka_unit_test(the_brokers_word_taken_for_the_gateways_loses_records),
        cmocka_unit_test(an_epoch_that_was_not_synced_shows_after_a_crash),
        cmocka_unit_test(every_value_goes_into_the_sink_or_into_a_window_whatever_crashes),
        cmocka_unit_test(a_position_committed_without_its_records_loses_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
