/* SPDX-License-Identifier: Apache-2.0 */
/* What the filter's files share. */
#ifndef GATEWAY_FILTER_FILTER_INTERNAL_H
#define GATEWAY_FILTER_FILTER_INTERNAL_H

#include <uthash.h>
#include <utlist.h>

#include "gateway/filter/filter.h"
#include "proto/curate/curate.h"

enum {
    FILTER_RECENT = 64,            /* records that a capture can reach back to */
    FILTER_NOTES = 64,             /* that wait for a commit */
    FILTER_STATE_MAX = 1024 * 1024 /* of a stream, encoded */
};

struct filter_key {
    char device[ID_MAX + 1 + 7]; /* zero-filled: hashed as bytes */
    uint64_t epoch;
};
/* Where a raw record of the stream stands, and the time that it spans. */
struct filter_place {
    uint64_t position, from_us, to_us;
};
/* What became of one record, or of several in a row that one rule took whole. */
struct filter_step {
    uint64_t first, last, received_us, until_us;
    uint32_t dropped, changed, windows, late; /* values; windows closed */
    uint16_t captures;                        /* triggers */
    int16_t rule;                             /* its index, -1 = none */
    uint8_t outcome, lane;
};
struct filter_trail { /* one allocation */
    struct curate_rule_stats *stats; /* [rules] */
    struct filter_step *places;      /* [options.trail], a ring */
    unsigned next, count;
    size_t bytes; /* of all of it */
};
/* The rule whose run of dropped records an uplink's entry would go on with. */
struct filter_taking {
    const struct rule *rule;
    uint64_t commit;
};
/* What rules left of the uplink's bytes since a moment. */
struct filter_tally {
    uint64_t since_us; /* wall clock */
    uint64_t records, kept, shaped, dropped, bytes_in, bytes_up;
    uint64_t whole[RULES_MAX]; /* records of which nothing went up, by the rule that took most */
};
/* An event of the gateway's own that waits for its commit. */
struct filter_waiting {
    uint64_t wall_us, mono_us;
    char id[32], text[400];
};

struct filter_stream {
    struct filter_key key;
    struct filter_trail *trail; /* owned; NULL = none */
    struct filter_taking taking, shadow_taking;
    struct curate_stream *state, *shadow; /* owned; state NULL: in the store only; shadow NULL = none yet */
    uint64_t reached;    /* highest number curated */
    size_t state_bytes;  /* as it was written or read last */
    /* numbers that one rule took, not written yet */
    const struct rule *rule;
    struct wire_forward taken; /* first..last; device, epoch, top; the time that the first was received */
    uint8_t taken_lane;
    /* captures */
    uint64_t capture_epoch, capture_next; /* 0 = none made yet */
    uint32_t capture_set; /* checksum of the description that went up with them; 0 = none */
    uint64_t capture_until_us;
    const struct rule *capture_rule;
    struct filter_place recent[FILTER_RECENT]; /* oldest first */
    unsigned recent_count;
    uint64_t asked; /* bit per place of recent: its rows have been asked for */
    struct filter_counts {
        uint64_t records, kept, shaped, dropped, captured;
    } counts, before; /* before: the batch in hand or under way */
    bool touched;
    struct filter_stream *next_touched;
    struct filter_stream *prev, *next; /* in the order of use, the oldest first */
    UT_hash_handle hh;
};
/* A capture asked for in the batch in hand: raw places to copy. */
struct filter_copy {
    struct filter_stream *stream;
    const struct rule *rule;
    uint64_t position;
};

struct filter {
    struct loop *loop;
    struct store *store;
    struct spool *raw[INBOX_LANES], *curated[INBOX_LANES];
    struct filter_options options;
    struct filter_handlers handlers;
    char gateway[ID_MAX + 1];
    struct curate *curate, *shadow;
    const struct rules *shadow_rules;
    bool may_capture; /* a rule captures: places are kept */
    struct filter_stream *streams, *used, *touched;
    size_t state_bytes; /* of the streams in memory */
    uint64_t position[INBOX_LANES]; /* in the store */
    uint64_t reached[INBOX_LANES];  /* of the batch in hand or under way */
    uint64_t settle[INBOX_LANES];   /* spool_next - 1 of the curated lanes when it was submitted */
    uint64_t shadowed[INBOX_LANES]; /* the shadow has seen so far */
    struct store_batch *batch;      /* in hand; owned */
    uint8_t lane;                   /* of the raw spool that is being read */
    unsigned entries;               /* of the batch in hand */
    unsigned limit;                 /* of entries at present: less while the store is full */
    bool full;                      /* the store was, when a batch failed */
    bool gives_way;                 /* the batch under way takes out of the raw lanes what it has curated */
    enum err failure;               /* of the batch in hand */
    struct filter_copy *copies;     /* owned */
    size_t copy_count, copy_cap;
    struct buffer record, forward, state, value;
    struct loop_task task;
    struct loop_timer timer;        /* delay, or retry after a failure */
    int64_t committed_us;
    bool committing, held, failing; /* failing: the timer waits for another attempt */
    struct filter_stats stats, before; /* before: the batch in hand or under way */
    struct curate_rule_stats rule_before[RULES_MAX], rule_again[RULES_MAX]; /* again: counted by batches that failed */
    /* what is shown */
    uint64_t seen[INBOX_LANES];                      /* so far */
    size_t trail_bytes;                              /* of all trails */
    struct curate_rule_stats counted[RULES_MAX];     /* after the last record */
    struct filter_tally live;                        /* since the rules are in force */
    struct filter_tally tried, beside;               /* the shadow's, and the live rules' on the same records */
    struct curate_rule_stats beside_from[RULES_MAX]; /* the live rules', when the shadow began */
    struct filter_question *questions;               /* open */
    /* notes */
    struct filter_waiting notes[FILTER_NOTES];
    unsigned note_count, notes_appended; /* waiting; of these in the batch in hand or under way */
    uint64_t notes_done;
};

/* ---- state.c ---- */
/* Sets the stream, whose key is filled in, to what is in the store; to a new one when there is nothing or it is damaged
 * (counted). Counts and the shadow's state stay. */
enum err filter_stream_load(struct filter *f, struct filter_stream *s) MUST_CHECK;
enum err filter_stream_save(struct filter *f, struct filter_stream *s) MUST_CHECK;
/* What is in memory of the state counts no more. */
void filter_stream_unload(struct filter *f, struct filter_stream *s);
enum err filter_position_load(struct filter *f) MUST_CHECK;
enum err filter_position_save(struct filter *f) MUST_CHECK;

/* ---- capture.c ---- */
/* Remembers where the record stands and what of it is asked for now or by an open capture. */
enum err filter_capture_note(struct filter *f, struct filter_stream *s, const struct wire_forward *forward,
                             uint64_t position, const struct curate_result *result) MUST_CHECK;
/* At the end of the batch: copies what was asked for. */
enum err filter_capture_copy(struct filter *f) MUST_CHECK;
/* Time that a Block spans; false for other kinds. */
bool filter_record_times(struct slice record, uint64_t *ret_from_us, uint64_t *ret_to_us);

/* ---- trail.c ---- */
/* After curate_record with the live rules: what is shown of it. Once per record, however often its batch fails. */
void filter_seen(struct filter *f, struct filter_stream *s, const struct wire_forward *forward, uint64_t position,
                 const struct curate_result *result);
void filter_trail_free(struct filter *f, struct filter_stream *s);
void filter_counts_add(struct curate_rule_stats *to, const struct curate_rule_stats *d);
struct curate_rule_stats filter_counts_less(const struct curate_rule_stats *a, const struct curate_rule_stats *b);
/* Other rules are in force. */
void filter_count_anew(struct filter *f);

/* ---- shadow.c ---- */
/* Before the live rules see the record. Once per record likewise. */
void filter_shadow_record(struct filter *f, struct filter_stream *s, const struct wire_forward *forward,
                          uint64_t position);
void filter_tally_begin(struct filter *f, struct filter_tally *tally);
void filter_tally_live(struct filter *f, struct filter_stream *s, const struct wire_forward *forward,
                       const struct curate_result *result);
enum err filter_make_curate(const struct filter *f, const struct rules *rules, struct curate **ret_curate) MUST_CHECK;

/* ---- notes.c ---- */
enum err filter_notes_append(struct filter *f) MUST_CHECK; /* to the batch in hand */
void filter_notes_settle(struct filter *f, enum err result);

/* ---- question.c ---- */
/* The rules that questions are answered by are not in force any more. */
void filter_questions_end(struct filter *f);

/* Appends one entry to a curated lane. */
enum err filter_append(struct filter *f, uint8_t lane, const struct wire_forward *forward) MUST_CHECK;

#endif
