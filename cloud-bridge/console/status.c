/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status - one screen: a line per daemon, devices in one line when they are many, then what is wrong in words.
 *
 * Pure: documents of /status in, text or JSON and the exit code out.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cloud-bridge/console/console_internal.h"
#include "core/base/json.h"

enum { DEVICES_SINGLE_MAX = 4, NAMED_MAX = 20 };
static const char *const PROGRAMS[] = {"device", "gateway", "bridge"};

struct sum {
    size_t count, ok, links, links_up;
    uint64_t read, sent, committed, delivered, store_pct, uptime_min;
    bool has_store;
};

/* -1 when there is no store. */
static int store_pct(const cJSON *json)
{
    const cJSON *store = cJSON_GetObjectItemCaseSensitive(json, "store");
    uint64_t used = doc_u64_or_0(store, "used_bytes"), cap = doc_u64_or_0(store, "cap_bytes");
    return cap > 0 ? (int)((double)used * 100 / (double)cap) : -1;
}

static bool healthy(const cJSON *json)
{
    return strcmp(doc_text(json, "state"), "ok") == 0;
}

static void add_links(const cJSON *json, struct sum *sum)
{
    const cJSON *link;
    cJSON_ArrayForEach(link, cJSON_GetObjectItemCaseSensitive(json, "links"))
    {
        sum->links++;
        sum->links_up += cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(link, "up"));
    }
}

static struct sum sum_of(const struct docs *docs, const char *program)
{
    struct sum sum = {.uptime_min = UINT64_MAX};
    for (size_t i = 0; i < docs->count; i++) {
        const cJSON *json = docs->items[i].json;
        const cJSON *tier = cJSON_GetObjectItemCaseSensitive(json, "tier");
        if (!doc_is(json, program)) {
            continue;
        }
        int pct = store_pct(json);
        sum.count++;
        sum.ok += healthy(json);
        sum.read += doc_u64_or_0(tier, "read");
        sum.sent += doc_u64_or_0(tier, "sent");
        sum.committed += doc_u64_or_0(tier, "committed");
        sum.delivered += doc_u64_or_0(tier, "delivered");
        sum.store_pct = max_u64(sum.store_pct, pct < 0 ? 0 : (uint64_t)pct);
        sum.has_store = sum.has_store || pct >= 0;
        sum.uptime_min = min_u64(sum.uptime_min, doc_u64_or_0(json, "uptime_s"));
        add_links(json, &sum);
    }
    return sum;
}

/* ---- text ---- */
static void add_numbers(struct table *t, const struct sum *sum)
{
    table_add(t, PAINT_NONE, "%" PRIu64, sum->read);
    table_add(t, PAINT_NONE, "%" PRIu64, sum->sent);
    table_add(t, PAINT_NONE, "%" PRIu64, sum->committed);
    if (sum->delivered > 0) {
        table_add(t, PAINT_NONE, "%" PRIu64, sum->delivered);
    } else {
        table_add(t, PAINT_NONE, "-");
    }
}

static void add_tail(struct table *t, const struct sum *sum)
{
    char age[32];
    put_age((int64_t)min_u64(sum->uptime_min, INT64_MAX), age, sizeof(age));
    if (sum->has_store) {
        table_add(t, sum->store_pct >= 90 ? PAINT_BAD : PAINT_NONE, "%" PRIu64 "%%", sum->store_pct);
    } else {
        table_add(t, PAINT_NONE, "-");
    }
    table_add(t, PAINT_NONE, "%s", age);
}

/* "broker up, parent DOWN" */
static void add_link_names(struct table *t, const cJSON *json)
{
    char text[200] = "";
    bool all = true;
    const cJSON *link;
    cJSON_ArrayForEach(link, cJSON_GetObjectItemCaseSensitive(json, "links"))
    {
        bool up = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(link, "up"));
        bool resting = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(link, "resting")); /* as it was told to */
        size_t len = strlen(text);
        snprintf(text + len, sizeof(text) - len, "%s%.40s %s", len ? ", " : "",
                 doc_text(link, "name")[0] ? doc_text(link, "name") : "link",
                 up ? "up" : resting ? "resting" : "DOWN");
        all = all && (up || resting);
    }
    table_add(t, all ? PAINT_NONE : PAINT_BAD, "%s", text[0] ? text : "-");
}

static void add_single(struct table *t, const struct doc *doc)
{
    const struct docs one = {.items = (struct doc[]){*doc}, .count = 1};
    const struct sum sum = sum_of(&one, doc_text(doc->json, "program"));
    const char *state = doc_text(doc->json, "state");
    table_add(t, PAINT_NONE, "%s", doc_text(doc->json, "program"));
    table_add(t, PAINT_NONE, "%s", doc_text(doc->json, "id"));
    table_add(t, healthy(doc->json) ? PAINT_GOOD : PAINT_BAD, "%s", state[0] ? state : "unknown");
    add_numbers(t, &sum);
    add_link_names(t, doc->json);
    add_tail(t, &sum);
}

static void add_crowd(struct table *t, const char *program, const struct sum *sum)
{
    table_add(t, PAINT_NONE, "%s", program);
    table_add(t, PAINT_NONE, "%zu together", sum->count);
    if (sum->ok == sum->count) {
        table_add(t, PAINT_GOOD, "ok");
    } else {
        table_add(t, PAINT_BAD, "%zu of %zu ok", sum->ok, sum->count);
    }
    add_numbers(t, sum);
    table_add(t, sum->links_up == sum->links ? PAINT_NONE : PAINT_BAD, "%zu of %zu up", sum->links_up, sum->links);
    add_tail(t, sum);
}

static void add_tier(struct table *t, const struct docs *docs, const char *program)
{
    const struct sum sum = sum_of(docs, program);
    bool crowd = sum.count > DEVICES_SINGLE_MAX && strcmp(program, "device") == 0;
    size_t named = 0;
    if (crowd) {
        add_crowd(t, program, &sum);
    }
    for (size_t i = 0; i < docs->count; i++) {
        const struct doc *doc = &docs->items[i];
        bool named_here = doc_is(doc->json, program) && (!crowd || (!healthy(doc->json) && named < NAMED_MAX));
        if (named_here) {
            add_single(t, doc);
            named++;
        }
    }
}

static void put_reasons(const struct docs *docs, struct buffer *out)
{
    size_t named = 0, left_out = 0;
    CLEANUP(table_deinit) struct table t = {.columns = "l", .width = 1};
    for (size_t i = 0; i < docs->count; i++) {
        const cJSON *json = docs->items[i].json, *why;
        cJSON_ArrayForEach(why, cJSON_GetObjectItemCaseSensitive(json, "why"))
        {
            if (named == NAMED_MAX) {
                left_out++;
            } else if (cJSON_IsString(why)) {
                table_add(&t, PAINT_NONE, "%s %s: %s", doc_text(json, "program"), doc_text(json, "id"),
                          why->valuestring);
                named++;
            }
        }
    }
    for (size_t i = 0; i < docs->count; i++) {
        if (docs->items[i].json == NULL && named < 2 * NAMED_MAX) {
            table_add(&t, PAINT_NONE, "unreachable: %s", docs->items[i].fault.text);
            named++;
        } else {
            left_out += docs->items[i].json == NULL;
        }
    }
    if (left_out > 0) {
        table_add(&t, PAINT_NONE, "and %zu more; --json has them all", left_out);
    }
    table_print(&t, false, out);
}

/* Uplinks that hold records back as they were told to: no fault, but what an operator looks for. */
static void put_waits(const struct docs *docs, struct buffer *out)
{
    for (size_t i = 0, named = 0; i < docs->count && named < NAMED_MAX; i++) {
        const cJSON *uplink = cJSON_GetObjectItemCaseSensitive(docs->items[i].json, "uplink");
        const cJSON *backlog = cJSON_GetObjectItemCaseSensitive(uplink, "backlog");
        if (doc_text(cJSON_GetObjectItemCaseSensitive(backlog, "live"), "waits_for")[0] != '\0') {
            uplink_sentence(doc_text(docs->items[i].json, "id"), uplink, out);
            named++;
        }
    }
}

static enum exit_code overall(const struct docs *docs)
{
    size_t reachable = 0, good = 0;
    for (size_t i = 0; i < docs->count; i++) {
        reachable += docs->items[i].json != NULL;
        good += docs->items[i].json != NULL && healthy(docs->items[i].json);
    }
    return reachable == 0 ? EXIT_UNREACHABLE : good == docs->count ? EXIT_OK : EXIT_DEGRADED;
}

enum exit_code status_screen(const struct docs *docs, bool color, struct buffer *out)
{
    static const char *const head[] = {"TIER", "NAME", "STATE", "READ", "SENT", "COMMITTED", "DELIVERED", "LINKS",
                                       "STORE", "UP"};
    CLEANUP(table_deinit) struct table t = {.columns = "lllrrrrlrr", .width = COUNT_OF(head)};
    for (size_t i = 0; i < COUNT_OF(head); i++) {
        table_add(&t, PAINT_NONE, "%s", head[i]);
    }
    for (size_t i = 0; i < COUNT_OF(PROGRAMS); i++) {
        add_tier(&t, docs, PROGRAMS[i]);
    }
    if (overall(docs) != EXIT_UNREACHABLE) {
        table_print(&t, color, out);
    }
    put_reasons(docs, out);
    put_waits(docs, out);
    return t.err == OK && buffer_err(out) == OK ? overall(docs) : EXIT_FAILED;
}

/* ---- JSON ---- */
static void json_tier(struct json *j, const char *program, const struct sum *sum)
{
    json_object(j, NULL);
    json_str(j, "tier", program);
    json_u64(j, "count", sum->count);
    json_u64(j, "ok", sum->ok);
    json_u64(j, "read", sum->read);
    json_u64(j, "sent", sum->sent);
    json_u64(j, "committed", sum->committed);
    json_u64(j, "delivered", sum->delivered);
    json_u64(j, "links", sum->links);
    json_u64(j, "links_up", sum->links_up);
    json_u64(j, "store_pct_max", sum->store_pct);
    json_object_end(j);
}

enum exit_code status_json(const struct docs *docs, struct buffer *out)
{
    static const char *const names[] = {
        [EXIT_OK] = "ok", [EXIT_UNREACHABLE] = "unreachable", [EXIT_DEGRADED] = "degraded"};
    struct json j;
    enum exit_code code = overall(docs);
    json_init(&j, out);
    json_object(&j, NULL);
    json_str(&j, "state", names[code]);
    json_array(&j, "tiers");
    for (size_t i = 0; i < COUNT_OF(PROGRAMS); i++) {
        const struct sum sum = sum_of(docs, PROGRAMS[i]);
        if (sum.count > 0) {
            json_tier(&j, PROGRAMS[i], &sum);
        }
    }
    json_array_end(&j);
    json_array(&j, "daemons");
    bool comma = false;
    for (size_t i = 0; i < docs->count; i++) {
        char *text = docs->items[i].json ? cJSON_PrintUnformatted(docs->items[i].json) : NULL;
        if (text != NULL) { /* as the daemon said it: the writer has no raw values */
            buffer_put_str(out, comma ? "," : "");
            buffer_put_str(out, text);
            comma = true;
        }
        free(text);
    }
    json_array_end(&j);
    json_array(&j, "unreachable");
    for (size_t i = 0; i < docs->count; i++) {
        if (docs->items[i].json == NULL) {
            json_object(&j, NULL);
            json_str(&j, "socket", docs->items[i].socket);
            json_str(&j, "cause", docs->items[i].fault.text);
            json_object_end(&j);
        }
    }
    json_array_end(&j);
    json_object_end(&j);
    buffer_put_u8(out, '\n');
    return buffer_err(out) == OK ? code : EXIT_FAILED;
}
