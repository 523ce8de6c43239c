/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a block says of its samples what they were and when, in no more bytes than needed.
 */
#include "device/compose/builder.h"

#include <math.h>

#include "proto/block/block.h"
#include "proto/wire/wire.h"
#include "tests/support/check.h"

static const struct sense_channel channels[] = {{"a", "Cel", 0.1}, {"b", "1", 1}};

struct fixture {
    struct builder builder;
    void *memory;
    struct buffer out;
    struct arena arena;
    Weir__V1__Block *block;
    int64_t values[2 * 16], times[16];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    *state = f;
    buffer_init(&f->out, WIRE_RECORD_MAX);
    f->memory = malloc(builder_bytes(2, 16)); /* to the byte: what is written beyond it is seen */
    builder_init(&f->builder, channels, 2, 16, f->memory);
    return arena_init(&f->arena, WIRE_ARENA_BYTES) == OK ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    free(f->memory);
    buffer_deinit(&f->out);
    arena_deinit(&f->arena);
    free(f);
    return 0;
}

static void close_and_read(struct fixture *f, int64_t period_us)
{
    buffer_reset(&f->out);
    arena_reset(&f->arena);
    CHECK_OK(builder_close(&f->builder, period_us, 42, &f->out));
    CHECK(f->out.len <= builder_record_max(2, 16));
    Weir__V1__Record *record;
    const char *why = "";
    if (wire_record_check(buffer_slice(&f->out), 1, 1, &why) != OK) {
        fail_msg("refused: %s", why);
    }
    CHECK_OK(wire_record_unpack(buffer_slice(&f->out), &f->arena, &record));
    CHECK_INT(record->kind_case, WEIR__V1__RECORD__KIND_BLOCK);
    f->block = record->block;
    size_t count;
    double resolutions[2];
    CHECK_OK(block_decode(slice_of(f->block->columns.data, f->block->columns.len), f->block->samples, 2, f->values,
                          resolutions, &count));
    CHECK_INT(count, 2);
    CHECK(resolutions[0] == 0.1);
    if (f->block->times.len > 0) {
        CHECK_OK(block_column_decode(slice_of(f->block->times.data, f->block->times.len), f->block->samples, f->times));
    }
}

static void a_part_of_a_block_is_packed_and_the_builder_begins_anew(void **state)
{
    struct fixture *f = *state;
    for (unsigned round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++) {
            builder_add(&f->builder, (double[]){20.1 + i, i == 1 ? NAN : 7}, 1000 + i * 100000, 5000000, true);
        }
        close_and_read(f, 100000);
        CHECK_INT(f->block->samples, 3);
        CHECK_INT(f->block->period_us, 100000);
        CHECK_INT(f->block->times.len, 0);
        CHECK_INT(f->block->wall_us, 5000000);
        CHECK_INT(f->block->mono_us, 1000);
        CHECK_INT(f->block->set, 42);
        CHECK_INT(f->block->quality, WEIR__V1__CLOCK_QUALITY__NTP);
        CHECK_INT(f->values[0], 201);
        CHECK_INT(f->values[2], 221);
        CHECK_INT(f->values[3], 7);
        CHECK(f->values[4] == BLOCK_MISSING);
        CHECK_INT(f->values[5], 7);
    }
}

static void samples_within_one_percent_need_no_times_and_others_do(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 16; i++) {
        builder_add(&f->builder, (double[]){1, 2}, 50 + i * 1000000 + (i % 2) * 9999, 1, false);
    }
    CHECK(builder_full(&f->builder));
    close_and_read(f, 1000000);
    CHECK_INT(f->block->times.len, 0);
    CHECK_INT(f->block->quality, WEIR__V1__CLOCK_QUALITY__UNSYNCED);

    static const int64_t at_us[] = {50, 1000050, 2020050, 3000050}; /* one is 2 % late */
    for (size_t i = 0; i < COUNT_OF(at_us); i++) {
        builder_add(&f->builder, (double[]){1, 2}, at_us[i], 1, false);
    }
    close_and_read(f, 1000000);
    CHECK_INT(f->block->period_us, 0);
    CHECK_INT(f->times[0], 0);
    CHECK_INT(f->times[1], 1000000);
    CHECK_INT(f->times[2], 1020000);
    CHECK_INT(f->times[3], 980000);
}

static void a_drift_that_sums_up_is_seen(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 16; i++) { /* each distance is 0.5 % too long, the last sample is 7.5 % late */
        builder_add(&f->builder, (double[]){1, 2}, i * 1005000, 1, false);
    }
    close_and_read(f, 1000000);
    CHECK(f->block->times.len > 0);
}

static void a_wall_clock_before_1970_is_written_as_1970(void **state)
{
    struct fixture *f = *state;
    builder_add(&f->builder, (double[]){1, 2}, 1, -5000, false);
    close_and_read(f, 1000000);
    CHECK_INT(f->block->wall_us, 0);
}

static void the_worst_block_fits_into_what_is_promised(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 16; i++) { /* incompressible, with holes, at odd times */
        double noise = ldexp((double)(int64_t)(mix_u64(i) >> 2), -3);
        int64_t at_us = (int64_t)i * 977777 + (int64_t)(i * i) * 3331;
        builder_add(&f->builder, (double[]){i % 5 == 4 ? NAN : noise * 0.1, -noise}, at_us, 1, false);
    }
    close_and_read(f, 1000000);
    CHECK_INT(f->block->samples, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_part_of_a_block_is_packed_and_the_builder_begins_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(samples_within_one_percent_need_no_times_and_others_do, setup, teardown),
        cmocka_unit_test_setup_teardown(a_drift_that_sums_up_is_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(a_wall_clock_before_1970_is_written_as_1970, setup, teardown),
        cmocka_unit_test_setup_teardown(the_worst_block_fits_into_what_is_promised, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
