/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/gatewayd/vitals.h"

#include "core/base/json.h"
#include "core/log/log.h"
#include "core/seal/seal.h"
#include "gateway/publish/publish.h"
#include "proto/wire/wire.h"

enum { NEARLY_FULL_PCT = 90, TICK_US = 60000000, TURN_US = 5000 };

enum { LAST_SLOTS = 4 * VITALS_TAIL }; /* at most half of them are taken */
struct lane {
    uint64_t epoch, position;
    uint64_t from, tail; /* between them only descriptions are told, the last of each device */
    bool looking;        /* which that is */
};
struct last { /* description of a device in a lane */
    uint64_t key, number;
};
struct vitals {
    struct loop *loop;
    struct store *store;
    struct vitals_options options;
    struct health *health; /* owned */
    struct lane lanes[INBOX_LANES];
    uint8_t lane;              /* that is being read */
    unsigned left;             /* of the turn */
    int64_t began_us;          /* the turn */
    char restored[ID_MAX + 1]; /* the last device whose state was read */
    bool restoring;
    struct last *last; /* owned; LAST_SLOTS, while it is looked back */
    struct buffer value;
    struct loop_task task;
    struct loop_timer tick;
    uint64_t missed, damaged;
};

/* ---- events ---- */
static bool on_event(void *arg, const struct health_event *event)
{
    struct vitals *v = arg;
    enum err err = v->options.note(v->options.arg, event->id, event->text);
    if (err != OK) {
        log_debug("an event waits", KV_STR("event", event->id), KV_ERR(err));
        return false;
    }
    log_warn("health", KV_STR("event", event->id), KV_STR("device", event->device), KV_STR("text", event->text));
    return true;
}

/* ---- states ---- */
static bool on_state(void *arg, struct slice key, struct slice value)
{
    struct vitals *v = arg;
    if (v->left == 0 || key.len > ID_MAX) {
        return v->left > 0;
    }
    v->left--;
    memcpy(v->restored, key.ptr, key.len);
    v->restored[key.len] = '\0';
    buffer_reset(&v->value);
    if (seal_open(v->options.aead, key, value, &v->value) != OK ||
        health_restore(v->health, v->restored, buffer_slice(&v->value), loop_now_us(v->loop)) != OK) {
        v->damaged++; /* or of another calibration: it begins anew */
    }
    return true;
}

static void restore(struct vitals *v)
{
    static const uint8_t lowest = 1;
    size_t len = strlen(v->restored);
    /* Behind the last device: its name and the zero at its end sort before every other name. */
    struct slice from = len > 0 ? slice_of(v->restored, len + 1) : slice_of(&lowest, 1);
    v->left = VITALS_TURN;
    enum err err = store_foreach(v->store, v->options.table, from, slice_of(NULL, 0), on_state, v);
    v->restoring = err == OK && v->left == 0;
    if (err != OK) {
        log_warn("health: the devices' states cannot be read; they are gathered anew", KV_ERR(err));
    }
}

/* Nothing is lost where there is no room: the next minute comes. */
static bool has_room(const struct vitals *v)
{
    struct store_usage usage;
    store_usage(v->store, &usage);
    return usage.used_bytes < usage.cap_bytes / 100 * NEARLY_FULL_PCT;
}

static void put_state(struct vitals *v, const char *device)
{
    struct store_batch *batch = v->options.batch(v->options.arg);
    if (batch == NULL || buffer_err(&v->value) != OK ||
        seal_put(batch, v->options.table, v->options.aead, slice_str(device), buffer_slice(&v->value)) != OK) {
        log_debug("health: a state is kept later", KV_STR("device", device));
    }
    buffer_reset(&v->value);
}

static void save(struct vitals *v)
{
    const char *device = NULL;
    buffer_reset(&v->value);
    for (unsigned i = 0; i < VITALS_SAVED && has_room(v) && health_dirty(v->health, &device, &v->value); i++) {
        put_state(v, device);
    }
}

/*
 * A description comes once, and the spool lets go of it when the parent has it: it must be durable here before that.
 * The spool is trimmed by a later commit than the one that this goes into.
 */
static void save_described(struct vitals *v, const char *device)
{
    buffer_reset(&v->value);
    if (has_room(v) && health_state(v->health, device, &v->value)) {
        put_state(v, device);
    }
}

static void on_tick(void *arg)
{
    struct vitals *v = arg;
    health_tick(v->health, loop_now_us(v->loop));
    if (!v->restoring) {
        save(v);
    }
    loop_timer_in(&v->tick, TICK_US);
}

/* ---- looking back ---- */
/* A device may have had another model or other channels before: to be told of those again would end and begin anew all
 * that is known of it. So first it is looked which of its descriptions is the last. */
static struct last *last_of(struct vitals *v, const char *device)
{
    uint64_t key = mix_u64(v->lane + 1);
    for (const char *c = device; *c != '\0'; c++) {
        key = mix_u64(key + (unsigned char)*c);
    }
    key += key == 0;
    for (size_t i = 0; v->last != NULL && i < LAST_SLOTS; i++) {
        struct last *l = &v->last[(key + i) % LAST_SLOTS];
        if (l->key == key || l->key == 0) {
            l->key = key;
            return l;
        }
    }
    return NULL; /* no memory: each of them is told */
}

static void look_back(struct vitals *v, struct lane *lane)
{
    lane->from = lane->position = lane->tail > VITALS_TAIL ? lane->tail - VITALS_TAIL : 0;
    lane->looking = true;
    if (v->last == NULL) {
        v->last = calloc(LAST_SLOTS, sizeof(*v->last));
    }
}

static void end_looking_back(struct vitals *v)
{
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        if (v->lanes[i].looking || v->lanes[i].position < v->lanes[i].tail) {
            return;
        }
    }
    free(take(v->last));
}

/* ---- records ---- */
/* A block of many channels and samples takes milliseconds, and a device may send a thousand of them in one frame: a turn ends with
 * its time as well, so that nothing waits for it. */
static bool goes_on(struct vitals *v)
{
    v->left--;
    v->left = loop_fresh_now_us(v->loop) - v->began_us < TURN_US ? v->left : 0;
    return v->left > 0;
}

static bool on_entry(void *arg, const struct spool_entry *entry)
{
    struct vitals *v = arg;
    struct lane *lane = &v->lanes[v->lane];
    struct wire_forward forward;
    struct slice describe;
    bool old = entry->last <= lane->tail;
    if (lane->looking && !old) {
        return false;
    }
    lane->position = entry->last;
    if (entry->damaged || wire_forward_decode(entry->body, &forward) != OK) {
        return goes_on(v);
    }
    bool describes = wire_record_describe(forward.record, &describe);
    struct last *last = old && describes ? last_of(v, forward.device) : NULL;
    if (lane->looking) {
        if (last != NULL) {
            last->number = entry->last;
        }
        return goes_on(v);
    }
    if (!old || (describes && (last == NULL || last->number <= entry->last))) {
        health_record(v->health, &forward, loop_now_us(v->loop));
    }
    if (!old && describes) {
        save_described(v, forward.device);
    }
    return goes_on(v);
}

/* Where the spool stands may have changed: trimmed by its owner, or begun anew under another epoch. */
static bool has_more(struct vitals *v, unsigned i)
{
    struct spool *spool = v->options.spools[i];
    struct lane *lane = &v->lanes[i];
    if (spool_epoch(spool) != lane->epoch) {
        lane->epoch = spool_epoch(spool);
        lane->position = lane->tail = spool_durable(spool);
        lane->looking = false;
    }
    if (lane->looking && lane->position >= lane->tail) {
        lane->looking = false;
        lane->position = lane->from;
    }
    uint64_t trimmed = spool_trimmed(spool), told = max_u64(lane->position, lane->tail);
    if (lane->position < trimmed) {
        v->missed += trimmed > told ? trimmed - told : 0;
        lane->position = trimmed;
    }
    return lane->position < spool_durable(spool);
}

static void run(void *arg)
{
    struct vitals *v = arg;
    if (v->restoring) {
        restore(v);
        loop_task_post(&v->task);
        return;
    }
    bool failed = false;
    v->left = VITALS_TURN;
    v->began_us = loop_fresh_now_us(v->loop);
    for (v->lane = 0; v->lane < INBOX_LANES && v->left > 0; v->lane++) {
        if (!has_more(v, v->lane)) {
            continue;
        }
        enum err err = spool_read(v->options.spools[v->lane], v->lanes[v->lane].position + 1, on_entry, v);
        if (err != OK) {
            failed = true;
            log_debug("health: records are read later", KV_ERR(err));
        }
    }
    bool more = v->left == 0;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        more |= v->lanes[i].looking && !failed;
    }
    if (more) {
        loop_task_post(&v->task);
    } else {
        end_looking_back(v);
    }
}

/* ---- the public face ---- */
enum err vitals_new(struct loop *loop, struct store *store, const struct vitals_options *options,
                    struct vitals **ret_vitals)
{
    struct vitals *v = calloc(1, sizeof(*v));
    if (v == NULL) {
        return ERR_NOMEM;
    }
    v->loop = loop;
    v->store = store;
    v->options = *options;
    v->restoring = true;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        struct lane *lane = &v->lanes[i];
        lane->epoch = spool_epoch(options->spools[i]);
        lane->tail = spool_durable(options->spools[i]);
        look_back(v, lane);
    }
    struct health_options health = *options->health;
    health.on_event = on_event;
    health.arg = v;
    enum err err = health_new(&health, &v->health);
    if (err != OK) {
        free(v->last);
        free(v);
        return err;
    }
    buffer_init(&v->value, SPOOL_BODY_MAX);
    loop_task_init(&v->task, loop, run, v);
    loop_timer_init(&v->tick, loop, on_tick, v);
    loop_timer_in(&v->tick, TICK_US);
    loop_task_post(&v->task);
    *ret_vitals = v;
    return OK;
}

enum err vitals_set(struct vitals *v, const struct health_options *health)
{
    TRY(health_set(v->health, health));
    for (unsigned i = 0; i < INBOX_LANES; i++) { /* descriptions again, for whom had no calibration before */
        struct lane *lane = &v->lanes[i];
        lane->tail = max_u64(lane->tail, lane->position);
        look_back(v, lane);
    }
    loop_task_post(&v->task);
    return OK;
}

void vitals_free(struct vitals *v)
{
    if (v == NULL) {
        return;
    }
    loop_task_cancel(&v->task);
    loop_timer_cancel(&v->tick);
    health_free(v->health);
    free(v->last);
    buffer_deinit(&v->value);
    free(v);
}

void vitals_kick(struct vitals *v)
{
    loop_task_post(&v->task);
}

void vitals_stats(const struct vitals *v, struct vitals_stats *ret_stats)
{
    *ret_stats = (struct vitals_stats){.missed = v->missed, .damaged = v->damaged};
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        uint64_t durable = spool_durable(v->options.spools[i]);
        ret_stats->behind += durable > v->lanes[i].position ? durable - v->lanes[i].position : 0;
    }
}

void vitals_json(const struct vitals *v, const char *device, struct buffer *out)
{
    struct json j;
    struct vitals_stats stats;
    vitals_stats(v, &stats);
    json_init(&j, out);
    json_object(&j, NULL);
    json_str(&j, "program", "gateway");
    json_object(&j, "feed");
    json_u64(&j, "behind", stats.behind);
    json_u64(&j, "missed", stats.missed);
    json_u64(&j, "damaged", stats.damaged);
    json_object_end(&j);
    buffer_put_str(out, ",\"health\":");
    health_json(v->health, device, loop_now_us(v->loop), out);
    json_object_end(&j);
}
