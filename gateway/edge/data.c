/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values: the ring in which they wait, and the messages that they become.
 */
#include "gateway/edge/edge_internal.h"

static struct entry *entry_at(struct edge *e, uint64_t position)
{
    return &e->ring[position % e->ring_size];
}

static void drop_oldest(struct edge *e)
{
    e->metrics[entry_at(e, e->head)->metric]->resend = true;
    e->head++;
    e->stats.dropped++;
}

/* Two values of one metric in one message must differ in their time, which has milliseconds: the later one counts. */
static bool replaces_waiting(struct edge *e, uint32_t index, const struct metric *m, double value, int64_t ms)
{
    if (m->queued_at < e->head || m->queued_at >= e->tail) {
        return false;
    }
    struct entry *last = entry_at(e, m->queued_at);
    if (last->metric != index || last->ms != ms) {
        return false;
    }
    last->value = value;
    return true;
}

void edge_value(struct edge *e, uint64_t metric, double value, int64_t ms, bool historical)
{
    uint32_t index = (uint32_t)(metric - FIRST_ALIAS);
    struct metric *m = e->metrics[index];
    /* The order in which live values come is believed, not their time: clocks jump. */
    bool newest = m->null || !historical || ms >= m->value_ms;
    if (newest) {
        bool same = !m->null && value == m->value && !m->resend;
        m->null = false;
        m->value_ms = ms;
        if (same) {
            e->stats.unchanged++;
            return;
        }
        m->value = value;
        m->resend = false;
        if (replaces_waiting(e, index, m, value, ms)) {
            return;
        }
    }
    if (e->tail - e->head == e->ring_size) {
        drop_oldest(e);
    }
    *entry_at(e, e->tail) = (struct entry){.metric = index, .historical = historical, .value = value, .ms = ms};
    m->queued_at = newest ? e->tail : m->queued_at;
    e->tail++;
}

/* What the host has to know of it; false: nothing. */
static bool wanted(struct edge *e, uint64_t position, bool *ret_historical)
{
    const struct entry *entry = entry_at(e, position);
    const struct metric *m = e->metrics[entry->metric];
    if (!m->device->born) {
        e->stats.dropped++;
        return false;
    }
    bool before_birth = position < m->told_to;
    if (before_birth && position == m->queued_at) {
        return false; /* the birth had it */
    }
    *ret_historical = entry->historical || before_birth;
    return true;
}

enum err edge_data_step(struct edge *e, int64_t now_ms)
{
    const struct edge_device *device = NULL;
    size_t count = 0, historical_count = 0;
    int64_t last_ms = INT64_MIN;
    uint64_t at = e->head, dropped = e->stats.dropped;
    for (; at < e->tail && count < METRICS_PER_MESSAGE; at++) {
        const struct entry *entry = entry_at(e, at);
        const struct metric *m = e->metrics[entry->metric];
        bool historical = false;
        if (device != NULL && m->device != device) {
            break;
        }
        if (!wanted(e, at, &historical)) {
            continue;
        }
        if (!historical && entry->ms < last_ms) {
            break; /* in a message live values rise in time */
        }
        last_ms = historical ? last_ms : entry->ms;
        device = m->device;
        e->scratch[count++] = (struct sparkplug_metric){.alias = (uint64_t)entry->metric + FIRST_ALIAS,
                                                        .timestamp_ms = (uint64_t)entry->ms,
                                                        .datatype = m->datatype,
                                                        .historical = historical,
                                                        .number = entry->value};
        historical_count += historical;
    }
    if (count > 0) {
        enum err err = edge_send(e, SPARKPLUG_DDATA, device->id, now_ms, e->scratch, count);
        if (err != OK) {
            e->stats.dropped = dropped; /* looked at again */
            return ERR_AGAIN;
        }
        e->stats.data_messages++;
        e->stats.values_sent += count;
        e->stats.historical_sent += historical_count;
    }
    e->head = at;
    return OK;
}
