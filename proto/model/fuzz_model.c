/* SPDX-License-Identifier: Apache-2.0 */
/* A description from anybody: refused with a sentence, or something that a window can be made features of and an output
 * decided on. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/model/model.h"

enum { INPUTS_MAX = 1 << 16, FEATURES_MAX_BYTES = 16 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct model_info *info)
{
    size_t outputs = info->output == MODEL_CLASSES          ? info->class_count
                     : info->output == MODEL_RECONSTRUCTION ? info->inputs
                                                            : 1;
    size_t bytes = features_bytes(&info->features);
    void *memory = bytes <= FEATURES_MAX_BYTES ? aligned_alloc(16, (bytes + 15) / 16 * 16) : NULL;
    float *row = calloc(info->inputs + outputs, sizeof(*row));
    struct features *features = NULL;
    if (info->inputs <= INPUTS_MAX && row != NULL) {
        struct decision d = model_decide(info, row, row + info->inputs, outputs);
        if (d.confidence < 0 || d.confidence > 1) {
            abort();
        }
    }
    if (memory != NULL && features_init(&info->features, memory, bytes, &features, NULL) != OK) {
        abort(); /* the description was checked */
    }
    free(memory);
    free(row);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(model_freep) struct model *model = NULL;
    char path[64];
    BUFFER(problems, 64 * 1024);
    int fd = memfd_create("model", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) {
        abort();
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    enum err err = model_load(path, &model, &problems);
    (void)close(fd);
    if ((err == OK) != (problems.len == 0)) {
        abort();
    }
    if (err == OK) {
        use(model_info(model));
    }
    return 0;
}
