/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sections - named sections: a map of free names to maps that are read with a table of their own.
 *
 * While a configuration is read, each section is a scope like the program's own; room for all there may be is taken
 * with the first, so that a scope and its settings stay where they are until the order is put right at the end.
 */
#include <assert.h>
#include <stdio.h>

#include "core/options/options_internal.h"

/* ---- scopes ---- */
enum err scope_init(struct scope *scope, const struct option *table, void *settings)
{
    *scope = (struct scope){.table = table, .settings = settings, .place = SIZE_MAX};
    while (table[scope->rows].name != NULL) {
        scope->rows++;
    }
    scope->origins = calloc(scope->rows + 1, sizeof(*scope->origins));
    scope->group_line = calloc(scope->rows + 1, sizeof(*scope->group_line));
    scope->sections = calloc(scope->rows + 1, sizeof(*scope->sections));
    return scope->origins && scope->group_line && scope->sections ? OK : ERR_NOMEM;
}

static void section_scope_deinit(struct scope *scope)
{
    free(scope->origins);
    free(scope->group_line);
    free(scope->sections);
}

void scope_deinit(struct scope *scope)
{
    for (size_t row = 0; scope->sections != NULL && row < scope->rows; row++) {
        struct scopes *sections = &scope->sections[row];
        for (size_t i = 0; i < sections->count; i++) {
            section_scope_deinit(&sections->items[i]);
        }
        free(sections->items);
    }
    section_scope_deinit(scope);
}

/* ---- names ---- */
size_t sections_split(const struct option *table, const char *name, char ret_section[OPTIONS_NAME_MAX + 1],
                      const char **ret_rest)
{
    size_t row = 0;
    for (; table[row].name != NULL; row++) {
        size_t len = strlen(table[row].name);
        if (table[row].type != OPTION_SECTIONS || strncmp(table[row].name, name, len) != 0 || name[len] != '.') {
            continue;
        }
        const char *section = name + len + 1;
        size_t section_len = strcspn(section, ".");
        snprintf(ret_section, OPTIONS_NAME_MAX + 1, "%.*s", (int)min_u64(section_len, OPTIONS_NAME_MAX), section);
        *ret_rest = section + section_len + (section[section_len] == '.');
        break;
    }
    return row;
}

size_t sections_bound(const struct option *row)
{
    double max;
    size_t bound = option_has_max(row, &max) && max > 0 ? (size_t)max : OPTIONS_SECTIONS_PRESET;
    assert(bound <= OPTIONS_SECTIONS_MAX);
    return bound;
}

struct scope *sections_find(const struct scope *scope, size_t row, const char *name)
{
    const struct option_sections *sections = option_field(&scope->table[row], scope->settings);
    for (size_t i = 0; i < scope->sections[row].count; i++) {
        if (strcmp(sections->names[i], name) == 0) {
            return &scope->sections[row].items[i];
        }
    }
    return NULL;
}

/* ---- making one ---- */
static enum err take_room(struct scope *scope, size_t index)
{
    const struct option *row = &scope->table[index];
    struct option_sections *sections = option_field(row, scope->settings);
    if (scope->sections[index].items != NULL) {
        return OK;
    }
    size_t bound = sections_bound(row);
    assert(row->section_size > 0 && sections->count == 0);
    for (const struct option *inner = row->sections; inner->name != NULL; inner++) {
        assert(inner->type != OPTION_SECTIONS);
    }
    sections->names = sections->names ? sections->names : calloc(bound, sizeof(*sections->names));
    sections->items = sections->items ? sections->items : calloc(bound, row->section_size);
    scope->sections[index].items = calloc(bound, sizeof(struct scope));
    return sections->names && sections->items && scope->sections[index].items ? OK : ERR_NOMEM;
}

enum err sections_open(struct scope *scope, size_t row, const char *name, struct scope **ret_section, struct fault *why)
{
    const struct option *option = &scope->table[row];
    struct option_sections *sections = option_field(option, scope->settings);
    struct scopes *scopes = &scope->sections[row];
    struct scope *there = sections_find(scope, row, name);
    if (there != NULL) {
        *ret_section = there;
        return OK;
    }
    if (!id_valid(slice_str(name))) {
        return fault_set(why, ERR_RANGE, "\"%.80s\" is not an identity: 1..%d of A-Z a-z 0-9 _ -", name, ID_MAX);
    }
    if (scopes->count == sections_bound(option)) {
        return fault_set(why, ERR_RANGE, "%s.%s is one too many; there may be %zu", option->name, name, scopes->count);
    }
    TRY(take_room(scope, row));
    struct scope *made = &scopes->items[scopes->count];
    enum err err = scope_init(made, option->sections, sections_item(option, sections, sections->count));
    char *copy = strdup(name);
    if (err != OK || copy == NULL) {
        section_scope_deinit(made);
        free(copy);
        return ERR_NOMEM;
    }
    snprintf(made->prefix, sizeof(made->prefix), "%s.%s.", option->name, name);
    sections->names[sections->count++] = copy;
    scopes->count++;
    *ret_section = made;
    return OK;
}

static void swap_bytes(void *a, void *b, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        char keep = ((char *)a)[i];
        ((char *)a)[i] = ((char *)b)[i];
        ((char *)b)[i] = keep;
    }
}

/* Insertion sort: stable, and there are few. */
void sections_arrange(struct scope *scope, size_t row)
{
    const struct option *option = &scope->table[row];
    struct option_sections *sections = option_field(option, scope->settings);
    struct scopes *scopes = &scope->sections[row];
    for (size_t i = 1; i < scopes->count; i++) {
        for (size_t j = i; j > 0 && scopes->items[j].place < scopes->items[j - 1].place; j--) {
            swap_bytes(&scopes->items[j], &scopes->items[j - 1], sizeof(struct scope));
            swap_bytes(&sections->names[j], &sections->names[j - 1], sizeof(char *));
            swap_bytes(sections_item(option, sections, j), sections_item(option, sections, j - 1),
                       option->section_size);
        }
    }
    for (size_t i = 0; i < scopes->count; i++) {
        scopes->items[i].settings = sections_item(option, sections, i);
    }
}

/* ---- what every type has ---- */
void sections_clear(const struct option *row, struct option_sections *sections)
{
    for (size_t i = 0; i < sections->count; i++) {
        for (const struct option *inner = row->sections; inner->name != NULL; inner++) {
            option_clear(inner, sections_item(row, sections, i));
        }
        free(sections->names[i]);
    }
    free(sections->names);
    free(sections->items);
    *sections = (struct option_sections){.count = 0};
}

static bool same_names(const struct option_sections *a, const struct option_sections *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) {
        same = strcmp(a->names[i], b->names[i]) == 0;
    }
    return same;
}

bool sections_equal(const struct option *row, const struct option_sections *a, const struct option_sections *b)
{
    bool equal = same_names(a, b);
    for (size_t i = 0; equal && i < a->count; i++) {
        for (const struct option *inner = row->sections; equal && inner->name != NULL; inner++) {
            equal = option_equal(inner, sections_item(row, a, i), sections_item(row, b, i));
        }
    }
    return equal;
}

void sections_write(const struct option *row, const struct option_sections *sections, struct buffer *out)
{
    buffer_put_u8(out, '{');
    for (size_t i = 0; i < sections->count; i++) {
        buffer_put_str(out, i > 0 ? ", " : "");
        option_write_text(sections->names[i], out);
        buffer_put_str(out, ": {");
        const char *comma = "";
        for (const struct option *inner = row->sections; inner->name != NULL; inner++) {
            BUFFER(value, 1 << 20);
            if (option_write(inner, sections_item(row, sections, i), &value)) {
                buffer_printf(out, "%s%s: ", comma, inner->name);
                buffer_put_slice(out, buffer_slice(&value));
                comma = ", ";
            }
        }
        buffer_put_u8(out, '}');
    }
    buffer_put_u8(out, '}');
}

static void write_names(const struct option_sections *sections, struct buffer *out)
{
    for (size_t i = 0; i < sections->count; i++) {
        buffer_printf(out, "%s%s", i > 0 ? ", " : "", sections->names[i]);
    }
    buffer_put_str(out, sections->count > 0 ? "" : "none");
}

static size_t name_index(const struct option_sections *sections, const char *name)
{
    size_t index = 0;
    while (index < sections->count && strcmp(sections->names[index], name) != 0) {
        index++;
    }
    return index;
}

void sections_apply_live(const struct option *row, void *to, void *from, struct buffer *report)
{
    struct option_sections *now = option_field(row, to), *next = option_field(row, from);
    char prefix[OPTIONS_PREFIX_MAX];
    if (same_names(now, next)) {
        for (size_t i = 0; i < now->count; i++) {
            snprintf(prefix, sizeof(prefix), "%s.%s.", row->name, now->names[i]);
            for (const struct option *inner = row->sections; inner->name != NULL; inner++) {
                struct option one = *inner;
                one.live = inner->live || row->live;
                option_apply(&one, prefix, sections_item(row, now, i), sections_item(row, next, i), report);
            }
        }
        return;
    }
    buffer_printf(report, "%s %s: ", row->live ? "changed" : "needs a restart:", row->name);
    write_names(now, report);
    buffer_put_str(report, " -> ");
    write_names(next, report);
    buffer_put_u8(report, '\n');
    if (!row->live) {
        return;
    }
    for (size_t i = 0; i < now->count; i++) {
        size_t same = name_index(next, now->names[i]);
        snprintf(prefix, sizeof(prefix), "%s.%s.", row->name, now->names[i]);
        for (const struct option *inner = row->sections; same < next->count && inner->name != NULL; inner++) {
            option_report_change(inner, prefix, sections_item(row, now, i), sections_item(row, next, same), report);
        }
    }
    option_swap(row, to, from);
}
