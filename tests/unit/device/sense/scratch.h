/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scratch - a temporary folder for one test program, files in it, and a loop to open drivers on.
 */
#ifndef TESTS_UNIT_DEVICE_SENSE_SCRATCH_H
#define TESTS_UNIT_DEVICE_SENSE_SCRATCH_H

#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/base.h"
#include "core/loop/loop.h"

struct scratch {
    char folder[64];
    struct loop_world *world;
    struct loop *loop;
};

static inline int scratch_remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static inline int scratch_setup(void **state)
{
    struct scratch *s = calloc(1, sizeof *s);
    strcpy(s->folder, "/tmp/weir-sense-XXXXXX");
    if (mkdtemp(s->folder) == NULL || loop_world_new(1, &s->world) != OK ||
        loop_new_virtual(s->world, &s->loop) != OK) {
        return -1;
    }
    *state = s;
    return 0;
}

static inline int scratch_teardown(void **state)
{
    struct scratch *s = *state;
    loop_free(s->loop);
    loop_world_free(s->world);
    int rc = nftw(s->folder, scratch_remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(s);
    return rc;
}

static inline const char *scratch_path(const struct scratch *s, const char *name)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", s->folder, name);
    return path;
}

/* Writes a file; folders above it are made. */
static inline void scratch_write(const struct scratch *s, const char *name, const char *text)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", scratch_path(s, name));
    for (char *slash = path + strlen(s->folder) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
    FILE *f = fopen(path, "w");
    if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0) {
        abort();
    }
}

#endif
