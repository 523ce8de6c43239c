/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bad actors: connections that behave as no device of ours does.
 *
 *   garbage  random bytes on a telemetry topic of its own
 *   flood    well-formed frames, numbered in order and never waiting for an answer
 *   thief    another device's identity: in the payload under its own topic, and on the other's topic
 *   twin     a device's own client identity, so that the broker ends one session for the other, and garbage under it
 *
 * What they send is lost on purpose and counted apart; what they do to the others shows in the account.
 */
#include <stdio.h>

#include "proto/topic/topic.h"
#include "proto/wire/wire.h"
#include "simulators/load/load_internal.h"

#define ACTOR_TICK_US (20 * MS_US)
enum { PURPOSE_ACTOR = 2, GARBAGE_MAX = 1500, BURST_MAX = 1000 };

/* ---- what they say ---- */

static enum err say(struct actor *a, struct slice payload)
{
    char topic[TOPIC_MAX + 1];
    const struct scenario *s = a->load->scenario;
    topic_format(s->site, s->gateway, a->topic_id, TOPIC_TELE, topic);
    return bus_publish(a->bus, slice_str(topic), payload, 0, false);
}

static enum err say_garbage(struct actor *a)
{
    uint64_t bytes[GARBAGE_MAX / 8 + 1];
    size_t len = 1 + chance_next(&a->chance) % GARBAGE_MAX;
    for (size_t i = 0; i < COUNT_OF(bytes); i++) {
        bytes[i] = chance_next(&a->chance);
    }
    return say(a, slice_of(bytes, len));
}

/* One well-formed record under the given name, with the next number. */
static enum err say_frame(struct actor *a, const char *sender)
{
    BUFFER(body, 1024);
    BUFFER(frame, 4096);
    Weir__V1__Event event = WEIR__V1__EVENT__INIT;
    event.wall_us = (uint64_t)loop_wall_us(a->load->loop);
    event.id = (char[]){"flood"};
    event.text = (char[]){"said by a bad actor"};
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_EVENT;
    record.event = &event;
    TRY(wire_record_pack(&record, &body));
    uint64_t number = a->number + 1;
    const struct window_header header = {.epoch = a->epoch,
                                         .first = number,
                                         .last = number,
                                         .base = number,
                                         .top = number,
                                         .boot = (uint32_t)a->epoch | 1,
                                         .lane = 1,
                                         .has_hello = number == 1,
                                         .boot_seq = 1};
    const struct slice bodies[] = {buffer_slice(&body)};
    TRY(wire_frame_encode(sender, &header, "weir-fleet", bodies, 1, &frame));
    TRY(say(a, buffer_slice(&frame)));
    a->number = number;
    return OK;
}

static void victim_id(const struct actor *a, char ret_id[ID_MAX + 1])
{
    const struct load *load = a->load;
    unsigned connection = (unsigned)(load->devices + (size_t)(a - load->actors));
    scenario_identity(load->scenario, scenario_victim(load->scenario, connection), ret_id);
}

static enum err steal(struct actor *a)
{
    char victim[ID_MAX + 1];
    victim_id(a, victim);
    (void)snprintf(a->topic_id, sizeof(a->topic_id), "%s", chance_next(&a->chance) & 1 ? victim : a->id);
    return say_frame(a, victim);
}

static enum err act(struct actor *a)
{
    switch (a->kind) {
    case SCENARIO_FLOOD:
        return say_frame(a, a->id);
    case SCENARIO_THIEF:
        return steal(a);
    case SCENARIO_GARBAGE:
    case SCENARIO_TWIN:
        return say_garbage(a);
    case SCENARIO_DEVICE:
        break;
    }
    return ERR_RANGE;
}

static void on_timer(void *arg)
{
    struct actor *a = arg;
    struct load *load = a->load;
    const struct scenario *s = load->scenario;
    double rate = a->kind == SCENARIO_FLOOD ? s->bad.flood_rate : s->bad.rate;
    a->owed += rate * (double)ACTOR_TICK_US / (double)SECOND_US;
    for (unsigned n = 0; a->owed >= 1 && n < BURST_MAX; n++) {
        a->owed -= 1;
        if (act(a) == OK) {
            load->bad_sent[a->kind]++;
        } else {
            load->bad_held[a->kind]++;
        }
    }
    loop_timer_in(&a->timer, ACTOR_TICK_US);
}

/* ---- life ---- */

static enum err begin(struct actor *a, unsigned connection, struct fault *reterr)
{
    struct load *load = a->load;
    const struct scenario *s = load->scenario;
    a->kind = scenario_actor(s, connection);
    a->chance = scenario_chance_seed(s, connection, PURPOSE_ACTOR);
    a->epoch = chance_next(&a->chance) | 1;
    scenario_identity(s, connection, a->id);
    memcpy(a->topic_id, a->id, sizeof(a->topic_id));
    loop_timer_init(&a->timer, load->loop, on_timer, a);
    TRY(load_tls(load, a->id, &a->tls, reterr));
    const struct bus_options options = {.host = s->broker.host,
                                        .port = (uint16_t)s->broker.port,
                                        .client_id = a->id,
                                        .tls = a->tls,
                                        .keepalive_s = (unsigned)(s->broker.keepalive_us / SECOND_US)};
    TRY(bus_new(BUS_NATIVE, load->loop, &options, &a->bus, reterr));
    TRY(bus_start(a->bus));
    loop_timer_in(&a->timer, ACTOR_TICK_US);
    return OK;
}

enum err actors_begin(struct load *load, struct fault *reterr)
{
    load->actor_count = scenario_connections(load->scenario) - load->devices;
    load->actors = calloc(load->actor_count + 1, sizeof(*load->actors));
    if (load->actors == NULL) {
        load->actor_count = 0;
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < load->actor_count; i++) {
        load->actors[i].load = load;
        TRY(begin(&load->actors[i], (unsigned)(load->devices + i), reterr));
        if (load->actors[i].kind == SCENARIO_TWIN) {
            load->members[scenario_victim(load->scenario, (unsigned)(load->devices + i))].shared = true;
        }
    }
    return OK;
}

void actors_end(struct load *load)
{
    for (size_t i = 0; i < load->actor_count; i++) {
        loop_timer_cancel(&load->actors[i].timer);
        bus_free(take(load->actors[i].bus));
        crypt_tls_free(take(load->actors[i].tls));
    }
    free(take(load->actors));
    load->actor_count = 0;
}
