/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: whatever fits the bounds comes back from block_encode as it was, each kind of signal in the form that suits it;
 * bytes that are no block are refused by block_check and block_decode alike.
 */
#include "proto/block/block.h"

#include "tests/support/check.h"

enum { ROOM = 8 * BLOCK_SAMPLES_MAX };

static int64_t values[ROOM], again[ROOM];
static const double ones[BLOCK_CHANNELS_MAX] = {
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

/* Encodes values[], decodes from a copy of exact size, compares; returns the encoded length. */
static size_t round_trip(const double *resolutions, size_t channels, size_t samples)
{
    BUFFER(out, BLOCK_CHANNELS_MAX * BLOCK_COLUMN_BYTES(BLOCK_SAMPLES_MAX));
    double resolutions_again[BLOCK_CHANNELS_MAX];
    size_t channels_again = 0, checked = 0;
    CHECK_OK(block_encode(values, resolutions, channels, samples, &out));
    CHECK(out.len <= channels * BLOCK_COLUMN_BYTES(samples));
    uint8_t *copy = malloc(out.len);
    CHECK(copy != NULL);
    memcpy(copy, out.ptr, out.len);
    struct slice in = slice_of(copy, out.len);
    CHECK_OK(block_check(in, samples, &checked));
    CHECK_INT(checked, channels);
    memset(again, 0x55, sizeof(again));
    CHECK_OK(block_decode(in, samples, channels, again, resolutions_again, &channels_again));
    CHECK_INT(channels_again, channels);
    for (size_t i = 0; i < channels * samples; i++) {
        CHECK_INT(again[i], values[i]);
    }
    CHECK(memcmp(resolutions, resolutions_again, channels * sizeof(double)) == 0);
    if (channels * samples < ROOM) {
        CHECK_INT(again[channels * samples], 0x5555555555555555);
    }
    free(copy);
    return out.len;
}

static void a_constant_takes_two_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < BLOCK_SAMPLES_MAX; i++) {
        values[i] = 42;
    }
    CHECK_INT(round_trip(ones, 1, 1), 2);
    CHECK_INT(round_trip(ones, 1, 32), 2);
    CHECK_INT(round_trip(ones, 1, BLOCK_SAMPLES_MAX), 2);
}

static void a_counter_takes_its_start_and_step(void **state)
{
    (void)state;
    for (int i = 0; i < 32; i++) {
        values[i] = 1000000 + 250 * i;
    }
    CHECK_INT(round_trip(ones, 1, 32), 1 + 3 + 2 + 1);
}

static void noise_takes_the_logarithm_of_its_range(void **state)
{
    (void)state;
    for (size_t i = 0; i < 32; i++) {
        values[i] = 5000 + (int64_t)(mix_u64(i) % 608);
    }
    CHECK_INT(round_trip(ones, 1, 32), 1 + 2 + 1 + 37);
}

static void few_distinct_values_take_a_dictionary(void **state)
{
    (void)state;
    static const int64_t steps[] = {-273216, 54711, 382638}; /* a coarse converter, printed with many digits */
    for (size_t i = 0; i < 32; i++) {
        values[i] = steps[mix_u64(i) % 3];
    }
    CHECK(round_trip(ones, 1, 32) <= 1 + 3 + 2 + 6 + 7 * 2);
}

static void missing_values_keep_their_places(void **state)
{
    (void)state;
    for (size_t samples = 1; samples <= 40; samples++) {
        for (uint64_t seed = 0; seed < 20; seed++) {
            for (size_t i = 0; i < 2 * samples; i++) {
                uint64_t r = mix_u64(seed * 1000 + i);
                values[i] = r % 3 == 0 || seed == 0 ? BLOCK_MISSING : (int64_t)(r % 100);
            }
            round_trip(ones, 2, samples);
        }
    }
}

static void a_column_without_any_value_takes_header_and_bitmap(void **state)
{
    (void)state;
    for (size_t i = 0; i < 32; i++) {
        values[i] = BLOCK_MISSING;
    }
    CHECK_INT(round_trip(ones, 1, 32), 1 + 4);
}

/* Random columns of all sizes of numbers, up to the bounds. */
static void random_columns_come_back(void **state)
{
    (void)state;
    double resolutions[BLOCK_CHANNELS_MAX];
    static const double some[] = {1, 1e-3, 0.25, 1.0 / 3, 1e6};
    for (uint64_t seed = 1; seed < 3000; seed++) {
        size_t channels = mix_u64(seed) % 8 + 1, samples = mix_u64(seed + 77) % 70 + 1;
        for (size_t c = 0; c < channels; c++) {
            unsigned bits = (unsigned)(mix_u64(seed * 3 + c) % 62);
            uint64_t walk = mix_u64(seed * 5 + c) % 2;
            int64_t at = 0;
            resolutions[c] = some[mix_u64(seed * 7 + c) % COUNT_OF(some)];
            for (size_t i = 0; i < samples; i++) {
                int64_t r = (int64_t)(mix_u64(seed << 32 ^ c << 16 ^ i) >> (63 - bits)) - (INT64_C(1) << bits >> 1);
                at = walk && at + r < BLOCK_VALUE_MAX && at + r > -BLOCK_VALUE_MAX ? at + r : r;
                values[c * samples + i] = max_i64(min_i64(at, BLOCK_VALUE_MAX), -BLOCK_VALUE_MAX);
            }
        }
        round_trip(resolutions, channels, samples);
    }
}

static void the_extremes_come_back(void **state)
{
    (void)state;
    for (size_t samples = 1; samples <= BLOCK_SAMPLES_MAX; samples = samples * 2 + 1) {
        for (size_t i = 0; i < samples; i++) {
            values[i] = i % 2 ? BLOCK_VALUE_MAX : -BLOCK_VALUE_MAX;
            values[samples + i] = i % 3 == 0 ? BLOCK_MISSING : i % 3 == 1 ? BLOCK_VALUE_MAX : 0;
            values[2 * samples + i] = BLOCK_VALUE_MAX - (int64_t)i;
        }
        round_trip(ones, 3, samples);
    }
}

static void a_bound_passed_is_refused_and_nothing_written(void **state)
{
    (void)state;
    BUFFER(out, 1 << 20);
    static int64_t many[BLOCK_SAMPLES_MAX + 65];
    double resolutions[BLOCK_CHANNELS_MAX + 1];
    for (size_t i = 0; i <= BLOCK_CHANNELS_MAX; i++) {
        resolutions[i] = 1;
    }
    CHECK_OK(block_encode(many, resolutions, BLOCK_CHANNELS_MAX, 1, &out));
    size_t len = out.len;
    CHECK_ERR(block_encode(many, resolutions, BLOCK_CHANNELS_MAX + 1, 1, &out), ERR_RANGE);
    CHECK_ERR(block_encode(many, resolutions, 0, 1, &out), ERR_RANGE);
    CHECK_ERR(block_encode(many, resolutions, 1, 0, &out), ERR_RANGE);
    CHECK_ERR(block_encode(many, resolutions, 1, BLOCK_SAMPLES_MAX + 1, &out), ERR_RANGE);
    many[3] = BLOCK_VALUE_MAX + 1;
    CHECK_ERR(block_encode(many, resolutions, 2, 3, &out), ERR_RANGE);
    many[3] = -BLOCK_VALUE_MAX - 1;
    CHECK_ERR(block_encode(many, resolutions, 2, 3, &out), ERR_RANGE);
    CHECK_INT(out.len, len);
    BUFFER(small, 3);
    many[3] = 1 << 20;
    CHECK_ERR(block_encode(many, resolutions, 1, 5, &small), ERR_FULL);
    CHECK_INT(small.len, 0);
}

static void more_channels_than_room_are_refused(void **state)
{
    (void)state;
    BUFFER(out, 1000);
    size_t channels;
    memset(values, 0, sizeof(values));
    CHECK_OK(block_encode(values, ones, 5, 4, &out));
    CHECK_ERR(block_decode(buffer_slice(&out), 4, 4, again, NULL, &channels), ERR_RANGE);
    CHECK_OK(block_decode(buffer_slice(&out), 4, 5, again, NULL, &channels));
    uint8_t columns[2 * (BLOCK_CHANNELS_MAX + 1)] = {0};
    CHECK_OK(block_check(slice_of(columns, 2 * BLOCK_CHANNELS_MAX), 1, NULL));
    CHECK_ERR(block_check(slice_of(columns, sizeof(columns)), 1, NULL), ERR_RANGE);
    CHECK_ERR(block_check(slice_of(columns, 2), 0, NULL), ERR_RANGE);
    CHECK_ERR(block_check(slice_of(columns, 2), BLOCK_SAMPLES_MAX + 1, NULL), ERR_RANGE);
}

/* Hand-made bytes; each is wrong in one place. */
static void bytes_that_are_no_block_are_malformed(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len, samples;
    } bad[] = {
        {"", 0, 4},                          /* no column */
        {"\x00", 1, 4},                      /* CONST without its value */
        {"\x40\x00", 2, 4},                  /* unknown bit of the header */
        {"\x80\x00", 2, 4},
        {"\x28\x01\x00\x00", 4, 4},          /* unknown form of the resolution */
        {"\x08\x17\x00", 3, 4},              /* 10^23 */
        {"\x10\x00\x00\x00", 4, 4},          /* 0 x 2^0 */
        {"\x20\0\0\0\0\0\0\xf8\x7f\x00", 10, 4}, /* NaN */
        {"\x01\x00\x05\x00\x00", 5, 4},      /* a code that no range needs */
        {"\x01\x00\x65\x00\x00", 5, 4},      /* code 101 */
        {"\x01\x00\x04", 3, 4},              /* digits cut off */
        {"\x01\x00\x04\x10", 4, 4},          /* bits behind the last digit */
        {"\x01\x00\x04\x0f\x01", 5, 4},      /* left over: a header alone */
        {"\x01\x00\x04\x01", 4, 1},          /* one value is a constant */
        {"\x03\x00\x01\x04\x00", 5, 4},      /* dictionary of one */
        {"\x03\x00\x41\x00\x00\x00\x00\x00", 8, 4}, /* dictionary of 65 */
        {"\x04\x0f\x00", 3, 4},              /* bitmap that says: all present */
        {"\x04\x1f\x00", 3, 4},              /* bitmap with a fifth sample */
        {"\x04", 1, 4},                      /* bitmap cut off */
        {"\x00\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11, 1}, /* 2^62 */
        {"\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12, 1}, /* varint of 11 bytes */
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        size_t channels;
        struct slice in = slice_of(bad[i].bytes, bad[i].len);
        if (block_check(in, bad[i].samples, NULL) != ERR_MALFORMED) {
            fprintf(stderr, "case %zu\n", i);
        }
        CHECK_ERR(block_check(in, bad[i].samples, NULL), ERR_MALFORMED);
        CHECK_ERR(block_decode(in, bad[i].samples, 4, again, NULL, &channels), ERR_MALFORMED);
    }
}

/* Heads that allow values beyond the bound are looked at value by value. */
static void wide_columns_are_held_against_the_bound(void **state)
{
    (void)state;
    size_t channels;
    /* OFFSET, smallest 2^62 - 1, code 4: digits 0 are within, a digit 1 is beyond. */
    uint8_t bytes[] = {1, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 4, 0};
    CHECK_OK(block_check(slice_of(bytes, sizeof(bytes)), 4, NULL));
    CHECK_OK(block_decode(slice_of(bytes, sizeof(bytes)), 4, 1, again, NULL, &channels));
    CHECK_INT(again[3], BLOCK_VALUE_MAX);
    bytes[11] = 8;
    CHECK_ERR(block_check(slice_of(bytes, sizeof(bytes)), 4, NULL), ERR_MALFORMED);
    CHECK_ERR(block_decode(slice_of(bytes, sizeof(bytes)), 4, 1, again, NULL, &channels), ERR_MALFORMED);
}

static void a_sum_of_differences_is_held_against_the_bound(void **state)
{
    (void)state;
    size_t channels;
    uint8_t bytes[4 + 1369] = {2, 0, 0, 97}; /* DELTA from 0, 199 differences of 55 bits */
    CHECK_OK(block_check(slice_of(bytes, sizeof(bytes)), 200, NULL));
    memset(bytes + 4, 0xff, 1368);
    bytes[4 + 1368] = 1;
    CHECK_ERR(block_check(slice_of(bytes, sizeof(bytes)), 200, NULL), ERR_MALFORMED);
    CHECK_ERR(block_decode(slice_of(bytes, sizeof(bytes)), 200, 1, again, NULL, &channels), ERR_MALFORMED);
}

static void an_index_beyond_the_dictionary_is_its_last_entry(void **state)
{
    (void)state;
    size_t channels;
    /* DICT 0, 1, 2; 127 = 1 + 3 (0 + 3 (2 + 3 x 4)): the encoder writes no 4, but seven bits can hold it. */
    CHECK_OK(block_decode(slice_of("\x03\x00\x03\x00\x7f", 5), 4, 1, again, NULL, &channels));
    CHECK(again[0] == 1 && again[1] == 0 && again[2] == 2 && again[3] == 2);
}

/* The format is what is stored and sent: these bytes may not change. */
static void the_bytes_of_each_form_are_as_documented(void **state)
{
    (void)state;
    static const struct {
        double resolution;
        int64_t values[5];
        const char *bytes;
        size_t len;
    } known[] = {
        {1, {-3, -3, -3, -3, -3}, "\x00\x05", 2},
        {0.1, {5, 7, 5, 6, 7}, "\x09\xff\x0a\x07\x21\x01", 6},
        {1.0 / 4096, {7, 1000, 2001, 3000, 4002}, "\x12\x80\xed\x0e\xc2\x0f\x0e\xf9\x31", 9},
        {1, {0, 1000000, 0, 1000000, 0}, "\x03\x00\x02\x3e\x3f\x42\x0f\x0a", 8},
        {0.25, {1, BLOCK_MISSING, 3, BLOCK_MISSING, 1}, "\x1d\x19\xfe\x15\x02\x07\x06", 7},
    };
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        BUFFER(out, 100);
        CHECK_OK(block_encode(known[i].values, &known[i].resolution, 1, 5, &out));
        CHECK_INT(out.len, known[i].len);
        CHECK(memcmp(out.ptr, known[i].bytes, out.len) == 0);
    }
}

static void damaged_blocks_get_the_same_verdict_from_check_and_decode(void **state)
{
    (void)state;
    size_t accepted = 0;
    for (uint64_t seed = 0; seed < 50000; seed++) {
        size_t samples = mix_u64(seed + 9) % 20 + 1, channels = 0, checked = 0;
        for (size_t i = 0; i < 3 * samples; i++) {
            values[i] = (int64_t)(mix_u64(seed * 99 + i) >> (i / samples * 5 + 40));
        }
        BUFFER(out, 10000);
        CHECK_OK(block_encode(values, ones, 3, samples, &out));
        for (size_t flips = 0; flips <= seed % 3; flips++) {
            uint64_t r = mix_u64(seed * 4 + flips);
            out.ptr[r % out.len] ^= (uint8_t)(1u << (r >> 32) % 8);
        }
        struct slice in = slice_of(out.ptr, seed % 5 ? out.len : seed % out.len);
        enum err check = block_check(in, samples, &checked);
        enum err err = block_decode(in, samples, BLOCK_CHANNELS_MAX, again, NULL, &channels);
        CHECK_INT(check, err);
        if (err == OK) {
            CHECK_INT(checked, channels);
            accepted++;
        }
    }
    CHECK(accepted > 10000);
}

static void a_time_column_comes_back_and_takes_no_resolution(void **state)
{
    (void)state;
    BUFFER(out, 1000);
    for (size_t i = 0; i < 33; i++) {
        values[i] = i == 0 ? 0 : 1000000 + (int64_t)(mix_u64(i) % 500);
    }
    CHECK_OK(block_column_encode(values, 33, &out));
    CHECK_OK(block_column_decode(buffer_slice(&out), 33, again));
    CHECK(memcmp(values, again, 33 * sizeof(*values)) == 0);
    size_t present = 0;
    CHECK_OK(block_column_check(buffer_slice(&out), 33, &present));
    CHECK_INT(present, 33);
    buffer_put_u8(&out, 0);
    CHECK_ERR(block_column_decode(buffer_slice(&out), 33, again), ERR_MALFORMED);
    CHECK_ERR(block_column_check(buffer_slice(&out), 33, &present), ERR_MALFORMED);
    CHECK_OK(block_column_check(slice_of("\x04\x05\x02", 3), 3, &present));
    CHECK_INT(present, 2);
    CHECK_ERR(block_column_decode(slice_of("\x08\x00\x02", 3), 1, again), ERR_MALFORMED);
    CHECK_ERR(block_column_decode(slice_of(NULL, 0), 1, again), ERR_MALFORMED);
    CHECK_ERR(block_column_encode(values, 0, &out), ERR_RANGE);
    CHECK_ERR(block_column_decode(slice_of("\x00\x02", 2), BLOCK_SAMPLES_MAX + 1, again), ERR_RANGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_constant_takes_two_bytes),
        cmocka_unit_test(a_counter_takes_its_start_and_step),
        cmocka_unit_test(noise_takes_the_logarithm_of_its_range),
        cmocka_unit_test(few_distinct_values_take_a_dictionary),
        cmocka_unit_test(missing_values_keep_their_places),
        cmocka_unit_test(a_column_without_any_value_takes_header_and_bitmap),
        cmocka_unit_test(random_columns_come_back),
        cmocka_unit_test(the_extremes_come_back),
        cmocka_unit_test(a_bound_passed_is_refused_and_nothing_written),
        cmocka_unit_test(more_channels_than_room_are_refused),
        cmocka_unit_test(bytes_that_are_no_block_are_malformed),
        cmocka_unit_test(wide_columns_are_held_against_the_bound),
        cmocka_unit_test(a_sum_of_differences_is_held_against_the_bound),
        cmocka_unit_test(an_index_beyond_the_dictionary_is_its_last_entry),
        cmocka_unit_test(the_bytes_of_each_form_are_as_documented),
        cmocka_unit_test(damaged_blocks_get_the_same_verdict_from_check_and_decode),
        cmocka_unit_test(a_time_column_comes_back_and_takes_no_resolution),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
