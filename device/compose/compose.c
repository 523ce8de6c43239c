/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks, and the order in which records go: see compose.h. */
#include "device/compose/compose.h"

#include <math.h>

#include "core/base/cursor.h"

size_t compose_bytes(const struct compose_options *options)
{
    return builder_bytes(options->channel_count, options->samples_per_record);
}

void compose_init(struct compose *c, const struct compose_options *options, const struct compose_out *out, void *memory,
                  struct buffer *describe, struct buffer *scratch)
{
    *c = (struct compose){.options = *options,
                          .out = *out,
                          .describe = describe,
                          .scratch = scratch,
                          .record_max = builder_record_max(options->channel_count, options->samples_per_record)};
    builder_init(&c->builder, options->channels, options->channel_count, options->samples_per_record, memory);
    c->options.channels = NULL; /* borrowed until here */
    for (uint8_t lane = 0; lane < COMPOSE_LANES; lane++) {
        compose_describe_soon(c, lane);
    }
}

void compose_hold_in(struct compose *c, void *memory, size_t len)
{
    buffer_init_over(&c->held.waiting, memory, len);
}

void compose_describe_soon(struct compose *c, uint8_t lane)
{
    c->lanes[lane].describe_due = true;
}

/* ---- records ---- */

/* Beside a description that is due and the block under construction at its longest. */
static bool has_room(struct compose *c, uint8_t lane, size_t bytes)
{
    bool describe = c->lanes[lane].describe_due, block = c->builder.count > 0;
    bytes += (describe ? c->describe->len : 0) + (block ? c->record_max : 0);
    return c->out.room(c->out.arg, bytes, 1 + (unsigned)describe + (unsigned)block);
}

static void put(struct compose *c, uint8_t id, struct slice record)
{
    struct compose_lane *lane = &c->lanes[id];
    c->out.put(c->out.arg, id, record);
    c->stats.records++;
    if (++lane->since_describe >= c->options.describe_every) {
        lane->describe_due = id == COMPOSE_BULK || lane->describe_due;
    }
}

static void describe_if_due(struct compose *c, uint8_t id)
{
    struct compose_lane *lane = &c->lanes[id];
    if (lane->describe_due) {
        put(c, id, buffer_slice(c->describe));
        lane->describe_due = false;
        lane->since_describe = 0;
    }
}

enum err compose_put(struct compose *c, uint8_t lane, struct slice record)
{
    if (!has_room(c, lane, record.len)) {
        return ERR_FULL;
    }
    describe_if_due(c, lane);
    put(c, lane, record);
    return OK;
}

/* ---- blocks ---- */

static void lost(struct compose *c, enum err err, unsigned samples, const char *why)
{
    c->stats.refused += samples;
    if (c->out.on_lost != NULL) {
        c->out.on_lost(c->out.arg, err, samples, why);
    }
}

/* What rules leave of the block in hand. False: nothing, or it cannot go out. */
static bool block_left(struct compose *c, struct slice *record, unsigned samples)
{
    bool left = true;
    enum err err = c->out.shape != NULL ? c->out.shape(c->out.arg, record, &left) : OK;
    if (err == OK && left && !c->out.room(c->out.arg, record->len, 1)) {
        err = ERR_FULL;
    }
    if (err != OK) {
        lost(c, err, samples, "a block could not go through the rules");
        return false;
    }
    c->stats.thinned_blocks += !left;
    return left;
}

static void close_block(struct compose *c)
{
    unsigned samples = (unsigned)c->builder.count;
    buffer_reset(c->scratch);
    enum err err = builder_close(&c->builder, c->options.period_us, c->set, c->scratch);
    if (err != OK) { /* the buffers have the size of the worst case */
        lost(c, err, samples, "a block could not be encoded");
        return;
    }
    struct slice record = buffer_slice(c->scratch);
    if (!block_left(c, &record, samples)) {
        return;
    }
    put(c, COMPOSE_BULK, record);
    if (c->out.on_block != NULL) {
        c->out.on_block(c->out.arg);
    }
}

static void let_go_held(struct compose *c)
{
    struct cursor at = cursor_of(buffer_slice(&c->held.waiting));
    while (cursor_left(&at) > 0) {
        unsigned low = cursor_u8(&at), high = cursor_u8(&at);
        c->held.lost += compose_put(c, COMPOSE_BULK, cursor_bytes(&at, low | high << 8)) != OK;
    }
    buffer_reset(&c->held.waiting);
}

void compose_close(struct compose *c)
{
    c->close_at_us = 0;
    c->placed = false;
    if (c->builder.count > 0) {
        close_block(c);
        let_go_held(c);
    }
}

/* ---- samples ---- */

/* Wall against monotonic time, since the block's first sample. */
static bool clock_jumped(const struct compose *c, int64_t now_us, int64_t wall_us)
{
    int64_t period_us = c->options.period_us > 0 ? c->options.period_us : SECOND_US;
    int64_t shift_us = (max_i64(wall_us, 0) - c->builder.wall_us) - (now_us - c->builder.at_us[0]);
    return shift_us > period_us || shift_us < -period_us;
}

void compose_place(struct compose *c, int64_t now_us, int64_t wall_us)
{
    if (c->placed && c->placed_us == now_us) {
        return;
    }
    if (c->builder.count > 0 && clock_jumped(c, now_us, wall_us)) {
        compose_close(c);
    }
    if (c->builder.count == 0 && has_room(c, COMPOSE_BULK, c->record_max)) {
        describe_if_due(c, COMPOSE_BULK);
    }
    c->placed = true;
    c->placed_us = now_us;
    c->sample_wall_us = wall_us;
}

enum err compose_sample(struct compose *c, const double *values, int64_t now_us, int64_t wall_us, bool synced)
{
    compose_place(c, now_us, wall_us);
    c->placed = false;
    if (c->builder.count == 0 && !has_room(c, COMPOSE_BULK, c->record_max)) {
        c->stats.refused++;
        return ERR_AGAIN;
    }
    builder_add(&c->builder, values, c->placed_us, c->sample_wall_us, synced);
    c->stats.samples++;
    if (builder_full(&c->builder)) {
        compose_close(c);
    } else if (c->builder.count == 1 && c->options.max_age_us > 0) {
        c->close_at_us = c->placed_us + c->options.max_age_us;
    }
    return OK;
}

void compose_set_period(struct compose *c, int64_t period_us)
{
    compose_close(c); /* its samples keep the old one */
    c->options.period_us = period_us;
}

/* ---- what goes beside blocks ---- */

/* Keeps the record until the block under construction is closed. ERR_FULL: close it first. */
static enum err hold(struct compose *c, struct slice record)
{
    struct buffer *b = &c->held.waiting;
    if (b->len + 2 + record.len > b->max) {
        return ERR_FULL;
    }
    buffer_put_u8(b, (uint8_t)record.len);
    buffer_put_u8(b, (uint8_t)(record.len >> 8));
    buffer_put_slice(b, record);
    return buffer_err(b);
}

enum err compose_inference(struct compose *c, bool is_alarm, struct slice record)
{
    if (is_alarm || c->builder.count == 0 || hold(c, record) != OK) {
        if (!is_alarm) {
            compose_close(c);
        }
        TRY(compose_put(c, is_alarm ? COMPOSE_ALARM : COMPOSE_BULK, record));
    }
    c->held.taken++;
    return OK;
}

static enum err event_encode(struct compose *c, const struct compose_event *e, int64_t now_us, uint64_t wall_us)
{
    char id[WIRE_NAME_MAX + 1], text[WIRE_TEXT_MAX + 1], channel[WIRE_NAME_MAX + 1];
    if (compose_text(e->id, id, sizeof(id)) == 0) {
        return ERR_RANGE;
    }
    compose_text(e->text, text, sizeof(text));
    compose_text(e->channel, channel, sizeof(channel));
    const struct wire_event event = {.id = id,
                                     .text = text,
                                     .channel = channel,
                                     .severity = e->severity,
                                     .set = c->set,
                                     .wall_us = wall_us,
                                     .mono_us = (uint64_t)now_us,
                                     .value = isinf(e->value) ? NAN : e->value}; /* NaN says that there is none */
    buffer_reset(c->scratch);
    return wire_event_encode(&event, c->scratch);
}

/* What stands in scratch, as rules leave it. */
static enum err put_shaped(struct compose *c, uint8_t lane)
{
    struct slice record = buffer_slice(c->scratch);
    bool left = true;
    if (c->out.shape != NULL && c->out.shape(c->out.arg, &record, &left) != OK) {
        return ERR_AGAIN;
    }
    return left ? compose_put(c, lane, record) : OK;
}

enum err compose_event(struct compose *c, const struct compose_event *e, int64_t now_us, uint64_t wall_us)
{
    uint8_t lane = e->severity == WEIR__V1__SEVERITY__ALARM ? COMPOSE_ALARM : COMPOSE_BULK;
    if (lane == COMPOSE_BULK) {
        compose_close(c);
    }
    TRY(event_encode(c, e, now_us, wall_us));
    TRY(put_shaped(c, lane));
    c->stats.events++;
    return OK;
}

enum err compose_windows(struct compose *c, const struct wire_window *windows, size_t count)
{
    compose_close(c);
    buffer_reset(c->scratch);
    TRY(wire_windows_encode(c->set, windows, count, c->scratch));
    return put_shaped(c, COMPOSE_BULK);
}

/* ---- bodies ---- */

size_t compose_text(const char *text, char *out, size_t out_size)
{
    struct slice rest = slice_str(text ? text : "");
    size_t len = 0;
    while (rest.len > 0) {
        size_t bytes = utf8_length(rest), used = bytes ? bytes : 1;
        if (len + used >= out_size) {
            break;
        }
        if (bytes > 0) {
            memcpy(out + len, rest.ptr, bytes);
        } else {
            out[len] = '?';
        }
        len += used;
        rest = slice_of(rest.ptr + used, rest.len - used);
    }
    out[len] = '\0';
    return len;
}

enum err compose_describe(const struct compose_description *d, uint32_t *ret_set, struct buffer *out)
{
    struct wire_channel channels[SENSE_CHANNELS_MAX];
    char software[WIRE_NAME_MAX + 1], source[WIRE_NAME_MAX + 1];
    if (d->channel_count > SENSE_CHANNELS_MAX) {
        return ERR_RANGE;
    }
    for (size_t i = 0; i < d->channel_count; i++) {
        channels[i] = (struct wire_channel){d->channels[i].name, d->channels[i].unit, d->channels[i].resolution};
    }
    compose_text(d->software, software, sizeof(software));
    compose_text(d->source, source, sizeof(source));
    const struct wire_describe describe = {.channels = channels,
                                           .channel_count = d->channel_count,
                                           .config = d->config,
                                           .model = d->model,
                                           .boot_id = d->boot_id,
                                           .software = software,
                                           .source = source};
    return wire_describe_encode(&describe, ret_set, out);
}
