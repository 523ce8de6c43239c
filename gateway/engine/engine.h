/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine - a model that answers: one face for networks (.tflite, core/nn), trees (core/trees) and ONNX models, which ONNX Runtime runs
 * when an operator has put its library on the machine (loaded at run time, never linked).
 *
 *   rows of float32 in, rows of float32 out; an int8 network is quantised and dequantised here
 *
 * A model carries self-test vectors: an engine that does not give their outputs within the tolerance is refused, whatever
 * else it does. Blocking: used on a worker's thread; one call at a time.
 */
#ifndef GATEWAY_ENGINE_ENGINE_H
#define GATEWAY_ENGINE_ENGINE_H

#include "core/base/base.h"

struct engine;

enum { ENGINE_FILE_MAX = 256 << 20, ENGINE_ROW_MAX = 1 << 20 };
struct engine_info {
    const char *name;       /* "own", "onnxruntime" */
    const char *detail;     /* kernels in use, version of the library */
    size_t inputs, outputs; /* floats of a row */
    size_t batch_max;
};

/* A .tflite file with one input and one output tensor. batch_max 1..NN_BATCH_MAX. As nn_load; ERR_IO. */
enum err engine_open_network(const char *path, size_t batch_max, struct engine **ret_engine,
                             struct fault *reterr) MUST_CHECK;
/* Trees that XGBoost has saved as JSON. As trees_load; ERR_IO. */
enum err engine_open_trees(const char *path, size_t batch_max, struct engine **ret_engine, struct fault *reterr) MUST_CHECK;
/* An ONNX file with one float32 input [batch, ...] and one float32 output. library: path of libonnxruntime.so; any version
 * with version 1 of its API. ERR_IO: either cannot be loaded; ERR_UNSUPPORTED: other inputs or outputs. */
enum err engine_open_onnx(const char *library, const char *path, size_t batch_max, struct engine **ret_engine,
                          struct fault *reterr) MUST_CHECK;
void engine_free(struct engine *engine);
DEFINE_CLEANUP(struct engine, engine_free)
const struct engine_info *engine_info(const struct engine *engine);
/* in: batch x inputs, out: batch x outputs; 1 <= batch <= batch_max. ERR_IO: the library failed, with its sentence. */
enum err engine_run(struct engine *engine, const float *in, size_t batch, float *out, struct fault *reterr) MUST_CHECK;
/* Runs `rows` vectors; ERR_DENIED: an output is further than tolerance * max(1, |expected|) from what is expected, or not a
 * number (the sentence names row and output). */
enum err engine_self_test(struct engine *engine, const float *in, const float *expected, size_t rows, double tolerance,
                          struct fault *reterr) MUST_CHECK;

#endif
