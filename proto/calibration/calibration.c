/* SPDX-License-Identifier: Apache-2.0 */
/* The file. Rows of numbers are texts, "1 2.5 3": a list of a thousand settings would be no help to anybody. */
#include <inttypes.h>
#include <math.h>

#include "core/options/options.h"
#include "proto/calibration/calibration_internal.h"

#define AT(member) offsetof(struct settings, member)
enum { TEXT_MAX = 8192 };

struct settings {
    char *model, *id;
    double rate;
    int64_t window, hop;
    struct option_list channels, axes;
    char *stuck, *missing, *spike, *noise;
    char *mean, *scale, *variance, *level_mean, *level_reach;
    double level_limit, level_lambda;
    double t2, spe, ewma, lambda;
    int of;
    char *edges, *shares;
    int64_t score_window;
    double psi, ks, score_mean, score_limit, score_lambda;
    double page_delta, page_limit, adwin, rates;
    struct {
        int64_t samples, answers;
        char *mean, *deviation, *mean_limit, *spread_limit, *edges, *shares;
        double outcome_mean, outcome_limit, psi, ks;
    } sketches;
    int64_t k, n;
    double margin, days, alarms, at_most;
};

#define NUMBER(row, member, least, most, given, text)                                                                  \
    {.name = row, .type = OPTION_NUMBER, .offset = AT(member), .min = least, .max = most, .preset = given, .help = text}
#define TEXT(row, member, text)                                                                                        \
    {.name = row, .type = OPTION_STRING, .offset = AT(member), .max = TEXT_MAX, .preset = "", .help = text}

static const struct option table[] = {
    {.name = "model", .type = OPTION_STRING, .offset = AT(model), .min = 1, .max = ID_MAX, .required = true,
     .help = "Name of the model."},
    {.name = "id", .type = OPTION_STRING, .offset = AT(id), .min = 16, .max = 16, .required = true,
     .help = "Its id, 16 hexadecimal digits."},
    NUMBER("rate", rate, 1e-6, 1e7, "1", "Samples a second."),
    {.name = "window", .type = OPTION_INT, .offset = AT(window), .min = 1, .max = FEATURES_WINDOW_MAX, .preset = "1",
     .help = "Samples of a row of inputs."},
    {.name = "hop", .type = OPTION_INT, .offset = AT(hop), .min = 1, .max = FEATURES_WINDOW_MAX, .preset = "1",
     .help = "Samples from one row to the next."},
    {.name = "channels", .type = OPTION_LIST, .offset = AT(channels), .max = CALIBRATION_NAME_MAX, .required = true,
     .help = "Names, in the order of all that follows."},
    TEXT("sensor.stuck_after", stuck, "Equal values in a row; 0 for never."),
    TEXT("sensor.missing_after", missing, "Missing values in a row; 0 for never."),
    TEXT("sensor.spike", spike, "Largest step from the median of three."),
    TEXT("sensor.noise", noise, "Largest median of sixteen steps."),
    TEXT("inputs.mean", mean, "Means, then standard deviations of the channels."),
    TEXT("inputs.scale", scale, "One by the standard deviation of these."),
    TEXT("inputs.variance", variance, "Of the components."),
    {.name = "inputs.axes", .type = OPTION_LIST, .offset = AT(axes), .max = TEXT_MAX, .help = "A component each."},
    NUMBER("inputs.t2_limit", t2, 0, 1e300, "0", "Hotelling's T2."),
    NUMBER("inputs.spe_limit", spe, 0, 1e300, "0", "Squared distance from the components."),
    NUMBER("inputs.ewma_limit", ewma, 0, 1e300, "0", "Its moving average."),
    NUMBER("inputs.lambda", lambda, 1e-6, 1, "0.1", "Of the moving average."),
    TEXT("inputs.level_mean", level_mean, "Levels of what is steady: the inputs' means."),
    TEXT("inputs.level_reach", level_reach, "How far their moving averages went; 0: wanders, takes no part."),
    NUMBER("inputs.level_limit", level_limit, 0, 1e300, "0", "The largest of them, each by its reach."),
    NUMBER("inputs.level_lambda", level_lambda, 1e-6, 1, "0.15", "Of the moving averages."),
    {.name = "scores.of", .type = OPTION_ENUM, .offset = AT(of), .words = "none|confidence|score", .preset = "none",
     .help = "What the model says of its answers."},
    TEXT("scores.edges", edges, "Between the histogram's bins."),
    TEXT("scores.shares", shares, "Of the bins."),
    {.name = "scores.window", .type = OPTION_INT, .offset = AT(score_window), .min = 1, .max = DRIFT_WINDOW_MAX,
     .preset = "1", .help = "Answers that are held against the histogram."},
    NUMBER("scores.psi_limit", psi, 0, 1e300, "0", "Population stability index."),
    NUMBER("scores.ks_limit", ks, 0, 1e300, "0", "Kolmogorov-Smirnov distance."),
    NUMBER("scores.mean", score_mean, -1e300, 1e300, "0", "Of the normal run."),
    NUMBER("scores.ewma_limit", score_limit, 0, 1e300, "0", "Distance of the moving average from it."),
    NUMBER("scores.lambda", score_lambda, 1e-6, 1, "0.05", "Of the moving average."),
    {.name = "sketches.samples", .type = OPTION_INT, .offset = AT(sketches.samples), .max = 1 << 30, .preset = "0",
     .help = "Samples of a device's statistics that are held against the limits at a time; 0 = none are."},
    TEXT("sketches.mean", sketches.mean, "Means of the channels."),
    TEXT("sketches.deviation", sketches.deviation, "Their standard deviations; 0 = not judged."),
    TEXT("sketches.mean_limit", sketches.mean_limit, "Distance of a mean, in standard deviations."),
    TEXT("sketches.spread_limit", sketches.spread_limit, "Logarithm of a variance by the normal one."),
    {.name = "sketches.answers", .type = OPTION_INT, .offset = AT(sketches.answers), .max = DRIFT_WINDOW_MAX,
     .preset = "0", .help = "Answers that are held against the limits at a time; 0 = none are."},
    TEXT("sketches.edges", sketches.edges, "Between the bins of doubt (1 - confidence) or score."),
    TEXT("sketches.shares", sketches.shares, "Of the bins."),
    NUMBER("sketches.outcome_mean", sketches.outcome_mean, -1e300, 1e300, "0", "Of doubt or score."),
    NUMBER("sketches.outcome_limit", sketches.outcome_limit, 0, 1e300, "0", "Distance of a mean from it."),
    NUMBER("sketches.psi_limit", sketches.psi, 0, 1e300, "0", "Population stability index."),
    NUMBER("sketches.ks_limit", sketches.ks, 0, 1e300, "0", "Kolmogorov-Smirnov distance."),
    NUMBER("disagreement.page_delta", page_delta, 0, 1, "0.05", "Page-Hinkley: rise of the rate that is let pass."),
    NUMBER("disagreement.page_limit", page_limit, 0.1, 1e9, "20", "Page-Hinkley: answers beyond it, summed up."),
    NUMBER("disagreement.adwin", adwin, 1e-12, 0.5, "1e-5", "ADWIN's delta."),
    NUMBER("disagreement.rates", rates, 1, 1e6, "12", "Rates by the device's answer: likelihood ratio of a rise."),
    {.name = "confirm.k", .type = OPTION_INT, .offset = AT(k), .min = 1, .max = DRIFT_CONFIRM_MAX, .preset = "4",
     .help = "So many ..."},
    {.name = "confirm.n", .type = OPTION_INT, .offset = AT(n), .min = 1, .max = DRIFT_CONFIRM_MAX, .preset = "5",
     .help = "... of the last so many are beyond a limit before that is told."},
    NUMBER("made.margin", margin, 0, 1e6, "0", "Of the limits."),
    NUMBER("made.days", days, 0, 1e6, "0", "Length of the normal run."),
    NUMBER("made.false_alarms_per_week", alarms, 0, 1e9, "0", "Of one device, counted on parts of the run."),
    NUMBER("made.false_alarms_at_most", at_most, 0, 1e9, "0", "A week, with 95 %."),
    {.name = NULL},
};

static enum err check(const void *settings, struct buffer *problems)
{
    const struct settings *s = settings;
    if (s->k > s->n) {
        buffer_printf(problems, "confirm.k: is more than confirm.n\n");
        return ERR_RANGE;
    }
    return OK;
}

static const struct options_program program = {.name = "drift", .summary = "What was normal when a model was made.",
                                               .table = table, .settings_size = sizeof(struct settings),
                                               .check = check};

/* ---- reading ---- */
/* Exactly `count` finite numbers, none below `least`. */
static bool numbers(const char *text, size_t count, double least, double *ret)
{
    char *end = NULL;
    for (size_t i = 0; i < count; i++, text = end) {
        ret[i] = strtod(text, &end);
        if (end == text || !isfinite(ret[i]) || ret[i] < least || (*end != ' ' && *end != '\0')) {
            return false;
        }
    }
    return text[strspn(text, " ")] == '\0';
}

static bool read_sensors(const struct settings *s, struct calibration *c)
{
    double stuck[CALIBRATION_CHANNELS_MAX], missing[CALIBRATION_CHANNELS_MAX], spike[CALIBRATION_CHANNELS_MAX],
        noise[CALIBRATION_CHANNELS_MAX];
    if (!numbers(s->stuck, c->channels, 0, stuck) || !numbers(s->missing, c->channels, 0, missing) ||
        !numbers(s->spike, c->channels, 0, spike) || !numbers(s->noise, c->channels, 0, noise)) {
        return false;
    }
    for (unsigned i = 0; i < c->channels; i++) {
        if (stuck[i] > DRIFT_RUN_MAX || missing[i] > DRIFT_RUN_MAX) {
            return false;
        }
        c->sensor[i] = (struct drift_sensor){.stuck_after = (unsigned)stuck[i], .missing_after = (unsigned)missing[i],
                                             .spike = spike[i], .noise = noise[i]};
    }
    return true;
}

static bool read_inputs(const struct settings *s, struct calibration *c)
{
    unsigned d = calibration_inputs(c);
    c->pca.components = (unsigned)s->axes.count;
    if (s->axes.count == 0) {
        return true;
    }
    if (s->axes.count > d) {
        return false;
    }
    c->pca.dimensions = d;
    c->pca.axes = calloc((size_t)d * d, sizeof(double));
    bool good = c->pca.axes != NULL && numbers(s->mean, d, -INFINITY, c->pca.mean) &&
                numbers(s->scale, d, 0, c->pca.scale) &&
                numbers(s->variance, c->pca.components, 1e-12, c->pca.variance);
    for (unsigned i = 0; good && i < c->pca.components; i++) {
        good = numbers(s->axes.items[i], d, -INFINITY, c->pca.axes + (size_t)i * d);
    }
    if (s->level_reach[0] != '\0') {
        good = good && numbers(s->level_mean, d, -INFINITY, c->levels.mean) &&
               numbers(s->level_reach, d, 0, c->levels.reach);
        c->levels.dimensions = d;
        c->levels.lambda = s->level_lambda;
        c->level_limit = s->level_limit;
    }
    return good;
}

static bool read_reference(const char *edges, const char *shares, struct drift_reference *r)
{
    double sum = 0;
    size_t bins = 0;
    for (const char *at = shares; *at != '\0'; bins++) {
        at += strcspn(at, " ");
        at += strspn(at, " ");
    }
    if (bins < 1 || bins > DRIFT_BINS_MAX || !numbers(shares, bins, 0, r->share) ||
        !numbers(edges, bins - 1, -INFINITY, r->edge)) {
        return false;
    }
    r->bins = (unsigned)bins;
    for (size_t i = 0; i < bins; i++) {
        sum += r->share[i];
        if (i + 2 < bins && !(r->edge[i] < r->edge[i + 1])) {
            return false;
        }
    }
    return fabs(sum - 1) < 1e-6;
}

static bool read_sketches(const struct settings *s, struct calibration *c)
{
    struct calibration_sketches *to = &c->sketches;
    to->samples = (unsigned)s->sketches.samples;
    to->answers = (unsigned)s->sketches.answers;
    if (to->samples > 0 && (!numbers(s->sketches.mean, c->channels, -INFINITY, to->mean) ||
                            !numbers(s->sketches.deviation, c->channels, 0, to->deviation) ||
                            !numbers(s->sketches.mean_limit, c->channels, 0, to->mean_limit) ||
                            !numbers(s->sketches.spread_limit, c->channels, 0, to->spread_limit))) {
        return false;
    }
    to->outcome_mean = s->sketches.outcome_mean;
    to->outcome_limit = s->sketches.outcome_limit;
    to->psi_limit = s->sketches.psi;
    to->ks_limit = s->sketches.ks;
    return to->answers == 0 || s->sketches.shares[0] == '\0' ||
           read_reference(s->sketches.edges, s->sketches.shares, &to->outcome);
}

static bool read_names(const struct settings *s, struct calibration *c)
{
    char *end = NULL;
    snprintf(c->name, sizeof(c->name), "%s", s->model);
    c->model = strtoull(s->id, &end, 16);
    if (*end != '\0' || strspn(s->id, "0123456789abcdef") != 16 || s->channels.count > CALIBRATION_CHANNELS_MAX ||
        s->channels.count == 0) {
        return false;
    }
    c->channels = (unsigned)s->channels.count;
    for (unsigned i = 0; i < c->channels; i++) {
        snprintf(c->channel[i], sizeof(c->channel[i]), "%s", s->channels.items[i]);
    }
    return true;
}

static enum err told(const char *path, struct buffer *problems, const char *sentence)
{
    buffer_printf(problems, "%s: %s\n", path, sentence);
    return ERR_RANGE;
}

static enum err fill(const char *path, const struct settings *s, struct calibration *c, struct buffer *problems)
{
    struct fault fault = {.code = OK};
    if (!read_names(s, c)) {
        return told(path, problems, "id must be 16 hexadecimal digits, and channels name 1 to 64");
    }
    if (calibration_features(c, (unsigned)s->window, (unsigned)s->hop, s->rate, &fault) != OK) {
        return told(path, problems, fault.text);
    }
    if (!read_sensors(s, c)) {
        return told(path, problems, "sensor: each row needs a number per channel, none below 0");
    }
    if (!read_inputs(s, c)) {
        return told(path, problems, "inputs: mean, scale, levels and each axis need a number per input, variance one per axis");
    }
    c->of = (enum calibration_of)s->of;
    if (!read_sketches(s, c)) {
        return told(path, problems,
                    "sketches: rows need a number per channel, shares must add up to 1, edges rise and be one fewer");
    }
    if (c->of != CALIBRATION_NONE && !read_reference(s->edges, s->shares, &c->reference)) {
        return told(path, problems, "scores: shares must add up to 1, edges rise and be one fewer");
    }
    c->t2_limit = s->t2;
    c->spe_limit = s->spe;
    c->ewma_limit = s->ewma;
    c->lambda = s->lambda;
    c->score_window = (unsigned)s->score_window;
    c->psi_limit = s->psi;
    c->ks_limit = s->ks;
    c->score_mean = s->score_mean;
    c->score_limit = s->score_limit;
    c->score_lambda = s->score_lambda;
    c->page_delta = s->page_delta;
    c->page_limit = s->page_limit;
    c->adwin = s->adwin;
    c->rates = s->rates;
    c->k = (unsigned)s->k;
    c->n = (unsigned)s->n;
    c->margin = s->margin;
    c->days = s->days;
    c->alarms_per_week = s->alarms;
    c->alarms_at_most = s->at_most;
    return OK;
}

enum err calibration_load(const char *path, struct calibration **ret_c, struct buffer *problems)
{
    CLEANUP(calibration_freep) struct calibration *c = calloc(1, sizeof(*c));
    struct settings s = {0};
    if (c == NULL) {
        return ERR_NOMEM;
    }
    TRY(options_load(&program, path, NULL, 0, &s, problems));
    enum err err = fill(path, &s, c, problems);
    options_free(&program, &s);
    if (err == OK) {
        *ret_c = take(c);
    }
    return err;
}

void calibration_free(struct calibration *c)
{
    if (c != NULL) {
        drift_pca_deinit(&c->pca);
        free(c);
    }
}

/* ---- writing ---- */
static void put_numbers(struct buffer *out, const char *name, const double *v, size_t count)
{
    buffer_printf(out, "  %s: \"", name);
    for (size_t i = 0; i < count; i++) {
        buffer_printf(out, "%s%.17g", i > 0 ? " " : "", v[i]);
    }
    buffer_put_str(out, "\"\n");
}

static void put_sensors(const struct calibration *c, struct buffer *out)
{
    double stuck[CALIBRATION_CHANNELS_MAX], missing[CALIBRATION_CHANNELS_MAX], spike[CALIBRATION_CHANNELS_MAX],
        noise[CALIBRATION_CHANNELS_MAX];
    for (unsigned i = 0; i < c->channels; i++) {
        stuck[i] = c->sensor[i].stuck_after;
        missing[i] = c->sensor[i].missing_after;
        spike[i] = c->sensor[i].spike;
        noise[i] = c->sensor[i].noise;
    }
    buffer_put_str(out, "sensor:\n");
    put_numbers(out, "stuck_after", stuck, c->channels);
    put_numbers(out, "missing_after", missing, c->channels);
    put_numbers(out, "spike", spike, c->channels);
    put_numbers(out, "noise", noise, c->channels);
}

static void put_inputs(const struct calibration *c, struct buffer *out)
{
    unsigned d = c->pca.dimensions;
    if (c->pca.components == 0) {
        return;
    }
    buffer_put_str(out, "inputs:\n");
    put_numbers(out, "mean", c->pca.mean, d);
    put_numbers(out, "scale", c->pca.scale, d);
    put_numbers(out, "variance", c->pca.variance, c->pca.components);
    buffer_put_str(out, "  axes:\n");
    for (unsigned i = 0; i < c->pca.components; i++) {
        buffer_put_str(out, "    - \"");
        for (unsigned k = 0; k < d; k++) {
            buffer_printf(out, "%s%.9g", k > 0 ? " " : "", c->pca.axes[(size_t)i * d + k]);
        }
        buffer_put_str(out, "\"\n");
    }
    buffer_printf(out, "  t2_limit: %.9g\n  spe_limit: %.9g\n  ewma_limit: %.9g\n  lambda: %.9g\n", c->t2_limit,
                  c->spe_limit, c->ewma_limit, c->lambda);
    if (c->levels.dimensions > 0) {
        put_numbers(out, "level_mean", c->levels.mean, d);
        put_numbers(out, "level_reach", c->levels.reach, d);
        buffer_printf(out, "  level_limit: %.9g\n  level_lambda: %.9g\n", c->level_limit, c->levels.lambda);
    }
}

static void put_scores(const struct calibration *c, struct buffer *out)
{
    if (c->of == CALIBRATION_NONE) {
        return;
    }
    buffer_printf(out, "scores:\n  of: %s\n", c->of == CALIBRATION_SCORE ? "score" : "confidence");
    put_numbers(out, "edges", c->reference.edge, c->reference.bins - 1);
    put_numbers(out, "shares", c->reference.share, c->reference.bins);
    buffer_printf(out,
                  "  window: %u\n  psi_limit: %.9g\n  ks_limit: %.9g\n  mean: %.17g\n  ewma_limit: %.9g\n  lambda: %.9g\n",
                  c->score_window, c->psi_limit, c->ks_limit, c->score_mean, c->score_limit, c->score_lambda);
}

static void put_sketches(const struct calibration *c, struct buffer *out)
{
    const struct calibration_sketches *s = &c->sketches;
    if (s->samples == 0) {
        return;
    }
    buffer_printf(out, "sketches:\n  samples: %u\n", s->samples);
    put_numbers(out, "mean", s->mean, c->channels);
    put_numbers(out, "deviation", s->deviation, c->channels);
    put_numbers(out, "mean_limit", s->mean_limit, c->channels);
    put_numbers(out, "spread_limit", s->spread_limit, c->channels);
    if (s->answers == 0) {
        return;
    }
    buffer_printf(out, "  answers: %u\n  outcome_mean: %.17g\n  outcome_limit: %.9g\n", s->answers, s->outcome_mean,
                  s->outcome_limit);
    if (s->outcome.bins > 1) {
        put_numbers(out, "edges", s->outcome.edge, s->outcome.bins - 1);
        put_numbers(out, "shares", s->outcome.share, s->outcome.bins);
        buffer_printf(out, "  psi_limit: %.9g\n  ks_limit: %.9g\n", s->psi_limit, s->ks_limit);
    }
}

/* A YAML text in double quotes. */
static void put_quoted(struct buffer *out, const char *text)
{
    buffer_put_u8(out, '"');
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\') {
            buffer_put_u8(out, '\\');
        }
        buffer_put_u8(out, (uint8_t)*at);
    }
    buffer_put_u8(out, '"');
}

enum err calibration_write(const struct calibration *c, struct buffer *out)
{
    buffer_put_str(out, "model: ");
    put_quoted(out, c->name);
    buffer_printf(out, "\nid: \"%016" PRIx64 "\"\nrate: %.9g\nwindow: %u\nhop: %u\nchannels:\n", c->model,
                  (double)c->features.rate_hz, c->features.window, c->features.hop);
    for (unsigned i = 0; i < c->channels; i++) {
        buffer_put_str(out, "  - ");
        put_quoted(out, c->channel[i]);
        buffer_put_u8(out, '\n');
    }
    put_sensors(c, out);
    put_inputs(c, out);
    put_scores(c, out);
    put_sketches(c, out);
    buffer_printf(out,
                  "disagreement: {page_delta: %.9g, page_limit: %.9g, adwin: %.9g, rates: %.9g}\nconfirm: {k: %u, n: %u}\n"
                  "made: {margin: %.9g, days: %.9g, false_alarms_per_week: %.9g, false_alarms_at_most: %.9g}\n",
                  c->page_delta, c->page_limit, c->adwin, c->rates, c->k, c->n, c->margin, c->days, c->alarms_per_week,
                  c->alarms_at_most);
    return buffer_err(out);
}
