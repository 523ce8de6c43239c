/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-fleet - fleets that are not there: load against a real broker, the hierarchy in virtual time, sizing on paper.
 *
 *   weir-fleet load      tens of thousands of real agents in one process
 *   weir-fleet simulate  devices, gateways, bridge and sink on a virtual clock, with faults, from a seed
 *   weir-fleet size      how long a buffer lasts, how many gateways, what a month on the link costs
 *
 * Exit: 0 ok, 1 what was to be shown does not hold, 2 usage, 4 broker not reachable.
 */
#include <stdio.h>

#include "core/base/base.h"
#include "core/options/options.h"
#include "simulators/load/load.h"
#include "simulators/size/size.h"
#include "simulators/trial/trial.h"

static const struct verb {
    const char *name, *summary;
    int (*run)(int argc, char **argv); /* argv[0] is the verb */
} verbs[] = {
    {"load", "real agents by the thousand against a real broker and gateway", load_main},
    {"simulate", "the whole hierarchy in virtual time, faults from a seed", trial_main},
    {"size", "buffers, links and gateways for a plant, with the formulas", size_main},
    {NULL, NULL, NULL},
};

static int help(FILE *to)
{
    (void)fprintf(to, "usage: weir-fleet VERB [options]\n\n");
    for (const struct verb *v = verbs; v->name != NULL; v++) {
        (void)fprintf(to, "  %-10s %s\n", v->name, v->summary);
    }
    (void)fprintf(to, "\nweir-fleet VERB --help tells the options; --version the version.\n");
    return to == stdout ? 0 : 2;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        return help(stderr);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        return help(stdout);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("weir-fleet %s\n", WEIR_VERSION);
        return 0;
    }
    struct options_nearest nearest = {.word = argv[1]};
    for (const struct verb *v = verbs; v->name != NULL; v++) {
        if (strcmp(argv[1], v->name) == 0) {
            return v->run(argc - 1, argv + 1);
        }
        options_nearest_offer(&nearest, v->name);
    }
    (void)fprintf(stderr, "weir-fleet: unknown verb \"%.40s\"", argv[1]);
    if (nearest.best != NULL) {
        (void)fprintf(stderr, "; did you mean \"%s\"?", nearest.best);
    }
    (void)fprintf(stderr, "\n");
    return help(stderr);
}
