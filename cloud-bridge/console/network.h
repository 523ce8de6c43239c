/* SPDX-License-Identifier: Apache-2.0 */
/*
 * network - a model on the operator's machine: read, looked at, run over recorded rows. The same code as on the device
 * (core/features, core/nn, proto/model) with the kernels of a microcontroller, so that costs are a device's and answers
 * its very answers.
 */
#ifndef CLOUD_BRIDGE_CONSOLE_NETWORK_H
#define CLOUD_BRIDGE_CONSOLE_NETWORK_H

#include "core/nn/nn.h"
#include "proto/model/model.h"

enum { NETWORK_MEMORY_MAX = 1 << 30 };
struct network {
    struct model *model;    /* owned; NULL: a .tflite by itself */
    uint8_t *file, *memory; /* owned */
    size_t file_bytes;
    struct nn *nn;
    struct nn_cost cost;
    float *row, *output; /* owned; of a model */
};
/* path: model.yaml or .tflite (it begins otherwise than text does). ERR_NOT_FOUND, ERR_IO, ERR_MALFORMED, ERR_RANGE,
 * ERR_UNSUPPORTED (a model whose network is not .tflite: model is set, nn is not), ERR_FULL, ERR_NOMEM; reterr names
 * the file. */
enum err network_open(const char *path, struct network *ret_network, struct fault *reterr) MUST_CHECK;
void network_deinit(struct network *network); /* harmless when zeroed */
/* Answer for n->row, which has been filled in. */
struct decision network_answer(struct network *network);

#endif
