/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fleet - who is there: per sender the last sign of life, its account (frames, records, refusals) and its quota.
 *
 * Comes in: a call per inbound frame. Goes out: admit or not, counts, /devices. Nothing is durable: after a restart
 * the senders that have streams in the store are known, offline, with empty accounts.
 *
 * Bounded: FLEET_DEVICES_MAX senders; beyond it the one that was silent longest is forgotten (its streams are not:
 * they live in the store). Quota: a token bucket of one second per sender, so that one sender gone wild takes
 * nothing from the others.
 */
#ifndef GATEWAY_FLEET_FLEET_H
#define GATEWAY_FLEET_FLEET_H

#include "core/base/base.h"
#include "core/base/buffer.h"
#include "core/loop/loop.h"

struct fleet;

enum { FLEET_DEVICES_MAX = 100000 };

struct fleet_options {
    int64_t offline_after_us;    /* silent for so long = offline; 0 = 60 s */
    unsigned frames_per_s;       /* per sender; 0 = no quota */
};

enum err fleet_new(struct loop *loop, const struct fleet_options *options, struct fleet **ret_fleet) MUST_CHECK;
void fleet_free(struct fleet *fleet);
DEFINE_CLEANUP(struct fleet, fleet_free)
/* In force at once (SIGHUP). */
void fleet_set_options(struct fleet *fleet, const struct fleet_options *options);

/* fn is told of every sender that comes or goes; whoever is forgotten goes. It does not call the fleet. */
void fleet_on_presence(struct fleet *fleet, void (*fn)(void *arg, const char *id, bool online), void *arg);

/* A sender that has a stream in the store: known, not seen. Called once per stream; fleet_forget_streams before the
 * streams are counted anew. */
void fleet_known_stream(struct fleet *fleet, const char *id);
void fleet_forget_streams(struct fleet *fleet);
/* A frame of so many bytes has come: marks the sender as there and takes a token. false: over its quota. Allocates
 * only when the sender is new; out of memory admits it uncounted. */
bool fleet_admit(struct fleet *fleet, const char *id, size_t bytes);
void fleet_count_frame(struct fleet *fleet, const char *id, size_t records);
void fleet_count_refused(struct fleet *fleet, const char *id);

size_t fleet_devices(const struct fleet *fleet);
/* Also notices who has gone: call it now and then. */
size_t fleet_online(struct fleet *fleet);
/* {"devices":[{"device","online","last_seen_s","epochs","frames","records","refused"}]}; last_seen_s null = not
 * since the start; epochs = streams counted. */
void fleet_json(struct fleet *fleet, struct buffer *out);

#endif
