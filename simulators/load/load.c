/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-fleet load - the product's agents by the thousand, in one process, against a broker and a gateway that are
 * really there.
 *
 * Exit: 0 everything adds up, 1 a device or a record was lost (declared or not) or is not accounted for, or the run was
 * broken off, or its report could not be written, 2 usage, 4 no broker.
 */
#include "simulators/load/load.h"

#include <stdio.h>

#include "core/log/log.h"
#include "simulators/load/load_internal.h"

enum { EXIT_FINE, EXIT_WRONG, EXIT_USAGE, EXIT_UNREACHABLE = 4, PURPOSE_FLEET = 3 };

static enum progress_mode progress_mode(const struct scenario *s)
{
    switch ((enum scenario_progress)s->progress) {
    case SCENARIO_PROGRESS_LINES: return PROGRESS_LINES;
    case SCENARIO_PROGRESS_OFF: return PROGRESS_OFF;
    case SCENARIO_PROGRESS_AUTO: break;
    }
    return PROGRESS_AUTO;
}

static void prepare(struct load *load, const struct scenario *s)
{
    load->scenario = s;
    load->chance = scenario_chance_seed(s, 0, PURPOSE_FLEET);
    progress_init(&load->progress, stderr, progress_mode(s));
    series_init(&load->rate, SERIES_MEAN);
    series_init(&load->made_rate, SERIES_MEAN);
    series_init(&load->links, SERIES_MIN);
    series_init(&load->p50, SERIES_MAX);
    series_init(&load->p99, SERIES_MAX);
    series_init(&load->waiting, SERIES_MAX);
    series_init(&load->memory, SERIES_MAX);
}

static void free_fleet(struct load *load)
{
    for (size_t i = 0; i < load->devices; i++) {
        member_deinit(&load->members[i]);
    }
    for (unsigned i = 0; i < COUNT_OF(load->senses); i++) {
        sense_close(load->senses[i]);
    }
    loop_free(load->loop);
    free(load->members);
    free(load->books);
    books_known_deinit(&load->before);
}

static int run(const struct scenario *s)
{
    struct load *load = calloc(1, sizeof(*load));
    struct fault fault = {.text = ""};
    if (load == NULL || loop_new(&load->loop) != OK) {
        (void)fprintf(stderr, "weir-fleet: out of memory\n");
        free(load);
        return EXIT_WRONG;
    }
    prepare(load, s);
    enum err err = load_run(load, &fault);
    if (err != OK) {
        load_say(load, "%s", fault.text);
    }
    bool begun = load->members != NULL && load->began_us != 0;
    int code = begun ? account_give(load) : err == ERR_TIMEOUT ? EXIT_UNREACHABLE : EXIT_WRONG;
    free_fleet(load);
    free(load);
    return code;
}

int load_main(int argc, char **argv)
{
    static struct scenario scenario;
    switch (options_main(&scenario_program, argc, argv, &scenario)) {
    case OPTIONS_DONE: return EXIT_FINE;
    case OPTIONS_BAD: return EXIT_USAGE;
    case OPTIONS_RUN: break;
    }
    log_setup("weir-fleet", LOG_ERROR); /* what thousands of devices have to say is in the figures */
    struct fault fault = {.text = ""};
    if (scenario_raise_descriptors(&scenario, &fault) != OK) {
        (void)fprintf(stderr, "weir-fleet: %s\n", fault.text);
        options_free(&scenario_program, &scenario);
        return EXIT_USAGE;
    }
    int code = run(&scenario);
    options_free(&scenario_program, &scenario);
    return code;
}
