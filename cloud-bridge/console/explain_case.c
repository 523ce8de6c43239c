/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One decision, put together: what was recorded, the window found again, both answers worked out again and compared,
 * and what of the input the one that stands hangs on.
 */
#include <math.h>
#include <stdio.h>

#include "cloud-bridge/console/explain.h"

#define EQUAL_WITHIN 1e-4 /* float32 kernels differ by less; int8 ones not at all */
#define AROUND_US MINUTE_US
enum { AROUND_WINDOWS = 10 };

void explain_case_deinit(struct explain_case *c)
{
    struct explain_side *sides[] = {&c->own, &c->up};
    for (size_t i = 0; i < COUNT_OF(sides); i++) {
        answerer_deinit(&sides[i]->model);
        free(sides[i]->row);
    }
    evidence_samples_deinit(&c->samples);
    explain_window_deinit(&c->window);
    free(c->normal);
    free(c->channels);
    free(c->features);
    *c = (struct explain_case){.has_window = false};
}

struct explain_side *explain_standing(struct explain_case *c)
{
    return c->up.is ? &c->up : &c->own;
}

const char *explain_state_name(enum explain_state state)
{
    switch (state) {
    case EXPLAIN_NOT_TRIED:
        return "not-tried";
    case EXPLAIN_NO_MODEL:
        return "no-model";
    case EXPLAIN_NO_WINDOW:
        return "no-window";
    case EXPLAIN_EQUAL:
        return "equal";
    case EXPLAIN_CLOSE:
        return "close";
    case EXPLAIN_DIFFERENT:
        return "different";
    }
    return "";
}

/* ---- whose answers there are ---- */
static void take_sides(struct explain_case *c)
{
    const struct evidence_inference *i = &c->i;
    bool up = i->was_asked && strcmp(i->answered_by, "device") != 0;
    c->own.is = true;
    c->own.id = up ? i->own_model : i->model;
    c->own.class = i->was_asked ? i->own_answer : i->answer;
    c->own.label = !up && i->label[0] != '\0' && c->own.class == i->answer ? i->label : NULL;
    c->own.confidence = i->was_asked ? i->own_confidence : i->confidence;
    c->up.is = up;
    c->up.id = i->model;
    c->up.class = i->answer;
    c->up.label = i->label[0] != '\0' ? i->label : NULL;
    c->up.confidence = i->confidence;
}

/* The record of a question has the label of the answer alone. */
static enum err name_own(struct explain_case *c, struct evidence *evidence)
{
    enum err err = c->own.label == NULL
                       ? evidence_label(evidence, c->i.device_id, c->own.id, c->own.class, c->own_label)
                       : ERR_NOT_FOUND;
    c->own.label = err == OK ? c->own_label : c->own.label;
    return err == ERR_NOT_FOUND ? OK : err;
}

bool explain_is_of_model(const struct explain_case *c, const struct calibration *calibration)
{
    return calibration->model == c->own.id || (c->up.is && calibration->model == c->up.id);
}

static enum err find_model(struct explain_side *s, const char *models)
{
    struct fault fault = {.code = OK};
    if (!s->is || models == NULL) {
        return OK;
    }
    enum err err = answerer_find(models, s->id, &s->model, &fault);
    s->found = err == OK;
    if (err != OK) {
        s->state = EXPLAIN_NO_MODEL;
        snprintf(s->why, sizeof(s->why), "%s", fault.text);
        answerer_deinit(&s->model);
    }
    return err == ERR_NOMEM ? err : OK;
}

/* ---- one window, looked at again ---- */
static void judge(struct explain_side *s, const float *row, const char *from)
{
    struct decision d = answerer_decide(&s->model, row);
    double off = fabs(d.confidence - s->confidence);
    s->again = d;
    s->from = from;
    bool same = s->label != NULL ? strcmp(s->label, answerer_label(&s->model, d.class)) == 0 : d.class == s->class;
    s->state = !same ? EXPLAIN_DIFFERENT : off <= EQUAL_WITHIN ? EXPLAIN_EQUAL : EXPLAIN_CLOSE;
    memcpy(s->row, row, answerer_info(&s->model)->inputs * sizeof(*row));
}

/* What an int8 model's features are once they have been in a question. */
static void as_asked(struct explain_side *own, const float *row, float *out)
{
    const struct nn_tensor *in = own->model.network.nn != NULL ? nn_input_info(own->model.network.nn, 0) : NULL;
    for (size_t i = 0; i < answerer_info(&own->model)->inputs; i++) {
        out[i] = in != NULL && in->type == NN_INT8 ? nn_dequantize(in, nn_quantize(in, row[i])) : row[i];
    }
}

/* The gateway was asked with the window, or with the features that the device's own model sees. */
static void ask_up(struct explain_case *c, const float *filled, float *row)
{
    struct explain_side *own = &c->own, *up = &c->up;
    const struct model_info *info = answerer_info(&up->model);
    bool tried = false;
    if (c->window.channels == info->features.channels && c->window.rows == info->features.window &&
        features_of(up->model.features, filled, row)) {
        judge(up, row, "the window");
        tried = true;
    }
    if (own->found && (!tried || up->state != EXPLAIN_EQUAL) && answerer_info(&own->model)->inputs == info->inputs) {
        enum explain_state before = up->state;
        struct decision again = up->again;
        as_asked(own, own->row, row);
        judge(up, row, "the device's features");
        if (tried && up->state != EXPLAIN_EQUAL) { /* neither: then it is told of the window */
            (void)features_of(up->model.features, filled, row);
            judge(up, row, "the window");
            up->state = before;
            up->again = again;
        }
        tried = true;
    }
    if (!tried) {
        up->state = EXPLAIN_NO_WINDOW;
        snprintf(up->why, sizeof(up->why), "%s takes another window and other features than the device has",
                 info->path);
    }
}

static enum err look(struct explain_case *c, size_t end, const struct features_options *o, float *filled, float *row)
{
    TRY(explain_window_at(&c->samples, end, o, &c->window));
    c->has_window = true;
    if (!explain_fill(&c->window, filled)) { /* what is missing at the beginning features_of takes care of */
        c->own.state = c->own.found ? EXPLAIN_NO_WINDOW : c->own.state;
        c->up.state = c->up.found ? EXPLAIN_NO_WINDOW : c->up.state;
        return OK;
    }
    if (c->own.found && features_of(c->own.model.features, filled, row)) {
        judge(&c->own, row, "the window");
    }
    if (c->up.found) {
        ask_up(c, filled, row);
    }
    return OK;
}

static bool all_equal(const struct explain_case *c)
{
    return (!c->own.found || c->own.state == EXPLAIN_EQUAL) && (!c->up.found || c->up.state == EXPLAIN_EQUAL);
}

/* A window's time is told in milliseconds: where several samples were taken within one, it is the one with which the
 * recorded answer comes out. */
static enum err look_at_ends(struct explain_case *c, const struct features_options *o, float *filled, float *row)
{
    size_t ends[EXPLAIN_ENDS_MAX], near = 0;
    size_t count = explain_ends(&c->samples, c->i.time_us, (double)o->rate_hz, ends, &near);
    size_t good = near > 0 ? 0 : SIZE_MAX;
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        TRY(look(c, ends[i], o, filled, row));
        bool equal = all_equal(c);
        if (equal && c->window.values_missing == 0) {
            return OK;
        }
        good = equal && !any ? i : good;
        any |= equal;
    }
    c->has_window = false;
    return good != SIZE_MAX ? look(c, ends[good], o, filled, row) : OK;
}

static enum err room_for_rows(struct explain_side *s)
{
    if (s->found) {
        s->row = calloc(answerer_info(&s->model)->inputs, sizeof(*s->row));
        return s->row != NULL ? OK : ERR_NOMEM;
    }
    return OK;
}

static void no_window(struct explain_case *c, const char *sentence)
{
    struct explain_side *sides[] = {&c->own, &c->up};
    for (size_t i = 0; i < COUNT_OF(sides); i++) {
        if (sides[i]->found) {
            sides[i]->state = EXPLAIN_NO_WINDOW;
            snprintf(sides[i]->why, sizeof(sides[i]->why), "%s", sentence);
        }
    }
}

static enum err recompute(struct explain_case *c, struct evidence *evidence, const struct series *readings)
{
    struct explain_side *by = c->own.found ? &c->own : &c->up;
    const struct model_info *info = answerer_info(&by->model);
    const struct features_options *o = &info->features;
    double period_us = 1e6 / (double)o->rate_hz;
    int64_t from_us = c->i.time_us - (int64_t)(1.6 * period_us * (double)o->window) - SECOND_US;
    int64_t to_us = c->i.time_us + (int64_t)period_us + 3 * MS_US;
    enum err err =
        readings != NULL
            ? explain_samples_of(readings, from_us, to_us, info->channels, o->channels, &c->samples)
            : evidence_samples(evidence, c->i.device_id, from_us, to_us, info->channels, o->channels, &c->samples);
    if (err == ERR_FULL) {
        no_window(c, "too many readings for one explanation");
        return OK;
    }
    TRY(err);
    size_t inputs = c->own.found ? answerer_info(&c->own.model)->inputs : 0;
    inputs = max_u64(inputs, c->up.found ? answerer_info(&c->up.model)->inputs : 0);
    float *filled = calloc((size_t)o->window * o->channels, sizeof(*filled)), *row = calloc(inputs, sizeof(*row));
    err = filled != NULL && row != NULL ? room_for_rows(&c->own) : ERR_NOMEM;
    err = err == OK ? room_for_rows(&c->up) : err;
    err = err == OK ? look_at_ends(c, o, filled, row) : err;
    free(filled);
    free(row);
    TRY(err);
    if (!c->has_window) {
        no_window(c, readings != NULL ? "the window's last reading is not in the data"
                                      : "the window's last reading is not in the sink");
    }
    return OK;
}

/* ---- what is normal ---- */
static size_t outputs_of(const struct features_options *o, size_t feature)
{
    const struct feature *f = &o->features[feature];
    return f->kind == FEATURE_RAW ? o->window : f->kind == FEATURE_BANDS ? f->bands : 1;
}

/* Column of the calibration's inputs; UINT_MAX: the channel is not in it. */
static unsigned calibrated(const struct calibration *k, const char *channel)
{
    for (unsigned i = 0; k != NULL && k->pca.components > 0 && i < k->channels; i++) {
        if (strcmp(k->channel[i], channel) == 0) {
            return i;
        }
    }
    return UINT32_MAX;
}

/* A channel at its normal level, swinging as far as is normal: its shape stays, so that features of the shape do not
 * speak of a sensor that is stuck. */
static void settle(const struct explain_window *w, size_t channel, double mean, double std, float *out)
{
    double is_mean, is_std;
    explain_moments(w, channel, &is_mean, &is_std);
    for (size_t row = 0; row < w->rows; row++) {
        float *v = &out[row * w->channels + channel];
        double from = isnan(*v) ? is_mean : (double)*v;
        *v = (float)(mean + (isfinite(std) && is_std > 0 ? (from - is_mean) * std / is_std : 0));
    }
}

static enum err make_normal(struct explain_case *c, const struct calibration *k, struct answerer *by)
{
    const struct model_info *info = answerer_info(by);
    const struct features_options *o = &info->features;
    struct explain_window *w = &c->window;
    bool any = false;
    float *filled = calloc(w->rows * w->channels, sizeof(*filled));
    c->normal = calloc(info->inputs, sizeof(*c->normal));
    if (filled == NULL || c->normal == NULL) {
        free(filled);
        return ERR_NOMEM;
    }
    (void)explain_fill(w, filled);
    for (unsigned i = 0; i < o->channels; i++) {
        unsigned at = calibrated(k, info->channels[i]);
        c->normal_mean[i] = NAN;
        if (at != UINT32_MAX) {
            bool has_std = calibration_inputs(k) == 2 * k->channels;
            any = true;
            c->normal_mean[i] = k->pca.mean[at];
            settle(w, i, k->pca.mean[at], has_std ? k->pca.mean[k->channels + at] : (double)NAN, filled);
        }
    }
    bool good = any && features_of(by->features, filled, c->normal);
    free(filled);
    for (size_t i = 0, f = 0; i < info->inputs; f++) { /* channels that the calibration does not know: zero */
        for (size_t end = i + outputs_of(o, f); i < end; i++) {
            bool known = good && !isnan(c->normal_mean[o->features[f].channel]);
            c->normal[i] = known ? c->normal[i] : 0;
        }
    }
    c->normal_from = good                ? "the calibration's normal run"
                     : o->offset != NULL ? "the middle of the model's own scaling"
                                         : "zero: the model has no scaling, and no calibration says what is normal";
    return OK;
}

/* ---- what it hangs on ---- */
static enum err occlude(struct explain_case *c, struct explain_side *s, bool by_channel, struct occlusion_effect **ret)
{
    const struct features_options *o = &c->described->features;
    unsigned parts = by_channel ? o->channels : o->count;
    size_t inputs = answerer_info(&s->model)->inputs, at = 0;
    unsigned *part = calloc(inputs, sizeof(*part));
    *ret = calloc(parts, sizeof(**ret));
    if (part == NULL || *ret == NULL) {
        free(part);
        return ERR_NOMEM;
    }
    for (unsigned f = 0; f < o->count; f++) {
        for (size_t end = at + outputs_of(o, f); at < end && at < inputs; at++) {
            part[at] = by_channel ? o->features[f].channel : f;
        }
    }
    const struct occlusion occlusion = {.row = s->row,
                                        .normal = c->normal,
                                        .part = part,
                                        .inputs = inputs,
                                        .parts = parts,
                                        .scratch = s->model.scratch,
                                        .answer = answerer_ask,
                                        .arg = &s->model};
    s->model.class = s->again.class;
    occlusion_run(&occlusion, answerer_ask(&s->model, s->row).margin, *ret);
    free(part);
    return OK;
}

static enum err influence(struct explain_case *c, const struct calibration *k)
{
    struct explain_side *s = explain_standing(c);
    bool has_answer = s->state == EXPLAIN_EQUAL || s->state == EXPLAIN_CLOSE || s->state == EXPLAIN_DIFFERENT;
    if (!has_answer || s->from == NULL) {
        return OK;
    }
    struct answerer *described = strcmp(s->from, "the window") == 0 ? &s->model : &c->own.model;
    c->described = answerer_info(described);
    TRY(make_normal(c, k, described));
    TRY(occlude(c, s, true, &c->channels));
    return occlude(c, s, false, &c->features);
}

/* ---- the whole ---- */
static enum err around(struct explain_case *c, struct evidence *evidence, const char *device)
{
    int64_t span_us = max_i64(AROUND_US, AROUND_WINDOWS * min_i64(c->i.window_us, DAY_US));
    TRY(evidence_events(evidence, device, c->i.time_us - span_us, c->i.time_us + span_us, c->i.time_us, c->events,
                        &c->event_count));
    return evidence_beside(evidence, &c->i, &c->before, &c->after);
}

enum err explain_case_make(struct evidence *evidence, const struct evidence_key *key,
                           const struct explain_sources *sources, struct explain_case *c)
{
    *c = (struct explain_case){.device = key->device,
                               .readings_in = sources->readings != NULL ? "the data" : "the sink"};
    TRY(evidence_inference(evidence, key, &c->i));
    take_sides(c);
    TRY(name_own(c, evidence));
    TRY(around(c, evidence, key->device));
    TRY(find_model(&c->own, sources->models));
    TRY(find_model(&c->up, sources->models));
    if (c->own.found || c->up.found) {
        TRY(recompute(c, evidence, sources->readings));
    }
    if (!c->has_window || c->window.values_missing > 0) {
        TRY(evidence_reasons(evidence, c->i.device_id,
                             c->has_window ? c->window.first_us : c->i.time_us - c->i.window_us, c->i.time_us,
                             c->reasons, &c->reason_count));
    }
    bool own = sources->calibration != NULL && explain_is_of_model(c, sources->calibration);
    return influence(c, own ? sources->calibration : NULL);
}
