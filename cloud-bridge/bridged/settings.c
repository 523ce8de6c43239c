/* SPDX-License-Identifier: Apache-2.0 */
#include "cloud-bridge/bridged/settings.h"

#define AT(member) offsetof(struct settings, member)

static const struct option table[] = {
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
    {.name = "sink.sqlite", .type = OPTION_PATH, .offset = AT(sink_sqlite), .preset = "/var/lib/weir/weir.db",
     .help = "SQLite database that receives the readings; empty for none. /ledger and /tail read it."},
    {.name = "sink.file", .type = OPTION_PATH, .offset = AT(sink_file), .preset = "",
     .help = "Directory that receives the records as JSON lines; empty for none."},
    {.name = "sink.file_rotate", .type = OPTION_BYTES, .offset = AT(sink_file_rotate), .min = 4096,
     .max = 1099511627776.0, .preset = "64MiB", .help = "Size at which the file sink begins its next file."},
    {.name = NULL},
};

static enum err check(const void *settings, struct buffer *problems)
{
    const struct settings *s = settings;
    enum err err = daemon_broker_check("broker", &s->broker, s->id, problems);
    if (daemon_store_check(&s->store, problems) != OK) {
        err = ERR_RANGE;
    }
    if (s->sink_sqlite[0] == '\0' && s->sink_file[0] == '\0') {
        buffer_printf(problems, "sink.sqlite: at least one sink is needed\n");
        err = ERR_RANGE;
    }
    return err;
}

const struct options_program settings_program = {
    .name = "weir-bridge",
    .summary = "Takes the gateways' records durably and feeds the sinks.",
    .table = table,
    .settings_size = sizeof(struct settings),
    .check = check,
};
