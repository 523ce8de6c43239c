/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tolerant: what is no YAML, too large, nested otherwise or no identity is passed over. A key may be nested or dotted, as
 * everywhere in a configuration.
 */
#include "core/options/peek.h"

#include <stdio.h>
#include <sys/stat.h>
#include <yaml.h>

#include "core/options/options_internal.h"

enum { SECTIONS_MAX = 1024 };

struct found {
    char section[ID_MAX + 1];
    char *value; /* owned; NULL = not there */
    bool from_set;
    size_t line, column;
};
struct look {
    const struct options_peek *peek;
    yaml_document_t *document;
    struct found *items; /* owned */
    size_t count;
    enum err err;
};

static void look_deinit(struct look *l)
{
    for (size_t i = 0; i < l->count; i++) {
        free(l->items[i].value);
    }
    free(l->items);
}

static struct found *section_named(struct look *l, struct slice name)
{
    for (size_t i = 0; i < l->count; i++) {
        if (slice_equal(slice_str(l->items[i].section), name)) {
            return &l->items[i];
        }
    }
    if (!id_valid(name) || l->count == min_u64(l->peek->max, SECTIONS_MAX)) {
        return NULL;
    }
    struct found *f = &l->items[l->count++];
    memset(f, 0, sizeof(*f));
    memcpy(f->section, name.ptr, name.len);
    return f;
}

static void set_value(struct look *l, struct found *f, struct slice value, bool from_set)
{
    if (f == NULL || (f->from_set && !from_set)) {
        return; /* the command line wins */
    }
    free(f->value);
    f->value = strndup((const char *)value.ptr, value.len);
    f->from_set = from_set;
    if (f->value == NULL) {
        l->err = ERR_NOMEM;
    }
}

static bool is_key(const struct look *l, struct slice name)
{
    return slice_equal(name, slice_str(l->peek->key));
}

/* "a.b" -> "a", rest "b"; without a dot the rest is empty. */
static struct slice split(struct slice name, struct slice *ret_rest)
{
    const uint8_t *dot = memchr(name.ptr, '.', name.len);
    size_t len = dot ? (size_t)(dot - name.ptr) : name.len;
    *ret_rest = dot ? slice_of(dot + 1, name.len - len - 1) : slice_of(name.ptr + name.len, 0);
    return slice_of(name.ptr, len);
}

/* ---- the file ---- */
static struct slice text_of(const yaml_node_t *node)
{
    return node != NULL && node->type == YAML_SCALAR_NODE ? slice_of(node->data.scalar.value, node->data.scalar.length)
                                                          : slice_of("", 0);
}

/* f NULL: one section too many, or no identity. */
static void take_node(struct look *l, struct found *f, const yaml_node_t *value)
{
    struct slice text = text_of(value);
    if (f != NULL && f->value == NULL && value != NULL && value->type == YAML_SCALAR_NODE) {
        set_value(l, f, text, false);
        f->line = value->start_mark.line + 1;
        f->column = value->start_mark.column + 1;
    }
}

static void each_pair(struct look *l, const yaml_node_t *node, void *arg,
                      void (*fn)(struct look *l, void *arg, struct slice key, const yaml_node_t *at,
                                 const yaml_node_t *value))
{
    if (node == NULL || node->type != YAML_MAPPING_NODE) {
        return;
    }
    const yaml_node_pair_t *end = node->data.mapping.pairs.top;
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < end; pair++) {
        const yaml_node_t *key = yaml_document_get_node(l->document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(l->document, pair->value);
        if (key != NULL && key->type == YAML_SCALAR_NODE && value != NULL) {
            fn(l, arg, text_of(key), key, value);
        }
    }
}

static void in_section(struct look *l, void *arg, struct slice key, const yaml_node_t *at, const yaml_node_t *value)
{
    (void)at;
    if (is_key(l, key)) {
        take_node(l, arg, value);
    }
}

/* "pg", or "pg.type". */
static void in_map(struct look *l, void *arg, struct slice key, const yaml_node_t *at, const yaml_node_t *value)
{
    struct slice rest, name = split(key, &rest);
    struct found *f = section_named(l, name);
    (void)arg;
    if (f == NULL) {
        return;
    }
    if (f->line == 0) {
        f->line = at->start_mark.line + 1;
        f->column = at->start_mark.column + 1;
    }
    if (rest.len == 0) {
        each_pair(l, value, f, in_section);
    } else if (is_key(l, rest)) {
        take_node(l, f, value);
    }
}

static void at_top(struct look *l, void *arg, struct slice key, const yaml_node_t *at, const yaml_node_t *value)
{
    struct slice rest, name = split(key, &rest);
    if (!slice_equal(name, slice_str(l->peek->map))) {
        return;
    }
    if (rest.len == 0) {
        each_pair(l, value, NULL, in_map);
    } else {
        in_map(l, arg, rest, at, value);
    }
}

static void look_at_file(struct look *l, const char *path)
{
    FILE *in = fopen(path, "re");
    BUFFER(text, OPTIONS_FILE_MAX);
    if (in == NULL) {
        return;
    }
    struct stat st;
    if (fstat(fileno(in), &st) != 0 || !S_ISREG(st.st_mode)) {
        fclose(in); /* what can be read only once is left for options_main */
        return;
    }
    char part[4096];
    for (size_t n; (n = fread(part, 1, sizeof(part), in)) > 0;) {
        buffer_put(&text, part, n);
    }
    fclose(in);
    yaml_parser_t parser;
    yaml_document_t document;
    if (buffer_err(&text) != OK || text.len == 0 || !yaml_parser_initialize(&parser)) {
        return;
    }
    yaml_parser_set_input_string(&parser, text.ptr, text.len);
    if (yaml_parser_load(&parser, &document)) {
        l->document = &document;
        each_pair(l, yaml_document_get_root_node(&document), NULL, at_top);
        yaml_document_delete(&document);
    }
    yaml_parser_delete(&parser);
}

/* ---- the command line ---- */
/* "sinks.pg.type=postgres"; typed: '-' may stand for '_' in what is not the section's name. */
static void look_at_set(struct look *l, struct slice set, struct slice value)
{
    struct slice rest, key, map = split(set, &rest);
    struct slice section = split(rest, &key);
    if (!slice_equal(map, slice_str(l->peek->map)) || rest.len == 0) {
        return;
    }
    struct found *f = section_named(l, section);
    if (f != NULL && is_key(l, key)) {
        set_value(l, f, value, true);
    }
}

static void look_at_pair(struct look *l, const char *text)
{
    const char *equals = strchr(text, '=');
    if (equals != NULL) {
        look_at_set(l, slice_of(text, (size_t)(equals - text)), slice_str(equals + 1));
    }
}

static bool is_bool(const struct options_program *program, const char *typed)
{
    for (const struct option *row = program->table; row->name != NULL; row++) {
        size_t i = 0;
        while (row->name[i] != '\0' && (row->name[i] == typed[i] || (row->name[i] == '_' && typed[i] == '-'))) {
            i++;
        }
        if (row->name[i] == '\0' && typed[i] == '\0') {
            return row->type == OPTION_BOOL;
        }
    }
    return false;
}

static bool takes_no_value(const struct options_program *program, const char *arg)
{
    static const char *const flags[] = {"--check", "--dump-config", "--sample-config", "--help", "-h", "--version"};
    for (size_t i = 0; i < COUNT_OF(flags); i++) {
        if (strcmp(arg, flags[i]) == 0) {
            return true;
        }
    }
    return strncmp(arg, "--", 2) != 0 || strchr(arg, '=') != NULL || is_bool(program, arg + 2);
}

/* Walks the arguments as options_main does; l NULL: only for the file. */
static const char *walk(const struct options_program *program, int argc, char **argv, struct look *l)
{
    const char *path = NULL;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i], *next = i + 1 < argc ? argv[i + 1] : NULL;
        bool alone = takes_no_value(program, arg);
        if (strncmp(arg, "--config=", 9) == 0) {
            path = arg + 9;
        } else if (strcmp(arg, "--config") == 0) {
            path = next;
        } else if (l != NULL && strncmp(arg, "--set=", 6) == 0) {
            look_at_pair(l, arg + 6);
        } else if (l != NULL && strcmp(arg, "--set") == 0 && next != NULL) {
            look_at_pair(l, next);
        } else if (l != NULL && strncmp(arg, "--", 2) == 0 && strchr(arg, '=') != NULL) {
            look_at_pair(l, arg + 2);
        } else if (l != NULL && strncmp(arg, "--", 2) == 0 && !alone && next != NULL) {
            look_at_set(l, slice_str(arg + 2), slice_str(next));
        } else if (arg[0] != '-' && path == NULL) {
            path = arg;
        }
        i += alone ? 0 : 1;
    }
    return path;
}

const char *options_peek_path(const struct options_program *program, int argc, char **argv)
{
    return walk(program, argc, argv, NULL);
}

static enum err tell(const struct look *l)
{
    for (size_t i = 0; l->err == OK && i < l->count; i++) {
        const struct found *f = &l->items[i];
        l->peek->found(l->peek->arg, f->section, f->value, f->line, f->column);
    }
    return l->err;
}

static enum err look_init(struct look *l, const struct options_peek *peek)
{
    *l = (struct look){.peek = peek, .items = calloc(SECTIONS_MAX, sizeof(*l->items))};
    return l->items != NULL ? OK : ERR_NOMEM;
}

enum err options_peek_main(const struct options_program *program, int argc, char **argv, const struct options_peek *peek)
{
    CLEANUP(look_deinit) struct look look = {.items = NULL};
    const char *path = options_peek_path(program, argc, argv);
    TRY(look_init(&look, peek));
    if (path != NULL) {
        look_at_file(&look, path);
    }
    (void)walk(program, argc, argv, &look);
    return tell(&look);
}

enum err options_peek_load(const char *path, const char *const *sets, size_t set_count, const struct options_peek *peek)
{
    CLEANUP(look_deinit) struct look look = {.items = NULL};
    TRY(look_init(&look, peek));
    if (path != NULL) {
        look_at_file(&look, path);
    }
    for (size_t i = 0; i < set_count; i++) {
        look_at_pair(&look, sets[i]);
    }
    return tell(&look);
}
