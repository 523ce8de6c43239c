/* SPDX-License-Identifier: Apache-2.0 */
/* What loads must run, on anything. */
#include <math.h>

#include "core/trees/trees.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static float in[TREES_FEATURES_MAX], out[TREES_CLASSES_MAX];
    struct trees *trees = NULL;
    if (trees_load(slice_of(data, size), &trees, NULL) == OK) {
        in[0] = NAN;
        trees_run(trees, 1, in, out);
        trees_free(trees);
    }
    return 0;
}
