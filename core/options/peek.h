/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peek - a look at named sections before the table is known: for a program whose table depends on what the file says.
 *
 *   sinks: {pg: {type: postgres, url: x}}      the rows of sinks.pg are those of the type
 *
 * The program peeks at sinks.*.type, makes its table with the rows sinks.pg.url, ..., and then reads the configuration
 * with options_main as ever. What is wrong with the file or the command line is not said here: options_main says it.
 */
#ifndef CORE_OPTIONS_PEEK_H
#define CORE_OPTIONS_PEEK_H

#include "core/options/options.h"

struct options_peek {
    const char *map, *key; /* "sinks", "type" */
    size_t max;            /* sections; what comes after is not told */
    /* Each section once, in the order of first mention, the command line's last. value is NULL when the key is not there;
     * line and column are the key's value's in the file, or the section's; 0 = not in the file. Strings are borrowed. */
    void (*found)(void *arg, const char *section, const char *value, size_t line, size_t column);
    void *arg;
};
/* As options_main will read it. program's table may lack the sections' rows. ERR_NOMEM. */
enum err options_peek_main(const struct options_program *program, int argc, char **argv,
                           const struct options_peek *peek) MUST_CHECK;
/* As options_load will read it. ERR_NOMEM. */
enum err options_peek_load(const char *path, const char *const *sets, size_t set_count,
                           const struct options_peek *peek) MUST_CHECK;
/* The file that options_main will read, or NULL. Borrows argv. */
const char *options_peek_path(const struct options_program *program, int argc, char **argv);

#endif
