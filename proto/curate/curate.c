/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of every kind: taken apart, sent through the chains, put together again.
 */
#include <math.h>

#include "core/crypt/crypt.h"
#include "proto/curate/curate_internal.h"

enum { BODY_MAX = 1 << 20 };

/* ---- lives ---- */
static enum err take_rules(struct curate *c)
{
    for (size_t i = 0; i < rules_count(c->rules); i++) {
        int kind = rules_at(c->rules, i)->kind;
        if (kind == RULE_HASH && c->key_len == 0) {
            return ERR_DENIED;
        }
        if (kind == RULE_DEDUPE) {
            c->same[i] = calloc(ROWS_MAX, sizeof(*c->same[i]));
            if (c->same[i] == NULL) {
                return ERR_NOMEM;
            }
        }
    }
    return OK;
}

enum err curate_new(const struct rules *rules, const struct curate_options *options, struct curate **ret_curate)
{
    CLEANUP(curate_freep) struct curate *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return ERR_NOMEM;
    }
    c->rules = rules;
    c->stream_bytes = options->stream_bytes > 0 ? options->stream_bytes : STREAM_BYTES;
    c->key_len = options->pseudonym_key.len;
    c->key = malloc(c->key_len + 1);
    c->cells = calloc((size_t)BLOCK_CHANNELS_MAX * ROWS_MAX, sizeof(*c->cells));
    c->out_cells = calloc((size_t)BLOCK_CHANNELS_MAX * ROWS_MAX, sizeof(*c->out_cells));
    if (c->key == NULL || c->cells == NULL || c->out_cells == NULL) {
        return ERR_NOMEM;
    }
    if (c->key_len > 0) {
        memcpy(c->key, options->pseudonym_key.ptr, c->key_len);
    }
    buffer_init(&c->columns, BLOCK_CHANNELS_MAX * BLOCK_COLUMN_BYTES(ROWS_MAX));
    buffer_init(&c->deltas, BLOCK_COLUMN_BYTES(ROWS_MAX));
    buffer_init(&c->body, BODY_MAX);
    buffer_init(&c->record, BODY_MAX);
    TRY(arena_init(&c->arena, WIRE_ARENA_BYTES));
    TRY(take_rules(c));
    spectrum_tables(c);
    *ret_curate = take(c);
    return OK;
}

void curate_free(struct curate *c)
{
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < RULES_MAX; i++) {
        free(c->same[i]);
    }
    arena_deinit(&c->arena);
    buffer_deinit(&c->columns);
    buffer_deinit(&c->deltas);
    buffer_deinit(&c->body);
    buffer_deinit(&c->record);
    free(c->extras);
    free(c->cells);
    free(c->out_cells);
    free(c->key);
    free(c);
}

void curate_stream_free(struct curate_stream *s)
{
    if (s == NULL) {
        return;
    }
    channels_free(s->channels, s->channel_count);
    buffer_deinit(&s->describe);
    buffer_deinit(&s->queue);
    free(s->held);
    free(s);
}

void curate_stats(const struct curate *c, size_t rule, struct curate_rule_stats *ret_stats)
{
    *ret_stats = rule < RULES_MAX ? c->stats[rule] : (struct curate_rule_stats){.seen = 0};
}

const struct rules *curate_rules(const struct curate *c)
{
    return c->rules;
}

int64_t curate_taken(const struct curate *c, size_t rule)
{
    return rule < RULES_MAX ? c->taken[rule] : 0;
}

uint64_t curate_released(const struct curate *c)
{
    return c->released;
}

/* ---- outcomes ---- */
static void begin_record(struct curate *c)
{
    arena_reset(&c->arena);
    c->changed = false;
    c->extra_count = c->capture_count = c->wanted_count = 0;
    memset(c->dropped, 0, sizeof(c->dropped));
    memset(c->altered, 0, sizeof(c->altered));
    memset(c->taken, 0, sizeof(c->taken));
    c->released = 0;
}

static const struct rule *most(const struct curate *c, const uint64_t *a, const uint64_t *b)
{
    const struct rule *rule = NULL;
    uint64_t best = 0;
    for (size_t i = 0; i < rules_count(c->rules); i++) {
        uint64_t took = a[i] + (b != NULL ? b[i] : 0);
        if (took > best) {
            best = took;
            rule = rules_at(c->rules, i);
        }
    }
    return rule;
}

/* rule NULL: nobody took it, so it stays. */
static void dropped(const struct rule *rule, struct curate_result *result)
{
    result->outcome = rule != NULL ? CURATE_DROPPED : CURATE_KEPT;
    result->rule = rule;
}

static void shaped(const struct curate *c, struct curate_result *result)
{
    result->outcome = CURATE_SHAPED;
    result->record = buffer_slice(&c->record);
    result->rule = most(c, c->dropped, c->altered);
}

/* Something that cannot be looked into, or that no description explains. */
static void opaque(const struct curate *c, const struct curate_stream *s, struct curate_result *result)
{
    dropped(private_rule(c, s->device, NULL), result);
}

/* ---- blocks ---- */
static bool nothing_to_do(const struct curate_stream *s)
{
    bool none = !s->rewritten && !stream_untold(s) && s->queue.len == 0 && s->held_count == 0;
    for (unsigned i = 0; none && i < s->channel_count; i++) {
        none = s->channels[i].op_count == 0;
    }
    return none;
}

/* Until it fits a record. queue: whose windows go with it, NULL = none. */
static enum err output_fitting(struct curate *c, struct curate_stream *queue, const struct curate_stream *s,
                               struct left *left, const char *capture, bool *ret_any)
{
    for (;;) {
        enum err err = output_curated(c, queue, left->any ? &left->block : NULL, capture, ret_any);
        if ((err != ERR_RANGE && err != ERR_FULL) || !left->any || !left->made || left->block.samples <= 1) {
            return err;
        }
        TRY(output_shrink(c, s, left));
    }
}

/* A clock that is set shows against monotonic time, which within a boot only rises. */
static enum err follow_clock(struct curate *c, struct curate_stream *s)
{
    int64_t by = 0;
    if (s->mono_us > 0 && c->mono_us > s->mono_us) {
        by = (c->wall_us - s->wall_us) - (c->mono_us - s->mono_us);
    }
    s->wall_us = c->wall_us;
    s->mono_us = c->mono_us;
    if (by <= SECOND_US && by >= -SECOND_US) {
        return OK;
    }
    memset(s->captured, 0, sizeof(s->captured)); /* rows of times asked for may be other rows now */
    for (unsigned i = 0; i < s->channel_count; i++) {
        for (unsigned k = 0; k < s->channels[i].op_count; k++) {
            if (s->channels[i].ops[k].kind == RULE_WINDOW) {
                TRY(windows_clock_set(c, s, &s->channels[i], &s->channels[i].ops[k], by));
            }
        }
    }
    return OK;
}

/* A block of a plain record, or of a Curated one whose windows are on the queue. */
static enum err take_block(struct curate *c, struct curate_stream *s, struct left *ret_left)
{
    TRY(follow_clock(c, s));
    input_repeats(c, s);
    TRY(input_release(c, s));
    TRY(input_run(c, s->channels, s->channel_count, s));
    TRY(stream_bound(c, s));
    *ret_left = (struct left){.any = false};
    return c->changed || s->rewritten || s->queue.len > 0 ? output_block(c, s, ret_left) : OK;
}

/* What is left, and windows, as a record. */
static enum err finish(struct curate *c, struct curate_stream *s, struct left *left, struct curate_result *result)
{
    bool any;
    TRY(output_fitting(c, s, s, left, NULL, &any));
    if (any) {
        shaped(c, result);
        return OK;
    }
    const struct rule *rule = most(c, c->dropped, NULL);
    dropped(rule != NULL ? rule : private_rule(c, s->device, NULL), result);
    return OK;
}

static enum err on_block(struct curate *c, struct curate_stream *s, const Weir__V1__Block *block,
                         struct curate_result *result)
{
    struct left left;
    if (s->described && block->set == s->set && nothing_to_do(s)) {
        s->has_row = false; /* it is not looked into; no dedupe rule is there to ask */
        return OK;
    }
    if (!input_block(c, s, block)) {
        opaque(c, s, result);
        return OK;
    }
    TRY(take_block(c, s, &left));
    if (!c->changed && !s->rewritten && s->queue.len == 0) {
        if (!stream_untold(s)) {
            return OK;
        }
        left = (struct left){.any = true, .block = *block};
    }
    if (!left.any && s->queue.len == 0 && most(c, c->dropped, NULL) == NULL && s->out_count > 0) {
        /* Rows without a single value, in another set: no rule took them, so one of them goes on. */
        c->extra_count = 0;
        TRY(input_extra(c, 0, c->times[0], BLOCK_MISSING));
        for (unsigned i = 0; i < s->channel_count; i++) {
            c->extras[0].channel = s->channels[i].out == 0 ? i : c->extras[0].channel;
        }
        TRY(output_block(c, s, &left));
    }
    return finish(c, s, &left, result);
}

/* ---- windows from below ---- */
static bool window_valid(const Weir__V1__Window *w)
{
    bool valid = isfinite(w->mean) && isfinite(w->m2) && isfinite(w->min) && isfinite(w->max) && w->count > 0 &&
                 w->count <= INT64_MAX / 4 && w->start_us <= (uint64_t)WALL_MAX && w->length_us >= 1 &&
                 w->length_us <= (uint64_t)TIME_MAX / 4 && w->n_band <= WIRE_BANDS_MAX;
    for (size_t i = 0; valid && i < w->n_band; i++) {
        valid = isfinite(w->band[i]);
    }
    return valid;
}

static enum err merge_window(struct curate *c, struct curate_stream *s, struct channel *channel, struct op *op,
                             const Weir__V1__Window *w)
{
    CLEANUP(sketch_deinit) struct sketch sketch = {.error = 0};
    struct closed closed = {
        .start = (int64_t)w->start_us,
        .length = (int64_t)w->length_us,
        .moments = {.count = w->count, .mean = w->mean, .m2 = w->m2, .min = w->min, .max = w->max},
        .band = w->band,
        .bands = (unsigned)w->n_band,
        .partial = w->partial,
        .late = min_u64(w->late, INT64_MAX / 4),
    };
    if (w->sketch.len > 0) {
        enum err err = sketch_decode(slice_of(w->sketch.data, w->sketch.len), &sketch);
        if (err == ERR_NOMEM) {
            return err;
        }
        closed.sketch = err == OK ? &sketch : NULL;
    }
    c->dropped[op->rule->index]++;
    c->changed = true;
    return windows_merge(c, s, channel, op, &closed);
}

/* As the channel goes up: moments of value * factor + offset; quantiles and energies of other units are left out. */
static void convert_window(const struct channel *channel, Weir__V1__Window *w)
{
    for (unsigned i = 0; i < channel->op_count; i++) {
        const struct rule *rule = channel->ops[i].rule;
        if (rule->kind == RULE_CONVERT) {
            double a = w->min * rule->factor + rule->offset, b = w->max * rule->factor + rule->offset;
            w->mean = w->mean * rule->factor + rule->offset;
            w->m2 *= rule->factor * rule->factor;
            w->min = fmin(a, b);
            w->max = fmax(a, b);
            w->sketch.len = 0;
            w->n_band = 0;
        }
    }
}

/* What of it may pass is on the queue afterwards. */
static enum err take_window(struct curate *c, struct curate_stream *s, uint32_t set, Weir__V1__Window *w)
{
    bool ours = s->described && set == s->set && w->channel < s->channel_count;
    struct channel *ch = ours ? &s->channels[w->channel] : NULL;
    const struct rule *hidden = private_rule(c, s->device, ours ? ch->name : NULL);
    if (hidden != NULL) { /* its extremes are values */
        c->dropped[hidden->index]++;
        c->changed = true;
        return OK;
    }
    for (unsigned i = 0; ours && window_valid(w) && i < ch->op_count; i++) {
        if (ch->ops[i].kind == RULE_MERGE && strcmp(ch->ops[i].rule->of, w->rule) == 0) {
            return merge_window(c, s, ch, &ch->ops[i], w);
        }
    }
    if (ours) {
        w->channel = (uint32_t)ch->out;
        convert_window(ch, w);
        c->changed |= s->rewritten;
    }
    return queue_message(c, s, ours ? s->out_set : set, w);
}

/* A capture made below: its rows show the same face as all others, and that is all. */
static enum err on_captured(struct curate *c, struct curate_stream *s, const Weir__V1__Curated *curated,
                            struct curate_result *result)
{
    struct left left;
    bool any;
    if (!s->rewritten && private_rule(c, s->device, NULL) == NULL) {
        return OK;
    }
    if (curated->block == NULL || curated->n_window > 0 || !input_block(c, s, curated->block)) {
        opaque(c, s, result);
        return OK;
    }
    TRY(input_run(c, s->channels, s->channel_count, NULL));
    TRY(output_block(c, s, &left));
    TRY(output_fitting(c, NULL, s, &left, curated->capture, &any));
    if (any) {
        shaped(c, result);
    } else {
        dropped(private_rule(c, s->device, NULL), result);
    }
    return OK;
}

/* What rules below made of the device's description: ours from here on, as a Describe would be. */
static enum err learn(struct curate *c, struct curate_stream *s, const Weir__V1__Describe *describe)
{
    TRY(stream_describe(c, s, describe));
    c->changed |= s->rewritten; /* the record does not pass as it came */
    return OK;
}

static enum err take_windows(struct curate *c, struct curate_stream *s, const Weir__V1__Curated *curated)
{
    for (size_t i = 0; i < curated->n_window; i++) {
        TRY(take_window(c, s, curated->set, curated->window[i]));
    }
    return OK;
}

static enum err on_curated(struct curate *c, struct curate_stream *s, struct slice record,
                           const Weir__V1__Curated *curated, struct curate_result *result)
{
    TRY(wire_record_check(record, 1, 1, NULL)); /* parts of it go up as they are */
    if (curated->capture[0] != '\0') {
        return on_captured(c, s, curated, result);
    }
    struct left left = {.any = false};
    /* Windows that the change of rules closed are of the set before. */
    bool late = curated->describe != NULL && s->described && curated->n_window > 0 && curated->set == s->set;
    if (curated->describe != NULL && !late) {
        TRY(learn(c, s, curated->describe));
    }
    size_t waiting = s->queue.len;
    TRY(take_windows(c, s, curated));
    size_t passed = s->queue.len;
    if (late) {
        TRY(learn(c, s, curated->describe));
    }
    bool known = curated->block != NULL && input_block(c, s, curated->block);
    if (known) {
        TRY(take_block(c, s, &left));
    } else if (curated->block != NULL && private_rule(c, s->device, NULL) != NULL) {
        c->dropped[private_rule(c, s->device, NULL)->index]++;
        c->changed = true;
    } else if (curated->block != NULL) {
        left = (struct left){.any = true, .block = *curated->block};
    }
    if (waiting == 0 && s->queue.len == passed && !c->changed && !(known && s->rewritten) &&
        (curated->describe != NULL || !stream_untold(s))) {
        buffer_reset(&s->queue); /* its own windows: they go with it, as it came */
        s->told = curated->describe != NULL ? s->out_set : s->told;
        return OK;
    }
    if (known && !c->changed && !s->rewritten) {
        left = (struct left){.any = true, .block = *curated->block};
    }
    TRY(stream_bound(c, s));
    enum err err = finish(c, s, &left, result);
    /* It is as large as a record may be, and ours would be larger: it stays, with its own windows only. */
    if (err == ERR_RANGE && !c->changed && s->queue.len >= passed) {
        if (passed == waiting) {
            return OK;
        }
        memmove(s->queue.ptr + waiting, s->queue.ptr + passed, s->queue.len - passed);
        s->queue.len -= passed - waiting;
        return OK;
    }
    return err;
}

/* ---- other records ---- */
static enum err pack(struct curate *c, const Weir__V1__Record *record)
{
    buffer_reset(&c->record);
    return wire_record_pack(record, &c->record);
}

static enum err on_describe(struct curate *c, struct curate_stream *s, Weir__V1__Record *record,
                            struct curate_result *result)
{
    TRY(stream_describe(c, s, record->describe));
    TRY(stream_bound(c, s));
    if (s->rewritten) {
        TRY(stream_described(c, s, &record->describe));
        TRY(pack(c, record));
        for (unsigned i = 0; i < s->channel_count; i++) {
            const struct channel *ch = &s->channels[i];
            const struct rule *rule = ch->dropped_by != NULL ? ch->dropped_by : ch->made_by;
            if (rule != NULL) {
                c->altered[rule->index]++;
            }
        }
        shaped(c, result);
    }
    s->told = s->out_set;
    return OK;
}

static enum err on_event(struct curate *c, struct curate_stream *s, Weir__V1__Record *record,
                         struct curate_result *result)
{
    Weir__V1__Event *e = record->event;
    const struct rule *rule = e->channel[0] != '\0' ? private_rule(c, s->device, e->channel) : NULL;
    bool moves = s->rewritten && e->set == s->set;
    if (rule == NULL && !moves) {
        return OK;
    }
    if (rule != NULL) {
        e->text = (char *)(uintptr_t)"";
        e->value = NAN;
        c->altered[rule->index]++;
        c->stats[rule->index].seen++;
        c->stats[rule->index].changed++;
    }
    e->set = moves ? s->out_set : e->set;
    TRY(pack(c, record));
    shaped(c, result);
    return OK;
}

static void on_gap(struct curate_stream *s)
{
    for (unsigned i = 0; i < s->channel_count; i++) {
        for (unsigned k = 0; k < s->channels[i].op_count; k++) {
            struct op *op = &s->channels[i].ops[k];
            if (op->kind == RULE_WINDOW || op->kind == RULE_MERGE) {
                op->windows.gap = op->windows.has;
            } else if (op->kind == RULE_SPECTRUM) {
                op->spectrum.partial |= op->spectrum.count > 0;
            }
        }
    }
}

static enum err dispatch(struct curate *c, struct curate_stream *s, struct slice record, Weir__V1__Record *r,
                         struct curate_result *result)
{
    switch (r->kind_case) {
    case WEIR__V1__RECORD__KIND_BLOCK: return on_block(c, s, r->block, result);
    case WEIR__V1__RECORD__KIND_CURATED: return on_curated(c, s, record, r->curated, result);
    case WEIR__V1__RECORD__KIND_DESCRIBE: return on_describe(c, s, r, result);
    case WEIR__V1__RECORD__KIND_EVENT: return on_event(c, s, r, result);
    case WEIR__V1__RECORD__KIND_GAP: on_gap(s); return OK;
    case WEIR__V1__RECORD__KIND_HEALTH:
    case WEIR__V1__RECORD__KIND_INFERENCE:
    case WEIR__V1__RECORD__KIND_SUPPRESSED:
    case WEIR__V1__RECORD__KIND__NOT_SET:
    case _WEIR__V1__RECORD__KIND__CASE_IS_INT_SIZE: break;
    }
    return OK;
}

enum err curate_record(struct curate *c, struct curate_stream *s, struct slice record, struct curate_result *ret_result)
{
    Weir__V1__Record *unpacked = NULL;
    struct curate_result result = {.outcome = CURATE_KEPT, .captures = c->captures};
    begin_record(c);
    enum err err = wire_record_unpack(record, &c->arena, &unpacked);
    if (err == ERR_UNSUPPORTED) {
        opaque(c, s, &result);
    } else if (err != OK) {
        return ERR_MALFORMED;
    } else {
        err = dispatch(c, s, record, unpacked, &result);
        if (err != OK) {
            return err == ERR_MALFORMED || err == ERR_RANGE ? ERR_MALFORMED : ERR_NOMEM;
        }
    }
    captures_settle(c, s);
    result.capture_count = c->capture_count;
    *ret_result = result;
    return OK;
}

/* ---- for captures ---- */
enum err curate_capture_record(struct curate *c, const struct curate_stream *s, const struct rule *rule,
                               struct slice record, struct slice *ret_record)
{
    Weir__V1__Record *r = NULL;
    struct left left;
    bool any = false;
    begin_record(c);
    if (wire_record_unpack(record, &c->arena, &r) != OK) {
        return ERR_MALFORMED;
    }
    const Weir__V1__Block *block = r->kind_case == WEIR__V1__RECORD__KIND_BLOCK     ? r->block
                                   : r->kind_case == WEIR__V1__RECORD__KIND_CURATED ? r->curated->block
                                                                                    : NULL;
    if (block == NULL || !input_block(c, s, block)) {
        return ERR_MALFORMED;
    }
    TRY(input_run(c, s->channels, s->channel_count, NULL));
    TRY(output_block(c, s, &left));
    if (!left.any) {
        return ERR_MALFORMED;
    }
    TRY(output_fitting(c, NULL, s, &left, rule->name, &any));
    *ret_record = buffer_slice(&c->record);
    return OK;
}

enum err curate_describe(struct curate *c, const struct curate_stream *s, struct slice *ret_record)
{
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    if (!s->described) {
        return ERR_NOT_FOUND;
    }
    begin_record(c);
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_DESCRIBE;
    TRY(stream_described(c, s, &record.describe));
    TRY(pack(c, &record));
    *ret_record = buffer_slice(&c->record);
    return OK;
}
