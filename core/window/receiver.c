/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receiving side: a verdict per frame, and the stream's persistent form. The table is in window.h.
 *
 * Persistent form, little-endian:
 *   version u8 = 1 | closed u8 | lane u8 | boot u32 | boot_seq u64 | hwm u64 | top u64 | gaps u64 | suppressed u64
 */
#include "core/window/window.h"

enum { STREAM_VERSION = 1 };

const char *window_verdict_name(enum window_verdict verdict)
{
    switch (verdict) {
    case WINDOW_ACCEPT:
        return "accept";
    case WINDOW_DUPLICATE:
        return "duplicate";
    case WINDOW_HOLE:
        return "hole";
    case WINDOW_FORGOTTEN:
        return "forgotten";
    case WINDOW_NEED_HELLO:
        return "need-hello";
    case WINDOW_ROLLED_BACK:
        return "rolled-back";
    case WINDOW_STALE:
        return "stale";
    case WINDOW_REFUSED:
        return "refused";
    case WINDOW_FULL:
        return "full";
    }
    return "unknown";
}

static bool well_formed(const struct window_stream *s, const struct window_header *h)
{
    return h->epoch != 0 && h->boot != 0 && h->base >= 1 && h->base <= h->first && h->first <= h->last &&
           h->last <= h->top && h->top <= WINDOW_NUMBER_MAX && (!h->has_hello || h->boot_top <= h->top) &&
           (s->boot == 0 || h->lane == s->lane);
}

static enum window_verdict close_stream(struct window_stream *s)
{
    s->closed = true;
    return WINDOW_ROLLED_BACK;
}

/* The rows about boots; ACCEPT means: go on with the numbers. */
static enum window_verdict judge_boot(struct window_stream *s, const struct window_header *h)
{
    if (s->closed) {
        return WINDOW_ROLLED_BACK;
    }
    if (h->has_hello && h->replaces == h->epoch) {
        return close_stream(s);
    }
    if (s->boot == h->boot && (!h->has_hello || h->boot_seq == s->boot_seq)) {
        return WINDOW_ACCEPT;
    }
    if (!h->has_hello) {
        return WINDOW_NEED_HELLO;
    }
    if (s->boot != 0 && h->boot_seq < s->boot_seq) {
        return WINDOW_STALE;
    }
    if ((s->boot != 0 && h->boot_seq == s->boot_seq) || h->boot_top < s->pending) {
        return close_stream(s);
    }
    s->boot = h->boot;
    s->boot_seq = h->boot_seq;
    s->lane = h->lane;
    return WINDOW_ACCEPT;
}

enum window_verdict window_receive(struct window_stream *s, const struct window_header *h, uint64_t *ret_from)
{
    if (!well_formed(s, h)) {
        return WINDOW_REFUSED;
    }
    enum window_verdict verdict = judge_boot(s, h);
    if (verdict != WINDOW_ACCEPT) {
        return verdict;
    }
    s->top = max_u64(s->top, h->top);
    if (h->last <= s->pending) {
        return WINDOW_DUPLICATE;
    }
    if (h->first <= s->pending + 1) {
        *ret_from = s->pending + 1;
        return WINDOW_ACCEPT;
    }
    if (h->base > s->pending + 1 && h->first == h->base) {
        *ret_from = h->first;
        return WINDOW_FORGOTTEN;
    }
    return WINDOW_HOLE;
}

static size_t put_u64le(uint8_t *out, size_t at, uint64_t v)
{
    memcpy(out + at, &v, sizeof(v)); /* hosts are little-endian: asserted in base.c */
    return at + sizeof(v);
}

size_t window_stream_encode(const struct window_stream *s, uint64_t hwm, uint8_t out[WINDOW_STREAM_BYTES])
{
    size_t at = 0;
    out[at++] = STREAM_VERSION;
    out[at++] = s->closed;
    out[at++] = s->lane;
    memcpy(out + at, &s->boot, sizeof(s->boot));
    at += sizeof(s->boot);
    at = put_u64le(out, at, s->boot_seq);
    at = put_u64le(out, at, hwm);
    at = put_u64le(out, at, s->top);
    at = put_u64le(out, at, s->gaps);
    return put_u64le(out, at, s->suppressed);
}

enum err window_stream_decode(struct slice in, struct window_stream *ret_stream)
{
    struct cursor c = cursor_of(in);
    uint8_t version = cursor_u8(&c);
    uint8_t closed = cursor_u8(&c);
    struct window_stream s = {.closed = closed == 1, .lane = cursor_u8(&c)};
    s.boot = cursor_u32le(&c);
    s.boot_seq = cursor_u64le(&c);
    s.hwm = s.pending = cursor_u64le(&c);
    s.top = cursor_u64le(&c);
    s.gaps = cursor_u64le(&c);
    s.suppressed = cursor_u64le(&c);
    TRY(cursor_end(&c));
    if (version != STREAM_VERSION || closed > 1 || s.top > WINDOW_NUMBER_MAX || s.hwm > s.top) {
        return ERR_MALFORMED;
    }
    *ret_stream = s;
    return OK;
}
