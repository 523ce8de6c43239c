/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream as bytes:
 *   version u8 | rules u64le | flags u8 (1 described, 2 has a row) | [described: Describe | out_set, told u32le |
 *   channels | channel*] | [row: cell*] | wall, mono | captures | (rule, from, to)* | queue | held | (channel, t, v)*
 *   channel = out + 1 | made u8 | ops | op*
 *   op      = rule's name | kind u8 | what the kind keeps
 * Texts and byte strings: length varint, bytes. Numbers: varints; times zigzag; values f64le.
 *
 * Operators carry their rule's name and settings as far as they are needed to let go what they hold, so that a state of
 * other rules can be closed properly. Version 1 had no told: the description goes up once more.
 */
#include <math.h>

#include "proto/curate/curate_internal.h"

enum { VERSION = 2, DESCRIBED = 1, HAS_ROW = 2, QUEUE_MAX = 64 << 20, DESCRIBE_MAX = WIRE_RECORD_MAX };

/* ---- pieces ---- */
static void put_time(struct buffer *out, int64_t t)
{
    buffer_put_varint(out, zigzag_encode(t));
}

static void put_bytes(struct buffer *out, struct slice bytes)
{
    buffer_put_varint(out, bytes.len);
    buffer_put_slice(out, bytes);
}

static int64_t get_time(struct cursor *in)
{
    int64_t t = zigzag_decode(cursor_varint(in));
    in->failed |= t > TIME_MAX || t < -TIME_MAX;
    return in->failed ? 0 : t;
}

static double get_number(struct cursor *in)
{
    double v = cursor_f64le(in);
    in->failed |= isnan(v) != 0;
    return in->failed ? 0 : v;
}

static double get_f64(struct cursor *in)
{
    double v = get_number(in);
    in->failed |= isinf(v) != 0;
    return in->failed ? 0 : v;
}

static bool get_bool(struct cursor *in)
{
    uint8_t v = cursor_u8(in);
    in->failed |= v > 1;
    return v == 1;
}

static struct point get_point(struct cursor *in)
{
    struct point p = {.t = get_time(in)};
    p.v = get_f64(in);
    in->failed |= p.t > WALL_MAX || p.t < -WALL_MAX;
    return p;
}

static void put_point(struct buffer *out, struct point p)
{
    put_time(out, p.t);
    buffer_put_f64le(out, p.v);
}

/* ---- operators ---- */
static void put_door(const struct door *d, struct buffer *out)
{
    buffer_put_u8(out, d->has);
    if (d->has) {
        put_point(out, d->pivot);
        put_point(out, d->last);
        buffer_put_f64le(out, d->low);
        buffer_put_f64le(out, d->high); /* last_made counts in the record of its row only */
    }
}

static void get_door(struct cursor *in, struct door *d)
{
    *d = (struct door){.has = get_bool(in), .last_row = -1};
    if (d->has) {
        d->pivot = get_point(in);
        d->last = get_point(in);
        d->low = get_number(in);
        d->high = get_number(in);
        bool closed = isfinite(d->low) && isfinite(d->high);
        in->failed |= d->last.t < d->pivot.t || d->low > d->high || closed != (d->last.t > d->pivot.t);
    }
}

static void put_spectrum(const struct spectrum *p, struct buffer *out)
{
    buffer_put_varint(out, p->samples);
    buffer_put_varint(out, p->count);
    buffer_put_u8(out, p->partial);
    if (p->count > 0) {
        put_time(out, p->first);
        put_time(out, p->last);
        buffer_put_varint(out, (uint64_t)p->shortest);
        buffer_put_varint(out, (uint64_t)p->longest);
    }
    for (unsigned i = 0; i < p->count; i++) {
        buffer_put_f64le(out, p->values[i]);
    }
}

static enum err get_spectrum(struct cursor *in, struct spectrum *p)
{
    uint64_t samples = cursor_varint(in), count = cursor_varint(in);
    *p = (struct spectrum){.partial = get_bool(in)};
    if (in->failed || samples < 2 || samples > RULE_SPECTRUM_SAMPLES_MAX || count >= samples) {
        return ERR_MALFORMED;
    }
    p->samples = (unsigned)samples;
    if (count == 0) {
        return OK;
    }
    p->first = get_time(in);
    p->last = get_time(in);
    p->shortest = (int64_t)cursor_varint(in);
    p->longest = (int64_t)cursor_varint(in);
    if (p->last < p->first || p->shortest < 0 || p->longest < 0 || (count > 1) != (p->last > p->first)) {
        return ERR_MALFORMED;
    }
    p->values = calloc(p->samples, sizeof(*p->values));
    if (p->values == NULL) {
        return ERR_NOMEM;
    }
    for (; p->count < count; p->count++) {
        p->values[p->count] = get_f64(in);
    }
    return OK;
}

static void put_downsample(const struct op *op, struct buffer *out)
{
    const struct downsample *d = &op->down;
    buffer_put_u8(out, (uint8_t)op->rule->by);
    buffer_put_varint(out, (uint64_t)op->rule->every_us);
    buffer_put_varint(out, d->count);
    if (d->count > 0) {
        buffer_put_varint(out, (uint64_t)d->bucket);
        buffer_put_f64le(out, d->sum);
        put_point(out, d->held);
    }
}

/* What an operator holds back, for when its rule is gone; and the settings that came with it. */
struct holding {
    struct point point;
    bool holds;
    int by;
    int64_t every;
};

static void get_downsample(struct cursor *in, struct downsample *d, struct holding *h)
{
    int by = cursor_u8(in);
    uint64_t every = cursor_varint(in);
    *d = (struct downsample){.count = cursor_varint(in), .held_row = -1};
    in->failed |= by > RULE_BY_MAX || every == 0 || every > (uint64_t)TIME_MAX || d->count > UINT64_C(1) << 53;
    h->by = by;
    h->every = (int64_t)every;
    if (in->failed || d->count == 0) {
        return;
    }
    uint64_t bucket = cursor_varint(in);
    in->failed |= bucket > (uint64_t)WALL_MAX / every;
    d->bucket = in->failed ? 0 : (int64_t)bucket;
    d->sum = get_number(in);
    d->held = get_point(in);
    h->holds = by != RULE_BY_FIRST;
    h->point = by == RULE_BY_MEAN ? (struct point){d->held.t, d->sum / (double)d->count} : d->held;
}

static void put_op(const struct op *op, struct buffer *out)
{
    put_bytes(out, slice_str(op->name));
    buffer_put_u8(out, (uint8_t)op->kind);
    switch ((enum rule_kind)op->kind) {
    case RULE_DEADBAND:
    case RULE_ON_CHANGE:
        buffer_put_u8(out, op->last.has);
        put_point(out, op->last.kept);
        break;
    case RULE_RATE:
        buffer_put_u8(out, op->rate.has);
        put_time(out, op->rate.last);
        put_time(out, op->rate.next);
        break;
    case RULE_SWINGING_DOOR: put_door(&op->door, out); break;
    case RULE_DOWNSAMPLE: put_downsample(op, out); break;
    case RULE_WINDOW:
    case RULE_MERGE: windows_encode(&op->windows, out); break;
    case RULE_SPECTRUM: put_spectrum(&op->spectrum, out); break;
    case RULE_RANGE:
    case RULE_QUALITY:
    case RULE_DEDUPE:
    case RULE_CONVERT:
    case RULE_CAPTURE:
    case RULE_DROP:
    case RULE_HASH:
    case RULE_BUCKET:
    case RULE_KINDS: break;
    }
}

/* Reads what kind keeps; op is deinited by the caller also on failure. */
static enum err get_op(struct cursor *in, struct op *op, struct holding *ret_holding)
{
    *ret_holding = (struct holding){.holds = false};
    switch ((enum rule_kind)op->kind) {
    case RULE_DEADBAND:
    case RULE_ON_CHANGE:
        op->last.has = get_bool(in);
        op->last.kept = get_point(in);
        break;
    case RULE_RATE:
        op->rate.has = get_bool(in);
        op->rate.last = get_time(in);
        op->rate.next = get_time(in);
        break;
    case RULE_SWINGING_DOOR:
        get_door(in, &op->door);
        ret_holding->holds = op->door.has && op->door.last.t != op->door.pivot.t;
        ret_holding->point = door_end(&op->door, op->resolution);
        break;
    case RULE_DOWNSAMPLE: get_downsample(in, &op->down, ret_holding); break;
    case RULE_WINDOW:
    case RULE_MERGE: windows_deinit(&op->windows); return windows_decode(in, &op->windows);
    case RULE_SPECTRUM: return get_spectrum(in, &op->spectrum);
    case RULE_RANGE:
    case RULE_QUALITY:
    case RULE_DEDUPE:
    case RULE_CONVERT:
    case RULE_CAPTURE:
    case RULE_DROP:
    case RULE_HASH:
    case RULE_BUCKET: break;
    case RULE_KINDS: return ERR_MALFORMED;
    }
    return cursor_err(in);
}

/* ---- writing ---- */
static void put_channel(const struct channel *ch, struct buffer *out)
{
    buffer_put_varint(out, (uint64_t)(ch->out + 1));
    buffer_put_u8(out, ch->made_by != NULL);
    buffer_put_varint(out, ch->op_count);
    for (unsigned i = 0; i < ch->op_count; i++) {
        put_op(&ch->ops[i], out);
    }
}

static void put_captures(const struct curate_stream *s, struct buffer *out)
{
    unsigned count = 0;
    for (unsigned i = 0; i < RULES_MAX; i++) {
        count += s->captured[i].to != 0;
    }
    buffer_put_varint(out, count);
    for (unsigned i = 0; i < RULES_MAX; i++) {
        if (s->captured[i].to != 0) {
            buffer_put_varint(out, i);
            put_time(out, s->captured[i].from);
            put_time(out, s->captured[i].to);
        }
    }
}

enum err curate_stream_encode(const struct curate_stream *s, struct buffer *out)
{
    buffer_put_u8(out, VERSION);
    buffer_put_u64le(out, rules_version(s->curate->rules));
    buffer_put_u8(out, (uint8_t)((s->described ? DESCRIBED : 0) | (s->has_row ? HAS_ROW : 0)));
    if (s->described) {
        put_bytes(out, buffer_slice(&s->describe));
        buffer_put_u32le(out, s->out_set);
        buffer_put_u32le(out, s->told);
        buffer_put_varint(out, s->channel_count);
        for (unsigned i = 0; i < s->channel_count; i++) {
            put_channel(&s->channels[i], out);
        }
    }
    for (unsigned i = 0; s->has_row && i < s->channel_count; i++) {
        put_time(out, s->cells[i]);
    }
    put_time(out, s->wall_us);
    put_time(out, s->mono_us);
    put_captures(s, out);
    put_bytes(out, buffer_slice(&s->queue));
    buffer_put_varint(out, s->held_count);
    for (size_t i = 0; i < s->held_count; i++) {
        buffer_put_varint(out, s->held[i].channel);
        put_point(out, s->held[i].point);
    }
    return buffer_err(out);
}

/* ---- reading ---- */
struct reading {
    struct curate *c;
    struct curate_stream *s;
    struct cursor in;
    uint8_t version;
    bool same; /* of the very rules in force */
    const Weir__V1__Describe *describe; /* in the arena */
    uint32_t out_set;
};

static enum err add_held(struct curate_stream *s, unsigned channel, struct point point)
{
    struct held *held = realloc(s->held, (s->held_count + 1) * sizeof(*held));
    if (held == NULL) {
        return ERR_NOMEM;
    }
    s->held = held;
    s->held[s->held_count++] = (struct held){.channel = channel, .point = point};
    return OK;
}

static enum err read_name(struct reading *g, char **ret_name)
{
    struct slice name = cursor_bytes(&g->in, cursor_varint(&g->in));
    if (g->in.failed || name.len == 0 || name.len > WIRE_NAME_MAX || memchr(name.ptr, 0, name.len) != NULL) {
        return ERR_MALFORMED;
    }
    char *copy = arena_alloc(&g->c->arena, name.len + 1);
    if (copy == NULL) {
        return ERR_MALFORMED; /* more of them than any rules make */
    }
    memcpy(copy, name.ptr, name.len);
    copy[name.len] = '\0';
    *ret_name = copy;
    return OK;
}

/* Settings come from the rule; those of the state must be the same. */
static bool same_settings(const struct op *op, const struct holding *h)
{
    if (op->kind == RULE_DOWNSAMPLE) {
        return h->by == op->rule->by && h->every == op->rule->every_us;
    }
    if (op->kind == RULE_SPECTRUM) {
        return op->spectrum.samples == (unsigned)op->rule->samples;
    }
    struct windows w = {.length = 1};
    if (op->kind != RULE_WINDOW && op->kind != RULE_MERGE) {
        return true;
    }
    windows_init(&w, op->rule);
    return w.length == op->windows.length && w.every == op->windows.every && w.late == op->windows.late &&
           w.error == op->windows.error;
}

/* Into the chain that the rules have made. */
static enum err read_channel(struct reading *g, struct channel *ch)
{
    int out = (int)min_u64(cursor_varint(&g->in), INT32_MAX) - 1;
    bool made = get_bool(&g->in);
    uint64_t ops = cursor_varint(&g->in);
    if (g->in.failed || out != ch->out || made != (ch->made_by != NULL) || ops != ch->op_count) {
        return ERR_MALFORMED;
    }
    for (unsigned i = 0; i < ch->op_count; i++) {
        struct holding holding;
        char *name;
        TRY(read_name(g, &name));
        if (strcmp(name, ch->ops[i].name) != 0 || cursor_u8(&g->in) != ch->ops[i].kind) {
            return ERR_MALFORMED;
        }
        TRY(get_op(&g->in, &ch->ops[i], &holding));
        if (!same_settings(&ch->ops[i], &holding)) {
            return ERR_MALFORMED;
        }
    }
    return OK;
}

static void op_deinitp(struct op *op)
{
    op_deinit(op);
}

/* Of other rules: lets go what the channel's operators hold. */
static enum err close_channel(struct reading *g, unsigned index)
{
    const char *name = g->describe->channel[index]->name;
    bool hidden = private_rule(g->c, g->s->device, name) != NULL;
    struct channel old = {.out = (int)min_u64(cursor_varint(&g->in), BLOCK_CHANNELS_MAX) - 1};
    bool made = get_bool(&g->in);
    uint64_t ops = cursor_varint(&g->in);
    if (g->in.failed || ops > RULES_MAX || old.out >= BLOCK_CHANNELS_MAX) {
        return ERR_MALFORMED;
    }
    for (uint64_t i = 0; i < ops; i++) {
        /* Where an operator of the chain makes another step, nothing that it holds goes up (`made`). */
        CLEANUP(op_deinitp) struct op op = {.rule = NULL, .resolution = g->describe->channel[index]->resolution};
        struct holding holding;
        char *rule_name;
        TRY(read_name(g, &rule_name));
        op.name = rule_name;
        op.kind = cursor_u8(&g->in);
        if (op.kind >= RULE_KINDS) {
            return ERR_MALFORMED;
        }
        TRY(get_op(&g->in, &op, &holding));
        if ((op.kind == RULE_WINDOW || op.kind == RULE_MERGE) && !hidden) {
            TRY(windows_finish(g->c, g->s, &old, &op));
        } else if (holding.holds && isfinite(holding.point.v) && !hidden && !made) {
            TRY(add_held(g->s, index, holding.point));
        }
    }
    return OK;
}

/* It may go up again: held to what receivers take. */
static bool describe_passes(struct curate *c, struct slice message)
{
    enum { KEY_SCHEMA = 1 << 3, KEY_DESCRIBE = 15 << 3 | 2 };
    buffer_reset(&c->record);
    buffer_put_u8(&c->record, KEY_SCHEMA);
    buffer_put_u8(&c->record, WIRE_SCHEMA);
    buffer_put_u8(&c->record, KEY_DESCRIBE);
    buffer_put_varint(&c->record, message.len);
    buffer_put_slice(&c->record, message);
    return buffer_err(&c->record) == OK && wire_record_check(buffer_slice(&c->record), 1, 1, NULL) == OK;
}

static enum err read_channels(struct reading *g)
{
    ProtobufCAllocator allocator = {
        .alloc = arena_protobuf_alloc, .free = arena_protobuf_free, .allocator_data = &g->c->arena};
    struct slice bytes = cursor_bytes(&g->in, cursor_varint(&g->in));
    g->out_set = cursor_u32le(&g->in);
    g->s->told = g->version > 1 ? cursor_u32le(&g->in) : 0;
    uint64_t channels = cursor_varint(&g->in);
    if (g->in.failed || bytes.len > DESCRIBE_MAX || !describe_passes(g->c, bytes)) {
        return ERR_MALFORMED;
    }
    Weir__V1__Describe *describe = weir__v1__describe__unpack(&allocator, bytes.len, bytes.ptr);
    if (describe == NULL || describe->n_channel != channels || channels > BLOCK_CHANNELS_MAX) {
        return ERR_MALFORMED;
    }
    g->describe = describe;
    if (g->same) {
        TRY(stream_describe(g->c, g->s, describe));
        for (unsigned i = 0; i < g->s->channel_count; i++) {
            TRY(read_channel(g, &g->s->channels[i]));
        }
        return g->s->out_set == g->out_set ? OK : ERR_MALFORMED;
    }
    g->s->out_set = g->out_set; /* of the windows that close now */
    for (unsigned i = 0; i < channels; i++) {
        TRY(close_channel(g, i));
    }
    return stream_describe(g->c, g->s, describe);
}

static enum err read_captures(struct reading *g)
{
    uint64_t count = cursor_varint(&g->in);
    for (uint64_t i = 0; i < count && !g->in.failed; i++) {
        uint64_t rule = cursor_varint(&g->in);
        struct captured last = {.from = get_time(&g->in)};
        last.to = get_time(&g->in);
        if (rule >= RULES_MAX || last.from < 0 || last.to <= last.from) {
            return ERR_MALFORMED;
        }
        g->s->captured[rule] = g->same ? last : (struct captured){.to = 0};
    }
    return cursor_err(&g->in);
}

/* Old windows go first. Of other rules: not where a new rule may hide what they show. */
static enum err read_queue(struct reading *g)
{
    struct slice queue = cursor_bytes(&g->in, cursor_varint(&g->in));
    if (g->in.failed || !queue_valid(queue)) {
        return ERR_MALFORMED;
    }
    if (!g->same && private_rule(g->c, g->s->device, NULL) != NULL) {
        return OK;
    }
    BUFFER(both, QUEUE_MAX);
    buffer_put_slice(&both, queue);
    buffer_put_slice(&both, buffer_slice(&g->s->queue));
    TRY(buffer_err(&both));
    buffer_reset(&g->s->queue);
    buffer_put_slice(&g->s->queue, buffer_slice(&both));
    return buffer_err(&g->s->queue);
}

static enum err read_held(struct reading *g)
{
    uint64_t count = cursor_varint(&g->in);
    for (uint64_t i = 0; i < count && !g->in.failed; i++) {
        uint64_t channel = cursor_varint(&g->in);
        struct point point = get_point(&g->in);
        if (channel >= BLOCK_CHANNELS_MAX) {
            return ERR_MALFORMED;
        }
        TRY(add_held(g->s, (unsigned)channel, point));
    }
    return cursor_end(&g->in);
}

/* Values held back by other rules go up only if the channel shows them as they are. */
static void check_held(struct curate_stream *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->held_count; i++) {
        unsigned channel = s->held[i].channel;
        if (channel < s->channel_count && s->channels[channel].dropped_by == NULL &&
            s->channels[channel].made_by == NULL) {
            s->held[kept++] = s->held[i];
        }
    }
    s->held_count = kept;
}

static enum err read_state(struct reading *g)
{
    g->version = cursor_u8(&g->in);
    g->same = cursor_u64le(&g->in) == rules_version(g->c->rules);
    uint8_t flags = cursor_u8(&g->in);
    if (g->in.failed || g->version < 1 || g->version > VERSION || flags > (DESCRIBED | HAS_ROW) || flags == HAS_ROW) {
        return ERR_MALFORMED;
    }
    if ((flags & DESCRIBED) != 0) {
        TRY(read_channels(g));
    }
    g->s->has_row = (flags & HAS_ROW) != 0;
    for (unsigned i = 0; g->s->has_row && i < g->s->channel_count; i++) {
        g->s->cells[i] = zigzag_decode(cursor_varint(&g->in));
    }
    g->s->wall_us = get_time(&g->in);
    g->s->mono_us = get_time(&g->in);
    if (g->s->wall_us < 0 || g->s->wall_us > WALL_MAX || g->s->mono_us < 0 || g->s->mono_us > WALL_MAX) {
        return ERR_MALFORMED;
    }
    TRY(read_captures(g));
    TRY(read_queue(g));
    TRY(read_held(g));
    check_held(g->s);
    return stream_bound(g->c, g->s);
}

enum err curate_stream_new(struct curate *c, const char *device, struct slice state, struct curate_stream **ret_stream)
{
    CLEANUP(curate_stream_freep) struct curate_stream *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return ERR_NOMEM;
    }
    s->curate = c;
    strncpy(s->device, device, ID_MAX);
    buffer_init(&s->describe, DESCRIBE_MAX);
    buffer_init(&s->queue, QUEUE_MAX);
    if (state.len > 0) {
        struct reading g = {.c = c, .s = s, .in = cursor_of(state)};
        arena_reset(&c->arena);
        TRY(read_state(&g));
    }
    *ret_stream = take(s);
    return OK;
}
