/* SPDX-License-Identifier: Apache-2.0 */
#include "simulators/size/measure.h"

#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

void measure_set(struct size_constants *c, enum size_constant which, double value, const char *source)
{
    c->of[which].value = value;
    snprintf(c->of[which].source, sizeof c->of[which].source, "%s", source);
}

static int clear_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    (void)(kind == FTW_DP ? rmdir(path) : unlink(path));
    return 0;
}

void measure_clear(const char *folder)
{
    (void)nftw(folder, clear_one, 8, FTW_DEPTH | FTW_PHYS);
}
