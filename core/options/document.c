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
    case YAML_SCALAR_EVENT: refuse_decoration(r, event, event->data.scalar.anchor, event->data.scalar.tag); break;
    case YAML_SEQUENCE_START_EVENT:
        refuse_decoration(r, event, event->data.sequence_start.anchor, event->data.sequence_start.tag);
        ++*depth;
        break;
    case YAML_MAPPING_START_EVENT:
        refuse_decoration(r, event, event->data.mapping_start.anchor, event->data.mapping_start.tag);
        ++*depth;
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: --*depth; break;
    case YAML_DOCUMENT_START_EVENT:
        if (++*documents == 2) {
            refuse(r, event, "a second document begins; a configuration is one document");
            return false;
        }
        break;
    case YAML_DOCUMENT_END_EVENT:
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT: break;
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
static void node_problem(struct walk *w, const yaml_node_t *node, const char *name, const char *text)
{
    reading_problem(w->r, ERR_RANGE, NULL, node->start_mark.line + 1, node->start_mark.column + 1, "%s%s%s", name,
                    name[0] ? ": " : "", text);
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
static bool list_items(struct walk *w, const struct option *row, const yaml_node_t *node, struct slice *items,
                       size_t *ret_count)
{
    size_t count = 0;
    for (yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
        const yaml_node_t *child = yaml_document_get_node(w->document, *item);
        if (child == NULL || child->type != YAML_SCALAR_NODE || is_null(child)) {
            node_problem(w, child ? child : node, row->name, "an item of a list is one text");
            return false;
        }
        if (count == ITEMS_MAX) {
            node_problem(w, child, row->name, "has more than 1024 items");
            return false;
        }
        items[count++] = scalar_of(child);
    }
    *ret_count = count;
    return true;
}

static void set_row(struct walk *w, size_t index, const yaml_node_t *key, const yaml_node_t *value)
{
    struct reading *r = w->r;
    const struct option *row = &r->program->table[index];
    struct origin *origin = &r->origins[index];
    if (origin->line > 0) {
        char text[80];
        snprintf(text, sizeof(text), "is given twice; first on line %zu", origin->line);
        node_problem(w, key, row->name, text);
        return;
    }
    origin->line = value->start_mark.line + 1;
    origin->column = value->start_mark.column + 1;
    if (origin->kind == ORIGIN_SET) {
        return; /* the command line stands over the file, also over a bad value in it */
    }
    origin->kind = ORIGIN_FILE;
    if (value->type == YAML_MAPPING_NODE) {
        node_problem(w, value, row->name, "is a setting, not a section");
        return;
    }
    if (is_null(value)) {
        node_problem(w, key, row->name,
                     option_is_text(row) ? "has no value; write \"\" to leave it empty" : "has no value");
        return;
    }
    struct slice items[ITEMS_MAX];
    struct option_text text = {.items = NULL};
    if (value->type == YAML_SEQUENCE_NODE) {
        text.items = items;
        if (row->type == OPTION_LIST && !list_items(w, row, value, items, &text.count)) {
            return;
        }
    } else {
        text.scalar = scalar_of(value);
    }
    struct fault why = {.code = OK};
    enum err err = option_parse(row, &text, r->folder, r->settings, &why);
    if (err != OK) {
        reading_problem(r, err, NULL, origin->line, origin->column, "%s: %s", row->name,
                        err == ERR_NOMEM ? "out of memory" : why.text);
    }
}

static void report_unknown(struct walk *w, const yaml_node_t *key, const char *name)
{
    struct reading *r = w->r;
    char hint[OPTIONS_NAME_MAX + 40], text[2 * OPTIONS_NAME_MAX + 80];
    reading_suggest(r, name, hint, sizeof(hint));
    struct options_nearest section = {.word = name};
    char found[OPTIONS_NAME_MAX + 1] = "";
    for (size_t i = 0; hint[0] == '\0' && i < r->rows; i++) {
        char part[OPTIONS_NAME_MAX + 1];
        const char *dot = strrchr(r->program->table[i].name, '.');
        if (dot != NULL) {
            snprintf(part, sizeof(part), "%.*s", (int)(dot - r->program->table[i].name), r->program->table[i].name);
            const char *before = section.best;
            options_nearest_offer(&section, part);
            if (section.best != before) {
                snprintf(found, sizeof(found), "%s", part);
                section.best = found;
            }
        }
    }
    if (found[0] != '\0') {
        snprintf(hint, sizeof(hint), "; did you mean the section %s?", found);
    }
    snprintf(text, sizeof(text), "unknown setting%s", hint);
    node_problem(w, key, name, text);
}

static void walk_mapping(struct walk *w, const yaml_node_t *mapping, const char *prefix, unsigned depth);

/* A section's content; depth is the number of its name's parts. */
static void walk_section(struct walk *w, size_t first_row, const char *name, const yaml_node_t *key,
                         const yaml_node_t *value, unsigned depth)
{
    size_t *seen = &w->r->section_line[first_row][depth];
    if (*seen > 0) {
        char text[80];
        snprintf(text, sizeof(text), "the section is given twice; first on line %zu", *seen);
        node_problem(w, key, name, text);
        return;
    }
    *seen = key->start_mark.line + 1;
    if (value->type == YAML_MAPPING_NODE) {
        walk_mapping(w, value, name, depth);
    } else if (!is_null(value)) { /* a section whose lines are all comments is null */
        node_problem(w, value, name, "is a section, not a setting");
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

static void walk_pair(struct walk *w, const yaml_node_t *key, const yaml_node_t *value, const char *prefix)
{
    if (key->type != YAML_SCALAR_NODE) {
        node_problem(w, key, prefix, "a setting's name is one word");
        return;
    }
    char name[OPTIONS_NAME_MAX + 1] = "";
    BUFFER(joined, OPTIONS_NAME_MAX + 4);
    buffer_printf(&joined, "%s%s", prefix, prefix[0] ? "." : "");
    buffer_put_shown(&joined, scalar_of(key), OPTIONS_NAME_MAX / 2);
    if (joined.ptr != NULL) {
        memcpy(name, joined.ptr, joined.len < OPTIONS_NAME_MAX ? joined.len : OPTIONS_NAME_MAX);
    }
    struct reading *r = w->r;
    size_t row = reading_row(r, name), section = reading_section(r, name);
    if (row < r->rows) {
        set_row(w, row, key, value);
    } else if (section < r->rows && parts(name) <= OPTIONS_DEPTH_MAX) {
        walk_section(w, section, name, key, value, parts(name));
    } else {
        report_unknown(w, key, name);
    }
}

static void walk_mapping(struct walk *w, const yaml_node_t *mapping, const char *prefix, unsigned depth)
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
            walk_pair(w, key, value, prefix);
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
        walk_mapping(&walk, root, "", 0);
    } else if (root != NULL && !is_null(root)) {
        node_problem(&walk, root, "", "a configuration is a mapping of names to values, as in  site: plant-a");
    }
}
