/* SPDX-License-Identifier: Apache-2.0 */
#include "cloud-bridge/sinks/sinks_internal.h"

#include "core/base/cursor.h"
#include "core/crypt/crypt.h"

enum { VOUCH = 0xfe, KEPT = 0xfd, ROW_BYTES = INBOX_LANES * 16 };

static void key_of(uint8_t prefix, const char *sink, struct buffer *key)
{
    buffer_put_u8(key, prefix);
    buffer_put_str(key, sink);
}

/* False: none, or damaged. A lane of another epoch is left as it is, and *ret_same false. */
static bool read_row(struct store *store, unsigned table, uint8_t prefix, const char *sink,
                     struct spool *const spools[INBOX_LANES], uint64_t values[INBOX_LANES], bool *ret_same)
{
    BUFFER(key, STORE_KEY_MAX);
    BUFFER(value, 256);
    key_of(prefix, sink, &key);
    if (buffer_err(&key) != OK || store_get(store, table, buffer_slice(&key), &value) != OK ||
        value.len != ROW_BYTES + 4) {
        return false;
    }
    struct cursor c = cursor_of(buffer_slice(&value)), sum = cursor_of(slice_of(value.ptr + ROW_BYTES, 4));
    if (cursor_u32le(&sum) != crypt_crc32c(0, value.ptr, ROW_BYTES)) {
        return false;
    }
    *ret_same = true;
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        bool same = cursor_u64le(&c) == spool_epoch(spools[lane]);
        uint64_t number = cursor_u64le(&c);
        values[lane] = same ? number : values[lane];
        *ret_same = *ret_same && same;
    }
    return true;
}

static enum err put_row(struct store_batch *batch, unsigned table, uint8_t prefix, const char *sink,
                        struct spool *const spools[INBOX_LANES], const uint64_t values[INBOX_LANES])
{
    BUFFER(key, STORE_KEY_MAX);
    BUFFER(value, 256);
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        buffer_put_u64le(&value, spool_epoch(spools[lane]));
        buffer_put_u64le(&value, values[lane]);
    }
    buffer_put_u32le(&value, crypt_crc32c(0, value.ptr, value.len));
    key_of(prefix, sink, &key);
    TRY(buffer_err(&value));
    TRY(buffer_err(&key));
    return store_put(batch, table, buffer_slice(&key), buffer_slice(&value));
}

enum err vouch_put(struct store *store, struct store_batch *batch, unsigned table, const char *sink,
                   struct spool *const spools[INBOX_LANES])
{
    uint64_t ceiling[INBOX_LANES];
    bool same = false;
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        ceiling[lane] = spool_durable(spools[lane]);
    }
    if (read_row(store, table, VOUCH, sink, spools, ceiling, &same) && same) {
        return OK;
    }
    return put_row(batch, table, VOUCH, sink, spools, ceiling);
}

void vouch_get(struct store *store, unsigned table, const char *sink, struct spool *const spools[INBOX_LANES],
               uint64_t ret_ceiling[INBOX_LANES])
{
    for (unsigned lane = 0; lane < INBOX_LANES; lane++) {
        ret_ceiling[lane] = spool_durable(spools[lane]);
    }
    bool same;
    if (store != NULL) {
        (void)read_row(store, table, VOUCH, sink, spools, ret_ceiling, &same);
    }
}

enum err vouch_delete(struct store_batch *batch, unsigned table, const char *sink)
{
    BUFFER(key, STORE_KEY_MAX);
    key_of(VOUCH, sink, &key);
    TRY(buffer_err(&key));
    return store_delete(batch, table, buffer_slice(&key));
}

enum err kept_put(struct store_batch *batch, unsigned table, const char *sink, struct spool *const spools[INBOX_LANES],
                  const uint64_t position[INBOX_LANES])
{
    return put_row(batch, table, KEPT, sink, spools, position);
}

void kept_get(struct store *store, unsigned table, const char *sink, struct spool *const spools[INBOX_LANES],
              uint64_t ret_position[INBOX_LANES])
{
    bool same;
    memset(ret_position, 0, INBOX_LANES * sizeof(*ret_position));
    if (store != NULL) {
        (void)read_row(store, table, KEPT, sink, spools, ret_position, &same);
    }
}
