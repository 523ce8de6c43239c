/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bill_verb - `weir bill`: what the gateways' uplinks were spent on, and what is left. `weir uplink`: opens one for a
 * while.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cloud-bridge/console/console_internal.h"

enum { OUT_MAX = 4 << 20 };

static uint64_t sum_of(const cJSON *bill, const char *span)
{
    return doc_u64_or_0(cJSON_GetObjectItemCaseSensitive(bill, span), "bytes");
}

static void add_line(struct table *t, const cJSON *line, uint64_t sum)
{
    uint64_t bytes = doc_u64_or_0(line, "bytes");
    table_add(t, PAINT_NONE, "%" PRIu64, doc_u64_or_0(line, "records"));
    table_add(t, PAINT_NONE, "%" PRIu64, bytes);
    table_add(t, PAINT_NONE, "%.1f%%", sum > 0 ? 100.0 * (double)bytes / (double)sum : 0);
}

static void put_table(const cJSON *bill, bool color, struct buffer *out)
{
    CLEANUP(table_deinit) struct table t = {.columns = "lrrrrrr", .width = 7};
    static const char *const heads[] = {"PURPOSE", "RECORDS", "TODAY", "SHARE", "RECORDS", "MONTH", "SHARE"};
    const cJSON *today = cJSON_GetObjectItemCaseSensitive(bill, "today");
    const cJSON *month = cJSON_GetObjectItemCaseSensitive(bill, "month"), *line;
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        table_add(&t, PAINT_NONE, "%s", heads[i]);
    }
    cJSON_ArrayForEach(line, month)
    {
        if (cJSON_IsObject(line)) {
            table_add(&t, PAINT_NONE, "%s", line->string);
            add_line(&t, cJSON_GetObjectItemCaseSensitive(today, line->string), sum_of(bill, "today"));
            add_line(&t, line, sum_of(bill, "month"));
        }
    }
    table_print(&t, color, out);
}

static void put_budget(const cJSON *doc, struct buffer *out)
{
    const cJSON *budget = cJSON_GetObjectItemCaseSensitive(doc, "budget");
    if (!cJSON_IsObject(budget)) {
        buffer_put_str(out, "budget: none\n");
        return;
    }
    char period[24];
    uint64_t bytes = doc_u64_or_0(budget, "bytes"), spent = doc_u64_or_0(budget, "spent");
    put_age(doc_i64_or_0(budget, "period_s"), period, sizeof(period));
    buffer_printf(out, "budget: %s in any %s, spent %s (%.0f%%), left for live records %s, for alarms %s\n",
                  amount_of((double)bytes).text, period, amount_of((double)spent).text,
                  bytes > 0 ? 100.0 * (double)spent / (double)bytes : 0,
                  amount_of((double)doc_u64_or_0(budget, "left_for_live")).text,
                  amount_of((double)doc_u64_or_0(budget, "left_for_alarms")).text);
}

static void put_text(const struct gateway_doc *gateway, bool color, struct buffer *out)
{
    const cJSON *bill = cJSON_GetObjectItemCaseSensitive(gateway->doc->json, "bill");
    buffer_printf(out, "%s: bytes on the uplink, both directions; link is an estimate of what is below MQTT\n",
                  gateway->id);
    put_table(bill, color, out);
    buffer_printf(out, "total: %s today, %s this month, %s in all\n", amount_of((double)sum_of(bill, "today")).text,
                  amount_of((double)sum_of(bill, "month")).text, amount_of((double)sum_of(bill, "ever")).text);
    put_budget(gateway->doc->json, out);
}

static void put_json(const cJSON *json, struct buffer *out)
{
    char *text = cJSON_PrintUnformatted(json);
    buffer_put_str(out, text ? text : "null");
    buffer_put_u8(out, '\n');
    cJSON_free(text);
}

enum exit_code bill_verb(const struct args *args)
{
    CLEANUP(gateways_deinit) struct gateways gateways = {.count = 0};
    BUFFER(out, OUT_MAX);
    enum exit_code code = gateways_find(args, &gateways);
    for (size_t i = 0; code == EXIT_OK && i < gateways.count; i++) {
        code = gateway_ask(&gateways.items[i], "/bill");
        if (code != EXIT_OK) {
            break;
        }
        if (args->json) {
            put_json(gateways.items[i].doc->json, &out);
        } else {
            buffer_put_str(&out, i > 0 ? "\n" : "");
            put_text(&gateways.items[i], args->color, &out);
        }
    }
    return code != EXIT_OK ? code : print_out(&out) ? EXIT_OK : EXIT_FAILED;
}

/* ---- weir uplink ---- */
void uplink_sentence(const char *id, const cJSON *uplink, struct buffer *out)
{
    const cJSON *live = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(uplink, "backlog"), "live");
    char age[24], name[ID_MAX + 1];
    int64_t asked_s = doc_i64_or_0(uplink, "asked_for_s"), window_s = doc_i64_or_0(uplink, "window_in_s");
    bool open = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(uplink, "open"));
    BUFFER(when, 256);
    snprintf(name, sizeof(name), "%s", id_valid(slice_str(id)) ? id : "?");
    for (const char *c = doc_text(uplink, "when"); *c != '\0' && when.len < 200; c++) { /* it comes from outside */
        buffer_put_u8(&when, *c >= ' ' && *c <= '~' ? (uint8_t)*c : '?');
    }
    buffer_printf(out, "%s: uplink %s (%.*s)", name, open ? "open" : "closed", (int)when.len,
                  when.ptr ? (const char *)when.ptr : "");
    if (asked_s > 0) {
        put_age(asked_s, age, sizeof(age));
        buffer_printf(out, ", for %s more", age);
    } else if (window_s > 0) {
        put_age(window_s, age, sizeof(age));
        buffer_printf(out, ", next window in %s", age);
    }
    buffer_printf(out, ", %" PRIu64 " records wait", doc_u64_or_0(live, "records"));
    const char *why = doc_text(live, "waits_for");
    bool spent = strcmp(why, "the budget is spent") == 0;
    put_age(doc_i64_or_0(live, "goes_on_in_s"), age, sizeof(age));
    buffer_printf(out, "%s%s\n", spent ? ": the budget is spent, it goes on in " : "", spent ? age : "");
}

/* words: open|close|show, GATEWAY */
enum exit_code uplink_verb(const struct args *args)
{
    CLEANUP(gateways_deinit) struct gateways gateways = {.count = 0};
    struct gateway_doc *gateway = NULL;
    struct args named = *args;
    char target[64] = "/status";
    BUFFER(out, OUT_MAX);
    if (strcmp(args->words[0], "open") == 0) {
        int64_t us = args->for_us > 0 ? args->for_us : 10 * MINUTE_US;
        snprintf(target, sizeof(target), "/uplink/open?for=%" PRId64, max_i64(us / SECOND_US, 1));
    } else if (strcmp(args->words[0], "close") == 0) {
        snprintf(target, sizeof(target), "/uplink/open?for=0");
    } else if (strcmp(args->words[0], "show") != 0) {
        print_message("weir uplink takes open, close or show");
        return EXIT_USAGE;
    }
    named.gateway = args->words[1];
    enum exit_code code = gateways_one(&named, &gateways, &gateway);
    code = code == EXIT_OK ? gateway_ask(gateway, target) : code;
    if (code != EXIT_OK) {
        return code;
    }
    const cJSON *uplink = cJSON_GetObjectItemCaseSensitive(gateway->doc->json, "uplink");
    if (!cJSON_IsObject(uplink)) {
        print_message("gateway %s has no parent", gateway->id);
        return EXIT_NOT_FOUND;
    }
    if (args->json) {
        put_json(uplink, &out);
    } else {
        uplink_sentence(gateway->id, uplink, &out);
    }
    return print_out(&out) ? EXIT_OK : EXIT_FAILED;
}
