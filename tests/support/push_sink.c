/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-push-sink - feeds one sink module as the bridge's drain does, with records that are a function of their
 * position, as fast as it takes them. It keeps nothing: what to offer next it learns from the sink's position, so it
 * may be killed at
 * any moment and started again.
 *
 *   WEIR_PUSH="type=nats devices=8 records=100000 seed=1 bridge=bridge1 site=plant1" \
 *     weir-push-sink --servers ... (settings of the module's section)
 *
 * Position p of lane 1 is record p / devices + 1 of device p % devices, a block of two channels and four samples; every
 * 64th of a device is its description. Lane 0 has one alarm for 64 records of lane 1. After an error the same batch is
 * offered again, 50 ms later, as often as it takes. With late=N the numbers come out of order, as by two ways: of
 * every four times N of a device the second N come last. Closing line on stdout: records, batches, failures, seconds.
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "cloud-bridge/sinks/load.h"
#include "core/crypt/crypt.h"

enum { BATCH = 512, SAMPLES = 4, CHANNELS = 2, ALARM_EVERY = 64, BODY_MAX = 512 };

struct push {
    char type[ID_MAX + 1], site[ID_MAX + 1], bridge[ID_MAX + 1];
    unsigned devices, seed;
    uint64_t late; /* numbers of a device in a block; 0 = in order */
    uint64_t end[INBOX_LANES], position[INBOX_LANES], epoch[INBOX_LANES];
    struct sink sink;
    struct sink_batch batch;
    struct sink_item items[BATCH * INBOX_LANES];
    struct buffer bodies; /* of the batch */
    size_t at[BATCH * INBOX_LANES], len[BATCH * INBOX_LANES];
    Weir__V1__Describe describe;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t epoch_of(const struct push *p, unsigned device, unsigned lane)
{
    return mix_u64((uint64_t)p->seed << 32 | device << 1 | lane) | 1;
}

static void put_block(struct push *p, unsigned device, uint64_t number, Weir__V1__Record *record,
                      Weir__V1__Block *block, struct buffer *columns)
{
    int64_t values[CHANNELS * SAMPLES];
    const double resolutions[CHANNELS] = {0.1, 0.5};
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        values[i] = (int64_t)(mix_u64(number << 8 | device << 3 | i) % 2001) - 1000;
    }
    if (block_encode(values, resolutions, CHANNELS, SAMPLES, columns) != OK) {
        abort();
    }
    block->set = p->describe.set;
    block->wall_us = UINT64_C(1767225600000000) + number * 40000;
    block->samples = SAMPLES;
    block->period_us = 10000;
    block->quality = WEIR__V1__CLOCK_QUALITY__NTP;
    block->columns.data = columns->ptr;
    block->columns.len = columns->len;
    record->kind_case = WEIR__V1__RECORD__KIND_BLOCK;
    record->block = block;
}

static void put_record(struct push *p, unsigned lane, unsigned device, uint64_t number)
{
    char id[] = "limit-exceeded", text[] = "pushed", channel[] = "pressure";
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    Weir__V1__Block block = WEIR__V1__BLOCK__INIT;
    Weir__V1__Event event = WEIR__V1__EVENT__INIT;
    BUFFER(columns, 1024);
    record.schema = WIRE_SCHEMA;
    if (lane == 0) {
        event.id = id;
        event.text = text;
        event.channel = channel;
        event.severity = WEIR__V1__SEVERITY__ALARM;
        event.wall_us = UINT64_C(1767225600000000) + number * 40000;
        event.value = (double)number;
        record.kind_case = WEIR__V1__RECORD__KIND_EVENT;
        record.event = &event;
    } else if (number % 64 == 1) {
        record.kind_case = WEIR__V1__RECORD__KIND_DESCRIBE;
        record.describe = &p->describe;
    } else {
        put_block(p, device, number, &record, &block, &columns);
    }
    if (wire_record_pack(&record, &p->bodies) != OK) {
        abort();
    }
}

/* Which record of lane 1 stands at this place: of four blocks the second comes last. */
static uint64_t record_at(const struct push *p, uint64_t at)
{
    static const uint64_t order[] = {0, 2, 3, 1};
    uint64_t block = p->late * p->devices, four = COUNT_OF(order) * block;
    if (p->late == 0 || at / four * four + four > p->end[1]) {
        return at;
    }
    return at / four * four + order[at % four / block] * block + at % block;
}

static void fill_lane(struct push *p, unsigned lane)
{
    uint64_t first = p->position[lane];
    for (uint64_t at = first; at < p->end[lane] && at < first + BATCH; at++) {
        uint64_t record = lane == 1 ? record_at(p, at) : at;
        unsigned device = (unsigned)(record % p->devices);
        uint64_t number = record / p->devices + 1;
        size_t i = p->batch.count++;
        struct sink_item *item = &p->items[i];
        *item = (struct sink_item){.lane = (uint8_t)lane,
                                   .position = at + 1,
                                   .forward = {.epoch = epoch_of(p, device, lane),
                                               .first = number,
                                               .last = number,
                                               .top = number,
                                               .received_us = UINT64_C(1767225600000000) + at,
                                               .lane = (uint8_t)lane}};
        snprintf(item->forward.device, sizeof(item->forward.device), "device-%u", device);
        snprintf(item->forward.gateway, sizeof(item->forward.gateway), "gw1");
        p->at[i] = p->bodies.len;
        put_record(p, lane, device, number);
        p->len[i] = p->bodies.len - p->at[i];
        p->batch.position[lane] = at + 1;
    }
}

static void fill(struct push *p)
{
    p->batch.count = 0;
    buffer_reset(&p->bodies);
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        p->batch.epoch[lane] = p->epoch[lane];
        p->batch.position[lane] = p->position[lane];
        fill_lane(p, lane);
    }
    for (size_t i = 0; i < p->batch.count; i++) { /* the buffer has stopped moving */
        p->items[i].forward.record = slice_of(p->bodies.ptr + p->at[i], p->len[i]);
    }
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static int run(struct push *p)
{
    uint64_t records = 0, batches = 0, failures = 0;
    struct fault fault = {.code = OK};
    char told[sizeof(fault.text)] = "";
    double began = now_s();
    while (p->sink.ops->position(p->sink.self, p->epoch, p->position) != OK) {
        const char *why = p->sink.ops->why != NULL ? p->sink.ops->why(p->sink.self) : "";
        if (strcmp(told, why) != 0) {
            snprintf(told, sizeof(told), "%s", why);
            fprintf(stderr, "position: %s\n", told);
        }
        failures++;
        pause_ms(50);
    }
    fprintf(stderr, "position %" PRIu64 " %" PRIu64 "\n", p->position[0], p->position[1]);
    while (p->position[0] < p->end[0] || p->position[1] < p->end[1]) {
        fill(p);
        fault.text[0] = '\0';
        enum err err = p->sink.ops->write(p->sink.self, &p->batch, &fault);
        if (err != OK) {
            if (strcmp(told, fault.text) != 0) {
                snprintf(told, sizeof(told), "%s", fault.text);
                fprintf(stderr, "%s: %s\n", err_name(err), told);
            }
            failures++;
            pause_ms(50);
            continue;
        }
        records += p->batch.count;
        batches++;
        memcpy(p->position, p->batch.position, sizeof(p->position));
    }
    double seconds = now_s() - began;
    printf("records=%" PRIu64 " batches=%" PRIu64 " failures=%" PRIu64 " seconds=%.3f rate=%.0f\n", records, batches,
           failures, seconds, (double)records / seconds);
    return 0;
}

static void set(struct push *p, const char *key, const char *value)
{
    if (strcmp(key, "type") == 0) {
        snprintf(p->type, sizeof(p->type), "%s", value);
    } else if (strcmp(key, "site") == 0) {
        snprintf(p->site, sizeof(p->site), "%s", value);
    } else if (strcmp(key, "bridge") == 0) {
        snprintf(p->bridge, sizeof(p->bridge), "%s", value);
    } else if (strcmp(key, "devices") == 0) {
        p->devices = (unsigned)strtoul(value, NULL, 10);
    } else if (strcmp(key, "seed") == 0) {
        p->seed = (unsigned)strtoul(value, NULL, 10);
    } else if (strcmp(key, "late") == 0) {
        p->late = strtoull(value, NULL, 10);
    } else if (strcmp(key, "records") == 0) {
        p->end[1] = strtoull(value, NULL, 10);
    } else {
        fprintf(stderr, "WEIR_PUSH: %s is not known\n", key);
        exit(2);
    }
}

static void read_environment(struct push *p)
{
    CLEANUP(charp_freep) char *text = strdup(getenv("WEIR_PUSH") != NULL ? getenv("WEIR_PUSH") : "");
    char *rest = text;
    snprintf(p->site, sizeof(p->site), "plant1");
    snprintf(p->bridge, sizeof(p->bridge), "bridge1");
    p->devices = 8;
    p->end[1] = 100000;
    for (char *word; text != NULL && (word = strsep(&rest, " ")) != NULL;) {
        char *value = strchr(word, '=');
        if (value != NULL) {
            *value = '\0';
            set(p, word, value + 1);
        }
    }
    p->end[0] = p->end[1] / ALARM_EVERY;
    p->epoch[0] = mix_u64(p->seed) | 1;
    p->epoch[1] = mix_u64(p->seed + 1000003) | 1;
}

static void describe(struct push *p)
{
    static Weir__V1__ChannelInfo channels[CHANNELS];
    static Weir__V1__ChannelInfo *list[CHANNELS] = {&channels[0], &channels[1]};
    static char names[CHANNELS][16] = {"pressure", "flow"}, units[CHANNELS][8] = {"bar", "l/min"};
    weir__v1__describe__init(&p->describe);
    for (unsigned i = 0; i < CHANNELS; i++) {
        weir__v1__channel_info__init(&channels[i]);
        channels[i].name = names[i];
        channels[i].unit = units[i];
        channels[i].resolution = i == 0 ? 0.1 : 0.5;
    }
    p->describe.n_channel = CHANNELS;
    p->describe.channel = list;
    p->describe.set = wire_describe_set(&p->describe);
}

int main(int argc, char **argv)
{
    static struct push p;
    const struct sink_module *module = NULL;
    struct fault fault = {.code = OK};
    read_environment(&p);
    describe(&p);
    buffer_init(&p.bodies, 16 << 20);
    p.batch.items = p.items;
    if (sink_module_find(p.type, &module, &fault) != OK) {
        fprintf(stderr, "%s\n", fault.text);
        return 2;
    }
    const struct options_program program = {.name = "weir-push-sink",
                                            .summary = module->summary,
                                            .table = module->table,
                                            .settings_size = module->item_size,
                                            .needs_no_file = true,
                                            .check = module->check};
    CLEANUP(charp_freep) char *settings = calloc(1, module->item_size);
    const struct sink_place place = {.name = "pushed", .site = p.site, .bridge = p.bridge, .software = "push"};
    enum options_outcome outcome = options_main(&program, argc, argv, settings);
    if (outcome != OPTIONS_RUN) {
        return outcome == OPTIONS_DONE ? 0 : 2;
    }
    if (sink_module_open(module, &place, settings, &p.sink, &fault) != OK) {
        fprintf(stderr, "%s\n", fault.text);
        return 1;
    }
    int code = run(&p);
    p.sink.ops->close(p.sink.self);
    options_free(&program, settings);
    buffer_deinit(&p.bodies);
    return code;
}
