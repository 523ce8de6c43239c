/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules_verb - `weir rules check FILE`, `weir rules check --device FILE` for a file that a device runs, and `weir rules test
 * FILE --replay DATA`: what a file of rules says, and what it would do to recorded data, before it goes live. What it does at a gateway is in rules_live.c.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "cloud-bridge/console/console_internal.h"
#include "cloud-bridge/console/replay.h"
#include "core/base/json.h"
#include "core/csv/csv.h"
#include "core/options/options.h"

enum { PROBLEMS_MAX = 256 * 1024, OUTPUT_MAX = 1 << 20 };

static void print_problems(const struct buffer *problems)
{
    fwrite(problems->ptr, 1, problems->len, stderr);
}

/* ---- check ---- */
static void put_rule(struct json *j, const struct rule *rule)
{
    json_object(j, NULL);
    json_str(j, "name", rule->name);
    json_str(j, "do", rule_kind_name((enum rule_kind)rule->kind));
    json_str(j, "devices", rule->devices);
    json_str(j, "channels", rule->channels);
    json_object_end(j);
}

static void put_sentences(struct json *j, const struct buffer *problems)
{
    const char *at = (const char *)problems->ptr, *end = at + problems->len;
    json_array(j, "problems");
    while (at < end) {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        size_t len = line != NULL ? (size_t)(line - at) : (size_t)(end - at);
        json_slice(j, NULL, slice_of(at, len));
        at += len + 1;
    }
    json_array_end(j);
}

static enum exit_code check_json(const char *path, const struct rules *rules, const struct buffer *problems)
{
    BUFFER(out, OUTPUT_MAX);
    struct json j;
    json_init(&j, &out);
    json_object(&j, NULL);
    json_str(&j, "file", path);
    json_bool(&j, "ok", rules != NULL);
    if (rules != NULL) {
        json_hex(&j, "version", rules_version(rules));
        json_array(&j, "rules");
        for (size_t i = 0; i < rules_count(rules); i++) {
            put_rule(&j, rules_at(rules, i));
        }
        json_array_end(&j);
    }
    put_sentences(&j, problems);
    json_object_end(&j);
    buffer_put_u8(&out, '\n');
    return !print_out(&out) ? EXIT_FAILED : rules != NULL ? EXIT_OK : EXIT_USAGE;
}

static enum exit_code check_text(const char *path, const struct rules *rules, bool color)
{
    BUFFER(out, OUTPUT_MAX);
    CLEANUP(table_deinit) struct table t = {.columns = "llll", .width = 4};
    static const char *const heads[] = {"RULE", "DO", "DEVICES", "CHANNELS"};
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        table_add(&t, PAINT_NONE, "%s", heads[i]);
    }
    for (size_t i = 0; i < rules_count(rules); i++) {
        const struct rule *rule = rules_at(rules, i);
        table_add(&t, PAINT_NONE, "%s", rule->name);
        table_add(&t, PAINT_NONE, "%s", rule_kind_name((enum rule_kind)rule->kind));
        table_add(&t, PAINT_NONE, "%s", rule->devices);
        table_add(&t, PAINT_NONE, "%s", rule->channels);
    }
    table_print(&t, color, &out);
    buffer_printf(&out, "%s: ok, %zu rules, version %016" PRIx64 "\n", path, rules_count(rules), rules_version(rules));
    return print_out(&out) ? EXIT_OK : EXIT_FAILED;
}

typedef enum err rules_loader(const char *path, struct rules **ret_rules, struct buffer *problems);

/* rules NULL: told. */
static enum exit_code load(const struct args *args, const char *path, rules_loader *loader, struct rules **ret_rules)
{
    BUFFER(problems, PROBLEMS_MAX);
    struct rules *rules = NULL;
    enum err err = loader(path, &rules, &problems);
    if (err == ERR_NOMEM) {
        print_message("out of memory");
        return EXIT_FAILED;
    }
    if (err != OK) {
        print_problems(&problems);
        return args->json ? check_json(path, NULL, &problems) : EXIT_USAGE;
    }
    *ret_rules = rules;
    return EXIT_OK;
}

/* The file says nothing of the gateway, and the gateway will not begin. */
static void tell_key(const char *path, const struct rules *rules)
{
    for (size_t i = 0; i < rules_count(rules); i++) {
        if (rules_at(rules, i)->kind == RULE_HASH) {
            print_message("%s: rules.%s: do: hash needs rules.key in the gateway's configuration; weir-gateway --check "
                          "sees both", path, rules_at(rules, i)->name);
            return;
        }
    }
}

/* ---- test ---- */
static void add_counts(struct table *t, const uint64_t *counts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        table_add(t, PAINT_NONE, "%" PRIu64, counts[i]);
    }
}

static void print_rules(const struct replay *r, bool color, struct buffer *out)
{
    CLEANUP(table_deinit) struct table t = {.columns = "llrrrrrrrr", .width = 10};
    static const char *const heads[] = {"RULE",    "DO",   "SEEN",    "DROPPED",  "CHANGED",
                                        "WINDOWS", "LATE", "FLAGGED", "TRIGGERS", "CUT"};
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        table_add(&t, PAINT_NONE, "%s", heads[i]);
    }
    for (size_t i = 0; i < rules_count(r->rules); i++) {
        struct curate_rule_stats s;
        curate_stats(r->curate, i, &s);
        table_add(&t, PAINT_NONE, "%s", rules_at(r->rules, i)->name);
        table_add(&t, PAINT_NONE, "%s", rule_kind_name((enum rule_kind)rules_at(r->rules, i)->kind));
        add_counts(
            &t, (const uint64_t[]){s.seen, s.dropped, s.changed, s.windows, s.late, s.flagged, s.captures, s.cut}, 8);
    }
    table_print(&t, color, out);
}

static void print_channels(const struct replay *r, bool color, struct buffer *out)
{
    CLEANUP(table_deinit) struct table t = {.columns = "lrrlrrr", .width = 7};
    static const char *const heads[] = {"CHANNEL", "VALUES", "UP", "THINNED BY", "WORST ERROR", "BOUND", "NOT CHECKED"};
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        table_add(&t, PAINT_NONE, "%s", heads[i]);
    }
    for (size_t i = 0; i < r->channel_count; i++) {
        const struct replay_channel *c = &r->channels[i];
        const char *percent = c->thinned_by != NULL && c->thinned_by->percent > 0 ? "%" : "";
        table_add(&t, PAINT_NONE, "%s", c->name);
        table_add(&t, PAINT_NONE, "%" PRIu64, c->in);
        table_add(&t, PAINT_NONE, "%" PRIu64, c->up);
        table_add(&t, PAINT_NONE, "%s", c->thinned_by != NULL ? c->thinned_by->name : "-");
        if (c->thinned_by == NULL) {
            table_add(&t, PAINT_NONE, "-");
            table_add(&t, PAINT_NONE, "-");
            table_add(&t, PAINT_NONE, "-");
        } else {
            table_add(&t, replay_channel_within(c) ? PAINT_GOOD : PAINT_BAD, "%.6g%s", c->worst, percent);
            table_add(&t, PAINT_NONE, "%.6g%s", c->bound, percent);
            table_add(&t, PAINT_NONE, "%" PRIu64, c->open);
        }
    }
    table_print(&t, color, out);
}

static enum exit_code test_text(const struct replay *r, bool color)
{
    BUFFER(out, OUTPUT_MAX);
    print_rules(r, color, &out);
    buffer_put_u8(&out, '\n');
    print_channels(r, color, &out);
    buffer_printf(&out, "\n%" PRIu64 " files, %" PRIu64 " rows", r->files, r->rows);
    if (r->bad > 0) {
        buffer_printf(&out, " (%" PRIu64 " cells or rows could not be read)", r->bad);
    }
    buffer_printf(&out,
                  "\nrecords: %" PRIu64 ", as they came %" PRIu64 ", shaped %" PRIu64 ", dropped %" PRIu64
                  "; windows %" PRIu64 "; captures %" PRIu64 "\n",
                  r->records, r->kept, r->shaped, r->dropped, r->windows, r->captures);
    double saved = r->bytes_in > 0 ? 100 - 100 * (double)r->bytes_up / (double)r->bytes_in : 0;
    buffer_printf(&out, "values: %" PRIu64 ", up %" PRIu64 "; bytes: %" PRIu64 ", up %" PRIu64 " (%.1f %% %s)\n",
                  r->values_in, r->values_up, r->bytes_in, r->bytes_up, fabs(saved), saved < 0 ? "more" : "saved");
    if (!replay_within_bounds(r)) {
        buffer_put_str(&out, "a channel is farther from what went up than its rule declares\n");
    }
    return print_out(&out) ? EXIT_OK : EXIT_FAILED;
}

static void put_rule_counts(struct json *j, const struct replay *r)
{
    json_array(j, "rules");
    for (size_t i = 0; i < rules_count(r->rules); i++) {
        struct curate_rule_stats s;
        curate_stats(r->curate, i, &s);
        json_object(j, NULL);
        json_str(j, "name", rules_at(r->rules, i)->name);
        json_str(j, "do", rule_kind_name((enum rule_kind)rules_at(r->rules, i)->kind));
        json_u64(j, "seen", s.seen);
        json_u64(j, "dropped", s.dropped);
        json_u64(j, "changed", s.changed);
        json_u64(j, "windows", s.windows);
        json_u64(j, "late", s.late);
        json_u64(j, "flagged", s.flagged);
        json_u64(j, "triggers", s.captures);
        json_u64(j, "cut", s.cut);
        json_object_end(j);
    }
    json_array_end(j);
}

static void put_channels(struct json *j, const struct replay *r)
{
    json_array(j, "channels");
    for (size_t i = 0; i < r->channel_count; i++) {
        const struct replay_channel *c = &r->channels[i];
        json_object(j, NULL);
        json_str(j, "name", c->name);
        json_u64(j, "values", c->in);
        json_u64(j, "up", c->up);
        json_str(j, "thinned_by", c->thinned_by != NULL ? c->thinned_by->name : NULL);
        if (c->thinned_by != NULL) {
            json_bool(j, "percent", c->thinned_by->percent > 0);
            json_f64(j, "worst", c->worst);
            json_f64(j, "bound", c->bound);
            json_u64(j, "not_checked", c->open);
            json_bool(j, "within", replay_channel_within(c));
        }
        json_object_end(j);
    }
    json_array_end(j);
}

static enum exit_code test_json(const struct replay *r)
{
    BUFFER(out, OUTPUT_MAX);
    struct json j;
    json_init(&j, &out);
    json_object(&j, NULL);
    json_hex(&j, "version", rules_version(r->rules));
    json_u64(&j, "files", r->files);
    json_u64(&j, "rows", r->rows);
    json_u64(&j, "bad", r->bad);
    json_u64(&j, "records", r->records);
    json_u64(&j, "kept", r->kept);
    json_u64(&j, "shaped", r->shaped);
    json_u64(&j, "dropped", r->dropped);
    json_u64(&j, "windows", r->windows);
    json_u64(&j, "captures", r->captures);
    json_u64(&j, "values", r->values_in);
    json_u64(&j, "values_up", r->values_up);
    json_u64(&j, "bytes", r->bytes_in);
    json_u64(&j, "bytes_up", r->bytes_up);
    put_rule_counts(&j, r);
    put_channels(&j, r);
    json_bool(&j, "within_bounds", replay_within_bounds(r));
    json_object_end(&j);
    buffer_put_u8(&out, '\n');
    return print_out(&out) ? EXIT_OK : EXIT_FAILED;
}

static enum exit_code replay_files(const struct args *args, struct replay *r, const struct csv_files *files)
{
    int64_t period_us = args->period_us != 0 ? args->period_us : SECOND_US;
    for (size_t i = 0; i < files->count; i++) {
        CLEANUP(series_deinit) struct series series = {.rows = 0};
        struct fault fault = {.code = OK};
        if (series_read(files->paths[i], period_us, &series, &fault) != OK) {
            print_message("%s", fault.text);
            return EXIT_FAILED;
        }
        if (!series.timed && args->period_us == 0) {
            print_message("%s: no times in it (a first column of dates, or headed time and since 1970): its rows are "
                          "taken 1s apart; --period says otherwise", files->paths[i]);
        }
        enum err err = replay_series(r, &series);
        if (err != OK) {
            print_message("%s: the replay failed: %s", files->paths[i], err_name(err));
            return EXIT_FAILED;
        }
    }
    return EXIT_OK;
}

static void filep_close(FILE **f)
{
    if (*f != NULL) {
        (void)fclose(*f);
    }
}

static enum exit_code test(const struct args *args, const struct rules *rules)
{
    CLEANUP(csv_files_deinit) struct csv_files files = {.count = 0};
    CLEANUP(replay_deinit) struct replay r = {.rules = NULL};
    CLEANUP(filep_close) FILE *out = NULL;
    struct fault fault = {.code = OK};
    if (csv_files_find(args->replay, &files, &fault) != OK) {
        print_message("%s", fault.text);
        return fault.code == ERR_NOT_FOUND ? EXIT_NOT_FOUND : EXIT_FAILED;
    }
    if (args->out != NULL && (out = fopen(args->out, "we")) == NULL) {
        print_message("%s: %s", args->out, strerror(errno));
        return EXIT_FAILED;
    }
    if (replay_init(&r, rules, args->device != NULL ? args->device : "replay", out) != OK) {
        print_message("out of memory");
        return EXIT_FAILED;
    }
    enum exit_code code = replay_files(args, &r, &files);
    if (code == EXIT_OK && out != NULL && fflush(out) != 0) {
        print_message("%s: %s", args->out, strerror(errno));
        code = EXIT_FAILED;
    }
    if (code == EXIT_OK) {
        code = args->json ? test_json(&r) : test_text(&r, args->color);
    }
    return code == EXIT_OK && !replay_within_bounds(&r) ? EXIT_FAILED : code;
}

enum exit_code rules_verb(const struct args *args)
{
    CLEANUP(rules_freep) struct rules *rules = NULL;
    const char *what = args->words[0], *path = args->words[1];
    bool is_test = strcmp(what, "test") == 0;
    if (strcmp(what, "show") == 0) {
        return rules_show(args);
    }
    if (strcmp(what, "shadow") == 0) {
        return rules_shadow(args);
    }
    if (strcmp(what, "kinds") == 0) {
        return rules_kinds(args);
    }
    if (!is_test && strcmp(what, "check") != 0) {
        static const char *const known[] = {"check", "test", "shadow", "show", "kinds"};
        struct options_nearest nearest = {.word = what};
        for (size_t i = 0; i < COUNT_OF(known); i++) {
            options_nearest_offer(&nearest, known[i]);
        }
        print_message("rules takes check, test, shadow, show or kinds, not %s%s%s%s", what, nearest.best ? "; did you mean " : "",
                      nearest.best ? nearest.best : "", nearest.best ? "?" : "");
        return EXIT_USAGE;
    }
    if (is_test && args->replay == NULL) {
        print_message("rules test needs --replay DATA, a CSV file or a folder of them");
        return EXIT_USAGE;
    }
    bool for_device = !is_test && path == NULL && args->device != NULL; /* check --device FILE */
    path = for_device ? args->device : path;
    if (path == NULL) {
        print_message("rules %s needs a file", what);
        return EXIT_USAGE;
    }
    enum exit_code code = load(args, path, for_device ? rules_load_device : rules_load, &rules);
    if (code != EXIT_OK || rules == NULL) {
        return code;
    }
    if (is_test) {
        return test(args, rules);
    }
    BUFFER(none, 1);
    tell_key(path, rules);
    return args->json ? check_json(path, rules, &none) : check_text(path, rules, args->color);
}
