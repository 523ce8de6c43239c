/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gatewayd - one gateway: takes devices' frames durably (ingest), sends them on (uplink), knows who is there (fleet).
 *
 * Everything is handed in, so that daemon and simulation run the same code. Buses are started by gateway_start.
 *
 *   new -> start -> [boot: lanes' epochs and the counter of starts become durable] -> running -> stop -> free
 *
 * Full store. With a parent the uplink empties it. Without a parent nothing is ever trimmed: when the cap is reached,
 * devices are answered FULL and keep their records (back-pressure); alarms may use the inbox's reserve.
 *
 * Parents. `parent` is the preferred one, `up` the bus to it; other_parents have theirs (gateway/uplink/uplink.h). Gateways
 * below are told the path up, so that a loop is found out.
 *
 * Rules. With a parent and rules, gateway/filter stands between: ingest -> raw spools -> filter -> curated spools -> uplink.
 * A store that has curated spools keeps the filter also when the rules are taken away: then everything passes as it came.
 *
 * Asks of devices that are unsure: plant's bus -> ingest -> gateway/escalate -> plant's bus (asks.c). What the gateway
 * itself has to tell goes up as records of its own stream: by the filter, or where there is none by the raw alarm lane (notes.c).
 *
 * Ending it at any time: bus_free(down), bus_free(up), gateway_free, store_close, in this order (a bus calls into the
 * gateway; the gateway does not touch its buses when it is freed). Gracefully: gateway_stop, run until
 * gateway_stopped.
 */
#ifndef GATEWAY_GATEWAYD_GATEWAYD_H
#define GATEWAY_GATEWAYD_GATEWAYD_H

#include "core/base/base.h"
#include "core/bus/bus.h"
#include "core/inbox/inbox.h"
#include "core/loop/loop.h"
#include "core/store/store.h"
#include "gateway/budget/budget.h"

struct escalate_settings;
struct filter;
struct gateway;
struct health_options;
struct publish;
struct uplink_parent;
struct rules;
struct crypt_aead;
struct buffer;

/* Tables of the gateway's store, in this order. */
#define GATEWAY_TABLES ((const char *const[]){"spool", "meta", "streams", "filter", "views", "health"})
enum {
    GATEWAY_TABLE_SPOOL,
    GATEWAY_TABLE_META,
    GATEWAY_TABLE_STREAMS,
    GATEWAY_TABLE_FILTER,
    GATEWAY_TABLE_VIEWS,
    GATEWAY_TABLE_HEALTH,
    GATEWAY_TABLE_COUNT
};

struct gateway_options {
    const char *site, *gateway; /* identities; copied */
    const char *parent_site, *parent; /* parent gateway or bridge; parent NULL = no uplink */
    const struct uplink_parent *other_parents; /* borrowed; further ones, in order of preference */
    size_t other_parent_count;
    int64_t failover_after_us, failback_after_us; /* as uplink's */
    const char *software; /* version; copied */
    struct crypt_aead *aead;
    int64_t commit_delay_us;
    unsigned commit_entries;
    struct window_sender_options uplink_window;
    size_t uplink_frame_bytes;
    unsigned uplink_frame_entries;
    struct budget_rules uplink_budget; /* zeros: it may always send everything */
    uint64_t boot_id; /* of the machine's present boot; 0 = not known */
    int64_t offline_after_us; /* a device silent for so long is offline; 0 = 60 s */
    unsigned device_frames_per_s; /* quota per device; 0 = none */
    const struct rules *rules;    /* borrowed; NULL = everything goes up as it came. Needs a parent */
    struct slice pseudonym_key;   /* borrowed; of `hash` rules */
    uint64_t ring_bytes;          /* of raw records kept behind the rules */
    unsigned trail;               /* newest records of a stream that the rules' report remembers; 0 = none */
    struct publish *publish;      /* borrowed; views for subscribers in the plant; NULL = none */
    const struct escalate_settings *escalate; /* borrowed until gateway_set_escalate; NULL: asks are not heard */
    const struct health_options *health; /* borrowed; NULL: devices' and models' health is not watched */
};
struct gateway_command_stats { /* to devices: to sample faster while a capture lasts */
    uint64_t sent;
    uint64_t unsent; /* the broker was away or took no more; the next trigger asks again */
};
struct gateway_stats {
    struct inbox_stats inbox;
    uint64_t frames, decode_errors, identity_errors, retained_ignored, quota_dropped, records_refused;
    uint64_t uplink_acked[INBOX_LANES], uplink_top[INBOX_LANES], uplink_rebased;
    size_t devices, devices_online;
};

/* down: the plant's broker; up: the parent's broker (NULL without a parent). */
enum err gateway_new(struct loop *loop, struct bus *down, struct bus *up, struct store *store,
                     const struct gateway_options *options, struct gateway **ret_gateway,
                     struct fault *reterr) MUST_CHECK;
void gateway_free(struct gateway *gateway);
DEFINE_CLEANUP(struct gateway, gateway_free)
/* Boots in the background: the buses are started when the boot is durable. A full store is tried again. */
enum err gateway_start(struct gateway *gateway) MUST_CHECK;
/* Takes nothing more in; what was accepted is committed and acknowledged. */
void gateway_stop(struct gateway *gateway);
bool gateway_stopped(const struct gateway *gateway);
/* Why it cannot go on (a sentence), or NULL: the daemon ends with it. */
const char *gateway_failure(const struct gateway *gateway);
/* SIGHUP: in force at once. */
void gateway_set_fleet(struct gateway *gateway, int64_t offline_after_us, unsigned device_frames_per_s);
/* What the uplink may cost from now on, and when. */
void gateway_set_budget(struct gateway *gateway, const struct budget_rules *rules);
/* Opens the uplink for so long, whatever its windows say; 0 ends that. ERR_UNSUPPORTED: no parent; ERR_AGAIN: it is starting. */
enum err gateway_open_uplink(struct gateway *gateway, int64_t for_us) MUST_CHECK;
/* Other rules for what comes from now on; borrowed from when it returns OK, the ones before are free then. ERR_AGAIN: in a
 * moment; ERR_UNSUPPORTED: it runs without rules (a restart begins with them); ERR_DENIED: a hash rule without a key;
 * ERR_NOMEM. */
enum err gateway_set_rules(struct gateway *gateway, const struct rules *rules) MUST_CHECK;
/* Said in the status, which is degraded then, until the next call: why what was read again is not in force; NULL: it is. */
void gateway_tell_reload(struct gateway *gateway, const char *why);
/* A second set beside the live one, for comparison; NULL ends it. As gateway_set_rules. */
enum err gateway_set_shadow(struct gateway *gateway, const struct rules *rules) MUST_CHECK;
/* NULL without rules. */
struct filter *gateway_filter(struct gateway *gateway);
/* Other models, quotas and batches; borrowed as options.escalate is. ERR_UNSUPPORTED: it runs without; as escalate_set.
 */
enum err gateway_set_escalate(struct gateway *gateway, const struct escalate_settings *settings,
                              struct fault *reterr) MUST_CHECK;
/* An event of the gateway's own, durable and in order like a device's; id, text: at most 31 and 399 bytes, copied. Kept
 * in memory until a commit has taken it. ERR_FULL: 64 wait. */
enum err gateway_note(struct gateway *gateway, const char *id, const char *text) MUST_CHECK;
void gateway_stats(struct gateway *gateway, struct gateway_stats *ret_stats);
bool gateway_drained(struct gateway *gateway);
/* For checkers: its streams. NULL before the boot is durable. */
struct inbox *gateway_inbox(struct gateway *gateway);
struct uplink;
/* The same for its sending end; NULL without a parent, too. */
const struct uplink *gateway_uplink(const struct gateway *gateway);
/* Bodies of the control socket's routes; device NULL = all. */
void gateway_status_json(struct gateway *gateway, struct buffer *out);
void gateway_ledger_json(struct gateway *gateway, const char *device, struct buffer *out);
void gateway_devices_json(struct gateway *gateway, struct buffer *out);
/* Other calibrations, or for the first time some; borrowed until the next call or the end. Devices whose calibration is
 * the same object as before keep what is known of them. ERR_RANGE, ERR_NOMEM: what was there before stays. */
enum err gateway_set_health(struct gateway *gateway, const struct health_options *health) MUST_CHECK;
/* For the status: why calibrations that were read again are not in force; NULL = they are. */
void gateway_tell_health(struct gateway *gateway, const char *why);
/* What gateway/health makes of the devices; device NULL = all. ERR_UNSUPPORTED: not watched; ERR_AGAIN: it is starting. */
enum err gateway_health_json(struct gateway *gateway, const char *device, struct buffer *out) MUST_CHECK;
/* What the uplink was spent on; ERR_UNSUPPORTED without a parent. */
enum err gateway_bill_json(struct gateway *gateway, struct buffer *out) MUST_CHECK;

#endif
