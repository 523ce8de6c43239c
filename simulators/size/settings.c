/* SPDX-License-Identifier: Apache-2.0 */
#include "simulators/size/settings.h"

#include <math.h>
#include <unistd.h>

#define AT(member) offsetof(struct size_settings, member)

const char *const size_signals[] = {"pump", "pattern", "csv"};

static const struct option table[] = {
    {.name = "devices", .type = OPTION_INT, .offset = AT(devices), .min = 1, .max = 1e9, .preset = "1000",
     .help = "Devices in all."},
    {.name = "gateways", .type = OPTION_INT, .offset = AT(gateways), .max = 1e7, .preset = "0",
     .help = "Gateways that share them; 0 = as many as are needed."},

    {.name = "sense.driver", .type = OPTION_ENUM, .offset = AT(sense.signal), .words = "pump|pattern|csv",
     .preset = "pump",
     .help = "What the samples are like: a pump's sensors, incompressible, recorded (SKAB's figures)."},
    {.name = "sense.path", .type = OPTION_PATH, .offset = AT(sense.path), .preset = "",
     .help = "csv with --measure: file or folder with your own recording."},
    {.name = "sense.channels", .type = OPTION_INT, .offset = AT(sense.channels), .min = 1, .max = 64, .preset = "6",
     .help = "Values in a sample."},
    {.name = "sense.value_bytes", .type = OPTION_NUMBER, .offset = AT(sense.value_bytes), .max = 8, .preset = "0",
     .help = "Bytes that a value takes in a record; 0 = by sense.driver."},
    {.name = "sense.jitter", .type = OPTION_DURATION, .offset = AT(sense.jitter_us), .max = 60e6, .preset = "100us",
     .help = "How far samples stray from their period; above 1 % of it a record carries each sample's time."},

    {.name = "report.period", .type = OPTION_DURATION, .offset = AT(report.period_us), .min = 1000, .max = 86400e6,
     .preset = "1s", .help = "Time between samples, as in weir-device; so are the next five."},
    {.name = "report.samples", .type = OPTION_INT, .offset = AT(report.samples), .min = 1, .max = 1024, .preset = "32",
     .help = "Samples in a record at most."},
    {.name = "report.max_age", .type = OPTION_DURATION, .offset = AT(report.max_age_us), .min = 1000, .max = 86400e6,
     .preset = "10s", .help = "A record is closed when its first sample is so old."},
    {.name = "report.health", .type = OPTION_DURATION, .offset = AT(report.health_us), .max = 86400e6, .preset = "60s",
     .help = "Time between health records; 0s = none."},
    {.name = "report.window", .type = OPTION_INT, .offset = AT(report.window), .min = 1, .max = 256, .preset = "8",
     .help = "Frames under way to the gateway at most."},
    {.name = "report.bulk", .type = OPTION_BYTES, .offset = AT(report.bulk), .max = 1e12, .preset = "0B",
     .help = "Room of the records in the device's store; 0B = 85 % of what may be used."},
    {.name = "report.record_bytes", .type = OPTION_BYTES, .offset = AT(report.record_bytes), .max = SIZE_RECORD_MAX,
     .preset = "0B", .help = "Size of a record, if you know it; 0B = by channels and samples."},
    {.name = "alarm.per_day", .type = OPTION_NUMBER, .offset = AT(alarms_per_day), .max = 1e6, .preset = "10",
     .help = "Alarms a device raises in a day."},
    {.name = "alarm.bytes", .type = OPTION_BYTES, .offset = AT(alarm_bytes), .min = 16, .max = 2048, .preset = "120B",
     .help = "Size of an alarm."},

    {.name = "device.store", .type = OPTION_BYTES, .offset = AT(device.store), .min = 1 << 20, .max = 1099511627776.0,
     .preset = "64MiB", .help = "store.size of weir-device."},
    {.name = "device.flush", .type = OPTION_DURATION, .offset = AT(device.flush_us), .max = 10e6, .preset = "10ms",
     .help = "What a flush takes on its disk: SD card 5 to 50 ms, eMMC 1 to 10 ms, SSD under 1 ms."},
    {.name = "device.link", .type = OPTION_BYTES, .offset = AT(device.link), .max = 1e12, .preset = "128KiB",
     .help = "Bytes a second from a device to its gateway; 0B = no bound."},
    {.name = "device.rtt", .type = OPTION_DURATION, .offset = AT(device.rtt_us), .max = 60e6, .preset = "5ms",
     .help = "Round trip between device and gateway."},
    {.name = "device.keepalive", .type = OPTION_DURATION, .offset = AT(device.keepalive_us), .min = 1e6, .max = 3600e6,
     .preset = "30s", .help = "Silence after which a link is asked for a sign of life."},

    {.name = "gateway.store", .type = OPTION_BYTES, .offset = AT(gateway.store), .min = 1 << 20,
     .max = 1099511627776.0, .preset = "1GiB", .help = "store.size of weir-gateway."},
    {.name = "gateway.flush", .type = OPTION_DURATION, .offset = AT(gateway.flush_us), .max = 10e6, .preset = "1ms",
     .help = "What a flush takes on its disk."},
    {.name = "gateway.commit_delay", .type = OPTION_DURATION, .offset = AT(gateway.commit_delay_us), .max = 1e6,
     .preset = "4ms", .help = "commit.delay of weir-gateway: commits come at least so far apart."},
    {.name = "gateway.descriptors", .type = OPTION_INT, .offset = AT(gateway.descriptors), .min = 100, .max = 1e7,
     .preset = "20000", .help = "Files that its broker may have open (ulimit -n); a device takes one."},

    {.name = "uplink.link", .type = OPTION_BYTES, .offset = AT(uplink.link), .max = 1e12, .preset = "1MiB",
     .help = "Bytes a second from a gateway to its parent; 0B = no bound."},
    {.name = "uplink.rtt", .type = OPTION_DURATION, .offset = AT(uplink.rtt_us), .max = 60e6, .preset = "50ms",
     .help = "Round trip between gateway and parent."},
    {.name = "uplink.frames", .type = OPTION_INT, .offset = AT(uplink.frames), .min = 1, .max = 256, .preset = "32",
     .help = "Frames under way to the parent, as in weir-gateway; so are the next two."},
    {.name = "uplink.frame_bytes", .type = OPTION_BYTES, .offset = AT(uplink.frame_bytes), .min = 1024,
     .max = 128 * 1024, .preset = "64KiB", .help = "Size of a frame to the parent that is aimed at."},
    {.name = "uplink.frame_entries", .type = OPTION_INT, .offset = AT(uplink.frame_entries), .min = 1, .max = 4096,
     .preset = "256", .help = "Records in a frame to the parent at most."},

    {.name = "link.tls", .type = OPTION_BOOL, .offset = AT(tls), .preset = "true", .help = "Links are encrypted."},
    {.name = "link.packet", .type = OPTION_BYTES, .offset = AT(packet_bytes), .max = 200, .preset = "52B",
     .help = "Head of a TCP segment: 52 with IPv4 and time stamps, 72 with IPv6; 0B = count what MQTT and TLS write."},
    {.name = "name_bytes", .type = OPTION_INT, .offset = AT(name_bytes), .min = 1, .max = 64, .preset = "9",
     .help = "Mean length of the names of site, gateway and device."},
    {.name = "encrypted", .type = OPTION_BOOL, .offset = AT(sealed), .preset = "false",
     .help = "Stores have a key: 28 bytes more for each record."},
    {.name = "headroom", .type = OPTION_NUMBER, .offset = AT(headroom), .min = 1, .max = 1000, .preset = "2",
     .help = "Each gateway carries one part in so many of what it could; the rest drains backlogs."},

    {.name = "outage", .type = OPTION_DURATION, .offset = AT(outage_us), .max = 36500 * 86400e6, .preset = "8h",
     .help = "How long the link is away, once for the devices' links and once for the uplink."},
    {.name = "buffer", .type = OPTION_DURATION, .offset = AT(buffer_us), .max = 36500 * 86400e6, .preset = "0s",
     .help = "Asks for the store sizes that last so long; 0s = not asked."},
    {.name = "drain", .type = OPTION_DURATION, .offset = AT(drain_us), .max = 3650 * 86400e6, .preset = "0s",
     .help = "Asks for the links that empty the backlog of the outage in so long; 0s = not asked."},
    {.name = "json", .type = OPTION_BOOL, .offset = AT(json), .preset = "false",
     .help = "The answer as one JSON document."},
    {.name = "measure", .type = OPTION_BOOL, .offset = AT(measure), .preset = "false",
     .help = "Measures record, store and processor here and now instead of taking presets; under 20 s."},
    {.name = "measure_path", .type = OPTION_PATH, .offset = AT(measure_path), .preset = "/tmp",
     .help = "Folder on the disk that --measure shall measure."},
    {.name = NULL},
};

static enum err check(const void *settings, struct buffer *problems)
{
    const struct size_settings *s = settings;
    size_t before = problems->len;
    struct size_input in;
    struct size_constants c;
    struct size_answer a;
    size_presets(s, &c);
    size_input_of(s, &in);
    size_compute(&in, &c, &a);
    if (a.block_bytes > SIZE_RECORD_MAX) {
        buffer_printf(problems,
                      "sense.channels %.0f and report.samples %.0f make records of %.0f bytes; a record has %d at "
                      "most: take fewer samples\n",
                      in.channels, in.samples, a.block_bytes, SIZE_RECORD_MAX);
    }
    if (s->gateways > s->devices) {
        buffer_printf(problems, "gateways %.0f: more than devices %.0f; allowed 0..%.0f\n", in.gateways, in.devices,
                      in.devices);
    }
    if (a.device_bulk.records < 2) {
        buffer_printf(problems,
                      "device.store %.0f bytes, report.bulk %.0f bytes: no room for two records of %.0f bytes\n",
                      in.device_store, in.device_bulk, a.block_bytes);
    }
    if (in.device_bulk > SIZE_CAP * in.device_store) {
        buffer_printf(problems,
                      "report.bulk: %.0f bytes of a device.store of %.0f; allowed are 0B..%.0fB (90 %% are filled)\n",
                      in.device_bulk, in.device_store, SIZE_CAP * in.device_store);
    }
    if (a.gateway_bulk.records < 2) {
        buffer_printf(problems,
                      "gateway.store: %.0f bytes have no room for the marks of %.0f devices (%.0f bytes) and two "
                      "records\n",
                      in.gateway_store, a.devices_each, a.stream_bytes);
    }
    if (s->measure && access(s->measure_path, W_OK) != 0) {
        buffer_printf(problems, "measure_path: %s is no folder that can be written to\n", s->measure_path);
    }
    if (s->measure && s->sense.signal == SIZE_CSV && s->sense.path[0] != '\0' && access(s->sense.path, R_OK) != 0) {
        buffer_printf(problems, "sense.path: %s cannot be read\n", s->sense.path);
    }
    return problems->len > before ? ERR_RANGE : OK;
}

const struct options_program size_program = {
    .name = "weir-fleet size",
    .summary = "How long buffers last, what an outage costs, how many gateways: with the formulas.",
    .table = table,
    .settings_size = sizeof(struct size_settings),
    .needs_no_file = true,
    .example = "weir-fleet size --devices 5000 --report.period 100ms --device.store 32MiB --outage 2d",
    .exits = "Exit: 0 answered, 1 --measure failed, 2 usage or impossible values\n",
    .check = check,
};

static double seconds(int64_t us)
{
    return (double)us / (double)SECOND_US;
}

static double rate(int64_t bytes)
{
    return bytes > 0 ? (double)bytes : INFINITY;
}

void size_input_of(const struct size_settings *s, struct size_input *in)
{
    *in = (struct size_input){
        .devices = (double)s->devices,
        .gateways = (double)s->gateways,
        .period_s = seconds(s->report.period_us),
        .channels = (double)s->sense.channels,
        .samples = (double)s->report.samples,
        .max_age_s = seconds(s->report.max_age_us),
        .health_s = seconds(s->report.health_us),
        .record_bytes = (double)s->report.record_bytes,
        .jitter_s = seconds(s->sense.jitter_us),
        .alarms_per_s = s->alarms_per_day / 86400,
        .alarm_bytes = (double)s->alarm_bytes,
        .name_bytes = (double)s->name_bytes,
        .sealed = s->sealed,
        .device_store = (double)s->device.store,
        .device_bulk = (double)s->report.bulk,
        .device_flush_s = seconds(s->device.flush_us),
        .device_rate = rate(s->device.link),
        .device_rtt_s = seconds(s->device.rtt_us),
        .device_frames = (double)s->report.window,
        .keepalive_s = seconds(s->device.keepalive_us),
        .gateway_store = (double)s->gateway.store,
        .gateway_flush_s = seconds(s->gateway.flush_us),
        .commit_delay_s = seconds(s->gateway.commit_delay_us),
        .uplink_rate = rate(s->uplink.link),
        .uplink_rtt_s = seconds(s->uplink.rtt_us),
        .uplink_frames = (double)s->uplink.frames,
        .uplink_frame_bytes = (double)s->uplink.frame_bytes,
        .uplink_frame_records = (double)s->uplink.frame_entries,
        .descriptors = (double)s->gateway.descriptors,
        .headroom = s->headroom,
        .tls = s->tls,
        .packet_bytes = (double)s->packet_bytes,
        .outage_s = seconds(s->outage_us),
        .wanted_buffer_s = seconds(s->buffer_us),
        .wanted_drain_s = seconds(s->drain_us),
    };
}
