/* SPDX-License-Identifier: Apache-2.0 */
/*
 * window - the delivery protocol between two neighbours, as pure state machines: no socket, no file, no clock.
 *
 * A stream is (sender, epoch); its entries are numbered 1, 2, 3, ... The sender keeps everything until the receiver has
 * said that it is durable there (ack = hwm, cumulative). The sender repeats from the last ack after a timeout, on
 * reconnect and when the receiver reports a hole (go-back-N). The receiver takes only what joins on to its high-water
 * mark, so order and uniqueness need no memory of single entries.
 *
 * SENDER
 *   state    event                 action, next state
 *   DOWN     connected             base..: rewind (next = base), say hello with each frame     -> SEND
 *   SEND     may_send              frame next..                                                -> SEND (window open) | WAIT
 *   WAIT     ack(h >= base)        base = h + 1; timeout restarts                              -> SEND
 *   any      ack(h < base)         nothing (old); h > top: nothing, counted (absurd)
 *   WAIT     hole(h)               rewind once per recovery (until base moves or timeout)      -> SEND
 *   WAIT     timeout               rewind, timeout doubles (up to max)                         -> SEND
 *   any      disconnected          -> DOWN
 *   any      need_hello            rewind, hello                                               -> SEND
 *   any      rolled_back(h)        -> STALE: the owner begins a new epoch above min(h, boot_top)
 *   any      full                  pause until a retry time, then as timeout                   -> WAIT
 *
 * RECEIVER, per stream (hwm = durable, pending = accepted into a batch that is not durable yet)
 *   frame                                              verdict
 *   first = 0, last < first, last overflows            REFUSED (malformed)
 *   stream closed                                      ROLLED_BACK
 *   boot unknown, no hello                             NEED_HELLO
 *   boot new, hello.boot_seq < known                   STALE (dropped; answered ROLLED_BACK to that boot only)
 *   boot new, hello.boot_seq = known                   close stream; ROLLED_BACK   (two instances with one identity)
 *   boot new, hello.boot_top < hwm                     close stream; ROLLED_BACK   (an old image was restored)
 *   boot new otherwise                                 adopt the boot, go on
 *   first <= pending + 1, last > pending               ACCEPT what is above pending
 *   last <= pending                                    DUPLICATE (answer with hwm once durable)
 *   first > pending + 1, base <= pending + 1           HOLE (answer with hwm)
 *   base > pending + 1                                 FORGOTTEN pending+1 .. base-1: the receiver has lost its store; the
 *                                                      range is recorded as a gap, then ACCEPT
 *
 * Retransmission timeout: RFC 6298 (SRTT, RTTVAR, Karn's rule), bounds min_rto_us..max_rto_us.
 */
#ifndef CORE_WINDOW_WINDOW_H
#define CORE_WINDOW_WINDOW_H

#include "core/base/base.h"
#include "core/base/buffer.h"
#include "core/base/cursor.h"

enum window_verdict {
    WINDOW_ACCEPT = 0,
    WINDOW_DUPLICATE,
    WINDOW_HOLE,
    WINDOW_FORGOTTEN, /* declare the gap, then accept */
    WINDOW_NEED_HELLO,
    WINDOW_ROLLED_BACK,
    WINDOW_STALE,
    WINDOW_REFUSED,
    WINDOW_FULL, /* no room; set by the inbox, not by the machine */
};
const char *window_verdict_name(enum window_verdict verdict);

/* What a frame says about itself; travels in the frame's header. */
struct window_header {
    uint64_t epoch;  /* != 0 */
    uint64_t first;  /* number of its first entry */
    uint64_t last;   /* number of its last entry */
    uint64_t base;   /* sender's oldest unacknowledged number, <= first */
    uint64_t top;    /* sender's highest durable number when it was sent */
    uint32_t boot;   /* random per start of the sender */
    uint8_t lane;
    bool has_hello;
    uint64_t boot_seq; /* hello: counts the sender's starts, durable before anything is sent */
    uint64_t boot_top; /* hello: durable top when this boot began */
    uint64_t replaces; /* hello: epoch that this one takes over from, 0 = none; the receiver closes it */
};

/* ---------------------------------------------------------------- sender ---- */
struct window_sender_options {
    unsigned max_frames;    /* frames under way, 1..WINDOW_FRAMES_MAX */
    uint64_t max_bytes;     /* payload bytes under way */
    int64_t min_rto_us, max_rto_us, first_rto_us;
};
enum { WINDOW_FRAMES_MAX = 256 };
enum window_sender_state { WINDOW_DOWN, WINDOW_SEND, WINDOW_WAIT, WINDOW_STALE_EPOCH };

struct window_sender_stats {
    uint64_t frames, repeated_frames, acks, timeouts, holes, absurd_acks;
};
struct window_sender {
    struct window_sender_options options;
    enum window_sender_state state;
    uint64_t base; /* oldest number without ack */
    uint64_t next; /* next number to send */
    uint64_t top;  /* highest durable number */
    uint64_t high; /* highest number ever sent, for counting repeats */
    bool hello_acked; /* the receiver knows this boot */
    bool recovering;
    uint64_t recover_base; /* base when the present recovery began */
    int64_t rto_us, srtt_us, rttvar_us;
    int64_t deadline_us; /* of the timeout; 0 = none */
    int64_t paused_until_us;
    struct {
        uint64_t last, bytes;
        int64_t sent_us; /* 0 when repeated: no RTT sample (Karn) */
    } flight[WINDOW_FRAMES_MAX]; /* ring */
    unsigned flight_head, flight_count;
    uint64_t flight_bytes;
    struct window_sender_stats stats;
};
/* acked: everything <= it is trimmed. */
void window_sender_init(struct window_sender *s, const struct window_sender_options *options, uint64_t acked,
                        uint64_t top);
void window_sender_connected(struct window_sender *s, int64_t now_us);
void window_sender_disconnected(struct window_sender *s);
/* New durable entries up to top. */
void window_sender_durable(struct window_sender *s, uint64_t top);
/* May a frame go out now? *ret_from = its first number. */
bool window_sender_may_send(const struct window_sender *s, int64_t now_us, uint64_t *ret_from);
/* The frame from..last with so many payload bytes was handed to the bus. */
void window_sender_sent(struct window_sender *s, uint64_t last, uint64_t bytes, int64_t now_us);
/* An answer of the receiver for this epoch and boot. Returns true when base moved (trim up to base - 1). ROLLED_BACK
 * leads to WINDOW_STALE_EPOCH. */
bool window_sender_answer(struct window_sender *s, enum window_verdict verdict, uint64_t hwm, int64_t now_us);
/* Call when the deadline has come. */
void window_sender_tick(struct window_sender *s, int64_t now_us);
/* When to call tick, 0 = not needed. */
int64_t window_sender_deadline(const struct window_sender *s);

/* -------------------------------------------------------------- receiver ---- */
struct window_stream {
    uint64_t hwm;     /* durable here */
    uint64_t pending; /* accepted, >= hwm */
    uint64_t top;     /* sender's highest durable number, as last reported */
    uint64_t boot_seq;
    uint32_t boot;    /* 0 = none yet */
    uint8_t lane;
    bool closed;
    uint64_t gaps;       /* numbers covered by gap entries */
    uint64_t suppressed; /* numbers covered by suppressed ranges */
};
/* Decides; changes boot, boot_seq, top and closed, but not pending: the caller moves pending when it has appended.
 * *ret_from: first number to accept (ACCEPT, FORGOTTEN). For FORGOTTEN the gap is pending + 1 .. *ret_from - 1. */
enum window_verdict window_receive(struct window_stream *s, const struct window_header *h, uint64_t *ret_from);
/* Persistent form of a stream, versioned; STREAM_BYTES at most. */
enum { WINDOW_STREAM_BYTES = 64 };
size_t window_stream_encode(const struct window_stream *s, uint64_t hwm, uint8_t out[WINDOW_STREAM_BYTES]);
enum err window_stream_decode(struct slice in, struct window_stream *ret_stream) MUST_CHECK;

#endif
