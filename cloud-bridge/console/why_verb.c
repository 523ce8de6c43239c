/* SPDX-License-Identifier: Apache-2.0 */
/*
 * why_verb - `weir why DEVICE`: what the rules did to a device's records, and what became of the newest ones.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cloud-bridge/console/console_internal.h"
#include "core/options/options.h"
#include "proto/rules/rules.h"

enum { OUT_MAX = 8 << 20 };

static const char *const COUNT_HEADS[] = {"SAW", "DROPPED", "CHANGED", "WINDOWS", "CAPTURES", "LATE", "FLAGGED", "CUT"};
static const char *const COUNT_NAMES[] = {"seen",     "dropped", "changed", "windows",
                                          "captures", "late",    "flagged", "cut"};

/* Whether the rule is for the channel that is asked about. */
static bool concerns(const struct args *args, const cJSON *rule)
{
    return args->channel == NULL || rule_glob(doc_text(rule, "channels"), args->channel);
}

static void put_rules(const struct args *args, const cJSON *rules, struct buffer *out)
{
    CLEANUP(table_deinit) struct table t = {.columns = "lllrrrrrrrr", .width = 11};
    const cJSON *rule;
    size_t rows = 0;
    table_add(&t, PAINT_NONE, "RULE");
    table_add(&t, PAINT_NONE, "DO");
    table_add(&t, PAINT_NONE, "CHANNELS");
    for (size_t i = 0; i < COUNT_OF(COUNT_HEADS); i++) {
        table_add(&t, PAINT_NONE, "%s", COUNT_HEADS[i]);
    }
    cJSON_ArrayForEach(rule, rules)
    {
        if (!concerns(args, rule)) {
            continue;
        }
        rows++;
        table_add(&t, PAINT_NONE, "%s", doc_text(rule, "name"));
        table_add(&t, PAINT_NONE, "%s", doc_text(rule, "do"));
        table_add(&t, PAINT_NONE, "%s", doc_text(rule, "channels"));
        for (size_t i = 0; i < COUNT_OF(COUNT_NAMES); i++) {
            table_add(&t, PAINT_NONE, "%" PRIu64, doc_u64_or_0(rule, COUNT_NAMES[i]));
        }
    }
    if (rows > 0) {
        table_print(&t, args->color, out);
    } else {
        buffer_printf(out, "no rule has seen anything of %s\n", args->channel != NULL ? args->channel : "it");
    }
}

static void put_more(struct buffer *out, uint64_t count, const char *one, const char *many)
{
    if (count > 0) {
        buffer_printf(out, ", %" PRIu64 " %s", count, count == 1 ? one : many);
    }
}

/* "2026-11-22T13:04:05.123Z lane 1  17..19  not sent, by calm, 96 values dropped": by the rule that took most. */
static void put_step(const cJSON *step, struct buffer *out)
{
    uint64_t first = doc_u64_or_0(step, "first"), last = doc_u64_or_0(step, "last"),
             dropped = doc_u64_or_0(step, "dropped");
    const char *outcome = doc_text(step, "outcome"), *rule = doc_text(step, "rule");
    char numbers[48];
    snprintf(numbers, sizeof(numbers), first == last ? "%" PRIu64 : "%" PRIu64 "..%" PRIu64, first, last);
    buffer_printf(out, "%-27s lane %" PRIu64 "  %-15s  ", stamp_of((int64_t)doc_u64_or_0(step, "received_us")).text,
                  doc_u64_or_0(step, "lane"), numbers);
    if (strcmp(outcome, "kept") == 0) {
        buffer_put_str(out, "sent as it came");
    } else if (strcmp(outcome, "dropped") == 0) {
        buffer_printf(out, "not sent, by %s", rule);
    } else {
        buffer_put_str(out, "sent, shaped");
        if (rule[0] != '\0') {
            buffer_printf(out, " by %s", rule);
        }
    }
    put_more(out, dropped, "value dropped", "values dropped");
    put_more(out, doc_u64_or_0(step, "changed"), "value changed", "values changed");
    put_more(out, doc_u64_or_0(step, "windows"), "window closed", "windows closed");
    put_more(out, doc_u64_or_0(step, "late"), "value too late for its window", "values too late for their windows");
    put_more(out, doc_u64_or_0(step, "captures"), "capture triggered", "captures triggered");
    buffer_put_u8(out, '\n');
}

static void put_trail(const struct args *args, const cJSON *device, struct buffer *out)
{
    const cJSON *trail = cJSON_GetObjectItemCaseSensitive(device, "trail"), *step;
    int64_t left = args->last;
    if (trail == NULL) {
        buffer_put_str(out, "its records are not remembered: rules.trail is 0, or too many devices came before\n");
        return;
    }
    buffer_put_str(out, left > 0 ? "\nreceived, lane, numbers: what became of them, the newest first\n" : "");
    cJSON_ArrayForEach(step, trail)
    {
        if (left-- > 0) {
            put_step(step, out);
        }
    }
}

static void put_device(const struct args *args, const struct gateway_doc *gateway, const cJSON *device,
                       struct buffer *out)
{
    const cJSON *doc = gateway->doc->json;
    buffer_printf(out, "%s at gateway %s: rules %s, in force since %s\n", args->device, gateway->id,
                  doc_text(doc, "version"), stamp_of((int64_t)doc_u64_or_0(doc, "since_us")).text);
    buffer_printf(out,
                  "stream %s since the gateway started: %" PRIu64 " records, %" PRIu64 " sent as they came, %" PRIu64
                  " sent shaped, %" PRIu64 " not sent, %" PRIu64 " copied by captures\n\n",
                  doc_text(device, "epoch"), doc_u64_or_0(device, "records"), doc_u64_or_0(device, "kept"),
                  doc_u64_or_0(device, "shaped"), doc_u64_or_0(device, "dropped"), doc_u64_or_0(device, "captured"));
    if (cJSON_GetObjectItemCaseSensitive(device, "trail") != NULL) {
        put_rules(args, cJSON_GetObjectItemCaseSensitive(device, "rules"), out);
    }
    put_trail(args, device, out);
}

/* The members that text shows: cut to --last and --channel, with the gateway's name. */
static enum err put_json(const struct args *args, const struct gateway_doc *gateway, const cJSON *device,
                         struct buffer *out)
{
    cJSON *copy = cJSON_Duplicate(device, true);
    cJSON *trail = cJSON_GetObjectItemCaseSensitive(copy, "trail");
    cJSON *rules = cJSON_GetObjectItemCaseSensitive(copy, "rules");
    while (cJSON_GetArraySize(trail) > (int)args->last) {
        cJSON_DeleteItemFromArray(trail, cJSON_GetArraySize(trail) - 1);
    }
    for (int i = cJSON_GetArraySize(rules) - 1; i >= 0; i--) {
        if (!concerns(args, cJSON_GetArrayItem(rules, i))) {
            cJSON_DeleteItemFromArray(rules, i);
        }
    }
    cJSON_AddStringToObject(copy, "gateway", gateway->id);
    cJSON_AddStringToObject(copy, "version", doc_text(gateway->doc->json, "version"));
    char *text = cJSON_PrintUnformatted(copy);
    cJSON_Delete(copy);
    if (text == NULL) {
        return ERR_NOMEM;
    }
    buffer_put_str(out, text);
    cJSON_free(text);
    return buffer_err(out);
}

/* How many streams of the device were found. */
static size_t put_gateway(const struct args *args, const struct gateway_doc *gateway, size_t before, struct buffer *out)
{
    const cJSON *device;
    size_t found = 0;
    cJSON_ArrayForEach(device, cJSON_GetObjectItemCaseSensitive(gateway->doc->json, "devices"))
    {
        bool first = before + found++ == 0;
        if (args->json) {
            buffer_put_str(out, first ? "" : ",");
            if (put_json(args, gateway, device, out) != OK) {
                print_message("out of memory");
            }
        } else {
            buffer_put_str(out, first ? "" : "\n");
            put_device(args, gateway, device, out);
        }
    }
    return found;
}

static enum exit_code unknown(const struct args *args, struct gateways *g)
{
    struct options_nearest nearest = {.word = args->device};
    for (size_t i = 0; i < g->count; i++) {
        const cJSON *device;
        doc_ask(g->items[i].doc, "/devices");
        cJSON_ArrayForEach(device, cJSON_GetObjectItemCaseSensitive(g->items[i].doc->json, "devices"))
        {
            options_nearest_offer(&nearest, doc_text(device, "device"));
        }
    }
    print_message("no gateway's rules have seen a record of %s since it started%s%s%s", args->device,
                  nearest.best ? "; did you mean " : "", nearest.best ? nearest.best : "", nearest.best ? "?" : "");
    return EXIT_NOT_FOUND;
}

enum exit_code why_verb(const struct args *args)
{
    CLEANUP(gateways_deinit) struct gateways g = {.count = 0};
    CLEANUP(charp_freep) char *target = NULL;
    BUFFER(out, OUT_MAX);
    enum exit_code code = gateways_find(args, &g);
    size_t found = 0, answered = 0;
    if (code != EXIT_OK) {
        return code;
    }
    if (target_for("/rules?device=", args->device, &target) != OK) {
        print_message("out of memory");
        return EXIT_FAILED;
    }
    buffer_put_str(&out, args->json ? "{\"streams\":[" : "");
    for (size_t i = 0; i < g.count; i++) {
        doc_ask(g.items[i].doc, target);
        if (g.items[i].doc->json != NULL) {
            answered++;
            found += put_gateway(args, &g.items[i], found, &out);
        } else if (g.items[i].doc->fault.code != ERR_NOT_FOUND || g.count == 1) {
            print_message("%s", g.items[i].doc->fault.text);
        }
    }
    if (found == 0) {
        return answered > 0 ? unknown(args, &g) : exit_of(g.items[0].doc->fault.code);
    }
    buffer_put_str(&out, args->json ? "]}\n" : "");
    return print_out(&out) ? EXIT_OK : EXIT_FAILED;
}
