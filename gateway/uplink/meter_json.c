/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator sees of it. Seconds, numbers and bytes; -1 or null where nothing is known. */
#include <stdio.h>

#include "gateway/uplink/meter_internal.h"

static const char *when_text(const struct budget_rules *r, char *out, size_t size)
{
    if (r->when != BUDGET_IN_WINDOWS) {
        return r->when == BUDGET_ALWAYS ? "always" : "on-request";
    }
    size_t at = 0;
    for (size_t i = 0; i < r->span_count && at < size; i++) {
        at +=
            (size_t)snprintf(out + at, size - at, "%s%02u:%02u-%02u:%02u", i > 0 ? ", " : "", r->spans[i].from_min / 60,
                             r->spans[i].from_min % 60, r->spans[i].to_min / 60, r->spans[i].to_min % 60);
    }
    return out;
}

static const char *wait_text(const struct meter *m, unsigned lane)
{
    static const char *const texts[] = {[METER_FREE] = "",
                                        [METER_CLOSED] = "the uplink is closed",
                                        [METER_BUDGET] = "the budget is spent",
                                        [METER_LEASE] = "the store takes the budget's state"};
    return texts[meter_closed_for(m, lane) ? METER_CLOSED : m->wait[lane]];
}

static void put_lane(struct meter *m, struct json *j, unsigned lane, const char *name)
{
    int64_t now_us = loop_now_us(m->loop);
    const struct meter_lane *l = &m->lane[lane];
    json_object(j, name);
    json_u64(j, "records", l->durable - l->acked);
    json_u64(j, "bytes", l->bytes);
    const char *why = l->durable > l->acked ? wait_text(m, lane) : "";
    json_str(j, "waits_for", why[0] != '\0' ? why : NULL);
    if (m->wait[lane] == METER_BUDGET) {
        json_i64(j, "goes_on_in_s", max_i64(m->wait_until_us[lane] - now_us, 0) / SECOND_US);
    }
    if (m->options.rules.ttl_us[lane] > 0) {
        json_i64(j, "ttl_s", m->options.rules.ttl_us[lane] / SECOND_US);
        json_i64(j, "oldest_s",
                 l->durable > l->acked ? budget_age_us(&m->budget, lane, l->acked + 1, now_us) / SECOND_US : 0);
    }
    json_u64(j, "expired", m->expired[lane]);
    json_object_end(j);
}

static void put_budget(struct meter *m, struct json *j)
{
    const struct budget_rules *r = &m->options.rules;
    int64_t now_us = loop_now_us(m->loop);
    if (r->bytes == 0) {
        json_str(j, "budget", NULL);
        return;
    }
    json_object(j, "budget");
    json_u64(j, "bytes", r->bytes);
    json_i64(j, "period_s", r->period_us / SECOND_US);
    json_u64(j, "alarm_pct", r->alarm_pct);
    json_u64(j, "spent", budget_spent(&m->budget, now_us));
    json_u64(j, "left_for_live", budget_left(&m->budget, 1, now_us));
    json_u64(j, "left_for_alarms", budget_left(&m->budget, 0, now_us));
    json_object_end(j);
}

void meter_json(struct meter *m, struct json *j)
{
    char when[BUDGET_SPANS_MAX * 16];
    int64_t asked_us = m->open_until_us - loop_now_us(m->loop);
    m->handlers.look(m->handlers.arg);
    json_bool(j, "open", m->open);
    json_str(j, "when", when_text(&m->options.rules, when, sizeof(when)));
    json_i64(j, m->in_window ? "closes_in_s" : "window_in_s", m->changes_in_s);
    json_i64(j, "asked_for_s", max_i64(asked_us, 0) / SECOND_US);
    json_str(j, "alarms", m->options.rules.alarms_wait ? "in-window" : "always");
    json_bool(j, "resting", m->resting);
    json_object(j, "backlog");
    put_lane(m, j, 0, "alarms");
    put_lane(m, j, 1, "live");
    json_object_end(j);
}

static void put_span(struct json *j, const struct bill *bill, enum bill_span span, const char *name)
{
    json_object(j, name);
    for (unsigned i = 0; i < BILL_PURPOSES; i++) {
        json_object(j, bill_purpose_name(i));
        json_u64(j, "records", bill->line[span][i].records);
        json_u64(j, "bytes", bill->line[span][i].bytes);
        json_object_end(j);
    }
    json_u64(j, "bytes", bill_sum(bill, span));
    json_object_end(j);
}

void meter_bill_json(struct meter *m, struct json *j)
{
    m->handlers.look(m->handlers.arg);
    put_budget(m, j);
    json_object(j, "bill");
    json_u64(j, "date", m->budget.bill.date);
    put_span(j, &m->budget.bill, BILL_TODAY, "today");
    put_span(j, &m->budget.bill, BILL_MONTH, "month");
    put_span(j, &m->budget.bill, BILL_EVER, "ever");
    json_object_end(j);
}
