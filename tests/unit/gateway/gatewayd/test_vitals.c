/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: health is fed with what is durable, in order and a bounded piece at a time; what it tells becomes a note, again
 * and again until that is taken; a restart goes on from the states in the store, and damaged ones harm nobody.
 */
#include <math.h>
#include <stdio.h>

#include "core/crypt/crypt.h"
#include "gateway/gatewayd/gatewayd.h"
#include "gateway/gatewayd/vitals.h"
#include "proto/block/block.h"
#include "proto/wire/wire.h"
#include "tests/support/check.h"

enum { BULK = 1, NOTES = 16, ROWS = 8000, SAMPLES = 16 };
#define MODEL UINT64_C(77)

struct fixture {
    struct loop_world *world;
    struct loop *loop;
    struct store_disk *disk;
    struct store *store;
    struct spool *spools[INBOX_LANES];
    struct store_batch *batch; /* that is committed next */
    struct calibration *calibration;
    struct health_calibration row;
    struct health_options health;
    struct vitals *vitals;
    char notes[NOTES][500];
    unsigned note_count;
    bool full;
    uint64_t number, seed;
};

static double uniform(struct fixture *f)
{
    f->seed = mix_u64(f->seed);
    return (double)(f->seed >> 11) / 9007199254740992.0;
}

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
    if (f->batch == NULL) {
        CHECK_OK(store_batch_new(f->store, &f->batch));
    }
    return f->batch;
}

static void commit(struct fixture *f)
{
    (void)batch(f);
    CHECK_OK(store_commit(f->store, take(f->batch), on_committed, f));
    run(f, 100 * MS_US);
}

static enum err note(void *arg, const char *id, const char *text)
{
    struct fixture *f = arg;
    if (f->full) {
        return ERR_FULL;
    }
    CHECK(f->note_count < NOTES);
    snprintf(f->notes[f->note_count++], sizeof(f->notes[0]), "%s %s", id, text);
    return OK;
}

static void open_all(struct fixture *f)
{
    CHECK_OK(store_open_memory(f->loop, f->disk, GATEWAY_TABLE_COUNT, &f->store));
    for (uint8_t i = 0; i < INBOX_LANES; i++) {
        struct spool_options options = {.table = GATEWAY_TABLE_SPOOL, .meta_table = GATEWAY_TABLE_META, .lane = i};
        CHECK_OK(spool_open(f->loop, f->store, &options, &f->spools[i], NULL));
        if (spool_epoch(f->spools[i]) == 0) {
            CHECK_OK(spool_create(f->spools[i], batch(f)));
        }
    }
    commit(f);
    struct vitals_options v = {.health = &f->health,
                               .spools = f->spools,
                               .table = GATEWAY_TABLE_HEALTH,
                               .batch = batch,
                               .note = note,
                               .arg = f};
    CHECK_OK(vitals_new(f->loop, f->store, &v, &f->vitals));
    run(f, 100 * MS_US);
}

static void close_all(struct fixture *f)
{
    vitals_free(take(f->vitals));
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        spool_free(take(f->spools[i]));
    }
    store_close(take(f->store));
    store_batch_free(take(f->batch));
}

static int start(void **state)
{
    static double values[ROWS];
    static const size_t starts[] = {0};
    static const char *const names[] = {"flow"};
    struct fixture *f = calloc(1, sizeof(*f));
    BUFFER(notes, 1000);
    f->seed = 3;
    for (size_t i = 0; i < ROWS; i++) {
        values[i] = uniform(f);
    }
    struct calibration_run made = {.name = "pump",
                                   .model = MODEL,
                                   .channel = names,
                                   .channels = 1,
                                   .window = 1,
                                   .hop = 1,
                                   .rate_hz = 10,
                                   .values = values,
                                   .rows = ROWS,
                                   .starts = starts,
                                   .pieces = 1,
                                   .margin = 1.5};
    CHECK_OK(calibration_fit(&made, &f->calibration, &notes, NULL));
    f->row = (struct health_calibration){.calibration = f->calibration};
    f->health = (struct health_options){.calibrations = &f->row, .count = 1};
    CHECK_OK(loop_world_new(5, &f->world));
    CHECK_OK(loop_new_virtual(f->world, &f->loop));
    CHECK_OK(store_disk_new(16 << 20, &f->disk));
    open_all(f);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;
    close_all(f);
    store_disk_free(f->disk);
    loop_free(f->loop);
    loop_world_free(f->world);
    calibration_free(f->calibration);
    free(f);
    return 0;
}

/* ---- records, into the batch in hand ---- */
static void append(struct fixture *f, const Weir__V1__Record *record)
{
    BUFFER(bytes, WIRE_RECORD_MAX);
    BUFFER(body, SPOOL_BODY_MAX);
    uint64_t first;
    CHECK_OK(wire_record_pack(record, &bytes));
    struct wire_forward forward = {.device = "p1",
                                   .gateway = "gw1",
                                   .epoch = 4,
                                   .first = ++f->number,
                                   .lane = BULK,
                                   .record = buffer_slice(&bytes)};
    forward.last = forward.top = forward.first;
    CHECK_OK(wire_forward_encode(&forward, &body));
    CHECK_OK(spool_append(f->spools[BULK], batch(f), 1, buffer_slice(&body), &first));
}

static uint32_t describe_model(struct fixture *f, uint64_t model)
{
    Weir__V1__Describe d = WEIR__V1__DESCRIBE__INIT;
    Weir__V1__Record r = WEIR__V1__RECORD__INIT;
    Weir__V1__ChannelInfo info = WEIR__V1__CHANNEL_INFO__INIT, *channels[] = {&info};
    static char name[] = "flow", unit[] = "";
    info.name = name;
    info.unit = unit;
    info.resolution = 1e-6;
    d.n_channel = 1;
    d.channel = channels;
    d.model = model;
    d.software = unit;
    d.source = unit;
    d.set = wire_describe_set(&d);
    r.schema = WIRE_SCHEMA;
    r.kind_case = WEIR__V1__RECORD__KIND_DESCRIBE;
    r.describe = &d;
    append(f, &r);
    return d.set;
}

static uint32_t describe(struct fixture *f)
{
    return describe_model(f, MODEL);
}

static void blocks(struct fixture *f, uint32_t set, unsigned count, bool stuck)
{
    for (unsigned b = 0; b < count; b++) {
        int64_t values[SAMPLES];
        BUFFER(columns, 1 << 14);
        Weir__V1__Block block = WEIR__V1__BLOCK__INIT;
        Weir__V1__Record r = WEIR__V1__RECORD__INIT;
        for (unsigned i = 0; i < SAMPLES; i++) {
            values[i] = block_quantise(stuck ? 0.5 : uniform(f), 1e-6);
        }
        CHECK_OK(block_encode(values, (const double[]){1e-6}, 1, SAMPLES, &columns));
        block.set = set;
        block.wall_us = 1700000000000000;
        block.samples = SAMPLES;
        block.period_us = 100000;
        block.columns = (ProtobufCBinaryData){.data = columns.ptr, .len = columns.len};
        r.schema = WIRE_SCHEMA;
        r.kind_case = WEIR__V1__RECORD__KIND_BLOCK;
        r.block = &block;
        append(f, &r);
    }
}

static void kick(struct fixture *f)
{
    commit(f);
    vitals_kick(f->vitals);
    run(f, 100 * MS_US);
}

static void what_is_durable_is_watched_and_told(void **state)
{
    struct fixture *f = *state;
    struct vitals_stats stats;
    uint32_t set = describe(f);
    blocks(f, set, 3 * VITALS_TURN, false); /* several turns */
    vitals_kick(f->vitals);
    run(f, 100 * MS_US);
    vitals_stats(f->vitals, &stats);
    CHECK_INT(stats.behind, 0); /* nothing is durable yet */
    kick(f);
    vitals_stats(f->vitals, &stats);
    CHECK_INT(stats.behind, 0);
    CHECK_INT(stats.missed, 0);
    CHECK_INT(f->note_count, 0);
    BUFFER(out, 1 << 16);
    vitals_json(f->vitals, NULL, &out);
    buffer_put_u8(&out, 0);
    CHECK_CONTAINS((const char *)out.ptr, "\"blocks\":384");
    CHECK_CONTAINS((const char *)out.ptr, "\"state\":\"ok\"");
    blocks(f, set, 4, true);
    kick(f);
    CHECK_INT(f->note_count, 1);
    CHECK_CONTAINS(f->notes[0], "sensor-fault device=p1 model=000000000000004d channel=flow statistic=stuck");
}

static void a_note_that_is_not_taken_comes_again(void **state)
{
    struct fixture *f = *state;
    uint32_t set = describe(f);
    f->full = true;
    blocks(f, set, 10, false);
    blocks(f, set, 4, true);
    kick(f);
    CHECK_INT(f->note_count, 0);
    f->full = false;
    run(f, 2 * MINUTE_US);
    CHECK_INT(f->note_count, 1);
}

static void a_restart_goes_on_where_it_was(void **state)
{
    struct fixture *f = *state;
    uint32_t set = describe(f);
    blocks(f, set, 10, false);
    blocks(f, set, 4, true);
    kick(f);
    CHECK_INT(f->note_count, 1);
    run(f, 2 * MINUTE_US); /* states are put into the batch that is committed next */
    CHECK(f->batch != NULL);
    CHECK_OK(spool_trim(f->spools[BULK], batch(f), f->number)); /* no description is left to be found in the spool */
    commit(f);
    close_all(f);
    open_all(f);
    blocks(f, set, 4, true);
    kick(f);
    CHECK_INT(f->note_count, 1); /* was told in the life before */
    blocks(f, set, 10, false);
    kick(f);
    CHECK_INT(f->note_count, 2);
    CHECK_CONTAINS(f->notes[1], "sensor-fault-ended device=p1");
}

static void a_description_that_has_gone_up_is_known_after_a_kill_within_the_first_minute(void **state)
{
    struct fixture *f = *state;
    uint32_t set = describe(f);
    kick(f);
    CHECK_OK(spool_trim(f->spools[BULK], batch(f), f->number)); /* the parent has it */
    commit(f);
    close_all(f);
    open_all(f);
    blocks(f, set, 10, false);
    blocks(f, set, 4, true);
    kick(f);
    CHECK_INT(f->note_count, 1);
}

static void a_device_that_had_another_model_before_is_not_begun_anew_by_looking_back(void **state)
{
    struct fixture *f = *state;
    (void)describe_model(f, 99); /* before its model was replaced */
    uint32_t set = describe(f);
    blocks(f, set, 10, false);
    blocks(f, set, 4, true);
    kick(f);
    CHECK_INT(f->note_count, 1);
    CHECK_OK(vitals_set(f->vitals, &f->health)); /* SIGHUP, nothing has changed */
    run(f, 100 * MS_US);
    CHECK_INT(f->note_count, 1);
    run(f, 2 * MINUTE_US);
    commit(f);
    close_all(f);
    open_all(f); /* all of it is still in the spool: the parent is away */
    CHECK_INT(f->note_count, 1);
    blocks(f, set, 4, true);
    kick(f);
    CHECK_INT(f->note_count, 1);
}

static void what_is_damaged_in_the_table_begins_anew(void **state)
{
    struct fixture *f = *state;
    struct vitals_stats stats;
    CHECK_OK(store_put(batch(f), GATEWAY_TABLE_HEALTH, slice_str("p1"), slice_str("\1damaged")));
    commit(f);
    close_all(f);
    open_all(f);
    vitals_stats(f->vitals, &stats);
    CHECK_INT(stats.damaged, 1);
    uint32_t set = describe(f);
    blocks(f, set, 10, false);
    blocks(f, set, 4, true);
    kick(f);
    CHECK_INT(f->note_count, 1);
}

static void what_was_trimmed_before_it_was_read_is_counted(void **state)
{
    struct fixture *f = *state;
    struct vitals_stats stats;
    uint32_t set = describe(f);
    blocks(f, set, 9, false);
    commit(f);
    CHECK_OK(spool_trim(f->spools[BULK], batch(f), f->number));
    kick(f);
    vitals_stats(f->vitals, &stats);
    CHECK_INT(stats.missed, 10);
    CHECK_INT(stats.behind, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_durable_is_watched_and_told, start, end),
        cmocka_unit_test_setup_teardown(a_note_that_is_not_taken_comes_again, start, end),
        cmocka_unit_test_setup_teardown(a_restart_goes_on_where_it_was, start, end),
        cmocka_unit_test_setup_teardown(a_description_that_has_gone_up_is_known_after_a_kill_within_the_first_minute, start,
                                        end),
        cmocka_unit_test_setup_teardown(a_device_that_had_another_model_before_is_not_begun_anew_by_looking_back, start, end),
        cmocka_unit_test_setup_teardown(what_is_damaged_in_the_table_begins_anew, start, end),
        cmocka_unit_test_setup_teardown(what_was_trimmed_before_it_was_read_is_counted, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
