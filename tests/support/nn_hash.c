/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the model that is linked in (MODEL, an int8 .tflite file) on the inputs of tflite_exact.c with each of KERNELS that
 * this processor has. A line per set: kernels= hash= (of all outputs) memory_bytes= arena_bytes= ; the last: best= (what is
 * chosen when nothing is asked for). Needs no OS. */
#include <stdio.h>

#include "core/nn/nn.h"
#include "tests/support/nn_inputs.h"

__asm__(".section .rodata\n.balign 16\n.global model_start\nmodel_start:\n.incbin \"" MODEL "\"\n.global model_end\nmodel_end:\n"
        ".balign 4\n.text\n");
extern const uint8_t model_start[], model_end[];
#ifndef KERNELS
#define KERNELS "portable"
#define MEMORY_BYTES (128 * 1024)
#endif
static uint8_t memory[MEMORY_BYTES] __attribute__((aligned(16)));

static enum err load(const char *kernels, struct nn **ret_nn, struct nn_cost *ret_cost)
{
    struct fault fault = {0};
    enum err err = nn_load(slice_of(model_start, (size_t)(model_end - model_start)), memory, sizeof(memory),
                           &(struct nn_options){.kernels = kernels}, ret_nn, ret_cost, &fault);
    if (err != OK && err != ERR_UNSUPPORTED) {
        printf("%s\n", fault.text);
    }
    return err;
}

static enum err run(const char *kernels)
{
    struct nn *nn = NULL;
    struct nn_cost cost;
    uint32_t seed = 1, hash = NN_HASH_START;
    TRY(load(kernels, &nn, &cost));
    for (int n = 0; n < NN_HASH_RUNS; n++) {
        nn_inputs_fill(nn_input(nn, 0), nn_input_info(nn, 0)->bytes, &seed);
        nn_run(nn, 1);
        hash = nn_inputs_hash(hash, nn_output(nn, 0), nn_output_info(nn, 0)->bytes);
    }
    printf("kernels=%s hash=%08lx memory_bytes=%lu arena_bytes=%lu\n", kernels, (unsigned long)hash,
           (unsigned long)cost.memory_bytes, (unsigned long)cost.arena_bytes);
    return OK;
}

int main(void)
{
    static const char *const kernels[] = {KERNELS};
    struct nn *nn = NULL;
    struct nn_cost cost;
    for (size_t k = 0; k < COUNT_OF(kernels); k++) {
        enum err err = run(kernels[k]);
        if (err != OK && err != ERR_UNSUPPORTED) {
            return 1;
        }
    }
    if (load(NULL, &nn, &cost) != OK) {
        return 1;
    }
    printf("best=%s\n", nn_kernels(nn));
    return 0;
}
