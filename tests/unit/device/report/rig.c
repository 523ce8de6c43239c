/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/device/report/rig.h"

#include <math.h>
#include <stdio.h>

#include "proto/block/block.h"
#include "proto/topic/topic.h"
#include "tests/support/check.h"

enum { ENTRIES_MAX = 256 };

/* ---- receiver ---- */

static struct rig_stream *stream_for(struct rig *rig, uint64_t epoch)
{
    struct rig_stream *s = rig_stream_of(rig, epoch);
    if (s == NULL) {
        CHECK(rig->stream_count < RIG_STREAMS_MAX);
        s = &rig->streams[rig->stream_count++];
        s->epoch = epoch;
    }
    return s;
}

static void read_block(const Weir__V1__Block *block, const char *device, uint64_t epoch, struct rig_record *r)
{
    static int64_t values[BLOCK_SAMPLES_MAX * BLOCK_CHANNELS_MAX];
    size_t channels;
    r->samples = block->samples;
    r->wall_us = block->wall_us;
    r->mono_us = block->mono_us;
    r->set = block->set;
    r->period_us = block->period_us;
    r->has_times = block->times.len > 0;
    r->quality = block->quality;
    r->matches = block_decode(slice_of(block->columns.data, block->columns.len), block->samples, BLOCK_CHANNELS_MAX,
                              values, NULL, &channels) == OK;
    r->channels = (unsigned)channels;
    for (size_t i = 0; r->matches && i < channels * block->samples; i++) {
        r->values += values[i] != BLOCK_MISSING;
    }
    for (size_t c = 0; r->matches && c < channels; c++) {
        for (unsigned i = 0; i < block->samples; i++) {
            r->matches = r->matches &&
                         values[c * block->samples + i] == sense_pattern(device, epoch, r->first, i, (unsigned)c);
        }
    }
}

static void read_record(struct rig *rig, const char *device, uint64_t epoch, const struct wire_entry *entry,
                        struct rig_record *r)
{
    const char *why = "";
    *r = (struct rig_record){.first = entry->first, .last = entry->last};
    if (wire_record_check(entry->body, entry->first, entry->last, &why) != OK) {
        print_error("record %llu refused: %s\n", (unsigned long long)entry->first, why);
        rig->refused_records++;
        return;
    }
    struct arena arena;
    CHECK_OK(arena_init(&arena, WIRE_ARENA_BYTES));
    Weir__V1__Record *record;
    CHECK_OK(wire_record_unpack(entry->body, &arena, &record));
    r->kind = record->kind_case;
    r->matches = true;
    if (r->kind == WEIR__V1__RECORD__KIND_BLOCK) {
        read_block(record->block, device, epoch, r);
    } else if (r->kind == WEIR__V1__RECORD__KIND_GAP) {
        r->matches = record->gap->from == r->first && record->gap->to == r->last;
    } else if (r->kind == WEIR__V1__RECORD__KIND_EVENT) {
        snprintf(r->event, sizeof r->event, "%s", record->event->id);
        snprintf(r->text, sizeof r->text, "%s", record->event->text);
        r->severity = record->event->severity;
        r->value = record->event->value;
        r->set = record->event->set;
    } else if (r->kind == WEIR__V1__RECORD__KIND_DESCRIBE) {
        r->set = record->describe->set;
        r->config = record->describe->config;
        r->channels = (unsigned)record->describe->n_channel;
        r->model = record->describe->model;
    } else if (r->kind == WEIR__V1__RECORD__KIND_CURATED) {
        r->rules = record->curated->rules;
        if (record->curated->block != NULL) {
            read_block(record->curated->block, device, epoch, r);
        }
        r->matches = true; /* what is left is not the pattern of its place */
    } else if (r->kind == WEIR__V1__RECORD__KIND_INFERENCE) {
        r->model = record->inference->model;
        r->asked = record->inference->asked;
        r->by = record->inference->by;
        r->answer = record->inference->answer;
        r->repeats = record->inference->repeats;
        r->wall_us = record->inference->wall_us;
        r->mono_us = record->inference->mono_us;
    } else if (r->kind == WEIR__V1__RECORD__KIND_HEALTH) {
        r->rss_bytes = record->health->rss_bytes;
    }
    arena_deinit(&arena);
}

static void keep(struct rig *rig, struct rig_stream *s, const char *device, const struct wire_entry *entry)
{
    if (s->count == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 256;
        s->records = realloc(s->records, s->cap * sizeof *s->records);
    }
    read_record(rig, device, s->epoch, entry, &s->records[s->count++]);
}

static void answer(struct rig *rig, const struct wire_frame *frame, enum window_verdict verdict, uint64_t hwm)
{
    if (rig->lose_acks > 0 && rig->answers++ % rig->lose_acks != 0) {
        return;
    }
    const struct wire_ack ack = {.epoch = frame->header.epoch,
                                 .hwm = hwm,
                                 .boot = frame->header.boot,
                                 .lane = frame->header.lane,
                                 .verdict = verdict};
    char topic[TOPIC_MAX + 1];
    BUFFER(out, 256);
    wire_ack_encode(&ack, &out);
    topic_format("sim", "gw", frame->sender, TOPIC_ACK, topic);
    enum err err = bus_publish(rig->receiver_bus, slice_str(topic), buffer_slice(&out), 0, false);
    CHECK(err == OK || err == ERR_AGAIN);
}

static void on_message(void *arg, struct slice topic, struct slice payload, bool retained)
{
    struct rig *rig = arg;
    struct topic parsed;
    struct wire_frame frame;
    static struct wire_entry entries[ENTRIES_MAX];
    const char *why = "";
    CHECK(!retained);
    CHECK_OK(topic_parse(topic, &parsed));
    if (wire_frame_decode(payload, false, &frame, entries, ENTRIES_MAX, &why) != OK) {
        fail_msg("frame refused: %s", why);
    }
    CHECK_STR(frame.sender, parsed.device);
    rig->frames++;
    struct rig_stream *s = stream_for(rig, frame.header.epoch);
    if (frame.header.has_hello && frame.header.replaces != 0) {
        s->replaces = frame.header.replaces;
    }
    uint64_t from = 0;
    enum window_verdict verdict = window_receive(&s->window, &frame.header, &from);
    CHECK(verdict != WINDOW_FORGOTTEN && verdict != WINDOW_REFUSED);
    if (verdict == WINDOW_ACCEPT) {
        for (size_t i = 0; i < frame.count; i++) {
            if (entries[i].last >= from) {
                keep(rig, s, frame.sender, &entries[i]);
            }
        }
        s->window.hwm = s->window.pending = frame.header.last;
    }
    answer(rig, &frame, verdict, s->window.hwm);
}

static void on_state(void *arg, enum bus_state state, const char *reason)
{
    (void)arg, (void)state, (void)reason;
}

struct rig_stream *rig_stream_of(struct rig *rig, uint64_t epoch)
{
    for (size_t i = 0; i < rig->stream_count; i++) {
        if (rig->streams[i].epoch == epoch) {
            return &rig->streams[i];
        }
    }
    return NULL;
}

struct rig_stream *rig_current(struct rig *rig, unsigned lane)
{
    return rig_stream_of(rig, rig_stats(rig).lane[lane].epoch);
}

void rig_command(struct rig *rig, const struct wire_command *command)
{
    char topic[TOPIC_MAX + 1];
    BUFFER(out, WIRE_COMMAND_MAX);
    CHECK_OK(wire_command_encode(command, &out));
    topic_format("sim", "gw", "dev-1", TOPIC_CMD, topic);
    CHECK_OK(bus_publish(rig->receiver_bus, slice_str(topic), buffer_slice(&out), 1, false));
}

/* ---- device ---- */

struct rig *rig_new(uint64_t disk_bytes)
{
    struct rig *rig = calloc(1, sizeof *rig);
    CHECK(rig != NULL);
    CHECK_OK(loop_world_new(7, &rig->world));
    CHECK_OK(bus_hub_new(rig->world, &rig->hub));
    bus_hub_set_faults(rig->hub, &(struct bus_faults){.delay_us = 5 * MS_US});
    CHECK_OK(loop_new_virtual(rig->world, &rig->receiver_loop));
    CHECK_OK(loop_new_virtual(rig->world, &rig->device_loop));
    loop_set_worker_latency(rig->device_loop, 2 * MS_US);
    CHECK_OK(bus_new_memory(rig->hub, rig->receiver_loop, "gw", &rig->receiver_bus));
    const struct bus_handlers handlers = {.on_message = on_message, .on_state = on_state, .arg = rig};
    bus_set_handlers(rig->receiver_bus, &handlers);
    CHECK_OK(bus_subscribe(rig->receiver_bus, "weir/v1/sim/gw/+/tele", 0));
    CHECK_OK(bus_start(rig->receiver_bus));
    CHECK_OK(store_disk_new(disk_bytes, &rig->disk));
    rig->sense_options = (struct sense_options){.driver = "pattern", .channels = 3};
    rig->options = (struct agent_options){
        .report = {.site = "sim",
                   .gateway = "gw",
                   .device = "dev-1",
                   .software = "test",
                   .samples_per_record = 4,
                   .max_age_us = MINUTE_US},
        .period_us = SECOND_US,
        .version = "test",
    };
    return rig;
}

void rig_start(struct rig *rig)
{
    struct fault fault = {0};
    CHECK_OK(store_open_memory(rig->device_loop, rig->disk, REPORT_TABLE_COUNT, &rig->store));
    CHECK_OK(bus_new_memory(rig->hub, rig->device_loop, "dev-1", &rig->bus));
    CHECK_OK(sense_open(rig->device_loop, &rig->sense_options, &rig->sense, &fault));
    if (agent_new(rig->device_loop, rig->bus, rig->store, rig->sense, &rig->options, &rig->agent, &fault) != OK) {
        fail_msg("agent_new: %s", fault.text);
    }
    CHECK_OK(bus_start(rig->bus));
}

void rig_crash(struct rig *rig)
{
    agent_free(take(rig->agent));
    bus_free(take(rig->bus));
    sense_close(take(rig->sense));
    store_close(take(rig->store));
}

void rig_free(struct rig *rig)
{
    rig_crash(rig);
    bus_free(rig->receiver_bus);
    bus_hub_free(rig->hub);
    store_disk_free(rig->disk);
    loop_free(rig->device_loop);
    loop_free(rig->receiver_loop);
    loop_world_free(rig->world);
    for (size_t i = 0; i < rig->stream_count; i++) {
        free(rig->streams[i].records);
    }
    free(rig);
}

void rig_run(struct rig *rig, int64_t us)
{
    loop_world_run(rig->world, loop_world_now_us(rig->world) + us);
}

void rig_drain(struct rig *rig, int64_t limit_us)
{
    int64_t end = loop_world_now_us(rig->world) + limit_us;
    while (!report_drained(agent_report(rig->agent))) {
        if (!loop_world_step(rig->world, end)) {
            fail_msg("not drained in %lld s", (long long)(limit_us / SECOND_US));
        }
    }
}

struct report_stats rig_stats(const struct rig *rig)
{
    struct report_stats stats;
    report_stats(agent_report(rig->agent), &stats);
    return stats;
}

/* ---- judging ---- */

void rig_expect_whole(const struct rig_stream *s)
{
    CHECK(s != NULL);
    uint64_t next = 1;
    for (size_t i = 0; i < s->count; i++) {
        const struct rig_record *r = &s->records[i];
        if (r->first > next || r->last < next || !r->matches) {
            fail_msg("record %llu..%llu (kind %d, %s) where %llu was due", (unsigned long long)r->first,
                     (unsigned long long)r->last, (int)r->kind, r->matches ? "good" : "not what was stored",
                     (unsigned long long)next);
        }
        next = r->last + 1;
    }
    CHECK_INT(next - 1, s->window.hwm);
}

size_t rig_count(const struct rig_stream *s, Weir__V1__Record__KindCase kind)
{
    size_t count = 0;
    for (size_t i = 0; s != NULL && i < s->count; i++) {
        count += s->records[i].kind == kind;
    }
    return count;
}

const struct rig_record *rig_event(const struct rig_stream *s, const char *id, size_t n)
{
    for (size_t i = 0; s != NULL && i < s->count; i++) {
        if (strcmp(s->records[i].event, id) == 0 && n-- == 0) {
            return &s->records[i];
        }
    }
    return NULL;
}

uint64_t rig_gap_numbers(const struct rig_stream *s)
{
    uint64_t numbers = 0;
    for (size_t i = 0; i < s->count; i++) {
        const struct rig_record *r = &s->records[i];
        numbers += r->kind == WEIR__V1__RECORD__KIND_GAP ? r->last - r->first + 1 : 0;
    }
    return numbers;
}
