/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bridged - the upper end: takes gateways' frames durably (intake) and feeds the sinks.
 *
 *   new -> start -> [boot: lanes' epochs become durable; a lane that a sink is ahead of begins a new one] -> running
 *
 * Ending it at any time: bus_free, bridge_free, store_close, in this order. Gracefully: bridge_stop, run until
 * bridge_stopped. Local sinks are asked for their positions in bridge_start's boot: one that does not answer fails it.
 * Remote ones are asked while it runs.
 */
#ifndef CLOUD_BRIDGE_BRIDGED_BRIDGED_H
#define CLOUD_BRIDGE_BRIDGED_BRIDGED_H

#include "cloud-bridge/sinks/sinks.h"
#include "core/base/base.h"
#include "core/bus/bus.h"
#include "core/store/store.h"

struct bridge;
struct crypt_aead;
struct buffer;

#define BRIDGE_TABLES ((const char *const[]){"spool", "meta", "streams", "sinks"})
enum { BRIDGE_TABLE_SPOOL, BRIDGE_TABLE_META, BRIDGE_TABLE_STREAMS, BRIDGE_TABLE_SINKS, BRIDGE_TABLE_COUNT };

struct bridge_options {
    const char *site, *bridge; /* identities */
    const char *software; /* version; copied */
    struct crypt_aead *aead;
    int64_t commit_delay_us;
    unsigned commit_entries;
    uint64_t dead_max_bytes; /* of dead letters; 0 = a default */
};
struct bridge_stats {
    struct inbox_stats inbox;
    uint64_t frames, decode_errors, identity_errors, retained_ignored, records_refused;
    uint64_t devices_refused;  /* frames of devices without a gateway between */
    uint64_t rebased;          /* lanes that began a new epoch because a sink was ahead */
    struct sinks_stats sink; /* the first */
};
/* bus, store borrowed; sinks owned, also on failure. */
enum err bridge_new(struct loop *loop, struct bus *bus, struct store *store, struct sink *sinks, size_t sink_count,
                    const struct bridge_options *options, struct bridge **ret_bridge, struct fault *reterr) MUST_CHECK;
void bridge_free(struct bridge *bridge);
DEFINE_CLEANUP(struct bridge, bridge_free)
enum err bridge_start(struct bridge *bridge) MUST_CHECK;
/* Takes nothing more in and begins no more writes. */
void bridge_stop(struct bridge *bridge);
bool bridge_stopped(const struct bridge *bridge);
/* Why it cannot go on (a sentence), or NULL: the daemon ends with it. */
const char *bridge_failure(const struct bridge *bridge);
void bridge_stats(struct bridge *bridge, struct bridge_stats *ret_stats);
bool bridge_drained(struct bridge *bridge);
/* For checkers: its streams. NULL before it runs. */
struct inbox *bridge_inbox(struct bridge *bridge);
void bridge_status_json(struct bridge *bridge, struct buffer *out);
/* Streams of the gateways as the bridge holds them (hop by hop): elements of /ledger's "intake", into the array
 * that j is in. The devices' rows come from the sink. */
void bridge_hops_json(struct bridge *bridge, struct json *j);
/* Dead letters: what the control socket answers to /dead (sink, id, from, limit) and /dead/replay, /dead/drop (id).
 * Returns the HTTP status. */
struct bridge_dead_request {
    const char *verb; /* "ls", "show", "replay", "drop" */
    const char *sink; /* NULL = all */
    uint64_t id, from;
    size_t limit;
};
int bridge_dead_json(struct bridge *bridge, const struct bridge_dead_request *request, struct buffer *out);

#endif
