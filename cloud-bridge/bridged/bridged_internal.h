/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLOUD_BRIDGE_BRIDGED_BRIDGED_INTERNAL_H
#define CLOUD_BRIDGE_BRIDGED_BRIDGED_INTERNAL_H

#include "cloud-bridge/bridged/bridged.h"
#include "cloud-bridge/intake/intake.h"
#include "cloud-bridge/sinks/dead.h"
#include "core/spool/spool.h"

struct bridge {
    struct loop *loop;
    struct bus *bus;     /* borrowed */
    struct store *store; /* borrowed */
    struct bridge_options options; /* its strings point to the copies below */
    char site[ID_MAX + 1], id[ID_MAX + 1], software[64];
    struct spool *spools[INBOX_LANES];
    struct sink *given; /* the sinks until they are handed to `sinks` */
    size_t given_count;
    struct sinks *sinks;   /* NULL until booted */
    struct dead *dead;
    struct intake *intake; /* NULL until booted */
    struct loop_timer boot_timer;
    uint64_t rebased;
    int64_t started_us;
    bool stopping;
    char failure[400];
};

#endif
