/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator sees: /status, /ledger, /devices.
 */
#include "core/base/json.h"
#include "gateway/gatewayd/gatewayd_internal.h"

enum { NEARLY_FULL_PCT = 90 };

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

/* Each reason is a sentence part that says what to look at. */
static void write_state(struct json *j, const struct gateway *g, const struct store_usage *usage)
{
    bool plant_up = g->ingest != NULL && bus_state(g->down) == BUS_UP;
    bool parent_up = g->up == NULL || (g->uplink != NULL && bus_state(g->up) == BUS_UP);
    bool nearly_full = usage->used_bytes >= usage->cap_bytes / 100 * NEARLY_FULL_PCT;
    char unheard[UPLINK_WHY_MAX] = "";
    bool heard = g->uplink == NULL || !uplink_unheard(g->uplink, unheard);
    bool broken = store_broken(g->store) || g->failure[0] != '\0';
    bool failing = usage->failing != OK && !broken;
    bool fine = plant_up && parent_up && heard && !nearly_full && !broken && !failing && !g->stopping;
    json_str(j, "state", fine ? "ok" : "degraded");
    json_array(j, "why");
    if (g->ingest == NULL && !broken) {
        json_str(j, NULL, "starting: the store has not taken the start yet");
    }
    if (!plant_up) {
        json_str(j, NULL, "the plant's broker is not connected");
    }
    if (!parent_up) {
        json_str(j, NULL, "the parent's broker is not connected");
    }
    if (!heard) {
        json_str(j, NULL, unheard);
    }
    if (nearly_full) {
        json_str(j, NULL, "the store is nearly full");
    }
    if (failing) {
        json_str(j, NULL, usage->failing == ERR_FULL ? "the store does not take records: no room"
                                                     : "the store does not take records: its commits fail");
    }
    if (broken) {
        json_str(j, NULL, g->failure[0] != '\0' ? g->failure : "the store is broken");
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
        json_object_end(j);
    }
    json_array_end(j);
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
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"frames", s->frames},
        {"entries", s->inbox.entries},
        {"duplicates", s->inbox.duplicates},
        {"holes", s->inbox.holes},
        {"forgotten", s->inbox.forgotten},
        {"refused", s->inbox.refused},
        {"too_many_streams", s->inbox.too_many},
        {"stale", s->inbox.stale},
        {"need_hello", s->inbox.need_hello},
        {"closed", s->inbox.closed},
        {"full", s->inbox.full},
        {"commits", s->inbox.commits},
        {"failed_commits", s->inbox.failed_commits},
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
        {"spool_bytes", spool_bytes(g->spools[0]) + spool_bytes(g->spools[1])},
    };
    json_object(j, "counters");
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        json_u64(j, rows[i].name, rows[i].value);
    }
    json_object_end(j);
}

/* buffer_lasts_s: how long the room left would last without the parent, at the rate of the last half minute. */
static void write_store(struct json *j, const struct gateway *g, const struct store_usage *usage)
{
    json_object(j, "store");
    json_u64(j, "used_bytes", usage->used_bytes);
    json_u64(j, "cap_bytes", usage->cap_bytes);
    json_u64(j, "size_bytes", usage->size_bytes);
    json_i64(j, "last_commit_us", usage->last_commit_us);
    if (g->bytes_in_per_s < 1) {
        json_str(j, "buffer_lasts_s", NULL);
    } else {
        double left = usage->cap_bytes > usage->used_bytes ? (double)(usage->cap_bytes - usage->used_bytes) : 0;
        json_u64(j, "buffer_lasts_s", (uint64_t)(left / g->bytes_in_per_s));
    }
    json_object_end(j);
}

void gateway_status_json(struct gateway *g, struct buffer *out)
{
    struct json j;
    struct store_usage usage;
    struct gateway_stats stats;
    struct uplink_stats uplink = {0};
    struct sums sums = {0};
    store_usage(g->store, &usage);
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
    write_state(&j, g, &usage);
    write_counters(&j, g, &stats, &sums);
    write_store(&j, g, &usage);
    json_object(&j, "tier");
    json_u64(&j, "read", sums.accepted);
    json_u64(&j, "sent", uplink.lane[0].sent + uplink.lane[1].sent);
    json_u64(&j, "committed", sums.durable);
    json_u64(&j, "delivered", uplink.lane[0].acked + uplink.lane[1].acked);
    json_object_end(&j);
    json_object_end(&j);
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
