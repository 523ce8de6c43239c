/* SPDX-License-Identifier: Apache-2.0 */
/*
 * curate - rules applied to the records of one stream, in order. No I/O, no clock: event time is in the records.
 *
 *   Describe  -> remembered; where rules change what channels are (units, steps, dropped fields) it is rewritten, as a
 *                set of its own
 *   Block     -> channel by channel through the chain of the rules that match it, in the file's order
 *                  -> unchanged, no window closed:  KEPT, the bytes as they came
 *                  -> no value and no window left:  DROPPED by the rule that took most
 *                  -> else:                         SHAPED: Curated{values left, windows closed}
 *   Curated   -> (from a gateway below) its block as above; its windows pass, or a `merge` rule takes them; a
 *                description in it is learnt as a Describe is
 *   Event     -> of a channel under drop, hash or bucket: loses text and value
 *   Gap       -> KEPT; windows that are open across it are partial
 *   others    -> KEPT
 *
 * Values. A rule passes a value, drops it, or holds it back and lets an earlier one go (the corner of a swinging
 * door, the result of a downsample): that becomes a row with its own time in front of the record's rows. All values
 * are whole multiples of the channel's resolution.
 * Privacy before everything: a channel under `drop` passes no other rule; windows and spectra of a channel under
 * `hash` or `bucket` see what leaves the plant, wherever they stand in the file; a block that no Describe explains is
 * dropped when such a rule could be for its device.
 *
 * Exactly once: the state of a stream is bytes that the caller stores in the same transaction as the outcome; after a
 * crash it gives them back and hands in the record that came next. Same state, same record, same rules: same outcome,
 * bit for bit, also when the state went through bytes in between.
 * New rules: a state of other rules is taken over: what is described stays, open windows are closed as partial and go
 * with the next block, and so does the last value that a door or a downsample had held back. A description that the
 * new rules rewrite otherwise, or no longer, goes up at once: in the next block's record (Curated.describe), which is
 * SHAPED then, also when nothing else is left of it. Which description went up last is part of the state.
 *
 * A fresh stream knows no Describe: give it the device's last one (the outcome is not needed) where there is one at
 * hand.
 */
#ifndef PROTO_CURATE_CURATE_H
#define PROTO_CURATE_CURATE_H

#include "core/base/base.h"
#include "core/base/buffer.h"
#include "proto/rules/rules.h"
#include "proto/wire/wire.h"

struct curate;        /* rules made ready, and scratch memory for one record: one per thread, about 3 MiB */
struct curate_stream; /* state of one (device, epoch) */

struct curate_options {
    struct slice pseudonym_key; /* copied; of `hash` rules; empty: such rules are refused with ERR_DENIED */
    size_t stream_bytes; /* bound of one stream's windows and buffers; 0 = 256 KiB. Above it sketches go first, then
                          * the oldest windows close early, as partial; counted in curate_rule_stats.cut */
};
/* rules: borrowed for the life of the curate. ERR_DENIED, ERR_NOMEM. */
enum err curate_new(const struct rules *rules, const struct curate_options *options,
                    struct curate **ret_curate) MUST_CHECK;
void curate_free(struct curate *curate);
DEFINE_CLEANUP(struct curate, curate_free)

/* state empty: a stream never seen. ERR_MALFORMED: does not parse; ERR_NOMEM. Used with this curate only. */
enum err curate_stream_new(struct curate *curate, const char *device, struct slice state,
                           struct curate_stream **ret_stream) MUST_CHECK;
void curate_stream_free(struct curate_stream *stream);
DEFINE_CLEANUP(struct curate_stream, curate_stream_free)
/* Appends the state. ERR_FULL (out), ERR_NOMEM. */
enum err curate_stream_encode(const struct curate_stream *stream, struct buffer *out) MUST_CHECK;

enum curate_outcome { CURATE_KEPT, CURATE_SHAPED, CURATE_DROPPED };
/* Raw rows that a capture rule wants from one stream: from_us <= wall clock < to_us; to_us may lie ahead. Ranges of a
 * rule do not overlap, whichever channels' triggers asked for them, but where a clock was set: a trigger that prolongs
 * gives only what is new. */
struct curate_capture {
    const struct rule *rule;
    uint64_t from_us, to_us;
};
enum { CURATE_CAPTURES_MAX = 64 }; /* of one record; beyond, ranges of a rule are joined */
struct curate_result {
    enum curate_outcome outcome;
    struct slice record;     /* SHAPED: borrowed until the next call with this curate */
    const struct rule *rule; /* DROPPED: the rule that took most; SHAPED: likewise, NULL = only windows came along */
    const struct curate_capture *captures; /* borrowed likewise */
    size_t capture_count;
};
/* ERR_MALFORMED: the record does not unpack (the caller passes it on as it came). ERR_NOMEM: the stream is not as it
 * was: free it and go back to its stored state. */
enum err curate_record(struct curate *curate, struct curate_stream *stream, struct slice record,
                       struct curate_result *ret_result) MUST_CHECK;

/* Values that the rule took out of the record that was handed in last; below 0: it let go more than it took (the corner of
 * a door, the result of a downsample). */
int64_t curate_taken(const struct curate *curate, size_t rule);
/* Values that came out with it because rules that are no longer in force had held them back. */
uint64_t curate_released(const struct curate *curate);
const struct rules *curate_rules(const struct curate *curate);

/* For captures: the rows of a raw Block (or Curated) record of the stream as Curated{capture: rule's name, block},
 * values as they came but for drop, convert, hash and bucket. Changes no state. ERR_MALFORMED: nothing of it may go
 * up (no block, or none that the stream's Describe explains); ERR_NOMEM. *ret_record: borrowed until the next call
 * with this curate. */
enum err curate_capture_record(struct curate *curate, const struct curate_stream *stream, const struct rule *rule,
                               struct slice record, struct slice *ret_record) MUST_CHECK;
/* Wall clock of the first and the last row of a record with a block; false for others. Any thread. */
bool curate_record_times(struct slice record, uint64_t *ret_from_us, uint64_t *ret_to_us);
/* The stream's Describe record as it goes up, for a stream of captures. ERR_NOT_FOUND: none yet; ERR_NOMEM. */
enum err curate_describe(struct curate *curate, const struct curate_stream *stream,
                         struct slice *ret_record) MUST_CHECK;

/* Counted since curate_new, over all streams. Values that a door holds back count as dropped until they go. */
struct curate_rule_stats {
    uint64_t seen, dropped, changed; /* values (merge: windows) */
    uint64_t windows;                /* closed */
    uint64_t captures;               /* triggers: values beyond */
    uint64_t late;                   /* values too late for every window */
    uint64_t flagged;                /* range: kept though outside */
    uint64_t cut;                    /* sketches, windows and values that a bound took, windows that are no numbers */
};
void curate_stats(const struct curate *curate, size_t rule, struct curate_rule_stats *ret_stats);

#endif
