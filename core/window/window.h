/* SPDX-License-Identifier: Apache-2.0 */
/*
 * window - the delivery protocol between two neighbours, as pure state machines: no socket, no file, no clock.
 *
 * A stream is (sender, epoch); its entries are numbered 1, 2, 3, ... The sender keeps everything until the receiver
 * has said that it is durable there (ack = hwm, cumulative). The sender repeats from the last ack after a timeout, on
 * reconnect and when the receiver reports a hole (go-back-N). The receiver takes only what joins on to its high-water
 * mark, so order and uniqueness need no memory of single entries.
 *
 * SENDER
 *   state    event                 action, next state
 *   DOWN     connected             rewind (next = base), probe, say hello with each frame      -> SEND
 *   SEND     may_send              frame next..                                                -> SEND, WAIT when full
 *   any      ack(h >= base)        base = h + 1; timeout restarts; probe and recovery end      -> SEND
 *   any      ack(h < base)         old: proves only that our hello is known
 *   any      ack(h > top)          nothing, counted (absurd)
 *   any      hole(h >= base - 1)   as ack, then rewind, once per recovery (until base moves or timeout)  -> SEND
 *   any      timeout               rewind, probe, timeout doubles (up to max)                  -> SEND
 *   any      need_hello            hello with each frame; rewind, once per recovery            -> SEND
 *   any      stale                 claim: hello with replaces = our own epoch; rewind          -> SEND
 *   any      full, refused         (full: as ack, then) rewind, pause for a timeout, then probe; doubles  -> WAIT
 *   any      disconnected          -> DOWN (answers still count)
 *   any      rolled_back(h)        -> STALE_EPOCH: the owner begins a new epoch above min(h, boot_top)
 *   STALE_EPOCH  anything          nothing
 * Only ACCEPT, DUPLICATE, HOLE, FULL acknowledge: the others answer a boot that the receiver does not know, and its
 * hwm may count the entries of another history of this identity.
 * probe: only one frame is under way until an answer comes. After a restart the first frames are often known to the
 * receiver already, and after a timeout a whole window would mostly be thrown away.
 *
 * Patience. An answer costs the broker between them as much as a frame, and only the sender knows when it needs one: for a
 * frame behind which nothing follows, and for every half window (of frames, or of bytes). All other frames are patient
 * (may_wait): the receiver may put the answer off for a while (core/inbox). A window that is full holds a frame that was
 * not, so an answer is always under way to it.
 * Window. It begins with first_frames, so that what a broker has to hold while nobody answers stays small however many
 * senders it has. Each answer to a window that was at least half in use widens it by the frames that it covers, up to
 * max_frames. A timeout, a full receiver and a new connection set it back, a hole halves it.
 *
 * RECEIVER, per stream (hwm = durable, pending = accepted into a batch that is not durable yet); the first fit counts
 *   frame                                              verdict
 *   not 1 <= base <= first <= last <= top <= NUMBER_MAX, epoch or boot 0, boot_top > top, lane of another stream
 *                                                      REFUSED
 *   stream closed                                      ROLLED_BACK
 *   hello.replaces = its own epoch                     close stream; ROLLED_BACK   (a sender that was told STALE)
 *   boot not the known one, no hello                   NEED_HELLO
 *   boot new, hello.boot_seq < known                   STALE (a late frame, or an old image; only that will claim)
 *   boot new, hello.boot_seq = known                   close stream; ROLLED_BACK   (two instances with one identity)
 *   boot new, hello.boot_top < pending                 close stream; ROLLED_BACK   (an old image was restored)
 *   boot new otherwise                                 adopt the boot, go on
 *   last <= pending                                    DUPLICATE (answer with hwm once durable)
 *   first <= pending + 1, last > pending               ACCEPT what is above pending
 *   first > pending + 1, base <= pending + 1           HOLE (answer with hwm)
 *   base > pending + 1, first > base                   HOLE: base..first-1 is still at the sender and must come first
 *   base > pending + 1, first = base                   FORGOTTEN pending+1 .. base-1: the receiver lost its store; the
 *                                                      range is recorded as a gap, then ACCEPT
 * boot_top is compared with pending, not with hwm: a frame that was only accepted proves the same as a durable one,
 * that somebody with this identity had got further. If its commit fails, the stream stays closed.
 *
 * A stale hello must not be answered with ROLLED_BACK: the newer boot's frames may still be under way, so hwm is not
 * final, and what the old image kept above it would arrive twice. A closed stream's hwm is final, once it is durable.
 *
 * boot_top and restarts without contact. An old image is found by boot_top < pending, so boot_top must be the durable
 * top at the *first* start after the last one that the receiver answered, not at the last start: a restored sender
 * that starts twice before it is heard would else hide its fork behind new entries, whose numbers the receiver
 * takes for duplicates: silent loss. So the owner keeps {boot_top, answered?} durably and holds
 * (window_sender_hold) what is above boot_top until "answered" is durable; core/outbox does. What remains: an image taken between a start and its first answer,
 * restored after that start was heard, does not know how far that start got; what it had then reaches the receiver
 * a second time, in a new epoch, with the alarm of the closed stream; and so does what an image held back when the
 * same image is restored again after a new epoch was begun from it. An image of an epoch without any number has
 * nothing to carry a hello and is not held. And a sender and a receiver that are both set back have no witness of
 * what was between them.
 *
 * Carrier. If nothing that may go is left to carry the hello, the number base - 1 is sent again with a gap for its body
 * (may_send gives it). A receiver that has it looks at the header only. One that has lost its store takes it as
 * FORGOTTEN: so also a stream that is idle, an alarm lane above all, is missed and declared. Said on every connect, when
 * another lane was asked for its hello, and now and then (core/outbox).
 *
 * Retransmission timeout: RFC 6298 (SRTT, RTTVAR, Karn's rule), bounds min_rto_us..max_rto_us.
 *
 * Bytes under way. What has been handed to the link stands before everything that comes later, an alarm of another
 * lane above all. So no more goes out than the link carries in max_queue_us beyond its own delay (after TCP Vegas,
 * Brakmo and Peterson 1995): from 4 KiB on connecting the allowance grows with every ack while the round trip stays
 * below min_rtt + max_queue_us / 2, slower up to min_rtt + max_queue_us, and above that it is cut in proportion. On a
 * fast link it ends at max_bytes after a few round trips. A timeout and a new connection begin at 4 KiB again; until a
 * frame is measured it grows up to half of what it was (the whole after a new connection) and no further.
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

/* Numbers stay below 2^63, so that sums of two never overflow. */
#define WINDOW_NUMBER_MAX (UINT64_MAX >> 1)

/* What a frame says about itself; travels in the frame's header. */
struct window_header {
    uint64_t epoch;  /* != 0 */
    uint64_t first;  /* number of its first entry */
    uint64_t last;   /* number of its last entry */
    uint64_t base;   /* sender's oldest unacknowledged number, <= first */
    uint64_t top;    /* sender's highest durable number when it was sent */
    uint32_t boot;   /* random per start of the sender */
    uint8_t lane;
    bool may_wait;   /* the sender goes on without an answer to this frame */
    bool has_hello;
    uint64_t boot_seq; /* hello: counts the sender's starts, durable before anything is sent */
    uint64_t boot_top; /* hello: durable top at the first start since the last one that was answered */
    uint64_t replaces; /* hello: epoch that this one takes over from, 0 = none; the receiver closes it; own: a claim */
};

/* ---------------------------------------------------------------- sender ---- */
struct window_sender_options {
    unsigned max_frames;    /* frames under way, 1..WINDOW_FRAMES_MAX */
    unsigned first_frames;  /* at first and after losses; 0 = max_frames */
    uint64_t max_bytes;     /* payload bytes under way */
    int64_t min_rto_us, max_rto_us, first_rto_us;
    int64_t max_queue_us;   /* what our own bytes may add to the link's delay; 0 = no bound but max_bytes */
};
enum { WINDOW_FRAMES_MAX = 256 };
enum window_sender_state { WINDOW_DOWN, WINDOW_SEND, WINDOW_WAIT, WINDOW_STALE_EPOCH };

struct window_sender_stats {
    uint64_t frames, repeated_frames, acks, timeouts, holes, absurd_acks;
};
struct window_flight { /* a frame under way */
    uint64_t last, bytes;
    uint64_t under_way; /* bytes, this frame's included, when it was sent */
    int64_t sent_us; /* 0 when repeated: no RTT sample (Karn) */
};
struct window_sender {
    struct window_sender_options options;
    enum window_sender_state state;
    uint64_t base; /* oldest number without ack */
    uint64_t next; /* next number to send */
    uint64_t top;  /* highest durable number */
    uint64_t high; /* highest number ever sent, for counting repeats */
    uint64_t hold; /* nothing above it goes out; UINT64_MAX = no hold */
    unsigned frames;    /* the window at present: first_frames..max_frames */
    unsigned unasked;   /* frames sent since the last one that may not wait */
    uint64_t unasked_bytes;
    bool hello_acked; /* the receiver knows this boot */
    bool claim;       /* told STALE: hello.replaces = own epoch */
    bool probing;     /* one frame under way at most */
    bool recovering;  /* rewound for a hole or a hello; ends when base moves or at the timeout */
    int64_t rto_us, srtt_us, rttvar_us;
    int64_t deadline_us; /* of the timeout; 0 = none */
    int64_t paused_until_us;
    uint64_t allowed_bytes; /* under way, as the link carries them; max_bytes without max_queue_us */
    uint64_t known_bytes;   /* up to which it may grow without a measurement */
    int64_t min_rtt_us;     /* smallest since connecting; 0 = none yet */
    struct window_flight *flight; /* ring of options.max_frames; the owner's */
    unsigned flight_head, flight_count;
    uint64_t flight_bytes;
    struct window_sender_stats stats;
};
/* flight: options->max_frames of them, for the life of the sender. acked: everything <= it is trimmed. */
void window_sender_init(struct window_sender *s, const struct window_sender_options *options,
                        struct window_flight *flight, uint64_t acked, uint64_t top);
/* Holds back what is above `above` until window_sender_release. */
void window_sender_hold(struct window_sender *s, uint64_t above);
void window_sender_release(struct window_sender *s);
/* Highest number that a frame may end with now: min(top, hold). */
uint64_t window_sender_limit(const struct window_sender *s);
void window_sender_connected(struct window_sender *s);
void window_sender_disconnected(struct window_sender *s);
/* New durable entries up to top. */
void window_sender_durable(struct window_sender *s, uint64_t top);
/* May a frame go out now? *ret_from = its first number: next, or base - 1 for a frame of that one number that only
 * carries the hello. */
bool window_sender_may_send(const struct window_sender *s, int64_t now_us, uint64_t *ret_from);
/* Says hello again, with the next frame or, when there is none, with number base - 1: does the receiver still know us? */
void window_sender_greet(struct window_sender *s);
/* Fills in what the window knows of a frame first..last: numbers, top, hello. first may be below next (an entry that
 * covers a range is sent whole). The rest of the header is the owner's, replaces included unless the window claims.
 * */
void window_sender_header(const struct window_sender *s, uint64_t first, uint64_t last, struct window_header *header);
/* Payload bytes that the next frame should have at most (a larger entry goes alone): small frames on a slow link. */
uint64_t window_sender_frame_bytes(const struct window_sender *s);
/* The frame from..last with so many payload bytes was handed to the bus. */
void window_sender_sent(struct window_sender *s, uint64_t last, uint64_t bytes, int64_t now_us);
/* An answer of the receiver for this epoch and boot. Returns true when base moved (trim up to base - 1). ROLLED_BACK
 * leads to WINDOW_STALE_EPOCH. */
bool window_sender_answer(struct window_sender *s, enum window_verdict verdict, uint64_t hwm, int64_t now_us);
/* Call when the deadline has come. */
void window_sender_tick(struct window_sender *s, int64_t now_us);
/* When to call tick, 0 = not needed. Changes with every call above. */
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
/* Decides; changes boot, boot_seq, lane, top and closed, but not pending: the caller moves pending when it has
 * appended. *ret_from: first number to accept (ACCEPT, FORGOTTEN). For FORGOTTEN the gap is pending + 1 ..
 * *ret_from - 1. */
enum window_verdict window_receive(struct window_stream *s, const struct window_header *h, uint64_t *ret_from);
/* Persistent form of a stream, versioned; STREAM_BYTES at most. No checksum: the store's owner adds one. Decoding
 * gives pending = hwm; ERR_MALFORMED. */
enum { WINDOW_STREAM_BYTES = 64 };
size_t window_stream_encode(const struct window_stream *s, uint64_t hwm, uint8_t out[WINDOW_STREAM_BYTES]);
enum err window_stream_decode(struct slice in, struct window_stream *ret_stream) MUST_CHECK;

#endif
