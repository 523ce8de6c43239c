/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: letters survive a restart, are found by id, go when they are removed, are bounded, and a store that is full
 * takes one all the same. */
#include "core/base/json.h"
#include "tests/unit/cloud-bridge/sinks/drain.h"

static enum err last_result;
static unsigned done_count;

static void on_done(void *arg, enum err result)
{
    (void)arg;
    last_result = result;
    done_count++;
}

/* A letter of this number with a record of so many bytes. */
static enum err put(struct drain *d, uint64_t number, size_t bytes)
{
    static uint8_t record[WIRE_RECORD_MAX];
    struct sink_item item = {.forward = {.epoch = 7, .first = number, .last = number, .top = number, .lane = 1}};
    struct sink_refusals refusals = {.count = 0};
    struct sink_batch batch = {.items = &item, .count = 1, .refusals = &refusals};
    memset(record, 'r', sizeof(record));
    item.forward.record = slice_of(record, bytes);
    snprintf(item.forward.device, sizeof(item.forward.device), "pump");
    snprintf(item.forward.gateway, sizeof(item.forward.gateway), "gw");
    sink_refuse(&batch, 0, "too \"big\"\xc3");
    done_count = 0;
    enum err err = dead_put(d->dead, "pg", &batch, on_done, NULL);
    if (err == OK) {
        drain_run(d, SECOND_US);
        CHECK_INT(done_count, 1);
        err = last_result;
    }
    return err;
}

static void begin(struct drain *d, uint64_t bytes)
{
    drain_begin(d, 1, bytes);
    drain_open_store(d);
}

static void reopen(struct drain *d)
{
    drain_kill(d);
    drain_open_store(d);
}

static const char *list(struct drain *d)
{
    static struct buffer out;
    struct json j;
    buffer_deinit(&out);
    buffer_init(&out, 1 << 20);
    json_init(&j, &out);
    CHECK_OK(dead_list_json(d->dead, NULL, 0, 100, &j));
    buffer_put_u8(&out, '\0');
    CHECK_OK(buffer_err(&out));
    return (const char *)out.ptr;
}

static void a_letter_survives_a_restart_and_is_kept_once(void **state)
{
    (void)state;
    struct drain d;
    struct dead_letter letter;
    BUFFER(bytes, SPOOL_BODY_MAX);
    begin(&d, 8 << 20);
    CHECK_OK(put(&d, 5, 100));
    CHECK_OK(put(&d, 6, 100));
    CHECK_OK(put(&d, 5, 100));
    reopen(&d);
    CHECK_OK(put(&d, 6, 100));
    CHECK_INT(dead_count(d.dead, NULL), 2);
    CHECK_OK(dead_get(d.dead, 2, &bytes, &letter));
    CHECK_INT(letter.forward.first, 5);
    CHECK_INT(letter.forward.record.len, 100);
    CHECK_STR(letter.sink, "pg");
    CHECK_STR(letter.reason, "too \"big\""); /* what is not UTF-8 is cut */
    CHECK_INT(letter.attempts, 1);
    CHECK_CONTAINS(list(&d), "\"reason\":\"too \\\"big\\\"\"");
    CHECK_CONTAINS(list(&d), "\"count\":2,\"dropped\":0");
    CHECK(dead_has(d.dead, "pg", &letter.forward));
    CHECK(!dead_has(d.dead, "other", &letter.forward));
    drain_end(&d);
}

static void removed_letters_are_gone_also_after_a_restart(void **state)
{
    (void)state;
    struct drain d;
    begin(&d, 8 << 20);
    for (uint64_t n = 1; n <= 4; n++) {
        CHECK_OK(put(&d, n, 50)); /* ids 2..5 */
    }
    const uint64_t order[] = {3, 2, 5};
    for (size_t i = 0; i < COUNT_OF(order); i++) {
        CHECK_OK(dead_remove(d.dead, order[i], on_done, NULL));
        CHECK_ERR(dead_remove(d.dead, 4, on_done, NULL), ERR_AGAIN);
        drain_run(&d, SECOND_US);
        CHECK_OK(last_result);
        CHECK_ERR(dead_remove(d.dead, order[i], on_done, NULL), ERR_NOT_FOUND);
    }
    reopen(&d);
    CHECK_INT(dead_count(d.dead, NULL), 1);
    CHECK_OK(dead_remove(d.dead, 4, on_done, NULL));
    drain_run(&d, SECOND_US);
    CHECK_OK(last_result);
    CHECK_INT(dead_count(d.dead, NULL), 0);
    CHECK_OK(put(&d, 9, 50));
    reopen(&d);
    CHECK_INT(dead_count(d.dead, NULL), 1);
    drain_end(&d);
}

static void beyond_the_bound_the_oldest_go_and_are_counted_for_ever(void **state)
{
    (void)state;
    struct drain d;
    begin(&d, 8 << 20);
    for (uint64_t n = 1; n <= 20; n++) {
        CHECK_OK(put(&d, n, 20000)); /* the bound is 200 KiB */
    }
    CHECK(dead_count(d.dead, NULL) < 11);
    CHECK_INT(dead_count(d.dead, NULL) + dead_dropped(d.dead), 20);
    uint64_t dropped = dead_dropped(d.dead);
    CHECK_INT(dead_dropped_lately(d.dead), dropped);
    reopen(&d);
    CHECK_INT(dead_dropped(d.dead), dropped);
    CHECK_INT(dead_dropped_lately(d.dead), 0);
    CHECK_INT(dead_count(d.dead, NULL) + dropped, 20);
    drain_end(&d);
}

static void a_store_that_is_full_takes_a_letter_in_exchange_for_the_filler(void **state)
{
    (void)state;
    struct drain d;
    begin(&d, 1 << 20);
    for (bool full = false; !full;) { /* to the brim with something else */
        struct store_batch *batch;
        static uint8_t bytes[4000];
        static uint64_t key;
        key++;
        CHECK_OK(store_batch_new(d.store, &batch));
        CHECK_OK(store_put(batch, DRAIN_META, slice_of(&key, sizeof(key)), slice_of(bytes, sizeof(bytes))));
        CHECK_OK(store_commit(d.store, batch, on_done, NULL));
        drain_run(&d, SECOND_US);
        full = last_result == ERR_FULL;
    }
    CHECK_OK(put(&d, 1, 20000));
    CHECK_INT(dead_count(d.dead, NULL), 1);
    CHECK_INT(dead_dropped(d.dead), 0);
    reopen(&d);
    CHECK_INT(dead_count(d.dead, NULL), 1);
    drain_end(&d);
}

static void nothing_is_kept_when_the_disk_fails_and_the_next_try_works(void **state)
{
    (void)state;
    struct drain d;
    begin(&d, 8 << 20);
    store_disk_set_mode(d.disk, STORE_DISK_EIO);
    CHECK_ERR(put(&d, 1, 100), ERR_IO);
    CHECK_INT(dead_count(d.dead, NULL), 0);
    store_disk_set_mode(d.disk, STORE_DISK_OK);
    CHECK_OK(put(&d, 1, 100));
    CHECK_INT(dead_count(d.dead, NULL), 1);
    drain_end(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_letter_survives_a_restart_and_is_kept_once),
        cmocka_unit_test(removed_letters_are_gone_also_after_a_restart),
        cmocka_unit_test(beyond_the_bound_the_oldest_go_and_are_counted_for_ever),
        cmocka_unit_test(a_store_that_is_full_takes_a_letter_in_exchange_for_the_filler),
        cmocka_unit_test(nothing_is_kept_when_the_disk_fails_and_the_next_try_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
