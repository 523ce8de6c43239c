/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator sees: /status, /ledger, /devices.
 */
#include <stdio.h>

#include "core/base/json.h"
#include "core/daemon/status.h"
#include "gateway/gatewayd/gatewayd_internal.h"

struct sums {
    uint64_t accepted, durable, gaps, suppressed;
    size_t closed;
};

static void add_stream(void *arg, const char *sender, uint64_t epoch, const struct window_stream *stream)
{
    struct sums *sums = arg;
    (void)sender;
    (void)epoch;
    sums->accepted += stream->pending;
    sums->durable += stream->hwm;
    sums->gaps += stream->gaps;
    sums->suppressed += stream->suppressed;
    sums->closed += stream->closed ? 1 : 0;
}

/* Whether all is as it should be with the parents; what is not goes into j (unless NULL), one sentence each. */
static bool parents_fine(const struct gateway *g, struct json *j)
{
    bool fine = true;
    struct uplink_parent_state first = {0}, parent;
    for (size_t i = 0; g->uplink != NULL && i < uplink_parent_count(g->uplink); i++) {
        char why[PATH_TEXT_MAX + 256];
        uplink_parent_state(g->uplink, i, &parent);
        first = i == 0 ? parent : first;
        if (parent.loop[0] != '\0') {
            snprintf(why, sizeof(why), "a loop, nothing is sent to the parent %s: %s", parent.id, parent.loop);
        } else if (parent.in_use && i > 0) {
            snprintf(why, sizeof(why), "sends to the parent %s: %s, which is preferred, is not used", parent.id,
                     first.id);
        } else {
            continue;
        }
        fine = false;
        if (j != NULL) {
            json_str(j, NULL, why);
        }
    }
    return fine;
}

static void write_parents(struct json *j, const struct gateway *g)
{
    struct uplink_parent_state parent;
    json_array(j, "parents");
    for (size_t i = 0; g->uplink != NULL && i < uplink_parent_count(g->uplink); i++) {
        uplink_parent_state(g->uplink, i, &parent);
        json_object(j, NULL);
        json_str(j, "site", parent.site);
        json_str(j, "id", parent.id);
        json_bool(j, "in_use", parent.in_use);
        json_bool(j, "up", parent.up);
        json_str(j, "loop", parent.loop[0] != '\0' ? parent.loop : NULL);
        json_object_end(j);
    }
    json_array_end(j);
}

static bool parent_in_use_up(const struct gateway *g)
{
    struct uplink_parent_state parent = {.up = g->up == NULL};
    for (size_t i = 0; g->uplink != NULL && i < uplink_parent_count(g->uplink) && !parent.in_use; i++) {
        uplink_parent_state(g->uplink, i, &parent);
    }
    return parent.up;
}

/* Each reason is a sentence part that says what to look at. */
static void write_state(struct json *j, const struct gateway *g, const struct status_store *store)
{
    bool plant_up = g->ingest != NULL && bus_state(g->down) == BUS_UP;
    bool parent_up = parent_in_use_up(g);
    bool resting = g->uplink != NULL && uplink_resting(g->uplink); /* by our own will */
    char unheard[UPLINK_WHY_MAX] = "";
    bool heard = g->uplink == NULL || !uplink_unheard(g->uplink, unheard);
    bool fine = plant_up && (parent_up || resting) && heard && parents_fine(g, NULL) && status_store_fine(store) &&
                !g->stopping && g->reload[0] == '\0' && g->limits_reload[0] == '\0' &&
                (g->escalate == NULL || escalate_fine(g->escalate, NULL));
    json_str(j, "state", fine ? "ok" : "degraded");
    json_array(j, "why");
    if (g->ingest == NULL && !store->broken) {
        json_str(j, NULL, "starting: the store has not taken the start yet");
    }
    if (!plant_up) {
        json_str(j, NULL, "the plant's broker is not connected");
    }
    if (!parent_up && !resting) {
        json_str(j, NULL, "the parent's broker is not connected");
    }
    if (!heard) {
        json_str(j, NULL, unheard);
    }
    (void)parents_fine(g, j);
    status_store_why_json(store, j);
    if (g->reload[0] != '\0') {
        json_str(j, NULL, g->reload);
    }
    if (g->limits_reload[0] != '\0') {
        json_str(j, NULL, g->limits_reload);
    }
    if (g->escalate != NULL) {
        (void)escalate_fine(g->escalate, j);
    }
    if (g->stopping) {
        json_str(j, NULL, "stopping");
    }
    json_array_end(j);
    json_array(j, "links");
    json_object(j, NULL);
    json_str(j, "name", "plant");
    json_bool(j, "up", plant_up);
    json_object_end(j);
    if (g->up != NULL) {
        json_object(j, NULL);
        json_str(j, "name", "parent");
        json_bool(j, "up", parent_up);
        json_bool(j, "resting", resting);
        json_object_end(j);
    }
    json_array_end(j);
    write_parents(j, g);
}

static void write_counters(struct json *j, const struct gateway *g, const struct gateway_stats *s,
                           const struct sums *sums)
{
    struct receive_stats receive = {0};
    struct uplink_stats uplink = {0};
    if (g->ingest != NULL) {
        ingest_stats(g->ingest, &receive);
    }
    if (g->uplink != NULL) {
        uplink_stats(g->uplink, &uplink);
    }
    const struct status_counter rows[] = {
        {"gather_us", s->inbox.gather_us},
        {"commit_us", s->inbox.commit_us},
        {"streams", s->inbox.streams},
        {"streams_closed", sums->closed},
        {"decode_errors", s->decode_errors},
        {"identity_errors", s->identity_errors},
        {"retained_ignored", s->retained_ignored},
        {"foreign_ignored", receive.foreign},
        {"quota_dropped", s->quota_dropped},
        {"records_refused", s->records_refused},
        {"acks", receive.acks},
        {"acks_dropped", receive.acks_dropped},
        {"gap_numbers", sums->gaps},
        {"suppressed_numbers", sums->suppressed},
        {"devices", s->devices},
        {"devices_online", s->devices_online},
        {"uplink_frames", uplink.frames},
        {"uplink_repeated_frames", uplink.repeated_frames},
        {"uplink_timeouts", uplink.timeouts},
        {"uplink_bad_acks", uplink.bad_acks},
        {"uplink_rebased", uplink.rebased},
        {"uplink_switches", uplink.switches},
        {"commands_sent", g->commands.sent},
        {"commands_unsent", g->commands.unsent},
        {"spool_bytes", spool_bytes(g->spools[0]) + spool_bytes(g->spools[1])},
    };
    json_object(j, "counters");
    json_u64(j, "frames", s->frames);
    inbox_counters_json(&s->inbox, j);
    status_counters_json(rows, COUNT_OF(rows), j);
    json_object_end(j);
}

/* buffer_lasts_s: how long the room left would last without the parent, at the rate of the last half minute. */
static void write_store(struct json *j, const struct gateway *g, const struct status_store *store)
{
    const struct store_usage *usage = &store->usage;
    json_object(j, "store");
    status_store_json(store, j);
    if (g->bytes_in_per_s < 1) {
        json_str(j, "buffer_lasts_s", NULL);
    } else {
        double left = usage->cap_bytes > usage->used_bytes ? (double)(usage->cap_bytes - usage->used_bytes) : 0;
        json_u64(j, "buffer_lasts_s", (uint64_t)(left / g->bytes_in_per_s));
    }
    json_object_end(j);
}

/* "views": what publish tells; "feed": how far it has been fed. */
static void write_views(struct json *j, const struct gateway *g)
{
    struct views_stats stats = {0};
    if (g->options.publish == NULL) {
        return;
    }
    if (g->views != NULL) {
        views_stats(g->views, &stats);
    }
    json_object(j, "feed");
    json_u64(j, "behind", stats.behind);
    json_u64(j, "missed", stats.missed);
    json_u64(j, "damaged", stats.damaged);
    json_object_end(j);
    buffer_put_str(j->out, ",\"views\":");
    publish_json(g->options.publish, j->out);
}

void gateway_status_json(struct gateway *g, struct buffer *out)
{
    struct json j;
    struct status_store store;
    struct gateway_stats stats;
    struct uplink_stats uplink = {0};
    struct sums sums = {0};
    status_store_look(g->store, g->failure, &store);
    gateway_stats(g, &stats);
    if (g->ingest != NULL) {
        inbox_foreach_stream(ingest_inbox(g->ingest), add_stream, &sums);
    }
    if (g->uplink != NULL) {
        uplink_stats(g->uplink, &uplink);
    }
    json_init(&j, out);
    json_object(&j, NULL);
    json_str(&j, "program", "gateway");
    json_str(&j, "id", g->gateway);
    json_str(&j, "site", g->site);
    json_str(&j, "version", g->software);
    json_u64(&j, "uptime_s", (uint64_t)((loop_now_us(g->loop) - g->started_us) / SECOND_US));
    write_state(&j, g, &store);
    write_counters(&j, g, &stats, &sums);
    write_store(&j, g, &store);
    if (g->uplink != NULL) {
        json_object(&j, "uplink");
        uplink_budget_json(g->uplink, &j);
        uplink_bill_json(g->uplink, &j);
        json_object_end(&j);
    }
    if (g->escalate != NULL) {
        json_object(&j, "escalation");
        escalate_json(g->escalate, &j);
        json_u64(&j, "answers_unsent", g->answers_unsent);
        json_object_end(&j);
    }
    json_object(&j, "tier");
    json_u64(&j, "read", sums.accepted);
    json_u64(&j, "sent", uplink.lane[0].sent + uplink.lane[1].sent);
    json_u64(&j, "committed", sums.durable);
    json_u64(&j, "delivered", uplink.lane[0].acked + uplink.lane[1].acked);
    json_object_end(&j);
    write_views(&j, g);
    json_object_end(&j);
}

enum err gateway_bill_json(struct gateway *g, struct buffer *out)
{
    struct json j;
    if (g->uplink == NULL) {
        return ERR_UNSUPPORTED;
    }
    json_init(&j, out);
    json_object(&j, NULL);
    json_str(&j, "program", "gateway");
    json_str(&j, "id", g->gateway);
    uplink_bill_json(g->uplink, &j);
    json_object_end(&j);
    return OK;
}

struct ledger {
    struct json json;
    const char *device;
};

static void write_stream(void *arg, const char *sender, uint64_t epoch, const struct window_stream *stream)
{
    struct ledger *l = arg;
    if (l->device != NULL && strcmp(l->device, sender) != 0) {
        return;
    }
    json_object(&l->json, NULL);
    json_str(&l->json, "device", sender);
    json_hex(&l->json, "epoch", epoch);
    json_u64(&l->json, "lane", stream->lane);
    json_u64(&l->json, "top", stream->top);
    json_u64(&l->json, "hwm", stream->hwm);
    json_u64(&l->json, "gaps", stream->gaps);
    json_u64(&l->json, "suppressed", stream->suppressed);
    json_bool(&l->json, "closed", stream->closed);
    json_object_end(&l->json);
}

void gateway_ledger_json(struct gateway *g, const char *device, struct buffer *out)
{
    struct ledger l = {.device = device};
    json_init(&l.json, out);
    json_object(&l.json, NULL);
    json_str(&l.json, "program", "gateway");
    json_str(&l.json, "id", g->gateway);
    json_array(&l.json, "streams");
    if (g->ingest != NULL) {
        inbox_foreach_stream(ingest_inbox(g->ingest), write_stream, &l);
    }
    json_array_end(&l.json);
    json_array(&l.json, "uplink");
    if (g->uplink != NULL) {
        struct uplink_stats stats;
        uplink_stats(g->uplink, &stats);
        for (unsigned i = 0; i < INBOX_LANES; i++) {
            json_object(&l.json, NULL);
            json_hex(&l.json, "epoch", stats.lane[i].epoch);
            json_u64(&l.json, "lane", i);
            json_u64(&l.json, "durable", stats.lane[i].top);
            json_u64(&l.json, "acked", stats.lane[i].acked);
            json_object_end(&l.json);
        }
    }
    json_array_end(&l.json);
    json_object_end(&l.json);
}

static void count_stream(void *arg, const char *sender, uint64_t epoch, const struct window_stream *stream)
{
    (void)epoch;
    (void)stream;
    fleet_known_stream(arg, sender);
}

void gateway_devices_json(struct gateway *g, struct buffer *out)
{
    fleet_forget_streams(g->fleet);
    if (g->ingest != NULL) {
        inbox_foreach_stream(ingest_inbox(g->ingest), count_stream, g->fleet);
    }
    fleet_json(g->fleet, out);
}
