/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-cascade-data make DIR WINDOWS SEED   trains DIR/small (int8; sees one channel) and DIR/heavy (float32;
 *                                           sees both, and lists the classes in another order), and
 *                                           writes DIR/held-out.csv with WINDOWS windows that neither has seen
 * weir-cascade-data answers MODEL           rows of the channels x, y from stdin; for each window a line: label,
 *                                           confidence, unsure (0, 1), outputs, through the gateway's engine
 */
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>

#include "core/features/features.h"
#include "core/nn/nn.h"
#include "gateway/engine/engine.h"
#include "proto/model/model.h"
#include "tests/support/model_files.h"
#include "tests/support/train.h"

enum { WINDOW = 4, CHANNELS = 2, CLASSES = 3, TRAINED = 4000, INPUTS_MAX = 8, FILE_MAX = 1 << 20 };
static const char *const names[CLASSES] = {"normal", "loose", "worn"}, *const turned[CLASSES] = {"worn", "normal",
                                                                                                 "loose"};

__attribute__((noreturn)) static void give_up(const char *what)
{
    fprintf(stderr, "weir-cascade-data: %s\n", what);
    exit(1);
}

/* ---- what is drawn ---- */
static double uniform(uint64_t *seed)
{
    *seed = mix_u64(*seed);
    return ((double)(*seed >> 11) + 0.5) * 0x1p-53;
}

static double normal(uint64_t *seed)
{
    double u = uniform(seed), v = uniform(seed);
    return sqrt(-2 * log(u)) * cos(2 * 3.14159265358979 * v);
}

/* Loose moves the mean, worn the deviation and the mean a little. Two decimals, as the file has them. */
static uint8_t draw_window(uint64_t *seed, float window[WINDOW * CHANNELS])
{
    static const double means[CLASSES] = {0, 2, 1}, deviations[CLASSES] = {0.5, 0.5, 2.5};
    uint8_t class = (uint8_t)(uniform(seed) * CLASSES);
    for (size_t i = 0; i < (size_t)WINDOW * CHANNELS; i++) {
        double v = means[class] + deviations[class] * normal(seed);
        window[i] = (float)(nearbyint(v * 100) / 100);
    }
    return class;
}

/* ---- models ---- */
static const struct feature small_features[] = {{.kind = FEATURE_MEAN, .channel = 0},
                                                {.kind = FEATURE_STD, .channel = 0}};
static const struct feature heavy_features[] = {{.kind = FEATURE_MEAN, .channel = 0},
                                                {.kind = FEATURE_MEAN, .channel = 1},
                                                {.kind = FEATURE_STD, .channel = 0},
                                                {.kind = FEATURE_STD, .channel = 1}};

static void train_network(const char *path, const struct feature *features, unsigned count, bool int8,
                          const uint8_t order[CLASSES])
{
    static float rows[TRAINED * INPUTS_MAX];
    static uint8_t labels[TRAINED];
    static _Alignas(16) uint8_t memory[65536], file[FILE_MAX];
    const struct features_options options = {
        .channels = CHANNELS, .window = WINDOW, .hop = WINDOW, .rate_hz = 1, .features = features, .count = count};
    const struct train_layer layers[] = {{.out = int8 ? 8 : 32}, {.out = CLASSES}};
    const struct train_plan plan = {.epochs = 12, .batch = 32, .rate = 0.01, .decay = 0.001};
    struct features *f = NULL;
    struct fault fault;
    float window[WINDOW * CHANNELS];
    uint64_t seed = 1;
    if (features_init(&options, memory, sizeof(memory), &f, &fault) != OK) {
        give_up(fault.text);
    }
    for (size_t i = 0; i < TRAINED; i++) {
        labels[i] = order[draw_window(&seed, window)];
        (void)features_of(f, window, rows + i * count);
    }
    CLEANUP(train_freep) struct train *t = train_new((struct train_shape){1, 1, count}, layers, COUNT_OF(layers), 5);
    (void)train_fit(t, rows, labels, TRAINED, &plan);
    size_t len = train_write(t, int8 ? rows : NULL, TRAINED / 8, file, sizeof(file));
    FILE *out = fopen(path, "we");
    if (out == NULL || fwrite(file, 1, len, out) != len || fclose(out) != 0) {
        give_up(path);
    }
}

static void make_model(const char *root, const char *name, bool small)
{
    char dir[400], path[500], text[1500];
    uint8_t order[CLASSES];
    const char *const *classes = small ? names : turned;
    for (uint8_t i = 0; i < CLASSES; i++) {
        for (uint8_t k = 0; k < CLASSES; k++) {
            order[i] = strcmp(names[i], classes[k]) == 0 ? k : order[i];
        }
    }
    snprintf(dir, sizeof(dir), "%s/%s", root, name);
    (void)mkdir(dir, 0755);
    snprintf(path, sizeof(path), "%s/net.tflite", dir);
    train_network(path, small ? small_features : heavy_features,
                  small ? COUNT_OF(small_features) : COUNT_OF(heavy_features), small, order);
    snprintf(text, sizeof(text),
             "# %s – für Lager \xe2\x9a\x99\nmodel: %s   # the name\nnetwork: net.tflite\nchannels: [x, y]\nrate: 250\n"
             "window: %d\n%sfeatures:\n  mx: {kind: mean, channel: x}\n%s  sx: {kind: std, channel: x}\n%s"
             "classes: [%s, %s, %s]\n# end\n",
             name, name, WINDOW, small ? "unsure_below: 0.5   # by feel\n" : "",
             small ? "" : "  my: {kind: mean, channel: y}\n", small ? "" : "  sy: {kind: std, channel: y}\n",
             classes[0], classes[1], classes[2]);
    snprintf(path, sizeof(path), "%s/model.yaml", dir);
    model_files_text(path, text);
}

static int make(const char *dir, size_t windows, uint64_t seed)
{
    char path[500];
    float window[WINDOW * CHANNELS];
    make_model(dir, "small", true);
    make_model(dir, "heavy", false);
    snprintf(path, sizeof(path), "%s/held-out.csv", dir);
    FILE *out = fopen(path, "we");
    if (out == NULL) {
        give_up(path);
    }
    fprintf(out, "x,y,label\n");
    seed = mix_u64(seed + 1000);
    for (size_t n = 0; n < windows; n++) {
        uint8_t class = draw_window(&seed, window);
        for (size_t r = 0; r < WINDOW; r++) {
            fprintf(out, "%.2f,%.2f,%s\n", (double)window[r * CHANNELS], (double)window[r * CHANNELS + 1],
                    names[class]);
        }
    }
    return fclose(out) == 0 ? 0 : 1;
}

/* ---- answers ---- */
static int answers(const char *path)
{
    static _Alignas(16) uint8_t memory[65536];
    CLEANUP(model_freep) struct model *model = NULL;
    CLEANUP(engine_freep) struct engine *engine = NULL;
    BUFFER(problems, 4096);
    struct fault fault;
    struct features *f = NULL;
    float values[CHANNELS], row[INPUTS_MAX], output[MODEL_CLASSES_MAX];
    if (model_load(path, &model, &problems) != OK) {
        give_up(path);
    }
    const struct model_info *info = model_info(model);
    if (engine_open_network(info->network, 1, &engine, &fault) != OK ||
        features_init(&info->features, memory, sizeof(memory), &f, &fault) != OK) {
        give_up(fault.text);
    }
    while (scanf("%f %f", &values[0], &values[1]) == CHANNELS) {
        if (!features_push(f, values) || !features_row(f, row)) {
            continue;
        }
        if (engine_run(engine, row, 1, output, &fault) != OK) {
            give_up(fault.text);
        }
        struct decision d = model_decide(info, row, output, info->class_count);
        printf("%s %.17g %d", info->classes[d.class], d.confidence, d.unsure);
        for (size_t i = 0; i < info->class_count; i++) {
            printf(" %.9g", (double)output[i]);
        }
        printf("\n");
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "make") == 0) {
        return make(argv[2], strtoul(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
    }
    if (argc == 3 && strcmp(argv[1], "answers") == 0) {
        return answers(argv[2]);
    }
    fprintf(stderr, "weir-cascade-data make DIR WINDOWS SEED | answers MODEL\n");
    return 2;
}
