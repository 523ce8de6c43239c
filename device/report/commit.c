/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queue -> spools. One batch is under way at most; what is queued meanwhile goes into the next one (group commit).
 *
 *   START   lanes that do not exist are created, the start is counted -> report_started
 *   APPEND  trims of the outboxes, room in a full lane, the queued records. Trims alone wait for a while: a device
 *           that flushes its flash once a record need not do it again for every acknowledgement
 *   REBASE  a lane begins a new epoch; alone, so that no number is given while numbers change
 *
 * A failed batch has done nothing: the spools take their numbers back, the queue keeps the records, and the same
 * records get the same numbers in the next attempt, after a pause that doubles.
 *
 * A full lane: the oldest records go and one gap takes their place, in the batch that needed the room. A good part of
 * the lane goes at a time, so that gaps are few; a gap that is dropped again joins the new one. The store itself may be
 * full before the lane is: the same happens then.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "core/log/log.h"
#include "device/report/report_internal.h"

/* Key, seal, nonce and head of an entry, rounded up (core/spool). */
enum { ENTRY_OVERHEAD = 128, BATCH_RECORDS = 512, BATCH_BYTES = 512 * 1024, BULK_STORE_PCT = 92 };
enum { BOOT_VERSION = 1, BOOT_BYTES = 9 };

static void commit_append(struct report *r);
static void commit_done(void *arg, enum err result);

uint64_t lane_next(const struct lane *lane)
{
    const struct queue *q = &lane->report->queue;
    return spool_next(lane->spool) + q->count[lane->id] - q->marked[lane->id];
}

void report_commit_soon(struct report *r)
{
    loop_task_post(&r->commit_task);
}

void report_commit_trims(void *arg)
{
    struct report *r = arg;
    if (!r->commit_under_way && r->next_batch != NULL && queue_empty(&r->queue) &&
        !loop_timer_pending(&r->retry_timer)) {
        commit_append(r);
    }
}

void report_commit_retry(void *arg)
{
    struct report *r = arg;
    if (r->ready) {
        report_commit_run(r);
    } else if (report_commit_start(r) != OK) {
        loop_timer_in(&r->retry_timer, RETRY_MAX_US);
    }
}

/* What the spools took over for a batch that did not come about. */
static void take_back(struct report *r, enum err result)
{
    queue_rewind(&r->queue);
    for (unsigned i = 0; i < LANE_COUNT; i++) {
        r->lanes[i].dropping = false;
        spool_settle(r->lanes[i].spool, spool_durable(r->lanes[i].spool), result);
    }
}

/* Submits; on failure everything is as before, and the retry timer runs. */
static void submit(struct report *r, struct store_batch *batch, enum err built)
{
    r->batch_bytes = batch != NULL ? store_batch_bytes(batch) : 0;
    enum err err = built == OK ? store_commit(r->store, batch, commit_done, r) : built;
    if (err == OK) {
        r->commit_under_way = true;
        return;
    }
    store_batch_free(batch);
    take_back(r, err);
    commit_done(r, err);
}

static const char *lane_name(const struct lane *lane)
{
    return lane->id == LANE_ALARM ? "alarm" : "bulk";
}

/* ---- start ---- */

static enum err boot_put(struct report *r, struct store_batch *batch)
{
    uint8_t value[BOOT_BYTES] = {BOOT_VERSION};
    memcpy(value + 1, &r->boot_seq, sizeof r->boot_seq);
    return store_put(batch, REPORT_TABLE_META, slice_str("boot"), slice_of(value, sizeof value));
}

static enum err start_fill(struct report *r, struct store_batch *batch)
{
    for (unsigned i = 0; i < LANE_COUNT; i++) {
        if (spool_epoch(r->lanes[i].spool) == 0) {
            TRY(spool_create(r->lanes[i].spool, batch));
        }
    }
    return boot_put(r, batch);
}

enum err report_commit_start(struct report *r)
{
    struct store_batch *batch = NULL;
    TRY(store_batch_new(r->store, &batch));
    r->commit_kind = COMMIT_START;
    submit(r, batch, start_fill(r, batch));
    return OK;
}

/* ---- room ---- */

static void count_gap(struct lane *lane, uint64_t first, uint64_t last)
{
    struct report_stats *stats = &lane->report->stats;
    bool merges = lane->gap_last != 0 && first <= lane->gap_last;
    uint64_t numbers = last - (merges ? lane->gap_last : first - 1);
    stats->gaps += !merges;
    stats->gap_numbers += numbers;
    lane->gap_numbers += numbers;
    lane->gap_first = merges ? lane->gap_first : first;
    lane->gap_last = last;
}

/* Alarms of our own. */
static void tell(struct report *r, const char *id, const char *text, uint64_t number)
{
    if (report_event(r, REPORT_ALARM, id, text, NULL, (double)number) != OK) {
        log_warn("an alarm found no room", KV_STR("id", id), KV_STR("text", text));
    }
}

static void tell_overflow(struct lane *lane, uint64_t first, uint64_t last)
{
    struct report *r = lane->report;
    if (lane->overflowing) {
        return;
    }
    lane->overflowing = true;
    log_warn("store full, the oldest records go", KV_STR("lane", lane_name(lane)),
             KV_U64("first", first), KV_U64("last", last));
    char text[160];
    snprintf(text, sizeof text,
             "the store is full: records %" PRIu64 "..%" PRIu64 " of the %s lane were dropped, more may follow", first,
             last, lane_name(lane));
    if (lane->id == LANE_BULK) { /* an alarm about dropped alarms would drop one more */
        tell(r, "store-gap", text, last);
    }
}

/* Frees `bytes` in the lane by turning its oldest records into a gap. */
static enum err lane_drop(struct lane *lane, struct store_batch *batch, uint64_t bytes)
{
    struct report *r = lane->report;
    uint64_t first, last;
    lane->dropping = true;
    TRY(spool_drop_oldest(lane->spool, batch, bytes, spool_durable(lane->spool), &first, &last));
    if (first > last) {
        return OK;
    }
    BUFFER(gap, 256);
    TRY(wire_gap_pack(first, last, WEIR__V1__GAP_REASON__OVERFLOW, report_wall_us(r), &gap));
    TRY(spool_replace(lane->spool, batch, first, last, buffer_slice(&gap)));
    count_gap(lane, first, last);
    compose_describe_soon(&lane->report->compose, lane->id);
    tell_overflow(lane, first, last);
    return OK;
}

/* The store fills up before the lane does: pages are never filled to the brim. The last part of it belongs to the
 * alarms. */
static bool store_tight(const struct lane *lane, uint64_t need)
{
    struct store_usage usage;
    store_usage(lane->report->store, &usage);
    return lane->id == LANE_BULK && usage.used_bytes + need > usage.cap_bytes / 100 * BULK_STORE_PCT;
}

static enum err lane_make_room(struct lane *lane, struct store_batch *batch)
{
    unsigned count;
    uint64_t need = queue_waiting(&lane->report->queue, lane->id, &count);
    need += (uint64_t)count * ENTRY_OVERHEAD;
    bool tight = lane->squeeze || (count > 0 && store_tight(lane, need));
    bool full = count > 0 && spool_room(lane->spool) < need;
    if (!tight && !full) {
        return OK;
    }
    TRY(spool_trim(lane->spool, batch, outbox_acked(lane->outbox))); /* nothing acknowledged becomes a gap */
    uint64_t room = spool_room(lane->spool);
    if (room < need) {
        return lane_drop(lane, batch, max_u64(need, lane->drop_bytes));
    }
    if (tight && (lane->squeeze || store_batch_ops(batch) == 0)) { /* trims in it free something: see what */
        lane->squeeze = false;
        return lane_drop(lane, batch, room + lane->drop_bytes);
    }
    return OK;
}

/* ---- records ---- */

static enum err append_queued(struct report *r, struct store_batch *batch)
{
    uint8_t lane;
    struct slice body;
    for (unsigned n = 0; n < BATCH_RECORDS && store_batch_bytes(batch) < BATCH_BYTES; n++) {
        if (!queue_next(&r->queue, &lane, &body)) {
            break;
        }
        uint64_t number;
        enum err err = spool_append(r->lanes[lane].spool, batch, 1, body, &number);
        if (err != OK) {
            queue_unnext(&r->queue, lane, body);
            return err == ERR_FULL && n > 0 ? OK : err; /* what went in before it may go */
        }
    }
    return OK;
}

static enum err append_fill(struct report *r, struct store_batch *batch)
{
    for (unsigned i = 0; i < LANE_COUNT; i++) {
        TRY(lane_make_room(&r->lanes[i], batch));
    }
    return append_queued(r, batch);
}

static enum err batch_take(struct report *r, struct store_batch **ret_batch)
{
    loop_timer_cancel(&r->trim_timer);
    if (r->next_batch != NULL) {
        *ret_batch = take(r->next_batch);
        return OK;
    }
    return store_batch_new(r->store, ret_batch);
}

static void commit_append(struct report *r)
{
    struct store_batch *batch = NULL;
    enum err err = batch_take(r, &batch);
    r->commit_kind = COMMIT_APPEND;
    submit(r, batch, err == OK ? append_fill(r, batch) : err);
}

/* ---- a new epoch ---- */

static void commit_rebase(struct report *r, struct lane *lane)
{
    struct store_batch *batch = NULL;
    enum err err = batch_take(r, &batch);
    r->commit_kind = COMMIT_REBASE;
    r->commit_lane = lane->id;
    lane->replaces = spool_epoch(lane->spool);
    submit(r, batch, err == OK ? spool_rebase(lane->spool, batch, lane->keep_above) : err);
}

static void rebased(struct lane *lane)
{
    struct report *r = lane->report;
    uint64_t epoch = spool_epoch(lane->spool);
    lane->rebase_due = false;
    compose_describe_soon(&lane->report->compose, lane->id);
    if (lane->id == LANE_BULK) {
        report_close_block(r); /* begun meanwhile, for a place in the old epoch */
    }
    lane->gap_first = lane->gap_last = 0;
    r->stats.rebases++;
    outbox_restart(lane->outbox, lane->replaces);
    log_warn("an old image of the store was restored: new epoch", KV_STR("lane", lane_name(lane)),
             KV_HEX("epoch", epoch), KV_HEX("replaces", lane->replaces), KV_U64("kept_above", lane->keep_above));
    char text[200];
    snprintf(text, sizeof text,
             "an old image of the store was restored: the %s lane goes on as epoch %016" PRIx64
             " in place of %016" PRIx64 ", its records above %" PRIu64 " begin at 1 again",
             lane_name(lane), epoch, lane->replaces, lane->keep_above);
    tell(r, "epoch-replaced", text, lane->keep_above);
}

/* ---- the course of things ---- */

void report_commit_run(void *arg)
{
    struct report *r = arg;
    if (!r->ready || r->commit_under_way || loop_timer_pending(&r->retry_timer)) {
        return;
    }
    for (unsigned i = 0; i < LANE_COUNT; i++) {
        if (r->lanes[i].rebase_due) {
            if (i == LANE_BULK) {
                report_close_block(r); /* its samples were told a place in the old epoch */
            }
            commit_rebase(r, &r->lanes[i]);
            return;
        }
    }
    if (!queue_empty(&r->queue)) {
        commit_append(r);
    }
}

static void failed(struct report *r, enum err result)
{
    r->stats.failed_commits++;
    store_batch_free(take(r->next_batch)); /* begun before the failure, it would fail as well; trims come again */
    if (r->retry_us == 0) {
        r->failing_since_us = loop_now_us(r->loop);
        log_error("the store does not take records, trying again", KV_ERR(result),
                  KV_U64("waiting", r->queue.count[0] + r->queue.count[1]));
    }
    struct store_usage usage;
    store_usage(r->store, &usage);
    if (result == ERR_FULL && usage.used_bytes + r->batch_bytes + usage.cap_bytes / 20 >= usage.cap_bytes) {
        r->lanes[LANE_BULK].squeeze = true; /* full by its own doing, not for want of disk below it */
    }
    r->retry_us = r->retry_us == 0 ? RETRY_MIN_US : min_i64(2 * r->retry_us, RETRY_MAX_US);
    loop_timer_in(&r->retry_timer, r->retry_us);
}

static void succeeded(struct report *r)
{
    if (r->retry_us != 0) {
        log_info("the store takes records again",
                 KV_I64("after_ms", (loop_now_us(r->loop) - r->failing_since_us) / MS_US));
        r->retry_us = 0;
    }
    r->stats.commits++;
}

static void commit_done(void *arg, enum err result)
{
    struct report *r = arg;
    bool was_under_way = r->commit_under_way;
    r->commit_under_way = false;
    if (result != OK) {
        if (was_under_way) {
            take_back(r, result);
        }
        failed(r, result);
        return;
    }
    for (unsigned i = 0; i < LANE_COUNT; i++) {
        r->lanes[i].dropping = false;
        spool_settle(r->lanes[i].spool, spool_next(r->lanes[i].spool) - 1, OK);
    }
    queue_commit(&r->queue);
    succeeded(r);
    switch (r->commit_kind) {
    case COMMIT_START:
        report_started(r);
        break;
    case COMMIT_REBASE:
        rebased(&r->lanes[r->commit_lane]);
        break;
    case COMMIT_APPEND:
        for (unsigned i = 0; i < LANE_COUNT; i++) {
            outbox_kick(r->lanes[i].outbox);
        }
        break;
    }
    report_commit_soon(r);
}
