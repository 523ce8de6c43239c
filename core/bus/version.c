/* SPDX-License-Identifier: Apache-2.0 */
#include "core/bus/version.h"

#include "core/bus/mqtt5.h"

enum { PROPERTIES_MAX = 64 << 10, IN_FLIGHT_MAX = 60000 /* ids are handed out in turn, answers come in order */ };

/* ---- life ---- */
static void allow_what_is_usual(struct version *v)
{
    v->keepalive_us = 0;
    v->in_flight_max = IN_FLIGHT_MAX;
    v->max_qos = 1;
    v->packet_max = 0;
    v->no_retain = false;
}

void version_init(struct version *v)
{
    *v = (struct version){.v5 = false};
    allow_what_is_usual(v);
    buffer_init(&v->properties, PROPERTIES_MAX);
}

void version_deinit(struct version *v)
{
    buffer_deinit(&v->properties);
}

/* ---- reading ---- */
enum err version_read_connack(struct version *v, const struct mqtt_packet *packet, const char **ret_refusal,
                              bool *ret_not_v5)
{
    struct mqtt5_connack a;
    uint8_t code = 0;
    allow_what_is_usual(v);
    *ret_not_v5 = false;
    if (!v->v5) {
        TRY(mqtt_read_connack(packet, &code));
        *ret_refusal = code != 0 ? mqtt_refusal(code) : NULL;
        return OK;
    }
    TRY(mqtt5_read_connack(packet, &a));
    *ret_refusal = a.code != 0 ? mqtt5_reason(a.code) : NULL;
    *ret_not_v5 = a.code == MQTT5_VERSION_REFUSED || (a.code != 0 && a.code < MQTT5_REFUSED);
    v->keepalive_us = a.keepalive_s * SECOND_US;
    v->in_flight_max = a.receive_max < IN_FLIGHT_MAX ? a.receive_max : IN_FLIGHT_MAX;
    v->max_qos = a.max_qos < 1 ? a.max_qos : 1;
    v->packet_max = a.packet_max;
    v->no_retain = !a.retain;
    v->plain_will = a.code == MQTT5_RETAIN_REFUSED || (a.code == 0 && !a.retain);
    return OK;
}

enum err version_read_publish(const struct version *v, const struct mqtt_packet *packet,
                              struct mqtt_publish *ret_publish)
{
    return v->v5 ? mqtt5_read_publish(packet, ret_publish, NULL) : mqtt_read_publish(packet, ret_publish);
}

enum err version_read_puback(const struct version *v, const struct mqtt_packet *packet, uint16_t *ret_id)
{
    uint8_t code; /* refused or not: it is no longer under way */
    return v->v5 ? mqtt5_read_puback(packet, ret_id, &code) : mqtt_read_puback(packet, ret_id);
}

enum err version_read_suback(const struct version *v, const struct mqtt_packet *packet, uint16_t *ret_id,
                             uint8_t *ret_code)
{
    return v->v5 ? mqtt5_read_suback(packet, ret_id, ret_code) : mqtt_read_suback(packet, ret_id, ret_code);
}

enum err version_read_disconnect(const struct version *v, const struct mqtt_packet *packet, const char **ret_reason)
{
    uint8_t code = 0;
    if (!v->v5) {
        return ERR_MALFORMED;
    }
    TRY(mqtt5_read_disconnect(packet, &code));
    *ret_reason = mqtt5_reason(code);
    return OK;
}

/* ---- writing ---- */
void version_put_connect(const struct version *v, struct buffer *out, const char *client_id, uint16_t keepalive_s,
                         const struct mqtt_publish *will)
{
    struct mqtt_publish plain;
    if (v->v5 && v->plain_will && will != NULL) {
        plain = *will;
        plain.retain = false;
        will = &plain;
    }
    if (v->v5) {
        mqtt5_put_connect(out, client_id, keepalive_s, will);
    } else {
        mqtt_put_connect(out, client_id, keepalive_s, will);
    }
}

void version_put_subscribe(const struct version *v, struct buffer *out, uint16_t id, const char *filter, uint8_t qos)
{
    if (v->v5) {
        mqtt5_put_subscribe(out, id, filter, qos);
    } else {
        mqtt_put_subscribe(out, id, filter, qos);
    }
}

static enum err put_extras(struct version *v, const struct bus_extras *extras)
{
    buffer_reset(&v->properties);
    if (extras == NULL) {
        return OK;
    }
    if (extras->content_type != NULL) {
        mqtt5_put_text(&v->properties, MQTT5_CONTENT_TYPE, slice_str(extras->content_type));
    }
    for (size_t i = 0; i < extras->count; i++) {
        mqtt5_put_user_property(&v->properties, slice_str(extras->properties[i].name), extras->properties[i].value);
    }
    return buffer_err(&v->properties);
}

static enum err put_publish5(struct version *v, struct buffer *out, const struct mqtt_publish *publish,
                             const struct bus_extras *extras)
{
    TRY(put_extras(v, extras));
    size_t size = MQTT_HEADER_MAX + 2 + publish->topic.len + 2 + 4 + v->properties.len + publish->payload.len;
    if ((publish->retain && v->no_retain) || (v->packet_max != 0 && size > v->packet_max)) {
        return ERR_UNSUPPORTED;
    }
    mqtt5_put_publish(out, publish, buffer_slice(&v->properties));
    return OK;
}

enum err version_put_publish(struct version *v, struct buffer *out, const struct mqtt_publish *publish,
                             const struct bus_extras *extras)
{
    size_t before = out->len;
    if (v->v5) {
        TRY(put_publish5(v, out, publish, extras));
    } else {
        mqtt_put_publish(out, publish);
    }
    enum err err = buffer_err(out);
    if (err != OK) {
        out->len = before;
        out->err = OK;
    }
    return err;
}
