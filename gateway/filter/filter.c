/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One batch: read raw entries behind the positions, lane 0 first; curate each; write what came of it, the states of
 * the streams touched and the positions in one transaction. Nothing in memory counts as done before the commit has:
 * after a failure the streams of the batch, the counts and the positions are those of the store again.
 *
 * Full store. The ring gives way first: above RING_PCT of the cap it shrinks, to nothing if need be. While the cap is
 * reached, batches are small, trims of the uplink go alone, and what a batch has curated leaves the raw lanes in
 * the same transaction, so that it takes no more room than it frees.
 */
#include "gateway/filter/filter.h"

#include <stdio.h>

#include "core/log/log.h"
#include "gateway/filter/filter_internal.h"
#include "proto/receive/receive.h"

enum { BATCH_ENTRIES = 1024, RETRY_US = 500000, ALARM_SHARE = 16, RING_PCT = 75, RING_SLACK = 64 * 1024 };
/* What is in memory of streams: those used last. */
enum { STREAMS_MAX = 20000, STATE_BYTES_MAX = 64 * 1024 * 1024, VALUE_MAX = 1024 * 1024 };

/* ---- writing ---- */
enum err filter_append(struct filter *f, uint8_t lane, const struct wire_forward *forward)
{
    uint64_t first;
    buffer_reset(&f->forward);
    TRY(wire_forward_encode(forward, &f->forward));
    TRY(spool_append(f->curated[lane], f->batch, forward->last - forward->first + 1, buffer_slice(&f->forward),
                     &first));
    f->stats.bytes_out += f->forward.len;
    return OK;
}

/* Writes the range that a rule took. */
static enum err flush_taken(struct filter *f, struct filter_stream *s)
{
    if (s->rule == NULL) {
        return OK;
    }
    Weir__V1__Suppressed range = WEIR__V1__SUPPRESSED__INIT;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    char name[WIRE_NAME_MAX + 1];
    snprintf(name, sizeof(name), "%s", s->rule->name);
    range.from = s->taken.first;
    range.to = s->taken.last;
    range.rule = name;
    range.rule_version = rules_version(f->options.rules);
    record.schema = WIRE_SCHEMA;
    record.span = range.to > range.from ? range.to - range.from + 1 : 0;
    record.kind_case = WEIR__V1__RECORD__KIND_SUPPRESSED;
    record.suppressed = &range;
    buffer_reset(&f->record);
    TRY(wire_record_pack(&record, &f->record));
    s->taken.record = buffer_slice(&f->record);
    s->rule = NULL;
    return filter_append(f, s->taken_lane, &s->taken);
}

static enum err add_taken(struct filter *f, struct filter_stream *s, const struct wire_forward *forward,
                          const struct rule *rule)
{
    if (s->rule == rule && s->taken_lane == f->lane && forward->first == s->taken.last + 1) {
        s->taken.last = forward->last;
        s->taken.top = forward->top;
        return OK;
    }
    TRY(flush_taken(f, s));
    s->rule = rule;
    s->taken = *forward;
    s->taken_lane = f->lane;
    return OK;
}

static void touch(struct filter *f, struct filter_stream *s)
{
    if (!s->touched) {
        s->touched = true;
        s->before = s->counts;
        s->next_touched = f->touched;
        f->touched = s;
    }
}

/* ---- one record ---- */
static enum err stream_of(struct filter *f, const struct wire_forward *forward, struct filter_stream **ret_stream)
{
    struct filter_key key = {.epoch = forward->epoch};
    memcpy(key.device, forward->device, strnlen(forward->device, ID_MAX));
    struct filter_stream *s = NULL;
    HASH_FIND(hh, f->streams, &key, sizeof(key), s);
    if (s == NULL) {
        s = calloc(1, sizeof(*s));
        if (s == NULL) {
            return ERR_NOMEM;
        }
        s->key = key;
        HASH_ADD(hh, f->streams, key, sizeof(key), s);
    } else {
        DL_DELETE(f->used, s);
    }
    DL_APPEND(f->used, s);
    if (s->state == NULL) {
        TRY(filter_stream_load(f, s));
    }
    *ret_stream = s;
    return OK;
}

static void free_stream(struct filter *f, struct filter_stream *s)
{
    HASH_DEL(f->streams, s);
    DL_DELETE(f->used, s);
    filter_stream_unload(f, s);
    curate_stream_free(s->shadow);
    filter_trail_free(f, s);
    free(s);
}

static enum err outcome(struct filter *f, struct filter_stream *s, struct wire_forward *forward,
                        const struct curate_result *result)
{
    switch (result->outcome) {
    case CURATE_DROPPED:
        s->counts.dropped++;
        f->stats.dropped++;
        return add_taken(f, s, forward, result->rule);
    case CURATE_SHAPED:
        s->counts.shaped++;
        f->stats.shaped++;
        forward->record = result->record;
        break;
    case CURATE_KEPT:
        s->counts.kept++;
        f->stats.kept++;
        break;
    }
    struct slice record = forward->record;
    TRY(flush_taken(f, s)); /* uses f->record, which the result does not live in */
    forward->record = record;
    return filter_append(f, f->lane, forward);
}

static enum err curate_forward(struct filter *f, struct wire_forward *forward, uint64_t position)
{
    struct filter_stream *s = NULL;
    struct curate_result result = {.outcome = CURATE_KEPT};
    TRY(stream_of(f, forward, &s));
    if (forward->last <= s->reached) { /* from a store below that was set back, or our position was lost */
        f->stats.absorbed++;
        return OK;
    }
    filter_shadow_record(f, s, forward, position);
    touch(f, s);
    struct wire_forward raw = *forward;
    enum err err = curate_record(f->curate, s->state, forward->record, &result);
    if (err == ERR_MALFORMED) { /* a later schema, or damage: it goes up as it is */
        f->stats.unreadable++;
        result = (struct curate_result){.outcome = CURATE_KEPT};
        err = OK;
    }
    TRY(err);
    filter_seen(f, s, forward, position, &result);
    s->reached = forward->last;
    s->counts.records++;
    TRY(outcome(f, s, forward, &result));
    return f->lane == 0 ? OK : filter_capture_note(f, s, &raw, position, &result);
}

/* An entry that the disk has damaged: what it was is not known, so the hop declares it by its own numbers. */
static enum err declare_damaged(struct filter *f, const struct spool_entry *entry)
{
    uint64_t first;
    buffer_reset(&f->forward);
    TRY(receive_hop_gap(f->gateway, spool_epoch(f->raw[f->lane]), f->lane, entry->first, entry->last,
                        WEIR__V1__GAP_REASON__DAMAGED, (uint64_t)loop_wall_us(f->loop), &f->forward));
    return spool_append(f->curated[f->lane], f->batch, entry->last - entry->first + 1, buffer_slice(&f->forward),
                        &first);
}

static bool on_entry(void *arg, const struct spool_entry *entry)
{
    struct filter *f = arg;
    struct wire_forward forward;
    f->stats.records++;
    f->stats.bytes_in += entry->body.len;
    enum err err = entry->damaged ? ERR_MALFORMED : wire_forward_decode(entry->body, &forward);
    if (err != OK) {
        err = declare_damaged(f, entry);
    } else if (receive_is_hop(&forward)) {
        err = filter_append(f, f->lane, &forward);
    } else {
        err = curate_forward(f, &forward, entry->last);
    }
    if (err != OK) {
        f->failure = err;
        return false;
    }
    f->reached[f->lane] = entry->last;
    return ++f->entries < f->limit;
}

/* ---- a batch ---- */
static unsigned most_entries(const struct filter *f)
{
    return f->options.batch_entries ? f->options.batch_entries : BATCH_ENTRIES;
}

static void begin_counting(struct filter *f)
{
    f->before = f->stats;
    for (size_t i = 0; i < rules_count(f->options.rules); i++) {
        curate_stats(f->curate, i, &f->rule_before[i]);
    }
}

/* The batch's counts are taken back; curate's own go on, so what they have too much is remembered. */
static void uncount(struct filter *f)
{
    uint64_t failed_commits = f->stats.failed_commits;
    f->stats = f->before;
    f->stats.failed_commits = failed_commits;
    for (size_t i = 0; i < rules_count(f->options.rules); i++) {
        struct curate_rule_stats now;
        const struct curate_rule_stats *before = &f->rule_before[i];
        struct curate_rule_stats *again = &f->rule_again[i];
        curate_stats(f->curate, i, &now);
        again->seen += now.seen - before->seen;
        again->dropped += now.dropped - before->dropped;
        again->changed += now.changed - before->changed;
        again->windows += now.windows - before->windows;
        again->captures += now.captures - before->captures;
        again->late += now.late - before->late;
        again->flagged += now.flagged - before->flagged;
        again->cut += now.cut - before->cut;
    }
}

/* The streams of a batch that is over. */
static void untouch(struct filter *f, enum err result)
{
    for (struct filter_stream *s = f->touched; s != NULL; s = s->next_touched) {
        s->touched = false;
        if (result != OK) {
            s->counts = s->before;
            filter_stream_unload(f, s);
        }
    }
    f->touched = NULL;
    f->copy_count = 0;
}

static void evict(struct filter *f)
{
    while (f->used != NULL && (HASH_COUNT(f->streams) > STREAMS_MAX || f->state_bytes > STATE_BYTES_MAX)) {
        free_stream(f, f->used);
    }
}

static bool has_more(const struct filter *f)
{
    return spool_durable(f->raw[0]) > f->position[0] || spool_durable(f->raw[1]) > f->position[1];
}

/* How many bytes of the ring have to go for the store's sake. */
static uint64_t crowding(const struct filter *f)
{
    struct store_usage usage;
    store_usage(f->store, &usage);
    uint64_t most = usage.cap_bytes / 100 * RING_PCT;
    return usage.cap_bytes > 0 && usage.used_bytes > most ? usage.used_bytes - most : 0;
}

/* The ring: what is behind the position and beyond its size goes, the oldest first. In the inbox's next batch,
 * since the raw spools are settled by the inbox; what a failed commit takes back goes with the next one. */
static void trim_ring(struct filter *f)
{
    uint64_t crowd = crowding(f);
    for (unsigned i = INBOX_LANES; i-- > 0;) { /* alarms last */
        uint64_t keep = i == 0 ? f->options.ring_bytes / ALARM_SHARE : f->options.ring_bytes, first, last;
        uint64_t bytes = spool_bytes(f->raw[i]);
        /* not every commit is followed by a trim */
        uint64_t slack = crowd > 0 ? 0 : keep > 0 ? min_u64(keep / 16, RING_SLACK) : RING_SLACK;
        keep = crowd > bytes ? 0 : min_u64(keep, bytes - crowd);
        if (bytes <= keep + slack || spool_trimmed(f->raw[i]) >= f->position[i]) {
            continue;
        }
        struct store_batch *batch = f->handlers.batch(f->handlers.arg);
        enum err err = batch == NULL ? ERR_NOMEM
                                     : spool_drop_oldest(f->raw[i], batch, bytes - keep, f->position[i], &first, &last);
        if (err != OK) {
            log_debug("the ring is trimmed later", KV_ERR(err));
        }
        crowd -= min_u64(crowd, bytes - min_u64(bytes, spool_bytes(f->raw[i])));
    }
}

static void failed(struct filter *f, enum err err)
{
    f->stats.failed_commits++;
    log_warn("curated records cannot be stored, will try again", KV_ERR(err));
    untouch(f, err);
    uncount(f);
    memcpy(f->reached, f->position, sizeof(f->reached));
    if (err == ERR_FULL) {
        f->full = true;
        f->limit = f->limit > 1 ? (f->limit + 3) / 4 : most_entries(f); /* many may need less room than one */
    }
    filter_notes_settle(f, err);
    f->failing = true;
    loop_timer_in(&f->timer, RETRY_US);
}

static void on_committed(void *arg, enum err result)
{
    struct filter *f = arg;
    f->committing = false;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        spool_settle(f->curated[i], f->settle[i], result);
        if (f->gives_way) { /* a failure is the inbox's as well (core/store) */
            spool_settle(f->raw[i], 0, result);
        }
    }
    f->gives_way = false;
    if (result != OK) {
        failed(f, result);
        return;
    }
    untouch(f, OK);
    evict(f);
    filter_notes_settle(f, OK);
    memcpy(f->position, f->reached, sizeof(f->position));
    if (f->full && f->entries > 0) {
        f->full = f->limit < most_entries(f);
        f->limit = (unsigned)min_u64(2 * (uint64_t)f->limit, most_entries(f));
    }
    f->stats.commits++;
    f->committed_us = loop_now_us(f->loop);
    trim_ring(f);
    f->handlers.on_durable(f->handlers.arg);
    filter_kick(f);
}

static enum err fill(struct filter *f)
{
    f->failure = OK;
    for (uint8_t lane = 0; lane < INBOX_LANES && f->entries < f->limit; lane++) {
        f->lane = lane;
        if (spool_durable(f->raw[lane]) > f->position[lane]) {
            TRY(spool_read(f->raw[lane], f->position[lane] + 1, on_entry, f));
            TRY(f->failure);
        }
    }
    TRY(filter_capture_copy(f));
    for (struct filter_stream *s = f->touched; s != NULL; s = s->next_touched) {
        TRY(flush_taken(f, s));
        TRY(filter_stream_save(f, s));
    }
    return filter_position_save(f);
}

/* Into a batch that was begun just now: its failure will be told by its done, to the inbox as well. */
static enum err give_way(struct filter *f)
{
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        uint64_t first, last;
        TRY(spool_drop_oldest(f->raw[i], f->batch, UINT64_MAX, f->reached[i], &first, &last));
    }
    f->gives_way = true;
    return OK;
}

/* What others put into the batch is not put at stake while the store is full. */
static enum err run_batch(struct filter *f)
{
    bool alone = f->batch != NULL && (f->full || crowding(f) > 0);
    bool curates = !alone && !f->held && has_more(f);
    f->entries = 0;
    memcpy(f->reached, f->position, sizeof(f->reached));
    begin_counting(f);
    if (f->batch == NULL) {
        TRY(store_batch_new(f->store, &f->batch));
    }
    enum err err = alone || f->held ? OK : filter_notes_append(f);
    err = err == OK && curates ? fill(f) : err;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        f->settle[i] = spool_next(f->curated[i]) - 1;
    }
    err = err == OK && curates && f->full ? give_way(f) : err;
    if (err == OK) {
        f->committing = true;
        err = store_commit(f->store, f->batch, on_committed, f);
    }
    if (err == OK) {
        f->batch = NULL;
        return OK;
    }
    f->committing = false;
    store_batch_free(take(f->batch));
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        spool_settle(f->curated[i], f->settle[i], err);
    }
    return err;
}

static bool notes_due(const struct filter *f)
{
    return f->note_count > 0 && !f->held;
}

/* An alarm does not wait for the bulk's delay. */
static void run(void *arg)
{
    struct filter *f = arg;
    bool more = has_more(f) && !f->held, alarm = more && spool_durable(f->raw[0]) > f->position[0];
    if (f->committing || (loop_timer_pending(&f->timer) && (f->failing || !alarm)) ||
        (!more && f->batch == NULL && !notes_due(f))) {
        return;
    }
    int64_t due_us = f->committed_us + f->options.delay_us;
    if (!alarm && f->committed_us != 0 && loop_now_us(f->loop) < due_us) {
        loop_timer_at(&f->timer, due_us);
        return;
    }
    loop_timer_cancel(&f->timer);
    f->failing = false;
    enum err err = run_batch(f);
    if (err != OK) {
        failed(f, err);
    }
}

static void on_timer(void *arg)
{
    struct filter *f = arg;
    f->failing = false;
    run(f);
}

/* ---- the public face ---- */
void filter_kick(struct filter *f)
{
    loop_task_post(&f->task);
}

void filter_hold(struct filter *f, bool held)
{
    f->held = held;
    if (!held) {
        filter_kick(f);
    }
}

struct store_batch *filter_batch(struct filter *f)
{
    if (f->batch == NULL && store_batch_new(f->store, &f->batch) != OK) {
        return NULL;
    }
    filter_kick(f);
    return f->batch;
}

bool filter_idle(const struct filter *f)
{
    return !f->committing && f->batch == NULL && !notes_due(f);
}

bool filter_drained(const struct filter *f)
{
    return filter_idle(f) && !has_more(f);
}

/* Whether any rule may ever ask: then places are kept. */
static bool may_capture(const struct rules *rules)
{
    for (size_t i = 0; i < rules_count(rules); i++) {
        if (rules_at(rules, i)->kind == RULE_CAPTURE) {
            return true;
        }
    }
    return false;
}

enum err filter_make_curate(const struct filter *f, const struct rules *rules, struct curate **ret_curate)
{
    struct curate_options options = {.pseudonym_key = f->options.pseudonym_key};
    return curate_new(rules, &options, ret_curate);
}

enum err filter_set_rules(struct filter *f, const struct rules *rules)
{
    struct curate *curate = NULL;
    if (f->committing) {
        return ERR_AGAIN; /* states would be read as they were before it */
    }
    TRY(filter_make_curate(f, rules, &curate));
    filter_questions_end(f);
    for (struct filter_stream *s = f->streams; s != NULL; s = s->hh.next) {
        filter_trail_free(f, s);
        filter_stream_unload(f, s); /* states are bound to their curate: they come from the store again */
    }
    curate_free(f->curate);
    f->curate = curate;
    f->options.rules = rules;
    f->may_capture = may_capture(rules);
    memset(f->rule_again, 0, sizeof(f->rule_again));
    filter_count_anew(f);
    return OK;
}

void filter_stats(const struct filter *f, struct filter_stats *ret_stats)
{
    *ret_stats = f->stats;
    ret_stats->streams = HASH_COUNT(f->streams);
    ret_stats->state_bytes = f->state_bytes;
    memcpy(ret_stats->position, f->position, sizeof(ret_stats->position));
}

enum err filter_new(struct loop *loop, struct store *store, struct spool *const raw[INBOX_LANES],
                    struct spool *const curated[INBOX_LANES], const struct filter_options *options,
                    const struct filter_handlers *handlers, struct filter **ret_filter, struct fault *reterr)
{
    CLEANUP(filter_freep) struct filter *f = calloc(1, sizeof(*f));
    if (f == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    f->loop = loop;
    f->store = store;
    memcpy(f->raw, raw, sizeof(f->raw));
    memcpy(f->curated, curated, sizeof(f->curated));
    f->options = *options;
    f->handlers = *handlers;
    snprintf(f->gateway, sizeof(f->gateway), "%s", options->gateway);
    buffer_init(&f->record, WIRE_RECORD_MAX);
    buffer_init(&f->forward, SPOOL_BODY_MAX);
    buffer_init(&f->state, VALUE_MAX - 1024);
    buffer_init(&f->value, VALUE_MAX);
    f->may_capture = may_capture(options->rules);
    f->limit = most_entries(f);
    loop_task_init(&f->task, loop, run, f);
    loop_timer_init(&f->timer, loop, on_timer, f);
    enum err err = filter_make_curate(f, options->rules, &f->curate);
    if (err == ERR_DENIED) {
        return fault_set(reterr, err, "a rule with do: hash needs the plant's key (rules.key)");
    }
    err = err == OK ? filter_position_load(f) : err;
    if (err != OK) {
        return fault_set(reterr, err, "the filter's position cannot be read: %s", err_name(err));
    }
    filter_count_anew(f);
    filter_kick(f);
    *ret_filter = take(f);
    return OK;
}

void filter_free(struct filter *f)
{
    if (f == NULL) {
        return;
    }
    loop_task_cancel(&f->task);
    loop_timer_cancel(&f->timer);
    filter_questions_end(f);
    struct filter_stream *s, *next;
    HASH_ITER(hh, f->streams, s, next)
    {
        free_stream(f, s);
    }
    curate_free(f->curate);
    curate_free(f->shadow);
    store_batch_free(f->batch);
    buffer_deinit(&f->record);
    buffer_deinit(&f->forward);
    buffer_deinit(&f->state);
    buffer_deinit(&f->value);
    free(f->copies);
    free(f);
}
