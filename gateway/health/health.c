/* SPDX-License-Identifier: Apache-2.0 */
/* Devices, their memory, and what is told of them. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "core/base/cursor.h"
#include "gateway/health/health_internal.h"
#include "proto/rules/rules.h"

#define MEMORY_PRESET ((size_t)64 << 20)

/* ---- events ---- */
static void offer(struct health *h)
{
    size_t done = 0;
    for (; done < h->pending_count; done++) {
        const struct pending *p = &h->pending[done];
        struct health_event event = {.id = p->id, .device = p->device, .text = p->text};
        if (!h->options.on_event(h->options.arg, &event)) {
            break;
        }
    }
    h->pending_count -= done;
    memmove(h->pending, h->pending + done, h->pending_count * sizeof(*h->pending));
}

/* False: too many wait; the watch stays as it was and comes back with its next observation. */
static bool tell(struct health *h, const struct device *d, const struct watch *w, const char *event, const char *ended,
                 const char *subject)
{
    if (h->pending_count == PENDING_MAX) {
        offer(h);
    }
    if (h->pending_count == PENDING_MAX) {
        return false;
    }
    struct pending *p = &h->pending[h->pending_count++];
    snprintf(p->id, sizeof(p->id), "%s%s", event, ended);
    snprintf(p->device, sizeof(p->device), "%s", d->id);
    int len = snprintf(p->text, sizeof(p->text), "device=%s model=%016" PRIx64 "%s%s", d->id, d->model,
                       subject[0] != '\0' ? " " : "", subject);
    if (w->statistic != NULL && ended[0] == '\0' && len > 0 && (size_t)len < sizeof(p->text)) {
        snprintf(p->text + len, sizeof(p->text) - (size_t)len, " statistic=%s value=%.6g limit=%.6g", w->statistic,
                 w->value, w->limit);
    }
    h->stats.events++;
    offer(h);
    return true;
}

struct watch health_watch_new(const struct calibration *c, unsigned span)
{
    unsigned k = c != NULL ? c->k : 4, n = (c != NULL ? c->n : 5) * span;
    return (struct watch){.confirm = {.k = k, .n = n < DRIFT_CONFIRM_MAX ? n : DRIFT_CONFIRM_MAX}};
}

void health_watch(struct health *h, struct device *d, struct watch *w, const char *event, const char *subject,
                  bool beyond)
{
    (void)drift_confirm_add(&w->confirm, beyond);
    if (w->confirm.raised && !w->told) {
        w->told = tell(h, d, w, event, "", subject);
    } else if (!w->confirm.raised && w->told) {
        w->told = !tell(h, d, w, event, "-ended", subject);
    }
}

void health_watch_end(struct health *h, struct device *d, struct watch *w, const char *event, const char *subject)
{
    if (w->told) {
        (void)tell(h, d, w, event, "-ended", subject);
    }
    w->confirm.beyond = 0;
    w->confirm.raised = w->told = false;
}

/* ---- devices ---- */
static const struct calibration *calibration_for(const struct health *h, const char *id, uint64_t model)
{
    for (size_t i = 0; i < h->options.count && model != 0; i++) {
        if (h->calibrations[i].calibration->model == model) {
            return h->calibrations[i].calibration;
        }
    }
    for (size_t i = 0; i < h->options.count && model == 0; i++) { /* it has not said what it runs: by its name */
        const char *pattern = h->calibrations[i].devices;
        if (pattern != NULL && pattern[0] != '\0' && rule_glob(pattern, id)) {
            return h->calibrations[i].calibration;
        }
    }
    return NULL;
}

static size_t bytes_of(const struct calibration *c)
{
    if (c == NULL) {
        return 0;
    }
    return c->channels * sizeof(struct channel) + features_bytes(&c->features) + 16 +
           (c->of != CALIBRATION_NONE ? sizeof(struct drift_window) : 0);
}

static void calibrated_free(struct health *h, struct device *d)
{
    h->stats.bytes -= bytes_of(d->calibration);
    d->bytes -= bytes_of(d->calibration);
    free(d->channels);
    free(d->features_memory);
    free(d->window);
    d->channels = NULL;
    d->features_memory = NULL;
    d->features = NULL;
    d->window = NULL;
    d->calibration = NULL;
    d->set = 0;
}

static void device_free(struct health *h, struct device *d)
{
    calibrated_free(h, d);
    h->stats.bytes -= d->bytes;
    free(d);
}

static void end_all(struct health *h, struct device *d)
{
    for (unsigned i = 0; d->channels != NULL && i < d->calibration->channels; i++) {
        char subject[CALIBRATION_NAME_MAX + 16];
        snprintf(subject, sizeof(subject), "channel=%s", d->calibration->channel[i]);
        health_watch_end(h, d, &d->channels[i].fault, "sensor-fault", subject);
        char moved[MOVED_SUBJECT_MAX];
        health_moved_subject(d->calibration, i, moved);
        health_watch_end(h, d, &d->channels[i].moved, "data-drift", moved);
    }
    health_watch_end(h, d, &d->inputs, "data-drift", "of=inputs");
    health_watch_end(h, d, &d->scores, "data-drift", "of=scores");
    health_watch_end(h, d, &d->concept, "concept-drift", "");
    health_watch_end(h, d, &d->cohort, "cohort-outlier", "");
}

static void begin(struct device *d, const struct calibration *c)
{
    d->inputs = health_watch_new(c, 1);
    d->scores = health_watch_new(c, 1);
    d->concept = health_watch_new(c, 1);
    d->cohort = (struct watch){.confirm = {.k = COHORT_TICKS, .n = COHORT_TICKS}};
    d->page =
        (struct drift_page_hinkley){.delta = c != NULL ? c->page_delta : 0.05, .limit = c != NULL ? c->page_limit : 20};
    drift_adwin_init(&d->adwin, c != NULL ? c->adwin : 1e-5);
    drift_rates_init(&d->rates, DRIFT_KINDS_MAX, c != NULL ? c->rates : DRIFT_RATES_LIMIT);
    d->kind = DRIFT_KINDS_MAX;
    d->rate = d->kind_rate = (struct drift_ewma){.lambda = DISAGREEMENT_LAMBDA};
    memset(d->level_off, 0, sizeof(d->level_off));
    d->spe = (struct drift_ewma){.lambda = c != NULL ? c->lambda : 0.1};
    d->score = (struct drift_ewma){.lambda = c != NULL ? c->score_lambda : 0.05};
    d->level = INFINITY;
    d->asked = d->differed = d->scores_seen = 0;
    d->recent_at = d->recent_filled = 0;
    d->inputs_us = d->scores_us = d->disagreement_us = -1;
    d->outcome_channel = CHANNEL_NONE;
    health_forget_sketches(d);
    d->dirty = true;
}

/* What is known of a device that has sent nothing for long makes room for one that does: devices are replaced, and a name is
 * easily made up. */
static void forget(struct health *h, struct device *d)
{
    struct device **at = &h->first;
    end_all(h, d);
    while (*at != d) {
        at = &(*at)->next;
    }
    *at = d->next;
    h->end = h->end == &d->next ? at : h->end;
    h->dirty_at = h->dirty_at == d ? d->next : h->dirty_at;
    HASH_DEL(h->by_id, d);
    h->stats.devices--;
    device_free(h, d);
}

/* keep: not this one. */
static bool make_room(struct health *h, const struct device *keep, size_t bytes)
{
    while (h->stats.bytes + bytes > h->options.memory_bytes) {
        struct device *oldest = NULL;
        for (struct device *d = h->first; d != NULL; d = d->next) {
            oldest = d != keep && (oldest == NULL || d->seen_us < oldest->seen_us) ? d : oldest;
        }
        if (oldest == NULL || h->now_us - oldest->seen_us <= h->options.stale_us) {
            return false;
        }
        forget(h, oldest);
    }
    return true;
}

static enum err calibrate(struct health *h, struct device *d, const struct calibration *c)
{
    size_t bytes = bytes_of(c);
    if (c == NULL) {
        return OK;
    }
    if (!make_room(h, d, bytes)) {
        return ERR_FULL;
    }
    d->channels = calloc(c->channels, sizeof(*d->channels));
    d->features_memory = aligned_alloc(16, (features_bytes(&c->features) + 15) / 16 * 16);
    d->window = c->of != CALIBRATION_NONE ? calloc(1, sizeof(*d->window)) : NULL;
    d->calibration = c;
    d->bytes += bytes;
    h->stats.bytes += bytes;
    enum err err =
        d->channels != NULL && d->features_memory != NULL && (c->of == CALIBRATION_NONE || d->window != NULL)
            ? features_init(&c->features, d->features_memory, features_bytes(&c->features), &d->features, NULL)
            : ERR_NOMEM;
    err = err == OK && d->window != NULL ? drift_window_init(d->window, c->score_window) : err;
    for (unsigned i = 0; err == OK && i < c->channels; i++) {
        d->channels[i] = (struct channel){
            .sensor = c->sensor[i], .fault = health_watch_new(c, SENSOR_SPAN), .moved = health_watch_new(c, 1)};
    }
    if (err != OK) {
        calibrated_free(h, d);
    }
    return err;
}

enum err health_set_model(struct health *h, struct device *d, uint64_t model)
{
    if (model == 0 || model == d->model) {
        return OK;
    }
    const struct calibration *c = calibration_for(h, d->id, model);
    if (c != NULL && c == d->calibration && d->model == 0) {
        d->model = model; /* what was taken by its name was right */
        return OK;
    }
    end_all(h, d);
    d->model = model;
    return health_begin_anew(h, d, c);
}

enum err health_begin_anew(struct health *h, struct device *d, const struct calibration *c)
{
    calibrated_free(h, d);
    enum err err = calibrate(h, d, c);
    begin(d, d->calibration);
    return err;
}

/* Linear counting (Whang et al., TODS 1990). */
static void leave_out(struct health *h, const char *id)
{
    uint64_t hash = 0;
    for (const char *c = id; *c != '\0'; c++) {
        hash = mix_u64(hash + (unsigned char)*c);
    }
    h->left_out[hash % LEFT_OUT_BITS / 8] |= (uint8_t)(1U << hash % 8);
    h->stats.left_out++;
}

struct device *health_device(struct health *h, const char *id)
{
    struct device *d = NULL;
    HASH_FIND_STR(h->by_id, id, d);
    if (d != NULL) {
        d->seen_us = h->now_us;
        return d;
    }
    if (!make_room(h, NULL, sizeof(*d)) || (d = calloc(1, sizeof(*d))) == NULL) {
        leave_out(h, id);
        return NULL;
    }
    snprintf(d->id, sizeof(d->id), "%s", id);
    d->bytes = sizeof(*d);
    d->seen_us = h->now_us;
    h->stats.bytes += sizeof(*d);
    if (calibrate(h, d, calibration_for(h, id, 0)) != OK) {
        leave_out(h, id);
        device_free(h, d);
        return NULL;
    }
    begin(d, d->calibration);
    HASH_ADD_STR(h->by_id, id, d);
    if (d->lost) {
        device_free(h, d);
        return NULL;
    }
    *h->end = d;
    h->end = &d->next;
    h->stats.devices++;
    return d;
}

/* ---- records ---- */
enum { FIELD_BLOCK = 10, FIELD_DESCRIBE = 15, FIELD_CURATED = 16, FIELD_INFERENCE = 17 };

/* The record's kind without unpacking it: most records are of no interest here. 0: none that is known. */
static unsigned kind_of(struct slice record)
{
    struct cursor c = cursor_of(record);
    while (!c.failed && cursor_left(&c) > 0) {
        uint64_t tag = cursor_varint(&c);
        if ((tag & 7) == 2 && tag >> 3 >= FIELD_BLOCK) {
            return (unsigned)min_u64(tag >> 3, 1000);
        }
        if ((tag & 7) != 0) {
            return 0;
        }
        (void)cursor_varint(&c);
    }
    return 0;
}

void health_record(struct health *h, const struct wire_forward *forward, int64_t now_us)
{
    Weir__V1__Record *record = NULL;
    unsigned kind = kind_of(forward->record);
    h->stats.records++;
    h->now_us = now_us;
    if (kind != FIELD_DESCRIBE && kind != FIELD_BLOCK && kind != FIELD_CURATED && kind != FIELD_INFERENCE) {
        return;
    }
    struct device *d = health_device(h, forward->device);
    struct slice describe;
    bool describes = kind == FIELD_DESCRIBE || (kind == FIELD_CURATED && wire_record_describe(forward->record, &describe));
    if (d == NULL || (d->calibration == NULL && kind != FIELD_INFERENCE && !describes)) {
        return;
    }
    arena_reset(&h->arena);
    if (wire_record_unpack(forward->record, &h->arena, &record) != OK) {
        h->stats.unreadable++;
        return;
    }
    d->dirty = true;
    if (record->kind_case == WEIR__V1__RECORD__KIND_DESCRIBE) {
        health_describe(h, d, record->describe);
    } else if (record->kind_case == WEIR__V1__RECORD__KIND_BLOCK) {
        h->stats.blocks++;
        health_block(h, d, record->block, now_us);
    } else if (record->kind_case == WEIR__V1__RECORD__KIND_CURATED) {
        if (record->curated->describe != NULL) { /* what rules below made of it: holds before the windows are read */
            health_describe(h, d, record->curated->describe);
        }
        health_curated(h, d, record->curated, now_us);
    } else if (record->kind_case == WEIR__V1__RECORD__KIND_INFERENCE) {
        h->stats.inferences++;
        health_inference(h, d, record->inference, now_us);
    }
}

void health_tick(struct health *h, int64_t now_us)
{
    (void)now_us;
    health_cohorts(h);
    offer(h);
}

void health_stats(const struct health *h, struct health_stats *ret_stats)
{
    unsigned set = 0;
    *ret_stats = h->stats;
    for (size_t i = 0; i < sizeof(h->left_out); i++) {
        set += (unsigned)__builtin_popcount(h->left_out[i]);
    }
    double free_share = set < LEFT_OUT_BITS ? 1 - (double)set / LEFT_OUT_BITS : 0.5 / LEFT_OUT_BITS;
    ret_stats->left_out_devices = (uint64_t)llround(-LEFT_OUT_BITS * log(free_share));
}

/* ---- life ---- */
static void take_options(struct health *h, const struct health_options *options)
{
    h->options.memory_bytes = options->memory_bytes != 0 ? options->memory_bytes : MEMORY_PRESET;
    h->options.stale_us = options->stale_us != 0 ? options->stale_us : HOUR_US;
    h->options.count = options->count;
    if (options->count > 0) {
        memcpy(h->calibrations, options->calibrations, options->count * sizeof(*options->calibrations));
    }
}

enum err health_new(const struct health_options *options, struct health **ret_health)
{
    if (options->count > HEALTH_CALIBRATIONS_MAX) {
        return ERR_RANGE;
    }
    CLEANUP(health_freep) struct health *h = calloc(1, sizeof(*h));
    if (h == NULL) {
        return ERR_NOMEM;
    }
    h->options = *options;
    h->end = &h->first;
    take_options(h, options);
    h->values = calloc((size_t)BLOCK_CHANNELS_MAX * BLOCK_SAMPLES_MAX, sizeof(*h->values));
    h->pending = calloc(PENDING_MAX, sizeof(*h->pending));
    if (h->values == NULL || h->pending == NULL) {
        return ERR_NOMEM;
    }
    TRY(arena_init(&h->arena, WIRE_ARENA_BYTES));
    *ret_health = take(h);
    return OK;
}

/* What the device's description said to another calibration, in so far as that one knew all that this one asks for: a
 * description comes seldom. */
static void keep_map(struct device *d, const struct calibration *before, uint32_t set, const uint8_t *map,
                     uint8_t outcome_channel)
{
    const struct calibration *c = d->calibration;
    if (c == NULL || before == NULL || set == 0 || c->of != before->of) {
        return;
    }
    for (unsigned i = 0; i < c->channels; i++) {
        unsigned k = 0;
        while (k < before->channels && strcmp(c->channel[i], before->channel[k]) != 0) {
            k++;
        }
        if (k == before->channels) {
            return;
        }
        d->map[i] = map[k];
    }
    d->set = set;
    d->outcome_channel = outcome_channel;
}

enum err health_set(struct health *h, const struct health_options *options)
{
    if (options->count > HEALTH_CALIBRATIONS_MAX) {
        return ERR_RANGE;
    }
    take_options(h, options);
    for (struct device *d = h->first; d != NULL; d = d->next) {
        const struct calibration *c = calibration_for(h, d->id, d->model), *before = d->calibration;
        uint32_t set = d->set;
        uint8_t outcome_channel = d->outcome_channel, map[CALIBRATION_CHANNELS_MAX];
        if (c == before) {
            continue;
        }
        memcpy(map, d->map, sizeof(map));
        end_all(h, d);
        if (health_begin_anew(h, d, c) != OK) {
            leave_out(h, d->id);
        }
        keep_map(d, before, set, map, outcome_channel);
    }
    return OK;
}

void health_free(struct health *h)
{
    if (h == NULL) {
        return;
    }
    HASH_CLEAR(hh, h->by_id);
    for (struct device *d = h->first, *next; d != NULL; d = next) {
        next = d->next;
        device_free(h, d);
    }
    arena_deinit(&h->arena);
    free(h->values);
    free(h->pending);
    free(h);
}
