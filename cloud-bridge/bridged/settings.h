/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of weir-bridge: one row a setting (settings.c).
 */
#ifndef CLOUD_BRIDGE_BRIDGED_SETTINGS_H
#define CLOUD_BRIDGE_BRIDGED_SETTINGS_H

#include "core/daemon/daemon.h"
#include "core/options/options.h"

struct settings {
    char *site, *id, *socket;
    int log_level; /* enum log_level */
    struct daemon_broker broker;
    struct daemon_store store;
    int64_t commit_delay_us, commit_entries;
    char *sink_sqlite, *sink_file; /* "" = none */
    int64_t sink_file_rotate;
};
extern const struct options_program settings_program;

#endif
