/* SPDX-License-Identifier: Apache-2.0 */
/* agent_internal - the agent's state; agent.c runs it, fast.c obeys commands, thought.c infers, status.c describes it. */
#ifndef DEVICE_AGENT_AGENT_INTERNAL_H
#define DEVICE_AGENT_AGENT_INTERNAL_H

#include "device/agent/agent.h"

struct fast;
struct json;
struct thought;

struct agent {
    struct loop *loop; /* borrowed, as the next three */
    struct bus *bus;
    struct store *store;
    struct sense *sense;
    struct report *report; /* owned */
    struct agent_options options;
    char site[ID_MAX + 1], device[ID_MAX + 1];
    char *start_id, *start_text; /* owned; NULL when told */
    int64_t started_us;

    struct loop_timer sample_timer, health_timer;
    struct fast *fast;  /* owned; NULL = commands are ignored */
    struct thought *thought; /* owned; NULL = no model */
    int64_t period_us;  /* in force: options.period_us, or a faster one for a while */
    int64_t next_us; /* when the next sample is due */
    int64_t due_us;  /* when the one being taken was; 0 = none is */
    bool stopped;

    size_t limit_channel; /* index; SIZE_MAX = no limit */
    double above, below;
    bool beyond;       /* the last value was outside */
    bool limit_untold; /* its event found no room yet */
    double limit_value;

    double values[SENSE_CHANNELS_MAX];
    struct agent_stats stats;
};

enum { AGENT_LATE_PERIODS = 10 };
/* When the sample after the one that was due at due_us is due. *ret_missed: how many are left out, because more than
 * AGENT_LATE_PERIODS have gone by; the one in hand is taken. */
int64_t agent_next_due(int64_t due_us, int64_t now_us, int64_t period_us, uint64_t *ret_missed);

/* In force from the next sample on, in step with the last one. */
void agent_pace(struct agent *a, int64_t period_us);

/* ---- fast.c ---- */
/* Begins to hear commands where bounds are set and nobody has listened yet; else counts the credit by the bounds in
 * force. */
enum err fast_listen(struct agent *a) MUST_CHECK;
void fast_free(struct agent *a);
/* Back to the usual period, now; later commands are heard. */
void fast_end(struct agent *a);
void fast_stats(const struct agent *a, struct agent_command_stats *ret_stats);
bool fast_running(const struct agent *a);

/* ---- thought.c: between device/infer, report and bus ---- */
/* Loads options.infer, if there is any; report.model is its id then. Before the report is there. */
enum err thought_load(struct agent *a, struct fault *reterr) MUST_CHECK;
/* Listens for answers, if any are to come. The report is there. */
enum err thought_listen(struct agent *a) MUST_CHECK;
void thought_free(struct agent *a);
/* The report has taken the values. */
void thought_sample(struct agent *a);
void thought_end(struct agent *a);
/* A sentence for each budget of infer that was spent within the last hour. */
void thought_why(const struct agent *a, struct json *j);

#endif
