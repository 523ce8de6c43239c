/* SPDX-License-Identifier: Apache-2.0 */
#include "core/nn/nn_internal.h"

const struct kernels *nn_kernels_find(const char *name)
{
    static const struct kernels *const all[] = { /* the best first */
#if defined(__x86_64__)
        &nn_kernels_avx512, &nn_kernels_avx2,
#endif
#ifdef NN_DOTPROD
        &nn_kernels_neon_dotprod,
#endif
#ifdef NN_NEON
        &nn_kernels_neon,
#endif
        &nn_kernels_portable};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        if ((name == NULL || strcmp(name, all[i]->name) == 0) && all[i]->available()) {
            return all[i];
        }
    }
    return NULL;
}
