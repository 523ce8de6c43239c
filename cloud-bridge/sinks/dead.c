/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lane of the dead letters, and the one operation that may be under way in it:
 *
 *   dead_put, dead_remove, dead_refused_again --batch--> on_committed --> index, done
 */
#include "cloud-bridge/sinks/dead_internal.h"

#include <stdio.h>

#include "core/crypt/crypt.h"
#include "core/log/log.h"

enum { SPARE_BYTES = 4096 };

/* ---- life ---- */
enum err dead_open(struct loop *loop, struct store *store, const struct dead_options *options, struct dead **ret_dead,
                   struct fault *reterr)
{
    CLEANUP(dead_freep) struct dead *d = calloc(1, sizeof(*d));
    struct spool_options spool = {
        .table = options->table, .meta_table = options->meta_table, .lane = DEAD_LANE, .aead = options->aead};
    if (d == NULL || (d->sinks = calloc(DEAD_SINKS_MAX + 1, sizeof(*d->sinks))) == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    d->loop = loop;
    d->store = store;
    d->options = *options;
    TRY(spool_open(loop, store, &spool, &d->spool, reterr));
    enum err err = dead_load(d);
    if (err != OK) {
        return fault_set(reterr, err, "the dead letters cannot be read: %s", err_name(err));
    }
    d->dropped_before = d->dropped;
    *ret_dead = take(d);
    return OK;
}

void dead_free(struct dead *d)
{
    if (d == NULL) {
        return;
    }
    spool_free(d->spool);
    free(d->places);
    free(d->sinks);
    free(d);
}

static enum err append_filler(struct dead *d, struct store_batch *batch)
{
    BUFFER(body, DEAD_FILLER_BYTES + 2);
    buffer_put_u8(&body, DEAD_VERSION);
    buffer_put_u8(&body, DEAD_KIND_FILLER);
    uint8_t *rest = buffer_extend(&body, DEAD_FILLER_BYTES);
    TRY(buffer_err(&body));
    memset(rest, 0, DEAD_FILLER_BYTES);
    return spool_append(d->spool, batch, 1, buffer_slice(&body), &d->new_filler);
}

enum err dead_create(struct dead *d, struct store_batch *batch)
{
    if (spool_epoch(d->spool) != 0) {
        return OK;
    }
    TRY(spool_create(d->spool, batch));
    return append_filler(d, batch);
}

void dead_created(struct dead *d, enum err result)
{
    spool_settle(d->spool, spool_next(d->spool) - 1, result);
    d->filler = result == OK && d->new_filler != 0 ? d->new_filler : d->filler;
    d->new_filler = 0;
}

/* ---- keeping ---- */
/* Lets the oldest go until `bytes` are freed. */
static enum err drop_oldest(struct dead *d, struct store_batch *batch, uint64_t bytes)
{
    uint64_t first, last, letters = 0;
    TRY(spool_drop_oldest(d->spool, batch, bytes, UINT64_MAX, &first, &last));
    for (size_t i = 0; first <= last && i < d->count && d->places[i].id <= last; i++) {
        letters++;
    }
    if (first > last) {
        return OK;
    }
    d->gone_upto = last;
    if (letters == 0) {
        return OK;
    }
    BUFFER(value, 16);
    buffer_put_u64le(&value, d->dropped + letters);
    buffer_put_u32le(&value, crypt_crc32c(0, value.ptr, value.len));
    TRY(buffer_err(&value));
    return store_put(batch, d->options.table, DEAD_DROPPED_KEY, buffer_slice(&value));
}

static enum err append(struct dead *d, struct store_batch *batch, const struct dead_letter *letter)
{
    BUFFER(body, DEAD_BODY_MAX);
    TRY(dead_encode(letter, &body));
    struct dead_place *place = &d->fresh[d->fresh_count];
    TRY(spool_append(d->spool, batch, 1, buffer_slice(&body), &place->id));
    place->hash = dead_hash(letter->sink, &letter->forward);
    place->sink = dead_sink_index(d, letter->sink);
    dead_note_hash(d, place->hash);
    d->fresh_count++;
    return OK;
}

static enum err append_refused(struct dead *d, struct store_batch *batch, const struct sink_refusal *refusal)
{
    const struct wire_forward *f = &d->batch->items[refusal->index].forward;
    struct dead_letter letter = {.attempts = 1, .time_us = (uint64_t)loop_wall_us(d->loop), .forward = *f};
    if (dead_has(d, d->sink, f)) {
        return OK;
    }
    snprintf(letter.sink, sizeof(letter.sink), "%s", d->sink);
    snprintf(letter.reason, sizeof(letter.reason), "%s", refusal->reason);
    return append(d, batch, &letter);
}

static void on_committed(void *arg, enum err result);

static enum err commit(struct dead *d, struct store_batch *batch)
{
    d->last = spool_next(d->spool) - 1;
    return store_commit(d->store, batch, on_committed, d);
}

/* After a failure nothing of it is in the spool's memory either. */
static enum err take_back(struct dead *d, enum err err)
{
    if (err != OK) {
        spool_settle(d->spool, spool_next(d->spool) - 1, err);
        d->busy = false;
    }
    return err;
}

static enum err put(struct dead *d)
{
    CLEANUP(store_batch_freep) struct store_batch *batch = NULL;
    uint64_t needed = SPARE_BYTES;
    TRY(dead_reserve(d, d->batch->refusals->count));
    TRY(store_batch_new(d->store, &batch));
    d->fresh_count = 0;
    d->gone_upto = d->new_filler = 0;
    for (size_t i = 0; i < d->batch->refusals->count; i++) {
        needed += d->batch->items[d->batch->refusals->items[i].index].forward.record.len + 2 * SINK_REASON_MAX;
    }
    if (d->freed_room) {
        TRY(drop_oldest(d, batch, needed));
    } else if (spool_bytes(d->spool) + needed > d->options.max_bytes) {
        TRY(drop_oldest(d, batch, spool_bytes(d->spool) + needed - d->options.max_bytes));
    }
    for (size_t i = 0; i < d->batch->refusals->count; i++) {
        TRY(append_refused(d, batch, &d->batch->refusals->items[i]));
    }
    TRY(commit(d, batch));
    batch = NULL;
    return OK;
}

static void finish(struct dead *d, enum err result)
{
    d->busy = false;
    if (d->done != NULL) {
        d->done(d->arg, result);
    }
}

static void settle_put(struct dead *d)
{
    uint64_t before = d->count;
    dead_forget_upto(d, d->gone_upto);
    if (d->count < before) {
        d->dropped += before - d->count;
        log_error("the oldest dead letters had to go for newer ones", KV_U64("letters", before - d->count),
                  KV_U64("ever", d->dropped));
    }
    memcpy(d->places + d->count, d->fresh, d->fresh_count * sizeof(*d->fresh));
    d->count += d->fresh_count;
}

static void forget(struct dead *d, uint64_t id)
{
    struct dead_place *place = dead_find(d, id);
    size_t after = d->count - (size_t)(place - d->places) - 1;
    memmove(place, place + 1, after * sizeof(*place));
    d->count--;
}

static enum err take_out(struct dead *d);

static void settle_good(struct dead *d)
{
    if (d->filler <= d->gone_upto) {
        d->filler = 0;
    }
    if (d->new_filler != 0) {
        d->filler = d->new_filler;
    }
    if (d->batch != NULL) {
        settle_put(d);
    } else {
        forget(d, d->remove_id);
        memcpy(d->places + d->count, d->fresh, d->fresh_count * sizeof(*d->fresh));
        d->count += d->fresh_count;
    }
}

static void on_committed(void *arg, enum err result)
{
    struct dead *d = arg;
    spool_settle(d->spool, d->last, result);
    if (result == ERR_FULL && !d->freed_room) {
        d->freed_room = true;
        enum err err = take_back(d, d->batch != NULL ? put(d) : take_out(d));
        if (err != OK) {
            finish(d, err);
        }
        return;
    }
    if (result == OK) {
        settle_good(d);
    }
    finish(d, result);
}

static enum err begin(struct dead *d, void (*done)(void *arg, enum err result), void *arg)
{
    if (d->busy || spool_epoch(d->spool) == 0) {
        return ERR_AGAIN;
    }
    d->busy = true;
    d->freed_room = false;
    d->batch = NULL;
    d->again = NULL;
    d->done = done;
    d->arg = arg;
    return OK;
}

enum err dead_put(struct dead *d, const char *sink, const struct sink_batch *batch,
                  void (*done)(void *arg, enum err result), void *arg)
{
    TRY(begin(d, done, arg));
    d->sink = sink;
    d->batch = batch;
    return take_back(d, put(d));
}

/* ---- removing, changing ---- */
/* With the last letter all goes that stands before it, and a filler comes again; where the filler is gone, what stands
 * before the oldest goes with that. */
static enum err delete_letter(struct dead *d, struct store_batch *batch)
{
    if (d->count == 1 && d->again == NULL) {
        d->gone_upto = spool_durable(d->spool);
        TRY(spool_trim(d->spool, batch, d->gone_upto));
        return d->freed_room ? OK : append_filler(d, batch);
    }
    if (d->filler == 0 && d->places[0].id == d->remove_id && d->count > 1) {
        d->gone_upto = d->places[1].id - 1;
        return spool_trim(d->spool, batch, d->gone_upto);
    }
    const uint8_t gone[] = {DEAD_VERSION, DEAD_KIND_GONE};
    return spool_replace(d->spool, batch, d->remove_id, d->remove_id, slice_of(gone, sizeof(gone)));
}

static enum err take_out(struct dead *d)
{
    CLEANUP(store_batch_freep) struct store_batch *batch = NULL;
    TRY(dead_reserve(d, 1));
    TRY(store_batch_new(d->store, &batch));
    d->fresh_count = 0;
    d->gone_upto = d->new_filler = 0;
    TRY(delete_letter(d, batch));
    if (d->again != NULL) {
        TRY(append(d, batch, d->again));
    }
    TRY(commit(d, batch));
    batch = NULL;
    return OK;
}

enum err dead_remove(struct dead *d, uint64_t id, void (*done)(void *arg, enum err result), void *arg)
{
    if (dead_find(d, id) == NULL) {
        return ERR_NOT_FOUND;
    }
    TRY(begin(d, done, arg));
    d->remove_id = id;
    return take_back(d, take_out(d));
}

enum err dead_refused_again(struct dead *d, uint64_t id, const char *reason, void (*done)(void *arg, enum err result),
                            void *arg)
{
    struct dead_letter letter;
    BUFFER(bytes, DEAD_BODY_MAX);
    TRY(dead_get(d, id, &bytes, &letter));
    TRY(begin(d, done, arg));
    d->remove_id = id;
    d->again = &letter;
    d->freed_room = true; /* its bytes are not kept for a second try */
    letter.attempts++;
    snprintf(letter.reason, sizeof(letter.reason), "%s", reason);
    enum err err = take_back(d, take_out(d));
    d->again = NULL;
    return err;
}
