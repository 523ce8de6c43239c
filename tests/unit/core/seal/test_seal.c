/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a value comes back as it was put, from a table that a store did not have when it was made; not a bit of it, nor its
 * key, can be another. */
#include "core/seal/seal.h"

#include <stdlib.h>
#include <unistd.h>

#include "tests/support/check.h"

static const char *const tables[] = {"old", "new"};

struct rig {
    char dir[40];
    struct loop *loop;
    struct store *store;
    struct crypt_aead *aead;
};

static void open_store(struct rig *r, unsigned count)
{
    struct store_options options = {.path = r->dir, .tables = tables, .table_count = count, .size_bytes = 1 << 20};
    CHECK_OK(store_open(r->loop, &options, &r->store, NULL, 0, NULL));
}

static int start(void **state)
{
    struct rig *r = calloc(1, sizeof(*r));
    uint8_t key[CRYPT_KEY_BYTES] = {7};
    snprintf(r->dir, sizeof(r->dir), "/tmp/weir-seal-XXXXXX");
    CHECK(mkdtemp(r->dir) != NULL);
    CHECK_OK(loop_new(&r->loop));
    CHECK_OK(crypt_aead_new(key, &r->aead));
    open_store(r, 1);
    *state = r;
    return 0;
}

static int end(void **state)
{
    struct rig *r = *state;
    char line[80];
    store_close(r->store);
    crypt_aead_free(r->aead);
    loop_free(r->loop);
    snprintf(line, sizeof(line), "rm -rf '%s'", r->dir);
    CHECK_INT(system(line), 0);
    free(r);
    return 0;
}

static void on_done(void *arg, enum err result)
{
    CHECK_OK(result);
    loop_stop(arg);
}

static void commit(struct rig *r, struct store_batch *batch)
{
    CHECK_OK(store_commit(r->store, batch, on_done, r->loop));
    CHECK_OK(loop_run(r->loop));
}

static void put(struct rig *r, unsigned table, struct crypt_aead *aead, const char *key, struct slice body)
{
    struct store_batch *batch;
    CHECK_OK(store_batch_new(r->store, &batch));
    CHECK_OK(seal_put(batch, table, aead, slice_str(key), body));
    commit(r, batch);
}

static void a_store_that_had_one_table_less_takes_the_new_one_and_keeps_what_it_has(void **state)
{
    struct rig *r = *state;
    BUFFER(value, 4096);
    BUFFER(body, 4096);
    put(r, 0, NULL, "a", slice_str("before"));
    store_close(take(r->store));
    open_store(r, 2);
    put(r, 1, r->aead, "a", slice_str("behind"));
    CHECK_OK(store_get(r->store, 0, slice_str("a"), &value));
    CHECK_OK(seal_open(r->aead, slice_str("a"), buffer_slice(&value), &body));
    buffer_reset(&value);
    CHECK_OK(store_get(r->store, 1, slice_str("a"), &value));
    CHECK(memmem(value.ptr, value.len, "behind", 6) == NULL);
    CHECK_OK(seal_open(r->aead, slice_str("a"), buffer_slice(&value), &body));
    CHECK(slice_equal(buffer_slice(&body), slice_str("beforebehind")));
    CHECK_ERR(seal_open(NULL, slice_str("a"), buffer_slice(&value), &body), ERR_MALFORMED);
    CHECK_ERR(seal_open(r->aead, slice_str("b"), buffer_slice(&value), &body), ERR_MALFORMED);
    CHECK_INT(body.len, 12);
}

static void no_flipped_bit_and_no_cut_passes(void **state)
{
    struct rig *r = *state;
    for (int sealed = 0; sealed <= 1; sealed++) {
        BUFFER(value, 4096);
        put(r, 0, sealed ? r->aead : NULL, "k", slice_str("twelve bytes"));
        CHECK_OK(store_get(r->store, 0, slice_str("k"), &value));
        for (size_t bit = 0; bit < value.len * 8; bit++) {
            BUFFER(body, 4096);
            value.ptr[bit / 8] ^= (uint8_t)(1 << bit % 8);
            CHECK_ERR(seal_open(r->aead, slice_str("k"), buffer_slice(&value), &body), ERR_MALFORMED);
            CHECK_INT(body.len, 0);
            value.ptr[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        for (size_t len = 0; len < value.len; len++) {
            BUFFER(body, 4096);
            CHECK_ERR(seal_open(r->aead, slice_str("k"), slice_of(value.ptr, len), &body), ERR_MALFORMED);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_store_that_had_one_table_less_takes_the_new_one_and_keeps_what_it_has, start,
                                        end),
        cmocka_unit_test_setup_teardown(no_flipped_bit_and_no_cut_passes, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
