/* SPDX-License-Identifier: Apache-2.0 */
#include "core/seal/seal.h"

#include "core/base/cursor.h"

enum { PLAIN = 1, SEALED = 2, HEAD_BYTES = 5 };
#define SEAL_BYTES ((size_t)CRYPT_NONCE_BYTES + CRYPT_TAG_BYTES)

static uint32_t checksum(struct slice key, uint8_t format, struct slice body)
{
    return crypt_crc32c(crypt_crc32c(crypt_crc32c(0, key.ptr, key.len), &format, 1), body.ptr, body.len);
}

enum err seal_put(struct store_batch *batch, unsigned table, struct crypt_aead *aead, struct slice key,
                  struct slice body)
{
    uint8_t format = aead != NULL ? SEALED : PLAIN, *value;
    size_t len = body.len + (aead != NULL ? SEAL_BYTES : 0);
    TRY(store_put_reserve(batch, table, key, HEAD_BYTES + len, &value));
    value[0] = format;
    if (aead != NULL) {
        TRY(crypt_aead_seal(aead, key, body, value + HEAD_BYTES));
    } else if (len > 0) {
        memcpy(value + HEAD_BYTES, body.ptr, len);
    }
    uint32_t crc = checksum(key, format, slice_of(value + HEAD_BYTES, len));
    memcpy(value + 1, &crc, sizeof(crc));
    return OK;
}

enum err seal_open(struct crypt_aead *aead, struct slice key, struct slice value, struct buffer *out)
{
    struct cursor c = cursor_of(value);
    uint8_t format = cursor_u8(&c);
    uint32_t crc = cursor_u32le(&c);
    struct slice stored = cursor_bytes(&c, cursor_left(&c));
    bool sealed = format == SEALED;
    if (c.failed || crc != checksum(key, format, stored) || (!sealed && format != PLAIN) ||
        (sealed && (aead == NULL || stored.len < SEAL_BYTES))) {
        return ERR_MALFORMED;
    }
    if (!sealed) {
        buffer_put_slice(out, stored);
        return buffer_err(out);
    }
    size_t before = out->len;
    uint8_t *plain = buffer_extend(out, stored.len - SEAL_BYTES);
    TRY(buffer_err(out));
    if (crypt_aead_open(aead, key, stored, plain) != OK) {
        out->len = before;
        return ERR_MALFORMED;
    }
    return OK;
}
