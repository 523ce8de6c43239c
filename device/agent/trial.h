/* SPDX-License-Identifier: Apache-2.0 */
/* trial - what the settings say to driver and model, and whether a start would take it. */
#ifndef DEVICE_AGENT_TRIAL_H
#define DEVICE_AGENT_TRIAL_H

#include "device/agent/settings.h"
#include "device/infer/infer.h"
#include "device/sense/sense.h"

/* Both borrow the settings' strings. Identities, channels and period of the second are the agent's to fill in. */
struct sense_options trial_sense_options(const struct settings *s);
struct infer_options trial_infer_options(const struct settings *s);
/* For --check (options_program.trial): opens the driver, loads description and network, holds them against each other
 * as the start does, and lets go of all. Reads only: no driver takes a sample or writes to what it opens. */
enum err trial_run(const void *settings, struct buffer *problems) MUST_CHECK;

#endif
