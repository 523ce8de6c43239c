/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches: one fills while at most one is under way. Answers follow the fsync.
 *
 *          inbox_touch, spool_append                   done(OK): settle, hwm, answers, on_durable
 *   NULL ------------------------> filling --submit--> in flight ------------------------------> (next filling)
 *                                    |                    | done(error): settle back, both batches are given up
 *                                    '--------------------'
 */
#include "core/inbox/inbox.h"

#include "core/inbox/inbox_internal.h"

enum { MAX_BATCH = 4096, MAX_STREAMS = 200000, RESERVE_PCT = 5, OVERRUN = 4, CROWDED_PCT = 50, ENTRY_OVERHEAD = 96, PAGE = 4096 };
#define FILLING_BYTES_MAX ((size_t)32 << 20)
#define FULL_REST_US SECOND_US       /* after the store refused a batch, before lane 1 tries again */
#define USAGE_AGE_US (100 * MS_US)
enum { COMMIT_CROWD = 64, COMMIT_SHARE = 4 }; /* see distance_us */

/* ---- filling ---- */

static enum err begin_filling(struct inbox *inbox)
{
    if (inbox->filling == NULL) {
        TRY(store_batch_new(inbox->store, &inbox->filling));
        inbox->filling_entries = 0;
        inbox->filling_us = loop_now_us(inbox->loop);
    }
    return OK;
}

enum err inbox_touched_add(struct inbox_touched *t, struct inbox_streamed *st)
{
    if (t->count == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 64;
        struct inbox_streamed **items = realloc(t->items, cap * sizeof(struct inbox_streamed *));
        if (items == NULL) {
            return ERR_NOMEM;
        }
        t->items = items;
        t->cap = cap;
    }
    t->items[t->count++] = st;
    return OK;
}

enum err inbox_touch(struct inbox *inbox, struct inbox_streamed *st)
{
    TRY(begin_filling(inbox));
    if (!st->touched) {
        TRY(inbox_touched_add(&inbox->filling_streams, st));
        st->touched = true;
    }
    return OK;
}

/* Whether so many parts in a hundred of what may wait behind a commit do. */
static bool waits_behind(const struct inbox *inbox, unsigned pct)
{
    return inbox->in_flight && inbox->filling != NULL &&
           (inbox->filling_entries >= (size_t)OVERRUN * inbox->options.max_batch * pct / 100 ||
            store_batch_bytes(inbox->filling) >= FILLING_BYTES_MAX / 100 * pct);
}

bool inbox_overrun(const struct inbox *inbox)
{
    return waits_behind(inbox, 100);
}

void inbox_tell_crowded(struct inbox *inbox)
{
    bool crowded = waits_behind(inbox, CROWDED_PCT);
    if (crowded != inbox->crowded && inbox->handlers.on_crowded != NULL) {
        inbox->handlers.on_crowded(inbox->handlers.arg, crowded);
    }
    inbox->crowded = crowded;
}

static void refresh_usage(struct inbox *inbox)
{
    store_usage(inbox->store, &inbox->usage);
    inbox->usage_us = loop_now_us(inbox->loop);
}

/* Large values take whole pages, and pages are not filled to the brim: a quarter on top. */
static uint64_t cost(uint64_t bytes, size_t count)
{
    uint64_t pages = count > 0 && bytes / count > PAGE / 2 ? (uint64_t)count * PAGE : 0;
    return (bytes + (uint64_t)count * ENTRY_OVERHEAD + pages) * 5 / 4;
}

bool inbox_room(struct inbox *inbox, uint8_t lane, uint64_t bytes, size_t count)
{
    uint64_t need = cost(bytes, count);
    int64_t now_us = loop_now_us(inbox->loop);
    if (spool_room(inbox->spools[lane]) < need || (lane != 0 && now_us < inbox->full_until_us)) {
        return false;
    }
    uint64_t under_way = inbox->flight_bytes + (inbox->filling ? store_batch_bytes(inbox->filling) : 0);
    need += cost(under_way, 0);
    for (int attempt = 0; attempt < 2; attempt++) {
        uint64_t cap = inbox->usage.cap_bytes;
        cap -= lane != 0 ? cap / 100 * inbox->options.reserve_pct : 0;
        if (inbox->usage.used_bytes + need <= cap) {
            return true;
        }
        if (now_us - inbox->usage_us < USAGE_AGE_US) {
            return false;
        }
        refresh_usage(inbox); /* others free room, too */
    }
    return false;
}

struct store_batch *inbox_batch(struct inbox *inbox)
{
    if (begin_filling(inbox) != OK) {
        return NULL;
    }
    inbox_schedule(inbox);
    return inbox->filling;
}

void inbox_note(struct inbox *inbox, uint64_t gaps, uint64_t suppressed)
{
    if (inbox->in_hand != NULL) {
        inbox->in_hand->s.gaps += gaps;
        inbox->in_hand->s.suppressed += suppressed;
    }
}

/* ---- the end of a batch ---- */

static void settle_spools(struct inbox *inbox, enum err result)
{
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        spool_settle(inbox->spools[lane], inbox->flight_last[lane], result);
    }
}

static void give_up(struct inbox_touched *t)
{
    for (size_t i = 0; i < t->count; i++) {
        struct inbox_streamed *st = t->items[i];
        st->s.pending = st->s.hwm;
        st->s.gaps = st->durable.gaps;
        st->s.suppressed = st->durable.suppressed;
        st->asked = st->asked_last = 0; /* it comes again, and asks again */
        st->unanswered = 0;
        st->hurried = false;
        st->touched = st->owed = st->owed_in_flight = st->closed_in_flight = false;
    }
    t->count = 0;
}

/* What is filling stands on what has failed: the spool has taken its numbers back. */
static void fail_batches(struct inbox *inbox, enum err result)
{
    inbox->stats.failed_commits++;
    settle_spools(inbox, result);
    give_up(&inbox->flight_streams);
    give_up(&inbox->filling_streams);
    store_batch_free(inbox->filling);
    inbox->filling = NULL;
    inbox->urgent = false;
    inbox->in_flight = false;
    inbox->flight_bytes = 0;
    if (result == ERR_FULL) {
        inbox->full_until_us = loop_now_us(inbox->loop) + FULL_REST_US;
    }
    refresh_usage(inbox);
    inbox_tell_crowded(inbox);
}

/* Whether an acceptance may wait: nobody waits for what is durable now, and the sender has more to send. */
static bool defer(struct inbox *inbox, struct inbox_streamed *st)
{
    bool asked = st->asked != 0 && st->asked <= st->s.hwm;
    if (asked || (st->s.top <= st->s.hwm && !st->hurried) || st->s.lane == 0) {
        return false;
    }
    if (!st->deferred) {
        if (inbox_touched_add(&inbox->deferred, st) != OK) {
            return false;
        }
        st->deferred = true;
    }
    if (st->deferred_us == 0) {
        st->deferred_us = loop_now_us(inbox->loop);
    }
    if (!loop_timer_pending(&inbox->answer_timer)) {
        loop_timer_in(&inbox->answer_timer, INBOX_ANSWER_LOOK_US);
    }
    return true;
}

/* An answer with the hwm goes out: what is left to be asked for is above it. */
static void answered(struct inbox_streamed *st)
{
    st->deferred_us = 0;
    st->unanswered = 0;
    st->hurried = false;
    st->asked = st->asked_last = st->asked_last > st->s.hwm ? st->asked_last : 0;
}

static void answer_deferred(void *arg)
{
    struct inbox *inbox = arg;
    struct inbox_touched *t = &inbox->deferred;
    int64_t now_us = loop_now_us(inbox->loop);
    size_t kept = 0;
    for (size_t i = 0; i < t->count; i++) {
        struct inbox_streamed *st = t->items[i];
        int64_t delay_us = st->hurried ? INBOX_SHARE_DELAY_US : INBOX_ANSWER_DELAY_US;
        if (st->deferred_us != 0 && !st->s.closed && now_us - st->deferred_us < delay_us) {
            t->items[kept++] = st;
            continue;
        }
        st->deferred = false;
        if (st->deferred_us != 0 && !st->s.closed) {
            answered(st);
            inbox->handlers.on_answer(inbox->handlers.arg, &(struct inbox_answer){.sender = inbox_streams_name(st),
                                                                                  .epoch = st->epoch,
                                                                                  .boot = st->s.boot,
                                                                                  .hwm = st->s.hwm,
                                                                                  .verdict = WINDOW_ACCEPT});
        }
    }
    t->count = kept;
    if (kept > 0) {
        loop_timer_in(&inbox->answer_timer, INBOX_ANSWER_LOOK_US);
    }
}

static void answer_after_commit(struct inbox *inbox, struct inbox_streamed *st, bool closed_now)
{
    struct inbox_answer answer = {.sender = inbox_streams_name(st),
                                  .epoch = st->epoch,
                                  .boot = st->s.boot,
                                  .hwm = st->s.hwm,
                                  .verdict = WINDOW_ACCEPT};
    if (closed_now) {
        answer.verdict = WINDOW_ROLLED_BACK;
        answer.owner = st->s.boot;
        answer.boot = st->answered_boot; /* who is asking, not who was known */
        if (answer.boot == 0) {
            return; /* replaced: nobody asks */
        }
    } else if (!st->owed_in_flight || st->s.closed) {
        return;
    } else if (st->after != WINDOW_ACCEPT && st->s.pending == st->s.hwm) {
        answer.verdict = st->after;
        st->after = WINDOW_ACCEPT;
    } else if (defer(inbox, st)) {
        return;
    }
    answered(st);
    inbox->handlers.on_answer(inbox->handlers.arg, &answer);
}

static void make_durable(struct inbox *inbox, struct inbox_streamed *st)
{
    bool closed_now = st->closed_in_flight && !st->closed_durable;
    st->s.hwm = st->submitted;
    st->durable = st->submitted_counts;
    st->closed_durable = st->closed_durable || st->closed_in_flight;
    st->closed_in_flight = false;
    answer_after_commit(inbox, st, closed_now);
    st->owed_in_flight = false;
}

static void on_done(void *arg, enum err result)
{
    struct inbox *inbox = arg;
    if (result != OK) {
        fail_batches(inbox, result);
        return;
    }
    inbox->stats.commits++;
    inbox->commit_us = loop_now_us(inbox->loop) - inbox->submitted_us;
    inbox->stats.commit_us += (uint64_t)inbox->commit_us;
    inbox->stats.gather_us += (uint64_t)(inbox->submitted_us - inbox->flight_since_us);
    settle_spools(inbox, OK);
    inbox->in_flight = false;
    inbox->flight_bytes = 0;
    refresh_usage(inbox);
    struct inbox_touched *t = &inbox->flight_streams;
    for (size_t i = 0; i < t->count; i++) {
        make_durable(inbox, t->items[i]);
    }
    t->count = 0;
    inbox->handlers.on_durable(inbox->handlers.arg);
    inbox_schedule(inbox);
}

/* ---- submitting ---- */

static enum err put_streams(struct inbox *inbox)
{
    struct inbox_touched *t = &inbox->filling_streams;
    for (size_t i = 0; i < t->count; i++) {
        TRY(inbox_streams_put(inbox, inbox->filling, t->items[i]));
    }
    return OK;
}

static void submit(void *arg)
{
    struct inbox *inbox = arg;
    if (inbox->filling == NULL || inbox->in_flight) {
        return;
    }
    loop_timer_cancel(&inbox->delay);
    loop_task_cancel(&inbox->submit);
    inbox->submitted_us = loop_now_us(inbox->loop);
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        inbox->flight_last[lane] = spool_next(inbox->spools[lane]) - 1;
    }
    enum err err = put_streams(inbox);
    inbox->flight_bytes = store_batch_bytes(inbox->filling);
    if (err == OK) {
        err = store_commit(inbox->store, inbox->filling, on_done, inbox);
    }
    if (err != OK) {
        fail_batches(inbox, err);
        return;
    }
    inbox->filling = NULL;
    inbox->flight_since_us = inbox->filling_us;
    inbox->urgent = false;
    inbox->in_flight = true;
    inbox_tell_crowded(inbox);
    struct inbox_touched empty = inbox->flight_streams;
    inbox->flight_streams = inbox->filling_streams;
    inbox->filling_streams = empty;
    for (size_t i = 0; i < inbox->flight_streams.count; i++) {
        struct inbox_streamed *st = inbox->flight_streams.items[i];
        st->touched = false;
        st->submitted = st->s.pending;
        st->submitted_counts = (struct inbox_counts){st->s.gaps, st->s.suppressed};
        st->closed_in_flight = st->s.closed;
        st->owed_in_flight = st->owed;
        st->owed = false;
    }
}

/* From one commit to the next. The fewer there are, the fewer pages are written, the fewer answers and changes of thread;
 * the more, the sooner the answer. A crowd of entries shares the price well enough already, and then what a commit takes,
 * waits for the disk and the processor included, says which counts now. */
static int64_t distance_us(const struct inbox *inbox)
{
    int64_t most_us = inbox->options.max_delay_us;
    if (inbox->filling_entries < COMMIT_CROWD) {
        return most_us;
    }
    return min_i64(most_us, max_i64(most_us / 2, COMMIT_SHARE * inbox->commit_us));
}

void inbox_schedule(struct inbox *inbox)
{
    if (inbox->filling == NULL || inbox->in_flight) {
        return;
    }
    int64_t due_us = inbox->submitted_us + distance_us(inbox);
    if (inbox->urgent || inbox->filling_entries >= inbox->options.max_batch || due_us <= loop_now_us(inbox->loop)) {
        loop_task_post(&inbox->submit); /* not at once: a caller of inbox_batch still adds to it */
    } else if (!loop_timer_pending(&inbox->delay) || inbox->delay.due_us > due_us) {
        loop_timer_at(&inbox->delay, due_us);
    }
}

/* ---- life ---- */

enum err inbox_new(struct loop *loop, struct store *store, struct spool *const spools[INBOX_LANES],
                   const struct inbox_options *options, const struct inbox_handlers *handlers, struct inbox **ret_inbox,
                   struct fault *reterr)
{
    CLEANUP(inbox_freep) struct inbox *inbox = calloc(1, sizeof(*inbox));
    if (inbox == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    inbox->loop = loop;
    inbox->store = store;
    memcpy(inbox->spools, spools, sizeof(inbox->spools));
    inbox->options = *options;
    inbox->options.max_batch = options->max_batch ? options->max_batch : MAX_BATCH;
    inbox->options.max_streams = options->max_streams ? options->max_streams : MAX_STREAMS;
    inbox->options.reserve_pct = options->reserve_pct ? options->reserve_pct : RESERVE_PCT;
    inbox->handlers = *handlers;
    buffer_init(&inbox->body, SPOOL_BODY_MAX);
    loop_task_init(&inbox->submit, loop, submit, inbox);
    loop_timer_init(&inbox->delay, loop, submit, inbox);
    loop_timer_init(&inbox->answer_timer, loop, answer_deferred, inbox);
    refresh_usage(inbox);
    TRY(inbox_streams_open(inbox, reterr));
    *ret_inbox = take(inbox);
    return OK;
}

void inbox_free(struct inbox *inbox)
{
    if (inbox == NULL) {
        return;
    }
    loop_task_cancel(&inbox->submit);
    loop_timer_cancel(&inbox->delay);
    loop_timer_cancel(&inbox->answer_timer);
    store_batch_free(inbox->filling);
    free(inbox->filling_streams.items);
    free(inbox->flight_streams.items);
    free(inbox->deferred.items);
    inbox_streams_free(inbox);
    buffer_deinit(&inbox->body);
    free(inbox);
}

void inbox_stats(const struct inbox *inbox, struct inbox_stats *ret_stats)
{
    *ret_stats = inbox->stats;
}

const struct window_stream *inbox_stream(struct inbox *inbox, const char *sender, uint64_t epoch)
{
    struct inbox_streamed *st = inbox_streams_find(inbox, sender, epoch);
    return st != NULL ? &st->s : NULL;
}
