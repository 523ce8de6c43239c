/* SPDX-License-Identifier: Apache-2.0 */
/*
 * document - YAML text into rows, by libyaml.
 *
 * Two passes. The first goes through the parser's events, which nest without recursion, and refuses what a
 * configuration has no use for and an attacker has: anchors, aliases, tags, depth over 8, more than one document. Only
 * then is the document built, whose nodes carry their positions, and walked; by then its depth is known to be small.
 */
#include <stdio.h>
#include <yaml.h>

#include "core/options/options_internal.h"

enum { ITEMS_MAX = 1024 };

struct walk {
    struct reading *r;
    yaml_document_t *document;
};

/* ---- first pass ---- */
/* libyaml reports an undecodable byte by its offset only. */
static void position_of(struct slice text, size_t offset, size_t *ret_line, size_t *ret_column)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < offset && i < text.len; i++) {
        bool cr_lf = text.ptr[i] == '\r' && i + 1 < text.len && text.ptr[i + 1] == '\n';
        if (text.ptr[i] == '\n' || (text.ptr[i] == '\r' && !cr_lf)) {
            line++;
            column = 1;
        } else {
            column += (text.ptr[i] & 0xc0) != 0x80;
        }
    }
    *ret_line = line;
    *ret_column = column;
}

static void report_yaml(struct reading *r, const yaml_parser_t *parser)
{
    size_t line = parser->problem_mark.line + 1, column = parser->problem_mark.column + 1;
    const char *problem = parser->problem ? parser->problem : "not YAML";
    r->broken = true;
    if (parser->error == YAML_MEMORY_ERROR) {
        reading_problem(r, ERR_NOMEM, NULL, 0, 0, "out of memory");
        return;
    }
    if (parser->error == YAML_READER_ERROR) {
        position_of(r->text, parser->problem_offset, &line, &column);
    }
    const char *hint = strstr(problem, "cannot start any token") != NULL ? "; a tab or a reserved character" : "";
    reading_problem(r, ERR_MALFORMED, NULL, line, column, "not YAML: %s%s%s%s", problem, hint,
                    parser->context ? ", " : "", parser->context ? parser->context : "");
}

static void refuse(struct reading *r, const yaml_event_t *event, const char *what)
{
    r->broken = true;
    reading_problem(r, ERR_MALFORMED, NULL, event->start_mark.line + 1, event->start_mark.column + 1, "%s", what);
}

static void refuse_decoration(struct reading *r, const yaml_event_t *event, const yaml_char_t *anchor,
                              const yaml_char_t *tag)
{
    if (anchor != NULL) {
        refuse(r, event, "anchors (&name) are not used in a configuration; write the value out");
    }
    if (tag != NULL) {
        refuse(r, event, "tags (!name) are not used in a configuration");
    }
}

/* Returns false when the document cannot be gone through any further. */
static bool inspect(struct reading *r, const yaml_event_t *event, unsigned *depth, unsigned *documents)
{
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        refuse(r, event, "aliases (*name) are not used in a configuration; write the value out");
        break;
    case YAML_SCALAR_EVENT:
        refuse_decoration(r, event, event->data.scalar.anchor, event->data.scalar.tag);
        break;
    case YAML_SEQUENCE_START_EVENT:
        refuse_decoration(r, event, event->data.sequence_start.anchor, event->data.sequence_start.tag);
        ++*depth;
        break;
    case YAML_MAPPING_START_EVENT:
        refuse_decoration(r, event, event->data.mapping_start.anchor, event->data.mapping_start.tag);
        ++*depth;
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        --*depth;
        break;
    case YAML_DOCUMENT_START_EVENT:
        if (++*documents == 2) {
            refuse(r, event, "a second document begins; a configuration is one document");
            return false;
        }
        break;
    case YAML_DOCUMENT_END_EVENT:
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
        break;
    }
    if (*depth > OPTIONS_DEPTH_MAX) {
        refuse(r, event, "nested deeper than 8 levels");
        return false;
    }
    return r->problem_count <= OPTIONS_PROBLEMS_MAX;
}

static void start_parser(struct reading *r, yaml_parser_t *parser)
{
    yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(parser, r->text.ptr, r->text.len);
}

static void first_pass(struct reading *r)
{
    CLEANUP(yaml_parser_delete) yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        reading_problem(r, ERR_NOMEM, NULL, 0, 0, "out of memory");
        return;
    }
    start_parser(r, &parser);
    unsigned depth = 0, documents = 0;
    for (bool more = true; more;) {
        CLEANUP(yaml_event_delete) yaml_event_t event = {.type = YAML_NO_EVENT};
        if (!yaml_parser_parse(&parser, &event)) {
            report_yaml(r, &parser);
            return;
        }
        more = inspect(r, &event, &depth, &documents) && event.type != YAML_STREAM_END_EVENT;
    }
}

/* ---- second pass ---- */
static void node_problem(struct walk *w, struct scope *scope, const yaml_node_t *node, const char *name,
                         const char *text)
{
    char full[OPTIONS_PREFIX_MAX + OPTIONS_NAME_MAX];
    size_t len = (size_t)snprintf(full, sizeof(full), "%s%s", scope->prefix, name);
    if (name[0] == '\0' && len > 0) {
        full[len - 1] = '\0'; /* the section itself: without its dot */
    }
    scope->spoilt = true;
    reading_problem(w->r, ERR_RANGE, NULL, node->start_mark.line + 1, node->start_mark.column + 1, "%s%s%s", full,
                    full[0] ? ": " : "", text);
}

static void given_twice(struct walk *w, struct scope *scope, const yaml_node_t *node, const char *name,
                        const char *what, size_t line)
{
    char text[80];
    snprintf(text, sizeof(text), "%sis given twice; first on line %zu", what, line);
    node_problem(w, scope, node, name, text);
}

static struct slice scalar_of(const yaml_node_t *node)
{
    return slice_of(node->data.scalar.value, node->data.scalar.length);
}

/* "key:" with nothing behind it, ~ and null. */
static bool is_null(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) {
        return false;
    }
    struct slice s = scalar_of(node);
    return s.len == 0 || slice_equal(s, slice_str("~")) || slice_equal(s, slice_str("null"));
}

/* Items of a list row; false after a problem. */
static bool list_items(struct walk *w, struct scope *scope, const struct option *row, const yaml_node_t *node,
                       struct slice *items, size_t *ret_count)
{
    size_t count = 0;
    for (yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
        const yaml_node_t *child = yaml_document_get_node(w->document, *item);
        if (child == NULL || child->type != YAML_SCALAR_NODE || is_null(child)) {
            node_problem(w, scope, child ? child : node, row->name, "an item of a list is one text");
            return false;
        }
        if (count == ITEMS_MAX) {
            node_problem(w, scope, child, row->name, "has more than 1024 items");
            return false;
        }
        items[count++] = scalar_of(child);
    }
    *ret_count = count;
    return true;
}

/* Notes where the row is; false when there is nothing more to do. */
static bool claim_row(struct walk *w, struct scope *scope, size_t index, const yaml_node_t *key,
                      const yaml_node_t *value)
{
    struct origin *origin = &scope->origins[index];
    if (origin->line > 0) {
        given_twice(w, scope, key, scope->table[index].name, "", origin->line);
        return false;
    }
    origin->line = value->start_mark.line + 1;
    origin->column = value->start_mark.column + 1;
    /* The command line stands over the file, also over a bad value in it. */
    return origin->kind != ORIGIN_SET;
}

static void set_row(struct walk *w, struct scope *scope, size_t index, const yaml_node_t *key, const yaml_node_t *value)
{
    struct reading *r = w->r;
    const struct option *row = &scope->table[index];
    struct origin *origin = &scope->origins[index];
    if (!claim_row(w, scope, index, key, value)) {
        return;
    }
    if (value->type == YAML_MAPPING_NODE) {
        node_problem(w, scope, value, row->name, "is a setting, not a section");
        return;
    }
    if (is_null(value)) {
        node_problem(w, scope, key, row->name,
                     option_is_text(row) ? "has no value; write \"\" to leave it empty" : "has no value");
        return;
    }
    struct slice items[ITEMS_MAX];
    struct option_text text = {.items = NULL};
    if (value->type == YAML_SEQUENCE_NODE) {
        text.items = items;
        if (row->type == OPTION_LIST && !list_items(w, scope, row, value, items, &text.count)) {
            return;
        }
    } else {
        text.scalar = scalar_of(value);
    }
    struct fault why = {.code = OK};
    enum err err = option_parse(row, &text, r->folder, scope->settings, &why);
    bool kept = err == OK || (err == ERR_RANGE && option_is_number(row));
    origin->kind = kept ? ORIGIN_FILE : ORIGIN_NONE; /* else the preset stands in for it */
    if (err != OK) {
        scope->spoilt |= !kept;
        origin->refused = true;
        reading_problem(r, err, NULL, origin->line, origin->column, "%s%s: %s", scope->prefix, row->name,
                        err == ERR_NOMEM ? "out of memory" : why.text);
    }
}

/* The nearest group of settings ("broker" for "brokr"), or "". */
static void suggest_group(const struct scope *scope, const char *name, char *out, size_t size)
{
    struct options_nearest group = {.word = name};
    char found[OPTIONS_NAME_MAX + 1] = "";
    for (size_t i = 0; i < scope->rows; i++) {
        char part[OPTIONS_NAME_MAX + 1];
        const char *dot = strrchr(scope->table[i].name, '.');
        if (dot != NULL) {
            snprintf(part, sizeof(part), "%.*s", (int)(dot - scope->table[i].name), scope->table[i].name);
            const char *before = group.best;
            options_nearest_offer(&group, part);
            if (group.best != before) {
                snprintf(found, sizeof(found), "%s", part);
                group.best = found;
            }
        }
    }
    snprintf(out, size, found[0] ? "; did you mean the section %s%s?" : "%s%s", found[0] ? scope->prefix : "", found);
}

static void report_unknown(struct walk *w, struct scope *scope, const yaml_node_t *key, const char *name)
{
    char hint[OPTIONS_PREFIX_MAX + OPTIONS_NAME_MAX + 60], text[sizeof(hint) + 40];
    scope_suggest(scope, name, hint, sizeof(hint));
    if (hint[0] == '\0') {
        suggest_group(scope, name, hint, sizeof(hint));
    }
    snprintf(text, sizeof(text), "unknown setting%s", hint);
    node_problem(w, scope, key, name, text);
}

static void walk_mapping(struct walk *w, struct scope *scope, const yaml_node_t *mapping, const char *prefix,
                         unsigned depth);
static void walk_name(struct walk *w, struct scope *scope, const char *name, const yaml_node_t *key,
                      const yaml_node_t *value);

/* A group's content; depth is the number of its name's parts. */
static void walk_group(struct walk *w, struct scope *scope, size_t first_row, const char *name, const yaml_node_t *key,
                       const yaml_node_t *value, unsigned depth)
{
    size_t *seen = &scope->group_line[first_row][depth];
    if (*seen > 0) {
        given_twice(w, scope, key, name, "the section ", *seen);
        return;
    }
    *seen = key->start_mark.line + 1;
    if (value->type == YAML_MAPPING_NODE) {
        walk_mapping(w, scope, value, name, depth);
    } else if (!is_null(value)) { /* a section whose lines are all comments is null */
        node_problem(w, scope, value, name, "is a section, not a setting");
    }
}

/* A map of named sections. */
static void walk_sections(struct walk *w, struct scope *scope, size_t index, const yaml_node_t *key,
                          const yaml_node_t *value)
{
    const struct option *row = &scope->table[index];
    if (!claim_row(w, scope, index, key, value) || is_null(value)) {
        return; /* nothing but comments: as if it were not there */
    }
    scope->origins[index].kind = ORIGIN_FILE;
    if (value->type == YAML_MAPPING_NODE) {
        walk_mapping(w, scope, value, row->name, 1);
    } else {
        node_problem(w, scope, value, row->name, "is a map of sections; write {NAME: {setting: value}}");
    }
}

/* One named section, or (rest not empty) one setting in it. */
static void walk_named(struct walk *w, struct scope *scope, size_t index, const char *name, const char *rest,
                       const yaml_node_t *key, const yaml_node_t *value)
{
    struct fault why = {.code = OK};
    struct scope *section;
    enum err err = sections_open(scope, index, name, &section, &why);
    if (err != OK) {
        reading_problem(w->r, err, NULL, key->start_mark.line + 1, key->start_mark.column + 1, "%s: %s",
                        scope->table[index].name, err == ERR_NOMEM ? "out of memory" : why.text);
        return;
    }
    scope->origins[index].kind = ORIGIN_FILE;
    if (section->line == 0) {
        section->line = key->start_mark.line + 1;
        section->column = key->start_mark.column + 1;
        section->place = section->line * (OPTIONS_FILE_MAX + 1) + section->column;
    }
    if (rest[0] != '\0') {
        walk_name(w, section, rest, key, value);
        return;
    }
    if (section->written_line > 0) {
        given_twice(w, section, key, "", "the section ", section->written_line);
        return;
    }
    section->written_line = key->start_mark.line + 1;
    if (value->type == YAML_MAPPING_NODE) {
        walk_mapping(w, section, value, "", 0);
    } else if (!is_null(value)) { /* nothing but comments: all default */
        node_problem(w, section, value, "", "is a section, not a setting");
    }
}

static unsigned parts(const char *name)
{
    unsigned count = 1;
    for (const char *c = name; *c != '\0'; c++) {
        count += *c == '.';
    }
    return count;
}

static void walk_name(struct walk *w, struct scope *scope, const char *name, const yaml_node_t *key,
                      const yaml_node_t *value)
{
    char section[OPTIONS_NAME_MAX + 1];
    const char *rest = "";
    size_t row = scope_row(scope, name), group = scope_group(scope, name);
    size_t map = sections_split(scope->table, name, section, &rest);
    if (row < scope->rows && scope->table[row].type == OPTION_SECTIONS) {
        walk_sections(w, scope, row, key, value);
    } else if (row < scope->rows) {
        set_row(w, scope, row, key, value);
    } else if (map < scope->rows) {
        walk_named(w, scope, map, section, rest, key, value);
    } else if (group < scope->rows && parts(name) <= OPTIONS_DEPTH_MAX) {
        walk_group(w, scope, group, name, key, value, parts(name));
    } else {
        report_unknown(w, scope, key, name);
    }
}

static void walk_pair(struct walk *w, struct scope *scope, const yaml_node_t *key, const yaml_node_t *value,
                      const char *prefix)
{
    if (key->type != YAML_SCALAR_NODE) {
        node_problem(w, scope, key, prefix, "a setting's name is one word");
        return;
    }
    char name[OPTIONS_NAME_MAX + 1] = "";
    BUFFER(joined, OPTIONS_NAME_MAX + 4);
    buffer_printf(&joined, "%s%s", prefix, prefix[0] ? "." : "");
    buffer_put_shown(&joined, scalar_of(key), OPTIONS_NAME_MAX / 2);
    if (joined.ptr != NULL) {
        memcpy(name, joined.ptr, joined.len < OPTIONS_NAME_MAX ? joined.len : OPTIONS_NAME_MAX);
    }
    walk_name(w, scope, name, key, value);
}

static void walk_mapping(struct walk *w, struct scope *scope, const yaml_node_t *mapping, const char *prefix,
                         unsigned depth)
{
    if (depth > OPTIONS_DEPTH_MAX) {
        return; /* the first pass has refused it */
    }
    yaml_node_pair_t *end = mapping->data.mapping.pairs.top;
    for (yaml_node_pair_t *pair = mapping->data.mapping.pairs.start; pair < end; pair++) {
        const yaml_node_t *key = yaml_document_get_node(w->document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(w->document, pair->value);
        if (w->r->problem_count > OPTIONS_PROBLEMS_MAX) {
            return;
        }
        if (key != NULL && value != NULL) {
            walk_pair(w, scope, key, value, prefix);
        }
    }
}

void reading_document(struct reading *r)
{
    if (r->text.len == 0) {
        return;
    }
    first_pass(r);
    if (r->broken) {
        return;
    }
    CLEANUP(yaml_parser_delete) yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        reading_problem(r, ERR_NOMEM, NULL, 0, 0, "out of memory");
        return;
    }
    start_parser(r, &parser);
    CLEANUP(yaml_document_delete) yaml_document_t document;
    if (!yaml_parser_load(&parser, &document)) {
        memset(&document, 0, sizeof(document));
        report_yaml(r, &parser);
        return;
    }
    struct walk walk = {.r = r, .document = &document};
    const yaml_node_t *root = yaml_document_get_root_node(&document);
    if (root != NULL && root->type == YAML_MAPPING_NODE) {
        walk_mapping(&walk, &r->top, root, "", 0);
    } else if (root != NULL && !is_null(root)) {
        node_problem(&walk, &r->top, root, "", "a configuration is a mapping of names to values, as in  site: plant-a");
    }
}
