/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was measured beforehand, with where it comes from. --measure writes over it.
 */
#include <stdio.h>

#include "simulators/size/settings.h"

#define STORE_COMMAND "weir-fleet size --measure (LMDB 0.9.24)"
#define LOAD_COMMAND "weir-fleet size --measure: 40 devices, 10,000 records/s, no TLS"

const struct size_constant_text size_constant_texts[SIZE_CONSTANTS] = {
    [SIZE_VALUE_BYTES] = {"value_bytes", "B", "a value in a column"},
    [SIZE_COLUMN_BYTES] = {"column_bytes", "B", "head of a column"},
    [SIZE_RECORD_HEAD] = {"record_head", "B", "a record without its columns"},
    [SIZE_HEALTH_BYTES] = {"health_bytes", "B", "a health report"},
    [SIZE_DESCRIBE_BYTES] = {"describe_bytes", "B", "a channel's description, once in 1,000 records"},
    [SIZE_PAGE_FILL] = {"page_fill", "", "pages in use / pages of packed entries"},
    [SIZE_COMMIT_PAGES] = {"commit_pages", "", "pages written by a commit beside its records"},
    [SIZE_TRIM_PAGES] = {"trim_pages", "", "... and when it trims"},
    [SIZE_STORE_CPU] = {"store_s", "s", "a record in a large commit, trimmed again"},
    [SIZE_BROKER_CPU] = {"broker_s", "s", "broker's processor for a frame and its answer"},
    [SIZE_GATEWAY_CPU] = {"gateway_s", "s", "gateway's processor for a record taken in"},
    [SIZE_UPLINK_CPU] = {"uplink_s", "s", "gateway's processor for a record sent on"},
};

static const struct size_constants presets = {.of = {
    [SIZE_COLUMN_BYTES] = {5, "the agent in virtual time, --measure"},
    [SIZE_RECORD_HEAD] = {34, "the agent in virtual time, --measure"},
    [SIZE_HEALTH_BYTES] = {46, "proto/schema: Health"},
    [SIZE_DESCRIBE_BYTES] = {27, "proto/schema: ChannelInfo"},
    [SIZE_PAGE_FILL] = {1.0, STORE_COMMAND},
    [SIZE_COMMIT_PAGES] = {4, STORE_COMMAND},
    [SIZE_TRIM_PAGES] = {1, STORE_COMMAND},
    [SIZE_STORE_CPU] = {1e-6, STORE_COMMAND},
    [SIZE_BROKER_CPU] = {12e-6, LOAD_COMMAND},
    [SIZE_GATEWAY_CPU] = {8.2e-6, LOAD_COMMAND},
    [SIZE_UPLINK_CPU] = {8.2e-6, "taken as a record taken in"},
}};

static const struct size_constant_value value_bytes[] = {
    [SIZE_PUMP] = {0.5, "driver pump, the agent in virtual time"},
    [SIZE_PATTERN] = {2.63, "driver pattern: 21 bits"},
    [SIZE_CSV] = {1.15, "tests/bench/telemetry_size: SKAB, 1.44 with heads at 8 x 32"},
};

void size_presets(const struct size_settings *s, struct size_constants *ret_constants)
{
    *ret_constants = presets;
    struct size_constant_value *value = &ret_constants->of[SIZE_VALUE_BYTES];
    *value = value_bytes[s->sense.signal];
    if (s->sense.value_bytes > 0) {
        value->value = s->sense.value_bytes;
        snprintf(value->source, sizeof value->source, "sense.value_bytes");
    }
}
