/* SPDX-License-Identifier: Apache-2.0 */
/* cascade_print - what `weir cascade calibrate` found, for people and for programs. Pure. */
#ifndef CLOUD_BRIDGE_CONSOLE_CASCADE_PRINT_H
#define CLOUD_BRIDGE_CONSOLE_CASCADE_PRINT_H

#include "cloud-bridge/console/tuning.h"

void cascade_print(const struct tuning *tuning, bool color, struct buffer *out);
/* written: the file, or NULL. */
void cascade_json(const struct tuning *tuning, const char *written, struct buffer *out);
/* A line each; nothing when all is well. */
void cascade_warnings(const struct tuning *tuning, struct buffer *out);
void cascade_goal_sentence(const struct cascade_goal *goal, char *out, size_t size);

#endif
