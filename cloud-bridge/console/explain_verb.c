/* SPDX-License-Identifier: Apache-2.0 */
/*
 * explain_verb - `weir explain DEVICE[/NUMBER]`: what a decision in the bridge's SQLite sink rests on.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cloud-bridge/console/explain.h"
#include "cloud-bridge/console/replay.h"
#include "core/loop/loop.h"

enum { OUT_MAX = 4 << 20 };

/* DEVICE, DEVICE/NUMBER or DEVICE/EPOCH/NUMBER. */
struct named {
    char device[ID_MAX + 1], epoch[17];
    uint64_t number;
};

static bool read_number(const char *text, uint64_t *ret)
{
    char *end = NULL;
    if (text[0] < '1' || text[0] > '9' || strlen(text) > 18) {
        return false;
    }
    *ret = strtoull(text, &end, 10);
    return *end == '\0';
}

static bool read_name(const char *text, struct named *ret)
{
    const char *slash = strchr(text, '/'), *last = strrchr(text, '/');
    size_t device = slash != NULL ? (size_t)(slash - text) : strlen(text);
    *ret = (struct named){.number = 0};
    if (!id_valid(slice_of(text, device))) {
        return false;
    }
    memcpy(ret->device, text, device);
    if (slash == NULL) {
        return true;
    }
    if (last != slash) {
        size_t epoch = (size_t)(last - slash - 1);
        if (epoch != 16 || strspn(slash + 1, "0123456789abcdef") != 16) {
            return false;
        }
        memcpy(ret->epoch, slash + 1, epoch);
    }
    return read_number(last + 1, &ret->number);
}

static enum exit_code exit_of_fault(enum err err, const struct fault *fault)
{
    print_message("%s", fault->text);
    return err == ERR_NOT_FOUND                                    ? EXIT_NOT_FOUND
           : err == ERR_DENIED                                     ? EXIT_DENIED
           : err == ERR_NOMEM || err == ERR_IO || err == ERR_AGAIN ? EXIT_FAILED
                                                                   : EXIT_USAGE;
}

static enum exit_code not_found(const struct args *args, const struct named *name, struct evidence *evidence)
{
    int64_t device = 0;
    uint64_t count = 0;
    char first[32], last[32];
    if (evidence_device(evidence, name->device, &device) != OK) {
        print_message("no device %s in %s", name->device, args->db);
    } else if (evidence_span(evidence, device, &count, first, last) != OK || count == 0) {
        print_message("%s has no inference in %s: it runs no model, or none has arrived", name->device, args->db);
    } else if (name->number > 0) {
        print_message("record %" PRIu64 "%s%s of %s is no inference in %s; it has %" PRIu64 " of them, %s to %s",
                      name->number, name->epoch[0] != '\0' ? " of epoch " : "", name->epoch, name->device, args->db,
                      count, first, last);
    } else {
        print_message("%s has no inference at or before %s in %s; its first is of %s", name->device, args->at, args->db,
                      first);
    }
    return EXIT_NOT_FOUND;
}

/* In part: a model that is not there, readings that are missing, or another answer than was recorded. */
static bool whole(struct explain_case *c)
{
    const struct explain_side *sides[] = {&c->own, &c->up};
    bool tried = c->own.state != EXPLAIN_NOT_TRIED;
    for (size_t i = 0; i < COUNT_OF(sides) && tried; i++) {
        if (sides[i]->is && sides[i]->state != EXPLAIN_EQUAL) {
            return false;
        }
    }
    return !tried || (c->has_window && c->window.values_missing == 0);
}

static enum exit_code explain(const struct args *args, const struct named *name, struct evidence *evidence,
                              int64_t at_us, const struct explain_sources *sources)
{
    CLEANUP(explain_case_deinit) struct explain_case c = {.has_window = false};
    struct fault fault = {.code = OK};
    BUFFER(out, OUT_MAX);
    const struct evidence_key key = {.device = name->device,
                                     .epoch = name->epoch[0] != '\0' ? name->epoch : NULL,
                                     .number = name->number,
                                     .at_us = at_us};
    enum err err = explain_case_make(evidence, &key, sources, &c);
    if (err == ERR_NOT_FOUND) {
        return not_found(args, name, evidence);
    }
    if (err != OK) {
        evidence_fault(evidence, err, &fault);
        return exit_of_fault(err, &fault);
    }
    bool other = sources->calibration != NULL && !explain_is_of_model(&c, sources->calibration);
    if (other) {
        print_message("%s is of model %016" PRIx64 ", the answer of %016" PRIx64
                      ": what is normal for it is not in there",
                      args->calibration, sources->calibration->model, c.own.id);
    }
    if (args->json) {
        explain_json(&c, (size_t)args->top, &out);
    } else {
        explain_text(&c, (size_t)args->top, args->color, &out);
    }
    return !print_out(&out) ? EXIT_FAILED : whole(&c) && !other ? EXIT_OK : EXIT_DEGRADED;
}

static enum exit_code load_calibration(const char *path, struct calibration **ret)
{
    BUFFER(problems, 64 * 1024);
    enum err err = path != NULL ? calibration_load(path, ret, &problems) : OK;
    if (err == OK) {
        return EXIT_OK;
    }
    size_t len = 0;
    while (len < problems.len && problems.ptr[len] != '\n') {
        len++;
    }
    print_message("%.*s", len > 0 ? (int)len : (int)strlen(path), len > 0 ? (const char *)problems.ptr : path);
    return err == ERR_IO ? EXIT_NOT_FOUND : err == ERR_NOMEM ? EXIT_FAILED : EXIT_USAGE;
}

/* As weir fetch writes it: with times. */
static enum exit_code load_readings(const char *path, struct series *ret)
{
    struct fault fault = {.code = OK};
    enum err err = path != NULL ? series_read(path, SECOND_US, ret, &fault) : OK;
    if (err == OK && path != NULL && !ret->timed) {
        err = fault_set(&fault, ERR_MALFORMED, "%s: tells no times; weir fetch writes them", path);
    }
    return err != OK ? exit_of_fault(err, &fault) : EXIT_OK;
}

static enum exit_code read_at(const struct args *args, int64_t *ret_us)
{
    CLEANUP(loop_freep) struct loop *loop = NULL;
    if (args->at == NULL) {
        return EXIT_OK;
    }
    if (loop_new(&loop) != OK) {
        print_message("out of memory");
        return EXIT_FAILED;
    }
    if (!to_time(args->at, loop_wall_us(loop), ret_us)) {
        print_message("--at %s is no time: 2026-11-22T13:00:00Z, now, or -10min", args->at);
        return EXIT_USAGE;
    }
    return EXIT_OK;
}

enum exit_code explain_verb(const struct args *args)
{
    CLEANUP(evidence_freep) struct evidence *evidence = NULL;
    CLEANUP(calibration_freep) struct calibration *calibration = NULL;
    CLEANUP(series_deinit) struct series series = {.rows = 0};
    struct fault fault = {.code = OK};
    struct named name;
    int64_t at_us = INT64_MAX;
    if (!read_name(args->device, &name)) {
        print_message("%s: DEVICE, DEVICE/NUMBER or DEVICE/EPOCH/NUMBER is needed", args->device);
        return EXIT_USAGE;
    }
    if (name.number > 0 && (args->at != NULL || args->event != NULL)) {
        print_message("%s names a record; %s does not go with it", args->device, args->at != NULL ? "--at" : "--event");
        return EXIT_USAGE;
    }
    enum exit_code code = read_at(args, &at_us);
    code = code == EXIT_OK ? load_calibration(args->calibration, &calibration) : code;
    code = code == EXIT_OK ? load_readings(args->data, &series) : code;
    if (code != EXIT_OK) {
        return code;
    }
    enum err err = evidence_open(args->db, &evidence, &fault);
    if (err != OK) {
        return exit_of_fault(err, &fault);
    }
    const struct explain_sources sources = {
        .models = args->models, .calibration = calibration, .readings = args->data != NULL ? &series : NULL};
    return args->event != NULL ? explain_event(args, name.device, evidence, at_us, calibration)
                               : explain(args, &name, evidence, at_us, &sources);
}
