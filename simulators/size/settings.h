/* SPDX-License-Identifier: Apache-2.0 */
/* settings - what `weir-fleet size` can be told (settings.c has the table), and what the model is given of it. */
#ifndef SIMULATORS_SIZE_SETTINGS_H
#define SIMULATORS_SIZE_SETTINGS_H

#include "core/options/options.h"
#include "simulators/size/model.h"

enum size_signal { SIZE_PUMP, SIZE_PATTERN, SIZE_CSV };
extern const char *const size_signals[];

struct size_settings {
    int64_t devices, gateways;
    struct {
        int signal; /* enum size_signal */
        char *path;
        int64_t channels;
        double value_bytes;
        int64_t jitter_us;
    } sense;
    struct {
        int64_t period_us, samples, max_age_us, health_us, record_bytes, window, bulk;
    } report;
    double alarms_per_day;
    int64_t alarm_bytes;
    struct {
        int64_t store, flush_us, link, rtt_us, keepalive_us;
    } device;
    struct {
        int64_t store, flush_us, commit_delay_us, descriptors;
    } gateway;
    struct {
        int64_t link, rtt_us, frames, frame_bytes, frame_entries;
    } uplink;
    int64_t name_bytes, packet_bytes;
    bool tls, sealed;
    double headroom;
    int64_t outage_us, buffer_us, drain_us;
    bool json, measure;
    char *measure_path;
};
extern const struct options_program size_program;

/* The constants that hold for this signal when nothing is measured. */
void size_presets(const struct size_settings *s, struct size_constants *ret_constants);
void size_input_of(const struct size_settings *s, struct size_input *ret_input);

/* ---- constants.c ---- */
struct size_constant_text {
    const char *key, *unit, *help;
};
extern const struct size_constant_text size_constant_texts[SIZE_CONSTANTS];

#endif
