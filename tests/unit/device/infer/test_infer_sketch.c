/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what a device says of a span is what went in; spans end where the wall clock has them, and early, as partial,
 * when it is set; two halves merged are the whole; nothing is allocated.
 */
#include "device/infer/sketch.h"

#include <math.h>

#include "tests/support/check.h"

enum { CHANNELS = 2, TOLD = 64 };
#define SPAN (10 * SECOND_US)

struct fixture {
    struct infer_sketch sketch;
    double memory[128]; /* aligned */
    struct infer_window told[TOLD];
    uint8_t bytes[TOLD][INFER_SKETCH_BYTES];
    size_t count;
};

static void on_window(void *arg, const struct infer_window *w)
{
    struct fixture *f = arg;
    CHECK(f->count < TOLD);
    f->told[f->count] = *w;
    if (w->sketch.len > 0) {
        memcpy(f->bytes[f->count], w->sketch.ptr, w->sketch.len);
        f->told[f->count].sketch.ptr = f->bytes[f->count];
    }
    f->count++;
}

static void begin(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    CHECK(infer_sketch_bytes(CHANNELS) <= sizeof(f->memory));
    infer_sketch_init(&f->sketch, SPAN, CHANNELS, f->memory);
}

static void give(struct fixture *f, const float *values, double outcome, int64_t wall_us, int64_t mono_us)
{
    if (infer_sketch_sample(&f->sketch, values, wall_us, mono_us)) {
        infer_sketch_close(&f->sketch, on_window, f);
        CHECK(!infer_sketch_sample(&f->sketch, values, wall_us, mono_us));
    }
    infer_sketch_answer(&f->sketch, outcome);
}

static double uniform(uint64_t i)
{
    return (double)(mix_u64(i) >> 11) / 9007199254740992.0;
}

/* Samples [from, to), every 100 ms. */
static void samples(struct fixture *f, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        float values[CHANNELS] = {(float)(20 + uniform(i)), i % 5 == 0 ? NAN : (float)i};
        give(f, values, outcome_doubt(1 - 0.2 * uniform(i) * uniform(i + 7000)), (int64_t)i * 100000,
             (int64_t)i * 100000 + 77);
    }
}

static const struct infer_window *find(const struct fixture *f, unsigned channel, uint64_t start_us)
{
    for (size_t i = 0; i < f->count; i++) {
        if (f->told[i].channel == channel && f->told[i].start_us == start_us) {
            return &f->told[i];
        }
    }
    return NULL;
}

static void a_span_says_what_went_in(void **state)
{
    static struct fixture f;
    struct moments want = {0}, counted = {0};
    (void)state;
    begin(&f);
    samples(&f, 0, 201);
    CHECK_INT(f.count, 6); /* two spans of three */
    for (unsigned i = 100; i < 200; i++) {
        double x = (double)(float)(20 + uniform(i)), n = (double)i;
        moments_add(&want, &x, 1);
        if (i % 5 != 0) {
            moments_add(&counted, &n, 1);
        }
    }
    const struct infer_window *w = find(&f, 0, 10 * SECOND_US);
    CHECK(w != NULL && !w->partial && w->sketch.len == 0);
    CHECK_INT(w->length_us, SPAN);
    CHECK_INT(w->moments.count, 100);
    CHECK(w->moments.min == want.min && w->moments.max == want.max);
    CHECK(fabs(w->moments.mean - want.mean) < 1e-12 && fabs(w->moments.m2 - want.m2) < 1e-9);
    w = find(&f, 1, 10 * SECOND_US); /* a missing value is none */
    CHECK_INT(w->moments.count, counted.count);
    CHECK(fabs(w->moments.m2 - counted.m2) < 1e-6);
    w = find(&f, INFER_OUTCOME, 10 * SECOND_US);
    CHECK_INT(w->moments.count, 100);
    struct sketch s;
    CHECK_OK(sketch_decode(w->sketch, &s));
    CHECK_INT(s.count, 100);
    CHECK(s.error == OUTCOME_ERROR && !s.folded);
    sketch_deinit(&s);
}

static void two_halves_merged_are_the_whole(void **state)
{
    static struct fixture whole, halves;
    struct sketch a, b, all;
    (void)state;
    begin(&whole);
    begin(&halves);
    samples(&whole, 0, 100);
    infer_sketch_close(&whole.sketch, on_window, &whole);
    samples(&halves, 0, 40);
    infer_sketch_close(&halves.sketch, on_window, &halves);
    samples(&halves, 40, 100);
    infer_sketch_close(&halves.sketch, on_window, &halves);
    CHECK_INT(whole.count, 3);
    CHECK_INT(halves.count, 6);
    for (unsigned i = 0; i < 3; i++) {
        struct moments m = halves.told[i].moments;
        moments_merge(&m, &halves.told[i + 3].moments);
        CHECK_INT(m.count, whole.told[i].moments.count);
        CHECK(m.min == whole.told[i].moments.min && m.max == whole.told[i].moments.max);
        CHECK(fabs(m.mean - whole.told[i].moments.mean) <= 1e-12 * fabs(m.mean));
        CHECK(fabs(m.m2 - whole.told[i].moments.m2) <= 1e-9 * m.m2);
    }
    CHECK_OK(sketch_decode(halves.told[0].sketch, &a));
    CHECK_OK(sketch_decode(halves.told[3].sketch, &b));
    CHECK_OK(sketch_decode(whole.told[0].sketch, &all));
    CHECK_OK(sketch_merge(&a, &b));
    BUFFER(one, 4096);
    BUFFER(other, 4096);
    CHECK_OK(sketch_encode(&a, 4096, &one));
    CHECK_OK(sketch_encode(&all, 4096, &other));
    CHECK(slice_equal(buffer_slice(&one), buffer_slice(&other))); /* to the byte */
    sketch_deinit(&a);
    sketch_deinit(&b);
    sketch_deinit(&all);
}

static void a_span_that_begins_late_is_partial_and_the_next_one_is_not(void **state)
{
    static struct fixture f;
    (void)state;
    begin(&f);
    samples(&f, 30, 301);
    CHECK(find(&f, 0, 0)->partial);
    CHECK(!find(&f, 0, 10 * SECOND_US)->partial);
    CHECK(!find(&f, 0, 20 * SECOND_US)->partial);
    samples(&f, 600, 701); /* a gap of half a minute: 30..40 s ends where it does, 60..70 s is whole */
    CHECK(find(&f, 0, 30 * SECOND_US) != NULL && find(&f, 0, 40 * SECOND_US) == NULL);
    CHECK_INT(find(&f, 0, 30 * SECOND_US)->moments.count, 1);
    CHECK(!find(&f, 0, 60 * SECOND_US)->partial);
}

static void a_clock_that_is_set_ends_the_span(void **state)
{
    static struct fixture f;
    const float values[CHANNELS] = {1, 2};
    (void)state;
    begin(&f);
    give(&f, values, 0.5, 10 * SECOND_US, 0);
    give(&f, values, 0.5, 10 * SECOND_US + 500000, 100000); /* it creeps: no jump */
    CHECK_INT(f.count, 0);
    give(&f, values, 0.5, 14 * SECOND_US, 200000); /* within the span, but set */
    CHECK_INT(f.count, 3);
    CHECK(f.told[0].partial && f.told[0].moments.count == 2);
    give(&f, values, 0.5, 3 * SECOND_US, 300000); /* and back */
    CHECK_INT(f.count, 6);
    CHECK(f.told[3].partial && f.told[3].moments.count == 1);
    infer_sketch_close(&f.sketch, on_window, &f);
    CHECK_INT(f.told[6].start_us, 0);
    infer_sketch_close(&f.sketch, on_window, &f); /* nothing is left */
    CHECK_INT(f.count, 9);
}

static void scores_of_any_size_stay_within_the_memory(void **state)
{
    static struct fixture f;
    const float values[CHANNELS] = {NAN, NAN};
    (void)state;
    begin(&f);
    for (int e = -250; e < 250; e++) {
        give(&f, values, pow(10, e), 1, 1);
    }
    give(&f, values, (double)NAN, 1, 1);
    infer_sketch_close(&f.sketch, on_window, &f);
    CHECK_INT(f.count, 1); /* channels without a value say nothing */
    CHECK_INT(f.told[0].moments.count, 500);
    struct sketch s;
    CHECK_OK(sketch_decode(f.told[0].sketch, &s));
    CHECK(s.folded && s.count == 500);
    CHECK(fabs(sketch_quantile(&s, 1) / 1e249 - 1) < OUTCOME_ERROR);
    sketch_deinit(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_span_says_what_went_in),
        cmocka_unit_test(two_halves_merged_are_the_whole),
        cmocka_unit_test(a_span_that_begins_late_is_partial_and_the_next_one_is_not),
        cmocka_unit_test(a_clock_that_is_set_ends_the_span),
        cmocka_unit_test(scores_of_any_size_stay_within_the_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
