/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-fake-runtime.so: what gateway/engine calls of ONNX Runtime's C API, for tests of engines that go wrong while
 * they are in use. A "model" is a text file with its numbers of inputs and outputs; beside it, PATH.mode says at each
 * run what becomes of it:
 *
 *   ok     the last output is 9, the others are 0
 *   error  a status with a sentence
 *   nan    no numbers
 *   hang   never returns
 */
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct session {
    char path[PATH_MAX];
    int64_t inputs, outputs;
};
struct value {
    size_t count;
    float floats[];
};
struct shape {
    int64_t dim[2];
    size_t count; /* of all elements; 0 = not known */
};

static char something;

static void *message_of(const char *text)
{
    return strdup(text);
}

static const char *get_error_message(const void *status)
{
    return status;
}

static void *make_nothing(int a, const char *b, void **ret)
{
    (void)a;
    (void)b;
    *ret = &something;
    return NULL;
}

static void *make_options(void **ret)
{
    *ret = &something;
    return NULL;
}

static void *set_threads(void *options, int count)
{
    (void)options;
    (void)count;
    return NULL;
}

static void *create_session(const void *env, const char *path, const void *options, void **ret)
{
    (void)env;
    (void)options;
    struct session *s = calloc(1, sizeof(*s));
    FILE *f = fopen(path, "re");
    long inputs = 0, outputs = 0;
    if (s == NULL || f == NULL || fscanf(f, "%ld %ld", &inputs, &outputs) != 2) {
        free(s);
        return message_of("no model");
    }
    (void)fclose(f);
    snprintf(s->path, sizeof(s->path), "%s.mode", path);
    s->inputs = inputs;
    s->outputs = outputs;
    *ret = s;
    return NULL;
}

static void *make_memory(int a, int b, void **ret)
{
    (void)a;
    (void)b;
    *ret = &something;
    return NULL;
}

static void *count_one(const void *session, size_t *ret)
{
    (void)session;
    *ret = 1;
    return NULL;
}

static void *type_of(int64_t width, void **ret)
{
    struct shape *shape = calloc(1, sizeof(*shape));
    if (shape == NULL) {
        return message_of("no memory");
    }
    *shape = (struct shape){.dim = {-1, width}};
    *ret = shape;
    return NULL;
}

static void *input_type(const void *session, size_t index, void **ret)
{
    (void)index;
    return type_of(((const struct session *)session)->inputs, ret);
}

static void *output_type(const void *session, size_t index, void **ret)
{
    (void)index;
    return type_of(((const struct session *)session)->outputs, ret);
}

static void *name_of(const void *session, size_t index, void *allocator, char **ret)
{
    static char name[] = "x";
    (void)session;
    (void)index;
    (void)allocator;
    *ret = name;
    return NULL;
}

static void *cast(const void *type, const void **ret)
{
    *ret = type;
    return NULL;
}

static void *element_type(const void *info, int *ret)
{
    (void)info;
    *ret = 1;
    return NULL;
}

static void *dimension_count(const void *info, size_t *ret)
{
    (void)info;
    *ret = 2;
    return NULL;
}

static void *dimensions(const void *info, int64_t *ret, size_t count)
{
    memcpy(ret, ((const struct shape *)info)->dim, count * sizeof(*ret));
    return NULL;
}

static void *element_count(const void *info, size_t *ret)
{
    *ret = ((const struct shape *)info)->count;
    return NULL;
}

static void *create_tensor(const void *memory, void *data, size_t bytes, const int64_t *dim, size_t rank, int type,
                           void **ret)
{
    (void)memory;
    (void)rank;
    (void)type;
    (void)dim;
    struct value *v = calloc(1, sizeof(*v) + bytes);
    if (v == NULL) {
        return message_of("no memory");
    }
    v->count = bytes / sizeof(float);
    memcpy(v->floats, data, bytes);
    *ret = v;
    return NULL;
}

static void *tensor_info(const void *value, void **ret)
{
    struct shape *shape = calloc(1, sizeof(*shape));
    if (shape == NULL) {
        return message_of("no memory");
    }
    shape->count = ((const struct value *)value)->count;
    *ret = shape;
    return NULL;
}

static void *tensor_data(void *value, void **ret)
{
    *ret = ((struct value *)value)->floats;
    return NULL;
}

static void read_mode(const char *path, char mode[8])
{
    FILE *f = fopen(path, "re");
    if (f == NULL || fscanf(f, "%7s", mode) != 1) {
        strcpy(mode, "ok");
    }
    if (f != NULL) {
        (void)fclose(f);
    }
}

static void *run(void *session, const void *options, const char *const *in_names, const void *const *in,
                 size_t in_count, const char *const *out_names, size_t out_count, void **ret)
{
    const struct session *s = session;
    char mode[8];
    (void)options;
    (void)in_names;
    (void)in_count;
    (void)out_names;
    (void)out_count;
    read_mode(s->path, mode);
    while (strcmp(mode, "hang") == 0) {
        (void)pause();
    }
    if (strcmp(mode, "error") == 0) {
        return message_of("planted: the operator Gemm failed");
    }
    size_t rows = ((const struct value *)in[0])->count / (size_t)s->inputs, count = rows * (size_t)s->outputs;
    struct value *v = calloc(1, sizeof(*v) + count * sizeof(float));
    if (v == NULL) {
        return message_of("no memory");
    }
    v->count = count;
    for (size_t i = 0; i < count; i++) {
        v->floats[i] = strcmp(mode, "nan") == 0 ? NAN : (i + 1) % (size_t)s->outputs == 0 ? 9 : 0;
    }
    *ret = v;
    return NULL;
}

static void *allocator_of(void **ret)
{
    *ret = &something;
    return NULL;
}

static void release_nothing(void *what)
{
    (void)what;
}

static void *table[128];

static void *const *get_api(uint32_t version)
{
    return version == 1 ? table : NULL;
}

static const char *version_text(void)
{
    return "fake";
}

static const struct {
    void *const *(*get_api)(uint32_t version);
    const char *(*version)(void);
} base = {get_api, version_text};

/* Places as in onnxruntime_c_api.h, version 1. */
#define AT(place, function) table[place] = (void *)(uintptr_t)(function)

const void *OrtGetApiBase(void);

const void *OrtGetApiBase(void)
{
    AT(2, get_error_message);
    AT(3, make_nothing);
    AT(7, create_session);
    AT(9, run);
    AT(10, make_options);
    AT(24, set_threads);
    AT(30, count_one);
    AT(31, count_one);
    AT(33, input_type);
    AT(34, output_type);
    AT(36, name_of);
    AT(37, name_of);
    AT(49, create_tensor);
    AT(51, tensor_data);
    AT(55, cast);
    AT(60, element_type);
    AT(61, dimension_count);
    AT(62, dimensions);
    AT(64, element_count);
    AT(65, tensor_info);
    AT(69, make_memory);
    AT(78, allocator_of);
    AT(92, release_nothing);
    AT(93, free);
    AT(94, release_nothing);
    AT(95, free);
    AT(96, free);
    AT(98, free);
    AT(99, free);
    AT(100, release_nothing);
    return &base;
}
