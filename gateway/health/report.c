/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator sees of it. */
#include <math.h>

#include "gateway/health/health_internal.h"

bool health_fresh(const struct health *h, int64_t figure_us, int64_t now_us)
{
    return figure_us >= 0 && now_us - figure_us <= h->options.stale_us;
}

static const struct channel *faulty(const struct device *d, unsigned *ret_channel)
{
    for (unsigned i = 0; d->channels != NULL && i < d->calibration->channels; i++) {
        if (d->channels[i].fault.told) {
            *ret_channel = i;
            return &d->channels[i];
        }
    }
    return NULL;
}

/* The first channel that sketches say has moved. */
static const struct channel *moved(const struct device *d, unsigned *ret_channel)
{
    for (unsigned i = 0; d->channels != NULL && i < d->calibration->channels; i++) {
        if (d->channels[i].moved.told) {
            *ret_channel = i;
            return &d->channels[i];
        }
    }
    return NULL;
}

const char *health_condition(const struct health *h, const struct device *d, int64_t now_us)
{
    unsigned channel;
    bool fresh = health_fresh(h, d->inputs_us, now_us) || health_fresh(h, d->scores_us, now_us) ||
                 health_fresh(h, d->disagreement_us, now_us);
    return faulty(d, &channel) != NULL        ? "sensor-fault"
           : d->concept.told                  ? "concept-drift"
           : d->inputs.told || d->scores.told || moved(d, &channel) != NULL ? "data-drift"
           : d->cohort.told                   ? "cohort-outlier"
           : fresh                            ? "ok"
                                              : "unknown";
}

/* Seconds since the newest figure; null: none, ever. */
static void put_age(struct json *j, const char *key, int64_t figure_us, int64_t now_us)
{
    if (figure_us < 0) {
        json_str(j, key, NULL);
    } else {
        json_i64(j, key, max_i64(now_us - figure_us, 0) / SECOND_US);
    }
}

/* channel: that it is of, or NULL. */
static void put_watch(struct json *j, const char *key, const struct watch *w, const char *channel, int64_t figure_us,
                      int64_t now_us)
{
    json_object(j, key);
    if (channel != NULL) {
        json_str(j, "channel", channel);
    }
    json_bool(j, "beyond", w->told);
    json_str(j, "statistic", w->told ? w->statistic : NULL);
    json_f64(j, "value", w->told && w->statistic != NULL ? w->value : (double)NAN);
    json_f64(j, "limit", w->told && w->statistic != NULL ? w->limit : (double)NAN);
    put_age(j, "age_s", figure_us, now_us);
    json_object_end(j);
}

static void put_sensors(struct json *j, const struct device *d)
{
    json_array(j, "sensors");
    for (unsigned i = 0; d->channels != NULL && i < d->calibration->channels; i++) {
        if (d->channels[i].fault.told) {
            json_object(j, NULL);
            json_str(j, "channel", d->calibration->channel[i]);
            json_str(j, "fault",
                     d->channels[i].fault.statistic != NULL ? d->channels[i].fault.statistic : "before the restart");
            json_object_end(j);
        }
    }
    json_array_end(j);
}

static void put_device(const struct health *h, struct json *j, const struct device *d, int64_t now_us)
{
    json_object(j, NULL);
    json_str(j, "device", d->id);
    json_hex(j, "model", d->model);
    json_str(j, "name", d->calibration != NULL ? d->calibration->name : NULL);
    json_bool(j, "calibrated", d->calibration != NULL);
    json_str(j, "state", health_condition(h, d, now_us));
    unsigned channel = 0;
    const struct channel *beyond = d->inputs.told ? NULL : moved(d, &channel);
    put_watch(j, "inputs", beyond != NULL ? &beyond->moved : &d->inputs,
              beyond != NULL ? d->calibration->channel[channel] : NULL, d->inputs_us, now_us);
    json_u64(j, "sketches", d->sketches);
    put_watch(j, "scores", &d->scores, NULL, d->scores_us, now_us);
    put_watch(j, "disagreement", &d->concept, NULL, d->disagreement_us, now_us);
    put_watch(j, "cohort", &d->cohort, NULL, d->scores_us, now_us);
    put_sensors(j, d);
    json_f64(j, "confidence", health_recent_median(d));
    json_u64(j, "answers", d->scores_seen);
    json_bool(j, "tells_changes_alone", d->sparse > 0);
    json_u64(j, "asked", d->asked);
    json_u64(j, "differed", d->differed);
    json_f64(j, "disagreement_rate", d->asked > 0 ? d->rate.value : (double)NAN);
    json_object_end(j);
}

/* Coverage: what is watched of a model, and what of it has figures at present. */
static void put_model(const struct health *h, struct json *j, const struct calibration *c, int64_t now_us)
{
    size_t devices = 0, inputs = 0, scores = 0, disagreement = 0;
    for (const struct device *d = h->first; d != NULL; d = d->next) {
        if (d->calibration == c) {
            devices++;
            inputs += health_fresh(h, d->inputs_us, now_us);
            scores += health_fresh(h, d->scores_us, now_us);
            disagreement += health_fresh(h, d->disagreement_us, now_us);
        }
    }
    json_object(j, NULL);
    json_hex(j, "model", c->model);
    json_str(j, "name", c->name);
    json_u64(j, "devices", devices);
    json_u64(j, "with_inputs", inputs);
    json_u64(j, "with_scores", scores);
    json_u64(j, "with_disagreement", disagreement);
    json_f64(j, "false_alarms_per_week", c->alarms_per_week);
    json_f64(j, "false_alarms_at_most", c->alarms_at_most);
    json_array(j, "without_figures");
    if (devices == 0) {
        json_str(j, NULL, "no device runs it");
    } else {
        if (c->pca.components > 0 && inputs == 0) {
            json_str(j, NULL, "inputs: no windows lately");
        }
        if (c->of != CALIBRATION_NONE && scores == 0) {
            json_str(j, NULL, "scores: no answers lately, or devices that tell changes alone, without sketches");
        }
        if (disagreement == 0) {
            json_str(j, NULL, "disagreement: the gateway has not answered lately, concept drift would not be seen");
        }
    }
    json_array_end(j);
    json_object_end(j);
}

void health_json(const struct health *h, const char *device, int64_t now_us, struct buffer *out)
{
    struct json j;
    struct health_stats s;
    size_t uncalibrated = 0;
    health_stats(h, &s);
    json_init(&j, out);
    json_object(&j, NULL);
    json_array(&j, "devices");
    for (const struct device *d = h->first; d != NULL; d = d->next) {
        uncalibrated += d->calibration == NULL;
        if (device == NULL || strcmp(device, d->id) == 0) {
            put_device(h, &j, d, now_us);
        }
    }
    json_array_end(&j);
    json_array(&j, "models");
    for (size_t i = 0; i < h->options.count; i++) {
        put_model(h, &j, h->calibrations[i].calibration, now_us);
    }
    json_array_end(&j);
    json_object(&j, "stats");
    json_u64(&j, "devices", s.devices);
    json_u64(&j, "without_calibration", uncalibrated);
    json_u64(&j, "left_out_devices", s.left_out_devices);
    json_u64(&j, "bytes", s.bytes);
    json_u64(&j, "records", s.records);
    json_u64(&j, "inferences", s.inferences);
    json_u64(&j, "blocks", s.blocks);
    json_u64(&j, "unreadable", s.unreadable);
    json_u64(&j, "sketches", s.sketches);
    json_u64(&j, "other_rate", s.other_rate);
    json_u64(&j, "events", s.events);
    json_object_end(&j);
    json_object_end(&j);
}
