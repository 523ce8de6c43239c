/* SPDX-License-Identifier: Apache-2.0 */
/* Files from anybody: what loads must run, in exactly the memory that it asked for, on the plainest and the fastest
 * kernels. */
#include <stdlib.h>

#include "core/nn/nn.h"

enum { MEMORY_MAX = 4 << 20, MACS_MAX = 200000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(struct slice file, const char *kernels)
{
    struct nn_options options = {.macs_max = MACS_MAX, .kernels = kernels};
    struct nn *nn = NULL;
    struct nn_cost cost = {.memory_bytes = 0};
    struct fault fault = {.code = OK};
    void *memory = NULL;
    enum err err = nn_load(file, NULL, 0, &options, &nn, &cost, &fault);
    for (size_t bytes = 0; err == ERR_FULL && cost.memory_bytes > bytes && cost.memory_bytes <= MEMORY_MAX;) {
        bytes = cost.memory_bytes;
        free(memory);
        memory = aligned_alloc(NN_ALIGN, (bytes + NN_ALIGN - 1) / NN_ALIGN * NN_ALIGN);
        err = memory != NULL ? nn_load(file, memory, bytes, &options, &nn, &cost, &fault) : ERR_NOMEM;
    }
    if (err == OK) {
        for (size_t i = 0; i < nn_inputs(nn); i++) {
            memset(nn_input(nn, i), 0x55, nn_input_info(nn, i)->bytes);
        }
        nn_run(nn, 1);
    } else if (err != ERR_FULL && err != ERR_NOMEM && fault.text[0] == '\0') {
        abort(); /* refused without a sentence */
    }
    free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    void *file = aligned_alloc(NN_ALIGN, (size + NN_ALIGN) / NN_ALIGN * NN_ALIGN); /* as nn_load wants it */
    if (file == NULL) {
        return 0;
    }
    memcpy(file, data, size);
    run(slice_of(file, size), "portable");
    run(slice_of(file, size), NULL);
    free(file);
    return 0;
}
