/* SPDX-License-Identifier: Apache-2.0 */
#include "core/bus/mqtt.h"

#include "core/base/cursor.h"

enum { PROTOCOL_LEVEL = 4, CLEAN_SESSION = 0x02, WILL = 0x04, WILL_QOS_SHIFT = 3, WILL_RETAIN = 0x20,
       SUBSCRIBE_FLAGS = 0x02 };

/* ---- reading ---- */
enum err mqtt_next(struct slice in, size_t limit_bytes, struct mqtt_packet *ret_packet)
{
    ret_packet->size = 0;
    size_t length = 0;
    size_t at = 1;
    for (unsigned shift = 0;; shift += 7) {
        if (at >= in.len) {
            return ERR_AGAIN;
        }
        uint8_t byte = in.ptr[at++];
        length |= (size_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            break;
        }
        if (at == MQTT_HEADER_MAX) {
            return ERR_MALFORMED; /* a fifth length byte: section 2.2.3 */
        }
    }
    ret_packet->size = at + length;
    if (ret_packet->size > limit_bytes) {
        return ERR_FULL;
    }
    if (in.len < ret_packet->size) {
        return ERR_AGAIN;
    }
    ret_packet->type = in.ptr[0] >> 4;
    ret_packet->flags = in.ptr[0] & 0x0f;
    ret_packet->body = slice_of(in.ptr + at, length);
    return OK;
}

bool mqtt_topic_valid(struct slice topic)
{
    if (topic.len == 0 || topic.len > MQTT_TOPIC_MAX) {
        return false;
    }
    return memchr(topic.ptr, '+', topic.len) == NULL && memchr(topic.ptr, '#', topic.len) == NULL &&
           memchr(topic.ptr, '\0', topic.len) == NULL;
}

enum err mqtt_read_publish(const struct mqtt_packet *packet, struct mqtt_publish *ret_publish)
{
    struct cursor c = cursor_of(packet->body);
    struct slice topic = cursor_bytes(&c, cursor_u16be(&c));
    uint8_t qos = packet->flags >> 1 & 3;
    uint16_t id = qos > 0 ? cursor_u16be(&c) : 0;
    if (cursor_err(&c) != OK || qos > 2 || (qos > 0 && id == 0) || !mqtt_topic_valid(topic)) {
        return ERR_MALFORMED;
    }
    *ret_publish = (struct mqtt_publish){
        .topic = topic,
        .payload = cursor_bytes(&c, cursor_left(&c)),
        .id = id,
        .qos = qos,
        .retain = packet->flags & 1,
        .duplicate = packet->flags >> 3,
    };
    return OK;
}

enum err mqtt_read_connack(const struct mqtt_packet *packet, uint8_t *ret_code)
{
    struct cursor c = cursor_of(packet->body);
    uint8_t flags = cursor_u8(&c);
    uint8_t code = cursor_u8(&c);
    TRY(cursor_end(&c));
    if (packet->flags != 0 || flags > 1) {
        return ERR_MALFORMED;
    }
    *ret_code = code;
    return OK;
}

enum err mqtt_read_puback(const struct mqtt_packet *packet, uint16_t *ret_id)
{
    struct cursor c = cursor_of(packet->body);
    uint16_t id = cursor_u16be(&c);
    TRY(cursor_end(&c));
    if (packet->flags != 0 || id == 0) {
        return ERR_MALFORMED;
    }
    *ret_id = id;
    return OK;
}

enum err mqtt_read_suback(const struct mqtt_packet *packet, uint16_t *ret_id, uint8_t *ret_code)
{
    struct cursor c = cursor_of(packet->body);
    uint16_t id = cursor_u16be(&c);
    uint8_t code = cursor_u8(&c);
    TRY(cursor_end(&c));
    if (packet->flags != 0 || id == 0 || (code > 2 && code != MQTT_SUBACK_FAILURE)) {
        return ERR_MALFORMED;
    }
    *ret_id = id;
    *ret_code = code;
    return OK;
}

const char *mqtt_refusal(uint8_t code)
{
    static const char *const texts[] = {
        "accepted", "unacceptable protocol version", "client identifier rejected", "server unavailable",
        "bad user name or password", "not authorised",
    };
    return code < COUNT_OF(texts) ? texts[code] : "unknown refusal code";
}

/* ---- writing ---- */
static size_t make_header(uint8_t head[MQTT_HEADER_MAX], enum mqtt_type type, uint8_t flags, size_t remaining)
{
    size_t len = 1;
    size_t left = remaining;
    head[0] = (uint8_t)(type << 4 | flags);
    do {
        head[len] = left & 0x7f;
        left >>= 7;
        head[len++] |= left > 0 ? 0x80 : 0;
    } while (left > 0);
    return len;
}

void mqtt_put_header(struct buffer *out, enum mqtt_type type, uint8_t flags, size_t remaining)
{
    uint8_t head[MQTT_HEADER_MAX];
    buffer_put(out, head, make_header(head, type, flags, remaining));
}

/* Room for a packet with its fixed header written; NULL when the buffer failed. */
static uint8_t *put_header(struct buffer *out, enum mqtt_type type, uint8_t flags, size_t remaining)
{
    uint8_t head[MQTT_HEADER_MAX];
    size_t len = make_header(head, type, flags, remaining);
    uint8_t *at = buffer_extend(out, len + remaining);
    if (at == NULL) {
        return NULL;
    }
    memcpy(at, head, len);
    return at + len;
}

static uint8_t *put_u16(uint8_t *at, uint16_t v)
{
    at[0] = (uint8_t)(v >> 8);
    at[1] = (uint8_t)v;
    return at + 2;
}

static uint8_t *put_bytes(uint8_t *at, struct slice s)
{
    if (s.len > 0) {
        memcpy(at, s.ptr, s.len);
    }
    return at + s.len;
}

static uint8_t *put_string(uint8_t *at, struct slice s)
{
    return put_bytes(put_u16(at, (uint16_t)s.len), s);
}

void mqtt_put_connect(struct buffer *out, const char *client_id, uint16_t keepalive_s,
                      const struct mqtt_publish *will)
{
    static const uint8_t fixed[] = {0, 4, 'M', 'Q', 'T', 'T', PROTOCOL_LEVEL};
    struct slice id = slice_str(client_id);
    uint8_t flags = CLEAN_SESSION;
    size_t will_len = 0;
    if (will != NULL) {
        flags |= (uint8_t)(WILL | will->qos << WILL_QOS_SHIFT | (will->retain ? WILL_RETAIN : 0));
        will_len = 2 + will->topic.len + 2 + will->payload.len;
    }
    uint8_t *at = put_header(out, MQTT_CONNECT, 0, sizeof(fixed) + 1 + 2 + 2 + id.len + will_len);
    if (at == NULL) {
        return;
    }
    at = put_bytes(at, slice_of(fixed, sizeof(fixed)));
    *at++ = flags;
    at = put_string(put_u16(at, keepalive_s), id);
    if (will != NULL) {
        (void)put_string(put_string(at, will->topic), will->payload);
    }
}

void mqtt_put_subscribe(struct buffer *out, uint16_t id, const char *filter, uint8_t qos)
{
    struct slice text = slice_str(filter);
    uint8_t *at = put_header(out, MQTT_SUBSCRIBE, SUBSCRIBE_FLAGS, 2 + 2 + text.len + 1);
    if (at != NULL) {
        at = put_string(put_u16(at, id), text);
        *at = qos;
    }
}

void mqtt_put_publish(struct buffer *out, const struct mqtt_publish *publish)
{
    uint8_t flags = (uint8_t)((publish->duplicate ? 8 : 0) | publish->qos << 1 | (publish->retain ? 1 : 0));
    size_t id_len = publish->qos > 0 ? 2 : 0;
    uint8_t *at = put_header(out, MQTT_PUBLISH, flags, 2 + publish->topic.len + id_len + publish->payload.len);
    if (at != NULL) {
        at = put_string(at, publish->topic);
        at = id_len > 0 ? put_u16(at, publish->id) : at;
        (void)put_bytes(at, publish->payload);
    }
}

void mqtt_put_puback(struct buffer *out, uint16_t id)
{
    uint8_t *at = put_header(out, MQTT_PUBACK, 0, 2);
    if (at != NULL) {
        (void)put_u16(at, id);
    }
}

void mqtt_put_pingreq(struct buffer *out)
{
    (void)put_header(out, MQTT_PINGREQ, 0, 0);
}

void mqtt_put_disconnect(struct buffer *out)
{
    (void)put_header(out, MQTT_DISCONNECT, 0, 0);
}

/* ---- topics ---- */
/* The level at the start of *rest, which is moved behind its '/'; rest->ptr is NULL after the last level. */
static struct slice next_level(struct slice *rest)
{
    const uint8_t *slash = rest->len > 0 ? memchr(rest->ptr, '/', rest->len) : NULL;
    if (slash == NULL) {
        struct slice level = *rest;
        *rest = slice_of(NULL, 0);
        return level;
    }
    struct slice level = slice_of(rest->ptr, (size_t)(slash - rest->ptr));
    *rest = slice_of(slash + 1, rest->len - level.len - 1);
    return level;
}

static bool is_char(struct slice level, char c)
{
    return level.len == 1 && level.ptr[0] == (uint8_t)c;
}

bool mqtt_filter_valid(struct slice filter)
{
    if (filter.len == 0 || filter.len > MQTT_TOPIC_MAX || memchr(filter.ptr, '\0', filter.len) != NULL) {
        return false;
    }
    for (struct slice rest = filter; rest.ptr != NULL;) {
        struct slice level = next_level(&rest);
        if (is_char(level, '#')) {
            return rest.ptr == NULL;
        }
        if (!is_char(level, '+') && level.len > 0 && !mqtt_topic_valid(level)) {
            return false;
        }
    }
    return true;
}

bool mqtt_filter_matches(struct slice filter, struct slice topic)
{
    if (topic.ptr[0] == '$' && (filter.ptr[0] == '+' || filter.ptr[0] == '#')) {
        return false; /* section 4.7.2 */
    }
    while (filter.ptr != NULL) {
        struct slice want = next_level(&filter);
        if (is_char(want, '#')) {
            return true; /* also the parent level itself: "a/#" matches "a" */
        }
        if (topic.ptr == NULL) {
            return false;
        }
        struct slice is = next_level(&topic);
        if (!is_char(want, '+') && !slice_equal(want, is)) {
            return false;
        }
    }
    return topic.ptr == NULL;
}
