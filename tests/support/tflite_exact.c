/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tflite_exact LIBRARY RUNS MODEL: runs an int8 model with TensorFlow Lite's C library (loaded from LIBRARY, its API as
 * documented in c_api.h) and with core/nn and each set of kernels that this processor has, on the same random inputs.
 * One line per set: kernels= outputs= differing= largest= hash= . Exit 1: something differs, 2: cannot be run.
 */
#include <dlfcn.h>
#include <stdio.h>

#include "core/nn/nn.h"
#include "tests/support/nn_inputs.h"

struct tflite {
    void *(*model)(const void *bytes, size_t len);
    void *(*options)(void);
    void (*threads)(void *options, int32_t count);
    void *(*interpreter)(const void *model, const void *options);
    int (*allocate)(void *interpreter);
    void *(*input)(const void *interpreter, int32_t i);
    const void *(*output)(const void *interpreter, int32_t i);
    int (*invoke)(void *interpreter);
    void *(*data)(const void *tensor);
    size_t (*bytes)(const void *tensor);
    void (*free_model)(void *model);
    void (*free_options)(void *options);
    void (*free_interpreter)(void *interpreter);
};

static bool find(void *library, const char *name, void *ret_fn)
{
    void *fn = dlsym(library, name);
    memcpy(ret_fn, &fn, sizeof(fn));
    if (fn == NULL) {
        fprintf(stderr, "the library has no %s\n", name);
    }
    return fn != NULL;
}

static bool bind(struct tflite *t, const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return false;
    }
    return find(library, "TfLiteModelCreate", &t->model) && find(library, "TfLiteInterpreterOptionsCreate", &t->options) &&
           find(library, "TfLiteInterpreterOptionsSetNumThreads", &t->threads) &&
           find(library, "TfLiteInterpreterCreate", &t->interpreter) &&
           find(library, "TfLiteInterpreterAllocateTensors", &t->allocate) &&
           find(library, "TfLiteInterpreterGetInputTensor", &t->input) &&
           find(library, "TfLiteInterpreterGetOutputTensor", &t->output) && find(library, "TfLiteInterpreterInvoke", &t->invoke) &&
           find(library, "TfLiteTensorData", &t->data) && find(library, "TfLiteTensorByteSize", &t->bytes) &&
           find(library, "TfLiteModelDelete", &t->free_model) &&
           find(library, "TfLiteInterpreterOptionsDelete", &t->free_options) &&
           find(library, "TfLiteInterpreterDelete", &t->free_interpreter);
}

static struct slice read_file(const char *path)
{
    enum { FILE_MAX = 1 << 24 };
    FILE *f = fopen(path, "rb");
    uint8_t *bytes = aligned_alloc(64, FILE_MAX);
    size_t len = f != NULL && bytes != NULL ? fread(bytes, 1, FILE_MAX, f) : 0;
    if (f != NULL) {
        fclose(f);
    }
    return slice_of(bytes, len);
}

/* -1: these kernels are not of this processor; else whether all was equal. */
static int compare(const struct tflite *t, void *interpreter, struct slice file, const char *kernels, int runs)
{
    enum { MEMORY = 1 << 24 };
    uint8_t *memory = aligned_alloc(64, MEMORY);
    struct nn *nn = NULL;
    struct nn_cost cost;
    struct fault fault = {0};
    enum err err = nn_load(file, memory, MEMORY, &(struct nn_options){.kernels = kernels}, &nn, &cost, &fault);
    if (err != OK) {
        fprintf(stderr, "%s: %s\n", kernels, fault.text);
        free(memory);
        return err == ERR_UNSUPPORTED && strcmp(kernels, "portable") != 0 ? -1 : 0;
    }
    const struct nn_tensor *in = nn_input_info(nn, 0), *out = nn_output_info(nn, 0);
    uint32_t seed = 1, hash = NN_HASH_START;
    unsigned long differing = 0, outputs = 0;
    int largest = 0;
    bool failed = false;
    for (int n = 0; n < runs; n++) {
        nn_inputs_fill(nn_input(nn, 0), in->bytes, &seed);
        memcpy(t->data(t->input(interpreter, 0)), nn_input(nn, 0), in->bytes);
        failed = t->invoke(interpreter) != 0 || failed;
        nn_run(nn, 1);
        const int8_t *theirs = t->data(t->output(interpreter, 0)), *ours = nn_output(nn, 0);
        hash = n < NN_HASH_RUNS ? nn_inputs_hash(hash, ours, out->bytes) : hash;
        for (size_t i = 0; i < out->bytes; i++, outputs++) {
            int distance = abs(theirs[i] - ours[i]);
            differing += distance > 0;
            largest = distance > largest ? distance : largest;
        }
    }
    printf("kernels=%s outputs=%lu differing=%lu largest=%d hash=%08lx\n", kernels, outputs, differing, largest,
           (unsigned long)hash);
    free(memory);
    return differing == 0 && outputs > 0 && !failed;
}

int main(int argc, char **argv)
{
    static const char *const kernels[] = {"portable", "avx2", "avx512", "neon", "neon-dotprod"};
    struct tflite t;
    if (argc != 4 || !bind(&t, argv[1])) {
        fprintf(stderr, "usage: tflite_exact LIBRARY RUNS MODEL\n");
        return 2;
    }
    struct slice file = read_file(argv[3]);
    void *model = t.model(file.ptr, file.len), *options = t.options();
    if (file.len == 0 || model == NULL) {
        fprintf(stderr, "%s: cannot be read as a model\n", argv[3]);
        return 2;
    }
    t.threads(options, 1);
    void *interpreter = t.interpreter(model, options);
    if (interpreter == NULL || t.allocate(interpreter) != 0) {
        return 2;
    }
    bool good = true;
    for (size_t k = 0; k < COUNT_OF(kernels); k++) {
        good = compare(&t, interpreter, file, kernels[k], atoi(argv[2])) != 0 && good;
    }
    t.free_interpreter(interpreter);
    t.free_options(options);
    t.free_model(model);
    free((void *)(uintptr_t)file.ptr);
    return good ? 0 : 1;
}
