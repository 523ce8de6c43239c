/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A letter as bytes; which letters there are, in memory: in order of id, with the hash of the record each stands for,
 * and a bit for each hash that ever was, so that dead_has is cheap for records without one.
 */
#include "cloud-bridge/sinks/dead_internal.h"

#include <stdio.h>

#include "core/base/cursor.h"
#include "core/crypt/crypt.h"
#include "core/log/log.h"

/* ---- entries ---- */
uint64_t dead_hash(const char *sink, const struct wire_forward *f)
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

enum err dead_encode(const struct dead_letter *letter, struct buffer *out)
{
    buffer_put_u8(out, DEAD_VERSION);
    buffer_put_u8(out, DEAD_KIND_LETTER);
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
    if (entry->damaged || cursor_u8(&c) != DEAD_VERSION || cursor_u8(&c) != DEAD_KIND_LETTER) {
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
unsigned dead_sink_index(struct dead *d, const char *name)
{
    for (unsigned i = 0; i < d->sink_count; i++) {
        if (strcmp(d->sinks[i], name) == 0) {
            return i;
        }
    }
    if (d->sink_count == DEAD_SINKS_MAX) {
        return DEAD_SINKS_MAX;
    }
    snprintf(d->sinks[d->sink_count], ID_MAX + 1, "%s", name);
    return (unsigned)d->sink_count++;
}

void dead_note_hash(struct dead *d, uint64_t hash)
{
    d->maybe[hash % DEAD_MAYBE_BITS / 64] |= UINT64_C(1) << hash % 64;
}

enum err dead_reserve(struct dead *d, size_t more)
{
    if (d->count + more > d->cap) {
        size_t cap = d->cap * 2 > d->count + more ? d->cap * 2 : d->count + more + 64;
        struct dead_place *places = realloc(d->places, cap * sizeof(*places));
        if (places == NULL) {
            return ERR_NOMEM;
        }
        d->places = places;
        d->cap = cap;
    }
    return OK;
}

struct dead_place *dead_find(const struct dead *d, uint64_t id)
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

void dead_forget_upto(struct dead *d, uint64_t upto)
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
    if (!entry->damaged && entry->body.len > DEAD_FILLER_BYTES && entry->body.ptr[1] == DEAD_KIND_FILLER) {
        d->filler = entry->last;
    }
    if (!decode(entry, &letter)) {
        return true;
    }
    loading->err = dead_reserve(d, 1);
    if (loading->err == OK) {
        dead_note_hash(d, dead_hash(letter.sink, &letter.forward));
        d->places[d->count++] = (struct dead_place){
            .id = letter.id, .hash = dead_hash(letter.sink, &letter.forward), .sink = dead_sink_index(d, letter.sink)};
    }
    return loading->err == OK;
}

static enum err load_dropped(struct dead *d)
{
    BUFFER(value, 64);
    enum err err = store_get(d->store, d->options.table, DEAD_DROPPED_KEY, &value);
    struct cursor c = cursor_of(buffer_slice(&value));
    uint64_t dropped = cursor_u64le(&c);
    if (err == OK && cursor_u32le(&c) == crypt_crc32c(0, value.ptr, 8) && cursor_end(&c) == OK) {
        d->dropped = dropped;
    }
    return err == ERR_NOT_FOUND ? OK : err;
}

enum err dead_load(struct dead *d)
{
    struct loading loading = {.dead = d};
    if (spool_epoch(d->spool) == 0) {
        return OK;
    }
    TRY(load_dropped(d));
    TRY(spool_read(d->spool, spool_trimmed(d->spool) + 1, load_entry, &loading));
    return loading.err;
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
    if (dead_find(d, id) == NULL) {
        return ERR_NOT_FOUND;
    }
    TRY(dead_foreach(d, id, copy_wanted, &wanted));
    return wanted.err;
}

bool dead_has(struct dead *d, const char *sink, const struct wire_forward *f)
{
    uint64_t hash = dead_hash(sink, f);
    if ((d->maybe[hash % DEAD_MAYBE_BITS / 64] >> hash % 64 & 1) == 0) {
        return false;
    }
    for (size_t i = d->count; i-- > 0;) {
        if (d->places[i].hash == hash) {
            struct dead_letter letter;
            BUFFER(bytes, DEAD_BODY_MAX);
            if (dead_get(d, d->places[i].id, &bytes, &letter) == OK && is_same(&letter, sink, f)) {
                return true;
            }
        }
    }
    return false;
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
