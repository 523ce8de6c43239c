/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-pump-models make DIR | series DIR | watch DIR [PUMPS [MINUTES]] | same DIR DIR: what deploy/models/make and
 * tests/system/pump_models run. Exit 0 as it should be, 1 not, 2 usage or a file.
 */
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

#include "tests/support/pump_models/pump_models.h"

enum { SERIES_SEED = 4000, SERIES_PUMPS = 64, SERIES_SAMPLES = 9000 };

static void put_series(const char *dir)
{
    for (unsigned n = 0; n < SERIES_PUMPS; n++) {
        char path[PATH_MAX];
        snprintf(path, sizeof(path), "%s/pump-%02u.csv", dir, n);
        FILE *f = fopen(path, "wb");
        if (f == NULL) {
            pump_die(path, strerror(errno));
        }
        const struct pump_run run = {
            .seed = SERIES_SEED + n, .fault = "none", .onset = 1, .cycle = 1000000, .samples = SERIES_SAMPLES};
        pump_series(&run, f);
        if (ferror(f) != 0 || fclose(f) != 0) {
            pump_die(path, "cannot be written");
        }
    }
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    if (argc == 3 && strcmp(verb, "make") == 0) {
        models_make(argv[2]);
        return 0;
    }
    if (argc == 3 && strcmp(verb, "series") == 0) {
        put_series(argv[2]);
        return 0;
    }
    if (argc >= 3 && argc <= 5 && strcmp(verb, "watch") == 0) {
        const struct watch_options options = {.dir = argv[2],
                                              .pumps = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 8,
                                              .minutes = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 30};
        return watch(&options) ? 0 : 1;
    }
    if (argc == 4 && strcmp(verb, "same") == 0) {
        return models_same(argv[2], argv[3]) ? 0 : 1;
    }
    fprintf(stderr, "usage: weir-pump-models make DIR | series DIR | watch DIR [PUMPS [MINUTES]] | same DIR DIR\n");
    return 2;
}
