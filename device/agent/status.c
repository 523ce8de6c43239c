/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent as the operator sees it: /status and /ledger.
 */
#include <math.h>

#include "core/base/json.h"
#include "device/agent/agent_internal.h"
#include "proto/rules/rules.h"

static void why_json(const struct agent *a, const struct report_stats *s, struct json *j)
{
    json_array(j, "why");
    if (!report_ready(a->report)) {
        json_str(j, NULL, "starting: the store has not taken the start yet");
    }
    if (bus_state(a->bus) != BUS_UP) {
        json_str(j, NULL, "not connected to the broker");
    }
    char unheard[REPORT_WHY_MAX];
    if (report_unheard(a->report, unheard)) {
        json_str(j, NULL, unheard);
    }
    if (store_broken(a->store)) {
        json_str(j, NULL, "the store is broken");
    } else if (s->failing) {
        json_str(j, NULL, "the store does not take records");
    }
    if (a->beyond) {
        json_str(j, NULL, "a value is outside its limits");
    }
    thought_why(a, j);
    json_array_end(j);
}

static bool degraded(const struct agent *a, const struct report_stats *s)
{
    char unheard[REPORT_WHY_MAX];
    return !report_ready(a->report) || bus_state(a->bus) != BUS_UP || report_unheard(a->report, unheard) ||
           store_broken(a->store) || s->failing || a->beyond;
}

/* How long the room that is left lasts at the rate since the start; -1 = not known yet. */
static int64_t buffer_lasts_s(const struct report_stats *s, int64_t uptime_us)
{
    const struct report_lane_stats *bulk = &s->lane[1];
    uint64_t held = bulk->durable - bulk->acked;
    if (held == 0 || bulk->bytes == 0 || s->records == 0 || uptime_us < SECOND_US || bulk->max_bytes < bulk->bytes) {
        return -1;
    }
    double record_bytes = (double)bulk->bytes / (double)held;
    double bytes_per_s = record_bytes * (double)s->records / ((double)uptime_us / (double)SECOND_US);
    return (int64_t)((double)(bulk->max_bytes - bulk->bytes) / bytes_per_s);
}

static void counters_json(const struct agent *a, const struct report_stats *s, int64_t uptime_us, struct json *j)
{
    struct agent_stats own;
    struct bus_stats bus;
    agent_stats(a, &own);
    bus_stats(a->bus, &bus);
    json_object(j, "counters");
    json_u64(j, "samples", s->samples);
    json_u64(j, "samples_missed", own.missed);
    json_u64(j, "samples_refused", s->refused);
    json_u64(j, "sense_errors", own.sense_errors);
    json_u64(j, "sense_bad", own.sense_bad);
    json_u64(j, "records", s->records);
    json_u64(j, "events", s->events);
    json_u64(j, "limit_alarms", own.limit_alarms);
    json_u64(j, "gaps", s->gaps);
    json_u64(j, "gap_numbers", s->gap_numbers);
    json_u64(j, "damaged", s->damaged);
    json_u64(j, "rebases", s->rebases);
    json_u64(j, "commits", s->commits);
    json_u64(j, "failed_commits", s->failed_commits);
    json_u64(j, "acks", s->acks);
    json_u64(j, "ignored_messages", s->ignored);
    json_u64(j, "connects", bus.connects);
    json_u64(j, "published", bus.published);
    json_u64(j, "bytes_out", bus.bytes_out);
    json_u64(j, "readings_suppressed", s->thinned);
    json_u64(j, "readings_undeclared", s->thinned_waiting);
    json_u64(j, "blocks_suppressed", s->thinned_blocks);
    json_i64(j, "unsynced_us", report_unsynced_us(a->report));
    json_i64(j, "buffer_lasts_s", buffer_lasts_s(s, uptime_us));
    json_object_end(j);
}

static void tier_json(const struct report_stats *s, struct json *j)
{
    uint64_t read = 0, sent = 0, committed = 0;
    for (unsigned i = 0; i < COUNT_OF(s->lane); i++) {
        read += s->lane[i].durable;
        sent += s->lane[i].sent;
        committed += s->lane[i].acked;
    }
    json_object(j, "tier");
    json_u64(j, "read", read);
    json_u64(j, "sent", sent);
    json_u64(j, "committed", committed);
    json_u64(j, "delivered", 0);
    json_object_end(j);
}

/* How often, and what became of the gateway's wishes. */
static void sampling_json(const struct agent *a, struct json *j)
{
    struct agent_stats own;
    agent_stats(a, &own);
    json_object(j, "sampling");
    json_i64(j, "period_us", agent_period_us(a));
    json_bool(j, "faster", fast_running(a));
    json_str(j, "commands", a->fast != NULL && a->options.bounds.fastest_us > 0
                                ? "obeyed within sense.fastest and sense.fast_for_max"
                                : "ignored: sense.fastest is not set");
    json_u64(j, "obeyed", own.commands.obeyed);
    json_u64(j, "repeated", own.commands.repeated);
    json_u64(j, "refused", own.commands.refused);
    json_u64(j, "expired", own.commands.expired);
    json_u64(j, "too_slow", own.commands.too_slow);
    json_u64(j, "spent", own.commands.spent);
    json_i64(j, "fast_ms", own.commands.fast_us / MS_US);
    json_object_end(j);
}

static void rules_json(const struct agent *a, struct json *j)
{
    const struct rules *rules = report_rules(a->report);
    if (rules == NULL) {
        return;
    }
    json_object(j, "rules");
    json_hex(j, "version", rules_version(rules));
    json_object(j, "suppressed");
    for (size_t i = 0; i < rules_count(rules); i++) {
        json_u64(j, rules_at(rules, i)->name, report_thinned(a->report, i));
    }
    json_object_end(j);
    json_object_end(j);
}

/* The span that is open. */
static void sketch_json(const struct infer *infer, const struct infer_stats *s, struct json *j)
{
    struct moments outcome = infer_outcome(infer);
    json_object(j, "sketch");
    json_str(j, "of", infer_outcome_name(infer));
    json_u64(j, "count", outcome.count);
    json_f64(j, "mean", outcome.count > 0 ? outcome.mean : (double)NAN);
    json_u64(j, "told", s->sketches);
    json_u64(j, "untold", s->sketches_untold);
    json_object_end(j);
}

static void infer_json(const struct agent *a, struct json *j)
{
    const struct infer *infer = agent_infer(a);
    if (infer == NULL) {
        return;
    }
    struct infer_stats s;
    uint64_t taken, lost;
    infer_stats(infer, &s);
    report_inferences(a->report, &taken, &lost);
    json_object(j, "infer");
    json_str(j, "model", infer_model_name(infer));
    json_hex(j, "id", infer_model(infer));
    json_u64(j, "windows", s.windows);
    json_u64(j, "inferences", s.runs + s.cached);
    json_u64(j, "runs", s.runs);
    json_u64(j, "cached", s.cached);
    json_u64(j, "skipped", s.skipped);
    json_u64(j, "blank", s.blank);
    json_u64(j, "no_verdict", s.no_verdict);
    json_u64(j, "unsure", s.unsure);
    json_u64(j, "asked", s.asked);
    json_u64(j, "asking", infer_asking(infer));
    json_u64(j, "answered", s.answered);
    json_u64(j, "refused", s.refused);
    json_u64(j, "late", s.late);
    json_u64(j, "offline", s.offline);
    json_u64(j, "strays", s.strays);
    json_u64(j, "told", s.told);
    json_u64(j, "repeats", s.repeats);
    json_u64(j, "untold", s.untold + lost);
    json_u64(j, "alarms", s.alarms);
    json_u64(j, "gaps", s.gaps);
    json_u64(j, "ask_bytes", s.ask_bytes);
    json_u64(j, "record_bytes", s.record_bytes);
    json_f64(j, "us_per_inference", s.runs + s.cached > 0 ? (double)s.run_us / (double)(s.runs + s.cached) : 0);
    json_u64(j, "beyond_macs_per_day", s.beyond_macs);
    json_u64(j, "beyond_bytes_per_day", s.beyond_bytes);
    json_u64(j, "macs", s.macs);
    json_u64(j, "memory_bytes", s.memory_bytes);
    sketch_json(infer, &s, j);
    json_object_end(j);
}

void agent_status_json(struct agent *a, struct buffer *out)
{
    struct report_stats s;
    struct store_usage usage;
    report_stats(a->report, &s);
    store_usage(a->store, &usage);
    int64_t uptime_us = loop_now_us(a->loop) - a->started_us;
    struct json j;
    json_init(&j, out);
    json_object(&j, NULL);
    json_str(&j, "program", "device");
    json_str(&j, "id", a->device);
    json_str(&j, "site", a->site);
    json_str(&j, "version", a->options.version ? a->options.version : "");
    json_i64(&j, "uptime_s", uptime_us / SECOND_US);
    json_str(&j, "state", degraded(a, &s) ? "degraded" : "ok");
    why_json(a, &s, &j);
    json_array(&j, "links");
    json_object(&j, NULL);
    json_str(&j, "name", "broker");
    json_bool(&j, "up", bus_state(a->bus) == BUS_UP);
    json_object_end(&j);
    json_array_end(&j);
    counters_json(a, &s, uptime_us, &j);
    json_object(&j, "store");
    json_u64(&j, "used_bytes", usage.used_bytes);
    json_u64(&j, "cap_bytes", usage.cap_bytes);
    json_u64(&j, "size_bytes", usage.size_bytes);
    json_object_end(&j);
    tier_json(&s, &j);
    sampling_json(a, &j);
    rules_json(a, &j);
    infer_json(a, &j);
    json_object_end(&j);
}

void agent_ledger_json(struct agent *a, struct buffer *out)
{
    struct report_stats s;
    report_stats(a->report, &s);
    struct json j;
    json_init(&j, out);
    json_object(&j, NULL);
    json_str(&j, "program", "device");
    json_str(&j, "id", a->device);
    json_array(&j, "streams");
    for (unsigned i = 0; i < COUNT_OF(s.lane); i++) {
        json_object(&j, NULL);
        json_str(&j, "device", a->device);
        json_hex(&j, "epoch", s.lane[i].epoch);
        json_u64(&j, "lane", i);
        json_u64(&j, "top", s.lane[i].top);
        json_u64(&j, "durable", s.lane[i].durable);
        json_u64(&j, "acked", s.lane[i].acked);
        json_u64(&j, "gaps", s.lane[i].gap_numbers);
        json_object_end(&j);
    }
    json_array_end(&j);
    json_object_end(&j);
}
