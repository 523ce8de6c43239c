/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options - one reading of a configuration: sets, file, presets, required, cross-field check.
 *
 *   --set values -> file (document.c) where nothing was set -> presets where nothing is in force -> required -> check()
 *
 * Each step goes on after a problem, so that all are reported at once; only check() waits for fields that are all good.
 * Invariant: settings hold either a complete, checked configuration or nothing.
 */
#include "core/options/options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/options/options_internal.h"

enum { LINE_SHOWN = 120 };

/* ---- problems ---- */
static struct slice source_line(struct slice text, size_t line)
{
    size_t at = 0;
    for (size_t n = 1; n < line && at < text.len; at++) {
        bool cr_lf = text.ptr[at] == '\r' && at + 1 < text.len && text.ptr[at + 1] == '\n';
        n += (text.ptr[at] == '\n' || text.ptr[at] == '\r') && !cr_lf;
    }
    size_t end = at;
    while (end < text.len && text.ptr[end] != '\n' && text.ptr[end] != '\r') {
        end++;
    }
    return slice_of(text.ptr + at, end - at);
}

static size_t skip_characters(struct slice s, size_t count)
{
    size_t at = 0;
    for (; at < s.len && count > 0; count--) {
        at++;
        while (at < s.len && (s.ptr[at] & 0xc0) == 0x80) {
            at++;
        }
    }
    return at;
}

/* The line and a caret under the column; of a long line the part around the column. */
static void put_source(struct reading *r, size_t line, size_t column)
{
    struct slice s = source_line(r->text, line);
    size_t lead = column > LINE_SHOWN ? column - LINE_SHOWN / 2 : 0;
    size_t at = skip_characters(s, lead);
    s = slice_of(s.ptr + at, s.len - at);
    buffer_put_str(r->problems, "    ");
    buffer_put_shown(r->problems, s, LINE_SHOWN);
    buffer_printf(r->problems, "\n    %*s^\n", (int)(column - 1 - lead), "");
}

void reading_problem(struct reading *r, enum err code, const char *name, size_t line, size_t column, const char *fmt,
                     ...)
{
    if (r->err == OK || code == ERR_NOMEM) {
        r->err = code;
    }
    r->problem_count++;
    if (r->problem_count > OPTIONS_PROBLEMS_MAX) {
        return;
    }
    char text[600];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (line > 0) {
        buffer_printf(r->problems, "%s:%zu:%zu: %s\n", r->name, line, column, text);
        if (r->text.len > 0) {
            put_source(r, line, column);
        }
    } else {
        buffer_printf(r->problems, "%s: %s\n", name ? name : r->name, text);
    }
}

void scope_suggest(const struct scope *scope, const char *name, char *out, size_t size)
{
    struct options_nearest nearest = {.word = name};
    for (size_t i = 0; i < scope->rows; i++) {
        options_nearest_offer(&nearest, scope->table[i].name);
    }
    snprintf(out, size, "%s%s%s%s", nearest.best ? "; did you mean " : "", nearest.best ? scope->prefix : "",
             nearest.best ? nearest.best : "", nearest.best ? "?" : "");
}

/* ---- table ---- */
size_t scope_row(const struct scope *scope, const char *name)
{
    size_t row = 0;
    while (row < scope->rows && strcmp(scope->table[row].name, name) != 0) {
        row++;
    }
    return row;
}

size_t scope_group(const struct scope *scope, const char *name)
{
    size_t row = 0, len = strlen(name);
    while (row < scope->rows &&
           (strncmp(scope->table[row].name, name, len) != 0 || scope->table[row].name[len] != '.')) {
        row++;
    }
    return row;
}

/* ---- life ---- */
static enum err folder_of(const char *path, char **ret_folder)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    *ret_folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup("");
    return *ret_folder ? OK : ERR_NOMEM;
}

enum err reading_init(struct reading *r, const struct options_program *program, const char *name, void *settings,
                      struct buffer *problems)
{
    *r = (struct reading){.program = program, .name = name, .problems = problems};
    buffer_init(&r->file, OPTIONS_FILE_MAX + 1);
    TRY(scope_init(&r->top, program->table, settings));
    return folder_of(name, &r->folder);
}

void reading_deinit(struct reading *r)
{
    scope_deinit(&r->top);
    free(r->folder);
    buffer_deinit(&r->file);
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
}

static enum err read_all(int fd, struct buffer *out)
{
    for (;;) {
        uint8_t part[16384];
        ssize_t got = read(fd, part, sizeof(part));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return ERR_IO;
        }
        if (got == 0) {
            return buffer_err(out);
        }
        buffer_put(out, part, (size_t)got);
        TRY(buffer_err(out));
    }
}

enum err reading_file(struct reading *r)
{
    struct stat st;
    CLEANUP(close_fd) int fd = open(r->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0) {
        reading_problem(r, ERR_IO, NULL, 0, 0, "cannot read the configuration file: %s", strerror(errno));
        return ERR_IO;
    }
    if (!S_ISREG(st.st_mode)) {
        reading_problem(r, ERR_IO, NULL, 0, 0, "is not a file but %s",
                        S_ISDIR(st.st_mode) ? "a directory; name the YAML file in it" : "something else");
        return ERR_IO;
    }
    enum err err = read_all(fd, &r->file);
    if (err == ERR_NOMEM) {
        return err;
    }
    if (err == ERR_FULL || r->file.len > OPTIONS_FILE_MAX) {
        reading_problem(r, ERR_IO, NULL, 1, 1,
                        "the file is larger than 1MiB, which no configuration is: it has %lld bytes, and no line of it "
                        "was read", (long long)st.st_size);
        return ERR_IO;
    }
    r->text = buffer_slice(&r->file);
    if (err != OK) {
        reading_problem(r, ERR_IO, NULL, 0, 0, "cannot read the configuration file: %s", strerror(errno));
    }
    return err;
}

/* ---- the steps ---- */
/* Comma-separated, as --set and presets write a list; spaces around an item go. */
static size_t split_list(struct slice s, struct slice *items, size_t max)
{
    size_t count = 0;
    for (size_t at = 0; s.len > 0 && at <= s.len && count < max;) {
        const uint8_t *comma = at < s.len ? memchr(s.ptr + at, ',', s.len - at) : NULL;
        size_t end = comma ? (size_t)(comma - s.ptr) : s.len;
        size_t from = at, to = end;
        while (from < to && s.ptr[from] == ' ') {
            from++;
        }
        while (to > from && s.ptr[to - 1] == ' ') {
            to--;
        }
        items[count++] = slice_of(s.ptr + from, to - from);
        at = end + 1;
    }
    return count;
}

enum err scope_parse(struct scope *scope, size_t row, const char *value, const char *folder, struct fault *why)
{
    struct slice items[64];
    struct option_text text = {.scalar = slice_str(value)};
    if (scope->table[row].type == OPTION_LIST) {
        text.items = items;
        text.count = split_list(text.scalar, items, COUNT_OF(items));
    }
    return option_parse(&scope->table[row], &text, folder, scope->settings, why);
}

/* From "classes.pump.period" to the scope of the section, which is made, and the row in it; without sections the scope
 * is the program's. False when there is no such setting, and then the hint says what there is. */
static bool find_setting(struct reading *r, const char *name, struct scope **ret_scope, size_t *ret_row,
                         struct fault *hint)
{
    char section[OPTIONS_NAME_MAX + 1], text[OPTIONS_NAME_MAX + OPTIONS_PREFIX_MAX + 40];
    const char *rest = "";
    size_t map = sections_split(r->top.table, name, section, &rest);
    size_t row = scope_row(&r->top, name);
    if (row < r->top.rows && r->top.table[row].type == OPTION_SECTIONS) {
        fault_set(hint, ERR_RANGE, "is a map of sections; write --set %s.NAME.SETTING=value", name);
        return false;
    }
    if (map == r->top.rows) {
        *ret_scope = &r->top;
        *ret_row = row;
        scope_suggest(&r->top, name, text, sizeof(text));
        fault_set(hint, ERR_RANGE, "unknown setting%s", text);
        return row < r->top.rows;
    }
    struct scope inner = {.table = r->top.table[map].sections};
    snprintf(inner.prefix, sizeof(inner.prefix), "%s.%.*s.", r->top.table[map].name, ID_MAX, section);
    while (inner.table[inner.rows].name != NULL) {
        inner.rows++;
    }
    *ret_row = scope_row(&inner, rest);
    if (*ret_row == inner.rows) {
        scope_suggest(&inner, rest, text, sizeof(text));
        fault_set(hint, ERR_RANGE, rest[0] ? "unknown setting%s" : "names a section; a setting of it must follow%s",
                  rest[0] ? text : "");
        return false;
    }
    enum err err = sections_open(&r->top, map, section, ret_scope, hint);
    if (err == ERR_NOMEM) {
        fault_set(hint, err, "out of memory");
    }
    return err == OK;
}

static void apply_set(struct reading *r, const char *set)
{
    char name[OPTIONS_NAME_MAX + 1], place[OPTIONS_NAME_MAX + 20];
    const char *equals = strchr(set, '=');
    size_t len = equals ? (size_t)(equals - set) : strlen(set);
    snprintf(name, sizeof(name), "%.*s", (int)(len < OPTIONS_NAME_MAX ? len : OPTIONS_NAME_MAX), set);
    snprintf(place, sizeof(place), "--set %s", name);
    if (equals == NULL) {
        reading_problem(r, ERR_MALFORMED, place, 0, 0, "has no value; write --set name=value");
        return;
    }
    struct fault why = {.code = OK};
    struct scope *scope;
    size_t row;
    if (!find_setting(r, name, &scope, &row, &why)) {
        reading_problem(r, why.code, place, 0, 0, "%s", why.text);
        return;
    }
    /* A path on the command line is meant from where the person stands. */
    enum err err = scope_parse(scope, row, equals + 1, "", &why);
    if (err != OK) {
        reading_problem(r, err, place, 0, 0, "%s", err == ERR_NOMEM ? "out of memory" : why.text);
        scope->spoilt = true;
    }
    scope->origins[row].kind = ORIGIN_SET;
}

static void apply_preset(struct reading *r, struct scope *scope, size_t index)
{
    const struct option *row = &scope->table[index];
    if (scope->origins[index].kind != ORIGIN_NONE || row->preset == NULL) {
        return;
    }
    struct fault why = {.code = OK};
    enum err err = scope_parse(scope, index, row->preset, r->folder, &why);
    if (err != OK) {
        reading_problem(r, err, NULL, 0, 0, "%s%s (default): %s", scope->prefix, row->name,
                        err == ERR_NOMEM ? "out of memory" : why.text);
    }
    scope->origins[index].kind = ORIGIN_PRESET;
}

/* Reported at the innermost group that is there, or where the file names the section. */
static void report_missing(struct reading *r, struct scope *scope, const struct option *row)
{
    size_t line = 0;
    char group[OPTIONS_NAME_MAX + 1];
    snprintf(group, sizeof(group), "%s", row->name);
    for (char *dot; line == 0 && (dot = strrchr(group, '.')) != NULL;) {
        *dot = '\0';
        size_t depth = 1;
        for (const char *c = group; *c != '\0'; c++) {
            depth += *c == '.';
        }
        line = scope->group_line[scope_group(scope, group)][depth];
    }
    size_t column = 1;
    if (line == 0) {
        line = scope->line;
        column = scope->column;
    }
    struct slice source = source_line(r->text, line);
    while (line > 0 && column <= source.len && source.ptr[column - 1] == ' ') {
        column++;
    }
    scope->spoilt = true;
    reading_problem(r, ERR_RANGE, NULL, line, column, "%s%s is missing: %s", scope->prefix, row->name, row->help);
}

static void finish_scope(struct reading *r, struct scope *scope);

/* Sections that are there by default, each with its defaults, in order; and how many there are. */
static void finish_sections(struct reading *r, struct scope *scope, size_t index)
{
    const struct option *row = &scope->table[index];
    struct origin *origin = &scope->origins[index];
    struct slice names[OPTIONS_SECTIONS_PRESET];
    bool preset = origin->kind != ORIGIN_FILE && row->preset != NULL;
    size_t count = preset ? split_list(slice_str(row->preset), names, COUNT_OF(names)) : 0;
    for (size_t i = 0; i < count; i++) {
        char name[ID_MAX + 1];
        struct fault why = {.code = OK};
        struct scope *made;
        snprintf(name, sizeof(name), "%.*s", (int)min_u64(names[i].len, ID_MAX), (const char *)names[i].ptr);
        enum err err = sections_open(scope, index, name, &made, &why);
        if (err != OK) {
            reading_problem(r, err, NULL, 0, 0, "%s (default): %s", row->name,
                            err == ERR_NOMEM ? "out of memory" : why.text);
            return;
        }
        made->place = i;
        origin->kind = ORIGIN_PRESET;
    }
    sections_arrange(scope, index);
    struct scopes *sections = &scope->sections[index];
    for (size_t i = 0; i < sections->count; i++) {
        finish_scope(r, &sections->items[i]);
    }
    double min;
    if (!r->broken && option_has_min(row, &min) && (double)sections->count < min) {
        BUFFER(range, 200);
        option_write_range(row, &range);
        reading_problem(r, ERR_RANGE, NULL, origin->line, origin->column, "%s%s: there are %zu, which is outside %.*s",
                        scope->prefix, row->name, sections->count, (int)range.len, (const char *)range.ptr);
    }
}

static void finish_scope(struct reading *r, struct scope *scope)
{
    for (size_t i = 0; i < scope->rows; i++) {
        const struct option *row = &scope->table[i];
        if (row->type == OPTION_SECTIONS) {
            finish_sections(r, scope, i);
        } else {
            apply_preset(r, scope, i);
        }
        bool there = scope->origins[i].kind != ORIGIN_NONE || scope->origins[i].line > 0 ||
                     scope->sections[i].count > 0;
        if (!r->broken && row->required && !there) {
            report_missing(r, scope, row);
        }
    }
}

/* Where the file has the setting or the section of that full name. True when what the check says about it may well be a
 * consequence of what was told already. */
static bool find_place(const struct reading *r, const char *name, size_t *ret_line, size_t *ret_column)
{
    char section[OPTIONS_NAME_MAX + 1];
    const char *rest = name;
    size_t map = sections_split(r->top.table, name, section, &rest);
    const struct scope *scope = map < r->top.rows ? sections_find(&r->top, map, section) : &r->top;
    *ret_line = *ret_column = 0;
    if (scope == NULL) {
        return false;
    }
    const struct origin *origin = &scope->origins[scope_row(scope, rest)];
    bool named = rest[0] != '\0' && origin->kind == ORIGIN_FILE;
    *ret_line = named ? origin->line : scope->line;
    *ret_column = named ? origin->column : scope->column;
    return scope->spoilt || (named && origin->refused);
}

/* A sentence of the program's check belongs to the setting that it begins with. */
static void report_check(struct reading *r, struct slice line)
{
    char word[OPTIONS_NAME_MAX + 1] = "";
    size_t len = 0;
    while (len < line.len && len < OPTIONS_NAME_MAX && strchr(" :,", line.ptr[len]) == NULL) {
        word[len] = (char)line.ptr[len];
        len++;
    }
    size_t at_line, at_column;
    if (find_place(r, word, &at_line, &at_column)) {
        return;
    }
    reading_problem(r, ERR_RANGE, NULL, at_line, at_column, "%.*s", (int)line.len, (const char *)line.ptr);
}

static void ask_program(struct reading *r, enum err (*check)(const void *settings, struct buffer *problems))
{
    BUFFER(found, 64 * 1024);
    enum err err = check(r->top.settings, &found);
    if (err == OK) {
        return;
    }
    struct slice rest = buffer_slice(&found);
    while (rest.len > 0) {
        const uint8_t *end = memchr(rest.ptr, '\n', rest.len);
        size_t len = end ? (size_t)(end - rest.ptr) : rest.len;
        if (len > 0) {
            report_check(r, slice_of(rest.ptr, len));
        }
        rest = slice_of(rest.ptr + len + (end != NULL), rest.len - len - (end != NULL));
    }
    if (r->problem_count == 0) {
        reading_problem(r, err, NULL, 0, 0, "the settings do not go together");
    }
}

static void run_check(struct reading *r)
{
    bool may = r->problem_count == 0 || r->program->checks_all;
    if (r->program->check != NULL && may && !r->broken && r->err != ERR_NOMEM) {
        ask_program(r, r->program->check);
    }
}

static enum err end_reading(struct reading *r)
{
    if (r->problem_count > OPTIONS_PROBLEMS_MAX) {
        buffer_printf(r->problems, "%s: and more; these come first\n", r->name);
    }
    if (r->err != OK) {
        options_free(r->program, r->top.settings);
    }
    return r->err;
}

enum err reading_trial(struct reading *r)
{
    if (r->program->trial != NULL) {
        ask_program(r, r->program->trial);
    }
    return end_reading(r);
}

enum err reading_run(struct reading *r, const char *const *sets, size_t set_count)
{
    for (size_t i = 0; i < set_count; i++) {
        apply_set(r, sets[i]);
    }
    reading_document(r);
    finish_scope(r, &r->top);
    run_check(r);
    return end_reading(r);
}

/* ---- reload ---- */
enum err options_load(const struct options_program *program, const char *path, const char *const *sets,
                      size_t set_count, void *settings, struct buffer *problems)
{
    CLEANUP(reading_deinit) struct reading r;
    TRY(reading_init(&r, program, path ? path : program->name, settings, problems));
    if (path != NULL) {
        TRY(reading_file(&r));
    }
    return reading_run(&r, sets, set_count);
}

void option_swap(const struct option *row, void *a, void *b)
{
    union {
        struct option_list list;
        struct option_sections sections;
    } keep;
    size_t size = 0;
    switch (row->type) {
    case OPTION_STRING:
    case OPTION_PATH:
    case OPTION_FILE:
    case OPTION_ID: size = sizeof(char *); break;
    case OPTION_BOOL: size = sizeof(bool); break;
    case OPTION_INT:
    case OPTION_DURATION:
    case OPTION_BYTES: size = sizeof(int64_t); break;
    case OPTION_NUMBER: size = sizeof(double); break;
    case OPTION_ENUM: size = sizeof(int); break;
    case OPTION_LIST: size = sizeof(keep.list); break;
    case OPTION_SECTIONS: size = sizeof(keep.sections); break;
    }
    memcpy(&keep, option_field(row, a), size);
    memcpy(option_field(row, a), option_field(row, b), size);
    memcpy(option_field(row, b), &keep, size);
}

void option_report_change(const struct option *row, const char *prefix, const void *now, const void *next,
                          struct buffer *report)
{
    if (option_equal(row, now, next)) {
        return;
    }
    buffer_printf(report, "changed %s%s: ", prefix, row->name);
    (void)option_write(row, now, report);
    buffer_put_str(report, " -> ");
    (void)option_write(row, next, report);
    buffer_put_u8(report, '\n');
}

void option_apply(const struct option *row, const char *prefix, void *to, void *from, struct buffer *report)
{
    if (option_equal(row, to, from)) {
        return;
    }
    if (!row->live) {
        buffer_printf(report, "needs a restart: %s%s\n", prefix, row->name);
        return;
    }
    option_report_change(row, prefix, to, from, report);
    option_swap(row, to, from);
}

void options_apply_live(const struct options_program *program, void *to, void *from, struct buffer *report)
{
    for (const struct option *row = program->table; row->name != NULL; row++) {
        if (row->type == OPTION_SECTIONS && !option_equal(row, to, from)) {
            sections_apply_live(row, to, from, report);
        } else {
            option_apply(row, "", to, from, report);
        }
    }
}

static void each_of(const struct option *table, const char *prefix, const void *settings,
                    void (*emit)(void *arg, const char *name, const char *value), void *arg)
{
    for (const struct option *row = table; row->name != NULL; row++) {
        BUFFER(value, 4 << 20);
        char name[OPTIONS_PREFIX_MAX + OPTIONS_NAME_MAX];
        const struct option_sections *sections = option_field(row, (void *)(uintptr_t)settings);
        for (size_t i = 0; row->type == OPTION_SECTIONS && i < sections->count; i++) {
            snprintf(name, sizeof(name), "%s.%s.", row->name, sections->names[i]);
            each_of(row->sections, name, sections_item(row, sections, i), emit, arg);
        }
        snprintf(name, sizeof(name), "%s%s", prefix, row->name);
        if (row->type != OPTION_SECTIONS && option_write(row, settings, &value)) {
            buffer_put_u8(&value, '\0');
            emit(arg, name, buffer_err(&value) == OK ? (const char *)value.ptr : "");
        }
    }
}

void options_each(const struct options_program *program, const void *settings,
                  void (*emit)(void *arg, const char *name, const char *value), void *arg)
{
    each_of(program->table, "", settings, emit, arg);
}

void options_free(const struct options_program *program, void *settings)
{
    for (const struct option *row = program->table; row->name != NULL; row++) {
        option_clear(row, settings);
    }
    memset(settings, 0, program->settings_size);
}
