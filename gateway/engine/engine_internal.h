/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GATEWAY_ENGINE_ENGINE_INTERNAL_H
#define GATEWAY_ENGINE_ENGINE_INTERNAL_H

#include "gateway/engine/engine.h"

struct engine_ops {
    enum err (*run)(void *self, const float *in, size_t batch, float *out, struct fault *reterr);
    void (*free)(void *self);
};
struct engine {
    const struct engine_ops *ops;
    struct engine_info info;
    void *self; /* owned */
};
/* self is owned from here on, also on failure. */
enum err engine_make(const struct engine_ops *ops, void *self, const struct engine_info *info, struct engine **ret_engine,
                     struct fault *reterr) MUST_CHECK;
/* 64-byte aligned, owned by the caller. */
enum err engine_read_file(const char *path, size_t max, void **ret_bytes, size_t *ret_len, struct fault *reterr) MUST_CHECK;

#endif
