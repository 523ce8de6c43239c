/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core/drift over recorded data that tests/bench/drift has turned into files of doubles, row by row.
 *
 *   bench-drift tep NORMAL CALIBRATION RUN...
 *       rows of 52; per statistic and run: early alarms, the first one behind row 160
 *   bench-drift stream DETECTOR COLUMNS FILE...
 *       the last column is the class; per file: the rows of the alarms
 *   bench-drift chance STREAMS ROWS
 *       unchanging rates of errors; per stream: the largest ratio; how many alarmed
 *   bench-drift skab COLUMNS TRAIN FILE...
 *       the last column is 1 where something is wrong; per file and method: tp fp tn fn
 *
 * $LEVELS: "moving average, share from which a channel wanders, margin" of levels, instead of 0.15 0.15 1.2.
 */
#include <math.h>
#include <stdio.h>

#include "core/drift/drift.h"

enum { TEP_COLUMNS = 52, TEP_FAULT = 160, TEP_WINDOW = 50, TEP_BINS = 10 };
enum { K = 4, N = 5 }; /* of drift_confirm */

struct rows {
    double *v; /* owned */
    size_t count;
    unsigned columns;
};

static void rows_deinit(struct rows *r)
{
    free(r->v);
}

static struct rows rows_read(const char *path, unsigned columns)
{
    struct rows r = {.columns = columns};
    FILE *f = fopen(path, "rb");
    if (f == NULL || fseek(f, 0, SEEK_END) != 0) {
        perror(path);
        exit(2);
    }
    r.count = (size_t)ftell(f) / sizeof(double) / columns;
    r.v = malloc(r.count * columns * sizeof(double) + 1);
    rewind(f);
    if (r.v == NULL || fread(r.v, sizeof(double) * columns, r.count, f) != r.count) {
        perror(path);
        exit(2);
    }
    fclose(f);
    return r;
}

static void need(enum err err, const char *what)
{
    if (err != OK) {
        fprintf(stderr, "%s: %s\n", what, err_name(err));
        exit(2);
    }
}

/* ---- a process without labels ---- */
enum { T2, SPE, EWMA, KS, PSI, LEVELS, STATISTICS };
static const char *const STATISTIC[] = {"t2", "spe", "ewma_spe", "ks_spe", "psi_spe", "levels"};
static double levels_lambda, levels_slow, levels_margin;
struct watch {
    const struct drift_pca *pca;
    const struct drift_levels *levels;
    double off[TEP_COLUMNS];
    const struct drift_reference *reference;
    struct drift_ewma ewma;
    struct drift_window window;
};

static void watch_row(struct watch *w, const double *row, double ret[STATISTICS])
{
    drift_pca_score(w->pca, row, &ret[T2], &ret[SPE]);
    drift_window_add(&w->window, w->reference, log(ret[SPE]));
    bool full = drift_window_full(&w->window);
    ret[EWMA] = drift_ewma_add(&w->ewma, ret[SPE]);
    ret[KS] = full ? drift_ks(&w->window, w->reference) : 0;
    ret[PSI] = full ? drift_psi(&w->window, w->reference) : 0;
    unsigned which;
    ret[LEVELS] = drift_levels_add(w->levels, w->off, row, &which);
}

static void watch_begin(struct watch *w)
{
    w->ewma = (struct drift_ewma){.lambda = 0.1};
    memset(w->off, 0, sizeof(w->off));
    need(drift_window_init(&w->window, TEP_WINDOW), "window");
}

static void watch_run(struct watch *w, const char *path, const double limit[STATISTICS])
{
    CLEANUP(rows_deinit) struct rows run = rows_read(path, TEP_COLUMNS);
    double s[STATISTICS];
    unsigned early[STATISTICS] = {0};
    long first[STATISTICS] = {-1, -1, -1, -1, -1, -1}, first_confirmed = -1;
    unsigned early_confirmed = 0;
    struct drift_confirm confirm = {.k = K, .n = N}; /* any of four with a margin, 4 of 5 rows */
    watch_begin(w);
    for (size_t i = 0; i < run.count; i++) {
        watch_row(w, run.v + i * TEP_COLUMNS, s);
        for (unsigned k = 0; k < STATISTICS; k++) {
            if (s[k] > limit[k] && i < TEP_FAULT) {
                early[k]++;
            } else if (s[k] > limit[k] && first[k] < 0) {
                first[k] = (long)(i - TEP_FAULT);
            }
        }
        bool raised = drift_confirm_add(
            &confirm, s[T2] > limit[T2] * levels_margin || s[SPE] > limit[SPE] * levels_margin ||
                          s[EWMA] > limit[EWMA] * levels_margin || s[LEVELS] > limit[LEVELS] * levels_margin);
        early_confirmed += raised && i < TEP_FAULT;
        first_confirmed = raised && i >= TEP_FAULT && first_confirmed < 0 ? (long)(i - TEP_FAULT) : first_confirmed;
    }
    for (unsigned k = 0; k < STATISTICS; k++) {
        printf("%s %u %ld\n", STATISTIC[k], early[k], first[k]);
    }
    printf("confirmed %u %ld\n", early_confirmed, first_confirmed);
}

static int tep(int argc, char **argv)
{
    CLEANUP(rows_deinit) struct rows normal = rows_read(argv[0], TEP_COLUMNS);
    CLEANUP(rows_deinit) struct rows calibration = rows_read(argv[1], TEP_COLUMNS);
    struct drift_pca pca;
    static struct drift_reference reference;
    static struct drift_levels levels;
    static struct watch w;
    need(drift_pca_fit(&pca, normal.v, normal.count, TEP_COLUMNS, 0.9), "normal run");
    double *spe = calloc(normal.count, sizeof(*spe)), t2, s[STATISTICS], limit[STATISTICS] = {0};
    for (size_t i = 0; spe != NULL && i < normal.count; i++) {
        drift_pca_score(&pca, normal.v + i * TEP_COLUMNS, &t2, &spe[i]);
        spe[i] = log(spe[i]);
    }
    need(spe != NULL ? drift_reference_fit(&reference, spe, normal.count, TEP_BINS) : ERR_NOMEM, "reference");
    free(spe);
    w.pca = &pca;
    need(drift_levels_fit(&levels, normal.v, normal.count, TEP_COLUMNS, levels_lambda, levels_slow), "levels");
    w.reference = &reference;
    w.levels = &levels;
    watch_begin(&w);
    for (size_t i = 0; i < calibration.count; i++) {
        watch_row(&w, calibration.v + i * TEP_COLUMNS, s);
        for (unsigned k = 0; k < STATISTICS; k++) {
            limit[k] = drift_limit((double[]){limit[k], s[k]}, 2, 1);
        }
    }
    for (int i = 2; i < argc; i++) {
        printf("run %s\n", argv[i]);
        watch_run(&w, argv[i], limit);
    }
    drift_pca_deinit(&pca);
    return 0;
}

/* ---- labelled streams: Gaussian naive Bayes, fitted to the FIT rows behind an alarm, then left alone ---- */
enum { FIT = 1000, CLASSES = 4, INPUTS_MAX = 16 };
struct bayes {
    unsigned inputs;
    double count[CLASSES], mean[CLASSES][INPUTS_MAX], m2[CLASSES][INPUTS_MAX];
};

static void bayes_learn(struct bayes *b, const double *row)
{
    unsigned class = (unsigned)row[b->inputs] % CLASSES;
    b->count[class]++;
    for (unsigned i = 0; i < b->inputs; i++) {
        double distance = row[i] - b->mean[class][i];
        b->mean[class][i] += distance / b->count[class];
        b->m2[class][i] += distance * (row[i] - b->mean[class][i]);
    }
}

/* The class that it answers; *ret_wrong: that is not the row's. */
static unsigned bayes_answer(const struct bayes *b, const double *row, bool *ret_wrong)
{
    double best = -INFINITY;
    unsigned answer = 0;
    for (unsigned c = 0; c < CLASSES; c++) {
        double p = log(b->count[c]);
        for (unsigned i = 0; i < b->inputs && b->count[c] > 0; i++) {
            double variance = b->m2[c][i] / b->count[c] + 1e-9, distance = row[i] - b->mean[c][i];
            p -= 0.5 * (log(variance) + distance * distance / variance);
        }
        answer = p > best ? c : answer;
        best = fmax(best, p);
    }
    *ret_wrong = answer != (unsigned)row[b->inputs] % CLASSES;
    return answer;
}

struct detector {
    const char *name;
    double adwin, delta, limit;
    unsigned kinds; /* of errors, by the answer; 1: errors as such */
};
static const struct detector DETECTORS[] = {{"adwin_002", 0.002, 0, 0, 0},  {"adwin_1e5", 1e-5, 0, 0, 0},
                                            {"ph_005_50", 0, 0.005, 50, 0}, {"ph_05_20", 0, 0.05, 20, 0},
                                            {"rate", 0, 0, 0, 1},           {"rates", 0, 0, 0, CLASSES}};
struct state {
    const struct detector *d;
    struct drift_adwin adwin;
    struct drift_page_hinkley page;
    struct drift_rates rates;
};

static void state_begin(struct state *s)
{
    s->page = (struct drift_page_hinkley){.delta = s->d->delta, .limit = s->d->limit};
    drift_adwin_init(&s->adwin, s->d->adwin);
    if (s->d->kinds > 0) {
        drift_rates_init(&s->rates, s->d->kinds, DRIFT_RATES_LIMIT);
    }
}

static bool state_add(struct state *s, unsigned answer, bool wrong)
{
    if (s->d->kinds > 0) {
        return drift_rates_add(&s->rates, !wrong ? s->d->kinds : s->d->kinds == 1 ? 0 : answer);
    }
    return s->d->adwin > 0 ? drift_adwin_add(&s->adwin, wrong) : drift_page_hinkley_add(&s->page, wrong);
}

static void stream(const struct detector *d, const char *path, unsigned columns)
{
    CLEANUP(rows_deinit) struct rows rows = rows_read(path, columns);
    static struct state state;
    struct bayes bayes = {.inputs = columns - 1};
    size_t fitted = 0, wrongs = 0;
    state.d = d;
    state_begin(&state);
    printf("run %s\n", path);
    for (size_t i = 0; i < rows.count; i++) {
        const double *row = rows.v + i * columns;
        if (fitted < FIT) {
            bayes_learn(&bayes, row);
            fitted++;
            continue;
        }
        bool wrong;
        unsigned answer = bayes_answer(&bayes, row, &wrong);
        wrongs += wrong;
        if (state_add(&state, answer, wrong)) {
            printf("alarm %zu\n", i);
            bayes = (struct bayes){.inputs = columns - 1};
            state_begin(&state);
            fitted = 0;
        }
    }
    printf("wrong %zu of %zu\n", wrongs, rows.count);
}

/* ---- streams that do not change: what the limit of the rates promises ---- */
static double uniform(uint64_t *seed) /* splitmix64 */
{
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

static int chance(unsigned streams, unsigned rows)
{
    static struct drift_rates r;
    uint64_t seed = 1;
    unsigned alarmed = 0;
    for (unsigned s = 0; s < streams; s++) {
        double rate[CLASSES / 2], most = 0; /* of two kinds; together up to a half */
        for (unsigned k = 0; k < COUNT_OF(rate); k++) {
            rate[k] = 0.25 * uniform(&seed);
        }
        drift_rates_init(&r, COUNT_OF(rate), DRIFT_RATES_LIMIT);
        bool alarm = false;
        for (unsigned i = 0; i < rows; i++) {
            double u = uniform(&seed);
            alarm |= drift_rates_add(&r, u < rate[0] ? 0 : u < rate[0] + rate[1] ? 1 : CLASSES);
            most = fmax(most, r.ratio);
        }
        alarmed += alarm;
        printf("most %.2f\n", most);
    }
    printf("alarmed %u\n", alarmed);
    return 0;
}

static int streams(int argc, char **argv)
{
    for (size_t i = 0; i < COUNT_OF(DETECTORS); i++) {
        if (strcmp(DETECTORS[i].name, argv[0]) == 0) {
            for (int f = 2; f < argc; f++) {
                stream(&DETECTORS[i], argv[f], (unsigned)atoi(argv[1]));
            }
            return 0;
        }
    }
    return 2;
}

/* ---- a test bench whose every run begins well ---- */
static const double SHARE = 0.7, PCA_MARGIN = 2, PCA_LAMBDA = 0.1, FITTED = 0.7;
static const double GATEWAY_SHARE = 0.9, GATEWAY_LAMBDA = 0.1; /* of proto/calibration */
struct judged {
    size_t tally[2][2]; /* [something is wrong][alarm] */
    struct drift_confirm confirm;
};

static void judge(struct judged *j, bool wrong, bool beyond)
{
    (void)drift_confirm_add(&j->confirm, beyond);
    j->tally[wrong][j->confirm.raised]++;
}

static void told(const char *name, const struct judged *j)
{
    printf("%s %zu %zu %zu %zu\n", name, j->tally[1][1], j->tally[0][1], j->tally[0][0], j->tally[1][0]);
}

/* T2 and SPE, their moving averages; limits from the last part of the beginning. */
static void by_pca(const struct rows *rows, const double *x, size_t train)
{
    unsigned inputs = rows->columns - 1;
    size_t fit = (size_t)((double)train * FITTED);
    struct drift_pca pca;
    struct drift_ewma e[2] = {{.lambda = PCA_LAMBDA}, {.lambda = PCA_LAMBDA}};
    struct judged j = {.confirm = {.k = K, .n = N}};
    double t2, spe, limit[2] = {0};
    need(drift_pca_fit(&pca, x, fit, inputs, SHARE), "pca");
    for (size_t i = 0; i < rows->count; i++) {
        drift_pca_score(&pca, x + i * inputs, &t2, &spe);
        double s[2] = {drift_ewma_add(&e[0], t2), drift_ewma_add(&e[1], spe)};
        if (i >= train) {
            judge(&j, rows->v[i * rows->columns + inputs] != 0, s[0] > limit[0] || s[1] > limit[1]);
        }
        for (unsigned k = 0; k < 2 && i >= fit && i < train; k++) {
            limit[k] = drift_limit((double[]){limit[k], s[k] * PCA_MARGIN}, 2, 1);
        }
    }
    told("pca", &j);
    drift_pca_deinit(&pca);
}

/* A copy without what wanders in the first `fit` rows: such channels stand still. */
static double *without_wanderers(const struct drift_levels *levels, const double *x, size_t count)
{
    unsigned inputs = levels->dimensions;
    double *copy = calloc(count * inputs, sizeof(*copy));
    need(copy != NULL ? OK : ERR_NOMEM, "rows");
    for (size_t i = 0; i < count * inputs; i++) {
        copy[i] = levels->reach[i % inputs] > 0 ? x[i] : 0;
    }
    return copy;
}

/* As a calibration does it: the first half of the beginning says what is normal, the second half how far the statistics
 * go. Levels of the channels that do not wander, alone and with T2, SPE and its average of the same channels. */
static void by_levels(const struct rows *rows, const double *x, size_t train)
{
    enum { OF_T2, OF_SPE, OF_EWMA, OF_LEVELS, ALL };
    static struct drift_levels levels;
    unsigned inputs = rows->columns - 1, which;
    struct judged alone = {.confirm = {.k = K, .n = N}}, together = alone;
    struct drift_pca pca;
    struct drift_ewma e = {.lambda = GATEWAY_LAMBDA};
    double off[DRIFT_DIMENSIONS_MAX] = {0}, limit[ALL] = {0}, s[ALL];
    need(drift_levels_fit(&levels, x, train / 2, inputs, levels_lambda, levels_slow), "levels");
    double *steady = without_wanderers(&levels, x, rows->count);
    need(drift_pca_fit(&pca, steady, train / 2, inputs, GATEWAY_SHARE), "pca");
    for (size_t i = 0; i < rows->count; i++) {
        s[OF_LEVELS] = drift_levels_add(&levels, off, x + i * inputs, &which);
        if (i < train / 2) {
            continue;
        }
        drift_pca_score(&pca, steady + i * inputs, &s[OF_T2], &s[OF_SPE]);
        s[OF_EWMA] = drift_ewma_add(&e, s[OF_SPE]);
        bool beyond = false;
        for (unsigned k = 0; k < ALL; k++) {
            limit[k] = i < train ? drift_limit((double[]){limit[k], s[k] * levels_margin}, 2, 1) : limit[k];
            beyond |= s[k] > limit[k];
        }
        if (i >= train) {
            bool wrong = rows->v[i * rows->columns + inputs] != 0;
            judge(&alone, wrong, s[OF_LEVELS] > limit[OF_LEVELS]);
            judge(&together, wrong, beyond);
        }
    }
    told("levels", &alone);
    told("together", &together);
    drift_pca_deinit(&pca);
    free(steady);
}

static void bench_run(const char *path, unsigned columns, size_t train)
{
    CLEANUP(rows_deinit) struct rows rows = rows_read(path, columns);
    unsigned inputs = columns - 1;
    double *x = calloc(rows.count * inputs, sizeof(*x));
    need(x != NULL && rows.count > train ? OK : ERR_NOMEM, path);
    for (size_t i = 0; i < rows.count; i++) {
        memcpy(x + i * inputs, rows.v + i * columns, inputs * sizeof(*x));
    }
    printf("run %s\n", path);
    by_pca(&rows, x, train);
    by_levels(&rows, x, train);
    free(x);
}

int main(int argc, char **argv)
{
    const char *settings = getenv("LEVELS");
    if (sscanf(settings != NULL ? settings : "0.15 0.15 1.2", "%lf %lf %lf", &levels_lambda, &levels_slow,
               &levels_margin) != 3) {
        return 2;
    }
    if (argc >= 5 && strcmp(argv[1], "tep") == 0) {
        return tep(argc - 2, argv + 2);
    }
    if (argc >= 5 && strcmp(argv[1], "stream") == 0) {
        return streams(argc - 2, argv + 2);
    }
    if (argc == 4 && strcmp(argv[1], "chance") == 0) {
        return chance((unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]));
    }
    for (int i = 4; argc >= 5 && strcmp(argv[1], "skab") == 0 && i < argc; i++) {
        bench_run(argv[i], (unsigned)atoi(argv[2]), (size_t)atoi(argv[3]));
    }
    return argc >= 5 ? 0 : 2;
}
