/* SPDX-License-Identifier: Apache-2.0 */
#include "cloud-bridge/bridged/settings.h"

#include <stdio.h>

#include "core/options/peek.h"

#define AT(member) offsetof(struct settings, member)
#define SQLITE_PRESET "/var/lib/weir/weir.db"
#define LAG_PRESET 90

static const struct option fixed[] = {
    {.name = "site", .type = OPTION_ID, .offset = AT(site), .required = true,
     .help = "The bridge's own site: the first level of the topics that gateways publish to."},
    {.name = "id", .type = OPTION_ID, .offset = AT(id), .required = true,
     .help = "Identity of this bridge; equal to its certificate's common name."},
    {.name = "log.level", .type = OPTION_ENUM, .offset = AT(log_level), .words = "error|warn|info|debug",
     .preset = "info", .live = true, .help = "The least urgent lines that are printed."},
    {.name = "control.socket", .type = OPTION_PATH, .offset = AT(socket), .preset = "/run/weir/bridge.sock",
     .help = "Local socket for the operator's command; empty for none."},
    DAEMON_BROKER_OPTIONS("broker", struct settings, broker, "localhost", "native"),
    DAEMON_RECONNECT_OPTION("broker", struct settings, broker),
    DAEMON_STORE_OPTIONS(struct settings, store, "/var/lib/weir/bridge", "1GiB"),
    {.name = "commit.delay", .type = OPTION_DURATION, .offset = AT(commit_delay_us), .max = 1e6, .preset = "4ms",
     .help = "Commits come at least so far apart: a record that comes alone does not wait, a crowd shares a flush."},
    {.name = "commit.entries", .type = OPTION_INT, .offset = AT(commit_entries), .min = 1, .max = 65536,
     .preset = "4096", .help = "Records after which a commit does not wait any longer."},
    {.name = "dead.max", .type = OPTION_BYTES, .offset = AT(dead_max), .min = 256 * 1024, .max = 17179869184.0,
     .preset = "16MiB", .help = "Room in the store for dead letters; beyond it the oldest go, counted."},
    {.name = "sink.sqlite", .type = OPTION_PATH, .offset = AT(sink_sqlite), .preset = SQLITE_PRESET,
     .help = "SQLite database that receives the readings; empty for none, as it is when there are sections in sinks."},
    {.name = "sink.file", .type = OPTION_PATH, .offset = AT(sink_file), .preset = "",
     .help = "Directory that receives the records as JSON lines; empty for none."},
    {.name = "sink.file_rotate", .type = OPTION_BYTES, .offset = AT(sink_file_rotate), .min = 4096,
     .max = 1099511627776.0, .preset = "64MiB", .help = "Size at which the file sink begins its next file."},
    {.name = NULL},
};


/* ---- checks ---- */
/* A module's sentences get the section in front. */
static enum err check_section(const struct settings *s, size_t index, struct buffer *problems)
{
    const struct settings_section *section = &s->plan->sinks[index];
    BUFFER(found, 64 * 1024);
    enum err err = section->module->check ? section->module->check(s->sinks[index].item, &found) : OK;
    struct slice rest = buffer_slice(&found);
    while (rest.len > 0) {
        const uint8_t *end = memchr(rest.ptr, '\n', rest.len);
        size_t len = end ? (size_t)(end - rest.ptr) : rest.len;
        buffer_printf(problems, "sinks.%s.%.*s\n", section->name, (int)len, (const char *)rest.ptr);
        rest = slice_of(rest.ptr + len + (end != NULL), rest.len - len - (end != NULL));
    }
    return err;
}

static const char *path_of(const struct settings *s, size_t index)
{
    const char *type = s->plan->sinks[index].module->name;
    const void *item = s->sinks[index].item;
    return strcmp(type, "sqlite") == 0 ? ((const struct sink_sqlite_settings *)item)->path
           : strcmp(type, "file") == 0 ? ((const struct sink_file_settings *)item)->path
                                       : NULL;
}

/* Two sinks on one file would both be told that the other's rows are their own. */
static enum err check_paths(const struct settings *s, size_t index, struct buffer *problems)
{
    const char *path = path_of(s, index);
    bool twice = path != NULL && (strcmp(path, s->sink_sqlite) == 0 || strcmp(path, s->sink_file) == 0);
    for (size_t i = 0; path != NULL && i < index; i++) {
        const char *other = path_of(s, i);
        twice = twice || (other != NULL && strcmp(path, other) == 0);
    }
    if (!twice) {
        return OK;
    }
    buffer_printf(problems, "sinks.%s.path: another sink has this path\n", s->plan->sinks[index].name);
    return ERR_RANGE;
}

static enum err check_sinks(const struct settings *s, struct buffer *problems)
{
    enum err err = OK;
    for (size_t i = 0; i < s->plan->count; i++) {
        const char *name = s->plan->sinks[i].name;
        if (check_section(s, i, problems) != OK || check_paths(s, i, problems) != OK) {
            err = ERR_RANGE;
        }
        if ((strcmp(name, "sqlite") == 0 && s->sink_sqlite[0] != '\0') ||
            (strcmp(name, "file") == 0 && s->sink_file[0] != '\0')) {
            buffer_printf(problems, "sinks.%s: sink.%s is the sink of that name already\n", name, name);
            err = ERR_RANGE;
        }
    }
    if (s->plan->count == 0 && s->sink_sqlite[0] == '\0' && s->sink_file[0] == '\0') {
        buffer_printf(problems, "sink.sqlite: at least one sink is needed\n");
        err = ERR_RANGE;
    }
    return err;
}

static enum err check(const void *settings, struct buffer *problems)
{
    const struct settings *s = settings;
    enum err err = daemon_broker_check("broker", &s->broker, s->id, problems);
    if (daemon_store_check(&s->store, problems) != OK || check_sinks(s, problems) != OK) {
        err = ERR_RANGE;
    }
    return err;
}

static const struct options_program base = {
    .name = "weir-bridge",
    .summary = "Takes the gateways' records durably and feeds the sinks. A sink is a section sinks.NAME with its type (sqlite,"
               " file, csv, or of a module) and the type's own settings: weir-bridge --sinks.NAME.type TYPE --help lists them.",
    .table = fixed,
    .sample_end = "# Any number of sinks, each a section under a name of its own; with one of them sink.sqlite is off.\n"
                  "# weir-bridge --sinks.NAME.type TYPE --help lists a type's settings: sqlite, file, csv, postgres, nats, mqtt,\n"
                  "# influx. lag_max is of every sink.\n"
                  "#sinks:\n"
                  "#  history: {type: sqlite, path: /var/lib/weir/weir.db, lag_max: 90}\n"
                  "#  archive: {type: file, path: /var/lib/weir/records}\n"
                  "#  batch: {type: csv, path: /var/lib/weir/csv}\n",
    .settings_size = sizeof(struct settings),
    .check = check,
};

/* ---- the plan ---- */
struct planning {
    struct settings_plan *plan;
    const char *path; /* of the file, for problems */
    struct buffer *problems;
    enum err err;
};

static void plan_problem(struct planning *p, size_t line, size_t column, const char *section, const char *text)
{
    p->err = p->err == ERR_NOMEM ? p->err : ERR_RANGE;
    if (line > 0) {
        buffer_printf(p->problems, "%s:%zu:%zu: sinks.%s.type: %s\n", p->path, line, column, section, text);
    } else {
        buffer_printf(p->problems, "sinks.%s.type: %s\n", section, text);
    }
}

static void plan_section(void *arg, const char *section, const char *type, size_t line, size_t column)
{
    struct planning *p = arg;
    struct settings_section *s = &p->plan->sinks[p->plan->count];
    struct fault fault = {.code = OK};
    if (p->plan->count == SETTINGS_SINKS_MAX) {
        plan_problem(p, line, column, section, "there are too many sinks, at most 16");
        return;
    }
    snprintf(s->name, sizeof(s->name), "%s", section);
    p->plan->count++;
    if (type == NULL) {
        return;
    }
    if (sink_module_find(type, &s->module, &fault) != OK) {
        plan_problem(p, line, column, section, fault.text);
    } else if (s->module->item_size > SETTINGS_ITEM_MAX) {
        plan_problem(p, line, column, section, "its module has more settings than this program has room for");
    }
}

static size_t rows_of(const struct option *table)
{
    size_t count = 0;
    while (table[count].name != NULL) {
        count++;
    }
    return count;
}

static enum err add_row(struct settings_plan *plan, struct option *row, const char *section, const struct option *from,
                        size_t offset)
{
    char *name;
    if (asprintf(&name, "sinks.%s.%s", section, from->name) < 0) {
        return ERR_NOMEM;
    }
    plan->names[plan->name_count++] = name;
    *row = *from;
    row->name = name;
    row->offset += offset;
    row->live = false; /* a sink that is open keeps what it was opened with */
    return OK;
}

static const struct option common[] = {
    {.name = "type", .type = OPTION_ID, .offset = offsetof(struct settings_sink, type), .required = true,
     .help = "What the sink is: sqlite, file, csv, or the name of a module: postgres, nats, mqtt, influx."},
    {.name = "lag_max", .type = OPTION_INT, .offset = offsetof(struct settings_sink, lag_max), .max = 100, .preset = "90",
     .help = "Percent of the store that this sink may hold back while others are further; above, its oldest records are given"
             " up, declared as gaps in it; 0: never, then the bridge takes in nothing."},
    {.name = NULL},
};

static enum err make_table(struct settings_plan *plan)
{
    size_t rows = rows_of(fixed), at;
    for (size_t i = 0; i < plan->count; i++) {
        rows += rows_of(common) + (plan->sinks[i].module ? rows_of(plan->sinks[i].module->table) : 0);
    }
    plan->table = calloc(rows + 1, sizeof(*plan->table));
    plan->names = calloc(rows + 1, sizeof(*plan->names));
    if (plan->table == NULL || plan->names == NULL) {
        return ERR_NOMEM;
    }
    for (at = 0; fixed[at].name != NULL; at++) {
        plan->table[at] = fixed[at];
        if (plan->count > 0 && fixed[at].offset == AT(sink_sqlite)) {
            plan->table[at].preset = "";
        }
    }
    for (size_t i = 0; i < plan->count; i++) {
        const struct settings_section *s = &plan->sinks[i];
        size_t offset = AT(sinks) + i * sizeof(struct settings_sink);
        for (const struct option *row = common; row->name != NULL; row++) {
            TRY(add_row(plan, &plan->table[at++], s->name, row, offset));
        }
        for (const struct option *row = s->module ? s->module->table : common + COUNT_OF(common) - 1; row->name; row++) {
            TRY(add_row(plan, &plan->table[at++], s->name, row, offset + offsetof(struct settings_sink, item)));
        }
    }
    plan->program = base;
    plan->program.table = plan->table;
    return OK;
}

static const struct options_peek peek = {.map = "sinks", .key = "type", .max = SETTINGS_SINKS_MAX + 1, .found = plan_section};

enum err settings_plan_main(int argc, char **argv, struct settings_plan *ret_plan, struct buffer *problems)
{
    struct planning planning = {.plan = ret_plan, .problems = problems};
    struct options_peek mine = peek;
    memset(ret_plan, 0, sizeof(*ret_plan));
    mine.arg = &planning;
    planning.path = options_peek_path(&base, argc, argv);
    TRY(options_peek_main(&base, argc, argv, &mine));
    TRY(planning.err);
    return make_table(ret_plan);
}

enum err settings_plan_load(const char *path, const char *const *sets, size_t set_count, struct settings_plan *ret_plan,
                            struct buffer *problems)
{
    struct planning planning = {.plan = ret_plan, .problems = problems, .path = path};
    struct options_peek mine = peek;
    memset(ret_plan, 0, sizeof(*ret_plan));
    mine.arg = &planning;
    TRY(options_peek_load(path, sets, set_count, &mine));
    TRY(planning.err);
    return make_table(ret_plan);
}

void settings_plan_deinit(struct settings_plan *plan)
{
    for (size_t i = 0; i < plan->name_count; i++) {
        free(plan->names[i]);
    }
    free(plan->names);
    free(plan->table);
    memset(plan, 0, sizeof(*plan));
}

bool settings_plan_equal(const struct settings_plan *a, const struct settings_plan *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) {
        same = strcmp(a->sinks[i].name, b->sinks[i].name) == 0 && a->sinks[i].module == b->sinks[i].module;
    }
    return same;
}

/* ---- opening ---- */
enum err settings_open_sinks(const struct settings *s, const char *software, struct sink sinks[SETTINGS_OPEN_MAX],
                             size_t *ret_count, struct fault *reterr)
{
    *ret_count = 0;
    if (s->sink_sqlite[0] != '\0') {
        TRY(sink_sqlite_open(s->sink_sqlite, &sinks[*ret_count], reterr));
        sinks[(*ret_count)++].lag_max_pct = LAG_PRESET;
    }
    if (s->sink_file[0] != '\0') {
        TRY(sink_file_open(s->sink_file, (uint64_t)s->sink_file_rotate, &sinks[*ret_count], reterr));
        sinks[(*ret_count)++].lag_max_pct = LAG_PRESET;
    }
    for (size_t i = 0; i < s->plan->count; i++) {
        const struct settings_section *section = &s->plan->sinks[i];
        struct sink_place place = {.name = section->name, .site = s->site, .bridge = s->id, .software = software};
        TRY(sink_module_open(section->module, &place, s->sinks[i].item, &sinks[*ret_count], reterr));
        sinks[(*ret_count)++].lag_max_pct = (unsigned)s->sinks[i].lag_max;
    }
    return OK;
}

const char *settings_sqlite_path(const struct settings *s)
{
    for (size_t i = 0; i < s->plan->count && s->sink_sqlite[0] == '\0'; i++) {
        if (strcmp(s->plan->sinks[i].module->name, "sqlite") == 0) {
            return path_of(s, i);
        }
    }
    return s->sink_sqlite[0] != '\0' ? s->sink_sqlite : NULL;
}
