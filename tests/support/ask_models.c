/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-ask-models DIR            makes DIR/{small,heavy,best}/model.yaml with networks of 16 inputs and 4 classes, and
 * self-test vectors DIR/heavy/vectors.csv; prints their names and ids weir-ask-models --answers FILE reads rows of 16
 * numbers; prints what the model gives: class, confidence, unsure (0, 1)
 */
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "gateway/engine/engine.h"
#include "proto/model/model.h"
#include "tests/support/model_files.h"

enum { INPUTS = 16, CLASSES = 4, VECTORS = 5 };

static struct model *load(const char *path)
{
    BUFFER(problems, 4096);
    struct model *model = NULL;
    if (model_load(path, &model, &problems) != OK) {
        fprintf(stderr, "%.*s", (int)problems.len, (const char *)problems.ptr);
        exit(1);
    }
    return model;
}

static struct engine *engine_of(const struct model *model)
{
    struct fault fault = {.code = OK};
    struct engine *engine = NULL;
    if (engine_open_network(model_info(model)->network, 1, &engine, &fault) != OK) {
        fprintf(stderr, "%s\n", fault.text);
        exit(1);
    }
    return engine;
}

static void run(struct engine *engine, const float *row, float *out)
{
    struct fault fault = {.code = OK};
    if (engine_run(engine, row, 1, out, &fault) != OK) {
        fprintf(stderr, "%s\n", fault.text);
        exit(1);
    }
}

static void write_vectors(const char *dir, const struct model *model)
{
    char path[512];
    float row[INPUTS], out[CLASSES];
    CLEANUP(engine_freep) struct engine *engine = engine_of(model);
    snprintf(path, sizeof(path), "%s/vectors.csv", dir);
    FILE *f = fopen(path, "we");
    if (f == NULL) {
        perror(path);
        exit(1);
    }
    for (unsigned n = 0; n < VECTORS; n++) {
        for (unsigned i = 0; i < INPUTS; i++) {
            row[i] = (float)((n * 7 + i * 3) % 11) / 5 - 1;
            fprintf(f, "%.9g,", (double)row[i]);
        }
        run(engine, row, out);
        fprintf(f, "%.9g,%.9g,%.9g,%.9g\n", (double)out[0], (double)out[1], (double)out[2], (double)out[3]);
    }
    (void)fclose(f);
}

static void make(const char *root, const char *name, unsigned hidden, const char *unsure_below, uint64_t seed)
{
    char dir[256], path[512], text[512];
    snprintf(dir, sizeof(dir), "%s/%s", root, name);
    (void)mkdir(dir, 0755);
    snprintf(path, sizeof(path), "%s/net.tflite", dir);
    model_files_layers(path, INPUTS, hidden, CLASSES, seed);
    snprintf(text, sizeof(text),
             "model: %s\nnetwork: net.tflite\nchannels: [x]\nwindow: %d\nfeatures:\n  all: {kind: raw, channel: x}\n"
             "classes: [normal, inner, ball, outer]\nunsure_below: %s\n",
             name, INPUTS, unsure_below);
    snprintf(path, sizeof(path), "%s/model.yaml", dir);
    model_files_text(path, text);
    CLEANUP(model_freep) struct model *model = load(path);
    write_vectors(dir, model);
    printf("%s=%016" PRIx64 "\n", name, model_info(model)->id);
}

static int answers(const char *path)
{
    CLEANUP(model_freep) struct model *model = load(path);
    CLEANUP(engine_freep) struct engine *engine = engine_of(model);
    float row[INPUTS], out[CLASSES];
    for (;;) {
        for (unsigned i = 0; i < INPUTS; i++) {
            if (scanf("%f", &row[i]) != 1) {
                return 0;
            }
        }
        run(engine, row, out);
        struct decision d = model_decide(model_info(model), row, out, CLASSES);
        printf("%u %.9g %d\n", d.class, d.confidence, d.unsure);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--answers") == 0) {
        return answers(argv[2]);
    }
    if (argc != 2) {
        fprintf(stderr, "weir-ask-models DIR | --answers MODEL\n");
        return 2;
    }
    make(argv[1], "small", 8, "0.9", 1);
    make(argv[1], "heavy", 64, "0.7", 2);
    make(argv[1], "best", 128, "0.5", 3);
    return 0;
}
