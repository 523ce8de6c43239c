/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is given up for a sink that is away too long is not found by it as a jump when the device never speaks again.
 * So the numbers are kept here, per stream, and offered to the sink as gaps before anything else when it is back.
 *
 *   spool: ....|#########|=======      # given up: out of the spool, one row here per stream
 */
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) ((element)->lane = UINT8_MAX)

#include "cloud-bridge/sinks/sinks_internal.h"

#include <stdio.h>

#include "core/base/cursor.h"
#include "core/crypt/crypt.h"

enum { PREFIX = 0xfc, VALUE_BYTES = 25 };

struct slice sink_gap_body(uint8_t *body, uint64_t first, uint64_t last, Weir__V1__GapReason reason, uint64_t wall_us)
{
    BUFFER(packed, OWED_BODY_BYTES);
    if (wire_gap_pack(first, last, reason, wall_us, &packed) != OK) {
        return slice_of(NULL, 0); /* read as UNREAD: the numbers count all the same */
    }
    memcpy(body, packed.ptr, packed.len);
    return slice_of(body, packed.len);
}

/* ---- rows ---- */
static void key_of(const struct owed *o, const struct owed_stream *s, struct buffer *key)
{
    buffer_put_u8(key, PREFIX);
    buffer_put(key, o->sink, strlen(o->sink) + 1);
    if (s != NULL) {
        buffer_put(key, s->key.device, strlen(s->key.device) + 1);
        buffer_put_u64be(key, s->key.epoch);
    }
}

static enum err put_row(const struct owed *o, struct store_batch *batch, const struct owed_stream *s)
{
    BUFFER(key, STORE_KEY_MAX);
    BUFFER(value, 256);
    if (o->store == NULL) {
        return OK;
    }
    key_of(o, s, &key);
    buffer_put_u64le(&value, s->first);
    buffer_put_u64le(&value, s->last);
    buffer_put_u64le(&value, s->top);
    buffer_put_u8(&value, s->lane);
    buffer_put_str(&value, s->gateway);
    buffer_put_u32le(&value, crypt_crc32c(0, value.ptr, value.len));
    TRY(buffer_err(&key));
    TRY(buffer_err(&value));
    return store_put(batch, o->table, buffer_slice(&key), buffer_slice(&value));
}

static enum err add(struct owed *o, const struct sink_mark_key *key, struct owed_stream **ret_stream)
{
    struct owed_stream *s = NULL;
    HASH_FIND(hh, o->streams, key, sizeof(*key), s);
    if (s == NULL) {
        s = calloc(1, sizeof(*s));
        if (s == NULL) {
            return ERR_NOMEM;
        }
        s->key = *key;
        HASH_ADD(hh, o->streams, key, sizeof(s->key), s);
        if (s->lane == UINT8_MAX) {
            free(s);
            return ERR_NOMEM;
        }
    }
    *ret_stream = s;
    return OK;
}

struct loading {
    struct owed *owed;
    size_t prefix; /* bytes of the key before the device */
    enum err err;
};

static bool load_row(void *arg, struct slice key, struct slice value)
{
    struct loading *l = arg;
    struct sink_mark_key name;
    struct owed_stream *s = NULL;
    struct cursor c = cursor_of(value);
    memset(&name, 0, sizeof(name));
    if (value.len < VALUE_BYTES + 4 || key.len < l->prefix + 9 || key.len - l->prefix - 9 > ID_MAX) {
        return true;
    }
    struct cursor sum = cursor_of(slice_of(value.ptr + value.len - 4, 4));
    if (cursor_u32le(&sum) != crypt_crc32c(0, value.ptr, value.len - 4)) {
        return true; /* the jump will show it, if the device speaks again */
    }
    memcpy(name.device, key.ptr + l->prefix, key.len - l->prefix - 9);
    struct cursor epoch = cursor_of(slice_of(key.ptr + key.len - 8, 8));
    name.epoch = cursor_u64be(&epoch);
    l->err = add(l->owed, &name, &s);
    if (l->err == OK) {
        s->first = cursor_u64le(&c);
        s->last = cursor_u64le(&c);
        s->top = cursor_u64le(&c);
        s->lane = cursor_u8(&c);
        snprintf(s->gateway, sizeof(s->gateway), "%.*s", (int)(value.len - VALUE_BYTES - 4),
                 (const char *)value.ptr + VALUE_BYTES);
    }
    return l->err == OK;
}

enum err owed_load(struct owed *o, struct store *store, unsigned table, const char *sink)
{
    BUFFER(from, STORE_KEY_MAX);
    BUFFER(to, STORE_KEY_MAX);
    snprintf(o->sink, sizeof(o->sink), "%s", sink);
    o->store = store;
    o->table = table;
    if (store == NULL) {
        return OK;
    }
    key_of(o, NULL, &from);
    key_of(o, NULL, &to);
    TRY(buffer_err(&from));
    TRY(buffer_err(&to));
    to.ptr[to.len - 1] = 1; /* the NUL behind the name */
    struct loading loading = {.owed = o, .prefix = from.len};
    TRY(store_foreach(store, table, buffer_slice(&from), buffer_slice(&to), load_row, &loading));
    return loading.err;
}

void owed_deinit(struct owed *o)
{
    for (struct owed_stream *s = o->streams, *next; s != NULL; s = next) {
        next = s->hh.next;
        HASH_DEL(o->streams, s);
        free(s);
    }
    o->streams = NULL;
}

/* ---- giving up ---- */
struct giving {
    struct owed *owed;
    struct store_batch *batch;
    uint64_t upto, bytes, position;
    enum err err;
};

static enum err give_up(struct giving *g, const struct wire_forward *f)
{
    struct sink_mark_key key;
    struct owed_stream *s = NULL;
    memset(&key, 0, sizeof(key));
    snprintf(key.device, sizeof(key.device), "%s", f->device);
    key.epoch = f->epoch;
    TRY(add(g->owed, &key, &s));
    s->first = s->first == 0 ? f->first : min_u64(s->first, f->first);
    s->last = max_u64(s->last, f->last);
    s->top = max_u64(s->top, f->top);
    s->lane = f->lane;
    snprintf(s->gateway, sizeof(s->gateway), "%s", f->gateway);
    return put_row(g->owed, g->batch, s);
}

static bool give_up_entry(void *arg, const struct spool_entry *entry)
{
    struct giving *g = arg;
    struct wire_forward forward;
    if (entry->last > g->upto || g->bytes == 0) {
        return false;
    }
    /* numbers of a hop itself have jumps by nature: nothing is declared in them */
    if (!entry->damaged && wire_forward_decode(entry->body, &forward) == OK && !receive_is_hop(&forward)) {
        g->err = give_up(g, &forward);
        if (g->err != OK) {
            return false;
        }
    }
    g->owed->records += entry->last - entry->first + 1;
    g->bytes -= min_u64(g->bytes, entry->body.len + 64);
    g->position = entry->last;
    return true;
}

enum err owed_give_up(struct owed *o, struct store_batch *batch, struct spool *spool, uint64_t upto, uint64_t bytes,
                      uint64_t *position)
{
    struct giving giving = {.owed = o, .batch = batch, .upto = upto, .bytes = bytes, .position = *position};
    TRY(spool_read(spool, *position + 1, give_up_entry, &giving));
    TRY(giving.err);
    o->dirty = o->dirty || giving.position > *position;
    *position = giving.position;
    return OK;
}

enum err owed_put_again(const struct owed *o, struct store_batch *batch)
{
    for (const struct owed_stream *s = o->dirty ? o->streams : NULL; s != NULL; s = s->hh.next) {
        TRY(put_row(o, batch, s));
    }
    return OK;
}

/* ---- declaring ---- */
size_t owed_items(const struct owed *o, struct sink_item *items, size_t max, uint8_t *bodies, uint64_t wall_us)
{
    size_t count = 0;
    for (const struct owed_stream *s = o->streams; s != NULL && count < max; s = s->hh.next) {
        struct sink_item *item = &items[count];
        *item = (struct sink_item){.lane = s->lane,
                                   .forward = {.epoch = s->key.epoch,
                                               .first = s->first,
                                               .last = s->last,
                                               .top = s->top,
                                               .received_us = wall_us,
                                               .lane = s->lane}};
        snprintf(item->forward.device, sizeof(item->forward.device), "%.*s", ID_MAX, s->key.device);
        snprintf(item->forward.gateway, sizeof(item->forward.gateway), "%s", s->gateway);
        item->forward.record = sink_gap_body(bodies + count * OWED_BODY_BYTES, s->first, s->last,
                                             WEIR__V1__GAP_REASON__OVERFLOW, wall_us);
        count++;
    }
    return count;
}

enum err owed_settle(struct owed *o, struct store_batch *batch, const struct sink_item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct sink_mark_key key;
        struct owed_stream *s = NULL;
        memset(&key, 0, sizeof(key));
        snprintf(key.device, sizeof(key.device), "%s", items[i].forward.device);
        key.epoch = items[i].forward.epoch;
        HASH_FIND(hh, o->streams, &key, sizeof(key), s);
        if (s == NULL) {
            continue;
        }
        if (s->last > items[i].forward.last) { /* more was given up meanwhile */
            s->first = items[i].forward.last + 1;
            TRY(put_row(o, batch, s));
            continue;
        }
        if (o->store != NULL) {
            BUFFER(row, STORE_KEY_MAX);
            key_of(o, s, &row);
            TRY(buffer_err(&row));
            TRY(store_delete(batch, o->table, buffer_slice(&row)));
        }
        HASH_DEL(o->streams, s);
        free(s);
    }
    return OK;
}
