/* SPDX-License-Identifier: Apache-2.0 */
#include "cloud-bridge/console/network.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

void network_deinit(struct network *n)
{
    model_free(n->model);
    free(n->file);
    free(n->memory);
    free(n->row);
    free(n->output);
    *n = (struct network){.model = NULL};
}

static enum err read_file(const char *path, struct network *n, struct fault *reterr)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        return fault_set(reterr, ERR_RANGE, "%s: is a folder; a .tflite or a model.yaml in it is needed", path);
    }
    FILE *f = fopen(path, "rb");
    long size = f != NULL && fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1;
    enum err err = OK;
    if (size < 0) {
        err = fault_set(reterr, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: %s", path, strerror(errno));
    } else if (size > MODEL_NETWORK_MAX) {
        err = fault_set(reterr, ERR_RANGE, "%s: larger than 256 MiB", path);
    } else if ((n->file = aligned_alloc(NN_ALIGN, ((size_t)size / NN_ALIGN + 1) * NN_ALIGN)) == NULL) {
        err = fault_set(reterr, ERR_NOMEM, "%s: out of memory", path);
    } else if (fseek(f, 0, SEEK_SET) != 0 || fread(n->file, 1, (size_t)size, f) != (size_t)size) {
        err = fault_set(reterr, ERR_IO, "%s: cannot be read", path);
    }
    n->file_bytes = size > 0 ? (size_t)size : 0;
    if (f != NULL) {
        fclose(f);
    }
    return err;
}

static enum err load(const char *path, struct network *n, struct fault *reterr)
{
    struct fault fault = {.code = OK};
    struct slice file = slice_of(n->file, n->file_bytes);
    const struct nn_options options = {.kernels = "portable", .macs_max = UINT64_MAX};
    enum err err = nn_load(file, NULL, 0, &options, &n->nn, &n->cost, &fault);
    for (size_t have = 0;
         err == ERR_FULL && n->cost.memory_bytes > have;) { /* first the tables', then the whole need */
        have = (n->cost.memory_bytes / NN_ALIGN + 1) * NN_ALIGN;
        if (have > NETWORK_MEMORY_MAX) {
            return fault_set(reterr, ERR_FULL, "%s: needs %zu bytes of memory, more than 1 GiB", path, have);
        }
        free(n->memory);
        n->memory = aligned_alloc(NN_ALIGN, have);
        err = n->memory != NULL ? nn_load(file, n->memory, have, &options, &n->nn, &n->cost, &fault) : ERR_NOMEM;
    }
    return err == OK ? OK : fault_set(reterr, err, "%s: %s", path, fault.text[0] != '\0' ? fault.text : err_name(err));
}

static enum err fits(const char *path, const struct network *n, struct fault *reterr)
{
    const struct model_info *info = model_info(n->model);
    const struct nn_tensor *in = nn_input_info(n->nn, 0), *out = nn_output_info(n->nn, 0);
    if (nn_inputs(n->nn) != 1 || nn_outputs(n->nn) != 1 || in->type == NN_INT32 || out->type == NN_INT32) {
        return fault_set(reterr, ERR_UNSUPPORTED, "%s: the network must have one input and one output, int8 or float32",
                         path);
    }
    if (in->elements != info->inputs) {
        return fault_set(reterr, ERR_RANGE, "%s: features: give %zu values, the network takes %zu", path, info->inputs,
                         in->elements);
    }
    if ((info->output == MODEL_CLASSES && out->elements != info->class_count) ||
        (info->output == MODEL_RECONSTRUCTION && out->elements != info->inputs)) {
        return fault_set(reterr, ERR_RANGE, "%s: the network's %zu outputs are not what the description says", path,
                         out->elements);
    }
    return OK;
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), n = strlen(end);
    return len >= n && strcmp(text + len - n, end) == 0;
}

static enum err open_model(const char *path, struct network *n, struct fault *reterr)
{
    BUFFER(problems, 64 * 1024);
    enum err err = model_load(path, &n->model, &problems);
    err = err == ERR_IO && access(path, F_OK) != 0 && errno == ENOENT ? ERR_NOT_FOUND : err;
    if (err != OK) {
        size_t len = 0;
        while (len < problems.len && problems.ptr[len] != '\n') {
            len++;
        }
        return len > 0 ? fault_set(reterr, err, "%.*s", (int)len, (const char *)problems.ptr)
                       : fault_set(reterr, err, "%s: %s", path, err_name(err));
    }
    const struct model_info *info = model_info(n->model);
    if (!ends_with(info->network, ".tflite")) {
        return fault_set(reterr, ERR_UNSUPPORTED, "%s: only .tflite networks can be run here; a gateway runs others",
                         info->network);
    }
    TRY(read_file(info->network, n, reterr));
    TRY(load(info->network, n, reterr));
    TRY(fits(path, n, reterr));
    n->row = calloc(info->inputs, sizeof(*n->row));
    n->output = calloc(nn_output_info(n->nn, 0)->elements, sizeof(*n->output));
    return n->row != NULL && n->output != NULL ? OK : fault_set(reterr, ERR_NOMEM, "%s: out of memory", path);
}

enum err network_open(const char *path, struct network *n, struct fault *reterr)
{
    *n = (struct network){.model = NULL};
    if (ends_with(path, ".yaml") || ends_with(path, ".yml")) {
        return open_model(path, n, reterr);
    }
    TRY(read_file(path, n, reterr));
    return load(path, n, reterr);
}

struct decision network_answer(struct network *n)
{
    const struct nn_tensor *in = nn_input_info(n->nn, 0), *out = nn_output_info(n->nn, 0);
    if (in->type == NN_INT8) {
        int8_t *to = nn_input(n->nn, 0);
        for (size_t i = 0; i < in->elements; i++) {
            to[i] = nn_quantize(in, n->row[i]);
        }
    } else {
        memcpy(nn_input(n->nn, 0), n->row, in->bytes);
    }
    nn_run(n->nn, 1);
    const void *from = nn_output(n->nn, 0);
    for (size_t i = 0; i < out->elements; i++) {
        n->output[i] = out->type == NN_INT8 ? nn_dequantize(out, ((const int8_t *)from)[i]) : ((const float *)from)[i];
    }
    return model_decide(model_info(n->model), n->row, n->output, out->elements);
}
