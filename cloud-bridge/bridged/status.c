/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator sees of the bridge: /status, and the hops' part of /ledger.
 */
#include <stdio.h>

#include "cloud-bridge/bridged/bridged_internal.h"
#include "core/daemon/status.h"

/* What the spool holds back for this sink, and what it did not get. */
static void write_held(struct json *j, struct bridge *b, const struct sinks_stats *s)
{
    int64_t wall_us = loop_wall_us(b->loop);
    bool has_age = s->waiting_since_us != 0 && (int64_t)s->waiting_since_us <= wall_us;
    json_u64(j, "waiting", s->waiting);
    json_u64(j, "waiting_s", has_age ? (uint64_t)(wall_us - (int64_t)s->waiting_since_us) / SECOND_US : 0);
    json_u64(j, "unsettled", s->unsettled);
    json_u64(j, "given_up", s->given_up);
    json_u64(j, "gaps_owed", s->owed);
    json_u64(j, "refused", s->refused);
    json_u64(j, "dead_letters", dead_count(b->dead, s->name));
}

static void write_sinks(struct json *j, struct bridge *b)
{
    json_array(j, "sinks");
    for (size_t i = 0; b->sinks != NULL && i < sinks_count(b->sinks); i++) {
        struct sinks_stats s;
        sinks_stats(b->sinks, i, &s);
        json_object(j, NULL);
        json_str(j, "name", s.name);
        json_str(j, "type", s.type);
        json_bool(j, "failing", s.failing);
        json_bool(j, "known", s.known);
        json_str(j, "last_error", s.last_error[0] != '\0' ? s.last_error : NULL);
        json_u64(j, "records", s.records);
        json_u64(j, "batches", s.batches);
        json_u64(j, "failures", s.failures);
        json_u64(j, "unreadable", s.unreadable);
        write_held(j, b, &s);
        json_array(j, "position");
        for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
            json_u64(j, NULL, s.position[lane]);
        }
        json_array_end(j);
        json_object_end(j);
    }
    json_array_end(j);
}

/* Returns how much there is to say. */
static size_t write_why_sinks(struct json *j, struct bridge *b)
{
    size_t failing = 0;
    for (size_t i = 0; b->sinks != NULL && i < sinks_count(b->sinks); i++) {
        struct sinks_stats s;
        char text[300];
        sinks_stats(b->sinks, i, &s);
        if (s.failing) {
            failing++;
            snprintf(text, sizeof(text), "sink %s fails: %s; %llu records wait for it", s.name, s.last_error,
                     (unsigned long long)s.waiting);
            if (j != NULL) {
                json_str(j, NULL, text);
            }
        }
        if (s.given_up > 0 || s.owed > 0) {
            failing++;
            snprintf(text, sizeof(text), "sink %s was away too long: %llu records were given up for it since the start",
                     s.name, (unsigned long long)s.given_up);
            if (j != NULL) {
                json_str(j, NULL, text);
            }
        }
    }
    if (dead_dropped_lately(b->dead) > 0) {
        char text[160];
        failing++;
        snprintf(text, sizeof(text), "dead letters are full (dead.max): the oldest %llu had to go for newer ones since the start",
                 (unsigned long long)dead_dropped_lately(b->dead));
        if (j != NULL) {
            json_str(j, NULL, text);
        }
    }
    return failing;
}

static void write_state(struct json *j, struct bridge *b, const struct status_store *store)
{
    bool up = b->intake != NULL && bus_state(b->bus) == BUS_UP;
    bool ok = up && status_store_fine(store) && !b->stopping && write_why_sinks(NULL, b) == 0;
    json_str(j, "state", ok ? "ok" : "degraded");
    json_array(j, "why");
    if (b->intake == NULL && !store->broken) {
        json_str(j, NULL, "starting: the store has not taken the start yet");
    }
    if (!up) {
        json_str(j, NULL, "the broker is not connected");
    }
    status_store_why_json(store, j);
    if (b->stopping) {
        json_str(j, NULL, "stopping");
    }
    (void)write_why_sinks(j, b);
    json_array_end(j);
    json_array(j, "links");
    json_object(j, NULL);
    json_str(j, "name", "broker");
    json_bool(j, "up", up);
    json_object_end(j);
    json_array_end(j);
}

struct sums {
    uint64_t accepted, durable;
    size_t closed;
};

static void add_stream(void *arg, const char *sender, uint64_t epoch, const struct window_stream *stream)
{
    struct sums *sums = arg;
    (void)sender;
    (void)epoch;
    sums->accepted += stream->pending;
    sums->durable += stream->hwm;
    sums->closed += stream->closed ? 1 : 0;
}

static void write_counters(struct json *j, const struct bridge *b, const struct bridge_stats *s,
                           const struct sums *sums)
{
    struct receive_stats receive = {0};
    if (b->intake != NULL) {
        intake_stats(b->intake, &receive);
    }
    const struct status_counter rows[] = {
        {"streams", s->inbox.streams},
        {"streams_closed", sums->closed},
        {"decode_errors", s->decode_errors},
        {"identity_errors", s->identity_errors},
        {"devices_refused", s->devices_refused},
        {"retained_ignored", s->retained_ignored},
        {"foreign_ignored", receive.foreign},
        {"records_refused", s->records_refused},
        {"acks", receive.acks},
        {"acks_dropped", receive.acks_dropped},
        {"rebased", s->rebased},
        {"dead_letters", dead_count(b->dead, NULL)},
        {"dead_letters_dropped", dead_dropped(b->dead)},
        {"spool_bytes", spool_bytes(b->spools[0]) + spool_bytes(b->spools[1])},
    };
    json_object(j, "counters");
    json_u64(j, "frames", s->frames);
    inbox_counters_json(&s->inbox, j);
    status_counters_json(rows, COUNT_OF(rows), j);
    json_object_end(j);
}

void bridge_status_json(struct bridge *b, struct buffer *out)
{
    struct json j;
    struct status_store store;
    struct bridge_stats stats;
    struct sums sums = {0};
    status_store_look(b->store, b->failure, &store);
    bridge_stats(b, &stats);
    if (b->intake != NULL) {
        inbox_foreach_stream(intake_inbox(b->intake), add_stream, &sums);
    }
    json_init(&j, out);
    json_object(&j, NULL);
    json_str(&j, "program", "bridge");
    json_str(&j, "id", b->id);
    json_str(&j, "site", b->site);
    json_str(&j, "version", b->software);
    json_u64(&j, "uptime_s", (uint64_t)((loop_now_us(b->loop) - b->started_us) / SECOND_US));
    write_state(&j, b, &store);
    write_counters(&j, b, &stats, &sums);
    json_object(&j, "store");
    status_store_json(&store, &j);
    json_object_end(&j);
    write_sinks(&j, b);
    json_object(&j, "tier");
    json_u64(&j, "read", sums.accepted);
    json_u64(&j, "sent", stats.sink.position[0] + stats.sink.position[1]);
    json_u64(&j, "committed", sums.durable);
    json_u64(&j, "delivered", stats.sink.position[0] + stats.sink.position[1]);
    json_object_end(&j);
    json_object_end(&j);
}

static void write_stream(void *arg, const char *sender, uint64_t epoch, const struct window_stream *stream)
{
    struct json *j = arg;
    json_object(j, NULL);
    json_str(j, "gateway", sender);
    json_hex(j, "epoch", epoch);
    json_u64(j, "lane", stream->lane);
    json_u64(j, "hwm", stream->hwm);
    json_u64(j, "top", stream->top);
    json_bool(j, "closed", stream->closed);
    json_object_end(j);
}

void bridge_hops_json(struct bridge *b, struct json *j)
{
    if (b->intake != NULL) {
        inbox_foreach_stream(intake_inbox(b->intake), write_stream, j);
    }
}
