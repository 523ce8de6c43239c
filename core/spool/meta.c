/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lane's record, and the lane's state put together when it is opened.
 *
 * Numbers come from two places that one transaction keeps in step: `trimmed` from the record, `durable` from the
 * last key. The record can be rebuilt when it is damaged: the epoch stands in every key, and nothing at or below
 * `trimmed` is in the table. A lane without entries and without a record is a new one; whatever it held had been
 * acknowledged. That does not hold for a rebased lane, whose keys tell an epoch that is over: its record has a copy.
 */
#include "core/spool/spool_internal.h"

#include "core/base/cursor.h"
#include "core/crypt/crypt.h"

enum { META_VERSION = 1, META_REBASED = 2, META_KEY_BYTES = 7, META_BYTES = 29, META_REBASED_BYTES = 45 };
enum meta_which { META_MAIN, META_COPY };

static struct slice meta_key(uint8_t lane, enum meta_which which, uint8_t out[META_KEY_BYTES])
{
    memcpy(out, which == META_MAIN ? "spool/" : "spool+", META_KEY_BYTES - 1);
    out[META_KEY_BYTES - 1] = lane;
    return slice_of(out, META_KEY_BYTES);
}

static uint32_t checksum(struct slice key, const uint8_t *value, size_t len)
{
    return crypt_crc32c(crypt_crc32c(0, key.ptr, key.len), value, len - 4);
}

static enum err put_record(struct store_batch *batch, const struct spool_options *options, const struct lane *lane,
                           enum meta_which which)
{
    bool rebased = lane->key_epoch != lane->epoch;
    size_t len = rebased ? META_REBASED_BYTES : META_BYTES;
    uint8_t key_bytes[META_KEY_BYTES], *value;
    struct slice key = meta_key(options->lane, which, key_bytes);
    TRY(store_put_reserve(batch, options->meta_table, key, len, &value));
    value[0] = rebased ? META_REBASED : META_VERSION;
    memcpy(value + 1, &lane->epoch, 8);
    memcpy(value + 9, &lane->trimmed, 8);
    memcpy(value + 17, &lane->origin, 8);
    if (rebased) {
        memcpy(value + 25, &lane->key_epoch, 8);
        memcpy(value + 33, &lane->shift, 8);
    }
    uint32_t crc = checksum(key, value, len);
    memcpy(value + len - 4, &crc, 4);
    return OK;
}

enum err meta_put(struct store_batch *batch, const struct spool_options *options, const struct lane *lane)
{
    TRY(put_record(batch, options, lane, META_MAIN));
    return lane->key_epoch != lane->epoch ? put_record(batch, options, lane, META_COPY) : OK;
}

enum err meta_drop_copy(struct store_batch *batch, const struct spool_options *options)
{
    uint8_t key_bytes[META_KEY_BYTES];
    return store_delete(batch, options->meta_table, meta_key(options->lane, META_COPY, key_bytes));
}

/* ERR_MALFORMED: its checksum (the last four bytes, in every version) differs, or it cannot be. ERR_UNSUPPORTED: a
 * later version. */
static enum err parse_record(struct slice key, struct slice value, struct lane *ret_lane)
{
    uint32_t crc = 0;
    if (value.len <= sizeof(crc)) {
        return ERR_MALFORMED;
    }
    memcpy(&crc, value.ptr + value.len - sizeof(crc), sizeof(crc));
    if (checksum(key, value.ptr, value.len) != crc) {
        return ERR_MALFORMED;
    }
    struct cursor c = cursor_of(slice_of(value.ptr, value.len - sizeof(crc)));
    uint8_t version = cursor_u8(&c);
    if (version != META_VERSION && version != META_REBASED) {
        return ERR_UNSUPPORTED;
    }
    struct lane lane = {.epoch = cursor_u64le(&c), .next = 1};
    lane.trimmed = cursor_u64le(&c);
    lane.origin = cursor_u64le(&c);
    lane.key_epoch = lane.epoch;
    if (version == META_REBASED) {
        lane.key_epoch = cursor_u64le(&c);
        lane.shift = cursor_u64le(&c);
    }
    TRY(cursor_end(&c));
    if (lane.epoch == 0 || lane.key_epoch == 0 || lane.shift > lane.trimmed) {
        return ERR_MALFORMED;
    }
    *ret_lane = lane;
    return OK;
}

/* ERR_NOT_FOUND: no record, or a damaged one. */
static enum err read_which(struct store *store, const struct spool_options *options, enum meta_which which,
                           struct lane *ret_lane, bool *ret_damaged)
{
    uint8_t key_bytes[META_KEY_BYTES];
    struct slice key = meta_key(options->lane, which, key_bytes);
    BUFFER(value, 256);
    enum err err = store_get(store, options->meta_table, key, &value);
    err = err == ERR_FULL ? ERR_MALFORMED : err;
    err = err == OK ? parse_record(key, buffer_slice(&value), ret_lane) : err;
    if (err == ERR_MALFORMED) {
        *ret_damaged = true;
        return ERR_NOT_FOUND;
    }
    return err;
}

static enum err read_record(struct store *store, const struct spool_options *options, struct lane *ret_lane,
                            bool *ret_damaged)
{
    enum err err = read_which(store, options, META_MAIN, ret_lane, ret_damaged);
    if (err != ERR_NOT_FOUND) {
        return err;
    }
    bool copy_damaged = false;
    err = read_which(store, options, META_COPY, ret_lane, &copy_damaged);
    *ret_damaged = *ret_damaged || copy_damaged || err == OK;
    return err;
}

uint64_t meta_trimmed(struct store *store, const struct spool_options *options)
{
    struct lane lane = {0};
    bool damaged = false;
    return read_record(store, options, &lane, &damaged) == OK ? lane.trimmed : 0;
}

struct scan {
    const struct spool_options *options;
    struct buffer *plain;
    struct lane *lane;
    bool any, wrong_key, no_memory;
};

static bool find_epoch(void *arg, struct slice key, struct slice value)
{
    struct scan *s = arg;
    struct cursor c = cursor_of(key);
    (void)value;
    (void)cursor_u8(&c);
    uint64_t epoch = cursor_u64be(&c);
    if (cursor_left(&c) == 8) {
        s->lane->epoch = s->lane->key_epoch = epoch;
        s->any = true;
    }
    return true; /* the highest epoch of several, should damage have made any */
}

static bool add_entry(void *arg, struct slice key, struct slice value)
{
    struct scan *s = arg;
    uint64_t last;
    if (!entry_key_parse(key, s->options->lane, s->lane->key_epoch, &last) || last == UINT64_MAX) {
        return true; /* no number of ours */
    }
    s->lane->bytes += key.len + value.len;
    s->lane->durable = last;
    return true;
}

/* Opens the first entry that verifies at all: it tells whether the key fits, and where a lost record's lane begins. */
static bool try_first(void *arg, struct slice key, struct slice value)
{
    struct scan *s = arg;
    uint64_t first;
    struct slice body;
    switch (entry_open(key, value, s->options->aead, s->plain, &first, &body)) {
    case ENTRY_GOOD: s->any = true; break;
    case ENTRY_WRONG_KEY:
        s->any = true;
        s->wrong_key = true;
        break;
    case ENTRY_NO_MEMORY: s->no_memory = true; return false;
    case ENTRY_DAMAGED: return true;
    }
    s->lane->next = first; /* borrowed for the answer */
    return false;
}

static enum err wrong_key(const struct spool_options *options, struct fault *reterr)
{
    return fault_set(reterr, ERR_DENIED,
                     options->aead == NULL ? "entries are encrypted and no key is given: lane %u of the store"
                                           : "entries are encrypted with another key: lane %u of the store",
                     options->lane);
}

/* Adds up the entries above trimmed. */
static enum err scan_entries(struct store *store, struct scan *s, struct fault *reterr)
{
    const struct spool_options *o = s->options;
    struct entry_key from = entry_key(o->lane, s->lane->key_epoch, s->lane->trimmed + 1);
    struct entry_key to = entry_key(o->lane, s->lane->key_epoch, UINT64_MAX);
    s->lane->durable = s->lane->trimmed;
    TRY(store_foreach(store, o->table, entry_key_slice(&from), entry_key_slice(&to), add_entry, s));
    /* The newest entry as well as the oldest: the key may have been changed in between. */
    struct entry_key newest = entry_key(o->lane, s->lane->key_epoch, s->lane->durable);
    const struct entry_key *begins[] = {&from, &newest};
    for (size_t i = 0; i < COUNT_OF(begins) && s->lane->durable > s->lane->trimmed; i++) {
        s->any = false;
        TRY(store_foreach(store, o->table, entry_key_slice(begins[i]), entry_key_slice(&to), try_first, s));
        if (s->no_memory) {
            return ERR_NOMEM;
        }
        if (s->wrong_key) {
            return wrong_key(o, reterr);
        }
    }
    s->lane->next = s->lane->durable + 1;
    return OK;
}

/* The record is lost: epoch from the keys, trimmed from the first number of the oldest entry that verifies. */
static enum err rebuild(struct store *store, struct scan *s, struct fault *reterr)
{
    const struct spool_options *o = s->options;
    *s->lane = (struct lane){.next = 1};
    struct entry_key from = entry_key(o->lane, 0, 0), to = entry_key(o->lane, UINT64_MAX, UINT64_MAX);
    TRY(store_foreach(store, o->table, entry_key_slice(&from), entry_key_slice(&to), find_epoch, s));
    if (!s->any) {
        s->lane->epoch = s->lane->key_epoch = 0;
        return OK;
    }
    s->any = false;
    from = entry_key(o->lane, s->lane->key_epoch, 0);
    TRY(store_foreach(store, o->table, entry_key_slice(&from), entry_key_slice(&to), try_first, s));
    if (s->no_memory) {
        return ERR_NOMEM;
    }
    if (s->wrong_key) {
        return wrong_key(o, reterr);
    }
    s->lane->trimmed = s->any ? s->lane->next - 1 : 0;
    return OK;
}

enum err meta_load(struct store *store, const struct spool_options *options, struct buffer *plain,
                   struct lane *ret_lane, bool *ret_repaired, struct fault *reterr)
{
    *ret_lane = (struct lane){.next = 1};
    struct scan s = {.options = options, .plain = plain, .lane = ret_lane};
    bool damaged = false;
    enum err err = read_record(store, options, ret_lane, &damaged);
    if (err == ERR_UNSUPPORTED) {
        return fault_set(reterr, err, "written by a later version: lane %u of the store", options->lane);
    }
    if (err == ERR_NOT_FOUND) {
        err = rebuild(store, &s, reterr);
        damaged |= ret_lane->epoch != 0;
    }
    if (err == OK && ret_lane->epoch != 0) {
        err = scan_entries(store, &s, reterr);
    }
    *ret_repaired = damaged && err == OK;
    if (err == OK || err == ERR_DENIED) {
        return err;
    }
    return fault_set(reterr, err, "%s: cannot read lane %u of the store", err_name(err), options->lane);
}
