/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_CALIBRATION_CALIBRATION_INTERNAL_H
#define PROTO_CALIBRATION_CALIBRATION_INTERNAL_H

#include "proto/calibration/calibration.h"

/* Window, hop, rate and number of channels -> features. ERR_RANGE. */
enum err calibration_features(struct calibration *c, unsigned window, unsigned hop, double rate_hz,
                              struct fault *reterr) MUST_CHECK;

/* Limits of sketches, with a sentence in notes where there is too little of something. run->scores: in order. ERR_NOMEM. */
enum err calibration_fit_sketches(const struct calibration_run *run, struct calibration *c, struct buffer *notes) MUST_CHECK;

/* What chance alone does once in a million lies so many standard deviations out; of independent answers, share = 1 / their
 * number + 1 / that of the reference's, for histograms. */
#define CALIBRATION_MILLIONTH 4.75
double calibration_psi_floor(unsigned bins, double share);
double calibration_ks_floor(double share);

#endif
