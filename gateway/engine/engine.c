/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/engine/engine_internal.h"

#include <math.h>
#include <stdio.h>

enum err engine_read_file(const char *path, size_t max, void **ret_bytes, size_t *ret_len, struct fault *reterr)
{
    FILE *f = fopen(path, "rb");
    long len = f != NULL && fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1;
    void *bytes = NULL;
    enum err err = OK;
    if (len < 0 || fseek(f, 0, SEEK_SET) != 0) {
        err = fault_set(reterr, ERR_IO, "%s: cannot be read", path);
    } else if ((size_t)len > max) {
        err = fault_set(reterr, ERR_RANGE, "%s: larger than %zu MiB", path, max >> 20);
    } else if (posix_memalign(&bytes, 64, (size_t)len + 1) != 0) {
        err = fault_set(reterr, ERR_NOMEM, "out of memory");
    } else if (fread(bytes, 1, (size_t)len, f) != (size_t)len) {
        err = fault_set(reterr, ERR_IO, "%s: cannot be read", path);
        free(take(bytes));
    }
    if (f != NULL) {
        fclose(f);
    }
    *ret_bytes = bytes;
    *ret_len = err == OK ? (size_t)len : 0;
    return err;
}

enum err engine_make(const struct engine_ops *ops, void *self, const struct engine_info *info, struct engine **ret_engine,
                     struct fault *reterr)
{
    struct engine *e = calloc(1, sizeof(*e));
    if (e == NULL) {
        ops->free(self);
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    *e = (struct engine){.ops = ops, .info = *info, .self = self};
    *ret_engine = e;
    return OK;
}

void engine_free(struct engine *e)
{
    if (e != NULL) {
        e->ops->free(e->self);
        free(e);
    }
}

const struct engine_info *engine_info(const struct engine *e)
{
    return &e->info;
}

enum err engine_run(struct engine *e, const float *in, size_t batch, float *out, struct fault *reterr)
{
    if (batch < 1 || batch > e->info.batch_max) {
        return fault_set(reterr, ERR_RANGE, "a batch of %zu; 1 to %zu", batch, e->info.batch_max);
    }
    return e->ops->run(e->self, in, batch, out, reterr);
}

enum err engine_self_test(struct engine *e, const float *in, const float *expected, size_t rows, double tolerance,
                          struct fault *reterr)
{
    float *out = calloc(e->info.outputs, sizeof(*out));
    enum err err = out != NULL ? OK : fault_set(reterr, ERR_NOMEM, "out of memory");
    for (size_t r = 0; r < rows && err == OK; r++) {
        err = engine_run(e, in + r * e->info.inputs, 1, out, reterr);
        for (size_t i = 0; i < e->info.outputs && err == OK; i++) {
            double want = (double)expected[r * e->info.outputs + i];
            if (!(fabs((double)out[i] - want) <= tolerance * fmax(1, fabs(want)))) {
                err = fault_set(reterr, ERR_DENIED, "self-test: row %zu, output %zu is %g, expected %g", r, i, (double)out[i],
                                want);
            }
        }
    }
    free(out);
    return err;
}
