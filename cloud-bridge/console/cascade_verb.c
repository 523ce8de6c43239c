/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cascade_verb - `weir cascade calibrate`: temperature and threshold of a device's model from labelled data, beside the
 * gateway's; `weir cascade alarms` (alarms_verb.c).
 */
#include <errno.h>
#include <libgen.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "cloud-bridge/console/cascade_print.h"
#include "cloud-bridge/console/console_internal.h"
#include "core/options/edit.h"
#include "proto/askcost/askcost.h"

enum { OUT_MAX = 256 << 20, DESCRIPTION_MAX = 1 << 20, PATH_BYTES = 4096 };
static const char USAGE[] = "usage: weir cascade calibrate --data DATA --device model.yaml --gateway model.yaml; weir "
                            "cascade --help tells the rest";

/* ---- options ---- */
bool cascade_number(const char *flag, const char *text, double preset, double low, double high, double *ret_value)
{
    char *end = NULL;
    *ret_value = text != NULL ? strtod(text, &end) : preset;
    bool good = text == NULL || (end != text && *end == '\0' && *ret_value >= low && *ret_value <= high);
    if (!good) {
        print_message("%s takes a number %g..%g", flag, low, high);
    }
    return good;
}

static bool to_form(const char *text, enum tuning_ask *ret_ask)
{
    static const char *const words[] = {"features", "window", "smaller"};
    *ret_ask = TUNING_SMALLER;
    for (size_t i = 0; text != NULL && i < COUNT_OF(words); i++) {
        if (strcmp(text, words[i]) == 0) {
            *ret_ask = (enum tuning_ask)i;
            return true;
        }
    }
    if (text != NULL) {
        print_message("--ask takes features, window or smaller");
    }
    return text == NULL;
}

static bool to_options(const struct args *args, struct tuning_options *ret_options)
{
    double points, milliseconds, asked;
    *ret_options = (struct tuning_options){.data = args->data,
                                           .device = args->device,
                                           .gateway = args->gateway,
                                           .label_column = args->label_column != NULL ? args->label_column : "label",
                                           .overhead = ASKCOST_OVERHEAD};
    if (args->budget_bytes != NULL && (args->loss != NULL || args->asked != NULL)) {
        print_message("--loss with --asked, or --budget-bytes, not both");
        return false;
    }
    bool good = cascade_number("--loss", args->loss, 0.25, 0, 100, &points) &&
                cascade_number("--sure", args->sure, 2.33, 0, 10, &ret_options->goal.errors) &&
                cascade_number("--asked", args->asked, 100, 0, 100, &asked) &&
                cascade_number("--budget-bytes", args->budget_bytes, 0, 1, 1e9, &ret_options->goal.bytes_max) &&
                cascade_number("--rtt", args->rtt, 40, 0, 60000, &milliseconds) &&
                to_form(args->ask, &ret_options->ask);
    if (good) {
        ret_options->goal.loss_max = points / 100;
        ret_options->goal.escalated_max = asked / 100;
        ret_options->rtt_us = milliseconds * 1e3;
    }
    return good;
}

/* ---- the description with its new settings ---- */
static enum err read_text(const char *path, struct buffer *out, struct fault *reterr)
{
    char part[4096];
    FILE *f = fopen(path, "rbe");
    for (size_t n; f != NULL && (n = fread(part, 1, sizeof(part), f)) > 0;) {
        buffer_put(out, part, n);
    }
    bool good = f != NULL && feof(f) && buffer_err(out) == OK;
    if (f != NULL) {
        fclose(f);
    }
    return good ? OK : fault_set(reterr, ERR_IO, "%s: cannot be read", path);
}

static enum err new_text(const struct tuning *t, struct buffer *out, struct fault *reterr)
{
    BUFFER(text, DESCRIPTION_MAX);
    BUFFER(between, DESCRIPTION_MAX);
    struct fault fault = {.code = OK};
    char value[40];
    TRY(read_text(t->options.device, &text, reterr));
    snprintf(value, sizeof(value), "%.4g", t->temperature);
    enum err err = options_edit(buffer_slice(&text), "temperature", value, &between, &fault);
    for (int digits = 1; digits <= 17; digits++) { /* the shortest that is the same number */
        snprintf(value, sizeof(value), "%.*g", digits, t->chosen.threshold);
        if (strtod(value, NULL) == t->chosen.threshold) {
            break;
        }
    }
    err = err == OK ? options_edit(buffer_slice(&between), "unsure_below", value, out, &fault) : err;
    return err == OK ? OK : fault_set(reterr, err, "%s: %s", t->options.device, fault.text);
}

static enum err write_file(const char *path, struct slice text, struct fault *reterr)
{
    FILE *f = fopen(path, "wbe");
    bool good = f != NULL && fwrite(text.ptr, 1, text.len, f) == text.len && fflush(f) == 0 && fsync(fileno(f)) == 0;
    int why = errno;
    if (f != NULL) {
        good = fclose(f) == 0 && good;
    }
    return good ? OK : fault_set(reterr, ERR_IO, "%s: %s", path, strerror(why));
}

static void path_free(char *path)
{
    free(path);
}
DEFINE_CLEANUP(char, path_free)

/* Network and scaling are named relative to the description: elsewhere it would be another one, or none. */
static enum err check_out(const char *out, const char *device, struct fault *reterr)
{
    CLEANUP(path_freep) char *out_copy = strdup(out);
    CLEANUP(path_freep) char *device_copy = strdup(device);
    if (out_copy == NULL || device_copy == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    const char *folder = dirname(device_copy);
    CLEANUP(path_freep) char *to = realpath(dirname(out_copy), NULL);
    CLEANUP(path_freep) char *from = realpath(folder, NULL);
    if (from != NULL && (to == NULL || strcmp(from, to) != 0)) {
        return fault_set(reterr, ERR_RANGE, "--out %s: must stand in %s, beside the network that it names", out,
                         folder);
    }
    return OK;
}

/* Into a file beside it, which is read back before it takes the name. */
static enum err write_out(const struct tuning *t, const char *path, struct fault *reterr)
{
    char beside[PATH_BYTES];
    struct fault fault = {.code = OK};
    BUFFER(text, DESCRIPTION_MAX);
    TRY(new_text(t, &text, reterr));
    if ((size_t)snprintf(beside, sizeof(beside), "%s.%d.yaml", path, (int)getpid()) >= sizeof(beside)) {
        return fault_set(reterr, ERR_RANGE, "%s: too long a path", path);
    }
    enum err err = write_file(beside, buffer_slice(&text), reterr);
    if (err == OK && (err = tuning_verify(t, beside, &fault)) != OK) {
        (void)fault_set(reterr, err, "%s is not written: %s", path, fault.text);
    }
    if (err == OK && rename(beside, path) != 0) {
        err = fault_set(reterr, ERR_IO, "%s: %s", path, strerror(errno));
    }
    if (err != OK) {
        (void)unlink(beside);
    }
    return err;
}

/* ---- the verb ---- */
static void tell_lines(const struct buffer *lines)
{
    for (size_t at = 0; at < lines->len;) {
        const uint8_t *end = memchr(lines->ptr + at, '\n', lines->len - at);
        size_t len = end != NULL ? (size_t)(end - lines->ptr) - at : lines->len - at;
        print_message("warning: %.*s", (int)len, (const char *)lines->ptr + at);
        at += len + 1;
    }
}

static void tell_not_found(const struct tuning *t)
{
    const struct cascade_goal *goal = &t->options.goal;
    char sentence[160];
    cascade_goal_sentence(goal, sentence, sizeof(sentence));
    if (goal->bytes_max > 0) {
        print_message("no threshold is %s: never asking takes %.1f already", sentence, t->cost.result_bytes);
    } else if ((double)t->count < cascade_cases_needed(goal)) {
        print_message("no threshold is known to keep it (%s): that takes %.0f windows at least, there are %zu; give "
                      "more data, a larger --loss or a smaller --sure",
                      sentence, cascade_cases_needed(goal), t->count);
    } else {
        print_message("no threshold is known to keep it: %s", sentence);
    }
}

enum exit_code cascade_exit(enum err err, const struct fault *fault)
{
    print_message("%s", fault->text);
    return err == ERR_NOT_FOUND                                       ? EXIT_NOT_FOUND
           : err == ERR_NOMEM || err == ERR_IO || err == ERR_CONFLICT ? EXIT_FAILED
                                                                      : EXIT_USAGE;
}

static enum exit_code calibrate(const struct args *args)
{
    CLEANUP(tuning_deinit) struct tuning t = {.loop = NULL};
    struct tuning_options options;
    struct fault fault = {.code = OK};
    BUFFER(out, OUT_MAX);
    BUFFER(warnings, 64 * 1024);
    if (args->data == NULL || args->device == NULL || args->gateway == NULL) {
        print_message("%s", USAGE);
        return EXIT_USAGE;
    }
    if (!to_options(args, &options)) {
        return EXIT_USAGE;
    }
    enum err err = args->out != NULL ? check_out(args->out, args->device, &fault) : OK;
    err = err == OK ? tuning_open(&t, &options, &fault) : err;
    err = err == OK ? tuning_run(&t, &fault) : err;
    bool write = err == OK && t.found && args->out != NULL;
    err = write ? write_out(&t, args->out, &fault) : err;
    if (err != OK) {
        return cascade_exit(err, &fault);
    }
    cascade_warnings(&t, &warnings);
    tell_lines(&warnings);
    if (args->json) {
        cascade_json(&t, write ? args->out : NULL, &out);
    } else {
        cascade_print(&t, args->color, &out);
        if (write) {
            buffer_printf(&out, "written to %s: another configuration id than before\n", args->out);
        }
    }
    if (!print_out(&out)) {
        return EXIT_FAILED;
    }
    if (!t.found) {
        tell_not_found(&t);
        return EXIT_NOT_FOUND;
    }
    return EXIT_OK;
}

enum exit_code cascade_verb(const struct args *args)
{
    if (strcmp(args->words[0], "calibrate") == 0) {
        return calibrate(args);
    }
    if (strcmp(args->words[0], "alarms") == 0) {
        return cascade_alarms(args);
    }
    print_message("cascade calibrate or cascade alarms; not %s", args->words[0]);
    return EXIT_USAGE;
}
