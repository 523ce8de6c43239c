/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ONNX Runtime through its C API, without its header: the library gives a table of functions whose order never changes
 * (onnxruntime_c_api.h: "new functions are only added at the end"). Named here are those of version 1 that are used.
 */
#include <dlfcn.h>
#include <stdio.h>

#include "gateway/engine/engine_internal.h"

enum api {
    GET_ERROR_MESSAGE = 2,
    CREATE_ENV = 3,
    CREATE_SESSION = 7,
    RUN = 9,
    CREATE_SESSION_OPTIONS = 10,
    SET_INTRA_OP_THREADS = 24,
    INPUT_COUNT = 30,
    OUTPUT_COUNT = 31,
    INPUT_TYPE = 33,
    OUTPUT_TYPE = 34,
    INPUT_NAME = 36,
    OUTPUT_NAME = 37,
    CREATE_TENSOR = 49,
    TENSOR_DATA = 51,
    CAST_TENSOR_INFO = 55,
    ELEMENT_TYPE = 60,
    DIMENSION_COUNT = 61,
    DIMENSIONS = 62,
    ELEMENT_COUNT = 64,
    TENSOR_INFO = 65,
    CREATE_CPU_MEMORY = 69,
    DEFAULT_ALLOCATOR = 78,
    RELEASE_ENV = 92,
    RELEASE_STATUS = 93,
    RELEASE_MEMORY = 94,
    RELEASE_SESSION = 95,
    RELEASE_VALUE = 96,
    RELEASE_TYPE = 98,
    RELEASE_TENSOR_INFO = 99,
    RELEASE_SESSION_OPTIONS = 100,
};
enum { API_VERSION = 1, LOG_ERROR = 3, FLOAT32 = 1, ARENA_ALLOCATOR = 1, MEMORY_DEFAULT = 0, RANK_MAX = 8 };
struct api_base {
    void *const *(*get_api)(uint32_t version);
    const char *(*version)(void);
};
typedef void status; /* NULL: good */

struct onnx {
    void *const *api;
    void *env, *options, *session, *memory, *allocator;
    char *input_name, *output_name; /* of the session's allocator: kept until the process ends */
    int64_t in_dim[RANK_MAX];
    size_t in_rank, in_row, out_row;
    char version[32];
};

/* Calls function number `index`, whose parameters are given as in the API's documentation. */
#define CALL(o, index, parameters, ...) (((status * (*)parameters)(o)->api[index])(__VA_ARGS__))
#define RELEASE(o, index, what)                                                                                        \
    do {                                                                                                               \
        if ((what) != NULL) {                                                                                          \
            ((void (*)(void *))(o)->api[index])(what);                                                                 \
        }                                                                                                              \
    } while (0)

/* Turns a status into a sentence. */
static enum err check(const struct onnx *o, status *s, const char *what, struct fault *reterr)
{
    if (s == NULL) {
        return OK;
    }
    const char *text = ((const char *(*)(const status *))o->api[GET_ERROR_MESSAGE])(s);
    enum err err = fault_set(reterr, ERR_IO, "ONNX Runtime, %s: %s", what, text);
    RELEASE(o, RELEASE_STATUS, s);
    return err;
}

static void onnx_free(void *self)
{
    struct onnx *o = self;
    if (o->api != NULL) {
        RELEASE(o, RELEASE_MEMORY, o->memory);
        RELEASE(o, RELEASE_SESSION, o->session);
        RELEASE(o, RELEASE_SESSION_OPTIONS, o->options);
        RELEASE(o, RELEASE_ENV, o->env);
    }
    free(o);
}

/* The library stays loaded: it has threads and exit handlers of its own. */
static enum err bind(struct onnx *o, const char *library, struct fault *reterr)
{
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (handle == NULL) {
        return fault_set(reterr, ERR_IO, "%s", dlerror());
    }
    const struct api_base *(*get_base)(void) = NULL;
    void *symbol = dlsym(handle, "OrtGetApiBase");
    memcpy(&get_base, &symbol, sizeof(get_base));
    if (symbol == NULL) {
        return fault_set(reterr, ERR_UNSUPPORTED, "%s: is not ONNX Runtime", library);
    }
    const struct api_base *base = get_base();
    o->api = base->get_api(API_VERSION);
    snprintf(o->version, sizeof(o->version), "%s", base->version());
    return o->api != NULL ? OK : fault_set(reterr, ERR_UNSUPPORTED, "%s: does not offer version 1 of its API", library);
}

/* Floats of one row of the only input or output, and its shape; the first dimension is the batch. */
static enum err read_end(struct onnx *o, enum api count_fn, enum api type_fn, const char *what, int64_t *dim, size_t *ret_rank,
                         size_t *ret_row, struct fault *reterr)
{
    size_t count = 0, rank = 0;
    void *type = NULL;
    const void *info = NULL;
    int element = 0;
    TRY(check(o, CALL(o, count_fn, (const void *, size_t *), o->session, &count), what, reterr));
    if (count != 1) {
        return fault_set(reterr, ERR_UNSUPPORTED, "the model has %zu %ss; one is needed", count, what);
    }
    TRY(check(o, CALL(o, type_fn, (const void *, size_t, void **), o->session, (size_t)0, &type), what, reterr));
    enum err err = check(o, CALL(o, CAST_TENSOR_INFO, (const void *, const void **), type, &info), what, reterr);
    if (err == OK && info != NULL) {
        err = check(o, CALL(o, ELEMENT_TYPE, (const void *, int *), info, &element), what, reterr);
        err = err == OK ? check(o, CALL(o, DIMENSION_COUNT, (const void *, size_t *), info, &rank), what, reterr) : err;
        if (err == OK && rank >= 1 && rank <= RANK_MAX) {
            err = check(o, CALL(o, DIMENSIONS, (const void *, int64_t *, size_t), info, dim, rank), what, reterr);
        }
    }
    RELEASE(o, RELEASE_TYPE, type);
    TRY(err);
    uint64_t row = 1;
    for (size_t d = 1; d < rank && d < RANK_MAX; d++) {
        row = dim[d] >= 1 && dim[d] <= ENGINE_ROW_MAX && row <= ENGINE_ROW_MAX ? row * (uint64_t)dim[d] : 0;
    }
    if (info == NULL || element != FLOAT32 || rank < 1 || rank > RANK_MAX || row < 1 || row > ENGINE_ROW_MAX) {
        return fault_set(reterr, ERR_UNSUPPORTED, "the model's %s must be float32 [batch, ...] with known sizes", what);
    }
    *ret_rank = rank;
    *ret_row = (size_t)row;
    return OK;
}

static enum err start(struct onnx *o, const char *path, struct fault *reterr)
{
    int64_t out_dim[RANK_MAX];
    size_t out_rank;
    TRY(check(o, CALL(o, CREATE_ENV, (int, const char *, void **), LOG_ERROR, "weir", &o->env), "start", reterr));
    TRY(check(o, CALL(o, CREATE_SESSION_OPTIONS, (void **), &o->options), "start", reterr));
    TRY(check(o, CALL(o, SET_INTRA_OP_THREADS, (void *, int), o->options, 1), "start", reterr));
    TRY(check(o, CALL(o, CREATE_SESSION, (const void *, const char *, const void *, void **), o->env, path, o->options, &o->session),
              path, reterr));
    TRY(check(o, CALL(o, CREATE_CPU_MEMORY, (int, int, void **), ARENA_ALLOCATOR, MEMORY_DEFAULT, &o->memory), "start", reterr));
    TRY(check(o, CALL(o, DEFAULT_ALLOCATOR, (void **), &o->allocator), "start", reterr));
    TRY(read_end(o, INPUT_COUNT, INPUT_TYPE, "input", o->in_dim, &o->in_rank, &o->in_row, reterr));
    TRY(read_end(o, OUTPUT_COUNT, OUTPUT_TYPE, "output", out_dim, &out_rank, &o->out_row, reterr));
    TRY(check(o, CALL(o, INPUT_NAME, (const void *, size_t, void *, char **), o->session, (size_t)0, o->allocator, &o->input_name),
              "input", reterr));
    return check(o, CALL(o, OUTPUT_NAME, (const void *, size_t, void *, char **), o->session, (size_t)0, o->allocator,
                         &o->output_name),
                 "output", reterr);
}

/* What came out must be batch rows: the library says how many floats there are. */
static enum err copy_out(struct onnx *o, void *value, size_t batch, float *out, struct fault *reterr)
{
    void *info = NULL;
    size_t count = 0;
    float *data = NULL;
    TRY(check(o, CALL(o, TENSOR_INFO, (const void *, void **), value, &info), "output", reterr));
    enum err err = check(o, CALL(o, ELEMENT_COUNT, (const void *, size_t *), info, &count), "output", reterr);
    RELEASE(o, RELEASE_TENSOR_INFO, info);
    TRY(err);
    if (count != batch * o->out_row) {
        return fault_set(reterr, ERR_IO, "ONNX Runtime gave %zu floats for %zu rows of %zu", count, batch, o->out_row);
    }
    TRY(check(o, CALL(o, TENSOR_DATA, (void *, void **), value, (void **)(void *)&data), "output", reterr));
    memcpy(out, data, count * sizeof(*out));
    return OK;
}

static enum err onnx_run(void *self, const float *in, size_t batch, float *out, struct fault *reterr)
{
    struct onnx *o = self;
    void *input = NULL, *output = NULL;
    o->in_dim[0] = (int64_t)batch;
    TRY(check(o, CALL(o, CREATE_TENSOR, (const void *, void *, size_t, const int64_t *, size_t, int, void **), o->memory,
                      (void *)(uintptr_t)in, batch * o->in_row * sizeof(float), o->in_dim, o->in_rank, FLOAT32, &input),
              "input", reterr));
    const char *const inputs[] = {o->input_name}, *const outputs[] = {o->output_name};
    const void *const values[] = {input};
    enum err err = check(o, CALL(o, RUN, (void *, const void *, const char *const *, const void *const *, size_t,
                                          const char *const *, size_t, void **),
                                 o->session, NULL, inputs, values, (size_t)1, outputs, (size_t)1, &output),
                         "run", reterr);
    err = err == OK ? copy_out(o, output, batch, out, reterr) : err;
    RELEASE(o, RELEASE_VALUE, input);
    RELEASE(o, RELEASE_VALUE, output);
    return err;
}

enum err engine_open_onnx(const char *library, const char *path, size_t batch_max, struct engine **ret_engine,
                          struct fault *reterr)
{
    static const struct engine_ops ops = {.run = onnx_run, .free = onnx_free};
    struct onnx *o = calloc(1, sizeof(*o));
    if (o == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    enum err err = bind(o, library, reterr);
    err = err == OK ? start(o, path, reterr) : err;
    if (err != OK) {
        onnx_free(o);
        return err;
    }
    struct engine_info info = {
        .name = "onnxruntime", .detail = o->version, .inputs = o->in_row, .outputs = o->out_row, .batch_max = batch_max};
    return engine_make(&ops, o, &info, ret_engine, reterr);
}
