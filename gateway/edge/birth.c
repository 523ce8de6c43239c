/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices and metrics, and the messages that tell of them.
 */
#include <stdio.h>

#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) ((element)->lost = true)
#include "gateway/edge/edge_internal.h"

/* ---- devices ---- */
enum err edge_device(struct edge *e, const char *id, struct edge_device **ret_device)
{
    struct edge_device *d = NULL;
    HASH_FIND_STR(e->by_id, id, d);
    if (d != NULL) {
        *ret_device = d;
        return OK;
    }
    if (!sparkplug_id_valid(slice_str(id))) {
        return ERR_RANGE;
    }
    if (HASH_COUNT(e->by_id) >= e->devices_max) {
        return ERR_FULL;
    }
    d = calloc(1, sizeof(*d));
    if (d == NULL) {
        return ERR_NOMEM;
    }
    snprintf(d->id, sizeof(d->id), "%s", id);
    d->end = &d->first;
    HASH_ADD_STR(e->by_id, id, d);
    if (d->lost) {
        free(d);
        return ERR_NOMEM;
    }
    *e->devices_end = d;
    e->devices_end = &d->next;
    *ret_device = d;
    return OK;
}

void edge_devices_deinit(struct edge *e)
{
    HASH_CLEAR(hh, e->by_id);
    for (struct edge_device *d = e->devices, *next; d != NULL; d = next) {
        next = d->next;
        free(d);
    }
    for (size_t i = 0; i < e->metric_count; i++) {
        free(e->metrics[i]->name);
        free(e->metrics[i]->unit);
        free(e->metrics[i]);
    }
    free(e->metrics);
}

/* ---- queues ---- */
static void enqueue(struct edge *e, struct edge_device *d, unsigned which)
{
    struct edge_queue *q = &e->queues[which];
    bool live = e->state == EDGE_BIRTHING || e->state == EDGE_ONLINE; /* else the births will tell */
    if (live && !d->pending[which]) {
        d->pending[which] = true;
        d->next_pending[which] = NULL;
        *q->end = d;
        q->end = &d->next_pending[which];
    }
}

static void dequeue(struct edge *e, unsigned which)
{
    struct edge_queue *q = &e->queues[which];
    struct edge_device *d = q->first;
    d->pending[which] = false;
    q->first = d->next_pending[which];
    if (q->first == NULL) {
        q->end = &q->first;
    }
}

void edge_clear_queues(struct edge *e)
{
    for (unsigned which = 0; which < EDGE_QUEUES; which++) {
        while (e->queues[which].first != NULL) {
            dequeue(e, which);
        }
        e->queues[which].end = &e->queues[which].first;
    }
}

void edge_device_online(struct edge *e, struct edge_device *d, bool online)
{
    if (d->want == online) {
        return;
    }
    d->want = online;
    if (online) {
        e->online++;
        enqueue(e, d, EDGE_QUEUE_BIRTHS);
    } else {
        e->online--;
        d->death_at = e->tail;
        enqueue(e, d, EDGE_QUEUE_DEATHS);
    }
}

static void needs_birth(struct edge *e, struct edge_device *d)
{
    d->stale = true;
    if (d->want) {
        enqueue(e, d, EDGE_QUEUE_BIRTHS);
    }
}

/* ---- metrics ---- */
static enum err grow(struct edge *e)
{
    if (e->metric_count < e->metric_cap) {
        return OK;
    }
    size_t cap = e->metric_cap ? e->metric_cap * 2 : 64;
    struct metric **metrics = realloc(e->metrics, cap * sizeof(struct metric *));
    if (metrics == NULL) {
        return ERR_NOMEM;
    }
    e->metrics = metrics;
    e->metric_cap = cap;
    return OK;
}

static bool text_valid(const char *text, size_t len)
{
    for (size_t at = 0, step; at < len; at += step) {
        step = utf8_length(slice_of(text + at, len - at));
        if (step == 0) {
            return false;
        }
    }
    return true;
}

enum err edge_metric(struct edge *e, struct edge_device *d, const char *name, const char *unit,
                     enum sparkplug_datatype datatype, uint64_t *ret_metric)
{
    size_t name_len = strlen(name), unit_len = strlen(unit);
    if (name_len == 0 || name_len > SPARKPLUG_NAME_MAX || unit_len > SPARKPLUG_NAME_MAX || !text_valid(name, name_len) ||
        !text_valid(unit, unit_len)) {
        return ERR_RANGE;
    }
    if (e->metric_count >= e->metrics_max || d->count >= EDGE_DEVICE_METRICS_MAX ||
        d->text + name_len + unit_len > DEVICE_TEXT_MAX) {
        return ERR_FULL;
    }
    TRY(grow(e));
    struct metric *m = calloc(1, sizeof(*m));
    char *name_copy = strdup(name), *unit_copy = strdup(unit);
    if (m == NULL || name_copy == NULL || unit_copy == NULL) {
        free(m);
        free(name_copy);
        free(unit_copy);
        return ERR_NOMEM;
    }
    *m = (struct metric){.name = name_copy, .unit = unit_copy, .device = d, .datatype = datatype, .null = true};
    *d->end = m;
    d->end = &m->next;
    d->count++;
    d->text += name_len + unit_len;
    e->metrics[e->metric_count] = m;
    *ret_metric = m->alias = e->metric_count++ + FIRST_ALIAS;
    needs_birth(e, d);
    return OK;
}

enum err edge_metric_unit(struct edge *e, uint64_t metric, const char *unit)
{
    struct metric *m = e->metrics[metric - FIRST_ALIAS];
    size_t len = strlen(unit);
    if (strcmp(m->unit, unit) == 0 || len > SPARKPLUG_NAME_MAX || !text_valid(unit, len)) {
        return OK;
    }
    char *copy = strdup(unit);
    if (copy == NULL) {
        return ERR_NOMEM;
    }
    free(m->unit);
    m->unit = copy;
    needs_birth(e, m->device);
    return OK;
}

void edge_metric_forget(struct edge *e, uint64_t metric)
{
    struct metric *m = e->metrics[metric - FIRST_ALIAS];
    if (!m->null) {
        m->null = true;
        m->resend = true;
        needs_birth(e, m->device);
    }
}

/* ---- births and deaths ---- */
void edge_begin_births(struct edge *e)
{
    edge_clear_queues(e);
    e->state = EDGE_BIRTHING;
    e->born = false;
}

static enum err send_node_birth(struct edge *e, int64_t now_ms)
{
    uint64_t ms = (uint64_t)now_ms;
    double online = (double)e->online, dropped = (double)e->stats.dropped;
    const struct sparkplug_metric metrics[] = {
        {.name = "bdSeq", .timestamp_ms = ms, .datatype = SPARKPLUG_INT64, .number = e->bd_seq},
        {.name = "Node Control/Rebirth", .timestamp_ms = ms, .datatype = SPARKPLUG_BOOLEAN, .number = 0},
        {.name = "Properties/Software", .alias = ALIAS_SOFTWARE, .timestamp_ms = ms, .datatype = SPARKPLUG_STRING,
         .text = e->software},
        {.name = "Devices/Online", .alias = ALIAS_ONLINE, .timestamp_ms = ms, .datatype = SPARKPLUG_INT64,
         .number = online},
        {.name = "Values/Dropped", .alias = ALIAS_DROPPED, .timestamp_ms = ms, .datatype = SPARKPLUG_INT64,
         .number = dropped},
    };
    TRY(edge_send(e, SPARKPLUG_NBIRTH, NULL, now_ms, metrics, COUNT_OF(metrics)));
    e->told_online = online;
    e->told_dropped = dropped;
    e->node_told_ms = e->born_ms = now_ms;
    e->born = true;
    e->next_birth = e->devices;
    e->stats.births++;
    for (struct edge_device *d = e->devices; d != NULL; d = d->next) {
        d->born = false;
    }
    return OK;
}

static enum err send_device_birth(struct edge *e, struct edge_device *d, int64_t now_ms)
{
    size_t count = 0;
    for (const struct metric *m = d->first; m != NULL; m = m->next) {
        e->scratch[count++] = (struct sparkplug_metric){
            .name = m->name,
            .alias = m->alias,
            .timestamp_ms = (uint64_t)(m->null ? now_ms : m->value_ms),
            .datatype = m->datatype,
            .null = m->null,
            .number = m->value,
            .unit = m->unit,
        };
    }
    enum err err = edge_send(e, SPARKPLUG_DBIRTH, d->id, now_ms, e->scratch, count);
    if (err == ERR_AGAIN) {
        return err;
    }
    if (err != OK) { /* no birth, no data: the others go on */
        e->stats.too_large++;
        return OK;
    }
    for (struct metric *m = d->first; m != NULL; m = m->next) {
        m->told_to = e->tail;
        m->resend = false;
    }
    d->born = true;
    d->stale = false;
    e->stats.births++;
    return OK;
}

/* A device without metrics has nothing to tell. */
static bool to_be_born(const struct edge_device *d)
{
    return d->want && d->count > 0 && (!d->born || d->stale);
}

enum err edge_birth_step(struct edge *e, int64_t now_ms, bool *ret_more)
{
    if (!e->born) {
        TRY(send_node_birth(e, now_ms));
    } else {
        while (e->next_birth != NULL && !to_be_born(e->next_birth)) {
            e->next_birth = e->next_birth->next;
        }
        if (e->next_birth != NULL) {
            TRY(send_device_birth(e, e->next_birth, now_ms));
            e->next_birth = e->next_birth->next;
        }
    }
    *ret_more = e->next_birth != NULL;
    return OK;
}

enum err edge_queued_birth_step(struct edge *e, int64_t now_ms)
{
    struct edge_device *d = e->queues[EDGE_QUEUE_BIRTHS].first;
    if (to_be_born(d)) {
        TRY(send_device_birth(e, d, now_ms));
    }
    dequeue(e, EDGE_QUEUE_BIRTHS);
    return OK;
}

enum err edge_queued_death_step(struct edge *e, int64_t now_ms)
{
    struct edge_device *d = e->queues[EDGE_QUEUE_DEATHS].first;
    if (!d->want && d->born) {
        TRY(edge_send(e, SPARKPLUG_DDEATH, d->id, now_ms, NULL, 0));
        d->born = false;
    }
    dequeue(e, EDGE_QUEUE_DEATHS);
    return OK;
}
