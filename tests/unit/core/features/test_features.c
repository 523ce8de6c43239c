/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a row of features is what the formulas of the header give, worked out here in doubles by the definition (the spectrum
 * by the sum of sines, not by a fast transform), for windows that are pushed and for windows given whole.
 */
#include <complex.h>
#include <math.h>

#include "core/features/features.h"
#include "tests/support/check.h"

enum { MEMORY = 1 << 20, WINDOW = 64 };
static uint8_t memory[MEMORY] __attribute__((aligned(16)));

static struct features *init(const struct features_options *options)
{
    struct features *f = NULL;
    struct fault fault = {.code = OK};
    CHECK_OK(features_init(options, memory, features_bytes(options), &f, &fault));
    return f;
}

static float noise(unsigned i)
{
    return (float)(mix_u64(i) % 2001) / 1000.0F - 1.0F;
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-4 * fmax(1, fabs(b));
}

static void moments_are_those_of_the_definition(void **state)
{
    static const struct feature all[] = {{.kind = FEATURE_MEAN}, {.kind = FEATURE_STD},  {.kind = FEATURE_RMS},
                                         {.kind = FEATURE_MIN},  {.kind = FEATURE_MAX},  {.kind = FEATURE_PEAK},
                                         {.kind = FEATURE_CREST}, {.kind = FEATURE_SKEWNESS}, {.kind = FEATURE_KURTOSIS}};
    const struct features_options o = {.channels = 1, .window = WINDOW, .hop = WINDOW, .features = all, .count = COUNT_OF(all)};
    struct features *f = init(&o);
    float window[WINDOW], row[COUNT_OF(all)];
    double mean = 0, m2 = 0, m3 = 0, m4 = 0, square = 0, least = 9, most = -9;
    (void)state;
    for (unsigned i = 0; i < WINDOW; i++) {
        window[i] = 3 + noise(i);
        mean += (double)window[i] / WINDOW;
        square += (double)window[i] * (double)window[i] / WINDOW;
        least = fmin(least, (double)window[i]);
        most = fmax(most, (double)window[i]);
    }
    for (unsigned i = 0; i < WINDOW; i++) {
        double d = (double)window[i] - mean;
        m2 += d * d / WINDOW;
        m3 += d * d * d / WINDOW;
        m4 += d * d * d * d / WINDOW;
    }
    CHECK(features_of(f, window, row));
    double peak = fmax(most - mean, mean - least);
    const double expected[] = {mean, sqrt(m2), sqrt(square), least, most, peak, peak / sqrt(m2), m3 / pow(m2, 1.5), m4 / (m2 * m2)};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        CHECK(near((double)row[i], expected[i]));
    }
}

static void bands_hold_the_energy_of_their_frequencies(void **state)
{
    static const struct feature bands[] = {{.kind = FEATURE_BANDS, .bands = 8, .low_hz = 100, .high_hz = 900}};
    const struct features_options o = {.channels = 1, .window = WINDOW, .hop = 1, .rate_hz = 2000, .features = bands, .count = 1};
    struct features *f = init(&o);
    float window[WINDOW], row[8];
    double mean = 0, expected[8] = {0};
    (void)state;
    for (unsigned i = 0; i < WINDOW; i++) {
        window[i] = noise(i) + 2;
        mean += (double)window[i] / WINDOW;
    }
    for (unsigned k = 0; k <= WINDOW / 2; k++) {
        double complex sum = 0;
        for (unsigned i = 0; i < WINDOW; i++) {
            double hann = 0.5 - 0.5 * cos(2 * M_PI * i / WINDOW);
            sum += ((double)window[i] - mean) * hann * cexp(-2 * M_PI * I * k * i / WINDOW);
        }
        double hz = k * 2000.0 / WINDOW, energy = (k == 0 || k == WINDOW / 2 ? 1 : 2) * creal(sum * conj(sum));
        if (hz >= 100 && hz < 900) {
            expected[(int)((hz - 100) / 100)] += energy * 8 / 3 / WINDOW / WINDOW;
        }
    }
    CHECK(features_of(f, window, row));
    for (size_t i = 0; i < 8; i++) {
        CHECK(near((double)row[i], log(1e-12 + expected[i])));
    }
}

static void a_tone_lies_in_its_band(void **state)
{
    static const struct feature bands[] = {{.kind = FEATURE_BANDS, .bands = 10}};
    const struct features_options o = {.channels = 1, .window = 1024, .hop = 1, .rate_hz = 1000, .features = bands, .count = 1};
    struct features *f = init(&o);
    float window[1024], row[10];
    (void)state;
    for (unsigned i = 0; i < 1024; i++) {
        window[i] = sinf(2 * (float)M_PI * 225 * (float)i / 1000);
    }
    CHECK(features_of(f, window, row));
    CHECK(fabs(exp((double)row[4]) - 0.5) < 0.01); /* 200 to 250 Hz; the energy of a sine is a half */
    for (size_t i = 0; i < 10; i++) {
        CHECK(i == 4 || row[i] < row[4] - 5);
    }
}

static void windows_slide_by_the_hop(void **state)
{
    static const struct feature raw[] = {{.kind = FEATURE_RAW, .channel = 1}, {.kind = FEATURE_MAX, .channel = 0}};
    static const float offset[] = {1, 1, 1, 1, 10}, factor[] = {2, 2, 2, 2, 0.5F};
    const struct features_options o = {
        .channels = 2, .window = 4, .hop = 3, .features = raw, .count = 2, .offset = offset, .factor = factor};
    struct features *f = init(&o);
    float row[5];
    unsigned rows = 0;
    (void)state;
    CHECK_INT(features_outputs(&o, NULL), 5);
    for (unsigned i = 0; i < 20; i++) {
        if (features_push(f, (float[]){(float)i, 100 + (float)i})) {
            CHECK_INT(i, 3 + 3 * rows);
            CHECK(features_row(f, row));
            for (unsigned k = 0; k < 4; k++) {
                CHECK(near((double)row[k], 2 * (100.0 + i - 3 + k - 1)));
            }
            CHECK(near((double)row[4], (i - 10.0) / 2));
            rows++;
        }
    }
    CHECK_INT(rows, 6);
    features_reset(f);
    CHECK(!features_push(f, (float[]){0, 0}));
    CHECK(!features_row(f, row));
}

static void what_is_missing_takes_the_value_before(void **state)
{
    static const struct feature raw[] = {{.kind = FEATURE_RAW}};
    const struct features_options o = {.channels = 1, .window = 4, .hop = 1, .features = raw, .count = 1};
    static const float values[] = {NAN, 5, NAN, 7}, expected[] = {5, 5, 5, 7};
    struct features *f = init(&o);
    float row[4];
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        (void)features_push(f, &values[i]);
    }
    CHECK(features_row(f, row));
    for (unsigned i = 0; i < 4; i++) {
        CHECK(row[i] == expected[i]);
    }
    features_reset(f);
    for (unsigned i = 0; i < 4; i++) {
        (void)features_push(f, (float[]){NAN});
    }
    CHECK(!features_row(f, row));
}

static void options_that_are_not_sound_are_refused(void **state)
{
    static const struct feature odd[] = {{.kind = FEATURE_MEAN, .channel = 1}, {.kind = FEATURE_BANDS, .bands = 4},
                                         {.kind = FEATURE_BANDS, .bands = 4, .low_hz = 10, .high_hz = 60}};
    struct features_options o = {.channels = 1, .window = 8, .hop = 4, .features = odd, .count = 1};
    struct fault fault = {.code = OK};
    (void)state;
    CHECK_INT(features_outputs(&o, &fault), 0);
    CHECK_CONTAINS(fault.text, "channel");
    o.features = odd + 1;
    CHECK_INT(features_outputs(&o, &fault), 0);
    CHECK_CONTAINS(fault.text, "rate");
    o.rate_hz = 100;
    CHECK_INT(features_outputs(&o, &fault), 4);
    o.window = 12;
    CHECK_INT(features_outputs(&o, &fault), 0);
    o.window = 8;
    o.features = odd + 2;
    CHECK_INT(features_outputs(&o, &fault), 0);
    o.hop = 9;
    CHECK_INT(features_outputs(&o, &fault), 0);
    CHECK_CONTAINS(fault.text, "hop");
    struct features *f = NULL;
    o = (struct features_options){.channels = 1, .window = 8, .hop = 4, .features = odd + 1, .count = 1, .rate_hz = 10};
    CHECK_ERR(features_init(&o, memory, features_bytes(&o) - 1, &f, &fault), ERR_FULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments_are_those_of_the_definition),
        cmocka_unit_test(bands_hold_the_energy_of_their_frequencies),
        cmocka_unit_test(a_tone_lies_in_its_band),
        cmocka_unit_test(windows_slide_by_the_hop),
        cmocka_unit_test(what_is_missing_takes_the_value_before),
        cmocka_unit_test(options_that_are_not_sound_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
