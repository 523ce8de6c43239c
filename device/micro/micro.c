/* SPDX-License-Identifier: Apache-2.0 */
#include "device/micro/micro.h"

#include <stdio.h>

#include "core/features/features.h"
#include "proto/block/block.h"
#include "proto/outcome/outcome.h"

enum { ALIGN = 64, DESCRIBE_MAX = 2048, RECORD_MAX = UINT16_MAX, WINDOW_BYTES = 96 };

static const struct window_sender_options window = {
    .max_frames = OUTLET_FRAMES,
    .first_frames = 2,
    .max_bytes = 16 * 1024,
    .min_rto_us = 200 * MS_US,
    .max_rto_us = MINUTE_US,
    .first_rto_us = SECOND_US,
    .max_queue_us = 200 * MS_US,
};

/* ---- what the parts ask for ---- */

static bool room(void *arg, size_t bytes, unsigned records)
{
    const struct micro *m = arg;
    return outlet_room(&m->outlet, bytes, records);
}

static void put(void *arg, uint8_t lane, struct slice record)
{
    struct micro *m = arg;
    outlet_put(&m->outlet, lane, record);
}

static enum err send_frame(void *arg, struct slice frame)
{
    struct micro *m = arg;
    return m->link.publish(m->link.arg, TOPIC_TELE, frame);
}

static void describe(void *arg, uint8_t lane)
{
    struct micro *m = arg;
    compose_describe_soon(&m->compose, lane);
}

static uint64_t random_bits(void *arg)
{
    struct micro *m = arg;
    return m->link.random(m->link.arg);
}

static enum err tell(void *arg, struct slice record, bool is_alarm)
{
    struct micro *m = arg;
    return compose_inference(&m->compose, is_alarm, record);
}

static enum err ask(void *arg, struct slice bytes)
{
    struct micro *m = arg;
    return m->outlet.up ? m->link.publish(m->link.arg, TOPIC_ASK, bytes) : ERR_AGAIN;
}

/* Sketches: what they say of the answers stands in the description behind the sensors' channels. */
static enum err tell_windows(void *arg, const struct infer_window *windows, size_t count)
{
    struct micro *m = arg;
    struct wire_window out[FEATURES_CHANNELS_MAX + 1];
    for (size_t i = 0; i < count; i++) {
        const struct infer_window *w = &windows[i];
        out[i] = (struct wire_window){
            .channel = w->channel == INFER_OUTCOME ? (uint32_t)m->channel_count : w->channel,
            .rule = OUTCOME_RULE,
            .start_us = w->start_us,
            .length_us = w->length_us,
            .count = w->moments.count,
            .mean = w->moments.mean,
            .m2 = w->moments.m2,
            .min = w->moments.min,
            .max = w->moments.max,
            .sketch = w->sketch,
            .partial = w->partial,
        };
    }
    return compose_windows(&m->compose, out, count);
}

static int64_t now(void *arg)
{
    const struct micro *m = arg;
    return m->now_us;
}

static void wake_at(void *arg, int64_t at_us)
{
    struct micro *m = arg;
    m->infer_due_us = at_us;
}

/* ---- start ---- */

/* Places in the memory, one after the other; beyond its end as well, so that the sentence can say what is needed. */
struct ground {
    uint8_t *memory;
    size_t len, at;
};

static void *place(struct ground *g, size_t bytes)
{
    size_t start = g->at;
    g->at += (bytes + ALIGN - 1) / ALIGN * ALIGN;
    return g->memory + (g->at <= g->len ? start : 0);
}

static enum err start_report(struct micro *m, const struct micro_options *o, struct ground *g, struct fault *reterr)
{
    const struct compose_options options = {.channels = o->channels,
                                            .channel_count = o->channel_count,
                                            .samples_per_record = o->samples_per_record,
                                            .period_us = o->period_us,
                                            .max_age_us = o->max_age_us,
                                            .describe_every = o->describe_every};
    const struct compose_out out = {.room = room, .put = put, .arg = m};
    const struct outlet_handlers handlers = {.send = send_frame, .describe = describe, .random = random_bits, .arg = m};
    size_t block = builder_record_max(o->channel_count, o->samples_per_record);
    size_t record = block > COMPOSE_EVENT_MAX ? block : COMPOSE_EVENT_MAX;
    size_t windows = (o->channel_count + 1) * WINDOW_BYTES + INFER_SKETCH_BYTES;
    record = record > DESCRIBE_MAX ? record : DESCRIBE_MAX;
    record = record > windows ? record : windows;
    const struct outlet_options outlet = {.device = o->device,
                                          .software = o->software,
                                          .lane_bytes = {o->alarm_bytes, o->bulk_bytes},
                                          .record_max = record,
                                          .frame_bytes = o->frame_bytes,
                                          .window = window};
    void *compose = place(g, compose_bytes(&options)), *description = place(g, DESCRIBE_MAX),
         *scratch = place(g, record);
    void *held = place(g, o->held_bytes), *queue = place(g, outlet_bytes(&outlet));
    if (g->at > g->len) {
        return fault_set(reterr, ERR_FULL, "%zu bytes of memory are needed and the model's, there are %zu", g->at,
                         g->len);
    }
    buffer_init_over(&m->describe, description, DESCRIBE_MAX);
    buffer_init_over(&m->scratch, scratch, record);
    compose_init(&m->compose, &options, &out, compose, &m->describe, &m->scratch);
    compose_hold_in(&m->compose, held, o->held_bytes);
    if (record > RECORD_MAX || outlet_init(&m->outlet, &outlet, &handlers, queue) != OK ||
        !outlet_room(&m->outlet, block + record + DESCRIBE_MAX, 3)) {
        return fault_set(reterr, ERR_RANGE, "a queue of %zu or %zu bytes is too small for records of %zu",
                         o->bulk_bytes, o->alarm_bytes, record);
    }
    return OK;
}

static enum err start_infer(struct micro *m, const struct micro_options *o, const struct ground *g,
                            struct fault *reterr)
{
    const struct infer_host host = {
        .now_us = now, .fresh_now_us = now, .random = random_bits, .wake_at = wake_at, .arg = m};
    const struct infer_handlers handlers = {.tell = tell, .ask = ask, .tell_windows = tell_windows, .arg = m};
    struct infer_options options = *o->infer;
    const char *key;
    options.site = o->site;
    options.gateway = o->gateway;
    options.device = o->device;
    options.channels = o->channels;
    options.channel_count = o->channel_count;
    options.period_us = o->period_us;
    return infer_place(g->memory + g->at, g->len - g->at, o->model, &options, &host, &handlers, &m->infer, &key,
                       reterr);
}

static enum err start_description(struct micro *m, const struct micro_options *o, struct fault *reterr)
{
    struct sense_channel channels[SENSE_CHANNELS_MAX + 1];
    size_t count = o->channel_count;
    memcpy(channels, o->channels, count * sizeof(*channels));
    if (m->infer != NULL && o->infer->sketch_us > 0) {
        channels[count] = (struct sense_channel){.resolution = OUTCOME_RESOLUTION};
        snprintf(channels[count].name, sizeof(channels[count].name), "%s", infer_outcome_name(m->infer));
        count++;
    }
    const struct compose_description description = {.channels = channels,
                                                    .channel_count = count,
                                                    .config = o->config,
                                                    .model = m->infer != NULL ? infer_model(m->infer) : 0,
                                                    .boot_id = o->boot_id,
                                                    .software = o->software,
                                                    .source = o->source};
    if (compose_describe(&description, &m->compose.set, &m->describe) != OK) {
        return fault_set(reterr, ERR_RANGE,
                         "the description does not fit into %d bytes, or a channel has no name, or there are too many",
                         DESCRIBE_MAX);
    }
    return OK;
}

enum err micro_init(struct micro *m, const struct micro_options *o, const struct micro_link *link, int64_t now_us,
                    uint64_t wall_us, void *memory, size_t len, struct fault *reterr)
{
    struct ground g = {.memory = memory, .len = len};
    const char *const ids[] = {o->site, o->gateway, o->device};
    *m = (struct micro){.link = *link, .channel_count = o->channel_count, .now_us = now_us, .wall_us = wall_us};
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        if (!id_valid(slice_str(ids[i]))) {
            return fault_set(reterr, ERR_RANGE, "\"%.80s\" is not an identity: 1..64 of A-Z a-z 0-9 _ -", ids[i]);
        }
    }
    if (o->channel_count < 1 || o->channel_count > SENSE_CHANNELS_MAX || o->samples_per_record < 1 ||
        (uintptr_t)memory % ALIGN != 0) {
        return fault_set(reterr, ERR_RANGE, "%zu channels, %u samples in a record, or memory that is not aligned to %d",
                         o->channel_count, o->samples_per_record, ALIGN);
    }
    TRY(start_report(m, o, &g, reterr));
    m->memory_bytes = g.at;
    if (o->model != NULL) {
        TRY(start_infer(m, o, &g, reterr));
        struct infer_stats stats;
        infer_stats(m->infer, &stats);
        m->memory_bytes += stats.memory_bytes;
    }
    return start_description(m, o, reterr);
}

/* ---- events ---- */

static void run(struct micro *m)
{
    if (m->infer_due_us != 0 && m->infer_due_us <= m->now_us) {
        infer_wake(m->infer);
    }
    if (m->compose.close_at_us != 0 && m->compose.close_at_us <= m->now_us) {
        compose_close(&m->compose);
    }
    outlet_run(&m->outlet, m->now_us, m->wall_us);
}

static void set_time(struct micro *m, int64_t now_us, uint64_t wall_us)
{
    m->now_us = now_us;
    m->wall_us = wall_us;
}

/* As the record says it: what is worked out again from the readings is what was thought here. */
static void think(struct micro *m, const double *values, bool synced)
{
    double told[SENSE_CHANNELS_MAX];
    for (size_t i = 0; i < m->channel_count; i++) {
        double resolution = m->compose.builder.resolutions[i];
        told[i] = block_value(block_quantise(values[i], resolution), resolution);
    }
    infer_sample(m->infer,
                 &(struct infer_sample){.values = told, .mono_us = m->now_us, .wall_us = m->wall_us, .synced = synced});
}

enum err micro_sample(struct micro *m, const double *values, int64_t now_us, uint64_t wall_us, bool synced)
{
    set_time(m, now_us, wall_us);
    run(m); /* what was due before this sample */
    enum err err = compose_sample(&m->compose, values, now_us, (int64_t)wall_us, synced);
    if (m->infer != NULL && err == OK) {
        think(m, values, synced);
    }
    run(m);
    return err;
}

void micro_pass(struct micro *m, int64_t now_us, uint64_t wall_us)
{
    set_time(m, now_us, wall_us);
    run(m);
}

int64_t micro_due_us(const struct micro *m)
{
    const int64_t due[] = {m->infer_due_us, m->compose.close_at_us, outlet_due_us(&m->outlet)};
    int64_t first = 0;
    for (size_t i = 0; i < COUNT_OF(due); i++) {
        first = due[i] != 0 && (first == 0 || due[i] < first) ? due[i] : first;
    }
    return first;
}

void micro_link_is(struct micro *m, bool up)
{
    outlet_link(&m->outlet, up, m->now_us);
    run(m);
}

void micro_received(struct micro *m, enum topic_channel channel, struct slice payload)
{
    struct wire_ack ack;
    if (channel == TOPIC_ANSWER && m->infer != NULL) {
        infer_answer(m->infer, payload);
    } else if (channel == TOPIC_ACK && wire_ack_decode(payload, &ack) == OK) {
        outlet_ack(&m->outlet, &ack, m->now_us);
    } else {
        m->outlet.stats.strays++;
    }
    run(m);
}

enum err micro_event(struct micro *m, const struct compose_event *event)
{
    enum err err = compose_event(&m->compose, event, m->now_us, m->wall_us);
    run(m);
    return err;
}

void micro_end(struct micro *m)
{
    if (m->infer != NULL) {
        infer_end(m->infer);
    }
    compose_close(&m->compose);
    run(m);
}

bool micro_drained(const struct micro *m)
{
    return m->compose.builder.count == 0 && outlet_drained(&m->outlet);
}
