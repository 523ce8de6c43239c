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

static bool window_open(const struct window_sender *s)
{
    unsigned frames = s->probing ? 1 : s->options.max_frames;
    return s->paused_until_us == 0 && s->flight_count < frames &&
           (s->flight_count == 0 || s->flight_bytes < s->options.max_bytes);
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
    s->flight_head = s->flight_count = 0;
    s->flight_bytes = 0;
    s->deadline_us = 0;
}

static void back_off(struct window_sender *s)
{
    s->rto_us = min_i64(2 * s->rto_us, s->options.max_rto_us);
}

void window_sender_init(struct window_sender *s, const struct window_sender_options *options, uint64_t acked,
                        uint64_t top)
{
    assert(options->max_frames >= 1 && options->max_frames <= WINDOW_FRAMES_MAX);
    assert(options->min_rto_us > 0 && options->min_rto_us <= options->first_rto_us &&
           options->first_rto_us <= options->max_rto_us);
    *s = (struct window_sender){.options = *options,
                                .state = WINDOW_DOWN,
                                .base = acked + 1,
                                .next = acked + 1,
                                .top = max_u64(acked, top),
                                .high = acked,
                                .hold = UINT64_MAX,
                                .rto_us = options->first_rto_us};
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

void window_sender_header(const struct window_sender *s, uint64_t first, uint64_t last, struct window_header *header)
{
    header->first = first;
    header->last = last;
    header->base = min_u64(s->base, first);
    header->top = s->top;
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
    assert(last >= s->next && last <= s->top && s->flight_count < WINDOW_FRAMES_MAX);
    unsigned slot = (s->flight_head + s->flight_count) % WINDOW_FRAMES_MAX;
    s->flight[slot].last = last;
    s->flight[slot].bytes = bytes;
    s->flight[slot].sent_us = repeated ? 0 : now_us;
    s->flight_count++;
    s->flight_bytes += bytes;
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
    while (s->flight_count > 0 && s->flight[s->flight_head].last <= hwm) {
        sent_us = s->flight[s->flight_head].sent_us;
        s->flight_bytes -= s->flight[s->flight_head].bytes;
        s->flight_head = (s->flight_head + 1) % WINDOW_FRAMES_MAX;
        s->flight_count--;
    }
    if (sent_us != 0) {
        sample_rtt(s, now_us - sent_us);
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
