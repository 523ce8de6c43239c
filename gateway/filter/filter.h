/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter - the gateway's curation between ingest and uplink: raw records in, curated ones out, each exactly once.
 *
 *   raw spools (lanes 0, 1) --read behind position--> proto/curate --> curated spools --> uplink, views
 *        |                                         state per stream
 *        '-- kept as a ring for captures and questions (fetch), trimmed by size behind the position
 *
 * One transaction = {curated entries, states of the streams touched, position per raw lane}: a crash leaves all of
 * a batch or nothing of it. When a commit fails, states and positions are those of the store again and the batch is
 * made again.
 *
 *   IDLE --kick, more in a raw spool--> read up to batch_entries, commit --> COMMITTING --OK--> IDLE
 *                                                                            '--failed: forget, wait--> IDLE
 *
 * What a rule took whole becomes Suppressed{from, to, rule, version}; consecutive numbers of one stream and one
 * rule in a batch are one entry. What cannot be unpacked passes as it is; an entry that the disk has damaged is
 * declared by the hop's own numbers (proto/receive). Numbers that a stream has had already are not curated again.
 * Captures: raw rows around a trigger, as far as the ring has them, go up in the alarm lane as a stream of their own:
 * (device, an epoch made with the first capture), numbered from 1, the description of the channels ahead; field
 * policies apply to them as well.
 *
 * Memory: the streams used last, 20,000 at most, 64 MiB of states as they are stored; others come from the store
 * again. What is counted per device, and the shadow's states, begin anew with a stream that was out of memory.
 * Full store: the ring gives way first; see filter.c.
 * Without rules there is no filter: the uplink reads the raw spools.
 *
 * Shadow: a second set of rules runs beside the live one on the same records, keeps its states in memory and writes
 * nothing; only its counts are shown.
 */
#ifndef GATEWAY_FILTER_FILTER_H
#define GATEWAY_FILTER_FILTER_H

#include "core/base/base.h"
#include "core/base/buffer.h"
#include "core/inbox/inbox.h"
#include "core/loop/loop.h"
#include "core/spool/spool.h"
#include "core/store/store.h"
#include "proto/rules/rules.h"
#include "proto/wire/wire.h"

struct filter;
struct crypt_aead;

struct filter_options {
    const char *gateway;        /* our identity; copied */
    const struct rules *rules;  /* borrowed, until other rules are set */
    struct slice pseudonym_key; /* borrowed; empty: `hash` rules are refused */
    struct crypt_aead *aead;    /* borrowed; states are sealed with it as the spools are */
    unsigned state_table;       /* of the store */
    uint64_t ring_bytes;        /* of raw records kept behind the position; 0 = none */
    unsigned batch_entries;     /* 0 = 1024 */
    int64_t delay_us;           /* commits come at least so far apart; what comes alone does not wait */
    unsigned trail;             /* newest records of a stream that are remembered for the report; 0 = none */
};
/* A capture whose rule asks the device to sample faster: while it lasts, by the device's own clock. */
struct filter_capture {
    const char *device;      /* of this gateway */
    const struct rule *rule; /* faster or every_us is not 0 */
    uint64_t until_us;       /* lies behind the record that triggered */
    uint64_t id;             /* the same trigger has the same, also when a batch is made again; not 0 */
};
struct filter_handlers {
    struct store_batch *(*batch)(void *arg); /* the inbox's: trims of the ring go there */
    void (*on_durable)(void *arg); /* curated entries are durable */
    /* A capture has begun or goes on for longer; may be NULL. Not kept: the next trigger asks again. */
    void (*on_capture)(void *arg, const struct filter_capture *capture);
    void *arg;
};
struct filter_stats {
    uint64_t records, kept, shaped, dropped, captured, unreadable, commits, failed_commits;
    uint64_t absorbed; /* records with numbers that had been curated before */
    uint64_t bytes_in, bytes_out; /* of entries */
    uint64_t position[INBOX_LANES];
    size_t streams, state_bytes; /* in memory; bytes as they are stored */
};

/* raw, curated: borrowed, created. Reads the positions. ERR_DENIED: a hash rule without a key; ERR_IO, ERR_NOMEM. */
enum err filter_new(struct loop *loop, struct store *store, struct spool *const raw[INBOX_LANES],
                    struct spool *const curated[INBOX_LANES], const struct filter_options *options,
                    const struct filter_handlers *handlers, struct filter **ret_filter, struct fault *reterr) MUST_CHECK;
/* A commit may be under way: the store is closed before the loop runs again. Accepts NULL. */
void filter_free(struct filter *filter);
DEFINE_CLEANUP(struct filter, filter_free)
void filter_kick(struct filter *filter); /* the raw spools have more */
/* Nothing is appended while held; what is under way is still settled. */
void filter_hold(struct filter *filter, bool held);
/* Adds to the batch that the filter commits next (the uplink's trims and rebases of the curated spools, which the
 * filter settles). NULL: out of memory. Asks for a commit soon, also while held. Must be of the kind that the next
 * one makes good. */
struct store_batch *filter_batch(struct filter *filter);
bool filter_idle(const struct filter *filter); /* no commit is under way or asked for */
/* Everything durable in the raw spools has been curated, durably. */
bool filter_drained(const struct filter *filter);
/* New rules for what comes from now on. States are taken over as proto/curate says: open windows go up as partial.
 * ERR_AGAIN: while a commit is under way; ERR_DENIED, ERR_NOMEM: the old ones stay in force. */
enum err filter_set_rules(struct filter *filter, const struct rules *rules) MUST_CHECK;
/* NULL ends the shadow. */
enum err filter_set_shadow(struct filter *filter, const struct rules *rules) MUST_CHECK;
void filter_stats(const struct filter *filter, struct filter_stats *ret_stats);
/* {"version","rules":[{"name","do","seen","dropped",...}],"shadow":{...},"devices":[{...}]}; device NULL = the
 * rules only. The shadow has besides what the live rules made of the same records. report.c names every member. */
void filter_report_json(struct filter *filter, const char *device, struct buffer *out);

/* ---- questions: readings of one device from the ring, page by page ---- */
/* MASKED: as the rules give them to captures (drop, hash, bucket; convert as well). AS_IT_CAME: as the device wrote
 * them. */
enum filter_face { FILTER_MASKED, FILTER_AS_IT_CAME };
struct filter_question;
struct filter_reading {
    uint64_t epoch, number, received_us;
    struct slice describe; /* a Describe record that holds from this reading on; empty = the one before */
    struct slice record;   /* Curated{block}; borrowed until the next */
};
struct filter_page {
    uint64_t cursor;    /* where to go on; 0 = that was all */
    uint64_t left_out;  /* so far: records without a description, or of which the rules let nothing out */
    uint64_t ring_us;   /* when the oldest record of the ring was received; 0 = none seen */
    uint64_t oldest_us; /* oldest reading of this device that the ring still has; 0 = none seen */
    bool overtaken;     /* the ring was trimmed behind the cursor: readings are missing between two pages */
};
/* device: copied. The filter is borrowed; freed before or after it. ERR_NOMEM. */
enum err filter_question_new(struct filter *filter, const char *device, uint64_t from_us, uint64_t to_us,
                             enum filter_face face, struct filter_question **ret_question) MUST_CHECK;
void filter_question_free(struct filter_question *question);
DEFINE_CLEANUP(struct filter_question, filter_question_free)
/* Looks at `limit` entries from cursor (0 = the oldest) at most; fn returns false when it has enough for now.
 * ERR_CONFLICT: other rules are in force since (ask anew), ERR_IO, ERR_NOMEM. */
enum err filter_question_page(struct filter_question *question, uint64_t cursor, unsigned limit,
                              bool (*fn)(void *arg, const struct filter_reading *reading), void *arg,
                              struct filter_page *ret_page) MUST_CHECK;

/* ---- notes: events that the gateway itself tells ---- */
/* On the ordered path, in the alarm lane, as a record of the gateway's own stream; repeated until a commit has
 * taken it. id, text: copied, at most 31 and 399 bytes. ERR_FULL: 64 wait already. */
enum err filter_note(struct filter *filter, const char *id, const char *text, uint64_t *ret_note) MUST_CHECK;
bool filter_noted(const struct filter *filter, uint64_t note); /* it is durable */

#endif
