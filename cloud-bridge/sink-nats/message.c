/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "cloud-bridge/sink-nats/sink_nats_internal.h"

static enum err render_payload(struct nats_sink *n, const struct wire_forward *f)
{
    buffer_reset(&n->payload);
    if (n->settings->payload == NATS_PAYLOAD_PROTOBUF) {
        return wire_forward_encode(f, &n->payload);
    }
    struct json j;
    json_init(&j, &n->payload);
    json_object(&j, NULL);
    json_str(&j, "device", f->device);
    json_hex(&j, "epoch", f->epoch);
    json_u64(&j, "first", f->first);
    json_u64(&j, "last", f->last);
    json_str(&j, "lane", sink_lane_name(f->lane));
    json_str(&j, "kind", sink_kind_name(n->reader.kind));
    sink_record_json(&j, &n->reader, f, n->names);
    json_object_end(&j);
    return buffer_err(&n->payload);
}

static const char *render_subject(struct nats_sink *n, const struct wire_forward *f)
{
    struct sink_template_values values = {.site = n->site,
                                          .bridge = n->bridge,
                                          .gateway = f->gateway,
                                          .device = f->device,
                                          .lane = sink_lane_name(f->lane),
                                          .kind = sink_kind_name(n->reader.kind)};
    buffer_reset(&n->text);
    sink_template_render(n->settings->subject, &values, &n->text);
    buffer_put_u8(&n->text, 0);
    return buffer_err(&n->text) == OK ? (const char *)n->text.ptr : NULL;
}

static natsStatus set(natsStatus status, natsMsg *msg, const char *key, const char *fmt, ...) PRINTF_LIKE(4, 5);
static natsStatus set(natsStatus status, natsMsg *msg, const char *key, const char *fmt, ...)
{
    char text[NATS_STREAMS_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return status == NATS_OK ? natsMsgHeader_Set(msg, key, text) : status;
}

static natsStatus set_headers(struct nats_sink *n, natsMsg *msg, const struct wire_forward *f, bool replay,
                              const struct nats_device *device, const struct nats_mark *reached)
{
    const struct sink_reader *r = &n->reader;
    char text[NATS_STREAMS_BYTES];
    natsStatus s = set(NATS_OK, msg, "Nats-Msg-Id", "%s/%016" PRIx64 "/%" PRIu64 "-%" PRIu64 "%s", f->device, f->epoch,
                       f->first, f->last, replay ? "/replay" : "");
    s = set(s, msg, "Nats-Expected-Last-Sequence", "%" PRIu64, n->last + n->count);
    s = set(s, msg, "Nats-Expected-Stream", "%s", n->stream);
    nats_mark_write(reached, text);
    s = set(s, msg, "Weir-Spool", "%s", text);
    nats_streams_write(device, text);
    s = set(s, msg, "Weir-Streams", "%s", text);
    s = set(s, msg, "Weir-Device", "%s", f->device);
    s = set(s, msg, "Weir-Epoch", "%016" PRIx64, f->epoch);
    s = set(s, msg, "Weir-First", "%" PRIu64, f->first);
    s = set(s, msg, "Weir-Last", "%" PRIu64, f->last);
    s = set(s, msg, "Weir-Lane", "%s", sink_lane_name(f->lane));
    s = set(s, msg, "Weir-Kind", "%s", sink_kind_name(r->kind));
    s = set(s, msg, "Weir-Schema", "%" PRIu32, r->schema);
    if (r->curated != NULL) {
        s = set(s, msg, "Weir-Rules", "%016" PRIx64, r->curated->rules);
    }
    return replay ? set(s, msg, "Weir-Replay", "%s", "1") : s;
}

static enum err make_room(struct nats_sink *n)
{
    if (n->count < n->cap) {
        return OK;
    }
    size_t cap = n->cap ? 2 * n->cap : 1024;
    struct nats_message *messages = reallocarray(n->messages, cap, sizeof(*messages));
    if (messages == NULL) {
        return ERR_NOMEM;
    }
    n->messages = messages;
    n->cap = cap;
    return OK;
}

enum err nats_add_message(struct nats_sink *n, size_t item, const struct wire_forward *f, bool replay,
                          const struct nats_device *device, const struct nats_mark *reached)
{
    char reply[160];
    natsMsg *msg = NULL;
    TRY(make_room(n));
    TRY(render_payload(n, f));
    const char *subject = render_subject(n, f);
    if (subject == NULL) {
        return ERR_NOMEM;
    }
    snprintf(reply, sizeof(reply), "%s.%u.%zu", n->inbox, n->attempt, n->count);
    if (natsMsg_Create(&msg, subject, reply, (const char *)n->payload.ptr, (int)n->payload.len) != NATS_OK) {
        return ERR_NOMEM;
    }
    if (set_headers(n, msg, f, replay, device, reached) != NATS_OK) {
        natsMsg_Destroy(msg);
        return ERR_NOMEM;
    }
    n->messages[n->count++] = (struct nats_message){.msg = msg, .item = item};
    return OK;
}

void nats_clear_messages(struct nats_sink *n)
{
    for (size_t i = 0; i < n->count; i++) {
        natsMsg_Destroy(n->messages[i].msg);
    }
    n->count = 0;
}
