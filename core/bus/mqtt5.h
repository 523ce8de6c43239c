/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mqtt5 - the packets that MQTT 5 words otherwise than 3.1.1 (mqtt.h has the others), as pure functions: bytes in,
 * views out; values in, bytes out. No state, no I/O, nothing is allocated.
 *
 * Every packet with properties is walked to its end: a property that is cut short, unknown, or whose length does not
 * fit makes the whole packet malformed.
 * Source: MQTT 5.0 (OASIS), sections 2.2.2 (properties), 2.4 (reason codes), 3 (packets).
 */
#ifndef CORE_BUS_MQTT5_H
#define CORE_BUS_MQTT5_H

#include "core/bus/mqtt.h"

enum { MQTT5_REFUSED = 0x80 /* this and above: a reason code is a failure */, MQTT5_VERSION_REFUSED = 0x84,
       MQTT5_RETAIN_REFUSED = 0x9a };

/* ---- properties ---- */
enum mqtt5_id {
    MQTT5_CONTENT_TYPE = 3,
    MQTT5_SERVER_KEEP_ALIVE = 19,
    MQTT5_REASON_STRING = 31,
    MQTT5_RECEIVE_MAXIMUM = 33,
    MQTT5_TOPIC_ALIAS = 35,
    MQTT5_MAXIMUM_QOS = 36,
    MQTT5_RETAIN_AVAILABLE = 37,
    MQTT5_USER_PROPERTY = 38,
    MQTT5_MAXIMUM_PACKET_SIZE = 39,
};
struct mqtt5_property {
    uint8_t id; /* any of section 2.2.2.2 */
    uint32_t number;
    struct slice name, value; /* views; name: of user properties; value: of texts and bytes */
};
/* Takes the property at the start of *properties. ERR_NOT_FOUND: there is none left; ERR_MALFORMED. */
enum err mqtt5_property_next(struct slice *properties, struct mqtt5_property *ret_property) MUST_CHECK;
/* Append one property; texts of 65535 bytes at most are cut there. */
void mqtt5_put_text(struct buffer *properties, enum mqtt5_id id, struct slice value);
void mqtt5_put_user_property(struct buffer *properties, struct slice name, struct slice value);

/* ---- reading ---- */
struct mqtt5_connack {
    uint8_t code; /* 0 accepted; MQTT5_REFUSED and above; 1: as a server answers that knows 3.1.1 only */
    struct slice reason; /* the server's own words; a view; empty = none */
    uint16_t keepalive_s; /* that the server wants; 0 = ours is in force */
    uint16_t receive_max; /* QoS 1 publications without PUBACK */
    uint32_t packet_max;  /* bytes; 0 = no limit */
    uint8_t max_qos;
    bool retain; /* retained messages are taken */
};
enum err mqtt5_read_connack(const struct mqtt_packet *packet, struct mqtt5_connack *ret_connack) MUST_CHECK;
/* ret_properties (may be NULL): views. ERR_MALFORMED as mqtt_read_publish, and where there is a topic alias: we allow
 * none. */
enum err mqtt5_read_publish(const struct mqtt_packet *packet, struct mqtt_publish *ret_publish,
                            struct slice *ret_properties) MUST_CHECK;
/* ret_code: MQTT5_REFUSED and above: the server did not take it. */
enum err mqtt5_read_puback(const struct mqtt_packet *packet, uint16_t *ret_id, uint8_t *ret_code) MUST_CHECK;
/* For a SUBSCRIBE of one filter. ret_code: granted QoS, or MQTT_SUBACK_FAILURE whatever the reason. */
enum err mqtt5_read_suback(const struct mqtt_packet *packet, uint16_t *ret_id, uint8_t *ret_code) MUST_CHECK;
/* ret_code: 0 = normal. */
enum err mqtt5_read_disconnect(const struct mqtt_packet *packet, uint8_t *ret_code) MUST_CHECK;
/* What a reason code means, in a few words. Never NULL. */
const char *mqtt5_reason(uint8_t code);

/* ---- writing: as the functions of mqtt.h; PUBACK, PINGREQ and DISCONNECT are the same in both ---- */
void mqtt5_put_connect(struct buffer *out, const char *client_id, uint16_t keepalive_s,
                       const struct mqtt_publish *will);
void mqtt5_put_subscribe(struct buffer *out, uint16_t id, const char *filter, uint8_t qos);
/* properties: as appended by mqtt5_put_*; may be empty. */
void mqtt5_put_publish(struct buffer *out, const struct mqtt_publish *publish, struct slice properties);

#endif
