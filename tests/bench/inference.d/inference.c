/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-inference [--tflite LIB] [--onnxruntime LIB] [--passes N] [--kernels K] [MODEL.tflite ...]
 *
 * The networks of the runtime comparison, one thread, batch 1 and 64, float32 and int8, in core/nn and its rivals, in turns;
 * then int8 .tflite files given, against TensorFlow Lite. Outputs of float32 runners must agree. Prints microseconds a call
 * (the least of the passes' medians would flatter: it is the median of all passes).
 */
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "tests/bench/inference.d/bench.h"

enum { RUNNERS = 4, PASSES_MAX = 99 };
static const char *tflite, *onnxruntime, *kernels;
static int passes = 9;
static double worst_dense = 1e9, worst_conv = 1e9, worst_file = 1e9; /* best rival / ours */
static double furthest;

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Each runner once a pass, for about 4 ms. */
static void time_all(struct runner *r, size_t count, size_t batch, double *ret_us)
{
    static double taken[RUNNERS][PASSES_MAX];
    size_t calls[RUNNERS];
    for (size_t i = 0; i < count; i++) {
        if (r[i].run != NULL) {
            r[i].run(r[i].self, batch);
            double began = now_us();
            r[i].run(r[i].self, batch);
            double once = now_us() - began;
            calls[i] = (size_t)(4000 / fmax(once, 0.05)) + 1;
        }
    }
    for (int p = 0; p < passes; p++) {
        for (size_t i = 0; i < count; i++) {
            if (r[i].run != NULL) {
                double began = now_us();
                for (size_t k = 0; k < calls[i]; k++) {
                    r[i].run(r[i].self, batch);
                }
                taken[i][p] = (now_us() - began) / (double)calls[i];
            }
        }
    }
    for (size_t i = 0; i < count; i++) {
        qsort(taken[i], (size_t)passes, sizeof(double), compare);
        ret_us[i] = r[i].run != NULL ? taken[i][passes / 2] : NAN;
    }
}

static void fill(const struct net *net, struct runner *r, size_t batch, bool int8)
{
    unsigned channels = net->layer[0].in, width = net->layer[0].width;
    for (size_t n = 0; n < batch; n++) {
        uint64_t seed = n;
        for (size_t i = 0; i < net->inputs; i++) {
            seed = mix_u64(seed);
            float v = (float)(seed % 2001) / 1000.0F - 1.0F;
            size_t at = n * net->inputs + (r->channels_first ? i % channels * width + i / channels : i);
            if (int8) {
                ((int8_t *)r->in)[at] = (int8_t)lroundf(v * 100);
            } else {
                ((float *)r->in)[at] = v;
            }
        }
    }
}

static void agree(const struct net *net, const struct runner *ours, const struct runner *theirs, size_t batch)
{
    double largest = 0, distance = 0;
    for (size_t i = 0; i < batch * net->outputs; i++) {
        double a = (double)((const float *)ours->out)[i], b = (double)((const float *)theirs->out)[i];
        largest = fmax(largest, fabs(a));
        distance = fmax(distance, fabs(a - b));
    }
    if (distance > 1e-4 * largest) {
        fprintf(stderr, "%s: %s differs by %g of %g\n", net->name, theirs->name, distance, largest);
    }
    furthest = fmax(furthest, distance / fmax(largest, 1e-9));
}

static double best_rival(const double *us, size_t count)
{
    double best = INFINITY;
    for (size_t i = 1; i < count; i++) {
        best = us[i] < best ? us[i] : best;
    }
    return best;
}

static void print_row(const char *name, const char *form, size_t batch, const struct runner *r, size_t count, const double *us)
{
    printf("%-14s %-7s %5zu", name, form, batch);
    for (size_t i = 0; i < count; i++) {
        if (isnan(us[i])) {
            printf(" %12s", "-");
            fprintf(stderr, "%s %s %s: %s\n", name, form, r[i].name, r[i].why);
        } else {
            printf(" %12.2f", us[i]);
        }
    }
    printf(" %8.2f\n", best_rival(us, count) / us[0]);
}

static void bench_net(struct net *net, size_t batch, bool int8)
{
    struct slice flat = net_tflite(net, int8), onnx = net_onnx(net, int8);
    struct runner r[RUNNERS] = {runner_own(flat, batch, kernels), runner_tflite(tflite, flat, net, batch, int8),
                                runner_onnx(onnxruntime, onnx, net, batch, int8), runner_xnnpack(net, batch, int8)};
    double us[RUNNERS];
    for (size_t i = 0; i < RUNNERS; i++) {
        if (r[i].run != NULL) {
            fill(net, &r[i], batch, int8);
            r[i].run(r[i].self, batch);
            if (!int8 && i > 0) {
                agree(net, &r[0], &r[i], batch);
            }
        }
    }
    if (r[0].run == NULL) {
        fprintf(stderr, "%s: %s\n", net->name, r[0].why);
        exit(1);
    }
    for (size_t i = 0; i < RUNNERS; i++) {
        if (r[i].run != NULL) {
            fill(net, &r[i], batch, int8);
        }
    }
    time_all(r, RUNNERS, batch, us);
    print_row(net->name, int8 ? "int8" : "float32", batch, r, RUNNERS, us);
    double ratio = best_rival(us, RUNNERS) / us[0];
    if (batch == 1 && net->layer[0].kind == LAYER_DENSE) {
        worst_dense = fmin(worst_dense, ratio);
    } else {
        worst_conv = fmin(worst_conv, ratio);
    }
}

static void bench_file(const char *path)
{
    enum { FILE_MAX = 1 << 24 };
    FILE *f = fopen(path, "rb");
    uint8_t *bytes = aligned_alloc(64, FILE_MAX);
    size_t len = f != NULL && bytes != NULL ? fread(bytes, 1, FILE_MAX, f) : 0;
    if (f != NULL) {
        fclose(f);
    }
    struct slice file = slice_of(bytes, len);
    struct runner r[2] = {runner_own(file, 1, kernels), {0}};
    if (r[0].run == NULL) {
        fprintf(stderr, "%s: %s\n", path, r[0].why);
        exit(1);
    }
    r[1] = runner_tflite(tflite, file, NULL, 0, true);
    double us[2];
    time_all(r, 2, 1, us);
    const char *slash = strrchr(path, '/');
    print_row(slash != NULL ? slash + 1 : path, "int8", 1, r, 2, us);
    worst_file = fmin(worst_file, us[1] / us[0]);
}

static struct net nets[] = {
    {.name = "mlp", .count = 3, .inputs = 40, .outputs = 8,
     .layer = {{.in = 40, .out = 64, .taps = 1, .relu = true}, {.in = 64, .out = 64, .taps = 1, .relu = true}, {.in = 64, .out = 8, .taps = 1}}},
    {.name = "autoencoder", .count = 10, .inputs = 640, .outputs = 640,
     .layer = {{.in = 640, .out = 128, .taps = 1, .relu = true}, {.in = 128, .out = 128, .taps = 1, .relu = true},
               {.in = 128, .out = 128, .taps = 1, .relu = true}, {.in = 128, .out = 128, .taps = 1, .relu = true},
               {.in = 128, .out = 8, .taps = 1, .relu = true}, {.in = 8, .out = 128, .taps = 1, .relu = true},
               {.in = 128, .out = 128, .taps = 1, .relu = true}, {.in = 128, .out = 128, .taps = 1, .relu = true},
               {.in = 128, .out = 128, .taps = 1, .relu = true}, {.in = 128, .out = 640, .taps = 1}}},
    {.name = "cnn", .count = 5, .inputs = 9 * 128, .outputs = 6,
     .layer = {{.kind = LAYER_CONV, .in = 9, .out = 32, .taps = 5, .stride = 2, .relu = true},
               {.kind = LAYER_CONV, .in = 32, .out = 64, .taps = 5, .stride = 2, .relu = true},
               {.kind = LAYER_CONV, .in = 64, .out = 64, .taps = 3, .stride = 2, .relu = true},
               {.kind = LAYER_MEAN, .in = 64, .out = 64, .taps = 0}, {.in = 64, .out = 6, .taps = 1}}},
};

int main(int argc, char **argv)
{
    int i = 1;
    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
        if (strcmp(argv[i], "--tflite") == 0) {
            tflite = argv[i + 1];
        } else if (strcmp(argv[i], "--onnxruntime") == 0) {
            onnxruntime = argv[i + 1];
        } else if (strcmp(argv[i], "--kernels") == 0) {
            kernels = argv[i + 1];
        } else if (strcmp(argv[i], "--passes") == 0 && atoi(argv[i + 1]) >= 1 && atoi(argv[i + 1]) <= PASSES_MAX) {
            passes = atoi(argv[i + 1]);
        } else {
            fprintf(stderr, "unknown option %s\n", argv[i]);
            return 2;
        }
    }
    printf("%-14s %-7s %5s %12s %12s %12s %12s %8s\n", "model", "form", "batch", "weir us", "tflite", "onnxruntime", "xnnpack", "ratio");
    for (size_t n = 0; n < COUNT_OF(nets); n++) {
        net_draw(&nets[n], n + 1);
        for (int form = 0; form < 4; form++) {
            bench_net(&nets[n], form < 2 ? 1 : 64, form % 2 == 1);
        }
    }
    for (; i < argc; i++) {
        bench_file(argv[i]);
    }
    printf("dense_batch1=%.2f others=%.2f files=%.2f furthest=%.1e\n", worst_dense, worst_conv, worst_file, furthest);
    return furthest < 1e-4 ? 0 : 1;
}
