/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the settings of a program to the options of the views.
 */
#include <stdio.h>

#include "gateway/publish/publish_internal.h"

static bool given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

struct target {
    struct daemon_broker broker; /* as it counts: the plant's where none is given */
    char id[ID_MAX + 1];
    struct bus_options servers[PUBLISH_SERVERS_MAX];
    char hosts[PUBLISH_SERVERS_MAX][256];
    size_t count;
};

static enum err default_id(const struct publish_settings *s, const char *id, struct target *t, struct fault *reterr)
{
    int len = given(s->id) ? snprintf(t->id, sizeof(t->id), "%s", s->id)
                           : snprintf(t->id, sizeof(t->id), "%s-sparkplug", id);
    if (len > ID_MAX) {
        return fault_set(reterr, ERR_RANGE, "sparkplug.id: %s-sparkplug is longer than %d; give another", id, ID_MAX);
    }
    if (strcmp(t->id, id) == 0) {
        return fault_set(reterr, ERR_RANGE,
                         "sparkplug.id: is our own id: the two sessions would throw each other out");
    }
    return OK;
}

static enum err add_server(struct target *t, const char *text, struct fault *reterr)
{
    const char *colon = strrchr(text, ':');
    char *end = NULL;
    unsigned long port = colon != NULL ? strtoul(colon + 1, &end, 10) : 0;
    size_t len = colon != NULL ? (size_t)(colon - text) : 0;
    if (len == 0 || len >= sizeof(t->hosts[0]) || end == colon + 1 || *end != '\0' || port == 0 || port > 65535) {
        return fault_set(reterr, ERR_RANGE, "sparkplug.servers: \"%.200s\" is not host:port", text);
    }
    if (t->count == PUBLISH_SERVERS_MAX) {
        return fault_set(reterr, ERR_RANGE, "sparkplug.servers: more than %d", PUBLISH_SERVERS_MAX - 1);
    }
    snprintf(t->hosts[t->count], sizeof(t->hosts[0]), "%.*s", (int)len, text);
    t->servers[t->count] = (struct bus_options){.host = t->hosts[t->count], .port = (uint16_t)port};
    t->count++;
    return OK;
}

static enum err make_target(const struct publish_settings *s, const struct daemon_broker *plant, const char *id,
                            struct target *t, struct fault *reterr)
{
    *t = (struct target){.broker = s->broker};
    if (!given(s->broker.host)) {
        t->broker.host = plant->host;
        t->broker.port = plant->port;
        t->broker.insecure = plant->insecure;
        t->broker.ca = given(s->broker.ca) || plant->insecure ? s->broker.ca : plant->ca;
    }
    TRY(default_id(s, id, t, reterr));
    t->servers[0] = (struct bus_options){.host = t->broker.host, .port = (uint16_t)t->broker.port};
    t->count = 1;
    for (size_t i = 0; i < s->servers.count; i++) {
        TRY(add_server(t, s->servers.items[i], reterr));
    }
    for (size_t i = 0; i < t->count; i++) {
        t->servers[i].client_id = t->id;
        t->servers[i].keepalive_s = (unsigned)(t->broker.keepalive_us / SECOND_US);
    }
    return OK;
}

static struct publish_options options_of(const struct publish_settings *s, const char *site, const char *id,
                                         const char *software)
{
    return (struct publish_options){
        .site = site,
        .gateway = id,
        .software = software,
        .historical_after_us = s->historical_after_us,
        .topic = s->topic,
        .area = s->area,
        .line = s->line,
        .form = (enum publish_form)s->form,
        .interval_us = s->interval_us,
        .group = s->group,
        .node = s->node,
        .host = s->host,
    };
}

static enum err check_node(const struct publish_settings *s, const struct daemon_broker *plant, const char *id,
                           struct buffer *problems)
{
    static const struct {
        const char *name;
        size_t offset;
    } ids[] = {{"sparkplug.group", offsetof(struct publish_settings, group)},
               {"sparkplug.node", offsetof(struct publish_settings, node)},
               {"sparkplug.primary_host", offsetof(struct publish_settings, host)}};
    enum err err = OK;
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        const char *text = *(char *const *)(const void *)((const char *)s + ids[i].offset);
        if (given(text) && !sparkplug_id_valid(slice_str(text))) {
            buffer_printf(problems, "%s: \"%s\" has one of / + #, or is not UTF-8\n", ids[i].name, text);
            err = ERR_RANGE;
        }
    }
    struct target t;
    struct fault fault = {.code = OK};
    if (make_target(s, plant, id, &t, &fault) != OK) {
        buffer_printf(problems, "%s\n", fault.text);
        return ERR_RANGE;
    }
    enum err broker = daemon_broker_check("sparkplug", &t.broker, t.id, problems);
    return err == OK ? broker : err;
}

enum err publish_check(const struct publish_settings *s, const struct daemon_broker *plant, const char *site,
                       const char *id, struct buffer *problems)
{
    struct publish_options o = options_of(s, site, id, "");
    struct fault fault = {.code = OK};
    struct names names;
    enum err err = OK;
    if (given(s->topic) && names_parse(&names, &o, &fault) != OK) {
        buffer_printf(problems, "publish.topic: %s\n", fault.text);
        err = ERR_RANGE;
    }
    if (!given(s->group)) {
        if (given(s->host) || given(s->node) || given(s->id) || s->servers.count > 0 || given(s->broker.host)) {
            buffer_printf(problems, "sparkplug.group: missing; without it there is no Sparkplug node\n");
            return ERR_RANGE;
        }
        return err;
    }
    enum err node = check_node(s, plant, id, problems);
    return err == OK ? node : err;
}

enum bus_version publish_version(const struct publish_settings *s)
{
    return given(s->topic) ? (enum bus_version)s->mqtt : BUS_MQTT_3;
}

static enum err load_tls(const struct target *t, struct crypt_tls **ret_tls, struct fault *reterr)
{
    CLEANUP(crypt_tls_freep) struct crypt_tls *tls = NULL;
    struct crypt_tls_options files = {.ca_path = t->broker.ca, .cert_path = t->broker.cert, .key_path = t->broker.key};
    if (!given(t->broker.cert)) {
        return OK;
    }
    TRY(crypt_tls_new(&files, &tls, reterr));
    if (strcmp(crypt_tls_identity(tls), t->id) != 0) {
        return fault_set(reterr, ERR_DENIED, "%s: the certificate's common name is \"%s\", but sparkplug.id is \"%s\"",
                         t->broker.cert, crypt_tls_identity(tls), t->id);
    }
    *ret_tls = take(tls);
    return OK;
}

enum err publish_open(struct loop *loop, struct bus *plant_bus, const struct publish_settings *s,
                      const struct daemon_broker *plant, const char *site, const char *id, const char *software,
                      struct publish **ret_publish, struct fault *reterr)
{
    *ret_publish = NULL;
    if (!given(s->topic) && !given(s->group)) {
        return OK;
    }
    struct publish_options o = options_of(s, site, id, software);
    struct target t = {.count = 0};
    CLEANUP(crypt_tls_freep) struct crypt_tls *tls = NULL;
    if (given(s->group)) {
        TRY(make_target(s, plant, id, &t, reterr));
        TRY(load_tls(&t, &tls, reterr));
        for (size_t i = 0; i < t.count; i++) {
            t.servers[i].tls = tls;
        }
        o.servers = t.servers;
        o.server_count = t.count;
        o.backend = (enum bus_backend)t.broker.backend;
    }
    TRY(publish_new(loop, plant_bus, &o, ret_publish, reterr));
    (*ret_publish)->tls = take(tls);
    return OK;
}
