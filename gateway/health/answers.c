/* SPDX-License-Identifier: Apache-2.0 */
/* Inferences: how sure the device's own model is, and how often the gateway says otherwise. */
#include <math.h>

#include "gateway/health/health_internal.h"

enum { SPARSE_FOR = 200 }; /* answers after one with repeats */

static void score(struct health *h, struct device *d, double x, int64_t now_us)
{
    const struct calibration *c = d->calibration;
    double average = drift_ewma_add(&d->score, x);
    drift_window_add(d->window, &c->reference, x);
    d->scores_us = now_us;
    d->scores_judged++;
    if (!drift_window_full(d->window)) {
        return;
    }
    const struct {
        const char *name;
        double value, limit;
    } found[] = {{"ewma", fabs(average - c->score_mean), c->score_limit},
                 {"ks", drift_ks(d->window, &c->reference), c->ks_limit},
                 {"psi", drift_psi(d->window, &c->reference), c->psi_limit}};
    bool beyond = false;
    for (unsigned i = 0; i < COUNT_OF(found); i++) {
        if (found[i].value > found[i].limit) {
            beyond = true;
            d->scores.statistic = found[i].name;
            d->scores.value = found[i].value;
            d->scores.limit = found[i].limit;
        }
    }
    health_watch(h, d, &d->scores, "data-drift", c->of == CALIBRATION_SCORE ? "of=score" : "of=confidence", beyond);
}

/* A detector says that the rate has risen from `before`: from now on it is looked whether it stays risen. */
static void changed(struct device *d, const char *statistic, double before)
{
    double after = fmax(d->rate.value, drift_adwin_mean(&d->adwin));
    if (after > before && !isfinite(d->level)) {
        d->level = (before + after) / 2;
        d->concept.statistic = statistic;
    }
}

/* The same of one kind of answer: others may be contradicted less often. So slow an average that chance seldom takes it
 * across the level, which is half of the rise away. */
static void kind_changed(struct device *d)
{
    const struct drift_rates *r = &d->rates;
    double eighth = (r->after - r->before) / 8, variance = fmax(r->after * (1 - r->after), 1e-6);
    if (!isfinite(d->level)) {
        d->level = (r->before + r->after) / 2;
        d->kind = r->kind;
        d->kind_rate = (struct drift_ewma){
            .lambda = fmin(DISAGREEMENT_LAMBDA, 2 * eighth * eighth / variance), .value = r->after, .begun = true};
        d->concept.statistic = "rates";
    }
}

static void disagreement(struct health *h, struct device *d, uint32_t own_answer, bool differs, int64_t now_us)
{
    unsigned kind = differs ? own_answer % DRIFT_KINDS_MAX : DRIFT_KINDS_MAX;
    double page_before = d->page.mean, adwin_before = drift_adwin_mean(&d->adwin);
    d->asked++;
    d->differed += differs;
    d->disagreement_us = now_us;
    (void)drift_ewma_add(&d->rate, differs);
    (void)drift_ewma_add(&d->kind_rate, differs && kind == d->kind);
    if (drift_page_hinkley_add(&d->page, differs)) {
        changed(d, "page_hinkley", page_before);
    }
    if (drift_adwin_add(&d->adwin, differs)) {
        changed(d, "adwin", adwin_before);
    }
    if (drift_rates_add(&d->rates, kind)) {
        kind_changed(d);
    }
    if (isfinite(d->level)) {
        d->concept.value = d->kind < DRIFT_KINDS_MAX ? d->kind_rate.value : d->rate.value;
        d->concept.limit = d->level;
        health_watch(h, d, &d->concept, "concept-drift", "of=disagreement", d->concept.value > d->level);
        if (!d->concept.confirm.raised && d->concept.confirm.beyond == 0 && !d->concept.told) {
            d->level = INFINITY;
            d->kind = DRIFT_KINDS_MAX;
        }
    }
}

void health_inference(struct health *h, struct device *d, const Weir__V1__Inference *inference, int64_t now_us)
{
    /* The device's own: of one that was asked about it stands apart. */
    bool asked = inference->asked != WEIR__V1__ASKED__NOT_ASKED;
    uint64_t model = asked ? inference->own_model : inference->model;
    double confidence = asked ? (double)inference->own_confidence : (double)inference->confidence;
    if (inference->by == WEIR__V1__ANSWERED_BY__BY_PERSON) {
        return;
    }
    if (health_set_model(h, d, model) != OK) {
        h->stats.left_out++;
    }
    if (!asked && inference->label[0] == '\0' && inference->confidence == 0) {
        return; /* no verdict: what went in was no numbers */
    }
    d->recent[d->recent_at] = (float)confidence;
    d->recent_at = (uint8_t)((d->recent_at + 1) % RECENT);
    d->recent_filled = d->recent_filled < RECENT ? (uint8_t)(d->recent_filled + 1) : RECENT;
    d->scores_seen++;
    /* A device that tells changes alone leaves out the answers that are like the one before: what comes is no fair
     * part. */
    d->sparse = inference->repeats > 0 ? SPARSE_FOR : d->sparse > 0 ? d->sparse - 1 : 0;
    if (d->sparse > 0) {
        d->scores_us = d->window == NULL ? now_us : d->outcome_channel == CHANNEL_NONE ? -1 : d->scores_us;
    } else if (d->window != NULL) {
        if (d->calibration->of == CALIBRATION_CONFIDENCE) {
            score(h, d, confidence, now_us);
        } else if (!asked || inference->by == WEIR__V1__ANSWERED_BY__BY_DEVICE) {
            score(h, d, (double)inference->score, now_us);
        }
    } else {
        d->scores_us = now_us;
    }
    if (inference->asked == WEIR__V1__ASKED__ASKED_ANSWERED) {
        disagreement(h, d, inference->own_answer, inference->own_answer != inference->answer, now_us);
    }
}
