/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Series -> records -> rules -> what goes up; and from that back to the series, to see how far off it is.
 */
#include "cloud-bridge/console/replay.h"

#include <inttypes.h>
#include <math.h>

#include "core/base/json.h"
#include "core/sketch/sketch.h"
#include "proto/wire/wire.h"

enum { RECORD_SAMPLES = 32, LINE_MAX_BYTES = 64 * 1024 };

struct points { /* values of one channel that went up */
    int64_t *t;  /* owned */
    double *v;   /* owned */
    size_t count, cap;
};
/* One series under way. */
struct run {
    struct replay *r;
    const struct series *series;
    struct curate_stream *stream; /* owned */
    struct arena arena;
    uint32_t set;
    uint64_t number; /* of the last record */
    struct points points[BLOCK_CHANNELS_MAX]; /* by the series' channel */
    size_t out_channel[BLOCK_CHANNELS_MAX];   /* series' channel of each described upwards */
    size_t out_channels;
    const struct rule *suppressed_by; /* the run of dropped records */
    uint64_t suppressed_from, suppressed_to;
    struct buffer record, line;
    int64_t *cells, *out_cells, *times; /* owned */
};

static void run_deinit(struct run *g)
{
    curate_stream_free(g->stream);
    arena_deinit(&g->arena);
    for (size_t i = 0; i < BLOCK_CHANNELS_MAX; i++) {
        free(g->points[i].t);
        free(g->points[i].v);
    }
    buffer_deinit(&g->record);
    buffer_deinit(&g->line);
    free(g->cells);
    free(g->out_cells);
    free(g->times);
}

enum err replay_init(struct replay *r, const struct rules *rules, const char *device, FILE *out)
{
    /* Pseudonyms of a replay are not the plant's: its key stays at the gateway. */
    struct curate_options options = {.pseudonym_key = slice_str("replay")};
    *r = (struct replay){.rules = rules, .device = device, .out = out};
    return curate_new(rules, &options, &r->curate);
}

void replay_deinit(struct replay *r)
{
    curate_free(r->curate);
    free(r->channels);
    *r = (struct replay){.rules = NULL};
}

/* ---- what goes up ---- */
static enum err put_line(struct run *g)
{
    buffer_put_u8(&g->line, '\n');
    TRY(buffer_err(&g->line));
    return fwrite(g->line.ptr, 1, g->line.len, g->r->out) == g->line.len ? OK : ERR_IO;
}

static enum err take_value(struct run *g, size_t channel, int64_t t, double v)
{
    struct points *p = &g->points[channel];
    if (p->count == p->cap) {
        size_t cap = p->cap == 0 ? 1024 : 2 * p->cap;
        int64_t *times = realloc(p->t, cap * sizeof(*times));
        p->t = times != NULL ? times : p->t;
        double *values = realloc(p->v, cap * sizeof(*values));
        p->v = values != NULL ? values : p->v;
        if (times == NULL || values == NULL) {
            return ERR_NOMEM;
        }
        p->cap = cap;
    }
    p->t[p->count] = t;
    p->v[p->count++] = v;
    g->r->values_up++;
    if (g->r->out == NULL) {
        return OK;
    }
    struct json j;
    buffer_reset(&g->line);
    json_init(&j, &g->line);
    json_object(&j, NULL);
    json_str(&j, "channel", g->series->channel[channel].name);
    json_i64(&j, "time_us", t);
    json_f64(&j, "value", v);
    json_object_end(&j);
    return put_line(g);
}

static enum err take_block(struct run *g, const Weir__V1__Block *b)
{
    double resolutions[BLOCK_CHANNELS_MAX];
    size_t channels;
    TRY(block_decode(slice_of(b->columns.data, b->columns.len), b->samples, BLOCK_CHANNELS_MAX, g->out_cells,
                     resolutions, &channels));
    if (b->times.len > 0) {
        TRY(block_column_decode(slice_of(b->times.data, b->times.len), b->samples, g->times));
    }
    int64_t t = (int64_t)b->wall_us;
    for (size_t i = 0; i < b->samples; i++) {
        t += i == 0 ? 0 : b->times.len > 0 ? g->times[i] : b->period_us;
        for (size_t k = 0; k < channels && k < g->out_channels; k++) {
            int64_t cell = g->out_cells[k * b->samples + i];
            if (cell != BLOCK_MISSING) {
                TRY(take_value(g, g->out_channel[k], t, block_value(cell, resolutions[k])));
            }
        }
    }
    return OK;
}

static const struct rule *find_rule(const struct rules *rules, const char *name)
{
    for (size_t i = 0; i < rules_count(rules); i++) {
        if (strcmp(rules_at(rules, i)->name, name) == 0) {
            return rules_at(rules, i);
        }
    }
    return NULL;
}

static void put_quantiles(struct json *j, const struct rule *rule, const Weir__V1__Window *w)
{
    struct sketch sketch;
    if (rule == NULL || w->sketch.len == 0 || sketch_decode(slice_of(w->sketch.data, w->sketch.len), &sketch) != OK) {
        return;
    }
    json_array(j, "quantiles");
    for (unsigned i = 0; i < rule->quantiles; i++) {
        json_f64(j, NULL, sketch_quantile(&sketch, rule->quantile[i]));
    }
    json_array_end(j);
    sketch_deinit(&sketch);
}

static enum err take_window(struct run *g, const Weir__V1__Window *w)
{
    g->r->windows++;
    if (g->r->out == NULL || w->channel >= g->out_channels) {
        return OK;
    }
    struct json j;
    struct moments m = {.count = w->count, .mean = w->mean, .m2 = w->m2, .min = w->min, .max = w->max};
    buffer_reset(&g->line);
    json_init(&j, &g->line);
    json_object(&j, NULL);
    json_str(&j, "channel", g->series->channel[g->out_channel[w->channel]].name);
    json_str(&j, "rule", w->rule);
    json_u64(&j, "start_us", w->start_us);
    json_u64(&j, "length_us", w->length_us);
    json_u64(&j, "count", w->count);
    json_f64(&j, "mean", w->mean);
    json_f64(&j, "std", sqrt(moments_variance(&m)));
    json_f64(&j, "rms", moments_rms(&m));
    json_f64(&j, "min", w->min);
    json_f64(&j, "max", w->max);
    put_quantiles(&j, find_rule(g->r->rules, w->rule), w);
    if (w->n_band > 0) {
        json_array(&j, "bands");
        for (size_t i = 0; i < w->n_band; i++) {
            json_f64(&j, NULL, w->band[i]);
        }
        json_array_end(&j);
    }
    json_bool(&j, "partial", w->partial);
    json_u64(&j, "late", w->late);
    json_object_end(&j);
    return put_line(g);
}

/* Which of the series' channels the description upwards names. */
static void take_describe(struct run *g, const Weir__V1__Describe *d)
{
    g->out_channels = 0;
    for (size_t i = 0; i < d->n_channel; i++) {
        for (size_t k = 0; k < g->series->channels; k++) {
            if (strcmp(g->series->channel[k].name, d->channel[i]->name) == 0) {
                g->out_channel[g->out_channels++] = k;
                break; /* names are unique: series.c */
            }
        }
    }
}

static enum err take_record(struct run *g, struct slice record)
{
    Weir__V1__Record *up = NULL;
    g->r->bytes_up += record.len;
    arena_reset(&g->arena);
    TRY(wire_record_unpack(record, &g->arena, &up));
    if (up->kind_case == WEIR__V1__RECORD__KIND_DESCRIBE) {
        take_describe(g, up->describe);
    } else if (up->kind_case == WEIR__V1__RECORD__KIND_BLOCK) {
        return take_block(g, up->block);
    } else if (up->kind_case == WEIR__V1__RECORD__KIND_CURATED) {
        for (size_t i = 0; i < up->curated->n_window; i++) {
            TRY(take_window(g, up->curated->window[i]));
        }
        return up->curated->block != NULL ? take_block(g, up->curated->block) : OK;
    }
    return OK;
}

/* The records that one rule took in a row are one record that says so. */
static enum err end_suppressed(struct run *g)
{
    if (g->suppressed_by == NULL) {
        return OK;
    }
    Weir__V1__Suppressed s = WEIR__V1__SUPPRESSED__INIT;
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    char name[WIRE_NAME_MAX + 1];
    snprintf(name, sizeof(name), "%s", g->suppressed_by->name);
    s.from = g->suppressed_from;
    s.to = g->suppressed_to;
    s.rule = name;
    s.rule_version = rules_version(g->r->rules) & INT64_MAX;
    record.schema = WIRE_SCHEMA;
    record.span = s.to > s.from ? s.to - s.from + 1 : 0;
    record.kind_case = WEIR__V1__RECORD__KIND_SUPPRESSED;
    record.suppressed = &s;
    BUFFER(out, 1024);
    TRY(wire_record_pack(&record, &out));
    g->r->bytes_up += out.len;
    g->suppressed_by = NULL;
    return OK;
}

static enum err hand_in(struct run *g, const Weir__V1__Record *record)
{
    struct curate_result result;
    buffer_reset(&g->record);
    TRY(wire_record_pack(record, &g->record));
    TRY(curate_record(g->r->curate, g->stream, buffer_slice(&g->record), &result));
    g->number++;
    g->r->records++;
    g->r->bytes_in += g->record.len;
    g->r->captures += result.capture_count;
    if (result.outcome == CURATE_DROPPED) {
        g->r->dropped++;
        if (g->suppressed_by != result.rule) {
            TRY(end_suppressed(g));
            g->suppressed_by = result.rule;
            g->suppressed_from = g->number;
        }
        g->suppressed_to = g->number;
        return OK;
    }
    TRY(end_suppressed(g));
    g->r->kept += result.outcome == CURATE_KEPT;
    g->r->shaped += result.outcome == CURATE_SHAPED;
    return take_record(g, result.outcome == CURATE_KEPT ? buffer_slice(&g->record) : result.record);
}

/* ---- what comes from the device ---- */
static enum err describe(struct run *g)
{
    Weir__V1__Describe d = WEIR__V1__DESCRIBE__INIT;
    Weir__V1__ChannelInfo infos[BLOCK_CHANNELS_MAX], *list[BLOCK_CHANNELS_MAX];
    char names[BLOCK_CHANNELS_MAX][48];
    for (size_t i = 0; i < g->series->channels; i++) {
        infos[i] = (Weir__V1__ChannelInfo)WEIR__V1__CHANNEL_INFO__INIT;
        strcpy(names[i], g->series->channel[i].name);
        infos[i].name = names[i];
        infos[i].resolution = g->series->channel[i].resolution;
        list[i] = &infos[i];
    }
    d.n_channel = g->series->channels;
    d.channel = list;
    d.set = g->set = wire_describe_set(&d);
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_DESCRIBE;
    record.describe = &d;
    return hand_in(g, &record);
}

/* Rows from..from + count of the series as one record. */
static enum err block(struct run *g, size_t from, size_t count)
{
    const struct series *s = g->series;
    Weir__V1__Block b = WEIR__V1__BLOCK__INIT;
    double resolutions[BLOCK_CHANNELS_MAX];
    int64_t times[RECORD_SAMPLES], period = count > 1 ? s->times[from + 1] - s->times[from] : 0;
    bool even = period > 0 && period <= UINT32_MAX;
    BUFFER(columns, BLOCK_CHANNELS_MAX * BLOCK_COLUMN_BYTES(RECORD_SAMPLES));
    BUFFER(deltas, BLOCK_COLUMN_BYTES(RECORD_SAMPLES));
    for (size_t i = 0; i < count; i++) {
        times[i] = i == 0 ? 0 : s->times[from + i] - s->times[from + i - 1];
        even &= i == 0 || times[i] == period;
    }
    for (size_t k = 0; k < s->channels; k++) {
        resolutions[k] = s->channel[k].resolution;
        for (size_t i = 0; i < count; i++) {
            double v = s->channel[k].values[from + i];
            g->cells[k * count + i] = block_quantise(v, resolutions[k]);
            g->r->values_in += !isnan(v);
        }
    }
    TRY(block_encode(g->cells, resolutions, s->channels, count, &columns));
    if (!even && count > 1) {
        TRY(block_column_encode(times, count, &deltas));
    }
    b.set = g->set;
    b.wall_us = (uint64_t)s->times[from];
    b.mono_us = (uint64_t)max_i64(s->times[from] - s->times[0], 0);
    b.samples = (uint32_t)count;
    b.period_us = even ? (uint32_t)period : 0;
    b.quality = WEIR__V1__CLOCK_QUALITY__NTP;
    b.columns = (ProtobufCBinaryData){.data = columns.ptr, .len = columns.len};
    b.times = (ProtobufCBinaryData){.data = deltas.ptr, .len = deltas.len};
    Weir__V1__Record record = WEIR__V1__RECORD__INIT;
    record.schema = WIRE_SCHEMA;
    record.kind_case = WEIR__V1__RECORD__KIND_BLOCK;
    record.block = &b;
    return hand_in(g, &record);
}

/* ---- back to the series ---- */
/* The one rule that thins the channel, if what it drops can be had back: nothing else drops values but range. */
static const struct rule *thinning_rule(const struct replay *r, const char *channel)
{
    const struct rule *found = NULL;
    for (size_t i = 0; i < rules_count(r->rules); i++) {
        const struct rule *rule = rules_at(r->rules, i);
        if (!rule_matches(rule, r->device, channel)) {
            continue;
        }
        switch ((enum rule_kind)rule->kind) {
        case RULE_DEADBAND:
        case RULE_SWINGING_DOOR:
        case RULE_ON_CHANGE:
            if (found != NULL) {
                return NULL;
            }
            found = rule;
            break;
        case RULE_WINDOW:
        case RULE_SPECTRUM:
            if (rule->raw == RULE_RAW_DROP) {
                return NULL;
            }
            break;
        case RULE_RANGE:
        case RULE_CAPTURE:
        case RULE_MERGE: break;
        case RULE_QUALITY:
        case RULE_DEDUPE:
        case RULE_CONVERT:
        case RULE_RATE:
        case RULE_DOWNSAMPLE:
        case RULE_DROP:
        case RULE_HASH:
        case RULE_BUCKET:
        case RULE_KINDS: return NULL;
        }
    }
    return found;
}

static bool in_range(const struct replay *r, const char *channel, double v)
{
    bool good = true;
    for (size_t i = 0; i < rules_count(r->rules); i++) {
        const struct rule *rule = rules_at(r->rules, i);
        if (rule->kind == RULE_RANGE && rule->otherwise == RULE_OTHERWISE_DROP &&
            rule_matches(rule, r->device, channel)) {
            good &= v >= rule->min && v <= rule->max;
        }
    }
    return good;
}

/* What went up around time t says about it: NaN when it does not yet. *at: where the search has come. */
static double had_back(const struct points *p, const struct rule *rule, int64_t t, size_t *at)
{
    while (*at + 1 < p->count && p->t[*at + 1] <= t) {
        ++*at;
    }
    if (p->count == 0 || p->t[*at] > t) {
        return NAN;
    }
    if (p->t[*at] == t || rule->kind != RULE_SWINGING_DOOR) {
        return p->v[*at];
    }
    if (*at + 1 == p->count) {
        return NAN;
    }
    double part = (double)(t - p->t[*at]) / (double)(p->t[*at + 1] - p->t[*at]);
    return p->v[*at] + part * (p->v[*at + 1] - p->v[*at]);
}

static struct replay_channel *channel_of(struct replay *r, const char *name)
{
    for (size_t i = 0; i < r->channel_count; i++) {
        if (strcmp(r->channels[i].name, name) == 0) {
            return &r->channels[i];
        }
    }
    struct replay_channel *channels = realloc(r->channels, (r->channel_count + 1) * sizeof(*channels));
    if (channels == NULL) {
        return NULL;
    }
    r->channels = channels;
    struct replay_channel *c = &channels[r->channel_count++];
    *c = (struct replay_channel){.thinned_by = thinning_rule(r, name)};
    snprintf(c->name, sizeof(c->name), "%s", name);
    if (c->thinned_by != NULL) {
        c->bound = c->thinned_by->percent > 0 ? c->thinned_by->percent : c->thinned_by->abs;
    }
    return c;
}

static enum err measure(struct run *g, size_t index)
{
    const struct series *s = g->series;
    const struct points *p = &g->points[index];
    struct replay_channel *c = channel_of(g->r, s->channel[index].name);
    if (c == NULL) {
        return ERR_NOMEM;
    }
    size_t at = 0;
    bool rises = true; /* else a time does not tell one place */
    c->up += p->count;
    for (size_t i = 1; i < s->rows; i++) {
        rises &= s->times[i] > s->times[i - 1];
    }
    for (size_t i = 0; i < s->rows; i++) {
        double resolution = s->channel[index].resolution;
        double v = block_value(block_quantise(s->channel[index].values[i], resolution), resolution);
        if (isnan(v)) {
            continue;
        }
        c->in++;
        if (c->thinned_by == NULL || !in_range(g->r, c->name, v)) {
            continue;
        }
        double back = rises ? had_back(p, c->thinned_by, s->times[i], &at) : NAN;
        if (isnan(back)) {
            c->open++;
        } else if (c->thinned_by->percent > 0) {
            c->worst = fmax(c->worst, back == v ? 0 : fabs(back - v) / fabs(back) * 100);
        } else {
            c->worst = fmax(c->worst, fabs(back - v));
        }
    }
    return OK;
}

bool replay_channel_within(const struct replay_channel *c)
{
    /* Differences of decimals are a few units in the last place off. */
    return c->thinned_by == NULL || c->worst <= c->bound * (1 + 1e-9) + 1e-12;
}

bool replay_within_bounds(const struct replay *r)
{
    bool within = true;
    for (size_t i = 0; i < r->channel_count; i++) {
        within &= replay_channel_within(&r->channels[i]);
    }
    return within;
}

enum err replay_series(struct replay *r, const struct series *s)
{
    CLEANUP(run_deinit) struct run g = {.r = r, .series = s};
    buffer_init(&g.record, WIRE_RECORD_MAX);
    buffer_init(&g.line, LINE_MAX_BYTES);
    g.cells = calloc((size_t)BLOCK_CHANNELS_MAX * RECORD_SAMPLES, sizeof(*g.cells));
    g.out_cells = calloc((size_t)BLOCK_CHANNELS_MAX * BLOCK_SAMPLES_MAX, sizeof(*g.out_cells));
    g.times = calloc(BLOCK_SAMPLES_MAX, sizeof(*g.times));
    if (g.cells == NULL || g.out_cells == NULL || g.times == NULL) {
        return ERR_NOMEM;
    }
    TRY(arena_init(&g.arena, WIRE_ARENA_BYTES));
    TRY(curate_stream_new(r->curate, r->device, slice_of(NULL, 0), &g.stream));
    TRY(describe(&g));
    for (size_t i = 0; i < s->rows;) {
        size_t n = 1;
        while (n < RECORD_SAMPLES && i + n < s->rows && s->times[i + n] > s->times[i + n - 1]) {
            n++; /* a clock that was set back closes the record, as at a device */
        }
        TRY(block(&g, i, n));
        i += n;
    }
    TRY(end_suppressed(&g));
    for (size_t i = 0; i < s->channels; i++) {
        TRY(measure(&g, i));
    }
    r->files++;
    r->rows += s->rows;
    r->bad += s->bad;
    return OK;
}
