/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-alarms - what follows a model's scores in an event stream, found by search on some runs, told on others.
 *
 *   bench-alarms COLUMNS NORMAL FALSE_PER_HOUR CALIBRATION_FILES FILE...
 *
 * A file: rows of doubles, one a second, the last column the truth. Score of a row: log of the residual (SPE) of a
 * plane fitted to the run's own first NORMAL rows, less the mean of those rows, in their standard deviations; only the
 * rows behind are told. Two choices on the calibration files: the limit alone (each row by itself, no silence), and
 * limit, averaging and silence together. Both then on the other files. Closing line on stdout.
 */
#include <math.h>
#include <stdio.h>

#include "core/cascade/cascade.h"
#include "core/drift/drift.h"

enum { LIMITS = 60, ANSWERS_MAX = 1 << 20 };

__attribute__((noreturn)) static void give_up(const char *what)
{
    fprintf(stderr, "bench-alarms: %s\n", what);
    exit(2);
}

struct stream {
    struct cascade_answer *answers; /* owned */
    size_t count;
    int64_t at_us;
};

static double log_spe(const struct drift_pca *pca, const double *row)
{
    double t2, spe;
    drift_pca_score(pca, row, &t2, &spe);
    return log(spe + 1e-9);
}

/* Behind an hour's pause, so that runs stay apart. */
static void add_run(struct stream *s, const double *rows, size_t count, unsigned columns, size_t normal)
{
    struct drift_pca pca = {0};
    unsigned sensors = columns - 1;
    double *learnt = calloc(normal, sensors * sizeof(*learnt)), sum = 0, square = 0;
    if (learnt == NULL || count <= normal || s->count + count > ANSWERS_MAX) {
        give_up("a run is too short, or all are too long");
    }
    for (size_t r = 0; r < normal; r++) {
        memcpy(learnt + r * sensors, rows + r * columns, sensors * sizeof(*learnt));
    }
    if (drift_pca_fit(&pca, learnt, normal, sensors, 0.7) != OK) {
        give_up("no plane fits");
    }
    for (size_t r = 0; r < normal; r++) {
        double v = log_spe(&pca, learnt + r * sensors);
        sum += v;
        square += v * v;
    }
    double mean = sum / (double)normal, deviation = sqrt(fmax(square / (double)normal - mean * mean, 1e-9));
    s->at_us += HOUR_US;
    for (size_t r = normal; r < count; r++) {
        s->at_us += SECOND_US;
        s->answers[s->count++] =
            (struct cascade_answer){.at_us = s->at_us,
                                    .score = (log_spe(&pca, rows + r * columns) - mean) / deviation,
                                    .event = rows[r * columns + sensors] > 0};
    }
    drift_pca_deinit(&pca);
    free(learnt);
}

static void add_file(struct stream *s, const char *path, unsigned columns, size_t normal)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL || fseek(f, 0, SEEK_END) != 0) {
        give_up(path);
    }
    size_t count = (size_t)ftell(f) / sizeof(double) / columns;
    double *rows = calloc(count + 1, columns * sizeof(*rows));
    rewind(f);
    if (rows == NULL || fread(rows, columns * sizeof(*rows), count, f) != count) {
        give_up(path);
    }
    fclose(f);
    add_run(s, rows, count, columns, normal);
    free(rows);
}

static struct cascade_trial choose(const struct stream *s, const struct cascade_grid *grid, double false_per_hour)
{
    size_t count = grid->average_count * grid->limit_count * grid->suppress_count;
    struct cascade_trial *trials = calloc(count, sizeof(*trials)), choice;
    if (trials == NULL ||
        cascade_search(s->answers, s->count, SECOND_US, grid, false_per_hour, trials, &choice) != OK) {
        give_up("no rule has so few false alarms");
    }
    free(trials);
    return choice;
}

static void tell(const char *what, const struct cascade_rule *rule, const struct cascade_rates *r)
{
    fprintf(stderr,
            "  %-22s average %3u  limit %5.2f  silence %3lld s: %zu of %zu missed, %zu false in %.2f h (%.1f /h), "
            "delay %.0f s\n",
            what, rule->average, rule->limit, (long long)(rule->suppress_us / SECOND_US), r->missed, r->events,
            r->false_alarms, r->quiet_hours, r->false_per_hour, r->delay_us / 1e6);
}

int main(int argc, char **argv)
{
    static const unsigned one[] = {1};
    static const int64_t none[] = {0};
    int64_t silences[CASCADE_GRID_SILENCES];
    double limits[LIMITS];
    if (argc < 7) {
        give_up("COLUMNS NORMAL FALSE_PER_HOUR CALIBRATION_FILES FILE...");
    }
    unsigned columns = (unsigned)strtoul(argv[1], NULL, 10);
    size_t normal = strtoul(argv[2], NULL, 10);
    double most = strtod(argv[3], NULL);
    int calibration = (int)strtol(argv[4], NULL, 10);
    struct stream s[2] = {{.answers = calloc(ANSWERS_MAX, sizeof(struct cascade_answer))},
                          {.answers = calloc(ANSWERS_MAX, sizeof(struct cascade_answer))}};
    if (s[0].answers == NULL || s[1].answers == NULL) {
        abort();
    }
    for (int i = 5; i < argc; i++) {
        add_file(&s[i - 5 >= calibration], argv[i], columns, normal);
    }
    for (size_t i = 0; i < LIMITS; i++) {
        limits[i] = 0.5 * (double)i;
    }
    struct cascade_grid alone = {one, limits, none, 1, LIMITS, 1};
    struct cascade_grid all = cascade_usual_grid(SECOND_US, limits, LIMITS, silences);
    struct cascade_trial plain = choose(&s[0], &alone, most), found = choose(&s[0], &all, most);
    struct cascade_rates before = cascade_apply(s[1].answers, s[1].count, SECOND_US, &plain.rule);
    struct cascade_rates after = cascade_apply(s[1].answers, s[1].count, SECOND_US, &found.rule);
    tell("calibration, limit", &plain.rule, &plain.rates);
    tell("calibration, searched", &found.rule, &found.rates);
    tell("other runs, limit", &plain.rule, &before);
    tell("other runs, searched", &found.rule, &after);
    printf("goal_per_hour=%.1f average=%u limit=%.2f silence_s=%lld calibration_events=%zu calibration_missed=%zu "
           "calibration_per_hour=%.2f events=%zu missed=%zu per_hour=%.2f delay_s=%.0f limit_only_missed=%zu "
           "limit_only_per_hour=%.2f\n",
           most, found.rule.average, found.rule.limit, (long long)(found.rule.suppress_us / SECOND_US),
           found.rates.events, found.rates.missed, found.rates.false_per_hour, after.events, after.missed,
           after.false_per_hour, after.delay_us / 1e6, before.missed, before.false_per_hour);
    free(s[0].answers);
    free(s[1].answers);
    return 0;
}
