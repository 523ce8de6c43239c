/* SPDX-License-Identifier: Apache-2.0 */
/* settings - what weir-device can be told: the table of core/options and the struct that it fills. */
#ifndef DEVICE_AGENT_SETTINGS_H
#define DEVICE_AGENT_SETTINGS_H

#include "core/daemon/daemon.h"
#include "core/options/options.h"

struct settings {
    char *site, *id, *gateway;
    int log_level; /* enum log_level */
    char *control_socket;
    struct daemon_broker broker;
    struct daemon_store store;
    struct {
        int driver, fault; /* index into settings_drivers, settings_faults */
        char *path;
        int64_t seed, bits, channels, onset, cycle, fastest_us, fast_for_max_us;
    } sense;
    struct {
        int64_t period_us, samples, max_age_us, health_us, window_frames, bulk_bytes;
    } report;
    struct {
        char *file; /* "" = none */
        int64_t declare_us;
    } rules;
    struct {
        char *model; /* "" = none */
        struct option_list alarm_classes;
        int report, ask; /* enum infer_report, enum infer_ask */
        int64_t report_every_us, ask_deadline_us, asks_per_minute, macs_per_day, bytes_per_day, sketch_us;
    } infer;
    struct {
        char *channel;
        double above, below;
    } alarm;
    struct {
        int64_t samples, drain_wait_us;
        bool exit_when_drained;
    } run;
};

extern const char *const settings_drivers[], *const settings_faults[];
extern const struct options_program settings_program;
/* Names the configuration that shapes the data, for Describe.config. */
uint64_t settings_hash(const struct settings *s);

#endif
