/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent - one device: samples its driver, watches its limits, reports. The simulators run this very code.
 *
 * Comes in: time. Goes out: frames on the bus (device/report). Everything is handed in: loop, bus, store, driver.
 */
#ifndef DEVICE_AGENT_AGENT_H
#define DEVICE_AGENT_AGENT_H

#include "device/report/report.h"

struct agent;
struct buffer;

struct agent_options {
    struct report_options report;
    int64_t period_us;        /* of sampling; 0 = the owner calls agent_sample_now */
    int64_t health_period_us; /* 0 = none */
    struct agent_limit {
        const char *channel; /* "" = none */
        double above, below; /* an alarm event when the value leaves below..above, one again after it has come back */
    } limit;
    uint64_t stop_after_samples; /* 0 = never */
};
/* All borrowed for the life of the agent. */
enum err agent_new(struct loop *loop, struct bus *bus, struct store *store, struct sense *sense,
                   const struct agent_options *options, struct agent **ret_agent, struct fault *reterr) MUST_CHECK;
void agent_free(struct agent *agent);
DEFINE_CLEANUP(struct agent, agent_free)
struct report *agent_report(struct agent *agent);
/* Stops sampling, flushes the block; report_drained() tells when everything is acknowledged. */
void agent_stop(struct agent *agent);
bool agent_stopped(const struct agent *agent);
/* /status and /ledger of the control socket. */
void agent_status_json(struct agent *agent, struct buffer *out);
void agent_ledger_json(struct agent *agent, struct buffer *out);

#endif
