/* SPDX-License-Identifier: Apache-2.0 */
#include "core/bus/mqtt5.h"

#include "core/base/cursor.h"

enum { PROTOCOL_LEVEL = 5, CLEAN_START = 0x02, WILL = 0x04, WILL_QOS_SHIFT = 3, WILL_RETAIN = 0x20,
       SUBSCRIBE_FLAGS = 0x02, TEXT_MAX = 65535, VARINT_BYTES_MAX = 4 };

/* ---- properties ---- */
enum kind { UNKNOWN, BYTE, TWO_BYTES, FOUR_BYTES, VARINT, TEXT, PAIR };

static enum kind kind_of(uint8_t id)
{
    static const uint8_t kinds[] = {
        [1] = BYTE,       [2] = FOUR_BYTES, [3] = TEXT,       [8] = TEXT,       [9] = TEXT,       [11] = VARINT,
        [17] = FOUR_BYTES, [18] = TEXT,     [19] = TWO_BYTES, [21] = TEXT,      [22] = TEXT,      [23] = BYTE,
        [24] = FOUR_BYTES, [25] = BYTE,     [26] = TEXT,      [28] = TEXT,      [31] = TEXT,      [33] = TWO_BYTES,
        [34] = TWO_BYTES, [35] = TWO_BYTES, [36] = BYTE,      [37] = BYTE,      [38] = PAIR,      [39] = FOUR_BYTES,
        [40] = BYTE,      [41] = BYTE,      [42] = BYTE,
    };
    return id < COUNT_OF(kinds) ? (enum kind)kinds[id] : UNKNOWN;
}

/* Section 1.5.5: at most four bytes. */
static uint32_t get_varint(struct cursor *c)
{
    const uint8_t *begin = c->at;
    uint64_t value = cursor_varint(c);
    if (value > MQTT_REMAINING_MAX || c->at - begin > VARINT_BYTES_MAX) {
        c->failed = true;
        return 0;
    }
    return (uint32_t)value;
}

static struct slice get_text(struct cursor *c)
{
    return cursor_bytes(c, cursor_u16be(c));
}

static uint32_t get_u32(struct cursor *c)
{
    uint32_t high = cursor_u16be(c);
    return high << 16 | cursor_u16be(c);
}

static bool get_property(struct cursor *c, struct mqtt5_property *p)
{
    *p = (struct mqtt5_property){.id = cursor_u8(c)};
    switch (kind_of(p->id)) {
    case UNKNOWN: return false;
    case BYTE: p->number = cursor_u8(c); break;
    case TWO_BYTES: p->number = cursor_u16be(c); break;
    case FOUR_BYTES: p->number = get_u32(c); break;
    case VARINT: p->number = get_varint(c); break;
    case PAIR: p->name = get_text(c); p->value = get_text(c); break;
    case TEXT: p->value = get_text(c); break;
    }
    return !c->failed;
}

enum err mqtt5_property_next(struct slice *properties, struct mqtt5_property *ret_property)
{
    struct cursor c = cursor_of(*properties);
    if (cursor_left(&c) == 0) {
        return ERR_NOT_FOUND;
    }
    if (!get_property(&c, ret_property)) {
        return ERR_MALFORMED;
    }
    *properties = slice_of(c.at, cursor_left(&c));
    return OK;
}

/* The properties at the cursor, each of which was looked at. */
static struct slice get_properties(struct cursor *c)
{
    struct slice all = cursor_bytes(c, get_varint(c)), rest = all;
    struct mqtt5_property p;
    enum err err = OK;
    while (!c->failed && (err = mqtt5_property_next(&rest, &p)) == OK) {
    }
    c->failed |= err == ERR_MALFORMED;
    return c->failed ? slice_of(NULL, 0) : all;
}

static void put_text(struct buffer *out, struct slice text)
{
    size_t len = text.len < TEXT_MAX ? text.len : TEXT_MAX;
    buffer_put_u8(out, (uint8_t)(len >> 8));
    buffer_put_u8(out, (uint8_t)len);
    buffer_put(out, text.ptr, len);
}

void mqtt5_put_text(struct buffer *properties, enum mqtt5_id id, struct slice value)
{
    buffer_put_u8(properties, (uint8_t)id);
    put_text(properties, value);
}

void mqtt5_put_user_property(struct buffer *properties, struct slice name, struct slice value)
{
    buffer_put_u8(properties, MQTT5_USER_PROPERTY);
    put_text(properties, name);
    put_text(properties, value);
}

/* ---- reading ---- */
static void take_limit(struct mqtt5_connack *a, const struct mqtt5_property *p)
{
    switch (p->id) {
    case MQTT5_SERVER_KEEP_ALIVE: a->keepalive_s = (uint16_t)p->number; break;
    case MQTT5_REASON_STRING: a->reason = p->value; break;
    case MQTT5_RECEIVE_MAXIMUM: a->receive_max = (uint16_t)p->number; break;
    case MQTT5_MAXIMUM_PACKET_SIZE: a->packet_max = p->number; break;
    case MQTT5_MAXIMUM_QOS: a->max_qos = (uint8_t)p->number; break;
    case MQTT5_RETAIN_AVAILABLE: a->retain = p->number != 0; break;
    default: break; /* nothing that we use */
    }
}

enum err mqtt5_read_connack(const struct mqtt_packet *packet, struct mqtt5_connack *ret_connack)
{
    struct cursor c = cursor_of(packet->body);
    struct mqtt5_connack a = {.receive_max = UINT16_MAX, .max_qos = 2, .retain = true};
    uint8_t flags = cursor_u8(&c);
    a.code = cursor_u8(&c);
    if (packet->flags != 0 || flags > 1) {
        return ERR_MALFORMED;
    }
    if (cursor_left(&c) > 0) { /* none: an older server's answer */
        struct slice rest = get_properties(&c);
        struct mqtt5_property p;
        while (mqtt5_property_next(&rest, &p) == OK) {
            take_limit(&a, &p);
        }
    } else if (a.code == 0) {
        return ERR_MALFORMED;
    }
    TRY(cursor_end(&c));
    if (a.receive_max == 0) {
        return ERR_MALFORMED;
    }
    *ret_connack = a;
    return OK;
}

enum err mqtt5_read_publish(const struct mqtt_packet *packet, struct mqtt_publish *ret_publish,
                            struct slice *ret_properties)
{
    struct cursor c = cursor_of(packet->body);
    struct slice topic = get_text(&c);
    uint8_t qos = packet->flags >> 1 & 3;
    uint16_t id = qos > 0 ? cursor_u16be(&c) : 0;
    struct slice properties = get_properties(&c), rest = properties;
    struct mqtt5_property p;
    while (mqtt5_property_next(&rest, &p) == OK) {
        c.failed |= p.id == MQTT5_TOPIC_ALIAS;
    }
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
    if (ret_properties != NULL) {
        *ret_properties = properties;
    }
    return OK;
}

enum err mqtt5_read_puback(const struct mqtt_packet *packet, uint16_t *ret_id, uint8_t *ret_code)
{
    struct cursor c = cursor_of(packet->body);
    uint16_t id = cursor_u16be(&c);
    uint8_t code = cursor_left(&c) > 0 ? cursor_u8(&c) : 0;
    if (cursor_left(&c) > 0) {
        (void)get_properties(&c);
    }
    TRY(cursor_end(&c));
    if (packet->flags != 0 || id == 0) {
        return ERR_MALFORMED;
    }
    *ret_id = id;
    *ret_code = code;
    return OK;
}

enum err mqtt5_read_suback(const struct mqtt_packet *packet, uint16_t *ret_id, uint8_t *ret_code)
{
    struct cursor c = cursor_of(packet->body);
    uint16_t id = cursor_u16be(&c);
    (void)get_properties(&c);
    uint8_t code = cursor_u8(&c);
    TRY(cursor_end(&c));
    if (packet->flags != 0 || id == 0 || (code > 2 && code < MQTT5_REFUSED)) {
        return ERR_MALFORMED;
    }
    *ret_id = id;
    *ret_code = code > 2 ? MQTT_SUBACK_FAILURE : code;
    return OK;
}

enum err mqtt5_read_disconnect(const struct mqtt_packet *packet, uint8_t *ret_code)
{
    struct cursor c = cursor_of(packet->body);
    uint8_t code = cursor_left(&c) > 0 ? cursor_u8(&c) : 0;
    if (cursor_left(&c) > 0) {
        (void)get_properties(&c);
    }
    TRY(cursor_end(&c));
    *ret_code = code;
    return OK;
}

const char *mqtt5_reason(uint8_t code)
{
    static const struct {
        uint8_t code;
        const char *text;
    } texts[] = {
        {0x00, "normal"},
        {0x01, "unacceptable protocol version"},
        {0x80, "unspecified error"},
        {0x81, "malformed packet"},
        {0x82, "protocol error"},
        {MQTT5_VERSION_REFUSED, "unacceptable protocol version"},
        {0x85, "client identifier rejected"},
        {0x86, "bad user name or password"},
        {0x87, "not authorised"},
        {0x88, "server unavailable"},
        {0x89, "server busy"},
        {0x8a, "banned"},
        {0x8b, "the broker is shutting down"},
        {0x8d, "keep-alive timeout"},
        {0x8e, "taken over by another session of the same id"},
        {0x93, "receive maximum exceeded"},
        {0x95, "packet too large"},
        {0x96, "message rate too high"},
        {0x97, "quota exceeded"},
        {0x98, "administrative action"},
        {MQTT5_RETAIN_REFUSED, "retained messages are not taken by this broker"},
        {0x9b, "QoS not supported"},
        {0x9d, "the server has moved"},
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        if (texts[i].code == code) {
            return texts[i].text;
        }
    }
    return "unknown reason code";
}

/* ---- writing ---- */
void mqtt5_put_connect(struct buffer *out, const char *client_id, uint16_t keepalive_s,
                       const struct mqtt_publish *will)
{
    static const uint8_t fixed[] = {0, 4, 'M', 'Q', 'T', 'T', PROTOCOL_LEVEL};
    struct slice id = slice_str(client_id);
    uint8_t flags = CLEAN_START; /* no session expiry: it ends with the connection */
    size_t will_len = 0;
    if (will != NULL) {
        flags |= (uint8_t)(WILL | will->qos << WILL_QOS_SHIFT | (will->retain ? WILL_RETAIN : 0));
        will_len = 1 + 2 + will->topic.len + 2 + will->payload.len;
    }
    mqtt_put_header(out, MQTT_CONNECT, 0, sizeof(fixed) + 1 + 2 + 1 + 2 + id.len + will_len);
    buffer_put(out, fixed, sizeof(fixed));
    buffer_put_u8(out, flags);
    buffer_put_u8(out, (uint8_t)(keepalive_s >> 8));
    buffer_put_u8(out, (uint8_t)keepalive_s);
    buffer_put_u8(out, 0); /* properties */
    put_text(out, id);
    if (will != NULL) {
        buffer_put_u8(out, 0);
        put_text(out, will->topic);
        put_text(out, will->payload);
    }
}

void mqtt5_put_subscribe(struct buffer *out, uint16_t id, const char *filter, uint8_t qos)
{
    struct slice text = slice_str(filter);
    mqtt_put_header(out, MQTT_SUBSCRIBE, SUBSCRIBE_FLAGS, 2 + 1 + 2 + text.len + 1);
    buffer_put_u8(out, (uint8_t)(id >> 8));
    buffer_put_u8(out, (uint8_t)id);
    buffer_put_u8(out, 0); /* properties */
    put_text(out, text);
    buffer_put_u8(out, qos);
}

static size_t varint_len(size_t value)
{
    size_t len = 1;
    while (value >>= 7) {
        len++;
    }
    return len;
}

void mqtt5_put_publish(struct buffer *out, const struct mqtt_publish *publish, struct slice properties)
{
    uint8_t flags = (uint8_t)((publish->duplicate ? 8 : 0) | publish->qos << 1 | (publish->retain ? 1 : 0));
    size_t id_len = publish->qos > 0 ? 2 : 0;
    mqtt_put_header(out, MQTT_PUBLISH, flags, 2 + publish->topic.len + id_len + varint_len(properties.len) +
                                                  properties.len + publish->payload.len);
    put_text(out, publish->topic);
    if (id_len > 0) {
        buffer_put_u8(out, (uint8_t)(publish->id >> 8));
        buffer_put_u8(out, (uint8_t)publish->id);
    }
    buffer_put_varint(out, properties.len);
    buffer_put_slice(out, properties);
    buffer_put_slice(out, publish->payload);
}
