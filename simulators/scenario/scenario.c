/* SPDX-License-Identifier: Apache-2.0 */
/* The table of settings, with what a plant's fleet does by default. */
#include "simulators/scenario/scenario.h"

#include <sys/resource.h>

#define AT(member) offsetof(struct scenario, member)
#define IN(member) offsetof(struct scenario_class, member)
#define SHARES_MAX 1e6

static const struct option class_table[] = {
    {.name = "share", .type = OPTION_NUMBER, .offset = IN(share), .max = SHARES_MAX, .preset = "1",
     .help = "Part of the fleet: weight among the shares of all classes."},
    {.name = "period", .type = OPTION_DURATION, .offset = IN(period_us), .min = 1000, .max = 86400e6, .preset = "1s",
     .plain_seconds = true, .help = "Time between samples."},
    {.name = "samples", .type = OPTION_INT, .offset = IN(samples), .min = 1, .max = 1024, .preset = "10",
     .help = "Samples in a record at most."},
    {.name = "channels", .type = OPTION_INT, .offset = IN(channels), .min = 1, .max = 64, .preset = "4",
     .help = "Values in a sample."},
    {.name = "max_age", .type = OPTION_DURATION, .offset = IN(max_age_us), .min = 1000, .max = 86400e6,
     .preset = "10s", .plain_seconds = true, .help = "A record is closed when its first sample is so old."},
    {.name = "alarm_every", .type = OPTION_DURATION, .offset = IN(alarm_every_us), .max = 365 * 86400e6,
     .preset = "0s", .plain_seconds = true, .help = "Mean time between a device's alarms; 0s = none."},
    {.name = "health", .type = OPTION_DURATION, .offset = IN(health_us), .max = 86400e6, .preset = "0s",
     .plain_seconds = true, .help = "Time between health records; 0s = none."},
    {.name = "window", .type = OPTION_INT, .offset = IN(window), .min = 1, .max = 256, .preset = "8",
     .help = "Frames under way to the gateway at most."},
    {.name = "store", .type = OPTION_BYTES, .offset = IN(store_bytes), .min = 1 << 20, .max = 1 << 30,
     .preset = "4MiB", .help = "Size of a device's store; memory is used as it fills."},
    {.name = "flush", .type = OPTION_DURATION, .offset = IN(flush_us), .max = 10e6, .preset = "2ms",
     .help = "How long a commit takes on the device's modelled disk."},
    {.name = NULL},
};

static const struct option table[] = {
    {.name = "devices", .type = OPTION_INT, .offset = AT(devices), .min = 1, .max = SCENARIO_DEVICES_MAX,
     .preset = "100", .help = "Devices of the fleet, bad actors not counted."},
    {.name = "for", .type = OPTION_DURATION, .offset = AT(for_us), .min = 1e6, .max = 30 * 86400e6, .preset = "30s",
     .plain_seconds = true, .help = "Time under load, after the ramp."},
    {.name = "ramp", .type = OPTION_DURATION, .offset = AT(ramp_us), .max = 86400e6, .preset = "10s",
     .plain_seconds = true, .help = "Time over which the first connects are spread."},
    {.name = "drain", .type = OPTION_DURATION, .offset = AT(drain_us), .max = 86400e6, .preset = "60s",
     .plain_seconds = true, .help = "How long to wait at the end until everything is acknowledged."},
    {.name = "seed", .type = OPTION_INT, .offset = AT(seed), .max = 1e15, .preset = "1",
     .help = "What chance decides about the devices; the same seed is the same fleet."},
    {.name = "site", .type = OPTION_ID, .offset = AT(site), .preset = "demo", .required = true,
     .help = "Name of the plant; the first level of the topics behind weir/v1."},
    {.name = "gateway", .type = OPTION_ID, .offset = AT(gateway), .preset = "gw1", .required = true,
     .help = "Identity of the gateway that takes the records."},
    {.name = "prefix", .type = OPTION_ID, .offset = AT(prefix), .preset = "fleet", .required = true,
     .help = "Identities are PREFIX-1, PREFIX-2, ..."},

    {.name = "broker.host", .type = OPTION_STRING, .offset = AT(broker.host), .min = 1, .max = 255,
     .preset = "127.0.0.1", .help = "Host name or address of the MQTT broker; another machine needs allow_remote."},
    {.name = "broker.port", .type = OPTION_INT, .offset = AT(broker.port), .min = 1, .max = 65535, .preset = "8883",
     .help = "Port of the MQTT broker."},
    {.name = "broker.insecure", .type = OPTION_BOOL, .offset = AT(broker.insecure), .preset = "false",
     .help = "Talk to the broker without TLS; for a closed test bench only."},
    {.name = "broker.ca", .type = OPTION_FILE, .offset = AT(broker.ca), .preset = "",
     .help = "Certificates of the authority that signs the broker's, PEM."},
    {.name = "broker.certificates", .type = OPTION_PATH, .offset = AT(broker.certificates), .preset = "",
     .help = "Folder with IDENTITY.crt and IDENTITY.key of every connection, as weir-pki batch makes it."},
    {.name = "broker.keepalive", .type = OPTION_DURATION, .offset = AT(broker.keepalive_us), .min = 1e6,
     .max = 3600e6, .preset = "60s", .plain_seconds = true,
     .help = "Silence after which a link is asked for a sign of life."},
    {.name = "allow_remote", .type = OPTION_BOOL, .offset = AT(allow_remote), .preset = "false",
     .help = "The broker on another machine may be loaded: its owner knows."},
    {.name = "gateway_socket", .type = OPTION_PATH, .offset = AT(gateway_socket), .preset = "",
     .help = "Control socket of the gateway, for its side of the account; \"\" = the devices' side only."},

    {.name = "json", .type = OPTION_BOOL, .offset = AT(json), .preset = "false",
     .help = "The report on stdout is JSON."},
    {.name = "html", .type = OPTION_PATH, .offset = AT(html), .preset = "",
     .help = "File for the report as one page with plots; \"\" = none."},
    {.name = "progress", .type = OPTION_ENUM, .offset = AT(progress), .words = "auto|lines|off", .preset = "auto",
     .help = "Progress on stderr: one line that is rewritten on a terminal, a line every 5 s otherwise."},

    {.name = "classes", .type = OPTION_SECTIONS, .offset = AT(classes), .min = 1, .max = SCENARIO_CLASSES_MAX,
     .preset = "plain", .sections = class_table, .section_size = sizeof(struct scenario_class),
     .help = "Kinds of devices."},

    {.name = "churn.rate", .type = OPTION_NUMBER, .offset = AT(churn.rate), .max = 1e5, .preset = "0",
     .help = "Devices that crash, per second over the whole fleet: no goodbye, memory gone; 0 = none."},
    {.name = "churn.down", .type = OPTION_DURATION, .offset = AT(churn.down_us), .max = 86400e6, .preset = "5s",
     .plain_seconds = true, .help = "Time until a crashed device starts again from its store."},
    {.name = "storm.every", .type = OPTION_DURATION, .offset = AT(storm.every_us), .max = 86400e6, .preset = "0s",
     .plain_seconds = true, .help = "Time between reconnect storms; 0s = none."},
    {.name = "storm.share", .type = OPTION_NUMBER, .offset = AT(storm.share), .max = 1, .preset = "1",
     .help = "Share of the links that a storm cuts in the same instant."},
    {.name = "offline.share", .type = OPTION_NUMBER, .offset = AT(offline.share), .max = 1, .preset = "0",
     .help = "Share of the devices that are without network now and then."},
    {.name = "offline.every", .type = OPTION_DURATION, .offset = AT(offline.every_us), .min = 1e6, .max = 30 * 86400e6,
     .preset = "60s", .plain_seconds = true, .help = "Mean time from one of a device's spells to the next."},
    {.name = "offline.for", .type = OPTION_DURATION, .offset = AT(offline.for_us), .min = 1000, .max = 30 * 86400e6,
     .preset = "10s", .plain_seconds = true, .help = "Length of a spell."},
    {.name = "clock.share", .type = OPTION_NUMBER, .offset = AT(clock.share), .max = 1, .preset = "0",
     .help = "Share of the devices whose wall clock is wrong."},
    {.name = "clock.skew", .type = OPTION_DURATION, .offset = AT(clock.skew_us), .max = 3650 * 86400e6, .preset = "1h",
     .plain_seconds = true, .help = "By how much at most, either way."},

    {.name = "bad.garbage", .type = OPTION_INT, .offset = AT(bad.garbage), .max = SCENARIO_BAD_MAX, .preset = "0",
     .help = "Further connections that publish random bytes."},
    {.name = "bad.flood", .type = OPTION_INT, .offset = AT(bad.flood), .max = SCENARIO_BAD_MAX, .preset = "0",
     .help = "Further connections that publish well-formed frames at bad.flood_rate."},
    {.name = "bad.thieves", .type = OPTION_INT, .offset = AT(bad.thieves), .max = SCENARIO_BAD_MAX, .preset = "0",
     .help = "Further connections that publish under the name of another device."},
    {.name = "bad.twins", .type = OPTION_INT, .offset = AT(bad.twins), .max = SCENARIO_BAD_MAX, .preset = "0",
     .help = "Further connections with the client identity of a device that is there."},
    {.name = "bad.rate", .type = OPTION_NUMBER, .offset = AT(bad.rate), .min = 0.001, .max = 1e5, .preset = "1",
     .help = "Messages per second of each garbage connection, thief and twin."},
    {.name = "bad.flood_rate", .type = OPTION_NUMBER, .offset = AT(bad.flood_rate), .min = 0.001, .max = 1e5,
     .preset = "1000", .help = "Messages per second of each flood connection."},
    {.name = NULL},
};

static enum err check_here(const void *settings, struct buffer *problems)
{
    struct rlimit limit;
    bool known = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max != RLIM_INFINITY;
    return scenario_check(settings, known ? limit.rlim_max : 0, problems);
}

const struct options_program scenario_program = {
    .name = "weir-fleet load",
    .summary = "Devices by the thousand in one process, each the real agent, against a real broker and gateway.",
    .table = table,
    .settings_size = sizeof(struct scenario),
    .needs_no_file = true,
    .example = "weir-fleet load storms.yaml --devices 19000 --for 60 --html report.html",
    .exits = "Exit: 0 nothing lost, 1 something was or the run was broken off, 2 usage or scenario, 4 no broker\n",
    .check = check_here,
};
