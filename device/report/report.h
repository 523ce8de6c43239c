/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report - from samples to durable records to frames on the bus.
 *
 *   report_sample -> block under construction -> (full, or max_age) Record -> spool append --commit--> outbox
 *   report_event  -> Record in lane 0 (alarm), committed at once
 *
 * Rules (proto/rules, those that are for a device) shape a block when it is closed, before it has a number: what they
 * take costs no number, no flash and no byte on the way. Nobody downstream can miss it, so it is declared: an event
 * "readings-suppressed" per rule with the number of readings as its value and the version of the rules in its text,
 * declare_us after the first of them at the latest. A power cut takes the counts that were not declared yet. What
 * rules remember (the last value of a deadband) begins anew with every start.
 *
 * Two lanes, each a stream of its own: 0 alarm (small, reserved room, overtakes), 1 bulk. Records are durable before
 * they are sent. A power cut takes at most the block under construction (max_age) and what is in the commit under way:
 * report_unsynced_us() states the bound.
 * Full: the oldest bulk records go, and a gap record with their numbers takes their place.
 */
#ifndef DEVICE_REPORT_REPORT_H
#define DEVICE_REPORT_REPORT_H

#include "core/base/base.h"
#include "core/bus/bus.h"
#include "core/loop/loop.h"
#include "core/outbox/outbox.h"
#include "core/sketch/sketch.h"
#include "core/store/store.h"
#include "device/sense/sense.h"
#include "proto/topic/topic.h"

struct report;
struct crypt_aead;
struct curate;
struct rules;

/* Tables of the device's store, in this order. */
#define REPORT_TABLES ((const char *const[]){"spool", "meta"})
enum { REPORT_TABLE_SPOOL, REPORT_TABLE_META, REPORT_TABLE_COUNT };

struct report_options {
    const char *site, *gateway, *device; /* identities; copied */
    const char *software;
    const struct sense_channel *channels; /* borrowed for the life of the report */
    size_t channel_count;
    size_t window_channels; /* so many more stand behind them in channels, for report_windows: blocks have no column of
                             * them */
    const char *source;
    uint64_t config_hash;
    uint64_t model;                      /* id of the model that looks at the samples; 0 = none */
    unsigned samples_per_record;         /* 1..1024 */
    int64_t max_age_us;                  /* a block is closed when its first sample is so old */
    int64_t period_us;                   /* of sampling; samples within 1 % of it need no time column */
    uint64_t bulk_bytes;                 /* room of lane 1; 0 = 85 % of the store's cap */
    uint64_t alarm_bytes;                /* room of lane 0; 0 = 5 % */
    unsigned describe_every;             /* records; 0 = 1000 */
    uint64_t boot_id;                    /* of the machine: what monotonic times refer to; 0 = random */
    struct window_sender_options window; /* zeros = presets */
    struct crypt_aead *aead;             /* borrowed; NULL = CRC32C only */
    struct curate *curate;  /* rules, made ready; borrowed until others are set, may be shared; NULL = none */
    int64_t declare_us;     /* what rules took is declared so often; 0 = 60 s */
    int64_t wall_skew_us;   /* added to the wall clock: a device whose clock is wrong, in simulations */
    struct report_watcher { /* for simulators that measure; each may be NULL; none may call the report */
        void (*on_link)(void *arg, bool up, const char *reason); /* whatever the bus says (bus.h, on_state) */
        void (*on_block)(void *arg, uint64_t number); /* a block has got its number in lane 1; not durable yet */
        void (*on_acked)(void *arg, uint8_t lane, uint64_t acked); /* the gateway has everything up to it */
        void *arg;
    } watcher;
};
struct report_stats {
    uint64_t samples, records, events, gaps, gap_numbers, commits, failed_commits, acks;
    uint64_t refused;                  /* samples not taken */
    uint64_t thinned, thinned_waiting; /* readings that rules took out; of those, not declared yet */
    uint64_t thinned_blocks;           /* blocks of which nothing was left */
    uint64_t damaged;                  /* numbers declared lost because their entry did not verify */
    uint64_t rebases;                  /* epochs begun because an old image had been restored */
    uint64_t ignored;                  /* messages: retained, not ours, not an ack */
    bool failing;                      /* the last commit has failed */
    struct report_lane_stats {
        uint64_t epoch, top, durable, acked, bytes; /* top: highest number given, durable or not */
        uint64_t sent, max_bytes, gap_numbers;      /* gap_numbers: dropped since the start */
        uint64_t gap_waiting;                       /* of gap_numbers: declared, but not acknowledged yet */
    } lane[2];
};

/* Opens (or creates, durably, before anything is sent) both lanes and counts the boot. bus, store borrowed; the report
 * sets the bus's handlers and subscribes, the owner calls bus_start afterwards. Asynchronous start: on_ready is called
 * when samples may be given; a store that does not take the start is tried again. ERR_RANGE: options; ERR_MALFORMED:
 * the store's state does not parse; ERR_IO, ERR_NOMEM. */
enum err report_new(struct loop *loop, struct bus *bus, struct store *store, const struct report_options *options,
                    void (*on_ready)(void *arg), void *arg, struct report **ret_report,
                    struct fault *reterr) MUST_CHECK;
/* Does not touch the bus. A commit may be under way: the owner frees bus and store before the loop runs on. Accepts
 * NULL. */
void report_free(struct report *report);
DEFINE_CLEANUP(struct report, report_free)
/* Subscribes to one more channel of the device: fn gets what comes there, live messages only. Embedded in its owner,
 * filled but for next, and there for the life of the report; no two for one channel. ERR_NOMEM. */
struct report_listener {
    enum topic_channel channel;
    void (*fn)(void *arg, struct slice payload);
    void *arg;
    struct report_listener *next; /* private */
};
enum err report_listen(struct report *report, struct report_listener *listener) MUST_CHECK;
bool report_ready(const struct report *report);
/* Where the next sample will stand (for sense_read). Holds until anything else is reported or the handler returns;
 * closes a block that the sample does not belong to. device is borrowed from the report. */
void report_place(struct report *report, struct sense_place *ret_place);
/* values: one per channel; NaN = missing. Allocates nothing as long as the disk keeps up. ERR_AGAIN: not ready, or the
 * store takes nothing (failing disk); the sample is counted as not taken. */
enum err report_sample(struct report *report, const double *values) MUST_CHECK;
enum report_severity { REPORT_INFO, REPORT_WARNING, REPORT_ALARM };
/* Lane 0 for ALARM, lane 1 otherwise. text, channel may be NULL; value NaN = none. id: a stable word, not empty
 * (ERR_RANGE). ERR_AGAIN: not ready. ERR_FULL: the store takes nothing and what waits for it has used up its memory. */
enum err report_event(struct report *report, enum report_severity severity, const char *id, const char *text,
                      const char *channel, double value) MUST_CHECK;
/* record: a whole Record with an Inference. Alarms go into lane 0 at once; the others into lane 1 behind the block
 * under construction, which they do not cut short: a power cut takes them with it. ERR_AGAIN: not ready; ERR_RANGE: too
 * long; ERR_FULL as report_event. */
enum { REPORT_INFERENCE_MAX = 512 };
enum err report_inference(struct report *report, bool is_alarm, struct slice record) MUST_CHECK;
/* Taken; of these lost, since the store took nothing when their block was closed. */
void report_inferences(const struct report *report, uint64_t *ret_taken, uint64_t *ret_lost);
/* Statistics of spans, as Windows of a Curated record: in lane 1, behind the block under construction, which is closed.
 * Rules see them as a gateway's would. rule: their name. ERR_AGAIN: not ready; ERR_RANGE: no channel of that number, or
 * more than REPORT_WINDOWS_MAX, or none; ERR_FULL as report_event. */
enum { REPORT_WINDOWS_MAX = 65 };
struct report_window {
    unsigned channel; /* of options.channels */
    uint64_t start_us, length_us;
    struct moments moments;
    struct slice sketch; /* core/sketch; may be empty */
    bool partial;
};
enum err report_windows(struct report *report, const char *rule, const struct report_window *windows,
                        size_t count) MUST_CHECK;
enum err report_health(struct report *report, uint64_t rss_bytes) MUST_CHECK;
/* For SIGHUP. Closes the block under construction. */
void report_set_period(struct report *report, int64_t period_us);
/* Other rules for the blocks from now on; NULL = none. borrowed from when it returns OK, those before are free then.
 * What the old ones took is declared first. ERR_AGAIN: the store does not take that yet, try again; ERR_NOMEM; the old
 * ones stay. */
enum err report_set_curate(struct report *report, struct curate *curate) MUST_CHECK;
/* The rules in force; NULL = none. */
const struct rules *report_rules(const struct report *report);
/* Readings that the rule (its index in the file) took out since it is in force. */
uint64_t report_thinned(const struct report *report, size_t rule);
/* Identity of the gateway that takes the records. Borrowed from the report. */
const char *report_gateway(const struct report *report);
/* Wall clock as the blocks tell it. */
uint64_t report_wall_us(const struct report *report);
/* Whether the wall clock is held by NTP; false until told. Blocks carry it. */
void report_set_synced(struct report *report, bool synced);
bool report_synced(const struct report *report);
/* Closes the block under construction and commits. */
void report_flush(struct report *report);
/* Nothing is pending and everything durable is acknowledged. */
bool report_drained(const struct report *report);
void report_stats(const struct report *report, struct report_stats *ret_stats);
/* The sentence that says that the bus is up and yet the gateway acknowledges nothing; false when that is not so. */
enum { REPORT_WHY_MAX = 256 };
bool report_unheard(const struct report *report, char ret_why[REPORT_WHY_MAX]);
int64_t report_unsynced_us(const struct report *report);

#endif
