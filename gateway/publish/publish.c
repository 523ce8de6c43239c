/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/publish/publish.h"

#include <stdio.h>

#include "core/base/json.h"
#include "gateway/publish/publish_internal.h"

enum { DEVICES_MAX = 10000, METRICS_MAX = 200000 };
#define HISTORICAL_AFTER_US (10 * SECOND_US)

static bool given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static enum err make(struct publish *p, const struct publish_options *o, struct fault *reterr)
{
    if (!id_valid(slice_str(o->site)) || !id_valid(slice_str(o->gateway))) {
        return fault_set(reterr, ERR_RANGE, "site and id must be [A-Za-z0-9_-]{1,64}");
    }
    snprintf(p->site, sizeof(p->site), "%s", o->site);
    snprintf(p->gateway, sizeof(p->gateway), "%s", o->gateway);
    p->historical_after_us = o->historical_after_us ? o->historical_after_us : HISTORICAL_AFTER_US;
    p->devices_max = o->devices_max ? o->devices_max : DEVICES_MAX;
    p->metrics_max = o->metrics_max ? o->metrics_max : METRICS_MAX;
    if (source_init(p) != OK) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    if (given(o->topic)) {
        TRY(uns_init(p, o, reterr));
    }
    return given(o->group) ? session_new(p, o, reterr) : OK;
}

enum err publish_new(struct loop *loop, struct bus *plant, const struct publish_options *options,
                     struct publish **ret_publish, struct fault *reterr)
{
    CLEANUP(publish_freep) struct publish *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    p->loop = loop;
    p->plant = plant;
    TRY(make(p, options, reterr));
    *ret_publish = take(p);
    return OK;
}

void publish_free(struct publish *p)
{
    if (p == NULL) {
        return;
    }
    uns_deinit(p);
    session_free(p->session);
    source_deinit(p);
    crypt_tls_free(p->tls);
    free(p);
}

enum err publish_start(struct publish *p)
{
    return p->session != NULL ? session_start(p->session) : OK;
}

void publish_stop(struct publish *p)
{
    if (p->stopped) {
        return;
    }
    p->stopped = true;
    if (p->uns) {
        uns_stop(p);
    }
    if (p->session != NULL) {
        session_stop(p->session);
    }
}

void publish_device_state(struct publish *p, const char *id, bool online)
{
    if (p->stopped || strcmp(id, p->gateway) == 0) {
        return;
    }
    struct device *d = NULL;
    if (!online && p->relayed) { /* whoever talks through it has gone with it */
        for (d = p->devices; d != NULL; d = d->next) {
            if (strcmp(d->gateway, id) == 0) {
                source_device_online(p, d, false);
            }
        }
    }
    d = source_device(p, id);
    if (d != NULL) {
        source_device_online(p, d, online);
    }
    if (p->session != NULL) {
        session_kick(p->session);
    }
}

void publish_device_known(struct publish *p, const char *id)
{
    struct device *d = p->stopped || strcmp(id, p->gateway) == 0 ? NULL : source_device(p, id);
    if (d != NULL && !d->known) {
        source_device_online(p, d, false);
    }
}

void publish_stats(const struct publish *p, struct publish_stats *ret_stats)
{
    *ret_stats = p->stats;
    ret_stats->devices = HASH_COUNT(p->by_id);
    ret_stats->namespace_on = p->uns;
    ret_stats->sparkplug_on = p->edge != NULL;
    if (p->edge != NULL) {
        ret_stats->state = edge_state(p->edge);
        edge_stats(p->edge, &ret_stats->edge);
    }
}

static void sparkplug_json(struct json *j, const struct publish_stats *s)
{
    static const char *const states[] = {[EDGE_DOWN] = "down", [EDGE_WAITING] = "waiting for the primary host",
                                         [EDGE_BIRTHING] = "births", [EDGE_ONLINE] = "online",
                                         [EDGE_STOPPED] = "stopped"};
    const struct edge_stats *e = &s->edge;
    json_object(j, "sparkplug");
    json_str(j, "state", states[s->state]);
    json_i64(j, "bd_seq", e->bd_seq);
    json_u64(j, "sessions", s->sessions);
    json_u64(j, "moves", s->moves);
    json_u64(j, "devices_online", e->devices_online);
    json_u64(j, "metrics", e->metrics);
    json_u64(j, "births", e->births);
    json_u64(j, "rebirths", e->rebirths);
    json_u64(j, "messages", e->data_messages);
    json_u64(j, "values", e->values_sent);
    json_u64(j, "historical", e->historical_sent);
    json_u64(j, "unchanged", e->unchanged);
    json_u64(j, "waiting", e->waiting);
    json_u64(j, "dropped", e->dropped);
    json_u64(j, "bad_commands", e->bad_commands);
    json_u64(j, "ignored_commands", e->ignored_commands);
    json_u64(j, "bad_states", e->bad_states);
    json_object_end(j);
}

void publish_json(const struct publish *p, struct buffer *out)
{
    struct publish_stats s;
    struct json j;
    publish_stats(p, &s);
    json_init(&j, out);
    json_object(&j, NULL);
    json_u64(&j, "records", s.records);
    json_u64(&j, "values", s.values);
    json_u64(&j, "devices", s.devices);
    json_u64(&j, "metrics", s.metrics);
    json_u64(&j, "undescribed", s.undescribed);
    json_u64(&j, "unreadable", s.unreadable);
    json_u64(&j, "captures", s.captures);
    json_u64(&j, "passed_over", s.passed_over);
    json_u64(&j, "refused", s.refused);
    if (s.namespace_on) {
        json_object(&j, "namespace");
        json_u64(&j, "mqtt", bus_version(p->plant) == BUS_MQTT_5 ? 5 : 3);
        json_u64(&j, "published", s.published);
        json_u64(&j, "superseded", s.superseded);
        json_u64(&j, "cleared", s.cleared);
        json_u64(&j, "busy", s.busy);
        json_u64(&j, "unretained", s.unretained);
        json_object_end(&j);
    } else {
        json_str(&j, "namespace", NULL);
    }
    if (s.sparkplug_on) {
        sparkplug_json(&j, &s);
    } else {
        json_str(&j, "sparkplug", NULL);
    }
    json_object_end(&j);
}
