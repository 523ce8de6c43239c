/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options_internal - what the module's files share: one reading of one configuration.
 *
 *   options.c   sets, presets, required, cross-field check, reload       document.c  YAML -> rows
 *   value.c     text -> typed field                                      format.c    typed field -> text
 *   command.c   command line                                            print.c     help, sample, dump
 *   sections.c  named sections: each a scope, as the program's own table is one
 */
#ifndef CORE_OPTIONS_OPTIONS_INTERNAL_H
#define CORE_OPTIONS_OPTIONS_INTERNAL_H

#include "core/options/options.h"

enum { OPTIONS_FILE_MAX = 1 << 20, OPTIONS_DEPTH_MAX = 8, OPTIONS_PROBLEMS_MAX = 40, OPTIONS_NAME_MAX = 200,
       OPTIONS_PREFIX_MAX = 160, OPTIONS_SECTIONS_PRESET = 64, OPTIONS_SECTIONS_MAX = 1024 };

enum origin_kind { ORIGIN_NONE, ORIGIN_PRESET, ORIGIN_FILE, ORIGIN_SET };
struct origin { /* one per row: where the value in force comes from */
    enum origin_kind kind;
    size_t line, column; /* in the file, from 1; 0 = not named there */
    bool refused;        /* the value there was told as a problem */
};

/* A table and the settings it fills: the program's, or those of one named section. */
struct scope {
    const struct option *table;
    size_t rows;
    void *settings;
    struct origin *origins;                        /* owned; one per row and one more */
    size_t (*group_line)[OPTIONS_DEPTH_MAX + 1];   /* owned; [first row of the group][its depth], 0 = not seen */
    struct scopes *sections;                       /* owned; per row: what is in it when it is of type SECTIONS */
    char prefix[OPTIONS_PREFIX_MAX];               /* in front of the rows' names: "", or "classes.pump." */
    size_t line, column;                           /* where the file names this section first; 0 = it does not */
    size_t written_line;                           /* where it has its mapping */
    bool spoilt;                                   /* something in it could not be understood: check cannot judge it */
    size_t place;                                  /* its turn among its sisters; SIZE_MAX = only on the command line */
};
struct scopes {
    struct scope *items; /* owned; room for as many as there may be */
    size_t count;
};

struct reading {
    const struct options_program *program;
    struct scope top;
    const char *name;   /* of the file, as given; in front of every problem */
    char *folder;       /* owned; "" or ending with '/': what relative paths start from */
    struct buffer file; /* owned; what was read, empty when the text was handed in */
    struct slice text;  /* borrowed, mostly of file */
    struct buffer *problems;
    unsigned problem_count;
    bool broken;  /* the text could not be understood: what is missing from it cannot be said */
    enum err err; /* of the first problem; ERR_NOMEM wins */
};

/* What a value was written as: a scalar (items NULL) or a list. Borrowed. */
struct option_text {
    struct slice scalar;
    const struct slice *items;
    size_t count;
};

/* ---- options.c ---- */
/* settings must be zeroed, problems is borrowed. Everything is owned by r from here on, also on failure. */
enum err reading_init(struct reading *r, const struct options_program *program, const char *name, void *settings,
                      struct buffer *problems) MUST_CHECK;
void reading_deinit(struct reading *r);
/* Fills r->file from the file r->name; a failure is a problem. */
enum err reading_file(struct reading *r) MUST_CHECK;
/* Evaluates r->text (may be empty) and sets; the one way in, also for the fuzzer. On failure settings is empty. */
enum err reading_run(struct reading *r, const char *const *sets, size_t set_count) MUST_CHECK;
/* After a good run: what the program finds when it tries the settings. On failure settings is empty. */
enum err reading_trial(struct reading *r) MUST_CHECK;
/* line 0 = no position; name NULL = the file's. The sentence ends without a full stop. */
void reading_problem(struct reading *r, enum err code, const char *name, size_t line, size_t column, const char *fmt,
                     ...) PRINTF_LIKE(6, 7);
/* Index of the row, or scope->rows when there is none. Names are the table's, without the prefix. */
size_t scope_row(const struct scope *scope, const char *name);
/* First row below the group ("broker" of "broker.host"), or scope->rows when there is no such group. */
size_t scope_group(const struct scope *scope, const char *name);
/* Unknown name: the nearest one as "; did you mean x?", or "". */
void scope_suggest(const struct scope *scope, const char *name, char *out, size_t size);
/* One value, where a list is separated by commas. */
enum err scope_parse(struct scope *scope, size_t row, const char *value, const char *folder,
                     struct fault *why) MUST_CHECK;

/* ---- sections.c ---- */
enum err scope_init(struct scope *scope, const struct option *table, void *settings) MUST_CHECK;
void scope_deinit(struct scope *scope);
/* "classes.pump.period": index of the row "classes"; ret_section is "pump" (what is written, perhaps cut), *ret_rest
 * "period", or "" when nothing follows. The number of rows when the name does not begin with a row of type SECTIONS. */
size_t sections_split(const struct option *table, const char *name, char ret_section[OPTIONS_NAME_MAX + 1],
                      const char **ret_rest);
/* The section of that name, made when it is not there. ERR_RANGE: not an identity, or one too many; the sentence is in
 * why. The scope stays valid until sections_arrange. */
enum err sections_open(struct scope *scope, size_t row, const char *name, struct scope **ret_section,
                       struct fault *why) MUST_CHECK;
struct scope *sections_find(const struct scope *scope, size_t row, const char *name);
/* Puts the sections into the order of their places. */
void sections_arrange(struct scope *scope, size_t row);
size_t sections_bound(const struct option *row);
void sections_clear(const struct option *row, struct option_sections *sections);
bool sections_equal(const struct option *row, const struct option_sections *a, const struct option_sections *b);
/* On one line, as YAML. */
void sections_write(const struct option *row, const struct option_sections *sections, struct buffer *out);
static inline void *sections_item(const struct option *row, const struct option_sections *sections, size_t index)
{
    return (char *)sections->items + index * row->section_size;
}
/* options_apply_live for a row of type SECTIONS whose value differs. */
void sections_apply_live(const struct option *row, void *to, void *from, struct buffer *report);

/* ---- document.c ---- */
/* Sets every row that r->text names (except those set on the command line) and reports what is wrong with it. */
void reading_document(struct reading *r);

/* ---- value.c ---- */
/* Writes the field (freeing what it held), a number also with ERR_RANGE. On ERR_RANGE and ERR_MALFORMED *why has the sentence without the name. */
enum err option_parse(const struct option *row, const struct option_text *text, const char *folder, void *settings,
                      struct fault *why) MUST_CHECK;
void option_clear(const struct option *row, void *settings);
/* One line of report when the two differ; swaps them when the row is live. prefix: in front of the row's name. */
void option_apply(const struct option *row, const char *prefix, void *to, void *from, struct buffer *report);
/* The line "changed NAME: this -> that", when they differ. */
void option_report_change(const struct option *row, const char *prefix, const void *now, const void *next,
                          struct buffer *report);
void option_swap(const struct option *row, void *a, void *b);
static inline void *option_field(const struct option *row, void *settings)
{
    return (char *)settings + row->offset;
}
static inline bool option_is_text(const struct option *row)
{
    return row->type == OPTION_STRING || row->type == OPTION_PATH || row->type == OPTION_FILE ||
           row->type == OPTION_ID;
}
/* Of these a value out of range is in the field all the same, beside the sentence. */
static inline bool option_is_number(const struct option *row)
{
    return row->type == OPTION_INT || row->type == OPTION_NUMBER || row->type == OPTION_DURATION ||
           row->type == OPTION_BYTES;
}

/* ---- format.c ---- */
/* The value in force as it would be written in a file; an unset text writes nothing and returns false. */
bool option_write(const struct option *row, const void *settings, struct buffer *out);
bool option_equal(const struct option *row, const void *a, const void *b);
/* Text as a YAML scalar, quoted where it must be. */
void option_write_text(const char *text, struct buffer *out);
void option_write_number(enum option_type type, double value, struct buffer *out);
/* "1..65535", "at least 1s", "" without bounds. */
void option_write_range(const struct option *row, struct buffer *out);
const char *option_type_word(const struct option *row);
bool option_has_min(const struct option *row, double *ret_min);
bool option_has_max(const struct option *row, double *ret_max);
/* Text from outside, made safe for a terminal: controls become '?', long text is cut. */
void buffer_put_shown(struct buffer *b, struct slice text, size_t max);

/* ---- print.c ---- */
void options_print_help(const struct options_program *program, struct buffer *out);
void options_print_sample(const struct options_program *program, struct buffer *out);
void options_print_dump(const struct reading *r, struct buffer *out);

#endif
