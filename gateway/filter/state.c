/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the filter keeps in the store, sealed as the spools are (states hold readings):
 *
 *   key   device | 0 | epoch u64be           a stream's state
 *         0 | lane u8                        the position in a raw lane (no identity begins with a zero)
 *   value as core/seal says; its body:
 *         stream:   version u8 = 1 | reached | capture: epoch, next, until u64le, set u32le | rule name length u8,
 *                   name | recent count u8, asked u64le | {position, from, to} u64le each | curate's state
 *         position: version u8 = 1 | raw epoch u64le | position u64le
 *
 * A value that does not verify is counted and taken as missing: a stream's operators begin anew. Without its
 * position a lane is read from what the ring still has; what a stream's state has seen (reached) is then not
 * curated again.
 */
#include "core/base/cursor.h"
#include "core/log/log.h"
#include "core/seal/seal.h"
#include "gateway/filter/filter_internal.h"

enum { VERSION = 1, KEY_MAX = ID_MAX + 9 };

static enum err save(struct filter *f, struct slice key, const struct buffer *body)
{
    TRY(buffer_err(body));
    return seal_put(f->batch, f->options.state_table, f->options.aead, key, buffer_slice(body));
}

/* ERR_NOT_FOUND: nothing there, or nothing that verifies. */
static enum err load(struct filter *f, struct slice key, struct buffer *body)
{
    buffer_reset(&f->value);
    TRY(store_get(f->store, f->options.state_table, key, &f->value));
    enum err err = seal_open(f->options.aead, key, buffer_slice(&f->value), body);
    if (err == ERR_MALFORMED) {
        f->stats.unreadable++;
        log_warn("a state of the filter is damaged, its stream begins anew", KV_U64("bytes", f->value.len));
        return ERR_NOT_FOUND;
    }
    return err;
}

/* ---- positions ---- */
static struct slice position_key(uint8_t key[2], unsigned lane)
{
    key[0] = 0;
    key[1] = (uint8_t)lane;
    return slice_of(key, 2);
}

enum err filter_position_load(struct filter *f)
{
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        uint8_t key[2];
        BUFFER(body, 64);
        f->position[i] = spool_trimmed(f->raw[i]);
        enum err err = load(f, position_key(key, i), &body);
        if (err != OK && err != ERR_NOT_FOUND) {
            return err;
        }
        struct cursor c = cursor_of(buffer_slice(&body));
        uint8_t version = cursor_u8(&c);
        uint64_t epoch = cursor_u64le(&c), position = cursor_u64le(&c);
        if (err == OK && cursor_end(&c) == OK && version == VERSION && epoch == spool_epoch(f->raw[i])) {
            f->position[i] = max_u64(f->position[i], min_u64(position, spool_durable(f->raw[i])));
        }
        f->reached[i] = f->position[i];
    }
    return OK;
}

enum err filter_position_save(struct filter *f)
{
    for (unsigned i = 0; i < INBOX_LANES; i++) {
        uint8_t key[2];
        BUFFER(body, 64);
        buffer_put_u8(&body, VERSION);
        buffer_put_u64le(&body, spool_epoch(f->raw[i]));
        buffer_put_u64le(&body, f->reached[i]);
        TRY(save(f, position_key(key, i), &body));
    }
    return OK;
}

/* ---- streams ---- */
static struct slice stream_key(uint8_t key[KEY_MAX], const char *device, uint64_t epoch)
{
    size_t len = strnlen(device, ID_MAX);
    uint64_t big = __builtin_bswap64(epoch);
    memcpy(key, device, len);
    key[len] = 0;
    memcpy(key + len + 1, &big, sizeof(big));
    return slice_of(key, len + 9);
}

static void count_state(struct filter *f, struct filter_stream *s, size_t bytes)
{
    f->state_bytes += bytes - s->state_bytes;
    s->state_bytes = bytes;
}

enum err filter_stream_save(struct filter *f, struct filter_stream *s)
{
    uint8_t key[KEY_MAX];
    struct buffer *body = &f->state;
    const char *rule = s->capture_rule != NULL ? s->capture_rule->name : "";
    buffer_reset(body);
    buffer_put_u8(body, VERSION);
    buffer_put_u64le(body, s->reached);
    buffer_put_u64le(body, s->capture_epoch);
    buffer_put_u64le(body, s->capture_next);
    buffer_put_u64le(body, s->capture_until_us);
    buffer_put_u32le(body, s->capture_set);
    buffer_put_u8(body, (uint8_t)strlen(rule)); /* an identity: at most 64 */
    buffer_put_str(body, rule);
    buffer_put_u8(body, (uint8_t)s->recent_count);
    buffer_put_u64le(body, s->asked);
    for (unsigned i = 0; i < s->recent_count; i++) {
        buffer_put_u64le(body, s->recent[i].position);
        buffer_put_u64le(body, s->recent[i].from_us);
        buffer_put_u64le(body, s->recent[i].to_us);
    }
    TRY(curate_stream_encode(s->state, body));
    count_state(f, s, body->len);
    return save(f, stream_key(key, s->key.device, s->key.epoch), body);
}

static const struct rule *rule_named(const struct rules *rules, struct slice name)
{
    for (size_t i = 0; name.len > 0 && i < rules_count(rules); i++) {
        if (slice_equal(name, slice_str(rules_at(rules, i)->name))) {
            return rules_at(rules, i);
        }
    }
    return NULL;
}

/* What stands before curate's state. */
static enum err read_captures(const struct filter *f, struct cursor *c, struct filter_stream *s)
{
    uint8_t version = cursor_u8(c);
    s->reached = cursor_u64le(c);
    s->capture_epoch = cursor_u64le(c);
    s->capture_next = cursor_u64le(c);
    s->capture_until_us = cursor_u64le(c);
    s->capture_set = cursor_u32le(c);
    s->capture_rule = rule_named(f->options.rules, cursor_bytes(c, cursor_u8(c)));
    s->recent_count = cursor_u8(c);
    s->asked = cursor_u64le(c);
    if (version != VERSION || s->recent_count > FILTER_RECENT) {
        return ERR_MALFORMED;
    }
    for (unsigned i = 0; i < s->recent_count; i++) {
        s->recent[i].position = cursor_u64le(c);
        s->recent[i].from_us = cursor_u64le(c);
        s->recent[i].to_us = cursor_u64le(c);
    }
    return cursor_err(c);
}

/* All that comes from the store, as of a stream never seen. */
static void reset(struct filter_stream *s)
{
    s->reached = s->capture_epoch = s->capture_next = s->capture_until_us = s->asked = 0;
    s->capture_set = 0;
    s->capture_rule = NULL;
    s->recent_count = 0;
}

enum err filter_stream_load(struct filter *f, struct filter_stream *s)
{
    uint8_t key[KEY_MAX];
    struct buffer *body = &f->state;
    struct slice state = {0};
    buffer_reset(body);
    reset(s);
    enum err err = load(f, stream_key(key, s->key.device, s->key.epoch), body);
    if (err != OK && err != ERR_NOT_FOUND) {
        return err;
    }
    if (err == OK) {
        struct cursor c = cursor_of(buffer_slice(body));
        if (read_captures(f, &c, s) == OK) {
            state = cursor_bytes(&c, cursor_left(&c));
        } else {
            reset(s);
            f->stats.unreadable++;
        }
    }
    count_state(f, s, body->len);
    err = curate_stream_new(f->curate, s->key.device, state, &s->state);
    if (err == ERR_MALFORMED) {
        f->stats.unreadable++;
        err = curate_stream_new(f->curate, s->key.device, (struct slice){0}, &s->state);
    }
    return err;
}

void filter_stream_unload(struct filter *f, struct filter_stream *s)
{
    curate_stream_free(take(s->state));
    count_state(f, s, 0);
    s->rule = NULL;
}
