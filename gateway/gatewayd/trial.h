/* SPDX-License-Identifier: Apache-2.0 */
/* trial - whether a start would take the models and calibrations that the settings name. */
#ifndef GATEWAY_GATEWAYD_TRIAL_H
#define GATEWAY_GATEWAYD_TRIAL_H

#include "gateway/gatewayd/settings.h"

/* For --check (options_program.trial): every model of escalate.models is opened and tested (escalate_trial), every file
 * of health.calibrations is read; all is let go of again. */
enum err trial_run(const void *settings, struct buffer *problems) MUST_CHECK;

#endif
