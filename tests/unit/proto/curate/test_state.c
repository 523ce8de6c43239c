/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a stream's state survives bytes (rig.c holds every other test to that), other rules take it over without
 * losing what it held, and bad bytes are refused.
 */
#include "tests/unit/proto/curate/rig.h"

#include "core/base/cursor.h"

#define S SECOND_US
#define T0 (INT64_C(1600000020) * S)

static int64_t t[RIG_READINGS];
static double v[RIG_READINGS];

static const char everything[] =
    "rules:\n"
    "  good: {do: range, max: 1000, otherwise: flag}\n"
    "  once: {channels: d, do: dedupe}\n"
    "  near: {channels: a, do: deadband, abs: 2, heartbeat: 10s}\n"
    "  door: {channels: b, do: swinging-door, abs: 3}\n"
    "  slow: {channels: c, do: rate, rate: 0.5}\n"
    "  few: {channels: d, do: downsample, every: 3s, by: mean}\n"
    "  win: {channels: e, do: window, length: 4s, every: 2s, late: 1s, quantiles: [0.5]}\n"
    "  all: {channels: e, do: merge, of: win, length: 8s}\n"
    "  spec: {channels: f, do: spectrum, samples: 16, bands: [0-1]}\n"
    "  look: {channels: a, do: capture, above: 50, after: 2s}\n";

static void fill(struct rig *r, unsigned blocks)
{
    rig_describe(r, "a,b,c,d,e,f");
    for (unsigned k = 0; k < blocks; k++) {
        double values[6 * 7];
        for (unsigned i = 0; i < 42; i++) {
            values[i] = 60 * rig_noise(k * 42 + i);
        }
        rig_block(r, T0 + k * 7 * S, S, 7, values);
    }
}

static void new_rules_close_windows_and_let_go_what_was_held(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, "rules: {d: {channels: a, do: swinging-door, abs: 1}, m: {channels: b, do: downsample, every: 10s},"
                  " w: {channels: c, do: window, length: 60s, quantiles: [0.5]}}");
    rig_describe(&r, "a,b,c");
    uint32_t set = r.set;
    rig_block(&r, T0, S, 3, (const double[]){1, 2, 3, 4, 5, 6, 7, 8, 9});
    size_t before = r.reading_count;
    CHECK_INT(before, 1); /* a's first */
    rig_change(&r, "rules: {x: {channels: c, do: range, max: 100}}");
    rig_block(&r, T0 + 3 * S, S, 1, (const double[]){50, 60, 70});
    CHECK_INT(r.outcome, CURATE_SHAPED);
    CHECK_INT(r.window_count, 1);
    CHECK(r.windows[0].partial && r.windows[0].m.count == 3 && r.windows[0].m.mean == 8 && r.windows[0].set == set);
    CHECK_STR(r.windows[0].rule, "w");
    CHECK_INT(rig_channel(&r, 0, t, v), 3);
    CHECK(t[1] == T0 + 2 * S && v[1] == 3 && v[2] == 50);
    CHECK_INT(rig_channel(&r, 1, t, v), 2);
    CHECK(t[0] == T0 + 2 * S && v[0] == 6 && v[1] == 60);
    rig_block(&r, T0 + 4 * S, S, 1, (const double[]){50, 60, 70});
    CHECK_INT(r.outcome, CURATE_KEPT);
    rig_stop(&r);
}

static void new_rules_hide_what_the_old_ones_still_held(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, "rules: {d: {channels: a, do: swinging-door, abs: 1}, w: {channels: b, do: window, length: 60s}}");
    rig_describe(&r, "a,b,c");
    rig_block(&r, T0, S, 3, (const double[]){1, 2, 3, 4, 5, 6, 7, 8, 9});
    size_t before = r.reading_count;
    rig_change(&r, "rules: {x: {channels: \"?\", do: bucket, width: 100}}");
    struct slice describe;
    CHECK_OK(curate_describe(r.curate, r.stream, &describe));
    Weir__V1__Record *up;
    arena_reset(&r.arena);
    CHECK_OK(wire_record_unpack(describe, &r.arena, &up));
    r.out_set = up->describe->set;
    r.out_resolution[0] = r.out_resolution[1] = r.out_resolution[2] = 100;
    rig_block(&r, T0 + 3 * S, S, 1, (const double[]){50, 60, 70});
    CHECK_INT(r.window_count, 0);
    CHECK_INT(r.reading_count, before + 3);
    CHECK(r.readings[before].v == 0);
    rig_stop(&r);
}

static const char plain[] = "rules: {x: {channels: c, do: range, max: 1000}}";
static const char other_face[] = "rules: {d: {channels: a, do: drop},"
                                 " k: {channels: b, do: convert, factor: 2, unit: kPa}}";

static void a_description_that_new_rules_change_goes_with_the_next_record_and_once(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, plain);
    rig_describe(&r, "a,b,c");
    rig_block(&r, T0, S, 1, (const double[]){1, 2, 3});
    CHECK_INT(r.outcome, CURATE_KEPT);
    rig_change(&r, other_face);
    rig_block(&r, T0 + S, S, 1, (const double[]){1, 2, 3});
    CHECK_INT(r.told, 1);
    CHECK(r.out_channels == 2 && r.out_set != r.set);
    CHECK_STR(r.names[0], "b");
    CHECK_STR(r.units[0], "kPa");
    CHECK_INT(rig_channel(&r, 0, t, v), 2);
    CHECK(v[1] == 4);
    rig_block(&r, T0 + 2 * S, S, 1, (const double[]){1, 2, 3});
    CHECK_INT(r.told, 1);
    rig_describe(&r, "a,b,c"); /* a boot: told by the device's own record */
    rig_block(&r, T0 + 3 * S, S, 1, (const double[]){1, 2, 3});
    CHECK_INT(r.told, 1);
    rig_stop(&r);
}

static void back_to_the_devices_own_description_it_is_told_before_blocks_pass_as_they_came(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, other_face); /* so nobody above has ever seen the device's own */
    rig_describe(&r, "a,b,c");
    rig_block(&r, T0, S, 1, (const double[]){1, 2, 3});
    rig_change(&r, "rules: {}");
    rig_block(&r, T0 + S, S, 1, (const double[]){1, 2, 3});
    CHECK_INT(r.outcome, CURATE_SHAPED);
    CHECK_INT(r.told, 1);
    CHECK(r.out_channels == 3 && r.out_set == r.set);
    CHECK_INT(r.reading_count, 5);
    rig_block(&r, T0 + 2 * S, S, 1, (const double[]){1, 2, 3});
    CHECK_INT(r.outcome, CURATE_KEPT);
    rig_stop(&r);
}

static void a_description_goes_alone_where_nothing_else_is_left(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, plain);
    rig_describe(&r, "a,b,c");
    rig_change(&r, "rules: {d: {do: drop}}");
    rig_block(&r, T0, S, 1, (const double[]){1, 2, 3});
    CHECK_INT(r.outcome, CURATE_SHAPED);
    CHECK(r.told == 1 && r.out_channels == 0 && r.reading_count == 0);
    rig_block(&r, T0 + S, S, 1, (const double[]){1, 2, 3});
    CHECK_INT(r.outcome, CURATE_DROPPED);
    rig_stop(&r);
}

static void rules_further_up_learn_the_description_and_tell_their_own(void **state)
{
    (void)state;
    struct rig low, up;
    rig_start(&low, "rules: {w: {channels: b, do: window, length: 60s}}");
    rig_start(&up, "rules: {m: {channels: b, do: convert, factor: 10, unit: mPa}}");
    rig_describe(&low, "a,b,c");
    uint32_t before = low.out_set;
    rig_record(&up, buffer_slice(&low.last));
    uint32_t up_before = up.out_set;
    rig_block(&low, T0, S, 2, (const double[]){1, 1, 2, 2, 3, 3});
    rig_change(&low, other_face);
    rig_block(&low, T0 + 2 * S, S, 1, (const double[]){1, 2, 3});
    CHECK(low.window_count == 1 && low.windows[0].set == before && low.told == 1);
    rig_record(&up, buffer_slice(&low.last));
    CHECK_INT(up.told, 1);
    CHECK(up.out_set != low.out_set && up.out_channels == 2);
    CHECK_STR(up.names[0], "b");
    CHECK_STR(up.units[0], "mPa");
    CHECK_INT(rig_channel(&up, 0, t, v), 1);
    CHECK(v[0] == 40);
    CHECK(up.window_count == 1 && up.windows[0].set == up_before && up.windows[0].m.mean == 20);
    rig_block(&low, T0 + 3 * S, S, 1, (const double[]){1, 2, 3});
    rig_record(&up, buffer_slice(&low.last));
    CHECK(up.told == 1 && rig_channel(&up, 0, t, v) == 2 && v[1] == 40);
    rig_change(&low, "rules: {}"); /* and back, without windows */
    rig_block(&low, T0 + 4 * S, S, 1, (const double[]){1, 2, 3});
    rig_record(&up, buffer_slice(&low.last));
    CHECK(up.told == 2 && up.out_channels == 3);
    CHECK(rig_channel(&up, 1, t, v) == 3 && v[2] == 20); /* behind two of c, which stood there before */
    rig_stop(&low);
    rig_stop(&up);
}

/* A state of version 1 has no told: the description goes up again rather than never. */
static void a_state_of_the_version_before_is_taken_and_told_once_more(void **state)
{
    (void)state;
    enum { HEAD = 10, TOLD = 4 };
    struct rig r;
    struct curate_stream *stream = NULL;
    struct curate_result result;
    rig_start(&r, other_face);
    rig_describe(&r, "a,b,c");
    BUFFER(now, 1 << 16);
    CHECK_OK(curate_stream_encode(r.stream, &now));
    struct cursor c = cursor_of(slice_of(now.ptr + HEAD, now.len - HEAD));
    uint64_t len = cursor_varint(&c);
    (void)cursor_bytes(&c, len);
    (void)cursor_u32le(&c);
    size_t at = now.len - cursor_left(&c);
    memmove(now.ptr + at, now.ptr + at + TOLD, now.len - at - TOLD);
    now.len -= TOLD;
    now.ptr[0] = 1;
    CHECK_OK(curate_stream_new(r.other, "pump-7", buffer_slice(&now), &stream));
    rig_block(&r, T0, S, 1, (const double[]){1, 2, 3});
    CHECK_INT(r.told, 0);
    struct slice within;
    CHECK_OK(curate_record(r.other, stream, buffer_slice(&r.in), &result));
    CHECK(wire_record_describe(result.record, &within));
    CHECK_OK(curate_record(r.other, stream, buffer_slice(&r.in), &result));
    CHECK(!wire_record_describe(result.record, &within));
    curate_stream_free(stream);
    rig_stop(&r);
}

static void a_state_holds_what_it_says_and_no_more(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, everything);
    fill(&r, 20);
    BUFFER(encoded, 1 << 20);
    CHECK_OK(curate_stream_encode(r.stream, &encoded));
    CHECK(encoded.len < 4000);
    BUFFER(small, 100);
    CHECK_ERR(curate_stream_encode(r.stream, &small), ERR_FULL);
    rig_stop(&r);
}

static void bad_bytes_are_refused_or_harmless(void **state)
{
    (void)state;
    struct rig r;
    rig_start(&r, everything);
    fill(&r, 9);
    BUFFER(encoded, 1 << 20);
    CHECK_OK(curate_stream_encode(r.stream, &encoded));
    unsigned refused = 0;
    for (size_t cut = 1; cut < encoded.len; cut++) {
        struct curate_stream *stream = NULL;
        CHECK_ERR(curate_stream_new(r.other, "pump-7", slice_of(encoded.ptr, cut), &stream), ERR_MALFORMED);
        CHECK(stream == NULL);
    }
    for (unsigned i = 0; i < 40000; i++) {
        struct curate_stream *stream = NULL, *twin = NULL;
        uint64_t dice = mix_u64(i);
        uint8_t *at = encoded.ptr + dice % encoded.len, was = *at;
        encoded.ptr[1] ^= i % 2; /* of other rules */
        *at ^= (uint8_t)(1u << (dice >> 40) % 8);
        if (curate_stream_new(r.other, "pump-7", buffer_slice(&encoded), &stream) == OK) {
            struct curate_result result;
            BUFFER(again, 1 << 24);
            CHECK_OK(curate_stream_encode(stream, &again));
            CHECK_OK(curate_stream_new(r.other, "pump-7", buffer_slice(&again), &twin));
            curate_stream_free(twin);
            CHECK_OK(curate_record(r.other, stream, buffer_slice(&r.last), &result));
            if (result.outcome == CURATE_SHAPED) {
                CHECK_OK(wire_record_check(result.record, 1, 1, NULL));
            }
        } else {
            refused++;
        }
        curate_stream_free(stream);
        *at = was;
        encoded.ptr[1] ^= i % 2;
    }
    CHECK(refused > 1000);
    rig_stop(&r);
}

/* A mean that stands for a time beyond all times: taken, it would be a state that does not parse again. */
static void a_mean_of_a_time_that_no_reading_has_is_refused(void **state)
{
    (void)state;
    struct rig r;
    static const uint64_t every = 3 * S;
    rig_start(&r, "rules: {m: {do: downsample, every: 3s, by: mean}}");
    rig_describe(&r, "a");
    rig_block(&r, T0, S, 1, (const double[]){5});
    BUFFER(encoded, 1 << 16);
    BUFFER(bucket, 16);
    CHECK_OK(curate_stream_encode(r.stream, &encoded));
    buffer_put_varint(&bucket, T0 / every);
    const uint8_t *at = memmem(encoded.ptr, encoded.len, bucket.ptr, bucket.len);
    CHECK(at != NULL);
    size_t before = (size_t)(at - encoded.ptr), behind = before + bucket.len;
    for (unsigned shift = 59; shift < 62; shift += 2) {
        BUFFER(far, 1 << 16);
        buffer_put(&far, encoded.ptr, before);
        buffer_put_varint(&far, (UINT64_C(1) << shift) / every);
        buffer_put(&far, encoded.ptr + behind, encoded.len - behind);
        far.ptr[1] ^= 1; /* of other rules: what is held goes over */
        struct curate_stream *stream = NULL;
        if (shift < 60) { /* no later than a reading may be */
            CHECK_OK(curate_stream_new(r.other, "pump-7", buffer_slice(&far), &stream));
        } else {
            CHECK_ERR(curate_stream_new(r.other, "pump-7", buffer_slice(&far), &stream), ERR_MALFORMED);
        }
        curate_stream_free(stream);
    }
    rig_stop(&r);
}

/* Else the fuzzer would begin with bytes that go nowhere. (The rules' version is a hash, which the fuzzer puts in.) */
static void the_corpus_is_of_this_format(void **state)
{
    (void)state;
    struct rig r;
    uint8_t bytes[8192];
    FILE *f = fopen(CORPUS, "r");
    CHECK(f != NULL);
    size_t len = fread(bytes, 1, sizeof(bytes), f);
    fclose(f);
    CHECK(len > 100);
    size_t state_len = bytes[1] | (size_t)bytes[2] << 8;
    CHECK(state_len < len);
    rig_start(&r, everything);
    uint64_t version = rules_version(r.rules);
    memcpy(bytes + 4, &version, 8);
    struct curate_stream *stream = NULL;
    CHECK_OK(curate_stream_new(r.other, "pump-7", slice_of(bytes + 3, state_len), &stream));
    curate_stream_free(stream);
    rig_stop(&r);
}

static void write_part(FILE *f, struct slice part)
{
    CHECK(fputc((int)(part.len & 255), f) >= 0 && fputc((int)(part.len >> 8), f) >= 0);
    CHECK(fwrite(part.ptr, 1, part.len, f) == part.len);
}

int main(int argc, char **argv)
{
    if (argc > 1) { /* test_state FILE: writes an input for the corpus of curate_state */
        struct rig r;
        rig_start(&r, everything);
        fill(&r, 9);
        BUFFER(encoded, 1 << 20);
        CHECK_OK(curate_stream_encode(r.stream, &encoded));
        double values[42] = {1, 2, 3, 60};
        FILE *f = fopen(argv[1], "w");
        CHECK(f != NULL && fputc(argc > 2, f) >= 0);
        write_part(f, buffer_slice(&encoded));
        rig_describe(&r, "a,b,c,d,e,f");
        write_part(f, buffer_slice(&r.last));
        rig_block(&r, T0 + 63 * S, S, 7, values);
        write_part(f, buffer_slice(&r.in));
        rig_block(&r, T0 + 70 * S, S, 7, values);
        write_part(f, buffer_slice(&r.in));
        write_part(f, buffer_slice(&r.last)); /* as if it came from below */
        CHECK_INT(fclose(f), 0);
        rig_stop(&r);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_rules_close_windows_and_let_go_what_was_held),
        cmocka_unit_test(new_rules_hide_what_the_old_ones_still_held),
        cmocka_unit_test(a_description_that_new_rules_change_goes_with_the_next_record_and_once),
        cmocka_unit_test(back_to_the_devices_own_description_it_is_told_before_blocks_pass_as_they_came),
        cmocka_unit_test(a_description_goes_alone_where_nothing_else_is_left),
        cmocka_unit_test(rules_further_up_learn_the_description_and_tell_their_own),
        cmocka_unit_test(a_state_of_the_version_before_is_taken_and_told_once_more),
        cmocka_unit_test(a_state_holds_what_it_says_and_no_more),
        cmocka_unit_test(bad_bytes_are_refused_or_harmless),
        cmocka_unit_test(a_mean_of_a_time_that_no_reading_has_is_refused),
        cmocka_unit_test(the_corpus_is_of_this_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
