/* SPDX-License-Identifier: Apache-2.0 */
#include "device/agent/settings.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "core/crypt/crypt.h"
#include "proto/model/model.h"
#include "proto/rules/rules.h"

#define AT(member) offsetof(struct settings, member)

const char *const settings_drivers[] = {"host", "csv", "pump", "pattern"};
const char *const settings_faults[] = {"none", "wear", "stuck", "leak", "auto"};

static const struct option table[] = {
    {.name = "site", .type = OPTION_ID, .offset = AT(site), .required = true,
     .help = "Name of the plant; the first level of the topics behind weir/v1."},
    {.name = "id", .type = OPTION_ID, .offset = AT(id), .required = true,
     .help = "Identity of this device; equals the common name of broker.cert."},
    {.name = "gateway", .type = OPTION_ID, .offset = AT(gateway), .required = true,
     .help = "Identity of the gateway that takes this device's records."},
    {.name = "log.level", .type = OPTION_ENUM, .offset = AT(log_level), .words = "error|warn|info|debug",
     .preset = "info", .live = true, .help = "Least important lines that are printed on stderr."},
    {.name = "control.socket", .type = OPTION_PATH, .offset = AT(control_socket), .preset = "/run/weir/device.sock",
     .help = "Local socket for the weir command; \"\" = none."},

    DAEMON_BROKER_OPTIONS("broker", struct settings, broker, "127.0.0.1", "paho"),
    DAEMON_STORE_OPTIONS(struct settings, store, "/var/lib/weir/device", "64MiB"),

    {.name = "sense.driver", .type = OPTION_ENUM, .offset = AT(sense.driver), .words = "host|csv|pump|pattern",
     .preset = "host",
     .help = "Where samples come from: this machine, recorded series, a simulated pump, a test pattern."},
    {.name = "sense.path", .type = OPTION_PATH, .offset = AT(sense.path),
     .help = "csv: file or folder to replay. host: another root than /, such as a container's view of its host."},
    {.name = "sense.seed", .type = OPTION_INT, .offset = AT(sense.seed), .max = 1e15, .preset = "0",
     .help = "pump: its noise and fault. csv: which file comes first."},
    {.name = "sense.bits", .type = OPTION_INT, .offset = AT(sense.bits), .max = 32, .preset = "0",
     .help = "csv: resolution as of a converter of so many bits; 0 = by the decimal places."},
    {.name = "sense.fault", .type = OPTION_ENUM, .offset = AT(sense.fault), .words = "none|wear|stuck|leak|auto",
     .preset = "none", .help = "pump: what goes wrong; auto = by the seed."},
    {.name = "sense.onset", .type = OPTION_INT, .offset = AT(sense.onset), .max = 1e9, .preset = "0",
     .help = "pump: samples until it goes wrong; 0 = by the seed, a sixth to two thirds of the cycle."},
    {.name = "sense.cycle", .type = OPTION_INT, .offset = AT(sense.cycle), .max = 1e9, .preset = "0",
     .help = "pump: samples until it is as new again, and its fault begins anew; 0 = 3600."},
    {.name = "sense.channels", .type = OPTION_INT, .offset = AT(sense.channels), .max = 64, .preset = "4",
     .help = "pattern: number of channels."},
    {.name = "sense.fastest", .type = OPTION_DURATION, .offset = AT(sense.fastest_us), .max = 86400e6, .preset = "0s",
     .live = true, .help = "The gateway may ask for samples so close together while a capture lasts; 0s = it may not."},
    {.name = "sense.fast_for_max", .type = OPTION_DURATION, .offset = AT(sense.fast_for_max_us), .max = 86400e6,
     .preset = "0s", .live = true,
     .help = "How long at a stretch, and at most half of the time; the device returns to report.period by itself."},

    {.name = "report.period", .type = OPTION_DURATION, .offset = AT(report.period_us), .min = 1000, .max = 86400e6,
     .preset = "1s", .live = true, .help = "Time between samples."},
    {.name = "report.samples", .type = OPTION_INT, .offset = AT(report.samples), .min = 1, .max = 1024, .preset = "32",
     .help = "Samples in a record at most."},
    {.name = "report.max_age", .type = OPTION_DURATION, .offset = AT(report.max_age_us), .min = 1000, .max = 86400e6,
     .preset = "10s", .help = "A record is closed when its first sample is so old; bounds what a power cut takes."},
    {.name = "report.health", .type = OPTION_DURATION, .offset = AT(report.health_us), .max = 86400e6, .preset = "60s",
     .help = "Time between health records; 0s = none."},
    {.name = "report.window", .type = OPTION_INT, .offset = AT(report.window_frames), .min = 1, .max = 256,
     .preset = "32", .help = "Frames under way to the gateway at most; 8 at first, more while answers come."},
    {.name = "report.bulk", .type = OPTION_BYTES, .offset = AT(report.bulk_bytes), .max = 1e12, .preset = "0B",
     .help = "Room of the records in the store, alarms apart; 0B = 85 % of what may be used."},

    {.name = "rules.file", .type = OPTION_FILE, .offset = AT(rules.file), .preset = "",
     .help = "Rules that leave readings out before they are stored (SIGHUP reads the file again); \"\" = none."},
    {.name = "rules.declare", .type = OPTION_DURATION, .offset = AT(rules.declare_us), .min = SECOND_US, .max = 86400e6,
     .preset = "60s",
     .help = "What rules left out is declared so often; a crash takes counts that are not declared yet."},

    {.name = "infer.model", .type = OPTION_FILE, .offset = AT(infer.model), .preset = "",
     .help = "Description of the model that looks at the samples; \"\" = none."},
    {.name = "infer.report", .type = OPTION_ENUM, .offset = AT(infer.report), .words = "all|changes", .preset = "all",
     .help = "A record for every answer, or only where class, answerer or outcome of asking change."},
    {.name = "infer.report_every", .type = OPTION_DURATION, .offset = AT(infer.report_every_us), .max = 86400e6,
     .preset = "60s", .help = "infer.report changes: a record so often at least; 0s = only on changes."},
    {.name = "infer.alarm_classes", .type = OPTION_LIST, .offset = AT(infer.alarm_classes), .max = 256,
     .help = "Classes whose first record overtakes the others, as alarms do (of a score: not-normal)."},
    {.name = "infer.ask", .type = OPTION_ENUM, .offset = AT(infer.ask), .words = "never|features|window|smaller",
     .preset = "never", .help = "What the gateway is told when it is asked about a window that the model is unsure of."},
    {.name = "infer.ask_deadline", .type = OPTION_DURATION, .offset = AT(infer.ask_deadline_us), .min = 1000, .max = 60e6,
     .preset = "250ms", .help = "An answer that comes later is dropped, and the device's own stands."},
    {.name = "infer.asks_per_minute", .type = OPTION_INT, .offset = AT(infer.asks_per_minute), .min = 1, .max = 60000,
     .preset = "60", .help = "Asks at most; four may be under way at a time."},
    {.name = "infer.macs_per_day", .type = OPTION_INT, .offset = AT(infer.macs_per_day), .max = 1e18, .preset = "0",
     .help = "Multiply-accumulates of the network in 24 hours at most, others are skipped and counted; 0 = no bound."},
    {.name = "infer.bytes_per_day", .type = OPTION_BYTES, .offset = AT(infer.bytes_per_day), .max = 1e15, .preset = "0B",
     .help = "Bytes of answers' records, sketches and asks in 24 hours at most; 0B = no bound."},
    {.name = "infer.sketch", .type = OPTION_DURATION, .offset = AT(infer.sketch_us), .max = 86400e6, .preset = "10min",
     .help = "Statistics of the model's inputs and answers so often, for drift; 0s = none."},

    {.name = "alarm.channel", .type = OPTION_STRING, .offset = AT(alarm.channel), .max = 47, .preset = "", .live = true,
     .help = "Channel that is watched; \"\" = none."},
    {.name = "alarm.above", .type = OPTION_NUMBER, .offset = AT(alarm.above), .preset = "inf", .live = true,
     .help = "Alarm when the value is above."},
    {.name = "alarm.below", .type = OPTION_NUMBER, .offset = AT(alarm.below), .preset = "-inf", .live = true,
     .help = "Alarm when the value is below."},

    {.name = "run.samples", .type = OPTION_INT, .offset = AT(run.samples), .max = 1e15, .preset = "0",
     .help = "Stop sampling after so many; 0 = never."},
    {.name = "run.exit_when_drained", .type = OPTION_BOOL, .offset = AT(run.exit_when_drained), .preset = "false",
     .help = "End when run.samples are taken and everything is acknowledged."},
    {.name = "run.drain_wait", .type = OPTION_DURATION, .offset = AT(run.drain_wait_us), .max = 3600e6, .preset = "5s",
     .help = "How long SIGTERM waits for acknowledgements; what has none is sent after the next start."},
    {.name = NULL},
};

static bool given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* Every mistake that was found in the file of this setting, with its place in it. */
static void put_problems(const char *setting, const struct buffer *found, struct buffer *problems)
{
    for (struct slice rest = buffer_slice(found); rest.len > 0;) {
        const uint8_t *end = memchr(rest.ptr, '\n', rest.len);
        size_t len = end ? (size_t)(end - rest.ptr) : rest.len, skip = len + (end != NULL);
        if (len > 0 && rest.ptr[0] != ' ') { /* not the line itself, which the next one points into */
            buffer_printf(problems, "%s: %.*s\n", setting, (int)len, (const char *)rest.ptr);
        }
        rest = slice_of(rest.ptr + skip, rest.len - skip);
    }
}

static void check_rules(const char *path, struct buffer *problems)
{
    CLEANUP(rules_freep) struct rules *rules = NULL;
    BUFFER(found, 64 * 1024);
    if (!given(path) || rules_load_device(path, &rules, &found) == OK) {
        return;
    }
    put_problems("rules.file", &found, problems);
}

static void check_model(const char *path, struct buffer *problems)
{
    CLEANUP(model_freep) struct model *model = NULL;
    BUFFER(found, 64 * 1024);
    if (given(path) && model_load(path, &model, &found) != OK) {
        put_problems("infer.model", &found, problems);
    }
}

static void check_bounds(const struct settings *s, struct buffer *problems)
{
    if ((s->sense.fastest_us > 0) != (s->sense.fast_for_max_us > 0)) {
        buffer_put_str(problems, "sense.fastest and sense.fast_for_max go together: how fast, and for how long\n");
    } else if (s->sense.fastest_us > 0 && s->sense.fastest_us < MS_US) {
        buffer_put_str(problems, "sense.fastest: 1ms is the least\n");
    } else if (s->sense.fastest_us >= s->report.period_us) {
        buffer_put_str(problems, "sense.fastest: is not shorter than report.period\n");
    }
    if (s->sense.onset > 0 && s->sense.cycle > 0 && s->sense.onset >= s->sense.cycle) {
        buffer_put_str(problems, "sense.onset: is not before the end of sense.cycle\n");
    }
}

static enum err check(const void *settings, struct buffer *problems)
{
    const struct settings *s = settings;
    size_t before = problems->len;
    enum err err = daemon_broker_check("broker", &s->broker, s->id, problems);
    if (daemon_store_check(&s->store, problems) != OK) {
        err = ERR_RANGE;
    }
    if (strcmp(settings_drivers[s->sense.driver], "csv") == 0 && !given(s->sense.path)) {
        buffer_put_str(problems, "sense.driver csv needs sense.path: a file or a folder\n");
    } else if (given(s->sense.path) && access(s->sense.path, R_OK) != 0) {
        buffer_printf(problems, "sense.path: %s cannot be read: %s\n", s->sense.path, strerror(errno));
    }
    if (given(s->alarm.channel) && s->alarm.below > s->alarm.above) {
        buffer_printf(problems, "alarm.below %g is higher than alarm.above %g\n", s->alarm.below, s->alarm.above);
    }
    check_bounds(s, problems);
    check_rules(s->rules.file, problems);
    check_model(s->infer.model, problems);
    return problems->len > before ? ERR_RANGE : err;
}

const struct options_program settings_program = {
    .name = "weir-device",
    .summary = "Samples sensors, stores every reading durably and delivers it to the gateway exactly once.",
    .table = table,
    .settings_size = sizeof(struct settings),
    .check = check,
};

uint64_t settings_hash(const struct settings *s)
{
    BUFFER(text, 16 * 1024);
    buffer_printf(&text,
                  "%s|%s|%" PRId64 "|%" PRId64 "|%s|%" PRId64 "|%" PRId64 "|%" PRId64 "|%" PRId64 "|%s|%g|%g|%" PRId64
                  "|%" PRId64,
                  settings_drivers[s->sense.driver], s->sense.path ? s->sense.path : "", s->sense.seed, s->sense.bits,
                  settings_faults[s->sense.fault], s->sense.channels, s->report.period_us, s->report.samples,
                  s->report.max_age_us, s->alarm.channel ? s->alarm.channel : "", s->alarm.above, s->alarm.below,
                  s->sense.onset, s->sense.cycle);
    uint8_t digest[CRYPT_SHA256_BYTES];
    crypt_sha256(buffer_slice(&text), digest);
    uint64_t hash;
    memcpy(&hash, digest, sizeof hash);
    return hash;
}
