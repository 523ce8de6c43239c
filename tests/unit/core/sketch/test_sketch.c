/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: moments equal those of a plain computation in long double, quantiles stay within the stated relative error on
 * distributions of every shape, and merging parts gives the same as adding everything to one.
 */
#include "core/sketch/sketch.h"

#include <math.h>

#include "tests/support/check.h"

enum { COUNT = 20000 };
static double values[COUNT], sorted[COUNT];

static double uniform(uint64_t i)
{
    return ((double)(mix_u64(i) >> 11) + 0.5) / 9007199254740992.0;
}

enum shape { UNIFORM, NORMAL, HEAVY, TINY, HUGE_STEPS, CONSTANT, SHAPES };

static void fill(enum shape shape)
{
    for (size_t i = 0; i < COUNT; i++) {
        double u = uniform(2 * i + 1000000 * shape), w = uniform(2 * i + 1 + 1000000 * shape);
        switch (shape) {
        case UNIFORM: values[i] = u * 100; break;
        case NORMAL: values[i] = sqrt(-2 * log(u)) * cos(6.283185307179586 * w); break; /* of both signs */
        case HEAVY: values[i] = pow(u, -2); break;
        case TINY: values[i] = u < 0.1 ? 0 : (w - 0.5) * 1e-7; break;
        case HUGE_STEPS: values[i] = i % 3 == 0 ? 1e9 : i % 3 == 1 ? -5 : 1e-3; break;
        case CONSTANT: values[i] = 23.7; break;
        case SHAPES: break;
        }
    }
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void quantiles_stay_within_the_error(void **state)
{
    (void)state;
    const double errors[] = {0.001, 0.01, 0.05};
    for (enum shape shape = 0; shape < SHAPES; shape++) {
        fill(shape);
        memcpy(sorted, values, sizeof(sorted));
        qsort(sorted, COUNT, sizeof(double), ascending);
        for (size_t e = 0; e < COUNT_OF(errors); e++) {
            struct sketch s;
            CHECK_OK(sketch_init(&s, errors[e]));
            CHECK_OK(sketch_add(&s, values, COUNT));
            CHECK_INT(s.count, COUNT);
            double limit = errors[e] * (1 + 1e-9);
            /* 2,048 buckets of 0.1 % reach over a factor of 57: below that they are folded, as the sketch says */
            double least = s.folded ? sorted[COUNT - 1] / 55 : -INFINITY;
            for (double q = 0; q <= 1; q += 0.0125) {
                size_t rank = (size_t)ceil(q * COUNT);
                double want = sorted[rank > 0 ? rank - 1 : 0], got = sketch_quantile(&s, q);
                if (want < least) {
                    continue;
                }
                if (!(fabs(got - want) <= limit * fabs(want))) {
                    fprintf(stderr, "shape %d error %g q %g: %.9g, expected %.9g\n", (int)shape, errors[e], q, got, want);
                    fail();
                }
            }
            sketch_deinit(&s);
        }
    }
}

static void merged_parts_are_the_whole(void **state)
{
    (void)state;
    for (enum shape shape = 0; shape < SHAPES; shape++) {
        struct sketch whole, parts, part;
        CHECK_OK(sketch_init(&whole, 0.01));
        CHECK_OK(sketch_init(&parts, 0.01));
        fill(shape);
        CHECK_OK(sketch_add(&whole, values, COUNT));
        for (size_t at = 0, n = 1; at < COUNT; at += n, n = n * 2 + 1) {
            n = at + n > COUNT ? COUNT - at : n;
            CHECK_OK(sketch_init(&part, 0.01));
            CHECK_OK(sketch_add(&part, values + COUNT - at - n, n)); /* from the back: order does not matter */
            CHECK_OK(sketch_merge(&parts, &part));
            sketch_deinit(&part);
        }
        CHECK_INT(parts.count, whole.count);
        for (double q = 0; q <= 1; q += 0.01) {
            CHECK(sketch_quantile(&parts, q) == sketch_quantile(&whole, q));
        }
        BUFFER(a, 1 << 20);
        BUFFER(b, 1 << 20);
        CHECK_OK(sketch_encode(&whole, 1 << 20, &a));
        CHECK_OK(sketch_encode(&parts, 1 << 20, &b));
        CHECK(slice_equal(buffer_slice(&a), buffer_slice(&b)));
        sketch_deinit(&whole);
        sketch_deinit(&parts);
    }
}

static void low_buckets_fold_when_there_are_too_many(void **state)
{
    (void)state;
    struct sketch s;
    CHECK_OK(sketch_init(&s, 0.001));
    for (int i = -100; i <= 100; i++) {
        double v = pow(10, i);
        CHECK_OK(sketch_add(&s, &v, 1));
    }
    CHECK(s.folded);
    CHECK(s.side[0].cap <= SKETCH_BUCKETS && s.side[1].cap == 0);
    CHECK(fabs(sketch_quantile(&s, 1) / 1e100 - 1) <= 0.001);
    double v = 1e-100; /* below what is folded: counts there, moves nothing */
    CHECK_OK(sketch_add(&s, &v, 1));
    CHECK_INT(s.count, 202);
    CHECK(fabs(sketch_quantile(&s, 1) / 1e100 - 1) <= 0.001);
    sketch_deinit(&s);
    CHECK_ERR(sketch_init(&s, 0.2), ERR_RANGE);
    CHECK_ERR(sketch_init(&s, NAN), ERR_RANGE);
}

static void bytes_come_back_and_are_bounded(void **state)
{
    (void)state;
    struct sketch s, again;
    fill(NORMAL);
    CHECK_OK(sketch_init(&s, 0.01));
    CHECK(isnan(sketch_quantile(&s, 0.5)));
    BUFFER(out, 1 << 20);
    CHECK_OK(sketch_encode(&s, 64, &out)); /* empty */
    CHECK_OK(sketch_decode(buffer_slice(&out), &again));
    CHECK_INT(again.count, 0);
    sketch_deinit(&again);
    CHECK_OK(sketch_add(&s, values, COUNT));
    buffer_reset(&out);
    CHECK_OK(sketch_encode(&s, 4096, &out));
    CHECK(out.len < 3000);
    CHECK_OK(sketch_decode(buffer_slice(&out), &again));
    CHECK_INT(again.count, COUNT);
    CHECK(!again.folded);
    CHECK(sketch_quantile(&again, 0.3) == sketch_quantile(&s, 0.3));
    sketch_deinit(&again);
    buffer_reset(&out);
    CHECK_OK(sketch_encode(&s, 300, &out));
    CHECK(out.len <= 300);
    CHECK_OK(sketch_decode(buffer_slice(&out), &again));
    CHECK(again.folded);
    CHECK_INT(again.count, COUNT);
    CHECK(sketch_quantile(&again, 0.99) == sketch_quantile(&s, 0.99));
    for (size_t cut = 0; cut < out.len; cut++) {
        struct sketch none;
        CHECK(sketch_decode(slice_of(out.ptr, cut), &none) != OK);
    }
    sketch_deinit(&again);
    sketch_deinit(&s);
    CHECK_ERR(sketch_encode(&(struct sketch){.error = 0.01}, 3, &out), ERR_FULL);
}

static void moments_equal_a_plain_computation(void **state)
{
    (void)state;
    for (enum shape shape = 0; shape < SHAPES; shape++) {
        fill(shape);
        for (size_t n = 1; n <= COUNT; n = n * 3 + 1) {
            long double sum = 0, squares = 0, powers = 0;
            double low = values[0], high = values[0];
            for (size_t i = 0; i < n; i++) {
                sum += values[i];
                powers += (long double)values[i] * values[i];
                low = fmin(low, values[i]);
                high = fmax(high, values[i]);
            }
            long double mean = sum / n;
            for (size_t i = 0; i < n; i++) {
                squares += (values[i] - mean) * (values[i] - mean);
            }
            struct moments m = {0}, other = {0};
            moments_add(&m, values, n / 3);
            moments_add(&other, values + n / 3, n - n / 3);
            moments_merge(&m, &other);
            CHECK_INT(m.count, n);
            CHECK(m.min == low && m.max == high);
            double scale = (double)sqrtl(powers / n) + 1e-300;
            CHECK(fabs(m.mean - (double)mean) <= 1e-12 * scale);
            CHECK(fabs(m.m2 - (double)squares) <= 1e-10 * (double)powers + 1e-300);
            CHECK(fabs(moments_rms(&m) - (double)sqrtl(powers / n)) <= 1e-10 * scale);
        }
    }
    CHECK(moments_variance(&(struct moments){.count = 1, .m2 = 5}) == 0);
    CHECK(moments_rms(&(struct moments){0}) == 0);
}

static void a_fixed_one_keeps_to_its_memory(void **state)
{
    uint32_t counts[40], few[1];
    struct sketch fixed, other;
    (void)state;
    fill(HEAVY);
    CHECK_OK(sketch_init_fixed(&fixed, 0.02, counts, COUNT_OF(counts)));
    CHECK_OK(sketch_init(&other, 0.02));
    CHECK_OK(sketch_add(&fixed, values, COUNT));
    CHECK_OK(sketch_add(&other, values, COUNT));
    CHECK_INT(fixed.count, other.count);
    CHECK(fixed.folded && fixed.side[0].counts == counts && fixed.side[0].used <= COUNT_OF(counts));
    CHECK(sketch_quantile(&fixed, 1) == sketch_quantile(&other, 1)); /* the upper end wins */
    sketch_reset(&fixed);
    CHECK(fixed.count == 0 && !fixed.folded && isnan(sketch_quantile(&fixed, 0.5)));
    CHECK_OK(sketch_add(&fixed, (const double[]){-3, 0, 5}, 3)); /* what is negative has no place */
    CHECK_INT(fixed.count, 2);
    CHECK_OK(sketch_merge(&fixed, &other));
    CHECK_INT(fixed.count, COUNT + 2);
    CHECK_OK(sketch_add(&other, (const double[]){-3}, 1));
    CHECK_INT(sketch_merge(&fixed, &other), ERR_RANGE);
    sketch_deinit(&fixed);
    CHECK_OK(sketch_init_fixed(&fixed, 0.02, few, 1));
    CHECK_OK(sketch_add(&fixed, values, COUNT));
    CHECK_INT(few[0], COUNT);
    sketch_deinit(&fixed);
    sketch_deinit(&other);
}

static void bins_hold_what_stands_for_their_values(void **state)
{
    static const double edges[] = {-1, -1e-3, 0, 1e-3, 0.5};
    (void)state;
    for (enum shape shape = UNIFORM; shape < SHAPES; shape++) {
        CLEANUP(sketch_deinit) struct sketch s = {0};
        uint64_t counts[6], want[6] = {0};
        fill(shape);
        CHECK_OK(sketch_init(&s, 0.02));
        CHECK_OK(sketch_add(&s, values, COUNT));
        for (size_t i = 0; i < COUNT; i++) {
            double x = sketch_stand_in(0.02, values[i]);
            unsigned bin = 0;
            CHECK(fabs(x - values[i]) <= 0.02 * fabs(values[i]) * (1 + 1e-9));
            while (bin < 5 && x >= edges[bin]) {
                bin++;
            }
            want[bin]++;
        }
        sketch_histogram(&s, edges, 6, counts);
        for (unsigned b = 0; b < 6; b++) {
            CHECK_INT(counts[b], want[b]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_stay_within_the_error),   cmocka_unit_test(merged_parts_are_the_whole),
        cmocka_unit_test(low_buckets_fold_when_there_are_too_many), cmocka_unit_test(bytes_come_back_and_are_bounded),
        cmocka_unit_test(moments_equal_a_plain_computation), cmocka_unit_test(a_fixed_one_keeps_to_its_memory),
        cmocka_unit_test(bins_hold_what_stands_for_their_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
