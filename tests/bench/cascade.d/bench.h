/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-cascade - a small int8 model, a larger one, and the two as a cascade, on data that neither has seen.
 *
 *   set_load: recordings --> windows, split in training, validation and test
 *   tier_make: windows --> folder with network, scaling and model.yaml --> loaded as device and gateway do
 */
#ifndef TESTS_BENCH_CASCADE_BENCH_H
#define TESTS_BENCH_CASCADE_BENCH_H

#include "core/cascade/cascade.h"
#include "proto/askcost/askcost.h"
#include "proto/model/model.h"
#include "tests/support/train.h"

struct rows {
    float *windows;  /* owned; [count][set.window] */
    uint8_t *labels; /* owned */
    size_t count, cap;
};
enum { SPEC_FEATURES = 12 };
struct spec { /* of a model */
    const char *name;
    struct feature features[SPEC_FEATURES];
    unsigned feature_count;
    bool alike; /* one scaling for all inputs, instead of a z-score for each */
    bool int8;
    struct train_shape shape; /* 0 x 0: a flat row */
    struct train_layer layers[TRAIN_LAYERS_MAX];
    unsigned layer_count;
    struct train_plan plan;
};
struct set {
    const char *name;
    size_t window;
    float rate_hz;
    const char *const *classes;
    size_t class_count;
    bool
        ask_window; /* an ask carries the samples as int16, in steps of `resolution`; else the device's input as int8 */
    float resolution;
    struct rows train, valid, test;
    struct spec device, gateway;
    uint64_t seed; /* of the trainer */
};
struct size_limits {
    size_t train; /* windows of each part at most; 0 = all */
    size_t test;
    unsigned epochs; /* at most; 0 = as the set says */
};
/* name: "cwru", "cwru-load", "mnist"; dir: its files, unpacked. ERR_NOT_FOUND: no such set; ERR_IO, with the path on
 * stderr. */
enum err set_load(const char *name, const char *dir, const struct size_limits *limits, struct set *ret_set) MUST_CHECK;
void set_deinit(struct set *set);

struct tier;
/* dir: exists; set and dir are borrowed for the tier's life. Trains; writes the network's file, scaling.csv and
 * model.yaml there, with temperature 1 and threshold 0; loads them. Exits with a sentence when something fails, also
 * when the file says something else than what was trained. */
struct tier *tier_make(const char *dir, const struct set *set, const struct spec *spec);
/* Writes model.yaml anew and loads it. */
void tier_settle(struct tier *tier, double temperature, double unsure_below);
void tier_free(struct tier *tier);
DEFINE_CLEANUP(struct tier, tier_free)
const struct model_info *tier_info(const struct tier *tier);
/* In the file, with biases. */
size_t tier_weights_bytes(const struct tier *tier);
uint64_t tier_macs(const struct tier *tier);
size_t tier_inputs(const struct tier *tier);
const struct nn_tensor *tier_input(const struct tier *tier);
/* The network's input of a window. */
void tier_row(struct tier *tier, const float *window, float *ret_row);
/* Its logits; [classes]. */
void tier_run(struct tier *tier, const float *row, float *ret_output);

/* ---- the link ---- */
/* What the larger model sees when the device asks about a window: through encoder and decoder of an ask. Returns its
 * bytes. */
size_t ask_row(const struct set *set, struct tier *small, struct tier *large, const float *window, float *ret_row);
/* ask: bytes of one; overhead: of each message, below MQTT. */
struct askcost ask_cost(const struct set *set, size_t ask, double overhead);

#endif
