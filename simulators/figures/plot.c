/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plot - drawings as inline SVG: lines over time, and the percentile distribution of a histogram.
 *
 * A drawing is WIDTH x HEIGHT units and is scaled to the column it stands in; on a narrow screen the page makes the
 * letters larger in turn, so the margins have room for that. Colours are classes, which the page defines for light,
 * dark and paper; lines differ by their dashes as well. What a mouse or a screen reader asks for is in <title>.
 */
#include <inttypes.h>
#include <math.h>

#include "simulators/figures/figures_internal.h"

enum { WIDTH = 520, HEIGHT = 260, LEFT = 74, RIGHT = 14, TOP = 12, BOTTOM = 38, TICKS_MAX = 24, HITS_MAX = 180 };
#define DECADES_MAX 15.0

/* One direction: value -> units. */
struct axis {
    double low, high; /* of the value; of its logarithm when log */
    double from, to;  /* units */
    bool log;
};
struct ticks {
    double at[TICKS_MAX];
    size_t count;
};

static double place(const struct axis *axis, double value)
{
    double v = axis->log ? log10(fmax(value, 1)) : value;
    double part = axis->high > axis->low ? (v - axis->low) / (axis->high - axis->low) : 0;
    return axis->from + (axis->to - axis->from) * fmin(fmax(part, 0), 1);
}

/* ---- axes ---- */
/* 1, 2 or 5 times a power of ten, at least so much. */
static double nice_step(double least)
{
    double power = pow(10, floor(log10(least)));
    double lead = least / power;
    return power * (lead <= 1.0001 ? 1 : lead <= 2.0001 ? 2 : lead <= 5.0001 ? 5 : 10);
}

static void add_tick(struct ticks *ticks, double at)
{
    if (ticks->count < TICKS_MAX) {
        ticks->at[ticks->count++] = at;
    }
}

/* From 0 (or below) to a round number above the greatest value. */
static void linear_axis(struct axis *axis, struct ticks *ticks, const char *unit, double min, double max)
{
    double unit_is = 1;
    while (strcmp(unit, "B") == 0 && max / unit_is >= 1024) {
        unit_is *= 1024;
    }
    double low = fmin(min, 0), span = fmax((max - low) / unit_is, 1e-9);
    double step = nice_step(span / 4) * unit_is;
    axis->low = floor(low / step + 1e-9) * step;
    axis->high = ceil(max / step - 1e-9) * step;
    axis->high = axis->high > axis->low ? axis->high : axis->low + step;
    for (double i = 0; axis->low + i * step <= axis->high * (1 + 1e-9) && ticks->count < TICKS_MAX; i++) {
        add_tick(ticks, axis->low + i * step);
    }
}

/* Whole decades; 2 and 5 of each are named as well where there are few. */
static void log_axis(struct axis *axis, struct ticks *ticks, double min, double max)
{
    axis->log = true;
    axis->low = floor(log10(fmax(min, 1)) + 1e-9);
    axis->high = fmin(ceil(log10(fmax(max, 1)) - 1e-9), axis->low + DECADES_MAX);
    axis->high = axis->high > axis->low ? axis->high : axis->low + 1;
    bool few = axis->high - axis->low <= 2;
    for (double decade = axis->low; decade <= axis->high; decade++) {
        add_tick(ticks, pow(10, decade));
        if (few && decade < axis->high) {
            add_tick(ticks, 2 * pow(10, decade));
            add_tick(ticks, 5 * pow(10, decade));
        }
    }
}

static void time_axis(struct axis *axis, struct ticks *ticks, double seconds)
{
    static const double STEPS[] = {1,    2,    5,    10,    20,    30,    60,    120,    300,    600,   1200,
                                   1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 345600, 864000};
    size_t step = 0;
    while (step + 1 < COUNT_OF(STEPS) && seconds / STEPS[step] > 6) {
        step++;
    }
    axis->low = 0;
    axis->high = fmax(seconds, 1);
    for (double at = 0; at <= axis->high && ticks->count < TICKS_MAX; at += STEPS[step]) {
        add_tick(ticks, at);
    }
}

/* ---- parts of a drawing ---- */
static void open_drawing(struct buffer *out, const char *id, const char *title)
{
    buffer_printf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-labelledby=\"t-", WIDTH, HEIGHT);
    figures_put_html(out, id);
    buffer_put_str(out, "\">\n<title id=\"t-");
    figures_put_html(out, id);
    buffer_put_str(out, "\">");
    figures_put_html(out, title);
    buffer_put_str(out, "</title>\n");
}

/* Times and sizes carry their unit with them. */
static bool has_own_unit(const char *unit)
{
    return strcmp(unit, "us") == 0 || strcmp(unit, "B") == 0;
}

/* "1.2 ms", with the sign for micro. */
static void put_value(struct buffer *out, const char *unit, double value)
{
    char text[FIGURES_SHORT];
    figures_show_value(unit, value, text);
    size_t len = strlen(text);
    if (len > 3 && strcmp(text + len - 3, " us") == 0) {
        text[len - 2] = '\0';
        buffer_printf(out, "%s\xc2\xb5s", text);
    } else {
        buffer_put_str(out, text);
    }
}

static void put_value_axis(struct buffer *out, const struct axis *y, const struct ticks *ticks, const char *unit)
{
    char text[FIGURES_SHORT];
    double most = y->log ? 0 : fmax(fabs(y->low), fabs(y->high));
    for (size_t i = 0; i < ticks->count; i++) {
        double at = place(y, ticks->at[i]);
        buffer_printf(out, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT, WIDTH - RIGHT,
                      at, at);
        buffer_printf(out, "<text class=\"tick\" x=\"%d\" y=\"%.1f\" dy=\".32em\" text-anchor=\"end\">", LEFT - 7, at);
        if (has_own_unit(unit)) {
            put_value(out, unit, ticks->at[i]);
        } else {
            buffer_put_str(out, figures_show_short(ticks->at[i], most, text));
        }
        buffer_put_str(out, "</text>\n");
    }
}

static void put_bottom_tick(struct buffer *out, double at, const char *text)
{
    const char *anchor = at > WIDTH - RIGHT - 14 ? "end" : "middle";
    buffer_printf(out, "<line class=\"axis\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>", at, at, HEIGHT - BOTTOM,
                  HEIGHT - BOTTOM + 4);
    buffer_printf(out, "<text class=\"tick\" x=\"%.1f\" y=\"%d\" dy=\".8em\" text-anchor=\"%s\">%s</text>\n",
                  fmin(at, WIDTH - RIGHT), HEIGHT - BOTTOM + 11, anchor, text);
}

static void put_base_line(struct buffer *out)
{
    buffer_printf(out, "<line class=\"axis\" x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/>\n", LEFT, WIDTH - RIGHT,
                  HEIGHT - BOTTOM, HEIGHT - BOTTOM);
}

/* ---- lines over time ---- */
static void put_line(struct buffer *out, const struct series *s, const struct axis *x, const struct axis *y,
                     size_t number)
{
    bool open = false;
    size_t count = series_count(s);
    buffer_printf(out, "<path class=\"line c%zu\" d=\"", number);
    for (size_t i = 0; i < count; i++) {
        double value = series_at(s, i);
        if (isnan(value)) {
            open = false;
            continue;
        }
        bool alone = !open && (i + 1 == count || isnan(series_at(s, i + 1)));
        buffer_printf(out, "%s%.1f %.1f", open ? "L" : "M", place(x, series_time_s(s, i)), place(y, value));
        if (alone) {
            buffer_put_str(out, "h.1"); /* a dot: a path of one point is not drawn */
        }
        open = true;
    }
    buffer_put_str(out, "\"/>\n");
}

/* The area below the only line: one shape for each stretch without a gap. */
static void put_area(struct buffer *out, const struct series *s, const struct axis *x, const struct axis *y)
{
    double floor_at = place(y, fmax(y->low, 0)), last = 0;
    bool open = false;
    buffer_put_str(out, "<path class=\"area\" d=\"");
    for (size_t i = 0; i < series_count(s); i++) {
        double value = series_at(s, i), at = place(x, series_time_s(s, i));
        if (isnan(value)) {
            buffer_printf(out, open ? "L%.1f %.1fZ" : "", last, floor_at);
            open = false;
            continue;
        }
        if (!open) {
            buffer_printf(out, "M%.1f %.1f", at, floor_at);
        }
        buffer_printf(out, "L%.1f %.1f", at, place(y, value));
        open = true;
        last = at;
    }
    if (open) {
        buffer_printf(out, "L%.1f %.1fZ", last, floor_at);
    }
    buffer_put_str(out, "\"/>\n");
}

/* What the greatest value of a line is between two times. */
static double greatest(const struct series *s, double from_s, double to_s)
{
    double found = NAN;
    for (size_t i = (size_t)(from_s / s->step); i < series_count(s) && series_time_s(s, i) < to_s; i++) {
        found = fmax(found, series_at(s, i)); /* fmax leaves NaN away */
    }
    return found;
}

/* Columns that say their values: at most HITS_MAX, each the greatest of its points. */
static void put_hits(struct buffer *out, const struct plot *plot, const struct axis *x, double seconds)
{
    double columns = fmin(ceil(seconds / plot->lines[0].series->step), HITS_MAX), step = seconds / columns;
    for (double i = 0; i < columns; i++) {
        char when[FIGURES_SHORT];
        double from = i * step, at = place(x, from), to = place(x, from + step);
        buffer_printf(out, "<rect class=\"hit\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\"><title>%s", at, TOP,
                      fmax(to - at, 0.5), HEIGHT - BOTTOM - TOP, figures_show_time(from, when));
        for (size_t line = 0; line < plot->line_count; line++) {
            double value = greatest(plot->lines[line].series, from, from + step);
            buffer_put_u8(out, '\n');
            figures_put_html(out, plot->lines[line].name);
            buffer_put_str(out, ": ");
            put_value(out, plot->unit, value);
        }
        buffer_put_str(out, "</title></rect>\n");
    }
}

/* Names, colours, and in words what the lines range over. */
static void put_legend(struct buffer *out, const struct plot *plot)
{
    buffer_put_str(out, "<figcaption>");
    for (size_t i = 0; i < plot->line_count; i++) {
        double min, mean, max;
        buffer_printf(out,
                      "<span class=\"key\"><svg class=\"swatch\" viewBox=\"0 0 24 8\" aria-hidden=\"true\">"
                      "<path class=\"line c%zu\" d=\"M0 4H24\"/></svg><b>",
                      i);
        figures_put_html(out, plot->lines[i].name);
        buffer_put_str(out, "</b> ");
        if (figures_series_range(plot->lines[i].series, &min, &mean, &max)) {
            bool times = strcmp(plot->unit, "us") == 0; /* a mean of percentiles says nothing */
            buffer_put_str(out, times ? "" : "mean ");
            put_value(out, plot->unit, times ? min : mean);
            buffer_put_str(out, times ? " to " : ", most ");
            put_value(out, plot->unit, max);
        } else {
            buffer_put_str(out, "nothing known");
        }
        buffer_put_str(out, "</span>\n");
    }
    buffer_put_str(out, "</figcaption>\n");
}

/* Over all lines; false when there is nothing to draw. */
static bool plot_range(const struct plot *plot, double *ret_seconds, double *ret_min, double *ret_max)
{
    bool any = false;
    *ret_seconds = 0;
    for (size_t i = 0; i < plot->line_count; i++) {
        const struct series *s = plot->lines[i].series;
        double min, mean, max;
        *ret_seconds = fmax(*ret_seconds, series_time_s(s, series_count(s)));
        if (figures_series_range(s, &min, &mean, &max)) {
            *ret_min = any ? fmin(*ret_min, min) : min;
            *ret_max = any ? fmax(*ret_max, max) : max;
            any = true;
        }
    }
    return any;
}

static void put_heading(struct buffer *out, const char *title, const char *unit)
{
    buffer_put_str(out, "<figure>\n<h3>");
    figures_put_html(out, title);
    if (unit[0] != '\0' && !has_own_unit(unit)) {
        buffer_put_str(out, " <small>");
        figures_put_html(out, unit);
        buffer_put_str(out, "</small>");
    }
    buffer_put_str(out, "</h3>\n");
}

void figures_put_plot(const struct plot *plot, struct buffer *out)
{
    double seconds, min, max;
    put_heading(out, plot->title, plot->unit);
    if (!plot_range(plot, &seconds, &min, &max)) {
        buffer_put_str(out, "<p class=\"none\">Nothing was measured.</p>\n</figure>\n");
        return;
    }
    struct axis x = {.from = LEFT, .to = WIDTH - RIGHT}, y = {.from = HEIGHT - BOTTOM, .to = TOP};
    struct ticks across = {.count = 0}, up = {.count = 0};
    time_axis(&x, &across, seconds);
    if (plot->axis == FIGURES_LOG) {
        log_axis(&y, &up, min, max);
    } else {
        linear_axis(&y, &up, plot->unit, min, max);
    }
    put_legend(out, plot);
    open_drawing(out, plot->id, plot->title);
    put_value_axis(out, &y, &up, plot->unit);
    for (size_t i = 0; i < across.count; i++) {
        char text[FIGURES_SHORT];
        put_bottom_tick(out, place(&x, across.at[i]), figures_show_time(across.at[i], text));
    }
    put_base_line(out);
    if (plot->line_count == 1) {
        put_area(out, plot->lines[0].series, &x, &y);
    }
    for (size_t i = plot->line_count; i-- > 0;) { /* the first one on top */
        put_line(out, plot->lines[i].series, &x, &y, i);
    }
    put_hits(out, plot, &x, seconds);
    buffer_put_str(out, "</svg>\n</figure>\n");
}

/* ---- percentile distribution ---- */
/* Position of a percentile: decades of what is above it, so that 90, 99 and 99.9 % are equally far apart. */
static double depth(double percent)
{
    return 1 / fmax(1 - percent / 100, 1e-12);
}

static void put_steps(struct buffer *out, const struct histogram *h, const struct axis *x, const struct axis *y)
{
    uint64_t seen = 0;
    double before = LEFT;
    buffer_put_str(out, "<path class=\"line c0\" d=\"");
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (h->buckets[i] == 0) {
            continue;
        }
        int64_t low, high;
        histogram_bucket(i, &low, &high);
        seen += h->buckets[i];
        double up = place(y, (double)min_i64(high, h->max_us));
        double until = seen < h->count ? place(x, depth(100.0 * (double)seen / (double)h->count)) : x->to;
        buffer_printf(out, "%s%.1f %.1fH%.1f", before <= LEFT && seen == h->buckets[i] ? "M" : "L", before, up, until);
        before = until;
    }
    buffer_put_str(out, "\"/>\n");
}

static void put_marks(struct buffer *out, const struct histogram *h, const struct axis *x, const struct axis *y)
{
    for (size_t i = 0; i <= COUNT_OF(figures_percents); i++) {
        bool last = i == COUNT_OF(figures_percents);
        double percent = last ? 100 : figures_percents[i];
        if (!last && depth(percent) > (double)h->count) {
            continue; /* fewer values than it takes to tell */
        }
        int64_t value = last ? h->max_us : histogram_percentile(h, percent);
        buffer_printf(out, "<circle class=\"mark\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"><title>%s: ",
                      last ? x->to : place(x, depth(percent)), place(y, (double)value),
                      last ? "max" : FIGURES_PERCENTS[i]);
        put_value(out, "us", (double)value);
        buffer_put_str(out, "</title></circle>\n");
    }
}

static void put_percent_axis(struct buffer *out, const struct axis *x)
{
    put_bottom_tick(out, LEFT, "0 %");
    for (int decade = 1; decade <= (int)x->high; decade++) {
        char text[FIGURES_SHORT] = "";
        double percent = 100 - pow(10, 2 - decade);
        if (x->high <= 4 || decade % 2 == 1) { /* every other one where they would touch */
            (void)snprintf(text, sizeof(text), "%.*f %%", decade > 2 ? decade - 2 : 0, percent);
        }
        put_bottom_tick(out, place(x, depth(percent)), text);
    }
}

void figures_put_distribution(const struct distribution *d, struct buffer *out)
{
    const struct histogram *h = d->histogram;
    char count[FIGURES_SHORT];
    put_heading(out, d->title, "by percentile");
    if (h->count == 0) {
        buffer_put_str(out, "<p class=\"none\">Nothing was measured.</p>\n</figure>\n");
        return;
    }
    struct axis x = {.from = LEFT, .to = WIDTH - RIGHT, .log = true}, y = {.from = HEIGHT - BOTTOM, .to = TOP};
    struct ticks up = {.count = 0};
    x.high = fmax(1, fmin(ceil(log10((double)h->count) - 1e-9), 6));
    log_axis(&y, &up, (double)h->min_us, (double)h->max_us);
    buffer_printf(out, "<figcaption>%s values; half within <b>", figures_show_count((double)h->count, count));
    put_value(out, "us", (double)histogram_percentile(h, 50));
    buffer_put_str(out, "</b>, 99 of 100 within <b>");
    put_value(out, "us", (double)histogram_percentile(h, 99));
    buffer_put_str(out, "</b>, all within <b>");
    put_value(out, "us", (double)h->max_us);
    buffer_put_str(out, "</b></figcaption>\n");
    open_drawing(out, d->id, d->title);
    put_value_axis(out, &y, &up, "us");
    put_percent_axis(out, &x);
    put_base_line(out);
    put_steps(out, h, &x, &y);
    put_marks(out, h, &x, &y);
    buffer_put_str(out, "</svg>\n</figure>\n");
}
