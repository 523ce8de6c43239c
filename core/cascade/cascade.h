/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cascade - settings of a small model that asks a larger one, found from labelled answers instead of guessed: the
 * temperature that makes its confidence honest, the confidence below which it asks, and what follows its answers in an
 * event stream.
 *
 *   logits + labels      --cascade_temperature-->  temperature  (model.yaml: temperature)
 *   cases + cost         --cascade_curve-->        points --cascade_choose-->  threshold  (model.yaml: unsure_below)
 *   scored answers       --cascade_search-->       averaging, limit and silence of an alarm
 *
 * What comes in is a validation part: neither seen in training nor used for the figures that are then told. Pure: no
 * I/O, no clock; from any thread.
 */
#ifndef CORE_CASCADE_CASCADE_H
#define CORE_CASCADE_CASCADE_H

#include "core/base/base.h"

/* ---- honest confidence ---- */
/* T in 0.01..100 that minimises the mean negative log-likelihood of softmax(logits / T) (Guo et al., ICML 2017,
 * section 4.2). logits: [count][classes], finite; labels below classes. ERR_RANGE: none of them, fewer than two
 * classes, a label outside, not a number. *ret_nll (may be NULL): that likelihood. */
enum err cascade_temperature(const float *logits, const uint8_t *labels, size_t count, size_t classes,
                             double *ret_temperature, double *ret_nll) MUST_CHECK;

struct cascade_case {  /* one input */
    double confidence; /* of the small model, 0..1; not a number: it asks */
    bool device_right, gateway_right;
};
/* Expected calibration error: mean distance of confidence and share of right answers over bins of equal width, weighted
 * by their cases (Naeini et al., AAAI 2015). bins >= 1; 0 of no case. */
double cascade_calibration_error(const struct cascade_case *cases, size_t count, unsigned bins);

/* ---- when to ask ---- */
struct cascade_cost {
    double result_bytes; /* each inference, asked or not */
    double ask_bytes;    /* besides, when it asks: what goes up and what comes back */
    double device_us;    /* each inference */
    double ask_us;       /* besides, when it asks: round trip and the larger model */
};
struct cascade_point {
    double threshold; /* it asks when the confidence is below */
    double escalated; /* share of the cases */
    double accuracy;  /* of the answers that stand in the end */
    double gap;       /* of it to the larger model's */
    double gap_error; /* standard error of that difference, over the same cases */
    double bytes, latency_us; /* mean of an inference */
};
/* What a threshold gives. count >= 1. */
struct cascade_point cascade_measure(const struct cascade_case *cases, size_t count, const struct cascade_cost *cost,
                                     double threshold);
/* Every threshold that makes a difference, from never asking (0) on; each stands halfway between two confidences. A
 * case of confidence 1 never asks, since a threshold is at most 1. Sorts cases by confidence. points: room for count
 * + 1. Returns how many; 0 of no case. */
size_t cascade_curve(struct cascade_case *cases, size_t count, const struct cascade_cost *cost,
                     struct cascade_point *points);
/* The most accurate point within the budget of bytes per inference; of equals the one that asks least.
 * ERR_NOT_FOUND. */
enum err cascade_pick_bytes(const struct cascade_point *points, size_t count, double bytes_max,
                            struct cascade_point *ret_point) MUST_CHECK;
/* The point that asks least among those at least so accurate. ERR_NOT_FOUND. */
enum err cascade_pick_accuracy(const struct cascade_point *points, size_t count, double accuracy_min,
                               struct cascade_point *ret_point) MUST_CHECK;
/* The point that asks least among those no more than loss_max (0.005: half a point) below the larger model, also when
 * the gap is `errors` standard errors worse than it seems (2.33: in 99 of 100 drawn validation parts): the least of
 * many thresholds that just reach a goal is one of which chance spoke too well. ERR_NOT_FOUND. */
enum err cascade_pick_gap(const struct cascade_point *points, size_t count, double loss_max, double errors,
                          struct cascade_point *ret_point) MUST_CHECK;

/* What is asked of a threshold. */
struct cascade_goal {
    double loss_max, errors; /* as cascade_pick_gap's */
    double escalated_max;    /* share of the cases that may be asked about; 1: every one */
    double bytes_max;        /* above 0, instead of all these: as cascade_pick_bytes's */
};
/* By the loss; where that asks more than escalated_max, or is not to be had, and escalated_max is below 1: the most
 * accurate point within it. cost: the one of the points. ERR_NOT_FOUND. */
enum err cascade_choose(const struct cascade_point *points, size_t count, const struct cascade_cost *cost,
                        const struct cascade_goal *goal, struct cascade_point *ret_point) MUST_CHECK;
/* Cases that can tell whether a goal of loss and errors is kept: fewer say nothing even when none of them is lost. */
double cascade_cases_needed(const struct cascade_goal *goal);
/* The threshold with the fewest decimals that asks about the very same cases. */
double cascade_shorten(const struct cascade_case *cases, size_t count, double threshold);

/* ---- alarms of an event stream ---- */
struct cascade_answer { /* of a model that watches, in the order of time */
    int64_t at_us;
    double score; /* high: it sees the event */
    bool event;   /* the truth; neighbours that are one are the same event */
};
struct cascade_rule {
    unsigned average;    /* answers whose mean counts, 1..CASCADE_AVERAGE_MAX */
    double limit;        /* an alarm when the mean is at or above */
    int64_t suppress_us; /* silence after an alarm */
};
struct cascade_rates {
    size_t events, missed; /* events without an alarm */
    size_t alarms, false_alarms;
    double quiet_hours;    /* answers without an event, times the period */
    double false_per_hour; /* of them */
    double miss_rate;      /* share of the events */
    double delay_us;       /* mean from an event's begin to its first alarm */
};
enum { CASCADE_AVERAGE_MAX = 256 };
/* period_us: from one answer to the next; after a pause of more than two the mean begins anew. An alarm counts for an
 * event when it comes within it, or so soon after it that the mean still holds answers of it; further ones of the same
 * event count neither way. No alarm before `average` answers. */
struct cascade_rates cascade_apply(const struct cascade_answer *answers, size_t count, int64_t period_us,
                                   const struct cascade_rule *rule);
struct cascade_grid { /* borrowed; each at least one */
    const unsigned *averages;
    const double *limits;
    const int64_t *suppress_us;
    size_t average_count, limit_count, suppress_count;
};
struct cascade_trial {
    struct cascade_rule rule;
    struct cascade_rates rates;
};
/* Every rule of the grid, in its order: average, then limit, then silence. trials: room for the product of the counts.
 * The choice: fewest missed among those with at most false_per_hour_max; of equals fewest false alarms, then the
 * shortest delay, then the earliest. ERR_RANGE: an average outside; ERR_NOT_FOUND: none has so few false alarms (trials is written all the
 * same). */
enum err cascade_search(const struct cascade_answer *answers, size_t count, int64_t period_us,
                        const struct cascade_grid *grid, double false_per_hour_max, struct cascade_trial *trials,
                        struct cascade_trial *ret_choice) MUST_CHECK;
/* A grid for most streams: means over 1 to 60 answers, silence for 0 to 300. limits stays the caller's. */
enum { CASCADE_GRID_AVERAGES = 7, CASCADE_GRID_SILENCES = 5 };
struct cascade_grid cascade_usual_grid(int64_t period_us, const double *limits, size_t limit_count,
                                       int64_t ret_silences[CASCADE_GRID_SILENCES]);
/* The trials that no other beats: for each number of missed events the fewest false alarms (of equals the shortest
 * delay, then the earliest of a rising grid), where that is fewer than with fewer missed. They come to stand first,
 * fewest missed first; what is behind them is lost. Returns how many. */
size_t cascade_front(struct cascade_trial *trials, size_t count);

#endif
