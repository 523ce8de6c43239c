/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An event about a device - drift, a sensor's fault, a request for a label: what was beyond which limit, and which of
 * the channels did it, from the readings up to then.
 */
#include <math.h>
#include <stdio.h>

#include "cloud-bridge/console/explain.h"
#include "core/base/json.h"

enum { OUT_MAX = 1 << 20, ANSWERS = 100, FORGOTTEN = 16, AVERAGED_MAX = 500 };

struct channel_share {
    unsigned channel;
    double mean, std, normal_mean, normal_std, t2, spe;
    double t2_without, spe_without; /* of the row, had the channel been missing */
    double level;                   /* how far from its own, in what its moving average reaches; 0 = it wanders */
    double rest;                    /* both over their limits */
};
struct story {
    const char *device;
    struct evidence_event event, near[EVIDENCE_EVENTS_MAX];
    size_t near_count;
    char statistic[32], value[32], limit[32], of[160], model[32]; /* as the event's text says; "" = not */
    struct evidence_answers answers;
    const struct calibration *calibration; /* NULL: none */
    char why[EVIDENCE_TEXT];               /* no contributions */
    struct evidence_samples samples;
    struct explain_window window;
    enum explain_statistic kind; /* the event's, where it is one of windows of inputs */
    struct explain_told told;
    double t2, spe, level;
    struct channel_share share[CALIBRATION_CHANNELS_MAX]; /* the one that explains most first */
};

static void story_deinit(struct story *s)
{
    evidence_samples_deinit(&s->samples);
    explain_window_deinit(&s->window);
}

/* The value behind key= in "a=1 b=2". */
static void member(const char *text, const char *key, char *out, size_t size)
{
    size_t len = strlen(key);
    out[0] = '\0';
    for (const char *at = text; *at != '\0'; at += strcspn(at, " "), at += strspn(at, " ")) {
        if (strncmp(at, key, len) == 0 && at[len] == '=') {
            size_t n = strcspn(at + len + 1, " ");
            snprintf(out, size, "%.*s", (int)(n < size ? n : size - 1), at + len + 1);
            return;
        }
    }
}

static void read_text(struct story *s)
{
    static const char *const names[] = {"", "spe", "t2", "ewma_spe", "level"};
    const char *text = s->event.text;
    member(text, "statistic", s->statistic, sizeof(s->statistic));
    member(text, "value", s->value, sizeof(s->value));
    member(text, "limit", s->limit, sizeof(s->limit));
    member(text, "model", s->model, sizeof(s->model));
    member(text, "of", s->of, sizeof(s->of));
    if (s->of[0] == '\0') {
        member(text, "channel", s->of, sizeof(s->of));
    }
    for (unsigned i = EXPLAIN_SPE; i < COUNT_OF(names) && strcmp(s->of, "inputs") == 0; i++) {
        s->kind = strcmp(s->statistic, names[i]) == 0 ? (enum explain_statistic)i : s->kind;
    }
}

/* ---- which channels ---- */
static bool is_average(const struct story *s)
{
    return s->kind == EXPLAIN_EWMA_SPE || s->kind == EXPLAIN_LEVEL;
}

/* One window's T2 and SPE, and what every channel adds. False: a channel has no reading in it. */
static bool measure(struct story *s, struct features *features, float *filled)
{
    const struct calibration *k = s->calibration;
    float row[FEATURES_MAX];
    double x[FEATURES_MAX], t2[FEATURES_MAX], spe[FEATURES_MAX];
    (void)explain_fill(&s->window, filled);
    if (!features_of(features, filled, row)) {
        return false;
    }
    unsigned d = calibration_inputs(k);
    for (unsigned i = 0; i < d; i++) {
        x[i] = (double)row[i];
    }
    occlusion_of_pca(&k->pca, x, t2, spe);
    s->t2 = s->spe = 0;
    for (unsigned c = 0; c < k->channels; c++) {
        s->share[c] =
            (struct channel_share){.channel = c,
                                   .mean = x[c],
                                   .normal_mean = k->pca.mean[c],
                                   .std = d > k->channels ? x[k->channels + c] : (double)NAN,
                                   .normal_std = d > k->channels ? k->pca.mean[k->channels + c] : (double)NAN};
    }
    for (unsigned i = 0; i < d; i++) {
        s->share[i % k->channels].t2 += t2[i];
        s->share[i % k->channels].spe += spe[i];
        s->t2 += t2[i];
        s->spe += spe[i];
    }
    s->level = 0;
    for (unsigned c = 0; c < k->channels; c++) {
        s->share[c].level = k->levels.dimensions == d ? 0 : (double)NAN; /* else they are not watched */
    }
    for (unsigned i = 0; i < d && k->levels.dimensions == d; i++) {
        double off = k->levels.reach[i] > 0 ? fabs(x[i] - k->levels.mean[i]) / k->levels.reach[i] : 0;
        s->share[i % k->channels].level = fmax(s->share[i % k->channels].level, off);
        s->level = fmax(s->level, off);
    }
    for (unsigned c = 0; c < k->channels; c++) {
        struct channel_share *share = &s->share[c];
        for (unsigned i = 0; i < d; i++) {
            t2[i] = i % k->channels == c ? (double)NAN : x[i];
        }
        drift_pca_score(&k->pca, t2, &share->t2_without, &share->spe_without);
        share->rest = share->t2_without / (k->t2_limit > 0 ? k->t2_limit : 1) +
                      share->spe_without / (k->spe_limit > 0 ? k->spe_limit : 1);
    }
    return true;
}

/* Two channels that belong together add the same to SPE, whichever of them moved: the one without which the row would
 * have been normal comes first (both statistics over their limits: Yue and Qin, 2001). */
static int by_rest(const void *a, const void *b)
{
    const struct channel_share *x = a, *y = b;
    return x->rest != y->rest ? (x->rest > y->rest) - (x->rest < y->rest) : (x->spe < y->spe) - (x->spe > y->spe);
}

static int by_level(const void *a, const void *b)
{
    const struct channel_share *x = a, *y = b;
    return x->level != y->level ? (x->level < y->level) - (x->level > y->level) : by_rest(a, b);
}

/* So far back the told window may end: the event needs k of the last n, and a device tells late. */
static double reach_us(const struct calibration *k)
{
    double period_us = 1e6 / (double)k->features.rate_hz;
    return fmin(period_us * (2.0 * k->features.window + (double)k->n * k->features.hop) + (double)MINUTE_US, 1e15);
}

/* So far back readings are needed: of an average until what was before is less than 1e-6 of it. */
static double span_us(const struct story *s)
{
    const struct calibration *k = s->calibration;
    double lambda = fmax(s->kind == EXPLAIN_LEVEL ? k->levels.lambda : k->lambda, 1.0 / AVERAGED_MAX);
    double windows = is_average(s) ? FORGOTTEN / lambda : 0;
    return fmin(reach_us(k) + windows * k->features.hop * 1e6 / (double)k->features.rate_hz, 1e15);
}

/* A sample that a window of the device ended with; where it sent no answer lately, the newest. */
static enum err find_anchor(const struct story *s, struct evidence *evidence, size_t *ret)
{
    const struct evidence_key key = {.device = s->device, .at_us = s->event.time_us};
    struct evidence_inference i;
    size_t ends[EXPLAIN_ENDS_MAX], near = 0;
    enum err err = evidence_inference(evidence, &key, &i);
    *ret = s->samples.rows > 0 ? s->samples.rows - 1 : 0;
    if (err == OK && explain_ends(&s->samples, i.time_us, (double)s->calibration->features.rate_hz, ends, &near) > 0) {
        *ret = ends[0];
    }
    return err == ERR_NOT_FOUND ? OK : err;
}

static enum err find_window(struct story *s, struct evidence *evidence)
{
    const struct calibration *k = s->calibration;
    struct explain_told_search search = {.calibration = k,
                                         .samples = &s->samples,
                                         .statistic = s->kind,
                                         .value = s->kind != EXPLAIN_NO_STATISTIC ? atof(s->value) : (double)NAN,
                                         .from_us = s->event.time_us - (int64_t)reach_us(k)};
    TRY(find_anchor(s, evidence, &search.anchor));
    TRY(explain_told(&search, &s->told));
    if (s->told.end == SIZE_MAX) {
        snprintf(s->why, sizeof(s->why), "no whole window of %u samples is in the sink just before it",
                 k->features.window);
        return OK;
    }
    return explain_window_at(&s->samples, s->told.end, &k->features, &s->window);
}

static enum err measure_told(struct story *s)
{
    const struct calibration *k = s->calibration;
    struct features *features = NULL;
    size_t bytes = (features_bytes(&k->features) + 15) / 16 * 16;
    void *memory = aligned_alloc(16, bytes);
    float *filled = calloc((size_t)k->features.window * k->channels, sizeof(*filled));
    enum err err =
        memory != NULL && filled != NULL ? features_init(&k->features, memory, bytes, &features, NULL) : ERR_NOMEM;
    if (err == OK) {
        (void)measure(s, features, filled); /* the window is whole */
    }
    free(memory);
    free(filled);
    qsort(s->share, k->channels, sizeof(s->share[0]), s->kind == EXPLAIN_LEVEL ? by_level : by_rest);
    return err;
}

static enum err contributions(struct story *s, struct evidence *evidence, int64_t device_id)
{
    const struct calibration *k = s->calibration;
    const char *names[CALIBRATION_CHANNELS_MAX];
    for (unsigned i = 0; i < k->channels; i++) {
        names[i] = k->channel[i];
    }
    enum err err = evidence_samples(evidence, device_id, s->event.time_us - (int64_t)span_us(s), s->event.time_us,
                                    names, k->channels, &s->samples);
    if (err == ERR_FULL) {
        snprintf(s->why, sizeof(s->why), "too many readings for one explanation");
        return OK;
    }
    TRY(err);
    TRY(find_window(s, evidence));
    return s->why[0] == '\0' ? measure_told(s) : OK;
}

/* ---- telling ---- */
/* Which window it is that follows. */
static void put_which(const struct story *s, struct buffer *out)
{
    buffer_put_u8(out, '\n');
    if (s->kind == EXPLAIN_NO_STATISTIC) {
        buffer_put_str(out, "the newest window before it:\n");
    } else if (is_average(s)) {
        buffer_printf(out, "%s is an average over windows; this is the newest of them", s->statistic);
        if (s->told.is) {
            buffer_printf(out, ", with which it comes to %.6g (limit %s)", s->told.value, s->limit);
        } else {
            buffer_printf(out, " (that of the windows in the sink does not come to %s)", s->value);
        }
        buffer_put_str(out, s->kind == EXPLAIN_LEVEL ? "; T2, SPE and LEVEL are of this window alone\n" : "\n");
    } else if (s->told.is) {
        buffer_put_str(out, "the window that was told:\n");
    } else {
        buffer_printf(out, "not the window that was told, but the newest: none in the sink comes to %s %s\n",
                      s->statistic, s->value);
    }
}

static void put_shares(struct story *s, size_t most, bool color, struct buffer *out)
{
    CLEANUP(table_deinit) struct table t = {.columns = "lrrrrrrrrr", .width = 10};
    static const char *const heads[] = {"CHANNEL", "MEAN",          "NORMAL",         "STD",  "NORMAL", "T2",
                                        "SPE",     "T2 WITHOUT IT", "SPE WITHOUT IT", "LEVEL"};
    const struct calibration *k = s->calibration;
    put_which(s, out);
    buffer_printf(out, "window %s to %s: T2 %.6g (limit %.6g), SPE %.6g (limit %.6g); what each channel adds:\n",
                  stamp_of(s->window.first_us).text, stamp_of(s->window.last_us).text, s->t2, k->t2_limit, s->spe,
                  k->spe_limit);
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        table_add(&t, PAINT_NONE, "%s", heads[i]);
    }
    for (unsigned i = 0; i < k->channels && i < most; i++) {
        const struct channel_share *c = &s->share[i];
        table_add(&t, PAINT_NONE, "%s", k->channel[c->channel]);
        table_add(&t, PAINT_NONE, "%.5g", c->mean);
        table_add(&t, PAINT_NONE, "%.5g", c->normal_mean);
        table_add(&t, PAINT_NONE, "%.4g", c->std);
        table_add(&t, PAINT_NONE, "%.4g", c->normal_std);
        table_add(&t, PAINT_NONE, "%.4g", c->t2);
        table_add(&t, PAINT_NONE, "%.4g", c->spe);
        table_add(&t, PAINT_NONE, "%.4g", c->t2_without);
        table_add(&t, PAINT_NONE, "%.4g", c->spe_without);
        if (isnan(c->level)) {
            table_add(&t, PAINT_NONE, "-");
        } else {
            table_add(&t, PAINT_NONE, "%.3g", c->level);
        }
    }
    table_print(&t, color, out);
}

static void put_story(struct story *s, size_t most, bool color, struct buffer *out)
{
    const struct evidence_event *e = &s->event;
    buffer_printf(out, "%s about %s at %s, told by %s (record %llu)\n", e->id, s->device, e->ts, e->source,
                  (unsigned long long)e->number);
    if (s->statistic[0] != '\0') {
        buffer_printf(out, "%s%s%s: %s, limit %s\n", s->statistic, s->of[0] != '\0' ? " of " : "", s->of, s->value,
                      s->limit);
    }
    buffer_printf(out, "in its words: %s\n", e->text);
    if (s->answers.count > 0) {
        buffer_printf(out,
                      "its last %llu answers until then: mean confidence %.3g, score %.3g; %llu were answered by a "
                      "gateway, %llu of them otherwise than by the device\n",
                      (unsigned long long)s->answers.count, s->answers.confidence, s->answers.score,
                      (unsigned long long)s->answers.answered, (unsigned long long)s->answers.differed);
    }
    if (s->why[0] != '\0') {
        buffer_printf(out, "which channels: not known: %s\n", s->why);
    } else if (s->calibration != NULL) {
        put_shares(s, most, color, out);
    } else if (s->statistic[0] != '\0') {
        buffer_put_str(out, "which channels: give --calibration FILE\n");
    }
    buffer_printf(out, "\nthe answer at that time: weir explain %s --at %s\n", s->device,
                  s->told.is ? stamp_of(s->window.last_us).text : e->ts);
    explain_put_events(s->near, s->near_count, out);
}

static void json_shares(struct json *j, const struct story *s, size_t most)
{
    json_str(j, "from", stamp_of(s->window.first_us).text);
    json_str(j, "to", stamp_of(s->window.last_us).text);
    json_bool(j, "told", s->told.is);
    if (is_average(s)) {
        json_f64(j, "average", s->told.value);
    }
    json_f64(j, "t2", s->t2);
    json_f64(j, "t2_limit", s->calibration->t2_limit);
    json_f64(j, "spe", s->spe);
    json_f64(j, "spe_limit", s->calibration->spe_limit);
    json_f64(j, "level", s->level);
    json_f64(j, "level_limit", s->calibration->level_limit);
    json_array(j, "channels");
    for (unsigned i = 0; i < s->calibration->channels && i < most; i++) {
        const struct channel_share *c = &s->share[i];
        json_object(j, NULL);
        json_str(j, "channel", s->calibration->channel[c->channel]);
        json_f64(j, "mean", c->mean);
        json_f64(j, "normal_mean", c->normal_mean);
        json_f64(j, "std", c->std);
        json_f64(j, "normal_std", c->normal_std);
        json_f64(j, "t2", c->t2);
        json_f64(j, "spe", c->spe);
        json_f64(j, "t2_without", c->t2_without);
        json_f64(j, "spe_without", c->spe_without);
        json_f64(j, "level", c->level);
        json_object_end(j);
    }
    json_array_end(j);
}

static void json_story(const struct story *s, size_t most, struct buffer *out)
{
    struct json j;
    json_init(&j, out);
    json_object(&j, NULL);
    json_str(&j, "event", s->event.id);
    json_str(&j, "device", s->device);
    json_str(&j, "source", s->event.source);
    json_str(&j, "ts", s->event.ts);
    json_u64(&j, "number", s->event.number);
    json_str(&j, "statistic", s->statistic);
    json_str(&j, "of", s->of);
    json_str(&j, "value", s->value);
    json_str(&j, "limit", s->limit);
    json_str(&j, "model", s->model);
    json_str(&j, "text", s->event.text);
    if (s->why[0] != '\0') {
        json_str(&j, "why_not", s->why);
    } else if (s->calibration != NULL) {
        json_shares(&j, s, most);
    }
    json_object_end(&j);
    buffer_put_u8(out, '\n');
}

/* ---- the whole ---- */
static bool is_of_model(const struct story *s)
{
    char id[24];
    snprintf(id, sizeof(id), "%016llx", (unsigned long long)s->calibration->model);
    return s->model[0] == '\0' || strcmp(s->model, id) == 0;
}

static enum err make(struct story *s, struct evidence *evidence)
{
    int64_t device_id = 0, at_us = s->event.time_us;
    size_t count = 0;
    read_text(s);
    TRY(evidence_events(evidence, s->device, at_us - MINUTE_US, at_us + MINUTE_US, at_us, s->near, &count));
    for (size_t i = 0; i < count; i++) { /* the others */
        if (s->near[i].number != s->event.number || strcmp(s->near[i].source, s->event.source) != 0) {
            s->near[s->near_count++] = s->near[i];
        }
    }
    enum err err = evidence_device(evidence, s->device, &device_id);
    if (err == ERR_NOT_FOUND) {
        snprintf(s->why, sizeof(s->why), "nothing of the device itself is in the sink");
        return OK;
    }
    TRY(err);
    TRY(evidence_answers(evidence, device_id, at_us, ANSWERS, &s->answers));
    if (s->calibration != NULL && !is_of_model(s)) {
        snprintf(s->why, sizeof(s->why), "the calibration is of another model");
        return OK;
    }
    if (s->calibration != NULL && s->calibration->pca.components == 0) {
        snprintf(s->why, sizeof(s->why), "the calibration has no figures of inputs");
        return OK;
    }
    return s->calibration != NULL ? contributions(s, evidence, device_id) : OK;
}

enum exit_code explain_event(const struct args *args, const char *device, struct evidence *evidence, int64_t at_us,
                             const struct calibration *calibration)
{
    CLEANUP(story_deinit) struct story s = {.device = device, .calibration = calibration};
    struct fault fault = {.code = OK};
    BUFFER(out, OUT_MAX);
    enum err err = evidence_event(evidence, device, args->event, at_us, &s.event);
    if (err == ERR_NOT_FOUND) {
        print_message("no event %s about %s%s%s in %s", args->event, device, args->at != NULL ? " at or before " : "",
                      args->at != NULL ? args->at : "", args->db);
        return EXIT_NOT_FOUND;
    }
    err = err == OK ? make(&s, evidence) : err;
    if (err != OK) {
        evidence_fault(evidence, err, &fault);
        print_message("%s", fault.text);
        return EXIT_FAILED;
    }
    if (calibration != NULL && !is_of_model(&s)) {
        print_message("%s is of model %016llx, the event of %s: its limits are not those of the event",
                      args->calibration, (unsigned long long)calibration->model, s.model);
    }
    if (args->json) {
        json_story(&s, (size_t)args->top, &out);
    } else {
        put_story(&s, (size_t)args->top, args->color, &out);
    }
    return !print_out(&out) ? EXIT_FAILED : s.why[0] != '\0' ? EXIT_DEGRADED : EXIT_OK;
}
