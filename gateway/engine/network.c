/* SPDX-License-Identifier: Apache-2.0 */
#include "core/nn/nn.h"
#include "gateway/engine/engine_internal.h"

struct network {
    void *file, *memory; /* owned */
    struct nn *nn;
};

static void network_free(void *self)
{
    struct network *n = self;
    free(n->file);
    free(n->memory);
    free(n);
}

static void quantise(const struct nn_tensor *info, const float *in, size_t count, void *to)
{
    if (info->type == NN_FLOAT32) {
        memcpy(to, in, count * sizeof(*in));
        return;
    }
    for (size_t i = 0; i < count; i++) {
        ((int8_t *)to)[i] = nn_quantize(info, in[i]);
    }
}

static void dequantise(const struct nn_tensor *info, const void *from, size_t count, float *out)
{
    if (info->type == NN_FLOAT32) {
        memcpy(out, from, count * sizeof(*out));
        return;
    }
    for (size_t i = 0; i < count; i++) {
        out[i] = nn_dequantize(info, ((const int8_t *)from)[i]);
    }
}

static size_t row(const struct nn_tensor *info, size_t batch)
{
    return info->elements / batch;
}

static enum err network_run(void *self, const float *in, size_t batch, float *out, struct fault *reterr)
{
    struct network *n = self;
    const struct nn_tensor *from = nn_input_info(n->nn, 0), *to = nn_output_info(n->nn, 0);
    (void)reterr;
    quantise(from, in, row(from, nn_batch(n->nn)) * batch, nn_input(n->nn, 0));
    nn_run(n->nn, (unsigned)batch);
    dequantise(to, nn_output(n->nn, 0), row(to, nn_batch(n->nn)) * batch, out);
    return OK;
}

static enum err load(struct network *n, const char *path, size_t len, size_t batch_max, struct fault *reterr)
{
    struct nn_options options = {.batch = (unsigned)batch_max};
    struct nn_cost cost;
    struct fault fault = {.code = OK};
    enum err err = nn_load(slice_of(n->file, len), NULL, 0, &options, &n->nn, &cost, &fault);
    for (size_t bytes = (size_t)1 << 16; err == ERR_FULL; bytes = cost.memory_bytes) {
        bytes = max_u64(bytes, cost.memory_bytes);
        free(take(n->memory));
        if (posix_memalign(&n->memory, 64, bytes) != 0) {
            n->memory = NULL;
            return fault_set(reterr, ERR_NOMEM, "out of memory");
        }
        err = nn_load(slice_of(n->file, len), n->memory, bytes, &options, &n->nn, &cost, &fault);
    }
    return err == OK ? OK : fault_set(reterr, err, "%s: %s", path, fault.text);
}

enum err engine_open_network(const char *path, size_t batch_max, struct engine **ret_engine, struct fault *reterr)
{
    static const struct engine_ops ops = {.run = network_run, .free = network_free};
    struct network *n = calloc(1, sizeof(*n));
    size_t len = 0;
    if (n == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    enum err err = engine_read_file(path, ENGINE_FILE_MAX, &n->file, &len, reterr);
    err = err == OK ? load(n, path, len, batch_max, reterr) : err;
    if (err == OK && (nn_inputs(n->nn) != 1 || nn_outputs(n->nn) != 1)) {
        err = fault_set(reterr, ERR_UNSUPPORTED, "%s: a model with one input and one output is needed", path);
    }
    if (err != OK) {
        network_free(n);
        return err;
    }
    struct engine_info info = {.name = "own",
                               .detail = nn_kernels(n->nn),
                               .inputs = row(nn_input_info(n->nn, 0), batch_max),
                               .outputs = row(nn_output_info(n->nn, 0), batch_max),
                               .batch_max = batch_max};
    return engine_make(&ops, n, &info, ret_engine, reterr);
}
