/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From records to values: who describes what, and what is the newest of it.
 */
#include <math.h>
#include <stdio.h>

#include "core/sketch/sketch.h"
#include "gateway/publish/publish_internal.h"

#define TIME_MAX_US (INT64_MAX / 4) /* whatever a clock says: sums of two stay numbers */

/* ---- life ---- */
enum err source_init(struct publish *p)
{
    p->values = calloc((size_t)BLOCK_CHANNELS_MAX * BLOCK_SAMPLES_MAX, sizeof(*p->values));
    p->times = calloc(BLOCK_SAMPLES_MAX, sizeof(*p->times));
    if (p->values == NULL || p->times == NULL) {
        return ERR_NOMEM;
    }
    return arena_init(&p->arena, WIRE_ARENA_BYTES);
}

static void metric_free(struct metric *m)
{
    free(m->name);
    free(m->unit);
    free(m->slug);
    free(m);
}

static void device_free(struct device *d)
{
    HASH_CLEAR(by_slug, d->by_slug);
    HASH_CLEAR(hh, d->by_name);
    for (struct metric *m = d->first, *next; m != NULL; m = next) {
        next = m->next;
        metric_free(m);
    }
    for (size_t i = 0; i < SETS_MAX; i++) {
        free(d->sets[i]);
    }
    free(d);
}

void source_deinit(struct publish *p)
{
    HASH_CLEAR(hh, p->by_id);
    for (struct device *d = p->devices, *next; d != NULL; d = next) {
        next = d->next;
        device_free(d);
    }
    arena_deinit(&p->arena);
    free(p->values);
    free(p->times);
}

/* ---- devices ---- */
struct device *source_device(struct publish *p, const char *id)
{
    struct device *d = NULL;
    HASH_FIND_STR(p->by_id, id, d);
    if (d != NULL) {
        return d;
    }
    d = HASH_COUNT(p->by_id) < p->devices_max ? calloc(1, sizeof(*d)) : NULL;
    if (d != NULL) {
        snprintf(d->id, sizeof(d->id), "%s", id);
        HASH_ADD_STR(p->by_id, id, d);
    }
    if (d == NULL || d->lost) {
        free(d);
        p->stats.refused++;
        return NULL;
    }
    d->next = p->devices;
    p->devices = d;
    if (p->edge != NULL && edge_device(p->edge, id, &d->edge) != OK) {
        d->edge = NULL; /* its own bounds: the namespace goes on */
        p->stats.refused++;
    }
    return d;
}

void source_device_online(struct publish *p, struct device *d, bool online)
{
    if (d->known && d->online == online) {
        return;
    }
    d->known = true;
    d->online = online;
    if (d->edge != NULL) {
        edge_device_online(p->edge, d->edge, online);
    }
    if (p->uns) {
        uns_state(p, d);
    }
}

/* ---- metrics ---- */
static bool slug_taken(const struct device *d, const char *slug)
{
    struct metric *m = NULL;
    HASH_FIND(by_slug, d->by_slug, slug, strlen(slug), m);
    return m != NULL || strcmp(slug, "state") == 0;
}

/* What it is called in topics: see publish.h. A window stands below its channel. */
static bool make_slug(const struct device *d, const char *name, const struct metric *channel, char slug[SLUG_MAX])
{
    char own[WIRE_NAME_MAX + 1];
    const char *tail = channel != NULL ? name + strlen(channel->name) + 1 : name;
    const char *above = channel != NULL ? channel->slug : "";
    names_slug(slice_str(tail), own);
    snprintf(slug, SLUG_MAX, "%s%s%s", above, channel != NULL ? "/" : "", own);
    if (slug_taken(d, slug)) {
        size_t len = strlen(slug);
        snprintf(slug + len, SLUG_MAX - len, "-%04x", crypt_crc32c(0, name, strlen(name)) & 0xffff);
    }
    return !slug_taken(d, slug);
}

static const char *const stats_of_windows[BIRTH_STATS] = {"mean", "count", "min", "max", "std"};

static void declare(struct publish *p, struct metric *m)
{
    for (unsigned i = 0; i < (m->is_window ? BIRTH_STATS : 1); i++) {
        char name[SPARKPLUG_NAME_MAX];
        snprintf(name, sizeof(name), "%s%s%s", m->name, m->is_window ? "/" : "", m->is_window ? stats_of_windows[i] : "");
        bool is_count = m->is_window && i == 1;
        if (edge_metric(p->edge, m->device->edge, name, is_count ? "" : m->unit,
                        is_count ? SPARKPLUG_INT64 : SPARKPLUG_DOUBLE, &m->aliases[i]) != OK) {
            m->aliases[i] = 0;
            p->stats.refused++;
        }
    }
}

static struct metric *metric_new(struct publish *p, struct device *d, const char *name, const char *unit,
                                 struct metric *channel)
{
    char slug[SLUG_MAX];
    if (p->stats.metrics >= p->metrics_max || d->metrics >= DEVICE_METRICS_MAX || !make_slug(d, name, channel, slug)) {
        return NULL;
    }
    struct metric *m = calloc(1, sizeof(*m));
    if (m == NULL) {
        return NULL;
    }
    *m = (struct metric){.device = d, .channel = channel, .is_window = channel != NULL, .name = strdup(name),
                         .unit = strdup(unit), .slug = strdup(slug)};
    if (m->name != NULL && m->unit != NULL && m->slug != NULL) {
        HASH_ADD_KEYPTR(hh, d->by_name, m->name, strlen(m->name), m);
        if (!m->lost) {
            HASH_ADD_KEYPTR(by_slug, d->by_slug, m->slug, strlen(m->slug), m);
            if (!m->lost) {
                m->next = d->first;
                d->first = m;
                d->metrics++;
                p->stats.metrics++;
                return m;
            }
            HASH_DEL(d->by_name, m);
        }
    }
    metric_free(m);
    return NULL;
}

/* Finds or makes it. channel: of a window. NULL: refused, counted. */
static struct metric *metric_get(struct publish *p, struct device *d, const char *name, const char *unit,
                                 struct metric *channel)
{
    struct metric *m = NULL;
    HASH_FIND(hh, d->by_name, name, strlen(name), m);
    if (m == NULL) {
        m = metric_new(p, d, name, unit, channel);
        if (m == NULL) {
            p->stats.refused++;
        } else if (d->edge != NULL) {
            declare(p, m);
        }
        return m;
    }
    if (m->is_window != (channel != NULL)) {
        p->stats.refused++; /* a channel that is called like a window of another */
        return NULL;
    }
    if (strcmp(m->unit, unit) != 0) {
        char *copy = strdup(unit);
        if (copy != NULL) {
            free(m->unit);
            m->unit = copy;
        }
        for (unsigned i = 0; i < BIRTH_STATS && d->edge != NULL; i++) {
            enum err err = m->aliases[i] != 0 && i != 1 ? edge_metric_unit(p->edge, m->aliases[i], unit) : OK;
            (void)err; /* out of memory: the old unit stays */
        }
    }
    return m;
}

/* ---- descriptions ---- */
static struct set *find_set(const struct device *d, uint32_t id)
{
    for (size_t i = 0; i < SETS_MAX && d->sets[i] != NULL; i++) {
        if (d->sets[i]->id == id) {
            return d->sets[i];
        }
    }
    return NULL;
}

/* Names without mapping have the first claim on their topics. */
static void name_channels(struct publish *p, struct device *d, struct set *set, const Weir__V1__Describe *describe)
{
    for (int mapped = 0; mapped <= 1; mapped++) {
        for (size_t i = 0; i < set->count; i++) {
            const Weir__V1__ChannelInfo *c = describe->channel[i];
            char slug[WIRE_NAME_MAX + 1];
            names_slug(slice_str(c->name), slug);
            if ((strcmp(slug, c->name) != 0) == (mapped == 1)) {
                set->channels[i] = metric_get(p, d, c->name, c->unit, NULL);
            }
        }
    }
}

/* Makes room for a set that is to be the newest: what is known of it already goes, else the oldest. */
static void drop_set(struct device *d, uint32_t id)
{
    size_t i = 0;
    while (i < SETS_MAX - 1 && d->sets[i] != NULL && d->sets[i]->id != id) {
        i++;
    }
    free(d->sets[i]);
    memmove(&d->sets[i], &d->sets[i + 1], (SETS_MAX - 1 - i) * sizeof(struct set *));
    d->sets[SETS_MAX - 1] = NULL;
}

static bool is_described(const struct set *set, const struct metric *channel)
{
    bool found = false;
    for (size_t i = 0; i < set->count && !found; i++) {
        found = set->channels[i] == channel;
    }
    return found;
}

/* What the device's newest description does not have any more, a channel under `drop` above all, is not kept for those
 * who come later either. */
static void clear_gone(struct publish *p, struct device *d)
{
    for (struct metric *m = d->first; m != NULL; m = m->next) {
        if (m->gone || is_described(d->sets[0], m->is_window ? m->channel : m)) {
            continue;
        }
        m->gone = true;
        m->has_value = false;
        for (unsigned i = 0; d->edge != NULL && i < COUNT_OF(m->aliases); i++) {
            if (m->aliases[i] != 0) {
                edge_metric_forget(p->edge, m->aliases[i]);
            }
        }
        if (p->uns) {
            uns_value(p, m);
        }
    }
}

static void on_describe(struct publish *p, struct device *d, const Weir__V1__Describe *describe)
{
    if (describe->n_channel > BLOCK_CHANNELS_MAX) {
        return;
    }
    if (d->sets[0] == NULL || d->sets[0]->id != describe->set) {
        struct set *set = calloc(1, sizeof(*set));
        if (set == NULL) {
            p->stats.refused++;
            return;
        }
        *set = (struct set){.id = describe->set, .model = describe->model, .count = describe->n_channel};
        name_channels(p, d, set, describe);
        drop_set(d, describe->set);
        memmove(&d->sets[1], &d->sets[0], (SETS_MAX - 1) * sizeof(struct set *));
        d->sets[0] = set;
    }
    clear_gone(p, d);
}

/* ---- values ---- */
/* What all values of one record have in common. */
struct context {
    struct publish *p;
    const struct wire_forward *forward;
    uint64_t model;
    bool uncertain;
    int64_t wall_us; /* now */
    int64_t received_us;
    int64_t zero_us; /* wall clock of the block's first sample */
};

static bool is_historical(const struct context *c, int64_t ts_us)
{
    int64_t age_us = c->wall_us - c->received_us;
    if (!c->uncertain) {
        age_us = max_i64(age_us, c->wall_us - ts_us);
    }
    return age_us > c->p->historical_after_us;
}

static void newest(const struct context *c, struct metric *m, const struct value *v)
{
    m->value = *v;
    m->value.uncertain = c->uncertain;
    m->value.model = c->model;
    m->value.epoch = c->forward->epoch;
    m->value.number = c->forward->first;
    m->has_value = true;
    m->gone = false;
    c->p->stats.values++;
    if (c->p->uns) {
        uns_value(c->p, m);
    }
}

static bool read_block(struct publish *p, const Weir__V1__Block *block, size_t *ret_channels)
{
    if (block->samples == 0 || block->samples > BLOCK_SAMPLES_MAX ||
        block_decode(slice_of(block->columns.data, block->columns.len), block->samples, BLOCK_CHANNELS_MAX, p->values,
                     p->resolutions, ret_channels) != OK) {
        return false;
    }
    if (block->times.len > 0) {
        if (block_column_decode(slice_of(block->times.data, block->times.len), block->samples, p->times) != OK) {
            return false;
        }
    } else {
        for (size_t i = 0; i < block->samples; i++) {
            p->times[i] = i == 0 ? 0 : block->period_us;
        }
    }
    int64_t at_us = 0;
    for (size_t i = 0; i < block->samples; i++) { /* from distances to offsets */
        if (__builtin_add_overflow(at_us, p->times[i], &at_us) || at_us < 0 || at_us > DAY_US * 366) {
            return false;
        }
        p->times[i] = at_us;
    }
    return true;
}

/* Every value to the edge, row by row, so that time rises. */
static void block_to_edge(const struct context *c, const struct set *set, size_t samples)
{
    struct publish *p = c->p;
    for (size_t row = 0; row < samples; row++) {
        int64_t ts_us = c->zero_us + p->times[row];
        bool historical = is_historical(c, ts_us);
        for (size_t channel = 0; channel < set->count; channel++) {
            const struct metric *m = set->channels[channel];
            int64_t step = p->values[channel * samples + row];
            if (m != NULL && m->aliases[0] != 0 && step != BLOCK_MISSING) {
                edge_value(p->edge, m->aliases[0], block_value(step, p->resolutions[channel]), ts_us / MS_US, historical);
            }
        }
    }
}

static void block_newest(const struct context *c, const struct set *set, size_t samples)
{
    const struct publish *p = c->p;
    for (size_t channel = 0; channel < set->count; channel++) {
        size_t row = samples;
        while (row > 0 && p->values[channel * samples + row - 1] == BLOCK_MISSING) {
            row--;
        }
        if (row > 0 && set->channels[channel] != NULL) {
            int64_t step = p->values[channel * samples + row - 1];
            struct value v = {.value = block_value(step, p->resolutions[channel]),
                              .ts_ms = (c->zero_us + p->times[row - 1]) / MS_US};
            newest(c, set->channels[channel], &v);
        }
    }
}

static void on_block(struct context *c, struct device *d, const Weir__V1__Block *block)
{
    struct publish *p = c->p;
    const struct set *set = find_set(d, block->set);
    size_t channels = 0;
    if (set == NULL) {
        p->stats.undescribed++;
        return;
    }
    if (!read_block(p, block, &channels) || channels > set->count) {
        p->stats.unreadable++;
        return;
    }
    for (size_t i = channels * block->samples; i < set->count * block->samples; i++) {
        p->values[i] = BLOCK_MISSING; /* channels that only windows have stand behind the others */
    }
    c->model = set->model;
    c->uncertain = block->quality == WEIR__V1__CLOCK_QUALITY__UNSYNCED;
    /* A clock that is not set says nothing but distances: the last sample was taken when the record came. */
    c->zero_us = c->uncertain ? c->received_us - p->times[block->samples - 1] : (int64_t)block->wall_us;
    c->zero_us = min_i64(max_i64(c->zero_us, 0), TIME_MAX_US);
    if (d->edge != NULL) {
        block_to_edge(c, set, block->samples);
    }
    block_newest(c, set, block->samples);
}

static void window_to_edge(const struct context *c, const struct metric *m, const struct value *v)
{
    const double values[BIRTH_STATS] = {v->value, (double)v->count, v->min, v->max, v->std};
    bool historical = is_historical(c, v->ts_ms * MS_US + (int64_t)v->length_ms * MS_US);
    for (unsigned i = 0; i < BIRTH_STATS; i++) {
        if (m->aliases[i] != 0) {
            edge_value(c->p->edge, m->aliases[i], values[i], v->ts_ms, historical);
        }
    }
}

static double quantile(const struct sketch *sketch, const Weir__V1__Window *w, double q)
{
    return fmax(w->min, fmin(w->max, sketch_quantile(sketch, q))); /* a bucket's middle may lie beyond the extremes */
}

static void put_quantiles(struct value *v, const Weir__V1__Window *w)
{
    struct sketch sketch;
    if (w->sketch.len == 0 || sketch_decode(slice_of(w->sketch.data, w->sketch.len), &sketch) != OK) {
        return;
    }
    if (sketch.count > 0) {
        v->has_quantiles = true;
        v->p50 = quantile(&sketch, w, 0.5);
        v->p95 = quantile(&sketch, w, 0.95);
        v->p99 = quantile(&sketch, w, 0.99);
    }
    sketch_deinit(&sketch);
}

static void on_window(struct context *c, struct device *d, const struct set *set, const Weir__V1__Window *w)
{
    struct publish *p = c->p;
    struct metric *channel = w->channel < set->count ? set->channels[w->channel] : NULL;
    if (channel != NULL && channel->gone && set != d->sets[0]) {
        return; /* closed under the rules before: nobody is to see it any more */
    }
    if (channel == NULL || w->count == 0 || w->length_us > TIME_MAX_US || w->start_us > TIME_MAX_US) {
        return;
    }
    char name[2 * WIRE_NAME_MAX + 2];
    snprintf(name, sizeof(name), "%s/%s", channel->name, w->rule);
    struct metric *m = metric_get(p, d, name, channel->unit, channel);
    if (m == NULL) {
        return;
    }
    struct value v = {
        .value = w->mean,
        .ts_ms = (int64_t)(w->start_us / (uint64_t)MS_US),
        .count = w->count,
        .length_ms = w->length_us / (uint64_t)MS_US,
        .min = w->min,
        .max = w->max,
        .std = w->count > 1 && w->m2 > 0 ? sqrt(w->m2 / (double)(w->count - 1)) : 0,
        .partial = w->partial,
    };
    put_quantiles(&v, w);
    if (d->edge != NULL) {
        window_to_edge(c, m, &v);
    }
    newest(c, m, &v);
}

static void on_curated(struct context *c, struct device *d, const Weir__V1__Curated *curated)
{
    struct publish *p = c->p;
    if (curated->capture[0] != '\0') {
        p->stats.captures++;
        return;
    }
    if (curated->describe != NULL) {
        on_describe(p, d, curated->describe);
    }
    if (curated->block != NULL) {
        on_block(c, d, curated->block);
    }
    if (curated->n_window == 0) {
        return;
    }
    const struct set *set = find_set(d, curated->set);
    if (set == NULL) {
        p->stats.undescribed++;
        return;
    }
    c->model = set->model;
    for (size_t i = 0; i < curated->n_window; i++) {
        on_window(c, d, set, curated->window[i]);
    }
}

/* ---- records ---- */
static void read_record(struct publish *p, const struct wire_forward *f, const Weir__V1__Record *record)
{
    struct context c = {.p = p, .forward = f, .wall_us = loop_wall_us(p->loop),
                        .received_us = (int64_t)min_u64(f->received_us, TIME_MAX_US)};
    bool data = record->kind_case == WEIR__V1__RECORD__KIND_BLOCK || record->kind_case == WEIR__V1__RECORD__KIND_CURATED;
    if (!data && record->kind_case != WEIR__V1__RECORD__KIND_DESCRIBE) {
        return; /* events, health, what is missing: not values */
    }
    struct device *d = source_device(p, f->device);
    if (d == NULL) {
        return;
    }
    snprintf(d->gateway, sizeof(d->gateway), "%s", f->gateway);
    p->relayed |= strcmp(f->gateway, p->gateway) != 0;
    if (!data) {
        on_describe(p, d, record->describe);
        return;
    }
    if (c.wall_us - c.received_us <= p->historical_after_us) {
        source_device_online(p, d, true); /* what was stored somewhere says nothing of now */
    }
    if (record->kind_case == WEIR__V1__RECORD__KIND_BLOCK) {
        on_block(&c, d, record->block);
    } else {
        on_curated(&c, d, record->curated);
    }
}

/* A quarter of each SLOT_US of the loop's time is ours. */
static bool have_time(struct publish *p, int64_t now_us)
{
    enum { SLOT_US = 100000, SHARE = 4 };
    if (now_us - p->slot_us >= SLOT_US) {
        p->slot_us = now_us;
        p->slot_used_us = 0;
    }
    return p->slot_used_us < SLOT_US / SHARE;
}

void publish_record(struct publish *p, const struct wire_forward *f)
{
    if (p->stopped || strcmp(f->device, f->gateway) == 0) { /* a hop's own gap */
        return;
    }
    int64_t begun_us = loop_fresh_now_us(p->loop);
    struct slice describe;
    /* Without names nothing that follows can be read. */
    if (!have_time(p, begun_us) && !wire_record_describe(f->record, &describe)) {
        p->stats.passed_over++;
        return;
    }
    Weir__V1__Record *record = NULL;
    arena_reset(&p->arena);
    p->stats.records++;
    if (wire_record_unpack(f->record, &p->arena, &record) == OK) {
        read_record(p, f, record);
    } else {
        p->stats.unreadable++;
    }
    if (p->session != NULL) {
        session_kick(p->session);
    }
    p->slot_used_us += loop_fresh_now_us(p->loop) - begun_us;
}
