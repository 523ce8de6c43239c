/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of weir-bridge: one row a setting (settings.c).
 *
 * Sinks are named sections, whose rows depend on their type (sinks/load.h):
 *
 *   sinks:
 *     main: {type: sqlite, path: weir.db}
 *     pg:   {type: postgres, url: "postgresql:///weir"}
 *
 * So the table is made when it is known which sections there are (core/options/peek.h): a plan. Without a section
 * `sink.sqlite` and `sink.file` stand for one of their type each, of the same name.
 */
#ifndef CLOUD_BRIDGE_BRIDGED_SETTINGS_H
#define CLOUD_BRIDGE_BRIDGED_SETTINGS_H

#include "cloud-bridge/sinks/load.h"
#include "core/daemon/daemon.h"
#include "core/options/options.h"

enum { SETTINGS_SINKS_MAX = 16, SETTINGS_ITEM_MAX = 512 };

struct settings {
    char *site, *id, *socket;
    int log_level; /* enum log_level */
    struct daemon_broker broker;
    struct daemon_store store;
    int64_t commit_delay_us, commit_entries, dead_max;
    char *sink_sqlite, *sink_file; /* "" = none */
    int64_t sink_file_rotate;
    const struct settings_plan *plan; /* set before anything is read */
    struct settings_sink {
        char *type;
        int64_t lag_max;
        _Alignas(16) uint8_t item[SETTINGS_ITEM_MAX]; /* the module's */
    } sinks[SETTINGS_SINKS_MAX];                      /* as plan->sinks */
};

struct settings_plan {
    struct options_program program;
    struct option *table; /* owned */
    char **names;         /* owned; of the table's rows that are made */
    size_t name_count;
    struct settings_section {
        char name[ID_MAX + 1];
        const struct sink_module *module; /* NULL: no type is written, which the reading says */
    } sinks[SETTINGS_SINKS_MAX];
    size_t count;
};
/* The plan for a command line, or for a file and the --set that the program was started with. ERR_RANGE: a type that is
 * no sink's, a module that cannot be loaded, too many sections; *problems has a line "file:line:column: sentence" for
 * each. ERR_NOMEM. */
enum err settings_plan_main(int argc, char **argv, struct settings_plan *ret_plan, struct buffer *problems) MUST_CHECK;
enum err settings_plan_load(const char *path, const char *const *sets, size_t set_count, struct settings_plan *ret_plan,
                            struct buffer *problems) MUST_CHECK;
void settings_plan_deinit(struct settings_plan *plan);
/* Same sections of the same types. */
bool settings_plan_equal(const struct settings_plan *a, const struct settings_plan *b);

/* Opens what is configured: sinks[0..*ret_count) also when it fails. */
enum { SETTINGS_OPEN_MAX = SETTINGS_SINKS_MAX + 2 };
enum err settings_open_sinks(const struct settings *s, const char *software, struct sink sinks[SETTINGS_OPEN_MAX],
                             size_t *ret_count, struct fault *reterr) MUST_CHECK;
/* Path of the first SQLite sink; NULL = none. */
const char *settings_sqlite_path(const struct settings *s);

#endif
