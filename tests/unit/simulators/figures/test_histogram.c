/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: percentiles of the histogram are those of the sorted values to within 1/64, from 0 us to an hour; merged
 * histograms are the histogram of all; what lies beyond is counted and not lost.
 */
#include <math.h>
#include <string.h>

#include "simulators/figures/figures.h"
#include "tests/support/check.h"

static struct histogram h;

static int set_up(void **state)
{
    (void)state;
    histogram_reset(&h);
    return 0;
}

static void every_value_is_in_the_bucket_that_says_so(void **state)
{
    (void)state;
    int64_t before = -1;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        int64_t low, high;
        histogram_bucket(i, &low, &high);
        CHECK_INT(low, before + 1); /* no hole, no overlap */
        CHECK(high >= low && (high - low) * 64 <= low);
        for (int64_t value = low; value <= high; value += high > low ? high - low : 1) {
            if (value > HISTOGRAM_MAX_US) {
                break;
            }
            histogram_reset(&h);
            histogram_record(&h, value);
            CHECK_INT(h.buckets[i], 1);
        }
        before = high;
    }
    CHECK(before >= HISTOGRAM_MAX_US);
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Values over all magnitudes, most of them small. */
static int64_t draw(uint64_t n)
{
    double part = (double)(mix_u64(n) >> 11) / (double)(UINT64_C(1) << 53);
    return (int64_t)pow(10, part * 9.5);
}

static void percentiles_are_those_of_the_sorted_values(void **state)
{
    (void)state;
    static int64_t values[20000];
    const double percents[] = {0, 0.01, 1, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.99, 100};
    const size_t counts[] = {1, 2, 3, 10, 99, 100, 101, 1000, 20000};
    for (size_t c = 0; c < COUNT_OF(counts); c++) {
        double sum = 0;
        histogram_reset(&h);
        for (size_t i = 0; i < counts[c]; i++) {
            values[i] = draw(c * 100000 + i);
            sum += (double)values[i];
            histogram_record(&h, values[i]);
        }
        qsort(values, counts[c], sizeof(values[0]), compare);
        for (size_t p = 0; p < COUNT_OF(percents); p++) {
            size_t rank = (size_t)ceill((long double)percents[p] * (long double)counts[c] / 100.0L - 1e-6L);
            int64_t exact = values[rank > 0 ? rank - 1 : 0], is = histogram_percentile(&h, percents[p]);
            CHECK(is >= exact && (double)is <= (double)exact * (1 + 1.0 / 64));
        }
        CHECK_INT(histogram_percentile(&h, 100), values[counts[c] - 1]); /* never above what there was */
        CHECK_INT(h.count, counts[c]);
        CHECK_INT(h.min_us, values[0]);
        CHECK_INT(h.max_us, values[counts[c] - 1]);
        CHECK(fabs(histogram_mean_us(&h) - sum / (double)counts[c]) <= 1e-9 * sum);
    }
}

static void the_999th_of_1000_is_the_99_9th_percentile(void **state)
{
    (void)state;
    histogram_record_many(&h, 10, 999);
    histogram_record(&h, 100);
    CHECK_INT(histogram_percentile(&h, 99.9), 10);
    CHECK_INT(histogram_percentile(&h, 99.91), 100);
}

static void merged_histograms_are_the_histogram_of_all(void **state)
{
    (void)state;
    static struct histogram parts[3], all;
    histogram_reset(&all);
    for (unsigned i = 0; i < 3; i++) {
        histogram_reset(&parts[i]);
    }
    for (unsigned i = 0; i < 5000; i++) {
        histogram_record(&parts[1 + i % 2], draw(i)); /* the first stays empty */
        histogram_record(&all, draw(i));
    }
    for (unsigned i = 0; i < 3; i++) {
        histogram_merge(&h, &parts[i]);
    }
    CHECK(fabs(h.sum_us - all.sum_us) <= 1e-9 * all.sum_us);
    h.sum_us = all.sum_us;
    CHECK(memcmp(&h, &all, sizeof(h)) == 0);
}

static void an_empty_histogram_says_zero(void **state)
{
    (void)state;
    CHECK_INT(histogram_percentile(&h, 99), 0);
    CHECK(histogram_mean_us(&h) == 0);
    histogram_record_many(&h, 5, 0);
    CHECK_INT(h.count, 0);
}

static void what_is_over_an_hour_is_counted_and_its_maximum_is_true(void **state)
{
    (void)state;
    histogram_record_many(&h, 1000, 98);
    histogram_record(&h, 5 * HOUR_US);
    histogram_record(&h, INT64_MAX);
    histogram_record(&h, -7);
    CHECK_INT(h.beyond, 2);
    CHECK_INT(h.min_us, 0);
    CHECK_INT(histogram_percentile(&h, 50), 1007);
    CHECK(histogram_percentile(&h, 99) == INT64_MAX); /* somewhere beyond: the greatest is a bound for it */
    CHECK_INT(histogram_percentile(&h, 1), 1007);
    CHECK_INT(histogram_percentile(&h, 0.5), 0);
}

static void it_is_small(void **state)
{
    (void)state;
    CHECK(sizeof(struct histogram) <= 14 * 1024);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup(name, set_up)
        TEST(every_value_is_in_the_bucket_that_says_so),
        TEST(percentiles_are_those_of_the_sorted_values),
        TEST(the_999th_of_1000_is_the_99_9th_percentile),
        TEST(merged_histograms_are_the_histogram_of_all),
        TEST(an_empty_histogram_says_zero),
        TEST(what_is_over_an_hour_is_counted_and_its_maximum_is_true),
        TEST(it_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
