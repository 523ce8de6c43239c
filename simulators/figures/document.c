/* SPDX-License-Identifier: Apache-2.0 */
/*
 * document - the report as JSON:
 *
 *   {"title", "when", "verdict": "good|bad|partial", "summary",
 *    "figures": {ID: {"value", "unit", "label"}},            durations in microseconds, sizes in bytes
 *    "histograms": {ID: {"count", "min_us", "mean_us", "max_us", "p50_us" .. "p99.99_us", "buckets": [[to_us,
 * count]]}}, "series": {ID: {"unit", "step_s", "lines": {NAME: [..]}}}, "notes": [{"level", "text"}], "settings":
 * {NAME: VALUE}}
 */
#include "core/base/json.h"
#include "simulators/figures/figures_internal.h"

static void put_key(struct json *j, const struct key *key)
{
    json_object(j, key->id);
    switch (key->kind) {
    case KEY_COUNT:
        json_u64(j, "value", key->count);
        json_str(j, "unit", key->unit);
        break;
    case KEY_NUMBER:
        json_f64(j, "value", key->number);
        json_str(j, "unit", key->unit);
        break;
    case KEY_DURATION:
        json_i64(j, "value", key->duration_us);
        json_str(j, "unit", "us");
        break;
    case KEY_BYTES:
        json_u64(j, "value", key->count);
        json_str(j, "unit", "B");
        break;
    case KEY_TEXT:
        json_str(j, "value", key->text);
        break;
    }
    json_str(j, "label", key->label);
    json_object_end(j);
}

static void put_distribution(struct json *j, const struct distribution *d)
{
    const struct histogram *h = d->histogram;
    json_object(j, d->id);
    json_str(j, "title", d->title);
    json_u64(j, "count", h->count);
    json_i64(j, "min_us", h->min_us);
    json_f64(j, "mean_us", histogram_mean_us(h));
    json_i64(j, "max_us", h->max_us);
    for (size_t i = 0; i < COUNT_OF(figures_percents); i++) {
        char name[20];
        (void)snprintf(name, sizeof(name), "%s_us", FIGURES_PERCENTS[i]);
        json_i64(j, name, histogram_percentile(h, figures_percents[i]));
    }
    json_array(j, "buckets");
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (h->buckets[i] > 0) {
            int64_t low, high;
            histogram_bucket(i, &low, &high);
            json_array(j, NULL);
            json_i64(j, NULL, high);
            json_u64(j, NULL, h->buckets[i]);
            json_array_end(j);
        }
    }
    json_array_end(j);
    json_object_end(j);
}

static void put_plot(struct json *j, const struct plot *plot)
{
    json_object(j, plot->id);
    json_str(j, "title", plot->title);
    json_str(j, "unit", plot->unit);
    json_u64(j, "step_s", plot->line_count > 0 ? plot->lines[0].series->step : 1);
    json_object(j, "lines");
    for (size_t i = 0; i < plot->line_count; i++) {
        const struct series *s = plot->lines[i].series;
        json_array(j, plot->lines[i].name);
        for (size_t point = 0; point < series_count(s); point++) {
            json_f64(j, NULL, series_at(s, point)); /* NaN is written as null */
        }
        json_array_end(j);
    }
    json_object_end(j);
    json_object_end(j);
}

void figures_render_json(const struct figures *f, struct buffer *out)
{
    struct json j;
    json_init(&j, out);
    json_object(&j, NULL);
    json_str(&j, "title", f->title);
    json_str(&j, "when", f->when);
    json_str(&j, "verdict", figures_verdict_word(f->verdict));
    json_str(&j, "summary", f->summary);
    json_object(&j, "figures");
    for (size_t i = 0; i < f->key_count; i++) {
        put_key(&j, &f->keys[i]);
    }
    json_object_end(&j);
    json_object(&j, "histograms");
    for (size_t i = 0; i < f->distribution_count; i++) {
        put_distribution(&j, &f->distributions[i]);
    }
    json_object_end(&j);
    json_object(&j, "series");
    for (size_t i = 0; i < f->plot_count; i++) {
        put_plot(&j, &f->plots[i]);
    }
    json_object_end(&j);
    json_array(&j, "notes");
    for (size_t i = 0; i < f->note_count; i++) {
        json_object(&j, NULL);
        json_str(&j, "level", figures_level_word(f->notes[i].level));
        json_str(&j, "text", f->notes[i].text);
        json_object_end(&j);
    }
    json_array_end(&j);
    json_object(&j, "settings");
    for (size_t i = 0; i < f->setting_count; i++) {
        json_str(&j, f->settings[i].name, f->settings[i].value);
    }
    json_object_end(&j);
    json_object_end(&j);
    buffer_put_u8(out, '\n');
}
