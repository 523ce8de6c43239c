/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules - what is to be done with readings before they go on: one grammar for gateway and device.
 *
 * A file (YAML) holds named rules in order. Each says which devices and channels it is for (globs) and what it does. A
 * block's values pass the rules in file order, channel by channel; what one rule takes out the next one does not see.
 *
 *   rules:
 *     plausible: {channels: "pressure*", do: range, min: 0, max: 16}      # others are dropped; otherwise: flag keeps them
 *     calm:      {devices: "pump-*", channels: "temp*", do: deadband, abs: 0.2, heartbeat: 10min}
 *     trend:     {channels: flow, do: swinging-door, abs: 0.5}            # every reading within 0.5 of the line
 *     minute:    {do: window, length: 60s, late: 5s, quantiles: [0.5, 0.95], raw: drop}
 *     knock:     {channels: acc, do: capture, above: 8, before: 2s, after: 5s, faster: 10}
 *     badge:     {channels: operator, do: hash}                           # only as a keyed pseudonym
 *
 * Version: a hash over the meaning (every setting in force, in order; not comments or layout), 1..2^63-1. Every curated
 * record carries it.
 *
 * Immutable once loaded; any thread may read it.
 */
#ifndef PROTO_RULES_RULES_H
#define PROTO_RULES_RULES_H

#include "core/base/base.h"
#include "core/base/buffer.h"
#include "core/options/options.h"

/* In the order of the words of `do`. */
enum rule_kind {
    RULE_RANGE,         /* min, max; otherwise */
    RULE_QUALITY,       /* clock: drops rows whose clock is worse than stated */
    RULE_DEDUPE,        /* drops a row that equals the one before in all channels that the rule is for; not behind a
                         * downsample or swinging-door, where values stand for times and no longer for rows */
    RULE_CONVERT,       /* value * factor + offset; unit, resolution */
    RULE_DEADBAND,      /* abs or percent: drops what is that near to the last kept value; heartbeat */
    RULE_SWINGING_DOOR, /* abs: keeps corners; every dropped value is within abs of the line between its neighbours kept */
    RULE_RATE,          /* at most `rate` values a second, evenly */
    RULE_DOWNSAMPLE,    /* every: one value per so long; by */
    RULE_ON_CHANGE,     /* drops equal values; heartbeat */
    RULE_WINDOW,        /* length, every, late, quantiles, error; raw */
    RULE_SPECTRUM,      /* samples, bands; raw: energy per band as windows of so many samples */
    RULE_CAPTURE,       /* above, below: raw rows from before to after go up in the alarm lane; faster, every: the
                         * device is asked to sample faster meanwhile */
    RULE_DROP,          /* the channel does not leave the plant */
    RULE_HASH,          /* it leaves as a keyed pseudonym only: HMAC-SHA-256 with the plant's key, 52 bits */
    RULE_BUCKET,        /* it leaves rounded down to a multiple of width */
    RULE_MERGE,         /* windows of the rule `of`, from the gateways below, become windows of length */
    RULE_KINDS
};
enum rule_otherwise { RULE_OTHERWISE_DROP, RULE_OTHERWISE_FLAG };
enum rule_raw { RULE_RAW_DROP, RULE_RAW_KEEP };
enum rule_by { RULE_BY_LAST, RULE_BY_FIRST, RULE_BY_MEAN, RULE_BY_MIN, RULE_BY_MAX };
enum rule_clock { RULE_CLOCK_ANY, RULE_CLOCK_GATEWAY, RULE_CLOCK_NTP };

enum { RULES_MAX = 64, RULE_QUANTILES_MAX = 8, RULE_BANDS_MAX = 16, RULE_SPECTRUM_SAMPLES_MAX = 1024,
       RULE_PANES_MAX = 512 /* parts of windows that are open at a time, of one rule on one channel */ };

struct rule { /* strings are owned by the rules */
    const char *name; /* of the section */
    char *devices, *channels; /* globs of * and ?; "*" = all */
    int kind;                 /* enum rule_kind */
    double min, max, abs, percent, factor, offset, resolution, rate, above, below, width, error, faster;
    char *unit, *of;
    int64_t length_us, every_us, late_us, heartbeat_us, before_us, after_us;
    int otherwise, raw, by, clock; /* the enums above */
    int64_t samples;
    struct option_list quantile_words, band_words;
    double quantile[RULE_QUANTILES_MAX];  /* 0..1, ascending */
    double band[RULE_BANDS_MAX][2];       /* Hz, from < to */
    unsigned quantiles, bands;
    unsigned index;           /* of the rule in the file */
};
struct rules;

/* problems receives every error as file:line:column: sentence. ERR_IO: cannot be read; ERR_MALFORMED: not YAML, ERR_RANGE:
 * bad settings, ERR_NOMEM. */
enum err rules_load(const char *path, struct rules **ret_rules, struct buffer *problems) MUST_CHECK;
/* The same for a file that a device runs on its blocks: ERR_RANGE also for kinds that are not for a device, each with
 * its place and the reason. */
enum err rules_load_device(const char *path, struct rules **ret_rules, struct buffer *problems) MUST_CHECK;
/* The same for a gateway that has no key of the plant: ERR_RANGE also for each hash rule. */
enum err rules_load_keyless(const char *path, struct rules **ret_rules, struct buffer *problems) MUST_CHECK;
void rules_free(struct rules *rules);
DEFINE_CLEANUP(struct rules, rules_free)
uint64_t rules_version(const struct rules *rules);
size_t rules_count(const struct rules *rules);
const struct rule *rules_at(const struct rules *rules, size_t index);
/* The word of `do`. */
const char *rule_kind_name(enum rule_kind kind);
/* What it does, in a few words. */
const char *rule_kind_help(enum rule_kind kind);
/* The settings that a kind looks at, one by one, as the file's reader has them: words, preset, help. NULL beyond the last;
 * kind RULE_KINDS: those of every rule. */
const struct option *rule_kind_setting(enum rule_kind kind, size_t index);
/* Why a device does not run rules of this kind; NULL = it does. */
const char *rule_kind_not_for_devices(enum rule_kind kind);
/* Whether the rule is for this channel of this device. */
bool rule_matches(const struct rule *rule, const char *device, const char *channel);
/* * stands for any run of bytes, ? for one. Time at most proportional to pattern x text. */
bool rule_glob(const char *pattern, const char *text);

#endif
