/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan of a seed. Sizes are chosen so that a seed takes a few ten milliseconds, faults so that they overlap. What
 * the protocol does not promise (core/window/window.h, "What remains") is left out: stores go back in one tier
 * only, so that a sender and its receiver never do together, an image is restored at most once, and every alarm
 * lane has a number before an image is taken.
 */
#include <stdio.h>

#include "simulators/trial/plan.h"

enum { SAMPLES_ABOUT = 12000, DEVICES_SMALL = 4, DEVICES_LARGE = 12, LINES = 3 };
#define STORM_US (20 * SECOND_US) /* a crowd of short faults */

struct chance {
    uint64_t state;
};

static uint64_t draw(struct chance *c)
{
    uint64_t v = mix_u64(c->state);
    c->state += UINT64_C(0x9e3779b97f4a7c15);
    return v;
}

static uint64_t below(struct chance *c, uint64_t n)
{
    return draw(c) % n;
}

static bool one_in(struct chance *c, unsigned n)
{
    return below(c, n) == 0;
}

/* least..most, each power of two as likely as the next. */
static int64_t spread(struct chance *c, int64_t least, int64_t most)
{
    unsigned doublings = 0;
    while ((least << (doublings + 1)) <= most) {
        doublings++;
    }
    int64_t floor = least << below(c, doublings + 1);
    return min_i64(floor + (int64_t)below(c, (uint64_t)floor), most);
}

/* ---- the world ---- */
static void make_world(struct chance *c, uint64_t seed, struct plan *p)
{
    struct world_options *o = &p->world;
    bool days = one_in(c, 16);
    p->length_us = days ? (1 + (int64_t)below(c, 4)) * DAY_US : 10 * MINUTE_US;
    *o = (struct world_options){.seed = seed,
                                .devices = 1 + (unsigned)below(c, one_in(c, 4) ? DEVICES_LARGE : DEVICES_SMALL),
                                .lines = (unsigned)below(c, LINES + 1),
                                .samples = 1U << below(c, 6),
                                .channels = 1 + (unsigned)below(c, 3),
                                .flush_us = spread(c, MS_US, 30 * MS_US),
                                .device_flush_us = spread(c, MS_US, 100 * MS_US),
                                .commit_delay_us = one_in(c, 2) ? 0 : (int64_t)below(c, 20) * MS_US};
    o->site = o->lines > 0 && !one_in(c, 3);
    int64_t least_us = p->length_us * o->devices / SAMPLES_ABOUT;
    o->period_us = spread(c, max_i64(least_us, 50 * MS_US), max_i64(4 * least_us, SECOND_US));
    o->device_store_bytes = one_in(c, 3) ? (uint64_t)spread(c, 128 << 10, 1 << 20) : UINT64_C(64) << 20;
    o->gateway_store_bytes = one_in(c, 4) ? (uint64_t)spread(c, 256 << 10, 2 << 20) : UINT64_C(256) << 20;
    o->bridge_store_bytes = one_in(c, 6) ? (uint64_t)spread(c, 256 << 10, 2 << 20) : UINT64_C(256) << 20;
}

/* ---- names ---- */
enum tier { TIER_DEVICE, TIER_LINE, TIER_SITE, TIER_BRIDGE };

static void name_of(struct chance *c, const struct world_options *o, enum tier tier, char *ret)
{
    switch (tier) {
    case TIER_DEVICE:
        (void)snprintf(ret, WORLD_NAME_MAX, "device-%u", 1 + (unsigned)below(c, o->devices));
        return;
    case TIER_SITE:
        if (o->site) {
            (void)snprintf(ret, WORLD_NAME_MAX, "site1");
            return;
        }
        __attribute__((fallthrough));
    case TIER_LINE:
        if (o->lines == 0) {
            (void)snprintf(ret, WORLD_NAME_MAX, "gw1");
        } else {
            (void)snprintf(ret, WORLD_NAME_MAX, "line-%u", 1 + (unsigned)below(c, o->lines));
        }
        return;
    case TIER_BRIDGE:
        (void)snprintf(ret, WORLD_NAME_MAX, "bridge1");
        return;
    }
}

static enum tier any_tier(struct chance *c)
{
    static const enum tier tiers[] = {TIER_DEVICE, TIER_DEVICE, TIER_LINE, TIER_LINE, TIER_SITE, TIER_BRIDGE};
    return tiers[below(c, COUNT_OF(tiers))];
}

static enum tier sender_tier(struct chance *c)
{
    return (enum tier)below(c, TIER_BRIDGE);
}

static enum tier hub_tier(struct chance *c)
{
    return TIER_LINE + (enum tier)below(c, 3);
}

/* ---- faults ---- */
static unsigned ppm(struct chance *c, unsigned most)
{
    return one_in(c, 2) ? 0 : (unsigned)below(c, most);
}

static int64_t strange_wall(struct chance *c)
{
    static const int64_t walls_s[] = {0, INT64_C(2147483640), INT64_C(4102444800), INT64_C(1577836800)};
    return walls_s[below(c, COUNT_OF(walls_s))] * SECOND_US;
}

static struct plan_entry make_entry(struct chance *c, const struct plan *p, enum plan_kind kind)
{
    const struct world_options *o = &p->world;
    int64_t scale = p->length_us / (10 * MINUTE_US); /* outages of days in worlds of days */
    struct plan_entry e = {.kind = kind, .at_us = (int64_t)below(c, (uint64_t)p->length_us)};
    e.step = one_in(c, 3) ? 0 : (unsigned)spread(c, 1, 64);
    switch (kind) {
    case PLAN_CRASH:
        name_of(c, o, any_tier(c), e.target);
        if (one_in(c, 10)) {
            (void)snprintf(e.target, sizeof(e.target), "%s", one_in(c, 2) ? "*" : "device-*");
        }
        e.for_us = spread(c, MS_US, MINUTE_US * scale);
        e.value = one_in(c, 2) ? (int64_t)below(c, 3) : 0;
        break;
    case PLAN_LINK:
        name_of(c, o, sender_tier(c), e.target);
        e.value = BUS_LINK_DOWN + (int64_t)below(c, 4);
        e.for_us = spread(c, 100 * MS_US, 3 * MINUTE_US * scale);
        break;
    case PLAN_MESSAGES:
        name_of(c, o, hub_tier(c), e.target);
        e.for_us = spread(c, SECOND_US, 3 * MINUTE_US);
        e.faults = (struct bus_faults){.loss_ppm = ppm(c, 300000),
                                       .duplicate_ppm = ppm(c, 300000),
                                       .reorder_ppm = ppm(c, 300000),
                                       .corrupt_ppm = ppm(c, 50000),
                                       .delay_us = spread(c, MS_US, 300 * MS_US),
                                       .jitter_us = spread(c, MS_US, 300 * MS_US)};
        break;
    case PLAN_BROKER:
        name_of(c, o, hub_tier(c), e.target);
        e.for_us = spread(c, MS_US, 30 * SECOND_US);
        break;
    case PLAN_CLOCK:
        name_of(c, o, any_tier(c), e.target);
        e.value = strange_wall(c);
        e.for_us = spread(c, SECOND_US, 3 * MINUTE_US);
        break;
    case PLAN_DISK:
        name_of(c, o, any_tier(c), e.target);
        e.value = one_in(c, 2) ? STORE_DISK_FULL : STORE_DISK_EIO;
        e.for_us = spread(c, 10 * MS_US, MINUTE_US);
        break;
    case PLAN_SINK:
        e.value = one_in(c, 2) ? WORLD_SINK_FAILS : WORLD_SINK_DEAF;
        e.for_us = spread(c, 100 * MS_US, MINUTE_US);
        break;
    case PLAN_PERIOD:
        name_of(c, o, TIER_DEVICE, e.target);
        e.value = max_i64(o->period_us / 5, 20 * MS_US);
        e.for_us = spread(c, SECOND_US, MINUTE_US);
        break;
    case PLAN_ALARM:
        name_of(c, o, TIER_DEVICE, e.target);
        break;
    case PLAN_RULES:
        name_of(c, o, one_in(c, 3) ? TIER_SITE : TIER_LINE, e.target);
        e.value = (int64_t)below(c, WORLD_RULES_COUNT);
        e.for_us = spread(c, SECOND_US, 3 * MINUTE_US * scale);
        break;
    case PLAN_SNAPSHOT:
    case PLAN_RESTORE:
    case PLAN_WIPE:
    case PLAN_KIND_COUNT:
        break;
    }
    return e;
}

static enum err add_faults(struct chance *c, struct plan *p)
{
    static const enum plan_kind kinds[] = {PLAN_CRASH, PLAN_CRASH,  PLAN_CRASH, PLAN_LINK, PLAN_LINK,
                                           PLAN_MESSAGES, PLAN_MESSAGES, PLAN_BROKER, PLAN_CLOCK, PLAN_DISK,
                                           PLAN_SINK,  PLAN_PERIOD, PLAN_ALARM};
    uint64_t mask = draw(c) | draw(c); /* kinds of this seed: three quarters of them */
    unsigned count = 3 + (unsigned)below(c, 24);
    for (unsigned i = 0; i < count; i++) {
        enum plan_kind kind = kinds[below(c, COUNT_OF(kinds))];
        if ((mask >> kind & 1) != 0) {
            struct plan_entry e = make_entry(c, p, kind);
            TRY(plan_add(p, &e));
        }
    }
    return OK;
}

/* Crashes and cuts in quick succession, most of them shorter than a start takes to be heard. */
static enum err add_storm(struct chance *c, struct plan *p)
{
    static const enum plan_kind kinds[] = {PLAN_CRASH, PLAN_CRASH, PLAN_CRASH, PLAN_CRASH, PLAN_BROKER,
                                           PLAN_LINK,  PLAN_ALARM, PLAN_SINK,  PLAN_DISK,  PLAN_MESSAGES};
    int64_t begin_us = (int64_t)below(c, (uint64_t)(p->length_us - STORM_US));
    unsigned count = 20 + (unsigned)below(c, 100);
    for (unsigned i = 0; i < count; i++) {
        struct plan_entry e = make_entry(c, p, kinds[below(c, COUNT_OF(kinds))]);
        e.at_us = begin_us + (int64_t)below(c, STORM_US);
        e.for_us = min_i64(e.for_us, spread(c, MS_US, 2 * SECOND_US));
        TRY(plan_add(p, &e));
    }
    return OK;
}

/* Who a node talks to, above it. */
static void name_above(const struct world_options *o, const char *node, char *ret)
{
    bool line = strncmp(node, "line-", 5) == 0;
    if (strncmp(node, "device-", 7) == 0) {
        unsigned number = (unsigned)strtoul(node + 7, NULL, 10);
        if (o->lines == 0) {
            (void)snprintf(ret, WORLD_NAME_MAX, "gw1");
        } else {
            (void)snprintf(ret, WORLD_NAME_MAX, "line-%u", (number - 1) % o->lines + 1);
        }
    } else {
        (void)snprintf(ret, WORLD_NAME_MAX, "%s", line && o->site ? "site1" : "bridge1");
    }
}

/* The moments around a store that goes back are those in which its history is found out: trouble there. */
static enum err add_companions(struct chance *c, struct plan *p, const struct plan_entry *image)
{
    static const enum plan_kind kinds[] = {PLAN_CRASH, PLAN_CRASH, PLAN_CRASH, PLAN_LINK,
                                           PLAN_DISK,  PLAN_ALARM, PLAN_BROKER, PLAN_MESSAGES};
    unsigned count = one_in(c, 4) ? 0 : 1 + (unsigned)below(c, 8);
    for (unsigned i = 0; i < count; i++) {
        struct plan_entry e = make_entry(c, p, kinds[below(c, COUNT_OF(kinds))]);
        bool hub = e.kind == PLAN_BROKER || e.kind == PLAN_MESSAGES;
        if (e.kind != PLAN_ALARM && (hub || one_in(c, 2))) {
            name_above(&p->world, image->target, e.target);
        } else if (e.kind != PLAN_ALARM) {
            (void)snprintf(e.target, sizeof(e.target), "%s", image->target);
        }
        int64_t off_us = spread(c, MS_US, 20 * SECOND_US);
        e.at_us = max_i64(image->at_us + (one_in(c, 3) ? -off_us : off_us), 0);
        e.for_us = spread(c, MS_US, 10 * SECOND_US);
        if (plan_has(p, &e)) {
            TRY(plan_add(p, &e));
        }
    }
    return OK;
}

/* Nobody hears of the old image before its store is full. */
static enum err add_silence(struct chance *c, struct plan *p, const struct plan_entry *image)
{
    struct plan_entry e = {.kind = PLAN_LINK, .value = BUS_LINK_DOWN, .at_us = image->at_us};
    memcpy(e.target, image->target, sizeof(e.target));
    int64_t left_us = p->length_us - image->at_us;
    e.for_us = left_us / 3 + (int64_t)below(c, (uint64_t)left_us / 2 + 1);
    if (!plan_has(p, &e)) {
        return OK; /* the bridge speaks to nobody above it */
    }
    p->world.samples = 1 + (unsigned)below(c, 3); /* many small records */
    p->world.device_store_bytes = (uint64_t)spread(c, 128 << 10, 256 << 10);
    p->world.gateway_store_bytes = (uint64_t)spread(c, 256 << 10, 1 << 20);
    TRY(plan_add(p, &e));
    struct plan_entry faster = {.kind = PLAN_PERIOD, .at_us = image->at_us, .for_us = e.for_us, .target = "device-*"};
    faster.value = max_i64(p->world.period_us / 5, 20 * MS_US);
    return one_in(c, 4) ? OK : plan_add(p, &faster);
}

static enum err add_image(struct chance *c, struct plan *p, enum tier tier)
{
    struct plan_entry e = {.kind = PLAN_WIPE, .at_us = (int64_t)below(c, (uint64_t)p->length_us)};
    name_of(c, &p->world, tier, e.target);
    e.step = (unsigned)below(c, 8);
    if (one_in(c, 3)) {
        TRY(add_companions(c, p, &e));
        return plan_add(p, &e);
    }
    int64_t taken_us = 10 * SECOND_US + (int64_t)below(c, (uint64_t)(p->length_us - 30 * SECOND_US));
    int64_t later_us = p->length_us - taken_us;
    e.kind = PLAN_SNAPSHOT;
    e.at_us = taken_us;
    TRY(plan_add(p, &e));
    e.kind = PLAN_RESTORE;
    e.at_us = taken_us + spread(c, MS_US, later_us);
    if (one_in(c, 4)) {
        e.at_us = taken_us + min_i64(spread(c, MS_US, MINUTE_US), later_us);
        TRY(add_silence(c, p, &e));
    }
    TRY(add_companions(c, p, &e));
    return plan_add(p, &e);
}

static enum err add_images(struct chance *c, struct plan *p)
{
    if (!one_in(c, 3)) {
        return OK;
    }
    struct plan_entry alarm = {.kind = PLAN_ALARM, .at_us = SECOND_US, .target = "device-*"};
    enum tier tier = (enum tier)below(c, TIER_BRIDGE + 1);
    TRY(plan_add(p, &alarm));
    if (one_in(c, 2)) {
        uint64_t *const stores[] = {&p->world.device_store_bytes, &p->world.gateway_store_bytes};
        *stores[tier != TIER_DEVICE] = (uint64_t)spread(c, 128 << 10, 512 << 10);
    }
    unsigned count = 1 + (unsigned)below(c, 3);
    for (unsigned i = 0; i < count; i++) {
        TRY(add_image(c, p, tier));
    }
    return OK;
}

/* Rules for the gateways of some worlds, and changes of them, close to other faults. From chances of their own:
 * what else a seed draws does not depend on them. */
static enum err add_rules(struct plan *p, uint64_t seed)
{
    struct chance c = {.state = mix_u64(seed ^ UINT64_C(0x52756c6573))};
    struct world_options *o = &p->world;
    if (!one_in(&c, 3)) {
        return OK;
    }
    unsigned where = (unsigned)below(&c, 4); /* lines, site, both, none at first */
    o->line_rules = where == 0 || where == 2 || !o->site ? 1 + (enum world_rules)below(&c, WORLD_RULES_COUNT - 1) : 0;
    o->site_rules = o->site && (where == 1 || where == 2) ? 1 + (enum world_rules)below(&c, WORLD_RULES_COUNT - 1) : 0;
    o->ring_bytes = one_in(&c, 4) ? 0 : (uint64_t)spread(&c, 16 << 10, 1 << 20);
    unsigned changes = one_in(&c, 2) ? 0 : 1 + (unsigned)below(&c, 6);
    size_t others = p->count;
    for (unsigned i = 0; i < changes; i++) {
        struct plan_entry e = make_entry(&c, p, PLAN_RULES);
        if (others > 0 && one_in(&c, 2)) {
            const struct plan_entry *near = &p->entries[below(&c, others)];
            e.at_us = max_i64(near->at_us + (one_in(&c, 2) ? 1 : -1) * spread(&c, MS_US, 5 * SECOND_US), 0);
        }
        TRY(plan_add(p, &e));
    }
    return OK;
}

/* Entries of the same time keep their order. */
static void sort_by_time(struct plan *p)
{
    for (size_t i = 1; i < p->count; i++) {
        struct plan_entry e = p->entries[i];
        size_t at = i;
        for (; at > 0 && p->entries[at - 1].at_us > e.at_us; at--) {
            p->entries[at] = p->entries[at - 1];
        }
        p->entries[at] = e;
    }
}

enum err plan_make(uint64_t seed, enum world_mistake mistake, struct plan *ret_plan)
{
    struct chance c = {.state = mix_u64(seed ^ UINT64_C(0x57656972))};
    struct plan p = {.entries = NULL};
    make_world(&c, seed, &p);
    p.world.mistake = mistake;
    enum err err = add_faults(&c, &p);
    err = err == OK && one_in(&c, 4) ? add_storm(&c, &p) : err;
    err = err == OK ? add_images(&c, &p) : err;
    err = err == OK ? add_rules(&p, seed) : err;
    if (err != OK) {
        plan_deinit(&p);
        return err;
    }
    sort_by_time(&p);
    *ret_plan = p;
    return OK;
}
