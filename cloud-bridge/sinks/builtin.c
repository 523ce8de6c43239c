/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sinks that need nothing but what the bridge needs itself, as modules.
 */
#include "cloud-bridge/sinks/load.h"

static const struct option sqlite_table[] = {
    {.name = "path", .type = OPTION_PATH, .offset = offsetof(struct sink_sqlite_settings, path), .required = true,
     .min = 1,
     .help = "SQLite database that receives the readings; made when it is not there."},
    {.name = NULL},
};
static const struct option file_table[] = {
    {.name = "path", .type = OPTION_PATH, .offset = offsetof(struct sink_file_settings, path), .required = true,
     .min = 1,
     .help = "Directory that receives the records as JSON lines."},
    {.name = "rotate", .type = OPTION_BYTES, .offset = offsetof(struct sink_file_settings, rotate), .min = 4096,
     .max = 1099511627776.0, .preset = "64MiB", .help = "Size at which the next file is begun."},
    {.name = NULL},
};
static const struct option csv_table[] = {
    {.name = "path", .type = OPTION_PATH, .offset = offsetof(struct sink_csv_settings, path), .required = true,
     .min = 1,
     .help = "Directory that receives the CSV files, each under its final name when it is complete."},
    {.name = "rotate", .type = OPTION_BYTES, .offset = offsetof(struct sink_csv_settings, rotate), .min = 4096,
     .max = 1099511627776.0, .preset = "64MiB", .help = "Size of the files in hand together at which they are closed."},
    {.name = "rotate_age", .type = OPTION_DURATION, .offset = offsetof(struct sink_csv_settings, rotate_age_us),
     .max = 366.0 * 86400e6, .preset = "15min",
     .help = "Age at which the files in hand are closed, to five seconds; 0 for never."},
    {.name = NULL},
};

static enum err open_sqlite(const struct sink_place *place, const void *item, struct sink *ret_sink,
                            struct fault *reterr)
{
    const struct sink_sqlite_settings *settings = item;
    (void)place;
    return sink_sqlite_open(settings->path, ret_sink, reterr);
}

static enum err open_file(const struct sink_place *place, const void *item, struct sink *ret_sink, struct fault *reterr)
{
    const struct sink_file_settings *settings = item;
    (void)place;
    return sink_file_open(settings->path, (uint64_t)settings->rotate, ret_sink, reterr);
}

static enum err open_csv(const struct sink_place *place, const void *item, struct sink *ret_sink, struct fault *reterr)
{
    return sink_csv_open(item, place->bridge, ret_sink, reterr);
}

static const struct sink_module sqlite_module = {.abi = SINK_MODULE_ABI,
                                                 .layout = SINK_MODULE_LAYOUT,
                                                 .name = "sqlite",
                                                 .summary = "A SQLite database; /ledger and /tail read it.",
                                                 .table = sqlite_table,
                                                 .item_size = sizeof(struct sink_sqlite_settings),
                                                 .open = open_sqlite};
static const struct sink_module file_module = {.abi = SINK_MODULE_ABI,
                                               .layout = SINK_MODULE_LAYOUT,
                                               .name = "file",
                                               .summary = "JSON lines in files of a directory.",
                                               .table = file_table,
                                               .item_size = sizeof(struct sink_file_settings),
                                               .open = open_file};
static const struct sink_module csv_module = {.abi = SINK_MODULE_ABI,
                                              .layout = SINK_MODULE_LAYOUT,
                                              .name = "csv",
                                              .summary = "CSV files for batch tools, renamed into place when complete.",
                                              .table = csv_table,
                                              .item_size = sizeof(struct sink_csv_settings),
                                              .open = open_csv};
const struct sink_module *const sink_modules_builtin[] = {&sqlite_module, &file_module, &csv_module, NULL};
