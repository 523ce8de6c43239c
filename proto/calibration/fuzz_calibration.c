/* SPDX-License-Identifier: Apache-2.0 */
/* A file from anybody: refused with a sentence, or written and read again as the same. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/calibration/calibration.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* NULL: refused. */
static struct calibration *load(struct slice text)
{
    struct calibration *c = NULL;
    char path[64];
    BUFFER(problems, 64 * 1024);
    int fd = memfd_create("calibration", MFD_CLOEXEC);
    if (fd < 0 || write(fd, text.ptr, text.len) != (ssize_t)text.len) {
        abort();
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    enum err err = calibration_load(path, &c, &problems);
    (void)close(fd);
    if ((err == OK) != (problems.len == 0)) {
        abort();
    }
    return c;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    BUFFER(text, 1 << 20);
    CLEANUP(calibration_freep) struct calibration *c = load(slice_of(data, size)), *again = NULL;
    if (c != NULL && calibration_write(c, &text) == OK) {
        again = load(buffer_slice(&text));
        if (again == NULL) {
            abort();
        }
    }
    return 0;
}
