/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a sink that is away, slow or choosy delays itself alone and loses nothing without saying so: positions are
 * asked for when it is back and held against what the store was, what it can never take becomes a letter, what settles
 * late is kept as
 * long, and what had to be given up is declared in it. */
#include "tests/unit/cloud-bridge/sinks/drain.h"

static void a_remote_sink_that_is_away_at_the_start_holds_up_nobody(void **state)
{
    (void)state;
    struct drain d;
    struct sinks_stats stats;
    drain_begin(&d, 2, 8 << 20);
    d.fakes[1].ops.remote = true;
    d.fakes[1].away = true;
    drain_start(&d);
    drain_add(&d, 3, 10);
    drain_run(&d, 2 * SECOND_US);
    CHECK_STR(d.fakes[0].text, "1 2 3 ");
    CHECK_STR(d.fakes[1].text, "");
    drain_stats(&d, 1, &stats);
    CHECK(stats.failing && !stats.known);
    CHECK_INT(stats.waiting, 3);
    CHECK(stats.waiting_since_us != 0);
    CHECK_INT(spool_trimmed(d.spools[1]), 0);
    d.fakes[1].away = false;
    drain_run(&d, 60 * SECOND_US);
    CHECK_STR(d.fakes[1].text, "1 2 3 ");
    CHECK_INT(spool_trimmed(d.spools[1]), 3);
    CHECK(sinks_drained(d.sinks));
    drain_end(&d);
}

static void a_local_sink_that_does_not_tell_its_position_fails_the_start(void **state)
{
    (void)state;
    struct drain d;
    struct fault fault = {.code = OK};
    struct sinks *sinks = NULL;
    drain_begin(&d, 1, 8 << 20);
    d.fakes[0].away = true;
    drain_open_store(&d);
    struct sinks_handlers on = {.batch = drain_batch, .arg = &d};
    struct sink given = d.given[0];
    CHECK_ERR(sinks_new(d.loop, d.spools, &given, 1, &on, &sinks, &fault), ERR_TIMEOUT);
    CHECK_CONTAINS(fault.text, "s0 does not tell its position");
    drain_end(&d);
}

static void after_a_lost_answer_the_position_is_asked_for_and_nothing_comes_twice(void **state)
{
    (void)state;
    struct drain d;
    drain_begin(&d, 1, 8 << 20);
    d.fakes[0].ops.remote = true;
    drain_start(&d);
    d.fakes[0].forgets = true;
    drain_add(&d, 2, 10);
    drain_run(&d, SECOND_US);
    drain_add(&d, 1, 10);
    drain_run(&d, SECOND_US);
    CHECK_STR(d.fakes[0].text, "1 2 3 ");
    CHECK_INT(d.fakes[0].asked, 2);
    CHECK_INT(d.fakes[0].writes, 2); /* 1 and 2 were not offered again */
    drain_end(&d);
}

static void a_position_beyond_what_the_store_had_is_not_believed_in_a_later_life_either(void **state)
{
    (void)state;
    struct drain d;
    struct store_disk *old = NULL;
    drain_begin(&d, 1, 8 << 20);
    d.fakes[0].ops.remote = true;
    drain_start(&d);
    drain_add(&d, 2, 10);
    drain_run(&d, SECOND_US);
    drain_kill(&d);
    CHECK_OK(store_disk_clone(d.disk, &old));
    drain_start(&d);
    drain_add(&d, 3, 10); /* 3 4 5 at 3 4 5 */
    drain_run(&d, SECOND_US);
    CHECK_STR(d.fakes[0].text, "1 2 3 4 5 ");
    drain_kill(&d);
    store_disk_free(d.disk); /* the store comes back as it was at 2 */
    d.disk = old;
    d.fakes[0].away = true;
    drain_start(&d);
    drain_add(&d, 4, 10); /* 6 7 8 9 at 3 4 5 6 */
    drain_run(&d, SECOND_US);
    drain_kill(&d); /* a life in which the sink never answered */
    d.fakes[0].away = false;
    drain_start(&d);
    drain_run(&d, SECOND_US);
    CHECK_STR(d.fakes[0].text, "1 2 3 4 5 6 7 8 9 ");
    drain_end(&d);
}

static void what_it_can_never_take_becomes_a_letter_and_a_gap_and_blocks_nothing(void **state)
{
    (void)state;
    struct drain d;
    struct sinks_stats stats;
    drain_begin(&d, 2, 8 << 20);
    d.fakes[1].picky = 2;
    drain_start(&d);
    drain_add(&d, 4, 10);
    drain_run(&d, SECOND_US);
    CHECK_STR(d.fakes[0].text, "1 2 3 4 ");
    CHECK_STR(d.fakes[1].text, "1 gap2-2:dead_letter 3 4 ");
    CHECK_INT(dead_count(d.dead, "s1"), 1);
    CHECK_INT(dead_count(d.dead, "s0"), 0);
    drain_stats(&d, 1, &stats);
    CHECK_INT(stats.refused, 1);
    CHECK(!stats.failing);
    CHECK_INT(spool_trimmed(d.spools[1]), 4);
    drain_end(&d);
}

static void where_even_the_gap_is_refused_the_letter_stands_alone(void **state)
{
    (void)state;
    struct drain d;
    struct sinks_stats stats;
    drain_begin(&d, 1, 8 << 20);
    d.fakes[0].picky = 2;
    d.fakes[0].picks_gaps = true;
    drain_start(&d);
    drain_add(&d, 4, 10);
    drain_run(&d, SECOND_US);
    CHECK_STR(d.fakes[0].text, "1 3 4 ");
    CHECK_INT(dead_count(d.dead, "s0"), 1);
    drain_stats(&d, 0, &stats);
    CHECK(!stats.failing);
    CHECK_INT(stats.refused, 1);
    CHECK_INT(spool_trimmed(d.spools[1]), 4);
    drain_end(&d);
}

static void a_sink_that_takes_nothing_fills_the_letters_slowly_and_goes_on(void **state)
{
    (void)state;
    struct drain d;
    struct sinks_stats stats;
    drain_begin(&d, 1, 8 << 20);
    d.fakes[0].takes_none = true;
    drain_start(&d);
    drain_add(&d, 200, 10);
    drain_run(&d, 500 * MS_US);
    CHECK_INT(dead_count(d.dead, "s0"), SINK_REFUSALS_MAX);
    drain_stats(&d, 0, &stats);
    CHECK(stats.failing);
    CHECK_CONTAINS(stats.last_error, "takes nothing, all goes to the dead letters: the fake dislikes it");
    drain_run(&d, SECOND_US);
    CHECK_INT(dead_count(d.dead, "s0"), 2 * SINK_REFUSALS_MAX);
    d.fakes[0].takes_none = false; /* mended in time */
    drain_run(&d, 2 * SECOND_US);
    CHECK_INT(dead_count(d.dead, "s0"), 2 * SINK_REFUSALS_MAX);
    CHECK_CONTAINS(d.fakes[0].text, "gap128-128:dead_letter 129 130 ");
    drain_stats(&d, 0, &stats);
    CHECK(!stats.failing);
    CHECK_INT(spool_trimmed(d.spools[1]), 200);
    drain_end(&d);
}

static void a_crash_between_letter_and_sink_keeps_one_letter(void **state)
{
    (void)state;
    struct drain d;
    drain_begin(&d, 1, 8 << 20);
    d.fakes[0].picky = 2;
    d.fakes[0].leaves = true;
    drain_start(&d);
    drain_add(&d, 3, 10);
    drain_run(&d, SECOND_US);
    CHECK_INT(dead_count(d.dead, NULL), 1);
    CHECK_STR(d.fakes[0].text, "");
    drain_kill(&d);
    d.fakes[0].away = d.fakes[0].leaves = false;
    drain_start(&d);
    drain_run(&d, SECOND_US);
    CHECK_STR(d.fakes[0].text, "1 gap2-2:dead_letter 3 ");
    CHECK_INT(dead_count(d.dead, NULL), 1);
    drain_end(&d);
}

static void a_letter_that_is_replayed_is_taken_and_goes_or_is_refused_and_stays(void **state)
{
    (void)state;
    struct drain d;
    drain_begin(&d, 1, 8 << 20);
    d.fakes[0].picky = 2;
    drain_start(&d);
    drain_add(&d, 3, 10);
    drain_run(&d, SECOND_US);
    CHECK_ERR(sinks_replay(d.sinks, 1000), ERR_NOT_FOUND);
    CHECK_OK(sinks_replay(d.sinks, 2)); /* 1 is the filler */
    drain_run(&d, SECOND_US);
    CHECK_INT(dead_count(d.dead, NULL), 1); /* refused again: another number */
    CHECK_ERR(sinks_replay(d.sinks, 2), ERR_NOT_FOUND);
    d.fakes[0].picky = 0;
    CHECK_OK(sinks_replay(d.sinks, 3));
    drain_run(&d, SECOND_US);
    CHECK_INT(dead_count(d.dead, NULL), 0);
    CHECK_STR(d.fakes[0].text, "1 gap2-2:dead_letter 3 again2 ");
    drain_end(&d);
}

static void what_settles_late_is_kept_until_the_server_was_seen_alive_and_comes_again_when_not(void **state)
{
    (void)state;
    struct drain d;
    struct sinks_stats stats;
    drain_begin(&d, 1, 8 << 20);
    d.fakes[0].ops.remote = true;
    d.fakes[0].ops.position = NULL;
    d.fakes[0].ops.alive = fake_alive;
    d.given[0].settle_us = 10 * SECOND_US;
    drain_start(&d);
    drain_add(&d, 2, 10);
    drain_run(&d, 9 * SECOND_US);
    CHECK_STR(d.fakes[0].text, "1 2 ");
    CHECK_INT(spool_trimmed(d.spools[1]), 0);
    drain_stats(&d, 0, &stats);
    CHECK_INT(stats.unsettled, 2);
    CHECK(!sinks_drained(d.sinks));
    d.fakes[0].is_other = true; /* it has died meanwhile, and lost them */
    d.fakes[0].mark = 0;
    drain_run(&d, 2 * SECOND_US);
    CHECK_STR(d.fakes[0].text, "1 2 1 2 ");
    CHECK_INT(spool_trimmed(d.spools[1]), 0);
    drain_run(&d, 11 * SECOND_US);
    CHECK_INT(spool_trimmed(d.spools[1]), 2);
    CHECK(sinks_drained(d.sinks));
    drain_kill(&d); /* the position is the bridge's: nothing comes a third time */
    d.fakes[0].mark = 0;
    drain_start(&d);
    drain_run(&d, SECOND_US);
    CHECK_STR(d.fakes[0].text, "1 2 1 2 ");
    drain_end(&d);
}

enum { SMALL_DISK = 1 << 20, EACH = 1000 };

static void fill_past_the_bound(struct drain *d)
{
    for (unsigned i = 0; i < 80; i++) {
        drain_add(d, 10, EACH);
        drain_run(d, 100 * MS_US);
    }
}

static void for_a_sink_that_is_away_too_long_the_oldest_go_and_are_declared_when_it_is_back(void **state)
{
    (void)state;
    struct drain d;
    struct sinks_stats stats;
    char gap[64], last[32];
    drain_begin(&d, 2, SMALL_DISK);
    d.fakes[1].ops.remote = true;
    d.given[0].lag_max_pct = d.given[1].lag_max_pct = 60;
    drain_start(&d);
    drain_add(&d, 2, 10);
    drain_run(&d, SECOND_US);
    CHECK_STR(d.fakes[1].text, "1 2 ");
    d.fakes[1].away = true;
    fill_past_the_bound(&d);
    CHECK_INT(d.fakes[0].mark, 802); /* it got everything */
    drain_stats(&d, 1, &stats);
    CHECK(stats.given_up > 0);
    CHECK_INT(stats.owed, 1);
    drain_stats(&d, 0, &stats);
    CHECK_INT(stats.given_up, 0);
    uint64_t trimmed = spool_trimmed(d.spools[1]);
    CHECK(trimmed > 2 && trimmed < 802);
    drain_kill(&d); /* what is owed is durable */
    d.fakes[1].away = false;
    drain_start(&d);
    drain_run(&d, 60 * SECOND_US);
    snprintf(gap, sizeof(gap), "1 2 gap3-%llu:overflow %llu ", (unsigned long long)trimmed,
             (unsigned long long)trimmed + 1);
    snprintf(last, sizeof(last), " 802 ");
    CHECK_CONTAINS(d.fakes[1].text, gap);
    CHECK_CONTAINS(d.fakes[1].text, last);
    drain_stats(&d, 1, &stats);
    CHECK_INT(stats.owed, 0);
    drain_end(&d);
}

static void a_sink_that_is_alone_or_has_no_bound_gives_up_nothing(void **state)
{
    (void)state;
    for (size_t count = 1; count <= 2; count++) {
        struct drain d;
        struct sinks_stats stats;
        drain_begin(&d, count, 4 * SMALL_DISK);
        d.fakes[count - 1].ops.remote = true;
        d.fakes[count - 1].away = true;
        d.given[count - 1].lag_max_pct = count == 1 ? 10 : 0;
        drain_start(&d);
        fill_past_the_bound(&d);
        drain_stats(&d, count - 1, &stats);
        CHECK_INT(stats.given_up, 0);
        CHECK_INT(spool_trimmed(d.spools[1]), 0);
        drain_end(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_remote_sink_that_is_away_at_the_start_holds_up_nobody),
        cmocka_unit_test(a_local_sink_that_does_not_tell_its_position_fails_the_start),
        cmocka_unit_test(after_a_lost_answer_the_position_is_asked_for_and_nothing_comes_twice),
        cmocka_unit_test(a_position_beyond_what_the_store_had_is_not_believed_in_a_later_life_either),
        cmocka_unit_test(what_it_can_never_take_becomes_a_letter_and_a_gap_and_blocks_nothing),
        cmocka_unit_test(a_crash_between_letter_and_sink_keeps_one_letter),
        cmocka_unit_test(where_even_the_gap_is_refused_the_letter_stands_alone),
        cmocka_unit_test(a_sink_that_takes_nothing_fills_the_letters_slowly_and_goes_on),
        cmocka_unit_test(a_letter_that_is_replayed_is_taken_and_goes_or_is_refused_and_stays),
        cmocka_unit_test(what_settles_late_is_kept_until_the_server_was_seen_alive_and_comes_again_when_not),
        cmocka_unit_test(for_a_sink_that_is_away_too_long_the_oldest_go_and_are_declared_when_it_is_back),
        cmocka_unit_test(a_sink_that_is_alone_or_has_no_bound_gives_up_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
