/* SPDX-License-Identifier: Apache-2.0 */
/* From pumps to two models: files as device and gateway load them, settings from pumps that the training has not seen.
 */
#include "tests/support/pump_models/pump_models.h"

#include <errno.h>
#include <limits.h>
#include <math.h>

#include "core/cascade/cascade.h"
#include "core/features/features.h"
#include "gateway/engine/engine.h"
#include "tests/support/train.h"

enum { FLOW, PRESSURE, SPEED, MOTOR_CURRENT, BEARING_TEMP, VIBRATION_RMS };
enum { FEATURES = 12, FILE_CAP = 1 << 20, VECTORS = 12, CALIBRATION_ROWS = 500 };
enum { TRAIN_SEED = 1000, TRAIN_PUMPS = 40, VALID_SEED = 2000, VALID_PUMPS = 20, TEST_SEED = 3000 };

static const char *const channels[PUMP_CHANNELS] = {"flow",          "pressure",     "speed",
                                                    "motor_current", "bearing_temp", "vibration_rms"};
struct spec {
    const char *name;
    struct feature features[FEATURES];
    unsigned feature_count;
    bool int8;
    struct train_layer layers[3];
    unsigned layer_count;
    struct train_plan plan;
};
/* The device's knows how the pump shakes and what it gives, roughly; the gateway's sees every channel. Load and early
 * wear, early wear and a leak look alike to the small one. */
static const struct spec specs[2] = {
    {.name = "small",
     .features = {{.kind = FEATURE_MEAN, .channel = VIBRATION_RMS}, {.kind = FEATURE_MEAN, .channel = PRESSURE}},
     .feature_count = 2,
     .int8 = true,
     .layers = {{.kind = TRAIN_DENSE, .out = 8}, {.kind = TRAIN_DENSE, .out = PUMP_CLASSES}},
     .layer_count = 2,
     .plan = {.epochs = 30, .batch = 32, .rate = 3e-3, .decay = 1e-3}},
    {.name = "heavy",
     .features = {{.kind = FEATURE_MEAN, .channel = FLOW},
                  {.kind = FEATURE_MEAN, .channel = PRESSURE},
                  {.kind = FEATURE_MEAN, .channel = SPEED},
                  {.kind = FEATURE_MEAN, .channel = MOTOR_CURRENT},
                  {.kind = FEATURE_MEAN, .channel = BEARING_TEMP},
                  {.kind = FEATURE_MEAN, .channel = VIBRATION_RMS},
                  {.kind = FEATURE_STD, .channel = FLOW},
                  {.kind = FEATURE_STD, .channel = PRESSURE},
                  {.kind = FEATURE_STD, .channel = SPEED},
                  {.kind = FEATURE_STD, .channel = MOTOR_CURRENT},
                  {.kind = FEATURE_STD, .channel = BEARING_TEMP},
                  {.kind = FEATURE_STD, .channel = VIBRATION_RMS}},
     .feature_count = 12,
     .layers = {{.kind = TRAIN_DENSE, .out = 48},
                {.kind = TRAIN_DENSE, .out = 24},
                {.kind = TRAIN_DENSE, .out = PUMP_CLASSES}},
     .layer_count = 3,
     .plan = {.epochs = 30, .batch = 32, .rate = 3e-3, .decay = 1e-3}},
};

static FILE *create(const char *dir, const char *model, const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s/%s", dir, model, name);
    FILE *f = fopen(path, "wb");
    if (f == NULL) {
        pump_die(path, strerror(errno));
    }
    return f;
}

static void finish(FILE *f, const char *name)
{
    if (ferror(f) != 0 || fclose(f) != 0) {
        pump_die(name, "cannot be written");
    }
}

/* Sound, worn and leaking pumps, from their first sample on. */
static void gather(uint64_t seed, unsigned pumps, struct pump_rows *rows)
{
    for (unsigned n = 0; n < pumps; n++) {
        const struct pump_run runs[] = {
            {.seed = seed + n, .fault = "none", .onset = 1, .cycle = 1000000, .samples = 2400},
            {.seed = seed + n, .fault = "wear", .onset = 250, .cycle = 1450, .samples = 1450},
            {.seed = seed + n, .fault = "leak", .onset = 250, .cycle = 1450, .samples = 1450},
        };
        for (unsigned i = 0; i < COUNT_OF(runs); i++) {
            pump_windows(&runs[i], rows);
        }
    }
}

static float *features_rows(const struct features_options *options, const struct pump_rows *rows)
{
    struct fault fault;
    struct features *features;
    size_t n = features_outputs(options, &fault), bytes = features_bytes(options);
    void *memory = pump_get(bytes);
    float *out = pump_get(rows->count * n * sizeof(*out));
    if (n == 0 || features_init(options, memory, bytes, &features, &fault) != OK) {
        pump_die("features", fault.text);
    }
    for (size_t i = 0; i < rows->count; i++) {
        (void)features_of(features, rows->windows + i * PUMP_WINDOW * PUMP_CHANNELS, out + i * n);
    }
    free(memory);
    return out;
}

/* To mean 0 and standard deviation 1; the numbers as they stand in the file. */
static void scale(float *rows, size_t count, size_t n, FILE *out)
{
    for (size_t i = 0; i < n; i++) {
        double sum = 0, square = 0;
        char text[2][32];
        for (size_t r = 0; r < count; r++) {
            sum += (double)rows[r * n + i];
            square += (double)rows[r * n + i] * (double)rows[r * n + i];
        }
        double mean = sum / (double)count, deviation = sqrt(fmax(square / (double)count - mean * mean, 1e-12));
        snprintf(text[0], sizeof(text[0]), "%.6g", mean);
        snprintf(text[1], sizeof(text[1]), "%.6g", 1 / deviation);
        fprintf(out, "%s,%s\n", text[0], text[1]);
        float offset = strtof(text[0], NULL), factor = strtof(text[1], NULL);
        for (size_t r = 0; r < count; r++) {
            rows[r * n + i] = (rows[r * n + i] - offset) * factor;
        }
    }
}

static void train(const char *dir, const struct spec *spec, const struct pump_rows *rows)
{
    const struct features_options options = {.channels = PUMP_CHANNELS,
                                             .window = PUMP_WINDOW,
                                             .hop = PUMP_HOP,
                                             .rate_hz = PUMP_RATE_HZ,
                                             .features = spec->features,
                                             .count = spec->feature_count};
    float *x = features_rows(&options, rows);
    FILE *f = create(dir, spec->name, "scaling.csv");
    scale(x, rows->count, spec->feature_count, f);
    finish(f, "scaling.csv");
    CLEANUP(train_freep)
    struct train *t = train_new((struct train_shape){1, 1, spec->feature_count}, spec->layers, spec->layer_count, 1);
    double loss = train_fit(t, x, rows->labels, rows->count, &spec->plan);
    uint8_t *bytes = pump_get(FILE_CAP);
    float *some = pump_get(CALIBRATION_ROWS * spec->feature_count * sizeof(*some));
    for (size_t i = 0; i < CALIBRATION_ROWS; i++) { /* from everywhere in the training part */
        memcpy(some + i * spec->feature_count, x + i * rows->count / CALIBRATION_ROWS * spec->feature_count,
               spec->feature_count * sizeof(*some));
    }
    size_t len = train_write(t, spec->int8 ? some : NULL, CALIBRATION_ROWS, bytes, FILE_CAP);
    f = create(dir, spec->name, "network.tflite");
    fwrite(bytes, 1, len, f);
    finish(f, "network.tflite");
    fprintf(stderr, "%s: %zu windows, %zu weights, loss %.4f, network %zu B\n", spec->name, rows->count,
            train_weights(t), loss, len);
    free(bytes);
    free(some);
    free(x);
}

static void describe(const char *dir, const struct spec *spec, double temperature, double unsure_below)
{
    FILE *f = create(dir, spec->name, "model.yaml");
    fprintf(f,
            "# Made by deploy/models/make, from simulated pumps.\nmodel: pump-%s\nnetwork: network.tflite\nchannels: [",
            spec->name);
    for (unsigned i = 0; i < PUMP_CHANNELS; i++) {
        fprintf(f, "%s%s", i > 0 ? ", " : "", channels[i]);
    }
    fprintf(f, "]\nrate: %d\nwindow: %d\nhop: %d\nfeatures:\n", PUMP_RATE_HZ, PUMP_WINDOW, PUMP_HOP);
    for (unsigned i = 0; i < spec->feature_count; i++) {
        const struct feature *feature = &spec->features[i];
        fprintf(f, "  %s-%s: {kind: %s, channel: %s}\n", channels[feature->channel], feature_name(feature->kind),
                feature_name(feature->kind), channels[feature->channel]);
    }
    fprintf(f, "scaling: scaling.csv\nclasses: [%s, %s, %s]\ntemperature: %.3f\nunsure_below: %.3f\n", pump_classes[0],
            pump_classes[1], pump_classes[2], temperature, unsure_below);
    finish(f, "model.yaml");
}

/* ---- as device and gateway load them ---- */
struct loaded {
    struct model *model; /* owned */
    const struct model_info *info;
    struct engine *engine; /* owned; runs int8 as the device does */
    float *rows, *outputs; /* owned; of the windows */
};

static void load(const char *dir, const char *name, const struct pump_rows *rows, struct loaded *l)
{
    char path[PATH_MAX];
    struct fault fault = {.code = OK};
    BUFFER(problems, 4096);
    snprintf(path, sizeof(path), "%s/%s/model.yaml", dir, name);
    if (model_load(path, &l->model, &problems) != OK) {
        buffer_put_u8(&problems, 0);
        pump_die(path, (const char *)problems.ptr);
    }
    l->info = model_info(l->model);
    if (engine_open_network(l->info->network, 1, &l->engine, &fault) != OK) {
        pump_die(l->info->network, fault.text);
    }
    l->rows = features_rows(&l->info->features, rows);
    l->outputs = pump_get(rows->count * PUMP_CLASSES * sizeof(*l->outputs));
    for (size_t i = 0; i < rows->count; i++) {
        if (engine_run(l->engine, l->rows + i * l->info->inputs, 1, l->outputs + i * PUMP_CLASSES, &fault) != OK) {
            pump_die(l->info->network, fault.text);
        }
    }
}

static void unload(struct loaded *l)
{
    engine_free(l->engine);
    model_free(l->model);
    free(l->rows);
    free(l->outputs);
}

static struct decision say(const struct loaded *l, size_t i)
{
    return model_decide(l->info, l->rows + i * l->info->inputs, l->outputs + i * PUMP_CLASSES, PUMP_CLASSES);
}

/* Outputs with as many digits as every kernel agrees on. */
static void put_vectors(const char *dir, const struct spec *spec, const struct loaded *l, size_t count)
{
    FILE *f = create(dir, spec->name, "vectors.csv");
    for (size_t v = 0; v < VECTORS; v++) {
        size_t i = v * count / VECTORS;
        for (size_t k = 0; k < l->info->inputs; k++) {
            fprintf(f, "%.9g,", (double)l->rows[i * l->info->inputs + k]);
        }
        for (size_t k = 0; k < PUMP_CLASSES; k++) {
            fprintf(f, "%.5g%c", (double)l->outputs[i * PUMP_CLASSES + k], k + 1 < PUMP_CLASSES ? ',' : '\n');
        }
    }
    finish(f, "vectors.csv");
}

/* The confidence below which the small model asks: as seldom as it may when a quarter of a point is all that may be
 * lost to the heavy one. */
static double threshold(const struct loaded *small, const struct loaded *heavy, const struct pump_rows *rows)
{
    struct cascade_case *cases = pump_get(rows->count * sizeof(*cases));
    struct cascade_point *points = pump_get((rows->count + 1) * sizeof(*points)), chosen;
    const struct cascade_cost cost = {.result_bytes = 60, .ask_bytes = 500, .device_us = 1, .ask_us = 1000};
    for (size_t i = 0; i < rows->count; i++) {
        struct decision a = say(small, i), b = say(heavy, i);
        cases[i] = (struct cascade_case){.confidence = a.confidence,
                                         .device_right = a.class == rows->labels[i],
                                         .gateway_right = b.class == rows->labels[i]};
    }
    size_t n = cascade_curve(cases, rows->count, &cost, points);
    if (cascade_pick_gap(points, n, 0.0025, 2.33, &chosen) != OK) {
        pump_die("threshold", "there is none");
    }
    fprintf(stderr, "validation: alone %.2f %%, cascade %.2f %%, asked %.1f %%\n", 100 * points[0].accuracy,
            100 * chosen.accuracy, 100 * chosen.escalated);
    free(cases);
    free(points);
    return chosen.threshold;
}

static double temperature(const struct loaded *l, const struct pump_rows *rows)
{
    double t = 1;
    if (cascade_temperature(l->outputs, rows->labels, rows->count, PUMP_CLASSES, &t, NULL) != OK) {
        pump_die("temperature", "there is none");
    }
    return fmax(t, 1); /* a part that is answered without a mistake says nothing for less doubt */
}

void models_make(const char *dir)
{
    CLEANUP(pump_rows_deinit) struct pump_rows rows = {.count = 0};
    CLEANUP(pump_rows_deinit) struct pump_rows valid = {.count = 0};
    struct loaded loaded[2];
    double t[2];
    gather(TRAIN_SEED, TRAIN_PUMPS, &rows);
    gather(VALID_SEED, VALID_PUMPS, &valid);
    for (unsigned m = 0; m < 2; m++) {
        train(dir, &specs[m], &rows);
        describe(dir, &specs[m], 1, 0);
        load(dir, specs[m].name, &valid, &loaded[m]);
        put_vectors(dir, &specs[m], &loaded[m], valid.count);
        t[m] = temperature(&loaded[m], &valid);
        describe(dir, &specs[m], t[m], 0);
        unload(&loaded[m]);
        load(dir, specs[m].name, &valid, &loaded[m]);
    }
    describe(dir, &specs[0], t[0], threshold(&loaded[0], &loaded[1], &valid));
    describe(dir, &specs[1], t[1], 0.6);
    unload(&loaded[0]);
    unload(&loaded[1]);
}

bool models_same(const char *dir, const char *other)
{
    CLEANUP(pump_rows_deinit) struct pump_rows rows = {.count = 0};
    size_t differ = 0, unsure = 0, count = 0;
    gather(TEST_SEED, 5, &rows);
    for (unsigned m = 0; m < 2; m++) {
        struct loaded a, b;
        load(dir, specs[m].name, &rows, &a);
        load(other, specs[m].name, &rows, &b);
        for (size_t i = 0; i < rows.count; i++) {
            struct decision x = say(&a, i), y = say(&b, i);
            count++;
            differ += x.class != y.class;
            unsure += x.unsure != y.unsure;
        }
        unload(&a);
        unload(&b);
    }
    printf("answers=%zu other_class=%zu other_sureness=%zu\n", count, differ, unsure);
    return differ * 200 <= count && unsure * 100 <= count; /* in the last bits of training, if at all */
}
