/* SPDX-License-Identifier: Apache-2.0 */
/* report - what a run has to show, gathered. Nothing here fails loudly: figures_err() tells what did not fit. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include "simulators/figures/figures_internal.h"

enum { TEXTS_BYTES = 384 * 1024, TEXT_MAX = FIGURES_VALUE - 1 };

static const char *keep(struct figures *f, const char *text)
{
    size_t len = text != NULL ? strnlen(text, TEXT_MAX) : 0;
    char *copy = arena_alloc(&f->texts, len + 1);
    if (copy == NULL) {
        f->err = ERR_FULL;
        return "";
    }
    if (len > 0) {
        memcpy(copy, text, len);
    }
    copy[len] = '\0';
    return copy;
}

static const char *keep_printed(struct figures *f, const char *fmt, va_list args)
{
    char text[TEXT_MAX + 1];
    (void)vsnprintf(text, sizeof(text), fmt, args);
    return keep(f, text);
}

/* Whether one more fits. */
static bool has_room(struct figures *f, size_t count, size_t max)
{
    if (count == max) {
        f->err = ERR_FULL;
    }
    return count < max;
}

enum err figures_new(const char *title, const char *when, struct figures **ret_figures)
{
    struct figures *f = calloc(1, sizeof(*f));
    if (f == NULL || arena_init(&f->texts, TEXTS_BYTES) != OK) {
        free(f);
        return ERR_NOMEM;
    }
    f->title = keep(f, title);
    f->when = keep(f, when);
    f->summary = "";
    *ret_figures = f;
    return OK;
}

void figures_free(struct figures *f)
{
    if (f != NULL) {
        arena_deinit(&f->texts);
        free(f);
    }
}

enum err figures_err(const struct figures *f)
{
    return f->err;
}

void figures_verdict(struct figures *f, enum figures_verdict verdict, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    f->summary = keep_printed(f, fmt, args);
    va_end(args);
    f->verdict = verdict;
}

static struct key *add_key(struct figures *f, enum key_kind kind, const char *group, const char *id, const char *unit,
                           const char *label, const char *why)
{
    static struct key nowhere;
    if (!has_room(f, f->key_count, FIGURES_KEYS_MAX)) {
        return &nowhere;
    }
    struct key *key = &f->keys[f->key_count++];
    *key = (struct key){.kind = kind,
                        .group = keep(f, group),
                        .id = keep(f, id),
                        .unit = keep(f, unit),
                        .label = keep(f, label),
                        .why = keep(f, why)};
    return key;
}

void figures_count(struct figures *f, const char *group, const char *id, uint64_t value, const char *unit,
                   const char *label, const char *why)
{
    add_key(f, KEY_COUNT, group, id, unit, label, why)->count = value;
}

void figures_number(struct figures *f, const char *group, const char *id, double value, const char *unit,
                    const char *label, const char *why)
{
    add_key(f, KEY_NUMBER, group, id, unit, label, why)->number = value;
}

void figures_duration(struct figures *f, const char *group, const char *id, int64_t value_us, const char *label,
                      const char *why)
{
    add_key(f, KEY_DURATION, group, id, NULL, label, why)->duration_us = value_us;
}

void figures_bytes(struct figures *f, const char *group, const char *id, uint64_t value, const char *label,
                   const char *why)
{
    add_key(f, KEY_BYTES, group, id, NULL, label, why)->count = value;
}

void figures_text(struct figures *f, const char *group, const char *id, const char *value, const char *label,
                  const char *why)
{
    const char *kept = keep(f, value);
    add_key(f, KEY_TEXT, group, id, NULL, label, why)->text = kept;
}

void figures_headline(struct figures *f, const char *id, enum figures_mood mood)
{
    for (size_t i = 0; i < f->key_count; i++) {
        if (strcmp(f->keys[i].id, id) == 0) {
            f->keys[i].headline = true;
            f->keys[i].mood = mood;
        }
    }
}

void figures_note(struct figures *f, enum figures_level level, const char *fmt, ...)
{
    if (!has_room(f, f->note_count, FIGURES_NOTES_MAX)) {
        return;
    }
    va_list args;
    va_start(args, fmt);
    const char *text = keep_printed(f, fmt, args);
    va_end(args);
    f->notes[f->note_count++] = (struct note){.level = level, .text = text};
}

void figures_setting(struct figures *f, const char *name, const char *value)
{
    if (has_room(f, f->setting_count, FIGURES_SETTINGS_MAX)) {
        f->settings[f->setting_count++] = (struct setting){.name = keep(f, name), .value = keep(f, value)};
    }
}

void figures_histogram(struct figures *f, const char *id, const char *title, const struct histogram *histogram)
{
    if (has_room(f, f->distribution_count, FIGURES_HISTOGRAMS_MAX)) {
        f->distributions[f->distribution_count++] =
            (struct distribution){.id = keep(f, id), .title = keep(f, title), .histogram = histogram};
    }
}

void figures_plot(struct figures *f, const char *id, const char *title, const char *unit, enum figures_axis axis)
{
    if (has_room(f, f->plot_count, FIGURES_PLOTS_MAX)) {
        f->plots[f->plot_count++] =
            (struct plot){.id = keep(f, id), .title = keep(f, title), .unit = keep(f, unit), .axis = axis};
    }
}

void figures_line(struct figures *f, const char *name, const struct series *series)
{
    struct plot *plot = f->plot_count > 0 ? &f->plots[f->plot_count - 1] : NULL;
    if (plot == NULL || !has_room(f, plot->line_count, FIGURES_LINES_MAX)) {
        f->err = ERR_FULL;
        return;
    }
    plot->lines[plot->line_count].name = keep(f, name);
    plot->lines[plot->line_count++].series = series;
}

const char *figures_verdict_word(enum figures_verdict verdict)
{
    switch (verdict) {
    case FIGURES_GOOD:
        return "good";
    case FIGURES_BAD:
        return "bad";
    case FIGURES_PARTIAL:
        return "partial";
    case FIGURES_GAPS:
        return "gaps";
    }
    return "";
}

const char *figures_level_word(enum figures_level level)
{
    switch (level) {
    case FIGURES_NOTE:
        return "note";
    case FIGURES_WARNING:
        return "warning";
    case FIGURES_ERROR:
        return "error";
    }
    return "";
}

/* ---- into a file ---- */
static enum err write_whole(const char *path, struct slice s)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        return ERR_IO;
    }
    bool good = true;
    while (good && s.len > 0) {
        ssize_t put = write(fd, s.ptr, s.len);
        good = put > 0 || (put < 0 && errno == EINTR);
        s = put > 0 ? slice_of(s.ptr + put, s.len - (size_t)put) : s;
    }
    int keep_errno = errno;
    good = close(fd) == 0 && good;
    errno = keep_errno;
    return good ? OK : ERR_IO;
}

enum err figures_save_html(const struct figures *f, const char *path, struct fault *reterr)
{
    char part[PATH_MAX];
    BUFFER(page, FIGURES_HTML_MAX);
    figures_render_html(f, &page);
    if (buffer_err(&page) != OK) {
        return fault_set(reterr, buffer_err(&page), "no memory for the page %s", path);
    }
    if (snprintf(part, sizeof(part), "%s.part", path) >= (int)sizeof(part)) {
        return fault_set(reterr, ERR_IO, "the name %.80s... is too long", path);
    }
    struct stat there;
    if (stat(path, &there) == 0 && !S_ISREG(there.st_mode)) { /* must not be replaced by a file */
        if (write_whole(path, buffer_slice(&page)) != OK) {
            return fault_set(reterr, ERR_IO, "cannot write the report %s: %s", path, strerror(errno));
        }
        return OK;
    }
    if (write_whole(part, buffer_slice(&page)) != OK || rename(part, path) != 0) {
        enum err err = fault_set(reterr, ERR_IO, "cannot write the report %s: %s", path, strerror(errno));
        (void)unlink(part);
        return err;
    }
    return OK;
}
