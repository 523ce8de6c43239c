/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sink-nats - records into a NATS JetStream stream, one message a record, through libnats.
 *
 * The stream is this bridge's own: nobody else publishes into it. So the sequence of every message is known beforehand,
 * and each says so (Nats-Expected-Last-Sequence): the servers refuse a message whose predecessor is missing, one that
 * is there already, and one of an earlier life of this bridge that arrives late. Many are on their way at once all the
 * same. The message id (device/epoch/first-last) is for the servers' own dedupe, whose memory of two minutes is too
 * short to stand on, and for whoever reads the stream.
 *
 * The mark is kept in the stream's last message: each carries the positions in the bridge's spool that are reached with
 * it, and the high-water marks of its device's streams. So rows and marks are durable together, message by message:
 *
 *   Weir-Spool:   bridge1 5f0e...:812 99ab...:120433          bridge, per lane epoch:position
 *   Weir-Streams: 77c1...:1:5120 3aa0...:0:17                 epoch:lane:number of this device, the newest first; with
 *                 77c1...:1:5120:31-50,61-64                  the holes that may still be filled (module.h), if any
 *
 *   recover: connect, find or create the stream, read its last sequence and the mark in its last message
 *      |                                                 ^
 *      v                                                 | anything else than "all stored where expected":
 *   write: skip what is there, publish the rest, wait ---+ stop sending, wait for what is outstanding, read again
 *
 * An acknowledgement comes when a majority of the stream's replicas holds the message, but before they have flushed it
 * to disk: a position counts then. A power cut of a majority can take it back; the mark then lies behind the spool, the
 * marks of the devices show it as a jump, and the gap is declared in the stream.
 */
#ifndef CLOUD_BRIDGE_SINK_NATS_SINK_NATS_INTERNAL_H
#define CLOUD_BRIDGE_SINK_NATS_SINK_NATS_INTERNAL_H

#include <nats/nats.h>
#include <uthash.h>

#include "cloud-bridge/sinks/encode.h"
#include "cloud-bridge/sinks/module.h"

/* ---- settings of a section ---- */
enum nats_payload { NATS_PAYLOAD_PROTOBUF, NATS_PAYLOAD_JSON };
struct nats_settings {
    struct option_list servers;
    char *ca, *cert, *key, *user, *password_file, *creds;
    char *stream, *subject;
    bool insecure, create;
    int payload; /* enum nats_payload */
    int64_t replicas, max_age_us, max_bytes, duplicates_us, window, timeout_us;
};

/* ---- marks ---- */
struct nats_mark {
    char bridge[ID_MAX + 1];
    uint64_t epoch[INBOX_LANES], position[INBOX_LANES];
};
enum { NATS_STREAMS = 8, NATS_MARK_BYTES = 200, NATS_STREAMS_BYTES = NATS_STREAMS * (48 + SINK_HOLES_BYTES) };
void nats_mark_write(const struct nats_mark *mark, char ret_text[NATS_MARK_BYTES]);
enum err nats_mark_read(const char *text, struct nats_mark *ret_mark) MUST_CHECK;

/* A device's streams (one per epoch), the one written last first; the oldest is forgotten. */
struct nats_stream {
    uint64_t epoch, hwm;
    uint8_t lane;
    struct sink_holes holes;
};
struct nats_device {
    char name[ID_MAX + 1];
    bool failed;
    struct nats_stream streams[NATS_STREAMS];
    size_t count;
    UT_hash_handle hh;
};
void nats_streams_write(const struct nats_device *device, char ret_text[NATS_STREAMS_BYTES]);
/* Fills streams and count. ERR_MALFORMED. */
enum err nats_streams_read(const char *text, struct nats_device *device) MUST_CHECK;
/* High-water mark and holes into *ret_mark: none when unknown. */
void nats_device_mark(const struct nats_device *device, uint64_t epoch, struct sink_mark *ret_mark);
void nats_device_keep(struct nats_device *device, uint64_t epoch, uint8_t lane, const struct sink_mark *mark);
void nats_devices_clear(struct nats_device **table);
/* *ret_known tells whether it was there. ERR_NOMEM. */
enum err nats_devices_get(struct nats_device **table, const char *name, struct nats_device **ret_device,
                          bool *ret_known) MUST_CHECK;

/* Whether every subject of `ours` ('*' in it = any token) is one of `pattern` (a stream's: '*', '>'). */
bool nats_subject_covers(const char *pattern, const char *ours);

/* ---- the sink ---- */
struct nats_message {
    natsMsg *msg; /* owned */
    size_t item;  /* of the batch */
};
struct nats_sink {
    const struct nats_settings *settings; /* borrowed */
    char site[ID_MAX + 1], bridge[ID_MAX + 1], stream[ID_MAX + 16];
    char password[256];
    natsConnection *connection; /* NULL: not connected */
    jsCtx *js;
    natsSubscription *acks;
    char *inbox;       /* owned; acknowledgements come to <inbox>.<attempt>.<index> */
    unsigned attempt;
    bool known;        /* what follows is what the stream holds; false after anything went wrong */
    bool empty;        /* no message in the stream: no marks to look up */
    uint64_t last;     /* sequence of the stream's last message */
    struct nats_mark mark;
    struct nats_device *devices;
    struct sink_names *names; /* for JSON: of the descriptions that came by */
    struct sink_reader reader;
    struct buffer payload, text, gap;
    struct fault why; /* of the last position() that failed */
    struct nats_message *messages; /* of the batch in hand */
    size_t count, cap;
};

/* server.c: connection. text names the step; reterr gets it with what libnats says. */
enum err nats_fault(struct nats_sink *n, natsStatus status, const char *step, struct fault *reterr);
enum err nats_connect(struct nats_sink *n, struct fault *reterr) MUST_CHECK;
void nats_disconnect(struct nats_sink *n);
/* stream.c: the stream as it is. Sets known, empty, last, mark; forgets the devices. ERR_CONFLICT: the stream is not
 * ours, or not made for this. */
enum err nats_recover(struct nats_sink *n, struct fault *reterr) MUST_CHECK;
/* The device with the marks that the stream has of it. */
enum err nats_find_device(struct nats_sink *n, const struct wire_forward *forward, struct nats_device **ret_device,
                          struct fault *reterr) MUST_CHECK;
/* message.c: one message for `forward` (the reader holds its record), of n->messages; sequence and marks are those that
 * hold when it is stored. */
enum err nats_add_message(struct nats_sink *n, size_t item, const struct wire_forward *forward, bool replay,
                          const struct nats_device *device, const struct nats_mark *reached) MUST_CHECK;
void nats_clear_messages(struct nats_sink *n);
/* publish.c: all of n->messages, acknowledged where expected. ERR_UNSUPPORTED: the server will never take one, named
 * with sink_refuse. Otherwise the stream must be read again. */
enum err nats_publish(struct nats_sink *n, const struct sink_batch *batch, struct fault *reterr) MUST_CHECK;

#endif
