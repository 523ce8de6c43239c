/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a record: the real agent samples the real driver in virtual time, with samples that stray as sense.jitter
 * says, into a store in memory; the lane's bytes between two moments are divided by its records.
 */
#include "simulators/size/measure.h"

#include <math.h>

#include "core/bus/bus.h"
#include "core/loop/loop.h"
#include "core/store/store.h"
#include "device/agent/agent.h"
#include "device/report/report.h"
#include "device/sense/sense.h"

enum { RECORDS = 200, SKIPPED = 8, SEED = 2027, DISK_BYTES = 256 * 1024 * 1024 };

struct rig {
    struct loop_world *world;
    struct loop *loop;
    struct bus_hub *hub;
    struct bus *bus;
    struct store_disk *disk;
    struct store *store;
    struct sense *sense;
    struct agent *agent;
    size_t channels;
};

static void rig_deinit(struct rig *r)
{
    agent_free(r->agent);
    bus_free(r->bus);
    sense_close(r->sense);
    store_close(r->store);
    store_disk_free(r->disk);
    bus_hub_free(r->hub);
    loop_free(r->loop);
    loop_world_free(r->world);
}

static enum err rig_init(struct rig *r, const struct size_settings *s, struct fault *reterr)
{
    const struct sense_options sense = {.driver = size_signals[s->sense.signal],
                                        .path = s->sense.path,
                                        .seed = SEED,
                                        .channels = (unsigned)s->sense.channels};
    const struct agent_options options = {.report = {.site = "site",
                                                     .gateway = "gateway",
                                                     .device = "device",
                                                     .software = "size",
                                                     .samples_per_record = (unsigned)s->report.samples,
                                                     .max_age_us = s->report.max_age_us,
                                                     .period_us = s->report.period_us,
                                                     .describe_every = 1000000}};
    TRY(loop_world_new(SEED, &r->world));
    TRY(loop_new_virtual(r->world, &r->loop));
    TRY(bus_hub_new(r->world, &r->hub));
    TRY(bus_new_memory(r->hub, r->loop, "device", &r->bus));
    TRY(store_disk_new(DISK_BYTES, &r->disk));
    TRY(store_open_memory(r->loop, r->disk, REPORT_TABLE_COUNT, &r->store));
    TRY(sense_open(r->loop, &sense, &r->sense, reterr));
    (void)sense_channels(r->sense, &r->channels);
    TRY(agent_new(r->loop, r->bus, r->store, r->sense, &options, &r->agent, reterr));
    loop_world_run(r->world, loop_world_now_us(r->world) + SECOND_US);
    return report_ready(agent_report(r->agent)) ? OK : fault_set(reterr, ERR_AGAIN, "the agent did not start");
}

static struct report_lane_stats bulk_of(const struct rig *r)
{
    struct report_stats stats;
    report_stats(agent_report(r->agent), &stats);
    return stats.lane[1];
}

/* Samples until so many records are durable; ERR_NOT_FOUND: a recording has ended. */
static enum err sample_until(struct rig *r, const struct size_settings *s, uint64_t records, int64_t *due_us)
{
    uint64_t spread = (uint64_t)s->sense.jitter_us + 1;
    while (bulk_of(r).durable < records) {
        *due_us += s->report.period_us;
        loop_world_run(r->world, *due_us + (int64_t)(loop_world_random(r->world) % spread));
        TRY(agent_sample_now(r->agent));
    }
    return OK;
}

static enum err run(struct rig *r, const struct size_settings *s, double *ret_body)
{
    int64_t due_us = loop_world_now_us(r->world);
    TRY(sample_until(r, s, SKIPPED, &due_us));
    struct report_lane_stats before = bulk_of(r);
    enum err err = sample_until(r, s, SKIPPED + RECORDS, &due_us);
    struct report_lane_stats after = bulk_of(r);
    if (err != OK && (err != ERR_NOT_FOUND || after.durable < before.durable + 4)) {
        return err;
    }
    *ret_body = (double)(after.bytes - before.bytes) / (double)(after.durable - before.durable) - SIZE_ENTRY_BYTES;
    return OK;
}

/* A driver with its own channels stands for the number that was asked for: the columns are scaled, the head is not. */
static double scaled(double body, size_t channels, double wanted)
{
    enum { HEAD = 40 };
    return channels == (size_t)wanted ? body : HEAD + fmax(body - HEAD, 1) * wanted / (double)channels;
}

enum err measure_records(const struct size_settings *s, struct size_input *in, struct buffer *notes,
                         struct fault *reterr)
{
    if (s->sense.signal == SIZE_CSV && s->sense.path[0] == '\0') {
        buffer_put_str(notes, "record: skipped, csv needs sense.path with a recording\n");
        return OK;
    }
    if (in->record_bytes > 0) {
        buffer_put_str(notes, "record: skipped, report.record_bytes says it\n");
        return OK;
    }
    struct rig r = {0};
    double body = 0;
    enum err err = rig_init(&r, s, reterr);
    if (err == OK) {
        err = run(&r, s, &body);
        if (err != OK) {
            (void)fault_set(reterr, err, "sense.driver %s does not give enough samples", size_signals[s->sense.signal]);
        }
    }
    if (err == OK) {
        in->record_bytes = scaled(body, r.channels, in->channels);
        buffer_printf(notes, "record: %.1f bytes (the agent, driver %s, %zu channels", body,
                      size_signals[s->sense.signal], r.channels);
        buffer_printf(notes, r.channels == (size_t)in->channels ? ")\n" : "; scaled to %.0f: %.1f)\n", in->channels,
                      in->record_bytes);
    }
    rig_deinit(&r);
    return err;
}
