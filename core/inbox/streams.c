/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Senders by name (uthash), each with the short list of its streams: one per lane, and the closed ones of old epochs.
 * A list is walked for every frame, so the stream found moves to its front.
 */
#include <stdio.h>

#include "core/crypt/crypt.h"
#include "core/inbox/inbox_internal.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

enum { KEY_MAX = ID_MAX + 1 + 8, RECORD_MAX = WINDOW_STREAM_BYTES + 4 };

struct inbox_sender {
    char name[ID_MAX + 1];
    struct inbox_streamed *streams; /* owned */
    unsigned count;
    int64_t too_many_us; /* when the owner was last told; 0 = never */
    UT_hash_handle hh;
};

static struct inbox_sender *find_sender(struct inbox *inbox, const char *name)
{
    struct inbox_sender *sender = NULL;
    HASH_FIND(hh, inbox->senders, name, strlen(name), sender);
    return sender;
}

static enum err add_sender(struct inbox *inbox, const char *name, struct inbox_sender **ret_sender)
{
    struct inbox_sender *sender = calloc(1, sizeof(*sender));
    if (sender == NULL) {
        return ERR_NOMEM;
    }
    snprintf(sender->name, sizeof(sender->name), "%s", name);
    HASH_ADD_KEYPTR(hh, inbox->senders, sender->name, strlen(sender->name), sender);
    if (sender->hh.tbl == NULL) {
        free(sender);
        return ERR_NOMEM;
    }
    *ret_sender = sender;
    return OK;
}

struct inbox_streamed *inbox_streams_find(struct inbox *inbox, const char *name, uint64_t epoch)
{
    struct inbox_sender *sender = find_sender(inbox, name);
    if (sender == NULL) {
        return NULL;
    }
    for (struct inbox_streamed **link = &sender->streams; *link != NULL; link = &(*link)->next) {
        struct inbox_streamed *st = *link;
        if (st->epoch == epoch) {
            *link = st->next;
            st->next = sender->streams;
            sender->streams = st;
            return st;
        }
    }
    return NULL;
}

static void tell_too_many(struct inbox *inbox, struct inbox_sender *sender, const char *name)
{
    int64_t *told_us = sender != NULL ? &sender->too_many_us : &inbox->too_many_us;
    int64_t now_us = max_i64(loop_now_us(inbox->loop), 1);
    inbox->stats.too_many++;
    if (inbox->handlers.on_too_many == NULL || (*told_us != 0 && now_us - *told_us < INBOX_TOO_MANY_GAP_US)) {
        return;
    }
    *told_us = now_us;
    bool own = sender != NULL && sender->count >= INBOX_SENDER_STREAMS;
    inbox->handlers.on_too_many(inbox->handlers.arg, name,
                                own ? "it has 1,024 streams (epochs) already, more are not kept of one sender"
                                    : "the streams of all senders have used up the table");
}

enum err inbox_streams_add(struct inbox *inbox, const char *name, uint64_t epoch, struct inbox_streamed **ret_stream)
{
    struct inbox_sender *sender = find_sender(inbox, name);
    if (inbox->stats.streams >= inbox->options.max_streams ||
        (sender != NULL && sender->count >= INBOX_SENDER_STREAMS)) {
        tell_too_many(inbox, sender, name);
        return ERR_FULL;
    }
    if (sender == NULL) {
        TRY(add_sender(inbox, name, &sender));
    }
    struct inbox_streamed *st = calloc(1, sizeof(*st)); /* a sender without streams is harmless */
    if (st == NULL) {
        return ERR_NOMEM;
    }
    st->epoch = epoch;
    st->sender = sender;
    st->next = sender->streams;
    sender->streams = st;
    sender->count++;
    inbox->stats.streams++;
    *ret_stream = st;
    return OK;
}

const char *inbox_streams_name(const struct inbox_streamed *st)
{
    return st->sender->name;
}

void inbox_streams_free(struct inbox *inbox)
{
    struct inbox_sender *sender, *next_sender;
    HASH_ITER(hh, inbox->senders, sender, next_sender) {
        HASH_DEL(inbox->senders, sender);
        for (struct inbox_streamed *st = sender->streams, *next; st != NULL; st = next) {
            next = st->next;
            free(st);
        }
        free(sender);
    }
}

void inbox_foreach_stream(struct inbox *inbox,
                          void (*fn)(void *arg, const char *sender, uint64_t epoch, const struct window_stream *stream),
                          void *arg)
{
    struct inbox_sender *sender, *next;
    HASH_ITER(hh, inbox->senders, sender, next) {
        for (const struct inbox_streamed *st = sender->streams; st != NULL; st = st->next) {
            fn(arg, sender->name, st->epoch, &st->s);
        }
    }
}

/* ---- records ---- */

enum err inbox_streams_put(struct inbox *inbox, struct store_batch *batch, const struct inbox_streamed *st)
{
    uint8_t key[KEY_MAX], record[RECORD_MAX];
    size_t name_len = strlen(st->sender->name);
    uint64_t epoch_be = __builtin_bswap64(st->epoch);
    memcpy(key, st->sender->name, name_len + 1);
    memcpy(key + name_len + 1, &epoch_be, sizeof(epoch_be));
    struct slice k = slice_of(key, name_len + 1 + sizeof(epoch_be));
    size_t len = window_stream_encode(&st->s, st->s.pending, record);
    uint32_t crc = crypt_crc32c(crypt_crc32c(0, k.ptr, k.len), record, len);
    memcpy(record + len, &crc, sizeof(crc));
    return store_put(batch, inbox->options.stream_table, k, slice_of(record, len + sizeof(crc)));
}

enum err inbox_record_parse(struct slice key, struct slice value, char ret_name[ID_MAX + 1], uint64_t *ret_epoch,
                            struct window_stream *ret_stream)
{
    if (key.len < 1 + 1 + 8 || key.len > KEY_MAX || value.len < 4) {
        return ERR_MALFORMED;
    }
    struct cursor k = cursor_of(key), v = cursor_of(value);
    struct slice name = cursor_bytes(&k, key.len - 9);
    uint8_t nul = cursor_u8(&k);
    *ret_epoch = cursor_u64be(&k);
    struct slice stream = cursor_bytes(&v, value.len - 4);
    uint32_t crc = cursor_u32le(&v);
    if (nul != 0 || *ret_epoch == 0 || !id_valid(name) ||
        crc != crypt_crc32c(crypt_crc32c(0, key.ptr, key.len), stream.ptr, stream.len)) {
        return ERR_MALFORMED;
    }
    memcpy(ret_name, name.ptr, name.len);
    ret_name[name.len] = '\0';
    return window_stream_decode(stream, ret_stream);
}

struct loading {
    struct inbox *inbox;
    enum err err;
};

static bool load_record(void *arg, struct slice key, struct slice value)
{
    struct loading *l = arg;
    char name[ID_MAX + 1];
    uint64_t epoch;
    struct window_stream s;
    struct inbox_streamed *st = NULL;
    if (inbox_record_parse(key, value, name, &epoch, &s) != OK) {
        l->inbox->stats.damaged_streams++;
        return true;
    }
    l->err = inbox_streams_add(l->inbox, name, epoch, &st);
    if (l->err != OK) {
        return false;
    }
    st->s = s;
    st->closed_durable = s.closed;
    st->durable = st->submitted_counts = (struct inbox_counts){s.gaps, s.suppressed};
    return true;
}

enum err inbox_streams_open(struct inbox *inbox, struct fault *reterr)
{
    struct loading l = {.inbox = inbox};
    unsigned max_streams = inbox->options.max_streams;
    inbox->options.max_streams = UINT32_MAX; /* what is there stays there */
    enum err err = store_foreach(inbox->store, inbox->options.stream_table, slice_of("\1", 1), slice_of(NULL, 0),
                                 load_record, &l);
    inbox->options.max_streams = max_streams;
    if (err == OK) {
        err = l.err;
    }
    return err == OK ? OK : fault_set(reterr, err, "the streams' records cannot be read (%s)", err_name(err));
}
