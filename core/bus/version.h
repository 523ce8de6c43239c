/* SPDX-License-Identifier: Apache-2.0 */
/*
 * version - a session's MQTT version, 3.1.1 or 5, and what the server allows in it: the packets that differ are read
 * and written here, so that the session itself need not know. No I/O.
 */
#ifndef CORE_BUS_VERSION_H
#define CORE_BUS_VERSION_H

#include "core/bus/bus.h"
#include "core/bus/mqtt.h"

struct version { /* embedded */
    bool v5;
    /* From the CONNACK; without a word of it, what is usual. */
    int64_t keepalive_us; /* 0 = ours */
    unsigned in_flight_max, max_qos;
    size_t packet_max;    /* 0 = any */
    bool no_retain;
    bool plain_will;      /* kept across sessions: the server takes no retained will, so it gets one that is not */
    struct buffer properties; /* of one publication */
};

void version_init(struct version *version);
void version_deinit(struct version *version);

/* *ret_refusal: why not, in a few words; NULL when it was accepted. *ret_not_v5: for its version. ERR_MALFORMED. */
enum err version_read_connack(struct version *version, const struct mqtt_packet *packet, const char **ret_refusal,
                              bool *ret_not_v5) MUST_CHECK;
enum err version_read_publish(const struct version *version, const struct mqtt_packet *packet,
                              struct mqtt_publish *ret_publish) MUST_CHECK;
enum err version_read_puback(const struct version *version, const struct mqtt_packet *packet,
                             uint16_t *ret_id) MUST_CHECK;
enum err version_read_suback(const struct version *version, const struct mqtt_packet *packet, uint16_t *ret_id,
                             uint8_t *ret_code) MUST_CHECK;
/* A server's DISCONNECT; there is none in 3.1.1: ERR_MALFORMED. */
enum err version_read_disconnect(const struct version *version, const struct mqtt_packet *packet,
                                 const char **ret_reason) MUST_CHECK;

void version_put_connect(const struct version *version, struct buffer *out, const char *client_id, uint16_t keepalive_s,
                         const struct mqtt_publish *will);
void version_put_subscribe(const struct version *version, struct buffer *out, uint16_t id, const char *filter,
                           uint8_t qos);
/* extras may be NULL. ERR_UNSUPPORTED: the server would end the session for it; ERR_FULL, ERR_NOMEM: out is as it
 * was. */
enum err version_put_publish(struct version *version, struct buffer *out, const struct mqtt_publish *publish,
                             const struct bus_extras *extras) MUST_CHECK;

#endif
