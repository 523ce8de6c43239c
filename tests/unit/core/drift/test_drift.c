/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: each statistic is its formula; detectors see a change that is there, when it is there, and none where there is none;
 * alarms need their confirmation; sensor faults are told apart;
 * a value that is no number blinds nothing; a state that was put away goes on as if it had not been.
 */
#include <math.h>
#include <stdio.h>

#include "core/base/buffer.h"
#include "core/base/cursor.h"
#include "core/drift/drift.h"
#include "tests/support/check.h"

static uint64_t seed;

static double uniform(void)
{
    seed = mix_u64(seed);
    return (double)(seed >> 11) / 9007199254740992.0;
}

static double normal(void)
{
    return sqrt(-2 * log(1 - uniform())) * cos(2 * M_PI * uniform());
}

/* ---- PCA ---- */
enum { ROWS = 2000, DIMENSIONS = 5 };
/* Two hidden causes, five dimensions, the last one constant. */
static void plane_row(double *row)
{
    double a = normal(), b = normal();
    row[0] = 10 + a;
    row[1] = 3 * a + 2 * b + 0.05 * normal();
    row[2] = -b + 0.05 * normal();
    row[3] = a - b + 0.05 * normal();
    row[4] = 7;
}

static void components_hold_what_moves_together(void **state)
{
    static double rows[ROWS * DIMENSIONS];
    struct drift_pca pca;
    double t2, spe, sum_t2 = 0, sum_spe = 0, normal_spe = 0;
    (void)state;
    seed = 1;
    for (size_t i = 0; i < ROWS; i++) {
        plane_row(rows + i * DIMENSIONS);
    }
    CHECK_OK(drift_pca_fit(&pca, rows, ROWS, DIMENSIONS, 0.95));
    CHECK_INT(pca.components, 2);
    for (unsigned c = 0; c < 2; c++) {
        double length = 0, dot = 0;
        for (unsigned i = 0; i < DIMENSIONS; i++) {
            length += pca.axes[c * DIMENSIONS + i] * pca.axes[c * DIMENSIONS + i];
            dot += pca.axes[i] * pca.axes[DIMENSIONS + i];
        }
        CHECK(fabs(length - 1) < 1e-9);
        CHECK(fabs(dot) < 1e-9);
    }
    for (size_t i = 0; i < ROWS; i++) {
        drift_pca_score(&pca, rows + i * DIMENSIONS, &t2, &spe);
        sum_t2 += t2;
        sum_spe += spe;
        normal_spe = fmax(normal_spe, spe);
    }
    CHECK(fabs(sum_t2 / ROWS - 2) < 0.01); /* scores have variance 1 by construction */
    CHECK(sum_spe / ROWS < 0.02);
    double row[DIMENSIONS] = {10 + 3, 3 * 3, 0, 3, 7}; /* far out, but in the plane */
    drift_pca_score(&pca, row, &t2, &spe);
    CHECK(t2 > 5 && spe < normal_spe);
    row[3] = -3; /* against how they move together */
    drift_pca_score(&pca, row, &t2, &spe);
    CHECK(spe > 10 * normal_spe);
    row[3] = NAN; /* the others say where it would be */
    drift_pca_score(&pca, row, &t2, &spe);
    CHECK(t2 > 5 && spe < normal_spe);
    drift_pca_deinit(&pca);
    CHECK_ERR(drift_pca_fit(&pca, rows, 1, DIMENSIONS, 0.9), ERR_RANGE);
}

/* ---- windows ---- */
static void beside_components_that_hold_everything_lies_nothing(void **state)
{
    static double rows[ROWS * 3];
    struct drift_pca pca;
    double t2, spe;
    (void)state;
    seed = 3;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        rows[i] = normal();
    }
    CHECK_OK(drift_pca_fit(&pca, rows, ROWS, 3, 1));
    CHECK_INT(pca.components, 3);
    for (size_t i = 0; i < ROWS; i++) { /* the rounding of a double is no distance: a limit of it would be beyond soon */
        drift_pca_score(&pca, rows + i * 3, &t2, &spe);
        CHECK(spe == 0);
    }
    drift_pca_deinit(&pca);
}

static void histograms_are_held_against_the_reference(void **state)
{
    static double values[1000];
    static struct drift_window w;
    struct drift_reference r;
    (void)state;
    for (size_t i = 0; i < 1000; i++) {
        values[i] = (double)(i * 7 % 1000);
    }
    CHECK_OK(drift_reference_fit(&r, values, 1000, 4));
    CHECK_INT(r.bins, 4);
    for (unsigned i = 0; i < 4; i++) {
        CHECK(fabs(r.share[i] - 0.25) < 1e-9);
    }
    CHECK_OK(drift_window_init(&w, 100));
    for (size_t i = 0; i < 100; i++) {
        drift_window_add(&w, &r, (double)(i * 10));
    }
    CHECK(drift_window_full(&w));
    CHECK(fabs(drift_psi(&w, &r)) < 1e-12);
    CHECK(fabs(drift_ks(&w, &r)) < 1e-12);
    for (size_t i = 0; i < 50; i++) { /* half of the window: below everything that was */
        drift_window_add(&w, &r, -1);
    }
    /* shares now: 50 from below and 0, 25, 25 of the old half */
    CHECK(fabs(drift_ks(&w, &r) - 0.25) < 1e-9);
    double expected = 0.25 * log(2) + (0.005 - 0.25) * log(0.005 / 0.25);
    CHECK(fabs(drift_psi(&w, &r) - expected) < 1e-9);
    CHECK_ERR(drift_reference_fit(&r, values, 3, 4), ERR_RANGE);
    for (size_t i = 0; i < 1000; i++) {
        values[i] = i < 900 ? 1 : 2;
    }
    CHECK_OK(drift_reference_fit(&r, values, 1000, 10)); /* nearly all equal: fewer bins */
    CHECK(r.bins >= 1 && r.bins <= 2);
}

static void a_moving_average_follows(void **state)
{
    struct drift_ewma e = {.lambda = 0.25};
    (void)state;
    CHECK(drift_ewma_add(&e, 4) == 4);
    CHECK(drift_ewma_add(&e, 8) == 5);
    CHECK(drift_ewma_add(&e, 5) == 5);
}

/* ---- changes ---- */
static void a_risen_error_rate_is_seen_and_a_steady_one_is_not(void **state)
{
    static struct drift_adwin a;
    unsigned seen_ph = 0, seen_adwin = 0, early = 0;
    (void)state;
    for (unsigned run = 0; run < 20; run++) {
        struct drift_page_hinkley p = {.delta = 0.005, .limit = 50};
        bool ph = false, adwin = false;
        seed = run + 1;
        drift_adwin_init(&a, 0.002);
        for (unsigned i = 0; i < 6000; i++) {
            double x = uniform() < (i < 4000 ? 0.1 : 0.4);
            bool now_ph = drift_page_hinkley_add(&p, x), now_adwin = drift_adwin_add(&a, x);
            early += (now_ph || now_adwin) && i < 4000;
            ph = ph || (now_ph && i >= 4000 && i < 4600);
            adwin = adwin || (now_adwin && i >= 4000 && i < 4400);
        }
        seen_ph += ph;
        seen_adwin += adwin;
        CHECK(fabs(drift_adwin_mean(&a) - 0.4) < 0.08); /* the old part is forgotten */
    }
    CHECK_INT(seen_ph, 20);
    CHECK_INT(seen_adwin, 20);
    CHECK_INT(early, 0);
}

static void the_adaptive_window_is_its_values(void **state)
{
    static struct drift_adwin a;
    double sum = 0, square = 0;
    (void)state;
    seed = 5;
    drift_adwin_init(&a, 1e-12); /* never cuts */
    for (unsigned i = 0; i < 3000; i++) {
        double x = uniform();
        sum += x;
        square += x * x;
        CHECK(!drift_adwin_add(&a, x));
    }
    CHECK_INT(a.width, 3000);
    CHECK(fabs(a.total - sum) < 1e-9);
    CHECK(fabs(a.variance - (square - sum * sum / 3000)) < 1e-6);
}

/* ---- alarms ---- */
static void an_alarm_needs_k_of_n(void **state)
{
    struct drift_confirm c = {.k = 3, .n = 5};
    static const bool beyond[] = {1, 0, 1, 0, 0, 1, 1, 0, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1};
    static const bool raised[] = {0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(beyond); i++) {
        CHECK_INT(drift_confirm_add(&c, beyond[i]), raised[i]);
    }
    CHECK(drift_limit((double[]){1, 5, 2}, 3, 1.1) == 5 * 1.1);
    CHECK(isnan(drift_limit(NULL, 0, 1)));
}

static void faults_of_a_sensor_are_told_apart(void **state)
{
    static double run[2000];
    struct drift_sensor s;
    unsigned faults = 0;
    (void)state;
    seed = 3;
    for (size_t i = 0; i < COUNT_OF(run); i++) {
        run[i] = 20 + 3 * sin((double)i / 50) + 0.1 * normal();
    }
    CHECK_OK(drift_sensor_fit(&s, run, COUNT_OF(run), 1.5));
    for (size_t i = 0; i < COUNT_OF(run); i++) {
        faults += drift_sensor_add(&s, 20 + 3 * sin((double)i / 50) + 0.1 * normal()) != DRIFT_FAULT_NONE;
    }
    CHECK_INT(faults, 0);
    CHECK_INT(drift_sensor_add(&s, 60), DRIFT_FAULT_SPIKE);
    CHECK_OK(drift_sensor_fit(&s, run, COUNT_OF(run), 1.5));
    enum drift_fault f = DRIFT_FAULT_NONE;
    for (unsigned i = 0; i < 30; i++) {
        f = drift_sensor_add(&s, 20);
    }
    CHECK_INT(f, DRIFT_FAULT_STUCK);
    CHECK_OK(drift_sensor_fit(&s, run, COUNT_OF(run), 1.5));
    for (unsigned i = 0; i < 40; i++) {
        f = drift_sensor_add(&s, 20 + 0.8 * normal());
    }
    CHECK_INT(f, DRIFT_FAULT_NOISE);
    CHECK_STR(drift_fault_name(f), "noise");
}

/* ---- what is no number, or no spread ---- */
static void a_bad_value_does_not_blind(void **state)
{
    static struct drift_adwin a;
    struct drift_ewma e = {.lambda = 0.25};
    struct drift_page_hinkley p = {.delta = 0.005, .limit = 10};
    unsigned seen = 0, seen_ph = 0;
    (void)state;
    seed = 9;
    drift_adwin_init(&a, 0.002);
    CHECK(drift_ewma_add(&e, NAN) == 0 && !e.begun);
    CHECK(drift_ewma_add(&e, 4) == 4);
    CHECK(drift_ewma_add(&e, INFINITY) == 4);
    for (unsigned i = 0; i < 4000; i++) {
        double x = i % 100 == 7 ? NAN : i % 100 == 8 ? -INFINITY : uniform() < (i < 2000 ? 0.1 : 0.6);
        seen += drift_adwin_add(&a, x);
        seen_ph += drift_page_hinkley_add(&p, x);
    }
    CHECK(seen > 0);
    CHECK(seen_ph > 0);
    CHECK(fabs(drift_adwin_mean(&a) - 0.6) < 0.08);
    drift_adwin_init(&a, 0.002);
    CHECK(!drift_adwin_add(&a, 1e300)); /* outside of 0..1: the nearer of the two */
    CHECK(a.total == 1);
}

static void rows_that_cannot_be_fitted_are_refused(void **state)
{
    double rows[8] = {1, 2, 2, 4, 3, 7, 4, 9}, t2, spe;
    struct drift_pca pca;
    (void)state;
    rows[3] = NAN;
    CHECK_ERR(drift_pca_fit(&pca, rows, 4, 2, 0.9), ERR_RANGE);
    CHECK(pca.axes == NULL);
    rows[3] = 1e300;
    CHECK_ERR(drift_pca_fit(&pca, rows, 4, 2, 0.9), ERR_RANGE); /* its square is none */
    for (unsigned i = 0; i < 8; i++) {
        rows[i] = 3;
    }
    CHECK_ERR(drift_pca_fit(&pca, rows, 4, 2, 0.9), ERR_RANGE); /* nothing moves */
    for (unsigned i = 0; i < 8; i++) {
        rows[i] = 1e-14 * (double)(i * i % 7); /* small numbers are no less numbers */
    }
    CHECK_OK(drift_pca_fit(&pca, rows, 4, 2, 1));
    drift_pca_score(&pca, (double[]){NAN, INFINITY}, &t2, &spe); /* all missing: the mean */
    CHECK(t2 == 0 && spe == 0);
    drift_pca_deinit(&pca);
}

static void a_score_that_hardly_ever_moved_is_still_watched(void **state)
{
    static double values[1000];
    static struct drift_window w;
    struct drift_reference r;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        values[i] = 1;
    }
    CHECK_OK(drift_reference_fit(&r, values, COUNT_OF(values), 10));
    CHECK_INT(r.bins, 3);
    for (int side = -1; side <= 1; side++) {
        CHECK_OK(drift_window_init(&w, 50));
        for (unsigned i = 0; i < 60; i++) {
            drift_window_add(&w, &r, 1 + 0.1 * side);
        }
        CHECK(fabs(drift_ks(&w, &r) - (side == 0 ? 0 : 1)) < 1e-9);
        CHECK(side == 0 ? fabs(drift_psi(&w, &r)) < 1e-9 : drift_psi(&w, &r) > 3);
    }
    for (size_t i = 0; i < 50; i++) {
        values[i] = 2; /* one in twenty is above the least */
    }
    CHECK_OK(drift_reference_fit(&r, values, COUNT_OF(values), 10));
    CHECK_INT(r.bins, 2);
    CHECK(fabs(r.share[1] - 0.05) < 1e-9);
    drift_window_add(&w, &r, NAN);
    CHECK(drift_window_full(&w));
    values[3] = NAN;
    CHECK_ERR(drift_reference_fit(&r, values, COUNT_OF(values), 10), ERR_RANGE);
}

static void a_margin_leads_outwards(void **state)
{
    (void)state;
    CHECK(drift_limit((double[]){-10, -5, -7}, 3, 1.2) == -4);
    CHECK(drift_limit((double[]){NAN, 2}, 2, 1.5) == 3);
}

static void a_channel_that_never_moved_is_never_stuck_and_a_dead_one_is_missing(void **state)
{
    static double run[200];
    struct drift_sensor s;
    (void)state;
    CHECK_OK(drift_sensor_fit(&s, run, COUNT_OF(run), 1.5));
    for (unsigned i = 0; i < 10000; i++) {
        CHECK_INT(drift_sensor_add(&s, 0), DRIFT_FAULT_NONE);
    }
    for (unsigned i = 0; i < COUNT_OF(run); i++) {
        run[i] = i % 20 < 3 ? NAN : (double)(i % 7);
    }
    CHECK_OK(drift_sensor_fit(&s, run, COUNT_OF(run), 1.5)); /* three in a row are normal: too_many(3) is 14 */
    for (unsigned i = 1; i < 30; i++) {
        CHECK_INT(drift_sensor_add(&s, NAN), i < 14 ? DRIFT_FAULT_NONE : DRIFT_FAULT_MISSING);
    }
    CHECK_INT(drift_sensor_add(&s, 3), DRIFT_FAULT_NONE);
    CHECK_ERR(drift_sensor_fit(&s, (double[40]){1, NAN}, 32, 1.5), ERR_RANGE);
}

/* ---- restarts: who goes on from bytes says the same as who went on ---- */
#define HAND_OVER(kind, from, to, ...)                                                                                 \
    do {                                                                                                               \
        BUFFER(bytes, 1 << 16);                                                                                        \
        drift_put_##kind(&(from), &bytes);                                                                             \
        CHECK_OK(buffer_err(&bytes));                                                                                  \
        for (size_t cut = 0; cut < bytes.len; cut++) {                                                                 \
            struct cursor less = cursor_of(slice_of(bytes.ptr, cut));                                                  \
            CHECK(drift_get_##kind(&less, ##__VA_ARGS__, &(to)) != OK);                                                \
        }                                                                                                              \
        struct cursor in = cursor_of(buffer_slice(&bytes));                                                            \
        CHECK_OK(drift_get_##kind(&in, ##__VA_ARGS__, &(to)));                                                         \
        CHECK_OK(cursor_end(&in));                                                                                     \
    } while (0)

static void states_survive_a_restart(void **state)
{
    static struct drift_adwin a, a2;
    static struct drift_window w, w2;
    static double values[500], run[500];
    struct drift_reference r;
    struct drift_sensor s, s2;
    struct drift_page_hinkley p = {.delta = 0.005, .limit = 8}, p2 = p;
    struct drift_confirm c = {.k = 2, .n = 5}, c2 = c;
    struct drift_ewma e = {.lambda = 0.1}, e2 = e;
    (void)state;
    seed = 21;
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        values[i] = uniform();
        run[i] = normal();
    }
    CHECK_OK(drift_reference_fit(&r, values, COUNT_OF(values), 8));
    CHECK_OK(drift_sensor_fit(&s, run, COUNT_OF(run), 1.2));
    CHECK_OK(drift_window_init(&w, 64));
    CHECK_OK(drift_window_init(&w2, 64));
    s2 = s;
    drift_adwin_init(&a, 0.002);
    drift_adwin_init(&a2, 0.002);
    unsigned alarms = 0;
    for (unsigned i = 0; i < 3000; i++) {
        double x = uniform() < (i < 1500 ? 0.1 : 0.5), z = (i < 2000 ? 1 : 4) * normal();
        bool adwin = drift_adwin_add(&a, x), ph = drift_page_hinkley_add(&p, x), far = drift_confirm_add(&c, z > 2);
        enum drift_fault fault = drift_sensor_add(&s, z);
        drift_window_add(&w, &r, x);
        (void)drift_ewma_add(&e, x);
        alarms += adwin + ph + far + (fault != DRIFT_FAULT_NONE);
        if (i > 40) {
            CHECK_INT(drift_adwin_add(&a2, x), adwin);
            CHECK_INT(drift_page_hinkley_add(&p2, x), ph);
            CHECK_INT(drift_confirm_add(&c2, z > 2), far);
            CHECK_INT(drift_sensor_add(&s2, z), fault);
            drift_window_add(&w2, &r, x);
            CHECK(drift_psi(&w, &r) == drift_psi(&w2, &r));
            CHECK(drift_ewma_add(&e2, x) == e.value);
        }
        if (i % 397 == 40) {
            HAND_OVER(adwin, a, a2);
            HAND_OVER(page_hinkley, p, p2);
            HAND_OVER(confirm, c, c2);
            HAND_OVER(sensor, s, s2);
            HAND_OVER(window, w, w2, r.bins);
            HAND_OVER(ewma, e, e2);
        }
    }
    CHECK(alarms > 10);
    CHECK_OK(drift_window_init(&w2, 63));
    BUFFER(bytes, 1 << 12);
    drift_put_window(&w, &bytes);
    struct cursor in = cursor_of(buffer_slice(&bytes));
    CHECK_ERR(drift_get_window(&in, r.bins, &w2), ERR_RANGE); /* of another calibration */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(components_hold_what_moves_together),
        cmocka_unit_test(beside_components_that_hold_everything_lies_nothing),
        cmocka_unit_test(histograms_are_held_against_the_reference),
        cmocka_unit_test(a_moving_average_follows),
        cmocka_unit_test(a_risen_error_rate_is_seen_and_a_steady_one_is_not),
        cmocka_unit_test(the_adaptive_window_is_its_values),
        cmocka_unit_test(an_alarm_needs_k_of_n),
        cmocka_unit_test(faults_of_a_sensor_are_told_apart),
        cmocka_unit_test(a_bad_value_does_not_blind),
        cmocka_unit_test(rows_that_cannot_be_fitted_are_refused),
        cmocka_unit_test(a_score_that_hardly_ever_moved_is_still_watched),
        cmocka_unit_test(a_margin_leads_outwards),
        cmocka_unit_test(a_channel_that_never_moved_is_never_stuck_and_a_dead_one_is_missing),
        cmocka_unit_test(states_survive_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
