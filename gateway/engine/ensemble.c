/* SPDX-License-Identifier: Apache-2.0 */
#include "core/trees/trees.h"
#include "gateway/engine/engine_internal.h"

static void ensemble_free(void *self)
{
    trees_free(self);
}

static enum err ensemble_run(void *self, const float *in, size_t batch, float *out, struct fault *reterr)
{
    (void)reterr;
    trees_run(self, batch, in, out);
    return OK;
}

enum err engine_open_trees(const char *path, size_t batch_max, struct engine **ret_engine, struct fault *reterr)
{
    static const struct engine_ops ops = {.run = ensemble_run, .free = ensemble_free};
    void *text = NULL;
    size_t len = 0;
    struct trees *trees = NULL;
    struct fault fault = {.code = OK};
    TRY(engine_read_file(path, TREES_FILE_MAX, &text, &len, reterr));
    enum err err = trees_load(slice_of(text, len), &trees, &fault);
    free(text);
    if (err != OK) {
        return fault_set(reterr, err, "%s: %s", path, fault.text);
    }
    struct engine_info info = {.name = "own", .detail = "trees", .inputs = trees_features(trees), .outputs = trees_outputs(trees),
                               .batch_max = batch_max};
    return engine_make(&ops, trees, &info, ret_engine, reterr);
}
