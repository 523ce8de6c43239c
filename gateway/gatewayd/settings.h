/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of weir-gateway: one row a setting (settings.c).
 */
#ifndef GATEWAY_GATEWAYD_SETTINGS_H
#define GATEWAY_GATEWAYD_SETTINGS_H

#include "core/daemon/daemon.h"
#include "core/options/options.h"

struct settings {
    char *site, *id, *socket;
    int log_level; /* enum log_level */
    struct daemon_broker broker, parent;
    char *parent_site, *parent_id; /* "" = the same site; "" = no parent */
    struct daemon_store store;
    int64_t commit_delay_us, commit_entries;
    int64_t uplink_frames, uplink_frame_bytes, uplink_frame_entries;
    int64_t offline_after_us, max_frames_per_s;
};
extern const struct options_program settings_program;

#endif
