/* SPDX-License-Identifier: Apache-2.0 */
/*
 * figures_internal - the report as it is held, shared by what fills it (report.c) and what renders it.
 *
 *   text.c  for a terminal   document.c  JSON   html.c  the page   plot.c  its drawings   show.c  numbers for people
 */
#ifndef SIMULATORS_FIGURES_FIGURES_INTERNAL_H
#define SIMULATORS_FIGURES_FIGURES_INTERNAL_H

#include "core/base/arena.h"
#include "simulators/figures/figures.h"

enum key_kind { KEY_COUNT, KEY_NUMBER, KEY_DURATION, KEY_BYTES, KEY_TEXT };
struct key {
    enum key_kind kind;
    const char *group, *id, *unit, *label, *why;
    union {
        uint64_t count; /* BYTES as well */
        double number;
        int64_t duration_us;
        const char *text;
    };
    bool headline;
    enum figures_mood mood;
};
struct note {
    enum figures_level level;
    const char *text;
};
struct plot {
    const char *id, *title, *unit;
    enum figures_axis axis;
    struct {
        const char *name;
        const struct series *series;
    } lines[FIGURES_LINES_MAX];
    size_t line_count;
};
struct distribution {
    const char *id, *title;
    const struct histogram *histogram;
};
struct setting {
    const char *name, *value;
};

struct figures {
    struct arena texts; /* all texts below */
    enum err err;
    const char *title, *when, *summary;
    enum figures_verdict verdict;
    struct key keys[FIGURES_KEYS_MAX];
    struct note notes[FIGURES_NOTES_MAX];
    struct plot plots[FIGURES_PLOTS_MAX];
    struct distribution distributions[FIGURES_HISTOGRAMS_MAX];
    struct setting settings[FIGURES_SETTINGS_MAX];
    size_t key_count, note_count, plot_count, distribution_count, setting_count;
};

static const double figures_percents[] = {50, 90, 99, 99.9, 99.99};
#define FIGURES_PERCENTS ((const char *const[]){"p50", "p90", "p99", "p99.9", "p99.99"})

enum { FIGURES_VALUE = 2048 };
/* The value with its unit. */
char *figures_key_value(const struct key *key, char text[FIGURES_VALUE]);
const char *figures_verdict_word(enum figures_verdict verdict);
const char *figures_level_word(enum figures_level level);
/* A value of a plot, in its unit. */
char *figures_show_value(const char *unit, double value, char text[FIGURES_SHORT]);
/* For axes: "20 k", "1.5 M"; in the scale of most, which is the greatest value beside it (0 = of its own). */
char *figures_show_short(double value, double most, char text[FIGURES_SHORT]);
/* "0 s", "1:30", "2:05:00". */
char *figures_show_time(double seconds, char text[FIGURES_SHORT]);
/* Least, mean and greatest of what is known; false when nothing is. */
bool figures_series_range(const struct series *s, double *ret_min, double *ret_mean, double *ret_max);
/* Text as HTML: markup escaped, controls and bytes that are not UTF-8 replaced. For attributes too. */
void figures_put_html(struct buffer *out, const char *text);
void figures_put_plot(const struct plot *plot, struct buffer *out);
void figures_put_distribution(const struct distribution *distribution, struct buffer *out);
extern const char figures_style[];

#endif
