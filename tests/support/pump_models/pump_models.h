/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pump_models - the two models of the simulated pump (device/sense/pump.c) that deploy/models keeps, and whether they
 * say of a pump what is true of it.
 *
 *   pump --pump_windows--> windows + classes --models_make--> folder: small/, heavy/: model.yaml, network, scaling,
 * vectors pump --pump_series---> CSV files of sound pumps, for `weir drift calibrate` pump --watch--------->
 * device/infer, gateway/escalate, gateway/health in virtual time --> events
 *
 * Everything comes from seeds: the same files on every run. What fails ends the program with a sentence.
 */
#ifndef TESTS_SUPPORT_PUMP_MODELS_H
#define TESTS_SUPPORT_PUMP_MODELS_H

#include <stdio.h>

#include "core/base/base.h"
#include "core/loop/loop.h"
#include "device/sense/sense.h"
#include "proto/model/model.h"

enum { PUMP_CHANNELS = 6, PUMP_WINDOW = 20, PUMP_HOP = 10, PUMP_RATE_HZ = 10 };
enum pump_class { PUMP_SOUND, PUMP_WORN, PUMP_LEAK, PUMP_CLASSES };
extern const char *const pump_classes[PUMP_CLASSES];

struct pump_run {
    uint64_t seed;
    const char *fault; /* of sense_options */
    uint64_t onset, cycle;
    unsigned samples;
};
struct pump_rows {
    float *windows;  /* owned; [count][PUMP_WINDOW][PUMP_CHANNELS] */
    uint8_t *labels; /* owned */
    size_t count, cap;
};

__attribute__((noreturn)) void pump_die(const char *what, const char *why);
/* Zeroed, aligned for core/nn; ends the program when memory is out. */
void *pump_get(size_t bytes);
struct sense *pump_start(struct loop *loop, const struct pump_run *run);
/* As a record carries it: whole steps of the sensor. */
void pump_read(struct sense *sense, double values[PUMP_CHANNELS]);
/* Appends the run's windows. Left out: those into which the fault's begin falls, and wear that has hardly begun. */
void pump_windows(const struct pump_run *run, struct pump_rows *rows);
void pump_rows_deinit(struct pump_rows *rows);
void pump_series(const struct pump_run *run, FILE *out);

/* Writes into dir, which exists. seed: of runs, 0 = those of the committed files. */
void models_make(const char *dir);
/* What both folders' models say of the same windows; prints a line, false where they differ. */
bool models_same(const char *dir, const char *other);
/* Pumps of every kind through the models in dir, so many of each; prints a line per kind, false when sound pumps are
 * told of or faults are not. */
struct watch_options {
    const char *dir;
    unsigned pumps, minutes; /* of each kind; at the demo's ten samples a second */
};
bool watch(const struct watch_options *options);

#endif
