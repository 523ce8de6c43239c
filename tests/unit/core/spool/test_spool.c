/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: numbers are contiguous and never reused, what is settled is what is read, and every operation survives a
 * restart. */
#include "tests/unit/core/spool/world.h"

static void a_lane_exists_only_after_its_creation_has_settled(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    CHECK_INT(spool_epoch(w.spool), 0);
    uint64_t first;
    struct store_batch *batch = world_batch(&w);
    CHECK_ERR(spool_append(w.spool, batch, 1, slice_str("a"), &first), ERR_AGAIN);
    CHECK_OK(spool_create(w.spool, batch));
    CHECK_ERR(spool_create(w.spool, batch), ERR_CONFLICT);
    CHECK_INT(spool_epoch(w.spool), 0);
    CHECK_OK(world_commit(&w, batch));
    uint64_t epoch = spool_epoch(w.spool);
    CHECK(epoch != 0);
    CHECK_INT(spool_next(w.spool), 1);
    CHECK_INT(spool_durable(w.spool), 0);
    world_restart(&w);
    CHECK(spool_epoch(w.spool) == epoch);
    CHECK(!spool_repaired(w.spool));
    world_end(&w);
}

static void a_creation_that_fails_leaves_no_lane(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    store_disk_set_mode(w.disk, STORE_DISK_EIO);
    struct store_batch *batch = world_batch(&w);
    CHECK_OK(spool_create(w.spool, batch));
    world_append(&w, batch, 1, "a");
    CHECK_ERR(world_commit(&w, batch), ERR_IO);
    CHECK_INT(spool_epoch(w.spool), 0);
    store_disk_set_mode(w.disk, STORE_DISK_OK);
    world_create(&w);
    world_fill(&w, "a");
    CHECK_STR(world_list(&w, 0), "1:a ");
    world_end(&w);
}

static void entries_may_go_into_the_batch_that_creates_the_lane(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    struct store_batch *batch = world_batch(&w);
    CHECK_OK(spool_create(w.spool, batch));
    CHECK_INT(world_append(&w, batch, 1, "a"), 1);
    CHECK_INT(world_append(&w, batch, 3, "bcd"), 2);
    CHECK_INT(spool_next(w.spool), 5);
    CHECK_STR(world_list(&w, 0), "");
    CHECK_OK(world_commit(&w, batch));
    CHECK_STR(world_list(&w, 0), "1:a 2-4:bcd ");
    world_end(&w);
}

static void entries_are_read_only_once_they_are_settled(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    world_create(&w);
    struct store_batch *batch = world_batch(&w);
    world_append(&w, batch, 1, "a");
    world_append(&w, batch, 1, "");
    CHECK_INT(spool_durable(w.spool), 0);
    CHECK_INT(spool_next(w.spool), 3);
    CHECK_STR(world_list(&w, 0), "");
    CHECK_OK(world_commit(&w, batch));
    CHECK_INT(spool_durable(w.spool), 2);
    CHECK_STR(world_list(&w, 0), "1:a 2: ");
    CHECK_STR(world_list(&w, 2), "2: ");
    CHECK_STR(world_list(&w, 3), "");
    world_end(&w);
}

static void a_failed_commit_gives_its_numbers_back(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    world_create(&w);
    world_fill(&w, "ab");
    uint64_t bytes = spool_bytes(w.spool);
    store_disk_set_mode(w.disk, STORE_DISK_FULL);
    struct store_batch *batch = world_batch(&w);
    CHECK_INT(world_append(&w, batch, 5, "lost"), 3);
    CHECK_ERR(world_commit(&w, batch), ERR_FULL);
    CHECK_INT(spool_next(w.spool), 3);
    CHECK(spool_bytes(w.spool) == bytes);
    store_disk_set_mode(w.disk, STORE_DISK_OK);
    world_fill(&w, "c");
    CHECK_STR(world_list(&w, 0), "1:a 2:b 3:c ");
    world_end(&w);
}

struct late {
    struct world *w;
    uint64_t last;
    enum err result;
};

static void settle_late(void *arg, enum err result)
{
    struct late *l = arg;
    l->result = result;
    spool_settle(l->w->spool, l->last, result);
}

static void a_failure_in_the_pipeline_leaves_no_hole(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    world_create(&w);
    struct late l[4] = {{.w = &w}, {.w = &w}, {.w = &w}, {.w = &w}};
    for (int i = 0; i < 3; i++) {
        struct store_batch *batch = world_batch(&w);
        world_append(&w, batch, 1, "lost");
        l[i].last = spool_next(w.spool) - 1;
        CHECK_OK(store_commit(w.store, batch, settle_late, &l[i]));
    }
    struct store_batch *filling = world_batch(&w);
    world_append(&w, filling, 1, "lost too");
    store_disk_set_mode(w.disk, STORE_DISK_EIO);
    loop_world_run(w.world, loop_world_now_us(w.world) + WORLD_LATENCY_US);
    store_disk_set_mode(w.disk, STORE_DISK_OK);
    for (int i = 0; i < 3; i++) {
        CHECK_ERR(l[i].result, ERR_IO); /* told at once, the first one's failure */
    }
    CHECK_INT(spool_next(w.spool), 1);
    /* a caller that does not know better goes on filling */
    CHECK_INT(world_append(&w, filling, 1, "a"), 1);
    l[3].last = 1;
    CHECK_OK(store_commit(w.store, filling, settle_late, &l[3]));
    loop_world_run(w.world, loop_world_now_us(w.world) + 5 * WORLD_LATENCY_US);
    CHECK_ERR(l[3].result, ERR_IO);
    CHECK_INT(spool_next(w.spool), 1);
    world_fill(&w, "abc");
    CHECK_STR(world_list(&w, 0), "1:a 2:b 3:c ");
    world_restart(&w);
    CHECK_STR(world_list(&w, 0), "1:a 2:b 3:c ");
    CHECK_INT(spool_next(w.spool), 4);
    world_end(&w);
}

static void trimmed_entries_are_gone_at_once_and_for_good(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    world_create(&w);
    world_fill(&w, "abcd");
    struct store_batch *batch = world_batch(&w);
    CHECK_OK(spool_trim(w.spool, batch, 2));
    CHECK_STR(world_list(&w, 0), "3:c 4:d ");
    CHECK_OK(spool_trim(w.spool, batch, 1));
    CHECK_INT(spool_trimmed(w.spool), 2);
    CHECK_OK(world_commit(&w, batch));
    world_restart(&w);
    CHECK_STR(world_list(&w, 0), "3:c 4:d ");
    batch = world_batch(&w);
    CHECK_OK(spool_trim(w.spool, batch, 99)); /* at most what is durable */
    CHECK_OK(world_commit(&w, batch));
    CHECK_INT(spool_trimmed(w.spool), 4);
    CHECK_INT(spool_bytes(w.spool), 0);
    world_restart(&w);
    CHECK_INT(spool_trimmed(w.spool), 4);
    CHECK_INT(spool_durable(w.spool), 4);
    world_fill(&w, "e");
    CHECK_STR(world_list(&w, 0), "5:e ");
    world_end(&w);
}

static void a_trim_stops_before_an_entry_that_it_does_not_cover(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    world_create(&w);
    struct store_batch *batch = world_batch(&w);
    world_append(&w, batch, 1, "a");
    world_append(&w, batch, 5, "gap");
    CHECK_OK(world_commit(&w, batch));
    batch = world_batch(&w);
    CHECK_OK(spool_trim(w.spool, batch, 4));
    CHECK_OK(world_commit(&w, batch));
    CHECK_INT(spool_trimmed(w.spool), 1);
    CHECK_STR(world_list(&w, 4), "2-6:gap ");
    CHECK_STR(world_list(&w, 7), "");
    world_end(&w);
}

static void a_trim_that_failed_is_made_good_by_the_next(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    world_create(&w);
    world_fill(&w, "abcd");
    store_disk_set_mode(w.disk, STORE_DISK_EIO);
    struct store_batch *batch = world_batch(&w);
    CHECK_OK(spool_trim(w.spool, batch, 2));
    CHECK_ERR(world_commit(&w, batch), ERR_IO);
    CHECK_STR(world_list(&w, 0), "3:c 4:d "); /* still in force */
    store_disk_set_mode(w.disk, STORE_DISK_OK);
    batch = world_batch(&w);
    CHECK_OK(spool_trim(w.spool, batch, 3));
    CHECK_OK(world_commit(&w, batch));
    world_restart(&w);
    CHECK_STR(world_list(&w, 0), "4:d ");
    struct store_usage usage;
    store_usage(w.store, &usage);
    CHECK(usage.used_bytes < 120); /* one entry and the lane's record: nothing is left behind */
    world_end(&w);
}

static void room_is_what_max_bytes_leaves(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    CHECK(spool_room(w.spool) == UINT64_MAX);
    spool_free(w.spool);
    w.max_bytes = 200;
    CHECK_OK(world_try_open(&w));
    world_create(&w);
    CHECK_INT(spool_room(w.spool), 200);
    struct store_batch *batch = world_batch(&w);
    char body[171];
    memset(body, 'x', sizeof body);
    uint64_t first;
    CHECK_ERR(spool_append(w.spool, batch, 1, slice_of(body, 171), &first), ERR_FULL);
    CHECK_INT(spool_next(w.spool), 1);
    CHECK_OK(spool_append(w.spool, batch, 1, slice_of(body, 140), &first));
    CHECK_INT(spool_bytes(w.spool), 170);
    CHECK_INT(spool_room(w.spool), 30);
    CHECK_OK(spool_append(w.spool, batch, 1, slice_str(""), &first));
    CHECK_ERR(spool_append(w.spool, batch, 1, slice_str(""), &first), ERR_FULL);
    CHECK_OK(world_commit(&w, batch));
    CHECK_INT(spool_room(w.spool), 0);
    world_restart(&w);
    CHECK_INT(spool_room(w.spool), 0);
    batch = world_batch(&w);
    CHECK_OK(spool_trim(w.spool, batch, 1));
    CHECK_INT(spool_room(w.spool), 170);
    CHECK_OK(world_commit(&w, batch));
    world_end(&w);
}

static void bounds_of_an_entry_are_checked(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    world_create(&w);
    static uint8_t body[SPOOL_BODY_MAX + 1];
    struct store_batch *batch = world_batch(&w);
    uint64_t first;
    CHECK_ERR(spool_append(w.spool, batch, 1, slice_of(body, sizeof body), &first), ERR_RANGE);
    CHECK_ERR(spool_append(w.spool, batch, 0, slice_str("a"), &first), ERR_RANGE);
    CHECK_ERR(spool_append(w.spool, batch, UINT64_MAX, slice_str("a"), &first), ERR_RANGE);
    CHECK_INT(store_batch_ops(batch), 0);
    CHECK_OK(spool_append(w.spool, batch, 1, slice_of(body, SPOOL_BODY_MAX), &first));
    CHECK_OK(spool_append(w.spool, batch, UINT64_C(1) << 62, slice_str("span"), &first));
    CHECK_OK(world_commit(&w, batch));
    world_restart(&w);
    CHECK(spool_durable(w.spool) == (UINT64_C(1) << 62) + 1);
    world_end(&w);
}

static void the_oldest_are_dropped_until_there_is_room(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    spool_free(w.spool);
    w.max_bytes = 6 * 31; /* six entries of one letter */
    CHECK_OK(world_try_open(&w));
    world_create(&w);
    world_fill(&w, "abcdef");
    CHECK_INT(spool_room(w.spool), 0);
    uint64_t first, last;
    struct store_batch *batch = world_batch(&w);
    CHECK_OK(spool_drop_oldest(w.spool, batch, 0, 99, &first, &last));
    CHECK(first > last);
    CHECK_OK(spool_drop_oldest(w.spool, batch, 70, 99, &first, &last));
    CHECK_INT(first, 1);
    CHECK_INT(last, 3);
    CHECK_INT(world_append(&w, batch, 1, "g"), 7); /* the gap record */
    CHECK_OK(world_commit(&w, batch));
    CHECK_STR(world_list(&w, 0), "4:d 5:e 6:f 7:g ");
    batch = world_batch(&w);
    CHECK_OK(spool_drop_oldest(w.spool, batch, 180, 5, &first, &last)); /* none above 5 */
    CHECK_INT(first, 4);
    CHECK_INT(last, 5);
    CHECK_OK(world_commit(&w, batch));
    world_restart(&w);
    CHECK_STR(world_list(&w, 0), "6:f 7:g ");
    CHECK_INT(spool_bytes(w.spool), 2 * 31);
    world_end(&w);
}

static void a_drop_whose_commit_fails_is_taken_back(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    world_create(&w);
    world_fill(&w, "abcd");
    uint64_t first, last, bytes = spool_bytes(w.spool);
    store_disk_set_mode(w.disk, STORE_DISK_EIO);
    struct store_batch *batch = world_batch(&w);
    CHECK_OK(spool_drop_oldest(w.spool, batch, 60, 99, &first, &last));
    CHECK_INT(last, 2);
    CHECK_STR(world_list(&w, 0), "3:c 4:d ");
    world_append(&w, batch, 1, "gap");
    CHECK_ERR(world_commit(&w, batch), ERR_IO);
    CHECK_STR(world_list(&w, 0), "1:a 2:b 3:c 4:d ");
    CHECK(spool_bytes(w.spool) == bytes);
    world_end(&w);
}

static void a_gap_takes_the_place_of_what_was_dropped(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    world_create(&w);
    world_fill(&w, "abcdef");
    uint64_t first, last;
    struct store_batch *batch = world_batch(&w);
    CHECK_OK(spool_drop_oldest(w.spool, batch, 80, 99, &first, &last));
    CHECK_OK(spool_replace(w.spool, batch, first, last, slice_str("gap")));
    CHECK_INT(spool_trimmed(w.spool), 0);
    CHECK_OK(world_commit(&w, batch));
    CHECK_STR(world_list(&w, 0), "1-3:gap 4:d 5:e 6:f ");
    CHECK_STR(world_list(&w, 2), "1-3:gap 4:d 5:e 6:f ");
    world_restart(&w);
    CHECK_STR(world_list(&w, 0), "1-3:gap 4:d 5:e 6:f ");
    CHECK_INT(spool_bytes(w.spool), 33 + 3 * 31);
    batch = world_batch(&w);
    CHECK_OK(spool_replace(w.spool, batch, 1, 4, slice_str("longer gap"))); /* without a drop before */
    CHECK_OK(world_commit(&w, batch));
    CHECK_STR(world_list(&w, 0), "1-4:longer gap 5:e 6:f ");
    CHECK_INT(spool_bytes(w.spool), 40 + 2 * 31);
    world_restart(&w);
    CHECK_STR(world_list(&w, 0), "1-4:longer gap 5:e 6:f ");
    world_end(&w);
}

static void a_range_is_replaced_whole_or_not_at_all(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    world_create(&w);
    struct store_batch *batch = world_batch(&w);
    world_append(&w, batch, 2, "ab");
    world_append(&w, batch, 3, "cde");
    world_append(&w, batch, 1, "f");
    CHECK_OK(world_commit(&w, batch));
    batch = world_batch(&w);
    CHECK_ERR(spool_replace(w.spool, batch, 1, 4, slice_str("gap")), ERR_RANGE);
    CHECK_ERR(spool_replace(w.spool, batch, 2, 5, slice_str("gap")), ERR_RANGE);
    CHECK_ERR(spool_replace(w.spool, batch, 0, 5, slice_str("gap")), ERR_RANGE);
    CHECK_ERR(spool_replace(w.spool, batch, 6, 7, slice_str("gap")), ERR_RANGE);
    CHECK_ERR(spool_replace(w.spool, batch, 3, 2, slice_str("gap")), ERR_RANGE);
    uint64_t first, last;
    CHECK_OK(spool_drop_oldest(w.spool, batch, 60, 99, &first, &last));
    CHECK_INT(last, 5);
    CHECK_ERR(spool_replace(w.spool, batch, 1, 2, slice_str("gap")), ERR_RANGE);
    CHECK_OK(spool_replace(w.spool, batch, 1, 5, slice_str("gap")));
    CHECK_OK(world_commit(&w, batch));
    CHECK_STR(world_list(&w, 0), "1-5:gap 6:f ");
    world_end(&w);
}

static void a_rebase_renumbers_what_is_kept_in_a_new_epoch(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    world_create(&w);
    struct store_batch *batch = world_batch(&w);
    world_append(&w, batch, 1, "a");
    world_append(&w, batch, 4, "span");
    world_append(&w, batch, 1, "f");
    CHECK_OK(world_commit(&w, batch));
    uint64_t old = spool_epoch(w.spool);
    batch = world_batch(&w);
    CHECK_OK(spool_rebase(w.spool, batch, 3));
    CHECK(spool_epoch(w.spool) == old);
    CHECK_STR(world_list(&w, 0), ""); /* neither old nor new, until it has settled */
    CHECK_INT(spool_next(w.spool), 4);
    CHECK_INT(world_append(&w, batch, 1, "g"), 4);
    CHECK_OK(world_commit(&w, batch));
    CHECK(spool_epoch(w.spool) != old && spool_epoch(w.spool) != 0);
    CHECK(spool_origin(w.spool) == old);
    CHECK_STR(world_list(&w, 0), "1-2:span 3:f 4:g ");
    world_restart(&w);
    CHECK(spool_origin(w.spool) == old);
    CHECK_STR(world_list(&w, 0), "1-2:span 3:f 4:g ");
    CHECK_INT(spool_next(w.spool), 5);
    batch = world_batch(&w);
    CHECK_OK(spool_rebase(w.spool, batch, 99)); /* nothing is kept */
    CHECK_OK(world_commit(&w, batch));
    CHECK_STR(world_list(&w, 0), "");
    CHECK_INT(spool_next(w.spool), 1);
    CHECK_INT(spool_bytes(w.spool), 0);
    world_end(&w);
}

static void a_rebased_lane_goes_on_as_any_other(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    world_create(&w);
    world_fill(&w, "abcdef");
    for (unsigned round = 0; round < 3; round++) { /* twice renumbered, thrice */
        struct store_batch *batch = world_batch(&w);
        CHECK_OK(spool_rebase(w.spool, batch, 1));
        CHECK_OK(world_commit(&w, batch));
        world_fill(&w, round % 2 ? "x" : "y");
        world_restart(&w);
    }
    CHECK_STR(world_list(&w, 0), "1:d 2:e 3:f 4:y 5:x 6:y ");
    CHECK_STR(world_list(&w, 5), "5:x 6:y ");
    CHECK_INT(spool_durable(w.spool), 6);
    uint64_t first, last;
    struct store_batch *batch = world_batch(&w);
    CHECK_OK(spool_trim(w.spool, batch, 1));
    CHECK_OK(world_commit(&w, batch));
    CHECK_INT(spool_trimmed(w.spool), 1);
    batch = world_batch(&w);
    CHECK_OK(spool_drop_oldest(w.spool, batch, 1, 99, &first, &last));
    CHECK_INT(first, 2);
    CHECK_INT(last, 2);
    CHECK_OK(spool_replace(w.spool, batch, first, last, slice_str("gap")));
    CHECK_OK(world_commit(&w, batch));
    batch = world_batch(&w);
    CHECK_ERR(spool_replace(w.spool, batch, 6, 7, slice_str("gap")), ERR_RANGE);
    CHECK_OK(spool_replace(w.spool, batch, 3, 5, slice_str("gap")));
    CHECK_OK(world_commit(&w, batch));
    CHECK_STR(world_list(&w, 0), "2:gap 3-5:gap 6:y ");
    CHECK_INT(spool_next(w.spool), 7);
    world_restart(&w);
    CHECK_STR(world_list(&w, 0), "2:gap 3-5:gap 6:y ");
    CHECK_INT(spool_trimmed(w.spool), 1);
    world_end(&w);
}

/* An image is restored, nobody hears it for long, its store fills up; then it is found out. There is no room for anything
 * a second time, and nothing but the new epoch can ever make room. */
static void a_full_store_can_be_rebased(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    world_create(&w);
    struct store_usage usage;
    char body[200] = "";
    for (enum err err = OK; err == OK;) {
        struct store_batch *batch = world_batch(&w);
        uint64_t number;
        CHECK_OK(spool_append(w.spool, batch, 1, slice_of(body, sizeof body), &number));
        err = world_commit(&w, batch);
    }
    store_usage(w.store, &usage);
    CHECK(usage.used_bytes > usage.cap_bytes / 100 * 98);
    uint64_t durable = spool_durable(w.spool);
    struct store_batch *batch = world_batch(&w);
    CHECK_OK(spool_rebase(w.spool, batch, 3));
    CHECK(store_batch_bytes(batch) < 500);
    CHECK_OK(world_commit(&w, batch));
    CHECK_INT(spool_durable(w.spool), durable - 3);
    CHECK_INT(spool_next(w.spool), durable - 2);
    world_end(&w);
}

static void a_rebase_that_fails_leaves_the_old_epoch(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    world_create(&w);
    world_fill(&w, "abc");
    uint64_t old = spool_epoch(w.spool);
    store_disk_set_mode(w.disk, STORE_DISK_EIO);
    struct store_batch *batch = world_batch(&w);
    CHECK_OK(spool_rebase(w.spool, batch, 1));
    world_append(&w, batch, 1, "lost");
    CHECK_ERR(world_commit(&w, batch), ERR_IO);
    CHECK(spool_epoch(w.spool) == old);
    CHECK_STR(world_list(&w, 0), "1:a 2:b 3:c ");
    store_disk_set_mode(w.disk, STORE_DISK_OK);
    world_fill(&w, "d");
    CHECK_STR(world_list(&w, 0), "1:a 2:b 3:c 4:d ");
    world_end(&w);
}

static void a_rebase_waits_for_appends_and_is_not_mistaken_for_a_trim_before_it(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    world_create(&w);
    world_fill(&w, "abc");
    uint64_t old = spool_epoch(w.spool);
    struct store_batch *batch = world_batch(&w), *trim = world_batch(&w);
    world_append(&w, batch, 1, "d");
    CHECK_ERR(spool_rebase(w.spool, trim, 1), ERR_AGAIN);
    CHECK_OK(world_commit(&w, batch));
    CHECK_OK(spool_trim(w.spool, trim, 1));
    struct late l[2] = {{.w = &w, .last = 4}, {.w = &w, .last = 2}};
    CHECK_OK(store_commit(w.store, trim, settle_late, &l[0]));
    batch = world_batch(&w);
    CHECK_OK(spool_rebase(w.spool, batch, 2));
    CHECK_OK(store_commit(w.store, batch, settle_late, &l[1]));
    loop_world_run(w.world, loop_world_now_us(w.world) + WORLD_LATENCY_US);
    CHECK(spool_epoch(w.spool) == old); /* the trim has settled, the rebase has not */
    loop_world_run(w.world, loop_world_now_us(w.world) + WORLD_LATENCY_US);
    CHECK(spool_epoch(w.spool) != old);
    CHECK_STR(world_list(&w, 0), "1:c 2:d ");
    world_end(&w);
}

static void lanes_share_a_table_without_touching_each_other(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    world_create(&w);
    struct spool_options options = {.table = WORLD_TABLE, .meta_table = WORLD_META, .lane = 0};
    CLEANUP(spool_freep) struct spool *alarm = NULL;
    CHECK_OK(spool_open(w.loop, w.store, &options, &alarm, NULL));
    struct store_batch *batch = world_batch(&w);
    CHECK_OK(spool_create(alarm, batch));
    uint64_t first;
    for (int i = 0; i < 4; i++) {
        CHECK_OK(spool_append(alarm, batch, 1, slice_str("alarm"), &first));
        CHECK_INT(world_append(&w, batch, 1, "bulk"), first);
    }
    CHECK_OK(world_commit(&w, batch));
    spool_settle(alarm, 4, OK);
    batch = world_batch(&w);
    CHECK_OK(spool_trim(alarm, batch, 3));
    CHECK_OK(spool_trim(w.spool, batch, 1));
    CHECK_OK(world_commit(&w, batch));
    spool_settle(alarm, 0, OK);
    CHECK_STR(world_list(&w, 0), "2:bulk 3:bulk 4:bulk ");
    char text[2048] = "";
    CHECK_OK(spool_read(alarm, 0, world_join, text));
    CHECK_STR(text, "4:alarm ");
    batch = world_batch(&w);
    CHECK_OK(spool_rebase(w.spool, batch, 4));
    CHECK_OK(world_commit(&w, batch));
    text[0] = '\0';
    CHECK_OK(spool_read(alarm, 0, world_join, text));
    CHECK_STR(text, "4:alarm ");
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lane_exists_only_after_its_creation_has_settled),
        cmocka_unit_test(a_creation_that_fails_leaves_no_lane),
        cmocka_unit_test(entries_may_go_into_the_batch_that_creates_the_lane),
        cmocka_unit_test(entries_are_read_only_once_they_are_settled),
        cmocka_unit_test(a_failed_commit_gives_its_numbers_back),
        cmocka_unit_test(a_failure_in_the_pipeline_leaves_no_hole),
        cmocka_unit_test(trimmed_entries_are_gone_at_once_and_for_good),
        cmocka_unit_test(a_trim_stops_before_an_entry_that_it_does_not_cover),
        cmocka_unit_test(a_trim_that_failed_is_made_good_by_the_next),
        cmocka_unit_test(room_is_what_max_bytes_leaves),
        cmocka_unit_test(bounds_of_an_entry_are_checked),
        cmocka_unit_test(the_oldest_are_dropped_until_there_is_room),
        cmocka_unit_test(a_drop_whose_commit_fails_is_taken_back),
        cmocka_unit_test(a_gap_takes_the_place_of_what_was_dropped),
        cmocka_unit_test(a_range_is_replaced_whole_or_not_at_all),
        cmocka_unit_test(a_rebase_renumbers_what_is_kept_in_a_new_epoch),
        cmocka_unit_test(a_rebased_lane_goes_on_as_any_other),
        cmocka_unit_test(a_full_store_can_be_rebased),
        cmocka_unit_test(a_rebase_that_fails_leaves_the_old_epoch),
        cmocka_unit_test(a_rebase_waits_for_appends_and_is_not_mistaken_for_a_trim_before_it),
        cmocka_unit_test(lanes_share_a_table_without_touching_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
