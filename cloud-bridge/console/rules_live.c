/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules_live - `weir rules show` and `weir rules shadow`: the rules that a gateway runs, and others beside them.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>

#include "cloud-bridge/console/console_internal.h"
#include "core/loop/loop.h"
#include "proto/rules/rules.h"

enum { OUT_MAX = 4 << 20 };

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole > 0 ? 100.0 * (double)part / (double)whole : 0;
}

static enum exit_code print_json(const cJSON *json)
{
    BUFFER(out, OUT_MAX);
    char *text = cJSON_PrintUnformatted(json);
    buffer_put_str(&out, text != NULL ? text : "null");
    buffer_put_u8(&out, '\n');
    cJSON_free(text);
    return print_out(&out) ? EXIT_OK : EXIT_FAILED;
}

/* ---- show ---- */
/* A rule that is for nothing is mostly a name that is spelt otherwise. */
static void put_idle(const cJSON *rules, struct buffer *out)
{
    const cJSON *rule;
    size_t count = 0;
    cJSON_ArrayForEach(rule, rules)
    {
        if (doc_u64_or_0(rule, "seen") == 0) {
            buffer_printf(out, "%s%s", count++ > 0 ? ", " : "no value has come to: ", doc_text(rule, "name"));
        }
    }
    buffer_put_str(out, count > 0 ? "; weir tail DEVICE shows what devices and channels are called\n" : "");
}

static void put_live(const struct args *args, const struct gateway_doc *gateway, struct buffer *out)
{
    static const char *const heads[] = {"RULE",    "DO",      "DEVICES",  "CHANNELS", "SAW",  "DROPPED",
                                        "CHANGED", "WINDOWS", "CAPTURES", "LATE",     "SAVED"};
    static const char *const counts[] = {"seen", "dropped", "changed", "windows", "captures", "late"};
    CLEANUP(table_deinit) struct table t = {.columns = "llllrrrrrrr", .width = COUNT_OF(heads)};
    const cJSON *doc = gateway->doc->json, *since = member(doc, "since"), *rule;
    bool larger = false;
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        table_add(&t, PAINT_NONE, "%s", heads[i]);
    }
    cJSON_ArrayForEach(rule, member(doc, "rules"))
    {
        table_add(&t, PAINT_NONE, "%s", doc_text(rule, "name"));
        table_add(&t, PAINT_NONE, "%s", doc_text(rule, "do"));
        table_add(&t, PAINT_NONE, "%s", doc_text(rule, "devices"));
        table_add(&t, PAINT_NONE, "%s", doc_text(rule, "channels"));
        for (size_t i = 0; i < COUNT_OF(counts); i++) {
            table_add(&t, PAINT_NONE, "%" PRIu64, doc_u64_or_0(rule, counts[i]));
        }
        larger |= doc_i64_or_0(rule, "saved") < 0;
        table_add(&t, PAINT_NONE, "%s", amount_of((double)doc_i64_or_0(rule, "saved")).text);
    }
    table_print(&t, args->color, out);
    uint64_t in = doc_u64_or_0(since, "bytes_in"), up = doc_u64_or_0(since, "bytes_up");
    buffer_printf(out, "gateway %s: rules %s, in force since %s\n", gateway->id, doc_text(doc, "version"),
                  stamp_of((int64_t)doc_u64_or_0(doc, "since_us")).text);
    buffer_printf(out,
                  "%" PRIu64 " records: %" PRIu64 " sent as they came, %" PRIu64 " sent shaped, %" PRIu64
                  " not sent; %s of %s went up (%.0f %%)\n",
                  doc_u64_or_0(since, "records"), doc_u64_or_0(since, "kept"), doc_u64_or_0(since, "shaped"),
                  doc_u64_or_0(since, "dropped"), amount_of((double)up).text, amount_of((double)in).text,
                  percent(up, in));
    if (larger) {
        buffer_put_str(out, "SAVED below 0: records became larger; a value left out still has its place in a record, "
                            "only whole records save\n");
    }
    put_idle(member(doc, "rules"), out);
    if (member(doc, "shadow") != NULL) {
        buffer_printf(out, "rules %s run beside them: weir rules shadow --show\n",
                      doc_text(member(doc, "shadow"), "version"));
    }
}

enum exit_code rules_show(const struct args *args)
{
    CLEANUP(gateways_deinit) struct gateways g = {.count = 0};
    struct gateway_doc *gateway = NULL;
    BUFFER(out, OUT_MAX);
    if (args->words[1] != NULL) {
        print_message("rules show takes no file: it shows what a gateway runs; weir rules check FILE shows a file");
        return EXIT_USAGE;
    }
    enum exit_code code = gateways_one(args, &g, &gateway);
    code = code == EXIT_OK ? gateway_ask(gateway, "/rules") : code;
    if (code != EXIT_OK) {
        return code;
    }
    if (args->json) {
        cJSON_DeleteItemFromObjectCaseSensitive(gateway->doc->json, "devices");
        cJSON_AddStringToObject(gateway->doc->json, "gateway", gateway->id);
        return print_json(gateway->doc->json);
    }
    put_live(args, gateway, &out);
    return print_out(&out) ? EXIT_OK : EXIT_FAILED;
}

/* ---- shadow: the difference ---- */
static const cJSON *rule_of(const cJSON *side, const char *name)
{
    const cJSON *rule;
    cJSON_ArrayForEach(rule, member(side, "rules"))
    {
        if (strcmp(doc_text(rule, "name"), name) == 0) {
            return rule;
        }
    }
    return NULL;
}

static void add_pair(struct table *t, const cJSON *live, const cJSON *shadow, const char *name)
{
    for (unsigned i = 0; i < 2; i++) {
        const cJSON *rule = i == 0 ? live : shadow;
        if (rule == NULL) {
            table_add(t, PAINT_NONE, "-");
        } else if (strcmp(name, "saved") == 0) {
            table_add(t, PAINT_NONE, "%s", amount_of((double)doc_i64_or_0(rule, name)).text);
        } else {
            table_add(t, PAINT_NONE, "%" PRIu64, doc_u64_or_0(rule, name));
        }
    }
}

static void add_rule(struct table *t, const cJSON *live, const cJSON *shadow)
{
    const cJSON *named = live != NULL ? live : shadow;
    table_add(t, PAINT_NONE, "%s", doc_text(named, "name"));
    table_add(t, PAINT_NONE, "%s", doc_text(named, "do"));
    add_pair(t, live, shadow, "seen");
    add_pair(t, live, shadow, "dropped");
    add_pair(t, live, shadow, "windows");
    add_pair(t, live, shadow, "saved");
}

static void put_table(const struct args *args, const cJSON *live, const cJSON *shadow, struct buffer *out)
{
    static const char *const heads[] = {"RULE",   "DO",      "SAW",    "SHADOW", "DROPPED",
                                        "SHADOW", "WINDOWS", "SHADOW", "SAVED",  "SHADOW"};
    CLEANUP(table_deinit) struct table t = {.columns = "llrrrrrrrr", .width = COUNT_OF(heads)};
    const cJSON *rule;
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        table_add(&t, PAINT_NONE, "%s", heads[i]);
    }
    cJSON_ArrayForEach(rule, member(live, "rules"))
    {
        add_rule(&t, rule, rule_of(shadow, doc_text(rule, "name")));
    }
    cJSON_ArrayForEach(rule, member(shadow, "rules"))
    {
        if (rule_of(live, doc_text(rule, "name")) == NULL) {
            add_rule(&t, NULL, rule);
        }
    }
    table_print(&t, args->color, out);
}

static void put_side(const char *name, const cJSON *side, struct buffer *out)
{
    buffer_printf(
        out, "%-7s %" PRIu64 " sent as they came, %" PRIu64 " sent shaped, %" PRIu64 " not sent, %s on the uplink\n",
        name, doc_u64_or_0(side, "kept"), doc_u64_or_0(side, "shaped"), doc_u64_or_0(side, "dropped"),
        amount_of((double)doc_u64_or_0(side, "bytes_up")).text);
}

static enum exit_code difference_text(const struct args *args, const struct gateway_doc *gateway)
{
    BUFFER(out, OUT_MAX);
    const cJSON *shadow = member(gateway->doc->json, "shadow"), *live = member(shadow, "live");
    uint64_t up = doc_u64_or_0(live, "bytes_up"), would = doc_u64_or_0(shadow, "bytes_up");
    put_table(args, live, shadow, &out);
    buffer_printf(&out, "gateway %s: rules %s (shadow) beside %s (live) since %s, %" PRIu64 " records\n", gateway->id,
                  doc_text(shadow, "version"), doc_text(live, "version"),
                  stamp_of((int64_t)doc_u64_or_0(shadow, "since_us")).text, doc_u64_or_0(shadow, "records"));
    put_side("live", live, &out);
    put_side("shadow", shadow, &out);
    if (doc_u64_or_0(shadow, "records") == 0) {
        buffer_put_str(&out, "No record has come since: nothing to compare yet.\n");
    } else if (up == would) {
        buffer_put_str(&out, "The shadow's rules would have put as many bytes on the uplink.\n");
    } else {
        buffer_printf(&out, "The shadow's rules would have put %s %s on the uplink (%+.1f %%).\n",
                      amount_of(fabs((double)up - (double)would)).text, would < up ? "less" : "more",
                      up > 0 ? 100.0 * ((double)would - (double)up) / (double)up : 0);
    }
    return print_out(&out) ? EXIT_OK : EXIT_FAILED;
}

static enum exit_code difference(const struct args *args, const struct gateway_doc *gateway)
{
    cJSON *shadow = cJSON_GetObjectItemCaseSensitive(gateway->doc->json, "shadow");
    if (shadow == NULL) {
        print_message("no rules run beside the live ones at gateway %s; weir rules shadow FILE begins", gateway->id);
        return EXIT_NOT_FOUND;
    }
    if (!args->json) {
        return difference_text(args, gateway);
    }
    cJSON *out = cJSON_CreateObject();
    double up = (double)doc_u64_or_0(member(shadow, "live"), "bytes_up"),
           would = (double)doc_u64_or_0(shadow, "bytes_up");
    cJSON_AddStringToObject(out, "gateway", gateway->id);
    cJSON_AddNumberToObject(out, "uplink_bytes_saved", up - would);
    cJSON_AddItemToObject(out, "live", cJSON_DetachItemFromObjectCaseSensitive(shadow, "live"));
    cJSON_AddItemToObject(out, "shadow", cJSON_DetachItemFromObjectCaseSensitive(gateway->doc->json, "shadow"));
    enum exit_code code = print_json(out);
    cJSON_Delete(out);
    return code;
}

/* ---- shadow: begin, wait, end ---- */
static void on_time(void *arg)
{
    loop_stop(arg);
}

static void on_signal(void *arg, int signo)
{
    (void)signo;
    loop_stop(arg);
}

/* Until the time is over, or somebody has enough. */
static enum err wait_for(int64_t us)
{
    CLEANUP(loop_freep) struct loop *loop = NULL;
    struct loop_timer timer;
    TRY(loop_new(&loop));
    TRY(loop_on_signal(loop, SIGINT, on_signal, loop));
    TRY(loop_on_signal(loop, SIGTERM, on_signal, loop));
    loop_timer_init(&timer, loop, on_time, loop);
    loop_timer_in(&timer, us);
    enum err err = loop_run(loop);
    loop_timer_cancel(&timer);
    return err;
}

static enum exit_code begin(struct gateway_doc *gateway, const char *file)
{
    CLEANUP(rules_freep) struct rules *rules = NULL;
    CLEANUP(charp_freep) char *path = realpath(file, NULL);
    CLEANUP(charp_freep) char *target = NULL;
    BUFFER(problems, 256 * 1024);
    if (path == NULL) {
        print_message("%s: %s", file, strerror(errno));
        return EXIT_USAGE;
    }
    enum err err = rules_load(file, &rules, &problems);
    if (err != OK) { /* the gateway would say the same, but only of the first */
        fwrite(problems.ptr, 1, problems.len, stderr);
        return err == ERR_NOMEM ? EXIT_FAILED : EXIT_USAGE;
    }
    if (target_for("/rules/shadow?file=", path, &target) != OK) {
        print_message("out of memory");
        return EXIT_FAILED;
    }
    return gateway_ask(gateway, target);
}

static enum exit_code run_for(const struct args *args, struct gateway_doc *gateway)
{
    if (wait_for(args->for_us) != OK) {
        print_message("cannot wait; the shadow goes on: weir rules shadow --show, --off");
        return EXIT_FAILED;
    }
    enum exit_code code = gateway_ask(gateway, "/rules");
    code = code == EXIT_OK ? difference(args, gateway) : code;
    enum exit_code ended = gateway_ask(gateway, "/rules/shadow");
    return code != EXIT_OK ? code : ended;
}

static enum exit_code off(const struct args *args, struct gateway_doc *gateway)
{
    enum exit_code code = gateway_ask(gateway, "/rules");
    code = code == EXIT_OK ? difference(args, gateway) : code;
    enum exit_code ended = code == EXIT_OK ? gateway_ask(gateway, "/rules/shadow") : code;
    if (ended == EXIT_OK && !args->json) {
        printf("The shadow has ended.\n");
    }
    return ended;
}

enum exit_code rules_shadow(const struct args *args)
{
    CLEANUP(gateways_deinit) struct gateways g = {.count = 0};
    struct gateway_doc *gateway = NULL;
    const char *file = args->words[1];
    if ((file != NULL) + args->off + args->show != 1 || (args->for_us != 0 && file == NULL)) {
        print_message("usage: weir rules shadow FILE [--for 10min] | --show | --off");
        return EXIT_USAGE;
    }
    enum exit_code code = gateways_one(args, &g, &gateway);
    if (code != EXIT_OK) {
        return code;
    }
    if (file == NULL) {
        if (args->off) {
            return off(args, gateway);
        }
        code = gateway_ask(gateway, "/rules");
        return code == EXIT_OK ? difference(args, gateway) : code;
    }
    code = begin(gateway, file);
    if (code != EXIT_OK) {
        return code;
    }
    if (args->for_us != 0) {
        return run_for(args, gateway);
    }
    if (args->json) {
        return difference(args, gateway);
    }
    printf("%s runs beside the live rules of gateway %s from now on: weir rules shadow --show, --off\n", file,
           gateway->id);
    return EXIT_OK;
}
