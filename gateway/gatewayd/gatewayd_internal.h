/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GATEWAY_GATEWAYD_GATEWAYD_INTERNAL_H
#define GATEWAY_GATEWAYD_GATEWAYD_INTERNAL_H

#include "core/spool/spool.h"
#include "gateway/escalate/escalate.h"
#include "gateway/filter/filter.h"
#include "gateway/fleet/fleet.h"
#include "gateway/gatewayd/gatewayd.h"
#include "gateway/gatewayd/views.h"
#include "gateway/gatewayd/vitals.h"
#include "gateway/ingest/ingest.h"
#include "gateway/uplink/uplink.h"

enum { GATEWAY_NOTES = 64 };
/* An event of the gateway's own that waits for its commit, where no filter takes it. */
struct gateway_own_note {
    uint64_t wall_us, mono_us;
    uint64_t number;         /* in the raw alarm lane; 0: not appended */
    uint64_t failed_commits; /* of the inbox, when it was appended */
    char id[32], text[400];
};
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
    struct vitals *vitals; /* NULL until booted, or without calibrations */
    struct ingest *ingest; /* NULL until booted */
    struct uplink *uplink; /* NULL until booted, or without a parent */
    struct escalate *escalate; /* NULL until booted, or without asks */
    struct gateway_command_stats commands;
    uint64_t answers_unsent;
    struct gateway_own_note notes[GATEWAY_NOTES];
    unsigned note_count;
    struct loop_task note_task;
    struct loop_timer boot_timer, tick_timer;
    uint64_t boot_seq;
    int64_t started_us;
    bool stopping, holding;
    char failure[400];
    char reload[400]; /* why what was read again is not in force */
    char limits_reload[400]; /* the same of calibrations */
    /* how fast the store fills when the parent is away */
    uint64_t last_bytes_in;
    double bytes_in_per_s;
};

/* ---- asks.c ---- */
/* ingest_handlers.on_ask, uplink_handlers.on_answer */
void gateway_on_ask(void *gateway, const char *peer, struct slice payload);
void gateway_on_parent_answer(void *gateway, struct slice payload);
/* Before the plant's bus is started. */
enum err gateway_asks_begin(struct gateway *g, struct fault *reterr) MUST_CHECK;

/* ---- notes.c ---- */
void gateway_notes_init(struct gateway *g);
/* A commit of the inbox has come to its end, or may be appended again. */
void gateway_notes_look(struct gateway *g);

/* ---- command.c ---- */
/* filter_handlers.on_capture */
void gateway_on_capture(void *gateway, const struct filter_capture *capture);

#endif
