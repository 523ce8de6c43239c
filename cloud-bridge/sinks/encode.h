/* SPDX-License-Identifier: Apache-2.0 */
/*
 * encode - what the sinks that speak to other people's systems have in common: names made of a template, a record as
 * JSON, the names of channels, and a durable note of how far a sink is whose server has no transaction.
 */
#ifndef CLOUD_BRIDGE_SINKS_ENCODE_H
#define CLOUD_BRIDGE_SINKS_ENCODE_H

#include "cloud-bridge/sinks/module.h"

/* ---- templates: weir/{site}/{gateway}/{device}/{kind} ----
 *
 * Placeholders: site, bridge, gateway, device, lane (alarm, bulk), kind (block, event, ...). What they stand for is
 * made of [A-Za-z0-9_-] alone (identities, constant words), so it never changes the form of the name. */
enum sink_template_rules {
    SINK_TEMPLATE_SUBJECT, /* NATS: tokens by '.', each one placeholder or a word of [A-Za-z0-9_-] */
    SINK_TEMPLATE_TOPIC,   /* MQTT: levels by '/', UTF-8 without + # and control bytes, not beginning with $ */
};
enum { SINK_TEMPLATE_MAX = 200 };
/* {device} must be in it. Appends what is wrong as sentences, each after `key: `. ERR_RANGE if anything is. */
enum err sink_template_check(const char *text, enum sink_template_rules rules, const char *key,
                             struct buffer *problems) MUST_CHECK;
struct sink_template_values { /* NULL: a '*' stands there */
    const char *site, *bridge, *gateway, *device, *lane, *kind;
};
/* Appends. text has passed the check. */
void sink_template_render(const char *text, const struct sink_template_values *values, struct buffer *out);
const char *sink_lane_name(unsigned lane);

/* ---- JSON ----
 * Members of the record in r, into the object that j is in: "gateway", "received", then by kind. names may be NULL;
 * where the block's or windows' set is known there, "channels" names the columns. */
struct sink_names;
void sink_record_json(struct json *j, const struct sink_reader *r, const struct wire_forward *forward,
                      const struct sink_names *names);

/* ---- names of channels: what blocks only number ----
 * Per (device, set) the description that came last. Of a device the SINK_NAMES_SETS newest sets are kept. */
enum { SINK_NAMES_SETS = 8 };
struct sink_names;
struct sink_names_set {
    uint32_t set;
    size_t count;
    const char **name, **unit; /* count each */
};
enum err sink_names_new(struct sink_names **ret_names) MUST_CHECK;
void sink_names_free(struct sink_names *names);
DEFINE_CLEANUP(struct sink_names, sink_names_free)
/* *ret_new (may be NULL) tells whether it was not known before. ERR_NOMEM. */
enum err sink_names_add(struct sink_names *names, const char *device, const Weir__V1__Describe *describe,
                        bool *ret_new) MUST_CHECK;
/* NULL when unknown; valid until the next add. */
const struct sink_names_set *sink_names_find(const struct sink_names *names, const char *device, uint32_t set);
/* The oldest first, so that adding them again in this order gives the same. fn's error ends it. */
enum err sink_names_foreach(const struct sink_names *names,
                            enum err (*fn)(void *arg, const char *device, const struct sink_names_set *set),
                            void *arg) MUST_CHECK;

/* ---- journal: positions, marks and names of a sink that has no transaction of its own ----
 *
 * One file of sealed entries; what stands behind the last commit never was. A commit may carry bytes of the sink's own
 * (`extra`). The file is written anew when it has grown to several times of what is in it.
 *
 *   entry = type u8 | length u32le | crc32c u32le (over type, length, body) | body
 */
enum { SINK_JOURNAL_EXTRA_MAX = 1024 };
struct sink_journal_state { /* of the last commit */
    uint64_t epoch[INBOX_LANES], position[INBOX_LANES];
    uint8_t extra[SINK_JOURNAL_EXTRA_MAX];
    size_t extra_len;
    bool fresh; /* there was no journal */
};
struct sink_journal;
/* Fills marks and names (borrowed) from the file, creates it when there is none. ERR_CONFLICT: not a journal of ours,
 * or damaged at its beginning; ERR_UNSUPPORTED: of a later version; ERR_IO, ERR_NOMEM. */
enum err sink_journal_open(const char *path, struct sink_marks *marks, struct sink_names *names,
                           struct sink_journal_state *ret_state, struct sink_journal **ret_journal,
                           struct fault *reterr) MUST_CHECK;
void sink_journal_free(struct sink_journal *journal);
DEFINE_CLEANUP(struct sink_journal, sink_journal_free)
/* With the next commit: a description that was new. ERR_NOMEM. */
enum err sink_journal_describe(struct sink_journal *journal, const char *device,
                               const Weir__V1__Describe *describe) MUST_CHECK;
/* Durable when it returns OK: the marks touched, what was described, positions and extra. After an error nothing of it
 * is, and marks and names have run ahead: open the journal again. ERR_IO, ERR_FULL, ERR_NOMEM. */
enum err sink_journal_commit(struct sink_journal *journal, const uint64_t epoch[INBOX_LANES],
                             const uint64_t position[INBOX_LANES], struct slice extra, struct fault *reterr) MUST_CHECK;

#endif
