/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-tiny-model write DIR NAME HEAD A B: the files of tiny_model.h.
 * weir-tiny-model run MODEL.yaml: windows from stdin, a row of all the model's channels a line; for each, as
 * core/features, core/nn and proto/model answer it without a device around them, a line on stdout: label confidence
 * unsure.
 */
#include <stdio.h>

#include "core/features/features.h"
#include "core/nn/nn.h"
#include "proto/model/model.h"
#include "tests/support/tiny_model.h"

enum { MEMORY = 1 << 20, VALUES = 65536 };
static _Alignas(64) uint8_t network[MEMORY], memory[MEMORY], scratch[MEMORY];
static float row[VALUES], output[VALUES], values[FEATURES_CHANNELS_MAX];

static bool next_row(unsigned channels)
{
    for (unsigned i = 0; i < channels; i++) {
        if (scanf("%f", &values[i]) != 1) {
            return false;
        }
    }
    return true;
}

static void answer(const struct model_info *info, struct nn *nn)
{
    const struct nn_tensor *in = nn_input_info(nn, 0), *out = nn_output_info(nn, 0);
    for (size_t i = 0; i < in->elements; i++) {
        ((int8_t *)nn_input(nn, 0))[i] = nn_quantize(in, row[i]);
    }
    nn_run(nn, 1);
    for (size_t i = 0; i < out->elements; i++) {
        output[i] = nn_dequantize(out, ((const int8_t *)nn_output(nn, 0))[i]);
    }
    struct decision d = model_decide(info, row, output, out->elements);
    printf("%s %.7g %d\n", info->classes[d.class], (double)(float)d.confidence, d.unsure);
}

static int run(const char *path)
{
    BUFFER(problems, 4096);
    CLEANUP(model_freep) struct model *model = NULL;
    struct fault fault = {.text = "cannot be used"};
    struct features *features = NULL;
    struct nn *nn = NULL;
    struct nn_cost cost;
    FILE *file = model_load(path, &model, &problems) == OK ? fopen(model_info(model)->network, "rb") : NULL;
    size_t len = file != NULL ? fread(network, 1, sizeof(network), file) : 0;
    if (file != NULL) {
        fclose(file);
    }
    if (len == 0 || nn_load(slice_of(network, len), memory, sizeof(memory), NULL, &nn, &cost, &fault) != OK ||
        features_init(&model_info(model)->features, scratch, sizeof(scratch), &features, &fault) != OK) {
        fprintf(stderr, "%s: %s\n", path, fault.text);
        return 2;
    }
    while (next_row(model_info(model)->features.channels)) {
        if (features_push(features, values) && features_row(features, row)) {
            answer(model_info(model), nn);
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "run") == 0) {
        return run(argv[2]);
    }
    if (argc == 7 && strcmp(argv[1], "write") == 0) {
        return tiny_model_write(argv[2], argv[3], argv[4], argv[5], argv[6]) ? 0 : 1;
    }
    fprintf(stderr, "usage: weir-tiny-model write DIR NAME HEAD A B | run MODEL.yaml\n");
    return 2;
}
