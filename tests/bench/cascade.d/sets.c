/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recordings and how they are split.
 *
 * cwru: vibration of a bearing's drive end, 12 kHz, 60,000 samples per recording: 4 loads x 6 faults, and the sound
 * bearing at 1797 rpm. 7 classes; windows of 256 samples (21 ms, less than a turn). Split by time within each
 * recording: first half training, then a fifth validation, the last three tenths test. No window crosses from one part
 * to another; test windows do not overlap.
 *
 * cwru-load: the same, but what was recorded at 1730 rpm is not seen in training and validation, and all of it is test
 * (with the sound bearing's last three tenths, which exists at 1797 rpm only).
 *
 * mnist: the last 6,000 of the 60,000 training images are validation; the test set is the test set.
 */
#include <math.h>
#include <stdio.h>

#include "tests/bench/cascade.d/bench.h"

enum { CWRU_SAMPLES = 60000, CWRU_WINDOW = 256, CWRU_HOP = 96, SIDE = 28, PIXELS = SIDE * SIDE };

#define CWRU_STEP (1.0F / 8192)

static const char *const cwru_classes[] = {"normal", "inner-7", "inner-21", "ball-7", "ball-21", "outer-7", "outer-21"};
static const char *const cwru_files[] = {"Normal",    "IR_7_DE12",   "IR_21_DE12",  "B_7_DE12",
                                         "B_21_DE12", "OR@6_7_DE12", "OR@6_21_DE12"};
static const int cwru_speeds[] = {1797, 1772, 1750, 1730};
static const char *const digits[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};

static void rows_reserve(struct rows *rows, size_t cap, size_t window)
{
    rows->windows = calloc(cap, window * sizeof(float));
    rows->labels = calloc(cap, 1);
    rows->cap = cap;
    if (rows->windows == NULL || rows->labels == NULL) {
        abort();
    }
}

static void rows_add(struct rows *rows, const float *window, size_t len, uint8_t label)
{
    if (rows->count < rows->cap) {
        memcpy(rows->windows + rows->count * len, window, len * sizeof(*window));
        rows->labels[rows->count++] = label;
    }
}

/* Drawn without order, so that a limit takes from everywhere. */
static void rows_shuffle(struct rows *rows, size_t len, size_t limit)
{
    float *spare = calloc(len, sizeof(*spare));
    uint64_t seed = 1;
    if (spare == NULL) {
        abort();
    }
    for (size_t i = rows->count; i > 1 && limit != 0 && limit < rows->count; i--) {
        seed = mix_u64(seed);
        size_t j = seed % i, bytes = len * sizeof(*spare);
        uint8_t label = rows->labels[i - 1];
        memcpy(spare, rows->windows + (i - 1) * len, bytes);
        memmove(rows->windows + (i - 1) * len, rows->windows + j * len, bytes);
        memcpy(rows->windows + j * len, spare, bytes);
        rows->labels[i - 1] = rows->labels[j];
        rows->labels[j] = label;
    }
    rows->count = limit != 0 && limit < rows->count ? limit : rows->count;
    free(spare);
}

/* The last `bytes` of a file that is larger by its head; false with a sentence. */
static bool read_tail(const char *path, size_t head, void *to, size_t bytes)
{
    FILE *f = fopen(path, "rb");
    bool good = f != NULL && fseek(f, 0, SEEK_END) == 0 && ftell(f) == (long)(head + bytes) &&
                fseek(f, (long)head, SEEK_SET) == 0 && fread(to, 1, bytes, f) == bytes;
    if (f != NULL) {
        fclose(f);
    }
    if (!good) {
        fprintf(stderr, "%s: cannot be read, or is not as long as expected\n", path);
    }
    return good;
}

/* ---- bearings ---- */
static void cut(struct rows *rows, const float *samples, size_t from, size_t to, size_t hop, uint8_t label)
{
    for (size_t at = from; at + CWRU_WINDOW <= to; at += hop) {
        rows_add(rows, samples + at, CWRU_WINDOW, label);
    }
}

enum use { LEARN, LEARN_AND_TEST, TEST_ALL };
static bool add_recording(struct set *set, const char *dir, int speed, uint8_t label, enum use use)
{
    static float samples[CWRU_SAMPLES];
    static int16_t raw[CWRU_SAMPLES];
    char path[512];
    snprintf(path, sizeof(path), "%s/%d_%s.npy", dir, speed, cwru_files[label]);
    if (!read_tail(path, 128, raw, sizeof(raw))) {
        return false;
    }
    for (size_t i = 0; i < CWRU_SAMPLES; i++) {
        samples[i] = (float)raw[i] * CWRU_STEP;
    }
    size_t valid = CWRU_SAMPLES / 2, test = CWRU_SAMPLES / 10 * 7;
    if (use != TEST_ALL) {
        cut(&set->train, samples, 0, valid, CWRU_HOP, label);
        cut(&set->valid, samples, valid, test, CWRU_WINDOW / 2, label);
    }
    if (use != LEARN) {
        cut(&set->test, samples, use == TEST_ALL ? 0 : test, CWRU_SAMPLES, CWRU_WINDOW, label);
    }
    return true;
}

static enum err load_cwru(struct set *set, const char *dir, bool by_load)
{
    rows_reserve(&set->train, 25 * (CWRU_SAMPLES / CWRU_HOP), CWRU_WINDOW);
    rows_reserve(&set->valid, 25 * (CWRU_SAMPLES / CWRU_WINDOW), CWRU_WINDOW);
    rows_reserve(&set->test, 25 * (CWRU_SAMPLES / CWRU_WINDOW), CWRU_WINDOW);
    for (size_t s = 0; s < COUNT_OF(cwru_speeds); s++) {
        for (uint8_t label = 0; label < COUNT_OF(cwru_files); label++) {
            enum use use = !by_load || label == 0 ? LEARN_AND_TEST : cwru_speeds[s] == 1730 ? TEST_ALL : LEARN;
            bool recorded = label != 0 || s == 0; /* the sound bearing: once */
            if (recorded && !add_recording(set, dir, cwru_speeds[s], label, use)) {
                return ERR_IO;
            }
        }
    }
    set->window = CWRU_WINDOW;
    set->rate_hz = 12000;
    set->ask_window = true; /* the gateway's features are not the device's */
    set->resolution = CWRU_STEP;
    set->classes = cwru_classes;
    set->class_count = COUNT_OF(cwru_classes);
    set->device = (struct spec){.name = "bearing-device",
                                .int8 = true,
                                .features = {{.kind = FEATURE_STD},
                                             {.kind = FEATURE_CREST},
                                             {.kind = FEATURE_KURTOSIS},
                                             {.kind = FEATURE_BANDS, .bands = 3}},
                                .feature_count = 4,
                                .layers = {{.out = 16}, {.out = 7}},
                                .layer_count = 2,
                                .plan = {.epochs = 20, .batch = 32, .rate = 0.005, .decay = 0.001}};
    set->gateway = (struct spec){.name = "bearing-gateway",
                                 .features = {{.kind = FEATURE_STD},
                                              {.kind = FEATURE_SKEWNESS},
                                              {.kind = FEATURE_KURTOSIS},
                                              {.kind = FEATURE_CREST},
                                              {.kind = FEATURE_BANDS, .bands = 64}},
                                 .feature_count = 5,
                                 .layers = {{.out = 128}, {.out = 64}, {.out = 7}},
                                 .layer_count = 3,
                                 .plan = {.epochs = 20, .batch = 32, .rate = 0.002, .decay = 0.01}};
    return OK;
}

/* ---- digits ---- */
static bool read_images(const char *dir, const char *part, size_t count, struct rows *rows, struct rows *ret_last,
                        size_t last)
{
    char path[512];
    uint8_t *pixels = calloc(count, PIXELS), *labels = calloc(count, 1);
    float window[PIXELS];
    if (pixels == NULL || labels == NULL) {
        abort();
    }
    snprintf(path, sizeof(path), "%s/%s-images-idx3-ubyte", dir, part);
    bool good = read_tail(path, 16, pixels, count * PIXELS);
    snprintf(path, sizeof(path), "%s/%s-labels-idx1-ubyte", dir, part);
    good = good && read_tail(path, 8, labels, count);
    for (size_t i = 0; good && i < count; i++) {
        for (size_t p = 0; p < PIXELS; p++) {
            window[p] = pixels[i * PIXELS + p];
        }
        rows_add(i + last >= count ? ret_last : rows, window, PIXELS, labels[i]);
    }
    free(pixels);
    free(labels);
    return good;
}

static enum err load_mnist(struct set *set, const char *dir)
{
    rows_reserve(&set->train, 54000, PIXELS);
    rows_reserve(&set->valid, 6000, PIXELS);
    rows_reserve(&set->test, 10000, PIXELS);
    if (!read_images(dir, "train", 60000, &set->train, &set->valid, 6000) ||
        !read_images(dir, "t10k", 10000, &set->test, &set->test, 0)) {
        return ERR_IO;
    }
    set->window = PIXELS;
    set->rate_hz = 1;
    set->classes = digits;
    set->class_count = COUNT_OF(digits);
    const struct spec both = {
        .features = {{.kind = FEATURE_RAW}}, .feature_count = 1, .alike = true, .shape = {SIDE, SIDE, 1}};
    set->device = set->gateway = both;
    set->device.name = "digits-device";
    set->device.int8 = true;
    set->device.layers[0] = (struct train_layer){TRAIN_CONV, 4, 5, 5, 2, 2};
    set->device.layers[1] = (struct train_layer){TRAIN_CONV, 8, 3, 3, 2, 2};
    set->device.layers[2] = (struct train_layer){.kind = TRAIN_DENSE, .out = 10};
    set->device.layer_count = 3;
    set->device.plan = (struct train_plan){.epochs = 4, .batch = 32, .rate = 0.004, .decay = 0};
    set->gateway.name = "digits-gateway";
    set->gateway.layers[0] = (struct train_layer){TRAIN_CONV, 16, 5, 5, 2, 2};
    set->gateway.layers[1] = (struct train_layer){TRAIN_CONV, 32, 3, 3, 2, 2};
    set->gateway.layers[2] = (struct train_layer){.kind = TRAIN_DENSE, .out = 64};
    set->gateway.layers[3] = (struct train_layer){.kind = TRAIN_DENSE, .out = 10};
    set->gateway.layer_count = 4;
    set->gateway.plan = (struct train_plan){.epochs = 5, .batch = 64, .rate = 0.002, .decay = 0.01};
    return OK;
}

enum err set_load(const char *name, const char *dir, const struct size_limits *limits, struct set *ret_set)
{
    struct set *set = ret_set;
    *set = (struct set){.name = name};
    bool by_load = strcmp(name, "cwru-load") == 0;
    if (by_load || strcmp(name, "cwru") == 0) {
        TRY(load_cwru(set, dir, by_load));
    } else if (strcmp(name, "mnist") == 0) {
        TRY(load_mnist(set, dir));
    } else {
        return ERR_NOT_FOUND;
    }
    rows_shuffle(&set->train, set->window, limits->train);
    rows_shuffle(&set->valid, set->window, limits->test);
    rows_shuffle(&set->test, set->window, limits->test);
    if (limits->epochs != 0) {
        set->device.plan.epochs = (unsigned)min_u64(set->device.plan.epochs, limits->epochs);
        set->gateway.plan.epochs = (unsigned)min_u64(set->gateway.plan.epochs, limits->epochs);
    }
    return OK;
}

static void rows_deinit(struct rows *rows)
{
    free(rows->windows);
    free(rows->labels);
}

void set_deinit(struct set *set)
{
    rows_deinit(&set->train);
    rows_deinit(&set->valid);
    rows_deinit(&set->test);
}
