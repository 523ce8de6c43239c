/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One entry in the store: its key, its value, its seal. Written straight into the batch, read straight from the map.
 */
#include "core/spool/spool_internal.h"

#include "core/base/cursor.h"
#include "core/crypt/crypt.h"

enum { ASSOCIATED_BYTES = ENTRY_KEY_BYTES + 9, SEAL_BYTES = CRYPT_NONCE_BYTES + CRYPT_TAG_BYTES };

struct entry_key entry_key(uint8_t lane, uint64_t epoch, uint64_t last)
{
    struct entry_key key;
    uint64_t big_epoch = __builtin_bswap64(epoch), big_last = __builtin_bswap64(last);
    key.bytes[0] = lane;
    memcpy(key.bytes + 1, &big_epoch, sizeof big_epoch);
    memcpy(key.bytes + 9, &big_last, sizeof big_last);
    return key;
}

bool entry_key_parse(struct slice key, uint8_t lane, uint64_t epoch, uint64_t *ret_last)
{
    struct cursor c = cursor_of(key);
    bool ours = cursor_u8(&c) == lane;
    ours = cursor_u64be(&c) == epoch && ours;
    *ret_last = cursor_u64be(&c);
    return cursor_end(&c) == OK && ours;
}

size_t entry_bytes(const struct crypt_aead *aead, size_t body_len)
{
    return ENTRY_KEY_BYTES + ENTRY_HEAD_BYTES + (aead != NULL ? SEAL_BYTES : 0) + body_len;
}

/* What is sealed along with the body: key | format | first. The last two stand at the beginning of the value. */
static uint32_t checksum(const uint8_t *key, const uint8_t *value, struct slice stored)
{
    uint32_t crc = crypt_crc32c(0, key, ENTRY_KEY_BYTES);
    crc = crypt_crc32c(crc, value, 9);
    return crypt_crc32c(crc, stored.ptr, stored.len);
}

static struct slice associated(const uint8_t *key, const uint8_t *value, uint8_t out[ASSOCIATED_BYTES])
{
    memcpy(out, key, ENTRY_KEY_BYTES);
    memcpy(out + ENTRY_KEY_BYTES, value, 9);
    return slice_of(out, ASSOCIATED_BYTES);
}

enum err entry_put(struct store_batch *batch, unsigned table, struct crypt_aead *aead, const struct entry_key *key,
                   uint64_t first, struct slice body)
{
    bool sealed = aead != NULL;
    size_t stored_len = body.len + (sealed ? SEAL_BYTES : 0);
    uint8_t *value;
    TRY(store_put_reserve(batch, table, entry_key_slice(key), ENTRY_HEAD_BYTES + stored_len, &value));
    value[0] = sealed ? ENTRY_SEALED : ENTRY_PLAIN;
    memcpy(value + 1, &first, sizeof first);
    uint8_t *stored = value + ENTRY_HEAD_BYTES;
    if (sealed) {
        uint8_t head[ASSOCIATED_BYTES];
        TRY(crypt_aead_seal(aead, associated(key->bytes, value, head), body, stored));
    } else if (body.len > 0) {
        memcpy(stored, body.ptr, body.len);
    }
    uint32_t crc = checksum(key->bytes, value, slice_of(stored, stored_len));
    memcpy(value + 9, &crc, sizeof crc);
    return OK;
}

static enum entry_state open_sealed(struct slice key, const uint8_t *value, struct slice stored,
                                    struct crypt_aead *aead, struct buffer *plain, struct slice *ret_body)
{
    if (aead == NULL || stored.len < SEAL_BYTES) {
        return ENTRY_WRONG_KEY;
    }
    uint8_t head[ASSOCIATED_BYTES];
    buffer_reset(plain);
    uint8_t *out = buffer_extend(plain, stored.len - SEAL_BYTES + 1); /* + 1: never an empty request */
    if (out == NULL) {
        return ENTRY_NO_MEMORY;
    }
    if (crypt_aead_open(aead, associated(key.ptr, value, head), stored, out) != OK) {
        return ENTRY_WRONG_KEY;
    }
    *ret_body = slice_of(out, stored.len - SEAL_BYTES);
    return ENTRY_GOOD;
}

enum entry_state entry_open(struct slice key, struct slice value, struct crypt_aead *aead, struct buffer *plain,
                            uint64_t *ret_first, struct slice *ret_body)
{
    struct cursor c = cursor_of(value);
    uint8_t format = cursor_u8(&c);
    uint64_t first = cursor_u64le(&c);
    uint32_t crc = cursor_u32le(&c);
    struct slice stored = cursor_bytes(&c, cursor_left(&c));
    if (cursor_err(&c) != OK || key.len != ENTRY_KEY_BYTES || checksum(key.ptr, value.ptr, stored) != crc) {
        return ENTRY_DAMAGED;
    }
    *ret_first = first;
    *ret_body = stored;
    switch (format) {
    case ENTRY_PLAIN: return ENTRY_GOOD;
    case ENTRY_SEALED: return open_sealed(key, value.ptr, stored, aead, plain, ret_body);
    default: return ENTRY_DAMAGED;
    }
}
