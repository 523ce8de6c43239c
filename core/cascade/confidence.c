/* SPDX-License-Identifier: Apache-2.0 */
#include "core/cascade/cascade.h"

#include <math.h>

/* Mean negative log-likelihood at a temperature. */
static double likelihood(const float *logits, const uint8_t *labels, size_t count, size_t classes, double temperature)
{
    double total = 0;
    for (size_t i = 0; i < count; i++) {
        const float *row = logits + i * classes;
        double most = (double)row[0], sum = 0;
        for (size_t c = 1; c < classes; c++) {
            most = fmax(most, (double)row[c]);
        }
        for (size_t c = 0; c < classes; c++) {
            sum += exp(((double)row[c] - most) / temperature);
        }
        total += log(sum) - ((double)row[labels[i]] - most) / temperature;
    }
    return total / (double)count;
}

enum err cascade_temperature(const float *logits, const uint8_t *labels, size_t count, size_t classes,
                             double *ret_temperature, double *ret_nll)
{
    if (count == 0 || classes < 2) {
        return ERR_RANGE;
    }
    for (size_t i = 0; i < count * classes; i++) {
        if (!isfinite(logits[i]) || labels[i / classes] >= classes) {
            return ERR_RANGE;
        }
    }
    /* In 1/T the likelihood is convex, hence without a second dip in log T: golden section finds the least. */
    const double ratio = (sqrt(5) - 1) / 2;
    double low = log(0.01), high = log(100);
    double left = high - ratio * (high - low), right = low + ratio * (high - low);
    double at_left = likelihood(logits, labels, count, classes, exp(left));
    double at_right = likelihood(logits, labels, count, classes, exp(right));
    while (high - low > 1e-4) {
        if (at_left <= at_right) {
            high = right, right = left, at_right = at_left;
            left = high - ratio * (high - low);
            at_left = likelihood(logits, labels, count, classes, exp(left));
        } else {
            low = left, left = right, at_left = at_right;
            right = low + ratio * (high - low);
            at_right = likelihood(logits, labels, count, classes, exp(right));
        }
    }
    *ret_temperature = exp((low + high) / 2);
    if (ret_nll != NULL) {
        *ret_nll = likelihood(logits, labels, count, classes, *ret_temperature);
    }
    return OK;
}

static bool in_bin(double confidence, unsigned bin, unsigned bins)
{
    double at = confidence * bins;
    unsigned is = !(at > 0) ? 0 : at >= bins ? bins - 1 : (unsigned)at;
    return is == bin;
}

double cascade_calibration_error(const struct cascade_case *cases, size_t count, unsigned bins)
{
    double error = 0;
    for (unsigned b = 0; b < bins; b++) {
        double gap = 0; /* sum of confidence - sum of right answers */
        for (size_t i = 0; i < count; i++) {
            double confidence = isnan(cases[i].confidence) ? 0 : cases[i].confidence;
            gap += in_bin(confidence, b, bins) ? confidence - (cases[i].device_right ? 1 : 0) : 0;
        }
        error += fabs(gap);
    }
    return count > 0 ? error / (double)count : 0;
}
