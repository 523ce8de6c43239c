/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Describe -> channels with their chains, and the Describe as it goes up.
 *
 * A device describes itself at every start with a new set (its boot id is in it), so that operators go over from one
 * description to the next by name, unit and resolution.
 */
#include <math.h>

#include "proto/curate/curate_internal.h"

bool is_private(int kind)
{
    return kind == RULE_DROP || kind == RULE_HASH || kind == RULE_BUCKET;
}

const struct rule *private_rule(const struct curate *c, const char *device, const char *channel)
{
    for (size_t i = 0; i < rules_count(c->rules); i++) {
        const struct rule *rule = rules_at(c->rules, i);
        if (is_private(rule->kind) && rule_glob(rule->devices, device) &&
            (channel == NULL || rule_glob(rule->channels, channel))) {
            return rule;
        }
    }
    return NULL;
}

/* ---- resolutions ---- */
double fit_resolution(double wanted)
{
    return fmin(fmax(wanted, 1e-200), 1e200);
}

/* A step as short as it can be written: the decimal that it nearly is, or at most 0.8 % finer. */
static double tidy_resolution(double wanted)
{
    wanted = fit_resolution(wanted);
    int digits = (int)floor(log10(wanted));
    for (int e = digits; e >= digits - 2 && e >= -20 && e <= 20; e--) {
        double power = pow(10, abs(e)), steps = round(e < 0 ? wanted * power : wanted / power);
        double exact = e < 0 ? steps / power : steps * power;
        if (steps >= 1 && steps <= UINT8_MAX && fabs(exact / wanted - 1) < 1e-9) {
            return exact;
        }
    }
    return block_resolution_round(wanted);
}

/* The step behind a rule. */
static double resolution_after(const struct rule *rule, double before)
{
    switch ((enum rule_kind)rule->kind) {
    case RULE_CONVERT:
        return rule->resolution > 0 ? fit_resolution(rule->resolution) : tidy_resolution(before * fabs(rule->factor));
    case RULE_BUCKET:
        return fit_resolution(rule->width);
    case RULE_HASH:
        return 1;
    case RULE_RANGE:
    case RULE_QUALITY:
    case RULE_DEDUPE:
    case RULE_DEADBAND:
    case RULE_SWINGING_DOOR:
    case RULE_RATE:
    case RULE_DOWNSAMPLE:
    case RULE_ON_CHANGE:
    case RULE_WINDOW:
    case RULE_SPECTRUM:
    case RULE_CAPTURE:
    case RULE_DROP:
    case RULE_MERGE:
    case RULE_KINDS:
        break;
    }
    return before;
}

/* ---- chains ---- */
/* Matching rules in the order in which they apply: windows and spectra behind the last hash or bucket. */
static unsigned chain_rules(const struct curate *c, const char *device, const char *channel,
                            const struct rule *ret_rules[RULES_MAX])
{
    const struct rule *matching[RULES_MAX];
    unsigned count = 0, out = 0, masked = 0; /* up to here values are not yet what leaves the plant */
    for (size_t i = 0; i < rules_count(c->rules); i++) {
        const struct rule *rule = rules_at(c->rules, i);
        if (rule_matches(rule, device, channel)) {
            matching[count++] = rule;
            masked = is_private(rule->kind) ? count : masked;
        }
    }
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < count; i++) {
            bool waits = i < masked && (matching[i]->kind == RULE_WINDOW || matching[i]->kind == RULE_SPECTRUM);
            bool now = i < masked ? waits == (pass == 1) : false;
            if (now) {
                ret_rules[out++] = matching[i];
            }
        }
    }
    for (unsigned i = masked; i < count; i++) {
        ret_rules[out++] = matching[i];
    }
    return out;
}

static void op_init(struct op *op, const struct rule *rule, double resolution)
{
    *op = (struct op){.rule = rule, .name = rule->name, .kind = rule->kind, .resolution = resolution};
    if (rule->kind == RULE_WINDOW || rule->kind == RULE_MERGE) {
        windows_init(&op->windows, rule);
    } else if (rule->kind == RULE_SPECTRUM) {
        op->spectrum.samples = (unsigned)rule->samples;
    }
}

void op_deinit(struct op *op)
{
    if (op->kind == RULE_WINDOW || op->kind == RULE_MERGE) {
        windows_deinit(&op->windows);
    } else if (op->kind == RULE_SPECTRUM) {
        free(op->spectrum.values);
        op->spectrum.values = NULL;
    }
}

static void channel_deinit(struct channel *channel)
{
    for (unsigned i = 0; i < channel->op_count; i++) {
        op_deinit(&channel->ops[i]);
    }
    free(channel->ops);
    free(channel->name);
    free(channel->unit);
}

void channels_free(struct channel *channels, unsigned count)
{
    for (unsigned i = 0; channels != NULL && i < count; i++) {
        channel_deinit(&channels[i]);
    }
    free(channels);
}

/* On failure the caller deinits the channel. */
static enum err channel_compile(const struct curate *c, const char *device, const Weir__V1__ChannelInfo *info,
                                struct channel *channel)
{
    const struct rule *rules[RULES_MAX];
    channel->name = strdup(info->name);
    channel->unit = strdup(info->unit);
    if (channel->name == NULL || channel->unit == NULL) {
        return ERR_NOMEM;
    }
    unsigned count = chain_rules(c, device, channel->name, rules);
    channel->resolution = channel->out_resolution = info->resolution;
    channel->out_unit = channel->unit;
    for (unsigned i = 0; i < count && channel->dropped_by == NULL; i++) {
        channel->dropped_by = rules[i]->kind == RULE_DROP ? rules[i] : NULL;
    }
    if (channel->dropped_by != NULL || count == 0) {
        return OK;
    }
    channel->ops = calloc(count, sizeof(*channel->ops));
    if (channel->ops == NULL) {
        return ERR_NOMEM;
    }
    for (unsigned i = 0; i < count; i++) {
        const struct rule *rule = rules[i];
        op_init(&channel->ops[i], rule, channel->out_resolution);
        channel->op_count++;
        channel->out_resolution = resolution_after(rule, channel->out_resolution);
        if (rule->kind == RULE_CONVERT || is_private(rule->kind)) {
            channel->made_by = rule;
        }
        if (rule->kind == RULE_HASH) {
            channel->out_unit = "";
        } else if (rule->kind == RULE_CONVERT && rule->unit[0] != '\0') {
            channel->out_unit = rule->unit;
        }
    }
    return OK;
}

/* ---- from one description to the next ---- */
static struct channel *find_same(struct curate_stream *s, const struct channel *channel)
{
    for (unsigned i = 0; i < s->channel_count; i++) {
        struct channel *old = &s->channels[i];
        if (old->ops != NULL && strcmp(old->name, channel->name) == 0 && strcmp(old->unit, channel->unit) == 0 &&
            old->resolution == channel->resolution) {
            return old;
        }
    }
    return NULL;
}

/* Channels that are no more: what is open closes under their description. */
static enum err retire(struct curate *c, struct curate_stream *s, struct channel *old)
{
    for (unsigned k = 0; k < old->op_count; k++) {
        struct op *op = &old->ops[k];
        if (op->kind == RULE_WINDOW || op->kind == RULE_MERGE) {
            TRY(windows_finish(c, s, old, op));
        } else {
            bool holds = (op->kind == RULE_SWINGING_DOOR && op->door.has && op->door.last.t != op->door.pivot.t) ||
                         (op->kind == RULE_DOWNSAMPLE && op->down.count > 0);
            c->stats[op->rule->index].cut += op->kind == RULE_SPECTRUM ? op->spectrum.count : holds;
        }
    }
    return OK;
}

static bool same_channels(const struct curate_stream *s, const struct channel *channels, unsigned count)
{
    bool same = count == s->channel_count;
    for (unsigned i = 0; same && i < count; i++) {
        same = strcmp(channels[i].name, s->channels[i].name) == 0 &&
               strcmp(channels[i].unit, s->channels[i].unit) == 0 &&
               channels[i].resolution == s->channels[i].resolution;
    }
    return same;
}

struct compiled {
    struct channel *channels; /* owned */
    unsigned count;
};

static void compiled_deinit(struct compiled *m)
{
    channels_free(m->channels, m->count);
}

static enum err compile(const struct curate *c, const char *device, const Weir__V1__Describe *describe,
                        struct compiled *m)
{
    m->channels = calloc(describe->n_channel + 1, sizeof(*m->channels));
    if (m->channels == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < describe->n_channel; i++) {
        m->count++;
        TRY(channel_compile(c, device, describe->channel[i], &m->channels[i]));
    }
    return OK;
}

/* Places in the rewritten description; whether there is anything to rewrite. */
static void place_channels(struct curate_stream *s)
{
    s->out_count = 0;
    s->rewritten = false;
    for (unsigned i = 0; i < s->channel_count; i++) {
        struct channel *ch = &s->channels[i];
        ch->out = ch->dropped_by != NULL ? -1 : (int)s->out_count++;
        s->rewritten |= ch->dropped_by != NULL || ch->out_resolution != ch->resolution ||
                        strcmp(ch->out_unit, ch->unit) != 0;
    }
}

static enum err keep_describe(struct curate_stream *s, const Weir__V1__Describe *describe)
{
    size_t len = weir__v1__describe__get_packed_size(describe);
    buffer_reset(&s->describe);
    uint8_t *at = buffer_extend(&s->describe, len);
    if (at == NULL) {
        return buffer_err(&s->describe);
    }
    weir__v1__describe__pack(describe, at);
    return OK;
}

static bool describe_valid(const Weir__V1__Describe *describe)
{
    bool valid = describe->set != 0 && describe->n_channel <= BLOCK_CHANNELS_MAX;
    for (size_t i = 0; valid && i < describe->n_channel; i++) {
        const Weir__V1__ChannelInfo *info = describe->channel[i];
        valid = block_resolution_valid(info->resolution) && info->name[0] != '\0' &&
                strlen(info->name) <= WIRE_NAME_MAX && strlen(info->unit) <= WIRE_NAME_MAX;
    }
    return valid;
}

/* The description as it goes up, made of a copy in the arena. */
static void rewrite(const struct curate_stream *s, Weir__V1__Describe *describe)
{
    size_t out = 0;
    for (unsigned i = 0; i < s->channel_count; i++) {
        const struct channel *ch = &s->channels[i];
        Weir__V1__ChannelInfo *info = describe->channel[i];
        if (ch->out >= 0) {
            info->unit = ch->unit;
            if (ch->made_by != NULL) {
                info->unit = (char *)(uintptr_t)ch->out_unit; /* protobuf-c's texts are not const; nobody writes them */
                info->resolution = ch->out_resolution;
            }
            describe->channel[out++] = info;
        }
    }
    describe->n_channel = out;
    describe->set = wire_describe_set(describe);
}

enum err stream_described(struct curate *c, const struct curate_stream *s, Weir__V1__Describe **ret_describe)
{
    ProtobufCAllocator allocator = {
        .alloc = arena_protobuf_alloc, .free = arena_protobuf_free, .allocator_data = &c->arena};
    Weir__V1__Describe *describe = weir__v1__describe__unpack(&allocator, s->describe.len, s->describe.ptr);
    if (describe == NULL || describe->n_channel != s->channel_count) {
        return ERR_NOMEM;
    }
    if (s->rewritten) {
        rewrite(s, describe);
    }
    *ret_describe = describe;
    return OK;
}

enum err stream_describe(struct curate *c, struct curate_stream *s, const Weir__V1__Describe *describe)
{
    CLEANUP(compiled_deinit) struct compiled m = {.channels = NULL};
    if (!describe_valid(describe)) {
        return ERR_MALFORMED;
    }
    TRY(compile(c, s->device, describe, &m));
    TRY(keep_describe(s, describe));
    s->has_row &= same_channels(s, m.channels, m.count);
    for (unsigned i = 0; i < m.count; i++) {
        struct channel *ch = &m.channels[i], *old = ch->ops != NULL ? find_same(s, ch) : NULL;
        if (old != NULL && old->op_count == ch->op_count) { /* the same rules match the same name */
            struct op *ops = ch->ops;
            ch->ops = old->ops;
            old->ops = ops;
        }
    }
    struct compiled before = {.channels = s->channels, .count = s->channel_count};
    enum err err = OK;
    for (unsigned i = 0; i < before.count && err == OK; i++) {
        err = retire(c, s, &before.channels[i]); /* operators that went over have left fresh ones */
    }
    compiled_deinit(&before);
    s->channels = take(m.channels);
    s->channel_count = m.count;
    m.count = 0;
    s->described = true;
    s->mono_us = s->set == describe->set ? s->mono_us : 0; /* another boot */
    place_channels(s);
    s->set = describe->set;
    s->out_set = describe->set;
    TRY(err);
    if (s->rewritten) {
        Weir__V1__Describe *out;
        TRY(stream_described(c, s, &out));
        s->out_set = out->set;
    }
    return OK;
}
