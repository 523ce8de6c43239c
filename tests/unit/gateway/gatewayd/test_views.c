/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: subscribers are fed what is durable, in order and a bounded piece at a time; after a start what is new can be read
 * at once, whatever was sent and trimmed before; and the spools' owner is never asked to wait.
 */
#include "tests/unit/gateway/publish/records.h"

#include "core/crypt/crypt.h"
#include "gateway/gatewayd/gatewayd.h"
#include "gateway/gatewayd/views.h"

enum { BULK = 1 };

struct fixture {
    struct loop_world *world;
    struct loop *loop;
    struct store_disk *disk;
    struct store *store;
    struct spool *spools[INBOX_LANES];
    struct crypt_aead *aead;
    struct store_batch *batch; /* that is committed next */
    bool no_batch;             /* the owner has no memory for one */
    struct bus_hub *hub;
    struct bus *plant;
    struct publish *publish;
    struct views *views;
    struct records records;
    uint64_t number;
};

static void run(struct fixture *f, int64_t us)
{
    loop_world_run(f->world, loop_world_now_us(f->world) + us);
}

static void on_committed(void *arg, enum err result)
{
    struct fixture *f = arg;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        spool_settle(f->spools[i], spool_next(f->spools[i]) - 1, result);
    }
}

static struct store_batch *batch(void *arg)
{
    struct fixture *f = arg;
    if (f->batch == NULL && !f->no_batch) {
        CHECK_OK(store_batch_new(f->store, &f->batch));
    }
    return f->no_batch ? NULL : f->batch;
}

static void commit(struct fixture *f)
{
    f->no_batch = false;
    (void)batch(f);
    CHECK_OK(store_commit(f->store, take(f->batch), on_committed, f));
    run(f, 100 * MS_US);
}

static void open_store(struct fixture *f)
{
    CHECK_OK(store_open_memory(f->loop, f->disk, GATEWAY_TABLE_COUNT, &f->store));
    for (uint8_t i = 0; i < INBOX_LANES; i++) {
        struct spool_options options = {.table = GATEWAY_TABLE_SPOOL, .meta_table = GATEWAY_TABLE_META, .lane = i,
                                        .aead = f->aead};
        CHECK_OK(spool_open(f->loop, f->store, &options, &f->spools[i], NULL));
        if (spool_epoch(f->spools[i]) == 0) {
            CHECK_OK(spool_create(f->spools[i], batch(f)));
        }
    }
    commit(f);
}

static void open_views(struct fixture *f)
{
    struct publish_options o = {.site = "hall", .gateway = "gw1", .topic = "hall/{device}/{metric}"};
    struct views_options v = {.publish = NULL, .spools = f->spools, .aead = f->aead, .table = GATEWAY_TABLE_VIEWS,
                              .batch = batch, .arg = f};
    CHECK_OK(bus_new_memory(f->hub, f->loop, "gw1", &f->plant));
    CHECK_OK(publish_new(f->loop, f->plant, &o, &f->publish, NULL));
    CHECK_OK(bus_start(f->plant));
    v.publish = f->publish;
    CHECK_OK(views_new(f->loop, f->store, &v, &f->views));
    run(f, 100 * MS_US);
}

static void close_all(struct fixture *f)
{
    views_free(take(f->views));
    bus_free(take(f->plant));
    publish_free(take(f->publish));
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        spool_free(take(f->spools[i]));
    }
    store_close(take(f->store));
    store_batch_free(take(f->batch));
}

static void restart(struct fixture *f)
{
    close_all(f);
    open_store(f);
    open_views(f);
}

static int start(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    CHECK_OK(loop_world_new(5, &f->world));
    CHECK_OK(loop_new_virtual(f->world, &f->loop));
    CHECK_OK(store_disk_new(16 << 20, &f->disk));
    CHECK_OK(bus_hub_new(f->world, &f->hub));
    open_store(f);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;
    close_all(f);
    buffer_deinit(&f->records.bytes);
    crypt_aead_free(f->aead);
    store_disk_free(f->disk);
    bus_hub_free(f->hub);
    loop_free(f->loop);
    loop_world_free(f->world);
    free(f);
    return 0;
}

/* Into the batch in hand. */
static void append(struct fixture *f, const char *device)
{
    BUFFER(body, SPOOL_BODY_MAX);
    uint64_t first;
    uint64_t now_us = (uint64_t)loop_wall_us(f->loop);
    const struct wire_forward *forward = records_forward(&f->records, device, ++f->number, now_us);
    CHECK_OK(wire_forward_encode(forward, &body));
    CHECK_OK(spool_append(f->spools[BULK], batch(f), 1, buffer_slice(&body), &first));
}

static uint32_t describe(struct fixture *f, const char *device)
{
    uint32_t set = records_describe(&f->records, "flow:l/min", 0);
    append(f, device);
    return set;
}

static void value(struct fixture *f, const char *device, uint32_t set, double v)
{
    records_block(&f->records, set, 1, 1, &v, (uint64_t)loop_wall_us(f->loop), 0, WEIR__V1__CLOCK_QUALITY__NTP, false);
    append(f, device);
}

static struct publish_stats told(const struct fixture *f)
{
    struct publish_stats stats;
    publish_stats(f->publish, &stats);
    return stats;
}

static struct views_stats read_so_far(const struct fixture *f)
{
    struct views_stats stats;
    views_stats(f->views, &stats);
    return stats;
}

static void kick(struct fixture *f)
{
    views_kick(f->views);
    run(f, 100 * MS_US);
}

/* A description and a value were told, the table has the description, and nothing of it is left in the spool. */
static uint32_t a_life_before(struct fixture *f)
{
    open_views(f);
    uint32_t set = describe(f, "pump-7");
    value(f, "pump-7", set, 1.5);
    commit(f);
    kick(f);
    CHECK_INT(told(f).values, 1);
    CHECK_OK(spool_trim(f->spools[BULK], batch(f), f->number));
    commit(f);
    return set;
}

static void what_is_durable_is_told_and_what_is_not_is_not(void **state)
{
    struct fixture *f = *state;
    open_views(f);
    uint32_t set = describe(f, "pump-7");
    value(f, "pump-7", set, 1.5);
    kick(f);
    CHECK_INT(told(f).records, 0);
    commit(f);
    kick(f);
    CHECK_INT(told(f).records, 2);
    CHECK_INT(told(f).values, 1);
    kick(f);
    CHECK_INT(told(f).records, 2);
}

static void after_a_start_what_is_new_is_described_though_the_description_was_sent_and_trimmed(void **state)
{
    struct fixture *f = *state;
    uint32_t set = a_life_before(f);
    restart(f);
    CHECK_INT(told(f).values, 0);
    CHECK_INT(told(f).devices, 1); /* known, offline */
    value(f, "pump-7", set, 2.5);
    commit(f);
    kick(f);
    CHECK_INT(told(f).values, 1);
    CHECK_INT(told(f).undescribed, 0);
}

static void names_that_came_with_a_block_are_kept_without_its_values(void **state)
{
    struct fixture *f = *state;
    (void)a_life_before(f);
    double v = 7;
    uint32_t set = records_redescribed(&f->records, "flow:m3/h", 1, &v, (uint64_t)loop_wall_us(f->loop));
    append(f, "pump-7");
    commit(f);
    kick(f);
    CHECK_INT(told(f).values, 2);
    commit(f); /* what is kept goes into the batch in hand */
    restart(f);
    CHECK_INT(told(f).values, 0); /* neither from the table nor from what the spool still has */
    CHECK_OK(spool_trim(f->spools[BULK], batch(f), f->number));
    commit(f);
    restart(f);
    CHECK_INT(told(f).values, 0);
    value(f, "pump-7", set, 2.5);
    commit(f);
    kick(f);
    CHECK_INT(told(f).values, 1);
    CHECK_INT(told(f).undescribed, 0);
}

static void what_a_life_before_has_told_is_not_told_again(void **state)
{
    struct fixture *f = *state;
    open_views(f);
    uint32_t set = describe(f, "pump-7");
    for (unsigned i = 0; i < 100; i++) {
        value(f, "pump-7", set, i);
    }
    commit(f);
    kick(f);
    restart(f);
    CHECK_INT(told(f).values, 0);
    CHECK_INT(read_so_far(f).behind, 0);
}

static void a_description_that_did_not_reach_the_table_is_found_where_it_was_durable(void **state)
{
    struct fixture *f = *state;
    open_views(f);
    uint32_t set = describe(f, "pump-7");
    commit(f);
    f->no_batch = true;
    kick(f);
    CHECK_INT(told(f).metrics, 1);
    restart(f);
    value(f, "pump-7", set, 2.5);
    commit(f);
    kick(f);
    CHECK_INT(told(f).values, 1);
    CHECK_INT(told(f).undescribed, 0);
}

static void a_sealed_store_keeps_descriptions_sealed_and_a_damaged_one_is_counted(void **state)
{
    struct fixture *f = *state;
    uint8_t key[CRYPT_KEY_BYTES] = {1, 2, 3};
    struct slice value_kept;
    close_all(f);
    store_disk_free(f->disk);
    CHECK_OK(store_disk_new(16 << 20, &f->disk));
    CHECK_OK(crypt_aead_new(key, &f->aead));
    open_store(f);
    uint32_t set = a_life_before(f);
    CHECK_OK(store_disk_get(f->disk, GATEWAY_TABLE_VIEWS, slice_str("pump-7"), &value_kept));
    CHECK(memmem(value_kept.ptr, value_kept.len, "flow", 4) == NULL);
    restart(f);
    value(f, "pump-7", set, 2.5);
    commit(f);
    kick(f);
    CHECK_INT(told(f).values, 1);
    CHECK_OK(store_put(batch(f), GATEWAY_TABLE_VIEWS, slice_str("pump-7"), slice_str("\2damaged")));
    CHECK_OK(spool_trim(f->spools[BULK], batch(f), f->number));
    commit(f);
    restart(f);
    CHECK_INT(read_so_far(f).damaged, 1);
    CHECK_INT(told(f).devices, 0);
}

static void a_turn_is_bounded_and_many_devices_are_all_known_at_a_start(void **state)
{
    enum { DEVICES = VIEWS_TURN * 2 + 17 };
    struct fixture *f = *state;
    open_views(f);
    for (unsigned i = 0; i < DEVICES; i++) {
        char id[20];
        snprintf(id, sizeof(id), "pump-%u", i);
        (void)describe(f, id);
    }
    commit(f);
    views_kick(f->views);
    uint64_t before = told(f).records, most = 0;
    while (loop_world_step(f->world, loop_world_now_us(f->world))) {
        most = told(f).records - before > most ? told(f).records - before : most;
        before = told(f).records;
    }
    CHECK_INT(told(f).records, DEVICES);
    CHECK_INT(most, VIEWS_TURN);
    CHECK_OK(spool_trim(f->spools[BULK], batch(f), f->number));
    commit(f);
    restart(f);
    CHECK_INT(told(f).devices, DEVICES);
    CHECK_INT(told(f).metrics, DEVICES);
}

static void what_was_trimmed_before_it_was_read_is_counted(void **state)
{
    struct fixture *f = *state;
    open_views(f);
    uint32_t set = describe(f, "pump-7");
    for (unsigned i = 0; i < 9; i++) {
        value(f, "pump-7", set, i);
    }
    commit(f);
    CHECK_INT(read_so_far(f).behind, 10);
    CHECK_OK(spool_trim(f->spools[BULK], batch(f), 6));
    commit(f);
    kick(f);
    CHECK_INT(read_so_far(f).missed, 6);
    CHECK_INT(told(f).undescribed, 4);
    CHECK_INT(read_so_far(f).behind, 0);
}

static void a_spool_that_begins_a_new_epoch_is_followed(void **state)
{
    struct fixture *f = *state;
    open_views(f);
    uint32_t set = describe(f, "pump-7");
    value(f, "pump-7", set, 1);
    value(f, "pump-7", set, 2);
    commit(f);
    kick(f);
    CHECK_OK(spool_rebase(f->spools[BULK], batch(f), 2));
    commit(f);
    kick(f);
    CHECK_INT(told(f).values, 2);
    value(f, "pump-7", set, 3);
    commit(f);
    kick(f);
    CHECK_INT(told(f).values, 3);
    CHECK_INT(read_so_far(f).behind, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_durable_is_told_and_what_is_not_is_not, start, end),
        cmocka_unit_test_setup_teardown(
            after_a_start_what_is_new_is_described_though_the_description_was_sent_and_trimmed, start, end),
        cmocka_unit_test_setup_teardown(names_that_came_with_a_block_are_kept_without_its_values, start, end),
        cmocka_unit_test_setup_teardown(what_a_life_before_has_told_is_not_told_again, start, end),
        cmocka_unit_test_setup_teardown(a_description_that_did_not_reach_the_table_is_found_where_it_was_durable, start,
                                        end),
        cmocka_unit_test_setup_teardown(a_sealed_store_keeps_descriptions_sealed_and_a_damaged_one_is_counted, start,
                                        end),
        cmocka_unit_test_setup_teardown(a_turn_is_bounded_and_many_devices_are_all_known_at_a_start, start, end),
        cmocka_unit_test_setup_teardown(what_was_trimmed_before_it_was_read_is_counted, start, end),
        cmocka_unit_test_setup_teardown(a_spool_that_begins_a_new_epoch_is_followed, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
