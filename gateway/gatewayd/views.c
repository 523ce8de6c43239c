/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/gatewayd/views.h"

#include "core/log/log.h"
#include "core/seal/seal.h"
#include "proto/wire/wire.h"

enum { BULK = 1, NEARLY_FULL_PCT = 90 };

struct lane {
    uint64_t epoch, position;
    uint64_t tail; /* up to here only descriptions are told */
};
struct views {
    struct loop *loop;
    struct store *store;
    struct views_options options;
    struct lane lanes[INBOX_LANES];
    uint8_t lane; /* that is being read */
    unsigned left; /* of the turn */
    char seeded[ID_MAX + 1]; /* the last device whose description was told */
    bool seeding;
    struct buffer value, forward, describe;
    struct loop_task task;
    uint64_t missed, damaged;
};

/* ---- descriptions in the store ---- */
static bool on_seed(void *arg, struct slice key, struct slice value)
{
    struct views *v = arg;
    struct wire_forward forward;
    if (v->left == 0 || key.len > ID_MAX) {
        return v->left > 0;
    }
    v->left--;
    memcpy(v->seeded, key.ptr, key.len);
    v->seeded[key.len] = '\0';
    buffer_reset(&v->value);
    if (seal_open(v->options.aead, key, value, &v->value) != OK ||
        wire_forward_decode(buffer_slice(&v->value), &forward) != OK) {
        v->damaged++;
        return true;
    }
    publish_record(v->options.publish, &forward);
    publish_device_known(v->options.publish, forward.device);
    return true;
}

/* One turn's worth of the table. What cannot be read is as if there were none. */
static void seed(struct views *v)
{
    static const uint8_t lowest = 1;
    size_t len = strlen(v->seeded);
    /* Behind the last device told: its name and the zero at its end sort before every other name. */
    struct slice from = len > 0 ? slice_of(v->seeded, len + 1) : slice_of(&lowest, 1);
    v->left = VIEWS_TURN;
    enum err err = store_foreach(v->store, v->options.table, from, slice_of(NULL, 0), on_seed, v);
    v->seeding = err == OK && v->left == 0;
    if (err != OK) {
        log_warn("views: the devices' descriptions cannot be read; they come again with time", KV_ERR(err));
    }
}

/* Nothing is lost where there is no room: the next Describe comes. */
static void keep(struct views *v, const struct wire_forward *forward)
{
    struct store_usage usage;
    store_usage(v->store, &usage);
    struct store_batch *batch = NULL;
    if (usage.used_bytes < usage.cap_bytes / 100 * NEARLY_FULL_PCT) {
        batch = v->options.batch(v->options.arg);
    }
    buffer_reset(&v->forward);
    if (batch == NULL || wire_forward_encode(forward, &v->forward) != OK ||
        seal_put(batch, v->options.table, v->options.aead, slice_str(forward->device), buffer_slice(&v->forward)) !=
            OK) {
        log_debug("views: a description is kept later", KV_STR("device", forward->device));
    }
}

/* ---- records ---- */
/* The description in a record, as a record of its own: a Describe that came alone as it is. */
static bool description(struct views *v, const struct wire_forward *forward, struct wire_forward *ret_describe)
{
    enum { KEY_SCHEMA = 1 << 3, KEY_DESCRIBE = 15 << 3 | 2 };
    struct slice message;
    if (!wire_record_describe(forward->record, &message)) {
        return false;
    }
    buffer_reset(&v->describe);
    buffer_put_u8(&v->describe, KEY_SCHEMA);
    buffer_put_u8(&v->describe, WIRE_SCHEMA);
    buffer_put_u8(&v->describe, KEY_DESCRIBE);
    buffer_put_varint(&v->describe, message.len);
    buffer_put_slice(&v->describe, message);
    *ret_describe = *forward;
    ret_describe->record = buffer_slice(&v->describe);
    return buffer_err(&v->describe) == OK;
}

static bool on_entry(void *arg, const struct spool_entry *entry)
{
    struct views *v = arg;
    struct lane *lane = &v->lanes[v->lane];
    struct wire_forward forward;
    lane->position = entry->last;
    if (!entry->damaged && wire_forward_decode(entry->body, &forward) == OK) {
        struct wire_forward describe;
        bool describes = description(v, &forward, &describe);
        if (entry->last > lane->tail) {
            publish_record(v->options.publish, &forward);
        } else if (describes) {
            publish_record(v->options.publish, &describe);
        }
        if (describes && v->lane == BULK) { /* alarms have no values; captures are not told */
            keep(v, &describe);
        }
    }
    return --v->left > 0;
}

/* Where the spool stands may have changed: trimmed by its owner, or begun anew under another epoch. */
static bool has_more(struct views *v, unsigned i)
{
    struct spool *spool = v->options.spools[i];
    struct lane *lane = &v->lanes[i];
    if (spool_epoch(spool) != lane->epoch) {
        lane->epoch = spool_epoch(spool);
        lane->position = lane->tail = spool_durable(spool);
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
    struct views *v = arg;
    if (v->seeding) {
        seed(v);
        loop_task_post(&v->task);
        return;
    }
    v->left = VIEWS_TURN;
    for (v->lane = 0; v->lane < INBOX_LANES && v->left > 0; v->lane++) {
        if (!has_more(v, v->lane)) {
            continue;
        }
        enum err err = spool_read(v->options.spools[v->lane], v->lanes[v->lane].position + 1, on_entry, v);
        if (err != OK) {
            log_debug("views: records are read later", KV_ERR(err));
        }
    }
    if (v->left == 0) {
        loop_task_post(&v->task);
    }
}

/* ---- the public face ---- */
enum err views_new(struct loop *loop, struct store *store, const struct views_options *options,
                   struct views **ret_views)
{
    struct views *v = calloc(1, sizeof(*v));
    if (v == NULL) {
        return ERR_NOMEM;
    }
    v->loop = loop;
    v->store = store;
    v->options = *options;
    v->seeding = true;
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        struct lane *lane = &v->lanes[i];
        lane->epoch = spool_epoch(options->spools[i]);
        lane->tail = spool_durable(options->spools[i]);
        lane->position = lane->tail > VIEWS_TAIL ? lane->tail - VIEWS_TAIL : 0;
    }
    buffer_init(&v->value, SPOOL_BODY_MAX);
    buffer_init(&v->forward, SPOOL_BODY_MAX);
    buffer_init(&v->describe, WIRE_RECORD_MAX);
    loop_task_init(&v->task, loop, run, v);
    loop_task_post(&v->task);
    *ret_views = v;
    return OK;
}

void views_free(struct views *v)
{
    if (v == NULL) {
        return;
    }
    loop_task_cancel(&v->task);
    buffer_deinit(&v->value);
    buffer_deinit(&v->forward);
    buffer_deinit(&v->describe);
    free(v);
}

void views_kick(struct views *v)
{
    loop_task_post(&v->task);
}

void views_stats(const struct views *v, struct views_stats *ret_stats)
{
    *ret_stats = (struct views_stats){.missed = v->missed, .damaged = v->damaged};
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        uint64_t durable = spool_durable(v->options.spools[i]);
        ret_stats->behind += durable > v->lanes[i].position ? durable - v->lanes[i].position : 0;
    }
}
