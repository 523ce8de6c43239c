/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the queue keeps records in order through failed and successful commits, and never moves one that is in hand.
 */
#include "device/report/queue.h"

#include "tests/support/check.h"

static void put(struct queue *q, uint8_t lane, const char *text)
{
    CHECK_OK(queue_put(q, lane, slice_str(text)));
}

static void expect_next(struct queue *q, uint8_t lane, const char *text)
{
    uint8_t of;
    struct slice body;
    CHECK(queue_next(q, &of, &body));
    CHECK_INT(of, lane);
    CHECK(slice_equal(body, slice_str(text)));
}

static void records_come_out_in_order_and_go_with_the_commit(void **state)
{
    (void)state;
    struct queue q;
    uint8_t lane;
    struct slice body;
    unsigned count;
    CHECK_OK(queue_init(&q, 16, 100));
    put(&q, 1, "one");
    put(&q, 0, "alarm");
    put(&q, 1, "two");
    CHECK_INT(queue_waiting(&q, 1, &count), 6);
    CHECK_INT(count, 2);
    expect_next(&q, 1, "one");
    expect_next(&q, 0, "alarm");
    CHECK_INT(queue_waiting(&q, 1, &count), 3);
    put(&q, 1, "three");
    queue_commit(&q);
    CHECK_INT(q.count[1], 2);
    CHECK_INT(q.count[0], 0);
    expect_next(&q, 1, "two");
    expect_next(&q, 1, "three");
    CHECK(!queue_next(&q, &lane, &body));
    queue_commit(&q);
    CHECK(queue_empty(&q));
    queue_deinit(&q);
}

static void a_failed_commit_leaves_everything_where_it_was(void **state)
{
    (void)state;
    struct queue q;
    uint8_t lane;
    struct slice body;
    CHECK_OK(queue_init(&q, 16, 100));
    put(&q, 1, "one");
    put(&q, 1, "two");
    expect_next(&q, 1, "one");
    queue_rewind(&q);
    CHECK_INT(q.marked[1], 0);
    expect_next(&q, 1, "one");
    CHECK(queue_next(&q, &lane, &body));
    queue_unnext(&q, lane, body);
    CHECK_INT(q.marked[1], 1);
    queue_commit(&q);
    expect_next(&q, 1, "two");
    queue_deinit(&q);
}

static void the_bound_holds_and_freed_room_is_used_again(void **state)
{
    (void)state;
    struct queue q;
    CHECK_OK(queue_init(&q, 8, 40));
    CHECK_INT(queue_room(&q), 32);
    put(&q, 1, "0123456789");
    put(&q, 1, "abcdefghij");
    CHECK_INT(queue_room(&q), 0);
    CHECK_ERR(queue_put(&q, 1, slice_str("x")), ERR_FULL);
    for (unsigned i = 0; i < 100; i++) { /* the bytes wander through the block and are moved to its front */
        char text[24];
        snprintf(text, sizeof text, "round %4u", i - 2);
        expect_next(&q, 1, i == 0 ? "0123456789" : i == 1 ? "abcdefghij" : text);
        queue_commit(&q);
        snprintf(text, sizeof text, "round %4u", i);
        put(&q, 1, text);
    }
    queue_deinit(&q);
}

static void what_is_reserved_fits_and_memory_goes_when_the_queue_is_empty(void **state)
{
    (void)state;
    struct queue q;
    CHECK_OK(queue_init(&q, 16, 100));
    CHECK(queue_reserve(&q, 40));
    size_t grown = q.cap;
    CHECK(grown >= 48 && grown <= 100);
    put(&q, 1, "0123456789012345678901234567890123456789");
    CHECK_INT(q.cap, grown); /* a put within what was reserved needs no memory */
    CHECK(queue_reserve(&q, 44));
    CHECK(!queue_reserve(&q, 45)); /* above the bound */
    CHECK_INT(q.cap, 100);
    expect_next(&q, 1, "0123456789012345678901234567890123456789");
    queue_commit(&q);
    CHECK_INT(q.cap, 16);
    queue_deinit(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_out_in_order_and_go_with_the_commit),
        cmocka_unit_test(a_failed_commit_leaves_everything_where_it_was),
        cmocka_unit_test(the_bound_holds_and_freed_room_is_used_again),
        cmocka_unit_test(what_is_reserved_fits_and_memory_goes_when_the_queue_is_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
