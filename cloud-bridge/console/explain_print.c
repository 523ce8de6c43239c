/* SPDX-License-Identifier: Apache-2.0 */
/* One decision for people, and for programs. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "cloud-bridge/console/explain.h"
#include "core/base/json.h"

enum { NAME_BYTES = 400, NEAR_MAX = 6 };

/* ---- names ---- */
static const char *label_of(const struct evidence_inference *i)
{
    return i->label[0] != '\0' ? i->label : "no verdict";
}

/* A class by its name, where the model is known, or as it was recorded. */
static const char *class_name(const struct explain_side *s, unsigned class, char out[NAME_BYTES])
{
    const char *label = s->found                                ? answerer_label(&s->model, class)
                        : s->label != NULL && class == s->class ? s->label
                                                                : "";
    if (label[0] != '\0') {
        snprintf(out, NAME_BYTES, "%s", label);
    } else {
        snprintf(out, NAME_BYTES, "class %u", class);
    }
    return out;
}

static const char *feature_title(const struct model_info *info, unsigned feature, char out[NAME_BYTES])
{
    const struct feature *f = &info->features.features[feature];
    int at = snprintf(out, NAME_BYTES, "%s of %s", feature_name(f->kind), info->channels[f->channel]);
    if (f->kind == FEATURE_BANDS && at > 0 && at < NAME_BYTES) {
        float high = f->high_hz > 0 ? f->high_hz : info->features.rate_hz / 2;
        snprintf(out + at, (size_t)(NAME_BYTES - at), ", %g to %g Hz", (double)f->low_hz, (double)high);
    }
    return out;
}

/* What part of an input a feature is; its place and width in the row. */
static size_t place_of(const struct model_info *info, unsigned feature, size_t *ret_width)
{
    size_t at = 0;
    for (unsigned i = 0;; i++) {
        const struct feature *f = &info->features.features[i];
        *ret_width = f->kind == FEATURE_RAW ? info->features.window : f->kind == FEATURE_BANDS ? f->bands : 1;
        if (i == feature) {
            return at;
        }
        at += *ret_width;
    }
}

static const char *reason_text(const struct evidence_reason *r, char out[NAME_BYTES])
{
    char records[80];
    if (r->first == r->last) {
        snprintf(records, sizeof(records), "record %" PRIu64, r->first);
    } else {
        snprintf(records, sizeof(records), "records %" PRIu64 " to %" PRIu64, r->first, r->last);
    }
    if (strcmp(r->kind, "gap") == 0) {
        snprintf(out, NAME_BYTES, "%s lost: gap, %s", records, r->name);
    } else if (strcmp(r->kind, "suppressed") == 0) {
        snprintf(out, NAME_BYTES, "%s held back by rule %s", records, r->name);
    } else if (strcmp(r->kind, "window") == 0) {
        snprintf(out, NAME_BYTES, "windows of rule %s are there for that time (%s)", r->name, records);
    } else {
        snprintf(out, NAME_BYTES, "%s thinned out by the gateway's rules; weir fetch may still have what was sampled",
                 records);
    }
    return out;
}

/* ---- text ---- */
/* What the device itself said when it was not sure; with as many digits as tell it from the limit. */
static void put_unsure(const struct explain_case *c, struct buffer *out)
{
    char name[NAME_BYTES], confidence[40], limit[40];
    double below = c->own.found ? answerer_info(&c->own.model)->unsure_below : 0, is = c->i.own_confidence;
    int digits = 5;
    do {
        snprintf(confidence, sizeof(confidence), "%.*g", digits, is);
        snprintf(limit, sizeof(limit), "%.*g", digits, below);
    } while (++digits < 10 && is < below && strcmp(confidence, limit) == 0);
    buffer_printf(out, "the device itself: %s, confidence %s", class_name(&c->own, c->i.own_answer, name), confidence);
    if (below > 0) {
        buffer_printf(out, ", unsure below %.9g", below);
    }
    buffer_put_u8(out, '\n');
}

static void put_head(struct explain_case *c, struct buffer *out)
{
    const struct evidence_inference *i = &c->i;
    const struct explain_side *s = explain_standing(c);
    bool classes = s->found && answerer_info(&s->model)->class_count > 0;
    buffer_printf(out, "%s: %s at %s, confidence %.4g, score %.4g%s\n", c->device, label_of(i), i->ts, i->confidence,
                  i->score, classes ? " (its logit less the next one's)" : "");
    buffer_printf(out, "record %" PRIu64 " of epoch %s%s", i->number, i->epoch, i->lane == 0 ? ", an alarm" : "");
    if (i->others > 0) {
        buffer_printf(out, " (%" PRIu64 " older epochs have that number, too)", i->others);
    }
    if (i->gateway[0] != '\0') {
        buffer_printf(out, "; taken in by gateway %s at %s", i->gateway, stamp_of(i->received_us).text);
    }
    buffer_printf(out, "\nanswered by: %s%s%s", i->answered_by, i->engine[0] != '\0' ? " " : "", i->engine);
    if (!i->was_asked) {
        buffer_put_str(out, ", sure enough not to ask\n");
    } else {
        const char *how = strcmp(i->asked, "answered") == 0  ? "asked, and answered in"
                          : strcmp(i->asked, "late") == 0    ? "asked, and no answer within"
                          : strcmp(i->asked, "refused") == 0 ? "asked, and refused or nobody sure up there, after"
                                                             : NULL;
        if (how != NULL) {
            buffer_printf(out, "; %s %" PRIu64 " ms\n", how, i->took_ms);
        } else {
            buffer_put_str(out, "; not asked: no connection, or asks_per_minute, bytes_per_day or four at a time used "
                                "up\n");
        }
        put_unsure(c, out);
    }
    if (i->repeats > 0 || i->skipped > 0) {
        buffer_printf(out,
                      "since the record before: %" PRIu64 " more like that one, %" PRIu64 " windows not looked at\n",
                      i->repeats, i->skipped);
    }
}

static void put_side_model(const struct explain_side *s, const char *title, struct buffer *out)
{
    buffer_printf(out, "%s: %016" PRIx64, title, s->id);
    if (s->found) {
        buffer_printf(out, " %s, %s", answerer_info(&s->model)->name, answerer_info(&s->model)->path);
    }
    buffer_put_u8(out, '\n');
}

static void put_again(const struct explain_side *s, const char *title, struct buffer *out)
{
    char name[NAME_BYTES];
    if (!s->is || s->state == EXPLAIN_NOT_TRIED) {
        return;
    }
    buffer_printf(out, "worked out again, %s: ", title);
    if (s->state == EXPLAIN_NO_MODEL || s->state == EXPLAIN_NO_WINDOW) {
        buffer_printf(out, "not possible: %s\n", s->why[0] != '\0' ? s->why : "a channel has no reading in the window");
        return;
    }
    buffer_printf(out, "%s, confidence %.5g, from %s: %s\n", class_name(s, s->again.class, name), s->again.confidence,
                  s->from,
                  s->state == EXPLAIN_EQUAL   ? "as recorded"
                  : s->state == EXPLAIN_CLOSE ? "the recorded class, not its confidence"
                                              : "NOT as recorded");
}

static void put_window(struct explain_case *c, struct buffer *out)
{
    const struct explain_window *w = &c->window;
    char text[NAME_BYTES];
    buffer_printf(out, "window: %.6g s up to then", (double)c->i.window_us / 1e6);
    if (c->has_window) {
        buffer_printf(out, "; samples %s to %s, %zu of %zu in %s", stamp_of(w->first_us).text,
                      stamp_of(w->last_us).text, w->rows - w->rows_missing, w->rows, c->readings_in);
    }
    buffer_put_u8(out, '\n');
    const struct model_info *info = c->own.found  ? answerer_info(&c->own.model)
                                    : c->up.found ? answerer_info(&c->up.model)
                                                  : NULL;
    for (size_t i = 0; c->has_window && info != NULL && i < w->channels; i++) {
        if (w->missing[i] > 0) {
            buffer_printf(out, "  %s: %zu of %zu readings are missing%s\n", info->channels[i], w->missing[i], w->rows,
                          w->missing[i] < w->rows ? "; the ones before stand in" : "");
        }
    }
    bool unsaid = c->has_window && w->values_missing > 0 && c->reason_count == 0;
    for (size_t i = 0; i < c->reason_count; i++) {
        buffer_printf(out, "  %s\n", reason_text(&c->reasons[i], text));
    }
    if (unsaid || (!c->has_window && info != NULL && c->reason_count == 0)) {
        buffer_put_str(out, "  neither a gap nor a rule says why: still on the way, or the sensor gave nothing\n");
    }
}

static void put_effect(struct table *t, const struct explain_side *s, const struct occlusion_effect *e)
{
    char name[NAME_BYTES];
    table_add(t, PAINT_NONE, "%s, %.4g", class_name(s, e->without.decision.class, name),
              e->without.decision.confidence);
    table_add(t, PAINT_NONE, "%+.4g", e->change);
}

static void put_channels(struct explain_case *c, size_t most, struct table *t)
{
    const struct explain_side *s = explain_standing(c);
    double mean, std;
    for (size_t i = 0; i < c->described->features.channels && i < most; i++) {
        const struct occlusion_effect *e = &c->channels[i];
        table_add(t, PAINT_NONE, "%s", c->described->channels[e->part]);
        explain_moments(&c->window, e->part, &mean, &std);
        table_add(t, PAINT_NONE, "%.5g +- %.3g", mean, std);
        if (isnan(c->normal_mean[e->part])) {
            table_add(t, PAINT_NONE, "-");
        } else {
            table_add(t, PAINT_NONE, "%.5g", c->normal_mean[e->part]);
        }
        put_effect(t, s, e);
    }
}

static void put_features(struct explain_case *c, size_t most, struct table *t)
{
    const struct explain_side *s = explain_standing(c);
    char name[NAME_BYTES];
    for (size_t i = 0; i < c->described->features.count && i < most; i++) {
        const struct occlusion_effect *e = &c->features[i];
        size_t width, at = place_of(c->described, e->part, &width);
        table_add(t, PAINT_NONE, "%s", feature_title(c->described, e->part, name));
        if (width == 1) {
            table_add(t, PAINT_NONE, "%.5g", (double)s->row[at]);
            table_add(t, PAINT_NONE, "%.5g", (double)c->normal[at]);
        } else {
            table_add(t, PAINT_NONE, "%zu values", width);
            table_add(t, PAINT_NONE, "-");
        }
        put_effect(t, s, e);
    }
}

static void put_influence(struct explain_case *c, size_t most, bool color, struct buffer *out)
{
    CLEANUP(table_deinit) struct table channels = {.columns = "lrrlr", .width = 5};
    CLEANUP(table_deinit) struct table features = {.columns = "lrrlr", .width = 5};
    static const char *const heads[3][5] = {{"CHANNEL", "IN THE WINDOW", "NORMAL", "WITHOUT IT", "CHANGE"},
                                            {"FEATURE", "INPUT", "NORMAL", "WITHOUT IT", "CHANGE"},
                                            {"FEATURE", "INPUT, SCALED", "NORMAL, SCALED", "WITHOUT IT", "CHANGE"}};
    if (c->channels == NULL || c->features == NULL) {
        return;
    }
    bool scaled = c->described->features.offset != NULL;
    for (size_t i = 0; i < COUNT_OF(heads[0]); i++) {
        table_add(&channels, PAINT_NONE, "%s", heads[0][i]);
        table_add(&features, PAINT_NONE, "%s", heads[scaled ? 2 : 1][i]);
    }
    put_channels(c, most, &channels);
    put_features(c, most, &features);
    buffer_printf(
        out,
        "\nWhat it hangs on: each set to what is normal, by itself; CHANGE: what it does for the answer's margin\n"
        "normal is %s\n",
        c->normal_from);
    table_print(&channels, color, out);
    buffer_put_u8(out, '\n');
    table_print(&features, color, out);
}

void explain_put_events(const struct evidence_event *events, size_t count, struct buffer *out)
{
    for (size_t i = 0; i < count && i < NEAR_MAX; i++) {
        buffer_printf(out, "near: %s %s %s: %s\n", events[i].ts, events[i].source, events[i].id, events[i].text);
    }
    if (count > NEAR_MAX) {
        buffer_printf(out, "and %zu%s more events near it\n", count - NEAR_MAX,
                      count == EVIDENCE_EVENTS_MAX ? " or" : "");
    }
}

static void put_near(struct explain_case *c, struct buffer *out)
{
    const struct evidence_inference *beside[] = {&c->before, &c->after};
    static const char *const titles[] = {"before", "after"};
    buffer_put_u8(out, '\n');
    for (size_t i = 0; i < COUNT_OF(beside); i++) {
        if (beside[i]->number > 0) {
            buffer_printf(out, "%s: %s %s, confidence %.4g, by %s (%" PRIu64 ")\n", titles[i], beside[i]->ts,
                          label_of(beside[i]), beside[i]->confidence, beside[i]->answered_by, beside[i]->number);
        }
    }
    explain_put_events(c->events, c->event_count, out);
}

void explain_text(struct explain_case *c, size_t most, bool color, struct buffer *out)
{
    put_head(c, out);
    put_side_model(explain_standing(c), "model", out);
    if (c->up.is) {
        put_side_model(&c->own, "the device's own model", out);
    }
    buffer_printf(out, "configuration: %016" PRIx64 "\n", c->i.config);
    put_window(c, out);
    put_again(explain_standing(c), c->up.is ? "the gateway's answer" : "the device's answer", out);
    if (c->up.is) {
        put_again(&c->own, "the device's own", out);
    }
    put_influence(c, most, color, out);
    put_near(c, out);
}

/* ---- JSON ---- */
static void json_side(struct json *j, const char *key, const struct explain_side *s)
{
    json_object(j, key);
    json_hex(j, "model", s->id);
    json_u64(j, "answer", s->class);
    json_f64(j, "confidence", s->confidence);
    if (s->found) {
        json_str(j, "name", answerer_info(&s->model)->name);
        json_str(j, "path", answerer_info(&s->model)->path);
    }
    if (s->label != NULL || s->found) {
        json_str(j, "label", s->label != NULL ? s->label : answerer_label(&s->model, s->class));
    }
    json_str(j, "recomputed", explain_state_name(s->state));
    if (s->state >= EXPLAIN_EQUAL) {
        json_object(j, "again");
        json_u64(j, "answer", s->again.class);
        json_str(j, "label", answerer_label(&s->model, s->again.class));
        json_f64(j, "confidence", s->again.confidence);
        json_f64(j, "score", s->again.score);
        json_str(j, "from", s->from);
        json_object_end(j);
    } else if (s->state != EXPLAIN_NOT_TRIED) {
        json_str(j, "why", s->why[0] != '\0' ? s->why : "a channel has no reading in the window");
    }
    json_object_end(j);
}

static void json_window(struct json *j, struct explain_case *c)
{
    char text[NAME_BYTES];
    const struct model_info *info = c->own.found  ? answerer_info(&c->own.model)
                                    : c->up.found ? answerer_info(&c->up.model)
                                                  : NULL;
    json_object(j, "window");
    json_f64(j, "seconds", (double)c->i.window_us / 1e6);
    if (c->has_window && info != NULL) {
        json_str(j, "from", stamp_of(c->window.first_us).text);
        json_str(j, "to", stamp_of(c->window.last_us).text);
        json_u64(j, "samples", c->window.rows);
        json_u64(j, "samples_missing", c->window.rows_missing);
        json_object(j, "missing");
        for (size_t i = 0; i < c->window.channels; i++) {
            json_u64(j, info->channels[i], c->window.missing[i]);
        }
        json_object_end(j);
    }
    json_array(j, "why");
    for (size_t i = 0; i < c->reason_count; i++) {
        json_object(j, NULL);
        json_str(j, "kind", c->reasons[i].kind);
        json_str(j, "name", c->reasons[i].name);
        json_u64(j, "first", c->reasons[i].first);
        json_u64(j, "last", c->reasons[i].last);
        json_str(j, "text", reason_text(&c->reasons[i], text));
        json_object_end(j);
    }
    json_array_end(j);
    json_object_end(j);
}

static void json_effect(struct json *j, const struct explain_side *s, const struct occlusion_effect *e)
{
    json_f64(j, "change", e->change);
    json_str(j, "label", answerer_label(&s->model, e->without.decision.class));
    json_f64(j, "confidence", e->without.decision.confidence);
    json_f64(j, "score", e->without.decision.score);
    json_object_end(j);
}

static void json_influence(struct json *j, struct explain_case *c, size_t most)
{
    const struct explain_side *s = explain_standing(c);
    char name[NAME_BYTES];
    double mean, std;
    if (c->channels == NULL || c->features == NULL) {
        return;
    }
    json_str(j, "normal", c->normal_from);
    json_array(j, "channels");
    for (size_t i = 0; i < c->described->features.channels && i < most; i++) {
        const struct occlusion_effect *e = &c->channels[i];
        explain_moments(&c->window, e->part, &mean, &std);
        json_object(j, NULL);
        json_str(j, "channel", c->described->channels[e->part]);
        json_f64(j, "mean", mean);
        json_f64(j, "std", std);
        json_f64(j, "normal", c->normal_mean[e->part]);
        json_effect(j, s, e);
    }
    json_array_end(j);
    json_array(j, "features");
    for (size_t i = 0; i < c->described->features.count && i < most; i++) {
        const struct occlusion_effect *e = &c->features[i];
        json_object(j, NULL);
        json_str(j, "feature", feature_title(c->described, e->part, name));
        json_effect(j, s, e);
    }
    json_array_end(j);
}

static void json_near(struct json *j, struct explain_case *c)
{
    const struct evidence_inference *beside[] = {&c->before, &c->after};
    static const char *const titles[] = {"before", "after"};
    for (size_t i = 0; i < COUNT_OF(beside); i++) {
        if (beside[i]->number > 0) {
            json_object(j, titles[i]);
            json_u64(j, "number", beside[i]->number);
            json_str(j, "ts", beside[i]->ts);
            json_str(j, "label", beside[i]->label);
            json_f64(j, "confidence", beside[i]->confidence);
            json_str(j, "answered_by", beside[i]->answered_by);
            json_object_end(j);
        }
    }
    json_array(j, "events");
    for (size_t i = 0; i < c->event_count; i++) {
        json_object(j, NULL);
        json_str(j, "source", c->events[i].source);
        json_str(j, "ts", c->events[i].ts);
        json_str(j, "id", c->events[i].id);
        json_str(j, "text", c->events[i].text);
        json_object_end(j);
    }
    json_array_end(j);
}

void explain_json(struct explain_case *c, size_t most, struct buffer *out)
{
    const struct evidence_inference *i = &c->i;
    struct json j;
    json_init(&j, out);
    json_object(&j, NULL);
    json_str(&j, "device", c->device);
    json_u64(&j, "number", i->number);
    json_str(&j, "epoch", i->epoch);
    json_str(&j, "ts", i->ts);
    json_bool(&j, "alarm", i->lane == 0);
    json_str(&j, "label", i->label);
    json_u64(&j, "answer", i->answer);
    json_f64(&j, "confidence", i->confidence);
    json_f64(&j, "score", i->score);
    json_str(&j, "answered_by", i->answered_by);
    json_str(&j, "engine", i->engine);
    json_str(&j, "asked", i->asked);
    json_u64(&j, "took_ms", i->took_ms);
    json_hex(&j, "config", i->config);
    json_u64(&j, "repeats", i->repeats);
    json_u64(&j, "skipped", i->skipped);
    json_str(&j, "gateway", i->gateway);
    json_str(&j, "received", stamp_of(i->received_us).text);
    json_side(&j, "standing", explain_standing(c));
    json_side(&j, "own", &c->own);
    json_window(&j, c);
    json_influence(&j, c, most);
    json_near(&j, c);
    json_object_end(&j);
    buffer_put_u8(out, '\n');
}
