/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drift - whether what comes in, and what models make of it, is still what it was. Pure statistics: no I/O, no clock; one
 * observation at a time; memory bounded and known.
 *
 * Textbook thresholds raise false alarms on every real process (autocorrelation; no two runs are alike). So a statistic here
 * is only a number; its threshold is the largest that a calibration run gave, times a margin (drift_limit), and travels
 * with the model. An alarm needs k of the last n observations beyond it (drift_confirm).
 *
 * What is not a finite number is no observation: it changes no state, but for a sensor's (DRIFT_FAULT_MISSING), and in a row
 * of inputs the others say what it would have been. One bad value must not blind a detector for good.
 *
 *   inputs moved       PCA of the inputs: T2 inside the model's plane, SPE beside it        (data drift)
 *   levels moved       moving average of every channel that does not wander by itself          (data drift)
 *   scores moved       EWMA, PSI, Kolmogorov-Smirnov on a model's score or confidence       (data drift)
 *   answers disagree   Page-Hinkley, ADWIN on the stream of errors or disagreements; rates of their kinds (concept drift)
 *   the sensor         stuck, spikes, noise: per channel                                    (neither)
 */
#ifndef CORE_DRIFT_DRIFT_H
#define CORE_DRIFT_DRIFT_H

#include "core/base/base.h"

enum { DRIFT_DIMENSIONS_MAX = 128, DRIFT_BINS_MAX = 32, DRIFT_WINDOW_MAX = 4096, DRIFT_CONFIRM_MAX = 64 };

/* ---- principal components: Jackson and Mudholkar, Technometrics 21 (1979) ---- */
struct drift_pca {
    unsigned dimensions, components;
    double mean[DRIFT_DIMENSIONS_MAX], scale[DRIFT_DIMENSIONS_MAX]; /* x -> (x - mean) * scale */
    double variance[DRIFT_DIMENSIONS_MAX];                          /* of the components kept, descending */
    double *axes;                                                   /* owned; [components][dimensions], orthonormal */
};
/* rows: [count][dimensions], finite, count >= 2; components are kept until they hold `share` (0..1) of the variance. A
 * dimension that never moves takes no part. ERR_RANGE: also when a number is not finite, spreads beyond a double, or when no
 * dimension moves; ERR_NOMEM. */
enum err drift_pca_fit(struct drift_pca *pca, const double *rows, size_t count, unsigned dimensions, double share) MUST_CHECK;
void drift_pca_deinit(struct drift_pca *pca); /* harmless when zeroed */
/* T2 = sum of score^2 / variance (Hotelling); SPE = squared distance from the plane. What is not finite is taken to lie where
 * the plane has it, given the others (iterative imputation: Nelson, Taylor and MacGregor, Chemometrics 35 (1996)). */
void drift_pca_score(const struct drift_pca *pca, const double *row, double *ret_t2, double *ret_spe);

/* ---- a moving average: Roberts, Technometrics 1 (1959) ---- */
struct drift_ewma {
    double lambda, value; /* 0 < lambda <= 1 */
    bool begun;
};
double drift_ewma_add(struct drift_ewma *e, double x);

/* ---- the last `window` values against a reference ---- */
struct drift_reference { /* of a calibration run */
    unsigned bins;
    double edge[DRIFT_BINS_MAX - 1]; /* ascending; bin i: edge[i-1] <= x < edge[i] */
    double share[DRIFT_BINS_MAX];    /* sum 1 */
};
/* Bins with equal shares of the values (which are sorted in place); fewer where values repeat, but never one alone: what lies
 * beside a value that most of them have is told from it. ERR_RANGE: count < bins, values that are not finite. */
enum err drift_reference_fit(struct drift_reference *r, double *values, size_t count, unsigned bins) MUST_CHECK;
struct drift_window {
    unsigned size, filled, at; /* size <= DRIFT_WINDOW_MAX */
    uint8_t bin[DRIFT_WINDOW_MAX];
    uint32_t count[DRIFT_BINS_MAX];
};
enum err drift_window_init(struct drift_window *w, unsigned size) MUST_CHECK; /* ERR_RANGE */
void drift_window_add(struct drift_window *w, const struct drift_reference *r, double x);
bool drift_window_full(const struct drift_window *w);
/* Population stability index: sum (p - q) ln(p / q), each share at least half a value's. */
double drift_psi(const struct drift_window *w, const struct drift_reference *r);
/* Kolmogorov-Smirnov distance of the two cumulated histograms: a lower bound of that of the values. 0..1 */
double drift_ks(const struct drift_window *w, const struct drift_reference *r);

/* ---- change of a mean: Page, Biometrika 41 (1954); Hinkley 1971. x: error 0..1, or a loss ---- */
struct drift_page_hinkley {
    double delta, limit; /* tolerated change; alarm when the statistic is above */
    double mean;
    double sum; /* of what was above mean + delta, less its least: never negative, so that it keeps its digits for years */
    uint64_t count;
};
/* True: it has risen. Begins anew by itself. */
bool drift_page_hinkley_add(struct drift_page_hinkley *p, double x);

/* ---- adaptive window: Bifet and Gavalda, SDM 2007 (ADWIN2). x: 0..1, else the nearer of the two ---- */
enum { ADWIN_PER_LEVEL = 5, ADWIN_LEVELS = 24 };
struct drift_adwin {
    double confidence; /* delta, e.g. 0.002 */
    struct {
        double sum[ADWIN_PER_LEVEL + 1], square[ADWIN_PER_LEVEL + 1]; /* squared distances from the bucket's mean */
        unsigned used;
    } level[ADWIN_LEVELS]; /* buckets of 2^level values; the newest stands last */
    uint64_t width, added;
    double total, variance; /* of the window: sum, sum of squared distances from the mean */
};
void drift_adwin_init(struct drift_adwin *a, double confidence);
/* True: older values were dropped because the mean has changed (either way). */
bool drift_adwin_add(struct drift_adwin *a, double x);
double drift_adwin_mean(const struct drift_adwin *a);

/* ---- rates of several kinds of error: a likelihood ratio at every border of an adaptive window ----
 * A model that is wrong in another way is not always wrong more often: what it misses may rise while what it finds
 * wrongly falls. So a rate per kind (of the answer that was given, say) is watched, as in Wang and Abraham, "Concept drift
 * detection for streaming data" (IJCNN 2015), each with the generalised likelihood ratio of Bernoulli trials (Siegmund and
 * Venkatraman, Annals of Statistics 23 (1995); Maillard, ALT 2019) over the buckets of ADWIN2's histogram. Only a rise is
 * told: fewer errors are no trouble. Looks after every DRIFT_RATES_BLOCK answers. */
enum { DRIFT_KINDS_MAX = 8, DRIFT_RATES_BLOCK = 16, DRIFT_RATES_PER_LEVEL = 5, DRIFT_RATES_LEVELS = 16 };
#define DRIFT_RATES_LIMIT 12.0 /* simulated: of unchanging streams of 40,000 answers 1 % come to it (8 kinds: 3 %) */
struct drift_rates {
    unsigned kinds;
    double limit;
    struct {
        uint32_t of[DRIFT_RATES_PER_LEVEL + 1][DRIFT_KINDS_MAX]; /* errors of each kind; the newest stands last */
        unsigned used;
    } level[DRIFT_RATES_LEVELS];
    uint32_t block[DRIFT_KINDS_MAX]; /* being filled */
    unsigned filled;
    double ratio; /* at the last look, the largest */
    unsigned kind; /* the last one that rose, and its rates */
    double before, after;
};
void drift_rates_init(struct drift_rates *r, unsigned kinds, double limit); /* 1 <= kinds <= DRIFT_KINDS_MAX, limit > 0 */
/* kind: of the error; >= kinds: there was none. True: a kind has risen; what is older than that is forgotten. */
bool drift_rates_add(struct drift_rates *r, unsigned kind);

/* ---- levels of many channels, without those that wander ----
 * Moving averages of all channels, each by how far it goes in the normal run; the statistic is the largest. Temperatures
 * of a machine that warms up, totals, levels of tanks: what wanders in the normal run goes on wandering, and no limit
 * from that run holds for it. So a channel takes no part when more than a share `slow` of its variance is slower than a
 * tenth of the run (variance of ten block means by that of the values: about 10 / count for noise, near 1 for a ramp;
 * non-stationary variables are the known weakness of charts of levels: Chen, Kruger and Leung, Ind. Eng. Chem. Res. 48
 * (2009)). MEWMA: Lowry et al., Technometrics 34 (1992). */
struct drift_levels { /* of a normal run */
    unsigned dimensions;
    double lambda;
    double mean[DRIFT_DIMENSIONS_MAX];
    double reach[DRIFT_DIMENSIONS_MAX]; /* of the moving average's distance from the mean, 99 %; 0: takes no part */
};
/* rows: [count][dimensions], finite, count >= 40. ERR_NOT_FOUND: nothing moves without wandering; ERR_RANGE, ERR_NOMEM. */
enum err drift_levels_fit(struct drift_levels *l, const double *rows, size_t count, unsigned dimensions, double lambda,
                          double slow) MUST_CHECK;
/* off: [dimensions], 0 at first: how far the moving averages are from the means. A value that is not finite takes no part in
 * this row. Returns the largest by reach, and whose it is. Its limit: drift_limit of those of a normal run. */
double drift_levels_add(const struct drift_levels *l, double *off, const double *row, unsigned *ret_dimension);

/* ---- thresholds and alarms ---- */
/* Largest of a calibration run's statistics, farther out by a margin (1.2: by a fifth of its size, also where it is negative).
 * NaN of none. */
double drift_limit(const double *values, size_t count, double margin);
struct drift_confirm {
    unsigned k, n; /* 1 <= k <= n <= DRIFT_CONFIRM_MAX */
    uint64_t beyond; /* bits, the newest is bit 0 */
    bool raised;
};
/* True once: k of the last n were beyond. Raised until none of n is. */
bool drift_confirm_add(struct drift_confirm *c, bool beyond);

/* ---- faults of one sensor, told from drift ---- */
enum drift_fault { DRIFT_FAULT_NONE, DRIFT_FAULT_STUCK, DRIFT_FAULT_SPIKE, DRIFT_FAULT_NOISE, DRIFT_FAULT_MISSING, DRIFT_FAULTS };
enum { DRIFT_STEPS = 16, DRIFT_RUN_MAX = 1 << 30, DRIFT_RUN_SLACK = 10 /* a fitted stuck_after lies so far beyond what is normal */ };
struct drift_sensor { /* limits from a calibration run (drift_sensor_fit); 0 = none */
    unsigned stuck_after, missing_after; /* equal values, values that are not finite in a row; <= DRIFT_RUN_MAX */
    double spike, noise; /* largest step from the median of the three before; largest median of the last steps */
    double last[3], steps[DRIFT_STEPS];
    uint64_t seen;
    unsigned equal, missing;
};
/* values: of a normal run, in order, 32 of them finite; margin > 1. A sensor that holds a value for long in the normal run may
 * do so then; one that never moved in it is never stuck. ERR_RANGE. */
enum err drift_sensor_fit(struct drift_sensor *s, const double *values, size_t count, double margin) MUST_CHECK;
enum drift_fault drift_sensor_add(struct drift_sensor *s, double x);
const char *drift_fault_name(enum drift_fault fault);

/* ---- states as bytes, to survive a restart (coding.c) ----
 * Settings and limits are not in it: they are the calibration's. drift_get_* takes bytes from anybody: what it gives back can
 * be added to without harm. It changes nothing of what it was given unless all is well.
 * ERR_MALFORMED: bytes; ERR_RANGE: a state that no detector comes to, or of other settings (size, k of n, bins). */
struct buffer;
struct cursor;
void drift_put_ewma(const struct drift_ewma *e, struct buffer *out);
void drift_put_window(const struct drift_window *w, struct buffer *out);
void drift_put_page_hinkley(const struct drift_page_hinkley *p, struct buffer *out);
void drift_put_adwin(const struct drift_adwin *a, struct buffer *out);
void drift_put_rates(const struct drift_rates *r, struct buffer *out);
void drift_put_levels(const struct drift_levels *l, const double *off, struct buffer *out);
void drift_put_confirm(const struct drift_confirm *c, struct buffer *out);
void drift_put_sensor(const struct drift_sensor *s, struct buffer *out);
enum err drift_get_ewma(struct cursor *in, struct drift_ewma *e) MUST_CHECK;
enum err drift_get_window(struct cursor *in, unsigned bins, struct drift_window *w) MUST_CHECK; /* w: of the same size */
enum err drift_get_page_hinkley(struct cursor *in, struct drift_page_hinkley *p) MUST_CHECK;
enum err drift_get_adwin(struct cursor *in, struct drift_adwin *a) MUST_CHECK;
enum err drift_get_rates(struct cursor *in, struct drift_rates *r) MUST_CHECK; /* of as many kinds */
enum err drift_get_levels(struct cursor *in, const struct drift_levels *l, double *off) MUST_CHECK;
enum err drift_get_confirm(struct cursor *in, struct drift_confirm *c) MUST_CHECK;
enum err drift_get_sensor(struct cursor *in, struct drift_sensor *s) MUST_CHECK;

#endif
