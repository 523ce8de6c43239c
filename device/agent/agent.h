/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent - one device: samples its driver, watches its limits, reports. The simulators run this very code.
 *
 * Comes in: time. Goes out: frames on the bus (device/report). Everything is handed in: loop, bus, store, driver; the
 * owner starts the bus after agent_new.
 *
 *   new -> [report starts: lanes and start durable] -> sampling -> agent_stop -> stopped, report_drained() -> free
 *
 * Sampling keeps its rhythm: the next sample is due one period after the last was due, not after it was taken. An agent
 * that is late by up to ten periods takes the samples one after the other; beyond that it skips and counts what it
 * missed.
 *
 * Commands: the gateway may ask to sample faster for a while. A human sets the bounds (agent_bounds); without them
 * nothing is listened to. The device returns to its own period by itself: at the command's deadline, at the end of the
 * time that was asked for, or when its credit is used up, whichever is first. The credit is longest_us at most; what
 * passes at the fast rate uses it, what passes at the usual rate fills it, and a quarter must be there to begin:
 * whoever floods a device with commands gets half of its time at most. Both ends are told as events, "sampling-faster"
 * and "sampling-normal", at most once in ten seconds. A start fills the credit.
 *
 * Inference: samples that the report takes also go to device/infer, where there is a model; what it tells goes into the report,
 * what it asks goes straight to <...>/ask at QoS 0, and answers come from <...>/answer.
 */
#ifndef DEVICE_AGENT_AGENT_H
#define DEVICE_AGENT_AGENT_H

#include "device/infer/infer.h"
#include "device/report/report.h"

struct agent;
struct buffer;

struct agent_options {
    struct report_options report;
    int64_t period_us;        /* of sampling; 0 = the owner calls agent_sample_now */
    int64_t health_period_us; /* 0 = none */
    struct agent_limit {
        const char *channel; /* NULL or "" = none; copied */
        double above, below; /* "limit-exceeded" when the value leaves below..above, "limit-returned" when it is back */
    } limit;
    struct agent_bounds {
        int64_t fastest_us; /* no command makes the distance of samples shorter; 0 = commands are ignored */
        int64_t longest_us; /* of sampling faster at a stretch */
    } bounds;
    uint64_t stop_after_samples; /* 0 = never */
    struct agent_start_event {
        const char *id, *text; /* NULL = none; copied. An alarm of the start: "store-quarantined" */
    } start_event;
    uint64_t (*rss_bytes)(void); /* of the process, for health; may be NULL */
    const char *version;         /* borrowed; shown by /status */
    /* What looks at the samples; NULL = nothing does. Read by agent_new only; its site, gateway, device, channels and period
     * are the agent's own and may be left empty. */
    const struct infer_options *infer;
};
/* All borrowed for the life of the agent. report.channels, .source and .period_us may be left empty: the driver's
 * channels and name and the sampling period are taken. ERR_RANGE: options, or limit.channel is not a channel; as
 * report_new. */
enum err agent_new(struct loop *loop, struct bus *bus, struct store *store, struct sense *sense,
                   const struct agent_options *options, struct agent **ret_agent, struct fault *reterr) MUST_CHECK;
/* As report_free: bus and store are freed before the loop runs on. Accepts NULL. */
void agent_free(struct agent *agent);
DEFINE_CLEANUP(struct agent, agent_free)
struct report *agent_report(struct agent *agent);
/* Takes one sample now. ERR_AGAIN: not ready, stopped, or the report takes none; ERR_IO, ERR_NOT_FOUND: the driver's.
 * */
enum err agent_sample_now(struct agent *agent) MUST_CHECK;
/* Stops sampling, flushes the block; report_drained() tells when everything is acknowledged. */
void agent_stop(struct agent *agent);
bool agent_stopped(const struct agent *agent);
/* When, by the rhythm of sampling, the sample being taken was due; 0 = none is. */
int64_t agent_due_us(const struct agent *agent);
/* For SIGHUP. Commands that are in force end. ERR_NOMEM: commands are ignored as before. */
enum err agent_set_bounds(struct agent *agent, const struct agent_bounds *bounds) MUST_CHECK;
/* Distance of samples at this moment. */
int64_t agent_period_us(const struct agent *agent);
/* For SIGHUP; in force at once. ERR_RANGE: no such channel, then nothing has changed. */
void agent_set_period(struct agent *agent, int64_t period_us);
enum err agent_set_limit(struct agent *agent, const struct agent_limit *limit) MUST_CHECK;

struct agent_stats {
    uint64_t missed;        /* samples skipped because the agent was too late */
    uint64_t sense_errors;  /* the driver gave none */
    uint64_t sense_bad;     /* sense_bad() */
    uint64_t limit_alarms;
    struct agent_command_stats {
        uint64_t obeyed, repeated;
        uint64_t refused;  /* does not parse, or is for somebody else */
        uint64_t expired;  /* the deadline had passed */
        uint64_t too_slow; /* not faster than the usual period, also because of the bounds */
        uint64_t spent;    /* no credit */
        int64_t fast_us;   /* time at the fast rate, in all */
    } commands;
};
void agent_stats(const struct agent *agent, struct agent_stats *ret_stats);
/* NULL = none. */
const struct infer *agent_infer(const struct agent *agent);
/* /status and /ledger of the control socket. */
void agent_status_json(struct agent *agent, struct buffer *out);
void agent_ledger_json(struct agent *agent, struct buffer *out);

#endif
