/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command - a daemon's command line: which file, which --set, run or only print.
 *
 * Data goes to stdout, problems to stderr. What the program was started with is kept for a reload (the one static here:
 * there is one command line in a process).
 */
#include <stdio.h>

#include "core/options/options_internal.h"

enum mode { MODE_RUN, MODE_CHECK, MODE_DUMP, MODE_SAMPLE, MODE_HELP, MODE_VERSION };

static struct started {
    const char *path;
    const char **sets; /* owned; the texts are the command line's, or made */
    size_t set_count;
    char **made; /* owned: the NAME=VALUE of every --NAME VALUE */
    size_t made_count;
} started;

struct flag {
    const char *name;
    enum mode mode;
    const char **value; /* NULL = takes none */
};

const char *options_path(void)
{
    return started.path;
}

const char *const *options_sets(size_t *ret_count)
{
    *ret_count = started.set_count;
    return started.sets;
}

static enum options_outcome usage(const struct options_program *program, const char *text, const char *word)
{
    fprintf(stderr, "%s: %s%s\n%s --help lists what there is\n", program->name, text, word, program->name);
    return OPTIONS_BAD;
}

/* What --NAME may have meant among the settings: the name to write, "" when none is near enough. */
static unsigned nearest_setting(const struct options_program *program, const char *name, char *out, size_t size)
{
    char section[OPTIONS_NAME_MAX + 1] = "";
    const char *rest = name;
    size_t map = sections_split(program->table, name, section, &rest);
    const struct option *row = &program->table[map];
    bool inside = row->name != NULL;
    struct options_nearest setting = {.word = rest};
    for (const struct option *known = inside ? row->sections : program->table; known->name != NULL; known++) {
        options_nearest_offer(&setting, known->name);
    }
    snprintf(out, size, "%s%s%s%s%s", inside && setting.best ? row->name : "", inside && setting.best ? "." : "",
             setting.best ? section : "", inside && setting.best ? "." : "", setting.best ? setting.best : "");
    return setting.distance;
}

static enum options_outcome unknown_flag(const struct options_program *program, const struct flag *flags,
                                         const char *arg)
{
    struct options_nearest nearest = {.word = arg};
    for (const struct flag *flag = flags; flag->name != NULL; flag++) {
        options_nearest_offer(&nearest, flag->name);
    }
    char name[OPTIONS_NAME_MAX + 1], setting[2 * OPTIONS_NAME_MAX + 1], text[3 * OPTIONS_NAME_MAX];
    const char *bare = arg + strspn(arg, "-");
    snprintf(name, sizeof(name), "%.*s", (int)min_u64(strcspn(bare, "="), OPTIONS_NAME_MAX), bare);
    unsigned distance = nearest_setting(program, name, setting, sizeof(setting));
    if (setting[0] != '\0' && (nearest.best == NULL || distance < nearest.distance)) {
        snprintf(text, sizeof(text), "unknown option %.80s; did you mean --%s?", arg, setting);
        return usage(program, text, "");
    }
    snprintf(text, sizeof(text), "unknown option %.80s%s%s%s", arg, nearest.best ? "; did you mean " : "",
             nearest.best ? nearest.best : "", nearest.best ? "?" : "");
    return usage(program, text, "");
}

static const struct flag *find_flag(const struct flag *flags, const char *arg, const char **ret_inline)
{
    size_t len = strcspn(arg, "=");
    for (const struct flag *flag = flags; flag->name != NULL; flag++) {
        if (strlen(flag->name) == len && strncmp(flag->name, arg, len) == 0 &&
            (arg[len] == '\0' || flag->value != NULL)) {
            *ret_inline = arg[len] == '=' ? arg + len + 1 : NULL;
            return flag;
        }
    }
    return NULL;
}

/* A setting's name as it is typed after "--": '-' may stand for '_'. */
static bool is_named(const char *name, const char *typed, size_t len)
{
    bool same = strlen(name) == len;
    for (size_t i = 0; same && i < len; i++) {
        same = name[i] == typed[i] || (name[i] == '_' && typed[i] == '-');
    }
    return same;
}

static const struct option *row_named(const struct option *table, const char *typed, size_t len)
{
    const struct option *row = table;
    while (row->name != NULL && !is_named(row->name, typed, len)) {
        row++;
    }
    return row->name != NULL ? row : NULL;
}

/* --NAME VALUE, --NAME=VALUE; a bool alone is true. NULL when no setting has this name, else ret_name is the name as it
 * stands in the table, with the section that it may be in. */
static const struct option *find_row(const struct options_program *program, const char *arg,
                                     char ret_name[2 * OPTIONS_NAME_MAX + 2])
{
    char typed[OPTIONS_NAME_MAX + 1], section[OPTIONS_NAME_MAX + 1];
    const char *rest = typed;
    if (strncmp(arg, "--", 2) != 0) {
        return NULL;
    }
    snprintf(typed, sizeof(typed), "%.*s", (int)min_u64(strcspn(arg + 2, "="), OPTIONS_NAME_MAX), arg + 2);
    size_t map = sections_split(program->table, typed, section, &rest);
    const struct option *outer = &program->table[map];
    const struct option *table = outer->name != NULL ? outer->sections : program->table;
    const struct option *row = row_named(table, rest, strlen(rest));
    if (row != NULL && outer->name != NULL) {
        snprintf(ret_name, 2 * OPTIONS_NAME_MAX + 2, "%s.%s.%s", outer->name, section, row->name);
    } else if (row != NULL) {
        snprintf(ret_name, 2 * OPTIONS_NAME_MAX + 2, "%s", row->name);
    }
    return row;
}

static bool set_row(const char *name, const char *value)
{
    char *made;
    if (asprintf(&made, "%s=%s", name, value) < 0) {
        return false;
    }
    started.made[started.made_count++] = made;
    started.sets[started.set_count++] = made;
    return true;
}

static enum options_outcome parse_row(const struct options_program *program, const struct option *row,
                                      const char *name, int argc, char **argv, int *at)
{
    const char *value = strchr(argv[*at], '=');
    bool alone = value == NULL && row->type == OPTION_BOOL;
    if (value == NULL && !alone && *at + 1 == argc) {
        return usage(program, "nothing follows ", argv[*at]);
    }
    value = alone ? "true" : value != NULL ? value + 1 : argv[++*at];
    return set_row(name, value) ? OPTIONS_RUN : usage(program, "out of memory", "");
}

static enum options_outcome parse_arguments(const struct options_program *program, int argc, char **argv,
                                            enum mode *ret_mode)
{
    const char *set = NULL, *config = NULL, *positional = NULL;
    const struct flag flags[] = {
        {"--config", MODE_RUN, &config},      {"--set", MODE_RUN, &set},          {"--check", MODE_CHECK, NULL},
        {"--dump-config", MODE_DUMP, NULL},   {"--sample-config", MODE_SAMPLE, NULL}, {"--help", MODE_HELP, NULL},
        {"-h", MODE_HELP, NULL},              {"--version", MODE_VERSION, NULL},  {NULL, MODE_RUN, NULL}};
    for (int i = 1; i < argc; i++) {
        const char *inline_value = NULL;
        const struct flag *flag = find_flag(flags, argv[i], &inline_value);
        char name[2 * OPTIONS_NAME_MAX + 2];
        const struct option *row = flag == NULL ? find_row(program, argv[i], name) : NULL;
        if (row != NULL) {
            if (parse_row(program, row, name, argc, argv, &i) != OPTIONS_RUN) {
                return OPTIONS_BAD;
            }
            continue;
        }
        if (flag == NULL && argv[i][0] == '-') {
            return unknown_flag(program, flags, argv[i]);
        }
        if (flag == NULL && (positional != NULL || argv[i][0] == '\0')) {
            return usage(program, "there is one configuration file; unexpected argument ", argv[i]);
        }
        if (flag == NULL) {
            positional = argv[i];
            continue;
        }
        if (flag->value == NULL) {
            *ret_mode = flag->mode > *ret_mode ? flag->mode : *ret_mode;
            continue;
        }
        if (inline_value == NULL && i + 1 == argc) {
            return usage(program, "nothing follows ", flag->name);
        }
        *flag->value = inline_value ? inline_value : argv[++i];
        if (flag->value == &set) {
            started.sets[started.set_count++] = set;
        }
    }
    if (config != NULL && positional != NULL) {
        return usage(program, "there is one configuration file; unexpected argument ", positional);
    }
    started.path = config ? config : positional;
    return OPTIONS_RUN;
}

static enum options_outcome print_text(const struct options_program *program, enum mode mode)
{
    BUFFER(out, 1 << 20);
    if (mode == MODE_HELP) {
        options_print_help(program, &out);
    } else if (mode == MODE_SAMPLE) {
        options_print_sample(program, &out);
    } else {
        buffer_printf(&out, "%s %s\n", program->name, WEIR_VERSION);
    }
    bool written = buffer_err(&out) == OK && fwrite(out.ptr, 1, out.len, stdout) == out.len && fflush(stdout) == 0;
    return written ? OPTIONS_DONE : OPTIONS_BAD;
}

struct tally {
    size_t settings, from_file, from_set;
};

static void count_origins(const struct scope *scope, struct tally *tally)
{
    for (size_t row = 0; row < scope->rows; row++) {
        for (size_t i = 0; i < scope->sections[row].count; i++) {
            count_origins(&scope->sections[row].items[i], tally);
        }
        tally->settings += scope->table[row].type != OPTION_SECTIONS;
        tally->from_file += scope->table[row].type != OPTION_SECTIONS && scope->origins[row].kind == ORIGIN_FILE;
        tally->from_set += scope->origins[row].kind == ORIGIN_SET;
    }
}

static enum options_outcome print_settings(struct reading *r, enum mode mode)
{
    BUFFER(out, 8 << 20);
    if (mode == MODE_DUMP) {
        options_print_dump(r, &out);
    } else {
        struct tally tally = {0, 0, 0};
        count_origins(&r->top, &tally);
        buffer_printf(&out, "%s: good: %zu settings, %zu from the file, %zu from --set, the others default\n", r->name,
                      tally.settings, tally.from_file, tally.from_set);
    }
    options_free(r->program, r->top.settings);
    bool written = buffer_err(&out) == OK && fwrite(out.ptr, 1, out.len, stdout) == out.len && fflush(stdout) == 0;
    return written ? OPTIONS_DONE : OPTIONS_BAD;
}

static enum options_outcome read_settings(const struct options_program *program, enum mode mode, void *settings)
{
    BUFFER(problems, 256 * 1024);
    CLEANUP(reading_deinit) struct reading r;
    const char *name = started.path ? started.path : program->name;
    enum err err = reading_init(&r, program, name, settings, &problems);
    if (err == OK && started.path != NULL) {
        err = reading_file(&r);
    }
    if (err == OK) {
        err = reading_run(&r, started.sets, started.set_count);
    }
    if (err == OK && mode == MODE_CHECK) {
        err = reading_trial(&r);
    }
    if (err != OK) {
        fprintf(stderr, "%.*s", (int)problems.len, problems.len > 0 ? (const char *)problems.ptr : "");
        if (started.path == NULL && !program->needs_no_file) {
            fprintf(stderr, "%s: no configuration file was named; %s --sample-config prints one to begin with\n",
                    program->name, program->name);
        }
        if (problems.len == 0) {
            bool no_memory = err == ERR_NOMEM || buffer_err(&problems) == ERR_NOMEM; /* not even for the sentence */
            fprintf(stderr, "%s: %s\n", name, no_memory ? "out of memory" : err_name(err));
        }
        return OPTIONS_BAD;
    }
    return mode == MODE_RUN ? OPTIONS_RUN : print_settings(&r, mode);
}

enum options_outcome options_main(const struct options_program *program, int argc, char **argv, void *settings)
{
    enum mode mode = MODE_RUN;
    for (size_t i = 0; i < started.made_count; i++) {
        free(started.made[i]);
    }
    free(started.made);
    free(started.sets);
    started = (struct started){.sets = calloc((size_t)argc + 1, sizeof(char *)),
                               .made = calloc((size_t)argc + 1, sizeof(char *))};
    if (started.sets == NULL || started.made == NULL) {
        return usage(program, "out of memory", "");
    }
    if (parse_arguments(program, argc, argv, &mode) != OPTIONS_RUN) {
        return OPTIONS_BAD;
    }
    return mode >= MODE_SAMPLE ? print_text(program, mode) : read_settings(program, mode, settings);
}
