/* SPDX-License-Identifier: Apache-2.0 */
/* A model from training to the files that device and gateway load. The device's network runs in core/nn as on the
 * device; the gateway's through its engine. */
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "core/nn/nn.h"
#include "gateway/engine/engine.h"
#include "tests/bench/cascade.d/bench.h"

struct tier {
    const char *dir;
    const struct set *set;
    const struct spec *spec;
    struct model *model;   /* owned */
    void *features_memory; /* owned */
    struct features *features;
    void *file, *memory; /* owned: the device's */
    struct nn *nn;
    struct engine *engine; /* owned: the gateway's */
    struct nn_cost cost;
    size_t inputs;
    float *sample_rows, *sample_logits; /* owned; what the trainer makes of SAMPLE rows */
    size_t samples;
};
enum { SAMPLE = 500 };

__attribute__((noreturn)) static void give_up(const char *what, const char *why)
{
    fprintf(stderr, "bench-cascade: %s: %s\n", what, why);
    exit(2);
}

static void *get(size_t bytes)
{
    void *p = NULL;
    if (posix_memalign(&p, 64, bytes + 64) != 0) {
        abort();
    }
    memset(p, 0, bytes + 64);
    return p;
}

static void put_file(const char *dir, const char *name, const void *bytes, size_t len)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(bytes, 1, len, f) != len || fclose(f) != 0) {
        give_up(path, strerror(errno));
    }
}

/* ---- files ---- */
static void put_description(const struct tier *t, double temperature, double unsure_below)
{
    const struct spec *spec = t->spec;
    BUFFER(text, 65536);
    buffer_printf(&text,
                  "model: %s\nnetwork: network.tflite\nchannels: [x]\nrate: %g\nwindow: %zu\nscaling: scaling.csv\n",
                  spec->name, (double)t->set->rate_hz, t->set->window);
    buffer_printf(&text, "temperature: %.9g\nunsure_below: %.9g\nfeatures:\n", temperature, unsure_below);
    for (unsigned i = 0; i < spec->feature_count; i++) {
        const struct feature *f = &spec->features[i];
        buffer_printf(&text, "  f%u: {kind: %s, channel: x", i, feature_name(f->kind));
        if (f->kind == FEATURE_BANDS) {
            buffer_printf(&text, ", bands: %u", f->bands);
        }
        buffer_printf(&text, "}\n");
    }
    buffer_printf(&text, "classes: [");
    for (size_t c = 0; c < t->set->class_count; c++) {
        buffer_printf(&text, "%s\"%s\"", c > 0 ? ", " : "", t->set->classes[c]);
    }
    buffer_printf(&text, "]\n");
    put_file(t->dir, "model.yaml", text.ptr, text.len);
}

static void put_scaling(const struct tier *t, const float *offset, const float *factor)
{
    BUFFER(text, 1 << 20);
    for (size_t i = 0; i < t->inputs; i++) {
        buffer_printf(&text, "%.6f,%.6f\n", (double)offset[i], (double)factor[i]);
    }
    put_file(t->dir, "scaling.csv", text.ptr, text.len);
}

/* Offset and factor to mean 0 and standard deviation 1 over the training part, which is scaled in place. */
static void scale(const struct tier *t, float *rows, float *offset, float *factor)
{
    size_t count = t->set->train.count, n = t->inputs;
    double all = 0, all_square = 0;
    for (size_t i = 0; i < n; i++) {
        double sum = 0, square = 0;
        for (size_t r = 0; r < count; r++) {
            double v = (double)rows[r * n + i];
            sum += v;
            square += v * v;
        }
        all += sum;
        all_square += square;
        double mean = sum / (double)count, deviation = sqrt(fmax(square / (double)count - mean * mean, 1e-12));
        offset[i] = (float)mean;
        factor[i] = (float)(1 / deviation);
    }
    double mean = all / (double)(count * n),
           deviation = sqrt(fmax(all_square / (double)(count * n) - mean * mean, 1e-12));
    for (size_t i = 0; i < n && t->spec->alike; i++) {
        offset[i] = (float)mean;
        factor[i] = (float)(1 / deviation);
    }
    for (size_t i = 0; i < count * n; i++) {
        rows[i] = (rows[i] - offset[i % n]) * factor[i % n];
    }
}

static void put_network(struct tier *t, const float *rows)
{
    enum { CAP = 8 << 20 };
    const struct spec *spec = t->spec;
    struct train_shape flat = {1, 1, (unsigned)t->inputs};
    CLEANUP(train_freep)
    struct train *train =
        train_new(spec->shape.height != 0 ? spec->shape : flat, spec->layers, spec->layer_count, t->set->seed);
    double loss = train_fit(train, rows, t->set->train.labels, t->set->train.count, &spec->plan);
    t->samples = min_u64(SAMPLE, t->set->train.count);
    t->sample_rows = get(t->samples * t->inputs * sizeof(float));
    t->sample_logits = get(t->samples * t->set->class_count * sizeof(float));
    memcpy(t->sample_rows, rows, t->samples * t->inputs * sizeof(float));
    train_run(train, rows, t->samples, t->sample_logits);
    uint8_t *bytes = get(CAP);
    size_t len = train_write(train, spec->int8 ? rows : NULL, t->samples, bytes, CAP);
    put_file(t->dir, "network.tflite", bytes, len);
    free(bytes);
    fprintf(stderr, "%s: trained on %zu windows, %zu weights, loss %.4f, file %zu B\n", spec->name, t->set->train.count,
            train_weights(train), loss, len);
}

static void train_files(struct tier *t)
{
    const struct set *set = t->set;
    const struct features_options options = {.channels = 1,
                                             .window = (unsigned)set->window,
                                             .hop = (unsigned)set->window,
                                             .rate_hz = set->rate_hz,
                                             .features = t->spec->features,
                                             .count = t->spec->feature_count};
    struct fault fault;
    struct features *features;
    t->inputs = features_outputs(&options, &fault);
    void *memory = get(features_bytes(&options));
    if (t->inputs == 0 || features_init(&options, memory, features_bytes(&options), &features, &fault) != OK) {
        give_up(t->spec->name, fault.text);
    }
    float *rows = get(set->train.count * t->inputs * sizeof(*rows));
    float *offset = get(t->inputs * sizeof(*offset)), *factor = get(t->inputs * sizeof(*factor));
    for (size_t i = 0; i < set->train.count; i++) {
        (void)features_of(features, set->train.windows + i * set->window, rows + i * t->inputs);
    }
    scale(t, rows, offset, factor);
    put_scaling(t, offset, factor);
    put_network(t, rows);
    free(rows);
    free(offset);
    free(factor);
    free(memory);
}

/* ---- as device and gateway load them ---- */
static void load_network(struct tier *t, const char *path)
{
    struct fault fault;
    long bytes = 0;
    FILE *f = fopen(path, "rb");
    if (f == NULL || fseek(f, 0, SEEK_END) != 0 || (bytes = ftell(f)) < 0) {
        give_up(path, strerror(errno));
    }
    rewind(f);
    t->file = get((size_t)bytes);
    if (fread(t->file, 1, (size_t)bytes, f) != (size_t)bytes) {
        give_up(path, "cannot be read");
    }
    fclose(f);
    struct slice file = slice_of(t->file, (size_t)bytes);
    enum err err = ERR_FULL;
    for (size_t room = 65536; err == ERR_FULL; room = max_u64(2 * room, t->cost.memory_bytes)) {
        free(take(t->memory));
        t->memory = get(room);
        err = nn_load(file, t->memory, room, NULL, &t->nn, &t->cost, &fault);
    }
    if (err != OK) {
        give_up(path, fault.text);
    }
}

void tier_settle(struct tier *t, double temperature, double unsure_below)
{
    char path[512];
    struct fault fault;
    BUFFER(problems, 4096);
    put_description(t, temperature, unsure_below);
    snprintf(path, sizeof(path), "%s/model.yaml", t->dir);
    free(take(t->features_memory));
    model_free(take(t->model));
    if (model_load(path, &t->model, &problems) != OK) {
        buffer_put_u8(&problems, 0);
        give_up(path, (const char *)problems.ptr);
    }
    const struct features_options *options = &model_info(t->model)->features;
    t->features_memory = get(features_bytes(options));
    if (features_init(options, t->features_memory, features_bytes(options), &t->features, &fault) != OK) {
        give_up(path, fault.text);
    }
}

static size_t largest(const float *values, size_t count)
{
    size_t best = 0;
    for (size_t i = 1; i < count; i++) {
        best = values[i] > values[best] ? i : best;
    }
    return best;
}

/* The file must say what the trainer says: in float32 the same logits, in int8 near ones and nearly always the same
 * class. */
static void check_file(struct tier *t)
{
    size_t classes = t->set->class_count, same = 0;
    float output[MODEL_CLASSES_MAX];
    double furthest = 0, most = 1;
    for (size_t i = 0; i < t->samples; i++) {
        const float *expected = t->sample_logits + i * classes;
        tier_run(t, t->sample_rows + i * t->inputs, output);
        same += largest(output, classes) == largest(expected, classes);
        for (size_t c = 0; c < classes; c++) {
            furthest = fmax(furthest, fabs((double)output[c] - (double)expected[c]));
            most = fmax(most, fabs((double)expected[c]));
        }
    }
    double share = (double)same / (double)t->samples;
    fprintf(stderr, "%s: the file gives the trainer's class in %.1f %%, logits within %.2g of %.3g\n", t->spec->name,
            100 * share, furthest, most);
    if (share < 0.95 || furthest > (t->spec->int8 ? 0.05 : 1e-4) * most) {
        give_up(t->spec->name, "the network's file is not what was trained");
    }
}

struct tier *tier_make(const char *dir, const struct set *set, const struct spec *spec)
{
    struct tier *t = get(sizeof(*t));
    struct fault fault;
    *t = (struct tier){.dir = dir, .set = set, .spec = spec};
    train_files(t);
    tier_settle(t, 1, 0);
    const char *network = model_info(t->model)->network;
    load_network(t, network);
    if (!spec->int8 && engine_open_network(network, 1, &t->engine, &fault) != OK) {
        give_up(network, fault.text);
    }
    check_file(t);
    return t;
}

void tier_free(struct tier *t)
{
    if (t != NULL) {
        engine_free(t->engine);
        model_free(t->model);
        free(t->features_memory);
        free(t->sample_rows);
        free(t->sample_logits);
        free(t->file);
        free(t->memory);
        free(t);
    }
}

const struct model_info *tier_info(const struct tier *t)
{
    return model_info(t->model);
}

size_t tier_weights_bytes(const struct tier *t)
{
    return t->cost.weights_bytes;
}

uint64_t tier_macs(const struct tier *t)
{
    return t->cost.macs;
}

size_t tier_inputs(const struct tier *t)
{
    return t->inputs;
}

const struct nn_tensor *tier_input(const struct tier *t)
{
    return nn_input_info(t->nn, 0);
}

void tier_row(struct tier *t, const float *window, float *ret_row)
{
    if (!features_of(t->features, window, ret_row)) {
        give_up(t->spec->name, "a window without values");
    }
}

void tier_run(struct tier *t, const float *row, float *ret_output)
{
    struct fault fault;
    if (t->engine != NULL) {
        if (engine_run(t->engine, row, 1, ret_output, &fault) != OK) {
            give_up(t->spec->name, fault.text);
        }
        return;
    }
    const struct nn_tensor *in = nn_input_info(t->nn, 0), *out = nn_output_info(t->nn, 0);
    int8_t *to = nn_input(t->nn, 0);
    for (size_t i = 0; i < in->elements; i++) {
        to[i] = nn_quantize(in, row[i]);
    }
    nn_run(t->nn, 1);
    const int8_t *from = nn_output(t->nn, 0);
    for (size_t i = 0; i < out->elements; i++) {
        ret_output[i] = nn_dequantize(out, from[i]);
    }
}
