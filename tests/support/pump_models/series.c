/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/pump_models/pump_models.h"

#include "proto/block/block.h"

/* Wear that adds less to the vibration than 0.014 mm/s, a third of its noise, is called nothing: share of the time from
 * begin to end of which the square is 0.0025. */
#define HARDLY_WORN 0.05

const char *const pump_classes[PUMP_CLASSES] = {"sound", "worn", "leak"};

void pump_die(const char *what, const char *why)
{
    fprintf(stderr, "weir-pump-models: %s: %s\n", what, why);
    exit(2);
}

void *pump_get(size_t bytes)
{
    void *p = NULL;
    if (posix_memalign(&p, 64, bytes + 64) != 0) {
        pump_die("memory", "out of it");
    }
    memset(p, 0, bytes + 64);
    return p;
}

struct sense *pump_start(struct loop *loop, const struct pump_run *run)
{
    const struct sense_options options = {
        .driver = "pump", .seed = run->seed, .fault = run->fault, .onset = run->onset, .cycle = run->cycle};
    struct fault fault = {.code = OK};
    struct sense *sense = NULL;
    size_t channels = 0;
    if (sense_open(loop, &options, &sense, &fault) != OK) {
        pump_die("pump", fault.text);
    }
    (void)sense_channels(sense, &channels);
    if (channels != PUMP_CHANNELS) {
        pump_die("pump", "has other channels");
    }
    return sense;
}

void pump_read(struct sense *sense, double values[PUMP_CHANNELS])
{
    size_t channels = 0;
    const struct sense_channel *c = sense_channels(sense, &channels);
    if (sense_read(sense, NULL, values) != OK) {
        pump_die("pump", "gives no sample");
    }
    for (unsigned i = 0; i < PUMP_CHANNELS; i++) {
        values[i] = block_value(block_quantise(values[i], c[i].resolution), c[i].resolution);
    }
}

/* What is true of the window that ends before sample `end`; PUMP_CLASSES: neither one nor the other. */
static enum pump_class truth(const struct pump_run *run, unsigned end)
{
    uint64_t from = (end - PUMP_WINDOW) % run->cycle, to = (end - 1) % run->cycle;
    if (strcmp(run->fault, "none") == 0 || (from < to && to < run->onset)) {
        return PUMP_SOUND;
    }
    if (from > to || from < run->onset) {
        return PUMP_CLASSES;
    }
    double progress = (double)(from - run->onset) / (double)(run->cycle - run->onset);
    bool worn = strcmp(run->fault, "wear") == 0;
    return !worn ? PUMP_LEAK : progress < HARDLY_WORN ? PUMP_CLASSES : PUMP_WORN;
}

static void rows_add(struct pump_rows *rows, const float *window, enum pump_class label)
{
    const size_t values = (size_t)PUMP_WINDOW * PUMP_CHANNELS;
    if (rows->count == rows->cap) {
        rows->cap = rows->cap == 0 ? 4096 : 2 * rows->cap;
        rows->windows = realloc(rows->windows, rows->cap * values * sizeof(*rows->windows));
        rows->labels = realloc(rows->labels, rows->cap);
        if (rows->windows == NULL || rows->labels == NULL) {
            pump_die("memory", "out of it");
        }
    }
    memcpy(rows->windows + rows->count * values, window, values * sizeof(*window));
    rows->labels[rows->count++] = (uint8_t)label;
}

void pump_windows(const struct pump_run *run, struct pump_rows *rows)
{
    CLEANUP(loop_freep) struct loop *loop = NULL;
    float window[PUMP_WINDOW][PUMP_CHANNELS];
    if (loop_new(&loop) != OK) {
        pump_die("loop", "cannot be made");
    }
    struct sense *sense = pump_start(loop, run);
    for (unsigned n = 1; n <= run->samples; n++) {
        double values[PUMP_CHANNELS];
        pump_read(sense, values);
        memmove(window[0], window[1], sizeof(window) - sizeof(window[0]));
        for (unsigned i = 0; i < PUMP_CHANNELS; i++) {
            window[PUMP_WINDOW - 1][i] = (float)values[i];
        }
        enum pump_class label = n >= PUMP_WINDOW && n % PUMP_HOP == 0 ? truth(run, n) : PUMP_CLASSES;
        if (label != PUMP_CLASSES) {
            rows_add(rows, window[0], label);
        }
    }
    sense_close(sense);
}

void pump_rows_deinit(struct pump_rows *rows)
{
    free(rows->windows);
    free(rows->labels);
}

void pump_series(const struct pump_run *run, FILE *out)
{
    CLEANUP(loop_freep) struct loop *loop = NULL;
    if (loop_new(&loop) != OK) {
        pump_die("loop", "cannot be made");
    }
    struct sense *sense = pump_start(loop, run);
    size_t channels = 0;
    const struct sense_channel *c = sense_channels(sense, &channels);
    for (unsigned i = 0; i < channels; i++) {
        fprintf(out, "%s%s", i > 0 ? "," : "", c[i].name);
    }
    for (unsigned n = 0; n < run->samples; n++) {
        double values[PUMP_CHANNELS];
        pump_read(sense, values);
        for (unsigned i = 0; i < PUMP_CHANNELS; i++) {
            fprintf(out, "%c%.10g", i > 0 ? ',' : '\n', values[i]);
        }
    }
    fputc('\n', out);
    sense_close(sense);
}
