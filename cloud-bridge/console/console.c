/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console - the command line: verbs and options as tables, help from the same tables, nearest names for the unknown.
 *
 * A new verb is a row in VERBS, a table of its options and one function.
 */
#include "cloud-bridge/console/console.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "cloud-bridge/console/console_internal.h"
#include "core/options/options.h"

enum flag_kind {
    FLAG_SET,     /* no value; bool */
    FLAG_TEXT,    /* const char * */
    FLAG_COUNT,   /* int64_t, min..max */
    FLAG_SECONDS, /* optional value; int64_t us; sets the bool at `also` */
};
struct flag {
    const char *name;
    enum flag_kind kind;
    size_t offset, also;
    int64_t min, max;
    const char *value; /* as the help names it */
    const char *help;
};
struct verb {
    const char *name, *usage, *summary, *example;
    const char *details;
    const struct flag *flags; /* ends with a NULL name */
    bool takes_device;        /* one positional argument */
    enum exit_code (*run)(const struct args *args);
};
#define AT(member) offsetof(struct args, member)

static const struct flag COMMON_FLAGS[] = {
    {.name = "--run", .kind = FLAG_TEXT, .offset = AT(run), .value = "DIR",
     .help = "folder with the daemons' control sockets (*.sock); WEIR_RUN, default /run/weir"},
    {.name = "--json", .kind = FLAG_SET, .offset = AT(json), .help = "print JSON instead of text"},
    {.name = NULL},
};
static const struct flag STATUS_FLAGS[] = {
    {.name = "--watch", .kind = FLAG_SECONDS, .offset = AT(watch_us), .also = AT(watch), .value = "[SECONDS]",
     .help = "again every so many seconds (default 2) until Ctrl-C"},
    {.name = NULL},
};
static const struct flag LEDGER_FLAGS[] = {
    {.name = "--device", .kind = FLAG_TEXT, .offset = AT(device), .value = "D", .help = "only this device"},
    {.name = "--settled", .kind = FLAG_SET, .offset = AT(settled),
     .help = "exit 0 only if, besides, nothing is in flight"},
    {.name = NULL},
};
static const struct flag TAIL_FLAGS[] = {
    {.name = "--once", .kind = FLAG_SET, .offset = AT(once), .help = "print what is there and end"},
    {.name = "--lines", .kind = FLAG_COUNT, .offset = AT(lines), .min = 1, .max = 10000, .value = "N",
     .help = "begin with the newest N readings (default 10)"},
    {.name = NULL},
};
static const struct verb VERBS[] = {
    {.name = "status", .usage = "status [--watch [SECONDS]]", .summary = "what every daemon does, and what is wrong",
     .example = "weir status --watch 1",
     .details = "One line per daemon; more than four devices are one line and the unhealthy ones.\n"
                "Exit: 0 ok, 5 degraded or partly unreachable, 4 nothing reachable.\n",
     .flags = STATUS_FLAGS, .run = status_verb},
    {.name = "ledger", .usage = "ledger [--device D] [--settled]", .summary = "every record accounted for, hop by hop",
     .example = "weir ledger --device pump-1 --json",
     .details = "Per stream (device, epoch): records read by the device, durable at the gateway, in the sink; the\n"
                "sink's records + gaps + suppressed must be its high-water mark, and sink <= gateway <= read.\n"
                "Exit: 0 balanced, 5 not balanced, 3 unknown device, 4 nothing reachable.\n",
     .flags = LEDGER_FLAGS, .run = ledger_verb},
    {.name = "tail", .usage = "tail DEVICE [--once] [--lines N]", .summary = "readings as they arrive in the sink",
     .example = "weir tail pump-1 --lines 20",
     .details = "Prints time, channel, value, unit until Ctrl-C.\n"
                "Exit: 0 ok, 3 unknown device, 4 no bridge reachable.\n",
     .flags = TAIL_FLAGS, .takes_device = true, .run = tail_verb},
};

/* ---- output ---- */
bool print_out(const struct buffer *out)
{
    if (out->err != OK) {
        print_message("the output is too large: %s", err_name(out->err));
        return false;
    }
    return (out->len == 0 || fwrite(out->ptr, 1, out->len, stdout) == out->len) && fflush(stdout) == 0;
}

void print_message(const char *fmt, ...)
{
    char text[1000];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    for (char *c = text; *c != '\0'; c++) {
        *c = (unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c;
    }
    fprintf(stderr, "weir: %s\n", text);
}

/* ---- help ---- */
static void put_flags(const struct flag *flags, struct buffer *out)
{
    for (const struct flag *flag = flags; flag->name != NULL; flag++) {
        char left[40];
        snprintf(left, sizeof(left), "%s %s", flag->name, flag->value ? flag->value : "");
        buffer_printf(out, "  %-20s %s\n", left, flag->help);
    }
}

static enum exit_code help_of(const struct verb *verb)
{
    BUFFER(out, 16 * 1024);
    buffer_printf(&out, "weir %s - %s\n\nUsage: weir [--run DIR] [--json] %s\n\n%s\nOptions:\n", verb->name,
                  verb->summary, verb->usage, verb->details);
    put_flags(verb->flags, &out);
    put_flags(COMMON_FLAGS, &out);
    buffer_printf(&out, "\nExample: %s\n", verb->example);
    return print_out(&out) ? EXIT_OK : EXIT_FAILED;
}

static enum exit_code help_of_all(void)
{
    BUFFER(out, 16 * 1024);
    buffer_put_str(&out, "weir - asks a Weir system's daemons\n\n"
                         "Usage: weir [--run DIR] [--json] VERB ...\n\nVerbs:\n");
    for (size_t i = 0; i < COUNT_OF(VERBS); i++) {
        buffer_printf(&out, "  %-34s %s\n", VERBS[i].usage, VERBS[i].summary);
    }
    buffer_put_str(&out, "  help [VERB], --version\n\nOptions of every verb:\n");
    put_flags(COMMON_FLAGS, &out);
    buffer_printf(&out, "\nExample: %s\n", VERBS[0].example);
    buffer_put_str(&out, "Exit: 0 ok, 1 failed, 2 usage, 3 not found, 4 unreachable, 5 degraded\n");
    return print_out(&out) ? EXIT_OK : EXIT_FAILED;
}

/* ---- taking the command line apart ---- */
static enum exit_code wrong(const char *text, const char *word, const char *nearest)
{
    print_message("%s %s%s%s%s", text, word, nearest ? "; did you mean " : "", nearest ? nearest : "",
                  nearest ? "?" : "");
    return EXIT_USAGE;
}

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(VERBS); i++) {
        if (strcmp(VERBS[i].name, name) == 0) {
            return &VERBS[i];
        }
    }
    return NULL;
}

static enum exit_code unknown_verb(const char *name)
{
    struct options_nearest nearest = {.word = name};
    for (size_t i = 0; i < COUNT_OF(VERBS); i++) {
        options_nearest_offer(&nearest, VERBS[i].name);
    }
    options_nearest_offer(&nearest, "help");
    return wrong("unknown verb", name, nearest.best);
}

static const struct flag *find_flag(const struct flag *flags, const char *arg)
{
    size_t len = strcspn(arg, "=");
    for (const struct flag *flag = flags; flags != NULL && flag->name != NULL; flag++) {
        if (strlen(flag->name) == len && strncmp(flag->name, arg, len) == 0) {
            return flag;
        }
    }
    return NULL;
}

static enum exit_code unknown_flag(const struct verb *verb, const char *arg)
{
    struct options_nearest nearest = {.word = arg};
    const struct flag *tables[] = {COMMON_FLAGS, verb ? verb->flags : NULL};
    for (size_t i = 0; i < COUNT_OF(tables); i++) {
        for (const struct flag *flag = tables[i]; flag != NULL && flag->name != NULL; flag++) {
            options_nearest_offer(&nearest, flag->name);
        }
    }
    options_nearest_offer(&nearest, "--help");
    options_nearest_offer(&nearest, "--version");
    return wrong("unknown option", arg, nearest.best);
}

static bool to_number(const char *text, double *ret_value)
{
    char *end = NULL;
    if (text[0] < '0' || text[0] > '9') {
        return false;
    }
    *ret_value = strtod(text, &end);
    return *end == '\0';
}

/* Stores one option; value NULL = none was written. */
static enum exit_code store_flag(struct args *args, const struct flag *flag, const char *value)
{
    char *field = (char *)args + flag->offset;
    double number = 2;
    switch (flag->kind) {
    case FLAG_SET:
        if (value != NULL) {
            return wrong("takes no value:", flag->name, NULL);
        }
        *(bool *)(void *)field = true;
        return EXIT_OK;
    case FLAG_TEXT:
        if (value == NULL || value[0] == '\0') {
            return wrong("needs a value:", flag->name, NULL);
        }
        *(const char **)(void *)field = value;
        return EXIT_OK;
    case FLAG_COUNT:
        if (value == NULL || !to_number(value, &number) || number < (double)flag->min || number > (double)flag->max ||
            number != (double)(int64_t)number) {
            print_message("%s takes a whole number %lld..%lld", flag->name, (long long)flag->min, (long long)flag->max);
            return EXIT_USAGE;
        }
        *(int64_t *)(void *)field = (int64_t)number;
        return EXIT_OK;
    case FLAG_SECONDS:
        if (value != NULL && (!to_number(value, &number) || number < 0.1 || number > 86400)) {
            print_message("%s takes seconds, 0.1..86400", flag->name);
            return EXIT_USAGE;
        }
        *(int64_t *)(void *)field = (int64_t)(number * (double)SECOND_US);
        *(bool *)(void *)((char *)args + flag->also) = true;
        return EXIT_OK;
    }
    return EXIT_USAGE;
}

/* argv[*at] is an option. */
static enum exit_code take_flag(int argc, char **argv, int *at, const struct verb *verb, struct args *args)
{
    const char *arg = argv[*at], *equals = strchr(arg, '=');
    const struct flag *flag = find_flag(COMMON_FLAGS, arg);
    if (flag == NULL && verb != NULL) {
        flag = find_flag(verb->flags, arg);
    }
    if (flag == NULL) {
        return unknown_flag(verb, arg);
    }
    const char *value = equals ? equals + 1 : NULL;
    const char *next = *at + 1 < argc ? argv[*at + 1] : NULL;
    double number;
    bool takes_next = flag->kind == FLAG_TEXT || flag->kind == FLAG_COUNT ||
                      (flag->kind == FLAG_SECONDS && next != NULL && to_number(next, &number));
    if (value == NULL && takes_next && next != NULL) {
        value = next;
        ++*at;
    }
    return store_flag(args, flag, value);
}

enum exit_code args_parse(int argc, char **argv, struct args *ret_args, const struct verb **ret_verb)
{
    const char *run = getenv("WEIR_RUN");
    *ret_args = (struct args){.run = run && run[0] ? run : "/run/weir", .lines = 10};
    ret_args->color = isatty(STDOUT_FILENO) && (getenv("NO_COLOR") == NULL || getenv("NO_COLOR")[0] == '\0');
    const struct verb *verb = NULL;
    for (int i = 1; i < argc; i++) {
        enum exit_code code = EXIT_OK;
        if (argv[i][0] == '-' && argv[i][1] != '\0') {
            code = take_flag(argc, argv, &i, verb, ret_args);
        } else if (verb == NULL) {
            verb = find_verb(argv[i]);
            code = verb ? EXIT_OK : unknown_verb(argv[i]);
        } else if (verb->takes_device && ret_args->device == NULL && argv[i][0] != '\0') {
            ret_args->device = argv[i];
        } else {
            code = wrong("unexpected argument", argv[i], NULL);
        }
        if (code != EXIT_OK) {
            return code;
        }
    }
    if (verb == NULL) {
        print_message("name a verb; weir --help lists them");
        return EXIT_USAGE;
    }
    if (verb->takes_device && ret_args->device == NULL) {
        print_message("usage: weir %s", verb->usage);
        return EXIT_USAGE;
    }
    *ret_verb = verb;
    return EXIT_OK;
}

static bool wants(int argc, char **argv, const char *name, const char *other)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], name) == 0 || strcmp(argv[i], other) == 0) {
            return true;
        }
    }
    return false;
}

static enum exit_code help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const struct verb *verb = find_verb(argv[i]);
        if (verb != NULL) {
            return help_of(verb);
        }
        if (argv[i][0] != '-' && strcmp(argv[i], "help") != 0 && strcmp(argv[1], "help") == 0) {
            return unknown_verb(argv[i]);
        }
    }
    return help_of_all();
}

int console_main(int argc, char **argv, const char *version)
{
    struct args args;
    const struct verb *verb = NULL;
    if (wants(argc, argv, "--help", "-h") || (argc > 1 && strcmp(argv[1], "help") == 0)) {
        return (int)help(argc, argv);
    }
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("weir %s\n", version);
        return EXIT_OK;
    }
    enum exit_code code = args_parse(argc, argv, &args, &verb);
    return (int)(code == EXIT_OK ? verb->run(&args) : code);
}
