/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sending side: which frame may go out when, and what an answer means. The table is in window.h.
 *
 *   acked      base            next              limit           top
 *     |---------|===============|-----------------|---------------|
 *      trimmed    under way       may be sent       held
 */
#include "core/window/window.h"

#include <assert.h>

enum { ALLOWED_LEAST = 4096, FRAME_LEAST = 2048 };

static bool window_open(const struct window_sender *s)
{
    unsigned frames = s->probing ? 1 : s->frames;
    return s->paused_until_us == 0 && s->flight_count < frames &&
           (s->flight_count == 0 || s->flight_bytes < s->allowed_bytes);
}

/* Begins small again; up to `known` it may grow without a measurement. */
static void allow_first(struct window_sender *s, uint64_t known)
{
    uint64_t max = s->options.max_bytes;
    s->allowed_bytes = s->options.max_queue_us > 0 ? min_u64(ALLOWED_LEAST, max) : max;
    s->known_bytes = max_u64(known, s->allowed_bytes);
}

uint64_t window_sender_frame_bytes(const struct window_sender *s)
{
    return s->options.max_queue_us > 0 ? max_u64(s->allowed_bytes / 2, FRAME_LEAST) : UINT64_MAX;
}

/* acked bytes left; under_way: when the youngest of their frames was sent; rtt_us 0 = no sample (repeated frames). An
 * allowance that was not used up says nothing. */
static void adapt_allowed(struct window_sender *s, uint64_t acked, uint64_t under_way, int64_t rtt_us)
{
    int64_t queue_us = s->options.max_queue_us;
    if (queue_us == 0) {
        return;
    }
    if (rtt_us == 0) {
        s->allowed_bytes = min_u64(s->allowed_bytes + acked, s->known_bytes);
        return;
    }
    s->min_rtt_us = s->min_rtt_us == 0 ? rtt_us : min_i64(s->min_rtt_us, rtt_us);
    int64_t target_us = s->min_rtt_us + queue_us;
    if (rtt_us > target_us) {
        uint64_t carried = (uint64_t)((double)under_way * (double)target_us / (double)rtt_us);
        s->allowed_bytes = max_u64(min_u64(s->allowed_bytes, carried), min_u64(ALLOWED_LEAST, s->options.max_bytes));
        s->known_bytes = s->allowed_bytes;
    } else if (under_way >= s->allowed_bytes / 2) {
        uint64_t more = rtt_us <= s->min_rtt_us + queue_us / 2 ? acked : acked / 8;
        s->allowed_bytes = min_u64(s->allowed_bytes + more, s->options.max_bytes);
        s->known_bytes = max_u64(s->known_bytes, s->allowed_bytes);
    }
}

static void settle_state(struct window_sender *s)
{
    if (s->state == WINDOW_SEND || s->state == WINDOW_WAIT) {
        s->state = window_open(s) ? WINDOW_SEND : WINDOW_WAIT;
    }
}

static void rewind_to_base(struct window_sender *s)
{
    s->next = s->base;
    s->flight_head = s->flight_count = s->unasked = 0;
    s->flight_bytes = s->unasked_bytes = 0;
    s->deadline_us = 0;
}

static unsigned first_frames(const struct window_sender *s)
{
    unsigned first = s->options.first_frames;
    return first != 0 && first < s->options.max_frames ? first : s->options.max_frames;
}

static void back_off(struct window_sender *s)
{
    s->rto_us = min_i64(2 * s->rto_us, s->options.max_rto_us);
}

void window_sender_init(struct window_sender *s, const struct window_sender_options *options,
                        struct window_flight *flight, uint64_t acked, uint64_t top)
{
    assert(options->max_frames >= 1 && options->max_frames <= WINDOW_FRAMES_MAX);
    assert(options->min_rto_us > 0 && options->min_rto_us <= options->first_rto_us &&
           options->first_rto_us <= options->max_rto_us);
    *s = (struct window_sender){.options = *options,
                                .flight = flight,
                                .state = WINDOW_DOWN,
                                .base = acked + 1,
                                .next = acked + 1,
                                .top = max_u64(acked, top),
                                .high = acked,
                                .hold = UINT64_MAX,
                                .rto_us = options->first_rto_us};
    s->frames = first_frames(s);
    allow_first(s, 0);
}

void window_sender_hold(struct window_sender *s, uint64_t above)
{
    s->hold = above;
}

void window_sender_release(struct window_sender *s)
{
    s->hold = UINT64_MAX;
}

uint64_t window_sender_limit(const struct window_sender *s)
{
    return min_u64(s->top, s->hold);
}

void window_sender_connected(struct window_sender *s)
{
    if (s->state == WINDOW_STALE_EPOCH) {
        return;
    }
    rewind_to_base(s);
    s->frames = first_frames(s);
    allow_first(s, s->allowed_bytes); /* most likely the same link */
    s->min_rtt_us = 0;
    s->hello_acked = false;
    s->recovering = false;
    s->probing = true;
    s->paused_until_us = 0;
    s->state = WINDOW_SEND;
}

void window_sender_disconnected(struct window_sender *s)
{
    if (s->state == WINDOW_STALE_EPOCH) {
        return;
    }
    rewind_to_base(s);
    s->paused_until_us = 0;
    s->state = WINDOW_DOWN;
}

void window_sender_durable(struct window_sender *s, uint64_t top)
{
    s->top = max_u64(s->top, top);
}

/* Nothing that may go is left to carry the hello: all is acknowledged, or held. A receiver that has lost its store learns
 * only from a frame what it no longer knows; without this an idle stream would never be missed. */
static bool needs_carrier(const struct window_sender *s)
{
    return s->base > 1 && !s->hello_acked && s->flight_count == 0 && s->deadline_us == 0;
}

void window_sender_greet(struct window_sender *s)
{
    if (s->state == WINDOW_SEND || s->state == WINDOW_WAIT) {
        s->hello_acked = false;
    }
}

bool window_sender_may_send(const struct window_sender *s, int64_t now_us, uint64_t *ret_from)
{
    if (s->state != WINDOW_SEND || s->paused_until_us > now_us) {
        return false;
    }
    if (s->next <= window_sender_limit(s)) {
        *ret_from = s->next;
        return true;
    }
    if (needs_carrier(s)) {
        *ret_from = s->base - 1;
        return true;
    }
    return false;
}

/* May the answer to a frame up to last be put off? Another frame follows, and half the window is still free of frames that
 * ask. Of the bytes a quarter: this frame's own are not counted yet. */
static bool may_wait(const struct window_sender *s, uint64_t last)
{
    return last >= s->base && last < window_sender_limit(s) && !s->probing && s->unasked + 1 < (s->frames + 1) / 2 &&
           s->unasked_bytes < s->allowed_bytes / 4;
}

void window_sender_header(const struct window_sender *s, uint64_t first, uint64_t last, struct window_header *header)
{
    header->first = first;
    header->last = last;
    header->base = min_u64(s->base, first);
    header->top = s->top;
    header->may_wait = may_wait(s, last);
    header->has_hello = !s->hello_acked;
    if (s->claim) {
        header->replaces = header->epoch;
    }
}

void window_sender_sent(struct window_sender *s, uint64_t last, uint64_t bytes, int64_t now_us)
{
    bool repeated = s->next <= s->high;
    s->stats.frames++;
    s->stats.repeated_frames += repeated || last < s->base;
    if (s->deadline_us == 0) {
        s->deadline_us = now_us + s->rto_us;
    }
    if (last < s->base) { /* only carried the hello */
        return;
    }
    assert(last >= s->next && last <= s->top && s->flight_count < s->options.max_frames);
    unsigned slot = (s->flight_head + s->flight_count) % s->options.max_frames;
    s->flight[slot].last = last;
    s->flight[slot].bytes = bytes;
    s->flight[slot].sent_us = repeated ? 0 : now_us;
    bool waits = may_wait(s, last);
    s->unasked = waits ? s->unasked + 1 : 0;
    s->unasked_bytes = waits ? s->unasked_bytes + bytes : 0;
    s->flight_count++;
    s->flight_bytes += bytes;
    s->flight[slot].under_way = s->flight_bytes;
    s->next = last + 1;
    s->high = max_u64(s->high, last);
    settle_state(s);
}

/* RFC 6298 section 2; the clock's grain is far below min_rto. */
static void sample_rtt(struct window_sender *s, int64_t rtt_us)
{
    rtt_us = max_i64(rtt_us, 1);
    if (s->srtt_us == 0) {
        s->srtt_us = rtt_us;
        s->rttvar_us = rtt_us / 2;
    } else {
        int64_t distance = rtt_us > s->srtt_us ? rtt_us - s->srtt_us : s->srtt_us - rtt_us;
        s->rttvar_us += (distance - s->rttvar_us) / 4;
        s->srtt_us += (rtt_us - s->srtt_us) / 8;
    }
    s->rto_us = min_i64(max_i64(s->srtt_us + 4 * s->rttvar_us, s->options.min_rto_us), s->options.max_rto_us);
}

static void advance(struct window_sender *s, uint64_t hwm, int64_t now_us)
{
    int64_t sent_us = 0; /* of the youngest frame that this ack covers */
    unsigned under_way = s->flight_count;
    uint64_t acked = 0, bytes_then = 0;
    while (s->flight_count > 0 && s->flight[s->flight_head].last <= hwm) {
        sent_us = s->flight[s->flight_head].sent_us;
        bytes_then = s->flight[s->flight_head].under_way;
        acked += s->flight[s->flight_head].bytes;
        s->flight_bytes -= s->flight[s->flight_head].bytes;
        s->flight_head = (s->flight_head + 1) % s->options.max_frames;
        s->flight_count--;
    }
    if (under_way >= s->frames / 2) {
        unsigned wider = s->frames + under_way - s->flight_count;
        s->frames = wider < s->options.max_frames ? wider : s->options.max_frames;
    }
    if (sent_us != 0) {
        sample_rtt(s, now_us - sent_us);
    }
    if (acked > 0) {
        adapt_allowed(s, acked, bytes_then, sent_us != 0 ? max_i64(now_us - sent_us, 1) : 0);
    }
    s->base = hwm + 1;
    s->next = max_u64(s->next, s->base);
    s->high = max_u64(s->high, hwm);
    s->recovering = false;
    s->deadline_us = s->flight_count > 0 ? now_us + s->rto_us : 0;
}

static void recover(struct window_sender *s)
{
    if (!s->recovering) {
        s->recovering = true;
        s->frames = s->frames / 2 > first_frames(s) ? s->frames / 2 : first_frames(s);
        rewind_to_base(s);
    }
}

static void say_hello_again(struct window_sender *s)
{
    if (s->hello_acked) { /* news: whatever recovery is under way goes on without a hello and cannot succeed */
        s->hello_acked = false;
        s->recovering = false;
    }
    recover(s);
}

static void pause_sending(struct window_sender *s, int64_t now_us)
{
    if (s->paused_until_us == 0) {
        rewind_to_base(s);
        s->frames = first_frames(s);
        s->paused_until_us = now_us + s->rto_us;
        s->probing = true;
        back_off(s);
    }
}

/* The receiver took notice of our hello. A frame that only carried it is answered by this. */
static void known(struct window_sender *s)
{
    s->hello_acked = true;
    if (s->flight_count == 0) {
        s->deadline_us = 0;
    }
}

/* Verdicts on a boot that the receiver does not know, or does not believe: its hwm may belong to another history of
 * this identity, so it acknowledges nothing. */
static void answer_to_a_stranger(struct window_sender *s, enum window_verdict verdict, int64_t now_us)
{
    if (verdict == WINDOW_ROLLED_BACK) {
        rewind_to_base(s);
        s->paused_until_us = 0;
        s->state = WINDOW_STALE_EPOCH;
    } else if (verdict == WINDOW_REFUSED) {
        pause_sending(s, now_us);
    } else {
        s->claim = s->claim || verdict == WINDOW_STALE;
        say_hello_again(s);
    }
}

bool window_sender_answer(struct window_sender *s, enum window_verdict verdict, uint64_t hwm, int64_t now_us)
{
    if (s->state == WINDOW_STALE_EPOCH) {
        return false;
    }
    s->stats.acks++;
    if (verdict == WINDOW_NEED_HELLO || verdict == WINDOW_STALE || verdict == WINDOW_ROLLED_BACK ||
        verdict == WINDOW_REFUSED) {
        answer_to_a_stranger(s, verdict, now_us);
        settle_state(s);
        return false;
    }
    if (hwm > s->top) {
        s->stats.absurd_acks++;
        return false;
    }
    bool moved = hwm >= s->base;
    if (moved) {
        advance(s, hwm, now_us);
    }
    known(s);
    if (verdict == WINDOW_HOLE) {
        s->stats.holes++;
        if (hwm + 1 == s->base && s->next > s->base) {
            recover(s);
        }
    } else if (verdict == WINDOW_FULL) {
        pause_sending(s, now_us);
    } else {
        s->probing = false;
    }
    settle_state(s);
    return moved;
}

void window_sender_tick(struct window_sender *s, int64_t now_us)
{
    if (s->paused_until_us != 0 && now_us >= s->paused_until_us) {
        s->paused_until_us = 0;
    }
    if (s->deadline_us != 0 && now_us >= s->deadline_us) {
        s->stats.timeouts++;
        s->frames = first_frames(s);
        allow_first(s, s->allowed_bytes / 2);
        rewind_to_base(s);
        back_off(s);
        s->recovering = false;
        s->probing = true;
    }
    settle_state(s);
}

int64_t window_sender_deadline(const struct window_sender *s)
{
    return s->paused_until_us != 0 ? s->paused_until_us : s->deadline_us;
}
