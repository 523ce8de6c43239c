/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a device says of whole spans (device/infer/sketch.h), where its samples and answers are not seen one by one:
 * summed up to the size of a batch of the calibration, then held against its limits. Of what is seen one by one nothing
 * is judged twice.
 */
#include <math.h>
#include <stdio.h>

#include "core/sketch/sketch.h"
#include "gateway/health/health_internal.h"
#include "proto/outcome/outcome.h"

#define SEEN_SHARE 0.9 /* of a span's samples or answers: it was judged by them */

uint8_t health_outcome_channel(const struct device *d, const Weir__V1__Describe *describe)
{
    const char *name = d->calibration->of == CALIBRATION_SCORE ? OUTCOME_SCORE : OUTCOME_DOUBT;
    for (size_t c = 0; c < describe->n_channel && c < BLOCK_CHANNELS_MAX; c++) {
        if (strcmp(describe->channel[c]->name, name) == 0) {
            return (uint8_t)c;
        }
    }
    return CHANNEL_NONE;
}

void health_forget_sketches(struct device *d)
{
    for (unsigned i = 0; d->channels != NULL && i < d->calibration->channels; i++) {
        d->channels[i].sum = (struct moments){0};
    }
    d->outcome = (struct moments){0};
    memset(d->outcome_bins, 0, sizeof(d->outcome_bins));
    d->outcome_binned = 0;
    d->inputs_seen = d->scores_judged = 0;
}

void health_moved_subject(const struct calibration *c, unsigned channel, char ret_subject[MOVED_SUBJECT_MAX])
{
    snprintf(ret_subject, MOVED_SUBJECT_MAX, "of=inputs channel=%s", c->channel[channel]);
}

static bool window_good(const Weir__V1__Window *w)
{
    return strcmp(w->rule, OUTCOME_RULE) == 0 && w->count > 0 && w->count <= INT64_MAX / 4 && isfinite(w->mean) &&
           isfinite(w->m2) && w->m2 >= 0;
}

static struct moments moments_of(const Weir__V1__Window *w)
{
    return (struct moments){.count = w->count, .mean = w->mean, .m2 = w->m2, .min = w->min, .max = w->max};
}

/* ---- inputs ---- */
/* The first of them stood in a window that had to be filled. */
static bool inputs_seen(const struct device *d, const Weir__V1__Window *w)
{
    uint64_t seen = d->inputs_seen + d->calibration->features.window;
    return d->inputs_seen > 0 && (double)seen >= SEEN_SHARE * (double)w->count;
}

static bool beyond(struct watch *w, const char *statistic, double value, double limit)
{
    if (value > limit) {
        w->statistic = statistic;
        w->value = value;
        w->limit = limit;
    }
    return value > limit;
}

static void input(struct health *h, struct device *d, unsigned i, const Weir__V1__Window *w, int64_t now_us)
{
    const struct calibration_sketches *s = &d->calibration->sketches;
    struct channel *c = &d->channels[i];
    const struct moments more = moments_of(w);
    char subject[MOVED_SUBJECT_MAX];
    if (!(s->deviation[i] > 0)) {
        return;
    }
    moments_merge(&c->sum, &more);
    if (c->sum.count < s->samples) {
        return;
    }
    double variance = s->deviation[i] * s->deviation[i], found = fmax(moments_variance(&c->sum), variance * 1e-12);
    bool moved = beyond(&c->moved, "spread", fabs(log(found / variance)), s->spread_limit[i]);
    moved |= beyond(&c->moved, "mean", fabs(c->sum.mean - s->mean[i]) / s->deviation[i], s->mean_limit[i]);
    c->sum = (struct moments){0};
    d->inputs_us = now_us;
    health_moved_subject(d->calibration, i, subject);
    health_watch(h, d, &c->moved, "data-drift", subject,
                 moved && !c->fault.told); /* a fault of its sensor is told as that */
}

/* ---- outcomes ---- */
/* Adds the bins; what cannot be read, or is another kind of sketch, leaves moments alone. */
static void add_bins(struct device *d, const struct drift_reference *r, const Weir__V1__Window *w)
{
    struct sketch sketch;
    uint64_t counts[DRIFT_BINS_MAX];
    if (r->bins < 2 || w->sketch.len == 0 || sketch_decode(slice_of(w->sketch.data, w->sketch.len), &sketch) != OK) {
        return;
    }
    if (sketch.error == OUTCOME_ERROR && sketch.count == w->count) {
        sketch_histogram(&sketch, r->edge, r->bins, counts);
        for (unsigned i = 0; i < r->bins; i++) {
            d->outcome_bins[i] += counts[i];
        }
        d->outcome_binned += w->count;
    }
    sketch_deinit(&sketch);
}

static bool histogram_beyond(struct device *d)
{
    const struct calibration_sketches *s = &d->calibration->sketches;
    double p = 0, q = 0, ks = 0, psi = 0, n = (double)d->outcome_binned, least = 0.5 / n;
    for (unsigned i = 0; i < s->outcome.bins; i++) {
        double found = (double)d->outcome_bins[i] / n;
        double a = fmax(found, least), b = fmax(s->outcome.share[i], least);
        psi += (a - b) * log(a / b);
        p += found;
        q += s->outcome.share[i];
        ks = fmax(ks, fabs(p - q));
    }
    bool far = beyond(&d->scores, "ks", ks, s->ks_limit);
    return beyond(&d->scores, "psi", psi, s->psi_limit) || far;
}

static void outcome(struct health *h, struct device *d, const Weir__V1__Window *w, int64_t now_us)
{
    const struct calibration *c = d->calibration;
    const struct calibration_sketches *s = &c->sketches;
    const struct moments more = moments_of(w);
    moments_merge(&d->outcome, &more);
    add_bins(d, &s->outcome, w);
    if (d->outcome.count < s->answers) {
        return;
    }
    bool moved = beyond(&d->scores, "mean", fabs(d->outcome.mean - s->outcome_mean), s->outcome_limit);
    if (s->outcome.bins > 1 && d->outcome_binned >= s->answers) {
        moved |= histogram_beyond(d);
    }
    d->outcome = (struct moments){0};
    d->outcome_binned = 0;
    memset(d->outcome_bins, 0, sizeof(d->outcome_bins));
    d->scores_us = now_us;
    health_watch(h, d, &d->scores, "data-drift", c->of == CALIBRATION_SCORE ? "of=score" : "of=confidence", moved);
}

/* ---- a record ---- */
static const Weir__V1__Window *window_of(const Weir__V1__Curated *curated, unsigned channel)
{
    for (size_t i = 0; i < curated->n_window && channel != CHANNEL_NONE; i++) {
        if (curated->window[i]->channel == channel && window_good(curated->window[i])) {
            return curated->window[i];
        }
    }
    return NULL;
}

void health_curated(struct health *h, struct device *d, const Weir__V1__Curated *curated, int64_t now_us)
{
    const struct calibration *c = d->calibration;
    if (c == NULL || d->set == 0 || curated->set != d->set) {
        return;
    }
    const Weir__V1__Window *said = window_of(curated, d->outcome_channel);
    bool seen = said != NULL && d->sparse == 0 && (double)d->scores_judged >= SEEN_SHARE * (double)said->count,
         any = said != NULL;
    if (said != NULL && !seen && c->sketches.answers > 0) {
        outcome(h, d, said, now_us);
    }
    for (unsigned i = 0; i < c->channels && c->sketches.samples > 0; i++) {
        const Weir__V1__Window *w = window_of(curated, d->map[i]);
        any |= w != NULL;
        if (w != NULL && !inputs_seen(d, w)) {
            input(h, d, i, w, now_us);
        }
    }
    if (any) {
        h->stats.sketches++;
        d->sketches++;
        d->inputs_seen = d->scores_judged = 0;
    }
}
