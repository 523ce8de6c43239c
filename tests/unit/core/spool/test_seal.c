/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: no damaged entry is ever read as a good one, its range is known all the same, and encrypted entries are not
 * mistaken for damaged ones when the key is wrong.
 */
#include "core/spool/spool_internal.h"
#include "tests/unit/core/spool/world.h"

static const uint8_t key_one[CRYPT_KEY_BYTES] = {1}, key_two[CRYPT_KEY_BYTES] = {2};

static struct entry_key key_of(struct world *w, uint64_t last)
{
    return entry_key(1, spool_epoch(w->spool), last);
}

static void raw_get(struct world *w, uint64_t last, struct buffer *value)
{
    struct entry_key key = key_of(w, last);
    buffer_reset(value);
    CHECK_OK(store_get(w->store, WORLD_TABLE, entry_key_slice(&key), value));
}

/* Behind the spool's back. */
static void raw_put(struct world *w, unsigned table, struct slice key, struct slice value)
{
    struct store_batch *batch = world_batch(w);
    CHECK_OK(store_put(batch, table, key, value));
    CHECK_OK(world_commit(w, batch));
}

static void raw_delete(struct world *w, unsigned table, struct slice key)
{
    struct store_batch *batch = world_batch(w);
    CHECK_OK(store_delete(batch, table, key));
    CHECK_OK(world_commit(w, batch));
}

static void put_span_entries(struct world *w)
{
    struct store_batch *batch = world_batch(w);
    world_append(w, batch, 1, "a");
    world_append(w, batch, 3, "bcd");
    world_append(w, batch, 1, "e");
    CHECK_OK(world_commit(w, batch));
}

static void flip_every_bit(struct crypt_aead *aead)
{
    struct world w;
    world_begin(&w, aead);
    world_create(&w);
    put_span_entries(&w);
    BUFFER(value, 1024);
    raw_get(&w, 4, &value);
    struct entry_key key = key_of(&w, 4);
    for (size_t bit = 0; bit < 8 * value.len; bit++) {
        value.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
        raw_put(&w, WORLD_TABLE, entry_key_slice(&key), buffer_slice(&value));
        CHECK_STR(world_list(&w, 0), "1:a 2-4:! 5:e ");
        CHECK_STR(world_list(&w, 3), "2-4:! 5:e "); /* the range is known from in between as well */
        value.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t len = 0; len < value.len; len++) {
        raw_put(&w, WORLD_TABLE, entry_key_slice(&key), slice_of(value.ptr, len));
        CHECK_STR(world_list(&w, 0), "1:a 2-4:! 5:e ");
    }
    buffer_put_u8(&value, 0);
    raw_put(&w, WORLD_TABLE, entry_key_slice(&key), buffer_slice(&value));
    CHECK_STR(world_list(&w, 0), "1:a 2-4:! 5:e ");
    value.len--;
    raw_put(&w, WORLD_TABLE, entry_key_slice(&key), buffer_slice(&value));
    CHECK_STR(world_list(&w, 0), "1:a 2-4:bcd 5:e ");
    world_end(&w);
}

static void every_flipped_bit_of_a_plain_entry_is_noticed(void **state)
{
    (void)state;
    flip_every_bit(NULL);
}

static void every_flipped_bit_of_an_encrypted_entry_is_noticed(void **state)
{
    (void)state;
    CLEANUP(crypt_aead_freep) struct crypt_aead *aead = NULL;
    CHECK_OK(crypt_aead_new(key_one, &aead));
    flip_every_bit(aead);
}

static void an_entry_that_was_moved_is_noticed(void **state)
{
    (void)state;
    CLEANUP(crypt_aead_freep) struct crypt_aead *aead = NULL;
    CHECK_OK(crypt_aead_new(key_one, &aead));
    for (int sealed = 0; sealed < 2; sealed++) {
        struct world w;
        world_begin(&w, sealed ? aead : NULL);
        world_create(&w);
        world_fill(&w, "abcd");
        BUFFER(value, 1024);
        raw_get(&w, 2, &value);
        struct entry_key key = key_of(&w, 3);
        raw_put(&w, WORLD_TABLE, entry_key_slice(&key), buffer_slice(&value));
        CHECK_STR(world_list(&w, 0), "1:a 2:b 3:! 4:d ");
        world_end(&w);
    }
}

static void an_entry_of_an_earlier_epoch_is_not_taken_for_one_of_this(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    world_create(&w);
    world_fill(&w, "abc");
    BUFFER(value, 1024);
    raw_get(&w, 2, &value);
    struct store_batch *batch = world_batch(&w);
    CHECK_OK(spool_rebase(w.spool, batch, 3)); /* nothing is kept: the same numbers again, in other keys */
    CHECK_OK(world_commit(&w, batch));
    world_fill(&w, "xyz");
    CHECK_STR(world_list(&w, 0), "1:x 2:y 3:z ");
    struct entry_key key = key_of(&w, 2);
    raw_put(&w, WORLD_TABLE, entry_key_slice(&key), buffer_slice(&value));
    CHECK_STR(world_list(&w, 0), "1:x 2:! 3:z ");
    world_end(&w);
}

static void an_entry_that_is_missing_is_a_damaged_range(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    world_create(&w);
    put_span_entries(&w);
    struct entry_key middle = key_of(&w, 4), end = key_of(&w, 5);
    raw_delete(&w, WORLD_TABLE, entry_key_slice(&middle));
    CHECK_STR(world_list(&w, 0), "1:a 2-4:! 5:e ");
    CHECK_STR(world_list(&w, 3), "2-4:! 5:e ");
    raw_delete(&w, WORLD_TABLE, entry_key_slice(&end));
    CHECK_STR(world_list(&w, 0), "1:a 2-5:! ");
    CHECK_STR(world_list(&w, 5), "5:! ");
    struct store_batch *batch = world_batch(&w);
    CHECK_OK(spool_trim(w.spool, batch, 1));
    CHECK_OK(world_commit(&w, batch));
    CHECK_STR(world_list(&w, 0), "2-5:! ");
    world_end(&w);
}

static void damage_in_a_row_is_reported_entry_by_entry(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    world_create(&w);
    world_fill(&w, "abcdefghijklmnopqrst");
    for (uint64_t n = 3; n <= 19; n++) {
        struct entry_key key = key_of(&w, n);
        raw_put(&w, WORLD_TABLE, entry_key_slice(&key), slice_str("junk"));
    }
    CHECK_STR(world_list(&w, 0), "1:a 2:b 3:! 4:! 5:! 6:! 7:! 8:! 9:! 10:! 11:! 12:! 13:! 14:! 15:! 16:! 17:! 18:! "
                                 "19:! 20:t ");
    CHECK_STR(world_list(&w, 18), "18:! 19:! 20:t ");
    world_end(&w);
}

static void a_damaged_entry_can_be_trimmed_replaced_and_rebased(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    world_create(&w);
    world_fill(&w, "abcdef");
    for (uint64_t n = 2; n <= 4; n++) {
        struct entry_key key = key_of(&w, n);
        raw_put(&w, WORLD_TABLE, entry_key_slice(&key), slice_str("junk"));
    }
    struct store_batch *batch = world_batch(&w);
    CHECK_OK(spool_trim(w.spool, batch, 2));
    CHECK_OK(world_commit(&w, batch));
    CHECK_STR(world_list(&w, 0), "3:! 4:! 5:e 6:f ");
    batch = world_batch(&w);
    CHECK_OK(spool_replace(w.spool, batch, 3, 3, slice_str("gap")));
    CHECK_OK(world_commit(&w, batch));
    CHECK_STR(world_list(&w, 0), "3:gap 4:! 5:e 6:f ");
    batch = world_batch(&w);
    CHECK_OK(spool_rebase(w.spool, batch, 3));
    CHECK_OK(world_commit(&w, batch));
    CHECK_STR(world_list(&w, 0), "1:! 2:e 3:f ");
    world_restart(&w);
    CHECK_STR(world_list(&w, 0), "1:! 2:e 3:f ");
    world_end(&w);
}

static void a_damaged_record_of_the_lane_is_put_together_again(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    world_create(&w);
    world_fill(&w, "abcd");
    struct store_batch *batch = world_batch(&w);
    CHECK_OK(spool_trim(w.spool, batch, 2));
    CHECK_OK(world_commit(&w, batch));
    uint64_t epoch = spool_epoch(w.spool);
    BUFFER(record, 64);
    CHECK_OK(store_get(w.store, WORLD_META, slice_str("spool/\1"), &record));
    for (size_t bit = 0; bit < 8 * record.len; bit++) {
        record.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
        raw_put(&w, WORLD_META, slice_str("spool/\1"), buffer_slice(&record));
        record.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
        world_restart(&w);
        CHECK(spool_repaired(w.spool));
        CHECK(spool_epoch(w.spool) == epoch);
        CHECK_INT(spool_trimmed(w.spool), 2);
        CHECK_STR(world_list(&w, 0), "3:c 4:d ");
    }
    raw_delete(&w, WORLD_META, slice_str("spool/\1"));
    world_restart(&w);
    CHECK(spool_repaired(w.spool) && spool_epoch(w.spool) == epoch && spool_next(w.spool) == 5);
    batch = world_batch(&w);
    CHECK_OK(spool_trim(w.spool, batch, 3)); /* writes it anew */
    CHECK_OK(world_commit(&w, batch));
    world_restart(&w);
    CHECK(!spool_repaired(w.spool));
    CHECK_STR(world_list(&w, 0), "4:d ");
    world_end(&w);
}

/* The keys of a rebased lane tell an epoch that is over: its record must not be lost with one flipped bit. */
static void a_damaged_record_of_a_rebased_lane_is_read_from_its_copy(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    world_create(&w);
    world_fill(&w, "abcdef");
    struct store_batch *batch = world_batch(&w);
    CHECK_OK(spool_rebase(w.spool, batch, 2));
    CHECK_OK(world_commit(&w, batch));
    batch = world_batch(&w);
    CHECK_OK(spool_trim(w.spool, batch, 1));
    CHECK_OK(world_commit(&w, batch));
    uint64_t epoch = spool_epoch(w.spool), origin = spool_origin(w.spool);
    const char *const keys[] = {"spool/\1", "spool+\1"};
    for (size_t which = 0; which < COUNT_OF(keys); which++) {
        BUFFER(record, 64);
        CHECK_OK(store_get(w.store, WORLD_META, slice_str(keys[which]), &record));
        for (size_t bit = 0; bit <= 8 * record.len; bit++) { /* the last time: whole again */
            if (bit < 8 * record.len) {
                record.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
            }
            raw_put(&w, WORLD_META, slice_str(keys[which]), buffer_slice(&record));
            if (bit < 8 * record.len) {
                record.ptr[bit / 8] ^= (uint8_t)(1u << bit % 8);
            }
            world_restart(&w);
            CHECK_INT(spool_repaired(w.spool), which == 0 && bit < 8 * record.len);
            CHECK(spool_epoch(w.spool) == epoch && spool_origin(w.spool) == origin);
            CHECK_INT(spool_trimmed(w.spool), 1);
            CHECK_STR(world_list(&w, 0), "2:d 3:e 4:f ");
        }
    }
    batch = world_batch(&w);
    CHECK_OK(spool_rebase(w.spool, batch, 99)); /* nothing is kept: no copy is needed any more */
    CHECK_OK(world_commit(&w, batch));
    BUFFER(copy, 64);
    CHECK_ERR(store_get(w.store, WORLD_META, slice_str("spool+\1"), &copy), ERR_NOT_FOUND);
    world_end(&w);
}

static void a_record_of_a_later_version_is_refused(void **state)
{
    (void)state;
    struct world w;
    world_begin(&w, NULL);
    world_create(&w);
    BUFFER(record, 64);
    CHECK_OK(store_get(w.store, WORLD_META, slice_str("spool/\1"), &record));
    record.ptr[0] = 3;
    uint32_t crc = crypt_crc32c(crypt_crc32c(0, "spool/\1", 7), record.ptr, record.len - 4);
    memcpy(record.ptr + record.len - 4, &crc, 4);
    raw_put(&w, WORLD_META, slice_str("spool/\1"), buffer_slice(&record));
    world_crash(&w);
    CHECK_ERR(world_try_open(&w), ERR_UNSUPPORTED);
    CHECK_CONTAINS(w.fault.text, "later version");
    world_end(&w);
}

static void a_missing_or_wrong_key_is_an_error_and_no_damage(void **state)
{
    (void)state;
    CLEANUP(crypt_aead_freep) struct crypt_aead *one = NULL, *two = NULL;
    CHECK_OK(crypt_aead_new(key_one, &one));
    CHECK_OK(crypt_aead_new(key_two, &two));
    struct world w;
    world_begin(&w, one);
    world_create(&w);
    world_fill(&w, "secret");
    world_restart(&w);
    CHECK_STR(world_list(&w, 6), "6:t ");
    world_crash(&w);
    w.aead = NULL;
    CHECK_ERR(world_try_open(&w), ERR_DENIED);
    CHECK_CONTAINS(w.fault.text, "no key is given");
    w.aead = two;
    CHECK_ERR(world_try_open(&w), ERR_DENIED);
    CHECK_CONTAINS(w.fault.text, "another key");
    w.aead = one;
    CHECK_OK(world_try_open(&w));
    CHECK_STR(world_list(&w, 6), "6:t ");
    world_end(&w);
}

static void a_body_is_not_readable_in_the_store_when_it_is_encrypted(void **state)
{
    (void)state;
    CLEANUP(crypt_aead_freep) struct crypt_aead *aead = NULL;
    CHECK_OK(crypt_aead_new(key_one, &aead));
    for (int sealed = 0; sealed < 2; sealed++) {
        struct world w;
        world_begin(&w, sealed ? aead : NULL);
        world_create(&w);
        struct store_batch *batch = world_batch(&w);
        world_append(&w, batch, 1, "pressure 4.2 bar");
        CHECK_OK(world_commit(&w, batch));
        BUFFER(value, 256);
        raw_get(&w, 1, &value);
        CHECK_INT(memmem(value.ptr, value.len, "pressure", 8) == NULL, sealed);
        world_end(&w);
    }
}

static void encryption_may_be_turned_on_for_a_lane_that_exists(void **state)
{
    (void)state;
    CLEANUP(crypt_aead_freep) struct crypt_aead *aead = NULL;
    CHECK_OK(crypt_aead_new(key_one, &aead));
    struct world w;
    world_begin(&w, NULL);
    world_create(&w);
    world_fill(&w, "ab");
    w.aead = aead;
    world_restart(&w);
    world_fill(&w, "cd");
    CHECK_STR(world_list(&w, 0), "1:a 2:b 3:c 4:d ");
    world_crash(&w);
    w.aead = NULL;
    CHECK_ERR(world_try_open(&w), ERR_DENIED); /* the newest entry tells */
    w.aead = aead;
    CHECK_OK(world_try_open(&w));
    struct store_batch *batch = world_batch(&w);
    CHECK_OK(spool_rebase(w.spool, batch, 1));
    CHECK_OK(world_commit(&w, batch));
    CHECK_STR(world_list(&w, 0), "1:b 2:c 3:d ");
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flipped_bit_of_a_plain_entry_is_noticed),
        cmocka_unit_test(every_flipped_bit_of_an_encrypted_entry_is_noticed),
        cmocka_unit_test(an_entry_that_was_moved_is_noticed),
        cmocka_unit_test(an_entry_of_an_earlier_epoch_is_not_taken_for_one_of_this),
        cmocka_unit_test(an_entry_that_is_missing_is_a_damaged_range),
        cmocka_unit_test(damage_in_a_row_is_reported_entry_by_entry),
        cmocka_unit_test(a_damaged_entry_can_be_trimmed_replaced_and_rebased),
        cmocka_unit_test(a_damaged_record_of_the_lane_is_put_together_again),
        cmocka_unit_test(a_damaged_record_of_a_rebased_lane_is_read_from_its_copy),
        cmocka_unit_test(a_record_of_a_later_version_is_refused),
        cmocka_unit_test(a_missing_or_wrong_key_is_an_error_and_no_damage),
        cmocka_unit_test(a_body_is_not_readable_in_the_store_when_it_is_encrypted),
        cmocka_unit_test(encryption_may_be_turned_on_for_a_lane_that_exists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
