/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a stream's state survives bytes (rig.c holds every other test to that), other rules take it over without
 * losing what it held, and bad bytes are refused.
 */
#include "tests/unit/proto/curate/rig.h"

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
        cmocka_unit_test(a_state_holds_what_it_says_and_no_more),
        cmocka_unit_test(bad_bytes_are_refused_or_harmless),
        cmocka_unit_test(a_mean_of_a_time_that_no_reading_has_is_refused),
        cmocka_unit_test(the_corpus_is_of_this_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
