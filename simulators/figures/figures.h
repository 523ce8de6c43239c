/* SPDX-License-Identifier: Apache-2.0 */
/*
 * figures - what a run has to show: a histogram of latencies, time series, a progress line, and a report of them as
 * text, as JSON and as one HTML page that needs nothing else.
 *
 *   histogram_record --> histogram (whole run) ----------------.
 *                    \-> histogram (this second) -> series ----+-> figures -> text | JSON | HTML
 *                                                  key figures -'
 *
 * Nothing here reads a clock or allocates while a run goes on; all sizes are fixed. Times are microseconds.
 */
#ifndef SIMULATORS_FIGURES_FIGURES_H
#define SIMULATORS_FIGURES_FIGURES_H

#include <stdio.h>

#include "core/base/base.h"
#include "core/base/buffer.h"

/* ---- histogram: log-linear, 0 us .. 1 h, exact below 128 us, relative error <= 1/64 above; 14 KiB ---- */
enum {
    HISTOGRAM_EXACT = 128,
    HISTOGRAM_STEPS = 64,
    HISTOGRAM_OCTAVES = 25,
    HISTOGRAM_BUCKETS = HISTOGRAM_EXACT + HISTOGRAM_STEPS * HISTOGRAM_OCTAVES
};
#define HISTOGRAM_MAX_US HOUR_US
struct histogram { /* zeroed = empty */
    uint64_t count;
    uint64_t beyond; /* of count, over HISTOGRAM_MAX_US and kept as that; min, max and sum have the true value */
    double sum_us;
    int64_t min_us, max_us;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};
void histogram_reset(struct histogram *h);
/* Negative counts as 0. */
void histogram_record(struct histogram *h, int64_t value_us);
void histogram_record_many(struct histogram *h, int64_t value_us, uint64_t count);
void histogram_merge(struct histogram *into, const struct histogram *from);
/* What `percent` (0..100) of all values do not exceed: upper end of the bucket, at most max_us; 0 when empty. */
int64_t histogram_percentile(const struct histogram *h, double percent);
double histogram_mean_us(const struct histogram *h);
/* Bucket's bounds, both inclusive. */
void histogram_bucket(unsigned bucket, int64_t *ret_low_us, int64_t *ret_high_us);

/* ---- series: one point a second; when full, two points become one, so that any length of run fits ---- */
enum { SERIES_POINTS = 720 };
/* What two points become: MEAN for rates, MAX for latencies. */
enum series_fold { SERIES_MEAN, SERIES_MAX, SERIES_MIN, SERIES_LAST };
struct series {
    enum series_fold fold;
    unsigned step;     /* seconds that a point stands for: 1, 2, 4, ... */
    unsigned gathered; /* seconds in `open` */
    unsigned known;    /* of them with a value */
    double open;
    size_t count;
    double points[SERIES_POINTS]; /* NaN = nothing was known */
};
void series_init(struct series *s, enum series_fold fold);
/* To be called once a second; NaN = nothing known (a gap in the plot). */
void series_add(struct series *s, double value);
/* Points in all, the unfinished one with them. */
size_t series_count(const struct series *s);
double series_at(const struct series *s, size_t index);
/* Start of the point, seconds after the start of the run. */
static inline double series_time_s(const struct series *s, size_t index)
{
    return (double)index * s->step;
}

/* ---- report: filled at the end of a run (also of one that was broken off), then rendered ---- */
enum {
    FIGURES_KEYS_MAX = 96,
    FIGURES_NOTES_MAX = 64,
    FIGURES_PLOTS_MAX = 16,
    FIGURES_LINES_MAX = 6,
    FIGURES_HISTOGRAMS_MAX = 8,
    FIGURES_SETTINGS_MAX = 256
};
struct figures;
/* title: "19,000 devices for 60 s"; when: text of the time of the run, or NULL. All texts are copied. ERR_NOMEM. */
enum err figures_new(const char *title, const char *when, struct figures **ret_figures) MUST_CHECK;
void figures_free(struct figures *figures);
DEFINE_CLEANUP(struct figures, figures_free)
/* ERR_FULL: what was filled in did not fit (a bound above, or the texts); the rest is rendered all the same. */
enum err figures_err(const struct figures *figures) MUST_CHECK;

/* The sentence at the top: what the run shows. PARTIAL: broken off; GAPS: whole but for what was declared lost. */
enum figures_verdict { FIGURES_GOOD, FIGURES_BAD, FIGURES_PARTIAL, FIGURES_GAPS };
void figures_verdict(struct figures *figures, enum figures_verdict verdict, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Key figures, in order. id is the name in JSON ("records_per_s"), label and why are for people; why may be NULL.
 * group: heading of the table ("Delivery"); figures of one group follow each other. */
void figures_count(struct figures *figures, const char *group, const char *id, uint64_t value, const char *unit,
                   const char *label, const char *why);
void figures_number(struct figures *figures, const char *group, const char *id, double value, const char *unit,
                    const char *label, const char *why);
/* Shown with a fitting unit ("1.25 ms"), in JSON as microseconds. */
void figures_duration(struct figures *figures, const char *group, const char *id, int64_t value_us, const char *label,
                      const char *why);
void figures_bytes(struct figures *figures, const char *group, const char *id, uint64_t value, const char *label,
                   const char *why);
void figures_text(struct figures *figures, const char *group, const char *id, const char *value, const char *label,
                  const char *why);
/* Marks the key figure id as one of the large ones at the top of the page (first six). mood: its colour. */
enum figures_mood { FIGURES_PLAIN, FIGURES_FINE, FIGURES_ALARMING };
void figures_headline(struct figures *figures, const char *id, enum figures_mood mood);
enum figures_level { FIGURES_NOTE, FIGURES_WARNING, FIGURES_ERROR };
void figures_note(struct figures *figures, enum figures_level level, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* What was run: a table at the end. */
void figures_setting(struct figures *figures, const char *name, const char *value);
/* Percentile distribution on a log axis, and p50 .. p99.99 in text and JSON. Borrowed until figures_free. */
void figures_histogram(struct figures *figures, const char *id, const char *title, const struct histogram *histogram);
/* A plot over time. Lines are added to the plot that was added last; series borrowed until figures_free. unit "us":
 * shown as times; log: logarithmic value axis (values below 1 are drawn at 1). */
enum figures_axis { FIGURES_LINEAR, FIGURES_LOG };
void figures_plot(struct figures *figures, const char *id, const char *title, const char *unit, enum figures_axis axis);
void figures_line(struct figures *figures, const char *name, const struct series *series);

/* width: columns of the terminal, 0 = 80. */
void figures_render_text(const struct figures *figures, unsigned width, struct buffer *out);
void figures_render_json(const struct figures *figures, struct buffer *out);
void figures_render_html(const struct figures *figures, struct buffer *out);
/* The page into a file, complete or not at all; what is no regular file (a pipe, a device) is written to. ERR_IO: the sentence names file and cause. ERR_FULL, ERR_NOMEM. */
enum err figures_save_html(const struct figures *figures, const char *path, struct fault *reterr) MUST_CHECK;
enum { FIGURES_TEXT_MAX = 1 << 20, FIGURES_HTML_MAX = 8 << 20 }; /* fits: for BUFFER */

/* Texts for people: "1,234,567", "12.3"; "1.25 ms"; "1.5 MiB". Each returns text, for use as an argument. */
enum { FIGURES_SHORT = 32 };
char *figures_show_count(double value, char text[FIGURES_SHORT]);
char *figures_show_duration(int64_t value_us, char text[FIGURES_SHORT]);
char *figures_show_bytes(double value, char text[FIGURES_SHORT]);

/* ---- progress: what a run says meanwhile, on stderr ---- */
struct progress_state {
    const char *phase;               /* "ramp", "load", "drain" */
    int64_t elapsed_us;              /* of the run */
    int64_t total_us;                /* planned; 0 = not known: no ETA */
    uint64_t connected, wanted;      /* connections; wanted 0 = not shown */
    double rate;                     /* over the last second */
    const char *rate_unit;           /* "rec/s" */
    int64_t p50_us, p99_us, p999_us; /* over the last seconds; -1 = nothing to show */
    uint64_t trouble;                /* shown when not 0 */
    const char *trouble_name;        /* "refused" */
};
/* One line without its end, of at most width columns (0 = no bound): what matters least is left away first. Returns
 * its length. out has size bytes. */
size_t progress_format(const struct progress_state *state, unsigned width, char *out, size_t size);
enum progress_mode { PROGRESS_AUTO, PROGRESS_LINES, PROGRESS_OFF };
struct progress {
    FILE *to;     /* borrowed */
    bool rewrite; /* a terminal: one line is written over and over */
    bool off, open;
    int64_t next_us;
};
/* AUTO: rewrites on a terminal that can, plain lines otherwise. */
void progress_init(struct progress *p, FILE *to, enum progress_mode mode);
/* May be called as often as one likes: at most 4 times a second on a terminal, else a line every 5 s. */
void progress_show(struct progress *p, int64_t now_us, const struct progress_state *state);
/* Takes the line away (terminal), so that other text may be printed; at the end, and before each message. */
void progress_clear(struct progress *p);

#endif
