/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alarms_verb - `weir cascade alarms`: what should follow a model's scores (mean over m answers, a limit, silence after
 * an alarm), searched on recorded event streams. With two files or more every second one is kept back, to tell the
 * choice on data that it was not made on.
 *
 *   data --windows.h--> window --network--> score, high where it sees an event --cascade_search--> front, choice
 */
#include <math.h>
#include <stdio.h>

#include "cloud-bridge/console/cascade_print.h"
#include "cloud-bridge/console/console_internal.h"
#include "core/base/json.h"

enum { LIMITS = 60, ANSWERS_MAX = 4 << 20, OUT_MAX = 8 << 20, FRONT_SHOWN = 12, PARTS = 2 };
enum { SEARCHED, KEPT_BACK };

struct stream {
    struct cascade_answer *answers; /* owned */
    size_t count, cap;
    int64_t offset_us;
};
struct alarms {
    struct answerer answerer; /* owned */
    struct stream part[PARTS];
    struct windows windows;
    size_t file;       /* under way, from 1 on */
    uint64_t unscored; /* windows whose score is no number */
    int normal;        /* the class without an event; below 0: the model gives a score */
    double limits[LIMITS];
    size_t limit_count;
    int64_t period_us;
    struct cascade_trial *trials; /* owned */
    size_t front;                 /* of trials, the first */
    bool found;
    struct cascade_trial choice;
    struct cascade_rates told; /* of the choice, on what was kept back */
};

static void alarms_deinit(struct alarms *a)
{
    answerer_deinit(&a->answerer);
    free(a->part[SEARCHED].answers);
    free(a->part[KEPT_BACK].answers);
    free(a->trials);
}

/* ---- scores ---- */
/* Of classes: what is left beside the normal one's probability. */
static double score_of(struct alarms *a, const float *row)
{
    const struct model_info *info = answerer_info(&a->answerer);
    struct decision d = answerer_decide(&a->answerer, row);
    double logit[MODEL_CLASSES_MAX], others = 0;
    if (a->normal < 0) {
        return d.score;
    }
    if (!model_logits(a->answerer.network.output, info->class_count, logit)) {
        return NAN;
    }
    for (size_t i = 0; i < info->class_count; i++) {
        others += (int)i != a->normal ? exp((logit[i] - logit[a->normal]) / info->temperature) : 0;
    }
    return isinf(others) ? 1 : others / (1 + others);
}

static enum err add(struct stream *s, const struct cascade_answer *answer, struct fault *reterr)
{
    if (s->count == s->cap) {
        size_t cap = s->cap == 0 ? 4096 : 2 * s->cap;
        struct cascade_answer *answers = cap <= ANSWERS_MAX ? realloc(s->answers, cap * sizeof(*answers)) : NULL;
        if (answers == NULL) {
            return fault_set(reterr, ERR_FULL, "too much data; give a part of it");
        }
        s->answers = answers;
        s->cap = cap;
    }
    s->answers[s->count++] = *answer;
    return OK;
}

/* Files stand an hour apart, so that no mean reaches from one into the next. */
static enum err on_window(void *arg, const struct window *w, struct fault *reterr)
{
    struct alarms *a = arg;
    struct stream *s = &a->part[w->file % PARTS];
    double score = score_of(a, w->row);
    if (!isfinite(score)) {
        a->unscored++;
        return OK;
    }
    if (a->file != w->file + 1) {
        a->file = w->file + 1;
        s->offset_us = (s->count > 0 ? s->answers[s->count - 1].at_us : 0) + HOUR_US - w->at_us;
    }
    return add(s, &(struct cascade_answer){w->at_us + s->offset_us, score, w->highest > 0}, reterr);
}

/* A class's name, or a number that is 0 without an event. */
static int label_of(void *arg, const char *cell)
{
    const struct alarms *a = arg;
    const struct model_info *info = answerer_info(&a->answerer);
    double value;
    int decimals;
    for (size_t i = 0; i < info->class_count; i++) {
        if (strcmp(info->classes[i], cell) == 0) {
            return (int)i != a->normal;
        }
    }
    bool comma = strchr(cell, ',') != NULL;
    return csv_number(cell, comma, &value, &decimals) == CSV_NUMBER ? value < 0 || value > 0 : -1;
}

/* ---- search ---- */
static int by_size(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static void scores_free(double *scores)
{
    free(scores);
}
DEFINE_CLEANUP(double, scores_free)

/* Quantiles of the scores, the denser the higher. */
static enum err find_limits(struct alarms *a, struct fault *reterr)
{
    const struct stream *s = &a->part[SEARCHED];
    CLEANUP(scores_freep) double *scores = calloc(s->count, sizeof(*scores));
    if (scores == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < s->count; i++) {
        scores[i] = s->answers[i].score;
    }
    qsort(scores, s->count, sizeof(*scores), by_size);
    for (size_t i = 0; i < LIMITS; i++) {
        double above = pow(1 / (double)s->count, (double)i / (LIMITS - 1)); /* share of the scores */
        size_t at = (size_t)llround((1 - above) * (double)(s->count - 1));
        if (a->limit_count == 0 || scores[at] > a->limits[a->limit_count - 1]) {
            a->limits[a->limit_count++] = scores[at];
        }
    }
    return OK;
}

static enum err search(struct alarms *a, double most, struct fault *reterr)
{
    const struct stream *s = &a->part[SEARCHED];
    int64_t silences[CASCADE_GRID_SILENCES];
    size_t events = 0;
    for (size_t i = 0; i < s->count; i++) {
        events += s->answers[i].event;
    }
    if (events == 0 || events == s->count) {
        char cut[160] = "";
        if (s->count == 0) {
            windows_cut_sentence(&a->windows, cut, sizeof(cut));
        }
        return fault_set(reterr, ERR_RANGE,
                         "%s: %zu answers, %zu of them in an event: both kinds are needed in the files that are "
                         "searched (the first, the third, ...)%s",
                         a->windows.labels.column, s->count, events, cut);
    }
    TRY(find_limits(a, reterr));
    struct cascade_grid grid = cascade_usual_grid(a->period_us, a->limits, a->limit_count, silences);
    size_t count = grid.average_count * grid.limit_count * grid.suppress_count;
    a->trials = calloc(count, sizeof(*a->trials));
    if (a->trials == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    a->found = cascade_search(s->answers, s->count, a->period_us, &grid, most, a->trials, &a->choice) == OK;
    a->front = cascade_front(a->trials, count);
    if (a->found && a->part[KEPT_BACK].count > 0) {
        a->told = cascade_apply(a->part[KEPT_BACK].answers, a->part[KEPT_BACK].count, a->period_us, &a->choice.rule);
    }
    return OK;
}

/* ---- output ---- */
/* Without a power of ten. */
static void add_seconds(struct table *t, double seconds)
{
    table_add(t, PAINT_NONE,
              seconds >= 999.5                   ? "%.0f s"
              : seconds >= 0.001 || seconds <= 0 ? "%.3g s"
                                                 : "%.6f s",
              seconds);
}

static void put_trial(struct table *t, const char *what, const struct cascade_rule *rule, const struct cascade_rates *r)
{
    table_add(t, PAINT_NONE, "%s", what);
    table_add(t, PAINT_NONE, "%zu of %zu", r->missed, r->events);
    table_add(t, PAINT_NONE, "%.2f", r->false_per_hour);
    if (r->missed == r->events) {
        table_add(t, PAINT_NONE, "-"); /* none was found to be late */
    } else {
        add_seconds(t, r->delay_us / 1e6);
    }
    table_add(t, PAINT_NONE, "%u", rule->average);
    table_add(t, PAINT_NONE, "%.6g", rule->limit);
    add_seconds(t, (double)rule->suppress_us / 1e6);
}

static void put_text(const struct alarms *a, double most, bool color, struct buffer *out)
{
    CLEANUP(table_deinit) struct table t = {.columns = "lrrrrrr", .width = 7};
    static const char *const heads[] = {"", "MISSED", "FALSE/H", "DELAY", "MEAN OF", "LIMIT", "SILENCE"};
    const struct cascade_rates *any = &a->trials[0].rates;
    bool kept = a->part[KEPT_BACK].count > 0;
    buffer_printf(out, "%llu file%s: %zu answers searched, with %zu event%s and %.3g quiet hours; %zu kept back\n",
                  (unsigned long long)a->windows.files, a->windows.files == 1 ? "" : "s", a->part[SEARCHED].count,
                  any->events, any->events == 1 ? "" : "s", any->quiet_hours, a->part[KEPT_BACK].count);
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        table_add(&t, PAINT_NONE, "%s", heads[i]);
    }
    size_t step = (a->front + FRONT_SHOWN - 1) / FRONT_SHOWN;
    for (size_t i = 0; i<a->front; i += step> 0 ? step : 1) {
        put_trial(&t, "", &a->trials[i].rule, &a->trials[i].rates);
    }
    if (a->found) {
        put_trial(&t, "picked", &a->choice.rule, &a->choice.rates);
    }
    if (a->found && kept) {
        put_trial(&t, "kept back", &a->choice.rule, &a->told);
    }
    table_print(&t, color, out);
    if (a->found) {
        buffer_printf(out, "picked: fewest missed with at most %g false alarms an hour\n", most);
    }
}

static void json_trial(struct json *j, const char *key, const struct cascade_rule *rule, const struct cascade_rates *r)
{
    json_object(j, key);
    json_u64(j, "average", rule->average);
    json_f64(j, "limit", rule->limit);
    json_f64(j, "silence_s", (double)rule->suppress_us / 1e6);
    json_u64(j, "events", r->events);
    json_u64(j, "missed", r->missed);
    json_u64(j, "alarms", r->alarms);
    json_u64(j, "false_alarms", r->false_alarms);
    json_f64(j, "quiet_hours", r->quiet_hours);
    json_f64(j, "false_per_hour", r->false_per_hour);
    json_f64(j, "delay_s", r->missed == r->events ? NAN : r->delay_us / 1e6);
    json_object_end(j);
}

static void put_json(const struct alarms *a, struct buffer *out)
{
    struct json j;
    json_init(&j, out);
    json_object(&j, NULL);
    json_u64(&j, "files", a->windows.files);
    json_u64(&j, "answers", a->part[SEARCHED].count);
    json_u64(&j, "kept_back_answers", a->part[KEPT_BACK].count);
    json_u64(&j, "blank", a->windows.blank + a->unscored);
    json_array(&j, "front");
    for (size_t i = 0; i < a->front; i++) {
        json_trial(&j, NULL, &a->trials[i].rule, &a->trials[i].rates);
    }
    json_array_end(&j);
    if (a->found) {
        json_trial(&j, "picked", &a->choice.rule, &a->choice.rates);
    } else {
        json_str(&j, "picked", NULL);
    }
    if (a->found && a->part[KEPT_BACK].count > 0) {
        json_trial(&j, "kept_back", &a->choice.rule, &a->told);
    } else {
        json_str(&j, "kept_back", NULL);
    }
    json_object_end(&j);
    buffer_put_u8(out, '\n');
}

/* One more or less should not decide. */
static void warn(const struct alarms *a, double most)
{
    const struct cascade_rates *r = &a->trials[0].rates;
    if (r->events < 10) {
        print_message("warning: only %zu event%s searched", r->events, r->events == 1 ? " was" : "s were");
    }
    if (r->quiet_hours * most < 3) {
        print_message("warning: %.3g quiet hours are few to count %g false alarms an hour in: one more is %.3g an hour",
                      r->quiet_hours, most, r->quiet_hours > 0 ? 1 / r->quiet_hours : 0);
    }
}

/* ---- the verb ---- */
static enum err find_normal(struct alarms *a, const char *name, struct fault *reterr)
{
    const struct model_info *info = answerer_info(&a->answerer);
    a->normal = -1;
    if (info->output != MODEL_CLASSES) {
        return OK;
    }
    for (size_t i = 0; i < info->class_count; i++) {
        a->normal = strcmp(info->classes[i], name != NULL ? name : "normal") == 0 ? (int)i : a->normal;
    }
    return a->normal >= 0 ? OK
                          : fault_set(reterr, ERR_RANGE,
                                      "%s: classes: there is no %s; --normal names the class without "
                                      "an event",
                                      info->path, name != NULL ? name : "normal");
}

static enum err run(struct alarms *a, const struct args *args, double most, struct fault *reterr)
{
    TRY(answerer_open(args->model, &a->answerer, reterr));
    TRY(find_normal(a, args->normal, reterr));
    const struct model_info *info = answerer_info(&a->answerer);
    a->period_us = max_i64(1, llround((double)info->features.hop * 1e6 / (double)info->features.rate_hz));
    a->windows = (struct windows){.info = info,
                                  .labels = {.column = args->label_column != NULL ? args->label_column : "anomaly",
                                             .class_of = label_of,
                                             .arg = a,
                                             .known = "0, other numbers for an event, and the model's classes"},
                                  .fn = on_window,
                                  .arg = a};
    TRY(windows_each(&a->windows, args->data, reterr));
    return search(a, most, reterr);
}

enum exit_code cascade_alarms(const struct args *args)
{
    CLEANUP(alarms_deinit) struct alarms a = {.normal = -1};
    struct fault fault = {.code = OK};
    double most;
    BUFFER(out, OUT_MAX);
    if (args->data == NULL || args->model == NULL) {
        print_message("usage: weir cascade alarms --data DATA --model model.yaml [--false-alarms PER_HOUR]");
        return EXIT_USAGE;
    }
    if (!cascade_number("--false-alarms", args->false_alarms, 1, 0, 1e6, &most)) {
        return EXIT_USAGE;
    }
    enum err err = run(&a, args, most, &fault);
    if (err != OK) {
        return cascade_exit(err, &fault);
    }
    warn(&a, most);
    if (args->json) {
        put_json(&a, &out);
    } else {
        put_text(&a, most, args->color, &out);
    }
    if (!print_out(&out)) {
        return EXIT_FAILED;
    }
    if (!a.found) {
        print_message("no rule has at most %g false alarms an hour", most);
        return EXIT_NOT_FOUND;
    }
    return EXIT_OK;
}
