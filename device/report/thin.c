/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules on the device: what they leave of a block, and the account of what they took.
 *
 *   closed block --curate--> kept as it came | Curated{rules, what is left} | nothing: no record, no number
 *                      '---> counts per rule --(declare_us, flush, other rules)--> event "readings-suppressed"
 *
 * Suppressed ranges name numbers, and what goes before it has a number has none: so readings are counted, each by the
 * rule that took it. A value that a rule holds back (swinging-door, downsample) counts as taken until it goes; what
 * goes after it was declared is set off against what is taken next, also by other rules. Counts are of this start:
 * those that a crash takes are at most declare_us old.
 *
 * The description goes through the rules as well (drop and bucket change channels), and its configuration's hash
 * covers their version: so a block that they left as it was names them by its set.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "core/log/log.h"
#include "device/report/report_internal.h"
#include "proto/block/block.h"

enum { DESCRIBE_ROOM = 8 * 1024, STATE_ROOM = 64 * 1024, CURATED_OVERHEAD = 64 };
#define DECLARE_RETRY_US SECOND_US

size_t report_record_max(const struct report *r)
{
    size_t channels = r->options.channel_count, samples = r->options.samples_per_record;
    if (r->thin == NULL) {
        return builder_record_max(channels, samples);
    }
    /* Each rule may let go a value that it held back, at a time of its own. */
    size_t rows = samples + channels * r->thin->rule_count;
    rows = rows < BLOCK_SAMPLES_MAX ? rows : BLOCK_SAMPLES_MAX;
    size_t most = builder_record_max(channels, rows) + CURATED_OVERHEAD;
    return most < WIRE_RECORD_MAX ? most : WIRE_RECORD_MAX;
}

/* ---- streams ---- */

static void thin_free(struct thin *thin)
{
    if (thin != NULL) {
        loop_timer_cancel(&thin->declare_timer);
        curate_stream_free(thin->stream);
        free(thin);
    }
}
DEFINE_CLEANUP(struct thin, thin_free)

/* A stream that knows the description. state: of the rules before; empty = none. describe receives the description as
 * it goes out. */
static enum err stream_begin(struct report *r, struct thin *thin, struct slice state, uint32_t *ret_set,
                             struct buffer *describe)
{
    CLEANUP(curate_stream_freep) struct curate_stream *stream = NULL;
    struct curate_result result;
    buffer_reset(describe);
    TRY(report_describe_pack(r, thin->version, ret_set, describe));
    TRY(curate_stream_new(thin->curate, r->device, state, &stream));
    TRY(curate_record(thin->curate, stream, buffer_slice(describe), &result));
    if (result.outcome == CURATE_SHAPED) {
        buffer_reset(describe);
        buffer_put_slice(describe, result.record);
        TRY(buffer_err(describe));
    }
    thin->stream = take(stream);
    return OK;
}

static void declare_due(void *arg)
{
    report_thin_declare(arg);
}

static enum err thin_new(struct report *r, struct curate *curate, struct thin **ret_thin)
{
    size_t count = rules_count(curate_rules(curate));
    struct thin *thin = calloc(1, sizeof *thin + count * sizeof thin->counts[0]);
    if (thin == NULL) {
        return ERR_NOMEM;
    }
    loop_timer_init(&thin->declare_timer, r->loop, declare_due, r);
    thin->curate = curate;
    thin->version = rules_version(curate_rules(curate));
    thin->rule_count = count;
    *ret_thin = thin;
    return OK;
}

enum err report_thin_init(struct report *r)
{
    if (r->options.curate == NULL) {
        return report_describe_pack(r, 0, &r->compose.set, &r->describe);
    }
    TRY(thin_new(r, r->options.curate, &r->thin));
    return stream_begin(r, r->thin, (struct slice){0}, &r->compose.set, &r->describe);
}

void report_thin_deinit(struct report *r)
{
    thin_free(r->thin);
    r->thin = NULL;
}

/* ---- records ---- */

static void count(struct report *r, struct thin *thin)
{
    bool any = false;
    r->thin_owed += (int64_t)curate_released(thin->curate);
    for (size_t i = 0; i < thin->rule_count; i++) {
        int64_t taken = curate_taken(thin->curate, i);
        struct thin_count *c = &thin->counts[i];
        c->waiting += taken;
        c->taken += (uint64_t)taken; /* wraps back when values are let go: never below what was counted in */
        r->stats.thinned += (uint64_t)taken;
        any |= c->waiting > 0;
    }
    if (any && !loop_timer_pending(&thin->declare_timer)) {
        loop_timer_in(&thin->declare_timer, r->options.declare_us);
    }
}

enum err report_thin_record(struct report *r, struct slice *body, bool *ret_left)
{
    struct thin *thin = r->thin;
    struct curate_result result;
    if (thin->stream == NULL) {
        BUFFER(describe, DESCRIBE_ROOM);
        uint32_t set;
        TRY(stream_begin(r, thin, (struct slice){0}, &set, &describe));
    }
    enum err err = curate_record(thin->curate, thin->stream, *body, &result);
    if (err != OK) {
        curate_stream_free(take(thin->stream));
        return err;
    }
    count(r, thin);
    *ret_left = result.outcome != CURATE_DROPPED;
    *body = result.outcome == CURATE_SHAPED ? result.record : *body;
    return OK;
}

/* ---- the account ---- */

bool report_thin_waiting(const struct report *r)
{
    for (size_t i = 0; r->thin != NULL && i < r->thin->rule_count; i++) {
        if (r->thin->counts[i].waiting > 0) {
            return true;
        }
    }
    return false;
}

const struct rules *report_rules(const struct report *r)
{
    return r->thin != NULL ? curate_rules(r->thin->curate) : NULL;
}

uint64_t report_thinned(const struct report *r, size_t rule)
{
    return r->thin != NULL && rule < r->thin->rule_count ? r->thin->counts[rule].taken : 0;
}

/* What went although rules before had declared it comes off what these took. */
static void set_off(struct report *r, struct thin_count *c)
{
    int64_t by = max_i64(min_i64(r->thin_owed, c->waiting), 0);
    c->waiting -= by;
    r->thin_owed -= by;
}

void report_thin_declare(struct report *r)
{
    struct thin *thin = r->thin;
    if (thin == NULL || !report_thin_waiting(r)) {
        return;
    }
    report_close_block(r); /* what it takes is declared along with the rest */
    for (size_t i = 0; i < thin->rule_count; i++) {
        struct thin_count *c = &thin->counts[i];
        char text[WIRE_NAME_MAX + 120];
        set_off(r, c);
        if (c->waiting <= 0) {
            continue;
        }
        snprintf(text, sizeof text, "rule=%s readings=%" PRId64 " rules=%016" PRIx64,
                 rules_at(curate_rules(thin->curate), i)->name, c->waiting, thin->version);
        if (report_event(r, REPORT_INFO, "readings-suppressed", text, NULL, (double)c->waiting) != OK) {
            loop_timer_in(&thin->declare_timer, DECLARE_RETRY_US);
            return;
        }
        c->waiting = 0;
    }
    loop_timer_cancel(&thin->declare_timer);
}

/* ---- other rules ---- */

static enum err others_begin(struct report *r, struct curate *curate, struct thin **ret_thin, uint32_t *ret_set,
                             struct buffer *describe)
{
    if (curate == NULL) {
        *ret_thin = NULL;
        return report_describe_pack(r, 0, ret_set, describe);
    }
    CLEANUP(thin_freep) struct thin *thin = NULL;
    BUFFER(state, STATE_ROOM);
    TRY(thin_new(r, curate, &thin));
    if (r->thin != NULL && r->thin->stream != NULL && curate_stream_encode(r->thin->stream, &state) != OK) {
        buffer_reset(&state); /* it begins anew */
    }
    TRY(stream_begin(r, thin, buffer_slice(&state), ret_set, describe));
    *ret_thin = take(thin);
    return OK;
}

enum err report_set_curate(struct report *r, struct curate *curate)
{
    struct thin *thin = NULL;
    uint32_t set;
    BUFFER(describe, DESCRIBE_ROOM);
    report_close_block(r);
    report_thin_declare(r);
    if (report_thin_waiting(r)) {
        return ERR_AGAIN;
    }
    TRY(others_begin(r, curate, &thin, &set, &describe));
    buffer_reset(&r->describe);
    buffer_put_slice(&r->describe, buffer_slice(&describe));
    if (buffer_err(&r->describe) != OK) { /* it has room for any description */
        thin_free(thin);
        return ERR_NOMEM;
    }
    for (size_t i = 0; r->thin != NULL && i < r->thin->rule_count; i++) {
        r->thin_owed -= min_i64(r->thin->counts[i].waiting, 0);
    }
    thin_free(r->thin);
    r->thin = thin;
    r->options.curate = curate;
    r->compose.set = set;
    report_rules_changed(r);
    for (uint8_t lane = 0; lane < LANE_COUNT; lane++) {
        compose_describe_soon(&r->compose, lane);
    }
    return OK;
}
