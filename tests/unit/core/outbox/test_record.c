/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the outbox's record says from which top its epoch may have forked, and is always durable before what depends on
 * it: nothing above boot_top goes out before "answered" is on the disk.
 */
#include "tests/unit/core/outbox/bench.h"

static void begin(struct bench *b)
{
    bench_init(b, TABLE_META);
    bench_start(b);
    bench_run(b, 10 * MS_US);
}

static void connect(struct bench *b)
{
    outbox_connected(b->outbox);
    bench_run(b, 10 * MS_US);
}

static void restart(struct bench *b)
{
    bench_stop(b);
    bench_start(b);
    bench_run(b, 10 * MS_US);
}

static void the_first_start_of_an_epoch_holds_nothing_back(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    connect(&b);
    bench_append(&b, 3, 10);
    CHECK_INT(bench_last(&b)->header.last, 3);
    CHECK_INT(bench_last(&b)->header.boot_top, 0);
    bench_deinit(&b);
}

static void nothing_is_sent_before_the_record_is_durable(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    bench_append(&b, 3, 10);
    bench_stop(&b);
    bench_start(&b);
    outbox_connected(b.outbox);
    bench_run(&b, MS_US / 2);
    CHECK_INT(b.sent_count, 0);
    bench_run(&b, MS_US);
    CHECK_INT(b.sent_count, 1);
    bench_deinit(&b);
}

static void a_later_start_holds_what_is_new_until_it_is_answered_durably(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    bench_append(&b, 3, 10);
    restart(&b);
    bench_append(&b, 2, 10);
    connect(&b);
    CHECK_INT(b.sent_count, 1);
    CHECK(b.sent[0].header.last == 3 && b.sent[0].header.boot_top == 3 && b.sent[0].header.top == 5);
    outbox_answer(b.outbox, spool_epoch(b.spool), b.options.boot, WINDOW_ACCEPT, 3, 0);
    bench_run(&b, MS_US / 2);
    CHECK_INT(b.sent_count, 1); /* answered, not durable */
    bench_run(&b, 10 * MS_US);
    CHECK_INT(b.sent_count, 2);
    CHECK(b.sent[1].header.first == 4 && b.sent[1].header.last == 5);
    bench_deinit(&b);
}

static void a_drained_spool_still_says_hello(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    connect(&b);
    bench_append(&b, 3, 10);
    bench_answer(&b, WINDOW_ACCEPT, 3);
    bench_run(&b, 2 * SECOND_US);
    CHECK_INT(spool_trimmed(b.spool), 3);
    restart(&b);
    connect(&b);
    bench_append(&b, 2, 10); /* waits behind the hold */
    const struct bench_frame *f = bench_last(&b);
    CHECK(b.sent_count == 1 && f->header.first == 3 && f->header.last == 3 && f->header.base == 3);
    CHECK(f->header.has_hello && f->header.boot_top == 3);
    CHECK_STR(f->text[0], "gap");
    bench_run(&b, 2 * SECOND_US); /* lost: again */
    CHECK_INT(b.sent_count, 2);
    bench_answer(&b, WINDOW_DUPLICATE, 3);
    CHECK_INT(bench_last(&b)->header.first, 4);
    bench_deinit(&b);
}

static void a_range_across_the_hold_is_declared_up_to_it(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    connect(&b);
    bench_append(&b, 3, 10);
    bench_answer(&b, WINDOW_ACCEPT, 1);
    bench_run(&b, 2 * SECOND_US); /* trimmed */
    restart(&b);
    bench_append(&b, 2, 10);
    struct store_batch *batch = NULL;
    CHECK_OK(store_batch_new(b.store, &batch));
    CHECK_OK(spool_replace(b.spool, batch, 2, 5, slice_str("overflow"))); /* offline for long: the oldest went */
    bench_commit(&b, batch);
    bench_run(&b, 10 * MS_US);
    connect(&b);
    const struct bench_frame *f = bench_last(&b);
    CHECK(f->header.first == 2 && f->header.last == 3 && f->header.boot_top == 3);
    CHECK_STR(f->text[0], "gap");
    bench_answer(&b, WINDOW_ACCEPT, 3);
    f = bench_last(&b);
    CHECK(f->header.first == 2 && f->header.last == 5); /* whole; the receiver takes what is new of it */
    CHECK_STR(f->text[0], "overflo");
    bench_deinit(&b);
}

static void starts_that_nobody_heard_keep_the_first_ones_top(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    connect(&b);
    bench_append(&b, 3, 10);
    bench_answer(&b, WINDOW_ACCEPT, 2);
    restart(&b); /* 3 durable */
    bench_append(&b, 4, 10);
    restart(&b);
    bench_append(&b, 4, 10);
    restart(&b);
    connect(&b);
    CHECK(bench_last(&b)->header.boot_top == 3 && bench_last(&b)->header.last == 3);
    bench_answer(&b, WINDOW_ACCEPT, 3); /* heard */
    restart(&b);
    connect(&b);
    CHECK_INT(bench_last(&b)->header.boot_top, 11);
    bench_deinit(&b);
}

static void a_restored_image_is_found_out_though_it_started_twice(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    connect(&b);
    bench_append(&b, 5, 10);
    bench_answer(&b, WINDOW_ACCEPT, 5);
    struct store_disk *image = NULL;
    CHECK_OK(store_disk_clone(b.disk, &image));
    bench_append(&b, 5, 10);
    bench_answer(&b, WINDOW_ACCEPT, 10); /* the receiver has 10 of this history */
    bench_stop(&b);
    store_disk_free(b.disk);
    b.disk = image;
    bench_start(&b);
    bench_append(&b, 20, 10);
    restart(&b); /* 25 durable: its top alone would look honest */
    connect(&b);
    CHECK_INT(bench_last(&b)->header.boot_top, 5);
    bench_answer(&b, WINDOW_ROLLED_BACK, 10);
    CHECK_INT(b.keep_above, 5); /* all 20 of the restored history are kept */
    bench_deinit(&b);
}

static void a_new_epoch_after_a_roll_back_holds_nothing_back(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    bench_append(&b, 5, 10);
    restart(&b);
    bench_append(&b, 5, 10);
    connect(&b);
    bench_answer(&b, WINDOW_ROLLED_BACK, 9);
    CHECK_INT(b.keep_above, 5);
    uint64_t old = spool_epoch(b.spool);
    struct store_batch *batch = NULL;
    CHECK_OK(store_batch_new(b.store, &batch));
    CHECK_OK(spool_rebase(b.spool, batch, b.keep_above));
    bench_commit(&b, batch);
    bench_run(&b, 10 * MS_US);
    outbox_restart(b.outbox, old);
    bench_append(&b, 1, 10);
    CHECK(bench_last(&b)->header.first == 1 && bench_last(&b)->header.replaces == old);
    bench_answer(&b, WINDOW_ACCEPT, 5);
    CHECK_INT(bench_last(&b)->header.last, 6);
    restart(&b); /* the old record speaks of another epoch, the new one was answered */
    connect(&b);
    CHECK(bench_last(&b)->header.boot_top == 6 && bench_last(&b)->header.replaces == old);
    bench_deinit(&b);
}

static void a_disk_that_fails_delays_the_record_and_not_for_ever(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    bench_append(&b, 3, 10);
    bench_stop(&b);
    store_disk_set_mode(b.disk, STORE_DISK_EIO);
    bench_start(&b);
    connect(&b);
    bench_run(&b, 10 * SECOND_US);
    CHECK_INT(b.sent_count, 0);
    store_disk_set_mode(b.disk, STORE_DISK_OK);
    bench_run(&b, 2 * SECOND_US);
    CHECK(b.sent_count > 0);
    bench_deinit(&b);
}

static void a_damaged_record_is_as_an_answered_one(void **state)
{
    (void)state;
    struct bench b;
    begin(&b);
    bench_append(&b, 3, 10);
    struct store_batch *batch = NULL;
    CHECK_OK(store_batch_new(b.store, &batch));
    CHECK_OK(store_put(batch, TABLE_META, slice_of("outbox/\1", 8), slice_str("\1\1 and then nothing that fits")));
    CHECK_OK(store_commit(b.store, batch, NULL, NULL));
    bench_run(&b, 10 * MS_US);
    restart(&b);
    connect(&b);
    CHECK(bench_last(&b)->header.boot_top == 3 && bench_last(&b)->header.last == 3);
    bench_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_start_of_an_epoch_holds_nothing_back),
        cmocka_unit_test(nothing_is_sent_before_the_record_is_durable),
        cmocka_unit_test(a_later_start_holds_what_is_new_until_it_is_answered_durably),
        cmocka_unit_test(a_drained_spool_still_says_hello),
        cmocka_unit_test(a_range_across_the_hold_is_declared_up_to_it),
        cmocka_unit_test(starts_that_nobody_heard_keep_the_first_ones_top),
        cmocka_unit_test(a_restored_image_is_found_out_though_it_started_twice),
        cmocka_unit_test(a_new_epoch_after_a_roll_back_holds_nothing_back),
        cmocka_unit_test(a_disk_that_fails_delays_the_record_and_not_for_ever),
        cmocka_unit_test(a_damaged_record_is_as_an_answered_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
