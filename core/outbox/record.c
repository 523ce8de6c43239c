/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outbox's own record: from which top may this epoch have forked?
 *
 *   key   "outbox/" lane u8
 *   value version u8 = 1 | answered u8 | epoch u64le | boot_top u64le | crc32c u32le (over the key and what stands
 *   before)
 *
 * boot_top is the durable top at the first start since the last one that the receiver answered. It is durable before
 * the first frame of a start; "answered" is durable before the first number above boot_top goes out (the window's
 * hold). So whatever the receiver has of this history is at or below the boot_top that the next start will say.
 */
#include "core/crypt/crypt.h"
#include "core/outbox/outbox_internal.h"

enum { RECORD_VERSION = 1, KEY_BYTES = 8, VALUE_BYTES = 22, SEALED_BYTES = 18 };

static void make_key(const struct outbox *o, uint8_t key[KEY_BYTES])
{
    memcpy(key, "outbox/", KEY_BYTES - 1);
    key[KEY_BYTES - 1] = o->options.lane;
}

static uint32_t checksum(const uint8_t key[KEY_BYTES], const void *value)
{
    return crypt_crc32c(crypt_crc32c(0, key, KEY_BYTES), value, SEALED_BYTES);
}

enum err outbox_record_open(struct outbox *o)
{
    uint64_t durable = spool_durable(o->spool);
    o->boot_top = durable;
    o->answered = o->recorded = o->options.state_table == 0;
    if (o->recorded) {
        return OK;
    }
    uint8_t key[KEY_BYTES];
    make_key(o, key);
    BUFFER(value, 256);
    enum err err = store_get(o->store, o->options.state_table, slice_of(key, sizeof(key)), &value);
    if (err != OK && err != ERR_NOT_FOUND) {
        return err;
    }
    struct cursor c = cursor_of(buffer_slice(&value));
    uint8_t version = cursor_u8(&c), answered = cursor_u8(&c);
    uint64_t epoch = cursor_u64le(&c), boot_top = cursor_u64le(&c);
    uint32_t crc = cursor_u32le(&c);
    bool sound = cursor_end(&c) == OK && version == RECORD_VERSION && crc == checksum(key, value.ptr);
    if (err == ERR_NOT_FOUND || (sound && epoch != spool_epoch(o->spool))) {
        o->answered = true; /* a new epoch: no earlier start can have been heard in it */
    } else if (sound && answered == 0) {
        o->boot_top = min_u64(boot_top, durable);
    } else { /* answered; or damaged: then the present top is the best that is known */
        o->answered = durable == 0; /* no number that could carry the hello, none that could have forked */
    }
    return OK;
}

void outbox_record_restart(struct outbox *o)
{
    o->boot_top = spool_durable(o->spool);
    o->answered = true;
    o->recorded = o->options.state_table == 0;
}

static void on_done(void *arg, enum err result)
{
    struct outbox *o = arg;
    o->record_under_way = false;
    if (result == OK && o->record_epoch == spool_epoch(o->spool)) {
        o->recorded = true;
        o->answered = o->answered || o->record_answered;
        if (o->answered) {
            window_sender_release(&o->window);
        }
        outbox_kick(o);
    }
    if (result == OK) {
        outbox_record_write(o);
    } else {
        loop_timer_in(&o->retry, OUTBOX_RETRY_US);
    }
}

static enum err commit_record(struct outbox *o, bool answered)
{
    uint8_t key[KEY_BYTES];
    make_key(o, key);
    uint64_t epoch = spool_epoch(o->spool);
    BUFFER(value, 64);
    buffer_put_u8(&value, RECORD_VERSION);
    buffer_put_u8(&value, answered);
    buffer_put_u64le(&value, epoch);
    buffer_put_u64le(&value, o->boot_top);
    TRY(buffer_err(&value));
    buffer_put_u32le(&value, checksum(key, value.ptr));
    TRY(buffer_err(&value));
    CLEANUP(store_batch_freep) struct store_batch *batch = NULL;
    TRY(store_batch_new(o->store, &batch));
    TRY(store_put(batch, o->options.state_table, slice_of(key, sizeof(key)), buffer_slice(&value)));
    o->record_epoch = epoch;
    o->record_answered = answered;
    TRY(store_commit(o->store, batch, on_done, o));
    (void)take(batch);
    return OK;
}

void outbox_record_write(struct outbox *o)
{
    bool answer_is_news = o->window.hello_acked && !o->answered;
    if (o->options.state_table == 0 || o->record_under_way || o->rolled_back || (o->recorded && !answer_is_news)) {
        return;
    }
    if (commit_record(o, o->answered || answer_is_news) == OK) {
        o->record_under_way = true;
    } else {
        loop_timer_in(&o->retry, OUTBOX_RETRY_US);
    }
}
