/* SPDX-License-Identifier: Apache-2.0 */
#include "cloud-bridge/console/windows.h"

#include <math.h>
#include <stdio.h>

#define GAP 1.5 /* periods from one row to the next; more is a gap */

/* What one reading needs; of the longest window. */
struct work {
    struct windows *w;
    void *memory; /* owned */
    struct features *features;
    float *row, *samples; /* owned */
    const struct series_channel *channel[FEATURES_CHANNELS_MAX];
    size_t file;
};

static void work_deinit(struct work *g)
{
    free(g->memory);
    free(g->row);
    free(g->samples);
}

static double period_of(const struct model_info *info)
{
    return 1e6 / (double)info->features.rate_hz;
}

/* As they are after the header's names were made fit. */
static void list_channels(const struct series *series, char *out, size_t size)
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < series->channels; i++) {
        const char *name = series->channel[i].name;
        if (len + strlen(name) + sizeof(", ...") >= size) {
            snprintf(out + len, size - len, ", ...");
            return;
        }
        len += (size_t)snprintf(out + len, size - len, "%s%s", i > 0 ? ", " : "", name);
    }
}

enum err windows_channels(const struct model_info *info, const struct series *series, const char *path,
                          const struct series_channel *ret_channel[FEATURES_CHANNELS_MAX], struct fault *reterr)
{
    for (unsigned i = 0; i < info->features.channels; i++) {
        ret_channel[i] = NULL;
        for (size_t c = 0; c < series->channels; c++) {
            bool is = strcmp(series->channel[c].name, info->channels[i]) == 0;
            ret_channel[i] = is ? &series->channel[c] : ret_channel[i];
        }
        if (ret_channel[i] == NULL) {
            char names[200];
            list_channels(series, names, sizeof(names));
            return fault_set(reterr, ERR_NOT_FOUND, "%s:1: there is no column %s with numbers; there are %s", path,
                             info->channels[i], names);
        }
    }
    return OK;
}

/* Rows that are not the model's rate apart would make other windows than a device's. Times by the second are left. */
enum err windows_check_rate(const struct model_info *info, const struct series *series, const char *path,
                            struct fault *reterr)
{
    double period = period_of(info);
    size_t slow = 0;
    if (!series->timed || info->features.window == 1 || series->rows < 2) {
        return OK;
    }
    for (size_t n = 1; n < series->rows; n++) {
        slow += (double)(series->times[n] - series->times[n - 1]) > GAP * period;
    }
    double apart = (double)(series->times[series->rows - 1] - series->times[0]) / (double)(series->rows - 1);
    if (slow > series->rows / 2 || (apart > 0 && apart < period / GAP)) {
        return fault_set(reterr, ERR_RANGE, "%s: rows are %.6g ms apart, the model takes one every %.6g ms (rate)",
                         path, apart / 1e3, period / 1e3);
    }
    return OK;
}

double windows_gap_us(const struct model_info *info, const struct series *series)
{
    double period = period_of(info);
    bool seconds = period < SECOND_US;
    if (!series->timed || info->features.window == 1) {
        return INFINITY;
    }
    for (size_t n = 0; seconds && n < series->rows; n++) {
        seconds = series->times[n] % SECOND_US == 0;
    }
    return GAP * period + (seconds ? SECOND_US : 0); /* times by the second say nothing finer */
}

bool windows_gap_before(const struct series *series, size_t n, double gap_us)
{
    int64_t apart_us = n > 0 ? series->times[n] - series->times[n - 1] : 0;
    return isfinite(gap_us) && (apart_us < 0 || (double)apart_us > gap_us);
}

void windows_cut_sentence(const struct windows *w, char *out, size_t size)
{
    out[0] = '\0';
    if (w->gaps > 0) {
        snprintf(out, size,
                 "; windows were cut by %llu gap%s in the times (the longest stretch without one: %llu rows, the "
                 "window is %u)",
                 (unsigned long long)w->gaps, w->gaps == 1 ? "" : "s", (unsigned long long)w->longest,
                 w->info->features.window);
    }
}

static double step_of(const struct work *g)
{
    double step = g->channel[0]->resolution;
    for (unsigned i = 1; i < g->w->info->features.channels; i++) {
        step = g->channel[i]->resolution != step ? 0 : step;
    }
    return step;
}

/* A channel without a value in the last window: its features would be of what was before. */
static bool has_values(const struct work *g, size_t n)
{
    const struct features_options *f = &g->w->info->features;
    for (unsigned i = 0; i < f->channels; i++) {
        size_t missing = 0;
        for (size_t at = n + 1 - f->window; at <= n; at++) {
            missing += !isfinite(g->channel[i]->values[at]);
        }
        if (missing == f->window) {
            return false;
        }
    }
    return true;
}

/* The window that ends with row n. */
static enum err put_window(struct work *g, const struct series *series, size_t n, struct fault *reterr)
{
    const struct features_options *f = &g->w->info->features;
    struct window window = {.file = g->file,
                            .at_us = series->times[n],
                            .lowest = series->labels[n],
                            .highest = series->labels[n],
                            .row = g->row,
                            .samples = g->samples,
                            .step = step_of(g)};
    bool finite = features_row(g->features, g->row) && has_values(g, n);
    for (size_t i = 0; finite && i < g->w->info->inputs; i++) {
        finite = isfinite(g->row[i]);
    }
    if (!finite) {
        g->w->blank++;
        return OK;
    }
    for (size_t r = 0; r < f->window; r++) {
        size_t at = n + 1 - f->window + r;
        int label = series->labels[at];
        window.lowest = label < window.lowest ? label : window.lowest;
        window.highest = label > window.highest ? label : window.highest;
        for (unsigned i = 0; i < f->channels; i++) {
            g->samples[r * f->channels + i] = (float)g->channel[i]->values[at];
        }
    }
    return g->w->fn(g->w->arg, &window, reterr);
}

static enum err each_row(struct work *g, const struct series *series, struct fault *reterr)
{
    const struct features_options *f = &g->w->info->features;
    float values[FEATURES_CHANNELS_MAX];
    double gap_us = windows_gap_us(g->w->info, series);
    size_t stretch = 0;
    features_reset(g->features);
    for (size_t n = 0; n < series->rows; n++) {
        if (windows_gap_before(series, n, gap_us)) {
            features_reset(g->features);
            g->w->gaps++;
            stretch = 0;
        }
        g->w->longest = max_u64(g->w->longest, ++stretch);
        for (unsigned i = 0; i < f->channels; i++) {
            values[i] = (float)g->channel[i]->values[n];
        }
        if (features_push(g->features, values)) {
            TRY(put_window(g, series, n, reterr));
        }
    }
    return OK;
}

static enum err each_file(struct work *g, const char *path, struct fault *reterr)
{
    CLEANUP(series_deinit) struct series series = {.rows = 0};
    int64_t period_us = max_i64(1, llround(period_of(g->w->info)));
    TRY(series_read_labelled(path, period_us, &g->w->labels, &series, reterr));
    TRY(windows_channels(g->w->info, &series, path, g->channel, reterr));
    TRY(windows_check_rate(g->w->info, &series, path, reterr));
    g->w->files++;
    g->w->rows += series.rows;
    g->w->bad += series.bad;
    return each_row(g, &series, reterr);
}

enum err windows_each(struct windows *w, const char *data, struct fault *reterr)
{
    CLEANUP(csv_files_deinit) struct csv_files files = {.count = 0};
    CLEANUP(work_deinit) struct work g = {.w = w};
    const struct features_options *f = &w->info->features;
    size_t bytes = (features_bytes(f) + 15) / 16 * 16;
    TRY(csv_files_find(data, &files, reterr));
    g.memory = aligned_alloc(16, bytes);
    g.row = calloc(w->info->inputs, sizeof(*g.row));
    g.samples = calloc((size_t)f->window * f->channels, sizeof(*g.samples));
    if (g.memory == NULL || g.row == NULL || g.samples == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    TRY(features_init(f, g.memory, bytes, &g.features, reterr));
    for (; g.file < files.count; g.file++) {
        TRY(each_file(&g, files.paths[g.file], reterr));
    }
    return OK;
}
