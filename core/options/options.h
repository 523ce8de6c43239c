/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options - one table per program: configuration file (YAML), command line, --help, --check, --dump-config.
 *
 * A row is one setting: dotted name, type with unit, bounds, default, whether SIGHUP changes it in place, one sentence.
 * From the table come the parser, the errors, the help, the sample file and the dump with origins.
 *
 * Errors are all reported, each as  file:line:column: sentence  with the allowed range, the nearest known name for an
 * unknown key, and the key named. libyaml's document interface gives the position of every node; libcyaml, which
 * wraps it, keeps neither positions nor more than the first error.
 * Bounded: 1 MiB file, depth 8, 40 problems printed; anchors, aliases and tags are refused. A key may be nested
 * (broker: {host: x}) or dotted (broker.host: x). "" is an unset path, file or identity.
 *
 * Command line: --config FILE (or first argument), --check, --dump-config, --sample-config, --help, --version,
 * --set name=value or --name value (repeatable, over the file; a bool alone is true; in --name a '-' may stand for
 * '_'). Environment is not read.
 *
 * Named sections (classes: {pump: {period: 1s}, valve: {}}): a row of type SECTIONS has a table of its own for what is
 * inside of one section; the names are free identities. On the command line --classes.pump.period 1s changes the
 * section of that name or adds it. Order is the file's; what only the command line names comes last. The row's preset
 * lists names, separated by commas: the sections that are there when the file does not write the row.
 */
#ifndef CORE_OPTIONS_OPTIONS_H
#define CORE_OPTIONS_OPTIONS_H

#include "core/base/base.h"
#include "core/base/buffer.h"

enum option_type {
    OPTION_STRING,   /* char *, owned by the settings; min/max = length */
    OPTION_PATH,     /* char *, relative to the configuration file's directory (in --set: to the current one) */
    OPTION_FILE,     /* as PATH, must exist and be readable */
    OPTION_ID,       /* char *, identity [A-Za-z0-9_-]{1,64} */
    OPTION_BOOL,     /* bool */
    OPTION_INT,      /* int64_t */
    OPTION_NUMBER,   /* double */
    OPTION_DURATION, /* int64_t microseconds; "250us", "20ms", "5s", "10min", "2h", "7d" */
    OPTION_BYTES,    /* int64_t; "64KiB", "10MiB", "1GiB", "512B" */
    OPTION_ENUM,     /* int; words in `words`, separated by '|' */
    OPTION_LIST,     /* struct option_list of strings */
    OPTION_SECTIONS, /* struct option_sections; min/max = how many there may be, without max 64 */
};
struct option_list {
    char **items; /* owned */
    size_t count;
};
struct option_sections {
    char **names; /* owned; identities */
    void *items;  /* owned; count structs of the row's section_size bytes, in the order of names */
    size_t count;
};
struct option {
    const char *name; /* "broker.host" */
    enum option_type type;
    size_t offset;    /* into the program's settings struct */
    const char *words;
    double min, max;  /* in the base unit; both 0 = no bound; durations and sizes are never negative */
    const char *preset; /* default as it would be written, NULL = none */
    bool required;
    bool live; /* SIGHUP changes it without a restart */
    bool plain_seconds; /* DURATION: a number without a unit is seconds */
    const struct option *sections; /* SECTIONS: the rows of one section (none of type SECTIONS); offsets into an item */
    size_t section_size;           /* SECTIONS: of an item */
    const char *help;
};

struct options_program {
    const char *name;    /* "weir-gateway" */
    const char *summary; /* one sentence */
    const struct option *table; /* ends with a NULL name */
    size_t settings_size;
    bool needs_no_file;  /* a verb whose settings are mostly given on the command line */
    const char *example; /* a command line, for the help; NULL = the configuration file */
    const char *exits;   /* line of exit codes for the help; NULL = a daemon's */
    const char *sample_end; /* lines behind the sample's, of what is in no table; NULL = none */
    /* Cross-field checks; may be NULL. Appends sentences to problems, one per line, returns ERR_RANGE if any. */
    enum err (*check)(const void *settings, struct buffer *problems);
    /* check is also called where single values were refused, so that all mistakes are told at once: a number out of its
     * range is then what was written, anything else its preset (0 without one). What it says of a section in which
     * something could not be understood is left out. */
    bool checks_all;
    /* --check alone, when all the above is good: what else a start would refuse, without starting. As check; may be
     * NULL. */
    enum err (*trial)(const void *settings, struct buffer *problems);
};

enum options_outcome {
    OPTIONS_RUN,  /* settings are filled in */
    OPTIONS_DONE, /* --help, --check, ...: printed; exit 0 */
    OPTIONS_BAD,  /* printed on stderr; exit 2 */
};
/* Fills *settings (zeroed by the caller). Strings are freed by options_free. */
enum options_outcome options_main(const struct options_program *program, int argc, char **argv, void *settings);
/* For SIGHUP: reads the same file and the same --set again into fresh (zeroed) settings. path NULL = only presets and
 * sets. On failure (ERR_MALFORMED: not YAML; ERR_RANGE: bad settings; ERR_IO: file not readable; ERR_NOMEM) *problems
 * has all errors as text and settings is empty. */
enum err options_load(const struct options_program *program, const char *path, const char *const *sets,
                      size_t set_count, void *settings, struct buffer *problems) MUST_CHECK;
/* Copies every setting marked live that differs from *from to *to (swapping ownership). One line a difference is
 * appended to report: "changed log.level: info -> debug" or "needs a restart: broker.host". SECTIONS: when the same
 * sections are there, each setting in them as it is marked; all of them, also new ones, when the row itself is marked.
 * The caller frees both settings. */
void options_apply_live(const struct options_program *program, void *to, void *from, struct buffer *report);
void options_free(const struct options_program *program, void *settings);
/* Every setting in force, as it would be written: emit("classes.pump.period", "1s"). Unset ones are left away. */
void options_each(const struct options_program *program, const void *settings,
                  void (*emit)(void *arg, const char *name, const char *value), void *arg);
/* What options_main was started with, for options_load. */
const char *options_path(void); /* NULL when no file was named */
const char *const *options_sets(size_t *ret_count);

/* Did-you-mean, for every place where a person types a name: set word, offer all known names, read best (NULL when
 * none is near enough). Borrows both. */
struct options_nearest {
    const char *word;
    const char *best;
    unsigned distance; /* of best */
};
void options_nearest_offer(struct options_nearest *nearest, const char *name);

#endif
