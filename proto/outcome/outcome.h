/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outcome - what a device's sketches say of its model's answers, and gateways hold against a calibration: one number
 * per window that was looked at.
 *
 *   a model with classes   model.doubt   1 - confidence
 *   a model with a score   model.score   the score
 *
 * Doubt, since sketches are exact relatively: a model that knows its trade is sure almost always, and 0.999 differs
 * from 0.99 as 0.001 does from 0.01. Channels of these names stand in a device's description behind those of its
 * samples; blocks have no column of them, only windows (schema: Window) of the rule OUTCOME_RULE.
 */
#ifndef PROTO_OUTCOME_OUTCOME_H
#define PROTO_OUTCOME_OUTCOME_H

#include "core/base/base.h"

#define OUTCOME_RULE "sketch"
#define OUTCOME_DOUBT "model.doubt"
#define OUTCOME_SCORE "model.score"
#define OUTCOME_RESOLUTION 1e-6
/* Of the sketches (core/sketch). From the least doubt to the largest are fewer buckets than these; scores may lie
 * farther apart, the lowest fold together then. */
#define OUTCOME_ERROR 0.02
enum { OUTCOME_BUCKETS = 256 };

/* confidence: 0..1. Below a ten-thousandth there is none. */
double outcome_doubt(double confidence);

#endif
