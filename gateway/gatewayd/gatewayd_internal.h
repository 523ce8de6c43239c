/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GATEWAY_GATEWAYD_GATEWAYD_INTERNAL_H
#define GATEWAY_GATEWAYD_GATEWAYD_INTERNAL_H

#include "core/spool/spool.h"
#include "gateway/filter/filter.h"
#include "gateway/fleet/fleet.h"
#include "gateway/gatewayd/gatewayd.h"
#include "gateway/gatewayd/views.h"
#include "gateway/ingest/ingest.h"
#include "gateway/uplink/uplink.h"

struct gateway {
    struct loop *loop;
    struct bus *down, *up; /* borrowed */
    struct store *store;   /* borrowed */
    struct gateway_options options; /* its strings point to the copies below */
    char site[ID_MAX + 1], gateway[ID_MAX + 1], parent_site[ID_MAX + 1], parent[ID_MAX + 1], software[64];
    struct spool *spools[INBOX_LANES];
    struct spool *curated[INBOX_LANES]; /* NULL without rules */
    struct rules *no_rules;             /* owned; for a store that had rules once */
    struct filter *filter;              /* NULL until booted, or without rules */
    struct fleet *fleet;
    struct views *views;   /* NULL until booted, or without subscribers */
    struct ingest *ingest; /* NULL until booted */
    struct uplink *uplink; /* NULL until booted, or without a parent */
    struct gateway_command_stats commands;
    struct loop_timer boot_timer, tick_timer;
    uint64_t boot_seq;
    int64_t started_us;
    bool stopping, holding;
    char failure[400];
    char reload[400]; /* why what was read again is not in force */
    /* how fast the store fills when the parent is away */
    uint64_t last_bytes_in;
    double bytes_in_per_s;
};

/* ---- command.c ---- */
/* filter_handlers.on_capture */
void gateway_on_capture(void *gateway, const struct filter_capture *capture);

#endif
