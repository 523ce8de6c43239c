/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calibrations that the settings name: read at the start, and again with SIGHUP. A calibration that has not changed
 * since is the same object as before, by which health knows that what it has gathered with it still counts.
 */
#ifndef GATEWAY_GATEWAYD_LIMITS_H
#define GATEWAY_GATEWAYD_LIMITS_H

#include "gateway/gatewayd/settings.h"
#include "gateway/health/health.h"

struct limits {
    struct health_options options; /* count 0: nothing is watched */
    struct health_calibration rows[HEALTH_CALIBRATIONS_MAX];
    char devices[HEALTH_CALIBRATIONS_MAX][ID_MAX + 1];
    struct calibration *owned[HEALTH_CALIBRATIONS_MAX]; /* perhaps shared with those before */
};
/* before: those in force, NULL = none. What is wrong in a file is appended to problems, file:line a line. ERR_IO,
 * ERR_MALFORMED, ERR_RANGE, ERR_NOMEM. */
enum err limits_new(const struct settings *settings, const struct limits *before, struct limits **ret_limits,
                    struct buffer *problems) MUST_CHECK;
/* All that is not shared with `kept` (NULL = none). Accepts NULL. */
void limits_free(struct limits *limits, const struct limits *kept);

#endif
