/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: an outbox sends what is durable, in order and whole, in frames of bounded size; stands still when the bus does;
 * trims only what was acknowledged, and lazily; and hands a closed epoch to its owner exactly once.
 */
#include "tests/unit/core/outbox/bench.h"

static void nothing_is_sent_before_it_is_durable_and_connected(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 0);
    bench_start(&b);
    bench_append(&b, 3, 10);
    CHECK_INT(b.sent_count, 0);
    outbox_connected(b.outbox);
    bench_run(&b, MS_US / 2);
    CHECK_INT(b.sent_count, 1);
    CHECK(b.sent[0].header.first == 1 && b.sent[0].header.last == 3 && b.sent[0].header.base == 1);
    CHECK(b.sent[0].header.has_hello && b.sent[0].header.boot_top == 0 && b.sent[0].header.boot_seq == 1);
    CHECK_STR(b.sent[0].text[1], "2......");
    bench_answer(&b, WINDOW_ACCEPT, 3);
    struct store_batch *batch = NULL;
    uint64_t first;
    CHECK_OK(store_batch_new(b.store, &batch));
    CHECK_OK(spool_append(b.spool, batch, 1, slice_str("4"), &first));
    bench_commit(&b, batch);
    bench_run(&b, MS_US / 2); /* the commit takes 1 ms */
    CHECK_INT(b.sent_count, 1);
    bench_run(&b, MS_US);
    CHECK_INT(b.sent_count, 2);
    CHECK(b.sent[1].header.first == 4 && !b.sent[1].header.has_hello);
    bench_deinit(&b);
}

static void frames_are_bounded_by_entries_and_bytes_and_a_large_entry_goes_alone(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 0);
    bench_start(&b);
    bench_append(&b, 12, 20);   /* 1..12: ten, then two with the next */
    bench_append(&b, 3, 400);   /* 13..15 */
    bench_append(&b, 1, 5000);  /* 16: larger than a frame */
    bench_append(&b, 1, 20);    /* 17 */
    outbox_connected(b.outbox);
    bench_run(&b, MS_US);
    bench_answer(&b, WINDOW_ACCEPT, 10);
    bench_answer(&b, WINDOW_ACCEPT, 17 - 1);
    CHECK_INT(b.sent_count, 5);
    const uint64_t lasts[] = {10, 14, 15, 16, 17};
    for (size_t i = 0; i < COUNT_OF(lasts); i++) {
        CHECK_INT(b.sent[i].header.last, lasts[i]);
        CHECK(b.sent[i].bytes <= 1000 || b.sent[i].count == 1);
    }
    CHECK_INT(b.sent[3].bytes, 5000);
    bench_deinit(&b);
}

static void a_bus_that_takes_no_more_is_left_alone_until_the_kick(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 0);
    bench_start(&b);
    bench_append(&b, 3, 10);
    b.send_result = ERR_AGAIN;
    outbox_connected(b.outbox);
    bench_run(&b, HOUR_US);
    b.send_result = OK;
    bench_run(&b, HOUR_US);
    CHECK_INT(b.sent_count, 0);
    outbox_kick(b.outbox);
    bench_run(&b, MS_US);
    CHECK_INT(b.sent_count, 1);
    b.send_result = ERR_IO; /* no promise of a kick after that */
    bench_run(&b, 5 * SECOND_US);
    b.send_result = OK;
    bench_run(&b, 5 * SECOND_US);
    CHECK(b.sent_count >= 2);
    bench_deinit(&b);
}

static void a_silent_receiver_is_asked_again_by_the_clock(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 0);
    bench_start(&b);
    bench_append(&b, 3, 10);
    outbox_connected(b.outbox);
    bench_run(&b, 10 * MINUTE_US);
    CHECK(b.sent_count > 10 && b.sent_count < 20); /* 1, 2, 4, .. 60, 60, .. seconds */
    outbox_disconnected(b.outbox);
    size_t before = b.sent_count;
    bench_run(&b, DAY_US);
    CHECK_INT(b.sent_count, before);
    CHECK_INT(outbox_acked(b.outbox), 0);
    CHECK_INT(spool_trimmed(b.spool), 0);
    bench_deinit(&b);
}

static void answers_to_other_epochs_and_boots_are_ignored(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 0);
    bench_start(&b);
    bench_append(&b, 3, 10);
    outbox_connected(b.outbox);
    bench_run(&b, MS_US);
    uint64_t epoch = spool_epoch(b.spool);
    outbox_answer(b.outbox, epoch + 1, b.options.boot, WINDOW_ACCEPT, 3, 0);
    outbox_answer(b.outbox, epoch, b.options.boot + 1, WINDOW_ACCEPT, 3, 0);
    outbox_answer(b.outbox, epoch, b.options.boot + 1, WINDOW_ROLLED_BACK, 3, 0);
    CHECK_INT(outbox_acked(b.outbox), 0);
    CHECK_INT(b.rolled_back, 0);
    outbox_answer(b.outbox, epoch, b.options.boot, WINDOW_ACCEPT, 3, 0);
    CHECK_INT(outbox_acked(b.outbox), 3);
    CHECK_INT(b.acked, 3);
    bench_deinit(&b);
}

/* Overwrites or deletes the entry with this last number behind the spool's back. */
static void harm(struct bench *b, uint64_t last, bool delete)
{
    uint8_t key[17] = {BENCH_LANE};
    uint64_t epoch_be = __builtin_bswap64(spool_epoch(b->spool)), last_be = __builtin_bswap64(last);
    memcpy(key + 1, &epoch_be, 8);
    memcpy(key + 9, &last_be, 8);
    struct store_batch *batch = NULL;
    CHECK_OK(store_batch_new(b->store, &batch));
    struct slice k = slice_of(key, sizeof(key));
    CHECK_OK(delete ? store_delete(batch, TABLE_SPOOL, k)
                    : store_put(batch, TABLE_SPOOL, k, slice_str("\1\0\0\0nonsense, no entry")));
    CHECK_OK(store_commit(b->store, batch, NULL, NULL));
    bench_run(b, 10 * MS_US);
}

static void what_the_spool_has_lost_is_declared_and_the_rest_goes_on(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 0);
    bench_start(&b);
    bench_append(&b, 9, 10);
    harm(&b, 3, false);
    harm(&b, 6, true);
    harm(&b, 7, true);
    outbox_connected(b.outbox);
    bench_run(&b, MS_US);
    const struct bench_frame *f = bench_last(&b);
    CHECK(f->header.first == 1 && f->header.last == 9);
    for (size_t i = 0; i < f->count; i++) {
        bool lost = (f->first[i] <= 3 && f->last[i] >= 3) || (f->first[i] <= 7 && f->last[i] >= 6);
        CHECK_INT(strncmp(f->text[i], "gap", 3) == 0, lost);
        CHECK(!lost || (f->first[i] == 3 && f->last[i] == 3) || (f->first[i] >= 6 && f->last[i] <= 7));
    }
    CHECK(b.damaged >= 2);
    bench_deinit(&b);
}

static void a_range_is_sent_whole_also_when_its_beginning_is_acknowledged(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 0);
    bench_start(&b);
    bench_append(&b, 2, 10);
    struct store_batch *batch = NULL;
    uint64_t first;
    CHECK_OK(store_batch_new(b.store, &batch));
    CHECK_OK(spool_append(b.spool, batch, 1000, slice_str("range"), &first));
    CHECK_OK(spool_append(b.spool, batch, 1, slice_str("after"), &first));
    bench_commit(&b, batch);
    bench_run(&b, 10 * MS_US);
    outbox_connected(b.outbox);
    bench_run(&b, MS_US);
    CHECK_INT(bench_last(&b)->header.last, 1003);
    bench_answer(&b, WINDOW_ACCEPT, 500);
    CHECK_INT(outbox_acked(b.outbox), 500);
    bench_run(&b, 2 * SECOND_US); /* timeout */
    const struct bench_frame *f = bench_last(&b);
    CHECK(f->header.first == 3 && f->header.last == 1003 && f->header.base == 3);
    CHECK_STR(f->text[0], "range");
    CHECK_INT(spool_trimmed(b.spool), 2);
    bench_answer(&b, WINDOW_ACCEPT, 1003);
    bench_run(&b, 2 * SECOND_US);
    CHECK_INT(spool_trimmed(b.spool), 1003);
    bench_deinit(&b);
}

static void trims_are_lazy(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 0);
    b.spool_max_bytes = 1 << 20;
    b.options.frame_entries = 64;
    b.options.frame_bytes = 1 << 20;
    bench_start(&b);
    bench_append(&b, 400, 10);
    outbox_connected(b.outbox);
    bench_run(&b, MS_US);
    bench_answer(&b, WINDOW_ACCEPT, 64);
    CHECK_INT(spool_trimmed(b.spool), 0);
    bench_run(&b, SECOND_US);
    CHECK_INT(spool_trimmed(b.spool), 64); /* a second later */
    bench_answer(&b, WINDOW_ACCEPT, 319);
    CHECK_INT(spool_trimmed(b.spool), 64);
    bench_answer(&b, WINDOW_ACCEPT, 320); /* 256 behind: at once */
    CHECK_INT(spool_trimmed(b.spool), 320);
    struct store_usage usage;
    store_usage(b.store, &usage);
    uint64_t commits = usage.commits;
    bench_answer(&b, WINDOW_ACCEPT, 321);
    bench_answer(&b, WINDOW_ACCEPT, 330);
    bench_run(&b, 10 * SECOND_US);
    store_usage(b.store, &usage);
    CHECK_INT(usage.commits, commits + 1); /* several acks, one commit */
    CHECK_INT(spool_trimmed(b.spool), 330);
    bench_deinit(&b);
}

static void a_spool_that_is_half_full_is_trimmed_at_once(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 0);
    b.spool_max_bytes = 10000;
    bench_start(&b);
    bench_append(&b, 60, 100);
    CHECK(spool_bytes(b.spool) > spool_room(b.spool));
    outbox_connected(b.outbox);
    bench_run(&b, MS_US);
    uint64_t last = bench_last(&b)->header.last;
    outbox_answer(b.outbox, spool_epoch(b.spool), b.options.boot, WINDOW_ACCEPT, last, 0);
    CHECK_INT(spool_trimmed(b.spool), last);
    bench_deinit(&b);
}

static struct store_batch *shared_batch;
static struct store_batch *give_shared_batch(void *arg)
{
    struct bench *b = arg;
    b->trim_batches++;
    return shared_batch;
}

static void trims_go_into_the_owners_batch_when_it_gives_one(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 0);
    b.handlers.batch = give_shared_batch;
    bench_start(&b);
    bench_append(&b, 5, 10);
    CHECK_OK(store_batch_new(b.store, &shared_batch));
    outbox_connected(b.outbox);
    bench_run(&b, MS_US);
    bench_answer(&b, WINDOW_ACCEPT, 5);
    bench_run(&b, 2 * SECOND_US);
    CHECK_INT(b.trim_batches, 1);
    CHECK(store_batch_ops(shared_batch) > 0);
    CHECK_INT(spool_trimmed(b.spool), 5);
    bench_commit(&b, shared_batch);
    bench_stop(&b); /* before the commit: the trim is undone by the crash */
    b.handlers.batch = NULL;
    bench_start(&b);
    CHECK_INT(spool_trimmed(b.spool), 0);
    bench_deinit(&b);
}

static void a_closed_epoch_is_handed_over_once_and_begun_anew(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 0);
    bench_start(&b);
    bench_append(&b, 8, 10);
    bench_stop(&b);
    bench_start(&b); /* an old image: 8 were durable, the receiver has 20 */
    bench_append(&b, 4, 10);
    outbox_connected(b.outbox);
    bench_run(&b, MS_US);
    uint64_t old = spool_epoch(b.spool);
    bench_answer(&b, WINDOW_ROLLED_BACK, 20);
    bench_answer(&b, WINDOW_ROLLED_BACK, 20);
    CHECK_INT(b.rolled_back, 1);
    CHECK_INT(b.keep_above, 8);
    size_t before = b.sent_count;
    bench_run(&b, MINUTE_US);
    CHECK_INT(b.sent_count, before);
    struct store_batch *batch = NULL;
    CHECK_OK(store_batch_new(b.store, &batch));
    CHECK_OK(spool_rebase(b.spool, batch, b.keep_above));
    bench_commit(&b, batch);
    bench_run(&b, 10 * MS_US);
    outbox_restart(b.outbox, old);
    bench_run(&b, MS_US);
    const struct bench_frame *f = bench_last(&b);
    CHECK(b.sent_count == before + 1 && f->header.epoch != old && f->header.replaces == old);
    CHECK(f->header.first == 1 && f->header.last == 4 && f->header.has_hello && f->header.boot_top == 4);
    CHECK_STR(f->text[0], "9......");
    bench_answer(&b, WINDOW_ACCEPT, 4);
    CHECK_INT(outbox_acked(b.outbox), 4);
    bench_deinit(&b);
}

static void a_crash_between_roll_back_and_rebase_asks_again(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 0);
    bench_start(&b);
    bench_append(&b, 8, 10);
    outbox_connected(b.outbox);
    bench_run(&b, MS_US);
    bench_answer(&b, WINDOW_ROLLED_BACK, 5);
    CHECK_INT(b.rolled_back, 1);
    bench_stop(&b);
    bench_start(&b);
    outbox_connected(b.outbox);
    bench_run(&b, MS_US);
    CHECK(bench_last(&b)->header.has_hello && bench_last(&b)->header.boot_seq == 2);
    bench_answer(&b, WINDOW_ROLLED_BACK, 5);
    CHECK_INT(b.rolled_back, 2);
    CHECK_INT(b.keep_above, 5);
    bench_deinit(&b);
}

/* Of four entries the second and third go out as one letter, joined; the others as they are. */
static enum err in_other_words(void *arg, const struct spool_entry *entry, struct slice before, bool *ret_joined,
                               struct buffer *out)
{
    (void)arg;
    *ret_joined = entry->last % 4 == 3 && before.len == 1;
    if (entry->last % 4 >= 2) {
        buffer_put_u8(out, *ret_joined ? 'j' : 's');
    } else {
        buffer_put_slice(out, entry->body);
    }
    return buffer_err(out);
}

static void what_goes_out_for_an_entry_is_the_owners_to_say(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b, 0);
    b.handlers.on_entry = in_other_words;
    bench_start(&b);
    bench_append(&b, 8, 100); /* 1, 2+3, 4, 5, 6+7, 8 */
    outbox_connected(b.outbox);
    bench_run(&b, MS_US);
    CHECK_INT(b.sent_count, 1);
    CHECK_INT(b.sent[0].count, 6);
    CHECK_INT(b.sent[0].header.last, 8);
    CHECK_STR(b.sent[0].text[1], "j");
    CHECK(b.sent[0].first[1] == 2 && b.sent[0].last[1] == 3 && b.sent[0].first[2] == 4);
    CHECK_STR(b.sent[0].text[2], "4......");
    CHECK_INT(b.sent[0].bytes, 4 * 100 + 2);
    bench_append(&b, 12, 300); /* bounded by what goes out, not by what is stored: 9, 10+11, 12 and 13, 14+15, .. */
    bench_answer(&b, WINDOW_ACCEPT, 8);
    bench_answer(&b, WINDOW_ACCEPT, b.sent[1].header.last);
    bench_answer(&b, WINDOW_ACCEPT, 20);
    CHECK_INT(b.sent[1].header.first, 9);
    CHECK_INT(b.sent[1].header.last, 15);
    CHECK_INT(b.sent[1].bytes, 3 * 300 + 2);
    CHECK_INT(outbox_acked(b.outbox), 20);
    bench_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_sent_before_it_is_durable_and_connected),
        cmocka_unit_test(frames_are_bounded_by_entries_and_bytes_and_a_large_entry_goes_alone),
        cmocka_unit_test(a_bus_that_takes_no_more_is_left_alone_until_the_kick),
        cmocka_unit_test(a_silent_receiver_is_asked_again_by_the_clock),
        cmocka_unit_test(answers_to_other_epochs_and_boots_are_ignored),
        cmocka_unit_test(what_the_spool_has_lost_is_declared_and_the_rest_goes_on),
        cmocka_unit_test(a_range_is_sent_whole_also_when_its_beginning_is_acknowledged),
        cmocka_unit_test(trims_are_lazy),
        cmocka_unit_test(what_goes_out_for_an_entry_is_the_owners_to_say),
        cmocka_unit_test(a_spool_that_is_half_full_is_trimmed_at_once),
        cmocka_unit_test(trims_go_into_the_owners_batch_when_it_gives_one),
        cmocka_unit_test(a_closed_epoch_is_handed_over_once_and_begun_anew),
        cmocka_unit_test(a_crash_between_roll_back_and_rebase_asks_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
