/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model_files - files of small models for tests: networks as .tflite, descriptions, vectors. What goes wrong ends the
 * program.
 */
#ifndef TESTS_SUPPORT_MODEL_FILES_H
#define TESTS_SUPPORT_MODEL_FILES_H

#include "core/base/base.h"

enum { MODEL_FILES_WIDTH = 256 };

void model_files_text(const char *path, const char *text);
/* out = weights [outputs][inputs] x in; float32. weights NULL: what comes in goes out (inputs = outputs). */
void model_files_linear(const char *path, unsigned inputs, unsigned outputs, const float *weights);
/* Two dense layers with a RELU between, weights drawn from seed. */
void model_files_layers(const char *path, unsigned inputs, unsigned hidden, unsigned outputs, uint64_t seed);
/* An ONNX file: out = -in, rows of so many float32. */
void model_files_onnx(const char *path, unsigned width);

#endif
