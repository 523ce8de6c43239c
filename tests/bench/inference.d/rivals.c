/* SPDX-License-Identifier: Apache-2.0 */
/* core/nn, TensorFlow Lite (C API, loaded), ONNX Runtime (C API's table, see gateway/engine/onnx.c). One thread each. */
#include <dlfcn.h>
#include <stdio.h>

#include "core/nn/nn.h"
#include "tests/bench/inference.d/bench.h"

static void *get(size_t bytes)
{
    void *p = NULL;
    if (posix_memalign(&p, 64, bytes + 64) != 0) {
        abort();
    }
    return memset(p, 0, bytes + 64);
}

/* ---- ours ---- */
static void run_own(void *self, size_t batch)
{
    nn_run(self, (unsigned)batch);
}

struct runner runner_own(struct slice file, size_t batch, const char *kernels)
{
    enum { MEMORY = 1 << 25 };
    struct runner r = {.name = "weir"};
    struct nn *nn = NULL;
    struct nn_cost cost;
    struct fault fault = {.code = OK};
    if (nn_load(file, get(MEMORY), MEMORY, &(struct nn_options){.batch = (unsigned)batch, .kernels = kernels}, &nn, &cost, &fault) != OK) {
        snprintf(r.why, sizeof(r.why), "%.190s", fault.text);
        return r;
    }
    r.self = nn;
    r.run = run_own;
    r.in = nn_input(nn, 0);
    r.out = (void *)(uintptr_t)nn_output(nn, 0);
    return r;
}

/* ---- TensorFlow Lite ---- */
static struct {
    void *handle;
    void *(*model)(const void *, size_t), *(*options)(void), *(*interpreter)(const void *, const void *);
    void (*threads)(void *, int32_t);
    int (*resize)(void *, int32_t, const int *, int32_t), (*allocate)(void *), (*invoke)(void *);
    void *(*input)(const void *, int32_t), *(*data)(const void *);
    const void *(*output)(const void *, int32_t);
} tfl;

static bool find(void *library, const char *name, void *fn)
{
    void *at = dlsym(library, name);
    memcpy(fn, &at, sizeof(at));
    return at != NULL;
}

static bool bind_tflite(const char *library)
{
    void *l = tfl.handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    return l != NULL && find(l, "TfLiteModelCreate", &tfl.model) && find(l, "TfLiteInterpreterOptionsCreate", &tfl.options) &&
           find(l, "TfLiteInterpreterOptionsSetNumThreads", &tfl.threads) && find(l, "TfLiteInterpreterCreate", &tfl.interpreter) &&
           find(l, "TfLiteInterpreterResizeInputTensor", &tfl.resize) && find(l, "TfLiteInterpreterAllocateTensors", &tfl.allocate) &&
           find(l, "TfLiteInterpreterInvoke", &tfl.invoke) && find(l, "TfLiteInterpreterGetInputTensor", &tfl.input) &&
           find(l, "TfLiteInterpreterGetOutputTensor", &tfl.output) && find(l, "TfLiteTensorData", &tfl.data);
}

static void run_tflite(void *self, size_t batch)
{
    (void)batch;
    (void)tfl.invoke(self);
}

struct runner runner_tflite(const char *library, struct slice file, const struct net *net, size_t batch, bool int8)
{
    struct runner r = {.name = "tflite"};
    (void)int8;
    int conv[4] = {0}, flat[2] = {0};
    bool is_conv = net != NULL && net->layer[0].kind == LAYER_CONV;
    if (tfl.handle == NULL && (library == NULL || !bind_tflite(library))) {
        snprintf(r.why, sizeof(r.why), "no library");
        return r;
    }
    void *options = tfl.options(), *interpreter;
    tfl.threads(options, 1);
    interpreter = tfl.interpreter(tfl.model(file.ptr, file.len), options);
    if (net != NULL) { /* NULL: a file with its own shape */
        conv[0] = flat[0] = (int)batch;
        conv[1] = 1;
        conv[2] = (int)net->layer[0].width;
        conv[3] = (int)net->layer[0].in;
        flat[1] = (int)net->inputs;
    }
    if (interpreter == NULL || (net != NULL && tfl.resize(interpreter, 0, is_conv ? conv : flat, is_conv ? 4 : 2) != 0) ||
        tfl.allocate(interpreter) != 0) {
        snprintf(r.why, sizeof(r.why), "refuses the model");
        return r;
    }
    r.self = interpreter;
    r.run = run_tflite;
    r.in = tfl.data(tfl.input(interpreter, 0));
    r.out = tfl.data(tfl.output(interpreter, 0));
    return r;
}

/* ---- ONNX Runtime ---- */
static void *const *ort;
static void *ort_memory, *ort_env, *ort_options;
#define ORT(index, parameters, ...) (((void *(*)parameters)ort[index])(__VA_ARGS__))

static bool bind_ort(const char *library)
{
    void *l = dlopen(library, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    void *const *(**(*base)(void))(uint32_t) = NULL;
    if (l == NULL || !find(l, "OrtGetApiBase", &base)) {
        return false;
    }
    ort = (*base())(1);
    return ort != NULL && ORT(3, (int, const char *, void **), 3, "bench", &ort_env) == NULL &&
           ORT(10, (void **), &ort_options) == NULL && ORT(24, (void *, int), ort_options, 1) == NULL &&
           ORT(69, (int, int, void **), 1, 0, &ort_memory) == NULL;
}

struct session {
    void *session, *in, *out;
};

static void run_ort(void *self, size_t batch)
{
    static const char *const in[] = {"x"}, *const out[] = {"y"};
    struct session *s = self;
    (void)batch;
    void *status = ORT(9, (void *, const void *, const char *const *, void *const *, size_t, const char *const *, size_t, void **),
                       s->session, NULL, in, &s->in, (size_t)1, out, (size_t)1, &s->out);
    if (status != NULL) {
        fprintf(stderr, "onnxruntime: %s\n", ((const char *(*)(void *))ort[2])(status));
        exit(1);
    }
}

struct runner runner_onnx(const char *library, struct slice file, const struct net *net, size_t batch, bool int8)
{
    struct runner r = {.name = "onnxruntime", .channels_first = true};
    if (ort == NULL && (library == NULL || !bind_ort(library))) {
        snprintf(r.why, sizeof(r.why), "no library");
        return r;
    }
    struct session *s = get(sizeof(*s));
    void *status = ORT(8, (const void *, const void *, size_t, const void *, void **), ort_env, file.ptr, file.len, ort_options, &s->session);
    if (status != NULL) {
        snprintf(r.why, sizeof(r.why), "%.190s", ((const char *(*)(void *))ort[2])(status));
        return r;
    }
    size_t size = int8 ? 1 : 4;
    int64_t conv[] = {(int64_t)batch, net->layer[0].in, 1, net->layer[0].width}, flat[] = {(int64_t)batch, net->inputs}, out[] = {(int64_t)batch, net->outputs};
    bool is_conv = net->layer[0].kind == LAYER_CONV;
    r.in = get(batch * net->inputs * size);
    r.out = get(batch * net->outputs * size);
#define TENSOR(data, bytes, dims, rank, value)                                                                         \
    ORT(49, (const void *, void *, size_t, const int64_t *, size_t, int, void **), ort_memory, data, bytes, dims, rank, int8 ? 3 : 1, value)
    if (TENSOR(r.in, batch * net->inputs * size, is_conv ? conv : flat, is_conv ? (size_t)4 : (size_t)2, &s->in) != NULL ||
        TENSOR(r.out, batch * net->outputs * size, out, (size_t)2, &s->out) != NULL) {
        snprintf(r.why, sizeof(r.why), "no tensors");
        return r;
    }
    r.self = s;
    r.run = run_ort;
    return r;
}
