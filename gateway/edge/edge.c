/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session's side: states, will, commands, the host's STATE, and what is sent next.
 */
#include "gateway/edge/edge.h"

#include <stdio.h>

#include "gateway/edge/edge_internal.h"

enum { DEVICES_MAX = 10000, METRICS_MAX = 200000, WAITING_MAX = 65536, NODE_TELL_MS = 1000, SCRATCH = EDGE_DEVICE_METRICS_MAX };

/* ---- life ---- */
static enum err copy_id(const char *what, const char *id, char to[SPARKPLUG_ID_MAX + 1], struct fault *reterr)
{
    if (id == NULL || !sparkplug_id_valid(slice_str(id))) {
        return fault_set(reterr, ERR_RANGE, "Sparkplug %s \"%s\" is not 1 to %d bytes without / + #", what, id ? id : "",
                         SPARKPLUG_ID_MAX);
    }
    snprintf(to, SPARKPLUG_ID_MAX + 1, "%s", id);
    return OK;
}

static enum err init(struct edge *e, const struct edge_options *o, struct fault *reterr)
{
    TRY(copy_id("group", o->group, e->group, reterr));
    TRY(copy_id("node", o->node, e->node, reterr));
    if (o->host != NULL && o->host[0] != '\0') {
        TRY(copy_id("host", o->host, e->host, reterr));
    }
    snprintf(e->software, sizeof(e->software), "%s", o->software ? o->software : "");
    e->devices_max = o->devices_max ? o->devices_max : DEVICES_MAX;
    e->metrics_max = o->metrics_max ? o->metrics_max : METRICS_MAX;
    e->ring_size = o->waiting_max ? o->waiting_max : WAITING_MAX;
    e->ring = calloc(e->ring_size, sizeof(*e->ring));
    e->scratch = calloc(SCRATCH, sizeof(*e->scratch));
    bool room = e->ring != NULL && e->scratch != NULL && arena_init(&e->arena, SPARKPLUG_ARENA_BYTES) == OK;
    return room ? OK : fault_set(reterr, ERR_NOMEM, "out of memory");
}

enum err edge_new(const struct edge_options *options, const struct edge_handlers *handlers, struct edge **ret_edge,
                  struct fault *reterr)
{
    CLEANUP(edge_freep) struct edge *e = calloc(1, sizeof(*e));
    if (e == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    e->handlers = *handlers;
    e->devices_end = &e->devices;
    edge_clear_queues(e);
    e->bd_seq = -1;
    e->born_ms = e->node_told_ms = NEVER;
    buffer_init(&e->topic, 1024);
    buffer_init(&e->payload, MESSAGE_MAX);
    TRY(init(e, options, reterr));
    *ret_edge = take(e);
    return OK;
}

void edge_free(struct edge *e)
{
    if (e == NULL) {
        return;
    }
    edge_devices_deinit(e);
    free(e->ring);
    free(e->scratch);
    arena_deinit(&e->arena);
    buffer_deinit(&e->topic);
    buffer_deinit(&e->payload);
    free(e);
}

bool edge_filter(const struct edge *e, unsigned n, struct buffer *out)
{
    switch (n) {
    case 0:
        sparkplug_topic_put(out, SPARKPLUG_NCMD, e->group, e->node, NULL);
        return true;
    case 1:
        sparkplug_topic_put(out, SPARKPLUG_DCMD, e->group, e->node, "+");
        return true;
    case 2:
        if (e->host[0] != '\0') {
            sparkplug_state_topic_put(out, e->host);
        }
        return e->host[0] != '\0';
    default:
        return false;
    }
}

enum edge_state edge_state(const struct edge *e)
{
    return e->state;
}

void edge_stats(const struct edge *e, struct edge_stats *ret_stats)
{
    *ret_stats = e->stats;
    ret_stats->devices = HASH_COUNT(e->by_id);
    ret_stats->devices_online = e->online;
    ret_stats->metrics = e->metric_count;
    ret_stats->waiting = (size_t)(e->tail - e->head);
    ret_stats->bd_seq = e->bd_seq;
}

/* ---- sending ---- */
enum err edge_send(struct edge *e, enum sparkplug_type type, const char *device, int64_t now_ms,
                   const struct sparkplug_metric *metrics, size_t count)
{
    bool death = type == SPARKPLUG_NDEATH;
    unsigned seq = type == SPARKPLUG_NBIRTH ? 0 : e->seq;
    buffer_reset(&e->topic);
    buffer_reset(&e->payload);
    sparkplug_topic_put(&e->topic, type, e->group, e->node, device);
    TRY(buffer_err(&e->topic));
    TRY(sparkplug_encode((uint64_t)now_ms, death ? SPARKPLUG_NO_SEQ : (int)seq, metrics, count, &e->payload));
    if (!e->handlers.send(e->handlers.arg, buffer_slice(&e->topic), buffer_slice(&e->payload), death ? 1 : 0)) {
        return ERR_AGAIN;
    }
    if (!death) {
        e->seq = (seq + 1) & 0xff;
    }
    return OK;
}

static struct sparkplug_metric bd_seq_metric(const struct edge *e, int64_t now_ms)
{
    return (struct sparkplug_metric){
        .name = "bdSeq", .timestamp_ms = (uint64_t)now_ms, .datatype = SPARKPLUG_INT64, .number = e->bd_seq};
}

static void send_death(struct edge *e, int64_t now_ms)
{
    struct sparkplug_metric metric = bd_seq_metric(e, now_ms);
    enum err err = edge_send(e, SPARKPLUG_NDEATH, NULL, now_ms, &metric, 1);
    (void)err; /* what is not taken: the will says it */
}

/* ---- the session ---- */
static void session_over(struct edge *e)
{
    e->state = EDGE_DOWN;
    e->host_online = false;
    e->born_ms = NEVER;
    edge_clear_queues(e);
    for (struct edge_device *d = e->devices; d != NULL; d = d->next) {
        d->born = false;
    }
}

void edge_connecting(struct edge *e, bool other_server, int64_t now_ms, struct buffer *topic, struct buffer *payload)
{
    e->bd_seq = (e->bd_seq + 1) & 0xff;
    e->host_online = false;
    if (other_server) {
        e->host_known = false;
    }
    struct sparkplug_metric metric = bd_seq_metric(e, now_ms);
    sparkplug_topic_put(topic, SPARKPLUG_NDEATH, e->group, e->node, NULL);
    enum err err = sparkplug_encode((uint64_t)now_ms, SPARKPLUG_NO_SEQ, &metric, 1, payload);
    (void)err; /* sticky in payload */
}

enum edge_wish edge_connected(struct edge *e)
{
    if (e->state != EDGE_DOWN) {
        return EDGE_STAY;
    }
    if (e->host[0] == '\0' || e->host_online) {
        edge_begin_births(e);
        return EDGE_STAY;
    }
    e->state = EDGE_WAITING;
    return e->host_known ? EDGE_MOVE : EDGE_STAY;
}

void edge_disconnected(struct edge *e)
{
    if (e->state != EDGE_STOPPED) {
        session_over(e);
    }
}

void edge_leave(struct edge *e, int64_t now_ms)
{
    if (e->state != EDGE_DOWN && e->state != EDGE_STOPPED) {
        send_death(e, now_ms);
        session_over(e);
    }
}

void edge_stop(struct edge *e, int64_t now_ms)
{
    edge_leave(e, now_ms);
    e->state = EDGE_STOPPED;
}

/* ---- messages ---- */
static enum edge_wish host_went(struct edge *e, int64_t now_ms)
{
    switch (e->state) {
    case EDGE_BIRTHING:
    case EDGE_ONLINE:
        edge_leave(e, now_ms);
        return EDGE_LEAVE;
    case EDGE_WAITING:
        return EDGE_MOVE;
    case EDGE_DOWN:
    case EDGE_STOPPED:
        break;
    }
    return EDGE_STAY;
}

static enum edge_wish on_state(struct edge *e, struct slice payload, int64_t now_ms)
{
    struct sparkplug_state state;
    if (sparkplug_state_decode(payload, &state) != OK) {
        e->stats.bad_states++;
        return EDGE_STAY;
    }
    if (e->host_known && state.timestamp_ms < e->host_ms) {
        e->stats.old_states++; /* of a session of the host that is over */
        return EDGE_STAY;
    }
    e->host_known = true;
    e->host_ms = state.timestamp_ms;
    e->host_online = state.online;
    if (!state.online) {
        return host_went(e, now_ms);
    }
    if (e->state == EDGE_WAITING) {
        edge_begin_births(e);
    }
    return EDGE_STAY;
}

static void on_command(struct edge *e, const struct sparkplug_topic *topic, struct slice payload)
{
    struct sparkplug_command command;
    if (sparkplug_command_decode(payload, &e->arena, &command) != OK) {
        e->stats.bad_commands++;
        return;
    }
    bool live = e->state == EDGE_BIRTHING || e->state == EDGE_ONLINE;
    if (topic->type != SPARKPLUG_NCMD || !command.rebirth || !live) {
        e->stats.ignored_commands++;
        return;
    }
    e->stats.rebirths++;
    edge_begin_births(e);
}

enum edge_wish edge_message(struct edge *e, struct slice topic, struct slice payload, bool retained, int64_t now_ms)
{
    struct sparkplug_topic t;
    if (e->state == EDGE_STOPPED || sparkplug_topic_parse(topic, &t) != OK) {
        return EDGE_STAY;
    }
    if (t.type == SPARKPLUG_STATE) {
        bool ours = e->host[0] != '\0' && slice_equal(t.node, slice_str(e->host));
        return ours ? on_state(e, payload, now_ms) : EDGE_STAY;
    }
    bool ours = slice_equal(t.group, slice_str(e->group)) && slice_equal(t.node, slice_str(e->node));
    if (!ours || (t.type != SPARKPLUG_NCMD && t.type != SPARKPLUG_DCMD)) {
        return EDGE_STAY;
    }
    if (retained) {
        e->stats.ignored_commands++; /* a command is for whom it finds, not for whoever comes later */
    } else {
        on_command(e, &t, payload);
    }
    return EDGE_STAY;
}

/* ---- what is sent next ---- */
static enum err node_data_step(struct edge *e, int64_t now_ms)
{
    struct sparkplug_metric metrics[2];
    size_t count = 0;
    double online = (double)e->online, dropped = (double)e->stats.dropped;
    if (online != e->told_online) {
        metrics[count++] = (struct sparkplug_metric){
            .alias = ALIAS_ONLINE, .timestamp_ms = (uint64_t)now_ms, .datatype = SPARKPLUG_INT64, .number = online};
    }
    if (dropped != e->told_dropped) {
        metrics[count++] = (struct sparkplug_metric){
            .alias = ALIAS_DROPPED, .timestamp_ms = (uint64_t)now_ms, .datatype = SPARKPLUG_INT64, .number = dropped};
    }
    TRY(edge_send(e, SPARKPLUG_NDATA, NULL, now_ms, metrics, count));
    e->told_online = online;
    e->told_dropped = dropped;
    e->node_told_ms = now_ms;
    e->stats.data_messages++;
    return OK;
}

static bool node_changed(const struct edge *e)
{
    return (double)e->online != e->told_online || (double)e->stats.dropped != e->told_dropped;
}

/* How long the node's own metrics still wait for each other. The clock may have been set back since they were told. */
static int64_t node_waits_ms(const struct edge *e, int64_t now_ms)
{
    int64_t since_ms = now_ms - e->node_told_ms;
    return since_ms < 0 ? 0 : max_i64(NODE_TELL_MS - since_ms, 0);
}

/* One message. ERR_NOT_FOUND: there is nothing to send. */
static enum err step(struct edge *e, int64_t now_ms)
{
    if (e->state == EDGE_BIRTHING) {
        bool more = true;
        TRY(edge_birth_step(e, now_ms, &more));
        if (!more) {
            e->state = EDGE_ONLINE;
        }
        return OK;
    }
    if (e->queues[EDGE_QUEUE_BIRTHS].first != NULL) {
        return edge_queued_birth_step(e, now_ms);
    }
    const struct edge_device *dead = e->queues[EDGE_QUEUE_DEATHS].first;
    if (dead != NULL && e->head >= dead->death_at) {
        return edge_queued_death_step(e, now_ms);
    }
    if (e->head < e->tail) {
        return edge_data_step(e, now_ms);
    }
    bool due = node_changed(e) && node_waits_ms(e, now_ms) == 0;
    return due ? node_data_step(e, now_ms) : ERR_NOT_FOUND;
}

int64_t edge_pump(struct edge *e, int64_t now_ms)
{
    for (unsigned i = 0; i < MESSAGES_PER_PUMP; i++) {
        if (e->state != EDGE_BIRTHING && e->state != EDGE_ONLINE) {
            return -1;
        }
        /* A host, or whoever may write commands, can ask for births at any rate. */
        if (e->state == EDGE_BIRTHING && !e->born && e->born_ms != NEVER && now_ms >= e->born_ms &&
            now_ms - e->born_ms < EDGE_REBIRTH_MS) {
            return EDGE_REBIRTH_MS - (now_ms - e->born_ms);
        }
        enum err err = step(e, now_ms);
        if (err == ERR_NOT_FOUND) {
            return node_changed(e) ? node_waits_ms(e, now_ms) : -1;
        }
        if (err != OK) {
            return -1; /* the session says when it takes more */
        }
    }
    return 0;
}
