/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receiver's per-message path and its answers. Everything that a message needs is allocated once, in receive_new.
 */
#include "proto/receive/receive.h"

#include <stdio.h>

#include "core/loop/loop.h"
#include "proto/receive/receive_internal.h"
#include "proto/topic/topic.h"

enum { CHILDREN_MAX = 64 };

/* A gateway below that has sent since the start. */
struct child {
    char id[ID_MAX + 1];
    uint64_t epoch; /* of the frame that asked for the path last; 0 = none has */
    uint32_t boot;
    uint8_t lane;
};

struct receive {
    struct loop *loop;
    struct bus *bus;
    struct inbox *inbox;
    struct receive_handlers handlers;
    enum receive_accepts accepts;
    char site[ID_MAX + 1], receiver[ID_MAX + 1];
    struct records records;
    struct wire_frame frame;
    struct wire_entry *decoded;   /* WIRE_RECORDS_MAX */
    struct inbox_entry *entries;  /* WIRE_RECORDS_MAX */
    struct buffer ack;
    enum topic_channel channel;   /* of the frame in hand */
    uint64_t wall_us;             /* when it came */
    struct path path;
    uint32_t path_hash;
    struct child children[CHILDREN_MAX];
    unsigned child_count; /* above CHILDREN_MAX: everybody is told the hash, and some only that */
    struct receive_stats stats;
};

const char *receive_refusal_name(enum receive_refusal refusal)
{
    switch (refusal) {
    case RECEIVE_BAD_FRAME:
        return "frame";
    case RECEIVE_BAD_IDENTITY:
        return "identity";
    case RECEIVE_BAD_CHANNEL:
        return "channel";
    case RECEIVE_BAD_RECORD:
        return "record";
    case RECEIVE_QUOTA:
        return "quota";
    case RECEIVE_TOO_MANY:
        return "too many streams";
    }
    return "unknown";
}

static void refuse(struct receive *r, const char *sender, enum receive_refusal refusal, const char *why)
{
    r->handlers.on_refused(r->handlers.arg, sender, refusal, why ? why : "malformed");
}

static enum err on_entry(void *arg, const char *sender, const struct window_header *header,
                         const struct inbox_entry *entry, bool forgotten, struct buffer *out)
{
    struct receive *r = arg;
    struct records_outcome outcome;
    if (r->channel == TOPIC_UP) {
        TRY(records_from_gateway(&r->records, sender, header, entry, forgotten, r->wall_us, out, &outcome));
    } else {
        TRY(records_from_device(&r->records, sender, header, entry, forgotten, r->wall_us, out, &outcome));
    }
    r->stats.records++;
    inbox_note(r->inbox, outcome.gaps, outcome.suppressed);
    if (outcome.why != NULL) {
        r->stats.records_refused++;
        refuse(r, sender, RECEIVE_BAD_RECORD, outcome.why);
    }
    return OK;
}

bool receive_has_gateway(const struct receive *r, const char *peer)
{
    for (unsigned i = 0; i < r->child_count && i < CHILDREN_MAX; i++) {
        if (strcmp(r->children[i].id, peer) == 0) {
            return true;
        }
    }
    return false;
}

static struct child *child_of(struct receive *r, const char *sender)
{
    for (unsigned i = 0; i < r->child_count && i < CHILDREN_MAX; i++) {
        if (strcmp(r->children[i].id, sender) == 0) {
            return &r->children[i];
        }
    }
    return NULL;
}

static void note_child(struct receive *r, const char *sender)
{
    if (child_of(r, sender) == NULL && r->child_count <= CHILDREN_MAX) {
        if (r->child_count < CHILDREN_MAX) {
            snprintf(r->children[r->child_count].id, sizeof(r->children[0].id), "%s", sender);
        }
        r->child_count++;
    }
}

static void add_path(const struct receive *r, struct wire_ack *ack)
{
    for (unsigned i = 0; i < r->path.count; i++) {
        ack->path[ack->path_count++] = slice_str(r->path.ids[i]);
    }
}

/* NEED_HELLO answers the frame in hand, so its channel says who is asking. */
static void tell_path(struct receive *r, const char *sender, struct wire_ack *ack)
{
    struct child *child = r->child_count > 0 ? child_of(r, sender) : NULL;
    if (child != NULL || r->child_count > CHILDREN_MAX) {
        ack->path_hash = r->path_hash;
    }
    if (ack->verdict == WINDOW_NEED_HELLO && r->channel == TOPIC_UP) {
        add_path(r, ack);
    }
    if (child != NULL && ack->path_count > 0) {
        child->epoch = ack->epoch;
        child->boot = ack->boot;
        child->lane = ack->lane;
    }
}

static void publish_ack(struct receive *r, const char *sender, const struct wire_ack *ack)
{
    char topic[TOPIC_MAX + 1];
    topic_format(r->site, r->receiver, sender, TOPIC_ACK, topic);
    buffer_reset(&r->ack);
    wire_ack_encode(ack, &r->ack);
    if (buffer_err(&r->ack) == OK && bus_publish(r->bus, slice_str(topic), buffer_slice(&r->ack), 0, false) == OK) {
        r->stats.acks++;
    } else {
        r->stats.acks_dropped++;
    }
}

/* Who asked once is told again what has changed, as if it had asked: it need not send anything to learn of a loop. */
void receive_set_path(struct receive *r, const struct path *path)
{
    r->path = *path;
    r->path_hash = path_hash(path);
    for (unsigned i = 0; i < r->child_count && i < CHILDREN_MAX; i++) {
        const struct child *child = &r->children[i];
        struct wire_ack ack = {.epoch = child->epoch,
                               .boot = child->boot,
                               .lane = child->lane,
                               .verdict = WINDOW_NEED_HELLO,
                               .path_hash = r->path_hash};
        if (child->epoch != 0) {
            add_path(r, &ack);
            publish_ack(r, child->id, &ack);
        }
    }
}

static void on_answer(void *arg, const struct inbox_answer *answer)
{
    struct receive *r = arg;
    const struct window_stream *stream = inbox_stream(r->inbox, answer->sender, answer->epoch);
    struct wire_ack ack = {.epoch = answer->epoch,
                           .hwm = answer->hwm,
                           .boot = answer->boot,
                           .lane = stream ? stream->lane : r->frame.header.lane,
                           .owner = answer->owner,
                           .verdict = answer->verdict};
    tell_path(r, answer->sender, &ack);
    publish_ack(r, answer->sender, &ack);
}

static void resume_stream(void *arg, const char *sender, uint64_t epoch, const struct window_stream *stream)
{
    if (!stream->closed && stream->boot != 0) {
        struct wire_ack ack = {.epoch = epoch,
                               .hwm = stream->hwm,
                               .boot = stream->boot,
                               .lane = stream->lane,
                               .verdict = WINDOW_HOLE};
        tell_path(arg, sender, &ack);
        publish_ack(arg, sender, &ack);
    }
}

void receive_resume(struct receive *r)
{
    inbox_foreach_stream(r->inbox, resume_stream, r);
}

static void on_durable(void *arg)
{
    struct receive *r = arg;
    r->handlers.on_durable(r->handlers.arg);
}

static void on_closed(void *arg, const char *sender, uint64_t epoch, const struct window_stream *stream)
{
    struct receive *r = arg;
    r->handlers.on_closed(r->handlers.arg, sender, epoch, stream);
}

static void on_crowded(void *arg, bool crowded)
{
    struct receive *r = arg;
    bus_pause(r->bus, crowded);
}

static void on_too_many(void *arg, const char *sender, const char *why)
{
    refuse(arg, sender, RECEIVE_TOO_MANY, why);
}

enum err receive_new(struct loop *loop, struct bus *bus, struct store *store, struct spool *const spools[INBOX_LANES],
                     const struct receive_options *options, const struct receive_handlers *handlers,
                     struct receive **ret_receive, struct fault *reterr)
{
    CLEANUP(receive_freep) struct receive *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    r->loop = loop;
    r->bus = bus;
    r->handlers = *handlers;
    r->accepts = options->accepts;
    snprintf(r->site, sizeof(r->site), "%s", options->site);
    snprintf(r->receiver, sizeof(r->receiver), "%s", options->receiver);
    buffer_init(&r->ack, 256 + PATH_TEXT_MAX);
    path_begin(&r->path, options->site, options->receiver);
    r->path_hash = path_hash(&r->path);
    r->decoded = calloc(WIRE_RECORDS_MAX, sizeof(*r->decoded));
    r->entries = calloc(WIRE_RECORDS_MAX, sizeof(*r->entries));
    if (r->decoded == NULL || r->entries == NULL || records_init(&r->records, options->receiver) != OK) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    struct inbox_handlers inbox = {.on_entry = on_entry,
                                   .on_answer = on_answer,
                                   .on_durable = on_durable,
                                   .on_closed = on_closed,
                                   .on_too_many = on_too_many,
                                   .on_crowded = on_crowded,
                                   .arg = r};
    TRY(inbox_new(loop, store, spools, &options->inbox, &inbox, &r->inbox, reterr));
    *ret_receive = take(r);
    return OK;
}

void receive_free(struct receive *r)
{
    if (r == NULL) {
        return;
    }
    inbox_free(r->inbox);
    records_deinit(&r->records);
    buffer_deinit(&r->ack);
    free(r->decoded);
    free(r->entries);
    free(r);
}

enum err receive_subscribe(struct receive *r)
{
    char filter[TOPIC_MAX + 1];
    topic_format(r->site, r->receiver, "+", TOPIC_TELE, filter);
    TRY(bus_subscribe(r->bus, filter, 0)); /* also where Records are refused: silence would hide the mistake */
    topic_format(r->site, r->receiver, "+", TOPIC_UP, filter);
    return bus_subscribe(r->bus, filter, 0);
}

/* The cheap part: whose message is it, and is it wanted at all? */
static bool admitted(struct receive *r, struct slice text, size_t bytes, bool retained, struct topic *ret_topic)
{
    if (retained) {
        r->stats.retained_ignored++;
        return false;
    }
    if (topic_parse(text, ret_topic) != OK || (ret_topic->channel != TOPIC_TELE && ret_topic->channel != TOPIC_UP) ||
        strcmp(ret_topic->site, r->site) != 0 || strcmp(ret_topic->gateway, r->receiver) != 0) {
        r->stats.foreign++;
        return false;
    }
    if (r->handlers.admit != NULL && !r->handlers.admit(r->handlers.arg, ret_topic->device, bytes)) {
        r->stats.quota_dropped++;
        refuse(r, ret_topic->device, RECEIVE_QUOTA, "more frames than its quota");
        return false;
    }
    if (strcmp(ret_topic->device, r->receiver) == 0) {
        r->stats.identity_errors++;
        refuse(r, ret_topic->device, RECEIVE_BAD_IDENTITY, "a sender with the receiver's own name");
        return false;
    }
    if (ret_topic->channel == TOPIC_TELE && r->accepts == RECEIVE_FORWARDS) {
        r->stats.channel_errors++;
        refuse(r, ret_topic->device, RECEIVE_BAD_CHANNEL, "a device without a gateway");
        return false;
    }
    return true;
}

void receive_message(struct receive *r, struct slice text, struct slice payload, bool retained)
{
    struct topic topic;
    const char *why = NULL;
    if (!admitted(r, text, payload.len, retained, &topic)) {
        return;
    }
    struct wire_frame *frame = &r->frame;
    enum err err = wire_frame_decode(payload, topic.channel == TOPIC_UP, frame, r->decoded, WIRE_RECORDS_MAX, &why);
    if (err == OK && topic.channel == TOPIC_TELE && frame->header.last > RECEIVE_NUMBER_MAX) {
        err = ERR_RANGE;
        why = "number";
    }
    if (err == OK && frame->header.lane >= INBOX_LANES) {
        err = ERR_RANGE;
        why = "lane";
    }
    if (err != OK) {
        r->stats.decode_errors++;
        refuse(r, topic.device, RECEIVE_BAD_FRAME, why);
        return;
    }
    if (strcmp(frame->sender, topic.device) != 0) {
        r->stats.identity_errors++;
        refuse(r, topic.device, RECEIVE_BAD_IDENTITY, "sender in the frame is not the topic's");
        return;
    }
    for (size_t i = 0; i < frame->count; i++) {
        r->entries[i] = (struct inbox_entry){r->decoded[i].first, r->decoded[i].last, r->decoded[i].body};
    }
    r->stats.frames++;
    r->channel = topic.channel;
    if (topic.channel == TOPIC_UP) {
        note_child(r, frame->sender);
    }
    r->wall_us = (uint64_t)max_i64(loop_wall_us(r->loop), 0);
    enum window_verdict verdict = inbox_frame(r->inbox, frame->sender, &frame->header, r->entries, frame->count);
    if (r->handlers.on_frame != NULL) {
        r->handlers.on_frame(r->handlers.arg, frame->sender, verdict, frame->count);
    }
}

struct inbox *receive_inbox(struct receive *r)
{
    return r->inbox;
}

void receive_stats(const struct receive *r, struct receive_stats *ret_stats)
{
    *ret_stats = r->stats;
}
