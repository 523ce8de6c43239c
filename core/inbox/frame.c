/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of a frame: verdict, entries into the batch that is filling, answers that need no commit.
 *
 * Everything a peer can send ends here in a verdict. Nothing is allocated per entry: bodies go through one buffer into
 * the batch.
 */
#include "core/inbox/inbox_internal.h"

/* ---- answers at once ---- */

static void give_answer(struct inbox *inbox, const char *sender, uint64_t epoch, uint32_t boot, uint64_t hwm,
                        enum window_verdict verdict, uint32_t owner)
{
    const struct inbox_answer answer = {
        .sender = sender, .epoch = epoch, .boot = boot, .hwm = hwm, .verdict = verdict, .owner = owner};
    inbox->handlers.on_answer(inbox->handlers.arg, &answer);
}

static void answer_at_once(struct inbox *inbox, struct inbox_streamed *st, uint32_t boot, enum window_verdict verdict)
{
    int64_t now_us = loop_now_us(inbox->loop);
    if (st->answered == verdict && st->answered_boot == boot && st->answered_us != 0 &&
        now_us - st->answered_us < INBOX_ANSWER_GAP_US) {
        return;
    }
    st->answered = verdict;
    st->answered_boot = boot;
    st->answered_us = now_us;
    give_answer(inbox, inbox_streams_name(st), st->epoch, boot, st->s.hwm, verdict,
                verdict == WINDOW_ROLLED_BACK ? st->s.boot : 0);
}

/* A stream that we do not have cannot remember when it was answered; a small table does. */
static void answer_stranger(struct inbox *inbox, const char *sender, const struct window_header *h,
                            enum window_verdict verdict)
{
    uint64_t key = mix_u64(h->epoch ^ mix_u64(h->boot) ^ (uint64_t)verdict);
    for (const char *c = sender; *c != '\0'; c++) {
        key = (key ^ (uint8_t)*c) * UINT64_C(0x100000001b3); /* FNV-1a */
    }
    size_t slot = mix_u64(key) % INBOX_STRANGERS;
    int64_t now_us = loop_now_us(inbox->loop);
    if (inbox->strangers[slot].key == key && now_us - inbox->strangers[slot].at_us < INBOX_ANSWER_GAP_US) {
        return;
    }
    inbox->strangers[slot].key = key;
    inbox->strangers[slot].at_us = now_us;
    give_answer(inbox, sender, h->epoch, h->boot, 0, verdict, 0);
}

/* The sender waits for the answer that covers what of its frame is there. When many of its frames are under way, answers
 * to single ones would keep the broker so busy that it stays like that: then a quarter of them shares one. */
static void ask(struct inbox_streamed *st, const struct window_header *h)
{
    uint64_t under_way = (h->last - h->base + 1) / (h->last - h->first + 1); /* frames as large as this one */
    st->unanswered++;
    if (!h->may_wait && INBOX_ANSWER_SHARE * (uint64_t)st->unanswered < under_way) {
        st->hurried = true;
    } else if (!h->may_wait) {
        uint64_t upto = min_u64(h->last, st->s.pending);
        st->asked = st->asked == 0 ? upto : min_u64(st->asked, upto);
        st->asked_last = max_u64(st->asked_last, upto);
    }
}

/* The commit that covers the stream will answer. */
static void owe(struct inbox_streamed *st, enum window_verdict verdict)
{
    if (verdict != WINDOW_ACCEPT) {
        st->after = verdict;
    }
    st->owed = true;
}

/* ---- entries ---- */

static bool entries_cover(const struct window_header *h, const struct inbox_entry *entries, size_t count)
{
    uint64_t next = h->first;
    for (size_t i = 0; i < count; i++) {
        if (entries[i].first != next || entries[i].last < next || entries[i].last > WINDOW_NUMBER_MAX) {
            return false;
        }
        next = entries[i].last + 1;
    }
    return count > 0 && next == h->last + 1;
}

static enum err append(struct inbox *inbox, struct inbox_streamed *st, const struct window_header *h,
                       const struct inbox_entry *entry, bool forgotten)
{
    struct spool *spool = inbox->spools[h->lane];
    const struct inbox_counts counts = {st->s.gaps, st->s.suppressed};
    uint64_t span = entry->last - entry->first + 1, first;
    if (span > WINDOW_NUMBER_MAX - spool_next(spool)) {
        return ERR_FULL;
    }
    buffer_reset(&inbox->body);
    inbox->in_hand = st;
    enum err err = inbox->handlers.on_entry(inbox->handlers.arg, inbox_streams_name(st), h, entry, forgotten,
                                            &inbox->body);
    inbox->in_hand = NULL;
    err = err == OK ? buffer_err(&inbox->body) : err;
    err = err == OK ? spool_append(spool, inbox->filling, span, buffer_slice(&inbox->body), &first) : err;
    if (err != OK) {
        st->s.gaps = counts.gaps; /* what on_entry noted did not come to pass */
        st->s.suppressed = counts.suppressed;
        return err;
    }
    st->s.pending = entry->last;
    inbox->filling_entries++;
    inbox->stats.entries++;
    return OK;
}

static enum err append_gap(struct inbox *inbox, struct inbox_streamed *st, const struct window_header *h, uint64_t from)
{
    const struct inbox_entry gap = {.first = st->s.pending + 1, .last = from - 1};
    TRY(append(inbox, st, h, &gap, true));
    st->s.gaps += gap.last - gap.first + 1;
    inbox->stats.forgotten++;
    return OK;
}

/* Appends what is new; stops at the first entry that cannot be taken. */
static enum err append_entries(struct inbox *inbox, struct inbox_streamed *st, const struct window_header *h,
                               const struct inbox_entry *entries, size_t count, enum window_verdict verdict,
                               uint64_t from)
{
    if (verdict == WINDOW_FORGOTTEN) {
        TRY(append_gap(inbox, st, h, from));
    }
    for (size_t i = 0; i < count; i++) {
        if (entries[i].last >= from) {
            struct inbox_entry entry = entries[i];
            entry.first = max_u64(entry.first, from);
            TRY(append(inbox, st, h, &entry, false));
        }
    }
    return OK;
}

static enum window_verdict accept(struct inbox *inbox, struct inbox_streamed *st, const struct window_header *h,
                                  const struct inbox_entry *entries, size_t count, enum window_verdict verdict,
                                  uint64_t from)
{
    uint64_t bytes = 0, pending = st->s.pending;
    for (size_t i = 0; i < count; i++) {
        bytes += entries[i].body.len;
    }
    if (inbox_overrun(inbox)) {
        inbox->stats.overrun++;
        if (inbox_touch(inbox, st) == OK) {
            owe(st, WINDOW_HOLE); /* asked for again when there is room: the sender's timeout may be a minute */
        }
        return WINDOW_FULL;
    }
    enum err err = ERR_FULL;
    if (inbox_room(inbox, h->lane, bytes, count)) {
        err = inbox_touch(inbox, st);
        err = err == OK ? append_entries(inbox, st, h, entries, count, verdict, from) : err;
    }
    inbox->stats.full += err != OK;
    if (st->s.pending > pending) {
        ask(st, h);
        owe(st, err == OK ? WINDOW_ACCEPT : WINDOW_FULL);
        inbox->urgent = inbox->urgent || h->lane == 0;
        inbox_schedule(inbox);
        inbox_tell_crowded(inbox);
        return verdict;
    }
    answer_at_once(inbox, st, h->boot, WINDOW_FULL);
    return WINDOW_FULL;
}

/* ---- streams that end ---- */

static void tell_closed(struct inbox *inbox, struct inbox_streamed *st)
{
    inbox->stats.closed++;
    inbox->handlers.on_closed(inbox->handlers.arg, inbox_streams_name(st), st->epoch, &st->s);
}

/* The closed state must become durable; asked for again by every frame until it is. */
static void persist_closed(struct inbox *inbox, struct inbox_streamed *st)
{
    if (!st->closed_durable && !st->closed_in_flight && inbox_touch(inbox, st) == OK) {
        inbox_schedule(inbox);
    }
}

static void rolled_back(struct inbox *inbox, struct inbox_streamed *st, const struct window_header *h)
{
    if (st->closed_durable && st->s.pending == st->s.hwm) {
        answer_at_once(inbox, st, h->boot, WINDOW_ROLLED_BACK);
        return;
    }
    st->answered_boot = h->boot; /* whom the commit will answer */
    persist_closed(inbox, st);
}

/* A new epoch takes over: the old one ends, whether we know it or not. */
static void close_replaced(struct inbox *inbox, const char *sender, const struct window_header *h)
{
    struct inbox_streamed *old = inbox_streams_find(inbox, sender, h->replaces);
    if (old == NULL) {
        if (inbox_streams_add(inbox, sender, h->replaces, &old) != OK) {
            return;
        }
        old->s.lane = h->lane;
        old->s.closed = true;
    } else if (!old->s.closed) {
        old->s.closed = true;
        tell_closed(inbox, old);
    }
    persist_closed(inbox, old);
}

/* ---- the frame ---- */

static void keep_boot(struct inbox *inbox, struct inbox_streamed *st)
{
    if (inbox_touch(inbox, st) == OK) { /* else it is asked for a hello again after a restart */
        inbox_schedule(inbox);
    }
}

static enum window_verdict judge(struct inbox *inbox, struct inbox_streamed *st, const struct window_header *h,
                                 const struct inbox_entry *entries, size_t count)
{
    bool was_closed = st->s.closed;
    uint32_t boot = st->s.boot;
    uint64_t from = 0;
    enum window_verdict verdict = window_receive(&st->s, h, &from);
    if (st->s.closed && !was_closed) {
        tell_closed(inbox, st);
    }
    if (st->s.boot != boot) {
        keep_boot(inbox, st);
    }
    bool taken = verdict == WINDOW_ACCEPT || verdict == WINDOW_FORGOTTEN || verdict == WINDOW_DUPLICATE ||
                 verdict == WINDOW_HOLE;
    if (taken && h->has_hello && h->replaces != 0) {
        close_replaced(inbox, inbox_streams_name(st), h);
    }
    switch (verdict) {
    case WINDOW_ACCEPT:
    case WINDOW_FORGOTTEN:
        return accept(inbox, st, h, entries, count, verdict, from);
    case WINDOW_DUPLICATE:
        inbox->stats.duplicates++;
        if (h->last <= st->s.hwm) {
            answer_at_once(inbox, st, h->boot, verdict);
        } else {
            ask(st, h);
            owe(st, WINDOW_ACCEPT);
        }
        break;
    case WINDOW_HOLE:
        inbox->stats.holes++;
        if (st->s.pending == st->s.hwm) {
            answer_at_once(inbox, st, h->boot, verdict);
        } else {
            owe(st, WINDOW_HOLE);
        }
        break;
    case WINDOW_NEED_HELLO:
        inbox->stats.need_hello++;
        answer_at_once(inbox, st, h->boot, verdict);
        break;
    case WINDOW_STALE:
        inbox->stats.stale++;
        answer_at_once(inbox, st, h->boot, verdict);
        break;
    case WINDOW_ROLLED_BACK:
        rolled_back(inbox, st, h);
        break;
    case WINDOW_REFUSED:
        inbox->stats.refused++;
        answer_at_once(inbox, st, h->boot, verdict);
        break;
    case WINDOW_FULL:
        break; /* not the machine's */
    }
    return verdict;
}

static enum window_verdict refuse_stranger(struct inbox *inbox, const char *sender, const struct window_header *h)
{
    inbox->stats.refused++;
    answer_stranger(inbox, sender, h, WINDOW_REFUSED);
    return WINDOW_REFUSED;
}

enum window_verdict inbox_frame(struct inbox *inbox, const char *sender, const struct window_header *h,
                                const struct inbox_entry *entries, size_t count)
{
    inbox->stats.frames++;
    if (!id_valid(slice_str(sender))) {
        inbox->stats.refused++;
        return WINDOW_REFUSED; /* there is nobody to answer */
    }
    if (h->lane >= INBOX_LANES || h->epoch == 0 || h->boot == 0 || h->first == 0 || h->last > WINDOW_NUMBER_MAX ||
        !entries_cover(h, entries, count)) {
        return refuse_stranger(inbox, sender, h);
    }
    struct inbox_streamed *st = inbox_streams_find(inbox, sender, h->epoch);
    if (st == NULL && !h->has_hello) {
        inbox->stats.need_hello++;
        answer_stranger(inbox, sender, h, WINDOW_NEED_HELLO);
        return WINDOW_NEED_HELLO;
    }
    if (st == NULL) {
        struct window_stream probe = {0};
        uint64_t from;
        if (window_receive(&probe, h, &from) == WINDOW_REFUSED ||
            inbox_streams_add(inbox, sender, h->epoch, &st) != OK) {
            return refuse_stranger(inbox, sender, h);
        }
    }
    return judge(inbox, st, h, entries, count);
}
