/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "proto/model/model.h"

/* Outputs that are probabilities already (0..1, sum about 1) are taken back to logits: softmax(log p / T) is what a softmax of
 * the logits / T would have been. */
static bool probabilities(const float *output, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        if (!(output[i] >= 0 && output[i] <= 1)) {
            return false;
        }
        sum += (double)output[i];
    }
    return fabs(sum - 1) < 0.02; /* an int8 softmax is so far off */
}

bool model_logits(const float *output, size_t count, double *ret_logits)
{
    bool given = probabilities(output, count), good = true;
    for (size_t i = 0; i < count; i++) {
        ret_logits[i] = given ? log(fmax((double)output[i], 1e-6)) : (double)output[i];
        good = good && isfinite(ret_logits[i]);
    }
    return good;
}

static struct decision of_classes(const struct model_info *info, const float *output, size_t outputs)
{
    double logit[MODEL_CLASSES_MAX], sum = 0;
    size_t count = info->class_count < outputs ? info->class_count : outputs, best = 0;
    struct decision d = {.unsure = true};
    if (!model_logits(output, count, logit)) {
        return d;
    }
    for (size_t i = 0; i < count; i++) {
        logit[i] /= info->temperature;
        best = logit[i] > logit[best] ? i : best;
    }
    double second = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        sum += exp(logit[i] - logit[best]);
        second = i != best ? fmax(second, logit[i]) : second;
    }
    d.class = (unsigned)best;
    d.confidence = 1 / sum;
    d.score = (logit[best] - second) * info->temperature;
    d.unsure = d.confidence < info->unsure_below;
    return d;
}

static struct decision of_score(const struct model_info *info, double score)
{
    double distance = fabs(score - info->normal_below);
    struct decision d = {.class = score > info->normal_below, .score = score, .unsure = true};
    if (!isfinite(score)) {
        return d;
    }
    d.unsure = distance < info->unsure_band;
    d.confidence = d.unsure ? 0.5 + 0.5 * distance / info->unsure_band : 1;
    return d;
}

double model_margin(const struct model_info *info, const float *row, const float *output, size_t outputs,
                    unsigned class)
{
    double other = -INFINITY, own = -INFINITY;
    if (info->output != MODEL_CLASSES) {
        double above = model_decide(info, row, output, outputs).score - info->normal_below;
        return class != 0 ? above : -above;
    }
    double logit[MODEL_CLASSES_MAX];
    size_t count = info->class_count < outputs ? info->class_count : outputs;
    if (!model_logits(output, count, logit)) {
        return NAN;
    }
    for (size_t i = 0; i < count; i++) {
        own = i == class ? logit[i] : own;
        other = i != class ? fmax(other, logit[i]) : other;
    }
    return own - other;
}

struct decision model_decide(const struct model_info *info, const float *row, const float *output, size_t outputs)
{
    double sum = 0;
    switch (info->output) {
    case MODEL_CLASSES:
        return of_classes(info, output, outputs);
    case MODEL_SCORE:
        return of_score(info, (double)output[0]);
    case MODEL_RECONSTRUCTION:
        for (size_t i = 0; i < outputs; i++) {
            sum += ((double)output[i] - (double)row[i]) * ((double)output[i] - (double)row[i]);
        }
        return of_score(info, sum / (double)outputs);
    }
    return (struct decision){.unsure = true};
}
