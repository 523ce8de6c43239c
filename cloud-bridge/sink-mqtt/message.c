/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "cloud-bridge/sink-mqtt/sink_mqtt_internal.h"

static void add(struct mqtt_message *m, const char *key, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void add(struct mqtt_message *m, const char *key, const char *fmt, ...)
{
    struct mqtt_property *p = &m->properties[m->count++];
    va_list args;
    va_start(args, fmt);
    p->key = key;
    vsnprintf(p->value, sizeof(p->value), fmt, args);
    va_end(args);
}

static void add_properties(struct mqtt_message *m, const struct sink_reader *r, const struct wire_forward *f,
                           bool replay)
{
    m->count = 0;
    add(m, "device", "%s", f->device);
    add(m, "epoch", "%016" PRIx64, f->epoch);
    add(m, "first", "%" PRIu64, f->first);
    add(m, "last", "%" PRIu64, f->last);
    add(m, "lane", "%s", sink_lane_name(f->lane));
    add(m, "kind", "%s", sink_kind_name(r->kind));
    add(m, "schema", "%" PRIu32, r->schema);
    if (r->curated != NULL) {
        add(m, "rules", "%016" PRIx64, r->curated->rules);
    }
    /* the words that the logs and the operator's command use for a record */
    add(m, "trace", "%s/%016" PRIx64 "/%" PRIu64, f->device, f->epoch, f->last);
    if (replay) {
        add(m, "replay", "1");
    }
}

static enum err put_json(const struct sink_reader *r, const struct wire_forward *f, const struct sink_names *names,
                         struct buffer *out)
{
    struct json j;
    json_init(&j, out);
    json_object(&j, NULL);
    json_str(&j, "device", f->device);
    json_hex(&j, "epoch", f->epoch);
    json_u64(&j, "first", f->first);
    json_u64(&j, "last", f->last);
    json_str(&j, "lane", sink_lane_name(f->lane));
    json_str(&j, "kind", sink_kind_name(r->kind));
    sink_record_json(&j, r, f, names);
    json_object_end(&j);
    return buffer_err(out);
}

size_t mqtt_message_bytes(const struct mqtt_message *m)
{
    size_t bytes = 64 + strlen(m->topic) + strlen(m->content_type) + m->payload.len;
    for (size_t i = 0; i < m->count; i++) {
        bytes += 5 + strlen(m->properties[i].key) + strlen(m->properties[i].value);
    }
    return bytes;
}

enum err mqtt_message_fill(struct mqtt_message *m, const struct mqtt_settings *settings, const struct mqtt_place *place,
                           const struct sink_reader *r, const struct wire_forward *f, bool replay,
                           const struct sink_names *names, struct buffer *topic, struct buffer *payload)
{
    struct sink_template_values values = {.site = place->site,
                                          .bridge = place->bridge,
                                          .gateway = f->gateway,
                                          .device = f->device,
                                          .lane = sink_lane_name(f->lane),
                                          .kind = sink_kind_name(r->kind)};
    buffer_reset(topic);
    buffer_reset(payload);
    sink_template_render(settings->topic, &values, topic);
    buffer_put_u8(topic, 0);
    TRY(buffer_err(topic));
    m->text = settings->payload == MQTT_PAYLOAD_JSON;
    TRY(m->text ? put_json(r, f, names, payload) : wire_forward_encode(f, payload));
    m->topic = (const char *)topic->ptr;
    m->payload = buffer_slice(payload);
    m->content_type = m->text ? "application/json" : "application/x-protobuf";
    add_properties(m, r, f, replay);
    return OK;
}
