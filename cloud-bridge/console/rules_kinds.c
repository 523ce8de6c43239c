/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules_kinds - `weir rules kinds [KIND]`: what a rule can do, and its settings with words and defaults.
 * Everything comes from the table by which proto/rules reads a file, so that the two cannot differ.
 */
#include <stdio.h>

#include "cloud-bridge/console/console_internal.h"
#include "core/base/json.h"
#include "core/options/options.h"
#include "proto/rules/rules.h"

enum { OUT_MAX = 256 * 1024 };

/* What is written behind the setting. */
static const char *value_of(const struct option *row)
{
    switch (row->type) {
    case OPTION_ENUM: return row->words;
    case OPTION_BOOL: return "true|false";
    case OPTION_INT: return "whole number";
    case OPTION_NUMBER: return "number";
    case OPTION_DURATION: return "duration";
    case OPTION_BYTES: return "size";
    case OPTION_LIST: return "list";
    case OPTION_STRING:
    case OPTION_PATH:
    case OPTION_FILE:
    case OPTION_ID:
    case OPTION_SECTIONS: break;
    }
    return "text";
}

static void add_setting(struct table *t, const char *kind, const struct option *row)
{
    bool words = strcmp(row->name, "do") == 0; /* its words are the kinds, which are the table */
    table_add(t, PAINT_NONE, "%s", kind);
    table_add(t, PAINT_NONE, "%s", row->name);
    table_add(t, PAINT_NONE, "%s", words ? "KIND" : value_of(row));
    table_add(t, PAINT_NONE, "%s",
              row->required          ? "(required)"
              : row->preset == NULL  ? "none"
              : row->preset[0] == 0 ? "\"\""
                                     : row->preset);
    table_add(t, PAINT_NONE, "%s", row->help);
}

static void add_kind(struct table *t, enum rule_kind kind)
{
    const struct option *row;
    bool device = rule_kind_not_for_devices(kind) == NULL;
    table_add(t, PAINT_NONE, "%s", rule_kind_name(kind));
    for (unsigned i = 0; i < 3; i++) {
        table_add(t, PAINT_NONE, "%s", "");
    }
    table_add(t, PAINT_NONE, "%s%s", rule_kind_help(kind), device ? "" : " (not on a device)");
    for (size_t i = 0; (row = rule_kind_setting(kind, i)) != NULL; i++) {
        add_setting(t, "", row);
    }
}

static bool wanted(const char *only, enum rule_kind kind)
{
    return only == NULL || strcmp(only, rule_kind_name(kind)) == 0;
}

static enum exit_code kinds_text(const char *only, bool color)
{
    static const char *const heads[] = {"KIND", "SETTING", "VALUE", "DEFAULT", "WHAT"};
    BUFFER(out, OUT_MAX);
    CLEANUP(table_deinit) struct table t = {.columns = "lllll", .width = COUNT_OF(heads)};
    const struct option *row;
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        table_add(&t, PAINT_NONE, "%s", heads[i]);
    }
    for (size_t i = 0; only == NULL && (row = rule_kind_setting(RULE_KINDS, i)) != NULL; i++) {
        add_setting(&t, i == 0 ? "(every)" : "", row);
    }
    for (enum rule_kind kind = 0; kind < RULE_KINDS; kind++) {
        if (wanted(only, kind)) {
            add_kind(&t, kind);
        }
    }
    table_print(&t, color, &out);
    return print_out(&out) ? EXIT_OK : EXIT_FAILED;
}

static void put_settings(struct json *j, enum rule_kind kind)
{
    const struct option *row;
    json_array(j, "settings");
    for (size_t i = 0; (row = rule_kind_setting(kind, i)) != NULL; i++) {
        json_object(j, NULL);
        json_str(j, "name", row->name);
        json_str(j, "value", value_of(row));
        json_bool(j, "required", row->required);
        json_str(j, "default", row->preset);
        json_str(j, "help", row->help);
        json_object_end(j);
    }
    json_array_end(j);
}

static enum exit_code kinds_json(const char *only)
{
    BUFFER(out, OUT_MAX);
    struct json j;
    json_init(&j, &out);
    json_object(&j, NULL);
    put_settings(&j, RULE_KINDS);
    json_array(&j, "kinds");
    for (enum rule_kind kind = 0; kind < RULE_KINDS; kind++) {
        if (wanted(only, kind)) {
            json_object(&j, NULL);
            json_str(&j, "name", rule_kind_name(kind));
            json_str(&j, "help", rule_kind_help(kind));
            json_bool(&j, "on_devices", rule_kind_not_for_devices(kind) == NULL);
            put_settings(&j, kind);
            json_object_end(&j);
        }
    }
    json_array_end(&j);
    json_object_end(&j);
    buffer_put_u8(&out, '\n');
    return print_out(&out) ? EXIT_OK : EXIT_FAILED;
}

enum exit_code rules_kinds(const struct args *args)
{
    const char *only = args->words[1];
    struct options_nearest nearest = {.word = only != NULL ? only : ""};
    bool known = only == NULL;
    for (enum rule_kind kind = 0; kind < RULE_KINDS; kind++) {
        known |= wanted(only, kind);
        options_nearest_offer(&nearest, rule_kind_name(kind));
    }
    if (!known) {
        print_message("there is no kind of rule %s; weir rules kinds lists them%s%s%s", only,
                      nearest.best ? "; did you mean " : "", nearest.best ? nearest.best : "", nearest.best ? "?" : "");
        return EXIT_USAGE;
    }
    return args->json ? kinds_json(only) : kinds_text(only, args->color);
}
