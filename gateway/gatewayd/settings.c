/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/gatewayd/settings.h"

#include "core/window/window.h"
#include "proto/wire/wire.h"

#define AT(member) offsetof(struct settings, member)

static const struct option table[] = {
    {.name = "site", .type = OPTION_ID, .offset = AT(site), .required = true,
     .help = "The site whose devices this gateway serves; the first level of every topic."},
    {.name = "id", .type = OPTION_ID, .offset = AT(id), .required = true,
     .help = "Identity of this gateway; equal to its certificate's common name."},
    {.name = "log.level", .type = OPTION_ENUM, .offset = AT(log_level), .words = "error|warn|info|debug",
     .preset = "info", .live = true, .help = "The least urgent lines that are printed."},
    {.name = "control.socket", .type = OPTION_PATH, .offset = AT(socket), .preset = "/run/weir/gateway.sock",
     .help = "Local socket for the operator's command; empty for none."},
    DAEMON_BROKER_OPTIONS("broker", struct settings, broker, "localhost", "native"),
    DAEMON_RECONNECT_OPTION("broker", struct settings, broker),
    {.name = "parent.site", .type = OPTION_ID, .offset = AT(parent_site), .preset = "",
     .help = "Site of the parent; empty for our own."},
    {.name = "parent.id", .type = OPTION_ID, .offset = AT(parent_id), .preset = "",
     .help = "Identity of the bridge or gateway above; empty for none: records stay here until the store is full."},
    DAEMON_BROKER_OPTIONS("parent", struct settings, parent, "", "native"),
    DAEMON_RECONNECT_OPTION("parent", struct settings, parent),
    DAEMON_STORE_OPTIONS(struct settings, store, "/var/lib/weir/gateway", "1GiB"),
    {.name = "commit.delay", .type = OPTION_DURATION, .offset = AT(commit_delay_us), .max = 1e6, .preset = "4ms",
     .help = "Commits come at least so far apart: a record that comes alone does not wait, a crowd shares a flush."},
    {.name = "commit.entries", .type = OPTION_INT, .offset = AT(commit_entries), .min = 1, .max = 65536,
     .preset = "4096", .help = "Records after which a commit does not wait any longer."},
    {.name = "uplink.frames", .type = OPTION_INT, .offset = AT(uplink_frames), .min = 1, .max = WINDOW_FRAMES_MAX,
     .preset = "32", .help = "Frames under way to the parent without its answer."},
    {.name = "uplink.frame_bytes", .type = OPTION_BYTES, .offset = AT(uplink_frame_bytes), .min = 1024,
     .max = WIRE_FRAME_MAX / 2, .preset = "64KiB", .help = "Size of a frame to the parent that is aimed at."},
    {.name = "uplink.frame_entries", .type = OPTION_INT, .offset = AT(uplink_frame_entries), .min = 1,
     .max = WIRE_RECORDS_MAX, .preset = "256", .help = "Records in a frame to the parent at most."},
    {.name = "fleet.offline_after", .type = OPTION_DURATION, .offset = AT(offline_after_us), .min = 1e6, .max = 86400e6,
     .preset = "60s", .live = true, .help = "Silence after which a device counts as offline."},
    {.name = "fleet.max_frames_per_s", .type = OPTION_INT, .offset = AT(max_frames_per_s), .max = 1e6, .preset = "1000",
     .live = true, .help = "Frames a second that one device may send; 0 for no bound."},
    {.name = NULL},
};

static enum err check(const void *settings, struct buffer *problems)
{
    const struct settings *s = settings;
    enum err err = daemon_broker_check("broker", &s->broker, s->id, problems);
    if (daemon_store_check(&s->store, problems) != OK) {
        err = ERR_RANGE;
    }
    if (s->parent_id[0] == '\0') {
        if (s->parent.host != NULL && s->parent.host[0] != '\0') {
            buffer_printf(problems, "parent.host: given without parent.id\n");
            err = ERR_RANGE;
        }
        return err;
    }
    if (daemon_broker_check("parent", &s->parent, s->id, problems) != OK) {
        err = ERR_RANGE;
    }
    if (strcmp(s->parent_id, s->id) == 0) {
        buffer_printf(problems, "parent.id: is our own id\n");
        err = ERR_RANGE;
    }
    return err;
}

const struct options_program settings_program = {
    .name = "weir-gateway",
    .summary = "Takes the devices' records durably and passes them on to the bridge or the gateway above.",
    .table = table,
    .settings_size = sizeof(struct settings),
    .check = check,
};
