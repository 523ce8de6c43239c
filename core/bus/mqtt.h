/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mqtt - the packets of MQTT 3.1.1 that a client needs, as pure functions: bytes in, views out; values in, bytes out.
 *
 * Comes in: what a broker sent, in any pieces; what the session wants to say. Goes out: views into the input (nothing
 * is copied or allocated) and encoded packets at the end of a buffer. No state, no I/O.
 * Source: MQTT 3.1.1 (OASIS), sections 2 (formats), 3 (packets), 4.7 (topics).
 */
#ifndef CORE_BUS_MQTT_H
#define CORE_BUS_MQTT_H

#include "core/base/base.h"
#include "core/base/buffer.h"

enum mqtt_type {
    MQTT_CONNECT = 1,
    MQTT_CONNACK = 2,
    MQTT_PUBLISH = 3,
    MQTT_PUBACK = 4,
    MQTT_SUBSCRIBE = 8,
    MQTT_SUBACK = 9,
    MQTT_PINGREQ = 12,
    MQTT_PINGRESP = 13,
    MQTT_DISCONNECT = 14,
};
enum { MQTT_HEADER_MAX = 5, MQTT_TOPIC_MAX = 65535, MQTT_REMAINING_MAX = 268435455, MQTT_SUBACK_FAILURE = 0x80,
       MQTT_WILL_MAX = 65535 /* bytes of its payload */ };

struct mqtt_packet {
    uint8_t type, flags; /* the two halves of the first byte; type may be any of 0..15 */
    struct slice body;   /* everything behind the fixed header */
    size_t size;         /* whole packet, header included */
};
/* Takes the packet at the start of in. OK; ERR_AGAIN: incomplete, ret_packet->size is the size of the whole packet
 * where that is known yet, else 0; ERR_MALFORMED: no length; ERR_FULL: larger than limit_bytes. */
enum err mqtt_next(struct slice in, size_t limit_bytes, struct mqtt_packet *ret_packet) MUST_CHECK;

struct mqtt_publish {
    struct slice topic, payload; /* views into the packet */
    uint16_t id;                 /* 0 at QoS 0 */
    uint8_t qos;
    bool retain, duplicate;
};
/* ERR_MALFORMED: cut short, QoS 3, packet id 0, a topic that is empty or has a wildcard or a NUL. */
enum err mqtt_read_publish(const struct mqtt_packet *packet, struct mqtt_publish *ret_publish) MUST_CHECK;
/* ret_code: 0 accepted, 1..5 refused (mqtt_refusal). */
enum err mqtt_read_connack(const struct mqtt_packet *packet, uint8_t *ret_code) MUST_CHECK;
enum err mqtt_read_puback(const struct mqtt_packet *packet, uint16_t *ret_id) MUST_CHECK;
/* For a SUBSCRIBE of one filter. ret_code: granted QoS or MQTT_SUBACK_FAILURE. */
enum err mqtt_read_suback(const struct mqtt_packet *packet, uint16_t *ret_id, uint8_t *ret_code) MUST_CHECK;
/* What a CONNACK code other than 0 means, e.g. "not authorised". Never NULL. */
const char *mqtt_refusal(uint8_t code);

/* The encoders append to out; buffer_err(out) tells at the end. */
/* The fixed header of a packet that is written in pieces: so many bytes follow. */
void mqtt_put_header(struct buffer *out, enum mqtt_type type, uint8_t flags, size_t remaining);
/* will: its topic, payload, qos and retain count; NULL = none. */
void mqtt_put_connect(struct buffer *out, const char *client_id, uint16_t keepalive_s,
                      const struct mqtt_publish *will);
void mqtt_put_subscribe(struct buffer *out, uint16_t id, const char *filter, uint8_t qos);
void mqtt_put_publish(struct buffer *out, const struct mqtt_publish *publish);
void mqtt_put_puback(struct buffer *out, uint16_t id);
void mqtt_put_pingreq(struct buffer *out);
void mqtt_put_disconnect(struct buffer *out);

/* A topic name: 1..65535 bytes, no wildcard, no NUL. UTF-8 is not checked: the layers above know their alphabet. */
bool mqtt_topic_valid(struct slice topic);
/* A topic filter: '+' and '#' only as whole levels, '#' only as the last one. */
bool mqtt_filter_valid(struct slice filter);
/* Both valid. A wildcard in the first level does not match a topic that starts with '$'. */
bool mqtt_filter_matches(struct slice filter, struct slice topic);

#endif
