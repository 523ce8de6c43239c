/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks: sensors one by one, then all channels together. */
#include <math.h>
#include <stdio.h>

#include "gateway/health/health_internal.h"

#define TOO_SLOW 1.25

void health_describe(struct health *h, struct device *d, const Weir__V1__Describe *describe)
{
    if (health_set_model(h, d, describe->model) != OK) {
        h->stats.left_out++;
    }
    if (d->calibration == NULL || d->set == describe->set) {
        return;
    }
    d->set = describe->set;
    d->outcome_channel = health_outcome_channel(d, describe);
    health_forget_sketches(d);
    features_reset(d->features);
    for (unsigned i = 0; i < d->calibration->channels; i++) {
        d->map[i] = CHANNEL_NONE;
        for (size_t c = 0; c < describe->n_channel && c < BLOCK_CHANNELS_MAX; c++) {
            if (strcmp(describe->channel[c]->name, d->calibration->channel[i]) == 0) {
                d->map[i] = (uint8_t)c;
            }
        }
    }
}

/* One value of one channel; what all channels together see of it. */
static double sensor(struct health *h, struct device *d, unsigned i, double x)
{
    struct channel *c = &d->channels[i];
    const struct drift_sensor *limits = &d->calibration->sensor[i];
    enum drift_fault fault = drift_sensor_add(&c->sensor, x);
    char subject[CALIBRATION_NAME_MAX + 16] = "";
    if (fault != DRIFT_FAULT_NONE || c->fault.told || c->fault.confirm.raised) { /* it may be told */
        snprintf(subject, sizeof(subject), "channel=%s", d->calibration->channel[i]);
    }
    if (fault != DRIFT_FAULT_NONE) {
        c->fault.statistic = drift_fault_name(fault);
        c->fault.value = fault == DRIFT_FAULT_STUCK     ? c->sensor.equal
                         : fault == DRIFT_FAULT_MISSING ? c->sensor.missing
                                                        : x;
        c->fault.limit = fault == DRIFT_FAULT_STUCK     ? limits->stuck_after
                         : fault == DRIFT_FAULT_MISSING ? limits->missing_after
                         : fault == DRIFT_FAULT_SPIKE   ? limits->spike
                                                        : limits->noise;
    }
    health_watch(h, d, &c->fault, "sensor-fault", subject, fault != DRIFT_FAULT_NONE);
    /* More equal values than the normal run ever had are suspicion enough; windows that hold any of it are full of it.
     */
    bool suspect = fault != DRIFT_FAULT_NONE || !isfinite(x) ||
                   (limits->stuck_after > DRIFT_RUN_SLACK && c->sensor.equal > limits->stuck_after - DRIFT_RUN_SLACK);
    c->suspect = suspect ? d->calibration->features.window + 1 : c->suspect > 0 ? c->suspect - 1 : 0;
    return x;
}

static void window(struct health *h, struct device *d, int64_t now_us)
{
    const struct calibration *c = d->calibration;
    float row[FEATURES_MAX];
    double x[FEATURES_MAX], t2, spe;
    if (c->pca.components == 0 || !features_row(d->features, row)) {
        return;
    }
    for (unsigned i = 0; i < calibration_inputs(c); i++) {
        x[i] = d->channels[i % c->channels].suspect > 0 ? (double)NAN : (double)row[i];
    }
    drift_pca_score(&c->pca, x, &t2, &spe);
    double average = drift_ewma_add(&d->spe, spe);
    unsigned which;
    double level = drift_levels_add(&c->levels, d->level_off, x, &which);
    const struct {
        const char *name;
        double value, limit;
    } found[] = {{"ewma_spe", average, c->ewma_limit}, {"t2", t2, c->t2_limit}, {"spe", spe, c->spe_limit},
                 {"level", level, c->levels.dimensions > 0 ? c->level_limit : INFINITY}};
    bool beyond = false;
    for (unsigned i = 0; i < COUNT_OF(found); i++) {
        if (found[i].value > found[i].limit) {
            beyond = true;
            d->inputs.statistic = found[i].name;
            d->inputs.value = found[i].value;
            d->inputs.limit = found[i].limit;
        }
    }
    d->inputs_us = now_us;
    d->inputs_seen += c->features.hop;
    health_watch(h, d, &d->inputs, "data-drift", "of=inputs", beyond);
}

/* When each sample was taken, by the device's monotonic clock, into h->times. False: they do not decode. */
static bool read_times(struct health *h, const Weir__V1__Block *block)
{
    int64_t at_us = (int64_t)(block->mono_us & INT64_MAX);
    if (block->times.len > 0 &&
        block_column_decode(slice_of(block->times.data, block->times.len), block->samples, h->times) != OK) {
        return false;
    }
    for (size_t i = 0; i < block->samples; i++) {
        int64_t step_us = i == 0 ? 0 : block->times.len > 0 ? h->times[i] : (int64_t)block->period_us;
        if (step_us < 0 || __builtin_add_overflow(at_us, step_us, &at_us)) {
            return false;
        }
        h->times[i] = at_us;
    }
    return true;
}

/* Whether samples come often enough for the model's windows. A single sample is one whatever the rate. */
static bool fast_enough(const struct health *h, const struct device *d, size_t samples)
{
    double period_us = 1e6 / (double)d->calibration->features.rate_hz;
    return d->calibration->features.window == 1 || samples < 2 ||
           (double)(h->times[samples - 1] - h->times[0]) <= TOO_SLOW * period_us * (double)(samples - 1);
}

/* Whether the model takes this sample, as the device itself decides (device/infer): every n-th where they come faster
 * than its rate; behind a gap the window begins anew. */
static bool is_due(struct device *d, int64_t at_us)
{
    int64_t period_us = (int64_t)llround(1e6 / (double)d->calibration->features.rate_hz),
            distance_us = at_us - d->last_us;
    if (d->calibration->features.window == 1) {
        return true;
    }
    if (d->last_us == 0 || distance_us <= 0) { /* the first one, or a boot's */
        features_reset(d->features);
        d->next_us = 0;
        distance_us = period_us;
    }
    d->last_us = at_us;
    if (d->next_us > 0 && at_us + min_i64(distance_us, period_us) / 2 < d->next_us) {
        return false;
    }
    if (d->next_us > 0 && at_us - d->next_us > period_us) {
        features_reset(d->features);
    }
    bool in_step = d->next_us > 0 && at_us - d->next_us <= period_us / 2;
    d->next_us = (in_step ? d->next_us : at_us) + period_us;
    return true;
}

void health_block(struct health *h, struct device *d, const Weir__V1__Block *block, int64_t now_us)
{
    size_t channels = 0;
    if (d->calibration == NULL || d->set == 0 || block->set != d->set || block->samples < 1 ||
        block->samples > BLOCK_SAMPLES_MAX) {
        return;
    }
    if (block_decode(slice_of(block->columns.data, block->columns.len), block->samples, BLOCK_CHANNELS_MAX, h->values,
                     h->resolutions, &channels) != OK ||
        !read_times(h, block)) {
        h->stats.unreadable++;
        return;
    }
    bool windows = fast_enough(h, d, block->samples);
    h->stats.other_rate += !windows;
    for (size_t row = 0; row < block->samples; row++) {
        float values[CALIBRATION_CHANNELS_MAX];
        for (unsigned i = 0; i < d->calibration->channels; i++) {
            size_t column = d->map[i];
            values[i] = NAN;
            if (column < channels) {
                values[i] = (float)sensor(
                    h, d, i, block_value(h->values[column * block->samples + row], h->resolutions[column]));
            }
        }
        if (windows && is_due(d, h->times[row]) && features_push(d->features, values)) {
            window(h, d, now_us);
        }
    }
}
