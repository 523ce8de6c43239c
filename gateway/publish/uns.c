/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The unified namespace on the plant's session.
 *
 *   idle --value--> READY --published--> COOLING --interval over, value meanwhile--> READY
 *                                            '-----interval over-----------------> idle
 *
 * Both lists are in the order of time, so that a pump looks only at what is due. A pump publishes at most PUMP_BYTES, so
 * that acknowledgements of the durable path, which share the session, always find room; on a session that takes none it
 * comes again later. The session's handlers belong to others: a new session is seen by its count of connects, looked at
 * every WATCH_US, and everything retained is told anew to it, for a broker is disposable.
 */
#include <stdio.h>

#include "core/base/json.h"
#include "gateway/publish/publish_internal.h"
#include "proto/schema/plant.pb-c.h"

#define WATCH_US (250 * MS_US)
#define AGAIN_US (5 * MS_US)
#define BUSY_US (50 * MS_US)
#define STATE "state"
enum { PUMP_BYTES = 64 << 10, PAYLOAD_MAX = 2048 };

/* ---- lists ---- */
static void make_ready(struct publish *p, struct metric *m)
{
    m->ready = true;
    m->next_ready = NULL;
    *p->ready_end = m;
    p->ready_end = &m->next_ready;
}

static struct metric *take_ready(struct publish *p)
{
    struct metric *m = p->ready;
    p->ready = m->next_ready;
    if (p->ready == NULL) {
        p->ready_end = &p->ready;
    }
    m->ready = false;
    return m;
}

static void cool(struct publish *p, struct metric *m, int64_t now_us)
{
    if (p->interval_us == 0) {
        return;
    }
    m->cooling = true;
    m->dirty = false;
    m->cool_at_us = now_us + p->interval_us;
    m->next_cooling = NULL;
    *p->cooling_end = m;
    p->cooling_end = &m->next_cooling;
}

static void wake_cooled(struct publish *p, int64_t now_us)
{
    while (p->cooling != NULL && p->cooling->cool_at_us <= now_us) {
        struct metric *m = p->cooling;
        p->cooling = m->next_cooling;
        if (p->cooling == NULL) {
            p->cooling_end = &p->cooling;
        }
        m->cooling = false;
        if (m->dirty && !m->ready) {
            make_ready(p, m);
        }
        m->dirty = false;
    }
}

static void kick(struct publish *p, int64_t delay_us)
{
    int64_t due_us = loop_now_us(p->loop) + delay_us;
    if (!p->stopped && (!loop_timer_pending(&p->pump) || p->pump.due_us > due_us)) {
        loop_timer_at(&p->pump, due_us);
    }
}

void uns_value(struct publish *p, struct metric *m)
{
    if (m->ready || m->dirty) {
        p->stats.superseded++;
    } else if (m->cooling) {
        m->dirty = true;
    } else {
        make_ready(p, m);
    }
    if (m->ready) {
        kick(p, 0);
    } else {
        kick(p, max_i64(p->cooling->cool_at_us - loop_now_us(p->loop), 0));
    }
}

static void state_ready(struct publish *p, struct device *d)
{
    if (!d->state_ready && d->known) {
        d->state_ready = true;
        d->next_state = NULL;
        *p->states_end = d;
        p->states_end = &d->next_state;
    }
}

void uns_state(struct publish *p, struct device *d)
{
    state_ready(p, d);
    kick(p, 0);
}

/* ---- encoding ---- */
static void put_json(struct publish *p, const struct metric *m)
{
    const struct value *v = &m->value;
    char text[40];
    struct json j;
    json_init(&j, &p->payload);
    json_object(&j, NULL);
    json_f64(&j, "value", v->value);
    json_str(&j, "unit", m->unit);
    json_i64(&j, "ts", v->ts_ms);
    json_str(&j, "quality", v->uncertain ? "uncertain" : "good");
    if (v->model != 0) {
        json_hex(&j, "model", v->model);
    } else {
        json_str(&j, "model", NULL);
    }
    snprintf(text, sizeof(text), "%016llx-%llu", (unsigned long long)v->epoch, (unsigned long long)v->number);
    json_str(&j, "record", text);
    if (m->is_window) {
        json_u64(&j, "length", v->length_ms);
        json_u64(&j, "count", v->count);
        json_f64(&j, "min", v->min);
        json_f64(&j, "max", v->max);
        json_f64(&j, "std", v->std);
        if (v->has_quantiles) {
            json_f64(&j, "p50", v->p50);
            json_f64(&j, "p95", v->p95);
            json_f64(&j, "p99", v->p99);
        }
        json_bool(&j, "partial", v->partial);
    }
    json_object_end(&j);
}

static void put_protobuf(struct publish *p, const struct metric *m)
{
    const struct value *v = &m->value;
    Weir__Plant__V1__Value message;
    Weir__Plant__V1__Window window;
    Weir__Plant__V1__Quantiles quantiles;
    weir__plant__v1__value__init(&message);
    weir__plant__v1__window__init(&window);
    weir__plant__v1__quantiles__init(&quantiles);
    message.value = v->value;
    message.unit = m->unit;
    message.ts = (uint64_t)v->ts_ms;
    message.quality = v->uncertain ? WEIR__PLANT__V1__QUALITY__UNCERTAIN : WEIR__PLANT__V1__QUALITY__GOOD;
    message.model = v->model;
    message.epoch = v->epoch;
    message.number = v->number;
    if (m->is_window) {
        window.length = v->length_ms;
        window.count = v->count;
        window.min = v->min;
        window.max = v->max;
        window.std = v->std;
        quantiles.p50 = v->p50;
        quantiles.p95 = v->p95;
        quantiles.p99 = v->p99;
        window.quantiles = v->has_quantiles ? &quantiles : NULL;
        window.partial = v->partial;
        message.window = &window;
    }
    size_t size = weir__plant__v1__value__get_packed_size(&message);
    uint8_t *at = buffer_extend(&p->payload, size);
    if (at != NULL) {
        (void)weir__plant__v1__value__pack(&message, at);
    }
}

/* ---- publishing ---- */
static enum err send(struct publish *p, const struct bus_extras *extras, size_t *budget)
{
    TRY(buffer_err(&p->topic));
    TRY(buffer_err(&p->payload));
    enum err err = bus_publish_with(p->plant, buffer_slice(&p->topic), buffer_slice(&p->payload), 0, true, extras);
    if (err == ERR_UNSUPPORTED) { /* the broker keeps none; those who listen now hear it */
        p->stats.unretained++;
        err = bus_publish_with(p->plant, buffer_slice(&p->topic), buffer_slice(&p->payload), 0, false, extras);
    }
    TRY(err);
    size_t bytes = p->topic.len + p->payload.len;
    *budget -= bytes < *budget ? bytes : *budget;
    p->stats.published++;
    return OK;
}

static enum err send_state(struct publish *p, const char *gateway, const char *device, bool online, size_t *budget)
{
    buffer_reset(&p->topic);
    buffer_reset(&p->payload);
    names_put(&p->names, gateway, device, STATE, &p->topic);
    buffer_put_str(&p->payload, online ? "online" : "offline");
    return send(p, &(struct bus_extras){.content_type = "text/plain"}, budget);
}

static const char *gateway_of(const struct publish *p, const struct device *d)
{
    return d->gateway[0] != '\0' ? d->gateway : p->gateway;
}

/* What finds the record again, in the words of the logs and of the bridge's MQTT sink. */
static enum err send_value(struct publish *p, const struct metric *m, size_t *budget)
{
    char epoch[20], number[24], trace[ID_MAX + 48];
    const struct value *v = &m->value;
    snprintf(epoch, sizeof(epoch), "%016llx", (unsigned long long)v->epoch);
    snprintf(number, sizeof(number), "%llu", (unsigned long long)v->number);
    snprintf(trace, sizeof(trace), "%s/%s/%s", m->device->id, epoch, number);
    const struct bus_property properties[] = {{"device", slice_str(m->device->id)},
                                              {"epoch", slice_str(epoch)},
                                              {"number", slice_str(number)},
                                              {"schema", slice_str("weir.plant.v1.Value")},
                                              {"trace", slice_str(trace)}};
    const struct bus_extras extras = {.content_type = p->form == PUBLISH_JSON ? "application/json" : "application/x-protobuf",
                                      .properties = properties,
                                      .count = COUNT_OF(properties)};
    return send(p, &extras, budget);
}

/* An empty message takes away what the broker keeps (MQTT 5.0, 3.3.1.3). */
static enum err send_clear(struct publish *p, const struct metric *m, size_t *budget)
{
    buffer_reset(&p->topic);
    names_put(&p->names, gateway_of(p, m->device), m->device->id, m->slug, &p->topic);
    TRY(buffer_err(&p->topic));
    TRY(bus_publish(p->plant, buffer_slice(&p->topic), slice_of(NULL, 0), 0, true));
    *budget -= p->topic.len < *budget ? p->topic.len : *budget;
    p->stats.cleared++;
    return OK;
}

static enum err send_metric(struct publish *p, const struct metric *m, size_t *budget)
{
    buffer_reset(&p->topic);
    buffer_reset(&p->payload);
    names_put(&p->names, gateway_of(p, m->device), m->device->id, m->slug, &p->topic);
    if (p->form == PUBLISH_JSON) {
        put_json(p, m);
    } else {
        put_protobuf(p, m);
    }
    return bus_version(p->plant) == BUS_MQTT_5 ? send_value(p, m, budget) : send(p, NULL, budget);
}

/* ERR_AGAIN; what cannot be sent at all counts as sent. */
static enum err pump_states(struct publish *p, size_t *budget)
{
    if (p->gateway_state_ready) {
        if (send_state(p, p->gateway, p->gateway, true, budget) == ERR_AGAIN) {
            return ERR_AGAIN;
        }
        p->gateway_state_ready = false;
    }
    while (p->states != NULL && *budget > 0) {
        struct device *d = p->states;
        if (send_state(p, gateway_of(p, d), d->id, d->online, budget) == ERR_AGAIN) {
            return ERR_AGAIN;
        }
        p->states = d->next_state;
        if (p->states == NULL) {
            p->states_end = &p->states;
        }
        d->state_ready = false;
    }
    return OK;
}

static enum err pump_values(struct publish *p, int64_t now_us, size_t *budget)
{
    while (p->ready != NULL && *budget > 0) {
        enum err err = p->ready->gone ? send_clear(p, p->ready, budget) : send_metric(p, p->ready, budget);
        if (err == ERR_AGAIN) {
            return ERR_AGAIN;
        }
        cool(p, take_ready(p), now_us);
    }
    return OK;
}

/* To a session that is new, perhaps with a broker that has forgotten everything. */
static void tell_anew(struct publish *p)
{
    p->gateway_state_ready = true;
    for (struct device *d = p->devices; d != NULL; d = d->next) {
        state_ready(p, d);
        for (struct metric *m = d->first; m != NULL; m = m->next) {
            bool tell = m->has_value || m->gone;
            m->dirty = m->cooling && tell && !m->ready;
            if (tell && !m->ready && !m->cooling) {
                make_ready(p, m);
            }
        }
    }
}

static void on_pump(void *arg)
{
    struct publish *p = arg;
    int64_t now_us = loop_now_us(p->loop);
    size_t budget = PUMP_BYTES;
    wake_cooled(p, now_us);
    if (bus_state(p->plant) != BUS_UP) {
        return; /* on_watch sees the next session */
    }
    enum err err = pump_states(p, &budget);
    err = err == OK ? pump_values(p, now_us, &budget) : err;
    if (err != OK) {
        p->stats.busy++;
        kick(p, BUSY_US);
    } else if (p->ready != NULL || p->states != NULL) {
        kick(p, AGAIN_US);
    } else if (p->cooling != NULL) {
        kick(p, p->cooling->cool_at_us - now_us);
    }
}

static void on_watch(void *arg)
{
    struct publish *p = arg;
    struct bus_stats stats;
    bus_stats(p->plant, &stats);
    if (bus_state(p->plant) == BUS_UP && stats.connects != p->connects) {
        p->connects = stats.connects;
        tell_anew(p);
        kick(p, 0);
    }
    loop_timer_in(&p->watch, WATCH_US);
}

/* ---- life ---- */
enum err uns_init(struct publish *p, const struct publish_options *o, struct fault *reterr)
{
    p->ready_end = &p->ready;
    p->cooling_end = &p->cooling;
    p->states_end = &p->states;
    buffer_init(&p->topic, TOPIC_BYTES_MAX);
    buffer_init(&p->payload, PAYLOAD_MAX);
    loop_timer_init(&p->pump, p->loop, on_pump, p);
    loop_timer_init(&p->watch, p->loop, on_watch, p);
    p->form = o->form;
    p->interval_us = o->interval_us;
    TRY(names_parse(&p->names, o, reterr));
    BUFFER(topic, TOPIC_BYTES_MAX);
    names_put(&p->names, p->gateway, p->gateway, STATE, &topic);
    buffer_put_u8(&topic, '\0');
    enum err err = buffer_err(&topic);
    struct bus_will will = {.topic = (const char *)topic.ptr, .payload = slice_str("offline"), .retain = true};
    err = err == OK ? bus_set_will(p->plant, &will) : err;
    if (err != OK) {
        return fault_set(reterr, err, "the gateway's will: %s", err_name(err));
    }
    loop_timer_in(&p->watch, 0);
    p->uns = true;
    return OK;
}

void uns_stop(struct publish *p)
{
    size_t budget = SIZE_MAX;
    loop_timer_cancel(&p->pump);
    loop_timer_cancel(&p->watch);
    if (bus_state(p->plant) != BUS_UP) {
        return;
    }
    enum err err = send_state(p, p->gateway, p->gateway, false, &budget);
    for (struct device *d = p->devices; d != NULL && err == OK; d = d->next) {
        if (d->online) {
            err = send_state(p, gateway_of(p, d), d->id, false, &budget);
        }
    }
}

void uns_deinit(struct publish *p)
{
    loop_timer_cancel(&p->pump);
    loop_timer_cancel(&p->watch);
    buffer_deinit(&p->topic);
    buffer_deinit(&p->payload);
}
