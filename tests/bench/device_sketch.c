/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-device-sketch - what a device's sketches cost beside what its model costs anyway: features of the same samples.
 *
 *   bench-device-sketch CHANNELS SAMPLES RUNS
 *
 * Features: mean, deviation and rms of each channel, windows of 1024 samples, every 512. The best of RUNS counts for
 * each.
 */
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "core/features/features.h"
#include "device/infer/sketch.h"

enum { WINDOW = 1024, HOP = 512, KINDS = 3, CHANNELS_MAX = FEATURES_MAX / KINDS, ROWS = 4096 };

static float rows[ROWS][CHANNELS_MAX];
static volatile double sunk; /* so that nothing is left out */

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void sink(void *arg, const struct infer_window *w)
{
    (void)arg;
    sunk += w->moments.mean;
}

static double features_ns(unsigned channels, size_t samples)
{
    struct feature list[FEATURES_MAX];
    static const enum feature_kind kinds[KINDS] = {FEATURE_MEAN, FEATURE_STD, FEATURE_RMS};
    for (unsigned i = 0; i < KINDS * channels; i++) {
        list[i] = (struct feature){.kind = kinds[i % KINDS], .channel = i / KINDS};
    }
    const struct features_options o = {.channels = channels,
                                       .window = WINDOW,
                                       .hop = HOP,
                                       .rate_hz = 1000,
                                       .features = list,
                                       .count = KINDS * channels};
    size_t bytes = (features_bytes(&o) + 15) / 16 * 16;
    void *memory = aligned_alloc(16, bytes);
    struct features *f = NULL;
    float row[FEATURES_MAX];
    if (memory == NULL || features_init(&o, memory, bytes, &f, NULL) != OK) {
        exit(2);
    }
    double began = cpu_ns();
    for (size_t i = 0; i < samples; i++) {
        if (features_push(f, rows[i % ROWS]) && features_row(f, row)) {
            sunk += (double)row[0];
        }
    }
    double took = cpu_ns() - began;
    free(memory);
    return took / (double)samples;
}

static double sketch_ns(unsigned channels, size_t samples, double *ret_answer_ns)
{
    static double memory[(CHANNELS_MAX * sizeof(struct infer_sums) + INFER_SKETCH_BYTES) / sizeof(double) + 1];
    static struct infer_sketch s;
    infer_sketch_init(&s, 600 * SECOND_US, channels, memory);
    double began = cpu_ns();
    for (size_t i = 0; i < samples; i++) {
        int64_t at_us = (int64_t)i * MS_US;
        if (infer_sketch_sample(&s, rows[i % ROWS], at_us, at_us)) {
            infer_sketch_close(&s, sink, NULL);
            (void)infer_sketch_sample(&s, rows[i % ROWS], at_us, at_us);
        }
    }
    double took = cpu_ns() - began;
    began = cpu_ns();
    for (size_t i = 0; i < samples; i++) {
        infer_sketch_answer(&s, outcome_doubt(1 - 0.3 * (double)rows[i % ROWS][0] * (double)rows[i % ROWS][0]));
    }
    *ret_answer_ns = (cpu_ns() - began) / (double)samples;
    infer_sketch_close(&s, sink, NULL);
    return took / (double)samples;
}

int main(int argc, char **argv)
{
    unsigned channels = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    size_t samples = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    unsigned runs = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
    double features = INFINITY, sketch = INFINITY, answer = INFINITY;
    if (channels < 1 || channels > CHANNELS_MAX || samples < 1 || runs < 1) {
        fprintf(stderr, "usage: bench-device-sketch CHANNELS(1..%d) SAMPLES RUNS\n", (int)CHANNELS_MAX);
        return 2;
    }
    for (unsigned i = 0; i < ROWS * CHANNELS_MAX; i++) {
        rows[i / CHANNELS_MAX][i % CHANNELS_MAX] = (float)((double)(mix_u64(i) >> 11) / 9007199254740992.0);
    }
    for (unsigned r = 0; r < runs; r++) { /* by turns */
        double of_answer;
        features = fmin(features, features_ns(channels, samples));
        sketch = fmin(sketch, sketch_ns(channels, samples, &of_answer));
        answer = fmin(answer, of_answer);
    }
    printf("channels=%u features_ns=%.1f sketch_ns=%.1f answer_ns=%.1f ratio=%.3f memory_bytes=%zu\n", channels,
           features, sketch, answer, sketch / features, sizeof(struct infer_sketch) + infer_sketch_bytes(channels));
    return 0;
}
