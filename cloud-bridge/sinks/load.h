/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load - from a sink's type in the configuration to its module, built in or loaded.
 */
#ifndef CLOUD_BRIDGE_SINKS_LOAD_H
#define CLOUD_BRIDGE_SINKS_LOAD_H

#include "cloud-bridge/sinks/module.h"

/* The module of a type: built in (sqlite, file, csv), else weir-sink-<type>.so in ../lib/weir beside the program's
 * folder, else in the folder it was built for. Loaded once and kept until the process ends. The text names the file and
 * the cause.
 * ERR_RANGE: not a type's name. ERR_NOT_FOUND: no such file. ERR_IO: it or a library that it needs cannot be loaded.
 * ERR_UNSUPPORTED: of another ABI, or not a sink. */
enum err sink_module_find(const char *type, const struct sink_module **ret_module, struct fault *reterr) MUST_CHECK;
/* One file, for tests. */
enum err sink_module_load(const char *path, const char *type, const struct sink_module **ret_module,
                          struct fault *reterr) MUST_CHECK;
/* Opens by a module with the settings of one section, and names the sink. */
enum err sink_module_open(const struct sink_module *module, const struct sink_place *place, const void *item,
                          struct sink *ret_sink, struct fault *reterr) MUST_CHECK;

/* The built-in ones end with NULL. */
extern const struct sink_module *const sink_modules_builtin[];
/* Settings of the built-in ones. */
struct sink_sqlite_settings {
    char *path;
};
struct sink_file_settings {
    char *path;
    int64_t rotate;
};
struct sink_csv_settings {
    char *path;
    int64_t rotate, rotate_age_us;
};
/* csv_internal.h has the form of the files. */
enum err sink_csv_open(const struct sink_csv_settings *settings, const char *bridge, struct sink *ret_sink,
                       struct fault *reterr) MUST_CHECK;

#endif
