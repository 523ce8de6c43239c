/* SPDX-License-Identifier: Apache-2.0 */
/*
 * receive - the receiving end of a hop on the wire: bus message -> Frame -> inbox -> Forwards in the spool -> Ack.
 *
 *   topic, payload --+- retained, not ours ------------------------> ignored, counted
 *                    +- admit() says no ---------------------------> dropped, counted (the sender repeats)
 *                    +- does not decode, wrong identity -----------> refused, told, not answered
 *                    '- inbox_frame -> on_entry: Record  -> Forward (identity of the device kept)
 *                                                Forward -> the same bytes
 *                                      on_answer: Ack on <...>/<sender>/ack, QoS 0
 *
 * Used by the gateway's ingest (Records and Forwards) and by the bridge's intake (Forwards only).
 *
 * A frame whose header is wrong is refused whole. A record that is framed well but fails its check does not hold its
 * sender up for ever: its numbers become a Gap (DAMAGED), counted and told, and the stream goes on. A damaged Forward
 * becomes a gap of the hop itself (see below); its device's numbers then show as a jump in the sink.
 *
 * Hop gaps. What is lost between two receivers can be named only by the hop's own numbers. Such a range travels as a
 * Forward whose device and gateway are both the sender of the hop (receive_hop_gap); a device never carries its
 * gateway's name, that is refused here. Hop streams have jumps by nature, sinks declare none in them.
 *
 * Path. Answers to gateways below carry the hash of the receiver's path, and NEED_HELLO the path itself: whoever
 * wants to know it asks with a frame of a boot that nobody has, and is told of each change from then on. Devices
 * are not told: they cannot be part of a loop.
 *
 * Numbers of Records are bounded by RECEIVE_NUMBER_MAX (500 years at 1,000 a second): the numbers of a hop are the
 * sum of those of its devices, so no device can drive the hop's numbers to their end.
 */
#ifndef PROTO_RECEIVE_RECEIVE_H
#define PROTO_RECEIVE_RECEIVE_H

#include "core/base/base.h"
#include "core/base/buffer.h"
#include "core/bus/bus.h"
#include "core/inbox/inbox.h"
#include "proto/path/path.h"
#include "proto/wire/wire.h"

struct receive;

#define RECEIVE_NUMBER_MAX (UINT64_C(1) << 44)

enum receive_refusal {
    RECEIVE_BAD_FRAME,    /* does not decode */
    RECEIVE_BAD_IDENTITY, /* sender is not the topic's device, or is the receiver: a security event */
    RECEIVE_BAD_CHANNEL,  /* Records where only Forwards are taken */
    RECEIVE_BAD_RECORD,   /* became a gap */
    RECEIVE_QUOTA,
    RECEIVE_TOO_MANY,     /* a new stream, above what is kept of one sender or of all; once per sender and minute */
};
const char *receive_refusal_name(enum receive_refusal refusal);

enum receive_accepts { RECEIVE_FORWARDS, RECEIVE_RECORDS_AND_FORWARDS };
struct receive_options {
    const char *site, *receiver; /* identities; copied */
    enum receive_accepts accepts;
    struct inbox_options inbox;
};
struct receive_handlers {
    /* Before anything is decoded; false drops the message. May be NULL. */
    bool (*admit)(void *arg, const char *sender, size_t bytes);
    /* A frame has been judged. May be NULL. */
    void (*on_frame)(void *arg, const char *sender, enum window_verdict verdict, size_t records);
    /* why: constant text. For the log and the sender's account. */
    void (*on_refused)(void *arg, const char *sender, enum receive_refusal refusal, const char *why);
    void (*on_durable)(void *arg);
    void (*on_closed)(void *arg, const char *sender, uint64_t epoch, const struct window_stream *stream);
    void *arg;
};
struct receive_stats {
    uint64_t frames;            /* that decoded and named their sender truly */
    uint64_t decode_errors, identity_errors, channel_errors, retained_ignored, foreign, quota_dropped;
    uint64_t records;           /* accepted */
    uint64_t records_refused;   /* became gaps */
    uint64_t acks, acks_dropped; /* the bus took none: the sender repeats and is answered again */
};

/* bus, store, spools borrowed. Does not touch the bus's handlers: the owner hands messages to receive_message. */
enum err receive_new(struct loop *loop, struct bus *bus, struct store *store, struct spool *const spools[INBOX_LANES],
                     const struct receive_options *options, const struct receive_handlers *handlers,
                     struct receive **ret_receive, struct fault *reterr) MUST_CHECK;
void receive_free(struct receive *receive);
DEFINE_CLEANUP(struct receive, receive_free)
/* Makes the subscriptions. ERR_NOMEM. */
enum err receive_subscribe(struct receive *receive) MUST_CHECK;
/* One message of the bus. Allocates nothing of its own. */
void receive_message(struct receive *receive, struct slice topic, struct slice payload, bool retained);
/* The bus is up again: tells every known sender where its stream stands (HOLE with the durable hwm), so that what
 * was sent while nobody listened comes again at once and not after the senders' timeouts. What the bus does not
 * take is left out: those wait for their timeouts. */
void receive_resume(struct receive *receive);
/* The receiver's own path (proto/path), which begins with itself: what gateways below are told. Until this is
 * called it is the receiver alone. */
void receive_set_path(struct receive *receive, const struct path *path);
struct inbox *receive_inbox(struct receive *receive);
/* Whether the peer has sent Forwards since the start: a gateway below. Of the first 64 of them. */
bool receive_has_gateway(const struct receive *receive, const char *peer);
void receive_stats(const struct receive *receive, struct receive_stats *ret_stats);

/* Appends the Forward that declares first..last of a hop's own stream as lost. */
enum err receive_hop_gap(const char *sender, uint64_t epoch, uint8_t lane, uint64_t first, uint64_t last,
                         Weir__V1__GapReason reason, uint64_t wall_us, struct buffer *out) MUST_CHECK;
/* An event that a hop itself tells, in the alarm lane of its own stream: the Forward that carries it as `number`. Its
 * record is written to `record`, which is reset first. ERR_FULL, ERR_NOMEM. */
struct receive_note {
    char *id, *text;
    uint64_t wall_us, mono_us;
};
enum err receive_hop_note(const char *sender, uint64_t epoch, uint64_t number, const struct receive_note *note,
                          struct buffer *record, struct wire_forward *ret_forward) MUST_CHECK;
/* Whether a Forward belongs to a hop's own stream. */
static inline bool receive_is_hop(const struct wire_forward *forward)
{
    return strcmp(forward->device, forward->gateway) == 0;
}

#endif
