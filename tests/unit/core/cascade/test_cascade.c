/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: temperature, calibration error, curve, choices and alarm rates are what their definitions say, on cases small
 * enough to be worked out by hand and on drawn ones against a plain count.
 */
#include <math.h>

#include "core/cascade/cascade.h"
#include "tests/support/check.h"

enum { DRAWN = 20000, CLASSES = 4 };

static double draw(uint64_t *seed) /* 0..1 */
{
    *seed = mix_u64(*seed);
    return (double)(*seed >> 11) * 0x1p-53;
}

static bool near(double a, double b, double within)
{
    return fabs(a - b) <= within;
}

/* Labels drawn from softmax(z); logits written as sharp * z: honest again at temperature `sharp`. */
static void draw_logits(double sharp, float *logits, uint8_t *labels)
{
    uint64_t seed = 7;
    for (size_t i = 0; i < DRAWN; i++) {
        double z[CLASSES], sum = 0;
        for (size_t c = 0; c < CLASSES; c++) {
            z[c] = 4 * draw(&seed) - 2;
            logits[i * CLASSES + c] = (float)(sharp * z[c]);
            sum += exp(z[c]);
        }
        double at = draw(&seed) * sum;
        labels[i] = 0;
        for (size_t c = 0; c + 1 < CLASSES && at >= exp(z[c]); c++) {
            at -= exp(z[c]);
            labels[i]++;
        }
    }
}

static void a_temperature_undoes_what_made_the_logits_too_sharp(void **state)
{
    static float logits[DRAWN * CLASSES];
    static uint8_t labels[DRAWN];
    const double sharp[] = {0.25, 1, 3, 20};
    double t, nll, even = 0;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sharp); i++) {
        draw_logits(sharp[i], logits, labels);
        CHECK_OK(cascade_temperature(logits, labels, DRAWN, CLASSES, &t, &nll));
        CHECK(near(t / sharp[i], 1, 0.05));
        even = i == 0 ? nll : even;
        CHECK(near(nll, even, 1e-4)); /* the same honest likelihood, however sharp */
    }
    const float separable[] = {5, 0, 0, 5};
    const uint8_t right[] = {0, 1};
    CHECK_OK(cascade_temperature(separable, right, 2, 2, &t, NULL));
    CHECK(t < 0.011); /* never wrong: as sure as it may be */
    const uint8_t wrong[] = {1, 0};
    CHECK_OK(cascade_temperature(separable, wrong, 2, 2, &t, &nll));
    CHECK(t > 99 && near(nll, log(2), 0.05)); /* always wrong: not sure at all */
}

static void a_temperature_of_nonsense_is_refused(void **state)
{
    const float logits[] = {1, 2, NAN, 0};
    const uint8_t labels[] = {0, 1}, outside[] = {2};
    double t = 5;
    (void)state;
    CHECK_ERR(cascade_temperature(logits, labels, 0, 2, &t, NULL), ERR_RANGE);
    CHECK_ERR(cascade_temperature(logits, labels, 2, 1, &t, NULL), ERR_RANGE);
    CHECK_ERR(cascade_temperature(logits, labels, 2, 2, &t, NULL), ERR_RANGE);
    CHECK_ERR(cascade_temperature(logits, outside, 1, 2, &t, NULL), ERR_RANGE);
    CHECK(near(t, 5, 0));
}

static void calibration_error_is_the_weighted_gap_of_the_bins(void **state)
{
    /* bins of 0.25: {0.1, 0.2}: one right; {0.9 x 3, 1}: two right */
    const struct cascade_case cases[] = {{0.1, false, true}, {0.2, true, true},  {0.9, true, true},
                                         {0.9, true, false}, {0.9, false, true}, {1, false, true}};
    (void)state;
    CHECK(near(cascade_calibration_error(cases, 6, 4), (0.7 + 1.7) / 6,
               1e-12)); /* not sure enough there, too sure here */
    CHECK(near(cascade_calibration_error(cases, 6, 1), 1.0 / 6, 1e-12));
    CHECK(near(cascade_calibration_error(cases, 0, 4), 0, 0));
}

static const struct cascade_cost cost = {.result_bytes = 10, .ask_bytes = 100, .device_us = 5, .ask_us = 1000};

static void a_curve_goes_from_never_asking_to_always(void **state)
{
    struct cascade_case cases[] = {
        {0.9, true, false}, {0.3, false, true}, {NAN, true, false}, {0.6, true, true}, {0.6, false, true}};
    struct cascade_point p[6];
    (void)state;
    CHECK_INT(cascade_curve(cases, 5, &cost, p), 4);
    /* the case whose confidence is not a number asks in any case, and is answered wrongly */
    CHECK(near(p[0].threshold, 0, 0) && near(p[0].escalated, 0.2, 1e-12) && near(p[0].accuracy, 0.4, 1e-12));
    CHECK(near(p[1].threshold, 0.45, 1e-12) && near(p[1].escalated, 0.4, 1e-12) && near(p[1].accuracy, 0.6, 1e-12));
    CHECK(near(p[2].threshold, 0.75, 1e-12) && near(p[2].escalated, 0.8, 1e-12) && near(p[2].accuracy, 0.8, 1e-12));
    CHECK(near(p[3].threshold, 0.95, 1e-12) && near(p[3].escalated, 1, 1e-12) && near(p[3].accuracy, 0.6, 1e-12));
    CHECK(near(p[2].bytes, 90, 1e-9) && near(p[2].latency_us, 805, 1e-9));
    CHECK_INT(cascade_curve(cases, 0, &cost, p), 0);
}

static void a_curve_says_of_every_threshold_what_a_plain_count_says(void **state)
{
    static struct cascade_case cases[500];
    static struct cascade_point points[501];
    uint64_t seed = 3;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        double confidence = round(draw(&seed) * 100) / 100; /* ties, and some of exactly 0 and 1 */
        cases[i] = (struct cascade_case){confidence, draw(&seed) < confidence, draw(&seed) < 0.97};
    }
    cases[17].confidence = NAN;
    cases[18].confidence = 0.5;
    cases[19].confidence = nextafter(0.5, 1); /* nothing fits between the two */
    size_t n = cascade_curve(cases, COUNT_OF(cases), &cost, points);
    CHECK(n > 90 && n <= COUNT_OF(points));
    for (size_t i = 0; i < n; i++) {
        struct cascade_point plain = cascade_measure(cases, COUNT_OF(cases), &cost, points[i].threshold);
        CHECK(near(plain.accuracy, points[i].accuracy, 1e-12) && near(plain.escalated, points[i].escalated, 1e-12));
        CHECK(near(plain.gap, points[i].gap, 1e-12) && near(plain.gap_error, points[i].gap_error, 1e-12));
        CHECK(points[i].threshold <= 1 && (i == 0 || points[i].threshold > points[i - 1].threshold));
        CHECK(i == 0 || points[i].escalated > points[i - 1].escalated);
    }
}

static void a_gap_to_the_larger_model_is_told_with_its_error(void **state)
{
    static struct cascade_case cases[1000];
    static struct cascade_point points[1001];
    struct cascade_point chosen;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases);
         i++) { /* sure ones: 30 worse and 10 better than the larger model; the others: it helps */
        cases[i] = (struct cascade_case){i < 500 ? 0.9 : 0.1 + (double)(i - 500) / 1000, true, true};
        cases[i].device_right = i >= 30 && (i < 500 || i % 2 == 0);
        cases[i].gateway_right = i < 30 || i >= 40;
    }
    struct cascade_point p = cascade_measure(cases, COUNT_OF(cases), &cost, 0.7);
    CHECK(near(p.gap, -0.02, 1e-12) && near(p.gap_error, sqrt((41.0 / 1000 - 0.0004) / 1000), 1e-12));
    p = cascade_measure(cases, COUNT_OF(cases), &cost, 1);
    CHECK(near(p.gap, 0, 1e-12) &&
          near(p.gap_error, 0.001, 1e-12)); /* the same answers in 1,000 cases are no certainty */
    size_t n = cascade_curve(cases, COUNT_OF(cases), &cost, points);
    CHECK_OK(cascade_pick_gap(points, n, 0.1, 0, &chosen));
    struct cascade_point less = chosen;
    CHECK(less.gap >= -0.1 && less.gap < -0.098);
    CHECK_OK(cascade_pick_gap(points, n, 0.1, 2.33, &chosen));
    CHECK(chosen.gap - 2.33 * chosen.gap_error >= -0.1 && chosen.escalated > less.escalated + 0.03);
    CHECK_OK(cascade_pick_gap(points, n, 0.002, 0, &chosen));
    CHECK(chosen.escalated > 0.99);
    CHECK_ERR(cascade_pick_gap(points, n, 0.002, 3, &chosen), ERR_NOT_FOUND);
}

static void a_choice_is_the_best_within_its_budget(void **state)
{
    const struct cascade_point p[] = {{.threshold = 0, .accuracy = 0.80, .bytes = 10},
                                      {.threshold = 0.5, .escalated = 0.1, .accuracy = 0.93, .bytes = 20},
                                      {.threshold = 0.6, .escalated = 0.2, .accuracy = 0.95, .bytes = 30},
                                      {.threshold = 0.7, .escalated = 0.3, .accuracy = 0.95, .bytes = 40},
                                      {.threshold = 0.8, .escalated = 0.4, .accuracy = 0.94, .bytes = 50}};
    struct cascade_point chosen = {.threshold = -1};
    (void)state;
    CHECK_OK(cascade_pick_bytes(p, 5, 29.9, &chosen));
    CHECK(near(chosen.threshold, 0.5, 0));
    CHECK_OK(cascade_pick_bytes(p, 5, 1000, &chosen));
    CHECK(near(chosen.threshold, 0.6, 0)); /* 0.7 is as good and asks more */
    CHECK_OK(cascade_pick_accuracy(p, 5, 0.93, &chosen));
    CHECK(near(chosen.threshold, 0.5, 0));
    CHECK_OK(cascade_pick_accuracy(p, 5, 0, &chosen));
    CHECK(near(chosen.threshold, 0, 0));
    chosen.threshold = -1;
    CHECK_ERR(cascade_pick_bytes(p, 5, 9, &chosen), ERR_NOT_FOUND);
    CHECK_ERR(cascade_pick_accuracy(p, 5, 0.951, &chosen), ERR_NOT_FOUND);
    CHECK(near(chosen.threshold, -1, 0));
}

/* One answer a second: '.' quiet 0, '!' quiet 1, 'e' event 0, 'E' event 1, ' ' an hour's pause. */
static size_t stream(const char *text, struct cascade_answer *ret_answers)
{
    size_t n = 0;
    int64_t at_us = 0;
    for (; *text != '\0'; text++) {
        at_us += *text == ' ' ? HOUR_US : SECOND_US;
        if (*text != ' ') {
            ret_answers[n++] =
                (struct cascade_answer){at_us, *text == '!' || *text == 'E', *text == 'e' || *text == 'E'};
        }
    }
    return n;
}

static struct cascade_rates rates(const char *text, unsigned average, double limit, int64_t suppress_s)
{
    struct cascade_answer answers[64];
    struct cascade_rule rule = {average, limit, suppress_s * SECOND_US};
    return cascade_apply(answers, stream(text, answers), SECOND_US, &rule);
}

static void expect(struct cascade_rates r, size_t events, size_t missed, size_t alarms, size_t false_alarms)
{
    CHECK_INT(r.events, events);
    CHECK_INT(r.missed, missed);
    CHECK_INT(r.alarms, alarms);
    CHECK_INT(r.false_alarms, false_alarms);
}

static void alarms_are_true_false_or_missing(void **state)
{
    (void)state;
    expect(rates("..!..eEE..ee.", 1, 1, 0), 2, 1, 3, 1);
    struct cascade_rates r = rates("..!..eEE..ee.", 1, 1, 0);
    CHECK(near(r.delay_us, 1e6, 0) && near(r.miss_rate, 0.5, 0));
    CHECK(near(r.quiet_hours, 8 / 3600.0, 1e-12) && near(r.false_per_hour, 450, 1e-9));
    expect(rates("..........", 1, 1, 0), 0, 0, 0, 0);
    expect(rates("", 1, 1, 0), 0, 0, 0, 0);
}

static void averaging_removes_single_outliers_and_may_find_an_event_late(void **state)
{
    (void)state;
    expect(rates("..!..EEEE..", 3, 0.9, 0), 1, 0, 2, 0);
    /* the mean rises to a half only after the event has ended, while it still holds its answer */
    expect(rates("...eE!...", 2, 1, 0), 1, 0, 1, 0);
    /* one answer later it does not */
    expect(rates("...ee!!...", 2, 1, 0), 1, 1, 1, 1);
    expect(rates("...eE.!!..", 2, 1, 0), 1, 1, 1, 1);
    /* no alarm before there are as many answers, nor right after a pause */
    expect(rates("!!", 3, 0.1, 0), 0, 0, 0, 0);
    expect(rates(".!! !..", 3, 1, 0), 0, 0, 0, 0);
    expect(rates(".!!!..", 3, 1, 0), 0, 0, 1, 1);
}

static void silence_spares_repeated_alarms_and_can_hide_an_event(void **state)
{
    (void)state;
    expect(rates("..!!!!....", 1, 1, 0), 0, 0, 4, 4);
    expect(rates("..!!!!....", 1, 1, 2), 0, 0, 2, 2);
    expect(rates("..!!!!....", 1, 1, 10), 0, 0, 1, 1);
    expect(rates("..!..EE...", 1, 1, 4), 1, 0, 2, 1); /* the silence ends at the second answer... */
    expect(rates("..!..EE...", 1, 1, 5), 1, 1, 1, 1); /* ...and here lasts through the event */
}

static void a_search_finds_the_rule_with_fewest_misses_under_the_limit(void **state)
{
    struct cascade_answer answers[64];
    size_t n = stream("..!..!...EEEE...!...EEEE....", answers);
    const unsigned averages[] = {1, 3}, outside[] = {0};
    const double limits[] = {0.5, 1, 2};
    const int64_t suppress[] = {0, 5 * SECOND_US};
    struct cascade_grid grid = {averages, limits, suppress, 2, 3, 2};
    struct cascade_trial trials[12], choice = {0};
    (void)state;
    CHECK_OK(cascade_search(answers, n, SECOND_US, &grid, 0, trials, &choice));
    CHECK_INT(choice.rates.missed, 0);
    CHECK_INT(choice.rates.false_alarms, 0);
    CHECK_INT(choice.rule.average, 3); /* single answers give false alarms */
    CHECK(near(choice.rule.limit, 0.5, 0));
    for (size_t i = 0; i < COUNT_OF(trials); i++) {
        struct cascade_rates r = cascade_apply(answers, n, SECOND_US, &trials[i].rule);
        CHECK_INT(r.false_alarms, trials[i].rates.false_alarms);
        CHECK(r.false_per_hour > 0 || r.missed >= choice.rates.missed);
    }
    CHECK_OK(cascade_search(answers, n, SECOND_US, &grid, 1e9, trials, &choice));
    CHECK_INT(choice.rates.false_alarms, 0); /* also where more would be allowed */
    CHECK_INT(trials[11].rule.average, 3);
    CHECK_INT(trials[11].rates.missed, 2); /* a limit that no mean reaches */
    CHECK_ERR(cascade_search(answers, n, SECOND_US, &grid, -1, trials, &choice), ERR_NOT_FOUND);
    n = stream("......EEEE.......EEEE....", answers);
    const unsigned slow_first[] = {3, 1};
    grid.averages = slow_first;
    CHECK_OK(cascade_search(answers, n, SECOND_US, &grid, 1e9, trials, &choice));
    CHECK_INT(choice.rule.average, 1); /* both find all and nothing else: the earlier alarm */
    CHECK(near(choice.rates.delay_us, 0, 0));
    grid.averages = outside, grid.average_count = 1;
    CHECK_ERR(cascade_search(answers, n, SECOND_US, &grid, 1, trials, &choice), ERR_RANGE);
}

/* ---- choices ---- */
static const struct cascade_point some_points[] = {
    {.threshold = 0, .escalated = 0, .accuracy = 0.90, .gap = -0.09, .gap_error = 0.01, .bytes = 60},
    {.threshold = 0.6, .escalated = 0.1, .accuracy = 0.95, .gap = -0.04, .gap_error = 0.005, .bytes = 100},
    {.threshold = 0.8, .escalated = 0.3, .accuracy = 0.985, .gap = -0.004, .gap_error = 0.001, .bytes = 180},
    {.threshold = 1, .escalated = 1, .accuracy = 0.99, .gap = 0, .gap_error = 0.0001, .bytes = 460},
};

static void a_choice_follows_loss_share_or_bytes(void **state)
{
    const struct cascade_cost bytes = {.result_bytes = 60, .ask_bytes = 400};
    struct cascade_goal goal = {.loss_max = 0.01, .errors = 2, .escalated_max = 1};
    struct cascade_point p;
    size_t n = COUNT_OF(some_points);
    (void)state;
    CHECK_OK(cascade_choose(some_points, n, &bytes, &goal, &p));
    CHECK(near(p.threshold, 0.8, 1e-12));
    goal.errors = 10; /* 0.004 and ten errors are more than may be lost */
    CHECK_OK(cascade_choose(some_points, n, &bytes, &goal, &p));
    CHECK(near(p.threshold, 1, 1e-12));
    goal.escalated_max = 0.2; /* that asks too often: the best of what may be asked */
    CHECK_OK(cascade_choose(some_points, n, &bytes, &goal, &p));
    CHECK(near(p.threshold, 0.6, 1e-12));
    goal.loss_max = -1; /* not to be had at all */
    CHECK_OK(cascade_choose(some_points, n, &bytes, &goal, &p));
    CHECK(near(p.threshold, 0.6, 1e-12));
    goal.escalated_max = 1;
    CHECK_ERR(cascade_choose(some_points, n, &bytes, &goal, &p), ERR_NOT_FOUND);
    goal.bytes_max = 200;
    CHECK_OK(cascade_choose(some_points, n, &bytes, &goal, &p));
    CHECK(near(p.threshold, 0.8, 1e-12));
    goal.bytes_max = 59;
    CHECK_ERR(cascade_choose(some_points, n, &bytes, &goal, &p), ERR_NOT_FOUND);
}

static void fewer_cases_than_needed_cannot_keep_a_goal(void **state)
{
    static struct cascade_case cases[1000];
    static struct cascade_point points[1001];
    const struct cascade_cost bytes = {.ask_bytes = 1};
    const struct cascade_goal goal = {.loss_max = 0.0025, .errors = 2.33, .escalated_max = 1};
    struct cascade_point p;
    (void)state;
    CHECK(near(cascade_cases_needed(&goal), 932, 0));
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        cases[i] = (struct cascade_case){(double)i / 2000, true, true};
    }
    CHECK_ERR(cascade_choose(points, cascade_curve(cases, 931, &bytes, points), &bytes, &goal, &p), ERR_NOT_FOUND);
    CHECK_OK(cascade_choose(points, cascade_curve(cases, 933, &bytes, points), &bytes, &goal, &p));
    CHECK(near(p.escalated, 0, 0)); /* no case of which the larger model is right alone */
}

static void a_shorter_threshold_asks_about_the_same(void **state)
{
    const struct cascade_case cases[] = {{0.81234, true, true}, {0.81236, true, true}, {0.9, true, true}, {NAN, true, true}};
    (void)state;
    CHECK(near(cascade_shorten(cases, 4, 0.850123), 0.85, 1e-15) || near(cascade_shorten(cases, 4, 0.850123), 0.9, 1e-15));
    CHECK(near(cascade_shorten(cases, 4, 0.812350001), 0.81235, 1e-15));
    CHECK(near(cascade_shorten(cases, 4, 0), 0, 0));
    CHECK(near(cascade_shorten(cases, 4, 1), 1, 0));
    const struct cascade_case close[] = {{0.5, true, true}, {nextafter(0.5, 1), true, true}};
    double between = nextafter(0.5, 1);
    CHECK(cascade_shorten(close, 2, between) == between);
}

static void the_front_is_what_no_other_trial_beats(void **state)
{
    struct cascade_trial trials[] = {
        {.rule = {1, 0.1, 0}, .rates = {.missed = 0, .false_alarms = 9, .delay_us = 1}},
        {.rule = {1, 0.2, 0}, .rates = {.missed = 1, .false_alarms = 4, .delay_us = 2}},
        {.rule = {1, 0.3, 0}, .rates = {.missed = 1, .false_alarms = 4, .delay_us = 1}},
        {.rule = {1, 0.4, 0}, .rates = {.missed = 2, .false_alarms = 4, .delay_us = 0}},
        {.rule = {1, 0.5, 0}, .rates = {.missed = 3, .false_alarms = 0, .delay_us = 5}},
        {.rule = {1, 0.6, 0}, .rates = {.missed = 3, .false_alarms = 0, .delay_us = 5}},
        {.rule = {1, 0.7, 0}, .rates = {.missed = 0, .false_alarms = 9, .delay_us = 3}},
    };
    const double limits[] = {0.1, 0.3, 0.5};
    (void)state;
    CHECK_INT(cascade_front(trials, COUNT_OF(trials)), 3);
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        CHECK(near(trials[i].rule.limit, limits[i], 1e-12));
    }
    CHECK_INT(cascade_front(trials, 0), 0);
}

static void the_usual_grid_counts_in_answers(void **state)
{
    int64_t silences[CASCADE_GRID_SILENCES];
    const double limits[] = {1};
    (void)state;
    struct cascade_grid grid = cascade_usual_grid(20 * MS_US, limits, 1, silences);
    CHECK_INT(grid.averages[0], 1);
    CHECK_INT(grid.averages[grid.average_count - 1], 60);
    CHECK_INT(grid.suppress_us[0], 0);
    CHECK_INT(grid.suppress_us[grid.suppress_count - 1], 6 * SECOND_US);
    CHECK_INT(grid.limit_count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_temperature_undoes_what_made_the_logits_too_sharp),
        cmocka_unit_test(a_temperature_of_nonsense_is_refused),
        cmocka_unit_test(calibration_error_is_the_weighted_gap_of_the_bins),
        cmocka_unit_test(a_curve_goes_from_never_asking_to_always),
        cmocka_unit_test(a_curve_says_of_every_threshold_what_a_plain_count_says),
        cmocka_unit_test(a_gap_to_the_larger_model_is_told_with_its_error),
        cmocka_unit_test(a_choice_is_the_best_within_its_budget),
        cmocka_unit_test(alarms_are_true_false_or_missing),
        cmocka_unit_test(averaging_removes_single_outliers_and_may_find_an_event_late),
        cmocka_unit_test(silence_spares_repeated_alarms_and_can_hide_an_event),
        cmocka_unit_test(a_search_finds_the_rule_with_fewest_misses_under_the_limit),
        cmocka_unit_test(a_choice_follows_loss_share_or_bytes),
        cmocka_unit_test(fewer_cases_than_needed_cannot_keep_a_goal),
        cmocka_unit_test(a_shorter_threshold_asks_about_the_same),
        cmocka_unit_test(the_front_is_what_no_other_trial_beats),
        cmocka_unit_test(the_usual_grid_counts_in_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
