/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger_print - the ledger as a table or as JSON. What nothing was ever recorded in is left out of the table.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cloud-bridge/console/console_internal.h"
#include "core/base/json.h"

static const char *lane_name(uint64_t lane)
{
    return lane == 0 ? "alarm" : lane == 1 ? "bulk" : "?";
}

static void add_number(struct table *t, bool known, uint64_t value)
{
    if (known) {
        table_add(t, PAINT_NONE, "%" PRIu64, value);
    } else {
        table_add(t, PAINT_NONE, "-");
    }
}

static void add_numbers(struct table *t, const struct ledger_row *row, unsigned tiers)
{
    bool sink = (tiers & TIER_BRIDGE) != 0;
    add_number(t, true, row->read);
    add_number(t, (row->seen & TIER_GATEWAY) != 0, row->gateway_hwm);
    add_number(t, sink, row->sink_hwm);
    add_number(t, sink, row->records);
    add_number(t, sink, row->gaps);
    add_number(t, sink, row->suppressed);
    add_number(t, sink, row->in_flight);
    table_add(t, row->balanced ? PAINT_GOOD : PAINT_BAD, "%s", row->verdict);
}

static void print_rows(const struct ledger *l, bool color, struct buffer *out)
{
    static const char *const head[] = {"DEVICE",  "EPOCH", "LANE",       "READ",      "GATEWAY", "SINK",
                                       "RECORDS", "GAPS",  "SUPPRESSED", "IN FLIGHT", "VERDICT"};
    CLEANUP(table_deinit) struct table t = {.columns = "lllrrrrrrrl", .width = COUNT_OF(head)};
    for (size_t i = 0; i < COUNT_OF(head); i++) {
        table_add(&t, PAINT_NONE, "%s", head[i]);
    }
    for (size_t i = 0; i < l->count; i++) {
        const struct ledger_row *row = &l->rows[i];
        if (row->read == 0 && row->gateway_hwm == 0 && row->sink_hwm == 0 && row->balanced) {
            continue;
        }
        table_add(&t, PAINT_NONE, "%s", row->device);
        table_add(&t, PAINT_NONE, "%016" PRIx64, row->epoch);
        table_add(&t, PAINT_NONE, "%s", lane_name(row->lane));
        add_numbers(&t, row, l->tiers);
    }
    table_add(&t, PAINT_NONE, "total");
    table_add(&t, PAINT_NONE, "%s", "");
    table_add(&t, PAINT_NONE, "%s", "");
    add_numbers(&t, &l->total, l->tiers);
    table_print(&t, color, out);
    if (t.err != OK && out->err == OK) {
        out->err = t.err;
    }
}

static void print_hops(const struct ledger *l, bool color, struct buffer *out)
{
    static const char *const head[] = {"HOP OF", "EPOCH", "LANE", "DURABLE", "AT PARENT", "ACKED", "VERDICT"};
    CLEANUP(table_deinit) struct table t = {.columns = "lllrrrl", .width = COUNT_OF(head)};
    for (size_t i = 0; i < COUNT_OF(head); i++) {
        table_add(&t, PAINT_NONE, "%s", head[i]);
    }
    for (size_t i = 0; i < l->hop_count; i++) {
        const struct ledger_hop *hop = &l->hops[i];
        if (hop->durable == 0 && hop->hwm == 0) {
            continue;
        }
        table_add(&t, PAINT_NONE, "%s", hop->gateway);
        table_add(&t, PAINT_NONE, "%016" PRIx64, hop->epoch);
        table_add(&t, PAINT_NONE, "%s", lane_name(hop->lane));
        add_number(&t, hop->has_sender, hop->durable);
        add_number(&t, hop->has_receiver, hop->hwm);
        add_number(&t, hop->has_sender, hop->acked);
        table_add(&t, hop->balanced ? PAINT_GOOD : PAINT_BAD, "%s", hop->verdict);
    }
    buffer_put_u8(out, '\n');
    table_print(&t, color, out);
}

void ledger_print(const struct ledger *l, bool color, struct buffer *out)
{
    print_rows(l, color, out);
    if (l->hop_count > 0) {
        print_hops(l, color, out);
    }
}

/* ---- JSON ---- */
static void json_known(struct json *j, const char *key, bool known, uint64_t value)
{
    if (known) {
        json_u64(j, key, value);
    } else {
        json_str(j, key, NULL);
    }
}

static void json_numbers(struct json *j, const struct ledger_row *row, unsigned tiers)
{
    bool sink = (tiers & TIER_BRIDGE) != 0;
    json_u64(j, "read", row->read);
    json_known(j, "gateway", (row->seen & TIER_GATEWAY) != 0, row->gateway_hwm);
    json_known(j, "sink", sink, row->sink_hwm);
    json_known(j, "records", sink, row->records);
    json_known(j, "readings", sink, row->readings);
    json_known(j, "gaps", sink, row->gaps);
    json_known(j, "suppressed", sink, row->suppressed);
    json_known(j, "in_flight", sink, row->in_flight);
    json_bool(j, "balanced", row->balanced);
    json_str(j, "verdict", row->verdict);
}

static void json_row(struct json *j, const struct ledger_row *row, unsigned tiers)
{
    json_object(j, NULL);
    json_str(j, "device", row->device);
    json_hex(j, "epoch", row->epoch);
    json_u64(j, "lane", row->lane);
    json_bool(j, "closed", row->closed);
    json_str(j, "read_from", (row->seen & TIER_DEVICE) ? "device" : (row->seen & TIER_GATEWAY) ? "gateway" : "sink");
    json_numbers(j, row, tiers);
    json_object_end(j);
}

static void json_hop(struct json *j, const struct ledger_hop *hop)
{
    json_object(j, NULL);
    json_str(j, "gateway", hop->gateway);
    json_hex(j, "epoch", hop->epoch);
    json_u64(j, "lane", hop->lane);
    json_known(j, "durable", hop->has_sender, hop->durable);
    json_known(j, "at_parent", hop->has_receiver, hop->hwm);
    json_known(j, "acked", hop->has_sender, hop->acked);
    json_bool(j, "balanced", hop->balanced);
    json_str(j, "verdict", hop->verdict);
    json_object_end(j);
}

void ledger_json(const struct ledger *l, const struct docs *docs, struct buffer *out)
{
    struct json j;
    json_init(&j, out);
    json_object(&j, NULL);
    json_array(&j, "streams");
    for (size_t i = 0; i < l->count; i++) {
        json_row(&j, &l->rows[i], l->tiers);
    }
    json_array_end(&j);
    json_object(&j, "total");
    json_u64(&j, "streams", l->count);
    json_u64(&j, "unbalanced", l->unbalanced);
    json_numbers(&j, &l->total, l->tiers);
    json_bool(&j, "settled", l->total.balanced && l->total.in_flight == 0);
    json_object_end(&j);
    json_array(&j, "hops");
    for (size_t i = 0; i < l->hop_count; i++) {
        json_hop(&j, &l->hops[i]);
    }
    json_array_end(&j);
    json_array(&j, "unreachable");
    for (size_t i = 0; i < docs->count; i++) {
        /* ERR_NOT_FOUND: it answers that it is not about the device asked for */
        if (docs->items[i].json == NULL && docs->items[i].fault.code != ERR_NOT_FOUND) {
            json_object(&j, NULL);
            json_str(&j, "socket", docs->items[i].socket);
            json_str(&j, "cause", docs->items[i].fault.text);
            json_object_end(&j);
        }
    }
    json_array_end(&j);
    json_object_end(&j);
    buffer_put_u8(out, '\n');
}
