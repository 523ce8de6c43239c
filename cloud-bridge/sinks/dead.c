/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entry of the lane:  version u8 | kind u8 | attempts u32le | time u64le | len u8, sink | len u8, reason | Forward
 * The table's key 0xfb has the count of those dropped:  count u64le | crc32c u32le.
 */
#include "cloud-bridge/sinks/dead.h"

#include <stdio.h>

#include "core/base/cursor.h"
#include "core/crypt/crypt.h"
#include "core/log/log.h"

enum { VERSION = 1, FILLER_BYTES = 64 * 1024, SPARE_BYTES = 4096, SINKS_MAX = 64, MAYBE_BITS = 1 << 16 };
enum kind { KIND_LETTER = 1, KIND_GONE, KIND_FILLER };
#define BODY_MAX ((size_t)SPOOL_BODY_MAX)

struct place { /* of a letter in the index */
    uint64_t id, hash;
    unsigned sink;
};
struct dead {
    struct loop *loop;
    struct store *store;
    struct dead_options options;
    struct spool *spool;
    char (*sinks)[ID_MAX + 1]; /* SINKS_MAX + 1; the last for all others */
    size_t sink_count;
    struct place *places; /* in order of id */
    size_t count, cap;
    uint64_t maybe[MAYBE_BITS / 64]; /* bits of the letters' hashes, of those gone as well */
    uint64_t dropped, filler; /* filler: its id, 0 = gone */
    uint64_t dropped_before;  /* this was opened */
    /* the operation under way */
    bool busy, freed_room;
    const char *sink;
    const struct sink_batch *batch;
    const struct dead_letter *again;
    struct place fresh[SINK_REFUSALS_MAX];
    size_t fresh_count;
    uint64_t remove_id, gone_upto, new_filler, last;
    void (*done)(void *arg, enum err result);
    void *arg;
};
static const uint8_t dropped_key[] = {0xfb};

/* ---- entries ---- */
static uint64_t hash_of(const char *sink, const struct wire_forward *f)
{
    uint64_t h = crypt_crc32c(0, sink, strlen(sink));
    h = mix_u64(h << 32 | crypt_crc32c(0, f->device, strlen(f->device)));
    return mix_u64(mix_u64(h ^ f->epoch) ^ f->first) ^ f->last;
}

static bool is_same(const struct dead_letter *letter, const char *sink, const struct wire_forward *f)
{
    return strcmp(letter->sink, sink) == 0 && strcmp(letter->forward.device, f->device) == 0 &&
           letter->forward.epoch == f->epoch && letter->forward.first == f->first && letter->forward.last == f->last;
}

static enum err encode(const struct dead_letter *letter, struct buffer *out)
{
    buffer_put_u8(out, VERSION);
    buffer_put_u8(out, KIND_LETTER);
    buffer_put_u32le(out, letter->attempts);
    buffer_put_u64le(out, letter->time_us);
    buffer_put_u8(out, (uint8_t)strlen(letter->sink));
    buffer_put_str(out, letter->sink);
    buffer_put_u8(out, (uint8_t)strlen(letter->reason));
    buffer_put_str(out, letter->reason);
    TRY(wire_forward_encode(&letter->forward, out));
    return buffer_err(out);
}

static void copy_text(struct cursor *c, char *out, size_t size)
{
    struct slice text = cursor_bytes(c, cursor_u8(c));
    snprintf(out, size, "%.*s", (int)text.len, text.ptr ? (const char *)text.ptr : "");
}

/* False: not a letter (removed, filler, damaged, of a later version). */
static bool decode(const struct spool_entry *entry, struct dead_letter *ret)
{
    struct cursor c = cursor_of(entry->body);
    if (entry->damaged || cursor_u8(&c) != VERSION || cursor_u8(&c) != KIND_LETTER) {
        return false;
    }
    ret->id = entry->last;
    ret->attempts = cursor_u32le(&c);
    ret->time_us = cursor_u64le(&c);
    copy_text(&c, ret->sink, sizeof(ret->sink));
    copy_text(&c, ret->reason, sizeof(ret->reason));
    return cursor_err(&c) == OK && wire_forward_decode(slice_of(c.at, cursor_left(&c)), &ret->forward) == OK;
}

/* ---- index ---- */
static unsigned sink_index(struct dead *d, const char *name)
{
    for (unsigned i = 0; i < d->sink_count; i++) {
        if (strcmp(d->sinks[i], name) == 0) {
            return i;
        }
    }
    if (d->sink_count == SINKS_MAX) {
        return SINKS_MAX;
    }
    snprintf(d->sinks[d->sink_count], ID_MAX + 1, "%s", name);
    return (unsigned)d->sink_count++;
}

static void note_hash(struct dead *d, uint64_t hash)
{
    d->maybe[hash % MAYBE_BITS / 64] |= UINT64_C(1) << hash % 64;
}

static enum err reserve(struct dead *d, size_t more)
{
    if (d->count + more > d->cap) {
        size_t cap = d->cap * 2 > d->count + more ? d->cap * 2 : d->count + more + 64;
        struct place *places = realloc(d->places, cap * sizeof(*places));
        if (places == NULL) {
            return ERR_NOMEM;
        }
        d->places = places;
        d->cap = cap;
    }
    return OK;
}

static struct place *find(const struct dead *d, uint64_t id)
{
    size_t low = 0, high = d->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (d->places[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < d->count && d->places[low].id == id ? &d->places[low] : NULL;
}

static void forget_upto(struct dead *d, uint64_t upto)
{
    size_t gone = 0;
    while (gone < d->count && d->places[gone].id <= upto) {
        gone++;
    }
    memmove(d->places, d->places + gone, (d->count - gone) * sizeof(*d->places));
    d->count -= gone;
}

struct loading {
    struct dead *dead;
    enum err err;
};

static bool load_entry(void *arg, const struct spool_entry *entry)
{
    struct loading *loading = arg;
    struct dead *d = loading->dead;
    struct dead_letter letter;
    if (entry->damaged) {
        log_error("a dead letter is damaged", KV_U64("id", entry->first));
    }
    if (!entry->damaged && entry->body.len > FILLER_BYTES && entry->body.ptr[1] == KIND_FILLER) {
        d->filler = entry->last;
    }
    if (!decode(entry, &letter)) {
        return true;
    }
    loading->err = reserve(d, 1);
    if (loading->err == OK) {
        note_hash(d, hash_of(letter.sink, &letter.forward));
        d->places[d->count++] = (struct place){
            .id = letter.id, .hash = hash_of(letter.sink, &letter.forward), .sink = sink_index(d, letter.sink)};
    }
    return loading->err == OK;
}

static enum err load_dropped(struct dead *d)
{
    BUFFER(value, 64);
    enum err err = store_get(d->store, d->options.table, slice_of(dropped_key, sizeof(dropped_key)), &value);
    struct cursor c = cursor_of(buffer_slice(&value));
    uint64_t dropped = cursor_u64le(&c);
    if (err == OK && cursor_u32le(&c) == crypt_crc32c(0, value.ptr, 8) && cursor_end(&c) == OK) {
        d->dropped = dropped;
    }
    return err == ERR_NOT_FOUND ? OK : err;
}

static enum err load(struct dead *d)
{
    struct loading loading = {.dead = d};
    if (spool_epoch(d->spool) == 0) {
        return OK;
    }
    TRY(load_dropped(d));
    TRY(spool_read(d->spool, spool_trimmed(d->spool) + 1, load_entry, &loading));
    return loading.err;
}

/* ---- life ---- */
enum err dead_open(struct loop *loop, struct store *store, const struct dead_options *options, struct dead **ret_dead,
                   struct fault *reterr)
{
    CLEANUP(dead_freep) struct dead *d = calloc(1, sizeof(*d));
    struct spool_options spool = {.table = options->table,
                                  .meta_table = options->meta_table,
                                  .lane = DEAD_LANE,
                                  .aead = options->aead};
    if (d == NULL || (d->sinks = calloc(SINKS_MAX + 1, sizeof(*d->sinks))) == NULL) {
        return fault_set(reterr, ERR_NOMEM, "out of memory");
    }
    d->loop = loop;
    d->store = store;
    d->options = *options;
    TRY(spool_open(loop, store, &spool, &d->spool, reterr));
    enum err err = load(d);
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
    BUFFER(body, FILLER_BYTES + 2);
    buffer_put_u8(&body, VERSION);
    buffer_put_u8(&body, KIND_FILLER);
    uint8_t *rest = buffer_extend(&body, FILLER_BYTES);
    TRY(buffer_err(&body));
    memset(rest, 0, FILLER_BYTES);
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

bool dead_is_idle(const struct dead *d)
{
    return !d->busy;
}

/* ---- keeping ---- */
bool dead_has(struct dead *d, const char *sink, const struct wire_forward *f)
{
    uint64_t hash = hash_of(sink, f);
    if ((d->maybe[hash % MAYBE_BITS / 64] >> hash % 64 & 1) == 0) {
        return false;
    }
    for (size_t i = d->count; i-- > 0;) {
        if (d->places[i].hash == hash) {
            struct dead_letter letter;
            BUFFER(bytes, BODY_MAX);
            if (dead_get(d, d->places[i].id, &bytes, &letter) == OK && is_same(&letter, sink, f)) {
                return true;
            }
        }
    }
    return false;
}

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
    return store_put(batch, d->options.table, slice_of(dropped_key, sizeof(dropped_key)), buffer_slice(&value));
}

static enum err append(struct dead *d, struct store_batch *batch, const struct dead_letter *letter)
{
    BUFFER(body, BODY_MAX);
    TRY(encode(letter, &body));
    struct place *place = &d->fresh[d->fresh_count];
    TRY(spool_append(d->spool, batch, 1, buffer_slice(&body), &place->id));
    place->hash = hash_of(letter->sink, &letter->forward);
    place->sink = sink_index(d, letter->sink);
    note_hash(d, place->hash);
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
    TRY(reserve(d, d->batch->refusals->count));
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
    forget_upto(d, d->gone_upto);
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
    struct place *place = find(d, id);
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
    const uint8_t gone[] = {VERSION, KIND_GONE};
    return spool_replace(d->spool, batch, d->remove_id, d->remove_id, slice_of(gone, sizeof(gone)));
}

static enum err take_out(struct dead *d)
{
    CLEANUP(store_batch_freep) struct store_batch *batch = NULL;
    TRY(reserve(d, 1));
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
    if (find(d, id) == NULL) {
        return ERR_NOT_FOUND;
    }
    TRY(begin(d, done, arg));
    d->remove_id = id;
    return take_back(d, take_out(d));
}

enum err dead_refused_again(struct dead *d, uint64_t id, const char *reason,
                            void (*done)(void *arg, enum err result), void *arg)
{
    struct dead_letter letter;
    BUFFER(bytes, BODY_MAX);
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

/* ---- reading ---- */
struct visit {
    bool (*fn)(void *arg, const struct dead_letter *letter);
    void *arg;
};

static bool visit_entry(void *arg, const struct spool_entry *entry)
{
    struct visit *visit = arg;
    struct dead_letter letter;
    return !decode(entry, &letter) || visit->fn(visit->arg, &letter);
}

enum err dead_foreach(struct dead *d, uint64_t from, bool (*fn)(void *arg, const struct dead_letter *letter), void *arg)
{
    struct visit visit = {.fn = fn, .arg = arg};
    return spool_read(d->spool, max_u64(from, spool_trimmed(d->spool) + 1), visit_entry, &visit);
}

struct wanted {
    uint64_t id;
    struct buffer *bytes;
    struct dead_letter *letter;
    enum err err;
};

static bool copy_wanted(void *arg, const struct dead_letter *letter)
{
    struct wanted *w = arg;
    if (letter->id == w->id) {
        *w->letter = *letter;
        buffer_reset(w->bytes);
        buffer_put_slice(w->bytes, letter->forward.record);
        w->letter->forward.record = buffer_slice(w->bytes);
        w->err = buffer_err(w->bytes);
    }
    return false;
}

enum err dead_get(struct dead *d, uint64_t id, struct buffer *bytes, struct dead_letter *ret_letter)
{
    struct wanted wanted = {.id = id, .bytes = bytes, .letter = ret_letter, .err = ERR_NOT_FOUND};
    if (find(d, id) == NULL) {
        return ERR_NOT_FOUND;
    }
    TRY(dead_foreach(d, id, copy_wanted, &wanted));
    return wanted.err;
}

uint64_t dead_count(const struct dead *d, const char *sink)
{
    uint64_t count = 0;
    for (size_t i = 0; i < d->count; i++) {
        count += sink == NULL || strcmp(d->sinks[d->places[i].sink], sink) == 0;
    }
    return count;
}

uint64_t dead_dropped(const struct dead *d)
{
    return d->dropped;
}

uint64_t dead_dropped_lately(const struct dead *d)
{
    return d->dropped - d->dropped_before;
}
