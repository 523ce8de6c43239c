/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sink-mqtt - records to an MQTT 5 broker or cluster, one QoS 1 message a record, through Paho.
 *
 * A broker has no transaction and tells nobody what it holds. So the position is kept beside the bridge, in a journal
 * (encode.h): a batch counts when all of its PUBACKs are there and the journal is durable. A crash in between repeats
 * the batch, and so may a broker: the same records with the same identities in their user properties, by which a
 * receiver tells them apart. What a PUBACK is worth is the broker's affair.
 *
 *   write:  connect if needed -> publish with a window -> all PUBACKs -> journal -> OK
 *              '---- anything else: session thrown away, journal read again, the batch comes again
 *
 * The window is the smaller of ours and the broker's Receive Maximum: Paho stalls for seconds when it reaches that by
 * itself. core/bus, the other user of Paho, speaks 3.1.1 on the loop; here it is 5, its properties and a worker's
 * thread.
 */
#ifndef CLOUD_BRIDGE_SINK_MQTT_SINK_MQTT_INTERNAL_H
#define CLOUD_BRIDGE_SINK_MQTT_SINK_MQTT_INTERNAL_H

#include "cloud-bridge/sinks/encode.h"
#include "cloud-bridge/sinks/module.h"

/* ---- settings of a section ---- */
enum mqtt_payload { MQTT_PAYLOAD_JSON, MQTT_PAYLOAD_PROTOBUF };
struct mqtt_settings {
    struct option_list servers;
    char *client_id, *ca, *cert, *key, *user, *password_file, *topic, *state;
    bool insecure;
    int payload; /* enum mqtt_payload */
    int64_t window, timeout_us, keepalive_us;
};

/* ---- session.c: the only file that includes Paho. Its threads call back into it; the rest is the worker's ---- */
struct mqtt_session;
struct mqtt_login {
    const char *server, *client_id, *user, *password; /* user "" = none */
};
/* Connected when it returns OK. ERR_TIMEOUT, ERR_DENIED, ERR_IO, ERR_NOMEM. */
enum err mqtt_session_open(const struct mqtt_settings *settings, const struct mqtt_login *login,
                           struct mqtt_session **ret_session, struct fault *reterr) MUST_CHECK;
/* Returns when no callback is under way or will come any more. */
void mqtt_session_free(struct mqtt_session *session);
DEFINE_CLEANUP(struct mqtt_session, mqtt_session_free)
/* What the broker said, in bytes. */
size_t mqtt_session_packet_max(const struct mqtt_session *session);

struct mqtt_property {
    const char *key;
    char value[160];
};
enum { MQTT_PROPERTIES_MAX = 12 };
struct mqtt_message {
    const char *topic;
    struct slice payload;
    const char *content_type;
    bool text; /* the payload is UTF-8 */
    struct mqtt_property properties[MQTT_PROPERTIES_MAX];
    size_t count;
    size_t item; /* of the batch */
    bool aside;  /* no record, but word of some that are not here: where even that is denied, it is left out */
};
/* Waits for room in the window. Everything is copied. After a failure the session is of no more use than to be
 * settled. */
enum err mqtt_session_publish(struct mqtt_session *session, const struct mqtt_message *message,
                              struct fault *reterr) MUST_CHECK;
struct mqtt_outcome { /* since the last settling */
    bool failed;
    size_t acked;  /* messages that were taken */
    size_t denied; /* records that the broker will not take there: the first of them are told */
    struct mqtt_denial {
        size_t item;
        char text[40];
    } denials[SINK_REFUSALS_MAX];
    char text[120]; /* of what failed */
};
/* Waits until every message is answered. OK: the session is good, and what is not among the denials was taken. */
enum err mqtt_session_settle(struct mqtt_session *session, struct mqtt_outcome *ret_outcome,
                             struct fault *reterr) MUST_CHECK;

/* ---- message.c ---- */
struct mqtt_place {
    char site[ID_MAX + 1], bridge[ID_MAX + 1];
};
/* Upper bound of the packet's bytes. */
size_t mqtt_message_bytes(const struct mqtt_message *message);
/* The reader holds forward's record. topic and payload are written into the buffers and borrowed by the message. */
enum err mqtt_message_fill(struct mqtt_message *message, const struct mqtt_settings *settings,
                           const struct mqtt_place *place, const struct sink_reader *reader,
                           const struct wire_forward *forward, bool replay, const struct sink_names *names,
                           struct buffer *topic, struct buffer *payload) MUST_CHECK;

#endif
