/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan - a world and what is done to it, as data: made from a seed, written as text, read back, cut down.
 *
 *   weir-plan 2                                    first line; 1: a plan that knows no rules
 *   seed 7                                         of the world's chances (jitter, epochs, boots)
 *   devices 3       lines 2        site yes        period 1s      samples 10     channels 2      length 10min
 *   flush 2ms       device-flush 5ms               commit-delay 0us              mistake none
 *   line-rules thin|windows|capture|none           site-rules ...         ring 65536          (2 only)
 *   device-store 4194304           bulk 0          gateway-store 268435456       bridge-store 268435456
 *   at 12345678us crash line-1 for 3s step 7 commits 1   7 events later; the first commit under way was durable
 *   at 15s crash * for 1s                          the power of the whole plant; also device-*
 *   at 20s link device-1 down|silent|deaf|mute for 5s      to its parent (core/bus/bus.h)
 *   at 30s messages line-1 for 1min loss 20000 duplicate 0 reorder 0 corrupt 0 delay 20ms jitter 10ms    ppm
 *   at 40s broker bridge1 for 2s                   killed, its queues wiped, back after 2 s
 *   at 50s clock device-1 to 0s for 1min           wall clock since 1970; then right again
 *   at 60s disk site1 full|eio for 30s
 *   at 70s sink fails|deaf for 10s                 deaf: commits, and says that it failed
 *   at 80s period device-1 to 100ms for 1min
 *   at 85s rules line-1 to none|thin|windows|capture for 1min             (2 only) then those of the settings again
 *   at 90s snapshot device-1    restore device-1    wipe line-1    alarm device-*
 *
 * One setting a line; durations are whole numbers with us, ms, s, min, h or d. "#" begins a comment. `step N` may
 * stand behind any entry. Every fault carries its own end, so that any entry can be left out.
 */
#ifndef SIMULATORS_TRIAL_PLAN_H
#define SIMULATORS_TRIAL_PLAN_H

#include "core/base/buffer.h"
#include "simulators/world/world.h"

enum plan_kind {
    PLAN_CRASH,
    PLAN_LINK,
    PLAN_MESSAGES,
    PLAN_BROKER,
    PLAN_CLOCK,
    PLAN_DISK,
    PLAN_SINK,
    PLAN_PERIOD,
    PLAN_SNAPSHOT,
    PLAN_RESTORE,
    PLAN_WIPE,
    PLAN_ALARM,
    PLAN_RULES, /* the last: the seeds of plans without rules stay what they are */
    PLAN_KIND_COUNT
};
const char *plan_kind_name(enum plan_kind kind);

struct plan_entry {
    int64_t at_us;
    int64_t for_us; /* crash, link, messages, broker, clock, disk, sink, period, rules */
    unsigned step;  /* so many events after at_us */
    enum plan_kind kind;
    char target[WORLD_NAME_MAX]; /* node, or hub (messages, broker); empty: sink */
    int64_t value; /* crash: commits; link: enum bus_link; disk: enum store_disk_mode; sink: enum world_sink; clock,
                    * period: us; rules: enum world_rules */
    struct bus_faults faults; /* messages */
};
enum { PLAN_ENTRIES_MAX = 2000, PLAN_DEVICES_MAX = 64 };
#define PLAN_LENGTH_MAX_US (400 * DAY_US)

struct plan {
    struct world_options world;
    int64_t length_us; /* of the time with faults; then everything is mended and drained */
    struct plan_entry *entries; /* owned */
    size_t count, cap;
};
void plan_deinit(struct plan *plan);
enum err plan_add(struct plan *plan, const struct plan_entry *entry) MUST_CHECK; /* ERR_FULL, ERR_NOMEM */
enum err plan_copy(const struct plan *plan, struct plan *ret_plan) MUST_CHECK;
/* Whether the world of the plan has what the entry names. */
bool plan_has(const struct plan *plan, const struct plan_entry *entry);

/* ERR_MALFORMED, ERR_RANGE; the fault's text is "line N: sentence". ret_plan is empty then. */
enum err plan_parse(struct slice text, struct plan *ret_plan, struct fault *reterr) MUST_CHECK;
void plan_print(const struct plan *plan, struct buffer *out);

/* The plan of a seed: the world's sizes and the faults. mistake goes into the plan; it changes nothing else. */
enum err plan_make(uint64_t seed, enum world_mistake mistake, struct plan *ret_plan) MUST_CHECK;

#endif
