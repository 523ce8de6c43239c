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
        put_source(r, line, column);
    } else {
        buffer_printf(r->problems, "%s: %s\n", name ? name : r->name, text);
    }
}

void reading_suggest(const struct reading *r, const char *name, char *out, size_t size)
{
    struct options_nearest nearest = {.word = name};
    for (size_t i = 0; i < r->rows; i++) {
        options_nearest_offer(&nearest, r->program->table[i].name);
    }
    snprintf(out, size, "%s%s%s", nearest.best ? "; did you mean " : "", nearest.best ? nearest.best : "",
             nearest.best ? "?" : "");
}

/* ---- table ---- */
size_t reading_row(const struct reading *r, const char *name)
{
    size_t row = 0;
    while (row < r->rows && strcmp(r->program->table[row].name, name) != 0) {
        row++;
    }
    return row;
}

size_t reading_section(const struct reading *r, const char *name)
{
    size_t row = 0, len = strlen(name);
    while (row < r->rows && (strncmp(r->program->table[row].name, name, len) != 0 ||
                             r->program->table[row].name[len] != '.')) {
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
    *r = (struct reading){.program = program, .name = name, .settings = settings, .problems = problems};
    buffer_init(&r->file, OPTIONS_FILE_MAX + 1);
    while (program->table[r->rows].name != NULL) {
        r->rows++;
    }
    r->origins = calloc(r->rows + 1, sizeof(*r->origins));
    r->section_line = calloc(r->rows + 1, sizeof(*r->section_line));
    TRY(folder_of(name, &r->folder));
    return r->origins && r->section_line ? OK : ERR_NOMEM;
}

void reading_deinit(struct reading *r)
{
    free(r->origins);
    free(r->section_line);
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
    r->text = buffer_slice(&r->file);
    if (err == ERR_NOMEM) {
        return err;
    }
    if (err == ERR_FULL || r->file.len > OPTIONS_FILE_MAX) {
        reading_problem(r, ERR_IO, NULL, 0, 0, "is larger than 1MiB, which no configuration is");
        return ERR_IO;
    }
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

static enum err parse_word(struct reading *r, const struct option *row, const char *value, const char *folder,
                           struct fault *why)
{
    struct slice items[64];
    struct option_text text = {.scalar = slice_str(value)};
    if (row->type == OPTION_LIST) {
        text.items = items;
        text.count = split_list(text.scalar, items, COUNT_OF(items));
    }
    return option_parse(row, &text, folder, r->settings, why);
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
    size_t row = reading_row(r, name);
    if (row == r->rows) {
        char hint[OPTIONS_NAME_MAX + 20];
        reading_suggest(r, name, hint, sizeof(hint));
        reading_problem(r, ERR_RANGE, place, 0, 0, "unknown setting%s", hint);
        return;
    }
    struct fault why = {.code = OK};
    /* A path on the command line is meant from where the person stands. */
    enum err err = parse_word(r, &r->program->table[row], equals + 1, "", &why);
    if (err != OK) {
        reading_problem(r, err, place, 0, 0, "%s", err == ERR_NOMEM ? "out of memory" : why.text);
    }
    r->origins[row].kind = ORIGIN_SET;
}

static void apply_preset(struct reading *r, size_t index)
{
    const struct option *row = &r->program->table[index];
    if (r->origins[index].kind != ORIGIN_NONE || row->preset == NULL) {
        return;
    }
    struct fault why = {.code = OK};
    enum err err = parse_word(r, row, row->preset, r->folder, &why);
    if (err != OK) {
        reading_problem(r, err, NULL, 0, 0, "%s (default): %s", row->name,
                        err == ERR_NOMEM ? "out of memory" : why.text);
    }
    r->origins[index].kind = ORIGIN_PRESET;
}

/* Reported at the innermost section that is there. */
static void report_missing(struct reading *r, const struct option *row)
{
    size_t line = 0;
    char section[OPTIONS_NAME_MAX + 1];
    snprintf(section, sizeof(section), "%s", row->name);
    for (char *dot; line == 0 && (dot = strrchr(section, '.')) != NULL;) {
        *dot = '\0';
        size_t depth = 1;
        for (const char *c = section; *c != '\0'; c++) {
            depth += *c == '.';
        }
        line = r->section_line[reading_section(r, section)][depth];
    }
    size_t column = 1;
    struct slice source = source_line(r->text, line);
    while (line > 0 && column <= source.len && source.ptr[column - 1] == ' ') {
        column++;
    }
    reading_problem(r, ERR_RANGE, NULL, line, column, "%s is missing: %s", row->name, row->help);
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
    struct origin *origin = &r->origins[reading_row(r, word)];
    bool in_file = origin->kind == ORIGIN_FILE;
    reading_problem(r, ERR_RANGE, NULL, in_file ? origin->line : 0, in_file ? origin->column : 0, "%.*s",
                    (int)line.len, (const char *)line.ptr);
}

static void run_check(struct reading *r)
{
    BUFFER(found, 64 * 1024);
    if (r->program->check == NULL || r->problem_count > 0) {
        return;
    }
    enum err err = r->program->check(r->settings, &found);
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

enum err reading_run(struct reading *r, const char *const *sets, size_t set_count)
{
    for (size_t i = 0; i < set_count; i++) {
        apply_set(r, sets[i]);
    }
    reading_document(r);
    for (size_t i = 0; i < r->rows; i++) {
        apply_preset(r, i);
        bool named = r->origins[i].kind != ORIGIN_NONE || r->origins[i].line > 0;
        if (!r->broken && r->program->table[i].required && !named) {
            report_missing(r, &r->program->table[i]);
        }
    }
    run_check(r);
    if (r->problem_count > OPTIONS_PROBLEMS_MAX) {
        buffer_printf(r->problems, "%s: and more; these come first\n", r->name);
    }
    if (r->err != OK) {
        options_free(r->program, r->settings);
    }
    return r->err;
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

static void swap_fields(const struct option *row, void *a, void *b)
{
    char keep[sizeof(struct option_list)];
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
    case OPTION_LIST: size = sizeof(struct option_list); break;
    }
    memcpy(keep, option_field(row, a), size);
    memcpy(option_field(row, a), option_field(row, b), size);
    memcpy(option_field(row, b), keep, size);
}

void options_apply_live(const struct options_program *program, void *to, void *from, struct buffer *report)
{
    for (const struct option *row = program->table; row->name != NULL; row++) {
        if (option_equal(row, to, from)) {
            continue;
        }
        if (!row->live) {
            buffer_printf(report, "needs a restart: %s\n", row->name);
            continue;
        }
        buffer_printf(report, "changed %s: ", row->name);
        (void)option_write(row, to, report);
        buffer_put_str(report, " -> ");
        swap_fields(row, to, from);
        (void)option_write(row, to, report);
        buffer_put_u8(report, '\n');
    }
}

void options_free(const struct options_program *program, void *settings)
{
    for (const struct option *row = program->table; row->name != NULL; row++) {
        option_clear(row, settings);
    }
    memset(settings, 0, program->settings_size);
}
