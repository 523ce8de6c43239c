/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the in-memory twin and LMDB cannot be told apart by what they hold: the same random batches leave the same
 * tables, also after reopening.
 */
#include "tests/unit/core/store/rig.h"

enum { KEYS = 400, ROUNDS = 150, OPS = 60 };

struct twins {
    struct rig disk;
    struct loop_world *world;
    struct loop *loop;
    struct store_disk *memory;
    struct store *store;
    enum err result;
    uint64_t random;
};

static uint64_t draw(struct twins *t, uint64_t below)
{
    t->random = mix_u64(t->random);
    return (t->random >> 11) % below;
}

static struct slice random_key(struct twins *t, char *out)
{
    uint64_t n = draw(t, KEYS);
    int len = snprintf(out, 300, "%llu", (unsigned long long)n);
    if (n % 17 == 0) {
        memset(out + len, 'k', 200); /* some are long */
        len += 200;
    }
    return slice_of(out, (size_t)len);
}

static void both(enum err a, enum err b)
{
    CHECK_OK(a);
    CHECK_OK(b);
}

static void random_op(struct twins *t, struct store_batch *a, struct store_batch *b)
{
    static uint8_t value[6000];
    char one[300], two[300];
    unsigned table = (unsigned)draw(t, 2);
    struct slice key = random_key(t, one), to;
    switch (draw(t, 10)) {
    case 0:
    case 1: both(store_delete(a, table, key), store_delete(b, table, key)); break;
    case 2:
        to = random_key(t, two);
        both(store_delete_range(a, table, key, to), store_delete_range(b, table, key, to));
        break;
    case 3: /* ascending keys, as a queue's */
        for (unsigned i = 0; i < 10; i++) {
            snprintf(two, sizeof two, "x%012llu", (unsigned long long)(t->random / 16 % 1000 * 10 + i));
            both(store_put(a, table, slice_str(two), key), store_put(b, table, slice_str(two), key));
        }
        break;
    default: {
        size_t len = draw(t, 20) == 0 ? draw(t, sizeof value) : draw(t, 150);
        memset(value, (int)draw(t, 256), len);
        both(store_put(a, table, key, slice_of(value, len)), store_put(b, table, key, slice_of(value, len)));
    }
    }
}

static void memory_done(void *arg, enum err result)
{
    struct twins *t = arg;
    t->result = result;
}

static bool digest(void *arg, struct slice key, struct slice value)
{
    uint64_t *d = arg;
    for (size_t i = 0; i < key.len; i++) {
        *d = mix_u64(*d ^ key.ptr[i]);
    }
    for (size_t i = 0; i < value.len; i++) {
        *d = mix_u64(*d ^ value.ptr[i] ^ 256);
    }
    *d = mix_u64(*d ^ key.len ^ value.len << 20);
    return true;
}

static void compare(struct twins *t)
{
    for (unsigned table = 0; table < 2; table++) {
        char a[300], b[300];
        struct slice from = random_key(t, a), to = random_key(t, b);
        struct slice ranges[][2] = {{slice_str(""), slice_str("")}, {from, slice_str("")}, {from, to}};
        for (size_t i = 0; i < COUNT_OF(ranges); i++) {
            uint64_t one = 0, two = 0;
            CHECK_OK(store_foreach(t->disk.store, table, ranges[i][0], ranges[i][1], digest, &one));
            CHECK_OK(store_foreach(t->store, table, ranges[i][0], ranges[i][1], digest, &two));
            CHECK_INT(one, two);
        }
        BUFFER(one, 8192);
        BUFFER(two, 8192);
        enum err found = store_get(t->disk.store, table, from, &one);
        CHECK_ERR(store_get(t->store, table, from, &two), found);
        CHECK(slice_equal(buffer_slice(&one), buffer_slice(&two)));
    }
}

static void run_twins(uint64_t seed)
{
    struct twins t = {.random = seed};
    rig_begin(&t.disk);
    CHECK_OK(rig_try_open(&t.disk, 16 * RIG_SIZE));
    CHECK_OK(loop_world_new(seed, &t.world));
    CHECK_OK(loop_new_virtual(t.world, &t.loop));
    CHECK_OK(store_disk_new(16 * RIG_SIZE, &t.memory));
    CHECK_OK(store_open_memory(t.loop, t.memory, 2, &t.store));
    for (int round = 0; round < ROUNDS; round++) {
        struct store_batch *a = rig_batch(&t.disk), *b = NULL;
        CHECK_OK(store_batch_new(t.store, &b));
        for (uint64_t n = draw(&t, OPS); n > 0; n--) {
            random_op(&t, a, b);
        }
        t.result = ERR_AGAIN;
        CHECK_OK(rig_commit(&t.disk, a));
        CHECK_OK(store_commit(t.store, b, memory_done, &t));
        loop_world_run(t.world, loop_world_now_us(t.world) + SECOND_US);
        CHECK_OK(t.result);
        compare(&t);
        if (round % 25 == 24) {
            rig_close(&t.disk);
            CHECK_OK(rig_try_open(&t.disk, 16 * RIG_SIZE));
            CHECK_STR(t.disk.quarantined, "");
            store_close(t.store);
            CHECK_OK(store_open_memory(t.loop, t.memory, 2, &t.store));
            compare(&t);
        }
    }
    store_close(t.store);
    store_disk_free(t.memory);
    loop_free(t.loop);
    loop_world_free(t.world);
    rig_end(&t.disk);
}

static void the_same_batches_leave_the_same_tables(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        run_twins(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_batches_leave_the_same_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
