/* SPDX-License-Identifier: Apache-2.0 */
/*
 * print - the table for people: --help, --sample-config, --dump-config.
 *
 * Sample and dump are configurations themselves: what they print is read back to the same settings. Rows of one section
 * that follow each other are nested below it; a section that comes again is written with dotted names.
 */
#include <stdio.h>

#include "core/options/options_internal.h"

enum { COMMENT_COLUMN = 44, HELP_COLUMN = 26 };

static size_t section_length(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? (size_t)(dot - name) : 0;
}

static bool same_section(const char *a, const char *b)
{
    size_t len = section_length(a);
    return len == section_length(b) && strncmp(a, b, len) == 0;
}

static bool section_came_before(const struct option *table, const struct option *row)
{
    for (const struct option *other = table; other < row; other++) {
        if (same_section(other->name, row->name)) {
            return true;
        }
    }
    return false;
}

/* Where a row is written: *ret_name is the part behind the section when it is nested. Opens a new section. Returns the
 * columns in front of it; indent are those of the table. mark: in front of the section's name, "" or "#". */
static int place_row(const struct option *table, const struct option *row, const char **section, int indent,
                     const char *mark, struct buffer *out, const char **ret_name)
{
    size_t len = section_length(row->name);
    *ret_name = row->name;
    if (len == 0) {
        *section = NULL;
        return indent;
    }
    if (*section == NULL || !same_section(*section, row->name)) {
        *section = NULL;
        if (section_came_before(table, row)) {
            return indent;
        }
        buffer_printf(out, "%*s%s%.*s:\n", indent, "", mark, (int)len, row->name);
        *section = row->name;
    }
    *ret_name = row->name + len + 1;
    return indent + 2;
}

static void put_padded(struct buffer *out, size_t from, size_t column)
{
    size_t width = out->len - from;
    buffer_printf(out, "%*s", width < column ? (int)(column - width) : 1, "");
}

/* "identity, required" or "duration 1s..10min, default 5s, live". */
static void put_facts(const struct option *row, struct buffer *out)
{
    double min, max;
    buffer_put_str(out, option_type_word(row));
    if (option_has_min(row, &min) || option_has_max(row, &max)) {
        buffer_put_str(out, row->type == OPTION_STRING || row->type == OPTION_LIST ? ", length " : " ");
        option_write_range(row, out);
    }
    if (row->required && row->preset == NULL) {
        buffer_put_str(out, ", required");
    } else if (row->preset == NULL) {
        buffer_put_str(out, ", not set by default");
    } else {
        buffer_printf(out, ", default %s", row->preset[0] ? row->preset : "\"\"");
    }
    if (row->live) {
        buffer_put_str(out, ", live");
    }
    if (row->plain_seconds) {
        buffer_put_str(out, "; a plain number is seconds");
    }
}

/* prefix: "" or "classes.NAME.". */
static void put_help_rows(const struct option *table, const char *prefix, struct buffer *out)
{
    for (const struct option *row = table; row->name != NULL; row++) {
        size_t from = out->len;
        buffer_printf(out, "  %s%s", prefix, row->name);
        put_padded(out, from, HELP_COLUMN);
        put_facts(row, out);
        buffer_printf(out, "\n      %s\n", row->help);
        if (row->type == OPTION_SECTIONS) {
            char inner[OPTIONS_PREFIX_MAX];
            snprintf(inner, sizeof(inner), "%s.NAME.", row->name);
            put_help_rows(row->sections, inner, out);
        }
    }
}

void options_print_help(const struct options_program *program, struct buffer *out)
{
    buffer_printf(out, "%s - %s\n\n", program->name, program->summary);
    buffer_printf(out, "Usage: %s %s [--NAME VALUE]... [--check | --dump-config]\n\n", program->name,
                  program->needs_no_file ? "[FILE]" : "[--config] FILE");
    buffer_put_str(out, "Options:\n"
                        "  --config FILE       YAML configuration; may also be the first argument\n"
                        "  --NAME VALUE        one setting, over the file; also --NAME=VALUE, --set NAME=VALUE\n"
                        "  --check             read the configuration, say what is wrong with it, do not start\n"
                        "  --dump-config       print every setting in force and where it comes from\n"
                        "  --sample-config     print a configuration to begin with\n"
                        "  --help, --version\n\n"
                        "Settings, nested (broker: {host: x}) or dotted (broker.host: x)");
    buffer_put_str(out, program->needs_no_file ? ":\n"
                                               : "; SIGHUP reads the file again\n"
                                                 "and changes those marked live without a restart:\n");
    put_help_rows(program->table, "", out);
    if (program->example != NULL) {
        buffer_printf(out, "\nExample: %s\n", program->example);
    } else {
        buffer_printf(out, "\nExample: %s --config %s.yaml --log.level debug\n", program->name, program->name);
    }
    buffer_put_str(out,
                   program->exits ? program->exits : "Exit: 0 ended as asked, 1 failed, 2 usage or configuration\n");
}

/* What a person has to replace. */
static const char *placeholder(const struct option *row)
{
    switch (row->type) {
    case OPTION_STRING:
    case OPTION_ID: return "CHANGE-ME";
    case OPTION_PATH:
    case OPTION_FILE: return "/CHANGE/ME";
    case OPTION_LIST: return "[CHANGE-ME]";
    case OPTION_BOOL: return "false";
    case OPTION_INT:
    case OPTION_NUMBER: return "1";
    case OPTION_DURATION: return "1s";
    case OPTION_BYTES: return "1MiB";
    case OPTION_ENUM:
    case OPTION_SECTIONS: return "";
    }
    return "";
}

static void put_sample_value(const struct option *row, struct buffer *out)
{
    if (row->preset == NULL && row->type == OPTION_ENUM) {
        buffer_put(out, row->words, strcspn(row->words, "|"));
    } else if (row->preset == NULL) {
        buffer_put_str(out, placeholder(row));
    } else if (row->type == OPTION_LIST) {
        buffer_printf(out, "[%s]", row->preset);
    } else if (row->preset[0] == '\0') {
        buffer_put_str(out, "''");
    } else {
        buffer_put_str(out, row->preset);
    }
}

static void put_sample_rows(const struct option *table, int indent, const char *mark, struct buffer *out);

/* The sections that are there by default, or one to show what it looks like, all of it behind marks. */
static void put_sample_sections(const struct option *row, const char *name, int indent, struct buffer *out)
{
    bool shown = row->preset == NULL || row->preset[0] == '\0';
    buffer_printf(out, "%*s%s:\n", indent, "", name);
    for (const char *at = shown ? "NAME" : row->preset; *at != '\0';) {
        at += strspn(at, ", ");
        size_t len = strcspn(at, ", ");
        buffer_printf(out, "%*s%s%.*s:\n", indent + 2, "", shown ? "#" : "", (int)len, at);
        put_sample_rows(row->sections, indent + 4, shown ? "#" : "", out);
        at += len + strspn(at + len, ", ");
    }
}

static void put_sample_rows(const struct option *table, int indent, const char *mark, struct buffer *out)
{
    const char *section = NULL, *name;
    for (const struct option *row = table; row->name != NULL; row++) {
        int column = place_row(table, row, &section, indent, mark, out, &name);
        buffer_printf(out, "%*s# %s (", column, "", row->help);
        put_facts(row, out);
        buffer_put_str(out, ")\n");
        if (row->type == OPTION_SECTIONS) {
            put_sample_sections(row, name, column, out);
            continue;
        }
        buffer_printf(out, "%*s%s%s: ", column, "", row->required ? mark : "#", name);
        put_sample_value(row, out);
        buffer_put_u8(out, '\n');
    }
}

void options_print_sample(const struct options_program *program, struct buffer *out)
{
    buffer_printf(out,
                  "# %s: %s\n# Lines without # in front must be filled in, and the certificates of each broker; the "
                  "others show the default.\n\n",
                  program->name, program->summary);
    put_sample_rows(program->table, 0, "", out);
    if (program->sample_end != NULL) {
        buffer_put_str(out, program->sample_end);
    }
}

/* "    period: 1s      # plant.yaml:7" */
static void put_dump_row(const struct reading *r, const struct scope *scope, size_t index, int column, const char *name,
                         struct buffer *out)
{
    const struct origin *origin = &scope->origins[index];
    size_t from = out->len;
    BUFFER(value, 4 << 20);
    if (!option_write(&scope->table[index], scope->settings, &value)) {
        buffer_printf(out, "%*s#%s:", column, "", name);
        put_padded(out, from, COMMENT_COLUMN);
        buffer_put_str(out, "# not set\n");
        return;
    }
    buffer_printf(out, "%*s%s: ", column, "", name);
    buffer_put_slice(out, buffer_slice(&value));
    put_padded(out, from, COMMENT_COLUMN);
    if (origin->kind == ORIGIN_FILE) {
        buffer_printf(out, "# %s:%zu\n", r->name, origin->line);
    } else {
        buffer_put_str(out, origin->kind == ORIGIN_SET ? "# --set\n" : "# default\n");
    }
}

static void put_dump_scope(const struct reading *r, const struct scope *scope, int indent, struct buffer *out);

static void put_dump_sections(const struct reading *r, const struct scope *scope, size_t index, const char *name,
                              int column, struct buffer *out)
{
    const struct option *row = &scope->table[index];
    const struct option_sections *sections = option_field(row, scope->settings);
    buffer_printf(out, "%*s%s:%s\n", column, "", name, sections->count == 0 ? " {}" : "");
    for (size_t i = 0; i < scope->sections[index].count; i++) {
        buffer_printf(out, "%*s", column + 2, "");
        option_write_text(sections->names[i], out);
        buffer_put_str(out, ":\n");
        put_dump_scope(r, &scope->sections[index].items[i], column + 4, out);
    }
}

static void put_dump_scope(const struct reading *r, const struct scope *scope, int indent, struct buffer *out)
{
    const char *section = NULL, *name;
    for (size_t i = 0; i < scope->rows; i++) {
        int column = place_row(scope->table, &scope->table[i], &section, indent, "", out, &name);
        if (scope->table[i].type == OPTION_SECTIONS) {
            put_dump_sections(r, scope, i, name, column, out);
        } else {
            put_dump_row(r, scope, i, column, name, out);
        }
    }
}

void options_print_dump(const struct reading *r, struct buffer *out)
{
    put_dump_scope(r, &r->top, 0, out);
}
